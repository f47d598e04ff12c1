"""Writing H.264 syntax: Exp-Golomb codes and CAVLC residual blocks (ITU-T H.264 clauses 9.1 and 9.2).

Bits are texts of ``0`` and ``1``: the encoder of the test card remembers the bits of every macroblock and joins them, and joining
texts is what Python does fastest. ``to_bytes`` makes the bytes at the end, once a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from relay.errors import UsageError

#: table 9-5, coeff_token: for nC 0-1, 2-3, 4-7 and chroma DC; within each by trailing ones 0-3, then by total coefficients from there on
_COEFF_TOKEN_TEXT = (
    (
        "1 000101 00000111 000000111 0000000111 00000000111 0000000001111 0000000001011 0000000001000 00000000001111 00000000001011"
        " 000000000001111 000000000001011 0000000000001111 0000000000001011 0000000000000111 0000000000000100",
        "01 000100 00000110 000000110 0000000110 00000000110 0000000001110 0000000001010 00000000001110 00000000001010"
        " 000000000001110 000000000001010 000000000000001 0000000000001110 0000000000001010 0000000000000110",
        "001 0000101 00000101 000000101 0000000101 00000000101 0000000001101 0000000001001 00000000001101 00000000001001"
        " 000000000001101 000000000001001 0000000000001101 0000000000001001 0000000000000101",
        "00011 000011 0000100 00000100 000000100 0000000100 00000000100 0000000001100 00000000001100 00000000001000"
        " 000000000001100 000000000001000 0000000000001100 0000000000001000",
    ),
    (
        "11 001011 000111 0000111 00000111 00000100 000000111 00000001111 00000001011 000000001111 000000001011 000000001000"
        " 0000000001111 0000000001011 0000000000111 00000000001001 00000000000111",
        "10 00111 001010 000110 0000110 00000110 000000110 00000001110 00000001010 000000001110 000000001010 0000000001110"
        " 0000000001010 00000000001011 00000000001000 00000000000110",
        "011 001001 000101 0000101 00000101 000000101 00000001101 00000001001 000000001101 000000001001 0000000001101"
        " 0000000001001 0000000000110 00000000001010 00000000000101",
        "0101 0100 00110 001000 000100 0000100 000000100 00000001100 00000001000 000000001100 0000000001100 0000000001000"
        " 0000000000001 00000000000100",
    ),
    (
        "1111 001111 001011 001000 0001111 0001011 0001001 0001000 00001111 00001011 000001111 000001011 000001000 0000001101"
        " 0000001001 0000000101 0000000001",
        "1110 01111 01100 01010 01000 001110 001010 0001110 00001110 00001010 000001110 000001010 000000111 0000001100"
        " 0000001000 0000000100",
        "1101 01110 01011 01001 001101 001001 0001101 0001010 00001101 00001001 000001101 000001001 0000001011 0000000111 0000000011",
        "1100 1011 1010 1001 1000 01101 001100 0001100 00001100 00001000 000001100 0000001010 0000000110 0000000010",
    ),
    (
        "01 000111 000100 000011 000010",
        "1 000110 0000011 00000011",
        "001 0000010 00000010",
        "000101 0000000",
    ),
)

#: tables 9-7 and 9-8, total_zeros of 4x4 blocks: by total coefficients from 1 on
_TOTAL_ZEROS_TEXT = (
    "1 011 010 0011 0010 00011 00010 000011 000010 0000011 0000010 00000011 00000010 000000011 000000010 000000001",
    "111 110 101 100 011 0101 0100 0011 0010 00011 00010 000011 000010 000001 000000",
    "0101 111 110 101 0100 0011 100 011 0010 00011 00010 000001 00001 000000",
    "00011 111 0101 0100 110 101 100 0011 011 0010 00010 00001 00000",
    "0101 0100 0011 111 110 101 100 011 0010 00001 0001 00000",
    "000001 00001 111 110 101 100 011 010 0001 001 000000",
    "000001 00001 101 100 011 11 010 0001 001 000000",
    "000001 0001 00001 011 11 10 010 001 000000",
    "000001 000000 0001 11 10 001 01 00001",
    "00001 00000 001 11 10 01 0001",
    "0000 0001 001 010 1 011",
    "0000 0001 01 1 001",
    "000 001 1 01",
    "00 01 1",
    "0 1",
)

#: table 9-9 (a), total_zeros of chroma DC blocks
_TOTAL_ZEROS_DC_TEXT = ("1 01 001 000", "1 01 00", "1 0")

#: table 9-10, run_before: by zeros left from 1 on; the last one serves everything above 6
_RUN_BEFORE_TEXT = (
    "1 0",
    "1 01 00",
    "11 10 01 00",
    "11 10 01 001 000",
    "11 10 011 010 001 000",
    "11 000 001 011 010 101 100",
    "111 110 101 100 011 010 001 0001 00001 000001 0000001 00000001 000000001 0000000001 00000000001",
)

#: by context class, then [trailing ones][total coefficients]
COEFF_TOKEN = tuple(tuple(("",) * ones + tuple(row.split()) for ones, row in enumerate(rows)) for rows in _COEFF_TOKEN_TEXT)
TOTAL_ZEROS = tuple(tuple(row.split()) for row in _TOTAL_ZEROS_TEXT)
TOTAL_ZEROS_DC = tuple(tuple(row.split()) for row in _TOTAL_ZEROS_DC_TEXT)
RUN_BEFORE = tuple(tuple(row.split()) for row in _RUN_BEFORE_TEXT)

#: nC of the chroma DC blocks
CHROMA_DC = -1


@lru_cache(maxsize=1024)
def ue(value: int) -> str:
    """Unsigned Exp-Golomb."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def se(value: int) -> str:
    """Signed Exp-Golomb."""
    return ue(2 * value - 1 if value > 0 else -2 * value)


