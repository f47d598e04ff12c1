"""Turns a stream's sound into what an output can carry: FLAC in plain Python, AAC and Opus through PyAV (the extra ``media``).

::

    source block ─→ SampleClock ─→ decoder ─→ PCM ─→ encoder ─→ deliver(frame)
                    (gaps, jumps)

    FLAC from G.711, G.726, ADPCM, PCM      at once, inside push()                    (PureTrack)
    everything with PyAV in it              in a thread of the pool, batch by batch   (PooledTrack)

    PooledTrack:   idle ──push, a frame can become whole──→ running ──job done, none can──→ idle
                                     └──job done, one can──→ running        each ──close──→ closed

A track has one queue and is in at most one job at a time, so its frames stay in order however many threads the pool has. A job takes all tracks that
are ready (``BATCH`` at most), and no more than ``JOBS`` of them are under way: with one track it begins at once, with hundreds a hop to a thread and back
serves a dozen. Jobs return frames; ``deliver`` is called in the thread that called ``push``.

Time: sound is counted in samples from an anchor on the stream's output clock. Stamps of terminals tremble by tens of milliseconds,
which a count does not; a stamp that is off by more than ``JUMP_MS`` is a gap (filled with silence, because a hole in one track stalls Media
Source players), a long pause (new anchor) or sound that comes too fast (left out until the count is caught up with).
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.codec import flac, g711, pcm
from relay.codec.audio import DECODABLE, PcmDecoder, decoder, sample_count
from relay.codec.frame import AUDIO, AudioConfig, Frame
from relay.errors import DecodeError
from relay.hub.pipeline import AV_DECODERS, Pipeline, SampleClock, have_av, target_config
from relay.hub.stats import TrackStats
from relay.settings import Audio

if TYPE_CHECKING:
    from relay.hub.stream import TrackTranscoder

_log = Logger()

#: A block that claims to last longer is left out: terminals send 20 to 128 ms, and a body of 64 KiB of G.726 is 16 s of sound that takes
#: a third of a second to decode.
BLOCK_MAX_MS = 1000
#: Blocks that wait for a thread. A joining output hands in the cached GOP at once (12 s, 600 blocks of 20 ms); beyond, the oldest go.
QUEUE_MAX = 1000

#: jobs under way; the decoders and encoders leave the interpreter's lock for most of their time
JOBS = 2
#: tracks in one job; a thousandth of a second or two
BATCH = 16

TARGETS = ("flac", "aac", "opus")

Block = tuple[int, bytes, float]  #: dts, data, source time


class Done(NamedTuple):
    """What a job made of a track's blocks."""

    frames: list[Frame]
    dropped: int
    filled_ms: int
    missing: int  #: samples of the source until there is another frame
    cpu_s: float


Deliver = Callable[[Frame], None]
#: Runs a function in a thread of the pool: ``partial(deferToThreadPool, reactor, pool)``, or ``maybeDeferred`` in tests.
Run = Callable[..., Deferred[Any]]


class _Track:
    """Common to both kinds: configuration, counts."""

    def __init__(self, owner: Transcoders, source: AudioConfig, config: AudioConfig, deliver: Deliver) -> None:
        self.source = source
        self.config = config
        self._owner = owner
        self._deliver = deliver
        self.closed = False
        self.blocks = self.frames = self.dropped = self.filled_ms = 0
        self.cpu_s = 0.0

    def stats(self) -> TrackStats:
        """What it has done so far."""
        return TrackStats(
            self.source.codec, self.config.codec, self.blocks, self.frames, self.dropped, self.filled_ms, self.cpu_s
        )

    def too_long(self, frame: Frame) -> bool:
        """Leaves out, and counts, what no terminal sends."""
        if sample_count(self.source, frame.data) * 1000 <= BLOCK_MAX_MS * self.source.sample_rate:
            return False
        self.dropped += 1
        return True

    def give(self, frames: list[Frame]) -> None:
        """To whoever opened the track, who may close it on any of them."""
        for frame in frames:
            if self.closed:
                return
            self.frames += 1
            self._deliver(frame)

    def close(self) -> None:
        """No more frames, now or later."""
        if not self.closed:
            self.closed = True
            self._owner.gone(self)


# --- FLAC in plain Python -------------------------------------------------------------------------------------------------------------


