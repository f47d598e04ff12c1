"""The API's streams: what runs, who watches, and the end of either."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from relay.core.events import iso_time
from relay.core.quality import Quality
from relay.hub.registry import Registry
from relay.hub.stats import ViewerStats
from relay.hub.stream import Stream
from relay.identity import StreamKey
from relay.web.models import PageQuery, StreamList, StreamView, ViewerList
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route


class StreamApi:
    """Handlers and their routes. ``stop`` ends a stream for good: the terminal is told."""

    def __init__(
        self, hub: Registry, wall: Callable[[], float], stop: Callable[[StreamKey, str], Any], quality: Callable[[Stream], Quality | None]
    ) -> None:
        self._hub = hub
        self._quality = quality
        self._wall = wall
        self._stop = stop

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        base, one = "/api/v1/streams", "/api/v1/streams/{id}"
        viewer, operator = Permission.VIEWER, Permission.OPERATOR
        yield Route(
            method="GET", path=base, handler=self.list, permission=viewer, query=PageQuery, answer=StreamList, tag="streams", scope="filtered",
            summary="What runs",
        )  # fmt: skip
        yield Route(
            method="GET", path=one, handler=self.get, permission=viewer, answer=StreamView, tag="streams", summary="One stream", scope="filtered",
        )  # fmt: skip
        yield Route(
            method="DELETE", path=one, handler=self.end, permission=operator, status=204, tag="streams", scope="filtered",
            summary="End a stream: viewers are closed, the terminal is told to stop",
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{one}/viewers", handler=self.viewers, permission=viewer, answer=ViewerList, tag="streams", scope="filtered",
            summary="Who watches",
        )  # fmt: skip
        yield Route(
            method="DELETE", path=f"{one}/viewers/{{viewer}}", handler=self.kick, permission=operator, status=204, tag="streams", scope="filtered",
            summary="Close one viewer",
        )  # fmt: skip

    def _find(self, call: Call) -> Stream:
        name = call.path["id"]
        for stream in self._hub.streams():
            if not call.sees(stream.key.sim):
                continue
            if str(stream.key) == name or (stream.key.kind != "live" and stream.key.id == name):
                return stream
        raise Problem(404, f"There is no stream {name}.", code="unknown_stream", hint="GET /api/v1/streams lists what runs.")

    def list(self, call: Call) -> dict[str, Any]:
        """One page, by id."""
        query: PageQuery = call.query
        streams = {str(stream.key): stream for stream in self._hub.streams() if call.sees(stream.key.sim)}
        names = sorted(streams)
        start = bisect_right(names, query.after) if query.after else 0
        page = names[start : start + query.limit]
        more = start + query.limit < len(names)
        return {"items": [self.view(streams[name]) for name in page], "total": len(names), "next": page[-1] if more else None}

    def view(self, stream: Stream) -> dict[str, Any]:
        """What the API tells of a stream."""
        key, source, video, audio = stream.key, stream.source, stream.video, stream.audio
        told = asdict(stream.stats())
        quality = self._quality(stream)
        told.update(
            id=str(key),
            sim=key.sim,
            channel=key.channel,
            kind=key.kind,
            state=stream.state.value,
            requested=stream.requested,
            peer=source.peer if source is not None else "",
            transport=source.transport if source is not None else "",
            video=None if video is None else {"codec": video.codec, "width": video.width, "height": video.height, "rfc6381": video.rfc6381},
            audio=None if audio is None else {"codec": audio.codec, "sample_rate": audio.sample_rate, "channels": audio.channels},
            since=self._time(stream.opened),
            transcodes=[cost._asdict() for cost in stream.transcodes()],
            quality=None if quality is None else {"score": quality.score, "causes": [cause._asdict() for cause in quality.causes()]},
        )
        return told

    def get(self, call: Call) -> dict[str, Any]:
        """One stream."""
        return self.view(self._find(call))

    def end(self, call: Call) -> Any:
        """End it."""
        return self._stop(self._find(call).key, f"ended by {call.principal.name}")

    def viewers(self, call: Call) -> dict[str, Any]:
        """Who watches."""
        viewers = [self._viewer(stats) for stats in self._find(call).viewers()]
        return {"items": viewers, "total": len(viewers), "next": None}

    def _viewer(self, stats: ViewerStats) -> dict[str, Any]:
        told = asdict(stats)
        joined, first = told.pop("joined"), told.pop("first_byte")
        told["since"] = self._time(joined)
        told["first_byte_ms"] = round((first - joined) * 1000) if first else None
        return told

    def _time(self, monotonic: float) -> str:
        return iso_time(self._wall() - (self._hub.clock.seconds() - monotonic))

    def kick(self, call: Call) -> None:
        """Close one viewer."""
        number = call.path["viewer"]
        stream = self._find(call)
        if not (number.isascii() and number.isdigit() and len(number) < 19 and stream.kick(int(number))):
            raise Problem(404, f"The stream has no viewer {number}.", code="unknown_viewer")
