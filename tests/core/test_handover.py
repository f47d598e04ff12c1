"""Terminals go over into another process: nobody notices, but what is no longer admitted does not come back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from relay.core import handover
from relay.core.link import TerminalOfflineError
from relay.errors import StateError
from relay.jt808.items import Mileage
from relay.jt808.messages.location import LocationQuery, LocationReport
from relay.jt808.messages.parameters import TerminalAttributes
from relay.jt808.messages.video import AvAttributes
from relay.store.terminals import KnownTerminal
from relay.wire.plain import Plain
from tests.core.fakes import PHONE, SIM, Device, FakeWire, Rows, World

ROW = KnownTerminal(phone=PHONE, plate="粤B12345", plate_color=1, alias="bus 7", channels={1: "front"}, details={"owner": "x"}, aliases=("seven",))


def report(**more: Any) -> LocationReport:
    values: dict[str, Any] = {"latitude": 22_547_000, "longitude": 114_085_000, "speed": 456, "time": "261121093000"} | more
    return LocationReport(**values)


def over(device: Device, world: World) -> Any:
    """What the former process leaves of the device's link, as the next one reads it."""
    assert device.link is not None
    state = handover.leaving(device.link, device.world.terminals)
    assert state is not None
    return Plain(json.loads(json.dumps(state)), "links[0]")


def carried(former: World, device: Device, **more: Any) -> tuple[World, Device]:
    """The device on the next process."""
    world = World(former.rows, **more)
    again = Device(world, device.phone, device.version, link=False)
    again.serial = device.serial
    again.link = handover.back(over(device, world), again.wire, world.terminals)
    return world, again


def test_a_terminal_stays_online_and_all_that_is_known_of_it_stays_known() -> None:
    former = World(Rows(ROW))
    device = former.online()
    device.say(report(items=[Mileage(mileage=123)]))
    terminal = former.terminals.get(SIM)
    assert terminal is not None
    terminal.take_av(AvAttributes.decode(bytes([19, 1, 0, 1, 0, 160, 1, 98, 4, 6])))
    world, again = carried(former, device)
    assert world.terminals.is_online(SIM)
    before, after = terminal.as_dict(), world.terminals.get(SIM).as_dict()  # type: ignore[union-attr]
    assert {key: value for key, value in after.items() if key not in ("peer",)} == {key: value for key, value in before.items() if key not in ("peer",)}
    assert after["position"]["speed"] == 45.6
    assert after["video_codec"]
    assert world.told == [], "nothing happened that anybody needs to be told"
    assert world.terminals.called("bus7") == former.terminals.called("bus7")
    again.say(report(speed=100))
    assert [header.msg_id for header, _ in again.read()] == [0x8001]
    assert world.terminals.get(SIM).as_dict()["position"]["speed"] == 10.0  # type: ignore[union-attr]


def test_watchers_learn_of_terminals_that_go_on() -> None:
    former = World(Rows(ROW))
    device = former.online()
    world = World(former.rows)
    seen: list[tuple[str, str]] = []
    world.terminals.watch(lambda what, terminal: seen.append((what, terminal.sim)))
    handover.back(over(device, world), FakeWire(), world.terminals)
    assert seen == [("online", SIM)]


def test_what_it_was_asked_about_itself_is_not_asked_again_and_what_was_not_yet_is() -> None:
    for seconds, expected in ((0.0, True), (200.0, False)):
        former = World(Rows(ROW), idle_timeout_s=1000.0, reply_timeout_s=1.0)
        device = former.online()
        for _ in range(int(seconds)):
            former.clock.advance(1.0)
        world, again = carried(former, device, idle_timeout_s=1000.0)
        again.read()
        world.clock.advance(10.0)
        assert bool(again.commands()) is expected, seconds


def test_who_waited_for_a_reply_is_told_and_its_late_answer_harms_nobody() -> None:
    former = World(Rows(ROW))
    device = former.online()
    failures: list[Any] = []
    former.terminals.request(SIM, LocationQuery()).addErrback(failures.append)
    ((header, _),) = device.commands()
    world, again = carried(former, device)
    assert failures[0].check(TerminalOfflineError)
    again.answer(header)
    assert again.read() == []
    assert world.terminals.is_online(SIM)


