"""The store as the rest of the program sees it: ``store.terminals`` and ``store.users`` over one Database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred

from relay.store.database import Database
from relay.store.schema import version
from relay.store.terminals import TerminalStore
from relay.store.users import UserStore


class Store:
    """Everything that is kept. ``start`` and ``stop`` it; all other methods answer with Deferreds."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.terminals = TerminalStore(self.database)
        self.users = UserStore(self.database)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.database.path

    def start(self, call_in_reactor: Callable[..., object]) -> None:
        """Open, make and migrate the file; raises StoreError. ``call_in_reactor`` is the reactor's ``callFromThread``."""
        self.database.start(call_in_reactor)

    def stop(self) -> Deferred[None]:
        """Fires when what was asked for is written and the file is closed."""
        return self.database.stop()

    def check(self) -> Deferred[None]:
        """Write something that changes nothing; fails with StoreError when the file cannot be written."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(f"PRAGMA user_version = {version(connection)}")

        return self.database.write(work)

    def changes(self) -> Deferred[int]:
        """A number that differs after another process (a command) has written: cheap enough to ask every few seconds."""

        def work(connection: sqlite3.Connection) -> int:
            number: int = connection.execute("PRAGMA data_version").fetchone()[0]
            return number

        return self.database.read(work)
