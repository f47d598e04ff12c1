"""The tone, decoded by the project's own decoders (judged elsewhere against public vectors) and measured."""

from __future__ import annotations

import math
from array import array

import pytest

from relay.codec import adpcm, g711, g726, hisi, pcm
from relay.errors import UsageError
from relay.sim import tone


def strength(samples: array[int], hertz: float, begin: int, count: int = 4000) -> float:
    """How much of a frequency is in a stretch (Goertzel's filter), as an amplitude."""
    turn = 2 * math.cos(2 * math.pi * hertz / tone.RATE)
    a = b = 0.0
    for value in samples[begin : begin + count]:
        a, b = value + turn * a - b, a
    return math.sqrt(max(0.0, a * a + b * b - turn * a * b)) * 2 / count


DECODERS = {
    "g711a": lambda blocks: g711.decode_a(b"".join(blocks)),
    "g711u": lambda blocks: g711.decode_u(b"".join(blocks)),
    "adpcm": lambda blocks: adpcm.Decoder("hisi").decode(b"".join(blocks)) if len(blocks) == 1 else b"".join(adpcm.Decoder("hisi").decode(b) for b in blocks),
    "g726": lambda blocks: g726.Decoder(4, "le").decode(b"".join(blocks)),
}


@pytest.mark.parametrize(("codec", "pt", "size"), [("g711a", 6, 320), ("g711u", 7, 320), ("adpcm", 26, 164), ("g726", 8, 160)])
@pytest.mark.parametrize("channel", [1, 2])
def test_a_second_of_the_tone_and_a_second_of_its_octave(codec: str, pt: int, size: int, channel: int) -> None:
    if codec == "g726":
        pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    sound = tone.sound(codec, channel)
    assert (sound.pt, sound.block_ms, sound.sample_rate) == (pt, 40, 8000)
    assert len(sound.blocks) == 50
    assert {len(block) for block in sound.blocks} == {size}
    samples = pcm.samples(DECODERS[codec](sound.blocks))
    pitch = tone.PITCHES[channel - 1]
    for begin, loud, quiet in ((2000, pitch, 2 * pitch), (10000, 2 * pitch, pitch)):
        assert strength(samples, loud, begin) > 1000
        assert strength(samples, quiet, begin) < strength(samples, loud, begin) / 5
    assert max(map(abs, samples)) < 6000  # never startling
    assert abs(samples[0]) < 50


def test_channel_1_has_concert_pitch_and_its_neighbours_others() -> None:
    assert tone.PITCHES[0] == 440
    assert len(set(tone.PITCHES)) == len(tone.PITCHES)


def test_the_hisilicon_header_stands_before_every_block() -> None:
    plain, wrapped = tone.sound("g711a"), tone.sound("g711a", hisi_header=True)
    assert wrapped.blocks[0][:4] == bytes((0, 1, 160, 0))
    assert [hisi.strip(block) for block in wrapped.blocks] == plain.blocks


def test_aac_comes_in_adts_frames() -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    sound = tone.sound("aac")
    assert (sound.pt, sound.block_ms, len(sound.blocks)) == (19, 128, 125)
    for block in sound.blocks:
        assert block[:2] == b"\xff\xf1"
        assert (block[3] & 3) << 11 | block[4] << 3 | block[5] >> 5 == len(block)


def test_without_pyav_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(tone.MediaMissingError, match=r"jt1078relay\[media\]"):
        tone.sound.__wrapped__("aac")


def test_an_unknown_codec_is_our_own_mistake() -> None:
    with pytest.raises(UsageError):
        tone.sound("g729")
