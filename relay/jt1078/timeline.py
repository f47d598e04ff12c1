"""From the stamps terminals send to one output clock (jt1078-media 4.3): milliseconds from 0, never decreasing per track, sound and picture together.

A track's output is ``stamp × unit − offset``. What terminals do to it, and what is done about it::

    jump back, or more than MAX_STEP_MS forward    new offset: the track goes on one usual step after the latest output; the
                                                   other track takes the same offset when its stamps follow
    stands still                                   the time of arrival is used, for sound the samples
    another unit (s, µs, 90 kHz)                   found by comparing with the arrival over UNIT_LOOK_S, then scaled
    sound on a clock of its own                    its own offset, anchored to the picture's output
    presentation stamps of B frames                decoding times are the stamps in order, ``depth`` frames late

Stamps set the pace, not arrival: a terminal may send what it recorded faster than real time.
"""

from __future__ import annotations

import heapq

#: a longer step is a jump: pictures come every 40 to 240 ms, and a second of silence is seen
MAX_STEP_MS = 2000
#: B frames go back by some frames, a corrected clock by seconds
MAX_BACK_MS = 1000
#: arrival is compared with stamps over so long
UNIT_LOOK_S = 2.0
FIRST_STEP_MS = 40.0
#: steps of pictures up to here need no second look
EASY_STEP_MS = 500

#: stamps a millisecond -> factor to milliseconds; anything else is taken for milliseconds sent faster or slower than real time
_UNITS = ((800.0, 1250.0, 0.001), (80.0, 100.0, 1 / 90))


class _Track:
    """One kind of media."""

    __slots__ = ("arrived", "easy", "first_arrival", "first_stamp", "frozen", "offset", "out", "stamp", "started", "step", "unit")

    def __init__(self) -> None:
        self.offset = 0.0
        self.stamp = -1.0  #: last, in ms after scaling
        self.out = 0.0  #: last
        self.step = FIRST_STEP_MS  #: usual distance of frames, smoothed
        self.arrived = 0.0
        self.frozen = 0
        self.unit = 1.0
        self.started = False
        self.first_stamp = 0
        self.first_arrival = 0.0
        self.easy = False  #: milliseconds that move, looked at long enough: an ordinary step needs no more than adding


