// The wall: one, four, nine or sixteen pictures; what stands where is kept in this browser.

import { Channels } from "./channels.js";
import { toast } from "./dom.js";
import { t } from "./i18n.js";
import { Tile } from "./tile.js";

export const LAYOUTS = [1, 4, 9, 16];
const CHANNEL = /^([0-9a-zA-Z]+)_([0-9]+)$/;

export class Wall {
  constructor(element, fleet, onChange) {
    this.element = element;
    this.fleet = fleet;
    this.onChange = onChange;
    this.channels = new Channels();
    this.tiles = [];
    this.selected = null;
    this.restoring = true;
    this.overlay = localStorage.getItem("overlay") !== "no";     // plate, time and speed over the pictures
  }

  restore() {
    let saved = {};
    try { saved = JSON.parse(localStorage.getItem("wall") || "{}"); } catch { saved = {}; }
    this.setLayout(LAYOUTS.includes(saved.layout) ? saved.layout : 4);
    (saved.tiles || []).forEach((what, at) => { if (what?.sim && this.tiles[at]) this.tiles[at].open(what); });
    this.restoring = false;
    this.onChange();
    return Boolean(saved.layout);
  }

  setLayout(count) {
    this.layout = count;
    this.element.dataset.layout = String(count);
    while (this.tiles.length > count) {
      const tile = this.tiles.pop();
      if (this.selected === tile) this.selected = null;
      tile.close(false);
      tile.element.remove();
    }
    while (this.tiles.length < count) {
      const tile = new Tile(this, this.tiles.length);
      this.tiles.push(tile);
      this.element.append(tile.element);
    }
    if (!this.selected) this.select(this.tiles[0]);
    this.changed();
  }

  select(tile) {
    if (this.selected === tile) return;
    this.selected?.element.classList.remove("selected");
    this.selected = tile;
    tile.element.classList.add("selected");
  }

  find(sim, channel) {
    return this.tiles.find((tile) => tile.what?.sim === sim && tile.what.channel === channel);
  }

  /** Opens a channel: where it already is, else in the selected tile if that is free, else in the first free one, else instead of the selected one. */
  open(sim, channel, tile = null) {
    const there = this.find(sim, channel);
    if (there && !tile) { there.close(); return; }
    const free = this.selected && !this.selected.what ? this.selected : this.tiles.find((one) => !one.what);
    const target = tile || free || this.selected || this.tiles[0];
    if (!tile && !free) toast(t("full_wall"));
    if (there && there !== target) there.close(false);
    target.open({ sim, channel });
    this.select(target);
  }

  /** Opens a channel that another page names, unless it is there already. */
  bring(text) {
    const match = CHANNEL.exec(text);
    const there = match && this.find(match[1], Number(match[2]));
    if (there) this.select(there);
    else if (match) this.open(match[1], Number(match[2]));
  }

  /** Exactly these channels, from the first tile on; what already plays where it should goes on. */
  showAll(list) {
    this.tiles.forEach((tile, at) => {
      const what = list[at];
      if (!what) tile.close(false);
      else if (tile.what?.sim !== what.sim || tile.what.channel !== what.channel) tile.open(what);
    });
  }

  setOverlay(on) {
    this.overlay = on;
    localStorage.setItem("overlay", on ? "yes" : "no");
    this.redraw();
  }

  dropped(tile, text) {
    const match = CHANNEL.exec(text);
    if (match) this.open(match[1], Number(match[2]), tile);
  }

  giveSound(tile) {
    for (const one of this.tiles) if (one !== tile && one.sound) one.setSound(false);
    if (tile) tile.setSound(true);
    this.onChange();
  }

  get sounding() {
    return this.tiles.find((tile) => tile.sound) || null;
  }

  changed() {
    if (this.restoring) return;
    localStorage.setItem("wall", JSON.stringify({ layout: this.layout, tiles: this.tiles.map((tile) => tile.what) }));
    this.onChange();
  }

  /** The page is left: nothing plays behind its back, and what stood where is kept. */
  leave() {
    this.restoring = true;
    for (const tile of this.tiles) tile.close(false);
  }

  redraw() {
    for (const tile of this.tiles) if (tile.what) tile.update(); else tile.draw();
  }
}
