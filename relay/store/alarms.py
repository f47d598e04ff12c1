"""Alarms: one row each, from its begin on; the end, the acknowledgement and the state of its files are filled in.

``identity`` tells an alarm that is reported again (repeated, or in a 0x0704) from a new one: unique for each terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from relay.store.connection import Connection
from relay.store.database import Database


class AlarmRow(NamedTuple):
    """One alarm."""

    id: str  #: grows with the time of arrival
    key: str  #: the terminal
    kind: str  #: "terminal", "video", "adas" …, see core/alarm_reading.py
    code: int  #: bit or event type
    channel: int  #: logical channel, wheel or storage; 0 = none in particular
    name: str  #: in words
    level: int  #: 1, 2; 0 = none
    began: float  #: UNIX time by the terminal's clock
    ended: float | None  #: None = it lasts
    received: float  #: UNIX time
    late: bool  #: told afterwards, from a blind area
    latitude: float
    longitude: float
    speed: float  #: km/h
    identity: str
    sign: bytes | None  #: 报警标识号, as it came
    files_told: int  #: files that the terminal says belong to it
    files_state: str  #: "" = not asked for; "queued", "asked", "coming", "complete", "partial", "failed"
    alarm_number: str | None  #: 报警编号 that we gave it in 0x9208
    detail: dict[str, Any]
    acknowledged_at: float | None
    acknowledged_by: str
    note: str


class AlarmFilter(NamedTuple):
    """Which alarms; None and empty = all."""

    key: str = ""
    kind: str = ""
    code: int | None = None
    level: int = 0  #: at least
    open: bool | None = None
    acknowledged: bool | None = None
    files: bool | None = None  #: with files told, or without
    start: float | None = None  #: of ``began``, included
    end: float | None = None  #: excluded
    groups: tuple[str, ...] = ()  #: of terminals that are in one of these groups only


_COLUMNS = ", ".join(AlarmRow._fields)
_INSERT = f"INSERT INTO alarms ({_COLUMNS}) VALUES ({', '.join('?' * len(AlarmRow._fields))}) ON CONFLICT DO NOTHING"  # noqa: S608 - our own names

#: what is written in a batch: a row, or (id, end)
Change = AlarmRow | tuple[str, float]


def _values(row: AlarmRow) -> tuple[Any, ...]:
    return row._replace(late=int(row.late), detail=json.dumps(row.detail, ensure_ascii=False))  # type: ignore[arg-type]  # as the columns have it


def row_of(values: Iterable[Any]) -> AlarmRow:
    """A row of the table as read."""
    row = AlarmRow(*values)
    return row._replace(late=bool(row.late), detail=json.loads(str(row.detail)), sign=bytes(row.sign) if row.sign is not None else None)


def write(connection: Connection, changes: Iterable[Change]) -> None:
    """Begins and ends, in their order."""
    for change in changes:
        if isinstance(change, AlarmRow):
            connection.execute(_INSERT, _values(change))
        else:
            connection.execute("UPDATE alarms SET ended = ? WHERE id = ?", (change[1], change[0]))


def get(connection: Connection, number: str) -> AlarmRow | None:
    """One alarm by its id."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM alarms WHERE id = ?", (number,)).fetchone()  # noqa: S608
    return row_of(row) if row else None


def _where(wanted: AlarmFilter, before: str) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []

    def also(words: str, *more: Any) -> None:
        parts.append(words)
        values.extend(more)

    if wanted.key:
        also("key = ?", wanted.key)
    if wanted.kind:
        also("kind = ?", wanted.kind)
    if wanted.code is not None:
        also("code = ?", wanted.code)
    if wanted.level:
        also("level >= ?", wanted.level)
    if wanted.open is not None:
        also("ended IS NULL" if wanted.open else "ended IS NOT NULL")
    if wanted.acknowledged is not None:
        also("acknowledged_at IS NOT NULL" if wanted.acknowledged else "acknowledged_at IS NULL")
    if wanted.files is not None:
        also("files_told > 0" if wanted.files else "files_told = 0")
    if wanted.start is not None:
        also("began >= ?", wanted.start)
    if wanted.end is not None:
        also("began < ?", wanted.end)
    if wanted.groups:
        also(f"key IN (SELECT key FROM terminals WHERE group_name IN ({', '.join('?' * len(wanted.groups))}))", *wanted.groups)  # noqa: S608
    if before:
        also("id < ?", before)
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), values


def select(connection: Connection, wanted: AlarmFilter, limit: int, before: str = "") -> list[AlarmRow]:
    """The last to arrive first; ``before``: id of the last of the page before."""
    where, values = _where(wanted, before)
    return [row_of(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM alarms {where} ORDER BY id DESC LIMIT ?", [*values, limit])]  # noqa: S608


def count(connection: Connection, wanted: AlarmFilter) -> int:
    """How many there are."""
    where, values = _where(wanted, "")
    number: int = connection.execute(f"SELECT COUNT(*) FROM alarms {where}", values).fetchone()[0]  # noqa: S608
    return number


def unfinished(connection: Connection, limit: int) -> list[AlarmRow]:
    """Alarms without an end, the latest first."""
    return [row_of(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM alarms WHERE ended IS NULL ORDER BY id DESC LIMIT ?", (limit,))]  # noqa: S608


def identities(connection: Connection, since: float, limit: int) -> list[tuple[str, str]]:
    """(terminal, identity) of the last alarms with a 报警标识号."""
    sql = "SELECT key, identity FROM alarms WHERE sign IS NOT NULL AND began >= ? ORDER BY id DESC LIMIT ?"
    return [(row[0], row[1]) for row in connection.execute(sql, (since, limit))]


def acknowledge(connection: Connection, number: str, who: str, note: str, now: float) -> AlarmRow | None:
    """Somebody has seen it; a second time changes the note alone."""
    connection.execute(
        """
        UPDATE alarms SET acknowledged_at = COALESCE(acknowledged_at, ?), note = ?,
            acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN ? ELSE acknowledged_by END WHERE id = ?
        """,
        (now, note, who, number),
    )
    return get(connection, number)


def set_files_state(connection: Connection, number: str, state: str, alarm_number: str | None = None) -> None:
    """How far its files are."""
    connection.execute(
        "UPDATE alarms SET files_state = ?, alarm_number = COALESCE(?, alarm_number) WHERE id = ?", (state, alarm_number, number)
    )


class AlarmStore:
    """The table for the reactor's thread."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def get(self, number: str) -> Deferred[AlarmRow | None]:
        return self.database.read(lambda connection: get(connection, number))

    def page(self, wanted: AlarmFilter, limit: int, before: str = "") -> Deferred[tuple[list[AlarmRow], int]]:
        """Rows, and how many there are in all."""
        return self.database.read(lambda connection: (select(connection, wanted, limit, before), count(connection, wanted)))

    def acknowledge(self, number: str, who: str, note: str, now: float) -> Deferred[AlarmRow | None]:
        return self.database.write(lambda connection: acknowledge(connection, number, who, note, now))

    def set_files_state(self, number: str, state: str, alarm_number: str | None = None) -> Deferred[None]:
        return self.database.write(lambda connection: set_files_state(connection, number, state, alarm_number))

    def begin(self, since: float, limit: int) -> Deferred[tuple[list[AlarmRow], list[tuple[str, str]]]]:
        """What a start has to know: alarms that last, and which were seen lately."""
        return self.database.read(lambda connection: (unfinished(connection, limit), identities(connection, since, limit)))
