"""JT/T 1078 for ``decode`` and ``encode``: packets, streams of packets, parameter sets of the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.cli.dump_table import InputError, Table, row_fields
from relay.codec import h264, h265
from relay.errors import DecodeError, FrameError
from relay.jt1078.demux import PacketReader
from relay.jt1078.packet import PAYLOAD_TYPES, DataType, Packet, SubpackageMark, parse_packet, peek_header
from relay.wire import FieldError, Row

#: kinds of ``jt1078.jsonl`` that are wire formats; the others are data for unit tests of codecs and muxers
KINDS = ("packet", "incomplete", "stream", "sps")


def packet_fields(packet: Packet) -> dict[str, Any]:
    """A packet by the names of the vectors."""
    return {
        "v": packet.v,
        "p": packet.p,
        "x": packet.x,
        "cc": packet.cc,
        "m": packet.m,
        "pt": packet.pt,
        "seq": packet.seq,
        "sim": packet.sim,
        "sim_bytes": packet.sim_bytes,
        "channel": packet.channel,
        "data_type": packet.data_type,
        "subpackage": packet.subpackage,
        "timestamp": packet.timestamp,
        "last_i_interval": packet.last_i_interval,
        "last_frame_interval": packet.last_frame_interval,
        "body_len": packet.body_len,
        "body": packet.body.hex(),
        "header_len": packet.header_len,
        "consumed": packet.consumed,
    }


def decode_object(vector: Mapping[str, Any], raw: bytes, exact: bool = False) -> dict[str, Any]:
    """The ``fields`` of one vector; they are always exact."""
    kind = vector.get("kind")
    if kind == "packet":
        packet = parse_packet(raw)
        if packet is None:
            raise FrameError("incomplete", "more bytes are needed")
        return packet_fields(packet)
    if kind == "incomplete":
        packet = parse_packet(raw)
        if packet is not None:
            return packet_fields(packet)
        return {"result": "need-more-bytes", "consumed": 0, **peek_header(raw)}
    if kind == "stream":
        reader = PacketReader()
        packets = []
        pos = 0
        for size in vector.get("chunks") or ():
            if isinstance(size, int) and size > 0:
                packets += reader.feed(raw[pos : pos + size])
                pos += size
        packets += reader.feed(raw[pos:])
        packets += reader.finish()
        return {
            "packets": [packet_fields(packet) for packet in packets],
            "garbage_bytes": reader.garbage_bytes,
            "trailing_bytes": reader.trailing_bytes,
        }
    if kind == "sps":
        return _sps(raw)
    raise InputError(f"kind {kind!r} is data for unit tests, not for decode" if kind else "no kind given")


def _sps(raw: bytes) -> dict[str, Any]:
    if not raw:
        raise DecodeError("SPS", 0, "needs 1 byte, 0 left")
    if raw[0] & 0x1F == h264.NAL_SPS:
        return h264.parse_sps(raw).describe()
    if h265.nal_type(raw) == h265.NAL_SPS:
        return h265.parse_sps(raw).describe()
    raise DecodeError("SPS", 0, f"NAL unit header {raw[:2].hex()} is of no sequence parameter set")


def encode_object(vector: Mapping[str, Any]) -> bytes:
    """The bytes of ``fields``: one packet, or the packets of a stream one after the other."""
    fields = vector.get("fields")
    if vector.get("kind") not in ("packet", "stream"):
        raise InputError(f"kind {vector.get('kind')!r} cannot be encoded, only packet and stream")
    if not isinstance(fields, Mapping):
        raise InputError("no fields given")
    if vector["kind"] == "packet":
        return _build(fields)
    packets = fields.get("packets")
    if not isinstance(packets, list) or not all(isinstance(packet, Mapping) for packet in packets):
        raise FieldError("packets", "must be a list of objects")
    return b"".join(map(_build, packets))


def _build(fields: Mapping[str, Any]) -> bytes:
    def number(name: str, bits: int, default: int | None = None) -> int:
        value = fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << bits:
            raise FieldError(name, f"must be a number of {bits} bits, not {value!r}")
        return value

    body, sim = fields.get("body"), fields.get("sim")
    if not isinstance(body, str):
        raise FieldError("body", "is not given whole, so the packet cannot be built" if "body_head" in fields else "must be a string of hex digits")
    if not isinstance(sim, str):
        raise FieldError("sim", f"must be a string of digits, not {sim!r}")
    data_type = number("data_type", 4)
    video, timed = data_type <= DataType.VIDEO_B, data_type <= DataType.AUDIO
    try:
        content = bytes.fromhex(body)
    except ValueError:
        raise FieldError("body", "must be a string of hex digits") from None
    return Packet(
        v=number("v", 2, 2),
        p=number("p", 1, 0),
        x=number("x", 1, 0),
        cc=number("cc", 4, 1),
        m=number("m", 1, 1),
        pt=number("pt", 7),
        seq=number("seq", 16, 0),
        sim=sim,
        sim_bytes=number("sim_bytes", 8, 10 if len(sim) > 12 else 6),
        channel=number("channel", 8),
        data_type=data_type,
        subpackage=number("subpackage", 4, 0),
        timestamp=number("timestamp", 64, 0) if timed else None,
        last_i_interval=number("last_i_interval", 16, 0) if video else None,
        last_frame_interval=number("last_frame_interval", 16, 0) if video else None,
        body=content,
    ).to_bytes()


# people


def explain(raw: bytes, table: Table | None) -> list[dict[str, Any]]:
    """Every packet of ``raw``, printed into ``table`` if there is one, and as objects for ``--json``."""
    reader = PacketReader()
    packets = reader.feed(raw) + reader.finish()
    trailing = reader.trailing_bytes
    while trailing:
        # a stream's reader waits for what proves a width of the SIM field; people have pasted all there is
        try:
            packet = parse_packet(raw, len(raw) - trailing)
        except FrameError:
            break
        if packet is None:
            break
        packets.append(packet)
        trailing -= packet.consumed
    result = []
    for packet in packets:
        rows = packet_rows(packet)
        if table is not None:
            table.title(f"JT/T 1078 packet, {packet.consumed} bytes")
            table.rows(rows)
        result.append({"protocol": "jt1078", "fields": packet_fields(packet), "rows": [row_fields(row) for row in rows]})
    notes = []
    if reader.garbage_bytes:
        notes.append(f"{reader.garbage_bytes} bytes belong to no packet")
    if trailing:
        known = peek_header(raw[len(raw) - trailing :])
        told = ", ".join(f"{name} {value}" for name, value in known.items())
        notes.append(f"{trailing} bytes of an unfinished packet at the end" + (f" ({told})" if told else ""))
    if table is not None:
        for note in notes:
            table.note(f"! {note}")
    if notes and not packets:
        raise InputError("; ".join(notes))
    return result


def packet_rows(packet: Packet) -> list[Row]:
    """The fields of a packet's header, one by one, and its body."""
    data = packet.to_bytes()
    sim = packet.sim_bytes
    kind = DataType(packet.data_type)
    mark = SubpackageMark(packet.subpackage)
    layout: list[tuple[str, str, str, int, str, str]] = [
        ("magic", "帧头标识", "frame mark", 4, "01cd", ""),
        ("v p x cc", "", "version, padding, extension, sources", 1, f"{packet.v} {packet.p} {packet.x} {packet.cc}", ""),
        ("m pt", "标志位, 负载类型", "marker, payload type", 1, f"{packet.m} {packet.pt}", _payload(packet)),
        ("seq", "包序号", "sequence", 2, str(packet.seq), ""),
        ("sim", "SIM卡号", "SIM number", sim, packet.sim, f"{sim} bytes"),
        ("channel", "逻辑通道号", "logical channel", 1, str(packet.channel), ""),
        (
            "data_type subpackage", "数据类型, 分包处理标记", "data type, sub-package mark", 1, f"{packet.data_type} {packet.subpackage}",
            f"{kind.name.lower().replace('_', ' ')}, {mark.name.lower()}",
        ),
    ]  # fmt: skip
    if packet.timestamp is not None:
        layout.append(("timestamp", "时间戳", "time stamp", 8, str(packet.timestamp), "ms"))
    if packet.last_i_interval is not None:
        layout.append(("last_i_interval", "Last I Frame Interval", "since the last I frame", 2, str(packet.last_i_interval), "ms"))
        layout.append(("last_frame_interval", "Last Frame Interval", "since the last frame", 2, str(packet.last_frame_interval), "ms"))
    layout.append(("body_len", "数据体长度", "body length", 2, str(packet.body_len), "bytes"))
    layout.append(("body", "数据体", "body", packet.body_len, packet.body.hex(), ""))
    rows = []
    offset = 0
    for name, label, english, size, value, meaning in layout:
        rows.append(Row(offset, data[offset : offset + size], name, label, english, "", value, meaning, 0))
        offset += size
    return rows


def _payload(packet: Packet) -> str:
    return ("last packet of a frame, " if packet.m else "") + PAYLOAD_TYPES.get(packet.pt, "reserved or custom")
