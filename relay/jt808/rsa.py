"""Bodies encrypted with RSA: bit 10 of the body properties, clause 4.4.3; 0x8A00 and 0x0A00 carry the public halves.

The standard gives a modulus of 128 bytes and says neither how a body is cut into blocks nor how a block is filled. Read here is what RSA
libraries write when nothing else is asked of them: blocks of 128 bytes, one behind the other, each

    00 02 | at least 8 bytes that are not 0 | 00 | a piece of the body        PKCS#1 v1.5, encryption

and without filling the whole block, where nothing tells zeros of the filling from zeros of the body.

For tools that are given a key and a recording. ``pow`` does not take the same time for every ``d``, so this is not for answering a peer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.errors import ConfigError, FrameError

#: n is BYTE[128] in 0x8A00 and 0x0A00
BLOCK = 128


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Modulus and private exponent."""

    n: int
    d: int = field(repr=False)

    def __post_init__(self) -> None:
        if (self.n.bit_length() + 7) // 8 != BLOCK or self.n % 2 == 0:
            raise ConfigError("n", f"must be an odd number of {BLOCK} bytes, as the protocol has it, not of {self.n.bit_length()} bits")
        if not 1 < self.d < self.n:
            raise ConfigError("d", "must be greater than 1 and less than n")

    def decrypt(self, body: bytes) -> tuple[bytes, bool]:
        """The plain body, and whether its blocks were filled by PKCS#1. ``FrameError`` (``rsa``) for what this key cannot have encrypted."""
        if not body or len(body) % BLOCK:
            raise FrameError("rsa", f"{len(body)} bytes are no whole blocks of {BLOCK}")
        blocks = [self._block(body[at : at + BLOCK], at) for at in range(0, len(body), BLOCK)]
        pieces = [unpad(block) for block in blocks]
        known = [piece for piece in pieces if piece is not None]
        # one block that looks filled among others that do not is chance
        return (b"".join(known), True) if len(known) == len(blocks) else (b"".join(blocks), False)

    def _block(self, block: bytes, at: int) -> bytes:
        value = int.from_bytes(block, "big")
        if value >= self.n:
            raise FrameError("rsa", f"the block at {at} is not less than n: encrypted with another key")
        return pow(value, self.d, self.n).to_bytes(BLOCK, "big")


def unpad(block: bytes) -> bytes | None:
    """What a block holds behind its PKCS#1 v1.5 filling, None without one."""
    end = block.find(0, 2)
    return block[end + 1 :] if block[:2] == b"\x00\x02" and end >= 10 else None
