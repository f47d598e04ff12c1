"""The listeners of talk, listening and broadcast: JT/T 1078 over TCP and TLS, both ways. ``core.talk`` decides."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.talk import Talks
from relay.core.talk_link import TalkLink
from relay.net.peerlog import how_it_ended
from relay.net.recorder import Recorder, Tap

_log = Logger()


class TalkProtocol(Protocol):
    """One connection; it is also its link's wire."""

    transport: Any

    def __init__(self, server: TalkServer, port: int) -> None:
        self.peer = self.host = ""
        self.port = port
        self.transport_name = "tcp"
        self._server = server
        self._link: TalkLink | None = None
        self._tap: Tap | None = None

    # Twisted -------------------------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        self.host = getattr(peer, "host", "").removeprefix("::ffff:")
        self.peer = f"{self.host}:{getattr(peer, 'port', 0)}"
        if ISSLTransport.providedBy(self.transport):
            self.transport_name = "tls"
        self.transport.setTcpKeepAlive(True)  # a broadcast's terminal sends nothing: only the kernel notices that it is gone
        self.transport.setTcpNoDelay(True)  # small packets that must not wait for each other
        wire = _Wire(self)
        self._link = self._server.talks.connected(wire, self.port)
        if self._link is None:
            self.transport.abortConnection()
            return
        if self._server.recorder is not None:
            self._tap = self._server.recorder.tap("jt1078", self.transport_name, self.peer, f"port {self.port}", kind="talk")

    def dataReceived(self, data: bytes) -> None:
        if self._tap is not None:
            self._tap.data_in(data)
        if self._link is None:
            return
        try:
            self._link.received(data)
        except Exception:
            self._server.unhandled += 1
            _log.failure("a talk connection from {peer} failed", peer=self.peer)
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._tap is not None:
            self._tap.close(how_it_ended(reason))
        link, self._link = self._link, None
        if link is not None:
            link.lost(how_it_ended(reason))

    # the wire ------------------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Bytes for the terminal."""
        if self._tap is not None:
            self._tap.data_out(data)
        self.transport.write(data)

    def backlog(self) -> int:
        """Bytes that the socket has not taken; Twisted keeps them in these two places of its own connections (TLS: unknown, 0)."""
        return int(getattr(self.transport, "_tempDataLen", 0)) + len(getattr(self.transport, "dataBuffer", b"")) - int(getattr(self.transport, "offset", 0))


class _Wire:
    """``core.talk_link.TalkWire``."""

    def __init__(self, protocol: TalkProtocol) -> None:
        self.peer, self.host, self.transport = protocol.peer, protocol.host, protocol.transport_name
        self.write = protocol.send
        self.backlog = protocol.backlog
        self.close = protocol.transport.abortConnection


class TalkFactory(Factory):
    """Makes the protocols of one port."""

    noisy = False

    def __init__(self, server: TalkServer, port: int) -> None:
        self._server = server
        self._port = port

    def buildProtocol(self, addr: Any) -> TalkProtocol:
        """One connection."""
        return TalkProtocol(self._server, self._port)


class TalkServer:
    """All talk ports."""

    def __init__(self, talks: Talks, recorder: Recorder | None = None) -> None:
        self.talks = talks
        self.recorder = recorder
        self.unhandled = 0  #: faults of our own, each logged with its traceback

    def factory(self, port: int) -> TalkFactory:
        """For the listener of a port."""
        return TalkFactory(self, port)
