"""The data connections of the FTP server (``net.ftp``): one file each, only with the control connection's own address."""

# mypy: disallow-untyped-calls=False
# (twisted.protocols.policies carries no annotations)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from relay.core.upload_files import Incoming
from relay.hub.merge import Clock
from relay.net.ftp_fetch import InThread, Sender


class DataConnection(Protocol, TimeoutMixin):
    """One data connection: silent until a file is there to take its bytes, then all of them go there."""

    transport: Any

    def __init__(self, idle_s: float, connected: Callable[[DataConnection], None], clock: Clock) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._connected = connected
        self._incoming: Incoming | None = None
        self._over: Deferred[bool] = Deferred()
        self._lost: bool | None = None
        self._sender: Sender | None = None

    def callLater(self, period: float, call: Callable[[], None]) -> Any:
        """For TimeoutMixin: by the relay's clock."""
        return self._clock.callLater(period, call)

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self._connected(self)

    def take(self, incoming: Incoming) -> Deferred[bool]:
        """Let the bytes in; fires at the connection's end with whether it ended in order."""
        self._incoming = incoming
        incoming.sender = self
        self.setTimeout(self._idle_s)
        if self._lost is None:
            self.transport.resumeProducing()
        return self._over

    def give(self, in_thread: InThread) -> Sender:
        """What sends a file over it."""
        self._sender = Sender(self.transport, in_thread, self.resetTimeout)
        self.setTimeout(self._idle_s)
        return self._sender

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        if self._incoming is not None:
            self._incoming.write(data)

    def pause(self) -> None:
        self.setTimeout(None)
        self.transport.pauseProducing()

    def resume(self) -> None:
        self.setTimeout(self._idle_s)
        if self._lost is None:
            self.transport.resumeProducing()

    def failed(self, reason: str) -> None:
        self.abort()

    def abort(self) -> None:
        """Close it now."""
        if self._lost is None and self.transport is not None:
            self.transport.abortConnection()

    def timeoutConnection(self) -> None:
        self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self._lost = isinstance(reason.value, ConnectionDone)
        if self._sender is not None:
            self._sender.lost()
        self._over.callback(self._lost)


class DataFactory(ClientFactory):
    """Makes the one data connection that a PASV, EPSV, PORT or EPRT announced."""

    noisy = False

    def __init__(self, host: str, idle_s: float, stranger: Callable[[str], None], clock: Clock) -> None:
        self.connection: DataConnection | None = None
        self.waiting: Deferred[DataConnection] = Deferred()
        self._host = host
        self._idle_s = idle_s
        self._stranger = stranger
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        host = getattr(addr, "host", "")
        if plain(host) != self._host:
            self._stranger(host)
            return None
        if self.connection is not None or self.waiting.called:
            return None
        self.connection = DataConnection(self._idle_s, self._made, self._clock)
        return self.connection

    def _made(self, connection: DataConnection) -> None:
        if not self.waiting.called:
            self.waiting.callback(connection)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if not self.waiting.called:
            self.waiting.errback(reason)


def plain(host: str) -> str:
    """An IPv4 address that came in over IPv6 as itself."""
    return host.removeprefix("::ffff:") if "." in host else host
