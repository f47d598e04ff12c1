"""Decodes what the tests judge: ffmpeg turns H.264 into planes of luma and chroma."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Picture(NamedTuple):
    """One decoded picture, I420."""

    width: int
    height: int
    y: bytes
    u: bytes
    v: bytes

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        half = self.width // 2
        return self.y[y * self.width + x], self.u[y // 2 * half + x // 2], self.v[y // 2 * half + x // 2]


def ffmpeg() -> str:
    path = shutil.which("ffmpeg")
    if path is None:
        pytest.skip("ffmpeg is not installed (Debian's package ffmpeg)")
    return path


def decode(stream: bytes, width: int, height: int, tmp_path: Path) -> list[Picture]:
    """All pictures of an Annex B stream; a word of complaint from ffmpeg fails the test."""
    source = tmp_path / "x.h264"
    source.write_bytes(stream)
    done = subprocess.run(
        [ffmpeg(), "-v", "warning", "-xerror", "-err_detect", "explode", "-i", source, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    size, quarter = width * height, width * height // 4
    pictures = []
    for o in range(0, len(done.stdout), size + 2 * quarter):
        raw = done.stdout[o : o + size + 2 * quarter]
        pictures.append(Picture(width, height, raw[:size], raw[size : size + quarter], raw[size + quarter :]))
    return pictures
