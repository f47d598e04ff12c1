// Files that terminals send by FTP: how far each is, and what came, to be taken away as it is or as MP4.

import { call, fileAddress, may } from "./api.js";
import { doing, make, moment, press, redraw, size, table, tag, toast, told } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { said } from "./said.js";

addWords({
  en: {
    up_title: "Files from vehicles", up_none: "None have been asked for.", up_vehicle: "Vehicle", up_span: "Recorded", up_state: "State", up_progress: "Progress", up_files: "Files", up_made: "Asked for", up_pause: "Pause", up_resume: "Go on", up_cancel: "Cancel", up_delete: "Delete", up_delete_sure: "Delete this task and its files?", up_mp4: "as MP4",
    up_queued: "waiting", up_asked: "asked for", up_uploading: "coming", up_paused: "paused", up_done: "complete", up_failed: "failed", up_cancelled: "cancelled", up_offline: "until the vehicle is online", up_rate: "{rate}/s",
  },
  zh: {
    up_title: "上传的文件", up_none: "还没有上传任务。", up_vehicle: "车辆", up_span: "录像时段", up_state: "状态", up_progress: "进度", up_files: "文件", up_made: "创建时间", up_pause: "暂停", up_resume: "继续", up_cancel: "取消", up_delete: "删除", up_delete_sure: "删除该任务及其文件？", up_mp4: "转为 MP4",
    up_queued: "等待中", up_asked: "已下发", up_uploading: "上传中", up_paused: "已暂停", up_done: "已完成", up_failed: "失败", up_cancelled: "已取消", up_offline: "等待车辆上线", up_rate: "{rate}/秒",
  },
});

const BUSY = ["queued", "asked", "uploading", "paused"], TONES = { done: "good", failed: "bad", uploading: "warn", paused: "warn" };

export class Uploads {
  constructor(fleet) {
    this.fleet = fleet;
    this.items = [];
    this.closed = false;
    this.element = make("section", {});
    this.draw();
    this.look();
  }

  async look() {
    clearTimeout(this.timer);
    try {
      this.items = (await call("GET", "/uploads?limit=50")).items;
      if (!this.closed) this.draw();
    } catch (problem) {
      if (problem.status !== 404) toast(told(problem));     // 404: this relay takes no files
    }
    if (!this.closed) this.timer = setTimeout(() => this.look(), this.items.some((one) => ["asked", "uploading"].includes(one.state)) ? 1500 : 10000);
  }

  draw() {
    const shown = JSON.stringify(this.items) + t("up_title");
    if (shown === this.shown) return;
    this.shown = shown;
    redraw(this.element, make("h3", {}, t("up_title")), table([t("up_vehicle"), t("up_span"), t("up_state"), t("up_progress"), t("up_files"), t("up_made"), ""], this.items.map((one) => [
      `${this.fleet.name(one.sim)} · ${t("ch", { n: one.channel })}`, make("span", {}, moment(one.start_time), make("small", {}, moment(one.end_time))),
      make("span", {}, tag(t(`up_${one.state}`), TONES[one.state]), make("small", {}, said(one.message) || (one.waits_for_terminal ? t("up_offline") : ""))), this.progress(one), this.files(one), moment(one.created), may("operator") ? this.actions(one) : "",
    ]), t("up_none")));
  }

  progress(one) {
    const percent = one.state === "done" ? 100 : one.percent;
    return make("span", {}, percent === null ? "" : make("progress", { max: 100, value: percent, "aria-label": t("up_progress") }, `${percent} %`), make("small", {}, [size(one.bytes), one.bytes_per_s ? t("up_rate", { rate: size(one.bytes_per_s) }) : ""].filter(Boolean).join(" · ")));
  }

  files(one) {
    return make("span", {}, ...one.files.map((file) => {
      const address = `/uploads/${encodeURIComponent(one.id)}/files/${encodeURIComponent(file.name)}`;
      return make("span", { class: "file-line" }, make("a", { href: fileAddress(address), download: file.name }, file.name), file.complete && !file.name.endsWith(".mp4") ? make("a", { href: fileAddress(`${address}?convert=mp4`), download: `${file.name}.mp4` }, t("up_mp4")) : "", file.problem ? make("small", {}, file.problem) : "");
    }));
  }

  actions(one) {
    const path = `/uploads/${encodeURIComponent(one.id)}`;
    const act = (action) => press(t(`up_${action}`), (event) => doing(event, async () => { await call("POST", `${path}/control`, { action }); await this.look(); }));
    if (!BUSY.includes(one.state)) return make("span", {}, press(t("up_delete"), (event) => confirm(t("up_delete_sure")) && doing(event, async () => { await call("DELETE", path); await this.look(); }), "danger"));
    return make("span", {}, one.state === "paused" ? act("resume") : one.state === "uploading" ? act("pause") : "", act("cancel"));
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}
