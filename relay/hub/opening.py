"""When a starting stream is ready: opens its outputs when their tracks can be decided, and tells who waits for a picture.

One timer a stream, for the earliest moment at which something that is waited for (sound beside a picture, a picture beside sound) is waited for
long enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from relay.errors import RelayError
from relay.hub.merge import DelayedCall

if TYPE_CHECKING:
    from relay.hub.output import Output
    from relay.hub.stream import Stream


class NotReadyError(RelayError):
    """``Stream.wait_ready`` was in vain; ``hop`` is the milestone that was not reached: "first_packet", "first_key_frame", "audio"."""

    def __init__(self, hop: str, message: str) -> None:
        super().__init__(message)
        self.hop = hop


class Opening:
    """What of one stream waits to begin."""

    __slots__ = ("_at", "_call", "_stream", "_waits")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._call: DelayedCall | None = None
        self._at = 0.0
        self._waits: list[tuple[str, Deferred[None], DelayedCall]] = []

    # outputs ------------------------------------------------------------------

    def try_output(self, output: Output, now: float) -> None:
        """Open it if its tracks can be decided; look again when they can."""
        due = output.open_due(now)
        if due:
            self._look_at(due)

    def look(self) -> None:
        """Something has come, or was waited for long enough: open what can be opened, tell who waits."""
        stream = self._stream
        now = stream.clock.seconds()
        stream.sound_alone(now)
        for output in stream.outputs():
            if not output.opened:
                self.try_output(output, now)
        ready = [wait for wait in self._waits if stream.is_ready(wait[0])]
        self._waits = [wait for wait in self._waits if wait not in ready]
        for _, deferred, call in ready:
            if call.active():
                call.cancel()
            deferred.callback(None)
        self._look_for_sound()

    def _look_at(self, due: float) -> None:
        if self._call is not None and self._call.active():
            if self._at <= due:
                return
            self._call.cancel()
        self._at = due
        self._call = self._stream.clock.callLater(max(due - self._stream.clock.seconds(), 0.001), self._later)

    def _later(self) -> None:
        self._call = None
        self.look()

    def _look_for_sound(self) -> None:
        """Who waits for a picture takes sound alone after a while, unless pictures come and only lack their key frame."""
        stream = self._stream
        if self._waits and stream.first_sound and not stream.first_picture and not stream.ingest.has_picture:
            due = stream.first_sound + stream.options.video_wait_s
            if due > stream.clock.seconds():
                self._look_at(due)

    # who waits ------------------------------------------------------------------

    def wait(self, media: str, timeout: float) -> Deferred[None]:
        """Fires when the stream is ready for that media; fails with ``NotReadyError``."""
        deferred: Deferred[None] = Deferred(self._cancelled)
        self._waits.append((media, deferred, self._stream.clock.callLater(timeout, self._over, deferred)))
        self._look_for_sound()
        return deferred

    def close(self, why: str) -> None:
        """It will never be ready."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        waits, self._waits = self._waits, []
        for media, deferred, call in waits:
            if call.active():
                call.cancel()
            deferred.errback(NotReadyError(self._stream.missing(media), why))

    def _over(self, deferred: Deferred[None]) -> None:
        media = self._forget(deferred)
        if media is not None:
            hop = self._stream.missing(media)
            deferred.errback(NotReadyError(hop, f"no {hop.replace('_', ' ')} in time"))

    def _cancelled(self, deferred: Deferred[None]) -> None:
        self._forget(deferred)

    def _forget(self, deferred: Deferred[None]) -> str | None:
        for wait in self._waits:
            if wait[1] is deferred:
                self._waits.remove(wait)
                if wait[2].active():
                    wait[2].cancel()
                return wait[0]
        return None
