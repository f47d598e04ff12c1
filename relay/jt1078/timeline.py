"""From the stamps terminals send to one output clock (时间戳, JT/T 1078-2016 table 19): milliseconds from 0, never decreasing, sound and picture together.

The standard: milliseconds, relative. What terminals send, and what is made of it::

    a jump back, or more than MAX_STEP_MS ahead   the track goes on one usual step after its last output; the other track moves to the same
                                                  new anchor when its stamps jump too, so the two stay together
    a little back (up to SMALL_BACK_MS)           the output waits until the stamps have caught up
    32-bit wrap                                   no jump
    stands still                                  pictures: arrival, smoothed; sound: the blocks' own duration
    another unit                                  µs and 90 kHz are told by steps and arrival and scaled; seconds stand still most of the time
    sound on a clock of its own                   an anchor of its own, beside the picture
    sound in another unit, or wrong               the blocks' duration, where both disagree block after block; drawn back to the picture
    B frames                                      the stamps are presentation or decoding times (``order``); the other one is derived

Stamps set the pace, not arrival: recordings come faster than real time, and playback at 2x to 16x does.
"""

from __future__ import annotations

from relay.jt1078.order import MAX_BACK_MS, PictureOrder

#: a longer step is a jump: pictures come every 40 to 240 ms, and one a second is the slowest that is set up
MAX_STEP_MS = 2000
#: back by so little is jitter, or a clock being corrected
SMALL_BACK_MS = 200
#: a jump advances the output by the usual step, or by the time that really passed, but by no more than this
MAX_GAP_MS = 1000
#: a first guess: 25 pictures a second
FIRST_STEP_MS = 40.0
#: sound without usable stamps that is so far from the picture is drawn back to it
MAX_DRIFT_MS = 1000
#: blocks of sound in a row after which stamps far too fast, or too slow, are not believed
FAST_BLOCKS, SLOW_BLOCKS, TRUST_BLOCKS = 5, 50, 50
#: for so long after its anchor a track's stamps are compared with arrival
COMPARE_S = 10.0

_WRAP = 1 << 32


class _Anchor:
    """``output = (stamp - raw) * unit + out``."""

    __slots__ = ("out", "raw", "unit")

    def __init__(self, raw: int, out: float, unit: float = 1) -> None:
        self.raw = raw
        self.out = out
        self.unit = unit  #: ms a tick; 1 is an int, which keeps sums of stamps exact

    def at(self, raw: int) -> float:
        return (raw - self.raw) * self.unit + self.out


class _Track:
    """One kind of media."""

    __slots__ = (
        "anchor",
        "arrived",
        "began_now",
        "began_raw",
        "frames",
        "honest",
        "out",
        "ratios",
        "raw",
        "started",
        "step",
        "steps",
        "still",
        "still_now",
        "still_out",
        "wrap",
    )

    def __init__(self) -> None:
        self.anchor: _Anchor | None = None
        self.raw = 0  #: last stamp, unwrapped
        self.wrap = 0  #: added for 32-bit wraps
        self.out: float = 0.0  #: highest so far, before rounding
        self.started = False
        self.step = FIRST_STEP_MS  #: usual distance of frames, smoothed; of sound: the block's duration
        self.arrived = 0.0
        self.still = 0  #: frames since the stamp moved
        self.still_now = 0.0  #: when it moved last, and
        self.still_out = 0.0  #: the output then
        self.steps: list[int] = []  #: the last jumps, as long as one follows the other
        self.began_raw = 0  #: where the comparison with arrival began
        self.began_now = 0.0
        self.frames = 0  #: since then; -1 = compared long enough
        self.ratios = 0  #: blocks of sound in a row whose stamps disagree with their duration
        self.honest = 0.0  #: output before the first of those


