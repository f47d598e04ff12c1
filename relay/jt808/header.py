"""JT/T 808 message header (消息头), clause 4.4.3: three editions, two layouts.

::

    2011, 2013                              2019
     0  msg_id          WORD                 0  msg_id            WORD
     2  properties      WORD                 2  properties        WORD, bit 14 = 1
     4  phone           BCD[6]               4  protocol_version  BYTE
    10  serial          WORD                 5  phone             BCD[10]
    12  package_total   WORD  if bit 13     15  serial            WORD
    14  package_index   WORD  if bit 13     17  package_total     WORD  if bit 13
                                            19  package_index     WORD  if bit 13

    properties: bits 0-9 length of the body of this frame, 10-12 encryption, 13 sub-packaged, 14 version flag, 15 reserved
"""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from typing import Any

from relay.errors import FrameError, UsageError
from relay.jt808.framing import frame, unframe

_HEAD = struct.Struct(">HH6sH")
_HEAD_2019 = struct.Struct(">HHB10sH")
_PACKAGE = struct.Struct(">HH")

#: ten bits of length
MAX_BODY = 0x3FF


@dataclass(slots=True)
class Header:
    """One frame's header. ``phone`` is the digit string as it was on the wire (12 or 20 digits, hex letters possible): answers repeat it
    unchanged; look-ups go through ``relay.identity.phone_key``."""

    msg_id: int
    phone: str
    serial: int
    body_length: int = 0  #: bytes of the body of this frame
    encryption: int = 0  #: bits 10-12: 0 none, 1 (bit 10) RSA over the body
    protocol_version: int | None = None  #: None = the 2011/2013 header; from 1 in 2019
    package_total: int | None = None  #: only in sub-packages (分包)
    package_index: int | None = None  #: from 1
    reserved: int = 0  #: bit 15, given back as it came

    @property
    def edition(self) -> int:
        """2019 if the version flag is set, else 2013. 2011 has the header of 2013; only the body of 0x0100 tells them apart."""
        return 2013 if self.protocol_version is None else 2019

    @property
    def is_subpackage(self) -> bool:
        """Part of a longer message; alone it has no layout. A single piece (1 of 1) is the whole message."""
        return self.package_total is not None and self.package_total != 1

    @classmethod
    def parse(cls, content: bytes) -> tuple[Header, bytes]:
        """Header and body of an unescaped content (without checksum). Checks in the order short_header, length."""
        if len(content) < 12:
            raise FrameError("short_header", f"{len(content)} bytes, a header has at least 12")
        properties = content[2] << 8 | content[3]
        if properties & 0x4000:
            if len(content) < 17:
                raise FrameError("short_header", f"{len(content)} bytes, a 2019 header has at least 17")
            msg_id, _, version, phone, serial = _HEAD_2019.unpack_from(content)
            start = 17
        else:
            msg_id, _, phone, serial = _HEAD.unpack_from(content)
            version = None
            start = 12
        total = index = None
        if properties & 0x2000:
            if len(content) < start + 4:
                raise FrameError("short_header", "sub-package bit is set but the package fields are missing")
            total, index = _PACKAGE.unpack_from(content, start)
            start += 4
        length = properties & MAX_BODY
        if len(content) != start + length:
            raise FrameError("length", f"the header says {length} bytes of body, {len(content) - start} are there")
        return cls(msg_id, phone.hex(), serial, length, properties >> 10 & 7, version, total, index, properties >> 15), content[start:]

    def encode(self, body: bytes = b"") -> bytes:
        """The whole frame, flags included. ``body_length`` is taken from the body."""
        return frame(self.head(len(body)) + body)

    def head(self, body_length: int) -> bytes:
        """The header's bytes, unescaped."""
        if body_length > MAX_BODY:
            raise UsageError(f"a body of {body_length} bytes does not fit into one frame of at most {MAX_BODY}: send sub-packages")
        properties = body_length | (self.encryption & 7) << 10 | (self.reserved & 1) << 15
        try:
            if self.protocol_version is None:
                head = _HEAD.pack(self.msg_id, properties, self._phone(6), self.serial)
            else:
                head = _HEAD_2019.pack(self.msg_id, properties | 0x4000, self.protocol_version, self._phone(10), self.serial)
            if self.package_total is not None:
                head = head[:2] + bytes((head[2] | 0x20,)) + head[3:] + _PACKAGE.pack(self.package_total, self.package_index)
        except struct.error as problem:
            raise UsageError(f"header of 0x{self.msg_id:04X}: {problem}") from problem
        return head

    def _phone(self, width: int) -> bytes:
        try:
            digits = bytes.fromhex(self.phone.rjust(2 * width, "0"))
        except ValueError as problem:
            raise UsageError(f"phone {self.phone!r} has a character that is no digit") from problem
        if len(digits) != width:
            raise UsageError(f"phone {self.phone!r} does not fit into {2 * width} digits")
        return digits

    def reply(self, msg_id: int, serial: int) -> Header:
        """The header of a message to this terminal: same phone bytes, same form, own id and serial."""
        return Header(msg_id, self.phone, serial, protocol_version=self.protocol_version)

    def replace(self, **changes: Any) -> Header:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def fields(self, exact: bool = False) -> dict[str, Any]:
        """The names of the vectors and of the decode command; ``exact`` with the reserved bit if it is set."""
        result: dict[str, Any] = {
            "msg_id": self.msg_id,
            "body_length": self.body_length,
            "encryption": self.encryption,
            "protocol_version": self.protocol_version,
            "phone": self.phone,
            "serial_no": self.serial,
        }
        if self.package_total is not None:
            result["package_total"] = self.package_total
            result["package_index"] = self.package_index
        if exact and self.reserved:
            result["reserved"] = self.reserved
        return result


def decode_frame(piece: bytes, lenient: bool = False) -> tuple[Header, bytes]:
    """Header and body of what stands between two flags; ``FrameError.reason`` is the first failing check."""
    return Header.parse(unframe(piece, lenient))
