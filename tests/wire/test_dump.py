"""What the dump says of values."""

from __future__ import annotations

import pytest

from relay.wire.codecs import Bcd, Int
from relay.wire.dump import meaning, spell_time
from relay.wire.record import f


@pytest.mark.parametrize(
    ("digits", "text"),
    [
        ("261120153045", "2026-11-20 15:30:45"),
        ("000000000000", "none"),
        ("000000083000", "daily 08:30:00"),
        ("261320153045", "2026-13-20 15:30:45 (impossible)"),
        ("26112015304f", "not a time"),
        ("0730", "07:30"),
        ("20301231", "2030-12-31"),
        ("0000235959", ""),
    ],
)
def test_times_are_spelt_out(digits: str, text: str) -> None:
    assert spell_time(digits) == text


@pytest.mark.parametrize(
    ("info", "value", "text"),
    [
        (f(unit="s"), 5, "5 s"),
        (f(unit="°", scale=1e-6), 31230416, "31.230416 °"),
        (f(scale=0.1), 15, "1.5"),
        (f(enum={1: "one"}), 1, "one"),
        (f(enum={1: "one"}), 2, ""),
        (f(bits={0: "a", 5: "b"}), 0x21, "a, b"),
        (f(bits={0: "a"}), 0x90, "bit 4, 7"),
        (f(bits={(0, 3): "low", (4, 7): {2: "two"}}), 0x25, "low: 5, two"),
        (f(bits={0: ("off", "on")}), 0, "off"),
    ],
)
def test_numbers_are_explained(info: object, value: int, text: str) -> None:
    assert meaning(info, value, Int("I")) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("digits", "text"),
    [("261120153045", "2026-11-20 15:30:45 UTC"), ("000000083000", "daily 08:30:00 UTC"), ("000000000000", "none"), ("26112015304f", "not a time")],
)
def test_the_zone_of_a_time_is_stated(digits: str, text: str) -> None:
    assert meaning(f(), digits, Bcd(6, time=True, zone="UTC")) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [(180_000_000, "180.000000 °"), (4267360124, "-27.607172 ° (read as two's complement)"), (0xFFFFFFFF, "-0.000001 ° (read as two's complement)")],
)
def test_values_of_devices_that_send_twos_complement(value: int, text: str) -> None:
    assert meaning(f(unit="°", scale=1e-6, negative_above=180_000_000), value, Int("I")) == text  # type: ignore[arg-type]


def test_digits_that_are_no_time_are_left_alone() -> None:
    assert meaning(f(), "1234", Bcd(2)) == ""
