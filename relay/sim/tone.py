"""The sound of the test card: a soft tone that changes its octave every second, coded as terminals code it.

A cycle lasts two seconds (one second of the tone, one of its octave), begins with the clock's even second, and is coded once; what a
terminal sends is the cycle over and over. AAC needs the media extra.
"""

from __future__ import annotations

import math
from array import array
from functools import lru_cache
from typing import Any, NamedTuple

from relay.codec import adpcm, g711, g726, hisi, pcm
from relay.errors import RelayError, UsageError

RATE = 8000
BLOCK = 320  #: samples a packet: 40 ms, what most terminals send

#: pitch by channel, Hz: a chord, so that channels are told apart by ear; channel 1 has concert pitch
PITCHES = (440, 330, 550, 660, 370, 495, 590, 290)

#: -19 dBFS: audible, never startling
_VOLUME = 3600
_FADE_S = 0.04


class Sound(NamedTuple):
    """A cycle of coded sound, to be repeated."""

    pt: int  #: payload type of JT/T 1078
    blocks: list[bytes]
    block_ms: float
    sample_rate: int


class MediaMissingError(RelayError):
    """Something needs PyAV, which is not installed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs the media extra: pip install 'jt1078relay[media]'")


def wave(pitch: int) -> array[int]:
    """Two seconds: the tone, then its octave, with soft beginnings and ends and a little decay."""
    samples = array("h")
    for tone in (pitch, 2 * pitch):
        turn = 2 * math.pi * tone / RATE
        for n in range(RATE):
            t = n / RATE
            envelope = min(1.0, t / _FADE_S, (1 - t) / _FADE_S) * (0.6 + 0.4 * math.exp(-3 * t))
            samples.append(round(_VOLUME * envelope * (0.9 * math.sin(turn * n) + 0.1 * math.sin(2 * turn * n))))
    return samples


def _chunks(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def _with_pyav(codec: str, samples: array[int], bit_rate: int, repeat: int = 1) -> list[bytes]:
    """Packets of an encoder of PyAV."""
    try:
        import av
    except ImportError:
        raise MediaMissingError(f"{codec} sound") from None
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.sample_rate = RATE
    encoder.layout = "mono"
    encoder.bit_rate = bit_rate
    encoder.format = "fltp" if codec == "aac" else "s16"
    encoder.open()
    resampler = av.AudioResampler(format=encoder.format, layout="mono", rate=RATE, frame_size=encoder.frame_size or BLOCK)
    packets = []
    for part in _chunks(pcm.to_bytes(samples) * repeat, 2 * BLOCK):
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(part) // 2)
        frame.sample_rate = RATE
        frame.planes[0].update(part)
        for piece in resampler.resample(frame):
            packets += [bytes(packet) for packet in encoder.encode(piece)]
    for piece in resampler.resample(None):
        packets += [bytes(packet) for packet in encoder.encode(piece)]
    return packets + [bytes(packet) for packet in encoder.encode(None)]


def adts(frame: bytes, sample_rate: int = RATE, channels: int = 1) -> bytes:
    """A raw AAC-LC frame with its ADTS header, as terminals send it."""
    rates = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
    bits = 0xFFF1 << 40 | 1 << 38 | rates.index(sample_rate) << 34 | channels << 30 | (len(frame) + 7) << 13 | 0x7FF << 2
    return bits.to_bytes(7, "big") + frame


@lru_cache(maxsize=32)
def sound(codec: str, channel: int = 1, hisi_header: bool = False) -> Sound:
    """The cycle of a channel: ``codec`` is g711a, g711u, adpcm, g726 or aac."""
    samples = wave(PITCHES[(channel - 1) % len(PITCHES)])
    block_ms = BLOCK * 1000 / RATE
    if codec == "g711a":
        made = Sound(6, _chunks(g711.encode_a(pcm.to_bytes(samples)), BLOCK), block_ms, RATE)
    elif codec == "g711u":
        made = Sound(7, _chunks(g711.encode_u(pcm.to_bytes(samples)), BLOCK), block_ms, RATE)
    elif codec == "adpcm":
        dvi = adpcm.Encoder("hisi")
        made = Sound(26, [dvi.encode(block) for block in _chunks(pcm.to_bytes(samples), 2 * BLOCK)], block_ms, RATE)
    elif codec == "g726":
        made = Sound(8, _chunks(g726.Encoder(4, "le").encode(pcm.to_bytes(samples)), BLOCK // 2), block_ms, RATE)
    elif codec == "aac":
        # eight cycles are 125 frames of 1,024 samples exactly; the first one the encoder gives lies before the beginning
        made = Sound(19, [adts(frame) for frame in _with_pyav("aac", samples, 24000, 8)[1:126]], 1024 * 1000 / RATE, RATE)
    else:
        raise UsageError(f"no such sound: {codec!r} (g711a, g711u, adpcm, g726, aac)")
    if hisi_header and codec != "aac":
        made = made._replace(blocks=[hisi.add_header(block) for block in made.blocks])
    return made
