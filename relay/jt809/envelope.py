"""The sub-business envelope (子业务封装) around most bodies.

V   vehicle_no str[21], vehicle_color u8, data_type u16, data_length u32, data        vehicles: 0x1200, 0x9200, 0x15/0x95, 0x16/0x96, video;
                                                                                      0x1400 and 0x9400 in 2011
P   data_type u16, data_length u32, data                                              platforms: 0x1300, 0x9300, 0x110x, 0x910x, 0x9201;
                                                                                      0x1400 and 0x9400 in 2019
A   vehicle_no, vehicle_color, data_type, source_data_type u16, source_msg_sn u32, [data_length u32 = 0]     0x1205, 0x1206 in 2019
T   data_type u16, data                                                               0x1701
L   the fields alone                                                                  link messages
?   a msg_id that is not known: raw
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.errors import FrameError
from relay.jt809.messages import MESSAGES, SUPPLEMENT, VARIANT, Body, video
from relay.wire import FieldError, read_padded
from relay.wire.codecs import Fixed, from_hex

_V = struct.Struct(">21sBHI")
_P = struct.Struct(">HI")
_A = struct.Struct(">21sBHHI")
_PLATE = Fixed(21)

VEHICLE_FAMILIES = frozenset({
    0x1200, 0x9200, 0x1400, 0x9400, 0x1500, 0x9500, 0x1600, 0x9600, 0x1700, 0x1800, 0x1900, 0x1A00, 0x1B00, 0x9700, 0x9800, 0x9900, 0x9A00, 0x9B00,
})  # fmt: skip
PLATFORM_FAMILIES = frozenset({0x1300, 0x9300, 0x1102, 0x1103, 0x9102, 0x9103})
ALARM_FAMILIES = frozenset({0x1400, 0x9400})
#: 业务类型 whose bodies have an envelope: the standard's name and its constant
FAMILIES: dict[int, tuple[str, str]] = {
    0x1200: ("主链路动态信息交换消息", "UP_EXG_MSG"),
    0x1300: ("主链路平台间信息交互消息", "UP_PLATFORM_MSG"),
    0x1400: ("主链路报警信息交互消息", "UP_WARN_MSG"),
    0x1500: ("主链路车辆监管消息", "UP_CTRL_MSG"),
    0x1600: ("主链路静态信息交换消息", "UP_BASE_MSG"),
    0x1700: ("主链路时效口令交互消息", "UP_AUTHORIZE_MSG"),
    0x1800: ("主链路实时音视频交互消息", "UP_REALVIDEO_MSG"),
    0x1900: ("主链路远程录像检索交互消息", "UP_SEARCH_MSG"),
    0x1A00: ("主链路远程录像回放交互消息", "UP_PLAYBACK_MSG"),
    0x1B00: ("主链路远程录像下载交互消息", "UP_DOWNLOAD_MSG"),
    0x9200: ("从链路动态信息交换消息", "DOWN_EXG_MSG"),
    0x9300: ("从链路平台间信息交互消息", "DOWN_PLATFORM_MSG"),
    0x9400: ("从链路报警信息交互消息", "DOWN_WARN_MSG"),
    0x9500: ("从链路车辆监管消息", "DOWN_CTRL_MSG"),
    0x9600: ("从链路静态信息交换消息", "DOWN_BASE_MSG"),
    0x9700: ("从链路时效口令交互消息", "DOWN_AUTHORIZE_MSG"),
    0x9800: ("从链路实时音视频交互消息", "DOWN_REALVIDEO_MSG"),
    0x9900: ("从链路远程录像检索交互消息", "DOWN_SEARCH_MSG"),
    0x9A00: ("从链路远程录像回放交互消息", "DOWN_PLAYBACK_MSG"),
    0x9B00: ("从链路远程录像下载交互消息", "DOWN_DOWNLOAD_MSG"),
}
#: editions, and years that stand for dialects
LAYOUTS = (2011, SUPPLEMENT, 2019, VARIANT, *video.TimePasswordAnswer.ORDERS)
ACKNOWLEDGEMENTS = frozenset({0x1205, 0x1206})


@dataclass(slots=True)
class Business:
    """One body taken apart. ``data`` is None where the sub-business is not known; its bytes are in ``raw`` all the same."""

    msg_id: int
    form: str
    data: Body | None = None
    raw: bytes = b""  #: what the envelope holds
    data_type: int = 0
    vehicle_no: str = ""
    vehicle_color: int = 0
    source_data_type: int = 0  #: form A
    source_msg_sn: int = 0
    with_length: bool = True  #: form A: the dialect without data_length is written without it
    edition: int = 2011

    def fields(self, exact: bool = False) -> dict[str, Any]:
        """In JSON's types, with the standard's names; ``exact`` as for ``Record.exact_fields``."""
        if self.form == "?":
            return {"raw": self.raw.hex()}
        if self.form == "L":
            return self.data_fields(exact)
        fields: dict[str, Any] = {}
        if self.form in "VA":
            fields |= {"vehicle_no": str(self.vehicle_no), "vehicle_color": self.vehicle_color}
            if exact:
                fields |= {f"vehicle_no.{kind}": known for kind, known in _PLATE.memory(self.vehicle_no).items()}
        fields["data_type"] = self.data_type
        if self.form == "A":
            fields |= {"source_data_type": self.source_data_type, "source_msg_sn": self.source_msg_sn}
            if self.with_length:
                fields["data_length"] = 0
            return fields
        if self.form != "T":
            fields["data_length"] = len(self.raw)
        if self.data is not None or (exact and self.raw):
            fields["data"] = self.data_fields(exact)
        return fields

    def data_fields(self, exact: bool = False) -> dict[str, Any]:
        """What the envelope holds. ``exact`` adds ``layout``, the edition of its layout where the link's edition has another."""
        if self.data is None:
            return {"raw": self.raw.hex()}
        if not exact:
            return self.data.fields()
        fields = self.data.exact_fields()
        return fields if self.data.edition in (0, self.edition) else {**fields, "layout": self.data.edition}

    def encode(self) -> bytes:
        """The body's bytes (not encrypted)."""
        content = self.raw if self.data is None else self.data.encode(self.data.edition or self.edition)
        try:
            if self.form in "?L":
                return content
            if self.form == "T":
                return struct.pack(">H", self.data_type) + content
            if self.form == "P":
                return _P.pack(self.data_type, len(content)) + content
            plate = _PLATE.store(self.vehicle_no)
            if self.form == "A":
                head = _A.pack(plate, self.vehicle_color, self.data_type, self.source_data_type, self.source_msg_sn)
                return head + (bytes(4) if self.with_length else b"")
            return _V.pack(plate, self.vehicle_color, self.data_type, len(content)) + content
        except struct.error as problem:
            raise FieldError("body", f"a value does not fit: {problem}") from None


