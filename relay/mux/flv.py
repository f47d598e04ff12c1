"""FLV: file header, script tag, video and audio tags (Adobe FLV 10.1, Annex E; Enhanced RTMP v2 for H.265, Opus and FLAC).

::

    file:  "FLV" 01 flags(bit 0 picture, bit 2 sound) u32 9, u32 0, then tags
    tag:   type(8 sound, 9 picture, 18 script) u24 size, u24 time u8 time's high bits, u24 0, body, u32 11 + size

    H.264  17|27, packet type (0 record, 1 NAL units), i24 pts - dts, …
    H.265  enhanced: 80|frame type<<4|packet type, "hvc1", [i24 pts - dts], …      legacy: as H.264 with codec id 12
    sound  format<<4|rate<<2|size<<1|stereo, …; AAC with a packet type; enhanced: 90|packet type, FourCC

Time stamps are decoding times in milliseconds. One instance serves one stream and option set; its bytes are shared by all viewers.
"""

from __future__ import annotations

import struct

from relay.codec.frame import VIDEO, AudioConfig, Frame, VideoConfig
from relay.errors import UsageError
from relay.mux import amf0
from relay.mux.base import unsupported

_U32 = struct.Struct(">I").pack
#: Before a plain picture, which is one NAL unit, no key frame, and shown when it is decoded: PLAIN + its size, its dts (the lower 24 bits, then the upper 8),
#: the two words of ``FlvMuxer.plain``, its size. And behind it: its size + PLAIN_HEAD_BYTES.
PLAIN_HEAD = struct.Struct(">IIIII").pack
PLAIN = 0x9000009
PLAIN_HEAD_BYTES = 20
PLAIN_TRAILER = _U32
_HEAD16 = struct.Struct(">IIII").pack  # tag head and the first five bytes of its body
_HEAD12 = struct.Struct(">III").pack  # tag head and the first byte of its body

_HVC1 = 0x68766331
#: The size field has 24 bits. The hub's frames end at 4 MiB, so more is our own fault, and a tag cut short would break the whole stream.
_MAX_BODY = 0xFFFFFF
#: FLV's own sampling rates; nothing else can be said in an audio tag
_RATES = {5512: 0, 11025: 1, 22050: 2, 44100: 3}
_FOURCC = {"opus": b"Opus", "flac": b"fLaC"}
_AUDIO_IDS = {"aac": 10, "g711a": 7, "g711u": 8, "mp3": 2, "pcm": 3}


def tag(kind: int, dts: int, body: bytes) -> bytes:
    """Any tag; the hot path writes its own."""
    size = len(body)
    if size > _MAX_BODY:
        raise UsageError(f"an FLV tag of {size} bytes")
    return b"".join((_HEAD12(kind << 24 | size, (dts & 0xFFFFFF) << 8 | dts >> 24 & 0xFF, 0)[:11], body, _U32(size + 11)))


