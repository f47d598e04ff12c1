// The API, read and tried: made in the browser from /api/v1/openapi.json, so that it says what this relay does.

import { call, fileAddress, takeTokenFromAddress, token, who } from "./api.js";
import { make, tag } from "./dom.js";
import { addWords, t } from "./i18n.js";
import { comeIn } from "./signin.js";

addWords({
  en: { ap_search: "Path or words", ap_send: "Send", ap_who: "{name}, role {role}", ap_body: "Body (JSON)", ap_answer: "Answer", ap_public: "no token", ap_curl: "As a command", ap_not_json: "The body is not JSON: {why}", ap_stream: "{n} bytes of a stream; it goes on", ap_needed: "needed", ap_fields: "Fields", ap_answers: "Answers", ap_none: "Nothing matches." },
  zh: { ap_search: "路径或关键词", ap_send: "发送", ap_who: "{name}，角色 {role}", ap_body: "请求体（JSON）", ap_answer: "应答", ap_public: "无需令牌", ap_curl: "命令行", ap_not_json: "请求体不是 JSON：{why}", ap_stream: "流数据 {n} 字节，仍在继续", ap_needed: "必填", ap_fields: "字段", ap_answers: "应答类型", ap_none: "没有匹配项。" },
});

const STREAM_MS = 4000, SHOWN_MAX = 200000;
const TONES = { get: "good", post: "warn", put: "warn", delete: "bad" };
let spec = null;

const resolve = (schema) => (schema?.$ref ? spec.components.schemas[schema.$ref.split("/").pop()] : schema) ?? {};

/** Words for what a schema takes. */
function kind(schema, depth = 0) {
  const of = resolve(schema);
  if (of.enum) return of.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (of.anyOf) return of.anyOf.map((one) => kind(one, depth + 1)).join(" | ");
  if (of.type === "array") return `[${kind(of.items, depth + 1)}]`;
  const limits = [of.minimum !== undefined ? `≥ ${of.minimum}` : "", of.maximum !== undefined ? `≤ ${of.maximum}` : "", of.maxLength !== undefined ? `≤ ${of.maxLength} chars` : "", of.pattern ? `/${of.pattern}/` : ""].filter(Boolean).join(" ");
  return [of.title && of.type === "object" ? of.title : of.type ?? "any", limits].filter(Boolean).join(" ");
}

/** A value that fits: what is needed, and what has a default worth seeing. */
function example(schema, depth = 0) {
  const of = resolve(schema);
  if (of.default !== undefined && depth) return of.default;
  if (of.enum) return of.enum[0];
  if (of.anyOf) return example(of.anyOf[0], depth);
  if (of.type === "object") return Object.fromEntries(Object.entries(of.properties ?? {}).filter(([name]) => (of.required ?? []).includes(name)).map(([name, one]) => [name, depth < 4 ? example(one, depth + 1) : null]));
  return { array: () => (of.items && depth < 3 ? [example(of.items, depth + 1)] : []), integer: () => of.minimum ?? 0, number: () => of.minimum ?? 0, boolean: () => false, string: () => "" }[of.type]?.() ?? null;
}

function description(schema) {
  const of = resolve(schema);
  return of.description ?? of.anyOf?.map((one) => resolve(one).description).find(Boolean) ?? "";
}

function fields(schema) {
  const of = resolve(schema), needed = of.required ?? [];
  const rows = Object.entries(of.properties ?? {}).map(([name, one]) => make("tr", {}, make("td", {}, make("code", {}, name), needed.includes(name) ? make("small", {}, t("ap_needed")) : ""), make("td", {}, kind(one)), make("td", {}, description(one), one.default !== undefined && one.default !== null && one.default !== "" ? make("small", {}, `= ${JSON.stringify(one.default)}`) : "")));
  return make("details", {}, make("summary", {}, t("ap_fields"), of.title ? ` · ${of.title}` : ""), of.description ? make("p", { class: "hint" }, of.description) : "", make("div", { class: "card scroll" }, make("table", { class: "list" }, make("tbody", {}, ...rows))));
}

