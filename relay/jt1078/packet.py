"""One JT/T 1078 media packet: for tools, tests and the simulated terminal (the receiving hot path is ``demux``).

JT/T 1078-2016 table 19, 音视频流及透传数据传输协议负载包格式; integers big-endian::

    0   30 31 63 64          帧头标识 "01cd"
    4   V2 P1 X1 CC4         normally 0x81
    5   M1 PT7               M: last packet of a frame; PT: 负载类型, table 12
    6   u16                  包序号 sequence
    8   BCD[6]               SIM卡号            seen: BCD[10], and binary numbers; every later offset then is +4
    14  u8                   逻辑通道号 logical channel
    15  type4 mark4          数据类型, 分包处理标记
    16  u64                  时间戳, ms          absent for data type 4
    24  u16 u16              Last I Frame Interval, Last Frame Interval: video only
    28  u16 n                数据体长度
    30  n bytes              数据体, at most 950; seen: up to 65535

So the body of a video packet begins at 30, of an audio packet at 26, of transparent data at 18 (34, 30, 22 with BCD[10]).
"PT, see table 19" in the standard is a slip of the pen: the list meant is table 12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from relay.errors import FrameError, UsageError

MAGIC = b"01cd"

#: the standard's longest body; receivers accept what the length field can say
STANDARD_BODY = 950
MAX_BODY = 65535

SIM_WIDTHS = (6, 10)


class DataType(IntEnum):
    """数据类型, the high nibble of byte 15: it alone decides which header fields exist."""

    VIDEO_I = 0
    VIDEO_P = 1
    VIDEO_B = 2
    AUDIO = 3
    TRANSPARENT = 4


class SubpackageMark(IntEnum):
    """分包处理标记, the low nibble of byte 15. Mind the order: 2 is the last one, 3 a middle one."""

    ATOMIC = 0
    FIRST = 1
    LAST = 2
    MIDDLE = 3


#: table 12, 音视频编码类型: number -> the codec's word as ``relay.codec.frame`` uses it (numbers not listed are reserved or user defined)
PAYLOAD_TYPES: dict[int, str] = {
    1: "g721",
    2: "g722",
    3: "g723",
    4: "g728",
    5: "g729",
    6: "g711a",
    7: "g711u",
    8: "g726",
    9: "g729a",
    10: "dvi4-3",
    11: "dvi4-4",
    12: "dvi4-8k",
    13: "dvi4-16k",
    14: "lpc",
    15: "s16be-stereo",
    16: "s16be-mono",
    17: "mpeg-audio",
    18: "lpcm",
    19: "aac",
    20: "wma9std",
    21: "he-aac",
    22: "pcm-voice",
    23: "pcm-audio",
    24: "aac-lc",
    25: "mp3",
    26: "adpcm",
    27: "mp4-audio",
    28: "amr",
    91: "transparent",
    98: "h264",
    99: "h265",
    100: "avs",
    101: "svac",
}

#: the first video number and the last one; audio is 1-28
FIRST_VIDEO_PT = 98
LAST_VIDEO_PT = 101
LAST_AUDIO_PT = 28


def pt_agrees(pt: int, data_type: int) -> bool:
    """Whether payload type and data type speak of the same kind of media. Terminals contradict themselves, so it is a hint, no rule."""
    if data_type <= DataType.VIDEO_B:
        return FIRST_VIDEO_PT <= pt <= LAST_VIDEO_PT or pt >= 111  # 111-127: user defined
    if data_type == DataType.AUDIO:
        return 1 <= pt <= LAST_AUDIO_PT or pt >= 111
    return True


def sim_text(field: bytes) -> str:
    """The SIM field as its digits on the wire; hex letters where it is not BCD (seen: a 32-bit binary number in the last four bytes)."""
    return field.hex()


def sim_field(sim: str, sim_bytes: int = 6) -> bytes:
    """The SIM field of ``sim_bytes`` bytes, padded with zeros on the left as the standard says."""
    digits = sim.rjust(2 * sim_bytes, "0")
    if len(digits) > 2 * sim_bytes:
        raise UsageError(f"the SIM number {sim} does not fit into {sim_bytes} bytes")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise UsageError(f"the SIM number {sim!r} is neither digits nor hex") from None


# by the width of the SIM field: magic, V P X CC, M PT, sequence, SIM, channel, kind, (time stamp, (intervals,)) length of the body
_VIDEO_HEADS = {width: struct.Struct(f">4sBBH{width}sBBQHHH") for width in SIM_WIDTHS}
_AUDIO_HEADS = {width: struct.Struct(f">4sBBH{width}sBBQH") for width in SIM_WIDTHS}
_DATA_HEADS = {width: struct.Struct(f">4sBBH{width}sBBH") for width in SIM_WIDTHS}


@dataclass(slots=True)
class Packet:
    """One packet, field by field, with the names of the vectors."""

    v: int
    p: int
    x: int
    cc: int
    m: int
    pt: int
    seq: int
    sim: str  #: digits as on the wire, hex where they are not BCD
    sim_bytes: int  #: 6 or 10
    channel: int
    data_type: int
    subpackage: int
    timestamp: int | None  #: ms; None for transparent data
    last_i_interval: int | None  #: ms; None unless video
    last_frame_interval: int | None  #: ms; None unless video
    body: bytes
    header_len: int = 0  #: bytes before the body
    consumed: int = 0  #: bytes of the whole packet

    @property
    def body_len(self) -> int:
        return len(self.body)

    def to_bytes(self) -> bytes:
        """The packet on the wire again."""
        return build_packet(
            sim=self.sim,
            channel=self.channel,
            pt=self.pt,
            data_type=self.data_type,
            body=self.body,
            seq=self.seq,
            timestamp=self.timestamp or 0,
            subpackage=self.subpackage,
            m=self.m,
            last_i_interval=self.last_i_interval or 0,
            last_frame_interval=self.last_frame_interval or 0,
            sim_bytes=self.sim_bytes,
            vpxcc=self.v << 6 | self.p << 5 | self.x << 4 | self.cc,
        )


def header_length(data_type: int, sim_bytes: int) -> int:
    """Bytes up to the body: 30, 26 or 18 with a SIM field of 6 bytes, 4 more with 10."""
    if data_type <= DataType.VIDEO_B:
        return sim_bytes + 24
    return sim_bytes + 20 if data_type == DataType.AUDIO else sim_bytes + 12


def measure(data: bytes, offset: int, sim_bytes: int, max_body: int = MAX_BODY) -> int:
    """How long the packet at ``offset`` says it is: > 0 bytes in all, 0 if the header is not complete yet, -1 if it cannot be a packet."""
    have = len(data) - offset
    if have < 4:
        return 0 if MAGIC.startswith(data[offset : offset + 4]) else -1
    if not data.startswith(MAGIC, offset):
        return -1
    if have > 4 and data[offset + 4] >> 6 != 2:
        return -1
    if have <= sim_bytes + 9:
        return 0
    kind = data[offset + sim_bytes + 9]
    if kind > 0x43 or kind & 0x0F > SubpackageMark.MIDDLE:
        return -1
    header = header_length(kind >> 4, sim_bytes)
    if have < header:
        return 0
    body = data[offset + header - 2] << 8 | data[offset + header - 1]
    return header + body if body <= max_body else -1


# How far the bytes speak for one width of the SIM field, weakest first.
_IMPOSSIBLE, _CONTRADICTED, _UNFINISHED, _FITS, _CHAINS = range(5)


def _evidence(data: bytes, offset: int, sim_bytes: int) -> tuple[int, bool]:
    """What speaks for this width: the class of evidence, then whether PT and data type agree."""
    total = measure(data, offset, sim_bytes)
    if total < 0:
        return _IMPOSSIBLE, False
    kind = offset + sim_bytes + 9
    agrees = kind >= len(data) or pt_agrees(data[offset + 5] & 0x7F, data[kind] >> 4)
    end = offset + total
    if total == 0 or end > len(data):
        return _UNFINISHED, agrees
    if end == len(data):
        return _FITS, agrees
    follows = data[end : end + 4]
    if not MAGIC.startswith(follows):
        return _CONTRADICTED, agrees
    return (_CHAINS if len(follows) == 4 else _FITS), agrees


def detect_sim_bytes(data: bytes, offset: int = 0) -> int:
    """The width of the SIM field of the packet at ``offset``: 6, 10, or 0 when the bytes do not tell yet or there is no packet.

    Nothing in the packet says it; "two leading zero bytes mean 10" misfires on binary and short numbers. So both are tried and the
    one whose end meets the next magic (or the end of the data) wins.
    """
    six, ten = _evidence(data, offset, 6), _evidence(data, offset, 10)
    best = max(six, ten)
    if best[0] == _IMPOSSIBLE or (best[0] == _UNFINISHED and six[0] == ten[0]):
        return 0
    return 6 if six == best else 10


def pictures_of(data: bytes, end: int, header: int) -> Iterator[tuple[int, bytes]]:
    """Time stamp and bytes of every picture in ``data[:end]``, which is known to hold video packets of whole pictures only, with such headers."""
    at = 0
    parts: list[bytes] = []
    while at < end:
        body = at + header
        following = body + (data[body - 2] << 8 | data[body - 1])
        parts.append(data[body:following])
        if data[body - 15] & 0x0F in (SubpackageMark.ATOMIC, SubpackageMark.LAST):
            yield int.from_bytes(data[body - 14 : body - 6], "big"), b"".join(parts)
            parts.clear()
        at = following


def parse_packet(data: bytes, offset: int = 0, sim_bytes: int = 0) -> Packet | None:
    """The packet at ``offset``; None if more bytes are needed.

    ``sim_bytes`` 0 finds the width of the SIM field out. Raises FrameError (reasons ``magic``, ``version``, ``data-type``) for bytes
    that are no packet.
    """
    width = sim_bytes or detect_sim_bytes(data, offset)
    if not width:
        if max(measure(data, offset, 6), measure(data, offset, 10)) >= 0:
            return None
        width = 6
    timestamp = last_i = last_frame = None
    try:
        kind = data[offset + width + 9]
        if kind < 0x30:
            magic, first, second, seq, field, channel, kind, timestamp, last_i, last_frame, size = _VIDEO_HEADS[width].unpack_from(data, offset)
            body = offset + width + 24
        elif kind < 0x40:
            magic, first, second, seq, field, channel, kind, timestamp, size = _AUDIO_HEADS[width].unpack_from(data, offset)
            body = offset + width + 20
        else:
            magic, first, second, seq, field, channel, kind, size = _DATA_HEADS[width].unpack_from(data, offset)
            body = offset + width + 12
    except (IndexError, struct.error):  # too short, as it stands
        magic = b""
    if magic != MAGIC or first >> 6 != 2 or kind > 0x43 or kind & 0x0F > 3 or body + size > len(data):
        if measure(data, offset, width) < 0:
            raise _fault(data, offset, width)
        return None
    return Packet(
        first >> 6,
        first >> 5 & 1,
        first >> 4 & 1,
        first & 0x0F,
        second >> 7,
        second & 0x7F,
        seq,
        field.hex(),
        width,
        channel,
        kind >> 4,
        kind & 0x0F,
        timestamp,
        last_i,
        last_frame,
        data[body : body + size],
        body - offset,
        body - offset + size,
    )


def _fault(data: bytes, offset: int, sim_bytes: int) -> FrameError:
    if not data.startswith(MAGIC[: len(data) - offset], offset):
        return FrameError("magic", f"{data[offset : offset + 4].hex(' ')} is not 30 31 63 64")
    if data[offset + 4] >> 6 != 2:
        return FrameError("version", f"V is {data[offset + 4] >> 6}, not 2")
    kind = data[offset + sim_bytes + 9]
    return FrameError("data-type", f"0x{kind:02x} is no data type with a sub-package mark")


def peek_header(data: bytes, offset: int = 0, sim_bytes: int = 0) -> dict[str, int | str]:
    """What an unfinished packet tells already, by the vectors' names. Where nothing tells the width of the SIM field it is taken as 6."""
    known: dict[str, int | str] = {}
    have = len(data) - offset
    width = sim_bytes or detect_sim_bytes(data, offset) or (6 if measure(data, offset, 6) >= 0 else 10)
    if have > 4 and measure(data, offset, width) >= 0:
        first = data[offset + 4]
        known.update(v=first >> 6, p=first >> 5 & 1, x=first >> 4 & 1, cc=first & 0x0F)
        if have > 5:
            known.update(m=data[offset + 5] >> 7, pt=data[offset + 5] & 0x7F)
        if have > 7:
            known["seq"] = data[offset + 6] << 8 | data[offset + 7]
        channel = offset + 8 + width
        if len(data) > channel:
            known.update(sim=sim_text(data[offset + 8 : channel]), channel=data[channel])
        if len(data) > channel + 1:
            known.update(sim_bytes=width, data_type=data[channel + 1] >> 4, subpackage=data[channel + 1] & 0x0F)
            if data[channel + 1] >> 4 <= DataType.AUDIO and len(data) >= channel + 10:
                (known["timestamp"],) = struct.unpack_from(">Q", data, channel + 2)
    return known


