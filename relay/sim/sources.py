"""Where a simulated terminal's pictures and sound come from: the test card, a recording of JT/T 1078, or an MP4 file.

A source gives *units* in the order of sending: whole frames, which the sender cuts into packets, or the packets of a recording, whose
marks are kept. Times are milliseconds from the beginning; a source does not end, it begins anew and its stamps go on.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from relay.codec import g711, pcm
from relay.errors import FrameError, RelayError, UsageError
from relay.jt1078.packet import LAST_AUDIO_PT, MAGIC, DataType, Packet, parse_packet
from relay.sim import tone
from relay.sim.pattern import MAIN_SIZE, SUB_SIZE, Pattern

H264 = 98
H265 = 99

#: a step of the stamps longer than this, or backwards beyond the reordering of sound and picture, is a jump and not time
_JUMP_MS = 2000
#: what a frame lasts where the stamps do not tell
_TYPICAL_MS = 40
#: a recording is held in memory; longer ones are cut with a word about it
RECORDING_MAX = 256 << 20


class SourceError(RelayError):
    """A file that cannot be sent."""


class Unit(NamedTuple):
    """A frame, or one packet of a recording."""

    at_ms: float  #: when it is due, from the source's beginning
    stamp_ms: int  #: its time stamp, from the source's beginning
    pt: int
    data_type: int
    body: bytes
    mark: int | None = None  #: sub-package mark of a recorded packet; None: a whole frame
    last: bool = True  #: M of a recorded packet
    raw: bytes | None = None  #: the bytes as they were recorded, to be sent untouched

    @property
    def is_video(self) -> bool:
        return self.data_type <= DataType.VIDEO_B

    @property
    def is_audio(self) -> bool:
        return self.data_type == DataType.AUDIO


class Source(Protocol):
    """What can be sent."""

    video_pt: int  #: 0 = no picture
    audio_pt: int  #: 0 = no sound
    audio_bytes: int  #: length of a block of sound, for 0x1003

    def open(self, channel: int, sub: bool, wall: float) -> Iterator[Unit]:
        """The units from the beginning; ``wall`` is the time of day at which they are sent, seconds since 1970."""


class PatternSource:
    """The test card and its tone."""

    def __init__(
        self,
        sim: str = "",
        *,
        main: tuple[int, int] = MAIN_SIZE,
        sub: tuple[int, int] = SUB_SIZE,
        fps: int = 25,
        gop_s: float = 2.0,
        audio: str = "g711a",
        hisi_header: bool = False,
        utc_offset_s: int = 28800,
        hue_offset: int = 0,
    ) -> None:
        """``audio``: see ``tone.sound``, or none; ``hue_offset`` turns the colours, so that several terminals' first channels differ."""
        self.sim = sim
        self.sizes = {False: main, True: sub}
        self.fps = fps
        self.gop_s = gop_s
        self.audio = audio
        self.hisi_header = hisi_header
        self.utc_offset_s = utc_offset_s
        self.hue_offset = hue_offset
        self.video_pt = H264
        sound = tone.sound(audio, 1, hisi_header) if audio != "none" else None
        self.audio_pt = sound.pt if sound else 0
        self.audio_bytes = len(sound.blocks[0]) if sound else 0

    def pattern(self, channel: int, sub: bool, wall: float) -> Pattern:
        """The card of a channel."""
        width, height = self.sizes[sub]
        return Pattern(
            width, height, self.fps, channel=channel, sim=self.sim, started=wall, utc_offset_s=self.utc_offset_s, gop_s=self.gop_s,
            hue=channel - 1 + self.hue_offset,
        )  # fmt: skip

    def open(self, channel: int, sub: bool, wall: float) -> Iterator[Unit]:
        pattern = self.pattern(channel, sub, wall)
        sound = tone.sound(self.audio, channel, self.hisi_header) if self.audio != "none" else None
        # a block of sound can be sent when it has been heard to its end, and the octave changes with the clock's second
        block = 0
        offset = round(wall % 2 * 1000 / sound.block_ms) if sound else 0
        for n in itertools.count():
            at = n * 1000 / self.fps
            while sound and (block + 1) * sound.block_ms <= at:
                body = sound.blocks[(block + offset) % len(sound.blocks)]
                yield Unit((block + 1) * sound.block_ms, round(block * sound.block_ms), sound.pt, DataType.AUDIO, body)
                block += 1
            yield Unit(at, round(at), H264, DataType.VIDEO_I if pattern.is_key(n) else DataType.VIDEO_P, pattern.frame(n))


