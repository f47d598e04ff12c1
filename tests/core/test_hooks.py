"""Hooks: in order, signed, again after failures, bounded; plays are decided within a limit."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from relay.core.events import Events
from relay.core.hooks import QUEUE_MAX, RETRY_S, Hooks, hook_name, signature
from relay.settings import Hook

WALL = 1_800_000_000.0


class Receiver:
    """The other side: keeps what is posted until the test answers."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes, float]] = []
        self.waiting: list[Deferred[tuple[int, bytes]]] = []

    def __call__(self, url: str, headers: dict[str, str], body: bytes, seconds: float) -> Deferred[tuple[int, bytes]]:
        self.posts.append((url, headers, body, seconds))
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def answer(self, status: int = 200, body: bytes = b"") -> None:
        self.waiting.pop(0).callback((status, body))

    def fail(self, why: str = "Connection refused") -> None:
        self.waiting.pop(0).errback(ConnectionError(why))

    @property
    def told(self) -> list[tuple[str, Any]]:
        return [(json.loads(body)["hook"], json.loads(body)["event"].get("sim")) for _, _, body, _ in self.posts]


class Given:
    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.events = Events(lambda: WALL)
        self.receiver = Receiver()
        self.hooks = Hooks([Hook(name="fleet", url="http://x/", **settings)], self.receiver, self.events, self.clock, lambda: WALL, "relay-1")


def test_events_come_one_at_a_time_in_order_under_the_hooks_names() -> None:
    given = Given()
    given.events.publish("terminal.online", sim="1")
    given.events.publish("stream.connected", sim="2")
    given.events.publish("alarm.begin", sim="3")
    assert given.receiver.told == [("on_terminal_online", "1")]
    given.receiver.answer()
    given.receiver.answer(204)
    given.receiver.answer()
    assert given.receiver.told == [("on_terminal_online", "1"), ("on_publish", "2"), ("on_alarm", "3")]
    assert (given.hooks.counts["delivered"], given.hooks.waiting) == (3, 0)
    assert hook_name("superior.request") == "on_superior_request"


def test_a_hook_gets_what_it_asked_for() -> None:
    given = Given(events=("on_terminal_*",))
    given.events.publish("stream.started", sim="2")
    given.events.publish("terminal.offline", sim="1")
    assert given.receiver.told == [("on_terminal_offline", "1")]


def test_deliveries_are_signed_so_that_a_receiver_can_check_them() -> None:
    given = Given(secret="between us")
    given.events.publish("terminal.online", sim="1")
    _, headers, body, _ = given.receiver.posts[0]
    wanted = hmac.new(b"between us", f"{int(WALL)}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-JT1078-Signature"] == f"t={int(WALL)},v1={wanted}" == signature("between us", body, int(WALL))
    assert json.loads(body)["server"] == "relay-1"


@pytest.mark.parametrize("failing", ["status", "connection"])
def test_what_was_not_taken_is_sent_again_with_the_same_id_then_given_up(failing: str) -> None:
    given = Given()
    given.events.publish("terminal.online", sim="1")
    given.events.publish("terminal.online", sim="2")
    for wait in (*RETRY_S, None):
        if failing == "status":
            given.receiver.answer(500)
        else:
            given.receiver.fail()
        if wait is not None:
            given.clock.advance(wait - 0.01)
            assert not given.receiver.waiting
            given.clock.advance(0.01)
    assert given.receiver.told == [("on_terminal_online", "1")] * 4 + [("on_terminal_online", "2")]
    assert len({headers["X-JT1078-Delivery"] for _, headers, _, _ in given.receiver.posts}) == 2
    given.receiver.answer()
    assert (given.hooks.counts["failed"], given.hooks.counts["delivered"]) == (1, 1)
    assert given.hooks.hooks[0].last_error


def test_a_receiver_that_is_gone_costs_a_bounded_queue_and_the_newest_events_stay() -> None:
    given = Given()
    for number in range(QUEUE_MAX + 50):
        given.events.publish("terminal.online", sim=str(number))
    assert given.hooks.waiting == QUEUE_MAX
    assert given.hooks.counts["dropped"] == 50
    given.receiver.answer()
    assert given.receiver.told[-1] == ("on_terminal_online", "51"), "the one that was under way stayed, those after it went"
    given.hooks.close()
    assert given.hooks.waiting == 0
    given.events.publish("terminal.online", sim="late")
    assert len(given.receiver.posts) == 2


@pytest.mark.parametrize(
    ("answer", "allow"),
    [
        ((200, b""), True),
        ((200, b'{"code": 0, "msg": "success"}'), True),
        ((200, b'{"allow": true}'), True),
        ((200, b'{"allow": false, "message": "not paid"}'), False),
        ((200, b'{"code": -1, "msg": "not paid"}'), False),
        ((403, b""), False),
        ((500, b""), False),
        ((200, b"<html>"), False),
    ],
)
def test_a_deciding_hook_allows_or_refuses_a_play(answer: tuple[int, bytes], allow: bool) -> None:
    given = Given(decide=True)
    verdicts: list[Any] = []
    given.hooks.may_play(sim="1", channel=1, address="10.0.0.1").addCallback(verdicts.append)
    assert not verdicts
    given.receiver.answer(*answer)
    assert verdicts[0].allow is allow
    assert bool(verdicts[0].message) is not allow


