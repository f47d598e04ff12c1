"""The API and the metrics of superior platforms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from relay.jt809.messages.alarms import SupervisionRequest
from relay.jt809.messages.platform import PostQuery
from relay.web.api_superiors import AnswerBody, PasswordsBody, RequestList, SuperiorApi, SuperiorList, UpBody
from relay.web.problem import Problem
from relay.web.router import Principal
from relay.web.superior_figures import superior_figures
from tests.core.superior_world import COLOR, NEW, PLATE, SuperiorWorld, report, superior_settings
from tests.web.world import Relay


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SuperiorWorld]:
    made = SuperiorWorld(tmp_path, superior_settings(), superior_settings("b", **NEW))
    yield made
    made.finish()


def ask(world: SuperiorWorld, what: str, name: str = "a", body: Any = None, id: str = "", **query: Any) -> Any:
    asked = SimpleNamespace(**{"waiting": False, **query})
    call = SimpleNamespace(path={"name": name, "id": id}, body=body, query=asked, principal=Principal("eve", "operator"))
    return getattr(SuperiorApi(world.superiors), what)(call)


def test_what_is_shown_has_the_documented_shape_and_no_secret(world: SuperiorWorld) -> None:
    peer = world.main("b")
    report(world.online(), 1)
    world.advance(1.0)
    listed = ask(world, "list")
    view = msgspec.convert(listed, SuperiorList)
    a, b = view.items
    assert (a.name, a.state, a.queue.waiting, a.links) == ("a", "login", 1, {"main": None, "sub": None})
    assert (b.state, b.vehicles, b.announced) == ("main_up", 1, "192.0.2.1:8809")
    main = b.links["main"]
    assert main is not None and main.up and main.frames_out == 4
    secrets = [*world.superiors.passwords.pair("a"), *world.superiors.passwords.pair("b"), "12345678"]
    assert not any(secret in str(listed) for secret in secrets)
    assert ask(world, "get", "b") == listed["items"][1]
    peer.lose()
    assert ask(world, "get", "b")["problem"] == "connection lost"


def test_connect_and_disconnect(world: SuperiorWorld) -> None:
    assert ask(world, "disconnect")["state"] in ("stopped", "login")
    world["a"].connect_failed("refused")
    assert ask(world, "get")["state"] == "stopped"
    ask(world, "connect")
    assert ask(world, "get")["state"] == "login"


def test_requests_and_answers(world: SuperiorWorld) -> None:
    b, a = world.main("b"), world.main("a")
    a.read()
    a.send(PostQuery(object_type=1, object_id="1", info_id=1, info_content="在岗？"))
    now = int(world.wall())
    a.send(
        SupervisionRequest(
            warn_src=1, warn_type=2, supervision_id=5, warn_time=now, supervision_endtime=now + 60, supervision_level=0, supervisor="王五",
            supervisor_tel="1", supervisor_email="",
        ),
        PLATE, COLOR,
    )  # fmt: skip
    listed = msgspec.convert(ask(world, "requests"), RequestList)
    assert [(one.kind, one.state) for one in listed.items] == [("supervision", "waiting"), ("post_query", "waiting")]
    with pytest.raises(Problem) as raised:
        ask(world, "answer", body=AnswerBody(), id=str(listed.items[1].id))
    assert raised.value.status == 400
    done = ask(world, "answer", body=AnswerBody(text="在"), id=str(listed.items[1].id))
    assert (done["state"], done["answered_by"], done["answer"]["text"]) == ("answered", "eve", "在")
    assert a.answer(0x1301).info_content == "在"
    ask(world, "answer", body=AnswerBody(result="in_progress"), id=str(listed.items[0].id))
    assert a.answer(0x1401).result == 0
    for body, number, status in ((AnswerBody(text="x"), "99", 404), (AnswerBody(text="x"), "²", 404), (AnswerBody(text="x"), str(listed.items[1].id), 409)):
        with pytest.raises(Problem) as raised:
            ask(world, "answer", body=body, id=number)
        assert raised.value.status == status
    b.send(PostQuery(object_type=1, object_id="1", answer_time=1, info_id=1, info_content="?"))
    (waiting,) = ask(world, "requests", "b", waiting=True)["items"]
    b.lose()
    with pytest.raises(Problem) as raised:
        ask(world, "answer", "b", AnswerBody(text="x"), str(waiting["id"]))
    assert (raised.value.status, raised.value.code) == (503, "superior_down")


def test_messages_for_experts_and_passwords(world: SuperiorWorld) -> None:
    with pytest.raises(Problem) as raised:
        ask(world, "message", id="0x1208")
    assert raised.value.status == 503
    peer = world.main("b")
    peer.read()
    serial = ask(world, "message", "b", UpBody(plate=PLATE, plate_color=1, fields={"start_time": 1, "end_time": 2}), "0x1207")["serial"]
    ((header, business),) = peer.read()
    assert (header.msg_sn, business.data_type, business.vehicle_no) == (serial, 0x1207, PLATE)
    for id, body, status in (("0x9801", UpBody(), 404), ("0x1001", UpBody(), 404), ("zz", UpBody(), 404), ("1207", UpBody(fields={"x": 1}), 400)):
        with pytest.raises(Problem) as raised:
            ask(world, "message", "b", body, id)
        assert raised.value.status == status
    before = world.superiors.passwords.pair("b")
    ask(world, "passwords", "b", PasswordsBody(renew=True))
    assert peer.answer(0x1701).authorize_code_1 == world.superiors.passwords.pair("b")[0] != before[0]


def test_figures(world: SuperiorWorld) -> None:
    world.main("b")
    report(world.online(), 1, 2)
    figures = superior_figures(world.superiors)
    assert figures["superior_queue"][3]() == {"a": 2, "b": 0}
    assert figures["superior_positions"][3]() == {"a": 0, "b": 2}
    assert figures["superior_links_up"][3]() == {"a": 0, "b": 1}
    assert superior_figures(None) == {}


def test_over_http_without_superiors() -> None:
    relay = Relay()
    assert relay.call("GET", "/superiors").json == {"items": [], "total": 0, "next": None}
    answer = relay.call("POST", "/superiors/nobody/connect")
    assert (answer.status, answer.json["error"]) == (404, "unknown_superior")


def test_over_http(world: SuperiorWorld) -> None:
    relay = Relay(more=lambda _: {"superiors": world.superiors, "figures": _figures(world)})
    world.main("b")
    assert [one["name"] for one in relay.call("GET", "/superiors").json["items"]] == ["a", "b"]
    assert relay.call("GET", "/superiors/b/requests?waiting=true").json == {"items": [], "total": 0, "next": None}
    assert relay.call("POST", "/superiors/b/passwords").status == 204


def _figures(world: SuperiorWorld) -> Any:
    from relay.web.metrics import Figures

    return Figures(labelled=superior_figures(world.superiors))
