"""``decode --pcap FILE``: every JT/T 808, 809 and 1078 message in a capture, in the order of time, each with its connection and direction.

Recordings of ``relay.net.recorder`` are read like captures.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from relay.cli.conversations import PROTOCOLS, Conversations, Found, Options
from relay.cli.dump_jt809 import keys_of_arguments
from relay.cli.dump_table import InputError, Table
from relay.cli.packets import Dissector
from relay.cli.pcap import CaptureError, read_capture
from relay.cli.reassembly import Connection, Delivered, Endpoint, Reassembler
from relay.net.recording import Event, Kind, Recording, RecordingError
from relay.wire import Row

_ZONE = timezone(timedelta(hours=8))  # what the protocols' own times are in


def when(time: int) -> str:
    """A packet's time for people and programs: ISO 8601, GMT+8, µs."""
    moment = datetime.fromtimestamp(time // 1_000_000_000, _ZONE)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time % 1_000_000_000 // 1000:06d}+08:00"


def run(args: argparse.Namespace) -> int:
    """Print everything; exit status 1 when the file is damaged, which is said after what came before the damage."""
    options = Options(dict(args.port), args.edition, keys_of_arguments(args), args.full)
    capture: _Capture | _Recorded = _Recorded(args.pcap) if Recording.is_one(args.pcap) else _Capture(args.pcap)
    conversations = Conversations(options)
    output: _Output = _Lines() if args.json else _People(args.full, args.brief)

    def show(source: Iterator[Delivered]) -> None:
        for delivered in source:
            for found in conversations.take(delivered):
                if args.connection in (None, found.connection.number):
                    output.message(found)

    fault = ""
    try:
        show(capture.read())
    except (CaptureError, RecordingError) as problem:
        fault = str(problem)
        show(capture.finish())
    for connection in capture.connections:
        if args.connection in (None, connection.number):
            output.connection(connection, conversations.protocols.get(connection.number, ""))
    output.left_out(capture.left_out)
    if fault:
        sys.stdout.flush()
        raise InputError(fault)
    return 0


class _Capture:
    """The connections of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._dissector = Dissector()
        self._reassembler = Reassembler()

    @property
    def connections(self) -> list[Connection]:
        return self._reassembler.connections

    @property
    def left_out(self) -> Counter[str]:
        return self._dissector.left_out

    def read(self) -> Iterator[Delivered]:
        for packet in read_capture(self._path):
            segment = self._dissector.segment(packet)
            if segment is not None:
                yield from self._reassembler.take(segment)
        yield from self._reassembler.finish()

    def finish(self) -> Iterator[Delivered]:
        """What is still held after a fault of the file."""
        yield from self._reassembler.finish()


class _Recorded:
    """The connections of a recording; the same to whoever reads them."""

    def __init__(self, path: Path) -> None:
        self.connections: list[Connection] = []
        self.left_out: Counter[str] = Counter()
        self._recording = Recording(path)
        self._links: dict[int, Connection] = {}
        self._time = 0

    def read(self) -> Iterator[Delivered]:
        for event in self._recording:
            self._time = time = event.time * 1000
            if event.kind is Kind.OPEN:
                yield from self._open(event, time)
            connection = self._links.get(event.link)
            if connection is None:
                continue
            connection.last = time
            if event.kind in (Kind.IN, Kind.OUT):
                way = 0 if event.kind is Kind.IN else 1
                connection.packets += 1
                connection.bytes[way] += len(event.data)
                yield Delivered(connection, way, time, event.data)
            elif event.kind is Kind.CLOSE:
                connection.closed = True
                yield from self._end(event.link, time)
        yield from self.finish()

    def _open(self, event: Event, time: int) -> Iterator[Delivered]:
        yield from self._end(event.link, time)
        info = event.info
        transport = "udp" if info.get("transport") == "udp" else "tcp"
        ends = (_endpoint(info.get("peer")), _endpoint(info.get("local")))
        protocol = str(info.get("protocol", ""))
        known = protocol if protocol in PROTOCOLS else ""
        connection = Connection(len(self.connections) + 1, transport, ends, time, time, protocol=known, opened=True)
        self._links[event.link] = connection
        self.connections.append(connection)

    def _end(self, link: int, time: int) -> Iterator[Delivered]:
        connection = self._links.pop(link, None)
        if connection is not None:
            yield Delivered(connection, 0, time, end=True)
            yield Delivered(connection, 1, time, end=True)

    def finish(self) -> Iterator[Delivered]:
        """What is still open at the end, or at a fault."""
        for link in list(self._links):
            yield from self._end(link, self._time)


def _endpoint(text: object) -> Endpoint:
    # of sockets that are bound to every address a recording knows the port alone: "port 1079"
    host, _, port = str(text or "").rpartition(":")
    port = port.removeprefix("port ")
    return Endpoint(host.strip("[]") or "relay", int(port) if port.isdigit() else 0)


class _Output:
    """Where messages go."""

    def message(self, found: Found) -> None:
        raise NotImplementedError

    def connection(self, connection: Connection, protocol: str) -> None:
        raise NotImplementedError

    def left_out(self, counts: Counter[str]) -> None:
        raise NotImplementedError


class _Lines(_Output):
    """JSON, one object a line."""

    def message(self, found: Found) -> None:
        connection, way = found.connection, found.direction
        place: dict[str, Any] = {
            "time": when(found.time),
            "connection": connection.number,
            "transport": connection.transport,
            "from": str(connection.ends[way]),
            "to": str(connection.ends[1 - way]),
        }
        print(json.dumps({**place, **found.shown.as_json()}, ensure_ascii=False))

    def connection(self, connection: Connection, protocol: str) -> None:
        print(json.dumps({"connection": connection.number, "summary": _summary(connection, protocol)}, ensure_ascii=False))

    def left_out(self, counts: Counter[str]) -> None:
        if counts:
            print(json.dumps({"left_out": dict(counts)}, ensure_ascii=False))


def _summary(connection: Connection, protocol: str) -> dict[str, Any]:
    return {
        "transport": connection.transport, "protocol": protocol or None, "client": str(connection.ends[0]), "server": str(connection.ends[1]),
        "first": when(connection.first), "last": when(connection.last), "packets": connection.packets, "bytes": connection.bytes,
        "missing": connection.lost, "repeated": connection.repeated, "beginning_seen": connection.opened, "end_seen": connection.closed,
    }  # fmt: skip


#: what every message of its protocol has, and the line need not repeat
_PLUMBING = frozenset((
    "msg_id", "properties", "protocol_version", "checksum", "msg_length", "msg_gnsscenterid", "version_flag", "encrypt_flag", "encrypt_key", "crc_code",
    "data_length", "magic", "v p x cc",
))  # fmt: skip
#: 6.0 km/h, 31.230416 °, 2026-11-20 15:30:45 GMT+8
_SCALED = re.compile(r"-?\d[\d.:-]* (?!bytes)\S+$|20\d\d-\d\d-\d\d ")
_GIST_MAX = 200


def gist(rows: Iterable[Row]) -> str:
    """What a message says, on one line: its values with their units, the first of them if they are many."""
    parts: list[str] = []
    length = 0
    for row in rows:
        envelope = row.name == "data_type" and row.type == "WORD"  # 子业务类型标识: the title has it
        if row.depth or row.kind != "field" or not row.value or row.name in _PLUMBING or envelope:
            continue
        text = f"{row.name} {row.meaning if _SCALED.match(row.meaning) else row.value[:40]}"
        length += len(text) + 2
        if length > _GIST_MAX:
            parts.append("…")
            break
        parts.append(text)
    return ", ".join(parts)


class _People(_Output):
    """Tables, or with ``brief`` one line a message; at the end the connections."""

    def __init__(self, full: bool, brief: bool) -> None:
        self._table = Table(full=full)
        self._brief = brief
        self._summaries = False

    def message(self, found: Found) -> None:
        connection, way = found.connection, found.direction
        place = f"{when(found.time)[:-6].replace('T', ' ')} #{connection.number} {connection.ends[way]} → {connection.ends[1 - way]} {connection.transport}"
        if self._brief:
            said = gist(getattr(found.shown, "rows", ()))
            text = f"{place}  {found.shown.title}" + (f"  {said}" if said else "") + (f"  ! {found.shown.problem}" if found.shown.problem else "")
            self._table.line(text)
            return
        self._table.note(place)
        found.shown.show(self._table)
        self._table.line("")

    def connection(self, connection: Connection, protocol: str) -> None:
        if not self._summaries:
            self._summaries = True
            self._table.title("connections")
        parts = [f"#{connection.number} {connection.transport} {connection.ends[0]} → {connection.ends[1]}: {protocol or 'not recognised'}"]
        parts.append(f"{connection.packets} packets, {connection.bytes[0]} bytes there, {connection.bytes[1]} back")
        if any(connection.lost):
            parts.append(f"{sum(connection.lost)} bytes missing")
        if any(connection.repeated):
            parts.append(f"{sum(connection.repeated)} bytes repeated")
        if connection.transport == "tcp" and not connection.opened:
            parts.append("its beginning is not in the capture")
        self._table.line(", ".join(parts))

    def left_out(self, counts: Counter[str]) -> None:
        for why, count in counts.items():
            self._table.note(f"{count} {why}, left out")
