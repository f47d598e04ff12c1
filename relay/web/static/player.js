// Our Media Source player: fragmented MP4 over a WebSocket, or a channel of the page's one, into a <video>.
//
// The relay sends text messages {"type": "state" | "init" | "error" | "end", …} and binary ones: an initialisation segment after each
// "init", then fragments. A new "init" in the middle is a change of codec or size; the timeline goes on.
//
// States: idle → connecting → starting → playing ⇄ stalled → (failed → connecting …). Every change is told to `onChange(player)`.

import { socketAddress } from "./api.js";
import { t } from "./i18n.js";
import { qualityNotes } from "./quality.js";
import { said } from "./said.js";

const BEHIND_SEEK_S = 1.6;     // farther behind than this: jump
const BEHIND_LATE_S = 0.9;     // farther behind than this for LATE_S: jump
const LATE_S = 1.5;
const AIM_S = [0.3, 0.55];     // farther behind than this: play a little faster; the second where the picture has run dry
const AIM_UP_S = 0.08;         // so much more each time it runs dry
const AIM_CALM_MS = 20000;     // and half of that less after so long without
const KEEP_S = 20;             // played pictures kept in the buffer
const STALL_S = 4;             // no bytes for so long: say so
const SOUND_GONE_S = 3;        // bytes come but the picture waits: the sound track has dried up
const QUEUE_BYTES = 16 << 20;  // what may wait for the SourceBuffer
const BACKOFF_S = [1, 2, 4, 8, 15, 30];

const Source = self.ManagedMediaSource || self.MediaSource;

export class Player {
  /** `address()` gives (a promise of) the WebSocket URL with a fresh token; `onChange` is called at each change of state; `share(how)` gives a
   *  channel of a connection that is shared, played as `how` says, or null. */
  constructor(video, address, onChange, share = () => null) {
    this.video = video;
    this.address = address;
    this.share = share;
    this.onChange = onChange;
    this.state = "idle";
    this.failure = null;      // {message, hint, hop, final}
    this.hops = new Map();    // hop → milliseconds since the request
    this.init = null;         // the last "init" message
    this.notes = [];
    this.stats = { bytes: 0, bytesAtTick: 0, kbps: 0, frames: 0, framesAtTick: 0, fps: 0, behind: 0, dropped: 0, reconnects: 0 };
    this.failures = 0;
    this.withoutSound = false;
    this.aim = AIM_S[0];      // seconds in hand before the next bytes come: as little as the way from the terminal lets be
    this.dryAt = 0;
    this.ends = false;        // what is played comes to an end: nothing is tried again by itself
    this.held = false;        // paused on purpose: that nothing comes is as it should be
    this.lastBytes = 0;
    this.ticker = setInterval(() => this.tick(), 500);
    video.addEventListener("waiting", () => {
      if (this.state !== "playing" || this.held || video.seeking) return;
      this.dryAt = performance.now();
      this.aim = Math.min(AIM_S[1], this.aim + AIM_UP_S);
    });
    video.addEventListener("error", () => {
      if (video.error && this.state !== "idle") this.fail({ message: t("decode_error", { why: video.error.message || `code ${video.error.code}` }), hint: "" });
    });
    if (video.requestVideoFrameCallback) {
      const count = () => { this.stats.frames += 1; this.handle = video.requestVideoFrameCallback(count); };
      this.handle = video.requestVideoFrameCallback(count);
    }
  }

  set(state) {
    this.state = state;
    this.onChange(this);
  }

  async start() {
    this.stop(false);
    this.failure = null;
    this.hops.clear();
    this.notes = this.withoutSound ? [t("sound_dropped")] : [];
    this.quality = null;      // the last "quality" message, when something is wrong
    if (!Source) {
      this.fail({ message: t("unsupported_mse"), hint: t("unsupported_mse_hint"), final: true });
      return;
    }
    const run = {};            // whatever belongs to an older run is ignored
    this.run = run;
    this.set("connecting");
    const how = {};
    if (this.withoutSound) how.media = "v";
    // what is H.264 passes; H.265 is transcoded where the relay may, else it says why not and what to ask for
    if (!Source.isTypeSupported('video/mp4; codecs="hvc1.1.6.L93.B0"')) how.video = "h264";
    let socket = this.share(how);
    if (!socket) {
      let url;
      try {
        url = socketAddress(await this.address());
      } catch (problem) {
        if (this.run === run) this.fail({ message: problem.message, hint: problem.hint || "", hop: problem.hop, final: problem.status === 404 || problem.status === 403 });
        return;
      }
      if (this.run !== run) return;
      for (const [name, value] of Object.entries(how)) url.searchParams.set(name, value);
      socket = new WebSocket(url);
    }
    this.openSource(run);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onmessage = (message) => {
      if (this.run !== run) return;
      this.lastBytes = performance.now();
      if (typeof message.data === "string") this.text(JSON.parse(message.data));
      else this.bytes(message.data);
    };
    socket.onclose = (close) => {
      if (this.run !== run) return;
      if (close.unusable) { this.start(); return; }    // with a connection of its own
      this.fail(this.said || { message: close.reason ? t("ended", { why: said(close.reason) }) : t("ws_failed"), hint: close.reason ? "" : t("ws_failed_hint") });
    };
  }

