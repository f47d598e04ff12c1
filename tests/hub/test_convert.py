"""Files of terminals as MP4: told by their content, nothing lost, judged by ffprobe where it is there."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from relay.hub.convert import UnsupportedFileError, kind_of, to_mp4
from relay.sim.sources import PatternSource
from tests.hub.test_ingest import AUD, IDR, IDR_2, KEY, PPS, SLICE, SLICE_2, SPS, annexb
from tests.shared import captures, shared


def probe(path: Path) -> dict[str, dict[str, Any]]:
    program = shutil.which("ffprobe")
    if program is None:
        pytest.skip("ffprobe is not installed (Debian's package ffmpeg)")
    words = [program, "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert not done.stderr, done.stderr
    return {stream["codec_type"]: stream for stream in json.loads(done.stdout)["streams"]}


def made(tmp_path: Path, data: bytes, name: str = "from.bin", index: bool = True) -> Path:
    (tmp_path / name).write_bytes(data)
    to_mp4(tmp_path / name, tmp_path / "to.mp4", index)
    return tmp_path / "to.mp4"


def test_files_are_told_by_their_content() -> None:
    for head, kind in (
        (b"01cd\x81\xe2", "jt1078"), (b"junk01cd", "jt1078"), (KEY, "h264"), (annexb(AUD, SPS), "h264"), (b"\0\0\1\x40\x01\x0c", "h265"),
        (b"\0\0\0\x20ftypisom", "mp4"), (b"RIFF\x10\0\0\0AVI ", "avi"), (b"\x47" + bytes(187) + b"\x47", "ts"), (b"\0\0\1\xba\x44", "other"),
        (b"DHAV", "other"), (b"", "other"), (b"\0\0\0\1", "other"),
    ):  # fmt: skip
        assert kind_of(head) == kind, head


def test_a_byte_stream_of_the_test_card_keeps_every_picture(tmp_path: Path) -> None:
    source = PatternSource("13800138000")
    pictures = [unit.body for unit, _ in zip((u for u in source.open(1, True, 1_700_000_000.0) if u.is_video), range(60), strict=False)]
    for index in (False, True):
        streams = probe(made(tmp_path, b"".join(pictures), "called.mp4", index))
        assert set(streams) == {"video"}
        assert (streams["video"]["nb_read_frames"], streams["video"]["width"], streams["video"]["avg_frame_rate"]) == ("60", 352, "25/1")
    if importlib.util.find_spec("av") is not None:
        assert 2.3 < float(streams["video"]["duration"]) < 2.5
        assert (tmp_path / "to.mp4").read_bytes().index(b"moov") < 100  # in front: a player can begin before it has everything


def test_several_slices_are_one_picture_and_delimiters_belong_to_the_next(tmp_path: Path) -> None:
    unit = annexb(AUD, SPS, PPS, IDR, IDR_2, code=b"\0\0\1")
    data = unit + annexb(AUD, SLICE, SLICE_2) + annexb(SLICE, SLICE_2)
    moof = made(tmp_path, data, index=False).read_bytes().count(b"moof")
    assert moof == 3


@pytest.mark.parametrize("entry", [each for each in captures() if not each["file"].endswith(".udprec")], ids=lambda each: each["file"])
def test_every_recording_becomes_an_mp4(entry: dict[str, Any], tmp_path: Path) -> None:
    assert probe(made(tmp_path, shared("captures/" + entry["file"]).read_bytes()))


def test_what_it_is_not_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFileError):
        made(tmp_path, b"this is no film at all" * 100, "text.mp4")
    with pytest.raises(UnsupportedFileError, match="neither a picture"):
        made(tmp_path, annexb(SLICE, SLICE))
    with pytest.raises(UnsupportedFileError):
        made(tmp_path, b"")


def test_a_byte_stream_whose_pictures_never_end_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFileError, match="no end"):
        made(tmp_path, b"\0\0\1\x67" + b"\x55" * (17 << 20))
