"""A reference to a live channel: somebody's wish for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from relay.core.trace import FIRST_BYTE, Trace
from relay.hub.stream import Stream
from relay.identity import StreamKey


class Leased(Protocol):
    """What a lease needs of its channel."""

    key: StreamKey

    def now(self) -> float:
        """Monotonic seconds."""

    def release(self, lease: Lease) -> None:
        """The lease is no longer wanted."""


class Lease:
    """Somebody's wish for a channel. ``release`` it once; ``on_ended(cause)`` is called when the stream ends before that."""

    __slots__ = ("_channel", "_over", "codec", "ended", "media", "needs", "on_ended", "peer", "purpose", "stream", "trace", "wants", "who")

    def __init__(self, channel: Leased, wants: str, media: str, purpose: str, who: str, peer: str = "") -> None:
        self._channel: Leased | None = channel
        self._over: Callable[[], None] | None = None
        self.wants = wants  #: "main", "sub" or "" (what runs)
        self.codec = ""  #: "h264": its player shows nothing else
        self.needs = ""  #: "main" or "sub": the stream that was H.264 for it; ranks above other viewers' wishes (``other_stream``)
        self.media = media  #: "av", "v" or "a"
        self.purpose = purpose  #: "viewer", "recorder", "superior" …
        self.who = who
        self.peer = peer  #: the player's address, where there is one
        self.stream: Stream | None = None  #: the hub's, once ready
        self.trace: Trace | None = None  #: of the start that this lease waited for; None when it ran already
        self.ended = ""  #: why the stream ended
        self.on_ended: Callable[[str], None] | None = None

    @property
    def key(self) -> StreamKey | None:
        """Which stream; None after ``release``."""
        return self._channel.key if self._channel is not None else None

    def first_byte(self) -> None:
        """The viewer got its first byte of media: the end of the trace."""
        if self._channel is not None and self.trace is not None:
            self.trace.mark(FIRST_BYTE, self._channel.now())

    def when_over(self, call: Callable[[], None]) -> None:
        """Call it once, when this is released or the stream ends; at once when that has happened."""
        self._over = call
        if self._channel is None:
            self._tell_over()

    def _tell_over(self) -> None:
        over, self._over = self._over, None
        if over is not None:
            over()

    def release(self) -> None:
        """It is no longer wanted. Safe to call again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.release(self)
        self._tell_over()

    def end(self, cause: str) -> None:
        """The stream is over (called by the channel)."""
        self._channel = None
        self.ended = cause
        self._tell_over()
        if self.on_ended is not None:
            self.on_ended(cause)
