"""Active safety: dialects told by lengths, entries beside their bytes, the vectors."""

from __future__ import annotations

import random
from typing import Any

import pytest

from relay.errors import DecodeError
from relay.jt808.items import ITEMS
from relay.jt808.messages import MESSAGES, decode_body
from relay.jt808.messages.data import PassthroughUp
from relay.jt808.messages.safety import AttachmentFile, AttachmentList, AttachmentRequest, list_widths
from relay.jt808.params import PARAMETERS
from relay.jt808.safety import AdasAlarm, AlarmSign, DsmAlarm, TireAlarm, WideAlarmSign, WideTire
from relay.wire import FieldError, RawEntry, dump
from tests.jt808.vectors import SAFETY, decode, differences, encode, fields

PLACE = bytes.fromhex("48 0064 01dc9f7b 073c3cf8 250601120000 0411".replace(" ", ""))


def sign(size: int) -> bytes:
    terminal = 7 if size == 16 else 30
    return b"A1".ljust(terminal, b"\0") + bytes.fromhex("250601120000 02 03".replace(" ", "")) + b"\x05" * (size - terminal - 8)


@pytest.mark.shared
@pytest.mark.skipif(not SAFETY, reason="the shared vectors are not there")
def test_vectors() -> None:
    complaints = []
    for vector in SAFETY:
        if vector["kind"] == "stream" or "error" in vector["fields"]:
            continue
        complaints += [f"{vector['id']}: {one}" for one in differences(vector["fields"], fields(vector))]
        if encode(vector, *decode(vector)).hex() != vector["hex"]:
            complaints.append(f"{vector['id']}: other bytes")
    assert complaints == []


@pytest.mark.shared
@pytest.mark.skipif(not SAFETY, reason="the shared vectors are not there")
def test_named_fields_are_wanted_where_the_vector_has_them() -> None:
    for vector in SAFETY:
        if vector["kind"] in ("item", "param") and len(vector["fields"]) > 2:
            assert set(fields(vector)) == set(vector["fields"]), vector["id"]


@pytest.mark.shared
@pytest.mark.skipif(not SAFETY, reason="the shared vectors are not there")
def test_a_list_that_does_not_come_out_even_is_refused() -> None:
    for vector in SAFETY:
        if vector["fields"].get("error") == "body":
            with pytest.raises(DecodeError, match="AttachmentList"):
                decode(vector)


@pytest.mark.parametrize(("size", "cls"), [(16, AlarmSign), (38, WideAlarmSign), (39, WideAlarmSign), (40, WideAlarmSign)])
def test_the_length_tells_the_dialect(size: int, cls: type[AlarmSign]) -> None:
    head = bytes.fromhex("00000001 01 02 01".replace(" ", ""))
    value = head + b"\x0a\x0b\x01\x00\x00" + PLACE + sign(size)
    entry = ITEMS.read(0x64, value, 0, len(value), 2013)
    assert isinstance(entry, AdasAlarm)
    assert type(entry.alarm_sign) is cls
    assert entry.alarm_sign.encode(2013) == sign(size)
    assert (entry.speed, entry.alarm_sign.terminal_id, entry.alarm_sign.attachment_count) == (72, "A1", 3)
    assert entry.value_bytes(2013) == value
    assert entry.fields()["raw"] == value.hex()
    assert ("reserved" in entry.fields()["alarm_sign"]) == (size != 38)


@pytest.mark.parametrize("id", [0x64, 0x65, 0x66, 0x67, 0x68, 0x70, 0x71])
def test_every_other_length_stays_raw(id: int) -> None:
    own = {0x64: 31, 0x65: 31, 0x67: 25, 0x68: 31, 0x70: 31, 0x71: 28}.get(id)
    for size in range(160):
        data = bytes(size)
        entry = ITEMS.read(id, data, 0, size, 2013)
        wanted = size in ({own + a for a in (16, 38, 39, 40)} if own else {25 + a for a in (16, 38, 39, 40)})
        assert isinstance(entry, RawEntry) != wanted, size
        assert entry.value_bytes(2013) == data


@pytest.mark.parametrize(("size", "width"), [(16, 9), (38, 9), (39, 9), (40, 9), (40, 10)])
@pytest.mark.parametrize("count", [0, 1, 2, 18])
def test_tyres_of_nine_and_of_ten_bytes(size: int, width: int, count: int) -> None:
    value = bytes.fromhex("00000001 01") + PLACE + sign(size) + bytes((count,)) + bytes(range(1, width + 1)) * count
    entry = ITEMS.read(0x66, value, 0, len(value), 2013)
    assert isinstance(entry, TireAlarm)
    assert len(entry.alarm_sign.encode(2013)) == size
    assert [isinstance(tire, WideTire) for tire in entry.tires] == [width == 10] * count
    assert entry.value_bytes(2013) == value


def test_an_accelerometers_item_of_the_same_id_is_not_an_alarm() -> None:
    for value in (bytes(20), b"\x02\x00" + bytes(9), b"12345678", bytes(47)[:-1]):
        assert isinstance(ITEMS.read(0x66, value, 0, len(value), 2013), RawEntry)