class FlvMuxer:
    """``mux.base.Muxer`` for FLV. ``hevc`` is "enhanced" or "legacy"."""

    content_type = "video/x-flv"

    def __init__(self, hevc: str = "enhanced") -> None:
        if hevc not in ("enhanced", "legacy"):
            raise UsageError(f"hevc={hevc!r} is neither enhanced nor legacy")
        self._legacy = hevc == "legacy"
        self._video: VideoConfig | None = None
        self._audio: AudioConfig | None = None
        self._audio_lead = b""
        self._now = 0  # dts of the last configuration or key frame: what a joining viewer's headers are stamped with
        self._configured = False
        self.plain = (0, 0)  #: of a plain picture: the first byte of its tag's body, and the four after it; ``hub.shortcut`` writes such pictures itself

    # Muxer ------------------------------------------------------------------

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        for config in (video, audio):
            if config is not None and (why := unsupported("flv", config)):
                raise UsageError(why)
        first, self._configured = not self._configured, True
        video_changed, audio_changed = video != self._video, audio != self._audio
        self._now = now_ms
        if not (video_changed or audio_changed):
            return b""
        self._video, self._audio = video, audio
        if video is not None:
            self.plain = (0x27, 0x1000000) if video.codec == "h264" else (0x2C, 0x1000000) if self._legacy else (0xA3, _HVC1)
        self._audio_lead = _audio_lead(audio) if audio is not None else b""
        if first:
            return b""
        return b"".join((
            self._metadata(now_ms),
            self._video_header() if video_changed else b"",
            self._audio_header() if audio_changed else b"",
        ))

    def header(self) -> bytes:
        flags = (1 if self._video is not None else 0) | (4 if self._audio is not None else 0)
        file = b"FLV\x01" + bytes((flags,)) + b"\x00\x00\x00\x09\x00\x00\x00\x00"
        # seen: ffmpeg 5 takes an onMetaData that is not stamped 0 for a subtitle track
        return b"".join((file, self._metadata(0), self._video_header(), self._audio_header()))

    def write(self, frame: Frame) -> bytes:
        data = frame.data
        if len(data) > _MAX_BODY - 8:
            raise UsageError(f"a frame of {len(data)} bytes in FLV")
        dts = frame.dts
        stamp = (dts & 0xFFFFFF) << 8 | dts >> 24 & 0xFF
        if frame.kind == VIDEO:
            video = self._video
            if video is None:
                return b""
            if frame.key:
                self._now = dts
            offset = frame.pts - dts
            if video.codec == "h264":
                size = len(data) + 5
                head = _HEAD16(0x9000000 | size, stamp, 0x17 if frame.key else 0x27, 0x1000000 | offset & 0xFFFFFF)
            elif self._legacy:
                size = len(data) + 5
                head = _HEAD16(0x9000000 | size, stamp, 0x1C if frame.key else 0x2C, 0x1000000 | offset & 0xFFFFFF)
            elif offset == 0:  # CodedFramesX
                size = len(data) + 5
                head = _HEAD16(0x9000000 | size, stamp, 0x93 if frame.key else 0xA3, _HVC1)
            else:  # CodedFrames
                size = len(data) + 8
                head = _HEAD16(0x9000000 | size, stamp, 0x91 if frame.key else 0xA1, _HVC1) + _U32(offset & 0xFFFFFF)[1:]
            return b"".join((head, data, _U32(size + 11)))
        if self._audio is None:
            return b""
        lead = self._audio_lead
        size = len(data) + len(lead)
        return b"".join((_HEAD12(0x8000000 | size, stamp, 0)[:11], lead, data, _U32(size + 11)))

    # parts ------------------------------------------------------------------

    def _metadata(self, now_ms: int) -> bytes:
        values = amf0.EcmaArray()
        video, audio = self._video, self._audio
        if video is not None:
            values["width"] = video.width
            values["height"] = video.height
            values["videocodecid"] = 7 if video.codec == "h264" else 12 if self._legacy else _HVC1
        if audio is not None:
            values["audiocodecid"] = _AUDIO_IDS[audio.codec] if audio.codec in _AUDIO_IDS else int.from_bytes(_FOURCC[audio.codec], "big")
            values["audiosamplerate"] = audio.sample_rate
            values["audiosamplesize"] = 16
            values["stereo"] = audio.channels > 1
        values["encoder"] = "jt1078relay"
        return tag(18, now_ms, amf0.encode("onMetaData") + amf0.encode(values))

    def _video_header(self) -> bytes:
        video = self._video
        if video is None:
            return b""
        if video.codec == "h264":
            lead = b"\x17\x00\x00\x00\x00"
        else:
            lead = b"\x1c\x00\x00\x00\x00" if self._legacy else b"\x90hvc1"
        return tag(9, self._now, lead + video.record)

    def _audio_header(self) -> bytes:
        audio = self._audio
        if audio is None:
            return b""
        if audio.codec == "aac":
            return tag(8, self._now, b"\xaf\x00" + audio.extra)
        if audio.codec == "flac":  # the stream's marker and its STREAMINFO as the last metadata block
            return tag(8, self._now, b"\x90fLaC" + b"fLaC\x80\x00\x00\x22" + audio.extra)
        if audio.codec == "opus":
            return tag(8, self._now, b"\x90Opus" + b"OpusHead" + audio.extra)
        return b""


def _audio_lead(audio: AudioConfig) -> bytes:
    """What stands before every block of this track."""
    if audio.codec == "aac":
        return b"\xaf\x01"
    if audio.codec in _FOURCC:
        return b"\x91" + _FOURCC[audio.codec]
    stereo = 1 if audio.channels > 1 else 0
    if audio.codec in ("g711a", "g711u"):
        return bytes((_AUDIO_IDS[audio.codec] << 4 | 2 | stereo,))  # rate bits without meaning: 8 kHz is implied
    if audio.codec == "mp3":
        if audio.sample_rate == 8000:
            return bytes((14 << 4 | 2 | stereo,))
        return bytes((2 << 4 | _RATES.get(audio.sample_rate, 3) << 2 | 2 | stereo,))
    return bytes((3 << 4 | _RATES[audio.sample_rate] << 2 | 2 | stereo,))
