"""The API's audit: who did what, in pages or as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core.audit import Audit
from relay.core.events import iso_time
from relay.identity import phone_key
from relay.store.audit import AuditFilter, AuditRow
from relay.web.models import WORDS, After, Limit, Query
from relay.web.names import is_number
from relay.web.router import Answer, Call, Permission, Route
from relay.web.times import Time, row_number, unix_time

EXPORT_MAX = 100_000  #: rows of one export, some 20 MB; the answer says where the next one begins

Text = Annotated[str, Meta(max_length=200, pattern=WORDS)]


class _Which(Query):
    """Which rows."""

    who: Text = ""
    action: Text = ""
    subject: Annotated[Text, Meta(description="A terminal's number finds its channels too.")] = ""
    start: Time = msgspec.field(name="from", default="")
    end: Time = msgspec.field(name="to", default="")


class AuditQuery(_Which):
    """A page of them."""

    limit: Limit = 100
    after: After = ""


class ExportQuery(_Which):
    """All of them, as a file."""

    format: Literal["csv", "json"] = "csv"
    after: Annotated[str, Meta(max_length=20, description="X-Next of the export before.")] = ""


class AuditView(msgspec.Struct):
    """One row."""

    id: int
    time: str
    who: str
    action: str
    subject: str
    detail: str
    address: str
    bytes: int


class AuditList(msgspec.Struct):
    """One page, newest first."""

    items: list[AuditView]
    total: int
    next: str | None = None


class AuditApi:
    """Handlers and their routes."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        yield Route(
            method="GET", path="/api/v1/audit", handler=self.list, permission=Permission.ADMIN, query=AuditQuery, answer=AuditList, tag="audit",
            summary="Who watched, spoke, commanded, fetched or changed what", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="GET", path="/api/v1/audit/export", handler=self.export, permission=Permission.ADMIN, query=ExportQuery, tag="audit",
            content_type="text/csv", also=("application/json",), summary="The audit as a file, CSV or JSON", errors=(503,),
        )  # fmt: skip

    async def list(self, call: Call) -> dict[str, Any]:
        """One page."""
        query: AuditQuery = call.query
        rows, total = await self._audit.page(_filter(query), query.limit + 1, row_number(query.after))
        page = rows[: query.limit]
        return {"items": [_view(*row) for row in page], "total": total, "next": str(page[-1][0]) if len(rows) > query.limit else None}

    async def export(self, call: Call) -> Answer:
        """A file."""
        query: ExportQuery = call.query
        rows = await self._audit.rows(_filter(query), EXPORT_MAX + 1, row_number(query.after))
        page = rows[:EXPORT_MAX]
        headers = {"Content-Disposition": f'attachment; filename="audit.{query.format}"'}
        if len(rows) > EXPORT_MAX:
            headers["X-Next"] = str(page[-1][0])
        views = [_view(*row) for row in page]
        if query.format == "json":
            return Answer(msgspec.json.encode(views), headers=headers)
        return Answer(as_csv(list(AuditView.__struct_fields__), views), "text/csv; charset=utf-8", headers=headers)


def as_csv(columns: list[str], rows: Iterable[dict[str, Any]]) -> bytes:
    """CSV as spreadsheets read it: with a mark for UTF-8, and no cell that they would take for a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(row[column]) for column in columns])
    return b"\xef\xbb\xbf" + text.getvalue().encode("utf-8")


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else "" if value is None else value


def _filter(query: AuditQuery | ExportQuery) -> AuditFilter:
    subject = phone_key(query.subject) if is_number(query.subject) else query.subject
    return AuditFilter(query.who, query.action, subject, unix_time(query.start, "from"), unix_time(query.end, "to"))


def _view(number: int, row: AuditRow) -> dict[str, Any]:
    return {"id": number, **row._asdict(), "time": iso_time(row.time)}
