"""Where a viewer's bytes go: the hub's ``Sink`` on Twisted's transports.

``TcpSink`` calls the socket's own ``send`` while Twisted's buffer is empty: one ``sendto`` a write. ``transport.write`` would cost the same
``sendto`` and two ``epoll_ctl``. What the socket does not take is held in the transport, with the sink as its pull producer: Twisted asks
(``resumeProducing``) when its buffer is empty, and only then is the socket sent to directly again, so nothing overtakes.

``TlsSink`` writes through the transport, which encrypts, and refuses while the transport's buffer is full.

Whoever owns the connection must not call ``transport.write`` itself while a viewer is attached; ``Viewer.insert`` puts control frames between
messages.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from relay.hub.viewer import Send, Sink

#: the kernel's buffer of a viewer's socket (it doubles this): without a limit it hides megabytes, tens of seconds, of old pictures
SEND_BUFFER_BYTES = 131072
#: what TLS encrypts in one go, before the transport is asked whether it has had enough
TLS_PIECE_BYTES = 65536


class StreamTransport(Protocol):
    """What is used of ``ITransport``, ``ITCPTransport`` and ``IConsumer``."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def registerProducer(self, producer: Any, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def getHandle(self) -> Any: ...
    def setTcpNoDelay(self, enabled: bool) -> None: ...


def make_sink(transport: StreamTransport) -> Sink:
    """The sink for a connection taken over from its protocol; it must have no producer and nothing of its own left to write."""
    if isinstance(transport.getHandle(), socket.socket):
        return TcpSink(transport)
    return TlsSink(transport)


@implementer(IPullProducer)
class TcpSink:
    """Plain TCP: direct sends."""

    __slots__ = ("_ready", "_transport", "send")

    def __init__(self, transport: StreamTransport) -> None:
        handle = transport.getHandle()
        transport.setTcpNoDelay(True)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.send: Send = handle.send
        self._transport = transport
        self._ready: Callable[[], None] | None = None

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        """Let Twisted send it, and hear when it has gone."""
        self._transport.registerProducer(self, False)  # asks at once, before there is anything to tell
        self._ready = ready
        self._transport.write(data)

    def resumeProducing(self) -> None:
        """Twisted's buffer is empty."""
        ready, self._ready = self._ready, None
        if ready is not None:
            self._transport.unregisterProducer()
            ready()

    def stopProducing(self) -> None:
        """The connection is lost; its owner closes the viewer."""
        self._ready = None

    def close(self, farewell: bytes) -> None:
        """A last word, then the end."""
        if farewell:
            self._transport.write(farewell)
        self._transport.loseConnection()

    def abort(self) -> None:
        """At once, with whatever is held."""
        self._ready = None
        self._transport.abortConnection()


@implementer(IPushProducer)
class TlsSink:
    """TLS, or any other transport whose socket must not be touched."""

    __slots__ = ("_paused", "_ready", "_transport")

    def __init__(self, transport: StreamTransport) -> None:
        self._transport = transport
        self._paused = False
        self._ready: Callable[[], None] | None = None
        transport.registerProducer(self, True)

    def send(self, data: bytes) -> int:
        """As much as the transport takes before it says that it is full."""
        if self._paused:
            raise BlockingIOError
        size = len(data)
        if size <= TLS_PIECE_BYTES:
            self._transport.write(bytes(data))
            return size
        taken = 0
        while taken < size and not self._paused:
            piece = bytes(data[taken : taken + TLS_PIECE_BYTES])
            self._transport.write(piece)
            taken += len(piece)
        return taken

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        """One more piece; the transport tells when it has room, unless it has room still (a second piece behind one that has gone)."""
        self._transport.write(data)
        if self._paused:
            self._ready = ready
        else:
            ready()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport's buffer has room."""
        self._paused = False
        ready, self._ready = self._ready, None
        if ready is not None:
            ready()

    def stopProducing(self) -> None:
        """The connection is lost; its owner closes the viewer."""
        self._paused = True
        self._ready = None

    def close(self, farewell: bytes) -> None:
        """A last word, then the end."""
        if farewell:
            self._transport.write(farewell)
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def abort(self) -> None:
        """At once, with whatever is held."""
        self._ready = None
        self._transport.abortConnection()


# both are sinks; said here so that the type checker holds it
_ = cast(type[Sink], TcpSink), cast(type[Sink], TlsSink)
