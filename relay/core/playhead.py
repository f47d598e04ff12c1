"""Where in a recording a playback is, how fast and in which way it goes on, and the messages that begin and change that (0x9201, 0x9202)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from relay.core.stored import Criteria, wire_digits
from relay.jt808.messages.video import NO_TIME, MediaType, PlaybackControl, PlaybackControlCode, PlaybackMode, PlaybackRequest

#: speeds that the standard has, and their codes
SPEEDS = {1: 1, 2: 2, 4: 3, 8: 4, 16: 5}

NORMAL = "normal"
PAUSE, RESUME, SPEED, KEYFRAMES, REWIND, SEEK = "pause", "resume", "speed", "keyframes", "rewind", "seek"

_CODES = {
    PAUSE: PlaybackControlCode.PAUSE,
    RESUME: PlaybackControlCode.START,
    SPEED: PlaybackControlCode.FAST_FORWARD,
    KEYFRAMES: PlaybackControlCode.KEYFRAMES,
    REWIND: PlaybackControlCode.KEYFRAME_REWIND,
    SEEK: PlaybackControlCode.SEEK,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be played: the recordings of a span, and how."""

    criteria: Criteria = field(default_factory=lambda: Criteria(media_type=MediaType.AUDIO_VIDEO))
    mode: int = PlaybackMode.NORMAL
    speed: int = 1  #: 1, 2, 4, 8, 16; for fast forward and rewind

    def request(self, host: str, tcp: int, udp: int, channel: int) -> PlaybackRequest:
        """The 0x9201 that asks for it."""
        criteria = self.criteria
        fast = self.mode == PlaybackMode.KEYFRAME_REWIND or self.speed > 1
        return PlaybackRequest(
            server_ip=host, tcp_port=tcp, udp_port=udp, channel=channel, media_type=criteria.media_type, stream_type=criteria.stream_type,
            storage_type=criteria.storage_type, playback_mode=self.mode, playback_speed=SPEEDS[self.speed] if fast else 0,
            start_time=criteria.begin, end_time=criteria.end if self.mode != PlaybackMode.SINGLE_FRAME else NO_TIME,
        )  # fmt: skip


def control(channel: int, action: str, speed: int = 1, time: datetime | None = None) -> PlaybackControl:
    """The 0x9202 of an action; ``speed`` is for "speed" and "rewind", ``time`` for "seek"."""
    code = PlaybackControlCode.START if action == SPEED and speed == 1 else _CODES[action]
    fast = code in (PlaybackControlCode.FAST_FORWARD, PlaybackControlCode.KEYFRAME_REWIND)
    return PlaybackControl(
        channel=channel, playback_control=code, playback_speed=SPEEDS[speed] if fast else 0, seek_time=wire_digits(time) if action == SEEK else NO_TIME
    )


def end(channel: int) -> PlaybackControl:
    """The 0x9202 that ends it."""
    return PlaybackControl(channel=channel, playback_control=PlaybackControlCode.END)


class Playhead:
    """Of one playback; the time is reckoned from the last start or seek, for the terminal does not tell it."""

    __slots__ = ("_at", "_moving", "_since", "mode", "speed")

    def __init__(self, wish: Wish) -> None:
        self.mode = {PlaybackMode.KEYFRAME_REWIND: REWIND, PlaybackMode.KEYFRAMES: KEYFRAMES}.get(PlaybackMode(wish.mode), NORMAL)
        self.speed = wish.speed if wish.mode in (PlaybackMode.FAST_FORWARD, PlaybackMode.KEYFRAME_REWIND) else 1
        self._at = _parse(wish.criteria.begin)  #: recorded time, as of
        self._since = 0.0  #: this moment
        self._moving = False

    @property
    def uneven(self) -> bool:
        """The stamps of the media do not run as the clock does."""
        return self.speed != 1 or self.mode != NORMAL

    def position(self, now: float) -> datetime | None:
        """The recorded time that is shown now, pauses and speeds left out; None while that is not known. Key frames alone come as fast as they may."""
        if self._at is None or not self._moving or self.mode == KEYFRAMES:
            return self._at
        return self._at + timedelta(seconds=(now - self._since) * self.speed * (-1 if self.mode == REWIND else 1))

    def begin(self, now: float) -> None:
        """The picture is there."""
        self._since = now
        self._moving = True

    def halt(self, now: float) -> None:
        """Nothing more is shown."""
        self._at = self.position(now)
        self._moving = False

    def change(self, action: str, speed: int, time: datetime | None, now: float) -> None:
        """The terminal does it."""
        self.halt(now)
        if action == PAUSE:
            return
        if action == SEEK:
            self._at = _parse(wire_digits(time))
        else:
            self.mode = action if action in (KEYFRAMES, REWIND) else NORMAL
            self.speed = speed if action in (SPEED, REWIND) else 1
        self.begin(now)


def _parse(digits: str) -> datetime | None:
    try:
        return datetime.strptime(digits, "%y%m%d%H%M%S")
    except ValueError:
        return None
