"""Capture files of tcpdump and Wireshark: pcap and pcapng, also gzipped. What is in the packets is ``packets``' business.

pcap     24 bytes: magic, version, zone, accuracy, snap length, link type; then for each packet 16 bytes: seconds, fraction, bytes kept, bytes on the wire
         magic A1B2C3D4: fraction in µs, A1B23C4D: in ns; A1B2CD34: 8 bytes more for each packet. Both byte orders.
pcapng   blocks: type, length, content, length again. Section header 0A0D0D0A (byte order), interface 1 (link type, clock), packets 6, 3 and 2.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from relay.errors import RelayError

#: of one packet. tcpdump keeps 262,144 bytes at most, segmentation offload makes 64 KB; beyond this the file is damaged
MAX_PACKET = 1 << 20
#: of one pcapng block that is no packet: name tables and secrets
MAX_BLOCK = 16 << 20
#: interfaces of one section; a number out of a damaged file must not cost memory
MAX_INTERFACES = 4096

_NANO = 1_000_000_000
_PCAP = {  # magic: units a second, bytes of a packet's header
    0xA1B2C3D4: (1_000_000, 16),
    0xA1B23C4D: (_NANO, 16),
    0xA1B2CD34: (1_000_000, 24),
}
_SECTION = 0x0A0D0D0A


class CaptureError(RelayError):
    """A file that is no capture, or is damaged from some place on."""


@dataclass(slots=True)
class Captured:
    """One packet."""

    number: int  #: from 1, as Wireshark counts
    time: int  #: ns since 1970, UTC; 0 where the file does not tell
    link_type: int  #: LINKTYPE_ number
    data: bytes
    size: int  #: on the wire; more than is kept when the capture cut it


def read_capture(path: Path) -> Iterator[Captured]:
    """All packets of a file. ``CaptureError`` for what is no capture at once, for damage where it is met."""
    with path.open("rb") as file:
        opening = file.read(4)
        file.seek(0)
        stream: BinaryIO = file
        if opening[:2] == b"\x1f\x8b":
            stream = io.BufferedReader(gzip.GzipFile(fileobj=file))
        try:
            yield from read_stream(stream)
        except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
            raise CaptureError(f"{path}: damaged gzip: {problem}") from None


def read_stream(stream: BinaryIO) -> Iterator[Captured]:
    """The same for an open file."""
    magic = stream.read(4)
    for order in "<>":
        (number,) = struct.unpack(order + "I", magic) if len(magic) == 4 else (0,)
        if number in _PCAP:
            return _pcap(stream, order, *_PCAP[number])
        if number == _SECTION:
            return _Sections(stream).packets()
    raise CaptureError("neither pcap nor pcapng")


def _exactly(stream: BinaryIO, size: int, after: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise CaptureError(f"the capture ends in the middle of packet {after + 1}")
    return data


def _pcap(stream: BinaryIO, order: str, units: int, head_size: int) -> Iterator[Captured]:
    head = _exactly(stream, 20, 0)
    (link_type,) = struct.unpack_from(order + "I", head, 16)
    link_type &= 0xFFFF  # above: length of the frame check sequence
    packet = struct.Struct(order + "IIII")
    number = 0
    while True:
        data = stream.read(head_size)
        if not data:
            return
        if len(data) < head_size:
            raise CaptureError(f"the capture ends in the middle of packet {number + 1}")
        seconds, fraction, kept, size = packet.unpack_from(data)
        if kept > MAX_PACKET:
            raise CaptureError(f"packet {number + 1} says that it has {kept} bytes: the file is damaged")
        number += 1
        yield Captured(number, seconds * _NANO + fraction * (_NANO // units), link_type, _exactly(stream, kept, number - 1), size)


@dataclass(slots=True)
class _Interface:
    link_type: int
    snap: int
    units: int = 1_000_000  #: a second
    offset: int = 0  #: seconds


class _Sections:
    """The blocks of a pcapng file; ``stream`` stands behind the first block's type."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._number = 0

    def packets(self) -> Iterator[Captured]:
        kind_bytes = b"\x0a\x0d\x0d\x0a"
        while kind_bytes:
            if len(kind_bytes) < 4:
                raise CaptureError(f"the capture ends in the middle of a block after packet {self._number}")
            (kind,) = struct.unpack(self._order + "I", kind_bytes)
            body = self._section() if kind == _SECTION else self._body(_exactly(self._stream, 4, self._number))
            if kind == 1:
                self._interface(body)
            elif kind in (2, 3, 6):
                packet = self._packet(kind, body)
                if packet is not None:
                    yield packet
            kind_bytes = self._stream.read(4)

    def _section(self) -> bytes:
        length, magic = _exactly(self._stream, 4, self._number), _exactly(self._stream, 4, self._number)
        self._order = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}.get(magic, "")
        if not self._order:
            raise CaptureError(f"a section of the capture begins with {magic.hex()}, which says no byte order")
        self._interfaces = []
        return self._body(length, 4)

    def _body(self, length: bytes, read: int = 0) -> bytes:
        """What stands between the two lengths, of which ``read`` bytes are already read."""
        (total,) = struct.unpack(self._order + "I", length)
        if not 12 + read <= total <= MAX_BLOCK or total % 4:
            raise CaptureError(f"a block of {total} bytes after packet {self._number}: the file is damaged")
        return _exactly(self._stream, total - 8 - read, self._number)[:-4]

    def _interface(self, body: bytes) -> None:
        if len(body) < 8 or len(self._interfaces) >= MAX_INTERFACES:
            raise CaptureError("an interface of the capture is damaged")
        link_type, _, snap = struct.unpack_from(self._order + "HHI", body)
        made = _Interface(link_type, snap)
        pos = 8
        while pos + 4 <= len(body):
            code, size = struct.unpack_from(self._order + "HH", body, pos)
            value = body[pos + 4 : pos + 4 + size]
            if code == 9 and size == 1:
                made.units = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** (value[0] & 0x7F)
            elif code == 14 and size == 8:
                (made.offset,) = struct.unpack(self._order + "q", value)
            pos += 4 + (size + 3) // 4 * 4
        self._interfaces.append(made)

    def _packet(self, kind: int, body: bytes) -> Captured | None:
        self._number += 1
        which = high = low = 0
        if kind == 3 and len(body) >= 4:
            (size,) = struct.unpack_from(self._order + "I", body)
            kept, start = min(size, len(body) - 4, (self._interfaces[0].snap or MAX_PACKET) if self._interfaces else 0), 4
        elif kind == 6 and len(body) >= 20:
            which, high, low, kept, size = struct.unpack_from(self._order + "IIIII", body)
            start = 20
        elif kind == 2 and len(body) >= 20:
            which, _, high, low, kept, size = struct.unpack_from(self._order + "HHIIII", body)
            start = 20
        else:
            raise CaptureError(f"packet {self._number} is damaged")
        if which >= len(self._interfaces) or start + kept > len(body):
            raise CaptureError(f"packet {self._number} is damaged")
        if kept > MAX_PACKET:
            return None
        interface = self._interfaces[which]
        ticks = high << 32 | low
        time = ticks * _NANO // interface.units + interface.offset * _NANO if kind != 3 else 0
        return Captured(self._number, time, interface.link_type, body[start : start + kept], size)
