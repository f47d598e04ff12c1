// One picture of the wall: the video, what it is, how it does, and, when it does not, why and what to do.

import { button, icon, make, redraw, save, size, toast } from "./dom.js";
import { place, t } from "./i18n.js";
import { Operate } from "./operate.js";
import { Player } from "./player.js";
import { call } from "./api.js";
import { busyLately } from "./presence.js";

const HOPS = ["requested", "sent", "answered", "connected", "first_packet", "first_key_frame", "first_byte"];

export class Tile {
  /** `wall` is told of clicks, drops, sound and closing; `fleet` knows the terminals. */
  constructor(wall, index) {
    this.wall = wall;
    this.index = index;
    this.what = null;           // {sim, channel, stream}, or with {address} a recording
    this.player = null;
    this.sound = false;
    this.element = make("section", { class: "tile", tabindex: "0" });
    this.element.addEventListener("click", () => wall.select(this));
    this.element.addEventListener("focus", () => wall.select(this));
    this.element.addEventListener("dblclick", () => this.fullscreen());
    this.element.addEventListener("dragover", (event) => { event.preventDefault(); this.element.classList.add("drop"); });
    this.element.addEventListener("dragleave", () => this.element.classList.remove("drop"));
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      this.element.classList.remove("drop");
      wall.dropped(this, event.dataTransfer.getData("text/plain"));
    });
    this.draw();
  }

  open(what) {
    this.close(false);
    this.what = { stream: "", ...what };
    this.draw();
    this.player = new Player(this.video, () => this.address(), () => this.update(), (how) => this.share(how));
    this.player.ends = Boolean(what.address);
    this.player.start();
    this.wall.changed();
  }

  /** The URL with a fresh token: asked of the relay at each start, since tokens are short. */
  async address() {
    if (this.what.address) return this.what.address();
    const { sim, channel, stream } = this.what;
    const play = await call("GET", `/terminals/${encodeURIComponent(sim)}/channels/${channel}/play${stream ? `?stream=${stream}` : ""}`);
    return play.urls.ws_mp4;
  }

  /** A channel of the page's one connection, where there is one. */
  share(how) {
    const { sim, channel, stream } = this.what;
    return (!this.what.address && this.wall.channels?.channel({ sim, channel, stream, ...how })) || null;
  }

  close(tell = true) {
    if (this.player) this.player.destroy();
    this.player = null;
    this.what = null;
    this.sound = false;
    this.detailsOpen = false;
    this.draw();
    if (tell) this.wall.changed();
  }

  /** What is shown was stopped on purpose: no bytes are missed. */
  hold(on) {
    if (this.player) this.player.held = on;
  }

  /** Whether sound comes at all: a track that dries up stops the picture, so where none is to be expected the player does without it from the start. */
  expectSound(on) {
    const { player } = this;
    if (!player || player.withoutSound !== on) return;
    player.withoutSound = !on;
    player.start();
  }

  setSound(on) {
    this.sound = on;
    if (this.video) {
      this.video.muted = !on;
      if (on && this.video.paused && this.player?.state === "playing") this.video.play().catch(() => {});
    }
    this.update();
  }

  name() {
    const terminal = this.wall.fleet.get(this.what.sim);
    const title = terminal?.plate || this.what.sim;
    const where = place(this.what.channel);
    const talk = this.wall.fleet.talks.get(this.what.sim);
    return `${title} · ${t("ch", { n: this.what.channel })}${where ? ` ${where}` : ""}${talk ? ` · ${t("tk_holds", { who: talk.who })}` : ""}`;
  }

  draw() {
    this.operate?.stop();
    this.operate = null;
    this.element.replaceChildren();
    this.element.classList.toggle("open", Boolean(this.what));
    this.video = null;
    if (!this.what) {
      const words = this.wall.emptyWords?.() ?? t("empty");
      this.element.setAttribute("aria-label", words);
      this.element.append(make("p", { class: "empty" }, words));
      return;
    }
    this.video = make("video", { playsinline: true, muted: true, autoplay: true });
    this.video.muted = !this.sound;
    this.title = make("span", { class: "title" });
    this.figures = make("span", { class: "figures" });
    this.note = make("span", { class: "note" });
    this.soundButton = button("mute", t("sound"), () => this.wall.giveSound(this.sound ? null : this));
    this.streamButton = make("button", { type: "button", class: "word", onclick: () => this.switchStream() });
    this.detailsButton = button("info", t("details"), () => { this.detailsOpen = !this.detailsOpen; this.update(); });
    this.operate = new Operate(this.what.sim, this.what.channel);
    this.osd = make("p", { class: "osd", hidden: true });
    this.asking = make("div", { class: "asking", role: "status", hidden: true });
    this.cover = make("div", { class: "cover" });
    this.details = make("div", { class: "details", hidden: true });
    this.element.append(
      this.video, make("div", { class: "top" }, this.title, this.figures), this.osd, this.asking, this.cover, this.details,
      make("div", { class: "bottom" }, this.note, ...this.operate.buttons, this.streamButton, this.soundButton, button("camera", t("snapshot"), () => this.snapshot()),
        this.detailsButton, button("full", t("fullscreen"), () => this.fullscreen()), button("close", t("close"), () => this.close())),
    );
    if (this.operate.pad) this.element.append(this.operate.pad);
    this.update();
  }

  switchStream() {
    const stream = this.what.stream === "main" ? "sub" : "main";
    const sound = this.sound;
    this.open({ ...this.what, stream });
    this.setSound(sound);
  }

  update() {
    if (!this.what || !this.video) return;
    const player = this.player;
    this.element.setAttribute("aria-label", this.name());
    this.title.textContent = this.name();
    this.soundButton.replaceChildren(icon(this.sound ? "sound" : "mute"));
    this.soundButton.setAttribute("aria-pressed", String(this.sound));
    this.soundButton.title = this.sound ? t("mute") : t("sound");
    this.streamButton.hidden = Boolean(this.what.address);
    this.streamButton.textContent = this.what.stream === "main" ? t("main_short") : t("sub_short");
    this.streamButton.title = this.what.stream === "main" ? t("sub") : t("main");
    this.detailsButton.setAttribute("aria-pressed", String(Boolean(this.detailsOpen)));
    if (!player) return;
    const remarks = player.remarks;
    this.note.textContent = remarks[0] || "";
    this.note.title = remarks.join("\n");
    this.drawFigures(player);
    this.drawAsking(player);
    const over = this.overlay();
    this.osd.hidden = !over || player.state !== "playing";
    if (over && this.osd.textContent !== over) this.osd.textContent = over;
    this.drawCover(player);
    this.details.hidden = !this.detailsOpen;
    if (this.detailsOpen) this.drawDetails(player);
  }

  /** The relay asks whether somebody still watches: who has moved something in the last minutes does. */
  drawAsking(player) {
    const seconds = player.askedIn;
    this.asking.hidden = !seconds;
    if (!seconds) return;
    if (busyLately()) { this.stay(player); return; }
    if (!this.asking.firstChild) this.asking.replaceChildren(make("span", {}), make("button", { type: "button", onclick: () => this.stay(player) }, t("still_yes")));
    this.asking.firstChild.textContent = t("still_watching", { s: seconds });
  }

  stay(player) {
    const path = player.asked?.path;
    player.asked = null;
    this.asking.hidden = true;
    if (path) call("POST", path.replace("/api/v1", "")).catch((problem) => toast(problem.message));
  }

  /** What stands over the picture: plate, channel, the terminal's own time and speed; empty when nothing is to stand there. */
  overlay() {
    if (!this.wall.overlay || this.what.address) return "";
    const item = this.wall.fleet.get(this.what.sim), at = item?.position;
    return [item?.plate || this.what.sim, t("ch", { n: this.what.channel }), ...(at ? [at.time?.slice(0, 19).replace("T", " ") ?? "", `${at.speed.toFixed(0)} ${t("kmh")}`] : [t("osd_no_position")])].filter(Boolean).join("  ");
  }

  drawFigures(player) {
    if (player.state !== "playing" && player.state !== "stalled") { this.figures.replaceChildren(); return; }
    const { fps, kbps, behind } = player.stats;
    const bad = player.quality ? player.remarks[0] : "";
    this.figures.replaceChildren(
      bad ? make("span", { class: "late" }, "⚠ ", make("span", { class: "wide" }, `${bad} · `)) : "",
      make("b", {}, fps.toFixed(0)), ` ${t("fps")} `, make("span", { class: "wide" }, `· ${kbps.toFixed(0)} ${t("kbps")} `),
      make("span", { class: behind > 1 ? "late" : "" }, `· ${behind.toFixed(1)} s`),
    );
    this.figures.title = `${bad ? `${bad}\n` : ""}${t("delay")} ${behind.toFixed(2)} s`;
  }

  drawCover(player) {
    const { state, failure } = player;
    this.cover.hidden = state === "playing";
    if (this.cover.hidden) return;
    const shown = JSON.stringify([state, failure, [...player.hops], player.retryIn, player.silent]);
    if (shown === this.covered) return;
    this.covered = shown;
    const parts = [];
    if (state === "failed") {
      parts.push(make("p", { class: "cause", role: "alert" }, failure.message));
      if (failure.hint) parts.push(make("p", { class: "hint" }, failure.hint));
      if (player.hops.size) parts.push(this.hops(player, failure.hop || true));
      parts.push(make("div", { class: "actions" }, make("button", { type: "button", onclick: () => { player.withoutSound = false; player.start(); } }, t("retry")),
        player.retryIn ? make("span", { class: "again" }, t("again_in", { s: player.retryIn })) : null));
    } else if (state === "stalled") {
      parts.push(icon("warn", true), make("p", { class: "cause" }, t("stalled", { s: player.silent })), make("p", { class: "hint" }, t("stalled_hint")));
    } else {
      parts.push(make("p", { class: "cause" }, t("waiting")), this.hops(player, false));
    }
    redraw(this.cover, ...parts);
  }

  /** The way from the request to the picture, hop by hop, with the milliseconds each was reached at; after a failure only as far as it went. */
  hops(player, failed) {
    const reached = HOPS.filter((hop) => player.hops.has(hop)).length;
    return make("ol", { class: "hops" }, ...HOPS.slice(0, failed ? reached + 1 : HOPS.length).map((hop, at) => {
      const done = player.hops.has(hop);
      const now = !done && at === reached;
      return make("li", { class: done ? "done" : now ? (failed ? "failed" : "now") : "" }, make("span", {}, t(`hop_${hop}`)),
        make("time", {}, done ? `${Math.round(player.hops.get(hop))} ms` : ""));
    }));
  }

  drawDetails(player) {
    const { init, stats } = player, { video } = this;
    const rows = [
      [t("d_stream"), this.what.stream ? t(this.what.stream) : "—"],
      [t("d_codec"), init?.video ? `${init.video} (${/"([^",]*)/.exec(init.mime)?.[1] || ""})` : "—"],
      [t("d_size"), video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : "—"],
      [t("d_sound"), init?.audio || player.notes.join("; ") || t("no_sound")],
      [t("d_rate"), `${stats.fps.toFixed(1)} ${t("fps")}, ${stats.kbps.toFixed(0)} ${t("kbps")}`],
      [t("d_behind"), `${stats.behind.toFixed(2)} s`],
      [t("d_received"), size(stats.bytes)], [t("d_lost"), stats.dropped], [t("d_reconnects"), stats.reconnects],
    ];
    const list = make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));
    this.details.replaceChildren(list, make("h3", {}, t("d_hops")), this.hops(player, false));
  }

  fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.what) this.element.requestFullscreen?.().catch((problem) => toast(problem.message));
  }

  snapshot() {
    if (!this.video?.videoWidth) return;
    const canvas = make("canvas", { width: this.video.videoWidth, height: this.video.videoHeight });
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    const over = this.overlay();
    if (over) {
      const pen = canvas.getContext("2d"), height = Math.max(12, Math.round(canvas.height / 22));
      pen.font = `${height}px sans-serif`;
      pen.lineWidth = height / 5;
      pen.strokeStyle = "#000";
      pen.fillStyle = "#fff";
      pen.strokeText(over, height / 2, canvas.height - height / 2, canvas.width - height);
      pen.fillText(over, height / 2, canvas.height - height / 2, canvas.width - height);
    }
    canvas.toBlob((blob) => {
      const stamp = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
      const name = `${this.what.sim}_${this.what.channel}_${stamp}.jpg`;
      save(blob, name);
      toast(t("saved", { name }));
    }, "image/jpeg", 0.92);
  }
}
