"""The short way: plain GETs answered without a request object; everything else goes the long way, and nothing overtakes."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from relay.settings import Http
from relay.web.pieces import send_all
from relay.web.request import Request
from relay.web.server import Site
from tests.web.support import Server, parse_all, request

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


def long_way(req: Request) -> None:
    req.answer(200, b"long")


def server(**settings: Any) -> Server:
    made = Server(long_way, **settings)
    made.site.short = lambda target: [ANSWER, b"sh", b"ort"] if target == b"/short?key=1" else None
    return made


def bodies(data: bytes) -> list[bytes]:
    return [answer.body for answer in parse_all(data)]


def test_a_plain_get_takes_it_and_the_connection_is_kept() -> None:
    relay = server()
    transport = relay.connect()
    for _ in range(3):
        transport.feed(request("GET", "/short?key=1", {"Accept": "*/*", "Connection": "keep-alive"}))
    transport.feed(request("GET", "/other"))
    transport.feed(request("GET", "/short?key=1"))
    assert bodies(transport.value()) == [b"short", b"short", b"short", b"long", b"short"]
    assert relay.site.requests == 5
    relay.clock.advance(59)
    assert not transport.disconnecting
    relay.clock.advance(2)
    assert transport.disconnecting
    transport.lost()
    relay.end()


@pytest.mark.parametrize(
    "data",
    [
        request("GET", "/short?key=2"),
        request("HEAD", "/short?key=1"),
        request("POST", "/short?key=1", body=b"x"),
        request("GET", "/short?key=1", {"Content-Length": "0"}),
        request("GET", "/short?key=1", {"Connection": "close"}),
        request("GET", "/short?key=1", {"CONNECTION": "Close"}),
        request("GET", "/short?key=1", {"Connection": "Upgrade", "Upgrade": "h2c"}),
        request("GET", "/short?key=1") * 2,
        b"GET /short?key=1 HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET /short?key=1 HTTP/1.1\r\n\r\n",
        b"GET /short?key=1 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /short?key=1 HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 8200 + b"\r\n\r\n",
    ],
)
def test_what_is_not_plain_goes_the_long_way(data: bytes) -> None:
    relay = server()
    transport = relay.connect()
    transport.feed(data)
    assert b"short" not in transport.value()
    assert transport.value().startswith(b"HTTP/1.")
    transport.lost()
    relay.end()


def test_a_request_cut_in_two_goes_the_long_way() -> None:
    relay = server()
    transport = relay.connect()
    data = request("GET", "/short?key=1")
    transport.feed(data[:20])
    transport.feed(data[20:])
    assert bodies(transport.value()) == [b"long"]
    transport.lost()
    relay.end()


class Filling:
    """A transport whose socket takes ``room`` bytes."""

    def __init__(self, room: int, held: bytes = b"") -> None:
        self.room = room
        self.sent = b""
        self.written: list[bytes] = []
        self.dataBuffer = held
        self.offset = 0
        self._tempDataBuffer: list[bytes] = []

    def sendmsg(self, pieces: list[bytes]) -> int:
        if not self.room:
            raise BlockingIOError
        data = b"".join(pieces)[: self.room]
        self.sent += data
        return len(data)

    def writeSequence(self, pieces: list[bytes]) -> None:
        self.written += pieces


@pytest.mark.parametrize("room", range(9))
def test_what_the_socket_does_not_take_goes_through_the_transport(room: int) -> None:
    transport = Filling(room)
    send_all(transport, transport, [b"abc", b"", b"de", b"fgh"])
    assert transport.sent + b"".join(transport.written) == b"abcdefgh"
    assert len(transport.sent) == room


def test_nothing_overtakes_what_the_transport_holds() -> None:
    transport = Filling(100, held=b"earlier")
    send_all(transport, transport, [b"abc"])
    assert (transport.sent, transport.written) == (b"", [b"abc"])
    transport = Filling(100)
    send_all(transport, None, [b"abc"])
    assert (transport.sent, transport.written) == (b"", [b"abc"])


class Collector(Protocol):
    """A client that reads so many bytes."""

    def __init__(self, size: int) -> None:
        self.got = b""
        self.size = size
        self.done: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if len(self.got) >= self.size and not self.done.called:
            self.done.callback(self.got)

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


@pytest_twisted.ensureDeferred
async def test_large_answers_come_whole_over_a_real_socket() -> None:
    body = bytes(range(256)) * 20000  # 5 MiB: more than any socket takes at once
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    site = Site(Http(), reactor, long_way)  # type: ignore[arg-type]
    site.short = lambda target: [head, body[:100], body[100:]] if target == b"/short" else None
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    client = Collector(3 * (len(head) + len(body)))
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), client)
    transport: Any = client.transport
    for _ in range(3):  # without waiting for the answers
        transport.write(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")
        await deferLater(reactor, 0.02)  # type: ignore[arg-type]
    assert await client.done == 3 * (head + body)
    transport.loseConnection()
    await port.stopListening()
    await client.lost
    while site.open:
        await deferLater(reactor, 0.01)  # type: ignore[arg-type]


class Waiting:
    """A short way whose answer comes by hand."""

    def __init__(self, relay: Server) -> None:
        self.sends: list[Any] = []
        self.left = 0
        relay.site.short = lambda target: self.later if target == b"/later" else [ANSWER, b"short"]

    def later(self, send: Any) -> Any:
        self.sends.append(send)
        return self.leave

    def leave(self) -> None:
        self.left += 1


def test_an_answer_that_is_waited_for_keeps_its_place() -> None:
    relay = server()
    waiting = Waiting(relay)
    transport = relay.connect()
    transport.feed(request("GET", "/later"))
    relay.clock.advance(100)  # neither idle nor slow
    transport.feed(request("GET", "/short"))
    assert transport.value() == b""
    waiting.sends[0]([ANSWER, b"later"])
    assert bodies(transport.value()) == [b"later", b"short"]
    transport.feed(request("GET", "/short"))
    assert bodies(transport.value()) == [b"later", b"short", b"short"]
    assert waiting.left == 0
    relay.clock.advance(61)
    assert transport.disconnecting
    transport.lost()
    relay.end()


def test_a_client_that_leaves_while_it_waits_is_told_of_once() -> None:
    relay = server()
    waiting = Waiting(relay)
    transport = relay.connect()
    transport.feed(request("GET", "/later"))
    transport.lost()
    assert waiting.left == 1
    relay.end()


def test_who_talks_on_while_it_waits_is_cut_off() -> None:
    relay = server()
    Waiting(relay)
    transport = relay.connect()
    transport.feed(request("GET", "/later"))
    transport.feed(b"x" * 9000)
    assert transport.aborted
    transport.lost()
    relay.end()


def test_an_answer_that_comes_at_once_after_all() -> None:
    relay = server()
    left: list[int] = []

    def later(send: Any) -> Any:
        send([ANSWER, b"later"])
        return lambda: left.append(1)

    relay.site.short = lambda target: later
    transport = relay.connect()
    for _ in range(2):
        transport.feed(request("GET", "/later"))
    assert bodies(transport.value()) == [b"later"] * 2
    transport.lost()
    assert left == []
    relay.end()
