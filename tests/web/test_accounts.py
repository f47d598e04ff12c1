"""Logging in by the API, what a cookie may and may not, groups, users and tokens."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from relay.core.guessing import FREE
from relay.settings import Http
from relay.store.terminals import KnownTerminal
from tests.web.support import UPGRADE, Response, parse
from tests.web.world import Relay, messages, picture

SIM, OTHER = "13800138000", "13900139000"
JSON = {"Content-Type": "application/json"}


class Browser:
    """Keeps the cookie and the csrf word, as a page does."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.cookie = ""
        self.csrf = ""

    def ask(self, method: str, path: str, body: Any = None, csrf: bool = True, **headers: str) -> Response:
        data = b"" if body is None else json.dumps(body).encode()
        sent = {"Cookie": f"other=1; jt1078relay={self.cookie}"} if self.cookie else {}
        if csrf and self.csrf:
            sent["X-CSRF-Token"] = self.csrf
        answer = self.relay.ask(method, f"/api/v1{path}", {**sent, **headers}, data)
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
        return answer

    def login(self, name: str, password: str) -> Response:
        answer = self.ask("POST", "/session", {"name": name, "password": password})
        if answer.status == 200:
            self.csrf = answer.json["csrf"]
        return answer


def relay_with_users(**settings: Any) -> Relay:
    relay = Relay(**settings)
    for name, role, groups in (("ann", "admin", []), ("bob", "operator", []), ("cam", "viewer", []), ("guy", "operator", ["north"])):
        relay.api("POST", "/users", {"name": name, "role": role, "password": f"password of {name}", "groups": groups}, expect=201)
    return relay


def test_a_user_logs_in_works_and_logs_out() -> None:
    relay = relay_with_users()
    browser = Browser(relay)
    assert browser.ask("GET", "/status").status == 401
    answer = browser.login("bob", "password of bob")
    assert {key: answer.json[key] for key in ("name", "role", "groups")} == {"name": "bob", "role": "operator", "groups": []}
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie, "this is plain HTTP"
    assert browser.ask("GET", "/status").json["name"] == "bob"
    assert browser.ask("GET", "/session").json["csrf"] == browser.csrf
    stolen = browser.cookie
    assert browser.ask("DELETE", "/session").status == 204
    assert browser.cookie == ""
    browser.cookie = stolen
    refused = browser.ask("GET", "/status")
    assert (refused.status, refused.json["error"]) == (401, "token_revoked")
    relay.end()


