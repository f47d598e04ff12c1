"""Figures of streams and viewers: counted in the hot path as plain additions, turned into rates once a second."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class StreamStats:
    """One stream at one moment; rates are over the last whole interval."""

    fps: float  #: video frames a second
    bitrate: int  #: bit/s received, headers of the packets included
    loss_percent: float  #: packets missing of packets due, last interval; what 0x9105 tells the terminal
    delay_p50_ms: float  #: from the last byte of a frame being read to its being handed to the viewers' sockets,
    delay_p99_ms: float  #: plus the read tick while reads are gathered; 0 while nobody watches
    packets: int
    lost: int
    bytes: int
    frames: int
    key_frames: int
    dropped_frames: int  #: given up by the ingest (holes, waiting for a key frame)
    gop_frames: int  #: in the cache now
    gop_bytes: int
    viewers: int
    sent_bytes: int  #: to all viewers, so far
    queue_drops: int  #: overflows of viewers' queues, so far
    uptime_s: float
    merge_ms: int  #: the present read tick, 0 = at once


#: blocks of nothing but these are silence (+0 and -0); what other codecs make of silence is the same block again
SILENCE = {"g711a": b"\xd5\x55", "g711u": b"\xff\x7f", "pcm": b"\0"}


class Sample(NamedTuple):
    """What a stream has counted so far, at one moment; ``relay.core.quality`` judges the differences."""

    packets: int
    received: int  #: bytes, headers of the packets included
    frames: int  #: pictures
    keys: int  #: of them, key frames
    key_bytes: int
    sounds: int  #: blocks that were looked at
    sound_bytes: int
    mutes: int  #: of them, those of silence, or the same as the one before
    last_packet: float  #: monotonic seconds


class TrackStats(NamedTuple):
    """What turning a stream's sound or picture into another codec has cost so far."""

    source: str
    target: str
    blocks: int  #: taken
    frames: int  #: given
    dropped: int  #: blocks or pictures left out: damaged, too many waiting, or more sound than time
    filled_ms: int  #: silence put into gaps
    cpu_s: float  #: processor time


@dataclass(frozen=True, slots=True)
class ViewerStats:
    """One viewer at one moment."""

    id: int
    state: str  #: waiting | live | busy | resync | closed
    format: str  #: "flv/raw/av/aac"
    peer: str
    who: str
    bytes: int  #: handed to its socket, without the response head
    drops: int  #: times its queue overflowed and it was sent on to a key frame
    queue_bytes: int
    joined: float  #: monotonic seconds
    first_byte: float  #: monotonic seconds, 0 = nothing yet
    queue_ms: int = 0  #: how long the oldest of these has waited
    note: str = ""  #: a track that this output leaves out, in words


class DelayHistogram:
    """Delays in fixed buckets, a list index and an addition each; percentiles are good to 12 %.

    Buckets: 0.25 ms steps to 4 ms, then a factor of 9/8 each up to about 8 s.
    """

    __slots__ = ("_counts", "_old")

    def __init__(self) -> None:
        self._counts = [0] * len(EDGES_MS)
        self._old = self._counts

    def add(self, seconds: float) -> None:
        """Count one delay."""
        ms = seconds * 1000.0
        if ms < 4.0:
            self._counts[int(ms * 4.0) if ms > 0.0 else 0] += 1
        else:
            self._counts[_bucket(ms)] += 1

    def rotate(self) -> None:
        """Begin a new interval; percentiles cover it and the one before."""
        self._old = self._counts
        self._counts = [0] * len(EDGES_MS)

    def percentile(self, share: float) -> float:
        """The delay in ms below which ``share`` (0 to 1) of the counted ones lie; 0.0 when there are none."""
        counts = [a + b for a, b in zip(self._counts, self._old, strict=True)] if self._old is not self._counts else self._counts
        total = sum(counts)
        if not total:
            return 0.0
        rest = share * total
        for edge, count in zip(EDGES_MS, counts, strict=True):
            rest -= count
            if rest <= 0:
                return edge
        return EDGES_MS[-1]


def _edges() -> tuple[float, ...]:
    edges = [0.25 * (i + 1) for i in range(16)]
    while edges[-1] < 8000.0:
        edges.append(edges[-1] * 1.125)
    return tuple(edges)


#: upper edge of each bucket in ms
EDGES_MS = _edges()


def _bucket(ms: float) -> int:
    return min(bisect_left(EDGES_MS, ms), len(EDGES_MS) - 1)


class Meter:
    """Counts that become rates: ``sample`` is called about once a second."""

    __slots__ = ("_at", "_bits", "_frames", "_lost", "_packets", "bitrate", "fps", "loss_percent")

    def __init__(self, now: float) -> None:
        self._at = now
        self._frames = 0
        self._bits = 0
        self._packets = 0
        self._lost = 0
        self.fps = 0.0
        self.bitrate = 0
        self.loss_percent = 0.0

    def sample(self, now: float, frames: int, received: int, packets: int, lost: int) -> None:
        """Take the totals so far and work out the rates since the last call."""
        span = now - self._at
        if span < 0.2:
            return
        self.fps = round((frames - self._frames) / span, 2)
        self.bitrate = int((received - self._bits) * 8 / span)
        due = packets - self._packets + lost - self._lost
        self.loss_percent = round(100.0 * (lost - self._lost) / due, 2) if due > 0 else 0.0
        self._at, self._frames, self._bits, self._packets, self._lost = now, frames, received, packets, lost
