"""Streams made of streams: pictures as JPEG, H.265 as H.264, for who asks for them and while somebody watches.

::

    parent ─→ Feeder (an output) ─→ queue ─→ a thread of the pool, batch by batch ─→ child stream ─→ outputs as of any other

A child is a whole stream, with its own cache and outputs, so every container and framing serves it without knowing. It ends with its parent, and
when nobody has watched it for a while. How many there may be is a setting: decoding and encoding pictures costs a hundred times what relaying
them does.

``snapshot`` is one picture: the parent's latest key frame as a JPEG, made once for all who ask within a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.errors import RelayError
from relay.hub import pictures
from relay.hub.formats import OutputFormat, UnsupportedTrackError
from relay.hub.output import LINGER_S, Output, Way
from relay.hub.pipeline import have_av
from relay.hub.stats import TrackStats
from relay.identity import StreamKey
from relay.settings import Video

if TYPE_CHECKING:
    from relay.hub.stream import Stream

TARGETS = ("h264", "jpeg", "jpeg-keys")
#: frames that wait for a thread; an opening hands in the cached group of pictures at once (12 s)
QUEUE_MAX = 900
SNAPSHOT_S = 1.0  #: a picture is given again for so long
SNAPSHOTS_MAX = 64  #: remembered at a time

_log = Logger()

#: runs a function in a thread of the pool
Run = Callable[..., Deferred[Any]]


class SnapshotError(RelayError):
    """There is no picture to give."""


class _Nothing:
    """A child's ingest: frames come from its parent."""

    has_picture = True
    counts: dict[str, int] = {}  # never changed

    def push(self, raw: Any, now: float) -> list[Frame]:
        return []


class Feeder(Output):
    """Takes a parent's frames, and pushes into the child what becomes of them."""

    __slots__ = ("_held", "_need_key", "_owner", "_pipeline", "_queue", "_running", "_target", "child", "cpu_s", "dropped", "made", "taken")

    def __init__(self, parent: Stream, target: str, child: Stream, owner: Derivations) -> None:
        fmt = OutputFormat(target, "raw", "av" if target == "h264" else "v", "source")
        super().__init__(parent, fmt, lambda fmt, key: None, lambda container, config: "")  # type: ignore[arg-type,return-value] # it has a pipeline
        self.flexible = True
        self.child = child
        self.dropped = 0  #: frames that no thread had time for
        self.taken = self.made = 0
        self.cpu_s = 0.0
        self._target = target
        self._owner = owner
        self._pipeline: pictures.Pipeline | None = None  # made by the first job
        self._queue: list[Frame] = []
        self._running = False
        self._need_key = False

    def begin(self, now: float) -> None:
        frames = self._replay()
        self.stream.rewire()
        for frame in frames:
            self._take(frame)

    def video_changed(self, video: VideoConfig, dts: int) -> None:
        if self.opened:
            self.video = video
            self.stream.rewire()

    def audio_changed(self, source: AudioConfig, dts: int) -> None:
        if self.opened and self.wants_audio:
            self.audio = source
            self.stream.rewire()

    def write_key(self, frame: Frame) -> None:
        self._need_key = False
        self._take(frame)

    def way(self) -> Way:
        return self._take, _nothing

    def _take(self, frame: Frame) -> bytes:
        if self._need_key and frame.kind == VIDEO:
            self.dropped += 1
            return b""
        if len(self._queue) >= QUEUE_MAX:
            self.dropped += len(self._queue)
            self._queue.clear()
            self._need_key = True  # what follows refers to what was dropped
            return b""
        self.taken += 1
        self._queue.append(frame)
        if not self._running:
            self._start()
        return b""

    def _start(self) -> None:
        while self._queue and not self._running and self.opened:  # with a run that answers at once the loop stands for the recursion
            frames, self._queue = self._queue, []
            self._running = True
            done = self._owner.run(self._job, frames)
            done.addCallbacks(self._done, self._broken)
            done.addErrback(self._broken)

    def _job(self, frames: list[Frame]) -> tuple[list[Frame], float]:
        start = time.thread_time()
        if self._pipeline is None:
            self._pipeline = self._owner.pipeline(self._target)
        return self._pipeline.run(frames), time.thread_time() - start

    def _done(self, result: tuple[list[Frame], float]) -> None:
        self._running = False
        frames, cpu = result
        self.cpu_s += cpu
        self.made += len(frames)
        if frames and not self.child.ended():
            self.child.push(frames)
        self._start()

    def _broken(self, failure: Failure) -> None:
        self._running = False
        _log.failure("{key}: making {target} stopped", failure, key=str(self.stream.key), target=self._target)
        self.stream.remove(self, "the pictures cannot be made")

    def cost(self) -> TrackStats:
        """What it has cost so far."""
        source = self.video.codec if self.video is not None else ""
        dropped = self.dropped + (self._pipeline.dropped if self._pipeline is not None else 0)
        return TrackStats(source, self._target, self.taken, self.made, dropped, 0, self.cpu_s)

    def flush(self) -> None:
        """Nothing is sent from here."""

    def drop_cache(self) -> None:
        """The child has its own."""

    def viewers(self) -> Iterator[Any]:
        return iter(())

    def sweep(self, now: float) -> bool:
        if self.child.ended():
            return True
        if self.child.viewer_count():
            self.empty_since = now
        return now - self.empty_since > LINGER_S

    def close(self, cause: str, drain: bool = False) -> None:
        super().close(cause, drain)
        self._queue.clear()
        self._owner.gone(self)
        self.child.end(cause, drain)


