// The shell of the console: who uses it, which page is shown, what is said of the connection. Each page is a module of its own.

import { call, logOut, may, token, watchEvents, who, takeTokenFromAddress } from "./api.js";
import { Bell } from "./bell.js";
import { make, toast } from "./dom.js";
import { Fleet } from "./fleet.js";
import { currentLanguage, setLanguage, t } from "./i18n.js";
import { comeIn } from "./signin.js";

const $ = (id) => document.getElementById(id);
const SESSION_MS = 600000;    // how often the session is looked at, which keeps it alive

/**
 * The pages, in the order of the navigation. A module exports `open(element, context)`, which fills the element and gives
 * `{ close(), words(), event(event), keys(event) }`, each of which may be left out: `words` draws anew after a change of language.
 * `whole`: about more than an account for some groups may see.
 */
const PAGES = [
  { id: "live", role: "viewer", load: () => import("./page_live.js") },
  { id: "vehicles", role: "viewer", load: () => import("./page_vehicles.js") },
  { id: "playback", role: "viewer", load: () => import("./page_playback.js") },
  { id: "map", role: "viewer", load: () => import("./page_map.js") },
  { id: "alarms", role: "viewer", load: () => import("./page_alarms.js") },
  { id: "superiors", role: "viewer", whole: true, load: () => import("./page_superiors.js") },
  { id: "inspector", role: "operator", load: () => import("./page_inspector.js") },
  { id: "streams", role: "viewer", load: () => import("./page_streams.js") },
  { id: "audit", role: "admin", whole: true, load: () => import("./page_audit.js") },
  { id: "settings", role: "viewer", load: () => import("./page_settings.js") },
];

const allowed = (page) => may(page.role) && !(page.whole && who.groups.length);
const fleet = new Fleet();
const bell = new Bell(fleet, () => showBell());
let shown = null, link = { state: "connecting", until: 0 };

function words() {
  for (const id of ["theme", "menu"]) label($(id), t(id === "menu" ? "pages" : id));
  label($("sign-out"), `${t("sign_out")}: ${who.name}`);
  $("sign-out").hidden = Boolean(token());
  $("nav").setAttribute("aria-label", t("pages"));
  $("language").textContent = currentLanguage() === "zh" ? "English" : "中文";
  $("nav").replaceChildren(...PAGES.filter(allowed).map((page) => make("a", { href: `#/${page.id}`, "aria-current": shown?.page === page ? "page" : null }, t(`page_${page.id}`))));
  showBell();
  showLink();
}

function showBell() {
  const waiting = Object.values(bell.counts).reduce((sum, count) => sum + count, 0);
  document.title = `${waiting ? `(${waiting}) ` : ""}${shown ? `${t(`page_${shown.page.id}`)} · ` : ""}jt1078relay`;
  for (const [page, count] of Object.entries(bell.counts)) {
    const link = $("nav").querySelector(`a[href="#/${page}"]`), words = t(`bell_${page}`, { n: count });
    link?.querySelector(".badge")?.remove();
    if (link && count) link.append(make("span", { class: "badge", role: "img", "aria-label": words, title: words }, count > 999 ? "999+" : String(count)));
  }
}

function label(element, text) {
  element.title = text;
  element.setAttribute("aria-label", text);
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

/** `#/streams/13800138000_1` is page "streams" with the words after it. */
function wanted() {
  const [id, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const pages = PAGES.filter(allowed);
  return { page: pages.find((page) => page.id === id) || pages[0], rest };
}

let opening = 0;
async function show(context) {
  const { page, rest } = wanted();
  const mine = ++opening;
  let module;
  try {
    module = await page.load();
  } catch (problem) {
    toast(t("api_error", { message: problem.message }));
    return;
  }
  if (mine !== opening) return;
  shown?.view.close?.();
  $("tools").replaceChildren();
  $("view").replaceChildren();
  $("view").dataset.page = page.id;
  $("nav").classList.remove("open");
  $("menu").setAttribute("aria-expanded", "false");
  shown = { page, view: {} };
  shown.view = module.open($("view"), { ...context, rest, tools: $("tools") });
  words();
}

/** Whether the session still is one: keeps it alive, or asks who is there. */
function stillIn() {
  call("GET", "/session").catch((problem) => { if (problem.status === 401) location.reload(); });
}

async function main() {
  const first = takeTokenFromAddress();
  theme();
  $("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    theme(dark ? "light" : "dark");
  });
  $("language").addEventListener("click", () => { setLanguage(currentLanguage() === "zh" ? "en" : "zh"); words(); shown?.view.words?.(); });
  $("menu").addEventListener("click", () => $("menu").setAttribute("aria-expanded", String($("nav").classList.toggle("open"))));
  $("sign-out").addEventListener("click", async () => { await logOut().catch((problem) => toast(problem.message)); location.reload(); });
  document.addEventListener("keydown", (event) => {
    if (!event.target.closest("input, textarea, select, dialog") && !event.ctrlKey && !event.metaKey && !event.altKey) shown?.view.keys?.(event);
  });
  setInterval(() => { if (link.state === "lost") showLink(); }, 1000);

  await comeIn(first);
  const context = { fleet, status: await call("GET", "/status") };
  await fleet.load();
  window.addEventListener("hashchange", () => show(context));
  await show(context);
  bell.look();
  setInterval(stillIn, SESSION_MS);
  watchEvents((event) => { fleet.event(event); bell.event(event); shown?.view.event?.(event); }, (state, wait) => {
    link = { state, until: Date.now() + wait * 1000 };
    showLink();
    if (state === "lost") stillIn();
    else fleet.load().then(() => bell.look()).catch(() => {});     // what happened while nothing was told, the first time too
  });
}

main();
