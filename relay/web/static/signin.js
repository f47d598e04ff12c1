// Coming in: name and password, a token, or the link of the first start that makes the first administrator.

import { logIn, makeFirst, Problem, session, setToken, token } from "./api.js";
import { ask, field, make, toast } from "./dom.js";
import { addWords, t } from "./i18n.js";

addWords({
  en: {
    sign_in: "Sign in", sign_in_name: "Name", sign_in_password: "Password", sign_in_go: "Sign in", sign_in_label: "Page token", sign_in_open: "Open",
    sign_in_by_token: "Use a token instead", sign_in_by_name: "Use name and password instead", sign_in_none: "This page shows vehicles' cameras.",
    sign_in_token_hint: "Make one on the relay's machine:", sign_in_refused: "That was refused: {why}",
    first_title: "The first administrator", first_why: "Nobody administers this relay yet. Choose a name and a password of at least 8 characters.", first_go: "Create and sign in", first_again: "Password again", first_differ: "The two passwords differ.",
  },
  zh: {
    sign_in: "登录", sign_in_name: "用户名", sign_in_password: "密码", sign_in_go: "登录", sign_in_label: "页面令牌", sign_in_open: "进入",
    sign_in_by_token: "改用令牌", sign_in_by_name: "改用用户名和密码", sign_in_none: "本页可查看车辆视频。",
    sign_in_token_hint: "在服务器上生成：", sign_in_refused: "被拒绝：{why}",
    first_title: "首个管理员", first_why: "尚无管理员。请设置用户名和至少 8 位的密码。", first_go: "创建并登录", first_again: "再次输入密码", first_differ: "两次输入的密码不一致。",
  },
});

/** Resolves once somebody is in. `first` is the word of the first start's link, or empty. */
export async function comeIn(first) {
  if (first && await administrator(first)) return;
  let why = "";
  for (;;) {
    try {
      await session();
      return;
    } catch (problem) {
      if (!(problem instanceof Problem) || (problem.status !== 401 && problem.status !== 403)) {
        toast(problem.message);
        await new Promise((done) => setTimeout(done, 2000));
        continue;
      }
      if (token()) why = t("sign_in_refused", { why: problem.message });
      setToken("");
    }
    let way = "name";
    while (way === "name" || way === "token") way = await (way === "name" ? byName(why) : byToken(why));
    why = "";
  }
}

async function administrator(first) {
  const [name, password, again] = [field(t("sign_in_name"), { autocomplete: "username", required: true, maxlength: 64 }),
    field(t("sign_in_password"), { type: "password", autocomplete: "new-password", required: true, minlength: 8 }),
    field(t("first_again"), { type: "password", autocomplete: "new-password", required: true })];
  const by = await ask(t("first_title"), [make("p", {}, t("first_why")), name, password, again], t("first_go"), () => {
    if (password.input.value !== again.input.value) throw new Error(t("first_differ"));
    return makeFirst(first, name.input.value, password.input.value);
  }, t("sign_in"));
  return Boolean(by);
}

/** One dialog with a way over to the other one; gives "" when somebody is in, else the other way's name. */
async function one(parts, go, other, way, submit) {
  let next = "";
  const over = make("button", { type: "button", class: "link-like", onclick: (event) => { next = way; event.target.closest("dialog").close(); } }, other);
  const done = await ask(t("sign_in"), [...parts, over], go, submit);
  return done ? "" : next || way;
}

function byName(why) {
  const [name, password] = [field(t("sign_in_name"), { autocomplete: "username", required: true }), field(t("sign_in_password"), { type: "password", autocomplete: "current-password", required: true })];
  return one([make("p", {}, why || t("sign_in_none")), name, password], t("sign_in_go"), t("sign_in_by_token"), "token", () => logIn(name.input.value, password.input.value));
}

function byToken(why) {
  const given = field(t("sign_in_label"), { type: "password", autocomplete: "off", required: true });
  const hint = make("p", { class: "hint" }, t("sign_in_token_hint"), make("code", {}, "jt1078relay token --config FILE --api --role viewer"));
  return one([make("p", {}, why || t("sign_in_none")), given, hint], t("sign_in_open"), t("sign_in_by_name"), "name", async () => {
    setToken(given.input.value.trim());
    try { await session(); } catch (problem) { setToken(""); throw new Error(t("sign_in_refused", { why: problem.message })); }
  });
}
