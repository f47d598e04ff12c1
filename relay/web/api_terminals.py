"""The API's terminals: the list, the rows an operator keeps, and messages for experts."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from relay.core.link import (
    BadReplyError,
    IncompleteReplyError,
    NoReplyError,
    RefusedError,
    RequestError,
    TerminalOfflineError,
    TooManyRequestsError,
    WrongReplyError,
)
from relay.core.orders import Orders
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.hub.registry import Registry
from relay.hub.stream import StreamState
from relay.identity import StreamKey
from relay.jt808.messages import MESSAGES, Body
from relay.store.errors import StoreConflictError, StoreError
from relay.store.terminals import KnownTerminal
from relay.web.api_orders import reply_view
from relay.web.models import (
    MessageAnswer,
    MessageRequest,
    TerminalChange,
    TerminalList,
    TerminalNew,
    TerminalQuery,
    TerminalView,
)
from relay.web.names import Names, Rows
from relay.web.problem import Problem, refuse_newlines
from relay.web.router import Call, Permission, Route
from relay.wire import FieldError

_NUMBER = re.compile(r"[0-9A-Fa-f]{1,20}")
_MESSAGE_ID = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{4})")

#: terminals whose view is kept as JSON, 1.3 KB each: what has not changed since the last list is not written again
VIEWS_MAX = 5000

#: status and hint of what a terminal did with a request
REQUEST_PROBLEMS: dict[type[RequestError], tuple[int, str]] = {
    TerminalOfflineError: (503, "It has to connect to the JT/T 808 port first; its state is in /terminals."),
    NoReplyError: (504, "It may be busy, or its link be slow: try again with a longer timeout_s."),
    RefusedError: (409, "The terminal understood and said no; its manual or its vendor knows why."),
    IncompleteReplyError: (504, "A poor network, or a terminal that lost count: try again, or ask for less at a time."),
    BadReplyError: (502, "Its answer does not fit the standard; the log has the bytes."),
    WrongReplyError: (502, "It may have done it: its answer has the right number and the wrong name. A fault of its firmware."),
    TooManyRequestsError: (429, "Wait until it has answered what was asked before."),
}


def request_problem(error: RequestError) -> Problem:
    """A failed request to a terminal as an answer."""
    status, hint = REQUEST_PROBLEMS.get(type(error), (502, ""))
    hop = "sent" if isinstance(error, TerminalOfflineError) else "answered"
    return Problem(status, f"{error.message}.", code=error.code, hint=hint, hop=hop)


def store_problem(error: StoreError) -> Problem:
    """What the store could not do as an answer."""
    return Problem(503, f"{error}.", code="store", hint="The log says more; disk full, or the file locked?")


class TerminalApi:
    """Handlers and their routes."""

    def __init__(self, names: Names, rows: Rows, terminals: Terminals, hub: Registry, orders: Orders, wall: Callable[[], float]) -> None:
        self._names = names
        self._rows = rows
        self._terminals = terminals
        self._hub = hub
        self._orders = orders
        self._wall = wall
        self._written: dict[str, tuple[tuple[Any, ...], msgspec.Raw]] = {}

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        base, one = "/api/v1/terminals", "/api/v1/terminals/{sim}"
        viewer, operator = Permission.VIEWER, Permission.OPERATOR
        yield Route(
            method="GET", path=base, handler=self.list, permission=viewer, query=TerminalQuery, answer=TerminalList, tag="terminals", scope="filtered",
            summary="Terminals that are known or were seen", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="POST", path=base, handler=self.add, permission=operator, body=TerminalNew, answer=TerminalView, status=201,
            tag="terminals", summary="Add a known terminal", errors=(409, 503),
        )  # fmt: skip
        yield Route(
            method="GET", path=one, handler=self.get, permission=viewer, answer=TerminalView, tag="terminals", summary="One terminal",
            errors=(503,),
        )  # fmt: skip
        yield Route(
            method="PUT", path=one, handler=self.put, permission=operator, body=TerminalChange, answer=TerminalView, tag="terminals",
            summary="Change or add a known terminal", errors=(409, 503),
        )  # fmt: skip
        yield Route(
            method="DELETE", path=one, handler=self.remove, permission=operator, status=204, tag="terminals",
            summary="Forget a known terminal", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/messages/{{id}}", handler=self.message, permission=operator, body=MessageRequest,
            body_optional=True, answer=MessageAnswer, tag="messages", summary="Send any JT/T 808 message and wait for its reply",
            errors=(409, 429, 502, 503, 504),
        )  # fmt: skip

    # ---- the list ---------------------------------------------------------------------------------------------------------

    async def list(self, call: Call) -> dict[str, Any]:
        """One page, by number."""
        query: TerminalQuery = call.query
        rows = await self._names.known() if query.online is not True else {}
        wanted: dict[str, Terminal | KnownTerminal] = {}
        if query.online is not True:
            wanted.update((sim, row) for sim, row in rows.items() if not self._terminals.is_online(sim))
        for terminal in self._terminals.seen():
            if query.online is None or terminal.online == query.online:
                wanted[terminal.sim] = terminal
        needle = query.q.casefold()
        sims = sorted(sim for sim, item in wanted.items() if (not needle or needle in _haystack(sim, item)) and call.sees(sim))
        start = bisect_right(sims, query.after) if query.after else 0
        page = sims[start : start + query.limit]
        more = start + query.limit < len(sims)
        busy = {stream.key.sim for stream in self._hub.streams()}
        return {"items": [self._row(sim, wanted[sim], sim in busy) for sim in page], "total": len(sims), "next": page[-1] if more else None}

    def _row(self, sim: str, item: Terminal | KnownTerminal, busy: bool) -> msgspec.Raw | dict[str, Any]:
        """``view`` of a list: in a fleet most have said nothing since the last one. ``busy``: streams come and go without a word of its link."""
        if busy:
            return self.view(sim, item)
        stamp = _stamp(item)
        kept = self._written.get(sim)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        if len(self._written) >= VIEWS_MAX:
            self._written.clear()
        told = self._dict(sim, item)
        for channel in told["channels"]:
            channel["streaming"], channel["viewers"] = False, 0
        row = msgspec.Raw(msgspec.json.encode(told))
        self._written[sim] = stamp, row
        return row

    @staticmethod
    def _dict(sim: str, item: Terminal | KnownTerminal) -> dict[str, Any]:
        terminal = item if isinstance(item, Terminal) else Terminal(sim, item.phone, item)
        known = terminal.known
        told = terminal.as_dict()
        told["enabled"] = known.enabled if known is not None else True
        return told

    def view(self, sim: str, item: Terminal | KnownTerminal) -> dict[str, Any]:
        """What the API tells of a terminal."""
        told = self._dict(sim, item)
        for channel in told["channels"]:
            stream = self._hub.get(StreamKey(told["sim"], channel["channel"]))
            channel["streaming"] = stream is not None and stream.state is StreamState.RUNNING
            channel["viewers"] = stream.viewer_count() if stream is not None else 0
        return told

    async def _find(self, name: str) -> Terminal | KnownTerminal:
        sim = await self._names.sim(name)
        terminal = self._terminals.get(sim) if sim is not None else None
        if terminal is not None:
            return terminal
        row = await self._rows.get(sim) if sim is not None else None
        if row is None:
            raise Problem(404, f"Terminal {name} is not known.", code="unknown_terminal", hint="Add it with POST /api/v1/terminals.")
        return row

    async def get(self, call: Call) -> dict[str, Any]:
        """One terminal."""
        found = await self._find(call.path["sim"])
        return self.view(found.sim if isinstance(found, Terminal) else found.key, found)

    # ---- rows -------------------------------------------------------------------------------------------------------------

    async def add(self, call: Call) -> dict[str, Any]:
        """A new row; 409 when the number or the alias is taken."""
        change: TerminalNew = call.body
        return await self._write(change.phone, change, fresh=True)

    async def put(self, call: Call) -> dict[str, Any]:
        """The whole row; what is left out is emptied, except the authentication code."""
        name = call.path["sim"]
        row = await self._rows.get(await self._names.sim(name) or name)
        if row is None and not _NUMBER.fullmatch(name):
            raise Problem(404, f"Terminal {name} is not known.", code="unknown_terminal", hint="Its number is needed to add it.")
        return await self._write(row.phone if row is not None else name, call.body, fresh=False)

    async def _write(self, phone: str, change: TerminalChange, fresh: bool) -> dict[str, Any]:
        refuse_newlines(phone, change.plate, change.alias, change.manufacturer, change.model, change.terminal_id, change.code, change.group)
        refuse_newlines(*change.aliases, *change.channels, *change.channels.values(), *change.details, *change.details.values())
        row = KnownTerminal(
            phone=phone, plate=change.plate, plate_color=change.plate_color, alias=change.alias, manufacturer=change.manufacturer,
            model=change.model, terminal_id=change.terminal_id, edition=change.edition, enabled=change.enabled, group=change.group,
            channels={int(number): name for number, name in change.channels.items()}, details=change.details, aliases=tuple(change.aliases),
        )  # fmt: skip
        write = self._rows.add if fresh else self._rows.upsert
        try:
            stored = await write(row, self._wall(), change.code)
        except StoreConflictError as problem:
            hint = "Names and numbers are one terminal's each; PUT changes one that is known."
            raise Problem(409, f"{problem}.", code="taken", hint=hint) from None
        await self._changed()
        terminal = self._terminals.get(stored.key)
        return self.view(stored.key, terminal if terminal is not None else stored)

    async def remove(self, call: Call) -> None:
        """Forget a row; under the policy ``known`` its link is closed as well."""
        sim = await self._names.sim(call.path["sim"])
        if sim is None or not await self._rows.remove(sim):
            raise Problem(404, f"Terminal {call.path['sim']} is not known.", code="unknown_terminal")
        await self._changed()

    async def _changed(self) -> None:
        self._names.changed()
        await self._terminals.refresh()

    # ---- messages -----------------------------------------------------------------------------------------------------------

    async def message(self, call: Call) -> MessageAnswer:
        """Any message that a platform sends, by its id or class name."""
        request: MessageRequest = call.body
        kind = message_class(call.path["id"])
        found = await self._find(call.path["sim"])
        sim = found.sim if isinstance(found, Terminal) else found.key
        edition = found.edition or 0
        try:
            message = kind.from_fields(request.fields, edition)
            message.encode(edition)
        except FieldError as problem:
            raise Problem(400, f"{kind.__name__}: {problem}.", code="bad_fields", hint=f"Its fields are {_field_names(kind)}.") from None
        reply = await self._orders.ask(sim, message, call.principal.name, timeout_s=request.timeout_s, confirm=request.confirm)
        return MessageAnswer(f"0x{kind.KEY:04X}", reply_view(reply) if reply is not None else None)


def message_class(name: str) -> type[Body]:
    """The class of a message that goes down to terminals: ``0x8104``, ``8104`` (hexadecimal, as the standards write them) or its name."""
    match = _MESSAGE_ID.fullmatch(name)
    kind: type[Body] | None
    if match is not None:
        kind = MESSAGES.get(int(match.group(1), 16))
    else:
        kind = next((each for each in MESSAGES if name in (each.__name__, each.NAME)), None)
    if kind is None:
        hint = "Ids are hexadecimal, as in the standard: 0x8104. docs/reference/jt808.md lists them."
        raise Problem(404, f"There is no message {name}.", code="unknown_message", hint=hint)
    if kind.DIRECTION != "down":
        raise Problem(400, f"{name} is a message of terminals; it cannot be sent to one.", code="wrong_direction")
    return kind


def _field_names(kind: type[Body]) -> str:
    return ", ".join(kind.wire_fields) or "none"


def _stamp(item: Terminal | KnownTerminal) -> tuple[Any, ...]:
    """What differs when the view of a terminal without streams does: all that is told of one comes by its link, by its row, or is named here."""
    if not isinstance(item, Terminal):
        return (item,)
    return (
        item.link is None, item.offline_reason, item.connects, *item.traffic(), item.last_seen, item.edition, item.plate, item.manufacturer, item.model,
        item.terminal_id, len(item.channels), item.alarm_flags, item.video_alarm_flags, item.position_at, item.position, item.known,
    )  # fmt: skip


def _haystack(sim: str, item: Terminal | KnownTerminal) -> str:
    known = item.known if isinstance(item, Terminal) else item
    words = [sim, item.plate]
    if known is not None:
        words += [known.phone, known.plate, known.alias, *known.aliases, known.group]
    return "\n".join(words).casefold()
