"""Searching what a terminal has recorded: 0x9205 → 0x1205 (JT/T 1078-2016 5.6.1 and 5.6.2).

    search ── 0x9205 serial s ──→ 0x1205 reply_serial s, whole or in hundreds of sub-packages ──→ found
                 │                      (each piece is acknowledged and moves the time limit on: ``jt808.session_requests``)
                 └── no answer, refused, pieces that stop ──→ a RequestError, which names it

Answers that do not fit a waiting search have names of their own (``counts``, and an event ``recordings.answer``):

    late       its search had given up. The list is kept for LATE_KEPT_S: the same search again is answered from it, at once
    twice      its search was answered already
    foreign    no search had that serial. Terminals are met that write any serial there: if just one search waits at that
               terminal and every recording in the list fits it, the list is its answer, and the answer says so. Else it is dropped.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.alias import Resolver
from relay.core.events import Events
from relay.core.link import BadReplyError, RequestError, TerminalOfflineError
from relay.core.stored import Criteria
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.hub.merge import Clock
from relay.identity import phone_key
from relay.jt808.messages.base import Body
from relay.jt808.messages.video import Resource, ResourceList, ResourceQuery
from relay.jt808.session_events import Received

log = Logger()

SEARCH_S = 30.0  #: until the first piece: a terminal that reads a full card's index takes ten seconds and more
LATE_KEPT_S = 120.0
ASKED_KEPT = 1024  #: searches whose serials are remembered to tell late answers from foreign ones
TELL_S = 1.0  #: unexpected answers are told at most so often; all are counted


class Found(NamedTuple):
    """What a search brought."""

    items: list[Resource]  #: as the terminal lists them
    seconds: float  #: from 0x9205 to the last piece
    note: str = ""  #: "late" or "foreign serial" when the list came that way


class _Search:
    """One 0x9205."""

    __slots__ = ("began", "channel", "criteria", "deferred", "outcome", "request", "serial", "sim")

    def __init__(self, sim: str, channel: int, criteria: Criteria, began: float) -> None:
        self.sim = sim
        self.channel = channel
        self.criteria = criteria
        self.began = began
        self.serial: int | None = None
        self.outcome = ""  #: "" while it waits, "found", or the error's word
        self.request: Deferred[Body] | None = None
        self.deferred: Deferred[Found] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.outcome = "cancelled"
        if self.request is not None:
            self.request.cancel()


class Recordings:
    """All searches of the process, for the API and for superiors alike."""

    def __init__(self, terminals: Terminals, resolver: Resolver, clock: Clock, events: Events) -> None:
        self.counts: Counter[str] = Counter()  #: searches and unexpected answers by name
        #: lists that answer something else (a 0x9201) are claimed here: ``claim(sim, reply_serial, message)`` is True for those
        self.claim: Callable[[str, int, ResourceList], bool] = lambda sim, serial, message: False
        self._terminals = terminals
        self._resolver = resolver
        self._clock = clock
        self._events = events
        self._asked: OrderedDict[tuple[str, int], _Search] = OrderedDict()
        self._late: OrderedDict[tuple[str, int, Criteria], tuple[float, Found]] = OrderedDict()
        self._told_at = float("-inf")
        self._undo = terminals.watch_messages(self._heard)

    def search(self, name: str, channel: int, criteria: Criteria, timeout_s: float | None = None) -> Deferred[Found]:
        """The recordings of a channel (0 = all) of a terminal by any of its names. Fails with a RequestError; may be cancelled."""
        return self._resolver.resolve(name).addCallback(lambda sim: self._search(sim or phone_key(name), channel, criteria, timeout_s))

    def _search(self, sim: str, channel: int, criteria: Criteria, timeout_s: float | None) -> Deferred[Found]:
        kept = self._late.pop((sim, channel, criteria), None)
        if kept is not None and self._clock.seconds() < kept[0] + LATE_KEPT_S:
            self.counts["answered by a late list"] += 1
            return succeed(kept[1])
        terminal = self._terminals.get(sim)
        if terminal is None or terminal.link is None:
            why = self._terminals.why_offline(sim)
            return fail(TerminalOfflineError(sim, f"terminal {sim} is not online" + (f" (last link: {why})" if why else "")))
        search = _Search(sim, channel, criteria, self._clock.seconds())
        self.counts["searches"] += 1
        query = ResourceQuery(
            channel=channel, start_time=criteria.begin, end_time=criteria.end, alarm_flags=criteria.alarm_flags, media_type=criteria.media_type,
            stream_type=criteria.stream_type, storage_type=criteria.storage_type,
        )  # fmt: skip
        # over TCP nothing gets lost that a repeat could mend, and a terminal that is still reading its index would answer twice
        repeats = None if terminal.link.wire.transport == "udp" else 0
        search.request = self._terminals.request(sim, query, timeout_s or SEARCH_S, repeats, lambda serial: self._sent(search, serial))
        search.request.addCallbacks(self._answered, self._failed, callbackArgs=(search,), errbackArgs=(search,))
        return search.deferred

    def _sent(self, search: _Search, serial: int) -> None:
        search.serial = serial
        self._asked[search.sim, serial] = search
        self._asked.move_to_end((search.sim, serial))
        if len(self._asked) > ASKED_KEPT:
            self._asked.popitem(last=False)

    def _answered(self, message: Body, search: _Search) -> None:
        if search.outcome:
            return
        if isinstance(message, ResourceList):
            self._found(search, message, "")
        else:
            search.outcome = "bad reply"
            search.deferred.errback(BadReplyError(search.sim, f"the answer to 0x9205 is a message 0x{message.KEY:04X}"))

    def _failed(self, failure: Failure, search: _Search) -> None:
        if search.outcome:
            if not isinstance(failure.value, CancelledError | RequestError):
                log.failure("the search of {sim} failed after its end", sim=search.sim, failure=failure)
            return
        search.outcome = getattr(failure.value, "code", "failed")
        self.counts[f"failed: {search.outcome}"] += 1
        search.deferred.errback(failure)

    def _found(self, search: _Search, message: ResourceList, note: str) -> None:
        search.outcome = "found"
        self.counts["found"] += 1
        search.deferred.callback(Found(list(message.resources), self._clock.seconds() - search.began, note))

    # ---- answers that nobody waits for ---------------------------------------------------------------------------------------

    def _heard(self, terminal: Terminal, received: Received) -> None:
        message = received.message
        if not isinstance(message, ResourceList) or self.claim(terminal.sim, message.reply_serial, message):
            return
        search = self._asked.get((terminal.sim, message.reply_serial))
        if search is None:
            self._foreign(terminal.sim, message)
        elif search.outcome == "found":
            self._tell(terminal.sim, "twice", message)
        else:
            found = Found(list(message.resources), self._clock.seconds() - search.began, "late")
            self._late[search.sim, search.channel, search.criteria] = self._clock.seconds(), found
            while len(self._late) > 16:  # some 100 KB each when long
                self._late.popitem(last=False)
            self._tell(terminal.sim, "late", message)

    def _foreign(self, sim: str, message: ResourceList) -> None:
        waiting = [search for search in self._asked.values() if search.sim == sim and not search.outcome]
        if len(waiting) == 1 and all(waiting[0].criteria.fits(waiting[0].channel, each) for each in message.resources):
            [search] = waiting
            self.counts["taken with a foreign serial"] += 1
            self._found(search, message, f"foreign serial: it answers {message.reply_serial}, asked was {search.serial}")
            if search.request is not None:
                search.request.cancel()
            return
        self._tell(sim, "foreign", message)

    def _tell(self, sim: str, outcome: str, message: ResourceList) -> None:
        self.counts[f"answers: {outcome}"] += 1
        now = self._clock.seconds()
        if now < self._told_at + TELL_S:
            return
        self._told_at = now
        text = "{sim}: a list of {count} recordings that nobody waits for: {outcome}"
        log.info(text, sim=sim, count=len(message.resources), outcome=outcome)
        self._events.publish("recordings.answer", sim=sim, outcome=outcome, items=len(message.resources), reply_serial=message.reply_serial)

    def close(self) -> None:
        """Listen no more."""
        self._undo()
