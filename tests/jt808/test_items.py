"""Additional items of a location."""

from __future__ import annotations

import pytest

from relay.jt808.items import (
    ITEMS,
    AbnormalDriving,
    CabinTemperature,
    Mileage,
    OverspeedAlarm,
    SegmentTimeAlarm,
    TirePressures,
    VideoAlarms,
)
from relay.wire import Entry, RawEntry


def decode(text: str, edition: int = 2013) -> Entry:
    return ITEMS.decode(bytes.fromhex(text.replace(" ", "")), edition)


def test_behaviour_comes_in_two_and_in_three_bytes() -> None:
    assert decode("18 02 0004") == AbnormalDriving(behavior_flags=4)
    assert decode("18 03 0007 5a") == AbnormalDriving(behavior_flags=7, fatigue_level=90)
    assert decode("18 01 00") == RawEntry(0x18, b"\0")
    assert decode("18 04 00000000") == RawEntry(0x18, bytes(4))


def test_overspeed_has_one_or_five_bytes() -> None:
    assert decode("11 01 00") == OverspeedAlarm(position_type=0)
    assert decode("11 05 01 00000007") == OverspeedAlarm(position_type=1, area_id=7)
    assert decode("11 03 010000") == RawEntry(0x11, b"\1\0\0")


def test_items_of_2019_are_read_in_every_edition() -> None:
    assert decode("06 02 8005", 2011) == CabinTemperature(cabin_temperature_raw=0x8005)
    assert decode("05 1e" + "8c" * 30, 2013) == TirePressures(tire_pressures=b"\x8c" * 30)


def test_analogue_inputs_of_other_lengths_stay_raw() -> None:
    assert decode("2b 02 0001") == RawEntry(0x2B, b"\0\1")
    assert decode("2b 08" + "00" * 8) == RawEntry(0x2B, bytes(8))


def test_the_segment_alarms_result_is_one_byte() -> None:
    assert decode("13 07 00000002 0022 01") == SegmentTimeAlarm(segment_id=2, drive_time=34, result=1)


@pytest.mark.parametrize("id", sorted(ITEMS.classes))
def test_no_length_but_its_own_is_accepted(id: int) -> None:
    accepted = [size for size in range(256) if not isinstance(ITEMS.read(id, bytes(size), 0, size, 2013), RawEntry)]
    expected = {0x11: [1, 5], 0x18: [2, 3]}.get(id)
    plan = ITEMS.classes[id].plan(2013)
    if id < 0x64:
        assert accepted == (expected or [plan.width])
    for size in range(256):
        entry = ITEMS.read(id, bytes(size), 0, size, 2013)
        assert entry.value_bytes(2013) == bytes(size)


def test_ids_are_class_attributes_too() -> None:
    assert (Mileage.ID, Mileage(mileage=1).id, Mileage.LABEL) == (1, 1, "里程")
    assert VideoAlarms(video_alarm_flags=3).fields() == {"id": 0x14, "video_alarm_flags": 3}
