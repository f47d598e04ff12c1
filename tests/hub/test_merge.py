"""The tick: fixed, automatic, and what hangs on it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from twisted.internet.task import Clock

from relay.hub.merge import CALM_S, MEASURE_EVERY, Merge
from tests.hub.support import FakeSink, Hub


class Load:
    """A reactor's thread that is busy for a share of the time; gathering may cut it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.used = 0.0

    def __call__(self) -> float:
        return self.used

    def run(self, seconds: float, share: float, step: float = 0.1) -> None:
        for _ in range(round(seconds / step)):
            self.used += share * step
            self.clock.advance(step)


class Reader:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.gathers: list[bool] = []
        self.reads = 0

    def gather(self, on: bool) -> None:
        self.gathers.append(on)

    def read(self) -> None:
        self.reads += 1


def auto(max_ms: int = 80) -> tuple[Merge, Load]:
    clock = Clock()
    load = Load(clock)
    merge = Merge(clock, "auto", max_ms, load)
    merge.start()
    return merge, load


def test_a_fixed_tick_reads_and_flushes_at_its_times() -> None:
    clock = Clock()
    merge = Merge(clock, 100)
    reader = Reader()
    merge.add(reader)
    assert reader.gathers == [False]
    merge.start()
    assert reader.gathers == [False, True]
    clock.advance(0.099)
    assert reader.reads == 0
    for _ in range(10):
        clock.advance(0.1)
    assert reader.reads == 10
    assert merge.ms == 100
    merge.stop()
    assert not clock.getDelayedCalls()


def test_ticks_do_not_drift_and_do_not_pile_up() -> None:
    clock = Clock()
    merge = Merge(clock, 100)
    times: list[float] = []

    class Slow(Reader):
        def read(self) -> None:
            times.append(round(clock.seconds(), 3))
            if len(times) == 3:
                clock.rightNow += 0.35  # this tick's work takes longer than three ticks

    merge.add(Slow())
    merge.start()
    clock.pump([0.01] * 100)
    assert times[:3] == pytest.approx([0.1, 0.2, 0.3], abs=0.011)
    assert times[3] >= 0.64
    assert all(later - earlier >= 0.089 for earlier, later in itertools.pairwise(times))
    merge.stop()


@pytest.mark.parametrize(("setting", "ms"), [(0, 0), ("0", 0), (20, 20), ("350", 350), ("auto", 0)])
def test_what_the_setting_may_say(setting: str | int, ms: int) -> None:
    merge = Merge(Clock(), setting)
    assert merge.ms == ms
    assert merge.immediate


def test_idle_means_at_once() -> None:
    merge, load = auto()
    load.run(60, 0.3)
    assert merge.ms == 0
    assert merge.immediate
    merge.stop()


def test_the_tick_climbs_as_the_process_fills_and_not_beyond_its_limit() -> None:
    merge, load = auto(80)
    seen = []
    for _ in range(40):
        load.run(0.5, 0.6)
        if merge.ms not in seen:
            seen.append(merge.ms)
    assert seen == [0, 20, 40, 80]
    assert not merge.immediate
    merge.stop()


def test_a_full_process_goes_straight_to_the_limit() -> None:
    merge, load = auto(80)
    load.run(3, 1.0)
    assert merge.ms == 80
    merge.stop()


@pytest.mark.parametrize(("limit", "ladder"), [(80, (0, 20, 40, 80)), (20, (0, 20)), (30, (0, 20, 30)), (350, (0, 20, 40, 350))])
def test_the_ladder_ends_at_the_limit(limit: int, ladder: tuple[int, ...]) -> None:
    assert Merge(Clock(), "auto", limit).ladder == ladder


def test_a_short_burst_does_not_change_anything() -> None:
    merge, load = auto()
    load.run(10, 0.1)
    load.run(0.4, 0.9)
    load.run(10, 0.1)
    assert merge.climbs == 0
    merge.stop()


def test_gathering_saves_more_than_half_and_still_does_not_swing() -> None:
    """The share it is steered by falls to a third as soon as it gathers: it must not go back at once."""
    merge, load = auto()
    load.run(4, 0.6)
    climbs = merge.climbs
    assert climbs
    load.run(120, 0.2)
    assert merge.climbs == climbs
    assert merge.ms > 0
    merge.stop()


def test_calm_brings_it_down_step_by_step() -> None:
    merge, load = auto()
    load.run(3, 1.0)
    assert merge.ms == 80
    load.run(CALM_S + 3, 0.05)
    assert merge.ms == 40
    load.run(3 * CALM_S, 0.05)
    assert merge.ms == 0
    merge.stop()


def test_a_step_down_that_was_wrong_is_tried_less_often() -> None:
    merge, load = auto(20)
    changes = []
    before = merge.ms
    for tenth in range(3000):  # at once it needs 0.6 of the processor, gathered 0.1
        load.run(0.1, 0.1 if merge.ms else 0.6)
        if merge.ms != before:
            before = merge.ms
            if before == 0:
                changes.append(tenth / 10)
    gaps = [later - earlier for earlier, later in itertools.pairwise(changes)]
    assert gaps[-1] > 4 * gaps[0]
    assert len(changes) < 10
    merge.stop()