def _nothing(data: bytes) -> None:
    """Nothing is kept."""


class Derivations:
    """Makes children, as many as the settings admit; and single pictures."""

    def __init__(self, settings: Video, run: Run, av: bool | None = None) -> None:
        self.settings = settings
        self.run = run
        self.av = have_av() if av is None else av
        self.refused = 0  #: by admission
        self.pictures = 0  #: single ones made
        self._feeders: dict[Feeder, str] = {}
        self._snapshots: dict[StreamKey, tuple[float, int, bytes]] = {}
        self._making: dict[StreamKey, list[Deferred[bytes]]] = {}

    def count(self, target: str) -> int:
        """How many of that kind are being made."""
        return sum(kind == target for kind in self._feeders.values())

    def admits(self, target: str) -> bool:
        """Another one could be made now."""
        refused = self.refused
        admitted = not self._refusal(target)
        self.refused = refused
        return admitted

    def pipeline(self, target: str) -> pictures.Pipeline:
        """The work of one child; called in a thread."""
        if target == "h264":
            return pictures.H264Pipeline()
        return pictures.JpegPipeline(self.settings.mjpeg_fps, keys_only=target == "jpeg-keys")

    def open(self, parent: Stream, target: str) -> Stream:
        """The child of that kind, made when there is none. Raises ``UnsupportedTrackError``."""
        for feeder in self._feeders:
            if feeder.stream is parent and feeder.format.container == target and not feeder.child.ended():
                return feeder.child
        codec = parent.video.codec if parent.video is not None else "no picture"
        if problem := self._refusal(target):
            raise UnsupportedTrackError("video", codec, problem, self._hint(target))
        key = parent.key
        child = parent.child(StreamKey(key.sim, key.channel, target, f"{str(key).replace('/', '-')}.{target}"), _Nothing())
        feeder = Feeder(parent, target, child, self)
        self._feeders[feeder] = target
        parent.adopt(feeder)
        return child

    def _refusal(self, target: str) -> str:
        name = {"h264": "H.264 out of H.265", "jpeg": "motion JPEG", "jpeg-keys": "motion JPEG"}[target]
        if not self.av:
            return f"{name} needs the extra `media` (PyAV), which is not installed"
        limit, key = (self.settings.h264_max, "h264_max") if target == "h264" else (self.settings.mjpeg_max, "mjpeg_max")
        if not limit:
            if target == "h264":
                return f"the terminal sends H.265, and transcoding to H.264 is switched off (video.{key})"
            return f"{name} is switched off (video.{key})"
        if self.count(target) >= limit:
            self.refused += 1
            return f"{limit} channels of {name} are being made already (video.{key})"
        return ""

    def _hint(self, target: str) -> str:
        if target == "h264":
            return "Ask for H.265 (without video=h264), with a player that shows it."
        if not self.av:
            return "pip install '.[media]'"
        fewer = target == "jpeg" and self.count("jpeg-keys") < self.settings.mjpeg_max
        return f"Ask for single pictures (.jpg){', or motion=keys' if fewer else ''}."

    def gone(self, feeder: Feeder) -> None:
        """Its place is free."""
        self._feeders.pop(feeder, None)

    # single pictures -------------------------------------------------------------------------------------------------------

    def snapshot(self, stream: Stream) -> Deferred[bytes]:
        """The latest key frame as a JPEG file; fails with SnapshotError or DecodeError."""
        if not self.av:
            return fail(SnapshotError("pictures need the extra `media` (PyAV), which is not installed"))
        frames = stream.gop.frames
        if not frames or frames[0].kind != VIDEO:
            return fail(SnapshotError("there is no whole picture at this moment"))
        key, frame, now = stream.key, frames[0], stream.clock.seconds()
        known = self._snapshots.get(key)
        if known is not None and (now - known[0] < SNAPSHOT_S or known[1] == frame.dts):
            return succeed(known[2])
        waiting: Deferred[bytes] = Deferred()
        making = self._making.get(key)
        if making is not None:
            making.append(waiting)
            return waiting
        making = self._making[key] = [waiting]

        def done(result: Any) -> None:
            del self._making[key]
            if not isinstance(result, Failure):
                self.pictures += 1
                while len(self._snapshots) >= SNAPSHOTS_MAX:
                    del self._snapshots[next(iter(self._snapshots))]
                self._snapshots.pop(key, None)
                self._snapshots[key] = stream.clock.seconds(), frame.dts, result
            for each in making:
                if not each.called:
                    each.callback(result)

        self.run(pictures.snapshot, frame).addBoth(done)
        return waiting
