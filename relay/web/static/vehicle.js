// One vehicle: who it is, how it does, its channels with the last starts hop by hop, and what can be done with it.

import { call, may } from "./api.js";
import { ask, doing, facts, field, make, moment, press, redraw, size, table, tag } from "./dom.js";
import { addWords, place, t } from "./i18n.js";
import { Areas } from "./areas.js";
import { controlCard, parameterCard, Photos, textCard } from "./orders.js";
import { states, where } from "./page_vehicles.js";
import { pad } from "./ptz.js";
import { quirkCard } from "./quirks.js";
import { codeWords, said } from "./said.js";
import { Stage } from "./stage.js";
import { startTalk } from "./callbar.js";

addWords({
  en: {
    vh_unknown: "No vehicle {sim} is known.", vh_back: "All vehicles", vh_watch: "Watch", vh_watching: "Watching", vh_channel: "Channel", vh_viewers: "Viewers", vh_source: "Known by", vh_starts: "Last starts", vh_starts_none: "This channel has not been started since the relay began.",
    vh_identity: "Identity", vh_number: "Number", vh_edition: "Edition", vh_maker: "Maker and model", vh_terminal_id: "Terminal id", vh_firmware: "Hardware, firmware", vh_address: "Address", vh_since: "Online since", vh_heard: "Last heard", vh_why: "Why offline",
    vh_clock: "Its clock", vh_clock_right: "right", vh_clock_off: "{s} s off", vh_codecs: "Codecs", vh_state: "Position", vh_time: "Time", vh_place: "Where", vh_speed: "Speed", vh_direction: "Direction", vh_mileage: "Mileage", vh_signal: "Signal, satellites", vh_acc: "Ignition", vh_on: "on", vh_off: "off",
    vh_data: "Data use", vh_in: "Received", vh_out: "Sent", vh_messages: "Messages", vh_connects: "Connections",
    vh_started: "Started", vh_result: "How far", vh_first_picture: "picture after {ms} ms", vh_ended_at: "ended at: {hop}", vh_playback: "Recordings", vh_map: "Map and track", vh_alarms: "Alarms", vh_budget: "Data spent", vh_set_budget: "Budget", vh_today: "Today", vh_month: "This month", vh_signalling: "no channel", use_api: "program", use_attachment: "files of alarms", use_idle: "not stopped yet", use_playback: "playback", use_push: "push", use_recorder: "recording here", use_signalling: "signalling", use_superior: "superior platform", use_talk: "calls", use_unrequested: "not asked for", use_upload: "files uploaded", use_viewer: "watched live", vh_level_warn: "nearly spent", vh_level_sub: "sub stream only", vh_level_spent: "spent", vh_day_mb: "A day, MB", vh_month_mb: "A month, MB", vh_as_configured: "as configured", vh_budget_hint: "0: as much as it likes; empty: as the configuration says.", kind_av: "picture and sound", kind_audio: "sound", kind_video: "picture", vh_choose: "Choose a channel above to watch it here.",
  },
  zh: {
    vh_unknown: "没有车辆 {sim}。", vh_back: "全部车辆", vh_watch: "观看", vh_watching: "观看中", vh_channel: "通道", vh_viewers: "观众", vh_source: "来源", vh_starts: "最近启动", vh_starts_none: "服务启动以来该通道未被启动。",
    vh_identity: "终端信息", vh_number: "终端手机号", vh_edition: "协议版本", vh_maker: "厂商与型号", vh_terminal_id: "终端 ID", vh_firmware: "硬件、固件", vh_address: "地址", vh_since: "上线时间", vh_heard: "最近通信", vh_why: "离线原因",
    vh_clock: "终端时钟", vh_clock_right: "准确", vh_clock_off: "偏差 {s} 秒", vh_codecs: "编码", vh_state: "位置", vh_time: "时间", vh_place: "坐标", vh_speed: "速度", vh_direction: "方向", vh_mileage: "里程", vh_signal: "信号、卫星", vh_acc: "点火", vh_on: "开", vh_off: "关",
    vh_data: "流量", vh_in: "接收", vh_out: "发送", vh_messages: "消息数", vh_connects: "连接次数",
    vh_started: "开始时间", vh_result: "结果", vh_first_picture: "{ms} 毫秒出图", vh_ended_at: "止于：{hop}", vh_playback: "录像回放", vh_map: "地图与轨迹", vh_alarms: "报警", vh_budget: "流量使用", vh_set_budget: "流量限额", vh_today: "今日", vh_month: "本月", vh_signalling: "不分通道", use_api: "程序", use_attachment: "报警附件", use_idle: "等待停止", use_playback: "录像回放", use_push: "推流", use_recorder: "服务器录像", use_signalling: "信令", use_superior: "上级平台", use_talk: "对讲", use_unrequested: "未经请求", use_upload: "上传文件", use_viewer: "实时观看", vh_level_warn: "即将用尽", vh_level_sub: "仅子码流", vh_level_spent: "已用尽", vh_day_mb: "每日（MB）", vh_month_mb: "每月（MB）", vh_as_configured: "按配置", vh_budget_hint: "0 为不限；留空按配置文件。", kind_av: "音视频", kind_audio: "音频", kind_video: "视频", vh_choose: "在上方选择通道，在此观看。",
  },
});

