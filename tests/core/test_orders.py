"""Orders to terminals: what is dangerous, what an edition lacks, what is written down, and how each can end."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from relay.core import order_forms as forms
from relay.core.link import NoReplyError, RefusedError, WrongReplyError
from relay.core.orders import ConfirmationNeededError, NotPossibleError, Orders, danger
from relay.jt808.messages import areas, multimedia, parameters, text, video
from relay.jt808.messages.base import Body
from relay.jt808.messages.general import ServerTime
from relay.jt808.params import PARAMETERS
from tests.core.fakes import PHONE, SIM, Device, World

WRITTEN: list[tuple[str, str, str, str]] = []
TEXT = text.TextMessage(flags=4, text="请靠边停车")


def world() -> tuple[World, Orders, Device]:
    made = World(retries=0)
    device = made.online()
    device.read()
    WRITTEN.clear()
    return made, Orders(made.terminals, made.clock, made.events, lambda *row: WRITTEN.append(row)), device


def ask(orders: Orders, message: Body, **more: Any) -> list[Any]:
    ended: list[Any] = []
    orders.ask(PHONE, message, "anna", **more).addBoth(ended.append)
    return ended


def wait(coroutine: Awaitable[Any]) -> list[Any]:
    ended: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(ended.append)  # type: ignore[arg-type]
    return ended


def actions(core: World) -> list[dict[str, Any]]:
    return [event for event in core.told if event["event"] == "operator.action"]


def test_an_order_is_answered_and_written_down() -> None:
    core, orders, device = world()
    done = ask(orders, TEXT)
    [(header, message)] = device.commands()
    assert message.text == TEXT.text
    device.answer(header)
    assert done[0].reply_msg_id == 0x8300
    [action] = actions(core)
    assert {name: action[name] for name in ("who", "sim", "action", "message", "outcome")} == {
        "who": "anna", "sim": SIM, "action": "message", "message": "0x8300", "outcome": "answered",
    }  # fmt: skip
    [(who, what, subject, detail)] = WRITTEN
    assert (who, what, subject) == ("anna", "message", SIM)
    assert '"text": "请靠边停车"' in detail
    core.terminals.close()


def test_how_an_order_can_end_badly() -> None:
    core, orders, device = world()
    refused = ask(orders, TEXT)
    [(header, _)] = device.commands()
    device.answer(header, 3)
    assert isinstance(refused[0].value, RefusedError)
    wrong = ask(orders, TEXT)
    [(header, _)] = device.commands()
    device.send(0x0001, bytes((*header.serial.to_bytes(2, "big"), 0x80, 0x01, 0)))
    silent = ask(orders, video.AvAttributesQuery(), timeout_s=5)
    device.commands()
    core.clock.advance(11)
    assert isinstance(wrong[0].value, WrongReplyError)
    assert isinstance(silent[0].value, NoReplyError)
    assert [action["outcome"] for action in actions(core)] == ["refused", "wrong_reply", "no_reply"]
    core.terminals.close()


def test_an_answer_that_comes_late_is_told_and_one_that_comes_twice_is_counted() -> None:
    core, orders, device = world()
    ended = ask(orders, TEXT, timeout_s=2)
    [(header, _)] = device.commands()
    core.clock.advance(3)
    assert ended[0].value.code == "no_reply"
    core.clock.advance(4)
    device.answer(header)
    [late] = [event for event in core.told if event["event"] == "terminal.late_answer"]
    assert (late["message"], late["late_s"]) == ("0x8300", 4.0)
    device.answer(header)
    assert core.terminals.counts["answers late"] == 1
    assert core.terminals.counts["answers repeated"] == 1
    core.terminals.close()


@pytest.mark.parametrize(
    "message",
    [
        areas.VehicleControl(control_flags=1),
        parameters.TerminalControl(command=5),
        text.CallBack(flag=1, phone="13800000000"),
        parameters.SetParameters(params=[PARAMETERS.from_fields({"id": 0x13, "value": "10.0.0.1"}, 2013)]),
    ],
)
def test_what_can_do_harm_wants_to_be_confirmed(message: Body) -> None:
    core, orders, device = world()
    assert danger(message)
    [failure] = ask(orders, message)
    assert isinstance(failure.value, ConfirmationNeededError)
    assert device.commands() == []
    ask(orders, message, confirm=True)
    assert len(device.commands()) == 1
    core.terminals.close()


def test_no_secret_is_written_down() -> None:
    core, orders, device = world()
    secret = PARAMETERS.from_fields({"id": 0x12, "value": "dial-secret"}, 2013)
    ask(orders, parameters.SetParameters(params=[secret]), confirm=True)
    ask(orders, parameters.TerminalControl(command=2, command_params="0;code-secret"), confirm=True)
    for header, _ in device.commands():
        device.answer(header)
    assert len(actions(core)) == 2
    assert len(WRITTEN) == 2
    assert "secret" not in str(core.told) + str(WRITTEN)
    core.terminals.close()


def test_a_message_that_the_edition_lacks_is_not_sent() -> None:
    core, orders, device = world()
    terminal = core.terminals.get(SIM)
    assert terminal is not None
    terminal.edition = 2011
    [failure] = ask(orders, parameters.QueryAttributes())
    assert isinstance(failure.value, NotPossibleError)
    assert device.commands() == []
    core.terminals.close()


def test_a_message_that_nobody_answers_is_sent() -> None:
    core, orders, device = world()
    core.terminals.get(SIM).edition = 2019  # type: ignore[union-attr]
    assert ask(orders, ServerTime(time="000000000000")) == [None]
    assert len(device.commands()) == 1
    core.terminals.close()


def test_parameters_of_a_terminal_of_2011_are_picked_from_all() -> None:
    core, orders, device = world()
    terminal = core.terminals.get(SIM)
    assert terminal is not None
    terminal.edition = 2011
    ended = wait(orders.parameters(PHONE, [0x29]))
    [(header, message)] = device.commands()
    assert isinstance(message, parameters.QueryAllParameters)
    values = [PARAMETERS.from_fields({"id": number, "value": 30}, 2013) for number in (0x01, 0x29)]
    device.say(parameters.ParametersResponse(reply_serial=header.serial, params=values))
    assert [entry.id for entry in ended[0]] == [0x29]
    core.terminals.close()


def test_what_comes_unasked_is_told_at_most_once_a_second() -> None:
    core, orders, device = world()
    device.say(text.EventReport(event_id=3))
    device.say(text.EventReport(event_id=4))
    told = [event for event in core.told if event["event"] == "terminal.message"]
    assert [(event["message"], event["fields"]) for event in told] == [("EventReport", {"event_id": 3})]
    core.clock.advance(1.1)
    device.say(text.EventReport(event_id=5))
    assert len([event for event in core.told if event["event"] == "terminal.message"]) == 2
    orders.close()
    core.terminals.close()


# words --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edition", "words", "body"),
    [
        (2013, {"urgent": True, "speak": True}, "0d41"),
        (2013, {"display": False, "advertise": True}, "1041"),
        (2019, {"urgent": True}, "060141"),
        (2019, {"service": True, "speak": True}, "0d0241"),
        (2019, {}, "070141"),
    ],
)
def test_text_flags(edition: int, words: dict[str, Any], body: str) -> None:
    assert forms.text_message("A", edition, **words).encode(edition).hex() == body


def test_doors_are_the_other_way_round_in_2019() -> None:
    assert forms.vehicle_doors(True, 2013).encode(2013).hex() == "01"
    assert forms.vehicle_doors(True, 2019).encode(2019).hex() == "0001000100"
    assert forms.vehicle_doors(False, 2019).encode(2019).hex() == "0001000101"


def test_control_commands() -> None:
    assert forms.control("reset", {}, 2013).encode(2013) == b"\x04"
    fields = {"address": "10.0.0.9", "tcp_port": 7808, "time_limit_min": 0}
    assert forms.control("connect", fields, 2019).encode(2019) == b"\x020;;;;;10.0.0.9;7808;;0"
    assert forms.control("connect", {"switch": "back"}, 2019).encode(2019) == b"\x021"
    for command, given, edition in (("power_off", {}, 2019), ("reset", {"url": "x"}, 2013), ("explode", {}, 2013), ("connect", {"apn": "a;b"}, 2013)):
        with pytest.raises(NotPossibleError):
            forms.control(command, given, edition)


def test_areas_in_degrees() -> None:
    given = {"id": 7, "latitude": -22.5, "longitude": 114.05, "radius_m": 300, "max_speed_kmh": 40, "entry_alarm_platform": True, "name": "学校"}
    [message] = forms.set_areas("circles", "replace", [given], 2013)
    assert isinstance(message, areas.SetCircularAreas)
    [area] = message.areas
    assert (area.center_latitude, area.center_longitude, area.radius, area.max_speed) == (22_500_000, 114_050_000, 300, 40)
    assert area.attributes == 1 << 1 | 1 << 3 | 1 << 6
    [later] = forms.set_areas("circles", "append", [given], 2019)
    assert (later.areas[0].night_max_speed, later.areas[0].name) == (40, "学校")  # type: ignore[attr-defined]
    triangle = {"id": 1, "points": [{"latitude": 1, "longitude": 2}, {"latitude": 2, "longitude": 3}, {"latitude": 1, "longitude": 3}]}
    deleted, polygon = forms.set_areas("polygons", "replace", [triangle], 2013)
    assert deleted == areas.DeletePolygonAreas(area_ids=[])
    assert isinstance(polygon, areas.SetPolygonArea)
    assert len(polygon.points) == 3
    route = {"id": 2, "points": [{"latitude": 1, "longitude": 2, "too_long_s": 60, "max_speed_kmh": 80}]}
    [message] = forms.set_areas("routes", "append", [route], 2013)
    assert message.points[0].attributes == 3  # type: ignore[attr-defined]
    for kind, wrong in (
        ("circles", {**given, "latitude": 91}), ("circles", {**given, "colour": 1}), ("polygons", {"id": 1, "points": []}), ("circles", {**given, "id": 0}),
        ("circles", {**given, "start_time": "000000083000"}), ("circles", {**given, "radius_m": -1}),
        ("polygons", {"id": 1, "points": [{"latitude": n, "longitude": 1} for n in (-1, 1, 2)]}),
    ):  # fmt: skip
        with pytest.raises(NotPossibleError):
            forms.set_areas(kind, "append", [wrong], 2013)


def test_photos_lists_tracking_and_alarms() -> None:
    taken = forms.photo(3, 2013, count=2, resolution="352x288")
    assert isinstance(taken, multimedia.TakePhoto)
    assert (taken.channel_id, taken.command, taken.resolution, taken.save_flag) == (3, 2, 6, 0)
    assert forms.setting_list(text.SetPhoneBook, "contacts", "clear", [], 2013).encode(2013) == b"\0"
    assert forms.tracking(0, 0, 2013).encode(2013) == b"\0\0"
    assert forms.confirm_alarm(0, ["emergency", "illegal_ignition"], 2013).encode(2013).hex() == "000008000001"
    for make in (
        lambda: forms.photo(1, 2013, resolution="highest"), lambda: forms.tracking(5, 0, 2013), lambda: forms.confirm_alarm(0, ["rain"], 2013),
        lambda: forms.confirm_alarm(0, [], 2013), lambda: forms.call_back("abc", False, 2013), lambda: forms.text_message("", 2013),
        lambda: forms.text_message("长" * 600, 2013), lambda: forms.setting_list(text.SetPhoneBook, "contacts", "delete", [], 2013),
    ):  # fmt: skip
        with pytest.raises(NotPossibleError):
            make()

