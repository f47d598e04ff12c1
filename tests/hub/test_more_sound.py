"""MP3, AMR and linear PCM as terminals may send them: recognised, timed, and heard as AAC."""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred

from relay.codec import amr, pcm
from relay.codec.frame import Frame
from relay.hub.ingest import Ingest
from relay.hub.transcode import Transcoders
from relay.settings import Audio
from tests.hub.test_ingest import push, raw

av = pytest.importorskip("av", reason="the media extra (PyAV) is not installed")


def tone(hertz: float, seconds: float, rate: int) -> array[int]:
    return array("h", [round(12000 * math.sin(2 * math.pi * hertz * at / rate)) for at in range(int(seconds * rate))])


def heard(frames: list[Frame], rate: int) -> dict[int, float]:
    """How strong three tones are in what the frames become as AAC, after the first half second."""
    made: list[Frame] = []
    track = Transcoders(Audio(), maybeDeferred, av=True).open(frames[0].config, "aac", made.append)  # type: ignore[arg-type]
    assert not isinstance(track, str), track
    for frame in frames:
        track.push(frame)
    decoder: Any = av.CodecContext.create("aac", "r")
    decoder.extradata = track.config.extra
    samples: list[float] = []
    for frame in made:
        for block in decoder.decode(av.Packet(frame.data)):
            samples += memoryview(bytes(block.planes[0])[: 4 * block.samples]).cast("f").tolist()  # planar 32-bit floats
    samples = samples[rate // 2 : rate // 2 + rate // 2]
    assert len(samples) == rate // 2
    strengths = {}
    for hertz in (300, 500, 700):
        angle = [2 * math.pi * hertz * at / rate for at in range(len(samples))]
        strengths[hertz] = math.hypot(
            sum(s * math.sin(a) for s, a in zip(samples, angle, strict=True)), sum(s * math.cos(a) for s, a in zip(samples, angle, strict=True))
        )
    return strengths


@pytest.mark.parametrize(("pt", "rate"), [(25, 8000), (17, 8000), (25, 16000)])
def test_mp3(pt: int, rate: int) -> None:
    try:
        encoder: Any = av.CodecContext.create("libmp3lame", "w")
    except av.FFmpegError:
        pytest.skip("this PyAV has no MP3 encoder")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.time_base = rate, "mono", "s16p", Fraction(1, rate)
    encoder.bit_rate = 32000
    encoder.open()
    sound = tone(500, 2, rate)
    bodies: list[bytes] = []
    for at in range(0, len(sound) - 576, 576):
        frame = av.AudioFrame(format="s16p", layout="mono", samples=576)
        frame.sample_rate, frame.pts = rate, at
        plane = frame.planes[0]
        plane.update(sound[at : at + 576].tobytes().ljust(plane.buffer_size, b"\x00"))
        bodies += [bytes(packet) for packet in encoder.encode(frame)]
    frames = push(Ingest("1", 1), *(raw(body, number * 576 * 1000 // rate, pt) for number, body in enumerate(bodies)))
    assert {(frame.config.codec, frame.config.sample_rate) for frame in frames} == {("mp3", rate)}  # type: ignore[union-attr]
    strengths = heard(frames, rate)
    assert strengths[500] > 10 * max(strengths[300], strengths[700])


@pytest.mark.parametrize("pt", [16, 18, 22, 23])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_linear(pt: int, rate: int) -> None:
    if pt == 16 and rate != 8000:
        pytest.skip("S16BE mono is 8 kHz")
    sound = pcm.to_bytes(tone(500, 2, rate))
    if pt == 16:
        sound = pcm.swap(sound)
    step = rate // 25 * 2
    frames = push(Ingest("1", 1), *(raw(sound[at : at + step], at // step * 40, pt) for at in range(0, len(sound), step)))
    assert {(frame.config.codec, frame.config.sample_rate) for frame in frames} == {("pcm", rate)}  # type: ignore[union-attr]
    strengths = heard(frames, rate)
    assert strengths[500] > 10 * max(strengths[300], strengths[700])


def test_amr_bodies_of_several_frames_are_timed_one_by_one() -> None:
    frame = bytes((7 << 3 | 4,)) + bytes(31)
    ingest = Ingest("1", 1)
    frames = push(ingest, *(raw(frame * 3, number * 60, 28) for number in range(20)), raw(b"\xff" + frame, 1200, 28))
    assert [each.dts - frames[0].dts for each in frames] == [20 * number for number in range(60)]
    assert {each.samples for each in frames} == {amr.FRAME_SAMPLES}
    assert ingest.counts["broken_sound"] == 1
    made: list[Frame] = []
    track = Transcoders(Audio(), maybeDeferred, av=True).open(frames[0].config, "aac", made.append)  # type: ignore[arg-type]
    assert not isinstance(track, str), track
    for each in frames:
        track.push(each)
    assert track.dropped == 0  # type: ignore[attr-defined]
    assert len(made) >= 60 * amr.FRAME_SAMPLES // 1024 - 2  # the encoder keeps some
