"""Which terminal a name in a URL means, and the rows of the store for lists.

``core.alias`` knows every way to name a terminal; what is here is what the web side needs besides: an answer without waiting, for tokens
are checked before anything is looked up in the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from relay.core.alias import Resolver, names, tidy_plate
from relay.core.terminals import Terminals
from relay.identity import phone_key
from relay.store.connection import NO_LIMIT
from relay.store.terminals import KnownTerminal

CACHE_S = 1.0  #: the rows of the store are read at most so often for lists: pages ask again at each event
NUMBER_MAX = 20  #: digits of a terminal's number


class Rows(Protocol):
    """What is needed of the store (``relay.store.terminals.TerminalStore``)."""

    def get(self, number: str) -> Deferred[KnownTerminal | None]: ...
    def resolve(self, name: str) -> Deferred[KnownTerminal | None]: ...
    def list(self, limit: int = NO_LIMIT, offset: int = 0) -> Deferred[list[KnownTerminal]]: ...
    def add(self, terminal: KnownTerminal, now: float, code: str = "") -> Deferred[KnownTerminal]: ...
    def upsert(self, terminal: KnownTerminal, now: float, code: str = "") -> Deferred[KnownTerminal]: ...
    def remove(self, number: str) -> Deferred[bool]: ...


def is_number(name: str) -> bool:
    """Whether a name can only be a terminal's number: digits, or the hex letters that some have there, but then no alias."""
    return name.isascii() and name.isdigit() and len(name) <= NUMBER_MAX


class Names:
    """Looks terminals up, in what is online first."""

    def __init__(self, rows: Rows, terminals: Terminals, resolver: Resolver, seconds: Callable[[], float]) -> None:
        self._rows = rows
        self._terminals = terminals
        self._resolver = resolver
        self._seconds = seconds
        self._known: dict[str, KnownTerminal] = {}
        self._read_at = float("-inf")

    def quick(self, name: str) -> str | None:
        """The number, as ``phone_key`` has it, if it can be told without the store: of any terminal that was seen since the start."""
        terminal = self._terminals.get(name)
        if terminal is not None:
            return terminal.sim
        if is_number(name):
            return phone_key(name)
        plate = tidy_plate(name)
        called = [terminal.sim for terminal in self._terminals.seen() if plate in map(tidy_plate, names(terminal))]
        return called[0] if len(called) == 1 else None  # a plate that two terminals carry names none

    async def sim(self, name: str) -> str | None:
        """The number, as ``phone_key`` has it; None for a name that nobody has."""
        return await self._resolver.resolve(name)

    def all_of(self, sim: str) -> list[str]:
        """Every name of a terminal that was seen since the start, its number first."""
        return self._resolver.names_of(sim)

    async def known(self) -> dict[str, KnownTerminal]:
        """All rows of the store by number, read now or a moment ago."""
        if self._seconds() - self._read_at > CACHE_S:
            rows = await self._rows.list()
            self._known = {row.key: row for row in rows}
            self._read_at = self._seconds()
        return self._known

    def group(self, sim: str) -> str:
        """The group of a terminal, as far as is known without waiting: of those seen since the start, else of the rows read last."""
        terminal = self._terminals.get(sim)
        row = terminal.known if terminal is not None and terminal.known is not None else self._known.get(sim)
        return row.group if row is not None else ""

    def changed(self) -> None:
        """The rows were changed here: read them again."""
        self._read_at = float("-inf")