def build_packet(
    *,
    sim: str | bytes,
    channel: int,
    pt: int,
    data_type: int,
    body: bytes,
    seq: int = 0,
    timestamp: int = 0,
    subpackage: int = 0,
    m: int = 1,
    last_i_interval: int = 0,
    last_frame_interval: int = 0,
    sim_bytes: int = 6,
    vpxcc: int = 0x81,
) -> bytes:
    """One packet on the wire. ``sim``: digits (or hex), padded on the left; or the field's own bytes, as ``sim_field`` gives them."""
    field = sim if isinstance(sim, bytes) else sim_field(sim, sim_bytes)
    width = len(field)
    kind = data_type << 4 | subpackage
    second = m << 7 | pt
    size = len(body)
    try:
        if data_type <= 2:
            head = _VIDEO_HEADS[width].pack(MAGIC, vpxcc, second, seq, field, channel, kind, timestamp, last_i_interval, last_frame_interval, size)
        elif data_type == 3:
            head = _AUDIO_HEADS[width].pack(MAGIC, vpxcc, second, seq, field, channel, kind, timestamp, size)
        else:
            head = _DATA_HEADS[width].pack(MAGIC, vpxcc, second, seq, field, channel, kind, size)
    except (struct.error, KeyError) as problem:
        raise UsageError(f"a field of the packet is out of range: {problem}") from None
    return head + body


