"""A player's session: what clients send and what they must get, in the order they need it; refusals; broken input."""

from __future__ import annotations

from typing import Any

import pytest

from relay.errors import DecodeError, FrameError
from relay.mux import amf0
from relay.rtmp import chunks
from relay.rtmp.chunks import COMMAND, COMMAND_AMF3, DATA, ChunkReader, Message, write_message
from relay.rtmp.handshake import SIZE
from relay.rtmp.server import Pause, Play, Refused, ServerSession, State, Stop

HELLO = b"\x03" + bytes(SIZE) + bytes(SIZE)


def values(body: bytes) -> list[Any]:
    reader = amf0.Reader(body)
    found = []
    while reader.left:
        found.append(reader.value())
    return found


def request(*words: object, stream: int = 0, kind: int = COMMAND, csid: int = 3) -> bytes:
    body = b"".join(map(amf0.encode, words))
    return write_message(csid, kind, stream, 0, b"\x00" + body if kind == COMMAND_AMF3 else body, 128)


class Player:
    """A client's half of the conversation."""

    def __init__(self) -> None:
        self.session = ServerSession(bytes(ServerSession.NOISE))
        self.reader = ChunkReader()
        self.session.receive(HELLO, 0)
        assert len(self.session.bytes_to_send()) == 1 + 2 * SIZE

    def say(self, data: bytes) -> list[Message]:
        self.session.receive(data, 0)
        return self.heard()

    def heard(self) -> list[Message]:
        return self.reader.receive(self.session.bytes_to_send())

    def connect(self, **more: object) -> list[Message]:
        return self.say(request("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live", "flashVer": "LNX 9,0,124,2", **more}))

    def ready(self) -> Player:
        self.connect()
        self.say(request("createStream", 2, None))
        return self


def commands(messages: list[Message]) -> list[list[Any]]:
    return [values(message.body) for message in messages if message.type == COMMAND]


def codes(messages: list[Message]) -> list[str]:
    return [words[3]["code"] for words in commands(messages) if words[0] == "onStatus"]


def test_connect_is_answered_with_window_bandwidth_chunk_size_and_success() -> None:
    player = Player()
    messages = player.connect()
    assert [message.type for message in messages] == [chunks.WINDOW_ACK_SIZE, chunks.SET_PEER_BANDWIDTH, COMMAND]
    assert messages[1].body == (2_500_000).to_bytes(4, "big") + b"\x02"
    assert player.reader.chunk_size == 65536
    ((name, transaction, properties, information),) = commands(messages)
    assert (name, transaction) == ("_result", 1.0)
    assert properties["fmsVer"] == "FMS/3,0,1,123"
    assert information["code"] == "NetConnection.Connect.Success"
    assert information["objectEncoding"] == 0
    assert "fourCcList" not in properties


@pytest.mark.parametrize("announced", [{"fourCcList": ["hvc1", "av01"]}, {"videoFourCcInfoMap": {"hvc1": 1.0, "av01": 1.0}}])
def test_enhanced_rtmp_is_noticed_and_answered(announced: dict[str, object]) -> None:
    player = Player()
    ((_, _, properties, _),) = commands(player.connect(**announced))
    assert properties["fourCcList"] == ["avc1", "hvc1"]
    player.say(request("createStream", 2, None))
    player.say(request("play", 0, None, "x", stream=1))
    (play,) = player.session.events()
    assert isinstance(play, Play)
    assert set(play.fourccs) == {"hvc1", "av01"}


def test_a_play_is_an_event_and_begins_when_it_is_answered() -> None:
    player = Player()
    player.connect()
    assert commands(player.say(request("createStream", 2, None))) == [["_result", 2.0, None, 1.0]]
    assert player.say(request("play", 0, None, "13800138000_1?token=x", -2000, -1, True, stream=1, csid=8)) == []
    assert player.session.events() == [Play("live", "rtmp://h/live", "13800138000_1?token=x", -1.0, ())]
    assert player.session.state is State.STARTING
    player.session.play_started()
    messages = player.heard()
    assert messages[0] == Message(chunks.USER_CONTROL, 0, 0, b"\x00\x00\x00\x00\x00\x01")
    assert codes(messages) == ["NetStream.Play.Reset", "NetStream.Play.Start"]
    assert [message.stream for message in messages] == [0, 1, 1, 1]
    assert (messages[-1].type, values(messages[-1].body)) == (DATA, ["|RtmpSampleAccess", True, True])
    ended = ChunkReader()
    ended.chunk_size = 65536
    last = ended.receive(player.session.play_ended("over"))
    assert last[0].body == b"\x00\x01\x00\x00\x00\x01"
    assert codes(last) == ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop"]


def test_everything_at_once_and_byte_by_byte_is_the_same() -> None:
    talk = (
        request("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live"})
        + request("createStream", 2, None)
        + request("getStreamLength", 3, None, "a")
        + request("play", 4, None, "a", stream=1)
    )
    whole, bytewise = ServerSession(bytes(ServerSession.NOISE)), ServerSession(bytes(ServerSession.NOISE))
    whole.receive(HELLO + talk, 0)
    for byte in HELLO + talk:
        bytewise.receive(bytes((byte,)), 0)
    assert whole.bytes_to_send() == bytewise.bytes_to_send()
    assert whole.events() == bytewise.events() == [Play("live", "rtmp://h/live", "a", -1.0, ())]


