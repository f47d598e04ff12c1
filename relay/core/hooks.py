"""Tells other programs what happens: each ``[[hook]]`` gets its events by HTTP POST, in order, signed, again when it did not take them.

    event ── name ── wanted by the hook? ── queue (bounded) ── one POST at a time ── 2xx: next
                                                                │
                                                                └─ else again after RETRY_S, then dropped and counted

Body, JSON: ``{"hook": "on_terminal_online", "server": "…", "event": {…as /api/v1/events gives it…}}``. Headers: ``X-JT1078-Hook`` with the
name, ``X-JT1078-Delivery`` with an id that is the same for every try, and with a secret ``X-JT1078-Signature: t=UNIX,v1=HEX``, where HEX is
HMAC-SHA256(secret, "UNIX." + body).

A hook with ``decide = true`` is asked before a play (``on_play``): it answers ``{"allow": false, "message": "…"}`` to refuse (``{"code": N}``
with N other than 0 does as well, as servers of this kind have it). ``form = "srs"`` has bodies of its own (``hooks_srs``).
A play waits for it at most ``timeout_s``; ``on_failure`` says what then.

The configuration may be read again (``configure``). A hook is known by its name: with other settings it keeps its queue and its counters. One that is
gone, or has another form, is told nothing more; what waits for it is still delivered, up to the first that has to be given up.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core import hooks_srs
from relay.core.events import Event, Events
from relay.core.live_failure import StartFailed
from relay.core.throttle import PeerLog
from relay.core.trace import REQUESTED
from relay.hub.merge import Clock, DelayedCall
from relay.settings import Hook as HookSettings

log = Logger()

SRS = "srs"  #: the form of SRS's callbacks
QUEUE_MAX = 1000  #: events that wait for one hook: some minutes of a fleet's coming and going; beyond it the oldest is dropped
RETRY_S = (1.0, 5.0, 25.0)  #: after the first, second and third failure; then the event is given up
ANSWER_MAX = 65536  #: bytes of an answer that are read
LOG_S = 10.0  #: at most one line about a failing hook in so long

#: the bus' name -> the hook's, where it is not ``on_`` with dots made underscores
NAMES = {
    "stream.connected": "on_publish",
    "stream.started": "on_first_frame",
    "stream.ended": "on_unpublish",
    "stream.not_found": "on_stream_not_found",
    "stream.unwatched": "on_stream_none_reader",
    "viewer.began": "on_play",
    "viewer.ended": "on_stop",
    "alarm.begin": "on_alarm",
    "alarm.end": "on_alarm",
    "budget.warn": "on_budget",
    "budget.sub": "on_budget",
    "budget.spent": "on_budget",
    "budget.renewed": "on_budget",
    "relay.started": "on_server_started",
    "relay.stopping": "on_server_stopping",
}

#: (address, headers, body, seconds) -> (status, body of the answer); fails with any exception whose text says why
Post = Callable[[str, dict[str, str], bytes, float], Deferred[tuple[int, bytes]]]

#: ``Hooks.permit``: (terminal, channel, kind, format, who, address)
Permit = Callable[[str, int, str, str, str, str], Awaitable[None]]


def hook_name(event: str) -> str:
    """``terminal.online`` as hooks call it: ``on_terminal_online``."""
    return NAMES.get(event, "on_" + event.replace(".", "_"))


def signature(secret: str, body: bytes, unix: int) -> str:
    """The header by which a receiver knows that a delivery is ours and fresh."""
    return f"t={unix},v1={hmac.new(secret.encode(), f'{unix}.'.encode() + body, hashlib.sha256).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a deciding hook says of a play."""

    allow: bool
    message: str = ""


ALLOWED = Verdict(True)


@dataclass(slots=True)
class _Delivery:
    name: str
    body: bytes
    ident: str
    tries: int = 0


