"""What is fuzzed: from the bytes of a peer to fields, and what may be raised on the way. Each target has seeds, a way to make inputs, and ``run``.

A target's ``run`` raises nothing but ``Finding`` (one of our own expectations does not hold) and what is a fault: the library's own errors
(``relay.errors.ProtocolError``) are expected and swallowed where the library promises them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from mutate import change, fit809, fresh, nudge, open808, open809, seal808, seal809, seal1078

from relay.cli import dump_jt808, dump_jt809, dump_jt1078
from relay.cli.conversations import Conversations
from relay.cli.dump_table import InputError, Table, parse_hex
from relay.cli.packets import Dissector
from relay.cli.pcap import CaptureError, read_stream
from relay.cli.reassembly import Reassembler
from relay.errors import FrameError, ProtocolError, UsageError
from relay.hub.ingest import Ingest
from relay.jt808 import framing as framing808
from relay.jt808.attachment import AttachmentLink
from relay.jt808.header import decode_frame as decode_frame808
from relay.jt808.messages import MESSAGES as MESSAGES808
from relay.jt808.messages import decode_message
from relay.jt808.session import Session
from relay.jt808.session_events import Authenticating, Registering, Role, SessionOptions
from relay.jt809 import editions
from relay.jt809 import framing as framing809
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import decode_body
from relay.jt809.header import decode_frame as decode_frame809
from relay.jt1078.assembly import RawFrame
from relay.jt1078.datagram import DatagramDemuxer
from relay.jt1078.demux import Demuxer, PacketReader
from relay.jt1078.packet import parse_packet, peek_header
from relay.net.recording import Event, Kind
from relay.net.scrub import Scrubber

#: of one input
MAX_INPUT = 1 << 16
KEYS = CipherKeys(30000000, 20000000, 20000000)
#: inputs that one framer is fed in the runs of many millions
MANY = 64
#: one input in so many is also shown to people, which costs ten times as much as reading it
DUMP_EVERY = 64


class Finding(Exception):
    """An expectation of ours does not hold for this input."""


def load(directory: Path, *names: str) -> list[dict[str, Any]]:
    """The vectors of these files."""
    found = []
    for name in names:
        path = directory / f"{name}.jsonl"
        if path.exists():
            with path.open(encoding="utf-8") as lines:
                found += [json.loads(line) for line in lines if line.strip()]
    return found


class Target:
    """One thing to be fuzzed."""

    name = ""

    def __init__(self, vectors: Path) -> None:
        self.seeds: list[bytes] = [seed for seed in dict.fromkeys(self.find(vectors)) if len(seed) <= 4096] or [b""]
        #: by length: the runs of many millions take short ones more often, of which more go into the same time
        self.shorter = sorted(self.seeds, key=len)
        self.count = 0
        self.dump_every = DUMP_EVERY

    def find(self, vectors: Path) -> Iterator[bytes]:
        """Seeds, opened: without checksums and escapes."""
        raise NotImplementedError

    def make(self, chance: Random) -> bytes:
        """One input."""
        if chance.random() < 0.05:
            return fresh(chance)
        return change(chance, chance.choice(self.seeds), self.seeds, chance.choice((0, 1, 1, 1, 2, 3, 6)))

    def run(self, data: bytes) -> None:
        """Raise what is a finding."""
        raise NotImplementedError

    def make_many(self, chance: Random) -> list[bytes]:
        """``MANY`` inputs that stand behind one another in one connection's bytes; each has had one change, or is random."""
        seeds = self.shorter
        count = len(seeds)
        found = []
        for _ in range(MANY):
            bits = chance.getrandbits(96)
            if bits >> 91 == 0:
                data = chance.randbytes(bits & 63)
            else:
                one = bits >> 68 & 1023
                data = nudge(bits & (1 << 64) - 1, seeds[one * one * count >> 20], seeds[(bits >> 78 & 1023) * count >> 10])
            found.append(self.close(data, bits >> 64 & 15))
        return found

    def close(self, data: bytes, bits: int) -> bytes:
        """Lengths and checksum made right, most times; ``bits`` decide."""
        raise NotImplementedError

    def run_many(self, stream: bytes) -> None:
        """Framing and decode of many inputs; of some also the way back and what people see."""
        raise NotImplementedError

    def shown(self) -> bool:
        """Whether this input is to be dumped as well."""
        self.count += 1
        return self.count % self.dump_every == 0

    #: byte patterns that a quadratic algorithm is slow on; repeated to any size
    patterns: tuple[bytes, ...] = (b"\0", b"\xff")


#: size of the portions, when it is not to follow from the input
STEP = [0]


