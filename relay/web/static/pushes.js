// Pushes: channels that are sent to outside RTMP servers; which there are, how they do, and, for administrators, more and fewer of them.

import { call, may, who } from "./api.js";
import { ask, doing, field, make, press, redraw, size, table, tag, toast, told } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { said } from "./said.js";

addWords({
  en: {
    pu_title: "Pushes to outside servers", pu_none: "No channel is sent to an outside RTMP server.", pu_add: "Push a channel", pu_push: "Push", pu_channel: "Channel", pu_target: "Server", pu_state: "State", pu_sent: "Sent", pu_begun: "Reconnects", pu_start: "Start", pu_now: "Try now", pu_stop: "Stop", pu_remove: "Remove", pu_remove_sure: "End the push {name} and forget it?", pu_remove_config: "End the push {name}? It stands in the configuration and comes back when that is read again.",
    pu_stopped: "stopped", pu_connecting: "connecting", pu_starting: "starting the channel", pu_publishing: "asking to publish", pu_running: "running", pu_waiting: "waiting", pu_next: "again in {s} s", pu_demand: "on demand", pu_from_config: "from the configuration", pu_watching: "{n} watching", pu_drops: "{n} overflows", pu_hook: "Address for the server's hooks", pu_hook_show: "Hook address", pu_hook_hint: "The server calls this address when its first viewer comes and its last goes; docs/rtmp.md has the lines for each server. It holds a key: keep it as one.", pu_close: "Close",
    pu_vehicle: "Vehicle (plate or number)", pu_url: "Address (rtmp:// or rtmps://)", pu_url_hint: "It may hold a key: it is never shown again.", pu_name: "Name (made up when empty)", pu_stream: "Stream", pu_auto: "what runs, else sub", pu_sound: "Sound", pu_sound_auto: "as the server takes it", pu_sound_source: "as the terminal sends it", pu_sound_none: "none", pu_h265: "H.265", pu_enhanced: "Enhanced RTMP", pu_legacy: "codec id 12 (older servers)", pu_when: "When", pu_always: "always", pu_only_demand: "when the server has viewers, or on Start", pu_make: "Push", pu_cancel: "Cancel", pu_made: "{name} begins.",
  },
  zh: {
    pu_title: "向外部服务器推流", pu_none: "没有通道推送到外部 RTMP 服务器。", pu_add: "新建推流", pu_push: "推流", pu_channel: "通道", pu_target: "服务器", pu_state: "状态", pu_sent: "已发送", pu_begun: "重连次数", pu_start: "开始", pu_now: "立即重试", pu_stop: "停止", pu_remove: "删除", pu_remove_sure: "结束并删除推流 {name}？", pu_remove_config: "结束推流 {name}？它写在配置文件中，重新读取配置后会恢复。",
    pu_stopped: "已停止", pu_connecting: "连接中", pu_starting: "正在启动通道", pu_publishing: "请求发布", pu_running: "推流中", pu_waiting: "等待重试", pu_next: "{s} 秒后重试", pu_demand: "按需", pu_from_config: "来自配置文件", pu_watching: "{n} 人观看", pu_drops: "溢出 {n} 次", pu_hook: "供服务器回调的地址", pu_hook_show: "回调地址", pu_hook_hint: "服务器在首个观众到来、最后一个离开时调用此地址；各服务器的配置见 docs/rtmp.md。地址含密钥，请妥善保管。", pu_close: "关闭",
    pu_vehicle: "车辆（车牌号或终端手机号）", pu_url: "地址（rtmp:// 或 rtmps://）", pu_url_hint: "地址可能含密钥，之后不再显示。", pu_name: "名称（留空自动生成）", pu_stream: "码流", pu_auto: "当前码流，否则子码流", pu_sound: "音频", pu_sound_auto: "按服务器支持", pu_sound_source: "终端原始编码", pu_sound_none: "无", pu_h265: "H.265", pu_enhanced: "Enhanced RTMP", pu_legacy: "编码号 12（旧服务器）", pu_when: "时机", pu_always: "始终", pu_only_demand: "服务器有观众时，或手动开始", pu_make: "推流", pu_cancel: "取消", pu_made: "{name} 已开始。",
  },
});

const TONES = { running: "good", waiting: "bad", connecting: "warn", starting: "warn", publishing: "warn" }, EVERY_MS = 2500;
const path = (one) => `/pushes/${encodeURIComponent(one.id)}`;

export class Pushes {
  constructor(fleet) {
    this.fleet = fleet;
    this.items = null;
    this.closed = false;
    this.element = make("section", {});
    this.look();
  }

  async look() {
    clearTimeout(this.timer);
    try {
      this.items = (await call("GET", "/pushes")).items;
      if (!this.closed) this.draw();
    } catch (problem) {
      if (!this.closed) toast(told(problem));
    }
    if (!this.closed) this.timer = setTimeout(() => this.look(), EVERY_MS);
  }

