"""A store in memory, a wire that keeps what is written, and a terminal that speaks JT/T 808: what the tests of ``core`` share."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from relay.core.events import Events
from relay.core.link import Link
from relay.core.terminals import Terminals
from relay.identity import phone_key
from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages.base import MESSAGES, Body
from relay.jt808.messages.general import Authentication, Registration
from relay.settings import Limits
from relay.settings import Terminals as TerminalSettings
from relay.store.errors import StoreError
from relay.store.terminals import KnownTerminal

PHONE = "013800138000"
SIM = "13800138000"
WALL = 1_795_000_000.0


class Rows:
    """``TerminalRows`` without a database. ``broken`` makes everything fail, ``held`` keeps answers back until ``release``."""

    def __init__(self, *known: KnownTerminal) -> None:
        self.rows = {row.key: row for row in known}
        self.codes: dict[str, str] = {}
        self.issued = 0
        self.broken = False
        self.held: list[tuple[Deferred[Any], Any]] | None = None

    def _answer(self, value: Any) -> Deferred[Any]:
        if self.broken:
            return fail(StoreError("disk full"))
        if self.held is not None:
            waiting: Deferred[Any] = Deferred()
            self.held.append((waiting, value))
            return waiting
        return succeed(value)

    def release(self) -> None:
        held, self.held = self.held or [], None
        for waiting, value in held:
            waiting.callback(value)

    def get(self, number: str) -> Deferred[Any]:
        return self._answer(self.rows.get(phone_key(number)))

    def list(self, limit: int = -1, offset: int = 0) -> Deferred[Any]:
        return self._answer(list(self.rows.values()))

    def upsert(self, terminal: KnownTerminal, now: float, code: str = "") -> Deferred[Any]:
        self.rows[terminal.key] = replace(terminal, has_auth_code=bool(code))
        if code:
            self.codes[terminal.key] = code
        return self._answer(self.rows[terminal.key])

    def registered(self, seen: KnownTerminal, now: float) -> Deferred[Any]:
        row = self.rows.get(seen.key) or seen
        self.rows[seen.key] = replace(row, terminal_id=row.terminal_id or seen.terminal_id, plate=row.plate or seen.plate, registered_at=now)
        return self._answer(self.rows[seen.key])

    def issue_auth_code(self, number: str, now: float) -> Deferred[Any]:
        self.issued += 1
        self.codes[phone_key(number)] = f"code{self.issued}"
        return self._answer(f"code{self.issued}")

    def set_auth_code(self, number: str, code: str, now: float) -> Deferred[Any]:
        self.codes[phone_key(number)] = code
        return self._answer(True)

    def verify_auth_code(self, number: str, code: str) -> Deferred[Any]:
        return self._answer(bool(code) and self.codes.get(phone_key(number)) == code)


class FakeWire:
    """Keeps what is written."""

    def __init__(self, host: str = "10.0.0.7", port: int = 40000, local: str = "192.0.2.1", transport: str = "tcp") -> None:
        self.host, self.local, self.transport = host, local, transport
        self.peer = f"{host}:{port}"
        self.data = b""
        self.closed = ""

    def write(self, frames: list[bytes]) -> None:
        assert not self.closed
        self.data += b"".join(frames)

    def close(self, reason: str) -> None:
        self.closed = reason


class World:
    """Terminals, their clock, their events."""

    def __init__(self, rows: Rows | None = None, limits: Limits | None = None, changes: Any = None, **settings: Any) -> None:
        self.clock = Clock()
        self.rows = rows if rows is not None else Rows(KnownTerminal(phone=PHONE, plate="粤B12345", plate_color=1))
        self.events = Events(lambda: WALL + self.clock.seconds())
        self.told: list[dict[str, Any]] = []
        self.events.subscribe(self.told.append)
        settings.setdefault("registration", "known")
        self.terminals = Terminals(
            TerminalSettings(**settings), limits or Limits(log_peer_s=0.0), self.rows, self.clock, self.events,
            lambda: WALL + self.clock.seconds(), changes,
        )  # fmt: skip

    def names(self) -> list[str]:
        return [event["event"] for event in self.told]

    def device(self, phone: str = PHONE, **wire: Any) -> Device:
        return Device(self, phone, **wire)

    def online(self, phone: str = PHONE, **wire: Any) -> Device:
        """A device that has registered and authenticated."""
        device = self.device(phone, **wire)
        device.register()
        device.authenticate()
        device.read()
        return device


class Device:
    """The terminal's end of a link."""

    def __init__(self, world: World, phone: str = PHONE, version: int | None = None, link: bool = True, **wire: Any) -> None:
        self.world = world
        self.phone = phone
        self.version = version
        self.serial = 0
        self.code = ""
        self.wire = FakeWire(**wire)
        self.link: Link | None = world.terminals.connected(self.wire) if link else None
        self._deframer = Deframer()
        self._kept: list[tuple[Header, Any]] = []

    @property
    def edition(self) -> int:
        return 2013 if self.version is None else 2019

    def send(self, msg_id: int, body: bytes = b"", serial: int | None = None, **more: Any) -> int:
        """One frame; gives its serial."""
        number = self.serial if serial is None else serial
        self.serial = number + 1
        assert self.link is not None
        self.link.received(Header(msg_id, self.phone, number, protocol_version=self.version, **more).encode(body))
        return number

    def say(self, message: Body) -> int:
        return self.send(message.KEY, message.encode(self.edition))

    def register(self, terminal_id: str = "T000001", plate: str = "粤B12345") -> int | None:
        """The result of 0x8100; the code is kept."""
        self.say(
            Registration(
                province_id=44, city_id=300, manufacturer_id="ABCDE", terminal_model="M1", terminal_id=terminal_id, plate_color=1, plate_no=plate
            )
        )  # fmt: skip
        for header, message in self._look():
            if header.msg_id == 0x8100:
                self.code = message.auth_code or self.code
                return int(message.result)
        return None

    def authenticate(self, code: str | None = None) -> int | None:
        """The result of the 0x8001."""
        serial = self.say(Authentication(auth_code=self.code if code is None else code, imei="", software_version=""))
        for header, message in self._look():
            if header.msg_id == 0x8001 and message.reply_serial == serial:
                return int(message.result)
        return None

    def _look(self) -> list[tuple[Header, Any]]:
        """What came, keeping all but the answers for ``read`` and ``commands``."""
        new = self.read()
        self._kept = [entry for entry in new if entry[0].msg_id not in (0x8001, 0x8100)]
        return new

    def read(self) -> list[tuple[Header, Any]]:
        """What came since the last call, decoded."""
        data, self.wire.data = self.wire.data, b""
        out, self._kept = self._kept, []
        for piece in self._deframer.feed(data):
            assert isinstance(piece, bytes)
            header, body = decode_frame(piece)
            cls = MESSAGES.get(header.msg_id)
            assert cls is not None
            out.append((header, cls.decode(body, header.edition)))
        return out

    def commands(self) -> list[tuple[Header, Any]]:
        """The platform's requests among what came."""
        return [(header, message) for header, message in self.read() if header.msg_id not in (0x8001, 0x8100, 0x8800)]

    def answer(self, header: Header, result: int = 0) -> None:
        self.send(0x0001, struct.pack(">HHB", header.serial, header.msg_id, result))
