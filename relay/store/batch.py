"""Rows that come one by one and are written many at a time: positions, the audit, traffic.

    add(row) ── pending ──► at ROWS rows, or DELAY_S after the first: one transaction ──► written
                  │            ▲ failed: the same rows again, RETRY_S apart, growing
                  └─ full: the oldest is dropped, counted in ``lost``

One write is under way at a time, so that order is kept and a store that stands still holds ``pending_max`` rows here and no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.store.connection import Connection
from relay.store.database import Database
from relay.store.errors import StoreError

log = Logger()

Row = TypeVar("Row")

ROWS = 500  #: of one transaction: beyond it nothing is gained, and others wait for the thread
DELAY_S = 0.2  #: what a crash may cost
RETRY_S = 1.0
RETRY_MAX_S = 30.0
PENDING_MAX = 100_000  #: rows; a hundred seconds of a thousand positions a second, some 50 MB


class Call(Protocol):
    """A call that is scheduled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What schedules calls."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> Call: ...


class Batch(Generic[Row]):
    """One kind of rows. ``write(connection, rows)`` runs in the store's thread, in a transaction."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        name: str,
        write: Callable[[Connection, list[Row]], None],
        pending_max: int = PENDING_MAX,
        written: Callable[[list[Row]], None] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self.name = name  #: for the log: "positions"
        self._write = write
        self._written = written
        self.pending_max = pending_max
        self._pending: deque[Row] = deque()
        self._under_way: list[Row] = []
        self._call: Call | None = None
        self._retry_s = RETRY_S
        self._failing = False
        self._idle: list[Deferred[None]] = []
        self._then: deque[tuple[int, Callable[[], None]]] = deque()  #: (``stored + lost`` once the row is gone from here, what to call)
        self.stored = 0  #: rows in the store
        self.lost = 0  #: rows dropped since the store did not take them

    @property
    def pending(self) -> int:
        """Rows that are not in the store yet."""
        return len(self._pending) + len(self._under_way)

    def add(self, row: Row) -> None:
        """To be written soon."""
        if len(self._pending) >= self.pending_max:
            self._pending.popleft()
            self._lose(1)
        self._pending.append(row)
        if self._under_way:
            return
        if len(self._pending) >= ROWS and not self._failing:
            self._go()
        elif self._call is None:
            self._call = self._clock.callLater(DELAY_S, self._due)

    def then(self, call: Callable[[], None]) -> None:
        """Call it once the row that was added last is in the store; never, when it is lost."""
        if self.pending:
            self._then.append((self.stored + self.lost + self.pending, call))
        else:
            call()

    def _lose(self, count: int) -> None:
        """So many of the oldest rows are gone without being stored."""
        self.lost += count
        while self._then and self._then[0][0] <= self.stored + self.lost:
            self._then.popleft()

    def flush(self) -> Deferred[None]:
        """Write what is pending now; fires when all of it is in the store, or the store refused once."""
        if not self.pending:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        if not self._under_way:
            self._go()
        return done

    def stop(self) -> Deferred[None]:
        """Write what is pending; what the store does not take now is lost, and said so."""

        def over(_: None) -> None:
            if self._call is not None:
                self._call.cancel()
                self._call = None
            if self._pending:
                log.error("{count} {name} could not be stored", count=len(self._pending), name=self.name)
                self._lose(len(self._pending))
                self._pending.clear()

        return self.flush().addCallback(over)

    def _due(self) -> None:
        self._call = None
        self._go()

    def _go(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._under_way or not self._pending:
            return
        rows = self._under_way = list(islice(self._pending, ROWS))
        for _ in rows:
            self._pending.popleft()
        self._database.write(lambda connection: self._write(connection, rows)).addCallbacks(self._done, self._refused)

    def _done(self, _: None) -> None:
        rows, self._under_way = self._under_way, []
        self.stored += len(rows)
        self._retry_s = RETRY_S
        if self._failing:
            self._failing = False
            log.info("{name} are stored again, {count} wait", name=self.name, count=len(self._pending))
        if self._written is not None:
            self._written(rows)
        while self._then and self._then[0][0] <= self.stored + self.lost:
            self._then.popleft()[1]()
        if self._pending and (self._idle or len(self._pending) >= ROWS):
            self._go()
        elif self._pending:
            self._call = self._clock.callLater(DELAY_S, self._due)
        else:
            self._tell()

    def _refused(self, failure: Failure) -> None:
        rows, self._under_way = self._under_way, []
        room = max(0, self.pending_max - len(self._pending))
        self._lose(max(0, len(rows) - room))
        self._pending.extendleft(reversed(rows[len(rows) - room :] if room < len(rows) else rows))
        if not isinstance(failure.value, StoreError):
            log.failure("storing {name} failed", failure=failure, name=self.name)  # a fault of ours; the rows are tried again all the same
        elif not self._failing:
            log.error("{name} cannot be stored, they wait: {problem}", name=self.name, problem=str(failure.value))
        self._failing = True
        self._call = self._clock.callLater(self._retry_s, self._due)
        self._retry_s = min(RETRY_MAX_S, self._retry_s * 2)
        self._tell()

    def _tell(self) -> None:
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.callback(None)
