"""Every message in both editions: made-up values through bytes, JSON, envelope and frame; and bytes that nobody meant."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import DecodeError, FrameError
from relay.jt809 import framing
from relay.jt809.cipher import CipherKeys, apply
from relay.jt809.envelope import ALARM_FAMILIES, PLATFORM_FAMILIES, Business, body_from_fields, decode_body
from relay.jt809.header import Header, decode_frame, encode_frame
from relay.jt809.messages import MESSAGES, Body
from relay.wire import FieldError, Record, dump
from tests.jt808.test_roundtrip import QUICK, records

EDITIONS = (2011, 2019)
CASES = [(cls, edition) for cls in MESSAGES for edition in EDITIONS if edition >= cls.SINCE]


def _agrees(cls: type[Body], edition: int, record: Record) -> None:
    try:
        data = record.encode()
    except FieldError:
        return
    if cls.layout(data, edition) != edition:
        return  # the values happen to look like another edition's or a dialect's layout
    again = cls.decode(data, edition)
    assert again.encode() == data
    fields = json.loads(json.dumps(again.fields()))
    assert fields == again.fields()
    if not again.trailing:
        assert again == record
        assert cls.from_fields(fields, edition).encode() == data
    assert b"".join(row.data for row in dump(cls, data, edition).rows) == data


@pytest.mark.parametrize("edition", EDITIONS)
def test_values_come_back_through_bytes_and_through_json(edition: int) -> None:
    for cls, its_edition in CASES:
        if its_edition == edition:
            _check(cls, edition)


def _check(cls: Any, edition: int) -> None:
    @QUICK
    @given(records(cls, edition))
    def check(record: Record) -> None:
        _agrees(cls, edition, record)

    check()


def form(msg_id: int, sub_id: int, edition: int) -> str:
    if sub_id == 0:
        return "L"
    if sub_id == 0x1701:
        return "T"
    return "P" if msg_id in PLATFORM_FAMILIES or (msg_id in ALARM_FAMILIES and edition >= 2019) else "V"


@pytest.mark.parametrize("edition", EDITIONS)
def test_whole_frames_come_back(edition: int) -> None:
    """With envelope, escapes and CRC, plain and encrypted."""
    for cls, its_edition in CASES:
        if its_edition == edition:
            _check_frames(cls, edition)


def _check_frames(cls: Any, edition: int) -> None:
    msg_id, sub_id = cls.KEY

    @QUICK
    @given(records(cls, edition), st.integers(0, 2**32 - 1), st.booleans())
    def check(record: Any, number: int, encrypted: bool) -> None:
        business = Business(msg_id, form(msg_id, sub_id, edition), record, data_type=sub_id, vehicle_no="粤B12345", vehicle_color=94, edition=edition)
        try:
            body = business.encode()
        except FieldError:
            return
        keys = CipherKeys(number, 20000000, 20000000)
        header = Header(msg_id, number, number, encrypt_flag=int(encrypted), encrypt_key=number, time=number * (edition > 2011), edition=edition)
        frame = encode_frame(header, body, keys)
        assert frame.count(b"\x5b") == frame.count(b"\x5d") == 1
        (found,) = framing.Deframer().feed(b"noise" + frame + b"\x5b")
        again, content, _ = decode_frame(found, edition, keys)
        assert again == header
        assert content == body
        try:
            read = decode_body(msg_id, content, edition)
        except (FrameError, DecodeError):
            return  # what stands in it happens to look like another envelope
        assert read.encode() == body
        if read.form == business.form and read.data == record:
            assert body_from_fields(msg_id, json.loads(json.dumps(read.fields())), record.edition).encode() == body

    check()


def test_any_body_of_any_message_is_read_losslessly_or_refused() -> None:
    dice = random.Random(809)
    seeds = [bytes(dice.randrange(256) for _ in range(dice.randrange(160))) for _ in range(8)]
    for cls, edition in CASES:
        for round in range(100):
            body = bytearray(dice.choice(seeds))
            for _ in range(dice.randrange(4)):
                if body:
                    body[dice.randrange(len(body))] = dice.choice((0, 1, 2, 0x5B, 0xFF, dice.randrange(256)))
            data = bytes(body[: dice.randrange(len(body) + 1)]) if round % 3 == 0 else bytes(body)
            try:
                message = cls.decode(data, edition)
            except DecodeError as problem:
                if not 0 <= problem.offset <= len(data):
                    pytest.fail(f"{problem} lies outside of {len(data)} bytes")
            else:
                assert message.encode() == data, (cls, edition, data.hex())
                json.dumps(message.fields())
            assert b"".join(row.data for row in dump(cls, data, edition).rows) == data, (cls, edition, data.hex())


@QUICK
@given(st.binary(max_size=200))
def test_escapes_come_back(data: bytes) -> None:
    escaped = framing.escape(data)
    assert framing.unescape(escaped) == data
    assert not {0x5B, 0x5D} & set(escaped)


@QUICK
@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_the_cipher_is_its_own_inverse(data: bytes, key: int, constant: int) -> None:
    keys = CipherKeys(constant, 20000000, key)
    assert apply(keys, key, apply(keys, key, data)) == data


def test_the_worked_vectors_of_the_cipher() -> None:
    keys = CipherKeys(30000000, 20000000, 20000000)
    assert apply(keys, 256178, bytes(range(1, 8))) == bytes.fromhex("D34C7078A73A41")
    frame = bytes.fromhex(
        "5B000000480000008510010133EFB8010000010003E8B2D37D9CC4900C77DC78F8676527D8AE12243CFB64CC2FBA619AEFAD33ACCB3256F67BFF19DF33097841098665703FE36E5D"
    )
    header, body, _ = decode_frame(frame, 2011, keys)
    assert decode_body(header.msg_id, body, 2011).fields() == {
        "user_id": 20180920, "password": "20180920", "down_link_ip": "127.0.0.1", "down_link_port": 809,
    }  # fmt: skip
    assert repr(keys) == "CipherKeys(…)"


@QUICK
@given(st.lists(st.sampled_from([b"[", b"]", b"Z\x01", b"^\x02", b"abc", b"\0" * 9]), max_size=40), st.integers(1, 7))
def test_a_stream_in_any_portions_gives_the_same_frames(parts: list[bytes], step: int) -> None:
    data = b"".join(parts)
    whole, pieces = framing.Deframer(), framing.Deframer()
    expected = whole.feed(data)
    assert [frame for at in range(0, len(data), step) for frame in pieces.feed(data[at : at + step])] == expected
    assert (whole.garbage, whole.cut) == (pieces.garbage, pieces.cut)


def test_a_frame_without_end_holds_no_more_than_its_limit() -> None:
    deframer = framing.Deframer(limit=1000)
    for _ in range(100):
        assert deframer.feed(b"[" * (_ == 0) + bytes(500)) == []
        assert deframer._held <= 2500
    assert deframer.oversize == 1
    assert deframer.feed(b"][1234]") == [b"[1234]"]
