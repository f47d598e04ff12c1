"""JT/T 1078 media: what a packet costs, read alone, built, and joined to frames out of a byte stream.

One JSON line a benchmark: ``{"name", "ns_per_unit" or "us_per_unit", "floor_ns" or "floor_us", "ratio"}``. CPU time, best of several rounds; a unit is a
packet, or a frame. The floor of the stream parser is the bare length-chain loop (one ``unpack_from``, slices, a tuple a frame, no check but the magic), run
on the same bytes in turn with it. Input is made here; real captures are measured too where they lie beside the checkout.

    python bench/bench_jt1078.py
"""

from __future__ import annotations

import json
import os
import random
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relay.hub.ingest import Ingest
from relay.jt1078.assembly import RawFrame
from relay.jt1078.demux import Demuxer
from relay.jt1078.packet import build_packet, packetize, parse_packet, sim_field

SHARED = Path(os.environ.get("JT1078RELAY_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))
ROUNDS = 9
SIM = "013800138000"
SPS, PPS = bytes.fromhex("674d001495a8582590"), bytes.fromhex("68ee3c80")


def recording(frames: int = 3000, audio: bool = True, seed: int = 1) -> tuple[bytes, int]:
    """25 pictures a second at 500 kbit/s, an I frame every two seconds, G.711 in blocks of 40 ms."""
    rng = random.Random(seed)
    out: list[bytes] = []
    for number in range(frames):
        stamp = 1_700_000_000_000 + 40 * number
        key = number % 50 == 0
        size = 12_000 if key else rng.randrange(1600, 2900)
        unit = bytes([0x65 if key else 0x61, 0x88 if key else 0x9A]) + rng.randbytes(size).replace(b"\0", b"\1")
        body = (b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS if key else b"") + b"\0\0\0\1" + unit
        out += packetize(body, sim=SIM, channel=1, pt=98, data_type=0 if key else 1, seq=len(out) & 0xFFFF, timestamp=stamp)
        if audio:
            out += packetize(rng.randbytes(320), sim=SIM, channel=1, pt=6, data_type=3, seq=len(out) & 0xFFFF, timestamp=stamp)
    return b"".join(out), len(out)


_HEAD = struct.Struct(">IxBH7sBQ4xH").unpack_from


def bare(chunks: list[bytes]) -> int:
    """The floor: follow the lengths, slice, join. Knows one width of the SIM field, believes everything, loses its way at the first surprise."""
    tail = b""
    parts: list[bytes] = []
    count = 0
    for data in chunks:
        if tail:
            data = tail + data
        out = []
        n = len(data)
        pos = 0
        while pos <= n - 30:
            magic, mpt, _, key, kind, stamp, size = _HEAD(data, pos)
            if magic != 0x30316364:
                raise ValueError("out of step")
            start = pos + 30
            if kind >= 0x30:
                start = pos + 26
                size = data[pos + 24] << 8 | data[pos + 25]
            end = start + size
            if end > n:
                break
            mark = kind & 15
            if mark == 0:
                out.append((key, mpt & 127, kind >> 4, stamp, data[start:end], 1))
            elif mark == 1:
                parts = [data[start:end]]
            else:
                parts.append(data[start:end])
                if mark == 2:
                    out.append((key, mpt & 127, kind >> 4, stamp, b"".join(parts), len(parts)))
            pos = end
            count += 1
        tail = data[pos:]
    return count


def full(chunks: list[bytes]) -> int:
    """The relay's own."""
    demuxer = Demuxer()
    for data in chunks:
        demuxer.feed(data, 0.5)
    return demuxer.packets


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def report(name: str, unit: str, took: float, floor: float) -> None:
    print(json.dumps({"name": name, unit: round(took, 3), "floor_" + unit.split("_")[0]: round(floor, 3), "ratio": round(took / floor, 2)}), flush=True)


def single(name: str, work: Callable[[], object], floor: Callable[[], object], count: int = 20_000) -> None:
    """One call of each, in turn."""

    def many(what: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(count):
                what()

        return run

    took = least = 1e9
    for _ in range(ROUNDS):
        took, least = min(took, cpu(many(work))), min(least, cpu(many(floor)))
    report(name, "ns_per_unit", took / count * 1e9, least / count * 1e9)


def stream(name: str, data: bytes, packets: int) -> None:
    """Parsing with frames, in reads of two sizes."""
    for chunk in (65536, 2920):
        chunks = [data[at : at + chunk] for at in range(0, len(data), chunk)]
        took = least = 1e9
        for _ in range(ROUNDS):
            took, least = min(took, cpu(partial(full, chunks))), min(least, cpu(partial(bare, chunks)))
        report(f"frames from a stream, {name}, reads of {chunk}", "ns_per_unit", took / packets * 1e9, least / packets * 1e9)


def ingest(name: str, data: bytes) -> None:
    """From frames of packets to access units with times: one frame; the floor only looks for start codes."""
    raws = Demuxer().feed(data, 0.5)

    def run() -> None:
        unit = Ingest(SIM, 1)
        now = 0.0
        for raw in raws:
            now += 0.02
            unit.push(raw, now)

    def floor() -> None:
        for raw in raws:
            body = raw.body
            if raw.pt == 98:
                at = body.find(b"\0\0\1")
                while at >= 0:
                    at = body.find(b"\0\0\1", at + 3)

    took = least = 1e9
    for _ in range(ROUNDS):
        took, least = min(took, cpu(run)), min(least, cpu(floor))
    report(f"ingest, {name}", "us_per_unit", took / len(raws) * 1e6, least / len(raws) * 1e6)


def plain(count: int = 5000) -> None:
    """The frame that there is most of: a P picture of one slice, 2.5 kB. The floor looks for another start code and puts a length before the slice."""
    rng = random.Random(3)
    first = RawFrame(SIM, 1, 98, 0, 0, b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS + b"\0\0\0\1\x65\x88" + rng.randbytes(9000).replace(b"\0", b"\1"), 10, 0.0)
    slices = [b"\0\0\0\1\x61\xe0" + rng.randbytes(2500).replace(b"\0", b"\1") for _ in range(50)]
    raws = [RawFrame(SIM, 1, 98, 1, 40 * n, slices[n % 50], 3, n * 0.04) for n in range(1, count)]
    length = struct.Struct(">I").pack

    def floor() -> None:
        for raw in raws:
            body = raw.body
            if body.rfind(b"\0\0\1") < 4:
                length(len(body) - 4) + body[4:]

    took = least = 1e9
    for _ in range(ROUNDS):
        unit = Ingest(SIM, 1)
        unit.push(first, 0.0)
        for raw in raws[:100]:
            unit.push(raw, raw.arrival)

        def run(unit: Ingest = unit) -> None:
            for raw in raws[100:]:
                unit.push(raw, raw.arrival)

        took, least = min(took, cpu(run) / (len(raws) - 100)), min(least, cpu(floor) / len(raws))
    report("ingest, a P picture of one slice", "us_per_unit", took * 1e6, least * 1e6)


def main() -> int:
    """All measurements."""
    rng = random.Random(2)
    field = sim_field(SIM)
    body = b"\0\0\0\1\x61" + rng.randbytes(945)
    packet = build_packet(sim=field, channel=1, pt=98, data_type=1, body=body, seq=7, timestamp=1_700_000_000_000, subpackage=3)
    head = struct.Struct(">4sBBH6sBBQHHH")
    single("packet parsed to an object, 950 bytes", lambda: parse_packet(packet, 0, 6), lambda: (head.unpack_from(packet), packet[30:]))
    single("the same, width of the SIM field found out", lambda: parse_packet(packet), lambda: (head.unpack_from(packet), packet[30:]))
    single(
        "packet built, 950 bytes",
        lambda: build_packet(sim=field, channel=1, pt=98, data_type=1, body=body, seq=7, timestamp=1_700_000_000_000, subpackage=3),
        lambda: head.pack(b"01cd", 0x81, 98, 7, field, 1, 0x13, 1_700_000_000_000, 0, 0, len(body)) + body,
    )
    plain()
    for audio in (False, True):
        name = "25 fps 500 kbit/s" + (" with sound" if audio else "")
        data, packets = recording(audio=audio)
        stream(name, data, packets)
        if audio:
            ingest(name, data[: len(data) // 4])
    for capture in ("real-glaciall-tcpdump", "real-gojt808-av", "syn-720p-mtu1400"):
        path = SHARED / "captures" / f"{capture}.jt1078"
        if path.exists():
            data = path.read_bytes()
            stream(capture, data, full([data]))
            ingest(capture, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
