// A camera's pad: it turns, zooms and focuses for as long as a button (or a key) is held, and stops when it is let go.
//
// The relay stops a movement by itself when it is not told again within `stops_in_s`, so a page that dies in the middle leaves nothing turning.

import { call } from "./api.js";
import { make, toast, told } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    ptz: "Camera", ptz_up: "Up", ptz_down: "Down", ptz_left: "Left", ptz_right: "Right", ptz_zoom_in: "Zoom in", ptz_zoom_out: "Zoom out", ptz_focus_in: "Focus near", ptz_focus_out: "Focus far",
    ptz_iris_open: "Iris open", ptz_iris_close: "Iris close", ptz_wiper: "Wiper", ptz_light: "Infrared light", ptz_speed: "Speed", ptz_hold: "Hold a button, or an arrow key in here, for as long as it is to turn.",
  },
  zh: {
    ptz: "云台", ptz_up: "上", ptz_down: "下", ptz_left: "左", ptz_right: "右", ptz_zoom_in: "放大", ptz_zoom_out: "缩小", ptz_focus_in: "近焦", ptz_focus_out: "远焦",
    ptz_iris_open: "光圈开", ptz_iris_close: "光圈关", ptz_wiper: "雨刷", ptz_light: "红外补光", ptz_speed: "速度", ptz_hold: "按住按钮（或在此处按住方向键）转动，松开即停。",
  },
});

const ARROWS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };
const SIGNS = { up: "▲", down: "▼", left: "◀", right: "▶" };

/** A pad for what `target()` gives: [sim, channel]. */
export function pad(target) {
  const speed = make("input", { type: "range", min: 1, max: 255, value: 128, "aria-label": t("ptz_speed"), title: t("ptz_speed") });
  let turning = "", timer = 0;

  async function tell(order) {
    const [sim, channel] = target();
    try {
      return await call("POST", `/terminals/${encodeURIComponent(sim)}/channels/${channel}/ptz`, order);
    } catch (problem) {
      toast(told(problem));
      return null;
    }
  }

  async function turn(direction) {
    if (turning === direction) return;
    turning = direction;
    clearTimeout(timer);
    const done = await tell({ action: "rotate", direction, speed: Number(speed.value) });
    if (turning !== direction) return;             // let go meanwhile: the stop has gone after it
    if (!done) { turning = ""; return; }
    const again = () => {
      timer = setTimeout(async () => {
        if (turning === direction && await tell({ action: "rotate", direction, speed: Number(speed.value) }) && turning === direction) again();
      }, Math.max(200, done.stops_in_s * 500));
    };
    if (done.stops_in_s) again();
  }

  function halt() {
    if (!turning) return;
    turning = "";
    clearTimeout(timer);
    tell({ action: "rotate", direction: "stop" });
  }

  /** Held by pointer or by Space and Enter. */
  function held(direction) {
    const element = make("button", { type: "button", class: `to-${direction}`, title: t(`ptz_${direction}`), "aria-label": t(`ptz_${direction}`) }, SIGNS[direction]);
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); turn(direction); });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) element.addEventListener(end, halt);
    element.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); turn(direction); } });
    element.addEventListener("keyup", halt);
    return element;
  }

  const once = (name, order) => make("button", { type: "button", class: "plain", onclick: () => tell(order) }, t(`ptz_${name}`));
  const onOff = (name) => {
    let on = false;
    const element = make("button", { type: "button", class: "plain", "aria-pressed": "false", onclick: async () => { if (await tell({ action: name, on: !on })) { on = !on; element.setAttribute("aria-pressed", String(on)); } } }, t(`ptz_${name}`));
    return element;
  };
  const arrows = make("div", { class: "ptz-pad", tabindex: "0", role: "group", "aria-label": t("ptz") }, ...Object.values(ARROWS).map(held));
  arrows.addEventListener("keydown", (event) => { if (event.target === arrows && ARROWS[event.key]) { event.preventDefault(); event.stopPropagation(); turn(ARROWS[event.key]); } });
  arrows.addEventListener("keyup", (event) => { if (ARROWS[event.key]) halt(); });
  arrows.addEventListener("contextmenu", (event) => event.preventDefault());
  return Object.assign(make("div", { class: "ptz" }, arrows, make("div", { class: "pad-more" }, make("label", { class: "field" }, make("span", {}, t("ptz_speed")), speed),
    make("div", { class: "buttons" }, once("zoom_in", { action: "zoom", direction: "in" }), once("zoom_out", { action: "zoom", direction: "out" }), once("focus_in", { action: "focus", direction: "in" }), once("focus_out", { action: "focus", direction: "out" }),
      once("iris_open", { action: "iris", direction: "open" }), once("iris_close", { action: "iris", direction: "close" }), onOff("wiper"), onOff("light")), make("p", { class: "hint" }, t("ptz_hold")))), { halt });
}
