"""Bytes out of hex dumps as programs print them, with offsets and ASCII columns.

    xxd             00000000: 7e00 0200 0001 3800  ~.....8.
    hexdump -C      00000000  7e 00 02 00 00 01 38 00  13 80 00 00 07 2b 7e     |~.....8......+~|
    Wireshark       0000   7e 00 02 00 00 01 38 00 13 80 00 00 07 2b 7e      ~.....8......+~
    follow stream   00000000  7e 00 …                 and the other side's lines 4 columns to the right, counted apart
    tcpdump -X      \t0x0000:  4500 003c …             od -tx1: octal offsets

A text is a dump when every line begins with an offset, all lines are equally long, and the offsets agree with the bytes between them; nothing else would tell
an offset from data, or an ASCII column that looks like digits from digits. ``*`` repeats the line above. A packet whose IP and TCP or UDP headers come along is
reduced to what it carries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.cli.packets import payload_of

#: the offset, with what programs put around it, and the rest of the line
_LINE = re.compile(r"^(?P<indent>\s*)(?:0[xX])?(?P<offset>[0-9A-Fa-f]{3,16})h?(?P<mark>:?)(?P<gap>[ \t]*)(?P<rest>.*?)\s*$")
_GROUP = re.compile(r"[0-9A-Fa-f]+")
_BASES = (16, 8, 10)
#: of a repeated line (``*``)
_FILL_MAX = 1 << 20


@dataclass(slots=True)
class _Line:
    indent: int
    offset: str
    rest: str
    repeated: bool  #: ``*`` stood above it


def undump(text: str) -> bytes | None:
    """The bytes of a dump; None when the text is none (plain hex, for instance)."""
    lines = _lines(text)
    if not lines:
        return None
    for base in _BASES:
        found = _Reading(base).read(lines)
        if found is not None:
            return b"".join(payload_of(part) or part for part in found)
    return None


def _lines(text: str) -> list[_Line]:
    """The lines with their offsets; none at all if one has no offset."""
    lines: list[_Line] = []
    repeated = False
    for line in text.splitlines():
        if not line.strip():
            continue
        if line.strip() == "*":
            repeated = True
            continue
        found = _LINE.match(line)
        if found is None or (found["rest"] and not found["mark"] and not found["gap"]):
            return []
        lines.append(_Line(len(found["indent"].expandtabs(8)), found["offset"], found["rest"], repeated))
        repeated = False
    if len(lines) == 1:
        (line_,) = lines
        marked = re.match(r"^\s*(?:0[xX])?0+h?(:|\s{2,})", text)
        if not marked or not line_.rest:
            return []
    return lines


class _Reading:
    """One attempt, with offsets of one base."""

    def __init__(self, base: int) -> None:
        self._base = base

    def read(self, lines: list[_Line]) -> list[bytes] | None:
        """The bytes, apart where offsets begin again (another packet); None when the offsets do not fit them."""
        try:
            offsets = [int(line.offset, self._base) for line in lines]
        except ValueError:
            return None
        following = _following(lines)
        parts: list[bytearray] = []
        sides: dict[int, _Side] = {}  # by indentation: the two sides of a followed stream
        for place, line in enumerate(lines):
            offset, side = offsets[place], sides.get(line.indent)
            if side is not None and line.repeated and not side.repeat(offset):
                return None
            if side is None or (offset == 0 and side.bytes):
                side = sides[line.indent] = _Side(offset)
                parts.append(side.bytes)
            elif offset != side.next:
                return None
            after = following[place]
            size = offsets[after] - offset if after and not lines[after].repeated else 0
            data = _bytes_of(line.rest, max(size, 0))
            if data is None:
                return None
            if size > 0 and size != (side.width or size) and (size > side.width or lines[after].rest):
                return None  # lines of several lengths: offsets of another base, or some are missing
            side.width = side.width or max(size, 0)
            side.bytes += data
        return [bytes(part) for part in parts if part] or None


class _Side:
    """What offsets count."""

    __slots__ = ("bytes", "start", "width")

    def __init__(self, start: int) -> None:
        self.start = start
        self.bytes = bytearray()
        self.width = 0  #: of its lines; 0 = not known yet

    @property
    def next(self) -> int:
        """The offset due next."""
        return self.start + len(self.bytes)

    def repeat(self, upto: int) -> bool:
        """Fill with the last line up to an offset; False if that cannot be."""
        missing = upto - self.next
        if not 0 <= missing <= _FILL_MAX or len(self.bytes) < 16:
            return False
        self.bytes += (bytes(self.bytes[-16:]) * (missing // 16 + 1))[:missing]
        return True


def _following(lines: list[_Line]) -> list[int]:
    """For each line the next one of its indentation; 0 = none."""
    result = [0] * len(lines)
    seen: dict[int, int] = {}
    for place in range(len(lines) - 1, -1, -1):
        result[place] = seen.get(lines[place].indent, 0)
        seen[lines[place].indent] = place
    return result


def _bytes_of(rest: str, size: int) -> bytes | None:
    """The bytes in a line behind its offset: ``size`` of them, or (0) as many as there seem to be; None if they are not there."""
    if not rest:
        return b""
    if size:
        digits = ""
        for group in re.finditer(r"\S+", rest):
            if len(digits) >= 2 * size or not _GROUP.fullmatch(group[0]):
                break
            digits += group[0]
        return bytes.fromhex(digits) if len(digits) == 2 * size else None
    other = next((found.start() for found in re.finditer(r"\S+", rest) if not _GROUP.fullmatch(found[0])), len(rest))
    hex_part = rest[:other]
    best: bytes | None = None
    for end in [found.start() for found in re.finditer(r"\s{2,}", hex_part)] + [len(hex_part)]:
        digits = re.sub(r"\s", "", hex_part[:end])
        if len(digits) % 2 or not _GROUP.fullmatch(digits):
            continue
        data = bytes.fromhex(digits)
        column = rest[end:].strip()
        if column and len(column) == len(data) and _shows(column, data):
            return data
        best = data
    return best


def _shows(column: str, data: bytes) -> bool:
    """Whether an ASCII column shows these bytes; dots and the like stand for what cannot be printed."""
    return all(shown == chr(byte) or not 0x20 < byte < 0x7F for shown, byte in zip(column, data, strict=False))
