"""Bad input: noise before, between and inside packets, wrong lengths, wrong ports, wrong widths; bounds of time and memory (spec 2.1, 2.2)."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import repeat

import pytest

from relay.jt1078.demux import STREAMS_MAX, Demuxer, PacketReader
from relay.jt1078.packet import build_packet, header_length
from tests.jt1078.material import SIM, demux, in_chunks, packet, unit

NOISES = {
    "random": lambda rng: rng.randbytes(rng.choice([1, 2, 3, 17, 300, 2000])),
    "cut magic": lambda rng: rng.randbytes(rng.choice([1, 40, 300])) + b"01cd"[: rng.randrange(5)],
    "magics": lambda rng: b"01cd" * rng.choice([1, 5, 70]),
    "headers": lambda rng: b"01cd\x81\xe2" + rng.randbytes(rng.choice([2, 13, 40, 300])),
    "zeros": lambda rng: bytes(rng.choice([1, 16, 1000])),
}


def good_packets(rng: random.Random, count: int, sim_bytes: int = 6) -> list[bytes]:
    out = []
    for number in range(count):
        data_type = rng.choice([0, 1, 1, 1, 3, 3, 4])
        out.append(
            build_packet(
                sim=SIM,
                channel=1 + rng.randrange(2),
                pt={3: 6, 4: 91}.get(data_type, 98),
                data_type=data_type,
                body=(b"\0\0\0\1\x61" if data_type < 3 else b"") + rng.randbytes(rng.choice([1, 20, 100, 400, 900])),
                seq=number & 0xFFFF,
                timestamp=1700000000000 + 40 * number,
                sim_bytes=sim_bytes,
            )
        )
    return out


def read(data: bytes, sizes: Iterator[int] | None = None) -> list[bytes]:
    reader = PacketReader()
    found = [p for chunk in (in_chunks(data, sizes) if sizes is not None else [data]) for p in reader.feed(chunk)] + reader.finish()
    assert len(data) == sum(p.consumed for p in found) + reader.garbage_bytes + reader.trailing_bytes
    return [p.to_bytes() for p in found]


def missing(wanted: list[bytes], found: list[bytes]) -> int:
    return sum((Counter(wanted) - Counter(found)).values())


@pytest.mark.parametrize("noise", list(NOISES))
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("sim_bytes", [6, 10])
def test_noise_between_packets_loses_none(noise: str, seed: int, sim_bytes: int) -> None:
    rng = random.Random(f"{noise}{seed}")
    wanted = good_packets(rng, 40, sim_bytes)
    # the width of the SIM field shows where packets follow each other: two do so at first
    data = b"".join(wanted[:2]) + b"".join((NOISES[noise](rng) if rng.random() < 0.4 else b"") + p for p in wanted[2:])
    for sizes in (None, repeat(1), iter(lambda: rng.choice([1, 29, 30, 31, 500, 3000]), 0)):
        assert missing(wanted, read(data, sizes)) == 0


@pytest.mark.parametrize("noise", list(NOISES))
def test_noise_before_the_first_packets_loses_none(noise: str) -> None:
    for seed in range(20):
        rng = random.Random(f"{noise}{seed}")
        wanted = good_packets(rng, 10)
        assert missing(wanted, read(NOISES[noise](rng) + b"".join(wanted), repeat(rng.choice([1, 60, 5000])))) == 0


def damaged(rng: random.Random, whole: bytes, how: str) -> bytes:
    at = rng.randrange(4, len(whole) - 40) if len(whole) > 50 else 4
    if how == "inserted":
        return whole[:at] + rng.choice(list(NOISES.values()))(rng) + whole[at:]
    if how == "deleted":
        return whole[:at] + whole[at + rng.randrange(1, 30) :]
    if how == "length":
        header = header_length(whole[15] >> 4, 6)
        return whole[: header - 2] + rng.randbytes(2) + whole[header:]
    flipped = bytearray(whole)
    flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


@pytest.mark.parametrize("how", ["inserted", "deleted", "length", "flipped"])
@pytest.mark.parametrize("seed", range(25))
def test_a_damaged_packet_does_not_take_the_next_with_it(how: str, seed: int) -> None:
    rng = random.Random(f"{how}{seed}")
    packets = good_packets(rng, 40)
    wanted, data = [], b""
    for number, one in enumerate(packets):
        if number % 5 == 4 and len(one) > 60:
            data += damaged(rng, one, how)
        else:
            wanted.append(one)
            data += one
    for sizes in (None, repeat(1), repeat(1460)):
        assert missing(wanted, read(data, sizes)) == 0


def test_a_corrupt_length_holds_nothing_up_for_long() -> None:
    demuxer = Demuxer()
    head = b"".join(packet(i, 0, unit(300, i), ts=i * 40) for i in range(20))
    demuxer.feed(head, 0.0)
    bad = bytearray(packet(20, 0, unit(300), ts=800))
    bad[28:30] = b"\xff\xff"
    demuxer.feed(bytes(bad), 0.0)
    got = []
    for i in range(21, 60):
        frames = demuxer.feed(packet(i, 0, unit(300, i), ts=i * 40), 0.0)
        got += [f.timestamp for f in frames]
        if got:
            break
    assert i <= 21 + 4096 // 336 + 1
    assert got[0] == 21 * 40


def test_a_packet_inside_a_body_is_not_taken() -> None:
    inner = packet(7, 0, unit(200))
    body = unit(300) + inner + unit(300, 2)
    frames, demuxer = demux(b"".join(packet(i, 0, body if i == 5 else unit(100, i), ts=i * 40) for i in range(12)), repeat(100))
    assert [len(f.body) for f in frames] == [len(body) if i == 5 else 106 for i in range(12)]
    assert demuxer.garbage_bytes == 0


def test_the_width_of_the_sim_field_is_looked_at_again() -> None:
    narrow = [packet(i, 0, unit(100, i), ts=i * 40) for i in range(20)]
    wide = [packet(i, 0, unit(100, i), ts=i * 40, sim_bytes=10, sim="86649607758216492345") for i in range(60)]
    demuxer = Demuxer()
    frames = demuxer.feed(b"".join(narrow), 0.0)
    assert (demuxer.sim_bytes, len(frames)) == (6, 20)
    for one in wide:
        frames += demuxer.feed(one, 0.0)
    assert demuxer.sim_bytes == 10
    assert len(frames) > 60


@pytest.mark.parametrize("sim_bytes", [6, 10])
def test_a_given_width_is_not_doubted(sim_bytes: int) -> None:
    data = b"".join(packet(i, 0, unit(100, i), ts=i * 40, sim_bytes=sim_bytes) for i in range(20))
    frames, _ = demux(data, demuxer=Demuxer(sim_bytes=sim_bytes))
    assert len(frames) == 20
    _, demuxer = demux(data, demuxer=Demuxer(sim_bytes=16 - sim_bytes))
    assert demuxer.sim_bytes == 16 - sim_bytes


@pytest.mark.parametrize(
    ("opening", "words"),
    [
        (bytes.fromhex("7e000200000138001380000001") + bytes([0x00 ^ 0x02 ^ 0x01 ^ 0x38 ^ 0x13 ^ 0x80 ^ 0x01 ^ 0x00, 0x7E]), "JT/T 808"),
        (b"GET /live/1.flv HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"),
        (b"OPTIONS rtsp://x/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n", "RTSP"),
        (b"\x03\0\0\0\1\0\0\0\0" + bytes(range(256)) * 6, "RTMP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), "TLS"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 5, 5000])
def test_a_client_of_something_else_is_told(opening: bytes, words: str, chunk: int) -> None:
    demuxer = Demuxer()
    for at in range(0, len(opening), chunk):
        demuxer.feed(opening[at : at + chunk], 0.0)
    assert words in demuxer.verdict


def test_noise_that_only_resembles_something_else_is_no_verdict() -> None:
    for noise in (b"\x7e" + bytes(range(101)) + b"\x7e", b"GET x", b"\x03\x01\x02\x03\x04\x05\x06\x07\x08\x09"):
        frames, demuxer = demux(noise + b"".join(packet(i, 0, unit(50, i), ts=i * 40) for i in range(5)), repeat(10))
        assert (demuxer.verdict, len(frames)) == ("", 5)


@pytest.mark.parametrize("before", [0, 3])
def test_garbage_of_any_length_is_no_verdict_and_loses_no_packet_after_it(before: int) -> None:
    """How long a link may bring nothing is a matter of time, and its owner's (``media.first_packet_timeout_s``, ``silent_timeout_s``)."""
    demuxer = Demuxer()
    rng = random.Random(1)
    frames = demuxer.feed(b"".join(packet(i, 0, unit(50, i), ts=i * 40) for i in range(before)), 0.0)
    for _ in range(300):
        frames += demuxer.feed(rng.randbytes(1000), 0.0)
    frames += demuxer.feed(b"".join(packet(before + i, 0, unit(50, i), ts=i * 40) for i in range(5)), 0.0)
    frames += demuxer.finish(0.0)
    assert (demuxer.verdict, len(frames)) == ("", before + 5)
    assert demuxer.garbage_bytes == 300_000