const PURPOSES = new Set(["api", "attachment", "idle", "playback", "push", "recorder", "signalling", "superior", "talk", "unrequested", "upload", "viewer"]);   // use_…
const EVERY_MS = 5000;

export class Vehicle {
  constructor(element, { fleet, rest, status }) {
    this.sim = rest[0];
    this.fleet = fleet;
    this.status = status;
    this.element = element;
    this.closed = false;
    this.shown = 0;             // the channel whose picture and starts are shown
    this.begin();
  }

  get path() {
    return `/terminals/${encodeURIComponent(this.sim)}`;
  }

  async begin() {
    try {
      this.item = await call("GET", this.path);
    } catch (problem) {
      this.element.replaceChildren(make("main", { class: "sheet" }, make("section", {}, make("h2", {}, t("vh_unknown", { sim: this.sim })), make("p", {}, [problem.message, problem.hint].filter(Boolean).join(" ")), make("a", { href: "#/vehicles" }, t("vh_back")))));
      return;
    }
    if (this.closed) return;
    this.sim = this.item.sim;
    this.build();
    this.unwatch = this.fleet.watch(() => { if (this.head) this.drawHead(); });
    this.timer = setInterval(() => this.look(), EVERY_MS);
  }

  async look() {
    if (document.hidden) return;
    try {
      const item = await call("GET", this.path);
      if (this.closed) return;
      this.item = item;
      this.drawHead();
      this.drawChannels();
      this.drawFacts();
      this.lookTraffic();
      if (this.shown) await this.showStarts(this.shown);
    } catch { /* the line at the top says that the relay cannot be reached */ }
  }

  build() {
    this.stage?.close();
    this.photos?.close();
    this.camera?.halt();
    this.areas?.close();
    this.stage = new Stage(this.fleet, () => t("vh_choose"));
    this.head = make("div", { class: "head" });
    this.channels = make("div", {});
    this.starts = make("div", {});
    this.facts = make("section", { class: "columns" });
    this.traffic = make("div", { class: "card padded" });
    const operator = may("operator");
    this.photos = new Photos(this.sim, this.item.channels);
    this.camera = operator ? pad(() => [this.sim, this.shown || this.item.channels[0]?.channel || 1]) : null;
    this.areas = operator ? new Areas(this.sim, () => this.item, this.status) : null;
    this.picture = make("div", { class: "picture" }, make("div", { class: "frame" }, this.stage.element), this.camera ?? "");
    this.element.replaceChildren(make("main", { class: "sheet wide" }, make("section", {}, this.head, this.channels), make("section", {}, this.picture, this.starts), this.facts,
      this.photos.element, ...(operator ? [textCard(this.sim), parameterCard(this.sim), controlCard(this.sim), this.areas.element] : []), quirkCard(this.sim)));
    this.drawHead();
    this.drawChannels();
    this.drawFacts();
    this.lookTraffic();
    if (this.shown) this.watch(this.shown);
  }

