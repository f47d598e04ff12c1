"""Sources: the card, recordings of every kind, MP4."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from itertools import islice, pairwise, takewhile
from pathlib import Path

import pytest

from relay.jt1078.packet import DataType, build_packet, packetize
from relay.sim import tone
from relay.sim.sources import CaptureSource, Mp4Source, PatternSource, Source, SourceError, Unit, parse_size
from tests.shared import captures, shared
from tests.sim.pictures import decode, ffmpeg


def until(source: Source, seconds: float, channel: int = 1, sub: bool = True, wall: float = 1_700_000_000.0) -> list[Unit]:
    """The units of the first seconds."""
    return list(takewhile(lambda unit: unit.at_ms < seconds * 1000, source.open(channel, sub, wall)))


def joined(units: list[Unit]) -> Iterator[bytes]:
    """Frames of a source, whole."""
    frame = b""
    for unit in units:
        if unit.is_video:
            frame = unit.body if unit.mark in (None, 0, 1) else frame + unit.body
            if unit.mark in (None, 0, 2):
                yield frame


# the card ---------------------------------------------------------------------------------------------------------------------------


def test_the_card_in_time_and_order() -> None:
    units = until(PatternSource("013800138001"), 3)
    assert [u.at_ms for u in units] == sorted(u.at_ms for u in units)
    pictures = [u for u in units if u.is_video]
    assert [u.stamp_ms for u in pictures] == [40 * n for n in range(75)]
    assert [n for n, u in enumerate(pictures) if u.data_type == DataType.VIDEO_I] == [0, 50]
    blocks = [u for u in units if u.is_audio]
    assert [(u.at_ms, u.stamp_ms) for u in blocks] == [(40 * n + 40, 40 * n) for n in range(74)]


def test_main_and_sub_have_their_sizes(tmp_path: Path) -> None:
    source = PatternSource("013800138001")
    for sub, size in ((True, (352, 288)), (False, (640, 352))):
        frame = next(source.open(1, sub, 0.0)).body
        assert decode(frame, *size, tmp_path)[0].width == size[0]


@pytest.mark.parametrize("wall", [1_700_000_000.0, 1_700_000_001.0, 1_700_000_001.5])
def test_the_octave_goes_with_the_clocks_seconds(wall: float) -> None:
    blocks = [u.body for u in until(PatternSource(), 2.1, wall=wall) if u.is_audio]
    first = round(wall % 2 * 25)
    assert blocks[0] == tone.sound("g711a").blocks[first]


def test_a_card_without_sound() -> None:
    source = PatternSource(audio="none")
    assert (source.audio_pt, source.audio_bytes) == (0, 0)
    assert all(u.is_video for u in until(source, 0.5))


# recordings -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", captures(), ids=lambda entry: entry["file"])
def test_every_recording_can_be_sent_and_keeps_its_pace(entry: dict[str, object]) -> None:
    path = shared(f"captures/{entry['file']}")
    if path.suffix != ".jt1078":
        pytest.skip("recorded datagrams, not a byte stream")
    source = CaptureSource(path)
    units = list(islice(source.open(1, True, 0.0), 3000))
    assert len(units) == 3000
    steps = [b.at_ms - a.at_ms for a, b in pairwise(units)]
    assert min(steps) >= 0
    assert max(steps) <= 500
    assert units[-1].at_ms > 0
    assert all(abs(u.stamp_ms - u.at_ms) <= 2000 for u in units)


def recording(tmp_path: Path, stamps: list[int], between: bytes = b"") -> Path:
    """A recording of key frames with the given stamps, a block of sound after each."""
    data = b""
    for n, stamp in enumerate(stamps):
        data += b"".join(packetize(b"\x00\x00\x00\x01\x65" + bytes((n,)) * 2000, sim="13912345678", channel=4, pt=98, data_type=0, timestamp=stamp))
        data += between + build_packet(sim="13912345678", channel=4, pt=6, data_type=3, body=bytes((n,)) * 320, timestamp=stamp)
    path = tmp_path / "x.jt1078"
    path.write_bytes(data)
    return path


def test_a_recording_is_looped_and_its_time_goes_on(tmp_path: Path) -> None:
    source = CaptureSource(recording(tmp_path, [1000, 1040, 1080, 1120, 1160]))
    units = until(source, 0.5)
    stamps = [u.stamp_ms for u in units if u.is_video and u.mark == 1]
    assert stamps == [40 * n for n in range(13)]
    assert (source.video_pt, source.audio_pt, source.audio_bytes) == (98, 6, 320)


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([5, 5, 5, 5], [0, 40, 80, 120]),  # never changes
        ([5000, 5040, 900, 940], [0, 40, 80, 120]),  # jumps back
        ([0, 40, 10**9, 10**9 + 40], [0, 40, 80, 120]),  # jumps ahead
        ([0, 200, 300, 900], [0, 200, 300, 900]),  # slow, and irregular
    ],
)
def test_stamps_that_are_wrong_do_not_spoil_the_pace(tmp_path: Path, stamps: list[int], expected: list[int]) -> None:
    source = CaptureSource(recording(tmp_path, stamps))
    found = [u.stamp_ms for u in islice(source.open(4, True, 0.0), 16) if u.is_video and u.mark == 1]
    assert found == expected


def test_marks_and_damage_of_a_recording_are_kept_untouched(tmp_path: Path) -> None:
    path = recording(tmp_path, [0, 40], between=b"noise 01cd noise")
    clean = list(islice(CaptureSource(path).open(1, True, 0.0), 8))
    assert [u.mark for u in clean] == [1, 3, 2, 0, 1, 3, 2, 0]
    raw = [u.raw for u in islice(CaptureSource(path, untouched=True).open(1, True, 0.0), 8)]
    assert b"".join(part or b"" for part in raw) == path.read_bytes()


def test_the_channel_asked_for_is_chosen_when_it_is_there() -> None:
    source = CaptureSource(shared("captures/nasty-two-channels-a.jt1078"))
    bodies = {channel: b"".join(u.body for u in islice(source.open(channel, True, 0.0), 200)) for channel in (1, 2, 9)}
    assert bodies[1] != bodies[2]
    assert bodies[9] in bodies.values()


def test_files_that_hold_nothing() -> None:
    with pytest.raises(SourceError, match="No such file"):
        CaptureSource(Path("/nowhere/at/all"))
    with pytest.raises(SourceError, match="no JT/T 1078 packet"):
        CaptureSource(Path(__file__))


# MP4 --------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    path = tmp_path_factory.mktemp("movie") / "movie.mp4"
    made = subprocess.run(
        [ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-f", "lavfi", "-i", "sine=frequency=500:sample_rate=44100",
         "-t", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", path],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"ffmpeg cannot make the film: {made.stderr.decode()}")
    return path


def test_a_film_is_sent_as_it_is_with_its_sound_as_g711(movie: Path, tmp_path: Path) -> None:
    source = Mp4Source(movie)
    assert (source.video_pt, source.audio_pt, source.audio_bytes) == (98, 6, 320)
    units = until(source, 4.5)
    pictures = [u for u in units if u.is_video]
    assert len(pictures) > 105  # two turns and a bit
    assert [b.stamp_ms - a.stamp_ms for a, b in pairwise(pictures)].count(40) > 100
    assert pictures[0].data_type == DataType.VIDEO_I
    assert pictures[0].body.startswith(b"\x00\x00\x00\x01")
    assert len(decode(b"".join(joined(pictures[:50])), 320, 240, tmp_path)) == 50
    blocks = [u for u in units if u.is_audio]
    assert {len(u.body) for u in blocks} == {320}
    assert 95 < len(blocks) < 115
    assert [b.stamp_ms - a.stamp_ms for a, b in pairwise(blocks[:40])] == [40] * 39


def test_a_film_needs_pyav_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(tone.MediaMissingError, match=r"jt1078relay\[media\]"):
        Mp4Source(Path("film.mp4"))


def test_films_that_cannot_be_sent(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    text = tmp_path / "text.mp4"
    text.write_text("no film at all")
    with pytest.raises(SourceError):
        Mp4Source(text)
    with pytest.raises(SourceError):
        Mp4Source(tmp_path / "absent.mp4")


def test_sizes() -> None:
    assert parse_size("640x352") == (640, 352)
    with pytest.raises(Exception, match="WIDTHxHEIGHT"):
        parse_size("640")
