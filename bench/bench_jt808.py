"""JT/T 808: what a frame, a location and an answer cost.

One JSON line a benchmark: ``{"name", "us_per_unit", "floor_us", "ratio"}``. The floor of each is written here in the plainest Python that could do
the job without checks, objects or names, and is measured in the same run; the ratio is what a comparison between machines can use.

    python bench/bench_jt808.py
"""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relay.jt808.framing import Deframer, frame
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages import LocationReport, PlatformGeneralResponse, decode_body

#: 28 bytes and five items: mileage, fuel, speed, signal, satellites
BODY = bytes.fromhex(
    "00000000004010030 1dc89d0073d8aa5000c025d0167261120153045".replace(" ", "") + "01040001e240" + "0202018f" + "0302025d" + "30011f" + "31010c"
)
WIRE = Header(0x0200, "013900001234", 7).encode(BODY)
PIECE = WIRE[1:-1]


def cost(work: Callable[[], object], units: int = 1, repeats: int = 7, seconds: float = 0.05) -> float:
    """CPU microseconds a unit, best of ``repeats``."""
    runs = 1
    while True:
        start = time.process_time()
        for _ in range(runs):
            work()
        if time.process_time() - start > seconds:
            break
        runs *= 2
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(runs):
            work()
        best = min(best, time.process_time() - start)
    return best / runs / units * 1e6


def line(name: str, work: Callable[[], object], floor: Callable[[], object], units: int = 1) -> None:
    """Measure and print one."""
    taken, least = cost(work, units), cost(floor, units)
    print(json.dumps({"name": name, "us_per_unit": round(taken, 3), "floor_us": round(least, 3), "ratio": round(taken / least, 2)}))


_HEAD = struct.Struct(">HH6sH")
_BASE = struct.Struct(">IIIIHHH6s")


def bare_frame() -> object:
    """Unescape, checksum byte by byte, unpack."""
    content = PIECE.replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d")
    total = 0
    for byte in content:
        total ^= byte
    return total, _HEAD.unpack_from(content), content[12:-1]


def bare_location() -> object:
    """Unpack the base and cut the items, nothing named."""
    base = _BASE.unpack_from(BODY)
    items = []
    pos = 28
    while pos < len(BODY):
        stop = pos + 2 + BODY[pos + 1]
        items.append((BODY[pos], int.from_bytes(BODY[pos + 2 : stop], "big")))
        pos = stop
    return base, items


def main() -> None:
    """Print all lines."""
    report = decode_body(0x0200, BODY)
    assert isinstance(report, LocationReport)
    assert len(report.items) == 5
    stream = WIRE * 200
    answer = PlatformGeneralResponse(reply_serial=7, reply_msg_id=0x0200, result=0)
    header = Header(0x8001, "013900001234", 9)
    general = struct.Struct(">HHB")
    line("jt808 frame: unescape, checksum, header", lambda: decode_frame(PIECE), bare_frame)
    line("jt808 0x0200 with five items: decode", lambda: decode_body(0x0200, BODY), bare_location)
    line("jt808 0x0200 with five items: encode", report.encode, lambda: _BASE.pack(*_BASE.unpack_from(BODY)) + BODY[28:])
    line("jt808 0x0200 with five items: JSON fields", report.fields, lambda: dict(zip(range(8), _BASE.unpack_from(BODY), strict=True)))
    line("jt808 deframer: 200 frames in one read", lambda: Deframer().feed(stream), lambda: stream.split(b"\x7e"), units=200)
    line("jt808 answer 0x8001: body, header, frame", lambda: header.encode(answer.encode()), lambda: frame(PIECE[:12] + general.pack(7, 512, 0)))
    line(
        "jt808 whole way: deframe, decode, answer",
        lambda: [header.encode(answer.encode()) for piece in Deframer().feed(WIRE) if decode_body(0x0200, decode_frame(piece)[1])],  # type: ignore[arg-type]
        lambda: (bare_frame(), bare_location()),
    )


if __name__ == "__main__":
    main()
