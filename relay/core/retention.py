"""Deletes what is older than it is to be kept, a few thousand rows at a time, so that others get their turn at the store in between."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from relay.hub.merge import Clock, DelayedCall
from relay.store.connection import Connection
from relay.store.database import Database
from relay.store.errors import StoreError

log = Logger()

EVERY_S = 3600.0
FIRST_S = 60.0  #: after the start; terminals come back first
ROWS = 2000  #: of one transaction: some ten milliseconds of the store's thread
PAUSE_S = 0.05
DAY_S = 86400.0


class Kept(NamedTuple):
    """One table and how long its rows stay."""

    name: str
    days: float  #: 0 = for ever
    delete: Callable[[Connection, float, int], int] | None = None  #: (connection, older than this UNIX time, rows at most) -> rows deleted
    run: Callable[[float, int], Coroutine[Any, Any, int]] | None = None  #: the same where more than rows is to be deleted


def by_time(table: str, column: str = "time") -> Callable[[Connection, float, int], int]:
    """What deletes the oldest rows of a table with ``id`` and a time of its own."""
    sql = f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} < ? ORDER BY {column} LIMIT ?)"  # noqa: S608 - our own names

    def delete(connection: Connection, before: float, rows: int) -> int:
        return connection.execute(sql, (before, rows)).rowcount

    return delete


class Retention:
    """Looks every hour."""

    def __init__(self, database: Database, clock: Clock, wall: Callable[[], float], kept: list[Kept]) -> None:
        self._database = database
        self._clock = clock
        self._wall = wall
        self._kept = [each for each in kept if each.days > 0]
        self._call: DelayedCall | None = None
        self._stopped = False
        self.deleted: dict[str, int] = {}

    def start(self) -> None:
        """Begin soon."""
        self._call = self._clock.callLater(FIRST_S, self._look)

    def stop(self) -> None:
        """No more."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None

        def again(_: object) -> None:
            if not self._stopped:
                self._call = self._clock.callLater(EVERY_S, self._look)

        ensureDeferred(self.run()).addErrback(lambda failure: log.failure("deleting old rows failed", failure=failure)).addCallback(again)

    async def run(self) -> None:
        """Delete everything that is due."""
        for kept in self._kept:
            before = self._wall() - kept.days * DAY_S
            deleted = 0
            try:
                while not self._stopped:
                    rows = await self._some(kept, before)
                    deleted += rows
                    if rows < ROWS:
                        break
                    await self._pause()
            except StoreError as problem:
                log.warn("old {name} stay for now: {problem}", name=kept.name, problem=str(problem))
            if deleted:
                self.deleted[kept.name] = self.deleted.get(kept.name, 0) + deleted
                log.info("{count} {name} older than {days:g} days deleted", count=deleted, name=kept.name, days=kept.days)

    async def _some(self, kept: Kept, before: float) -> int:
        if kept.run is not None:
            return await kept.run(before, ROWS)
        delete = kept.delete
        if delete is None:
            return 0
        rows: int = await self._database.write(lambda connection: delete(connection, before, ROWS))
        return rows

    def _pause(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._clock.callLater(PAUSE_S, done.callback, None)
        return done
