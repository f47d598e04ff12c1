"""Positions: one row a report, added in batches, read as tracks.

The same report twice (repeated for want of an answer, and again in a 0x0704) is one row: the number, the terminal's time, the alarm word and the status word
are its identity. Two reports of one second that differ in them (an alarm began) stay two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from twisted.internet.defer import Deferred

from relay.store.connection import Connection
from relay.store.database import Database


class PositionRow(NamedTuple):
    """One report."""

    key: str  #: the terminal, as ``phone_key`` gives it
    time: float  #: UNIX time by the terminal's clock; by ours when it has none
    received: float  #: UNIX time of its arrival
    latitude: float  #: degrees, as the terminal has it: WGS-84 or GCJ-02
    longitude: float
    altitude: int  #: metres
    speed: float  #: km/h
    direction: int  #: degrees clockwise from north
    alarm: int  #: 报警标志
    status: int  #: 状态
    mileage: float | None  #: km, item 0x01


_COLUMNS = "key, time, received, latitude, longitude, altitude, speed, direction, alarm, status, mileage"
_INSERT = f"INSERT INTO positions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608 - the names above


def insert(connection: Connection, rows: Iterable[PositionRow]) -> None:
    """Add rows; those that are there already are left alone."""
    connection.executemany(_INSERT, rows)


def track(connection: Connection, key: str, start: float, end: float, limit: int, after: tuple[float, int] | None = None) -> list[tuple[int, PositionRow]]:
    """A terminal's rows from ``start`` to before ``end``, oldest first, each with its number; ``after``: time and number of the last row of the page before."""
    where, values = "key = ? AND time >= ? AND time < ?", [key, start, end]
    if after is not None:
        where += " AND time >= ? AND (time > ? OR id > ?)"
        values += [after[0], after[0], after[1]]
    rows = connection.execute(f"SELECT id, {_COLUMNS} FROM positions WHERE {where} ORDER BY time, id LIMIT ?", (*values, limit))  # noqa: S608
    return [(row[0], PositionRow(*row[1:])) for row in rows]


def count(connection: Connection, key: str, start: float, end: float) -> int:
    """How many rows such a track has."""
    number: int = connection.execute("SELECT COUNT(*) FROM positions WHERE key = ? AND time >= ? AND time < ?", (key, start, end)).fetchone()[0]
    return number


def last(connection: Connection, before: float) -> list[PositionRow]:
    """The latest row of each known terminal; a row dated after ``before`` (a clock that is wrong) is passed over."""
    columns = ", ".join(f"p.{name}" for name in _COLUMNS.split(", "))
    rows = connection.execute(
        f"""
        SELECT {columns} FROM terminals t JOIN positions p
        ON p.id = (SELECT id FROM positions WHERE key = t.key AND time < ? ORDER BY time DESC, id DESC LIMIT 1)
        """,  # noqa: S608
        (before,),
    )
    return [PositionRow(*row) for row in rows]


class PositionStore:
    """The table for the reactor's thread."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def track(self, key: str, start: float, end: float, limit: int, after: tuple[float, int] | None) -> Deferred[tuple[list[tuple[int, PositionRow]], int]]:
        """A page of a track, and how many rows all of it has."""
        return self.database.read(lambda connection: (track(connection, key, start, end, limit, after), count(connection, key, start, end)))

    def last(self, before: float) -> Deferred[list[PositionRow]]:
        return self.database.read(lambda connection: last(connection, before))
