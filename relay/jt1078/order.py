"""Decoding order against output order: are there B frames, and what do the stamps of their pictures mean?

JT/T 1078 has one stamp a frame and sends frames in decoding order. Whether it is the time of presentation or of decoding differs by firmware.
Picture order counts from the slice headers settle it::

    counts, in decoding order          stamps go back with the counts      stamps only grow
    0 2 4 6 …                          no B frames                         no B frames
    0 4 2 8 6 …                        presentation times                  decoding times

    presentation times    decoding times are the same ones in order, ``depth`` pictures late
    decoding times        a picture is shown as many usual steps off as its place in the output is off its place in the stream

In both cases presentation times are put out ``depth`` steps late, so that none is before its decoding time. The first picture after a key frame already
shows that others will stand before it (count 4, not 2); until a B frame's stamp has told what stamps mean, presentation times are assumed, unless so many
pictures would have to fit into the step that decoding times are likelier. Where nothing is out of order for a while the delay ends.
"""

from __future__ import annotations

import heapq

#: what a stamp means
UNKNOWN, PRESENTATION, DECODING = range(3)

#: the delay is counted in steps of so many ms until the pictures' own step is known
FIRST_STEP_MS = 40
#: a terminal that sends more pictures a second than 1000 / this is not known: then it is the stamps that are misread
SHORT_STEP_MS = 36
#: H.264 and H.265 allow for 16
DEPTH_MAX = 16
#: pictures that may stand in between two shown one after the other; encoders in hardware know up to 3, others use up to 8
BETWEEN_MAX = 8
#: counts of a damaged stream must not put a picture farther ahead than this
AHEAD_MAX_MS = 2000
#: pictures in order after which nothing is expected to be out of order any more: so many for each of ``depth``, and at least
QUIET, QUIET_MIN = 8, 16
#: pictures without a B frame after which the counts are no longer looked at
LOOK = 64
#: stamps that contradict what was learnt, in a row, before it is learnt anew
CONTRARY = 3
#: order counts of a sequence lie within 32 bits around its first picture's
_SEQUENCE = 32
_MIDDLE = 1 << 31


def _number(order: int) -> int:
    """Of the coded sequence; within one, order counts may be negative."""
    return order + _MIDDLE >> _SEQUENCE


