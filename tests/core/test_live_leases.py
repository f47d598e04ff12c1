"""Which of the terminal's streams and tracks suits all who have a channel."""

from __future__ import annotations

from typing import Any

import pytest

from relay.core.live_lease import Lease
from relay.core.live_leases import MAIN, SUB, Leases
from relay.identity import StreamKey
from relay.jt808.messages.video import AvDataType


class Channel:
    key = StreamKey("13800138000", 1, "live")

    def now(self) -> float:
        return 0.0

    def release(self, lease: Lease) -> None: ...


def lease(wants: str = "", media: str = "av", purpose: str = "viewer", needs: str = "", codec: str = "") -> Lease:
    made = Lease(Channel(), wants, media, purpose, "somebody")
    made.needs, made.codec = needs, codec
    return made


def leases(*all_of_them: Lease) -> Leases:
    made = Leases()
    for one in all_of_them:
        made.add(one)
    return made


@pytest.mark.parametrize(
    ("wishes", "runs", "wanted"),
    [
        ([], "", SUB),
        ([], MAIN, MAIN),
        ([{}], MAIN, MAIN),
        ([{"wants": SUB}], MAIN, SUB),
        ([{"wants": SUB}, {"wants": MAIN}], SUB, MAIN),
        ([{"wants": MAIN}, {"needs": SUB}], MAIN, SUB),
        ([{"wants": MAIN, "purpose": "superior"}, {"needs": SUB}], SUB, MAIN),
    ],
)
def test_main_before_sub_and_a_players_need_before_other_viewers(wishes: list[dict[str, Any]], runs: str, wanted: str) -> None:
    assert leases(*(lease(**one) for one in wishes)).wanted(runs) == wanted


@pytest.mark.parametrize(("media", "asked"), [([], AvDataType.AUDIO_VIDEO), (["v"], AvDataType.VIDEO), (["v", "a"], AvDataType.AUDIO_VIDEO)])
def test_sound_is_asked_for_unless_all_want_the_picture_alone(media: list[str], asked: AvDataType) -> None:
    assert leases(*(lease(media=one) for one in media)).data_type() is asked


def test_who_is_content_with_what_runs_is_counted_by_purpose() -> None:
    one = lease(codec="h264")
    some = leases(one, lease(), lease(), lease(purpose="recorder"), lease(needs=MAIN), lease(codec="h264"))
    assert some.content_without(one) == "1 recorder, 2 viewers"
    assert leases(one).content_without(one) == ""


def test_all_but_some_purposes_step_down() -> None:
    viewer, superior = lease(MAIN), lease(MAIN, purpose="superior")
    some = leases(viewer, superior)
    some.step_down(["superior"])
    assert (viewer.wants, superior.wants, some.indifferent()) == (SUB, MAIN, False)
    assert leases(lease()).indifferent()


def test_they_may_end_while_they_are_walked_over() -> None:
    some = leases(lease(), lease())
    for one in some:
        some.drop(one)
        some.drop(one)
    assert len(some) == 0
