"""Fragmented MP4 (ISO/IEC 14496-12, -15; CMAF's habits), one fragment a frame.

::

    init:      ftyp, moov { mvhd, trak { tkhd, mdia { mdhd, hdlr, minf { vmhd|smhd, dinf, stbl } } }…, mvex { trex… } }
               stbl { stsd, stts, stsc, stsz, stco }, the last four empty
    fragment:  moof { mfhd, traf { tfhd, tfdt, trun } }, mdat

Picture runs on a time scale of 1000 (the output clock's milliseconds), sound on its sampling rate, counted continuously so that
rounding of the milliseconds makes no gaps. ``tfdt`` is the frame's real decoding time; the duration of a live frame is not known when
it is written, so it is the last step, and the next ``tfdt`` puts it right.
"""

from __future__ import annotations

import struct

from relay.codec.audio import sample_count
from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.errors import UsageError
from relay.mux.base import unsupported

VIDEO_TRACK = 1
AUDIO_TRACK = 2
VIDEO_SCALE = 1000
FIRST_STEP_MS = 40  #: duration of the very first frame, before a step is known
STEP_MAX_MS = 2000  #: a longer step is a pause of the source, not the duration of a picture
AUDIO_SLACK_MS = 60  #: sound that is this far from where counting puts it starts a new count

KEY_FLAGS = 0x02000000  #: depends on no other sample
DELTA_FLAGS = 0x01010000  #: depends on others, no sync sample


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box: size, type, content."""
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """A box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _fragment_constants(track: int, per_sample: int, trun_flags: int) -> tuple[bytes, bytes, bytes]:
    """The parts of a one-sample fragment that never change: before the sequence number, before tfdt's time, before the sample's fields."""
    trun_size = 20 + per_sample
    traf_size = 8 + 16 + 20 + trun_size
    moof_size = 8 + 16 + traf_size
    begin = struct.pack(">I4sI4sI", moof_size, b"moof", 16, b"mfhd", 0)
    middle = struct.pack(">I4sI4sIII4sI", traf_size, b"traf", 16, b"tfhd", 0x020000, track, 20, b"tfdt", 1 << 24)
    end = struct.pack(">I4sIII", trun_size, b"trun", 1 << 24 | trun_flags, 1, moof_size + 8)
    return begin, middle, end


_VIDEO_BEGIN, _VIDEO_MIDDLE, _VIDEO_END = _fragment_constants(VIDEO_TRACK, 16, 0xF01)  # offset, duration, size, flags, composition
_AUDIO_BEGIN, _AUDIO_MIDDLE, _AUDIO_END = _fragment_constants(AUDIO_TRACK, 8, 0x301)  # offset, duration, size
_VIDEO_FRAGMENT = struct.Struct(">20sI36sQ20sIIIiI4s").pack
_AUDIO_FRAGMENT = struct.Struct(">20sI36sQ20sIII4s").pack


class Fmp4Muxer:
    """``mux.base.Muxer`` for fragmented MP4."""

    content_type = "video/mp4"

    def __init__(self) -> None:
        self._video: VideoConfig | None = None
        self._audio: AudioConfig | None = None
        self._configured = False
        self._sequence = 0
        self._last_dts = -1
        self._step = FIRST_STEP_MS
        self._audio_next = -1  # in samples
        self._init = b""

    # Muxer ------------------------------------------------------------------

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        for config in (video, audio):
            if config is not None and (why := unsupported("mp4", config)):
                raise UsageError(why)
        first, self._configured = not self._configured, True
        if not first and video == self._video and audio == self._audio:
            return b""
        if audio is None or self._audio is None or audio.sample_rate != self._audio.sample_rate:
            self._audio_next = -1
        self._video, self._audio = video, audio
        self._init = init_segment(video, audio)
        return b"" if first else self._init

    def header(self) -> bytes:
        return self._init

    def write(self, frame: Frame) -> bytes:
        data = frame.data
        size = len(data)
        if frame.kind == VIDEO:
            if self._video is None:
                return b""
            dts = frame.dts
            step = dts - self._last_dts
            if 0 < step <= STEP_MAX_MS and self._last_dts >= 0:
                self._step = step
            self._last_dts = dts
            self._sequence += 1
            return (
                _VIDEO_FRAGMENT(
                    _VIDEO_BEGIN,
                    self._sequence & 0xFFFFFFFF,
                    _VIDEO_MIDDLE,
                    dts,
                    _VIDEO_END,
                    self._step,
                    size,
                    KEY_FLAGS if frame.key else DELTA_FLAGS,
                    frame.pts - dts,
                    size + 8,
                    b"mdat",
                )
                + data
            )
        audio = self._audio
        if audio is None:
            return b""
        rate = audio.sample_rate
        at = frame.dts * rate // 1000
        expected = self._audio_next
        if expected >= 0 and abs(at - expected) * 1000 <= AUDIO_SLACK_MS * rate:
            at = expected
        samples = frame.samples or sample_count(audio, data) or rate // 25
        self._audio_next = at + samples
        self._sequence += 1
        return (
            _AUDIO_FRAGMENT(_AUDIO_BEGIN, self._sequence & 0xFFFFFFFF, _AUDIO_MIDDLE, at, _AUDIO_END, samples, size, size + 8, b"mdat")
            + data
        )


