"""JT/T 809 for ``decode`` and ``encode``: frames, bodies, sub-businesses and streams, for people and for vector files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.cli import dump_jt808
from relay.cli.dump_jt809_pieces import Piece, cut
from relay.cli.dump_jt809_values import spell, utc_text
from relay.cli.dump_table import InputError, row_fields
from relay.errors import DecodeError, FrameError
from relay.jt809 import editions
from relay.jt809.cipher import CipherKeys
from relay.jt809.cipher import apply as apply_cipher
from relay.jt809.envelope import FAMILIES, Business, body_from_fields, data_from_fields, decode_body, form_of
from relay.jt809.framing import Deframer, crc16, escape, unwrap
from relay.jt809.header import Header, decode_frame, encode_frame, header_size
from relay.jt809.messages import MESSAGES, Body
from relay.jt809.messages.base import PLATE_COLORS
from relay.wire import Dump, Row, dump, read_padded

_HEADER = (
    ("msg_length", "数据长度", "frame length", 4),
    ("msg_sn", "报文序列号", "serial number", 4),
    ("msg_id", "业务数据类型", "message id", 2),
    ("msg_gnsscenterid", "下级平台接入码", "access code", 4),
    ("version_flag", "协议版本号标识", "protocol version", 3),
    ("encrypt_flag", "报文加密标识位", "encryption", 1),
    ("encrypt_key", "数据加密的密钥", "key", 4),
    ("time", "发送消息时的系统UTC时间", "time sent", 8),
)
_VEHICLE = (("vehicle_no", "车牌号码", "plate", 21), ("vehicle_color", "车牌颜色", "plate colour", 1))
_SUB = ("data_type", "子业务类型标识", "sub-business", 2)
_LENGTH = ("data_length", "后续数据长度", "length of what follows", 4)
_SOURCE = (
    ("source_data_type", "对应请求消息源子业务类型标识", "sub-business answered", 2),
    ("source_msg_sn", "对应请求消息源报文序列号", "serial number answered", 4),
)
#: the envelopes of ``relay.jt809.envelope`` by their letters
ENVELOPES = {"V": (*_VEHICLE, _SUB, _LENGTH), "P": (_SUB, _LENGTH), "A": (*_VEHICLE, _SUB, *_SOURCE, _LENGTH), "T": (_SUB,)}
_TYPES = {1: "BYTE", 2: "WORD", 3: "BYTE[3]", 4: "DWORD", 8: "QWORD"}


# vector files


def decode_object(vector: Mapping[str, Any], raw: bytes, exact: bool = False) -> dict[str, Any]:
    """The ``fields`` of one vector (``exact``: enough for the same bytes again); ``ProtocolError`` for what a receiver must reject."""
    edition, keys, kind = edition_of(vector), keys_of(vector), vector.get("kind")
    try:
        if kind == "frame":
            header, body, crc = decode_frame(raw, edition, keys)
            return {"header": header.fields(), "body": decode_body(header.msg_id, body, edition).fields(exact), "crc_code": crc}
        if kind == "body":
            return decode_body(_id(vector, "msg_id"), raw, edition).fields(exact)
        if kind == "subbody":
            cls = _sub_class(vector)
            return Business(0, "L", data=cls.decode(raw, edition), edition=edition).fields(exact)
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
        return data_from_fields(_sub_class(vector), fields, edition).encode()
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


def keys_of_arguments(args: argparse.Namespace) -> CipherKeys | None:
    """``--m1 N --ia1 N --ic1 N``: all of them or none."""
    given = (args.m1, args.ia1, args.ic1)
    if given == (None, None, None):
        return None
    if None in given:
        args.usage_error("--m1, --ia1 and --ic1 come together")
    return CipherKeys(*given)


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


# people


@dataclass
class Explained(dump_jt808.Explained):
    """One frame or body taken apart."""

    edition: int = 2011
    sub_id: int = 0

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        result: dict[str, Any] = {"protocol": "jt809", "edition": self.edition}
        if self.msg_id is not None:
            result["message"] = {"id": f"0x{self.msg_id:04X}", **_names(self.msg_id, 0)}
            if self.sub_id:
                result["message"]["sub"] = {"id": f"0x{self.sub_id:04X}", **_names(self.msg_id, self.sub_id)}
        result["fields"] = self.fields
        result["rows"] = [row_fields(row) for row in self.rows]
        if self.notes:
            result["notes"] = self.notes
        if self.problem:
            result["error"] = self.problem
        return result


def _names(msg_id: int, sub_id: int) -> dict[str, str]:
    cls = MESSAGES.get((msg_id, sub_id)) or (None if sub_id else MESSAGES.get((msg_id, msg_id)))
    if cls is None:
        label, constant = FAMILIES.get(msg_id, ("", "")) if not sub_id else ("", "")
        return {"name": label, "english": "", "constant": constant, "direction": "down" if msg_id >= 0x9000 else "up"}
    return {"name": cls.LABEL, "english": cls.ENGLISH, "constant": cls.NAME, "direction": cls.DIRECTION}


def explain(
    raw: bytes, edition: int | None = None, keys: CipherKeys | None = None, body_id: int | None = None, *, usual: int = 0
) -> list[Explained]:
    """Every frame in ``raw``: as on the wire, already unescaped (logs and test centres show them so), or without its flags.

    ``body_id``: the bytes are the unescaped, decrypted body of this message, or the data of this sub-business. ``usual``: the edition that the
    frames of this link have had so far.
    """
    if body_id is not None:
        return [_explain_body_alone(raw, body_id, edition)]
    pieces = cut(raw)
    frames = [piece for piece in pieces if piece.kind != "outside"]
    if not frames:
        raise InputError("no frame of JT/T 809: nothing between 5B and 5D")
    known, usual = usual, usual or _usual_edition(frames, keys)
    explained = []
    for piece in pieces:
        if piece.kind == "outside":
            one = Explained(f"{len(piece.data)} bytes outside frames", [Row(0, piece.data, "bytes", "", "", "", piece.data.hex(), "skipped", 0, "rest")])
        else:
            one = _explain_frame(piece, edition, usual, keys, known)
        explained.append(one)
    return explained


def _usual_edition(frames: Sequence[Piece], keys: CipherKeys | None) -> int:
    """What most frames of one paste seem to be: of one that tells nothing itself the others are the best sign."""
    total = {2011: 1, 2019: 0}
    for piece in frames:
        guessed = editions.guess(piece.content[:-2], keys)
        if guessed:
            total[guessed] += 2
    return max(total, key=lambda one: total[one])


def _explain_frame(piece: Piece, edition: int | None, usual: int, keys: CipherKeys | None, known: int) -> Explained:
    content = piece.content
    if not content:
        return Explained("JT/T 809 frame without content: receivers drop it", [Row(0, piece.data, "bytes", "", "flags", "", piece.data.hex(), "", 0, "rest")])
    guessed = editions.guess(content[:-2], keys)
    header_edition = edition or guessed or usual
    problem, has_crc = _frame_problem(piece, header_size(header_edition))
    crc = content[-2:] if has_crc else b""
    inner = content[: len(content) - len(crc)]
    notes = [piece.note] if piece.note else []
    if edition is None and header_edition != known:
        notes.append(f"edition {header_edition}, " + ("guessed from the bytes (--edition sets it)" if guessed else "for want of a sign (--edition sets it)"))
    rows, header = _header_rows(inner, header_edition, problem)
    if header is None:
        rows.append(Row(_end(rows), inner[_end(rows) :], "header", "数据头", "header", "", inner[_end(rows) :].hex(), "cut", 0, "error"))
        one = Explained(f"JT/T 809 frame, {len(content)} bytes", rows, notes, problem or "truncated: the header is cut", edition=header_edition)
    else:
        body = inner[header_size(header_edition) :]
        one = _explain_body_of(header, body, keys, edition, header_edition)
        one.rows = rows + one.rows
        one.notes = notes + one.notes
        one.fields = {"header": header.fields(), "body": one.fields}
        one.problem = problem or one.problem
    if crc:
        due = crc16(inner)
        said = int.from_bytes(crc, "big")
        wrong = said != due
        one.rows.append(
            Row(
                len(inner), crc, "crc_code", "校验码", "CRC-16", "WORD", f"0x{said:04X}", f"wrong: {due:04X} is due" if wrong else "ok", 0,
                "error" if wrong else "field",
            )
        )  # fmt: skip
        one.fields["crc_code"] = said
    return one


def _frame_problem(piece: Piece, size: int) -> tuple[str, bool]:
    """What a receiver finds wrong with the frame, and whether its last two bytes can be taken for its CRC."""
    try:
        unwrap(piece.data if piece.kind == "wire" else b"\x5b" + escape(piece.content) + b"\x5d", size)
    except FrameError as problem:
        ended = piece.kind != "wire" or piece.data.endswith(b"\x5d")
        said = piece.fault if piece.fault.startswith(problem.reason) else str(problem)
        return said, ended and len(piece.content) > size and (problem.reason != "truncated")
    return "", True


def _end(rows: Sequence[Row]) -> int:
    return rows[-1].offset + len(rows[-1].data) if rows else 0


def _header_rows(inner: bytes, edition: int, problem: str) -> tuple[list[Row], Header | None]:
    said = int.from_bytes(inner[:4], "big")
    wrong = "length_mismatch" in problem or "the header says" in problem
    msg_id = int.from_bytes(inner[8:10], "big")
    names = _names(msg_id, 0)
    known = " ".join(filter(None, (names["name"], names["english"], names["constant"])))
    flag = inner[17] if len(inner) > 17 else 0
    meanings = {
        "msg_length": f"wrong: {problem.partition(': ')[2]}" if wrong else "flags, header, body and CRC, unescaped",
        "msg_id": known or "unknown",
        "msg_gnsscenterid": "the subordinate platform's, in both directions",
        "encrypt_flag": {0: "plain", 1: "body encrypted"}.get(flag, ""),
        "encrypt_key": "" if flag == 1 else "unused",
    }
    rows: list[Row] = []
    pos = 0
    for name, label, english, width in _HEADER if edition >= 2019 else _HEADER[:-1]:
        data = inner[pos : pos + width]
        if len(data) < width:
            return rows, None
        number = int.from_bytes(data, "big")
        value = f"0x{number:04X}" if name == "msg_id" else ".".join(map(str, data)) if name == "version_flag" else str(number)
        meaning = utc_text(number) if name == "time" else meanings.get(name, "")
        rows.append(Row(pos, data, name, label, english, _TYPES[width], value, meaning, 0, "error" if wrong and name == "msg_length" else "field"))
        pos += width
    sn, center, key = (int.from_bytes(inner[at : at + 4], "big") for at in (4, 10, 18))
    time = int.from_bytes(inner[22:30], "big") if edition >= 2019 else 0
    return rows, Header(msg_id, sn, center, (inner[14], inner[15], inner[16]), flag, key, time, edition, said)


def _explain_body_of(header: Header, body: bytes, keys: CipherKeys | None, edition: int | None, header_edition: int) -> Explained:
    start = header_size(header_edition)
    notes = []
    if header.encrypt_flag == 1 and body:
        if keys is None:
            one = Explained(_title(header.msg_id, 0, header_edition) + ", encrypted", edition=header_edition, msg_id=header.msg_id)
            one.notes = ["the body is encrypted: --m1 N --ia1 N --ic1 N decrypt it"]
            one.rows = [Row(start, body, "body", "数据体", "body", "BYTE[]", body.hex(), "cipher text, not taken apart", 0)]
            one.fields = {"raw": body.hex()}
            return one
        body = apply_cipher(keys, header.encrypt_key, body)
        notes.append("the body is shown decrypted")
    layout = header_edition if edition else editions.body_edition(header.msg_id, body, header_edition)
    if layout != header_edition:
        notes.append(f"a body of {layout} behind a header of {header_edition}")
    one = explain_body(header.msg_id, body, layout, start)
    one.notes = notes + one.notes
    return one


def _explain_body_alone(raw: bytes, number: int, edition: int | None) -> Explained:
    whole = number in FAMILIES or (number, 0) in MESSAGES
    if whole:
        return explain_body(number, raw, edition or (2019 if editions.body_edition(number, raw, 2011) == 2019 else 2011), 0)
    cls = next((cls for cls in MESSAGES if cls.KEY[1] == number), None)
    if cls is None:
        raise InputError(f"0x{number:04X} is neither a message nor a sub-business of JT/T 809")
    msg_id, sub_id = cls.KEY
    one = Explained(_title(msg_id, sub_id, edition or max(2011, cls.SINCE)), msg_id=msg_id, sub_id=sub_id)
    _data_rows(one, cls, raw, edition or max(2011, cls.SINCE), 0)
    return one


def explain_body(msg_id: int, body: bytes, edition: int, start: int) -> Explained:
    """A decrypted body: its envelope, and what stands in it."""
    form = form_of(msg_id, body, edition)
    one = Explained(_title(msg_id, 0, edition), edition=edition, msg_id=msg_id)
    if form == "?":
        one.fields = {"raw": body.hex()}
        if body:
            one.rows = [Row(start, body, "body", "数据体", "body", "BYTE[]", body.hex(), "message unknown", 0, "rest")]
        return one
    if form == "L":
        cls = MESSAGES.get((msg_id, 0))
        if cls is not None:
            _data_rows(one, cls, body, edition, start)
        return one
    pos, values = _envelope_rows(one, form, body, start)
    one.fields = values
    data_type = values.get("data_type")
    if not isinstance(data_type, int) or one.problem.startswith("truncated_envelope"):
        return one
    one.sub_id = data_type
    one.title = _title(msg_id, data_type, edition)
    cls = MESSAGES.get((msg_id, data_type))
    data = body[pos:]
    if cls is None or form == "A":
        if data:
            one.rows.append(Row(start + pos, data, "data", "", "data", "BYTE[]", data.hex(), "" if cls else "sub-business unknown", 0, "rest"))
        return one
    inside = Explained("")
    _data_rows(inside, cls, data, edition, start + pos)
    one.rows += inside.rows
    one.notes += inside.notes
    one.problem = one.problem or inside.problem
    one.fields["data"] = inside.fields
    return one


def _envelope_rows(one: Explained, form: str, body: bytes, start: int) -> tuple[int, dict[str, Any]]:
    """Rows of the envelope; the position behind it, and its values."""
    values: dict[str, Any] = {}
    pos = 0
    for name, label, english, width in ENVELOPES[form]:
        if name == "data_length" and form == "A" and pos == len(body):
            one.notes.append("data_length is left out: a dialect")
            break
        data = body[pos : pos + width]
        if len(data) < width:
            one.problem = f"truncated_envelope: {len(body)} bytes, {name} at offset {start + pos} needs {width}"
            one.rows.append(
                Row(
                    start + pos, data, name, label, english, "", data.hex(), f"cannot be read: needs {width} bytes, {len(data)} left", 0, "error",
                )
            )  # fmt: skip
            break
        value: Any = str(read_padded(data)) if name == "vehicle_no" else int.from_bytes(data, "big")
        values[name] = value
        row = Row(start + pos, data, name, label, english, _TYPES.get(width, f"STRING[{width}]"), str(value), "", 0)
        pos += width
        if name == "vehicle_color":
            row.meaning = PLATE_COLORS.get(value, "none" if value == 0 else "")
        elif name in ("data_type", "source_data_type"):
            row.value = f"0x{value:04X}"
            cls = MESSAGES.get((one.msg_id, value)) if name == "data_type" else next((cls for cls in MESSAGES if cls.KEY[1] == value), None)
            row.meaning = f"{cls.LABEL} {cls.ENGLISH} {cls.NAME}" if cls else "unknown"
        elif name == "data_length" and value != len(body) - pos:
            one.problem = f"data_length_mismatch: data_length at offset {row.offset} says {value}, {len(body) - pos} bytes follow"
            row.kind, row.meaning = "error", f"wrong: {len(body) - pos} bytes follow"
        one.rows.append(row)
    return pos, values


def _data_rows(one: Explained, cls: type[Body], data: bytes, edition: int, start: int) -> None:
    """The fields of a message, spelt out where another standard's layout or a plain number hides something."""
    taken: Dump = dump(cls, data, edition)
    one.fields = taken.record.fields()
    if taken.record.trailing:
        one.fields["trailing"] = taken.record.trailing.hex()
    for row in taken.rows:
        row.offset += start
    one.rows = [inner for row in taken.rows for inner in (row, *spell(row))]
    if cls.NOTE:
        one.notes.append(cls.NOTE)
    if taken.record.edition not in (edition, 2011, 2019):
        one.notes.append("the layout is that of a dialect, told by its length")
    elif taken.record.edition != edition:
        one.notes.append(f"the body has the layout of {taken.record.edition}, told by its length")
    if taken.error is not None:
        one.problem = str(DecodeError(taken.error.where, taken.error.offset + start, taken.error.problem))


def _title(msg_id: int, sub_id: int, edition: int) -> str:
    names = _names(msg_id, sub_id)
    number = f"0x{msg_id:04X}" + (f"/0x{sub_id:04X}" if sub_id else "")
    arrow = "superior → subordinate" if names["direction"] == "down" else "subordinate → superior"
    known = " ".join(filter(None, (names["name"], names["english"], names["constant"])))
    return f"{number} {known or ('unknown sub-business' if sub_id else 'unknown message')} ({arrow}, layout of {edition})"
