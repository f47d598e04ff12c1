"""Transcoding of sound: FLAC at once, AAC and Opus through a pool; time, order, admission, damage."""

from __future__ import annotations

import math
import shutil
import subprocess
from array import array
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from relay.codec import aac, g711, pcm
from relay.codec.frame import AUDIO, AudioConfig, Frame
from relay.hub import pipeline, transcode
from relay.hub.transcode import Transcoders
from relay.settings import Audio
from tests.shared import load_vectors

G711A = AudioConfig("g711a", 8000, 1)
AV = pipeline.have_av()
needs_av = pytest.mark.skipif(not AV, reason="PyAV is not installed")
BLOCK = 320


def tone(samples: int, start: int = 0, hz: float = 440.0, rate: int = 8000, level: int = 8000) -> bytes:
    return pcm.to_bytes(array("h", [round(level * math.sin(2 * math.pi * hz * (start + i) / rate)) for i in range(samples)]))


def blocks(count: int, start_ms: int = 0, jitter: Callable[[int], int] = lambda k: 0) -> list[Frame]:
    frames = []
    for k in range(count):
        at = start_ms + 40 * k + jitter(k)
        frames.append(Frame(AUDIO, at, at, True, g711.encode_a(tone(BLOCK, BLOCK * k)), G711A, BLOCK, float(k)))
    return frames


def transcoders(av: bool | None = None, run: Any = maybeDeferred, **settings: int) -> Transcoders:
    return Transcoders(Audio(**settings), run, av)


def opened(owner: Transcoders, source: AudioConfig, target: str) -> tuple[Any, list[Frame]]:
    got: list[Frame] = []
    track = owner.open(source, target, got.append)
    assert not isinstance(track, str), track
    return track, got


