// Superior platforms: how their links are, what waits, what they want a person to answer, and by when.

import { call, may } from "./api.js";
import { ask, doing, facts, field, make, moment, press, redraw, size, table, tag, toast, told } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { said } from "./said.js";

addWords({
  en: {
    su_none: "No superior platform is configured ([[superior]] of the configuration).", su_requests: "Waiting for an answer", su_requests_none: "Nothing waits for a person.", su_deadline: "Until", su_left: "{s} s left", su_over: "too late", su_from: "From", su_what: "What", su_question: "Question", su_answer: "Answer", su_answered: "answered by {who}", su_expired: "expired", su_waiting: "waits",
    su_post_query: "Post query (0x9301)", su_supervision: "Supervision of an alarm (0x9401)", su_text: "Answer", su_responder: "Who answers", su_tel: "Telephone", su_result: "What was done", su_in_progress: "in progress", su_done: "done", su_no_action: "no action", su_later: "later", su_send: "Send", su_cancel: "Cancel", su_sent: "The answer has gone up.",
    su_connect: "Connect", su_disconnect: "Disconnect", su_disconnect_sure: "Log out of {name} and stay away? What comes in waits on disk.", su_passwords: "Report the passwords", su_renew: "New passwords", su_renew_sure: "Make new time-efficient passwords for {name}? Its players need the new one.", su_reported: "Done (0x1701).",
    su_stopped: "stopped", su_down: "down", su_login: "logging in", su_main_up: "main link only", su_both_up: "both links up", su_sub_only: "subordinate link only", su_since: "since", su_next: "Next try", su_attempts: "Tries in vain", su_encrypted: "encrypted", su_plain: "not encrypted", su_announced: "Announced", su_vehicles: "Vehicles online", su_age: "Passwords' age", su_days: "{d} d {h} h",
    su_link: "Link", su_edition: "Edition", su_main: "main", su_sub: "subordinate", su_peer: "Peer", su_in: "Received", su_out: "Sent", su_dropped: "Dropped", su_under_way: "Under way", su_frames: "{n} messages", su_queue: "Waiting on disk", su_q_waiting: "Waiting", su_q_queued: "Queued since the start", su_q_sent: "Sent from there", su_q_dropped: "Dropped: age, full, store", su_counts: "Counters", su_received: "What came", su_link_down: "not there",
  },
  zh: {
    su_none: "未配置上级平台（配置文件 [[superior]]）。", su_requests: "待应答", su_requests_none: "没有待人工处理的请求。", su_deadline: "时限", su_left: "剩余 {s} 秒", su_over: "已超时", su_from: "来自", su_what: "类型", su_question: "内容", su_answer: "应答", su_answered: "{who} 已应答", su_expired: "已过期", su_waiting: "待应答",
    su_post_query: "平台查岗（0x9301）", su_supervision: "报警督办（0x9401）", su_text: "应答内容", su_responder: "应答人", su_tel: "联系电话", su_result: "处理结果", su_in_progress: "处理中", su_done: "已处理完毕", su_no_action: "不作处理", su_later: "将来处理", su_send: "发送", su_cancel: "取消", su_sent: "应答已上报。",
    su_connect: "连接", su_disconnect: "断开", su_disconnect_sure: "注销并断开 {name}？期间的数据保存在磁盘等待补发。", su_passwords: "上报时效口令", su_renew: "更新时效口令", su_renew_sure: "为 {name} 生成新的时效口令？其播放端须使用新口令。", su_reported: "已上报（0x1701）。",
    su_stopped: "已停止", su_down: "断开", su_login: "登录中", su_main_up: "仅主链路", su_both_up: "主从链路均正常", su_sub_only: "仅从链路", su_since: "自", su_next: "下次重连", su_attempts: "重连次数", su_encrypted: "加密", su_plain: "未加密", su_announced: "上报的从链路地址", su_vehicles: "在线车辆", su_age: "口令使用时间", su_days: "{d} 天 {h} 小时",
    su_link: "链路", su_edition: "协议版本", su_main: "主链路", su_sub: "从链路", su_peer: "对端", su_in: "接收", su_out: "发送", su_dropped: "丢弃", su_under_way: "在途", su_frames: "{n} 条", su_queue: "磁盘缓存", su_q_waiting: "等待补发", su_q_queued: "启动以来入队", su_q_sent: "已补发", su_q_dropped: "丢弃：过期、队满、存储", su_counts: "计数", su_received: "收到的业务", su_link_down: "未建立",
  },
});

