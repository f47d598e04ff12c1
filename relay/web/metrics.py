"""``/metrics``: the relay's figures for Prometheus, read when they are asked for; nothing is counted here per packet.

Sums over streams never fall: what a stream has counted stays in the sum when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from relay.core.trace import HopTimes
from relay.hub.registry import Registry, StreamEvent
from relay.hub.stats import StreamStats

STREAMS_MAX = 1000  #: streams with series of their own; more would burden the scraper, and the sums have them all

#: sums over all streams: name, help, what of StreamStats
_SUMS: tuple[tuple[str, str, Callable[[StreamStats], int]], ...] = (
    ("media_packets", "JT/T 1078 packets received", lambda stats: stats.packets),
    ("media_packets_lost", "JT/T 1078 packets missing", lambda stats: stats.lost),
    ("media_received_bytes", "Media bytes received, packet headers included", lambda stats: stats.bytes),
    ("media_frames", "Whole frames received", lambda stats: stats.frames),
    ("media_frames_dropped", "Frames given up by the ingest", lambda stats: stats.dropped_frames),
    ("viewer_sent_bytes", "Media bytes sent to viewers", lambda stats: stats.sent_bytes),
    ("viewer_queue_drops", "Overflows of viewers' queues, each a jump to the next key frame", lambda stats: stats.queue_drops),
)

#: of each stream: name, help, what of StreamStats
_EACH: tuple[tuple[str, str, Callable[[StreamStats], float]], ...] = (
    ("stream_fps", "Video frames a second", lambda stats: stats.fps),
    ("stream_bitrate", "Bits a second received", lambda stats: stats.bitrate),
    ("stream_loss_percent", "Packets missing of packets due", lambda stats: stats.loss_percent),
    ("stream_viewers", "Viewers", lambda stats: stats.viewers),
    ("stream_delay_p99_ms", "Delay added by the relay, 99th percentile", lambda stats: stats.delay_p99_ms),
)


class Figures(NamedTuple):
    """Figures of other parts, as functions that are called when somebody asks: name → (help, function)."""

    gauges: Mapping[str, tuple[str, Callable[[], float]]] = {}
    counters: Mapping[str, tuple[str, Callable[[], float]]] = {}  #: names without ``_total``
    by_word: Mapping[str, tuple[str, Callable[[], Mapping[str, int]]]] = {}  #: counters with a label ``what``
    labelled: Mapping[str, tuple[str, str, bool, Callable[[], Mapping[str, float]]]] = {}  #: name → (label, help, whether it is a counter, function)
    histograms: Mapping[str, tuple[str, str, Callable[[], HopTimes]]] = {}  #: name → (label, help, function)


class Collector:
    """Everything, in the form that prometheus_client wants."""

    def __init__(self, version: str, hub: Registry, figures: Figures = Figures()) -> None:  # noqa: B008 - immutable
        self._version = version
        self._hub = hub
        self._figures = figures
        self._ended = [0] * len(_SUMS)
        self._starts = 0
        self.stop = hub.observe(self._observe)

    def _observe(self, event: StreamEvent) -> None:
        if event.name == "first_packet":
            self._starts += 1
        elif event.name == "ended" and event.stream is not None:
            stats = event.stream.stats()
            for at, (_, _, value) in enumerate(_SUMS):
                self._ended[at] += value(stats)

    def describe(self) -> list[Metric]:
        """Nothing is fixed beforehand; without this the registry would collect once at registration."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield InfoMetricFamily("jt1078relay", "What runs", {"version": self._version})
        streams = [(stream, stream.stats()) for stream in self._hub.streams()]
        states = GaugeMetricFamily("jt1078relay_streams", "Streams by state", labels=["state"])
        counts = dict.fromkeys(("starting", "running", "lost"), 0)
        for stream, _ in streams:
            counts[stream.state.value] = counts.get(stream.state.value, 0) + 1
        for state, count in counts.items():
            states.add_metric([state], count)
        yield states
        yield _counter("stream_starts", "Sources whose first packet came", self._starts)
        yield _counter("media_connections_refused", "Media connections not let in", self._hub.refused)
        yield _gauge("viewers", "Viewers of all streams", sum(stats.viewers for _, stats in streams))
        yield _gauge("merge_ms", "How long reads and writes are gathered now", self._hub.merge.ms)
        yield _gauge("reactor_share", "Share of one processor used by the reactor's thread", round(self._hub.merge.share, 4))
        for at, (name, text, value) in enumerate(_SUMS):
            yield _counter(name, text, self._ended[at] + sum(value(stats) for _, stats in streams))
        for each, text, number in _EACH:
            series = GaugeMetricFamily(f"jt1078relay_{each}", text, labels=["stream"])
            for stream, stats in streams[:STREAMS_MAX]:
                series.add_metric([str(stream.key)], number(stats))
            yield series
        for name, (text, figure) in self._figures.gauges.items():
            yield _gauge(name, text, figure())
        for name, (text, figure) in self._figures.counters.items():
            yield _counter(name, text, figure())
        for name, (label, text, counter, values) in self._figures.labelled.items():
            of = CounterMetricFamily if counter else GaugeMetricFamily
            labelled = of(f"jt1078relay_{name}", text, labels=[label])
            for word, number_of in sorted(values().items()):
                labelled.add_metric([word], number_of)
            yield labelled
        for name, (label, text, times_of) in self._figures.histograms.items():
            histogram = HistogramMetricFamily(f"jt1078relay_{name}", text, labels=[label])
            times = times_of()
            edges = [*map(str, times.EDGES), "+Inf"]
            for hop, reached in times.counts.items():
                histogram.add_metric([hop], list(zip(edges, accumulate(reached), strict=True)), times.sums[hop])
            yield histogram
        for name, (text, words) in self._figures.by_word.items():
            family = CounterMetricFamily(f"jt1078relay_{name}", text, labels=["what"])
            for word, count in sorted(words().items()):
                family.add_metric([word], count)
            yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"jt1078relay_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"jt1078relay_{name}", text, value=value)


class Metrics:
    """The registry behind ``/metrics``."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, collector: Collector) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._collector = collector

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Listen to streams no longer."""
        self._collector.stop()
