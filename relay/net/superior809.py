"""JT/T 809 on its sockets: the main links, which we make, and the ports on which the superiors' subordinate links come in. Thin: bytes to a
``core.superior_link.SuperiorLink``, frames back.

Each superior has its own connections and its own bounded buffers: one that does not read stops its own queue (``full``), nobody else's.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from relay.core.superior import Superior
from relay.core.superior_link import SuperiorLink
from relay.errors import ConfigError
from relay.net.recorder import Recorder, Tap
from relay.net.terminal808 import plain, show
from relay.settings import Superior as Settings

log = Logger()

CONNECT_S = 15.0  #: for the connection itself, TLS included
CLOSE_S = 3.0  #: a superior that does not take our last words is cut off after so long
#: a bound on what waits in our own memory for a superior that reads slowly; beyond the kernel's buffers there is no use in more
BUFFER_BYTES = 1 << 18

_TCP_INFO = getattr(socket, "TCP_INFO", None)
_BYTES_ACKED_AT = 120  #: tcpi_bytes_acked in Linux' struct tcp_info (since 4.1)


class _Acknowledged:
    """How many bytes the peer's TCP has acknowledged. Holds the socket by a descriptor of its own, so that it can be asked after the end."""

    def __init__(self, transport: Any, plain_tcp: bool) -> None:
        self._socket: socket.socket | None = None
        self._base = self._last = 0
        if not plain_tcp or _TCP_INFO is None or not hasattr(transport, "fileno"):
            return
        try:
            self._socket = socket.socket(fileno=os.dup(transport.fileno()))
        except (OSError, TypeError):
            return
        first = self._ask()
        if first is None:
            self.close()
        else:
            self._base = first  # 1: the SYN

    def _ask(self) -> int | None:
        if self._socket is None or _TCP_INFO is None:
            return None
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED_AT + 8)
        except OSError:
            return None
        if len(info) < _BYTES_ACKED_AT + 8:
            return None
        return int.from_bytes(info[_BYTES_ACKED_AT:], sys.byteorder)

    def get(self) -> int | None:
        """Bytes; None when it cannot be known."""
        if self._socket is None:
            return self._last or None
        now = self._ask()
        if now is not None:
            self._last = now - self._base
        return self._last

    def close(self) -> None:
        """Look for the last time."""
        if self._socket is not None:
            self.get()
            self._socket.close()
            self._socket = None


@implementer(IPushProducer)
class SuperiorProtocol(Protocol):
    """One connection; it is the link's ``Wire``."""

    def __init__(self, clock: Any, recorder: Recorder | None, tls: bool) -> None:
        self.clock = clock
        self.peer = self.host = ""
        self.full = False
        self.reset = False
        self.link: SuperiorLink | None = None
        self.tap: Tap | None = None
        self._recorder = recorder
        self._tls = tls
        self._acknowledged: _Acknowledged | None = None
        self._cut: Any = None
        self._gone = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        peer, here = transport.getPeer(), transport.getHost()
        self.host = plain(getattr(peer, "host", ""))
        self.peer = show(self.host, getattr(peer, "port", 0))
        local = plain(getattr(here, "host", ""))
        transport.setTcpKeepAlive(1)
        transport.setTcpNoDelay(1)
        transport.registerProducer(self, True)
        self._acknowledged = _Acknowledged(transport, not self._tls)
        self.link = self.open_link(local)
        if self.link is None:
            transport.abortConnection()
            return
        if self._recorder is not None:
            known = self.link.superior
            self.tap = self._recorder.tap(
                "jt809", "tls" if self._tls else "tcp", self.peer, show(local, getattr(here, "port", 0)), kind="main" if known is not None else "sub",
                name=known.name if known is not None else "", initiator="us" if known is not None else "peer",
            )  # fmt: skip
        self.link.begin()

    def open_link(self, local: str) -> SuperiorLink | None:
        """The link's core side."""
        raise NotImplementedError

    def _name_tap(self) -> None:
        if self.tap is not None and self.link is not None and self.link.superior is not None:
            self.tap.named(f"superior:{self.link.superior.name}")

    def dataReceived(self, data: bytes) -> None:
        link = self.link
        if link is None:
            return
        if self.tap is not None:
            self.tap.data_in(data)
        unknown = link.superior is None
        link.received(data)
        if unknown:
            self._name_tap()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        self._gone = True
        self.reset = not isinstance(reason.value, ConnectionDone | ConnectionAborted)
        if self._acknowledged is not None:
            self._acknowledged.close()
        why = how_it_ended(reason)
        if self.tap is not None:
            self.tap.close(why)
        link, self.link = self.link, None
        if link is not None:
            link.lost(why)

    # Wire

    def write(self, data: bytes) -> None:
        """Send whole frames."""
        if self._gone or self.transport is None:
            return
        if self.tap is not None:
            self.tap.data_out(data)
        self.transport.write(data)

    def close(self, reason: str) -> None:
        """Close after what is still to be written."""
        if self._gone or self._cut is not None or self.transport is None:
            return
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.loseConnection()
        self._cut = self.clock.callLater(CLOSE_S, self._cut_off)

    def _cut_off(self) -> None:
        self._cut = None
        transport: Any = self.transport
        transport.abortConnection()

    def acknowledged(self) -> int | None:
        """See ``core.superior_link.Wire``."""
        return self._acknowledged.get() if self._acknowledged is not None else None

    # IPushProducer

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False

    def stopProducing(self) -> None:
        self.full = True


