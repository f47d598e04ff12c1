"""A server in memory: bytes in, bytes out, time by hand; and a raw client for real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from relay.settings import Http
from relay.web.problem import Problem
from relay.web.request import Request
from relay.web.router import ANYBODY, ROLES, Call, Permission, Principal, Route, Router
from relay.web.server import Site


class Response(NamedTuple):
    """One answer taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def parse(data: bytes, head: bool = False) -> tuple[Response, bytes]:
    """The first answer in ``data``, and what follows it."""
    top, mark, rest = data.partition(b"\r\n\r\n")
    assert mark, data
    lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    size = 0 if head else int(headers.get("content-length", len(rest) if headers.get("connection") == "close" else 0))
    return Response(int(lines[0].split()[1]), headers, rest[:size]), rest[size:]


def parse_all(data: bytes) -> list[Response]:
    """Every answer in ``data``."""
    answers = []
    while data:
        answer, data = parse(data)
        answers.append(answer)
    return answers


class MemoryTransport(StringTransport):
    """A StringTransport that tells its protocol of the end, as a real one does."""

    def __init__(self, site: Site, protocol: Any) -> None:
        super().__init__()
        self.site = site
        self.protocol = protocol
        self.aborted = False

    def lost(self) -> None:
        """The peer has closed, or we have and it is through."""
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(connectionDone.value))

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True

    def feed(self, data: bytes) -> None:
        """Bytes of the peer, to whoever owns the connection now."""
        self.protocol.dataReceived(data)


class MemorySink:
    """A sink over a MemoryTransport that can be told to be full."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport = transport
        self.room = 1 << 30  #: bytes that ``send`` still takes
        self.held: list[tuple[bytes, Callable[[], None]]] = []
        self.at_once = True  #: a hold is through at once
        self.closed: bytes | None = None
        self.aborted = False

    @property
    def send(self) -> Callable[[bytes], int]:
        return self._send

    def _send(self, data: bytes) -> int:
        assert not self.held, "a direct send while bytes are held overtakes them"
        if not self.room:
            raise BlockingIOError
        size = min(self.room, len(data))
        self.room -= size
        self.transport.write(bytes(data[:size]))
        return size

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        assert not self.held, "one hold at a time"
        self.held.append((bytes(data), ready))
        if self.at_once:
            self.drain()

    def drain(self) -> None:
        """The held bytes go out."""
        while self.held:
            data, ready = self.held.pop()
            self.transport.write(data)
            ready()
            if not self.at_once:
                break

    def close(self, farewell: bytes) -> None:
        assert self.closed is None, "closed twice"
        self.closed = farewell
        self.transport.write(farewell)
        self.transport.loseConnection()

    def abort(self) -> None:
        self.aborted = True
        self.transport.abortConnection()


class Server:
    """A site whose connections are MemoryTransports."""

    def __init__(self, handle: Callable[[Request], None], **settings: Any) -> None:
        self.clock = Clock()
        self.site = Site(replace(Http(), **settings), self.clock, handle)
        self.sinks: list[MemorySink] = []
        self.transports: list[MemoryTransport] = []

    def connect(self) -> MemoryTransport:
        """A new connection."""
        channel = self.site.buildProtocol(None)
        assert channel is not None
        transport = MemoryTransport(self.site, channel)
        self.transports.append(transport)
        channel.makeConnection(transport)
        return transport

    def make_sink(self, transport: Any) -> MemorySink:
        """What the application gives to connections that are taken over."""
        sink = MemorySink(transport)
        self.sinks.append(sink)
        return sink

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Response:
        """One request on a connection of its own, answered at once."""
        transport = self.send(method, target, headers, body)
        answer, rest = parse(transport.value(), head=method == "HEAD")
        assert not rest
        transport.lost()
        return answer

    def send(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> MemoryTransport:
        """One request on a connection of its own."""
        transport = self.connect()
        transport.feed(request(method, target, headers, body))
        return transport

    def end(self) -> None:
        """Every connection closes; nothing may be left on the clock."""
        for transport in self.transports:
            transport.lost()
        assert [call for call in self.clock.getDelayedCalls() if call.active()] == []
        assert self.site.open == 0


def request(method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """A request's bytes."""
    all_headers = {"Host": "relay.example:8080", **(headers or {})}
    if body:
        all_headers.setdefault("Content-Length", str(len(body)))
        all_headers.setdefault("Content-Type", "application/json")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def authenticate(call: Call) -> Principal:
    """The role is the token."""
    token = call.request.header("authorization").removeprefix("Bearer ")
    if not token:
        raise Problem(401, "no token")
    if token not in ROLES:
        raise Problem(403, "what token is this")
    principal = Principal("someone", token)
    if not principal.may(call.route.permission or Permission.ADMIN):
        raise Problem(403, "not for you")
    return principal


def routed(routes: Iterable[Route], **settings: Any) -> tuple[Server, Router]:
    """A server with a table of routes whose tokens are the roles' names."""
    router = Router(routes, authenticate, replace(Http(), **settings))
    return Server(router.handle, **settings), router


class Raw(Protocol):
    """A client that speaks bytes."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self._look()

    def _look(self) -> None:
        for entry in list(self._waiting):
            if entry[0]():
                self._waiting.remove(entry)
                entry[1].callback(None)

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fires when something came or ended and the condition holds."""
        done: Deferred[None] = Deferred()
        self._waiting.append((condition, done))
        self._look()
        return done


async def listen(site: Site, clock: Any) -> Any:
    """The site on a free port of loopback."""
    return await TCP4ServerEndpoint(clock, 0, interface="127.0.0.1").listen(site)


async def dial(port: Any, clock: Any) -> Raw:
    """A raw client of it."""
    return await connectProtocol(TCP4ClientEndpoint(clock, "127.0.0.1", port.getHost().port), Raw())


__all__ = ["ANYBODY", "UPGRADE"]
