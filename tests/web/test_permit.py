"""A program that decides about plays is asked before a channel is started."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from relay.core.live_failure import StartFailed
from tests.web.support import parse
from tests.web.world import Relay


class Decider:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.waiting: list[Deferred[None]] = []

    def __call__(self, *what: Any) -> Deferred[None]:
        self.asked.append(what)
        self.waiting.append(Deferred())
        return self.waiting[-1]


def test_a_play_waits_for_the_decision_and_starts_nothing_before() -> None:
    decider = Decider()
    relay = Relay(more=lambda _: {"permit": decider})
    device = relay.online()
    player = relay.get("/live/13800138000_1.flv", relay.media_token(viewer="anna"))
    [(name, channel, kind, output, who, address)] = decider.asked
    assert (name, channel, kind, output, who) == ("13800138000", 1, "live", "flv", "anna")
    assert address
    assert not device.commands()
    decider.waiting[0].callback(None)
    assert relay.asked().channel == 1
    player.lost()
    relay.end()


def test_a_refused_play_is_told_why() -> None:
    decider = Decider()
    relay = Relay(more=lambda _: {"permit": decider})
    device = relay.online()
    player = relay.get("/live/13800138000_1.flv")
    decider.waiting[0].errback(StartFailed(403, "refused_by_hook", "not paid."))
    answer = parse(player.value())[0]
    assert (answer.status, answer.json["error"], answer.json["message"]) == (403, "refused_by_hook", "not paid.")
    assert not device.commands()
    relay.end()
