"""Takes out of a recording whom it is about: numbers, plates, names and secrets become made-up ones, the same for the same everywhere.

    JT/T 808    the phone number of every header; the fields named below in every body whose layout is known; checksums made anew
    JT/T 809    access codes, plates of the envelopes, the fields named below; CRC made anew, bodies encrypted again where the constants are given
    JT/T 1078   the SIM field of every packet. Pictures and sound stay: who is in them can be seen and heard

A frame that was wrong stays wrong in the same way: the difference between its checksum and the right one is kept. Bytes that cannot be read (broken frames,
garbage, pieces of long messages) are searched for numbers and plates met before. Positions and times stay. Encrypted bodies stay where no constants are given,
and are counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from relay.errors import FrameError, ProtocolError, UsageError
from relay.identity import phone_key
from relay.jt808 import framing as framing808
from relay.jt808.header import MAX_BODY, Header
from relay.jt808.messages import OpaqueBody, decode_message
from relay.jt809 import cipher, editions, envelope
from relay.jt809 import framing as framing809
from relay.jt809.header import header_size
from relay.net.aliases import Aliases
from relay.net.recording import Event, Kind, Recording, RecordingWriter
from relay.net.restream import Fields1078, Frames808, Frames809
from relay.wire import Entry, RawText, Record
from relay.wire.codecs import encode_text

_PLATES = frozenset({"plate_no", "vehicle_no"})
_PHONES = frozenset({"phone", "monitor_tel", "responder_tel", "supervisor_tel", "terminal_simcode"})
_WHOLE = frozenset({
    "terminal_id", "imei", "imei_id", "iccid", "id_card_no", "driver_id", "license_no", "licence", "driver_name", "issuer", "org_name", "responder",
    "supervisor", "supervisor_email", "username", "platform_id", "platform_id1", "platform_id2", "platform_id3", "source_platform_id",
    "destination_platform_id", "object_id", "contact",
})  # fmt: skip
_PROSE = frozenset({
    "text", "content", "info_content", "msg_content", "ewaybill_info", "warn_content", "question", "name", "file_name", "file_path", "path", "reason",
    "car_info", "command_params",
})  # fmt: skip
_ACCOUNTS = frozenset({"user_id", "msg_gnsscenterid", "verify_code"})
#: parameters of 0x8103 and 0x0104 whose value is a telephone number, a plate
_PHONE_PARAMETERS = frozenset({0x40, 0x41, 0x42, 0x43, 0x44, 0x48, 0x49})
_PLATE_PARAMETER = 0x83
_CAR_INFO_NAME = re.compile(r"(?<=NAME:=)[^;]+")

#: shorter byte strings would be found by accident
_LEARNT_MIN = 6
_LEARNT_MAX = 4096


class Scrubber:
    """One recording's; ``feed`` it every event in order. ``keys``: constants of encrypted JT/T 809 bodies."""

    def __init__(self, aliases: Aliases | None = None, keys: cipher.CipherKeys | None = None) -> None:
        self.aliases = aliases or Aliases()
        self.counts: Counter[str] = Counter()
        self._keys = keys
        self._learnt: dict[bytes, bytes] = {}
        self._pattern: re.Pattern[bytes] | None = None
        self._links: dict[int, _Link] = {}
        self._hosts: dict[str, str] = {}
        self._began = False

    def name(self, subject: str) -> str:
        """A subject as it may be told."""
        return subject if subject.startswith("superior:") else self.aliases.phone(subject)

    def feed(self, event: Event) -> Iterable[Event]:
        """The event without its secrets, and what waited for it; nothing yet, if it ends in the middle of a frame."""
        if not self._began:
            self._began = True
            yield Event(Kind.NOTE, 0, event.time, info={"scrubbed": True})
        link = self._links.get(event.link)
        if event.kind is Kind.OPEN:
            self._links[event.link] = _Link(self, event.info)
            yield Event(Kind.OPEN, event.link, event.time, info=self._info(event.info))
        elif event.kind in (Kind.IN, Kind.OUT):
            if link is None:
                link = self._links[event.link] = _Link(self, {})
            data = link.take(event.kind, event.data)
            if data:
                yield Event(event.kind, event.link, event.time, data)
        else:
            ending = [event.link] if event.kind is Kind.CLOSE else list(self._links) if "ended" in event.info else []
            for number in ending:
                yield from self._flush(number, event.time)
            yield event

    def finish(self, time: int) -> Iterable[Event]:
        """What still waits at the end."""
        for number in list(self._links):
            yield from self._flush(number, time)

    def _flush(self, number: int, time: int) -> Iterable[Event]:
        link = self._links.pop(number, None)
        for kind in (Kind.IN, Kind.OUT) if link is not None else ():
            data = link.flush(kind) if link is not None else b""
            if data:
                yield Event(kind, number, time, data)

    def _info(self, info: dict[str, Any]) -> dict[str, Any]:
        result = dict(info)
        for name in ("peer", "local"):
            if isinstance(result.get(name), str) and result[name]:
                host, _, port = result[name].rpartition(":")
                alias = self._hosts.setdefault(host, f"192.0.2.{len(self._hosts) % 254 + 1}")
                result[name] = f"{alias}:{port}"
        return result

    # ---- what is learnt --------------------------------------------------------------------------------------------------

    def learn(self, original: bytes, alias: bytes) -> None:
        """Exchange these bytes also where nothing can be taken apart."""
        if len(original) >= _LEARNT_MIN and original != alias and any(original) and len(self._learnt) < _LEARNT_MAX and original not in self._learnt:
            self._learnt[original] = alias
            self._pattern = None

    def raw(self, data: bytes) -> bytes:
        """Bytes that are no message."""
        if not self._learnt or not data:
            return data
        if self._pattern is None:
            self._pattern = re.compile(b"|".join(re.escape(known) for known in sorted(self._learnt, key=len, reverse=True)))
        return self._pattern.sub(lambda found: self._learnt[found[0]], data)

    def phone_field(self, field: bytes) -> bytes:
        """A number as BCD (or whatever a terminal puts there)."""
        alias = bytes.fromhex(self.aliases.phone(field.hex()))
        self.learn(field, alias)
        key = phone_key(field.hex())
        self.learn(key.encode(), phone_key(alias.hex()).encode())
        return alias

    # ---- JT/T 808 --------------------------------------------------------------------------------------------------------

    def frame808(self, piece: bytes) -> bytes:
        """What stands between two flags."""
        try:
            content = framing808.unescape(piece)
        except FrameError:
            return self.raw(piece)
        if len(content) < 2:
            return piece
        wrong = framing808.checksum(content)
        inner = content[:-1]
        try:
            header, body = Header.parse(inner)
        except FrameError:
            fresh = self.raw(inner)
        else:
            at, width = (4, 6) if header.protocol_version is None else (5, 10)
            head = inner[:at] + self.phone_field(inner[at : at + width]) + inner[at + width : len(inner) - len(body)]
            made = self._body808(header, body)
            if len(made) != len(body):
                properties = (int.from_bytes(head[2:4], "big") & ~MAX_BODY) | len(made)
                head = head[:2] + properties.to_bytes(2, "big") + head[4:]
            fresh = head + made
        return framing808.escape(fresh + bytes((framing808.checksum(fresh) ^ wrong,)))

    def _body808(self, header: Header, body: bytes) -> bytes:
        try:
            message = decode_message(header, body)
        except ProtocolError:
            return self.raw(body)
        if isinstance(message, OpaqueBody):
            return self.raw(body)
        made = self._again(message, body)
        return made if len(made) <= MAX_BODY else self.raw(body)

    def _again(self, message: Record, original: bytes) -> bytes:
        """A message written again with made-up values, if writing it again gives itself."""
        try:
            if message.encode() != original:
                return self.raw(original)
            self.record(message)
            return message.encode()
        except UsageError:
            return self.raw(original)

    def chunk(self, head: bytes) -> bytes:
        """The head of an attachment's chunk: the name of the file holds numbers."""
        name = head[4:54].rstrip(b"\0")
        try:
            made = self.aliases.prose(name.decode("gb18030")).encode("gb18030")
        except UnicodeError:
            made = self.raw(name)
        return head[:4] + made.ljust(50, b"\0")[:50] + head[54:]

    # ---- JT/T 809 --------------------------------------------------------------------------------------------------------

    def frame809(self, content: bytes, edition: int) -> bytes:
        """What stands between 5B and 5D; ``edition`` of the link as far as it is known."""
        try:
            plain = framing809.unescape(content)
        except FrameError:
            return self.raw(content)
        size = header_size(edition)
        if len(plain) < size + 2:
            return framing809.escape(self.raw(plain))
        inner, said = plain[:-2], int.from_bytes(plain[-2:], "big")
        wrong = said ^ framing809.crc16(inner)
        body = inner[size:]
        made = self._body809(inner, body, edition)
        center = self.aliases.number(int.from_bytes(inner[10:14], "big")).to_bytes(4, "big")
        length = (int.from_bytes(inner[:4], "big") + len(made) - len(body)) & 0xFFFFFFFF
        fresh = length.to_bytes(4, "big") + inner[4:10] + center + inner[14:size] + made
        return framing809.escape(fresh + (framing809.crc16(fresh) ^ wrong).to_bytes(2, "big"))

    def _body809(self, inner: bytes, body: bytes, edition: int) -> bytes:
        crypt: Callable[[bytes], bytes] = bytes
        if inner[17] == 1 and body:
            if self._keys is None:
                self.counts["encrypted bodies left as they are"] += 1
                return body
            keys, key = self._keys, int.from_bytes(inner[18:22], "big")

            def crypt(data: bytes) -> bytes:
                return cipher.apply(keys, key, data)

        plain = crypt(body)
        msg_id = int.from_bytes(inner[8:10], "big")
        layout = editions.body_edition(msg_id, plain, edition)
        try:
            business = envelope.decode_body(msg_id, plain, layout)
            if business.encode() != plain:
                return crypt(self.raw(plain))
            business.vehicle_no = self._plate(business.vehicle_no, 21)
            if business.data is not None:
                self.record(business.data)
            else:
                business.raw = self.raw(business.raw)
            return crypt(business.encode())
        except (ProtocolError, UsageError):
            return crypt(self.raw(plain))

    # ---- fields ----------------------------------------------------------------------------------------------------------

    def record(self, record: Record) -> None:
        """Change what a record says of somebody, and the records inside it."""
        for name, info in type(record).wire_fields.items():
            value = getattr(record, name)
            if value is None:
                continue
            if isinstance(value, Record):
                self.record(value)
            elif isinstance(value, list):
                for item in value:
                    if isinstance(item, Record):
                        self.record(item)
            elif isinstance(value, str):
                made = self._text(record, name, info.secret, value)
                if made != value:
                    setattr(record, name, made)
            elif isinstance(value, bytes):
                if info.secret:
                    setattr(record, name, bytes(len(value)))
                elif name not in ("photo", "gnss_data"):
                    setattr(record, name, self.raw(value))
            elif name in _ACCOUNTS:
                setattr(record, name, self.aliases.number(value))
        if record.trailing:
            record.trailing = self.raw(record.trailing)
        if "raw" in getattr(type(record), "__slots__", ()) and isinstance(record, Entry):
            raw: bytes = record.raw  # type: ignore[attr-defined]
            record.raw = self.raw(raw)  # type: ignore[attr-defined]

    def _text(self, record: Record, name: str, secret: bool, value: str) -> str:
        entry = record.id if isinstance(record, Entry) else -1
        if name in _PLATES or (entry == _PLATE_PARAMETER and name == "value"):
            return self._plate(value)
        if name in _PHONES or (entry in _PHONE_PARAMETERS and name == "value"):
            return self._kept(value, self.aliases.phone(value) if value.isdigit() else self.aliases.prose(value))
        if secret or name in _WHOLE or (name == "name" and hasattr(record, "phone")):  # a contact's
            return self._kept(value, self.aliases.text(value))
        if name in _PROSE:
            made = self.aliases.prose(value)
            if name == "car_info":
                made = _CAR_INFO_NAME.sub(lambda found: self.aliases.text(found[0]), made)
            return self._kept(value, made, learn=False)
        return value

    def _plate(self, value: str, size: int = 0) -> str:
        return self._kept(value, self.aliases.plate(str(value)), size=size)

    def _kept(self, value: str, alias: str, learn: bool = True, size: int = 0) -> str:
        """``alias`` padded in the way of ``value``."""
        if alias == value:
            return value
        old, new = str(value).encode("gb18030", "replace"), encode_text(alias)
        if learn:
            self.learn(old, new)
        if isinstance(value, RawText):
            return RawText.of(alias, value.raw.replace(old, new)) if old in value.raw and len(old) == len(new) else alias
        return alias if not size or len(new) <= size else value


