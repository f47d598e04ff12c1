"""Publishing at an outside server: the commands in their order, what goes where, answers that refuse, time stamps of our own."""

from __future__ import annotations

from typing import Any

import pytest

from relay.errors import FrameError, UsageError
from relay.mux import amf0
from relay.rtmp import chunks
from relay.rtmp.chunks import AUDIO, COMMAND, DATA, VIDEO, ChunkReader, Message, write_message
from relay.rtmp.client import CHUNK_SIZE, PublishSession, Rejected, Started, State
from relay.rtmp.commands import command, status
from relay.rtmp.handshake import SIZE, ServerHandshake
from relay.rtmp.mux import Tag
from tests.rtmp.test_server import values


class Server:
    """An outside server, by hand."""

    def __init__(self, fourccs: tuple[str, ...] = (), step: int = 1 << 20) -> None:
        self.session = PublishSession("live", "rtmp://h:1935/live", "car?key=1", fourccs, bytes(PublishSession.NOISE), 0)
        self.reader = ChunkReader()
        self.step = step
        shake = ServerHandshake(bytes(ServerHandshake.NOISE))
        self.send(shake.receive(self.session.bytes_to_send(), 0))
        self.heard_first = self.session.bytes_to_send()
        shake.receive(self.heard_first, 0)
        self.rest = shake.rest

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), self.step):
            self.session.receive(data[at : at + self.step])

    def heard(self) -> list[Message]:
        data, self.rest = self.rest + self.session.bytes_to_send(), b""
        return self.reader.receive(data)

    def said(self) -> list[list[Any]]:
        return [values(message.body) for message in self.heard() if message.type == COMMAND]

    def accept(self, stream: float = 1.0) -> None:
        self.send(command("_result", 1, {"fmsVer": "FMS/3,0,1,123"}, {"code": "NetConnection.Connect.Success"}))
        self.send(command("_result", 4, None, stream))
        self.send(status("status", "NetStream.Publish.Start", "go", 1))
        assert self.session.events() == [Started()]
        self.heard()


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_the_commands_come_in_the_order_that_servers_expect(step: int) -> None:
    server = Server(step=step)
    ((name, transaction, properties),) = server.said()
    assert (name, transaction) == ("connect", 1.0)
    assert properties == {
        "app": "live",
        "type": "nonprivate",
        "flashVer": "FMLE/3.0 (compatible; jt1078relay)",
        "tcUrl": "rtmp://h:1935/live",
    }
    server.send(chunks.control(chunks.WINDOW_ACK_SIZE, 5_000_000))
    server.send(write_message(2, chunks.SET_PEER_BANDWIDTH, 0, 0, (2_500_000).to_bytes(4, "big") + b"\x02", 128))
    server.send(chunks.control(chunks.SET_CHUNK_SIZE, 65536))
    assert server.heard() == [Message(chunks.WINDOW_ACK_SIZE, 0, 0, (2_500_000).to_bytes(4, "big"))]
    server.send(command("_result", 1, {"fmsVer": "FMS/3,0,1,123"}, {"level": "status", "code": "NetConnection.Connect.Success"}))
    assert server.said() == [
        ["releaseStream", 2.0, None, "car?key=1"],
        ["FCPublish", 3.0, None, "car?key=1"],
        ["createStream", 4.0, None],
    ]
    assert server.reader.chunk_size == CHUNK_SIZE
    server.send(command("_error", 2, None, {"level": "error", "code": "NetConnection.Call.Failed"}))
    server.send(command("onFCPublish", 0, None, {"code": "NetStream.Publish.Start"}))
    assert server.session.events() == []
    server.send(command("_result", 4, None, 7))
    (message,) = server.heard()
    assert (message.stream, values(message.body)) == (7, ["publish", 5.0, None, "car?key=1", "live"])
    server.send(status("status", "NetStream.Publish.Start", "go", 7))
    assert server.session.events() == [Started()]
    assert server.session.state is State.RUNNING


def test_h265_is_announced() -> None:
    ((_, _, properties),) = Server(("hvc1",)).said()
    assert properties["fourCcList"] == ["hvc1"]


