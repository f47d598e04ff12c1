"""Parameters by name or number, with the standard's own ranges: what ``params`` can put on the wire is more than what a terminal should be given.

``entry(fields, edition)`` takes ``{"id": 1, "value": 45}``, ``{"name": "heartbeat_interval", "value": 45}`` or, for those with fields of their own,
``{"id": 0x7C, "wake_mode": 3, …}``; ``{"id": 0xF001, "raw": "00ff"}`` is for vendors' ids. ``shown(entry)`` is the other way, with names and units
for people. JT/T 808 table 12, JT/T 1078-2016 section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import EnumMeta
from itertools import pairwise
from typing import Any

from relay.jt808.params import PARAMETERS, AvChannels, SimpleParameter, WakeMode
from relay.wire import FieldError
from relay.wire.groups import Entry, RawEntry

#: the ranges that the standard names, both ends included; ids not listed take what their type holds
RANGES: dict[int, tuple[int, int]] = {
    0x0018: (0, 65535), 0x0019: (0, 65535), 0x001B: (0, 65535), 0x001C: (0, 65535),
    0x0001: (1, 86400), 0x0022: (1, 86400), 0x0027: (1, 86400), 0x0028: (1, 86400), 0x0029: (1, 86400),
    0x0030: (0, 179), 0x005E: (0, 180),
    0x0070: (1, 10), 0x0071: (0, 255), 0x0072: (0, 127), 0x0073: (0, 127), 0x0074: (0, 255),
}  # fmt: skip

#: fields of the parameters with fields of their own
FIELD_RANGES: dict[str, tuple[int, int]] = {
    "live_keyframe_interval": (1, 1000), "store_keyframe_interval": (1, 1000), "live_frame_rate": (1, 120), "store_frame_rate": (1, 120),
    "storage_threshold": (1, 99), "wake_mode": (0, 7), "wake_conditions": (0, 7), "wake_weekdays": (0, 127), "wake_periods_enabled": (0, 15),
    "channel_type": (0, 2), "ptz_connected": (0, 1), "audio_output_enabled": (0, 1),
}  # fmt: skip

#: enumerations that also hold what a maker defines
CUSTOM = range(100, 128)

#: what a secret is shown as
STARS = "***"

#: 0x007C: four spans of a day
PERIODS = 4


def number(name: str | int) -> int:
    """The id that a name or number means: 1, "1", "0x0001", "heartbeat_interval". ``FieldError`` for what is none."""
    if isinstance(name, bool) or not isinstance(name, int | str):
        raise FieldError("id", f"{name!r} is neither a number nor a name")
    if isinstance(name, int):
        if 0 <= name <= 0xFFFFFFFF:
            return name
        raise FieldError("id", f"{name} is no parameter id")
    known = PARAMETERS.names.get(name)
    if known is not None:
        return known.ID
    try:
        return number(int(name, 0))
    except ValueError:
        raise FieldError("name", f"no parameter is called {name!r}") from None


def entry(fields: Mapping[str, Any], edition: int) -> Entry:
    """The parameter that these fields describe, checked. ``FieldError`` says what is wrong."""
    given = dict(fields)
    named: Any = given.pop("name", None)
    told = given.pop("id", None)
    if named is None and told is None:
        raise FieldError("id", "is missing (or a name)")
    key = number(told if told is not None else named)
    if told is not None and named and number(named) != key:
        raise FieldError("name", f"{named} is not 0x{key:04X}")
    for shown_only in ("hex", "label", "english", "unit", "note"):  # what a list of ours has beside the value may come back with it
        given.pop(shown_only, None)
    where = f"0x{key:04X}"
    try:
        made = PARAMETERS.from_fields({"id": key, **given}, edition)
    except FieldError as problem:
        raise problem.under(where) from None
    if isinstance(made, RawEntry):
        if len(made.raw) > 255:
            raise FieldError(where, f"{len(made.raw)} bytes; a parameter has at most 255")
        return made
    check(made)
    try:
        size = len(made.value_bytes(edition))
    except FieldError as problem:
        raise problem.under(where) from None
    if size > 255:
        raise FieldError(where, f"{size} bytes; a parameter has at most 255")
    return made


def check(made: Entry) -> None:
    """``FieldError`` where a value is outside the standard's range."""
    where = f"0x{made.id:04X}"
    if isinstance(made, SimpleParameter):
        _simple(made, where)
    for name, info in type(made).wire_fields.items():
        value = getattr(made, name, None)
        if isinstance(value, list):
            for place, record in enumerate(value):
                for inner, inner_info in type(record).wire_fields.items():
                    _field(f"{where}.{name}[{place}].{inner}", inner, inner_info, getattr(record, inner))
        else:
            _field(f"{where}.{name}", name, info, value)
    if isinstance(made, AvChannels):
        announced = made.av_channel_count + made.audio_channel_count + made.video_channel_count
        if announced != len(made.channels):
            raise FieldError(f"{where}.channels", f"{len(made.channels)} entries, and the three counts come to {announced}")
    if isinstance(made, WakeMode):
        _periods(made, where)


