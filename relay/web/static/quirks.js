// Quirks: what is peculiar to a vehicle's terminal or its model, what people say of it instead, and all of it as a file.

import { call, may, who } from "./api.js";
import { ask, doing, field, make, press, redraw, save, table, tag, toast } from "./dom.js";
import { addWords, currentLanguage, t } from "./i18n.js";

addWords({
  en: {
    qu_title: "Quirks", qu_none: "Nothing peculiar is known of it.", qu_quirk: "Quirk", qu_value: "Value", qu_from: "From", qu_say: "Say it is otherwise", qu_change: "Change", qu_back: "Take back", qu_forget: "Forget what was learnt", qu_forget_sure: "Forget what was learnt of this vehicle? It is found out anew; what people have said stays.", qu_for: "It holds for", qu_this: "this vehicle", qu_model: "every {model}", qu_may_be: "May be: {values}", qu_set: "Set", qu_cancel: "Cancel",
    qu_override: "said by a person", qu_learnt: "learnt", qu_model_override: "said of the model", qu_model_learnt: "learnt of the model",
    qu_profiles: "Quirks of models and vehicles", qu_profiles_none: "Nothing peculiar has been found yet.", qu_whose: "Model or vehicle", qu_learnt_values: "Learnt", qu_said_values: "Said by people", qu_export: "Export", qu_import: "Import", qu_import_hint: "A file that another relay's export gave. What it names is replaced here.", qu_file: "File", qu_imported: "{n} profiles taken in.", qu_not_json: "The file is not an export of quirks: {why}", qu_no: "no", qu_yes: "yes",
  },
  zh: {
    qu_title: "兼容性特征", qu_none: "未发现特殊之处。", qu_quirk: "特征", qu_value: "值", qu_from: "来源", qu_say: "人工设定", qu_change: "修改", qu_back: "撤销设定", qu_forget: "清除自动学习", qu_forget_sure: "清除该车自动学习到的特征？之后会重新学习；人工设定保留。", qu_for: "适用于", qu_this: "仅此车辆", qu_model: "所有 {model}", qu_may_be: "可取：{values}", qu_set: "设置", qu_cancel: "取消",
    qu_override: "人工设定", qu_learnt: "自动学习", qu_model_override: "按型号设定", qu_model_learnt: "按型号学习",
    qu_profiles: "型号与车辆的兼容性特征", qu_profiles_none: "尚未发现特殊之处。", qu_whose: "型号或车辆", qu_learnt_values: "自动学习", qu_said_values: "人工设定", qu_export: "导出", qu_import: "导入", qu_import_hint: "由其他服务导出的文件；其中列出的项将被替换。", qu_file: "文件", qu_imported: "已导入 {n} 项。", qu_not_json: "该文件不是特征导出文件：{why}", qu_no: "否", qu_yes: "是",
  },
});

//: the API says what a quirk is in English
const CHINESE = {
  sim_bytes: "媒体包中 SIM 字段的字节数；对讲下行与其相同", sim_field: "媒体包中的 SIM 字段（与终端手机号不同时）", timestamps: "时间戳的特点（仅展示）", marks: "分包标记是否可信（仅展示）", sequence: "包序号按什么计数（仅展示）",
  "audio.g726_order": "G.726 的比特序", playback_beside_live: "能否在同一通道直播时回放", "talk.voice": "可播放的语音：编码与块长", "talk.silent": "被呼叫时不发送语音：用独立端口区分", "talk.close_command": "结束对讲的 0x9102 命令字",
  "broadcast.close_command": "结束监听与广播的 0x9102 命令字", "talk.keep_ms": "无人说话时发送静音的间隔（毫秒，0 为不发）", "vehicle.fuel_cut": "断油的 0x8500 指令", "vehicle.fuel_restore": "恢复供油的 0x8500 指令", "vehicle.circuit_cut": "断电的 0x8500 指令", "vehicle.circuit_restore": "恢复供电的 0x8500 指令",
};
const SOURCES = ["override", "model_override", "learnt", "model_learnt"];
const shown = (value) => (value === true ? t("qu_yes") : value === false ? t("qu_no") : typeof value === "string" ? value : JSON.stringify(value));
const words = (quirk) => (currentLanguage() === "zh" ? CHINESE[quirk.name] : "") || quirk.words;

/** The field for a value of `quirk`, with `read()`: a choice where there are few values, else text (JSON where it is no word). */
function valueField(quirk, value) {
  const choices = quirk.values.split(", ");
  if (choices.length > 1 && choices.every((one) => /^[\w ]+$/.test(one))) {
    const given = choices.map((one) => (one === "True" ? true : one === "False" ? false : /^\d+$/.test(one) ? Number(one) : one));
    const made = field(t("qu_value"), {}, "select", ...given.map((one, at) => make("option", { value: String(at), selected: one === value }, shown(one))));
    return Object.assign(made, { read: () => given[Number(made.input.value)] });
  }
  const made = field(t("qu_value"), { required: true, autocomplete: "off", spellcheck: "false", value: value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value) });
  const read = () => {
    const word = made.input.value.trim();
    if (quirk.values === "hex digits") return word;
    try { return JSON.parse(word); } catch { return word; }
  };
  return Object.assign(make("div", {}, made, make("p", { class: "hint" }, t("qu_may_be", { values: quirk.values }))), { read });
}

