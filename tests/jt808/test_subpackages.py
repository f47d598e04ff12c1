"""Sub-packages: JT/T 808 clause 4.4.3, and what terminals make of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import SequenceError, UsageError
from relay.jt808.framing import FLAG
from relay.jt808.header import decode_frame
from relay.jt808.subpackages import (
    ASK_HOLE_S,
    ASK_MAX,
    ASK_QUIET_S,
    AssemblyPool,
    Reassembler,
    SentPieces,
    SubpackageLimits,
    split,
)
from tests.shared import load_vectors

PHOTO = 0x0801


def feed(parts: Reassembler, order: list[int], bodies: list[bytes], first: int = 40, now: float = 0.0, msg_id: int = PHOTO):
    """Pieces with the standard's consecutive serials, in the order given; what came out."""
    out = []
    for index in order:
        done = parts.add(msg_id, len(bodies), index, (first + index - 1) & 0xFFFF, bodies[index - 1], now)
        if done:
            out.append(done)
    return out


BODIES = [b"one", b"two", b"three", b"four"]


def test_pieces_in_order_make_the_message():
    [done] = feed(Reassembler(), [1, 2, 3, 4], BODIES)
    assert (done.msg_id, done.body, done.serial, done.last_serial, done.total) == (PHOTO, b"onetwothreefour", 40, 43, 4)


@given(st.permutations([1, 2, 3, 4]), st.lists(st.integers(1, 4), max_size=8))
def test_any_order_and_any_repeats_make_it_once(order, repeats):
    parts = Reassembler()
    sequence = list(order)
    random.Random(len(repeats)).shuffle(repeats)
    out = feed(parts, sequence + repeats, BODIES)
    assert [done.body for done in out] == [b"onetwothreefour"]
    assert parts.size == 0
    assert len(parts) == 0


def test_repeats_between_the_pieces_change_nothing():
    parts = Reassembler()
    [done] = feed(parts, [1, 1, 2, 1, 2, 3, 3, 4], BODIES)
    assert done.body == b"onetwothreefour"
    assert parts.duplicates == 4


def test_serials_wrap():
    [done] = feed(Reassembler(), [1, 2, 3, 4], BODIES, first=0xFFFE)
    assert (done.serial, done.last_serial) == (0xFFFE, 1)


def test_a_single_piece_with_the_bit_set_is_complete():
    done = Reassembler().add(0x0200, 1, 1, 9, b"whole", 0.0)
    assert done is not None
    assert done.body == b"whole"


@pytest.mark.parametrize(("total", "index"), [(0, 0), (3, 0), (3, 4), (0, 1), (65535, 1)])
def test_impossible_numbers_are_refused(total, index):
    parts = Reassembler()
    with pytest.raises(SequenceError, match="0x0801"):
        parts.add(PHOTO, total, index, 5, b"x", 0.0)
    assert parts.size == 0


@pytest.mark.parametrize("order", [[1, 2, 3], [2, 1, 3], [3, 2, 1]])
def test_other_messages_may_take_serials_in_between(order):
    serials = {1: 100, 2: 104, 3: 105}
    bodies = {1: b"a", 2: b"b", 3: b"c"}
    parts = Reassembler()
    out = [parts.add(0x0704, 3, i, serials[i], bodies[i], 0.0) for i in order]
    assert out[:2] == [None, None]
    assert out[2] is not None
    assert out[2].body == b"abc"
    assert out[2].serial == 100


def test_real_pieces_with_broken_serials():
    vectors = {v["id"]: v for v in load_vectors("jt808")}
    if not vectors:
        pytest.skip("shared vectors are not there")
    parts = Reassembler()
    out = []
    for name in ("jt808-0104-2013-f-4", "jt808-0104-2013-f-5"):
        header, body = decode_frame(bytes.fromhex(vectors[name]["hex"]).strip(FLAG))
        assert header.package_total is not None
        assert header.package_index is not None
        out.append(parts.add(header.msg_id, header.package_total, header.package_index, header.serial, body, 0.0))
    assert out[0] is None
    assert out[1] is not None
    assert len(out[1].body) == 1008 + 211
    assert out[1].body[:3] == bytes.fromhex("00006b")


def test_two_messages_of_one_kind_interleaved_stay_apart():
    parts = Reassembler()
    other = [b"UNO", b"DUE", b"TRE", b"QUATTRO"]
    assert feed(parts, [1, 2], BODIES, first=40) == []
    assert feed(parts, [1, 2], other, first=44) == []
    [late] = feed(parts, [4, 3], other, first=44)
    [early] = feed(parts, [3, 4], BODIES, first=40)
    assert late.body == b"UNODUETREQUATTRO"
    assert early.body == b"onetwothreefour"


