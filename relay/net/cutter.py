"""Cuts what a tapped connection carries into messages, for ``relay.core.inspector``, from the moment that somebody looks: in the middle of a connection,
and mostly of a message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relay.core.inspector import Inspector
from relay.errors import FrameError
from relay.jt808 import framing as framing808
from relay.jt809 import framing as framing809
from relay.jt1078.packet import MAGIC, parse_packet

#: bytes of a media packet that does not end; the longest has 34 of head and 65,535 of body, the standard's 950
_PACKET_MAX = 1 << 17


class _Frames808:
    """A connection's pieces between flags."""

    def __init__(self) -> None:
        self._deframer = framing808.Deframer()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(message id, frame)."""
        for piece in self._deframer.feed(data):
            if isinstance(piece, bytes):
                yield int.from_bytes(piece[:2].replace(b"\x7d\x01", b"\x7d"), "big"), b"\x7e" + piece + b"\x7e"


class _Frames809:
    """A link's frames."""

    def __init__(self) -> None:
        self._deframer = framing809.Deframer()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(message id, frame)."""
        for frame in self._deframer.feed(data):
            try:
                yield int.from_bytes(framing809.unescape(frame[1:40])[8:10], "big"), frame
            except FrameError:  # the cut went through an escape: its id stays unknown
                yield 0, frame


class _Packets1078:
    """The packets of a media connection."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(0, packet)."""
        buffer, at = self._data + data, 0
        while (at := buffer.find(MAGIC, at)) >= 0:
            try:
                packet = parse_packet(buffer, at)
            except FrameError:
                at += len(MAGIC)
                continue
            if packet is None:
                if len(buffer) - at < _PACKET_MAX:
                    break
                at += len(MAGIC)
                continue
            yield 0, buffer[at : at + packet.consumed]
            at += packet.consumed
        self._data = buffer[at:] if at >= 0 else buffer[-3:]


SPLITTERS: dict[str, type[_Frames808 | _Frames809 | _Packets1078]] = {"jt808": _Frames808, "jt809": _Frames809, "jt1078": _Packets1078}


class Cutter:
    """What one tap needs: both directions' splitters, made anew whenever looking begins anew."""

    __slots__ = ("_born", "_info", "_splitters")

    def __init__(self, info: dict[str, Any]) -> None:
        self._info = info
        self._born = -1
        self._splitters: dict[str, Any] = {}

    def feed(self, inspector: Inspector, direction: str, subject: str, data: bytes) -> None:
        """A portion, either way."""
        protocol = self._info["protocol"]
        if protocol not in SPLITTERS:
            return
        if self._born != inspector.generation:
            self._born = inspector.generation
            self._splitters = {way: SPLITTERS[protocol]() for way in ("in", "out")}
        watchers = inspector.interested(protocol, direction, subject)
        if watchers:
            for ident, frame in self._splitters[direction].feed(data):
                inspector.see(watchers, self._info, direction, subject, ident, frame)