def through_ffmpeg(config: AudioConfig, frames: list[Frame]) -> bytes:
    """The sound, as somebody else decodes it."""
    if config.codec == "flac":
        data = b"fLaC\x80\x00\x00\x22" + config.extra + b"".join(frame.data for frame in frames)
        fmt = "flac"
    else:
        data = b"".join(aac.with_adts(config.extra, frame.data) for frame in frames)
        fmt = "aac"
    done = subprocess.run(["ffmpeg", "-v", "warning", "-f", fmt, "-i", "-", "-f", "s16le", "-"], input=data, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout


def test_g711_becomes_flac_at_once_block_for_block() -> None:
    owner = transcoders(av=False)
    track, got = opened(owner, G711A, "flac")
    assert (track.config.codec, track.config.sample_rate, len(track.config.extra)) == ("flac", 8000, 34)
    source = blocks(50)
    for k, frame in enumerate(source):
        track.push(frame)
        assert len(got) == k + 1
        assert (got[k].dts, got[k].pts, got[k].samples, got[k].kind, got[k].key) == (frame.dts, frame.dts, BLOCK, AUDIO, True)
        assert got[k].config is track.config
        assert got[k].source_time == frame.source_time
    if shutil.which("ffmpeg"):
        assert through_ffmpeg(track.config, got) == b"".join(g711.decode_a(frame.data) for frame in source)
    stats = track.stats()
    assert stats[:6] == ("g711a", "flac", 50, 50, 0, 0)
    assert stats.cpu_s > 0


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is the judge")
@pytest.mark.parametrize("kind", ["g726", "adpcm"])
def test_g726_and_adpcm_become_flac_bit_for_bit(kind: str) -> None:
    vectors = [v for v in load_vectors("jt1078") if v["kind"] == kind and v["fields"].get("layout", "hisi") == "hisi"]
    if not vectors:
        pytest.skip("no vectors")
    import hashlib

    for vector in vectors:
        fields, data = vector["fields"], bytes.fromhex(vector["hex"])
        if kind == "g726":
            config, size = AudioConfig("g726", 8000, 1, bits=fields["bits"], layout=fields["packing"]), fields["frame_bytes"]
        else:
            data = data[4:] if fields["hisi_header"] else data
            config, size = AudioConfig("adpcm", 8000, 1, layout="hisi"), len(data)
        track, got = opened(transcoders(av=False), config, "flac")
        for k in range(0, len(data), size):
            at = 40 * k // size
            track.push(Frame(AUDIO, at, at, True, data[k : k + size], config, 320))
        assert hashlib.sha256(through_ffmpeg(track.config, got)).hexdigest() == fields["pcm_s16le_sha256"]


def test_trembling_stamps_do_not_reach_the_output() -> None:
    track, got = opened(transcoders(av=False), G711A, "flac")
    for frame in blocks(100, 1000, lambda k: (0, 35, -30, 60)[k % 4]):
        track.push(frame)
    assert [frame.dts for frame in got] == [1000 + 40 * k for k in range(100)]
    assert track.dropped == track.filled_ms == 0


def test_a_gap_is_filled_with_silence_and_a_pause_begins_a_new_count() -> None:
    track, got = opened(transcoders(av=False), G711A, "flac")
    for frame in [*blocks(2), *blocks(2, 1080), *blocks(2, 60000)]:
        track.push(frame)
    ends = 0
    for frame in got[:-2]:
        assert frame.dts == ends
        ends += frame.samples // 8
    assert ends == 1160
    assert track.filled_ms == 1000
    assert [frame.dts for frame in got[-2:]] == [60000, 60040]


def test_more_sound_than_time_is_left_out_until_the_count_fits_again() -> None:
    track, got = opened(transcoders(av=False), G711A, "flac")
    for frame in blocks(20, 0, lambda k: -20 * k):  # 40 ms of sound every 20 ms
        track.push(frame)
    assert track.dropped > 0
    assert all(a.dts + 40 == b.dts for a, b in pairwise(got))
    assert abs(got[-1].dts - 380) <= pipeline.JUMP_MS


def test_damaged_blocks_are_left_out_and_counted() -> None:
    config = AudioConfig("adpcm", 8000, 1, layout="hisi")
    track, got = opened(transcoders(av=False), config, "flac")
    for k, data in enumerate([bytes(164), b"\x00\x00\xff\x00" + bytes(160), b"\x01", bytes(164)]):
        track.push(Frame(AUDIO, 40 * k, 40 * k, True, data, config, 320))
    assert len(got) == 2
    assert track.dropped == 2


def test_a_block_of_seconds_is_left_out() -> None:
    config = AudioConfig("g726", 8000, 1, bits=4, layout="le")
    track, got = opened(transcoders(av=False), config, "flac")
    track.push(Frame(AUDIO, 0, 0, True, bytes(65535), config, 131070))
    assert got == []
    assert track.dropped == 1


def test_what_is_not_possible_is_said_in_words() -> None:
    bare = transcoders(av=False)
    assert bare.available("flac") == bare.available("flac", G711A) == ""
    assert "extra `media`" in bare.available("aac")
    assert bare.open(G711A, "aac", lambda frame: None) == bare.available("aac")
    assert "FLAC from aac needs the extra" in bare.available("flac", AudioConfig("aac", 8000, 1, extra=b"\x15\x88"))
    assert "pt5 cannot be decoded" in bare.available("flac", AudioConfig("pt5", 8000, 1))
    full = transcoders(av=True)
    assert full.available("aac") == full.available("opus", G711A) == ""
    assert "no target" in full.available("mp3")
    assert "6 channels" in full.available("aac", AudioConfig("aac", 48000, 6))
    assert isinstance(bare.open(AudioConfig("g726", 8000, 1, bits=7), "flac", lambda frame: None), str)


def test_admission() -> None:
    owner = transcoders(av=False, transcodes_max=2)
    first, _ = opened(owner, G711A, "flac")
    opened(owner, G711A, "flac")
    assert "transcodes_max" in str(owner.open(G711A, "flac", lambda frame: None))
    assert owner.refused == 1
    first.close()
    first.close()
    assert len(owner.stats()) == 1
    opened(owner, G711A, "flac")
    g726 = AudioConfig("g726", 8000, 1, bits=4, layout="le")
    owner = transcoders(av=False, g726_pure_max=1)
    only, _ = opened(owner, g726, "flac")
    assert "g726_pure_max" in str(owner.open(g726, "flac", lambda frame: None))
    opened(owner, G711A, "flac")
    only.close()
    opened(owner, g726, "flac")


def test_nothing_comes_after_close() -> None:
    track, got = opened(transcoders(av=False), G711A, "flac")
    track.close()
    track.push(blocks(1)[0])
    assert got == []


def delay_of(sound: bytes, original: bytes, around: int, reach: int = 400) -> int:
    """By how many samples the sound comes later than the original, by correlation."""
    a, b = pcm.samples(sound), pcm.samples(original)
    window = b[around : around + 400]

    def likeness(shift: int) -> int:
        return sum(x * y for x, y in zip(a[around + shift : around + shift + 400], window, strict=False))

    return max(range(-reach, reach), key=likeness)


def sweep(count: int) -> list[Frame]:
    """Blocks of a rising tone, in which every place sounds different."""
    samples = array("h", [round(8000 * math.sin(2 * math.pi * (200 + i / 40) * i / 8000)) for i in range(count * BLOCK)])
    data = pcm.to_bytes(samples)
    return [Frame(AUDIO, 40 * k, 40 * k, True, g711.encode_a(data[640 * k : 640 * k + 640]), G711A, BLOCK) for k in range(count)]


@needs_av
@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is the judge")
def test_aac_of_g711_is_in_time_and_counts_by_1024() -> None:
    track, got = opened(transcoders(), G711A, "aac")
    assert track.config.extra.hex() == "158856e500"
    assert aac.parse_asc(track.config.extra)[:3] == (2, 8000, 1)
    source = sweep(100)
    for frame in source:
        track.push(frame)
    assert [frame.dts for frame in got] == [128 * k for k in range(len(got))]
    assert {frame.samples for frame in got} == {1024}
    assert len(got) >= 100 * BLOCK // 1024 - 2
    original = b"".join(g711.decode_a(frame.data) for frame in source)
    # a decoder gives the sound of each frame 1,024 samples long from its stamp on; the first is the encoder's fade-in
    assert abs(delay_of(through_ffmpeg(track.config, got), original, 8000)) <= 2


@needs_av
def test_opus_and_resampling() -> None:
    av = pytest.importorskip("av")
    track, got = opened(transcoders(), G711A, "opus")
    config = track.config
    assert (config.codec, config.sample_rate, config.extra.hex()) == ("opus", 48000, "0101380180bb0000000000")
    for frame in blocks(50):
        track.push(frame)
    steps = {b.dts - a.dts for a, b in pairwise(got)}
    assert steps <= {13, 14, 20}  # the first carries the look-ahead of 6.5 ms
    assert {frame.samples for frame in got} == {960}
    decoder = av.CodecContext.create("libopus", "r")
    decoder.extradata = b"OpusHead" + config.extra
    assert sum(piece.samples for frame in got for piece in decoder.decode(av.Packet(frame.data))) > 90000
    odd = AudioConfig("pcm", 9000, 1)
    track, got = opened(transcoders(), odd, "aac")
    assert track.config.sample_rate == 11025
    for k in range(40):
        track.push(Frame(AUDIO, 100 * k, 100 * k, True, tone(900, 900 * k, rate=9000), odd, 900))
    assert len(got) > 35
    assert abs(got[-1].dts - 3900) < 250


@needs_av
@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is the judge")
def test_aac_source_becomes_flac() -> None:
    track, coded = opened(transcoders(), G711A, "aac")
    for frame in sweep(60):
        track.push(frame)
    back, got = opened(transcoders(), track.config, "flac")
    for frame in coded:
        back.push(frame)
    assert [frame.dts for frame in got] == [128 * k for k in range(len(got))]
    assert len(got) >= len(coded) - 1
    original = b"".join(g711.decode_a(frame.data) for frame in sweep(60))
    assert abs(delay_of(through_ffmpeg(back.config, got), original, 8000)) <= 2


@needs_av
def test_damaged_aac_is_left_out_and_counted() -> None:
    source = AudioConfig("aac", 8000, 1, extra=b"\x15\x88")
    track, _ = opened(transcoders(), source, "flac")
    for k in range(20):
        track.push(Frame(AUDIO, 128 * k, 128 * k, True, bytes((k * 37 + i * 11) & 0xFF for i in range(100)), source, 1024))
    assert track.blocks == 20
    assert track.dropped > 0
    assert track.failed == ""
    assert not track.closed


@needs_av
def test_aac_gap_and_pause_keep_their_places() -> None:
    track, got = opened(transcoders(), G711A, "aac")
    for frame in [*blocks(25), *blocks(25, 3000), *blocks(50, 60000)]:
        track.push(frame)
    times = [frame.dts for frame in got]
    before = [t for t in times if t < 50000]
    assert before == [128 * k for k in range(len(before))]  # 2 s of silence are counted through
    assert before[-1] >= 3800
    after = [t for t in times if t >= 50000]
    assert after[0] == 60000
    assert after == [60000 + 128 * k for k in range(len(after))]
    assert track.filled_ms == 2000


class Pool:
    """Threads that work when told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def __call__(self, job: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.jobs.append((done, job, args))
        return done

    def work(self) -> None:
        done, job, args = self.jobs.pop(0)
        maybeDeferred(job, *args).chainDeferred(done)


@needs_av
def test_one_job_at_a_time_keeps_the_order() -> None:
    pool = Pool()
    track, got = opened(transcoders(run=pool), G711A, "aac")
    for frame in blocks(30):
        track.push(frame)
        assert len(pool.jobs) == 1
    pool.work()  # the first block alone
    assert len(pool.jobs) == 1
    pool.work()  # all the others
    assert pool.jobs == []
    assert [frame.dts for frame in got] == [128 * k for k in range(len(got))]
    assert len(got) >= 7
    for frame in blocks(30, 1200):
        track.push(frame)
    track.close()
    pool.work()
    assert pool.jobs == []
    assert [frame.dts for frame in got] == [128 * k for k in range(len(got))]
    assert len(got) < 10


@needs_av
def test_a_thread_is_asked_only_when_a_frame_can_become_whole() -> None:
    pool = Pool()
    track, got = opened(transcoders(run=pool), G711A, "aac")
    pushed = jobs = 0
    for frame in blocks(320):
        track.push(frame)
        pushed += 1
        if pool.jobs:
            pool.work()
            jobs += 1
    assert jobs == pytest.approx(pushed * BLOCK / aac.FRAME_SAMPLES, abs=2)
    assert 98 <= len(got) <= 100  # the first job has less than a frame, and the encoder is one behind


@needs_av
def test_tracks_that_are_ready_share_a_job_and_a_broken_one_ends_alone(monkeypatch: pytest.MonkeyPatch, logged_errors: Any) -> None:
    pool = Pool()
    owner = transcoders(run=pool)
    tracks = [opened(owner, G711A, "aac") for _ in range(transcode.BATCH + 4)]
    for frame in blocks(12):
        for track, _ in tracks:
            track.push(frame)
    assert len(pool.jobs) == transcode.JOBS
    sizes = []
    while tracks[-1][0]._pipeline is None:
        sizes.append(len(pool.jobs[0][2][0]))
        pool.work()
    assert max(sizes) == transcode.BATCH  # all that waited meanwhile
    for frame in blocks(12, 480):
        for track, _ in tracks:
            track.push(frame)
    monkeypatch.setattr(tracks[3][0]._pipeline, "run", None)
    while pool.jobs:
        pool.work()
    assert [track.failed != "" for track, _ in tracks] == [index == 3 for index in range(len(tracks))]
    assert len({len(got) for track, got in tracks if not track.failed}) == 1
    assert len(owner.stats()) == len(tracks) - 1
    assert len(logged_errors.flush(TypeError)) == 1


@needs_av
def test_frames_that_nobody_can_take_end_their_track_alone(logged_errors: Any) -> None:
    pool = Pool()
    owner = transcoders(run=pool)

    def fails(frame: Frame) -> None:
        raise ValueError("no")

    bad = owner.open(G711A, "aac", fails)
    good, got = opened(owner, G711A, "aac")
    for frame in blocks(20):
        bad.push(frame)  # type: ignore[union-attr]
        good.push(frame)
    while pool.jobs:
        pool.work()
    assert bad.failed == "no"  # type: ignore[union-attr]
    assert got
    assert len(logged_errors.flush(ValueError)) == 1


@needs_av
def test_a_full_queue_loses_its_oldest_blocks() -> None:
    pool = Pool()
    track, _ = opened(transcoders(run=pool), G711A, "aac")
    for frame in blocks(transcode.QUEUE_MAX + 51):
        track.push(frame)
    assert track.dropped == 50
    assert len(track._waiting) == transcode.QUEUE_MAX


def test_a_job_that_breaks_ends_its_track_and_frees_its_place(logged_errors: Any) -> None:
    def broken(job: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return maybeDeferred(int, "no")

    owner = transcoders(av=True, run=broken)
    track, got = opened(owner, G711A, "aac")
    for frame in blocks(3):
        track.push(frame)
    assert track.closed
    assert "invalid literal" in track.failed
    assert owner.stats() == []
    assert got == []
    assert len(logged_errors.flush(ValueError)) == 1


@needs_av
@pytest.mark.parametrize("target", ["aac", "flac"])
def test_g726_with_the_extra_is_decoded_in_the_pool(target: str) -> None:
    vector = next((v for v in load_vectors("jt1078") if v["kind"] == "g726"), None)
    if vector is None:
        pytest.skip("no vectors")
    fields, data = vector["fields"], bytes.fromhex(vector["hex"])
    config = AudioConfig("g726", 8000, 1, bits=fields["bits"], layout=fields["packing"])
    track, got = opened(transcoders(g726_pure_max=0), config, target)
    for k in range(40):
        size = fields["frame_bytes"]
        track.push(Frame(AUDIO, 40 * k, 40 * k, True, data[:size], config, 320))
    assert len(got) >= 10
    assert track.dropped == 0
