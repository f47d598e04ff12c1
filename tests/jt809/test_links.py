"""The two links of JT/T 809, sans I/O: chapter 3 of the facts, message by message, byte by byte."""

from __future__ import annotations

from typing import Any

import pytest

from relay.jt809 import framing
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import decode_body
from relay.jt809.header import Header, decode_frame, encode_frame
from relay.jt809.link import (
    Broken,
    Ended,
    KeptAlive,
    Link,
    LinkOptions,
    LoggedIn,
    LoginRefused,
    PeerCloses,
    Phase,
    Received,
    Serials,
    SubLinkLost,
    SubLoggedIn,
)
from relay.jt809.mainlink import LEAVE_S, MainLink
from relay.jt809.messages.link import LoginAnswer
from relay.jt809.sublink import Candidate, SubLink
from tests.shared import load_vectors

KEYS = CipherKeys(30000000, 20000000, 20000000)
OLD = LinkOptions(access_code=44030001, user_id=10001, password="12345678", down_link_ip="192.168.1.20", down_link_port=9000)
NEW = LinkOptions(edition=2019, access_code=44030002, user_id=7, password="secret", keys=KEYS, encrypt=True, down_link_ip="a.example", down_link_port=1)


def frame(options: LinkOptions, msg_id: int, body: bytes = b"", sn: int = 0, encrypt: bool | None = None, code: int | None = None) -> bytes:
    """What the superior would send."""
    flag = options.encrypt if encrypt is None else encrypt
    header = Header(msg_id, sn, options.access_code if code is None else code, encrypt_flag=int(flag and bool(body)), encrypt_key=99, edition=options.edition)
    return encode_frame(header, body, options.keys)


def sent(link: Link) -> list[tuple[Header, Any]]:
    """What the link wants written."""
    return parsed(link.bytes_to_send(), link.options)


def parsed(data: bytes, options: LinkOptions) -> list[tuple[Header, Any]]:
    found = []
    for one in framing.Deframer().feed(data):
        header, body, _ = decode_frame(one, options.edition, options.keys)
        found.append((header, decode_body(header.msg_id, body, options.body).data))
    return found


def main_link(options: LinkOptions = OLD, up: bool = True) -> MainLink:
    link = MainLink(options, Serials(options.edition), 0.0, epoch=1_700_000_000.0)
    link.login(0.0)
    if up:
        link.bytes_to_send()
        link.receive(frame(options, 0x1002, LoginAnswer(result=0, verify_code=77).encode()), 0.0)
        assert link.events() == [LoggedIn(77)]
    return link


def sub_link(options: LinkOptions = OLD, code: int | None = 77, up: bool = True) -> SubLink:
    link = SubLink([Candidate("a", options, Serials(options.edition), lambda: code)], 0.0)
    if up:
        link.receive(frame(options, 0x9001, (77).to_bytes(4, "big")), 0.0)
        assert link.events() == [SubLoggedIn("a")]
        link.bytes_to_send()
    return link


def test_the_login_is_the_standards_own_frame() -> None:
    vector = next((v for v in load_vectors("jt809") if v["id"] == "jt809-1001-2011-frame-003"), None)
    if vector is None:
        pytest.skip("shared/vectors/jt809.jsonl is not there")
    link = main_link(up=False)
    ours = link.bytes_to_send()
    theirs = bytes.fromhex(vector["hex"])
    # all but the serial number (ours begins at 0) and with it the CRC
    header, body, _ = decode_frame(ours, 2011)
    assert (header.msg_id, header.msg_gnsscenterid, body) == (0x1001, 44030001, decode_frame(theirs, 2011)[1])


def test_a_2019_login_carries_the_access_code_and_the_time_and_is_encrypted() -> None:
    ((header, login),) = sent(main_link(NEW, up=False))
    assert (header.encrypt_flag, header.time, login.msg_gnsscenterid, login.password) == (1, 1_700_000_000, 44030002, "secret")


@pytest.mark.parametrize("result", [1, 2, 3, 4, 5, 6, 0xFF])
def test_every_refusal_ends_the_link_and_says_which(result: int) -> None:
    link = main_link(up=False)
    link.receive(frame(OLD, 0x1002, bytes((result,)) + bytes(4)), 1.0)
    refused, ended = link.events()
    assert isinstance(refused, LoginRefused) and refused.result == result and str(result) in refused.reason
    assert isinstance(ended, Ended) and link.phase is Phase.CLOSED and link.next_deadline() is None