  openSource(run) {
    this.queue = [];
    this.queued = 0;
    this.said = null;
    this.init = null;
    this.asked = null;        // {until, path}: the relay ends this view unless somebody says that they watch
    this.buffer = null;
    this.positioned = false;
    this.end = this.late = 0;
    this.source = new Source();
    this.video.disableRemotePlayback = true;
    if (this.objectUrl) URL.revokeObjectURL(this.objectUrl);
    this.objectUrl = URL.createObjectURL(this.source);
    this.video.src = this.objectUrl;
    this.source.addEventListener("sourceopen", () => { if (this.run === run) { this.ready = true; this.pump(); } }, { once: true });
    this.ready = false;
  }

  text(message) {
    if (message.type === "state") {
      if (message.hop) this.hops.set(message.hop, message.ms ?? 0);
      for (const [hop, ms] of Object.entries(message.hops || {})) this.hops.set(hop, ms);
      if (this.state === "connecting") this.set("starting"); else this.onChange(this);
    } else if (message.type === "init") {
      if (!Source.isTypeSupported(message.mime)) {
        this.fail({ message: t("unsupported_codec", { mime: message.mime }), hint: t("unsupported_codec_hint"), final: true });
        return;
      }
      // A SourceBuffer keeps the number of its tracks for ever: sound that joins, or goes, wants a new one.
      if (this.init && Boolean(this.init.audio) !== Boolean(message.audio)) this.openSource(this.run);
      this.init = message;
      this.notes = [...(message.notes || []).map(said), ...(this.withoutSound ? [t("sound_dropped")] : [])];
      this.push({ mime: message.mime });
      if (this.state === "connecting") this.set("starting");
    } else if (message.type === "quality") {
      this.quality = message.causes.length ? message : null;
      this.onChange(this);
    } else if (message.type === "still_watching") {
      this.asked = { until: performance.now() + message.seconds * 1000, path: message.continue };
      this.onChange(this);
    } else if (message.type === "error" || message.type === "end") {
      this.said = { message: said(message.message) || t("ended", { why: message.error || "" }), hint: said(message.hint) || "", hop: message.hop, final: [401, 403, 404, 415].includes(message.status) };
      if (message.hops) for (const [hop, ms] of Object.entries(message.hops)) this.hops.set(hop, ms);
    }
  }

  bytes(data) {
    this.stats.bytes += data.byteLength;
    this.queued += data.byteLength;
    if (this.queued > QUEUE_BYTES) {     // the browser does not take what comes (a hidden tab, say): begin again at a key frame
      this.start();
      return;
    }
    this.push(data);
  }

  push(item) {
    this.queue.push(item);
    this.pump();
  }

  pump() {
    if (!this.ready || (this.buffer && this.buffer.updating) || !this.queue.length || this.source.readyState !== "open") return;
    const item = this.queue[0];
    try {
      if (item.mime) {
        if (!this.buffer) {
          const buffer = this.buffer = this.source.addSourceBuffer(item.mime);
          buffer.mode = "segments";
          buffer.addEventListener("updateend", () => { if (this.buffer === buffer) { this.settle(); this.pump(); } });  // else of an older run
        } else if (this.mime !== item.mime && this.buffer.changeType) {
          this.buffer.changeType(item.mime);
        }
        this.mime = item.mime;
        this.queue.shift();
        this.pump();
        return;
      }
      if (!this.buffer) return;
      this.trim();
      if (this.buffer.updating) return;
      let size = 0, count = 0;           // join what waits: fewer, larger appends
      while (count < this.queue.length && !this.queue[count].mime && size < (1 << 20)) { size += this.queue[count].byteLength; count += 1; }
      let data = this.queue[0];
      if (count > 1) {
        const joined = new Uint8Array(size);
        let at = 0;
        for (const part of this.queue.slice(0, count)) { joined.set(new Uint8Array(part), at); at += part.byteLength; }
        data = joined;
      }
      this.buffer.appendBuffer(data);
      this.queue.splice(0, count);
      this.queued -= size;
    } catch (problem) {
      if (problem.name === "QuotaExceededError") this.trim(2);
      else this.fail({ message: t("decode_error", { why: problem.message }), hint: "" });
    }
  }

  trim(keep = KEEP_S) {
    const ranges = this.buffer.buffered;
    if (ranges.length && this.video.currentTime - ranges.start(0) > keep + 5) this.buffer.remove(0, this.video.currentTime - keep);
  }

