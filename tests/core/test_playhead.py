"""Where a playback is in its recording, and what is said to the terminal about it (JT/T 1078 tables 24 and 25)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relay.core import playhead
from relay.core.playhead import KEYFRAMES, PAUSE, RESUME, REWIND, SEEK, SPEED, Playhead, Wish
from relay.core.stored import Criteria
from relay.jt808.messages.video import NO_TIME, PlaybackMode

SPAN = Criteria(begin="261121090000", end="261121100000")


def shown(head: Playhead, now: float) -> str:
    position = head.position(now)
    return f"{position:%H:%M:%S}" if position is not None else ""


def test_it_stands_until_the_picture_is_there_and_when_it_is_over() -> None:
    head = Playhead(Wish(SPAN))
    assert shown(head, 50.0) == "09:00:00"
    head.begin(100.0)
    assert shown(head, 103.0) == "09:00:03"
    head.halt(105.0)
    head.halt(200.0)
    assert shown(head, 300.0) == "09:00:05"


def test_pauses_speeds_and_jumps_are_reckoned_with() -> None:
    head = Playhead(Wish(SPAN))
    head.begin(0.0)
    head.change(PAUSE, 1, None, 10.0)
    assert shown(head, 70.0) == "09:00:10"
    head.change(SPEED, 4, None, 70.0)
    assert (shown(head, 80.0), head.uneven) == ("09:00:50", True)
    head.change(RESUME, 1, None, 80.0)
    assert (shown(head, 81.0), head.uneven) == ("09:00:51", False)
    head.change(REWIND, 2, None, 81.0)
    assert shown(head, 91.0) == "09:00:31"
    head.change(KEYFRAMES, 1, None, 91.0)
    assert (shown(head, 99.0), head.uneven) == ("09:00:31", True), "they come as fast as they may"
    head.change(SEEK, 1, datetime(2026, 11, 21, 1, 30, tzinfo=UTC), 99.0)
    assert (shown(head, 99.0), head.mode) == ("09:30:00", KEYFRAMES)


def test_without_a_beginning_it_is_not_known() -> None:
    head = Playhead(Wish(Criteria()))
    head.begin(0.0)
    assert head.position(5.0) is None


@pytest.mark.parametrize(
    ("mode", "speed", "sent", "end"),
    [
        (PlaybackMode.NORMAL, 1, 0, SPAN.end),
        (PlaybackMode.FAST_FORWARD, 4, 3, SPAN.end),
        (PlaybackMode.KEYFRAME_REWIND, 1, 1, SPAN.end),
        (PlaybackMode.SINGLE_FRAME, 1, 0, NO_TIME),
    ],
)
def test_what_is_asked_for(mode: PlaybackMode, speed: int, sent: int, end: str) -> None:
    request = Wish(SPAN, mode, speed).request("192.0.2.1", 1178, 0, 2)
    assert (request.channel, request.playback_mode, request.playback_speed) == (2, mode, sent)
    assert (request.start_time, request.end_time) == (SPAN.begin, end)


@pytest.mark.parametrize(
    ("action", "speed", "control", "sent"), [(PAUSE, 1, 1, 0), (RESUME, 1, 0, 0), (SPEED, 8, 3, 4), (SPEED, 1, 0, 0), (KEYFRAMES, 1, 6, 0), (REWIND, 1, 4, 1)]
)
def test_what_is_said(action: str, speed: int, control: int, sent: int) -> None:
    message = playhead.control(1, action, speed)
    assert (message.playback_control, message.playback_speed, message.seek_time) == (control, sent, NO_TIME)


def test_a_jump_names_its_time_in_the_standards_zone() -> None:
    message = playhead.control(3, SEEK, time=datetime(2026, 11, 21, 1, 30, tzinfo=UTC))
    assert (message.channel, message.playback_control, message.seek_time) == (3, 5, "261121093000")
    assert playhead.end(3).playback_control == 2
