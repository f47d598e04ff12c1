"""The hub's sinks on Twisted's transports: order, back-pressure, bounded buffers; over real sockets and over TLS."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from relay.hub.formats import OutputFormat
from relay.hub.viewer import HOLD_BYTES, Viewer
from relay.net.peerlog import ADDRESSES_MAX, PeerLog
from relay.net.sink import SEND_BUFFER_BYTES, TcpSink, TlsSink, make_sink
from tests.hub.support import Hub
from tests.net.test_media1078 import ensure, wait_for

reactor: Any = global_reactor
V = OutputFormat(media="v")


class Player(Protocol):
    """The relay's end of a player's connection."""

    viewer: Viewer | None = None

    def connectionMade(self) -> None:
        self.sink = make_sink(self.transport)  # type: ignore[arg-type]
        self.factory.made.append(self)  # type: ignore[attr-defined]

    def connectionLost(self, reason: Any = connectionDone) -> None:
        if self.viewer is not None:
            self.viewer.close()


class Pair:
    """A player connected to a viewer of a hub over loopback."""

    def __init__(self, receive_buffer: int = 0, **options: Any) -> None:
        self.hub = Hub(**options)
        self.stream = self.hub.open()
        self.factory = Factory.forProtocol(Player)
        self.factory.made = []  # type: ignore[attr-defined]
        self.factory.noisy = False
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.client = socket.socket()
        if receive_buffer:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.client.connect(("127.0.0.1", self.port.getHost().port))
        self.client.setblocking(False)
        self.got = b""

    async def attach(self, **more: Any) -> Viewer:
        player = await wait_for(lambda: self.factory.made and self.factory.made[0])  # type: ignore[attr-defined]
        self.player = player
        player.viewer = self.stream.attach(V, player.sink, **more)
        return player.viewer  # type: ignore[no-any-return]

    def read(self) -> bool:
        """Whatever is there; False at the end."""
        try:
            while True:
                data = self.client.recv(1 << 20)
                if not data:
                    return False
                self.got += data
        except BlockingIOError:
            return True

    async def stop(self) -> None:
        self.client.close()
        await self.port.stopListening()
        await wait_for(lambda: not self.player.transport.connected)
        self.hub.registry.close()


def test_a_player_that_reads_gets_everything_in_order() -> Deferred[Any]:
    async def run() -> None:
        pair = Pair()
        pair.hub.feed(pair.stream, "KPP", b"y" * 1000)
        viewer = await pair.attach(preamble=b"{HTTP}")
        for _ in range(100):
            pair.hub.feed(pair.stream, "P", b"y" * 1000)
            pair.read()
        assert viewer.state == "live"
        await wait_for(lambda: pair.read() and len(pair.got) == viewer.sent_bytes + 6)
        times = [int(piece.split()[1]) for piece in pair.got.split(b"[")[1:]]
        assert times == list(range(40, 40 * 104, 40))
        assert isinstance(pair.player.sink, TcpSink)
        handle = pair.player.transport.getHandle()
        assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SEND_BUFFER_BYTES, "the kernel doubles it"
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await pair.stop()

    return ensure(run())


def test_a_large_burst_goes_out_piece_by_piece_and_nothing_overtakes_it() -> Deferred[Any]:
    async def run() -> None:
        pair = Pair(receive_buffer=4096)
        pair.hub.feed(pair.stream, "K", b"y" * 4_000_000)
        viewer = await pair.attach()
        assert viewer.state == "busy"
        pair.hub.feed(pair.stream, "PPP")
        transport = pair.player.transport
        assert len(transport.dataBuffer) + transport._tempDataLen <= HOLD_BYTES, "the rest stays where it is, shared"

        def done() -> bool:
            pair.read()
            return viewer.state == "live"

        await wait_for(done)
        pair.hub.feed(pair.stream, "P")
        await wait_for(lambda: pair.read() and len(pair.got) == viewer.sent_bytes)
        assert pair.got.endswith(b"[P 80 x][P 120 x][P 160 x][P 200 x]")
        await pair.stop()

    return ensure(run())


def test_a_player_that_stops_reading_costs_its_queue_and_goes_on_at_a_key_frame() -> Deferred[Any]:
    async def run() -> None:
        pair = Pair(receive_buffer=4096, queue_bytes=100_000)
        pair.hub.feed(pair.stream, "K")
        viewer = await pair.attach()
        for turn in range(600):
            pair.hub.feed(pair.stream, "K" if turn % 25 == 0 else "P", b"y" * 3000)
            assert viewer.queue_bytes <= 100_000
        assert viewer.drops > 0
        assert viewer.busy

        def caught_up() -> bool:
            pair.read()
            return not viewer.busy

        await wait_for(caught_up)
        pair.hub.feed(pair.stream, "KPP")
        await wait_for(lambda: pair.read() and pair.got.endswith(b" x]"))
        last = 0
        gaps = 0
        for piece in pair.got.split(b"[")[1:]:
            kind, time = piece[:1], int(piece.split()[1])
            assert piece.rstrip().endswith(b"]")
            if time != last + 40:
                gaps += 1
                assert kind == b"K"
            last = time
        assert gaps
        await pair.stop()

    return ensure(run())


def test_the_end_says_farewell_and_closes() -> Deferred[Any]:
    async def run() -> None:
        pair = Pair()
        pair.hub.feed(pair.stream, "K")
        await pair.attach(farewell=lambda cause: f"{{{cause}}}".encode())
        pair.stream.end("stopped")
        await wait_for(lambda: not pair.read())
        assert pair.got.endswith(b"{stopped}")
        await pair.stop()

    return ensure(run())


def test_a_player_that_goes_away_is_noticed() -> Deferred[Any]:
    async def run() -> None:
        pair = Pair()
        pair.hub.feed(pair.stream, "K")
        causes: list[str] = []
        await pair.attach(on_close=lambda viewer, cause: causes.append(cause))
        pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        pair.client.close()

        def gone() -> bool:
            pair.hub.feed(pair.stream, "P")
            return bool(causes)

        await wait_for(gone)
        assert causes == ["gone"]
        assert pair.stream.viewer_count() == 0
        await pair.stop()

    return ensure(run())


# a transport that is no plain socket ----------------------------------------------------------------------------------


class Encrypting(StringTransport):
    """Takes what is written; says it is full beyond 64 KiB."""

    def __init__(self) -> None:
        super().__init__()
        self.full_at = 65536
        self.unsent = 0
        self.aborted = False

    def getHandle(self) -> object:
        return object()

    def write(self, data: bytes) -> None:
        super().write(data)
        self.unsent += len(data)
        if self.unsent > self.full_at and self.producer is not None:
            self.producer.pauseProducing()

    def sent(self) -> None:
        """The peer has read."""
        self.unsent = 0
        if self.producer is not None:
            self.producer.resumeProducing()

    def abortConnection(self) -> None:
        self.aborted = True


def test_tls_takes_what_its_transport_takes() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K", b"y" * 300_000)
    transport = Encrypting()
    sink = make_sink(transport)  # type: ignore[arg-type]
    assert isinstance(sink, TlsSink)
    viewer = stream.attach(V, sink, farewell=lambda cause: b"{bye}")
    assert viewer.state == "busy"
    assert 65536 < transport.unsent < 3 * 65536, "not all of the burst at once"
    hub.feed(stream, "PP")
    for _ in range(50):
        if viewer.busy:
            transport.sent()
    assert viewer.state == "live"
    hub.feed(stream, "P")
    data = transport.value()
    assert data.startswith(b"{head h264:352 -}[K 40 yyy")
    assert data.endswith(b"y][P 80 x][P 120 x][P 160 x]")
    assert len(data) == viewer.sent_bytes
    viewer.close("stopped")
    assert transport.value().endswith(b"{bye}")
    assert transport.disconnecting


def test_tls_that_is_full_counts_as_a_slow_viewer() -> None:
    hub = Hub(queue_bytes=50_000)
    stream = hub.open()
    hub.feed(stream, "K")
    transport = Encrypting()
    viewer = stream.attach(V, make_sink(transport))  # type: ignore[arg-type]
    for turn in range(200):
        hub.feed(stream, "K" if turn % 25 == 0 else "P", b"y" * 2000)
    assert transport.unsent < 65536 + HOLD_BYTES + 4096
    assert viewer.drops > 0
    assert viewer.queue_bytes <= 50_000
    hub.clock.pump([1.0] * 35)
    assert viewer.closed == "stuck"
    assert transport.aborted


# lines about bad peers ------------------------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    class Log:
        def warn(self, format: str, **fields: Any) -> None:
            found.append(format.format(**fields))

    monkeypatch.setattr(PeerLog, "log", Log())
    return found


def test_one_line_a_second_for_each_address_then_a_summary(told: list[str]) -> None:
    clock = Clock()
    log = PeerLog(clock, 1.0)
    say: Callable[[str, int], None] = lambda address, number: log.warn(address, "{address} did {number}", address=address, number=number)  # noqa: E731
    for number in range(50):
        say("10.0.0.1", number)
    say("10.0.0.2", 0)
    assert told == ["10.0.0.1 did 0", "10.0.0.2 did 0"]
    clock.advance(1.0)
    assert told[2:] == ["49 more from 10.0.0.1, the last: 10.0.0.1 did 49"]
    say("10.0.0.1", 50)
    say("10.0.0.2", 1)
    assert told[3:] == ["10.0.0.2 did 1"]
    clock.advance(1.0)
    assert told[4:] == ["1 more from 10.0.0.1, the last: 10.0.0.1 did 50"]
    clock.advance(1.0)
    assert not clock.getDelayedCalls()
    log.close()


def test_many_addresses_are_bounded(told: list[str]) -> None:
    clock = Clock()
    log = PeerLog(clock, 1.0)
    for number in range(3 * ADDRESSES_MAX):
        log.warn(f"10.0.{number >> 8}.{number & 255}", "bad {n}", n=number)
    assert len(told) == ADDRESSES_MAX
    clock.advance(1.0)
    assert told[-1] == f"{2 * ADDRESSES_MAX} more from other addresses, the last: bad {3 * ADDRESSES_MAX - 1}"
    log.close()
    assert not clock.getDelayedCalls()


def test_braces_in_what_a_peer_sent_do_no_harm(told: list[str]) -> None:
    clock = Clock()
    log = PeerLog(clock, 1.0)
    for _ in range(2):
        log.warn("10.0.0.1", "said {what}", what="{evil} {0}")
    clock.advance(1.0)
    assert told == ["said {evil} {0}", "1 more from 10.0.0.1, the last: said {evil} {0}"]
    log.close()
