// Message inspector: what passes on the links of terminals and superior platforms, decoded field by field, while one looks.

import { query, socketAddress, token } from "./api.js";
import { make, press, redraw, save, select, table, tag } from "./dom.js";
import { addWords, currentLanguage, t } from "./i18n.js";
import { said } from "./said.js";

addWords({
  en: {
    in_begin: "Begin", in_stop: "Stop", in_clear: "Clear", in_download: "Download", in_who: "Vehicle, or superior:name", in_id: "Id, such as 0x0200", in_every_way: "Both ways", in_in: "Received", in_out: "Sent", in_none: "Nothing has passed yet.", in_idle: "Press Begin to see the messages that pass from now on.", in_running: "Looking; {n} shown, {skipped} left out", in_stopped: "Stopped; {n} shown", in_lost: "The relay ended it: {why}",
    in_time: "Time", in_link: "Link", in_message: "Message", in_offset: "Offset", in_bytes: "Bytes", in_field: "Field", in_value: "Value", in_meaning: "Meaning", in_raw: "Frame without flags and escapes", in_choose: "Choose a message to see its fields.", in_copy: "Copy", in_protocols: "Protocols", in_headers: "heads of packets",
  },
  zh: {
    in_begin: "开始", in_stop: "停止", in_clear: "清空", in_download: "下载", in_who: "车辆，或 superior:名称", in_id: "消息 ID，如 0x0200", in_every_way: "双向", in_in: "接收", in_out: "发送", in_none: "尚无报文。", in_idle: "点击“开始”查看此后经过的报文。", in_running: "正在查看：已显示 {n} 条，略过 {skipped} 条", in_stopped: "已停止，共 {n} 条", in_lost: "服务端已结束：{why}",
    in_time: "时间", in_link: "链路", in_message: "报文", in_offset: "偏移", in_bytes: "字节", in_field: "字段", in_value: "值", in_meaning: "含义", in_raw: "去除标识与转义后的帧", in_choose: "选择一条报文查看字段。", in_copy: "复制", in_protocols: "协议", in_headers: "包头",
  },
});

const KEPT_MAX = 1000, DRAWN_MAX = 250, DRAW_MS = 250;
const PROTOCOLS = { jt808: "JT/T 808", jt809: "JT/T 809", jt1078: "JT/T 1078" };

