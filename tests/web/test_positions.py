"""GET /api/v1/positions and /api/v1/terminals/{sim}/track, from what terminals report to what the API tells."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relay.core.events import BEIJING
from relay.core.tracks import Tracks
from relay.jt808.items import Mileage
from relay.jt808.messages.location import BatchLocation, Location, LocationReport
from relay.store import positions, terminals
from relay.store.positions import PositionStore
from relay.store.terminals import KnownTerminal
from tests.store.direct import DirectDatabase
from tests.web.test_api import OFFLINE, SIM
from tests.web.world import Relay


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DirectDatabase]:
    made = DirectDatabase(tmp_path / "a.db")
    terminals.add(made.connection, KnownTerminal(OFFLINE), 0.0)
    yield made
    made.close()


@pytest.fixture
def relay(database: DirectDatabase) -> Iterator[Relay]:
    made_positions: list[Tracks] = []

    def more(relay: Relay) -> dict[str, Any]:
        kept = Tracks(PositionStore(database), relay.clock, relay.wall)
        relay.core.terminals.learning.watch_locations(kept.came)
        made_positions.append(kept)
        return {"positions": kept}

    made = Relay(more=more)
    yield made
    made_positions[0].stop()
    made.end()


def digits(unix: float) -> str:
    return f"{datetime.fromtimestamp(unix, UTC).astimezone(BEIJING):%y%m%d%H%M%S}"


def report(unix: float, latitude: int = 22_500_000, **more: Any) -> LocationReport:
    return LocationReport(status_flags=3, latitude=latitude, longitude=114_000_000, speed=455, altitude=0xFFF6, time=digits(unix), **more)


def test_what_is_reported_is_a_track(relay: Relay) -> None:
    device = relay.online()
    core = relay.core.terminals.get(SIM)
    assert core is not None
    begin = core.last_seen
    device.say(report(begin, items=[Mileage(mileage=123)]))
    relay.core.clock.advance(10)
    now = begin + 10
    device.say(report(now, 22_600_000))
    old = [Location(status_flags=3, latitude=22_400_000, longitude=114_000_000, time=digits(begin - 100 + n)) for n in range(2)]
    device.say(BatchLocation(count=2, data_type=1, locations=old))
    track = relay.api("GET", f"/terminals/{SIM}/track")
    assert [point["latitude"] for point in track["items"]] == [22.4, 22.4, 22.5, 22.6]
    assert (track["total"], track["next"]) == (4, None)
    point = track["items"][2]
    assert (point["speed"], point["altitude"], point["located"], point["acc"], point["mileage"]) == (45.5, -10, True, True, 12.3)
    first = relay.api("GET", f"/terminals/{SIM}/track?limit=3")
    (last,) = relay.api("GET", f"/terminals/{SIM}/track?limit=3&after={first['next']}")["items"]
    assert last["latitude"] == 22.6
    part = relay.api("GET", f"/terminals/bus-17/track?from={track['items'][1]['time']}&to={track['items'][3]['time']}")
    assert part["total"] == 2
    assert relay.api("GET", f"/terminals/{SIM}/track?from=never", expect=400)["error"] == "bad_query"
    assert relay.api("GET", "/terminals/nobody/track", expect=404)["error"] == "unknown_terminal"


def test_the_last_of_all_those_of_before_the_start_included(relay: Relay, database: DirectDatabase) -> None:
    positions.insert(database.connection, [positions.PositionRow(OFFLINE, 1000.0, 1001.0, 30.0, 120.0, 5, 0.0, 0, 0, 2, None)])
    device = relay.online()
    core = relay.core.terminals.get(SIM)
    assert core is not None
    device.say(report(core.last_seen))
    listed = relay.api("GET", "/positions")
    assert [(item["sim"], item["online"], item["position"]["latitude"]) for item in listed["items"]] == [(SIM, True, 22.5), (OFFLINE, False, 30.0)]
    assert listed["items"][1]["received"] == "1970-01-01T08:16:41.000+08:00"
    assert [item["sim"] for item in relay.api("GET", "/positions?online=true")["items"]] == [SIM]
    assert [item["sim"] for item in relay.api("GET", "/positions?online=false")["items"]] == [OFFLINE]
    page = relay.api("GET", "/positions?limit=1")
    assert (page["total"], page["next"]) == (2, SIM)
    assert relay.api("GET", "/positions?group=north")["total"] == 0


def test_a_terminals_clock_is_compared_with_ours(relay: Relay) -> None:
    device = relay.online()
    core = relay.core.terminals.get(SIM)
    assert core is not None
    assert relay.api("GET", f"/terminals/{SIM}")["clock_offset_s"] is None
    for late in (2, 40, 0, 7):
        device.say(report(core.last_seen + 3600 - late))
    assert relay.api("GET", f"/terminals/{SIM}")["clock_offset_s"] == 3600.0, "reports are late, never early"
    for _ in range(16):
        device.say(report(core.last_seen))
    assert relay.api("GET", f"/terminals/{SIM}")["clock_offset_s"] == 0.0, "its clock was set"
    device.say(LocationReport(latitude=0, longitude=0, time="000000000000"))
    track = relay.api("GET", f"/terminals/{SIM}/track")
    assert track["items"][-1]["time"] >= track["items"][0]["received"][:10], "without a time it has that of its arrival"
