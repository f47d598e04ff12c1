"""Reads many media connections through one epoll descriptor, at arrival or on the tick of ``hub.merge``.

Twisted's reactor spends more on dispatching a readable socket than the read itself takes, and a wake-up for every frame of every
terminal is most of what many streams cost. A ``Poller`` holds the connections' sockets in an epoll set of its own:

    at once    the set's own descriptor is a reader of the reactor: one dispatch for all that is readable at that moment. Where wake-ups
               follow each other within REST_S, the set rests between them, just so long that some dozens of sockets are served in one go
               and at most REST_MAX_S, a fifth of the time between two frames: thousands of wake-ups a second, each with cold caches,
               cost more than the work. Every frame is still sent by itself
    gathered   it is not; ``read`` is called on each tick and drains every socket that has something

The connections stay Twisted's: it accepts, writes, closes them. Their transports do not read (``pauseProducing``) while they are here. A
connection whose end is seen is given back (``resumeProducing``), so that Twisted meets the end itself and tells the protocol.
"""

from __future__ import annotations

import select
import socket
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from relay.hub.merge import Clock, DelayedCall

_log = Logger()

#: sockets served for one wake-up; the rest is found readable again in the next turn of the reactor
BATCH = 256
#: one read, into a buffer that all connections share: 64 KiB from malloc for each would be cut down to the 3 KiB that come
RECV_BYTES = 65536
#: between two wake-ups under load, at least and at most; how many sockets are to be served after each
REST_S = 0.002
REST_MAX_S = 0.008
REST_FILL = 32
#: how many close wake-ups begin it, how many empty ones end it
REST_AFTER = 8
REST_UNTIL = 4
#: reads of one socket in one tick: a terminal that floods leaves the rest in the kernel, where TCP holds it back
READS_A_TICK = 16


class Readable(Protocol):
    """A media connection."""

    socket: socket.socket

    def readable(self, buffer: bytearray, view: memoryview, now: float) -> bool:
        """Read once into the buffer and feed what came; True when there may be more. ``now`` is when the poller began to read."""

    def failed(self) -> None:
        """A fault of our own in ``readable``, already logged: give the connection up."""


def available(reactor: Any) -> bool:
    """Whether this reactor and this system can do it; elsewhere the transports read as usual."""
    return hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor)


@implementer(IReadDescriptor)
class Poller:
    """A set of connections that are read together."""

    def __init__(self, reactor: IReactorFDSet, clock: Clock, rests: bool = False) -> None:
        self._reactor = reactor
        self._clock = clock
        self._rests = rests
        self._buffer = bytearray(RECV_BYTES)
        self._view = memoryview(self._buffer)
        self._rest: DelayedCall | None = None
        self._rest_s = REST_S
        self._last = 0.0
        self._streak = 0
        self._epoll = select.epoll()
        self._connections: dict[int, Readable] = {}
        self._reading = False
        self.unhandled = 0

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Readable) -> None:
        """Read this one from now on."""
        fd = connection.socket.fileno()
        self._epoll.register(fd, select.EPOLLIN)
        self._connections[fd] = connection

    def discard(self, connection: Readable, fd: int) -> None:
        """Read it no longer; ``fd`` as it was while the socket was open (a closed one has left the set by itself)."""
        if self._connections.get(fd) is connection:
            del self._connections[fd]
            if connection.socket.fileno() == fd:
                self._epoll.unregister(fd)

    def gather(self, on: bool) -> None:
        """``hub.merge.Reader``: leave reading to the tick, or do it at arrival."""
        if on == (not self._reading):
            return
        self._reading = not on
        if not on:
            self._reactor.addReader(self)
        elif self._rest is None:
            self._reactor.removeReader(self)
        else:
            if self._rest.active():
                self._rest.cancel()
            self._rest = None

    def close(self) -> None:
        """No more reading."""
        self.gather(True)
        self._connections.clear()
        self._epoll.close()

    def read(self) -> None:
        """On the tick: every socket that has something, until it is drained."""
        connections = self._connections
        if not connections:
            return
        now = self._clock.seconds()
        buffer, view = self._buffer, self._view
        for fd, _ in self._epoll.poll(0, len(connections)):
            connection = connections.get(fd)
            if connection is None:
                continue
            try:
                if connection.readable(buffer, view, now):
                    for _ in range(READS_A_TICK - 1):
                        if not connection.readable(buffer, view, now):
                            break
            except Exception:
                self._failed(connection)

    # IReadDescriptor -------------------------------------------------------

    def doRead(self) -> None:
        """The reactor found some of the sockets readable."""
        self._serve()
        if self._rests:
            now = self._clock.seconds()
            self._streak = self._streak + 1 if now - self._last < REST_S else 0
            self._last = now
            if self._streak >= REST_AFTER and self._reading:
                self._streak = 0
                self._reactor.removeReader(self)
                self._rest = self._clock.callLater(REST_S, self._rested)

    def _rested(self) -> None:
        """Under load: again and again after a rest, until nothing comes any more."""
        served = self._serve()
        self._streak = 0 if served else self._streak + 1
        if not self._reading:  # what was read has changed the way of reading
            return
        if self._streak < REST_UNTIL:
            if served < REST_FILL * 3 // 4:
                self._rest_s = min(self._rest_s * 1.2, REST_MAX_S)
            elif served > REST_FILL:
                self._rest_s = max(self._rest_s * 0.8, REST_S)
            self._rest = self._clock.callLater(self._rest_s, self._rested)
        else:
            self._streak = 0
            self._rest_s = REST_S
            self._rest = None
            self._reactor.addReader(self)

    def _serve(self) -> int:
        """Read every readable socket once; how many there were."""
        connections = self._connections
        ready = self._epoll.poll(0, BATCH)
        now = self._clock.seconds()
        for fd, _ in ready:
            connection = connections.get(fd)
            if connection is None:
                continue
            try:
                connection.readable(self._buffer, self._view, now)
            except Exception:
                self._failed(connection)
        return len(ready)

    def fileno(self) -> int:
        """Of the epoll set."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def logPrefix(self) -> str:
        """For Twisted's log context."""
        return "media"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""
        self._reading = False

    def _failed(self, connection: Readable) -> None:
        # one connection's fault must not keep the others from being read
        self.unhandled += 1
        _log.failure("reading a media connection failed")
        connection.failed()
