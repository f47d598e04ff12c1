"""Messages out of the bytes of connections, whoever recorded them: which protocol it is, where messages begin, and what each one says.

The protocol of a connection is told by a port that the user names, else by its bytes in either direction:

    7E …          JT/T 808                5B …          JT/T 809            30 31 63 64     JT/T 1078
    GET, HTTP/    JT/T 1078 behind an HTTP head (how a superior's player fetches a stream), if its magic follows
    anything      the protocol of which a whole, sound message is found: captures begin in the middle of connections

Each direction then has a reader of its own, which a gap makes begin anew at the next flag or magic.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from relay.cli import dump_jt808, dump_jt809, dump_jt1078
from relay.cli.dump_table import row_fields
from relay.cli.reassembly import Connection, Delivered
from relay.errors import FrameError, SequenceError
from relay.jt808 import framing as framing808
from relay.jt808.header import decode_frame as decode_frame808
from relay.jt808.subpackages import Reassembler as Pieces
from relay.jt808.subpackages import SubpackageLimits
from relay.jt809 import editions
from relay.jt809 import framing as framing809
from relay.jt809.cipher import CipherKeys
from relay.jt1078.demux import PacketReader
from relay.jt1078.packet import MAGIC, PAYLOAD_TYPES, DataType, Packet, SubpackageMark, parse_packet
from relay.wire import Row

PROTOCOLS = ("jt808", "jt809", "jt1078")

#: of a connection, until its protocol is known; a 1078 packet has at most 64 KiB, everything else is shorter
PROBE_BYTES = 1 << 17
#: phones whose sub-packages are in assembly on one port, and bytes of each
_PHONES_MAX = 64
_ASSEMBLY = SubpackageLimits(messages=8, bytes=1 << 21)
#: (SIM, channel) of one direction that are counted apart
_STREAMS_MAX = 1024
#: of a chunk of an attachment; more is a lie
_CHUNK_MAX = 64 << 20


class Shown(Protocol):
    """What the dump modules' ``Explained`` are to us."""

    title: str
    problem: str

    def show(self, table: Any) -> None: ...

    def as_json(self) -> dict[str, Any]: ...


@dataclass(slots=True)
class Found:
    """One message, or a remark about the bytes, with its time and place."""

    connection: Connection
    direction: int
    time: int
    shown: Shown


@dataclass
class Remark:
    """A stretch of bytes that is no message, or the sum of a stream."""

    title: str
    fields: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    problem: str = ""

    def show(self, table: Any) -> None:
        table.note(self.title)
        table.rows(self.rows)

    def as_json(self) -> dict[str, Any]:
        return {**self.fields, **({"rows": [row_fields(row) for row in self.rows]} if self.rows else {})}


@dataclass(frozen=True)
class Options:
    """What the user said."""

    ports: Mapping[int, str] = field(default_factory=dict)
    edition: int | None = None
    keys: CipherKeys | None = None
    full: bool = False  #: every media packet


class _Reader(Protocol):
    """One direction of one connection."""

    def data(self, data: bytes) -> Iterator[Shown]: ...

    def gap(self) -> Iterator[Shown]: ...

    def end(self) -> Iterator[Shown]: ...


