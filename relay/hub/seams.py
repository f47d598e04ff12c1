"""What the hub needs of its neighbours: the ingest before it and the transcoders beside it.

``relay.hub.ingest`` and ``relay.hub.transcode`` have these shapes; tests bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from relay.codec.frame import AudioConfig, Frame
from relay.hub.stats import TrackStats


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
