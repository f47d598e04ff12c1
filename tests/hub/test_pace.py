"""The clock of a playback: normal play by the terminal's stamps, everything else by arrival, no gap and no step back where the pace changes."""

from __future__ import annotations

from itertools import pairwise

from relay.codec.frame import AUDIO, VIDEO, Frame
from relay.hub.pace import PlaybackIngest
from relay.jt1078.assembly import RawFrame
from tests.hub.test_ingest import KEY, SLICE, annexb

RECORDED = 1_700_000_000_000


def push(ingest: PlaybackIngest, stamp: int, now: float, key: bool = False, sound: bool = False) -> list[Frame]:
    """One picture, or block of sound, with the recorded time as its stamp."""
    body = bytes(320) if sound else KEY if key else annexb(SLICE)
    return ingest.push(RawFrame("013800138000", 1, 6 if sound else 98, 3 if sound else 1, RECORDED + stamp, body, 1, now), now)


def play(ingest: PlaybackIngest, stamps: range, now: float, speed: float = 1.0, keys: int = 25, sound: bool = False) -> list[Frame]:
    """Pictures (and sound) of a span, arriving ``speed`` times as fast as they were recorded."""
    out = []
    for number, stamp in enumerate(stamps):
        at = now + number * abs(stamps.step) / 1000 / speed
        out += push(ingest, stamp, at, key=number % keys == 0)
        if sound:
            out += push(ingest, stamp, at, sound=True)
    return out


def steps(frames: list[Frame]) -> list[int]:
    times = [frame.dts for frame in frames if frame.kind == VIDEO]
    return [b - a for a, b in pairwise(times)]


def test_fast_forward_is_shown_fast_and_without_sound() -> None:
    ingest = PlaybackIngest("013800138000", 1)
    normal = play(ingest, range(0, 2000, 40), 10.0, sound=True)
    assert set(steps(normal)) == {40}
    assert any(frame.kind == AUDIO for frame in normal)
    ingest.pace(True, 12.0)
    fast = play(ingest, range(2000, 10000, 40), 12.0, speed=4.0, sound=True)
    assert {frame.kind for frame in fast} == {VIDEO}
    assert ingest.counts["sound_at_speed"] == 200
    assert set(steps(fast)) == {10}  # eight seconds of the recording in two
    assert 0 < fast[0].dts - normal[-1].dts <= 100


def test_normal_play_goes_on_after_fast_forward_with_sound_and_a_key_frame() -> None:
    ingest = PlaybackIngest("013800138000", 1)
    ingest.pace(True, 1.0)
    fast = play(ingest, range(0, 4000, 40), 1.0, speed=4.0)
    ingest.pace(False, 2.0)
    assert not push(ingest, 4000, 2.0)  # still on its way: it refers to what was not shown
    normal = play(ingest, range(4040, 6000, 40), 2.1, sound=True)
    assert set(steps(normal)) == {40}
    first = next(frame for frame in normal if frame.kind == VIDEO)
    assert first.key
    assert 0 < first.dts - fast[-1].dts <= 200
    sound = [frame for frame in normal if frame.kind == AUDIO]
    assert abs(sound[-1].dts - normal[-2].dts) <= 80


def test_rewind_goes_forward_for_the_viewer() -> None:
    ingest = PlaybackIngest("013800138000", 1)
    normal = play(ingest, range(0, 2000, 40), 1.0)
    ingest.pace(True, 3.0)
    back = play(ingest, range(-2000, -20000, -2000), 3.0, speed=4.0, keys=1)
    assert steps(back) == [500] * 8
    assert back[0].dts > normal[-1].dts


def test_a_seek_closes_the_gap_and_begins_with_a_key_frame() -> None:
    for target in (3_600_000, -3_600_000):
        ingest = PlaybackIngest("013800138000", 1)
        before = play(ingest, range(0, 2000, 40), 1.0)
        ingest.jump(3.0)
        assert not push(ingest, 2000, 3.0)
        after = play(ingest, range(target, target + 2000, 40), 3.3)
        assert set(steps(after)) == {40}
        assert 0 < after[0].dts - before[-1].dts <= 1000


def test_pictures_that_arrive_together_keep_their_order() -> None:
    ingest = PlaybackIngest("013800138000", 1)
    ingest.pace(True, 1.0)
    out = [frame for number in range(5) for frame in push(ingest, number * 40, 1.0, key=number == 0)]
    assert steps(out) == [1, 1, 1, 1]


def test_pictures_that_are_read_several_at_a_time_are_spread() -> None:
    ingest = PlaybackIngest("013800138000", 1)
    ingest.pace(True, 1.0)
    out: list[Frame] = []
    for tick in range(50):  # 100 pictures a second, read each 80 ms
        for number in range(8):
            out += push(ingest, 0, 1.0 + tick * 0.08, key=not tick and not number)
    late = steps(out)[100:]
    assert min(late) >= 7
    assert max(late) <= 13
    assert abs(out[-1].dts - out[100].dts - 2990) <= 40
