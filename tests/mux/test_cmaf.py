"""Parts of fragmented MP4: every capture in parts through ffmpeg, and the text of playlists."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.mux.base import unsupported
from relay.mux.cmaf import CmafWriter
from relay.mux.playlist import Part, Segment, Terms, codecs, master_playlist, media_playlist, program_time
from tests.mux.test_captures import NAMES, decodes, material, nal_units, probe

H264 = VideoConfig("h264", (b"\x67sps", b"\x68pps"), b"record", 352, 288, "avc1.42001E")
AAC = AudioConfig("aac", 8000, 1, extra=b"\x15\x88")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is the judge")
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("semi-1080p")])
def test_a_capture_in_parts_is_the_same_frames(name: str, tmp_path: Path) -> None:
    stuff = material(name)
    audio = stuff.audio if stuff.audio is not None and not unsupported("mp4", stuff.audio) else None
    if stuff.video is None:
        pytest.skip("no picture in this capture")
    writer = CmafWriter()
    writer.configure(stuff.video, audio)
    data = writer.init
    begin = 0
    for frame in stuff.frames:
        if frame.kind == VIDEO:
            if frame.dts - begin >= 460:
                data += writer.take(frame.dts)
                begin = frame.dts
            writer.picture(frame)
        elif audio is not None:
            writer.sound(frame)
    path = tmp_path / "out.mp4"
    path.write_bytes(data + writer.take(stuff.frames[-1].dts + 40))
    assert nal_units(path, stuff.video.codec) == [unit for units in stuff.units for unit in units]
    found = probe(path, "v:0")
    assert [round(1000 * float(p["dts_time"])) for p in found] == [frame.dts for frame in stuff.pictures]
    assert [round(1000 * float(p["pts_time"])) for p in found] == [frame.pts for frame in stuff.pictures]
    assert [p["flags"].startswith("K") for p in found] == [frame.key for frame in stuff.pictures]
    if audio is not None:
        assert len(probe(path, "a:0")) == len(stuff.blocks)
        decodes(path, "a", len(stuff.blocks))


def test_nothing_gathered_is_no_part() -> None:
    writer = CmafWriter()
    writer.configure(H264, AAC)
    assert writer.take(40) == b""
    writer.sound(Frame(AUDIO, 0, 0, True, b"a" * 9, AAC, 1024))
    assert writer.take(40).endswith(b"a" * 9)


def test_a_gap_in_the_sound_is_put_into_the_block_before_it() -> None:
    writer = CmafWriter()
    writer.configure(None, AAC)
    for dts in (0, 128, 1000):
        writer.sound(Frame(AUDIO, dts, dts, True, b"a", AAC, 1024))
    data = writer.take(1128)
    at = data.index(b"trun") + 16
    durations = [int.from_bytes(data[at + 8 * number : at + 8 * number + 4], "big") for number in range(3)]
    assert durations == [1024, 1024 + 8000 - 2048, 1024]


def segment(number: int, **more: object) -> Segment:
    made = Segment(number, f"{number}.m4s?key=k", 1_700_000_000_000 + 2000 * number, "init-0.mp4?key=k", duration=2.0)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_low_latency_playlist() -> None:
    growing = segment(3, parts=[Part("3.0.m4s?key=k", 0.48, True)], duration=0.0)
    two = segment(2, parts=[Part("2.0.m4s?key=k", 0.5, True), Part("2.1.m4s?key=k", 0.5, False)], discontinuity=True)
    text = media_playlist(Terms(4, 0.5, True), [segment(1), two], growing, 1, False, "3.1.m4s?key=k")
    assert text == (
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n"
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500,CAN-SKIP-UNTIL=24.0\n#EXT-X-PART-INF:PART-TARGET=0.500\n"
        "#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-MAP:URI="init-0.mp4?key=k"\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z\n#EXTINF:2.000,\n1.m4s?key=k\n'
        "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:24.000Z\n"
        '#EXT-X-PART:DURATION=0.500,URI="2.0.m4s?key=k",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.500,URI="2.1.m4s?key=k"\n#EXTINF:2.000,\n2.m4s?key=k\n'
        '#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:26.000Z\n#EXT-X-PART:DURATION=0.480,URI="3.0.m4s?key=k",INDEPENDENT=YES\n'
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="3.1.m4s?key=k"\n'
    )
    ended = media_playlist(Terms(4, 0.5), [segment(1)], growing, 0, True, "3.1.m4s?key=k")
    assert ended.endswith("1.m4s?key=k\n#EXT-X-ENDLIST\n")


def test_a_plain_playlist() -> None:
    text = media_playlist(Terms(4), [segment(1, map_uri="", parts=[Part("1.0.ts", 2.0, True)])], None, 0, False)
    assert text.startswith("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-PROGRAM")
    assert not re.search("PART|SERVER|HINT|MAP", text)


def test_a_master_playlist() -> None:
    flac = AudioConfig("flac", 8000, 1)
    assert codecs(H264, flac) == "avc1.42001E,fLaC"
    assert codecs(H264, AudioConfig("opus", 48000, 1)) == "avc1.42001E,Opus"
    assert codecs(H264, AudioConfig("g711a", 8000, 1)) == ""
    assert master_playlist("live.m3u8", 0, None, AAC, 0.0, False) == '#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="mp4a.40.2"\nlive.m3u8\n'
    assert program_time(999) == "1970-01-01T00:00:00.999Z"
