"""Superior platforms over real terminals, in memory: the connector, the wires and the superiors' side are stand-ins, the file of what waits is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from relay.core.orders import Orders
from relay.core.superior import Superior
from relay.core.superior_link import SuperiorLink
from relay.core.superiors import Superiors
from relay.core.uplink_duties import register_duties
from relay.errors import RelayError
from relay.jt808.messages.location import LocationReport
from relay.jt809 import framing
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import Business, decode_body
from relay.jt809.header import Header, decode_frame, encode_frame
from relay.jt809.messages.base import Body
from relay.jt809.messages.link import LoginAnswer
from relay.settings import Superior as Settings
from relay.store import sqlite
from relay.store.connection import in_transaction, reading
from relay.store.errors import StoreError
from relay.store.superiors import SuperiorStore, _migrate
from tests.core.fakes import WALL, Device, World

PLATE, COLOR = "粤B12345", 1
CODE = 4242


class SyncDatabase:
    """The database without its thread; ``broken`` refuses everything."""

    def __init__(self, path: Path, bring: Any = _migrate) -> None:
        self.connection = sqlite.connect(path, 1.0, bring)
        self.broken = False

    def _do(self, how: Any, work: Any) -> Deferred[Any]:
        if self.broken:
            return fail(StoreError("disk full"))
        try:
            return succeed(how(self.connection, work))
        except RelayError as problem:
            return fail(problem)

    def write(self, work: Any) -> Deferred[Any]:
        return self._do(in_transaction, work)

    def read(self, work: Any) -> Deferred[Any]:
        return self._do(reading, work)


class SuperiorWire:
    """Keeps what is written. ``delivered``: how many bytes the superior has; None = all."""

    def __init__(self, host: str = "203.0.113.9", port: int = 10709) -> None:
        self.host, self.peer = host, f"{host}:{port}"
        self.full = False
        self.reset = False
        self.written = b""
        self.read_upto = 0
        self.delivered: int | None = None
        self.unknown = False  #: as with TLS
        self.closed = ""

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self, reason: str) -> None:
        self.closed = reason

    def acknowledged(self) -> int | None:
        if self.unknown:
            return None
        return len(self.written) if self.delivered is None else self.delivered


class Peer:
    """The superior's end of one link."""

    def __init__(self, superior: Superior, link: SuperiorLink, wire: SuperiorWire) -> None:
        self.superior = superior
        self.link = link
        self.wire = wire
        self.sn = 0

    def send_raw(self, data: bytes) -> None:
        self.link.received(data)

    def send(self, message: Body, plate: str = "", color: int = 0, form: str = "") -> int:
        """Gives its serial number."""
        msg_id, sub_id = message.KEY
        options = self.superior.options
        edition = options.body
        kind = form or ("L" if not sub_id else "P" if msg_id in (0x9300, 0x9102, 0x9103) or (msg_id == 0x9400 and edition >= 2019) else "V")
        body = Business(msg_id, kind, data=message, data_type=sub_id, vehicle_no=plate, vehicle_color=color, edition=edition).encode()
        self.raw(msg_id, body)
        return self.sn - 1

    def raw(self, msg_id: int, body: bytes = b"") -> None:
        options = self.superior.options
        header = Header(msg_id, self.sn, options.access_code, encrypt_flag=int(options.encrypt), encrypt_key=7, edition=options.edition)
        self.sn += 1
        self.link.received(encode_frame(header, body, options.keys))

    def read(self) -> list[tuple[Header, Business]]:
        """What came since the last call."""
        self.link.flush()
        data = self.wire.written[self.wire.read_upto :]
        self.wire.read_upto = len(self.wire.written)
        found = []
        for one in framing.Deframer().feed(data):
            header, body, _ = decode_frame(one, self.superior.options.edition, self.superior.options.keys)
            found.append((header, decode_body(header.msg_id, body, self.superior.options.body)))
        return found

    def kinds(self) -> list[int]:
        return [business.data_type or header.msg_id for header, business in self.read()]

    def answer(self, kind: int) -> Any:
        """The fields of the one answer of that kind among what came."""
        (found,) = [business for header, business in self.read() if (business.data_type or header.msg_id) == kind]
        return found.data if found.data is not None else found

    def lose(self, reason: str = "connection lost", delivered: int | None = None, reset: bool = False) -> None:
        self.link.flush()
        self.wire.reset = reset
        self.wire.delivered = delivered if delivered is not None else len(self.wire.written)
        self.link.lost(reason)


