// The relay's HTTP API: the token, requests, and the stream of events.

import { said } from "./said.js";

const KEY = "jt1078relay.token";

/** An answer of the relay that says why it could not; `code`, `message`, `hint`, `hop` are the fields of its body. */
export class Problem extends Error {
  constructor(status, body) {
    super();
    this.status = status;
    this.body = body;
    this.code = body?.error || "http_error";
    this.hop = body?.hop || "";
    this.trace = body?.trace || null;
  }

  // in the language that the page has when they are shown
  get message() { return said(this.body?.message) || `HTTP ${this.status}`; }
  get hint() { return said(this.body?.hint) || ""; }
}

// A token comes in the address once, is kept for this tab, and leaves the address bar so that it is not shared by a copied link. Gives what
// the first start's link carries, if it is that.
export function takeTokenFromAddress() {
  const url = new URL(location.href);
  const [given, first] = ["token", "first"].map((name) => url.searchParams.get(name) || "");
  if (given) sessionStorage.setItem(KEY, given);
  if (given || first) {
    url.searchParams.delete("token");
    url.searchParams.delete("first");
    history.replaceState(null, "", url);
  }
  return first;
}

export const token = () => sessionStorage.getItem(KEY) || "";
export const setToken = (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY));

/** Who uses the page: `name`, `role`, `groups`, and `csrf`, the word that goes with everything a session's cookie changes. */
export let who = { name: "", role: "", groups: [], csrf: "" };
const RANK = ["viewer", "operator", "admin"];
export const may = (role) => RANK.indexOf(who.role) >= RANK.indexOf(role);

export async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  else if (who.csrf) headers["X-CSRF-Token"] = who.csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(`/api/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" });
  const text = await answer.text();
  let data = null;
  try { data = text ? JSON.parse(text) : null; } catch { data = { message: text.slice(0, 300) }; }
  if (!answer.ok) throw new Problem(answer.status, data);
  return data;
}

/** Finds out who uses the page, and keeps the session alive; a Problem with status 401 when nobody is logged in. */
export async function session() {
  who = await call("GET", "/session");
  return who;
}

export async function logIn(name, password) {
  setToken("");
  who = await call("POST", "/session", { name, password });
}

export async function makeFirst(first, name, password) {
  setToken("");
  who = await call("POST", "/session/first", { token: first, name, password });
}

export async function logOut() {
  if (!token()) await call("DELETE", "/session");
  setToken("");
  who = { name: "", role: "", groups: [], csrf: "" };
}

/** All items of a list that is given out in pages. */
export async function all(path) {
  const items = [];
  let next = "";
  do {
    const joint = path.includes("?") ? "&" : "?";
    const page = await call("GET", `${path}${joint}limit=500${next ? `&after=${encodeURIComponent(next)}` : ""}`);
    items.push(...page.items);
    next = page.next;
  } while (next);
  return items;
}

/** An address of the API that an element fetches by itself (a picture, a download): a session's cookie goes along, a token has to stand in it. */
export function fileAddress(path) {
  const url = new URL(path.startsWith("/api/") ? path : `/api/v1${path}`, location.href);
  if (token()) url.searchParams.set("token", token());
  return `${url.pathname}${url.search}`;
}

/** A query string of what is not empty. */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

export function socketAddress(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  return url;
}

/** Events of the relay, by WebSocket, for ever: reconnects with back-off. `onState` gets "open" or "lost" with the seconds to the next try. */
export function watchEvents(onEvent, onState) {
  let wait = 1;
  const open = () => {
    const url = socketAddress("/api/v1/events");
    if (token()) url.searchParams.set("token", token());
    const socket = new WebSocket(url);
    socket.onopen = () => { wait = 1; onState("open", 0); };
    socket.onmessage = (message) => { try { onEvent(JSON.parse(message.data)); } catch (problem) { console.warn("event not understood", problem); } };
    socket.onclose = () => {
      onState("lost", wait);
      setTimeout(open, wait * 1000);
      wait = Math.min(wait * 2, 30);
    };
  };
  open();
}