def portions(data: bytes) -> Iterator[bytes]:
    """``data`` as a socket might give it; the cuts follow from the bytes, so that an input alone is enough to repeat a run."""
    size = len(data)
    step = STEP[0] or (sum(data[:8]) + size) % 499
    if step < 20 or step > 300 or step >= size:
        yield data
        return
    for at in range(0, size, step):
        yield data[at : at + step]


def halves(stream: bytes) -> tuple[bytes, bytes]:
    """Two portions; where they meet follows from the bytes."""
    middle = sum(stream[:64]) * 7 % (len(stream) + 1)
    return stream[:middle], stream[middle:]


class Jt808(Target):
    """Frames through framing, header and body; written again they must be the same bytes."""

    name = "jt808"
    patterns = (b"\x7e", b"\x7d", b"\x7d\x01", b"\x00", b"\x7e\x00", b"\x7e\x7d\x02\x7e", b"\x30")

    def find(self, vectors: Path) -> Iterator[bytes]:
        for vector in load(vectors, "jt808", "jt808-active-safety"):
            raw = bytes.fromhex(vector["hex"])
            if vector["kind"] == "frame":
                yield open808(raw)
            elif vector["kind"] == "body":
                head = int(vector["msg_id"], 16).to_bytes(2, "big")
                yield head + (b"\x40\x00\x01" + bytes(10) if vector["version"] == "2019" else bytes(2) + bytes(6)) + bytes(2) + raw

    def make(self, chance: Random) -> bytes:
        data = super().make(chance)
        kind = chance.random()
        if kind < 0.85:
            return seal808(data)
        return b"".join((seal808(data), data, seal808(chance.choice(self.seeds)))) if kind < 0.95 else data

    def run(self, data: bytes) -> None:
        deframer = framing808.Deframer()
        for portion in portions(data):
            for piece in deframer.feed(portion):
                if isinstance(piece, bytes):
                    self.piece(piece)
        if deframer.buffered > framing808.MAX_PIECE:
            raise Finding(f"{deframer.buffered} bytes held")
        if self.shown():
            show(lambda: dump_jt808.explain(data))

    def close(self, data: bytes, bits: int) -> bytes:
        return seal808(data) if bits else data

    def run_many(self, stream: bytes) -> None:
        deframer = framing808.Deframer()
        pieces = [piece for portion in halves(stream) for piece in deframer.feed(portion) if isinstance(piece, bytes)]
        for number, piece in enumerate(pieces):
            if not number & 31:
                self.piece(piece)
                continue
            try:
                header, body = decode_frame808(piece)
                decode_message(header, body)
            except ProtocolError:
                continue
        if deframer.buffered > framing808.MAX_PIECE:
            raise Finding(f"{deframer.buffered} bytes held")
        if self.shown():
            show(lambda: dump_jt808.explain(stream[:2000]))

    @staticmethod
    def piece(piece: bytes) -> None:
        try:
            header, body = decode_frame808(piece, lenient=len(piece) & 1 == 0)
            message = decode_message(header, body)
        except ProtocolError:
            return
        if message.encode() != body:
            raise Finding(f"0x{header.msg_id:04X} is written otherwise than it was read")
        message.fields()


class Jt808Body(Target):
    """Bodies in every edition through dump, fields and back: the other ways through the declarations."""

    name = "jt808-body"

    def find(self, vectors: Path) -> Iterator[bytes]:
        for seed in Jt808.find(self, vectors):  # type: ignore[arg-type]
            head = 17 if len(seed) > 2 and seed[2] & 0x40 else 12
            yield seed[:2] + seed[head:]

    def run(self, data: bytes) -> None:
        cls = MESSAGES808.get(int.from_bytes(data[:2], "big"))
        if cls is None:
            return
        both_ways(cls, data[2:], (2011, 2013, 2019)[len(data) % 3])


def both_ways(cls: Any, body: bytes, edition: int) -> None:
    """Decode, encode, fields, from fields, dump: all must tell the same."""
    from relay.wire import dump

    taken = dump(cls, body, edition)
    try:
        message = cls.decode(body, edition)
    except ProtocolError:
        if taken.error is None:
            raise Finding("the dump reads what decode does not") from None
        return
    if taken.error is not None:
        raise Finding(f"decode reads what the dump does not: {taken.error}")
    if message.encode() != body:
        raise Finding("written otherwise than it was read")
    fields = message.fields()
    if taken.record.fields() != fields:
        raise Finding("the dump reads other values than decode")
    json.dumps(fields)
    if cls.from_fields(json.loads(json.dumps(message.exact_fields())), message.edition).encode() != body:
        raise Finding("exact fields give other bytes")
    try:
        cls.from_fields(fields, message.edition).encode()
    except UsageError:
        return  # what only devices write: text that is no GBK, lists that lie about their length


