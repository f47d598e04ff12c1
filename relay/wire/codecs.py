"""How single values stand on the wire: one small class for each kind, used as the metadata of an ``Annotated`` type.

A codec knows four directions: ``read`` and ``write`` for the wire, ``to_fields`` and ``from_fields`` for JSON. Codecs with a ``format`` are
fixed-size; neighbours of that kind are read together by one precompiled ``struct.Struct``.

Errors inside one message travel as ``Fault`` (path and offset grow on the way out) and leave it as ``DecodeError``; a value that does not
fit its field is a ``FieldError``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from relay.errors import UsageError
from relay.wire.text import ENCODING, RawText, read_padded, read_text

if TYPE_CHECKING:
    from relay.wire.dump import Walk
    from relay.wire.record import FieldInfo, Record


class Fault(Exception):  # noqa: N818 (it never leaves this package)
    """A place of a message that cannot be read; caught at the message's border."""

    def __init__(self, offset: int, problem: str) -> None:
        super().__init__(problem)
        self.path = ""
        self.offset = offset
        self.problem = problem

    def under(self, name: str) -> Fault:
        """The same fault, seen from one level up."""
        self.path = _join(name, self.path)
        return self


class FieldError(UsageError):
    """A value that cannot stand in its field. Our own code's fault; tools that take fields from people catch it and say it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem

    def under(self, name: str) -> FieldError:
        """The same error, seen from one level up."""
        return FieldError(_join(name, self.path), self.problem)


def _join(name: str, path: str) -> str:
    return name if not path else f"{name}{path}" if path.startswith("[") else f"{name}.{path}"


def short(pos: int, need: int, end: int) -> Fault:
    """The fault of a field that the body is too short for."""
    left = max(end - pos, 0)
    return Fault(pos, f"needs {need} byte{'s' * (need != 1)}, {left} left")


class Codec:
    """Base of all kinds of fields."""

    #: struct format of one item, when the codec may be read together with its neighbours
    format: str = ""
    #: turns the struct's item into the value and back; None = they are the same
    load: Callable[[Any], Any] | None = None
    store: Callable[[Any], Any] | None = None
    #: an empty rest is a value ("" or b"" or []), not an absence
    takes_rest = False
    #: None is a value of its own, which takes no bytes wherever the field stands
    nullable = False
    #: the field that holds this one's size
    sized_by: str = ""

    def at(self, edition: int) -> Codec:
        """The codec as that edition has it."""
        return self

    def bind(self, inner: Any, edition: int) -> Codec:
        """The codec with the type it is the metadata of: ``list[X]`` gives the list codecs their element."""
        return self

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        """The value at ``pos`` and the position after it; ``Fault`` if it is not there."""
        raise NotImplementedError

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        """Append the value's bytes; ``FieldError`` if it does not fit."""
        raise NotImplementedError

    def to_fields(self, value: Any) -> Any:
        """The value in JSON's types."""
        return value

    def from_fields(self, value: Any, edition: int) -> Any:
        """The value from JSON's types; ``FieldError`` if it is of the wrong type."""
        raise NotImplementedError

    def to_exact(self, value: Any) -> Any:
        """``to_fields`` with what records inside remember."""
        return self.to_fields(value)

    def memory(self, value: Any) -> Mapping[str, Any]:
        """What a value remembers of the wire beside what it says, in JSON's types: ``exact_fields()`` has it as ``name.raw`` and the like."""
        return {"raw": value.raw.hex()} if isinstance(value, RawText) else {}

    def recall(self, given: Any, memory: Mapping[str, Any], edition: int) -> Any:
        """``from_fields`` for a value with such a memory, which is dropped if the value has been changed since and it says something else."""
        raw = from_hex(memory.get("raw", ""))
        return RawText.of(given, raw) if isinstance(given, str) and raw and read_text(raw) == given else self.from_fields(given, edition)

    def measure(self, value: Any) -> int:
        """What the field named by ``sized_by`` must hold."""
        return len(value)

    def describe(self) -> str:
        """The type's name in the standards' words."""
        raise NotImplementedError

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        """Like ``read``, with a row for people for everything that is read."""
        value, stop = self.read(data, pos, end, record)
        walk.row(pos, data[pos:stop], path, info, value, self)
        return value, stop

    @property
    def width(self) -> int | None:
        """Bytes on the wire if that is fixed."""
        return struct.calcsize(">" + self.format) if self.format else None


