"""What superiors want a person to answer: post queries (查岗, 0x9301) and supervision requests (报警督办, 0x9401), each with its deadline."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relay.core.events import Events, iso_time
from relay.hub.merge import Clock, DelayedCall

KEPT = 1000  #: answered and expired ones, for the record
OPEN_MAX = 500  #: of one superior; more than people can answer
LOOK_S = 1.0

POST_QUERY, SUPERVISION = "post_query", "supervision"
WAITING, ANSWERED, EXPIRED = "waiting", "answered", "expired"


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
    send: Callable[[dict[str, Any]], bool] = field(repr=False)  #: sends an answer; False when no link is up
    state: str = WAITING
    answer: dict[str, Any] | None = None
    answered_at: float | None = None
    answered_by: str = ""

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

    def start(self) -> None:
        """Watch deadlines."""
        self._call = self._clock.callLater(LOOK_S, self._look)

    def close(self) -> None:
        """No more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def add(
        self, superior: str, kind: str, text: str, deadline: float, details: dict[str, Any], send: Callable[[dict[str, Any]], bool]
    ) -> PersonRequest | None:
        """Keep one and tell everybody; None when too many of that superior wait."""
        if self._open[superior] >= OPEN_MAX:
            self.counts["refused"] += 1
            return None
        request = PersonRequest(self._next, superior, kind, self._wall(), deadline, text, details, send)
        self._next += 1
        self._all[request.id] = request
        self._open[superior] += 1
        self.counts[kind] += 1
        while len(self._all) > KEPT + sum(self._open.values()):
            done = next((id for id, one in self._all.items() if one.state != WAITING), None)
            if done is None:
                break
            del self._all[done]
        self._tell(request)
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
        self._tell(request)
        return True

    def _look(self) -> None:
        self._call = self._clock.callLater(LOOK_S, self._look)
        now = self._wall()
        for request in list(self._all.values()):
            if request.state == WAITING and now >= request.deadline:
                request.state = EXPIRED
                self._open[request.superior] -= 1
                self.counts["expired"] += 1
                self._tell(request)

    def _tell(self, request: PersonRequest) -> None:
        self._events.publish("superior.request", **{("request" if key == "id" else key): value for key, value in request.as_dict().items()})