@pytest.mark.parametrize("options", [OLD, NEW], ids=["2011", "2019 encrypted"])
def test_byte_by_byte_is_the_same(options: LinkOptions) -> None:
    link = main_link(options, up=False)
    stream = frame(options, 0x1002, bytes((0, 0, 0, 0, 9))) + frame(options, 0x9007, b"\x01") + frame(options, 0x1006)
    for at in range(len(stream)):
        link.receive(stream[at : at + 1], 0.5)
    assert link.events() == [LoggedIn(9), SubLinkLost(1), KeptAlive()]


def test_no_answer_to_the_login() -> None:
    link = main_link(up=False)
    assert link.next_deadline() == 20.0
    link.tick(19.9)
    assert link.events() == []
    link.tick(20.0)
    assert link.events() == [Ended("no login within 20 s")]


def test_keep_alive_every_minute_and_dead_after_three() -> None:
    link = main_link()
    assert link.next_deadline() == 60.0
    link.tick(60.0)
    assert [header.msg_id for header, _ in sent(link)] == [0x1005]
    link.tick(120.0)
    link.tick(179.0)
    assert link.events() == [] and link.phase is Phase.UP
    link.tick(180.0)
    assert link.events() == [Ended("nothing from the superior for 180 s")]


def test_any_good_frame_is_life_but_noise_is_not() -> None:
    link = main_link()
    link.receive(frame(OLD, 0x1006), 100.0)
    link.receive(b"noise" * 10, 150.0)
    broken = bytearray(frame(OLD, 0x1006))
    broken[-2] ^= 1
    link.receive(bytes(broken), 151.0)
    assert link.next_deadline() == 60.0
    link.tick(279.0)
    assert link.phase is Phase.UP
    link.tick(280.0)
    assert link.phase is Phase.CLOSED
    assert link.errors["bad_crc"] == 1 and link.errors["garbage"] == 50


def test_what_a_keep_alive_confirms() -> None:
    link = main_link()
    link.send_body(0x1200, 0x1202, bytes(64), 1.0)
    link.probe(2.0)
    upto = link.bytes_out
    link.send_body(0x1200, 0x1202, bytes(64), 3.0)
    link.receive(frame(OLD, 0x1006), 4.0)
    assert link.confirmed == upto < link.bytes_out


def test_logout() -> None:
    link = main_link()
    link.logout(10.0)
    ((header, logout),) = sent(link)
    assert (header.msg_id, logout.user_id, link.phase) == (0x1003, 10001, Phase.LEAVING)
    link.receive(frame(OLD, 0x1004), 11.0)
    assert link.events() == [Ended("logged out")]


def test_a_logout_that_nobody_answers_ends_all_the_same() -> None:
    link = main_link()
    link.logout(10.0)
    assert link.next_deadline() == 10.0 + LEAVE_S
    link.tick(15.0)
    assert link.events() == [Ended("logged out; 0x1003 was not answered")]


def test_the_superior_closes() -> None:
    link = main_link()
    link.receive(frame(OLD, 0x9008, b"\x00") + frame(OLD, 0x1006), 1.0)
    closes, ended = link.events()
    assert closes == PeerCloses(0, 0x9008) and isinstance(ended, Ended)


def test_keep_alives_of_the_other_link_are_answered_where_they_came() -> None:
    link = main_link()
    link.receive(frame(OLD, 0x9005) + frame(OLD, 0x1005), 1.0)
    assert [header.msg_id for header, _ in sent(link)] == [0x9006, 0x1006]
    sub = sub_link()
    sub.receive(frame(OLD, 0x1006) + frame(OLD, 0x9005) + frame(OLD, 0x1005), 1.0)
    assert sub.events() == [KeptAlive()]
    assert [header.msg_id for header, _ in sent(sub)] == [0x9006, 0x1006]


