"""A transcoded track of one stream: one transcoder, whose frames go to every output that carries them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.codec.frame import AudioConfig, Frame
from relay.hub.seams import TrackTranscoder, Transcoders
from relay.hub.stats import TrackStats

if TYPE_CHECKING:
    from relay.hub.output import Output
    from relay.hub.stream import Stream

#: blocks of transcoded sound kept beside the GOP cache, for outputs that open later
RECENT_MAX = 2000


class Track:
    """A transcoded track, shared by all outputs that carry it."""

    __slots__ = ("_closed", "_recent", "_stream", "_transcoder", "outputs", "target")

    def __init__(self, stream: Stream, target: str) -> None:
        self.target = target
        self.outputs: dict[Output, None] = {}
        self._stream = stream
        self._recent: list[Frame] = []
        self._transcoder: TrackTranscoder | None = None
        self._closed = False

    def open(self, transcoders: Transcoders, source: AudioConfig, cached: Sequence[Frame]) -> str:
        """Start transcoding, beginning with the cached blocks; why it cannot be done, or ``""``."""
        opened = transcoders.open(source, self.target, self._deliver)
        if isinstance(opened, str):
            return opened
        self._transcoder = opened
        for frame in cached:
            opened.push(frame)
        return ""

    @property
    def config(self) -> AudioConfig:
        """Of what comes out."""
        assert self._transcoder is not None  # noqa: S101 - opened
        return self._transcoder.config

    def push(self, frame: Frame) -> None:
        """One block of the source."""
        if self._transcoder is not None:
            self._transcoder.push(frame)

    def _deliver(self, frame: Frame) -> None:
        if self._closed:
            return
        recent = self._recent
        if len(recent) < RECENT_MAX:
            recent.append(frame)
        stream = self._stream
        for output in self.outputs:
            if output.opened:
                write, keep = output.way()
                data = write(frame)
                if data:
                    keep(data)
        if not stream.pushing:
            stream.done(frame.source_time)

    def stats(self) -> TrackStats | None:
        """What it has cost so far; None when it is closed."""
        return self._transcoder.stats() if self._transcoder is not None else None

    def recent(self) -> list[Frame]:
        """What came out since the last key frame of the picture."""
        return self._recent

    def key(self) -> None:
        """A key frame: what was before is no longer needed."""
        self._recent = []

    def close(self) -> None:
        """No more frames, now or later."""
        self._closed = True
        transcoder, self._transcoder = self._transcoder, None
        if transcoder is not None:
            transcoder.close()
