"""The handshake (RTMP 1.0, 5.2), both sides, in its plain form and in the form with digests that Flash brought.

::

    C0 / S0   1 byte   version: 3; 6 and 8 are the encrypted forms, which nobody needs beside TLS
    C1 / S1   1536     u32 time, u32 zero (plain) or program version (digests), 1528 random bytes
    C2 / S2   1536     the other side's C1 / S1 again (plain), or random bytes that end with a signature (digests)

With digests 32 of the random bytes are HMAC-SHA256 over the other 1504. Where they lie is told by four of the random bytes, in one of two places:

    at 8 and 772:   offset = sum of the 4 bytes there % 728, digest at place + 4 + offset

A client that writes a digest is answered with digests, since it may check them (ffmpeg does when it plays); any other is answered plainly.
What a peer sends as C2 or S2 is read and not checked: many send anything.
"""

from __future__ import annotations

import hmac
import struct

from relay.errors import FrameError

SIZE = 1536
VERSION = 3

_SECRET = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")
_SERVER_NAME = b"Genuine Adobe Flash Media Server 001"
_CLIENT_NAME = b"Genuine Adobe Flash Player 001"
_SERVER_VERSION = bytes((3, 5, 1, 1))
_PLACES = (8, 772)


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _digest_at(block: bytes, place: int) -> int:
    return place + 4 + sum(block[place : place + 4]) % 728


def find_digest(block: bytes, name: bytes) -> tuple[bytes, int] | None:
    """The digest in C1 or S1 made with ``name``, and where its place is told; None when there is none."""
    for place in _PLACES:
        at = _digest_at(block, place)
        found = block[at : at + 32]
        if hmac.compare_digest(found, _mac(name, block[:at] + block[at + 32 :])):
            return found, place
    return None


def put_digest(block: bytes, place: int, name: bytes) -> bytes:
    """C1 or S1 with its digest."""
    at = _digest_at(block, place)
    return block[:at] + _mac(name, block[:at] + block[at + 32 :]) + block[at + 32 :]


class ServerHandshake:
    """Our side when a client connects. ``noise``: 3056 random bytes. ``receive`` until ``done``; what is left over is in ``rest``."""

    NOISE = 2 * 1528

    def __init__(self, noise: bytes) -> None:
        self.done = False
        self.digests = False  #: the client wrote one
        self.rest = b""
        self._noise = noise
        self._buffer = bytearray()
        self._answered = False

    def receive(self, data: bytes, now_ms: int) -> bytes:
        """Bytes of the client; returns what to send. Raises FrameError for another protocol."""
        self._buffer += data
        out = b""
        if not self._answered:
            if self._buffer and self._buffer[0] != VERSION:
                raise FrameError("version", f"the first byte is {self._buffer[0]:#04x}, and RTMP begins with 0x03")
            if len(self._buffer) < 1 + SIZE:
                return b""
            out = self._answer(bytes(self._buffer[1 : 1 + SIZE]), now_ms)
            del self._buffer[: 1 + SIZE]
            self._answered = True
        if len(self._buffer) >= SIZE:
            self.rest = bytes(self._buffer[SIZE:])
            self._buffer.clear()
            self.done = True
        return out

    def _answer(self, c1: bytes, now_ms: int) -> bytes:
        time = struct.pack(">I", now_ms & 0xFFFFFFFF)
        found = find_digest(c1, _CLIENT_NAME) if c1[4:8] != bytes(4) else None
        if found is None:
            return b"\x03" + time + bytes(4) + self._noise[:1528] + c1
        self.digests = True
        digest, place = found
        s1 = put_digest(time + _SERVER_VERSION + self._noise[:1528], place, _SERVER_NAME)
        s2 = self._noise[1528:3056][: SIZE - 32]
        return b"\x03" + s1 + s2 + _mac(_mac(_SERVER_NAME + _SECRET, digest), s2)


class ClientHandshake:
    """Our side when we connect to a server. ``noise``: 1528 random bytes. Always the plain form: every server in use takes it."""

    NOISE = 1528

    def __init__(self, noise: bytes, now_ms: int) -> None:
        self.done = False
        self.rest = b""
        self._buffer = bytearray()
        self.hello = b"\x03" + struct.pack(">I", now_ms & 0xFFFFFFFF) + bytes(4) + noise[:1528]
        self._answered = False

    def receive(self, data: bytes) -> bytes:
        """Bytes of the server; returns what to send. Raises FrameError for another protocol."""
        self._buffer += data
        if self._buffer and not self._answered and self._buffer[0] != VERSION:
            raise FrameError("version", f"the server's first byte is {self._buffer[0]:#04x}, and RTMP begins with 0x03")
        out = b""
        if not self._answered and len(self._buffer) >= 1 + SIZE:
            out = bytes(self._buffer[1 : 1 + SIZE])
            self._answered = True
        if len(self._buffer) >= 1 + 2 * SIZE:
            self.rest = bytes(self._buffer[1 + 2 * SIZE :])
            self._buffer.clear()
            self.done = True
        return out
