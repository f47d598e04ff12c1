"""twisted.web's HTTP/1.1 server with the bounds it lacks, and without HTTP/2, sessions and resources.

What a connection goes through, and what ends each phase::

    phase       from                            ends with                       too long
    IDLE        connect, or an answer sent      first byte of a request         closed (header_timeout_s new, keepalive_s kept alive)
    HEADERS     first byte                      empty line                      408 after header_timeout_s, however often bytes come
    BODY        empty line                      last byte of the body           408 after body_timeout_s
    HANDLING    request complete                answer written                  the handler's own limit
    REFUSED     an answer of this module's own  peer closes                     cut after LINGER_S or LINGER_BYTES
    TAKEN       ``take_over``                   -                               belongs to whoever took the connection

Deadlines are absolute: twisted.web restarts its time-out with every read, so one header a second kept a request open for ever.
Sizes: request line 8 KiB, headers 16 KiB and 100 lines, body ``body_max_bytes``, whether announced or chunked (twisted.web spools any
body to a temporary file before a handler sees it). A client that pipelines and does not read is read no further: the next request
waits until the last answer has left our buffer.

A refused request is answered, the write side is closed, and what still comes is thrown away for a moment, for a connection closed
with unread bytes is reset and the client never sees why.
"""

# mypy: disallow-untyped-calls=False
# (twisted.web.http, which is subclassed here, carries no annotations)

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any
from urllib.parse import quote_from_bytes

from twisted.internet import interfaces
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from relay.hub.merge import Clock
from relay.settings import Http
from relay.web.pieces import plain_socket, send_all
from relay.web.problem import PHRASES, Problem
from relay.web.request import Proxies, Request, redact
from relay.web.short import Short, plain

LINE_BYTES = 8192  #: request line and each header line: the longest sensible URL carries a token and a plate
HEADER_BYTES = 16384  #: all of them
HEADER_LINES = 100
LINGER_S = 2.0  #: how long a refused client may go on sending before it is cut off
LINGER_BYTES = 4 << 20  #: and how much
JUNK_LOG_S = 1.0  #: at most one line about clients that do not speak HTTP in so long

#: what a request begins with: a letter, though the grammar would allow the ~ that is JT/T 808's flag; or an empty line left by the one before
_METHOD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\r")
_ASCII = bytes(range(128))

_log = Logger(namespace="relay.web")


class Phase(Enum):
    """Where a connection stands; see the module's table."""

    IDLE = "idle"
    HEADERS = "headers"
    BODY = "body"
    HANDLING = "handling"
    REFUSED = "refused"
    TAKEN = "taken"


def what_speaks(first: bytes) -> str:
    """What a client that does not speak HTTP probably speaks, by its first bytes; for the log."""
    if first[:1] == b"\x7e":
        return "JT/T 808"
    if first[:4] == b"01cd":
        return "JT/T 1078 media"
    if first[:1] == b"\x5b":
        return "JT/T 809"
    if first[:2] == b"\x16\x03":
        return "TLS"
    if first[:1] == b"\x03":
        return "RTMP"
    return "nothing known"


