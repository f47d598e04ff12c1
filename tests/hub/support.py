"""Small stand-ins round a real hub: a muxer whose bytes are readable, sinks that take as much as they are told, sources."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.task import Clock

from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.hub.formats import Options, OutputFormat
from relay.hub.merge import Merge
from relay.hub.registry import Admitted, Refusal, Registry, StreamEvent
from relay.hub.stats import TrackStats
from relay.hub.stream import Stream
from relay.hub.viewer import Viewer
from relay.identity import StreamKey
from relay.mux.base import unsupported as mux_unsupported

KEY = StreamKey("13800138000", 1)
SMALL = VideoConfig("h264", (b"s1", b"p1"), b"r1", 352, 288, "avc1.42001E")
LARGE = VideoConfig("h264", (b"s2", b"p2"), b"r2", 1280, 720, "avc1.4D001F")
HEVC = VideoConfig("h265", (b"v", b"s", b"p"), b"r3", 1280, 720, "hvc1.1.6.L93.90")
G711 = AudioConfig("g711a", 8000, 1)
ADPCM = AudioConfig("adpcm", 8000, 1, layout="hisi")
AAC = AudioConfig("aac", 8000, 1, b"\x15\x88")
FLAC = AudioConfig("flac", 8000, 1, b"info")


def words(config: VideoConfig | AudioConfig | None) -> str:
    if config is None:
        return "-"
    return f"{config.codec}:{config.width}" if isinstance(config, VideoConfig) else config.codec


class TextMuxer:
    """``mux.base.Muxer`` whose bytes say what they are: ``{head h264:352 aac}``, ``{conf …}``, ``[V 40 key …]``."""

    content_type = "text/x-frames"
    made = 0

    def __init__(self) -> None:
        self.video: VideoConfig | None = None
        self.audio: AudioConfig | None = None
        self.written = 0
        TextMuxer.made += 1

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        first = self.video is None and self.audio is None
        changed = (video, audio) != (self.video, self.audio)
        self.video, self.audio = video, audio
        return f"{{conf {words(video)} {words(audio)}}}".encode() if changed and not first else b""

    def header(self) -> bytes:
        return f"{{head {words(self.video)} {words(self.audio)}}}".encode()

    def write(self, frame: Frame) -> bytes:
        self.written += 1
        if frame.kind == VIDEO:
            return b"[%s %d %s]" % (b"K" if frame.key else b"P", frame.dts, frame.data)
        return b"[A %d %s %s]" % (frame.dts, frame.config.codec.encode(), frame.data)


def unsupported(container: str, config: VideoConfig | AudioConfig) -> str:
    """As ``mux.base.unsupported``, for the codecs used here."""
    if config.codec in ("g711a", "h264", "h265", "aac", "flac") and not (container == "mp4" and config.codec == "g711a"):
        return ""
    return f"{container} has no form for {config.codec}"


class FakeSink:
    """A socket: takes ``room`` bytes (None = everything), then nothing until ``drain``."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.got = b""
        self.held = b""
        self.sends: list[int] = []
        self.closed: bytes | None = None
        self.aborted = False
        self.lost = False
        self._ready: Callable[[], None] | None = None

    def send(self, data: bytes) -> int:
        assert not self.held, "a send while something is held would overtake it"
        assert self.closed is None
        if self.lost:
            raise ConnectionResetError
        take = len(data) if self.room is None else min(self.room, len(data))
        if self.room is not None:
            self.room -= take
        if not take:
            raise BlockingIOError
        self.got += bytes(data[:take])
        self.sends.append(take)
        return take

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        assert self._ready is None
        assert len(data) <= 16384
        self.held, self._ready = bytes(data), ready

    def drain(self, room: int | None = None) -> None:
        """The peer reads: what is held goes, and there is room for so much more."""
        self.room = room
        if self._ready is not None:
            self.got += self.held
            self.held, ready, self._ready = b"", self._ready, None
            ready()

    def close(self, farewell: bytes) -> None:
        self.got += farewell
        self.closed = farewell

    def abort(self) -> None:
        self.aborted = True

    def pieces(self) -> list[str]:
        """What arrived, cut at the muxer's brackets."""
        found = re.findall(r"\{[^}]*\}|\[[^\]]*\]", self.got.decode("latin-1"))
        assert "".join(found) == self.got.decode("latin-1"), "cut in the middle of a piece"
        return found


class FakeSource:
    """A media connection."""

    def __init__(self, peer: str = "10.0.0.1:4711", transport: str = "tcp") -> None:
        self.peer = peer
        self.transport = transport
        self.closed = ""

    def close(self, reason: str) -> None:
        self.closed = reason


