"""The seam between the hub and a container format.

A muxer serves one (stream, container, options): it is fed every frame once, and its bytes are shared by all viewers.
"""

from __future__ import annotations

from typing import Protocol

from relay.codec.frame import AudioConfig, Frame, VideoConfig


class Muxer(Protocol):
    """One container being written."""

    content_type: str  #: of the HTTP answer

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        """Set the tracks; returns what viewers already attached need (new sequence headers, a new init segment), ``b""`` if nothing changed.

        ``now_ms`` is the dts of the frame that follows. Raises UsageError for a track that ``unsupported`` names.
        """

    def header(self) -> bytes:
        """What a viewer that joins now needs before the first frame: file header, metadata, sequence headers or init segment."""

    def write(self, frame: Frame) -> bytes:
        """The frame in this container; ``b""`` for a track that is not configured."""
