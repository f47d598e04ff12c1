"""The seam between the hub and a container format.

A muxer serves one (stream, container, options): it is fed every frame once, and its bytes are shared by all viewers.
"""

from __future__ import annotations

from typing import Protocol

from relay.codec.frame import AudioConfig, Frame, VideoConfig


class Muxer(Protocol):
    """One container being written."""

    content_type: str  #: of the HTTP answer

    def configure(self, video: VideoConfig | None, audio: AudioConfig | None, now_ms: int) -> bytes:
        """Set the tracks; returns what viewers already attached need (new sequence headers, a new init segment), ``b""`` if nothing changed.

        ``now_ms`` is the dts of the frame that follows. Raises UsageError for a track that ``unsupported`` names.
        """

    def header(self) -> bytes:
        """What a viewer that joins now needs before the first frame: file header, metadata, sequence headers or init segment."""

    def write(self, frame: Frame) -> bytes:
        """The frame in this container; ``b""`` for a track that is not configured."""


#: what each container has an id for; anything else is transcoded before it comes here, or left out
CARRIES = {
    "flv": frozenset({"h264", "h265", "aac", "g711a", "g711u", "mp3", "opus", "flac"}),
    "mp4": frozenset({"h264", "h265", "aac", "mp3", "opus", "flac"}),
    "ts": frozenset({"h264", "h265", "aac", "mp3", "g711a", "g711u"}),
    "mjpeg": frozenset({"jpeg"}),
    "jt1078": frozenset({"h264", "h265", "g711a", "g711u", "g726", "adpcm", "aac", "mp3", "amr"}),
}
CARRIES["hls"] = CARRIES["mp4"]
CARRIES["hls-ts"] = CARRIES["ts"]
#: linear PCM in FLV knows these rates only, and 8 kHz is none of them
FLV_PCM_RATES = frozenset({5512, 11025, 22050, 44100})

_WORDS = {
    "flv": "FLV", "mp4": "MP4", "ts": "MPEG-TS", "mjpeg": "motion JPEG", "hls": "HLS in MP4", "hls-ts": "HLS in MPEG-TS", "jt1078": "JT/T 1078",
    "jpeg": "JPEG", "h264": "H.264", "h265": "H.265", "flac": "FLAC", "opus": "Opus",
    "g711a": "G.711A", "g711u": "G.711U", "g726": "G.726", "adpcm": "ADPCM", "pcm": "linear PCM", "amr": "AMR",
}  # fmt: skip


def unsupported(container: str, config: VideoConfig | AudioConfig) -> str:
    """Why this container cannot carry this track as it is, in words; ``""`` when it can."""
    codec = config.codec
    if codec in CARRIES[container]:
        return ""
    if container == "flv" and codec == "pcm" and isinstance(config, AudioConfig) and config.sample_rate in FLV_PCM_RATES:
        return ""
    if container == "jt1078" and (codec.startswith("pt") or (codec == "pcm" and isinstance(config, AudioConfig) and _has_pcm_type(config))):
        return ""
    name = _WORDS.get(codec) or (f"payload type {codec[2:]}" if codec.startswith("pt") else codec)
    if container == "flv" and codec == "pcm":
        return f"FLV has no form for linear PCM at {config.sample_rate} Hz"  # type: ignore[union-attr]
    return f"{_WORDS[container]} has no form for {name}"


def _has_pcm_type(config: AudioConfig) -> bool:
    """Table 12 of JT/T 1078 has a number for it: S16BE mono and stereo, PCM voice; a rate is only understood where there is one channel."""
    return config.channels == 1 or (config.channels == 2 and config.sample_rate == 8000)
