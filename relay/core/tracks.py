"""Where terminals are and were: every location they report goes into the store, the last of each stays here.

    0x0200, 0x0201, 0x0500, 0x0704 ── Terminals ──► Tracks.came ──► batch ──► store
                                                        └──► last of each terminal, its clock's offset

A location without a possible time gets the time of its arrival. Coordinates stay in the terminal's own system.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from relay.core.terminal_state import Terminal, degrees_of, wire_seconds
from relay.jt808.items import Mileage
from relay.jt808.messages.location import Location
from relay.store import positions
from relay.store.batch import Batch, Clock
from relay.store.connection import Connection
from relay.store.positions import PositionRow, PositionStore

FUTURE_S = 86400.0  #: a report dated later than that is not where the terminal is now, whatever it says


def row_of(key: str, location: Location, received: float) -> PositionRow:
    """A location as it is stored."""
    latitude, longitude = degrees_of(location)
    moment = wire_seconds(location.time)
    mileage = next((item.mileage for item in location.items if type(item) is Mileage), None)
    altitude = location.altitude
    return PositionRow(
        key,
        moment if moment is not None else received,
        received,
        latitude,
        longitude,
        altitude if altitude < 0x8000 else altitude - 0x10000,
        location.speed / 10,
        location.direction,
        location.alarm_flags,
        location.status_flags,
        mileage / 10 if mileage is not None else None,
    )


class Tracks:
    """Stores them and finds them."""

    def __init__(self, store: PositionStore, clock: Clock, wall: Callable[[], float]) -> None:
        self._store = store
        self._wall = wall
        self.batch: Batch[PositionRow] = Batch(store.database, clock, "positions", positions.insert)
        self._before: dict[str, PositionRow] | None = None  #: last ones of the store, as they were at the first question

    def came(self, terminal: Terminal, location: Location, live: bool) -> None:
        """A location was reported (``Learning.watch_locations``)."""
        self.batch.add(row_of(terminal.sim, location, terminal.last_seen))

    async def track(self, key: str, start: float, end: float, limit: int, after: tuple[float, int] | None) -> tuple[list[tuple[int, PositionRow]], int]:
        """A page of where a terminal was, and how many rows there are in all; what came a moment ago included."""
        await self.batch.flush()
        return await self._store.track(key, start, end, limit, after)

    async def before(self) -> dict[str, PositionRow]:
        """Where each known terminal was when the relay was last running: for those that have not been seen since."""
        if self._before is None:
            rows = await self._store.last(self._wall() + FUTURE_S)
            self._before = {row.key: row for row in rows}
        return self._before

    def now(self) -> float:
        """UNIX time."""
        return self._wall()

    def stop(self) -> Deferred[None]:
        """Write what waits."""
        return self.batch.stop()


def delete_old_positions(connection: Connection, before: float, rows: int) -> int:
    """Retention: by the time of arrival. The oldest rows have the lowest numbers, so a look at the first few finds them without an index."""
    if connection.dialect != "sqlite":
        sql = "DELETE FROM positions WHERE id IN (SELECT id FROM positions WHERE received < ? LIMIT ?)"
        return connection.execute(sql, (before, rows)).rowcount
    sql = "DELETE FROM positions WHERE id IN (SELECT id FROM (SELECT id, received FROM positions ORDER BY id LIMIT ?) WHERE received < ?)"
    return connection.execute(sql, (rows, before)).rowcount
