"""Which messages are known as sent again, and for how long (JT/T 808 clause 6)."""

from __future__ import annotations

from zlib import crc32

from relay.jt808.header import Header
from relay.jt808.session_repeats import REPEATS_KEPT, Repeats


def header(serial: int, msg_id: int = 0x0200) -> Header:
    return Header(msg_id, "013800138000", serial)


def test_the_same_id_serial_and_content_are_a_repeat_and_get_the_same_answer() -> None:
    repeats = Repeats()
    repeats.keep(0x0200_0007, crc32(b"body"), 3)
    assert repeats.find(header(7), b"body") == 3
    assert repeats.find(header(7), b"another") is None
    assert repeats.find(header(8), b"body") is None
    assert repeats.find(header(7, 0x0704), b"body") is None


def test_the_last_few_are_remembered() -> None:
    repeats = Repeats()
    for serial in range(REPEATS_KEPT + 1):
        repeats.keep(0x0200_0000 | serial, crc32(b""), 0)
    assert repeats.find(header(0), b"") is None
    assert repeats.find(header(1), b"") == 0
    assert len(list(repeats)) == REPEATS_KEPT


def test_they_are_put_into_plain_values_and_back() -> None:
    repeats, again = Repeats(), Repeats()
    repeats.keep(0x0200_0007, 1, 0)
    repeats.keep(0x0200_0008, 2, 1)
    for kept in repeats:
        again.keep(*kept)
    assert list(again) == [(0x0200_0007, 1, 0), (0x0200_0008, 2, 1)]
