"""What is done when an alarm begins, as the ``[[rule]]`` tables say.

    alarm.begin ─► rules whose kinds, level and terminals fit ─► files fetched (0x9208)
                                                             ─► a picture (0x8801) ─► recording ─► event rule.fired

The event tells hooks and pages. Superior platforms (0x1402) have their own table (``superior.alarms``). An alarm that is told late (from a
blind area) has its files fetched, but no picture is taken and nothing recorded: the moment is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.events import Events
from relay.core.terminals import Terminals
from relay.errors import RelayError
from relay.identity import phone_key
from relay.settings import Rule
from relay.store.alarms import AlarmRow

log = Logger()

REMEMBERED = 50_000  #: times at which a rule acted for a terminal


class Recorder(Protocol):
    """Records channels on the relay."""

    def start(self, sim: str, channel: int, seconds: float, why: str) -> Deferred[object] | None:
        """Record a channel for so long, starting it if it does not run; again while it records: so long from now. ``why`` is kept with the recording."""


class Fetcher(Protocol):
    """Fetches the files of alarms (``core.attachments``)."""

    def request(self, row: AlarmRow, who: str) -> None:
        """Ask for them as soon as may be."""


#: (terminal, channel, who wants it): take a picture now
Snapshot = Callable[[str, int, str], Deferred[object]]


class Rules:
    """The rules, and what they can do."""

    def __init__(self, rules: Sequence[Rule], terminals: Terminals, events: Events, seconds: Callable[[], float]) -> None:
        self._rules = rules
        self._terminals = terminals
        self._events = events
        self._seconds = seconds
        self._acted: dict[tuple[str, str], float] = {}
        self.recorder: Recorder | None = None
        self.fetcher: Fetcher | None = None
        self.snapshot: Snapshot | None = None
        self.counts: Counter[str] = Counter()

    def alarm(self, what: str, row: AlarmRow) -> None:
        """An alarm began or ended (``Alarms.watch``)."""
        if what != "begin":
            return
        for rule in self._rules:
            if self._fits(rule, row):
                self._act(rule, row)

    def _fits(self, rule: Rule, row: AlarmRow) -> bool:
        if row.level < rule.level:
            return False
        if rule.alarms and not any(matches(pattern, row) for pattern in rule.alarms):
            return False
        if not rule.terminals:
            return True
        terminal = self._terminals.get(row.key)
        group = terminal.known.group if terminal is not None and terminal.known is not None else ""
        return any(name == f"group:{group}" if name.startswith("group:") else phone_key(name) == row.key for name in rule.terminals)

    def _act(self, rule: Rule, row: AlarmRow) -> None:
        done: list[str] = []
        who = f"rule:{rule.name}"
        if rule.attachments and row.files_told and self.fetcher is not None:
            self.fetcher.request(row, who)
            done.append("attachments")
        if not row.late and self._due(rule, row):
            for channel in self._channels(rule, row):
                if rule.snapshot and self.snapshot is not None:
                    self._watch(self.snapshot(row.key, channel, who), rule, row, "snapshot")
                    done.append(f"snapshot of channel {channel}")
                if rule.record_s and self.recorder is not None:
                    self._watch(self.recorder.start(row.key, channel, rule.record_s, f"{who}, alarm {row.id}"), rule, row, "recording")
                    done.append(f"recording of channel {channel}")
        self.counts[rule.name] += 1
        self._events.publish("rule.fired", rule=rule.name, alarm=row.id, sim=row.key, name=row.name, done=done)

    def _due(self, rule: Rule, row: AlarmRow) -> bool:
        now, key = self._seconds(), (rule.name, row.key)
        if now < self._acted.get(key, float("-inf")) + rule.every_s:
            return False
        if len(self._acted) >= REMEMBERED:
            self._acted.clear()  # at worst one action too many for each
        self._acted[key] = now
        return True

    def _channels(self, rule: Rule, row: AlarmRow) -> list[int]:
        if rule.channels:
            return [int(channel) for channel in rule.channels]
        return [row.channel if row.kind == "video" and row.channel else 1]

    def _watch(self, waiting: Deferred[object] | None, rule: Rule, row: AlarmRow, what: str) -> None:
        if waiting is None:
            return

        def failed(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, RelayError):
                return failure
            self.counts["failed"] += 1
            self._events.publish("rule.failed", rule=rule.name, alarm=row.id, sim=row.key, what=what, why=str(failure.value))
            return None

        waiting.addErrback(failed).addErrback(lambda failure: log.failure("rule {rule}: {what} failed", failure=failure, rule=rule.name, what=what))


def matches(pattern: str, row: AlarmRow) -> bool:
    """ "adas", "dsm.1", "dsm.0x01" or "*"."""
    if pattern == "*":
        return True
    kind, dot, code = pattern.partition(".")
    return kind == row.kind and (not dot or int(code, 16 if code.startswith("0x") else 10) == row.code)
