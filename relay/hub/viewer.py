"""One player: a bounded queue in front of its socket. (Written next.)

The seam to the sockets is ``Sink``; ``relay.net.sink`` has the Twisted ones (``TcpSink``, ``TlsSink``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Who(NamedTuple):
    """Whose viewer it is, for statistics and the audit."""

    peer: str = ""  #: "address:port"
    name: str = ""  #: user, token or superior
    purpose: str = ""  #: "live", "push", "recording" …


class Sink(Protocol):
    """Where a viewer's bytes go. All calls come from the reactor's thread."""

    #: Take as much as fits now and return how many bytes that was; BlockingIOError when nothing fits. Any other OSError means that the
    #: connection is being lost: the hub sends nothing more and waits for ``Viewer.close`` from the owner of the connection.
    send: Callable[[bytes | memoryview], int]

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        """Buffer ``data`` (at most ``HOLD_BYTES``; ``send`` would not take it) and call ``ready()`` once when it has gone."""

    def close(self, farewell: bytes) -> None:
        """Send what is held, then ``farewell``, then close."""

    def abort(self) -> None:
        """Close at once; used for a viewer that takes nothing."""


#: what a sink may have to buffer itself; the rest of a burst stays shared and is sent from where it lies
HOLD_BYTES = 16384


class Viewer:
    """One player. Made by ``Stream.attach``; whoever owns the connection calls ``close`` when it is lost."""

    def close(self, cause: str = "gone") -> None:
        """Stop sending. Closes the sink too unless the cause is "gone" (the connection is lost already). Safe to call again."""
        raise NotImplementedError
