"""The API's alarms: what happened, with begin and end, who has seen it, and the files that belong to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core.alarms import Alarms
from relay.core.audit import Audit
from relay.core.events import iso_time
from relay.store.alarms import AlarmFilter, AlarmRow
from relay.web.models import WORDS, Limit, Query
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route
from relay.web.times import Time, unix_time

Kind = Literal[
    "terminal", "video", "storage", "behaviour", "adas", "dsm", "tpms", "bsd", "passenger", "driving", "overspeed",
]  # fmt: skip


class AlarmQuery(Query):
    """Which alarms."""

    sim: Annotated[str, Meta(max_length=64, description="Number, plate or alias of a terminal.")] = ""
    kind: Kind | None = None
    code: Annotated[int, Meta(ge=0, le=255)] | None = None
    level: Annotated[int, Meta(ge=0, le=2, description="At least.")] = 0
    open: Annotated[bool | None, Meta(description="Only those that last, or those that are over.")] = None
    acknowledged: bool | None = None
    files: Annotated[bool | None, Meta(description="Only those with files, or without.")] = None
    start: Time = msgspec.field(name="from", default="")
    end: Time = msgspec.field(name="to", default="")
    limit: Limit = 100
    after: Annotated[str, Meta(max_length=40, description="`next` of the page before.")] = ""


class AlarmView(msgspec.Struct):
    """One alarm."""

    id: str
    sim: str
    name: str
    kind: str
    code: int
    channel: int
    level: int
    began: str
    ended: str | None
    received: str
    late: bool
    latitude: float
    longitude: float
    speed: float
    files: int
    files_state: str
    detail: dict[str, Any]
    acknowledged_at: str | None
    acknowledged_by: str
    note: str


class AlarmList(msgspec.Struct):
    """One page, the last to arrive first."""

    items: list[AlarmView]
    total: int
    next: str | None = None


class Acknowledgement(msgspec.Struct, forbid_unknown_fields=True):
    """Somebody has seen it."""

    note: Annotated[str, Meta(max_length=500, pattern=WORDS)] = ""


class AlarmApi:
    """Handlers and their routes."""

    def __init__(self, alarms: Alarms, names: Names, audit: Audit | None) -> None:
        self._alarms = alarms
        self._names = names
        self._audit = audit

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        base, one = "/api/v1/alarms", "/api/v1/alarms/{id}"
        yield Route(
            method="GET", path=base, handler=self.list, permission=Permission.VIEWER, query=AlarmQuery, answer=AlarmList, tag="alarms",
            summary="Alarms of terminals", errors=(404, 503), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path=one, handler=self.get, permission=Permission.VIEWER, answer=AlarmView, tag="alarms", summary="One alarm", errors=(503,),
            scope="filtered",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/acknowledge", handler=self.acknowledge, permission=Permission.OPERATOR, body=Acknowledgement, body_optional=True,
            answer=AlarmView, tag="alarms", summary="Say that an alarm was seen", errors=(503,), scope="filtered",
        )  # fmt: skip

    async def list(self, call: Call) -> dict[str, Any]:
        """One page."""
        query: AlarmQuery = call.query
        key = ""
        if query.sim:
            key = await self._names.sim(query.sim) or ""
            if not key or not call.sees(key):
                raise Problem(404, f"Terminal {query.sim} is not known.", code="unknown_terminal")
        wanted = AlarmFilter(
            key, query.kind or "", query.code, query.level, query.open, query.acknowledged, query.files, unix_time(query.start, "from"),
            unix_time(query.end, "to"), call.principal.groups,
        )  # fmt: skip
        rows, total = await self._alarms.page(wanted, query.limit + 1, query.after)
        page = rows[: query.limit]
        return {"items": [alarm_view(row) for row in page], "total": total, "next": page[-1].id if len(rows) > query.limit else None}

    async def get(self, call: Call) -> dict[str, Any]:
        """One alarm."""
        return alarm_view(await find_alarm(self._alarms, call))

    async def acknowledge(self, call: Call) -> dict[str, Any]:
        """Note who saw it first, and what they wrote last."""
        who = call.principal.name
        await find_alarm(self._alarms, call)
        row = await self._alarms.acknowledge(call.path["id"], who, call.body.note)
        if row is None:
            raise unknown_alarm(call)
        if self._audit is not None:
            self._audit.record(who, "alarm", row.key, f"alarm {row.id} acknowledged: {row.name}", call.request.address)
        return alarm_view(row)


async def find_alarm(alarms: Alarms, call: Call) -> AlarmRow:
    """The alarm that the address names."""
    row = await alarms.get(call.path["id"])
    if row is None or not call.sees(row.key):
        raise unknown_alarm(call)
    return row


def unknown_alarm(call: Call) -> Problem:
    """There is none."""
    return Problem(404, f"There is no alarm {call.path['id']}.", code="unknown_alarm", hint="GET /api/v1/alarms lists them; old ones are deleted.")


def alarm_view(row: AlarmRow) -> dict[str, Any]:
    """What the API tells of an alarm."""
    return {
        "id": row.id,
        "sim": row.key,
        "name": row.name,
        "kind": row.kind,
        "code": row.code,
        "channel": row.channel,
        "level": row.level,
        "began": iso_time(row.began),
        "ended": iso_time(row.ended) if row.ended is not None else None,
        "received": iso_time(row.received),
        "late": row.late,
        "latitude": row.latitude,
        "longitude": row.longitude,
        "speed": row.speed,
        "files": row.files_told,
        "files_state": row.files_state,
        "detail": row.detail,
        "acknowledged_at": iso_time(row.acknowledged_at) if row.acknowledged_at is not None else None,
        "acknowledged_by": row.acknowledged_by,
        "note": row.note,
    }
