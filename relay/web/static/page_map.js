// Map: where all vehicles are, and where one has been.

import { all, call, query } from "./api.js";
import { icon, make, moment, press, redraw, toast, told } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { MapView } from "./map.js";
import { dayOf } from "./timeline.js";

addWords({
  en: {
    mp_map: "Map of vehicles: arrow keys move it, plus and minus zoom", mp_all: "Show all", mp_day: "Day (GMT+8)", mp_track: "Track", mp_no_track: "No positions are kept of that day.", mp_clear: "Close the track", mp_play: "Run", mp_pause: "Stop", mp_along: "Along the track", mp_in: "Closer", mp_out: "Farther",
    mp_none: "No vehicle has told a position yet.", mp_points: "{n} positions, {km} km", mp_open: "Vehicle", mp_watch: "Watch", mp_follow: "Follow", mp_playback: "Recordings",
  },
  zh: {
    mp_map: "车辆地图：方向键移动，加减键缩放", mp_all: "显示全部", mp_day: "日期（GMT+8）", mp_track: "轨迹", mp_no_track: "没有该日的位置记录。", mp_clear: "关闭轨迹", mp_play: "播放", mp_pause: "停止", mp_along: "轨迹位置", mp_in: "放大", mp_out: "缩小",
    mp_none: "尚无车辆上报位置。", mp_points: "{n} 个位置，{km} km", mp_open: "车辆", mp_watch: "观看", mp_follow: "跟随", mp_playback: "回放",
  },
});

const EVERY_MS = 4000, DRAWN_MAX = 300, POINTS_MAX = 20000, LABELS_MAX = 150, STEP_MS = 60;

