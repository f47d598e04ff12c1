"""The known terminals (表 terminals): who may register, and the authentication code (鉴权码) each was given.

The code is random 128 bit, stored as SHA-256 of salt + code and compared in constant time. A slow hash would buy nothing for a random
128-bit code and cost minutes when ten thousand terminals come back at once; an operator who presets a short code should know that.

Functions take a connection and run in the store's thread or in a command; ``TerminalStore`` is the same for the reactor's thread.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from twisted.internet.defer import Deferred

from relay.identity import phone_key
from relay.store.connection import NO_LIMIT, Connection
from relay.store.database import Database
from relay.store.errors import StoreConflictError
from relay.store.postgres import PostgresConnection

T = TypeVar("T")

ORIGINS = ("operator", "first-seen", "open")
AUTH_CODE_BYTES = 16


@dataclass(frozen=True, slots=True)
class KnownTerminal:
    """One row."""

    phone: str  #: 终端手机号 as given
    plate: str = ""  #: 车牌号; the VIN when plate_color is 0
    plate_color: int | None = None  #: 车牌颜色, the number of JT/T 415 and JT/T 697.7
    alias: str = ""  #: another name for it in URLs, unique
    manufacturer: str = ""  #: 制造商ID of 0x0100
    model: str = ""  #: 终端型号 of 0x0100
    terminal_id: str = ""  #: 终端ID of 0x0100
    edition: int | None = None  #: 2011, 2013, 2019; None = found out
    enabled: bool = True  #: False: known and refused
    origin: str = "operator"  #: "operator", or the registration policy that let it in
    has_auth_code: bool = False
    auth_at: float | None = None  #: UNIX time at which the code was set
    added_at: float = 0.0  #: UNIX time
    registered_at: float | None = None  #: UNIX time of the last 0x0100
    group: str = ""  #: whatever the operator sorts by: a fleet, a depot
    channels: dict[int, str] = field(default_factory=dict)  #: logical channel -> what people call it
    details: dict[str, str] = field(default_factory=dict)  #: static data of the vehicle by the keys of JT/T 809 CAR_INFO (0x1601)
    aliases: tuple[str, ...] = ()  #: more names for it in URLs, each unique

    @property
    def key(self) -> str:
        """The number as it is compared."""
        return phone_key(self.phone)


_COLUMNS = (
    "phone, plate, plate_color, alias, manufacturer, model, terminal_id, edition, enabled, origin, "
    "auth_hash IS NOT NULL, auth_at, added_at, registered_at, group_name, channels, details"
)


def _row(row: Sequence[object]) -> KnownTerminal:
    values = list(row)
    values[8] = bool(values[8])
    values[10] = bool(values[10])
    values[15] = {int(number): name for number, name in json.loads(str(values[15])).items()}
    values[16] = json.loads(str(values[16]))
    return KnownTerminal(*values)  # type: ignore[arg-type]  # the table is STRICT


def get(connection: Connection, number: str) -> KnownTerminal | None:
    """The terminal with this number, zeros in front or not."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM terminals WHERE key = ?", (phone_key(number),)).fetchone()  # noqa: S608
    return _with_aliases(connection, _row(row)) if row else None


def _with_aliases(connection: Connection, terminal: KnownTerminal) -> KnownTerminal:
    rows = connection.execute("SELECT alias FROM aliases WHERE key = ? ORDER BY alias", (terminal.key,)).fetchall()
    return replace(terminal, aliases=tuple(row[0] for row in rows)) if rows else terminal


def resolve(connection: Connection, name: str) -> KnownTerminal | None:
    """The terminal that a number, an alias or a plate names; a plate that two terminals carry names none."""
    found = get(connection, name)
    if found is not None:
        return found
    for column in ("alias = ?", "key IN (SELECT key FROM aliases WHERE alias = ?)", "plate = ?"):
        rows = connection.execute(f"SELECT {_COLUMNS} FROM terminals WHERE {column} LIMIT 2", (name,)).fetchall()  # noqa: S608
        if len(rows) == 1 and name:
            return _with_aliases(connection, _row(rows[0]))
    return None


