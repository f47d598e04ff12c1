"""MPEG transport stream (ISO/IEC 13818-1), one PES packet a frame.

::

    packet   47 | error 1, start 1, priority 1, PID 13 | scrambling 2, adaptation 1, payload 1, continuity 4 | [adaptation field] payload    188 bytes
    PAT      PID 0: program 1 → PMT at 0x1000                     PMT  PCR PID, stream type and PID of each track
    PES      00 00 01, stream id, length, 84 (aligned), PTS/DTS flags, header length, PTS [DTS], access unit

    picture  PID 0x100, stream id E0   H.264 1B, H.265 24; byte stream: delimiter, parameter sets before a key frame, slices
    sound    PID 0x101, stream id C0   AAC 0F in ADTS frames, MP3 03 or 04, G.711 90 and 91 (private; GB/T 28181 players know them)

PAT and PMT stand before every key frame and at least every half second; the PCR goes with every picture and, where pictures are rare, on packets of its
own (13818-1 2.7.2: every 100 ms). Continuity counters never begin again: some players take a new count for loss. Tracks that change raise the
PMT's version. Stamps are 33 bits at 90 kHz and wrap.
"""

from __future__ import annotations

import struct

from relay.codec.aac import with_adts
from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.codec.nalu import START_CODE, from_avcc, to_annexb
from relay.errors import UsageError
from relay.mux.base import unsupported

PACKET = 188
PAT_PID, PMT_PID, VIDEO_PID, AUDIO_PID = 0, 0x1000, 0x100, 0x101
PROGRAM = 1
START_MS = 1000  #: added to every stamp, so that the clock reference, which is behind, is never negative
#: the PCR is so far behind the decoding times: sound that was transcoded comes a quarter of a second after the picture beside it and must not be late
PCR_BEHIND_MS = 500
PCR_EVERY_MS = 40  #: sound that comes so long after the last one brings another
TABLES_EVERY_MS = 480

STREAM_TYPES = {"h264": 0x1B, "h265": 0x24, "aac": 0x0F, "g711a": 0x90, "g711u": 0x91}
#: access unit delimiters, of any picture type
_DELIMITERS = {"h264": b"\x00\x00\x00\x01\x09\xf0", "h265": b"\x00\x00\x00\x01\x46\x01\x50"}
_PAYLOAD = PACKET - 4
_HEAD = struct.Struct(">BHB").pack


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


_CRC = _crc_table()


def crc32(data: bytes) -> int:
    """CRC-32/MPEG-2 (13818-1 annex A): not reflected, begins with all ones, nothing at the end."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC[value >> 24 ^ byte]
    return value


def stream_type(config: VideoConfig | AudioConfig) -> int:
    """The PMT's number for a track."""
    if config.codec == "mp3" and isinstance(config, AudioConfig):
        return 0x03 if config.sample_rate >= 32000 else 0x04  # 11172-3, or 13818-3 with its lower rates
    return STREAM_TYPES[config.codec]


def _section(table: int, extension: int, version: int, body: bytes) -> bytes:
    """A section with its CRC, after the pointer field."""
    head = struct.pack(">BHHBBB", table, 0xB000 | len(body) + 9, extension, 0xC1 | version << 1, 0, 0)
    section = head + body
    return b"\x00" + section + crc32(section).to_bytes(4, "big")


PAT = _section(0, 1, 0, struct.pack(">HH", PROGRAM, 0xE000 | PMT_PID))


def pmt(video: VideoConfig | None, audio: AudioConfig | None, version: int = 0) -> bytes:
    """The program map of these tracks."""
    body = struct.pack(">HH", 0xE000 | (VIDEO_PID if video is not None else AUDIO_PID), 0xF000)
    for pid, config in ((VIDEO_PID, video), (AUDIO_PID, audio)):
        if config is not None:
            body += struct.pack(">BHH", stream_type(config), 0xE000 | pid, 0xF000)
    return _section(2, PROGRAM, version, body)


class _Pid:
    """One PID's packets."""

    __slots__ = ("_count", "_heads", "_pid")

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._count = 0
        self._heads = tuple(_HEAD(0x47, pid, 0x10 | count) for count in range(16))  # of packets in the middle of a payload

    def section(self, data: bytes) -> bytes:
        """A table that fits into one packet."""
        return _HEAD(0x47, 0x4000 | self._pid, 0x10 | self._next()) + data.ljust(_PAYLOAD, b"\xff")

    def clock(self, pcr: bytes) -> bytes:
        """A packet with nothing but the clock reference; it does not count (2.4.3.3)."""
        return _HEAD(0x47, self._pid, 0x20 | (self._count - 1 & 15)) + bytes((_PAYLOAD - 1, 0x10)) + pcr + b"\xff" * (_PAYLOAD - 2 - len(pcr))

    def unit(self, data: bytes, field: bytes) -> bytes:
        """A PES packet; ``field`` is the first packet's adaptation field without its length, or empty."""
        size = len(data)
        room = _PAYLOAD - (len(field) + 1 if field else 0)
        if size <= room:
            return _HEAD(0x47, 0x4000 | self._pid, (0x30 if field or size < room else 0x10) | self._next()) + _stuffed(field, _PAYLOAD - size) + data
        first = _HEAD(0x47, 0x4000 | self._pid, (0x30 if field else 0x10) | self._next())
        parts = [first, bytes((len(field),)) + field if field else b"", data[:room]]
        heads, count, at = self._heads, self._count, room
        whole = size - (size - room) % _PAYLOAD
        while at < whole:
            parts += (heads[count], data[at : at + _PAYLOAD])
            count = count + 1 & 15
            at += _PAYLOAD
        self._count = count
        if at < size:
            parts += (_HEAD(0x47, self._pid, 0x30 | self._next()), _stuffed(b"", _PAYLOAD - size + at), data[at:])
        return b"".join(parts)

    def _next(self) -> int:
        count = self._count
        self._count = count + 1 & 15
        return count


