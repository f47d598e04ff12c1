"""Splitting of byte streams and length-prefixed access units (H.264 Annex B, ISO/IEC 14496-15)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.codec import nalu
from relay.codec.nalu import from_avcc, split_annexb, to_annexb, to_avcc, unescape
from relay.errors import DecodeError

SPS, PPS, IDR = b"\x67\x4d\x00\x14", b"\x68\xee\x3c\x80", b"\x65\x88\x84\x00\x10"
LONG, SHORT = b"\x00\x00\x00\x01", b"\x00\x00\x01"


@pytest.mark.parametrize("first", [LONG, SHORT, b"\x00\x00" + LONG])
@pytest.mark.parametrize("second", [LONG, SHORT, b"\x00\x00\x00\x00" + LONG])
@pytest.mark.parametrize("end", [b"", b"\x00", b"\x00\x00", b"\x00\x00\x00", SHORT, LONG])
def test_start_codes_of_both_lengths_and_stray_zeros(first: bytes, second: bytes, end: bytes) -> None:
    assert split_annexb(first + IDR + end) == [IDR]
    assert split_annexb(first + SPS + second + PPS + first + IDR + end) == [SPS, PPS, IDR]


def test_bytes_before_the_first_start_code_belong_to_no_unit() -> None:
    assert split_annexb(b"\xaa\xbb" + LONG + IDR) == [IDR]


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x00\x01", LONG, LONG + LONG, b"\x65\x88\x84", LONG + b"\x00" * 9])
def test_no_unit(data: bytes) -> None:
    assert split_annexb(data) == []


def test_a_body_of_start_codes_is_no_access_unit() -> None:
    assert len(split_annexb((LONG + IDR) * (nalu.MAX_NALUS - 1))) == nalu.MAX_NALUS - 1
    assert split_annexb((LONG + IDR) * (nalu.MAX_NALUS + 1)) == []


@pytest.mark.parametrize("unit", [b"\x00", SHORT, LONG, LONG + b"\x65\x01", b"\x65", b"\x00\x00\x03"])
def test_splitting_takes_linear_time(unit: bytes) -> None:
    def cost(size: int) -> float:
        data = unit * (size // len(unit))
        best = 1e9
        for _ in range(5):
            start = time.process_time()
            split_annexb(data)
            best = min(best, time.process_time() - start)
        return best

    assert cost(1 << 21) <= 24 * cost(1 << 18) + 0.002  # 8 times as much; where each byte cost more, it would be 64


def test_length_prefixed_round_trip() -> None:
    assert to_avcc([IDR]) == b"\x00\x00\x00\x05" + IDR
    assert to_avcc([SPS, PPS]) == b"\x00\x00\x00\x04" + SPS + b"\x00\x00\x00\x04" + PPS
    assert from_avcc(to_avcc([SPS, PPS, IDR])) == [SPS, PPS, IDR]
    assert from_avcc(b"") == [] == split_annexb(to_annexb([]))


def test_length_prefixed_truncations_are_decode_errors() -> None:
    whole = to_avcc([SPS, PPS, IDR])
    borders = {0, 8, 16, len(whole)}
    for cut in range(len(whole) + 1):
        if cut in borders:
            assert len(from_avcc(whole[:cut])) == sorted(borders).index(cut)
        else:
            with pytest.raises(DecodeError):
                from_avcc(whole[:cut])
    with pytest.raises(DecodeError, match="at offset 4: a NAL unit of 4294967295 bytes"):
        from_avcc(b"\xff\xff\xff\xff" + IDR)


def test_emulation_prevention_bytes_are_taken_out() -> None:
    assert unescape(b"\x67\x00\x00\x03\x01\x00\x00\x03\x00\x00\x03\x03") == b"\x67\x00\x00\x01\x00\x00\x00\x00\x03"
    assert unescape(b"\x67\x00\x03\x00") == b"\x67\x00\x03\x00"


@given(st.lists(st.binary(min_size=1, max_size=40).map(lambda b: b + b"\x80"), max_size=8), st.booleans())
def test_any_payload_survives_escape_start_codes_and_lengths(payloads: list[bytes], short: bool) -> None:
    units = [nalu.escape(p) for p in payloads]
    stream = b"".join(SHORT + u for u in units) if short else to_annexb(units)
    assert split_annexb(stream) == units
    assert from_avcc(to_avcc(units)) == units
    assert [unescape(u) for u in units] == payloads


@given(st.binary(max_size=200))
def test_any_bytes_split_into_units_without_start_codes(data: bytes) -> None:
    for unit in split_annexb(data):
        assert unit
        assert not unit.endswith(b"\x00")
        assert b"\x00\x00\x01" not in unit
