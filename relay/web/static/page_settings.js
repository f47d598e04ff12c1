// Settings: one's own password; for administrators users, API tokens and hooks; what is peculiar to models; what this relay is.

import { call, may, token, who } from "./api.js";
import { ask, field, make, redraw, table, toast } from "./dom.js";
import { hookList } from "./hooks.js";
import { addWords, t } from "./i18n.js";
import { profiles } from "./quirks.js";

addWords({
  en: {
    set_me: "You", set_password: "Change password", set_old: "Password now", set_new: "New password (8 characters at least)", set_changed: "Changed. Sign in again.", set_by_token: "You came with a token (role {role}).",
    set_users: "Users", set_add_user: "Add a user", set_role: "Role", set_groups: "Groups", set_groups_hint: "Only terminals of these groups, separated by commas; empty: all terminals", set_all: "all terminals",
    role_viewer: "viewer", role_operator: "operator", role_admin: "administrator", set_enabled: "may sign in", set_disabled: "disabled", set_disable: "Disable", set_enable: "Enable", set_edit: "Edit", set_remove: "Remove", set_remove_sure: "Remove {name}?",
    set_tokens: "API tokens", set_add_token: "Make a token", set_purpose: "What it is for", set_days: "Good for (days)", set_revoke: "Revoke", set_revoke_sure: "Revoke the token “{name}”? What plays by it ends.", set_token_once: "This token is shown this once. Keep it safe.",
    set_by: "Made by", set_until: "Until", set_no_tokens: "None.", set_about: "This relay", set_version: "Version", set_uptime: "Runs since", set_save: "Save", set_cancel: "Cancel", set_copy: "Copy", set_close: "Close", set_api: "API: read and try",
  },
  zh: {
    set_me: "当前用户", set_password: "修改密码", set_old: "当前密码", set_new: "新密码（至少 8 位）", set_changed: "已修改，请重新登录。", set_by_token: "当前以令牌访问（角色：{role}）。",
    set_users: "用户", set_add_user: "添加用户", set_role: "角色", set_groups: "分组", set_groups_hint: "仅可见这些分组的终端，以逗号分隔；留空为全部终端", set_all: "全部终端",
    role_viewer: "查看者", role_operator: "操作员", role_admin: "管理员", set_enabled: "允许登录", set_disabled: "已停用", set_disable: "停用", set_enable: "启用", set_edit: "编辑", set_remove: "删除", set_remove_sure: "删除 {name}？",
    set_tokens: "API 令牌", set_add_token: "生成令牌", set_purpose: "用途", set_days: "有效期（天）", set_revoke: "吊销", set_revoke_sure: "吊销令牌“{name}”？使用它的播放将中断。", set_token_once: "令牌仅显示这一次，请妥善保存。",
    set_by: "创建者", set_until: "有效期至", set_no_tokens: "无。", set_about: "本服务", set_version: "版本", set_uptime: "运行自", set_save: "保存", set_cancel: "取消", set_copy: "复制", set_close: "关闭", set_api: "API 文档与调试",
  },
});

const ROLES = ["viewer", "operator", "admin"];
const split = (text) => text.split(/[,，、]/).map((word) => word.trim()).filter(Boolean);

