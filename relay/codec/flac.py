"""FLAC (RFC 9639), written in plain Python: browsers take it in fragmented MP4, so sound needs no codec library.

One call, one frame; a frame is independent of all others, so there is no delay beyond the block itself. Frame::

    FF F9 | block size 4, sample rate 4 | channels 4, sample size 3, 0 | number of the first sample (UTF-8's way, up to 36 bits)
    [block size - 1: 8 or 16 bits] [sample rate in Hz: 16 bits] | CRC-8
    a subframe a channel:  0 | type 6 | wasted bits 1 [unary] | warm-up samples | residual
    padding to a byte | CRC-16

Subframes: constant, or a fixed predictor of order 1 or 2 with one Rice parameter, or verbatim when the sound is too loud for
the Rice tables. Codes are strings of ``0`` and ``1`` from a table, joined and turned into bytes by ``int(…, 2)``: that is the
cheapest bit writer that CPython has. G.711 has low bits that are always 0; FLAC calls them wasted and does not store them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import cache
from operator import sub

from relay.codec import pcm
from relay.errors import UsageError

#: Samples of one frame at most: the limit of the streamable subset up to 48 kHz (RFC 9639 section 7).
MAX_BLOCK = 4608

_RATE_CODES = {88200: 1, 176400: 2, 192000: 3, 8000: 4, 16000: 5, 22050: 6, 24000: 7, 32000: 8, 44100: 9, 48000: 10, 96000: 11}
_RATE_IN_HZ = 13
_BITS = 16
_BITS_CODE = 4

#: Largest Rice parameter with a table. Above it the residual of 16-bit sound is about as long as the sample itself.
_MAX_RICE = 10
#: Residuals of the table of parameter k lie within ± _REACH << k; the longest code then has 16 + 1 + k bits.
_REACH = 8


def stream_info(sample_rate: int, channels: int, max_block: int = MAX_BLOCK) -> bytes:
    """The STREAMINFO block's 34 bytes (8.2): block sizes 16 to ``max_block``, frame sizes, length and MD5 unknown."""
    if not 0 < sample_rate < 1 << 20 or not 1 <= channels <= 8 or not 16 <= max_block <= 65535:
        raise UsageError(f"no FLAC of {sample_rate} Hz, {channels} channels, blocks of {max_block}")
    packed = sample_rate << 44 | (channels - 1) << 41 | (_BITS - 1) << 36
    return (16).to_bytes(2, "big") + max_block.to_bytes(2, "big") + bytes(6) + packed.to_bytes(8, "big") + bytes(16)


# --- checksums --------------------------------------------------------------------------------------------------------------------


def _crc8_table() -> bytes:
    table = bytearray()
    for value in range(256):
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
        table.append(value)
    return bytes(table)


_CRC8 = _crc8_table()


def crc8(data: bytes) -> int:
    """x^8 + x^2 + x + 1 from 0, of the frame header."""
    table, crc = _CRC8, 0
    for byte in data:
        crc = table[crc ^ byte]
    return crc


#: Steps of the folding below for up to 120 KiB: exponent of the power that is replaced, and how far its replacement is shifted.
_FOLDS = tuple((15 << k, 1 << k, (1 << (15 << k)) - 1) for k in range(16, -1, -1))


def crc16(data: bytes) -> int:
    """x^16 + x^15 + x^2 + 1 from 0, of the whole frame.

    That polynomial is (x + 1)(x^15 + x + 1). Modulo the second factor x^15 is x + 1, and squared again and again
    x^(15 * 2^k) is x^(2^k) + 1: the message, one big integer, is folded in halves with three operations each. Modulo x + 1 only the
    parity counts. The two remainders make the one of the product. 5 µs for 600 bytes, where a table takes 40.
    """
    value = int.from_bytes(data, "big") << 16
    parity = value.bit_count() & 1
    bits = value.bit_length()
    for power, shift, mask in _FOLDS:
        if bits > power:
            high = value >> power
            value = (value & mask) ^ high ^ (high << shift)
            bits = value.bit_length()
    while value >> 15:  # the last fold leaves one bit too many at most
        high = value >> 15
        value = (value & 0x7FFF) ^ high ^ (high << 1)
    return value ^ 0x8003 if value.bit_count() & 1 != parity else value


# --- frames -----------------------------------------------------------------------------------------------------------------------


