"""What is counted of a stream, and what is said of it: the part of ``Stream`` that moves no frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.hub.formats import OutputFormat
from relay.hub.gop import GopCache
from relay.hub.merge import Clock, Merge
from relay.hub.output import Output
from relay.hub.poller import SegmentViewer
from relay.hub.seams import Ingest
from relay.hub.stats import DelayHistogram, Meter, Sample, StreamStats, TrackStats, ViewerStats
from relay.hub.track import Track
from relay.hub.viewer import Viewer

if TYPE_CHECKING:
    from relay.hub.shortcut import Shortcut

#: the delay's percentiles cover between one and two of these
DELAY_SPAN_S = 10.0


class Figures:
    """Of one stream; all counts since it was opened."""

    __slots__ = (
        "_bytes",
        "_delay",
        "_drops_before",
        "_frames",
        "_key_bytes",
        "_last_dts",
        "_last_packet",
        "_loss_mark",
        "_merge",
        "_meter",
        "_mutes",
        "_outputs",
        "_packets",
        "_rotate_at",
        "_sent_before",
        "_sound_blocks",
        "_sound_bytes",
        "_tracks",
        "clock",
        "crowded",
        "gop",
        "ingest",
        "key_frames",
        "lost_packets",
        "opened",
        "shortcut",
    )

    def __init__(self, clock: Clock, merge: Merge, ingest: Ingest, gop: GopCache) -> None:
        self.clock = clock
        self.ingest = ingest
        self.gop = gop
        self.shortcut: Shortcut | None = None  #: of the connection that feeds it
        self._merge = merge
        self._outputs: dict[OutputFormat, Output] = {}
        self._tracks: dict[str, Track] = {}
        now = clock.seconds()
        self.opened = now
        self.crowded = False  #: so many viewers that their writes are gathered (``merge``)
        self.lost_packets = 0
        self.key_frames = 0
        self._packets = 0
        self._bytes = 0
        self._frames = 0
        self._key_bytes = 0
        self._sound_blocks = 0
        self._sound_bytes = 0
        self._mutes = 0
        self._last_packet = 0.0
        self._last_dts = 0
        self._delay = DelayHistogram()
        self._rotate_at = now + DELAY_SPAN_S
        self._meter = Meter(now)
        self._loss_mark = (0, 0)
        self._sent_before = 0  #: by outputs that are gone
        self._drops_before = 0  #: the same

    def measure(self, since: float) -> None:
        """Count the delay of what was read then and has been sent now."""
        self._delay.add(self.clock.seconds() - since)

    def _count(self) -> None:
        """Take over what the shortcut has counted."""
        if self.shortcut is not None:
            self.shortcut.count()

    @property
    def packets(self) -> int:
        """That came, whole."""
        self._count()
        return self._packets

    @property
    def received(self) -> int:
        """Bytes that came, headers of the packets included."""
        self._count()
        return self._bytes

    @property
    def frames(self) -> int:
        """Pictures passed on."""
        self._count()
        return self._frames

    @property
    def last_packet(self) -> float:
        """Monotonic seconds at which something came last."""
        self._count()
        return self._last_packet

    @last_packet.setter
    def last_packet(self, now: float) -> None:
        self._count()
        self._last_packet = now

    @property
    def last_dts(self) -> int:
        """Of what was passed on last, in ms on the output clock."""
        self._count()
        return self._last_dts

    def sample(self) -> Sample:
        """What has been counted so far."""
        self._count()
        looked_at = self._sound_blocks >> 2
        return Sample(
            self._packets, self._bytes, self._frames, self.key_frames, self._key_bytes, looked_at, self._sound_bytes, self._mutes, self._last_packet
        )

    @property
    def jumps(self) -> int:
        """How often the terminal's stamps have jumped."""
        return int(getattr(getattr(self.ingest, "timeline", None), "jumps", 0))

    @property
    def waits_for_key_frame(self) -> bool:
        """Pictures come, and are of no use before a key frame."""
        return bool(getattr(self.ingest, "has_picture", False) and getattr(self.ingest, "waits_for_key_frame", False))

    @property
    def loss_percent(self) -> float:
        """Packets missing of packets due, lately."""
        return self._meter.loss_percent

    def viewer_count(self) -> int:
        """How many watch."""
        return sum(len(output) for output in self._outputs.values())

    def stats(self) -> StreamStats:
        """Rates and totals now."""
        tick = self._merge.ms
        p50, p99 = self._delay.percentile(0.5), self._delay.percentile(0.99)
        return StreamStats(
            fps=self._meter.fps,
            bitrate=self._meter.bitrate,
            loss_percent=self._meter.loss_percent,
            delay_p50_ms=round(p50 + tick / 2, 2),
            delay_p99_ms=round(p99 + tick, 2),
            packets=self.packets,
            lost=self.lost_packets,
            bytes=self.received,
            frames=self.frames,
            key_frames=self.key_frames,
            dropped_frames=self._dropped(),
            gop_frames=len(self.gop.items),
            gop_bytes=self.gop.size(),
            viewers=self.viewer_count(),
            sent_bytes=self._sent_before + sum(output.sent_total() for output in self._outputs.values()),
            queue_drops=self._drops_before + sum(output.drops for output in self._outputs.values()),
            uptime_s=round(self.clock.seconds() - self.opened, 3),
            merge_ms=max(tick, round(self._merge.crowd_s * 1000)) if self.crowded else tick,
        )

    def transcodes(self) -> list[TrackStats]:
        """What is made of its sound and picture, and what that costs."""
        costs = [*(track.stats() for track in self._tracks.values()), *(output.cost() for output in self._outputs.values())]
        return [cost for cost in costs if cost is not None]

    def _dropped(self) -> int:
        counts: dict[str, int] = getattr(self.ingest, "counts", {})  # by reason; transparent data is not dropped, it is not ours
        return sum(amount for reason, amount in counts.items() if reason != "passthrough")

    def viewers(self) -> list[ViewerStats]:
        """Every viewer now."""
        self._count()
        return [viewer.stats() for output in self._outputs.values() for viewer in output.viewers()]

    def every_viewer(self) -> list[Viewer | SegmentViewer]:
        """The viewers themselves."""
        return [viewer for output in self._outputs.values() for viewer in output.viewers()]

    def measure_rates(self, now: float) -> None:
        """Once a second."""
        if now >= self._rotate_at:
            self._rotate_at = now + DELAY_SPAN_S
            self._delay.rotate()
        self._count()
        self._meter.sample(now, self._frames, self._bytes, self._packets, self.lost_packets)

    def take_loss(self) -> float | None:
        """Percent of the packets due since the last call that did not come (for 0x9105); None when no packet was due."""
        self._count()
        packets, lost = self._loss_mark
        self._loss_mark = (self._packets, self.lost_packets)
        lost = self.lost_packets - lost
        due = self._packets - packets + lost
        return 100.0 * lost / due if due > 0 else None