def test_a_piece_asked_for_again_finds_its_own_message_although_serials_are_broken():
    parts = Reassembler()
    parts.add(PHOTO, 3, 1, 100, b"a", 0.0)
    parts.add(PHOTO, 3, 2, 103, b"b", 0.0)
    parts.add(PHOTO, 3, 1, 110, b"A", 1.0)
    done = parts.add(PHOTO, 3, 3, 104, b"c", 2.0)
    assert done is not None
    assert done.body == b"abc"
    assert len(parts) == 1


def test_index_one_again_begins_anew():
    parts = Reassembler()
    feed(parts, [1, 2], BODIES, first=40)
    [done] = feed(parts, [1, 2, 3, 4], [b"1", b"2", b"3", b"4"], first=90)
    assert done.body == b"1234"


def test_the_same_message_from_its_beginning_supersedes_its_half():
    parts = Reassembler()
    feed(parts, [1, 2], BODIES, first=40)
    feed(parts, [1], BODIES, first=90)
    assert len(parts) == 1
    [done] = feed(parts, [2, 3, 4], BODIES, first=90)
    assert done.serial == 90


def test_a_restarted_terminal_with_the_same_serials_begins_anew():
    parts = Reassembler()
    feed(parts, [1, 2], BODIES, first=0)
    [done] = feed(parts, [1, 2, 3, 4], [b"1", b"2", b"3", b"4"], first=0)
    assert done.body == b"1234"
    assert len(parts) == 0


def test_late_repeats_of_a_finished_message_start_nothing():
    parts = Reassembler()
    feed(parts, [1, 2, 3, 4], BODIES)
    assert feed(parts, [2, 4], BODIES, now=30.0) == []
    assert len(parts) == 0
    assert parts.duplicates == 2
    parts.tick(61.0)
    feed(parts, [2], BODIES, now=61.0)
    assert len(parts) == 1


def test_constant_serials_are_survived():
    # seen: cheap simulators whose serial never moves
    parts = Reassembler()
    for round_number in range(3):
        bodies = [b"%d%d" % (round_number, i) for i in range(3)]
        out = [parts.add(0x0704, 3, i + 1, 0, bodies[i], 0.0) for i in range(3)]
        assert out[2] is not None
        assert out[2].body == b"".join(bodies)


# ---- missing pieces -------------------------------------------------------------------------------------------------


def test_a_hole_is_asked_for_once_the_last_piece_is_here():
    parts = Reassembler()
    feed(parts, [1, 3, 4], BODIES)
    assert parts.next_deadline() == ASK_HOLE_S
    assert parts.missing(0.5) == []
    [lack] = parts.missing(ASK_HOLE_S)
    assert (lack.msg_id, lack.original_serial, lack.indexes, lack.first_body) == (PHOTO, 40, (2,), b"one")


def test_silence_is_asked_about_and_the_pause_grows():
    parts = Reassembler()
    feed(parts, [2], BODIES)
    times = []
    now = 0.0
    while now < 59:
        for lack in parts.missing(now):
            assert lack.original_serial == 40
            assert lack.indexes == (1, 3, 4)
            assert lack.first_body is None
            times.append(now)
        now += 1.0
    # T(N+1) = T(N) x (N+1): 5, 5, 10, 30 (the third request is the last)
    assert times == [ASK_QUIET_S, 10.0, 20.0]
    assert len(times) == ASK_MAX


def test_the_original_serial_is_that_of_piece_one_also_when_serials_are_broken():
    parts = Reassembler()
    parts.add(0x0104, 3, 3, 1300, b"c", 0.0)
    parts.add(0x0104, 3, 1, 1233, b"a", 0.0)
    [lack] = parts.missing(10.0)
    assert (lack.original_serial, lack.indexes) == (1233, (2,))


def test_the_list_of_one_request_fits_its_count_byte():
    parts = Reassembler()
    parts.add(PHOTO, 4000, 4000, 5, b"x", 0.0)
    [lack] = parts.missing(10.0)
    assert lack.indexes == tuple(range(1, 256))


# ---- limits ---------------------------------------------------------------------------------------------------------


def test_age_gives_a_set_up_and_progress_keeps_it():
    parts = Reassembler(SubpackageLimits(timeout_s=60.0))
    feed(parts, [1], BODIES, now=0.0)
    feed(parts, [2], BODIES, now=50.0)
    assert parts.tick(100.0) == []
    feed(parts, [2], BODIES, now=100.0)  # a repeat is no progress
    [gone] = parts.tick(110.0)
    assert (gone.msg_id, gone.total, gone.received, gone.reason) == (PHOTO, 4, 2, "timeout")
    assert parts.size == 0
    assert parts.pool.size == 0
    assert parts.next_deadline() is None


