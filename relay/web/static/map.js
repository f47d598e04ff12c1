// A map of our own on a canvas: Web Mercator, moved by drag, wheel, two fingers and keys; tiles where the relay names a server for them, else a grid.
//
// Whoever owns it gives `paint(pen, view)`, called after the ground is drawn, with view.place(longitude, latitude) → [x, y] in CSS pixels.

import { make } from "./dom.js";

const TILE = 256, ZOOM_MIN = 2, ZOOM_MAX = 19, TILES_KEPT = 300, RETRY_MS = 30000;
const GRID = [90, 45, 30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

const world = (longitude, latitude) => [(longitude + 180) / 360, 0.5 - Math.asinh(Math.tan(Math.max(-85, Math.min(85, latitude)) * Math.PI / 180)) / (2 * Math.PI)];
const earth = (x, y) => [x * 360 - 180, Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180 / Math.PI];

export class MapView {
  /** `tiles`: "https://host/{z}/{x}/{y}.png" or ""; `datum` "gcj02" when they are drawn so; `under`: pixels at the bottom that a card covers on a narrow screen. */
  constructor({ tiles = "", datum = "wgs84", paint, onPick, label, under = 250 }) {
    this.tiles = tiles;
    this.under = under;
    this.shifted = datum === "gcj02";
    this.paint = paint;
    this.onPick = onPick;
    this.center = world(108, 34);
    this.zoom = 4;
    this.images = new Map();
    this.pointers = new Map();
    this.canvas = make("canvas", { class: "map", tabindex: "0", role: "application", "aria-label": label });
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
    const on = (name, work, options) => this.canvas.addEventListener(name, work, options);
    on("pointerdown", (event) => { this.canvas.setPointerCapture(event.pointerId); this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]); this.moved = 0; });
    on("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) {
      on(end, (event) => {
        this.pointers.delete(event.pointerId);
        if (end === "pointerup" && this.moved < 6 && !this.pointers.size) this.onPick(event.offsetX, event.offsetY);
      });
    }
    on("wheel", (event) => { event.preventDefault(); this.zoomBy(-event.deltaY / (event.deltaMode ? 3 : 240), event.offsetX, event.offsetY); }, { passive: false });
    on("dblclick", (event) => this.zoomBy(1, event.offsetX, event.offsetY));
    on("keydown", (event) => this.key(event));
  }

  get size() {
    return TILE * 2 ** this.zoom;
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.offsetX, event.offsetY];
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1], apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
      this.zoomBy(Math.log2(apart(now) / apart(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      this.moved = 10;
    } else {
      this.moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
      this.pan(before[0] - now[0], before[1] - now[1]);
    }
    this.pointers.set(event.pointerId, now);
  }

  pan(x, y) {
    this.center = [(this.center[0] + x / this.size + 1) % 1, Math.max(0, Math.min(1, this.center[1] + y / this.size))];
    this.onPan?.();
    this.draw();
  }

  zoomBy(steps, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const before = this.size, dx = x - this.canvas.clientWidth / 2, dy = y - this.canvas.clientHeight / 2;
    this.zoom = Math.max(ZOOM_MIN, Math.min(ZOOM_MAX, this.zoom + steps));
    this.pan(dx * this.size * (1 / before - 1 / this.size), dy * this.size * (1 / before - 1 / this.size));
  }

  key(event) {
    const step = { ArrowLeft: [-80, 0], ArrowRight: [80, 0], ArrowUp: [0, -80], ArrowDown: [0, 80] }[event.key];
    if (step) this.pan(...step);
    else if (event.key === "+" || event.key === "=") this.zoomBy(0.5);
    else if (event.key === "-") this.zoomBy(-0.5);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Shows all of these [longitude, latitude]. */
  fit(points, most = 16) {
    if (!points.length) return;
    const places = points.map((point) => world(...this.shift(...point)));
    const [left, right] = [Math.min(...places.map((one) => one[0])), Math.max(...places.map((one) => one[0]))];
    const [top, bottom] = [Math.min(...places.map((one) => one[1])), Math.max(...places.map((one) => one[1]))];
    const under = this.canvas.clientWidth < 700 ? this.under : 0;
    const room = Math.min((this.canvas.clientWidth - 80) / Math.max(1e-9, right - left), (this.canvas.clientHeight - under - 80) / Math.max(1e-9, bottom - top));
    this.center = [(left + right) / 2, (top + bottom) / 2];
    this.zoom = Math.max(ZOOM_MIN, Math.min(most, Math.log2(Math.max(1, room) / TILE)));
    this.center[1] += under / 2 / this.size;
    this.draw();
  }

  to(longitude, latitude) {
    this.center = world(...this.shift(longitude, latitude));
    this.draw();
  }

  shift(longitude, latitude) {
    return this.shifted ? gcj02(longitude, latitude) : [longitude, latitude];
  }

  place(longitude, latitude) {
    const [x, y] = world(...this.shift(longitude, latitude)), wide = this.canvas.clientWidth;
    let dx = x - this.center[0];
    if (dx > 0.5) dx -= 1; else if (dx < -0.5) dx += 1;
    return [wide / 2 + dx * this.size, this.canvas.clientHeight / 2 + (y - this.center[1]) * this.size];
  }

  /** The [longitude, latitude] at a pixel. */
  spot(x, y) {
    const shown = earth((this.center[0] + (x - this.canvas.clientWidth / 2) / this.size + 1) % 1, this.center[1] + (y - this.canvas.clientHeight / 2) / this.size);
    let [longitude, latitude] = shown;
    for (let round = 0; this.shifted && round < 3; round += 1) {     // the shift changes little over its own length: three rounds are centimetres
      const moved = gcj02(longitude, latitude);
      [longitude, latitude] = [longitude + shown[0] - moved[0], latitude + shown[1] - moved[1]];
    }
    return [longitude, latitude];
  }

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.drawNow(); });
  }

  drawNow() {
    const { canvas } = this, wide = canvas.clientWidth, high = canvas.clientHeight;
    if (!wide || !high) return;
    const scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(wide * scale) || canvas.height !== Math.round(high * scale)) { canvas.width = Math.round(wide * scale); canvas.height = Math.round(high * scale); }
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    this.color = (name) => style.getPropertyValue(name).trim();
    this.font = style.fontFamily;
    pen.fillStyle = this.color("--map");
    pen.fillRect(0, 0, wide, high);
    if (this.tiles) this.drawTiles(pen, wide, high);
    else this.drawGrid(pen, wide, high);
    this.paint(pen, this);
    this.drawScale(pen, wide, high);
  }

  drawTiles(pen, wide, high) {
    const level = Math.max(0, Math.min(ZOOM_MAX, Math.round(this.zoom))), count = 2 ** level, side = this.size / count;
    const left = this.center[0] * count - wide / 2 / side, top = this.center[1] * count - high / 2 / side;
    for (let y = Math.max(0, Math.floor(top)); y < Math.min(count, top + high / side); y += 1) {
      for (let x = Math.floor(left); x < left + wide / side; x += 1) {
        const image = this.tile(level, ((x % count) + count) % count, y);
        if (image) pen.drawImage(image, (x - left) * side, (y - top) * side, side + 0.5, side + 0.5);
      }
    }
  }

  tile(z, x, y) {
    const key = `${z}/${x}/${y}`, kept = this.images.get(key);
    if (kept) {
      this.images.delete(key);
      this.images.set(key, kept);
      if (kept.failed && performance.now() - kept.failed > RETRY_MS) this.images.delete(key);
      return kept.image.complete && kept.image.naturalWidth ? kept.image : null;
    }
    const image = new Image(), entry = { image, failed: 0 };
    image.onload = () => this.draw();
    image.onerror = () => { entry.failed = performance.now(); };
    image.src = this.tiles.replace("{z}", z).replace("{x}", x).replace("{y}", y);
    this.images.set(key, entry);
    if (this.images.size > TILES_KEPT) this.images.delete(this.images.keys().next().value);
    return null;
  }

  drawGrid(pen, wide, high) {
    const step = GRID.findLast((one) => (one / 360) * this.size > 90) ?? 90, digits = Math.max(0, -Math.floor(Math.log10(step)));
    const [west, north] = earth(this.center[0] - wide / 2 / this.size, this.center[1] - high / 2 / this.size);
    const [east, south] = earth(this.center[0] + wide / 2 / this.size, this.center[1] + high / 2 / this.size);
    pen.font = `11px ${this.font}`;
    pen.fillStyle = this.color("--dim");
    pen.strokeStyle = this.color("--line");
    pen.lineWidth = 1;
    pen.beginPath();
    for (let at = Math.ceil(west / step) * step; at <= east; at += step) {
      const x = (world(at, 0)[0] - this.center[0]) * this.size + wide / 2;
      pen.moveTo(x, 0); pen.lineTo(x, high);
      pen.fillText(`${at.toFixed(digits)}°`, x + 3, 12);
    }
    for (let at = Math.ceil(Math.max(-85, south) / step) * step; at <= Math.min(85, north); at += step) {
      const y = (world(0, at)[1] - this.center[1]) * this.size + high / 2;
      pen.moveTo(0, y); pen.lineTo(wide, y);
      if (y > 24) pen.fillText(`${at.toFixed(digits)}°`, 3, y - 3);
    }
    pen.stroke();
  }

  drawScale(pen, wide, high) {
    const [, latitude] = earth(...this.center), metres = 40075017 * Math.cos(latitude * Math.PI / 180) / this.size;
    const rough = metres * 120, power = 10 ** Math.floor(Math.log10(rough)), length = [5, 2, 1].map((one) => one * power).find((one) => one <= rough) ?? power;
    pen.fillStyle = this.color("--text");
    pen.fillRect(14, high - 14, length / metres, 3);
    pen.font = `12px ${this.font}`;
    pen.fillText(length >= 1000 ? `${length / 1000} km` : `${length} m`, 14, high - 19);
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.drawing);
    this.images.clear();
  }
}