# initialisation segment ------------------------------------------------------

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def init_segment(video: VideoConfig | None, audio: AudioConfig | None) -> bytes:
    """ftyp and moov of these tracks; at least one is there."""
    if video is None and audio is None:
        raise UsageError("an MP4 without a track")
    traks, trexs = [], []
    if video is not None:
        header = full_box(b"vmhd", 0, 1, bytes(8))
        traks.append(_trak(VIDEO_TRACK, VIDEO_SCALE, b"vide", b"picture", header, _video_entry(video), video.width, video.height))
        trexs.append(_trex(VIDEO_TRACK))
    if audio is not None:
        header = full_box(b"smhd", 0, 0, bytes(4))
        traks.append(_trak(AUDIO_TRACK, audio.sample_rate, b"soun", b"sound", header, _audio_entry(audio), 0, 0))
        trexs.append(_trex(AUDIO_TRACK))
    fields = struct.pack(">IIIIIHHII", 0, 0, 1000, 0, 0x10000, 0x100, 0, 0, 0)  # time scale, rate 1.0, volume 1.0
    mvhd = full_box(b"mvhd", 0, 0, fields, _MATRIX, bytes(24), struct.pack(">I", AUDIO_TRACK + 1))
    return box(b"ftyp", b"iso6", struct.pack(">I", 0x200), b"iso6cmfcmp41dashmsdh") + box(b"moov", mvhd, *traks, box(b"mvex", *trexs))


def _trex(track: int) -> bytes:
    return full_box(b"trex", 0, 0, struct.pack(">IIIII", track, 1, 0, 0, KEY_FLAGS if track == AUDIO_TRACK else 0))


def _trak(track: int, scale: int, handler: bytes, name: bytes, media_header: bytes, entry: bytes, width: int, height: int) -> bytes:
    volume = 0x100 if handler == b"soun" else 0
    tkhd_fields = struct.pack(">IIIIIIIHHHH", 0, 0, track, 0, 0, 0, 0, 0, 0, volume, 0)
    tkhd = full_box(b"tkhd", 0, 7, tkhd_fields, _MATRIX, struct.pack(">II", width << 16, height << 16))
    stbl = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        *(full_box(kind, 0, 0, bytes(4)) for kind in (b"stts", b"stsc")),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    dinf = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1)))
    mdia = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, scale, 0, 0x55C4, 0)),
        full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), name, b"\x00"),
        box(b"minf", media_header, dinf, stbl),
    )
    return box(b"trak", tkhd, mdia)


def _video_entry(video: VideoConfig) -> bytes:
    kind, record = (b"avc1", b"avcC") if video.codec == "h264" else (b"hvc1", b"hvcC")
    head = bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HHIIIH", video.width, video.height, 0x480000, 0x480000, 0, 1)
    return box(kind, head, bytes(32), struct.pack(">Hh", 24, -1), box(record, video.record))


def _audio_entry(audio: AudioConfig) -> bytes:
    rate = audio.sample_rate << 16 if audio.sample_rate < 65536 else 0  # 16.16; 0 = the codec's own header says
    head = bytes(6) + struct.pack(">H", 1) + bytes(8) + struct.pack(">HHII", audio.channels, 16, 0, rate)
    if audio.codec == "flac":
        return box(b"fLaC", head, full_box(b"dfLa", 0, 0, b"\x80\x00\x00\x22", audio.extra))
    if audio.codec == "opus":
        extra = audio.extra  # OpusHead (RFC 7845 5.1) is little-endian, dOps big-endian with version 0
        swapped = extra[3:1:-1] + extra[7:3:-1] + extra[9:7:-1]  # pre-skip, input rate, gain
        return box(b"Opus", head, box(b"dOps", b"\x00", extra[1:2], swapped, extra[10:]))
    object_type = 0x40 if audio.codec == "aac" else 0x6B
    specific = _descriptor(5, audio.extra) if audio.codec == "aac" else b""
    decoder = _descriptor(4, struct.pack(">BBBHII", object_type, 0x15, 0, 0, 0, 0), specific)
    esds = full_box(b"esds", 0, 0, _descriptor(3, struct.pack(">HB", AUDIO_TRACK, 0), decoder, _descriptor(6, b"\x02")))
    return box(b"mp4a", head, esds)


def _descriptor(kind: int, *parts: bytes) -> bytes:
    """An MPEG-4 descriptor; ours are all shorter than 128 bytes."""
    body = b"".join(parts)
    if len(body) > 127:
        raise UsageError("a descriptor longer than 127 bytes")
    return bytes((kind, len(body))) + body
