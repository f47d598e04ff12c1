"""Users and their roles. Passwords are hashed with scrypt (RFC 7914), its parameters beside each hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

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


def _hash(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def get(connection: Connection, name: str) -> User | None:
    """The user of this name."""
    row = connection.execute("SELECT name, role, enabled, added_at FROM users WHERE name = ?", (name,)).fetchone()
    return User(row[0], row[1], bool(row[2]), row[3]) if row else None


def list_all(connection: Connection) -> list[User]:
    """All of them, by name."""
    rows = connection.execute("SELECT name, role, enabled, added_at FROM users ORDER BY name")
    return [User(row[0], row[1], bool(row[2]), row[3]) for row in rows]


def add(connection: Connection, name: str, role: str, password: str, now: float) -> User:
    """Insert; StoreConflictError when the name is taken."""
    if get(connection, name) is not None:
        raise StoreConflictError(f"user {name} exists already")
    salt = secrets.token_bytes(16)
    hashed = _hash(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    connection.execute(
        "INSERT INTO users (name, role, salt, hash, n, r, p, added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (name, role, salt, hashed, SCRYPT_N, SCRYPT_R, SCRYPT_P, now),
    )
    return User(name, role, True, now)


def remove(connection: Connection, name: str) -> bool:
    """Forget the user; False when there was none."""
    return connection.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount > 0


def set_password(connection: Connection, name: str, password: str) -> bool:
    """Change the password; False when there is no such user."""
    salt = secrets.token_bytes(16)
    hashed = _hash(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    values = (salt, hashed, SCRYPT_N, SCRYPT_R, SCRYPT_P, name)
    cursor = connection.execute("UPDATE users SET salt = ?, hash = ?, n = ?, r = ?, p = ? WHERE name = ?", values)
    return cursor.rowcount > 0


def check_password(connection: Connection, name: str, password: str) -> User | None:
    """The user when name and password are right; an unknown name takes as long as a wrong password."""
    row = connection.execute("SELECT salt, hash, n, r, p, enabled FROM users WHERE name = ?", (name,)).fetchone()
    salt, hashed, n, r, p, enabled = row if row else (bytes(16), bytes(32), SCRYPT_N, SCRYPT_R, SCRYPT_P, 0)
    right = hmac.compare_digest(_hash(password, salt, n, r, p), hashed)
    return get(connection, name) if row and right and enabled else None


class UserStore:
    """The table for the reactor's thread; every method returns a Deferred that may fail with StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Deferred[User | None]:
        return self._database.read(lambda connection: get(connection, name))

    def list(self) -> Deferred[list[User]]:
        return self._database.read(list_all)

    def add(self, name: str, role: str, password: str, now: float) -> Deferred[User]:
        """Fails with StoreConflictError when the name is taken. ``now`` is UNIX time."""
        return self._database.write(lambda connection: add(connection, name, role, password, now))

    def remove(self, name: str) -> Deferred[bool]:
        return self._database.write(lambda connection: remove(connection, name))

    def set_password(self, name: str, password: str) -> Deferred[bool]:
        return self._database.write(lambda connection: set_password(connection, name, password))

    def check_password(self, name: str, password: str) -> Deferred[User | None]:
        return self._database.read(lambda connection: check_password(connection, name, password))
