"""A database without a thread, for tests of what stands on it: every job is done at once, or refused when the test says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from relay.store.connection import in_transaction, reading
from relay.store.database import Database, connect
from relay.store.errors import StoreError


class DirectDatabase(Database):
    """``refusing``: what a store that cannot be written says."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}")
        self.connection = connect(path)
        self.refusing = ""
        self.held: list[tuple[Any, Any, Deferred[Any]]] | None = None  #: jobs wait here while it is a list
        self.jobs = 0

    def _submit(self, how: Any, work: Any) -> Deferred[Any]:
        self.jobs += 1
        if self.held is not None:
            waiting: Deferred[Any] = Deferred()
            self.held.append((how, work, waiting))
            return waiting
        if self.refusing:
            return fail(StoreError(self.refusing))
        return succeed(how(self.connection, work))

    def release(self) -> None:
        """Do what waits, and wait no more."""
        held, self.held = self.held or [], None
        for how, work, waiting in held:
            waiting.callback(how(self.connection, work))

    def read(self, work: Any) -> Deferred[Any]:
        return self._submit(reading, work)

    def write(self, work: Any) -> Deferred[Any]:
        return self._submit(in_transaction, work)

    def close(self) -> None:
        self.connection.close()
