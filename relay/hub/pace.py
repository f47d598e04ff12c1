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


class PlaybackIngest(Ingest):
    """Of one playback session."""

    __slots__ = ("_began", "_stamp", "trick")

    def __init__(self, sim: str, channel: int, loss_policy: str = KEYFRAME, g726_order: str = "auto") -> None:
        super().__init__(sim, channel, loss_policy, g726_order)
        self.trick = False  #: not at normal speed with sound: time is the time of arrival
        self._began: float | None = None  #: when the first picture of this kind came
        self._stamp = -1

    def pace(self, trick: bool, now: float) -> None:
        """The terminal was told to play at another speed, or at normal speed again."""
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
            if self._began is None:
                self._began = now
            self._stamp = raw.timestamp = max(self._stamp + 1, round((now - self._began) * 1000))
        return super().push(raw, now)