  draw() {
    const drawn = JSON.stringify(this.items) + t("pu_title");
    if (!this.items || drawn === this.drawn) return;
    this.drawn = drawn;
    redraw(this.element, make("div", { class: "head" }, make("h2", {}, t("pu_title")), make("span", { class: "spacer" }), may("admin") && !who.groups.length ? press(t("pu_add"), () => this.add(), "primary") : ""),
      table([t("pu_push"), t("pu_channel"), t("pu_target"), t("pu_state"), [t("pu_sent")], [t("pu_begun")], ""], this.items.map((one) => [
        make("span", {}, one.id, make("small", {}, [one.origin === "config" ? t("pu_from_config") : "", one.when === "demand" ? t("pu_demand") : "", one.watching ? t("pu_watching", { n: one.watching }) : ""].filter(Boolean).join(" · "))),
        `${this.fleet.name(one.sim || one.terminal)} · ${t("ch", { n: one.channel })}`, one.target,
        make("span", {}, tag(t(`pu_${one.state}`), TONES[one.state]), make("small", {}, [one.state === "running" ? "" : said(one.last_error), one.next_try_s === null ? "" : t("pu_next", { s: Math.ceil(one.next_try_s) }), said(one.note)].filter(Boolean).join(" · "))),
        [make("span", {}, size(one.bytes), make("small", {}, one.drops ? t("pu_drops", { n: one.drops }) : ""))], [String(one.reconnects)], make("span", {}, ...this.actions(one)),
      ]), t("pu_none")));
  }

  actions(one) {
    const order = (word, action) => press(t(word), (event) => doing(event, async () => { await call("POST", `${path(one)}/${action}`); await this.look(); }));
    return [
      may("operator") && ["stopped", "waiting"].includes(one.state) ? order(one.state === "waiting" ? "pu_now" : "pu_start", "start") : "",
      may("operator") && one.state !== "stopped" ? order("pu_stop", "stop") : "",
      one.hook && one.when === "demand" ? press(t("pu_hook_show"), () => this.showHook(one)) : "",
      may("admin") && !who.groups.length ? press(t("pu_remove"), (event) => confirm(t(one.origin === "config" ? "pu_remove_config" : "pu_remove_sure", { name: one.id })) && doing(event, async () => { await call("DELETE", path(one)); await this.look(); }), "danger") : "",
    ];
  }

  showHook(one) {
    return ask(one.id, [field(t("pu_hook"), { readonly: true, value: new URL(one.hook, location.href).href }), make("p", { class: "hint" }, t("pu_hook_hint"))], t("pu_close"), () => true);
  }

  async add() {
    const choice = (label, options) => field(label, {}, "select", ...options.map(([value, words]) => make("option", { value }, words)));
    const names = [...this.fleet.items.values()].slice(0, 500).map((item) => make("option", { value: item.plate || item.sim }, item.sim));
    const vehicle = field(t("pu_vehicle"), { required: true, list: "push-vehicles", autocomplete: "off", maxlength: 64 }), channel = field(t("pu_channel"), { type: "number", min: 1, max: 255, value: 1, required: true });
    const url = field(t("pu_url"), { required: true, pattern: "rtmps?://.+", maxlength: 2048, placeholder: "rtmp://live.example/app/name", autocomplete: "off", spellcheck: "false" }), name = field(t("pu_name"), { pattern: "[A-Za-z0-9_][A-Za-z0-9_.\\-]{0,63}", autocomplete: "off" });
    const stream = choice(t("pu_stream"), [["auto", t("pu_auto")], ["main", t("main")], ["sub", t("sub")]]), when = choice(t("pu_when"), [["always", t("pu_always")], ["demand", t("pu_only_demand")]]);
    const audio = choice(t("pu_sound"), [["auto", t("pu_sound_auto")], ["aac", "AAC"], ["source", t("pu_sound_source")], ["none", t("pu_sound_none")]]), hevc = choice(t("pu_h265"), [["enhanced", t("pu_enhanced")], ["legacy", t("pu_legacy")]]);
    const made = await ask(t("pu_add"), [vehicle, make("datalist", { id: "push-vehicles" }, ...names), channel, url, make("p", { class: "hint" }, t("pu_url_hint")), name, stream, audio, hevc, when], t("pu_make"), () => call("POST", "/pushes", {
      sim: vehicle.input.value.trim(), channel: Number(channel.input.value), url: url.input.value.trim(), name: name.input.value.trim() || null, stream: stream.input.value, audio: audio.input.value, hevc: hevc.input.value, when: when.input.value,
    }), t("pu_cancel"));
    if (!made) return;
    if (made.when === "always") toast(t("pu_made", { name: made.id }));
    await this.look();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}
