"""The SQLite file: where it is, how it is opened, and the one thread that uses it.

    reactor thread                         store thread
    submit(work) ── bounded queue ──►  work(connection) in a transaction
    Deferred     ◄── call_in_reactor ──  result or StoreError

SQLite blocks (a checkpoint, another process' lock, a slow disk), therefore nothing of it runs in the reactor's thread. One thread with
one connection means that writes queue up here instead of fighting over the file's lock. Other processes (``jt1078relay terminal add``)
write the same file: write-ahead log and a busy time-out make that work, and since everything is read through, what they write is seen.

The reactor is not named here: ``start(call_in_reactor)`` takes its ``callFromThread``.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed

from relay.errors import ConfigError, RelayError
from relay.store.errors import StoreError
from relay.store.schema import migrate

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
How = Callable[[sqlite3.Connection, Work[Any]], Any]

QUEUE_MAX = 20000  #: as many as terminals may register at once after a restart (limits.terminals_max); beyond it the disk has stalled
BUSY_S = 30.0  #: how long the thread waits for another process' write lock; nothing but the queue grows meanwhile
COMMAND_BUSY_S = 10.0  #: the same for a command, where somebody waits at the prompt


def path_of(url: str) -> Path:
    """``sqlite:///relative`` and ``sqlite:////absolute`` as a path."""
    if not url.startswith("sqlite:///") or url.endswith("/") or "?" in url:
        raise ConfigError("store.url", 'must be "sqlite:///relative/path" or "sqlite:////absolute/path"')
    return Path(url.removeprefix("sqlite:///"))


def url_of(path: Path) -> str:
    """The other way."""
    return f"sqlite:///{path}"


def connect(path: Path, busy_s: float = COMMAND_BUSY_S) -> sqlite3.Connection:
    """Open (and make, and migrate) the file; directories and file are readable by their owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None)
    except OSError as problem:
        raise StoreError(f"the store {path} cannot be opened: {problem.strerror}") from None
    except sqlite3.Error as problem:
        raise StoreError(f"the store {path} cannot be opened: {problem}") from None
    try:
        # WAL: readers and one writer at once. NORMAL: a power cut may lose the last commits, never the file.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
    except sqlite3.Error as problem:
        connection.close()
        raise StoreError(f"the store {path} cannot be used: {problem}") from None
    except StoreError as problem:
        connection.close()
        raise StoreError(f"{path}: {problem}") from None
    return connection


def in_transaction(connection: sqlite3.Connection, work: Work[T]) -> T:
    """Run ``work`` all or nothing; what SQLite refuses becomes StoreError."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    except sqlite3.Error as problem:
        if connection.in_transaction:  # the COMMIT itself failed: disk full
            connection.execute("ROLLBACK")
        raise StoreError(f"the store refused: {problem}") from problem
    return result


def reading(connection: sqlite3.Connection, work: Work[T]) -> T:
    """Run a ``work`` that only reads, without taking the writers' lock."""
    try:
        return work(connection)
    except sqlite3.Error as problem:
        raise StoreError(f"the store cannot be read: {problem}") from problem


class Database:
    """The thread, its queue, and the way back into the reactor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.queue_max = QUEUE_MAX
        self._jobs: queue.SimpleQueue[tuple[How, Work[Any], Deferred[Any]] | None] = queue.SimpleQueue()
        self._waiting = 0  # jobs that have not answered; touched in the reactor's thread only
        self._call_in_reactor: Callable[..., object] | None = None
        self._thread: threading.Thread | None = None
        self._closed: Deferred[None] | None = None

    @property
    def waiting(self) -> int:
        """How many jobs are queued or being worked on: for ``/readyz`` and metrics."""
        return self._waiting

    def start(self, call_in_reactor: Callable[..., object]) -> None:
        """Open the file (in this thread, so that a fault is an exception here) and start the thread."""
        connect(self.path, BUSY_S).close()
        self._call_in_reactor = call_in_reactor
        self._closed = Deferred()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def stop(self) -> Deferred[None]:
        """Finish what is queued, close the file, and fire."""
        if self._closed is None:
            return succeed(None)
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)

            def ended(result: None) -> None:
                thread.join()  # it has said its last word and ends now
                return result

            self._closed.addCallback(ended)
        done: Deferred[None] = Deferred()

        def both(result: None) -> None:
            done.callback(None)
            return result

        self._closed.addCallback(both)
        return done

    def write(self, work: Work[T]) -> Deferred[T]:
        """Run ``work`` in a transaction; fires with its result, or fails with StoreError or what it raised."""
        return self._submit(in_transaction, work)

    def read(self, work: Work[T]) -> Deferred[T]:
        """Run a ``work`` that only reads."""
        return self._submit(reading, work)

    def _submit(self, how: How, work: Work[T]) -> Deferred[T]:
        if self._thread is None:
            return fail(StoreError("the store is closed"))
        if self._waiting >= self.queue_max:
            return fail(StoreError(f"the store does not keep up: {self._waiting} operations wait"))
        self._waiting += 1
        done: Deferred[T] = Deferred()
        self._jobs.put((how, work, done))
        return done

    def _finish(self, done: Deferred[Any], ok: bool, result: Any) -> None:
        self._waiting -= 1
        if ok:
            done.callback(result)
        else:
            done.errback(result)

    def _run(self) -> None:
        call_in_reactor, closed = self._call_in_reactor, self._closed
        if call_in_reactor is None or closed is None:
            return
        connection: sqlite3.Connection | None = None
        while (job := self._jobs.get()) is not None:
            how, work, done = job
            try:
                if connection is None:
                    connection = connect(self.path, BUSY_S)
                result: Any = how(connection, work)
                ok = True
            except RelayError as problem:
                result, ok = problem, False
            except Exception as problem:
                # a bug in ``work``: the thread must live on, and the caller's Deferred carries it to where it is logged
                result, ok = problem, False
            call_in_reactor(self._finish, done, ok, result)
        if connection is not None:
            connection.close()
        call_in_reactor(closed.callback, None)
