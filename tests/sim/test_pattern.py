"""The test card, judged by its pixels after ffmpeg has decoded it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from relay.errors import UsageError
from relay.sim.pattern import BARS, HUES, INK, PANEL, Pattern, card_layout, colour
from relay.sim.reading import read_clock, read_number
from tests.sim.pictures import Picture, decode

#: 2023-11-15 06:13:20 in Beijing
STARTED = 1_700_000_000.0


def near(seen: tuple[int, int, int], wanted: tuple[int, int, int], by: int = 4) -> bool:
    return all(abs(a - b) <= by for a, b in zip(seen, wanted, strict=True))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    pattern = Pattern(fps=25, channel=1, sim="013800138001", started=STARTED)
    return decode(b"".join(pattern.frame(n) for n in range(120)), 352, 288, tmp_path_factory.mktemp("card"))


def test_every_picture_is_there_and_tells_its_number(pictures: list[Picture]) -> None:
    assert [read_number(p.y, 352, 288) for p in pictures] == list(range(120))


def test_the_clock_shows_the_time_of_the_picture(pictures: list[Picture]) -> None:
    for n in (0, 1, 24, 49, 50, 63, 101, 119):
        tenths = 200 + n * 10 // 25
        assert read_clock(pictures[n].y, 352, 288) == f"06:13:{tenths // 10}.{tenths % 10}"


def test_the_digits_are_crisp(pictures: list[Picture]) -> None:
    layout = card_layout(22, 18)
    left, width = layout.clock_cells()[1]
    for picture in (pictures[0], pictures[37]):
        cell = [picture.pixel(x, y)[0] for y in range(16 * layout.clock, 16 * layout.arena) for x in range(16 * left, 16 * (left + width))]
        ink = sum(1 for value in cell if value > INK.y - 16)
        panel = sum(1 for value in cell if value < PANEL.y + 16)
        assert ink > 200
        assert panel > 800
        assert ink + panel > 0.85 * len(cell)


def test_seven_bars_a_ramp_and_the_channels_frame(pictures: list[Picture]) -> None:
    for picture in (pictures[0], pictures[77]):
        for i, bar in enumerate(BARS):
            assert near(picture.pixel(16 + 320 * i // 7 + 22, 60), bar)
        ramp = [picture.pixel(x, 100)[0] for x in range(24, 330, 16)]
        assert ramp == sorted(ramp)
        assert ramp[0] < 30
        assert ramp[-1] > 220
        for x, y in ((4, 100), (348, 200), (176, 284), (100, 2)):
            assert near(picture.pixel(x, y), HUES[0])


def test_ball_and_bar_move_and_leave_nothing_behind(pictures: list[Picture]) -> None:
    layout = card_layout(22, 18)
    rows = range(16 * layout.arena, 16 * layout.sweep)

    def ball(picture: Picture) -> tuple[float, float]:
        bright = [(x, y) for y in rows for x in range(16, 336) if picture.pixel(x, y)[0] > 80]
        return sum(x for x, _ in bright) / len(bright), sum(y for _, y in bright) / len(bright)

    places = [ball(pictures[n]) for n in (0, 12, 25, 50, 62, 100)]
    assert len({(round(x / 8), round(y / 8)) for x, y in places[:5]}) == 5
    assert places[5] == pytest.approx(places[0], abs=0.5)  # four seconds later it is back
    x0, y0 = places[0]
    for picture in (pictures[25], pictures[38]):
        ghost = [picture.pixel(int(x0) + dx, int(y0) + dy) for dx in range(-14, 15, 2) for dy in range(-14, 15, 2)]
        assert all(abs(y - PANEL.y) < 28 and abs(u - 128) < 8 and abs(v - 128) < 8 for y, u, v in ghost)

    def sweep(picture: Picture) -> int:
        return max(range(16, 336), key=lambda x: picture.pixel(x, 16 * layout.sweep + 8)[0])

    assert sweep(pictures[20]) - sweep(pictures[10]) == 80


def test_four_channels_are_told_apart(tmp_path: Path) -> None:
    seen = []
    for channel in range(1, 5):
        picture = decode(Pattern(channel=channel, sim="13800138000").frame(0), 352, 288, tmp_path)[0]
        seen.append(picture.pixel(4, 100))
        assert near(seen[-1], HUES[channel - 1])
    assert min(sum(abs(x - y) for x, y in zip(a, b, strict=True)) for i, a in enumerate(seen) for b in seen[:i]) > 30


@pytest.mark.parametrize(("size", "fps"), [((176, 144), 15), ((640, 352), 25), ((704, 576), 12), ((1280, 720), 8), ((160, 144), 25)])
def test_other_sizes(size: tuple[int, int], fps: int, tmp_path: Path) -> None:
    width, height = size
    pattern = Pattern(width, height, fps, channel=3, sim="14542920101", started=STARTED + 0.5, gop_s=1)
    count = fps + 3
    pictures = decode(b"".join(pattern.frame(n) for n in range(count)), width, height, tmp_path)
    mask = (1 << card_layout(width // 16, height // 16).lamp_count) - 1
    assert [read_number(p.y, width, height) for p in pictures] == [n & mask for n in range(count)]
    assert read_clock(pictures[0].y, width, height) == "06:13:20.5"
    assert read_clock(pictures[-1].y, width, height) == pattern.clock(count - 1)


def test_a_picture_is_a_function_of_its_number() -> None:
    forward, backward = (Pattern(channel=2, started=STARTED) for _ in range(2))
    frames = [forward.frame(n) for n in range(110)]
    assert [backward.frame(n) for n in reversed(range(110))] == frames[::-1]


def test_key_pictures_begin_with_parameter_sets_and_the_others_are_small() -> None:
    pattern = Pattern(started=STARTED)
    frames = [pattern.frame(n) for n in range(101)]
    for n, frame in enumerate(frames):
        assert frame.startswith(pattern.parameter_sets + b"\x00\x00\x00\x01\x65") == pattern.is_key(n) == (n % 50 == 0)
        assert n % 50 == 0 or len(frame) < 5000
    assert 200_000 < sum(map(len, frames[:100])) * 8 / 4 < 600_000  # bit/s


def test_it_costs_little_once_it_is_known() -> None:
    pattern = Pattern(started=STARTED)
    for n in range(400):
        pattern.frame(n)
    begun = time.process_time()
    for n in range(400, 600):
        pattern.frame(n)
    assert (time.process_time() - begun) / 200 < 0.0045  # measured 0.0004; a busy machine has three times that


def test_sizes_that_cannot_be_drawn() -> None:
    for size in ((350, 288), (352, 280), (144, 144), (352, 128)):
        with pytest.raises(UsageError):
            Pattern(*size)


def test_colours_of_bt_601() -> None:
    assert colour(255, 255, 255) == (235, 128, 128)
    assert colour(0, 0, 0) == (16, 128, 128)
    assert colour(191, 0, 0) == (65, 100, 212)


def test_midnight_comes_round() -> None:
    assert Pattern(started=16 * 3600 - 1, utc_offset_s=28800).clock(25) == "00:00:00.0"
    assert Pattern(started=0.25, utc_offset_s=0).clock(0) == "00:00:00.2"