export function open(element, { fleet, rest }) {
  const wanted = { who: rest[0] ? fleet.name(rest[0]) : "", message: "", direction: "", protocols: new Set(["jt808", "jt809"]) };
  let items = [], chosen = null, socket = null, skipped = 0, drawing = 0, why = "", closed = false;
  const form = make("form", { class: "filters" });
  const said = make("p", { class: "hint", role: "status" });
  const list = make("div", { class: "messages" });
  const details = make("div", { class: "message", tabindex: "-1" });
  element.append(make("main", { class: "sheet wide inspector" }, make("section", {}, form, said), make("section", { class: "split" }, list, details)));
  form.addEventListener("submit", (event) => { event.preventDefault(); if (socket) stop(); else begin(); });

  function words() {
    const text = (name, label, more = {}) => make("input", { value: wanted[name], placeholder: label, "aria-label": label, autocomplete: "off", onchange: (event) => { wanted[name] = event.target.value.trim(); again(); }, ...more });
    form.replaceChildren(make("h2", {}, t("page_inspector")), make("fieldset", { class: "row", "aria-label": t("in_protocols") }, ...Object.entries(PROTOCOLS).map(([name, label]) => make("label", { class: "tick" }, make("input", { type: "checkbox", checked: wanted.protocols.has(name), onchange: (event) => { wanted.protocols[event.target.checked ? "add" : "delete"](name); again(); } }), make("span", {}, label)))),
      text("who", t("in_who"), { list: "inspected" }), make("datalist", { id: "inspected" }, ...[...fleet.items.values()].filter((item) => item.online).slice(0, 200).map((item) => make("option", { value: item.plate || item.sim }, item.sim))),
      text("message", t("in_id"), { pattern: "(0[xX])?[0-9A-Fa-f]{4}", size: 14 }), select(t("in_every_way"), [["", t("in_every_way")], ["in", t("in_in")], ["out", t("in_out")]], wanted.direction, (value) => { wanted.direction = value; again(); }),
      make("button", { class: "primary" }, t(socket ? "in_stop" : "in_begin")), press(t("in_clear"), () => { items = []; chosen = null; skipped = 0; draw(); drawDetails(); }), press(t("in_download"), download));
    draw();
    drawDetails();
  }

  function begin() {
    if (socket || !wanted.protocols.size) return;
    const superior = /^superior:(.+)/.exec(wanted.who);
    const url = socketAddress(`/api/v1/inspector${query({ sim: superior ? "" : wanted.who, superior: superior?.[1], protocol: [...wanted.protocols].join(","), direction: wanted.direction, message: wanted.message })}`);
    if (token()) url.searchParams.set("token", token());
    const mine = socket = new WebSocket(url);
    why = "";
    mine.onmessage = (message) => {
      const told = JSON.parse(message.data);
      items.push(told);
      skipped += told.skipped;
      if (items.length > KEPT_MAX) items.splice(0, items.length - KEPT_MAX);
      if (!drawing) drawing = setTimeout(() => { drawing = 0; draw(); }, DRAW_MS);
    };
    mine.onclose = (close) => { if (socket === mine) { socket = null; why = said(close.reason) || t("ws_failed"); words(); } };
    words();
  }

  function stop() {
    const mine = socket;
    socket = null;
    mine?.close();
    if (!closed) words();
  }

  function again() {
    if (socket) { stop(); begin(); }
  }

  const who = (one) => (one.subject.startsWith("superior:") ? one.subject.slice(9) : one.subject ? fleet.name(one.subject) : one.peer);
  const title = (one) => (currentLanguage() === "zh" ? one.message.name : one.message.english) || one.message.name || one.message.constant || "";

  function draw() {
    if (closed) return;
    said.textContent = socket ? t("in_running", { n: items.length, skipped }) : why ? t("in_lost", { why }) : items.length ? t("in_stopped", { n: items.length }) : t("in_idle");
    redraw(list, ...items.slice(-DRAWN_MAX).reverse().map((one) => make("button", { type: "button", class: `line ${one.direction}`, "data-message": String(one.id), "aria-pressed": String(chosen?.id === one.id), onclick: () => { chosen = one; draw(); drawDetails(); } },
      make("time", {}, one.time.slice(11, 23)), make("span", { class: "way", title: t(`in_${one.direction}`) }, one.direction === "in" ? "←" : "→"), make("span", { class: "of" }, who(one)), make("b", {}, one.message.id), make("span", { class: "name" }, title(one)), one.problem ? tag("!", "bad") : "")),
    items.length ? "" : make("p", { class: "hint" }, t("in_none")));
  }

  function drawDetails() {
    if (!chosen) { details.replaceChildren(make("p", { class: "hint" }, t("in_choose"))); return; }
    const label = (row) => (currentLanguage() === "zh" ? row.label : row.english) || row.name;
    const hex = chosen.raw.match(/.{1,32}/g)?.map((line, at) => `${(at * 16).toString(16).padStart(4, "0")}  ${line.replace(/(..)(?=.)/g, "$1 ")}`).join("\n") ?? "";
    details.replaceChildren(make("h3", {}, `${chosen.message.id} ${title(chosen)}`), make("p", { class: "hint" }, `${PROTOCOLS[chosen.protocol]} · ${t(`in_${chosen.direction}`)} · ${chosen.peer} ${chosen.transport} ${chosen.link} · ${chosen.bytes} B · ${chosen.time}`),
      chosen.problem ? make("p", { class: "problem" }, chosen.problem) : "", ...(chosen.notes ?? []).map((note) => make("p", { class: "hint" }, note)),
      table([[t("in_offset")], t("in_bytes"), t("in_field"), t("in_value"), t("in_meaning")], chosen.rows.map((row) => [[String(row.offset)], make("code", {}, row.bytes.length > 24 ? `${row.bytes.slice(0, 24)}…` : row.bytes), make("span", { class: `kind-${row.kind}`, title: row.name }, label(row)), row.value.length > 80 ? `${row.value.slice(0, 80)}…` : row.value, row.meaning]), ""),
      make("div", { class: "head" }, make("h3", {}, t("in_raw")), make("span", { class: "spacer" }), press(t("in_copy"), () => navigator.clipboard?.writeText(chosen.raw))), make("pre", { class: "answer hex", tabindex: "0", "aria-label": t("in_raw") }, hex));
  }

  function download() {
    save(new Blob(items.map((one) => `${JSON.stringify(one)}\n`), { type: "application/x-ndjson" }), `messages-${new Date().toISOString().slice(0, 19).replace(/[:-]/g, "")}.jsonl`);
  }

  function keys(event) {
    const step = { ArrowDown: -1, ArrowUp: 1 }[event.key], at = items.indexOf(chosen);
    if (!step || !items.length) return;
    event.preventDefault();
    chosen = items[Math.max(0, Math.min(items.length - 1, at < 0 ? items.length - 1 : at + step))];
    draw();
    drawDetails();
    list.querySelector('[aria-pressed="true"]')?.scrollIntoView({ block: "nearest" });
  }

  words();
  begin();
  return { words, keys, close: () => { closed = true; clearTimeout(drawing); stop(); } };
}
