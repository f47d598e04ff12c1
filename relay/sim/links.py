"""The sockets of a simulated terminal's signalling link: TCP, TLS, UDP. As thin as can be; ``terminal`` decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory, DatagramProtocol, connectionDone
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from relay.sim.options import TerminalOptions

_CONNECT_TIMEOUT_S = 15


class Owner(Protocol):
    """Who hears of the link: the terminal."""

    def link_up(self) -> None: ...

    def link_data(self, data: bytes) -> None: ...

    def link_down(self, why: str) -> None: ...

    def link_failed(self, why: str) -> None: ...


class Link(Protocol):
    """A connection, or one that is being made."""

    def open(self) -> None: ...

    def write(self, frames: Sequence[bytes]) -> None: ...

    def close(self) -> None: ...


def make_link(reactor: Any, options: TerminalOptions, owner: Owner) -> Link:
    """A link to be opened; ``owner`` hears of it, perhaps before ``open`` returns."""
    if options.signalling_udp:
        return _UdpLink(reactor, options.host, options.port, owner)
    return _TcpLink(reactor, options.host, options.port, options.tls, owner)


def open_datagrams(reactor: Any, host: str, ready: Callable[[str, Callable[[DatagramProtocol], Any]], object], failed: Callable[[str], object]) -> None:
    """Find the address of ``host``; ``ready`` gets it, and what opens a port of its family for a protocol."""

    def listen(interface: str) -> Callable[[DatagramProtocol], Any]:
        return lambda protocol: reactor.listenUDP(0, protocol, interface=interface)

    if ":" in host:  # an IPv6 address, which ``resolve`` does not know
        ready(host, listen("::"))
        return
    reactor.resolve(host).addCallbacks(lambda address: ready(address, listen("")), lambda failure: failed(failure.getErrorMessage()))


class _TcpLink(ClientFactory):
    """Factory and connector in one: thousands of terminals have one of these each."""

    noisy = False

    def __init__(self, reactor: Any, host: str, port: int, tls: bool, owner: Owner) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._tls = tls
        self._owner = owner
        self._transport: Any = None
        self._connector: Any = None

    def open(self) -> None:
        if self._tls:
            from twisted.internet.ssl import CertificateOptions

            self._connector = self._reactor.connectSSL(self._host, self._port, self, CertificateOptions(), timeout=_CONNECT_TIMEOUT_S)
        else:
            self._connector = self._reactor.connectTCP(self._host, self._port, self, timeout=_CONNECT_TIMEOUT_S)

    def buildProtocol(self, addr: IAddress | None) -> StreamProtocol | None:
        return _TcpProtocol(self)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._connector = None
        self._owner.link_failed(reason.getErrorMessage())

    def up(self, transport: Any) -> None:
        transport.setTcpNoDelay(True)
        self._transport = transport
        self._owner.link_up()

    def data(self, data: bytes) -> None:
        self._owner.link_data(data)

    def down(self, reason: Failure) -> None:
        self._transport = None
        self._owner.link_down("closed" if isinstance(reason.value, ConnectionDone) else reason.getErrorMessage())

    def write(self, frames: Sequence[bytes]) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(frames))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.loseConnection()
        elif self._connector is not None:
            self._connector.disconnect()


class _TcpProtocol(StreamProtocol):
    def __init__(self, link: _TcpLink) -> None:
        self._link = link

    def connectionMade(self) -> None:
        self._link.up(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._link.data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._link.down(reason)


class _UdpLink(DatagramProtocol):
    """One frame a datagram."""

    noisy = False
    transport: Any

    def __init__(self, reactor: Any, host: str, port: int, owner: Owner) -> None:
        self._reactor = reactor
        self._owner = owner
        self._host = host
        self._remote_port = port
        self._port: Any = None
        self._closed = False

    def open(self) -> None:
        open_datagrams(self._reactor, self._host, self._found, self._not_found)

    def _found(self, address: str, listen: Callable[[DatagramProtocol], Any]) -> None:
        if not self._closed:
            self._host = address
            self._port = listen(self)

    def _not_found(self, why: str) -> None:
        self._closed = True
        self._owner.link_failed(why)

    def startProtocol(self) -> None:
        self._owner.link_up()

    def stopProtocol(self) -> None:
        self._closed = True
        self._owner.link_down("closed")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if not self._closed:
            self._owner.link_data(datagram)

    def write(self, frames: Sequence[bytes]) -> None:
        # the socket is not connected: a terminal does not hear of ports that are closed, its heartbeats tell it
        if not self._closed:
            for frame in frames:
                self.transport.write(frame, (self._host, self._remote_port))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._port is not None:
            self._port.stopListening()  # ``stopProtocol`` follows
        else:
            self._owner.link_down("closed")