def test_business_before_the_login_and_out_of_place() -> None:
    link = main_link(up=False)
    link.receive(frame(OLD, 0x9300, bytes.fromhex("930200000000")) + frame(OLD, 0x1004) + frame(OLD, 0x9001, bytes(4)), 1.0)
    assert [event.reason for event in link.events() if isinstance(event, Broken)] == ["body", "out_of_place", "out_of_place"]
    link.receive(frame(OLD, 0x7777, b"x"), 1.0)
    assert link.errors["not_logged_in"] == 1 and link.phase is Phase.NEW


def test_an_unknown_message_is_received_raw_and_costs_nothing() -> None:
    link = main_link()
    link.receive(frame(OLD, 0x7777, b"xyz"), 1.0)
    (event,) = link.events()
    assert isinstance(event, Received) and (event.business.form, event.business.raw) == ("?", b"xyz")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda raw: raw[:-3] + b"\x5a\x07" + raw[-1:], "bad_escape"),
        (lambda raw: raw[:-2] + bytes((raw[-2] ^ 1,)) + raw[-1:], "bad_crc"),
        (lambda raw: raw[:10] + raw[-1:], "truncated"),
    ],
)
def test_a_broken_frame_costs_that_frame(spoil: Any, reason: str) -> None:
    link = main_link()
    link.receive(spoil(frame(OLD, 0x9007, b"\x00")) + frame(OLD, 0x1006), 1.0)
    assert link.events()[-1] == KeptAlive()
    assert link.errors[reason] == 1


def test_an_oversized_frame_is_dropped_in_bounded_memory() -> None:
    link = MainLink(LinkOptions(max_frame=1000), Serials(2011), 0.0)
    for _ in range(100):
        link.receive(b"\x5b" + bytes(900), 0.0)
    assert link.errors["oversize"] + link.errors["cut"] > 0
    link.receive(b"\x5b" + bytes(5000) + b"\x5d", 0.0)
    assert link.errors["oversize"] >= 1


def test_an_encrypted_frame_without_keys_is_counted() -> None:
    link = main_link()
    link.receive(frame(NEW, 0x9007, b"\x00"), 1.0)
    assert link.phase is Phase.UP and sum(link.errors.values()) == 1


def test_plain_frames_are_read_on_an_encrypted_link() -> None:
    link = main_link(NEW)
    link.receive(frame(NEW, 0x9007, b"\x00", encrypt=False), 1.0)
    assert link.events() == [SubLinkLost(0)]


def test_serial_numbers_run_for_the_platform_in_2011_and_for_each_kind_in_2019() -> None:
    old, new = Serials(2011), Serials(2019)
    assert [old.next(kind) for kind in (0x1001, 0x1202, 0x1202)] == [0, 1, 2]
    assert [new.next(kind) for kind in (0x1001, 0x1202, 0x1202)] == [0, 0, 1]
    assert new.last() == {0x1001: 0, 0x1202: 1}


# -- the subordinate link


@pytest.mark.parametrize("options", [OLD, NEW], ids=["2011", "2019 encrypted"])
def test_the_right_code_opens_the_subordinate_link(options: LinkOptions) -> None:
    link = sub_link(options, up=False)
    for byte in frame(options, 0x9001, (77).to_bytes(4, "big")):
        link.receive(bytes((byte,)), 1.0)
    assert link.events() == [SubLoggedIn("a")]
    ((header, answer),) = sent(link)
    assert (header.msg_id, answer.result) == (0x9002, 0)


@pytest.mark.parametrize("code", [78, None])
def test_a_wrong_code_or_no_main_link_is_answered_1_and_closed(code: int | None) -> None:
    link = sub_link(code=code, up=False)
    link.receive(frame(OLD, 0x9001, (77).to_bytes(4, "big")), 1.0)
    ((_, answer),) = sent(link)
    refused, ended = link.events()
    assert answer.result == 1 and isinstance(refused, LoginRefused) and isinstance(ended, Ended)


def test_a_connection_that_does_not_log_in_is_closed() -> None:
    link = sub_link(up=False)
    link.receive(frame(OLD, 0x9005), 1.0)
    assert link.errors["out_of_place"] == 1
    link.tick(20.0)
    assert isinstance(link.events()[-1], Ended)


