"""A stream cut into segments and parts for HLS: an output whose bytes are fetched, piece by piece, by any number of viewers.

    frames ─→ writer (parts of fMP4, or transport packets) ─→ segments in memory ─→ playlist, built once at each change
                                                                    └─→ whoever waits for the next part

Where it is cut. A segment begins with a key frame, as soon as the one before has lasted ``segment_s``; a part ends before it would last longer than the
part target. Terminals have a key frame every second, or every four or ten, and HLS wants a target duration that never changes: it is chosen
when the first playlist is due, from the distance of key frames seen by then (``TARGET_MIN_S`` at least; ``TARGET_UNKNOWN_S`` when there was none).
A group of pictures that is longer is cut at a plain picture, and the next key frame then cuts at once: every address stays playable from the
segments with key frames on, and ``EXT-X-INDEPENDENT-SEGMENTS`` is no longer said. The first segment ends with its group of pictures, or after a
little more than ``segment_s``, so that nobody waits for more.

A discontinuity is marked where the terminal's connection was replaced, the picture's description changed, or the sound's did (at the next key
frame: after a new initialisation segment a browser decodes nothing else).

Memory: what is listed (``LISTED`` segments, more where three target durations want it), and ``KEPT`` older ones for players that are late; ``BYTES_MAX`` a
stream, beyond which the oldest go.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed

from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.hub.formats import OutputFormat
from relay.hub.output import LINGER_S, Output, Way
from relay.hub.poller import SegmentsError, SegmentViewer
from relay.hub.seams import Taker, Writer
from relay.hub.segment_terms import CUT_SHARE, TARGET_MIN_S, choose_terms
from relay.hub.viewer import Who
from relay.mux.cmaf import CmafWriter, TsWriter
from relay.mux.playlist import Part, Segment, Terms, media_playlist

if TYPE_CHECKING:
    from relay.hub.stream import Stream

SEGMENTED = ("hls", "hls-ts")  #: containers
LISTED = 7  #: segments in a playlist, if they last three target durations
LISTED_MAX = 40
KEPT = 3  #: older ones that are still given
BYTES_MAX = 33554432  #: of all segment outputs of a stream
SEGMENT_BYTES = 8388608  #: a segment is cut here whatever it begins with
FIRST_SHARE = 1.25  #: the first segment lasts at most so many times ``segment_s``
STEP_MAX_MS = 2000  #: a longer step is a pause of the source, not the duration of a picture
STEP_MS = 40  #: until one is known
LATE_SOUND_MS = 400  #: transcoded sound comes so much later at most, else pictures do not wait for it at the beginning
SOUND_WAIT_S = 0.5
DRIFT_MS = 500  #: the segments' times may differ so much from the clock's before they are set right
WAITS_MAX = 1000  #: blocked reloads in all

_waits = itertools.count()


class SegmentOutput(Output):
    """Segments of one stream in one format."""

    __slots__ = (
        "_anchor",
        "_bytes",
        "_count",
        "_cut_next",
        "_deferreds",
        "_discontinuities",
        "_discontinuity",
        "_fed_bytes",
        "_held",
        "_held_until",
        "_init_number",
        "_key_at",
        "_key_step",
        "_last_at",
        "_listed",
        "_next_audio",
        "_old",
        "_part_at",
        "_part_key",
        "_playlists",
        "_pollers",
        "_segment",
        "_segment_at",
        "_step",
        "_writing",
        "ended",
        "inits",
        "key",
        "sent",
        "takers",
        "terms",
        "writer",
    )

    def __init__(self, stream: Stream, fmt: OutputFormat, unsupported: Callable[..., str]) -> None:
        super().__init__(stream, fmt, lambda fmt, key: None, unsupported)  # type: ignore[arg-type,return-value] # it has a writer instead
        self.flexible = True
        self.key = secrets.token_urlsafe(12)  #: stands in every address, and is all that opens them
        self.writer: Writer = CmafWriter() if fmt.container == "hls" else TsWriter()
        self.terms: Terms | None = None  #: chosen with the first segment
        self.inits: dict[int, bytes] = {}  #: initialisation segments by number
        self.ended = ""  #: why no more will come
        self.sent = 0  #: bytes of segments and parts given so far
        self.takers: list[Taker] = []
        self._pollers: dict[SegmentViewer, None] = {}
        self._listed: list[Segment] = []
        self._old: list[Segment] = []
        self._segment: Segment | None = None  #: growing
        self._bytes = 0  #: of all segments
        self._fed_bytes = 0  #: gathered for the present part
        self._init_number = -1
        self._segment_at = self._part_at = 0  #: dts of their beginnings
        self._part_key = False
        self._last_at = -1  #: dts of the latest picture
        self._step = STEP_MS
        self._count = 0  #: pictures, or blocks without a picture, of the present segment
        self._key_at = -1
        self._key_step = stream.gop.last_ms
        self._discontinuity = False
        self._discontinuities = 0  #: no longer listed
        self._cut_next = False  #: the next key frame cuts, however early
        self._anchor: tuple[int, int] | None = None  #: (wall clock ms, dts)
        self._next_audio: AudioConfig | None = None  #: the writer's from the next key frame on
        self._writing: AudioConfig | None = None
        self._held: list[Frame] | None = None
        self._held_until = 0.0
        self._playlists: dict[bool, bytes] = {}
        self._deferreds: dict[int, tuple[int, int, Deferred[None]]] = {}

    # tracks -------------------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """The tracks are decided: the cached frames go in at once, so that a running stream has a segment at once."""
        self.writer.configure(self.video, self.audio)
        self._writing = self._next_audio = self.audio
        self._new_init()
        frames = self._replay()
        self.stream.rewire()
        if self.track is not None and not self.track.recent() and frames:
            self._held = frames
            self._held_until = now + SOUND_WAIT_S
        else:
            self._feed(frames)

    def _feed(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.kind == VIDEO:
                self._picture(frame)
            else:
                self._sound(frame)

    def _new_init(self) -> None:
        if self.writer.init:
            self._init_number += 1
            self.inits[self._init_number] = self.writer.init

    def video_changed(self, video: VideoConfig, dts: int) -> None:
        if not self.opened or not self.wants_video:
            return
        if problem := self._unsupported(self.format.container, video):
            self.stream.remove(self, f"unsupported: {problem}")
            return
        self._release_held()
        self.video = video
        self._change(dts)
        self.stream.rewire()

    def audio_changed(self, source: AudioConfig, dts: int) -> None:
        if not self.opened or not self.wants_audio:
            return
        self._release_held()
        self.audio = self._next_audio = self._take_audio(source)
        if self.audio != self._writing:
            if self.terms is None and (self._segment is None or not self._segment.pieces):
                self._writing = self.audio  # nothing has been written yet: the first segment has it too
                self.writer.configure(self.video, self._writing)
                if self.writer.init:
                    self.inits[self._init_number] = self.writer.init
            elif self.video is None:
                self._change(dts)
        self.stream.rewire()

    def _change(self, dts: int) -> None:
        """Other tracks from the next frame on: the segment ends here."""
        self._end_segment(self._end_at(dts))
        self._discontinuity = self._discontinuity or bool(self._listed)
        self._writing = self._next_audio
        self.writer.configure(self.video, self._writing)
        self._new_init()

    def restarted(self) -> None:
        """Another connection feeds the stream from the next key frame on."""
        self._release_held()
        if self._segment is not None:
            self._end_segment(self._last_at + self._step)
            self._discontinuity = True

    def _end_at(self, dts: int) -> int:
        return dts if 0 < dts - self._last_at <= STEP_MAX_MS else self._last_at + self._step

    # frames ---------------------------------------------------------------------------------------------------------------

    def write_key(self, frame: Frame) -> None:
        self._take(frame)

    def way(self) -> Way:
        return self._take, _keep

    def _take(self, frame: Frame) -> bytes:
        if self._held is not None:
            self._hold(frame)
        elif frame.kind == VIDEO:
            self._picture(frame)
        else:
            self._sound(frame)
        return b""

    def _hold(self, frame: Frame) -> None:
        """The first sound of a transcoder is waited for: a first segment without it would be silent."""
        held = self._held
        assert held is not None  # noqa: S101 - the caller looked
        held.append(frame)
        last = max((one.dts for one in held if one.kind == VIDEO), default=frame.dts)
        if self.now() >= self._held_until or (frame.kind != VIDEO and frame.dts >= last - LATE_SOUND_MS):
            self._release_held()

    def _release_held(self) -> None:
        held, self._held = self._held, None
        if held:
            self._feed(held[:1] + sorted(held[1:], key=lambda frame: (frame.dts, frame.kind)))

    def _picture(self, frame: Frame) -> None:
        at = frame.dts
        step = at - self._last_at
        if self._last_at >= 0 and 0 < step <= STEP_MAX_MS:
            self._step = step
        if frame.key:
            if self._key_at >= 0 and not self._discontinuity:
                self._key_step = max(self._key_step, at - self._key_at)
            self._key_at = at
            if self._next_audio != self._writing:
                self._change(at)
        if self._segment is None:
            if not frame.key:
                return  # nothing to refer to: there was no cached group of pictures
            self._begin_segment(frame)
        elif (frame.key and self._may_cut(at)) or self._must_cut(at):
            self._end_segment(at if step <= STEP_MAX_MS else self._last_at + self._step, frame.key)
            self._begin_segment(frame)
        elif self.terms is not None and self.terms.part_target and at - self._part_at + self._step > self.terms.part_target * 1000 + 1:
            self._end_part(at)
        if at == self._part_at:
            self._part_key = frame.key
        self.writer.picture(frame)
        self._count += 1
        self._fed_bytes += len(frame.data)
        self._last_at = at

    def _may_cut(self, at: int) -> bool:
        """A key frame here begins another segment."""
        return self._cut_next or self.terms is None or at - self._segment_at >= self.options.hls_segment_s * 1000 * CUT_SHARE

    def _must_cut(self, at: int) -> bool:
        segment = self._segment
        limit = self.terms.target * 1000 if self.terms is not None else self.options.hls_segment_s * 1000 * FIRST_SHARE
        return at - self._segment_at + self._step > limit or (segment is not None and segment.size + self._fed_bytes > SEGMENT_BYTES)

    def _sound(self, frame: Frame) -> None:
        if self._writing is None or (frame.config is not self._writing and frame.config != self._writing):
            return  # the old codec's last blocks, or the new one's before the key frame
        if self.video is None:
            self._sound_alone(frame)
        elif self._segment is None:
            return  # it would have no picture to begin with
        self.writer.sound(frame)
        self._fed_bytes += len(frame.data)

    def _sound_alone(self, frame: Frame) -> None:
        """Without a picture every block may begin anything."""
        at = frame.dts
        step = at - self._last_at
        if self._last_at >= 0 and 0 < step <= STEP_MAX_MS:
            self._step = step
        if self._segment is None:
            self._begin_segment(frame)
        elif at - self._segment_at >= self.options.hls_segment_s * 1000:
            self._end_segment(at if step <= STEP_MAX_MS else self._last_at + self._step)
            self._begin_segment(frame)
        elif self.terms is not None and self.terms.part_target and at - self._part_at + self._step > self.terms.part_target * 1000 + 1:
            self._end_part(at)
        self._part_key = True
        self._count += 1
        self._last_at = at

    # segments -------------------------------------------------------------------------------------------------------------

    def _begin_segment(self, frame: Frame) -> None:
        number = self._listed[-1].number + 1 if self._listed else 0
        self._segment = Segment(
            number, f"{number}.{self.writer.ending}?key={self.key}", self._wall(frame),
            f"init-{self._init_number}.mp4?key={self.key}" if self.writer.init else "", self._discontinuity, frame.key,
        )  # fmt: skip
        self._discontinuity = False
        self._cut_next = not frame.key
        if not frame.key and self.terms is not None and self.terms.independent:
            self.terms = Terms(self.terms.target, self.terms.part_target)
        self._segment_at = self._part_at = frame.dts
        self._part_key = frame.key
        self._count = 0
        self.writer.begin_segment()

    def _wall(self, frame: Frame) -> int:
        """The wall clock at a frame, ms: counted on from an anchor, since arrival trembles."""
        wall = self.stream.wall() * 1000
        if frame.source_time:
            wall -= max(self.now() - frame.source_time, 0.0) * 1000
        if self._anchor is not None and not self._discontinuity:
            counted = self._anchor[0] + frame.dts - self._anchor[1]
            if abs(counted - wall) <= DRIFT_MS:
                return counted
        self._anchor = (int(wall), frame.dts)
        return int(wall)

    def _end_part(self, at: int) -> None:
        """What was gathered becomes a part; the next one begins at ``at``."""
        segment = self._segment
        data = self.writer.take(at)
        if segment is not None and data:
            part = Part(
                f"{segment.number}.{len(segment.pieces)}.{self.writer.ending}?key={self.key}", max(at - self._part_at, 1) / 1000, self._part_key
            )
            segment.parts.append(part)
            segment.pieces.append(data)
            segment.size += len(data)
            self._bytes += len(data)
            for taker in list(self.takers):
                taker.piece(segment, data, self.inits.get(self._init_number, b""), self._writing)
        self._fed_bytes = 0
        self._part_at = at
        self._part_key = False
        self._changed()

    def _end_segment(self, at: int, clean: bool = False) -> None:
        """``clean``: the next one begins with a key frame."""
        segment = self._segment
        if segment is None:
            return
        self._end_part(at)
        self._segment = None
        if not segment.pieces:
            self._discontinuity = self._discontinuity or segment.discontinuity
            return
        segment.duration = max(at - self._segment_at, 1) / 1000
        for taker in list(self.takers):
            taker.segment_ended(segment)
        self._listed.append(segment)
        if self.terms is None:
            self._choose_terms(segment, clean)
        self._forget()
        self._changed()

    def _choose_terms(self, first: Segment, clean: bool) -> None:
        """The first segment is whole: now everything is chosen that must not change later."""
        part = self.options.hls_part_s if self.format.container == "hls" else 0.0
        key_step = self._key_step / 1000 if self.video is not None else None
        self.terms = choose_terms(self.options.hls_segment_s, part, key_step, first.duration, self._count, clean)
        first.parts = []  # it is one piece, longer than a part may be
        self._part_at = self._segment_at

    def _forget(self) -> None:
        """Take what is old off the list, and out of memory."""
        assert self.terms is not None  # noqa: S101 - the caller chose them
        listed, old = self._listed, self._old
        span = sum(segment.duration for segment in listed)
        recent = 3 * self.terms.target
        sharers = sum(isinstance(output, SegmentOutput) for output in self.stream.outputs())
        limit = BYTES_MAX // max(sharers, 1)
        while len(listed) > 1 and (
            (len(listed) > LISTED and span - listed[0].duration >= recent) or len(listed) > LISTED_MAX or self._bytes > limit
        ):
            if old and self._bytes > limit:
                self._drop(old.pop(0))
                continue
            segment = listed.pop(0)
            span -= segment.duration
            self._discontinuities += segment.discontinuity
            old.append(segment)
        while len(old) > KEPT:
            self._drop(old.pop(0))
        for segment in listed[:-1]:  # parts are for who is at the edge
            span -= segment.duration
            if span >= recent - 0.001:
                segment.parts = []
        first = next(iter(old or listed))
        if first.map_uri:
            oldest = int(first.map_uri[5:].partition(".")[0])
            for number in [number for number in self.inits if number < oldest]:
                del self.inits[number]

    def _drop(self, segment: Segment) -> None:
        self._bytes -= segment.size

    # for who fetches ---------------------------------------------------------------------------------------------------------

    def init_segment(self, number: int) -> bytes | None:
        """An initialisation segment that is still named."""
        return self.inits.get(number)

    def pieces(self, number: int, part: int | None = None) -> list[bytes] | None:
        """The bytes of a segment (whole ones only) or of one of its parts; None when it is not there, or no more."""
        growing = self._segment
        if growing is not None and growing.number == number:
            return [growing.pieces[part]] if part is not None and part < len(growing.pieces) else None
        first = self._old or self._listed
        if not first:
            return None
        at = number - first[0].number
        if at < 0:
            return None
        segment = self._old[at] if at < len(self._old) else self._listed[at - len(self._old)] if at - len(self._old) < len(self._listed) else None
        if segment is None or segment.number != number:
            return None
        if part is None:
            return segment.pieces
        return [segment.pieces[part]] if part < len(segment.pieces) else None

    @property
    def ready(self) -> bool:
        """A playlist with a segment can be given."""
        return self.terms is not None

    @property
    def edge(self) -> tuple[int, int]:
        """(segment, part) that comes next."""
        if self._segment is not None:
            return self._segment.number, len(self._segment.pieces)
        return (self._listed[-1].number + 1 if self._listed else 0), 0

    def has(self, number: int, part: int | None) -> bool:
        """The playlist contains this segment, or this part (one beyond a whole segment's last is the first of the next)."""
        segment, parts = self.edge
        if part is None:
            return number < segment
        if number < segment and number == segment - 1 and self._listed and part >= len(self._listed[-1].pieces):
            return parts > 0
        return number < segment or (number == segment and part < parts)

    def bandwidth(self) -> int:
        """Bit/s of the busiest segment there is."""
        return max((int(segment.size * 8 / segment.duration) for segment in self._listed if segment.duration >= 0.5), default=0)

    @property
    def fps(self) -> float:
        """Pictures a second, by the present step."""
        return round(1000 / self._step, 3) if self.video is not None else 0.0

    def playlist(self, skip: bool = False) -> bytes:
        """The media playlist; built once for all who ask until it changes."""
        text = self._playlists.get(skip)
        if text is None:
            assert self.terms is not None  # noqa: S101 - ``ready`` was waited for
            low = self.terms.part_target > 0
            number, part = self.edge
            hint = f"{number}.{part}.{self.writer.ending}?key={self.key}" if low else ""
            text = media_playlist(self.terms, self._listed, self._segment if low else None, self._discontinuities, bool(self.ended), hint, skip).encode()
            self._playlists[skip] = text
        return text

    def wait(self, number: int, part: int | None) -> Deferred[None]:
        """Fires when ``has(number, part)``; -1: when ``ready``. Fails with SegmentsError; cancelling is leaving."""
        if (self.ready and (number < 0 or self.has(number, part))) or (self.ended and self.ready):
            return succeed(None)
        if self.ended:
            return fail(SegmentsError("ended", f"the stream ended: {self.ended}"))
        if self.stream.segment_waits.count >= WAITS_MAX:
            return fail(SegmentsError("busy", f"{WAITS_MAX} requests are waiting for segments already"))
        ident = next(_waits)
        deferred: Deferred[None] = Deferred(lambda _: self._unwait(ident))
        self._deferreds[ident] = (number, -1 if part is None else part, deferred)
        self.stream.segment_waits.count += 1
        return deferred

    def _unwait(self, ident: int) -> None:
        if self._deferreds.pop(ident, None) is not None:
            self.stream.segment_waits.count -= 1

    def _changed(self) -> None:
        self._playlists.clear()
        if not self.ready or not self._deferreds:
            return
        for ident, (number, part, deferred) in list(self._deferreds.items()):
            if number < 0 or self.ended or self.has(number, part if part >= 0 else None):
                self._unwait(ident)
                deferred.callback(None)

    # viewers ------------------------------------------------------------------------------------------------------------------

    def join(self, who: Who) -> SegmentViewer:
        """Somebody will poll the playlist."""
        now = self.now()
        viewer = SegmentViewer(self, who, now)
        self._pollers[viewer] = None
        if not self.opened:
            self.stream.try_open(self, now)
        return viewer

    def poller_closed(self, viewer: SegmentViewer) -> None:
        """It will ask no more."""
        self._pollers.pop(viewer, None)
        self.sent_before += viewer.sent_bytes
        if not self._pollers:
            self.empty_since = self.now()
        self.stream.viewer_gone(viewer)

    def viewers(self) -> Iterator[SegmentViewer]:  # type: ignore[override]
        yield from list(self._pollers)

    def sent_total(self) -> int:
        return self.sent + self.sent_before + sum(viewer.sent_bytes for viewer in self._pollers)

    def __len__(self) -> int:
        return len(self._pollers)

    @property
    def patience(self) -> float:
        """A viewer that has not asked for so many seconds has gone; a request waits no longer."""
        return 3.0 * (self.terms.target if self.terms is not None else TARGET_MIN_S)

    def sweep(self, now: float) -> bool:
        if self._held is not None and now >= self._held_until:
            self._release_held()
        for viewer in [viewer for viewer in self._pollers if now - viewer.seen > self.patience]:
            viewer.close("stopped asking")
        return not self._pollers and now - self.empty_since > LINGER_S

    def flush(self) -> None:
        """Nothing is sent: viewers fetch."""

    def drop_cache(self) -> None:
        """Segments are kept whatever the GOP cache does."""

    def close(self, cause: str, drain: bool = False) -> None:
        if self.opened:
            self._release_held()
            self._end_segment(self._last_at + self._step)
        self.ended = cause
        self._changed()
        for ident, (_, _, deferred) in list(self._deferreds.items()):
            self._unwait(ident)
            deferred.errback(SegmentsError("ended", f"the stream ended: {cause}"))
        super().close(cause, drain)


def _keep(data: bytes) -> None:
    """Nothing is kept besides segments."""