def test_what_cannot_be_played_is_told_with_its_cause() -> None:
    player = Player().ready()
    player.say(request("play", 0, None, "x", stream=1))
    player.session.play_failed("NetStream.Play.StreamNotFound", "no terminal is called x")
    ((_, _, _, information),) = commands(player.heard())
    assert information == {"level": "error", "code": "NetStream.Play.StreamNotFound", "description": "no terminal is called x"}
    assert player.session.state is State.CLOSED


def test_an_encoder_is_refused_with_bad_name() -> None:
    player = Player()
    player.connect()
    messages = player.say(request("releaseStream", 2, None, "key") + request("FCPublish", 3, None, "key") + request("createStream", 4, None))
    assert [words[:2] for words in commands(messages)] == [["_result", 2.0], ["_result", 3.0], ["_result", 4.0]]
    ((_, _, _, information),) = commands(player.say(request("publish", 5, None, "key", "live", stream=1)))
    assert information["level"] == "error"
    assert information["code"] == "NetStream.Publish.BadName"
    assert "takes no publishers" in information["description"]
    (event,) = player.session.events()
    assert isinstance(event, Refused)
    player.session.receive(b"whatever comes after", 0)
    assert player.session.events() == []


@pytest.mark.parametrize("name", ["_checkbw", "getStreamLength", "FCSubscribe", "no.such.command"])
def test_other_commands_get_an_empty_answer_when_they_want_one(name: str) -> None:
    player = Player().ready()
    ((result, transaction, *_),) = commands(player.say(request(name, 9, None, "x")))
    assert (result, transaction) == ("_result", 9.0)
    if name != "getStreamLength":
        assert player.say(request(name, 0, None, "x")) == []


def test_pause_is_answered_and_told() -> None:
    player = Player().ready()
    player.say(request("play", 0, None, "x", stream=1))
    player.session.play_started()
    player.heard()
    player.session.events()
    assert codes(player.say(request("pause", 0, None, True, 0, stream=1))) == ["NetStream.Pause.Notify"]
    player.say(request("pause", 0, None, False, 0, stream=1))
    assert player.session.events() == [Pause(True), Pause(False)]
    player.session.resumed()
    assert codes(player.heard()) == ["NetStream.Unpause.Notify"]
    assert codes(player.say(request("seek", 0, None, 1000, stream=1))) == ["NetStream.Seek.Failed"]


@pytest.mark.parametrize("name", ["deleteStream", "closeStream"])
def test_a_closed_stream_is_told_and_another_may_be_played(name: str) -> None:
    player = Player().ready()
    player.say(request("play", 0, None, "x", stream=1))
    player.say(request(name, 0, None, 1, stream=1))
    player.say(request("createStream", 3, None))
    player.say(request("play", 0, None, "y", stream=1))
    events = player.session.events()
    assert [type(event) for event in events] == [Play, Stop, Play]


def test_one_stream_a_connection() -> None:
    player = Player().ready()
    ((name, transaction, *_),) = commands(player.say(request("createStream", 3, None)))
    assert (name, transaction) == ("_error", 3.0)


def test_amf3_commands_are_read() -> None:
    player = Player()
    player.say(request("connect", 1, {"app": "live", "tcUrl": ""}, kind=COMMAND_AMF3))
    assert player.session.state is State.READY


def test_pings_and_acknowledgements() -> None:
    player = Player().ready()
    assert player.say(chunks.user_control(6, 0x01020304)) == [Message(chunks.USER_CONTROL, 0, 0, b"\x00\x07\x01\x02\x03\x04")]
    player.say(chunks.control(chunks.WINDOW_ACK_SIZE, 20000))
    acknowledged: list[Message] = []
    for _ in range(200):
        acknowledged += player.say(request("receiveAudio", 0, None, True))
    counts = [int.from_bytes(message.body, "big") for message in acknowledged if message.type == chunks.ACK]
    assert counts
    assert counts[-1] > 10000
    player.session.ping(9)
    assert player.heard() == [Message(chunks.USER_CONTROL, 0, 0, b"\x00\x06\x00\x00\x00\x09")]
    player.say(chunks.user_control(7, 9))
    assert player.session.peer.pongs == 1


def test_the_first_command_must_be_connect() -> None:
    with pytest.raises(FrameError, match="'play' instead of connect"):
        Player().say(request("play", 0, None, "x"))


def test_a_broken_command_is_passed_over_and_ten_end_the_connection() -> None:
    player = Player().ready()
    for _ in range(10):
        assert player.say(write_message(3, COMMAND, 0, 0, b"\x02\xff\xff", 128)) == []
    with pytest.raises(DecodeError):
        player.say(write_message(3, COMMAND, 0, 0, b"\x02\xff\xff", 128))
    assert player.session.state is State.CLOSED


def test_deep_and_wide_values_are_bounded() -> None:
    player = Player().ready()
    deep = amf0.encode("x") + amf0.encode(1.0) + b"\x03\x00\x01a" * 40
    player.say(write_message(3, COMMAND, 0, 0, deep, 128))
    assert player.session.peer.bad == 1
    with pytest.raises(FrameError, match="a message of 65537 bytes"):
        player.say(b"\x03\x00\x00\x00\x01\x00\x01\x14\x00\x00\x00\x00")
