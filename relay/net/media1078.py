"""JT/T 1078 media over TCP and TLS: listeners for live, playback and talk.

A connection says nothing about itself but in its packets: two that agree, or the first whole frame, name (SIM, channel); admission
says whether it may come in and to which stream it belongs (``hub.registry.Registry.connect``). One connection may carry several
channels; each is admitted for itself.

    connected ──two packets──→ known ──stream runs──→ settled (read on the tick when merging is on)
        │ no packet in first_packet_timeout_s, a wrong protocol, garbage, no channel admitted: closed, with one log line a second a peer at most

What the port tells is only the kind: live, playback, talk ("main or sub stream, live or playback, talk or video are not in the packet").
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.hub.ingest import Ingest
from relay.hub.merge import Clock, DelayedCall
from relay.hub.registry import Refusal, Registry
from relay.hub.shortcut import REST, SENT, Shortcut
from relay.hub.stream import Stream
from relay.jt1078.demux import Demuxer, RawFrame
from relay.net.peerlog import PeerLog, how_it_ended
from relay.net.poller import RECV_BYTES, Poller, available
from relay.net.recorder import Recorder, Tap
from relay.net.terminal808 import show
from relay.settings import Media

_log = Logger()

#: connections that wait in the kernel to be accepted: Twisted's 50 is too few when a depot of terminals comes back at once
BACKLOG = 1024
SWEEP_S = 1.0
#: of a video packet with a SIM field of 6 bytes; only where several channels share a connection, whose bytes are then estimated
HEADER_BYTES = 30
#: a connection is read at arrival for so long at least, so that the first picture is never delayed by merging
SETTLE_S = 2.0
#: a channel whose stream ended, or that was refused on a connection that lives on, is asked about again after so long
READMIT_S = 5.0


class StreamTransport(Protocol):
    """What is used of Twisted's transports."""

    def getHandle(self) -> Any: ...
    def getPeer(self) -> Any: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...


class Feed:
    """One (SIM, channel) of one connection, as the registry sees it: a ``Source``."""

    __slots__ = ("_lost_seen", "_owner", "channel", "peer", "refused_at", "sim", "stream", "transport")

    def __init__(self, owner: MediaProtocol, sim: str, channel: int) -> None:
        self.sim = sim
        self.channel = channel
        self.peer = owner.peer
        self.transport = owner.kind_of_transport
        self.stream: Stream | None = None
        self.refused_at = 0.0
        self._owner = owner
        self._lost_seen = 0

    def close(self, reason: str) -> None:
        """``Source``: stop feeding; the connection goes when it feeds nothing else."""
        self.stream = None
        self._owner.feed_closed(self, reason)

    def count_loss(self, lost: int) -> None:
        """Tell the stream how many packets are missing by now on this connection."""
        if self.stream is not None:
            self.stream.lost_packets += lost - self._lost_seen
        self._lost_seen = lost


