"""Views: who watched what goes into the audit, and one that nobody looks at any more ends (``budget.view_s``).

    view_s - view_ask_s      a view is asked "still watching?": event view.asked, and a text message to players that take any:
                             {"type": "still_watching", "seconds": 60, "continue": "/api/v1/views/SECRET/continue"}
    POST that address        it goes on for another view_s; whoever knows the address may, so that a player needs no API token
    view_s                   it ends: "nobody said that they are still watching"

A view is a viewer of a live stream or a playback: HTTP, WebSocket, HLS, RTMP. Pushes and recordings are none.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from relay.core.audit import Audit
from relay.core.events import Events
from relay.hub.merge import Clock, DelayedCall
from relay.hub.poller import SegmentViewer
from relay.hub.registry import Registry
from relay.hub.stream import Stream
from relay.hub.viewer import Viewer
from relay.settings import Budget

LOOK_S = 1.0
KINDS = ("live", "playback")
OVER = "nobody said that they are still watching"

#: gives a viewer's player a message, where it takes any
Tell = Callable[[Viewer | SegmentViewer, dict[str, Any]], None]


class Views:
    """All views."""

    def __init__(self, settings: Budget, registry: Registry, clock: Clock, events: Events, audit: Audit, tell: Tell) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._events = events
        self._audit = audit
        self._tell = tell
        self._asked: dict[int, str] = {}  #: viewer -> secret
        self._secrets: dict[str, int] = {}
        self._since: dict[int, float] = {}  #: viewer -> when somebody said that they watch
        self._call: DelayedCall | None = None
        registry.on_viewer_gone = self.gone

    def start(self) -> None:
        """Look after them, if they are to end."""
        if self._settings.view_s:
            self._call = self._clock.callLater(LOOK_S, self._look)

    def stop(self) -> None:
        """No more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def gone(self, stream: Stream, viewer: Viewer | SegmentViewer) -> None:
        """A viewer is closed: write it down."""
        self._since.pop(viewer.id, None)
        secret = self._asked.pop(viewer.id, "")
        self._secrets.pop(secret, None)
        if viewer.who.purpose not in KINDS:
            return
        stats = viewer.stats()
        seconds = self._clock.seconds() - viewer.joined
        what = "playback" if viewer.who.purpose == "playback" else "live"
        detail = f"{what}, {stats.format}, {seconds:.0f} s: {viewer.closed}"
        host = viewer.who.peer.rpartition(":")[0].strip("[]")
        self._audit.record(viewer.who.name or "-", "view", f"{stream.key.sim}_{stream.key.channel}", detail, host, stats.bytes)

    def _look(self) -> None:
        self._call = self._clock.callLater(LOOK_S, self._look)
        now = self._clock.seconds()
        settings = self._settings
        for stream in self._registry.streams():
            for viewer in stream.every_viewer():
                if viewer.who.purpose not in KINDS or viewer.closed:
                    continue
                age = now - self._since.get(viewer.id, viewer.joined)
                if age >= settings.view_s:
                    viewer.close(OVER)
                elif age >= settings.view_s - settings.view_ask_s and viewer.id not in self._asked:
                    self._ask(stream, viewer, settings.view_s - age)

    def _ask(self, stream: Stream, viewer: Viewer | SegmentViewer, seconds: float) -> None:
        secret = self._asked[viewer.id] = secrets.token_urlsafe(16)
        self._secrets[secret] = viewer.id
        self._events.publish("view.asked", sim=stream.key.sim, channel=stream.key.channel, viewer=viewer.id, who=viewer.who.name, seconds=round(seconds))
        self._tell(viewer, {"type": "still_watching", "seconds": round(seconds), "continue": f"/api/v1/views/{secret}/continue"})

    def go_on(self, secret: str) -> bool:
        """Somebody watches; False when the view is over, or that is no secret of one."""
        viewer = self._secrets.pop(secret, None)
        if viewer is None:
            return False
        del self._asked[viewer]
        self._since[viewer] = self._clock.seconds()
        return True

    def go_on_as(self, viewer: int) -> bool:
        """The same by its number, for operators."""
        secret = self._asked.get(viewer)
        return secret is not None and self.go_on(secret)