class Hook:
    """One receiver."""

    def __init__(self, settings: HookSettings, post: Post, clock: Clock, wall: Callable[[], float], peer_log: PeerLog) -> None:
        self.settings = settings
        self.counts: Counter[str] = Counter()  #: delivered, failed, dropped, allowed, refused, undecided
        self.last_error = ""
        self.last_error_at = 0.0  #: seconds since 1970; 0 = none yet
        self.delivered_at = 0.0  #: the last one that was taken
        self._post = post
        self._clock = clock
        self._wall = wall
        self._log = peer_log
        self._queue: deque[_Delivery] = deque()
        self._sending: Deferred[Any] | None = None
        self._timer: DelayedCall | None = None
        self._closed = False
        self._left: Callable[[Hook], None] | None = None

    @property
    def waiting(self) -> int:
        """Events that are not delivered yet."""
        return len(self._queue)

    def wants(self, name: str) -> bool:
        """Whether its ``events`` name this one, and its form has a word for it."""
        if self.settings.form == SRS and (name not in hooks_srs.ACTIONS or (name == "on_play" and self.settings.decide)):
            return False  # SRS calls on_play once: who decides about plays was told by being asked
        return any(fnmatchcase(name, pattern) for pattern in self.settings.events or ("*",))

    def tell(self, name: str, body: bytes) -> None:
        """Deliver, after what waits already."""
        if self._closed:
            return
        if len(self._queue) >= QUEUE_MAX:
            # the one being sent stays, whose answer is awaited
            del self._queue[1 if self._sending is not None or self._timer is not None else 0]
            self.counts["dropped"] += 1
        self._queue.append(_Delivery(name, body, secrets.token_hex(8)))
        self._next()

    def change(self, settings: HookSettings) -> None:
        """From now on these, for what waits too; what had to be tried again is tried at once."""
        self.settings = settings
        self._left = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._queue[0].tries = 0
            self._next()

    def leave(self, left: Callable[[Hook], None]) -> None:
        """It is not in the configuration any more: ``left`` is called when nothing waits."""
        self._left = left
        self._next()

    def _next(self) -> None:
        if self._sending is not None or self._timer is not None or self._closed:
            return
        if not self._queue:
            if self._left is not None:
                self._left(self)
            return
        delivery = self._queue[0]
        delivery.tries += 1
        self._sending = self._send(delivery.name, delivery.body, delivery.ident, self.settings.timeout_s)
        self._sending.addCallbacks(self._answered, self._failed)

    def _send(self, name: str, body: bytes, ident: str, timeout_s: float) -> Deferred[tuple[int, bytes]]:
        headers = {"Content-Type": "application/json", "User-Agent": "jt1078relay", "X-JT1078-Hook": name, "X-JT1078-Delivery": ident}
        if self.settings.secret:
            headers["X-JT1078-Signature"] = signature(self.settings.secret, body, int(self._wall()))
        return self._post(self.settings.url, headers, body, timeout_s)

    def _answered(self, answer: tuple[int, bytes]) -> None:
        if 200 <= answer[0] < 300:
            self._sending = None
            self.counts["delivered"] += 1
            self.delivered_at = self._wall()
            self._queue.popleft()
            self._next()
        else:
            self._again(f"it answered {answer[0]}")

    def _failed(self, failure: Failure) -> None:
        if not self._closed:
            self._again(failure.getErrorMessage() or str(failure.type))

    def _again(self, why: str) -> None:
        self._sending = None
        self._went_wrong(why)
        delivery = self._queue[0]
        self._log.warn(self.settings.name, "hook {name}: {what} was not delivered: {why}", name=self.settings.name, what=delivery.name, why=why)
        if delivery.tries > len(RETRY_S):
            self._queue.popleft()
            self.counts["failed"] += 1
            if self._left is not None:  # nobody may be there: the rest is not tried for hours
                self.counts["dropped"] += len(self._queue)
                self._queue.clear()
            self._next()
            return
        self._timer = self._clock.callLater(RETRY_S[delivery.tries - 1], self._retry)

    def _retry(self) -> None:
        self._timer = None
        self._next()

    def _went_wrong(self, why: str) -> None:
        self.last_error, self.last_error_at = why, self._wall()

    def test(self, body: bytes) -> Deferred[tuple[int, bytes]]:
        """Send ``on_test`` at once, past the queue, whatever ``events`` says; what comes back is the caller's to judge, and counts nowhere."""
        return self._send("on_test", body, secrets.token_hex(8), self.settings.timeout_s)

    def decide(self, name: str, body: bytes) -> Deferred[Verdict]:
        """Ask at once, past the queue."""
        return self._send(name, body, secrets.token_hex(8), self.settings.timeout_s).addCallbacks(self._decided, self._undecided)

    def _decided(self, answer: tuple[int, bytes]) -> Verdict:
        status, body = answer
        try:
            said = json.loads(body) if body.strip() else {}
        except ValueError:
            said = None
        if self.settings.form == SRS:
            said = hooks_srs.verdict(said)
        if not isinstance(said, dict) or status >= 500:
            return self._without(f"it answered {status} and no JSON object")
        message = str(said.get("message") or said.get("msg") or "")[:200]
        allow = 200 <= status < 300 and said.get("allow", True) is not False and said.get("code", 0) in (0, None)
        self.counts["allowed" if allow else "refused"] += 1
        return Verdict(allow, message or ("" if allow else "refused by the hook"))

    def _undecided(self, failure: Failure) -> Verdict:
        return self._without(failure.getErrorMessage() or str(failure.type))

    def _without(self, why: str) -> Verdict:
        self.counts["undecided"] += 1
        self._went_wrong(why)
        allow = self.settings.on_failure == "allow"
        self._log.warn(self.settings.name, "hook {name} did not decide a play ({why}): {what}", name=self.settings.name, why=why,
                       what="allowed" if allow else "refused")  # fmt: skip
        return Verdict(allow, "" if allow else "the hook that decides about plays does not answer")

    def close(self) -> None:
        """Nothing more is sent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending is not None:
            self._sending.cancel()
        self._queue.clear()


class Hooks:
    """All of them, on the bus."""

    def __init__(
        self, settings: Iterable[HookSettings], post: Post, events: Events, clock: Clock, wall: Callable[[], float], server: str
    ) -> None:
        peer_log = PeerLog(log, clock.seconds, LOG_S)
        self.hooks: list[Hook] = []
        self._make = partial(Hook, post=post, clock=clock, wall=wall, peer_log=peer_log)
        self._server = server
        self._events = events
        self._stop: Callable[[], None] | None = None
        self._leaving: list[Hook] = []  #: not in the configuration any more, and something waits for them
        self._gone: Counter[str] = Counter()  #: what became of deliveries to those that have left
        self.configure(settings)

    def configure(self, wanted: Iterable[HookSettings]) -> list[str]:
        """The configuration's, at the start and when it is read again; gives what is otherwise, in words."""
        before = {hook.settings.name: hook for hook in self.hooks}
        changes, self.hooks = [], []
        for settings in wanted:
            hook = before.get(settings.name)
            if hook is not None and hook.settings.form == settings.form:
                del before[settings.name]
                if hook.settings != settings:
                    hook.change(settings)
                    changes.append(f"hook {settings.name} (changed)")
            else:  # bodies that wait are made already: another form is another hook
                hook = self._back(settings) or self._make(settings)
                changes.append(f"hook {settings.name} ({'changed' if settings.name in before else 'new'})")
            self.hooks.append(hook)
        names = {hook.settings.name for hook in self.hooks}
        changes += [f"hook {name} (gone)" for name in before if name not in names]
        self._leaving += before.values()
        for hook in before.values():
            hook.leave(self._left)
        if self.hooks and self._stop is None:
            self._stop = self._events.subscribe(self._heard)
        elif self._stop is not None and not self.hooks:
            self._stop()
            self._stop = None
        return changes

    def _back(self, settings: HookSettings) -> Hook | None:
        """One that was leaving."""
        hook = next((one for one in self._leaving if (one.settings.name, one.settings.form) == (settings.name, settings.form)), None)
        if hook is not None:
            self._leaving.remove(hook)
            hook.change(settings)
        return hook

    def _left(self, hook: Hook) -> None:
        self._leaving.remove(hook)
        self._gone += hook.counts
        hook.close()

    def _heard(self, event: Event) -> None:
        name = hook_name(event["event"])
        wanting = [hook for hook in self.hooks if hook.wants(name)]
        for hook in wanting:
            body = self._body(hook, name, event)
            if body:
                hook.tell(name, body)

    def _body(self, hook: Hook, name: str, event: Event) -> bytes:
        """Empty: its form cannot say this."""
        told = hooks_srs.callback(name, event, self._server) if hook.settings.form == SRS else self._own(name, event)
        return json.dumps(told, ensure_ascii=False).encode() if told is not None else b""

    def _own(self, name: str, event: Event) -> dict[str, Any]:
        return {"hook": name, "server": self._server, "event": event}

    def get(self, name: str) -> Hook | None:
        """One, by its name."""
        return next((hook for hook in self.hooks if hook.settings.name == name), None)

    def test(self, hook: Hook, who: str) -> Deferred[tuple[int, bytes]]:
        """A delivery that says who asked for it, and nothing else; in our own form, SRS has none for it."""
        told = self._own("on_test", {"event": "hook.test", "hook": hook.settings.name, "who": who})
        return hook.test(json.dumps(told, ensure_ascii=False).encode())

    def may_play(self, **what: Any) -> Deferred[Verdict]:
        """Whether a play may begin: every deciding hook is asked, one after the other; the first refusal counts."""
        deciding = [hook for hook in self.hooks if hook.settings.decide]
        if not deciding:
            return succeed(ALLOWED)
        return Deferred.fromCoroutine(self._ask(deciding, what))

    async def permit(self, sim: str, channel: int, kind: str, output: str, who: str, address: str) -> None:
        """Raises StartFailed (403) for a play that a deciding hook refuses. ``sim`` may be any name of the terminal, or a playback's id."""
        verdict = await self.may_play(sim=sim, channel=channel, kind=kind, format=output, who=who, address=address)
        if not verdict.allow:
            raise StartFailed(403, "refused_by_hook", f"{verdict.message}.", "The program that decides about plays said no.", REQUESTED)

    async def _ask(self, hooks: list[Hook], what: dict[str, Any]) -> Verdict:
        for hook in hooks:
            verdict = await hook.decide("on_play", self._body(hook, "on_play", what))
            if not verdict.allow:
                return verdict
        return ALLOWED

    @property
    def counts(self) -> Counter[str]:
        """What became of deliveries, all hooks together."""
        return sum((hook.counts for hook in (*self.hooks, *self._leaving)), self._gone)

    @property
    def waiting(self) -> int:
        """Events that are not delivered yet."""
        return sum(hook.waiting for hook in (*self.hooks, *self._leaving))

    def close(self) -> None:
        """The relay stops; what waits is not delivered."""
        if self._stop is not None:
            self._stop()
        for hook in (*self.hooks, *self._leaving):
            hook.close()
