"""The vehicle round a simulated terminal: where it is at any time, and the location it reports (0x0200).

It goes round a loop of streets, slower in the bends, stops at two lights, and is a function of the time: terminals that start at different
places follow one another.
"""

from __future__ import annotations

import calendar
import math
import time
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from relay.jt808.items import Fuel, GnssSatellites, Mileage, NetworkSignal, RecorderSpeed, VideoAlarms, VideoLoss
from relay.jt808.messages.location import Location, LocationReport, Status

#: a loop in Shenzhen, degrees (latitude, longitude)
_CORNERS = (
    (22.53332, 114.05425), (22.53418, 114.06180), (22.53495, 114.06912), (22.53902, 114.06875), (22.54310, 114.06840),
    (22.54402, 114.06090), (22.54466, 114.05338), (22.54008, 114.05372), (22.53605, 114.05402),
)  # fmt: skip
_CRUISE_KMH = 46.0
_LIGHT_S = 18.0  #: how long it stands at a light
_LIGHTS = (2, 6)  #: the corners that have one
_METRES_PER_DEGREE = 111_195.0

#: the standards' own time zone
GMT8_S = 28800


class Place(NamedTuple):
    """Where the vehicle is and how it moves."""

    latitude: float
    longitude: float
    speed_kmh: float
    direction: int  #: degrees, clockwise from north
    odometer_km: float


class _Leg(NamedTuple):
    begin_s: float
    length_s: float
    metres: float
    begin_m: float
    a: tuple[float, float]
    b: tuple[float, float]
    stands: bool


@lru_cache(maxsize=1)
def _legs() -> tuple[_Leg, ...]:
    legs: list[_Leg] = []
    t = m = 0.0
    for index, (a, b) in enumerate(pairwise((*_CORNERS, _CORNERS[0]))):
        if index in _LIGHTS:
            legs.append(_Leg(t, _LIGHT_S, 0.0, m, a, b, True))
            t += _LIGHT_S
        north = (b[0] - a[0]) * _METRES_PER_DEGREE
        east = (b[1] - a[1]) * _METRES_PER_DEGREE * math.cos(math.radians(a[0]))
        metres = math.hypot(north, east)
        # speed along a leg is a half sine over a base: the mean of 0.4 + 0.6 * sin is 0.4 + 1.2 / pi
        length = metres / (_CRUISE_KMH / 3.6 * (0.4 + 1.2 / math.pi))
        legs.append(_Leg(t, length, metres, m, a, b, False))
        t += length
        m += metres
    return tuple(legs)


def place(seconds: float, ahead: float = 0.0) -> Place:
    """The place at a time; ``ahead`` is where on the loop it began, 0 to 1."""
    legs = _legs()
    turn_s = legs[-1].begin_s + legs[-1].length_s
    turn_m = legs[-1].begin_m + legs[-1].metres
    turns, t = divmod(seconds + ahead * turn_s, turn_s)
    leg = next(leg for leg in reversed(legs) if leg.begin_s <= t)
    x = (t - leg.begin_s) / leg.length_s
    scale = 0.4 + 1.2 / math.pi
    done = 0.0 if leg.stands else (0.4 * x + 0.6 * (1 - math.cos(math.pi * x)) / math.pi) / scale
    speed = 0.0 if leg.stands else _CRUISE_KMH * (0.4 + 0.6 * math.sin(math.pi * x))
    north, east = leg.b[0] - leg.a[0], (leg.b[1] - leg.a[1]) * math.cos(math.radians(leg.a[0]))
    return Place(
        leg.a[0] + (leg.b[0] - leg.a[0]) * done,
        leg.a[1] + (leg.b[1] - leg.a[1]) * done,
        speed,
        round(math.degrees(math.atan2(east, north))) % 360,
        (turns * turn_m + leg.begin_m + leg.metres * done) / 1000,
    )


def bcd_time(seconds: float, utc_offset_s: int = GMT8_S) -> str:
    """YYMMDDhhmmss."""
    return time.strftime("%y%m%d%H%M%S", time.gmtime(seconds + utc_offset_s))


def from_bcd(digits: str, utc_offset_s: int = GMT8_S) -> float | None:
    """Seconds since 1970 of YYMMDDhhmmss; None for zeros and impossible times."""
    try:
        parsed = time.strptime(digits, "%y%m%d%H%M%S")
    except ValueError:
        return None
    return calendar.timegm(parsed) - utc_offset_s


def report(wall: float, started: float, ahead: float = 0.0, *, alarm: int = 0, lost_channels: int = 0, edition: int = 2013) -> LocationReport:
    """What the terminal reports at ``wall`` (seconds since 1970) when the vehicle began to move at ``started``."""
    here = place(wall - started, ahead)
    moving = Status.MOVING if edition >= 2019 and here.speed_kmh else 0
    # bits 18 and 19: positioned by GPS and BeiDou
    status = Status.ACC | Status.LOCATED | 1 << 18 | 1 << 19 | moving
    video = VideoAlarms(video_alarm_flags=1 if lost_channels else 0)
    return LocationReport(
        alarm_flags=alarm,
        status_flags=int(status),
        latitude=round(here.latitude * 1e6),
        longitude=round(here.longitude * 1e6),
        altitude=32,
        speed=round(here.speed_kmh * 10),
        direction=here.direction,
        time=bcd_time(wall),
        items=[
            Mileage(mileage=round((12_345 + here.odometer_km) * 10)),
            Fuel(fuel=420),
            RecorderSpeed(recorder_speed=round(here.speed_kmh * 10)),
            video,
            VideoLoss(video_loss_channels=lost_channels),
            NetworkSignal(network_signal=24 + round(6 * math.sin(wall / 40))),
            GnssSatellites(gnss_satellites=14 + round(3 * math.cos(wall / 90))),
        ],
    )


def location(of: LocationReport) -> Location:
    """The same as a group inside another message (0x0201)."""
    return Location(
        alarm_flags=of.alarm_flags, status_flags=of.status_flags, latitude=of.latitude, longitude=of.longitude, altitude=of.altitude, speed=of.speed,
        direction=of.direction, time=of.time, items=of.items,
    )  # fmt: skip
