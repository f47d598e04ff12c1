"""AMF0, the notation of FLV's script tags and of RTMP's commands (Adobe, Action Message Format 0).

::

    00 number f64   01 boolean u8   02 string u16 + UTF-8   03 object {u16 name, value}… 00 00 09   05 null   06 undefined
    08 ECMA array u32 count (approximate) + as object   0A strict array u32 count   0B date f64 + i16   0C long string u32

Values map to Python's: float, bool, str, dict (objects and ECMA arrays), list, None; ``Date`` for dates. Everything a peer
can make large is bounded.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from relay.errors import DecodeError, UsageError

MAX_DEPTH = 16  #: nested objects; real commands have three
MAX_PROPERTIES = 1024  #: in one value, in all
MAX_STRING = 65536  #: bytes of one string

_NUMBER = struct.Struct(">Bd")
_END = b"\x00\x00\x09"


class Date(NamedTuple):
    """Milliseconds since 1970 and the zone field, which is to be 0."""

    ms: float
    zone: int = 0


class EcmaArray(dict[str, object]):
    """A dict that is written as an ECMA array instead of an object; what is decoded from one is this, too."""


def encode(value: object, depth: int = 0) -> bytes:
    """One value. ``UsageError`` for what AMF0 has no form for."""
    if depth > MAX_DEPTH:
        raise UsageError(f"AMF0: nested deeper than {MAX_DEPTH}")
    if isinstance(value, bool):
        return b"\x01\x01" if value else b"\x01\x00"
    if isinstance(value, int | float):
        return _NUMBER.pack(0, value)
    if isinstance(value, str):
        text = value.encode("utf-8")
        return struct.pack(">BH", 2, len(text)) + text if len(text) < 65536 else struct.pack(">BI", 12, len(text)) + text
    if value is None:
        return b"\x05"
    if isinstance(value, dict):
        head = struct.pack(">BI", 8, len(value)) if isinstance(value, EcmaArray) else b"\x03"
        return head + b"".join(encode_property(name, item, depth + 1) for name, item in value.items()) + _END
    if isinstance(value, Date):
        return struct.pack(">Bdh", 11, value.ms, value.zone)
    if isinstance(value, list | tuple):
        return struct.pack(">BI", 10, len(value)) + b"".join(encode(item, depth + 1) for item in value)
    raise UsageError(f"AMF0: no form for {type(value).__name__}")


def encode_property(name: str, value: object, depth: int = 0) -> bytes:
    """One property of an object: name and value."""
    text = name.encode("utf-8")
    if len(text) > 65535:
        raise UsageError(f"AMF0: a name of {len(text)} bytes")
    return struct.pack(">H", len(text)) + text + encode(value, depth)


class Reader:
    """Reads values one after another; ``DecodeError`` for anything broken or past a limit."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self.data = data
        self.offset = offset
        self._properties = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.offset

    def value(self, depth: int = 0) -> object:
        """The next value."""
        if depth > MAX_DEPTH:
            raise DecodeError("AMF0", self.offset, f"nested deeper than {MAX_DEPTH}")
        kind = self._take(1)[0]
        if kind == 0:
            number: float = struct.unpack(">d", self._take(8))[0]
            return number
        if kind == 1:
            return self._take(1)[0] != 0
        if kind == 2:
            return self._string(2)
        if kind == 3:
            return self._properties_into({}, depth)
        if kind in (5, 6):
            return None
        if kind == 8:
            self._take(4)  # the count is only a hint
            return self._properties_into(EcmaArray(), depth)
        if kind == 10:
            count: int = struct.unpack(">I", self._take(4))[0]
            if count > MAX_PROPERTIES:
                raise DecodeError("AMF0", self.offset, f"an array of {count} values")
            return [self.value(depth + 1) for _ in range(count)]
        if kind == 11:
            ms, zone = struct.unpack(">dh", self._take(10))
            return Date(ms, zone)
        if kind == 12:
            return self._string(4)
        raise DecodeError("AMF0", self.offset - 1, f"type {kind:#04x} is not known")

    def property(self, depth: int = 0) -> tuple[str, object]:
        """The next name and value."""
        return self._string(2), self.value(depth)

    def _properties_into(self, target: dict[str, object], depth: int) -> dict[str, object]:
        # seen: writers that leave the object's end out, so the end of the data ends the object as well
        while self.left:
            if self.data.startswith(_END, self.offset):
                self.offset += 3
                break
            self._properties += 1
            if self._properties > MAX_PROPERTIES:
                raise DecodeError("AMF0", self.offset, f"more than {MAX_PROPERTIES} properties")
            name, item = self.property(depth + 1)
            target[name] = item
        return target

    def _string(self, width: int) -> str:
        size = int.from_bytes(self._take(width), "big")
        if size > MAX_STRING:
            raise DecodeError("AMF0", self.offset, f"a string of {size} bytes")
        return self._take(size).decode("utf-8", "replace")

    def _take(self, size: int) -> bytes:
        if self.left < size:
            raise DecodeError("AMF0", self.offset, f"needs {size} bytes, {self.left} left")
        piece = self.data[self.offset : self.offset + size]
        self.offset += size
        return piece