def how_it_ended(reason: Failure) -> str:
    """In words; Twisted's own are for programmers."""
    if isinstance(reason.value, ConnectionDone):
        return "connection closed by the superior"
    if isinstance(reason.value, ConnectionAborted):
        return "connection closed by the relay"
    if isinstance(reason.value, ConnectionLost):
        return "connection lost"
    return str(reason.getErrorMessage())


class _MainProtocol(SuperiorProtocol):
    def __init__(self, superior: Superior, clock: Any, recorder: Recorder | None) -> None:
        super().__init__(clock, recorder, superior.settings.tls)
        self._superior = superior

    def open_link(self, local: str) -> SuperiorLink | None:
        return self._superior.connected(self, local)


class _SubProtocol(SuperiorProtocol):
    def __init__(self, accept: Callable[[SuperiorProtocol], SuperiorLink | None], clock: Any, recorder: Recorder | None, tls: bool) -> None:
        super().__init__(clock, recorder, tls)
        self._accept = accept

    def open_link(self, local: str) -> SuperiorLink | None:
        return self._accept(self)


class Accepting(Shape):
    """``core.superiors.Superiors``, as far as it is needed here."""

    def accepted(self, wire: Any, host: str, port: int) -> SuperiorLink | None: ...


class SublinkFactory(Factory):
    """Listens for the subordinate links of the superiors configured with this host and port."""

    noisy = False

    def __init__(self, superiors: Accepting, host: str, port: int, clock: Any, recorder: Recorder | None = None, tls: bool = False) -> None:
        self._superiors = superiors
        self._place = host, port
        self._clock = clock
        self._recorder = recorder
        self._tls = tls

    def buildProtocol(self, addr: object) -> SuperiorProtocol:
        host, port = self._place
        protocol = _SubProtocol(lambda wire: self._superiors.accepted(wire, host, port), self._clock, self._recorder, self._tls)
        protocol.factory = self
        return protocol


class MainConnector:
    """Makes main links; ``core.superiors.Connector``."""

    def __init__(self, reactor: Any, clock: Any, recorder: Recorder | None = None) -> None:
        self._reactor = reactor
        self._clock = clock
        self._recorder = recorder

    def connect(self, superior: Superior) -> None:
        """One attempt."""
        settings = superior.settings
        factory = Factory.forProtocol(lambda: _MainProtocol(superior, self._clock, self._recorder))
        factory.noisy = False
        try:
            tls = client_tls(settings) if settings.tls else None
        except ConfigError as problem:
            self._clock.callLater(0, superior.connect_failed, str(problem))
            return
        endpoint: Any = HostnameEndpoint(self._reactor, settings.host, settings.port, CONNECT_S)
        if tls is not None:
            endpoint = wrapClientTLS(tls, endpoint)

        def failed(failure: Failure) -> None:
            superior.connect_failed(str(failure.getErrorMessage()) or type(failure.value).__name__)

        endpoint.connect(factory).addErrback(failed)


def client_tls(settings: Settings) -> Any:
    """Checks the superior's certificate against ``tls_ca`` (else the system's authorities) and its name; shows ours if there is one."""
    try:
        trust: Any = platformTrust()  # type: ignore[no-untyped-call]
        if settings.tls_ca:
            with open(settings.tls_ca, "rb") as file:
                pem = file.read()
            parts = [part + b"-----END CERTIFICATE-----\n" for part in pem.split(b"-----END CERTIFICATE-----")[:-1]]
            trust = trustRootFromCertificates([Certificate.loadPEM(part) for part in parts])  # type: ignore[no-untyped-call]
        own = None
        if settings.tls_certificate:
            with open(settings.tls_certificate, "rb") as file:
                certificate = file.read()
            with open(settings.tls_key, "rb") as file:
                key = file.read()
            own = PrivateCertificate.loadPEM(certificate + b"\n" + key)  # type: ignore[no-untyped-call]
        return optionsForClientTLS(settings.tls_name or settings.host, trustRoot=trust, clientCertificate=own)
    except (OSError, ValueError) as problem:
        raise ConfigError(f"superior {settings.name}", f"TLS cannot be set up: {problem}") from None
    except Exception as problem:  # OpenSSL.SSL.Error and service_identity's own, for what stands in the files
        raise ConfigError(f"superior {settings.name}", f"TLS cannot be set up: {type(problem).__name__} {problem}") from None
