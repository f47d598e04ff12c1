"""Figures of starts by hop and of queues in /metrics."""

from __future__ import annotations

import re

from relay.core.trace import HopTimes, Trace
from tests.web.world import Relay


def exposition(relay: Relay) -> str:
    answer = relay.ask("GET", "/metrics", {"Authorization": f"Bearer {relay.api_token()}"})
    assert answer.status == 200
    return answer.body.decode()


def value(text: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found, series
    return float(found[1])


def test_each_hop_of_a_start_is_counted_once_in_the_right_bucket() -> None:
    times = HopTimes()
    trace = Trace("1", 1, 100.0, 0.0, times=times)
    trace.mark("sent", 100.05)
    trace.mark("answered", 100.3)
    trace.mark("answered", 109.0)
    trace.mark("first_byte", 190.0)
    assert times.counts["sent"][0] == 1, "an edge belongs to its bucket"
    assert times.counts["answered"][times.EDGES.index(0.5)] == 1
    assert sum(times.counts["answered"]) == 1
    assert times.counts["first_byte"][-1] == 1
    assert round(times.sums["first_byte"]) == 90
    assert sum(times.counts["connected"]) == 0


def test_a_start_shows_in_the_histogram() -> None:
    relay = Relay()
    relay.online()
    player = relay.get("/live/13800138000_1.flv")
    relay.clock.advance(0.2)
    relay.asked()
    text = exposition(relay)
    assert value(text, 'jt1078relay_start_seconds_count{hop="sent"}') == 1
    assert value(text, 'jt1078relay_start_seconds_bucket{hop="answered",le="0.1"}') == 0
    assert value(text, 'jt1078relay_start_seconds_bucket{hop="answered",le="0.25"}') == 1
    assert value(text, 'jt1078relay_start_seconds_bucket{hop="answered",le="+Inf"}') == 1
    assert value(text, 'jt1078relay_start_seconds_count{hop="first_byte"}') == 0
    assert value(text, "jt1078relay_viewer_queue_drops_total") == 0
    player.lost()
    relay.end()
