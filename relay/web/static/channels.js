// The page's one connection for pictures: channels of /live/ws, each of which looks like a WebSocket of its own to the player.
//
// The connection opens with the first channel and closes some seconds after the last. If it cannot be opened (a proxy that knows only the addresses of
// single channels, say), its channels end with `unusable`, and for a while the players take a connection each.

import { socketAddress, token } from "./api.js";

const LINGER_MS = 5000;       // players that begin anew find it still open
const AVOID_MS = 60000;       // after it could not be opened

class Channel {
  constructor(line, slot) {
    this.line = line;
    this.slot = slot;
    this.onmessage = this.onclose = null;
  }

  close() { this.line.close(this); }

  over(close) {
    const told = this.onclose;
    this.onclose = this.onmessage = null;
    told?.(close);
  }
}

export class Channels {
  constructor() {
    this.socket = null;
    this.open = new Map();      // slot → Channel
    this.ending = new Set();    // slots that were closed here and have not ended there
    this.last = -1;
    this.avoid = 0;
    this.worked = false;        // once: when it does not open now, the relay is away
  }

  /** A channel that is `{sim, channel, stream, media, video}`, or null while single connections are better. */
  channel(what) {
    if (performance.now() < this.avoid) return null;
    clearTimeout(this.idle);
    do this.last = (this.last + 1) % 65536; while (this.open.has(this.last) || this.ending.has(this.last));
    const channel = new Channel(this, this.last);
    this.open.set(channel.slot, channel);
    this.send({ type: "open", slot: channel.slot, ...what });
    return channel;
  }

  send(message) {
    const text = JSON.stringify(message);
    if (!this.socket) this.connect();
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text); else this.waiting.push(text);
  }

  connect() {
    const url = socketAddress("/live/ws");
    if (token()) url.searchParams.set("token", token());
    const socket = this.socket = new WebSocket(url);
    this.waiting = [];
    this.ending.clear();
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { this.waiting.splice(0).forEach((text) => socket.send(text)); };
    socket.onmessage = ({ data }) => {
      this.worked = true;
      if (typeof data === "string") this.text(data);
      else {
        const view = new Uint8Array(data);
        // whole messages and pieces alike: a SourceBuffer takes them as they come
        if (view.length > 3) this.open.get(view[0] * 256 + view[1])?.onmessage?.({ data: data.slice(3) });
      }
    };
    socket.onclose = (close) => {
      if (this.socket !== socket) return;
      this.socket = null;
      const unusable = !this.worked;
      if (unusable) this.avoid = performance.now() + AVOID_MS;
      const channels = [...this.open.values()];
      this.open.clear();
      for (const channel of channels) channel.over({ code: close.code, reason: close.reason, unusable });
    };
  }

  text(data) {
    const { slot, type } = JSON.parse(data);
    if (slot === undefined) { console.warn("the relay did not understand a message", data); return; }
    const channel = this.open.get(slot);
    channel?.onmessage?.({ data });
    if (type !== "end" && type !== "error") return;
    this.ending.delete(slot);
    if (!channel) return;
    this.open.delete(slot);
    channel.over({ code: 1000, reason: "" });
    this.rest();
  }

  close(channel) {
    if (this.open.get(channel.slot) !== channel) return;
    this.open.delete(channel.slot);
    this.ending.add(channel.slot);
    if (this.socket) this.send({ type: "close", slot: channel.slot });
    this.rest();
  }

  rest() {
    clearTimeout(this.idle);
    if (!this.open.size) this.idle = setTimeout(() => { const socket = this.socket; this.socket = null; socket?.close(); }, LINGER_MS);
  }
}
