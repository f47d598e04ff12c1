"""What the hub needs of its neighbours: the ingest before it, the transcoders beside it, writers and takers of segments.

``relay.hub.ingest`` and ``relay.hub.transcode`` have these shapes; tests bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from relay.codec.frame import AudioConfig, Frame, VideoConfig
from relay.hub.stats import TrackStats
from relay.mux.playlist import Segment


class RawFrame(Protocol):
    """What is used of ``jt1078.assembly.RawFrame``."""

    body: bytes
    packets: int


class Ingest(Protocol):
    """``hub.ingest.Ingest`` as the listeners use it: one (SIM, channel), kept over reconnects so that the timeline continues."""

    @property
    def has_picture(self) -> bool:
        """Pictures come, whether or not one of them could be begun with."""

    def push(self, raw: Any, now: float) -> Sequence[Frame]:
        """Frames that became whole."""


class TrackTranscoder(Protocol):
    """``hub.transcode.AudioTrack``: one source track turned into one target codec; frames come by callback, at once or later."""

    config: AudioConfig  #: of what comes out

    def push(self, frame: Frame) -> None:
        """One block of the source."""

    def stats(self) -> TrackStats:
        """What it has cost so far."""

    def close(self) -> None:
        """No more frames will come."""


class Transcoders(Protocol):
    """Makes transcoders; admission (``transcodes_max``) and availability (the ``media`` extra) are its business."""

    def available(self, target: str, source: AudioConfig | None = None) -> str:
        """``""``, or why this target cannot be made of this source, in words."""

    def open(self, source: AudioConfig, target: str, deliver: Callable[[Frame], None]) -> TrackTranscoder | str:
        """A transcoder, or why there is none, in words ("AAC needs the media extra")."""


class Writer(Protocol):
    """``mux.cmaf`` has two."""

    content_type: str
    ending: str
    init: bytes

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None) -> None: ...
    def begin_segment(self) -> None: ...
    def picture(self, frame: Frame) -> None: ...
    def sound(self, frame: Frame) -> None: ...
    def take(self, end: int) -> bytes: ...


class Taker(Protocol):
    """Who is given every piece as soon as it is there, instead of fetching it: a recorder."""

    def piece(self, segment: Segment, data: bytes, init: bytes, audio: AudioConfig | None) -> None:
        """One more piece of a segment; its first when ``len(segment.pieces) == 1``."""

    def segment_ended(self, segment: Segment) -> None:
        """It is whole; ``segment.duration`` is known."""
