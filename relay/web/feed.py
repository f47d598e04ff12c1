"""``GET /api/v1/events``: what happens, as it happens, over a WebSocket or as Server-Sent Events, whichever the request asks for.

    WebSocket   one text message an event: {"event": "terminal.online", "id": 17, "time": …, …}
    SSE         id: 17 / event: terminal.online / data: {…}; a comment every PING_S; a client that comes back sends Last-Event-ID

``?after=N`` begins with the events that are still kept and newer than N. A client that does not read is cut off when 256 KiB wait for it.
A WebSocket from a page of another host is refused unless ``http.cors_origins`` lists it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from relay.core.events import Event, Events
from relay.settings import Http
from relay.web.auth import check_origin
from relay.web.connection import PING_S, Connection, SinkMaker, WebSocket
from relay.web.problem import Problem
from relay.web.request import Request
from relay.web.router import TAKEN, Call, Headers
from relay.web.websocket import GOING_AWAY, accept


class EventQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Parameters of the event stream."""

    after: int | None = None


class EventSocket(WebSocket):
    """Events as text messages."""

    __slots__ = ("stop",)

    def __init__(self) -> None:
        super().__init__()
        self.stop: Callable[[], None] | None = None

    def tell(self, event: Event) -> None:
        """One event."""
        self.text(msgspec.json.encode(event))

    def finish(self) -> None:
        """The relay stops."""
        self.end(GOING_AWAY, "the relay stops")

    def lost(self) -> None:
        stop, self.stop = self.stop, None
        if stop is not None:
            stop()


class EventLines(Connection):
    """Events as Server-Sent Events (the HTML standard, 9.2)."""

    __slots__ = ("stop",)

    def __init__(self) -> None:
        super().__init__()
        self.stop: Callable[[], None] | None = None

    def begin(self, request: Request, sinks: SinkMaker, head: bytes) -> None:
        super().begin(request, sinks, head)
        self.time(PING_S, self._ping)

    def _ping(self) -> None:
        self.time(PING_S, self._ping)
        self.write(b":\n\n")

    def tell(self, event: Event) -> None:
        """One event."""
        self.write(b"id: %d\nevent: %s\ndata: %s\n\n" % (event["id"], event["event"].encode(), msgspec.json.encode(event)))

    def finish(self) -> None:
        """The relay stops."""
        self.close()

    def lost(self) -> None:
        stop, self.stop = self.stop, None
        if stop is not None:
            stop()


def lines_head(headers: Headers, call: Call) -> bytes:
    """Status line and headers of a stream of events."""
    fields = headers.of(call.request, call.route)
    fields.update({"Content-Type": "text/event-stream", "Cache-Control": "no-store", "Connection": "close", "X-Accel-Buffering": "no"})
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Feeds:
    """A handler's open feeds, so that they end with the relay, and with the account they were opened by."""

    def __init__(self, settings: Http, headers: Headers) -> None:
        self._settings = settings
        self._headers = headers
        self._open: dict[EventSocket | EventLines, str] = {}  #: by whom

    def __len__(self) -> int:
        return len(self._open)

    def made(self, call: Call) -> tuple[bytes, EventSocket | EventLines]:
        """For a call: the head of its answer, and what answers. Raises ``Problem``."""
        if call.head:
            raise Problem(405, "A stream has no size: use GET.", headers={"Allow": "GET, OPTIONS"})
        if call.upgrade:
            check_origin(call.request, self._settings)
            return accept(call.request), EventSocket()
        return lines_head(self._headers, call), EventLines()

    def keep(self, feed: EventSocket | EventLines, name: str, stop: Callable[[], None]) -> None:
        """It is open; ``stop`` is called when it ends."""
        self._open[feed] = name

        def ended() -> None:
            self._open.pop(feed, None)
            stop()

        feed.stop = ended

    def end_of(self, name: str) -> None:
        """End the feeds of somebody whose account or token was taken back."""
        for feed in [feed for feed, who in self._open.items() if who == name]:
            feed.finish()

    def close(self) -> None:
        """End every feed: the relay stops."""
        for feed in list(self._open):
            feed.finish()


class EventFeed(Feeds):
    """The route's handler."""

    def __init__(self, events: Events, settings: Http, headers: Headers, sinks: SinkMaker) -> None:
        super().__init__(settings, headers)
        self._events = events
        self._sinks = sinks

    def handle(self, call: Call) -> Any:
        """Begin a feed."""
        request = call.request
        after = call.query.after
        head, feed = self.made(call)
        last = request.header("last-event-id")
        if after is None and not call.upgrade and last.isascii() and last.isdigit() and len(last) < 16:
            after = int(last)
        sees = call.sees if call.principal.groups else None

        def tell(event: Event) -> None:
            if sees is None or sees(event.get("sim", "")):
                feed.tell(event)

        try:
            stop = self._events.subscribe(tell)
        except OverflowError:
            raise Problem(503, "Too many listen to the events already.", code="too_many_listeners", hint="Close other pages.") from None
        feed.begin(request, self._sinks, head)
        self.keep(feed, call.principal.name, stop)
        if after is not None:
            for event in list(self._events.recent):
                if event["id"] > after:
                    tell(event)
        return TAKEN
