"""FLAC frames: every block comes back bit for bit from other people's decoders. And what all codecs have in common."""

from __future__ import annotations

import math
import random
import shutil
import subprocess
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.codec import adpcm, audio, flac, g711, pcm
from relay.codec.frame import AudioConfig
from relay.errors import UsageError

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is the judge")


def slow_crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = crc << 1 ^ (0x18005 if crc & 0x8000 else 0)
    return crc


def decode(encoder: flac.Encoder, frames: list[bytes]) -> bytes:
    file = b"fLaC\x80\x00\x00\x22" + encoder.stream_info + b"".join(frames)
    done = subprocess.run(["ffmpeg", "-v", "warning", "-f", "flac", "-i", "-", "-f", "s16le", "-"], input=file, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout


@given(st.binary(max_size=200))
def test_crc16_by_folding(data: bytes) -> None:
    assert flac.crc16(data) == slow_crc16(data)


@pytest.mark.parametrize("size", [1, 651, 8192, 20000, 130000])
def test_crc16_of_every_size(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert flac.crc16(data) == slow_crc16(data)


def test_crc8_check_value() -> None:
    assert flac.crc8(b"123456789") == 0xF4


def test_stream_info_layout() -> None:
    info = flac.stream_info(8000, 1)
    assert info.hex() == "00101200" + "000000" + "000000" + "01f400f0" + "00000000" + "00" * 16
    assert len(info) == 34
    with pytest.raises(UsageError):
        flac.stream_info(0, 1)


def sounds() -> dict[str, bytes]:
    chance = random.Random(5)
    tone = [round(12000 * math.sin(i / 3)) for i in range(3200)]
    return {
        "silence": bytes(6400),
        "constant": pcm.to_bytes(array("h", [-77] * 3200)),
        "tone": pcm.to_bytes(array("h", tone)),
        "noise": chance.randbytes(6400),
        "quiet": pcm.to_bytes(array("h", [chance.randint(-3, 3) for _ in range(3200)])),
        "extremes": pcm.to_bytes(array("h", [chance.choice((-32768, 32767)) for _ in range(3200)])),
        "bursts": pcm.to_bytes(array("h", [chance.choice((0, 0, 0, 0, 0, 9000)) for _ in range(3200)])),
    }


@needs_ffmpeg
@pytest.mark.parametrize("name", list(sounds()))
@pytest.mark.parametrize("block", [320, 160, 16, 257, 1])
def test_every_block_comes_back_bit_for_bit(name: str, block: int) -> None:
    sound = sounds()[name]
    encoder = flac.Encoder(8000, 1)
    frames = [frame for i in range(0, len(sound), 2 * block) for frame, _ in encoder.encode(sound[i : i + 2 * block])]
    assert decode(encoder, frames) == sound


@needs_ffmpeg
@pytest.mark.parametrize(("rate", "channels"), [(8000, 2), (11025, 1), (44100, 2), (96000, 1), (12345, 1), (700000, 1)])
def test_rates_and_channels(rate: int, channels: int) -> None:
    chance = random.Random(rate)
    sound = pcm.to_bytes(array("h", [chance.randint(-900, 900) for _ in range(9600)]))
    encoder = flac.Encoder(rate, channels)
    assert decode(encoder, [frame for frame, _ in encoder.encode(sound)]) == sound


@needs_ffmpeg
@pytest.mark.parametrize("law", ["g711a", "g711u"])
def test_wasted_bits_of_g711_are_not_stored_and_come_back(law: str) -> None:
    codes = bytes(range(256)) + random.Random(1).randbytes(3000) + g711.SILENCE[law] * 500
    encoder = flac.Encoder(8000, 1)
    frames = []
    for i in range(0, len(codes), 320):
        frames += [frame for frame, _ in encoder.encode_samples(g711.decode_short(law, codes[i : i + 320]), g711.WASTED[law])]
    assert decode(encoder, frames) == (g711.decode_a(codes) if law == "g711a" else g711.decode_u(codes))


def test_long_blocks_are_cut_and_sample_numbers_run_on() -> None:
    encoder = flac.Encoder(8000, 1)
    assert [count for _, count in encoder.encode(bytes(2 * 10000))] == [4608, 4608, 784]
    (frame, count), = encoder.encode(bytes(640))
    assert count == 320
    assert frame[:4] == b"\xff\xf9\x74\x08"
    assert frame[4:7] == chr(10000).encode()  # FLAC counts in UTF-8's way
    assert frame[7:9] == (319).to_bytes(2, "big")
    assert encoder.encode(b"") == []


@pytest.mark.parametrize("value", [0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF])
def test_sample_numbers_are_coded_like_characters(value: int) -> None:
    assert flac._number(value) == chr(value).encode("utf-8", "surrogatepass")


def test_sample_numbers_beyond_characters() -> None:
    assert flac._number(0x1FFFFF).hex() == "f7bfbfbf"
    assert flac._number(0x200000).hex() == "f888808080"
    assert flac._number(0xFFFFFFFFF).hex() == "febfbfbfbfbfbf"


def test_decoders_by_configuration() -> None:
    def decoder(*args: object, **extra: object) -> audio.PcmDecoder:
        found = audio.decoder(AudioConfig(*args, **extra))  # type: ignore[arg-type]
        assert found is not None
        found.reset()
        return found

    assert decoder("g711a", 8000, 1).decode(b"\xd5") == b"\x08\x00"
    assert decoder("g711u", 8000, 1).decode(b"\xff") == b"\x00\x00"
    assert decoder("pcm", 8000, 1).decode(b"\x01\x02") == b"\x01\x02"
    assert decoder("g726", 8000, 1, bits=4, layout="be").decode(bytes(160)).__len__() == 640
    assert decoder("adpcm", 8000, 1, layout="hisi").decode(bytes(164)).__len__() == 640
    for codec in ("aac", "mp3", "amr", "pt5", "g726"):
        assert audio.decoder(AudioConfig(codec, 8000, 1)) is None


def test_sample_counts() -> None:
    def count(codec: str, size: int, **extra: object) -> int:
        return audio.sample_count(AudioConfig(codec, 8000, 1, **extra), bytes(size))  # type: ignore[arg-type]

    assert count("g711a", 320) == 320
    assert count("g726", 120, bits=3) == 320
    assert count("adpcm", 164, layout="hisi") == 320
    assert count("adpcm", 164, layout="ima-wav") == 321
    assert count("adpcm", 160, layout="raw-dvi4") == 320
    assert count("pcm", 640) == 320
    assert count("aac", 99, extra=b"\x15\x88") == 1024
    assert count("amr", 32) == 160
    assert count("mp3", 3) == 0
    assert count("pt5", 30) == 0
    assert adpcm.sample_count("hisi", 2) == 0
