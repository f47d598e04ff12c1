"""A session goes over into another process: the same bytes give the same answers, wherever the change comes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.errors import StateError
from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages.general import Registration
from relay.jt808.messages.location import LocationQuery
from relay.jt808.session import Session
from relay.jt808.session_events import Authenticating, Failed, Phase, Received, Registering, Role, SessionOptions
from relay.jt808.session_state import can_be_kept, session_of, state_of, unfinished
from relay.wire.plain import Plain

PHONE = "013800138000"
OPTIONS = SessionOptions()


def frame(msg_id: int, body: bytes = b"", serial: int = 0, **more: Any) -> bytes:
    return Header(msg_id, PHONE, serial, **more).encode(body)


def ready(now: float = 10.0, version: int | None = None) -> Session:
    session = Session(Role.PLATFORM, OPTIONS, now)
    session.receive(frame(0x0102, b"code" if version is None else b"\x04code" + bytes(35), 1, protocol_version=version), now)
    (event,) = session.events()
    assert isinstance(event, Authenticating)
    session.authenticated(event.header, True, now)
    session.bytes_to_send()
    return session


def over(session: Session, now: float = 20.0, later: float = 1000.0) -> Session:
    """As it is after the change, through JSON; clocks of two processes need not agree."""
    state = json.loads(json.dumps(state_of(session, now)))
    return session_of(Plain(state, "session"), OPTIONS, later)


def answers(data: bytes) -> list[tuple[int, int, bytes]]:
    return [(header.msg_id, header.serial, body) for header, body in map(decode_frame, Deframer().feed(data))]  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [None, 1])
def test_it_stays_ready_in_its_edition_with_its_serial_numbers(version: int | None) -> None:
    former = ready(version=version)
    session = over(former)
    assert session.phase is Phase.READY
    assert (session.key, session.phone, session.edition, session.protocol_version) == (former.key, former.phone, former.edition, version)
    session.receive(frame(0x0002, serial=2, protocol_version=version), 1000.0)
    ((msg_id, serial, body),) = answers(session.bytes_to_send())
    assert (msg_id, serial, body[:4]) == (0x8001, 1, b"\x00\x02\x00\x02")


def test_a_frame_may_be_cut_anywhere_by_the_change() -> None:
    whole = frame(0x0002, serial=2) + frame(0x0002, serial=3)
    for cut in range(len(whole) + 1):
        former = ready()
        former.receive(whole[:cut], 11.0)
        said = former.bytes_to_send()
        session = over(former)
        session.receive(whole[cut:], 1001.0)
        assert [body[:2] for _, _, body in answers(said + session.bytes_to_send())] == [b"\x00\x02", b"\x00\x03"], cut


def test_a_message_repeated_after_the_change_is_answered_and_not_delivered_again() -> None:
    report = bytes(22) + bytes.fromhex("261121093000")
    former = ready()
    former.receive(frame(0x0200, report, 7), 11.0)
    assert any(isinstance(event, Received) for event in former.events())
    session = over(former)
    session.receive(frame(0x0200, report, 7), 1001.0)
    assert session.events() == []
    assert [body for _, _, body in answers(session.bytes_to_send())] == [b"\x00\x07\x02\x00\x00"]
    assert session.duplicates == 1


def test_a_registration_repeated_after_the_change_gets_the_same_code() -> None:
    former = Session(Role.PLATFORM, OPTIONS, 10.0)
    values = {"manufacturer_id": "ABCDE", "terminal_model": "M1", "terminal_id": "T1", "plate_color": 1, "plate_no": "粤B12345"}
    body = Registration(province_id=44, city_id=300, **values).encode(2013)
    former.receive(frame(0x0100, body, 5), 10.0)
    (event,) = former.events()
    assert isinstance(event, Registering)
    assert not can_be_kept(former), "somebody is deciding"
    former.registered(event.header, 0, "secret", 10.0)
    first = former.bytes_to_send()
    session = over(former)
    session.receive(frame(0x0100, body, 5), 1000.0)
    assert session.bytes_to_send() == first


def test_idle_time_goes_on_and_a_link_that_has_not_authenticated_still_has_its_limit() -> None:
    session = over(ready(10.0), now=50.0)
    assert session.next_deadline() == pytest.approx(1000.0 - 40.0 + OPTIONS.idle_timeout_s)
    silent = over(Session(Role.PLATFORM, OPTIONS, 10.0), now=15.0)
    assert silent.next_deadline() == pytest.approx(1000.0 - 5.0 + OPTIONS.register_timeout_s)


def test_what_is_not_kept_is_told() -> None:
    former = ready()
    former.request(LocationQuery(), 11.0)
    former.receive(frame(0x0801, bytes(500), 9, package_total=2, package_index=1), 11.0)
    assert unfinished(former) == 1
    former.leave()
    assert [event.reason for event in former.events() if isinstance(event, Failed)] == ["closed"]
    session = over(former)
    assert unfinished(session) == 0
    session.receive(frame(0x0801, bytes(500), 10, package_total=2, package_index=2), 1000.0)
    session.bytes_to_send()
    session.tick(1006.0)
    assert [answer[0] for answer in answers(session.bytes_to_send())] == [0x8003], "the piece that is lost is asked for"


@pytest.mark.parametrize(
    ("name", "value"),
    [("phase", "deciding"), ("phase", 1), ("edition", 2015), ("tail", "zz"), ("tail", "00" * 5000), ("serial", 65536), ("serial", True), ("opened_s", None),
     ("errors", []), ("done", [1]), ("done", [{}] * 17), ("registration", {"serial": 1}), ("phone", "1" * 100), ("protocol_version", "x")],
)  # fmt: skip
def test_another_programs_state_is_refused_by_its_place(name: str, value: object) -> None:
    state = state_of(ready(), 20.0) | {name: value}
    with pytest.raises(StateError, match=r"^session"):
        session_of(Plain(state, "session"), OPTIONS, 0.0)


def test_every_value_that_lacks_is_refused() -> None:
    state = state_of(ready(), 20.0)
    for name in state.keys() - {"protocol_version", "registration"}:
        with pytest.raises(StateError):
            session_of(Plain({key: value for key, value in state.items() if key != name}, "session"), OPTIONS, 0.0)