function operation(path, method, one) {
  const id = one.operationId, parameters = one.parameters ?? [], body = one.requestBody?.content?.["application/json"]?.schema;
  const box = make("details", { class: "card operation", id }, make("summary", {}, tag(method.toUpperCase(), TONES[method]), make("code", {}, path), make("span", {}, one.summary), make("small", {}, one["x-permission"] ?? t("ap_public"))));
  box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(form()); });
  return box;

  function form() {
    const inputs = new Map(parameters.map((parameter) => {
      const of = resolve(parameter.schema), choices = of.enum ?? of.anyOf?.find((each) => each.enum)?.enum;
      const input = choices ? make("select", {}, ...(parameter.required ? [] : [make("option", { value: "" }, "")]), ...choices.map((each) => make("option", { value: each }, String(each)))) : make("input", { autocomplete: "off", placeholder: kind(parameter.schema), required: parameter.required });
      return [parameter, input];
    }));
    const text = body ? make("textarea", { rows: 8, spellcheck: "false", "aria-label": t("ap_body") }, JSON.stringify(example(body), null, 2)) : null;
    const answer = make("div", { class: "answer-box", "aria-live": "polite" });
    const send = make("button", { class: "primary" }, t("ap_send"));
    const element = make("form", { class: "try" }, ...[...inputs].map(([parameter, input]) => make("label", { class: "field" }, make("span", {}, `${parameter.name}${parameter.required ? " *" : ""} ${parameter.description ?? ""}`), input)), body ? make("label", { class: "field" }, make("span", {}, t("ap_body")), text) : "", body ? fields(body) : "",
      make("div", { class: "row" }, send), answer, responses(one));
    element.addEventListener("submit", async (event) => {
      event.preventDefault();
      send.disabled = true;
      try { await request(inputs, text, answer); } catch (problem) { answer.replaceChildren(make("p", { class: "problem", role: "alert" }, problem.message)); }
      send.disabled = false;
    });
    return element;
  }

  async function request(inputs, text, answer) {
    let address = path;
    const asked = new URLSearchParams();
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value !== "") asked.set(parameter.name, input.value);
    }
    if ([...asked].length) address += `?${asked}`;
    let sent;
    if (text?.value.trim()) {
      try { JSON.parse(text.value); } catch (problem) { throw new Error(t("ap_not_json", { why: problem.message })); }
      sent = text.value;
    }
    const headers = { Accept: "application/json" };
    if (token()) headers.Authorization = `Bearer ${token()}`;
    else if (who.csrf) headers["X-CSRF-Token"] = who.csrf;
    if (sent) headers["Content-Type"] = "application/json";
    const began = performance.now(), stop = new AbortController();
    const got = await fetch(address, { method: method.toUpperCase(), headers, body: sent, cache: "no-store", signal: stop.signal });
    const type = got.headers.get("content-type") ?? "", took = `${Math.round(performance.now() - began)} ms`;
    const head = make("p", {}, tag(`${got.status} ${got.statusText}`, got.ok ? "good" : "bad"), ` ${took} · ${type}`);
    const curl = `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}-H "Authorization: Bearer $TOKEN" ${sent ? `-H "Content-Type: application/json" -d '${JSON.stringify(JSON.parse(sent)).replaceAll("'", "'\\''")}' ` : ""}'${location.origin}${address}'`;
    const command = make("details", {}, make("summary", {}, t("ap_curl")), make("pre", { class: "answer", tabindex: "0" }, curl));
    if (type.startsWith("image/") && got.ok) {
      answer.replaceChildren(head, make("img", { class: "shown", alt: address, src: fileAddress(address) }), command);
      stop.abort();
      return;
    }
    answer.replaceChildren(head, make("pre", { class: "answer", tabindex: "0", "aria-label": t("ap_answer") }, await read(got, type, stop)), command);
  }
}

/** The body for people; of a stream what comes in some seconds. */
async function read(got, type, stop) {
  if (!type.startsWith("text/event-stream")) {
    const text = type.startsWith("application/json") || type.startsWith("text/") ? await got.text() : `${(await got.arrayBuffer()).byteLength} bytes`;
    try { return JSON.stringify(JSON.parse(text), null, 2).slice(0, SHOWN_MAX); } catch { return text.slice(0, SHOWN_MAX); }
  }
  let text = "";
  setTimeout(() => stop.abort(), STREAM_MS);
  try {
    for await (const chunk of got.body.pipeThrough(new TextDecoderStream())) text += chunk;
  } catch { /* it was stopped here */ }
  return `${text.slice(0, SHOWN_MAX)}\n${t("ap_stream", { n: text.length })}`;
}

function responses(one) {
  const list = Object.entries(one.responses).map(([status, response]) => make("li", {}, tag(status, status < "300" ? "good" : "bad"), ` ${response.description} `, make("code", {}, resolve(response.content?.["application/json"]?.schema).title ?? "")));
  const good = Object.values(one.responses)[0]?.content?.["application/json"]?.schema;
  return make("details", {}, make("summary", {}, t("ap_answers")), make("ul", { class: "statuses" }, ...list), good ? fields(good) : "");
}

async function main() {
  const kept = localStorage.getItem("theme");
  if (kept) document.documentElement.dataset.theme = kept;
  takeTokenFromAddress();
  await comeIn("");
  document.getElementById("document").href = fileAddress("/openapi.json");
  document.getElementById("about").textContent = t("ap_who", { name: who.name, role: who.role });
  spec = await call("GET", "/openapi.json");
  const search = make("input", { type: "search", placeholder: t("ap_search"), "aria-label": t("ap_search"), oninput: () => draw() });
  const list = make("div", {});
  document.getElementById("view").append(make("section", {}, make("div", { class: "filters" }, make("h2", {}, `${spec.info.title} ${spec.info.version}`), search), make("p", { class: "hint" }, spec.info.description)), list);

  const operations = Object.entries(spec.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, one]) => ({ path, one, element: operation(path, method, one), tag: one.tags[0] })));
  function draw() {
    const needle = search.value.trim().toLowerCase();
    const shown = operations.filter(({ path, one }) => !needle || `${path} ${one.summary} ${one.tags}`.toLowerCase().includes(needle));
    list.replaceChildren(...spec.tags.map(({ name }) => [name, shown.filter((each) => each.tag === name)]).filter(([, of]) => of.length).map(([name, of]) => make("section", {}, make("h3", {}, name), ...of.map((each) => each.element))), shown.length ? "" : make("p", { class: "hint" }, t("ap_none")));
  }
  draw();
  const wanted = operations.find(({ one }) => `#${one.operationId}` === location.hash);
  if (wanted) { wanted.element.open = true; wanted.element.scrollIntoView(); }
}

main();
