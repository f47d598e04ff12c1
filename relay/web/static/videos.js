// What the relay itself has recorded of a channel: begun and ended by hand, watched in the page, taken away as MP4.

import { all, call, fileAddress, may, query } from "./api.js";
import { doing, make, press, redraw, size, table, tag, toast, told } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { said } from "./said.js";
import { ofDay } from "./timeline.js";

addWords({
  en: { vi_title: "Recorded on this relay", vi_none: "Nothing of that day.", vi_record: "Record now", vi_end: "End the recording", vi_runs: "recording since {time}", vi_problem: "does not record: {why}", vi_length: "Length", vi_picture: "Picture", vi_why: "Why", vi_watch: "Watch", vi_download: "Download", vi_delete: "Delete", vi_delete_sure: "Delete this file?", vi_growing: "grows", vi_close: "Close" },
  zh: { vi_title: "服务器录像", vi_none: "当日无录像。", vi_record: "立即录像", vi_end: "结束录像", vi_runs: "录像中，自 {time}", vi_problem: "未能录像：{why}", vi_length: "时长", vi_picture: "画面", vi_why: "原因", vi_watch: "观看", vi_download: "下载", vi_delete: "删除", vi_delete_sure: "删除该文件？", vi_growing: "录制中", vi_close: "关闭" },
});

export class Videos {
  /** `second(time)`: of the day that is shown. */
  constructor(second) {
    this.second = second;
    this.element = make("section", { hidden: true });
    this.screen = make("div", {});
    this.items = [];
    this.running = null;
  }

  get path() {
    return `/terminals/${encodeURIComponent(this.sim)}/channels/${this.channel}/record`;
  }

  async show(sim, channel, day) {
    if (sim !== this.sim || channel !== this.channel || day !== this.day) this.screen.replaceChildren();
    Object.assign(this, { sim, channel, day });
    try {
      const [videos, records] = await Promise.all([all(`/videos${query({ sim, channel, start_time: `${day}T00:00:00`, end_time: `${day}T23:59:59` })}`), call("GET", "/records")]);
      this.items = videos;
      this.running = records.items.find((one) => one.sim === sim && one.channel === channel) ?? null;
      this.element.hidden = false;
      this.draw();
    } catch (problem) {
      this.element.hidden = true;
      if (problem.status !== 404) toast(told(problem));    // 404: this relay records nothing
    }
  }

  again() {
    return this.show(this.sim, this.channel, this.day);
  }

  draw() {
    const { running } = this;
    const change = (method) => (event) => doing(event, async () => { await call(method, this.path, method === "POST" ? {} : undefined); await this.again(); });
    const state = !running ? "" : tag(running.problem ? t("vi_problem", { why: said(running.problem) }) : t("vi_runs", { time: ofDay(this.second(running.since)) }), running.problem ? "bad" : "good");
    redraw(this.element, make("div", { class: "head" }, make("h3", {}, t("vi_title")), state, make("span", { class: "spacer" }), !may("operator") ? "" : running ? press(t("vi_end"), change("DELETE"), "danger") : press(t("vi_record"), change("POST"))), this.screen,
      table([t("pb_from"), t("vi_length"), [t("pb_size")], t("vi_picture"), t("vi_why"), ""], this.items.map((one) => [
        ofDay(this.second(one.start_time)), make("span", {}, ofDay(one.seconds), one.growing ? make("small", {}, t("vi_growing")) : ""), [size(one.bytes)], [one.video && `${one.video} ${one.width}×${one.height}`, one.audio].filter(Boolean).join(" + "), one.why,
        make("span", {}, press(t("vi_watch"), () => this.watch(one)), make("a", { class: "plain", href: fileAddress(`/videos/${encodeURIComponent(one.id)}/file`), download: `${one.sim}_${one.channel}_${one.id}.mp4` }, t("vi_download")),
          may("operator") && !one.growing ? press(t("vi_delete"), (event) => confirm(t("vi_delete_sure")) && doing(event, async () => { await call("DELETE", `/videos/${encodeURIComponent(one.id)}`); await this.again(); }), "danger") : ""),
      ]), t("vi_none")));
  }

  watch(one) {
    const video = make("video", { class: "shown", controls: true, autoplay: true, src: fileAddress(`/videos/${encodeURIComponent(one.id)}/file`), "aria-label": t("vi_title") });
    video.addEventListener("error", () => toast(t("decode_error", { why: video.error?.message ?? "" })));
    this.screen.replaceChildren(video, press(t("vi_close"), () => this.screen.replaceChildren()));
  }
}
