"""The API's traffic: what terminals' data is spent on, budgets, and views that go on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from relay.core.audit import Audit
from relay.core.budget import WORDS as LEVELS
from relay.core.budget import Budget
from relay.core.views import Views
from relay.store.traffic import BudgetRow
from relay.web.models import PageQuery, Query
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route

DAYS_MAX = 400

Day = Annotated[str, Meta(max_length=10, description="A day of GMT+8: 2026-11-29.")]
Size = Annotated[int, Meta(ge=0, le=2**62, description="0 = as much as it likes; null = as the configuration says.")]


class UsageView(msgspec.Struct):
    """What a terminal has spent."""

    sim: str
    level: str  #: "ok", "warn", "sub", "spent"
    day_bytes: int
    day_budget: int | None
    month_bytes: int
    month_budget: int | None


class UsageList(msgspec.Struct):
    """One page, by number."""

    items: list[UsageView]
    total: int
    next: str | None = None


class TrafficQuery(Query):
    """Which days; by default the last 31."""

    first: Day = msgspec.field(name="from", default="")
    last: Day = msgspec.field(name="to", default="")


class TrafficView(msgspec.Struct):
    """Bytes of one day, channel and purpose."""

    day: str
    channel: int  #: 0 = signalling, files
    purpose: str
    bytes: int


class TrafficList(msgspec.Struct):
    """What it was spent on."""

    usage: UsageView
    items: list[TrafficView]
    total: int
    bytes: int
    next: str | None = None


class BudgetChange(msgspec.Struct, forbid_unknown_fields=True):
    """A budget of its own."""

    day_bytes: Size | None = None
    month_bytes: Size | None = None


class TrafficApi:
    """Handlers and their routes."""

    def __init__(self, budget: Budget, views: Views | None, names: Names, audit: Audit | None) -> None:
        self._budget = budget
        self._views = views
        self._names = names
        self._audit = audit

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        one = "/api/v1/terminals/{sim}"
        yield Route(
            method="GET", path="/api/v1/traffic", handler=self.all, permission=Permission.VIEWER, query=PageQuery, answer=UsageList, tag="traffic",
            summary="What every terminal has spent today and this month", scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{one}/traffic", handler=self.one, permission=Permission.VIEWER, query=TrafficQuery, answer=TrafficList, tag="traffic",
            summary="What a terminal's data was spent on, by day, channel and purpose", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="PUT", path=f"{one}/budget", handler=self.set, permission=Permission.OPERATOR, body=BudgetChange, answer=UsageView, tag="traffic",
            summary="Give a terminal a data budget of its own, or take it away", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="POST", path="/api/v1/views/{secret}/continue", handler=self.go_on, permission=Permission.PUBLIC, status=204, tag="traffic",
            summary="Somebody is still watching: the address is the one the player was told",
        )  # fmt: skip

    async def _sim(self, call: Call) -> str:
        name = call.path["sim"]
        sim = await self._names.sim(name)
        if sim is None:
            raise Problem(404, f"Terminal {name} is not known.", code="unknown_terminal")
        return sim

    def _usage(self, sim: str) -> dict[str, Any]:
        usage = self._budget.usage(sim)
        day, month = self._budget.limits(sim)
        return {
            "sim": sim, "level": LEVELS[usage.level], "day_bytes": usage.day, "day_budget": day or None, "month_bytes": usage.month,
            "month_budget": month or None,
        }  # fmt: skip

    def all(self, call: Call) -> dict[str, Any]:
        """One page."""
        query: PageQuery = call.query
        sims = sorted(sim for sim, _ in self._budget.usages() if call.sees(sim))
        start = bisect_right(sims, query.after) if query.after else 0
        page = sims[start : start + query.limit]
        return {"items": [self._usage(sim) for sim in page], "total": len(sims), "next": page[-1] if start + query.limit < len(sims) else None}

    async def one(self, call: Call) -> dict[str, Any]:
        """All of some days."""
        query: TrafficQuery = call.query
        sim = await self._sim(call)
        last = _day(query.last, "to") or _date(self._budget.today())
        first = _day(query.first, "from") or last - timedelta(days=30)
        if (last - first).days > DAYS_MAX:
            raise Problem(400, f"More than {DAYS_MAX} days.", code="bad_query")
        rows = await self._budget.rows(sim, _number(first), _number(last))
        items = [{"day": _date(row.day).isoformat(), "channel": row.channel, "purpose": row.purpose, "bytes": row.bytes} for row in rows]
        return {"usage": self._usage(sim), "items": items, "total": len(items), "bytes": sum(row.bytes for row in rows), "next": None}

    async def set(self, call: Call) -> dict[str, Any]:
        """A terminal's own."""
        change: BudgetChange = call.body
        sim = await self._sim(call)
        await self._budget.set(BudgetRow(sim, change.day_bytes, change.month_bytes))
        if self._audit is not None:
            detail = f"data budget: {change.day_bytes} bytes a day, {change.month_bytes} a month"
            self._audit.record(call.principal.name, "terminal", sim, detail, call.request.address)
        return self._usage(sim)

    def go_on(self, call: Call) -> None:
        """It does not end yet."""
        if self._views is None or not self._views.go_on(call.path["secret"]):
            raise Problem(404, "That view is over, or goes on already.", code="unknown_view")


def _number(day: date) -> int:
    return day.year * 10000 + day.month * 100 + day.day


def _date(number: int) -> date:
    return date(number // 10000, number // 100 % 100, number % 100)


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Problem(400, f"{name} is no day: {text}.", code="bad_query", hint="Write 2026-11-29.") from None
