"""Our encoder against ffmpeg's decoder: what we say a decoder sees is what it sees, to the last bit."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from relay.errors import UsageError
from relay.sim.parameter_sets import level_idc, nal
from relay.sim.tiles import OUTSIDE, PictureEncoder, encode_inter, encode_intra, tile, tile_pixels
from tests.sim.pictures import decode

COLUMNS, ROWS = 10, 9


def random_tile(rng: random.Random) -> int:
    """Noise, flats and edges of every strength: they reach all tables."""
    kind = rng.randrange(5)
    if kind == 0:
        return tile(rng.randbytes(384))
    if kind == 1:
        return tile(bytes((rng.randrange(256),)) * 256 + bytes((rng.randrange(256),)) * 64 + bytes((rng.randrange(256),)) * 64)
    if kind == 2:
        low, high = sorted((rng.randrange(256), rng.randrange(256)))
        return tile(bytes(rng.choice((low, high)) for _ in range(384)))
    if kind == 3:
        spread = rng.randrange(1, 30)
        middle = rng.randrange(spread, 256 - spread)
        return tile(bytes(middle + rng.randrange(-spread, spread) for _ in range(384)))
    return tile(bytes((16 * x + 3 * y) % 256 for y in range(16) for x in range(16)) + bytes(range(64)) + bytes(range(64, 128)))


def pictures_of(grid: list[int]) -> tuple[bytes, bytes, bytes]:
    """The planes of a grid of tiles."""
    y, u, v = bytearray(), bytearray(), bytearray()
    for row in range(ROWS):
        tiles = [tile_pixels(n) for n in grid[row * COLUMNS : (row + 1) * COLUMNS]]
        for line in range(16):
            y += b"".join(t[16 * line : 16 * line + 16] for t in tiles)
        for line in range(8):
            u += b"".join(t[256 + 8 * line : 264 + 8 * line] for t in tiles)
            v += b"".join(t[320 + 8 * line : 328 + 8 * line] for t in tiles)
    return bytes(y), bytes(u), bytes(v)


@pytest.mark.parametrize("qp", [12, 17, 22, 29])
def test_an_idr_picture_is_seen_as_we_say(qp: int, tmp_path: Path) -> None:
    rng = random.Random(qp)
    encoder = PictureEncoder(COLUMNS, ROWS, 25, qp)
    stream, expected = b"", []
    for n in range(3):
        grid = [random_tile(rng) for _ in range(COLUMNS * ROWS)]
        unit, seen = encoder.idr(grid, n & 1)
        stream += encoder.parameter_sets + unit
        expected.append(pictures_of(seen))
    assert [p[2:] for p in decode(stream, 16 * COLUMNS, 16 * ROWS, tmp_path)] == expected


@pytest.mark.parametrize("qp", [12, 17, 22, 29])
def test_p_pictures_come_near_what_was_drawn_and_leave_the_rest_alone(qp: int, tmp_path: Path) -> None:
    rng = random.Random(100 + qp)
    encoder = PictureEncoder(COLUMNS, ROWS, 25, qp)
    unit, seen = encoder.idr([random_tile(rng) for _ in range(COLUMNS * ROWS)], 0)
    stream = encoder.parameter_sets + unit
    drawn = []
    for n in range(1, 8):
        changes = {index: random_tile(rng) for index in rng.sample(range(COLUMNS * ROWS), 5 * n)}
        stream += encoder.predicted(seen, changes, n)
        drawn.append(changes)
    stream += encoder.predicted(seen, {}, 8)
    pictures = decode(stream, 16 * COLUMNS, 16 * ROWS, tmp_path)
    assert len(pictures) == 9
    assert pictures[8] == pictures[0]
    allowed = 2 + 2 ** (qp / 6) * 0.625 * 2  # two quantiser steps; the mean error is far below
    for changes, picture in zip(drawn, pictures[1:], strict=False):
        for index in range(COLUMNS * ROWS):
            left, top = 16 * (index % COLUMNS), 16 * (index // COLUMNS)
            luma = b"".join(picture.y[(top + r) * picture.width + left : (top + r) * picture.width + left + 16] for r in range(16))
            if index not in changes:
                assert luma == tile_pixels(seen[index])[:256]
            else:
                wanted = tile_pixels(changes[index])[:256]
                assert sum(abs(a - b) for a, b in zip(luma, wanted, strict=True)) / 256 < allowed


def test_a_macroblock_that_needs_nothing_is_skipped() -> None:
    number = tile(bytes((90,)) * 384)
    assert encode_inter(number, number, bytes(8), bytes(8), 22) is None


def test_the_same_block_in_the_same_place_is_encoded_once() -> None:
    number = tile(random.Random(5).randbytes(384))
    assert encode_intra(number, OUTSIDE, OUTSIDE, 22) is encode_intra(number, OUTSIDE, OUTSIDE, 22)


def test_start_codes_cannot_appear_inside() -> None:
    raw = bytes.fromhex("00000000 00000001 00000203 00000300 00040000 00")
    unit = nal(0x65, "".join(f"{byte:08b}" for byte in raw))
    assert unit.startswith(b"\x00\x00\x00\x01\x65\x00\x00\x03\x00\x00\x03\x00\x00\x03\x00\x01")
    assert b"\x00\x00\x00" not in unit[4:]
    assert b"\x00\x00\x01" not in unit[4:]
    assert b"\x00\x00\x02" not in unit[4:]
    assert unit[5:].replace(b"\x00\x00\x03", b"\x00\x00") == raw + b"\x80"


@pytest.mark.parametrize(
    ("size", "fps", "level"), [((22, 18), 25, 13), ((40, 22), 25, 30), ((40, 22), 20, 22), ((80, 45), 25, 31), ((120, 68), 25, 40)]
)
def test_levels_of_table_a_1(size: tuple[int, int], fps: int, level: int) -> None:
    assert level_idc(*size, fps) == level


def test_sizes_and_qps_that_cannot_be() -> None:
    with pytest.raises(UsageError):
        PictureEncoder(1000, 1000, 25)
    with pytest.raises(UsageError):
        encode_intra(tile(bytes(384)), OUTSIDE, OUTSIDE, 30)
    with pytest.raises(UsageError):
        PictureEncoder(22, 18, 25, qp=4)
    with pytest.raises(UsageError):
        tile(b"short")
