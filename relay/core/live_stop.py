"""Did it stop? The judgement about a terminal that was told to, from nothing but the time and the number of packets that came.

    0x9102 ── no packets for QUIET_S ──→ quiet
       └── packets go on ── 5 s → 0x9102 ── 10 s → 0x9102 ── 20 s → give up: its connection is closed, an alarm raised

    Afterwards it is *stubborn* for a while: connections that it opens by itself are refused, each raising the alarm again, at most once a minute.
"""

from __future__ import annotations

import enum

LOOK_S = 1.0  #: how often it is looked whether packets still come
QUIET_S = 3.0  #: no packet for so long after 0x9102 = it has stopped
AGAIN_S = (5.0, 10.0, 20.0)  #: pauses after each 0x9102; after the last one the connection is closed
STUBBORN_S = 600.0  #: after that it may come by itself again
TELL_S = 60.0  #: the alarm about one that comes back, at most so often


class Judgement(enum.Enum):
    """What ``look`` finds."""

    QUIET = "quiet"
    WAIT = "wait"
    AGAIN = "again"  #: say it again
    GIVE_UP = "give up"


class StopWatch:
    """Of one channel."""

    __slots__ = ("_again_at", "_moved_at", "_packets", "_stubborn_until", "_told_at", "told")

    def __init__(self) -> None:
        self.told = 0  #: 0x9102s of this stop
        self._again_at = 0.0
        self._packets = 0
        self._moved_at = 0.0
        self._stubborn_until = 0.0
        self._told_at = float("-inf")

    def begin(self, now: float, packets: int) -> None:
        """A stop begins; so many packets have come so far."""
        self.told = 0
        self._packets = packets
        self._moved_at = now

    def say(self, now: float) -> None:
        """A 0x9102 is sent."""
        self._again_at = now + AGAIN_S[min(self.told, len(AGAIN_S) - 1)]
        self.told += 1

    def look(self, now: float, packets: int) -> Judgement:
        """So many packets have come by now."""
        if packets != self._packets:
            self._packets = packets
            self._moved_at = now
        if now >= self._moved_at + QUIET_S:
            return Judgement.QUIET
        if now < self._again_at:
            return Judgement.WAIT
        if self.told < len(AGAIN_S):
            return Judgement.AGAIN
        self._stubborn_until = now + STUBBORN_S
        return Judgement.GIVE_UP

    def stubborn(self, now: float) -> bool:
        """It did not stop a while ago, and nobody has wanted it since."""
        return now < self._stubborn_until

    def forgive(self) -> None:
        """Somebody wants it again."""
        self._stubborn_until = 0.0

    def may_tell(self, now: float) -> bool:
        """Whether the alarm may be raised (again); counts as raised."""
        if now < self._told_at + TELL_S:
            return False
        self._told_at = now
        return True
