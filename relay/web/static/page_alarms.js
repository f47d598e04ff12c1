// Alarms: those that happen and those that are kept, with their evidence; an operator says that they were seen.

import { call, fileAddress, may, query } from "./api.js";
import { ask, doing, facts, field, make, moment, press, redraw, select, size, table, tag, told } from "./dom.js";
import { spoken } from "./bell.js";
import { addWords, t } from "./i18n.js";
import { fieldWords } from "./said.js";

const KINDS = ["terminal", "video", "storage", "behaviour", "adas", "dsm", "tpms", "bsd", "passenger", "driving", "overspeed"];

addWords({
  en: {
    al_when: "When", al_vehicle: "Vehicle", al_alarm: "Alarm", al_speed: "Speed", al_files: "Files", al_state: "State", al_none: "No alarms match.", al_every_kind: "Every kind", al_every_state: "Seen or not", al_unseen: "Not acknowledged", al_seen: "Acknowledged", al_every_level: "Every level", al_level: "Level {n} and above",
    al_lasts: "lasts", al_over: "over", al_late: "told late", al_ack: "Acknowledge", al_ack_note: "Note", al_ack_by: "{who}, {when}", al_more: "Older ones", al_total: "{n} alarms", al_details: "Evidence", al_from: "From", al_to: "To", al_cancel: "Cancel", al_show: "Show",
    al_fetch: "Fetch the files from the vehicle (0x9208)", al_no_files: "Nothing has come yet.", al_files_are: "Files: {state}. They are shown here as they come.", al_download: "Download", al_began: "Began", al_ended: "Ended", al_received: "Received", al_place: "Where", al_on_map: "Show on the map", al_close: "Close",
    kind_terminal: "terminal", kind_video_alarm: "video", kind_storage: "storage", kind_behaviour: "driver's behaviour", kind_adas: "ADAS", kind_dsm: "DSM", kind_tpms: "tyres", kind_bsd: "blind spot", kind_passenger: "passengers", kind_driving: "driving", kind_overspeed: "overspeed",
    files_: "", files_queued: "waiting", files_asked: "asked for", files_coming: "coming", files_complete: "complete", files_partial: "partial", files_failed: "failed",
  },
  zh: {
    al_when: "时间", al_vehicle: "车辆", al_alarm: "报警", al_speed: "速度", al_files: "附件", al_state: "状态", al_none: "没有符合条件的报警。", al_every_kind: "全部类型", al_every_state: "全部", al_unseen: "未确认", al_seen: "已确认", al_every_level: "全部级别", al_level: "{n} 级及以上",
    al_lasts: "持续中", al_over: "已结束", al_late: "补报", al_ack: "确认", al_ack_note: "处理说明", al_ack_by: "{who}，{when}", al_more: "更早的报警", al_total: "共 {n} 条", al_details: "证据", al_from: "从", al_to: "到", al_cancel: "取消", al_show: "查看",
    al_fetch: "从车辆获取附件（0x9208）", al_no_files: "尚无附件。", al_files_are: "附件：{state}。到达后显示在此。", al_download: "下载", al_began: "开始", al_ended: "结束", al_received: "接收", al_place: "位置", al_on_map: "在地图上查看", al_close: "关闭",
    kind_terminal: "终端", kind_video_alarm: "视频", kind_storage: "存储", kind_behaviour: "驾驶行为", kind_adas: "ADAS", kind_dsm: "DSM", kind_tpms: "胎压", kind_bsd: "盲区", kind_passenger: "客流", kind_driving: "行驶", kind_overspeed: "超速",
    files_: "", files_queued: "等待", files_asked: "已请求", files_coming: "接收中", files_complete: "齐全", files_partial: "部分", files_failed: "失败",
  },
});

const PAGE = 50, GATHER_MS = 800;

