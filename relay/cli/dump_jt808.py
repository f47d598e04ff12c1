"""JT/T 808 for ``decode`` and ``encode``: frames, bodies, items and parameters, for people and for vector files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.cli.dump_table import InputError, Table, row_fields
from relay.errors import DecodeError, FrameError, ProtocolError
from relay.jt808.attachment import AttachedFile, AttachmentLink, ChunkCame, Data, MessageCame
from relay.jt808.framing import checksum, unescape
from relay.jt808.header import MAX_BODY, Header, decode_frame
from relay.jt808.items import ITEMS
from relay.jt808.messages import MESSAGES, Body, OpaqueBody, decode_body, decode_message
from relay.jt808.messages.safety import FileBegin, FileEnd
from relay.jt808.params import PARAMETERS
from relay.jt808.rsa import PrivateKey
from relay.wire import Dump, Fault, FieldError, Row, dump

EDITIONS = (2011, 2013, 2019)
#: bit 10 of the body properties alone
RSA = 1


# vector files


def decode_object(vector: Mapping[str, Any], raw: bytes, exact: bool = False) -> dict[str, Any]:
    """The ``fields`` of one vector (``exact``: enough for the same bytes again); ``ProtocolError`` for what a receiver must reject."""
    edition = edition_of(vector)
    kind = vector.get("kind")
    if kind == "frame":
        return _decode_frame(raw, edition, exact)
    if kind == "body":
        return _fields(decode_body(msg_id_of(vector), raw, edition), edition, exact)
    if kind in ("item", "param"):
        family = ITEMS if kind == "item" else PARAMETERS
        try:
            entry = family.decode(raw, edition)
            return entry.exact_fields() if exact else entry.fields()
        except Fault as fault:
            raise DecodeError(str(kind), fault.offset, fault.problem) from None
    if kind == "stream":
        return _decode_stream(raw, vector)
    raise InputError(f"kind {kind!r} is not known for jt808")


def _decode_stream(raw: bytes, vector: Mapping[str, Any]) -> dict[str, Any]:
    """All that an attachment connection received: its units, its files, and what the server answers."""
    dialect = vector.get("dialect")
    link = AttachmentLink(dialect if isinstance(dialect, str) else "")
    link.receive(raw)
    link.finish()
    units: list[dict[str, Any]] = []
    parts: dict[bytes, dict[int, bytes]] = {}
    for event in link.events():
        if isinstance(event, MessageCame):
            unit: dict[str, Any] = {"msg_id": event.header.msg_id, "serial_no": event.header.serial}
            if isinstance(event.body, (FileBegin, FileEnd)):
                unit["file_name"] = str(event.body.file_name)
            units.append(unit)
        elif isinstance(event, ChunkCame):
            units.append({"file_name": event.name, "offset": event.offset, "length": event.length, **({"error": event.error} if event.error else {})})
        elif isinstance(event, Data):
            parts.setdefault(event.file.name_bytes, {})[event.offset] = event.data
    result: dict[str, Any] = {"units": units, "files": [_file(file, parts.get(file.name_bytes, {})) for file in link.files.values()]}
    replies = []
    for piece in link.bytes_to_send().split(b"\x7e"):
        if piece:
            header, body = decode_frame(piece)
            replies.append({"msg_id": header.msg_id, **decode_message(header, body).fields()})
    result["replies"] = replies
    if link.failed is not None:
        result["error"] = link.failed.reason
    return result


def _file(file: AttachedFile, parts: Mapping[int, bytes]) -> dict[str, Any]:
    one: dict[str, Any] = {
        "file_name": file.name,
        "file_size": file.size,
        "received": [list(part) for part in file.received.ranges],
        "complete": file.complete,
    }
    if file.complete:
        content = bytearray(file.size)
        for offset, data in parts.items():
            content[offset : offset + len(data)] = data
        one["content"] = content.hex()
    return one


def _decode_frame(raw: bytes, edition: int, exact: bool) -> dict[str, Any]:
    """One frame, or, if the bytes are more than one frame between two flags, what a receiver finds in them."""
    pieces = raw.split(b"\x7e")
    if len(pieces) == 3 and not pieces[0] and not pieces[2]:
        header, body = decode_frame(pieces[1])
        message = _decode_body(header, body, edition)
        return {"header": header.fields(exact), **_fields(message, _edition_behind(header, edition), exact)}
    serials = []
    problem: FrameError | None = None
    for piece in filter(None, pieces[:-1]):
        try:
            serials.append(decode_frame(piece)[0].serial)
        except FrameError as fault:
            problem = problem or fault
    if not serials:
        raise problem or FrameError("incomplete" if any(pieces) else "empty", "no frame between two flags")
    return {"frames": len(serials), "serials": serials}


def _edition_behind(header: Header, edition: int) -> int:
    """The edition that a body behind this header should have."""
    return 2019 if header.edition == 2019 else min(edition, 2013)


def _fields(message: Body, edition: int, exact: bool) -> dict[str, Any]:
    """The fields; exact ones with the edition of the layout where it is another than should be: ``encode`` then writes that one again."""
    if not exact:
        return message.fields()
    fields = message.exact_fields()
    return {**fields, "layout": message.edition} if message.edition not in (0, edition) else fields


def _decode_body(header: Header, body: bytes, edition: int) -> Any:
    try:
        return decode_message(header, body, edition)
    except DecodeError as problem:
        # the frame is sound, its body is not: the receiver answers with result 2
        raise FrameError("body", str(problem)) from problem


def encode_object(vector: Mapping[str, Any]) -> bytes:
    """The bytes of one vector's ``fields``."""
    edition = edition_of(vector)
    fields = vector.get("fields")
    if not isinstance(fields, Mapping):
        raise InputError("no fields given")
    kind = vector.get("kind")
    if kind == "frame":
        if not isinstance(fields.get("header"), Mapping):
            raise InputError("a frame needs fields.header")
        rest = {name: value for name, value in fields.items() if name != "header"}
        header = _header(fields["header"], vector)
        body = _encode_body(header.msg_id, rest, _edition_behind(header, edition))
        if len(body) > MAX_BODY:
            raise InputError(f"a body of {len(body)} bytes does not fit into one frame of at most {MAX_BODY}: give it as sub-packages")
        return header.encode(body)
    if kind == "body":
        return _encode_body(msg_id_of(vector), fields, edition)
    if kind in ("item", "param"):
        family = ITEMS if kind == "item" else PARAMETERS
        out = bytearray()
        family.write(family.from_fields(fields, edition), out, edition)
        return bytes(out)
    raise InputError(f"kind {kind!r} is not known for jt808")