class Session808(Target):
    """A platform's and a terminal's whole link: nothing at all may be raised."""

    name = "session808"
    patterns = Jt808.patterns

    def find(self, vectors: Path) -> Iterator[bytes]:
        yield from Jt808.find(self, vectors)  # type: ignore[arg-type]

    def make(self, chance: Random) -> bytes:
        frames = []
        for _ in range(chance.randrange(1, 6)):
            frames.append(seal808(super().make(chance)))
        return b"".join(frames)

    def run(self, data: bytes) -> None:
        role = Role.PLATFORM if len(data) % 4 else Role.TERMINAL
        session = Session(role, SessionOptions(), 0.0, "013800138000")
        now = 0.0
        for portion in portions(data):
            now += 0.4
            session.receive(portion, now)
            for event in session.events():
                if isinstance(event, Registering):
                    session.registered(event.header, 0, "CODE", now)
                elif isinstance(event, Authenticating):
                    session.authenticated(event.header, True, now)
            session.frames_to_send()
            deadline = session.next_deadline()
            if deadline is not None and deadline <= now:
                session.tick(now)
        session.end("over")
        session.events()


class Attachment(Target):
    """The connection that carries alarms' attachments."""

    name = "attachment"
    patterns = (*Jt808.patterns, b"01cd", b"01cd" + bytes(58))

    def find(self, vectors: Path) -> Iterator[bytes]:
        for vector in load(vectors, "jt808-active-safety"):
            yield bytes.fromhex(vector["hex"])

    def run(self, data: bytes) -> None:
        link = AttachmentLink("")
        for portion in portions(data):
            link.receive(portion)
            for _ in link.events():
                pass
            link.bytes_to_send()
        link.finish()
        link.events()


class Jt809(Target):
    """Frames of both editions, plain and encrypted, through framing, header, envelope and fields; the same bytes again."""

    name = "jt809"
    patterns = (b"\x5b", b"\x5a", b"\x5a\x01", b"\x5b\x00", b"\x5d", b"\x5b\x5d", b"\x00", b"\x5b\x00\x00\x00\x20")

    def find(self, vectors: Path) -> Iterator[bytes]:
        for vector in load(vectors, "jt809"):
            raw = bytes.fromhex(vector["hex"])
            if vector["kind"] == "frame":
                yield open809(raw)
            elif vector["kind"] == "body":
                msg_id = int(vector["msg_id"], 16).to_bytes(2, "big")
                yield bytes(8) + msg_id + bytes(12) + (bytes(4) + b"\x65\x92\x00\xd3" if vector["version"] == "2019" else b"") + raw

    def make(self, chance: Random) -> bytes:
        data = super().make(chance)
        kind = chance.random()
        if kind < 0.4:
            return seal809(fit809(data))
        if kind < 0.85:
            return seal809(data)
        return b"".join((seal809(data), data, seal809(chance.choice(self.seeds)))) if kind < 0.95 else data

    def run(self, data: bytes) -> None:
        deframer = framing809.Deframer()
        for portion in portions(data):
            for frame in deframer.feed(portion):
                for edition in (2011, 2019):
                    self.frame(frame, edition)
        if self.shown():
            show(lambda: dump_jt809.explain(data, None, KEYS if len(data) % 2 else None))

    def close(self, data: bytes, bits: int) -> bytes:
        return seal809(fit809(data) if bits < 8 else data) if bits else data

    def run_many(self, stream: bytes) -> None:
        deframer = framing809.Deframer()
        frames = [frame for portion in halves(stream) for frame in deframer.feed(portion)]
        for number, frame in enumerate(frames):
            edition = 2019 if number & 1 else 2011
            if not number & 31:
                self.frame(frame, 2019 if len(frame) & 1 else 2011)
                continue
            try:
                header, body, _ = decode_frame809(frame, edition, KEYS)
                decode_body(header.msg_id, body, edition)
            except ProtocolError:
                continue
        if self.shown():
            show(lambda: dump_jt809.explain(stream[:2000], None, KEYS))

    @staticmethod
    def frame(frame: bytes, edition: int) -> None:
        try:
            header, body, _ = decode_frame809(frame, edition, KEYS)
            business = decode_body(header.msg_id, body, edition)
        except ProtocolError:
            return
        if business.encode() != body:
            raise Finding(f"0x{header.msg_id:04X} ({edition}) is written otherwise than it was read")
        business.fields()


