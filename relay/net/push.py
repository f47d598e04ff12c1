"""Connections to outside RTMP servers: resolved once, fenced, TLS verified; and the sink through which a push's media leave.

The hub gives FLV's bytes, as to any HTTP viewer. ``PushSink`` cuts them into tags, and the session writes them as messages of this connection, with its own
stream number, chunk size and time stamps. When the transport is full the sink refuses, and what comes then waits in the hub's bounded queue.
"""

# mypy: disallow-untyped-calls=False
# (twisted.internet.endpoints, twisted.internet.ssl and twisted.protocols.tls carry few annotations)

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IResolutionReceiver, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer

from relay.core.fence import Fence
from relay.core.push import Link, PushFailed
from relay.errors import ProtocolError
from relay.hub.merge import Clock
from relay.net.sink import SEND_BUFFER_BYTES, TlsSink
from relay.rtmp.client import PublishSession, Rejected, Started, State
from relay.rtmp.mux import Tag, TagReader
from relay.rtmp.url import Target

#: one address of several; the push has its own deadline for all
ATTEMPT_S = 5.0
#: addresses of one name that are tried
ADDRESSES_MAX = 4
CLOSE_S = 5.0


class PushSink(TlsSink):
    """``hub.viewer.Sink`` of one publication: what TLS encrypts there, the session writes as messages here."""

    __slots__ = ("_link", "_tags")

    def __init__(self, link: PushLink) -> None:
        super().__init__(link.transport)
        self._link = link
        self._tags = TagReader()

    def send(self, data: bytes) -> int:
        """All of it, or nothing while the transport is full."""
        if self._paused:
            raise BlockingIOError
        self._link.media(self._tags.receive(data))
        return len(data)

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        """The transport is full: one more piece, and it tells when it has room."""
        self._link.media(self._tags.receive(data))
        self._ready = ready

    def close(self, farewell: bytes) -> None:
        """The last words, then the end."""
        self._link.finish(farewell)

    def abort(self) -> None:
        """At once."""
        self._link.close()


class PushLink(TwistedProtocol):
    """One connection to a server."""

    transport: Any

    def __init__(self, clock: Clock) -> None:
        self.sink: PushSink | None = None  #: from Publish.Start on
        self.sent_bytes = 0
        self.on_lost: Callable[[str], None] = lambda why: None
        self._clock = clock
        self._session: PublishSession | None = None
        self._publishing: Deferred[None] | None = None
        self._ended = ""
        self._gone = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        handle = self.transport.getHandle()
        if not isinstance(handle, socket.socket):  # TLS: the connection's own socket is one layer down
            handle = self.transport.transport.getHandle()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def publish(self, target: Target, query: str, fourccs: tuple[str, ...]) -> Deferred[None]:
        """Begin the publication."""
        app, tc_url, name = target.connect(query)
        publishing: Deferred[None] = Deferred()
        if self._ended:
            publishing.errback(PushFailed(self._ended))
            return publishing
        self._publishing = publishing
        noise = os.urandom(PublishSession.NOISE)
        self._session = PublishSession(app, tc_url, name, fourccs, noise, int(self._clock.seconds() * 1000))
        self._flush()
        return publishing

    def dataReceived(self, data: bytes) -> None:
        session = self._session
        if session is None or self._ended:
            return
        try:
            session.receive(data)
        except ProtocolError as problem:
            self._end(f"the server speaks no RTMP that can be read: {problem}")
            self.transport.abortConnection()
            return
        self._flush()
        for event in session.events():
            if isinstance(event, Rejected):
                self._end(f"the server refuses: {event}")
                self.transport.loseConnection()
            elif isinstance(event, Started):
                self.sink = PushSink(self)
                publishing, self._publishing = self._publishing, None
                if publishing is not None:
                    publishing.callback(None)

    def _flush(self) -> None:
        if self._session is not None and not self._ended:
            self._send(self._session.bytes_to_send())

    def _send(self, data: bytes) -> None:
        if data:
            self.sent_bytes += len(data)
            self.transport.write(data)

    def media(self, tags: list[Tag]) -> None:
        """Tags of the hub."""
        if tags and self._session is not None and not self._ended and self._session.state is State.RUNNING:
            self._send(self._session.media(tags))

    def farewell(self, cause: str) -> bytes:
        """For the hub, when it closes the viewer."""
        return self._session.farewell() if self._session is not None else b""

    def finish(self, farewell: bytes) -> None:
        """The last words, then the end; a server that does not take them is not waited for."""
        self._ended = self._ended or "closed"
        self._send(farewell)
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._clock.callLater(CLOSE_S, self._cut)

    def _cut(self) -> None:
        if not self._gone:
            self.transport.abortConnection()

    def close(self) -> None:
        """The end, at once."""
        self._ended = self._ended or "closed"
        self._publishing = None
        self._cut()

    def _end(self, why: str) -> None:
        if self._ended:
            return
        self._ended = why
        publishing, self._publishing = self._publishing, None
        if publishing is not None:
            publishing.errback(PushFailed(why))
        else:
            self.on_lost(why)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        self._end(_words(reason.value))


