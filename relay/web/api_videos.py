"""The API of recordings that the relay makes: what is recorded now, the files, and beginning and ending by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from twisted.internet.defer import succeed

from relay.core.events import BEIJING, iso_time
from relay.core.videos import RecordError, Videos
from relay.store.videos import VideoRow
from relay.web.api_stored import Record, known_sim
from relay.web.connection import SinkMaker
from relay.web.files import InThread, send_file
from relay.web.models import PageQuery
from relay.web.models_stored import Time
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route

FAR = 4e9  #: UNIX seconds: later than any recording


class VideoQuery(PageQuery, kw_only=True):
    """Which files."""

    sim: Annotated[str, Meta(max_length=64, description="Of this terminal.")] = ""
    channel: Annotated[int, Meta(ge=0, le=255, description="Of this channel; 0 = all.")] = 0
    start_time: Time | None = None
    end_time: Time | None = None


class VideoView(msgspec.Struct):
    """One file. ``growing``: it is being written, and plays up to where it is."""

    id: str
    sim: str
    channel: int
    start_time: str
    end_time: str | None
    seconds: float
    bytes: int
    video: str
    width: int
    height: int
    audio: str
    why: str
    growing: bool


class VideoList(msgspec.Struct):
    """Files, oldest first."""

    items: list[VideoView]
    total: int
    next: str | None = None


class RecordingView(msgspec.Struct):
    """A channel that is recorded, or is to be."""

    sim: str
    channel: int
    state: str
    why: str
    since: str
    bytes: int
    seconds_left: int | None
    problem: str
    video: str


class RecordingList(msgspec.Struct):
    """All of them."""

    items: list[RecordingView]
    total: int
    next: str | None = None


class RecordStart(msgspec.Struct, forbid_unknown_fields=True):
    """How long to record."""

    seconds: Annotated[float, Meta(ge=0, le=86400, description="0 = until it is stopped. Again while it records: so long from now.")] = 0


def record_problem(error: RecordError) -> Problem:
    """As an answer."""
    return Problem(503, f"{error.message}.", code=error.code)


class VideoApi:
    """Handlers and their routes."""

    def __init__(
        self, videos: Videos, names: Names, sinks: SinkMaker, in_thread: InThread, record: Record, wall: Callable[[], float]
    ) -> None:
        self._videos = videos
        self._names = names
        self._sinks = sinks
        self._in_thread = in_thread
        self._record = record
        self._wall = wall

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        channel, one = "/api/v1/terminals/{sim}/channels/{channel:int}/record", "/api/v1/videos/{id}"
        viewer, operator, tag = Permission.VIEWER, Permission.OPERATOR, "recordings of the relay"
        yield Route(
            method="POST", path=channel, handler=self.start, permission=operator, body=RecordStart, body_optional=True, answer=RecordingView,
            tag=tag, summary="Record a channel here", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="DELETE", path=channel, handler=self.stop, permission=operator, status=204, tag=tag,
            summary="Record it no more; what a [[record]] of the configuration wants goes on", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="GET", path="/api/v1/records", handler=self.recordings, permission=viewer, answer=RecordingList, tag=tag, scope="filtered",
            summary="What is recorded now",
        )  # fmt: skip
        yield Route(
            method="GET", path="/api/v1/videos", handler=self.list, permission=viewer, query=VideoQuery, answer=VideoList, tag=tag,
            scope="filtered", summary="Recorded files that overlap a span, oldest first", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="GET", path=one, handler=self.get, permission=viewer, answer=VideoView, tag=tag, scope="filtered", summary="One file", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{one}/file", handler=self.file, permission=viewer, tag=tag, scope="filtered", content_type="video/mp4",
            summary="The file, with ranges", errors=(416, 503), any_query=True,
        )  # fmt: skip
        yield Route(
            method="DELETE", path=one, handler=self.remove, permission=operator, status=204, tag=tag, scope="filtered", summary="Delete a file",
            errors=(409, 503),
        )  # fmt: skip

    async def start(self, call: Call) -> dict[str, Any]:
        """Begin, or go on."""
        sim, channel, who = await known_sim(self._names, call), int(call.path["channel"]), call.principal.name
        try:
            await (self._videos.start(sim, channel, call.body.seconds, who) or succeed(None))
        except RecordError as problem:
            raise record_problem(problem) from None
        self._record(who, "record", f"{sim}_{channel}", f"for {call.body.seconds:g} s" if call.body.seconds else "until it is stopped", call.request.address)
        recording = self._videos.get(sim, channel)
        assert recording is not None  # noqa: S101 - it was just begun
        return recording.as_dict()

    async def stop(self, call: Call) -> None:
        """End what people wanted."""
        sim, channel = await known_sim(self._names, call), int(call.path["channel"])
        if not self._videos.stop(sim, channel):
            recording = self._videos.get(sim, channel)
            hint = f"It is recorded by {recording.why}: the configuration says so." if recording is not None else ""
            raise Problem(404, f"Nobody records channel {channel} of {sim} by hand.", code="not_recording", hint=hint)
        self._record(call.principal.name, "record", f"{sim}_{channel}", "stopped", call.request.address)

    def recordings(self, call: Call) -> dict[str, Any]:
        """Now."""
        items = [each.as_dict() for each in self._videos if call.sees(each.sim)]
        return {"items": items, "total": len(items), "next": None}

    async def list(self, call: Call) -> dict[str, Any]:
        """One page."""
        query: VideoQuery = call.query
        sim = (await self._names.sim(query.sim) or query.sim) if query.sim else ""
        after = None
        if query.after:
            began, _, ident = query.after.partition("_")
            try:
                after = float(began), ident
            except ValueError:
                raise Problem(400, "That is no `next` of a page.", code="bad_query") from None
        start, end = _unix(query.start_time, 0.0), _unix(query.end_time, FAR)
        rows, total = await self._videos.rows.page(sim, query.channel, start, end, query.limit, after)
        more = f"{rows[-1].began!r}_{rows[-1].id}" if len(rows) == query.limit else None
        if call.principal.groups:
            rows = [row for row in rows if call.sees(row.key)]
            total = len(rows)
        return {"items": [self._view(row) for row in rows], "total": total, "next": more}

    def _view(self, row: VideoRow) -> VideoView:
        recording = self._videos.get(row.key, row.channel)
        growing = recording is not None and recording.file_id == row.id
        seconds = recording.file.seconds if growing and recording is not None and recording.file is not None else row.duration
        end = None if growing else iso_time(row.began + row.duration)
        return VideoView(
            row.id, row.key, row.channel, iso_time(row.began), end, round(seconds, 3), row.bytes, row.video, row.width, row.height, row.audio, row.why, growing
        )

    async def _known(self, call: Call) -> VideoRow:
        row = await self._videos.rows.get(call.path["id"])
        if row is None or not call.sees(row.key):
            raise Problem(404, f"There is no video {call.path['id']}.", code="unknown_video", hint="GET /api/v1/videos lists them.")
        return row

    async def get(self, call: Call) -> VideoView:
        """One."""
        return self._view(await self._known(call))

    async def file(self, call: Call) -> Any:
        """Its bytes."""
        row = await self._known(call)
        local = datetime.fromtimestamp(row.began, UTC).astimezone(BEIJING)
        name = f"{row.key}_{row.channel}_{local:%Y%m%d-%H%M%S}.mp4"
        who, address = call.principal.name, call.request.address

        def over(size: int) -> None:
            self._record(who, "download", f"{row.key}_{row.channel}", f"video {row.id}", address, size)

        tag = row.id if row.complete else ""
        return await send_file(call, self._sinks, self._in_thread, self._videos.directory / row.path, "video/mp4", name, tag, over)

    async def remove(self, call: Call) -> None:
        """Delete."""
        row = await self._known(call)
        if self._view(row).growing:
            raise Problem(409, "It is being recorded.", code="growing", hint="Stop recording the channel first.")
        await self._videos.remove(row)
        self._record(call.principal.name, "delete", f"{row.key}_{row.channel}", f"video {row.id}", call.request.address)


def _unix(time: datetime | None, otherwise: float) -> float:
    if time is None:
        return otherwise
    return (time if time.tzinfo is not None else time.replace(tzinfo=BEIJING)).timestamp()