def test_logging_in_again_does_not_harm_the_link() -> None:
    link = sub_link()
    link.receive(frame(OLD, 0x9001, (77).to_bytes(4, "big")) + frame(OLD, 0x9001, bytes(4)), 1.0)
    assert [answer.result for _, answer in sent(link)] == [0, 1]
    assert link.phase is Phase.UP and link.errors["verify_code"] == 1


def test_the_superior_logs_out_of_the_subordinate_link() -> None:
    link = sub_link()
    link.receive(frame(OLD, 0x9003, bytes(4)), 1.0)
    assert link.phase is Phase.UP
    link.receive(frame(OLD, 0x9003, (77).to_bytes(4, "big")), 1.0)
    assert [header.msg_id for header, _ in sent(link)] == [0x9004]
    assert PeerCloses(0, 0x9003) in link.events() and link.phase is Phase.CLOSED


def test_superiors_that_share_a_port_are_told_apart() -> None:
    same = LinkOptions(access_code=OLD.access_code)
    codes = {"a": 77, "b": 78, "c": 79}
    who = [("a", OLD), ("b", NEW), ("c", same)]
    for name, options in who:
        candidates = [Candidate(one, its, Serials(its.edition), lambda one=one: codes[one]) for one, its in who]  # type: ignore[misc]
        link = SubLink(candidates, 0.0)
        link.receive(frame(options, 0x9001, codes[name].to_bytes(4, "big")), 1.0)
        assert link.events() == [SubLoggedIn(name)]
    link = SubLink(candidates, 0.0)
    link.receive(frame(OLD, 0x9001, (77).to_bytes(4, "big"), code=1), 1.0)
    assert [event.reason for event in link.events() if isinstance(event, Broken)] == ["access_code"]
    link.receive(frame(OLD, 0x9001, (80).to_bytes(4, "big")), 1.0)
    assert isinstance(link.events()[0], LoginRefused)


# -- the vectors through the links

VECTORS = [v for v in load_vectors("jt809") if v["kind"] in ("frame", "stream")]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_vectors_through_a_link(vector: dict[str, Any]) -> None:
    """What a superior sends arrives as it is; what is malformed is counted and nothing else happens."""
    keys = CipherKeys(**vector["crypto"]) if "crypto" in vector else None
    options = LinkOptions(edition=int(vector["version"]), keys=keys)
    raw = bytes.fromhex(vector["hex"])
    for portions in ([raw], [raw[at : at + 1] for at in range(len(raw))], [raw[: len(raw) // 2], raw[len(raw) // 2 :]]):
        link = main_link(options)
        for portion in portions:
            link.receive(portion, 1.0)
        link.receive(frame(options, 0x1006, encrypt=False), 1.0)
        events = link.events()
        if vector.get("expect") == "reject":
            assert not any(isinstance(event, Received) for event in events) and link.errors
            assert events[-1] == KeptAlive() or isinstance(events[-1], Broken)
        elif vector["kind"] == "frame":
            header = vector["fields"]["header"]
            if header["msg_id"] in (*range(0x1001, 0x1009), *range(0x9001, 0x9009)):
                continue  # link messages have their own tests
            received = [event for event in events if isinstance(event, Received)]
            assert [event.business.fields() for event in received] == [vector["fields"]["body"]]
            assert received[0].header.msg_sn == header["msg_sn"]
        assert link.phase is not Phase.NEW


def test_a_kept_keystream_is_the_same_cipher() -> None:
    from relay.jt809.cipher import Keystream, apply

    stream = Keystream(KEYS, 256178)
    assert stream.apply(bytes(range(1, 8))).hex() == "d34c7078a73a41"
    for size in (0, 1, 300, 7, 1000):
        data = bytes(at & 0xFF for at in range(size))
        assert stream.apply(data) == apply(KEYS, 256178, data)


def test_keys_change_and_every_frame_can_be_read() -> None:
    link = main_link(NEW)
    for number in range(200):
        link.send_body(0x1200, 0x1202, bytes((number,)) * (number + 1), 1.0)
    seen = set()
    for number, one in enumerate(framing.Deframer().feed(link.bytes_to_send())):
        header, body, _ = decode_frame(one, 2019, KEYS)
        assert body == bytes((number,)) * (number + 1)
        seen.add(header.encrypt_key)
    assert len(seen) in (3, 4, 5)
