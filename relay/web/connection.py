"""Connections taken over from twisted.web: written in order, bounded, counted, each ended once.

After ``take_over`` nothing of twisted.web is left of a connection: the transport's protocol is one of these small objects, and every byte
goes through the ``Sink`` that a hub viewer uses as well, so that its direct sends cannot overtake what was written here. The first
bytes go by ``hold``, since the answer to an earlier request may still lie in the transport's buffer.

    Connection          write in order, one end
      WebSocket         frames, ping every PING_S (gone after MISSES without an answer), close codes
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet import interfaces
from twisted.python.failure import Failure
from zope.interface import implementer

from relay.web.request import Request
from relay.web.server import Site, take_over
from relay.web.websocket import NORMAL, TRY_AGAIN, Message, Opcode, Reader, Violation, close_frame, frame

QUEUE_BYTES = 262144  #: what may wait for a client that does not read: a page that opens gets at most 500 recent events of some 300 bytes
UNASKED_BYTES = 65536  #: what a player may send after its request before it is cut off; it has nothing to say
PIECE_BYTES = 16384  #: one ``hold`` of a sink
PING_S = 20.0  #: proxies cut what is silent for 30 or 60 s
MISSES = 2  #: pings without an answer before a client is taken to be gone
CLOSE_S = 10.0  #: how long what is still to be sent, and the client's closing, may take before the connection is cut


class Sink(Protocol):
    """Where bytes go; ``relay.hub.viewer.Sink`` says more."""

    @property
    def send(self) -> Callable[[bytes], int]: ...

    def hold(self, data: bytes, ready: Callable[[], None]) -> None: ...

    def close(self, farewell: bytes) -> None: ...

    def abort(self) -> None: ...


SinkMaker = Callable[[interfaces.ITransport], Sink]


@implementer(interfaces.IProtocol)
class Connection:
    """One connection; subclasses say what is received and what its end means."""

    __slots__ = ("_closing", "_drained", "_holding", "_host", "_queue", "_queued", "_site", "_timer", "_unasked", "closed", "factory", "gone", "sink")

    QUEUE = QUEUE_BYTES  #: what may wait before the client is cut off
    STATUS = 200  #: of the answer that ``begin`` sends, for the access log

    def __init__(self) -> None:
        self.closed = False  #: lost or being closed; nothing more is written
        self.gone = False  #: lost
        self._holding = False
        self._queue: deque[bytes] | None = None
        self._queued = 0
        self._closing: bytes | None = None  # the farewell, once ``close`` was called
        self._drained: Callable[[], None] | None = None
        self._unasked = 0
        self._timer: Any = None
        self.factory = None

    def begin(self, request: Request, sinks: SinkMaker, head: bytes) -> None:
        """Take the request's connection over and send ``head`` as its answer."""
        self._site: Site = request.channel.site
        self._host: str = request.channel.host
        transport = take_over(request, self, self.STATUS)
        if interfaces.ITCPTransport.providedBy(transport):
            transport.setTcpKeepAlive(True)  # a player that vanished without a word is noticed though nothing is sent to it
        self.sink = sinks(transport)
        if interfaces.ISSLTransport.providedBy(transport):
            self.write(head)  # every write goes through TLS, so that nothing can overtake
            return
        self._holding = True
        self.sink.hold(head, self._ready)

    # writing ---------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send now or in its turn; a client that lets more than QUEUE wait is cut off."""
        if self.closed or not data:
            return
        if self._holding or self._queue:
            self._enqueue(data)
            return
        try:
            sent = self.sink.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # being lost; connectionLost follows
        if sent < len(data):
            self._enqueue(data[sent:])
            self._flush()

    def _enqueue(self, data: bytes) -> None:
        self._queued += len(data)
        if self._queued > self.QUEUE:
            self.overflow()
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.append(data)

    def _flush(self) -> None:
        if self._holding or not self._queue:
            return
        waiting = b"".join(self._queue)
        piece, rest = waiting[:PIECE_BYTES], waiting[PIECE_BYTES:]
        self._queue = deque((rest,)) if rest else None
        self._queued = len(rest)
        self._holding = True
        self.sink.hold(piece, self._ready)

    def _ready(self) -> None:
        self._holding = False
        if self.closed and self._closing is None:
            return
        self._flush()
        if self._holding:
            return
        if self._closing is not None:
            farewell, self._closing = self._closing, None
            self.sink.close(farewell)
        elif self._drained is not None:
            drained, self._drained = self._drained, None
            drained()

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call once, now or when everything written so far has left the sink; never if the connection is lost before."""
        if self.closed:
            return
        if self._holding or self._queue:
            self._drained = call
        else:
            call()

    def overflow(self) -> None:
        """Too much waits."""
        self.abort()

    # ending ----------------------------------------------------------------

    def close(self, farewell: bytes = b"") -> None:
        """Send what waits, then ``farewell``, then close."""
        if self.closed:
            return
        self.closed = True
        self._drained = None
        self.time(CLOSE_S, self.sink.abort)
        if self._holding or self._queue:
            self._closing = farewell
        else:
            self.sink.close(farewell)

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        self._drained = None
        self._queue, self._queued, self._closing = None, 0, None
        self.time(None)
        self.sink.abort()

    def time(self, delay: float | None, call: Callable[[], None] | None = None) -> None:
        """The connection's one timer: ``call`` after ``delay`` seconds instead of whatever it was set to; None: nothing."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if delay is not None and call is not None and not self.gone:
            self._timer = self._site.clock.callLater(delay, call)

    def lost(self) -> None:
        """The connection is gone, whoever ended it; called once."""

    def received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._unasked += len(data)
        if self._unasked > UNASKED_BYTES:
            self.abort()

    # what Twisted calls ------------------------------------------------------

    def makeConnection(self, transport: interfaces.ITransport) -> None:
        """The transport is handed over; ``begin`` does the rest."""

    def connectionMade(self) -> None:
        """Never called: the connection was made before."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the client."""
        self.received(data)

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        self.closed = self.gone = True
        self.time(None)
        self._queue, self._queued, self._closing, self._drained = None, 0, None, None
        self._site.connection_lost(self._host)
        self.lost()

    def logPrefix(self) -> str:
        """For Twisted's log context."""
        return type(self).__name__