def list_all(connection: Connection, limit: int = NO_LIMIT, offset: int = 0) -> list[KnownTerminal]:
    """All of them, by number."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM terminals ORDER BY key LIMIT ? OFFSET ?", (limit, offset))  # noqa: S608
    found = [_row(row) for row in rows]
    others: dict[str, list[str]] = {}
    for key, alias in connection.execute("SELECT key, alias FROM aliases ORDER BY key, alias"):
        others.setdefault(key, []).append(alias)
    return [replace(each, aliases=tuple(others[each.key])) if each.key in others else each for each in found]


def count(connection: Connection) -> int:
    """How many there are."""
    number: int = connection.execute("SELECT COUNT(*) FROM terminals").fetchone()[0]
    return number


def add(connection: Connection, terminal: KnownTerminal, now: float, code: str = "") -> KnownTerminal:
    """Insert; StoreConflictError when the number or the alias is taken."""
    if get(connection, terminal.phone) is not None:
        raise StoreConflictError(f"terminal {terminal.phone} is known already")
    return upsert(connection, terminal, now, code)


def upsert(connection: Connection, terminal: KnownTerminal, now: float, code: str = "") -> KnownTerminal:
    """Insert, or change everything but the authentication code and the times; StoreConflictError when the alias belongs to another."""
    key = terminal.key
    for alias in filter(None, (terminal.alias, *terminal.aliases)):
        other = connection.execute(
            "SELECT phone FROM terminals WHERE key <> ? AND (alias = ? OR key IN (SELECT key FROM aliases WHERE alias = ?))", (key, alias, alias)
        ).fetchone()
        if other:
            raise StoreConflictError(f"alias {alias} belongs to terminal {other[0]}")
    connection.execute(
        """
        INSERT INTO terminals
            (key, phone, plate, plate_color, alias, manufacturer, model, terminal_id, edition, enabled, origin, added_at, registered_at,
             group_name, channels, details)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET phone = excluded.phone, plate = excluded.plate, plate_color = excluded.plate_color,
            alias = excluded.alias, manufacturer = excluded.manufacturer, model = excluded.model, terminal_id = excluded.terminal_id,
            edition = excluded.edition, enabled = excluded.enabled, origin = excluded.origin, group_name = excluded.group_name,
            channels = excluded.channels, details = excluded.details,
            registered_at = COALESCE(excluded.registered_at, terminals.registered_at)
        """,
        (
            key,
            terminal.phone,
            terminal.plate,
            terminal.plate_color,
            terminal.alias,
            terminal.manufacturer,
            terminal.model,
            terminal.terminal_id,
            terminal.edition,
            int(terminal.enabled),
            terminal.origin,
            now,
            terminal.registered_at,
            terminal.group,
            json.dumps(terminal.channels, ensure_ascii=False),
            json.dumps(terminal.details, ensure_ascii=False),
        ),
    )
    connection.execute("DELETE FROM aliases WHERE key = ?", (key,))
    more = sorted({alias for alias in terminal.aliases if alias and alias != terminal.alias})
    connection.executemany("INSERT INTO aliases (alias, key) VALUES (?, ?)", [(alias, key) for alias in more])
    if code:
        set_auth_code(connection, key, code, now)
    stored = get(connection, key)
    return stored if stored is not None else terminal


def remove(connection: Connection, number: str) -> bool:
    """Forget it; False when it was not known."""
    return connection.execute("DELETE FROM terminals WHERE key = ?", (phone_key(number),)).rowcount > 0


def _hash(salt: bytes, code: str) -> bytes:
    return hashlib.sha256(salt + code.encode("utf-8", "surrogatepass")).digest()


def set_auth_code(connection: Connection, number: str, code: str, now: float) -> bool:
    """Remember the code's hash; an empty code takes the former one away. False when the terminal is not known."""
    salt = secrets.token_bytes(16) if code else None
    hashed = _hash(salt, code) if salt else None
    values = (salt, hashed, now if code else None, phone_key(number))
    cursor = connection.execute("UPDATE terminals SET auth_salt = ?, auth_hash = ?, auth_at = ? WHERE key = ?", values)
    return cursor.rowcount > 0


def verify_auth_code(connection: Connection, number: str, code: str) -> bool:
    """Whether this is the code; a terminal that is unknown, refused or has no code fails like a wrong one, in the same time."""
    row = connection.execute("SELECT auth_salt, auth_hash, enabled FROM terminals WHERE key = ?", (phone_key(number),)).fetchone()
    salt, hashed, enabled = row if row else (None, None, 0)
    right = hmac.compare_digest(_hash(salt or bytes(16), code), hashed or bytes(32))
    return right and hashed is not None and bool(enabled)


