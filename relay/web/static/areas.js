// Areas and routes that a vehicle's terminal watches over by itself (0x8600-0x8608): drawn on a map or typed, sent, read back, deleted.

import { call, query } from "./api.js";
import { AreaRules, rulesInWords, sentInWords, tick } from "./area_rules.js";
import { doing, field, make, press, select, table, toast } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { MapView } from "./map.js";

addWords({
  en: {
    ar_title: "Areas and routes", ar_kind: "Kind", ar_circles: "Circles", ar_rectangles: "Rectangles", ar_polygons: "Polygons", ar_routes: "Routes", ar_number: "Number", ar_name: "Name", ar_places: "Places: latitude, longitude, one a line", ar_places_circles: "Its middle.", ar_places_rectangles: "Two corners.", ar_places_polygons: "Three corners or more, in order.", ar_places_routes: "Its turning points, in order.", ar_click: "Clicks on the map add places.", ar_map: "Map of the areas: click adds a place; arrow keys move it, plus and minus zoom",
    ar_radius: "Radius (m)", ar_width: "Width (m)", ar_speed: "Speed limit (km/h)", ar_seconds: "exceeded for (s)", ar_daily: "Every day from", ar_until: "until", ar_report: "Report to the platform", ar_tell: "Tell the driver", ar_enter: "entering", ar_exit: "leaving", ar_send: "Send to the terminal", ar_replace: "instead of all it has of this kind", ar_sent: "The terminal has taken it.", ar_clear: "Clear", ar_read: "Read from the terminal", ar_show: "Show", ar_delete: "Delete", ar_delete_all: "Delete all", ar_delete_sure: "Delete {what} on the terminal?", ar_all_of: "all {kind}", ar_deleted: "Deleted.",
    ar_none: "Not read yet (0x8608, 2019).", ar_empty: "The terminal has none of these.", ar_old: "Terminals of JT/T 808-{edition} cannot be asked what they have (0x8608 is of 2019). Numbers that were sent from here are kept on the page until it is left.", ar_area: "Area", ar_where: "Where", ar_rules: "Rules", ar_points: "{n} places", ar_bad_place: "Line {n} is not a latitude and a longitude: {text}", ar_few: "{n} places are too few.", ar_unread: "The terminal told {n} of {total} in a form that is not the standard's.",
  },
  zh: {
    ar_title: "区域与路线", ar_kind: "类型", ar_circles: "圆形区域", ar_rectangles: "矩形区域", ar_polygons: "多边形区域", ar_routes: "路线", ar_number: "编号", ar_name: "名称", ar_places: "坐标：每行一个纬度, 经度", ar_places_circles: "圆心。", ar_places_rectangles: "两个对角。", ar_places_polygons: "按顺序至少三个顶点。", ar_places_routes: "按顺序的拐点。", ar_click: "在地图上点击可添加坐标。", ar_map: "区域地图：点击添加坐标；方向键移动，加减键缩放",
    ar_radius: "半径（米）", ar_width: "路宽（米）", ar_speed: "限速（km/h）", ar_seconds: "超速持续（秒）", ar_daily: "每日从", ar_until: "至", ar_report: "报告平台", ar_tell: "提示驾驶员", ar_enter: "进入", ar_exit: "离开", ar_send: "下发到终端", ar_replace: "替换终端上的全部同类区域", ar_sent: "终端已接收。", ar_clear: "清空", ar_read: "从终端读取", ar_show: "定位", ar_delete: "删除", ar_delete_all: "全部删除", ar_delete_sure: "在终端上删除{what}？", ar_all_of: "全部{kind}", ar_deleted: "已删除。",
    ar_none: "尚未读取（0x8608，2019 版）。", ar_empty: "终端上没有此类区域。", ar_old: "JT/T 808-{edition} 终端无法查询已有区域（0x8608 属 2019 版）。从此处下发的编号在离开页面前保留。", ar_area: "区域", ar_where: "位置", ar_rules: "规则", ar_points: "{n} 个坐标", ar_bad_place: "第 {n} 行不是纬度和经度：{text}", ar_few: "{n} 个坐标太少。", ar_unread: "终端返回的 {total} 个中有 {n} 个不符合标准格式。",
  },
});

const KINDS = ["circles", "rectangles", "polygons", "routes"], LEAST = { circles: 1, rectangles: 2, polygons: 3, routes: 1 };
const CHINA = [[73, 18], [135, 54]];
const seconds = (time) => (time ? `000000${time.replace(/:/g, "")}00`.slice(0, 12) : undefined);

