"""FLV byte for byte: file header, script tag, sequence headers, tags of every codec."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from relay.codec import aac, flac, g711, h264, h265
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.errors import UsageError
from relay.hub.pipeline import target_config
from relay.mux import amf0
from relay.mux.base import unsupported
from relay.mux.flv import FlvMuxer
from tests.shared import load_vectors

VECTORS = load_vectors("jt1078")
AVC = h264.video_config([bytes.fromhex("674d001495b8582590")], [bytes.fromhex("68ee3c80")])
OTHER = h264.video_config([bytes.fromhex("6742c00ada109b0110000003001000000300a0f1226a")], [bytes.fromhex("68ce0fc8")])
A_LAW = AudioConfig("g711a", 8000, 1)
U_LAW = AudioConfig("g711u", 8000, 1)
AAC = AudioConfig("aac", 8000, 1, extra=b"\x15\x88")


class Tag(NamedTuple):
    kind: int
    time: int
    body: bytes


def tags(data: bytes) -> list[Tag]:
    """The tags of a byte string that holds nothing but whole tags."""
    found = []
    offset = 0
    while offset < len(data):
        kind, size = data[offset], int.from_bytes(data[offset + 1 : offset + 4], "big")
        stamp = data[offset + 7] << 24 | int.from_bytes(data[offset + 4 : offset + 7], "big")
        assert data[offset + 8 : offset + 11] == b"\x00\x00\x00"
        body = data[offset + 11 : offset + 11 + size]
        assert len(body) == size
        assert int.from_bytes(data[offset + 11 + size : offset + 15 + size], "big") == 11 + size
        found.append(Tag(kind, stamp, body))
        offset += 15 + size
    return found


def opened(video: VideoConfig | None, audio: AudioConfig | None, now: int = 0, hevc: str = "enhanced") -> tuple[FlvMuxer, list[Tag]]:
    muxer = FlvMuxer(hevc)
    assert muxer.configure(video, audio, now) == b""
    header = muxer.header()
    assert header[:4] == b"FLV\x01"
    assert header[4] == (video is not None) + 4 * (audio is not None)
    assert header[5:13] == b"\x00\x00\x00\x09\x00\x00\x00\x00"
    return muxer, tags(header[13:])


def metadata(tag: Tag) -> amf0.EcmaArray:
    assert tag.kind == 18
    assert tag.body.endswith(b"\x00\x00\x09")
    reader = amf0.Reader(tag.body)
    assert reader.value() == "onMetaData"
    values = reader.value()
    assert isinstance(values, amf0.EcmaArray)
    assert reader.left == 0
    return values


def test_header_of_h264_with_aac() -> None:
    _, (script, picture, sound) = opened(AVC, AAC, 1234)
    values = metadata(script)
    assert {k: values[k] for k in ("width", "height", "videocodecid", "audiocodecid", "audiosamplerate", "stereo")} == {
        "width": 352, "height": 288, "videocodecid": 7, "audiocodecid": 10, "audiosamplerate": 8000, "stereo": False,
    }  # fmt: skip
    assert "duration" not in values
    assert picture == Tag(9, 1234, b"\x17\x00\x00\x00\x00" + AVC.record)
    assert sound == Tag(8, 1234, b"\xaf\x00\x15\x88")


def test_header_without_sound_has_no_audio_flag_and_no_audio_keys() -> None:
    _, (script, picture) = opened(AVC, None)
    assert not [key for key in metadata(script) if key.startswith(("audio", "stereo"))]
    assert picture.kind == 9


def test_header_of_sound_alone() -> None:
    _, (script,) = opened(None, A_LAW)
    assert metadata(script)["audiocodecid"] == 7
    assert "width" not in metadata(script)


def test_headers_for_late_viewers_carry_the_time_of_the_key_frame_they_begin_with() -> None:
    muxer, _ = opened(AVC, None)
    muxer.write(Frame(VIDEO, 90000, 90000, True, b"\x00\x00\x00\x01\x65", AVC))
    muxer.write(Frame(VIDEO, 90040, 90040, False, b"\x00\x00\x00\x01\x41", AVC))
    # but for the metadata: ffmpeg 5 takes an onMetaData with a later stamp for a track of subtitles
    assert [(tag.kind, tag.time) for tag in tags(muxer.header()[13:])] == [(18, 0), (9, 90000)]


def test_h264_tags() -> None:
    muxer, _ = opened(AVC, None)
    unit = b"\x00\x00\x00\x02\x65\x88"
    key = tags(muxer.write(Frame(VIDEO, 40, 120, True, unit, AVC)))
    assert key == [Tag(9, 40, b"\x17\x01\x00\x00\x50" + unit)]
    inter = tags(muxer.write(Frame(VIDEO, 0x123456789, 0x123456789 - 2, False, unit, AVC)))
    assert inter == [Tag(9, 0x23456789, b"\x27\x01\xff\xff\xfe" + unit)]  # stamps have 32 bits; composition times a sign


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == "flv_hevc_seqhdr"])
def test_h265_sequence_headers(vector: dict[str, Any]) -> None:
    fields = vector["fields"]
    config = h265.video_config(*[[bytes.fromhex(fields[name])] for name in ("vps", "sps", "pps")])
    for hevc, name in (("enhanced", "enhanced_tag"), ("legacy", "legacy_id12_tag")):
        muxer = FlvMuxer(hevc)
        muxer.configure(config, None, 0)
        assert muxer.header().endswith(bytes.fromhex(fields[name]))


def test_h265_tags_both_ways() -> None:
    config = VideoConfig("h265", (), b"hvcC", 320, 240, "hvc1.1.6.L60.90")
    unit = b"\x00\x00\x00\x02\x26\x01"
    frames = [Frame(VIDEO, 40, 40, True, unit, config), Frame(VIDEO, 80, 100, True, unit, config)]
    frames += [Frame(VIDEO, 120, 120, False, unit, config), Frame(VIDEO, 160, 150, False, unit, config)]
    enhanced, (script, _) = opened(config, None)
    assert metadata(script)["videocodecid"] == 0x68766331
    assert [tags(enhanced.write(frame))[0].body for frame in frames] == [
        b"\x93hvc1" + unit, b"\x91hvc1\x00\x00\x14" + unit, b"\xa3hvc1" + unit, b"\xa1hvc1\xff\xff\xf6" + unit,
    ]  # fmt: skip
    legacy, (script, _) = opened(config, None, hevc="legacy")
    assert metadata(script)["videocodecid"] == 12
    assert [tags(legacy.write(frame))[0].body[:5] for frame in frames] == [
        b"\x1c\x01\x00\x00\x00", b"\x1c\x01\x00\x00\x14", b"\x2c\x01\x00\x00\x00", b"\x2c\x01\xff\xff\xf6",
    ]  # fmt: skip
    with pytest.raises(UsageError):
        FlvMuxer("other")


@pytest.mark.parametrize(
    ("config", "lead", "header"),
    [
        (A_LAW, b"\x72", None),
        (U_LAW, b"\x82", None),
        (AAC, b"\xaf\x01", b"\xaf\x00\x15\x88"),
        (AudioConfig("mp3", 8000, 1), b"\xe2", None),
        (AudioConfig("mp3", 44100, 2), b"\x2f", None),
        (AudioConfig("mp3", 22050, 1), b"\x2a", None),
        (AudioConfig("pcm", 11025, 1), b"\x36", None),
        (target_config(A_LAW, "opus")[0], b"\x91Opus", b"\x90OpusOpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00"),
        (target_config(A_LAW, "flac")[0], b"\x91fLaC", b"\x90fLaCfLaC\x80\x00\x00\x22" + flac.stream_info(8000, 1)),
    ],
    ids=lambda value: value.codec + str(value.sample_rate) if isinstance(value, AudioConfig) else "",
)
def test_audio_tags(config: AudioConfig, lead: bytes, header: bytes | None) -> None:
    muxer, found = opened(None, config)
    assert [tag.body for tag in found[1:]] == ([header] if header else [])
    assert tags(muxer.write(Frame(AUDIO, 0x1000040, 0x1000040, True, b"block", config, 320))) == [Tag(8, 0x1000040, lead + b"block")]


def test_nothing_is_written_for_a_track_that_is_not_there() -> None:
    muxer, _ = opened(AVC, None)
    assert muxer.write(Frame(AUDIO, 0, 0, True, b"x", A_LAW)) == b""
    muxer, _ = opened(None, A_LAW)
    assert muxer.write(Frame(VIDEO, 0, 0, True, b"x", AVC)) == b""


def test_a_change_repeats_only_what_changed_at_its_time() -> None:
    muxer, _ = opened(AVC, AAC)
    assert muxer.configure(AVC, AAC, 500) == b""
    script, picture = tags(muxer.configure(OTHER, AAC, 1000))
    assert metadata(script)["width"] == 64
    assert picture == Tag(9, 1000, b"\x17\x00\x00\x00\x00" + OTHER.record)
    louder = AudioConfig("aac", 16000, 1, extra=b"\x14\x08")
    script, sound = tags(muxer.configure(OTHER, louder, 2000))
    assert metadata(script)["audiosamplerate"] == 16000
    assert sound == Tag(8, 2000, b"\xaf\x00\x14\x08")
    (script,) = tags(muxer.configure(OTHER, None, 3000))
    assert "audiocodecid" not in metadata(script)
    assert muxer.header()[4] == 1


def test_what_flv_cannot_carry_is_said_in_words() -> None:
    assert unsupported("flv", AudioConfig("g726", 8000, 1, bits=4)) == "FLV has no form for G.726"
    assert unsupported("flv", AudioConfig("pcm", 8000, 1)) == "FLV has no form for linear PCM at 8000 Hz"
    assert unsupported("flv", AudioConfig("pt5", 8000, 1)) == "FLV has no form for payload type 5"
    assert unsupported("mp4", A_LAW) == "MP4 has no form for G.711A"
    for good in (AVC, A_LAW, AAC):
        assert unsupported("flv", good) == ""
    with pytest.raises(UsageError, match=r"G\.726"):
        FlvMuxer().configure(None, AudioConfig("g726", 8000, 1, bits=4), 0)


def test_a_frame_beyond_the_size_field_is_refused_not_cut() -> None:
    muxer, _ = opened(AVC, A_LAW)
    for kind in (VIDEO, AUDIO):
        with pytest.raises(UsageError, match="in FLV"):
            muxer.write(Frame(kind, 0, 0, True, bytes(1 << 24), AVC if kind == VIDEO else A_LAW))


def test_enhanced_audio_and_aac_are_read_by_others(tmp_path: Any) -> None:
    av = pytest.importorskip("av")
    encoder = flac.Encoder(8000, 1)
    config = AudioConfig("flac", 8000, 1, extra=encoder.stream_info)
    muxer, _ = opened(None, config)
    codes = bytes((i * 5) & 0xFF for i in range(320 * 50))
    data = muxer.header()
    for k in range(50):
        for block, samples in encoder.encode(g711.decode_a(codes[320 * k : 320 * k + 320])):
            data += muxer.write(Frame(AUDIO, 40 * k, 40 * k, True, block, config, samples))
    path = tmp_path / "sound.flv"
    path.write_bytes(data)
    with av.open(str(path)) as file:
        assert file.streams.audio[0].codec_context.name == "flac"
        assert sum(frame.samples for frame in file.decode(audio=0)) == 16000
    assert aac.parse_asc(b"\x15\x88").sample_rate == 8000
