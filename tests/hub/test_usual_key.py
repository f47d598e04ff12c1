"""A key frame that begins as the last one did takes a shorter way, which gives what the long way gives."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from relay.codec.frame import Frame
from relay.hub.picture import Pictures
from relay.jt1078.assembly import RawFrame
from relay.jt1078.timeline import Timeline
from tests.hub.pictures import AUD, EPOCH, FILLER, SEI, B, I, P, annexb, inter, key, lost, pps, raw, slice_, sps
from tests.hub.test_ingest import take
from tests.shared import captures


class Long(Pictures):
    """Takes no key frame's shorter way."""

    _usual_key: Any = property(lambda self: None, lambda self, value: None)


class Way:
    """One of the two, and what came of it."""

    def __init__(self, kind: type[Pictures], keep: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.pictures = kind(Timeline(), lambda name: self.counts.update([name]), keep)
        self.frames: list[Frame] = []
        self.long = 0
        pushed = self.pictures._push

        def push(raw: RawFrame, now: float) -> list[Frame]:
            self.long += 1
            return pushed(raw, now)

        self.pictures._push = push  # type: ignore[method-assign]

    def take(self, raws: list[RawFrame]) -> None:
        for one in raws:
            self.frames += self.pictures.push(one, one.arrival)
        self.frames += self.pictures.finish(raws[-1].arrival + 5)

    @property
    def told(self) -> list[tuple[Any, ...]]:
        return [(one.dts, one.pts, one.key, one.data, one.config, one.source_time) for one in self.frames]


def compare(raws: list[RawFrame], keep: bool = False) -> tuple[Way, Way]:
    short, long = Way(Pictures, keep), Way(Long, keep)
    for way in (short, long):
        way.take(raws)
    assert short.told == long.told
    assert short.counts == long.counts
    assert short.pictures.need_key == long.pictures.need_key
    return short, long


def test_it_is_taken() -> None:
    bodies = [key(number) if not number % 10 else inter(number) for number in range(50)]
    short, long = compare([raw(body, EPOCH + 40 * number) for number, body in enumerate(bodies)])
    assert (short.long, long.long) == (1, 5)  # the first key frame only
    assert len(short.frames) == 50


MAKERS: dict[str, Callable[[int], bytes]] = {
    "usual": lambda seed: key(seed),
    "other picture set": lambda seed: key(seed, (sps(), pps(qp=1))),
    "other size": lambda seed: key(seed, (sps(width=640), pps())),
    "second picture set": lambda seed: key(seed, (sps(), pps(), pps(1))),
    "no sets": lambda seed: annexb(slice_(I, idr=True, seed=seed)),
    "counts": lambda seed: key(seed, (sps(reorder=2), pps())),
    "other SEI": lambda seed: annexb(sps(), pps(), b"\x06\x05\x04" + bytes((65 + seed % 3,)) * 4 + b"\x80", slice_(I, idr=True, seed=seed)),
    "delimiter": lambda seed: annexb(AUD, sps(), pps(), slice_(I, idr=True, seed=seed)),
    "filler behind": lambda seed: annexb(sps(), pps(), SEI, slice_(I, idr=True, seed=seed), FILLER),
    "short start codes": lambda seed: annexb(sps(), pps(), SEI, slice_(I, idr=True, seed=seed), start=b"\0\0\1"),
    "zeros behind": lambda seed: key(seed) + b"\0\0",
    "two slices": lambda seed: annexb(sps(), pps(), SEI, slice_(I, idr=True, seed=seed), slice_(I, idr=True, seed=seed + 1, first_mb=20)),
    "not its beginning": lambda seed: annexb(sps(), pps(), SEI, slice_(I, idr=True, seed=seed, first_mb=9)),
    "sets alone": lambda seed: annexb(sps(), pps()),
    "SEI alone": lambda seed: annexb(SEI),
    "I picture": lambda seed: annexb(slice_(I, seed=seed)),
    "B picture": lambda seed: annexb(slice_(B, seed=seed, ref=0)),
    "sets with a P picture": lambda seed: annexb(sps(), pps(qp=2), slice_(P, seed=seed)),
    "cut": lambda seed: key(seed)[: 20 + seed % 30],
}


@pytest.mark.parametrize("seed", range(60))
def test_any_sequence_gives_the_same(seed: int) -> None:
    rng = random.Random(seed)
    likely = rng.sample(sorted(MAKERS), 4)

    def bodies() -> Iterator[bytes]:
        for number in range(300):
            draw = rng.random()
            if draw < 0.6:
                yield inter(number)
            elif draw < 0.9:
                yield MAKERS["usual"](number)
            else:
                yield MAKERS[rng.choice(likely)](number)

    raws = []
    stamp = EPOCH
    for body in bodies():
        stamp += rng.choice((40, 40, 40, 40, 0, 80, -40))
        raws.append(raw(body, stamp, loss=lost() if rng.random() < 0.02 else None, now=(stamp - EPOCH) / 1000))
    compare(raws, keep=bool(seed & 1))


def test_a_slice_that_names_another_sequence_set() -> None:
    """Behind a slice_type of 7 bits the number of its picture set is no longer among the bits that are compared (H.264 7.3.3)."""
    sets = (sps(), pps(), sps(number=1, width=640), pps(1, 1))
    bodies = [annexb(*sets, slice_(7, idr=True))] + [annexb(slice_(7, idr=True, pps_id=number, seed=number)) for number in (0, 0, 1, 1, 0)]
    short, _ = compare([raw(body, EPOCH + 1000 * number) for number, body in enumerate(bodies)])
    assert [one.config.width for one in short.frames if one.config] == [320, 320, 320, 640, 640, 320]


def test_an_empty_unit_behind_the_slice() -> None:
    """The same picture again, as of a camera that shows nothing."""
    body = key() + b"\0\0\1"
    short, _ = compare([raw(body, EPOCH + 1000 * number) for number in range(4)])
    assert len({one.data for one in short.frames}) == 1


def test_the_first_after_key_frames_that_were_none() -> None:
    """I pictures had to do while no IDR picture came; once one has come they do no longer."""
    bodies = {0: key(), 13000: annexb(slice_(I)), 14000: key(1), 14040: inter(), 14080: annexb(slice_(I, seed=1)), 14120: inter(1)}
    raws = [raw(body, EPOCH + ms, loss=lost() if ms == 14040 else None) for ms, body in bodies.items()]
    short, _ = compare(raws)
    assert [one.dts for one in short.frames] == [0, 1000, 2000]


@pytest.mark.parametrize("back", [(100,), (100, 170)])
def test_a_key_frame_whose_stamp_goes_back_asks_for_counts(back: tuple[int, ...]) -> None:
    sets = (sps(reorder=2), pps())
    pictures = [key(number, sets) if not number % 10 else inter(number, poc=2 * (number % 10)) for number in range(190)]
    stamps = [EPOCH + 40 * number - 80 * sum(number >= at for at in back) for number in range(190)]
    short, long = compare([raw(body, stamp, now=40 * number / 1000) for number, (body, stamp) in enumerate(zip(pictures, stamps, strict=True))])
    assert short.long < long.long


@pytest.mark.shared
@pytest.mark.parametrize("entry", captures(), ids=lambda entry: entry["file"])
def test_captures(entry: dict[str, Any]) -> None:
    for raws in take(entry)[0].values():
        pictures = [one for one in raws if one.pt in (98, 99)]
        if pictures:
            short, long = compare(pictures)
            assert short.long <= long.long
