// What is known of all terminals, kept up to date by events; pages listen to it.

import { all, call } from "./api.js";

export class Fleet {
  constructor() {
    this.items = new Map();
    this.talks = new Map();     // number → {who, mode, channel}: who holds the microphone there
    this.loaded = false;
    this.asked = this.answered = 0;
    this.listeners = new Set();
    this.waiting = 0;
  }

  async load() {
    const mine = ++this.asked;
    const [items, talks] = await Promise.all([all("/terminals"), call("GET", "/talks")]);
    if (mine < this.answered) return;       // an answer that came late knows less
    this.answered = mine;
    this.items = new Map(items.map((item) => [item.sim, item]));
    this.talks = new Map(talks.items.flatMap((talk) => talk.terminals.map((one) => [one.sim, { who: talk.who, mode: talk.mode, channel: one.channel }])));
    this.loaded = true;
    for (const tell of this.listeners) tell();
  }

  get(sim) {
    return this.items.get(sim);
  }

  /** Reads some anew: their positions, which tell themselves by no event. */
  async refresh(sims) {
    const items = await Promise.all([...new Set(sims)].map((sim) => call("GET", `/terminals/${encodeURIComponent(sim)}`).catch(() => null)));
    for (const item of items) if (item) this.items.set(item.sim, item);
  }

  /** What a person calls it: plate, alias, number. */
  name(sim) {
    const item = this.items.get(sim);
    return item?.plate || item?.alias || sim;
  }

  /** Calls `tell` after each reading; gives what ends that. */
  watch(tell) {
    this.listeners.add(tell);
    return () => this.listeners.delete(tell);
  }

  // One short delay gathers a storm of events (a restart brings thousands) into one reading of the list.
  event(event) {
    if (!/^(terminal|stream|channel|talk)/.test(event.event) || this.waiting) return;
    this.waiting = setTimeout(() => { this.waiting = 0; this.load().catch(() => {}); }, 400);
  }
}
