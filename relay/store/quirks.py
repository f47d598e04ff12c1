"""Peculiarities of terminals and models (``core.quirks``): one row for each that something is known of, values as JSON."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from relay.store.connection import Connection, storable
from relay.store.database import Database


class Profile(NamedTuple):
    """What is kept of a terminal or a model."""

    kind: str  #: "terminal" or "model"
    name: str  #: the number, or "manufacturer/model"
    learnt: dict[str, Any]
    override: dict[str, Any]


def select(connection: Connection) -> list[Profile]:
    """All of them."""
    rows = connection.execute("SELECT kind, name, learnt, override FROM quirks ORDER BY kind, name")
    return [Profile(kind, name, json.loads(learnt), json.loads(override)) for kind, name, learnt, override in rows]


def put(connection: Connection, profile: Profile, now: float) -> None:
    """Write one; one of which nothing is known any more goes."""
    if not profile.learnt and not profile.override:
        connection.execute("DELETE FROM quirks WHERE kind = ? AND name = ?", (profile.kind, profile.name))
        return
    connection.execute(
        """
        INSERT INTO quirks (kind, name, learnt, override, changed_at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (kind, name) DO UPDATE SET learnt = excluded.learnt, override = excluded.override, changed_at = excluded.changed_at
        """,
        (profile.kind, storable(profile.name), json.dumps(profile.learnt), json.dumps(profile.override), now),
    )


class QuirkStore:
    """The table for the reactor's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Deferred[list[Profile]]:
        return self._database.read(select)

    def put(self, profile: Profile, now: float) -> Deferred[None]:
        return self._database.write(lambda connection: put(connection, profile, now))
