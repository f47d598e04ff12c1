"""The API's hooks: listed without their keys, tried, refused."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, fail

from relay.core.hooks import Hooks
from relay.settings import Hook
from tests.web.support import parse
from tests.web.world import Relay


class World(Relay):
    """A relay with two hooks whose receiver is in the test's hands."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.answers: list[Deferred[tuple[int, bytes]]] = []
        super().__init__(more=self._parts)

    def _parts(self, relay: Relay) -> dict[str, Any]:
        def post(url: str, headers: dict[str, str], body: bytes, seconds: float) -> Deferred[tuple[int, bytes]]:
            self.posts.append((url, headers, json.loads(body)))
            self.answers.append(Deferred())
            return self.answers[-1]

        given = (
            Hook(name="fleet", url="https://fleet.example/in?key=secret", events=("on_alarm",), secret="secret"),
            Hook(name="gate", url="http://[::1]:9000/", decide=True),
        )
        self.hooks = Hooks(given, post, relay.core.events, relay.clock, self.wall, "relay-1")
        return {"hooks": self.hooks}


def test_hooks_are_listed_with_what_became_of_their_deliveries_and_without_their_keys() -> None:
    world = World()
    world.core.events.publish("alarm.begin", sim="1")
    world.answers[0].callback((200, b""))
    world.answers[1].callback((503, b""))
    told = world.call("GET", "/hooks", role="admin")
    assert "secret" not in told.body.decode()
    fleet, gate = told.json["items"]
    assert (fleet["target"], fleet["events"], fleet["signed"]) == ("https://fleet.example:443", ["on_alarm"], True)
    assert (fleet["delivered"], fleet["last_error"]) == (1, "")
    assert fleet["last_delivered"]
    assert fleet["last_error_time"] is None
    assert (gate["target"], gate["decide"], gate["waiting"], gate["last_error"]) == ("http://[::1]:9000", True, 1, "it answered 503")
    assert gate["last_error_time"]
    world.api("GET", "/hooks", role="operator", expect=403)


def test_a_test_delivery_goes_past_the_queue_and_says_what_the_receiver_said() -> None:
    world = World()
    transport = world.begin("POST", "/hooks/fleet/test")
    url, headers, body = world.posts[0]
    assert (url, headers["X-JT1078-Hook"], body["event"]["event"]) == ("https://fleet.example/in?key=secret", "on_test", "hook.test")
    assert headers["X-JT1078-Signature"]
    world.clock.advance(0.25)
    world.answers[0].callback((202, b"taken"))
    assert parse(transport.value())[0].json == {"status": 202, "ms": 250.0, "answer": "taken"}
    assert world.hooks.counts["delivered"] == 0


def test_a_test_that_fails_says_why() -> None:
    world = World()
    transport = world.begin("POST", "/hooks/fleet/test")
    world.answers[0].callback((401, b"who are you"))
    refused = parse(transport.value())[0]
    assert (refused.status, refused.json["error"]) == (502, "hook_failed")
    assert refused.json["message"] == "The hook fleet answered 401: who are you."
    world.hooks.get("fleet")._post = lambda *_: fail(ConnectionError("Connection refused"))  # type: ignore[union-attr]
    assert world.api("POST", "/hooks/fleet/test", role="admin", expect=502)["message"] == "The hook fleet did not take it: Connection refused."
    assert world.api("POST", "/hooks/nobody/test", role="admin", expect=404)["error"] == "unknown_hook"
