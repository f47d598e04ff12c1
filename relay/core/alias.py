"""Whose stream is meant by the ``{sim}`` of a URL: a number with or without zeros in front, an alias, a plate, an 809 name.

    13800138000, 013800138000     the number
    bus-17                        the alias the operator gave it, unique
    粤B12345, 粤B·12345           the plate, when only one terminal carries it
    粤B12345.1, 粤B12345_1        plate and plate colour, as the inter-platform URLs of JT/T 1078 name a vehicle

Also the other way round for media: whose is a packet's SIM field that is not the number of the signalling.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.identity import phone_key
from relay.store.terminals import KnownTerminal

NAME_MAX = 64  #: characters; nothing that is longer can be an alias, a plate or a number


class Names(Protocol):
    """What is needed of the store."""

    def resolve(self, name: str) -> Deferred[KnownTerminal | None]:
        """By number, alias or plate."""


class Resolver:
    """Finds terminals by any of their names: those that are online first, then the store."""

    def __init__(self, terminals: Terminals, names: Names) -> None:
        self._terminals = terminals
        self._names = names

    def resolve(self, name: str) -> Deferred[str | None]:
        """The terminal's key (as ``phone_key`` gives it), or None when nobody is called so."""
        name = name.strip()
        if not name or len(name) > NAME_MAX:
            return succeed(None)
        found = self._terminals.get(name)
        if found is not None:
            return succeed(found.sim)
        return self._names.resolve(name).addCallback(self._stored, name)

    def _stored(self, row: KnownTerminal | None, name: str) -> str | Deferred[str | None] | None:
        if row is not None:
            return row.key
        plate, color = split_color(tidy_plate(name))
        online = [t for t in self._terminals.online() if tidy_plate(_plate(t)) == plate and color in (None, _color(t))]
        if len(online) == 1:
            return online[0].sim
        if plate == name and color is None:
            return None
        return self._names.resolve(plate).addCallback(lambda row: row.key if row is not None and color in (None, row.plate_color) else None)

    def names_of(self, sim: str) -> list[str]:
        """Every name of a terminal that was seen since the start, its number first."""
        terminal = self._terminals.get(sim)
        return list(dict.fromkeys([sim, *names(terminal)])) if terminal is not None else [sim]

    def whose_media(self, sim: str) -> Terminal | None:
        """The terminal that sends media under this SIM field: its own number, the alias that the operator wrote for it, or its number cut to
        twelve digits. None when nobody, or more than one, fits."""
        terminals = self._terminals
        key = phone_key(sim)
        own = terminals.get(key)
        if own is not None:
            return own
        fitting = terminals.called(key)
        return fitting[0] if len(fitting) == 1 else None


def names(terminal: Terminal) -> list[str]:
    """Alias and plates."""
    known = terminal.known
    found = [known.alias, *known.aliases, known.plate, terminal.plate] if known is not None else [terminal.plate]
    return [name for name in found if name]


def tidy_plate(text: str) -> str:
    """A plate as it is compared: no spaces, no middle dots, letters as capitals."""
    return "".join(c for c in text if c not in " \u00b7\u2022\u30fb-").upper()


def split_color(name: str) -> tuple[str, int | None]:
    """``粤B12345.1`` → plate and colour; the colour is None when there is none."""
    for separator in "._":
        plate, found, color = name.rpartition(separator)
        if found and plate and color.isascii() and color.isdigit() and len(color) <= 2:
            return plate, int(color)
    return name, None


def _plate(terminal: Terminal) -> str:
    return (terminal.known.plate if terminal.known else "") or terminal.plate


def _color(terminal: Terminal) -> int | None:
    known = terminal.known
    return known.plate_color if known is not None and known.plate_color is not None else terminal.plate_color
