"""The tasks of file upload (表 uploads): what was asked of terminals by 0x9206, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from relay.store.connection import Connection
from relay.store.database import Database

#: states in which something may still happen
ACTIVE = ("queued", "asked", "uploading", "paused")


class UploadRow(NamedTuple):
    """One task."""

    id: str
    sim: str  #: as ``phone_key`` gives it
    channel: int
    state: str
    created: float  #: UNIX time
    finished: float | None  #: UNIX time
    bytes: int  #: kept on disk
    data: str  #: JSON


_COLUMNS = "id, sim, channel, state, created, finished, bytes, data"


def put(connection: Connection, rows: Iterable[UploadRow]) -> None:
    """Insert or replace."""
    connection.executemany(
        f"""
        INSERT INTO uploads ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET state = excluded.state, finished = excluded.finished, bytes = excluded.bytes, data = excluded.data
        """,  # noqa: S608 - the names above
        rows,
    )


def get(connection: Connection, ident: str) -> UploadRow | None:
    """One task."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM uploads WHERE id = ?", (ident,)).fetchone()  # noqa: S608
    return UploadRow(*row) if row else None


def active(connection: Connection) -> list[UploadRow]:
    """Those that go on after a start, oldest first."""
    marks = ", ".join("?" * len(ACTIVE))
    rows = connection.execute(f"SELECT {_COLUMNS} FROM uploads WHERE state IN ({marks}) ORDER BY created", ACTIVE)  # noqa: S608
    return [UploadRow(*row) for row in rows]


def page(connection: Connection, sim: str, state: str, limit: int, before: tuple[float, str] | None) -> tuple[list[UploadRow], int]:
    """Newest first, and how many there are in all; ``sim`` and ``state`` "" = all; ``before``: (created, id) of the last row of the page before."""
    parts: list[str] = []
    values: list[Any] = []
    for column, value in (("sim", sim), ("state", state)):
        if value:
            parts.append(f"{column} = ?")
            values.append(value)
    where = f"WHERE {' AND '.join(parts)}" if parts else ""
    total: int = connection.execute(f"SELECT COUNT(*) FROM uploads {where}", values).fetchone()[0]  # noqa: S608
    if before is not None:
        parts.append("(created < ? OR (created = ? AND id < ?))")
        values += [before[0], before[0], before[1]]
    where = f"WHERE {' AND '.join(parts)}" if parts else ""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM uploads {where} ORDER BY created DESC, id DESC LIMIT ?", [*values, limit])  # noqa: S608
    return [UploadRow(*row) for row in rows], total


def finished(connection: Connection, limit: int) -> list[UploadRow]:
    """Those that are over and hold files, oldest first."""
    sql = f"SELECT {_COLUMNS} FROM uploads WHERE finished IS NOT NULL ORDER BY finished LIMIT ?"  # noqa: S608
    return [UploadRow(*row) for row in connection.execute(sql, (limit,))]


def size(connection: Connection) -> int:
    """Bytes of all tasks on disk."""
    total: int = connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM uploads").fetchone()[0]
    return int(total)


def remove(connection: Connection, idents: Sequence[str]) -> None:
    """Forget tasks."""
    connection.executemany("DELETE FROM uploads WHERE id = ?", [(ident,) for ident in idents])


class UploadStore:
    """The table for the reactor's thread; every method returns a Deferred that may fail with StoreError."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, row: UploadRow) -> Deferred[None]:
        return self.database.write(lambda connection: put(connection, [row]))

    def get(self, ident: str) -> Deferred[UploadRow | None]:
        return self.database.read(lambda connection: get(connection, ident))

    def active(self) -> Deferred[list[UploadRow]]:
        return self.database.read(active)

    def page(self, sim: str, state: str, limit: int, before: tuple[float, str] | None) -> Deferred[tuple[list[UploadRow], int]]:
        """Rows, newest first, and how many there are in all."""
        return self.database.read(lambda connection: page(connection, sim, state, limit, before))

    def finished(self, limit: int) -> Deferred[list[UploadRow]]:
        return self.database.read(lambda connection: finished(connection, limit))

    def size(self) -> Deferred[int]:
        return self.database.read(size)

    def remove(self, idents: Sequence[str]) -> Deferred[None]:
        return self.database.write(lambda connection: remove(connection, idents))
