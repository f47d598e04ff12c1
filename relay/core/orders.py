"""What people and superior platforms have terminals do besides sending media: one place that knows what is dangerous, what an edition lacks,
and who must be told of it.

    order_forms   words → message (no terminal needed)
    Orders.ask    message → checked, written to the audit, sent → reply

Nothing here knows HTTP: the API and the supervision of JT/T 809 (0x9500) call the same functions.

How an order ends, and the word for it (``RequestError.code``, or the event):

    answered                      the reply
    answered with 1, 2 or 3       refused
    silence                       no_reply; "accepted" when 0x0001 came and the real answer did not
    under another message's id    wrong_reply
    unreadable                    bad_reply
    link lost, not there          terminal_offline
    after the time limit          no_reply, and later the event terminal.late_answer
    twice                         the first counts; the second is counted (``terminals.counts``)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.events import Events
from relay.core.link import RequestError, TerminalOfflineError
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.errors import RelayError
from relay.hub.merge import Clock
from relay.identity import phone_key
from relay.jt808.messages.areas import VehicleControl
from relay.jt808.messages.base import Body
from relay.jt808.messages.parameters import (
    ParametersResponse,
    QueryAllParameters,
    QueryParameters,
    SetParameters,
    TerminalControl,
    UpgradePackage,
)
from relay.jt808.messages.text import CallBack
from relay.jt808.params import PARAMETERS
from relay.jt808.session_events import Received
from relay.wire.groups import Entry

log = Logger()

#: 设置终端参数: with these wrong the terminal talks to nobody, or to somebody else
ADDRESS_PARAMETERS = frozenset({*range(0x0010, 0x001E), *range(0x0023, 0x0027)})

#: items of one 0x8103 and of one 0x8106: a BYTE of count
PARAMETERS_MAX = 255

#: unasked messages that a person may wait for; told as events, at most one a second of each kind and terminal
TOLD = {0x0108, 0x0301, 0x0302, 0x0303, 0x0500, 0x0700, 0x0701, 0x0702, 0x0800, 0x0900, 0x0A00, 0x1005}
TELL_EVERY_S = 1.0
TOLD_MAX = 4096  #: (terminal, message id) whose last telling is remembered


class ConfirmationNeededError(RelayError):
    """The message can do harm: it needs the word of whoever sends it."""

    code = "confirmation_needed"


class NotPossibleError(RelayError):
    """The order cannot be put into a message for this terminal."""

    code = "not_possible"


#: ``core.audit.Audit.record``: who, action, subject, detail; no secrets in it
Record = Callable[[str, str, str, str], object]


def danger(message: Body) -> str:
    """What the message may do to vehicle or terminal, in words; empty when it is harmless."""
    if isinstance(message, VehicleControl):
        return "it acts on the vehicle: doors, fuel, circuits"
    if isinstance(message, TerminalControl):
        return {
            1: "it replaces the terminal's firmware",
            2: "it connects the terminal to another platform",
            3: "it powers the terminal off; only the vehicle's ignition brings it back",
            4: "it restarts the terminal",
            5: "it loses all settings, this platform's address among them",
            6: "it closes the terminal's data link",
            7: "it closes all wireless links of the terminal",
        }.get(message.command, "it is a control command that the standard does not name")
    if isinstance(message, UpgradePackage):
        return "it replaces firmware"
    if isinstance(message, CallBack):
        return "it makes the terminal call a telephone number, unheard with listen-in, at the cost of its SIM card"
    if isinstance(message, SetParameters):
        named = sorted({entry.id for entry in message.params} & ADDRESS_PARAMETERS)
        if named:
            return f"it changes how the terminal reaches its platform ({', '.join(f'0x{number:04X}' for number in named)})"
    return ""


def details(message: Body) -> dict[str, Any]:
    """A message for the audit: its fields, long ones cut, secrets left out."""
    return {name: _short(value) for name, value in _without_secrets(message).items()}


def _without_secrets(message: Body) -> dict[str, Any]:
    fields = dict(message.fields())
    if isinstance(message, SetParameters):
        fields["params"] = [
            {"id": entry.id, "value": "***"} if any(info.secret for info in type(entry).wire_fields.values()) else entry.fields() for entry in message.params
        ]
    if isinstance(message, TerminalControl):
        fields.pop("command_params", None)  # holds the dial password and an authentication code
    return {name: value for name, value in fields.items() if not getattr(type(message).wire_fields.get(name), "secret", False)}


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > 200:
        return f"{value[:200]}… ({len(value)} characters)"
    if isinstance(value, list) and len(value) > 20:
        return [*value[:20], f"… {len(value)} in all"]
    return value


class Orders:
    """Sends what somebody ordered."""

    def __init__(self, terminals: Terminals, clock: Clock, events: Events, record: Record | None = None) -> None:
        self.terminals = terminals
        self.events = events
        self._clock = clock
        self._record = record
        self._told: dict[tuple[str, int], float] = {}
        self._unwatch = terminals.watch_messages(self._message)

    def audit(self, who: str, action: str, sim: str, detail: dict[str, Any]) -> None:
        """Write it down, and tell the pages that are open, without what was said."""
        if self._record is not None:
            self._record(who, action, sim, json.dumps(detail, ensure_ascii=False))
        told = {name: value for name, value in detail.items() if name in ("message", "outcome")}
        self.events.publish("operator.action", who=who, action=action, sim=sim, **told)

    def edition(self, sim: str, default: int = 2013) -> int:
        """The edition that the terminal speaks, as far as it is known."""
        terminal = self.terminals.get(sim)
        return (terminal.edition if terminal is not None else 0) or default

    def terminal(self, sim: str) -> Terminal:
        """The terminal, which must be there; raises TerminalOfflineError."""
        found = self.terminals.get(sim)
        if found is None or not found.online:
            why = self.terminals.why_offline(sim)
            raise TerminalOfflineError(phone_key(sim), f"terminal {phone_key(sim)} is not online{f' ({why})' if why else ''}")
        return found

    def ask(
        self, sim: str, message: Body, who: str = "", *, timeout_s: float | None = None, confirm: bool = False, note: str = "", quiet: bool = False
    ) -> Deferred[Body | None]:
        """Send a message and wait for its reply; None for messages that nobody answers.

        Fails with NotPossibleError, ConfirmationNeededError or a RequestError. ``note`` says in the audit what it is for; ``quiet`` is for questions
        that change nothing and are not written there.
        """
        kind = type(message)
        edition = self.edition(sim, 0)
        if edition and edition < kind.SINCE:
            return fail(NotPossibleError(f"0x{kind.KEY:04X} {kind.ENGLISH} exists since JT/T 808-{kind.SINCE}; terminal {phone_key(sim)} speaks {edition}"))
        harm = danger(message)
        if harm and not confirm:
            return fail(ConfirmationNeededError(f"0x{kind.KEY:04X} {kind.ENGLISH} wants to be confirmed: {harm}"))
        detail = {"message": f"0x{kind.KEY:04X}", "name": kind.ENGLISH, **({"note": note} if note else {}), "fields": details(message)}
        if not kind.REPLY:
            serial = self.terminals.send(sim, message)
            if serial is None:
                return fail(TerminalOfflineError(phone_key(sim), f"terminal {phone_key(sim)} is not online"))
            if not quiet:
                self.audit(who, "message", phone_key(sim), {**detail, "outcome": "sent"})
            done: Deferred[Body | None] = Deferred()
            done.callback(None)
            return done
        waiting = self.terminals.request(sim, message, timeout_s)
        if quiet:
            return waiting.addCallback(lambda reply: reply)

        def answered(reply: Body) -> Body:
            self.audit(who, "message", phone_key(sim), {**detail, "outcome": "answered", "reply": f"0x{reply.msg_id:04X}"})
            return reply

        def failed(failure: Failure) -> Failure:
            problem = failure.value
            outcome = problem.code if isinstance(problem, RequestError) else type(problem).__name__
            self.audit(who, "message", phone_key(sim), {**detail, "outcome": outcome})
            return failure

        return waiting.addCallbacks(answered, failed)

    # ---- parameters -----------------------------------------------------------------------------------------------------------

    async def parameters(self, sim: str, ids: list[int] | None = None, who: str = "", timeout_s: float | None = None) -> list[Entry]:
        """All parameters (0x8104), or those asked for (0x8106; a terminal of 2011 knows only 0x8104, of which they are picked)."""
        if ids and len(ids) > PARAMETERS_MAX:
            raise NotPossibleError(f"{len(ids)} parameters; at most {PARAMETERS_MAX} at a time")
        if ids and self.edition(sim) >= 2013:
            reply = await self.ask(sim, QueryParameters(param_ids=ids), who, timeout_s=timeout_s, quiet=True)
        else:
            reply = await self.ask(sim, QueryAllParameters(), who, timeout_s=timeout_s, quiet=True)
        if not isinstance(reply, ParametersResponse):
            return []
        return [entry for entry in reply.params if not ids or entry.id in ids]

    async def set_parameters(
        self, sim: str, entries: list[Entry], who: str = "", *, confirm: bool = False, timeout_s: float | None = None
    ) -> None:
        """0x8103. What would lose the terminal needs ``confirm``."""
        if not entries:
            raise NotPossibleError("no parameter is given")
        if len(entries) > PARAMETERS_MAX:
            raise NotPossibleError(f"{len(entries)} parameters; at most {PARAMETERS_MAX} at a time")
        edition = self.edition(sim)
        for entry in entries:
            since = PARAMETERS.classes[entry.id].SINCE if entry.id in PARAMETERS.classes else 0
            if since > edition:
                raise NotPossibleError(f"parameter 0x{entry.id:04X} exists since JT/T 808-{since}; terminal {phone_key(sim)} speaks {edition}")
        total = len(entries) if edition == 2011 else None
        await self.ask(sim, SetParameters(total_count=total, params=entries), who, confirm=confirm, timeout_s=timeout_s)

    # ---- what comes unasked -----------------------------------------------------------------------------------------------------

    def _message(self, terminal: Terminal, received: Received) -> None:
        message = received.message
        if message is None or received.header.msg_id not in TOLD:
            return
        now = self._clock.seconds()
        key = terminal.sim, received.header.msg_id
        if now < self._told.get(key, float("-inf")) + TELL_EVERY_S:
            self.terminals.counts["messages not told as events"] += 1
            return
        self._told.pop(key, None)
        self._told[key] = now
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]
        fields = {name: _short(value) for name, value in message.fields().items()}
        self.events.publish("terminal.message", sim=terminal.sim, id=f"0x{key[1]:04X}", message=type(message).__name__, fields=fields)

    def close(self) -> None:
        """No more."""
        self._unwatch()
