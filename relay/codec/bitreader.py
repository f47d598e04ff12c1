"""Bits of a raw byte sequence payload, most significant first: fixed-width fields and Exp-Golomb codes.

ITU-T H.264 clause 7.2 and 9.1, H.265 clause 7.2 and 9.2. The payload is held as one big integer, which in CPython is the fastest
way to cut small fields out of a few dozen bytes. A read past the end is the peer's fault: ``DecodeError``.

Reading costs time in proportion to the payload's length, so a reader is for headers and parameter sets only; callers cap what they
hand in (``MAX_PARAMETER_SET``).
"""

from __future__ import annotations

from relay.errors import DecodeError

#: Bytes of one parameter set that are looked at. The largest that the syntax permits in the profiles terminals use (an H.265 SPS with
#: 64 reference picture sets) stays below 3 KiB; real ones have 10 to 60 bytes.
MAX_PARAMETER_SET = 4096


class BitReader:
    """Reads one payload from its first bit on."""

    __slots__ = ("_size", "_value", "left", "where")

    def __init__(self, data: bytes, where: str) -> None:
        self._value = int.from_bytes(data, "big")
        self._size = len(data) << 3
        self.left = self._size  #: bits not read yet
        self.where = where  #: what is being read, for errors

    def error(self, problem: str) -> DecodeError:
        """An error at the present place; the offset is in bytes of the unescaped payload."""
        return DecodeError(self.where, (self._size - max(self.left, 0)) >> 3, problem)

    def u(self, bits: int) -> int:
        """An unsigned field of ``bits`` bits."""
        left = self.left - bits
        if left < 0:
            raise self.error(f"needs {bits} bits, {self.left} left")
        self.left = left
        return self._value >> left & ((1 << bits) - 1)

    def flag(self) -> bool:
        """One bit."""
        left = self.left - 1
        if left < 0:
            raise self.error("needs 1 bit, 0 left")
        self.left = left
        return bool(self._value >> left & 1)

    def skip(self, bits: int) -> None:
        """Passes over ``bits`` bits."""
        if bits > self.left:
            raise self.error(f"needs {bits} bits, {self.left} left")
        self.left -= bits

    def ue(self) -> int:
        """ue(v): an unsigned Exp-Golomb code of at most 32 leading zeros."""
        left = self.left
        rest = self._value & ((1 << left) - 1)
        zeros = left - rest.bit_length()
        left -= 2 * zeros + 1
        if left < 0 or zeros > 32:
            raise self.error("an Exp-Golomb code runs past the end" if zeros <= 32 else "an Exp-Golomb code of more than 32 bits")
        self.left = left
        return (rest >> left) - 1

    def se(self) -> int:
        """se(v): the signed mapping of ue(v): 0, 1, -1, 2, -2 …"""
        code = self.ue()
        return (code + 1) >> 1 if code & 1 else -(code >> 1)

    def ue_max(self, limit: int, name: str) -> int:
        """ue(v) of the syntax element ``name``, which the standard bounds."""
        code = self.ue()
        if code > limit:
            raise self.error(f"{name} is {code}, at most {limit}")
        return code
