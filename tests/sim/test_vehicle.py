"""The vehicle's road and what is reported of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from relay.jt808.messages.location import LocationReport
from relay.sim.vehicle import bcd_time, from_bcd, place, report


def test_it_drives_on_without_jumps_stops_at_lights_and_comes_round() -> None:
    places = [place(float(t)) for t in range(1200)]
    for a, b in pairwise(places):
        metres = (b.odometer_km - a.odometer_km) * 1000
        assert 0 <= metres < 14
        assert abs(b.latitude - a.latitude) < 0.0002
        assert abs(b.longitude - a.longitude) < 0.0002
    assert any(p.speed_kmh == 0 for p in places)
    assert max(p.speed_kmh for p in places) <= 46
    assert places[-1].odometer_km > 9
    assert {p.direction // 90 for p in places} == {0, 1, 3}
    later = next(p for p in places[300:] if abs(p.latitude - places[0].latitude) < 1e-4 and abs(p.longitude - places[0].longitude) < 2e-4)
    assert 4 < later.odometer_km < 7


def test_terminals_begin_at_different_places() -> None:
    assert place(0, 0.1) != place(0, 0.6)


@pytest.mark.parametrize("edition", [2011, 2013, 2019])
def test_a_report_can_be_read_again(edition: int) -> None:
    made = report(1_700_000_000.0, 1_699_999_000.0, 0.3, lost_channels=0b10, edition=edition)
    read = LocationReport.decode(made.encode(edition), edition)
    assert read.fields() == made.fields()
    items = {item.id: item for item in read.items}
    assert items[0x14].video_alarm_flags == 1  # type: ignore[attr-defined]
    assert items[0x15].video_loss_channels == 2  # type: ignore[attr-defined]
    assert items[0x01].mileage > 123_450  # type: ignore[attr-defined]


def test_times_of_the_standard() -> None:
    assert bcd_time(1_700_000_000) == "231115061320"
    assert from_bcd("231115061320") == 1_700_000_000
    assert from_bcd("000000000000") is None
    assert from_bcd("231332000000") is None
