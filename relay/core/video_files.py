"""The disk side of recordings: runs in a thread of its own, blocks there, and raises OSError.

    DIRECTORY/13800138000/1/20261129/093000-4f1c.mp4       the terminal's number, channel, day and time of its first picture (GMT+8), an id

A file is synchronised to the disk with each segment. What a crash leaves is cut behind its last whole fragment and gets its index.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from relay.mux import record

INDEX_REFERENCES = 400  #: kept room for: file_s / segment_s, with the default settings 150


class Repaired(NamedTuple):
    """What a file that was not closed turned out to hold."""

    bytes: int
    duration: float  #: seconds


def create(directory: Path, name: str, init: bytes) -> int:
    """Make the file, with its directories; gives its size."""
    path = directory / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = record.head(init, INDEX_REFERENCES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _write(descriptor, data)
    finally:
        os.close(descriptor)
    return len(data)


def append(directory: Path, name: str, pieces: Sequence[bytes], synchronise: bool) -> None:
    """Put pieces behind what is there."""
    descriptor = os.open(directory / name, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        for piece in pieces:
            _write(descriptor, piece)
        if synchronise:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def finish(directory: Path, name: str, at: int, references: Sequence[record.Reference]) -> int:
    """Write the index into its room at ``at``; gives the file's size."""
    with (directory / name).open("r+b", buffering=0) as file:
        file.seek(at)
        file.write(record.index(references, record.reserved(INDEX_REFERENCES)))
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def repair(directory: Path, name: str) -> Repaired | None:
    """Cut what is torn off, write the index. None: the file is not there, or holds no picture (then it is removed)."""
    path = directory / name
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    with path.open("r+b") as file:
        boxes = list(_boxes(file, size))
        room = next((offset for offset, kind, _, _ in boxes if kind in (b"free", b"sidx")), None)
        fragments = record.scan(boxes, size)
        if room is None or not fragments:
            path.unlink(missing_ok=True)
            return None
        last = fragments[-1]
        file.truncate(last.offset + last.size)
        file.seek(room)
        file.write(record.index(record.segments_of(fragments), record.reserved(INDEX_REFERENCES)))
        file.flush()
        os.fsync(file.fileno())
    return Repaired(last.offset + last.size, sum(each.duration_ms for each in fragments) / 1000)


def _boxes(file: object, size: int) -> Iterator[tuple[int, bytes, bytes, int]]:
    """The boxes of a file, reading the small ones only."""
    at = 0
    while at + 8 <= size:
        file.seek(at)  # type: ignore[attr-defined]
        length, kind = struct.unpack(">I4s", file.read(8))  # type: ignore[attr-defined]
        if length < 8:
            return
        content = b""
        if kind == b"moof" and length <= 1 << 20 and at + length <= size:
            file.seek(at)  # type: ignore[attr-defined]
            content = file.read(length)  # type: ignore[attr-defined]
        yield at, kind, content, length
        at += length


def remove(directory: Path, names: Sequence[str]) -> None:
    """Delete files, and the directories that are empty then."""
    for name in names:
        path = directory / name
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == directory:
                break
            try:
                parent.rmdir()
            except OSError:
                break  # not empty


def free_bytes(directory: Path) -> int:
    """What the disk has left for us."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return shutil.disk_usage(directory).free
