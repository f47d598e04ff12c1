"""Recordings that the relay has made (表 videos): one row a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from relay.store.connection import Connection
from relay.store.database import Database


class VideoRow(NamedTuple):
    """One file."""

    id: str
    key: str  #: the terminal, as ``phone_key`` gives it
    channel: int
    began: float  #: UNIX time of its first picture, by this machine's clock
    duration: float  #: seconds; 0 while it grows
    bytes: int
    path: str  #: below the recordings' directory
    video: str  #: codec; "" = none
    width: int
    height: int
    audio: str  #: codec; "" = none
    why: str  #: who or what wanted it
    complete: bool  #: closed, index written


_COLUMNS = "id, key, channel, began, duration, bytes, path, video, width, height, audio, why, complete"


def _row(row: Sequence[Any]) -> VideoRow:
    return VideoRow._make((*row[:12], bool(row[12])))


def put(connection: Connection, row: VideoRow) -> None:
    """Insert, or change what grows."""
    connection.execute(
        f"""
        INSERT INTO videos ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET duration = excluded.duration, bytes = excluded.bytes, complete = excluded.complete
        """,  # noqa: S608 - the names above
        (*row[:12], int(row.complete)),
    )


def get(connection: Connection, ident: str) -> VideoRow | None:
    """One file's row."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM videos WHERE id = ?", (ident,)).fetchone()  # noqa: S608
    return _row(row) if row else None


def page(
    connection: Connection, key: str, channel: int, start: float, end: float, limit: int, after: tuple[float, str] | None
) -> tuple[list[VideoRow], int]:
    """Oldest first: those of a terminal ("" = all) and channel (0 = all) that overlap the span; and how many in all."""
    parts, values = ["began < ?", "began + duration >= ?"], [end, start]
    for column, value in (("key", key), ("channel", channel)):
        if value:
            parts.append(f"{column} = ?")
            values.append(value)  # type: ignore[arg-type]
    total: int = connection.execute(f"SELECT COUNT(*) FROM videos WHERE {' AND '.join(parts)}", values).fetchone()[0]  # noqa: S608
    if after is not None:
        parts.append("(began > ? OR (began = ? AND id > ?))")
        values += [after[0], after[0], after[1]]  # type: ignore[list-item]
    sql = f"SELECT {_COLUMNS} FROM videos WHERE {' AND '.join(parts)} ORDER BY began, id LIMIT ?"  # noqa: S608
    return [_row(row) for row in connection.execute(sql, [*values, limit])], total


def unfinished(connection: Connection) -> list[VideoRow]:
    """Files that were not closed: the relay was killed."""
    return [_row(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM videos WHERE complete = 0")]  # noqa: S608


def oldest(connection: Connection, limit: int) -> list[VideoRow]:
    """The oldest complete ones."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM videos WHERE complete = 1 ORDER BY began LIMIT ?", (limit,))  # noqa: S608
    return [_row(row) for row in rows]


def size(connection: Connection) -> int:
    """Bytes of all."""
    return int(connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM videos").fetchone()[0])


def remove(connection: Connection, idents: Sequence[str]) -> None:
    """Forget rows."""
    connection.executemany("DELETE FROM videos WHERE id = ?", [(ident,) for ident in idents])


Rows = list[VideoRow]


class VideoStore:
    """The table for the reactor's thread; every method returns a Deferred that may fail with StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, row: VideoRow) -> Deferred[None]:
        return self._database.write(lambda connection: put(connection, row))

    def get(self, ident: str) -> Deferred[VideoRow | None]:
        return self._database.read(lambda connection: get(connection, ident))

    def page(
        self, key: str, channel: int, start: float, end: float, limit: int, after: tuple[float, str] | None
    ) -> Deferred[tuple[Rows, int]]:
        return self._database.read(lambda connection: page(connection, key, channel, start, end, limit, after))

    def unfinished(self) -> Deferred[Rows]:
        return self._database.read(unfinished)

    def oldest(self, limit: int) -> Deferred[Rows]:
        return self._database.read(lambda connection: oldest(connection, limit))

    def size(self) -> Deferred[int]:
        return self._database.read(size)

    def remove(self, idents: Sequence[str]) -> Deferred[None]:
        return self._database.write(lambda connection: remove(connection, idents))
