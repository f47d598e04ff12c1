"""The API's attachments: the files of an alarm, and fetching them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import msgspec

from relay.core.alarms import Alarms
from relay.core.attachment_files import CONTENT_TYPES
from relay.core.attachments import Attachments
from relay.core.audit import Audit
from relay.core.events import iso_time
from relay.store.alarm_files import FileRow
from relay.web.api_alarms import find_alarm
from relay.web.problem import Problem
from relay.web.router import Answer, Call, Permission, Route

_HARMLESS = re.compile(r"[^A-Za-z0-9._-]")


class AlarmFileView(msgspec.Struct):
    """One file."""

    id: str
    name: str  #: as the terminal calls it
    kind: str
    channel: int
    size: int
    received: int  #: bytes that are here
    state: str  #: "partial", "complete", "refused"
    sha256: str
    content_type: str
    created: str
    url: str  #: empty until it is complete


class AlarmFileList(msgspec.Struct):
    """The files of an alarm."""

    items: list[AlarmFileView]
    total: int
    state: str  #: of all of them: "", "queued", "asked", "coming", "complete", "partial", "failed"
    next: str | None = None


class AttachmentApi:
    """Handlers and their routes."""

    def __init__(self, attachments: Attachments, alarms: Alarms, audit: Audit | None) -> None:
        self._attachments = attachments
        self._alarms = alarms
        self._audit = audit

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        base = "/api/v1/alarms/{id}/files"
        yield Route(
            method="GET", path=base, handler=self.list, permission=Permission.VIEWER, answer=AlarmFileList, tag="alarms",
            summary="Files that belong to an alarm", errors=(503,), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{base}/fetch", handler=self.fetch, permission=Permission.OPERATOR, answer=AlarmFileList, status=202, tag="alarms",
            summary="Ask the terminal for an alarm's files (0x9208)", errors=(409, 503), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{base}/{{file}}", handler=self.download, permission=Permission.VIEWER, tag="alarms",
            content_type="application/octet-stream", also=CONTENT_TYPES, summary="One of them", errors=(409, 503), scope="filtered",
        )  # fmt: skip

    async def list(self, call: Call) -> dict[str, Any]:
        """All of them."""
        alarm = await find_alarm(self._alarms, call)
        rows = await self._attachments.of_alarm(alarm.id)
        return {"items": [_view(row) for row in rows], "total": len(rows), "state": alarm.files_state, "next": None}

    async def fetch(self, call: Call) -> dict[str, Any]:
        """Ask for them now."""
        alarm = await find_alarm(self._alarms, call)
        if alarm.sign is None:
            raise Problem(409, "Nothing belongs to this alarm.", code="no_files", hint="Only active-safety alarms have files.")
        if alarm.files_state == "complete":
            raise Problem(409, "They are all here already.", code="files_complete")
        self._attachments.again(alarm, call.principal.name)
        if self._audit is not None:
            self._audit.record(call.principal.name, "alarm", alarm.key, f"files of alarm {alarm.id} asked for: {alarm.name}", call.request.address)
        return await self.list(call)

    async def download(self, call: Call) -> Answer:
        """The content."""
        alarm = await find_alarm(self._alarms, call)
        row = next((row for row in await self._attachments.of_alarm(alarm.id) if row.id == call.path["file"]), None)
        if row is None:
            raise Problem(404, f"Alarm {alarm.id} has no file {call.path['file']}.", code="unknown_file")
        if row.state != "complete":
            raise Problem(409, f"The file is {row.state}: {received(row)} of {row.size} bytes are here.", code="file_incomplete")
        try:
            data = await self._attachments.content(row)
        except OSError as problem:
            raise Problem(503, f"The file cannot be read: {problem.strerror}.", code="file_lost", hint="Somebody deleted it, or the disk fails.") from None
        if self._audit is not None and not call.head:
            self._audit.record(call.principal.name, "download", alarm.key, f"{row.name} of alarm {alarm.id}", call.request.address, row.size)
        plain = _HARMLESS.sub("_", row.name)[-100:] or row.id
        headers = {
            # never shown in place: what a terminal sent must not run as a page of ours
            "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(row.name.replace('/', '_'), safe='')}",
            "Cache-Control": "private, max-age=3600",
            "ETag": f'"{row.sha256[:32]}"',
        }
        return Answer(data, row.content_type, headers=headers)


def received(row: FileRow) -> int:
    """Bytes that are here."""
    return row.size if row.state == "complete" else sum(end - start for start, end in row.ranges)


def _view(row: FileRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "channel": row.channel,
        "size": row.size,
        "received": received(row),
        "state": row.state,
        "sha256": row.sha256,
        "content_type": row.content_type,
        "created": iso_time(row.created),
        "url": f"/api/v1/alarms/{row.alarm}/files/{row.id}" if row.state == "complete" else "",
    }
