"""What superiors want a person to answer: post queries (查岗, 0x9301) and supervision requests (报警督办, 0x9401), each with its deadline.

They are kept in the store: after a restart those whose deadline has not passed wait on, and are answered as soon as the superior is linked again; the
others are expired. What became of each is in the audit.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.events import Events, iso_time
from relay.hub.merge import Clock, DelayedCall
from relay.store.errors import StoreError
from relay.store.person_requests import PersonRequestRow

log = Logger()

KEPT = 1000  #: answered and expired ones, for the record
OPEN_MAX = 500  #: of one superior; more than people can answer
LOOK_S = 1.0

POST_QUERY, SUPERVISION = "post_query", "supervision"
WAITING, ANSWERED, EXPIRED = "waiting", "answered", "expired"

Send = Callable[[dict[str, Any]], bool]
#: (superior, kind, origin): what sends an answer; None: such a request cannot be answered any more
Revive = Callable[[str, str, dict[str, Any]], Send | None]
#: ``core.audit.Audit.record``: who, action, subject, detail
Record = Callable[[str, str, str, str], None]


class RequestRows(Protocol):
    """What is needed of the store (``relay.store.person_requests``)."""

    def load(self, kept: int) -> Deferred[list[PersonRequestRow]]: ...
    def put(self, row: PersonRequestRow) -> Deferred[None]: ...


@dataclass(slots=True)
class PersonRequest:
    """One of them."""

    id: int
    superior: str
    kind: str  #: POST_QUERY or SUPERVISION
    received_at: float  #: UNIX seconds
    deadline: float
    text: str
    details: dict[str, Any]  #: in JSON's types
    send: Send = field(repr=False)  #: sends an answer; False when no link is up
    origin: dict[str, Any] = field(repr=False)  #: the superior's message: what an answer is made for, in JSON's types
    state: str = WAITING
    answer: dict[str, Any] | None = None
    answered_at: float | None = None
    answered_by: str = ""

    def row(self) -> PersonRequestRow:
        """For the store."""
        return PersonRequestRow(
            self.id, self.superior, self.kind, self.received_at, self.deadline, self.text, self.details, self.origin, self.state, self.answer,
            self.answered_at, self.answered_by,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "id": self.id, "superior": self.superior, "kind": self.kind, "state": self.state, "received_at": iso_time(self.received_at),
            "deadline": iso_time(self.deadline), "text": self.text, "details": self.details, "answer": self.answer,
            "answered_at": iso_time(self.answered_at) if self.answered_at is not None else None, "answered_by": self.answered_by,
        }  # fmt: skip


class Requests:
    """All of them, of all superiors."""

    def __init__(self, clock: Clock, wall: Callable[[], float], events: Events) -> None:
        self._clock = clock
        self._wall = wall
        self._events = events
        self._all: OrderedDict[int, PersonRequest] = OrderedDict()
        self._next = 1
        self._call: DelayedCall | None = None
        self._open: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._rows: RequestRows | None = None
        self._record: Record | None = None
        self.revive: Revive = lambda superior, kind, origin: None  #: who knows the messages sets it

    def keep(self, rows: RequestRows, record: Record) -> None:
        """Keep them there, and tell the audit what became of them."""
        self._rows = rows
        self._record = record

    async def load(self) -> None:
        """What was kept: to be called before a superior may ask anything."""
        if self._rows is None:
            return
        try:
            rows = await self._rows.load(KEPT)
        except StoreError as problem:
            log.error("superiors' requests that wait for a person cannot be read: {problem}", problem=str(problem))
            self._next = max(self._next, int(self._wall()))  # numbers that no row has
            return
        for row in rows:
            self._restore(row)
        self._next = max((row.id for row in rows), default=0) + 1
        waiting = sum(self._open.values())
        if waiting or self.counts["missed"]:
            text = "{waiting} requests of superiors wait for a person since before the start, {missed} were missed meanwhile"
            log.info(text, waiting=waiting, missed=self.counts["missed"])

    def _restore(self, row: PersonRequestRow) -> None:
        send = self.revive(row.superior, row.kind, row.origin) if row.state == WAITING else None
        values = {name: value for name, value in row._asdict().items() if name not in ("state", "answer", "answered_at", "answered_by")}
        request = PersonRequest(**values, send=send or _nobody, state=row.state, answer=row.answer, answered_at=row.answered_at, answered_by=row.answered_by)
        self._all[request.id] = request
        if request.state != WAITING:
            return
        self._open[request.superior] += 1
        if self._wall() >= request.deadline:
            self._expire(request, "missed: its time was over while the relay did not run")
        elif send is None:
            self._expire(request, "missed: after the restart there is nobody to answer to")

    def start(self) -> None:
        """Watch deadlines."""
        self._call = self._clock.callLater(LOOK_S, self._look)

    def close(self) -> None:
        """No more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def add(
        self, superior: str, kind: str, text: str, deadline: float, details: dict[str, Any], send: Send, origin: dict[str, Any]
    ) -> PersonRequest | None:
        """Keep one and tell everybody; None when too many of that superior wait."""
        if self._open[superior] >= OPEN_MAX:
            self.counts["refused"] += 1
            return None
        request = PersonRequest(self._next, superior, kind, self._wall(), deadline, text, details, send, origin)
        self._next += 1
        self._all[request.id] = request
        self._open[superior] += 1
        self.counts[kind] += 1
        while len(self._all) > KEPT + sum(self._open.values()):
            done = next((id for id, one in self._all.items() if one.state != WAITING), None)
            if done is None:
                break
            del self._all[done]
        self._changed(request)
        return request

    def get(self, superior: str, id: int) -> PersonRequest | None:
        """By number."""
        request = self._all.get(id)
        return request if request is not None and request.superior == superior else None

    def of(self, superior: str, waiting: bool = False) -> list[PersonRequest]:
        """A superior's, newest first."""
        return [one for one in reversed(self._all.values()) if one.superior == superior and (not waiting or one.state == WAITING)]

    def open_count(self, superior: str) -> int:
        """How many wait."""
        return self._open[superior]

    def answer(self, request: PersonRequest, answer: dict[str, Any], by: str) -> bool:
        """Send an answer; False when no link is up (it goes on waiting). An answer after the deadline is sent too: late is better than never."""
        if not request.send(answer):
            return False
        if request.state == WAITING:
            self._open[request.superior] -= 1
        request.state, request.answer, request.answered_by, request.answered_at = ANSWERED, answer, by, self._wall()
        self.counts["answered"] += 1
        self._audit(request, by, "answered")
        self._changed(request)
        return True

    def _look(self) -> None:
        self._call = self._clock.callLater(LOOK_S, self._look)
        now = self._wall()
        for request in list(self._all.values()):
            if request.state == WAITING and now >= request.deadline:
                self._expire(request, "not answered in time")

    def _expire(self, request: PersonRequest, why: str) -> None:
        request.state = EXPIRED
        self._open[request.superior] -= 1
        self.counts["expired"] += 1
        self.counts["missed"] += why.startswith("missed")
        self._audit(request, f"superior {request.superior}", why)
        self._changed(request)

    def _audit(self, request: PersonRequest, who: str, what: str) -> None:
        if self._record is not None:
            self._record(who, "superior request", f"{request.superior} {request.kind} {request.id}", what)

    def _changed(self, request: PersonRequest) -> None:
        """Keep it, and tell everybody."""
        if self._rows is not None:
            self._rows.put(request.row()).addErrback(self._not_kept, request)
        self._tell(request)

    def _not_kept(self, failure: Failure, request: PersonRequest) -> Failure | None:
        if not isinstance(failure.value, StoreError):
            return failure
        self.counts["not kept"] += 1
        text = "request {id} of superior {name} is not kept, a restart would lose it: {problem}"
        log.error(text, id=request.id, name=request.superior, problem=failure.getErrorMessage())
        return None

    def _tell(self, request: PersonRequest) -> None:
        self._events.publish("superior.request", **{("request" if key == "id" else key): value for key, value in request.as_dict().items()})


def _nobody(answer: dict[str, Any]) -> bool:
    """Of one that is over."""
    return False
