"""Fragmented MP4 box by box: initialisation segment, fragments, times, and sound of every codec it carries."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from relay.codec import flac, g711, h264
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.errors import UsageError
from relay.hub.pipeline import have_av, target_config
from relay.hub.transcode import Transcoders
from relay.mux.fmp4 import AUDIO_TRACK, VIDEO_TRACK, Fmp4Muxer
from relay.settings import Audio

AVC = h264.video_config([bytes.fromhex("674d001495b8582590")], [bytes.fromhex("68ee3c80")])
A_LAW = AudioConfig("g711a", 8000, 1)
FLAC = AudioConfig("flac", 8000, 1, extra=flac.stream_info(8000, 1))
UNIT = b"\x00\x00\x00\x02\x65\x88"
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"mvex", b"moof", b"traf")


def boxes(data: bytes, path: str = "") -> dict[str, list[bytes]]:
    """Contents by path; every size adds up."""
    found: dict[str, list[bytes]] = {}
    offset = 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        assert 8 <= size <= len(data) - offset
        content = data[offset + 8 : offset + size]
        name = f"{path}{kind.decode()}"
        found.setdefault(name, []).append(content)
        if kind in CONTAINERS:
            for inner, contents in boxes(content, name + "/").items():
                found.setdefault(inner, []).extend(contents)
        offset += size
    return found


class Fragment:
    """One moof with its mdat."""

    def __init__(self, data: bytes) -> None:
        found = boxes(data)
        assert list(found) == ["moof", "moof/mfhd", "moof/traf", "moof/traf/tfhd", "moof/traf/tfdt", "moof/traf/trun", "mdat"]
        self.sequence = struct.unpack(">II", found["moof/mfhd"][0])[1]
        flags, self.track = struct.unpack(">II", found["moof/traf/tfhd"][0])
        assert flags == 0x020000  # default-base-is-moof
        version, self.time = struct.unpack(">IQ", found["moof/traf/tfdt"][0])
        assert version == 1 << 24
        trun = found["moof/traf/trun"][0]
        flags, count, start = struct.unpack_from(">III", trun)
        assert flags >> 24 == 1
        assert count == 1
        self.data = data[start:]
        assert self.data == found["mdat"][0]
        self.flags, self.offset = 0, 0
        if self.track == VIDEO_TRACK:
            assert flags & 0xFFFFFF == 0xF01
            self.duration, size, self.flags, self.offset = struct.unpack_from(">IIIi", trun, 12)
        else:
            assert flags & 0xFFFFFF == 0x301
            self.duration, size = struct.unpack_from(">II", trun, 12)
        assert size == len(self.data)


def opened(video: VideoConfig | None, audio: AudioConfig | None) -> Fmp4Muxer:
    muxer = Fmp4Muxer()
    assert muxer.configure(video, audio, 0) == b""
    return muxer


def test_initialisation_segment() -> None:
    found = boxes(opened(AVC, FLAC).header())
    assert found["ftyp"][0].startswith(b"iso6\x00\x00\x02\x00")
    assert struct.unpack_from(">I", found["moov/mvhd"][0], 12)[0] == 1000
    assert len(found["moov/trak"]) == len(found["moov/mvex/trex"]) == 2
    assert [struct.unpack_from(">I", trex, 4)[0] for trex in found["moov/mvex/trex"]] == [VIDEO_TRACK, AUDIO_TRACK]
    picture, sound = found["moov/trak/tkhd"]
    assert struct.unpack_from(">II", picture, 76) == (352 << 16, 288 << 16)
    assert struct.unpack_from(">I", picture, 0)[0] == struct.unpack_from(">I", sound, 0)[0] == 7
    assert [struct.unpack_from(">I", mdhd, 12)[0] for mdhd in found["moov/trak/mdia/mdhd"]] == [1000, 8000]
    assert [hdlr[8:12] for hdlr in found["moov/trak/mdia/hdlr"]] == [b"vide", b"soun"]
    video_entry, audio_entry = (stsd[8:] for stsd in found["moov/trak/mdia/minf/stbl/stsd"])
    assert video_entry[4:8] == b"avc1"
    assert struct.unpack_from(">HH", video_entry, 32) == (352, 288)
    assert video_entry[86:] == struct.pack(">I", 8 + len(AVC.record)) + b"avcC" + AVC.record
    assert audio_entry[4:8] == b"fLaC"
    assert audio_entry[40:] == b"dfLa" + bytes(4) + b"\x80\x00\x00\x22" + FLAC.extra


def test_h265_is_hvc1_with_its_sets_in_the_box_only() -> None:
    config = VideoConfig("h265", (), b"hvcC-record", 320, 240, "hvc1.1.6.L60.90")
    stsd = boxes(opened(config, None).header())["moov/trak/mdia/minf/stbl/stsd"][0]
    assert stsd[12:16] == b"hvc1"
    assert stsd.endswith(b"hvcChvcC-record")


def test_opus_header_is_big_endian_in_the_box() -> None:
    config, _ = target_config(A_LAW, "opus")
    stsd = boxes(opened(None, config).header())["moov/trak/mdia/minf/stbl/stsd"][0]
    assert stsd[stsd.index(b"dOps") + 4 :].hex() == "00" "01" "0138" "0000bb80" "0000" "00"


def test_fragments() -> None:
    muxer = opened(AVC, FLAC)
    first = Fragment(muxer.write(Frame(VIDEO, 0, 80, True, UNIT, AVC)))
    assert (first.sequence, first.track, first.time, first.flags, first.offset, first.data) == (1, 1, 0, 0x02000000, 80, UNIT)
    second = Fragment(muxer.write(Frame(VIDEO, 66, 33, False, UNIT, AVC)))
    assert (second.sequence, second.time, second.duration, second.flags, second.offset) == (2, 66, 66, 0x01010000, -33)
    sound = Fragment(muxer.write(Frame(AUDIO, 40, 40, True, b"block", FLAC, 320)))
    assert (sound.sequence, sound.track, sound.time, sound.duration, sound.data) == (3, 2, 320, 320, b"block")
    late = Fragment(muxer.write(Frame(VIDEO, 5_000_000_000, 5_000_000_000, True, UNIT, AVC)))
    assert (late.time, late.duration) == (5_000_000_000, 66)  # a pause of the source is no picture's duration


def test_sound_without_a_sample_count_still_has_a_duration() -> None:
    muxer = opened(None, AudioConfig("aac", 8000, 1, extra=b"\x15\x88"))
    assert Fragment(muxer.write(Frame(AUDIO, 0, 0, True, b"x", A_LAW))).duration == 1024
    muxer = opened(None, FLAC)
    assert Fragment(muxer.write(Frame(AUDIO, 0, 0, True, b"x", FLAC))).duration == 320


def test_a_change_is_a_new_initialisation_segment_and_times_go_on() -> None:
    muxer = opened(AVC, None)
    muxer.write(Frame(VIDEO, 1000, 1000, True, UNIT, AVC))
    assert muxer.configure(AVC, None, 1040) == b""
    init = muxer.configure(AVC, FLAC, 1040)
    assert init == muxer.header()
    assert len(boxes(init)["moov/trak"]) == 2
    after = Fragment(muxer.write(Frame(VIDEO, 1040, 1040, False, UNIT, AVC)))
    assert (after.sequence, after.time) == (2, 1040)
    assert muxer.write(Frame(AUDIO, 1040, 1040, True, b"x", FLAC, 320)) != b""
    muxer.configure(AVC, None, 1100)
    assert muxer.write(Frame(AUDIO, 1100, 1100, True, b"x", FLAC, 320)) == b""


def test_refusals() -> None:
    with pytest.raises(UsageError, match=r"MP4 has no form for G\.711A"):
        Fmp4Muxer().configure(AVC, A_LAW, 0)
    with pytest.raises(UsageError, match="without a track"):
        Fmp4Muxer().configure(None, None, 0)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is the judge")
@pytest.mark.parametrize("target", ["flac", "aac", "opus"])
def test_sound_is_read_by_ffmpeg(target: str, tmp_path: Path) -> None:
    if target != "flac" and not have_av():
        pytest.skip("PyAV is not installed")
    from twisted.internet.defer import maybeDeferred

    made: list[Frame] = []
    track = Transcoders(Audio(), maybeDeferred).open(A_LAW, target, made.append)
    assert not isinstance(track, str)
    codes = g711.encode_a(bytes((i * i >> 6) & 0x1F for i in range(2 * 320 * 100)))
    for k in range(100):
        track.push(Frame(AUDIO, 40 * k, 40 * k, True, codes[320 * k : 320 * k + 320], A_LAW, 320))
    muxer = opened(None, track.config)
    path = tmp_path / "sound.mp4"
    path.write_bytes(muxer.header() + b"".join(muxer.write(frame) for frame in made))
    command = ["ffmpeg", "-v", "warning", "-i", str(path), "-f", "s16le", "-ac", "1", "-ar", "8000", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b"", done.stderr.decode()
    assert len(done.stdout) // 2 > 29000
    if target == "flac":
        assert done.stdout == g711.decode_a(codes)
    command = ["ffprobe", "-v", "warning", "-show_packets", "-of", "json", str(path)]
    packets = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["packets"]
    assert len(packets) == len(made)
    steps = [(b["pts"] - a["pts"], frame.samples) for a, b, frame in zip(packets, packets[1:], made, strict=False)]
    if target == "opus":  # its first packet carries the look-ahead, which its decoder throws away
        assert 600 <= steps.pop(0)[0] <= 960
    assert all(step == samples for step, samples in steps)
