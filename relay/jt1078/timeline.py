"""From the stamps terminals send to one output clock (时间戳, JT/T 1078-2016 table 19): milliseconds from 0, never decreasing, sound and picture together.

The standard: milliseconds, relative. A track's output is ``stamp × unit − offset``. What terminals send, and what is made of it::

    a jump back, or more than MAX_STEP_MS ahead   the other track's offset if that puts both side by side; else a new one, on which the track goes
                                                  on by the time that has passed, and the other track follows when its stamps jump, too
    stands still                                  pictures: arrival, smoothed; sound: the blocks' own duration
    moves once in a while (seconds, 1/10 s)       still in between; on its own offset again where that fits
    another unit (µs, 90 kHz, samples)            told by the usual step and by arrival, of sound by the duration of a block
    32-bit wrap                                   no jump
    sound on a clock of its own                   an offset of its own, beside the picture, and watched: clocks drift
    B frames                                      the stamps are presentation or decoding times (``order``); the other one is derived

Stamps set the pace, not arrival: recordings come faster than real time, and playback at 2x to 16x does.
"""

from __future__ import annotations

from relay.jt1078.order import PictureOrder

#: a longer step is a jump: pictures come every 40 to 240 ms, and a second of silence is seen
MAX_STEP_MS = 2000
#: B frames go back by some frames, a corrected clock by seconds
MAX_BACK_MS = 1000
#: after a jump the output advances by the time that has passed, from one usual step to this
MAX_GAP_MS = 1000
#: a track that would have to go back by no more waits instead until its stamps have caught up
MAX_WAIT_MS = 500
#: the step of pictures and blocks that is assumed until one has been seen
FIRST_STEP_MS = 40
#: steps up to here need no second look, if those before needed none
EASY_STEP_MS = 500
#: steps after which the unit may be told; where they are too long for milliseconds, after which it is told whatever arrival says
LOOK_STEPS, LOOK_STEPS_MAX = 5, 12
#: arrival tells the unit if it has been watched for so long
LOOK_S = 1.0
#: sound whose stamps grow more slowly than it lasts is watched longer: it may be the duration that is wrong (another sample rate than was told)
LOOK_SLOW_S, LOOK_SLOW_STEPS = 2.0, 100
#: sound on a clock of its own may drift so far from the picture
DRIFT_MS = 400
#: the pace of pictures whose stamp stands still is taken from half as many of them at least
PACE_FRAMES = 256

_RANGE_32 = 1 << 32
_KHZ_90, _MICROSECONDS = 1 / 90, 1 / 1000
#: ticks a millisecond that stamps of sound may have, besides one
_TICKS = (8.0, 16.0, 32.0, 44.1, 48.0, 90.0, 1000.0)


class _Track:
    """One kind of media."""

    __slots__ = (
        "anchored", "arrived", "base", "easy", "fine", "first", "frozen", "looked", "offset", "out", "since", "stamp", "started", "step", "unit",
    )  # fmt: skip

    def __init__(self) -> None:
        self.easy = 0  #: steps up to here need only adding; 0 while anything is to be looked at
        self.stamp = 0  #: last, in ms after scaling
        self.offset = 0
        self.out = 0  #: last output; with B frames the latest
        self.step = FIRST_STEP_MS  #: last regular distance of stamps
        self.arrived = 0.0
        self.started = False  #: something has been put out
        self.anchored = False  #: ``offset`` belongs to the present source
        self.unit = 1.0
        self.looked: list[int] | None = []  #: steps seen while the unit is not known
        self.first = 0.0  #: arrival of the first of them
        # while the stamp stands still
        self.frozen = 0
        self.since = 0.0
        self.base = 0.0
        self.fine = 0.0

    def forget(self) -> None:
        """Another source: only what has been put out stays."""
        self.easy = 0
        self.anchored = False
        self.unit = 1.0
        self.looked = []
        self.frozen = 0


