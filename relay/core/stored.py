"""What a terminal has stored, and how it is asked for: the criteria that 0x9205, 0x9201 and 0x9206 have in common, words for their codes.

Times of the messages are YYMMDDhhmmss in GMT+8 (``relay.core.terminal_state.wire_time`` is the other way); zeros = no limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from relay.core.events import BEIJING
from relay.core.terminal_state import bit_words, wire_time
from relay.jt808.items import ALARM_BITS, VIDEO_ALARM_BITS
from relay.jt808.messages.video import NO_TIME, MediaType, Resource, StorageType, StoredStream

#: words of the API for the standard's numbers
MEDIA_WORDS = {"av": 0, "audio": 1, "video": 2, "any": 3}
STREAM_WORDS = {"all": 0, "main": 1, "sub": 2}
STORAGE_WORDS = {"all": 0, "main": 1, "backup": 2}


def wire_digits(time: datetime | None) -> str:
    """A time as the messages write it; without a zone it is GMT+8 already. None = no limit."""
    if time is None:
        return NO_TIME
    local = time.astimezone(BEIJING) if time.tzinfo is not None else time
    return f"{local:%y%m%d%H%M%S}"


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which recordings. The fields are those of the messages."""

    begin: str = NO_TIME
    end: str = NO_TIME
    alarm_flags: int = 0  #: 64 bits; a recording fits if one of the alarms happened in it
    media_type: int = MediaType.VIDEO_OR_AUDIO_VIDEO
    stream_type: int = StoredStream.ALL
    storage_type: int = StorageType.ALL

    def fits(self, channel: int, resource: Resource) -> bool:
        """Whether a recording can be an answer to this question."""
        return (
            channel in (0, resource.channel)
            and (self.begin == NO_TIME or resource.end_time >= self.begin)
            and (self.end == NO_TIME or resource.start_time <= self.end)
        )

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "start_time": wire_time(self.begin),
            "end_time": wire_time(self.end),
            "media_type": _word(MEDIA_WORDS, self.media_type),
            "stream_type": _word(STREAM_WORDS, self.stream_type),
            "storage_type": _word(STORAGE_WORDS, self.storage_type),
            "alarm_flags": self.alarm_flags,
        }


def recording_of(resource: Resource) -> dict[str, Any]:
    """One recording in JSON's types; a code that the standard does not have stays a number."""
    return {
        "channel": resource.channel,
        "start_time": wire_time(resource.start_time),
        "end_time": wire_time(resource.end_time),
        "media_type": _word(MEDIA_WORDS, resource.media_type),
        "stream_type": _word(STREAM_WORDS, resource.stream_type),
        "storage_type": _word(STORAGE_WORDS, resource.storage_type),
        "file_size": resource.file_size,
        "alarm_flags": resource.alarm_flags,
        "alarms": bit_words(resource.alarm_flags & 0xFFFFFFFF, ALARM_BITS) + bit_words(resource.alarm_flags >> 32, VIDEO_ALARM_BITS),
    }


def _word(words: dict[str, int], code: int) -> str | int:
    return next((word for word, number in words.items() if number == code), code)