def test_unsent_bytes_go_first() -> None:
    former = World(Rows(ROW))
    device = former.online()
    world = World(former.rows)
    wire = FakeWire()
    handover.back(over(device, world), wire, world.terminals, b"rest")
    assert wire.data == b"rest"


def test_a_link_that_has_not_authenticated_goes_on_too_and_its_limit_counts() -> None:
    former = World(Rows(ROW))
    device = former.device()
    device.register()
    world, again = carried(former, device)
    assert world.terminals.unregistered_count == 1
    again.code = device.code
    assert again.authenticate() == 0
    assert world.terminals.is_online(SIM)


def test_the_former_process_does_nothing_more_about_it() -> None:
    former = World(Rows(ROW))
    device = former.online()
    over(device, former)
    former.terminals.leave()
    former.clock.advance(10_000.0)
    assert not device.wire.closed
    assert former.clock.getDelayedCalls() == []


def test_who_is_unknown_under_the_new_policy_does_not_come_back() -> None:
    former = World(Rows(), registration="open")
    device = former.online()
    former.rows.rows.clear()
    terminal = former.terminals.get(SIM)
    assert terminal is not None
    terminal.known = None
    world, again = carried(former, device, registration="known")
    assert again.link is None
    assert not world.terminals.is_online(SIM)
    assert world.terminals.counts["links not carried on: unknown now"] == 1
    assert world.clock.getDelayedCalls() == []


@pytest.mark.parametrize("change", ["disabled", "removed"])
def test_what_the_operator_changed_meanwhile_is_seen_at_once(change: str) -> None:
    from twisted.internet.defer import succeed

    former = World(Rows(ROW))
    device = former.online()
    rows = Rows(replace(ROW, enabled=False)) if change == "disabled" else Rows()
    world = World(rows, changes=lambda: succeed(1))
    wire = FakeWire()
    handover.back(over(device, world), wire, world.terminals)
    assert world.terminals.is_online(SIM)
    world.terminals.look_now()
    assert change in wire.closed


def test_one_that_came_back_by_itself_is_not_thrown_out() -> None:
    former = World(Rows(ROW))
    device = former.online()
    state = over(device, former)
    world = World(former.rows)
    newer = world.device()
    newer.authenticate(device.code)
    assert handover.back(state, FakeWire(), world.terminals) is None
    assert world.terminals.get(SIM).link is newer.link  # type: ignore[union-attr]
    assert world.terminals.counts["links not carried on: online already"] == 1


def test_a_terminals_own_messages_survive_as_they_were() -> None:
    former = World(Rows(ROW))
    device = former.online()
    terminal = former.terminals.get(SIM)
    assert terminal is not None
    body = TerminalAttributes(
        terminal_type=7, manufacturer_id="ABCDE", terminal_model="M1", terminal_id="T1", iccid="89860012345678901234", hardware_version="h1",
        firmware_version="f1", gnss_attributes=3, comm_attributes=1,
    )  # fmt: skip
    terminal.take_attributes(body)
    world, _ = carried(former, device)
    after = world.terminals.get(SIM)
    assert after is not None
    assert after.attributes == body
    assert (after.iccid, after.hardware, after.firmware) == (terminal.iccid, "h1", "f1")


@pytest.mark.parametrize("place", ["phone", "row", "position", "channels", "counts", "clock", "asked_s"])
def test_a_state_that_is_not_ours_is_refused_and_nothing_is_changed(place: str) -> None:
    former = World(Rows(ROW))
    device = former.online()
    assert device.link is not None
    state = handover.leaving(device.link, former.terminals)
    assert state is not None
    state["terminal"][place] = {"phone": "0999", "row": "[1", "position": {"edition": 2013, "body": "00"}, "channels": [3]}.get(place, "x")
    world = World(former.rows)
    with pytest.raises(StateError):
        handover.back(Plain(state, "links[0]"), FakeWire(), world.terminals)
    assert not world.terminals.is_online(SIM)
    assert world.clock.getDelayedCalls() == []
