"""Puts the web side together: one table of routes, one server, from the relay's parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from relay.core.accounts import AccountError, Accounts
from relay.core.alarms import Alarms
from relay.core.alias import Resolver
from relay.core.attachments import Attachments
from relay.core.audit import Audit
from relay.core.bridge import Bridge
from relay.core.budget import Budget
from relay.core.events import Events
from relay.core.hooks import Hooks, Permit
from relay.core.inspector import Inspector
from relay.core.link import RequestError
from relay.core.live import Live
from relay.core.live_failure import StartFailed
from relay.core.orders import Orders
from relay.core.other_stream import OtherStreams
from relay.core.playback import Playbacks
from relay.core.ptz import Ptz
from relay.core.push import Pushes
from relay.core.quality import QualityWatch
from relay.core.quirks import Quirks
from relay.core.quota import Quota
from relay.core.recordings import Recordings as Searches
from relay.core.superiors import Superiors
from relay.core.talk import Talks
from relay.core.terminals import Terminals
from relay.core.tokens import Signer
from relay.core.tracks import Tracks
from relay.core.uploads import UploadError, Uploads
from relay.core.videos import Videos
from relay.core.views import Views
from relay.errors import RelayError
from relay.hub.merge import Clock
from relay.hub.registry import Registry
from relay.settings import Settings
from relay.store.errors import StoreError
from relay.store.multimedia import MultimediaStore
from relay.web import openapi
from relay.web.api_accounts import AccountApi, account_problem
from relay.web.api_alarms import AlarmApi
from relay.web.api_attachments import AttachmentApi
from relay.web.api_audit import AuditApi
from relay.web.api_compat import CompatApi
from relay.web.api_hooks import HookApi
from relay.web.api_inspector import InspectorApi
from relay.web.api_live import LiveApi, start_problem
from relay.web.api_multimedia import MultimediaApi
from relay.web.api_orders import OrderApi, order_problem
from relay.web.api_positions import PositionApi
from relay.web.api_pushes import PushApi
from relay.web.api_quirks import QuirkApi
from relay.web.api_recordings import RecordingApi, Recordings
from relay.web.api_relay import RelayApi
from relay.web.api_srs import SrsApi
from relay.web.api_stored import Record, StoredApi, no_record
from relay.web.api_streams import StreamApi
from relay.web.api_superiors import SuperiorApi
from relay.web.api_talk import TalkApi
from relay.web.api_terminals import TerminalApi, request_problem, store_problem
from relay.web.api_traffic import TrafficApi
from relay.web.api_uploads import Convert, UploadApi, upload_problem
from relay.web.api_videos import VideoApi
from relay.web.auth import Authenticator
from relay.web.connection import SinkMaker
from relay.web.feed import EventFeed, EventQuery
from relay.web.files import InThread
from relay.web.groups import Groups
from relay.web.hls import Hls
from relay.web.many import Many
from relay.web.media import Media
from relay.web.metrics import STREAMS_MAX, Collector, Figures, Metrics
from relay.web.names import Names, Rows
from relay.web.pages import Page, Pages
from relay.web.pictures import Pictures
from relay.web.problem import Problem
from relay.web.router import Headers, Permission, Route, Router
from relay.web.server import Site
from relay.web.urls import PlayAddresses


@dataclass(frozen=True, slots=True)
class WebParts:
    """What the web side is made of; ``relay.app`` has all of it."""

    settings: Settings
    clock: Clock  #: monotonic
    wall: Callable[[], float]  #: seconds since 1970
    signer: Signer
    accounts: Accounts
    rows: Rows  #: ``store.terminals``
    terminals: Terminals
    resolver: Resolver
    hub: Registry
    live: Live
    searches: Searches
    playbacks: Playbacks
    orders: Orders
    ptz: Ptz
    talks: Talks
    quirks: Quirks
    events: Events
    sinks: SinkMaker  #: ``relay.net.sink.make_sink``
    version: str
    permit: Permit | None = None  #: ``core.hooks.Hooks.permit``
    quota: Quota | None = None  #: None: users have no limits
    hooks: Hooks | None = None
    demo: bool = False
    problems: Callable[[], list[str]] = list  #: what keeps the relay from doing its work, for ``/readyz``
    figures: Figures = field(default_factory=Figures)  #: more for ``/metrics``
    pages: dict[str, Page] | None = None  #: None: those of the package
    others: OtherStreams | None = None  #: None: no terminal is asked for its other stream
    inspector: Inspector | None = None
    recordings: Recordings | None = None  #: None: none can be made
    audit: Audit | None = None
    pushes: Pushes | None = None
    positions: Tracks | None = None
    superiors: Superiors | None = None  #: None: none are configured
    bridge: Bridge | None = None  #: what superiors have open; goes with ``superiors``
    alarms: Alarms | None = None
    uploads: Uploads | None = None
    videos: Videos | None = None
    in_thread: InThread | None = None  #: for files; goes with ``uploads`` and ``multimedia``
    convert: Convert | None = None  #: makes an MP4 of a file; goes with ``uploads``
    multimedia: MultimediaStore | None = None
    attachments: Attachments | None = None
    budget: Budget | None = None
    views: Views | None = None
    quality: QualityWatch | None = None


def translate(error: BaseException) -> Problem | None:
    """Errors of other parts as answers; None for a bug."""
    if isinstance(error, StartFailed):
        return start_problem(error)
    if isinstance(error, RequestError):
        return request_problem(error)
    if isinstance(error, AccountError):
        return account_problem(error)
    if isinstance(error, StoreError):
        return store_problem(error)
    if isinstance(error, UploadError):
        return upload_problem(error)
    return order_problem(error) if isinstance(error, RelayError) else None


class Web:
    """The web side. ``site`` is the factory for its listeners; ``close`` ends what is long-lived before the listeners' connections go."""

    def __init__(self, parts: WebParts) -> None:
        settings = parts.settings
        self._hub = parts.hub
        names = Names(parts.rows, parts.terminals, parts.resolver, parts.clock.seconds)
        self.authenticator = Authenticator(parts.signer, settings.metrics, settings.http, names, parts.wall, parts.accounts, parts.quota)
        headers = Headers(settings.http)
        self.feed = EventFeed(parts.events, settings.http, headers, parts.sinks)
        self.media = Media(parts.live.acquire, parts.playbacks.acquire, names, self.authenticator, parts.sinks, translate, parts.permit, parts.quota)
        self.media.other_stream = parts.others.ask if parts.others is not None else None
        self.many = Many(self.media, names, parts.sinks, translate, parts.wall)
        self.pictures = Pictures(self.media, parts.hub)
        self.hls = Hls(self.media, parts.clock)
        self.inspector: InspectorApi | None = None
        if parts.inspector is not None:
            self.inspector = InspectorApi(parts.inspector, names, settings.http, headers, parts.sinks, parts.audit)
        addresses = PlayAddresses(parts.signer, settings.http, settings.rtmp, settings.auth, parts.wall)
        self.live = LiveApi(parts.live, parts.hub, names, addresses, parts.signer, settings.auth, parts.clock, parts.wall)
        self.audit = parts.audit
        self.metrics = Metrics(Collector(parts.version, parts.hub, self._figures(parts)))
        self.relay = RelayApi(
            settings, parts.version, parts.demo, parts.hub, parts.terminals, parts.live, self.metrics, parts.problems, parts.wall
        )
        self.router = Router(
            [
                *Pages(headers, parts.pages).routes(),
                *self.relay.routes(),
                *AccountApi(parts.accounts, parts.signer, settings.auth, parts.wall, parts.audit).routes(),
                *TerminalApi(names, parts.rows, parts.terminals, parts.hub, parts.orders, parts.wall).routes(),
                *OrderApi(parts.orders, parts.ptz, names, lambda sim, what: parts.quirks.get(sim, f"vehicle.{what}")).routes(),
                *QuirkApi(parts.quirks, names, parts.audit).routes(),
                *TalkApi(parts.talks, names, addresses, parts.signer, settings.auth, settings.http, parts.sinks, parts.wall).routes(),
                *self.live.routes(),
                *StoredApi(parts.searches, parts.playbacks, names, addresses, self._record(parts)).routes(),
                *StreamApi(parts.hub, parts.wall, self.live.end, parts.quality.of if parts.quality is not None else lambda _: None).routes(),
                *(CompatApi(parts.hub, parts.wall, self.live.end).routes() if settings.http.compat in ("zlm", "both") else ()),
                *(SrsApi(parts.hub, parts.version, parts.wall, self.live.end).routes() if settings.http.compat in ("srs", "both") else ()),
                *SuperiorApi(parts.superiors, parts.bridge, parts.audit).routes(),
                *RecordingApi(parts.recordings, names, (one.name for one in settings.superior)).routes(),
                *(PushApi(parts.pushes, parts.signer, parts.wall, parts.audit).routes() if parts.pushes is not None else ()),
                *(HookApi(parts.hooks, parts.clock.seconds, parts.audit).routes() if parts.hooks is not None else ()),
                *(AuditApi(parts.audit).routes() if parts.audit is not None else ()),
                *(PositionApi(parts.positions, parts.terminals, names).routes() if parts.positions is not None else ()),
                *(AlarmApi(parts.alarms, names, parts.audit).routes() if parts.alarms is not None else ()),
                *self._upload_routes(parts, names),
                *self._video_routes(parts, names),
                *self._multimedia_routes(parts, names),
                *(
                    AttachmentApi(parts.attachments, parts.alarms, parts.audit).routes()
                    if parts.alarms is not None and parts.attachments is not None
                    else ()
                ),
                *(TrafficApi(parts.budget, parts.views, names, parts.audit).routes() if parts.budget is not None else ()),
                *self._feed_routes(),
                *(self.inspector.routes() if self.inspector is not None else ()),
                *self.media.routes(),
                *self.many.routes(),
                *self.hls.routes(),
                *self.pictures.routes(),
            ],
            self.authenticator,
            settings.http,
            translate,
            Groups(names),
        )
        self.site = Site(settings.http, parts.clock, self.router.handle)
        self.site.short = self.hls.short
        self.relay.site = self.site
        self.relay.feeds = self.feed.__len__
        self.relay.failures = lambda: self.router.failures
        document: dict[str, Any] = openapi.document(self.router.routes, parts.version)
        self.relay.document = lambda: document
        parts.accounts.on_taken_back.append(self.end_of)

    def end_of(self, name: str, why: str) -> None:
        """Somebody's account or token was taken back: what they watch ends."""
        self.feed.end_of(name)
        self.many.end_of(name)
        if self.inspector is not None:
            self.inspector.end_of(name)
        for stream in self._hub.streams():
            for viewer in stream.viewers():
                if viewer.who == name:
                    stream.kick(viewer.id)

    def _upload_routes(self, parts: WebParts, names: Names) -> Iterable[Route]:
        if parts.uploads is None or parts.in_thread is None or parts.convert is None:
            return ()
        return UploadApi(parts.uploads, names, parts.sinks, parts.in_thread, parts.convert, self._record(parts)).routes()

    def _video_routes(self, parts: WebParts, names: Names) -> Iterable[Route]:
        if parts.videos is None or parts.in_thread is None:
            return ()
        return VideoApi(parts.videos, names, parts.sinks, parts.in_thread, self._record(parts), parts.wall).routes()

    @staticmethod
    def _record(parts: WebParts) -> Record:
        return parts.audit.record if parts.audit is not None else no_record

    def _multimedia_routes(self, parts: WebParts, names: Names) -> Iterable[Route]:
        if parts.multimedia is None or parts.in_thread is None:
            return ()
        record = parts.audit.record if parts.audit is not None else lambda *_, **__: None
        return MultimediaApi(parts.multimedia, parts.orders, names, parts.sinks, parts.in_thread, record).routes()

    def _feed_routes(self) -> Iterable[Route]:
        yield Route(
            method="GET", path="/api/v1/events", handler=self.feed.handle, permission=Permission.VIEWER, query=EventQuery, tag="events", scope="filtered",
            content_type="text/event-stream", summary="What happens, as it happens: Server-Sent Events, or a WebSocket with an upgrade",
            errors=(405, 503),
        )  # fmt: skip

    def _figures(self, parts: WebParts) -> Figures:
        given, quota = parts.figures, parts.quota
        terminals = parts.terminals
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "terminals_online": ("Terminals that are online", lambda: terminals.online_count),
            "terminals_unregistered": ("JT/T 808 links that have not authenticated", lambda: terminals.unregistered_count),
            "talk_calls": ("Terminals in a call: talk, listening, broadcast", lambda: parts.talks.active),
            "live_channels": ("Live channels that are not idle", lambda: parts.live.active),
            "playbacks": ("Playback sessions that are not over", lambda: sum(1 for _ in parts.playbacks.running())),
            "http_connections": ("HTTP and WebSocket connections, viewers included", lambda: self.site.open),
            "hls_sessions": ("Open sessions of HLS viewers", lambda: len(self.hls.sessions)),
            "wall_connections": ("WebSockets that carry many channels", lambda: len(self.many.lines)),
            "event_feeds": ("Open event streams", lambda: len(self.feed)),
            **given.gauges,
        }
        counters: dict[str, tuple[str, Callable[[], float]]] = {
            "http_requests": ("Requests answered", lambda: self.site.requests),
            "http_requests_refused": ("Requests refused before a handler saw them", lambda: self.site.refused),
            "http_requests_slow": ("Of these for a deadline", lambda: self.site.slow),
            "http_connections_refused": ("Connections refused since there were too many", lambda: self.site.turned_away),
            "http_failures": ("Requests that failed by a fault of the relay", lambda: self.router.failures),
            "logins": ("Users who have logged in", lambda: parts.accounts.logins),
            "logins_refused": ("Wrong passwords", lambda: parts.accounts.failed),
            "logins_slowed": ("Log-ins that had to wait after wrong passwords", lambda: parts.accounts.guessing.refused),
            "tokens_refused": ("Tokens that did not open what was asked", lambda: self.authenticator.refused),
            "events": ("Events published", lambda: parts.events.published),
            **given.counters,
        }
        by_word = {
            "terminal_events": ("What happened to JT/T 808 links", lambda: terminals.counts),
            "talk_events": ("Calls begun, and how they failed", lambda: parts.talks.counts),
            "live_events": ("Starts of channels and how they failed", lambda: parts.live.counts),
            "playback_events": ("Starts of playbacks and how they failed", lambda: parts.playbacks.counts),
            "search_events": ("Searches of recordings, and answers nobody waited for", lambda: parts.searches.counts),
            **({"quota_refused": ("Plays and API requests of users who had or asked too much", lambda: quota.counts)} if quota is not None else {}),
            **given.by_word,
        }
        labelled = dict(given.labelled)
        if parts.quality is not None:
            watch = parts.quality
            labelled["stream_quality"] = ("stream", "Picture and sound of live channels, 0 to 100", False, lambda: watch.scores(STREAMS_MAX))
        hops = ("hop", "From the request of a live channel to each hop on the way to the first byte", lambda: parts.live.hop_times)
        return Figures(gauges, counters, by_word, labelled, {"start_seconds": hops, **given.histograms})

    def close(self) -> None:
        """The relay stops: end feeds, held channels, and whoever still waits for a channel."""
        self.feed.close()
        if self.inspector is not None:
            self.inspector.close()
        self.media.close()
        self.many.close()
        self.hls.close()
        self.live.close()
        self.metrics.close()


def make_site(parts: WebParts) -> Web:
    """The web side of a relay."""
    return Web(parts)
