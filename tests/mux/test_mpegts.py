"""Transport streams, packet by packet, and every capture through ffmpeg."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from relay.codec import h264, h265
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.codec.nalu import split_annexb
from relay.errors import UsageError
from relay.mux.mpegts import AUDIO_PID, PAT, VIDEO_PID, TsMuxer, crc32, pmt, stream_type
from tests.mux.test_captures import NAMES, decodes, ffmpeg, material, probe
from tests.shared import shared

H264 = VideoConfig("h264", (b"\x67sps", b"\x68pps"), b"record", 352, 288, "avc1.42001E")
H265 = VideoConfig("h265", (b"\x40\x01v", b"\x42\x01s", b"\x44\x01p"), b"record", 352, 288, "hvc1")
G711 = AudioConfig("g711a", 8000, 1)
AAC = AudioConfig("aac", 8000, 1, extra=b"\x15\x88")


class Packet(NamedTuple):
    """One packet taken apart."""

    pid: int
    start: bool
    count: int
    field: bytes | None  #: adaptation field without its length
    payload: bytes

    @property
    def pcr(self) -> int | None:
        """At 90 kHz."""
        if not self.field or not self.field[0] & 0x10:
            return None
        return int.from_bytes(self.field[1:7], "big") >> 15


def packets(data: bytes) -> Iterator[Packet]:
    assert len(data) % 188 == 0
    for at in range(0, len(data), 188):
        packet = data[at : at + 188]
        assert packet[0] == 0x47
        control = packet[3] >> 4
        field = packet[5 : 5 + packet[4]] if control & 2 else None
        payload = packet[4 if field is None else 5 + len(field) :] if control & 1 else b""
        assert control in (1, 2, 3)
        yield Packet((packet[1] & 0x1F) << 8 | packet[2], bool(packet[1] & 0x40), packet[3] & 15, field, payload)


def units(data: bytes, pid: int) -> list[bytes]:
    """The PES packets of one PID."""
    found: list[bytes] = []
    for packet in packets(data):
        if packet.pid == pid and packet.payload:
            if packet.start:
                found.append(b"")
            found[-1] += packet.payload
    return found


def stamp(data: bytes) -> int:
    return (data[0] >> 1 & 7) << 30 | data[1] << 22 | data[2] >> 1 << 15 | data[3] << 7 | data[4] >> 1


def picture(dts: int, size: int = 100, key: bool = False, pts: int | None = None, config: VideoConfig = H264) -> Frame:
    data = (b"\x65" if key else b"\x61") + b"x" * (size - 1)
    return Frame(VIDEO, dts, dts if pts is None else pts, key, len(data).to_bytes(4, "big") + data, config)


def sound(dts: int, data: bytes = b"a" * 50, config: AudioConfig = AAC) -> Frame:
    return Frame(AUDIO, dts, dts, True, data, config, 1024)


def vectors(kind: str) -> list[dict[str, Any]]:
    lines = shared("vectors/jt1078.jsonl").read_text(encoding="utf-8").splitlines()
    return [vector for vector in map(json.loads, lines) if vector["kind"] == kind]


def test_crc_of_the_catalogue() -> None:
    assert crc32(b"123456789") == 0x0376E6E7


def test_tables_are_those_of_the_vectors() -> None:
    muxer = TsMuxer()
    muxer.configure(H264, None, 0)
    data = muxer.write(picture(0, key=True))
    (vector,) = vectors("ts_pat")
    assert data[:188] == bytes.fromhex(vector["hex"]).ljust(188, b"\xff")
    for vector in vectors("ts_pmt"):
        audio = {15: AAC, 144: G711}.get(vector["fields"]["streams"][-1]["type"])
        video = {27: H264, 36: H265}.get(vector["fields"]["streams"][0]["type"])
        if "descriptor" in str(vector["fields"]["streams"]):
            continue
        assert b"\x47\x50\x00\x10" + pmt(video, audio) == bytes.fromhex(vector["hex"]), vector["id"]


@pytest.mark.parametrize("size", [1, 100, 130, *range(150, 166), 184, *range(334, 339), 5000])
@pytest.mark.parametrize("key", [True, False])
def test_pictures_of_any_size_fill_whole_packets(size: int, key: bool) -> None:
    muxer = TsMuxer()
    muxer.configure(H264, AAC, 0)
    data = muxer.write(picture(40, size, key)) + muxer.write(picture(80, size))
    one, _ = units(data, VIDEO_PID)
    assert one[:9] == b"\x00\x00\x01\xe0\x00\x00\x84\x80\x05"
    assert stamp(one[9:14]) == (40 + 1000) * 90
    expected = b"\x00\x00\x00\x01\x09\xf0" + (b"\x00\x00\x00\x01\x67sps\x00\x00\x00\x01\x68pps" if key else b"")
    assert one[14:] == expected + b"\x00\x00\x00\x01" + (b"\x65" if key else b"\x61") + b"x" * (size - 1)
    for packet in packets(data):
        if packet.field is not None and len(packet.field) > 7 and packet.field[0] & 0x10:
            assert set(packet.field[7:]) <= {0xFF}


@pytest.mark.parametrize("size", range(1, 200, 7))
def test_sound_of_any_size(size: int) -> None:
    muxer = TsMuxer()
    muxer.configure(None, AAC, 0)
    data = b"".join(muxer.write(sound(at, b"a" * size)) for at in (0, 128))
    one, two = units(data, AUDIO_PID)
    assert len(one) == int.from_bytes(one[4:6], "big") + 6 == 14 + 7 + size
    assert one[14:16] == b"\xff\xf1"
    assert (stamp(one[9:14]), stamp(two[9:14])) == (1000 * 90, 1128 * 90)


def test_b_pictures_have_two_stamps() -> None:
    muxer = TsMuxer()
    muxer.configure(H264, None, 0)
    (unit,) = units(muxer.write(picture(40, pts=120)), VIDEO_PID)
    assert unit[7:9] == b"\xc0\x0a"
    assert (unit[9] >> 4, unit[14] >> 4) == (3, 1)
    assert (stamp(unit[9:14]), stamp(unit[14:19])) == (1120 * 90, 1040 * 90)


def test_stamps_wrap_after_33_bits() -> None:
    muxer = TsMuxer()
    muxer.configure(H264, None, 0)
    at = (1 << 33) // 90
    (unit,) = units(muxer.write(picture(at)), VIDEO_PID)
    assert stamp(unit[9:14]) == (at + 1000) * 90 - (1 << 33)


def test_counters_tables_and_clock_run_on() -> None:
    muxer = TsMuxer()
    muxer.configure(H264, AAC, 0)
    data = b""
    for second in range(20):
        for step in range(7):  # seven pictures a second, as terminals' sub streams have
            at = second * 1000 + step * 143
            data += muxer.write(picture(at, 3000 if not step else 300, key=not step and second % 4 == 0))
            data += muxer.write(sound(at + 60))
    counts: dict[int, int] = {}
    clocks: list[int] = []
    tables: list[int] = []
    for packet in packets(data):
        if packet.pcr is not None:
            clocks.append(packet.pcr)
        if packet.pid == 0:
            tables.append(clocks[-1] if clocks else 0)
        if not packet.payload:
            assert packet.count == counts[packet.pid], "a packet without payload does not count"
            continue
        assert packet.count == (counts[packet.pid] + 1) % 16 if packet.pid in counts else packet.count == 0
        counts[packet.pid] = packet.count
    assert set(counts) == {0, 0x1000, VIDEO_PID, AUDIO_PID}
    assert max(later - earlier for earlier, later in pairwise(clocks)) <= 100 * 90
    assert min(later - earlier for earlier, later in pairwise(clocks)) > 0
    assert max(later - earlier for earlier, later in pairwise(tables[1:])) <= 700 * 90


def test_the_clock_is_behind_everything_that_follows() -> None:
    muxer = TsMuxer()
    muxer.configure(H264, AAC, 0)
    clock = 0
    late = b"".join([muxer.write(picture(400, key=True)), muxer.write(sound(150)), muxer.write(picture(440)), muxer.write(sound(278))])
    for packet in packets(late):
        clock = packet.pcr or clock
        if packet.start and packet.pid in (VIDEO_PID, AUDIO_PID):
            assert stamp(packet.payload[9:14]) >= clock


def test_other_tracks_raise_the_version() -> None:
    muxer = TsMuxer()
    muxer.configure(H264, None, 0)
    before = muxer.write(picture(0, key=True))
    assert muxer.write(sound(10)) == b""
    assert muxer.configure(H264, AAC, 40) == b""
    after = muxer.write(sound(40))
    versions = [packet.payload[6] >> 1 & 31 for packet in packets(before + after) if packet.pid == 0x1000]
    assert versions == [0, 1]
    muxer.configure(H264, AAC, 80)
    assert not [packet for packet in packets(muxer.write(picture(80))) if packet.pid == 0x1000]


def test_a_segment_begins_with_tables() -> None:
    muxer = TsMuxer()
    muxer.configure(H264, AAC, 0)
    muxer.write(picture(0, key=True))
    assert not muxer.write(picture(40)).startswith(b"\x47\x40\x00")
    muxer.begin_segment()
    assert muxer.write(picture(80)).startswith(b"\x47\x40\x00")
    muxer.begin_segment()
    assert muxer.write(sound(90)).startswith(b"\x47\x40\x00")


def test_what_it_cannot_carry_is_named() -> None:
    with pytest.raises(UsageError, match="MPEG-TS has no form for FLAC"):
        TsMuxer().configure(None, AudioConfig("flac", 8000, 1), 0)
    assert [stream_type(AudioConfig("mp3", rate, 1)) for rate in (44100, 8000)] == [3, 4]
    assert len(PAT) == 17


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is the judge")
@pytest.mark.parametrize("name", NAMES)
def test_a_capture_through_ffmpeg(name: str, tmp_path: Path) -> None:
    stuff = material(name)
    audio = stuff.audio if stuff.audio is not None and stuff.audio.codec == "aac" else None
    if stuff.video is None and audio is None:
        pytest.skip("nothing that ffmpeg knows in transport streams")
    muxer = TsMuxer()
    muxer.configure(stuff.video, audio, 0)
    path = tmp_path / "out.ts"
    path.write_bytes(b"".join(muxer.write(frame) for frame in stuff.frames if frame.kind == VIDEO or audio is not None))
    if stuff.video is not None:
        found = probe(path, "v:0")
        assert [round(1000 * float(p["dts_time"])) - 1000 for p in found] == [frame.dts for frame in stuff.pictures]
        assert [round(1000 * float(p["pts_time"])) - 1000 for p in found] == [frame.pts for frame in stuff.pictures]
        names = (h264, (7, 8, 9)) if stuff.video.codec == "h264" else (h265, (32, 33, 34, 35))
        fmt = "h264" if stuff.video.codec == "h264" else "hevc"
        copied = split_annexb(ffmpeg("-i", path, "-map", "0:v", "-c", "copy", "-f", fmt, "-")[: 1 << 40]) if len(stuff.pictures) < 1000 else []
        if copied:
            assert [unit for unit in copied if names[0].nal_type(unit) not in names[1]] == [unit for group in stuff.units for unit in group]
            decodes(path, "v", len(stuff.pictures))
    if audio is not None:
        assert len(probe(path, "a:0")) == len(stuff.blocks)
        decodes(path, "a", len(stuff.blocks))
