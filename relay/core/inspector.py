"""What passes, for people who look: messages of JT/T 808 and 809 and the packets of JT/T 1078, cut out of connections by ``relay.net.cutter``.

Nothing is cut, decoded or kept while nobody looks. While somebody does, MESSAGES_S messages and PACKETS_S media packets a second are decoded, of those that
somebody wants; the rest is counted and told as ``skipped``, so that looking never slows the relay by more than some hundredths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relay.core.events import iso_time
from relay.errors import RelayError

#: decoding costs half a millisecond or so each
MESSAGES_S = 100
PACKETS_S = 50
WATCHERS_MAX = 20

#: (protocol, one frame or packet as on the wire, subject) → how it is shown
Explain = Callable[[str, bytes, str], dict[str, Any]]


class TooManyWatchersError(RelayError):
    """As many look as may."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to see; empty: everything."""

    subject: str = ""  #: a terminal's number, or ``superior:NAME``
    protocols: frozenset[str] = frozenset()
    message: int = 0  #: message id; of JT/T 809 also a sub-business type
    direction: str = ""  #: "in", "out"
    sees: Callable[[str], bool] | None = None  #: which terminals the account may see; then of superiors nothing

    def wants(self, protocol: str, direction: str, subject: str) -> bool:
        """Whether messages of this connection are wanted at all."""
        if (self.protocols and protocol not in self.protocols) or (self.direction and self.direction != direction):
            return False
        if self.sees is not None and (not subject or subject.startswith("superior:") or not self.sees(subject)):
            return False
        return not self.subject or self.subject == subject

    def takes(self, protocol: str, ident: int) -> bool:
        """Whether a message with this id is; of JT/T 809 what is outside tells the family only."""
        return not self.message or ident == (self.message & 0xFF00 if protocol == "jt809" and self.message != ident else self.message)


class Watcher:
    """Somebody who looks."""

    __slots__ = ("skipped", "tell", "wanted")

    def __init__(self, wanted: Wanted, tell: Callable[[dict[str, Any]], object]) -> None:
        self.wanted = wanted
        self.tell = tell
        self.skipped = 0


class Inspector:
    """All who look."""

    def __init__(self, wall: Callable[[], float], explain: Explain) -> None:
        self.watched = False  #: what the taps ask before anything else
        self.generation = 0
        self._wall = wall
        self._explain = explain
        self._watchers: list[Watcher] = []
        self._second = 0
        self._spent = {"message": 0, "packet": 0}
        self._count = 0

    def __len__(self) -> int:
        return len(self._watchers)

    def watch(self, wanted: Wanted, tell: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        """Begin to look; gives what ends it."""
        if len(self._watchers) >= WATCHERS_MAX:
            raise TooManyWatchersError(f"{WATCHERS_MAX} look already")
        watcher = Watcher(wanted, tell)
        self._watchers.append(watcher)
        self.generation += not self.watched
        self.watched = True

        def stop() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)
                self.watched = bool(self._watchers)

        return stop

    def interested(self, protocol: str, direction: str, subject: str) -> list[Watcher]:
        """Who wants messages of this connection."""
        return [one for one in self._watchers if one.wanted.wants(protocol, direction, subject)]

    def see(self, watchers: list[Watcher], info: dict[str, Any], direction: str, subject: str, ident: int, frame: bytes) -> None:
        """One message: decoded once for all who want it."""
        protocol = info["protocol"]
        takers = [one for one in watchers if one.wanted.takes(protocol, ident)]
        if not takers:
            return
        now = self._wall()
        if int(now) != self._second:
            self._second = int(now)
            self._spent = {"message": 0, "packet": 0}
        kind, most = ("packet", PACKETS_S) if protocol == "jt1078" else ("message", MESSAGES_S)
        if self._spent[kind] >= most:
            for watcher in takers:
                watcher.skipped += 1
            return
        self._spent[kind] += 1
        self._count += 1
        told = {
            "id": self._count, "time": iso_time(now), "protocol": protocol, "direction": direction, "subject": subject, "peer": info.get("peer", ""),
            "transport": info.get("transport", ""), "link": info.get("kind", ""), "bytes": len(frame), **self._explain(protocol, frame, subject),
        }  # fmt: skip
        for watcher in takers:
            skipped, watcher.skipped = watcher.skipped, 0
            watcher.tell({**told, "skipped": skipped})
