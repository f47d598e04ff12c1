"""FLV's tags as RTMP messages: what players of one stream share, and the way back for a push, whose connection has its own numbers.

An RTMP message of media is an FLV tag without its head and tail. Each message begins with its whole header (fmt 0), on message stream 1 and in
chunks of one size, so the bytes say nothing of the connection they go out on: written once, sent to all.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from relay.codec.frame import AudioConfig, Frame, VideoConfig
from relay.errors import UsageError
from relay.mux.flv import FlvMuxer
from relay.rtmp.chunks import AUDIO, AUDIO_CSID, DATA, DATA_CSID, EXTENDED, VIDEO, VIDEO_CSID, write_message

STREAM_ID = 1  #: message stream of every player
CHUNK_SIZE = 65536  #: towards players: nearly every frame is one chunk

FILE_HEADER = 13  #: bytes before FLV's first tag
_TAG_HEAD, _TAG_TAIL = 11, 4
_CSIDS = {AUDIO: AUDIO_CSID, VIDEO: VIDEO_CSID, DATA: DATA_CSID}
#: of the hot path: the basic header before three bytes of time, and the message stream
_HEAD = struct.Struct(">II").pack
_FIRST = {kind: csid << 24 for kind, csid in _CSIDS.items()}
_STREAM = STREAM_ID.to_bytes(4, "little")


class Tag(NamedTuple):
    """One FLV tag."""

    type: int  #: 8 sound, 9 picture, 18 script: RTMP's message types
    timestamp: int  #: ms, 32 bit
    body: bytes


class TagReader:
    """An FLV byte stream of our own muxer in, whole tags out, cut wherever it may."""

    def __init__(self) -> None:
        self._buffer = b""
        self._begun = False

    def receive(self, data: bytes | memoryview) -> list[Tag]:
        """The tags that became whole."""
        buffer = self._buffer + data if self._buffer else bytes(data)
        at = 0
        if not self._begun:
            if len(buffer) < FILE_HEADER:
                self._buffer = buffer
                return []
            self._begun = True
            at = FILE_HEADER
        tags = []
        while len(buffer) - at >= _TAG_HEAD:
            end = at + _TAG_HEAD + int.from_bytes(buffer[at + 1 : at + 4], "big")
            if len(buffer) < end + _TAG_TAIL:
                break
            tags.append(_tag(buffer, at, end))
            at = end + _TAG_TAIL
        self._buffer = buffer[at:]
        return tags


def _tag(buffer: bytes, at: int, end: int) -> Tag:
    stamp = buffer[at + 7] << 24 | int.from_bytes(buffer[at + 4 : at + 7], "big")
    return Tag(buffer[at], stamp, buffer[at + _TAG_HEAD : end])


def message(tag: Tag, stream: int, chunk_size: int) -> bytes:
    """A tag as chunks."""
    return write_message(_CSIDS[tag.type], tag.type, stream, tag.timestamp, tag.body, chunk_size)


class RtmpMuxer:
    """``mux.base.Muxer`` for RTMP players. ``hevc`` is "enhanced" or "legacy"."""

    content_type = "application/x-rtmp"

    def __init__(self, hevc: str = "enhanced") -> None:
        self._flv = FlvMuxer(hevc)

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        return _messages(self._flv.configure(video, audio, now_ms), 0)

    def header(self) -> bytes:
        return _messages(self._flv.header(), FILE_HEADER)

    def write(self, frame: Frame) -> bytes:
        tag = self._flv.write(frame)
        if not tag:
            return b""
        size = len(tag) - _TAG_HEAD - _TAG_TAIL
        dts = frame.dts
        if size <= CHUNK_SIZE and 0 <= dts < EXTENDED:  # nearly every frame: one chunk
            return _HEAD(_FIRST[tag[0]] | dts, size << 8 | tag[0]) + _STREAM + tag[_TAG_HEAD:-_TAG_TAIL]
        return message(_tag(tag, 0, len(tag) - _TAG_TAIL), STREAM_ID, CHUNK_SIZE)


def _messages(tags: bytes, at: int) -> bytes:
    pieces = []
    while at < len(tags):
        end = at + _TAG_HEAD + int.from_bytes(tags[at + 1 : at + 4], "big")
        if end + _TAG_TAIL > len(tags):
            raise UsageError("an FLV tag that is not whole")
        pieces.append(message(_tag(tags, at, end), STREAM_ID, CHUNK_SIZE))
        at = end + _TAG_TAIL
    return b"".join(pieces)
