"""Who fetches segments: a viewer that polls a playlist, what a wait for a segment may come to, and how many wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from relay.errors import RelayError
from relay.hub.stats import ViewerStats
from relay.hub.viewer import Who, next_id

if TYPE_CHECKING:
    from relay.hub.segments import SegmentOutput


class Waits:
    """How many requests wait for segments, of all streams."""

    def __init__(self) -> None:
        self.count = 0


class SegmentsError(RelayError):
    """What was waited for will not come; ``reason`` is "ended", "late" or "busy"."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SegmentViewer:
    """Somebody who polls the playlist. Closed when the polling stops, by an operator, or with the stream."""

    __slots__ = ("_on_close", "closed", "first_byte", "id", "joined", "output", "seen", "sent_bytes", "who")

    def __init__(self, output: SegmentOutput, who: Who, now: float) -> None:
        self.id = next_id()
        self.who = who
        self.joined = self.seen = now
        self.first_byte = 0.0
        self.sent_bytes = 0
        self.closed = ""
        self.output = output
        self._on_close: Callable[[SegmentViewer, str], None] | None = None

    def on_close(self, call: Callable[[SegmentViewer, str], None]) -> None:
        """``call(viewer, cause)`` when it is closed, whoever does it; at once if it was already."""
        if self.closed:
            call(self, self.closed)
        else:
            self._on_close = call

    def poll(self, size: int) -> None:
        """It asked, and gets ``size`` bytes of playlist."""
        self.seen = self.output.now()
        self.first_byte = self.first_byte or self.seen
        self.sent_bytes += size

    def close(self, cause: str = "gone", drain: bool = False) -> None:
        """It is over. Safe to call again."""
        if self.closed:
            return
        self.closed = cause or "closed"
        self.output.poller_closed(self)
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close(self, self.closed)

    def stats(self) -> ViewerStats:
        """Figures now; segments are fetched by addresses that all share, so their bytes are the output's, not the viewer's."""
        return ViewerStats(
            id=self.id, state="closed" if self.closed else "live" if self.first_byte else "waiting", format="/".join(self.output.format),
            peer=self.who.peer, who=self.who.name, bytes=self.sent_bytes, drops=0, queue_bytes=0, joined=self.joined, first_byte=self.first_byte,
            note=self.output.note,
        )  # fmt: skip
