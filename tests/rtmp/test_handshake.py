"""The handshake: plain and with digests, whole and byte by byte, and what is no RTMP."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from relay.errors import FrameError
from relay.rtmp.handshake import _CLIENT_NAME, _SECRET, _SERVER_NAME, SIZE, ClientHandshake, ServerHandshake, find_digest, put_digest

NOISE = bytes(range(256)) * 12
C1_PLAIN = b"\x00\x00\x01\x00" + bytes(4) + bytes(reversed(range(256))) * 5 + bytes(SIZE - 8 - 1280)


def c1_with_digest(place: int) -> bytes:
    return put_digest(b"\x00\x00\x01\x00\x09\x00\x7c\x02" + bytes(reversed(range(256))) * 5 + bytes(SIZE - 8 - 1280), place, _CLIENT_NAME)


@pytest.mark.parametrize("step", [1, 7, 1536, 1537, 10000])
@pytest.mark.parametrize("c1", [C1_PLAIN, c1_with_digest(8), c1_with_digest(772)], ids=["plain", "digest at 8", "digest at 772"])
def test_both_forms_are_answered_in_kind_however_they_arrive(c1: bytes, step: int) -> None:
    server = ServerHandshake(NOISE)
    sent = b"\x03" + c1 + b"x" * SIZE + b"and more"
    got = b""
    rest = b""
    for at in range(0, len(sent), step):
        if server.done:
            rest += sent[at : at + step]
        else:
            got += server.receive(sent[at : at + step], 5000)
    assert server.done
    assert server.rest + rest == b"and more"
    assert len(got) == 1 + 2 * SIZE
    assert got[0] == 3
    s1, s2 = got[1 : 1 + SIZE], got[1 + SIZE :]
    assert s1[:4] == (5000).to_bytes(4, "big")
    if c1 is C1_PLAIN:
        assert s1[4:8] == bytes(4)
        assert s2 == c1
        return
    found = find_digest(s1, _SERVER_NAME)
    mine = find_digest(c1, _CLIENT_NAME)
    assert found is not None and mine is not None
    assert s1[4] >= 3, "clients check the digest only of such versions"
    key = hmac.new(_SERVER_NAME + _SECRET, mine[0], hashlib.sha256).digest()
    assert s2[-32:] == hmac.new(key, s2[:-32], hashlib.sha256).digest()


def test_a_version_without_a_digest_is_answered_plainly() -> None:
    c1 = b"\x00\x00\x01\x00\x80\x00\x07\x02" + bytes(SIZE - 8)
    assert ServerHandshake(NOISE).receive(b"\x03" + c1, 0)[1 + SIZE :] == c1


@pytest.mark.parametrize("first", [b"\x06", b"G", b"\x16\x03\x01"], ids=["RTMPE", "HTTP", "TLS"])
def test_another_protocol_is_told_at_its_first_byte(first: bytes) -> None:
    with pytest.raises(FrameError, match="RTMP begins with 0x03"):
        ServerHandshake(NOISE).receive(first, 0)
    with pytest.raises(FrameError, match="RTMP begins with 0x03"):
        ClientHandshake(NOISE, 0).receive(first)


@pytest.mark.parametrize("step", [1, 1000, 4000])
def test_our_two_sides_shake_hands(step: int) -> None:
    server, client = ServerHandshake(NOISE), ClientHandshake(NOISE, 77)
    answer = server.receive(client.hello, 0)
    c2 = b"".join(client.receive(answer[at : at + step]) for at in range(0, len(answer), step))
    assert client.done
    assert c2 == answer[1 : 1 + SIZE], "C2 is S1 again"
    assert server.receive(c2 + b"rest", 0) == b""
    assert server.done
    assert server.rest == b"rest"
