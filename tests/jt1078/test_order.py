"""B frames: stamps that are presentation or decoding times, or stand still; what is shown first is put out first (jt1078-media 4)."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from relay.jt1078.order import PictureOrder
from relay.jt1078.timeline import Timeline

EPOCH = 1_700_000_000_000


class Pictures:
    """A timeline that is told display numbers; ``grows``: what counts grow by from picture to picture, ``unit``: what they should grow by."""

    def __init__(self, depth: int = 0, grows: int = 2, unit: int = 2) -> None:
        self.clock = Timeline()
        self.depth = depth
        self.grows = grows
        self.unit = unit
        self.sequence = 0

    def __call__(self, stamp: int, now: float, number: int | None, sequence: int = 1) -> tuple[int, int]:
        key = sequence != self.sequence
        self.sequence = sequence
        return self.clock.video(stamp, now, None if number is None else number * self.grows, key, self.depth, self.unit)


def steps(times: list[int]) -> list[int]:
    return [later - earlier for earlier, later in pairwise(times)]


def coded(pattern: str, groups: int) -> list[int]:
    """Display numbers in decoding order: I first, then for each P the pictures in front of it, B one by one or b as a pyramid."""
    numbers = [0]
    shown = 0
    for _ in range(groups):
        size = len(pattern)
        numbers.append(shown + size)
        between = list(range(shown + 1, shown + size))
        if "b" in pattern and between:
            middle = between.pop(len(between) // 2)
            between.insert(0, middle)
        numbers += between
        shown += size
    return numbers


PATTERNS = ["P", "BP", "BBP", "BBBP", "bbbP"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize(("grows", "unit"), [(2, 2), (1, 1), (1, 2)])
def test_presentation_stamps(pattern: str, depth: int, grows: int, unit: int) -> None:
    """Stamps go up and down with the pictures: presentation times are theirs, decoding times are found."""
    show = Pictures(depth, grows, unit)
    numbers = coded(pattern, 40)
    times = [show(EPOCH + 67 * n, i * 0.067, n) for i, n in enumerate(numbers)]
    assert min(steps([dts for dts, _ in times])) >= 0
    assert all(pts >= dts for dts, pts in times)
    start = 20
    base = {pts - 67 * n for n, (_, pts) in list(zip(numbers, times, strict=True))[start:]}
    assert len(base) == 1 or (pattern == "P" and len(base) == 2)
    assert base.pop() <= 67 * 4


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("step", [40, 83])
@pytest.mark.parametrize(("grows", "unit"), [(2, 2), (1, 1), (1, 2)])
def test_decoding_stamps(pattern: str, depth: int, step: int, grows: int, unit: int) -> None:
    """Stamps only grow while the pictures are out of order: presentation times follow the picture order count."""
    show = Pictures(depth, grows, unit)
    numbers = coded(pattern, 40)
    times = [show(EPOCH + step * i, i * step / 1000, n) for i, n in enumerate(numbers)]
    assert min(steps([dts for dts, _ in times])) >= 0
    assert all(pts >= dts for dts, pts in times)
    shown = sorted(zip(numbers, (pts for _, pts in times), strict=True))
    unforeseen = len(pattern) if (grows < unit and pattern == "BP") or pattern == "bbbP" else 0  # nothing told that (so many) would come in between
    assert all(later > earlier for (_, earlier), (_, later) in pairwise(shown[unforeseen:]))
    settled = steps([pts for _, pts in shown[24:]])
    assert all(abs(one - step) <= step // 3 for one in settled)


def test_decoding_stamps_that_tremble_keep_the_order() -> None:
    rng = random.Random(5)
    show = Pictures(2)
    stamp, times, shown = EPOCH, [], []
    for sequence in range(1, 8):
        for n in coded("BBP", 10):
            stamp += rng.choice([40, 40, 80, 120, 200])
            times.append(show(stamp, (stamp - EPOCH) / 1000, n, sequence))
            shown.append((sequence, n, times[-1][1]))
    assert min(steps([dts for dts, _ in times])) >= 0
    assert all(pts >= dts for dts, pts in times)
    ordered = [pts for _, _, pts in sorted(shown)][6:]
    late = sum(1 for earlier, later in pairwise(ordered) if later <= earlier)
    assert late == 0


def test_stamps_that_stand_still_with_b_frames() -> None:
    show = Pictures(1)
    numbers = coded("BBP", 40)
    times = [show(5, i * 0.04, n) for i, n in enumerate(numbers)]
    shown = [pts for _, pts in sorted(zip(numbers, (pts for _, pts in times), strict=True))]
    assert min(steps(shown[6:])) > 0


def test_presentation_stamps_where_the_order_cannot_be_told() -> None:
    show = Pictures(1)
    numbers = coded("BBP", 40)
    times = [show(EPOCH + 40 * n, i * 0.04, None) for i, n in enumerate(numbers)]
    assert {pts - 40 * n for n, (_, pts) in zip(numbers, times, strict=True)} == {40}
    assert min(steps([dts for dts, _ in times])) >= 0


def test_key_frames_begin_a_new_order_count() -> None:
    show = Pictures(1)
    times = []
    for sequence in range(1, 6):
        for n in coded("BP", 10):
            times.append(show(EPOCH + 40 * (n + (sequence - 1) * 21), 0.0, n, sequence))
    assert {pts for _, pts in times[1:]} == {40 + 40 * i for i in range(1, 105)}
    assert times[0] == (0, 0)  # nothing told yet


def test_a_stream_that_could_reorder_and_does_not_has_no_delay() -> None:
    show = Pictures(2)
    assert [show(EPOCH + 40 * i, i * 0.04, i) for i in range(60)] == [(40 * i, 40 * i) for i in range(60)]


def test_b_frames_that_end_leave_no_delay_behind() -> None:
    show = Pictures(1)
    times = [show(EPOCH + 40 * n, i * 0.04, n) for i, n in enumerate(coded("BBP", 10))]
    times += [show(EPOCH + 40 * i, i * 0.04, i) for i in range(31, 100)]
    assert times[28][0] < times[28][1]
    assert times[-1] == (99 * 40, 99 * 40)
    shown = sorted(pts for _, pts in times)
    assert all(later > earlier for earlier, later in pairwise(shown))


def test_sound_is_as_late_as_the_pictures() -> None:
    show = Pictures(1)
    sound, pictures = [], {}
    for i, n in enumerate(coded("BBP", 40)):
        _, pictures[n] = show(EPOCH + 40 * n, i * 0.04, n)
        sound.append(show.clock.audio(EPOCH + 40 * i, i * 0.04, 40.0))
    assert all(time == pictures[i] for i, time in enumerate(sound) if i > 3)


def test_order_counts_with_gaps_that_no_picture_fills() -> None:
    """seen: encoders that count every other picture after halving the rate; the delay they cause is given up for good."""
    show = Pictures()
    times = [show(EPOCH + 80 * i, i * 0.08, 2 * i) for i in range(100)]
    assert all(dts == pts == 80 * i for i, (dts, pts) in enumerate(times) if i > 20)


def test_contradicting_stamps_do_not_make_the_meaning_flutter() -> None:
    order = PictureOrder()
    for n in coded("BBP", 4):
        order.see(40 * n, (1 << 32) + 2 * n, 1)
        order.times(40 * n, (1 << 32) + 2 * n, 0)
    meaning = order.stamps
    order.see(10_000, (1 << 32) + 22, 1)  # one B frame with a stamp out of place
    assert order.stamps == meaning
