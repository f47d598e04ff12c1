"""Files of recordings: times from 0, an index in its room, what a crash leaves."""

from __future__ import annotations

import struct
from pathlib import Path

from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.core import video_files
from relay.mux import record
from relay.mux.cmaf import CmafWriter
from relay.mux.fmp4 import AUDIO_TRACK

H264_CONFIG = VideoConfig("h264", (b"\x67sps", b"\x68pps"), b"record", 352, 288, "avc1.42001E")
RATES = {AUDIO_TRACK: 8000}
SOUND = AudioConfig("flac", 8000, 1, b"\0" * 34)


def material(video: VideoConfig = H264_CONFIG) -> tuple[bytes, list[bytes]]:
    """An initialisation segment and ten parts of half a second from 100 s on, each second one a key frame."""
    writer = CmafWriter()
    writer.configure(video, SOUND)
    parts = []
    for number in range(10):
        begin = 100_000 + number * 500
        for picture in range(5):
            at = begin + picture * 100
            writer.picture(Frame(VIDEO, at, at, picture == 0 and number % 2 == 0, b"\0\0\0\x01\x65" + bytes(50), video))
            writer.sound(Frame(AUDIO, at, at, True, bytes(100), SOUND, 800))
        parts.append(writer.take(begin + 500))
    return writer.init, parts


def test_times_begin_at_0_in_every_track() -> None:
    _, parts = material()
    base = record.first_time_ms(parts[0], RATES)
    assert base == 100_000
    first, last = record.rebase(parts[0], base, RATES), record.rebase(parts[-1], base, RATES)
    assert [time for _, _, time in record._trafs(first)] == [0, 0]
    assert [time for _, _, time in record._trafs(last)] == [4500, 4500 * 8]
    assert len(first) == len(parts[0])
    assert first[-100:] == parts[0][-100:]


def test_the_index_fills_its_room_and_names_every_segment() -> None:
    references = [record.Reference(1000 + number, 2000, True) for number in range(5)]
    room = record.reserved(10)
    data = record.index(references, room)
    assert len(data) == room
    (length, kind, _, track, scale, begin, offset, _, count) = struct.unpack_from(">I4sIIIIIHH", data)
    assert (kind, track, scale, begin, count) == (b"sidx", 1, 1000, 0, 5)
    assert length + offset == room, "the first segment lies right behind the room"
    assert struct.unpack_from(">III", data, 32) == (1000, 2000, 0x90000000)
    assert data[length + 4 : length + 8] == b"free"


def test_more_segments_than_fit_are_put_together() -> None:
    references = [record.Reference(10, 100, number == 0) for number in range(9)]
    data = record.index(references, record.reserved(4))
    count = struct.unpack_from(">H", data, 30)[0]
    assert count <= 4
    sizes = [struct.unpack_from(">III", data, 32 + 12 * number) for number in range(count)]
    assert sum(size for size, _, _ in sizes) == 90
    assert sum(duration for _, duration, _ in sizes) == 900


def test_what_a_crash_leaves_is_cut_behind_the_last_whole_fragment(tmp_path: Path) -> None:
    init, parts = material()
    base = record.first_time_ms(parts[0], RATES)
    size = video_files.create(tmp_path, "1/1/a.mp4", init)
    pieces = [record.rebase(part, base, RATES) for part in parts]
    video_files.append(tmp_path, "1/1/a.mp4", [*pieces[:7], pieces[7][:-9]], True)
    repaired = video_files.repair(tmp_path, "1/1/a.mp4")
    assert repaired is not None
    assert repaired.duration == 3.5
    assert repaired.bytes == (tmp_path / "1/1/a.mp4").stat().st_size == size + sum(map(len, pieces[:7]))
    data = (tmp_path / "1/1/a.mp4").read_bytes()
    fragments = record.scan(record.boxes_of(data), len(data))
    assert [fragment.time_ms for fragment in fragments] == [number * 500 for number in range(7)]
    assert [fragment.key for fragment in fragments] == [True, False] * 3 + [True]
    assert b"sidx" in data[: size]
    assert video_files.repair(tmp_path, "1/1/a.mp4") == repaired, "mending it again changes nothing"


def test_a_file_without_a_picture_is_removed_and_a_missing_one_is_none(tmp_path: Path) -> None:
    init, _ = material()
    video_files.create(tmp_path, "1/1/a.mp4", init)
    assert video_files.repair(tmp_path, "1/1/a.mp4") is None
    assert not (tmp_path / "1/1/a.mp4").exists()
    assert video_files.repair(tmp_path, "1/1/b.mp4") is None


def test_removing_takes_empty_directories_along(tmp_path: Path) -> None:
    init, _ = material()
    for name in ("1/1/d/a.mp4", "1/2/d/b.mp4"):
        video_files.create(tmp_path, name, init)
    video_files.remove(tmp_path, ["1/1/d/a.mp4", "1/1/d/never.mp4"])
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["2"]
