"""What every SIM's data is spent on, and what happens when it is nearly spent.

    streams (their packets), signalling, files ─► count(sim, channel, purpose, bytes) ─► store, a row a day
                                                        └─► day and month of the terminal against its budget

==========  ======================================================================================================
level       what happens
==========  ======================================================================================================
ok
warn        ``budget.warn_percent`` of the day's or the month's is spent: event budget.warn
sub         ``budget.sub_percent``: event budget.sub; what is watched goes down to the sub stream, new views get it
spent       all of it: event budget.spent; streams end, new ones are refused (409 ``budget_spent``), no files fetched
==========  ======================================================================================================

Who is in ``budget.exempt`` (purposes) is counted and never cut. A stream's bytes go to the purpose that wanted it first of those that want it
now: ten viewers of one channel cost the SIM one stream. While nobody wants it any more and it has not stopped yet: "idle"; when nobody asked
for it: "unrequested".
A new day, or month, by the clock of GMT+8, begins at nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.events import BEIJING, Events
from relay.core.live import Live
from relay.core.live_channel import LiveChannel
from relay.core.live_failure import StartFailed
from relay.core.live_leases import MAIN, SUB
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.core.trace import REQUESTED
from relay.hub.merge import Clock, DelayedCall
from relay.hub.registry import Registry, StreamEvent
from relay.hub.stream import Stream
from relay.identity import StreamKey, phone_key
from relay.settings import Budget as BudgetSettings
from relay.store import traffic
from relay.store.batch import Batch
from relay.store.errors import StoreError
from relay.store.traffic import BudgetRow, TrafficRow, TrafficStore

log = Logger()

LOOK_S = 1.0
SIGNALLING_S = 10.0
FLUSH_S = 5.0
OK, WARN, SUB_ONLY, SPENT = 0, 1, 2, 3
SPENT_WORDS = "the data budget of its SIM is spent"
WORDS = ("ok", "warn", "sub", "spent")

#: kinds of streams whose packets come from terminals; the purpose of what nobody's lease explains
_KINDS = {"live": "unrequested", "playback": "playback", "talk": "talk"}


def day_of(unix: float) -> int:
    """20261129."""
    moment = datetime.fromtimestamp(unix, BEIJING)
    return moment.year * 10000 + moment.month * 100 + moment.day


@dataclass(slots=True)
class Usage:
    """One terminal's."""

    day: int = 0
    month: int = 0
    level: int = OK


