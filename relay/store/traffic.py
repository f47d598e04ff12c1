"""Bytes of terminals by day, channel and purpose; budgets of single terminals.

Days are numbers like 20261129, in GMT+8 as the SIM's bill has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from twisted.internet.defer import Deferred

from relay.store.connection import Connection
from relay.store.database import Database


class TrafficRow(NamedTuple):
    """Bytes, both ways together."""

    key: str  #: the terminal
    day: int
    channel: int  #: 0 = of no channel: signalling, files
    purpose: str  #: "viewer", "superior", "recorder", "signalling" …
    bytes: int


class BudgetRow(NamedTuple):
    """What one terminal may spend; None: as the configuration says, 0: as much as it likes."""

    key: str
    day_bytes: int | None
    month_bytes: int | None


def add(connection: Connection, rows: Iterable[TrafficRow]) -> None:
    """Add to what there is."""
    connection.executemany(
        """
        INSERT INTO traffic (key, day, channel, purpose, bytes) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (key, day, channel, purpose) DO UPDATE SET bytes = traffic.bytes + excluded.bytes
        """,
        rows,
    )


def of_terminal(connection: Connection, key: str, first: int, last: int) -> list[TrafficRow]:
    """Days ``first`` to ``last``, both included."""
    sql = "SELECT key, day, channel, purpose, bytes FROM traffic WHERE key = ? AND day >= ? AND day <= ? ORDER BY day, channel, purpose"
    return [TrafficRow(*row) for row in connection.execute(sql, (key, first, last))]


def sums(connection: Connection, first: int, last: int) -> list[tuple[str, int, int]]:
    """(terminal, day, bytes) of days ``first`` to ``last``."""
    sql = "SELECT key, day, SUM(bytes) FROM traffic WHERE day >= ? AND day <= ? GROUP BY key, day"
    return [(row[0], row[1], int(row[2])) for row in connection.execute(sql, (first, last))]


def budgets(connection: Connection) -> list[BudgetRow]:
    """All that were set."""
    return [BudgetRow(*row) for row in connection.execute("SELECT key, day_bytes, month_bytes FROM budgets")]


def set_budget(connection: Connection, row: BudgetRow) -> None:
    """Set one; with nothing in it the configuration's applies again."""
    connection.execute("DELETE FROM budgets WHERE key = ?", (row.key,))
    if row.day_bytes is not None or row.month_bytes is not None:
        connection.execute("INSERT INTO budgets (key, day_bytes, month_bytes) VALUES (?, ?, ?)", row)


def delete_old(connection: Connection, before_day: int, rows: int) -> int:
    """Retention: whole terminals' days at a time."""
    found = connection.execute("SELECT DISTINCT key, day FROM traffic WHERE day < ? LIMIT ?", (before_day, rows)).fetchall()
    return sum(connection.execute("DELETE FROM traffic WHERE key = ? AND day = ?", (key, day)).rowcount for key, day in found)


class TrafficStore:
    """The tables for the reactor's thread."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def of_terminal(self, key: str, first: int, last: int) -> Deferred[list[TrafficRow]]:
        return self.database.read(lambda connection: of_terminal(connection, key, first, last))

    def begin(self, first: int, last: int) -> Deferred[tuple[list[tuple[str, int, int]], list[BudgetRow]]]:
        """What a start has to know: this month's sums, and the budgets."""
        return self.database.read(lambda connection: (sums(connection, first, last), budgets(connection)))

    def set_budget(self, row: BudgetRow) -> Deferred[None]:
        return self.database.write(lambda connection: set_budget(connection, row))
