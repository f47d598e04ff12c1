"""Recordings: the bytes of one terminal's (or superior's) connections with their times, so that a field fault can be looked at and played again.

    file     magic "JTREC" 00 01 0A, then records
    record   u8 kind | u32 link | u64 time, µs since 1970 UTC | u32 n | n bytes

    1 OPEN   JSON: protocol (jt808, jt809, jt1078), transport (tcp, tls, udp), peer, local, kind (of the media port), name (of a superior),
             initiator ("peer": it connected to us; "us")
    2 IN     bytes from the peer, as the socket gave them; of UDP one datagram
    3 OUT    bytes to the peer
    4 CLOSE  JSON: reason
    5 NOTE   JSON: what else is to be known: begun in the middle of the connection, limit reached, scrubbed

Records are only ever appended, one write each: a process that dies leaves a recording that is whole up to its last record, and a reader takes it as that.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO

from relay.errors import RelayError

MAGIC = b"JTREC\x00\x01\n"
_HEAD = struct.Struct(">BIQI")
#: of one record: sockets are read in portions of at most 256 KiB
MAX_RECORD = 1 << 20


class Kind(IntEnum):
    """Kinds of records."""

    OPEN = 1
    IN = 2
    OUT = 3
    CLOSE = 4
    NOTE = 5


_KINDS = frozenset(int(kind) for kind in Kind)


class RecordingError(RelayError):
    """A file that is no recording, or is damaged."""


@dataclass(slots=True)
class Event:
    """One record."""

    kind: Kind
    link: int  #: number of the connection, from 1
    time: int  #: µs since 1970, UTC
    data: bytes = b""  #: of IN and OUT
    info: dict[str, Any] = field(default_factory=dict)  #: of OPEN, CLOSE and NOTE

    def to_bytes(self) -> bytes:
        """The record in the file."""
        payload = self.data if self.kind in (Kind.IN, Kind.OUT) else json.dumps(self.info, ensure_ascii=False).encode()
        return _HEAD.pack(self.kind, self.link, self.time, len(payload)) + payload


class Recording:
    """A recording on disk; every iteration reads it anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut = False  #: the last record was incomplete at the last reading
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise RecordingError(f"{path} is no recording")

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether a file begins like a recording."""
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC

    def __iter__(self) -> Iterator[Event]:
        self.cut = False
        with self.path.open("rb") as file:
            file.seek(len(MAGIC))
            while True:
                head = file.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    self.cut = bool(head)
                    return
                kind, link, time, size = _HEAD.unpack(head)
                if size > MAX_RECORD or kind not in _KINDS:
                    raise RecordingError(f"{self.path} is damaged at byte {file.tell() - _HEAD.size}")
                payload = file.read(size)
                if len(payload) < size:
                    self.cut = True
                    return
                yield _event(Kind(kind), link, time, payload, self.path)


def _event(kind: Kind, link: int, time: int, payload: bytes, path: Path) -> Event:
    if kind in (Kind.IN, Kind.OUT):
        return Event(kind, link, time, payload)
    try:
        info = json.loads(payload)
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise RecordingError(f"{path}: a record of link {link} is damaged")
    return Event(kind, link, time, info=info)


class RecordingWriter:
    """Appends records; ``size`` is the file's."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = len(MAGIC)
        file.write(MAGIC)

    def write(self, event: Event) -> None:
        """Append one; raises ``OSError`` when the disk is full or gone."""
        if len(event.data) > MAX_RECORD:
            for at in range(0, len(event.data), MAX_RECORD):
                self.write(Event(event.kind, event.link, event.time, event.data[at : at + MAX_RECORD]))
            return
        record = event.to_bytes()
        self._file.write(record)
        self.size += len(record)

    def close(self) -> None:
        """No more records."""
        self._file.close()
