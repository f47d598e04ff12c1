// Vehicles: all of them in a table, or one with everything that is known of it and can be done with it.

import { icon, make, moment, redraw, select, table, tag } from "./dom.js";
import { may } from "./api.js";
import { spoken } from "./bell.js";
import { addWords, place, t } from "./i18n.js";
import { startBroadcast } from "./callbar.js";
import { Vehicle } from "./vehicle.js";

addWords({
  en: {
    ve_vehicle: "Vehicle", ve_group: "Group", ve_state: "State", ve_position: "Last position", ve_speed: "Speed", ve_channels: "Channels", ve_seen: "Heard", ve_all_groups: "All groups", ve_no_group: "no group",
    ve_all_states: "All states", ve_online: "Online", ve_offline: "Offline", ve_alarm: "With an alarm", ve_none: "No vehicle matches.", ve_more: "The first {n} of {total} are shown; search to narrow them down.",
    ve_no_fix: "no fix", ve_open: "Watch {name}", ve_count: "{shown} of {total}",
  },
  zh: {
    ve_vehicle: "车辆", ve_group: "分组", ve_state: "状态", ve_position: "最后位置", ve_speed: "速度", ve_channels: "通道", ve_seen: "最近通信", ve_all_groups: "全部分组", ve_no_group: "未分组",
    ve_all_states: "全部状态", ve_online: "在线", ve_offline: "离线", ve_alarm: "有报警", ve_none: "没有符合条件的车辆。", ve_more: "仅显示前 {n} 辆（共 {total} 辆），请用搜索缩小范围。",
    ve_no_fix: "未定位", ve_open: "观看 {name}", ve_count: "{shown} / {total}",
  },
});

const DRAWN_MAX = 300;    // rows in the page at once
const EVERY_MS = 10000;

export function open(element, context) {
  return context.rest[0] ? new Vehicle(element, context) : list(element, context);
}

function list(element, { fleet }) {
  let group = "", state = "";
  const picked = new Set();
  const speak = make("button", { type: "button", class: "primary", hidden: true, onclick: () => startBroadcast(fleet, [...picked]) });
  const operator = may("operator");
  const search = make("input", { type: "search", autocomplete: "off", spellcheck: "false", oninput: () => draw() });
  const filters = make("div", { class: "filters" });
  const rows = make("div", {});
  const note = make("p", { class: "hint", role: "status" });
  element.append(make("main", { class: "sheet wide" }, make("section", {}, filters, rows, note)));

  function words() {
    search.placeholder = t("search");
    search.setAttribute("aria-label", t("search"));
    const groups = [...new Set([...fleet.items.values()].map((item) => item.group).filter(Boolean))].sort();
    filters.replaceChildren(make("h2", {}, t("page_vehicles")), make("label", { class: "search" }, icon("search"), search),
      select(t("ve_group"), [["", t("ve_all_groups")], ...groups.map((name) => [name, name])], group, (value) => { group = value; draw(); }),
      select(t("ve_state"), [["", t("ve_all_states")], ["online", t("ve_online")], ["offline", t("ve_offline")], ["alarm", t("ve_alarm")]], state, (value) => { state = value; draw(); }), speak);
    draw();
  }

  function matches(item) {
    const needle = search.value.trim().toLowerCase();
    if (needle && !`${item.plate} ${item.sim} ${item.phone} ${item.alias} ${item.aliases.join(" ")}`.toLowerCase().includes(needle)) return false;
    if (group && item.group !== group) return false;
    return state === "online" ? item.online : state === "offline" ? !item.online : state === "alarm" ? item.alarms.length > 0 : true;
  }

  function draw() {
    const items = [...fleet.items.values()].filter(matches).sort((a, b) => Number(b.online) - Number(a.online) || a.name.localeCompare(b.name));
    for (const sim of picked) if (!fleet.get(sim)?.online) picked.delete(sim);
    speak.hidden = !picked.size;
    speak.replaceChildren(icon("mic"), t("tk_speak_to", { n: picked.size }));
    redraw(rows, table([...(operator ? [t("tk_choose")] : []), t("ve_vehicle"), t("ve_group"), t("ve_state"), [t("ve_speed")], t("ve_position"), t("ve_channels"), t("ve_seen")], items.slice(0, DRAWN_MAX).map((item) => [
      ...(operator ? [make("input", { type: "checkbox", "data-pick": item.sim, "aria-label": `${t("tk_choose")} ${item.name}`, checked: picked.has(item.sim), disabled: !item.online, onchange: (event) => { picked[event.target.checked ? "add" : "delete"](item.sim); draw(); } })] : []),
      make("a", { class: "strong", href: `#/vehicles/${encodeURIComponent(item.sim)}` }, item.plate || item.alias || item.sim, make("small", {}, item.sim)),
      item.group || "",
      states(item),
      [item.position?.located ? `${item.position.speed.toFixed(0)} ${t("kmh")}` : ""],
      item.position ? make("a", { href: `#/map/${encodeURIComponent(item.sim)}` }, where(item.position)) : "",
      item.online ? make("span", { class: "row-chips" }, ...item.channels.map((channel) => make("a", {
        class: "chip", href: `#/live/${item.sim}_${channel.channel}`, title: t("ve_open", { name: channel.name || place(channel.channel) || t("channel", { n: channel.channel }) }), "data-streaming": String(channel.streaming),
      }, String(channel.channel)))) : "",
      moment(item.last_seen),
    ]), t("ve_none")));
    note.textContent = items.length > DRAWN_MAX ? t("ve_more", { n: DRAWN_MAX, total: items.length }) : t("ve_count", { shown: items.length, total: fleet.items.size });
  }

  words();
  let known = fleet.items.size;
  const end = fleet.watch(() => { if (fleet.items.size !== known) { known = fleet.items.size; words(); } else draw(); });
  const look = setInterval(() => { if (!document.hidden) fleet.load().catch(() => {}); }, EVERY_MS);    // positions tell themselves by no event
  return { words, close: () => { end(); clearInterval(look); }, keys: (event) => { if (event.key === "/") { event.preventDefault(); search.focus(); } } };
}

export function states(item) {
  return make("span", { class: "tags" }, tag(item.online ? t("online") : t("offline"), item.online ? "good" : ""), ...item.alarms.slice(0, 2).map((alarm) => tag(spoken(alarm), "bad")), item.alarms.length > 2 ? tag(`+${item.alarms.length - 2}`, "bad") : "");
}

export function where(position) {
  return position.located ? `${position.latitude.toFixed(5)}, ${position.longitude.toFixed(5)}` : t("ve_no_fix");
}