def _platform_form_fits(body: bytes) -> bool:
    return len(body) >= 6 and int.from_bytes(body[2:6], "big") == len(body) - 6


def form_of(msg_id: int, body: bytes, edition: int) -> str:
    """Which envelope this body has."""
    if (msg_id, 0) in MESSAGES:
        return "L"
    if msg_id in PLATFORM_FAMILIES:
        return "P"
    if msg_id not in VEHICLE_FAMILIES:
        return "?"
    if msg_id == 0x1700 and body[:2] == b"\x17\x01" and len(body) != 167:
        return "T"
    if msg_id in ALARM_FAMILIES:
        high = body[:1] == bytes((msg_id >> 8,))
        if edition >= 2019 and (high or len(body) < _V.size):
            return "P"
        return "P" if high and _platform_form_fits(body) else "V"
    if msg_id == 0x9200 and body[:2] == b"\x92\x01" and _platform_form_fits(body):
        return "P"
    if msg_id == 0x1200 and len(body) in (30, 34) and int.from_bytes(body[22:24], "big") in ACKNOWLEDGEMENTS:
        return "A"
    return "V"


def decode_body(msg_id: int, body: bytes, edition: int) -> Business:
    """A decrypted body. ``FrameError`` with ``truncated_envelope`` or ``data_length_mismatch``; ``DecodeError`` for the fields behind the envelope."""
    form = form_of(msg_id, body, edition)
    business = Business(msg_id, form, edition=edition)
    if form == "?":
        business.raw = body
        return business
    if form == "L":
        cls = MESSAGES.get((msg_id, 0))
        business.raw = body
        business.data = cls.decode(body, edition) if cls is not None else None
        return business
    sizes = {"V": _V.size, "P": _P.size, "A": 30, "T": 2}
    if len(body) < sizes[form]:
        raise FrameError("truncated_envelope", f"{len(body)} bytes, the envelope alone has {sizes[form]}")
    if form == "T":
        business.data_type, business.raw = int.from_bytes(body[:2], "big"), body[2:]
    elif form == "A":
        plate, business.vehicle_color, business.data_type, business.source_data_type, business.source_msg_sn = _A.unpack_from(body)
        business.vehicle_no = read_padded(plate)
        business.with_length = len(body) == 34
        if any(body[30:]):
            raise FrameError("data_length_mismatch", f"data_length says {int.from_bytes(body[30:], 'big')}, nothing follows")
        return business
    else:
        if form == "V":
            plate, business.vehicle_color, business.data_type, said = _V.unpack_from(body)
            business.vehicle_no = read_padded(plate)
        else:
            business.data_type, said = _P.unpack_from(body)
        business.raw = body[sizes[form] :]
        if said != len(business.raw):
            raise FrameError("data_length_mismatch", f"data_length says {said}, {len(business.raw)} bytes follow")
    cls = MESSAGES.get((msg_id, business.data_type))
    if cls is not None:
        business.data = cls.decode(business.raw, edition)
    return business


