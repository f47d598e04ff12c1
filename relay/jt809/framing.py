"""Frames of JT/T 809 (4.2 and 4.3)::

    5B | escaped( header 22 (2011) or 30 (2019) bytes | body | CRC-16 ) | 5D

    raw   5B     5A     5D     5E
    wire  5A 01  5A 02  5E 01  5E 02

Both flags are escaped inside, so 5B on the wire always begins a frame and 5D always ends one: a 5B inside an unfinished frame means that the old one was
cut. CRC-16/CCITT, polynomial 0x1021, initial value 0xFFFF, over header and body as sent.
"""

from __future__ import annotations

import binascii
import re

from relay.errors import FrameError

START = 0x5B
END = 0x5D

#: 数据长度 counts flags and CRC too, unescaped. Photos make frames of 20 to 60 KB, long catalogues of 1,000 items 32 KB.
MAX_FRAME = 1 << 20

_ESCAPED = re.compile(rb"[\x5a\x5e](.?)", re.DOTALL)
_UNESCAPE = {b"\x5a\x01": b"\x5b", b"\x5a\x02": b"\x5a", b"\x5e\x01": b"\x5d", b"\x5e\x02": b"\x5e"}
_TO_ESCAPE = re.compile(rb"[\x5a\x5b\x5d\x5e]")
_ESCAPE = {raw: wire for wire, raw in _UNESCAPE.items()}


def crc16(data: bytes) -> int:
    """校验码 of header and body; ``crc16(b"123456789") == 0x29B1``."""
    return binascii.crc_hqx(data, 0xFFFF)


def escape(data: bytes) -> bytes:
    """What goes between the flags."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPE[found.group()], data)


def unescape(data: bytes) -> bytes:
    """What stood between the flags; ``FrameError("bad_escape")``."""
    if b"\x5a" not in data and b"\x5e" not in data:
        return data
    try:
        return _ESCAPED.sub(lambda found: _UNESCAPE[found.group()], data)
    except KeyError as problem:
        raise FrameError("bad_escape", f"{problem.args[0].hex(' ')}") from None


def wrap(header_and_body: bytes) -> bytes:
    """A whole frame as it goes onto the link."""
    return b"\x5b" + escape(header_and_body + crc16(header_and_body).to_bytes(2, "big")) + b"\x5d"


def unwrap(frame: bytes, header_size: int) -> tuple[bytes, int]:
    """Header and body of a frame (with its flags), and its CRC.

    ``FrameError`` with ``truncated`` (no end flag, too short, or its length says more), ``bad_escape``, ``length_mismatch`` or ``bad_crc``.
    """
    if len(frame) < 2 or frame[0] != START or frame[-1] != END:
        raise FrameError("truncated", "no end flag")
    if len(frame) < header_size + 4:
        raise FrameError("truncated", f"{len(frame)} bytes, flags, header and CRC alone are {header_size + 4}")
    content = unescape(frame[1:-1])
    if len(content) < header_size + 2:
        raise FrameError("truncated", f"{len(content)} bytes, the header and CRC alone are {header_size + 2}")
    inner = content[:-2]
    said = int.from_bytes(content[:4], "big")
    crc = int.from_bytes(content[-2:], "big")
    right = crc16(inner) == crc
    size = len(content) + 2
    if said != size and right:
        raise FrameError("length_mismatch", f"the header says {said} bytes, {size} are there")
    if not right:
        if said > size:
            raise FrameError("truncated", f"the header says {said} bytes, {size} are there")
        raise FrameError("bad_crc", f"{crc:04X} where {crc16(inner):04X} is due")
    return inner, crc


class Deframer:
    """Cuts a byte stream into frames (with their flags), in linear time and bounded memory.

    ``garbage`` counts bytes outside frames, ``cut`` frames that another start flag cut short, ``oversize`` those beyond ``limit``.
    """

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self.limit = 2 * limit  # every byte may be escaped
        self.garbage = 0
        self.cut = 0
        self.oversize = 0
        self._parts: list[bytes] = []
        self._held = 0
        self._inside = False
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Whole frames, empty ones left out."""
        frames: list[bytes] = []
        pos, size = 0, len(data)
        while pos < size:
            if not self._inside:
                begin = data.find(START, pos)
                if begin < 0:
                    if not self._skipping:
                        self.garbage += size - pos
                    break
                if not self._skipping:
                    self.garbage += begin - pos
                self._inside, self._skipping = True, False
                self._parts, self._held = [b"\x5b"], 1
                pos = begin + 1
                continue
            end = data.find(END, pos)
            stop = size if end < 0 else end + 1
            again = data.rfind(START, pos, stop)
            if again >= 0:  # the old frame was cut: the latest start is what counts
                self.cut += data.count(START, pos, stop)
                self._parts, self._held = [], 0
                pos = again
            self._parts.append(data[pos:stop])
            self._held += stop - pos
            pos = stop
            if self._held > self.limit:
                self.oversize += 1
                self._parts, self._held = [], 0
                self._inside, self._skipping = False, end < 0
            elif end >= 0:
                frame = b"".join(self._parts)
                self._parts, self._held, self._inside = [], 0, False
                if len(frame) > 2:
                    frames.append(frame)
        return frames
