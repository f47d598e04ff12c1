"""Decoding order against output order: are there B frames, and what do the stamps of their pictures mean?

JT/T 1078 has one stamp a frame and sends frames in decoding order. Whether it is the time of presentation or of decoding differs by firmware.
Picture order counts from the slice headers settle it::

    counts, in decoding order          stamps go back with the counts      stamps only grow
    0 2 4 6 …                          no B frames                         no B frames
    0 4 2 8 6 …                        presentation times                  decoding times

The first picture after a key frame already shows that others will stand before it (count 4, not 2), so that times can be right from the first B frame on.
"""

from __future__ import annotations

import heapq

#: B frames go back by some frames, never by more than this
MAX_BACK_MS = 1000
#: pictures without a B frame after which the counts are no longer looked at
LOOK = 64
#: pictures that may be reordered: H.264 permits 16, encoders of terminals use 1 or 2
MAX_DEPTH = 4


class PictureOrder:
    """What is known of one stream's reordering."""

    __slots__ = ("_decoded", "_heap", "_high", "_high_stamp", "_looked", "_since", "_unit", "active", "depth", "presentation")

    def __init__(self) -> None:
        self.active = False  #: there are B frames
        self.presentation = True  #: stamps are presentation times; else decoding times
        self.depth = 0  #: pictures that may stand before one in decoding order and follow it in output order
        self._heap: list[float] = []  #: presentation times not yet used as decoding times
        self._high = -1  #: highest count since the last key frame; -1 = none known
        self._high_stamp = -1
        self._decoded = 0  #: pictures since the last key frame
        self._unit = 2  #: what the count grows by from picture to picture, in output order
        self._looked = 0
        self._since = 0  #: pictures since the last B frame

    @property
    def wants_counts(self) -> bool:
        """Whether picture order counts are of use: there are B frames, or they may still turn up."""
        return self.active or self._looked < LOOK

    def restart(self) -> None:
        """Another source: look again."""
        self._heap.clear()
        self._high = self._high_stamp = -1
        self._looked = 0

    def look(self, stamp: int, before: int, count: int | None, key: bool, depth: int, unit: int) -> None:
        """Take the next picture into account. ``before``: the stamp of the last one, -1 = none; ``depth``: as the configuration says, 0 = it does not."""
        self._since += 1
        if count is None:
            goes_back = 0 < before - stamp <= MAX_BACK_MS
            if goes_back:
                self._looked = 0  # counts, please
            if depth and (goes_back or before < 0):
                self._found(True, depth)
            self._settle()
            self._high = -1
            return
        self._looked += 1
        if key or self._high < 0:
            self._unit = unit
            self._decoded = 0 if key else count // unit
            self._high, self._high_stamp = count, stamp
            return
        self._decoded += 1
        ahead = count - self._high
        if ahead:
            self._unit = min(self._unit, abs(ahead))
        if ahead < 0:
            self._found(stamp < self._high_stamp, depth)
        elif self._decoded == 1 and ahead >= 2 * unit and not self.active:
            self._found(True, depth)
        self._settle()
        self._high = max(self._high, count)
        self._high_stamp = max(self._high_stamp, stamp)

    def _settle(self) -> None:
        if self.active and self._since > LOOK:
            self.active = False
            self._heap.clear()

    def _found(self, presentation: bool, depth: int) -> None:
        self._since = 0
        self.presentation = presentation
        if not self.active:
            self.active = True
            self.depth = max(self.depth, min(max(depth, 1), MAX_DEPTH))
            self._heap.clear()

    def decoding_time(self, shown: float, before: float) -> float:
        """The presentation times in order, ``depth`` pictures late; ``before`` stands for pictures from before that was known."""
        heap = self._heap
        while len(heap) < self.depth:
            heapq.heappush(heap, before)
        return heapq.heappushpop(heap, shown)

    def deepen(self) -> bool:
        """One more picture is reordered than was thought; False when that is too many."""
        if self.depth >= MAX_DEPTH:
            return False
        self.depth += 1
        return True

    def places_back(self, count: int | None) -> int:
        """How many places later a picture stands in output order than in decoding order: from ``-depth`` up."""
        if count is None:
            return 0
        return min(count // self._unit - self._decoded, 16)
