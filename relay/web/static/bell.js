// What waits for a person, for the navigation: alarms nobody has acknowledged, requests of superior platforms; and a word about each new one that is worth one.

import { call, who } from "./api.js";
import { toast } from "./dom.js";
import { addWords, currentLanguage, t } from "./i18n.js";
import { said } from "./said.js";

addWords({
  en: { bell_alarms: "{n} alarms nobody has acknowledged", bell_superiors: "{n} requests wait for an answer", bell_new: "{name}: {alarm}" },
  zh: { bell_alarms: "{n} 条报警未确认", bell_superiors: "{n} 条请求待应答", bell_new: "{name}：{alarm}" },
});

const GATHER_MS = 1500;    // a storm of alarms is one question
const WORTH_LEVEL = 2;

/** An alarm's name in the language of the page; the relay tells "KIND: English (中文)", and the channel after it where there is one. */
export function spoken(name) {
  const both = /^(?:[A-Z]+: )?(.*) \(([^()]*[\u4e00-\u9fff][^()]*)\)(?:, channel (\d+))?$/.exec(name);
  if (!both) return said(name);
  const [, english, chinese, channel] = both;
  return currentLanguage() === "zh" ? [chinese, channel && t("channel", { n: channel })].filter(Boolean).join(" ") : [english, channel && `channel ${channel}`].filter(Boolean).join(", ");
}

export class Bell {
  /** `onChange()` after each count. */
  constructor(fleet, onChange) {
    this.fleet = fleet;
    this.onChange = onChange;
    this.counts = { alarms: 0, superiors: 0 };
    this.waiting = 0;
  }

  async look() {
    // What is not kept here, or not for this account, is nothing that waits.
    const [alarms, superiors] = await Promise.all([
      call("GET", "/alarms?acknowledged=false&limit=1").then((page) => page.total, () => 0),
      who.groups.length ? 0 : call("GET", "/superiors").then((page) => page.items.reduce((sum, one) => sum + one.requests, 0), () => 0),
    ]);
    this.counts = { alarms, superiors };
    this.onChange();
  }

  event(event) {
    if (!/^(alarm|superior)\./.test(event.event)) return;
    if (event.event === "superior.request" && event.state === "waiting") toast(t("bell_new", { name: event.superior, alarm: event.text }), "superior");
    if (event.event === "alarm.begin" && event.level >= WORTH_LEVEL) toast(t("bell_new", { name: this.fleet.name(event.sim), alarm: spoken(event.name) }), "alarm");
    if (this.waiting) return;
    this.waiting = setTimeout(() => { this.waiting = 0; this.look(); }, GATHER_MS);
  }
}
