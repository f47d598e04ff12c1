// The list of terminals: who is online, their channels, a search; drawn from the fleet.

import { make, redraw } from "./dom.js";
import { place, t } from "./i18n.js";

const DRAWN_MAX = 300;    // rows in the page at once; the search narrows the rest

export class Terminals {
  constructor(element, count, fleet, isOpen, onOpen) {
    this.element = element;
    this.count = count;
    this.fleet = fleet;
    this.isOpen = isOpen;
    this.onOpen = onOpen;
    this.query = "";
  }

  search(query) {
    this.query = query.trim().toLowerCase();
    this.draw();
  }

  draw() {
    if (this.drawing) return;            // many events in one go: one drawing
    this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.drawNow(); });
  }

  drawNow() {
    const { loaded } = this.fleet;
    const items = [...this.fleet.items.values()].sort((a, b) => Number(b.online) - Number(a.online) || (a.plate || a.sim).localeCompare(b.plate || b.sim));
    const online = items.filter((item) => item.online).length;
    this.count.textContent = loaded ? t("terminals_count", { online, total: items.length }) : "";
    const shown = items.filter((item) => !this.query || `${item.plate || ""} ${item.sim} ${item.alias || ""}`.toLowerCase().includes(this.query));
    if (!loaded) return;
    if (!items.length) {
      redraw(this.element, make("li", { class: "empty-list" }, t("none_known"), make("code", {}, "jt1078relay terminal add --config FILE --phone 13800138000 --plate 粤B12345")));
      return;
    }
    if (!shown.length) {
      redraw(this.element, make("li", { class: "empty-list" }, t("none_match", { q: this.query })));
      return;
    }
    redraw(this.element, ...shown.slice(0, DRAWN_MAX).map((item) => this.row(item)));
  }

  row(item) {
    const about = [item.online ? t("online") : t("offline"), item.edition ? t("edition", { edition: item.edition }) : "", item.model || ""].filter(Boolean).join(" · ");
    const row = make("li", { class: `terminal${item.online ? " online" : ""}` },
      make("header", {}, make("span", { class: "dot", "aria-hidden": "true" }), make("span", { class: "name" }, item.plate || item.alias || item.sim), item.plate || item.alias ? make("span", { class: "number" }, item.sim) : null),
      make("p", { class: "about" }, about));
    if (item.online) row.append(make("ul", { class: "channels" }, ...(item.channels || []).map((channel) => make("li", {}, this.chip(item, channel)))));
    return row;
  }

  chip(item, channel) {
    const key = `${item.sim}_${channel.channel}`;
    const label = place(channel.channel) || t("channel", { n: channel.channel });
    return make("button", {
      type: "button", class: "chip", draggable: "true", "data-key": key, "data-on": String(this.isOpen(item.sim, channel.channel)), "data-streaming": String(Boolean(channel.streaming)),
      "aria-pressed": String(this.isOpen(item.sim, channel.channel)), title: label,
      onclick: () => this.onOpen(item.sim, channel.channel),
      ondragstart: (event) => event.dataTransfer.setData("text/plain", key),
    }, `${channel.channel} ${place(channel.channel)}`.trim());
  }
}
