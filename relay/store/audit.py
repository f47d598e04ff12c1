"""The audit: who did what to what, when, from where, how many bytes. Rows are added in batches and read in pages, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from twisted.internet.defer import Deferred

from relay.store.connection import Connection
from relay.store.database import Database


class AuditRow(NamedTuple):
    """One row, without its number."""

    time: float  #: UNIX time
    who: str  #: the user or token's name, "superior:NAME", "rule:NAME", "relay"
    action: str  #: "view", "talk", "message" …
    subject: str  #: what it was done to: "13800138000", "13800138000_1", "user:ann"
    detail: str
    address: str  #: of the one who asked; "" = nobody outside
    bytes: int


class AuditFilter(NamedTuple):
    """Which rows; empty = all."""

    who: str = ""
    action: str = ""
    subject: str = ""  #: that subject, or a terminal's number: its channels too
    start: float | None = None  #: UNIX time, included
    end: float | None = None  #: UNIX time, excluded


_COLUMNS = "time, who, action, subject, detail, address, bytes"


def insert(connection: Connection, rows: Iterable[AuditRow]) -> None:
    """Add rows."""
    connection.executemany(f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608 - the names above


def _where(wanted: AuditFilter, before: int | None) -> tuple[str, list[object]]:
    parts: list[str] = []
    values: list[object] = []
    for column in ("who", "action"):
        if value := getattr(wanted, column):
            parts.append(f"{column} = ?")
            values.append(value)
    if wanted.subject:
        # "13800138000" also finds "13800138000_1": from "…_" up to, not including, the character after "_"
        parts.append("(subject = ? OR (subject >= ? AND subject < ?))")
        values += [wanted.subject, f"{wanted.subject}_", f"{wanted.subject}`"]
    for value, words in ((wanted.start, "time >= ?"), (wanted.end, "time < ?"), (before, "id < ?")):
        if value is not None:
            parts.append(words)
            values.append(value)
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), values


def select(connection: Connection, wanted: AuditFilter, limit: int, before: int | None = None) -> list[tuple[int, AuditRow]]:
    """Newest first; ``before`` is the number of the last row of the page before."""
    where, values = _where(wanted, before)
    rows = connection.execute(f"SELECT id, {_COLUMNS} FROM audit {where} ORDER BY id DESC LIMIT ?", [*values, limit])  # noqa: S608
    return [(row[0], AuditRow(*row[1:])) for row in rows]


def count(connection: Connection, wanted: AuditFilter) -> int:
    """How many rows there are."""
    where, values = _where(wanted, None)
    number: int = connection.execute(f"SELECT COUNT(*) FROM audit {where}", values).fetchone()[0]  # noqa: S608
    return number


class AuditStore:
    """The table for the reactor's thread."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> Deferred[tuple[list[tuple[int, AuditRow]], int]]:
        """Rows and how many there are in all."""
        return self.database.read(lambda connection: (select(connection, wanted, limit, before), count(connection, wanted)))

    def rows(self, wanted: AuditFilter, limit: int, before: int | None = None) -> Deferred[list[tuple[int, AuditRow]]]:
        """Rows alone, for exports."""
        return self.database.read(lambda connection: select(connection, wanted, limit, before))
