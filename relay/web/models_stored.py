"""What goes in and comes out of the API about a terminal's recordings: searches and playbacks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from relay.core.stored import MEDIA_WORDS, STORAGE_WORDS, STREAM_WORDS, Criteria, wire_digits
from relay.web.models import PlayUrls, Timeout
from relay.web.problem import Problem

MediaWord = Literal["av", "audio", "video", "any", 0, 1, 2, 3]
StreamWord = Literal["all", "main", "sub", 0, 1, 2]
StorageWord = Literal["all", "main", "backup", 0, 1, 2]
Time = Annotated[datetime, Meta(description="ISO 8601; without a zone it is GMT+8.")]


class Span(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which recordings; words or the standard's numbers."""

    start_time: Time | None = None
    end_time: Time | None = None
    media_type: MediaWord = "any"
    stream_type: StreamWord = "all"
    storage_type: StorageWord = "all"
    alarm_flags: Annotated[int, Meta(ge=0, description="64 bits; recordings in which one of these alarms happened.")] = 0

    def criteria(self) -> Criteria:
        """As the core asks; raises a Problem for times that are none."""
        begin, end = wire_digits(self.start_time), wire_digits(self.end_time)
        for time in (self.start_time, self.end_time):
            if time is not None and not 2000 <= time.year <= 2098:
                raise Problem(400, f"{time.isoformat()} is no time that a terminal can mean: years are 2000 to 2098.", code="bad_time")
        if self.alarm_flags >> 64:
            raise Problem(400, "alarm_flags has 64 bits.", code="bad_body")
        if self.start_time is not None and self.end_time is not None and end <= begin:
            raise Problem(400, "end_time is not after start_time.", code="bad_time", hint="Times without a zone are GMT+8.")
        return Criteria(
            begin, end, self.alarm_flags, _code(MEDIA_WORDS, self.media_type), _code(STREAM_WORDS, self.stream_type), _code(STORAGE_WORDS, self.storage_type)
        )


def _code(words: dict[str, int], word: str | int) -> int:
    return words[word] if isinstance(word, str) else word


class Search(Span, kw_only=True, forbid_unknown_fields=True):
    """A search of what the terminal has stored; without times, of everything."""

    timeout_s: Timeout | None = None


class RecordingView(msgspec.Struct):
    """One recording on the terminal."""

    channel: int
    start_time: str | None
    end_time: str | None
    media_type: str | int
    stream_type: str | int
    storage_type: str | int
    file_size: int
    alarm_flags: int
    alarms: list[str]


class StoredList(msgspec.Struct):
    """What the terminal has, as it lists it; whole, whatever its length. ``note`` says when the answer came late or under a foreign serial."""

    items: list[RecordingView]
    total: int
    next: str | None = None
    seconds: float = 0.0
    note: str = ""


Speed = Literal[1, 2, 4, 8, 16]


class PlaybackStart(Span, kw_only=True, forbid_unknown_fields=True):
    """What to play, and how it begins; without end_time it plays on."""

    start_time: Time
    media_type: MediaWord = "av"
    mode: Literal["normal", "fast", "rewind", "keyframes"] = "normal"
    speed: Annotated[Speed, Meta(description="For fast and rewind.")] = 1
    replace: Annotated[bool, Meta(description="End a playback of the same channel first.")] = False
    timeout_s: Timeout | None = None


class PlaybackView(msgspec.Struct):
    """One playback session. ``position`` is the recorded time that is shown now, as reckoned from what the terminal was told."""

    id: str
    sim: str
    channel: int
    state: str
    mode: str
    speed: int
    start_time: str | None
    end_time: str | None
    media_type: str | int
    stream_type: str | int
    storage_type: str | int
    alarm_flags: int
    position: str | None
    purpose: str
    who: str
    started: str
    viewers: int
    packets: int
    bytes: int
    ended: str


class PlaybackStarted(PlaybackView, kw_only=True):
    """A playback that runs, and where to watch it; stopped when nobody has for ``media.idle_stop_s``."""

    urls: PlayUrls
    token: str
    expires: str


class PlaybackList(msgspec.Struct):
    """The playbacks that run, oldest first; with ``all``, those that ended not long ago, too."""

    items: list[PlaybackView]
    total: int
    next: str | None = None


class PlaybackQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which playbacks."""

    all: Annotated[bool, Meta(description="Those that are over, too.")] = False


class PlaybackControl(msgspec.Struct, forbid_unknown_fields=True):
    """One action; ``speed`` belongs to "speed" and "rewind", ``time`` to "seek"."""

    action: Literal["pause", "resume", "speed", "seek", "keyframes", "rewind"]
    speed: Speed | None = None
    time: Time | None = None
    timeout_s: Timeout | None = None
