"""Who is let in: the registration policy and the store's rows, without links.

``[terminals] registration``::

                      0x0100 of an unknown number     0x0102                                     neither of them
    known             refused, result 4               the code it was given (or the operator's)  answered "failed"
    first-seen        added, gets a code              the code; the first code of a new number   answered "failed"
                                                      is taken for its own
    open              added, gets a code              any code                                   let in at its first message
    row not enabled   refused, in every policy

Codes are random, 128 bit; the store keeps hashes and compares in constant time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred, succeed

from relay.identity import phone_key
from relay.jt808.messages.general import Authentication, Registration, RegistrationResult
from relay.store.connection import NO_LIMIT
from relay.store.terminals import KnownTerminal
from relay.wire import RawText

KNOWN, FIRST_SEEN, OPEN = "known", "first-seen", "open"


class TerminalRows(Protocol):
    """What is needed of the store (``relay.store.terminals.TerminalStore``)."""

    def get(self, number: str) -> Deferred[KnownTerminal | None]: ...
    def upsert(self, terminal: KnownTerminal, now: float, code: str = "") -> Deferred[KnownTerminal]: ...
    def list(self, limit: int = NO_LIMIT, offset: int = 0) -> Deferred[list[KnownTerminal]]: ...
    def registered(self, seen: KnownTerminal, now: float) -> Deferred[KnownTerminal]: ...
    def issue_auth_code(self, number: str, now: float) -> Deferred[str]: ...
    def set_auth_code(self, number: str, code: str, now: float) -> Deferred[bool]: ...
    def verify_auth_code(self, number: str, code: str) -> Deferred[bool]: ...


class Verdict(NamedTuple):
    """What was decided."""

    refused: str  #: "" = let in; else the reason: "unknown sim" "disabled" "someone else's sim" "wrong code" "no code"
    row: KnownTerminal | None = None
    code: str = ""  #: the new code of a registration
    result: int = RegistrationResult.OK  #: of the 0x8100


class Gate:
    """The policy."""

    def __init__(self, policy: str, rows: TerminalRows, wall: Callable[[], float]) -> None:
        self.policy = policy
        self.rows = rows
        self._wall = wall

    def register(self, phone: str, edition: int, message: Registration, online_id: str) -> Deferred[Verdict]:
        """Decide on a 0x0100. ``online_id`` is the terminal id of the terminal that is online under this number on another link, or ``""``."""

        def found(row: KnownTerminal | None) -> Verdict | Deferred[Verdict]:
            if row is None and self.policy == KNOWN:
                return Verdict("unknown sim", None, "", RegistrationResult.TERMINAL_UNKNOWN)
            if row is not None and not row.enabled:
                return Verdict("disabled", row, "", RegistrationResult.TERMINAL_UNKNOWN)
            if self.policy != OPEN and online_id and online_id != message.terminal_id:
                return Verdict("someone else's sim", row, "", RegistrationResult.TERMINAL_ALREADY_REGISTERED)
            seen = KnownTerminal(
                phone=phone,
                plate=str(message.plate_no),
                plate_color=message.plate_color,
                manufacturer=str(message.manufacturer_id),
                model=str(message.terminal_model),
                terminal_id=str(message.terminal_id),
                edition=edition or None,
                origin=self.policy if row is None else row.origin,
            )
            return self.rows.registered(seen, self._wall()).addCallback(issue)

        def issue(row: KnownTerminal) -> Deferred[Verdict]:
            return self.rows.issue_auth_code(row.key, self._wall()).addCallback(lambda code: Verdict("", row, code))

        return self.rows.get(phone_key(phone)).addCallback(found)

    def authenticate(self, phone: str, message: Authentication) -> Deferred[Verdict]:
        """Decide on a 0x0102."""
        sim = phone_key(phone)
        code = code_of(message)

        def found(row: KnownTerminal | None) -> Verdict | Deferred[Verdict]:
            if row is not None and not row.enabled:
                return Verdict("disabled", row)
            if self.policy == OPEN:
                return Verdict("", row)
            if row is None:
                if self.policy == KNOWN:
                    return Verdict("unknown sim")
                if not code:
                    return Verdict("no code")
                added = self.rows.upsert(KnownTerminal(phone=phone, origin=FIRST_SEEN), self._wall(), code)
                return added.addCallback(lambda known: Verdict("", known))
            if self.policy == FIRST_SEEN and code and not row.has_auth_code:
                return self.rows.set_auth_code(sim, code, self._wall()).addCallback(lambda _: Verdict("", row))
            return self.rows.verify_auth_code(sim, code).addCallback(lambda right: Verdict("" if right else "wrong code", row))

        return self.rows.get(sim).addCallback(found)

    def silent(self, phone: str) -> Deferred[Verdict]:
        """Decide on a terminal that does neither."""
        if self.policy != OPEN:
            return succeed(Verdict("not authenticated"))
        return self.rows.get(phone_key(phone)).addCallback(lambda row: Verdict("disabled" if row is not None and not row.enabled else "", row))

    def deregister(self, sim: str) -> Deferred[object]:
        """0x0003: the code is worth nothing any more."""
        if self.policy == OPEN:
            return succeed(None)
        return self.rows.set_auth_code(sim, "", self._wall()).addCallback(lambda changed: changed)


def code_of(message: Authentication) -> str:
    """The code as text that is equal exactly if the bytes are: what is no GBK must not become equal by being replaced."""
    code = message.auth_code
    return "bytes:" + code.raw.hex() if isinstance(code, RawText) else code
