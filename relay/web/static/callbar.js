// The bar of a call that belongs to no picture: talking to a vehicle, listening to it, speaking to many. One at a time, whatever page is shown.

import { make, press, toast, told } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { Talk } from "./talk.js";

addWords({
  en: {
    tk_talk: "Talk", tk_listen: "Listen", tk_broadcast: "Speak", tk_calling: "Calling {name}…", tk_talking: "Talking with {name}", tk_listening: "Listening to {name}", tk_speaking: "Speaking to {name}", tk_end: "End", tk_mute: "Mute", tk_unmute: "Unmute", tk_ended: "The call is over: {why}", tk_hear: "How loud the vehicle is",
    tk_busy: "A call is running already; end it first.",
    tk_vehicles: "{n} vehicles", tk_failed_some: "{n} could not be reached: {names}", tk_choose: "Select", tk_speak_to: "Speak to {n} selected", tk_closed: "the connection closed",
  },
  zh: {
    tk_talk: "对讲", tk_listen: "监听", tk_broadcast: "喊话", tk_calling: "正在呼叫 {name}…", tk_talking: "与 {name} 对讲中", tk_listening: "监听 {name}", tk_speaking: "向 {name} 喊话", tk_end: "挂断", tk_mute: "静音", tk_unmute: "取消静音", tk_ended: "通话结束：{why}", tk_hear: "车辆音量",
    tk_busy: "已有通话进行中，请先挂断。",
    tk_vehicles: "{n} 辆车", tk_failed_some: "{n} 辆未接通：{names}", tk_choose: "选择", tk_speak_to: "向选中的 {n} 辆喊话", tk_closed: "连接已关闭",
  },
});

const CABIN = 33;       // the driver's loudspeaker (JT/T 1076-2016 table 2)
const WORDS = { talk: "tk_talking", listen: "tk_listening", broadcast: "tk_speaking" };

let current = null;

/** Calls one channel of a vehicle; `mode` is talk, listen or broadcast. */
export function startTalk(fleet, sim, channel, mode) {
  return begin(fleet, fleet.name(sim), { sim, channel, mode });
}

/** One microphone to many vehicles. */
export function startBroadcast(fleet, sims) {
  return begin(fleet, t("tk_vehicles", { n: sims.length }), { terminals: sims, channel: CABIN, mode: "broadcast" });
}

async function begin(fleet, name, what) {
  if (current) { toast(t("tk_busy")); return; }
  const bar = current = new Bar(name, what.mode);
  try {
    await bar.talk.start(what);
    const failed = bar.talk.results.filter((one) => !one.ok);
    if (failed.length) toast(t("tk_failed_some", { n: failed.length, names: failed.slice(0, 5).map((one) => fleet.name(one.sim || one.terminal)).join(", ") }));
  } catch (problem) {
    if (current === bar) toast(told(problem));
    bar.end();
  }
}

class Bar {
  constructor(name, mode) {
    this.talk = new Talk((what) => this.tell(what));
    this.name = name;
    this.mode = mode;
    this.began = 0;
    this.said = make("span", { class: "who", role: "status" }, t("tk_calling", { name }));
    this.time = make("time", {});
    this.heard = make("meter", { min: 0, max: 1, value: 0, "aria-label": t("tk_hear"), title: t("tk_hear") });
    this.mute = press(t("tk_mute"), () => this.setMute(!this.talk.muted), "plain", { "aria-pressed": "false" });
    this.element = make("aside", { class: "talk-bar", "aria-label": t("tk_talk") }, make("span", { class: "pulse", "aria-hidden": "true" }), this.said, this.time, mode === "broadcast" ? "" : this.heard, mode === "listen" ? "" : this.mute, press(t("tk_end"), () => this.end(), "danger"));
    document.body.append(this.element);
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  tell(what) {
    if (what.level !== undefined) { this.heard.value = what.level; return; }
    if (what.state === "speaking" || what.state === "listening") {
      this.began = Date.now();
      this.said.textContent = t(WORDS[this.mode], { name: this.name });
      this.tick();
    } else if (what.state === "over" && !what.sim) {
      this.end();
      toast(t("tk_ended", { why: what.message || t("tk_closed") }));
    } else if (what.message) toast(what.message);
  }

  setMute(on) {
    this.talk.mute(on);
    this.mute.textContent = t(on ? "tk_unmute" : "tk_mute");
    this.mute.setAttribute("aria-pressed", String(on));
  }

  tick() {
    if (!this.began) return;
    const seconds = Math.floor((Date.now() - this.began) / 1000);
    this.time.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }

  end() {
    if (current === this) current = null;
    clearInterval(this.ticker);
    this.talk.stop();
    this.element.remove();
  }
}
