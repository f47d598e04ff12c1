"""G.711 (ITU-T G.711; PT 6 A-law, PT 7 µ-law): one byte a sample, 64 kbit/s at 8 kHz.

Decoding is two look-ups in tables of 256 entries, one for each byte of the sample, done by ``bytes.translate`` over a whole
block. Encoding is one look-up by the sample's 16 bits.

A-law code, every other bit inverted (XOR 55)::    sign 1 (1 = positive) | segment 3 | interval 4
µ-law code, all bits inverted::                    sign 1 (1 = negative) | segment 3 | interval 4
"""

from __future__ import annotations

import sys
from array import array
from functools import cache

from relay.codec.pcm import samples

#: One byte of silence in each law.
SILENCE = {"g711a": b"\xd5", "g711u": b"\xff"}


def _a_value(code: int) -> int:
    """Output of an A-law code in 16 bits: the middle of its interval (table 1a, 13 bits, left-justified)."""
    code ^= 0x55
    segment, interval = code >> 4 & 7, code & 15
    value = (interval << 4) + 8
    if segment:
        value = value + 256 << segment - 1
    return value if code & 0x80 else -value


def _u_value(code: int) -> int:
    """Output of a µ-law code in 16 bits (table 2a, 14 bits, left-justified)."""
    code ^= 0xFF
    value = (((code & 15) << 3) + 132 << (code >> 4 & 7)) - 132
    return -value if code & 0x80 else value


A_VALUES = tuple(_a_value(code) for code in range(256))
U_VALUES = tuple(_u_value(code) for code in range(256))


def _bytes_of(values: tuple[int, ...], shift: int) -> tuple[bytes, bytes]:
    """Translation tables for the low and the high byte of each value, shifted right."""
    return bytes(v >> shift & 0xFF for v in values), bytes(v >> shift + 8 & 0xFF for v in values)


_A_LOW, _A_HIGH = _bytes_of(A_VALUES, 0)
_U_LOW, _U_HIGH = _bytes_of(U_VALUES, 0)

#: Low bits that are 0 in every output of the law: A-law has 13 bits, µ-law 14.
WASTED = {"g711a": 3, "g711u": 2}
_SHORT = {"g711a": _bytes_of(A_VALUES, 3), "g711u": _bytes_of(U_VALUES, 2)}


def decode_a(data: bytes) -> bytes:
    """A-law to signed 16 bit little-endian."""
    pcm = bytearray(2 * len(data))
    pcm[0::2] = data.translate(_A_LOW)
    pcm[1::2] = data.translate(_A_HIGH)
    return bytes(pcm)


def decode_u(data: bytes) -> bytes:
    """µ-law to signed 16 bit little-endian."""
    pcm = bytearray(2 * len(data))
    pcm[0::2] = data.translate(_U_LOW)
    pcm[1::2] = data.translate(_U_HIGH)
    return bytes(pcm)


def decode_short(law: str, data: bytes) -> array[int]:
    """The samples without the ``WASTED`` low bits, as an encoder that knows of them wants it."""
    low, high = _SHORT[law]
    pcm = bytearray(2 * len(data))
    pcm[0::2] = data.translate(low)
    pcm[1::2] = data.translate(high)
    return samples(bytes(pcm))


def _a_code(value: int) -> int:
    """A-law code of ``value`` in units of 16 (12 bits and sign); negative values in ones' complement, as G.191 does it."""
    sign, magnitude = (0x80, value) if value >= 0 else (0, ~value)
    if magnitude > 2047:
        magnitude = 2047
    segment = max(magnitude.bit_length() - 4, 1)
    code = magnitude if magnitude < 16 else segment << 4 | magnitude >> segment - 1 & 15
    return (code | sign) ^ 0x55


def _u_code(value: int) -> int:
    """µ-law code of ``value`` in units of 4 (13 bits and sign)."""
    sign, magnitude = (0, value) if value >= 0 else (0x80, ~value)
    magnitude = min(magnitude + 33, 0x1FFF)
    segment = magnitude.bit_length() - 6
    return (segment << 4 | magnitude >> segment + 1 & 15 | sign) ^ 0xFF


@cache
def _encode_table(law: str) -> bytes:
    """The code of each sample, by the sample's bits read as an unsigned number; 64 KiB, made at first use."""
    if law == "g711a":
        positive = b"".join(bytes((_a_code(v),)) * 16 for v in range(2048))
        negative = b"".join(bytes((_a_code(v),)) * 16 for v in range(-2048, 0))
    else:
        positive = b"".join(bytes((_u_code(v),)) * 4 for v in range(8192))
        negative = b"".join(bytes((_u_code(v),)) * 4 for v in range(-8192, 0))
    return positive + negative


def _encode(law: str, pcm: bytes) -> bytes:
    numbers = array("H", pcm if not len(pcm) & 1 else pcm[:-1])
    if sys.byteorder == "big":
        numbers.byteswap()
    return bytes(map(_encode_table(law).__getitem__, numbers))


def encode_a(pcm: bytes) -> bytes:
    """Signed 16 bit little-endian to A-law; an odd last byte is left out."""
    return _encode("g711a", pcm)


def encode_u(pcm: bytes) -> bytes:
    """Signed 16 bit little-endian to µ-law; an odd last byte is left out."""
    return _encode("g711u", pcm)
