"""What all audio codecs have in common: how long a block lasts, and a decoder to PCM for those that pure Python decodes."""

from __future__ import annotations

from typing import Protocol

from relay.codec import aac, adpcm, g711, g726, mp3
from relay.codec.frame import AudioConfig
from relay.errors import DecodeError

#: Codecs that ``decoder`` knows.
DECODABLE = frozenset({"g711a", "g711u", "g726", "adpcm", "pcm"})


class PcmDecoder(Protocol):
    """One stream's decoder; blocks in order, each to signed 16 bit little-endian, channels interleaved."""

    def decode(self, data: bytes, /) -> bytes:
        """One block. ``DecodeError`` when it is damaged."""

    def reset(self) -> None:
        """Forgets what runs on from block to block; for discontinuities."""


class _G711:
    def __init__(self, law: str) -> None:
        self.decode = g711.decode_a if law == "g711a" else g711.decode_u

    def reset(self) -> None:
        """Every sample stands for itself."""


class _Linear:
    def decode(self, data: bytes, /) -> bytes:
        return data

    def reset(self) -> None:
        """Every sample stands for itself."""


def decoder(config: AudioConfig) -> PcmDecoder | None:
    """A decoder of the source, or None where pure Python has none (AAC, MP3, AMR, unknown ones)."""
    codec = config.codec
    if codec in ("g711a", "g711u"):
        return _G711(codec)
    if codec == "g726" and config.bits in g726.RATES:
        return g726.Decoder(config.bits, config.layout or "le")
    if codec == "adpcm":
        return adpcm.Decoder(config.layout or "hisi")
    if codec == "pcm":
        return _Linear()
    return None


def sample_count(config: AudioConfig, data: bytes) -> int:
    """Samples a channel in one block; 0 where it cannot be told."""
    codec = config.codec
    size = len(data)
    if codec in ("g711a", "g711u"):
        return size // config.channels
    if codec == "g726" and config.bits:
        return size * 8 // config.bits
    if codec == "adpcm":
        return adpcm.sample_count(config.layout or "hisi", size)
    if codec == "pcm":
        return size // (2 * config.channels)
    if codec == "aac":
        return aac.parse_asc(config.extra).frame_samples if config.extra else aac.FRAME_SAMPLES
    if codec == "mp3":
        try:
            return mp3.parse_header(data).samples
        except DecodeError:
            return 0
    if codec == "amr":
        return config.sample_rate // 50
    return 0