export function open(element, { fleet, status, rest, tools }) {
  const [wantedSim = "", wantedDay = ""] = rest;
  let items = [], chosen = wantedSim, track = [], at = 0, running = 0, follow = false, closed = false, first = true, timer = 0;
  const search = make("input", { type: "search", autocomplete: "off", oninput: () => drawList() });
  const rows = make("ul", { class: "terminals" });
  const side = make("aside", { id: "side", class: "side" }, make("label", { class: "search" }, icon("search"), search), rows);
  const card = make("div", { class: "map-card", hidden: true });
  const map = new MapView({ tiles: status.map_tiles, datum: status.map_datum, label: t("mp_map"), paint, onPick: pick });
  map.onPan = () => { follow = follow && !map.pointers.size; };
  const zooms = make("div", { class: "map-zoom" });
  const more = make("button", { type: "button", class: "icon only-narrow", "aria-controls": "side", onclick: () => side.classList.toggle("open") }, icon("list"));
  element.append(side, make("main", { class: "map-box" }, map.canvas, zooms, card));
  tools.append(more);

  async function look() {
    clearTimeout(timer);
    try {
      if (!document.hidden) items = (await all("/positions")).filter((one) => one.position.located);
      if (closed) return;
      if (first && items.length) {
        first = false;
        if (chosen && find(chosen)) select(chosen, true); else map.fit(items.map(spot));
        if (wantedSim) showTrack(wantedDay || dayOf(Date.now()));
      }
      const here = find(chosen);
      if (follow && here && !track.length) map.to(...spot(here));
      drawList();
      drawCard();
      map.draw();
    } catch (problem) {
      if (!closed && first) toast(told(problem));
    }
    if (!closed) timer = setTimeout(look, EVERY_MS);
  }

  const find = (sim) => items.find((one) => one.sim === sim);
  const spot = (one) => [one.position.longitude, one.position.latitude];

  function words() {
    search.placeholder = t("search");
    for (const [input, word] of [[search, "search"], [map.canvas, "mp_map"], [more, "menu"]]) input.setAttribute("aria-label", t(word));
    zooms.replaceChildren(press("+", () => map.zoomBy(1), "plain", { "aria-label": t("mp_in"), title: t("mp_in") }), press("−", () => map.zoomBy(-1), "plain", { "aria-label": t("mp_out"), title: t("mp_out") }), press("⤢", () => map.fit(items.map(spot)), "plain", { "aria-label": t("mp_all"), title: t("mp_all") }));
    cardShown = "";
    drawList();
    drawCard();
  }

  function drawList() {
    const needle = search.value.trim().toLowerCase();
    const shown = items.filter((one) => !needle || `${one.name} ${one.sim}`.toLowerCase().includes(needle)).sort((a, b) => Number(b.online) - Number(a.online) || a.name.localeCompare(b.name));
    redraw(rows, ...shown.slice(0, DRAWN_MAX).map((one) => make("li", { class: `terminal${one.online ? " online" : ""}` }, make("button", { type: "button", class: "pick", "data-sim": one.sim, "aria-pressed": String(one.sim === chosen), onclick: () => { select(one.sim, true); side.classList.remove("open"); } },
      make("span", { class: "dot", "aria-hidden": "true" }), make("span", { class: "name" }, one.name), make("span", { class: "number" }, `${one.position.speed.toFixed(0)} ${t("kmh")}`)))), items.length ? "" : make("li", { class: "empty-list" }, t("mp_none")));
  }

  function select(sim, go = false) {
    if (sim !== chosen) clear();
    chosen = sim;
    const one = find(sim);
    if (one && go) {
      if (map.zoom < 13) map.zoom = 15;
      map.to(...spot(one));
    }
    follow = go;
    history.replaceState(null, "", sim ? `#/map/${encodeURIComponent(sim)}` : "#/map");
    drawList();
    drawCard();
    map.draw();
  }

  function pick(x, y) {
    let best = "", nearest = 22;
    for (const one of items) {
      const [px, py] = map.place(...spot(one)), far = Math.hypot(px - x, py - y);
      if (far < nearest) { nearest = far; best = one.sim; }
    }
    if (best || !track.length) select(best);
  }

  let day = wantedDay || dayOf(Date.now()), cardShown = "";
  function drawCard() {
    const one = find(chosen), stamp = JSON.stringify([one, track.length, track[0]?.time, running]);
    card.hidden = !chosen;
    if (!chosen || stamp === cardShown || card.contains(document.activeElement) && document.activeElement.tagName === "INPUT") return;
    cardShown = stamp;
    const date = make("input", { type: "date", value: day, "aria-label": t("mp_day"), title: t("mp_day"), onchange: () => { day = date.value; } });
    const parts = [make("div", { class: "head" }, make("h3", {}, fleet.name(chosen)), make("span", { class: "spacer" }), press("×", () => select(""), "plain", { "aria-label": t("close"), title: t("close") }))];
    if (one) parts.push(make("p", { class: "hint" }, `${moment(one.position.time)} · ${one.position.speed.toFixed(0)} ${t("kmh")} · ${one.position.direction}° · ${spot(one).reverse().map((number) => number.toFixed(5)).join(", ")}`));
    parts.push(make("div", { class: "row" }, make("a", { href: `#/vehicles/${encodeURIComponent(chosen)}` }, t("mp_open")), make("a", { href: `#/live/${chosen}_1` }, t("mp_watch")), make("a", { href: `#/playback/${encodeURIComponent(chosen)}/1/${day}` }, t("mp_playback")), date, press(t("mp_track"), () => showTrack(day), "primary")));
    if (track.length) {
      slider = make("input", { type: "range", min: 0, max: track.length - 1, value: at, "aria-label": t("mp_along"), oninput: () => { at = Number(slider.value); tellPoint(); map.draw(); } });
      point = make("output", { class: "hint" });
      parts.push(slider, point, make("div", { class: "row" }, press(running ? t("mp_pause") : t("mp_play"), () => run(!running)), press(t("mp_clear"), () => { clear(); drawCard(); map.draw(); }), make("span", { class: "hint" }, t("mp_points", { n: track.length, km: length().toFixed(1) }))));
    }
    redraw(card, ...parts);
    tellPoint();
  }
  let slider = null, point = null;

  function tellPoint() {
    const here = track[at];
    if (here && point) point.textContent = `${moment(here.time)} · ${here.speed.toFixed(0)} ${t("kmh")}`;
  }

  function length() {
    let metres = 0;
    for (let n = 1; n < track.length; n += 1) {
      const [a, b] = [track[n - 1], track[n]], middle = Math.cos((a.latitude + b.latitude) * Math.PI / 360);
      metres += Math.hypot((b.longitude - a.longitude) * middle, b.latitude - a.latitude) * 111320;
    }
    return metres / 1000;
  }

  async function showTrack(wanted) {
    day = wanted;
    run(false);
    const sim = chosen, found = [];
    try {
      let after = "";
      do {
        const page = await call("GET", `/terminals/${encodeURIComponent(sim)}/track${query({ from: `${day}T00:00:00+08:00`, to: `${day}T23:59:59+08:00`, limit: 5000, after })}`);
        found.push(...page.items.filter((one) => one.located));
        after = page.next;
      } while (after && found.length < POINTS_MAX);
    } catch (problem) {
      toast(told(problem));
      return;
    }
    if (closed || sim !== chosen) return;
    track = found;
    at = Math.max(0, track.length - 1);
    follow = false;
    if (!track.length) toast(t("mp_no_track"));
    map.fit(track.map((one) => [one.longitude, one.latitude]));
    drawCard();
    map.draw();
  }

  function clear() {
    run(false);
    track = [];
  }

  function run(on) {
    clearInterval(running);
    running = 0;
    if (on) {
      if (at >= track.length - 1) at = 0;
      running = setInterval(() => {
        at = Math.min(track.length - 1, at + Math.max(1, Math.round(track.length / 600)));
        if (slider) slider.value = at;
        tellPoint();
        map.draw();
        if (at === track.length - 1) run(false);
      }, STEP_MS);
    }
    cardShown = "";
    if (!closed) drawCard();
  }

  function paint(pen, view) {
    if (track.length) {
      pen.lineWidth = 4;
      pen.lineJoin = pen.lineCap = "round";
      pen.strokeStyle = view.color("--accent");
      pen.beginPath();
      track.forEach((one, n) => { const [x, y] = view.place(one.longitude, one.latitude); if (n) pen.lineTo(x, y); else pen.moveTo(x, y); });
      pen.stroke();
      const here = track[at];
      arrow(pen, view, view.place(here.longitude, here.latitude), here.direction, "--warn", true);
    }
    const labels = items.length <= LABELS_MAX || view.zoom > 13;
    pen.font = `12px ${view.font}`;
    for (const one of items) {
      const place = view.place(...spot(one));
      if (place[0] < -40 || place[1] < -40 || place[0] > view.canvas.clientWidth + 40 || place[1] > view.canvas.clientHeight + 40) continue;
      const alarmed = fleet.get(one.sim)?.alarms.length;
      arrow(pen, view, place, one.position.direction, alarmed ? "--bad" : one.online ? "--good" : "--dim", one.sim === chosen);
      if (labels || one.sim === chosen) label(pen, view, place, one.name, one.sim === chosen);
    }
  }

  function arrow(pen, view, [x, y], direction, color, big) {
    pen.save();
    pen.translate(x, y);
    pen.rotate(direction * Math.PI / 180);
    pen.scale(big ? 1.35 : 1, big ? 1.35 : 1);
    pen.beginPath();
    pen.moveTo(0, -11); pen.lineTo(7.5, 9); pen.lineTo(0, 5); pen.lineTo(-7.5, 9); pen.closePath();
    pen.fillStyle = view.color(color);
    pen.strokeStyle = view.color("--panel");
    pen.lineWidth = 2;
    pen.stroke();
    pen.fill();
    pen.restore();
  }

  function label(pen, view, [x, y], text, strong) {
    const wide = pen.measureText(text).width + 10;
    pen.fillStyle = view.color(strong ? "--accent" : "--panel");
    pen.globalAlpha = strong ? 1 : 0.88;
    pen.beginPath();
    pen.roundRect(x - wide / 2, y + 14, wide, 18, 5);
    pen.fill();
    pen.globalAlpha = 1;
    pen.fillStyle = view.color(strong ? "--panel" : "--text");
    pen.fillText(text, x - wide / 2 + 5, y + 27);
  }

  words();
  look();
  return { words, close: () => { closed = true; clearTimeout(timer); run(false); map.close(); } };
}