export function open(element, { status, fleet }) {
  const sheet = make("div", { class: "sheet" });
  element.append(sheet);

  async function draw() {
    const all = !who.groups.length;    // who has some groups only is shown nothing that is about others too
    const [users, tokens, hooks] = may("admin") && all ? await Promise.all([call("GET", "/users"), call("GET", "/tokens"), call("GET", "/hooks")]) : [null, null, null];
    redraw(sheet, me(), users ? userList(users.items) : "", tokens ? tokenList(tokens.items) : "", hooks ? hookList(hooks.items, again) : "", all ? profiles(fleet) : "", about());
  }
  const again = () => draw().catch((problem) => toast(problem.message));
  const doing = (work) => async () => { try { await work(); } catch (problem) { toast([problem.message, problem.hint].filter(Boolean).join(" ")); } await again(); };

  function me() {
    return make("section", {}, make("h2", {}, t("set_me")), make("div", { class: "card padded head" },
      make("strong", {}, who.name), make("span", { class: "tag" }, t(`role_${who.role}`)), make("span", { class: "spacer" }),
      token() ? make("span", { class: "hint" }, t("set_by_token", { role: t(`role_${who.role}`) })) : make("button", { type: "button", class: "plain", onclick: password }, t("set_password"))));
  }

  async function password() {
    const [old, fresh] = [field(t("set_old"), { type: "password", autocomplete: "current-password", required: true }), field(t("set_new"), { type: "password", autocomplete: "new-password", required: true, minlength: 8 })];
    if (await ask(t("set_password"), [old, fresh], t("set_save"), () => call("PUT", "/session/password", { old: old.input.value, new: fresh.input.value }), t("set_cancel"))) location.reload();
  }

  const roles = (chosen) => field(t("set_role"), {}, "select", ...ROLES.map((role) => make("option", { value: role, selected: role === chosen }, t(`role_${role}`))));
  const groups = (given = []) => field(t("set_groups"), { value: given.join(", "), placeholder: t("set_groups_hint") });

  function userList(items) {
    return make("section", {}, make("div", { class: "head" }, make("h2", {}, t("set_users")), make("span", { class: "spacer" }), make("button", { type: "button", class: "primary", onclick: addUser }, t("set_add_user"))),
      table([t("sign_in_name"), t("set_role"), t("set_groups"), "", ""], items.map((user) => [
        user.name, t(`role_${user.role}`), user.groups.join(", ") || t("set_all"), make("span", { class: `tag ${user.enabled ? "good" : "bad"}` }, t(user.enabled ? "set_enabled" : "set_disabled")),
        make("span", {}, make("button", { type: "button", class: "plain", onclick: () => editUser(user) }, t("set_edit")),
          make("button", { type: "button", class: "plain", onclick: doing(() => call("PUT", `/users/${encodeURIComponent(user.name)}`, { enabled: !user.enabled })) }, t(user.enabled ? "set_disable" : "set_enable")),
          make("button", { type: "button", class: "danger", onclick: () => confirm(t("set_remove_sure", { name: user.name })) && doing(() => call("DELETE", `/users/${encodeURIComponent(user.name)}`))() }, t("set_remove"))),
      ]), t("set_no_tokens")));
  }

  async function addUser() {
    const [name, word, role, group] = [field(t("sign_in_name"), { required: true, maxlength: 64, autocomplete: "off" }), field(t("set_new"), { type: "password", required: true, minlength: 8, autocomplete: "new-password" }), roles("viewer"), groups()];
    if (await ask(t("set_add_user"), [name, word, role, group], t("set_save"), () => call("POST", "/users", { name: name.input.value, password: word.input.value, role: role.input.value, groups: split(group.input.value) }), t("set_cancel"))) await again();
  }

  async function editUser(user) {
    const [role, group, word] = [roles(user.role), groups(user.groups), field(t("set_new"), { type: "password", autocomplete: "new-password" })];
    if (await ask(user.name, [role, group, word], t("set_save"), () => call("PUT", `/users/${encodeURIComponent(user.name)}`, { role: role.input.value, groups: split(group.input.value), password: word.input.value }), t("set_cancel"))) await again();
  }

  function tokenList(items) {
    return make("section", {}, make("div", { class: "head" }, make("h2", {}, t("set_tokens")), make("span", { class: "spacer" }), make("button", { type: "button", class: "primary", onclick: addToken }, t("set_add_token"))),
      table([t("set_purpose"), t("set_role"), t("set_groups"), t("set_by"), t("set_until"), ""], items.map((item) => [
        item.name || item.id, t(`role_${item.role}`), item.groups.join(", ") || t("set_all"), item.made_by || "–", new Date(item.expires).toLocaleString(),
        make("button", { type: "button", class: "danger", onclick: () => confirm(t("set_revoke_sure", { name: item.name || item.id })) && doing(() => call("DELETE", `/tokens/${encodeURIComponent(item.id)}`))() }, t("set_revoke")),
      ]), t("set_no_tokens")));
  }

  async function addToken() {
    const [name, role, group, days] = [field(t("set_purpose"), { required: true, maxlength: 64 }), roles("viewer"), groups(), field(t("set_days"), { type: "number", min: 1, max: 3650, value: 365, required: true })];
    const made = await ask(t("set_add_token"), [name, role, group, days], t("set_save"), () => call("POST", "/tokens", { name: name.input.value, role: role.input.value, groups: split(group.input.value), expires_s: Number(days.input.value) * 86400 }), t("set_cancel"));
    if (!made) return;
    const shown = field(t("set_token_once"), { readonly: true, value: made.token });
    await ask(name.input.value, [shown], t("set_close"), () => true);
    await again();
  }

  function about() {
    return make("section", {}, make("h2", {}, t("set_about")), make("div", { class: "card padded" },
      make("p", {}, `jt1078relay ${status.version} · ${t("set_uptime")} ${new Date(status.since).toLocaleString()}`), make("a", { href: "/api/" }, t("set_api"))));
  }

  again();
  return { words: again };
}
