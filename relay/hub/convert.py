"""Files that terminals send, as MP4: told by what is in them, since their names say little.

    01cd …                       recorded packets of JT/T 1078       our demuxer, ingest and muxer; sound that MP4 has no form for becomes FLAC
    00 00 (00) 01, SPS or VPS    H.264 or H.265 byte stream          our muxer; paced by the SPS's own rate, else FPS
    ftyp, RIFF (AVI), 0x47 (TS), others                              PyAV (the extra ``media``): pictures as they are, sound as AAC

Everything here blocks and is for a process of its own. With PyAV the result has its index in front, so that players know its length and can seek; what our own
muxer wrote is fragmented MP4 without it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from relay.codec import h264, h265
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.codec.nalu import to_avcc
from relay.errors import RelayError
from relay.hub.ingest import KEEP, Ingest
from relay.hub.pipeline import Pipeline, target_config
from relay.jt1078.assembly import RawFrame
from relay.jt1078.demux import Demuxer
from relay.mux.base import unsupported
from relay.mux.fmp4 import Fmp4Muxer

READ = 1 << 18
FPS = 25  #: of a byte stream that does not say
UNIT_MAX = 16 << 20  #: of one access unit of a byte stream; beyond it this is none
LOOK_FRAMES = 500  #: frames that may pass before the tracks are decided: sound may begin after the picture
FLAC_BITRATE = 0  #: FLAC has none


class UnsupportedFileError(RelayError):
    """A file that cannot be made an MP4; the message says why, ``hint`` what would help."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def kind_of(head: bytes) -> str:
    """ "jt1078", "h264", "h265", "mp4", "avi", "ts" or "other", by a file's first bytes."""
    if b"01cd" in head[:64]:
        return "jt1078"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return "mp4"
    if head[:4] == b"RIFF":
        return "avi"
    if head[:1] == b"\x47" and head[188:189] in (b"", b"\x47"):
        return "ts"
    begin = 4 if head[:4] == b"\0\0\0\1" else 3 if head[:3] == b"\0\0\1" else 0
    if begin and len(head) > begin + 1:
        first = head[begin]
        if first & 0x80 or (head[begin + 1] == 0 and first == 0):
            return "other"
        if (first >> 1) & 0x3F in (32, 33, 34, 35) and head[begin + 1] & 7:
            return "h265"
        if first & 0x1F in (1, 5, 6, 7, 8, 9):
            return "h264"
    return "other"


def to_mp4(source: Path, target: Path, index: bool = True) -> None:
    """Write ``target``; raises UnsupportedFileError, OSError. ``index``: give it one, if PyAV is there."""
    with source.open("rb") as file:
        head = file.read(512)
        kind = kind_of(head)
        file.seek(0)
        if kind in ("jt1078", "h264", "h265"):
            frames = _recorded(file) if kind == "jt1078" else _byte_stream(file, 98 if kind == "h264" else 99)
            with target.open("wb") as out:
                _write(frames, out)
            if index and importlib.util.find_spec("av") is not None:
                _give_index(target)
            return
    _by_av(source, target, kind)


def _give_index(target: Path) -> None:
    """Write it again as an ordinary MP4; what FFmpeg does not like stays as it is."""
    indexed = target.with_suffix(".indexed")
    try:
        _by_av(target, indexed, "mp4")
        indexed.replace(target)
    except UnsupportedFileError:
        indexed.unlink(missing_ok=True)


# --- our own ----------------------------------------------------------------------------------------------------------------


def _recorded(file: BinaryIO) -> Iterator[Frame]:
    """Of recorded packets: the first (SIM, channel) in them."""
    demuxer = Demuxer()
    ingest: Ingest | None = None
    first: tuple[str, int] | None = None
    while True:
        data = file.read(READ)
        raws = demuxer.feed(data, 0.0) if data else demuxer.finish(0.0)
        for raw in raws:
            if ingest is None or first is None:
                first = raw.sim, raw.channel
                ingest = Ingest(raw.sim, raw.channel, KEEP)
            if (raw.sim, raw.channel) == first:
                # stamps are the only clock there is: what is called "now" must go on with them
                yield from ingest.push(raw, raw.timestamp / 1000)
        if not data:
            break
    if ingest is not None:
        yield from ingest.finish(0.0)