def test_never_finishing_ends_after_ten_timeouts_however_steady():
    parts = Reassembler(SubpackageLimits(timeout_s=10.0))
    now = 0.0
    given_up = []
    for index in range(1, 60):
        parts.add(PHOTO, 60, index, index, b"x", now)
        now += 2.0
        given_up += parts.tick(now)
    assert given_up
    assert given_up[0].received <= 51


def test_bytes_of_one_link_are_bounded_and_the_stalest_goes():
    parts = Reassembler(SubpackageLimits(bytes=10_000))
    for number in range(100):
        parts.add(PHOTO, 50 + number, 1, 0, bytes(1000), float(number))
        assert parts.size <= 10_000
    dropped = parts.tick(100.0)
    assert dropped
    assert {d.reason for d in dropped} == {"link limit"}
    assert parts.pool.size == parts.size


def test_messages_of_one_link_are_bounded():
    parts = Reassembler(SubpackageLimits(messages=8))
    for number in range(100):
        parts.add(PHOTO, 3, 1, number * 10, b"%d" % number, 0.0)
    assert len(parts) == 8


def test_empty_pieces_cannot_evade_the_limit():
    parts = Reassembler(SubpackageLimits(bytes=100_000))
    for serial in range(4000):
        parts.add(PHOTO, 4096, serial + 1, serial, b"", 0.0)
    assert parts.size <= 100_000


def test_ten_thousand_links_share_one_limit_and_the_honest_one_finishes():
    pool = AssemblyPool(limit_bytes=1_000_000)
    links = [Reassembler(pool=pool) for _ in range(2_000)]
    honest = Reassembler(pool=pool)
    bodies = [bytes([i]) * 1000 for i in range(20)]
    done = None
    for step in range(20):
        for link in links[step * 100 : step * 100 + 100]:
            link.add(PHOTO, 65, 1, 7, bytes(1000), float(step))
        done = honest.add(PHOTO, 20, step + 1, step, bodies[step], float(step))
        assert pool.size <= 1_000_000
    assert done is not None
    assert done.body == b"".join(bodies)
    assert any(d.reason == "process limit" for link in links for d in link.tick(20.0))


def test_clear_gives_the_memory_back():
    pool = AssemblyPool()
    parts = Reassembler(pool=pool)
    feed(parts, [1, 2], BODIES)
    parts.clear()
    assert (len(parts), parts.size, pool.size, len(pool)) == (0, 0, 0, 0)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 7), st.integers(0, 0xFFFF), st.binary(max_size=8), st.floats(0, 30)),
        max_size=80,
    )
)
def test_any_pieces_leave_the_counts_true(pieces):
    pool = AssemblyPool(limit_bytes=2000)
    parts = Reassembler(SubpackageLimits(messages=4, bytes=1500, total=6), pool)
    now = 0.0
    for msg_id, total, index, serial, body, pause in pieces:
        now += pause
        try:
            parts.add(msg_id, total, index, serial, body, now)
        except SequenceError:
            pass
        parts.missing(now)
        parts.tick(now)
        assert parts.size == pool.size <= 1500
        assert len(parts) == len(pool) <= 4
    parts.tick(now + 1000)
    assert (parts.size, pool.size, parts.next_deadline()) == (0, 0, None)


# ---- sending --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "sizes"), [(0, [0]), (1023, [1023]), (1024, [1000, 24]), (2000, [1000, 1000]), (2001, [1000, 1000, 1])])
def test_splitting(length, sizes):
    body = bytes(i & 0xFF for i in range(length))
    pieces = split(body)
    assert [len(p) for p in pieces] == sizes
    assert b"".join(pieces) == body


def test_splitting_more_than_the_header_can_count_is_our_mistake():
    with pytest.raises(UsageError, match="sub-packages"):
        split(bytes(70_000), piece=1)
    with pytest.raises(UsageError, match="1024"):
        split(bytes(2000), piece=1024)


def test_sent_pieces_are_repeated_unchanged():
    sent = SentPieces()
    sent.keep(7, [b"a", b"b", b"c"])
    assert sent.repeat(7, [3, 1, 3, 9, 0]) == [b"c", b"a"]
    assert sent.repeat(8, [1]) == []


def test_sent_pieces_are_bounded_but_the_newest_stays():
    sent = SentPieces()
    for serial in range(10):
        sent.keep(serial, [bytes(100)])
    assert sent.repeat(0, [1]) == []
    assert sent.repeat(9, [1]) == [bytes(100)]
    sent.keep(11, [bytes(1_000_000)])
    assert sent.repeat(9, [1]) == []
    assert sent.repeat(11, [1]) == [bytes(1_000_000)]