@implementer(IResolutionReceiver)
class _Found:
    """What a name resolves to."""

    def __init__(self, done: Deferred[list[str]]) -> None:
        self._done = done
        self._addresses: list[str] = []

    def resolutionBegan(self, resolution: object) -> None: ...

    def addressResolved(self, address: object) -> None:
        if isinstance(address, IPv4Address | IPv6Address) and address.host not in self._addresses:
            self._addresses.append(address.host)

    def resolutionComplete(self) -> None:
        self._done.callback(self._addresses)


class Dialler:
    """Connects to servers. ``fence`` holds for those that somebody named by the API; what stands in the configuration file is trusted."""

    def __init__(self, reactor: Any, clock: Clock, fence: Fence) -> None:
        self._reactor = reactor
        self._clock = clock
        self._fence = fence

    def __call__(self, target: Target, trusted: bool, tls_ca: str) -> Deferred[Link]:
        """One connection, TLS included; fails with PushFailed."""
        return Deferred.fromCoroutine(self._dial(target, trusted, tls_ca))

    async def _dial(self, target: Target, trusted: bool, tls_ca: str) -> Link:
        done: Deferred[list[str]] = Deferred()
        self._reactor.nameResolver.resolveHostName(_Found(done), target.host, target.port)
        addresses = await done
        if not addresses:
            raise PushFailed(f"{target.host} has no address")
        refusals = [] if trusted else [why for address in addresses if (why := self._fence.refuses(target.host, address))]
        if refusals:  # one is enough: a name that points inwards as well is a trick, or a mistake that would show now and then
            raise PushFailed(refusals[0])
        options = self._tls(target, tls_ca) if target.scheme == "rtmps" else None
        why = ""
        for address in addresses[:ADDRESSES_MAX]:
            endpoint_of = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            endpoint: IStreamClientEndpoint = endpoint_of(self._reactor, address, target.port, timeout=ATTEMPT_S)
            if options is not None:
                endpoint = wrapClientTLS(options, endpoint)
            try:
                link = await endpoint.connect(Factory.forProtocol(partial(PushLink, self._clock)))
            except (error.ConnectError, SSL.Error, OSError) as problem:
                why = f"{target.place}: {_words(problem)}"
                continue
            return cast(Link, link)
        raise PushFailed(why)

    def _tls(self, target: Target, tls_ca: str) -> Any:
        trust = None
        if tls_ca:
            try:
                blocks = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", Path(tls_ca).read_text(encoding="ascii"), re.DOTALL)
                trust = trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks])
            except (OSError, ValueError, SSL.Error) as problem:
                raise PushFailed(f"{tls_ca}: no certificates ({problem})") from None
            if not blocks:
                raise PushFailed(f"{tls_ca}: no certificates")
        return optionsForClientTLS(target.host, trustRoot=trust)


def _words(problem: BaseException | None) -> str:
    """Why a connection failed or ended, for people."""
    if isinstance(problem, error.TimeoutError):
        return "no answer"
    if isinstance(problem, error.ConnectionRefusedError):
        return "connection refused"
    if isinstance(problem, error.ConnectionDone):
        return "the server closed the connection"
    if isinstance(problem, error.ConnectionLost):
        return "the connection was lost"
    if isinstance(problem, VerificationError):
        return "TLS: the server's certificate is for another host"
    if isinstance(problem, SSL.Error):
        stack = problem.args[0] if problem.args else None
        return "TLS: " + ("; ".join(str(entry[-1]) for entry in stack) if isinstance(stack, list) and stack else "the handshake failed")
    return str(problem) or type(problem).__name__
