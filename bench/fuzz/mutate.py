"""Inputs for the fuzz program: random bytes, seeds changed, seeds spliced; and the same behind a right length and checksum, so that they get past framing."""

from __future__ import annotations

import random
import struct
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from functools import reduce
from operator import xor

#: bytes that mean something to one of the framings, and the borders of integers
TELLING = (0x00, 0x01, 0x02, 0x7E, 0x7D, 0x5A, 0x5B, 0x5D, 0x5E, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 0x30, 0x31)
NUMBERS = (0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF, 0x100, 0x3FF, 0x400, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TOKENS = (b"\x7e", b"\x7d\x01", b"\x7d\x02", b"\x5b", b"\x5d", b"\x5a\x01", b"\x5e\x02", b"01cd", b"01cd\x81\x62", b"\x00\x00\x01", b"\x00\x00\x00\x01")

_ANY = tuple(bytes((value,)) for value in range(256))
_TELLING = tuple(bytes((value,)) for value in TELLING)
_BORDERS = tuple(dict.fromkeys(number.to_bytes(width, "big") for number in NUMBERS for width in (1, 2, 4) if number < 1 << 8 * width))

Random = random.Random


def change(chance: Random, seed: bytes, others: Sequence[bytes], times: int) -> bytes:
    """``seed`` after some changes; ``others`` are what it may be spliced with."""
    data = bytearray(seed)
    randrange, choice = chance.randrange, chance.choice
    for _ in range(times):
        size = len(data)
        kind = randrange(11)
        at = randrange(size + 1)
        if kind == 0 and size:
            data[at % size] ^= 1 << randrange(8)
        elif kind == 1 and size:
            data[at % size] = choice(TELLING)
        elif kind == 2 and size:
            data[at % size] = randrange(256)
        elif kind == 3:
            del data[at : at + 1 + randrange(8)]
        elif kind == 4:
            data[at:at] = chance.randbytes(1 + randrange(8))
        elif kind == 5:
            data[at:at] = choice(TOKENS)
        elif kind == 6:
            del data[at:]
        elif kind == 7:
            piece = data[at : at + 1 + randrange(32)]
            data[at:at] = piece * (1 + randrange(3))
        elif kind == 8:
            width = choice((1, 2, 4))
            number = (choice(NUMBERS) + randrange(-1, 2)) & (1 << 8 * width) - 1
            data[at : at + width] = number.to_bytes(width, "big")
        elif kind == 9:
            other = choice(others)
            start = randrange(len(other) + 1)
            data[at:at] = other[start : start + randrange(64)]
        else:
            other = choice(others)
            data[at:] = other[randrange(len(other) + 1) :]
    return bytes(data)


def nudge(bits: int, data: bytes, other: bytes) -> bytes:
    """``data`` after one change that 64 random ``bits`` say: a tenth of the time of ``change``, for the runs of many millions."""
    at = (bits >> 16 & 0xFFFF) % (len(data) + 1)
    kind = bits & 7
    if kind < 2:  # one byte: any, or a telling one
        return data[:at] + (_ANY[bits >> 32 & 0xFF] if kind else _TELLING[bits >> 32 & 15]) + data[at + 1 :]
    if kind == 2:  # one bit
        return data[:at] + _ANY[data[at] ^ 1 << (bits >> 32 & 7)] + data[at + 1 :] if at < len(data) else data
    if kind == 3:  # bytes lost
        return data[:at] + data[at + (bits >> 32 & 7) :]
    if kind == 4:  # bytes too many
        return data[:at] + (bits >> 32).to_bytes(4, "big")[: 1 + (bits >> 3 & 3)] + data[at:]
    if kind == 5:  # cut off, or the whole as it is
        return data[:at] if bits & 8 else data
    if kind == 6:  # a number on the border
        number = _BORDERS[(bits >> 32) % len(_BORDERS)]
        return data[:at] + number + data[at + len(number) :]
    start = (bits >> 32 & 0xFFFF) % (len(other) + 1)
    return data[:at] + (other[start : start + (bits >> 48 & 63)] + data[at:] if bits & 8 else other[start:])


def fresh(chance: Random) -> bytes:
    """Bytes out of nothing: most of them of the kind that means something."""
    size = chance.choice((0, 1, 5, 14, 30, 60, 200))
    size = chance.randrange(size + 1)
    if chance.random() < 0.5:
        return chance.randbytes(size)
    return bytes(chance.choices(TELLING, k=size))


# ---- right lengths and checksums -------------------------------------------------------------------------------------------


def seal808(content: bytes) -> bytes:
    """Header and body of JT/T 808 as a frame: length, checksum and escapes right."""
    if len(content) >= 12:
        head = 17 if content[2] & 0x40 else 12
        head += 4 if content[2] & 0x20 else 0
        body = max(0, min(len(content) - head, 0x3FF))
        content = content[:2] + bytes((content[2] & 0xFC | body >> 8, body & 0xFF)) + content[4 : head + body]
    content += bytes((reduce(xor, content, 0),))
    return b"\x7e" + content.replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02") + b"\x7e"


def open808(frame: bytes) -> bytes:
    """The other way, for seeds."""
    return frame.strip(b"\x7e").replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d")[:-1]


_ESCAPES = ((b"\x5a", b"\x5a\x02"), (b"\x5b", b"\x5a\x01"), (b"\x5e", b"\x5e\x02"), (b"\x5d", b"\x5e\x01"))


def seal809(content: bytes) -> bytes:
    """Header and body of JT/T 809 as a frame: length, CRC and escapes right."""
    content = (len(content) + 4).to_bytes(4, "big") + content[4:] if len(content) >= 4 else content
    content += crc_hqx(content, 0xFFFF).to_bytes(2, "big")
    for raw, wire in _ESCAPES:
        content = content.replace(raw, wire)
    return b"\x5b" + content + b"\x5d"


def open809(frame: bytes) -> bytes:
    """The other way, for seeds."""
    content = frame[1:-1]
    for raw, wire in reversed(_ESCAPES):
        content = content.replace(wire, raw)
    return content[:-2]


def fit809(content: bytes) -> bytes:
    """The length of the envelope right as well, for whichever header size it looks like."""
    for head in (22, 30):
        for at in (head + 24, head + 2):
            if len(content) >= at + 4 and int.from_bytes(content[at : at + 2], "big") == 0:
                return content[:at] + (len(content) - at - 4).to_bytes(4, "big") + content[at + 4 :]
    return content


def seal1078(packet: bytes) -> bytes:
    """A JT/T 1078 packet with a magic and a body length that are right for a SIM field of 6 bytes."""
    if len(packet) < 18:
        return b"01cd" + packet[4:]
    kind = packet[15] >> 4
    header = 30 if kind <= 2 else 26 if kind == 3 else 18
    if len(packet) < header:
        packet = packet.ljust(header, b"\0")
    return b"01cd" + packet[4 : header - 2] + struct.pack(">H", min(len(packet) - header, 65535)) + packet[header:]


Seal = Callable[[bytes], bytes]
