// A day's recordings on a line: what there is, where the alarms are, where the playback stands; a click or Enter plays from there.

import { make } from "./dom.js";
import { t } from "./i18n.js";

const DAY_S = 86400, ZONE_MS = 8 * 3600000;      // terminals' clocks are GMT+8, whatever this browser's is
const SPANS = [86400, 21600, 3600];
const STEPS = [60, 300, 600, 1800, 3600, 7200, 14400];  // seconds between labels

/** "14:05:30" of seconds since the day began. */
export function ofDay(seconds, exact = true) {
  const whole = Math.max(0, Math.round(seconds)), two = (number) => String(number).padStart(2, "0");
  return `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}${exact ? `:${two(whole % 60)}` : ""}`;
}

/** The day, in GMT+8, of a moment in milliseconds. */
export const dayOf = (milliseconds) => new Date(milliseconds + ZONE_MS).toISOString().slice(0, 10);

export class Timeline {
  /** `onPick(seconds)`: of the day. */
  constructor(onPick) {
    this.onPick = onPick;
    this.items = [];
    this.day = dayOf(Date.now());
    this.from = 0;
    this.span = DAY_S;
    this.position = null;
    this.pointer = null;
    this.canvas = make("canvas", { class: "timeline", tabindex: "0", role: "slider", "aria-valuemin": 0, "aria-valuemax": DAY_S });
    this.spans = make("div", { class: "segmented", role: "group" });
    this.element = make("div", { class: "timeline-box" }, this.canvas, this.spans);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
    this.canvas.addEventListener("pointermove", (event) => { this.pointer = this.at(event); this.draw(); });
    this.canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(); });
    this.canvas.addEventListener("click", (event) => onPick(this.at(event)));
    this.canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(this.span * (event.deltaY > 0 ? 1.25 : 0.8), this.at(event)); }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.words();
  }

  words() {
    this.canvas.setAttribute("aria-label", t("pb_timeline"));
    this.spans.setAttribute("aria-label", t("pb_zoom"));
    this.spans.replaceChildren(...SPANS.map((span) => make("button", { type: "button", "aria-pressed": String(this.span === span), onclick: () => this.zoom(span, this.position ?? this.items[0]?.from ?? DAY_S / 2) }, `${span / 3600} h`)));
    this.draw();
  }

  /** Seconds of the day of a moment that the API tells. */
  second(time) {
    return (new Date(time).getTime() - new Date(`${this.day}T00:00:00+08:00`).getTime()) / 1000;
  }

  show(day, recordings) {
    this.day = day;
    this.items = recordings.map((one) => ({ from: Math.max(0, this.second(one.start_time)), to: Math.min(DAY_S, this.second(one.end_time)), alarm: one.alarm_flags > 0 || one.alarms.length > 0 }));
    this.position = null;
    this.draw();
  }

  move(seconds) {
    if (seconds === this.position) return;
    this.position = seconds;
    if (seconds !== null && this.span < DAY_S && (seconds < this.from || seconds > this.from + this.span)) this.from = Math.max(0, Math.min(DAY_S - this.span, seconds - this.span / 4));
    this.draw();
  }

  at(event) {
    return Math.max(0, Math.min(DAY_S, this.from + (event.offsetX / this.canvas.clientWidth) * this.span));
  }

  zoom(span, around) {
    const place = (around - this.from) / this.span;
    this.span = Math.max(600, Math.min(DAY_S, span));
    this.from = Math.max(0, Math.min(DAY_S - this.span, around - this.span * (place > 0 && place < 1 ? place : 0.5)));
    this.words();
  }

  key(event) {
    const step = { ArrowLeft: -60, ArrowRight: 60, PageDown: -600, PageUp: 600 }[event.key];
    if (step) this.pointer = Math.max(0, Math.min(DAY_S, (this.pointer ?? this.position ?? this.items[0]?.from ?? 0) + step));
    else if (event.key === "Home") this.pointer = this.items[0]?.from ?? 0;
    else if (event.key === "Enter" && this.pointer !== null) this.onPick(this.pointer);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  draw() {
    const { canvas } = this, wide = canvas.clientWidth, high = canvas.clientHeight;
    if (!wide) return;
    const scale = devicePixelRatio || 1;
    canvas.width = wide * scale;
    canvas.height = high * scale;
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas), color = (name) => style.getPropertyValue(name).trim();
    const x = (second) => ((second - this.from) / this.span) * wide;
    pen.scale(scale, scale);
    pen.font = `12px ${style.fontFamily}`;
    pen.fillStyle = color("--bg");
    pen.fillRect(0, 0, wide, high);
    let free = 2;      // the first label is moved in from the edge, and the second may have no room beside it
    const step = STEPS.find((one) => (one / this.span) * wide > 52) ?? 14400;
    for (let at = Math.ceil(this.from / step) * step; at <= this.from + this.span; at += step) {
      pen.fillStyle = color("--line");
      pen.fillRect(x(at), 20, 1, high - 20);
      pen.fillStyle = color("--dim");
      const words = ofDay(at, false), width = pen.measureText(words).width;
      const left = Math.max(2, x(at) - width / 2);
      if (left < free || x(at) + width / 2 >= wide - 2) continue;
      pen.fillText(words, left, 14);
      free = left + width + 6;
    }
    for (const item of this.items) {
      pen.fillStyle = color(item.alarm ? "--bad" : "--accent");
      pen.fillRect(x(item.from), 26, Math.max(2, x(item.to) - x(item.from) - 1), high - 34);
    }
    this.line(pen, x, this.position, color("--warn"), high, wide, color("--panel"));
    this.line(pen, x, this.pointer, color("--text"), high, wide, color("--panel"));
    const told = this.position ?? this.pointer ?? 0;
    canvas.setAttribute("aria-valuenow", Math.round(told));
    canvas.setAttribute("aria-valuetext", ofDay(told));
  }

  line(pen, x, second, color, high, wide, ground) {
    if (second === null) return;
    const at = x(second), words = ofDay(second), width = pen.measureText(words).width + 10, left = Math.max(0, Math.min(wide - width, at - width / 2));
    pen.fillStyle = color;
    pen.fillRect(at - 1, 18, 2, high - 18);
    pen.fillRect(left, 0, width, 18);
    pen.fillStyle = ground;
    pen.fillText(words, left + 5, 13);
  }

  close() {
    this.observer.disconnect();
  }
}