def _simple(made: SimpleParameter, where: str) -> None:
    value = made.value
    if value == STARS and type(made).wire_fields["value"].secret:
        raise FieldError(where, "is shown as stars; give the real value or leave it out")
    if made.id in RANGES:
        low, high = RANGES[made.id]
        if not low <= value <= high:
            raise FieldError(where, f"{value} is not within {low} to {high}")
    if made.id == 0x0032:
        hours, minutes = (value[0], value[2]), (value[1], value[3])
        if max(hours) > 23 or max(minutes) > 59:
            raise FieldError(where, "start hour, start minute, end hour, end minute, one byte each")
    if made.id in (0x0064, 0x0065):
        interval, long_unit = value >> 17, value >> 16 & 1
        least = 0 if long_unit else 5 if made.id == 0x0064 else 100
        if value & 0x1F and interval < max(1, least):
            raise FieldError(where, f"an interval of {interval}; at least {max(1, least)} of that unit")


def _field(where: str, name: str, info: Any, value: Any) -> None:
    if not isinstance(value, int):
        return
    if name in FIELD_RANGES:
        low, high = FIELD_RANGES[name]
        if not low <= value <= high:
            raise FieldError(where, f"{value} is not within {low} to {high}")
    words = info.enum
    if words is None:
        return
    allowed = {int(one) for one in words} if isinstance(words, EnumMeta | dict) else set()
    if allowed and value not in allowed and not (("encode_mode" in name or "resolution" in name) and value in CUSTOM):
        raise FieldError(where, f"{value} is none of {', '.join(map(str, sorted(allowed)))}")


def _periods(made: WakeMode, where: str) -> None:
    spans: list[tuple[str, str, int]] = []
    for period in range(1, PERIODS + 1):
        wake, sleep = getattr(made, f"wake_time_{period}"), getattr(made, f"sleep_time_{period}")
        for name, text in ((f"wake_time_{period}", wake), (f"sleep_time_{period}", sleep)):
            if not text.isdigit() or int(text[:2]) > 23 or int(text[2:]) > 59:
                raise FieldError(f"{where}.{name}", f"{text} is no time of day (HHMM)")
        if made.wake_periods_enabled >> (period - 1) & 1:
            if wake >= sleep:
                raise FieldError(f"{where}.sleep_time_{period}", f"{sleep} is not after {wake}")
            spans.append((wake, sleep, period))
    spans.sort()
    for (_, end, one), (begin, _, other) in pairwise(spans):
        if begin < end:
            raise FieldError(f"{where}.wake_time_{other}", f"periods {one} and {other} overlap")


def shown(made: Entry, secrets: bool = False) -> dict[str, Any]:
    """A parameter for people and programs: id, hex, name, labels, unit, and its value or fields. Secrets are starred unless wanted."""
    kind = PARAMETERS.classes.get(made.id)
    view: dict[str, Any] = {"id": made.id, "hex": f"0x{made.id:04X}", "name": kind.NAME if kind is not None else ""}
    if kind is not None:
        view["label"], view["english"] = kind.LABEL, kind.ENGLISH
    if isinstance(made, SimpleParameter):
        info = type(made).wire_fields["value"]
        if info.unit:
            view["unit"] = info.unit if info.scale == 1 else f"{info.scale:g} {info.unit}"
        if info.secret and not secrets and made.value:
            return {**view, "value": STARS}
    return {**made.fields(), **view}
