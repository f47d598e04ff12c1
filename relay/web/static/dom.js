// Small helpers to make elements; no inline styles or scripts, so the page keeps its strict Content-Security-Policy.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name, big = false) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  if (big) svg.setAttribute("class", "big");
  svg.append(use);
  return svg;
}

export function button(name, label, onclick, extra = {}) {
  return make("button", { type: "button", title: label, "aria-label": label, onclick, ...extra }, icon(name));
}

/**
 * A table: `columns` are words, `[word]` for a column of numbers; each row is a list of texts or elements, `[text]` for a number. Without rows, `nothing`
 * is said. On a narrow screen each row is a card, with the columns' words beside what stands in them.
 */
export function table(columns, rows, nothing) {
  const words = columns.map((column) => (Array.isArray(column) ? column[0] : column));
  const cell = (tag) => (content, at) => make(tag, { role: tag === "th" ? "columnheader" : "cell", "data-label": tag === "td" ? words[at] : null, class: Array.isArray(content) ? "number" : content?.tagName === "BUTTON" || content?.querySelector?.("button") ? "actions" : null }, ...(Array.isArray(content) ? content : [content]));
  const body = rows.length ? rows.map((row) => make("tr", { role: "row" }, ...row.map(cell("td")))) : [make("tr", { class: "nothing" }, make("td", { colspan: columns.length }, nothing))];
  return make("div", { class: "card scroll" }, make("table", { class: "list", role: "table" }, make("thead", {}, make("tr", { role: "row" }, ...columns.map(cell("th")))), make("tbody", {}, ...body)));
}

let pressed = null, letGo = 0;
const waiting = new Map();      // a part → what it is to show when the button in it has been let go
const PRESS_MS = 10000;         // a press whose end is never told: a menu of the system took it, and the pointer has not moved since

function released() {
  clearTimeout(letGo);
  pressed = null;
  for (const [part, children] of waiting) redraw(part, ...children);
  waiting.clear();
}
document.addEventListener("pointerdown", (event) => { pressed = event.target; clearTimeout(letGo); letGo = setTimeout(released, PRESS_MS); }, true);
document.addEventListener("pointermove", (event) => { if (pressed && !event.buttons) released(); }, true);
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { clearTimeout(letGo); letGo = setTimeout(released); }, true);   // after the click

/** By what an element is found again in a part drawn anew: its link, its data, or what its row begins with and its place in it. */
function mark(one, part) {
  const row = one.closest("tr, li") ?? part, link = one.getAttribute("href");
  return link || JSON.stringify(Object.keys(one.dataset).length ? one.dataset : [row === part ? "" : row.firstElementChild.textContent, [...row.querySelectorAll(one.tagName)].indexOf(one)]);
}

/** `part.replaceChildren` for what is drawn anew without being asked: a button between press and release stays until it has been let go, and who is at one with the keyboard stays at it. */
export function redraw(part, ...children) {
  if (pressed && part.contains(pressed)) { waiting.set(part, children); return; }
  const at = part.contains(document.activeElement) ? document.activeElement : null, held = at && mark(at, part);
  part.replaceChildren(...children);
  const found = held ? [...part.querySelectorAll(at.tagName)].filter((one) => mark(one, part) === held) : [];
  if (found.length === 1) found[0].focus({ preventScroll: true });    // where two could be meant, neither
}

/** A button with words; `kind` is primary, plain or danger. */
export function press(words, onclick, kind = "plain", extra = {}) {
  return make("button", { type: "button", class: kind, onclick, ...extra }, words);
}

/** Names and values below each other; those without a value are left out. */
export function facts(rows) {
  const given = rows.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return make("dl", { class: "facts" }, ...given.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value?.tagName ? value : String(value))]));
}

export const tag = (words, tone = "") => make("span", { class: `tag ${tone}` }, words);

/** A choice: `options` are [value, words]. */
export function select(label, options, value, onchange, extra = {}) {
  return make("select", { "aria-label": label, title: label, onchange: (event) => onchange(event.target.value), ...extra }, ...options.map(([of, words]) => make("option", { value: of, selected: of === value }, words)));
}

/** Says what went wrong and what to do about it. */
export const told = (problem) => [problem.message, problem.hint].filter(Boolean).join(" ");

/** Does `work`; meanwhile the button does nothing else, but keeps the keyboard. What fails is said in a toast. Gives what `work` gave, or undefined. */
export async function doing(target, work) {
  const element = target?.currentTarget ?? target;
  if (element?.hasAttribute("aria-disabled")) return undefined;
  element?.setAttribute("aria-disabled", "true");
  try {
    return await work();
  } catch (problem) {
    toast(told(problem));
    return undefined;
  } finally {
    element?.removeAttribute("aria-disabled");
  }
}

/** Saves what the page holds as a file. */
export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export const clock = (time) => (time ? new Date(time).toLocaleTimeString() : "");
export const moment = (time) => (time ? new Date(time).toLocaleString() : "");

const TOASTS_MAX = 4, TOAST_MS = 5000;
/** Says something for some seconds, below what is said already; of one `kind` the newest alone, so that what comes often does not push out what was asked for. */
export function toast(text, kind = "") {
  const box = document.getElementById("toast");
  let line = [...box.children].find((one) => (kind && one.dataset.kind === kind) || one.textContent === text);
  if (!line) {
    box.append(line = make("p", { "data-kind": kind || null }));
    while (box.children.length > TOASTS_MAX) box.firstElementChild.remove();
  }
  line.textContent = text;
  clearTimeout(line.hiding);
  line.hiding = setTimeout(() => line.remove(), TOAST_MS);
}

/** A form's field with its label; `field.input` is the element to read. */
export function field(label, attributes = {}, tag = "input", ...children) {
  const input = make(tag, attributes, ...children);
  const element = make("label", { class: "field" }, make("span", {}, label), input);
  return Object.assign(element, { input });
}

/** Asks in a dialog and gives what `read()` says, or null when it was left. `submit` may refuse by throwing: its message is shown and the dialog stays. */
export function ask(title, parts, go, submit, cancel = "") {
  return new Promise((done) => {
    const problem = make("p", { class: "problem", role: "alert", hidden: true });
    const yes = make("button", { class: "primary", type: "submit" }, go);
    const form = make("form", {}, make("h2", {}, title), ...parts, problem, make("div", { class: "actions" },
      cancel ? make("button", { type: "button", class: "plain", onclick: () => dialog.close() }, cancel) : null, yes));
    const dialog = make("dialog", { class: "ask", "aria-label": title }, form);
    let result = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      yes.disabled = true;
      problem.hidden = true;
      try {
        result = (await submit()) ?? true;
        dialog.close();
      } catch (error) {
        problem.textContent = [error.message, error.hint].filter(Boolean).join(" ");
        problem.hidden = false;
      } finally {
        yes.disabled = false;
      }
    });
    if (!cancel) dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => { dialog.remove(); done(result); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function size(bytes) {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}
