"""Users and their roles, the API tokens that were given out, and the ids of tokens and sessions that were taken back.

Passwords are hashed with scrypt (RFC 7914), its parameters beside each hash. Of a token nothing is kept that would open anything.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import Deferred

from relay.store.connection import Connection
from relay.store.database import Database
from relay.store.errors import StoreConflictError

ROLES = ("viewer", "operator", "admin")  #: each may what the one before may

#: about 60 ms and 16 MiB: slow enough for guessing, quick enough for logging in; done in the store's thread or a command
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1


@dataclass(frozen=True, slots=True)
class User:
    """One row, without what belongs to the password."""

    name: str
    role: str
    enabled: bool = True
    added_at: float = 0.0  #: UNIX time
    groups: tuple[str, ...] = ()  #: of terminals; none: all terminals
    valid_from: float = 0.0  #: UNIX time; sessions that began before are over


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An API token that was given out."""

    id: str
    name: str  #: what it is for
    role: str
    groups: tuple[str, ...]
    made_by: str  #: the user; "" = somebody who came with a token
    made_at: float  #: UNIX time
    expires: float  #: UNIX time

KEPT_S = 86400.0  #: rows of what has ended by itself are kept so long: clocks differ

Users = list["User"]  #: ``list`` is a method's name below
Tokens = list["IssuedToken"]


def _hash(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def _user(row: Any) -> User:
    return User(row[0], row[1], bool(row[2]), row[3], _split(row[4]), row[5])


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()


def get(connection: Connection, name: str) -> User | None:
    """The user of this name."""
    row = connection.execute("SELECT name, role, enabled, added_at, group_names, valid_from FROM users WHERE name = ?", (name,)).fetchone()
    return _user(row) if row else None


def list_all(connection: Connection) -> list[User]:
    """All of them, by name."""
    rows = connection.execute("SELECT name, role, enabled, added_at, group_names, valid_from FROM users ORDER BY name")
    return [_user(row) for row in rows]


def add(connection: Connection, name: str, role: str, password: str, now: float, groups: tuple[str, ...] = ()) -> User:
    """Insert; StoreConflictError when the name is taken."""
    if get(connection, name) is not None:
        raise StoreConflictError(f"user {name} exists already")
    salt = secrets.token_bytes(16)
    hashed = _hash(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    connection.execute(
        "INSERT INTO users (name, role, salt, hash, n, r, p, added_at, group_names) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (name, role, salt, hashed, SCRYPT_N, SCRYPT_R, SCRYPT_P, now, "\n".join(groups)),
    )
    return User(name, role, True, now, groups)


def change(
    connection: Connection, name: str, now: float, role: str | None = None, enabled: bool | None = None, groups: tuple[str, ...] | None = None
) -> User | None:
    """Change what is given, and end the user's sessions; None when there is no such user."""
    user = get(connection, name)
    if user is None:
        return None
    fresh = replace(
        user, role=role or user.role, enabled=user.enabled if enabled is None else enabled, groups=user.groups if groups is None else groups,
        valid_from=now,
    )  # fmt: skip
    values = (fresh.role, int(fresh.enabled), "\n".join(fresh.groups), now, name)
    connection.execute("UPDATE users SET role = ?, enabled = ?, group_names = ?, valid_from = ? WHERE name = ?", values)
    return fresh


def remove(connection: Connection, name: str) -> bool:
    """Forget the user; False when there was none."""
    return connection.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount > 0


def set_password(connection: Connection, name: str, password: str, now: float = 0.0) -> bool:
    """Change the password and end the sessions that began before ``now``; False when there is no such user."""
    salt = secrets.token_bytes(16)
    hashed = _hash(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    values = (salt, hashed, SCRYPT_N, SCRYPT_R, SCRYPT_P, now, name)
    cursor = connection.execute("UPDATE users SET salt = ?, hash = ?, n = ?, r = ?, p = ?, valid_from = ? WHERE name = ?", values)
    return cursor.rowcount > 0


def check_password(connection: Connection, name: str, password: str) -> User | None:
    """The user when name and password are right; an unknown name takes as long as a wrong password."""
    row = connection.execute("SELECT salt, hash, n, r, p, enabled FROM users WHERE name = ?", (name,)).fetchone()
    salt, hashed, n, r, p, enabled = row if row else (bytes(16), bytes(32), SCRYPT_N, SCRYPT_R, SCRYPT_P, 0)
    right = hmac.compare_digest(_hash(password, salt, n, r, p), hashed)
    return get(connection, name) if row and right and enabled else None


def tokens(connection: Connection) -> list[IssuedToken]:
    """All that were given out and are not forgotten."""
    rows = connection.execute("SELECT id, name, role, group_names, made_by, made_at, expires FROM tokens")
    return [IssuedToken(row[0], row[1], row[2], _split(row[3]), row[4], row[5], row[6]) for row in rows]


def issue(connection: Connection, token: IssuedToken) -> None:
    """Remember a token; those that have expired are forgotten."""
    connection.execute("DELETE FROM tokens WHERE expires < ?", (token.made_at - KEPT_S,))
    connection.execute(
        "INSERT INTO tokens (id, name, role, group_names, made_by, made_at, expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (token.id, token.name, token.role, "\n".join(token.groups), token.made_by, token.made_at, token.expires),
    )


def revoked(connection: Connection) -> dict[str, float]:
    """Ids of tokens and sessions that were taken back, with the time at which they would have ended by themselves."""
    return {row[0]: row[1] for row in connection.execute("SELECT id, until FROM revoked")}


def revoke(connection: Connection, ident: str, until: float, now: float) -> None:
    """Take one back; what has ended by itself since is forgotten."""
    connection.execute("DELETE FROM revoked WHERE until < ?", (now - KEPT_S,))
    connection.execute("INSERT INTO revoked (id, until) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (ident, until))


class UserStore:
    """The table for the reactor's thread; every method returns a Deferred that may fail with StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Deferred[User | None]:
        return self._database.read(lambda connection: get(connection, name))

    def list(self) -> Deferred[Users]:
        return self._database.read(list_all)

    def add(self, name: str, role: str, password: str, now: float, groups: tuple[str, ...] = ()) -> Deferred[User]:
        """Fails with StoreConflictError when the name is taken. ``now`` is UNIX time."""
        return self._database.write(lambda connection: add(connection, name, role, password, now, groups))

    def change(
        self, name: str, now: float, role: str | None = None, enabled: bool | None = None, groups: tuple[str, ...] | None = None
    ) -> Deferred[User | None]:
        """Fires with None when there is no such user."""
        return self._database.write(lambda connection: change(connection, name, now, role, enabled, groups))

    def remove(self, name: str) -> Deferred[bool]:
        return self._database.write(lambda connection: remove(connection, name))

    def set_password(self, name: str, password: str, now: float = 0.0) -> Deferred[bool]:
        return self._database.write(lambda connection: set_password(connection, name, password, now))

    def check_password(self, name: str, password: str) -> Deferred[User | None]:
        return self._database.read(lambda connection: check_password(connection, name, password))

    def tokens(self) -> Deferred[Tokens]:
        return self._database.read(tokens)

    def issue(self, token: IssuedToken) -> Deferred[None]:
        return self._database.write(lambda connection: issue(connection, token))

    def revoked(self) -> Deferred[dict[str, float]]:
        return self._database.read(revoked)

    def revoke(self, ident: str, until: float, now: float) -> Deferred[None]:
        return self._database.write(lambda connection: revoke(connection, ident, until, now))
