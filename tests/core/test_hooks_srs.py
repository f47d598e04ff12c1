"""Hooks in SRS's form: its four callbacks, its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.core.live_failure import StartFailed
from tests.core.test_hooks import Given

PLAYER = {"sim": "13800138000", "channel": 1, "who": "ann b", "peer": "10.0.0.7:50000"}


def bodies(given: Given) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body, _ in given.receiver.posts]


def test_the_four_callbacks_and_nothing_else() -> None:
    given = Given(form="srs")
    given.events.publish("terminal.online", sim="1")
    given.events.publish("relay.started", version="1")
    for event in ("viewer.began", "viewer.ended"):
        given.events.publish(event, **PLAYER)
    for event, more in (("stream.connected", {"peer": "[fe80::1]:1"}), ("stream.ended", {"reason": "x"})):
        given.events.publish(event, sim="13800138000", channel=1, **more)
    for _ in range(4):
        given.receiver.answer(200, b"0")
    play, stop, publish, unpublish = bodies(given)
    assert [one["action"] for one in bodies(given)] == ["on_play", "on_stop", "on_publish", "on_unpublish"]
    assert {key: play[key] for key in ("ip", "vhost", "app", "stream", "param", "server_id", "stream_url")} == {
        "ip": "10.0.0.7", "vhost": "__defaultVhost__", "app": "live", "stream": "13800138000_1", "param": "?who=ann%20b", "server_id": "relay-1",
        "stream_url": "/live/13800138000_1",
    }  # fmt: skip
    assert play["client_id"] == stop["client_id"]
    assert publish["client_id"] == unpublish["client_id"] != play["client_id"]
    assert publish["ip"] == "fe80::1"
    assert given.hooks.waiting == 0


def test_other_players_are_other_clients() -> None:
    given = Given(form="srs")
    for change in ({}, {"peer": "10.0.0.7:50001"}, {"who": "bob"}, {"channel": 2}):
        given.events.publish("viewer.began", **(PLAYER | change))
    for _ in range(4):
        given.receiver.answer()
    assert len({one["client_id"] for one in bodies(given)}) == 4


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        (b"0", True), (b'{"code": 0}', True), (b'{"code":0,"data":null}', True), (b"", True), (b"1", False), (b'{"code": 403, "msg": "no"}', False),
        (b"true", False),
    ],
)  # fmt: skip
def test_its_answers_decide_and_the_play_is_told_once(answer: bytes, allowed: bool) -> None:
    given = Given(form="srs", decide=True)
    waiting = given.hooks.may_play(sim="13800138000", channel=1, kind="live", format="flv", who="ann", address="10.0.0.7:50000")
    (body,) = bodies(given)
    assert (body["action"], body["stream"], body["ip"]) == ("on_play", "13800138000_1", "10.0.0.7")
    given.receiver.answer(200, answer)
    got: list[Any] = []
    waiting.addBoth(got.append)
    assert got[0].allow is allowed
    given.events.publish("viewer.began", **PLAYER)
    assert len(given.receiver.posts) == 1
    given.events.publish("viewer.ended", sim="13800138000", channel=1, who="ann", peer="10.0.0.7:50000")
    stop = bodies(given)[1]
    assert (stop["action"], stop["client_id"]) == ("on_stop", body["client_id"])


def test_a_playback_is_asked_about_by_its_id() -> None:
    given = Given(form="srs", decide=True)
    waiting = given.hooks.permit("p7", 0, "playback", "flv", "ann", "10.0.0.7")
    from twisted.internet.defer import ensureDeferred

    failed: list[Any] = []
    ensureDeferred(waiting).addErrback(failed.append)
    (body,) = bodies(given)
    assert (body["app"], body["stream"], body["ip"]) == ("playback", "p7", "10.0.0.7")
    given.receiver.answer(200, b"1")
    assert isinstance(failed[0].value, StartFailed)


def test_a_number_alone_is_no_answer_in_our_own_form() -> None:
    given = Given(decide=True)
    waiting = given.hooks.may_play(sim="1", channel=1)
    given.receiver.answer(200, b"0")
    got: list[Any] = []
    waiting.addBoth(got.append)
    assert got[0].allow is False
    assert given.hooks.counts["undecided"] == 1
