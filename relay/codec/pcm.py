"""Linear sound, signed 16 bit little-endian: between bytes and numbers, and into a WAV file.

``bytes`` of PCM is what the decoders give and take; ``array("h")`` is what arithmetic wants.
"""

from __future__ import annotations

import sys
from array import array
from math import sqrt
from operator import mul

from relay.errors import UsageError

_SWAP = sys.byteorder == "big"


def samples(data: bytes) -> array[int]:
    """The samples of little-endian PCM; an odd last byte is left out."""
    numbers = array("h", data if not len(data) & 1 else data[:-1])
    if _SWAP:
        numbers.byteswap()
    return numbers


def to_bytes(numbers: array[int]) -> bytes:
    """Samples as little-endian PCM."""
    if _SWAP:
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def swap(data: bytes) -> bytes:
    """Big-endian PCM (PT 15, 16) to little-endian, or back; an odd last byte is left out."""
    numbers = array("h", data if not len(data) & 1 else data[:-1])
    numbers.byteswap()
    return numbers.tobytes()


def innovation(numbers: array[int], order: int = 4) -> float:
    """The part of the sound that linear prediction cannot foresee: root mean square of the prediction error.

    The measure by which bit and nibble orders are told apart. A decoder that is given its codes in the wrong order adds up
    the same differences, so its output cannot be foreseen better than that of the right order, while level and smoothness may fall
    either way (tried with tones, vowels, sweeps, engine sound and noise of every colour). Only figures of the same data are comparable.
    Levinson-Durbin recursion on the autocorrelation.
    """
    count = len(numbers)
    if count <= order:
        return 0.0
    correlation = [float(sum(map(mul, numbers[lag:] if lag else numbers, numbers))) for lag in range(order + 1)]
    error = correlation[0] * 1.00001 + 1.0  # never singular
    predictor: list[float] = []
    for step in range(1, order + 1):
        reflection = (correlation[step] - sum(map(mul, predictor, correlation[step - 1 : 0 : -1]))) / error
        predictor = [a - reflection * b for a, b in zip(predictor, predictor[::-1], strict=True)] + [reflection]
        error *= 1.0 - reflection * reflection
    return sqrt(max(error, 0.0) / count)


def wav_header(size: int, sample_rate: int, channels: int) -> bytes:
    """The 44 bytes before ``size`` bytes of 16-bit PCM in a WAV file (RIFF, all numbers little-endian)."""
    if not 0 <= size <= 0xFFFFFFFF - 36:
        raise UsageError(f"a WAV file cannot hold {size} bytes")
    frame = 2 * channels

    def le(value: int, width: int) -> bytes:
        return value.to_bytes(width, "little")

    return b"".join((
        b"RIFF", le(36 + size, 4), b"WAVE",
        b"fmt ", le(16, 4), le(1, 2), le(channels, 2), le(sample_rate, 4), le(sample_rate * frame, 4), le(frame, 2), le(16, 2),
        b"data", le(size, 4),
    ))  # fmt: skip


def wav(data: bytes, sample_rate: int, channels: int = 1) -> bytes:
    """A whole WAV file."""
    return wav_header(len(data), sample_rate, channels) + data
