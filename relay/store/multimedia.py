"""Photos, sound and films of 0x0801: a row each, and a file each below one directory.

    DIRECTORY/13800138000/20261129/160233-7-1.jpg      number, day, time-media id-channel

All parts of a name are ours; nothing a terminal sends as text gets into it. File and row are written by the store's thread: the file first, under a name of
its own, then the row; a file without a row is what a crash leaves, and is no harm.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from twisted.internet.defer import Deferred

from relay.store.connection import Connection
from relay.store.database import Database
from relay.store.errors import StoreError

ENDINGS = {0: "jpg", 1: "tif", 2: "mp3", 3: "wav", 4: "wmv"}  #: by 多媒体格式编码
#: the same content under the same media id within so long is the same upload, sent again
SAME_S = 86400.0
_BEIJING = timedelta(hours=8)


class MediaRow(NamedTuple):
    """One row, without its number."""

    sim: str
    time: float  #: UNIX time of its arrival
    media_id: int  #: the terminal's own number
    media_type: int  #: 0 image, 1 audio, 2 video
    media_format: int  #: 0 JPEG, 1 TIF, 2 MP3, 3 WAV, 4 WMV
    event_code: int
    channel: int
    location: str  #: JSON: where the vehicle was; "" = not told (2011)
    file: str  #: below the directory
    bytes: int
    crc: int


class MediaFilter(NamedTuple):
    """Which rows; empty = all."""

    sim: str = ""
    channel: int | None = None
    start: float | None = None  #: UNIX time, included
    end: float | None = None  #: UNIX time, excluded


_COLUMNS = "sim, time, media_id, media_type, media_format, event_code, channel, location, file, bytes, crc"


def name_of(row: MediaRow) -> str:
    """Where its file goes."""
    when = datetime.fromtimestamp(row.time, UTC) + _BEIJING
    folder = "".join(c for c in row.sim if c.isalnum()) or "0"
    return f"{folder}/{when:%Y%m%d}/{when:%H%M%S}-{row.media_id}-{row.channel}.{ENDINGS.get(row.media_format, 'bin')}"


def save(connection: Connection, directory: Path, row: MediaRow, content: bytes) -> tuple[int, bool]:
    """Write file and row; gives the row's number, and whether it is new. StoreError when the disk does not take it."""
    found = connection.execute(
        "SELECT id FROM multimedia WHERE sim = ? AND media_id = ? AND bytes = ? AND crc = ? AND time > ?",
        (row.sim, row.media_id, row.bytes, row.crc, row.time - SAME_S),
    ).fetchone()
    if found:
        return int(found[0]), False
    path = directory / row.file
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = _unused(path)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as out:
            out.write(content)
        os.replace(part, path)
    except OSError as problem:
        raise StoreError(f"{row.file} cannot be written: {problem.strerror}") from None
    row = row._replace(file=str(path.relative_to(directory)))
    try:
        marks = ", ".join("?" * len(row))
        made = connection.execute(f"INSERT INTO multimedia ({_COLUMNS}) VALUES ({marks}) RETURNING id", row).fetchone()  # noqa: S608
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return int(made[0]), True


def _unused(path: Path) -> Path:
    """The path, or one beside it that nobody has."""
    for number in range(1000):
        candidate = path.with_stem(f"{path.stem}-{number}") if number else path
        if not candidate.exists():
            return candidate
    raise StoreError(f"{path.name}: a thousand of that name already")


def _where(wanted: MediaFilter, before: int | None) -> tuple[str, list[object]]:
    parts: list[str] = []
    values: list[object] = []
    for words, value in (
        ("sim = ?", wanted.sim or None), ("channel = ?", wanted.channel), ("time >= ?", wanted.start), ("time < ?", wanted.end), ("id < ?", before),
    ):  # fmt: skip
        if value is not None:
            parts.append(words)
            values.append(value)
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), values


def select(connection: Connection, wanted: MediaFilter, limit: int, before: int | None = None) -> list[tuple[int, MediaRow]]:
    """Newest first; ``before`` is the number of the last row of the page before."""
    where, values = _where(wanted, before)
    rows = connection.execute(f"SELECT id, {_COLUMNS} FROM multimedia {where} ORDER BY id DESC LIMIT ?", [*values, limit])  # noqa: S608
    return [(row[0], MediaRow(*row[1:])) for row in rows]


def count(connection: Connection, wanted: MediaFilter) -> int:
    """How many there are."""
    where, values = _where(wanted, None)
    number: int = connection.execute(f"SELECT COUNT(*) FROM multimedia {where}", values).fetchone()[0]  # noqa: S608
    return number


def get(connection: Connection, number: int) -> MediaRow | None:
    """One row."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM multimedia WHERE id = ?", (number,)).fetchone()  # noqa: S608
    return MediaRow(*row) if row else None


def remove(connection: Connection, directory: Path, rows: list[tuple[int, str]]) -> int:
    """Delete rows and their files: (number, file)."""
    for _, file in rows:
        with contextlib.suppress(OSError):  # gone already, or not ours to delete: the row goes all the same
            (directory / file).unlink()
    connection.executemany("DELETE FROM multimedia WHERE id = ?", [(number,) for number, _ in rows])
    return len(rows)


class MultimediaStore:
    """The table and the files, for the reactor's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.directory = Path("multimedia")  #: set before the start

    def path(self, row: MediaRow) -> Path:
        """Where its content is."""
        return self.directory / row.file

    def save(self, row: MediaRow, content: bytes) -> Deferred[tuple[int, bool]]:
        return self._database.write(lambda connection: save(connection, self.directory, row, content))

    def page(self, wanted: MediaFilter, limit: int, before: int | None = None) -> Deferred[tuple[list[tuple[int, MediaRow]], int]]:
        """Rows, and how many there are in all."""
        return self._database.read(lambda connection: (select(connection, wanted, limit, before), count(connection, wanted)))

    def get(self, number: int) -> Deferred[MediaRow | None]:
        return self._database.read(lambda connection: get(connection, number))

    def remove(self, number: int) -> Deferred[bool]:
        """Delete one; False when there was none."""

        def work(connection: Connection) -> bool:
            row = get(connection, number)
            return row is not None and bool(remove(connection, self.directory, [(number, row.file)]))

        return self._database.write(work)

    def delete_old(self, connection: Connection, before: float, limit: int) -> int:
        """For ``core.retention``: the oldest and their files."""
        rows = connection.execute("SELECT id, file FROM multimedia WHERE time < ? ORDER BY time LIMIT ?", (before, min(limit, 200)))
        return remove(connection, self.directory, [(row[0], row[1]) for row in rows])

    def delete_beyond(self, most: int) -> Deferred[int]:
        """Delete the oldest until at most so many bytes are kept; gives how many went."""

        def work(connection: Connection) -> int:
            gone = 0
            while True:
                total = int(connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM multimedia").fetchone()[0])
                if total <= most:
                    return gone
                doomed = []
                for number, file, size in connection.execute("SELECT id, file, bytes FROM multimedia ORDER BY id LIMIT 200").fetchall():
                    if total <= most:
                        break
                    doomed.append((number, file))
                    total -= size
                gone += remove(connection, self.directory, doomed)

        return self._database.write(work)