def body_from_fields(msg_id: int, fields: Mapping[str, Any], edition: int) -> Business:
    """The body with these fields; lengths are worked out. ``FieldError`` names what does not fit."""
    if not isinstance(fields, Mapping):
        raise FieldError("body", f"must be an object, not {fields!r}")
    if set(fields) == {"raw"} and (msg_id, 0) not in MESSAGES:
        return Business(msg_id, "?", raw=from_hex(fields["raw"]), edition=edition)
    cls = MESSAGES.get((msg_id, 0))
    if cls is not None:
        return Business(msg_id, "L", data=data_from_fields(cls, fields, edition), edition=edition)
    data_type = _number(fields, "data_type")
    business = Business(msg_id, "V" if "vehicle_no" in fields else "P", data_type=data_type, edition=edition)
    if business.form == "V":
        business.vehicle_no = _PLATE.recall(fields["vehicle_no"], {"raw": fields.get("vehicle_no.raw", "")}, edition)
        business.vehicle_color = _number(fields, "vehicle_color")
    elif msg_id == 0x1700:
        business.form = "T"
    if "source_data_type" in fields:
        business.form = "A"
        business.source_data_type, business.source_msg_sn = _number(fields, "source_data_type"), _number(fields, "source_msg_sn")
        business.with_length = "data_length" in fields
        return business
    sub = MESSAGES.get((msg_id, data_type))
    data = fields.get("data", {})
    if sub is not None:
        business.data = data_from_fields(sub, data, edition)
    elif isinstance(data, Mapping) and set(data) == {"raw"}:
        business.raw = from_hex(data["raw"])
    elif data:
        raise FieldError("data_type", f"0x{data_type:04X} is not known in 0x{msg_id:04X}: give its bytes as data.raw")
    return business


def data_from_fields(cls: type[Body], fields: Any, edition: int) -> Body:
    """The fields of a link message or sub-business; ``layout`` says another edition than the link's, or a dialect."""
    if isinstance(fields, Mapping) and "layout" in fields:
        edition = _number(fields, "layout")
        if edition not in LAYOUTS:
            raise FieldError("layout", f"{edition} is none of {', '.join(map(str, LAYOUTS))}")
        fields = {name: value for name, value in fields.items() if name != "layout"}
    return cls.from_fields(fields, edition)


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise FieldError(name, f"must be a whole number, not {value!r}")
    return value
