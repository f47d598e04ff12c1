"""A superior's player: opens the inter-platform URL of JT/T 1078-2016 table 35, reads packets, and says what came.

    player = fetch(reactor, "203.0.113.10", 8078, "粤B12345", 2, 1, 0, password)
    await player.frames_came(10)
    player.frames, player.first, player.status
    player.close()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from relay.jt1078.demux import Demuxer, RawFrame

KEPT = 2000  #: frames that are kept; more are counted


def stream_path(plate: str, color: int, channel: int, avitem: int, password: str, mark: str = "") -> str:
    """The URL's path; UTF-8 percent escapes, as the standard wants them."""
    return f"/{quote(plate, safe='')}.{color}.{channel}.{avitem}.{password}" + (f".{mark}" if mark else "")


class StreamPlayer(Protocol):
    """One connection, from the request to its end."""

    def __init__(self, request: bytes, seconds: Any, save: Callable[[bytes], object] | None = None) -> None:
        """``save`` gets the stream's bytes as they come."""
        self._request = request
        self._seconds = seconds
        self._save = save
        self._head = b""
        self._demuxer = Demuxer()
        self._waiting: list[tuple[int, Deferred[StreamPlayer]]] = []
        self.status = 0  #: of the answer; 0 = none yet
        self.body = b""  #: of a refusal
        self.raw = b""  #: the stream's bytes, of the first megabyte
        self.frames: list[RawFrame] = []
        self.counts: Counter[int] = Counter()  #: frames by channel
        self.kinds: Counter[tuple[int, int]] = Counter()  #: frames by payload type and data type
        self.bytes = 0  #: of the stream
        self.asked_at: float = seconds()
        self.byte_at: float | None = None  #: when the stream's first bytes came
        self.first_at: float | None = None  #: when the first frame was whole
        self.ended = ""  #: why the connection is over
        self.over: Deferred[StreamPlayer] = Deferred()

    @property
    def lost_packets(self) -> int:
        """Gaps in the packets' numbers."""
        return self._demuxer.lost_packets

    @property
    def first(self) -> RawFrame | None:
        """The first frame."""
        return self.frames[0] if self.frames else None

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        if not self.status:
            self._head += data
            head, mark, data = self._head.partition(b"\r\n\r\n")
            if not mark:
                return
            self.status = int(head.split()[1])
        if self.status != 200:
            self.body += data
            return
        if len(self.raw) < 1 << 20:
            self.raw += data
        now = self._seconds()
        if data and self.byte_at is None:
            self.byte_at = now
        self.bytes += len(data)
        if self._save is not None:
            self._save(data)
        for frame in self._demuxer.feed(data, now):
            if self.first_at is None:
                self.first_at = now
            self.counts[frame.channel] += 1
            self.kinds[frame.pt, frame.data_type] += 1
            if len(self.frames) < KEPT:
                self.frames.append(frame)
        done = [each for each in self._waiting if self.counts.total() >= each[0]]
        for each in done:
            self._waiting.remove(each)
            each[1].callback(self)

    def frames_came(self, count: int) -> Deferred[StreamPlayer]:
        """Fires when so many frames are there; fails when the connection ends before."""
        waiting: Deferred[StreamPlayer] = Deferred()
        if self.counts.total() >= count:
            waiting.callback(self)
        else:
            self._waiting.append((count, waiting))
        return waiting

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = reason.getErrorMessage()
        waiting, self._waiting = self._waiting, []
        for _, each in waiting:
            each.errback(ConnectionError(f"the stream ended: {self.status or 'no answer'} {self.body.decode('utf-8', 'replace')}"))
        self.over.callback(self)

    def close(self) -> None:
        """The player goes away."""
        if self.transport is not None:
            self.transport.loseConnection()


def fetch(
    reactor: Any, host: str, port: int, plate: str, color: int, channel: int, avitem: int, password: str, mark: str = "", path: str = "",
    save: Callable[[bytes], object] | None = None,
) -> StreamPlayer:
    """Open a stream as a superior's player does; the player is there at once, what came is told by it. ``path``: instead of the standard's own."""
    target = path or stream_path(plate, color, channel, avitem, password, mark)
    player = StreamPlayer(f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\n\r\n".encode("latin-1"), reactor.seconds, save)
    factory: Any = ClientFactory()
    factory.noisy = False
    factory.buildProtocol = lambda address: player
    factory.clientConnectionFailed = lambda connector, reason: player.connectionLost(reason)
    reactor.connectTCP(host, port, factory)
    return player
