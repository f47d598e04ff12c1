"""The compiled loop of ``relay.hub.shortcut`` by itself: it reads nothing outside what it is given, and refuses what makes no sense.

That it makes of pictures what the loop in Python makes of them is held by ``test_shortcut``.
"""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from relay.hub.picture import PLAIN_BYTES
from relay.jt1078.packet import pictures_of
from tests.net.media_support import Camera

scan: Any = pytest.importorskip("relay.hub._scan", reason="relay.hub._scan was not compiled when this was installed").scan
KEY = bytes.fromhex("01380013800001")
WORD = int.from_bytes(b"01cd\x81\x62\0\x09", "big")  # of the packet before number 10
RULE = struct.pack(">9Q", 30, 6, 0, 0x800000, 1000, 500, 4096, 0x27, 0x1000000) + KEY + b"".join(PLAIN_BYTES[98])


def pictures(count: int, rng: random.Random) -> bytes:
    camera = Camera(seq=10)
    return b"".join(camera.picture(rng.choice((10, 300, 943, 944, 2500))) for _ in range(count))


def tags(data: bytes) -> list[tuple[int, bytes]]:
    """Stamp and body of the tags, which must follow on."""
    found = []
    at = 0
    while at < len(data):
        kind, stamp, stream, size = data[at], data[at + 4 : at + 7], data[at + 8 : at + 11], int.from_bytes(data[at + 1 : at + 4], "big")
        end = at + 11 + size
        assert (kind, stream, data[end : end + 4]) == (9, b"\0\0\0", (11 + size).to_bytes(4, "big"))
        found.append((int.from_bytes(data[at + 7 : at + 8] + stamp, "big"), data[at + 11 : end]))
        at = end + 4
    return found


def test_whole_pictures_and_the_beginning_of_one() -> None:
    rng = random.Random(1)
    whole, data = pictures(5, rng), pictures(5, random.Random(1))
    camera = Camera(seq=10 + whole.count(b"01cd"))
    camera.stamp = 1200
    data += camera.picture(3000)[:2000]
    out, pos, at, looked, packets, stamp, step, frames, usual = scan(data, len(data), RULE, WORD, 1000)
    assert (pos, packets, frames, stamp, step, usual) == (len(whole), whole.count(b"01cd"), 5, 1200, 40, True)
    assert looked == pos + 2 * 980
    assert at + 30 + int.from_bytes(data[at + 28 : at + 30], "big") == pos
    expected = [(ts - 1000, b"\x27\x01\0\0\0" + (len(body) - 4).to_bytes(4, "big") + body[4:]) for ts, body in pictures_of(whole, len(whole), 30)]
    assert tags(out) == expected


def test_nothing_outside_is_looked_at() -> None:
    data = pictures(3, random.Random(2))
    for fill in range(len(data) + 1):
        exact = data[:fill]
        assert scan(data, fill, RULE, WORD, 1000) == scan(exact, fill, RULE, WORD, 1000)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_in_the_packets(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        data = bytearray(pictures(4, rng))
        for _ in range(rng.randrange(6)):
            at = rng.randrange(len(data))
            packet = data.rfind(b"01cd", 0, at + 4)
            if rng.random() < 0.6 and 0 <= packet < len(data) - 30:
                at = packet + rng.randrange(30)
            data[at] = rng.choice((0, 1, 0xFF, rng.randrange(256)))
        out, pos, at, looked, packets, _, _, frames, usual = scan(bytes(data), len(data), RULE, WORD, 1000)
        assert 0 <= at <= pos <= len(data) and 0 <= looked <= len(data)
        assert (out is None) == (frames == 0) == (packets == 0) == (pos == 0)
        assert len(tags(out or b"")) == frames <= packets
        assert usual or pos < len(data)
        assert all(b"\0\0\1" not in body[9:] for _, body in tags(out or b""))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        ((bytearray(b"0"), 1, RULE, WORD, 1), TypeError),
        ((b"0", 2, RULE, WORD, 1), ValueError),
        ((b"0", -1, RULE, WORD, 1), ValueError),
        ((b"0", 1, b"", WORD, 1), ValueError),
        ((b"0", 1, RULE[:-1], WORD, 1), ValueError),
        ((b"0", 1, struct.pack(">Q", 31) + RULE[8:], WORD, 1), ValueError),
        ((b"0", 1, RULE[:8] + struct.pack(">Q", 1 << 40) + RULE[16:], WORD, 1), ValueError),
        ((b"0", 1, RULE, -1, 1), OverflowError),
        ((b"0", 1, RULE, WORD, 1 << 64), OverflowError),
        ((b"0", "1", RULE, WORD, 1), TypeError),
    ],
)
def test_no_sense(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        scan(*arguments)
