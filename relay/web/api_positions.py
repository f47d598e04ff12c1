"""The API's positions: the last of every terminal, and where one was."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from relay.core.events import iso_time
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.core.tracks import Tracks
from relay.errors import UsageError
from relay.jt808.messages.location import Status
from relay.store.positions import PositionRow
from relay.store.terminals import KnownTerminal
from relay.web.models import After, PageQuery, Position, Query
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route
from relay.web.times import Time, unix_time

DAY_S = 86400.0


class CurrentQuery(PageQuery):
    """Which terminals."""

    online: Annotated[bool | None, Meta(description="Only those that are online, or offline.")] = None
    group: Annotated[str, Meta(max_length=64)] = ""


class CurrentView(msgspec.Struct):
    """Where a terminal is, or was last."""

    sim: str
    name: str
    group: str
    online: bool
    position: Position
    received: str
    clock_offset_s: float | None


class CurrentList(msgspec.Struct):
    """One page, by number."""

    items: list[CurrentView]
    total: int
    next: str | None = None


class TrackQuery(Query):
    """Which part of a track; without times the last day."""

    start: Time = msgspec.field(name="from", default="")
    end: Time = msgspec.field(name="to", default="")
    limit: Annotated[int, Meta(ge=1, le=10000, description="How many at most.")] = 1000
    after: After = ""


class TrackPoint(msgspec.Struct):
    """One report."""

    time: str  #: by the terminal's clock
    received: str
    latitude: float
    longitude: float
    altitude: int
    speed: float
    direction: int
    located: bool
    acc: bool
    alarm_flags: int
    status_flags: int
    mileage: float | None


class Track(msgspec.Struct):
    """One page of a track, oldest first."""

    sim: str
    items: list[TrackPoint]
    total: int
    next: str | None = None


class PositionApi:
    """Handlers and their routes."""

    def __init__(self, positions: Tracks, terminals: Terminals, names: Names) -> None:
        self._positions = positions
        self._terminals = terminals
        self._names = names

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        yield Route(
            method="GET", path="/api/v1/positions", handler=self.current, permission=Permission.VIEWER, query=CurrentQuery, answer=CurrentList,
            tag="positions", summary="Where all terminals are, or were last", errors=(503,), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path="/api/v1/terminals/{sim}/track", handler=self.track, permission=Permission.VIEWER, query=TrackQuery, answer=Track,
            tag="positions", summary="Where a terminal was", errors=(503,),
        )  # fmt: skip

    async def current(self, call: Call) -> dict[str, Any]:
        """One page."""
        query: CurrentQuery = call.query
        rows = await self._names.known()
        before = await self._positions.before() if query.online is not True else {}
        found: dict[str, tuple[Terminal | None, KnownTerminal | None]] = {}
        for terminal in self._terminals.seen():
            if terminal.position is not None and query.online in (None, terminal.online):
                found[terminal.sim] = (terminal, terminal.known)
        for sim in before:
            if sim not in found and sim in rows and not self._terminals.is_online(sim):
                found[sim] = (None, rows[sim])
        if query.group:
            found = {sim: item for sim, item in found.items() if item[1] is not None and item[1].group == query.group}
        sims = sorted(filter(call.sees, found))
        start = bisect_right(sims, query.after) if query.after else 0
        page = sims[start : start + query.limit]
        more = start + query.limit < len(sims)
        return {"items": [_current(sim, *found[sim], before.get(sim)) for sim in page], "total": len(sims), "next": page[-1] if more else None}

    async def track(self, call: Call) -> dict[str, Any]:
        """One page."""
        query: TrackQuery = call.query
        name = call.path["sim"]
        sim = await self._names.sim(name)
        if sim is None:
            raise Problem(404, f"Terminal {name} is not known.", code="unknown_terminal")
        end = unix_time(query.end, "to")
        start = unix_time(query.start, "from")
        if end is None:
            end = self._positions.now() + DAY_S  # the terminal's clock may be ahead of ours
        if start is None:
            start = end - (DAY_S if query.end else 2 * DAY_S)
        rows, total = await self._positions.track(sim, start, end, query.limit + 1, _place(query.after))
        page = rows[: query.limit]
        following = f"{page[-1][1].time!r}-{page[-1][0]}" if len(rows) > query.limit else None
        return {"sim": sim, "items": [_point(row) for _, row in page], "total": total, "next": following}


def _current(sim: str, terminal: Terminal | None, known: KnownTerminal | None, row: PositionRow | None) -> dict[str, Any]:
    group = known.group if known is not None else ""
    if terminal is not None and terminal.position is not None:
        return {
            "sim": sim, "name": terminal.name, "group": group, "online": terminal.online, "position": terminal.position_view(),
            "received": iso_time(terminal.position_at), "clock_offset_s": terminal.clock_offset_s,
        }  # fmt: skip
    if row is None:
        raise UsageError(f"no position of {sim}")
    name = (known.plate or known.alias if known is not None else "") or sim
    position = {**_point(row), "fuel": None, "signal": None, "satellites": None}
    return {
        "sim": sim, "name": name, "group": group, "online": False, "position": position, "received": position.pop("received"),
        "clock_offset_s": None,
    }  # fmt: skip


def _point(row: PositionRow) -> dict[str, Any]:
    return {
        "time": iso_time(row.time),
        "received": iso_time(row.received),
        "latitude": row.latitude,
        "longitude": row.longitude,
        "altitude": row.altitude,
        "speed": row.speed,
        "direction": row.direction,
        "located": bool(row.status & Status.LOCATED),
        "acc": bool(row.status & Status.ACC),
        "alarm_flags": row.alarm,
        "status_flags": row.status,
        "mileage": row.mileage,
    }


def _place(after: str) -> tuple[float, int] | None:
    if not after:
        return None
    try:
        moment, _, number = after.rpartition("-")
        return float(moment), int(number)
    except ValueError:
        raise Problem(400, "after is not the `next` of a page.", code="bad_query") from None
