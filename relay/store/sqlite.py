"""SQLite: the file, how it is opened, its copy while it is in use."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event

from relay.errors import ConfigError
from relay.store.errors import StoreError
from relay.store.schema import migrate

PREFIX = "sqlite:///"
LOCK_POLL_S = 0.02


class SqliteConnection(sqlite3.Connection):
    """One connection to the file."""

    dialect = "sqlite"
    begin = "BEGIN IMMEDIATE"


def path_of(url: str) -> Path:
    """``sqlite:///relative`` and ``sqlite:////absolute`` as a path."""
    if not url.startswith(PREFIX) or url.endswith("/") or "?" in url:
        raise ConfigError("store.url", 'must be "sqlite:///relative/path", "sqlite:////absolute/path" or "postgresql://user@host/database"')
    return Path(url.removeprefix(PREFIX))


def url_of(path: Path) -> str:
    """The other way."""
    return f"{PREFIX}{path}"


def connect(path: Path, busy_s: float, bring: Callable[[SqliteConnection], object] = migrate) -> SqliteConnection:
    """Open (and make, and migrate with ``bring``) the file; directories and file are readable by their owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, factory=SqliteConnection)
    except OSError as problem:
        raise StoreError(f"the store {path} cannot be opened: {problem.strerror}") from None
    except sqlite3.Error as problem:
        raise StoreError(f"the store {path} cannot be opened: {problem}") from None
    try:
        # WAL: readers and one writer at once. NORMAL: a power cut may lose the last commits, never the file.
        _write_ahead(connection, busy_s)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        bring(connection)
    except sqlite3.Error as problem:
        connection.close()
        raise StoreError(f"the store {path} cannot be used: {problem}") from None
    except StoreError as problem:
        connection.close()
        raise StoreError(f"{path}: {problem}") from None
    return connection


def _write_ahead(connection: sqlite3.Connection, busy_s: float) -> None:
    """Change to write-ahead logging. The only statement that does not wait for a lock by itself, and two may open a new store at once."""
    tries = max(1, int(busy_s / LOCK_POLL_S))
    for left in reversed(range(tries)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as problem:
            if not left or "locked" not in str(problem):
                raise
            Event().wait(LOCK_POLL_S)


def backup(source: Path, target: Path, busy_s: float) -> int:
    """Copy the store as it stands at this moment while others read and write it; gives the copy's size in bytes.

    One step over a snapshot of the write-ahead log: writers go on meanwhile. (In many small steps the copy would begin anew at every write,
    and with a thousand positions a second never end.) The copy is checked, and appears under its name only when it is whole.
    """
    if not source.exists():
        raise StoreError(f"there is no store at {source}")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # 0600
        os.close(descriptor)
    except OSError as problem:
        raise StoreError(f"{target} cannot be written: {problem.strerror}") from None
    fresh = Path(name)
    try:
        original = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=busy_s)
        copy = sqlite3.connect(fresh, isolation_level=None)
        try:
            original.backup(copy)
            found = copy.execute("PRAGMA quick_check").fetchone()[0]
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
        finally:
            copy.close()
            original.close()
        if found != "ok":
            raise StoreError(f"the copy of {source} is damaged, as the store itself may be: {found}")
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(target)
    except sqlite3.Error as problem:
        raise StoreError(f"{source} cannot be copied to {target}: {problem}") from None
    except OSError as problem:
        raise StoreError(f"{target} cannot be written: {problem.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return target.stat().st_size
