"""Every output by the programs that users have: ffprobe and ffmpeg find picture and tone, ``inspect`` finds the packets."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Product, command, http_error, loudest, need, probe_streams, run, wait_for
from tests.shared import shared

pytestmark = pytest.mark.e2e

PHONE, HEVC = "13800138000", "13800138001"


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("outputs"), video={"h264_max": 1}) as relay:
        relay.terminal(PHONE)
        relay.terminal(HEVC, "--capture", str(shared("captures/syn-h265-g711u.jt1078")))
        yield relay


def recorded(url: str, seconds: float, path: Path) -> dict[str, dict[str, Any]]:
    """What ffmpeg copies in so many seconds, decoded without a complaint; its tracks by kind."""
    done = run(need("ffmpeg"), "-v", "warning", "-i", url, "-t", str(seconds), "-c", "copy", "-y", path, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if "duplicated MOOV" not in line and "repeated" not in line]
    assert complaints == []
    decoded = run(need("ffmpeg"), "-v", "warning", "-xerror", "-i", path, "-fps_mode", "passthrough", "-f", "null", "-", check=False)
    assert decoded.stderr == ""
    return {stream["codec_type"]: stream for stream in probe_streams(path)}


def all_at_once(work: list[tuple[str, Path]]) -> list[dict[str, dict[str, Any]]]:
    """Several recordings beside each other: each takes as long as it shows."""
    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(lambda one: recorded(one[0], 3, one[1]), work))


@pytest.mark.parametrize(("phone", "codec"), [(PHONE, "h264"), (HEVC, "hevc")])
def test_picture_and_tone(channels: Product, tmp_path: Path, phone: str, codec: str) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    asked = [(".ts", {}), ("/index.m3u8", {}), ("/index.m3u8", {"container": "ts"}), ("/index.m3u8", {"audio": "opus"}), (".mp4", {"audio": "opus"})]
    paths = [tmp_path / f"seen{number}.mkv" for number in range(len(asked))]
    found = all_at_once([(channels.url(f"/live/{phone}_1{ending}", **query), path) for (ending, query), path in zip(asked, paths, strict=True)])
    for tracks, path, (_, query) in zip(found, paths, asked, strict=True):
        assert tracks["video"]["codec_name"] == codec
        assert tracks["audio"]["codec_name"] == query.get("audio", "aac")
        if phone == PHONE:
            heard = loudest(path)
            assert heard.count(440) >= 5, heard
            assert heard.count(880) >= 5, heard


def test_the_sound_of_every_terminal(tmp_path: Path, channels: Product) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    sounds = {"13900000000": "g711u", "13900000001": "adpcm", "13900000002": "g726", "13900000003": "aac"}
    terminals = [channels.terminal(phone, "--audio", sound) for phone, sound in sounds.items()]
    for phone in sounds:  # outputs that begin with both tracks, however busy the machine is
        channels.api("POST", f"/terminals/{phone}/channels/1/live", {"hold_s": 100}, 200)
    with_both = lambda: {one["sim"].lstrip("0") for one in channels.api("GET", "/streams")["items"] if one["video"] and one["audio"]}  # noqa: E731
    wait_for("their pictures and sounds", lambda: with_both() >= sounds.keys())
    work = [(phone, ending, tmp_path / f"{phone}{ending[-2:]}.mkv") for phone in sounds for ending in (".ts", "/index.m3u8")]
    found = all_at_once([(channels.url(f"/live/{phone}_1{ending}"), path) for phone, ending, path in work])
    for tracks, (phone, ending, path) in zip(found, work, strict=True):
        assert tracks["audio"]["codec_name"] == "aac", (phone, ending)
        heard = loudest(path)
        assert heard.count(440) >= 5, (sounds[phone], ending, heard)
        assert heard.count(880) >= 5, (sounds[phone], ending, heard)
    for terminal in terminals:
        terminal.stop()


@pytest.mark.parametrize("phone", [PHONE, HEVC])
def test_the_packets_of_the_standard(channels: Product, tmp_path: Path, phone: str) -> None:
    path = tmp_path / "seen.jt1078"
    with urllib.request.urlopen(channels.url(f"/live/{phone}_1.jt1078"), timeout=30) as answer:
        assert answer.headers["Content-Type"] == "application/octet-stream"
        data = b""
        while len(data) < 100000:
            data += answer.read1(65536)
    path.write_bytes(data)
    assert data[:4] == b"01cd"
    assert data[15] >> 4 == 0  # begins with a key frame
    found = json.loads(command("inspect", path).stdout)
    assert found["sim"] in (f"0{phone}", phone)
    assert found["channels"] == [1]
    assert found["video"]["frames"] > 10
    assert found["audio"]["frames"] > 10


@pytest.mark.parametrize(("phone", "size"), [(PHONE, (352, 288)), (HEVC, (320, 240))])
def test_pictures(channels: Product, tmp_path: Path, phone: str, size: tuple[int, int]) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    path = tmp_path / "seen.jpg"
    with urllib.request.urlopen(channels.url(f"/live/{phone}_1.jpg"), timeout=30) as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
        path.write_bytes(answer.read())
    (stream,) = probe_streams(path)
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("mjpeg", *size)
    with urllib.request.urlopen(channels.url(f"/live/{phone}_1.mjpeg"), timeout=30) as answer:
        data = b""
        while data.count(b"--frame\r\n") < 6:
            data += answer.read1(65536)
    sizes = [int(number) for number in re.findall(rb"Content-Length: (\d+)\r\n\r\n", data)]
    assert min(sizes) > 1000
    path.write_bytes(data.split(b"\r\n\r\n", 1)[1][: sizes[0]])
    assert probe_streams(path)[0]["width"] == size[0]


def test_h265_as_h264_for_players_that_know_no_other(channels: Product, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    tracks = recorded(channels.url(f"/live/{HEVC}_1.flv", video="h264"), 3, tmp_path / "seen.mkv")
    assert tracks["video"]["codec_name"] == "h264"
    assert tracks["audio"]["codec_name"] == "aac"
    wait_for("the transcoder's end", lambda: not any(item["kind"] == "h264" for item in channels.api("GET", "/streams")["items"]))


def test_the_log_shows_no_session_and_no_key(channels: Product) -> None:
    base = channels.url(f"/live/{PHONE}_1/index.m3u8")
    with urllib.request.urlopen(base, timeout=30) as answer:
        variant = answer.read().decode().splitlines()[-1]
    with urllib.request.urlopen(f"{base.partition('/index')[0]}/{variant}", timeout=30) as answer:
        listed = answer.read().decode()
    segment = re.findall(r"^\d+\.m4s.*$", listed, re.MULTILINE)[0]
    assert http_error(f"{base.partition('/index')[0]}/999999.m4s?{segment.partition('?')[2]}")[0] == 404
    assert http_error(f"{base.partition('/index')[0]}/{variant}&_HLS_part=1")[0] == 400
    for secret in (variant, segment):
        assert secret.partition("=")[2] not in channels.process.output