class Timeline:
    """The output clock of one stream."""

    def __init__(self) -> None:
        self.jumps = 0  #: new anchors, but for the first
        self._video = _Track()
        self._audio = _Track()
        self._last_dts = 0
        self._last_audio = 0
        self._shift = 0.0  #: added to both tracks, so that decoding times of B frames do not run below 0
        self._shifted = 0  #: for so many pictures
        self._order = PictureOrder()
        self._by_duration = False  #: the stamps of the sound are not believed

    @property
    def wants_counts(self) -> bool:
        """Whether ``video`` wants picture order counts."""
        return self._order.wants_counts

    def restart(self) -> None:
        """Another source goes on with the stream: its first stamps are anchored after what has been put out."""
        for track in (self._video, self._audio):
            track.anchor = None
            track.still = track.ratios = track.wrap = 0
            track.steps.clear()
        self._by_duration = False
        self._order.restart()

    # -- pictures -----------------------------------------------------------------------------------------------------------------------

    def video(self, stamp: int, now: float, count: int | None = None, key: bool = False, depth: int = 0, unit: int = 2) -> tuple[int, int]:
        """(dts, pts) of the next access unit.

        ``count``: its picture order count, if it is known; ``unit``: what counts grow by from picture to picture (H.264: 2, H.265: 1);
        ``depth``: how many pictures may be reordered by the configuration, 0 = it does not say, or none.
        """
        track = self._video
        anchor = track.anchor
        order = self._order
        raw = stamp + track.wrap
        if anchor is not None and anchor.unit == 1 and count is None and not order.active and not track.still:
            step = raw - track.raw
            out = raw - anchor.raw + anchor.out
            if 0 < step <= MAX_STEP_MS and out >= track.out and (track.frames < 0 or step < 1000):
                # Nearly every picture: the stamp has moved on as it should.
                track.raw = raw
                track.out = out
                track.arrived = now
                if step != track.step:
                    track.step += ((step if step < 500 else 500) - track.step) * 0.125
                dts = round(out + self._shift) if self._shift else round(out)
                if dts < self._last_dts:
                    dts = self._last_dts
                self._last_dts = dts
                return dts, dts
        order.look(raw, track.raw if anchor is not None else -1, count, key, depth, unit)
        if order.active and order.depth > self._shifted:
            self._shift += (order.depth - self._shifted) * track.step
            self._shifted = order.depth
        before = track.out + self._shift
        shown = self._place(track, self._audio, stamp, now, 0.0, order.active and order.presentation) + self._shift
        if not order.active:
            dts = pts = max(round(shown), self._last_dts)
        elif order.presentation:
            while shown < self._last_dts and order.deepen():
                self._shift += track.step
                self._shifted += 1
                shown += track.step
            dts = max(round(order.decoding_time(shown, before)), round(shown) - MAX_STEP_MS, self._last_dts)
            if 0 < dts - self._last_dts < 500:
                track.step += (dts - self._last_dts - track.step) * 0.125
            pts = max(round(shown), dts)
        else:
            dts = max(round(shown - order.depth * track.step), self._last_dts)
            pts = min(max(round(shown + order.places_back(count) * track.step), dts), dts + MAX_BACK_MS)
        self._last_dts = dts
        return dts, pts

    # -- sound ----------------------------------------------------------------------------------------------------------------------------

    def audio(self, stamp: int, now: float, duration_ms: float) -> int:
        """Time of the next block of sound, which lasts ``duration_ms`` (0 = not known)."""
        track = self._audio
        raw = stamp + track.wrap
        anchor = track.anchor
        step = raw - track.raw
        if anchor is not None and anchor.unit == 1 and 0.6 * duration_ms <= step <= 3 * duration_ms and not self._by_duration and not track.still:
            out = raw - anchor.raw + anchor.out
            if out >= track.out and step:  # nearly every block: the stamps grow as the sound does
                track.raw, track.out, track.arrived, track.step, track.ratios = raw, out, now, duration_ms, 0
                at = round(out + self._shift)
                if at < self._last_audio:
                    at = self._last_audio
                self._last_audio = at
                return at
        if duration_ms and anchor is not None and step:
            self._doubt(track, step, duration_ms, now)
        if self._by_duration and duration_ms:
            out = track.out + duration_ms
            video = self._video
            if video.started and abs(out - video.out) > MAX_DRIFT_MS and now - video.arrived < 1.0:
                out = max(track.out, video.out)
            track.raw, track.out, track.arrived = raw, out, now
        else:
            out = self._place(track, self._video, stamp, now, duration_ms, False)
        at = max(round(out + self._shift), self._last_audio)
        self._last_audio = at
        return at

    def _doubt(self, track: _Track, step: int, duration_ms: float, now: float) -> None:
        """Do the stamps grow as the sound does? Silence that is not sent makes them grow faster now and then; here it is block after block."""
        ratio = step / duration_ms
        if self._by_duration:
            track.ratios = track.ratios + 1 if 0.9 < ratio < 1.1 else 0
            if track.ratios >= TRUST_BLOCKS:
                self._by_duration, track.ratios, track.anchor = False, 0, None  # anchored anew
        elif 3 < ratio < 2000:
            if not track.ratios:
                track.honest = track.out
            track.ratios += 1
            if track.ratios >= FAST_BLOCKS:
                self._by_duration, track.ratios = True, 0
                track.out = track.honest + (FAST_BLOCKS - 1) * duration_ms  # what went out too early stays; the next blocks wait for it
        elif 0 < ratio < 0.6:
            track.ratios += 1
            passed = (now - track.began_now) * 1000
            if track.ratios >= SLOW_BLOCKS and track.frames >= 0 and passed > 2000:
                # Stamps that keep pace with arrival are right, and the duration is wrong (another sample rate than was told).
                agrees = 0.8 < (track.raw + step - track.began_raw) / passed < 1.25
                self._by_duration, track.ratios = not agrees, 0
        else:
            track.ratios = 0

    # -- both -----------------------------------------------------------------------------------------------------------------------------

    def _place(self, track: _Track, other: _Track, stamp: int, now: float, duration_ms: float, reordered: bool) -> float:
        """Where on the output clock a stamp belongs."""
        raw = stamp + track.wrap
        anchor = track.anchor
        if duration_ms:
            track.step = duration_ms
        if anchor is None:
            return self._begin(track, other, stamp, now)
        ticks = raw - track.raw
        if ticks < 0 and 0 < ticks + _WRAP <= MAX_STEP_MS / anchor.unit:
            track.wrap += _WRAP
            raw += _WRAP
            ticks += _WRAP
        step = ticks * anchor.unit
        if ticks == 0:
            return self._stand_still(track, now, duration_ms)
        if reordered and -MAX_BACK_MS <= step < 0:
            track.raw, track.arrived = raw, now
            return anchor.at(raw)
        out = anchor.at(raw)
        if not -SMALL_BACK_MS <= step <= MAX_STEP_MS:
            out = self._jump(track, other, raw, ticks, now)
        elif out < track.out and (track.still or track.out - out > SMALL_BACK_MS) and not reordered:
            # Arrival has led on while the stamps stood still, or they keep going back: go on from the output.
            track.anchor = _Anchor(raw, track.out + track.step, anchor.unit)
            out = track.anchor.out
        elif step > 0:
            track.steps.clear()
            if not duration_ms and not reordered:
                track.step += (min(step, 500) - track.step) * 0.125
        track.still = 0
        track.raw, track.arrived = raw, now
        if not reordered:
            out = max(out, track.out)
        track.out = max(out, track.out)
        if track.frames >= 0 and not duration_ms:
            self._compare(track, raw, now)
        return out

    def _begin(self, track: _Track, other: _Track, stamp: int, now: float) -> float:
        """The first stamp of a source: on the other track's clock if it fits there, else right after what has been put out."""
        position = track.out + track.step if track.started else 0.0
        beside = other.anchor
        if beside is not None:
            there = beside.at(stamp)
            if abs(there - other.out) <= MAX_STEP_MS and (not track.started or there >= track.out):
                track.anchor = beside
                position = max(there, 0.0)
        if track.anchor is None:
            if other.started:
                position = max(position, other.out)
            track.anchor = _Anchor(stamp, position)
        track.started = True
        track.raw, track.out, track.arrived, track.still = stamp, position, now, 0
        track.began_raw, track.began_now, track.frames = stamp, now, 0
        return position

    def _jump(self, track: _Track, other: _Track, raw: int, ticks: int, now: float) -> float:
        anchor, beside = track.anchor, other.anchor
        if beside is not None and beside is not anchor:
            position = beside.at(raw)
            if track.out - MAX_BACK_MS <= position <= track.out + MAX_STEP_MS:
                track.anchor = beside  # the other track has jumped before: both on one clock again
                return position
        self.jumps += 1
        unit = self._unit_of_jumps(track, ticks, now)
        advance = min(max(track.step, (now - track.arrived) * 1000), MAX_GAP_MS)
        track.anchor = _Anchor(raw, track.out + advance, unit or (anchor.unit if anchor is not None else 1))
        if not unit and len(track.steps) < 2:
            track.began_raw, track.began_now, track.frames = raw, now, 0
        return track.anchor.out

    @staticmethod
    def _unit_of_jumps(track: _Track, ticks: int, now: float) -> float:
        """Jumps ahead, one after the other and alike, are steps in another unit; 0 = they are not."""
        steps = track.steps
        steps.append(ticks)
        del steps[:-4]
        if len(steps) < 4 or min(steps) <= 0 or max(steps) > 8 * min(steps):
            return 0
        if sorted(steps)[1] >= 20000:
            steps.clear()
            return 0.001
        passed = (now - track.began_now) * 1000
        if passed > 0 and 45 <= (track.raw + ticks - track.began_raw) / passed <= 180:
            steps.clear()
            return 1 / 90
        return 0

    @staticmethod
    def _compare(track: _Track, raw: int, now: float) -> None:
        """90 kHz at many pictures a second looks like steps of a second or two; arrival tells."""
        track.frames += 1
        passed = now - track.began_now
        if passed >= 1.0 and track.frames >= 10:
            ticks = raw - track.began_raw
            if ticks >= 900 * track.frames and 60 <= ticks / (passed * 1000) <= 135:
                track.anchor = _Anchor(raw, track.out, 1 / 90)
                track.step = FIRST_STEP_MS
                track.frames = -1
            elif passed > COMPARE_S:
                track.frames = -1

    @staticmethod
    def _stand_still(track: _Track, now: float, duration_ms: float) -> float:
        if not track.still:
            track.still_now, track.still_out = track.arrived, track.out
        track.still += 1
        if duration_ms:
            track.out += duration_ms
        else:
            # Reads bring several frames at once: each advances by the usual step and a part of what arrival is ahead.
            passed = min(max((now - track.arrived) * 1000, 0.0), float(MAX_GAP_MS))
            track.step += (passed - track.step) * 0.05
            lag = min(track.still_out + (now - track.still_now) * 1000 - track.out, MAX_GAP_MS)
            track.out += max(track.step + (lag - track.step) * 0.25, track.step * 0.25)
        track.arrived = now
        return track.out
