"""One player: a bounded queue in front of its socket.

    waiting ──first burst──→ live ──socket full──→ busy ──all taken──→ live
                               ↑                    │ queue over its limit
                               └──next key frame── resync ←┘            every state ──→ closed

live     in the output's table of ready viewers: the output calls its socket's ``send`` directly, nothing is queued here
busy     ``rest`` (what the socket did not take) goes out as the socket drains; what comes meanwhile waits in ``queue``, bounded in bytes and
         in time. Over a limit the queue is cut to its latest key frame, or emptied: never single P frames.
resync   emptied; goes on at the next key frame, with the headers it missed

The joining burst (headers and GOP cache) is one bytes object shared by all who join at that moment and does not count against the queue.

The seam to the sockets is ``Sink``; ``relay.net.sink`` has the Twisted ones (``TcpSink``, ``TlsSink``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from relay.hub.stats import ViewerStats

if TYPE_CHECKING:
    from relay.hub.formats import OutputFormat
    from relay.hub.output import Output

#: what a sink may have to buffer itself; the rest of a burst stays shared and is sent from where it lies
HOLD_BYTES = 16384
#: a response head is put in front of a burst up to this size by copying; in front of a larger one it is a send of its own
JOIN_BYTES = 32768

_ids = itertools.count(1)


def next_id() -> int:
    """A viewer's number, never given again."""
    return next(_ids)


Send = Callable[[bytes], int]


class Who(NamedTuple):
    """Whose viewer it is, for statistics and the audit."""

    peer: str = ""  #: "address:port"
    name: str = ""  #: user, token or superior
    purpose: str = ""  #: "live", "push", "recording" …


NOBODY = Who()


class Sink(Protocol):
    """Where a viewer's bytes go. All calls come from the reactor's thread."""

    @property
    def send(self) -> Send:
        """Take as much as fits now and return how many bytes that was; BlockingIOError when nothing fits.

        Any other OSError means that the connection is being lost: the hub sends nothing more and waits for ``Viewer.close`` from the
        owner of the connection. Also takes a memoryview.
        """

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        """Buffer ``data`` (at most ``HOLD_BYTES``; ``send`` would not take it) and call ``ready()`` once when it has gone."""

    def close(self, farewell: bytes) -> None:
        """Send what is held, then ``farewell``, then close."""

    def abort(self) -> None:
        """Close at once; used for a viewer that takes nothing."""


class Chunk:
    """What one flush sent, kept for the viewers that could not take it at once."""

    __slots__ = ("data", "key", "time", "version")

    def __init__(self, data: bytes, key: bytes | None, version: int, time: float) -> None:
        self.data = data
        self.key = key  #: from the latest key frame in it on; None when there is none
        self.version = version  #: of the output's configuration at its end
        self.time = time  #: monotonic seconds


