"""The store as the rest of the program sees it: one object a table over one Database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred

from relay.store.alarm_files import AlarmFileStore
from relay.store.alarms import AlarmStore
from relay.store.audit import AuditStore
from relay.store.connection import Connection
from relay.store.database import Database
from relay.store.multimedia import MultimediaStore
from relay.store.person_requests import PersonRequestStore
from relay.store.positions import PositionStore
from relay.store.postgres import is_postgres
from relay.store.quirks import QuirkStore
from relay.store.schema import version
from relay.store.sqlite import path_of, url_of
from relay.store.terminals import TerminalStore, changes
from relay.store.traffic import TrafficStore
from relay.store.uploads import UploadStore
from relay.store.users import UserStore
from relay.store.videos import VideoStore


class Store:
    """Everything that is kept. ``start`` and ``stop`` it; all other methods answer with Deferreds."""

    def __init__(self, url: str | Path, password: str = "") -> None:
        self.database = Database(url_of(url) if isinstance(url, Path) else url, password)
        self.terminals = TerminalStore(self.database)
        self.users = UserStore(self.database)
        self.audit = AuditStore(self.database)
        self.positions = PositionStore(self.database)
        self.videos = VideoStore(self.database)
        self.alarms = AlarmStore(self.database)
        self.traffic = TrafficStore(self.database)
        self.uploads = UploadStore(self.database)
        self.quirks = QuirkStore(self.database)
        self.person_requests = PersonRequestStore(self.database)
        self.multimedia = MultimediaStore(self.database)
        self.alarm_files = AlarmFileStore(self.database)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return path_of(self.database.url)

    def start(self, call_in_reactor: Callable[..., object]) -> None:
        """Open, make and migrate the store; raises StoreError. ``call_in_reactor`` is the reactor's ``callFromThread``."""
        self.database.start(call_in_reactor)

    def stop(self) -> Deferred[None]:
        """Fires when what was asked for is written and the store is closed."""
        return self.database.stop()

    def check(self) -> Deferred[None]:
        """Write something that changes nothing; fails with StoreError when the store cannot be written."""
        statement = "UPDATE schema_version SET number = number" if is_postgres(self.database.url) else ""

        def work(connection: Connection) -> None:
            connection.execute(statement or f"PRAGMA user_version = {version(connection)}")

        return self.database.write(work)

    def changes(self) -> Deferred[int]:
        """A number that differs after another process (a command) has changed the known terminals: cheap enough to ask every few seconds."""

        return self.database.read(changes)
