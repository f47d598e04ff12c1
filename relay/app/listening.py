"""Binds every listener before anything else starts, so that a port that cannot be had is one clear line and nothing half-running.

    bind(wanted)   sockets are made, bound, listening in the kernel    while privileges last; the first that fails names key, address, cause
    adopt          the reactor takes them                              once what answers on them exists
    hold, leave    nothing more is taken from them, and they are       before a process image that goes on with them; who connects meanwhile
                   left to whoever runs next                           waits in the kernel

Twisted's ``listenTCP`` would do both at once. The backlog is 1024 rather than 50: a depot of terminals comes back within a second.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import DatagramProtocol

from relay.errors import ConfigError

BACKLOG = 1024
#: of a UDP listener: key frames of many terminals arrive together; the kernel grants what its own limit (net.core.rmem_max) allows
UDP_BUFFER_BYTES = 8 << 20
#: largest datagram read: a JT/T 1078 packet with a body the length field can announce
DATAGRAM_BYTES = 65536

_CAUSES = {
    errno.EADDRINUSE: "another program listens there",
    errno.EACCES: "not allowed (ports below 1024 need root or CAP_NET_BIND_SERVICE)",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}


class Wanted(NamedTuple):
    """One listener of the configuration."""

    key: str  #: "media.live_tcp_port"
    kind: str  #: "tcp" or "udp"
    host: str
    port: int


class Left(NamedTuple):
    """A socket that a former process image left."""

    key: str
    kind: str
    host: str
    wanted_port: int  #: of the configuration; 0 = any
    number: int  #: the descriptor


@dataclass(slots=True)
class Bound:
    """One socket of ours."""

    wanted: Wanted
    socket: socket.socket
    port: int  #: the real one, when 0 was wanted
    listening: IListeningPort | None = None

    def hold(self) -> None:
        """Take nothing more from it; it can still be spoken through."""
        if self.listening is not None:
            port: Any = self.listening
            port.stopReading()

    def leave(self) -> Left:
        """Let go of the descriptor without closing it."""
        self.hold()
        port: Any = self.listening
        number = int((self.socket if port is None else port.socket).detach())
        os.set_inheritable(number, True)
        return Left(*self.wanted, number)

    def adopt_stream(self, reactor: Any, factory: IProtocolFactory) -> None:
        """Accept connections for ``factory`` from now on."""
        self.listening = reactor.adoptStreamPort(self.socket.fileno(), self.socket.family, factory)
        self.socket.close()

    def adopt_datagrams(self, reactor: Any, protocol: DatagramProtocol) -> None:
        """Hand datagrams to ``protocol`` from now on."""
        self.listening = reactor.adoptDatagramPort(self.socket.fileno(), self.socket.family, protocol, maxPacketSize=DATAGRAM_BYTES)
        self.socket.close()


class Listeners:
    """All sockets the process listens on."""

    def __init__(self) -> None:
        self._bound: dict[str, Bound] = {}

    def bind(self, wanted: Iterable[Wanted], left: Iterable[Left] = ()) -> None:
        """Bind all of them, or take those that are ``left``; on the first that fails the others are given back and ConfigError names it."""
        ready = {Wanted(one.key, one.kind, one.host, one.wanted_port): socket.socket(fileno=one.number) for one in left}
        wanted = list(wanted)
        for other in ready.keys() - set(wanted):  # first: its address may be wanted under another key
            ready.pop(other).close()
        try:
            for one in wanted:
                made = ready.pop(one, None)
                if made is not None:
                    made.set_inheritable(False)
                    self._bound[one.key] = Bound(one, made, made.getsockname()[1])
                else:
                    self._bound[one.key] = _bind(one)
        except ConfigError:
            self.close_unadopted()
            raise

    def get(self, key: str) -> Bound | None:
        """The socket of a key; None when it is switched off."""
        return self._bound.get(key)

    def ports(self, key: str) -> list[int]:
        """The ports of a key that names several (``bind`` was given ``key:NUMBER`` for each)."""
        return [one.port for name, one in self._bound.items() if name.startswith(f"{key}:")]

    def port(self, key: str) -> int:
        """The port of a key; 0 when it is switched off."""
        bound = self._bound.get(key)
        return bound.port if bound else 0

    def all(self) -> list[Bound]:
        """Every socket."""
        return list(self._bound.values())

    def described(self) -> str:
        """``media.live_tcp_port tcp 0.0.0.0:1078`` … of all that are adopted."""
        lines: dict[str, str] = {}
        for one in self._bound.values():
            if one.listening:
                key, _, many = one.wanted.key.partition(":")
                place = show(one.wanted.host, one.port)
                lines[key] = f"{lines[key].partition(' to ')[0]} to {one.port}" if many and key in lines else f"{key} {one.wanted.kind} {place}"
        return ", ".join(lines.values())

    def stop(self, kind: str = "") -> Deferred[Any]:
        """Close those of a kind, or all; fires when they are closed. The UDP ones are also what we speak through: close them last."""
        ended = {key: one for key, one in self._bound.items() if kind in ("", one.wanted.kind)}
        waits = [maybeDeferred(one.listening.stopListening) for one in ended.values() if one.listening is not None]
        for key, one in ended.items():
            del self._bound[key]
            if one.listening is None:
                one.socket.close()
        return DeferredList(waits, consumeErrors=True)

    def hold(self, *keys: str) -> None:
        """Take nothing more from the TCP ones and from those of ``keys``."""
        for key, one in self._bound.items():
            if one.wanted.kind == "tcp" or key in keys:
                one.hold()

    def leave(self) -> list[Left]:
        """Leave all of them to the next process image."""
        bound, self._bound = self._bound, {}
        return [one.leave() for one in bound.values()]

    def close_unadopted(self) -> None:
        """Give back what nobody answers on."""
        for one in self._bound.values():
            if one.listening is None:
                one.socket.close()


def show(host: str, port: int) -> str:
    """``127.0.0.1:8080``, ``[::1]:8080``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(wanted: Wanted) -> Bound:
    family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if wanted.kind == "tcp" else socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        if wanted.kind == "tcp":
            if os.name == "posix":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
        made.bind((wanted.host, wanted.port))
        if wanted.kind == "tcp":
            made.listen(BACKLOG)
    except OSError as problem:
        made.close()
        cause = _CAUSES.get(problem.errno or 0, problem.strerror or str(problem))
        raise ConfigError(wanted.key, f"cannot listen on {wanted.kind.upper()} {show(wanted.host, wanted.port)}: {cause}") from None
    return Bound(wanted, made, made.getsockname()[1])


class FreePorts:
    """Finds ports that are free, each once: they are held until all are chosen. For the demonstration, which must start on a busy machine."""

    def __init__(self) -> None:
        self._held: list[Bound] = []

    def __enter__(self) -> FreePorts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """All are chosen: they are free again, for whoever is to listen there."""
        held, self._held = self._held, []
        for bound in held:
            bound.socket.close()

    def port(self, host: str, kind: str, preferred: int = 0) -> int:
        """``preferred`` when nobody has it, else one that is free."""
        for port in (preferred, 0):
            try:
                bound = _bind(Wanted("", kind, host, port))
            except ConfigError:
                continue
            self._held.append(bound)
            return bound.port
        raise ConfigError("", f"no free {kind.upper()} port on {host}")