class Jt809Body(Target):
    """Data of the sub-businesses through every way of the declarations."""

    name = "jt809-body"

    def find(self, vectors: Path) -> Iterator[bytes]:
        for vector in load(vectors, "jt809"):
            if vector["kind"] in ("body", "subbody"):
                raw = bytes.fromhex(vector["hex"])
                msg_id = int(vector["msg_id"], 16)
                yield msg_id.to_bytes(2, "big") + int(vector["sub_id"] or "0", 16).to_bytes(2, "big") + (raw[28:] if vector["kind"] == "body" else raw)

    def run(self, data: bytes) -> None:
        from relay.jt809.messages import MESSAGES

        cls = MESSAGES.get((int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")))
        edition = 2019 if len(data) % 2 else 2011
        if cls is not None:
            both_ways(cls, data[4:], edition)
        editions.guess(data, KEYS)


class Jt1078(Target):
    """A byte stream of packets: to frames, and on to pictures and sound."""

    name = "jt1078"
    patterns = (b"01cd", b"01cd\x81", b"0", b"01cd\x81\x62\x00\x00\x01\x38\x00\x13\x80\x00\x01\x00", b"01cd\x81\x62" + bytes(24), b"\x00")
    def find(self, vectors: Path) -> Iterator[bytes]:
        for vector in load(vectors, "jt1078"):
            if vector["kind"] in ("packet", "incomplete", "stream"):
                yield bytes.fromhex(vector["hex"])
        captures = vectors.parent / "captures"
        for path in sorted(captures.glob("*.jt1078")):
            data = path.read_bytes()[:4000]
            at = data.find(b"01cd", 900)
            yield data[:at]
            yield data[at : at + 1500]

    def make(self, chance: Random) -> bytes:
        parts = []
        for _ in range(chance.choice((1, 1, 2, 4))):
            data = super().make(chance)
            parts.append(seal1078(data) if chance.random() < 0.6 else data)
        return b"".join(parts)

    def run(self, data: bytes) -> None:
        if len(data) % 3:
            frames(data)
            return
        reader = PacketReader()
        packets = reader.feed(data) + reader.finish()
        total = sum(packet.consumed for packet in packets) + reader.garbage_bytes + reader.trailing_bytes
        if total != len(data):
            raise Finding(f"{total} bytes accounted for, {len(data)} were there")
        for packet in packets:
            again = parse_packet(packet.to_bytes(), 0, packet.sim_bytes)
            if again != packet:
                raise Finding("a packet is written otherwise than it was read")
        peek_header(data)
        if self.shown():
            show(lambda: dump_jt1078.explain(data, Table(io.StringIO())))


    def close(self, data: bytes, bits: int) -> bytes:
        return seal1078(data) if bits > 3 else data

    def run_many(self, stream: bytes) -> None:
        if self.count & 3:
            demuxer = Demuxer()
            for number, portion in enumerate(halves(stream)):
                demuxer.feed(portion, number * 0.02)
            demuxer.finish(100.0)
        else:
            reader = PacketReader()
            packets = reader.feed(stream) + reader.finish()
            if sum(packet.consumed for packet in packets) + reader.garbage_bytes + reader.trailing_bytes != len(stream):
                raise Finding("bytes are not accounted for")
        if self.shown():
            show(lambda: dump_jt1078.explain(stream[:4000], Table(io.StringIO())))


def frames(data: bytes) -> list[RawFrame]:
    """Whole frames out of a connection's bytes."""
    demuxer = Demuxer()
    found = []
    for number, portion in enumerate(portions(data)):
        found += demuxer.feed(portion, number * 0.02)
    return found + demuxer.finish(100.0)


class IngestedFrames(Jt1078):
    """The same on to pictures and sound."""

    name = "ingest"
    patterns = ()

    def run(self, data: bytes) -> None:
        ingests: dict[tuple[str, int], Ingest] = {}
        for raw in frames(data):
            ingest = ingests.get((raw.sim, raw.channel))
            if ingest is None:
                ingest = ingests[raw.sim, raw.channel] = Ingest(raw.sim, raw.channel)
            ingest.push(raw, 1.0)
        for ingest in ingests.values():
            ingest.finish(2.0)


class Datagrams1078(Target):
    """Datagrams in any order."""

    name = "jt1078udp"

    def find(self, vectors: Path) -> Iterator[bytes]:
        yield from (seed for seed in Jt1078.find(self, vectors) if len(seed) < 1600)  # type: ignore[arg-type]

    def make(self, chance: Random) -> bytes:
        parts = []
        for _ in range(chance.choice((1, 2, 5, 9))):
            data = super().make(chance)
            data = seal1078(data) if chance.random() < 0.8 else data
            if len(data) > 8 and chance.random() < 0.5:
                data = data[:6] + bytes((0, chance.randrange(16))) + data[8:]
            parts.append(len(data).to_bytes(2, "big") + data)
        return b"".join(parts)

    def run(self, data: bytes) -> None:
        demuxer = DatagramDemuxer()
        pos, now = 0, 0.0
        while pos + 2 <= len(data):
            size = int.from_bytes(data[pos : pos + 2], "big")
            now += 0.01
            demuxer.feed(data[pos + 2 : pos + 2 + size], ("10.0.0.7", 5000 + size % 2), now)
            due = demuxer.next_deadline()
            if due is not None and due <= now:
                demuxer.tick(now)
            pos += 2 + size
        demuxer.finish(now + 1)


class Captures(Target):
    """Capture files: any damage is one error."""

    name = "pcap"

    def find(self, vectors: Path) -> Iterator[bytes]:
        import struct

        frames = [bytes.fromhex(v["hex"]) for v in load(vectors, "jt808", "jt809") if v["kind"] == "frame"][::20]
        for number, payload in enumerate(frames):
            tcp = struct.pack(">HHIIBBHHH", 40000, 7808, 1000 + number, 1, 0x50, 0x18, 100, 0, 0) + payload
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), number, 0, 64, 6, 0) + b"\x0a\0\0\7\x0a\0\0\1" + tcp
            frame = bytes(12) + b"\x08\0" + ip
            yield struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + (struct.pack("<IIII", number, 0, len(frame), len(frame)) + frame) * 2
            block = struct.pack("<IIIII", 0, 0, number, len(frame), len(frame)) + frame
            block += bytes(-len(block) % 4)
            section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
            yield section + (struct.pack("<II", 6, len(block) + 12) + block + struct.pack("<I", len(block) + 12)) * 2

    def run(self, data: bytes) -> None:
        dissector, reassembler, conversations = Dissector(), Reassembler(), Conversations()
        try:
            for packet in read_stream(io.BytesIO(data)):
                segment = dissector.segment(packet)
                if segment is not None:
                    for delivered in reassembler.take(segment):
                        for _ in conversations.take(delivered):
                            pass
        except CaptureError:
            pass
        for delivered in reassembler.finish():
            for _ in conversations.take(delivered):
                pass