@pytest.mark.parametrize(
    "block",
    [
        b"0",
        b"01cd",
        b"01cd\x81",
        b"01cd\x81\xe2\x00\x01" + bytes.fromhex(SIM) + b"\x01\x10" + bytes(12) + b"\xff\xff",
        b"01cd\x81\xe2\x00\x01" + bytes.fromhex(SIM) + b"\x01\x13" + bytes(12) + b"\x00\x01x",
        b"01cd\x81\xdb\x00\x01" + bytes.fromhex(SIM) + b"\x01\x40\x00\x00",
        bytes(1),
        b"\x7e",
    ],
    ids=["0", "magic", "head", "long packets", "middle packets", "empty packets", "zeros", "flags"],
)
@pytest.mark.parametrize("chunk", [1 << 24, 65536, 1000])
def test_sixteen_mebibytes_of_one_thing_take_linear_time(block: bytes, chunk: int) -> None:
    def took(size: int) -> float:
        data = (block * (size // len(block) + 1))[:size]
        demuxer = Demuxer()
        start = time.process_time()
        for at in range(0, size, chunk):
            demuxer.feed(data[at : at + chunk], at / 1e6)
        demuxer.finish(20.0)
        return time.process_time() - start

    quarter, whole = took(1 << 20), took(1 << 22)
    assert whole < 12 * quarter + 0.2
    assert whole < 6.0


@pytest.mark.parametrize("mark", [1, 3])
def test_a_frame_that_never_ends_is_bounded(mark: int) -> None:
    demuxer = Demuxer()
    tracemalloc.start()
    try:
        for seq in range(12000):
            demuxer.feed(packet(seq, 1 if seq % 3000 == 0 else mark, b"\0\0\0\1\x61" + bytes(900), ts=5, channel=1 + seq % 3), seq / 100)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10 << 20


def test_streams_on_one_connection_are_bounded() -> None:
    demuxer = Demuxer()
    for i in range(5000):
        demuxer.feed(build_packet(sim=str(10**10 + i), channel=i % 200, pt=98, data_type=1, body=unit(50), seq=i), 0.0)
    assert len(demuxer.streams) <= STREAMS_MAX
    assert demuxer.refused_packets > 4000


def test_an_open_frame_that_does_not_go_on_is_given_up() -> None:
    demuxer = Demuxer()
    demuxer.feed(packet(0, 1, unit(900)), 0.0)
    for second in range(1, 6):
        demuxer.feed(packet(second, 0, b"\xd5" * 160, data_type=3, pt=6, ts=second), float(second))
    (stream,) = demuxer.streams.values()
    assert stream.incomplete_frames == 1
    assert not stream.video.parts


def test_any_bytes_in_any_chunks_raise_nothing() -> None:
    for seed in range(150):
        rng = random.Random(seed)
        demuxer = Demuxer(sim_bytes=rng.choice([0, 0, 6, 10]))
        for _ in range(30):
            piece = rng.choice(
                [
                    rng.randbytes(rng.randrange(40)),
                    b"01cd\x81" + rng.randbytes(rng.randrange(60)),
                    packet(rng.randrange(65536), rng.randrange(4), rng.randbytes(rng.randrange(300)), data_type=rng.randrange(5), pt=rng.randrange(128)),
                ]
            )
            demuxer.feed(piece[: rng.randrange(len(piece) + 1)] if rng.random() < 0.2 else piece, rng.random() * 10)
        demuxer.finish(10.0)