  // After each append: stand near the end of what is there, and play.
  settle() {
    const ranges = this.buffer.buffered;
    if (!ranges.length) return;
    const start = ranges.start(ranges.length - 1), end = ranges.end(ranges.length - 1), video = this.video;
    if (!this.positioned || video.currentTime < start - 0.05 && ranges.length === 1) {
      this.positioned = true;
      video.currentTime = Math.max(start, end - 0.4);
      video.play().catch((problem) => {
        if (problem.name !== "NotAllowedError") return;      // begun anew meanwhile, mostly
        video.muted = true;
        video.play().catch(() => {});
        this.onChange(this);
      });
    }
    const behind = end - video.currentTime;
    this.stats.behind = Math.max(0, behind);
    // What was still to be shown when this came: a terminal that sends in bursts is not behind though much comes at once.
    const spare = (this.end || end) - video.currentTime, now = performance.now();
    this.end = end;
    if (now - this.dryAt > AIM_CALM_MS) {
      this.dryAt = now;
      this.aim = Math.max(AIM_S[0], this.aim - AIM_UP_S / 2);
    }
    if (spare <= BEHIND_LATE_S || this.ends) this.late = 0; else this.late ||= now;
    if (behind > BEHIND_SEEK_S || (this.late && now - this.late > LATE_S * 1000) || video.currentTime < start) {
      video.currentTime = Math.max(start, end - 0.3);
      this.late = 0;
    }
    const rate = spare > BEHIND_LATE_S && !this.ends ? 1.25 : spare > this.aim ? 1.1 : behind < 0.12 ? 0.97 : 1;
    if (video.playbackRate !== rate) video.playbackRate = rate;
    if (this.state !== "playing" && video.readyState >= 2) {
      this.failures = 0;
      this.set("playing");
    }
  }

  tick() {
    const now = performance.now(), seconds = (now - (this.ticked || now - 500)) / 1000;
    this.ticked = now;
    const stats = this.stats, quality = this.video.getVideoPlaybackQuality?.();
    if (!this.video.requestVideoFrameCallback && quality) stats.frames = quality.totalVideoFrames;
    const weight = stats.fps < 1 ? 1 : 0.3;    // the first figure at once, then smoothed
    stats.kbps += weight * ((stats.bytes - stats.bytesAtTick) * 8 / 1000 / seconds - stats.kbps);
    stats.fps += weight * ((stats.frames - stats.framesAtTick) / seconds - stats.fps);
    stats.bytesAtTick = stats.bytes;
    stats.framesAtTick = stats.frames;
    stats.dropped = quality ? quality.droppedVideoFrames : 0;
    if (this.state === "playing" || this.state === "stalled") {
      if (this.held) this.lastBytes = now;
      const silent = (now - this.lastBytes) / 1000;
      if (silent > STALL_S) { this.silent = Math.round(silent); this.set("stalled"); }
      else if (this.state === "stalled") this.set("playing");
      const frozen = this.video.currentTime === this.lastTime && !this.video.paused && !this.held && silent < 1;
      this.lastTime = this.video.currentTime;
      this.frozenFor = frozen ? (this.frozenFor || 0) + seconds : 0;
      if (this.frozenFor > SOUND_GONE_S && this.init?.audio && !this.withoutSound) {
        this.withoutSound = true;        // a track that has dried up stops the picture in a browser: go on without it
        stats.reconnects += 1;
        this.start();
        return;
      }
    }
    if (this.state === "failed" && this.retryAt) {
      if (now >= this.retryAt) { this.retryAt = 0; stats.reconnects += 1; this.start(); } else this.onChange(this);
    } else if (this.state === "playing") this.onChange(this);
  }

  /** What there is to say beside the picture, the gravest first. */
  get remarks() {
    return [...(this.quality ? qualityNotes(this.quality) : []), ...this.notes];
  }

  /** Seconds left to say that somebody still watches; 0 when nobody asks. */
  get askedIn() {
    return this.asked ? Math.max(0, Math.ceil((this.asked.until - performance.now()) / 1000)) : 0;
  }

  get retryIn() {
    return this.retryAt ? Math.max(0, Math.ceil((this.retryAt - performance.now()) / 1000)) : 0;
  }

  fail(failure) {
    this.stop(false);
    this.failure = failure;
    const wait = BACKOFF_S[Math.min(this.failures, BACKOFF_S.length - 1)];
    this.failures += 1;
    this.retryAt = failure.final || this.ends ? 0 : performance.now() + wait * 1000;
    this.set("failed");
  }

  stop(idle = true) {
    this.run = null;
    this.retryAt = 0;
    if (this.socket) { this.socket.onclose = null; this.socket.close(); this.socket = null; }
    this.queue = [];
    this.queued = 0;
    this.buffer = null;
    if (this.objectUrl) { URL.revokeObjectURL(this.objectUrl); this.objectUrl = ""; this.video.removeAttribute("src"); this.video.load(); }
    if (idle) this.set("idle");
  }

  destroy() {
    clearInterval(this.ticker);
    if (this.handle) this.video.cancelVideoFrameCallback?.(this.handle);
    this.onChange = () => {};
    this.stop();
  }
}