class PureTrack(_Track):
    """FLAC from a source that pure Python decodes; a block in, its frames out, at once."""

    def __init__(self, owner: Transcoders, source: AudioConfig, config: AudioConfig, deliver: Deliver, source_decoder: PcmDecoder) -> None:
        super().__init__(owner, source, config, deliver)
        self._decoder = source_decoder
        self._clock = SampleClock(source.sample_rate)
        self._encoder = flac.Encoder(source.sample_rate, source.channels)
        self._wasted = g711.WASTED.get(source.codec, 0)

    def push(self, frame: Frame) -> None:
        """One block of the source."""
        if self.closed:
            return
        start = time.thread_time()
        self.blocks += 1
        if self.too_long(frame):
            return
        out: list[Frame] = []
        silence = self._clock.place(frame.dts)
        if silence < 0:
            self.dropped += 1
            return
        if silence:  # what runs on from block to block belongs to the time before the gap
            self._decoder.reset()
        try:
            if self._wasted:
                samples = g711.decode_short(self.source.codec, frame.data)
            else:
                samples = pcm.samples(self._decoder.decode(frame.data))
        except DecodeError:
            self.dropped += 1
            return
        if silence:
            self.filled_ms += silence * 1000 // self._clock.rate
            self._encode(array("h", bytes(2 * silence * self.source.channels)), frame, out)
        self._encode(samples, frame, out)
        self.cpu_s += time.thread_time() - start
        self.give(out)

    def _encode(self, samples: array[int], frame: Frame, out: list[Frame]) -> None:
        clock, config = self._clock, self.config
        for data, count in self._encoder.encode_samples(samples, self._wasted):
            at = clock.now_ms
            out.append(Frame(AUDIO, at, at, True, data, config, count, frame.source_time))
            clock.count += count


# --- with PyAV, in a thread -------------------------------------------------------------------------------------------------------------


class PooledTrack(_Track):
    """Any source to any target through PyAV, off the reactor's thread."""

    log = Logger()

    def __init__(self, owner: Transcoders, source: AudioConfig, config: AudioConfig, deliver: Deliver, rate: int) -> None:
        super().__init__(owner, source, config, deliver)
        self._rate = rate
        self._pipeline: Pipeline | None = None  # made by the first job
        self._waiting: deque[Block] = deque()
        self._samples = 0  #: that wait
        self._missing = 0  #: that a frame wants before it is whole
        self._running = False
        self.failed = ""  #: why it stopped for good

    def push(self, frame: Frame) -> None:
        """One block of the source."""
        if self.closed or self.failed:
            return
        self.blocks += 1
        if self.too_long(frame):
            return
        if len(self._waiting) >= QUEUE_MAX:
            self._samples -= sample_count(self.source, self._waiting.popleft()[1])
            self.dropped += 1
        self._waiting.append((frame.dts, frame.data, frame.source_time))
        self._samples += sample_count(self.source, frame.data)
        if not self._running:
            self._start()

    def _start(self) -> None:
        """Ask for a thread, once a frame can become whole: the encoder takes 128 ms of 8 kHz sound at a time, and until then all would be for nothing."""
        if self._waiting and self._samples >= self._missing and not self.closed and not self.failed:
            self._running = True
            self._owner.wake(self)

    def take(self) -> list[Block]:
        """What waits, for a job."""
        blocks = list(self._waiting)
        self._waiting.clear()
        self._samples = 0
        return blocks

    def work(self, blocks: list[Block]) -> Done | Failure:
        """In a thread: what becomes of them."""
        start = time.thread_time()
        try:
            if self._pipeline is None:
                self._pipeline = Pipeline(self.source, self.config, self._rate, self._owner.settings.aac_bitrate)
            frames, dropped, filled = self._pipeline.run(blocks)
            missing = self._pipeline.missing * self.source.sample_rate // self._rate
        except Exception:  # whatever it is, the other tracks of the job go on
            return Failure()  # type: ignore[no-untyped-call]
        return Done(frames, dropped, filled, missing, time.thread_time() - start)

    def finished(self, result: Done | Failure) -> None:
        """A job is over."""
        self._running = False
        if isinstance(result, Failure):
            self.broken(result)
            return
        self.dropped += result.dropped
        self.filled_ms += result.filled_ms
        self.cpu_s += result.cpu_s
        self._missing = result.missing
        self.give(result.frames)
        self._start()

    def broken(self, failure: Failure) -> None:
        """A job that raised something else than a damaged block's error: the track ends, its place is given back."""
        self._running = False
        self._waiting.clear()
        self.failed = failure.getErrorMessage()
        self.log.failure("{source} to {target}: the transcoder stopped", failure, source=self.source.codec, target=self.config.codec)
        self.close()


def _work(batch: list[tuple[PooledTrack, list[Block]]]) -> list[tuple[PooledTrack, Done | Failure]]:
    """A job: in a thread."""
    return [(track, track.work(blocks)) for track, blocks in batch]