class _Single(Codec):
    """A codec that is one item of a struct; alone it reads by itself."""

    def _layout(self) -> struct.Struct:
        return struct.Struct(">" + self.format)

    def __init__(self) -> None:
        self._struct = self._layout()

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        stop = pos + self._struct.size
        if stop > end:
            raise short(pos, self._struct.size, end)
        (value,) = self._struct.unpack_from(data, pos)
        return (value if self.load is None else self.load(value)), stop

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        try:
            out += self._struct.pack(value if self.store is None else self.store(value))
        except (struct.error, TypeError) as problem:
            raise FieldError("", f"{value!r} does not fit into {self.describe()}") from problem


class Int(_Single):
    """An integer, big-endian: ``Int("B")``; the letters are those of ``struct``."""

    _NAMES = {"B": "BYTE", "H": "WORD", "I": "DWORD", "Q": "QWORD", "b": "INT8", "h": "INT16", "i": "INT32", "q": "INT64"}

    def __init__(self, format: str) -> None:
        self.format = format
        super().__init__()
        bits = 8 * self._struct.size
        self.low, self.high = (0, (1 << bits) - 1) if format.isupper() else (-(1 << bits - 1), (1 << bits - 1) - 1)

    def from_fields(self, value: Any, edition: int) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise FieldError("", f"must be a whole number, not {value!r}")
        if not self.low <= value <= self.high:
            raise FieldError("", f"{value} is outside {self.low}..{self.high}")
        return value

    def describe(self) -> str:
        return self._NAMES[self.format]


def _by_edition(first: Any, later: Mapping[int, Any] | None, edition: int) -> Any:
    """The choice that holds in ``edition``: the latest of ``later`` that is not newer."""
    known = [since for since in later or () if since <= edition]
    return later[max(known)] if later and known else first


class Bcd(_Single):
    """``size`` bytes of packed digits. The value is the string of 2·size digits, hex letters included: devices send them.

    ``time``: they are a time or a date, in ``zone`` if it has one.
    """

    def __init__(self, size: int, time: bool = False, zone: str = "") -> None:
        self.size = size
        self.time = time
        self.zone = zone
        self.format = f"{size}s"
        super().__init__()

    load = staticmethod(bytes.hex)

    def store(self, value: str) -> bytes:
        try:
            raw = bytes.fromhex(value)
        except (ValueError, TypeError) as problem:
            raise FieldError("", f"{value!r} is not a string of digits") from problem
        if len(raw) != self.size or len(value) != 2 * self.size:
            raise FieldError("", f"{value!r} must have {2 * self.size} digits")
        return raw

    def from_fields(self, value: Any, edition: int) -> Any:
        self.store(value)
        return value

    def describe(self) -> str:
        return f"BCD[{self.size}]"


class Blob(_Single):
    """``size`` bytes as they are; JSON has them as hex."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.format = f"{size}s"
        super().__init__()

    def store(self, value: bytes) -> bytes:
        if len(value) != self.size:
            raise FieldError("", f"must have {self.size} bytes, has {len(value)}")
        return value

    def to_fields(self, value: Any) -> Any:
        return value.hex()

    def from_fields(self, value: Any, edition: int) -> Any:
        return self.store(from_hex(value))

    def describe(self) -> str:
        return f"BYTE[{self.size}]"


class Fixed(_Single):
    """Text in a field of ``size`` bytes, padded with NULs behind; ``later`` gives the width of later editions: ``Fixed(5, {2019: 11})``."""

    load = staticmethod(read_padded)

    def __init__(self, size: int, later: Mapping[int, int] | None = None) -> None:
        self.size = size
        self.later = later
        self.format = f"{size}s"
        super().__init__()

    def at(self, edition: int) -> Codec:
        size = _by_edition(self.size, self.later, edition)
        return self if size == self.size else Fixed(size)

    def store(self, value: str) -> bytes:
        raw = encode_text(value)
        if len(raw) > self.size:
            raise FieldError("", f"{str(value)!r} needs {len(raw)} bytes, the field has {self.size}")
        return raw.ljust(self.size, b"\0")

    def to_fields(self, value: Any) -> Any:
        return str(value)

    def from_fields(self, value: Any, edition: int) -> Any:
        if not isinstance(value, str):
            raise FieldError("", f"must be text, not {value!r}")
        self.store(value)
        return value

    def recall(self, given: Any, memory: Mapping[str, Any], edition: int) -> Any:
        fits = len(from_hex(memory.get("raw", ""))) == self.size
        return super().recall(given, memory, edition) if fits else self.from_fields(given, edition)

    def describe(self) -> str:
        return f"STRING[{self.size}]"


def encode_text(value: str) -> bytes:
    """The wire's bytes of a text value, or ``FieldError``."""
    if isinstance(value, RawText):
        return value.raw
    try:
        return value.encode(ENCODING)
    except (UnicodeEncodeError, AttributeError) as problem:
        raise FieldError("", f"{value!r} is not text that GBK can carry") from problem