/** "22.5, 114.05" a line → [latitude, longitude]; throws with the line that is neither. */
function places(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean).map((line, at) => {
    const [latitude, longitude, ...more] = line.split(/[\s,，;]+/).filter(Boolean).map(Number);
    if (more.length || !(Math.abs(latitude) <= 90) || !(Math.abs(longitude) <= 180)) throw new Error(t("ar_bad_place", { n: at + 1, text: line }));
    return [latitude, longitude];
  });
}

/** An area as the terminal tells it (whole numbers, hemispheres as bits) as one that is drawn: {id, name, places, radius, speed}. */
function told(kind, area) {
  const degrees = (latitude, longitude, bits, south) => [latitude / 1e6 * (bits >> south & 1 ? -1 : 1), longitude / 1e6 * (bits >> south + 1 & 1 ? -1 : 1)];
  const bits = area.attributes;
  const spots = kind === "circles" ? [degrees(area.center_latitude, area.center_longitude, bits, 6)]
    : kind === "rectangles" ? [degrees(area.left_top_latitude, area.left_top_longitude, bits, 6), degrees(area.right_bottom_latitude, area.right_bottom_longitude, bits, 6)]
      : area.points.map((point) => (kind === "polygons" ? degrees(point.latitude, point.longitude, bits, 6) : degrees(point.latitude, point.longitude, point.attributes, 2)));
  return { id: area.area_id ?? area.route_id, name: area.name ?? "", places: spots, radius: area.radius, rules: rulesInWords(bits, kind === "routes" ? area.points : [area]) };
}

/** What a map has to show of areas: their places as [longitude, latitude], a circle's four ends. */
function around(areas) {
  return areas.flatMap(({ places: spots, radius = 0 }) => spots.flatMap(([latitude, longitude]) => {
    const high = radius / 111320, wide = high / Math.max(0.1, Math.cos(latitude * Math.PI / 180));
    return [[longitude - wide, latitude - high], [longitude + wide, latitude + high]];
  }));
}

/** The card of one vehicle. `item()` gives what is known of it now; `status` the relay's map. */
export class Areas {
  constructor(sim, item, status) {
    this.path = `/terminals/${encodeURIComponent(sim)}/areas`;
    this.item = item;
    this.kind = "circles";
    this.kept = { circles: null, rectangles: null, polygons: null, routes: null };
    this.status = status;
    this.element = make("section", {});
    this.details = make("details", { class: "card", ontoggle: () => { if (this.details.open && !this.map) this.build(); } }, make("summary", {}, make("h3", {}, t("ar_title"))));
    this.body = make("div", { class: "padded" });
    this.details.append(this.body);
    this.element.append(this.details);
  }

  build() {
    const at = this.item().position;
    this.map = new MapView({ tiles: this.status.map_tiles, datum: this.status.map_datum, label: t("ar_map"), under: 0, paint: (pen, view) => this.paint(pen, view), onPick: (x, y) => this.pick(x, y) });
    const number = (label, attributes) => field(label, { type: "number", min: 1, ...attributes });
    this.places = field(t("ar_places"), { rows: 5, required: true, spellcheck: "false", placeholder: "22.54321, 114.05678", oninput: () => this.placed() }, "textarea");
    this.hint = make("p", { class: "hint" });
    this.number = number(t("ar_number"), { max: 4294967295, value: 1, required: true });
    this.name = field(t("ar_name"), { maxlength: 60, autocomplete: "off" });
    this.radius = number(t("ar_radius"), { max: 4294967295, value: 500, required: true, oninput: () => this.map.draw() });
    this.width = number(t("ar_width"), { max: 255, value: 50, required: true });
    this.speed = number(t("ar_speed"), { max: 65535 });
    this.lasting = number(t("ar_seconds"), { max: 255, value: 10 });
    [this.from, this.until] = [field(t("ar_daily"), { type: "time" }), field(t("ar_until"), { type: "time" })];
    this.ticks = Object.fromEntries(["platform", "driver"].flatMap((whom) => [[`entry_alarm_${whom}`, tick(t("ar_enter"))], [`exit_alarm_${whom}`, tick(t("ar_exit"))]]));
    for (const name of ["entry_alarm_platform", "exit_alarm_platform"]) this.ticks[name].input.checked = true;
    this.rules = new AreaRules();
    this.replace = tick(t("ar_replace"));
    const group = (words, whom) => make("fieldset", { class: "row" }, make("legend", {}, words), this.ticks[`entry_alarm_${whom}`], this.ticks[`exit_alarm_${whom}`]);
    const form = make("form", { class: "area-form", "aria-label": t("ar_title") }, select(t("ar_kind"), KINDS.map((kind) => [kind, t(`ar_${kind}`)]), this.kind, (kind) => this.choose(kind)),
      make("div", { class: "pair" }, this.number, this.name), this.places, this.hint, make("div", { class: "pair" }, this.radius, this.width), make("div", { class: "pair" }, this.speed, this.lasting), make("div", { class: "pair" }, this.from, this.until),
      group(t("ar_report"), "platform"), group(t("ar_tell"), "driver"), this.rules.element, this.replace,
      make("div", { class: "row" }, make("button", { class: "primary" }, t("ar_send")), press(t("ar_clear"), () => { this.places.input.value = ""; this.rules.clear(); this.placed(); })));
    form.addEventListener("invalid", () => { this.rules.element.open = true; }, true);     // what is folded away cannot be pointed at
    form.addEventListener("submit", (event) => { event.preventDefault(); doing(event.submitter, () => this.send()); });
    this.list = make("div", {});
    this.body.replaceChildren(make("div", { class: "area" }, form, make("div", { class: "area-map" }, this.map.canvas)), this.list);
    this.choose(this.kind);
    requestAnimationFrame(() => (at?.located ? this.map.fit([[at.longitude, at.latitude]], 14) : this.map.fit(CHINA)));
  }