# --- all tracks ---------------------------------------------------------------------------------------------------------------------------


class Transcoders:
    """Opens tracks, as many as the settings admit; knows what is possible here."""

    def __init__(self, settings: Audio, run: Run, av: bool | None = None) -> None:
        self.settings = settings
        self.run = run
        self.av = have_av() if av is None else av  #: the extra ``media`` is there
        self._tracks: dict[_Track, None] = {}
        self._ready: dict[PooledTrack, None] = {}
        self._jobs = 0
        self._pure_g726 = 0
        self.cpu_s = 0.0  #: of tracks that are closed
        self.refused = 0  #: by admission

    def available(self, target: str, source: AudioConfig | None = None) -> str:
        """``""``, or why this target cannot be made (of this source), in words."""
        if target not in TARGETS:
            return f"{target} is no target of transcoding: {', '.join(TARGETS)}"
        name = {"flac": "FLAC", "aac": "AAC", "opus": "Opus"}[target]
        if source is not None and source.codec not in DECODABLE and source.codec not in AV_DECODERS:
            return f"{source.codec} cannot be decoded"
        if source is not None and not 1 <= source.channels <= 2:
            return f"sound of {source.channels} channels is not transcoded"
        if not self.av and target != "flac":
            return f"{name} needs the extra `media` (PyAV), which is not installed"
        if not self.av and source is not None and source.codec not in DECODABLE:
            return f"{name} from {source.codec} needs the extra `media` (PyAV), which is not installed"
        return ""

    def open(self, source: AudioConfig, target: str, deliver: Deliver) -> TrackTranscoder | str:
        """A transcoder that calls ``deliver`` for every frame, or why there is none, in words."""
        problem = self.available(target, source)
        if not problem and len(self._tracks) >= self.settings.transcodes_max:
            self.refused += 1
            problem = f"{self.settings.transcodes_max} tracks are being transcoded already (audio.transcodes_max)"
        pure = target == "flac" and source.codec in DECODABLE and not (source.codec == "g726" and self.av)
        if not problem and pure and source.codec == "g726" and self._pure_g726 >= self.settings.g726_pure_max:
            self.refused += 1
            problem = f"{self._pure_g726} tracks of G.726 are being decoded already without the extra `media` (audio.g726_pure_max)"
        if problem:
            return problem
        if pure:
            source_decoder = decoder(source)
            if source_decoder is None:
                return f"{source.codec} of {source.bits} bits cannot be decoded"
            info = flac.stream_info(source.sample_rate, source.channels)
            config = AudioConfig("flac", source.sample_rate, source.channels, extra=info)
            track: PureTrack | PooledTrack = PureTrack(self, source, config, deliver, source_decoder)
            self._pure_g726 += source.codec == "g726"
        else:
            config, rate = target_config(source, target)
            track = PooledTrack(self, source, config, deliver, rate)
        self._tracks[track] = None
        return track

    def wake(self, track: PooledTrack) -> None:
        """There is work for a thread."""
        self._ready[track] = None
        if self._jobs < JOBS:
            self._dispatch()

    def _dispatch(self) -> None:
        batch = [(track, track.take()) for track in islice(self._ready, BATCH)]
        for track, _ in batch:
            del self._ready[track]
        if not batch:
            return
        self._jobs += 1
        done = self.run(_work, batch)
        done.addCallbacks(self._worked, self._lost, errbackArgs=(batch,))
        done.addErrback(lambda failure: _log.failure("frames of a transcoder were not taken", failure))

    def _worked(self, results: list[tuple[PooledTrack, Done | Failure]]) -> None:
        self._jobs -= 1
        self._dispatch()  # the thread has something to do while these are given away
        for track, result in results:
            try:
                track.finished(result)
            except Exception:  # of whoever takes the frames; the other tracks go on
                track.broken(Failure())  # type: ignore[no-untyped-call]

    def _lost(self, failure: Failure, batch: list[tuple[PooledTrack, list[Block]]]) -> None:
        """There was no thread."""
        self._jobs -= 1
        for track, _ in batch:
            track.broken(failure)

    def gone(self, track: _Track) -> None:
        """A track was closed: its place is free."""
        self._ready.pop(track, None)  # type: ignore[call-overload]  # a pure one is not among them
        if track in self._tracks:
            del self._tracks[track]
            self.cpu_s += track.cpu_s
            self._pure_g726 -= isinstance(track, PureTrack) and track.source.codec == "g726"

    def stats(self) -> list[TrackStats]:
        """Of all open tracks."""
        return [track.stats() for track in self._tracks]