const EVERY_MS = 3000, TONES = { both_up: "good", main_up: "warn", sub_only: "warn", login: "warn", down: "bad", stopped: "" }, RESULTS = ["in_progress", "done", "no_action", "later"];

export function open(element) {
  let superiors = [], requests = [], timer = 0, closed = false, shown = "";
  const waiting = make("div", { "aria-live": "polite" });
  const cards = make("div", {});
  element.append(make("main", { class: "sheet wide" }, make("section", {}, make("h2", {}, t("su_requests")), waiting), cards));
  const path = (name) => `/superiors/${encodeURIComponent(name)}`;

  async function look() {
    clearTimeout(timer);
    try {
      superiors = (await call("GET", "/superiors")).items;
      requests = (await Promise.all(superiors.map((one) => call("GET", `${path(one.name)}/requests`)))).flatMap((page) => page.items);
      if (closed) return;
      draw();
    } catch (problem) {
      if (!closed) { redraw(cards, make("section", {}, make("p", { class: "problem" }, told(problem)))); }
    }
    if (!closed) timer = setTimeout(look, EVERY_MS);
  }

  function draw() {
    drawRequests();
    const stamp = JSON.stringify(superiors) + t("su_link");
    if (stamp === shown) return;
    shown = stamp;
    redraw(cards, ...superiors.map(card), superiors.length ? "" : make("section", {}, make("p", { class: "hint" }, t("su_none"))));
  }

  let requestsShown = "";
  function drawRequests() {
    const listed = [...requests].sort((a, b) => Number(b.state === "waiting") - Number(a.state === "waiting") || (a.received_at < b.received_at ? 1 : -1)).slice(0, 30);
    const stamp = JSON.stringify(listed) + t("su_link");
    if (stamp !== requestsShown) {
      requestsShown = stamp;
      redraw(waiting, table([t("su_deadline"), t("su_from"), t("su_what"), t("su_question"), t("su_answer"), ""], listed.map((one) => [
        one.state === "waiting" ? make("time", { class: "tag warn", "data-deadline": one.deadline }) : moment(one.received_at), one.superior, t(`su_${one.kind}`),
        make("span", {}, one.text, make("small", {}, Object.entries(one.details).map(([name, value]) => `${name} ${value}`).join(" · "))),
        one.state === "answered" ? make("span", {}, tag(t("su_answered", { who: one.answered_by }), "good"), make("small", {}, one.answer?.text || t(`su_${one.answer?.result}`))) : tag(t(`su_${one.state}`), one.state === "waiting" ? "warn" : "bad"),
        may("operator") && one.state !== "answered" ? press(t("su_answer"), () => reply(one), "primary") : "",
      ]), t("su_requests_none")));
    }
    for (const time of waiting.querySelectorAll("[data-deadline]")) {
      const left = Math.round((new Date(time.dataset.deadline) - Date.now()) / 1000);
      time.textContent = left > 0 ? t("su_left", { s: left }) : t("su_over");
    }
  }
  const ticker = setInterval(drawRequests, 1000);

  async function reply(one) {
    const [text, who, tel] = [field(t("su_text"), { required: true, maxlength: 500, rows: 3 }, "textarea"), field(t("su_responder"), { maxlength: 16, value: localStorage.getItem("responder") || "" }), field(t("su_tel"), { maxlength: 20, value: localStorage.getItem("responder_tel") || "" })];
    const result = field(t("su_result"), {}, "select", ...RESULTS.map((name) => make("option", { value: name }, t(`su_${name}`))));
    const query = one.kind === "post_query";
    const sent = await ask(`${one.superior}: ${t(`su_${one.kind}`)}`, [make("p", {}, one.text), ...(query ? [text, who, tel] : [result])], t("su_send"), () => {
      localStorage.setItem("responder", who.input.value);
      localStorage.setItem("responder_tel", tel.input.value);
      return call("POST", `${path(one.superior)}/requests/${one.id}/answer`, query ? { text: text.input.value, responder: who.input.value, responder_tel: tel.input.value } : { result: result.input.value });
    }, t("su_cancel"));
    if (sent) { toast(t("su_sent")); await look(); }
  }

  function card(one) {
    const act = (what, sure) => (event) => { if (!sure || confirm(sure)) doing(event, async () => { await call("POST", `${path(one.name)}/${what}`); await look(); }); };
    const passwords = (renew, sure) => (event) => { if (!sure || confirm(sure)) doing(event, async () => { await call("POST", `${path(one.name)}/passwords`, { renew }); toast(t("su_reported")); }); };
    const age = Math.floor(one.passwords_age_s / 3600);
    const link = (name) => {
      const of = one.links[name];
      return [t(`su_${name}`), of ? of.peer : tag(t("su_link_down"), "bad"), of ? make("span", {}, size(of.bytes_in), make("small", {}, t("su_frames", { n: of.frames_in }))) : "", of ? make("span", {}, size(of.bytes_out), make("small", {}, t("su_frames", { n: of.frames_out }))) : "", of ? [String(of.under_way)] : "", of ? Object.entries(of.dropped).map(([why, n]) => `${why} ${n}`).join(", ") : ""];
    };
    const { queue } = one;
    return make("section", {}, make("div", { class: "head" }, make("h2", {}, one.name), tag(t(`su_${one.state}`), TONES[one.state]), make("span", { class: "hint" }, `${t("su_since")} ${moment(one.state_since)}`), make("span", { class: "spacer" }),
      ...(may("operator") ? [press(t("su_passwords"), passwords(false)), press(t("su_renew"), passwords(true, t("su_renew_sure", { name: one.name }))), press(t("su_connect"), act("connect")), press(t("su_disconnect"), act("disconnect", t("su_disconnect_sure", { name: one.name })), "danger")] : [])),
    one.problem ? make("p", { class: "problem", role: "alert" }, said(one.problem)) : "",
    make("div", { class: "columns" },
      make("div", { class: "card padded" }, facts([[t("su_peer"), `${one.host}:${one.port}`], [t("su_edition"), `JT/T 809-${one.edition}, ${t(one.encrypted ? "su_encrypted" : "su_plain")}`], [t("su_announced"), one.announced], [t("su_vehicles"), one.vehicles], [t("su_attempts"), one.attempts || ""], [t("su_next"), moment(one.next_attempt)], [t("su_age"), t("su_days", { d: Math.floor(age / 24), h: age % 24 })]])),
      make("div", { class: "card padded" }, make("h3", {}, t("su_queue")), facts([[t("su_q_waiting"), queue.waiting ? tag(String(queue.waiting), "warn") : 0], [t("su_q_queued"), queue.queued], [t("su_q_sent"), queue.sent], [t("su_q_dropped"), [queue.dropped_age, queue.dropped_full, queue.dropped_store].join(", ")]])),
      make("div", { class: "card padded" }, make("h3", {}, t("su_counts")), facts(Object.entries(one.counts))),
      Object.keys(one.received).length ? make("div", { class: "card padded" }, make("h3", {}, t("su_received")), facts(Object.entries(one.received))) : ""),
    table([t("su_link"), t("su_peer"), t("su_in"), t("su_out"), [t("su_under_way")], t("su_dropped")], ["main", "sub"].map(link), ""));
  }

  look();
  return {
    words: () => { shown = requestsShown = ""; element.querySelector("h2").textContent = t("su_requests"); draw(); },
    event: (event) => { if (event.event.startsWith("superior.")) look(); },
    close: () => { closed = true; clearTimeout(timer); clearInterval(ticker); },
  };
}
