"""The sockets of a simulated terminal's media connection: TCP and UDP. ``media`` decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from relay.sim.media import MediaStream


class MediaProtocol(Protocol):
    """TCP: packets one after the other, no greeting."""

    def __init__(self, stream: MediaStream) -> None:
        self._stream = stream

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.registerProducer(self._stream, True)
        self._stream.connected(transport.write, self._end)

    def _end(self) -> None:
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._stream.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        ways: dict[type, str] = {ConnectionDone: "the platform closed it", ConnectionLost: "the platform or the network reset it"}
        self._stream.lost(ways.get(type(reason.value)) or reason.getErrorMessage())


class MediaFactory(ClientFactory):
    noisy = False

    def __init__(self, stream: MediaStream) -> None:
        self._stream = stream

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return MediaProtocol(self._stream) if self._stream.awaits_connection else None

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._stream.failed(reason.getErrorMessage())


class MediaDatagrams(DatagramProtocol):
    """UDP: a packet a datagram."""

    noisy = False
    transport: Any

    def __init__(self, stream: MediaStream, host: str, port: int) -> None:
        self._stream = stream
        self._host = host
        self._remote_port = port

    def startProtocol(self) -> None:
        # not connected: a terminal goes on sending to a port that nobody listens on
        self._stream.connected(lambda datagram: self.transport.write(datagram, (self._host, self._remote_port)), lambda: None)

    def stopProtocol(self) -> None:
        self._stream.lost("the socket is gone")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._stream.received(datagram)
