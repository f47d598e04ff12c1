"""The API's message inspector: what passes on the links, decoded field by field, over a WebSocket or as Server-Sent Events while somebody looks.

    {"id": 7, "time": "…", "protocol": "jt808", "direction": "in", "subject": "13800138000", "peer": "…", "transport": "tcp", "link": "", "bytes": 51,
     "message": {"id": "0x0200", "name": "位置信息汇报", "english": "location report"}, "rows": [{"offset": 0, "bytes": "0200", "name": "msg_id", …}],
     "notes": [], "problem": "", "raw": "0200…", "skipped": 0}

``raw`` is the frame without flags and escapes; secrets are stars in it and in their rows. ``skipped``: messages that were wanted and left out since the one
before, because more passed than is decoded a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core.audit import Audit
from relay.core.inspector import Inspector, TooManyWatchersError, Wanted
from relay.settings import Http
from relay.web.connection import SinkMaker
from relay.web.feed import Feeds
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import TAKEN, Call, Headers, Permission, Route


class InspectorQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What to look at; without anything, everything."""

    sim: Annotated[str, Meta(max_length=64, description="Of this terminal, by any of its names.")] = ""
    superior: Annotated[str, Meta(max_length=64, description="Of this superior platform.")] = ""
    protocol: Annotated[str, Meta(pattern="^(jt808|jt809|jt1078)?(,(jt808|jt809|jt1078))*$", description="Parted by commas.")] = ""
    direction: Literal["", "in", "out"] = ""
    message: Annotated[str, Meta(pattern="^(0[xX])?[0-9A-Fa-f]{4}$|^$", description="Message id, hexadecimal: 0x0200, 0x1202.")] = ""


class InspectorApi(Feeds):
    """The route's handler."""

    def __init__(self, inspector: Inspector, names: Names, settings: Http, headers: Headers, sinks: SinkMaker, audit: Audit | None) -> None:
        super().__init__(settings, headers)
        self._inspector = inspector
        self._names = names
        self._sinks = sinks
        self._audit = audit

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        yield Route(
            method="GET", path="/api/v1/inspector", handler=self.handle, permission=Permission.OPERATOR, query=InspectorQuery, tag="inspector",
            scope="filtered", content_type="text/event-stream", errors=(404, 405, 503),
            summary="Messages of JT/T 808, 809 and 1078 as they pass, decoded: Server-Sent Events, or a WebSocket with an upgrade",
        )  # fmt: skip

    async def handle(self, call: Call) -> Any:
        """Begin to look."""
        query: InspectorQuery = call.query
        request = call.request
        head, feed = self.made(call)
        subject = f"superior:{query.superior}" if query.superior else ""
        if query.sim:
            subject = await self._names.sim(query.sim) or ""
            if not subject or not call.sees(subject):
                raise Problem(404, f"Terminal {query.sim} is not known.", code="unknown_terminal")
        wanted = Wanted(
            subject, frozenset(filter(None, query.protocol.split(","))), int(query.message or "0", 16), query.direction,
            call.sees if call.principal.groups else None,
        )  # fmt: skip
        try:
            stop = self._inspector.watch(wanted, lambda told: feed.tell({"event": "message", **told}))
        except TooManyWatchersError as problem:
            raise Problem(503, f"{problem}.", code="too_many_listeners", hint="Close other pages.") from None
        if self._audit is not None:  # before the connection is taken over: the request knows no address then
            self._audit.record(call.principal.name, "inspect", subject or "everything", query.protocol or "all protocols", request.address)
        feed.begin(request, self._sinks, head)
        self.keep(feed, call.principal.name, stop)
        return TAKEN
