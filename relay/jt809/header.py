"""The header (数据头), 22 bytes in 2011, 30 in 2019::

     0 msg_length u32    8 msg_id u16             14 version_flag 3 bytes   18 encrypt_key u32
     4 msg_sn     u32   10 msg_gnsscenterid u32   17 encrypt_flag u8        22 time u64 (2019, UTC seconds)

Nothing in the frame says which edition it is: that is a property of the link.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from relay.errors import FrameError
from relay.jt809 import cipher, framing
from relay.wire import FieldError

_2011 = struct.Struct(">IIHI3sBI")
_2019 = struct.Struct(">IIHI3sBIQ")


def header_size(edition: int) -> int:
    """Bytes of the header."""
    return _2019.size if edition >= 2019 else _2011.size


@dataclass(slots=True)
class Header:
    """One frame's header. ``msg_length`` is made when writing."""

    msg_id: int  #: 业务数据类型
    msg_sn: int = 0  #: 报文序列号
    msg_gnsscenterid: int = 0  #: 下级平台接入码: the same value in both directions
    version: tuple[int, int, int] = (1, 0, 0)  #: 协议版本号标识: says nothing about the edition
    encrypt_flag: int = 0  #: 1: the body is encrypted with ``encrypt_key``
    encrypt_key: int = 0
    time: int = 0  #: UTC seconds (2019)
    edition: int = 2011
    msg_length: int = 0

    def fields(self) -> dict[str, Any]:
        """The header in JSON's types."""
        fields: dict[str, Any] = {
            "msg_length": self.msg_length,
            "msg_sn": self.msg_sn,
            "msg_id": self.msg_id,
            "msg_gnsscenterid": self.msg_gnsscenterid,
            "version_flag": ".".join(map(str, self.version)),
            "encrypt_flag": self.encrypt_flag,
            "encrypt_key": self.encrypt_key,
        }
        if self.edition >= 2019:
            fields["time"] = self.time
        return fields

    @classmethod
    def from_fields(cls, fields: dict[str, Any], edition: int) -> Header:
        """A header from JSON; ``FieldError`` for what does not fit."""
        try:
            major, minor, revision = (int(part) for part in str(fields.get("version_flag", "1.0.0")).split("."))
            return cls(
                msg_id=int(fields["msg_id"]),
                msg_sn=int(fields.get("msg_sn", 0)),
                msg_gnsscenterid=int(fields.get("msg_gnsscenterid", 0)),
                version=(major, minor, revision),
                encrypt_flag=int(fields.get("encrypt_flag", 0)),
                encrypt_key=int(fields.get("encrypt_key", 0)),
                time=int(fields.get("time", 0)),
                edition=edition,
            )
        except (KeyError, ValueError, TypeError) as problem:
            raise FieldError("header", f"cannot be made of {fields!r}: {problem}") from None


def decode_frame(frame: bytes, edition: int, keys: cipher.CipherKeys | None = None) -> tuple[Header, bytes, int]:
    """Header, body (decrypted) and CRC of a frame with its flags. ``FrameError`` names the fault."""
    inner, crc = framing.unwrap(frame, header_size(edition))
    layout = _2019 if edition >= 2019 else _2011
    length, sn, msg_id, center, version, flag, key, *rest = layout.unpack_from(inner)
    header = Header(msg_id, sn, center, tuple(version), flag, key, rest[0] if rest else 0, edition, length)
    body = inner[layout.size :]
    if flag == 1:
        if keys is None:
            raise FrameError("encrypted", "the body is encrypted and no M1, IA1, IC1 are set")
        body = cipher.apply(keys, key, body)
    return header, body, crc


def encode_frame(header: Header, body: bytes, keys: cipher.CipherKeys | None = None) -> bytes:
    """The frame as it goes onto the link; the body is encrypted when ``encrypt_flag`` is 1."""
    if header.encrypt_flag == 1:
        if keys is None:
            raise FieldError("header.encrypt_flag", "is 1, and no M1, IA1, IC1 are given")
        body = cipher.apply(keys, header.encrypt_key, body)
    layout = _2019 if header.edition >= 2019 else _2011
    header.msg_length = layout.size + len(body) + 4
    values: list[Any] = [
        header.msg_length, header.msg_sn, header.msg_id, header.msg_gnsscenterid, bytes(header.version), header.encrypt_flag, header.encrypt_key
    ]  # fmt: skip
    if layout is _2019:
        values.append(header.time)
    try:
        return framing.wrap(layout.pack(*values) + body)
    except (struct.error, ValueError) as problem:
        raise FieldError("header", f"a value does not fit: {problem}") from None
