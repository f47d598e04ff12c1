"""One signalling link: the session, its wire, one timer, and the Deferreds of those who wait for replies.

    net.terminal808 ──received(data) / frame(header, body) / lost(reason)──→ Link ──events──→ Terminals
                    ←──write(frames) / close(reason)── Wire
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from relay.errors import RelayError
from relay.hub.merge import DelayedCall
from relay.jt808.header import Header
from relay.jt808.messages.base import Body, OpaqueBody
from relay.jt808.messages.general import Registration
from relay.jt808.session import Session
from relay.jt808.session_events import Accepted, BusyError, Ended, Event, Failed, Phase, Replied, Role
from relay.jt808.session_replies import RESULT_WORDS, TERMINAL_GENERAL
from relay.jt808.session_requests import Request

if TYPE_CHECKING:
    from relay.core.terminals import Terminals


class Wire(Protocol):
    """What carries the link's bytes; ``relay.net.terminal808`` has the real ones."""

    peer: str  #: "address:port"
    host: str  #: the peer's address alone
    local: str  #: our address that the peer reached: what it can reach for media too
    transport: str  #: "tcp" | "tls" | "udp"

    def write(self, frames: list[bytes]) -> None:
        """Send whole frames."""

    def close(self, reason: str) -> None:
        """Close; ``Link.lost`` may or may not be called afterwards."""


class RequestError(RelayError):
    """A request to a terminal that was not answered as hoped. ``code`` is a word for programs."""

    code = "failed"

    def __init__(self, sim: str, message: str) -> None:
        super().__init__(message)
        self.sim = sim
        self.message = message


class TerminalOfflineError(RequestError):
    """It is not there, or its link was lost while it had not answered."""

    code = "terminal_offline"


class NoReplyError(RequestError):
    """It did not answer in time. ``accepted``: it said yes (0x0001), but the special answer did not come."""

    code = "no_reply"

    def __init__(self, sim: str, message: str, accepted: bool = False) -> None:
        super().__init__(sim, message)
        self.accepted = accepted


class RefusedError(RequestError):
    """It said no: ``result`` of its 0x0001 (1 failed, 2 message error, 3 not supported)."""

    code = "refused"

    def __init__(self, sim: str, message: str, result: int) -> None:
        super().__init__(sim, message)
        self.result = result


class IncompleteReplyError(RequestError):
    """Its answer came in sub-packages, and they stopped before it was whole."""

    code = "incomplete_reply"


class BadReplyError(RequestError):
    """Its answer came and could not be read."""

    code = "bad_reply"


class WrongReplyError(RequestError):
    """Its 0x0001 had the request's serial and named another message; nothing better came in time."""

    code = "wrong_reply"


class TooManyRequestsError(RequestError):
    """As many requests as a link may hold wait already."""

    code = "busy"


class _Context(NamedTuple):
    """Rides on a session's request."""

    waiting: Deferred[Body]
    name: str
    began: float


