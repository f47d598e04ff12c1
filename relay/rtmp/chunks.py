"""Messages in chunks (RTMP 1.0, 5.3), both ways.

::

    basic header    fmt(2) csid(6): 0 = csid is 64 + next byte, 1 = 64 + next byte + 256 x the one after, else itself
    fmt 0           u24 time, u24 size, u8 type, u32 message stream id (little-endian)
    fmt 1           u24 time since the last message, u24 size, u8 type
    fmt 2           u24 time since the last message
    fmt 3           the message goes on, or a new one with the last one's header
    time FFFFFF     u32 time follows, also after fmt 3

What a peer may cost is bounded; beyond a limit the connection ends (FrameError), for without its frame nothing after it can be read.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from relay.errors import FrameError, UsageError

SET_CHUNK_SIZE, ABORT, ACK, USER_CONTROL, WINDOW_ACK_SIZE, SET_PEER_BANDWIDTH = 1, 2, 3, 4, 5, 6
AUDIO, VIDEO, DATA_AMF3, COMMAND_AMF3, DATA, COMMAND, AGGREGATE = 8, 9, 15, 17, 18, 20, 22

CONTROL_CSID, COMMAND_CSID, AUDIO_CSID, DATA_CSID, VIDEO_CSID = 2, 3, 4, 5, 6

CHUNK_DEFAULT = 128  #: each way, until Set Chunk Size
CHUNK_MAX = 65536  #: larger ones serve no purpose, and no server in use sends them
MESSAGE_MAX = 8 << 20  #: a key frame of 4K video is a tenth of it; also what all unfinished messages together may hold
STREAMS_MAX = 64  #: chunk streams in use; clients have five

_U32 = struct.Struct(">I")
_HEAD = struct.Struct(">II")
_HEADS = (11, 7, 3, 0)
EXTENDED = 0xFFFFFF  #: in the field of three bytes: the time follows in four
_SIZE_MAX = 0xFFFFFF


class Message(NamedTuple):
    """One whole message."""

    type: int
    timestamp: int  #: ms, 32 bit
    stream: int  #: message stream id; 0 = the connection itself
    body: bytes


class _Lane:
    """One chunk stream of the peer."""

    __slots__ = ("body", "delta", "extended", "size", "stream", "timestamp", "type")

    def __init__(self) -> None:
        self.timestamp = 0
        self.delta = 0
        self.extended: bytes | None = None  #: the extended time's bytes, when the last header had one
        self.size = 0
        self.type = 0
        self.stream = 0
        self.body: bytearray | None = None  #: of the message under way


class ChunkReader:
    """Bytes in, whole messages out; Set Chunk Size and Abort are obeyed here. ``message_max``: bytes of one message and of all unfinished ones."""

    def __init__(self, message_max: int = MESSAGE_MAX) -> None:
        self.chunk_size = CHUNK_DEFAULT
        self._message_max = message_max
        self._lanes: dict[int, _Lane] = {}
        self._buffer = b""
        self._unfinished = 0
        self.dropped = 0  #: messages that another one on the same chunk stream cut short

    def receive(self, data: bytes) -> list[Message]:
        """All messages that became whole. Raises FrameError."""
        buffer = self._buffer + data if self._buffer else data
        messages: list[Message] = []
        at = 0
        while True:
            used = self._chunk(buffer, at, messages)
            if not used:
                break
            at += used
        self._buffer = buffer[at:]
        return messages

    def _chunk(self, buffer: bytes, start: int, messages: list[Message]) -> int:
        """Read one chunk; the bytes it has, 0 when it is not all there."""
        left = len(buffer) - start
        if left < 1:
            return 0
        first = buffer[start]
        fmt, csid = first >> 6, first & 0x3F
        at = start + 1
        if csid < 2:
            wide = csid + 1
            if left < 1 + wide:
                return 0
            csid = 64 + buffer[at] + (256 * buffer[at + 1] if wide == 2 else 0)
            at += wide
        head = _HEADS[fmt]
        if len(buffer) - at < head:
            return 0
        lane = self._lanes.get(csid)
        if lane is None:
            if fmt:
                raise FrameError("chunk", f"chunk stream {csid} begins without a whole header")
            if len(self._lanes) >= STREAMS_MAX:
                raise FrameError("limit", f"more than {STREAMS_MAX} chunk streams")
            lane = _Lane()
        goes_on = fmt == 3 and lane.body is not None
        size, kind, stream, time, word = lane.size, lane.type, lane.stream, lane.delta, lane.extended
        if fmt < 3:
            time, word = int.from_bytes(buffer[at : at + 3], "big"), None
        if fmt < 2:
            size, kind = int.from_bytes(buffer[at + 3 : at + 6], "big"), buffer[at + 6]
        if fmt == 0:
            stream = int.from_bytes(buffer[at + 7 : at + 11], "little")
        if size > self._message_max:
            raise FrameError("limit", f"a message of {size} bytes; {self._message_max} at most")
        at += head
        if word is not None or time == EXTENDED:
            found = buffer[at : at + 4]
            if len(found) < 4:
                return 0
            if word is None:
                word = found
                time = _U32.unpack(found)[0]
            # seen: senders that leave it out after fmt 3; then these are bytes of the message
            if found == word:
                at += 4
        done = len(lane.body) if goes_on and lane.body is not None else 0
        piece = min(self.chunk_size, size - done)
        if len(buffer) - at < piece:
            return 0
        # it is all there: take it
        self._lanes[csid] = lane
        if not goes_on:
            if lane.body is not None:
                self.dropped += 1
                self._drop(lane)
            lane.size, lane.type, lane.stream = size, kind, stream
            lane.timestamp = time if fmt == 0 else (lane.timestamp + time) & 0xFFFFFFFF
            lane.delta, lane.extended = time, word
        body = buffer[at : at + piece]
        if piece == size and not goes_on:
            self._whole(lane, body, messages)
        else:
            self._gather(lane, body, messages)
        return at + piece - start

    def _gather(self, lane: _Lane, piece: bytes, messages: list[Message]) -> None:
        if lane.body is None:
            lane.body = bytearray()
        lane.body += piece
        self._unfinished += len(piece)
        if self._unfinished > self._message_max:
            raise FrameError("limit", f"unfinished messages of more than {self._message_max} bytes")
        if len(lane.body) == lane.size:
            body = bytes(lane.body)
            self._drop(lane)
            self._whole(lane, body, messages)

    def _drop(self, lane: _Lane) -> None:
        if lane.body is not None:
            self._unfinished -= len(lane.body)
            lane.body = None

    def _whole(self, lane: _Lane, body: bytes, messages: list[Message]) -> None:
        if lane.type == SET_CHUNK_SIZE:
            size = _U32.unpack(body)[0] if len(body) == 4 else 0
            if not 1 <= size <= CHUNK_MAX:
                raise FrameError("limit", f"a chunk size of {size}; 1 to {CHUNK_MAX}")
            self.chunk_size = size
        elif lane.type == ABORT:
            if len(body) == 4:
                other = self._lanes.get(_U32.unpack(body)[0])
                if other is not None:
                    self._drop(other)
        else:
            messages.append(Message(lane.type, lane.timestamp, lane.stream, body))


def write_message(csid: int, kind: int, stream: int, timestamp: int, body: bytes, chunk_size: int) -> bytes:
    """One message in chunks, its whole header first, so that it can be read without what went before. ``csid`` 2 to 63."""
    timestamp &= 0xFFFFFFFF
    size = len(body)
    if size > _SIZE_MAX:
        raise UsageError(f"an RTMP message of {size} bytes")
    word = b"" if timestamp < EXTENDED else _U32.pack(timestamp)
    head = _HEAD.pack(csid << 24 | min(timestamp, EXTENDED), size << 8 | kind) + stream.to_bytes(4, "little") + word
    if size <= chunk_size:
        return head + body
    again = bytes((0xC0 | csid,)) + word
    pieces = [head, body[:chunk_size]]
    for at in range(chunk_size, size, chunk_size):
        pieces.append(again)
        pieces.append(body[at : at + chunk_size])
    return b"".join(pieces)


def control(kind: int, value: int) -> bytes:
    """A protocol control message with one u32: chunk size, acknowledgement, window."""
    return write_message(CONTROL_CSID, kind, 0, 0, _U32.pack(value & 0xFFFFFFFF), CHUNK_DEFAULT)


def user_control(event: int, *values: int) -> bytes:
    """A user control message: event and u32 values."""
    return write_message(CONTROL_CSID, USER_CONTROL, 0, 0, struct.pack(f">H{len(values)}I", event, *values), CHUNK_DEFAULT)
