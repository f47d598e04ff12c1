"""The database and the one thread that uses it.

    reactor thread                         store thread
    submit(work) ── bounded queue ──►  work(connection) in a transaction
    Deferred     ◄── call_in_reactor ──  result or StoreError

A database blocks (a checkpoint, another process' lock, a slow disk, a server that is being restarted), therefore nothing of it runs in the
reactor's thread. One thread with one connection means that writes queue up here instead of fighting over the file's lock. Other processes
(``jt1078relay terminal add``) write the same store: write-ahead log and a busy time-out make that work, and since everything is read through,
what they write is seen. A connection that was lost is made anew for the next job.

The reactor is not named here: ``start(call_in_reactor)`` takes its ``callFromThread``.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from relay.errors import RelayError
from relay.store import postgres, sqlite
from relay.store.connection import Connection, T, Work, in_transaction, reading
from relay.store.errors import StoreError
from relay.store.schema import migrate

How = Callable[[Connection, Work[Any]], Any]

QUEUE_MAX = 20000  #: as many as terminals may register at once after a restart (limits.terminals_max); beyond it the disk has stalled
BUSY_S = 30.0  #: how long the thread waits for another process' write lock; nothing but the queue grows meanwhile
COMMAND_BUSY_S = 10.0  #: the same for a command, where somebody waits at the prompt


def connect(url: str | Path, password: str = "", busy_s: float = COMMAND_BUSY_S, upto: int | None = None) -> Connection:
    """Open (and make, and migrate) the store that a URL names; a path is an SQLite file. Raises StoreError, ConfigError.

    ``upto`` = 0 only looks whether this version knows the store's schema.
    """
    if not isinstance(url, Path) and postgres.is_postgres(url):
        return postgres.connect(url, password, busy_s, upto)
    return sqlite.connect(url if isinstance(url, Path) else sqlite.path_of(url), busy_s, partial(migrate, upto=upto))


class Database:
    """The thread, its queue, and the way back into the reactor."""

    def __init__(self, url: str, password: str = "", opened: Callable[[], Connection] | None = None, name: str = "store") -> None:
        """``opened`` makes a connection, where it is not the store of that URL with its tables."""
        self.url = url
        self._password = password
        self._opened = opened
        self._name = name
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
        """Open the store (in this thread, so that a fault is an exception here) and start the thread."""
        self._connect().close()
        self._call_in_reactor = call_in_reactor
        self._closed = Deferred()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _connect(self) -> Connection:
        if self._opened is not None:
            return self._opened()
        connection = connect(self.url, self._password, BUSY_S)
        if isinstance(connection, postgres.PostgresConnection):
            connection.listen()
        return connection

    def stop(self) -> Deferred[None]:
        """Finish what is queued, close the store, and fire."""
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
        connection: Connection | None = None
        while (job := self._jobs.get()) is not None:
            how, work, done = job
            try:
                if connection is None:
                    connection = self._connect()
                result: Any = how(connection, work)
                ok = True
            except RelayError as problem:
                result, ok = problem, False
            except Exception as problem:
                # a bug in ``work``: the thread must live on, and the caller's Deferred carries it to where it is logged
                result, ok = problem, False
            if isinstance(connection, postgres.PostgresConnection) and connection.lost:
                connection = None
            call_in_reactor(self._finish, done, ok, result)
        if connection is not None:
            connection.close()
        call_in_reactor(closed.callback, None)