class PictureOrder:
    """What is known of one stream's reordering."""

    def __init__(self) -> None:
        self.latest = -1  #: the greatest presentation time put out
        self.forget()

    @property
    def wants_counts(self) -> bool:
        """Whether picture order counts are of use: there are B frames, or they may still turn up."""
        return self.active or self._looked < LOOK

    @property
    def settled(self) -> bool:
        """Pictures have been in order for so long that the configuration's word, that they need not be, counts for nothing."""
        return self._distrust

    def ask(self) -> None:
        """A stamp has gone back as those of B frames do: counts, please."""
        self._looked = 0
        self._distrust = False

    def forget(self) -> None:
        """Another source, or another configuration."""
        self._looked = 0
        self.active = False
        self.delay = 0  #: ms by which pictures are put out after their stamps
        self.depth = 0
        self.stamps = UNKNOWN
        self._contrary = 0
        self._quiet = 0
        self._distrust = False  #: gaps in the order have been seen that no picture filled
        self._step = float(FIRST_STEP_MS)  # usual distance of decoding times
        self._stamp_step = 0.0  # and of stamps
        self._stamp_steps = 0
        self._recent: list[tuple[int, int]] = []  # (order, presentation time) of the latest pictures
        self._unit = 2.0  # of the order, from one picture to the next; counted in fields mostly
        self._new_sequence(0)
        self._top = -1  # greatest order so far
        self._top_stamp = 0
        self._before = 0  # stamp of the picture before
        self._any = False
        self._heap: list[int] = []
        self._out = 0

    def jumped(self) -> None:
        """The stamps began somewhere else."""
        self._heap.clear()
        self._any = False
        self._top = -1
        self._recent.clear()

    def _new_sequence(self, number: int) -> None:
        self._sequence = number
        self._count = 0  # pictures of the sequence that have come
        self._anchor = (0, 0)  # the latest picture that all before it were shown before: order within the sequence, and its place in the stream

    def may_go_back(self, order: int | None) -> bool:
        """The next stamp may be earlier than the last one without being a jump."""
        if self.stamps == DECODING:
            return False
        return self.active if order is None else 0 <= order < self._top

    def see(self, stamp: int, order: int | None, depth: int) -> None:
        """Learn from the next picture, before its times are asked for."""
        if order is None:
            if not self._distrust:
                self._deepen(depth)  # nothing will tell but the stamps
            if self._any and stamp < self._before and self.active:
                self._told(PRESENTATION)
        elif order < self._top:
            self._quiet = 0
            self._distrust = False
            self._deepen(max(sum(other > order for other, _ in self._recent), depth))
            if stamp != self._top_stamp:
                self._told(PRESENTATION if stamp < self._top_stamp else DECODING)
        elif self._top >= 0 and not self._distrust and order - self._top >= 1.5 * self._unit and _number(order) == _number(self._top):
            self._deepen(max(depth, 1))  # room is left for a picture in between
        if order is not None:
            self._looked += 1
            if order >= self._top:
                self._top, self._top_stamp = order, stamp
        if self._any and 0 < stamp - self._before <= 500:
            self._stamp_steps += 1
            self._stamp_step += max(0.1, 1 / self._stamp_steps) * (stamp - self._before - self._stamp_step)
        self._before = stamp
        self._any = True
        if self.active:
            self._quiet += 1
            if self._quiet > max(QUIET * self.depth, QUIET_MIN):
                self.active = False
                self._distrust = True
                self._looked = LOOK
                self.depth = self.delay = 0
                self._heap.clear()

    def _deepen(self, depth: int) -> None:
        depth = min(depth, DEPTH_MAX)
        if depth > self.depth or (depth and not self.active):
            if not self.active and self.latest >= 0:
                self._heap.append(self.latest)
            self.active = True
            self.depth = max(depth, self.depth)
            self._delay_by(max(self.delay, round(self.depth * self._step)))
            self._quiet = 0

    def _delay_by(self, delay: int) -> None:
        self._heap = [shown + delay - self.delay for shown in self._heap]
        self.delay = delay

    def _told(self, stamps: int) -> None:
        self._quiet = 0
        if self.stamps == stamps:
            self._contrary = 0
            return
        self._contrary += 1
        if self.stamps == UNKNOWN or self._contrary >= CONTRARY:
            if self.stamps == DECODING:
                self._heap.clear()
            self.stamps = stamps
            self._contrary = 0
            if stamps == DECODING and self._stamp_steps:
                self._step = self._stamp_step

    def times(self, out: int, order: int | None, last: int, still: bool = False) -> tuple[int, int]:
        """(dts, pts) of the picture whose stamp is at ``out`` on the output clock; ``last`` is the dts before, ``still``: the stamp does not move."""
        if not self.active:
            dts = pts = max(out, last, self.latest + 1 if out <= self.latest else 0)
        else:
            ahead = self._ahead(order) if order is not None else 0.0
            if self.stamps == DECODING or still:
                dts = out
                pts = out + self.delay + round(ahead * self._step)
            else:
                pts = out + self.delay
                passed = out - self._out
                if self.stamps == UNKNOWN and ahead > 0.5 and passed < SHORT_STEP_MS * (ahead + 1.0):
                    pts += round(ahead * passed)  # so short a step for so many pictures: more likely a decoding time
                dts = self._next_in_order(pts)
            if order is not None:
                pts = self._between(pts, order, last)
            dts = max(min(dts, pts), last)
            pts = min(max(pts, dts), dts + AHEAD_MAX_MS)
        if order is not None:
            self._place(order)
            recent = self._recent
            recent.append((order, pts))
            if len(recent) > 2 * DEPTH_MAX:
                del recent[:DEPTH_MAX]
        if self.stamps == DECODING:
            self._step = self._stamp_step or self._step
            if self.active and self._step * self.depth > self.delay + 2:
                self._delay_by(round(self._step * self.depth))
        elif 0 < dts - last <= 500:
            self._step += 0.1 * (dts - last - self._step)
        self._out = out
        self.latest = max(self.latest, pts)
        return dts, pts

    def _next_in_order(self, pts: int) -> int:
        """The decoding time: presentation times in order, ``depth`` pictures late; at the beginning counted backwards."""
        heap = self._heap
        heapq.heappush(heap, pts)
        while len(heap) > self.depth + 1:
            heapq.heappop(heap)
        return heap[0] - round((self.depth + 1 - len(heap)) * self._step)

    def _between(self, pts: int, order: int, last: int) -> int:
        """After what is shown before this picture, before what is shown after it, with room for those that are still to come in between."""
        lowest = max((shown for other, shown in self._recent if other < order), default=-1)
        highest = min(((shown, other) for other, shown in self._recent if other > order), default=None)
        if pts <= lowest:
            pts = lowest + 1
        if highest is not None and pts >= highest[0]:
            until, other = highest
            missing = max((other - order) / self._unit, 1.0)
            pts = until - max(int((until - max(last, lowest)) * missing / (missing + 1.0)), 1)
        return pts

    def _ahead(self, order: int) -> float:
        """By how many pictures it comes before its turn; negative for those that others have overtaken."""
        number = _number(order)
        if number != self._sequence:
            return 0.0
        place = (order - (number << _SEQUENCE)) / self._unit
        return max(-float(self.depth), min(place - self._count, float(BETWEEN_MAX)))

    def _place(self, order: int) -> None:
        """Count the picture in."""
        number = _number(order)
        if number != self._sequence:
            self._new_sequence(number)
        within = order - (number << _SEQUENCE)
        before, _ = self._anchor
        if within > before:
            # Before an anchor comes, all that is shown before the last one has come: its order is the number of pictures by then.
            if before > 0 and self._count > 1:
                self._unit = before / (self._count - 1)
            elif within & 1:
                self._unit = 1.0
            self._anchor = (within, self._count)
        elif within & 1:
            self._unit = 1.0
        self._count += 1