def from_hex(value: Any) -> bytes:
    """Bytes from JSON's hex string, or ``FieldError``."""
    if not isinstance(value, str):
        raise FieldError("", f"must be a string of hex digits, not {value!r}")
    try:
        return bytes.fromhex(value)
    except ValueError as problem:
        raise FieldError("", f"{value!r} is not a string of hex digits") from problem


class _Extent(Codec):
    """Common part of values whose size is a prefix (``prefix="B"``), another field (``by="length_field"``) or what is left.

    ``later`` gives the prefix of later editions: ``Text("", {2019: "B"})`` is the rest of the body before 2019.
    """

    def __init__(self, prefix: str = "", later: Mapping[int, str] | None = None, by: str = "") -> None:
        self.prefix = prefix
        self.later = later
        self.sized_by = by
        self.takes_rest = not (prefix or by)
        self._prefix = struct.Struct(">" + prefix) if prefix else None

    def at(self, edition: int) -> Codec:
        return type(self)(_by_edition(self.prefix, self.later, edition), None, self.sized_by) if self.later else self

    def extent(self, data: bytes, pos: int, end: int, record: Record) -> tuple[int, int]:
        """Where the content begins and ends."""
        if self._prefix is None:
            if not self.sized_by:
                return pos, end
            size = getattr(record, self.sized_by)
        else:
            if pos + self._prefix.size > end:
                raise short(pos, self._prefix.size, end)
            (size,) = self._prefix.unpack_from(data, pos)
            pos += self._prefix.size
        if pos + size > end:
            raise short(pos, size, end)
        return pos, pos + size

    def wrap(self, content: bytes, out: bytearray) -> None:
        """Append the content with its prefix."""
        if self._prefix is not None:
            limit = 1 << 8 * self._prefix.size
            if len(content) >= limit:
                raise FieldError("", f"{len(content)} bytes are more than the length field can say ({limit - 1})")
            out += self._prefix.pack(len(content))
        out += content

    def _sized(self, what: str) -> str:
        if self.prefix:
            return f"{Int._NAMES[self.prefix]} n + {what}[n]"
        return f"{what}[{self.sized_by}]" if self.sized_by else f"{what} (rest)"


class Text(_Extent):
    """Text with a length prefix, a length field elsewhere, or to the end."""

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        start, stop = self.extent(data, pos, end, record)
        return read_text(data[start:stop]), stop

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        self.wrap(encode_text(value), out)

    def measure(self, value: Any) -> int:
        return len(encode_text(value))

    def to_fields(self, value: Any) -> Any:
        return str(value)

    def from_fields(self, value: Any, edition: int) -> Any:
        if not isinstance(value, str):
            raise FieldError("", f"must be text, not {value!r}")
        encode_text(value)
        return value

    def describe(self) -> str:
        return self._sized("STRING")


class Bytes(_Extent):
    """Bytes with a length prefix, a length field elsewhere, or to the end; JSON has them as hex."""

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        start, stop = self.extent(data, pos, end, record)
        return data[start:stop], stop

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        self.wrap(value, out)

    def to_fields(self, value: Any) -> Any:
        return value.hex()

    def from_fields(self, value: Any, edition: int) -> Any:
        return from_hex(value)

    def describe(self) -> str:
        return self._sized("BYTE")
