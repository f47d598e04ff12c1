// Playback: what a terminal has stored of a day, on a line; watched with pause, speed, seeking and key frames; and files fetched by FTP.

import { call, may } from "./api.js";
import { spoken } from "./bell.js";
import { doing, make, press, select, size, table, tag, toast, told } from "./dom.js";
import { addWords, place, t } from "./i18n.js";
import { said } from "./said.js";
import { Stage } from "./stage.js";
import { dayOf, ofDay, Timeline } from "./timeline.js";
import { Uploads } from "./uploads.js";
import { Videos } from "./videos.js";

addWords({
  en: {
    pb_vehicle: "Vehicle", pb_vehicle_hint: "Plate or number", pb_channel: "Channel", pb_day: "Day (GMT+8)", pb_what: "What", pb_any: "picture and sound", pb_video: "picture", pb_audio: "sound", pb_search: "Search", pb_searching: "Asking the terminal…", pb_unknown: "No vehicle is called {name}.",
    pb_timeline: "Recordings of the day: arrow keys move, Enter plays from there", pb_zoom: "How much of the day is shown", pb_found: "{n} recordings, answered in {s} s", pb_begin: "Choose vehicle, channel and day, and search what the terminal has stored.", pb_none: "The terminal has nothing stored of that day.",
    pb_from: "From", pb_to: "To", pb_size: "Size", pb_alarms: "Alarms", pb_stream: "Stream", pb_play: "Play", pb_fetch: "Fetch file", pb_fetched: "The terminal will send it; see below.",
    pb_pause: "Pause", pb_resume: "Go on", pb_speed: "Speed", pb_keyframes: "Key frames only", pb_rewind: "Rewind", pb_stop: "Stop", pb_position: "Position", pb_nothing_there: "Nothing is recorded at {time}; playing the next recording.", pb_after: "Nothing is recorded after {time}.", pb_replaced: "Another playback of this channel was ended.",
    pb_playing: "Playing from {time}", pb_idle: "Click on the line, or on Play, to watch.",
  },
  zh: {
    pb_vehicle: "车辆", pb_vehicle_hint: "车牌号或终端手机号", pb_channel: "通道", pb_day: "日期（GMT+8）", pb_what: "内容", pb_any: "音视频", pb_video: "视频", pb_audio: "音频", pb_search: "查询", pb_searching: "正在查询终端…", pb_unknown: "没有车辆 {name}。",
    pb_timeline: "当日录像：方向键移动，回车从该处播放", pb_zoom: "时间范围", pb_found: "共 {n} 段录像，{s} 秒内应答", pb_begin: "选择车辆、通道和日期，查询终端上的录像。", pb_none: "终端上没有该日的录像。",
    pb_from: "开始", pb_to: "结束", pb_size: "大小", pb_alarms: "报警", pb_stream: "码流", pb_play: "播放", pb_fetch: "上传文件", pb_fetched: "终端将上传该文件，见下方列表。",
    pb_pause: "暂停", pb_resume: "继续", pb_speed: "倍速", pb_keyframes: "仅关键帧", pb_rewind: "倒放", pb_stop: "停止", pb_position: "位置", pb_nothing_there: "{time} 没有录像，播放下一段。", pb_after: "{time} 之后没有录像。", pb_replaced: "已结束该通道的另一个回放。",
    pb_playing: "从 {time} 开始播放", pb_idle: "点击时间轴或“播放”观看。",
  },
});

const SPEEDS = [1, 2, 4, 8, 16], CHANNELS_MAX = 16, LISTED_MAX = 500;

export function open(element, { fleet, rest }) {
  const view = new Playback(fleet, rest);
  element.append(view.element);
  return view;
}