export function open(element, { fleet, rest }) {
  const filter = { sim: rest[0] ? fleet.name(rest[0]) : "", kind: "", level: "", acknowledged: rest[0] ? "" : "false", from: "", to: "" };
  let items = [], next = "", total = 0, problem = "", chosen = null, waiting = 0, closed = false, asked = 0;
  const form = make("div", { class: "filters" });
  const rows = make("div", {});
  const foot = make("div", { class: "row foot" });
  const side = make("section", { class: "evidence", "aria-live": "polite", hidden: true });
  element.append(make("main", { class: "sheet wide" }, make("section", {}, form), side, make("section", {}, rows, foot)));

  async function load(more = false) {
    const mine = ++asked;
    const times = Object.fromEntries(["from", "to"].filter((name) => filter[name]).map((name) => [name, `${filter[name]}T${name === "from" ? "00:00:00" : "23:59:59"}+08:00`]));
    try {
      const page = await call("GET", `/alarms${query({ ...filter, ...times, limit: PAGE, after: more ? next : "" })}`);
      if (closed || mine !== asked) return;
      items = more ? [...items, ...page.items] : page.items;
      [next, total, problem] = [page.next, page.total, ""];
    } catch (error) {
      if (closed || mine !== asked) return;
      [items, next, total, problem] = [[], "", 0, told(error)];
    }
    draw();
  }

  function words() {
    const set = (name) => (value) => { filter[name] = value; load(); };
    const day = (name) => make("label", { class: "day" }, make("span", {}, t(`al_${name}`)), make("input", { type: "date", value: filter[name], onchange: (event) => set(name)(event.target.value) }));
    form.replaceChildren(make("h2", {}, t("page_alarms")), make("input", { type: "search", value: filter.sim, placeholder: t("search"), "aria-label": t("search"), onchange: (event) => set("sim")(event.target.value.trim()) }),
      select(t("al_state"), [["false", t("al_unseen")], ["true", t("al_seen")], ["", t("al_every_state")]], filter.acknowledged, set("acknowledged")),
      select(t("al_alarm"), [["", t("al_every_kind")], ...KINDS.map((kind) => [kind, kindWords(kind)])], filter.kind, set("kind")),
      select(t("al_level", { n: "" }), [["", t("al_every_level")], ["1", t("al_level", { n: 1 })], ["2", t("al_level", { n: 2 })]], filter.level, set("level")), day("from"), day("to"));
    draw();
    if (chosen) show(chosen);
  }

  function draw() {
    redraw(rows, table([t("al_when"), t("al_vehicle"), t("al_alarm"), [t("al_speed")], t("al_files"), t("al_state"), ""], items.map((one) => [
      make("span", {}, moment(one.began), one.late ? make("small", {}, t("al_late")) : ""),
      make("a", { class: "strong", href: `#/vehicles/${encodeURIComponent(one.sim)}` }, fleet.name(one.sim)),
      make("span", {}, tag(kindWords(one.kind), one.level >= 2 ? "bad" : one.level ? "warn" : ""), " ", spoken(one.name), one.channel ? make("small", {}, t("channel", { n: one.channel })) : ""),
      [`${one.speed.toFixed(0)} ${t("kmh")}`], one.files || one.files_state ? `${one.files || ""} ${t(`files_${one.files_state}`)}` : "",
      one.acknowledged_at ? make("span", {}, tag(t("al_seen"), "good"), make("small", {}, [one.acknowledged_by, one.note].filter(Boolean).join(": "))) : tag(one.ended ? t("al_over") : t("al_lasts"), one.ended ? "" : "bad"),
      make("span", {}, press(t("al_show"), () => show(one), "plain", { "data-alarm": one.id, "aria-pressed": String(chosen?.id === one.id) }),
        may("operator") && !one.acknowledged_at ? press(t("al_ack"), () => acknowledge(one), "plain") : ""),
    ]), problem || t("al_none")));
    redraw(foot, make("span", { class: "hint" }, problem ? "" : t("al_total", { n: total })), next ? press(t("al_more"), () => load(true)) : "");
  }

  async function acknowledge(one) {
    const note = field(t("al_ack_note"), { maxlength: 500, autocomplete: "off" });
    const done = await ask(`${fleet.name(one.sim)} · ${spoken(one.name)}`, [note], t("al_ack"), () => call("POST", `/alarms/${encodeURIComponent(one.id)}/acknowledge`, { note: note.input.value.trim() }), t("al_cancel"));
    if (done) await load();
  }

  async function show(one) {
    chosen = one;
    draw();
    let told = null;
    try { told = await call("GET", `/alarms/${encodeURIComponent(one.id)}/files`); } catch (error) { told = { items: [], state: "", problem: error.message }; }
    if (closed || chosen?.id !== one.id) return;
    side.hidden = false;
    const fetchable = may("operator") && told.state !== "complete" && ["adas", "dsm", "tpms", "bsd", "driving"].includes(one.kind);
    side.replaceChildren(make("div", { class: "head" }, make("h3", {}, `${fleet.name(one.sim)} · ${spoken(one.name)}`), make("span", { class: "spacer" }), make("a", { class: "plain", href: `#/map/${encodeURIComponent(one.sim)}/${one.began.slice(0, 10)}` }, t("al_on_map")), press(t("al_close"), () => { chosen = null; side.hidden = true; draw(); })),
      make("div", { class: "card padded columns" }, facts([[t("al_began"), moment(one.began)], [t("al_ended"), one.ended ? moment(one.ended) : t("al_lasts")], [t("al_received"), moment(one.received)], [t("al_place"), `${one.latitude.toFixed(5)}, ${one.longitude.toFixed(5)}`], [t("al_speed"), `${one.speed} ${t("kmh")}`],
        [t("al_seen"), one.acknowledged_at ? `${t("al_ack_by", { who: one.acknowledged_by, when: moment(one.acknowledged_at) })} ${one.note}` : ""], ...Object.entries(one.detail).map(([name, value]) => [fieldWords(name), typeof value === "object" ? JSON.stringify(value) : value])]),
        make("div", { class: "files" }, ...told.items.map(file), told.items.length ? "" : make("p", { class: "hint" }, told.problem || (["queued", "asked", "coming"].includes(told.state) ? t("al_files_are", { state: t(`files_${told.state}`) }) : t("al_no_files"))), fetchable ? press(t("al_fetch"), (event) => doing(event, async () => { await call("POST", `/alarms/${encodeURIComponent(one.id)}/files/fetch`); await show(one); })) : "")));
    side.scrollIntoView({ block: "nearest" });
  }

  function file(one) {
    const address = one.url && fileAddress(one.url), type = one.content_type;
    const seen = !address ? "" : type.startsWith("image/") ? make("img", { src: address, alt: one.name }) : type.startsWith("video/") ? make("video", { src: address, controls: true, preload: "metadata", "aria-label": one.name }) : type.startsWith("audio/") ? make("audio", { src: address, controls: true, preload: "none", "aria-label": one.name }) : "";
    return make("figure", {}, seen, make("figcaption", {}, address ? make("a", { href: address, download: one.name }, one.name) : one.name, " ", make("span", { class: "hint" }, one.state === "complete" ? size(one.size) : `${size(one.received)} / ${size(one.size)}`)));
  }

  words();
  load();
  return {
    words,
    event: (event) => {
      if (!event.event.startsWith("alarm.") || waiting) return;
      waiting = setTimeout(() => { waiting = 0; if (!closed && items.length <= PAGE) load(); if (chosen && event.alarm === chosen.id) show(chosen); }, GATHER_MS);
    },
    close: () => { closed = true; clearTimeout(waiting); },
  };
}

function kindWords(kind) {
  return t(kind === "video" ? "kind_video_alarm" : `kind_${kind}`);
}
