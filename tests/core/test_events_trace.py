"""The bus of events, and the trace of a start."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from relay.core.events import LISTENERS_MAX, Events, iso_time
from relay.core.trace import HOPS, Trace


def test_listeners_hear_events_in_order_until_they_stop():
    clock = Clock()
    events = Events(lambda: 1_795_000_000.0 + clock.seconds())
    heard = []
    stop = events.subscribe(heard.append)
    events.publish("terminal.online", sim="1")
    clock.advance(0.25)
    events.publish("terminal.offline", sim="1", reason="gone")
    stop()
    stop()
    events.publish("terminal.online", sim="2")
    assert heard == [
        {"event": "terminal.online", "id": 1, "time": "2026-11-18T19:06:40.000+08:00", "sim": "1"},
        {"event": "terminal.offline", "id": 2, "time": "2026-11-18T19:06:40.250+08:00", "sim": "1", "reason": "gone"},
    ]


def test_a_listener_that_comes_later_hears_what_is_kept():
    events = Events(lambda: 0.0, recent=3)
    for number in range(5):
        events.publish("x", number=number)
    heard = []
    events.subscribe(heard.append, after_id=3)
    assert [event["number"] for event in heard] == [3, 4]
    heard.clear()
    events.subscribe(heard.append, after_id=0)
    assert [event["number"] for event in heard] == [2, 3, 4]


def test_a_listener_that_fails_does_not_keep_the_others_from_hearing(logged_errors):
    events = Events(lambda: 0.0)

    def bad(event):
        raise ValueError("bug")

    heard = []
    events.subscribe(bad)
    events.subscribe(heard.append)
    events.publish("x")
    assert len(heard) == 1
    assert len(logged_errors.flush(ValueError)) == 1


def test_listeners_are_bounded():
    events = Events(lambda: 0.0)
    for _ in range(LISTENERS_MAX):
        events.subscribe(lambda event: None)
    with pytest.raises(OverflowError):
        events.subscribe(lambda event: None)


def test_times_carry_the_standards_zone():
    assert iso_time(0.0) == "1970-01-01T08:00:00.000+08:00"


def test_hops_have_times_since_the_start_and_since_the_hop_before():
    trace = Trace("138", 1, 100.0, 1_795_000_000.0, "sub", "viewer")
    trace.mark("sent", 100.001)
    trace.mark("connected", 100.080, "tcp 10.0.0.7:5")
    trace.mark("answered", 100.090)
    trace.mark("connected", 105.0)
    shown = trace.as_dict()
    assert shown["hops"] == [
        {"hop": "requested", "at_ms": 0, "took_ms": 0},
        {"hop": "sent", "at_ms": 1, "took_ms": 1},
        {"hop": "connected", "at_ms": 80, "took_ms": 79, "detail": "tcp 10.0.0.7:5"},
        {"hop": "answered", "at_ms": 90, "took_ms": 10},
    ]
    assert shown["missing"] == "first_packet"
    assert trace.describe() == "requested 0, sent 1, connected 80, answered 90 ms"
    assert trace.hops() == {"requested": 0, "sent": 1, "connected": 80, "answered": 90}


@pytest.mark.parametrize("reached", range(1, len(HOPS) + 1))
def test_the_missing_hop_is_the_one_after_the_last_reached(reached):
    trace = Trace("138", 1, 0.0, 0.0)
    for hop in HOPS[1:reached]:
        trace.mark(hop, 1.0)
    assert trace.missing == (HOPS[reached] if reached < len(HOPS) else "")


def test_an_overtaken_answer_is_not_the_missing_hop():
    trace = Trace("138", 1, 0.0, 0.0)
    trace.mark("sent", 0.0)
    trace.mark("connected", 0.1)
    trace.mark("first_packet", 0.1)
    assert trace.missing == "first_key_frame"


def test_watchers_hear_what_was_and_what_follows():
    trace = Trace("138", 1, 0.0, 0.0)
    trace.mark("sent", 0.002)
    heard = []

    def watch(hop, ms):
        heard.append((hop, ms))

    trace.watch(watch)
    trace.mark("answered", 0.05)
    trace.unwatch(watch)
    trace.unwatch(watch)
    trace.mark("connected", 0.06)
    assert heard == [("requested", 0), ("sent", 2), ("answered", 50)]


def test_notes_are_bounded():
    trace = Trace("138", 1, 0.0, 0.0)
    for number in range(100):
        trace.note(f"{number}", float(number))
    assert len(trace.notes) == 16
