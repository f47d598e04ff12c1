"""What waits for one superior: positions and alarms that could not be sent, in order, on disk, bounded.

    add ──► rows of this second ──flush──► SuperiorStore ──load──► batches ready to go ──next──► link
                                              ▲                                                    │
                                              └──────────── delete ◄── delivered(ids) ◄────────────┘
                                                                   └── returned(ids): the link was lost first, they are read again

A batch is up to five positions of one vehicle in the order of their times (0x1203), or one other message. Nothing is taken off the disk before the
superior's side has it, so that a crash costs what half a second brought, and a lost link costs nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.positions import time_of
from relay.store.errors import StoreError
from relay.store.superiors import SuperiorStore, Waiting

log = Logger()

POSITION = 0x1202
PER_MESSAGE = 5  #: 卫星定位数据个数: 1 to 5
LOAD_ROWS = 10_000  #: read at a time: two seconds of the highest rate, some 4 MB
READY_LOW = 1_000  #: positions ready to go below which more are read
ROWS_IN_MEMORY = 50_000  #: ten seconds of the highest rate while the disk stalls; beyond it the oldest are dropped and counted
WRITES_AT_ONCE = 4  #: transactions that may wait for the disk
TRIM_EVERY_S = 30.0
LOG_EVERY_S = 60.0


class Batch(NamedTuple):
    """What goes up in one message."""

    ids: tuple[int, ...]
    kind: int
    head: bytes
    datas: tuple[bytes, ...]


def batches(rows: list[Waiting]) -> list[Batch]:
    """Rows as messages: what is no position first, then vehicle after vehicle, five positions each in the order of their times."""
    found: list[Batch] = []
    by_vehicle: dict[bytes, list[Waiting]] = {}
    for row in rows:
        if row.kind == POSITION:
            by_vehicle.setdefault(row.head, []).append(row)
        else:
            found.append(Batch((row.id,), row.kind, row.head, (row.data,)))
    for head, waiting in by_vehicle.items():
        waiting.sort(key=lambda row: time_of(row.data))
        for at in range(0, len(waiting), PER_MESSAGE):
            part = waiting[at : at + PER_MESSAGE]
            found.append(Batch(tuple(row.id for row in part), POSITION, head, tuple(row.data for row in part)))
    return found


class Outbox:
    """One superior's. ``wall``: UNIX seconds."""

    def __init__(self, name: str, store: SuperiorStore, wall: Callable[[], float], most: int, age_s: float) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()  #: "queued", "sent", "dropped: age", "dropped: full", "dropped: store"
        self.waiting = 0  #: rows that wait or are under way, on disk and in memory
        self.losses: deque[tuple[float, int]] = deque(maxlen=1000)  #: (UNIX time, rows dropped)
        self._store = store
        self._wall = wall
        self._most = most
        self._age_s = age_s
        self._next_id = 1
        self._rows: list[Waiting] = []
        self._delete: list[int] = []
        self._writing = 0
        self._cursor = 0
        self._ready: deque[Batch] = deque()
        self._ready_rows = 0
        self._out: set[int] = set()  #: rows that are under way
        self._loading = False
        self._generation = 0
        self._trim_at = 0.0
        self._logged_at = float("-inf")
        self._open = False

    def limit(self, most: int, age_s: float) -> None:
        """Other bounds from now on."""
        self._most, self._age_s = most, age_s

    def begin(self, rows: int, last_id: int) -> None:
        """What the disk holds is known."""
        self.waiting += rows
        before = last_id
        self._rows = [row._replace(id=before + at) for at, row in enumerate(self._rows, 1)]
        self._next_id = before + len(self._rows) + 1
        self._open = True

    # ---- in -------------------------------------------------------------------------------------------------------------

    def add(self, kind: int, head: bytes, data: bytes) -> None:
        """Keep it until it can be sent."""
        self._rows.append(Waiting(self._next_id, int(self._wall()), kind, head, data))
        self._next_id += 1
        self.waiting += 1
        self.counts["queued"] += 1
        if len(self._rows) > ROWS_IN_MEMORY:
            del self._rows[0]
            self._drop("store", 1)

    def _drop(self, why: str, count: int) -> None:
        if not count:
            return
        self.counts[f"dropped: {why}"] += count
        self.waiting = max(0, self.waiting - count)
        self.losses.append((self._wall(), count))

    # ---- out ------------------------------------------------------------------------------------------------------------

    def next(self) -> Batch | None:
        """What is to be sent next, if it is at hand."""
        if not self._ready:
            return None
        batch = self._ready.popleft()
        self._ready_rows -= len(batch.ids)
        self._out.update(batch.ids)
        return batch

    def delivered(self, ids: Iterable[int]) -> None:
        """The superior's side has these."""
        before = len(self._delete)
        self._delete.extend(ids)
        self._out.difference_update(self._delete[before:])
        count = len(self._delete) - before
        self.waiting = max(0, self.waiting - count)
        self.counts["sent"] += count

    def returned(self, ids: list[int]) -> None:
        """A link was lost: these, and what was ready, are read again."""
        self._out.difference_update(ids)
        first = min(ids, default=None)
        if self._ready:
            ready = min(batch.ids[0] for batch in self._ready)
            first = ready if first is None else min(first, ready)
        self._ready.clear()
        self._ready_rows = 0
        self._generation += 1
        if first is not None:
            self._cursor = min(self._cursor, first - 1)

    # ---- the disk -------------------------------------------------------------------------------------------------------

    def tick(self, now: float, sending: bool) -> None:
        """Write what came, drop what is too old, read on while somebody is ``sending``."""
        self.flush()
        if now >= self._trim_at and self._open:
            self._trim_at = now + TRIM_EVERY_S
            self._store.trim(self.name, int(self._wall() - self._age_s), self._most).addCallbacks(self._trimmed, self._failed)
        if sending and not self._loading and self._ready_rows < READY_LOW and self._open and self.waiting > len(self._rows):
            self._load(now)

    def _trimmed(self, dropped: tuple[int, int, int]) -> None:
        aged, over, left = dropped
        self._drop("age", aged)
        self._drop("full", over)
        if aged or over:
            self.waiting = left + len(self._rows)  # some of them may have been under way
        if aged or over:
            text = "superior {name}: dropped {aged} positions older than queue_age_s and {over} beyond queue_max"
            log.warn(text, name=self.name, aged=aged, over=over)

    def flush(self) -> Deferred[None]:
        """Write what is in memory; fires when it is on disk, or has failed (then it is still in memory)."""
        if not self._open or not (self._rows or self._delete) or self._writing >= WRITES_AT_ONCE:
            return succeed(None)
        rows, self._rows = self._rows, []
        delete, self._delete = self._delete, []
        self._writing += 1

        def done(_: None) -> None:
            self._writing -= 1

        def failed(failure: Failure) -> None:
            self._writing -= 1
            self._rows[:0] = rows
            self._delete[:0] = delete
            over = len(self._rows) - ROWS_IN_MEMORY
            if over > 0:
                del self._rows[:over]
                self._drop("store", over)
            self._failed(failure)

        return self._store.change(self.name, rows, delete).addCallbacks(done, failed)

    def _load(self, now: float) -> None:
        self._loading = True
        generation = self._generation

        def loaded(found: tuple[int, list[Batch]]) -> None:
            self._loading = False
            last, ready = found
            if generation == self._generation and last:
                self._cursor = last
                self._ready.extend(ready)
                self._ready_rows += sum(len(batch.ids) for batch in ready)

        def failed(failure: Failure) -> None:
            self._loading = False
            self._failed(failure)

        apart = frozenset(self._out).union(self._delete)  # another link may have some of them under way

        def prepare(rows: list[Waiting]) -> tuple[int, list[Batch]]:
            return rows[-1].id if rows else 0, batches([row for row in rows if row.id not in apart])

        self._store.take(self.name, self._cursor, LOAD_ROWS, prepare).addCallbacks(loaded, failed)

    def _failed(self, failure: Failure) -> None:
        if not isinstance(failure.value, StoreError):
            log.failure("the outbox of superior {name} failed", failure, name=self.name)
            return
        now = self._wall()
        if now >= self._logged_at + LOG_EVERY_S:
            self._logged_at = now
            log.error("superior {name}: positions wait in memory: {problem}", name=self.name, problem=failure.getErrorMessage())
