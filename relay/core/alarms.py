"""Alarms of terminals, each an event with a begin and an end: kept, told, and handed to the rules.

    report ─► alarm_reading ─► states: shown by this report and not by the one before: begin; the other way round: end
                               moments: 标志状态 1 begin, 2 end, 0 both at once; one whose identity was seen is the same alarm again
                            ─► store (batch)    ─► events alarm.begin, alarm.end    ─► watchers (rules)

Reports from a blind area (0x0704) are gone through by themselves, in the order of their times, and do not touch what lasts now; their alarms are ``late``.
A terminal that raises more than FLOOD alarms a minute has the rest counted, not kept (event alarm.flood).
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.alarm_reading import BEGIN, END, STATES, Moment, Source, has_alarms, name_of, read_moments, read_states
from relay.core.events import Events, iso_time
from relay.core.terminal_state import Terminal, degrees_of, wire_seconds
from relay.jt808.messages.location import Location
from relay.jt808.safety import AlarmSign
from relay.store import alarms as table
from relay.store.alarms import AlarmFilter, AlarmRow, AlarmStore, Change
from relay.store.batch import Batch, Clock
from relay.store.errors import StoreError

log = Logger()

FLOOD = 120  #: new alarms of one terminal a minute: a dirty lens raises one a second
FLOOD_S = 60.0
SEEN_MAX = 50_000  #: identities remembered; a re-sent report comes within minutes, at most days
SEEN_S = 7 * 86400.0
LATE_GAP_S = 3600.0  #: reports of a blind area that are further apart are not in a row
LATE_MAX = 10_000
WAITING_MAX = 10_000  #: reports that come while the store is read at the start
LASTING_MAX = 100_000  #: alarms without an end that are taken over from the store

Watcher = Callable[[str, AlarmRow], None]


@dataclass(slots=True)
class _Lasting:
    """An alarm that has begun and not ended."""

    row: AlarmRow


class Alarms:
    """All alarms of all terminals."""

    def __init__(self, store: AlarmStore, clock: Clock, events: Events, wall: Callable[[], float]) -> None:
        self._store = store
        self._events = events
        self._wall = wall
        self.batch: Batch[Change] = Batch(store.database, clock, "alarms", table.write)
        self._lasting: dict[str, dict[Source, _Lasting]] = {}
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._late: OrderedDict[str, tuple[float, dict[Source, str]]] = OrderedDict()  #: terminal -> time of its last late report, alarms it showed
        self._recent: dict[str, deque[float]] = {}  #: when each terminal raised its last alarms
        self._watchers: list[Watcher] = []
        self._waiting: list[tuple[Terminal, Location, bool, float]] | None = []  #: None once the store was read
        self._made = 0
        self.counts: Counter[str] = Counter()

    def start(self) -> Deferred[None]:
        """Read from the store what lasts and what was seen; reports wait until then."""

        def read(found: tuple[list[AlarmRow], list[tuple[str, str]]]) -> None:
            rows, identities = found
            for row in rows:
                self._lasting.setdefault(row.key, {}).setdefault(Source(row.kind, row.code, row.channel), _Lasting(row))
            for identity in reversed(identities):
                self._see(identity)

        def failed(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, StoreError):
                return failure
            log.error("alarms that last are not known, they begin anew: {problem}", problem=str(failure.value))
            return None

        def go(_: object) -> None:
            waiting, self._waiting = self._waiting or [], None
            for report in waiting:
                self._take(*report)

        return self._store.begin(self._wall() - SEEN_S, LASTING_MAX).addCallback(read).addErrback(failed).addCallback(go)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher("begin" | "end", row)``; returns what ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    @property
    def lasting(self) -> int:
        """How many have begun and not ended."""
        return sum(map(len, self._lasting.values()))

    # ---- reports --------------------------------------------------------------------------------------------------------

    def came(self, terminal: Terminal, location: Location, live: bool) -> None:
        """A location was reported (``Learning.watch_locations``)."""
        if self._waiting is None and terminal.sim not in self._lasting and (live or terminal.sim not in self._late) and not has_alarms(location):
            return
        if self._waiting is None:
            self._take(terminal, location, live, terminal.last_seen)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append((terminal, location, live, terminal.last_seen))

    def _take(self, terminal: Terminal, location: Location, live: bool, received: float) -> None:
        moment = wire_seconds(location.time)
        at = received if moment is None else moment
        if live:
            self._states(terminal.sim, location, at, received)
        else:
            self._late_states(terminal.sim, location, at, received)
        for alarm in read_moments(location):
            self._moment(terminal.sim, location, alarm, at, received, live)

    def _states(self, sim: str, location: Location, at: float, received: float) -> None:
        now = read_states(location)
        lasting = self._lasting.get(sim, {})
        for source in [source for source in lasting if source.kind in STATES and source not in now]:
            self._end(sim, source, at)
        for source, detail in now.items():
            if source not in lasting:
                self._begin(sim, self._row(sim, source, location, at, received, f"{_word(source)}@{at:.0f}", detail=detail), lasts=True)

    def _late_states(self, sim: str, location: Location, at: float, received: float) -> None:
        """What a report from a blind area shows. It ends with the last report in a row that shows it; what lasts now and had begun by then is that alarm."""
        before_at, before = self._late.pop(sim, (0.0, {}))
        row_goes_on = before_at <= at < before_at + LATE_GAP_S
        shown: dict[Source, str] = {}
        for source, detail in read_states(location).items():
            now = self._lasting.get(sim, {}).get(source)
            if now is not None and now.row.began <= at:
                continue
            if row_goes_on and source in before:
                shown[source] = before[source]
                if before[source]:
                    self.batch.add((before[source], at))
                continue
            row = self._row(sim, source, location, at, received, f"{_word(source)}@{at:.0f}", detail=detail, late=True)
            if (sim, row.identity) in self._seen:
                shown[source] = ""  # the same reports again
                continue
            self._see((sim, row.identity))
            shown[source] = row.id if self._begin(sim, row._replace(ended=at), lasts=False) else ""
        if shown:
            self._late[sim] = (at, shown)
            if len(self._late) > LATE_MAX:
                self._late.popitem(last=False)

    def _moment(self, sim: str, location: Location, alarm: Moment, at: float, received: float, live: bool) -> None:
        item = alarm.item
        own = wire_seconds(item.time)
        at = at if own is None else own
        sign = item.alarm_sign.encode()
        # a device that fills in no number tells its alarms apart by their times alone
        identity = f"{item.ID:02x}:{sign.hex() if told_apart(item.alarm_sign) else f'{_word(alarm.source)}@{at:.0f}'}"
        lasting = self._lasting.get(sim, {}).get(alarm.source)
        if item.state == END:
            if lasting is not None and lasting.row.began <= at:
                self._end(sim, alarm.source, at)
                self._see((sim, identity))
                return
            if (sim, identity) in self._seen:
                return
        elif (sim, identity) in self._seen:
            return
        self._see((sim, identity))
        row = self._row(
            sim, alarm.source, location, at, received, identity, detail=alarm.detail, late=not live, level=alarm.level, sign=sign,
            files=item.alarm_sign.attachment_count, name=alarm.name, place=item,
        )  # fmt: skip
        if item.state == BEGIN and live:
            if lasting is not None:  # its end was not told
                self._end(sim, alarm.source, at)
            self._begin(sim, row, lasts=True)
        else:
            self._begin(sim, row._replace(ended=at), lasts=False)

    def _row(
        self, sim: str, source: Source, location: Location, at: float, received: float, identity: str, *, detail: dict[str, Any], late: bool = False,
        level: int = 0, sign: bytes | None = None, files: int = 0, name: str = "", place: Any = None,
    ) -> AlarmRow:  # fmt: skip
        if place is not None:
            location = Location(
                status_flags=location.status_flags, latitude=place.latitude, longitude=place.longitude, speed=place.speed * 10, time=place.time
            )
        latitude, longitude = degrees_of(location)
        return AlarmRow(
            id=self._new_id(), key=sim, kind=source.kind, code=source.code, channel=source.channel,
            name=name or name_of(source), level=level, began=at, ended=None, received=received, late=late, latitude=latitude, longitude=longitude,
            speed=location.speed / 10, identity=identity, sign=sign, files_told=files, files_state="", alarm_number=None, detail=detail,
            acknowledged_at=None, acknowledged_by="", note="",
        )  # fmt: skip

    def _new_id(self) -> str:
        """Sorted as they were made, and not to be guessed from others."""
        self._made = (self._made + 1) & 0xFFFF
        return f"{int(self._wall() * 1000):012x}{self._made:04x}{secrets.token_hex(4)}"

    # ---- begins and ends --------------------------------------------------------------------------------------------------

    def _begin(self, sim: str, row: AlarmRow, lasts: bool) -> bool:
        if self._flooded(sim, row.received):
            self.counts["suppressed"] += 1
            return False
        self.counts["begun"] += 1
        if lasts:
            self._lasting.setdefault(sim, {})[Source(row.kind, row.code, row.channel)] = _Lasting(row)
        self.batch.add(row)
        self._events.publish("alarm.begin", **alarm_event(row))
        self._tell("begin", row)
        if row.ended is not None:
            self._tell("end", row)
        return True

    def _end(self, sim: str, source: Source, at: float) -> None:
        lasting = self._lasting.get(sim, {})
        alarm = lasting.pop(source, None)
        if not lasting:
            self._lasting.pop(sim, None)
        if alarm is None:
            return
        row = alarm.row._replace(ended=max(at, alarm.row.began))
        self.counts["ended"] += 1
        self.batch.add((row.id, float(row.ended or at)))
        self._events.publish("alarm.end", **alarm_event(row))
        self._tell("end", row)

    def _tell(self, what: str, row: AlarmRow) -> None:
        for watcher in list(self._watchers):
            try:
                watcher(what, row)
            except Exception:
                log.failure("a watcher of alarms failed at {id}", id=row.id)  # its fault; the alarm is kept and others hear of it

    def _see(self, identity: tuple[str, str]) -> None:
        self._seen[identity] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)

    def _flooded(self, sim: str, now: float) -> bool:
        recent = self._recent.setdefault(sim, deque(maxlen=FLOOD))
        if len(recent) == FLOOD and recent[0] > now - FLOOD_S:
            if recent[-1] >= 0:
                self._events.publish("alarm.flood", sim=sim, limit=FLOOD, seconds=FLOOD_S)
                recent[-1] = -1.0  # told once; the next minute begins with what is left
            return True
        recent.append(now)
        if len(self._recent) > SEEN_MAX:
            self._recent.pop(next(iter(self._recent)))
        return False

    # ---- for the API ------------------------------------------------------------------------------------------------------

    async def get(self, number: str) -> AlarmRow | None:
        """One alarm by its id."""
        await self.batch.flush()
        return await self._store.get(number)

    async def page(self, wanted: AlarmFilter, limit: int, before: str = "") -> tuple[list[AlarmRow], int]:
        """The last to arrive first, and how many there are in all."""
        await self.batch.flush()
        return await self._store.page(wanted, limit, before)

    async def acknowledge(self, number: str, who: str, note: str) -> AlarmRow | None:
        """Somebody has seen it."""
        await self.batch.flush()
        row = await self._store.acknowledge(number, who, note, self._wall())
        if row is not None:
            self._events.publish("alarm.acknowledged", alarm=row.id, sim=row.key, who=row.acknowledged_by, note=row.note)
        return row

    async def set_files_state(self, row: AlarmRow, state: str, alarm_number: str | None = None, why: str = "") -> None:
        """How far its files are; told as an event."""
        self._events.publish("alarm.files", alarm=row.id, sim=row.key, state=state, why=why)
        await self.batch.flush()
        await self._store.set_files_state(row.id, state, alarm_number)

    def stop(self) -> Deferred[None]:
        """Write what waits."""
        return self.batch.stop()


def _word(source: Source) -> str:
    return f"{source.kind}.{source.code}.{source.channel}"


def told_apart(sign: AlarmSign) -> bool:
    """Whether an alarm id means anything: some devices leave it empty."""
    return wire_seconds(sign.time) is not None


def alarm_event(row: AlarmRow) -> dict[str, Any]:
    """What events tell of an alarm."""
    return {
        "alarm": row.id,
        "sim": row.key,
        "kind": row.kind,
        "code": row.code,
        "channel": row.channel,
        "name": row.name,
        "level": row.level,
        "began": iso_time(row.began),
        "ended": iso_time(row.ended) if row.ended is not None else None,
        "late": row.late,
        "latitude": row.latitude,
        "longitude": row.longitude,
        "files": row.files_told,
    }