def test_over_tls_the_cookie_is_bound_to_the_host() -> None:
    relay = relay_with_users(http=Http(trusted_proxies=("10.0.0.0/8", "127.0.0.0/8", "192.168.0.0/16")))
    answer = relay.ask(
        "POST", "/api/v1/session", {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"},
        json.dumps({"name": "bob", "password": "password of bob"}).encode(),
    )  # fmt: skip
    assert answer.status == 200
    assert answer.headers["set-cookie"].startswith("__Host-jt1078relay=")
    assert "; Secure" in answer.headers["set-cookie"]
    relay.end()


def test_wrong_passwords_are_slowed_down_and_the_answer_does_not_say_who_exists() -> None:
    relay = relay_with_users()
    browser = Browser(relay)
    wrong, unknown = browser.login("bob", "guess"), browser.login("nobody", "guess")
    assert wrong.status == unknown.status == 401
    assert wrong.body == unknown.body
    for _ in range(FREE - 2):
        browser.login("bob", "guess")
    slow = browser.login("bob", "password of bob")
    assert (slow.status, slow.json["error"]) == (429, "slow_down")
    assert int(slow.headers["retry-after"]) >= 5
    relay.end()


@pytest.mark.parametrize("csrf", ["", "guessed", "of another session"])
def test_a_cookie_alone_changes_nothing(csrf: str) -> None:
    relay = relay_with_users()
    browser, other = Browser(relay), Browser(relay)
    browser.login("ann", "password of ann")
    other.login("ann", "password of ann")
    browser.csrf = other.csrf if csrf == "of another session" else csrf
    for method, path, body in (("POST", "/users", {}), ("DELETE", f"/terminals/{SIM}", None), ("PUT", f"/terminals/{SIM}", {}), ("DELETE", "/session", None)):
        answer = browser.ask(method, path, body)
        assert (answer.status, answer.json["error"]) == (403, "csrf"), (method, path)
    assert SIM in relay.rows.rows
    relay.end()


def test_a_form_of_another_site_cannot_log_somebody_in() -> None:
    relay = relay_with_users()
    answer = relay.ask("POST", "/api/v1/session", {"Content-Type": "text/plain"}, b'{"name": "bob", "password": "password of bob"}')
    assert answer.status == 415
    relay.end()


@pytest.mark.parametrize(("origin", "opens"), [("http://relay.example", True), ("http://evil.example", False), ("null", False)])
def test_a_websocket_by_cookie_is_for_our_own_page(origin: str, opens: bool) -> None:
    relay = relay_with_users()
    browser = Browser(relay)
    browser.login("cam", "password of cam")
    headers = {**UPGRADE, "Cookie": f"jt1078relay={browser.cookie}", "Origin": origin, "Host": "relay.example"}
    transport = relay.send("GET", "/api/v1/events", headers)
    assert transport.value().startswith(b"HTTP/1.1 101") is opens
    if not opens:
        assert parse(transport.value())[0].status == 403
    transport.lost()
    relay.end()


def test_roles_hold_for_sessions_too() -> None:
    relay = relay_with_users()
    browser = Browser(relay)
    browser.login("cam", "password of cam")
    assert browser.ask("GET", "/terminals").status == 200
    refused = browser.ask("DELETE", f"/terminals/{SIM}")
    assert (refused.status, refused.json["error"]) == (403, "role")
    assert browser.ask("GET", "/users").status == 403
    relay.end()


def test_a_session_past_half_its_life_is_renewed_by_use() -> None:
    relay = relay_with_users()
    browser = Browser(relay)
    browser.login("cam", "password of cam")
    first = browser.cookie
    browser.ask("GET", "/session")
    assert browser.cookie == first
    relay.clock.advance(relay.settings.auth.session_s * 0.6)
    browser.csrf = browser.ask("GET", "/session").json["csrf"]
    assert browser.cookie != first
    relay.clock.advance(relay.settings.auth.session_s * 0.6)
    assert browser.ask("GET", "/status").status == 200
    relay.end()


# groups ------------------------------------------------------------------------------------


def grouped() -> tuple[Relay, Browser]:
    relay = relay_with_users(media={"unrequested": "accept"})
    relay.rows.upsert(KnownTerminal(phone="0" + SIM, plate="粤B12345", group="north"), relay.wall())
    relay.rows.upsert(KnownTerminal(phone="0" + OTHER, plate="粤C00001", group="south"), relay.wall())
    browser = Browser(relay)
    browser.login("guy", "password of guy")
    return relay, browser


def test_an_account_with_groups_sees_its_own_terminals_and_no_others() -> None:
    relay, browser = grouped()
    assert [item["sim"] for item in browser.ask("GET", "/terminals").json["items"]] == [SIM]
    assert browser.ask("GET", f"/terminals/{SIM}").status == 200
    shut = [f"GET /terminals/{OTHER}", "GET /terminals/粤C00001", f"DELETE /terminals/{OTHER}", f"GET /terminals/{OTHER}/channels/1/play"]
    for method, path in (line.split(" ") for line in shut):
        answer = browser.ask(method, quote(path))
        assert (answer.status, answer.json["error"]) == (404, "unknown_terminal"), path
    assert OTHER in relay.rows.rows
    relay.end()


def test_streams_and_events_of_other_groups_are_not_there() -> None:
    relay, browser = grouped()
    relay.running()
    foreign = relay.media(1, OTHER)
    picture(foreign, 0, key=True)
    assert [item["sim"] for item in browser.ask("GET", "/streams").json["items"]] == [SIM]
    assert browser.ask("GET", f"/streams/{OTHER}_1").status == 404
    assert browser.ask("DELETE", f"/streams/{OTHER}_1").status == 404
    feed = relay.send("GET", "/api/v1/events?after=0", {**UPGRADE, "Cookie": f"jt1078relay={browser.cookie}"})
    relay.core.events.publish("terminal.updated", sim=OTHER)
    relay.core.events.publish("relay.something")
    relay.core.events.publish("terminal.updated", sim=SIM)
    told = messages(feed)
    assert told
    assert {event["sim"] for event in told} == {SIM}
    feed.lost()
    relay.end()


def test_what_is_not_only_about_its_groups_is_shut() -> None:
    relay, browser = grouped()
    answer = browser.ask("POST", "/media-tokens", {"pattern": "*"})
    assert (answer.status, answer.json["error"]) == (403, "groups")
    assert browser.ask("GET", "/session").status == 200
    relay.end()


# users and tokens ----------------------------------------------------------------------------


def test_what_a_disabled_user_watches_ends() -> None:
    relay = relay_with_users()
    relay.running()
    browser = Browser(relay)
    browser.login("cam", "password of cam")
    urls = browser.ask("GET", f"/terminals/{SIM}/channels/1/play").json["urls"]
    player = relay.send("GET", urls["flv"].partition("/live")[1] + urls["flv"].partition("/live")[2])
    assert len(relay.api("GET", f"/streams/{SIM}_1/viewers")["items"]) == 1
    relay.clock.advance(0.1)
    relay.api("PUT", "/users/cam", {"enabled": False})
    assert relay.api("GET", f"/streams/{SIM}_1/viewers")["items"] == []
    assert browser.ask("GET", "/status").status == 401
    player.lost()
    relay.end()


def test_users_are_listed_changed_and_removed_and_the_last_administrator_stays() -> None:
    relay = relay_with_users()
    assert [user["name"] for user in relay.api("GET", "/users")["items"]] == ["ann", "bob", "cam", "guy"]
    assert relay.api("POST", "/users", {"name": "bob", "role": "viewer", "password": "long enough"}, expect=409)["error"] == "taken"
    assert relay.api("PUT", "/users/bob", {"role": "viewer", "groups": ["south"]})["groups"] == ["south"]
    assert relay.api("DELETE", "/users/ann", expect=409)["error"] == "last_admin"
    relay.api("DELETE", "/users/bob", expect=204)
    assert relay.api("PUT", "/users/bob", {}, expect=404)["error"] == "unknown_user"
    relay.end()


def test_somebody_changes_their_own_password() -> None:
    relay = relay_with_users()
    browser = Browser(relay)
    browser.login("cam", "password of cam")
    assert browser.ask("PUT", "/session/password", {"old": "guess", "new": "a new password"}).status == 401
    relay.clock.advance(0.1)
    assert browser.ask("PUT", "/session/password", {"old": "password of cam", "new": "a new password"}).status == 204
    assert browser.login("cam", "password of cam").status == 401
    assert browser.login("cam", "a new password").status == 200
    relay.end()


def test_a_token_is_made_once_and_revoked() -> None:
    relay = relay_with_users()
    made = relay.api("POST", "/tokens", {"role": "operator", "name": "dispatch"}, expect=201)
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert relay.ask("GET", "/api/v1/status", headers).json["name"] == "dispatch"
    assert [item["name"] for item in relay.api("GET", "/tokens")["items"]] == ["dispatch"]
    assert made["token"] not in json.dumps(relay.api("GET", "/tokens"))
    relay.api("DELETE", f"/tokens/{made['id']}", expect=204)
    answer = relay.ask("GET", "/api/v1/status", headers)
    assert (answer.status, answer.json["error"]) == (401, "token_revoked")
    assert relay.api("GET", "/tokens")["items"] == []
    relay.api("DELETE", f"/tokens/{made['id']}", expect=404)
    relay.end()


def test_the_first_link_makes_an_administrator_who_is_logged_in() -> None:
    relay = Relay()
    browser = Browser(relay)
    link = relay.signer.first(900, relay.wall())
    body = {"token": link, "name": "ann", "password": "password of ann"}
    answer = browser.ask("POST", "/session/first", body)
    assert (answer.status, answer.json["role"]) == (200, "admin")
    browser.csrf = answer.json["csrf"]
    assert browser.ask("GET", "/users").json["total"] == 1
    assert Browser(relay).ask("POST", "/session/first", {**body, "name": "eve"}).status == 409
    assert Browser(relay).ask("POST", "/session/first", {**body, "token": relay.api_token()}).status == 403
    relay.end()
