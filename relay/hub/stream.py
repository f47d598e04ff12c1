"""One stream: frames in, any number of outputs, the GOP cache, the state of its source.

    starting ──first key frame, or sound without picture for video_wait_s──→ running
        ↑                                                                      │ connection lost
        └──────────────── a source again ──────────────── lost ←───────────────┘
                                                            │ reconnect_s over (playback: at once)
    every state ──end(cause)──→ ended                       └──→ ended

A stream outlives its connections: when the terminal reconnects, or another requested connection takes the place of the present one, the viewers stay, and see
the timeline go on (the ingest is kept) from the new source's first key frame.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.errors import UsageError
from relay.hub.figures import Figures
from relay.hub.formats import OutputFormat
from relay.hub.gop import GopCache
from relay.hub.merge import CROWD
from relay.hub.opening import NotReadyError, Opening
from relay.hub.output import Output, ShortWay, Way, Ways, refuse, resolve_audio
from relay.hub.poller import SegmentViewer
from relay.hub.seams import Ingest, RawFrame, TrackTranscoder, Transcoders
from relay.hub.segments import SEGMENTED, SegmentOutput
from relay.hub.stats import SILENCE
from relay.hub.track import Track
from relay.hub.viewer import NOBODY, Sink, Viewer, Who
from relay.identity import StreamKey

if TYPE_CHECKING:
    from relay.hub.registry import Registry, Source

__all__ = ["Ingest", "NotReadyError", "RawFrame", "Stream", "StreamState", "Track", "TrackTranscoder", "Transcoders"]

_log = Logger(namespace="relay.hub")


class StreamState(enum.Enum):
    """Where a stream is."""

    STARTING = "starting"  #: a source is there, no key frame (or sound, when there is no picture) yet
    RUNNING = "running"
    LOST = "lost"  #: the source is gone; viewers wait ``Options.reconnect_s`` for it to come back
    ENDED = "ended"  #: over; nothing can be attached


class Stream(Figures):
    """Frames of one ``StreamKey`` to all who watch it. Made by ``Registry.open``."""

    __slots__ = (
        "_all_outputs",
        "_heard",
        "_last_sound",
        "_lost_at",
        "_need_key",
        "_opening",
        "_picture_outputs",
        "_pictures",
        "_registry",
        "_silence",
        "_sounds",
        "_source_began",
        "audio",
        "cause",
        "first_key_frame",
        "first_packet",
        "first_picture",
        "first_sound",
        "key",
        "options",
        "paused",
        "pushing",
        "requested",
        "segment_waits",
        "source",
        "state",
        "video",
        "waiting",
        "wall",
    )

    def __init__(self, registry: Registry, key: StreamKey, ingest: Ingest) -> None:
        self.options = registry.options
        super().__init__(registry.clock, registry.merge, ingest, GopCache(self.options.gop_frames, self.options.gop_bytes, self.options.gop_s))
        self.key = key
        self.wall = registry.wall
        self.segment_waits = registry.segment_waits
        self.state = StreamState.STARTING
        self.cause = ""  #: why it ended
        self.video: VideoConfig | None = None  #: of the last key frame
        self.audio: AudioConfig | None = None  #: as the terminal sends it
        self.source: Source | None = None
        self.paused = False  #: the source was told to pause: its silence is no fault
        self.requested = False  #: the present source was asked for by a command of ours
        self.first_packet = 0.0  #: monotonic seconds of the present source's milestones; 0.0 = not yet
        self.first_key_frame = 0.0
        self.first_picture = 0.0  #: of the stream: when the first key frame and the first sound came
        self.first_sound = 0.0
        self.waiting = 0  #: viewers that have got nothing yet: what they wait for is never gathered
        self.pushing = False
        self._silence = b""  #: codes of silence in the present codec
        self._last_sound = b""
        self._registry = registry
        self._picture_outputs: tuple[Output, ...] = ()
        self._pictures: tuple[Way, ...] = ()
        self._sounds: tuple[Way, ...] = ()
        self._all_outputs: tuple[Output, ...] = ()
        self._need_key = True
        self._heard = False  #: sound from the present source
        self._source_began = (self.opened, 0, 0)  #: of the present source: when, and what had been received and how many packets before it
        self._opening = Opening(self)
        self._lost_at = 0.0

    def __repr__(self) -> str:
        return f"<Stream {self.key} {self.state.value}>"

    # from the source -----------------------------------------------------

    def feed(self, raws: Sequence[RawFrame], now: float, packets: int, size: int) -> None:
        """What one read of the listener brought: frames, and how many packets and bytes they came in."""
        self._last_packet = now
        self._packets += packets
        self._bytes = received = self._bytes + size
        push = self.ingest.push
        gop = self.gop
        cached = gop.items
        pictures = self._pictures
        count = 0
        for raw in raws:
            for frame in push(raw, now):
                if frame.key or self._need_key:  # sound too
                    self._other(frame)
                    cached, pictures = gop.items, self._pictures
                    continue
                count += 1
                if cached:
                    cached.append(frame)
                for write, keep in pictures:
                    keep(write(frame))
        if count:
            self._frames += count
            self._last_dts = dts = frame.dts
            if dts > gop.dts_limit or received > gop.bytes_limit or len(cached) > gop.frames_limit:
                self._look_at_cache()
        self.done(now)

    def heard(self, packets: int, size: int, now: float) -> None:
        """Packets have come, but no whole frame."""
        self._last_packet = now
        self._packets += packets
        self._bytes += size

    def shortened(self, packets: int, size: int, frames: int, reads: int, dts: int, now: float) -> None:
        """What went through the shortcut since it last said so; in the cache the frames are in so many reads, or by themselves (0)."""
        if packets or size:
            self.heard(packets, size, now)
        self._frames += frames
        gop = self.gop
        if frames:
            self._last_dts = dts
        if reads:
            gop.frames_limit -= frames - reads
        if dts > gop.dts_limit or self._bytes > gop.bytes_limit or len(gop.items) > gop.frames_limit:
            self._look_at_cache()

    def room(self, offset: int) -> tuple[int, int, int]:
        """How far the shortcut may go: to which time stamp, how many bytes and frames, before somebody must look at the cache."""
        gop = self.gop
        return gop.dts_limit + offset, gop.bytes_limit - self._bytes, gop.frames_limit - len(gop.items)

    def ways(self) -> Ways:
        """For the shortcut: what to write ordinary pictures to."""
        short: list[ShortWay] = []
        frames: list[Way] = []
        direct: Output | None = None
        for output in self._picture_outputs:
            short_way = output.short_way()
            if short_way is not None:
                short.append(short_way)
                direct = output
            else:
                frames.append(output.way())
        if len(self._all_outputs) != 1 or self.waiting or direct is None or direct.direct_send is None:
            direct = None
        return Ways(short, frames, direct)

    def settle(self) -> None:
        """Something is about to change that the shortcut relies on."""
        if self.shortcut is not None:
            self.shortcut.settle()

    def push(self, frames: Sequence[Frame]) -> None:
        """Frames of any origin, in order. They reach the sockets before this returns, or at the next tick when merging is on."""
        self.settle()
        for frame in frames:
            self._bytes += len(frame.data)
            if frame.key or self._need_key:
                self._other(frame)
                continue
            self._frames += 1
            if self.gop.items:
                self.gop.items.append(frame)
            for write, keep in self._pictures:
                keep(write(frame))
            self._last_dts = frame.dts
            self._look_at_cache()
        if frames:
            self.done(frames[0].source_time)

    def done(self, since: float) -> None:
        """The end of what came at one time, read at ``since``: flush now, or leave it to the tick."""
        if self._all_outputs:
            if (self._merge.immediate and not self.crowded) or self.waiting:
                for output in self._all_outputs:
                    output.flush()
                if self._merge.measure:
                    self.measure(since)
            else:
                self._merge.later(self, since, self.crowded)

    def flush_since(self, since: float) -> None:
        """Send what is pending; ``since`` is when the oldest of it was read."""
        self.flush()
        self.measure(since)

    def flush(self) -> None:
        """Send what is pending to all viewers."""
        for output in self._all_outputs:
            output.flush()

    def _look_at_cache(self) -> None:
        """A limit of the GOP cache may have been passed."""
        if self.gop.check(self._bytes):
            for output in self._outputs.values():
                output.drop_cache()

    def _other(self, frame: Frame) -> None:
        """A key frame, sound, or a picture before the first key frame."""
        if frame.kind == VIDEO:
            if frame.key:
                self._key(frame)
                self._last_dts = frame.dts
            return
        self.pushing = True
        if frame.config is not self.audio or not self._heard:
            self._sound(frame)
        data = frame.data
        self._sound_blocks += 1
        self._sound_bytes += len(data)
        if not self._sound_blocks & 3:  # one in four is looked at
            if data == self._last_sound or not data.strip(self._silence):
                self._mutes += 1
            self._last_sound = data
        if self.gop.items:
            self.gop.items.append(frame)
            if len(self.gop.items) > self.gop.frames_limit:
                self._look_at_cache()
        for write, keep in self._sounds:
            data = write(frame)
            if data:
                keep(data)
        if self._tracks:
            for track in list(self._tracks.values()):
                track.push(frame)
        self.pushing = False
        self._last_dts = frame.dts

    def _key(self, frame: Frame) -> None:
        """A key frame: the GOP begins again; a new description reaches the outputs first."""
        self._frames += 1
        self.key_frames += 1
        self._key_bytes += len(frame.data)
        self._need_key = False
        config = frame.config
        changed = config is not self.video and config != self.video
        if changed:
            self.video = config  # type: ignore[assignment]
            for output in list(self._outputs.values()):
                output.video_changed(config, frame.dts)  # type: ignore[arg-type]
        elif self.video is not None:
            frame.config = self.video  # one object for equal descriptions, so that comparing is cheap from here on
        self.gop.restart(frame, self._bytes)
        for track in self._tracks.values():
            track.key()
        for output in self._picture_outputs:
            output.write_key(frame)
        if not self.first_key_frame:
            self._first_key(frame, changed)
        elif changed:
            self._emit("config_changed", f"video {_describe(self.video)}")

    def _first_key(self, frame: Frame, changed: bool) -> None:
        now = self.first_key_frame = self.clock.seconds()
        again = bool(self.first_picture)
        if not again:
            self.first_picture = now
        self.state = StreamState.RUNNING
        self._emit("first_key_frame", _describe(self.video))
        if again and changed:
            self._emit("config_changed", f"video {_describe(self.video)}")
        self._opening.look()

    def _sound(self, frame: Frame) -> None:
        """The first block of a source, or a block of another description."""
        config = frame.config
        changed = config != self.audio
        first = self.audio is None
        now = self.clock.seconds()
        if changed:
            self.audio = config  # type: ignore[assignment]
            self._silence = SILENCE.get(config.codec, b"\0") if isinstance(config, AudioConfig) else b""
            if first:
                self.first_sound = now
            self._close_tracks()
            for output in list(self._outputs.values()):
                output.audio_changed(config, frame.dts)  # type: ignore[arg-type]
            self._close_tracks(unused=True)
            self.rewire()
        else:
            self.audio = config  # type: ignore[assignment]
        if not self._heard:
            self._heard = True
            self._emit("audio_ready", _describe(self.audio))
        if changed and not first:
            self._emit("config_changed", f"audio {_describe(self.audio)}")
        if first:
            self._opening.look()

    # the source's coming and going ------------------------------------------

    def attach_source(self, source: Source, requested: bool, now: float) -> None:
        """A connection feeds the stream from now on (called by the registry)."""
        old, self.source = self.source, source
        if old is not None:
            self._emit("replaced", source.peer, peer=source.peer)
            old.close("replaced")
            self._source_over(old, "replaced")
        self._source_began = (now, self.received, self.packets)
        self.requested = requested
        if old is not None or self.state is StreamState.LOST:
            self._restart()
        self.state = StreamState.STARTING
        self.first_packet = self._last_packet = now
        self.first_key_frame = 0.0
        self._heard = False

    def _restart(self) -> None:
        """Another source: what is cached does not go on with what comes."""
        self.settle()
        self._need_key = True
        self.gop.clear()
        for output in self._outputs.values():
            output.restarted()
        restart = getattr(self.ingest, "restart", None)
        if restart is not None:
            restart(self.clock.seconds())

    def source_lost(self, source: object, cause: str) -> None:
        """The connection that fed this stream is gone. Ignored from a source that has been replaced."""
        if source is not self.source or self.state is StreamState.ENDED:
            return
        finish = getattr(self.ingest, "finish", None)
        if finish is not None:  # what waited for the next packet leaves
            self.push(finish(self.clock.seconds()))
        lost, self.source = self.source, None
        self.requested = False
        if lost is not None:
            self._source_over(lost, cause)
        self._emit("lost", cause)
        if self.ended():  # an observer ended it
            return
        if self.key.kind == "live" and self.source is None:
            self.state = StreamState.LOST
            self._lost_at = self.clock.seconds()
        elif self.source is None:
            self.end(f"ended: {cause}", drain=True)

    def _source_over(self, source: Source, cause: str) -> None:
        """The one line that a media connection leaves in the log."""
        began, received, packets = self._source_began
        _log.info(
            "{sim} channel {channel}: {kind} media connection over after {seconds} s: {cause} ({transport} from {peer}, {bytes} bytes, {packets} packets)",
            sim=self.key.sim, channel=self.key.channel, kind=self.key.kind, seconds=round(self.clock.seconds() - began, 1), cause=cause,
            transport=source.transport, peer=source.peer, bytes=self.received - received, packets=self.packets - packets,
        )  # fmt: skip

    def ended(self) -> bool:
        """It is over."""
        return self.state is StreamState.ENDED

    def runs(self) -> bool:
        """It has given its viewers something to begin with."""
        return self.state is StreamState.RUNNING

    def stalled(self, now: float) -> bool:
        """No source, or one that has been silent for long: an unrequested connection may take its place."""
        return self.source is None or now - self.last_packet > self.options.stalled_s

    def end(self, cause: str, drain: bool = False) -> None:
        """It is over: outputs end, viewers are closed with ``cause``, the source is closed, the registry forgets the stream."""
        if self.state is StreamState.ENDED:
            return
        self.state = StreamState.ENDED
        self.cause = cause
        self._merge.forget(self)
        self._registry.forget(self)
        source, self.source = self.source, None
        if source is not None:
            source.close(cause)
            self._source_over(source, cause)
        self.flush()
        for output in list(self._outputs.values()):
            self.remove(output, cause, drain)
        self._close_tracks()
        self._opening.close(f"the stream ended: {cause}")
        self._emit("ended", cause)

    # outputs ---------------------------------------------------------------

    def rewire(self) -> None:
        """Work out again which output gets which frames."""
        self.settle()
        outputs = [output for output in self._outputs.values() if output.opened]
        self._picture_outputs = tuple(output for output in outputs if output.video is not None)
        self._pictures = tuple(output.way() for output in self._picture_outputs)
        self._sounds = tuple(output.way() for output in outputs if output.audio is not None and output.track is None)
        self._all_outputs = tuple(outputs)

    def remove(self, output: Output, cause: str, drain: bool = False) -> None:
        """Close an output and its viewers."""
        if self._outputs.get(output.format) is output:
            del self._outputs[output.format]
        output.close(cause, drain)
        self._sent_before += output.sent_total()
        self._drops_before += output.drops
        self.rewire()

    def track(self, target: str) -> Track | str:
        """The transcoded track of that codec, begun when there is none; or why there is none."""
        track = self._tracks.get(target)
        if track is not None:
            return track
        if self._registry.transcoders is None:
            return _no_transcoder(target)
        assert self.audio is not None  # noqa: S101 - asked for only when there is sound
        track = Track(self, target)
        cached = [frame for frame in self.gop.frames if frame.kind != VIDEO and frame.config == self.audio]
        pushing, self.pushing = self.pushing, True
        problem = track.open(self._registry.transcoders, self.audio, cached)
        self.pushing = pushing
        if problem:
            return problem
        self._tracks[target] = track
        return track

    def release(self, track: Track) -> None:
        """An output does without it; the last one ends it."""
        if not track.outputs:
            if self._tracks.get(track.target) is track:
                del self._tracks[track.target]
            track.close()

    def _close_tracks(self, unused: bool = False) -> None:
        for track in list(self._tracks.values()):
            if not unused or not track.outputs:
                self._tracks.pop(track.target, None)
                track.close()

    def try_open(self, output: Output, now: float) -> None:
        """Open an output if its tracks can be decided; look again when they can."""
        self._opening.try_output(output, now)

    def outputs(self) -> list[Output]:
        """All of them, open or not."""
        return list(self._outputs.values())

    def sound_alone(self, now: float) -> None:
        """Sound without a picture for long enough is a running stream too; not so while pictures come and only the key frame is missing."""
        if self.state is StreamState.STARTING and self.first_sound and not self.first_picture and not self.ingest.has_picture:
            since = max(self.first_sound, self.first_packet)
            if now - since >= self.options.video_wait_s:
                self.state = StreamState.RUNNING

    # for players -----------------------------------------------------------

    def check(self, fmt: OutputFormat) -> str:
        """Raise ``UnsupportedTrackError`` when this output cannot carry what the stream has; else a note on a track left out, or ``""``.

        Before the first key frame and the first sound nothing is known: the answer is ``""``.
        """
        fmt.check()
        unsupported = self._registry.unsupported
        if fmt.media != "a" and self.video is not None and (problem := unsupported(fmt.container, self.video)):
            raise refuse("video", self.video.codec, problem)
        target = resolve_audio(fmt, self.options)
        if fmt.media == "v" or target == "none" or self.audio is None:
            return ""
        note = ""
        if target in ("source", self.audio.codec):
            note = unsupported(fmt.container, self.audio)
        elif target not in self._tracks:
            transcoders = self._registry.transcoders
            note = transcoders.available(target, self.audio) if transcoders is not None else _no_transcoder(target)
        if note and (fmt.media == "a" or fmt.audio not in ("auto", "none")):
            raise refuse("audio", self.audio.codec, note)
        return note

    def attach(
        self,
        fmt: OutputFormat,
        sink: Sink,
        who: Who = NOBODY,
        preamble: bytes = b"",
        farewell: Callable[[str], bytes] | None = None,
        on_first: Callable[[Viewer], None] | None = None,
        on_close: Callable[[Viewer, str], None] | None = None,
    ) -> Viewer:
        """A new viewer. It gets ``preamble`` (the response head), the container's header and the GOP cache at once, then what comes.

        Before the first key frame it waits for it. ``farewell(cause)`` gives what is sent when the hub closes it (a WebSocket close frame).
        ``on_first(viewer)`` is called when the first byte of media was handed to the socket, ``on_close(viewer, cause)`` when the
        viewer is closed, whoever did it. Raises ``UnsupportedTrackError`` as ``check`` does, ``UsageError`` on an ended stream.
        """
        if self.state is StreamState.ENDED:
            raise UsageError(f"{self.key} has ended: {self.cause}")
        self.check(fmt)
        if fmt.container in SEGMENTED:
            raise UsageError(f"{fmt.container} is not sent but fetched")
        now = self.clock.seconds()
        output = self._outputs.get(fmt)
        if output is None:
            output = Output(self, fmt, self._registry.muxers[fmt.container], self._registry.unsupported)
            self._outputs[fmt] = output
        viewer = Viewer(output, sink, who, preamble, farewell, on_first, on_close, now)
        output.add(viewer, now)
        self._emit("viewers", str(self.viewer_count()))
        return viewer

    def child(self, key: StreamKey, ingest: Ingest) -> Stream:
        """A stream that is fed with what is made of this one's frames."""
        return self._registry.child(key, ingest)

    def derive(self, target: str) -> Stream:
        """The stream that is made of this one ("h264", "jpeg", "jpeg-keys"). Raises ``UnsupportedTrackError``."""
        derivations = self._registry.derivations
        if derivations is None:
            raise refuse("video", self.video.codec if self.video is not None else "none", f"nothing makes {target} here")
        return derivations.open(self, target)

    def adopt(self, output: Output) -> None:
        """An output of another kind, whose viewers are its own affair."""
        self._outputs[output.format] = output
        self.try_open(output, self.clock.seconds())

    def join_segments(self, fmt: OutputFormat, who: Who = NOBODY) -> SegmentViewer:
        """A new viewer of segments ("hls", "hls-ts"), which fetches them at ``viewer.output``. Raises as ``attach`` does."""
        if self.state is StreamState.ENDED:
            raise UsageError(f"{self.key} has ended: {self.cause}")
        self.check(fmt)
        if fmt.container not in SEGMENTED:
            raise UsageError(f"{fmt.container} has no segments")
        output = self._outputs.get(fmt)
        if not isinstance(output, SegmentOutput):
            output = self._outputs[fmt] = SegmentOutput(self, fmt, self._registry.unsupported)
        viewer = output.join(who)
        self._emit("viewers", str(self.viewer_count()))
        return viewer

    def viewer_gone(self, viewer: Viewer | SegmentViewer) -> None:
        """An output has let go of a viewer."""
        self._registry.viewer_gone(self, viewer)
        if self.state is not StreamState.ENDED:
            self._emit("viewers", str(self.viewer_count()))

    def drain(self, viewer: Viewer) -> None:
        """A closed viewer still has something to send: the registry watches it."""
        self._registry.drain(viewer)

    def wait_ready(self, media: str = "av", timeout: float = 15.0) -> Deferred[None]:
        """Fires when a viewer of that media would get a picture (or sound, for "a" or where no picture comes).

        Fails with ``NotReadyError`` (``hop``: "first_packet", "first_key_frame", "audio") at the time-out or the stream's end.
        """
        if self.state is StreamState.ENDED:
            return fail(NotReadyError(self.missing(media), f"the stream ended: {self.cause}"))
        if self.is_ready(media):
            return succeed(None)
        return self._opening.wait(media, timeout)

    def is_ready(self, media: str) -> bool:
        """A viewer of that media would get something now."""
        if media == "a":
            return self.audio is not None and self._heard
        if self.first_key_frame:
            return True
        return media == "av" and self.state is StreamState.RUNNING

    def missing(self, media: str) -> str:
        """The milestone that such a viewer waits for."""
        if not self.first_packet:
            return "first_packet"
        return "audio" if media == "a" else "first_key_frame"

    # once a second, and by hand ----------------------------------------------

    def audience(self) -> int:
        """How many are sent to; those who fetch are not."""
        return sum(len(output) for output in self._outputs.values() if output.format.container not in SEGMENTED)

    def sweep(self, now: float) -> None:
        """Once a second, by the registry: rates, stuck viewers, outputs nobody watches, a source that did not come back."""
        self.measure_rates(now)
        for output in list(self._outputs.values()):
            if output.sweep(now):
                self.remove(output, "unwatched")
        self.sound_alone(now)
        self.crowded = bool(self._merge.crowd_s) and self.audience() >= CROWD
        if self.state is StreamState.LOST and now - self._lost_at > self.options.reconnect_s:
            self.end("connection lost")

    def kick(self, viewer_id: int) -> bool:
        """Close one viewer; False when there is none of that id."""
        for output in self._outputs.values():
            for viewer in output.viewers():
                if viewer.id == viewer_id:
                    viewer.close("kicked")
                    return True
        return False

    def _emit(self, name: str, detail: str, peer: str = "") -> None:
        self._registry.emit(name, self.key, self, detail, peer or (self.source.peer if self.source is not None else ""))


def _no_transcoder(target: str) -> str:
    return f"{target} needs a transcoder, and none is set up"


def _describe(config: VideoConfig | AudioConfig | None) -> str:
    if isinstance(config, VideoConfig):
        return f"{config.codec} {config.width}x{config.height}"
    return f"{config.codec} {config.sample_rate} Hz" if config is not None else ""
