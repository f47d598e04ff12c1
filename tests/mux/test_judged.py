"""FLV and fragmented MP4 judged by ffmpeg: what went in comes out, bit for bit, without a complaint."""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from relay.codec import h264, h265
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.codec.nalu import from_avcc, split_annexb, to_avcc
from relay.mux.base import Muxer
from relay.mux.flv import FlvMuxer
from relay.mux.fmp4 import Fmp4Muxer

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

STEP_MS = 40


def ffmpeg(*words: str | Path) -> bytes:
    done = subprocess.run(["ffmpeg", "-v", "warning", "-y", *map(str, words)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b"", done.stderr.decode()
    return done.stdout


def clip(tmp_path: Path, codec: str, frames: int = 75) -> tuple[VideoConfig, list[tuple[bool, list[bytes]]]]:
    """A test picture in this codec: its configuration and access units (key, NAL units without parameter sets)."""
    encoder = ["-c:v", "libx264"] if codec == "h264" else ["-c:v", "libx265", "-x265-params", "log-level=none:repeat-headers=1:bframes=0"]
    raw = tmp_path / f"clip.{codec}"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-frames:v", str(frames), *encoder, "-bf", "0", "-g", "25", "-pix_fmt", "yuv420p", "-f",
           "h264" if codec == "h264" else "hevc", raw)  # fmt: skip
    sets: dict[int, bytes] = {}
    units: list[tuple[bool, list[bytes]]] = []
    kind_of = h264.nal_type if codec == "h264" else h265.nal_type
    parameter_sets = (7, 8) if codec == "h264" else (32, 33, 34)
    slices = (1, 5) if codec == "h264" else range(32)
    for nalu in split_annexb(raw.read_bytes()):
        kind = kind_of(nalu)
        if kind in parameter_sets:
            sets[kind] = nalu
        elif kind in slices:
            key = kind == 5 if codec == "h264" else h265.is_irap(kind)
            starts = h264.first_mb_in_slice(nalu) == 0 if codec == "h264" else h265.first_slice_in_picture(nalu)
            if starts:
                units.append((key, [nalu]))
            else:
                units[-1][1].append(nalu)
    config = h264.video_config([sets[7]], [sets[8]]) if codec == "h264" else h265.video_config([sets[32]], [sets[33]], [sets[34]])
    assert len(units) == frames
    return config, units


def mux(
    muxer: Muxer, video: VideoConfig | None, units: list[tuple[bool, list[bytes]]], audio: AudioConfig | None = None, blocks: list[bytes] | None = None
) -> bytes:
    muxer.configure(video, audio, 0)
    out = [muxer.header()]
    for at, (key, nalus) in enumerate(units):
        assert video is not None
        out.append(muxer.write(Frame(VIDEO, at * STEP_MS, at * STEP_MS, key, to_avcc(nalus), video)))
        if audio is not None and blocks:
            out.append(muxer.write(Frame(AUDIO, at * STEP_MS, at * STEP_MS, True, blocks[at], audio, 320)))
    return b"".join(out)


def slices_of(stream: bytes, codec: str) -> list[bytes]:
    wanted = (1, 5) if codec == "h264" else tuple(range(32))
    kind_of = h264.nal_type if codec == "h264" else h265.nal_type
    return [nalu for nalu in split_annexb_all(stream) if kind_of(nalu) in wanted]


def split_annexb_all(stream: bytes) -> list[bytes]:
    return [piece.rstrip(b"\x00") for piece in stream.split(b"\x00\x00\x01")[1:]]


@pytest.mark.parametrize(("container", "codec"), [("flv", "h264"), ("mp4", "h264"), ("mp4", "h265")])
def test_every_slice_comes_out_bit_for_bit(tmp_path: Path, container: str, codec: str) -> None:
    config, units = clip(tmp_path, codec)
    path = tmp_path / f"out.{container}"
    path.write_bytes(mux(FlvMuxer() if container == "flv" else Fmp4Muxer(), config, units))
    raw = ffmpeg(
        "-i", path, "-c", "copy", "-bsf:v", "h264_mp4toannexb" if codec == "h264" else "hevc_mp4toannexb", "-f", "h264" if codec == "h264" else "hevc", "-"
    )
    assert slices_of(raw, codec) == [nalu for _, nalus in units for nalu in nalus]
    frames = ffmpeg("-i", path, "-f", "framemd5", "-").decode().splitlines()
    assert len([line for line in frames if not line.startswith("#")]) == len(units)


@pytest.mark.parametrize(("hevc", "lead"), [("enhanced", b"\x90hvc1"), ("legacy", b"\x1c\x00\x00\x00\x00")])
def test_h265_in_flv_both_ways(tmp_path: Path, hevc: str, lead: bytes) -> None:
    av = pytest.importorskip("av", reason="PyAV reads H.265 in FLV, which Debian's ffmpeg 5.1 does not")
    config, units = clip(tmp_path, "h265")
    data = mux(FlvMuxer(hevc=hevc), config, units)
    assert lead + config.record in data
    path = tmp_path / "out.flv"
    path.write_bytes(data)
    if hevc == "enhanced":
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == len(units)


@pytest.mark.parametrize("codec", ["g711a", "g711u"])
def test_g711_in_flv_byte_for_byte(tmp_path: Path, codec: str) -> None:
    config, units = clip(tmp_path, "h264")
    audio = AudioConfig(codec, 8000, 1)
    blocks = [bytes((at * 7 + i * 3) & 0xFF for i in range(320)) for at in range(len(units))]
    path = tmp_path / "out.flv"
    path.write_bytes(mux(FlvMuxer(), config, units, audio, blocks))
    assert ffmpeg("-i", path, "-map", "0:a", "-c", "copy", "-f", "alaw" if codec == "g711a" else "mulaw", "-") == b"".join(blocks)


def test_b_frames_carry_their_composition_time(tmp_path: Path) -> None:
    config, units = clip(tmp_path, "h264", 4)
    pts = [0, 120, 40, 80]
    dts = [-80, -40, 0, 40]
    for muxer, name in ((FlvMuxer(), "out.flv"), (Fmp4Muxer(), "out.mp4")):
        muxer.configure(config, None, 0)
        data = muxer.header() + b"".join(
            muxer.write(Frame(VIDEO, d + 80, p + 80, key, to_avcc(nalus), config)) for (key, nalus), p, d in zip(units, pts, dts, strict=True)
        )
        path = tmp_path / name
        path.write_bytes(data)
        shown = subprocess.run(
            ["ffprobe", "-v", "error", "-show_entries", "packet=pts_time,dts_time", "-of", "csv=p=0", str(path)], capture_output=True, check=True, text=True
        )
        found = [tuple(round(float(word) * 1000) for word in line.split(",")[:2]) for line in shown.stdout.split()]
        assert [(p - found[0][0], d - found[0][1]) for p, d in found] == [(p, d + 80) for p, d in zip(pts, dts, strict=True)]


def test_a_configuration_change_comes_inline_and_both_sizes_decode(tmp_path: Path) -> None:
    first, units = clip(tmp_path, "h264", 25)
    other = tmp_path / "other"
    other.mkdir()
    raw = other / "clip.h264"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=640x480:rate=25", "-frames:v", "25", "-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p", raw)
    nalus = split_annexb(raw.read_bytes())
    second = h264.video_config([n for n in nalus if h264.nal_type(n) == 7][:1], [n for n in nalus if h264.nal_type(n) == 8][:1])
    frames: list[tuple[bool, list[bytes]]] = []
    for nalu in nalus:
        if h264.nal_type(nalu) in (1, 5):
            if h264.first_mb_in_slice(nalu) == 0:
                frames.append((h264.nal_type(nalu) == 5, [nalu]))
            else:
                frames[-1][1].append(nalu)
    muxer = FlvMuxer()
    data = mux(muxer, first, units)
    change = muxer.configure(second, None, 1000)
    assert change.startswith(b"\x12")
    assert second.record in change
    assert muxer.configure(second, None, 1000) == b""
    data += change + b"".join(muxer.write(Frame(VIDEO, 1000 + i * STEP_MS, 1000 + i * STEP_MS, key, to_avcc(n), second)) for i, (key, n) in enumerate(frames))
    path = tmp_path / "out.flv"
    path.write_bytes(data)
    rows = [line for line in ffmpeg("-i", path, "-vf", "scale=16:16", "-f", "framemd5", "-").decode().splitlines() if not line.startswith("#")]
    assert len(rows) == 50
    init = Fmp4Muxer()
    init.configure(first, None, 0)
    assert init.configure(second, None, 1000)[4:8] == b"ftyp"


def test_mp4_sound_is_counted_without_gaps() -> None:
    """Blocks of 1,024 samples at 44.1 kHz do not fall on milliseconds; their decode times follow one another all the same."""
    audio = AudioConfig("aac", 44100, 2, b"\x12\x10")
    muxer = Fmp4Muxer()
    muxer.configure(None, audio, 0)
    times = []
    for at in range(200):
        ms = math.floor(at * 1024 * 1000 / 44100)
        fragment = muxer.write(Frame(AUDIO, ms, ms, True, b"x", audio, 1024))
        times.append(struct.unpack_from(">Q", fragment, fragment.index(b"tfdt") + 8)[0])
    assert times == [at * 1024 for at in range(200)]
    late = muxer.write(Frame(AUDIO, 60000, 60000, True, b"x", audio, 1024))
    assert struct.unpack_from(">Q", late, late.index(b"tfdt") + 8)[0] == 60000 * 44100 // 1000


def test_lengths_of_boxes_add_up(tmp_path: Path) -> None:
    config, units = clip(tmp_path, "h264", 3)
    data = mux(Fmp4Muxer(), config, units)
    kinds = []
    offset = 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        assert size >= 8
        kinds.append(kind)
        offset += size
    assert offset == len(data)
    assert kinds == [b"ftyp", b"moov", *[b"moof", b"mdat"] * 3]
    assert from_avcc(data[data.rindex(b"mdat") + 4 :]) == units[2][1]
