"""The HiSilicon header (海思头) that terminals with such chips put before each audio frame.

Four bytes: ``00 01 LL 00`` with LL = length of what follows in 16-bit words (little-endian over both last bytes when longer)::

    00 01 A0 00   320 bytes, G.711 of 40 ms          00 01 52 00   164 bytes, ADPCM of 40 ms
    00 01 50 00   160 bytes, G.711 of 20 ms, G.726   00 01 64 00   200 bytes, G.726 at 40 kbit/s

It comes with every codec but AAC, on some codecs of a terminal only, so each frame is tested by itself.
"""

from __future__ import annotations

from relay.errors import UsageError

SIZE = 4


def has_header(data: bytes) -> bool:
    """The frame begins with a header whose length fits."""
    words = (len(data) - SIZE) >> 1
    return words >= 0 and data[0] == 0 and data[1] == 1 and data[2] | data[3] << 8 == words


def strip(data: bytes) -> bytes:
    """The frame without the header, if it has one."""
    return data[SIZE:] if has_header(data) else data


def add_header(payload: bytes) -> bytes:
    """The frame as such a terminal expects it back when it is talked to."""
    if len(payload) & 1 or len(payload) > 0x1FFFE:
        raise UsageError(f"a HiSilicon header counts 16-bit words, not {len(payload)} bytes")
    return b"\x00\x01" + (len(payload) >> 1).to_bytes(2, "little") + payload
