"""The output clock on both tracks: gaps, jumps, still stamps, units and clocks that drift; sound stays with the picture, and the pace is the stamps'."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.jt1078.timeline import MAX_STEP_MS, Timeline

EPOCH = 1_700_000_000_000


def video(stamps: list[int], arrivals: list[float] | None = None, clock: Timeline | None = None) -> list[int]:
    clock = clock or Timeline()
    return [clock.plain(stamp, arrivals[i] if arrivals else i * 0.04) for i, stamp in enumerate(stamps)]


def both(clock: Timeline, events: list[tuple[str, int, float]], block_ms: float = 40.0) -> tuple[list[int], list[int]]:
    """Feed ("v" or "a", stamp, arrival) in order."""
    pictures, sound = [], []
    for kind, stamp, now in events:
        if kind == "v":
            pictures.append(clock.plain(stamp, now))
        else:
            sound.append(clock.audio(stamp, now, block_ms))
    return pictures, sound


def interleaved(seconds: float, of_video: int = EPOCH, of_sound: int = EPOCH, start: float = 0.0, step: int = 40) -> list[tuple[str, int, float]]:
    count = int(seconds * 1000 / step)
    return [(kind, base + i * step, start + i * step / 1000) for i in range(count) for kind, base in (("v", of_video), ("a", of_sound))]


def steps(times: list[int]) -> list[int]:
    return [later - earlier for earlier, later in pairwise(times)]


# -- the ordinary --------------------------------------------------------------------------------------------------------------------


def test_stamps_pass_as_they_are_from_zero() -> None:
    stamps = [EPOCH, EPOCH + 80, EPOCH + 280, EPOCH + 321, EPOCH + 1300]
    assert video(stamps) == [0, 80, 280, 321, 1300]


def test_sound_and_picture_are_put_on_one_clock() -> None:
    clock = Timeline()
    assert clock.audio(EPOCH + 20, 0.0, 40.0) == 0
    assert clock.plain(EPOCH + 500, 0.48) == 480
    assert clock.audio(EPOCH + 500, 0.5, 40.0) == 480
    assert clock.plain(EPOCH + 540, 0.52) == 520


def test_a_first_stamp_before_the_other_tracks_waits() -> None:
    clock = Timeline()
    clock.audio(EPOCH + 100, 0.0, 40.0)
    assert [clock.plain(EPOCH + 40 * i, 0.0) for i in range(5)] == [0, 0, 0, 20, 60]


# -- jumps ---------------------------------------------------------------------------------------------------------------------------


def test_jumps_of_both_tracks_leave_neither_gap_nor_overlap() -> None:
    clock = Timeline()
    events = []
    for kind, stamp, now in interleaved(6.0):
        at = stamp - EPOCH
        events.append((kind, stamp - 10_000 if 2000 <= at < 4000 else stamp + 3_600_000 if at >= 4000 else stamp, now))
    pictures, sound = both(clock, events)
    assert pictures == [40 * i for i in range(150)]
    assert sound == pictures
    assert clock.jumps == 2  # the other track joins it each time


@pytest.mark.parametrize("jump", [-10_000, -600, 2_500, 10**9])
@pytest.mark.parametrize("ahead", [-160, 0, 120])
def test_the_track_that_jumps_second_stays_beside_the_first(jump: int, ahead: int) -> None:
    clock = Timeline()
    before = interleaved(2.0, of_sound=EPOCH + ahead)
    after = [(kind, stamp + 2000 + jump, now + 2.0) for kind, stamp, now in before]
    pictures, sound = both(clock, before + after)
    apart = {a - v for v, a in zip(pictures[60:], sound[60:], strict=True)}
    assert all(abs(one - ahead) <= 40 for one in apart)
    assert max(steps(pictures) + steps(sound)) <= 240
    assert min(steps(pictures) + steps(sound)) >= 0


def test_one_track_that_was_silent_for_long_comes_back_beside_the_other() -> None:
    clock = Timeline()
    pictures, sound = both(clock, [e for e in interleaved(20.0) if e[0] == "v" or not 4000 <= e[1] - EPOCH < 16000])
    assert pictures == [40 * i for i in range(500)]
    assert sound == [40 * i for i in [*range(100), *range(400, 500)]]


def test_a_picture_that_was_paused_comes_back_beside_the_sound() -> None:
    clock = Timeline()
    pictures, _ = both(clock, [e for e in interleaved(20.0) if e[0] == "a" or not 4000 <= e[1] - EPOCH < 16000])
    assert pictures == [40 * i for i in [*range(100), *range(400, 500)]]


def test_a_pause_of_both_is_no_gap_for_players() -> None:
    clock = Timeline()
    pictures, sound = both(clock, interleaved(2.0) + interleaved(2.0, EPOCH + 12_000, EPOCH + 12_000, 12.0))
    assert pictures == [40 * i for i in range(50)] + [2960 + 40 * i for i in range(50)]  # a second of it remains
    assert sound == pictures


def test_gaps_up_to_two_seconds_are_real() -> None:
    assert video([0, 40, 2040, 2080]) == [0, 40, 2040, 2080]


def test_junk_in_the_first_frame() -> None:
    assert video([0, EPOCH, EPOCH + 40, EPOCH + 80]) == [0, 40, 80, 120]


# -- stamps that stand still ---------------------------------------------------------------------------------------------------------


def test_frozen_stamps_follow_arrival() -> None:
    arrivals = [i * 0.1 for i in range(200)]
    times = video([5] * 200, arrivals)
    assert abs(times[-1] - 19_900) < 300
    assert all(60 <= step <= 140 for step in steps(times[50:]))


def test_frozen_stamps_in_bursts_are_smoothed() -> None:
    """Ten pictures a read: arrival stands still and leaps, the pace does not."""
    arrivals = [0.4 * (i // 10) for i in range(600)]
    times = video([7] * 600, arrivals)
    assert abs(times[-1] - 23_600) < 500
    assert all(20 <= step <= 70 for step in steps(times[60:]))


def test_frozen_stamps_faster_than_real_time_keep_the_usual_step() -> None:
    assert video([3] * 100, [0.0] * 100) == [40 * i for i in range(100)]


def test_frozen_sound_counts_its_samples() -> None:
    clock = Timeline()
    assert [clock.audio(9, 0.02 * i, 20.0) for i in range(100)] == [20 * i for i in range(100)]


def test_frozen_sound_jumps_over_missing_blocks() -> None:
    clock = Timeline()
    arrivals = [0.02 * i for i in range(50)] + [2.0 + 0.02 * i for i in range(50)]
    times = [clock.audio(9, now, 20.0) for now in arrivals]
    assert abs(times[-1] - 2980) <= 60


def test_stamps_that_freeze_and_move_again_are_where_they_would_have_been() -> None:
    stamps = [40 * i for i in range(50)] + [1960] * 20 + [40 * i for i in range(70, 100)]
    times = video(stamps)
    assert times[:50] == [40 * i for i in range(50)]
    assert times[70:] == [40 * i for i in range(70, 100)]
    assert min(steps(times)) >= 0


def test_coarse_stamps_do_not_drift() -> None:
    """Two pictures share each stamp."""
    times = video([80 * (i // 2) for i in range(400)])
    assert abs(times[-1] - 15_960) <= 80
    assert min(steps(times)) >= 0


# -- units ---------------------------------------------------------------------------------------------------------------------------


def test_seconds() -> None:
    times = video([1_700_000_000 + i // 25 for i in range(500)])
    assert abs(times[-1] - 19_960) < 400
    assert all(step <= 120 for step in steps(times[25:]))


@pytest.mark.parametrize(("scale", "fps"), [(90, 25), (90, 7), (1000, 25), (1000, 12)])
def test_units_by_arrival(scale: int, fps: int) -> None:
    step = 1000 // fps
    stamps = [EPOCH + i * step * scale for i in range(20 * fps)]
    times = video(stamps, [i * step / 1000 for i in range(20 * fps)])
    assert set(steps(times)[3 * fps :]) <= {step - 1, step, step + 1}
    assert max(steps(times)) <= 2 * step


@pytest.mark.parametrize(("scale", "fps"), [(90, 25), (90, 10), (1000, 25), (1000, 10)])
def test_units_when_all_comes_at_once(scale: int, fps: int) -> None:
    step = 1000 // fps
    times = video([i * step * scale for i in range(300)], [0.0] * 300)
    assert set(steps(times)[20:]) <= {step - 1, step, step + 1}


@pytest.mark.parametrize("speed", [4, 87, 90, 1000, 10**6])
def test_a_recording_sent_faster_than_real_time_keeps_its_own_pace(speed: int) -> None:
    rng = random.Random(speed)
    stamps = [EPOCH]
    for _ in range(3000):
        stamps.append(stamps[-1] + rng.choice([40, 80, 120, 200]))
    times = video(stamps, [(stamp - EPOCH) / 1000 / speed for stamp in stamps])
    assert times == [stamp - EPOCH for stamp in stamps]


@pytest.mark.parametrize("scale", [8, 90, 1000])
def test_units_of_sound_by_its_samples(scale: int) -> None:
    clock = Timeline()
    times = [clock.audio(i * 40 * scale, i * 0.04, 40.0) for i in range(200)]
    assert set(steps(times)[10:]) <= {39, 40, 41}


def test_sound_in_samples_beside_a_picture_in_milliseconds() -> None:
    clock = Timeline()
    events = [(kind, EPOCH + i * 40 if kind == "v" else i * 320, i * 0.04) for i in range(500) for kind in "va"]
    pictures, sound = both(clock, events)
    assert pictures == [40 * i for i in range(500)]
    assert all(abs(a - v) <= 200 for v, a in zip(pictures, sound, strict=True))


def test_one_picture_in_one_and_a_half_seconds_is_no_other_unit() -> None:
    times = video([1500 * i for i in range(40)], [1.5 * i for i in range(40)])
    assert times == [1500 * i for i in range(40)]


@pytest.mark.parametrize("scale", [1, 90])
def test_a_counter_of_32_bits_wraps(scale: int) -> None:
    first = (1 << 32) - 5_000 * scale
    stamps = [(first + i * 40 * scale) & 0xFFFFFFFF for i in range(400)]
    clock = Timeline()
    times = video(stamps, clock=clock)
    assert abs(times[-1] - times[100] - 299 * 40) <= 2
    assert max(steps(times)) <= 80
    assert clock.jumps == 0 or scale == 90


def test_the_tracks_wrap_one_after_the_other() -> None:
    clock = Timeline()
    first = (1 << 32) - 1_010
    events = [(kind, (first + i * 40 - (30 if kind == "a" else 0)) & 0xFFFFFFFF, i * 0.04) for i in range(100) for kind in "va"]
    pictures, sound = both(clock, events)
    assert pictures == [40 * i for i in range(100)]
    assert sound == [max(40 * i - 30, 0) for i in range(100)]


# -- sound on a clock of its own -----------------------------------------------------------------------------------------------------


def test_sound_with_another_base_is_anchored_to_the_picture() -> None:
    clock = Timeline()
    pictures, sound = both(clock, interleaved(10.0, of_sound=12_345))
    assert pictures == [40 * i for i in range(250)]
    assert sound == pictures


@pytest.mark.parametrize("drift", [0.98, 1.02])
def test_a_clock_that_drifts_is_brought_back(drift: float) -> None:
    clock = Timeline()
    pictures, sound = [], []
    for i in range(25 * 180):
        now = i * 0.04
        pictures.append(clock.plain(EPOCH + 40 * i, now))
        sound.append(clock.audio(round(777 + 40 * drift * i), now, 40.0))
    assert pictures == [40 * i for i in range(25 * 180)]
    assert all(abs(a - v) < 900 for v, a in zip(pictures, sound, strict=True))
    assert min(steps(sound)) >= 0


def test_sound_on_the_pictures_own_clock_is_never_corrected() -> None:
    """It may be sent early or late; the stamps tell what belongs together."""
    clock = Timeline()
    out = []
    for i in range(25 * 60):
        now = i * 0.04
        clock.plain(EPOCH + 40 * i, now)
        out.append((i, clock.audio(EPOCH + 40 * i - min(i, 1500), now, 40.0)))
    assert all(time == max(40 * i - min(i, 1500), 0) for i, time in out)


# -- other sources -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [0, EPOCH, EPOCH - 50_000, 2_000])
@pytest.mark.parametrize("first", ["v", "a"])
def test_another_source_goes_on_after_what_has_been_put_out(base: int, first: str) -> None:
    clock = Timeline()
    before = both(clock, interleaved(2.0))
    clock.restart()
    events = interleaved(2.0, base, base, 30.0)
    if first == "a":
        events = [("a", base, 30.0), *(e for e in events if e[1] >= base + 80)]
    pictures, sound = both(clock, events)
    assert pictures[0] in (before[0][-1] + 40, before[0][-1] + 80, before[0][-1] + 120)
    assert all(step in (0, 40, 80) for step in steps(pictures) + steps(sound))
    assert pictures[-1] == sound[-1]


def test_another_source_may_use_another_unit() -> None:
    clock = Timeline()
    last = video([i * 3600 for i in range(100)], clock=clock)[-1]
    clock.restart()
    assert [clock.plain(EPOCH + 40 * i, 10.0) - last for i in range(3)] == [40, 80, 120]


# -- anything ------------------------------------------------------------------------------------------------------------------------

STAMPS = st.one_of(
    st.integers(0, (1 << 64) - 1), st.integers(0, 5000), st.integers(EPOCH, EPOCH + 3000), st.sampled_from([0, 1 << 32, (1 << 32) - 1, EPOCH])
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("vao"), STAMPS, st.floats(0, 3), st.one_of(st.none(), st.integers(0, 1 << 34)), st.booleans()), max_size=60))
def test_whatever_comes_times_never_go_back(events: list[tuple[str, int, float, int | None, bool]]) -> None:
    clock = Timeline()
    now = 0.0
    last = {"v": 0, "a": 0}
    for kind, stamp, passed, order, restart in events:
        now += passed
        if restart and passed > 2.5:
            clock.restart()
        if kind == "a":
            time = clock.audio(stamp, now, 40.0)
            assert time >= last["a"]
            last["a"] = time
        elif kind == "v":
            time = clock.plain(stamp, now)
            assert time >= last["v"]
            last["v"] = time
        else:
            count = None if order is None else order & 0xFFFF
            dts, pts = clock.video(stamp, now, count, count == 0, 2, 1 + stamp % 2)
            assert dts + MAX_STEP_MS >= pts >= dts >= last["v"]
            last["v"] = dts
        assert time >= 0 if kind != "o" else dts >= 0
    assert max(last.values()) <= (len(events) + 1) * (MAX_STEP_MS + 200) * 2
