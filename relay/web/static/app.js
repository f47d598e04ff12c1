// Puts the page together: token, terminals, wall, events, keys.

import { all, call, Problem, setToken, takeTokenFromAddress, token, watchEvents } from "./api.js";
import { icon, make, toast } from "./dom.js";
import { currentLanguage, setLanguage, t } from "./i18n.js";
import { Terminals } from "./terminals.js";
import { LAYOUTS, Wall } from "./wall.js";

const $ = (id) => document.getElementById(id);
const DEMO_PICTURES = 4;

let wall, terminals, link = { state: "connecting", until: 0 };

function words() {
  $("search").placeholder = t("search");
  $("search").setAttribute("aria-label", t("search"));
  for (const [id, key] of [["theme", "theme"], ["menu", "menu"]]) { $(id).title = t(key); $(id).setAttribute("aria-label", t(key)); }
  $("language").textContent = currentLanguage() === "zh" ? "English" : "中文";
  $("layouts").replaceChildren(...LAYOUTS.map((count) => make("button", {
    type: "button", title: t("layout", { n: count }), "aria-label": t("layout", { n: count }), "aria-pressed": String(wall.layout === count),
    onclick: () => { wall.setLayout(count); words(); },
  }, String(count))));
  wall.redraw();
  terminals.draw();
  changed();
}

function changed() {
  const sounding = wall.sounding;
  $("silence").replaceChildren(icon(sounding ? "sound" : "mute"));
  $("silence").setAttribute("aria-pressed", String(Boolean(sounding)));
  $("silence").title = sounding ? t("silence") : t("sound_on");
  $("silence").setAttribute("aria-label", $("silence").title);
  for (const choice of $("layouts").children) choice.setAttribute("aria-pressed", String(Number(choice.textContent) === wall.layout));
  terminals.draw();
  showLink();
}

function showLink() {
  const left = Math.max(0, Math.ceil((link.until - Date.now()) / 1000));
  $("link").dataset.state = link.state;
  $("link").textContent = link.state === "open" ? t("connected") : link.state === "lost" ? t("lost", { s: left }) : t("connecting");
}

function theme(next) {
  if (next) localStorage.setItem("theme", next);
  const kept = localStorage.getItem("theme");
  if (kept) document.documentElement.dataset.theme = kept;
}

async function load() {
  terminals.set(await all("/terminals"));
}

let reloading = 0;
function onEvent(event) {
  // One short delay gathers a storm of events (a restart brings thousands) into one reading of the list.
  if (/^(terminal|stream|channel)/.test(event.type || event.event || "")) {
    if (!reloading) reloading = setTimeout(() => { reloading = 0; load().catch(() => {}); }, 400);
  }
}

function askForToken(why) {
  $("sign-in-title").textContent = t("sign_in");
  $("sign-in-why").textContent = why;
  $("sign-in-label").textContent = t("sign_in_label");
  $("sign-in-go").textContent = t("sign_in_go");
  $("sign-in").showModal();
  return new Promise((done) => {
    $("sign-in").addEventListener("close", () => { setToken($("sign-in-token").value.trim()); $("sign-in-token").value = ""; done(); }, { once: true });
  });
}

async function enter() {
  for (;;) {
    try {
      if (!token()) throw new Problem(401, { message: "" });
      return await call("GET", "/status");
    } catch (problem) {
      if (!(problem instanceof Problem) || (problem.status !== 401 && problem.status !== 403)) {
        toast(t("api_error", { message: problem.message }));
        await new Promise((done) => setTimeout(done, 2000));
        continue;
      }
      await askForToken(problem.message ? t("sign_in_bad", { why: problem.message }) : t("sign_in_none"));
    }
  }
}

function keys(event) {
  if (event.target.closest("input, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
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

async function main() {
  takeTokenFromAddress();
  theme();
  wall = new Wall($("wall"), (sim) => terminals.get(sim), changed);
  terminals = new Terminals($("terminals"), $("count"), (sim, channel) => Boolean(wall.find(sim, channel)), (sim, channel) => {
    wall.open(sim, channel);
    $("side").classList.remove("open");
    $("menu").setAttribute("aria-expanded", "false");
  });
  wall.setLayout(4);
  words();

  $("search").addEventListener("input", () => terminals.search($("search").value));
  $("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    theme(dark ? "light" : "dark");
  });
  $("language").addEventListener("click", () => { setLanguage(currentLanguage() === "zh" ? "en" : "zh"); words(); });
  $("silence").addEventListener("click", () => wall.giveSound(wall.sounding ? null : wall.selected?.what ? wall.selected : wall.tiles.find((tile) => tile.what) || null));
  $("menu").addEventListener("click", () => $("menu").setAttribute("aria-expanded", String($("side").classList.toggle("open"))));
  document.addEventListener("keydown", keys);
  setInterval(() => { if (link.state === "lost") showLink(); }, 1000);

  const status = await enter();
  await load();
  const known = wall.restore();
  words();
  watchEvents(onEvent, (state, wait) => {
    const back = link.state === "lost" && state === "open";
    link = { state, until: Date.now() + wait * 1000 };
    showLink();
    if (back) load().catch(() => {});
  });
  if (!known && status.demo) openDemo();
}

// In the demonstration the pictures open by themselves; elsewhere a picture costs a SIM card's data, so a person asks for it.
function openDemo() {
  const channels = [...terminals.all.values()].filter((item) => item.online).flatMap((item) => (item.channels || []).map((channel) => [item.sim, channel.channel]));
  for (const [sim, channel] of channels.slice(0, DEMO_PICTURES)) wall.open(sim, channel);
  if (channels.length < DEMO_PICTURES) setTimeout(() => { if (!wall.tiles.some((tile) => tile.what)) load().then(openDemo); }, 1000);
}

main();