@pytest.mark.parametrize(("on_failure", "allow"), [("refuse", False), ("allow", True)])
def test_a_play_does_not_wait_for_a_hook_that_is_gone(on_failure: str, allow: bool) -> None:
    given = Given(decide=True, on_failure=on_failure, timeout_s=2.0)
    verdicts: list[Any] = []
    given.hooks.may_play(sim="1").addCallback(verdicts.append)
    assert given.receiver.posts[0][3] == 2.0, "the limit goes with the request"
    given.receiver.fail("no answer within 2 s")
    assert verdicts[0].allow is allow
    assert given.hooks.counts["undecided"] == 1


def test_without_deciding_hooks_a_play_begins_at_once() -> None:
    given = Given()
    verdicts: list[Any] = []
    given.hooks.may_play(sim="1").addCallback(verdicts.append)
    assert verdicts[0].allow
    assert not given.receiver.posts


def settings(name: str = "fleet", url: str = "http://x/", **more: Any) -> Hook:
    return Hook(name=name, url=url, **more)


def urls(given: Given) -> list[str]:
    return [url for url, *_ in given.receiver.posts]


def test_hooks_that_are_the_same_in_a_new_configuration_keep_queue_and_counters() -> None:
    given = Given()
    for sim in "123":
        given.events.publish("terminal.online", sim=sim)
    given.receiver.answer()
    before = given.hooks.hooks[0]
    assert given.hooks.configure([settings("other", "http://y/"), settings()]) == ["hook other (new)"]
    assert given.hooks.hooks[1] is before
    assert (before.counts["delivered"], before.waiting) == (1, 2)
    given.events.publish("terminal.offline", sim="4")
    assert urls(given) == ["http://x/", "http://x/", "http://y/"]
    assert given.hooks.configure([settings("other", "http://y/"), settings()]) == []


def test_a_changed_hook_sends_what_waits_to_its_new_address_at_once() -> None:
    given = Given()
    given.events.publish("terminal.online", sim="1")
    given.events.publish("terminal.online", sim="2")
    given.receiver.fail()
    assert given.hooks.configure([settings(url="http://moved/", secret="new", events=("on_terminal_offline",))]) == ["hook fleet (changed)"]
    assert urls(given) == ["http://x/", "http://moved/"], "nothing waits for the next try at an address that is right now"
    assert "X-JT1078-Signature" in given.receiver.posts[1][1]
    given.receiver.answer()
    given.receiver.answer()
    assert given.receiver.told == [("on_terminal_online", "1"), ("on_terminal_online", "1"), ("on_terminal_online", "2")]
    given.events.publish("terminal.online", sim="3")
    given.events.publish("terminal.offline", sim="3")
    assert given.receiver.told[3:] == [("on_terminal_offline", "3")]
    given.clock.advance(60)
    assert len(given.receiver.posts) == 4


def test_a_delivery_under_way_counts_though_its_hook_changes_meanwhile() -> None:
    given = Given()
    given.events.publish("terminal.online", sim="1")
    given.hooks.configure([settings(url="http://moved/")])
    given.receiver.answer()
    assert (urls(given), given.hooks.counts["delivered"], given.hooks.waiting) == (["http://x/"], 1, 0)


def test_what_waits_for_a_hook_that_is_gone_is_still_delivered() -> None:
    given = Given()
    given.events.publish("terminal.online", sim="1")
    given.events.publish("terminal.online", sim="2")
    assert given.hooks.configure([]) == ["hook fleet (gone)"]
    assert (given.hooks.hooks, given.hooks.get("fleet"), given.hooks.waiting) == ([], None, 2)
    given.events.publish("terminal.online", sim="late")
    given.receiver.answer()
    given.receiver.answer()
    assert given.receiver.told == [("on_terminal_online", "1"), ("on_terminal_online", "2")]
    assert (given.hooks.counts["delivered"], given.hooks.waiting) == (2, 0), "figures do not go back"
    assert given.hooks.configure([settings()]) == ["hook fleet (new)"]
    assert given.hooks.hooks[0].counts["delivered"] == 0
    given.events.publish("terminal.online", sim="3")
    assert given.receiver.told[-1] == ("on_terminal_online", "3")


def test_a_hook_that_is_gone_and_does_not_answer_is_given_up_with_all_that_waits() -> None:
    given = Given()
    for sim in "123":
        given.events.publish("terminal.online", sim=sim)
    given.hooks.configure([])
    for wait in (*RETRY_S, 0.0):
        given.receiver.fail()
        given.clock.advance(wait)
    assert (given.hooks.counts["failed"], given.hooks.counts["dropped"], given.hooks.waiting) == (1, 2, 0)
    assert not given.clock.getDelayedCalls()


def test_a_hook_that_comes_back_while_it_leaves_goes_on() -> None:
    given = Given()
    given.events.publish("terminal.online", sim="1")
    given.events.publish("terminal.online", sim="2")
    given.hooks.configure([])
    given.hooks.configure([settings()])
    given.events.publish("terminal.online", sim="3")
    for _ in range(3):
        given.receiver.answer()
    assert [sim for _, sim in given.receiver.told] == ["1", "2", "3"]
    assert given.hooks.counts["delivered"] == 3


def test_what_waits_in_the_former_form_goes_where_it_was_meant_to() -> None:
    given = Given()
    given.events.publish("terminal.online", sim="1")
    given.events.publish("terminal.online", sim="2")
    assert given.hooks.configure([settings(url="http://srs/", form="srs")]) == ["hook fleet (changed)"]
    given.events.publish("viewer.began", sim="5", channel=1, format="flv", kind="live", who="ann", address="10.0.0.7:4000")
    given.receiver.answer()
    assert urls(given) == ["http://x/", "http://srs/", "http://x/"]
    given.hooks.close()
    assert given.hooks.waiting == 0