class Playback {
  constructor(fleet, [sim = "", channel = "1", day = ""]) {
    this.fleet = fleet;
    this.sim = sim;
    this.channel = Number(channel) || 1;
    this.day = /^\d{4}-\d\d-\d\d$/.test(day) ? day : dayOf(Date.now());
    this.what = "av";
    this.found = null;
    this.session = null;
    this.starting = false;
    this.stage = new Stage(fleet, () => t("pb_idle"));
    this.timeline = new Timeline((second) => this.pick(second));
    this.videos = new Videos((time) => this.timeline.second(time));
    this.uploads = new Uploads(fleet);
    this.form = make("form", { class: "filters" });
    this.list = make("div", {});
    this.said = make("p", { class: "hint", role: "status" }, t("pb_begin"));
    this.controls = make("div", { class: "row controls" });
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.search(); });
    this.element = make("main", { class: "sheet wide" }, make("section", {}, this.form, this.said, this.timeline.element),
      make("section", {}, make("div", { class: "frame big" }, this.stage.element), this.controls), make("section", {}, this.list), this.videos.element, this.uploads.element);
    this.drawForm();
    this.drawControls();
    this.drawList();
    this.ticker = setInterval(() => this.look(), 1000);
    if (sim && may("operator")) this.search();
  }

  drawForm() {
    const names = [...this.fleet.items.values()].sort((a, b) => Number(b.online) - Number(a.online)).slice(0, LISTED_MAX);
    const chosen = this.fleet.get(this.sim);
    this.vehicle = make("input", { list: "vehicles", required: true, value: chosen ? chosen.plate || chosen.sim : this.sim, placeholder: t("pb_vehicle_hint"), "aria-label": t("pb_vehicle"), autocomplete: "off" });
    this.vehicle.addEventListener("change", () => { if (this.resolve()) this.drawForm(); });
    const channels = chosen?.channels.length ? chosen.channels.map((one) => one.channel) : Array.from({ length: CHANNELS_MAX }, (_, at) => at + 1);
    if (!channels.includes(this.channel)) this.channel = channels[0];
    const day = make("input", { type: "date", value: this.day, required: true, "aria-label": t("pb_day"), title: t("pb_day"), onchange: () => { this.day = day.value; } });
    this.go = make("button", { class: "primary", disabled: !may("operator") }, t("pb_search"));
    this.form.replaceChildren(make("h2", {}, t("page_playback")), this.vehicle, make("datalist", { id: "vehicles" }, ...names.map((item) => make("option", { value: item.plate || item.sim }, item.sim))),
      select(t("pb_channel"), channels.map((number) => [String(number), `${number} ${chosen?.channels.find((one) => one.channel === number)?.name || place(number)}`.trim()]), String(this.channel), (value) => { this.channel = Number(value); }),
      day, select(t("pb_what"), [["av", t("pb_any")], ["video", t("pb_video")], ["audio", t("pb_audio")]], this.what, (value) => { this.what = value; }), this.go);
  }

  /** The terminal that the field names, by plate, alias or number. */
  resolve() {
    const word = this.vehicle.value.trim().toLowerCase();
    const item = [...this.fleet.items.values()].find((one) => [one.plate, one.alias, one.sim, one.phone, ...one.aliases].some((name) => name && name.toLowerCase() === word));
    if (item) this.sim = item.sim;
    return item;
  }

  get path() {
    return `/terminals/${encodeURIComponent(this.sim)}/channels/${this.channel}`;
  }

  async search() {
    if (!this.resolve()) { this.said.textContent = t("pb_unknown", { name: this.vehicle.value }); return; }
    this.timeline.day = this.day;
    this.videos.show(this.sim, this.channel, this.day);
    this.said.textContent = t("pb_searching");
    this.go.disabled = true;
    const { day, what } = this;
    try {
      const found = await call("POST", `${this.path}/recordings/search`, { start_time: `${day}T00:00:00`, end_time: `${day}T23:59:59`, media_type: what === "av" ? "any" : what });
      found.items.sort((a, b) => (a.start_time < b.start_time ? -1 : 1));
      this.found = { ...found, day, path: this.path, sim: this.sim, channel: this.channel };
      this.said.textContent = [t("pb_found", { n: found.total, s: found.seconds.toFixed(1) }), said(found.note)].filter(Boolean).join(" · ");
      this.timeline.show(day, found.items);
      history.replaceState(null, "", `#/playback/${encodeURIComponent(this.sim)}/${this.channel}/${day}`);
    } catch (problem) {
      this.said.textContent = told(problem);
    } finally {
      this.go.disabled = false;
    }
    this.drawList();
  }

  drawList() {
    const items = this.found?.items ?? [];
    this.list.replaceChildren(table([t("pb_from"), t("pb_to"), [t("pb_size")], t("pb_stream"), t("pb_alarms"), ""], items.map((one) => [
      ofDay(this.timeline.second(one.start_time)), ofDay(this.timeline.second(one.end_time)), [size(one.file_size)], t(one.stream_type === "main" ? "main" : "sub"),
      make("span", { class: "tags" }, ...one.alarms.map((alarm) => tag(spoken(alarm), "bad"))),
      make("span", {}, press(t("pb_play"), () => this.play(this.timeline.second(one.start_time))), press(t("pb_fetch"), (event) => this.fetch(event, one))),
    ]), this.found ? t("pb_none") : t("pb_begin")));
  }

  pick(second) {
    if (!this.found) return;
    if (this.session && this.running) this.control("seek", second);
    else this.play(second);
  }

  get running() {
    return this.session && ["requesting", "playing", "paused"].includes(this.session.state);
  }

  /** Moves into the next recording when none is at that moment. */
  recorded(second) {
    const inside = this.timeline.items.some((one) => one.from <= second && second < one.to);
    const next = inside ? null : this.timeline.items.find((one) => one.from >= second);
    if (inside) return second;
    toast(t(next ? "pb_nothing_there" : "pb_after", { time: ofDay(second) }));
    return next?.from ?? null;
  }

  async play(second) {
    const from = this.recorded(second);
    if (from === null || this.starting) return;
    const { found } = this;
    this.starting = true;
    this.said.textContent = t("pb_playing", { time: ofDay(from) });
    // The session is begun while the tile says that it waits; it has its own address, asked for again at each start of the player.
    const begin = call("POST", `${found.path}/playback`, { start_time: `${found.day}T${ofDay(from)}`, end_time: `${found.day}T23:59:59`, media_type: this.what, replace: true });
    begin.then((session) => { this.session = session; this.stage.tile.hold(false); this.drawControls(); }, () => { this.session = null; this.drawControls(); }).finally(() => { this.starting = false; });
    this.stage.element.scrollIntoView({ block: "nearest" });     // the list's buttons are below it
    let first = begin;
    this.stage.play({ sim: found.sim, channel: found.channel, address: async () => {
      const session = await (first ?? call("GET", `/playbacks/${encodeURIComponent(this.session?.id ?? "")}/play`));
      first = null;
      return session.urls.ws_mp4;
    } });
  }

  async control(action, value) {
    const order = { action };
    if (action === "seek") {
      const to = this.recorded(value);
      if (to === null) return;
      order.time = `${this.found.day}T${ofDay(to)}`;
    } else if (value) order.speed = value;
    const done = await doing(null, () => call("POST", `/playbacks/${encodeURIComponent(this.session.id)}/control`, order));
    if (!done) return;
    this.session = { ...this.session, ...done };
    this.stage.tile.hold(done.state === "paused");
    this.stage.tile.expectSound(done.mode === "normal" && done.speed === 1);    // terminals send none when they play faster
    this.drawControls();
  }

  async stop() {
    const { session } = this;
    this.session = null;
    this.stage.close();
    this.timeline.move(null);
    this.drawControls();
    if (session) await call("DELETE", `/playbacks/${encodeURIComponent(session.id)}`).catch(() => {});
  }

  async look() {
    if (!this.running || this.looking) return;
    this.looking = true;
    try {
      const now = await call("GET", `/playbacks/${encodeURIComponent(this.session.id)}`);
      if (this.session?.id !== now.id) return;
      this.session = { ...this.session, ...now };
      if (now.position && this.found) this.timeline.move(this.timeline.second(now.position));
      this.drawControls();
    } catch (problem) {
      if (problem.status === 404 || problem.status === 410) { this.session = null; this.drawControls(); }
    } finally {
      this.looking = false;
    }
  }

  drawControls() {
    const { session } = this, on = Boolean(this.running) && may("operator"), paused = session?.state === "paused";
    const shown = JSON.stringify([on, paused, session?.mode, session?.speed, session?.position]);
    if (shown === this.controlsShown) return;
    this.controlsShown = shown;
    const at = this.controls.contains(document.activeElement) ? [...this.controls.querySelectorAll("button")].indexOf(document.activeElement) : -1;
    this.controls.replaceChildren(
      press(paused ? t("pb_resume") : t("pb_pause"), () => this.control(paused ? "resume" : "pause"), "plain", { disabled: !on }),
      make("div", { class: "segmented", role: "group", "aria-label": t("pb_speed") }, ...SPEEDS.map((speed) => make("button", { type: "button", disabled: !on, "aria-pressed": String(on && session.mode === "normal" && session.speed === speed), onclick: () => this.control("speed", speed) }, `${speed}×`))),
      press(t("pb_keyframes"), () => this.control("keyframes"), "plain", { disabled: !on, "aria-pressed": String(session?.mode === "keyframes") }),
      press(t("pb_rewind"), () => this.control("rewind", 1), "plain", { disabled: !on, "aria-pressed": String(session?.mode === "rewind") }),
      press(t("pb_stop"), () => this.stop(), "danger", { disabled: !on }),
      make("span", { class: "hint" }, on && session.position ? `${t("pb_position")} ${ofDay(this.timeline.second(session.position))}` : t("pb_idle")));
    if (at >= 0) this.controls.querySelectorAll("button")[at]?.focus();
  }

  async fetch(event, one) {
    const order = { start_time: one.start_time, end_time: one.end_time, media_type: one.media_type, stream_type: one.stream_type, storage_type: one.storage_type, file_size: one.file_size };
    if (await doing(event, () => call("POST", `${this.found.path}/uploads`, order))) { toast(t("pb_fetched")); this.uploads.look(); }
  }

  words() {
    this.drawForm();
    this.controlsShown = "";
    this.drawControls();
    this.drawList();
    this.timeline.words();
    this.uploads.draw();
    if (!this.videos.element.hidden) this.videos.draw();
    this.said.textContent = this.found ? "" : t("pb_begin");
  }

  keys(event) {
    if (event.key === " " && this.running) { event.preventDefault(); this.control(this.session.state === "paused" ? "resume" : "pause"); }
  }

  close() {
    clearInterval(this.ticker);
    this.timeline.close();
    this.uploads.close();
    this.stop();
  }
}
