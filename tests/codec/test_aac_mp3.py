"""AAC and MP3 framing: ADTS, AudioSpecificConfig, MPEG audio headers."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.codec import aac, amr, mp3
from relay.codec.frame import AudioConfig
from relay.errors import DecodeError, UsageError
from tests.shared import load_vectors

VECTORS = load_vectors("jt1078")
LC_8K = AudioConfig("aac", 8000, 1, extra=b"\x15\x88")


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == kind]


def adts(payload: bytes, asc: bytes = b"\x15\x88") -> bytes:
    return aac.with_adts(asc, payload)


@pytest.mark.parametrize("vector", of_kind("asc"))
def test_audio_specific_config(vector: dict[str, Any]) -> None:
    fields = vector["fields"]
    config = aac.parse_asc(bytes.fromhex(vector["hex"]))
    assert {name: getattr(config, name) for name in fields} == fields
    assert aac.build_asc(config.sample_rate, config.channels, config.object_type).hex() == vector["hex"]


def test_audio_specific_configs_that_are_not_plain() -> None:
    assert aac.build_asc(8000, 1).hex() == "1588"
    assert aac.build_asc(44100, 2).hex() == "1210"
    odd = aac.build_asc(8001, 1)
    assert aac.parse_asc(odd) == aac.AudioSpecificConfig(2, 8001, 1, 1024)
    sbr = (5 << 27 | 8 << 23 | 1 << 19 | 5 << 15 | 2 << 10).to_bytes(4, "big")
    assert aac.parse_asc(sbr) == aac.AudioSpecificConfig(5, 16000, 1, 1024, 32000)
    assert aac.parse_asc(b"\x15\x8c").frame_samples == 960
    for broken in (b"", b"\x15", b"\x16\x88", b"\x15\x80", b"\x05\x88"):
        with pytest.raises(DecodeError):
            aac.parse_asc(broken)
    with pytest.raises(UsageError):
        aac.build_asc(8000, 9)


@pytest.mark.parametrize("vector", of_kind("adts"))
def test_adts_header(vector: dict[str, Any]) -> None:
    fields, data = vector["fields"], bytes.fromhex(vector["hex"])
    header = aac.parse_adts(data)
    assert {name: header.describe()[name] for name in fields} == fields
    for cut in range(7):
        with pytest.raises(DecodeError):
            aac.parse_adts(data[:cut])
    reader = aac.AacReader()
    assert reader.feed(data) == [(AudioConfig("aac", fields["sample_rate"], fields["channels"], extra=header.asc), data[7:])]


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6), st.data())
def test_adts_frames_cut_anywhere_and_joined(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(adts, payloads))
    cuts = sorted(data.draw(st.lists(st.integers(7, len(stream)), max_size=8)))
    reader = aac.AacReader()
    frames = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames += reader.feed(stream[begin:end])
    assert frames == [(LC_8K, payload) for payload in payloads]
    assert reader.skipped == 0


def test_noise_between_adts_frames_is_skipped_and_counted() -> None:
    reader = aac.AacReader()
    assert reader.feed(adts(b"one") + b"\x00\x11\xff\x22noise" + adts(b"two")) == [(LC_8K, b"one"), (LC_8K, b"two")]
    assert reader.skipped == 9
    reader.feed(adts(b"three")[:-1])
    reader.reset()
    assert reader.feed(adts(b"four")) == [(LC_8K, b"four")]


def test_raw_aac_is_taken_for_the_default_until_adts_comes() -> None:
    reader = aac.AacReader(b"\x14\x08")
    assert reader.feed(b"\x01\x02") == [(AudioConfig("aac", 16000, 1, extra=b"\x14\x08"), b"\x01\x02")]
    assert reader.feed(adts(b"x")) == [(LC_8K, b"x")]
    assert reader.feed(b"") == []


def test_latm_is_refused_by_name() -> None:
    with pytest.raises(DecodeError, match="LATM"):
        aac.AacReader().feed(b"\x56\xe0\x05hello")


def test_several_raw_data_blocks_are_refused() -> None:
    data = bytearray(adts(b"abc"))
    data[6] |= 1
    with pytest.raises(DecodeError, match="2 raw data blocks"):
        aac.parse_adts(bytes(data))


def test_damaged_adts_is_skipped_or_a_decode_error() -> None:
    chance = random.Random(19)
    for _ in range(3000):
        stream = bytearray(b"".join(adts(chance.randbytes(chance.randrange(40))) for _ in range(4)))
        for _ in range(chance.randint(1, 5)):
            stream[chance.randrange(len(stream))] = chance.randrange(256)
        reader = aac.AacReader()
        try:
            frames = reader.feed(bytes(stream)) + reader.feed(adts(b"z"))
        except DecodeError:
            continue
        assert sum(len(raw) for _, raw in frames) <= len(stream) + 8


def test_an_unfinished_frame_is_bounded() -> None:
    reader = aac.AacReader()
    reader.feed(adts(b"x"))
    for _ in range(50):
        reader.feed(b"\xff\xf1\x6c\x7f\xff\xff\xfc" + b"\xff" * 900)
    assert len(reader._pending) <= 8191


@pytest.mark.parametrize("unit", [b"\xff", b"\xff\xf1", b"\xff\xf1\x6c\x40\x00\xe0\xfc", b"\x00"])
def test_the_longest_body_takes_bounded_time(unit: bytes) -> None:
    reader = aac.AacReader()
    reader.feed(adts(b"x"))
    start = time.process_time()
    reader.feed(unit * (65535 // len(unit)))
    assert time.process_time() - start < 0.25  # some 50 ms here
    with pytest.raises(DecodeError, match="too many"):
        reader.feed(bytes(65536))


MP3 = bytes.fromhex("ffe388c4")  # MPEG-2.5 layer III, 64 kbit/s, 8 kHz, mono


def test_mp3_header() -> None:
    assert mp3.parse_header(MP3) == mp3.Mp3Header(8000, 1, 576, 576)
    assert mp3.parse_header(bytes.fromhex("fffb9064")) == mp3.Mp3Header(44100, 2, 1152, 417)
    assert mp3.parse_header(bytes.fromhex("fff348c4")) == mp3.Mp3Header(16000, 1, 576, 144)
    for broken in ("ffe3f8c4", "ffe38cc4", "ffe588c4", "ffeb88c4", "00e388c4", "ffe3"):
        with pytest.raises(DecodeError):
            mp3.parse_header(bytes.fromhex(broken))


def test_mp3_body_with_several_frames() -> None:
    frame = MP3 + bytes(572)
    config = AudioConfig("mp3", 8000, 1)
    assert mp3.split(frame * 2 + frame[:100]) == [(config, frame, 576)] * 2
    assert mp3.split(frame + b"junk") == [(config, frame, 576)]
    with pytest.raises(DecodeError):
        mp3.split(b"junk")


# AMR ------------------------------------------------------------------------------------


def test_amr_frames_of_a_body() -> None:
    frames = [bytes((kind << 3 | 4,)) + bytes(size) for kind, size in amr.SIZES.items()]
    assert amr.split(b"".join(frames)) == frames
    assert amr.split(amr.MAGIC + frames[7]) == [frames[7]]
    assert amr.split(b"") == []


@pytest.mark.parametrize("body", [b"\x3c" + bytes(30), b"\x4c" + bytes(40), b"\xbc" + bytes(31), b"\x3d" + bytes(31), b"\x7c" * 51])
def test_what_is_no_amr_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        amr.split(body)
