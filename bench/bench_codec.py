"""Codecs and containers: microseconds a unit of work, beside the floor that plain CPython sets in the same run.

    python bench/bench_codec.py

One JSON line a measurement: {"name", "us_per_unit", "floor_us", "ratio"}. A floor is the least that any Python program doing the job
must execute: the search of the bytes alone, one ``struct.pack`` and one ``join``, one translation of the block. Figures are process CPU
time, the best of several rounds, so that other load on the machine matters little.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relay.codec import flac, g711, g726, h264, h265
from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame
from relay.codec.nalu import split_annexb, to_avcc
from relay.mux.flv import FlvMuxer
from relay.mux.fmp4 import Fmp4Muxer

ROUNDS = 9
ROUND_S = 0.03


def cost(work: Callable[[], object]) -> float:
    """Microseconds of one call, the best of some rounds."""
    work()
    start = time.process_time()
    work()
    count = max(int(ROUND_S / max(time.process_time() - start, 1e-6)), 3)
    best = 1e9
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(count):
            work()
        best = min(best, (time.process_time() - start) / count)
    return best * 1e6


def report(name: str, work: Callable[[], object], floor: Callable[[], object]) -> None:
    """One line."""
    took, least = cost(work), cost(floor)
    print(json.dumps({"name": name, "us_per_unit": round(took, 3), "floor_us": round(least, 3), "ratio": round(took / least, 2)}), flush=True)


def payload(size: int, seed: int) -> bytes:
    """Coded picture: noise without zeros, which is what start code searches meet nearly always."""
    return bytes(random.Random(seed).choices(range(1, 256), k=size))


def main() -> int:
    """All measurements."""
    sps, pps = bytes.fromhex("6742c028da01e0089f97011000000300100000030140f1832a"), bytes.fromhex("68ce0fc8")
    hevc_sps = bytes.fromhex("420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000784")
    long, find = b"\x00\x00\x00\x01", b"\x00\x00\x01"
    key = long + sps + long + pps + long + b"\x06\x05\x04abcd\x80" + long + b"\x65" + payload(30000, 1)
    inter = long + b"\x41" + payload(3000, 2)

    def search(data: bytes) -> Callable[[], object]:
        def run() -> None:
            at = data.find(find)
            while at >= 0:
                at = data.find(find, at + 3)

        return run

    report("nal split, I frame 30 kB, 4 units", lambda: split_annexb(key), search(key))
    report("nal split, P frame 3 kB, 1 unit", lambda: split_annexb(inter), search(inter))
    report("nal split and length prefix, P frame 3 kB", lambda: to_avcc(split_annexb(inter)), search(inter))

    def fields(data: bytes, count: int) -> Callable[[], object]:
        """The floor of a first look: as many bare shifts of the big integer as the parameter set has fields."""

        def run() -> None:
            value = int.from_bytes(data.replace(b"\x00\x00\x03", b"\x00\x00"), "big")
            for left in range(count):
                value >> left & 7

        return run

    report("sps h264, first time", lambda: h264.parse_sps.__wrapped__(sps), fields(sps, 40))
    known = {sps: h264.parse_sps(sps)}
    report("sps h264, repeated (cache hit)", lambda: h264.parse_sps(sps), lambda: known[sps])
    report("sps h265, first time", lambda: h265.parse_sps.__wrapped__(hevc_sps), fields(hevc_sps, 55))

    video = h264.video_config([sps], [pps])
    head = struct.Struct(">IIIII").pack
    size_of = struct.Struct(">I").pack
    units = split_annexb(inter)
    sample = to_avcc(units)
    picture = Frame(VIDEO, 1234567, 1234567, False, sample, video)

    def one_join() -> bytes:
        size = len(sample)
        return b"".join((head(size, 1, 2, 3, 4), sample, size_of(size)))

    flv = FlvMuxer()
    flv.configure(video, None, 0)
    report("flv tag, P frame 3 kB", lambda: flv.write(picture), one_join)
    look = search(inter)
    report(
        "annex b to flv tag, P frame 3 kB",
        lambda: flv.write(Frame(VIDEO, 1, 1, False, to_avcc(split_annexb(inter)), video)),
        lambda: (look(), one_join()),
    )
    big = Frame(VIDEO, 1234567, 1234567, True, to_avcc(split_annexb(key)), video)
    report("flv tag, I frame 30 kB", lambda: flv.write(big), lambda: b"".join((head(1, 2, 3, 4, 5), big.data, size_of(6))))

    mp4 = Fmp4Muxer()
    sound = AudioConfig("flac", 8000, 1, extra=flac.stream_info(8000, 1))
    mp4.configure(video, sound, 0)
    block = Frame(AUDIO, 0, 0, True, payload(300, 3), sound, 320)
    report("fmp4 fragment, P frame 3 kB", lambda: mp4.write(picture), one_join)
    report("fmp4 fragment, sound 300 B", lambda: mp4.write(block), one_join)

    law = payload(320, 4)
    table = bytes(range(256))
    voice = g711.encode_a(bytes(b for i in range(320) for b in (int(6000 * ((i % 37) / 37 - 0.5)) & 0xFFFF).to_bytes(2, "little")))
    encoder = flac.Encoder(8000, 1)
    report("g711 decode, 40 ms", lambda: g711.decode_a(law), lambda: law.translate(table))
    report("g711 encode, 40 ms", lambda: g711.encode_a(bytes(640)), lambda: bytes(map(table.__getitem__, law)))
    short = g711.decode_short("g711a", voice)
    report("flac from g711a, 40 ms", lambda: encoder.encode_samples(g711.decode_short("g711a", voice), 3), lambda: list(map(int.__sub__, short[1:], short)))
    silence = bytes(640)
    report("flac, 40 ms of silence", lambda: encoder.encode(silence), lambda: silence.translate(table))
    codes = payload(160, 5)
    decoder = g726.Decoder(4, "le")
    report("g726 decode, 32 kbit/s, 40 ms", lambda: decoder.decode(codes), lambda: [code * code for code in g726.unpack(codes, 4, "le")])
    return 0


if __name__ == "__main__":
    sys.exit(main())
