"""Every undamaged capture through FLV and fragmented MP4: ffmpeg and PyAV find every frame and every byte, without a word of complaint."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from relay.codec import h264, h265
from relay.codec.frame import AudioConfig, Frame, VideoConfig
from relay.codec.nalu import from_avcc, split_annexb
from relay.hub.transcode import PureTrack, Transcoders
from relay.mux.base import Muxer, unsupported
from relay.mux.flv import FlvMuxer
from relay.mux.fmp4 import Fmp4Muxer
from relay.settings import Audio
from tests.mux.material import Material, load
from tests.shared import captures, shared

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is the judge")

_SOUND = {
    "ADPCM IMA/DVI4": AudioConfig("adpcm", 8000, 1, layout="hisi"),
    "G.726 32k": AudioConfig("g726", 8000, 1, bits=4, layout="le"),
    "G.726 24k": AudioConfig("g726", 8000, 1, bits=3, layout="be"),
    "G.726 40k": AudioConfig("g726", 8000, 1, bits=5, layout="be"),
}
NAMES = [entry["file"] for entry in captures() if not entry["file"].startswith("nasty") and entry.get("kind") is not None]


@cache
def material(name: str) -> Material:
    entry = next(e for e in captures() if e["file"] == name)
    sound = entry["audio"]["name"] if entry["audio"] else ""
    return load(shared(f"captures/{name}"), _SOUND.get(sound))


def ffmpeg(*words: str | Path) -> bytes:
    done = subprocess.run(["ffmpeg", "-v", "warning", *map(str, words)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b"", done.stderr.decode()
    return done.stdout


def probe(path: Path, stream: str) -> list[dict[str, Any]]:
    command = ["ffprobe", "-v", "warning", "-select_streams", stream, "-show_packets", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b"", done.stderr.decode()
    found: list[dict[str, Any]] = json.loads(done.stdout)["packets"]
    return found


def written(muxer: Muxer, video: VideoConfig | None, audio: AudioConfig | None, frames: Sequence[Frame], path: Path) -> Path:
    muxer.configure(video, audio, frames[0].dts)
    path.write_bytes(b"".join([muxer.header(), *[muxer.write(frame) for frame in frames]]))
    return path


def nal_units(path: Path, codec: str) -> list[bytes]:
    """Of the elementary stream that ffmpeg copies out, without the parameter sets it puts in."""
    name, kinds = (h264, (7, 8)) if codec == "h264" else (h265, (32, 33, 34))
    fmt = "h264" if codec == "h264" else "hevc"
    stream = ffmpeg("-i", path, "-map", "0:v", "-c", "copy", "-f", fmt, "-")
    units = [unit.rstrip(b"\x00") for unit in stream.split(b"\x00\x00\x01")[1:]]
    return [unit for unit in units if name.nal_type(unit) not in kinds]


def decodes(path: Path, stream: str, count: int) -> None:
    rows = ffmpeg("-i", path, "-map", f"0:{stream}", "-fps_mode", "passthrough", "-f", "framemd5", "-").decode().splitlines()
    assert len([row for row in rows if not row.startswith("#")]) == count


@pytest.mark.parametrize("container", ["flv", "mp4"])
@pytest.mark.parametrize("name", NAMES)
def test_picture_of_a_capture(name: str, container: str, tmp_path: Path) -> None:
    stuff = material(name)
    video = stuff.video
    if video is None:
        pytest.skip("no picture in this capture")
    if container == "flv" and video.codec == "h265":
        pytest.skip("ffmpeg 5.1 reads no H.265 in FLV: PyAV judges it below")
    muxer = FlvMuxer() if container == "flv" else Fmp4Muxer()
    path = written(muxer, video, None, stuff.pictures, tmp_path / f"out.{container}")
    assert nal_units(path, video.codec) == [unit for units in stuff.units for unit in units]
    packets = probe(path, "v:0")
    assert [round(1000 * float(p["dts_time"])) for p in packets] == [frame.dts for frame in stuff.pictures]
    assert [round(1000 * float(p["pts_time"])) for p in packets] == [frame.pts for frame in stuff.pictures]
    assert [p["flags"].startswith("K") for p in packets] == [frame.key for frame in stuff.pictures]
    if len(stuff.pictures) < 1000:  # decoding thousands of pictures tells nothing more
        decodes(path, "v", len(stuff.pictures))


@pytest.mark.parametrize("container", ["flv", "mp4"])
@pytest.mark.parametrize("name", NAMES)
def test_sound_of_a_capture_beside_its_picture(name: str, container: str, tmp_path: Path) -> None:
    stuff = material(name)
    audio = stuff.audio
    if audio is None:
        pytest.skip("no sound in this capture")
    video = stuff.video if stuff.video is None or (container, stuff.video.codec) != ("flv", "h265") else None
    blocks = {id(frame): frame for frame in stuff.blocks}
    frames = [frame for frame in stuff.frames if id(frame) in blocks or video is not None]
    if unsupported(container, audio):
        if container == "flv":
            pytest.skip(f"FLV has no id for {audio.codec}")
        made: list[Frame] = []
        track = Transcoders(Audio(), _never, av=False).open(audio, "flac", made.append)
        assert isinstance(track, PureTrack)
        for frame in stuff.blocks:
            track.push(frame)
        audio = track.config
        frames = sorted([f for f in frames if id(f) not in blocks] + made, key=lambda frame: frame.dts)
    muxer = FlvMuxer() if container == "flv" else Fmp4Muxer()
    path = written(muxer, video, audio, frames, tmp_path / f"out.{container}")
    sounds = [frame for frame in frames if frame.config is audio or frame.config == audio]
    assert len(probe(path, "a:0")) == len(sounds)
    fmt = {"g711a": "alaw", "g711u": "mulaw"}.get(audio.codec)
    if fmt:
        assert ffmpeg("-i", path, "-map", "0:a", "-c", "copy", "-f", fmt, "-") == b"".join(frame.data for frame in sounds)
    if audio.codec == "flac":
        heard = ffmpeg("-i", path, "-map", "0:a", "-f", "s16le", "-")
        assert len(heard) == 2 * sum(frame.samples for frame in sounds)
        if stuff.audio is not None and stuff.audio.codec == "g711a":
            from relay.codec.g711 import decode_a

            assert heard == b"".join(decode_a(frame.data) for frame in stuff.blocks)
    decodes(path, "a", len(sounds))
    if video is not None and len(stuff.pictures) < 1000:
        decodes(path, "v", len(stuff.pictures))


def _never(*_: object) -> Any:
    raise AssertionError("no thread is needed here")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["flv", "flv-legacy", "mp4"])
def test_second_judge(name: str, kind: str, tmp_path: Path) -> None:
    """PyAV, with a much younger libav, finds the same pictures; it also reads both ways of H.265 in FLV."""
    av = pytest.importorskip("av")
    stuff = material(name)
    if stuff.video is None or (kind == "flv-legacy" and stuff.video.codec != "h265"):
        pytest.skip("nothing to judge")
    muxer: Muxer = Fmp4Muxer() if kind == "mp4" else FlvMuxer(hevc="legacy" if kind == "flv-legacy" else "enhanced")
    path = written(muxer, stuff.video, None, stuff.pictures, tmp_path / f"out.{kind[:3]}")
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == {"h264": "h264", "h265": "hevc"}[stuff.video.codec]
        assert (stream.codec_context.width, stream.codec_context.height) == (stuff.video.width, stuff.video.height)
        packets = [packet for packet in file.demux(stream) if packet.size]
    assert [from_avcc(bytes(packet)) for packet in packets] == stuff.units
    assert [round(1000 * packet.dts * packet.time_base) for packet in packets] == [frame.dts for frame in stuff.pictures]
    assert [packet.is_keyframe for packet in packets] == [frame.key for frame in stuff.pictures]
    if len(packets) < 200:
        with av.open(str(path)) as file:
            assert sum(1 for _ in file.decode(video=0)) == len(packets)


def test_the_material_is_whole() -> None:
    """The helper reads what the index says, so that the judges judge the muxers."""
    for entry in captures():
        if entry["file"] not in NAMES:
            continue
        stuff = material(entry["file"])
        assert len(stuff.pictures) == (entry["video"]["frames"] if entry["video"] else 0)
        assert len(stuff.blocks) == (entry["audio"]["frames"] if entry["audio"] else 0)
    assert split_annexb(b"") == []
