"""``jt1078relay inspect`` says of every capture what INDEX.json says, and writes the elementary streams."""

from __future__ import annotations

import hashlib
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from relay.cli.main import main
from relay.jt1078.packet import packetize
from tests.shared import captures, shared

#: about where a capture comes from, or judged by ffmpeg
NOT_INSPECTED = {"kind", "quirks", "origin", "expect", "frames_decoded_by_ffmpeg", "decode_errors"}


def differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for key, value in wanted.items()
            if key not in NOT_INSPECTED
            for line in (differences(value, found[key], f"{path}.{key}") if key in found else [f"{path}.{key} is absent"])
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [line for i, (one, other) in enumerate(zip(wanted, found, strict=True)) for line in differences(one, other, f"{path}[{i}]")]
    return [] if wanted == found else [f"{path}: {found!r}, not {wanted!r}"]


def inspect(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    status = main(["inspect", *words])
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    report: dict[str, Any] = json.loads(printed.out)
    return report


@pytest.mark.shared
@pytest.mark.parametrize("entry", captures(), ids=lambda c: c["file"])
def test_every_capture_is_what_the_index_says(entry: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    path = shared("captures/" + entry["file"])
    report = inspect(capsys, str(path), *(["--udp"] if path.suffix == ".udprec" else []))
    assert differences(entry, report) == []


@pytest.mark.shared
@pytest.mark.parametrize("entry", [c for c in captures() if c.get("video")], ids=lambda c: c["file"])
def test_the_picture_is_written_as_it_was_sent(entry: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared("captures/" + entry["file"])
    out = tmp_path / "out.264"
    inspect(capsys, str(path), "--video", str(out), *(["--udp"] if path.suffix == ".udprec" else []))
    assert hashlib.sha256(out.read_bytes()).hexdigest() == entry["video_es_sha256"]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("syn-h264-g711a", 48000),
        ("syn-h265-g711u", 48000),
        ("syn-h264-g726-32le-hisi", 48000),
        ("syn-h264-g726-24be", 48000),
        ("semi-g726-40-hisi", 160000),
        ("syn-h264-adpcm-hisi", 48000),
        ("syn-h264-bframes-aac-adts", 49152),
    ],
)
def test_the_sound_is_written_as_wav(name: str, samples: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared(f"captures/{name}.jt1078")
    out = tmp_path / "out.wav"
    if "aac" in name:
        pytest.importorskip("av")
    inspect(capsys, str(path), "--audio", str(out))
    data = out.read_bytes()
    assert data[:4] == b"RIFF"
    assert struct.unpack_from("<HHIIHHII", data, 20)[:3] == (1, 1, 8000)
    assert len(data) - 44 == 2 * samples
    # the synthetic ones hold a tone of 440 or 880 Hz alternating every second: count the zero crossings of the second one
    if name.startswith("syn"):
        pcm = struct.unpack(f"<{samples}h", data[44:])
        second = pcm[9000:15000]
        crossings = sum(1 for a, b in pairwise(second) if a < 0 <= b)
        assert abs(crossings / (6000 / 8000) - 880) < 30


def test_a_chosen_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = b"".join(
        packetize(bytes([channel]) * 160, sim="13800138000", channel=channel, pt=7, data_type=3, seq=2 * n + channel, timestamp=20 * n)[0]
        for n in range(20)
        for channel in (1, 2)
    )
    source = tmp_path / "two.jt1078"
    source.write_bytes(data)
    out = tmp_path / "out.wav"
    report = inspect(capsys, str(source), "--audio", str(out), "--channel", "2")
    assert sorted(report["per_channel"]) == ["1", "2"]
    assert report["per_channel"]["2"]["audio"] == {"pt": 7, "name": "G.711U", "frames": 20, "sample_rate": 8000, "channels": 1}
    assert len(out.read_bytes()) == 44 + 20 * 320


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no JT/T 1078 packet"),
        (b"\x7e" * 100, "holds no JT/T 1078 packet"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP request"),
    ],
)
def test_what_is_no_recording_is_said_in_one_line(content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "x"
    source.write_bytes(content)
    assert main(["inspect", str(source)]) == 1
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_faults_of_the_command_line_and_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "absent")]) == 1
    source = tmp_path / "x.udprec"
    source.write_bytes(b"\0\0\0\1\0\x50abc")
    assert main(["inspect", "--udp", str(source)]) == 1
    assert "inside a record" in capsys.readouterr().err
    sound = tmp_path / "sound.jt1078"
    sound.write_bytes(packetize(b"\xd5" * 160, sim="1", channel=1, pt=6, data_type=3)[0] * 3)
    assert main(["inspect", str(sound), "--video", str(tmp_path / "v")]) == 1
    assert "no picture" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["inspect"])
    assert caught.value.code == 2
