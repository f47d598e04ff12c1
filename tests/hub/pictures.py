"""Pictures and sound made for the tests of the ingest: headers by the standards' syntax, slice data of noise."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from relay.jt1078.assembly import Loss, RawFrame

SIM = "013800138000"
START = b"\x00\x00\x00\x01"
EPOCH = 1_700_000_000_000
P, B, I = 0, 1, 2  # noqa: E741 - slice types have these names

AUD = b"\x09\xf0"
SEI = b"\x06\x05\x04abcd\x80"
RECOVERY_POINT = b"\x06\x06\x01\xc4\x80"
FILLER = b"\x0c\xff\xff\x80"


def ue(value: int) -> str:
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def unit(header: bytes, bits: str, tail: bytes = b"") -> bytes:
    """A NAL unit: header, bits with the stop bit, escaped."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return header + re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", payload) + tail


def noise(size: int, seed: int = 0) -> bytes:
    return bytes(random.Random(seed).choices(range(1, 256), k=size))


def sps(*, number: int = 0, width: int = 320, height: int = 240, profile: int = 77, poc_type: int = 0, reorder: int | None = 0) -> bytes:
    """An H.264 SPS with frame_num of 8 bits and a picture order count of 8 bits; ``reorder`` None: no VUI."""
    vui = "0" if reorder is None else "1" + "0000" + "0" + "00" + "0" + "1" + "1" + ue(0) * 4 + ue(reorder) + ue(max(reorder, 1))
    bits = f"{profile:08b}{0:08b}{30:08b}" + ue(number) + ue(4) + ue(poc_type) + (ue(4) if poc_type == 0 else "")
    bits += ue(4) + "0" + ue(width // 16 - 1) + ue(height // 16 - 1) + "1" + "1" + "0" + vui
    return unit(b"\x67", bits)


def pps(number: int = 0, of: int = 0, qp: int = 0) -> bytes:
    return unit(b"\x68", ue(number) + ue(of) + "00" + ue(0) + ue(0) + ue(0) + "0" + "00" + ue(2 * qp) + ue(0) + ue(0) + "100")


def slice_(
    kind: int = P, *, idr: bool = False, first_mb: int = 0, pps_id: int = 0, frame_num: int = 0, poc: int = 0, size: int = 200, seed: int = 0, ref: int = 2
) -> bytes:
    """A slice's header by the SPS above, and noise."""
    bits = ue(first_mb) + ue(kind) + ue(pps_id) + f"{frame_num & 255:08b}" + (ue(0) if idr else "") + f"{poc & 255:08b}"
    return unit(bytes([(ref << 5) | (5 if idr else 1)]), bits, noise(size, seed) + b"\x80")


def annexb(*units: bytes, start: bytes = START) -> bytes:
    return b"".join(start + one for one in units)


def raw(body: bytes, stamp: int = EPOCH, *, pt: int = 98, data_type: int = 1, now: float | None = None, loss: Loss | None = None) -> RawFrame:
    arrival = (stamp - EPOCH) / 1000 if now is None else now
    return RawFrame(SIM, 1, pt, data_type, stamp, body, 1, arrival, loss)


def lost(packets: int = 1, *, maybe: int = 0, frames: int = 0, restart: bool = False, interval: int = 40) -> Loss:
    return Loss(packets, maybe, frames, restart, interval)


def key(seed: int = 0, sets: Sequence[bytes] | None = None, **fields: int) -> bytes:
    """An I frame as nearly all terminals send it: SPS, PPS, SEI, IDR."""
    return annexb(*(sets if sets is not None else (sps(), pps())), SEI, slice_(I, idr=True, seed=seed, **fields))


def inter(seed: int = 0, **fields: int) -> bytes:
    return annexb(slice_(P, seed=seed, **fields))
