"""RTMP: what players send to us, what outside servers answer to our pushes, and AMF0 alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from mutate import change, fresh
from targets import TARGETS, Finding, Target, portions

from relay.errors import ProtocolError
from relay.mux import amf0
from relay.rtmp import chunks
from relay.rtmp.chunks import ChunkReader, Message, write_message
from relay.rtmp.client import PublishSession, Started, State
from relay.rtmp.commands import command, status
from relay.rtmp.handshake import SIZE
from relay.rtmp.server import Pause, Play, ServerSession

#: a plain handshake of the peer: what is fuzzed comes after it
SHAKE = b"\x03" + bytes(2 * SIZE)
NOISE = bytes(ServerSession.NOISE)
CONNECT = {"app": "live", "tcUrl": "rtmp://h/live?token=t", "flashVer": "LNX 9,0,124,2", "audioCodecs": 4071, "fourCcList": ["hvc1", "av01"]}


def talk(*commands: tuple[Any, ...], stream: int = 0) -> bytes:
    """Commands as a client writes them."""
    return b"".join(command(*words, stream=stream) for words in commands)


class RtmpTarget(Target):
    """Bytes of a peer after the handshake."""

    patterns = (b"\xc3", b"\x03" + bytes(11), b"\x03\xff\xff\xff" + bytes(8), b"\x02\0\0\0\0\0\4\1\0\0\0\0\0\0\0\1", b"\x03\0\0\0\0\xff\xff\x14" + bytes(4))

    def framed(self, data: bytes) -> None:
        """The chunks alone: cut anywhere, they must give the same messages, and hold no more than the limit."""
        whole, cut = ChunkReader(4096), ChunkReader(4096)
        found: list[Message] = []
        try:
            want = whole.receive(data)
        except ProtocolError:
            want = None
        try:
            for portion in portions(data):
                found += cut.receive(portion)
        except ProtocolError:
            if want is not None:
                raise Finding("cut, it cannot be read") from None
            return
        if want is None or found != want:
            raise Finding("cut, it gives other messages")
        if cut._unfinished > 4096 or len(cut._buffer) > chunks.CHUNK_MAX + 32:
            raise Finding("more is held than the limit")
        for message in found:
            again = ChunkReader(4096).receive(write_message(6, message.type, message.stream, message.timestamp, message.body, chunks.CHUNK_DEFAULT))
            if again != [message] and message.type not in (chunks.SET_CHUNK_SIZE, chunks.ABORT):
                raise Finding("written again it is another message")


class RtmpServer(RtmpTarget):
    """A player's connection."""

    name = "rtmp"

    def find(self, vectors: Path) -> Iterator[bytes]:
        hello = talk(("connect", 1, CONNECT))
        play = talk(("createStream", 2, None), ("getStreamLength", 3, None, "x"), ("_checkbw", 4, None))
        begin = talk(("play", 0, None, "13800138000_1?token=t", -2000.0, -1.0, True), stream=1)
        yield hello
        yield hello + play + begin
        yield hello + play + begin + talk(("pause", 0, None, True, 0), ("pause", 0, None, False, 0), ("seek", 0, None, 1.0), stream=1)
        yield hello + play + begin + talk(("closeStream", 0, None), ("play", 0, None, "y"), ("deleteStream", 0, None, 1.0), stream=1)
        publish = talk(("releaseStream", 2, None, "k"), ("FCPublish", 3, None, "k"), ("createStream", 4, None))
        yield hello + publish + talk(("publish", 5, None, "k", "live"), stream=1)
        yield hello + chunks.control(chunks.SET_CHUNK_SIZE, 4096) + chunks.control(chunks.WINDOW_ACK_SIZE, 2048) + chunks.user_control(6, 7) + play
        yield hello + chunks.control(chunks.ABORT, 3) + chunks.user_control(3, 1, 3000) + write_message(3, 17, 0, 0, b"\0" + amf0.encode("play"), 128)
        yield hello + write_message(6, chunks.VIDEO, 1, 0xFFFFFF, bytes(300), 128) + write_message(4, chunks.AUDIO, 1, 0x1000000, bytes(300), 128)

    def run(self, data: bytes) -> None:
        self.framed(data)
        session = ServerSession(NOISE)
        session.receive(SHAKE, 0)
        try:
            for portion in portions(data):
                session.receive(portion, 5)
                for event in session.events():
                    if isinstance(event, Play) and len(event.name) % 2:
                        session.play_started()
                    elif isinstance(event, Play):
                        session.play_failed("NetStream.Play.Failed", event.name)
                    elif isinstance(event, Pause) and not event.on:
                        session.resumed()
                session.bytes_to_send()
        except ProtocolError:
            session.receive(b"\x03more", 6)
        session.play_ended("over")