def _byte_stream(file: BinaryIO, pt: int) -> Iterator[Frame]:
    ingest = Ingest("0", 1, KEEP)
    step: float | None = None
    at = 0.0
    for unit in _access_units(file, pt == 99):
        if step is None:
            step = 1000.0 / (_rate(unit, pt == 99) or FPS)
        yield from ingest.push(RawFrame("0", 1, pt, 1, round(at), unit, 1, at / 1000), at / 1000)
        at += step
    yield from ingest.finish(at / 1000)


def _rate(unit: bytes, is_h265: bool) -> float:
    """Pictures a second by the SPS; 0 = it does not say."""
    for nalu in _nalus(unit):
        try:
            if is_h265 and nalu[0] >> 1 & 0x3F == 33:
                told = h265.parse_sps(nalu).frame_rate
            elif not is_h265 and nalu[0] & 0x1F == 7:
                told = h264.parse_sps(nalu).frame_rate
            else:
                continue
        except RelayError:
            continue
        rate = told[0] / told[1] if told is not None and told[1] else 0.0
        return rate if 1 <= rate <= 120 else 0.0
    return 0.0


def _nalus(data: bytes) -> list[bytes]:
    return [piece for piece in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if piece]


def _access_units(file: BinaryIO, is_h265: bool) -> Iterator[bytes]:
    """Whole access units of an Annex B byte stream: a new one begins with whatever follows a picture's last slice."""
    unit = bytearray()
    has_picture = False
    for nalu in _stream_nalus(file):
        kind = nalu[0] >> 1 & 0x3F if is_h265 else nalu[0] & 0x1F
        picture = kind < 32 if is_h265 else 1 <= kind <= 5
        # first_mb_in_slice, and first_slice_segment_in_pic_flag, are one bit when they say "first"
        first = picture and len(nalu) > 2 and bool(nalu[2 if is_h265 else 1] & 0x80)
        tail = not picture and kind in ((36, 37, 38, 40) if is_h265 else (10, 11, 12))
        if has_picture and not tail and (first or not picture):
            yield bytes(unit)
            unit.clear()
            has_picture = False
        unit += b"\0\0\0\1" + nalu
        has_picture = has_picture or picture
        if len(unit) > UNIT_MAX:
            raise UnsupportedFileError("Its pictures have no end: it is no byte stream of H.264 or H.265.")
    if has_picture:
        yield bytes(unit)


