"""The body's cipher (加密): an xor stream of a linear congruence, afresh for each message.

``k = key or 1; m = M1 or 1``; for every byte ``k = (IA1 × (k mod m) + IC1) mod 2^32; byte ^= (k >> 20) & 0xFF``. The same function both ways. The receiver
takes the key from each header; how often a sender changes it is its own affair (``Keystream``). It hides nothing from anybody who means it; the
standard asks for it all the same.
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


class Keystream:
    """The stream of one key, kept, for a sender that writes several messages with it: one exclusive-or of long integers a message instead of a step of
    the congruence for each byte, some twenty times faster."""

    __slots__ = ("_a", "_c", "_k", "_m", "_stream", "key")

    def __init__(self, keys: CipherKeys, key: int) -> None:
        self.key = key
        self._k = key or 1
        self._m, self._a, self._c = keys.m1 or 1, keys.ia1, keys.ic1
        self._stream = bytearray()

    def apply(self, data: bytes) -> bytes:
        """Encrypt a body."""
        size = len(data)
        stream = self._stream
        if len(stream) < size:
            k, m, a, c = self._k, self._m, self._a, self._c
            for _ in range(size - len(stream)):
                k = (a * (k % m) + c) & 0xFFFFFFFF
                stream.append(k >> 20 & 0xFF)
            self._k = k
        return (int.from_bytes(data, "big") ^ int.from_bytes(stream[:size], "big")).to_bytes(size, "big")
