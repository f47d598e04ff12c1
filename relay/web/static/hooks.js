// Hooks: the programs that are told what happens; how their deliveries go, and a delivery to try one. For administrators.

import { call } from "./api.js";
import { doing, make, moment, press, table, tag, toast } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { said } from "./said.js";

addWords({
  en: {
    hk_title: "Hooks", hk_none: "No program is told of events. The configuration names them: [[hook]].", hk_hook: "Hook", hk_events: "Told of", hk_all: "everything", hk_taken: "Delivered", hk_lost: "Given up, dropped", hk_waiting: "Waiting", hk_plays: "Plays: allowed, refused, undecided", hk_last: "Last", hk_test: "Send a test", hk_signed: "signed", hk_unsigned: "not signed", hk_decides: "decides about plays",
    hk_took: "{name} took it: {status} after {ms} ms.", hk_failed: "failed", hk_why: "{when}: {why}", hk_delivered: "delivered", hk_never: "nothing yet",
  },
  zh: {
    hk_title: "事件回调", hk_none: "没有程序接收事件。在配置文件的 [[hook]] 中设置。", hk_hook: "回调", hk_events: "接收事件", hk_all: "全部", hk_taken: "已送达", hk_lost: "放弃、丢弃", hk_waiting: "等待中", hk_plays: "播放：允许、拒绝、未决", hk_last: "最近", hk_test: "发送测试", hk_signed: "已签名", hk_unsigned: "未签名", hk_decides: "决定能否播放",
    hk_took: "{name} 已接收：{status}，用时 {ms} 毫秒。", hk_failed: "失败", hk_why: "{when}：{why}", hk_delivered: "已送达", hk_never: "尚无",
  },
});

export function hookList(items, again) {
  const last = (one) => {
    const failed = one.last_error && (!one.last_delivered || one.last_error_time > one.last_delivered);
    return make("span", {}, failed ? tag(t("hk_failed"), "bad") : one.last_delivered ? tag(t("hk_delivered"), "good") : tag(t("hk_never")), make("small", {}, moment(failed ? "" : one.last_delivered)),
      one.last_error ? make("small", {}, t("hk_why", { when: moment(one.last_error_time), why: said(one.last_error) })) : "");
  };
  const test = (one) => (event) => doing(event, async () => {
    const done = await call("POST", `/hooks/${encodeURIComponent(one.name)}/test`);
    toast(t("hk_took", { name: one.name, status: done.status, ms: Math.round(done.ms) }));
    await again();
  });
  return make("section", {}, make("h2", {}, t("hk_title")), table([t("hk_hook"), t("hk_events"), [t("hk_taken")], [t("hk_lost")], [t("hk_waiting")], [t("hk_plays")], t("hk_last"), ""], items.map((one) => [
    make("span", {}, one.name, make("small", {}, [one.target, t(one.signed ? "hk_signed" : "hk_unsigned"), one.decide ? t("hk_decides") : ""].filter(Boolean).join(" · "))), one.events.join(", ") || t("hk_all"),
    [String(one.delivered)], [`${one.failed}, ${one.dropped}`], [String(one.waiting)], [one.decide ? `${one.allowed}, ${one.refused}, ${one.undecided}` : ""], last(one), press(t("hk_test"), test(one)),
  ]), t("hk_none")));
}
