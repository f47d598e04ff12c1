"""The fuzz program itself, and a few thousand inputs for everything that takes bytes from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT, SHARED, shared

PROGRAM = ROOT / "bench" / "fuzz" / "fuzz.py"


def fuzz(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *words, "--vectors", str(SHARED / "vectors"), "--out", str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=tmp_path)


TARGETS = [
    "jt808", "session808", "attachment", "jt809", "jt809-body", "jt1078", "jt1078udp", "pcap", "scrub", "hex",
    "rtmp", "rtmp-push", "amf0",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(tmp_path: Path, target: str) -> None:
    shared("vectors/jt809.jsonl")
    result = fuzz(tmp_path, target, "--count", "3000", "--seed", "809")
    assert (result.returncode, result.stderr) == (0, "")
    line = json.loads(result.stdout)
    assert line["inputs"] == 3000
    assert line["seeds"] > (4 if target.startswith(("rtmp", "amf0")) else 40)


@pytest.mark.parametrize("target", ["jt808", "jt809", "jt1078"])
def test_many_inputs_through_one_framer(tmp_path: Path, target: str) -> None:
    shared("vectors/jt809.jsonl")
    result = fuzz(tmp_path, target, "--bulk", "--count", "3000", "--seed", "809")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["inputs"] >= 3000


def test_guided_by_the_lines_that_are_reached(tmp_path: Path) -> None:
    shared("vectors/jt809.jsonl")
    result = fuzz(tmp_path, "jt809", "--count", "300", "--seed", "1", "--guided")
    assert (result.returncode, result.stderr) == (0, "")
    line = json.loads(result.stdout)
    assert line["corpus"] > 20
    assert line["edges"] > 300


def test_what_is_found_is_told_and_kept(tmp_path: Path) -> None:
    """A target that fails: the input and the seed that repeats it are there, each fault once."""
    (tmp_path / "broken.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(PROGRAM.parent)!r})\n"
        "import fuzz, targets\n"
        "class Broken(targets.Pasted):\n"
        "    name = 'broken'\n"
        "    patterns = ()\n"
        "    def run(self, data):\n"
        "        if b'7e' in data: raise KeyError(len(data))\n"
        "targets.TARGETS['broken'] = Broken\n"
        "sys.exit(fuzz.main())\n"
    )
    words = ["broken", "--count", "2000", "--seed", "5", "--keep-going", "--vectors", str(SHARED / "vectors")]
    result = subprocess.run([sys.executable, "broken.py", *words], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    shared("vectors/jt809.jsonl")
    assert result.returncode == 1
    assert "--seed 5, batch 0, input " in result.stderr
    assert [count > 100 for count in json.loads(result.stdout)["found"].values()] == [True]
    assert result.stderr.count("broken: Traceback") == 1
    assert all(b"7e" in found.read_bytes() for found in tmp_path.glob("fuzz-broken-*.bin"))


def test_wrong_usage(tmp_path: Path) -> None:
    result = fuzz(tmp_path, "nothing")
    assert result.returncode == 2
    assert "targets: all, jt808" in result.stderr
