"""Where editions differ and where terminals bend the layout."""

from __future__ import annotations

import re
from typing import Any

import pytest

from relay.errors import DecodeError
from relay.jt808 import messages as package
from relay.jt808.items import Mileage
from relay.jt808.messages import MESSAGES, Header, OpaqueBody, decode_body, decode_message
from relay.jt808.messages.areas import AreaQuery, SetCircularAreas, SetPolygonArea, SetRoute, VehicleControl
from relay.jt808.messages.data import DriverIdentity, RecorderQuery
from relay.jt808.messages.general import (
    Authentication,
    PlatformGeneralResponse,
    PlatformResendRequest,
    Registration,
    RegistrationResponse,
    TerminalResendRequest,
)
from relay.jt808.messages.location import BatchLocation, Location, LocationQueryResponse, LocationReport, TrackingControl
from relay.jt808.messages.multimedia import MultimediaData, MultimediaResponse, MultimediaSearchResponse, TakePhotoResponse
from relay.jt808.messages.parameters import ParametersResponse, SetParameters, TerminalAttributes
from relay.jt808.messages.text import Event, SetEvents, SetInfoMenu, SetPhoneBook, TextMessage
from relay.jt808.messages.video import AvDataType, RealtimeAvRequest, ResourceList, StreamType
from relay.jt808.params import PARAMETERS
from relay.wire import FieldError, RawEntry, dump, text_bytes
from tests.shared import SHARED

BASE = "00000001 00000002 00ba7f0e 07e4f11c 0028 003c 0000 180715101010"


