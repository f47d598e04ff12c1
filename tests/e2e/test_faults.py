"""Terminals that misbehave, judged by the pictures that arrive: each carries its number and its time (``relay.sim.reading``)."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from relay.sim.reading import read_clock, read_number
from tests.e2e.support import Product, need, record, wait_for

pytestmark = pytest.mark.e2e

PHONE = "13800138000"
SIZE = (352, 288)
SECONDS = 4


def pictures(path: Path, size: tuple[int, int] = SIZE) -> list[bytes]:
    """The luma planes of a recording, picture by picture; a word of complaint from the decoder fails the test."""
    done = subprocess.run(
        [need("ffmpeg"), "-v", "warning", "-xerror", "-err_detect", "explode", "-i", path, "-map", "0:v", "-fps_mode", "passthrough",
         "-enc_time_base", "-1", "-f", "rawvideo", "-pix_fmt", "gray", "-"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    length = size[0] * size[1]
    return [done.stdout[at : at + length] for at in range(0, len(done.stdout), length)]


def stamps_ms(path: Path) -> list[float]:
    """When a player shows each picture."""
    done = subprocess.run(
        [need("ffprobe"), "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return [1000 * float(line.strip(",")) for line in done.stdout.split()]


def watched(relay: Product, tmp_path: Path, ending: str = "flv", **query: str) -> Path:
    need("ffmpeg")
    path = tmp_path / f"seen.{ending}"
    record(relay.url(f"/live/{PHONE}_1.{ending}", **({"audio": "source"} if ending == "flv" else {}), **query), SECONDS, path)
    return path


def assert_whole_and_in_time(path: Path) -> None:
    """Every picture once, in order, a twenty-fifth of a second each, without a word from the decoder."""
    numbers = [read_number(luma, *SIZE) for luma in pictures(path)]
    assert len(numbers) >= 15 * SECONDS, numbers
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    steps = [b - a for a, b in pairwise(stamps_ms(path))]
    assert min(steps) > 0
    assert max(steps) < 500, steps
    assert 30 < sum(steps) / len(steps) < 50


@pytest.mark.parametrize("ending", ["flv", "mp4"])
def test_every_picture_arrives_once_and_on_time(relay: Product, tmp_path: Path, ending: str) -> None:
    relay.terminal(PHONE)
    path = watched(relay, tmp_path, ending)
    assert_whole_and_in_time(path)
    last = read_clock(pictures(path)[-1], *SIZE)
    now = time.time() + time.localtime().tm_gmtoff
    age = (now - (int(last[:2]) * 3600 + int(last[3:5]) * 60 + float(last[6:]))) % 86400
    assert age < 5  # recording and decoding it took a while; the delay itself is measured in bench


UNNOTICED = (
    "garbage=60", "wrong-marks", "wrong-types", "frozen-stamps", "jumping-stamps=2", "sim-bytes=10", "body=1400", "body=60000", "hisi",
    "media-before-answer=1", "connect-late=2", "late-key-frame=2", "burst=2", "silent-heartbeat", "endless-subpackages", "slow-answers=1",
    "wrong-marks wrong-types jumping-stamps=3 garbage=20",
)  # fmt: skip
SHUFFLED = ("", "duplicates=10", "reorder=10", "reorder=10 duplicates=10")
TOGETHER = 4  #: terminals at a time: two cores draw so many cards with ease, beside other tests too


def watch_all(folder: Path, cases: Sequence[str], words: Sequence[str] = (), **sections: dict[str, Any]) -> dict[str, Path]:
    """One recording of each case, several at a time, from one relay."""
    need("ffmpeg")  # before the time is spent
    recordings = {}
    with Product(folder, **sections) as relay, ThreadPoolExecutor(TOGETHER) as pool:
        for first in range(0, len(cases), TOGETHER):
            terminals, waiting = [], {}
            for i, faults in enumerate(cases[first : first + TOGETHER]):
                phone = str(int(PHONE) + first + i)
                options = [word for fault in faults.split() for word in ("--fault", fault)]
                terminals.append(relay.terminal(phone, *words, *options, online=False))
                waiting[phone] = faults
            for phone in waiting:
                wait_for(f"terminal {phone} online", lambda phone=phone: relay.is_online(phone))  # type: ignore[misc]
            done = {}
            for phone, faults in waiting.items():
                recordings[faults] = path = folder / f"{phone}.flv"
                done[faults] = pool.submit(record, relay.url(f"/live/{phone}_1.flv", audio="source"), SECONDS, path)
            for future in done.values():
                future.result()
            for terminal in terminals:
                terminal.stop()
    return recordings


@pytest.fixture(scope="module")
def unnoticed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return watch_all(tmp_path_factory.mktemp("unnoticed"), UNNOTICED)


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return watch_all(tmp_path_factory.mktemp("shuffled"), SHUFFLED, ["--udp"], media={"prefer": "udp"})


@pytest.mark.parametrize("faults", UNNOTICED)
def test_faults_that_a_viewer_must_not_notice(unnoticed: dict[str, Path], faults: str) -> None:
    assert_whole_and_in_time(unnoticed[faults])


@pytest.mark.parametrize("faults", SHUFFLED)
def test_udp_that_the_network_shuffles(shuffled: dict[str, Path], faults: str) -> None:
    assert_whole_and_in_time(shuffled[faults])


@pytest.mark.parametrize("words", [[], ["--udp"]], ids=["tcp", "udp"])
def test_lost_packets_cost_pictures_but_never_show_broken_ones(tmp_path: Path, words: list[str]) -> None:
    with Product(tmp_path, media={"prefer": "udp" if words else "tcp"}) as relay:
        relay.terminal(PHONE, *words, "--fault", "loss=1", "--gop", "0.5")
        path = watched(relay, tmp_path)
        numbers = [read_number(luma, *SIZE) for luma in pictures(path)]
        assert len(numbers) > 20
        assert numbers == sorted(set(numbers))
        assert len(numbers) < numbers[-1] - numbers[0] + 1


def test_main_and_sub_on_request(relay: Product, tmp_path: Path) -> None:
    relay.terminal(PHONE)
    path = watched(relay, tmp_path, stream="main")
    numbers = [read_number(luma, 640, 352) for luma in pictures(path, (640, 352))]
    assert len(numbers) >= 15 * SECONDS
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