class Conversations:
    """Feed it what connections deliver; it gives messages."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.protocols: dict[int, str] = {}  #: by the connection's number; "" = not recognised
        self._open: dict[int, _Conversation] = {}

    def take(self, delivered: Delivered) -> Iterator[Found]:
        """The messages that end with these bytes."""
        connection = delivered.connection
        conversation = self._open.get(connection.number)
        if conversation is None:
            conversation = self._open[connection.number] = _Conversation(connection, self.options)
        yield from conversation.take(delivered)
        self.protocols[connection.number] = conversation.protocol
        if conversation.ended == 3:
            del self._open[connection.number]


class _Conversation:
    def __init__(self, connection: Connection, options: Options) -> None:
        self.connection = connection
        self.ended = 0
        self._options = options
        self._readers: list[_Reader] = []
        self._kept: list[Delivered] = []
        self._kept_bytes = 0
        self._silent = False  #: nothing that we know
        named = (options.ports[end.port] for end in reversed(connection.ends) if end.port in options.ports)
        self.protocol = next(named, connection.protocol)
        if self.protocol:
            self._begin()

    def _begin(self) -> None:
        datagrams = self.connection.transport == "udp"
        for _ in range(2):
            if self.protocol == "jt1078":
                self._readers.append(_Datagrams1078(self._options.full) if datagrams else _Media(self._options.full))
            elif self.protocol == "jt809":
                self._readers.append(_Platform(self._options))
            else:
                self._readers.append(_Terminal(self._options))

    def take(self, delivered: Delivered) -> Iterator[Found]:
        if delivered.end:
            self.ended |= 1 << delivered.direction
        if self._readers:
            yield from self._read(delivered)
            return
        if self._silent:
            return
        self._kept.append(delivered)
        self._kept_bytes += len(delivered.data) + 64
        last = self.ended == 3 or self._kept_bytes > PROBE_BYTES
        self.protocol = recognise([b"".join(one.data for one in self._kept if one.direction == way) for way in (0, 1)], last)
        if self.protocol:
            self._begin()
            kept, self._kept = self._kept, []
            for one in kept:
                yield from self._read(one)
        elif last:
            self._silent = True
            self._kept.clear()

    def _read(self, delivered: Delivered) -> Iterator[Found]:
        reader = self._readers[delivered.direction]
        if delivered.data:
            for shown in reader.data(delivered.data):
                yield Found(self.connection, delivered.direction, delivered.time, shown)
        if delivered.gap:
            for shown in reader.gap():
                yield Found(self.connection, delivered.direction, delivered.time, shown)
            yield Found(
                self.connection, delivered.direction, delivered.time, Remark(f"{delivered.gap} bytes are missing in the capture", {"gap": delivered.gap})
            )
        if delivered.end:
            for shown in reader.end():
                yield Found(self.connection, delivered.direction, delivered.time, shown)


def recognise(ways: list[bytes], last: bool) -> str:
    """The protocol of which these are the first bytes of both directions; empty when they do not tell (yet, unless ``last``)."""
    for data in ways:
        if data[:1] == framing808.FLAG:
            return "jt808"
        if data[:1] == b"\x5b":
            return "jt809"
        if data[:4] == MAGIC:
            return "jt1078"
    for data in ways:
        if data[:4] in (b"HTTP", b"GET ", b"POST") and not last:
            if MAGIC in data:
                return "jt1078"
            continue
        found = _sound_message(data)
        if found:
            return found
    return ""


def _sound_message(data: bytes) -> str:
    """What is found in the middle of a stream; only what cannot be an accident counts."""
    for piece in data.split(b"\x7e")[1:-1]:
        try:
            if piece:
                decode_frame808(piece)
                return "jt808"
        except FrameError:
            continue
    for frame in framing809.Deframer().feed(data):
        try:
            framing809.unwrap(frame, 22)
        except FrameError:
            continue
        return "jt809"
    at = data.find(MAGIC)
    while at >= 0:
        try:
            packet = parse_packet(data, at)
        except FrameError:
            packet = None
        if packet is not None and (at + packet.consumed == len(data) or data.startswith(MAGIC[: len(data) - at - packet.consumed], at + packet.consumed)):
            return "jt1078"
        at = data.find(MAGIC, at + 4)
    return ""


def _outside(count: int, data: bytes = b"") -> Remark:
    rows = [Row(0, data, "bytes", "", "", "", data.hex(), "skipped", 0, "rest")] if data else []
    return Remark(f"{count} bytes outside messages", {"skipped": count}, rows)


class _Terminal:
    """JT/T 808, and on the same link the chunks of attachments (01cd, name 50, offset, length)."""

    def __init__(self, options: Options) -> None:
        self._edition = options.edition
        self._buffer = b""
        self._skip = 0  # of a chunk's body
        self._pieces: OrderedDict[str, Pieces] = OrderedDict()
        self._now = 0.0

    def data(self, data: bytes) -> Iterator[Shown]:
        if self._skip:
            taken = min(self._skip, len(data))
            self._skip -= taken
            data = data[taken:]
        buffer = self._buffer + data
        pos = 0
        while pos < len(buffer):
            if buffer.startswith(MAGIC, pos) or buffer.startswith(b"\x7e" + MAGIC, pos):
                pos += buffer[pos] == 0x7E
                if len(buffer) - pos < 62:
                    break
                length = int.from_bytes(buffer[pos + 58 : pos + 62], "big")
                if length > _CHUNK_MAX:
                    yield _outside(4, buffer[pos : pos + 4])
                    pos += 4
                    continue
                yield self._chunk(buffer[pos : pos + 62], length)
                taken = min(length, len(buffer) - pos - 62)
                self._skip = length - taken
                pos += 62 + taken
                continue
            begin = buffer.find(b"\x7e", pos)
            if begin != pos:
                chunk = buffer.find(MAGIC, pos)
                stop = min(at for at in (begin, chunk, len(buffer)) if at >= 0)
                yield _outside(stop - pos, buffer[pos:stop])
                pos = stop
                continue
            end = buffer.find(b"\x7e", pos + 1)
            if end == pos + 1:
                pos += 1
                continue
            if end < 0:
                if len(buffer) - pos > framing808.MAX_PIECE + 1:
                    yield _outside(len(buffer) - pos, buffer[pos:])
                    pos = len(buffer)
                break
            yield from self._frame(buffer[pos + 1 : end])
            pos = end  # the flag may be shared with the next frame
        self._buffer = buffer[pos:]

    def _frame(self, piece: bytes) -> Iterator[Shown]:
        yield from dump_jt808.explain(b"\x7e" + piece + b"\x7e", self._edition)
        try:
            header, body = decode_frame808(piece)
        except FrameError:
            return
        if header.package_total is None or header.package_total == 1 or header.encryption:
            return
        pieces = self._pieces.setdefault(header.phone, Pieces(_ASSEMBLY))
        if len(self._pieces) > _PHONES_MAX:
            self._pieces.popitem(last=False)
        self._now += 0.001
        try:
            whole = pieces.add(header.msg_id, header.package_total, header.package_index or 0, header.serial, body, self._now)
        except SequenceError:
            return
        if whole is not None:
            for one in dump_jt808.explain(whole.body, self._edition or header.edition, whole.msg_id):
                one.title = f"put together from {whole.total} sub-packages: {one.title}"
                yield one

    @staticmethod
    def _chunk(head: bytes, length: int) -> Remark:
        name = head[4:54].rstrip(b"\0").decode("gb18030", "replace")
        offset = int.from_bytes(head[54:58], "big")
        return Remark(
            f"attachment data: {name!r}, {length} bytes at {offset}", {"protocol": "jt808", "chunk": {"file_name": name, "offset": offset, "length": length}}
        )

    def gap(self) -> Iterator[Shown]:
        self._skip = 0
        yield from self._unfinished()

    def end(self) -> Iterator[Shown]:
        yield from self._unfinished()

    def _unfinished(self) -> Iterator[Shown]:
        left, self._buffer = self._buffer, b""
        if len(left) > 1:
            rows = [Row(0, left, "bytes", "", "", "", left.hex(), "", 0, "rest")]
            yield Remark(f"{len(left)} bytes of an unfinished message", {"unfinished": left.hex()}, rows)


class _Platform:
    """JT/T 809; the edition is a property of the link, so what is sure of some frames is taken for all."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._deframer = framing809.Deframer()
        self._seen = {2011: 0, 2019: 0}
        self._counted = (0, 0, 0)

    def data(self, data: bytes) -> Iterator[Shown]:
        frames = self._deframer.feed(data)
        yield from self._bad()
        for frame in frames:
            try:
                guessed = editions.guess(framing809.unescape(frame[1:-1])[:-2], self._options.keys)
            except FrameError:
                guessed = 0
            if guessed:
                self._seen[guessed] += 1
            usual = max(self._seen, key=lambda one: self._seen[one])
            yield from dump_jt809.explain(frame, self._options.edition, self._options.keys, usual=usual)

    def _bad(self) -> Iterator[Shown]:
        deframer = self._deframer
        counted = (deframer.garbage, deframer.cut, deframer.oversize)
        garbage, cut, oversize = (now - before for now, before in zip(counted, self._counted, strict=True))
        self._counted = counted
        if garbage:
            yield _outside(garbage)
        if cut:
            yield Remark(f"{cut} frames that another one's beginning cut short", {"cut": cut})
        if oversize:
            yield Remark(f"{oversize} frames longer than any can be", {"oversize": oversize})

    def gap(self) -> Iterator[Shown]:
        self._deframer = framing809.Deframer()
        self._counted = (0, 0, 0)
        yield from ()

    def end(self) -> Iterator[Shown]:
        yield from ()