def _stream_nalus(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    begun = False
    while True:
        data = file.read(READ)
        rest += data
        pieces = rest.split(b"\0\0\1")
        if data:
            rest = pieces.pop()
        else:
            rest = b""
        for piece in pieces:
            nalu = piece.rstrip(b"\0")
            if begun and nalu:
                yield nalu
            begun = True
        if len(rest) > UNIT_MAX:
            raise UnsupportedFileError("Its pictures have no end: it is no byte stream of H.264 or H.265.")
        if not data:
            return


def _write(frames: Iterator[Frame], out: BinaryIO) -> None:
    """Look at the beginning for what tracks there are, then write everything."""
    waiting: list[Frame] = []
    video: VideoConfig | None = None
    audio: AudioConfig | None = None
    for frame in frames:
        waiting.append(frame)
        if frame.kind == VIDEO and video is None:
            video = frame.config  # type: ignore[assignment]
        elif frame.kind == AUDIO and audio is None:
            audio = frame.config  # type: ignore[assignment]
        if (video is not None and audio is not None) or len(waiting) >= LOOK_FRAMES:
            break
    if video is None and audio is None:
        raise UnsupportedFileError("There is neither a picture that can be begun with nor any sound in it.")
    muxer = Fmp4Muxer()
    pipeline: Pipeline | None = None
    carried = audio
    if audio is not None and unsupported("mp4", audio):
        carried, rate = target_config(audio, "flac")
        try:
            pipeline = Pipeline(audio, carried, rate, FLAC_BITRATE)
        except ImportError:  # AMR needs PyAV: the picture is worth having without
            carried = None
    muxer.configure(video, carried, 0)
    out.write(muxer.header())
    changed = False
    for frame in _all(waiting, frames):
        if frame.kind == VIDEO:
            config = frame.config
            if isinstance(config, VideoConfig) and frame.key and (changed or config != video):
                # a file has one header: what changes later (main to sub stream) is told in the pictures themselves
                changed = True
                data = to_avcc(config.parameter_sets) + frame.data
                frame = Frame(VIDEO, frame.dts, frame.pts, True, data, config, 0, frame.source_time)
            if video is not None and config.codec == video.codec:
                out.write(muxer.write(frame))
        elif carried is not None and frame.config == audio:
            made = [frame] if pipeline is None else pipeline.run([(frame.dts, frame.data, 0.0)])[0]
            for sound in made:
                out.write(muxer.write(sound))


def _all(first: list[Frame], rest: Iterator[Frame]) -> Iterator[Frame]:
    yield from first
    yield from rest


# --- by PyAV -----------------------------------------------------------------------------------------------------------------


def _by_av(source: Path, target: Path, kind: str) -> None:
    if importlib.util.find_spec("av") is None:
        what = {"avi": "AVI", "ts": "MPEG-TS", "mp4": "MP4"}.get(kind, "This kind of file")
        raise UnsupportedFileError(f"{what} is made an MP4 only with the extra `media`.", "pip install 'jt1078relay[media]', or fetch the file as it is.")
    import av

    try:
        with av.open(str(source)) as given, av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as made:
            _remux(av, given, made)
    except av.FFmpegError as problem:
        raise UnsupportedFileError(f"FFmpeg cannot read it: {problem.strerror or problem}.", "Fetch the file as it is.") from None


def _remux(av: Any, given: Any, made: Any) -> None:
    picture = next((s for s in given.streams.video if s.codec_context.name in ("h264", "hevc", "mpeg4", "mjpeg")), None)
    sound = next(iter(given.streams.audio), None)
    if picture is None and sound is None:
        raise UnsupportedFileError("There is neither a picture that MP4 has a form for nor any sound in it.", "Fetch the file as it is.")
    out_picture = made.add_stream_from_template(picture) if picture is not None else None
    out_sound, encode = None, False
    if sound is not None:
        encode = sound.codec_context.name not in ("aac", "mp3")
        if encode:
            rate = sound.codec_context.sample_rate or 8000
            out_sound = made.add_stream("aac", rate=rate if rate in (8000, 16000, 32000, 44100, 48000) else 44100)
            out_sound.layout = "mono" if sound.codec_context.channels == 1 else "stereo"
        else:
            out_sound = made.add_stream_from_template(sound)
    last: dict[int, int] = {}
    for packet in given.demux([s for s in (picture, sound) if s is not None]):
        if packet.size == 0 and packet.dts is None:
            continue
        target = out_picture if packet.stream is picture else out_sound
        if packet.stream is sound and encode and out_sound is not None:
            for frame in packet.decode():
                frame.pts = None
                made.mux(out_sound.encode(frame))
            continue
        # AVI has decoding times only; whatever lacks one or goes back follows the packet before it
        dts = packet.dts if packet.dts is not None else last.get(packet.stream.index, -1) + (packet.duration or 1)
        dts = max(dts, last.get(packet.stream.index, dts - 1) + 1)
        last[packet.stream.index] = dts
        packet.dts = dts
        packet.pts = max(packet.pts, dts) if packet.pts is not None else dts
        packet.stream = target
        made.mux(packet)
    if encode and out_sound is not None:
        made.mux(out_sound.encode(None))
