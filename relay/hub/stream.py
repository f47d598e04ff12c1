"""One stream: frames in, any number of outputs, the GOP cache, the state of its source. (Public face; the inside is written next.)"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from relay.codec.frame import AudioConfig, Frame, VideoConfig
from relay.hub.formats import OutputFormat
from relay.hub.stats import StreamStats, ViewerStats
from relay.hub.viewer import Sink, Viewer, Who
from relay.identity import StreamKey


class Ingest(Protocol):
    """``hub.ingest.Ingest`` as the listeners use it: one (SIM, channel), kept over reconnects so that the timeline continues."""

    def push(self, raw: Any, now: float) -> Sequence[Frame]:
        """Frames that became whole."""


class TrackTranscoder(Protocol):
    """``hub.transcode.AudioTrack``: one source track turned into one target codec; frames come by callback, at once or later."""

    config: AudioConfig  #: of what comes out

    def push(self, frame: Frame) -> None:
        """One block of the source."""

    def close(self) -> None:
        """No more frames will come."""


class Transcoders(Protocol):
    """Makes transcoders; admission (``transcodes_max``) and availability (the ``media`` extra) are its business."""

    def open(self, source: AudioConfig, target: str, deliver: Callable[[Frame], None]) -> TrackTranscoder | str:
        """A transcoder, or why there is none, in words ("AAC needs the media extra")."""


class StreamState(enum.Enum):
    """Where a stream is."""

    STARTING = "starting"  #: a source is there, no key frame (or sound, when there is no picture) yet
    RUNNING = "running"
    LOST = "lost"  #: the source is gone; viewers wait ``Options.reconnect_s`` for it to come back
    ENDED = "ended"  #: over; nothing can be attached


class Stream:
    """Frames of one ``StreamKey`` to all who watch it."""

    key: StreamKey
    state: StreamState
    video: VideoConfig | None  #: of the present source, once known
    audio: AudioConfig | None  #: as the terminal sends it
    requested: bool  #: the present source was asked for by a command of ours
    ingest: Ingest
    opened: float  #: monotonic seconds
    first_packet: float  #: monotonic seconds of the present source's milestones; 0.0 = not yet
    first_key_frame: float

    # from the source -----------------------------------------------------

    def push(self, frames: Sequence[Frame]) -> None:
        """Frames from the ingest, in order. They reach the sockets before this returns, or at the next tick when merging is on."""
        raise NotImplementedError

    def source_lost(self, source: object, cause: str) -> None:
        """The connection that fed this stream is gone. Ignored from a source that has been replaced."""
        raise NotImplementedError

    def end(self, cause: str) -> None:
        """It is over: outputs end, viewers are closed with ``cause``, the source is closed, the registry forgets the stream."""
        raise NotImplementedError

    # for players -----------------------------------------------------------

    def check(self, fmt: OutputFormat) -> str:
        """Raise ``Unsupported`` when this output cannot carry what the stream has; else a note on a track that is left out, or ``""``."""
        raise NotImplementedError

    def attach(
        self,
        fmt: OutputFormat,
        sink: Sink,
        who: Who | None = None,
        preamble: bytes = b"",
        farewell: bytes = b"",
        on_first: Callable[[Viewer], None] | None = None,
        on_close: Callable[[Viewer, str], None] | None = None,
    ) -> Viewer:
        """A new viewer. It gets ``preamble`` (the response head), the container's header and the GOP cache at once, then what comes.

        Before the first key frame it waits for it. ``farewell`` is sent when the hub closes it (a WebSocket close frame).
        ``on_first(viewer)`` is called when the first byte of media was handed to the socket, ``on_close(viewer, cause)`` when the
        viewer is closed, whoever did it. Raises ``Unsupported`` as ``check`` does, ``UsageError`` on an ended stream.
        """
        raise NotImplementedError

    def wait_ready(self, media: str = "av", timeout: float = 15.0) -> Deferred[None]:
        """Fires when a viewer of that media would get a picture (or sound, for "a" or where no picture comes).

        Fails with ``relay.hub.stream.NotReady`` (``hop``: "first_packet", "first_key_frame", "audio") at the time-out or the stream's end.
        """
        raise NotImplementedError

    # figures ---------------------------------------------------------------

    def stats(self) -> StreamStats:
        """Rates and totals now."""
        raise NotImplementedError

    def viewers(self) -> list[ViewerStats]:
        """Every viewer now."""
        raise NotImplementedError

    def kick(self, viewer_id: int) -> bool:
        """Close one viewer; False when there is none of that id."""
        raise NotImplementedError

    def take_loss(self) -> float | None:
        """Percent of the packets due since the last call that did not come (for 0x9105); None when no packet was due."""
        raise NotImplementedError
