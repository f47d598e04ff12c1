"""JT/T 809 for ``decode`` and ``encode``: frames, bodies, sub-businesses and streams, for vector files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.cli.dump_table import InputError
from relay.errors import DecodeError, FrameError
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import body_from_fields, decode_body
from relay.jt809.framing import Deframer
from relay.jt809.header import Header, decode_frame, encode_frame
from relay.jt809.messages import MESSAGES, Body


def decode_object(vector: Mapping[str, Any], raw: bytes) -> dict[str, Any]:
    """The ``fields`` of one vector; ``ProtocolError`` for what a receiver must reject."""
    edition, keys, kind = edition_of(vector), keys_of(vector), vector.get("kind")
    try:
        if kind == "frame":
            header, body, crc = decode_frame(raw, edition, keys)
            return {"header": header.fields(), "body": decode_body(header.msg_id, body, edition).fields(), "crc_code": crc}
        if kind == "body":
            return decode_body(_id(vector, "msg_id"), raw, edition).fields()
        if kind == "subbody":
            return _sub_class(vector).decode(raw, edition).fields()
    except DecodeError as problem:
        raise FrameError("truncated_item" if "[" in problem.where else "body", str(problem)) from problem
    if kind == "stream":
        return {"frames": [frame.hex() for frame in Deframer().feed(raw) if _is_sound(frame, edition)]}
    raise InputError(f"kind {kind!r} is not known for jt809")


def _is_sound(frame: bytes, edition: int) -> bool:
    try:
        decode_frame(frame, edition, CipherKeys(0, 0, 0))
    except FrameError:
        return False
    return True


def encode_object(vector: Mapping[str, Any]) -> bytes:
    """The bytes of one vector's ``fields``."""
    edition, keys, kind = edition_of(vector), keys_of(vector), vector.get("kind")
    fields = vector.get("fields")
    if not isinstance(fields, Mapping):
        raise InputError("no fields given")
    if kind == "frame":
        if not isinstance(fields.get("header"), Mapping) or not isinstance(fields.get("body"), Mapping):
            raise InputError("a frame needs fields.header and fields.body")
        header = Header.from_fields(dict(fields["header"]), edition)
        return encode_frame(header, body_from_fields(header.msg_id, fields["body"], edition).encode(), keys)
    if kind == "body":
        return body_from_fields(_id(vector, "msg_id"), fields, edition).encode()
    if kind == "subbody":
        return _sub_class(vector).from_fields(fields, edition).encode()
    if kind == "stream":
        return b"".join(bytes.fromhex(frame) for frame in fields.get("frames", []))
    raise InputError(f"kind {kind!r} is not known for jt809")


def edition_of(vector: Mapping[str, Any]) -> int:
    """``version``, as text or number; 2011 if it is not said."""
    version = str(vector.get("version") or 2011)
    if version not in ("2011", "2019"):
        raise InputError(f"version {version!r} is neither 2011 nor 2019")
    return int(version)


def keys_of(vector: Mapping[str, Any]) -> CipherKeys | None:
    """``crypto``: m1, ia1, ic1."""
    crypto = vector.get("crypto")
    if crypto is None:
        return None
    try:
        return CipherKeys(int(crypto["m1"]), int(crypto["ia1"]), int(crypto["ic1"]))
    except (KeyError, TypeError, ValueError):
        raise InputError("crypto needs the numbers m1, ia1, ic1") from None


def _sub_class(vector: Mapping[str, Any]) -> type[Body]:
    msg_id = _id(vector, "msg_id")
    sub_id = _id(vector, "sub_id") if vector.get("sub_id") else msg_id
    cls = MESSAGES.get((msg_id, sub_id))
    if cls is None:
        raise InputError(f"sub-business 0x{sub_id:04X} of 0x{msg_id:04X} is not known")
    return cls


def _id(vector: Mapping[str, Any], name: str) -> int:
    value = vector.get(name)
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 0xFFFF:
        raise InputError(f"{name} {value!r} is no message id")
    return number