class Timeline:
    """The output clock of one stream."""

    def __init__(self) -> None:
        self._video = _Track()
        self._audio = _Track()
        self._depth = 0
        self._back = False  #: stamps have been seen to go back as those of B frames do
        self._monotonic = 0  #: frames since the depth is known without such a step
        self._heap: list[float] = []
        self._last_dts = 0
        self._last_audio = 0
        self.jumps = 0

    def easy_base(self) -> int | None:
        """What an ordinary stamp of the picture (``EASY_STEP_MS`` or less after the last) need only be lessened by; None while it takes more."""
        track = self._video
        if not track.easy or self._depth or track.offset != int(track.offset) or self._last_dts != int(track.out):
            return None
        return int(track.offset)

    def caught_up(self, stamp: int, step: int, now: float) -> None:
        """Pictures up to ``stamp`` have been timed by ``easy_base``; the last step was ``step``."""
        track = self._video
        track.stamp = float(stamp)
        track.out = stamp - track.offset
        track.step += 0.5 * (step - track.step)
        track.arrived = now
        self._last_dts = int(track.out)

    def restart(self) -> None:
        """Another source goes on with the stream: the next stamps are anchored anew, after what has been put out."""
        for track in (self._video, self._audio):
            track.stamp = -1.0
            track.unit = 1.0
            track.frozen = 0
            track.easy = False
        self._heap.clear()

    def video(self, stamp: int, now: float, depth: int = 0) -> tuple[int, int]:
        """(dts, pts) of the next access unit; ``depth`` is how many frames may stand before it in decoding order and follow it in output order."""
        track = self._video
        if depth != self._depth:
            self._depth, self._monotonic, self._back = depth, 0, False
            self._heap.clear()
        reordered = self._reordered
        before = track.stamp
        pts = self._place(track, self._audio, stamp, now, reordered)
        if depth:
            if before >= 0 and -MAX_BACK_MS <= track.stamp - before < 0:
                self._back = True
            self._monotonic += 1
        if not reordered:
            dts = max(round(pts), self._last_dts)
            self._last_dts = dts
            return dts, dts
        # Decoding times are the presentation times in order, ``depth`` late; shifting them all by depth steps keeps them from running below 0.
        shown = pts + depth * FIRST_STEP_MS
        heapq.heappush(self._heap, shown)
        if len(self._heap) > depth + 1:
            heapq.heappop(self._heap)
        early = self._heap[0] - (depth + 1 - len(self._heap)) * FIRST_STEP_MS if len(self._heap) <= depth else self._heap[0]
        dts = max(round(min(early, shown)), self._last_dts)
        self._last_dts = dts
        return dts, max(round(shown), dts)

    @property
    def _reordered(self) -> bool:
        """Stamps are presentation times in decoding order, or may be: not enough frames have come to tell."""
        return self._depth > 0 and (self._back or self._monotonic < 8 * self._depth)

    def audio(self, stamp: int, now: float, duration_ms: float) -> int:
        """Time of the next block of sound, which lasts ``duration_ms`` (0 = not known)."""
        track = self._audio
        if duration_ms:
            track.step = duration_ms
        shift = self._depth * FIRST_STEP_MS if self._reordered else 0.0  # pictures are put out that much later
        out = max(round(self._place(track, self._video, stamp, now, False) + shift), self._last_audio)
        self._last_audio = out
        return out

    def _place(self, track: _Track, other: _Track, raw: int, now: float, reordered: bool) -> float:
        stamp = raw * track.unit
        if not track.started or track.stamp < 0:
            self._anchor(track, other, stamp)
            track.started = True
            track.first_stamp, track.first_arrival = raw, now
        else:
            step = stamp - track.stamp
            if step == 0:
                return self._frozen(track, stamp, now)
            low = -MAX_BACK_MS if reordered else 0
            if not low <= step <= MAX_STEP_MS:
                self._jump(track, other, stamp, raw, now)
            elif step > 0:
                if not track.easy and track.unit == 1.0 and not track.first_arrival and not track.frozen:
                    track.easy = True
                if track.frozen:  # the stamp moves again: go on from where arrival has led
                    track.offset = stamp - (track.out + track.step) if stamp - track.offset < track.out else track.offset
                    track.frozen = 0
                elif step <= EASY_STEP_MS:
                    track.step += 0.1 * (step - track.step)
            if track.unit == 1.0 and track.first_arrival and now - track.first_arrival >= UNIT_LOOK_S:
                self._look_at_unit(track, raw, now)
                stamp = raw * track.unit
        out = stamp - track.offset
        if not reordered and out < track.out:
            out = track.out
        track.out = max(track.out, out) if reordered else out
        track.stamp = stamp
        track.arrived = now
        return out

    def _anchor(self, track: _Track, other: _Track, stamp: float) -> None:
        """The first stamp of a source: beside the other track's clock if it fits there, else right after what has been put out."""
        position = max(track.out + (track.step if track.started else 0.0), other.out if other.started else 0.0)
        if other.started and other.stamp >= 0:
            beside = stamp - other.offset
            if beside >= (track.out if track.started else 0.0) and abs(beside - other.out) <= MAX_STEP_MS:
                track.offset = other.offset
                return
        track.offset = stamp - position

    def _jump(self, track: _Track, other: _Track, stamp: float, raw: int, now: float) -> None:
        self.jumps += 1
        track.frozen = 0
        track.easy = False
        with_other = stamp - other.offset
        if other.started and track.out <= with_other <= track.out + MAX_STEP_MS:
            track.offset = other.offset  # the other track jumped first: both again on one clock
        else:
            track.offset = stamp - (track.out + track.step)
        track.first_stamp, track.first_arrival = raw, now
        self._heap.clear()

    def _frozen(self, track: _Track, stamp: float, now: float) -> float:
        track.frozen += 1
        track.easy = False
        if track is self._audio:
            advance = track.step
        else:
            advance = min(max((now - track.arrived) * 1000.0, 1.0), float(MAX_STEP_MS)) if now > track.arrived else track.step
        track.out += advance
        track.offset = stamp - track.out
        track.arrived = now
        return track.out

    def _look_at_unit(self, track: _Track, raw: int, now: float) -> None:
        rate = (raw - track.first_stamp) / ((now - track.first_arrival) * 1000.0)
        for low, high, unit in _UNITS:
            if low <= rate <= high:
                track.unit = unit
                track.offset = raw * unit - (track.out + track.step)
        track.first_arrival = 0.0