  choose(kind) {
    this.kind = kind;
    this.hint.textContent = `${t(`ar_places_${kind}`)} ${t("ar_click")}`;
    this.rules.choose(kind, this.item().edition || 0);
    for (const [part, of] of [[this.radius, ["circles"]], [this.width, ["routes"]]]) {
      part.hidden = !of.includes(kind);
      part.input.disabled = part.hidden;
    }
    this.drawList();
    this.placed();
  }

  /** The places are others. */
  placed() {
    this.rules.follow(this.places.input.value.split("\n").filter((line) => line.trim()).length);
    this.map.draw();
  }

  get readable() {
    return (this.item().edition || 0) >= 2019;
  }

  drawList() {
    const { kind } = this, kept = this.kept[kind], edition = this.item().edition;
    const removed = (ids, what) => (event) => confirm(t("ar_delete_sure", { what })) && doing(event, async () => {
      await call("DELETE", `${this.path}/${kind}${query({ ids: ids.join(",") })}`);
      this.kept[kind] = ids.length ? (this.kept[kind] ?? []).filter((one) => !ids.includes(one.id)) : [];
      toast(t("ar_deleted"));
      this.drawList();
      this.map.draw();
    });
    this.list.replaceChildren(make("div", { class: "head area-head" }, make("h4", {}, t(`ar_${kind}`)), make("span", { class: "spacer" }),
      this.readable ? press(t("ar_read"), (event) => doing(event, () => this.read())) : "", press(t("ar_delete_all"), removed([], t("ar_all_of", { kind: t(`ar_${kind}`) })), "danger")),
    this.readable || !edition ? "" : make("p", { class: "hint" }, t("ar_old", { edition })),
    table([[t("ar_number")], t("ar_name"), t("ar_where"), t("ar_rules"), ""], (kept ?? []).map((one) => [
      [String(one.id)], one.name, one.places.length > 1 ? t("ar_points", { n: one.places.length }) : one.places[0]?.map((value) => value.toFixed(5)).join(", ") ?? "",
      one.rules, make("span", {}, press(t("ar_show"), () => this.map.fit(around([one]), 16)), press(t("ar_delete"), removed([one.id], `${t("ar_area")} ${one.id}`), "danger")),
    ]), kept || !this.readable ? t("ar_empty") : t("ar_none")));
  }

  async read() {
    const { kind } = this, found = await call("GET", `${this.path}/${kind}`);
    this.kept[kind] = found.areas.map((area) => told(kind, area));
    if (found.areas.length < found.count) toast(t("ar_unread", { n: found.count - found.areas.length, total: found.count }));
    this.drawList();
    if (this.kept[kind].length) this.map.fit(around(this.kept[kind]), 16); else this.map.draw();
  }

