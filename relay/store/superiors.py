"""What is kept for superior platforms: positions and alarms that wait for a link, and the time-efficient passwords. A file of its own.

``superiors.db`` in the relay's directory, SQLite whatever the store is, with a thread of its own: thousands of rows a second come and go here, and a
terminal that authenticates must not wait behind them.

    outbox     one row a position or alarm, numbered by us for each superior; read in that order, deleted once the superior's side has it
    passwords  one row a superior: the pair, the one before it, and when they were made

Positions are kept as JT/T 808 bytes, not JT/T 809 ones: what was queued under one edition goes up in the other after a change of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from twisted.internet.defer import Deferred

from relay.store import sqlite
from relay.store.connection import Connection
from relay.store.database import BUSY_S, Database
from relay.store.errors import StoreError

T = TypeVar("T")

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # 1
        """
        CREATE TABLE outbox (
            superior TEXT NOT NULL,
            id INTEGER NOT NULL,
            at INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            head BLOB NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (superior, id)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE passwords (
            superior TEXT PRIMARY KEY NOT NULL,
            home TEXT NOT NULL,
            cross_domain TEXT NOT NULL,
            made_at REAL NOT NULL,
            old_home TEXT NOT NULL,
            old_cross_domain TEXT NOT NULL,
            old_until REAL NOT NULL
        ) STRICT
        """,
    ),
)


#: its name in the relay's directory
NAME = "superiors.db"


class Waiting(NamedTuple):
    """One row of the outbox."""

    id: int  #: rising, for each superior
    at: int  #: UNIX seconds at which it was queued
    kind: int  #: sub-business type: 0x1202 a position, whatever else goes up as it is
    head: bytes  #: plate (21 bytes, GBK) and colour; empty where the data is a whole body
    data: bytes  #: a 0x0200 body; else a whole JT/T 809 body


class PasswordRow(NamedTuple):
    """One superior's passwords. Secret."""

    home: str
    cross_domain: str
    made_at: float  #: UNIX seconds
    old_home: str = ""
    old_cross_domain: str = ""
    old_until: float = 0.0


class Kept(NamedTuple):
    """What is there at the start, for one superior."""

    rows: int
    last_id: int


def _migrate(connection: Connection) -> None:
    latest = len(_MIGRATIONS)
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > latest:
        raise StoreError(f"written by a newer version (schema {found}, this one knows {latest}); downgrading is not possible")
    for number in range(found, latest):
        connection.execute("BEGIN IMMEDIATE")
        for statement in _MIGRATIONS[number]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")


class SuperiorStore:
    """The file for the reactor's thread; Deferreds may fail with StoreError."""

    def __init__(self, path: Path) -> None:
        self.database = Database(sqlite.url_of(path), opened=lambda: sqlite.connect(path, BUSY_S, _migrate), name="superiors")

    def start(self, call_in_reactor: Callable[..., object]) -> None:
        """Open or make the file and start its thread; raises StoreError."""
        self.database.start(call_in_reactor)

    def stop(self) -> Deferred[None]:
        """Fires when everything is written."""
        return self.database.stop()

    def kept(self) -> Deferred[dict[str, Kept]]:
        """By superior, also ones that are not configured any more."""

        def work(connection: Connection) -> dict[str, Kept]:
            rows = connection.execute("SELECT superior, COUNT(*), MAX(id) FROM outbox GROUP BY superior")
            return {name: Kept(count, last) for name, count, last in rows}

        return self.database.read(work)

    def change(self, superior: str, add: Iterable[Waiting], delete: Iterable[int]) -> Deferred[None]:
        """Add and delete rows in one transaction."""

        def work(connection: Connection) -> None:
            connection.executemany(
                "INSERT INTO outbox (superior, id, at, kind, head, data) VALUES (?, ?, ?, ?, ?, ?)", ((superior, *row) for row in add)
            )
            connection.executemany("DELETE FROM outbox WHERE superior = ? AND id = ?", ((superior, id) for id in delete))

        return self.database.write(work)

    def take(self, superior: str, after: int, limit: int, prepare: Callable[[list[Waiting]], T]) -> Deferred[T]:
        """``prepare`` of the next rows behind ``after``, called in the file's thread; nothing is deleted."""

        def work(connection: Connection) -> T:
            rows = connection.execute(
                "SELECT id, at, kind, head, data FROM outbox WHERE superior = ? AND id > ? ORDER BY id LIMIT ?", (superior, after, limit)
            )
            return prepare([Waiting(*row) for row in rows])

        return self.database.read(work)

    def trim(self, superior: str, before: int, most: int) -> Deferred[tuple[int, int, int]]:
        """Drop what was queued before that UNIX time, and the oldest beyond ``most`` rows; gives how many of each, and how many are left."""

        def work(connection: Connection) -> tuple[int, int, int]:
            newest_old = connection.execute("SELECT MAX(id) FROM outbox WHERE superior = ? AND at < ?", (superior, before)).fetchone()[0]
            aged = 0
            if newest_old is not None:
                aged = connection.execute("DELETE FROM outbox WHERE superior = ? AND id <= ?", (superior, newest_old)).rowcount
            count = connection.execute("SELECT COUNT(*) FROM outbox WHERE superior = ?", (superior,)).fetchone()[0]
            over = 0
            if count > most:
                over = connection.execute(
                    "DELETE FROM outbox WHERE superior = ? AND id IN (SELECT id FROM outbox WHERE superior = ? ORDER BY id LIMIT ?)",
                    (superior, superior, count - most),
                ).rowcount
            return aged, over, count - over

        return self.database.write(work)

    def passwords(self) -> Deferred[dict[str, PasswordRow]]:
        """All pairs, by superior."""

        def work(connection: Connection) -> dict[str, PasswordRow]:
            rows = connection.execute("SELECT superior, home, cross_domain, made_at, old_home, old_cross_domain, old_until FROM passwords")
            return {name: PasswordRow(*rest) for name, *rest in rows}

        return self.database.read(work)

    def keep_passwords(self, superior: str, row: PasswordRow) -> Deferred[None]:
        """Remember a pair."""

        def work(connection: Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO passwords VALUES (?, ?, ?, ?, ?, ?, ?)", (superior, *row))

        return self.database.write(work)
