"""The command ``replay``, and ``decode --pcap`` on recordings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relay.cli.main import main
from relay.jt808.header import Header
from relay.jt808.messages.general import Authentication, Registration, RegistrationResponse
from relay.jt1078.packet import packetize
from relay.net.recording import Event, Kind, RecordingWriter
from tests.cli.test_simulate import Platform

COMMAND = [str(Path(sys.executable).parent / "jt1078relay"), "replay"]
PHONE = "013800138000"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(words)
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A terminal that registers, authenticates, sends a heartbeat, and media on its own."""
    registration = Registration(province_id=44, city_id=300, manufacturer_id="ACME", terminal_model="M", terminal_id="1", plate_color=2, plate_no="粤B12345")
    link = {"transport": "tcp", "local": "192.0.2.1:7808", "initiator": "peer"}
    at = 1_795_000_000_000_000
    events = [
        Event(Kind.OPEN, 1, at, info={"protocol": "jt808", "peer": "10.0.0.7:40112", **link}),
        Event(Kind.IN, 1, at + 1000, Header(0x0100, PHONE, 1).encode(registration.encode(2013))),
        Event(Kind.OUT, 1, at + 2000, Header(0x8100, PHONE, 0).encode(RegistrationResponse(reply_serial=1, result=0, auth_code="FIELD").encode(2013))),
        Event(Kind.IN, 1, at + 3000, Header(0x0102, PHONE, 2).encode(Authentication(auth_code="FIELD").encode(2013))),
        Event(Kind.IN, 1, at + 4000, Header(0x0002, PHONE, 3).encode()),
        Event(Kind.OPEN, 2, at + 5000, info={"protocol": "jt1078", "peer": "10.0.0.7:40113", "kind": "live", **link}),
        Event(Kind.IN, 2, at + 6000, b"".join(packetize(bytes(4000), sim=PHONE, channel=1, pt=98, data_type=0))),
        Event(Kind.CLOSE, 2, at + 7000, info={"reason": "closed"}),
    ]
    path = tmp_path / "field.jtrec"
    with path.open("wb") as file:
        writer = RecordingWriter(file)
        for event in events:
            writer.write(event)
    return path


def test_what_is_in_it(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "replay", str(recording), "--list")
    assert (status, err) == (0, "")
    assert out.splitlines()[0].startswith("link 1: jt808 over tcp from 10.0.0.7:40112, 2026-")
    assert out.splitlines()[1].endswith(" bytes in, 0 out, closed")
    one = json.loads(run(capsys, "replay", str(recording), "--list", "--json")[1])
    assert [link["bytes_in"] > 0 for link in one["links"]] == [True, True]
    assert one["cut"] is False


def test_scrubbed(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "clean.jtrec"
    assert run(capsys, "replay", str(recording), "--scrub", str(target)) == (0, "", "")
    content = target.read_bytes()
    for secret in (bytes.fromhex(PHONE), "粤B12345".encode("gb18030"), b"FIELD", b"10.0.0.7"):
        assert secret not in content
    status, _, err = run(capsys, "replay", str(recording), "--scrub", str(target))
    assert (status, len(err.splitlines())) == (1, 1)


def test_decode_reads_it_like_a_capture(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "decode", "--pcap", str(recording), "--json")
    assert (status, err) == (0, "")
    found: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [one["message"]["id"] for one in found if "message" in one] == ["0x0100", "0x8100", "0x0102", "0x0002"]
    assert found[0]["from"] == "10.0.0.7:40112"
    assert [one["stream"]["packets"] for one in found if "stream" in one] == [5]
    assert [one["summary"]["protocol"] for one in found if "summary" in one] == ["jt808", "jt1078"]
    recording.write_bytes(recording.read_bytes()[:-3])
    assert run(capsys, "decode", "--pcap", str(recording), "--brief")[0] == 0
    recording.write_bytes(recording.read_bytes()[:300] + b"\xff" * 40)
    status, out, err = run(capsys, "decode", "--pcap", str(recording), "--brief")
    assert (status, "0x0100" in out, "is damaged" in err) == (1, True, True)


def test_played_by_the_command(recording: Path) -> None:
    platform = Platform(media=True)
    platform.start()
    try:
        server = f"127.0.0.1:{platform.port}"
        result = subprocess.run([*COMMAND, str(recording), "--server", server, "--speed", "max", "--json"], capture_output=True, text=True, timeout=30)
        assert (result.returncode, result.stderr) == (0, "")
        summary = json.loads(result.stdout.splitlines()[-1])
        assert (summary["links"], summary["trouble"]) == (2, [])
        assert summary["sent"] == {"0x0002": 1, "0x0100": 1, "0x0102": 1}
        assert summary["received"]["0x8100"] == 1
        assert len(platform.media) == 4000 + 5 * 30
        assert platform.seen == [PHONE]
    finally:
        platform.finish()


def test_nobody_there(recording: Path) -> None:
    result = subprocess.run([*COMMAND, str(recording), "--server", "127.0.0.1:9", "--speed", "max", "--quiet"], capture_output=True, text=True, timeout=30)
    assert result.returncode == 1
    assert result.stderr.startswith("jt1078relay replay: no connection was made")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words", ["", "--server x", "--server h:1 --speed 0", "--server h:1 --speed fast", "--server h:1 --phone x", "--list --scrub x"]
)
def test_wrong_usage(recording: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert run(capsys, "replay", str(recording), *words.split())[0] == 2


def test_no_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a"
    file.write_text("hello")
    assert run(capsys, "replay", str(file), "--list") == (1, "", f"jt1078relay replay: {file} is no recording\n")
    assert run(capsys, "replay", str(tmp_path / "b"), "--list")[0] == 1