class _Link:
    """One connection: its streams in both directions."""

    def __init__(self, scrubber: Scrubber, info: dict[str, Any]) -> None:
        self._scrubber = scrubber
        self._protocol = info.get("protocol", "")
        self._datagrams = info.get("transport") == "udp"
        self._seen = {2011: 0, 2019: 0}
        self._streams = {kind: self._stream() for kind in (Kind.IN, Kind.OUT)}

    def _stream(self) -> Frames808 | Frames809 | Fields1078 | None:
        scrubber = self._scrubber
        if self._protocol == "jt808":
            return Frames808(scrubber.frame808, scrubber.raw, scrubber.chunk)
        if self._protocol == "jt809":
            return Frames809(self._frame809, scrubber.raw)
        if self._protocol == "jt1078":
            return Fields1078(scrubber.phone_field)
        return None

    def _frame809(self, content: bytes) -> bytes:
        try:
            guessed = editions.guess(framing809.unescape(content)[:-2], self._scrubber._keys)
        except FrameError:
            guessed = 0
        if guessed:
            self._seen[guessed] += 1
        return self._scrubber.frame809(content, guessed or max(self._seen, key=lambda one: self._seen[one]))

    def take(self, kind: Kind, data: bytes) -> bytes:
        stream = self._stream() if self._datagrams else self._streams[kind]
        if stream is None:
            return self._scrubber.raw(data)
        return stream.feed(data) + (stream.flush() if self._datagrams else b"")

    def flush(self, kind: Kind) -> bytes:
        stream = self._streams[kind]
        return stream.flush() if stream is not None else b""


def scrub_recording(source: Recording, target: Path, scrubber: Scrubber) -> None:
    """Write a recording again without its secrets."""
    with target.open("xb") as file:
        writer = RecordingWriter(file)
        time = 0
        for event in source:
            time = event.time
            for one in scrubber.feed(event):
                writer.write(one)
        for one in scrubber.finish(time):
            writer.write(one)