def test_frames_wait_for_the_tick_and_go_out_in_one_send() -> None:
    hub = Hub(merge=100)
    stream = hub.open()
    hub.feed(stream, "K")
    sink, _ = hub.view(stream)
    hub.feed(stream, "PPP")
    assert len(sink.sends) == 1
    hub.clock.advance(0.1)
    assert len(sink.sends) == 2
    assert len(sink.pieces()) == 5
    hub.clock.advance(0.5)
    assert len(sink.sends) == 2
    hub.merge.stop()


def crowd(hub: Hub, count: int) -> tuple[Any, list[FakeSink]]:
    """A running stream with so many viewers, looked at by the registry."""
    stream = hub.open()
    hub.feed(stream, "K")
    sinks = [hub.view(stream)[0] for _ in range(count)]
    hub.clock.advance(1.1)
    stream.sweep(hub.clock.seconds())
    for sink in sinks:
        sink.sends.clear()
    return stream, sinks


def test_an_audience_is_sent_to_every_merge_max_ms_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.hub.stream.CROWD", 3)
    hub = Hub(merge="auto")
    stream, sinks = crowd(hub, 3)
    assert stream.crowded
    assert (stream.stats().merge_ms, hub.merge.ms) == (80, 0)
    hub.feed(stream, "P")
    hub.clock.advance(0.04)
    hub.feed(stream, "P")
    assert [len(sink.sends) for sink in sinks] == [0, 0, 0]
    hub.clock.advance(0.041)
    assert [len(sink.sends) for sink in sinks] == [1, 1, 1]
    hub.clock.advance(1.0)
    assert [len(sink.sends) for sink in sinks] == [1, 1, 1]
    hub.feed(stream, "P")
    hub.merge.stop()
    assert [len(sink.sends) for sink in sinks] == [2, 2, 2]
    hub.feed(stream, "P")  # the ticks have ended, the stream not yet
    assert [len(sink.sends) for sink in sinks] == [3, 3, 3]


@pytest.mark.parametrize(("setting", "count"), [("auto", 2), ("0", 3)])
def test_what_is_no_audience_is_sent_to_at_once(monkeypatch: pytest.MonkeyPatch, setting: str, count: int) -> None:
    monkeypatch.setattr("relay.hub.stream.CROWD", 3)
    hub = Hub(merge=setting)
    stream, sinks = crowd(hub, count)
    assert not stream.crowded
    hub.feed(stream, "P")
    assert [len(sink.sends) for sink in sinks] == [1] * count
    hub.merge.stop()


def test_an_audience_waits_as_long_under_a_shorter_tick_and_follows_one_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.hub.stream.CROWD", 3)
    hub = Hub(merge="auto")
    stream, sinks = crowd(hub, 3)
    hub.merge._move(1)
    hub.feed(stream, "P")
    hub.clock.pump([0.02] * 3)
    hub.feed(stream, "P")
    assert [len(sink.sends) for sink in sinks] == [0, 0, 0]
    hub.clock.advance(0.021)
    assert [len(sink.sends) for sink in sinks] == [1, 1, 1]
    hub.merge._move(3)
    hub.feed(stream, "P")
    hub.clock.advance(0.081)
    assert [len(sink.sends) for sink in sinks] == [2, 2, 2]
    hub.feed(stream, "P")
    stream.end("over")
    assert not hub.merge.dirty
    hub.merge.stop()


def test_what_waits_goes_out_when_the_ticks_end() -> None:
    hub = Hub(merge=100)
    stream = hub.open()
    hub.feed(stream, "K")
    sink, _ = hub.view(stream)
    hub.feed(stream, "P")
    hub.merge.stop()
    assert len(sink.pieces()) == 3
    hub.feed(stream, "P")
    assert len(sink.pieces()) == 4


def test_delays_are_measured_on_some_ticks_only() -> None:
    clock = Clock()
    merge = Merge(clock, 100)
    measured: list[bool] = []

    class Look(Reader):
        def read(self) -> None:
            measured.append(merge.measure)

    merge.add(Look())
    merge.start()
    clock.pump([0.1] * (3 * MEASURE_EVERY))
    assert sum(measured) == 3
    merge.stop()
    assert merge.ticks == 3 * MEASURE_EVERY


def test_a_stream_that_ended_is_not_flushed_any_more() -> None:
    hub = Hub(merge=100)
    stream = hub.open()
    hub.feed(stream, "K")
    hub.view(stream)
    hub.feed(stream, "P")
    assert stream in hub.merge.dirty
    stream.end("stopped")
    assert stream not in hub.merge.dirty
    hub.clock.advance(0.2)
    hub.merge.stop()
