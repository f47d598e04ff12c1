// Audit: who watched, spoke, commanded, fetched or changed what; for administrators, and as a file.

import { call, fileAddress, query } from "./api.js";
import { make, moment, press, size, table, tag, told } from "./dom.js";
import { addWords, currentLanguage, t } from "./i18n.js";

addWords({
  en: {
    au_time: "Time", au_who: "Who", au_action: "What", au_subject: "Of", au_detail: "Details", au_address: "From", au_bytes: "Bytes", au_none: "Nothing was noted that matches.", au_more: "Older ones", au_total: "{n} entries", au_csv: "As CSV", au_json: "As JSON", au_from: "From", au_to: "To", au_any: "Every action",
  },
  zh: {
    au_time: "时间", au_who: "操作者", au_action: "操作", au_subject: "对象", au_detail: "详情", au_address: "来源地址", au_bytes: "字节", au_none: "没有符合条件的记录。", au_more: "更早的记录", au_total: "共 {n} 条", au_csv: "导出 CSV", au_json: "导出 JSON", au_from: "从", au_to: "到", au_any: "全部操作",
  },
});

const PAGE = 100;
/** Actions as they are kept, and what they are called on the Chinese page. */
const ACTIONS = {
  view: "观看", message: "下发消息", terminal: "终端资料", alarm: "报警处理", push: "推流", download: "下载", superior: "上级平台", inspect: "报文监视", talk: "对讲", ptz: "云台控制", playback: "录像回放",
  upload: "文件上传", multimedia: "多媒体", record: "服务端录像", hook: "事件回调", quirk: "终端特性", login: "登录", user: "用户管理", token: "令牌管理",
};
const action = (name) => (currentLanguage() === "zh" && ACTIONS[name]) || name;

export function open(element) {
  const filter = { who: "", action: "", subject: "", from: "", to: "" };
  let items = [], next = "", total = 0, problem = "", asked = 0;
  const form = make("div", { class: "filters" });
  const rows = make("div", {});
  const foot = make("div", { class: "row foot" });
  element.append(make("main", { class: "sheet wide" }, make("section", {}, form, rows, foot)));

  const wanted = () => ({ ...filter, from: filter.from && `${filter.from}T00:00:00+08:00`, to: filter.to && `${filter.to}T23:59:59+08:00` });

  async function load(more = false) {
    const mine = ++asked;
    try {
      const page = await call("GET", `/audit${query({ ...wanted(), limit: PAGE, after: more ? next : "" })}`);
      if (mine !== asked) return;
      items = more ? [...items, ...page.items] : page.items;
      [next, total, problem] = [page.next, page.total, ""];
    } catch (error) {
      if (mine !== asked) return;
      [items, next, total, problem] = [[], "", 0, told(error)];
    }
    draw();
  }

  function words() {
    const set = (name) => (event) => { filter[name] = event.target.value.trim(); load(); };
    const text = (name) => make("input", { type: "search", value: filter[name], placeholder: t(`au_${name}`), "aria-label": t(`au_${name}`), onchange: set(name), ...(name === "action" ? { list: "actions" } : {}) });
    const day = (name) => make("label", { class: "day" }, make("span", {}, t(`au_${name}`)), make("input", { type: "date", value: filter[name], onchange: set(name) }));
    form.replaceChildren(make("h2", {}, t("page_audit")), text("who"), text("action"), make("datalist", { id: "actions" }, ...Object.keys(ACTIONS).map((name) => make("option", { value: name, label: action(name) }))), text("subject"), day("from"), day("to"), ...["csv", "json"].map((format) => press(t(`au_${format}`), () => make("a", { href: fileAddress(`/audit/export${query({ ...wanted(), format })}`), download: `audit.${format}` }).click())));
    draw();
  }

  function draw() {
    rows.replaceChildren(table([t("au_time"), t("au_who"), t("au_action"), t("au_subject"), t("au_detail"), t("au_address"), [t("au_bytes")]], items.map((one) => [moment(one.time), one.who, tag(action(one.action)), one.subject, one.detail, one.address, [one.bytes ? size(one.bytes) : ""]]), problem || t("au_none")));
    foot.replaceChildren(make("span", { class: "hint" }, problem ? "" : t("au_total", { n: total })), next ? press(t("au_more"), () => load(true)) : "");
  }

  words();
  load();
  return { words };
}
