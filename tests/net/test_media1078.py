"""JT/T 1078 on TCP: who a connection is, what it may feed, when it is closed; read by Twisted and by the poller."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from relay.hub.formats import OutputFormat
from relay.hub.registry import Refusal
from relay.hub.stream import StreamState
from relay.net.media1078 import MediaProtocol
from tests.hub.support import FakeSink
from tests.net.media_support import SIM, Camera, World, packet

V = OutputFormat(media="v", audio="none")
reactor: Any = global_reactor


class Transport(StringTransport):
    """A transport that is no socket, so Twisted reads it."""

    def __init__(self, peer: str = "10.0.0.7", port: int = 40000) -> None:
        super().__init__(hostAddress=IPv4Address("TCP", "192.0.2.1", 1078), peerAddress=IPv4Address("TCP", peer, port))
        self.aborted = False

    def getHandle(self) -> None:
        return None

    def abortConnection(self) -> None:
        self.aborted = True


def connect(world: World, kind: str = "live", peer: str = "10.0.0.7") -> tuple[MediaProtocol, Transport]:
    protocol = world.server.factory(kind, 1078).buildProtocol(None)
    transport = Transport(peer)
    protocol.makeConnection(transport)
    return protocol, transport


def lost(protocol: MediaProtocol, reason: BaseException | None = None) -> None:
    protocol.connectionLost(Failure(reason or ConnectionDone()))


@pytest.fixture
def lines() -> Any:
    """Formatted log lines of this test."""
    found: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_format") and event.get("log_namespace", "").startswith("relay.net"):
            found.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


# who it is --------------------------------------------------------------------------------------------------------


def test_the_first_packets_tell_whose_connection_it_is() -> None:
    world = World()
    protocol, _ = connect(world, "playback")
    camera = Camera(channel=3)
    protocol.dataReceived(camera.key())
    protocol.dataReceived(camera.picture())
    assert world.asked == [("playback", SIM, 3, "10.0.0.7:40000", "tls")]
    assert world.names()[:3] == ["connected", "first_packet", "first_key_frame"]
    stream = world.stream(3, kind="playback")
    assert stream.state is StreamState.RUNNING
    lost(protocol)


@pytest.mark.parametrize("size", [1, 7, 100, 981])
def test_bytes_come_in_any_portions(size: int) -> None:
    world = World()
    protocol, _ = connect(world)
    camera = Camera()
    data = b"".join([camera.key(), *(camera.picture() for _ in range(20)), camera.key()])
    for at in range(0, len(data), size):
        protocol.dataReceived(data[at : at + size])
    assert world.stream().frames == 22
    assert world.stream().key_frames == 2
    lost(protocol)


def test_several_channels_on_one_connection() -> None:
    world = World()
    protocol, _ = connect(world)
    cameras = [Camera(channel=channel) for channel in (1, 2, 5)]
    seq = 0
    sinks: dict[int, FakeSink] = {}
    for turn in range(12):
        data = b""
        for camera in cameras:
            camera.seq = seq
            data += camera.key() if turn % 6 == 0 else camera.picture()
            seq = camera.seq
        protocol.dataReceived(data)
        if turn == 4:
            for camera in cameras:
                sinks[camera.channel] = FakeSink()
                world.stream(camera.channel).attach(V, sinks[camera.channel])
    for camera in cameras:
        assert world.stream(camera.channel).frames == 12
        assert len(sinks[camera.channel].sends) == 8, "a send a read, not a send a frame of any channel"
    assert len(world.asked) == 3
    lost(protocol)
    assert {world.stream(camera.channel).state for camera in cameras} == {StreamState.LOST}


def test_a_refused_channel_does_not_end_the_others() -> None:
    world = World()
    protocol, transport = connect(world)
    one, two = Camera(channel=1), Camera(channel=2)
    protocol.dataReceived(one.key() + one.picture())
    world.refuse = Refusal("unrequested", "nobody asked")
    two.seq = one.seq
    protocol.dataReceived(two.key() + two.picture())
    assert world.names()[-1] == "refused"
    assert not transport.aborted
    one.seq = two.seq
    protocol.dataReceived(one.picture())
    assert world.stream().frames == 3
    lost(protocol)


def test_who_is_refused_is_closed_named_and_not_asked_about_again(lines: list[str]) -> None:
    world = World()
    world.refuse = Refusal("unknown", "no such terminal")
    protocol, transport = connect(world)
    camera = Camera()
    for _ in range(10):
        protocol.dataReceived(camera.key())
    assert transport.aborted
    assert len(world.asked) == 1
    assert world.registry.refused == 1
    assert [line for line in lines if "refused" in line] == [
        "media tls from 10.0.0.7:40000 on the live port 1078: 013800138000_1 refused (unknown: no such terminal)"
    ]
    lost(protocol)


def test_a_second_connection_that_nobody_asked_for_does_not_disturb_the_first() -> None:
    world = World(requested=False)
    first, _ = connect(world)
    camera = Camera()
    first.dataReceived(camera.key() + camera.picture())
    second, transport = connect(world, peer="10.6.6.6")
    impostor = Camera()
    second.dataReceived(impostor.key() + impostor.picture())
    assert transport.aborted
    assert world.registry.refused == 1
    lost(second, ConnectionLost())
    first.dataReceived(camera.picture())
    assert world.stream().frames == 3
    assert world.stream().state is StreamState.RUNNING
    lost(first)


def test_a_requested_connection_replaces_the_first() -> None:
    world = World()
    first, old = connect(world)
    camera = Camera()
    first.dataReceived(camera.key() + camera.picture())
    sink = FakeSink()
    world.stream().attach(V, sink)
    second, _ = connect(world)
    again = Camera(seq=500)
    second.dataReceived(again.key() + again.picture())
    assert old.aborted
    lost(first, ConnectionLost())
    assert world.stream().state is StreamState.RUNNING
    assert len(sink.sends) == 2
    assert "replaced" in world.names()
    lost(second)


def test_frames_that_were_whole_at_the_end_are_delivered() -> None:
    world = World()
    protocol, _ = connect(world)
    camera = Camera()
    data = b"".join([camera.key(), *(camera.picture(900) for _ in range(3))])
    protocol.dataReceived(data)
    lost(protocol)
    assert world.stream().frames == 4
    assert world.events[-1].detail == "connection closed by the terminal"


def test_a_stream_that_ends_closes_its_connection() -> None:
    world = World()
    protocol, transport = connect(world)
    camera = Camera()
    protocol.dataReceived(camera.key() + camera.picture())
    world.stream().end("stopped")
    assert transport.aborted
    protocol.dataReceived(camera.picture())  # still on its way
    lost(protocol)
    assert len(world.registry) == 0


# what it is not ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opening", "word"),
    [
        (b"GET /live/013800138000_1.flv HTTP/1.1\r\nHost: relay\r\n\r\n", "HTTP request"),
        (b"OPTIONS rtsp://relay/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n", "RTSP request"),
        (bytes.fromhex("7e000200000138001380000005ad7e"), "808"),
        (b"\x03" + bytes(4) + bytes(4) + bytes(1528), "RTMP"),
    ],
)
def test_another_protocol_on_this_port_is_named_in_one_line_and_closed(opening: bytes, word: str, lines: list[str]) -> None:
    world = World()
    for _ in range(5):
        protocol, transport = connect(world)
        protocol.dataReceived(opening)
        assert transport.aborted
        lost(protocol)
    assert world.server.wrong_protocol == 5
    said = [line for line in lines if "closed" in line]
    assert len(said) == 1
    assert word in said[0]
    assert "10.0.0.7" in said[0]
    world.clock.advance(1.1)
    assert "4 more from 10.0.0.7" in next(line for line in lines if "more" in line)
    world.clock.advance(3)


def test_noise_between_packets_does_not_close_a_connection_that_brings_good_ones() -> None:
    world = World()
    protocol, transport = connect(world)
    camera = Camera()
    protocol.dataReceived(camera.key())
    for turn in range(60):
        protocol.dataReceived(bytes(range(256)) * 16)
        protocol.dataReceived(camera.picture() + (camera.key() if turn % 10 == 9 else b""))
    assert not transport.aborted
    assert world.stream().frames > 60
    lost(protocol)


def test_a_connection_without_a_packet_is_closed_in_time(lines: list[str]) -> None:
    world = World(first_packet_timeout_s=15.0)
    protocol, transport = connect(world)
    protocol.dataReceived(packet(b"x" * 900)[:-1])
    world.clock.pump([1.0] * 15)
    assert not transport.aborted
    world.clock.pump([1.0] * 2)
    assert transport.aborted
    assert any("no JT/T 1078 packet in 15 s" in line for line in lines)
    lost(protocol)
    world.clock.advance(3)


def test_a_connection_that_falls_silent_is_closed_in_time() -> None:
    world = World(silent_timeout_s=30.0)
    protocol, transport = connect(world)
    camera = Camera()
    for _ in range(100):
        protocol.dataReceived(camera.key())
        world.clock.advance(1.0)
    assert not transport.aborted
    world.clock.pump([1.0] * 32)
    assert transport.aborted
    lost(protocol, ConnectionLost())
    assert world.stream().state is StreamState.LOST
    world.registry.close()


def test_more_connections_than_allowed_are_refused_the_newest_first() -> None:
    world = World(connections_max=2)
    one, first = connect(world)
    two, second = connect(world)
    three, third = connect(world)
    assert (first.aborted, second.aborted, third.aborted) == (False, False, True)
    three.dataReceived(Camera().key())
    assert not world.asked
    lost(three)
    assert len(world.server) == 2
    lost(one)
    _, fourth = connect(world)
    assert not fourth.aborted
    assert world.server.over_limit == 1
    lost(two)


def test_a_fault_of_our_own_costs_one_connection(logged_errors: Any) -> None:
    world = World()
    protocol, transport = connect(world)
    other, _ = connect(world)

    def broken(data: bytes, now: float) -> None:
        raise ZeroDivisionError

    protocol.demuxer.feed = broken  # type: ignore[method-assign,assignment]
    protocol.dataReceived(b"x")
    assert transport.aborted
    assert world.server.unhandled == 1
    camera = Camera()
    other.dataReceived(camera.key() + camera.picture())
    assert world.stream().frames == 2
    logged_errors.flush(ZeroDivisionError)
    lost(protocol)
    lost(other)


def test_losses_are_counted_for_the_channel() -> None:
    world = World()
    protocol, _ = connect(world)
    camera = Camera()
    for turn in range(80):
        protocol.dataReceived(camera.key() if turn % 8 == 0 else camera.picture())
        if turn % 20 == 19:
            camera.seq += 5
    world.clock.advance(1.0)
    stream = world.stream()
    assert stream.lost_packets == 15
    loss = stream.take_loss()
    assert loss is not None
    assert 8 < loss < 18
    lost(protocol)


# read by the poller: real sockets ------------------------------------------------------------------------------------------


async def wait_for(probe: Any, what: str = "it") -> Any:
    """Turns of the reactor until ``probe`` answers something true."""
    for _ in range(2000):
        answer = probe()
        if answer:
            return answer
        turn: Deferred[None] = Deferred()
        reactor.callLater(0.002, turn.callback, None)
        await turn
    raise AssertionError(f"{what} did not happen")


class Live:
    """A listening server on the real reactor."""

    def __init__(self, merge: str | int = 0, **media: Any) -> None:
        self.world = World(reactor, reactor, merge, **media)
        port: Any = self.world.server.listen("live", 0)
        self.port = port.getHost().port

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port))
        client.settimeout(5)
        return client

    async def stop(self, *clients: socket.socket) -> None:
        for client in clients:
            client.close()
        self.world.registry.close()
        self.world.merge.stop()
        await self.world.server.stop()
        await wait_for(lambda: not len(self.world.server), "the end of all connections")


def ensure(coroutine: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(coroutine)


@pytest.mark.parametrize("merge", [0, 50])
def test_sockets_are_read_at_arrival_and_on_the_tick(merge: int) -> Deferred[Any]:
    async def run() -> None:
        live = Live(merge)
        world = live.world
        cameras = [Camera(f"0138001380{number:02d}") for number in range(5)]
        clients = [live.connect() for _ in cameras]
        for camera, client in zip(cameras, clients, strict=True):
            client.sendall(camera.key() + camera.picture())
        await wait_for(lambda: len(world.registry) == 5 and all(stream.frames == 2 for stream in world.registry.streams()))
        for connection in list(world.server._connections):
            connection.settle()
        assert world.server.steady is not None
        assert len(world.server.steady) == 5
        sinks = []
        for camera in cameras:
            sinks.append(FakeSink())
            world.stream(sim=camera.sim).attach(V, sinks[-1])
        for _ in range(6):
            for camera, client in zip(cameras, clients, strict=True):
                client.sendall(camera.picture() + camera.picture())
        await wait_for(lambda: all(stream.frames == 14 for stream in world.registry.streams()))
        for sink in sinks:
            assert len(sink.sends) <= (1 + 12 if not merge else 1 + 3), "one send a read"
        clients[0].close()
        await wait_for(lambda: len(world.server) == 4, "the end of a connection")
        assert world.stream(sim=cameras[0].sim).state is StreamState.LOST
        assert world.events[-1].detail == "connection closed by the terminal"
        await live.stop(*clients)
        assert world.server.steady.unhandled == 0

    return ensure(run())


def test_a_connection_the_hub_gives_up_is_closed_for_the_terminal_too() -> Deferred[Any]:
    async def run() -> None:
        live = Live()
        camera = Camera()
        client = live.connect()
        client.sendall(camera.key() + camera.picture())
        await wait_for(lambda: len(live.world.registry) == 1)
        live.world.stream().end("stopped")
        await wait_for(lambda: not len(live.world.server))
        flood = camera.picture() * 100000
        with pytest.raises(ConnectionError):
            client.sendall(flood)
        await live.stop(client)

    return ensure(run())


def test_a_reset_connection_is_noticed() -> Deferred[Any]:
    async def run() -> None:
        live = Live()
        camera = Camera()
        client = live.connect()
        client.sendall(camera.key() + camera.picture())
        await wait_for(lambda: len(live.world.registry) == 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await wait_for(lambda: not len(live.world.server))
        assert live.world.stream().state is StreamState.LOST
        await live.stop()

    return ensure(run())


def test_a_flood_is_read_to_its_end() -> Deferred[Any]:
    """More than one read a tick, more than one batch."""

    async def run() -> None:
        live = Live(merge=30)
        camera = Camera()
        client = live.connect()
        client.setblocking(False)
        data = b"".join([camera.key(20000) if turn % 25 == 0 else camera.picture(5000) for turn in range(500)])
        sent = 0

        def push() -> bool:
            nonlocal sent
            try:
                while sent < len(data):
                    sent += client.send(data[sent : sent + 100000])
            except BlockingIOError:
                pass
            found = list(live.world.registry.streams())
            return bool(found) and found[0].frames == 500

        await wait_for(push)
        await live.stop(client)

    return ensure(run())


def test_going_from_ticks_to_arrival_and_back_loses_nothing() -> Deferred[Any]:
    async def run() -> None:
        live = Live(merge=0)
        world = live.world
        camera = Camera()
        client = live.connect()
        client.sendall(camera.key() + camera.picture())
        await wait_for(lambda: len(world.registry) == 1 and world.stream().frames == 2)
        next(iter(world.server._connections)).settle()
        steady = world.server.steady
        assert steady is not None
        for turn in range(6):
            steady.gather(turn % 2 == 0)
            client.sendall(camera.picture())
            if turn % 2 == 0:
                await wait_for(lambda: steady.read() or world.stream().frames == 3 + turn)  # noqa: B023
            else:
                await wait_for(lambda: world.stream().frames == 3 + turn)  # noqa: B023
        await live.stop(client)

    return ensure(run())


def test_under_load_wake_ups_are_spaced() -> Deferred[Any]:
    async def run() -> None:
        live = Live(merge=0)
        world = live.world
        camera = Camera()
        client = live.connect()
        client.sendall(camera.key() + camera.picture())
        await wait_for(lambda: len(world.registry) == 1 and world.stream().frames == 2)
        next(iter(world.server._connections)).settle()
        steady = world.server.steady
        assert steady is not None
        rested = []

        def push() -> bool:
            client.sendall(camera.picture(50))
            if steady._rest is not None:
                rested.append(True)
            return len(rested) > 20

        def often() -> bool:
            return any(push() for _ in range(3))

        for _ in range(3000):  # turns without a pause: a load of thousands of frames a second
            if often():
                break
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn
        assert rested, "the poller never rested"
        total = camera.seq
        await wait_for(lambda: world.stream().packets == total)
        await wait_for(lambda: steady._rest is None, "the end of the rests")
        client.sendall(camera.picture())
        await wait_for(lambda: world.stream().packets == camera.seq)
        await live.stop(client)

    return ensure(run())