class Link:
    """One link of a terminal that may not have authenticated yet."""

    __slots__ = ("_call", "_call_at", "_queue", "_terminals", "failures", "query_at", "registration", "session", "sim", "wire")

    def __init__(self, terminals: Terminals, wire: Wire, phone: str = "", session: Session | None = None) -> None:
        self.wire = wire
        self.sim = ""  #: key of the terminal, once it is let in
        self.failures = 0  #: refused authentications
        self.query_at = float("inf")  #: when to ask for the terminal's attributes
        self.registration: Registration | None = None  #: accepted, and not yet the terminal's (``Terminals.registered``)
        self._terminals = terminals
        self._call: DelayedCall | None = None
        self._call_at = 0.0
        self._queue: list[Body] = []  #: questions still to be asked about itself
        self.session = session or Session(Role.PLATFORM, terminals.options, terminals.clock.seconds(), phone)
        self._arm()

    @property
    def open(self) -> bool:
        """Bytes still count."""
        return self.session.phase is not Phase.CLOSED

    @property
    def ready(self) -> bool:
        """It has authenticated."""
        return self.session.phase is Phase.READY

    # ---- from the adapter -----------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of a stream."""
        self.session.receive(data, self._terminals.clock.seconds())
        self.settle()

    def frame(self, header: Header, body: bytes, size: int) -> None:
        """One good frame of a datagram."""
        self.session.bytes_in += size
        self.session.take(header, body, self._terminals.clock.seconds())
        self.settle()

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        self.session.end(reason)
        self.settle()

    def end(self, reason: str) -> None:
        """Close it from our side, after what is still to be said."""
        self.session.end(reason)
        self.settle()

    def leave(self) -> None:
        """Another process goes on with it: who waits for replies is told, and nothing more is done here."""
        self.session.leave()
        self.settle()
        self._queue = []
        self.query_at = float("inf")
        self._cancel()

    @property
    def has_questions(self) -> bool:
        """Something is still to be asked about itself."""
        return bool(self._queue)

    # ---- requests -------------------------------------------------------------------------------------------------------

    def request(
        self, message: Body, timeout_s: float | None = None, repeats: int | None = None, sent: Callable[[int], None] | None = None
    ) -> Deferred[Body]:
        """Send and wait for the reply; the Deferred fails with a RequestError, and may be cancelled.

        ``sent`` is called with the message's serial before anything can answer to it.
        """
        now = self._terminals.clock.seconds()
        holder: list[Request] = []
        waiting: Deferred[Body] = Deferred(lambda _: self.session.cancel(holder[0]))
        name = f"0x{message.KEY:04X} {message.ENGLISH}"
        try:
            holder.append(self.session.request(message, now, timeout_s=timeout_s, repeats=repeats, context=_Context(waiting, name, now)))
        except BusyError as problem:
            waiting.errback(TooManyRequestsError(self.sim, str(problem)))
            return waiting
        if sent is not None:
            sent(holder[0].serial)
        self.settle()
        return waiting

    def send(self, message: Body) -> int:
        """Send what awaits no reply; gives its serial."""
        serial = self.session.send(message, self._terminals.clock.seconds())
        self.settle()
        return serial

    def _answered(self, event: Replied | Failed, now: float) -> None:
        context = event.request.context
        if not isinstance(context, _Context) or context.waiting.called:
            return
        waiting, name, began = context
        if isinstance(event, Replied):
            if event.problem:
                waiting.errback(BadReplyError(self.sim, f"the answer to {name} cannot be read: {event.problem}"))
                return
            message = event.message
            if message is None:
                message = OpaqueBody(event.header.msg_id if event.header is not None else TERMINAL_GENERAL, event.body)
            self._terminals.told(self, message)
            waiting.callback(message)
        elif event.reason == "refused":
            word = RESULT_WORDS.get(event.result, f"result {event.result}")
            waiting.errback(RefusedError(self.sim, f"the terminal answered {name} with {event.result} ({word})", event.result))
        elif event.reason == "incomplete":
            text = f"the answer to {name} came in pieces, and they stopped before it was whole, {now - began:.1f} s after it was sent"
            waiting.errback(IncompleteReplyError(self.sim, text))
        elif event.reason == "closed":
            waiting.errback(TerminalOfflineError(self.sim, f"the terminal's link was lost {now - began:.1f} s after {name} was sent"))
        else:
            if event.request.misnamed:
                text = f"the terminal answered {name} under another message's id, 0x{event.request.misnamed:04X}"
                waiting.errback(WrongReplyError(self.sim, text))
                return
            accepted = event.reason == "unfinished"
            what = "accepted it, but its answer did not come" if accepted else "did not answer"
            text = f"the terminal {what} within {now - began:.1f} s: {name}"
            if event.request.repeats:
                text = f"{text}, sent {event.request.repeats + 1} times"
            waiting.errback(NoReplyError(self.sim, text, accepted))

    # ---- questions about itself, politely one at a time -----------------------------------------------------------------

    def ask_later(self, questions: list[Body], at: float) -> None:
        """Ask these one after another, beginning at ``at``; silence is no fault."""
        self._queue = questions
        self.query_at = at
        self._arm()

    def _ask_next(self) -> None:
        self.query_at = float("inf")
        if not self._queue or not self.ready:
            return
        question = self._queue.pop(0)
        terminals = self._terminals

        def not_heard(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, RequestError):
                return failure
            terminals.counts["questions unanswered"] += 1
            return None

        waiting = self.request(question, timeout_s=terminals.settings.reply_timeout_s, repeats=0)
        waiting.addErrback(not_heard)
        waiting.addCallback(lambda _: self._ask_next() if self.open else None)

    # ---- inside ---------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Write what is to be written, deal with what happened, arm the timer."""
        terminals = self._terminals
        now = terminals.clock.seconds()
        session = self.session
        while True:
            self._flush()
            events: list[Event] = session.events()
            if not events:
                break
            for event in events:
                if isinstance(event, Replied | Failed):
                    self._answered(event, now)
                elif isinstance(event, Ended):
                    self._flush()
                    self._cancel()
                    terminals.ended(self, event.reason)
                    self.wire.close(event.reason)
                elif not isinstance(event, Accepted):
                    terminals.happened(self, event)
        self._arm()

    def _flush(self) -> None:
        frames = self.session.frames_to_send()
        if frames:
            self.session.bytes_out += sum(map(len, frames))
            self.wire.write(frames)

    def _arm(self) -> None:
        """One call for the next deadline. An earlier one that is already scheduled finds out by itself that it came too soon: with heartbeats
        moving the idle deadline all the time this is cheaper than moving the call."""
        if not self.open:
            self._cancel()
            return
        deadline = self.session.next_deadline()
        at = min(deadline if deadline is not None else float("inf"), self.query_at)
        if at == float("inf"):
            return
        if self._call is not None:
            if self._call_at <= at:
                return
            self._call.cancel()
        self._call_at = at
        self._call = self._terminals.clock.callLater(max(0.0, at - self._terminals.clock.seconds()), self._tick)

    def _tick(self) -> None:
        self._call = None
        now = self._terminals.clock.seconds()
        if now >= self.query_at:
            self._ask_next()
        self.session.tick(now)
        self.settle()

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
