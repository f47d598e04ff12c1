"""The ingest of a playback: one output clock through pause, speed, key frames only, rewind and seek (JT/T 1078-2016 5.6.3, 0x9201 and 0x9202).

    normal play    the terminal's stamps, whatever they count; a seek is a jump, which the timeline closes
    anything else  the time of arrival: 4x is to be seen as 4x by a player that plays at 1x, and whether a terminal's stamps then count recorded
                   time, playing time, or go backwards, differs. Sound is left out (it would overlap itself; most terminals send none)

After a change of pace, and after a seek, the picture goes on with a key frame: what comes before refers to pictures that were never sent.
"""

from __future__ import annotations

from relay.codec.frame import Frame
from relay.hub.ingest import KEYFRAME, Ingest
from relay.jt1078.assembly import RawFrame
from relay.jt1078.packet import DataType

SMOOTH = 0.2  #: how far one read moves the pace
PULL = 0.02  #: how far one picture is drawn to its arrival
OFF_MAX_MS = 1000.0  #: further from its arrival no picture is shown


class PlaybackIngest(Ingest):
    """Of one playback session."""

    __slots__ = ("_at", "_began", "_group", "_read", "_step", "trick")

    def __init__(self, sim: str, channel: int, loss_policy: str = KEYFRAME, g726_order: str = "auto") -> None:
        super().__init__(sim, channel, loss_policy, g726_order)
        self.trick = False  #: not at normal speed with sound: time is the time of arrival
        self._began: float | None = None  #: when the first picture of this kind came
        self._at = -1.0  #: ms since then that the last one was given
        self._step = 0.0  #: ms from picture to picture, smoothed; 0 = not known yet
        self._read = 0.0  #: when the last ones came
        self._group = 0  #: how many of them there were

    def pace(self, trick: bool, now: float) -> None:
        """The terminal was told to play at another speed, or at normal speed again."""
        self._step = 0.0
        if trick != self.trick:
            self.trick = trick
            self.restart(now)
        else:
            self.jump(now)

    def jump(self, now: float) -> None:
        """The terminal was told to go on at another time."""
        self.pictures.restart(now)

    def push(self, raw: RawFrame, now: float) -> list[Frame]:
        if self.trick:
            if raw.data_type == DataType.AUDIO:
                self._count("sound_at_speed")
                return []
            raw.timestamp = round(self._by_arrival(now))
        return super().push(raw, now)

    def _by_arrival(self, now: float) -> float:
        """Reads are gathered, so that several pictures come at one moment: they are spread as they were sent, and follow the arrival slowly."""
        if self._began is None:
            self._began = self._read = now
        elif now > self._read:
            step = (now - self._read) * 1000 / max(1, self._group)
            self._step = self._step + SMOOTH * (step - self._step) if self._step else step
            self._read, self._group = now, 0
        self._group += 1
        arrival = (now - self._began) * 1000
        due = self._at + self._step
        off = arrival - due
        due = arrival if not self._step or abs(off) > OFF_MAX_MS else due + PULL * off
        self._at = max(due, self._at + 1.0)
        return self._at