class Budget:
    """Counts, judges, acts."""

    def __init__(
        self,
        settings: BudgetSettings,
        store: TrafficStore,
        live: Live,
        registry: Registry,
        terminals: Terminals,
        clock: Clock,
        events: Events,
        wall: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._store = store
        self._live = live
        self._registry = registry
        self._terminals = terminals
        self._clock = clock
        self._events = events
        self._wall = wall
        self.batch: Batch[TrafficRow] = Batch(store.database, clock, "traffic", traffic.add)
        self._fresh: dict[tuple[str, int, str], int] = {}  #: not handed to the batch yet
        self._usage: dict[str, Usage] = {}
        self._own: dict[str, BudgetRow] = {}
        self._seen: dict[Stream, int] = {}  #: bytes of each stream that were counted
        self._for: dict[Stream, str] = {}  #: and for which purpose: at a stream's end its leases are gone already
        self._signalling: dict[str, int] = {}
        self._day = day_of(wall())
        self._calls: list[DelayedCall] = []
        self._undo = [registry.observe(self._on_stream), terminals.watch(self._on_terminal)]
        self.counted = 0
        self.refused = 0
        live.allowance = self.allow

    def start(self) -> Deferred[None]:
        """Read what this month has cost so far, and begin."""
        self._every(LOOK_S, self.look)
        self._every(SIGNALLING_S, self._look_at_links)
        self._every(FLUSH_S, self.flush)
        first = self._day // 100 * 100

        def read(found: tuple[list[tuple[str, int, int]], list[BudgetRow]]) -> None:
            sums, budgets = found
            for key, day, size in sums:
                usage = self._usage.setdefault(key, Usage())
                usage.month += size
                usage.day += size if day == self._day else 0
            self._own.update({row.key: row for row in budgets})
            for key, usage in self._usage.items():
                usage.level = self._level(key, usage)  # told in the last run

        def failed(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, StoreError):
                return failure
            log.error("what the SIMs have spent so far is not known: {problem}", problem=str(failure.value))
            return None

        return self._store.begin(first, first + 99).addCallbacks(read, failed)

    def _every(self, seconds: float, what: Callable[[], None]) -> None:
        at = len(self._calls)

        def again() -> None:
            self._calls[at] = self._clock.callLater(seconds, again)
            what()

        self._calls.append(self._clock.callLater(seconds, again))

    def stop(self) -> Deferred[None]:
        """Count the last bytes, write what waits."""
        for call in self._calls:
            call.cancel()
        self._calls = []
        for undo in self._undo:
            undo()
        self.look()
        self._look_at_links()
        self.flush()
        return self.batch.stop()

    # ---- counting -------------------------------------------------------------------------------------------------------

    def count(self, sim: str, channel: int, purpose: str, size: int) -> None:
        """So many bytes went to or came from a terminal."""
        if size <= 0:
            return
        self._new_day()
        key = (sim, channel, purpose)
        self._fresh[key] = self._fresh.get(key, 0) + size
        self.counted += size
        usage = self._usage.get(sim)
        if usage is None:
            usage = self._usage[sim] = Usage()
        usage.day += size
        usage.month += size
        level = self._level(sim, usage)
        if level > usage.level:
            self._reached(sim, usage, level)

    def look(self) -> None:
        """Count what the streams brought since the last look."""
        for stream in self._registry.streams():
            self._count_stream(stream)

    def _count_stream(self, stream: Stream, over: bool = False) -> None:
        key = stream.key
        if key.kind not in _KINDS:
            return  # made of another
        if not over:
            self._for[stream] = self._purpose(key)
        before = self._seen.get(stream, 0)
        total = stream.received
        if total != before:
            self._seen[stream] = total
            self.count(key.sim, key.channel, self._for.get(stream) or self._purpose(key), total - before)

    def _purpose(self, key: StreamKey) -> str:
        if key.kind != "live":
            return _KINDS[key.kind]
        machine = self._live.channel(key.sim, key.channel)
        if machine is None:
            return "unrequested"
        first = next(iter(machine.leases), None)
        if first is not None:
            return first.purpose
        return "idle" if machine.asked_stream else "unrequested"

    def _on_stream(self, event: StreamEvent) -> None:
        stream = event.stream
        if stream is None:
            return
        if event.name == "ended":
            self._count_stream(stream, over=True)
            self._seen.pop(stream, None)
            self._for.pop(stream, None)
        elif event.name == "connected":
            self._count_stream(stream)

    def _look_at_links(self) -> None:
        for terminal in self._terminals.online():
            self._count_link(terminal)

    def _count_link(self, terminal: Terminal) -> None:
        total = sum(terminal.traffic())
        before = self._signalling.get(terminal.sim, 0)
        if total != before:
            self._signalling[terminal.sim] = total
            self.count(terminal.sim, 0, "signalling", total - before if total > before else total)

    def _on_terminal(self, what: str, terminal: Terminal) -> None:
        if what == "offline":
            self._count_link(terminal)

    def flush(self) -> None:
        """Hand what was counted to the store."""
        fresh, self._fresh = self._fresh, {}
        for (sim, channel, purpose), size in fresh.items():
            self.batch.add(TrafficRow(sim, self._day, channel, purpose, size))

    def _new_day(self) -> None:
        day = day_of(self._wall())
        if day == self._day:
            return
        self.flush()
        month = day // 100 != self._day // 100
        self._day = day
        for sim, usage in list(self._usage.items()):
            usage.day = 0
            usage.month = 0 if month else usage.month
            self._lowered(sim, usage)

    # ---- judging --------------------------------------------------------------------------------------------------------

    def limits(self, sim: str) -> tuple[int, int]:
        """Bytes a day and a month; 0 = no budget."""
        own = self._own.get(sim)
        day, month = self.settings.day_bytes, self.settings.month_bytes
        if own is not None:
            day = own.day_bytes if own.day_bytes is not None else day
            month = own.month_bytes if own.month_bytes is not None else month
        return day, month

    def _level(self, sim: str, usage: Usage) -> int:
        day, month = self.limits(sim)
        share = max(usage.day / day if day else 0.0, usage.month / month if month else 0.0) * 100
        settings = self.settings
        if share >= 100:
            return SPENT if settings.refuse else SUB_ONLY if settings.sub_percent else WARN
        if settings.sub_percent and share >= settings.sub_percent:
            return SUB_ONLY
        return WARN if settings.warn_percent and share >= settings.warn_percent else OK

    def _reached(self, sim: str, usage: Usage, level: int) -> None:
        usage.level = level
        words = "terminal {sim}: data budget: {state} ({day} bytes today, {month} this month)"
        log.warn(words, sim=sim, state=WORDS[level], day=usage.day, month=usage.month)
        self._tell(f"budget.{WORDS[level]}", sim, usage)
        if level >= SUB_ONLY:
            for machine in self._live.of_terminal(sim):
                if level == SPENT and all(lease.purpose not in self.settings.exempt for lease in machine.leases):
                    self._end(machine)
                else:
                    machine.step_down(self.settings.exempt)

    def _end(self, machine: LiveChannel) -> None:
        stream = machine.stream()
        for viewer in stream.every_viewer() if stream is not None else ():
            viewer.close(SPENT_WORDS)  # so that its player is told why
        self._live.stop(machine.key.sim, machine.key.channel, SPENT_WORDS)

    def _lowered(self, sim: str, usage: Usage) -> None:
        level = self._level(sim, usage)
        if level < usage.level:
            usage.level = level
            self._tell("budget.renewed", sim, usage)

    def _tell(self, event: str, sim: str, usage: Usage) -> None:
        day, month = self.limits(sim)
        self._events.publish(
            event, sim=sim, level=WORDS[usage.level], day_bytes=usage.day, day_budget=day or None, month_bytes=usage.month, month_budget=month or None
        )

    def level(self, sim: str) -> str:
        """ "ok", "warn", "sub" or "spent"."""
        usage = self._usage.get(sim)
        return WORDS[usage.level] if usage is not None else WORDS[OK]

    def allow(self, key: StreamKey, stream: str, purpose: str) -> tuple[str, StartFailed | None]:
        """Whether somebody may have a stream (``Live.allowance``), and which: "main" may become "sub"."""
        usage = self._usage.get(key.sim)
        if usage is None or usage.level < SUB_ONLY or purpose in self.settings.exempt:
            return stream, None
        self._new_day()
        if usage.level == SPENT:
            self.refused += 1
            day, month = self.limits(key.sim)
            what = f"{usage.day} of {day} bytes today" if day and usage.day >= day else f"{usage.month} of {month} bytes this month"
            message = f"The data budget of terminal {key.sim} is spent: {what}."
            hint = f"An operator may raise it: PUT /api/v1/terminals/{key.sim}/budget. It is renewed at midnight, or with the month, in GMT+8."
            return stream, StartFailed(409, "budget_spent", message, hint, REQUESTED)
        return SUB if usage.level == SUB_ONLY and stream in ("", MAIN) else stream, None

    def refuses(self, sim: str) -> str:
        """Why nothing is to be fetched from a terminal; empty = it may be."""
        return "its data budget is spent" if self.level(phone_key(sim)) == "spent" else ""

    # ---- for the API ------------------------------------------------------------------------------------------------------

    def usage(self, sim: str) -> Usage:
        """What a terminal has spent today and this month."""
        self._new_day()
        return self._usage.get(sim) or Usage()

    def levels(self) -> dict[str, float]:
        """How many SIMs are at which level: "ok", "warn", "sub", "spent"."""
        counts = dict.fromkeys(WORDS, 0.0)
        for _, usage in self.usages():
            counts[WORDS[usage.level]] += 1
        return counts

    def usages(self) -> Iterable[tuple[str, Usage]]:
        """Of all that spent anything this month."""
        self._new_day()
        return self._usage.items()

    async def rows(self, sim: str, first: int, last: int) -> list[TrafficRow]:
        """By day, channel and purpose; what was counted a moment ago included."""
        self.look()
        self._look_at_links()
        self.flush()
        await self.batch.flush()
        return await self._store.of_terminal(sim, first, last)

    def today(self) -> int:
        """The day, as a number."""
        return day_of(self._wall())

    async def set(self, row: BudgetRow) -> None:
        """Give a terminal a budget of its own, or take it away."""
        await self._store.set_budget(row)
        self._own[row.key] = row
        usage = self._usage.get(row.key)
        if usage is not None:
            level = self._level(row.key, usage)
            if level > usage.level:
                self._reached(row.key, usage, level)
            else:
                self._lowered(row.key, usage)