class Channel(http.HTTPChannel):
    """One connection, with absolute deadlines and bounds."""

    MAX_LENGTH = LINE_BYTES
    totalHeadersSize = HEADER_BYTES
    maxHeaders = HEADER_LINES
    requestFactory = Request
    site: Site
    transport: Any
    _networkProducer: Any
    timeOut: Any
    callLater: Any
    phase = Phase.IDLE
    _fresh = True  #: no request yet on this connection
    _first = b""  #: how the present request begins, for the log about clients that do not speak HTTP
    _drained = 0
    _leave: Callable[[], None] | None = None  #: ends the waiting for an answer of the short way
    _behind = b""  #: what came meanwhile
    _socket: Any = False  #: for the short way; False: not looked at yet
    _plain = b""  #: headers that were found plain
    host = ""  #: the peer's address, counted by the site

    def connectionMade(self) -> None:
        self.timeOut = self.site.settings.header_timeout_s
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self.phase is Phase.REFUSED:
            self._drained += len(data)
            if self._drained > LINGER_BYTES:
                self.transport.abortConnection()
            return
        if self._fresh:
            self._fresh = False
            if data[0] not in _METHOD:
                self._first = data[:16]
                self.refuse(400, "This is not HTTP.")
                return
        if self._leave is not None:  # an answer is waited for: what is pipelined behind waits too
            self._behind += data
            if len(self._behind) > LINE_BYTES:
                self.transport.abortConnection()
            return
        if self.phase is Phase.IDLE and self.site.short is not None and data[-4:] == b"\r\n\r\n" and self._short_way(self.site.short, data):
            return
        LineReceiver.dataReceived(self, data)  # not HTTPChannel's: that begins the time-out anew with each read
        if self.paused:
            if len(self._buffer) > self._optimisticEagerReadSize:
                self._networkProducer.pauseProducing()
        elif self.phase is Phase.IDLE and self._buffer:
            self._begin(self._buffer)

    def _short_way(self, short: Short, data: bytes) -> bool:
        """Answer a plain GET that ``short`` has the answer for, without making a request of it; False leaves it to the long way."""
        if self._buffer or self.paused or data[:5] != b"GET /" or len(data) > LINE_BYTES or data.count(b"\r\n\r\n") != 1:
            return False
        end = data.find(b"\r\n")
        if data[end - 9 : end] != b" HTTP/1.1":
            return False
        headers = data[end:]
        if headers != self._plain:  # players repeat theirs
            if not plain(headers):
                return False
            self._plain = headers
        answer = short(data[4 : end - 9])
        if answer is None:
            return False
        self.site.requests += 1
        if self._socket is False:
            self._socket = plain_socket(self.transport)
        if isinstance(answer, list):
            self.setTimeout(self.site.settings.keepalive_s)
            send_all(self.transport, self._socket, answer)
            return True
        self.phase = Phase.HANDLING
        self.setTimeout(None)
        leave = answer(self._short_answer)
        if self.phase is Phase.HANDLING:  # or the answer came at once
            self._leave = leave
        return True

    def _short_answer(self, pieces: list[bytes]) -> None:
        """What the short way waited for."""
        self._leave = None
        self.phase = Phase.IDLE
        self.setTimeout(self.site.settings.keepalive_s)
        send_all(self.transport, self._socket, pieces)
        if self._behind:
            behind, self._behind = self._behind, b""
            self.dataReceived(behind)

    def _begin(self, start: bytes) -> None:
        self._first = start[:16]
        self.phase = Phase.HEADERS
        self.setTimeout(self.site.settings.header_timeout_s)

    def lineReceived(self, line: bytes) -> None:
        if self.phase is Phase.REFUSED:
            return
        if self.phase is Phase.IDLE:
            self._begin(line)
        if not self._receivedHeaderSize and not line.isascii():
            line = quote_from_bytes(line, _ASCII).encode()  # players write plates into addresses as they are
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self.refuse(431, f"The headers are larger than {self.totalHeadersSize} bytes.")
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        if self._receivedHeaderSize:
            self.refuse(431, f"A header is longer than {self.MAX_LENGTH} bytes.")
        else:
            self.refuse(414, f"The request line is longer than {self.MAX_LENGTH} bytes.")

    def headerReceived(self, line: bytes) -> bool:
        if self.phase is Phase.REFUSED:
            return False
        if self._receivedHeaderCount >= self.maxHeaders:
            self.refuse(431, f"There are more than {self.maxHeaders} headers.")
            return False
        return bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        if self.phase is Phase.REFUSED:
            return
        headers = self.requests[-1].requestHeaders
        hosts = headers.getRawHeaders(b"Host", [])
        if len(hosts) > 1 or (not hosts and self._version == b"HTTP/1.1"):
            self.refuse(400, "A request has one Host header.")  # RFC 9112 3.2
            return
        codings = headers.getRawHeaders(b"Transfer-Encoding", [])
        if codings and (self._version != b"HTTP/1.1" or [coding.lower() for coding in codings] != [b"chunked"]):
            # What a proxy in front may read otherwise than we do ("identity") smuggles requests.
            self.refuse(400, "The only transfer coding is chunked.")
            return
        limit = self.site.settings.body_max_bytes
        if self.length is not None and self.length > limit:
            self.refuse(413, f"The body is larger than {limit} bytes.")
            return
        super().allHeadersReceived()
        if self.length != 0:
            self.phase = Phase.BODY
            self.setTimeout(self.site.settings.body_timeout_s)

    def rawDataReceived(self, data: bytes) -> None:
        if self.phase is not Phase.REFUSED:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        if self.phase is Phase.REFUSED:
            return
        self.phase = Phase.HANDLING
        self.setTimeout(None)
        super().allContentReceived()

    def requestDone(self, request: http.Request) -> None:
        if self.persistent:
            self.phase = Phase.IDLE
            self.setTimeout(self.site.settings.keepalive_s)
        if self._waitingForTransport:
            # What is pipelined behind this request waits until the answer has left: a line of 18 bytes may ask for 100 KiB.
            self.paused = True
            self._networkProducer.pauseProducing()
        super().requestDone(request)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self.paused:
            self.paused = False
            if self._buffer:
                self.dataReceived(b"")

    def timeoutConnection(self) -> None:
        if self.phase is Phase.REFUSED:
            self.transport.abortConnection()
        elif self.phase is Phase.HEADERS:
            self.site.slow += 1
            self.refuse(408, f"The headers took longer than {self.site.settings.header_timeout_s:g} s.")
        elif self.phase is Phase.BODY:
            self.site.slow += 1
            self.refuse(408, f"The body took longer than {self.site.settings.body_timeout_s:g} s.")
        else:
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
            self.loseConnection()

    def forceAbortClient(self) -> None:
        self._abortingCall = None
        self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted calls this for whatever it finds malformed; there is no public hook.
        self.refuse(400, "The request is malformed.")

    def refuse(self, status: int, message: str) -> None:
        """Answer a request that will not be read to its end, and close."""
        if self.phase in (Phase.REFUSED, Phase.TAKEN):
            return
        self.phase = Phase.REFUSED
        self.site.refused += 1
        if status == 400:
            self.site.junk(self.host, self._first)
        self._buffer = b""
        body = Problem(status, message).body()
        head = (
            f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.setTimeout(LINGER_S)
        if interfaces.ITCPTransport.providedBy(self.transport) and not interfaces.ISSLTransport.providedBy(self.transport):
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()  # TLS closes with its own alert

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        if self.phase is not Phase.TAKEN:
            self.site.connection_lost(self.host)
        super().connectionLost(reason)


@implementer(interfaces.IProtocolNegotiationFactory)
class Site(Factory):
    """Makes the channels, bounds their number, and hands requests on.

    ``handle`` gets every complete request; it must answer it sooner or later. ``clock`` is the reactor or a test's clock.
    """

    noisy = False

    def __init__(self, settings: Http, clock: Clock, handle: Callable[[Request], None]) -> None:
        self.settings = settings
        self.clock = clock
        self.handle = handle
        self.proxies = Proxies(settings.trusted_proxies)
        self.short: Short | None = None
        self.open = 0  #: connections, those taken over included
        self.turned_away = 0  #: connections refused since there were too many
        self.refused = 0  #: requests refused before a handler saw them
        self.slow = 0  #: of these for a deadline
        self.requests = 0  #: requests answered
        self._by_address: dict[str, int] = {}
        self._junk_at = float("-inf")
        self._junk = 0

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 only: Twisted would offer HTTP/2 as soon as ``h2`` is installed, at an eightieth of the speed."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: interfaces.IAddress | None) -> Channel | None:
        host = getattr(addr, "host", "")
        limit = self.settings.connections_per_address
        if self.open >= self.settings.connections_max or (limit and self._by_address.get(host, 0) >= limit):
            self.turned_away += 1
            return None
        self.open += 1
        if limit:
            self._by_address[host] = self._by_address.get(host, 0) + 1
        channel = Channel()
        channel.site = channel.factory = self
        channel.host = host
        channel.callLater = self.clock.callLater
        return channel

    def connection_lost(self, host: str) -> None:
        """A connection has ended; whoever takes one over calls this when it does."""
        self.open -= 1
        if self.settings.connections_per_address:
            left = self._by_address.get(host, 0) - 1
            if left > 0:
                self._by_address[host] = left
            else:
                self._by_address.pop(host, None)

    def log(self, request: Request) -> None:
        """One line for an answered request, without its token."""
        self.requests += 1
        if request.quiet and request.code < 400:
            return
        _log.info(
            "{client} {method} {uri} {code} {size} bytes {ms} ms",
            client=request.address,
            method=request.method.decode("latin-1")[:16],
            uri=redact(request.uri.decode("latin-1")),
            code=request.code,
            size=request.sentLength,
            ms=round((self.clock.seconds() - request.begun) * 1000),
        )

    def junk(self, host: str, first: bytes) -> None:
        """Something that is not HTTP: counted, and said at most once a second."""
        self._junk += 1
        now = self.clock.seconds()
        if now - self._junk_at < JUNK_LOG_S:
            return
        _log.warn(
            "the HTTP port gets what is not HTTP, {count} times since the last such line; last {host} with {first} ({guess})",
            count=self._junk,
            host=host or "-",
            first=first[:16].hex(" ") or "nothing",
            guess=what_speaks(first),
        )
        self._junk_at = now
        self._junk = 0


def take_over(request: Request, protocol: interfaces.IProtocol, status: int = 200) -> interfaces.ITransport:
    """Give the request's connection to ``protocol``; nothing of twisted.web holds on to it afterwards. ``status`` is for the access log.

    ``protocol.makeConnection`` is called with the transport. It must call ``site.connection_lost(host)`` when its connection ends.
    """
    channel = request.channel
    transport = channel.transport
    site = channel.site
    channel.phase = Phase.TAKEN
    channel.setTimeout(None)
    channel._networkProducer.unregisterProducer()
    channel._networkProducer.resumeProducing()  # pipelined bytes may have paused it
    if hasattr(transport, "wrappedProtocol"):
        transport.wrappedProtocol = protocol  # TLS: the protocol above it
    else:
        transport.protocol = protocol
    request.setResponseCode(status)
    site.log(request)
    # Request, channel and transport name each other; these lines let both go without the garbage collector.
    channel.requests.clear()
    channel._dataBuffer = []
    channel._buffer = b""
    channel._networkProducer = None
    channel.transport = None
    request.transport = None
    request.notifications = []
    request.finished = 1
    del request.channel
    protocol.makeConnection(transport)
    return transport  # type: ignore[no-any-return]
