// How many alarms nobody has acknowledged yet, for the navigation; and a word about each new one that is worth one.

import { call } from "./api.js";
import { toast } from "./dom.js";
import { addWords, currentLanguage, t } from "./i18n.js";

addWords({
  en: { bell: "{n} alarms nobody has acknowledged", bell_new: "{name}: {alarm}" },
  zh: { bell: "{n} 条报警未确认", bell_new: "{name}：{alarm}" },
});

const GATHER_MS = 1500;    // a storm of alarms is one question
const WORTH_LEVEL = 2;

/** An alarm's name in the language of the page; the relay tells "KIND: English (中文)". */
export function spoken(name) {
  const both = /^(?:[A-Z]+: )?(.*) \(([^()]*[\u4e00-\u9fff][^()]*)\)$/.exec(name);
  return !both ? name : currentLanguage() === "zh" ? both[2] : both[1];
}

export class Bell {
  /** `onChange()` after each count. */
  constructor(fleet, onChange) {
    this.fleet = fleet;
    this.onChange = onChange;
    this.count = 0;
    this.waiting = 0;
  }

  async look() {
    try {
      const { total } = await call("GET", "/alarms?acknowledged=false&limit=1");
      if (total === this.count) return;
      this.count = total;
    } catch {
      this.count = 0;          // alarms are not kept here, or not for this account
    }
    this.onChange();
  }

  event(event) {
    if (!event.event.startsWith("alarm.")) return;
    if (event.event === "alarm.begin" && event.level >= WORTH_LEVEL) toast(t("bell_new", { name: this.fleet.name(event.sim), alarm: spoken(event.name) }));
    if (this.waiting) return;
    this.waiting = setTimeout(() => { this.waiting = 0; this.look(); }, GATHER_MS);
  }
}
