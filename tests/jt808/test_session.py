"""The session of one JT/T 808 link: phases, answers, requests, sub-packages; explicit times, no I/O."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.jt808.framing import FLAG, Deframer
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages.base import MESSAGES, Body
from relay.jt808.messages.general import (
    Authentication,
    GeneralResponse,
    Heartbeat,
    LinkCheck,
    Registration,
    RegistrationResponse,
    ServerTimeQuery,
    TerminalGeneralResponse,
)
from relay.jt808.messages.parameters import QueryAttributes, QueryParameters
from relay.jt808.messages.video import ResourceQuery
from relay.jt808.session import Session
from relay.jt808.session_events import (
    Accepted,
    Authenticating,
    Broken,
    BusyError,
    Ended,
    Failed,
    Foreign,
    GaveUp,
    Phase,
    Received,
    Registering,
    Replied,
    Role,
    SessionOptions,
    Silent,
    Strayed,
    Unadmitted,
)
from relay.jt808.session_requests import Stray
from relay.jt808.subpackages import SubpackageLimits
from tests.shared import load_vectors

PHONE = "013800138000"
PHONE19 = "00000000013800138000"


def raw(msg_id: int, body: bytes = b"", serial: int = 0, phone: str = PHONE, version: int | None = None, **more: int) -> bytes:
    return Header(msg_id, phone, serial, protocol_version=version, **more).encode(body)


def general(reply_serial: int, reply_id: int, result: int = 0, serial: int = 900) -> bytes:
    return raw(0x0001, struct.pack(">HHB", reply_serial, reply_id, result), serial)


class Link:
    """A session and what came out of it, decoded."""

    def __init__(self, role: Role = Role.PLATFORM, ready: bool = True, now: float = 0.0, **options) -> None:
        self.session = Session(role, SessionOptions(**options), now)
        self.events: list = []
        if ready and role is Role.PLATFORM:
            self.feed(raw(0x0102, b"code", 0xFFFF), now)
            [request] = self.events
            self.session.authenticated(request.header, True, now)
            self.session.bytes_to_send()
            self.events.clear()

    def feed(self, data: bytes, now: float = 0.0) -> list:
        self.session.receive(data, now)
        new = self.session.events()
        self.events += new
        return new

    def tick(self, now: float) -> list:
        self.session.tick(now)
        new = self.session.events()
        self.events += new
        return new

    def sent(self) -> list[tuple[Header, bytes]]:
        return [decode_frame(frame.strip(FLAG)) for frame in self.session.frames_to_send()]

    def answers(self) -> list[tuple[int, int, int]]:
        """(reply_serial, reply_msg_id, result) of the 0x8001s sent; nothing else may have been."""
        out = []
        for header, body in self.sent():
            assert header.msg_id == 0x8001
            out.append(struct.unpack(">HHB", body))
        return out


# ---- admission ------------------------------------------------------------------------------------------------------


def registration(edition: int = 2013) -> Registration:
    return Registration(
        province_id=44, city_id=300, manufacturer_id="ABCDE", terminal_model="M1", terminal_id="T000001", plate_color=1, plate_no="粤B12345",
        edition=edition,
    )  # fmt: skip


@pytest.mark.parametrize(("edition", "version", "phone"), [(2011, None, PHONE), (2013, None, PHONE), (2019, 1, PHONE19)])
def test_registering_and_authenticating(edition, version, phone):
    link = Link(ready=False)
    [event] = link.feed(raw(0x0100, registration().encode(edition), 7, phone, version))
    assert isinstance(event, Registering)
    assert isinstance(event.message, Registration)
    assert event.message.plate_no == "粤B12345"
    assert link.session.phase is Phase.DECIDING
    assert link.session.edition == edition
    link.session.registered(event.header, 0, "secret", 1.0)
    [(header, body)] = link.sent()
    assert (header.msg_id, header.phone, header.protocol_version, header.serial) == (0x8100, phone, version, 0)
    assert body == b"\x00\x07\x00secret"
    code = Authentication(auth_code="secret", imei="1" * 15, software_version="v1") if version else Authentication(auth_code="secret")
    [event] = link.feed(raw(0x0102, code.encode(edition), 8, phone, version))
    assert isinstance(event, Authenticating)
    assert event.message.auth_code == "secret"
    link.session.authenticated(event.header, True, 2.0)
    assert link.answers() == [(8, 0x0102, 0)]
    assert link.session.phase is Phase.READY


def test_a_refused_registration_carries_no_code():
    link = Link(ready=False)
    [event] = link.feed(raw(0x0100, registration().encode(2013), 7))
    link.session.registered(event.header, 4, "secret", 1.0)
    [(_, body)] = link.sent()
    assert body == b"\x00\x07\x04"
    assert link.session.phase is Phase.NEW


def test_a_registration_repeated_with_its_serial_gets_the_same_answer():
    link = Link(ready=False)
    frame = raw(0x0100, registration().encode(2013), 7)
    [event] = link.feed(frame)
    assert link.feed(frame) == []  # while the store decides
    link.session.registered(event.header, 0, "secret", 1.0)
    first = link.session.bytes_to_send()
    assert link.feed(frame) == []
    assert link.session.bytes_to_send() == first


def test_other_messages_before_authentication_are_answered_with_failure_and_told_once():
    link = Link(ready=False)
    [event] = link.feed(raw(0x0002, b"", 1) + raw(0x0200, bytes(28), 2))
    assert isinstance(event, Unadmitted)
    assert link.answers() == [(1, 0x0002, 1), (2, 0x0200, 1)]
    link.feed(general(0, 0x9101))
    assert link.sent() == []


def test_messages_behind_the_authentication_wait_for_the_decision():
    link = Link(ready=False)
    [event] = link.feed(raw(0x0102, b"code", 1) + raw(0x0002, b"", 2) + raw(0x0003, b"", 3))
    assert link.sent() == []
    link.session.authenticated(event.header, True, 0.5)
    assert link.answers() == [(1, 0x0102, 0), (2, 0x0002, 0), (3, 0x0003, 0)]
    assert [type(e) for e in link.session.events()] == [Received, Received]
    assert link.session.phase is Phase.NEW  # 0x0003 deregistered it


def test_the_messages_that_wait_are_bounded():
    link = Link(ready=False)
    link.feed(raw(0x0102, b"code", 1) + b"".join(raw(0x0002, b"", 2 + i) for i in range(100)))
    assert link.session.errors == {"held": 68}


def test_a_wrong_code_leaves_the_link_open_for_registration():
    link = Link(ready=False)
    [event] = link.feed(raw(0x0102, b"wrong", 1) + raw(0x0002, b"", 2))
    link.session.authenticated(event.header, False, 0.5)
    assert link.answers() == [(1, 0x0102, 1), (2, 0x0002, 1)]
    [told, event] = [*link.session.events(), *link.feed(raw(0x0100, registration().encode(2013), 3))]
    assert isinstance(told, Unadmitted)
    assert isinstance(event, Registering)


def test_a_wrong_code_on_an_authenticated_link_changes_nothing_else():
    link = Link()
    [event] = link.feed(raw(0x0102, b"wrong", 5))
    assert isinstance(event, Authenticating)
    link.session.authenticated(event.header, False, 0.5)
    assert link.answers() == [(5, 0x0102, 1)]
    assert link.session.phase is Phase.READY


def test_silent_terminals_can_be_let_in():
    link = Link(ready=False, silent_ok=True)
    [event] = link.feed(raw(0x0002, b"", 1))
    assert isinstance(event, Silent)
    assert link.sent() == []
    link.session.admitted(True, 0.5)
    assert link.answers() == [(1, 0x0002, 0)]
    assert link.session.phase is Phase.READY


def test_silent_terminals_can_be_refused():
    link = Link(ready=False, silent_ok=True)
    link.feed(raw(0x0002, b"", 1) + raw(0x0002, b"", 2))
    link.session.admitted(False, 0.5)
    assert link.answers() == [(1, 0x0002, 1), (2, 0x0002, 1)]
    assert link.session.phase is Phase.NEW


def test_deregistration_needs_authentication_again():
    link = Link()
    [event] = link.feed(raw(0x0003, b"", 5))
    assert event.header.msg_id == 0x0003
    link.feed(raw(0x0002, b"", 6))
    assert link.answers() == [(5, 0x0003, 0), (6, 0x0002, 1)]


def test_broken_registration_is_a_message_error():
    link = Link(ready=False)
    link.feed(raw(0x0100, b"\x00\x01", 5))
    assert link.answers() == [(5, 0x0100, 2)]
    assert link.session.phase is Phase.NEW


def test_a_link_that_does_not_authenticate_ends():
    link = Link(ready=False, register_timeout_s=30.0)
    assert link.session.next_deadline() == 30.0
    link.feed(raw(0x0002, b"", 1), 29.0)
    [event] = link.tick(30.0)
    assert event == Ended("not authenticated within 30 s")
    assert link.session.next_deadline() is None
    assert link.feed(raw(0x0002, b"", 2), 31.0) == []


def test_silence_ends_the_link_and_garbage_does_not_keep_it():
    link = Link(idle_timeout_s=180.0)
    link.feed(raw(0x0002, b"", 1), 100.0)
    link.feed(b"\x7egarbage\x7e", 200.0)
    assert link.tick(279.9) == []
    assert link.session.next_deadline() == 280.0
    [event] = link.tick(280.0)
    assert event == Ended("no message for 180 s")


@pytest.mark.parametrize(
    ("data", "name"), [(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"), (b"01cd\x81\xe2" + bytes(40), "JT/T 1078"), (b"\x16\x03\x01\x02\x00", "TLS")]
)
def test_another_protocol_is_named_and_ended(data, name):
    link = Link(ready=False)
    [event] = link.feed(data)
    assert isinstance(event, Broken)
    assert event.reason == "wrong_protocol"
    assert name in event.detail
    assert link.session.next_deadline() == 5.0
    [event] = link.tick(5.0)
    assert event == Ended("wrong protocol")


def test_noise_that_looks_like_another_protocol_does_not_cost_a_good_link():
    link = Link(ready=False)
    link.feed(b"GET " + raw(0x0102, b"code", 1))
    assert link.tick(6.0) == []
    assert any(isinstance(e, Authenticating) for e in link.events)


def test_another_number_on_the_link_is_refused_in_its_own_header():
    link = Link()
    [event] = link.feed(raw(0x0200, bytes(28), 3, "013900139000"))
    assert isinstance(event, Foreign)
    [(header, body)] = link.sent()
    assert (header.phone, body) == ("013900139000", struct.pack(">HHB", 3, 0x0200, 1))
    link.feed(raw(0x0002, b"", 4))
    [(header, _)] = link.sent()
    assert header.phone == PHONE


def test_the_answer_repeats_the_header_form_of_each_message():
    link = Link()
    link.feed(raw(0x0002, b"", 1, PHONE19, 3))
    [(header, _)] = link.sent()
    assert (header.phone, header.protocol_version) == (PHONE19, 3)
    assert link.session.edition == 2019
    link.feed(raw(0x0002, b"", 2))
    [(header, _)] = link.sent()
    assert (header.phone, header.protocol_version) == (PHONE, None)
    assert link.session.edition == 2013


# ---- answers ----------------------------------------------------------------------------------------------------------

LOCATION = bytes(22) + bytes.fromhex("261121093000")


@pytest.mark.parametrize(
    ("msg_id", "body", "result"),
    [
        (0x0002, b"", 0),
        (0x0200, LOCATION, 0),
        (0x0200, bytes(27), 2),
        (0x0900, b"\xf0raw", 0),
        (0x0705, bytes(12), None),
        (0x0F01, b"", 3),
        (0x6006, b"vendor", 3),
        (0x0104, b"\x00\x09\x00", "none"),
        (0x0107, b"", "none"),
    ],
)
def test_what_is_answered(msg_id, body, result):
    link = Link()
    events = link.feed(raw(msg_id, body, 77))
    assert len(events) == 1
    assert isinstance(events[0], Received)
    assert events[0].body == body
    answers = link.answers()
    if result == "none":
        assert answers == []
    elif result is None:
        assert [a[:2] for a in answers] == [(77, msg_id)]
    else:
        assert answers == [(77, msg_id, result)]


def test_the_terminals_general_answer_is_never_answered():
    link = Link()
    link.feed(general(5, 0x9101) + raw(0x0001, b"\x00", 2) + raw(0x0001, b"", 3, encryption=1))
    assert link.sent() == []


def test_unknown_messages_are_kept_raw():
    link = Link()
    [event] = link.feed(raw(0x0F01, b"\x01\x7e\x7d", 1))
    assert (event.message, event.body, event.problem) == (None, b"\x01\x7e\x7d", "unknown")


def test_the_problem_of_a_broken_body_is_named():
    link = Link()
    [event] = link.feed(raw(0x0200, bytes(5), 1))
    assert event.message is None
    assert "LocationReport" in event.problem
    assert "offset" in event.problem


def test_encrypted_bodies_are_raw_and_not_supported():
    link = Link()
    [event] = link.feed(raw(0x0200, b"cipher", 4, encryption=1))
    assert (event.message, event.body, event.problem) == (None, b"cipher", "encrypted")
    assert link.answers() == [(4, 0x0200, 3)]


def test_the_time_query_is_left_to_the_owner():
    link = Link()
    [event] = link.feed(raw(0x0004, b"", 4))
    assert isinstance(event.message, ServerTimeQuery)
    assert event.wants_answer
    assert link.sent() == []


def test_a_repeat_is_answered_again_and_delivered_once():
    link = Link()
    frame = raw(0x0200, LOCATION, 9)
    assert len(link.feed(frame)) == 1
    assert link.feed(frame) == []
    assert link.answers() == [(9, 0x0200, 0)] * 2
    assert link.session.duplicates == 1


def test_the_same_serial_with_another_content_is_no_repeat():
    link = Link()
    link.feed(raw(0x0200, LOCATION, 0))
    assert len(link.feed(raw(0x0200, bytes(22) + bytes.fromhex("261121093010"), 0))) == 1


def test_a_repeat_of_what_was_not_understood_gets_the_same_answer():
    link = Link()
    link.feed(raw(0x6006, b"x", 9) * 2)
    assert link.answers() == [(9, 0x6006, 3)] * 2


def test_own_serials_count_from_zero_and_wrap():
    link = Link()
    link.session._next_serial = 0xFFFF
    link.feed(raw(0x0002, b"", 1) + raw(0x0002, b"", 2))
    assert [header.serial for header, _ in link.sent()] == [0xFFFF, 0]


def test_broken_frames_cost_only_themselves():
    link = Link()
    good = raw(0x0002, b"", 1)
    bad = bytearray(raw(0x0200, LOCATION, 2))
    bad[-2] ^= 0x55
    events = link.feed(b"noise" + good + bytes(bad) + b"\x7e\x7d\x05\x7e" + bytes(9000) + good)
    assert [e.reason for e in events if isinstance(e, Broken)] == ["checksum", "checksum", "escape", "too_long"]
    assert [e.header.msg_id for e in events if isinstance(e, Received)] == [2, 2]
    assert link.session.errors == {"checksum": 2, "escape": 1, "too_long": 1}


def test_every_split_gives_the_same():
    stream = b"x" + raw(0x0102, b"code", 1) + raw(0x0200, LOCATION, 2) + raw(0x0F01, b"\x7e\x7d", 3)
    expected = None
    for cut in range(len(stream) + 1):
        link = Link(ready=False, silent_ok=True)
        link.feed(stream[:cut])
        link.feed(stream[cut:])
        for event in link.events:
            if isinstance(event, Authenticating):
                link.session.authenticated(event.header, True, 0.0)
        result = [type(e).__name__ for e in link.events + link.session.events()], link.session.bytes_to_send()
        expected = expected or result
        assert result == expected


@given(st.lists(st.binary(max_size=60), max_size=20), st.booleans())
def test_any_bytes_are_survived(chunks, flags):
    link = Link(silent_ok=flags)
    for chunk in chunks:
        link.feed((b"\x7e" if flags else b"") + chunk)
    link.feed(FLAG + raw(0x0002, b"", 1))
    assert any(isinstance(e, Received) and e.header.msg_id == 2 for e in link.events)


def test_all_uplink_vectors_are_taken():
    vectors = [v for v in load_vectors("jt808") if v["kind"] == "frame" and "error" not in v["fields"] and "frames" not in v["fields"]]
    if not vectors:
        pytest.skip("shared vectors are not there")
    for vector in vectors:
        frame = bytes.fromhex(vector["hex"])
        header, _ = decode_frame(frame.strip(FLAG))
        if header.msg_id >= 0x8000 or header.msg_id in (0x0100, 0x0102):
            continue
        session = Session(Role.PLATFORM, SessionOptions(silent_ok=True), 0.0)
        session.receive(frame, 0.0)
        session.admitted(True, 0.0)
        events = session.events()
        assert not [e for e in events if isinstance(e, Broken)], vector["id"]
        received = [e for e in events if isinstance(e, Received)]
        if header.msg_id == 0x0001 or header.is_subpackage or header.msg_id == 0x0005:
            assert not received
        else:
            assert received, vector["id"]
        for piece in Deframer().feed(session.bytes_to_send()):
            assert decode_frame(piece)[0].phone == header.phone


# ---- requests ---------------------------------------------------------------------------------------------------------


def ask(link: Link, message: Body, now: float = 0.0, **more):
    request = link.session.request(message, now, **more)
    sent = link.sent()
    assert sent[-1][0].msg_id == message.KEY
    return request, sent


def test_a_request_is_done_by_the_general_answer():
    link = Link()
    request, [(header, _)] = ask(link, LinkCheck(), context="mine")
    [event] = link.feed(general(header.serial, 0x8204))
    assert isinstance(event, Replied)
    assert event.request is request
    assert event.request.context == "mine"
    assert isinstance(event.message, TerminalGeneralResponse)
    assert link.session.next_deadline() == 180.0


@pytest.mark.parametrize(("serial", "msg_id", "told"), [(1, 0x8204, []), (0, 0x9101, ["misnamed"])])
def test_an_answer_with_another_serial_or_id_is_not_it(serial, msg_id, told):
    link = Link()
    link.session._next_serial = 0
    request, _ = ask(link, LinkCheck())
    assert [event.stray.kind for event in link.feed(general(serial, msg_id))] == told
    assert request.misnamed == (0x9101 if told else 0)
    [event] = link.feed(general(0, 0x8204))
    assert isinstance(event, Replied)


@pytest.mark.parametrize("result", [1, 2, 3])
def test_a_refusal_carries_its_result(result):
    link = Link()
    request, [(header, _)] = ask(link, QueryAttributes())
    [event] = link.feed(general(header.serial, 0x8107, result))
    assert event == Failed(request, "refused", result)


def test_special_answer_by_serial():
    link = Link()
    request, [(header, _)] = ask(link, QueryParameters(param_ids=[0x76]))
    assert link.feed(raw(0x0104, struct.pack(">HB", header.serial + 1, 0), 1))[0].header.msg_id == 0x0104  # not ours: just received
    [event] = link.feed(raw(0x0104, struct.pack(">HB", header.serial, 0), 2))
    assert isinstance(event, Replied)
    assert event.request is request
    assert link.sent() == []


ATTRIBUTES = bytes(2) + bytes(5) + bytes(20) + bytes(7) + bytes(10) + b"\x00\x00\x01\x01"


def test_special_answer_by_id_oldest_first():
    link = Link()
    first, _ = ask(link, QueryAttributes())
    second, _ = ask(link, QueryAttributes())
    [event] = link.feed(raw(0x0107, ATTRIBUTES, 1))
    assert event.request is first
    [event] = link.feed(raw(0x0107, ATTRIBUTES, 2))
    assert event.request is second


def test_accepted_first_then_the_special_answer():
    link = Link(first_timeout_s=10.0)
    request, [(header, _)] = ask(link, QueryAttributes())
    assert link.feed(general(header.serial, 0x8107), 1.0) == [Accepted(request)]
    assert link.tick(11.0) == []
    assert link.sent() == []  # accepted requests are not repeated
    [event] = link.feed(raw(0x0107, ATTRIBUTES, 2), 20.0)
    assert event.request is request


def test_accepted_and_then_nothing():
    link = Link(first_timeout_s=10.0)
    request, [(header, _)] = ask(link, QueryAttributes())
    link.feed(general(header.serial, 0x8107), 1.0)
    assert link.tick(30.9) == []
    assert link.tick(31.0) == [Failed(request, "unfinished", 0)]


def test_repeats_keep_their_serial_and_the_pauses_grow():
    link = Link(first_timeout_s=10.0, repeats=2)
    request, [(header, body)] = ask(link, LinkCheck())
    times = []
    events = []
    for now in range(1, 60):
        if now % 7 == 0:
            link.feed(raw(0x0002, b"", now), float(now))
        events += [(now, e) for e in link.tick(float(now))]
        times += [now for h, b in link.sent() if (h.msg_id, h.serial, b) == (0x8204, header.serial, body)]
    # T(1) = T(0) x 1 = 10, T(2) = T(1) x 2 = 20
    assert times == [10, 20]
    assert events == [(40, Failed(request, "no reply", 0))]


def test_a_time_limit_cuts_the_repeats_off():
    link = Link(first_timeout_s=10.0)
    request, _ = ask(link, LinkCheck(), timeout_s=15.0)
    link.tick(10.0)
    assert len(link.sent()) == 1
    assert link.session.next_deadline() == 15.0
    assert link.tick(15.0) == [Failed(request, "no reply", 0)]


def test_a_late_answer_of_a_failed_request_is_told_as_such_and_a_second_one_as_repeated():
    link = Link()
    _request, [(header, _)] = ask(link, LinkCheck(), timeout_s=1.0)
    link.tick(1.0)
    answer = general(header.serial, 0x8204)
    assert link.feed(answer, 2.0) == [Strayed(Stray("late", 0x8204, 0x0001, 1.0))]
    assert link.feed(general(header.serial, 0x8204, serial=900), 2.5) == [Strayed(Stray("repeated", 0x8204, 0x0001, 1.5))]


def test_the_end_of_the_link_fails_what_waits():
    link = Link()
    request, _ = ask(link, LinkCheck())
    link.session.end("replaced")
    assert link.session.events() == [Failed(request, "closed", 0), Ended("replaced")]
    link.session.end("again")
    assert link.session.events() == []


def test_a_cancelled_request_says_nothing():
    link = Link()
    request, [(header, _)] = ask(link, LinkCheck())
    link.session.cancel(request)
    assert link.feed(general(header.serial, 0x8204)) == []


def test_requests_are_bounded():
    link = Link()
    for _ in range(64):
        link.session.request(LinkCheck(), 0.0)
    with pytest.raises(BusyError, match="64 requests"):
        link.session.request(LinkCheck(), 0.0)


def test_a_serial_that_still_waits_is_not_given_out_again():
    link = Link()
    link.session._next_serial = 5
    ask(link, LinkCheck(), timeout_s=1000.0)
    link.session._next_serial = 5
    link.feed(raw(0x0002, b"", 1))
    [(header, _)] = link.sent()
    assert header.serial == 6


def test_a_special_answer_that_cannot_be_read_ends_the_request_with_the_problem():
    link = Link()
    _, [(_header, _)] = ask(link, QueryAttributes())
    [event] = link.feed(raw(0x0107, b"\x00", 1))
    assert isinstance(event, Replied)
    assert event.message is None
    assert "TerminalAttributes" in event.problem


# ---- sub-packages -----------------------------------------------------------------------------------------------------


def pieces(msg_id: int, bodies: list[bytes], first: int = 40, which: list[int] | None = None, version: int | None = None) -> bytes:
    out = b""
    for i in which or range(1, len(bodies) + 1):
        phone = PHONE if version is None else PHONE19
        out += raw(msg_id, bodies[i - 1], first + i - 1, phone, version, package_total=len(bodies), package_index=i)
    return out


def test_every_piece_is_acknowledged_and_the_message_comes_once():
    link = Link()
    events = link.feed(pieces(0x0704, [b"\x00\x01\x00\x00", b"\x1c" + LOCATION[:10], LOCATION[10:]]))
    assert link.answers() == [(40, 0x0704, 0), (41, 0x0704, 0), (42, 0x0704, 0)]
    [event] = events
    assert event.header.serial == 40
    assert event.body == b"\x00\x01\x00\x00\x1c" + LOCATION


def test_pieces_of_a_special_answer_are_acknowledged_and_joined():
    link = Link()
    link.session._next_serial = 5
    request, _ = ask(link, QueryParameters(param_ids=[1]))
    body = struct.pack(">HB", 5, 1) + struct.pack(">IBI", 1, 4, 60)
    events = link.feed(pieces(0x0104, [body[:6], body[6:]]))
    assert [type(e) for e in events] == [Replied]
    assert events[0].request is request
    assert events[0].message.fields() == {"reply_serial": 5, "params": [{"id": 1, "value": 60}]}
    assert [a[0] for a in link.answers()] == [40, 41]


@pytest.mark.parametrize(("version", "expected"), [(None, bytes.fromhex("0028 01 0002")), (1, bytes.fromhex("0028 0001 0002"))])
def test_missing_pieces_are_asked_for_in_the_edition_of_the_terminal(version, expected):
    link = Link()
    link.feed(pieces(0x0704, [b"a", b"b", b"c"], which=[1, 3], version=version), 10.0)
    link.sent()
    link.tick(11.0)
    [(header, body)] = link.sent()
    assert (header.msg_id, body) == (0x8003, expected)


def test_missing_pieces_of_a_photo_are_asked_for_by_its_media_id():
    link = Link()
    photo = [b"\x00\x00\x00\x09" + bytes(32), b"more", b"rest"]
    link.feed(pieces(0x0801, photo, which=[1, 3]), 10.0)
    link.sent()
    link.tick(11.0)
    [(header, body)] = link.sent()
    assert (header.msg_id, body) == (0x8800, bytes.fromhex("00000009 01 0002"))
    link.feed(pieces(0x0801, photo, which=[2]), 12.0)
    [(ack, _), (header, body)] = link.sent()
    assert ack.msg_id == 0x8001
    assert (header.msg_id, body) == (0x8800, bytes.fromhex("00000009"))


def test_a_whole_photo_is_answered_by_0x8800():
    link = Link()
    link.feed(raw(0x0801, b"\x00\x00\x00\x07" + bytes(40), 3))
    [(header, body)] = link.sent()
    assert (header.msg_id, body) == (0x8800, bytes.fromhex("00000007"))


def test_impossible_piece_numbers_are_a_message_error():
    link = Link()
    [event] = link.feed(raw(0x0704, b"x", 3, package_total=2, package_index=9))
    assert isinstance(event, Broken)
    assert link.answers() == [(3, 0x0704, 2)]


def test_one_of_one_is_a_whole_message():
    link = Link()
    [event] = link.feed(raw(0x0200, LOCATION, 3, package_total=1, package_index=1))
    assert event.message is not None
    assert link.answers() == [(3, 0x0200, 0)]


def test_an_unfinished_message_is_given_up_and_told():
    link = Link(subpackages=SubpackageLimits(timeout_s=60.0))
    link.feed(pieces(0x0704, [b"a", b"b", b"c"], which=[1]), 0.0)
    link.feed(raw(0x0002, b"", 1), 59.0)
    events = link.tick(60.0)
    assert [e for e in events if isinstance(e, GaveUp)] == [GaveUp(0x0704, "1 of 3 sub-packages of 0x0704: timeout")]


def test_pieces_before_authentication_are_not_kept():
    link = Link(ready=False)
    link.feed(pieces(0x0801, [bytes(900)] * 5))
    assert {a[2] for a in link.answers()} == {1}
    assert link.session._parts is None


class LongMessage(Body):
    """Stands for what has to be sent in pieces."""

    KEY = 0x8103

    def encode(self, edition: int = 0) -> bytes:
        return bytes(i & 0xFF for i in range(2500))


def test_long_messages_go_out_in_pieces_and_are_repeated_on_request():
    link = Link()
    link.session._next_serial = 0xFFFF
    request = link.session.request(LongMessage(), 0.0)
    frames = link.session.frames_to_send()
    headers = [decode_frame(f.strip(FLAG))[0] for f in frames]
    assert [(h.serial, h.package_total, h.package_index) for h in headers] == [(0xFFFF, 3, 1), (0, 3, 2), (1, 3, 3)]
    link.feed(raw(0x0005, struct.pack(">HHHH", 0xFFFF, 2, 3, 1), 6))
    assert link.session.frames_to_send() == [frames[2], frames[0]]
    for serial in (0xFFFF, 0):
        assert link.feed(general(serial, 0x8103)) == []
    [event] = link.feed(general(1, 0x8103))
    assert isinstance(event, Replied)
    assert event.request is request


def test_one_acknowledgement_for_all_pieces_is_enough():
    link = Link(first_timeout_s=10.0, repeats=0)
    request = link.session.request(LongMessage(), 0.0)
    link.feed(general(request.serial, 0x8103), 1.0)
    [event] = link.tick(10.0)
    assert event == Replied(request, None, None, b"", "")


def test_pieces_nobody_has_are_refused():
    link = Link()
    link.feed(raw(0x0005, struct.pack(">HHH", 77, 1, 1), 6))
    assert link.answers() == [(6, 0x0005, 1)]


# ---- the terminal's side ------------------------------------------------------------------------------------------------


def pump(terminal: Session, platform: Session, now: float = 0.0) -> None:
    for _ in range(4):
        platform.receive(terminal.bytes_to_send(), now)
        terminal.receive(platform.bytes_to_send(), now)


@pytest.mark.parametrize(("phone", "edition"), [(PHONE, 2013), (PHONE19, 2019)])
def test_both_sides_together(phone, edition):
    terminal = Session(Role.TERMINAL, SessionOptions(register_timeout_s=1e9), 0.0, phone, edition)
    platform = Session(Role.PLATFORM, SessionOptions(), 0.0)
    asked = terminal.request(registration(), 0.0)
    pump(terminal, platform)
    [event] = platform.events()
    platform.registered(event.header, 0, "c0de", 0.0)
    pump(terminal, platform)
    [event] = terminal.events()
    assert event.request is asked
    assert isinstance(event.message, RegistrationResponse)
    assert event.message.auth_code == "c0de"
    terminal.request(Authentication(auth_code="c0de", imei="1" * 15, software_version="1"), 1.0)
    pump(terminal, platform)
    [event] = platform.events()
    platform.authenticated(event.header, True, 1.0)
    pump(terminal, platform)
    [event] = terminal.events()
    assert isinstance(event.message, GeneralResponse)
    terminal.request(Heartbeat(), 2.0)
    asked = platform.request(LinkCheck(), 2.0)
    pump(terminal, platform)
    events = terminal.events()
    [command] = [e for e in events if isinstance(e, Received)]
    assert command.wants_answer
    terminal.answer(command.header)
    pump(terminal, platform)
    assert any(isinstance(e, Replied) and e.request is asked for e in platform.events())


def test_the_terminal_repeats_pieces_for_0x8003():
    terminal = Session(Role.TERMINAL, SessionOptions(), 0.0, PHONE, 2013)
    platform = Link()
    serial = terminal.send(LongMessage(), 0.0)
    frames = terminal.frames_to_send()
    platform.feed(frames[0] + frames[2], 0.0)
    platform.session.frames_to_send()
    platform.tick(1.0)
    [ask_again] = platform.session.frames_to_send()
    assert decode_frame(ask_again.strip(FLAG))[1][:2] == struct.pack(">H", serial)
    terminal.receive(ask_again, 1.0)
    assert terminal.frames_to_send() == [frames[1]]


def test_the_registry_knows_what_the_tests_use():
    assert MESSAGES.get(0x8107) is QueryAttributes


def _list_pieces(reply_serial: int, total: int) -> list[bytes]:
    """A 0x1205 in so many pieces: the first names the request, none of the others does."""
    bodies = [struct.pack(">HI", reply_serial, 0)] + [b""] * (total - 1)
    return [raw(0x1205, body, 500 + i, package_total=total, package_index=i + 1) for i, body in enumerate(bodies)]


def test_the_time_limit_of_a_request_moves_on_while_pieces_of_its_answer_arrive():
    link = Link(subpackages=SubpackageLimits(timeout_s=20.0))
    request = link.session.request(ResourceQuery(channel=1), 0.0, timeout_s=10.0)
    pieces = _list_pieces(request.serial, 6)
    for i, piece in enumerate(pieces[:-1]):
        link.feed(piece, 9.0 + 15.0 * i)
        assert not [e for e in link.tick(9.0 + 15.0 * i + 14.9) if isinstance(e, Failed)]
    assert request.repeats == 0  # it is not asked again while it answers
    [done] = [e for e in link.feed(pieces[-1], 84.0) if isinstance(e, Replied)]
    assert done.request is request


def test_a_request_whose_answers_pieces_stop_is_incomplete():
    link = Link(subpackages=SubpackageLimits(timeout_s=20.0))
    request = link.session.request(ResourceQuery(channel=1), 0.0, timeout_s=10.0)
    other = link.session.request(ResourceQuery(channel=2), 0.0, timeout_s=10.0)
    for piece in _list_pieces(request.serial, 3)[:2]:
        link.feed(piece, 5.0)
    assert [(e.request, e.reason) for e in link.tick(10.0) if isinstance(e, Failed)] == [(other, "no reply")]  # only the one that is answered waits on
    assert [(e.request, e.reason) for e in link.tick(25.0) if isinstance(e, Failed)] == [(request, "incomplete")]
