// One tile that stands alone on a page, with what a wall would do for it.

import { Tile } from "./tile.js";

export class Stage {
  /** `empty()` says what stands there while nothing is shown. */
  constructor(fleet, empty) {
    this.emptyWords = empty;
    this.fleet = fleet;
    this.changed = () => {};
    this.tile = new Tile(this, 0);
    this.element = this.tile.element;
    this.element.classList.add("alone");
  }

  show(sim, channel) {
    this.tile.open({ sim, channel });
  }

  /** Something that ends: `what.address()` gives its WebSocket. */
  play(what) {
    this.tile.open(what);
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
