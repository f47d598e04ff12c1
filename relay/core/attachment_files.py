"""The disk side of attachments: runs in a thread of its own, blocks there, and raises OSError.

    DIRECTORY/ab/abcdef….part    while it comes, written at the offsets of its chunks
    DIRECTORY/ab/abcdef…         complete

Names on the disk are our own; what the terminal calls a file is only ever text.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

READ_BYTES = 1 << 20

_MAGIC = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"WAVE", 8, "audio/wav"),
    (b"ftyp", 4, "video/mp4"),
    (b"\0\0\0\x01", 0, "video/h264"),
    (b"\0\0\x01", 0, "video/h264"),
    (b"ID3", 0, "audio/mpeg"),
)
CONTENT_TYPES = tuple(dict.fromkeys(kind for _, _, kind in _MAGIC))


class Done(NamedTuple):
    """What a complete file turned out to be."""

    sha256: str
    content_type: str


def place(directory: Path, number: str) -> Path:
    """Where a file lies; 256 directories keep each of them small."""
    return directory / number[:2] / number


def partial(directory: Path, number: str) -> Path:
    """Where it lies while it comes."""
    return place(directory, number).with_suffix(".part")


def write(directory: Path, pieces: Iterable[tuple[str, int, bytes]]) -> None:
    """Put pieces (file, offset, bytes) where they belong."""
    for number, offset, data in pieces:
        path = partial(directory, number)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written
        finally:
            os.close(descriptor)


def finish(directory: Path, number: str, size: int) -> Done:
    """Make sure that a file is on the disk, give it its name, and say what it is."""
    path = partial(directory, number)
    if not size and not path.exists():
        write(directory, [(number, 0, b"")])
    if not path.exists() and place(directory, number).exists():
        path = place(directory, number)  # two connections brought its last bytes
    digest = hashlib.sha256()
    with path.open("r+b") as file:
        file.truncate(size)  # the terminal may have called it larger before
        os.fsync(file.fileno())
        head = file.read(16)
        digest.update(head)
        while data := file.read(READ_BYTES):
            digest.update(data)
    path.replace(place(directory, number))
    kind = next((kind for magic, at, kind in _MAGIC if head[at : at + len(magic)] == magic), "application/octet-stream")
    return Done(digest.hexdigest(), kind)


def free_bytes(directory: Path) -> int:
    """What the disk has left."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return shutil.disk_usage(directory).free


def read(directory: Path, number: str) -> bytes:
    """All of a complete file."""
    return place(directory, number).read_bytes()


def remove(directory: Path, numbers: Iterable[str]) -> None:
    """Delete files, complete or not; what is gone already is no fault."""
    for number in numbers:
        place(directory, number).unlink(missing_ok=True)
        partial(directory, number).unlink(missing_ok=True)
