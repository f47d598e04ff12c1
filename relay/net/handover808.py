"""The terminals' connections from one process to the next: descriptors with the state of their links.

    old process   hold      nothing is read any more, so that no message is answered by a program that is about to end; last words still go out
                  leave     each connection as ``{"fd": …, "unsent": …, "link": …}``, each UDP terminal as ``{"host": …, "port": …, "link": …}``
    new process   Adoption  makes connections and links of them; what does not work costs its connection, is counted, and said in one line

TLS connections hold keys that do not leave their process: they end as at a stop.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any, NamedTuple

from twisted.logger import Logger

from relay.core import handover
from relay.core.link import Link
from relay.core.terminals import Terminals
from relay.errors import StateError
from relay.identity import phone_key
from relay.net.recorder import Recorder
from relay.net.terminal808 import UNREAD_MAX, DatagramWire, StreamWire, TerminalDatagrams, TerminalFactory
from relay.wire.plain import Plain

log = Logger(namespace="relay.net.handover808")

CONNECTIONS_MAX = 1 << 16  #: more than limits.terminals_max and limits.unregistered_max together can be
UNSENT_MAX = 2 * UNREAD_MAX  #: what may wait to be sent to one terminal, with what the transport held before it was full
FAMILIES = (socket.AF_INET, socket.AF_INET6)


def hold(terminals: Terminals) -> None:
    """Read nothing more of what can be carried."""
    for link in terminals.links():
        if isinstance(link.wire, StreamWire):
            link.wire.protocol.hold()


def end_the_others(terminals: Terminals, reason: str) -> int:
    """Close what cannot be carried; gives how many."""
    others = [link for link in terminals.links() if link.wire.transport == "tls"]
    for link in others:
        link.end(reason)
    return len(others)


def leave(terminals: Terminals) -> list[dict[str, Any]]:
    """All that can be carried; the descriptors are inheritable."""
    carried: list[dict[str, Any]] = []
    for link in list(terminals.links()):
        wire = link.wire
        if isinstance(wire, DatagramWire):
            state = handover.leaving(link, terminals)
            if state is not None:
                carried.append({"host": wire.address[0], "port": wire.address[1], "link": state})
        elif isinstance(wire, StreamWire) and wire.transport == "tcp":
            state = handover.leaving(link, terminals)
            taken = wire.protocol.hand_over(UNSENT_MAX) if state is not None else None
            if taken is not None:
                number, unsent = taken
                carried.append({"fd": number, "unsent": unsent.hex(), "link": state})
    terminals.leave()
    return carried


class Adopted(NamedTuple):
    """How many went on, and how many did not."""

    tcp: int
    udp: int
    lost: int


class Adoption:
    """Takes over what a former process left."""

    def __init__(self, reactor: Any, terminals: Terminals, recorder: Recorder | None, datagrams: TerminalDatagrams | None) -> None:
        self._reactor = reactor
        self._terminals = terminals
        self._recorder = recorder
        self._datagrams = datagrams

    def take(self, carried: list[Plain]) -> Adopted:
        """Each of them. A descriptor that is not used is closed."""
        tcp = udp = 0
        for one in carried:
            try:
                if one.has("fd"):
                    tcp += self._stream(one)
                else:
                    udp += self._datagram(one)
            except StateError as problem:
                self._terminals.counts["links not carried on: state"] += 1
                log.error("a terminal's link is closed, its state is not of this version: {problem}", problem=str(problem))
        lost = len(carried) - tcp - udp
        return Adopted(tcp, udp, lost)

    def _stream(self, one: Plain) -> bool:
        number = one.number("fd", 3, 1 << 30)
        try:
            return self._connection(one, number)
        except OSError:  # the terminal has closed it meanwhile
            self._terminals.counts["links not carried on: closed"] += 1
            return False
        finally:
            with suppress(OSError):
                os.close(number)

    def _connection(self, one: Plain, number: int) -> bool:
        state, unsent = one.object("link"), one.data("unsent", UNSENT_MAX)
        with socket.socket(fileno=os.dup(number)) as probe:
            family = probe.family
        if family not in FAMILIES:
            raise StateError(one.where, "no TCP connection")
        made: list[Link | StateError | None] = []

        def begin(wire: StreamWire) -> Link | None:
            """An exception would be the reactor's; it is kept for the caller."""
            try:
                link = handover.back(state, wire, self._terminals, unsent)
            except StateError as problem:
                made.append(problem)
                return None
            made.append(link)
            return link

        self._reactor.adoptStreamConnection(number, family, TerminalFactory(self._terminals, "tcp", self._recorder, begin))
        found = made[0] if made else None
        if isinstance(found, StateError):
            raise found
        return found is not None

    def _datagram(self, one: Plain) -> bool:
        if self._datagrams is None:
            self._terminals.counts["links not carried on: terminals.udp_port is off"] += 1
            return False
        state = one.object("link")
        key = phone_key(state.object("session").text("phone", 64))
        address = one.text("host", 64), one.number("port", 1, 65535)

        def begin(wire: DatagramWire) -> Link | None:
            return handover.back(state, wire, self._terminals)

        return self._datagrams.adopt(key, address, begin) is not None
