"""Parameters by name and number, with the standard's ranges (JT/T 808 table 12, JT/T 1078 section 5)."""

from __future__ import annotations

from typing import Any

import pytest

from relay.jt808.params import PARAMETERS, SimpleParameter
from relay.jt808.params_check import entry, number, shown
from relay.wire import FieldError

WAKE = {
    "id": 0x7C, "wake_mode": 3, "wake_conditions": 1, "wake_weekdays": 31, "wake_periods_enabled": 3, "wake_time_1": "0600", "sleep_time_1": "0900",
    "wake_time_2": "1600", "sleep_time_2": "1900", "wake_time_3": "0000", "sleep_time_3": "0000", "wake_time_4": "0000", "sleep_time_4": "0000",
}  # fmt: skip


@pytest.mark.parametrize("name", [1, "1", "0x0001", "heartbeat_interval"])
def test_a_parameter_has_a_number_and_a_name(name: Any) -> None:
    assert number(name) == 1


@pytest.mark.parametrize("kind", [kind for kind in PARAMETERS.classes.values() if issubclass(kind, SimpleParameter)], ids=lambda kind: kind.NAME)
def test_every_simple_parameter_goes_in_by_name_and_comes_out_with_it(kind: Any) -> None:
    value: Any = "text" if kind.KIND == "S" else "00" * int(kind.KIND[0]) if kind.KIND.endswith("s") else 1 | 200 << 17 if kind.ID in (0x64, 0x65) else 1
    made = entry({"name": kind.NAME, "value": value}, 2019)
    view = shown(made, secrets=True)
    assert (view["id"], view["name"], view["value"]) == (kind.ID, kind.NAME, value)
    assert entry(view, 2019) == made


def test_what_a_list_shows_can_be_sent_back() -> None:
    made = entry(WAKE, 2013)
    assert len(made.value_bytes(2013)) == 20
    assert entry(shown(made), 2013) == made
    assert shown(entry({"id": 0xF001, "raw": "00ff"}, 2013)) == {"id": 0xF001, "hex": "0xF001", "name": "", "raw": "00ff"}


def test_secrets_are_starred_and_stars_are_not_taken_back() -> None:
    view = shown(entry({"name": "main_dial_password", "value": "geheim"}, 2013))
    assert view["value"] == "***"
    with pytest.raises(FieldError, match="stars"):
        entry(view, 2013)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": 1, "value": 0}, "not within 1 to 86400"),
        ({"id": 1}, "missing"),
        ({"value": 1}, "missing"),
        ({"name": "warp_speed", "value": 1}, "warp_speed"),
        ({"id": 1, "name": "max_speed", "value": 1}, "is not 0x0001"),
        ({"id": 0x20, "value": 9}, "none of 0, 1, 2"),
        ({"id": 0x30, "value": 180}, "179"),
        ({"id": 0x84, "value": 256}, "0..255"),
        ({"id": 0x32, "value": "18320a1e"}, "hour"),
        ({"id": 0x64, "value": 1 | 3 << 17}, "at least 5"),
        ({"id": 0x13, "value": "x" * 256}, "at most 255"),
        ({"id": 0xF001, "raw": "00" * 256}, "at most 255"),
        ({"id": 0x76, "av_channel_count": 2, "audio_channel_count": 0, "video_channel_count": 0, "channels": []}, "come to 2"),
        ({**WAKE, "wake_time_2": "0800"}, "overlap"),
        ({**WAKE, "sleep_time_1": "0500"}, "not after"),
        ({**WAKE, "wake_time_3": "2560"}, "no time of day"),
        ({**WAKE, "wake_mode": 8}, "0 to 7"),
        ({"id": 0x79, "storage_threshold": 100, "record_duration": 5, "mark_lead_time": 1}, "1 to 99"),
    ],
)
def test_what_no_terminal_should_be_given(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(FieldError, match=words):
        entry(fields, 2013)


def test_makers_may_have_codes_of_their_own() -> None:
    fields: dict[str, Any] = dict.fromkeys(PARAMETERS.classes[117].wire_fields, 1)
    assert entry({"id": 0x75, **fields, "live_resolution": 100, "live_encode_mode": 127}, 2013).id == 0x75
    with pytest.raises(FieldError):
        entry({"id": 0x75, **fields, "live_resolution": 9}, 2013)
