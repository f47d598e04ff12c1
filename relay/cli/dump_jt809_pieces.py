"""Where the frames of JT/T 809 are in bytes that people paste.

On a wire 5B always begins a frame and 5D always ends one. Logs and the test centre's dumps show frames already unescaped, where both may stand inside; such a
frame is told by its length, which leads to a 5D, and by its CRC. A frame without its flags is taken when it is all there is.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.errors import FrameError
from relay.jt809.framing import END, MAX_FRAME, START, crc16, unescape

_SHORTEST = 26


@dataclass(slots=True)
class Piece:
    """A stretch of the bytes: a frame, or what stands between frames."""

    data: bytes  #: with its flags, as pasted
    kind: str  #: "wire", "unescaped", "bare" (no flags) or "outside"
    content: bytes = b""  #: header, body and CRC, unescaped
    note: str = ""
    fault: str = ""  #: what is wrong with its flags and escapes


def cut(raw: bytes) -> list[Piece]:
    """All of ``raw`` in order."""
    bare = _bare(raw)
    if bare is not None:
        return [bare]
    pieces = []
    pos = end = 0
    while pos < len(raw):
        begin = raw.find(START, pos)
        if begin != pos:
            stop = len(raw) if begin < 0 else begin
            pieces.append(Piece(raw[pos:stop], "outside"))
            pos = stop
            continue
        if 0 <= end <= begin:
            end = raw.find(END, begin + 1)
        piece = _frame_at(raw, begin, end)
        pieces.append(piece)
        pos = begin + len(piece.data)
    return pieces


def _frame_at(raw: bytes, begin: int, end: int) -> Piece:
    """The frame that begins there; ``end`` is the place of the next 5D, -1 if there is none."""
    again = raw.find(START, begin + 1)
    whole = end >= 0 and (again < 0 or again > end)
    wire = raw[begin : end + 1] if whole else raw[begin : again if again >= 0 else len(raw)]
    content, fault = _unescape_anyway(wire[1:-1] if whole else wire[1:])
    if whole and not fault and _sound(content):
        return Piece(wire, "wire", content)
    literal = _unescaped_at(raw, begin)
    if literal and (_sound(literal[1:-1]) or fault or not whole):
        return Piece(literal, "unescaped", literal[1:-1], "already unescaped: not what was on the wire")
    if not whole:
        fault = fault or ("truncated: no end flag" if again < 0 else "truncated: another frame begins before its end flag")
    return Piece(wire, "wire", content, fault=fault)


def _unescaped_at(raw: bytes, begin: int) -> bytes:
    """The bytes up to a 5D where the length in the header says the end is."""
    said = int.from_bytes(raw[begin + 1 : begin + 5], "big")
    if not _SHORTEST <= said <= MAX_FRAME or begin + said > len(raw) or raw[begin + said - 1] != END:
        return b""
    return raw[begin : begin + said]


def _bare(raw: bytes) -> Piece | None:
    """All of it as one frame whose flags are missing."""
    if raw[:1] == b"\x5b" or len(raw) < _SHORTEST - 2:
        return None
    without_end = raw[:-1] if raw[-1] == END else raw
    for content in (raw, without_end, *_unescaped(without_end)):
        if int.from_bytes(content[:4], "big") == len(content) + 2 and _sound(content):
            return Piece(raw, "bare", content, "the flags are missing")
    return None


def _unescaped(data: bytes) -> list[bytes]:
    try:
        return [unescape(data)]
    except FrameError:
        return []


def _sound(content: bytes) -> bool:
    return len(content) >= _SHORTEST - 2 and crc16(content[:-2]) == int.from_bytes(content[-2:], "big")


def _unescape_anyway(data: bytes) -> tuple[bytes, str]:
    """Unescaped as far as that goes: a broken escape stays as it is, and the first one is told with its place."""
    try:
        return unescape(data), ""
    except FrameError:
        pass
    out = bytearray()
    fault = ""
    pos = 0
    while pos < len(data):
        pair = data[pos : pos + 2]
        if pair[0] not in b"\x5a\x5e":
            out.append(pair[0])
            pos += 1
            continue
        try:
            out += unescape(pair)
            pos += 2
        except FrameError:
            fault = fault or f"bad_escape: {pair.hex(' ')} at offset {len(out)}"
            out.append(pair[0])
            pos += 1
    return bytes(out), fault
