// Streams: what runs, how well, and who watches; an operator may close viewers and stop channels. Below, what goes to outside servers.

import { all, call, may } from "./api.js";
import { make, redraw, size, table, tag, toast } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { Pushes } from "./pushes.js";
import { said } from "./said.js";

addWords({
  en: {
    streams_none: "Nothing runs. A channel starts when somebody opens it.", streams_stop: "Stop", streams_stop_sure: "Stop {name} for everybody? The terminal is told to stop sending.",
    s_stream: "Stream", s_state: "State", s_codec: "Codec", s_rate: "Rate", s_loss: "Loss", s_quality: "Quality", s_added: "Delay added (p99)", s_viewers: "Viewers", s_since: "Since",
    v_who: "Who", v_format: "Format", v_sent: "Sent", v_drops: "Drops", v_queue: "Waiting", v_kick: "Close", viewers_of: "Viewers of {name}", viewers_none: "Nobody watches.",
    state_running: "running", state_starting: "starting", state_lost: "connection lost",
  },
  zh: {
    streams_none: "当前没有码流。打开通道后会自动开始。", streams_stop: "停止", streams_stop_sure: "为所有人停止 {name}？终端将被要求停止发送。",
    s_stream: "码流", s_state: "状态", s_codec: "编码", s_rate: "码率", s_loss: "丢包", s_quality: "质量", s_added: "转发延时（p99）", s_viewers: "观众", s_since: "开始于",
    v_who: "用户", v_format: "格式", v_sent: "已发送", v_drops: "丢弃", v_queue: "排队", v_kick: "断开", viewers_of: "{name} 的观众", viewers_none: "没有观众。",
    state_running: "运行中", state_starting: "启动中", state_lost: "连接中断",
  },
});

const EVERY_MS = 2000;
const TONES = { running: "good", starting: "warn", lost: "bad" };

export function open(element, { fleet, rest }) {
  let chosen = rest[0] || "", timer = 0, closed = false;
  const sheet = make("div", { class: "parts" }), pushes = new Pushes(fleet);
  element.append(make("main", { class: "sheet wide" }, sheet, pushes.element));

  const quality = (found) => (found ? make("span", {}, tag(String(found.score), found.score >= 80 ? "good" : found.score >= 50 ? "warn" : "bad"), ...found.causes.map((cause) => make("small", { title: cause.code }, said(cause.message)))) : "");
  const name = (stream) => `${fleet.name(stream.sim)} · ${t("ch", { n: stream.channel })}${stream.kind === "live" ? "" : ` · ${stream.kind}`}`;

  async function draw() {
    const streams = await all("/streams");
    const viewers = chosen && streams.some((stream) => stream.id === chosen) ? (await call("GET", `/streams/${encodeURIComponent(chosen)}/viewers`)).items : null;
    if (closed) return;
    const one = streams.find((stream) => stream.id === chosen);
    redraw(sheet,
      make("section", {}, make("h2", {}, t("page_streams")), table([t("s_stream"), t("s_state"), t("s_codec"), [t("s_rate")], [t("s_loss")], t("s_quality"), [t("s_added")], [t("s_viewers")], t("s_since"), ""], streams.map((stream) => [
        make("a", { href: `#/streams/${encodeURIComponent(stream.id)}` }, name(stream)),
        make("span", { class: `tag ${TONES[stream.state] || ""}` }, t(`state_${stream.state}`)),
        [stream.video && `${stream.video.codec} ${stream.video.width}×${stream.video.height}`, stream.audio?.codec].filter(Boolean).join(" + "),
        [`${stream.fps.toFixed(1)} ${t("fps")} · ${Math.round(stream.bitrate / 1000)} ${t("kbps")}`], [`${stream.loss_percent.toFixed(1)} %`], quality(stream.quality), [`${stream.delay_p99_ms.toFixed(0)} ms`], [String(stream.viewers)],
        new Date(stream.since).toLocaleTimeString(),
        may("operator") ? make("button", { type: "button", class: "danger", onclick: () => stop(stream) }, t("streams_stop")) : "",
      ]), t("streams_none"))),
      viewers ? make("section", {}, make("h2", {}, t("viewers_of", { name: name(one) })), table([t("v_who"), t("v_format"), [t("v_sent")], [t("v_drops")], [t("v_queue")], t("s_since"), ""], viewers.map((viewer) => [
        [viewer.who, viewer.peer].filter(Boolean).join(" · "), viewer.format, [size(viewer.bytes)], [String(viewer.drops)], [size(viewer.queue_bytes)], new Date(viewer.since).toLocaleTimeString(),
        may("operator") ? make("button", { type: "button", class: "danger", onclick: () => change("DELETE", `/streams/${encodeURIComponent(chosen)}/viewers/${viewer.id}`) }, t("v_kick")) : "",
      ]), t("viewers_none"))) : "");
  }

  async function change(method, path) {
    try { await call(method, path); } catch (problem) { toast(problem.message); }
    await look();
  }

  function stop(stream) {
    if (confirm(t("streams_stop_sure", { name: name(stream) }))) change("DELETE", `/streams/${encodeURIComponent(stream.id)}`);
  }

  async function look() {
    clearTimeout(timer);
    try { await draw(); } catch (problem) { if (!closed) toast(problem.message); }
    if (!closed) timer = setTimeout(look, EVERY_MS);
  }

  look();
  return { words: () => { look(); pushes.draw(); }, close: () => { closed = true; clearTimeout(timer); pushes.close(); } };
}