class Viewer:
    """One player. Made by ``Stream.attach``; whoever owns the connection calls ``close`` when it is lost."""

    __slots__ = (
        "_draining",
        "_farewell",
        "_held",
        "_held_at",
        "_joined_total",
        "_lost",
        "_offset",
        "_on_close",
        "_on_first",
        "_output",
        "_preamble",
        "_progress",
        "_queue",
        "_queue_bytes",
        "_rest",
        "_rest_counts",
        "_sent",
        "_sink",
        "busy",
        "closed",
        "drops",
        "first_byte",
        "id",
        "joined",
        "need_key",
        "place",
        "send",
        "started",
        "version",
        "who",
    )

    def __init__(
        self,
        output: Output,
        sink: Sink,
        who: Who,
        preamble: bytes,
        farewell: Callable[[str], bytes] | None,
        on_first: Callable[[Viewer], None] | None,
        on_close: Callable[[Viewer, str], None] | None,
        now: float,
    ) -> None:
        self.id = next_id()
        self.who = who
        self.joined = now
        self.first_byte = 0.0
        self.drops = 0
        self.send: Send = sink.send  #: the socket's own, so that the fan-out calls nothing between
        self.started = False  #: its headers are on their way
        self.busy = False
        self.need_key = False
        self.place = -1  #: among the output's ready viewers
        self.closed = ""  #: the cause
        self.version = 0  #: of the output's configuration that it has
        self._output = output
        self._sink = sink
        self._preamble = preamble
        self._farewell = farewell
        self._on_first = on_first
        self._on_close = on_close
        self._rest: bytes = b""
        self._offset = 0
        self._held = 0  #: of it in the sink's hands, before the offset
        self._rest_counts = False  #: rest is live data, not the joining burst
        self._held_at = now  #: when the rest's data were sent by the source
        self._progress = now  #: when the socket last took something
        self._queue: list[Chunk] | None = None
        self._queue_bytes = 0
        self._sent = 0
        self._joined_total = -1  #: the output's count of bytes at the moment of becoming live; -1 = not live
        self._draining = False  #: closed, but what is queued still goes out
        self._lost = False  #: send failed; the owner of the connection will notice and call close

    # state ----------------------------------------------------------------

    @property
    def state(self) -> str:
        """waiting | live | busy | resync | closed."""
        if self.closed:
            return "closed"
        if not self.started:
            return "waiting"
        if self.need_key:
            return "resync"
        return "busy" if self.busy or self._lost else "live"

    @property
    def queue_bytes(self) -> int:
        """Live bytes that wait, here and in what the socket has not taken."""
        return self._queue_bytes + (len(self._rest) - self._offset + self._held if self._rest_counts else 0)

    @property
    def queue_ms(self) -> int:
        """How long the oldest of them has waited: what this viewer is behind, beside what its socket holds."""
        if self._rest_counts:
            oldest = self._held_at
        elif self._queue:
            oldest = self._queue[0].time
        else:
            return 0
        return round((self._output.now() - oldest) * 1000)

    @property
    def format(self) -> OutputFormat:
        """What it gets."""
        return self._output.format

    @property
    def sent_bytes(self) -> int:
        """Handed to the socket or on their way to it."""
        return self._sent + (self._output.sent_each - self._joined_total if self._joined_total >= 0 else 0)

    def stats(self) -> ViewerStats:
        """Figures now."""
        return ViewerStats(
            id=self.id,
            state=self.state,
            format="/".join(self._output.format),
            peer=self.who.peer,
            who=self.who.name,
            bytes=self.sent_bytes,
            drops=self.drops,
            queue_bytes=self.queue_bytes,
            queue_ms=self.queue_ms,
            joined=self.joined,
            first_byte=self.first_byte,
            note=self._output.note,
        )

    def insert(self, data: bytes) -> None:
        """A whole control frame (a WebSocket ping or pong) between two messages; dropped with the rest when the queue overflows."""
        if self.closed or self._lost:
            return
        if self.busy:
            self._enqueue(Chunk(data, None, self._queue[-1].version if self._queue else self.version, self._output.now()))
        elif not self._deliver(data, True) and self.started and not self._lost:
            self._settle()
            self.version = self._output.flushed_version()
            self._output.viewer_busy(self)

    # called by the output ---------------------------------------------------

    def start(self, burst: bytes, version: int, now: float) -> None:
        """The headers and the cached GOP; from now on the viewer is live."""
        self.started = True
        self.version = version
        self._progress = self._held_at = now
        preamble, self._preamble = self._preamble, b""
        if self.busy:  # a control frame is on its way
            self._rest = self._rest[self._offset :] + preamble + burst
            self._offset = 0
            self._rest_counts = False
            self._sent += len(burst)
        elif preamble:
            taken = 0
            if len(burst) > JOIN_BYTES:
                try:
                    taken = self.send(preamble)
                except BlockingIOError:
                    pass
                except OSError:
                    self._lose(0)
                    return
            if taken < len(preamble):
                burst = preamble[taken:] + burst
                self._sent -= len(preamble) - taken  # the head is not counted
        if not self.busy and self._deliver(burst, False):
            self._live()
        if not self._lost:
            self.first_byte = now
            on_first, self._on_first = self._on_first, None
            if on_first is not None:
                on_first(self)

    def offer(self, chunk: Chunk) -> None:
        """What a flush sent, for a viewer that is not live."""
        if self._lost or not self.started:
            return
        if not self.need_key:
            self._enqueue(chunk)
            return
        if chunk.key is None:
            return
        self.need_key = False
        data = self._output.framing.missed(self.version, chunk.version) + chunk.key
        if self.busy:
            self._enqueue(Chunk(data, chunk.key, chunk.version, chunk.time))
        else:
            self.version = chunk.version
            self._held_at = chunk.time
            if self._deliver(data, True):
                self._live()

    def fell_behind(self, data: bytes, sent: int, now: float, version: int) -> None:
        """The socket took only ``sent`` bytes of what all got; -1: it is being lost."""
        self._settle()
        self.version = version
        if sent < 0:
            self._lose(len(data))
            return
        self._rest_counts = True
        self._held_at = self._progress = now
        self._hold(data, sent)

    def is_stuck(self, now: float, limit: float) -> bool:
        """Nothing was taken for longer than ``limit`` seconds."""
        return self.busy and now - self._progress > limit

    def go_live(self, total: int) -> None:
        """The output has put it among the ready viewers; ``total`` is its count of bytes."""
        self._joined_total = total

    # sending ----------------------------------------------------------------

    def _deliver(self, data: bytes, counts: bool) -> bool:
        """Send, hold what does not fit; True when all of it is gone. Only when nothing is held."""
        self._sent += len(data)
        try:
            sent = self.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose(len(data))
            return False
        if sent == len(data):
            return True
        self._rest_counts = counts
        self._hold(data, sent)
        return False

    def _hold(self, data: bytes, sent: int) -> None:
        self.busy = True
        self._rest = data
        piece = data[sent : sent + HOLD_BYTES]
        self._held = len(piece)
        self._offset = sent + self._held
        self._sink.hold(piece, self._writable)

    def _writable(self) -> None:
        """What the sink held has gone: send on from the rest, then the queue."""
        if (self.closed and not self._draining) or self._lost:
            return
        self._progress = self._output.now()
        rest, offset = self._rest, self._offset
        if offset < len(rest):
            try:
                sent = self.send(memoryview(rest)[offset:])  # type: ignore[arg-type]
            except BlockingIOError:
                sent = 0
            except OSError:
                self._lose(len(rest) - offset)
                return
            if offset + sent < len(rest):
                self._hold(rest, offset + sent)
                return
        self._rest = b""
        self._offset = self._held = 0
        self._rest_counts = False
        self.busy = False
        queue, self._queue, self._queue_bytes = self._queue, None, 0
        if queue:
            self._held_at = queue[0].time
            self.version = queue[-1].version
            if not self._deliver(b"".join([chunk.data for chunk in queue]), True):
                return
        if self._draining:
            self._finish()
        elif self.started and not self.need_key:
            self._live()

    def _enqueue(self, chunk: Chunk) -> None:
        queue = self._queue
        if queue is None:
            queue = self._queue = []
        queue.append(chunk)
        self._queue_bytes += len(chunk.data)
        limits = self._output.options
        oldest = self._held_at if self._rest_counts else queue[0].time
        if self.queue_bytes <= limits.queue_bytes and chunk.time - oldest <= limits.queue_s:
            return
        self.drops += 1
        self._output.drops += 1
        held = self.queue_bytes - self._queue_bytes
        self._queue, self._queue_bytes = None, 0
        for at in range(len(queue) - 1, 0, -1):  # on from the latest key frame, when there is one and it fits
            first = queue[at]
            if first.key is None:
                continue
            data = self._output.framing.missed(self.version, first.version) + first.key
            size = len(data) + sum(len(later.data) for later in queue[at + 1 :])
            if held + size <= limits.queue_bytes and chunk.time - first.time <= limits.queue_s:
                self._queue = [Chunk(data, first.key, first.version, first.time), *queue[at + 1 :]]
                self._queue_bytes = size
                return
            break
        self.need_key = True

    def _live(self) -> None:
        self._output.viewer_live(self)

    def _settle(self) -> None:
        """No longer live: take over the count of bytes."""
        self._sent = self.sent_bytes
        self._joined_total = -1

    def _lose(self, unsent: int) -> None:
        self._lost = True
        self._sent -= unsent
        self._queue, self._queue_bytes, self._rest, self._offset = None, 0, b"", 0

    # the end ------------------------------------------------------------------

    def close(self, cause: str = "gone", drain: bool = False) -> None:
        """Stop sending. Closes the sink too unless the cause is "gone" (the connection is lost already). Safe to call again.

        ``drain``: what is queued still goes out first (the end of a recording); the registry watches that it does.
        """
        if self.closed:
            if self._draining and not drain:
                self._draining = False
                self._end(cause)
            return
        self._settle()
        self.closed = cause or "closed"
        self._output.viewer_closed(self)
        if drain and self.busy and not self._lost:
            self._draining = True
            self._output.drain(self)
        else:
            self._end(cause)

    def _finish(self) -> None:
        self._draining = False
        self._end(self.closed)

    def _end(self, cause: str) -> None:
        busy, self.busy = self.busy, False
        self._queue, self._queue_bytes, self._rest, self._offset = None, 0, b"", 0
        if cause != "gone":
            if busy or self._lost:  # a message cut in the middle must not be followed by a farewell
                self._sink.abort()
            else:
                # a head that never went out is the owner's affair: it may still answer with an error
                self._sink.close(self._farewell(self.closed) if self._farewell is not None and not self._preamble else b"")
        on_close, self._on_close, self._on_first, self._farewell = self._on_close, None, None, None
        if on_close is not None:
            on_close(self, self.closed)
