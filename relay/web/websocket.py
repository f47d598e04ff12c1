"""The server's side of RFC 6455: the handshake, a client's frames in, frames out. No sockets, no clock.

Why not ``twisted.web.websocket``: it has no limit on a message (one frame that announces 2^40 bytes is buffered as it comes), no ping
timer and no subprotocol, keeps the HTTP request and channel alive for as long as the socket lives, and enters through a private method
of the channel. A guard in front of it has to follow the frames anyway to know where a message ends; that is most of a reader. The tests
use wsproto as the other side.

    0                   1                   2                   3
    |F|R R R|opcode |M| length 7    | length 16 or 64 if 126 or 127 |
    |I|S S S|       |A|             | … masking key (4 bytes, from  |
    |N|V V V|       |S|             | clients always) | payload     |

Client frames are masked, server frames never (5.1), so one frame serves all viewers. No extension is ever agreed to, so the reserved
bits are zero and nothing is compressed.

Close codes that this server sends (the page and ``docs`` rely on them):

    1000  the stream has ended, or the client closed        1001  the relay stops
    1002  the client broke RFC 6455                         1003  a message of a kind that is not wanted here
    1007  text that is not UTF-8                            1008  kicked
    1009  a message of more than 64 KiB                     1013  the client does not read fast enough
    4000 + an HTTP status: what the same request would have got over HTTP (4401, 4403, 4404, 4409, 4415, 4503, 4504 …)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from enum import IntEnum
from typing import Final, NamedTuple

from relay.errors import ProtocolError
from relay.web.problem import Problem
from relay.web.request import Request

MESSAGE_BYTES = 65536  #: what a client may send in one message; our pages send a few hundred
REASON_BYTES = 123  #: RFC 6455 5.5: a control frame has at most 125, two of which are the code

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_PROTOCOL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


class Opcode(IntEnum):
    """RFC 6455 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Message(NamedTuple):
    """A whole message or control frame of the client."""

    opcode: Opcode
    data: bytes
    code: int = 0  #: of a close frame; 1005 when it had none


class Violation(ProtocolError):  # noqa: N818 - names what the peer did
    """The client broke the protocol; ``code`` is what the connection is closed with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """One final frame of the server."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut where a control frame ends, never inside a character."""
    text = reason.encode()[:REASON_BYTES].decode("utf-8", "ignore").encode()
    return frame(Opcode.CLOSE, code.to_bytes(2, "big") + text)


class Reader:
    """A client's bytes in, whole messages out; holds at most one message and one read."""

    __slots__ = ("_buffer", "_kind", "_limit", "_parts")

    def __init__(self, limit: int = MESSAGE_BYTES) -> None:
        self._limit = limit
        self._buffer = b""
        self._kind: Opcode | None = None  # of the message being put together
        self._parts = bytearray()

    def receive(self, data: bytes) -> list[Message]:
        """The messages that are whole now; raises Violation, after which nothing more may be fed."""
        buffer = self._buffer + data if self._buffer else data
        messages: list[Message] = []
        at = 0
        while len(buffer) - at >= 2:
            first, second = buffer[at], buffer[at + 1]
            size, mask = second & 0x7F, at + 2
            opcode = self._check(first, second, size)
            if size >= 126:
                mask += 2 if size == 126 else 8
                if len(buffer) < mask:
                    break
                least = 126 if size == 126 else 65536
                size = int.from_bytes(buffer[at + 2 : mask], "big")
                if size < least or size >> 63:
                    raise Violation(1002, "a length that is not written in its shortest form")
            held = 0 if opcode >= 8 else len(self._parts)
            if held + size > self._limit:
                raise Violation(1009, f"a message of more than {self._limit} bytes")
            end = mask + 4 + size
            if len(buffer) < end:
                break
            payload = unmask(buffer[mask + 4 : end], buffer[mask : mask + 4])
            at = end
            message = self._control(opcode, payload) if opcode >= 8 else self._data(opcode, payload, bool(first & 0x80))
            if message is not None:
                messages.append(message)
        self._buffer = buffer[at:]
        return messages

    def _check(self, first: int, second: int, size: int) -> Opcode:
        if first & 0x70:
            raise Violation(1002, "reserved bits are set")
        if not second & 0x80:
            raise Violation(1002, "a frame without a mask")
        number = first & 0x0F
        if number not in (0, 1, 2, 8, 9, 10):
            raise Violation(1002, f"opcode {number}")
        opcode = Opcode(number)
        if opcode >= 8:
            if not first & 0x80 or size > 125:
                raise Violation(1002, "a control frame that is too long or in parts")
        elif (opcode is Opcode.CONTINUATION) != (self._kind is not None):
            raise Violation(1002, "a continuation of nothing" if self._kind is None else "a message inside another")
        return opcode

    def _data(self, opcode: Opcode, payload: bytes, final: bool) -> Message | None:
        kind = self._kind if self._kind is not None else opcode
        if not final or self._parts:
            self._parts += payload
        if not final:
            self._kind = kind
            return None
        data = bytes(self._parts) if self._parts else payload
        self._kind, self._parts = None, bytearray()
        if kind is Opcode.TEXT:
            _utf8(data)
        return Message(kind, data)

    def _control(self, opcode: Opcode, payload: bytes) -> Message:
        if opcode is not Opcode.CLOSE:
            return Message(opcode, payload)
        if not payload:
            return Message(opcode, b"", 1005)
        code = int.from_bytes(payload[:2], "big")
        # 7.4: 1004-1006 and 1015 never stand in a frame, 1016-2999 are nobody's
        if len(payload) == 1 or not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
            raise Violation(1002, "a close frame without a valid code")
        _utf8(payload[2:])
        return Message(opcode, payload[2:], code)


def unmask(data: bytes, key: bytes) -> bytes:
    """Undo (or do) the mask of RFC 6455 5.3; one big XOR instead of a loop over bytes."""
    size = len(data)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def _utf8(data: bytes) -> None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise Violation(1007, "text that is not UTF-8") from None


def accept(request: Request) -> bytes:
    """The 101 answer to a handshake; raises a Problem for one that is none (RFC 6455 4.2.1)."""
    version = request.header("sec-websocket-version")
    if version != "13":
        raise Problem(400, "Only version 13 of WebSocket is spoken.", code="bad_websocket", headers={"Sec-WebSocket-Version": "13"})
    key = request.header("sec-websocket-key")
    try:
        right = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        right = False
    if not right or request.clientproto != b"HTTP/1.1":
        raise Problem(400, "The WebSocket handshake is malformed.", code="bad_websocket")
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}",
    ]
    wanted = [word.strip() for word in request.header("sec-websocket-protocol").split(",")]
    if _PROTOCOL.fullmatch(wanted[0]):
        lines.append(f"Sec-WebSocket-Protocol: {wanted[0]}")  # some players refuse an answer without the one they asked for
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


NORMAL: Final = 1000
GOING_AWAY: Final = 1001
POLICY: Final = 1008
TRY_AGAIN: Final = 1013
