// Turning cameras: a camera turns, zooms and focuses for as long as a button (or a key) is held, and stops when it is let go.
//
// The relay stops a movement by itself when it is not told again within `stops_in_s`, so a page that dies in the middle leaves nothing turning.
// `smallPad` lies over a picture, `pad` stands beside one; both are the same camera and the same buttons.

import { call } from "./api.js";
import { make, toast, told } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    ptz: "Camera", ptz_up: "Up", ptz_down: "Down", ptz_left: "Left", ptz_right: "Right", ptz_zoom_in: "Zoom in", ptz_zoom_out: "Zoom out", ptz_focus_in: "Focus near", ptz_focus_out: "Focus far",
    ptz_iris_open: "Iris open", ptz_iris_close: "Iris close", ptz_wiper: "Wiper", ptz_light: "Infrared light", ptz_speed: "Speed", ptz_hold: "Hold a button, or an arrow key in here, for as long as it is to move.",
  },
  zh: {
    ptz: "云台", ptz_up: "上", ptz_down: "下", ptz_left: "左", ptz_right: "右", ptz_zoom_in: "放大", ptz_zoom_out: "缩小", ptz_focus_in: "近焦", ptz_focus_out: "远焦",
    ptz_iris_open: "光圈开", ptz_iris_close: "光圈关", ptz_wiper: "雨刷", ptz_light: "红外补光", ptz_speed: "速度", ptz_hold: "按住按钮（或在此处按住方向键）动作，松开即停。",
  },
});

const ARROWS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };
const SIGNS = { up: "▲", down: "▼", left: "◀", right: "▶", zoom_in: "+", zoom_out: "−" };
const STEP_MS = 500;       // zoom, focus and iris are single steps in the standard: a held button repeats them
const SPEED = 128;

/** One camera, for what `target()` gives: [sim, channel]. */
class Camera {
  constructor(target, speed = () => SPEED) {
    this.target = target;
    this.speed = speed;
    this.doing = "";           // what is held: a name of `move`
    this.timer = 0;
  }

  /** Gives what the relay answered; null when it refused, which has been said. */
  async tell(order) {
    const [sim, channel] = this.target();
    try {
      return await call("POST", `/terminals/${encodeURIComponent(sim)}/channels/${channel}/ptz`, order);
    } catch (problem) {
      toast(told(problem));
      return null;
    }
  }

  /** Begins up, down, left, right, or zoom_in, focus_out, iris_open …, and goes on until `halt`. */
  async move(name) {
    if (this.doing === name) return;
    this.halt();
    this.doing = name;
    const [action, way] = name.split("_");
    const order = way ? { action, direction: way } : { action: "rotate", direction: name, speed: this.speed() };
    const again = async () => {
      const done = await this.tell(order);
      if (this.doing !== name) return;             // let go meanwhile: the stop has gone after it
      if (!done) { this.doing = ""; return; }
      this.timer = setTimeout(again, way ? STEP_MS : Math.max(200, done.stops_in_s * 500));
    };
    await again();
  }

  halt() {
    clearTimeout(this.timer);
    const turned = this.doing && !this.doing.includes("_");
    this.doing = "";
    if (turned) this.tell({ action: "rotate", direction: "stop" });
  }

  /** A button that goes on while it is held, by pointer or by Space and Enter. */
  held(name, attributes, ...content) {
    const element = make("button", { type: "button", title: t(`ptz_${name}`), "aria-label": t(`ptz_${name}`), onclick: (event) => event.stopPropagation(), ...attributes }, ...content);
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); this.move(name); });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) element.addEventListener(end, () => this.halt());
    element.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); this.move(name); } });
    element.addEventListener("keyup", () => this.halt());
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    return element;
  }
}

/** Over a picture: where it looks, and zoom. */
export function smallPad(target) {
  const camera = new Camera(target);
  const buttons = [...Object.values(ARROWS), "zoom_in", "zoom_out"].map((name) => camera.held(name, { class: `to-${name}` }, SIGNS[name]));
  return Object.assign(make("div", { class: "pad", role: "group", "aria-label": t("ptz"), hidden: true }, ...buttons), { halt: () => camera.halt() });
}

/** Beside a picture: everything that a camera does. */
export function pad(target) {
  const speed = make("input", { type: "range", min: 1, max: 255, value: SPEED, "aria-label": t("ptz_speed"), title: t("ptz_speed") });
  const camera = new Camera(target, () => Number(speed.value));
  const word = (name) => camera.held(name, { class: "plain" }, t(`ptz_${name}`));
  const onOff = (name) => {
    let on = false;
    const element = make("button", { type: "button", class: "plain", "aria-pressed": "false", onclick: async () => { if (await camera.tell({ action: name, on: !on })) { on = !on; element.setAttribute("aria-pressed", String(on)); } } }, t(`ptz_${name}`));
    return element;
  };
  const arrows = make("div", { class: "ptz-pad", tabindex: "0", role: "group", "aria-label": t("ptz") }, ...Object.values(ARROWS).map((name) => camera.held(name, { class: `to-${name}` }, SIGNS[name])));
  arrows.addEventListener("keydown", (event) => { if (event.target === arrows && ARROWS[event.key]) { event.preventDefault(); event.stopPropagation(); camera.move(ARROWS[event.key]); } });
  arrows.addEventListener("keyup", (event) => { if (ARROWS[event.key]) camera.halt(); });
  return Object.assign(make("div", { class: "ptz" }, arrows, make("div", { class: "pad-more" }, make("label", { class: "field" }, make("span", {}, t("ptz_speed")), speed),
    make("div", { class: "buttons" }, ...["zoom_in", "zoom_out", "focus_in", "focus_out", "iris_open", "iris_close"].map(word), onOff("wiper"), onOff("light")), make("p", { class: "hint" }, t("ptz_hold")))), { halt: () => camera.halt() });
}
