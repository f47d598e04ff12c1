"""The message header in its two layouts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import FrameError, UsageError
from relay.jt808.framing import frame, unframe
from relay.jt808.header import Header, decode_frame

OLD = bytes.fromhex("0002 0000 013900001234 0001".replace(" ", ""))
NEW = bytes.fromhex("0002 4003 01 00000000017299841738 ffff 112233".replace(" ", ""))


def test_the_2013_header() -> None:
    header, body = Header.parse(OLD)
    assert header == Header(msg_id=2, phone="013900001234", serial=1)
    assert (body, header.edition, header.is_subpackage) == (b"", 2013, False)


def test_the_2019_header() -> None:
    header, body = Header.parse(NEW)
    assert header == Header(msg_id=2, phone="00000000017299841738", serial=0xFFFF, body_length=3, protocol_version=1)
    assert (body, header.edition) == (b"\x11\x22\x33", 2019)


@pytest.mark.parametrize("whole", [OLD, NEW, OLD[:2] + b"\x20\x00" + OLD[4:] + b"\0\x02\0\x01"])
def test_a_cut_header_is_short_and_a_wrong_length_is_named(whole: bytes) -> None:
    body = Header.parse(whole)[1]
    start = len(whole) - len(body)
    for cut in range(start):
        with pytest.raises(FrameError) as caught:
            Header.parse(whole[:cut])
        assert caught.value.reason == "short_header"
    for wrong in [whole[:cut] for cut in range(start, len(whole))] + [whole + b"\0"]:
        with pytest.raises(FrameError) as caught:
            Header.parse(wrong)
        assert caught.value.reason == "length"


def test_package_fields_only_with_bit_13() -> None:
    header, body = Header.parse(bytes.fromhex("0801 2005 001234567890 02de 001a 0002 0102030405".replace(" ", "")))
    assert (header.package_total, header.package_index, header.is_subpackage, len(body)) == (26, 2, True, 5)
    assert not header.replace(package_total=1, package_index=1).is_subpackage


def test_hex_letters_in_a_phone_survive() -> None:
    header = Header(2, "0a1b2c3d4e5f", 7)
    again, _ = decode_frame(header.encode()[1:-1])
    assert again.phone == "0a1b2c3d4e5f"


@given(
    st.builds(
        Header,
        msg_id=st.integers(0, 0xFFFF),
        phone=st.text("0123456789abcdef", min_size=12, max_size=12),
        serial=st.integers(0, 0xFFFF),
        encryption=st.integers(0, 7),
    ),
    st.none() | st.integers(0, 255),
    st.none() | st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
    st.binary(max_size=1023),
)
def test_every_header_comes_back(header: Header, version: int | None, package: tuple[int, int] | None, body: bytes) -> None:
    header.protocol_version = version
    if version is not None:
        header.phone = header.phone.rjust(20, "0")
    if package:
        header.package_total, header.package_index = package
    wire = header.encode(body)
    header.body_length = len(body)
    assert decode_frame(wire[1:-1]) == (header, body)
    assert decode_frame(wire[1:-1])[0].encode(body) == wire


def test_a_reply_goes_out_in_the_form_the_terminal_used() -> None:
    header, _ = Header.parse(NEW)
    answer = header.reply(0x8001, 5)
    assert (answer.phone, answer.protocol_version, answer.serial, answer.package_total) == (header.phone, 1, 5, None)


@pytest.mark.parametrize(
    "header",
    [
        Header(2, "0139000012345", 1),
        Header(2, "01390000123x", 1),
        Header(2, "013900001234", 0x10000),
        Header(0x10000, "013900001234", 1),
        Header(2, "1" * 21, 1, protocol_version=1),
        Header(2, "1", 1, protocol_version=256),
        Header(2, "1", 1, package_total=1),
    ],
)
def test_what_does_not_fit_its_field_is_our_fault(header: Header) -> None:
    with pytest.raises(UsageError):
        header.encode()


def test_a_body_of_more_than_ten_bits_is_our_fault() -> None:
    with pytest.raises(UsageError):
        Header(2, "1", 1).encode(bytes(1024))


def test_short_header_comes_after_the_checksum() -> None:
    with pytest.raises(FrameError) as caught:
        decode_frame(frame(OLD[:5])[1:-2])
    assert caught.value.reason == "checksum"
    assert unframe(frame(OLD[:5])[1:-1]) == OLD[:5]
