// What an operator does with a tile's terminal: talk to the driver, turn the camera.

import { call, may } from "./api.js";
import { button, make, toast } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { Talk } from "./talk.js";

addWords({
  en: {
    talk: "Talk to the driver", talk_end: "End the call", talk_calling: "Calling…", talk_speaking: "The driver hears you", talk_over: "The call is over: {why}",
    ptz: "Turn the camera", ptz_up: "Up", ptz_down: "Down", ptz_left: "Left", ptz_right: "Right", ptz_in: "Zoom in", ptz_out: "Zoom out",
  },
  zh: {
    talk: "与驾驶员对讲", talk_end: "结束对讲", talk_calling: "呼叫中…", talk_speaking: "驾驶员可听到您说话", talk_over: "对讲已结束：{why}",
    ptz: "云台控制", ptz_up: "上", ptz_down: "下", ptz_left: "左", ptz_right: "右", ptz_in: "变倍放大", ptz_out: "变倍缩小",
  },
});

const AGAIN_MS = 500;  // a held button says so again before the relay takes it for let go (2 s)
const words = (problem) => toast(problem.hint ? `${problem.message} ${problem.hint}` : problem.message);

/** The buttons of a tile that shows `sim` and `channel`; `stop()` ends what goes on when the tile closes. Empty for those who only watch. */
export class Operate {
  constructor(sim, channel) {
    this.sim = sim;
    this.channel = channel;
    this.talk = null;
    this.buttons = [];
    if (!may("operator")) return;
    this.talkButton = button("mic", t("talk"), () => this.toggleTalk(), { "aria-pressed": "false" });
    this.ptzButton = button("ptz", t("ptz"), () => this.togglePad(), { "aria-pressed": "false" });
    this.buttons = [this.talkButton, this.ptzButton];
    this.pad = make("div", { class: "pad", hidden: true },
      ...["up", "left", "right", "down"].map((way) => this.held(way, { action: "rotate", direction: way, speed: 100 })),
      ...["in", "out"].map((way) => this.held(way, { action: "zoom", direction: way })));
  }

  // ---- talking ----

  async toggleTalk() {
    if (this.talk) { this.endTalk(); return; }
    const talk = this.talk = new Talk((what) => this.heard(talk, what));
    this.show(t("talk_calling"), true);
    try {
      await talk.start({ sim: this.sim, channel: this.channel, mode: "talk" });
      if (this.talk === talk) this.show(t("talk_end"), true);
    } catch (problem) {
      if (this.talk === talk) this.endTalk();
      words(problem);
    }
  }

  heard(talk, what) {
    if (this.talk !== talk) return;
    if (what.state === "speaking") toast(t("talk_speaking"));
    if (what.state === "over") { this.endTalk(); toast(t("talk_over", { why: what.message })); }
  }

  endTalk() {
    const talk = this.talk;
    this.talk = null;
    talk?.stop();
    this.show(t("talk"), false);
  }

  show(label, on) {
    this.talkButton.title = label;
    this.talkButton.setAttribute("aria-label", label);
    this.talkButton.setAttribute("aria-pressed", String(on));
  }

  // ---- the camera ----

  togglePad() {
    this.pad.hidden = !this.pad.hidden;
    this.ptzButton.setAttribute("aria-pressed", String(!this.pad.hidden));
  }

  /** A button that goes on while it is held, by pointer or key. */
  held(way, order) {
    let timer = 0;
    const tell = (body) => call("POST", `/terminals/${encodeURIComponent(this.sim)}/channels/${this.channel}/ptz`, body).catch((problem) => { stop(); words(problem); });
    const stop = () => {
      if (!timer) return;
      clearInterval(timer);
      timer = 0;
      if (order.action === "rotate") tell({ action: "rotate", direction: "stop" });
    };
    const start = (event) => {
      event.preventDefault();
      if (timer) return;
      timer = setInterval(() => tell(order), AGAIN_MS);
      tell(order);
    };
    const label = t(`ptz_${way}`);
    return make("button", {
      type: "button", class: `ptz-${way}`, title: label, "aria-label": label, onpointerdown: start, onpointerup: stop, onpointerleave: stop, onpointercancel: stop, onblur: stop,
      onkeydown: (event) => { if (event.key === " " || event.key === "Enter") start(event); }, onkeyup: stop, onclick: (event) => event.stopPropagation(),
    }, { up: "▲", down: "▼", left: "◀", right: "▶", in: "+", out: "−" }[way]);
  }

  stop() {
    if (this.talk) this.endTalk();
  }
}
