"""Recordings as files: fragmented MP4 that plays while it grows, with an index in front once it is whole (ISO/IEC 14496-12).

::

    ftyp moov │ free, later sidx and free │ moof mdat │ moof mdat │ …
                ▲ written when the file is closed: one reference a segment, so that players know the duration and jump

Each fragment is readable by itself: a file that ends in the middle of one (a crash) is cut behind the last whole one (``scan``) and gets its index
then. Times begin at 0 in each file. Fragments are those of ``relay.mux.cmaf``, whose boxes have a fixed shape; pictures count milliseconds,
sound samples.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from relay.mux.fmp4 import VIDEO_TRACK

_HEAD = struct.Struct(">I4s")
_MOOF = 24  #: bytes before the first ``traf``: box head and ``mfhd``
_TRACK, _TIME, _RUN = 20, 36, 44  #: offsets in ``traf``: track_ID of tfhd, baseMediaDecodeTime of tfdt, the run
SIDX = 32  #: bytes of a sidx without references, version 0
REFERENCE = 12
TRACK_SCALE = 1000  #: of pictures


class Reference(NamedTuple):
    """One segment of a file."""

    bytes: int
    duration_ms: int
    key: bool  #: begins with a key frame


class Fragment(NamedTuple):
    """One fragment as it lies in a file."""

    offset: int
    size: int
    time_ms: int  #: of its first picture, or of its first sound where there is none
    duration_ms: int
    key: bool


def reserved(references: int) -> int:
    """Bytes kept free for an index of so many segments."""
    return SIDX + REFERENCE * references + 8


def head(init: bytes, references: int) -> bytes:
    """How a file begins: the initialisation segment, and room for the index."""
    size = reserved(references)
    return init + _HEAD.pack(size, b"free") + bytes(size - 8)


def index(references: Sequence[Reference], size: int) -> bytes:
    """The index, in exactly the ``size`` bytes that ``head`` kept free. More segments than fit are put together, two and two."""
    while SIDX + REFERENCE * len(references) + 8 > size and len(references) > 1:
        references = [_join(references[at : at + 2]) for at in range(0, len(references), 2)]
    length = SIDX + REFERENCE * len(references)
    rest = size - length
    out = struct.pack(">I4sIIIIIHH", length, b"sidx", 0, VIDEO_TRACK, TRACK_SCALE, 0, rest, 0, len(references))
    for each in references:
        out += struct.pack(">III", each.bytes & 0x7FFFFFFF, each.duration_ms, 0x90000000 if each.key else 0)
    return out + _HEAD.pack(rest, b"free") + bytes(rest - 8)


def _join(some: Sequence[Reference]) -> Reference:
    return Reference(sum(each.bytes for each in some), sum(each.duration_ms for each in some), some[0].key)


def _trafs(moof: bytes) -> Iterator[tuple[int, int, int]]:
    """(offset, track, time) of each ``traf``."""
    at, end = _MOOF, int.from_bytes(moof[:4], "big")
    while at + _RUN < end:
        size = int.from_bytes(moof[at : at + 4], "big")
        if moof[at + 4 : at + 8] != b"traf" or size < _RUN:
            return
        yield at, int.from_bytes(moof[at + _TRACK : at + _TRACK + 4], "big"), int.from_bytes(moof[at + _TIME : at + _TIME + 8], "big")
        at += size


def first_time_ms(part: bytes, rates: dict[int, int]) -> int:
    """When a fragment begins: its picture, else its sound. ``rates``: ticks a second by track."""
    times = {track: time * 1000 // rates.get(track, TRACK_SCALE) for _, track, time in _trafs(part)}
    return times.get(VIDEO_TRACK, min(times.values(), default=0))


def rebase(part: bytes, base_ms: int, rates: dict[int, int]) -> bytes:
    """The fragment with its times counted from ``base_ms`` on."""
    out = bytearray(part)
    for at, track, time in _trafs(part):
        moved = max(0, time - base_ms * rates.get(track, TRACK_SCALE) // 1000)
        out[at + _TIME : at + _TIME + 8] = moved.to_bytes(8, "big")
    return bytes(out)


def scan(boxes: Iterable[tuple[int, bytes, bytes, int]], size: int) -> list[Fragment]:
    """The whole fragments of a file from its boxes ``(offset, kind, content of moof or b"", length)``; what is cut at ``size`` is left out."""
    found: list[Fragment] = []
    moof: tuple[int, bytes, int] | None = None
    for offset, kind, content, length in boxes:
        if offset + length > size:
            break
        if kind == b"moof":
            moof = (offset, content, length)
        elif kind == b"mdat" and moof is not None:
            found.append(_fragment(moof[1], moof[0], moof[2] + length))
            moof = None
    return found


def _fragment(moof: bytes, offset: int, size: int) -> Fragment:
    time_ms = duration = 0
    key = False
    for at, track, time in _trafs(moof):
        if track != VIDEO_TRACK:
            continue
        time_ms = time
        count = int.from_bytes(moof[at + _RUN + 12 : at + _RUN + 16], "big")
        samples = moof[at + _RUN + 20 :]
        duration = sum(int.from_bytes(samples[number * 16 : number * 16 + 4], "big") for number in range(count))
        key = bool(count) and not int.from_bytes(samples[8:12], "big") & 0x10000  # sample_is_non_sync_sample
    return Fragment(offset, size, time_ms, duration, key)


def segments_of(fragments: Sequence[Fragment]) -> list[Reference]:
    """References for a file that was not closed: a segment from each key frame on."""
    out: list[Reference] = []
    for each in fragments:
        if each.key or not out:
            out.append(Reference(each.size, each.duration_ms, each.key))
        else:
            last = out[-1]
            out[-1] = Reference(last.bytes + each.size, last.duration_ms + each.duration_ms, last.key)
    return out


def boxes_of(data: bytes) -> Iterator[tuple[int, bytes, bytes, int]]:
    """The boxes of a whole file in memory, as ``scan`` wants them; for small files and tests."""
    at = 0
    while at + 8 <= len(data):
        length, kind = _HEAD.unpack_from(data, at)
        if length < 8:
            return
        yield at, kind, data[at : at + length] if kind == b"moof" else b"", length
        at += length


__all__ = ["Fragment", "Reference", "boxes_of", "first_time_ms", "head", "index", "rebase", "reserved", "scan", "segments_of"]
