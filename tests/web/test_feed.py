"""``/api/v1/events`` over WebSocket and as Server-Sent Events."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from relay.core.events import LISTENERS_MAX
from relay.settings import Http
from relay.web.connection import PING_S, QUEUE_BYTES
from relay.web.websocket import Opcode, frame
from tests.web.support import UPGRADE, MemoryTransport, parse
from tests.web.world import CLIENT_CLOSE, Relay, body, masked, messages


def listen(relay: Relay, path: str = "/api/v1/events", headers: dict[str, str] | None = None, **more: Any) -> MemoryTransport:
    joint = "&" if "?" in path else "?"
    return relay.send("GET", f"{path}{joint}token={relay.api_token('viewer')}", {**(headers or {}), **more})


def events_of(text: bytes) -> list[dict[str, Any]]:
    """The events of an event stream."""
    return [json.loads(line.removeprefix(b"data: ")) for line in text.splitlines() if line.startswith(b"data: ")]


def test_a_page_hears_what_happens_over_a_websocket() -> None:
    relay = Relay()
    transport = listen(relay, headers=UPGRADE)
    assert transport.value().startswith(b"HTTP/1.1 101 ")
    relay.online()
    [event] = messages(transport)
    assert (event["event"], event["sim"]) == ("terminal.online", "13800138000")
    assert event["time"].endswith("+08:00")
    transport.feed(CLIENT_CLOSE)
    assert messages(transport) == [(1000, "")]
    transport.lost()
    relay.core.events.publish("nobody.hears")
    assert len(relay.web.feed) == 0
    relay.end()


def test_a_program_hears_what_happens_as_server_sent_events() -> None:
    relay = Relay()
    transport = listen(relay, headers={"Accept": "text/event-stream"})
    head = transport.value().decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "Content-Type: text/event-stream\r\n" in head
    assert "Cache-Control: no-store\r\n" in head
    relay.online()
    text = body(transport)
    [event] = events_of(text)
    assert text == f"id: {event['id']}\nevent: terminal.online\ndata: ".encode() + text.partition(b"data: ")[2]
    assert text.endswith(b"}\n\n")
    transport.clear()
    relay.clock.advance(PING_S)
    assert transport.value() == b":\n\n"
    transport.lost()
    assert len(relay.web.feed) == 0
    relay.end()


def test_a_listener_that_comes_back_gets_what_it_missed() -> None:
    relay = Relay()
    first = relay.core.events.publish("a.first")
    relay.core.events.publish("a.second")
    relay.core.events.publish("a.third")
    lines = listen(relay, headers={"Last-Event-ID": str(first["id"])})
    assert [event["event"] for event in events_of(body(lines))] == ["a.second", "a.third"]
    socket = listen(relay, f"/api/v1/events?after={first['id']}", headers=UPGRADE)
    assert [event["event"] for event in messages(socket)] == ["a.second", "a.third"]
    assert events_of(body(listen(relay, headers={"Last-Event-ID": "x"}))) == []
    relay.end()


def test_without_a_token_nobody_hears_anything() -> None:
    relay = Relay()
    assert relay.ask("GET", "/api/v1/events", UPGRADE).status == 401
    assert relay.ask("GET", "/api/v1/events").status == 401
    assert relay.ask("GET", f"/api/v1/events?token={relay.media_token()}", UPGRADE).status == 401
    relay.end()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("", 101),
        ("http://relay.example:8080", 101),
        ("https://console.example", 101),
        ("http://evil.example", 403),
        ("http://relay.example", 403),
        ("null", 403),
        ("http://relay.example:8080.evil.example", 403),
    ],
)
def test_pages_of_other_hosts_may_not_listen(origin: str, status: int) -> None:
    relay = Relay(http=replace(Http(), cors_origins=("https://console.example",)))
    transport = listen(relay, headers={**UPGRADE, **({"Origin": origin} if origin else {})})
    assert parse(transport.value(), head=True)[0].status == status
    relay.end()


def test_a_listener_that_does_not_read_is_cut_off() -> None:
    relay = Relay()
    transport = listen(relay, headers=UPGRADE)
    sink = relay.sinks[0]
    sink.at_once, sink.room = False, 0
    for _ in range(QUEUE_BYTES // 1000 + 50):
        relay.core.events.publish("a.storm", text="x" * 1000)
    assert transport.aborted
    transport.lost()
    assert len(relay.web.feed) == 0
    relay.end()


def test_too_many_listeners_are_503() -> None:
    relay = Relay()
    for _ in range(LISTENERS_MAX - len(relay.core.events._listeners)):
        relay.core.events.subscribe(lambda event: None)
    answer = parse(listen(relay, headers=UPGRADE).value())[0]
    assert (answer.status, answer.json["error"]) == (503, "too_many_listeners")
    relay.end()


def test_head_of_a_stream_is_refused() -> None:
    relay = Relay()
    answer = relay.ask("HEAD", f"/api/v1/events?token={relay.api_token()}")
    assert answer.status == 405
    relay.end()


def test_the_relays_end_is_told() -> None:
    relay = Relay()
    socket, lines = listen(relay, headers=UPGRADE), listen(relay)
    relay.web.close()
    assert messages(socket) == [(1001, "the relay stops")]
    assert lines.disconnecting
    relay.end()


def test_what_a_listener_says_is_ignored() -> None:
    relay = Relay()
    transport = listen(relay, headers=UPGRADE)
    transport.feed(masked(frame(Opcode.TEXT, b"hello")))
    transport.feed(masked(frame(Opcode.PING, b"x")))
    assert messages(transport) == [Opcode.PONG]
    relay.end()
