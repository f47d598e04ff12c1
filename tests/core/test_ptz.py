"""Cameras that turn while somebody says so, and not longer (0x9301 to 0x9306)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.python.failure import Failure

from relay.core.link import RefusedError, TerminalOfflineError
from relay.core.ptz import Movement, Ptz, PtzError
from relay.jt808.messages.video import Direction, PtzFocus, PtzIris, PtzLight, PtzRotate, PtzWiper, PtzZoom
from tests.core.fakes import PHONE, SIM, Device, World

LEFT = Movement("rotate", "left", 100)


def told(device: Device, result: int | None = 0) -> list[Any]:
    """What the terminal was told; answered with ``result``."""
    came = device.commands()
    for header, _ in came:
        if result is not None:
            device.answer(header, result)
    return [message for header, message in came if header.msg_id >> 8 == 0x93]


def world() -> tuple[World, Ptz, Device]:
    made = World()
    device = made.online()
    device.read()
    return made, Ptz(made.terminals, made.clock, made.events), device


def ask(ptz: Ptz, movement: Movement, **more: Any) -> list[Any]:
    results: list[Any] = []
    ptz.tell(PHONE, 1, movement, "somebody", **more).addBoth(results.append)
    return results


@pytest.mark.parametrize(
    ("movement", "message"),
    [
        (Movement("focus", "in"), PtzFocus(channel=1, focus_direction=0)),
        (Movement("focus", "out"), PtzFocus(channel=1, focus_direction=1)),
        (Movement("zoom", "out"), PtzZoom(channel=1, zoom_direction=1)),
        (Movement("iris", "close"), PtzIris(channel=1, iris_direction=1)),
        (Movement("wiper", on=True), PtzWiper(channel=1, switch=1)),
        (Movement("light", on=False), PtzLight(channel=1, switch=0)),
        (Movement("rotate", "up", 255), PtzRotate(channel=1, direction=Direction.UP, speed=255)),
        (Movement("rotate", "stop", 255), PtzRotate(channel=1, direction=Direction.STOP, speed=0)),
    ],
)
def test_words_become_messages(movement: Movement, message: Any) -> None:
    assert movement.message(1) == message


@pytest.mark.parametrize("movement", [Movement("rotate", "in"), Movement("focus", "left"), Movement("iris", ""), Movement("dance")])
def test_words_that_are_no_movement(movement: Movement) -> None:
    with pytest.raises(PtzError):
        movement.message(1)


def test_a_hold_that_is_not_renewed_is_stopped() -> None:
    core, ptz, device = world()
    done = ask(ptz, LEFT)
    assert told(device) == [PtzRotate(channel=1, direction=Direction.LEFT, speed=100)]
    assert done == [2.0]
    assert ptz.moving(SIM) == [{"channel": 1, "direction": "left", "speed": 100, "who": "somebody"}]
    core.clock.advance(1.9)
    assert told(device) == []
    core.clock.advance(0.2)
    assert told(device) == [PtzRotate(channel=1, direction=Direction.STOP, speed=0)]
    assert core.told[-1]["event"] == "ptz.stopped"
    assert ptz.moving(SIM) == []
    core.terminals.close()


def test_renewing_sends_nothing_and_another_direction_does() -> None:
    core, ptz, device = world()
    ask(ptz, LEFT)
    told(device)
    for _ in range(10):
        core.clock.advance(0.5)
        assert ask(ptz, LEFT) == [2.0]
    assert told(device) == []
    ask(ptz, Movement("rotate", "up", 100))
    assert [message.direction for message in told(device)] == [Direction.UP]
    ask(ptz, Movement("rotate", "stop"))
    assert [message.direction for message in told(device)] == [Direction.STOP]
    core.clock.advance(5)
    assert told(device) == []
    core.terminals.close()


def test_a_refused_rotation_needs_no_stop() -> None:
    core, ptz, device = world()
    done = ask(ptz, LEFT)
    told(device, 3)
    assert isinstance(done[0], Failure)
    assert isinstance(done[0].value, RefusedError)
    core.clock.advance(5)
    assert told(device) == []
    core.terminals.close()


def test_a_terminal_that_leaves_while_its_camera_turns_is_told_to_stop_when_it_is_back() -> None:
    core, ptz, device = world()
    ask(ptz, LEFT)
    told(device)
    assert device.link is not None
    device.link.lost("the tunnel")
    core.clock.advance(10)
    again = core.device()
    again.register()
    again.authenticate()
    assert [message.direction for message in told(again)] == [Direction.STOP]
    core.terminals.close()


def test_a_stop_that_nobody_answers_is_an_alarm() -> None:
    core, ptz, device = world()
    ask(ptz, LEFT, hold_s=0.5)
    told(device)
    core.clock.advance(0.6)
    told(device, None)
    for _ in range(100):
        core.clock.advance(1)
    assert "ptz.not_stopped" in core.names()
    core.terminals.close()


def test_offline_and_the_end_of_the_relay() -> None:
    core, ptz, device = world()
    failed: list[Any] = []
    ptz.tell("13900000000", 1, LEFT).addErrback(failed.append)
    assert isinstance(failed[0].value, TerminalOfflineError)
    ask(ptz, LEFT)
    told(device)
    ptz.close()
    assert [message.direction for message in told(device)] == [Direction.STOP]
    core.terminals.close()
