"""A message taken apart for people: one row for everything that was read, and what could not be read named at the end."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from relay.errors import DecodeError
from relay.wire.codecs import Bcd, Codec, Fault
from relay.wire.groups import Entry, Family, RawEntry
from relay.wire.record import Bound, FieldInfo, Record, f


@dataclass(slots=True)
class Row:
    """One line: where, which bytes, what they are called, what they say."""

    offset: int
    data: bytes
    name: str  #: path in the message: ``items[0].mileage``
    label: str  #: the standard's name
    english: str
    type: str
    value: str  #: as it stands on the wire; empty for headings
    meaning: str  #: scaled, with unit; names of flags and codes
    depth: int
    kind: str = "field"  #: "field", "group", "rest" (not understood) or "error"


@dataclass(slots=True)
class Dump:
    """All rows of a message, the fields that could be read, and the fault that stopped the reading, if one did."""

    rows: list[Row]
    record: Record
    error: DecodeError | None = None


_RAW = f("原始数据", "raw value, layout unknown")


class Walk:
    """Collects rows while codecs read."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.depth = 0
        self.failed: Bound | None = None  #: the innermost field that could not be read

    def fields(self, record: Record, data: bytes, pos: int, end: int, path: str = "") -> int:
        """Read all fields of ``record``; the position after them."""
        plan = record.plan(record.edition)
        for name in type(record).wire_fields:
            setattr(record, name, None)
        for bound in plan.fields:
            if not bound.present(record, pos, end):
                continue
            try:
                value, pos = bound.codec.show(self, bound.info, f"{path}.{bound.name}" if path else bound.name, data, pos, end, record)
            except Fault as fault:
                self.failed = self.failed or bound
                raise fault.under(bound.name) from None
            setattr(record, bound.name, value)
        return pos

    def row(self, pos: int, data: bytes, path: str, info: FieldInfo, value: Any, codec: Codec) -> None:
        """A value."""
        shown = value.hex() if isinstance(value, bytes) else str(value)
        text = meaning(info, value, codec)
        if info.note:
            text = f"{text}; {info.note}" if text else info.note
        self.rows.append(Row(pos, data, path, info.label, info.english, codec.describe(), shown, text, self.depth))

    def heading(self, pos: int, data: bytes, path: str, info: FieldInfo, codec: Codec, value: str = "") -> None:
        """The line above a nested record or list (with its count or length, if it has one)."""
        self.rows.append(Row(pos, data, path, info.label, info.english, codec.describe(), value, "", self.depth, "group"))

    def rest(self, pos: int, data: bytes, path: str = "", problem: str = "not part of the known layout") -> None:
        """Bytes that no field explains."""
        if data:
            self.rows.append(Row(pos, data, f"{path}.trailing" if path else "trailing", "", "", "", data.hex(), problem, self.depth, "rest"))

    def entry(self, family: Family, entry: Entry, path: str, data: bytes, pos: int) -> None:
        """One id-length-value entry whose head is at ``pos``."""
        start = pos + family.head.size
        id, size = family.head.unpack_from(data, pos)
        cls = family.classes.get(id)
        digits = family.head.size * 2 - 2
        heading = f(cls.LABEL if cls else "", cls.ENGLISH if cls else "unknown id")
        self.rows.append(
            Row(
                pos, data[pos:start], path, heading.label, heading.english, "", f"0x{id:0{digits}X}, {size} byte{'s' * (size != 1)}", cls.NOTE if cls else "",
                self.depth, "group",
            )
        )  # fmt: skip
        with self.deeper():
            if isinstance(entry, RawEntry):
                if size:
                    value = data[start : start + size]
                    note = "length is not one this id allows" if cls else ""
                    self.rows.append(Row(start, value, f"{path}.raw", _RAW.label, _RAW.english, f"BYTE[{size}]", value.hex(), note, self.depth))
            else:
                again = type(entry).__new__(type(entry))
                again.edition = entry.edition
                again.trailing = b""
                stop = self.fields(again, data, start, start + size, path)
                self.rest(stop, data[stop : start + size], path)

    @contextlib.contextmanager
    def deeper(self) -> Iterator[None]:
        """Rows inside are one level down."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


def dump(cls: type[Record], data: bytes, edition: int = 0) -> Dump:
    """Take a message apart. Never raises for what ``data`` holds: the rows before a fault stay, and the rest is shown as bytes."""
    record = cls.__new__(cls)
    record.edition = cls.layout(data, edition or cls.DEFAULT_EDITION)
    record.trailing = b""
    walk = Walk()
    error = None
    try:
        pos = walk.fields(record, data, 0, len(data))
    except Fault as fault:
        error = DecodeError(f"{cls.__name__}.{fault.path}", fault.offset, fault.problem)
        pos = max([row.offset + len(row.data) for row in walk.rows], default=0)
        info = walk.failed.info if walk.failed else f()
        kind = walk.failed.codec.describe() if walk.failed else ""
        problem = f"cannot be read: {fault.problem}"
        walk.rows.append(Row(pos, data[pos:], fault.path, info.label, info.english, kind, data[pos:].hex(), problem, 0, "error"))
    else:
        record.trailing = data[pos:]
        walk.rest(pos, record.trailing)
    return Dump(walk.rows, record, error)


def meaning(info: FieldInfo, value: Any, codec: Codec) -> str:
    """What a value says beyond its digits: scaled with its unit, the name of a code, the flags that are set, a time spelt out."""
    if isinstance(codec, Bcd) and codec.time:
        text = spell_time(value)
        return f"{text} {codec.zone}" if codec.zone and ":" in text else text
    if not isinstance(value, int):
        return info.unit
    if info.enum is not None:
        text = _enum_text(info.enum, value)
        if text:
            return text
    if info.bits is not None:
        return ", ".join(_flags(info.bits, value))
    if info.negative_above and value > info.negative_above:
        kept = meaning(dataclasses.replace(info, negative_above=0), value - (1 << 8 * (codec.width or 0)), codec)
        return f"{kept} (read as two's complement)"
    if info.scale != 1:
        decimals = max(0, len(f"{info.scale:f}".rstrip("0").partition(".")[2]))
        return f"{value * info.scale:.{decimals}f} {info.unit}".rstrip()
    return f"{value} {info.unit}" if info.unit else ""


def _enum_text(enum: Any, value: int) -> str:
    if isinstance(enum, Mapping):
        return str(enum.get(value, ""))
    try:
        return str(enum(value).name).lower().replace("_", " ")
    except ValueError:
        return ""


def _flags(bits: Mapping[Any, Any], value: int) -> Iterator[str]:
    known = 0
    for bit, text in bits.items():
        if isinstance(bit, tuple):
            low, high = bit
            mask = (1 << high - low + 1) - 1
            known |= mask << low
            part = value >> low & mask
            if isinstance(text, Mapping):
                if part in text:
                    yield str(text[part])
            elif part:
                yield f"{text}: {part}"
        else:
            known |= 1 << bit
            on = value >> bit & 1
            if isinstance(text, tuple):
                yield str(text[on])
            elif on:
                yield str(text)
    unknown = value & ~known
    if unknown > 0:
        yield "bit " + ", ".join(str(bit) for bit in range(unknown.bit_length()) if unknown >> bit & 1)


def spell_time(digits: str) -> str:
    """``261120153045`` -> ``2026-11-20 15:30:45``; zeros and impossible dates are said to be so."""
    if not digits.strip("0"):
        return "none"
    if not digits.isdigit() or len(digits) not in (12, 4, 8):
        return "not a time" if len(digits) in (12, 4, 8) else ""
    if len(digits) == 4:
        return f"{digits[:2]}:{digits[2:]}"
    if len(digits) == 8:
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
    day = f"20{digits[:2]}-{digits[2:4]}-{digits[4:6]}"
    clock = f"{digits[6:8]}:{digits[8:10]}:{digits[10:]}"
    if digits[:6] == "000000":
        return f"daily {clock}"
    possible = 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31 and int(digits[6:8]) < 24 and int(digits[8:10]) < 60
    return f"{day} {clock}" + ("" if possible and int(digits[10:]) < 61 else " (impossible)")
