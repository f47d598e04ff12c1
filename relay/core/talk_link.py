"""One media connection on a talk port, without its socket: bytes in, whole blocks of sound out, packets back.

    connected ──first packet: SIM──────────────→ the call that waits for that terminal
        │     ──a port of one call's own────────→ that call: at once when the address is the terminal's, else at the first packet that names it
        │     ──silent for SILENT_S, and one call of that address waits──→ that call
        └── no call within IDENTIFY_S, another protocol, too many: closed

The downlink has the same form as the uplink: SIM field and width of the terminal, its channel, own numbers from 0, M = 1 on the last packet of a
block, no intervals (JT/T 1078-2016 table 19; §7 of the media facts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from relay.jt1078.demux import Demuxer, RawFrame
from relay.jt1078.packet import DataType, packetize

if TYPE_CHECKING:
    from relay.core.talk import Talks
    from relay.core.talk_call import Call

IDENTIFY_S = 15.0  #: a connection that belongs to no call by then is closed
SILENT_S = 1.5  #: after that a connection without a packet is joined by its address, where only one call can be meant


class TalkWire(Protocol):
    """What carries the bytes; ``relay.net.talk1078`` has the real one."""

    peer: str  #: "address:port"
    host: str  #: the peer's address alone
    transport: str  #: "tcp" | "tls"

    def write(self, data: bytes) -> None:
        """Send."""

    def backlog(self) -> int:
        """Bytes that the socket has not taken yet."""

    def close(self) -> None:
        """Close; ``TalkLink.lost`` follows."""


BACKLOG_BYTES = 16384  #: some two seconds of G.711: a link that is so far behind gets nothing more until it has caught up


class TalkLink:
    """One connection."""

    __slots__ = (
        "_demuxer",
        "_owner",
        "_seq",
        "_stamp_base",
        "call",
        "closed",
        "field",
        "host",
        "made",
        "peer",
        "port",
        "sim",
        "sim_bytes",
        "skipped",
        "transport",
        "wire",
    )  # fmt: skip

    def __init__(self, owner: Talks, wire: TalkWire, port: int, now: float) -> None:
        self.wire = wire
        self.peer, self.host, self.transport = wire.peer, wire.host, wire.transport
        self.port = port  #: of the listener
        self.made = now
        self.call: Call | None = None
        self.closed = False
        self.sim = ""  #: as its packets have it; "" until the first
        self.field = b""  #: the same as bytes
        self.sim_bytes = 0
        self.skipped = 0  #: blocks not sent since the socket was full
        self._owner = owner
        self._demuxer = Demuxer()
        self._seq = 0
        self._stamp_base = round(owner.wall() * 1000)

    @property
    def packets(self) -> int:
        """How many came."""
        return self._demuxer.packets

    @property
    def bytes_in(self) -> int:
        """How much came."""
        return self._demuxer.bytes

    def received(self, data: bytes) -> None:
        """Bytes of the terminal."""
        if self.closed:
            return
        now = self._owner.clock.seconds()
        frames = self._demuxer.feed(data, now)
        if self._demuxer.verdict:
            self._owner.complain(self, f"{self._demuxer.verdict}; closed")
            self.close()
            return
        if not self.sim and self._demuxer.packets:
            self._introduce()
        for raw in frames:
            if self.call is None or self.closed:
                return
            if raw.data_type == DataType.AUDIO:
                self.call.heard(raw, now)

    def _introduce(self) -> None:
        """The first packet says whose it is, for what that is worth."""
        for key, stream in self._demuxer.streams.items():
            self.sim, self.field, self.sim_bytes = stream.sim, key[:-1], self._demuxer.sim_bytes
            self._owner.introduced(self, stream.channel)
            return

    def block(self, data: bytes, ms: int, channel: int, pt: int, field: bytes) -> int:
        """One block of the downlink; gives the bytes sent, 0 when the socket is too far behind."""
        if self.closed:
            return 0
        if self.wire.backlog() > BACKLOG_BYTES:
            self.skipped += 1
            return 0
        packets = packetize(
            data, sim=self.field or field, channel=channel, pt=pt, data_type=DataType.AUDIO, seq=self._seq, timestamp=self._stamp_base + ms,
        )  # fmt: skip
        self._seq = (self._seq + len(packets)) & 0xFFFF
        sent = b"".join(packets)
        self.wire.write(sent)
        return len(sent)

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        if self.closed and self.call is None:
            self._owner.gone(self)
            return
        self.closed = True
        call, self.call = self.call, None
        self._owner.gone(self)
        if call is not None:
            call.lost(self, reason)

    def close(self) -> None:
        """From our side."""
        self.closed = True
        self.call = None
        self.wire.close()


__all__ = ["RawFrame", "TalkLink", "TalkWire"]