class MediaProtocol(TwistedProtocol):
    """One media connection."""

    __slots__ = (
        "_channel",
        "_packets_seen",
        "_recv_into",
        "_seconds",
        "_shortcut",
        "_sim",
        "_stream",
        "address",
        "closing",
        "demuxer",
        "fd",
        "feeds",
        "kind",
        "kind_of_transport",
        "known",
        "last",
        "made",
        "peer",
        "poller",
        "port",
        "server",
        "settled",
        "socket",
        "tap",
    )

    transport: Any

    def __init__(self, server: MediaServer, kind: str, port: int) -> None:
        self.server = server
        self.kind = kind
        self.port = port  #: of the listener, for the log
        self.peer = ""
        self.address = ""
        self.kind_of_transport = "tcp"
        self.made = 0.0
        self.last = 0.0  #: when the last packet came
        self.known = False
        self.settled = False
        self.closing = False
        self.feeds: dict[tuple[str, int], Feed] = {}
        self.demuxer = Demuxer(server.media.max_body_bytes, server.media.sim_bytes)
        self.poller: Poller | None = None
        self.tap: Tap | None = None  #: into a recording
        self.socket: socket.socket = cast(socket.socket, None)
        self.fd = -1
        self._recv_into: Callable[[bytearray], int] = _unconnected
        self._seconds = server.clock.seconds
        self._packets_seen = 0
        self._sim = ""  # of the feed that came last
        self._channel = -1
        self._stream: Stream | None = None
        self._shortcut: Shortcut | None = None

    # Twisted ---------------------------------------------------------------

    def connectionMade(self) -> None:
        """Read by the poller where that is possible, by Twisted elsewhere."""
        peer = self.transport.getPeer()
        self.address = getattr(peer, "host", "")
        self.peer = f"{self.address}:{getattr(peer, 'port', 0)}"
        self.made = self.last = self._seconds()
        handle = self.transport.getHandle()
        plain = isinstance(handle, socket.socket)
        if not plain:
            self.kind_of_transport = "tls"
        if not self.server.connected(self):
            self.closing = True
            self.transport.abortConnection()
            return
        if self.server.recorder is not None:
            here = self.transport.getHost()
            local = show(getattr(here, "host", ""), getattr(here, "port", self.port))
            self.tap = self.server.recorder.tap("jt1078", self.kind_of_transport, self.peer, local, kind=self.kind)
        if plain and self.server.prompt is not None:
            self.socket = handle
            self.fd = handle.fileno()
            self._recv_into = handle.recv_into
            self.transport.pauseProducing()
            self.poller = self.server.prompt
            self.poller.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes that Twisted read."""
        if self.closing:
            return
        try:
            self.received(data, self._seconds())
        except Exception:
            self.server.unhandled += 1
            _log.failure("a media connection from {peer} failed", peer=self.peer)
            self.failed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """What was whole is delivered, then every stream hears that its source is gone."""
        self._give_up_shortcut()
        if self.poller is not None:
            self.poller.discard(self, self.fd)
            self.poller = None
        self.server.disconnected(self)
        if self.tap is not None:
            self.tap.close(how_it_ended(reason))
        now = self._seconds()
        if self.feeds and not self.closing:
            try:
                frames = self.demuxer.finish(now)
                if frames:
                    self._take(frames, now)
            except Exception:
                self.server.unhandled += 1
                _log.failure("the end of a media connection from {peer} failed", peer=self.peer)
        self.closing = True
        self._count_loss()
        cause = how_it_ended(reason)
        for feed in list(self.feeds.values()):
            stream, feed.stream = feed.stream, None
            if stream is not None:
                stream.source_lost(feed, cause)
        self.feeds.clear()
        self._stream = None

    # Readable ----------------------------------------------------------------

    def readable(self, buffer: bytearray, view: memoryview, now: float) -> bool:
        """The poller found bytes: one read, and what comes of it."""
        if self.closing:
            self._hand_back()
            return False
        try:
            size = self._recv_into(buffer)
        except BlockingIOError:
            return False
        except OSError:  # Twisted meets it again and tells connectionLost
            size = 0
        if not size:
            self._hand_back()
            return False
        shortcut = self._shortcut
        tap = self.tap
        if shortcut is not None and (tap is None or (tap.deaf and not tap.inspector.watched)):  # nearly always, so it stands here as well
            answer = shortcut.take((bytes(view[:size]), now))
            if answer != SENT:
                self._went(answer, now)
        else:
            self.received(bytes(view[:size]), now)
        return size == RECV_BYTES and self.poller is not None

    def failed(self) -> None:
        """A fault of our own, already logged."""
        self.closing = True
        self.transport.abortConnection()

    def _hand_back(self) -> None:
        """Let Twisted read from here on: there is nothing but the end to be read."""
        if self.poller is not None:
            self.poller.discard(self, self.fd)
            self.poller = None
            self.transport.resumeProducing()

    def settle(self) -> None:
        """Its streams run: from now on it may be read on the tick."""
        self.settled = True
        for feed in self.feeds.values():
            if feed.stream is not None:
                self.server.settled(feed.stream, feed.sim, self.demuxer)
        if self.poller is not None and self.server.steady is not None:
            self.poller.discard(self, self.fd)
            self.poller = self.server.steady
            self.poller.add(self)

    def _look_for_shortcut(self) -> None:
        """Ordinary pictures of one stream need not go the long way. (A playback has another ingest: its time does not always come from the stamps.)"""
        stream = self._stream
        if self._shortcut is None and len(self.demuxer.streams) == 1 and stream is not None and type(stream.ingest) is Ingest:
            self._shortcut = stream.shortcut = Shortcut(self.demuxer, stream.ingest, stream, self.server.registry.merge)

    def _give_up_shortcut(self) -> None:
        shortcut, self._shortcut = self._shortcut, None
        if shortcut is not None:
            shortcut.give_up()

    # media ---------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> None:
        """Bytes, by whichever way."""
        if self.tap is not None:
            self.tap.data_in(data)
        shortcut = self._shortcut
        if shortcut is not None:
            self._went(shortcut.take((data, now)), now)
        else:
            self._feed(data, now)

    def _went(self, answer: int, now: float) -> None:
        """What the shortcut has answered: send what it has taken, and take the rest the long way."""
        shortcut, stream = self._shortcut, self._stream
        if answer == REST and shortcut is not None:
            rest, shortcut.rest = shortcut.rest, b""
            if shortcut.useless:
                self._give_up_shortcut()
            self._feed(rest, now)
        if answer != SENT and stream is not None:
            stream.done(now)

    def _feed(self, data: bytes, now: float) -> None:
        """The long way."""
        stream = self._stream
        demuxer = self.demuxer
        before = demuxer.packets
        frames = demuxer.feed(data, now)
        if frames:
            if stream is not None and len(demuxer.streams) == 1:
                stream.feed(frames, now, demuxer.packets - before, len(data))
            else:
                self._take(frames, now)
        elif stream is not None:
            stream.heard(demuxer.packets - before, len(data), now)
        elif not self.known and demuxer.framing.sure and not demuxer.verdict:
            self._introduce(now)
        if demuxer.verdict:
            self._refuse_peer(demuxer.verdict)

    def _take(self, frames: list[RawFrame], now: float) -> None:
        """Several channels, or one that is new: what belongs together is fed together."""
        parts: dict[tuple[str, int], list[RawFrame]] = {}
        for raw in frames:
            parts.setdefault((raw.sim, raw.channel), []).append(raw)
        for key, part in parts.items():
            feed = self.feeds.get(key)
            if feed is None:
                feed = self.feeds[key] = Feed(self, *key)
                self._admit(feed, now)
            elif feed.stream is None and now - feed.refused_at > READMIT_S:
                self._admit(feed, now)
            if self.closing:
                return
            self._sim, self._channel = part[0].sim, part[0].channel
            self._stream = feed.stream
            if feed.stream is not None:
                packets = sum(raw.packets for raw in part)
                feed.stream.feed(part, now, packets, sum(len(raw.body) for raw in part) + HEADER_BYTES * packets)

    def _introduce(self, now: float) -> None:
        """Two packets have agreed on whose they are: a large first key frame need not be whole before its stream is known."""
        for track in list(self.demuxer.streams.values()):
            key = (track.sim, track.channel)
            if key not in self.feeds and not self.closing:
                feed = self.feeds[key] = Feed(self, *key)
                self._admit(feed, now)
                self._sim, self._channel, self._stream = track.sim, track.channel, feed.stream

    def _admit(self, feed: Feed, now: float) -> None:
        self.known = True
        answer = self.server.registry.connect(self.kind, feed.sim, feed.channel, feed)
        if isinstance(answer, Refusal):
            feed.refused_at = now
            self.server.refused(self, feed, answer)
            if not any(other.stream for other in self.feeds.values()):
                self._close()
            return
        feed.stream = answer
        self._give_up_shortcut()
        if self.settled:  # a new channel on an old connection: its first picture is not to wait either
            self.settled = False
            self.made = now
            if self.poller is not None and self.server.prompt is not None:
                self.poller.discard(self, self.fd)
                self.poller = self.server.prompt
                self.poller.add(self)
        _log.info("{key}: {transport} from {peer} on the {kind} port", key=str(answer.key), transport=feed.transport, peer=self.peer, kind=self.kind)

    def feed_closed(self, feed: Feed, reason: str) -> None:
        """The hub has let a feed go."""
        self._give_up_shortcut()
        feed.refused_at = self._seconds()
        if self._channel == feed.channel and self._sim == feed.sim:
            self._stream = None  # the next frame asks again
        if not self.closing and not any(other.stream for other in self.feeds.values()):
            self._close()

    def _refuse_peer(self, verdict: str) -> None:
        self.server.wrong_peer(self, verdict)
        self._close()

    def _close(self) -> None:
        """Nothing is owed to a media connection: no waiting for what it may still send."""
        self.closing = True
        self.transport.abortConnection()

    def sweep(self, now: float, media: Media) -> None:
        """Once a second: time-outs, losses, settling."""
        shortcut = self._shortcut
        if shortcut is not None:
            shortcut.count()
        packets = self.demuxer.packets
        if packets != self._packets_seen:
            self._packets_seen = packets
            self.last = now
            self._count_loss()
        elif self.closing:
            return
        elif not packets:
            if now - self.made > media.first_packet_timeout_s:
                self.server.complain(self, f"no JT/T 1078 packet in {media.first_packet_timeout_s:g} s, closed")
                self._close()
            return
        elif now - self.last > media.silent_timeout_s and not any(feed.stream is not None and feed.stream.paused for feed in self.feeds.values()):
            self.server.complain(self, f"silent for {media.silent_timeout_s:g} s, closed")
            self._close()
            return
        elif not self.known and now - self.made > media.first_packet_timeout_s:
            self.server.complain(self, "packets, but no whole frame among them, closed")
            self._close()
            return
        if not self.settled and self.kind != "talk" and now - self.made > SETTLE_S and self.feeds and self._runs():
            self.settle()
            self._look_for_shortcut()

    def _runs(self) -> bool:
        return all(feed.stream is None or feed.stream.runs() for feed in self.feeds.values())

    def _count_loss(self) -> None:
        for track in self.demuxer.streams.values():
            feed = self.feeds.get((track.sim, track.channel))
            if feed is not None:
                feed.count_loss(track.lost_packets)


class MediaFactory(Factory):
    """Makes the protocols of one listener."""

    noisy = False

    def __init__(self, server: MediaServer, kind: str, port: int) -> None:
        self.server = server
        self.kind = kind
        self.port = port

    def buildProtocol(self, addr: Any) -> MediaProtocol:
        """One connection."""
        return MediaProtocol(self.server, self.kind, self.port)


class MediaServer:
    """All media listeners of the process and their connections."""

    def __init__(self, reactor: Any, clock: Clock, registry: Registry, media: Media, log_peer_s: float = 1.0) -> None:
        self.clock = clock
        self.registry = registry
        self.media = media
        self.unhandled = 0  #: faults of our own, each logged with its traceback
        self.accepted = 0
        self.over_limit = 0
        self.wrong_protocol = 0
        self.recorder: Recorder | None = None
        #: called once for each stream of a connection that has run for a while: what it is like is known by then
        self.settled: Callable[[Stream, str, Demuxer], object] = lambda stream, sim, demuxer: None
        self._reactor = reactor
        self._connections: dict[MediaProtocol, None] = {}
        self._ports: list[IListeningPort] = []
        self._sweep_call: DelayedCall | None = None
        self._peers = PeerLog(clock, log_peer_s)
        self.prompt: Poller | None = None  #: connections whose first picture is awaited, read at arrival always
        self.steady: Poller | None = None  #: all others, read as ``merge`` says
        if available(reactor):
            self.prompt, self.steady = Poller(reactor, clock), Poller(reactor, clock, rests=True)
            self.prompt.gather(False)
            registry.merge.add(self.steady)

    def __len__(self) -> int:
        return len(self._connections)

    def factory(self, kind: str, port: int = 0) -> MediaFactory:
        """For a listener made elsewhere (an inherited descriptor, a test)."""
        return MediaFactory(self, kind, port)

    def listen(self, kind: str, port: int, host: str | None = None, tls: Any = None) -> IListeningPort:
        """One listener; ``tls`` is a context factory. Raises ``CannotListenError``."""
        reactor: Any = self._reactor
        host = self.media.host if host is None else host
        factory = self.factory(kind, port)
        if tls is not None:
            listener = reactor.listenSSL(port, factory, tls, backlog=BACKLOG, interface=host)
        else:
            listener = reactor.listenTCP(port, factory, backlog=BACKLOG, interface=host)
        factory.port = listener.getHost().port
        self._ports.append(listener)
        return cast(IListeningPort, listener)

    async def stop(self) -> None:
        """Stop listening, end all streams, close all connections."""
        ports, self._ports = self._ports, []
        for port in ports:
            stopped = port.stopListening()
            if stopped is not None:
                await stopped
        for connection in list(self._connections):
            connection.transport.abortConnection()
        if self.steady is not None and self.prompt is not None:
            self.registry.merge.remove(self.steady)
            self.steady.close()
            self.prompt.close()
        if self._sweep_call is not None and self._sweep_call.active():
            self._sweep_call.cancel()
        self._sweep_call = None
        self._peers.close()

    # connections -----------------------------------------------------------

    def connected(self, connection: MediaProtocol) -> bool:
        """A new one; False when there are too many."""
        if len(self._connections) >= self.media.connections_max:
            self.over_limit += 1
            self.complain(connection, f"refused: {self.media.connections_max} media connections already")
            return False
        self.accepted += 1
        self._connections[connection] = None
        if self._sweep_call is None:
            self._sweep_call = self.clock.callLater(SWEEP_S, self._sweep)
        return True

    def unidentified(self, host: str) -> int:
        """Connections from that address that have not yet said whose they are: for the words of a failed start."""
        return sum(1 for connection in self._connections if connection.address == host and not connection.known)

    def disconnected(self, connection: MediaProtocol) -> None:
        """It is gone."""
        self._connections.pop(connection, None)

    def refused(self, connection: MediaProtocol, feed: Feed, refusal: Refusal) -> None:
        """Admission said no; the registry has counted it and told its observers."""
        why = f"{refusal.reason}: {refusal.message}" if refusal.message else refusal.reason
        self.complain(connection, f"{feed.sim}_{feed.channel} refused ({why})")

    def wrong_peer(self, connection: MediaProtocol, verdict: str) -> None:
        """Not a media connection at all."""
        self.wrong_protocol += 1
        self.complain(connection, f"{verdict}; closed")

    def complain(self, connection: MediaProtocol, what: str) -> None:
        """A line about a bad peer, at most one a second for each address."""
        self._peers.warn(
            connection.address,
            "media {transport} from {peer} on the {kind} port {port}: {what}",
            transport=connection.kind_of_transport,
            peer=connection.peer,
            kind=connection.kind,
            port=connection.port,
            what=what,
        )

    def _sweep(self) -> None:
        self._sweep_call = None
        now = self.clock.seconds()
        media = self.media
        for connection in list(self._connections):
            try:
                connection.sweep(now, media)
            except Exception:
                self.unhandled += 1
                _log.failure("looking after a media connection from {peer} failed", peer=connection.peer)
                connection.failed()
        if self._connections:
            self._sweep_call = self.clock.callLater(SWEEP_S, self._sweep)


def _unconnected(buffer: bytearray) -> int:
    raise BlockingIOError
