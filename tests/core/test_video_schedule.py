"""Spans of the week for recordings."""

from __future__ import annotations

from datetime import datetime

import pytest

from relay.core.video_schedule import now_in, parse

MONDAY = datetime(2026, 11, 30)


@pytest.mark.parametrize(
    ("text", "day", "clock", "holds"),
    [
        ("07:00-19:00", 0, (7, 0), True), ("07:00-19:00", 0, (19, 0), False), ("07:00-19:00", 0, (6, 59), False),
        ("Mon-Fri 07:00-19:00", 4, (12, 0), True), ("Mon-Fri 07:00-19:00", 5, (12, 0), False),
        ("Sat-Mon 00:00-24:00", 6, (23, 59), True), ("Sat-Mon 00:00-24:00", 1, (0, 0), False),
        ("fri 22:00-06:00", 4, (23, 0), True), ("Fri 22:00-06:00", 5, (5, 59), True), ("Fri 22:00-06:00", 4, (5, 0), False),
    ],
)  # fmt: skip
def test_a_span_holds_its_days_and_hours(text: str, day: int, clock: tuple[int, int], holds: bool) -> None:
    when = MONDAY.replace(day=30, hour=clock[0], minute=clock[1])
    assert parse(text).holds((when.weekday() + day) % 7, clock[0] * 60 + clock[1]) is holds


@pytest.mark.parametrize("text", ["", "7:00-19:00", "Mon-Foo 07:00-19:00", "25:00-26:00", "07:00", "07:60-08:00", "00:00-24:30"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse(text)


def test_without_spans_it_is_always_time() -> None:
    assert now_in((), MONDAY)
    assert not now_in((parse("Tue 00:00-24:00"),), MONDAY)