// GCJ-02, the datum that Chinese maps are drawn in: a shift of some hundred metres that is published as these polynomials (Krasovsky's ellipsoid).
function gcj02(longitude, latitude) {
  if (longitude < 72 || longitude > 138 || latitude < 0.8 || latitude > 56) return [longitude, latitude];
  const { sin, cos, sqrt, abs, PI } = Math, x = longitude - 105, y = latitude - 35;
  const waves = (20 * sin(6 * x * PI) + 20 * sin(2 * x * PI)) * 2 / 3;
  const north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * sqrt(abs(x)) + waves + (20 * sin(y * PI) + 40 * sin(y / 3 * PI)) * 2 / 3 + (160 * sin(y / 12 * PI) + 320 * sin(y * PI / 30)) * 2 / 3;
  const east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * sqrt(abs(x)) + waves + (20 * sin(x * PI) + 40 * sin(x / 3 * PI)) * 2 / 3 + (150 * sin(x / 12 * PI) + 300 * sin(x / 30 * PI)) * 2 / 3;
  const a = 6378245, ee = 0.00669342162296594323, angle = latitude / 180 * PI, magic = 1 - ee * sin(angle) ** 2;
  return [longitude + east * 180 / (a / sqrt(magic) * cos(angle) * PI), latitude + north * 180 / (a * (1 - ee) / (magic * sqrt(magic)) * PI)];
}
