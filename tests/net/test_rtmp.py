"""The adapter of RTMP players: deadlines, order of bytes, plays that wait, fail, pause and end; publishers; greedy clients."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from relay.core.live_failure import StartFailed
from relay.core.play import Wish
from relay.mux import amf0
from relay.net.rtmp import ABORT_S, LINGER_S, PING_S, SILENT_S, RtmpProtocol, RtmpServer
from relay.rtmp import chunks
from relay.rtmp.chunks import AUDIO, COMMAND, USER_CONTROL, VIDEO, ChunkReader, Message
from relay.rtmp.handshake import SIZE
from relay.settings import Rtmp
from tests.hub.support import HEVC, Hub
from tests.net.test_media1078 import ensure, wait_for
from tests.rtmp.test_server import HELLO, codes, request

reactor: Any = global_reactor
CONNECT = request("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live"}) + request("createStream", 2, None)
PLAY = request("play", 0, None, "13800138000_1?token=t", stream=1)


class Wire(StringTransport):
    """A connection that is not to be sent to directly, as TLS is."""

    aborted = False

    def getHandle(self) -> object:
        return self

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = True


class Lease:
    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.who = "ann"
        self.on_ended: Any = None
        self.released = 0
        self.firsts = 0

    def first_byte(self) -> None:
        self.firsts += 1

    def release(self) -> None:
        self.released += 1


class World:
    """A server, its hub, and the answers to plays by hand."""

    def __init__(self, **settings: Any) -> None:
        self.hub = Hub(real=True)
        self.clock = self.hub.clock
        self.asked: list[tuple[Wish, str]] = []
        self.answer: Deferred[Any] = Deferred()
        self.codecs: list[str] = []
        self.others: list[tuple[Any, StartFailed, Deferred[None]]] = []  #: who asked for the terminal's other stream
        self.server = RtmpServer(self.clock, Rtmp(**settings), self)  # type: ignore[arg-type]

    def open(self, wanted: Wish, address: str, codec: str = "") -> Deferred[Any]:
        self.asked.append((wanted, address))
        self.codecs.append(codec)
        self.answer = Deferred()
        return self.answer

    def other(self, lease: Any, refused: StartFailed) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.others.append((lease, refused, waiting))
        return waiting

    def player(self, *said: bytes) -> Player:
        return Player(self, *said)

    def playing(self) -> tuple[Player, Any, Lease]:
        """A player that has got its first key frame."""
        stream = self.hub.open()
        player = self.player(HELLO, CONNECT, PLAY)
        lease = Lease(stream)
        self.answer.callback(lease)
        self.hub.feed(stream, "K", b"key")
        return player, stream, lease


class Player:
    def __init__(self, world: World, *said: bytes) -> None:
        self.world = world
        self.wire = Wire(IPv4Address("TCP", "192.0.2.1", 1935), IPv4Address("TCP", "10.1.1.1", 4000))
        self.protocol: RtmpProtocol = world.server.buildProtocol(None)
        self.protocol.makeConnection(self.wire)
        self._shaken = False
        self._reader = ChunkReader()
        for data in said:
            self.say(data)

    def say(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def heard(self) -> list[Message]:
        data = self.wire.value()
        self.wire.clear()
        if not self._shaken and data:
            self._shaken = True
            data = data[1 + 2 * SIZE :]
        return self._reader.receive(data)

    def lose(self) -> None:
        self.protocol.connectionLost()


def kinds(messages: list[Message]) -> list[int]:
    return [message.type for message in messages if message.type in (AUDIO, VIDEO)]


def failure_of(messages: list[Message]) -> tuple[str, str]:
    for message in messages:
        if message.type == COMMAND:
            reader = amf0.Reader(message.body)
            values: list[Any] = []
            while reader.left:
                values.append(reader.value())
            if values[0] == "onStatus" and values[3]["level"] == "error":
                return values[3]["code"], values[3]["description"]
    return "", ""


@pytest.mark.parametrize("at_once", [False, True])
def test_a_play_waits_for_its_channel_and_gets_the_stream_from_a_key_frame(at_once: bool) -> None:
    world = World()
    stream = world.hub.open()
    player = world.player(HELLO + CONNECT + PLAY) if at_once else world.player(*(HELLO[:1], HELLO[1:], CONNECT, PLAY))
    assert codes(player.heard()) == []
    ((wanted, address),) = world.asked
    assert (wanted.name, wanted.channel, wanted.token, address) == ("13800138000", 1, "t", "10.1.1.1")
    lease = Lease(stream)
    world.answer.callback(lease)
    assert codes(player.heard()) == ["NetStream.Play.Reset", "NetStream.Play.Start"]
    world.hub.feed(stream, "PPK", b"key")
    world.clock.advance(1)
    messages = player.heard()
    assert [message.type for message in messages] == [18, VIDEO, VIDEO]
    assert messages[-1].body == b"\x17\x01\x00\x00\x00key"
    assert lease.firsts == 1
    world.hub.feed(stream, "P", b"more")
    assert kinds(player.heard()) == [VIDEO]
    player.lose()
    assert (lease.released, stream.viewer_count(), len(world.server.players)) == (1, 0, 0)


def test_players_of_one_stream_share_its_bytes() -> None:
    world = World()
    one, stream, _ = world.playing()
    two = world.player(HELLO, CONNECT, PLAY)
    world.answer.callback(Lease(stream))
    world.clock.advance(0.2)
    one.heard()
    two.heard()
    world.hub.feed(stream, "P", b"shared")
    assert one.wire.value() == two.wire.value() != b""
    assert len(stream.outputs()) == 1


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (
            StartFailed(404, "unknown_terminal", "No terminal is called x.", "Add it.", "requested"),
            "NetStream.Play.StreamNotFound",
            "No terminal is called x. Add it. [unknown_terminal; stopped at: requested]",
        ),
        (
            StartFailed(503, "terminal_offline", "Terminal x is not online.", "", "sent"),
            "NetStream.Play.Failed",
            "Terminal x is not online. [terminal_offline; stopped at: sent]",
        ),
        (StartFailed(504, "no_packet", "Nothing came."), "NetStream.Play.Failed", "Nothing came. [no_packet]"),
    ],
)
def test_a_start_that_fails_is_told_with_its_hop_and_then_closed(problem: StartFailed, code: str, words: str) -> None:
    world = World()
    player = world.player(HELLO, CONNECT, PLAY)
    world.answer.errback(problem)
    assert failure_of(player.heard()) == (code, words)
    assert not player.wire.disconnecting
    world.clock.advance(LINGER_S)
    assert player.wire.disconnecting
    world.clock.advance(ABORT_S)
    assert player.wire.aborted
    player.lose()
    assert not [call for call in world.clock.getDelayedCalls() if call.func == player.protocol._sink.abort]


def test_a_codec_that_flv_cannot_carry_is_told() -> None:
    world = World()
    stream = world.hub.open()
    world.hub.feed(stream, "KA")
    player = world.player(HELLO, CONNECT, request("play", 0, None, "1_1?token=t&audio=aac&media=a", stream=1))
    world.hub.transcoders.refuse = ("aac",)
    lease = Lease(stream)
    world.answer.callback(lease)
    code, words = failure_of(player.heard())
    assert code == "NetStream.Play.Failed"
    assert "unsupported_audio" in words
    assert lease.released == 1


@pytest.mark.parametrize(
    ("announced", "query", "served"),
    [
        ([], "", True),
        (["hvc1"], "", True),
        (["*"], "", True),
        (["av01", "vp09"], "", False),
        (["av01"], "&hevc=legacy", True),
    ],
)
def test_h265_goes_to_players_that_do_not_say_they_cannot_decode_it(announced: list[str], query: str, served: bool) -> None:
    world = World()
    stream = world.hub.open()
    world.hub.feed(stream, "K", config=HEVC)
    connect = request("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live", **({"fourCcList": announced} if announced else {})})
    play = request("play", 0, None, f"1_1?token=t{query}", stream=1)
    player = world.player(HELLO, connect + request("createStream", 2, None), play)
    world.answer.callback(Lease(stream))
    for _, refused, waiting in world.others:
        waiting.errback(refused)
    code, words = failure_of(player.heard())
    assert (code == "") is served
    assert world.codecs == ["" if served else "h264"]
    assert served or "The picture is H.265, and the player says that it decodes av01, vp09." in words


def without_h265(world: World) -> tuple[Player, Any, Lease]:
    """A player that shows AV1 and H.264, and a terminal that sends H.265."""
    stream = world.hub.open()
    world.hub.feed(stream, "K", config=HEVC)
    connect = request("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live", "fourCcList": ["av01"]})
    player = world.player(HELLO, connect + request("createStream", 2, None), PLAY)
    lease = Lease(stream)
    world.answer.callback(lease)
    return player, stream, lease


def test_the_other_stream_is_shown_to_a_player_without_h265() -> None:
    world = World()
    player, stream, lease = without_h265(world)
    [(asked, _, waiting)] = world.others
    assert asked is lease
    assert codes(player.heard()) == []
    world.hub.feed(stream, "K", b"key")
    waiting.callback(None)
    assert "NetStream.Play.Start" in codes(player.heard())
    lease.on_ended("the sub stream is needed, and it is not H.264")
    assert player.wire.disconnecting
    player.lose()


def test_a_player_that_goes_while_the_other_stream_is_asked_for_cancels_that() -> None:
    world = World()
    player, _, lease = without_h265(world)
    [(_, _, waiting)] = world.others
    cancelled: list[object] = []
    waiting._canceller = cancelled.append  # type: ignore[assignment]
    player.lose()
    assert len(cancelled) == 1
    assert lease.released == 1


def test_a_player_that_goes_while_it_waits_cancels_its_start() -> None:
    world = World()
    cancelled: list[object] = []
    player = world.player(HELLO, CONNECT, PLAY)
    world.answer._canceller = cancelled.append  # type: ignore[assignment]
    player.lose()
    assert len(cancelled) == 1


def test_the_end_of_the_stream_is_said_before_the_connection_is_closed() -> None:
    world = World()
    player, stream, lease = world.playing()
    player.heard()
    stream.end("stopped by the operator")
    messages = player.heard()
    assert messages[0] == Message(USER_CONTROL, 0, 0, b"\x00\x01\x00\x00\x00\x01")
    assert codes(messages) == ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop"]
    assert player.wire.disconnecting
    assert lease.released == 1
    player.lose()


def test_pings_of_the_player_are_answered_between_two_messages() -> None:
    world = World()
    player, stream, _ = world.playing()
    player.heard()
    player.say(chunks.user_control(6, 7))
    world.hub.feed(stream, "P")
    assert [message.type for message in player.heard()] == [USER_CONTROL, VIDEO]


def test_a_pause_ends_the_pictures_and_going_on_begins_with_a_key_frame() -> None:
    world = World()
    player, stream, lease = world.playing()
    player.heard()
    player.say(request("pause", 0, None, True, 0, stream=1))
    assert codes(player.heard()) == ["NetStream.Pause.Notify"]
    world.hub.feed(stream, "PP")
    assert kinds(player.heard()) == []
    assert lease.released == 0, "a paused player keeps its channel"
    player.say(request("pause", 0, None, False, 0, stream=1))
    world.hub.feed(stream, "P", b"again")
    messages = player.heard()
    assert codes(messages) == ["NetStream.Unpause.Notify"]
    bodies = [message.body for message in messages if message.type == VIDEO]
    assert bodies[0].startswith(b"\x17\x00")
    assert bodies[1].startswith(b"\x17\x01")
    assert bodies[-1].endswith(b"again")


def test_a_closed_stream_releases_and_another_can_be_played() -> None:
    world = World()
    player, stream, lease = world.playing()
    player.say(request("closeStream", 0, None, stream=1))
    assert (lease.released, stream.viewer_count()) == (1, 0)
    player.say(request("play", 0, None, "13800138000_2?token=t", stream=1))
    assert [wanted.channel for wanted, _ in world.asked] == [1, 2]


def test_an_asked_for_duration_is_kept() -> None:
    world = World()
    stream = world.hub.open()
    player = world.player(HELLO, CONNECT, request("play", 0, None, "1_1?token=t", -1, 5, stream=1))
    world.answer.callback(Lease(stream))
    world.hub.feed(stream, "K")
    player.heard()
    world.clock.advance(5)
    assert codes(player.heard()) == ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop"]
    assert player.wire.disconnecting


def test_a_publisher_is_refused_and_closed() -> None:
    world = World()
    player = world.player(HELLO, CONNECT, request("publish", 3, None, "key", "live", stream=1))
    assert failure_of(player.heard())[0] == "NetStream.Publish.BadName"
    world.clock.advance(LINGER_S)
    assert player.wire.disconnecting
    assert world.server.refused == 1


@pytest.mark.parametrize("said", [(), (b"\x03",), (HELLO[:2000],), (HELLO,)])
def test_who_does_not_say_what_it_wants_is_closed_in_time(said: tuple[bytes, ...]) -> None:
    world = World(handshake_timeout_s=10.0)
    player = world.player(*said)
    world.clock.advance(9.9)
    assert not player.wire.aborted
    world.clock.advance(0.2)
    assert player.wire.aborted
    assert world.server.slow == 1


def test_who_waits_is_pinged_and_closed_when_silent() -> None:
    world = World()
    player = world.player(HELLO, CONNECT, PLAY)
    player.heard()
    world.clock.advance(PING_S)
    (ping,) = player.heard()
    assert ping.body[:2] == b"\x00\x06"
    player.say(chunks.user_control(7, 1))
    world.clock.advance(PING_S)
    world.clock.advance(PING_S)
    assert not player.wire.aborted
    world.clock.advance(SILENT_S - PING_S)
    assert player.wire.aborted


def test_who_plays_nothing_is_closed_although_it_answers() -> None:
    world = World()
    player = world.player(HELLO, CONNECT)
    for _ in range(3):
        world.clock.advance(PING_S)
        if player.wire.aborted:
            break
        player.say(chunks.user_control(7, 1))
    assert player.wire.aborted
    assert world.server.slow == 1


def test_another_protocol_is_closed_and_counted() -> None:
    world = World()
    player = world.player(b"GET / HTTP/1.1\r\n\r\n")
    world.clock.advance(LINGER_S)
    assert player.wire.disconnecting
    assert world.server.broken == 1
    player.say(b"more")
    assert world.server.broken == 1


def test_who_asks_without_reading_is_cut_off() -> None:
    world = World()
    player = world.player(HELLO, CONNECT)
    player.protocol._sink.pauseProducing()
    for _ in range(100):
        player.say(request("getStreamLength", 9, None, "x") * 50)
        if player.wire.aborted:
            break
    assert player.wire.aborted
    assert len(player.protocol._outlet._waiting) < 100_000


def test_connections_are_limited() -> None:
    world = World(connections_max=1)
    one, two = world.player(HELLO), world.player()
    assert (one.wire.aborted, two.wire.aborted) == (False, True)
    two.lose()
    assert (len(world.server.players), world.server.over_limit) == (1, 1)


def test_at_the_end_those_that_wait_are_told() -> None:
    world = World()
    player = world.player(HELLO, CONNECT, PLAY)
    player.heard()
    world.server.close()
    assert "NetStream.Play.Stop" in codes(player.heard())
    world.server.stop()
    assert player.wire.aborted


@pytest.mark.parametrize("reads_at_first", [True, False])
def test_over_a_real_socket_who_does_not_read_gets_whole_messages_and_then_a_key_frame(reads_at_first: bool) -> Deferred[Any]:
    async def run() -> None:
        world = World()
        world.hub = Hub(real=True, queue_bytes=200_000)
        stream = world.hub.open()
        port = reactor.listenTCP(0, world.server, interface="127.0.0.1")
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port.getHost().port))
        client.setblocking(False)
        client.send(HELLO + CONNECT + PLAY)
        await wait_for(lambda: world.asked)
        world.answer.callback(Lease(stream))
        world.hub.feed(stream, "K", b"first")
        viewer = await wait_for(lambda: next(iter(world.server.players)).viewer)
        got = bytearray()

        def read() -> bool:
            try:
                while data := client.recv(1 << 20):
                    got.extend(data)
            except BlockingIOError:
                pass
            return viewer.state == "live"

        if reads_at_first:
            world.hub.clock.advance(0.2)
            await wait_for(lambda: read() and len(got) > 3500)
        most = 0
        for _ in range(300):
            world.hub.feed(stream, "P", b"p" * 70_000)
            most = max(most, viewer.queue_bytes)
        assert viewer.drops
        assert most < 200_000 + 2 * 70_100
        world.hub.feed(stream, "K", b"fresh")
        await wait_for(read)
        world.hub.feed(stream, "P", b"last")
        await wait_for(lambda: read() and got.endswith(b"last"))
        reader = ChunkReader()
        bodies = [message.body for message in reader.receive(bytes(got[1 + 2 * SIZE :])) if message.type == VIDEO]
        assert [body[:2] for body in bodies[-2:]] == [b"\x17\x01", b"\x27\x01"]
        assert {body[5:] for body in bodies[2:-2]} <= {b"p" * 70_000}
        client.close()
        await wait_for(lambda: not world.server.players)
        await port.stopListening()

    return ensure(run())
