// Live: the list of terminals beside the wall of pictures.

import { icon, make } from "./dom.js";
import { t } from "./i18n.js";
import { Terminals } from "./terminals.js";
import { Patrol } from "./patrol.js";
import { LAYOUTS, Wall } from "./wall.js";

const DEMO_PICTURES = 4;
const POSITIONS_MS = 3000;    // how old what stands over a picture may be

/** `#/live/13800138000_1` opens that channel beside what stands there. */
export function open(element, { fleet, status, tools, rest }) {
  const search = make("input", { id: "search", type: "search", autocomplete: "off", spellcheck: "false", oninput: () => list.search(search.value) });
  const count = make("p", { class: "count", "aria-live": "polite" });
  const rows = make("ul", { id: "terminals", class: "terminals" });
  const side = make("aside", { id: "side", class: "side" }, make("label", { class: "search" }, icon("search"), search), count, rows);
  const pictures = make("main", { id: "wall", class: "wall", tabindex: "-1" });
  const more = make("button", { id: "list", type: "button", class: "icon only-narrow", "aria-controls": "side", "aria-expanded": "false", onclick: () => openSide(!side.classList.contains("open")) }, icon("list"));
  const layouts = make("div", { class: "segmented", role: "group" });
  const silence = make("button", { type: "button", class: "icon", onclick: () => wall.giveSound(wall.sounding ? null : wall.selected?.what ? wall.selected : wall.tiles.find((tile) => tile.what) || null) });
  const over = make("button", { type: "button", class: "icon", onclick: () => { wall.setOverlay(!wall.overlay); changed(); } }, icon("overlay"));
  const rounds = make("button", { type: "button", class: "icon", onclick: () => (patrol.running ? patrol.stop() : patrol.choose()) }, icon("patrol"));
  element.append(side, pictures);
  tools.append(more, layouts, rounds, over, silence);

  let patrol = null;
  const wall = new Wall(pictures, fleet, changed);
  const list = new Terminals(rows, count, fleet, (sim, channel) => Boolean(wall.find(sim, channel)), (sim, channel) => { wall.open(sim, channel); openSide(false); });

  patrol = new Patrol(fleet, wall, () => changed());
  const look = setInterval(() => { if (wall.overlay && !document.hidden) fleet.refresh(wall.tiles.filter((tile) => tile.what).map((tile) => tile.what.sim)).catch(() => {}); }, POSITIONS_MS);

  function openSide(is) {
    side.classList.toggle("open", is);
    more.setAttribute("aria-expanded", String(is));
  }

  function words() {
    search.placeholder = t("search");
    search.setAttribute("aria-label", t("search"));
    for (const name of ["title", "aria-label"]) more.setAttribute(name, t("menu"));
    layouts.replaceChildren(...LAYOUTS.map((number) => make("button", {
      type: "button", title: t("layout", { n: number }), "aria-label": t("layout", { n: number }), "aria-pressed": String(wall.layout === number),
      onclick: () => { wall.setLayout(number); words(); },
    }, String(number))));
    wall.redraw();
    changed();
  }

  function changed() {
    const sounding = wall.sounding;
    silence.replaceChildren(icon(sounding ? "sound" : "mute"));
    silence.setAttribute("aria-pressed", String(Boolean(sounding)));
    for (const name of ["title", "aria-label"]) silence.setAttribute(name, sounding ? t("silence") : t("sound_on"));
    for (const [button, words, on] of [[over, t("overlay"), wall.overlay], [rounds, patrol?.words, patrol?.running]]) {
      for (const name of ["title", "aria-label"]) button.setAttribute(name, words ?? "");
      button.setAttribute("aria-pressed", String(Boolean(on)));
    }
    for (const choice of layouts.children) choice.setAttribute("aria-pressed", String(Number(choice.textContent) === wall.layout));
    list.draw();
  }

  function keys(event) {
    const tile = wall.selected, at = wall.tiles.indexOf(tile), across = Math.sqrt(wall.layout);
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    if (event.key in moves) {
      const next = wall.tiles[at + moves[event.key]];
      if (next) { wall.select(next); next.element.focus(); event.preventDefault(); }
    } else if (["1", "2", "3", "4"].includes(event.key)) wall.setLayout(LAYOUTS[Number(event.key) - 1]);
    else if (event.key === "m" && tile?.what) wall.giveSound(tile.sound ? null : tile);
    else if (event.key === "f") tile?.fullscreen();
    else if (event.key === "s") tile?.snapshot();
    else if (event.key === "Delete" && tile?.what) tile.close();
  }

  // In the demonstration the pictures open by themselves; elsewhere a picture costs a SIM card's data, so a person asks for it.
  let waiting = 0;
  function openDemo() {
    const channels = [...fleet.items.values()].filter((item) => item.online).flatMap((item) => (item.channels || []).map((channel) => [item.sim, channel.channel]));
    for (const [sim, channel] of channels.slice(0, DEMO_PICTURES)) wall.open(sim, channel);
    if (channels.length < DEMO_PICTURES) waiting = setTimeout(() => { if (!wall.tiles.some((tile) => tile.what)) fleet.load().then(openDemo); }, 1000);
  }

  const known = wall.restore();
  words();
  if (rest[0]) {
    wall.bring(rest[0]);
    history.replaceState(null, "", "#/live");
  } else if (!known && status.demo) openDemo();
  const end = fleet.watch(() => list.draw());
  return { words, keys, close: () => { end(); clearTimeout(waiting); clearInterval(look); patrol.stop(); wall.leave(); } };
}
