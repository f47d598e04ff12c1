// A call to a terminal, or a broadcast to many: the microphone to the relay, the terminals' sound to the speakers.
//
//   const talk = new Talk(({ state, message, level }) => …);
//   await talk.start({ sim, channel, mode: "talk" });          // or { terminals: […], channel, mode: "broadcast" }
//   talk.mute(true); talk.stop();
//
// `start` throws a Problem (./api.js) with words for people: no microphone allowed, page not secure, terminal offline, microphone taken …

import { call, Problem } from "./api.js";

const mine = (code, message, hint) => Object.assign(new Problem(0, { error: code, message, hint }));

export class Talk {
  constructor(told = () => {}) {
    this.told = told;
    this.id = "";
    this.results = [];
    this.muted = false;
    this.sent = this.heard = 0;    // messages of sound
  }

  async start({ sim, channel, mode = "talk", terminals = null }) {
    try {
      if (mode !== "listen") this.stream = await this.microphone();
      this.context = new AudioContext({ latencyHint: "interactive" });
      await this.context.audioWorklet.addModule("/static/talk_worklet.js");
      await this.context.resume();
      this.told({ state: "calling" });
      const answer = terminals
        ? await call("POST", "/broadcasts", { terminals, channel })
        : await call("POST", `/terminals/${encodeURIComponent(sim)}/channels/${channel}/talk`, { mode });
      this.id = answer.id;
      this.results = answer.results || [];
      if (!answer.ws) throw mine("nobody", this.results.map((one) => `${one.terminal}: ${one.message}`).join("\n"), "");
      await this.open(answer.ws, mode);
    } catch (problem) {
      this.stop();
      throw problem;
    }
  }

  async microphone() {
    if (!navigator.mediaDevices) throw mine("not_secure", "The browser gives no microphone to this page.", "Open it by https, or on this machine as localhost.");
    try {
      return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
    } catch (problem) {
      throw mine("no_microphone", `There is no microphone: ${problem.message}`, "Allow it for this page beside its address, and see that one is plugged in.");
    }
  }

  open(url, mode) {
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.word(JSON.parse(data)) : this.sound(data));
    this.socket.onclose = ({ reason }) => this.over(reason);
    this.ear = new AudioWorkletNode(this.context, "ear", { numberOfInputs: 0, outputChannelCount: [1] });
    this.ear.connect(this.context.destination);
    if (this.stream) {
      this.mic = new AudioWorkletNode(this.context, "mic", { numberOfOutputs: 0 });
      this.mic.port.onmessage = ({ data }) => this.say(data);
      this.context.createMediaStreamSource(this.stream).connect(this.mic);
    }
    return new Promise((ready, failed) => {
      this.socket.onopen = () => { this.told({ state: mode === "listen" ? "listening" : "speaking" }); ready(); };
      this.socket.onerror = () => failed(mine("socket", "The connection for the sound failed.", "A proxy in between must pass WebSockets."));
    });
  }

  say(chunk) {
    if (this.socket.readyState !== WebSocket.OPEN || this.muted || this.socket.bufferedAmount > 16000) return;
    this.socket.send(chunk);
    this.sent += 1;
  }

  sound(chunk) {
    this.heard += 1;
    const samples = new Int16Array(chunk);
    this.told({ level: samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0) / 32768 });
    this.ear.port.postMessage(chunk, [chunk]);
  }

  word(what) {
    if (what.type === "end" || what.type === "error") this.why = what.message;
    this.told({ state: what.state || what.type, message: what.message || what.problem || "", sim: what.sim });
  }

  mute(on) { this.muted = on; }

  over(reason) {
    if (this.closed) return;
    this.told({ state: "over", message: this.why || reason || "" });
    this.stop();
  }

  stop() {
    this.closed = true;
    if (this.socket) this.socket.close();
    for (const track of this.stream ? this.stream.getTracks() : []) track.stop();
    if (this.context && this.context.state !== "closed") this.context.close();
  }
}