class CaptureSource:
    """A recorded byte stream of JT/T 1078, sent at its own pace and looped."""

    def __init__(self, path: Path, *, untouched: bool = False) -> None:
        """``untouched``: the bytes go out as they are, with their stamps, numbers, SIM, and whatever lies between packets."""
        self.path = path
        self.untouched = untouched
        data = _read(path)
        self._streams: dict[tuple[str, int], list[tuple[Packet, bytes]]] = {}
        everything = []
        begin = 0
        for packet, end in _packets(data):
            entry = (packet, data[begin:end] if untouched else b"")
            self._streams.setdefault((packet.sim, packet.channel), []).append(entry)
            everything.append(entry)
            begin = end
        if not everything:
            raise SourceError(f"{path}: no JT/T 1078 packet in it")
        self._everything = everything
        self.video_pt = next((p.pt for p, _ in everything if p.data_type <= DataType.VIDEO_B), 0)
        audio = next((p for p, _ in everything if p.data_type == DataType.AUDIO), None)
        self.audio_pt = audio.pt if audio and audio.pt <= LAST_AUDIO_PT else 0
        self.audio_bytes = len(audio.body) if audio else 0

    def _chosen(self, channel: int) -> list[tuple[Packet, bytes]]:
        """The packets of the channel asked for; of the first channel with a picture if there is no such one."""
        if self.untouched:
            return self._everything
        for (_, recorded), packets in self._streams.items():
            if recorded == channel:
                return packets
        with_picture = [packets for packets in self._streams.values() if any(p.data_type <= DataType.VIDEO_B for p, _ in packets)]
        return (with_picture or list(self._streams.values()))[0]

    def open(self, channel: int, sub: bool, wall: float) -> Iterator[Unit]:
        packets = self._chosen(channel)
        times, length = _pace([packet for packet, _ in packets])
        for turn in itertools.count():
            origin = turn * length
            for (packet, raw), (at, stamp) in zip(packets, times, strict=True):
                yield Unit(
                    origin + at, origin + stamp, packet.pt, packet.data_type, packet.body, packet.subpackage, bool(packet.m), raw if self.untouched else None
                )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(RECORDING_MAX + 1)
    except OSError as problem:
        raise SourceError(f"{path}: {problem.strerror or problem}") from None
    if len(data) > RECORDING_MAX:
        raise SourceError(f"{path}: longer than {RECORDING_MAX >> 20} MiB")
    return data


def _packets(data: bytes) -> Iterator[tuple[Packet, int]]:
    """(packet, where it ends); what is no packet is passed over."""
    at = data.find(MAGIC)
    while at >= 0:
        try:
            packet = parse_packet(data, at)
        except FrameError:
            packet = None
        if packet is None:
            at = data.find(MAGIC, at + 1)
            continue
        yield packet, at + packet.consumed
        at += packet.consumed
        if not data.startswith(MAGIC, at):
            at = data.find(MAGIC, at)


def _pace(packets: list[Packet]) -> tuple[list[tuple[int, int]], int]:
    """(due, stamp) of each packet and the length of the whole, ms. Stamps that jump or stand still are put right."""
    times: list[tuple[int, int]] = []
    origin: int | None = None
    at = 0
    stamp = 0
    for packet in packets:
        if packet.timestamp is not None:
            if origin is None:
                origin = packet.timestamp
            stamp = packet.timestamp - origin
            if not at - _JUMP_MS <= stamp <= at + _JUMP_MS:
                origin = packet.timestamp - at - _TYPICAL_MS
                stamp = at + _TYPICAL_MS
            at = max(at, stamp)
        times.append((at, max(0, stamp)))
    if at == 0 and len(packets) > 1:
        # seen: time stamps that never change
        times = []
        for packet in packets:
            times.append((at, at))
            if packet.data_type <= DataType.VIDEO_B and (packet.m or packet.subpackage in (0, 2)):
                at += _TYPICAL_MS
        return times, max(at, _TYPICAL_MS)
    frames = len({stamp for packet, (_, stamp) in zip(packets, times, strict=True) if packet.data_type <= DataType.VIDEO_B}) or len(packets)
    return times, at + (round(at / (frames - 1)) if frames > 1 and at else _TYPICAL_MS)


