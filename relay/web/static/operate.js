// What an operator does with a tile's terminal: talk to the driver, turn the camera.

import { may } from "./api.js";
import { button, toast, told } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { smallPad } from "./ptz.js";
import { Talk } from "./talk.js";

addWords({
  en: {
    talk: "Talk to the driver", talk_end: "End the call", talk_calling: "Calling…", talk_speaking: "The driver hears you", talk_over: "The call is over: {why}",
    turn_camera: "Turn the camera",
  },
  zh: {
    talk: "与驾驶员对讲", talk_end: "结束对讲", talk_calling: "呼叫中…", talk_speaking: "驾驶员可听到您说话", talk_over: "对讲已结束：{why}",
    turn_camera: "云台控制",
  },
});

/** The buttons of a tile that shows `sim` and `channel`; `stop()` ends what goes on when the tile closes. Empty for those who only watch. */
export class Operate {
  constructor(sim, channel) {
    this.sim = sim;
    this.channel = channel;
    this.talk = null;
    this.buttons = [];
    if (!may("operator")) return;
    this.talkButton = button("mic", t("talk"), () => this.toggleTalk(), { "aria-pressed": "false" });
    this.ptzButton = button("ptz", t("turn_camera"), () => this.togglePad(), { "aria-pressed": "false" });
    this.buttons = [this.talkButton, this.ptzButton];
    this.pad = smallPad(() => [sim, channel]);
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
      toast(told(problem));
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

  stop() {
    if (this.talk) this.endTalk();
    this.pad?.halt();
  }
}
