"""``terminals.answer_positions = "stored"``: 0x8001 for a position only once its row is in the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.jt808.messages.location import LocationReport
from tests.core.fakes import World

TIME = "261121093000"


def report(time: str = TIME) -> LocationReport:
    return LocationReport(latitude=1, longitude=2, time=time)


def world_and_store(**settings: Any) -> tuple[World, list[Callable[[], None]]]:
    world = World(answer_positions="stored", **settings)
    waiting: list[Callable[[], None]] = []
    world.terminals.when_stored = waiting.append
    return world, waiting


def replies(device: Any) -> list[tuple[int, int, int]]:
    return [(message.reply_serial, message.reply_msg_id, message.result) for header, message in device.read() if header.msg_id == 0x8001]


def test_by_default_it_is_answered_at_once() -> None:
    world = World()
    device = world.online()
    serial = device.say(report())
    assert replies(device) == [(serial, 0x0200, 0)]


def test_the_answer_waits_for_the_row_and_others_do_not() -> None:
    world, waiting = world_and_store()
    device = world.online()
    first = device.say(report())
    second = device.say(report("261121093001"))
    heartbeat = device.send(0x0002)
    assert replies(device) == [(heartbeat, 0x0002, 0)]
    waiting[0]()
    assert replies(device) == [(first, 0x0200, 0)]
    waiting[1]()
    assert replies(device) == [(second, 0x0200, 0)]


def test_a_repeat_before_the_row_is_there_is_answered_too_and_one_afterwards_is_not_delivered() -> None:
    world, waiting = world_and_store()
    seen: list[Any] = []
    world.terminals.learning.watch_locations(lambda terminal, location, live: seen.append(location))
    device = world.online()
    body = report().encode(2013)
    serial = device.send(0x0200, body)
    device.send(0x0200, body, serial)
    assert len(seen) == 2, "the store keeps one of them"
    waiting.pop(0)()
    waiting.pop(0)()
    assert replies(device) == [(serial, 0x0200, 0)] * 2
    device.send(0x0200, body, serial)
    assert replies(device) == [(serial, 0x0200, 0)]
    assert (len(seen), waiting) == (2, [])


def test_what_cannot_be_read_is_refused_at_once() -> None:
    world, waiting = world_and_store()
    device = world.online()
    serial = device.send(0x0200, b"\0" * 5)
    assert replies(device) == [(serial, 0x0200, 2)]
    assert waiting == []


def test_a_row_that_is_stored_after_the_link_has_gone_harms_nobody() -> None:
    world, waiting = world_and_store()
    device = world.online()
    device.say(report())
    assert device.link is not None
    device.link.lost("gone")
    waiting[0]()
    assert world.terminals.get(device.phone).link is None  # type: ignore[union-attr]


@pytest.mark.parametrize("setting", ["received", "stored"])
def test_a_terminal_that_has_not_authenticated_is_refused_at_once(setting: str) -> None:
    world = World(answer_positions=setting)
    device = world.device()
    serial = device.say(report())
    assert replies(device) == [(serial, 0x0200, 1)]
