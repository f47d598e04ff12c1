"""Wire stamps to the output clock: jumps, stillness, units, wraps, sound on other clocks, B frames (spec 4.3, quirks of section 9)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

import pytest

from relay.jt1078.timeline import Timeline

EPOCH = 1_700_000_000_000


class Play:
    """Feeds a timeline with pictures every 40 ms and G.711 blocks every 40 ms, arriving in real time unless told otherwise."""

    def __init__(self, step: int = 40) -> None:
        self.timeline = Timeline()
        self.step = step
        self.now = 100.0
        self.video: list[int] = []
        self.audio: list[int] = []

    def picture(self, stamp: int, now: float | None = None) -> int:
        self.now = self.now + self.step / 1000 if now is None else now
        dts, pts = self.timeline.video(stamp, self.now)
        assert dts == pts
        self.video.append(dts)
        return dts

    def sound(self, stamp: int, duration: float = 40.0) -> int:
        self.audio.append(self.timeline.audio(stamp, self.now, duration))
        return self.audio[-1]

    def both(self, stamps: Iterable[int], sound: Iterable[int] | None = None) -> None:
        for stamp, other in zip(stamps, sound if sound is not None else stamps, strict=True):
            self.picture(stamp)
            self.sound(other)

    def check(self, longest: int = 1000) -> None:
        for times in (self.video, self.audio):
            assert all(a <= b for a, b in pairwise(times)), times
            assert all(b - a <= longest for a, b in pairwise(times)), times


def test_stamps_are_kept_and_begin_at_zero() -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 4000, 40))
    assert play.video == play.audio == list(range(0, 4000, 40))


def test_irregular_steps_are_kept() -> None:
    play = Play()
    stamps = [0, 80, 280, 320, 560, 600, 700]
    assert [play.picture(EPOCH + s) for s in stamps] == stamps


@pytest.mark.parametrize("origin", [0, 607775195621, 1099512331119, (1 << 64) - 100_000])
def test_any_origin(origin: int) -> None:
    play = Play()
    play.both(range(origin, origin + 2000, 40))
    assert play.video == play.audio == list(range(0, 2000, 40))


@pytest.mark.parametrize("jump", [-10_000, -4_000, 3_600_000, 10**9, -(10**11)])
def test_a_jump_of_both_tracks_keeps_them_together(jump: int) -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 2000, 40))
    play.both(range(EPOCH + 2000 + jump, EPOCH + 4000 + jump, 40))
    play.check(200)
    assert play.timeline.jumps == 1
    assert play.video == play.audio
    assert abs(play.video[-1] - 3960) <= 40


@pytest.mark.parametrize("sound_first", [False, True])
def test_the_track_that_jumps_first_takes_the_other_along(sound_first: bool) -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 2000, 40))
    for number in range(50):
        stamp = EPOCH + 2000 + 40 * number - 10_000
        early, late = stamp, stamp + 10_000 if number < 5 else stamp  # one track learns of the new clock 200 ms later
        play.picture(late if sound_first else early)
        play.sound(early if sound_first else late)
    play.check(300)
    assert abs(play.video[-1] - play.audio[-1]) <= 40
    assert play.timeline.jumps == 1


def test_a_single_wrong_stamp_shifts_nothing_for_long() -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 2000, 40))
    play.picture(EPOCH + 2000 - 130)
    play.both(range(EPOCH + 2040, EPOCH + 4000, 40))
    play.check(200)
    assert play.video[-1] == play.audio[-1] == 3960


def test_a_gap_of_the_terminal_is_cut_short() -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 2000, 40))
    play.picture(EPOCH + 12_000, play.now + 10)
    assert play.video[-1] - play.video[-2] == 1000
    play.sound(EPOCH + 12_000)
    assert play.audio[-1] == play.video[-1]


def test_a_picture_every_second_is_no_jump() -> None:
    play = Play(1000)
    assert [play.picture(EPOCH + 1000 * n) for n in range(30)] == [1000 * n for n in range(30)]
    assert play.timeline.jumps == 0


def test_key_frames_only_play_at_the_pace_they_come() -> None:
    play = Play(250)
    for number in range(40):
        play.picture(EPOCH + 4000 * number)
    play.check()
    assert 200 <= (play.video[-1] - play.video[9]) / 30 <= 300


# -- still stamps ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("burst", [1, 2, 4])
def test_stamps_that_never_change_follow_arrival(burst: int) -> None:
    play = Play()
    for number in range(500):
        if number % burst == 0:
            play.now += 0.040 * burst
        play.picture(EPOCH, play.now)
        play.sound(EPOCH)
    play.check(300)
    assert abs(play.video[-1] - 20_000) < 500
    assert abs(play.audio[-1] - 20_000) < 100


def test_stamps_that_move_again_go_on_from_there() -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 1000, 40))
    for _ in range(25):
        play.picture(EPOCH + 960)
    play.both(range(EPOCH + 1000, EPOCH + 2000, 40))
    play.check(200)
    assert 2900 <= play.video[-1] <= 3100


def test_whole_seconds() -> None:
    play = Play()
    for number in range(250):
        play.picture(1_700_000_000 + number * 40 // 1000)
    play.check(400)
    assert 9_000 <= play.video[-1] <= 11_000


# -- units -----------------------------------------------------------------------------------------------------------------------------


def test_microseconds() -> None:
    play = Play()
    for number in range(250):
        play.picture(EPOCH * 1000 + 40_000 * number)
    play.check()
    assert abs(play.video[-1] - 249 * 40) <= 200
    assert [b - a for a, b in pairwise(play.video[50:])] == [40] * 199


@pytest.mark.parametrize("fps", [10, 25, 50])
def test_ninety_kilohertz(fps: int) -> None:
    play = Play(1000 // fps)
    for number in range(20 * fps):
        play.picture(123_456_789 + 90_000 // fps * number)
    settled = play.video[-10 * fps :]
    assert [b - a for a, b in pairwise(settled)] == [1000 // fps] * (10 * fps - 1)


def test_a_flood_of_recorded_pictures_is_not_another_unit() -> None:
    play = Play()
    for number in range(1000):
        play.picture(EPOCH + 40 * number, 100 + number * 0.0005)
    assert play.video == [40 * n for n in range(1000)]


@pytest.mark.parametrize("speed", [0.5, 2, 16])
def test_playback_at_any_speed_follows_the_stamps(speed: float) -> None:
    play = Play()
    for number in range(1000):
        play.picture(EPOCH + 40 * number, 100 + number * 0.040 / speed)
        play.sound(EPOCH + 40 * number)
    assert play.video == play.audio == [40 * n for n in range(1000)]


def test_a_wrap_at_32_bits_is_no_jump() -> None:
    play = Play()
    play.both([stamp & 0xFFFFFFFF for stamp in range((1 << 32) - 1000, (1 << 32) + 1000, 40)])
    assert play.video == play.audio == list(range(0, 2000, 40))
    assert play.timeline.jumps == 0


# -- sound on its own ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [0, 5, EPOCH // 2, EPOCH + 10**7])
def test_sound_on_another_clock_is_put_beside_the_picture(origin: int) -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 8000, 40), range(origin, origin + 8000, 40))
    assert max(abs(a - b) for a, b in zip(play.audio, play.video, strict=True)) <= 40


@pytest.mark.parametrize("ticks", [8, 16, 90, 1000])
def test_sound_in_another_unit_goes_by_its_duration(ticks: int) -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 20_000, 40), range(0, 20_000 * ticks, 40 * ticks))
    play.check(1000)
    assert abs(play.audio[-1] - play.video[-1]) <= 200


def test_sound_whose_stamps_run_slow_goes_by_its_duration() -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 20_000, 40), range(EPOCH, EPOCH + 10_000, 20))
    play.check(1100)
    assert abs(play.audio[-1] - play.video[-1]) <= 1100


def test_a_sample_rate_that_was_assumed_wrongly_does_not_stretch_the_sound() -> None:
    play = Play()
    for number in range(1000):  # 16 kHz taken for 8 kHz: blocks of 40 ms seem to last 80
        play.picture(EPOCH + 40 * number)
        play.sound(EPOCH + 40 * number, 80.0)
    assert play.audio[-1] == play.video[-1]


def test_silence_that_is_not_sent_leaves_a_hole() -> None:
    play = Play()
    for number in range(500):
        play.picture(EPOCH + 40 * number)
        if number % 50 < 20:
            play.sound(EPOCH + 40 * number)
    assert play.audio == [40 * n for n in range(500) if n % 50 < 20]


def test_sound_that_begins_later() -> None:
    play = Play()
    for number in range(100):
        play.picture(EPOCH + 40 * number)
        if number > 50:
            play.sound(EPOCH + 40 * number - 15)
    assert play.audio[0] == 51 * 40 - 15


def test_sound_alone() -> None:
    timeline = Timeline()
    assert [timeline.audio(5000 + 20 * n, n * 0.02, 20.0) for n in range(100)] == [20 * n for n in range(100)]


# -- another source --------------------------------------------------------------------------------------------------------------------


def test_another_source_goes_on_after_what_was_put_out() -> None:
    play = Play()
    play.both(range(EPOCH, EPOCH + 2000, 40))
    play.timeline.restart()
    play.both(range(77, 2077, 40))
    play.check(200)
    assert play.video[-1] == play.audio[-1]
    assert 3900 <= play.video[-1] <= 4100


# -- B frames --------------------------------------------------------------------------------------------------------------------------


def decoding_order(pictures: int, run: int = 1) -> list[int]:
    """Numbers in output order, in decoding order, with ``run`` B frames between two others; a key frame every 30."""
    out: list[int] = []
    for start in range(0, pictures, 30):
        out.append(start)
        at = start
        while at < start + 29:
            after = min(at + run + 1, start + 29)
            out.append(after)
            out.extend(range(at + 1, after))
            at = after
    return out


@pytest.mark.parametrize("run", [1, 2, 3])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("unit", [1, 2])
@pytest.mark.parametrize("presentation", [True, False])
def test_b_frames_with_counts(run: int, depth: int, unit: int, presentation: bool) -> None:
    timeline = Timeline()
    last = -1
    shown: dict[int, int] = {}
    sound = []
    for position, number in enumerate(decoding_order(150, run)):
        stamp = EPOCH + 40 * (number if presentation else position)
        dts, pts = timeline.video(stamp, position * 0.04, (number % 30) * unit, number % 30 == 0, depth, unit)
        sound.append(timeline.audio(EPOCH + 40 * position, position * 0.04, 40.0))
        assert dts <= pts
        assert dts >= last
        last = dts
        shown[number] = pts
    times = [shown[n] for n in sorted(shown)]
    assert times[0 if presentation else 30 :] == sorted(times[0 if presentation else 30 :])
    steps = [b - a for a, b in pairwise(times[40:])]
    assert all(35 <= step <= 45 for step in steps), steps
    assert all(abs(sound[n] - shown[n]) <= 120 for n in range(40, 150))


def test_b_frames_without_counts_are_told_by_the_stamps() -> None:
    timeline = Timeline()
    last = -1
    shown = {}
    for position, number in enumerate(decoding_order(120)):
        dts, pts = timeline.video(EPOCH + 67 * number, position * 0.067, None, number % 30 == 0, 1)
        assert last <= dts <= pts
        last = dts
        shown[number] = pts
    times = [shown[n] for n in sorted(shown)][10:]
    assert [b - a for a, b in pairwise(times)] == [67] * (len(times) - 1)


def test_no_delay_where_there_are_no_b_frames() -> None:
    timeline = Timeline()
    for number in range(200):
        assert timeline.video(EPOCH + 40 * number, number * 0.04, (number % 50) * 2, number % 50 == 0, 4) == (40 * number, 40 * number)
    assert not timeline.wants_counts


def test_b_frames_that_begin_later_are_asked_about() -> None:
    timeline = Timeline()
    for number in range(100):
        timeline.video(EPOCH + 40 * number, number * 0.04, (number % 50) * 2 if timeline.wants_counts else None, number % 50 == 0)
    assert not timeline.wants_counts
    last = 0
    shown = {}
    for position, number in enumerate(decoding_order(150)):
        count = (number % 30) * 2 if timeline.wants_counts else None
        dts, pts = timeline.video(EPOCH + 4000 + 40 * number, 4 + position * 0.04, count, number % 30 == 0)
        assert last <= dts <= pts
        last = dts
        shown[number] = pts
    assert timeline.wants_counts
    times = [shown[n] for n in sorted(shown)][35:]
    assert all(35 <= b - a <= 45 for a, b in pairwise(times))


def test_anything_at_all_never_decreases() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        timeline = Timeline()
        stamp, now, last_video, last_audio = rng.choice([0, EPOCH, (1 << 32) - 500]), 0.0, 0, 0
        for _ in range(200):
            stamp = max(0, stamp + rng.choice([0, 20, 40, 40, 40, 67, -67, 133, 3600, 40_000, -5000, 10**7, -(1 << 32)]))
            now += rng.choice([0, 0.001, 0.04, 0.04, 0.08, 3])
            if rng.random() < 0.02:
                timeline.restart()
            if rng.random() < 0.5:
                count = rng.choice([None, 0, 2, 4, 8, 6, 100])
                dts, pts = timeline.video(stamp, now, count, count == 0, rng.choice([0, 0, 1, 4]), rng.choice([1, 2]))
                assert last_video <= dts <= pts <= dts + 3000
                last_video = dts
            else:
                at = timeline.audio(stamp, now, rng.choice([0, 20.0, 40.0, 128.0]))
                assert last_audio <= at
                last_audio = at