  get talk() {
    return this.fleet.talks.get(this.sim);
  }

  drawHead() {
    const { item } = this;
    redraw(this.head, make("a", { class: "back", href: "#/vehicles", title: t("vh_back"), "aria-label": t("vh_back") }, "‹"), make("h2", {}, item.plate || item.alias || item.sim), item.group ? tag(item.group) : "", states(item), this.talk ? tag(t("tk_holds", { who: this.talk.who }), "warn") : "", make("span", { class: "spacer" }),
      ...["playback", "map", "alarms"].map((page) => make("a", { class: "plain", href: `#/${page}/${encodeURIComponent(item.sim)}` }, t(`vh_${page}`))));
  }

  drawChannels() {
    const { item } = this;
    const shown = JSON.stringify([item.channels, item.online, this.shown]);
    if (shown === this.channelsShown) return;
    this.channelsShown = shown;
    redraw(this.channels, table([t("vh_channel"), [t("vh_viewers")], ""], item.channels.map((channel) => [
      make("span", { title: `${t("vh_source")} ${channel.source}` }, `${channel.channel} ${channel.name || place(channel.channel)}`.trim(), make("small", {}, t(`kind_${channel.kind}`))), [String(channel.viewers)],
      make("span", {}, ...(may("operator") ? ["talk", "listen", "broadcast"].map((mode) => press(t(`tk_${mode}`), () => startTalk(this.fleet, this.sim, channel.channel, mode), "plain", { disabled: !item.online })) : []), press(this.shown === channel.channel ? t("vh_watching") : t("vh_watch"), () => this.watch(channel.channel), "plain", { disabled: !item.online, "aria-pressed": String(this.shown === channel.channel) }),
        press(t("vh_starts"), (event) => doing(event, () => this.showStarts(channel.channel)))),
    ]), ""));
  }

  watch(channel) {
    this.shown = channel;
    this.stage.show(this.sim, channel);
    this.drawChannels();
    this.showStarts(channel).catch(() => {});
  }

  async showStarts(channel) {
    const { items } = await call("GET", `${this.path}/channels/${channel}/traces`);
    const stamp = JSON.stringify([channel, items]);
    if (this.closed || stamp === this.startsShown) return;
    this.startsShown = stamp;
    const name = (hop) => t(`hop_${hop}`);
    redraw(this.starts, make("h3", {}, `${t("vh_starts")} · ${t("channel", { n: channel })}`), table([t("vh_started"), t("vh_result"), t("d_hops")], items.slice(0, 10).map((trace) => {
      const last = trace.hops.at(-1);
      return [moment(trace.started), trace.failure ? tag(t("vh_ended_at", { hop: name(last?.hop ?? "requested") }), "bad") : tag(t("vh_first_picture", { ms: Math.round(last?.at_ms ?? 0) }), "good"),
        make("span", { class: "trace" }, ...trace.hops.map((hop) => make("span", { title: [name(hop.hop), said(hop.detail)].filter(Boolean).join(": ") }, name(hop.hop), make("b", {}, ` ${Math.round(hop.at_ms)} ms`))),
          ...trace.notes.map((note) => make("span", { class: "note" }, said(note.note))), trace.failure ? make("span", { class: "note" }, codeWords(trace.failure)) : "")];
    }), t("vh_starts_none")));
  }