def test_media_go_out_on_the_servers_stream_with_time_stamps_from_zero() -> None:
    server = Server()
    server.accept(9.0)
    metadata = amf0.encode("onMetaData") + amf0.encode(amf0.EcmaArray(width=352))
    big = bytes(range(256)) * 40
    sent = server.session.media([
        Tag(DATA, 0, metadata),
        Tag(VIDEO, 100_000, b"header"),
        Tag(VIDEO, 100_000, big),
        Tag(AUDIO, 99_990, b"early"),
        Tag(VIDEO, 100_040, b"next"),
        Tag(DATA, 100_050, metadata),
    ])  # fmt: skip
    messages = server.reader.receive(sent)
    assert [(m.type, m.timestamp, m.stream) for m in messages] == [
        (DATA, 0, 9), (VIDEO, 0, 9), (VIDEO, 0, 9), (AUDIO, 0, 9), (VIDEO, 40, 9), (DATA, 40, 9),
    ]  # fmt: skip
    assert values(messages[0].body) == ["@setDataFrame", "onMetaData", {"width": 352.0}]
    assert messages[2].body == big


def test_time_stamps_go_on_over_the_wrap() -> None:
    server = Server()
    server.accept()
    messages = server.reader.receive(server.session.media([Tag(VIDEO, 0xFFFFFFF0, b"a"), Tag(VIDEO, 0x10, b"b")]))
    assert [message.timestamp for message in messages] == [0, 0x20]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            command("_error", 1, None, {"level": "error", "code": "NetConnection.Connect.Rejected", "description": "bad\x00 key"}),
            "NetConnection.Connect.Rejected: bad  key",
        ),
        (command("close", 0, None), "the server closed the connection"),
        (status("error", "NetStream.Publish.BadName", "already publishing", 1), "NetStream.Publish.BadName: already publishing"),
        (command("_error", 1, None), "refused without a word"),
        (status("error", "", "x" * 900, 1, 65536), "x" * 200),
    ],
)
def test_a_refusal_is_passed_on_in_the_servers_words(answer: bytes, told: str) -> None:
    server = Server()
    if len(answer) > 900:
        server.send(chunks.control(chunks.SET_CHUNK_SIZE, 65536))
    server.send(answer)
    (event,) = server.session.events()
    assert isinstance(event, Rejected)
    assert str(event) == told
    assert server.session.state is State.CLOSED
    server.send(b"more")
    assert server.session.events() == []


def test_a_running_publication_can_be_ended_by_the_server() -> None:
    server = Server()
    server.accept()
    server.send(status("status", "NetStream.Unpublish.Success", "kicked", 1))
    (event,) = server.session.events()
    assert str(event) == "NetStream.Unpublish.Success: kicked"


@pytest.mark.parametrize("number", [0.0, -1.0, 1.5, 2.0**32, float("inf")])
def test_a_stream_number_that_is_none(number: float) -> None:
    server = Server()
    server.send(command("_result", 1, None) + command("_result", 4, None, number))
    (event,) = server.session.events()
    assert "the server gave the stream the number" in str(event)


def test_pings_are_answered_and_bytes_acknowledged() -> None:
    server = Server()
    server.accept()
    server.send(chunks.user_control(6, 5))
    assert server.heard() == [Message(chunks.USER_CONTROL, 0, 0, b"\x00\x07\x00\x00\x00\x05")]
    server.send(chunks.control(chunks.ACK, 123456))
    assert server.session.peer.acknowledged == 123456


def test_the_last_words() -> None:
    server = Server()
    assert server.session.farewell() == b""
    server.accept(3.0)
    last = server.reader.receive(server.session.farewell())
    assert [values(message.body) for message in last] == [["FCUnpublish", 6.0, None, "car?key=1"], ["deleteStream", 7.0, None, 3.0]]
    with pytest.raises(UsageError):
        server.session.media([])


def test_what_is_no_rtmp_ends_it() -> None:
    session = PublishSession("a", "b", "c", (), bytes(PublishSession.NOISE), 0)
    assert len(session.bytes_to_send()) == 1 + SIZE
    with pytest.raises(FrameError, match="RTMP begins with 0x03"):
        session.receive(b"HTTP/1.1 400 Bad Request\r\n")
    assert session.state is State.CLOSED
