"""What a viewer asked for, and what the hub may give: output formats, options, framing in WebSocket messages.

An ``OutputFormat`` names one serialisation of one stream; all viewers with equal formats share its bytes.

    container   "flv" | "mp4" | "ts" | "jt1078" (the packets of the standard) | "mjpeg" | "hls" | "hls-ts" (segments, which are fetched)
    framing     "raw" (HTTP body) | "ws" (WebSocket messages; server frames carry no mask, RFC 6455 5.1, so one wrapping serves all)
                | "ws-binary" (the same without the text message below) | "rtmp" (FLV's tags as RTMP messages)
    media       "av" | "v" | "a"
    audio       "aac" | "flac" | "opus" | "source" | "none" | "auto" (what ``[audio]`` says for the container)
    hevc        "enhanced" | "legacy" (FLV only)

In "ws" of "mp4" every initialisation segment is a message of its own, and a text message goes before it (our own convention, so that a page
need not parse the segment to make its SourceBuffer):

    {"type": "init", "mime": "video/mp4; codecs=\\"avc1.4D0014,flac\\"", "video": "h264", "width": 704, "height": 576, "audio": "flac", "notes": […]}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from relay.codec.frame import AudioConfig, VideoConfig
from relay.errors import RelayError, UsageError
from relay.hub.pipeline import have_av
from relay.settings import Settings

CONTAINERS = ("flv", "mp4", "ts", "jt1078", "mjpeg", "hls", "hls-ts")
FRAMINGS = ("raw", "ws", "ws-binary", "rtmp")
MEDIA = ("av", "v", "a")
AUDIO_TARGETS = ("auto", "aac", "flac", "opus", "source", "none")
HEVC = ("enhanced", "legacy")


class OutputFormat(NamedTuple):
    """One serialisation of a stream; equal formats share their bytes."""

    container: str = "flv"
    framing: str = "raw"
    media: str = "av"
    audio: str = "auto"
    hevc: str = "enhanced"

    def check(self) -> OutputFormat:
        """Itself, or UsageError for a word that is none of the listed."""
        for value, allowed in zip(self, (CONTAINERS, FRAMINGS, MEDIA, AUDIO_TARGETS, HEVC), strict=True):
            if value not in allowed:
                raise UsageError(f"output format: {value!r} is none of {', '.join(allowed)}")
        return self


class UnsupportedTrackError(RelayError):
    """A track the asked-for output cannot carry (HTTP 415); ``track`` is "video" or "audio"."""

    def __init__(self, track: str, codec: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.track = track
        self.codec = codec
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Options:
    """The hub's settings, in one place; ``Options.of(settings)`` takes them from the configuration."""

    gop_frames: int = 300  #: video frames in the GOP cache; more: the cache is dropped until the next key frame
    gop_bytes: int = 8388608
    gop_s: float = 12.0
    queue_bytes: int = 524288  #: live data held for a viewer that does not take it at once
    queue_s: float = 3.0
    stuck_s: float = 30.0  #: a viewer that takes nothing for so long is closed
    audio_wait_s: float = 0.15  #: after the first key frame, where the format can add a track later (FLV, WS-fMP4)
    audio_wait_fixed_s: float = 1.0  #: after the first key frame, where it cannot (progressive fMP4)
    video_wait_s: float = 1.5  #: after the first sound, before a stream is taken to have no picture
    reconnect_s: float = 15.0  #: a live stream without a source keeps its viewers so long
    stalled_s: float = 5.0  #: a source silent for so long may be replaced by one that nobody asked for
    flv_audio: str = "aac"
    mp4_audio: str = "flac"
    ts_audio: str = "aac"
    hls_audio: str = "flac"
    hls_segment_s: float = 2.0
    hls_part_s: float = 0.5
    end_on_codec_change: bool = True  #: FLV: another codec ends the viewers, since many players stop there anyway

    @classmethod
    def of(cls, settings: Settings) -> Options:
        """From the configuration."""
        media = settings.media
        return cls(
            gop_frames=media.gop_frames,
            gop_bytes=media.gop_bytes,
            gop_s=media.gop_s,
            queue_bytes=media.viewer_queue_bytes,
            queue_s=media.viewer_queue_ms / 1000,
            stuck_s=media.viewer_stuck_s,
            flv_audio=settings.audio.flv,
            mp4_audio=settings.audio.mp4,
            ts_audio=settings.audio.ts,
            hls_audio=settings.audio.hls if settings.audio.hls != "auto" else "aac" if have_av() else "flac",
            hls_segment_s=settings.hls.segment_s,
            hls_part_s=settings.hls.part_s,
        )


_SHORT = Struct(">BB").pack
_MEDIUM = Struct(">BBH").pack
_LONG = Struct(">BBQ").pack


def websocket_head(size: int) -> bytes:
    """The head of one final, unmasked, binary message of ``size`` bytes (RFC 6455 5.2)."""
    if size < 126:
        return _SHORT(0x82, size)
    if size < 65536:
        return _MEDIUM(0x82, 126, size)
    return _LONG(0x82, 127, size)


def websocket_message(data: bytes) -> bytes:
    """One binary message."""
    return websocket_head(len(data)) + data


def init_message(video: VideoConfig | None, audio: AudioConfig | None, notes: list[str]) -> bytes:
    """The text message that goes before an initialisation segment."""
    codecs = ",".join(config.rfc6381 for config in (video, audio) if config is not None)
    body: dict[str, object] = {"type": "init", "mime": f'{"video" if video else "audio"}/mp4; codecs="{codecs}"'}
    if video is not None:
        body.update(video=video.codec, width=video.width, height=video.height)
    if audio is not None:
        body.update(audio=audio.codec)
    body["notes"] = notes
    text = json.dumps(body, ensure_ascii=False).encode()
    head = websocket_head(len(text))
    return b"\x81" + head[1:] + text
