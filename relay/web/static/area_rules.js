// The rules of an area or route that few need (0x8600-0x8606), folded away in the form of areas.js: what is forbidden or switched inside an area, the
// speed limit at night (2019), and for a route each segment by itself.

import { field, make } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    ar_more: "More rules", ar_night: "Speed limit at night (km/h)", ar_doors: "Doors must stay closed inside", ar_communication: "Communication module off inside", ar_gnss: "Collect detailed GNSS positions inside", ar_segments: "Each segment by itself; empty: as above.", ar_segment: "Segment",
    ar_seg_width: "width (m)", ar_seg_limit: "limit (km/h)", ar_seg_lasting: "exceeded for (s)", ar_seg_night: "at night (km/h)", ar_seg_long: "at most (s)", ar_seg_short: "at least (s)", ar_no_segments: "A segment begins at each turning point.",
    ar_limit: "at most {v} km/h", ar_limit_night: "at night {v} km/h", ar_timed: "driving time",
  },
  zh: {
    ar_more: "更多规则", ar_night: "夜间最高速度（km/h）", ar_doors: "禁止开门", ar_communication: "进区域关闭通信模块", ar_gnss: "进区域采集 GNSS 详细定位数据", ar_segments: "各路段单独设置；留空则与上方相同。", ar_segment: "路段",
    ar_seg_width: "路宽（米）", ar_seg_limit: "限速（km/h）", ar_seg_lasting: "超速持续（秒）", ar_seg_night: "夜间（km/h）", ar_seg_long: "行驶过长阈值（秒）", ar_seg_short: "行驶不足阈值（秒）", ar_no_segments: "每个拐点开始一个路段。",
    ar_limit: "限速 {v} km/h", ar_limit_night: "夜间 {v} km/h", ar_timed: "行驶时间",
  },
});

export const tick = (words) => { const input = make("input", { type: "checkbox" }); return Object.assign(make("label", { class: "tick" }, input, make("span", {}, words)), { input }); };

//        field of the API → words, most, of 2019 alone
const SEGMENT = { width_m: ["ar_seg_width", 255], max_speed_kmh: ["ar_seg_limit", 65535], overspeed_s: ["ar_seg_lasting", 255], night_max_speed_kmh: ["ar_seg_night", 65535, true], too_long_s: ["ar_seg_long", 65535], too_short_s: ["ar_seg_short", 65535] };
//        field of the API → words, bit of the area's attributes
const FLAGS = { doors_closed: ["ar_doors", 8], communication_off: ["ar_communication", 14], gnss_detail: ["ar_gnss", 15] };

const given = (input) => (input.disabled || input.value === "" ? undefined : Number(input.value));

export class AreaRules {
  constructor() {
    this.night = field(t("ar_night"), { type: "number", min: 1, max: 65535 });
    this.flags = Object.fromEntries(Object.entries(FLAGS).map(([name, [words]]) => [name, tick(t(words))]));
    this.segments = [];                 // of each turning point: field of the API → input
    this.rows = make("div", { class: "segments" });
    this.each = make("div", {}, make("p", { class: "hint" }, t("ar_segments")), this.rows);
    this.element = make("details", { class: "more" }, make("summary", {}, t("ar_more")), this.night, ...Object.values(this.flags), this.each);
  }

  /** What this kind has, of terminals of this edition. */
  choose(kind, edition) {
    const route = kind === "routes", modern = edition >= 2019;
    for (const [part, has] of [[this.night, modern], ...Object.values(this.flags).map((flag) => [flag, !route])]) {
      part.hidden = !has;
      part.input.disabled = !has;
    }
    this.each.hidden = !route;
    this.names = Object.keys(SEGMENT).filter((name) => modern || !SEGMENT[name][2]);
    this.shown = -1;
  }

  /** As many segments as there are turning points; what was typed for the first ones stays. */
  follow(count) {
    if (count === this.shown || this.each.hidden) return;
    this.shown = count;
    while (this.segments.length < count) this.segments.push(Object.fromEntries(Object.entries(SEGMENT).map(([name, [words, most]]) => [name, make("input", { type: "number", min: 1, max: most, "aria-label": `${t("ar_segment")} ${this.segments.length + 1}: ${t(words)}` })])));
    const line = (cells, tag) => make("tr", {}, ...cells.map((cell) => make(tag, {}, cell)));
    this.rows.replaceChildren(count ? make("table", {}, make("thead", {}, line([t("ar_segment"), ...this.names.map((name) => t(SEGMENT[name][0]))], "th")),
      make("tbody", {}, ...this.segments.slice(0, count).map((one, n) => line([String(n + 1), ...this.names.map((name) => one[name])], "td")))) : make("p", { class: "hint" }, t("ar_no_segments")));
  }

  /** Of an area that is sent: its flags, and the night's limit where there is one by day. */
  area(limit) {
    const flags = Object.entries(this.flags).filter(([, flag]) => !flag.input.disabled && flag.input.checked).map(([name]) => [name, true]);
    return { ...Object.fromEntries(flags), night_max_speed_kmh: limit === undefined ? undefined : given(this.night.input) };
  }

  /** Of the turning point `n` that is sent; `usual` is what stands above. */
  point(n, usual) {
    const own = Object.fromEntries(this.names.map((name) => [name, given(this.segments[n]?.[name] ?? { disabled: true })]));
    const limit = own.max_speed_kmh ?? usual.max_speed_kmh;
    const night = own.night_max_speed_kmh ?? (own.max_speed_kmh === undefined ? given(this.night.input) : undefined);
    return { width_m: own.width_m ?? usual.width_m, max_speed_kmh: limit, ...(limit === undefined ? {} : { overspeed_s: own.overspeed_s ?? usual.overspeed_s, night_max_speed_kmh: night }), too_long_s: own.too_long_s, too_short_s: own.too_short_s };
  }

  /** The next one begins without them. */
  clear() {
    this.segments = [];
    this.night.input.value = "";
    for (const flag of Object.values(this.flags)) flag.input.checked = false;
    this.shown = -1;
    this.follow(0);
  }
}

const range = (values) => { const all = values.filter(Boolean), [least, most] = [Math.min(...all), Math.max(...all)]; return !all.length ? "" : least === most ? String(most) : `${least}–${most}`; };

/** The rules of an area in words: `bits` of its attributes, and where its limits stand: the area itself, or a route's turning points. */
export function rulesInWords(bits, limits) {
  const [limit, night] = [range(limits.map((one) => one.max_speed)), range(limits.map((one) => one.night_max_speed))];
  return [bits & 8 ? t("ar_enter") : "", bits & 32 ? t("ar_exit") : "", limit && t("ar_limit", { v: limit }), night && night !== limit ? t("ar_limit_night", { v: night }) : "",
    limits.some((one) => one.too_long_threshold || one.too_short_threshold) ? t("ar_timed") : "", ...Object.values(FLAGS).map(([words, bit]) => (bits >> bit & 1 ? t(words) : ""))].filter(Boolean).join(", ");
}

/** The same of what was sent, in the words of the API. */
export function sentInWords(area) {
  const bits = (area.entry_alarm_platform ? 8 : 0) | (area.exit_alarm_platform ? 32 : 0) | Object.entries(FLAGS).reduce((sum, [name, [, bit]]) => sum | (area[name] ? 1 << bit : 0), 0);
  const limits = area.points?.some((point) => "max_speed_kmh" in point) ? area.points : [area];
  return rulesInWords(bits, limits.map((one) => ({ max_speed: one.max_speed_kmh, night_max_speed: one.night_max_speed_kmh, too_long_threshold: one.too_long_s, too_short_threshold: one.too_short_s })));
}
