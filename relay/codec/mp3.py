"""MPEG audio layer III (PT 25; 17 where it is layer III): the frame header (ISO/IEC 11172-3 2.4.1.3, 13818-3, and the MPEG-2.5 extension).

::

    sync 11 = 7FF | version 2 (0: 2.5, 2: 2, 3: 1) | layer 2 (1: III) | no CRC 1
    bitrate 4 | sample rate 2 | padding 1 | private 1 | mode 2 (3: mono) | extension 2 | copyright 1 | original 1 | emphasis 2
"""

from __future__ import annotations

from typing import NamedTuple

from relay.codec.frame import AudioConfig
from relay.errors import DecodeError

_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44100, 48000, 32000)


class Mp3Header(NamedTuple):
    """One frame's header."""

    sample_rate: int  #: Hz
    channels: int
    samples: int  #: a channel, in this frame
    frame_len: int  #: bytes, header included


def parse_header(data: bytes, offset: int = 0) -> Mp3Header:
    """The header at ``offset``; ``DecodeError`` for anything that is not a layer III frame of a stated bitrate."""
    if len(data) - offset < 4:
        raise DecodeError("MP3 header", offset, f"needs 4 bytes, {max(len(data) - offset, 0)} left")
    b0, b1, b2, b3 = data[offset : offset + 4]
    version, layer = b1 >> 3 & 3, b1 >> 1 & 3
    rate_index, bitrate_index = b2 >> 2 & 3, b2 >> 4
    if b0 != 0xFF or b1 & 0xE0 != 0xE0 or version == 1 or layer != 1:
        raise DecodeError("MP3 header", offset, f"no layer III syncword in {data[offset : offset + 4].hex()}")
    if rate_index == 3 or bitrate_index in (0, 15):
        raise DecodeError("MP3 header", offset + 2, f"sample rate index {rate_index}, bitrate index {bitrate_index}")
    rate = _RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    kbits = (_KBITS_1 if version == 3 else _KBITS_2)[bitrate_index]
    samples = 1152 if version == 3 else 576
    return Mp3Header(rate, 1 if b3 >> 6 == 3 else 2, samples, samples // 8 * 1000 * kbits // rate + (b2 >> 1 & 1))


def split(body: bytes) -> list[tuple[AudioConfig, bytes, int]]:
    """The whole frames of a body, each with its configuration and its samples; what follows a broken or unfinished one is left out."""
    frames: list[tuple[AudioConfig, bytes, int]] = []
    offset = 0
    while offset < len(body):
        try:
            header = parse_header(body, offset)
        except DecodeError:
            if not frames:
                raise
            break
        end = offset + header.frame_len
        if end > len(body):
            break
        frames.append((AudioConfig("mp3", header.sample_rate, header.channels), body[offset:end], header.samples))
        offset = end
    return frames
