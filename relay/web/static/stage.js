// One tile that stands alone on a page, with what a wall would do for it.

import { Tile } from "./tile.js";

export class Stage {
  constructor(fleet, onChange = () => {}) {
    this.terminalOf = (sim) => fleet.get(sim);
    this.changed = onChange;
    this.tile = new Tile(this, 0);
    this.element = this.tile.element;
    this.element.classList.add("alone");
  }

  show(sim, channel) {
    this.tile.open({ sim, channel });
  }

  select() {}

  dropped() {}

  giveSound(tile) {
    this.tile.setSound(Boolean(tile));
  }

  close() {
    this.tile.close(false);
  }
}
