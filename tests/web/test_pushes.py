"""The API's pushes: made, listed without their keys, begun, ended, refused."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from relay.core.push import PUSHES_MAX, Pushes, PushFailed
from relay.settings import Push
from tests.core.fakes import PHONE, SIM
from tests.web.world import Relay

URL = "rtmps://media.example/live/secret?key=secret"


class Notes:
    """An audit."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def record(self, *row: Any) -> None:
        self.rows.append(row)


class World(Relay):
    """A relay with pushes whose servers are in the test's hands."""

    def __init__(self) -> None:
        self.notes = Notes()
        self.dials: list[Deferred[Any]] = []
        super().__init__(more=self._parts)

    def _parts(self, relay: Relay) -> dict[str, Any]:
        def dial(*_: object) -> Deferred[Any]:
            self.dials.append(Deferred())
            return self.dials[-1]

        resolver = relay.live.resolver
        self.pushes = Pushes(dial, relay.live, relay.hub, relay.core.terminals, resolver, relay.clock, relay.core.events, lambda: 1.0)
        return {"pushes": self.pushes, "audit": self.notes}


def test_a_push_is_made_shown_without_its_key_and_deleted() -> None:
    world = World()
    world.online()
    made = world.api("POST", "/pushes", {"url": URL, "sim": "bus-17", "channel": 2, "audio": "none"}, expect=201)
    assert (made["id"], made["origin"], made["state"], made["sim"], made["channel"]) == ("push-1", "api", "connecting", SIM, 2)
    assert made["target"] == "rtmps://media.example:443/live/…"
    world.dials[0].errback(PushFailed("media.example:443: connection refused"))
    seen = world.api("GET", "/pushes/push-1", role="viewer")
    assert (seen["state"], seen["last_error"], seen["next_try_s"], seen["failures"]) == ("waiting", "media.example:443: connection refused", 1.0, 1)
    listed = world.call("GET", "/pushes", role="viewer")
    assert listed.json["total"] == 1
    assert "secret" not in listed.body.decode()
    world.api("DELETE", "/pushes/push-1", expect=204)
    assert world.api("GET", "/pushes")["items"] == []
    assert [row[:4] for row in world.notes.rows] == [
        ("the admin", "push", f"{SIM}_2", f"push-1 to rtmps://media.example:443/live/… {what}") for what in ("made", "deleted")
    ]
    assert world.api("GET", "/pushes/push-1", expect=404)["error"] == "unknown_push"
    world.end()


def test_begin_and_end_by_word_of_an_operator() -> None:
    world = World()
    world.online()
    world.pushes.add(Push(name="cdn", url=URL, terminal=PHONE, when="demand"), "config")
    assert world.api("POST", "/pushes/cdn/start", role="operator")["state"] == "connecting"
    assert world.api("POST", "/pushes/cdn/stop", role="operator")["state"] == "stopped"
    for role, path in (("viewer", "/pushes/cdn/start"), ("operator", "/pushes")):
        assert world.call("POST", path, {"url": URL, "sim": PHONE} if path == "/pushes" else None, role).status == 403
    world.end()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"url": "http://media.example/a/b", "sim": PHONE}, 400, "must begin with rtmp:// or rtmps://"),
        ({"url": "rtmp://media.example/secret", "sim": PHONE}, 400, "must have an application"),
        ({"url": URL, "sim": PHONE, "name": "../x"}, 400, "name"),
        ({"url": URL, "sim": PHONE, "channel": 0}, 400, "channel"),
        ({"url": URL, "sim": PHONE, "when": "never"}, 400, "when"),
        ({"url": URL, "sim": PHONE, "name": "taken"}, 409, "There is a push taken already."),
        ({"url": URL, "sim": PHONE, "tls_ca": "/etc/passwd"}, 400, "tls_ca"),
    ],
)
def test_what_is_refused(body: dict[str, Any], status: int, words: str) -> None:
    world = World()
    world.pushes.add(Push(name="taken", url=URL, terminal=PHONE, when="demand"), "config")
    answer = world.call("POST", "/pushes", body)
    assert answer.status == status
    assert words in answer.json["message"]
    assert "secret" not in answer.body.decode()
    world.end()


def test_there_is_a_limit() -> None:
    world = World()
    for number in range(PUSHES_MAX):
        world.pushes.add(Push(name=f"p{number}", url=URL, terminal=PHONE, when="demand"), "config")
    assert world.api("POST", "/pushes", {"url": URL, "sim": PHONE}, expect=503)["error"] == "too_many_pushes"
    world.end()


@pytest.mark.parametrize(
    ("method", "more", "body", "watching"),
    [
        ("POST", "", b"app=live&call=play&name=car&addr=10.0.0.1", 1),
        ("POST", "", b'{"action": "on_play", "client_id": 9, "stream": "car"}', 1),
        ("GET", "&event=play", b"", 1),
        ("GET", "&call=play&name=car", b"", 1),
        ("POST", "", b"call=play_done", 0),
        ("POST", "&event=stream_none_reader", b"{}", 0),
        ("POST", "", b"call=publish", None),
        ("POST", "", b"{" * 100_000, None),
        ("POST", "", b"\xff\x00" * 50, None),
        ("POST", "", b"&".join(b"a=1" for _ in range(200)), None),
        ("POST", "", b'{"action": 7}', None),
    ],
)
def test_media_servers_tell_of_their_viewers_in_their_own_ways(method: str, more: str, body: bytes, watching: int | None) -> None:
    world = World()
    push = world.pushes.add(Push(name="cdn", url=URL, terminal=PHONE, when="demand"), "config")
    push.watching = 5 if watching is None else 1 - watching
    hook = world.api("GET", "/pushes/cdn")["hook"]
    answer = world.ask(method, f"{hook}{more}", {}, body)
    assert (answer.status, answer.json) == (200, {"code": 0})
    assert push.watching == (5 if watching is None else watching)
    world.pushes.close()
    world.end()


def test_a_hook_wants_its_own_key_and_viewers_do_not_see_it() -> None:
    world = World()
    for name in ("cdn", "other"):
        world.pushes.add(Push(name=name, url=URL, terminal=PHONE, when="demand"), "config")
    key = world.api("GET", "/pushes/other")["hook"].partition("?")[2]
    for path in ("/hooks/push/cdn", "/hooks/push/cdn?token=x", f"/hooks/push/cdn?{key}", f"/hooks/push/nothing?{key}"):
        assert world.ask("GET", f"{path}{'&' if '?' in path else '?'}event=play").status == 403
    assert world.api("GET", "/pushes/cdn", role="viewer")["hook"] == ""
    push = world.pushes.get("cdn")
    assert push is not None and push.watching == 0
    world.end()
