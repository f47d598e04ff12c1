"""JT/T 1078 packets made here, and a media server over a hub whose ingest passes pictures on."""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.task import Clock

from relay.hub.formats import Options
from relay.hub.ingest import Ingest
from relay.hub.merge import Merge
from relay.hub.registry import Admitted, Refusal, Registry, StreamEvent
from relay.hub.stream import Stream
from relay.identity import StreamKey, phone_key
from relay.net.media1078 import MediaServer
from relay.settings import Media

SIM = "013800138000"
# 640x360, constrained baseline
SPS = bytes.fromhex("6742c01eda0280bfe5c04400000fa00003a9803c58ba80")
PPS = bytes.fromhex("68ce3c80")


def packet(body: bytes, seq: int = 0, sim: str = SIM, channel: int = 1, kind: int = 0, mark: int = 0, stamp: int = 0, pt: int = 98) -> bytes:
    """One packet; ``kind`` 0 I, 1 P, 3 sound; ``mark`` 0 atomic, 1 first, 2 last, 3 middle."""
    last = mark in (0, 2)
    head = struct.pack(">4sBBH6sBBQ", b"01cd", 0x81, (0x80 if last else 0) | pt, seq & 0xFFFF, bytes.fromhex(sim), channel, kind << 4 | mark, stamp)
    if kind != 3:
        head += struct.pack(">HH", 0, 40)
    return head + struct.pack(">H", len(body)) + body


class Camera:
    """One channel of a terminal: key frames and pictures as bytes for the media port."""

    def __init__(self, sim: str = SIM, channel: int = 1, seq: int = 0) -> None:
        self.sim = sim
        self.channel = channel
        self.seq = seq
        self.stamp = 1000

    def _packets(self, body: bytes, kind: int, pt: int = 98) -> bytes:
        pieces = [body[at : at + 950] for at in range(0, len(body), 950)]
        self.stamp += 40
        made = b""
        for at, piece in enumerate(pieces):
            mark = 0 if len(pieces) == 1 else 1 if at == 0 else 2 if at == len(pieces) - 1 else 3
            made += packet(piece, self.seq, self.sim, self.channel, kind, mark, self.stamp, pt)
            self.seq += 1
        return made

    def key(self, size: int = 2500) -> bytes:
        """Parameter sets and an IDR slice."""
        return self._packets(b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS + b"\0\0\0\1\x65\x88" + b"\xaa" * size, 0)

    def picture(self, size: int = 300) -> bytes:
        """A P slice."""
        return self._packets(b"\0\0\0\1\x41\x9a" + b"\xbb" * size, 1)

    def sound(self) -> bytes:
        """40 ms of G.711A silence."""
        return self._packets(b"\xd5" * 320, 3, 6)


class World:
    """Server, hub, clock; every connection is admitted unless ``refuse`` says why not."""

    def __init__(self, reactor: Any = None, clock: Any = None, merge: str | int = 0, requested: bool = True, **media: Any) -> None:
        self.clock = clock if clock is not None else Clock()
        self.refuse: Refusal | None = None
        self.requested = requested
        self.asked: list[tuple[str, str, int, str, str]] = []
        self.merge = Merge(self.clock, merge)
        self.registry = Registry(
            self.clock, Options(flv_audio="none"), self.merge, lambda key: Ingest(key.sim, key.channel), self,
        )  # fmt: skip
        self.events: list[StreamEvent] = []
        self.registry.observe(self.events.append)
        media.setdefault("host", "127.0.0.1")
        self.server = MediaServer(reactor, self.clock, self.registry, Media(**media))
        self.merge.start()

    def admit(self, kind: str, sim: str, channel: int, peer: str, transport: str) -> Admitted | Refusal:
        self.asked.append((kind, sim, channel, peer, transport))
        return self.refuse or Admitted(StreamKey(phone_key(sim), channel, kind), self.requested)

    def stream(self, channel: int = 1, sim: str = SIM, kind: str = "live") -> Stream:
        found = self.registry.get(StreamKey(phone_key(sim), channel, kind))
        assert found is not None
        return found

    def names(self) -> list[str]:
        return [event.name for event in self.events]
