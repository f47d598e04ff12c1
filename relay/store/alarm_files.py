"""Files that belong to alarms: what was announced, how much of it is here, what it turned out to be. The content lies in files of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from twisted.internet.defer import Deferred

from relay.store import alarms
from relay.store.alarms import AlarmRow
from relay.store.connection import Connection
from relay.store.database import Database


class FileRow(NamedTuple):
    """One file."""

    id: str  #: also its name on the disk
    alarm: str  #: id of the alarm
    key: str  #: the terminal
    name: str  #: as the terminal sent it: text to show, never a path
    kind: str  #: "picture", "audio", "video", "text", "face", "other"
    channel: int
    size: int
    ranges: list[tuple[int, int]]  #: [from, to) that are here
    state: str  #: "partial", "complete", "refused"
    sha256: str
    content_type: str  #: by its first bytes
    created: float  #: UNIX time
    updated: float


_COLUMNS = ", ".join(FileRow._fields)


def _row(values: Iterable[object]) -> FileRow:
    row = FileRow(*values)  # type: ignore[arg-type]  # as the columns have it
    return row._replace(ranges=[(start, end) for start, end in json.loads(str(row.ranges))])


def put(connection: Connection, rows: Iterable[FileRow]) -> None:
    """Add or change files."""
    connection.executemany(
        f"""
        INSERT INTO alarm_files ({_COLUMNS}) VALUES ({', '.join('?' * len(FileRow._fields))})
        ON CONFLICT (alarm, name) DO UPDATE SET kind = excluded.kind, channel = excluded.channel, size = excluded.size, ranges = excluded.ranges,
            state = excluded.state, sha256 = excluded.sha256, content_type = excluded.content_type, updated = excluded.updated
        """,  # noqa: S608 - the names above
        [row._replace(ranges=json.dumps(row.ranges)) for row in rows],  # type: ignore[arg-type]
    )


def of_alarm(connection: Connection, alarm: str) -> list[FileRow]:
    """The files of an alarm, in the order in which they were announced."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM alarm_files WHERE alarm = ? ORDER BY created, name", (alarm,))  # noqa: S608
    return [_row(row) for row in rows]


def get(connection: Connection, alarm: str, number: str) -> FileRow | None:
    """One of them."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM alarm_files WHERE alarm = ? AND id = ?", (alarm, number)).fetchone()  # noqa: S608
    return _row(row) if row else None


def unfinished(connection: Connection, since: float, limit: int) -> list[tuple[AlarmRow, list[FileRow]]]:
    """Alarms whose files were asked for, or wait to be, and are not all here."""
    columns = ", ".join(AlarmRow._fields)
    rows = connection.execute(
        f"SELECT {columns} FROM alarms WHERE received >= ? AND files_state IN ('queued', 'asked', 'coming', 'partial') ORDER BY id LIMIT ?",  # noqa: S608
        (since, limit),
    ).fetchall()
    found = [alarms.row_of(row) for row in rows]
    return [(alarm, of_alarm(connection, alarm.id)) for alarm in found]


def old(connection: Connection, before: float, limit: int) -> tuple[list[str], list[str]]:
    """Alarms that began before then, and the ids of their files."""
    ids = [row[0] for row in connection.execute("SELECT id FROM alarms WHERE began < ? ORDER BY began LIMIT ?", (before, limit))]
    files = [row[0] for alarm in ids for row in connection.execute("SELECT id FROM alarm_files WHERE alarm = ?", (alarm,))]
    return ids, files


def remove_alarms(connection: Connection, ids: Iterable[str]) -> None:
    """Forget alarms and what is known of their files."""
    for alarm in ids:
        connection.execute("DELETE FROM alarms WHERE id = ?", (alarm,))


class AlarmFileStore:
    """The table for the reactor's thread."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, rows: list[FileRow]) -> Deferred[None]:
        return self.database.write(lambda connection: put(connection, rows))

    def of_alarm(self, alarm: str) -> Deferred[list[FileRow]]:
        return self.database.read(lambda connection: of_alarm(connection, alarm))

    def get(self, alarm: str, number: str) -> Deferred[FileRow | None]:
        return self.database.read(lambda connection: get(connection, alarm, number))

    def unfinished(self, since: float, limit: int) -> Deferred[list[tuple[AlarmRow, list[FileRow]]]]:
        return self.database.read(lambda connection: unfinished(connection, since, limit))
