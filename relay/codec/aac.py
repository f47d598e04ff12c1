"""AAC (ISO/IEC 14496-3): ADTS frames as terminals send them (PT 19, 21, 24), raw frames and their AudioSpecificConfig as containers want them.

ADTS header (1.A.2.2), 7 bytes, or 9 with a CRC::

    syncword 12 = FFF | ID 1 | layer 2 = 0 | protection_absent 1
    profile 2 (object type - 1) | sampling_frequency_index 4 | private 1 | channel_configuration 3 | original 1 | home 1
    copyright 2 | frame_length 13 (with header) | buffer fullness 11 | raw data blocks - 1: 2 | [CRC 16]

AudioSpecificConfig (1.6.2.1)::

    object type 5 (31: 32 + 6 bits) | frequency index 4 (15: 24 bits of Hz) | channel configuration 4 | 960 samples 1 | core coder 1 | extension 1

A body may hold several ADTS frames, or a part of one. LATM/LOAS is told apart and refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from relay.codec.bitreader import BitReader
from relay.codec.frame import AudioConfig
from relay.errors import DecodeError, UsageError

SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
#: channel_configuration to channels (1.6.3.5); 0 leaves it to a program config element, which no terminal is known to send
_CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8, 11: 7, 12: 8, 14: 8}
PROFILES = ("Main", "LC", "SSR", "LTP")

#: What raw AAC without ADTS is taken for: LC, 8 kHz, mono.
DEFAULT_ASC = b"\x15\x88"
FRAME_SAMPLES = 1024

_HEADER = 7
#: The length field has 13 bits, so a frame that is still incomplete beyond this many bytes never was one.
_MAX_PENDING = 8191
#: Bytes of one body: eight of the longest frames. Terminals send one frame of some hundred bytes.
_MAX_BODY = 65535
#: Syncword and layer 0, in both versions, with and without CRC.
_SYNC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")


class AudioSpecificConfig(NamedTuple):
    """What an AudioSpecificConfig says."""

    object_type: int  #: 2 = AAC LC, 5 = SBR (HE-AAC), 29 = PS
    sample_rate: int  #: Hz, of the core coder
    channels: int
    frame_samples: int  #: samples a channel in a frame of the core coder: 1024 or 960
    extension_rate: int = 0  #: Hz after SBR, 0 without


def _rate(bits: BitReader) -> int:
    index = bits.u(4)
    if index == 15:
        rate = bits.u(24)
        if not rate:
            raise bits.error("a sampling frequency of 0")
        return rate
    if index >= len(SAMPLE_RATES):
        raise bits.error(f"sampling frequency index {index} is reserved")
    return SAMPLE_RATES[index]


def _object_type(bits: BitReader) -> int:
    kind = bits.u(5)
    return 32 + bits.u(6) if kind == 31 else kind


@lru_cache(maxsize=64)
def parse_asc(data: bytes) -> AudioSpecificConfig:
    """An AudioSpecificConfig; ``DecodeError`` for anything that is not one."""
    bits = BitReader(data[:64], "AudioSpecificConfig")
    kind = _object_type(bits)
    rate = _rate(bits)
    channel_configuration = bits.u(4)
    extension = 0
    outer = kind
    if kind in (5, 29):
        extension = _rate(bits)
        kind = _object_type(bits)
    if kind == 0:
        raise bits.error("audio object type 0")
    channels = _CHANNELS.get(channel_configuration)
    if channels is None:
        raise bits.error(f"channel configuration {channel_configuration}")
    return AudioSpecificConfig(outer, rate, channels, 960 if bits.flag() else FRAME_SAMPLES, extension)


def build_asc(sample_rate: int, channels: int, object_type: int = 2) -> bytes:
    """The AudioSpecificConfig of a plain stream: ``15 88`` for LC, 8 kHz, mono."""
    configuration = next((c for c, n in _CHANNELS.items() if n == channels), 0)
    if not configuration or not 1 <= object_type <= 30 or not 0 < sample_rate < 1 << 24:
        raise UsageError(f"no AAC of object type {object_type}, {sample_rate} Hz, {channels} channels")
    if sample_rate in SAMPLE_RATES:
        value = object_type << 11 | SAMPLE_RATES.index(sample_rate) << 7 | configuration << 3
        return value.to_bytes(2, "big")
    value = (object_type << 4 | 15) << 31 | sample_rate << 7 | configuration << 3
    return value.to_bytes(5, "big")


class AdtsHeader(NamedTuple):
    """One ADTS header."""

    object_type: int
    sample_rate: int
    channels: int
    frame_len: int  #: bytes, header included
    header_len: int  #: 7, or 9 with a CRC

    @property
    def profile(self) -> str:
        return PROFILES[self.object_type - 1]

    @property
    def asc(self) -> bytes:
        return build_asc(self.sample_rate, self.channels, self.object_type)

    def describe(self) -> dict[str, object]:
        """By the names of the vectors (spec of the media stream, section 11)."""
        return {
            "profile": self.profile,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
            "frame_len": self.frame_len,
            "header_len": self.header_len,
            "asc": self.asc.hex(),
        }


def is_adts(data: bytes) -> bool:
    """The bytes begin like an ADTS frame: syncword, layer 0, a sampling frequency that exists."""
    return len(data) >= _HEADER and data[0] == 0xFF and data[1] & 0xF6 == 0xF0 and (data[2] >> 2 & 15) < len(SAMPLE_RATES)


def is_latm(data: bytes) -> bool:
    """The bytes are LOAS: syncword 2B7 in 11 bits and a length that fits (1.7.2)."""
    return len(data) >= 3 and data[0] == 0x56 and data[1] & 0xE0 == 0xE0 and ((data[1] & 0x1F) << 8 | data[2]) + 3 == len(data)


def parse_adts(data: bytes, offset: int = 0) -> AdtsHeader:
    """The header at ``offset``; ``DecodeError`` for anything that is not one or has fewer than 7 bytes."""
    if len(data) - offset < _HEADER:
        raise DecodeError("ADTS header", offset, f"needs {_HEADER} bytes, {max(len(data) - offset, 0)} left")
    b1, b2, b3, b4, b5, b6 = data[offset + 1 : offset + _HEADER]
    if data[offset] != 0xFF or b1 & 0xF6 != 0xF0:
        raise DecodeError("ADTS header", offset, f"no syncword in {data[offset]:02x}{b1:02x}")
    rate_index = b2 >> 2 & 15
    if rate_index >= len(SAMPLE_RATES):
        raise DecodeError("ADTS header", offset + 2, f"sampling frequency index {rate_index} is reserved")
    channels = _CHANNELS.get((b2 & 1) << 2 | b3 >> 6)
    if channels is None:
        raise DecodeError("ADTS header", offset + 2, "channel configuration 0")
    header_len = _HEADER if b1 & 1 else _HEADER + 2
    frame_len = (b3 & 3) << 11 | b4 << 3 | b5 >> 5
    if frame_len < header_len:
        raise DecodeError("ADTS header", offset + 3, f"frame length {frame_len}, at least {header_len}")
    if b6 & 3:  # their borders are inside the AAC syntax (or before a CRC), so they cannot be handed on one by one
        raise DecodeError("ADTS header", offset + 6, f"{1 + (b6 & 3)} raw data blocks in a frame")
    return AdtsHeader(1 + (b2 >> 6), SAMPLE_RATES[rate_index], channels, frame_len, header_len)


def with_adts(asc: bytes, raw: bytes) -> bytes:
    """A raw frame with an ADTS header before it, for transport streams and files."""
    config = parse_asc(asc)
    kind = 2 if config.object_type in (5, 29) else config.object_type  # SBR goes unsaid ("implicit signalling")
    size = len(raw) + _HEADER
    if config.sample_rate not in SAMPLE_RATES or not 1 <= kind <= 4 or config.channels not in (1, 2, 3, 4, 5, 6, 8) or size > _MAX_PENDING:
        raise UsageError(f"ADTS cannot carry {config} with frames of {len(raw)} bytes")
    rate_index = SAMPLE_RATES.index(config.sample_rate)
    channels = 7 if config.channels == 8 else config.channels
    value = 0xFFF1 << 40 | (kind - 1) << 38 | rate_index << 34 | channels << 30 | size << 13 | 0x7FF << 2
    return value.to_bytes(_HEADER, "big") + raw


class AacReader:
    """Takes the bodies of one AAC stream, gives raw frames and the configuration each belongs to.

    ADTS is recognised by the first body that has it and expected from then on; frames may be joined in one body or cut across
    bodies. Until then bodies are raw frames of ``default_asc`` (a configured or reported format).
    """

    def __init__(self, default_asc: bytes = DEFAULT_ASC) -> None:
        self._default = audio_config(default_asc)
        self._adts = False
        self._pending = b""
        self.skipped = 0  #: bytes that belonged to no frame

    def reset(self) -> None:
        """Forgets a part of a frame; for discontinuities."""
        self._pending = b""

    def feed(self, body: bytes) -> list[tuple[AudioConfig, bytes]]:
        """The frames that are whole now. ``DecodeError`` for LATM, and for an ADTS frame that cannot be carried."""
        if len(body) > _MAX_BODY:
            raise DecodeError("AAC body", _MAX_BODY, f"{len(body)} bytes are too many")
        if not self._adts:
            if is_latm(body):
                raise DecodeError("AAC body", 0, "LATM/LOAS instead of ADTS; it is not supported")
            if not is_adts(body):
                return [(self._default, body)] if body else []
            self._adts = True
        data = self._pending + body if self._pending else body
        self._pending = b""
        frames: list[tuple[AudioConfig, bytes]] = []
        offset, size = 0, len(data)
        while size - offset >= _HEADER:
            if data[offset] != 0xFF or data[offset + 1] & 0xF6 != 0xF0:
                match = _SYNC.search(data, offset + 1)
                found = match.start() if match else size - (data[-1] == 0xFF)
                self.skipped += found - offset
                offset = found
                continue
            try:
                header = parse_adts(data, offset)
            except DecodeError:
                self.skipped += 1
                offset += 1
                continue
            end = offset + header.frame_len
            if end > size:
                break
            frames.append((_adts_config(header), data[offset + header.header_len : end]))
            offset = end
        rest = size - offset
        if rest and (rest < _HEADER or rest <= _MAX_PENDING):
            self._pending = data[offset:]
        return frames


@lru_cache(maxsize=64)
def _adts_config(header: AdtsHeader) -> AudioConfig:
    return audio_config(header.asc)


@lru_cache(maxsize=64)
def audio_config(asc: bytes) -> AudioConfig:
    """The track's description from its AudioSpecificConfig."""
    config = parse_asc(asc)
    return AudioConfig("aac", config.sample_rate, config.channels, extra=asc)