def coeff_token(n_c: int, ones: int, total: int) -> str:
    """The code that opens a block, chosen by the number of coefficients of its neighbours."""
    if n_c >= 8:
        return f"{(total - 1) << 2 | ones:06b}" if total else "000011"
    return COEFF_TOKEN[3 if n_c < 0 else 0 if n_c < 2 else 1 if n_c < 4 else 2][ones][total]


def _level(code: int, suffix_length: int) -> str:
    """level_prefix and level_suffix of one levelCode (clause 9.2.2.1)."""
    if suffix_length == 0:
        if code < 14:
            return "0" * code + "1"
        if code < 30:
            return "0" * 14 + "1" + f"{code - 14:04b}"
        rest = code - 30
    else:
        prefix = code >> suffix_length
        if prefix < 15:
            return "0" * prefix + "1" + f"{code & ((1 << suffix_length) - 1):0{suffix_length}b}"
        rest = code - (15 << suffix_length)
    if rest >= 4096:
        raise UsageError("a coefficient too large for Baseline")  # level_prefix 16 and more are for the High profiles
    return "0" * 15 + "1" + f"{rest:012b}"


def residual(levels: Sequence[int], n_c: int) -> str:
    """One block: ``levels`` are its coefficients in scanning order, all of them (4, 15 or 16)."""
    nonzero = [(index, level) for index, level in enumerate(levels) if level]
    total = len(nonzero)
    if not total:
        return coeff_token(n_c, 0, 0)
    nonzero.reverse()
    ones = 0
    for _, level in nonzero[:3]:
        if level not in (1, -1):
            break
        ones += 1
    parts = [coeff_token(n_c, ones, total)]
    parts += ["1" if level < 0 else "0" for _, level in nonzero[:ones]]
    suffix_length = 1 if total > 10 and ones < 3 else 0
    for order, (_, level) in enumerate(nonzero[ones:]):
        code = 2 * level - 2 if level > 0 else -2 * level - 1
        if order == 0 and ones < 3:
            code -= 2  # it cannot be a one, or it would be among the trailing ones
        parts.append(_level(code, suffix_length))
        if suffix_length == 0:
            suffix_length = 1
        if abs(level) > 3 << (suffix_length - 1) and suffix_length < 6:
            suffix_length += 1
    zeros = nonzero[0][0] + 1 - total
    if total < len(levels):
        parts.append((TOTAL_ZEROS_DC if n_c == CHROMA_DC else TOTAL_ZEROS)[total - 1][zeros])
    for (index, _), (following, _) in pairwise(nonzero):
        if zeros == 0:
            break
        run = index - following - 1
        parts.append(RUN_BEFORE[min(zeros, 7) - 1][run])
        zeros -= run
    return "".join(parts)


def to_bytes(bits: str) -> bytes:
    """The bits with their stop bit, filled up to whole bytes (rbsp_trailing_bits)."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