  async send() {
    const { kind } = this, spots = places(this.places.input.value), value = (part) => (part.input.disabled || part.input.value === "" ? undefined : Number(part.input.value));
    if (spots.length < LEAST[kind]) throw new Error(t("ar_few", { n: spots.length }));
    const area = { id: Number(this.number.input.value), name: this.name.input.value.trim() || undefined, start_time: seconds(this.from.input.value), end_time: seconds(this.until.input.value) };
    for (const [flag, box] of Object.entries(this.ticks)) area[flag] = box.input.checked;
    const limit = value(this.speed), usual = { width_m: value(this.width), max_speed_kmh: limit, overspeed_s: limit === undefined ? undefined : value(this.lasting) };
    if (kind !== "routes") Object.assign(area, { max_speed_kmh: limit, overspeed_s: usual.overspeed_s }, this.rules.area(limit));
    const [latitudes, longitudes] = [0, 1].map((at) => spots.map((spot) => spot[at])), points = spots.map(([latitude, longitude]) => ({ latitude, longitude }));
    if (kind === "circles") Object.assign(area, points[0], { radius_m: value(this.radius) });
    else if (kind === "rectangles") Object.assign(area, { top: Math.max(...latitudes), left: Math.min(...longitudes), bottom: Math.min(...latitudes), right: Math.max(...longitudes) });
    else area.points = kind === "routes" ? points.map((point, n) => ({ ...point, ...this.rules.point(n, { ...usual, overspeed_s: value(this.lasting) }) })) : points;
    const replace = this.replace.input.checked;
    await call("PUT", `${this.path}/${kind}`, { areas: [area], set: replace ? "replace" : "append" });
    toast(t("ar_sent"));
    this.kept[kind] = [...(replace ? [] : (this.kept[kind] ?? []).filter((one) => one.id !== area.id)), { id: area.id, name: area.name ?? "", places: spots, radius: value(this.radius), rules: sentInWords(area) }];
    this.number.input.value = String(area.id + 1);
    this.places.input.value = "";
    this.rules.clear();
    this.replace.input.checked = false;
    this.drawList();
    this.placed();
  }

  pick(x, y) {
    const [longitude, latitude] = this.map.spot(x, y), { input } = this.places;
    const lines = input.value.split("\n").filter((line) => line.trim());
    if (this.kind === "circles") lines.length = 0;
    if (this.kind === "rectangles" && lines.length > 1) lines.length = 0;
    input.value = [...lines, `${latitude.toFixed(6)}, ${longitude.toFixed(6)}`].join("\n");
    this.placed();
  }

  paint(pen, view) {
    let fresh = [];
    try { fresh = places(this.places.input.value); } catch { /* it is being typed */ }
    for (const one of this.kept[this.kind] ?? []) this.shape(pen, view, one.places, one.radius, "--accent", String(one.id));
    this.shape(pen, view, fresh, Number(this.radius.input.value), "--warn", "");
    const at = this.item().position;
    if (at?.located) this.dot(pen, view, [at.latitude, at.longitude], "--good");
  }

  dot(pen, view, [latitude, longitude], color) {
    const [x, y] = view.place(longitude, latitude);
    pen.fillStyle = view.color(color);
    pen.beginPath();
    pen.arc(x, y, 5, 0, 2 * Math.PI);
    pen.fill();
  }

  shape(pen, view, spots, radius, color, words) {
    if (!spots.length) return;
    const dots = spots.map(([latitude, longitude]) => view.place(longitude, latitude));
    pen.strokeStyle = view.color(color);
    pen.lineWidth = 2.5;
    pen.beginPath();
    if (this.kind === "circles") {
      const [latitude, longitude] = spots[0], edge = view.place(longitude, latitude + radius / 111320);
      pen.arc(...dots[0], Math.max(2, Math.abs(edge[1] - dots[0][1])), 0, 2 * Math.PI);
    } else if (this.kind === "rectangles" && dots.length > 1) {
      pen.rect(dots[0][0], dots[0][1], dots[1][0] - dots[0][0], dots[1][1] - dots[0][1]);
    } else {
      dots.forEach((dot, n) => (n ? pen.lineTo(...dot) : pen.moveTo(...dot)));
      if (this.kind === "polygons") pen.closePath();
    }
    pen.stroke();
    for (const spot of spots) this.dot(pen, view, spot, color);
    pen.fillStyle = view.color("--text");
    pen.font = `12px ${view.font}`;
    pen.fillText(words, dots[0][0] + 8, dots[0][1] - 6);
  }

  close() {
    this.map?.close();
  }
}