def new_auth_code() -> str:
    """A fresh code: 128 random bits in 22 characters, since firmware keeps it in small buffers."""
    return secrets.token_urlsafe(AUTH_CODE_BYTES)


def changes(connection: Connection) -> int:
    """A number that differs after another connection (a command's) has changed the table; what this one does leaves it as it is."""
    if isinstance(connection, PostgresConnection):
        connection.execute("SELECT 1")  # brings what was told meanwhile
        return connection.pid * 1_000_000 + connection.changes  # a new connection may have missed something
    number: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return number


class TerminalStore:
    """The table for the reactor's thread; every method returns a Deferred that may fail with StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: all rows as they were read last, with the connection and its ``changes``; belongs to the store's thread, where everything goes one after the other
        self._read: tuple[Connection, int, list[KnownTerminal]] | None = None

    def _write(self, work: Callable[[Connection], T]) -> Deferred[T]:
        def writing(connection: Connection) -> T:
            self._read = None
            return work(connection)

        return self._database.write(writing)

    def get(self, number: str) -> Deferred[KnownTerminal | None]:
        return self._database.read(lambda connection: get(connection, number))

    def resolve(self, name: str) -> Deferred[KnownTerminal | None]:
        """By number, alias or plate."""
        return self._database.read(lambda connection: resolve(connection, name))

    def list(self, limit: int = NO_LIMIT, offset: int = 0) -> Deferred[list[KnownTerminal]]:
        """All, or a page of them. All of them are kept until somebody changes one: lists ask every second, and ten thousand rows take a while."""

        def work(connection: Connection) -> list[KnownTerminal]:
            if limit != NO_LIMIT or offset:
                return list_all(connection, limit, offset)
            number = changes(connection)
            if self._read is None or self._read[0] is not connection or self._read[1] != number:
                self._read = connection, number, list_all(connection)
            return self._read[2]

        return self._database.read(work)

    def count(self) -> Deferred[int]:
        return self._database.read(count)

    def add(self, terminal: KnownTerminal, now: float, code: str = "") -> Deferred[KnownTerminal]:
        """Fails with StoreConflictError when the number or the alias is taken. ``now`` is UNIX time."""
        return self._write(lambda connection: add(connection, terminal, now, code))

    def upsert(self, terminal: KnownTerminal, now: float, code: str = "") -> Deferred[KnownTerminal]:
        return self._write(lambda connection: upsert(connection, terminal, now, code))

    def remove(self, number: str) -> Deferred[bool]:
        return self._write(lambda connection: remove(connection, number))

    def issue_auth_code(self, number: str, now: float) -> Deferred[str]:
        """Make a code, store its hash, and give the code for 0x8100; ``""`` when the terminal is not known."""
        code = new_auth_code()

        def work(connection: Connection) -> str:
            return code if set_auth_code(connection, number, code, now) else ""

        return self._write(work)

    def set_auth_code(self, number: str, code: str, now: float) -> Deferred[bool]:
        return self._write(lambda connection: set_auth_code(connection, number, code, now))

    def verify_auth_code(self, number: str, code: str) -> Deferred[bool]:
        return self._database.read(lambda connection: verify_auth_code(connection, number, code))

    def registered(self, seen: KnownTerminal, now: float) -> Deferred[KnownTerminal]:
        """Note what a 0x0100 told: what the operator wrote stays, what was empty is filled in; an unknown terminal is added."""

        def work(connection: Connection) -> KnownTerminal:
            known = get(connection, seen.phone)
            row = replace(seen, registered_at=now)
            if known is not None:
                row = replace(
                    known,
                    plate=known.plate or seen.plate,
                    plate_color=seen.plate_color if known.plate_color is None else known.plate_color,
                    manufacturer=known.manufacturer or seen.manufacturer,
                    model=known.model or seen.model,
                    terminal_id=known.terminal_id or seen.terminal_id,
                    edition=seen.edition or known.edition,
                    registered_at=now,
                )
            return upsert(connection, row, now)

        return self._write(work)