class FakeTrack:
    """A transcoder that renames every block."""

    def __init__(self, source: AudioConfig, target: str, deliver: Callable[[Frame], None]) -> None:
        self.source = source
        self.config = {"aac": AAC, "flac": FLAC}[target]
        self.deliver = deliver
        self.pushed = 0
        self.closed = False
        self.late: list[Frame] | None = None  #: collects instead of delivering at once

    def push(self, frame: Frame) -> None:
        assert not self.closed
        self.pushed += 1
        made = Frame(AUDIO, frame.dts, frame.pts, True, frame.data, self.config, 160, frame.source_time)
        if self.late is None:
            self.deliver(made)
        else:
            self.late.append(made)

    def stats(self) -> TrackStats:
        return TrackStats(self.source.codec, self.config.codec, self.pushed, self.pushed, 0, 0, 0.0)

    def close(self) -> None:
        self.closed = True


class FakeTranscoders:
    """Makes ``FakeTrack``s; ``refuse`` names targets that are not there."""

    def __init__(self, *refuse: str) -> None:
        self.refuse = refuse
        self.tracks: list[FakeTrack] = []

    def available(self, target: str, source: AudioConfig | None = None) -> str:
        return f"{target} is not installed" if target in self.refuse else ""

    def open(self, source: AudioConfig, target: str, deliver: Callable[[Frame], None]) -> FakeTrack | str:
        if target in self.refuse:
            return self.available(target)
        self.tracks.append(FakeTrack(source, target, deliver))
        return self.tracks[-1]


class Raw(NamedTuple):
    """A ``RawFrame`` that is a frame already."""

    frame: Frame
    body: bytes = b"12345"
    packets: int = 1


class PlainIngest:
    """An ingest that passes on."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.restarts = 0
        self.has_picture = False

    def push(self, raw: Any, now: float) -> list[Frame]:
        return [raw.frame]

    def restart(self, now: float) -> None:
        self.restarts += 1


class Hub:
    """A registry with a clock, everything else as small as possible."""

    def __init__(
        self, merge: str | int = 0, admit: Callable[..., Admitted | Refusal] | None = None, refuse: tuple[str, ...] = (), real: bool = False, **options: Any
    ) -> None:
        """``real``: with the product's muxers."""
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.cpu = 0.0
        self.merge = Merge(self.clock, merge, 80, lambda: self.cpu)
        self.merge.start()
        self.transcoders = FakeTranscoders(*refuse)
        options.setdefault("flv_audio", "none")
        self.registry = Registry(
            self.clock,
            Options(**options),
            self.merge,
            lambda key: PlainIngest(),
            transcoders=self.transcoders,
            muxers=None if real else {"flv": lambda fmt, key: TextMuxer(), "mp4": lambda fmt, key: TextMuxer()},
            unsupported=mux_unsupported if real else unsupported,
        )
        self.events: list[StreamEvent] = []
        self.registry.observe(self.events.append)
        if admit is not None:
            outer = admit

            class Admission:
                def admit(self, kind: str, sim: str, channel: int, peer: str, transport: str) -> Admitted | Refusal:
                    return outer(kind, sim, channel, peer, transport)

            self.registry.admission = Admission()
        self.source = FakeSource()
        self.dts = 0

    def open(self, key: StreamKey = KEY, source: FakeSource | None = None, requested: bool = True) -> Stream:
        if source is not None:
            self.source = source
        stream = self.registry.open(key, self.source, requested)
        assert isinstance(stream, Stream), stream
        return stream

    def names(self) -> list[str]:
        """Of the events so far, which are forgotten."""
        names = [event.name for event in self.events]
        self.events.clear()
        return names

    # frames -------------------------------------------------------------------

    def frame(self, what: str, data: bytes = b"x", config: VideoConfig | AudioConfig | None = None, step: int = 40) -> Frame:
        """``K`` key frame, ``P`` picture, ``A`` sound; each 40 ms after the last."""
        self.dts += step
        if what == "A":
            return Frame(AUDIO, self.dts, self.dts, True, data, config or G711, 320, self.clock.seconds())
        return Frame(VIDEO, self.dts, self.dts, what == "K", data, config or SMALL, 0, self.clock.seconds())

    def feed(self, stream: Stream, what: str, data: bytes = b"x", config: VideoConfig | AudioConfig | None = None, step: int = 40) -> None:
        """One read a letter of ``what``."""
        for letter in what:
            stream.feed([Raw(self.frame(letter, data, config, step))], self.clock.seconds(), 1, len(data))  # type: ignore[list-item]

    def view(self, stream: Stream, room: int | None = None, fmt: OutputFormat | None = None, **more: Any) -> tuple[FakeSink, Viewer]:
        sink = FakeSink(room)
        return sink, stream.attach(fmt or OutputFormat(media="v"), sink, **more)
