"""NAL units of a byte stream, and of length-prefixed access units.

Byte stream (ITU-T H.264 Annex B, H.265 Annex B), as terminals send it (JT/T 1078)::

    [00 …] 00 00 01 NAL [00 …] 00 00 00 01 NAL [00 …] …

Length-prefixed (ISO/IEC 14496-15, length size 4), as FLV and fragmented MP4 carry it::

    u32 length, NAL, u32 length, NAL …

Inside a NAL unit ``00 00 03`` stands for ``00 00`` (emulation prevention, clause 7.4.1), so that neither a start code nor
a trailing zero can be part of one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from relay.errors import DecodeError, UsageError

START_CODE = b"\x00\x00\x01"
_LENGTH = struct.Struct(">I")

#: NAL units in one access unit. H.265 permits 600 slices at its highest level and terminals send at most some dozens; noise
#: that consists of start codes must not become a million objects.
MAX_NALUS = 4096


def split_annexb(data: bytes) -> list[bytes]:
    """The NAL units of one access unit, without start codes and trailing zeros, empty ones left out.

    Start codes of 3 and 4 bytes may be mixed (seen in the field). What stands before the first start code belongs to no
    NAL unit and is left out. ``[]`` says that this is no access unit: no start code at all, or more units than ``MAX_NALUS``.
    """
    find = data.find
    begin = find(START_CODE) + 3
    if begin == 2:
        return []
    end = find(START_CODE, begin)
    if end < 0:  # most P frames: one slice and nothing else
        nalu = data[begin:]
        if not nalu or nalu[-1] == 0:
            nalu = nalu.rstrip(b"\x00")
        return [nalu] if nalu else []
    nalus: list[bytes] = []
    append = nalus.append
    while end >= 0:
        nalu = data[begin:end].rstrip(b"\x00")
        if nalu:
            append(nalu)
            if len(nalus) >= MAX_NALUS:
                return []
        begin = end + 3
        end = find(START_CODE, begin)
    nalu = data[begin:].rstrip(b"\x00")
    if nalu:
        append(nalu)
    return nalus


def to_avcc(nalus: Sequence[bytes]) -> bytes:
    """NAL units with a u32 length before each."""
    if len(nalus) == 1:
        nalu = nalus[0]
        return _LENGTH.pack(len(nalu)) + nalu
    pack = _LENGTH.pack
    parts: list[bytes] = []
    for nalu in nalus:
        parts.append(pack(len(nalu)))
        parts.append(nalu)
    return b"".join(parts)


def from_avcc(data: bytes) -> list[bytes]:
    """The NAL units of a length-prefixed access unit; ``DecodeError`` when the lengths do not add up."""
    nalus: list[bytes] = []
    offset = 0
    size = len(data)
    while offset < size:
        if size - offset < 4:
            raise DecodeError("access unit", offset, f"needs 4 bytes of length, {size - offset} left")
        length: int = _LENGTH.unpack_from(data, offset)[0]
        offset += 4
        if length > size - offset:
            raise DecodeError("access unit", offset, f"a NAL unit of {length} bytes, {size - offset} left")
        nalus.append(data[offset : offset + length])
        offset += length
    return nalus


def to_annexb(nalus: Sequence[bytes]) -> bytes:
    """NAL units as a byte stream with start codes of four bytes."""
    return b"".join([b"\x00\x00\x00\x01" + nalu for nalu in nalus])


def unescape(nalu: bytes) -> bytes:
    """A NAL unit without its emulation prevention bytes: ``00 00 03`` becomes ``00 00``."""
    return nalu.replace(b"\x00\x00\x03", b"\x00\x00") if b"\x00\x00\x03" in nalu else nalu


def escape(payload: bytes) -> bytes:
    """The reverse of ``unescape``, for units that we write: a 03 goes between ``00 00`` and 00 to 03, and after an end in 00."""
    if not payload:
        raise UsageError("a NAL unit has at least its header")
    out = bytearray()
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    if zeros:
        out.append(3)
    return bytes(out)