class RtmpClient(RtmpTarget):
    """An outside server's answers."""

    name = "rtmp-push"

    def find(self, vectors: Path) -> Iterator[bytes]:
        hello = chunks.control(chunks.WINDOW_ACK_SIZE, 5_000_000) + chunks.control(chunks.SET_CHUNK_SIZE, 60000)
        hello += write_message(2, chunks.SET_PEER_BANDWIDTH, 0, 0, b"\0\x26\x25\xa0\2", 128)
        connected = hello + talk(("_result", 1, {"fmsVer": "FMS/3,0,1,123"}, {"level": "status", "code": "NetConnection.Connect.Success"}))
        started = connected + talk(("onFCPublish", 0, None), ("_result", 4, None, 1.0)) + status("status", "NetStream.Publish.Start", "go", 1)
        yield connected
        yield started
        yield started + chunks.user_control(6, 1) + chunks.control(chunks.ACK, 1000) + status("status", "NetStream.Unpublish.Success", "", 1)
        yield hello + talk(("_error", 1, None, {"level": "error", "code": "NetConnection.Connect.Rejected", "description": "[ AccessManager.Reject ]"}))
        yield connected + talk(("_error", 2, None, {"level": "error"}), ("_result", 4, None, 1.0)) + status("error", "NetStream.Publish.BadName", "taken", 1)

    def run(self, data: bytes) -> None:
        session = PublishSession("live", "rtmp://h/live", "name?key", ("hvc1",), NOISE, 0)
        session.receive(SHAKE)
        try:
            for portion in portions(data):
                session.receive(portion)
                for event in session.events():
                    if isinstance(event, Started) and session.state is State.RUNNING:  # the same bytes may have ended it again
                        session.media([])
                    else:
                        str(event)
                session.bytes_to_send()
        except ProtocolError:
            session.receive(b"\x03more")
        session.farewell()


class Amf0(Target):
    """Values, and what is written of them."""

    name = "amf0"
    patterns = (b"\x03\x00\x01a", b"\x0a\x00\x00\x00\x01", b"\x08\x00\x00\x00\x01\x00\x01a", b"\x05", b"\x02\x00\x00")

    def find(self, vectors: Path) -> Iterator[bytes]:
        for value in (1.0, True, "text", "x" * 70000, None, CONNECT, amf0.EcmaArray(width=352.0, a=[1.0, {"b": None}]), amf0.Date(1.0, 0), [[["x"]]]):
            yield amf0.encode(value)[:4000]
        yield b"".join(map(amf0.encode, ("connect", 1.0, CONNECT, "x", 2.0)))

    def make(self, chance: Random) -> bytes:
        if chance.random() < 0.05:
            return fresh(chance)
        return change(chance, chance.choice(self.seeds), self.seeds, chance.choice((0, 1, 1, 2, 3)))

    def run(self, data: bytes) -> None:
        reader = amf0.Reader(data)
        try:
            while reader.left:
                value = reader.value()
                written = amf0.encode(value)
                if amf0.encode(amf0.Reader(written).value()) != written:
                    raise Finding("written again it is another value")
        except ProtocolError:
            pass


TARGETS.update({cls.name: cls for cls in (RtmpServer, RtmpClient, Amf0)})
