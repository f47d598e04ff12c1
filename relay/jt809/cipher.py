"""The body's cipher (加密): an xor stream of a linear congruence, afresh for each message.

``k = key or 1; m = M1 or 1``; for every byte ``k = (IA1 × (k mod m) + IC1) mod 2^32; byte ^= (k >> 20) & 0xFF``. The same function both ways.
It hides nothing from anybody who means it; the standard asks for it all the same.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CipherKeys:
    """The three constants that the superior gives to this subordinate platform."""

    m1: int
    ia1: int
    ic1: int

    def __repr__(self) -> str:
        return "CipherKeys(…)"


def apply(keys: CipherKeys, key: int, data: bytes) -> bytes:
    """Encrypt or decrypt a body."""
    k = key or 1
    m, a, c = keys.m1 or 1, keys.ia1, keys.ic1
    out = bytearray(data)
    for at, byte in enumerate(data):
        k = (a * (k % m) + c) & 0xFFFFFFFF
        out[at] = byte ^ (k >> 20 & 0xFF)
    return bytes(out)
