"""One packet: every vector both ways, all truncations, the widths of the SIM field (JT/T 1078-2016 table 19)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from relay.errors import FrameError, UsageError
from relay.jt1078.packet import (
    DataType,
    Packet,
    SubpackageMark,
    build_packet,
    detect_sim_bytes,
    packetize,
    parse_packet,
    peek_header,
    sim_field,
)
from tests.shared import load_vectors

VECTORS = load_vectors("jt1078")
PACKETS = [v for v in VECTORS if v["kind"] == "packet"]
INCOMPLETE = [v for v in VECTORS if v["kind"] == "incomplete"]


def check(packet: Packet, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name == "body":
            assert packet.body.hex() == value
        elif name == "body_head":
            assert packet.body[:16].hex() == value
        elif name == "body_sha256":
            assert hashlib.sha256(packet.body).hexdigest() == value
        else:
            assert getattr(packet, name) == value, name


@pytest.mark.parametrize("vector", PACKETS, ids=lambda v: v["id"])
def test_vector_parses_with_the_width_found_out(vector: dict[str, Any]) -> None:
    packet = parse_packet(bytes.fromhex(vector["hex"]))
    assert packet is not None
    check(packet, vector["fields"])


@pytest.mark.parametrize("vector", PACKETS, ids=lambda v: v["id"])
def test_vector_parses_with_the_width_given_and_bytes_around_it(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    packet = parse_packet(b"\xff\x00" + data + b"01c", 2, vector["fields"]["sim_bytes"])
    assert packet is not None
    check(packet, vector["fields"])


@pytest.mark.parametrize("vector", PACKETS, ids=lambda v: v["id"])
def test_vector_is_built_again_byte_for_byte(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    packet = parse_packet(data)
    assert packet is not None
    assert packet.to_bytes() == data


@pytest.mark.parametrize("vector", PACKETS, ids=lambda v: v["id"])
def test_every_truncation_of_a_vector_waits_for_more(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    width = vector["fields"]["sim_bytes"]
    for cut in range(len(data)):
        assert parse_packet(data[:cut], 0, width) is None


@pytest.mark.parametrize("vector", INCOMPLETE, ids=lambda v: v["id"])
def test_incomplete_vector_waits_and_tells_what_it_knows(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    assert parse_packet(data) is None
    known = peek_header(data)
    for name, value in vector["fields"].items():
        if name not in ("result", "consumed"):
            assert known[name] == value


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"01ce" + bytes(40), "magic"),
        (b"GET ", "magic"),
        (b"01cd\x41" + bytes(40), "version"),
        (b"01cd\x81\xe2" + bytes(8) + b"\x01\x50" + bytes(2) + b"\x01\x50" + bytes(30), "data-type"),
        (b"01cd\x81\xe2" + bytes(8) + b"\x01\x04" + bytes(2) + b"\x01\x09" + bytes(30), "data-type"),
    ],
)
def test_what_is_no_packet_names_its_fault(head: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        parse_packet(head)
    assert caught.value.reason == reason


def test_two_leading_zero_bytes_do_not_mean_a_wide_sim_field() -> None:
    # seen: a 32-bit binary number in the last four bytes of a 6-byte field (jt1078-s-incomplete-003)
    one = build_packet(sim="000056aebc2a", channel=1, pt=99, data_type=1, body=b"\0\0\0\1" * 9)
    assert detect_sim_bytes(one * 2) == 6
    assert detect_sim_bytes(one) == 6


def test_both_widths_are_told_apart_by_where_the_next_magic_stands() -> None:
    for width, sim in ((6, "000000000001"), (10, "00000000000000000001")):
        for data_type, pt in ((0, 98), (3, 6), (4, 91)):
            one = build_packet(sim=sim, channel=1, pt=pt, data_type=data_type, body=bytes(70), sim_bytes=width)
            assert detect_sim_bytes(one + one) == width
            packet = parse_packet(one + one)
            assert packet is not None
            assert (packet.sim, packet.consumed) == (sim, len(one))


def test_packetize_marks_and_cuts_at_950() -> None:
    frame = bytes(range(256)) * 9
    packets = [parse_packet(p) for p in packetize(frame, sim="13800138000", channel=2, pt=98, data_type=0, seq=65535, timestamp=7)]
    found = [p for p in packets if p is not None]
    assert [(p.seq, p.subpackage, p.m, p.body_len) for p in found] == [
        (65535, SubpackageMark.FIRST, 0, 950),
        (0, SubpackageMark.MIDDLE, 0, 950),
        (1, SubpackageMark.LAST, 1, 404),
    ]
    assert b"".join(p.body for p in found) == frame
    assert {p.sim for p in found} == {"013800138000"}
    (atomic,) = packetize(b"x" * 950, sim="1", channel=1, pt=6, data_type=DataType.AUDIO)
    whole = parse_packet(atomic)
    assert whole is not None
    assert (whole.subpackage, whole.m, whole.header_len, whole.last_i_interval) == (SubpackageMark.ATOMIC, 1, 26, None)


def test_impossible_fields_are_our_own_fault() -> None:
    with pytest.raises(UsageError):
        sim_field("1234567890123", 6)
    with pytest.raises(UsageError):
        sim_field("plate", 6)
    with pytest.raises(UsageError):
        build_packet(sim="1", channel=256, pt=98, data_type=0, body=b"")
