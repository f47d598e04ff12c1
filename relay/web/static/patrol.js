// Patrol: the wall goes through the chosen channels by itself, a wall's worth at a time.

import { ask, field, make } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: { pa_patrol: "Patrol", pa_on: "Patrol: {at} of {all}; press to end it", pa_group: "Vehicles", pa_all: "All that are online", pa_channels: "Channels", pa_channels_hint: "such as 1,2; empty: all of each", pa_seconds: "Seconds for each", pa_begin: "Begin", pa_cancel: "Cancel", pa_none: "No vehicle with such a channel is online." },
  zh: { pa_patrol: "轮巡", pa_on: "轮巡中：{at} / {all}，点击结束", pa_group: "车辆", pa_all: "全部在线车辆", pa_channels: "通道", pa_channels_hint: "例如 1,2；留空为全部通道", pa_seconds: "每组停留秒数", pa_begin: "开始", pa_cancel: "取消", pa_none: "没有符合条件的在线车辆。" },
});

const KEY = "patrol", LEAST_S = 5;

export class Patrol {
  /** `onChange()` when it begins, goes on, or ends. */
  constructor(fleet, wall, onChange) {
    this.fleet = fleet;
    this.wall = wall;
    this.onChange = onChange;
    this.timer = 0;
    this.at = 0;
    this.count = 0;
    try { this.wish = JSON.parse(localStorage.getItem(KEY) || "null"); } catch { this.wish = null; }
    this.wish ??= { group: "", channels: "1", seconds: 15 };
  }

  get running() {
    return Boolean(this.timer);
  }

  get words() {
    return this.running ? t("pa_on", { at: Math.min(this.at, this.count), all: this.count }) : t("pa_patrol");
  }

  async choose() {
    const groups = [...new Set([...this.fleet.items.values()].map((item) => item.group).filter(Boolean))].sort();
    const [group, channels, seconds] = [field(t("pa_group"), {}, "select", ...[["", t("pa_all")], ...groups.map((name) => [name, name])].map(([value, words]) => make("option", { value, selected: value === this.wish.group }, words))),
      field(t("pa_channels"), { value: this.wish.channels, pattern: "[0-9, ]*", placeholder: t("pa_channels_hint") }), field(t("pa_seconds"), { type: "number", min: LEAST_S, max: 3600, value: this.wish.seconds, required: true })];
    const begun = await ask(t("pa_patrol"), [group, channels, seconds], t("pa_begin"), () => {
      this.wish = { group: group.input.value, channels: channels.input.value, seconds: Number(seconds.input.value) };
      if (!this.list().length) throw new Error(t("pa_none"));
    }, t("pa_cancel"));
    if (!begun) return;
    localStorage.setItem(KEY, JSON.stringify(this.wish));
    this.at = 0;
    this.step();
  }

  list() {
    const only = this.wish.channels.split(",").map(Number).filter(Boolean);
    return [...this.fleet.items.values()].filter((item) => item.online && (!this.wish.group || item.group === this.wish.group)).sort((a, b) => a.name.localeCompare(b.name))
      .flatMap((item) => item.channels.filter((one) => one.kind !== "audio" && (!only.length || only.includes(one.channel))).map((one) => ({ sim: item.sim, channel: one.channel })));
  }

  step() {
    const all = this.list(), places = this.wall.layout;
    this.count = all.length;
    if (this.at >= all.length) this.at = 0;
    this.wall.showAll(all.slice(this.at, this.at + places));
    this.at += places;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.step(), this.wish.seconds * 1000);
    this.onChange();
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.onChange();
  }
}
