"""Packets and streams made for these tests."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from relay.jt1078.demux import Demuxer, RawFrame
from relay.jt1078.packet import build_packet

SIM = "013800138000"


def packet(
    seq: int, mark: int, body: bytes, *, ts: int = 1000, data_type: int = 1, pt: int = 98, channel: int = 1, m: int = 0, sim_bytes: int = 6, sim: str = SIM
) -> bytes:
    return build_packet(
        sim=sim, channel=channel, pt=pt, data_type=data_type, body=body, seq=seq & 0xFFFF, timestamp=ts, subpackage=mark, m=m, sim_bytes=sim_bytes
    )


def unit(size: int, seed: int = 0, kind: int = 0x61) -> bytes:
    """A NAL unit behind its start code, without zeros inside."""
    rng = random.Random(seed)
    return b"\0\0\0\1" + bytes([kind, 0x9A]) + bytes(rng.randrange(1, 256) for _ in range(size))


def pieces(body: bytes, count: int) -> list[bytes]:
    step = -(-len(body) // count)
    return [body[at : at + step] for at in range(0, len(body), step)]


def marks(count: int) -> Iterable[int]:
    return [0] if count == 1 else [1, *([3] * (count - 2)), 2]


def in_chunks(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = next(sizes)
        yield data[at : at + size]
        at += size


def demux(data: bytes, sizes: Iterator[int] | None = None, demuxer: Demuxer | None = None) -> tuple[list[RawFrame], Demuxer]:
    demuxer = demuxer or Demuxer()
    frames: list[RawFrame] = []
    for chunk in in_chunks(data, sizes) if sizes is not None else [data]:
        frames += demuxer.feed(chunk, 0.0)
    return frames + demuxer.finish(0.0), demuxer