class WebSocket(Connection):
    """One WebSocket, from the accepted handshake on."""

    __slots__ = ("_missed", "_reader", "close_code")

    STATUS = 101

    def __init__(self) -> None:
        super().__init__()
        self._reader = Reader()
        self._missed = 0
        self.close_code = 0  #: what the client's close frame said, or ours

    def begin(self, request: Request, sinks: SinkMaker, head: bytes) -> None:
        super().begin(request, sinks, head)
        self.time(PING_S, self._ping)

    # from the client -----------------------------------------------------------

    def received(self, data: bytes) -> None:
        if self.close_code:
            return
        try:
            messages = self._reader.receive(data)
        except Violation as problem:
            self.end(problem.code, str(problem))
            return
        for message in messages:
            if message.opcode is Opcode.PING:
                self.control(frame(Opcode.PONG, message.data))
            elif message.opcode is Opcode.PONG:
                self._missed = 0
            elif message.opcode is Opcode.CLOSE:
                self.end(NORMAL if message.code == 1005 else message.code, "")
                return
            else:
                self.message(message)
                if self.closed:
                    return

    def message(self, message: Message) -> None:
        """A text or binary message. Nothing is expected of a client here, and nothing done with it."""

    # to the client ---------------------------------------------------------------

    def text(self, data: bytes) -> None:
        """One text message."""
        self.write(frame(Opcode.TEXT, data))

    def control(self, data: bytes) -> None:
        """A ping or pong: sent between whole messages, left out while the client does not read."""
        if not self._queue:
            self.write(data)

    def end(self, code: int = NORMAL, reason: str = "") -> None:
        """Send what waits and a close frame, then close."""
        if not self.close_code:
            self.close_code = code
            self.close(close_frame(code, reason))

    def overflow(self) -> None:
        self.close_code = TRY_AGAIN
        self.abort()

    def _ping(self) -> None:
        if self._missed >= MISSES:
            self.abort()
            return
        self._missed += 1
        self.time(PING_S, self._ping)
        self.control(frame(Opcode.PING, b""))