@cache
def _rice(parameter: int) -> list[str]:
    """The codes of one parameter, indexed by the residual: a list's negative indexes count from its end, as wanted."""
    reach = _REACH << parameter
    mask = (1 << parameter) - 1
    codes = []
    for residual in [*range(reach), *range(-reach, 0)]:
        folded = 2 * residual if residual >= 0 else -2 * residual - 1
        low = f"{folded & mask:0{parameter}b}" if parameter else ""
        codes.append("0" * (folded >> parameter) + "1" + low)
    return codes


def _number(value: int) -> bytes:
    """A number in UTF-8's way, continued to 36 bits (9.1.5)."""
    if value < 0x80:
        return bytes((value,))
    tail = []
    limit = 0x3F
    while value > limit:
        tail.append(0x80 | value & 0x3F)
        value >>= 6
        limit >>= 1
    lead = 0xFF ^ (2 * limit + 1) | value
    return bytes((lead, *reversed(tail)))


def _subframe(samples: Sequence[int], wasted: int) -> str:
    """One channel's samples, already without their wasted bits, as a string of bits."""
    size = _BITS - wasted
    mask = (1 << size) - 1
    flag = "0" if not wasted else "1" + "0" * (wasted - 1) + "1"
    first = samples[0]
    count = len(samples)
    if samples.count(first) == count:
        return f"0000000{flag}{first & mask:0{size}b}"
    order, residual = 1, list(map(sub, samples[1:], samples))
    cost = sum(map(abs, residual))
    if count > 2:
        second = list(map(sub, residual[1:], residual))
        second_cost = sum(map(abs, second))
        if second_cost < cost:
            order, residual, cost = 2, second, second_cost
    parameter = max((cost // len(residual)).bit_length(), 0)
    reach = max(max(residual) + 1, -min(residual))
    while reach > _REACH << parameter:
        parameter += 1
    if parameter > _MAX_RICE:
        return f"0000001{flag}" + "".join([f"{s & mask:0{size}b}" for s in samples])
    warm_up = "".join([f"{s & mask:0{size}b}" for s in samples[:order]])
    codes = _rice(parameter)
    # residual: coding method 00, partition order 0000, the parameter, the codes
    return f"0001{order:03b}{flag}{warm_up}000000{parameter:04b}" + "".join(map(codes.__getitem__, residual))


class Encoder:
    """One stream's encoder; its only state is the number of the next sample."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.stream_info = stream_info(sample_rate, channels)
        self._channels = channels
        code = _RATE_CODES.get(sample_rate, 0)
        self._rate_tail = b""
        if not code and sample_rate <= 0xFFFF:
            code, self._rate_tail = _RATE_IN_HZ, sample_rate.to_bytes(2, "big")
        self._rate_code = code  # 0: as STREAMINFO says
        self._layout = bytes(((channels - 1) << 4 | _BITS_CODE << 1,))
        self._next = 0

    def encode(self, data: bytes) -> list[tuple[bytes, int]]:
        """A block of signed 16 bit little-endian PCM as frames with the samples a channel of each (more than one beyond ``MAX_BLOCK``)."""
        return self.encode_samples(pcm.samples(data))

    def encode_samples(self, samples: array[int], wasted: int = 0) -> list[tuple[bytes, int]]:
        """The same from numbers; ``wasted`` low bits, 0 in all of them, have been shifted out already."""
        channels = self._channels
        total = len(samples) // channels
        frames: list[tuple[bytes, int]] = []
        for start in range(0, total, MAX_BLOCK):
            count = min(MAX_BLOCK, total - start)
            if channels == 1:
                numbers = samples.tolist() if count == total else samples[start : start + count].tolist()
                bits = _subframe(numbers, wasted)
            else:
                block = samples[start * channels : (start + count) * channels]
                bits = "".join([_subframe(block[channel::channels].tolist(), wasted) for channel in range(channels)])
            frames.append((self._frame(count, bits), count))
        return frames

    def _frame(self, count: int, bits: str) -> bytes:
        size = (len(bits) + 7) >> 3
        if count <= 256:
            code, tail = 6, (count - 1).to_bytes(1, "big")
        else:
            code, tail = 7, (count - 1).to_bytes(2, "big")
        head = b"\xff\xf9" + bytes((code << 4 | self._rate_code,)) + self._layout + _number(self._next) + tail + self._rate_tail
        self._next = (self._next + count) & 0xFFFFFFFFF
        frame = head + _CRC8_BYTES[crc8(head)] + (int(bits, 2) << (size * 8 - len(bits))).to_bytes(size, "big")
        return frame + crc16(frame).to_bytes(2, "big")


_CRC8_BYTES = tuple(bytes((value,)) for value in range(256))