def test_alarms_are_built_too() -> None:
    alarm = DsmAlarm(
        alarm_id=1, state=1, event_type=2, level=2, fatigue_level=0, reserved=bytes(4), speed=72, altitude=100, latitude=31235963,
        longitude=121388280, time="250601120000", vehicle_status=0x411,
        alarm_sign=AlarmSign(terminal_id="A1", time="250601120000", serial=2, attachment_count=3, reserved=b"\5"),
    )  # fmt: skip
    value = alarm.value_bytes(2013)
    assert value == bytes.fromhex("00000001 01 02 02 00 00000000".replace(" ", "")) + PLACE + sign(16)
    rest = {key: one for key, one in alarm.fields().items() if key != "raw"}
    assert ITEMS.from_fields(rest, 2013).value_bytes(2013) == value
    alarm.alarm_sign.reserved = b"12"
    with pytest.raises(FieldError, match="makes an alarm id of 17 bytes"):
        alarm.value_bytes(2013)


@pytest.mark.parametrize(("id", "sizes"), [(0xF364, {56, 64}), (0xF365, {49, 66}), (0xF366, {36}), (0xF367, {2}), (0xF370, {1})])
def test_parameters_have_the_lengths_of_the_texts(id: int, sizes: set[int]) -> None:
    accepted = {size for size in range(256) if not isinstance(PARAMETERS.read(id, bytes(size), 0, size, 2013), RawEntry)}
    assert accepted == sizes
    for size in sizes:
        entry = PARAMETERS.read(id, bytes(size), 0, size, 2013)
        assert entry.id == id
        named = {key: one for key, one in entry.fields().items() if key != "raw"}
        assert PARAMETERS.from_fields(named, 2013).value_bytes(2013) == bytes(size)


def test_the_request_takes_the_alarm_id_of_its_width() -> None:
    for size in (16, 38, 39, 40):
        body = b"\x0810.0.0.8" + b"\x1c\x20\0\0" + sign(size) + b"N1".ljust(32, b"\0") + bytes(16)
        message = AttachmentRequest.decode(body)
        assert message.alarm_sign.encode(2013) == sign(size)
        assert message.encode() == body
        if size != 39:
            # a short terminal id and one reserved byte look like 苏标 when only the fields are there
            assert AttachmentRequest.from_fields(message.fields()).encode() == body
        assert "N1" not in repr(message)
    with pytest.raises(DecodeError, match=r"AttachmentRequest\.alarm_sign at offset 13: an alarm id has 16, 38, 39 or 40 bytes, not 17"):
        AttachmentRequest.decode(b"\x0810.0.0.8" + b"\x1c\x20\0\0" + bytes(17) + bytes(48))


@pytest.mark.parametrize(("terminal", "size"), [(7, 16), (30, 40), (30, 39), (0, 38), (30, 16)])
def test_the_list_of_files_of_every_dialect(terminal: int, size: int) -> None:
    listed = b"\x02" + b"\x05a.jpg" + bytes(4) + b"\x05b.mp4" + b"\0\0\1\0"
    body = b"T".ljust(terminal, b"\0")[:terminal] + sign(size) + b"N1".ljust(32, b"\0") + b"\0" + listed
    assert list_widths(body) == (terminal, size)
    message = AttachmentList.decode(body)
    assert message.terminal_id == ("T" if terminal else None)
    assert message.files == [AttachmentFile(file_name="a.jpg", file_size=0), AttachmentFile(file_name="b.mp4", file_size=256)]
    rows = dump(AttachmentList, body).rows
    assert b"".join(row.data for row in rows) == body
    if (terminal, size) != (30, 16):
        assert message.encode() == body


def test_peripherals_stand_beside_the_content() -> None:
    message = PassthroughUp.decode(bytes.fromhex("f7 01 64 05 01 00000002".replace(" ", "")))
    assert message.fields()["peripherals"] == [{"id": 0x64, "raw": "0100000002", "work_state": 1, "fault_flags": 2}]
    assert PassthroughUp.from_fields(message.fields()).encode() == message.encode()
    odd = PassthroughUp.decode(bytes.fromhex("f7 02 64 05 01".replace(" ", "")))
    assert "peripherals" not in odd.fields()
    other = PassthroughUp.decode(bytes.fromhex("f7 01 64 01 01".replace(" ", "")))
    assert other.fields()["peripherals"] == [{"id": 0x64, "raw": "01"}]
    assert "peripherals" not in PassthroughUp.decode(b"\x41\x01").fields()


def test_any_bytes_are_read_losslessly_or_refused() -> None:
    dice = random.Random(64)
    keys = (0x9208, 0x1210, 0x1211, 0x1212, 0x9212, 0x1FC4)
    for _ in range(4000):
        data = bytes(dice.choice((0, 1, 2, 16, dice.randrange(256))) for _ in range(dice.randrange(160)))
        key = dice.choice(keys)
        cls: Any = MESSAGES.get(key)
        try:
            message = decode_body(key, data)
        except DecodeError:
            pass
        else:
            assert message.encode() == data
        assert b"".join(row.data for row in dump(cls, data).rows) == data
