"""JT/T 1078 media over UDP: one socket a kind, all terminals on it.

Admission is asked at the first packet of a (SIM, channel), before any state is made for it; what is refused is dropped unread for some seconds.
There is no connection to lose: a session that has been silent for ``silent_timeout_s`` is the source's end.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from relay.hub.merge import Clock, DelayedCall
from relay.hub.registry import Refusal, Registry
from relay.hub.stream import Stream
from relay.jt1078.assembly import RawFrame
from relay.jt1078.datagram import Address, DatagramDemuxer
from relay.jt1078.framing import foreign
from relay.net.peerlog import PeerLog
from relay.net.recorder import DatagramTaps
from relay.settings import Media

_log = Logger(namespace="relay.net.media1078")

SWEEP_S = 1.0
#: bytes the kernel may hold for us: a burst of key frames from many terminals while something else is done (its own default is 208 KiB)
RECEIVE_BUFFER = 4 * 1024 * 1024


class DatagramFeed:
    """One (SIM, channel), as the registry sees it: a ``Source``."""

    __slots__ = ("_lost_seen", "_owner", "channel", "peer", "sim", "stream", "transport")

    def __init__(self, owner: MediaDatagrams, sim: str, channel: int, peer: str) -> None:
        self.sim = sim
        self.channel = channel
        self.peer = peer
        self.transport = "udp"
        self.stream: Stream | None = None
        self._owner = owner
        self._lost_seen = 0

    def close(self, reason: str) -> None:
        """``Source``: stop feeding."""
        self.stream = None
        self._owner.feed_closed(self)

    def count_loss(self, lost: int) -> None:
        """Tell the stream how many packets are missing by now."""
        if self.stream is not None:
            self.stream.lost_packets += lost - self._lost_seen
        self._lost_seen = lost


class MediaDatagrams(DatagramProtocol):
    """One UDP listener."""

    noisy = False

    def __init__(self, clock: Clock, registry: Registry, media: Media, kind: str, port: int, log_peer_s: float = 1.0) -> None:
        self.registry = registry
        self.media = media
        self.kind = kind
        self.port = port
        self.unhandled = 0
        self.feeds: dict[tuple[str, int], DatagramFeed] = {}
        self.demuxer = DatagramDemuxer(
            media.max_body_bytes, media.sim_bytes, media.reorder_packets, media.reorder_ms / 1000, media.connections_max, media.silent_timeout_s, self._admit
        )
        self._clock = clock
        self._peers = PeerLog(clock, log_peer_s)
        self.taps: DatagramTaps | None = None  #: into recordings
        self._timer: DelayedCall | None = None
        self._timer_at = 0.0
        self._sweep_call: DelayedCall | None = None
        self._malformed_seen = 0

    def startProtocol(self) -> None:
        """The socket is there: give it room."""
        transport: Any = self.transport
        if transport is not None and hasattr(transport, "getHandle"):
            transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def stopProtocol(self) -> None:
        """The socket is closed: every stream hears that its source is gone."""
        now = self._clock.seconds()
        for call in (self._timer, self._sweep_call):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._sweep_call = None
        self._deliver(self.demuxer.finish(now), now)
        for feed in list(self.feeds.values()):
            stream, feed.stream = feed.stream, None
            if stream is not None:
                stream.source_lost(feed, "the listener was closed")
        self.feeds.clear()
        self._peers.close()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """One packet."""
        now = self._clock.seconds()
        address = (addr[0], addr[1])
        if self.taps is not None:
            self.taps.data_in(datagram, address)
        demuxer = self.demuxer
        malformed = demuxer.malformed
        try:
            frames = demuxer.feed(datagram, address, now)
            if frames:
                self._deliver(frames, now)
        except Exception:
            self.unhandled += 1
            _log.failure("a datagram from {peer} failed", peer=show(address))
            return
        if demuxer.malformed != malformed:
            what = foreign(datagram) or f"a datagram of {len(datagram)} bytes is not one JT/T 1078 packet"
            self._peers.warn(
                address[0], "media udp from {peer} on the {kind} port {port}: {what}", peer=show(address), kind=self.kind, port=self.port, what=what
            )
        self._arm(now)

    # ---- admission -------------------------------------------------------------------------------------------------------------------

    def _admit(self, sim: str, channel: int, address: Address) -> bool:
        old = self.feeds.pop((sim, channel), None)
        if old is not None and old.stream is not None:  # its session has fallen silent, and another address begins anew
            stream, old.stream = old.stream, None
            stream.source_lost(old, "silent; the terminal sends from another address")
        feed = DatagramFeed(self, sim, channel, show(address))
        answer = self.registry.connect(self.kind, sim, channel, feed)
        if isinstance(answer, Refusal):
            why = f"{answer.reason}: {answer.message}" if answer.message else answer.reason
            self._peers.warn(
                address[0], "media udp from {peer} on the {kind} port {port}: {what}",
                peer=show(address), kind=self.kind, port=self.port, what=f"{sim}_{channel} refused ({why})",
            )  # fmt: skip
            return False
        feed.stream = answer
        self.feeds[sim, channel] = feed
        _log.info("{key}: udp from {peer} on the {kind} port", key=str(answer.key), peer=feed.peer, kind=self.kind)
        if self._sweep_call is None:
            self._sweep_call = self._clock.callLater(SWEEP_S, self._sweep)
        return True

    def feed_closed(self, feed: DatagramFeed) -> None:
        """The hub has let it go: what still comes is asked about again, and refused while nobody wants it."""
        if self.feeds.get((feed.sim, feed.channel)) is feed:
            del self.feeds[feed.sim, feed.channel]
            self.demuxer.end(feed.sim, feed.channel, self._clock.seconds())

    # ---- frames ----------------------------------------------------------------------------------------------------------------------

    def _deliver(self, frames: list[RawFrame], now: float) -> None:
        parts: dict[tuple[str, int], list[RawFrame]] = {}
        for raw in frames:
            parts.setdefault((raw.sim, raw.channel), []).append(raw)
        for key, part in parts.items():
            feed = self.feeds.get(key)
            if feed is not None and feed.stream is not None:
                packets = sum(raw.packets for raw in part)
                feed.stream.feed(part, now, packets, sum(len(raw.body) + 30 * raw.packets for raw in part))

    def _arm(self, now: float) -> None:
        due = self.demuxer.next_deadline()
        if due is None or (self._timer is not None and self._timer.active() and self._timer_at <= due):
            return
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._clock.callLater(max(due - now, 0.001), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        try:
            self._deliver(self.demuxer.tick(now), now)
        except Exception:
            self.unhandled += 1
            _log.failure("ordering datagrams failed")
        self._arm(now)

    def _sweep(self) -> None:
        """Once a second: losses, and sources that have fallen silent."""
        self._sweep_call = None
        now = self._clock.seconds()
        for key, session in self.demuxer.sessions.items():
            feed = self.feeds.get(key)
            if feed is not None:
                feed.peer = show(session.address)
                feed.count_loss(session.stream.lost_packets)
                if feed.stream is not None and feed.stream.paused:
                    session.last_packet = now  # a playback that was told to pause has not gone
        self._deliver(self.demuxer.tick(now), now)
        for key, feed in list(self.feeds.items()):
            if key not in self.demuxer.sessions:
                del self.feeds[key]
                stream, feed.stream = feed.stream, None
                if stream is not None:
                    stream.source_lost(feed, f"silent for {self.media.silent_timeout_s:g} s")
        if self.feeds:
            self._sweep_call = self._clock.callLater(SWEEP_S, self._sweep)


def show(address: Address) -> str:
    """The address as it stands in the log."""
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
