"""The API's view of the relay itself: status, health, metrics, its own description."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from relay.core.events import iso_time
from relay.core.live import Live
from relay.core.terminals import Terminals
from relay.hub.registry import Registry
from relay.settings import Settings
from relay.web.metrics import Metrics
from relay.web.models import Health, HttpCounts, MergeView, Status, StreamCounts, TerminalCounts
from relay.web.router import Answer, Call, Permission, Route
from relay.web.server import Site


class RelayApi:
    """Handlers and their routes. ``problems`` gives, in words, what keeps the relay from doing its work; an empty list means ready."""

    def __init__(
        self,
        settings: Settings,
        version: str,
        demo: bool,
        hub: Registry,
        terminals: Terminals,
        live: Live,
        metrics: Metrics,
        problems: Callable[[], list[str]],
        wall: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._version = version
        self._demo = demo
        self._hub = hub
        self._terminals = terminals
        self._live = live
        self._metrics = metrics
        self._problems = problems
        self._wall = wall
        self._began = hub.clock.seconds()
        self.site: Site | None = None  #: set when it is made, since it is made of this table
        self.feeds: Callable[[], int] = lambda: 0
        self.failures: Callable[[], int] = lambda: 0
        self.document: Callable[[], dict[str, Any]] = dict

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        yield Route(
            method="GET", path="/api/v1/status", handler=self.status, permission=Permission.VIEWER, answer=Status, tag="relay", scope="any",
            summary="The relay at a glance",
        )  # fmt: skip
        yield Route(
            method="GET", path="/api/v1/openapi.json", handler=self.openapi, permission=Permission.VIEWER, tag="relay", scope="any",
            summary="This description",
        )  # fmt: skip
        yield Route(
            method="GET", path="/healthz", handler=self.health, permission=Permission.PUBLIC, answer=Health, tag="relay", any_query=True,
            summary="It lives",
        )  # fmt: skip
        yield Route(
            method="GET", path="/readyz", handler=self.ready, permission=Permission.PUBLIC, answer=Health, tag="relay", any_query=True,
            summary="It can do its work", errors=(503,),
        )  # fmt: skip
        if self._settings.metrics.enabled:
            yield Route(
                method="GET", path="/metrics", handler=self.metrics, permission=Permission.METRICS, tag="relay", any_query=True,
                content_type=self._metrics.content_type, summary="Figures for Prometheus",
            )  # fmt: skip

    def status(self, call: Call) -> Status:
        """Counts and states."""
        states = {"running": 0, "starting": 0, "lost": 0}
        viewers = bitrate = 0
        for stream in self._hub.streams():
            states[stream.state.value] = states.get(stream.state.value, 0) + 1
            stats = stream.stats()
            viewers += stats.viewers
            bitrate += stats.bitrate
        merge, site, now, problems = self._hub.merge, self.site, self._wall(), self._problems()
        uptime = self._hub.clock.seconds() - self._began
        return Status(
            version=self._version,
            demo=self._demo,
            time=iso_time(now),
            since=iso_time(now - uptime),
            uptime_s=round(uptime, 1),
            ready=not problems,
            problems=problems,
            map_tiles=self._settings.http.map_tiles,
            map_datum=self._settings.http.map_datum,
            role=call.principal.role,
            name=call.principal.name,
            terminals=TerminalCounts(self._terminals.online_count, sum(1 for _ in self._terminals.seen()), self._terminals.unregistered_count),
            streams=StreamCounts(states["running"], states["starting"], states["lost"], viewers, bitrate),
            merge=MergeView(merge.ms, merge.auto, merge.ladder[-1], round(merge.share, 3)),
            http=HttpCounts(
                connections=site.open if site else 0,
                requests=site.requests if site else 0,
                refused=site.refused if site else 0,
                slow=site.slow if site else 0,
                turned_away=site.turned_away if site else 0,
                feeds=self.feeds(),
                failures=self.failures(),
            ),
            counts={**self._terminals.counts, **{f"live: {what}": count for what, count in self._live.counts.items()}},
        )

    def openapi(self, call: Call) -> Any:
        """The document."""
        return self.document()

    def health(self, call: Call) -> Health:
        """Answering is all."""
        call.request.quiet = True
        return Health(True)

    def ready(self, call: Call) -> Any:
        """200 or 503 with what is wrong."""
        call.request.quiet = True
        problems = self._problems()
        if problems:
            return Answer(msgspec.json.encode(Health(False, problems)), status=503)
        return Health(True)

    def metrics(self, call: Call) -> Answer:
        """The exposition."""
        call.request.quiet = True
        return Answer(self._metrics.text(), self._metrics.content_type)
