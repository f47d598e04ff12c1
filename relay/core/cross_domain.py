"""不满足跨域条件: whether a superior that is not the vehicle's home may see it (JT/T 1078-2016 chapters 6 and 8).

It shows a position of the vehicle from the last five minutes (the 36-byte block of JT/T 809-2011 in its request, or the position mark in its player's
URL), taken after the vehicle came into its region. The vehicle's own track tells whether that is true: the report nearest in time must lie within what
the vehicle could have driven in between.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred

from relay.core.events import BEIJING
from relay.errors import DecodeError
from relay.jt809.messages.base import Gnss
from relay.store.positions import PositionRow

WINDOW_S = 300.0  #: 5min之内
LEEWAY_S = 60.0  #: clocks of platforms and terminals differ
SPEED_MS = 45.0  #: 160 km/h
NEAR_M = 2000.0  #: besides: datums differ (GCJ-02 moves a point by some 600 m), receivers err
EARTH_M = 6371000.0

#: YYYYMMDD-HHMMSS-NXX.XXXXXX-EXXX.XXXXXX, 位置标识 of table 35
_MARK = re.compile(r"([0-9]{8})-([0-9]{6})-([NS])([0-9]{1,2}\.[0-9]{1,6})-([EW])([0-9]{1,3}\.[0-9]{1,6})")


class Place(NamedTuple):
    """A position that a superior shows."""

    time: float  #: UNIX seconds
    latitude: float  #: degrees
    longitude: float


class Tracks(Protocol):
    """What is needed of the store (``relay.store.positions.PositionStore``)."""

    def track(
        self, key: str, start: float, end: float, limit: int, after: tuple[float, int] | None
    ) -> Deferred[tuple[list[tuple[int, PositionRow]], int]]: ...


def place_of_block(data: bytes | None) -> Place | None:
    """What the 36-byte block says; None: none, zeros, encrypted, or no date."""
    if not data or len(data) != 36 or not any(data):
        return None
    try:
        gnss = Gnss.decode(data, 2011)
        if gnss.encrypt or not gnss.lat or not gnss.lon:
            return None
        time = datetime(gnss.year or 0, gnss.month or 0, gnss.day or 0, gnss.hour or 0, gnss.minute or 0, gnss.second or 0, tzinfo=BEIJING)
    except (DecodeError, ValueError):
        return None
    return Place(time.timestamp(), gnss.lat * 1e-6, gnss.lon * 1e-6)


def place_of_mark(text: str) -> Place | None:
    """What the position mark of a URL says; None when it is none."""
    found = _MARK.fullmatch(text)
    if found is None:
        return None
    day, clock, ns, latitude, ew, longitude = found.groups()
    try:
        time = datetime.strptime(day + clock, "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
    except ValueError:
        return None
    return Place(time.timestamp(), float(latitude) * (1 if ns == "N" else -1), float(longitude) * (1 if ew == "E" else -1))


def distance_m(one: Place, latitude: float, longitude: float) -> float:
    """Along the great circle."""
    a, b = math.radians(one.latitude), math.radians(latitude)
    half = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(math.radians(longitude - one.longitude) / 2) ** 2
    return 2 * EARTH_M * math.asin(min(1.0, math.sqrt(half)))


async def refusal(shown: Place | None, key: str, tracks: Tracks, wall: Callable[[], float]) -> str:
    """Why the condition is not met, in words; ``""`` = it is met. ``key``: the terminal."""
    if shown is None:
        return "it shows no position of the vehicle"
    now = wall()
    if not now - WINDOW_S - LEEWAY_S <= shown.time <= now + LEEWAY_S:
        return "the position it shows is not of the last five minutes"
    rows, _ = await tracks.track(key, shown.time - WINDOW_S, shown.time + WINDOW_S, 1000, None)
    fixes = [row for _, row in rows if row.latitude or row.longitude]
    if not fixes:
        return "the vehicle has reported no position around that time"
    nearest = min(fixes, key=lambda row: abs(row.time - shown.time))
    away = distance_m(shown, nearest.latitude, nearest.longitude)
    if away > NEAR_M + SPEED_MS * abs(nearest.time - shown.time):
        return f"the vehicle was {away / 1000:.0f} km from the position it shows"
    return ""
