"""Chunks: every header form, extended times, sizes, aborts, any split; and what ends a connection."""

from __future__ import annotations

import struct

import pytest

from relay.errors import FrameError, UsageError
from relay.rtmp import chunks
from relay.rtmp.chunks import ABORT, AUDIO, COMMAND, SET_CHUNK_SIZE, VIDEO, ChunkReader, Message, write_message


def u24(value: int) -> bytes:
    return value.to_bytes(3, "big")


def fmt0(csid: int, time: int, size: int, kind: int, stream: int) -> bytes:
    return bytes((csid,)) + u24(time) + u24(size) + bytes((kind,)) + stream.to_bytes(4, "little")


BODY = bytes(range(200))
EXT = struct.pack(">I", 0x01000000)

# by hand, from RTMP 1.0 5.3.1 and its examples 5.3.2
CASES: dict[str, tuple[bytes, list[Message]]] = {
    "one chunk": (fmt0(3, 10, 4, COMMAND, 0) + b"abcd", [Message(COMMAND, 10, 0, b"abcd")]),
    "two chunks of 128": (fmt0(6, 1000, 200, VIDEO, 1) + BODY[:128] + b"\xc6" + BODY[128:], [Message(VIDEO, 1000, 1, BODY)]),
    "an empty message": (fmt0(4, 7, 0, AUDIO, 1), [Message(AUDIO, 7, 1, b"")]),
    "example 5.3.2.1: fmt 0, 2, 3, 3": (
        fmt0(3, 1000, 32, AUDIO, 12345) + BODY[:32] + b"\x83" + u24(20) + BODY[:32] + b"\xc3" + BODY[:32] + b"\xc3" + BODY[:32],
        [Message(AUDIO, time, 12345, BODY[:32]) for time in (1000, 1020, 1040, 1060)],
    ),
    "fmt 1 with another size and type": (
        fmt0(5, 100, 2, AUDIO, 1) + b"ab" + b"\x45" + u24(40) + u24(3) + bytes((VIDEO,)) + b"xyz",
        [Message(AUDIO, 100, 1, b"ab"), Message(VIDEO, 140, 1, b"xyz")],
    ),
    "fmt 3 after fmt 0 adds its time": (
        fmt0(5, 100, 2, AUDIO, 1) + b"ab" + b"\xc5" + b"cd",
        [Message(AUDIO, 100, 1, b"ab"), Message(AUDIO, 200, 1, b"cd")],
    ),
    "chunk stream ids of two and three bytes": (
        b"\x00\x00" + fmt0(0, 1, 1, AUDIO, 1)[1:] + b"a" + b"\x01\x02\x03" + fmt0(0, 2, 1, AUDIO, 1)[1:] + b"b",
        [Message(AUDIO, 1, 1, b"a"), Message(AUDIO, 2, 1, b"b")],
    ),
    "two messages interleaved": (
        fmt0(6, 1, 200, VIDEO, 1) + BODY[:128] + fmt0(4, 2, 3, AUDIO, 1) + b"abc" + b"\xc6" + BODY[128:],
        [Message(AUDIO, 2, 1, b"abc"), Message(VIDEO, 1, 1, BODY)],
    ),
    "extended time, repeated after fmt 3": (
        fmt0(6, 0xFFFFFF, 200, VIDEO, 1) + EXT + BODY[:128] + b"\xc6" + EXT + BODY[128:],
        [Message(VIDEO, 0x01000000, 1, BODY)],
    ),
    "extended time, left out after fmt 3": (
        fmt0(6, 0xFFFFFF, 200, VIDEO, 1) + EXT + BODY[:128] + b"\xc6" + BODY[128:],
        [Message(VIDEO, 0x01000000, 1, BODY)],
    ),
    "an extended difference": (
        fmt0(6, 5, 1, VIDEO, 1) + b"a" + b"\x86\xff\xff\xff" + EXT + b"b",
        [Message(VIDEO, 5, 1, b"a"), Message(VIDEO, 0x01000005, 1, b"b")],
    ),
    "time wraps": (
        fmt0(6, 0xFFFFFF, 1, VIDEO, 1) + b"\xff\xff\xff\xf0" + b"a" + b"\x86" + u24(0x20) + b"b",
        [Message(VIDEO, 0xFFFFFFF0, 1, b"a"), Message(VIDEO, 0x10, 1, b"b")],
    ),
    "chunk size changes": (
        fmt0(2, 0, 4, SET_CHUNK_SIZE, 0) + b"\x00\x00\x00\xc8" + fmt0(6, 1, 200, VIDEO, 1) + BODY,
        [Message(VIDEO, 1, 1, BODY)],
    ),
    "abort": (
        fmt0(6, 1, 200, VIDEO, 1) + BODY[:128] + fmt0(2, 0, 4, ABORT, 0) + b"\x00\x00\x00\x06" + fmt0(6, 2, 1, VIDEO, 1) + b"a",
        [Message(VIDEO, 2, 1, b"a")],
    ),
    "a message cut short by the next one": (
        fmt0(6, 1, 200, VIDEO, 1) + BODY[:128] + fmt0(6, 2, 1, VIDEO, 1) + b"a",
        [Message(VIDEO, 2, 1, b"a")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_messages_come_out_however_the_bytes_arrive(name: str) -> None:
    data, messages = CASES[name]
    assert ChunkReader().receive(data) == messages
    reader = ChunkReader()
    assert [message for at in range(len(data)) for message in reader.receive(data[at : at + 1])] == messages
    for at in range(len(data)):
        reader = ChunkReader()
        assert reader.receive(data[:at]) + reader.receive(data[at:]) == messages, at


@pytest.mark.parametrize("timestamp", [0, 0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF])
@pytest.mark.parametrize("chunk_size", [1, 128, 199, 200, 65536])
def test_what_is_written_is_read(timestamp: int, chunk_size: int) -> None:
    reader = ChunkReader()
    reader.receive(chunks.control(SET_CHUNK_SIZE, chunk_size))
    data = write_message(6, VIDEO, 1, timestamp, BODY, chunk_size)
    assert reader.receive(data * 2) == [Message(VIDEO, timestamp, 1, BODY)] * 2


def test_a_message_is_written_as_the_standard_draws_it() -> None:
    assert write_message(6, VIDEO, 0x01020304, 0x010203, BODY, 128) == (
        b"\x06\x01\x02\x03\x00\x00\xc8\x09\x04\x03\x02\x01" + BODY[:128] + b"\xc6" + BODY[128:]
    )
    assert write_message(4, AUDIO, 1, 0x01000000, b"ab", 1) == b"\x04\xff\xff\xff\x00\x00\x02\x08\x01\x00\x00\x00" + EXT + b"a" + b"\xc4" + EXT + b"b"
    with pytest.raises(UsageError, match="16777216 bytes"):
        write_message(4, AUDIO, 1, 0, bytes(1 << 24), 128)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xc3abcd", "begins without a whole header"),
        (b"\x43" + u24(1) + u24(1) + b"\x08a", "begins without a whole header"),
        (fmt0(6, 0, (8 << 20) + 1, VIDEO, 1), "a message of 8388609 bytes"),
        (fmt0(2, 0, 4, SET_CHUNK_SIZE, 0) + bytes(4), "a chunk size of 0"),
        (fmt0(2, 0, 4, SET_CHUNK_SIZE, 0) + b"\x00\x01\x00\x01", "a chunk size of 65537"),
        (fmt0(2, 0, 3, SET_CHUNK_SIZE, 0) + b"\x00\x01\x00", "a chunk size of 0"),
        (b"".join(fmt0(csid, 0, 1, AUDIO, 1) + b"a" for csid in range(2, 64)) + 3 * b"", None),
        (b"".join(b"\x00" + bytes((at,)) + fmt0(0, 0, 1, AUDIO, 1)[1:] + b"a" for at in range(65)), "more than 64 chunk streams"),
    ],
)
def test_limits(data: bytes, words: str | None) -> None:
    if words is None:
        assert len(ChunkReader().receive(data)) == 62
        return
    with pytest.raises(FrameError, match=words):
        ChunkReader().receive(data)


def test_unfinished_messages_share_one_limit() -> None:
    reader = ChunkReader(message_max=1000)
    for csid in range(3, 10):
        reader.receive(fmt0(csid, 0, 900, VIDEO, 1) + bytes(128))
    with pytest.raises(FrameError, match="unfinished messages of more than 1000 bytes"):
        reader.receive(fmt0(10, 0, 900, VIDEO, 1) + bytes(128))


def test_what_is_kept_is_what_has_come_not_what_was_announced() -> None:
    reader = ChunkReader()
    for csid in range(3, 60):
        reader.receive(fmt0(csid, 0, 8 << 20, VIDEO, 1) + bytes(128))
    assert sum(len(lane.body or b"") for lane in reader._lanes.values()) == 57 * 128
