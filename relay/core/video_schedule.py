"""When a ``[[record]]`` records: spans of the week such as "Mon-Fri 07:00-19:00", in the standards' zone (GMT+8)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SPAN = re.compile(r"(?:(\w{3})(?:-(\w{3}))? )?(\d{2}):(\d{2})-(\d{2}):(\d{2})")


class Span(NamedTuple):
    """Days of the week (Monday 0) and minutes of the day; a span that ends before it begins goes on into the next day."""

    days: frozenset[int]
    begin: int
    end: int

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether this minute of this day is in it."""
        if self.begin < self.end:
            return weekday in self.days and self.begin <= minute < self.end
        return (weekday in self.days and minute >= self.begin) or ((weekday - 1) % 7 in self.days and minute < self.end)


def parse(text: str) -> Span:
    """ValueError for what is no span."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    first, last, *clock = found.groups()
    names = {name.lower(): number for number, name in enumerate(DAYS)}
    if first is None:
        days = frozenset(range(7))
    elif first.lower() not in names or (last or first).lower() not in names:
        raise ValueError(text)
    else:
        a, b = names[first.lower()], names[(last or first).lower()]
        days = frozenset((a + step) % 7 for step in range((b - a) % 7 + 1))
    hour, minute, end_hour, end_minute = map(int, clock)
    if hour > 23 or end_hour > 24 or minute > 59 or end_minute > 59 or (end_hour == 24 and end_minute):
        raise ValueError(text)
    return Span(days, hour * 60 + minute, end_hour * 60 + end_minute)


def now_in(spans: Sequence[Span], now: datetime) -> bool:
    """Whether one of them holds ``now``; without spans, always."""
    return not spans or any(span.holds(now.weekday(), now.hour * 60 + now.minute) for span in spans)