class TwoSources:
    """Main and sub stream of different kinds, as cameras have that send H.265 in one and H.264 in the other."""

    def __init__(self, main: Source, sub: Source) -> None:
        self._of = {False: main, True: sub}
        self.video_pt = main.video_pt
        self.audio_pt, self.audio_bytes = sub.audio_pt, sub.audio_bytes

    def open(self, channel: int, sub: bool, wall: float) -> Iterator[Unit]:
        return self._of[sub].open(channel, sub, wall)


class Mp4Source:
    """An MP4 (or any other file that FFmpeg opens) with H.264 or H.265; its sound is sent as G.711A. Needs the media extra."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._container() as container:
            video = self._video(container)
            self.video_pt = H264 if video.codec_context.name == "h264" else H265
            self.audio_pt = 6 if container.streams.audio else 0
        self.audio_bytes = tone.BLOCK if self.audio_pt else 0

    def _container(self) -> Any:
        try:
            import av
        except ImportError:
            raise tone.MediaMissingError("a file as source") from None
        try:
            return av.open(str(self.path))
        except (OSError, av.FFmpegError) as problem:
            raise SourceError(f"{self.path}: {problem.strerror or problem}") from None

    def _video(self, container: Any) -> Any:
        if not container.streams.video:
            raise SourceError(f"{self.path}: no picture in it")
        stream = container.streams.video[0]
        if stream.codec_context.name not in ("h264", "hevc"):
            raise SourceError(f"{self.path}: its picture is {stream.codec_context.name}; only H.264 and H.265 can be sent")
        return stream

    def open(self, channel: int, sub: bool, wall: float) -> Iterator[Unit]:
        origin = 0.0
        while True:
            end = origin
            for unit in self._turn():
                at = origin + unit.at_ms
                end = max(end, at)
                yield unit._replace(at_ms=at, stamp_ms=round(origin + unit.stamp_ms))
            origin = end + _TYPICAL_MS

    def _turn(self) -> Iterator[Unit]:
        """The file once."""
        import av
        from av.bitstream import BitStreamFilterContext

        with self._container() as container:
            video = self._video(container)
            audio = container.streams.audio[0] if container.streams.audio else None
            annexb = BitStreamFilterContext("h264_mp4toannexb" if self.video_pt == H264 else "hevc_mp4toannexb", video)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=tone.RATE)
            heard = array("h")
            sent = 0
            start: float | None = None
            sound_start = 0.0
            for packet in container.demux([s for s in (video, audio) if s is not None]):
                if packet.dts is None:
                    continue
                at = float(packet.dts * packet.time_base) * 1000
                if start is None:
                    start = at
                at = max(0.0, at - start)
                if packet.stream.index == video.index:
                    kind = DataType.VIDEO_I if packet.is_keyframe else DataType.VIDEO_P
                    for part in annexb.filter(packet):
                        yield Unit(at, round(at), self.video_pt, kind, bytes(part))
                    continue
                if not sent and not heard:
                    sound_start = at
                for frame in packet.decode():
                    for piece in resampler.resample(frame):
                        heard.frombytes(bytes(piece.planes[0])[: 2 * piece.samples])
                while len(heard) >= tone.BLOCK:
                    block, heard = heard[: tone.BLOCK], heard[tone.BLOCK :]
                    stamp = sound_start + sent * 1000 / tone.RATE
                    sent += tone.BLOCK
                    yield Unit(max(at, stamp), round(stamp), 6, DataType.AUDIO, g711.encode_a(pcm.to_bytes(block)))


def parse_size(text: str) -> tuple[int, int]:
    """``352x288``."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise UsageError(f"a size is WIDTHxHEIGHT, not {text!r}") from None
    return width, height