def raw(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


# registration and authentication


def registration(model: int, manufacturer: int, terminal: int, colour: int, plate: bytes) -> bytes:
    return b"\0\x1f\0\x73" + b"M" * manufacturer + b"T" * model + b"I" * terminal + bytes((colour,)) + plate


def test_registration_tells_2011_and_2013_apart_by_its_length() -> None:
    plate = "粤A12345".encode("gbk")
    for body, edition in (
        (registration(8, 5, 7, 1, plate), 2011),
        (registration(20, 5, 7, 1, plate), 2013),
        (registration(20, 5, 7, 1, b""), 2013),
        (registration(8, 5, 7, 1, b"LSVAA4182E2184847"), 2011),
        (registration(20, 5, 7, 9, b""), 2013),
    ):
        message = Registration.decode(body, 2013)
        assert (message.edition, len(message.terminal_model)) == (edition, len(body) - 4 - 5 - 7 - 1 - len(message.plate_no.encode("gbk")))
        assert message.encode() == body


def test_registration_under_a_2019_header_may_have_an_older_body() -> None:
    new = registration(30, 11, 30, 2, b"A12345")
    assert Registration.decode(new, 2019).edition == 2019
    assert Registration.decode(new, 2019).manufacturer_id == "M" * 11
    old = registration(20, 5, 7, 2, b"A12345")
    message = Registration.decode(old, 2019)
    assert (message.edition, message.terminal_model, message.plate_no) == (2013, "T" * 20, "A12345")
    assert message.encode() == old
    assert Registration.decode(registration(8, 5, 7, 2, b"A12345"), 2019).edition == 2011


def test_registration_accepts_padding_on_either_side() -> None:
    body = raw("0000 0000 0000000000") + b"\0" * 11 + b"HB-R03GBD" + b"1906751" + b"\x02ABC00000"
    message = Registration.decode(body)
    assert (message.manufacturer_id, message.terminal_model) == ("", "HB-R03GBD")
    assert message.encode() == body


def test_authentication_under_a_2019_header() -> None:
    good = b"\x04code" + b"123456789012345" + b"3.7.15".ljust(20, b"\0")
    message = Authentication.decode(good, 2019)
    assert (message.auth_code, message.imei, message.software_version, message.edition) == ("code", "123456789012345", "3.7.15", 2019)
    assert message.encode() == good
    odd = b"thecode"
    message = Authentication.decode(odd, 2019)
    assert (message.auth_code, message.imei, message.edition) == ("thecode", None, 2013)
    assert message.encode() == odd
    assert Authentication.decode(b"", 2019).auth_code == ""
    assert Authentication.decode(good, 2013).imei is None


def test_an_authentication_code_is_opaque() -> None:
    message = Authentication.decode(b" co\0de \0\xff")
    assert text_bytes(message.auth_code) == b" co\0de \0\xff"
    assert repr(message) == "Authentication(auth_code=***)"
    assert Authentication.from_fields({"auth_code": "x"}, 2019).encode() == b"x"
    both = {"auth_code": "x", "imei": "1" * 15, "software_version": ""}
    assert Authentication.from_fields(both, 2019).encode() == b"\x01x" + b"1" * 15 + bytes(20)


def test_registration_response_has_a_code_only_on_success() -> None:
    assert RegistrationResponse(reply_serial=9, result=3).encode() == raw("0009 03")
    assert RegistrationResponse(reply_serial=9, result=0, auth_code="abc").encode() == raw("0009 00 616263")
    assert RegistrationResponse.decode(raw("0009 00")).auth_code == ""
    assert RegistrationResponse.decode(raw("0009 04")).auth_code is None
    assert RegistrationResponse.decode(raw("0009 01 6162")).auth_code == "ab"


# answers and pieces


def test_lists_of_missing_pieces_count_in_a_byte_before_2019_and_in_a_word_since() -> None:
    ids = PlatformResendRequest(original_serial=5, package_ids=[7, 8])
    assert ids.encode(2013) == raw("0005 02 0007 0008")
    assert ids.encode(2019) == raw("0005 0002 0007 0008")
    assert PlatformResendRequest.decode(raw("0005 02 0007 0008"), 2013) == PlatformResendRequest.decode(raw("0005 0002 0007 0008"), 2019)


def test_the_terminals_own_list_counts_in_a_word_whatever_the_header() -> None:
    assert TerminalResendRequest.decode(raw("0005 0001 0007"), 2013).package_ids == [7]


def test_a_piece_and_cipher_text_stay_opaque() -> None:
    piece = Header(0x0801, "1", 1, package_total=3, package_index=2)
    assert decode_message(piece, b"abc") == OpaqueBody(0x0801, b"abc")
    cipher = Header(0x0200, "1", 1, encryption=1)
    assert decode_message(cipher, b"abc").fields() == {"body": "616263"}
    single = Header(0x0002, "1", 1, package_total=1, package_index=1)
    assert type(decode_message(single, b"")) is MESSAGES.get(2)
    unknown = decode_body(0x0210, b"\x01")
    assert (unknown.msg_id, unknown.encode(), unknown.fields()) == (0x0210, b"\x01", {"body": "01"})


def test_attributes_under_the_header_of_another_edition() -> None:
    def body(width: int, terminal: int) -> bytes:
        return b"\0\5MMMMM" + b"T".ljust(width, b"\0") + b"I".ljust(terminal, b"\0") + bytes(10) + b"\x01h\x02fw\x03\x04"

    for edition in (2013, 2019):
        for width, terminal, layout in ((20, 7, 2013), (30, 30, 2019)):
            message = TerminalAttributes.decode(body(width, terminal), edition)
            assert (message.edition, message.terminal_id, message.firmware_version, message.comm_attributes) == (layout, "I", "fw", 4)
            assert message.encode() == body(width, terminal)


def test_a_message_may_go_out_in_several_editions() -> None:
    message = VehicleControl.from_fields({"controls": [{"control_id": 1, "control_param": 0}]}, 2019)
    text = TextMessage(flags=8, text="a")
    assert [text.encode(edition) for edition in (2019, 2013, 0)] == [b"\x08\x01a", b"\x08a", b"\x08a"]
    assert text.fields() == {"flags": 8, "text_type": 1, "text": "a"}
    assert message.encode() == raw("0001 0001 00")


# locations


def test_a_stray_byte_or_a_cut_item_does_not_cost_the_position() -> None:
    for rest in ("99", "0104 0000", "ff", "30 01 1f 31"):
        body = raw(BASE + rest)
        message = LocationReport.decode(body)
        assert (message.latitude, message.time) == (12222222, "180715101010")
        assert message.encode() == body
        assert message.trailing


def test_a_location_needs_its_28_bytes() -> None:
    with pytest.raises(DecodeError, match=r"^LocationReport\.time at offset 22: needs 6 bytes, 5 left$"):
        LocationReport.decode(raw(BASE)[:-1])


def test_2011_has_no_serial_in_the_answer_to_a_location_query() -> None:
    body = raw(BASE + "01 04 00000064")
    old = LocationQueryResponse.decode(body, 2011)
    assert (old.reply_serial, old.location.items) == (None, [Mileage(mileage=100)])
    assert old.encode() == body
    assert LocationQueryResponse.decode(b"\0\x05" + body, 2013).reply_serial == 5


def test_a_broken_location_of_a_batch_is_skipped_by_its_length() -> None:
    good = raw("001c" + BASE)
    body = raw("0004 01") + good + raw("0003 010203") + good + raw("0000") + raw("00ff 01")
    message = BatchLocation.decode(body)
    assert [one.latitude for one in message.locations] == [12222222, 12222222]
    assert message.locations.skipped == [(1, b"\1\2\3"), (2, b"")]  # type: ignore[attr-defined]
    assert message.trailing == raw("00ff 01")
    assert message.encode() == body
    rows = dump(BatchLocation, body).rows
    assert b"".join(row.data for row in rows) == body
    assert any("skipped" in row.meaning for row in rows)


def test_a_batch_is_built_from_locations() -> None:
    here = Location(latitude=12222222, longitude=132444444, time="180715101010", alarm_flags=1, status_flags=2, altitude=40, speed=60)
    message = BatchLocation(count=1, data_type=1, locations=[here])
    assert message.encode() == raw("0001 01 001c" + BASE)
    assert BatchLocation.from_fields(message.fields()).encode() == message.encode()


def test_tracking_stops_with_two_bytes_and_reads_six() -> None:
    assert TrackingControl(interval=0).encode() == b"\0\0"
    assert TrackingControl.decode(raw("0000 00000005")).duration == 5
    with pytest.raises(DecodeError):
        TrackingControl.decode(raw("0005"))
    with pytest.raises(FieldError):
        TrackingControl(interval=5).encode() and TrackingControl(interval=5, duration=2**40).encode()


# parameters


def test_2011_counts_parameters_twice() -> None:
    body = raw("05 01 00000001 04 0000003c")
    message = SetParameters.decode(body, 2011)
    assert (message.total_count, message.fields()["params"]) == (5, [{"id": 1, "value": 60}])
    assert message.encode() == body
    answer = ParametersResponse.decode(raw("0007 05 01 00000001 04 0000003c"), 2011)
    assert (answer.reply_serial, answer.total_count, len(answer.params)) == (7, 5, 1)


def test_a_count_that_promises_more_and_garbage_behind() -> None:
    body = raw("0000 58 00000001 04 0000003c 00000084 01 01 deadbeef")
    message = ParametersResponse.decode(body)
    assert message.fields()["params"] == [{"id": 1, "value": 60}, {"id": 0x84, "value": 1}]
    assert message.trailing == raw("deadbeef")
    assert message.encode() == body


def test_parameters_by_number_and_by_name() -> None:
    message = SetParameters.from_fields({"params": [{"id": 1, "value": 45}, {"name": "max_speed", "value": 80}, {"id": "0xF000", "raw": "01"}]})
    assert message.encode() == raw("03 00000001 04 0000002d 00000055 04 00000050 0000f000 01 01")
    assert PARAMETERS.names["heartbeat_interval"].ID == 1


# text, events, phone book


def test_text_has_a_type_since_2019() -> None:
    assert TextMessage(flags=8, text="中").encode(2013) == raw("08 d6d0")
    assert TextMessage(flags=8, text="中").encode(2019) == raw("08 01 d6d0")
    assert TextMessage.decode(raw("08 d6d0"), 2013).text_type is None


def test_events_to_delete_come_with_and_without_a_length() -> None:
    bare = SetEvents.decode(raw("04 02 01 02"))
    assert bare.events == [Event(event_id=1), Event(event_id=2)]
    assert bare.encode() == raw("04 02 01 02")
    zero = SetEvents.decode(raw("04 02 01 00 02 00"))
    assert zero.events == [Event(event_id=1, content=""), Event(event_id=2, content="")]
    assert zero.encode() == raw("04 02 01 00 02 00")
    assert SetEvents.decode(raw("00")).events is None
    assert SetEvents.decode(raw("00 00")).events == []
    with pytest.raises(FieldError, match="all items have content or none"):
        SetEvents(set_type=1, events=[Event(event_id=1), Event(event_id=2, content="x")]).encode()
    assert SetInfoMenu.decode(raw("04 02 01 02")).fields() == {"set_type": 4, "infos": [{"info_type": 1}, {"info_type": 2}]}
    book = SetPhoneBook.decode(raw("03 01 03 01 31"))
    assert book.fields() == {"set_type": 3, "contacts": [{"flag": 3, "phone": "1"}]}


def test_2011_lists_have_a_second_count() -> None:
    body = raw("01 05 01 07 01 61")
    message = SetEvents.decode(body, 2011)
    assert (message.total_count, message.events) == (5, [Event(event_id=7, content="a")])
    assert message.encode() == body


# control, areas


def test_vehicle_control_turned_round_in_2019() -> None:
    assert VehicleControl(control_flags=1).encode(2013) == b"\x01"
    message = VehicleControl.from_fields({"controls": [{"control_id": 1, "control_param": 0}]}, 2019)
    assert message.encode() == raw("0001 0001 00")
    with pytest.raises(FieldError, match="control_flags: does not exist in edition 2019"):
        VehicleControl.from_fields({"control_flags": 1}, 2019)


AREA = "00000001 {attributes} 00000002 00000003 00000004"


def test_area_fields_exist_by_their_bits() -> None:
    for edition in (2013, 2019):
        for attributes in (0, 1, 2, 3):
            body = "01 01" + AREA.format(attributes=f"{attributes:04x}")
            body += "261120000000 261121000000" if attributes & 1 else ""
            body += "0050 0a" if attributes & 2 else ""
            if edition == 2019:
                body += ("0028" if attributes & 2 else "") + "0001 61"
            area = SetCircularAreas.decode(raw(body), edition).areas[0]
            assert (area.start_time is not None, area.max_speed is not None) == (bool(attributes & 1), bool(attributes & 2))
            assert (area.night_max_speed is not None) == (edition == 2019 and bool(attributes & 2))
            assert area.name == ("a" if edition == 2019 else None)


def test_the_night_speed_of_a_polygon_stands_behind_its_vertices() -> None:
    body = raw("00000001 0002 0050 0a 0001 00000002 00000003 0028 0001 61")
    message = SetPolygonArea.decode(body, 2019)
    assert (message.max_speed, message.night_max_speed, len(message.points), message.name) == (80, 40, 1, "a")
    assert message.encode() == body


def test_turning_points_have_bits_of_their_own() -> None:
    body = raw("00000001 0000 0002 00000001 00000002 00000003 00000004 05 00" + "00000001 00000002 00000003 00000004 05 03 0001 0002 0003 04")
    first, second = SetRoute.decode(body, 2013).points
    assert (first.max_speed, second.too_long_threshold, second.overspeed_duration) == (None, 1, 4)


def test_an_area_list_names_the_place_of_its_fault() -> None:
    with pytest.raises(DecodeError, match=r"SetCircularAreas\.areas\[0\]\.max_speed at offset 20: needs 2 bytes, 0 left"):
        SetCircularAreas.decode(raw("01 01" + AREA.format(attributes="0002")))


def test_a_count_of_four_thousand_million_costs_nothing() -> None:
    with pytest.raises(DecodeError, match=r"AreaQuery\.ids\[0\] at offset 5: needs 4 bytes, 0 left"):
        AreaQuery.decode(raw("01 ffffffff"))
    with pytest.raises(DecodeError, match=r"ResourceList\.resources\[0\]\.channel"):
        ResourceList.decode(raw("0001 ffffffff"))


# driver, recorder, multimedia


def test_driver_identity_of_2011_is_told_by_its_first_bytes() -> None:
    body = b"\x06" + "张三丰".encode("gbk") + b"440301199001011234".ljust(20, b"\0") + b"L1".ljust(40, b"\0") + b"\x04" + "机关".encode("gbk")
    for edition in (2011, 2013, 2019):
        message = DriverIdentity.decode(body, edition)
        assert (message.edition, message.status, message.driver_name, message.license_no) == (2011, None, "张三丰", "L1")
        assert (message.id_card_no, message.issuer) == ("440301199001011234", "机关")
        assert message.encode() == body
    assert DriverIdentity.from_fields(DriverIdentity.decode(body, 2011).fields(), 2013).encode() == body
    assert DriverIdentity.decode(raw("02 261120180000"), 2011).edition == 2013


def test_driver_identity_reads_what_is_there_whatever_the_status() -> None:
    card = raw("02 261120180000 00 01 61") + b"L1".ljust(20, b"\0") + raw("01 62 20301231")
    message = DriverIdentity.decode(card, 2013)
    assert (message.driver_name, message.valid_until, message.trailing) == ("a", "20301231", b"")
    with_id = card + b"ID".ljust(20, b"\0")
    assert DriverIdentity.decode(with_id, 2013).trailing == b"ID".ljust(20, b"\0")
    amended = with_id + b"\x50" + b"U" * 20
    assert DriverIdentity.decode(amended, 2019).id_card_no == "ID"
    assert DriverIdentity.decode(amended, 2019).encode() == amended
    assert DriverIdentity.decode(raw("01 261120180000 02")).driver_name is None
    assert DriverIdentity.decode(raw("02 000000000000")).time == "000000000000"


def test_stored_multimedia_of_2011_has_no_ids() -> None:
    item = "00 01 02" + BASE
    new = raw("0005 0001 00000009" + item)
    old = raw("0005 0007 0001" + item)
    assert MultimediaSearchResponse.decode(new, 2011).items[0].media_id == 9
    message = MultimediaSearchResponse.decode(old, 2013)
    assert (message.edition, message.total_count, message.items[0].media_id) == (2011, 7, None)
    assert message.encode() == old
    piece = raw("0005 0009 00000009" + item + "0000")
    message = MultimediaSearchResponse.decode(piece, 2013)
    assert (len(message.items), message.trailing) == (1, b"\0\0")
    assert message.encode() == piece


def test_multimedia_of_2011_cuts_itself() -> None:
    body = raw("00000001 00 00 01 02 00000003 00000001 ffd8")
    message = MultimediaData.decode(body, 2011)
    assert (message.location, message.package_total, message.package_id, message.data) == (None, 3, 1, b"\xff\xd8")
    assert message.encode() == body
    assert MultimediaResponse.decode(raw("0005 00000001 01 0002"), 2011).reply_serial == 5
    assert MultimediaResponse(media_id=1).encode(2013) == raw("00000001")
    assert MultimediaResponse(media_id=1, package_ids=[3]).encode(2013) == raw("00000001 01 0003")


def test_a_failed_photo_lists_nothing() -> None:
    assert TakePhotoResponse.decode(raw("0005 01")).media_ids is None
    assert TakePhotoResponse.decode(raw("0005 01 0000")).media_ids == []
    assert TakePhotoResponse(reply_serial=5, result=2).encode() == raw("0005 02")


def test_an_empty_block_is_a_value() -> None:
    assert RecorderQuery.decode(b"\x08").fields() == {"command": 8, "data": ""}


# the register


def test_words_for_requests() -> None:
    request = RealtimeAvRequest(server_ip="10.0.0.1", tcp_port=1078, channel=1, data_type=AvDataType.VIDEO, stream_type=StreamType.SUB)
    assert request.encode() == raw("08 31302e302e302e31 0436 0000 01 01 01")
    assert request.REPLY == (0x0001,)
    assert PlatformGeneralResponse(reply_serial=1, reply_msg_id=2, result=0).encode() == raw("0001 0002 00")


def _spec_ids() -> dict[int, str]:
    ids = {}
    for name in ("jt808.md", "jt808-jt1078.md"):
        path = SHARED / "spec" / name
        if path.exists():
            for msg_id, label in re.findall(r"^### 0x([0-9A-F]{4}) (\S+)", path.read_text(encoding="utf-8"), re.M):
                if int(msg_id, 16) > 0x00FF or name == "jt808.md":
                    ids[int(msg_id, 16)] = label
    return {key: label for key, label in ids.items() if key not in PARAMETERS.classes or key < 0x0010 or key >= 0x0100}


@pytest.mark.shared
def test_every_message_of_the_standard_is_declared_under_its_name() -> None:
    wanted = _spec_ids()
    if not wanted:
        pytest.skip("the shared spec is not there")
    for msg_id, label in wanted.items():
        cls = MESSAGES.get(msg_id)
        assert cls is not None, f"0x{msg_id:04X} {label}"
        assert label == cls.LABEL


def _leaf_names(cls: Any) -> set[str]:
    found = set()
    for bound in [one for edition in (2011, 2013, 2019) for one in cls.plan(edition).fields]:
        found.add(bound.name)
        inner = getattr(bound.codec, "element", bound.codec)
        if getattr(inner, "cls", None) is not None:
            found |= {f"{bound.name}.{name}" for name in _leaf_names(inner.cls)}
    return found


@pytest.mark.shared
def test_every_field_of_the_standard_has_its_name() -> None:
    missing = []
    for name in ("jt808.md", "jt808-jt1078.md"):
        path = SHARED / "spec" / name
        if not path.exists():
            pytest.skip("the shared spec is not there")
        text = path.read_text(encoding="utf-8")
        for msg_id, section in re.findall(r"^### 0x([0-9A-F]{4}) .*?\n(.*?)(?=^### |^## |\Z)", text, re.M | re.S):
            key = int(msg_id, 16)
            cls: Any = PARAMETERS.classes[key] if name != "jt808.md" and key < 0x0100 else MESSAGES.get(key)
            for field in re.findall(r"^\| [^|]+ \| `([^`]+)` \|", section, re.M):
                if field.replace("[]", "") not in _leaf_names(cls):
                    missing.append(f"0x{msg_id} {field}")
    assert missing == []


def test_directions_and_answers_are_messages_too() -> None:
    for cls in MESSAGES:
        assert ("up" if cls.KEY < 0x8000 else "down") == cls.DIRECTION
        assert cls.ENGLISH
        assert cls.LABEL
        for reply in cls.REPLY:
            answer = MESSAGES.get(reply)
            assert answer is not None
            assert answer.DIRECTION != cls.DIRECTION


def test_every_field_has_its_chinese_name() -> None:
    bare = [f"{cls.__name__}.{name}" for cls in MESSAGES for name, info in cls.wire_fields.items() if not info.label]
    assert bare == []


def test_the_package_names_its_own() -> None:
    missing = [name for name in package.__all__ if not hasattr(package, name)]
    assert missing == []


def test_unknown_entries_are_kept_in_every_list() -> None:
    report = LocationReport.decode(raw(BASE + "eb 03 010203 e1 00"))
    assert report.items == [RawEntry(0xEB, b"\1\2\3"), RawEntry(0xE1, b"")]
    fields: dict[str, Any] = report.fields()
    assert fields["items"] == [{"id": 0xEB, "raw": "010203"}, {"id": 0xE1, "raw": ""}]
