"""HLS playlists (RFC 8216, and its second edition, draft-pantos-hls-rfc8216bis, for parts).

Everything is text about segments that somebody else holds; addresses are relative, and each carries its own key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from relay.codec.frame import AudioConfig, VideoConfig

CONTENT_TYPE = "application/vnd.apple.mpegurl"
#: a delta update may leave out what is older than so many target durations (rfc8216bis 6.2.5.1: at least six)
SKIP_TARGETS = 6


@dataclass(slots=True)
class Part:
    """A piece of a segment that is there before the segment is whole."""

    uri: str
    duration: float  #: s
    independent: bool  #: begins with a key frame


@dataclass(slots=True)
class Segment:
    """A segment, whole or still growing."""

    number: int  #: media sequence number
    uri: str
    time_ms: int  #: wall clock of its beginning, ms since 1970
    map_uri: str = ""
    discontinuity: bool = False
    independent: bool = True
    duration: float = 0.0  #: s; known when it is whole
    parts: list[Part] = field(default_factory=list)  #: as listed; forgotten when it is old
    pieces: list[bytes] = field(default_factory=list)  #: what the address gives
    size: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What never changes in a playlist's life."""

    target: int  #: s
    part_target: float = 0.0  #: s; 0: no parts
    independent: bool = False  #: every segment begins with a key frame


def program_time(time_ms: int) -> str:
    """ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def media_playlist(
    terms: Terms, segments: Sequence[Segment], growing: Segment | None, discontinuities: int, ended: bool, hint: str = "", skip: bool = False
) -> str:
    """A live playlist.

    ``segments`` are whole, the oldest first; ``growing`` has parts only. ``discontinuities``: how many were in segments that are no longer
    listed. ``hint``: address of the part that comes next. ``skip``: a delta update, for whoever has the older ones.
    """
    first = segments[0].number if segments else growing.number if growing is not None else 0
    skipped = _skipped(terms, segments, growing) if skip else 0
    low = terms.part_target > 0
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{9 if low else 6 if any(segment.map_uri for segment in segments) else 3}", f"#EXT-X-TARGETDURATION:{terms.target}"]
    if low:
        lines.append(
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={3 * terms.part_target:.3f},CAN-SKIP-UNTIL={SKIP_TARGETS * terms.target:.1f}"
        )
        lines.append(f"#EXT-X-PART-INF:PART-TARGET={terms.part_target:.3f}")
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
    if discontinuities or any(segment.discontinuity for segment in segments):
        lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}")
    if terms.independent:
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    if skipped:
        lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")
    named = segments[skipped - 1].map_uri if skipped else ""
    listed = [*segments[skipped:], *([growing] if growing is not None and growing.parts and not ended else [])]
    for segment in listed:
        if segment.discontinuity:  # before the first one too: it counts until that segment is no longer listed
            lines.append("#EXT-X-DISCONTINUITY")
        if segment.map_uri and segment.map_uri != named:
            named = segment.map_uri
            lines.append(f'#EXT-X-MAP:URI="{named}"')
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{program_time(segment.time_ms)}")
        lines += low * [
            f'#EXT-X-PART:DURATION={part.duration:.3f},URI="{part.uri}"' + (",INDEPENDENT=YES" if part.independent else "") for part in segment.parts
        ]
        if segment is not growing:
            lines.append(f"#EXTINF:{segment.duration:.3f},")
            lines.append(segment.uri)
    if ended:
        lines.append("#EXT-X-ENDLIST")
    elif hint:
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{hint}"')
    return "\n".join(lines) + "\n"


def _skipped(terms: Terms, segments: Sequence[Segment], growing: Segment | None) -> int:
    """How many of the oldest begin further from the end than the skip boundary."""
    left = sum(segment.duration for segment in segments) + (sum(part.duration for part in growing.parts) if growing is not None else 0.0)
    skipped = 0
    for segment in segments:
        left -= segment.duration
        if left < SKIP_TARGETS * terms.target:
            break
        skipped += 1
    return skipped


def codecs(video: VideoConfig | None, audio: AudioConfig | None) -> str:
    """The CODECS attribute; ``""`` when a track has no name there, for a wrong list keeps players from trying."""
    names = []
    for config in (video, audio):
        if config is None:
            continue
        name = {"flac": "fLaC", "opus": "Opus", "mp3": "mp4a.40.34"}.get(config.codec) or config.rfc6381
        if not name:
            return ""
        names.append(name)
    return ",".join(names)


def master_playlist(uri: str, bandwidth: int, video: VideoConfig | None, audio: AudioConfig | None, fps: float, independent: bool) -> str:
    """The multivariant playlist of one variant."""
    words = [f"BANDWIDTH={max(bandwidth, 1)}"]
    if named := codecs(video, audio):
        words.append(f'CODECS="{named}"')
    if video is not None:
        words.append(f"RESOLUTION={video.width}x{video.height}")
        if fps:
            words.append(f"FRAME-RATE={fps:.3f}")
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", *(["#EXT-X-INDEPENDENT-SEGMENTS"] if independent else []), f"#EXT-X-STREAM-INF:{','.join(words)}", uri]
    return "\n".join(lines) + "\n"
