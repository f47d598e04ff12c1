"""The FTP server's other half: a superior's client fetches the one file its credentials are for, and nothing else (RETR, REST, SIZE, LIST of one name).

The file is read by a thread, a piece at a time, never faster than the client takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from relay.core.fetches import Fetch

PIECE = 131072

#: what is answered of what can be said; the rest is as for uploads
ALSO = frozenset({"RETR", "LIST", "NLST", "MDTM"})
NEVER = frozenset({"STOR", "APPE", "MKD", "XMKD", "ALLO"})

InThread = Callable[..., Deferred[Any]]


@implementer(IPushProducer)
class Sender:
    """One file on its way out over a data connection."""

    def __init__(self, transport: Any, in_thread: InThread, moved: Callable[[], None]) -> None:
        """``moved()`` at each sign that the client takes something."""
        self._transport = transport
        self._moved = moved
        self._all = False  #: everything is written; what is left is the connection's own end
        self._in_thread = in_thread
        self._file: Any = None
        self._paused = False
        self._reading = False
        self.sent = 0
        self.over: Deferred[str] = Deferred()  #: fires with "" or what went wrong
        self._done = False

    def start(self, file: Any) -> Deferred[str]:
        """Send an open file from where it stands; it is closed at the end."""
        self._file = file
        self._transport.registerProducer(self, True)
        self._next()
        return self.over

    def text(self, data: bytes) -> Deferred[str]:
        """Send a few bytes."""
        self._transport.write(data)
        self._all = True
        self._transport.loseConnection()
        return self.over

    def _next(self) -> None:
        if not self._paused and not self._reading and not self._done:
            self._reading = True
            self._in_thread(self._file.read, PIECE).addCallbacks(self._read, self._broken)

    def _read(self, data: bytes) -> None:
        self._reading = False
        if self._done:
            return
        if not data:
            self._all = True
            self._transport.unregisterProducer()
            self._transport.loseConnection()
            return
        self.sent += len(data)
        self._transport.write(data)
        self._next()

    def _broken(self, failure: Failure) -> None:
        self._reading = False
        self._transport.abortConnection()
        self._end("disk_error")

    def lost(self) -> None:
        """The data connection is gone."""
        self._end("" if self._all else "broken_off")

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._moved()
        self._next()

    def stopProducing(self) -> None:
        """``lost`` follows."""

    def _end(self, problem: str) -> None:
        if self._done:
            return
        self._done = True
        file, self._file = self._file, None
        if file is not None:
            self._in_thread(file.close)
        self.over.callback(problem)


def names_it(grant: Fetch, segments: list[str]) -> bool:
    """Whether a path means the file of this grant."""
    return segments == [grant.name]


def open_at(grant: Fetch, offset: int) -> Any:
    """In a thread: the file, from there on."""
    file = grant.path.open("rb")
    file.seek(offset)
    return file