def _encode_body(msg_id: int, fields: Mapping[str, Any], edition: int) -> bytes:
    if set(fields) == {"body"}:
        try:
            return bytes.fromhex(fields["body"])
        except (TypeError, ValueError):
            raise FieldError("body", "must be a string of hex digits") from None
    cls = MESSAGES.get(msg_id)
    if cls is None:
        raise InputError(f"message 0x{msg_id:04X} is not known: give its bytes as body")
    rest = {name: value for name, value in fields.items() if name != "layout"}
    return cls.from_fields(rest, layout_of(fields, edition, EDITIONS)).encode()


def layout_of(fields: Mapping[str, Any], edition: int, known: tuple[int, ...]) -> int:
    """``layout``, where a body is said to have another edition's."""
    layout = fields.get("layout", edition)
    if layout not in known:
        raise FieldError("layout", f"{layout!r} is none of {', '.join(map(str, known))}")
    return int(layout)


def _header(fields: Mapping[str, Any], vector: Mapping[str, Any]) -> Header:
    def number(name: str, high: int, default: int | None = None) -> int | None:
        value = fields.get(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
            raise FieldError(f"header.{name}", f"must be a number of 0..{high}, not {value!r}")
        return value

    phone = fields.get("phone")
    version = number("protocol_version", 255)
    if not isinstance(phone, str) or not phone or not set(phone) <= set("0123456789abcdefABCDEF") or len(phone) > (12 if version is None else 20):
        raise FieldError("header.phone", f"must be a string of digits that fits, not {phone!r}")
    msg_id = number("msg_id", 0xFFFF)
    header = Header(
        msg_id=msg_id_of(vector) if msg_id is None else msg_id,
        phone=phone,
        serial=number("serial_no", 0xFFFF, 0) or 0,
        encryption=number("encryption", 7, 0) or 0,
        protocol_version=version,
        package_total=number("package_total", 0xFFFF),
        package_index=number("package_index", 0xFFFF),
        reserved=number("reserved", 1, 0) or 0,
    )
    if (header.package_total is None) != (header.package_index is None):
        raise FieldError("header", "package_total and package_index come together")
    return header


def edition_of(vector: Mapping[str, Any]) -> int:
    """``version``: the edition, as text or number; 2013 if it is not said."""
    version = vector.get("version") or 2013
    if str(version) not in {str(edition) for edition in EDITIONS}:
        raise InputError(f"version {version!r} is none of 2011, 2013, 2019")
    return int(version)


def msg_id_of(vector: Mapping[str, Any]) -> int:
    """``msg_id``: a number or "0x…"."""
    value = vector.get("msg_id")
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 0xFFFF:
        raise InputError(f"msg_id {value!r} is no message id")
    return number


# people


@dataclass
class Explained:
    """One frame or body taken apart."""

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    edition: int = 2013
    msg_id: int | None = None

    def show(self, table: Table) -> None:
        """Print it."""
        table.title(self.title)
        for note in self.notes:
            table.note(note)
        table.rows(self.rows)
        if self.problem:
            table.note(f"! {self.problem}")

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        cls = MESSAGES.get(self.msg_id)
        result: dict[str, Any] = {"protocol": "jt808", "edition": self.edition}
        if self.msg_id is not None:
            result["message"] = {
                "id": f"0x{self.msg_id:04X}",
                "name": cls.LABEL if cls else "",
                "english": cls.ENGLISH if cls else "",
                "direction": cls.DIRECTION if cls else "",
            }
        result["fields"] = self.fields
        result["rows"] = [row_fields(row) for row in self.rows]
        if self.problem:
            result["error"] = self.problem
        return result


_HEADER_NAMES = {
    "msg_id": ("消息ID", "message id"),
    "properties": ("消息体属性", "body properties"),
    "protocol_version": ("协议版本号", "protocol version"),
    "phone": ("终端手机号", "terminal phone number"),
    "serial_no": ("消息流水号", "serial number"),
    "package_total": ("消息总包数", "sub-packages"),
    "package_index": ("包序号", "this sub-package"),
}


def explain(raw: bytes, edition: int | None = None, msg_id: int | None = None, key: PrivateKey | None = None) -> list[Explained]:
    """Everything in ``raw``: frames between flags, one content without flags, or (with ``msg_id``) a body.

    The pieces of a sub-packaged message are put together if all of them are there. With ``key`` RSA bodies follow their frames, decrypted.
    """
    if msg_id is not None:
        return [_explain_body(raw, msg_id, edition or 2013, 0) if key is None else _explain_encrypted(raw, msg_id, edition or 2013, key)]
    pieces = [piece for piece in raw.split(b"\x7e") if piece]
    if not pieces:
        raise InputError("nothing between the flags")
    explained = []
    parts: dict[tuple[str, int, int | None, int], dict[int, tuple[Header, bytes]]] = {}
    for piece in pieces:
        one, header, body = _explain_frame(piece, edition)
        explained.append(one)
        if header is None or (header.encryption and (header.encryption != RSA or key is None)):
            continue
        if header.is_subpackage:
            parts.setdefault((header.phone, header.msg_id, header.package_total, header.encryption), {})[header.package_index or 0] = (header, body)
        elif header.encryption and key is not None:
            explained.append(_explain_encrypted(body, header.msg_id, _edition(header, edition), key))
    for (_, whole_id, total, encryption), found in parts.items():
        if total and len(found) == total and set(found) == set(range(1, total + 1)):
            header = found[1][0]
            # whole blocks one behind the other: the same whether a message was encrypted before it was cut or after
            body = b"".join(found[index][1] for index in range(1, total + 1))
            if encryption and key is not None:
                whole = _explain_encrypted(body, whole_id, _edition(header, edition), key)
            else:
                whole = _explain_body(body, whole_id, _edition(header, edition), 0)
            whole.title = f"put together from {total} sub-packages: {whole.title}"
            explained.append(whole)
    return explained


def _explain_encrypted(body: bytes, msg_id: int, edition: int, key: PrivateKey) -> Explained:
    """What an RSA body holds; offsets are those in the plain body, which is shorter."""
    try:
        plain, filled = key.decrypt(body)
    except FrameError as fault:
        return Explained(f"0x{msg_id:04X}, not decrypted", problem=str(fault), edition=edition, msg_id=msg_id, fields={"body": body.hex()})
    one = _explain_body(plain, msg_id, edition, 0)
    one.title = f"decrypted: {one.title}"
    if not filled:
        one.notes = [*one.notes, "no PKCS#1 filling: another key, or blocks shown whole, zeros in front included"]
    return one


def _edition(header: Header, edition: int | None) -> int:
    return edition or header.edition


def _explain_frame(piece: bytes, edition: int | None) -> tuple[Explained, Header | None, bytes]:
    problem = ""
    try:
        content = unescape(piece)
    except FrameError as fault:
        return Explained(f"JT/T 808 frame, {len(piece)} bytes", [_bytes_row(0, piece)], problem=str(fault)), None, b""
    if checksum(content):
        problem = f"checksum: should be {checksum(content[:-1]):02x}, is {content[-1]:02x}"
    trailer = content[-1:]
    content = content[:-1]
    try:
        header, body = Header.parse(content)
    except FrameError as fault:
        problem = problem or str(fault)
        found = _parse_anyway(content)
        if found is None:
            return Explained(f"JT/T 808 frame, {len(content)} bytes", [_bytes_row(0, content)], problem=problem), None, b""
        header, body = found
    start = len(content) - len(body)
    rows = _header_rows(content, header)
    if header.encryption or header.is_subpackage:
        cls = MESSAGES.get(header.msg_id)
        what = "cipher text" if header.encryption else f"sub-package {header.package_index} of {header.package_total}"
        one = Explained(f"0x{header.msg_id:04X} {cls.LABEL if cls else ''} {cls.ENGLISH if cls else 'unknown message'}, {what}")
        one.rows = [Row(start, body, "body", "消息体", "body", "BYTE[]", body.hex(), f"{what}, not taken apart alone", 0)]
        one.fields = {"body": body.hex()}
        one.msg_id = header.msg_id
    else:
        one = _explain_body(body, header.msg_id, _edition(header, edition), start)
    one.rows = [
        *rows,
        *one.rows,
        Row(
            len(content), trailer, "checksum", "校验码", "checksum", "BYTE", trailer.hex(),
            "wrong" if problem.startswith("checksum") else "ok", 0, "error" if problem.startswith("checksum") else "field",
        ),
    ]  # fmt: skip
    one.fields = {"header": header.fields(), **one.fields}
    one.problem = problem or one.problem
    return one, header, body


def _parse_anyway(content: bytes) -> tuple[Header, bytes] | None:
    """The header of a frame whose length is wrong, so that people see what is there."""
    if len(content) < 12:
        return None
    for length in range(len(content)):
        properties = (content[2] & 0xFC) << 8 | length & 0x3FF
        try:
            return Header.parse(content[:2] + properties.to_bytes(2, "big") + content[4:])
        except FrameError:
            continue
    return None


def _bytes_row(offset: int, data: bytes) -> Row:
    return Row(offset, data, "bytes", "", "", "", data.hex(), "cannot be read", 0, "error")


def _header_rows(content: bytes, header: Header) -> list[Row]:
    width = 10 if header.protocol_version is not None else 6
    properties = content[2] << 8 | content[3]
    said = properties & 0x3FF
    flags = [f"body {said} bytes"]
    if header.encryption:
        flags.append("RSA" if header.encryption == RSA else f"encryption {header.encryption}")
    if properties & 0x2000:
        flags.append("sub-packaged")
    if properties & 0x4000:
        flags.append("version flag (2019)")
    if properties & 0x8000:
        flags.append("bit 15")
    cls = MESSAGES.get(header.msg_id)
    layout: list[tuple[str, int, str, str]] = [
        ("msg_id", 2, f"0x{header.msg_id:04X}", f"{cls.LABEL} {cls.ENGLISH}" if cls else "unknown"),
        ("properties", 2, f"0x{properties:04X}", ", ".join(flags)),
    ]
    if header.protocol_version is not None:
        layout.append(("protocol_version", 1, str(header.protocol_version), ""))
    layout += [("phone", width, header.phone, ""), ("serial_no", 2, str(header.serial), "")]
    if header.package_total is not None:
        layout += [("package_total", 2, str(header.package_total), ""), ("package_index", 2, str(header.package_index), "")]
    rows = []
    offset = 0
    for name, size, value, meaning in layout:
        label, english = _HEADER_NAMES[name]
        kind = f"BCD[{size}]" if name == "phone" else "WORD" if size == 2 else "BYTE"
        rows.append(Row(offset, content[offset : offset + size], name, label, english, kind, value, meaning, 0))
        offset += size
    return rows


def _explain_body(body: bytes, msg_id: int, edition: int, start: int) -> Explained:
    cls = MESSAGES.get(msg_id)
    if cls is None:
        one = Explained(f"0x{msg_id:04X} unknown message", edition=edition, msg_id=msg_id, fields=OpaqueBody(msg_id, body).fields())
        one.rows = [Row(start, body, "body", "消息体", "body", "BYTE[]", body.hex(), "layout unknown", 0, "rest")] if body else []
        return one
    taken: Dump = dump(cls, body, edition)
    for row in taken.rows:
        row.offset += start
    arrow = "terminal → platform" if cls.DIRECTION == "up" else "platform → terminal"
    one = Explained(f"0x{msg_id:04X} {cls.LABEL} {cls.ENGLISH} ({arrow}, layout of {taken.record.edition})")
    one.rows = taken.rows
    one.edition, one.msg_id = taken.record.edition, msg_id
    one.notes = [cls.NOTE] if cls.NOTE else []
    try:
        message = decode_body(msg_id, body, edition)
        one.fields = message.fields()
        if message.trailing:
            one.fields["trailing"] = message.trailing.hex()
    except ProtocolError as problem:
        one.problem = str(problem)
        one.fields = taken.record.fields()
    return one