/** A vehicle's quirks; who may give orders says what is otherwise. */
export function quirkCard(sim) {
  const path = `/terminals/${encodeURIComponent(sim)}/quirks`, rows = make("div", {}), buttons = make("span", { class: "row" });
  let told = null;

  async function look() {
    told = await doing(null, () => call("GET", path)) ?? told;
    if (told) draw();
  }

  function draw() {
    const from = (name) => SOURCES.find((where) => name in told[where]) ?? "";
    const learnt = Object.keys(told.learnt).length > 0;
    redraw(rows, table([t("qu_quirk"), t("qu_value"), t("qu_from"), ""], Object.entries(told.effective).map(([name, value]) => [
      name, make("code", {}, shown(value)), t(`qu_${from(name)}`),
      may("operator") ? make("span", {}, press(t("qu_change"), () => say(name)), from(name) === "override" || from(name) === "model_override" && !who.groups.length ? press(t("qu_back"), (event) => doing(event, () => back(name, from(name)))) : "") : "",
    ]), t("qu_none")));
    redraw(buttons, ...(may("operator") ? [press(t("qu_say"), () => say("")), learnt ? press(t("qu_forget"), (event) => confirm(t("qu_forget_sure")) && doing(event, async () => { told = await call("PUT", path, { override: told.override, forget: true }); draw(); }), "danger") : ""] : []));
  }

  /** Puts the whole of what people say of the vehicle or its model. */
  async function put(where, override) {
    const model = `/quirks/models/${told.model.split("/").map(encodeURIComponent).join("/")}`;
    await call("PUT", where === "override" ? path : model, { override });
    await look();
  }

  function back(name, where) {
    const { [name]: _, ...others } = told[where];
    return put(where, others);
  }

  async function say(name) {
    const known = await doing(null, async () => (await call("GET", "/quirks/known")).items);
    if (!known) return;
    let quirk = known.find((one) => one.name === name) ?? known[0], where = "override", value = null;
    const place = make("div", {}), about = make("p", { class: "hint" });
    const drawValue = () => {
      value = valueField(quirk, told.effective[quirk.name]);
      about.textContent = words(quirk);
      place.replaceChildren(about, value);
    };
    drawValue();
    const which = field(t("qu_quirk"), { onchange: (event) => { quirk = known.find((one) => one.name === event.target.value); drawValue(); } }, "select", ...known.map((one) => make("option", { value: one.name, selected: one === quirk }, one.name)));
    const scope = told.model && !who.groups.length ? field(t("qu_for"), { onchange: (event) => { where = event.target.value; } }, "select", make("option", { value: "override" }, t("qu_this")), make("option", { value: "model_override" }, t("qu_model", { model: told.model }))) : "";
    await ask(t("qu_say"), [which, place, scope], t("qu_set"), () => put(where, { ...told[where], [quirk.name]: value.read() }), t("qu_cancel"));
  }

  look();
  return make("section", {}, make("div", { class: "head" }, make("h3", {}, t("qu_title")), make("span", { class: "spacer" }), buttons), rows);
}

/** All that is kept, of models and vehicles: an export and, for administrators, an import. */
export function profiles(fleet) {
  const element = make("section", {});

  async function look() {
    const items = await doing(null, async () => (await call("GET", "/quirks")).items);
    if (!items) return;
    const values = (of) => make("span", { class: "tags" }, ...Object.entries(of).map(([name, value]) => tag(`${name} ${shown(value)}`)));
    redraw(element, make("div", { class: "head" }, make("h2", {}, t("qu_profiles")), make("span", { class: "spacer" }), press(t("qu_export"), (event) => doing(event, exported)), may("admin") ? press(t("qu_import"), imported) : ""),
      table([t("qu_whose"), t("qu_said_values"), t("qu_learnt_values")], items.map((one) => [
        one.kind === "terminal" ? make("a", { href: `#/vehicles/${encodeURIComponent(one.name)}` }, fleet.name(one.name)) : one.name, values(one.override), values(one.learnt),
      ]), t("qu_profiles_none")));
  }

  async function exported() {
    const told = await call("GET", "/quirks");
    save(new Blob([JSON.stringify(told, null, 1)], { type: "application/json" }), "jt1078relay-quirks.json");
  }

  async function imported() {
    const file = field(t("qu_file"), { type: "file", accept: "application/json,.json", required: true });
    const taken = await ask(t("qu_import"), [file, make("p", { class: "hint" }, t("qu_import_hint"))], t("qu_import"), async () => {
      let content;
      try { content = JSON.parse(await file.input.files[0].text()); } catch (problem) { throw new Error(t("qu_not_json", { why: problem.message })); }
      return call("POST", "/quirks/import", content);
    }, t("qu_cancel"));
    if (!taken) return;
    toast(t("qu_imported", { n: taken.profiles }));
    await look();
  }

  look();
  return element;
}