  drawFacts() {
    const { item } = this, at = item.position, off = item.clock_offset_s;
    const card = (title, rows) => make("div", { class: "card padded" }, make("h3", {}, title), facts(rows));
    redraw(this.facts,
      card(t("vh_identity"), [[t("vh_number"), item.phone], [t("vh_edition"), item.edition && `JT/T 808-${item.edition}`], [t("vh_maker"), [item.manufacturer, item.model].filter(Boolean).join(" ")], [t("vh_terminal_id"), item.terminal_id], ["ICCID", item.iccid], ["IMEI", item.imei],
        [t("vh_firmware"), [item.hardware, item.firmware].filter(Boolean).join(", ")], [t("vh_codecs"), [item.video_codec, item.audio_codec].filter(Boolean).join(", ")], [t("vh_address"), item.peer && `${item.peer} (${item.transport})`], [t("vh_since"), moment(item.online_since)], [t("vh_heard"), moment(item.last_seen)], [t("vh_why"), said(item.offline_reason)],
        [t("vh_clock"), off === null ? "" : Math.abs(off) < 5 ? t("vh_clock_right") : tag(t("vh_clock_off", { s: off.toFixed(0) }), "warn")], ...Object.entries(item.details)]),
      card(t("vh_state"), at ? [[t("vh_time"), moment(at.time)], [t("vh_place"), where(at)], [t("vh_speed"), `${at.speed.toFixed(1)} ${t("kmh")}`], [t("vh_direction"), `${at.direction}°`], [t("vh_acc"), at.acc ? t("vh_on") : t("vh_off")], [t("vh_mileage"), at.mileage === null ? "" : `${at.mileage} km`],
        [t("vh_signal"), [at.signal, at.satellites].filter((one) => one !== null).join(", ")]] : []),
      card(t("vh_data"), [[t("vh_in"), size(item.bytes_in)], [t("vh_out"), size(item.bytes_out)], [t("vh_messages"), item.messages], [t("vh_connects"), item.connects]]), this.traffic);
  }

  /** What its SIM card's data was spent on today, and its budgets. */
  async lookTraffic() {
    let told = null;
    try { told = await call("GET", `${this.path}/traffic`); } catch { /* not counted here */ }
    this.traffic.hidden = !told;
    if (!told || this.closed) return;
    const { usage } = told, today = told.items.filter((one) => one.day === told.items.at(-1)?.day);
    const of = (spent, most) => (most ? make("span", {}, `${size(spent)} / ${size(most)}`, make("progress", { max: most, value: Math.min(most, spent), "aria-label": t("vh_budget") })) : size(spent));
    const shown = JSON.stringify(told);
    if (shown === this.trafficShown) return;
    this.trafficShown = shown;
    redraw(this.traffic, make("div", { class: "head" }, make("h3", {}, t("vh_budget")), usage.level === "ok" ? "" : tag(t(`vh_level_${usage.level}`), usage.level === "spent" ? "bad" : "warn"), make("span", { class: "spacer" }), may("operator") ? press(t("vh_set_budget"), () => this.setBudget(usage)) : ""),
      facts([[t("vh_today"), of(usage.day_bytes, usage.day_budget)], [t("vh_month"), of(usage.month_bytes, usage.month_budget)], ...today.map((one) => [`${one.channel ? t("ch", { n: one.channel }) : t("vh_signalling")} · ${PURPOSES.has(one.purpose) ? t(`use_${one.purpose}`) : one.purpose}`, size(one.bytes)])]));
  }

  async setBudget(usage) {
    const entry = (words, value) => field(words, { type: "number", min: 0, step: 1, value: value === null ? "" : Math.round(value / 1e6), placeholder: t("vh_as_configured") });
    const [day, month] = [entry(t("vh_day_mb"), usage.day_budget), entry(t("vh_month_mb"), usage.month_budget)];
    const bytes = (one) => (one.input.value === "" ? null : Number(one.input.value) * 1e6);
    if (await ask(t("vh_set_budget"), [day, month, make("p", { class: "hint" }, t("vh_budget_hint"))], t("or_set"), () => call("PUT", `${this.path}/budget`, { day_bytes: bytes(day), month_bytes: bytes(month) }), t("or_cancel"))) { this.trafficShown = ""; await this.lookTraffic(); }
  }

  words() {
    if (this.item) { this.channelsShown = this.trafficShown = this.startsShown = ""; this.build(); }
  }

  event(event) {
    if (event.sim === this.sim && /^(terminal|stream)/.test(event.event)) this.look();
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    this.unwatch?.();
    this.camera?.halt();
    this.photos?.close();
    this.areas?.close();
    this.stage?.close();
  }
}