class Scrub(Target):
    """Recordings without their secrets: any bytes, none lost."""

    name = "scrub"
    patterns = (*Jt808.patterns, *Jt809.patterns, *Jt1078.patterns)

    def find(self, vectors: Path) -> Iterator[bytes]:
        for vector in load(vectors, "jt808", "jt809", "jt1078"):
            if vector["kind"] in ("frame", "packet", "stream"):
                yield bytes.fromhex(vector["hex"])

    def run(self, data: bytes) -> None:
        for protocol in ("jt808", "jt809", "jt1078"):
            scrubber = Scrubber(keys=KEYS)
            events = [Event(Kind.OPEN, 1, 0, info={"protocol": protocol, "transport": "tcp"})]
            events += [Event(Kind.IN, 1, 0, portion) for portion in portions(data)]
            for event in events:
                for _ in scrubber.feed(event):
                    pass
            for _ in scrubber.finish(0):
                pass


class Pasted(Target):
    """Text that people paste."""

    name = "hex"
    patterns = (b"00000000  7e\n", b"0000: 00 ", b"7e", b"zz ", b"*\n", b" ")

    def find(self, vectors: Path) -> Iterator[bytes]:
        for vector in load(vectors, "jt808", "jt809")[::7]:
            raw = bytes.fromhex(vector["hex"])
            yield vector["hex"].encode()
            lines = (f"{at:08x}  {raw[at : at + 16].hex(' ')}  |................|" for at in range(0, len(raw), 16))
            yield "\n".join(lines).encode()

    def run(self, data: bytes) -> None:
        try:
            parse_hex([data.decode("latin-1")])
        except InputError:
            pass


def show(explain: Callable[[], Any]) -> None:
    """Explain and print into nothing."""
    try:
        explained = explain()
    except (InputError, FrameError):
        return
    table = Table(io.StringIO())
    for one in explained:
        if not isinstance(one, dict):
            json.dumps(one.as_json())
            one.show(table)


TARGETS: dict[str, type[Target]] = {
    cls.name: cls
    for cls in (Jt808, Jt808Body, Session808, Attachment, Jt809, Jt809Body, Jt1078, Datagrams1078, IngestedFrames, Captures, Scrub, Pasted)
}

import targets_rtmp  # noqa: E402, F401 - adds its own to the table, and wants what is above
