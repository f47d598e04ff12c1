"""RSA bodies, encrypted here by another library."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from relay.errors import ConfigError, FrameError
from relay.jt808.rsa import BLOCK, PrivateKey, unpad

MADE = rsa.generate_private_key(public_exponent=65537, key_size=1024)
NUMBERS = MADE.private_numbers()
N = NUMBERS.public_numbers.n
KEY = PrivateKey(N, NUMBERS.d)


def padded(body: bytes, piece: int = 117) -> bytes:
    public = MADE.public_key()
    return b"".join(public.encrypt(body[at : at + piece], padding.PKCS1v15()) for at in range(0, len(body), piece))


def plain(body: bytes) -> bytes:
    assert len(body) % BLOCK == 0
    blocks = (int.from_bytes(body[at : at + BLOCK], "big") for at in range(0, len(body), BLOCK))
    return b"".join(pow(block, 65537, N).to_bytes(BLOCK, "big") for block in blocks)


@pytest.mark.parametrize("size", [1, 28, 116, 117, 118, 234, 819])
def test_filled_blocks(size: int) -> None:
    body = bytes(index * 7 & 0xFF for index in range(size))
    assert KEY.decrypt(padded(body)) == (body, True)
    assert KEY.decrypt(padded(body, 50)) == (body, True)


def test_unfilled_blocks_come_whole() -> None:
    body = bytes(100) + b"\x00\x00\x00\x01" + bytes(range(24)) + bytes(1) + bytes(range(127))
    assert KEY.decrypt(plain(body)) == (body, False)


def test_filling_counts_only_if_every_block_has_it() -> None:
    looks_filled = b"\x00\x02" + b"\xff" * 8 + b"\x00" + bytes(117)
    body = looks_filled + bytes(BLOCK)
    assert KEY.decrypt(plain(body)) == (body, False)


@pytest.mark.parametrize(
    ("block", "piece"),
    [
        (b"\x00\x02" + b"\x01" * 8 + b"\x00abc", b"abc"),
        (b"\x00\x02" + b"\x01" * 125 + b"\x00", b""),
        (b"\x00\x02" + b"\x01" * 7 + b"\x00abcd", None),
        (b"\x00\x02" + b"\x01" * 126, None),
        (b"\x00\x01" + b"\xff" * 8 + b"\x00abc", None),
        (b"\x01\x02" + b"\x01" * 8 + b"\x00abc", None),
        (b"", None),
    ],
)
def test_filling(block: bytes, piece: bytes | None) -> None:
    assert unpad(block) == piece


@pytest.mark.parametrize("size", [0, 1, 127, 129, 255])
def test_what_is_no_whole_blocks_is_refused(size: int) -> None:
    with pytest.raises(FrameError, match="no whole blocks") as raised:
        KEY.decrypt(bytes(size))
    assert raised.value.reason == "rsa"


def test_a_block_beyond_the_modulus_is_refused() -> None:
    with pytest.raises(FrameError, match="block at 128 "):
        KEY.decrypt(bytes(128) + N.to_bytes(128, "big"))


@pytest.mark.parametrize(("n", "d", "path"), [(0, 5, "n"), (N - 1, 5, "n"), (N << 8 | 1, 5, "n"), (N >> 9 | 1, 5, "n"), (N, 1, "d"), (N, N, "d"), (N, -3, "d")])
def test_numbers_that_are_no_key(n: int, d: int, path: str) -> None:
    with pytest.raises(ConfigError) as raised:
        PrivateKey(n, d)
    assert raised.value.path == path


def test_the_exponent_is_not_shown() -> None:
    assert str(NUMBERS.d) not in repr(KEY)
