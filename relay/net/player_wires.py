"""The connections of a recording that is played: to the relay, from it, and datagrams.

A ``Link`` (``player``) says what goes out and hears what comes; here is how. TCP waits while the socket is full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ClientFactory, DatagramProtocol, ServerFactory, connectionDone
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from relay.net.player import Link


@implementer(IPushProducer)
class Wire(StreamProtocol):
    """A TCP connection."""

    transport: Any

    def __init__(self, link: Link, ready: Deferred[None]) -> None:
        self._link = link
        self._ready = ready
        self.full: Deferred[None] | None = None  #: fires when the relay reads again

    def connectionMade(self) -> None:
        self._link.wire = self
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        if not self._ready.called:
            self._ready.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self._link.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.resumeProducing()
        self._link.lost(reason)

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def end(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def pauseProducing(self) -> None:
        self.full = self.full or Deferred()

    def resumeProducing(self) -> None:
        full, self.full = self.full, None
        if full is not None and not full.called:
            full.callback(None)

    def stopProducing(self) -> None:
        self.resumeProducing()


class Client(ClientFactory):
    noisy = False

    def __init__(self, link: Link, ready: Deferred[None]) -> None:
        self._link = link
        self._ready = ready

    def buildProtocol(self, addr: Any) -> Wire:
        return Wire(self._link, self._ready)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._link.player.tell(f"link {self._link.number}: {reason.getErrorMessage()}")
        if not self._ready.called:
            self._ready.callback(None)


class Server(ServerFactory):
    noisy = False

    def __init__(self, link: Link, ready: Deferred[None]) -> None:
        self._link = link
        self._ready = ready

    def buildProtocol(self, addr: Any) -> Wire | None:
        return Wire(self._link, self._ready) if not self._ready.called else None


class Datagrams(DatagramProtocol):
    """A UDP port that talks to one address; a portion is a datagram."""

    noisy = False
    transport: Any

    def __init__(self, link: Link, host: str, port: int, ready: Deferred[None]) -> None:
        self._link = link
        self._address = (host, port)
        self._ready = ready

    def startProtocol(self) -> None:
        host = self._address[0]
        if ":" in host:  # an IPv6 address, which ``resolve`` does not know
            self._resolved(host)
        else:
            self._link.player.reactor.resolve(host).addCallbacks(self._resolved, lambda _: self._done())

    def _resolved(self, host: str) -> None:
        self.transport.connect(host, self._address[1])
        self._link.wire = self
        self._done()

    def _done(self) -> None:
        if not self._ready.called:
            self._ready.callback(None)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._link.received(datagram)

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def end(self) -> None:
        self.transport.stopListening()