def packetize(
    frame: bytes,
    *,
    sim: str | bytes,
    channel: int,
    pt: int,
    data_type: int,
    seq: int = 0,
    timestamp: int = 0,
    last_i_interval: int = 0,
    last_frame_interval: int = 0,
    sim_bytes: int = 6,
    max_body: int = STANDARD_BODY,
) -> list[bytes]:
    """A frame cut into packets of at most ``max_body`` bytes with their marks; the caller counts on at ``seq`` + their number."""
    field = sim if isinstance(sim, bytes) else sim_field(sim, sim_bytes)
    count = max(1, -(-len(frame) // max_body))
    packets = []
    for index in range(count):
        last = index == count - 1
        if count == 1:
            mark = SubpackageMark.ATOMIC
        elif index == 0:
            mark = SubpackageMark.FIRST
        else:
            mark = SubpackageMark.LAST if last else SubpackageMark.MIDDLE
        packets.append(
            build_packet(
                sim=field,
                channel=channel,
                pt=pt,
                data_type=data_type,
                body=frame[index * max_body : (index + 1) * max_body],
                seq=(seq + index) & 0xFFFF,
                timestamp=timestamp,
                subpackage=mark,
                m=int(last),
                last_i_interval=last_i_interval,
                last_frame_interval=last_frame_interval,
            )
        )
    return packets