def _stuffed(field: bytes, size: int) -> bytes:
    """An adaptation field that takes exactly ``size`` bytes, its length byte included."""
    if size == 0:
        return b""
    if size == 1:
        return b"\x00"
    return bytes((size - 1,)) + (field or b"\x00").ljust(size - 1, b"\xff")


def _stamp(mark: int, ticks: int) -> bytes:
    """PTS or DTS in its five bytes (2.4.3.7); ``mark`` 2: PTS alone, 3: PTS before a DTS, 1: DTS."""
    return bytes((
        mark << 4 | ticks >> 29 & 0x0E | 1, ticks >> 22 & 0xFF, ticks >> 14 & 0xFE | 1, ticks >> 7 & 0xFF, ticks << 1 & 0xFE | 1,
    ))  # fmt: skip


class TsMuxer:
    """``mux.base.Muxer`` for transport streams; ``begin_segment`` makes what follows decodable from there on."""

    content_type = "video/mp2t"

    def __init__(self) -> None:
        self._video: VideoConfig | None = None
        self._audio: AudioConfig | None = None
        self._version = -1
        self._pmt = b""
        self._sets = b""
        self._delimiter = b""
        self._tables_at = -1  #: when PAT and PMT were written last; -1: due
        self._pcr_at = -PCR_EVERY_MS
        self._pat_pid, self._pmt_pid = _Pid(PAT_PID), _Pid(PMT_PID)
        self._video_pid, self._audio_pid = _Pid(VIDEO_PID), _Pid(AUDIO_PID)

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        """New tracks stand in the next PMT, which is written before the next frame."""
        for config in (video, audio):
            if config is not None and (why := unsupported("ts", config)):
                raise UsageError(why)
        types = [config and stream_type(config) for config in (video, audio)]
        if self._version < 0 or types != [config and stream_type(config) for config in (self._video, self._audio)]:
            self._version = self._version + 1 & 31
            self._pmt = pmt(video, audio, self._version)
            self._tables_at = -1
        self._video, self._audio = video, audio
        if video is not None:
            self._sets = to_annexb(video.parameter_sets)
            self._delimiter = _DELIMITERS[video.codec]
        return b""

    def header(self) -> bytes:
        """None: tables and parameter sets stand before every key frame."""
        return b""

    def begin_segment(self) -> None:
        """Tables and clock before the next frame."""
        self._tables_at = -1

    def write(self, frame: Frame) -> bytes:
        at = frame.dts
        if frame.kind == VIDEO:
            video = self._video
            if video is None:
                return b""
            pes = self._picture(frame)
            tables = self._tables(at) if frame.key or not 0 <= at - self._tables_at < TABLES_EVERY_MS or self._tables_at < 0 else b""
            self._pcr_at = at
            field = (b"\x50" if frame.key else b"\x10") + self._pcr(at)  # random access, PCR
            return tables + self._video_pid.unit(pes, field)
        audio = self._audio
        if audio is None:
            return b""
        data = frame.data
        if audio.codec == "aac":
            data = with_adts(audio.extra, data)
        ticks = (at + START_MS) * 90
        pes = b"\x00\x00\x01\xc0" + (len(data) + 8).to_bytes(2, "big") + b"\x84\x80\x05" + _stamp(2, ticks) + data
        if self._video is None:
            tables = self._tables(at) if self._tables_at < 0 or not 0 <= at - self._tables_at < TABLES_EVERY_MS else b""
            self._pcr_at = at
            return tables + self._audio_pid.unit(pes, b"\x50" + self._pcr(at))
        before = b""
        if self._tables_at < 0:
            before = self._tables(at)
        if at - self._pcr_at >= PCR_EVERY_MS:
            self._pcr_at = at
            before += self._video_pid.clock(self._pcr(at))
        return before + self._audio_pid.unit(pes, b"")

    def _picture(self, frame: Frame) -> bytes:
        data = frame.data
        size = len(data)
        if size > 4 and int.from_bytes(data[:4], "big") == size - 4:  # nearly every P picture: one slice
            units = b"\x00" + START_CODE + data[4:]
        else:
            units = to_annexb(from_avcc(data))
        dts, pts = (frame.dts + START_MS) * 90, (frame.pts + START_MS) * 90
        head = b"\x00\x00\x01\xe0\x00\x00\x84"
        head += b"\x80\x05" + _stamp(2, pts) if dts == pts else b"\xc0\x0a" + _stamp(3, pts) + _stamp(1, dts)
        return b"".join((head, self._delimiter, self._sets if frame.key else b"", units))

    def _tables(self, at: int) -> bytes:
        self._tables_at = at
        return self._pat_pid.section(PAT) + self._pmt_pid.section(self._pmt)

    def _pcr(self, at: int) -> bytes:
        """Six bytes: 33 bits at 90 kHz, 6 reserved, 9 at 27 MHz."""
        base = (at + START_MS - PCR_BEHIND_MS) * 90 & 0x1FFFFFFFF
        return (base << 15 | 0x7E00).to_bytes(6, "big")
