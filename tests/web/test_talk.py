"""Calls over the API: what is answered, whose token opens which microphone, and what goes over the socket."""

from __future__ import annotations

import json
from typing import Any

from relay.jt808.messages.video import RealtimeAvControl, RealtimeAvRequest
from relay.store.terminals import KnownTerminal
from relay.web.websocket import Opcode, frame
from tests.core.fakes import PHONE, SIM
from tests.core.test_talk import Wire
from tests.web.support import UPGRADE, parse
from tests.web.test_accounts import grouped
from tests.web.world import Relay, masked, messages

TALK = f"/terminals/{SIM}/channels/1/talk"
IDENT = "call1"


def sound(data: bytes) -> bytes:
    """A binary message as a page sends it, with the mask 0."""
    made = frame(Opcode.BINARY, data)
    return masked(made) if len(data) < 126 else made[:1] + bytes((0x80 | made[1],)) + made[2:4] + bytes(4) + made[4:]


def called(relay: Relay, body: Any = None, say: bool = True) -> tuple[dict[str, Any], Wire]:
    """A terminal that is called and connects."""
    device = relay.device or relay.online()
    device.read()
    transport = relay.begin("POST", TALK, body or {})
    [(header, message)] = [one for one in device.commands() if isinstance(one[1], RealtimeAvRequest)]
    device.answer(header)
    wire = Wire()
    wire.link = relay.talks.connected(wire, message.tcp_port)
    if say:
        wire.hello()
    answer = parse(transport.value())[0]
    assert answer.status == 201, answer.body
    return json.loads(answer.body), wire


def test_a_call_names_its_socket_and_the_socket_carries_the_sound() -> None:
    relay = Relay()
    told, wire = called(relay)
    assert (told["id"], told["mode"], told["codec"], told["sim"], told["channel"]) == (IDENT, "talk", "g711a", SIM, 1)
    path = told["ws"].removeprefix("ws://relay.example:8080")
    page = relay.send("GET", path, UPGRADE)
    assert messages(page) == [{"type": "state", "sim": SIM, "state": "connected", "codec": "g711a", "problem": ""}]
    wire.say()
    assert [len(message) for message in messages(page)] == [640]
    wire.packets()
    for _ in range(10):
        page.feed(sound(b"\x00\x20" * 160))
        relay.clock.advance(0.02)
    assert len(wire.packets()) >= 3
    assert relay.api("GET", "/talks", role="viewer")["items"][0]["attached"] is True
    page.lost()
    assert relay.api("GET", "/talks")["total"] == 0
    assert relay.device is not None
    assert [message.command for _, message in relay.device.commands() if isinstance(message, RealtimeAvControl)] == [4]
    relay.end()


def test_what_the_page_may_not_send() -> None:
    relay = Relay()
    for body, data in (({}, sound(b"odd")), ({}, masked(frame(Opcode.TEXT, b"hello"))), ({"mode": "listen"}, sound(bytes(64)))):
        told, wire = called(relay, body)
        page = relay.send("GET", told["ws"].removeprefix("ws://relay.example:8080"), UPGRADE)
        messages(page)
        page.feed(data)
        assert messages(page)[-1][0] == 1003
        page.lost()
        wire.lose()
        relay.clock.advance(1)
    relay.end()


def test_only_its_own_token_opens_a_microphone() -> None:
    relay = Relay()
    called(relay)
    for token, code in ((relay.media_token("*"), "token_wrong_path"), (relay.media_token("talk/other"), "token_wrong_path"), ("x.y", "token_malformed")):
        page = relay.send("GET", f"/talk/{IDENT}?token={token}", UPGRADE)
        text, (close, reason) = messages(page)
        assert (text["type"], text["error"], close, reason) == ("error", code, 4403, code)
        page.lost()
    viewer = relay.ask("GET", f"/talk/{IDENT}", {"Authorization": f"Bearer {relay.api_token('viewer')}"})
    assert viewer.status == 403
    operator = relay.ask("GET", f"/talk/{IDENT}", {"Authorization": f"Bearer {relay.api_token('operator')}"})
    assert (operator.status, operator.json["error"]) == (400, "not_a_websocket")
    relay.api("DELETE", f"/talks/{IDENT}", expect=204)
    assert relay.api("DELETE", f"/talks/{IDENT}", expect=404)["error"] == "unknown_talk"
    relay.end()


def test_a_second_microphone_is_refused_with_the_holders_name() -> None:
    relay = Relay()
    called(relay)
    problem = relay.api("POST", TALK, {}, expect=409)
    assert (problem["error"], "the admin" in problem["message"]) == ("microphone_taken", True)
    assert relay.api("POST", TALK, {}, role="viewer", expect=403)["error"] == "role"
    assert relay.api("POST", f"/terminals/{SIM}/channels/1/talk", {"mode": "shout"}, expect=400)["error"] == "bad_body"
    relay.end()


def test_a_call_that_does_not_come_about_says_at_which_hop() -> None:
    relay = Relay()
    assert relay.api("POST", TALK, {}, expect=503)["error"] == "terminal_offline"
    device = relay.online()
    device.read()
    transport = relay.begin("POST", TALK, {"timeout_s": 3})
    [(header, _)] = [one for one in device.commands() if isinstance(one[1], RealtimeAvRequest)]
    device.answer(header)
    relay.clock.advance(4)
    answer = parse(transport.value())[0]
    assert (answer.status, answer.json["error"], answer.json["hop"]) == (504, "no_media_connection", "connected")
    assert list(answer.json["hops"]) == ["requested", "sent", "answered"]
    relay.end()


def test_calls_and_pictures_of_other_groups_are_not_there() -> None:
    relay, browser = grouped()
    relay.device = relay.core.online(PHONE)
    told, _wire = called(relay)
    assert browser.ask("GET", "/talks").json["total"] == 1
    relay.rows.upsert(KnownTerminal(phone=PHONE, plate="粤B12345", group="south"), relay.wall())
    relay.core.terminals.refresh()
    relay.clock.advance(2)
    assert browser.ask("GET", "/talks").json["total"] == 0
    assert browser.ask("DELETE", f"/talks/{told['id']}").status == 404
    assert browser.ask("POST", f"/terminals/{SIM}/channels/1/talk", {}).status == 404
    answer = browser.ask("POST", "/broadcasts", {"terminals": [PHONE]})
    assert [(one["ok"], one["error"]) for one in answer.json["results"]] == [(False, "unknown_terminal")]
    assert browser.ask("GET", "/quirks").status == 403
    relay.end()


def test_a_broadcast_has_a_result_for_each() -> None:
    relay = Relay()
    device = relay.online()
    device.read()
    transport = relay.begin("POST", "/broadcasts", {"terminals": [PHONE, "13900139000", "nobody"], "channel": 33})
    [(header, message)] = [one for one in device.commands() if isinstance(one[1], RealtimeAvRequest)]
    device.answer(header)
    wire = Wire()
    wire.link = relay.talks.connected(wire, message.tcp_port)
    told = parse(transport.value())[0].json
    assert [(one["terminal"], one["ok"], one["error"]) for one in told["results"]] == [
        (PHONE, True, ""), ("13900139000", False, "terminal_offline"), ("nobody", False, "unknown_terminal"),
    ]  # fmt: skip
    assert told["ws"].endswith(told["token"])
    empty = relay.api("POST", "/broadcasts", {"terminals": ["nobody"]}, expect=201)
    assert (empty["id"], empty["ws"]) == ("", "")
    relay.end()