class SuperiorWorld(World):
    """``folder`` holds the file of what waits; a second world over it is a restarted relay."""

    def __init__(self, folder: Path, *settings: Settings, start: bool = True, **more: Any) -> None:
        super().__init__(**more)
        self.attempts: list[Superior] = []
        self.audit: list[tuple[str, str, str, str]] = []
        store = SuperiorStore(folder / "superiors.db")
        self.database = SyncDatabase(folder / "superiors.db")
        store.database = self.database  # type: ignore[assignment]
        self.rows.resolve = lambda name: succeed(next((row for row in self.rows.rows.values() if name == row.plate), None))  # type: ignore[attr-defined]
        self.superiors = Superiors(
            settings, self.terminals, self.rows, store, self.clock, self.wall, self.events, self, lambda one: one.sublink_port or 0,  # type: ignore[arg-type]
            Orders(self.terminals, self.clock, self.events, lambda *entry: self.audit.append(entry)),
        )  # fmt: skip
        register_duties(self.superiors)
        if start:
            self.superiors.start()

    def wall(self) -> float:
        return WALL + self.clock.seconds()

    def connect(self, superior: Superior) -> None:
        """``Connector``: the test decides what becomes of it."""
        self.attempts.append(superior)

    def __getitem__(self, name: str) -> Superior:
        found = self.superiors.get(name)
        assert found is not None
        return found

    def main(self, name: str, login: bool = True) -> Peer:
        """The next attempt of a superior succeeds."""
        superior = self[name]
        assert self.attempts and self.attempts.pop() is superior
        wire = SuperiorWire()
        link = superior.connected(wire, "192.0.2.1")
        assert link is not None
        link.begin()
        peer = Peer(superior, link, wire)
        if login:
            peer.read()
            peer.send(LoginAnswer(result=0, verify_code=CODE))
        return peer

    def sub(self, name: str, code: int = CODE) -> Peer:
        """The superior connects its subordinate link."""
        superior = self[name]
        wire = SuperiorWire(port=40000)
        link = self.superiors.accepted(wire, superior.settings.sublink_host, superior.settings.sublink_port)
        assert link is not None
        link.begin()
        peer = Peer(superior, link, wire)
        peer.raw(0x9001, code.to_bytes(4, "big"))
        return peer

    def advance(self, seconds: float, step: float = 0.2) -> None:
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step

    def finish(self) -> None:
        """Nothing stays scheduled; what waits is on disk."""
        self.superiors.close()
        self.advance(3.0)
        self.database.connection.close()


def superior_settings(name: str = "a", **values: Any) -> Settings:
    values.setdefault("host", "gov.example")
    values.setdefault("access_code", 44030001)
    values.setdefault("user_id", 10001)
    values.setdefault("password", "12345678")
    values.setdefault("platform_id", "44030012345")
    return Settings(name=name, **values)


KEYS = CipherKeys(30000000, 20000000, 20000000)
NEW = {"edition": 2019, "access_code": 44030002, "encrypt": True, "m1": KEYS.m1, "ia1": KEYS.ia1, "ic1": KEYS.ic1}


def location(second: int, alarm: int = 0, items: Any = ()) -> LocationReport:
    """A position at 2026-11-29 15:40:00 and so many seconds."""
    return LocationReport(
        alarm_flags=alarm, status_flags=0x000C0003, latitude=22577648, longitude=113937930, altitude=16, speed=575, direction=120,
        time=f"2611291540{second:02d}" if second < 60 else f"26112915{40 + second // 60:02d}{second % 60:02d}", items=list(items),
    )  # fmt: skip


def report(device: Device, *seconds: int, alarm: int = 0) -> None:
    for second in seconds:
        device.say(location(second, alarm))
    device.read()