@dataclass(slots=True)
class _Stream:
    """The totals of one (SIM, channel, sort of media)."""

    first: Packet
    packets: int = 0
    bytes: int = 0
    frames: int = 0
    lost: int = 0
    pts: dict[int, int] = field(default_factory=dict)
    last_timestamp: int | None = None


class _Media:
    """JT/T 1078: the first packet of each stream, and at the end what there was of it."""

    def __init__(self, full: bool) -> None:
        self._full = full
        self._reader = PacketReader()
        self._streams: dict[tuple[str, int, str], _Stream] = {}
        self._sequences: dict[tuple[str, int], int] = {}
        self._garbage = 0

    def data(self, data: bytes) -> Iterator[Shown]:
        yield from self._count(self._reader.feed(data))

    def _count(self, packets: list[Packet]) -> Iterator[Shown]:
        for packet in packets:
            sort = "audio" if packet.data_type == DataType.AUDIO else "data" if packet.data_type == DataType.TRANSPARENT else "video"
            key = (packet.sim, packet.channel, sort)
            stream = self._streams.get(key)
            new = stream is None
            if stream is None:
                if len(self._streams) >= _STREAMS_MAX:
                    continue
                stream = self._streams[key] = _Stream(packet)
            stream.packets += 1
            stream.bytes += packet.body_len
            stream.frames += packet.subpackage in (SubpackageMark.ATOMIC, SubpackageMark.LAST)
            stream.pts[packet.pt] = stream.pts.get(packet.pt, 0) + 1
            stream.last_timestamp = packet.timestamp if packet.timestamp is not None else stream.last_timestamp
            before = self._sequences.get((packet.sim, packet.channel))
            if before is not None:
                # the counter runs over all media of a channel; a step back is a late packet or a new start
                step = (packet.seq - before) & 0xFFFF
                stream.lost += step - 1 if 1 < step < 0x8000 else 0
            self._sequences[packet.sim, packet.channel] = packet.seq
            if new or self._full:
                yield _packet(packet)

    def gap(self) -> Iterator[Shown]:
        yield from self._count(self._reader.finish())
        self._garbage += self._reader.garbage_bytes + self._reader.trailing_bytes
        self._reader = PacketReader()

    def end(self) -> Iterator[Shown]:
        yield from self.gap()
        for (sim, channel, sort), stream in self._streams.items():
            payload = {f"{pt} {PAYLOAD_TYPES.get(pt, 'reserved or custom')}": count for pt, count in sorted(stream.pts.items())}
            total = {
                "sim": sim, "channel": channel, "media": sort, "packets": stream.packets, "bytes": stream.bytes, "frames": stream.frames,
                "lost_packets": stream.lost, "payload_types": payload, "first_timestamp": stream.first.timestamp, "last_timestamp": stream.last_timestamp,
            }  # fmt: skip
            kinds = ", ".join(payload)
            lasts = ""
            if stream.first.timestamp is not None and stream.last_timestamp is not None:
                lasts = f", stamps over {(stream.last_timestamp - stream.first.timestamp) / 1000:.3f} s"
            yield Remark(
                f"{sim}_{channel} {sort} ({kinds}): {stream.packets} packets, {stream.frames} frames, {stream.bytes} bytes, "
                f"{stream.lost} packets lost{lasts}",
                {"protocol": "jt1078", "stream": total},
            )  # fmt: skip
        self._streams.clear()
        if self._garbage:
            yield _outside(self._garbage)
            self._garbage = 0


class _Datagrams1078(_Media):
    """JT/T 1078 over UDP: one or more whole packets a datagram."""

    def data(self, data: bytes) -> Iterator[Shown]:
        packets = []
        pos = 0
        while pos < len(data):
            try:
                packet = parse_packet(data, pos)
            except FrameError:
                packet = None
            if packet is None:
                self._garbage += len(data) - pos
                break
            packets.append(packet)
            pos += packet.consumed
        yield from self._count(packets)

    def gap(self) -> Iterator[Shown]:
        yield from ()


def _packet(packet: Packet) -> Remark:
    rows = dump_jt1078.packet_rows(packet)
    return Remark(
        f"JT/T 1078 packet, {packet.consumed} bytes", {"protocol": "jt1078", "fields": dump_jt1078.packet_fields(packet)}, rows
    )
