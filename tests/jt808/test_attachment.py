"""The attachment connection: frames and chunks in one stream, coverage, answers, limits."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.jt808.attachment import (
    AttachmentLimits,
    AttachmentLink,
    ChunkCame,
    Coverage,
    Data,
    Event,
    FileComplete,
    LinkFailed,
    ListCame,
    MessageCame,
)
from relay.jt808.framing import MAX_PIECE
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages import decode_message
from relay.jt808.messages.safety import AttachmentFile, AttachmentList, FileBegin, FileEnd
from relay.jt808.safety import AlarmSign
from tests.jt808.vectors import SAFETY

PHONE = "013900001234"
SIGN = AlarmSign(terminal_id="A1B2C3D", time="250601120000", serial=2, attachment_count=1, reserved=b"\0")


def frame(body: Any, serial: int = 1) -> bytes:
    return Header(body.msg_id, PHONE, serial).encode(body.encode(2013))


def listing(*files: tuple[str, int]) -> bytes:
    return frame(
        AttachmentList(
            terminal_id="A1B2C3D",
            alarm_sign=SIGN,
            alarm_number="N1",
            info_type=0,
            files=[AttachmentFile(file_name=name, file_size=size) for name, size in files],
        )
    )


def begin(name: str, size: int) -> bytes:
    return frame(FileBegin(file_name=name, file_type=0, file_size=size), 2)


def end(name: str, size: int) -> bytes:
    return frame(FileEnd(file_name=name, file_type=0, file_size=size), 3)


def chunk(name: str, offset: int, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"01cd" + name.encode().ljust(50, b"\0")[:50] + offset.to_bytes(4, "big") + size.to_bytes(4, "big") + body


def answers(link: AttachmentLink) -> list[dict[str, Any]]:
    found = []
    for piece in link.bytes_to_send().split(b"\x7e"):
        if piece:
            header, body = decode_frame(piece)
            found.append({"id": header.msg_id, "serial": header.serial, **decode_message(header, body).fields()})
    return found


def content(events: list[Event], size: int) -> bytes:
    whole = bytearray(size)
    for event in events:
        if isinstance(event, Data):
            whole[event.offset : event.offset + len(event.data)] = event.data
    return bytes(whole)


@pytest.mark.shared
@pytest.mark.skipif(not SAFETY, reason="the shared vectors are not there")
@pytest.mark.parametrize("portion", [0, 1, 7, 61])
def test_the_streams_of_the_vectors_in_any_portions(portion: int) -> None:
    for vector in SAFETY:
        if vector["kind"] != "stream":
            continue
        wanted = vector["fields"]
        raw = bytes.fromhex(vector["hex"])
        link = AttachmentLink(vector["dialect"])
        sent, events = [], []
        for at in range(0, len(raw), portion or len(raw)):
            link.receive(raw[at : at + (portion or len(raw))])
            events += link.events()
            sent += answers(link)
        link.finish()
        events += link.events()
        units = []
        for event in events:
            if isinstance(event, MessageCame):
                name = getattr(event.body, "file_name", None)
                units.append({"msg_id": event.header.msg_id, "serial_no": event.header.serial, **({"file_name": name} if name else {})})
            elif isinstance(event, ChunkCame):
                units.append({"file_name": event.name, "offset": event.offset, "length": event.length, **({"error": event.error} if event.error else {})})
        assert units == wanted["units"], vector["id"]
        files = []
        for file in link.files.values():
            one: dict[str, Any] = {"file_name": file.name, "file_size": file.size, "received": [list(part) for part in file.received.ranges]}
            one["complete"] = file.complete
            if file.complete:
                mine = [event for event in events if isinstance(event, Data) and event.file is file]
                one["content"] = content(mine, file.size).hex()
            files.append(one)
        assert files == wanted["files"], vector["id"]
        assert (link.failed.reason if link.failed else None) == wanted.get("error")
        if "replies" in wanted:
            got = [{("msg_id" if key == "id" else key): value for key, value in one.items() if key != "serial"} for one in sent]
            assert got == wanted["replies"], vector["id"]
            assert [one["serial"] for one in sent] == list(range(len(sent)))


def test_the_dialect_with_a_length_before_the_name_is_told_by_its_list() -> None:
    for vector in SAFETY:
        if vector["kind"] == "stream" and vector["dialect"] == "heilongjiang":
            link = AttachmentLink()
            link.receive(bytes.fromhex(vector["hex"]))
            assert [file.complete for file in link.files.values()] == [True]


def test_a_file_from_its_list_to_its_last_byte() -> None:
    link = AttachmentLink()
    link.receive(listing(("a.jpg", 6)) + begin("a.jpg", 6) + chunk("a.jpg", 3, b"def") + end("a.jpg", 6))
    assert [one["id"] for one in answers(link)] == [0x8001, 0x8001, 0x9212]
    link.receive(chunk("a.jpg", 0, b"abc"))
    events = link.events()
    assert isinstance(events[1], ListCame)
    assert isinstance(events[-1], FileComplete)
    assert content(events, 6) == b"abcdef"
    link.receive(end("a.jpg", 6))
    (answer,) = answers(link)
    assert (answer["upload_result"], answer["ranges"]) == (0, [])
    link.finish()
    assert link.failed is None


def test_missing_ranges_are_asked_for_and_in_the_end_given_up() -> None:
    link = AttachmentLink(limits=AttachmentLimits(rounds=2))
    link.receive(listing(("a", 10)) + chunk("a", 2, b"xx") + chunk("a", 6, b"x"))
    answers(link)
    for wanted in (1, 1, 0):
        link.receive(end("a", 10))
        (answer,) = answers(link)
        assert answer["upload_result"] == wanted
        lacking = [{"offset": 0, "length": 2}, {"offset": 4, "length": 2}, {"offset": 7, "length": 3}]
        assert answer["ranges"] == (lacking if wanted else [])
    file = link.files[b"a"]
    assert (file.complete, file.given_up) == (False, True)


def test_more_ranges_than_fit_come_in_rounds() -> None:
    link = AttachmentLink()
    name = "n" * 50
    link.receive(listing((name, 1000)) + b"".join(chunk(name, at, b"x") for at in range(1, 1000, 2)))
    answers(link)
    link.receive(end(name, 1000))
    (answer,) = answers(link)
    assert len(answer["ranges"]) == (1019 - 50) // 8


def test_sizes_may_disagree_and_the_latest_counts() -> None:
    link = AttachmentLink()
    link.receive(listing(("v.mp4", 0)) + begin("v.mp4", 4) + chunk("v.mp4", 0, b"abcd"))
    assert link.files[b"v.mp4"].complete
    link = AttachmentLink()
    link.receive(listing(("v", 8)) + chunk("v", 0, b"abcd") + end("v", 2))
    assert link.files[b"v"].size == 8
    link.receive(end("v", 4))
    assert link.files[b"v"].complete


def test_an_empty_file_is_complete_when_the_terminal_says_it_was_sent() -> None:
    link = AttachmentLink()
    link.receive(listing(("e.txt", 0)))
    assert not link.files[b"e.txt"].complete
    link.receive(end("e.txt", 0))
    assert link.files[b"e.txt"].complete


def test_the_end_of_an_unknown_file_is_answered_so_that_it_is_not_repeated() -> None:
    link = AttachmentLink()
    link.receive(listing(("a", 1)) + end("who.jpg", 9))
    assert answers(link)[-1] == {"id": 0x9212, "serial": 1, "file_name": "who.jpg", "file_type": 0, "upload_result": 0, "ranges": []}


def test_a_chunk_of_four_gigabytes_is_refused_at_its_head() -> None:
    link = AttachmentLink()
    link.receive(listing(("a", 8)) + chunk("a", 0, b"", 0xFFFFFFFF) + b"x" * 100)
    assert link.failed == LinkFailed("chunk_length", "4294967295 bytes are more than the limit of 1048576")
    link.receive(b"more")
    assert link.next_deadline() is None


def test_offset_and_length_are_added_without_wrapping() -> None:
    link = AttachmentLink()
    link.receive(listing(("a", 0xFFFFFFFF)) + chunk("a", 0xFFFFFFFF, b"xx"))
    assert [event.error for event in link.events() if isinstance(event, ChunkCame)] == ["file_limit"]
    link = AttachmentLink(limits=AttachmentLimits(file_bytes=1 << 32))
    link.receive(listing(("a", 0xFFFFFFFF)) + chunk("a", 0xFFFFFFFF, b"xx"))
    assert [event.error for event in link.events() if isinstance(event, ChunkCame)] == ["range"]


def test_bytes_that_are_no_unit_close_the_link() -> None:
    link = AttachmentLink()
    link.receive(listing(("a", 1)) + b"GET / HTTP/1.1\r\n")
    assert link.failed is not None
    assert link.failed.reason == "sync"
    link = AttachmentLink()
    link.receive(b"\x7e" + b"x" * (MAX_PIECE + 2))
    assert link.failed is not None
    assert link.failed.reason == "too_long"


def test_a_frame_with_a_wrong_checksum_costs_only_itself() -> None:
    bad = bytearray(listing(("a", 1)))
    bad[-2] ^= 1
    link = AttachmentLink()
    link.receive(bytes(bad) + b"\x7e" + listing(("a", 1)))
    assert (link.bad_frames, list(link.files)) == (1, [b"a"])


def test_a_list_that_cannot_be_read_is_answered_with_message_error() -> None:
    link = AttachmentLink()
    link.receive(Header(0x1210, PHONE, 9).encode(b"\x01" * 60))
    (answer,) = answers(link)
    assert (answer["reply_msg_id"], answer["result"]) == (0x1210, 2)


def test_only_asked_for_lists_are_admitted() -> None:
    link = AttachmentLink(admit=lambda header, message: message.alarm_number == "other")
    link.receive(listing(("a", 1)))
    assert answers(link)[0]["result"] == 1
    assert link.failed is not None
    assert (link.failed.reason, link.files) == ("refused", {})


def test_a_long_list_comes_in_pieces_each_acknowledged() -> None:
    body = AttachmentList(
        terminal_id="A", alarm_sign=SIGN, alarm_number="N", info_type=0, files=[AttachmentFile(file_name=f"{n}.jpg", file_size=n) for n in range(200)]
    ).encode(2013)
    parts = [body[:700], body[700:1400], body[1400:]]
    link = AttachmentLink()
    for index, part in enumerate(parts, 1):
        link.receive(Header(0x1210, PHONE, 20 + index, package_total=3, package_index=index).encode(part))
    sent = answers(link)
    assert [(one["id"], one["reply_serial"], one["result"]) for one in sent] == [(0x8001, 21, 0), (0x8001, 22, 0), (0x8001, 23, 0)]
    assert len(link.files) == 200
    link.receive(Header(0x1210, PHONE, 30, package_total=3, package_index=4).encode(b"x"))
    assert answers(link)[0]["result"] == 2


def test_other_messages_are_answered_as_usual() -> None:
    link = AttachmentLink()
    link.receive(Header(2, PHONE, 5).encode() + Header(1, PHONE, 6).encode(bytes(5)) + Header(0x0100, PHONE, 7).encode(bytes(40)))
    assert [one["id"] for one in answers(link)] == [0x8001, 0x8100]


def test_time_limits() -> None:
    link = AttachmentLink(now=100.0)
    assert link.next_deadline() == 110.0
    link.receive(listing(("a", 4)), now=105.0)
    assert link.next_deadline() == 165.0
    link.receive(chunk("a", 0, b"ab"), now=160.0)
    link.tick(219.0)
    assert link.failed is None
    link.tick(220.0)
    assert link.failed == LinkFailed("timeout", "nothing came")
    stranger = AttachmentLink(now=0.0)
    stranger.receive(Header(2, PHONE, 1).encode(), now=9.0)
    stranger.tick(10.0)
    assert stranger.failed == LinkFailed("timeout", "no valid 0x1210")


def test_files_are_limited() -> None:
    link = AttachmentLink(limits=AttachmentLimits(files=2))
    link.receive(listing(("a", 1), ("b", 1), ("c", 1)) + chunk("c", 0, b"x"))
    assert list(link.files) == [b"a", b"b"]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=20))
def test_coverage_is_the_set_of_bytes(parts: list[tuple[int, int]]) -> None:
    coverage, here = Coverage(), set()
    for start, length in parts:
        coverage.add(start, start + length)
        here |= set(range(start, start + length))
    assert {at for start, end in coverage.ranges for at in range(start, end)} == here
    ranges = coverage.ranges
    assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges))
    lacking = {at for start, end in coverage.missing(80) for at in range(start, end)}
    assert lacking == set(range(80)) - here
    assert coverage.end == max(here, default=-1) + 1


def test_any_bytes_never_raise_and_keep_little() -> None:
    dice = random.Random(1210)
    good = listing(("a", 100)) + chunk("a", 0, b"x" * 50) + end("a", 100)
    for _ in range(400):
        data = bytearray(good)
        for _ in range(dice.randrange(6)):
            data[dice.randrange(len(data))] = dice.choice((0x7E, 0x7D, 0x30, dice.randrange(256)))
        link = AttachmentLink()
        at = 0
        while at < len(data):
            step = dice.randrange(1, 80)
            link.receive(bytes(data[at : at + step]))
            at += step
            assert len(link._buffer) <= MAX_PIECE + 80
        link.finish()
        link.events()
        link.bytes_to_send()
