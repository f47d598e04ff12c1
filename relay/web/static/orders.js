// What an operator has a vehicle do: texts, pictures, parameters, control. Each is a card that fills itself.

import { call, fileAddress, may, query } from "./api.js";
import { ask, doing, field, icon, make, moment, press, redraw, select, table, toast } from "./dom.js";
import { addWords, currentLanguage, t } from "./i18n.js";

addWords({
  en: {
    or_text: "Text to the driver", or_text_what: "Text (0x8300)", or_show: "on the display", or_speak: "read aloud", or_urgent: "urgent", or_send: "Send", or_sent: "The terminal has taken it.",
    or_photos: "Pictures", or_photo: "Take a picture", or_photo_taken: "The terminal is taking it; it appears here when it has come.", or_photos_none: "None yet. The terminal sends a picture after it was asked (0x8801), or by its own rules.",
    or_parameters: "Parameters", or_read: "Read from the terminal", or_parameter: "Parameter", or_value: "Value", or_change: "Change", or_set: "Set", or_cancel: "Cancel", or_parameters_none: "Not read yet (0x8104).", or_find: "Name or number",
    or_control: "Control", or_do: "Do", or_yes: "Yes, do it", or_harm: "Do you mean it?", or_done: "Done.",
    or_reset: "Restart the terminal", or_factory_reset: "Factory reset", or_power_off: "Switch the terminal off", or_close_data: "Close its data link", or_close_wireless: "Close all its radio links", or_doors_lock: "Lock the doors", or_doors_unlock: "Unlock the doors",
    or_fuel_cut: "Cut the fuel", or_fuel_restore: "Restore the fuel", or_circuit_cut: "Cut the circuit", or_circuit_restore: "Restore the circuit", or_position: "Ask where it is now (0x8201)", or_attributes: "Ask for its attributes (0x8107)", or_driver: "Ask who drives (0x8702)",
  },
  zh: {
    or_text: "文本下发", or_text_what: "文本内容（0x8300）", or_show: "终端显示", or_speak: "语音播读", or_urgent: "紧急", or_send: "发送", or_sent: "终端已接收。",
    or_photos: "照片", or_photo: "立即拍照", or_photo_taken: "终端正在拍摄，照片到达后显示在此。", or_photos_none: "暂无。终端在收到拍摄命令（0x8801）或按自身规则上传照片。",
    or_parameters: "终端参数", or_read: "从终端读取", or_parameter: "参数", or_value: "值", or_change: "修改", or_set: "设置", or_cancel: "取消", or_parameters_none: "尚未读取（0x8104）。", or_find: "名称或编号",
    or_control: "控制", or_do: "执行", or_yes: "确认执行", or_harm: "确定执行吗？", or_done: "已执行。",
    or_reset: "终端复位", or_factory_reset: "恢复出厂设置", or_power_off: "终端关机", or_close_data: "关闭数据通信", or_close_wireless: "关闭所有无线通信", or_doors_lock: "车门加锁", or_doors_unlock: "车门解锁",
    or_fuel_cut: "断油", or_fuel_restore: "恢复供油", or_circuit_cut: "断电", or_circuit_restore: "恢复供电", or_position: "查询当前位置（0x8201）", or_attributes: "查询终端属性（0x8107）", or_driver: "查询驾驶员（0x8702）",
  },
});

const PHOTO_EVERY_MS = 2000, PHOTO_TRIES = 15;
const path = (sim) => `/terminals/${encodeURIComponent(sim)}`;
const tick = (words, checked = false) => { const input = make("input", { type: "checkbox", checked }); return Object.assign(make("label", { class: "tick" }, input, make("span", {}, words)), { input }); };

export function textCard(sim) {
  const text = field(t("or_text_what"), { required: true, maxlength: 500, autocomplete: "off" });
  const [show, speak, urgent] = [tick(t("or_show"), true), tick(t("or_speak"), true), tick(t("or_urgent"))];
  const send = make("button", { class: "primary" }, t("or_send"));
  const form = make("form", { class: "card padded", "aria-label": t("or_text") }, text, make("div", { class: "row" }, show, speak, urgent, make("span", { class: "spacer" }), send));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const order = { text: text.input.value, display: show.input.checked, speak: speak.input.checked, urgent: urgent.input.checked };
    if (await doing(send, () => call("POST", `${path(sim)}/text`, order))) { text.input.value = ""; toast(t("or_sent")); }
  });
  return make("section", {}, make("h3", {}, t("or_text")), form);
}

export class Photos {
  constructor(sim, channels) {
    this.sim = sim;
    this.closed = false;
    this.channel = String(channels[0]?.channel ?? 1);
    this.pictures = make("div", { class: "pictures" });
    const take = may("operator") ? make("div", { class: "row" }, select(t("ve_channels"), channels.map((one) => [String(one.channel), t("channel", { n: one.channel })]), this.channel, (value) => { this.channel = value; }),
      make("button", { type: "button", class: "primary", onclick: (event) => this.take(event.currentTarget) }, icon("camera"), t("or_photo"))) : "";
    this.element = make("section", {}, make("div", { class: "head" }, make("h3", {}, t("or_photos")), make("span", { class: "spacer" }), take), this.pictures);
    this.look().catch((problem) => toast(problem.message));
  }

