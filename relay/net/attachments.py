"""The port that terminals send the files of alarms to (``core.attachments`` has the rest).

Nothing more is read from a connection while what it sent is being written, so that a slow disk slows the terminal down and fills no memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.attachments import Attachments, AttachmentSession
from relay.core.throttle import PeerLog
from relay.hub.merge import Clock, DelayedCall
from relay.net.terminal808 import plain, show

log = Logger()


class AttachmentProtocol(Protocol):
    """One connection."""

    def __init__(self, factory: AttachmentFactory) -> None:
        self._owner = factory
        self._session: AttachmentSession | None = None
        self._call: DelayedCall | None = None
        self._busy = False
        self.peer = ""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        peer = transport.getPeer()
        self.peer = show(plain(getattr(peer, "host", "")), getattr(peer, "port", 0))
        if not self._owner.admit(self):
            transport.abortConnection()
            return
        transport.setTcpKeepAlive(1)
        self._session = self._owner.attachments.connected(self.peer)
        self._arm()

    def dataReceived(self, data: bytes) -> None:
        session, transport = self._session, self.transport
        if session is None:
            return
        self._busy = True
        waiting = session.received(data)
        if not waiting.called:
            transport.pauseProducing()  # type: ignore[union-attr]
        waiting.addCallbacks(self._taken, self._not_taken)
        waiting.addErrback(self._broken)

    def _taken(self, out: bytes) -> None:
        self._busy = False
        session, transport = self._session, self.transport
        if session is None or not self.connected:
            return
        if out:
            transport.write(out)  # type: ignore[union-attr]
        if session.failed is not None:
            self._end()
            return
        transport.resumeProducing()  # type: ignore[union-attr]
        self._arm()

    def _not_taken(self, failure: Failure) -> Failure | None:
        if not isinstance(failure.value, OSError):
            return failure
        self._owner.peer_log.warn(self.peer, "attachments from {peer} cannot be written: {problem}", peer=self.peer, problem=str(failure.value))
        if self.connected:
            transport: Any = self.transport
            transport.abortConnection()  # not a word that could be taken for "received"
        return None

    def _broken(self, failure: Failure) -> None:
        log.failure("a connection for attachments failed, closing it", failure=failure)
        if self.connected:
            transport: Any = self.transport
            transport.abortConnection()

    def _end(self) -> None:
        session, transport = self._session, self.transport
        failed = session.failed if session is not None else None
        if failed is not None:
            words = "attachments from {peer}: closing: {reason} ({detail})"
            self._owner.peer_log.info(self.peer.rpartition(":")[0], words, peer=self.peer, reason=failed.reason, detail=failed.detail)
        transport.loseConnection()  # type: ignore[union-attr]

    def _arm(self) -> None:
        session = self._session
        if session is None or self._call is not None:
            return
        deadline = session.link.next_deadline()
        if deadline is not None:
            clock = self._owner.clock
            self._call = clock.callLater(max(0.1, deadline - clock.seconds()), self._tick)

    def _tick(self) -> None:
        self._call = None
        session = self._session
        if session is None:
            return
        if not self._busy:  # the disk's slowness is not the terminal's
            session.tick()
        if session.failed is not None:
            self._end()
            self._session_over()
            return
        self._arm()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._session_over()
        self._owner.gone(self)
        if not isinstance(reason.value, ConnectionDone):
            self._owner.attachments.counts["connections lost"] += 1

    def _session_over(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.lost()

    def close(self) -> None:
        """The relay stops."""
        transport: Any = self.transport
        transport.abortConnection()


class AttachmentFactory(Factory):
    """Listens for them."""

    noisy = False

    def __init__(self, attachments: Attachments, clock: Clock, log_peer_s: float) -> None:
        self.attachments = attachments
        self.clock = clock
        self.peer_log = PeerLog(log, clock.seconds, log_peer_s)
        self._open: set[AttachmentProtocol] = set()

    def __len__(self) -> int:
        return len(self._open)

    def buildProtocol(self, addr: object) -> AttachmentProtocol:
        protocol = AttachmentProtocol(self)
        protocol.factory = self
        return protocol

    def admit(self, protocol: AttachmentProtocol) -> bool:
        """Whether there is room for one more."""
        limit = self.attachments.settings.connections_max
        if len(self._open) >= limit:
            self.attachments.counts["connections refused"] += 1
            self.peer_log.warn("", "attachments: connection not served, {count} are open (attachments.connections_max)", count=len(self._open))
            return False
        self._open.add(protocol)
        return True

    def gone(self, protocol: AttachmentProtocol) -> None:
        """Its connection ended."""
        self._open.discard(protocol)

    def close(self) -> None:
        """The relay stops: cut all connections; what has arrived is kept, and they come again."""
        for protocol in list(self._open):
            protocol.close()
