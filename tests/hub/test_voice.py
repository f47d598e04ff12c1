"""Sound of calls: what a terminal plays is found out, spoken at its pace, limited, ducked, and never late."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.task import Clock

from relay.codec import adpcm, g711, g726, hisi, pcm
from relay.codec.aac import AacReader
from relay.hub.voice import (
    CEILING,
    CUSHION_MS,
    MOST_MS,
    Limiter,
    Speaker,
    Uplink,
    Voice,
    VoiceError,
    coder,
    ducked,
    resampled,
    voice_of_attributes,
    voice_of_block,
    why_not,
)
from relay.jt1078.assembly import RawFrame


def tone(samples: int, hz: float = 440, level: int = 8000) -> bytes:
    return pcm.to_bytes(array("h", [round(level * math.sin(2 * math.pi * hz * n / 8000)) for n in range(samples)]))


def likeness(one: bytes, other: bytes) -> float:
    """Signal to noise in dB."""
    a, b = pcm.samples(one), pcm.samples(other)
    count = min(len(a), len(b))
    noise = sum((x - y) ** 2 for x, y in zip(a[:count], b[:count], strict=True)) or 1
    return 10 * math.log10(sum(x * x for x in a[:count]) / noise)


# what it plays --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pt", "size", "voice"),
    [
        (6, 320, Voice(6, 320)),
        (6, 160, Voice(6, 160)),
        (7, 320, Voice(7, 320)),
        (8, 80, Voice(8, 320, bits=2, layout="le")),
        (8, 120, Voice(8, 320, bits=3, layout="le")),
        (8, 160, Voice(8, 320, bits=4, layout="le")),
        (8, 200, Voice(8, 320, bits=5, layout="le")),
        (26, 164, Voice(26, 320, layout="hisi")),
        (26, 160, Voice(26, 320, layout="raw-dvi4")),
        (16, 640, Voice(16, 320)),
        (6, 0, Voice(6, 320)),
        (6, 9, Voice(6, 320)),
    ],
)
def test_the_voice_of_a_block(pt: int, size: int, voice: Voice) -> None:
    assert voice_of_block(pt, size) == voice
    assert voice_of_attributes(pt, 0, size) == voice
    assert Voice.of_dict(voice.as_dict()) == voice
    assert voice.block_ms in (20.0, 40.0)


def test_aac_has_its_own_rate_and_frame() -> None:
    voice = voice_of_attributes(19, 3, 0)
    assert (voice.rate, voice.samples, voice.codec) == (48000, 1024, "aac")


def test_what_cannot_be_spoken_is_said() -> None:
    assert "cannot be made" in why_not(Voice(28))
    with pytest.raises(VoiceError):
        coder(Voice(28))


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
@pytest.mark.parametrize("layout", ["le", "be"])
def test_g726_is_coded_at_every_rate_and_order(bits: int, layout: str) -> None:
    sound = tone(3200)
    encoder, decoder = g726.Encoder(bits, layout), g726.Decoder(bits, layout)
    coded = b"".join(encoder.encode(sound[at : at + 640]) for at in range(0, len(sound), 640))
    assert len(coded) == 400 * bits
    assert likeness(sound[1600:], decoder.decode(coded)[1600:]) > 5 * bits + 5
    assert g726.pack(g726.unpack(coded, bits, layout), bits, layout) == coded


@pytest.mark.parametrize("layout", adpcm.LAYOUTS)
def test_adpcm_is_coded_in_every_layout(layout: str) -> None:
    size = 640 + 2 * (layout == "ima-wav")
    sound = tone(4 * size // 2)
    encoder, decoder = adpcm.Encoder(layout), adpcm.Decoder(layout)
    out = b"".join(decoder.decode(encoder.encode(sound[at : at + size])) for at in range(0, len(sound), size))
    assert len(out) == len(sound)
    assert likeness(sound[size:], out[size:]) > 18


def test_aac_by_the_media_extra() -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    speak = coder(Voice(19, 1024, rate=16000))
    coded = b"".join(speak.encode(tone(512)) for _ in range(20))
    blocks = AacReader().feed(coded)
    assert len(blocks) > 15
    assert {config.sample_rate for config, _ in blocks} == {16000}


# the operator -----------------------------------------------------------------------------------------------------------------------------


class Heard:
    def __init__(self, voice: Voice, keep_ms: int = 0) -> None:
        self.clock = Clock()
        self.blocks: list[tuple[float, bytes, int]] = []
        self.speaker = Speaker(voice, self.clock, lambda block, ms: self.blocks.append((self.clock.seconds(), block, ms)), keep_ms)

    def run(self, seconds: float, step: float = 0.005) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def talk(self, seconds: float, chunk_ms: int = 20, hz: float = 440) -> bytes:
        """Speak in real time."""
        spoken = b""
        for at in range(0, round(seconds * 1000), chunk_ms):
            sound = tone(8000 * (at + chunk_ms) // 1000, hz)[2 * 8 * at :]
            spoken += sound
            self.speaker.push(sound)
            self.run(chunk_ms / 1000)
        return spoken


@pytest.mark.parametrize(
    ("voice", "size"), [(Voice(6, 320), 320), (Voice(6, 160), 160), (Voice(8, 320, bits=4, layout="le"), 160), (Voice(6, 320, hisi=True), 324)]
)
def test_blocks_go_out_by_the_clock_and_little_behind_the_microphone(voice: Voice, size: int) -> None:
    heard = Heard(voice)
    heard.talk(2.0)
    times = [at for at, _, _ in heard.blocks]
    gaps = {round(later - earlier, 3) for earlier, later in pairwise(times)}
    assert gaps <= {voice.block_ms / 1000 + n * 0.005 for n in (-1, 0, 1)}
    assert {len(block) for _, block, _ in heard.blocks} == {size}
    assert times[0] <= (voice.block_ms + CUSHION_MS + 20) / 1000
    assert heard.speaker.held_ms <= voice.block_ms + CUSHION_MS + 20
    assert heard.speaker.dropped_ms == 0
    heard.speaker.close()


def test_what_is_heard_is_what_was_said() -> None:
    heard = Heard(Voice(6, 320))
    spoken = heard.talk(1.0)
    heard.run(0.2)
    out = b"".join(g711.decode_a(block) for _, block, _ in heard.blocks)
    assert likeness(spoken, out) > 30
    assert heard.blocks[-1][2] == pytest.approx(1000, abs=80)
    heard.speaker.close()


def test_a_burst_does_not_become_delay() -> None:
    heard = Heard(Voice(6, 160))
    heard.speaker.push(tone(8000))  # a second at once, as a page sends that had stalled
    assert heard.speaker.held_ms <= MOST_MS + 20
    assert heard.speaker.dropped_ms >= 800
    heard.talk(3.0)
    assert heard.speaker.held_ms <= CUSHION_MS + 40
    heard.speaker.close()


def test_a_cushion_that_is_not_needed_goes() -> None:
    heard = Heard(Voice(6, 160))
    heard.speaker.push(tone(8 * 150))
    heard.talk(1.5)
    assert heard.speaker.held_ms <= CUSHION_MS + 40
    assert 0 < heard.speaker.dropped_ms < 150
    heard.speaker.close()


def test_the_end_of_a_word_is_not_lost_and_silence_keeps_the_call() -> None:
    heard = Heard(Voice(6, 320), keep_ms=1000)
    heard.run(2.05)
    assert [block for _, block, _ in heard.blocks] == [g711.encode_a(bytes(640))] * 2
    heard.blocks.clear()
    heard.speaker.push(tone(8 * 90))
    heard.run(0.5)
    assert len(heard.blocks) == 3  # 90 ms in blocks of 40
    heard.run(1.0)
    assert len(heard.blocks) == 4
    heard.speaker.close()


def test_a_late_timer_does_not_send_a_burst() -> None:
    heard = Heard(Voice(6, 160))
    heard.talk(0.5)
    before = len(heard.blocks)
    heard.clock.advance(2.0)
    heard.speaker.push(tone(8 * 100))
    heard.run(0.01)
    assert len(heard.blocks) - before <= 6
    heard.speaker.close()


def test_peaks_are_pulled_down_at_once_and_let_go_slowly() -> None:
    limiter = Limiter()
    quiet = tone(160, level=5000)
    assert limiter.limit(quiet) == quiet
    loud = limiter.limit(tone(160, level=32000))
    assert max(pcm.samples(loud)) <= CEILING
    after = max(pcm.samples(limiter.limit(quiet)))
    assert 3500 < after < 4900
    for _ in range(80):
        limiter.limit(quiet)
    assert limiter.limit(quiet) == quiet


def test_ducking_is_18_db() -> None:
    assert max(pcm.samples(ducked(tone(800, level=8000)))) == 1000


def test_resampling_keeps_the_tone() -> None:
    up = resampled(tone(800), 8000, 16000)
    assert len(up) == 3200
    assert likeness(tone(790), resampled(up, 16000, 8000)) > 30
    assert resampled(b"", 8000, 16000) == b""


# the terminal -------------------------------------------------------------------------------------------------------------------------------


def blocks_of(pt: int, sound: bytes, is_hisi: bool = False) -> list[RawFrame]:
    voice = {6: Voice(6), 7: Voice(7), 8: Voice(8, bits=4, layout="le"), 26: Voice(26, layout="hisi")}[pt]
    speak: Any = coder(voice)
    out = []
    for place, at in enumerate(range(0, len(sound), 640)):
        block = speak.encode(sound[at : at + 640])
        out.append(RawFrame("13800138000", 1, pt, 3, 40 * place, hisi.add_header(block) if is_hisi else block, 1, 0.04 * place))
    return out


@pytest.mark.parametrize("pt", [6, 7, 8, 26])
@pytest.mark.parametrize("is_hisi", [False, True])
def test_the_terminal_is_heard_and_its_voice_found_out(pt: int, is_hisi: bool) -> None:
    uplink = Uplink()
    sound = b"".join(tone(320, 300 + 17 * (n % 9)) for n in range(50))
    heard = b""
    for raw in blocks_of(pt, sound, is_hisi):
        heard += uplink.feed(raw, raw.arrival)
    assert uplink.voice is not None
    assert (uplink.voice.pt, uplink.voice.samples, uplink.voice.hisi) == (pt, 320, is_hisi)
    assert len(heard) > 0.6 * len(sound)
    assert likeness(sound[-6400:], heard[-6400:]) > 10
    assert uplink.problem == ""


def test_sound_that_was_held_back_is_cut_to_its_newest() -> None:
    uplink = Uplink()
    longest = max(len(uplink.feed(raw, raw.arrival)) for raw in blocks_of(8, tone(16000)))
    assert longest <= 2 * 8 * 200


def test_sound_that_nobody_here_decodes_is_named() -> None:
    uplink = Uplink()
    assert uplink.feed(RawFrame("1", 1, 5, 3, 0, bytes(20), 1, 0.0), 0.0) == b""
    assert "cannot be decoded" in uplink.problem
