"""Framing of JT/T 808: escapes, checksum, cutting a byte stream, bounded memory."""

from __future__ import annotations

import contextlib
import functools
import operator
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import FrameError, UsageError
from relay.jt808.framing import MAX_CONTENT, MAX_PIECE, Deframer, checksum, escape, frame, unescape, unframe


def test_the_standards_own_example_of_escaping() -> None:
    assert escape(bytes.fromhex("307e087d55")) == bytes.fromhex("307d02087d0155")


def test_the_order_of_replacements_does_not_matter() -> None:
    assert unescape(bytes.fromhex("7d0102")) == bytes.fromhex("7d02")
    assert unescape(bytes.fromhex("7d0201")) == bytes.fromhex("7e01")
    assert unescape(bytes.fromhex("7d017d02")) == bytes.fromhex("7d7e")


@given(st.binary(max_size=1100))
def test_checksum_is_the_xor_of_all_bytes(data: bytes) -> None:
    assert checksum(data) == functools.reduce(operator.xor, data, 0)


@given(st.binary(max_size=MAX_CONTENT))
def test_what_is_framed_comes_back_and_the_checksum_is_escaped_too(content: bytes) -> None:
    wire = frame(content)
    assert wire[0] == wire[-1] == 0x7E
    assert 0x7E not in wire[1:-1]
    assert unframe(wire[1:-1]) == content


@pytest.mark.parametrize("piece", ["7d", "7d00", "7d03", "007d", "7d7d01", "7d017d"])
def test_a_lone_escape_byte_is_an_error(piece: str) -> None:
    with pytest.raises(FrameError) as caught:
        unframe(bytes.fromhex(piece))
    assert caught.value.reason == "escape"


def test_errors_come_in_the_order_escape_empty_checksum() -> None:
    for piece, reason in (("7d03", "escape"), ("", "empty"), ("01", "checksum")):
        with pytest.raises(FrameError) as caught:
            unframe(bytes.fromhex(piece))
        assert caught.value.reason == reason


def test_a_content_longer_than_a_frame_is_our_fault() -> None:
    assert len(frame(bytes(MAX_CONTENT))) == MAX_CONTENT + 3
    with pytest.raises(UsageError):
        frame(bytes(MAX_CONTENT + 1))


def test_lenient_mode_takes_an_unescaped_checksum_of_7d() -> None:
    content = bytes.fromhex("0102") + bytes((0x7D ^ 3,))
    piece = escape(content) + b"\x7d"
    with pytest.raises(FrameError):
        unframe(piece)
    assert unframe(piece, lenient=True) == content


def test_lenient_mode_takes_a_literal_7d_when_only_that_fits_the_checksum() -> None:
    content = bytes.fromhex("017d05")
    piece = content + bytes((checksum(content),))
    assert unframe(piece, lenient=True) == content
    content = bytes.fromhex("017d0109")
    piece = content + bytes((checksum(content),))
    with pytest.raises(FrameError):
        unframe(piece)
    assert unframe(piece, lenient=True) == content


STREAM = bytes.fromhex("000d0a7e7e0102037e7eff7e04057d017e067e")
PIECES = [bytes.fromhex(piece) for piece in ("000d0a", "010203", "ff", "04057d01", "06")]


def test_doubled_and_shared_flags_and_noise() -> None:
    deframer = Deframer()
    assert deframer.feed(STREAM) == PIECES
    assert deframer.buffered == 0


def test_the_same_pieces_at_every_split_and_byte_by_byte() -> None:
    for split in range(len(STREAM) + 1):
        deframer = Deframer()
        assert deframer.feed(STREAM[:split]) + deframer.feed(STREAM[split:]) == PIECES
    deframer = Deframer()
    assert [piece for i in range(len(STREAM)) for piece in deframer.feed(STREAM[i : i + 1])] == PIECES


@pytest.mark.parametrize("portion", [1, 7, 2090, 2091, 65536])
def test_a_piece_that_never_ends_costs_no_memory_and_one_error(portion: int) -> None:
    noise = b"\x01" * 100_000
    deframer = Deframer()
    seen = []
    for i in range(0, len(noise), portion):
        seen += deframer.feed(noise[i : i + portion])
        assert deframer.buffered <= MAX_PIECE
    assert [type(one) for one in seen] == [FrameError]
    assert deframer.feed(b"\x02\x7e\x03\x7e") == [b"\x03"]


def test_a_too_long_piece_inside_one_read_costs_only_itself() -> None:
    seen = Deframer().feed(b"\x7e\x01\x7e" + b"\x02" * (MAX_PIECE + 1) + b"\x7e\x03\x7e")
    assert [one if isinstance(one, bytes) else one.reason for one in seen] == [b"\x01", "too_long", b"\x03"]


def test_the_longest_piece_passes() -> None:
    longest = b"\x7d\x01" * (MAX_PIECE // 2)
    assert Deframer().feed(b"\x7e" + longest + b"\x7e") == [longest]


def test_any_bytes_in_any_portions_give_the_same_and_never_raise() -> None:
    dice = random.Random(808)
    for _ in range(300):
        data = bytes(dice.choice((0x7E, 0x7D, 0x01, 0x02, dice.randrange(256))) for _ in range(dice.randrange(200)))
        whole = Deframer().feed(data)
        deframer, parts, at = Deframer(), [], 0
        while at < len(data):
            step = dice.randrange(1, 20)
            parts += deframer.feed(data[at : at + step])
            at += step
        assert parts == whole
        for piece in whole:
            assert isinstance(piece, bytes)
            for lenient in (False, True):
                with contextlib.suppress(FrameError):
                    unframe(piece, lenient)
