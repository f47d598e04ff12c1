"""Superiors' requests that a person answers: one row each, the last thousand that are over besides those that wait; objects as JSON."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from relay.store.connection import Connection, storable
from relay.store.database import Database

_COLUMNS = "id, superior, kind, received_at, deadline, text, details, origin, state, answer, answered_at, answered_by"


class PersonRequestRow(NamedTuple):
    """One of them."""

    id: int
    superior: str
    kind: str  #: "post_query" or "supervision"
    received_at: float  #: UNIX time
    deadline: float
    text: str
    details: dict[str, Any]
    origin: dict[str, Any]  #: the superior's message: what an answer is made for
    state: str  #: "waiting", "answered" or "expired"
    answer: dict[str, Any] | None = None
    answered_at: float | None = None
    answered_by: str = ""


def select(connection: Connection) -> list[PersonRequestRow]:
    """All of them, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM person_requests ORDER BY id")  # noqa: S608 - names of our own
    found = []
    for ident, superior, kind, received, deadline, text, details, origin, state, answer, at, by in rows:
        said = json.loads(answer) if answer else None
        found.append(PersonRequestRow(ident, superior, kind, received, deadline, text, json.loads(details), json.loads(origin), state, said, at, by))
    return found


def put(connection: Connection, row: PersonRequestRow) -> None:
    """Write one, new or changed."""
    connection.execute(
        f"""
        INSERT INTO person_requests ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET state = excluded.state, answer = excluded.answer, answered_at = excluded.answered_at,
            answered_by = excluded.answered_by
        """,  # noqa: S608 - names of our own
        (
            row.id, storable(row.superior), row.kind, row.received_at, row.deadline, storable(row.text), json.dumps(row.details), json.dumps(row.origin),
            row.state, json.dumps(row.answer) if row.answer is not None else "", row.answered_at, storable(row.answered_by),
        ),
    )  # fmt: skip


def forget(connection: Connection, kept: int) -> None:
    """Delete those that are over, but for the newest."""
    connection.execute(
        "DELETE FROM person_requests WHERE state <> 'waiting' AND id NOT IN "
        "(SELECT id FROM person_requests WHERE state <> 'waiting' ORDER BY id DESC LIMIT ?)",
        (kept,),
    )


class PersonRequestStore:
    """The table for the reactor's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, kept: int) -> Deferred[list[PersonRequestRow]]:
        """All, after old ones were deleted."""

        def work(connection: Connection) -> list[PersonRequestRow]:
            forget(connection, kept)
            return select(connection)

        return self._database.write(work)

    def put(self, row: PersonRequestRow) -> Deferred[None]:
        """Write one, new or changed."""
        return self._database.write(lambda connection: put(connection, row))
