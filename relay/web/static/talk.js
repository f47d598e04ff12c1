// A call to a terminal, or a broadcast to many: the microphone to the relay, the terminals' sound to the speakers.
//
//   const talk = new Talk(({ state, message, level }) => …);
//   await talk.start({ sim, channel, mode: "talk" });          // or { terminals: […], channel, mode: "broadcast" }
//   talk.mute(true); talk.stop();
//
// `start` throws a Problem (./api.js) with words for people: no microphone allowed, page not secure, terminal offline, microphone taken …

import { call, Problem } from "./api.js";
import { addWords, t } from "./i18n.js";
import { said } from "./said.js";

addWords({
  en: {
    ta_not_secure: "The browser gives no microphone to this page.", ta_not_secure_hint: "Open it by https, or on this machine as localhost.", ta_no_microphone: "There is no microphone: {why}",
    ta_no_microphone_hint: "Allow it for this page beside its address, and see that one is plugged in.", ta_socket: "The connection for the sound failed.", ta_socket_hint: "A proxy in between must pass WebSockets.",
  },
  zh: {
    ta_not_secure: "浏览器不向此页面提供麦克风。", ta_not_secure_hint: "请以 https 打开，或在本机用 localhost 打开。", ta_no_microphone: "没有可用的麦克风：{why}",
    ta_no_microphone_hint: "请在地址栏旁允许此页面使用麦克风，并确认已接好。", ta_socket: "语音连接失败。", ta_socket_hint: "中间的代理必须放行 WebSocket。",
  },
});

const mine = (code, message, hint) => new Problem(0, { error: code, message, hint });

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
      if (!answer.ws) throw mine("nobody", this.results.map((one) => `${one.terminal}: ${said(one.message)}`).join("\n"), "");
      await this.open(answer.ws, mode);
    } catch (problem) {
      this.stop();
      throw problem;
    }
  }

  async microphone() {
    if (!navigator.mediaDevices) throw mine("not_secure", t("ta_not_secure"), t("ta_not_secure_hint"));
    try {
      return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
    } catch (problem) {
      throw mine("no_microphone", t("ta_no_microphone", { why: problem.message }), t("ta_no_microphone_hint"));
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
      this.socket.onerror = () => failed(mine("socket", t("ta_socket"), t("ta_socket_hint")));
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
    this.told({ state: what.state || what.type, message: said(what.message || what.problem) || "", sim: what.sim });
  }

  mute(on) { this.muted = on; }

  over(reason) {
    if (this.closed) return;
    this.told({ state: "over", message: said(this.why || reason) || "" });
    this.stop();
  }

  stop() {
    this.closed = true;
    if (this.socket) this.socket.close();
    for (const track of this.stream ? this.stream.getTracks() : []) track.stop();
    if (this.context && this.context.state !== "closed") this.context.close();
  }
}
