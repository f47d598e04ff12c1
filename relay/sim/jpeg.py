"""Photos of a simulated camera: baseline JPEG (ITU-T T.81) of one grey value a block, drawn and encoded in plain Python.

    FFD8 | FFE0 JFIF | FFDB quantisation | FFC0 frame | FFC4 two Huffman tables | FFDA scan: per block the step of its mean, and "nothing else" | FFD9

A block of 8x8 pixels has only its mean (DC), so a picture is a mosaic; that is all a test needs, and any viewer shows it.
"""

from __future__ import annotations

from collections.abc import Callable

BLOCK = 8
_DC_STEP = 8  #: quantiser of the mean: 8 units of DC are one step of grey
#: code lengths of the DC table: one code of 2 bits … as in T.81 K.3, table K.3; categories 0 to 11
_DC_COUNTS = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
_DC_VALUES = tuple(range(12))
#: the AC table has but one code, "end of block"
_AC_COUNTS = (0, 1, *(0,) * 14)
_AC_VALUES = (0,)


def _codes(counts: tuple[int, ...], values: tuple[int, ...]) -> dict[int, tuple[int, int]]:
    """value -> (code, length), T.81 annex C."""
    codes, code, place = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes[values[place]] = code, length
            code += 1
            place += 1
        code <<= 1
    return codes


_DC_CODES = _codes(_DC_COUNTS, _DC_VALUES)
_EOB = _codes(_AC_COUNTS, _AC_VALUES)[0]


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def mosaic(width: int, height: int, grey: Callable[[int, int], int]) -> bytes:
    """A picture of ``width`` x ``height`` blocks; ``grey(x, y)`` gives 0 to 255 for each."""
    bits, count = 0, 0
    before = 0
    for y in range(height):
        for x in range(width):
            mean = round((grey(x, y) - 128) * 8 / _DC_STEP)
            step, before = mean - before, mean
            size = abs(step).bit_length()
            code, length = _DC_CODES[size]
            bits, count = bits << length | code, count + length
            if size:
                bits, count = bits << size | (step if step > 0 else step + (1 << size) - 1), count + size
            bits, count = bits << _EOB[1] | _EOB[0], count + _EOB[1]
    pad = -count % 8
    scan = (bits << pad | (1 << pad) - 1).to_bytes((count + pad) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = bytes((8, *(height * BLOCK).to_bytes(2, "big"), *(width * BLOCK).to_bytes(2, "big"), 1, 1, 0x11, 0))
    return b"".join((
        b"\xff\xd8",
        _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
        _segment(0xDB, b"\0" + bytes((_DC_STEP,)) + bytes((1,)) * 63),
        _segment(0xC0, frame),
        _segment(0xC4, b"\x00" + bytes(_DC_COUNTS) + bytes(_DC_VALUES)),
        _segment(0xC4, b"\x10" + bytes(_AC_COUNTS) + bytes(_AC_VALUES)),
        _segment(0xDA, bytes((1, 1, 0x00, 0, 63, 0))),
        scan,
        b"\xff\xd9",
    ))  # fmt: skip


#: digits of 3 x 5 blocks
_ROWS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757", "7": "71244", "8": "75757", "9": "75717",
}  # fmt: skip


def photo(words: str, width: int = 80, height: int = 60, seed: int = 0) -> bytes:
    """A picture of 640x480 with a few digits on a slope of grey that differs with ``seed``."""
    lit: set[tuple[int, int]] = set()
    scale = 4
    for place, digit in enumerate(c for c in words if c in _ROWS):
        for row, pattern in enumerate(_ROWS[digit]):
            for column in range(3):
                if int(pattern) >> (2 - column) & 1:
                    for dy in range(scale):
                        for dx in range(scale):
                            lit.add((4 + place * 4 * scale + column * scale + dx, 20 + row * scale + dy))

    def grey(x: int, y: int) -> int:
        if (x, y) in lit:
            return 250
        return 40 + (x * 3 + y * 2 + seed * 37 + (x * 7919 + y * 104729 + seed) % 13) % 120

    return mosaic(width, height, grey)