  async look() {
    const { items } = await call("GET", `/multimedia${query({ sim: this.sim, limit: 24 })}`);
    const newest = items[0]?.id ?? 0;
    if (newest === this.newest && items.length === this.count) return false;
    [this.newest, this.count] = [newest, items.length];
    redraw(this.pictures, ...items.map((item) => {
      const address = fileAddress(`/multimedia/${item.id}`), words = `${t("ch", { n: item.channel })} · ${moment(item.time)}`;
      const shown = item.type === "image" ? make("img", { src: address, alt: words, loading: "lazy" }) : make("span", { class: "file" }, item.format);
      return make("a", { href: address, target: "_blank", rel: "noopener", title: words }, shown, make("small", {}, words));
    }), items.length ? "" : make("p", { class: "hint" }, t("or_photos_none")));
    return true;
  }

  async take(button) {
    const taken = await doing(button, () => call("POST", `${path(this.sim)}/channels/${this.channel}/photo`, { count: 1 }));
    if (!taken) return;
    toast(t("or_photo_taken"));
    for (let left = PHOTO_TRIES; left && !this.closed; left -= 1) {
      await new Promise((done) => setTimeout(done, PHOTO_EVERY_MS));
      if (await this.look().catch(() => false)) return;
    }
  }

  close() {
    this.closed = true;
  }
}

export function parameterCard(sim) {
  let items = [];
  const search = make("input", { type: "search", placeholder: t("or_find"), "aria-label": t("or_find"), oninput: () => draw() });
  const rows = make("div", {});
  const label = (item) => (currentLanguage() === "zh" ? item.label : item.english) || item.name || item.hex;
  // What is no single value (areas, lists of codes) is shown as its fields and set by the API.
  const value = (item) => ("value" in item ? String(item.value) : Object.entries(item).filter(([name]) => !["id", "hex", "name", "label", "english", "unit"].includes(name)).map(([name, of]) => `${name} ${typeof of === "object" ? JSON.stringify(of) : of}`).join(", "));

  function draw() {
    const needle = search.value.trim().toLowerCase();
    const shown = items.filter((item) => !needle || `${item.hex} ${item.name} ${item.label || ""} ${item.english || ""}`.toLowerCase().includes(needle));
    rows.replaceChildren(table(["ID", t("or_parameter"), t("or_value"), ""], shown.map((item) => [
      item.hex, make("span", { title: item.name }, label(item)), `${value(item)}${item.unit ? ` ${item.unit}` : ""}`,
      "value" in item ? press(t("or_change"), () => change(item)) : "",
    ]), t("or_parameters_none")));
  }

  async function read(event) {
    const found = await doing(event, () => call("GET", `${path(sim)}/parameters`));
    if (found) { items = found.items; draw(); }
  }

  async function change(item) {
    const given = field(`${label(item)}${item.unit ? ` (${item.unit})` : ""}`, { value: item.value, required: true });
    const set = async (confirm) => {
      const word = given.input.value.trim();
      const wanted = typeof item.value === "number" ? Number(word) : word;
      await call("PUT", `${path(sim)}/parameters`, { params: [{ id: item.id, value: wanted }], confirm });
      item.value = wanted;
    };
    const done = await ask(`${item.hex} ${item.name}`, [given], t("or_set"), () => confirmed(set), t("or_cancel"));
    if (done) { toast(t("or_sent")); draw(); }
  }

  draw();
  return make("section", {}, make("div", { class: "head" }, make("h3", {}, t("or_parameters")), make("span", { class: "spacer" }), search, press(t("or_read"), read)), rows);
}

/** Does what may want a confirmation: the relay says so, with what it would do, and the person is asked. */
async function confirmed(work) {
  try {
    return (await work(false)) ?? true;
  } catch (problem) {
    if (problem.code !== "confirmation_needed") throw problem;
    return ask(t("or_harm"), [make("p", {}, problem.message)], t("or_yes"), () => work(true), t("or_cancel"));
  }
}

const control = (command) => (sim) => (confirm) => call("POST", `${path(sim)}/control`, { command, confirm });
const vehicle = (what) => (sim) => (confirm) => call("POST", `${path(sim)}/vehicle`, { ...what, confirm });
const ORDERS = {
  position: (sim) => () => call("POST", `${path(sim)}/position`), attributes: (sim) => () => call("GET", `${path(sim)}/attributes`), driver: (sim) => () => call("POST", `${path(sim)}/driver`),
  doors_lock: vehicle({ doors: "lock" }), doors_unlock: vehicle({ doors: "unlock" }), fuel_cut: vehicle({ fuel: "cut" }), fuel_restore: vehicle({ fuel: "restore" }), circuit_cut: vehicle({ circuit: "cut" }), circuit_restore: vehicle({ circuit: "restore" }),
  reset: control("reset"), factory_reset: control("factory_reset"), power_off: control("power_off"), close_data: control("close_data"), close_wireless: control("close_wireless"),
};

export function controlCard(sim) {
  let chosen = "position";
  const answer = make("pre", { class: "answer", hidden: true, tabindex: "0", "aria-label": t("or_control") });
  const go = async (event) => {
    const done = await doing(event, () => confirmed(ORDERS[chosen](sim)));
    if (!done) return;
    toast(t("or_done"));
    answer.hidden = typeof done !== "object";
    answer.textContent = JSON.stringify(done.reply?.fields ?? done, null, 1);
  };
  return make("section", {}, make("h3", {}, t("or_control")), make("div", { class: "card padded" },
    make("div", { class: "row" }, select(t("or_control"), Object.keys(ORDERS).map((name) => [name, t(`or_${name}`)]), chosen, (value) => { chosen = value; }), press(t("or_do"), go)), answer));
}

