"""FLV's tags as RTMP messages and back: the same media, whoever reads them."""

from __future__ import annotations

import pytest

from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.mux.flv import FlvMuxer
from relay.rtmp.chunks import CHUNK_MAX, ChunkReader
from relay.rtmp.mux import CHUNK_SIZE, RtmpMuxer, Tag, TagReader

AVC = VideoConfig("h264", (), b"<avcC>", 352, 288, "avc1.4D0014")
HEVC = VideoConfig("h265", (), b"<hvcC>", 352, 288, "hvc1.1.6.L93.90")


def frames(config: VideoConfig, start: int = 0) -> list[Frame]:
    big = bytes(range(256)) * 600  # more than one chunk
    return [
        Frame(VIDEO, start, start, True, big, config),
        Frame(VIDEO, start + 40, start + 80, False, b"picture", config),
        Frame(VIDEO, start + 80, start + 80, False, b"another", config),
    ]


@pytest.mark.parametrize("hevc", ["enhanced", "legacy"])
@pytest.mark.parametrize("config", [AVC, HEVC], ids=["h264", "h265"])
@pytest.mark.parametrize("start", [0, 0xFFFFF0, 0x1000000])
def test_messages_are_the_tags_of_flv(config: VideoConfig, hevc: str, start: int) -> None:
    audio = AudioConfig("aac", 8000, 1, b"\x15\x88")
    flv, rtmp = FlvMuxer(hevc), RtmpMuxer(hevc)
    reader, tags = ChunkReader(), TagReader()
    reader.chunk_size = CHUNK_SIZE
    written: list[Tag] = []
    for muxer in (flv, rtmp):
        assert muxer.configure(config, None, start) == b""
    pieces = [(flv.header(), rtmp.header())]
    pieces += [(flv.write(frame), rtmp.write(frame)) for frame in frames(config, start)]
    pieces.append((flv.configure(config, audio, start + 90), rtmp.configure(config, audio, start + 90)))
    for tag, message in pieces:
        want = tags.receive(tag)
        got = reader.receive(message)
        assert [(m.type, m.timestamp, m.body) for m in got] == [tuple(t) for t in want]
        assert {m.stream for m in got} == {1}
        written += want
    assert [tag.type for tag in written] == [18, 9, 9, 9, 9, 18, 8]


def test_every_message_can_be_read_without_what_went_before() -> None:
    muxer = RtmpMuxer()
    muxer.configure(AVC, None, 0)
    for frame in frames(AVC):
        reader = ChunkReader()
        reader.chunk_size = CHUNK_SIZE
        (message,) = reader.receive(muxer.write(frame))
        assert message.timestamp == frame.dts
    assert CHUNK_SIZE <= CHUNK_MAX


def test_tags_are_read_however_they_are_cut() -> None:
    muxer = FlvMuxer()
    muxer.configure(AVC, None, 0)
    data = muxer.header() + b"".join(muxer.write(frame) for frame in frames(AVC))
    whole = TagReader().receive(data)
    assert len(whole) == 5
    reader = TagReader()
    assert [tag for at in range(0, len(data), 7) for tag in reader.receive(memoryview(data)[at : at + 7])] == whole


def test_a_track_that_is_not_configured_gives_nothing() -> None:
    muxer = RtmpMuxer()
    muxer.configure(None, AudioConfig("g711a", 8000, 1), 0)
    assert muxer.write(frames(AVC)[0]) == b""