class Timeline:
    """The output clock of one stream."""

    def __init__(self) -> None:
        self._video = _Track()
        self._audio = _Track()
        self._order = PictureOrder()
        self._sequence = 0  #: how often picture order counts have begun anew
        self._delay = 0  #: the sound is put out so much later, as pictures with B frames are
        self._last_dts = 0
        self._lag: float | None = None  #: how far the sound was ahead of the picture, where each has its clock
        self._lag_now = 0.0
        self._check_at = 0.0
        self.jumps = 0

    def restart(self) -> None:
        """Another source goes on with the stream: the next stamps are anchored anew, after what has been put out."""
        self._video.out = max(self._video.out, self._order.latest)
        self._video.forget()
        self._audio.forget()
        self._order.forget()
        self._follow(0)
        self._lag = None

    @property
    def habit(self) -> str:
        """What the terminal's stamps do: "frozen", "other unit" (than ms), "jumping" or "regular"."""
        tracks = (self._video, self._audio)
        if any(track.frozen >= 8 for track in tracks):
            return "frozen"
        if any(track.unit != 1.0 for track in tracks):
            return "other unit"
        return "jumping" if self.jumps > 1 else "regular"

    # pictures -----------------------------------------------------------------

    def plain(self, stamp: int, now: float) -> int:
        """Time of the next picture where pictures are shown in the order they come in: dts and pts are the same."""
        track = self._video
        step = stamp - track.stamp
        if 0 < step <= track.easy:
            track.stamp = stamp
            track.step = step
            track.arrived = now
            track.out = out = stamp - track.offset
            return out
        if -MAX_BACK_MS <= step < 0:
            self._order.ask()
        out = max(self._place(track, self._audio, stamp, now, False, 0.0), self._last_dts, self._order.latest + 1)
        self._last_dts = track.out = out
        track.easy = EASY_STEP_MS if self._is_easy(track) else 0
        return out

    def video(self, stamp: int, now: float, count: int | None = None, key: bool = False, depth: int = 0, unit: int = 2) -> tuple[int, int]:
        """(dts, pts) of the next access unit.

        ``count``: its picture order count, if it is known; ``unit``: what counts grow by from picture to picture (H.264: 2, H.265: 1);
        ``key``: counts begin anew; ``depth``: how many pictures may be reordered by the configuration, 0 = it does not say, or none.
        """
        order = self._order
        if count is None:
            if not order.active and (not depth or order.settled):
                dts = self.plain(stamp, now)
                return dts, dts
            number = None
        else:
            if key or not self._sequence:
                self._sequence += 1
            number = (self._sequence << 32) + count * (2 // unit)
        track = self._video
        if track.easy:
            self._last_dts, track.easy = track.out, 0
        out = self._place(track, self._audio, stamp, now, order.may_go_back(number), 0.0)
        order.see(track.stamp, number, depth)
        dts, pts = order.times(out, number, self._last_dts, track.frozen > 0)
        self._last_dts = dts
        if order.delay != self._delay:
            self._follow(order.delay)
        return dts, pts

    def lend(self) -> tuple[int, int, int] | None:
        """Stamp of the last picture, offset to the output clock, and the longest step that needs only adding; None while one needs more."""
        track = self._video
        return (track.stamp, track.offset, track.easy) if track.easy else None

    def take_back(self, stamp: int, step: int, now: float) -> None:
        """Pictures have been placed by what was lent: where the last one was."""
        track = self._video
        track.stamp = stamp
        track.step = step
        track.arrived = now
        track.out = stamp - track.offset

    @property
    def usual_step(self) -> int:
        """The last regular distance of pictures' stamps, in ms."""
        return self._video.step

    @property
    def wants_counts(self) -> bool:
        """Whether ``video`` wants picture order counts."""
        return self._order.wants_counts

    def expect_b_frames(self) -> None:
        """One has been seen: counts are wanted again."""
        self._order.ask()

    # sound --------------------------------------------------------------------

    def audio(self, stamp: int, now: float, duration_ms: float) -> int:
        """Time of the next block of sound, or of the first of several in one body, which last ``duration_ms`` together (0 = not known)."""
        track = self._audio
        step = stamp - track.stamp
        if 0 < step <= track.easy and now < self._check_at:
            track.stamp = stamp
            track.step = step
            track.arrived = now
            track.out = out = stamp - track.offset
            return out
        out = self._place(track, self._video, stamp, now, False, duration_ms)
        track.out = out
        if now >= self._check_at:
            self._watch_drift(now)
        track.easy = EASY_STEP_MS if self._is_easy(track) else 0
        return out

    # placing ------------------------------------------------------------------

    def _place(self, track: _Track, other: _Track, raw: int, now: float, may_go_back: bool, duration_ms: float) -> int:
        stamp = raw if track.unit == 1.0 else round(raw * track.unit)
        if not track.anchored:
            self._anchor(track, other, stamp)
            track.first = now
        else:
            step = stamp - track.stamp
            if step < -MAX_STEP_MS:
                step = self._unwrapped(track, step)
            if not step:
                return self._frozen(track, now, duration_ms)
            if track.looked is not None and step > 0 and self._unit_found(track, step, now, duration_ms):
                stamp = round(raw * track.unit)
                self._continue(track, other, stamp, track.arrived)
            elif track.looked is not None and duration_ms and _unit_of_sound(step / duration_ms) != 1.0:
                track.stamp = stamp  # in samples, perhaps: until that is known by their number
                track.arrived = now
                track.out += round(duration_ms)
                return track.out
            elif (-MAX_BACK_MS if may_go_back else 0) < step <= MAX_STEP_MS:
                if track.frozen:
                    self._thawed(track, stamp)
                elif 0 < step <= EASY_STEP_MS:
                    track.step = step
            else:
                self._continue(track, other, stamp, now)
        track.stamp = stamp
        track.arrived = now
        track.frozen = 0
        track.started = True
        out = stamp - track.offset
        if out > track.out:
            track.out = out
        elif not may_go_back:
            return track.out
        return out

    def _is_easy(self, track: _Track) -> bool:
        """Milliseconds that move, and nothing that waits to catch up."""
        return track.looked is None and track.unit == 1.0 and not track.frozen and track.out == track.stamp - track.offset

    def _offset_beside(self, track: _Track, other: _Track) -> int:
        """The offset that puts this track on the other one's clock."""
        return other.offset - self._delay if track is self._audio else other.offset + self._delay

    def _out_beside(self, track: _Track, other: _Track) -> int:
        """Where the other track is, as this one would be put out."""
        return other.out + self._delay if track is self._audio else other.out - self._delay

    def _anchor(self, track: _Track, other: _Track, stamp: int) -> None:
        """The first stamp of a source: on the other track's clock if it fits there, else right after what has been put out."""
        track.anchored = True
        beside = self._out_beside(track, other)
        if other.anchored:
            offset = self._offset_beside(track, other)
            if abs(stamp - offset - beside) <= MAX_STEP_MS and stamp - offset >= track.out - (MAX_WAIT_MS if track.started else MAX_STEP_MS):
                track.offset = offset
                return
        position = track.out + track.step if track.started else 0
        track.offset = stamp - (max(position, beside) if other.started else position)

    def _continue(self, track: _Track, other: _Track, stamp: int, now: float) -> None:
        """After a jump: side by side with the other track if its clock allows, else on by the time that has passed."""
        if track.frozen and -MAX_WAIT_MS <= stamp - track.offset - track.out <= MAX_STEP_MS:
            return  # it stood still, and is back where it should be
        if other.anchored:
            offset = self._offset_beside(track, other)
            place = stamp - offset
            if abs(place - self._out_beside(track, other)) <= MAX_STEP_MS and place >= track.out - MAX_WAIT_MS:
                track.offset = offset
                return
        self.jumps += 1
        passed = round(min(max((now - track.arrived) * 1000.0, track.step), MAX_GAP_MS))
        track.offset = stamp - (track.out + passed)
        if track is self._video:
            self._order.jumped()

    def _unwrapped(self, track: _Track, step: int) -> int:
        """A counter of 32 bits that has begun again goes on; ``step`` as it then is."""
        size = round(_RANGE_32 * track.unit)
        if 0 <= step + size <= MAX_STEP_MS:
            track.stamp -= size
            track.offset -= size
            return step + size
        return step

    # stamps that stand still --------------------------------------------------

    def _frozen(self, track: _Track, now: float, duration_ms: float) -> int:
        """The same stamp again."""
        if not track.frozen:
            track.since = track.arrived
            track.base = track.fine = float(track.out)
        track.frozen += 1
        elapsed = (now - track.since) * 1000.0
        target = track.base + elapsed
        if track is self._audio:
            fine = track.fine + (duration_ms or track.step)
            if target - fine > MAX_WAIT_MS:  # blocks are missing
                fine = target if target - fine <= MAX_STEP_MS else fine
                track.since, track.base = now, fine
        else:
            pace = elapsed / track.frozen
            if pace < 5.0:  # nobody sends 200 pictures a second: this comes faster than real time
                fine = track.fine + track.step
            else:
                fine = track.fine + (pace if track.frozen >= 8 else track.step)
                if target - fine > MAX_STEP_MS:  # nothing came for long
                    track.since, track.base, track.frozen = now, fine, 1
                else:
                    fine = max(fine + 0.05 * (target - fine), track.fine + 1.0)
                if track.frozen >= PACE_FRAMES:  # forget the older half
                    track.frozen //= 2
                    track.step = round(pace)
                    track.since, track.base = now - pace * track.frozen / 1000.0, target - pace * track.frozen
        track.fine = fine
        track.arrived = now
        track.out = max(round(fine), track.out)
        return track.out

    @staticmethod
    def _thawed(track: _Track, stamp: int) -> None:
        """The stamp moves again: where it would have led if that is near, else on from here."""
        if not -MAX_WAIT_MS <= stamp - track.offset - track.out <= MAX_STEP_MS:
            track.offset = stamp - (track.out + track.step)

    # units --------------------------------------------------------------------

    def _unit_found(self, track: _Track, step: int, now: float, duration_ms: float) -> bool:
        """Look at another step of stamps; True when it turns out that they are no milliseconds."""
        steps = track.looked
        if steps is None:
            return False
        steps.append(step)
        if len(steps) < LOOK_STEPS:
            return False
        usual = sorted(steps)[len(steps) // 2]
        elapsed = now - track.first
        rate = sum(steps) / (elapsed * 1000.0) if elapsed >= LOOK_S or (elapsed > 0.0 and len(steps) >= LOOK_STEPS_MAX) else 0.0
        if duration_ms and usual < 0.7 * duration_ms:
            if elapsed < LOOK_SLOW_S and len(steps) < LOOK_SLOW_STEPS:
                return False
            unit = duration_ms / usual if elapsed >= LOOK_SLOW_S and rate < 0.8 else 1.0
        elif duration_ms:
            unit = _unit_of_sound(usual / duration_ms)
        elif usual <= 1000 or 0.5 <= rate <= 2.0:
            unit = 1.0
        elif 75.0 <= rate <= 110.0:
            unit = _KHZ_90
        elif 800.0 <= rate <= 1250.0:
            unit = _MICROSECONDS
        elif len(steps) < LOOK_STEPS_MAX:
            return False
        elif 0.0 < rate < 75.0:  # key frames only, in playback
            unit = 1.0
        else:  # faster than real time: 1 to 50 pictures a second are believed
            unit = _KHZ_90 if usual <= 20000 else _MICROSECONDS if usual <= 1000000 else 1.0
        track.looked = None
        if unit == 1.0:
            return False
        track.unit = unit
        track.step = min(max(round(usual * unit), 1), EASY_STEP_MS)
        return True

    # sound and picture --------------------------------------------------------

    def _follow(self, delay: int) -> None:
        """Pictures are put out later than before, or no longer so late: so is the sound."""
        change = delay - self._delay
        self._delay = delay
        self._audio.offset -= change
        self._audio.easy = 0

    def _watch_drift(self, now: float) -> None:
        """Once a second: two clocks may drift apart; what arrives together belongs together."""
        self._check_at = now + 1.0
        sound, picture = self._audio, self._video
        if not (sound.anchored and picture.anchored) or now - picture.arrived > 1.0 or sound.offset == picture.offset - self._delay:
            self._lag = None
            return
        lag = float(sound.out - picture.out)
        if self._lag is None:
            self._lag = self._lag_now = lag
            return
        self._lag_now += 0.2 * (lag - self._lag_now)
        drift = self._lag_now - self._lag
        if abs(drift) > DRIFT_MS:
            sound.offset += round(drift)
            self._lag_now -= drift


def _unit_of_sound(ratio: float) -> float:
    """The unit in which a block of sound lasts as long as its samples do."""
    ticks = min(_TICKS, key=lambda known: abs(known - ratio))
    return 1 / ticks if abs(ratio - ticks) <= 0.1 * ticks else 1.0
