"""The trace of one start: which hop was reached when, and where it stopped.

    requested → sent → answered → connected → first_packet → first_key_frame → first_byte

``answered`` may come after the hops behind it: media connections overtake the terminal's 0x0001. So the hop at which a
start stopped is the first one missing *after* the last one reached.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from relay.core.events import iso_time

REQUESTED = "requested"  #: somebody wanted the channel
SENT = "sent"  #: 0x9101 written to the signalling link
ANSWERED = "answered"  #: the terminal's 0x0001 with result 0
CONNECTED = "connected"  #: its media connection (UDP: the first datagram)
FIRST_PACKET = "first_packet"  #: the first whole JT/T 1078 packet of the channel
FIRST_KEY_FRAME = "first_key_frame"  #: the first picture a player can begin with (audio only: the first sound)
FIRST_BYTE = "first_byte"  #: the first byte of media handed to a viewer's socket

HOPS = (REQUESTED, SENT, ANSWERED, CONNECTED, FIRST_PACKET, FIRST_KEY_FRAME, FIRST_BYTE)

#: called with a hop and its milliseconds since the start
Watcher = Callable[[str, int], None]

NOTES_MAX = 16  #: remarks kept per trace; retries and refusals repeat


class HopTimes:
    """How long starts took from the request to each hop: what a histogram of Prometheus is made of."""

    #: upper edges in seconds: 50 ms apart where a terminal nearby answers, up to the longest time that somebody may be made to wait
    EDGES = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)

    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = {hop: [0] * (len(self.EDGES) + 1) for hop in HOPS[1:]}  #: the last for what took longer
        self.sums: dict[str, float] = dict.fromkeys(self.counts, 0.0)  #: seconds

    def add(self, hop: str, seconds: float) -> None:
        """A start reached the hop."""
        self.counts[hop][bisect_left(self.EDGES, seconds)] += 1
        self.sums[hop] += seconds


class Trace:
    """Times of one start, in seconds of the clock that the caller passes."""

    __slots__ = ("_at", "_details", "_times", "_watchers", "channel", "failure", "notes", "purpose", "sim", "started", "stream", "wall")

    def __init__(self, sim: str, channel: int, now: float, wall: float, stream: str = "", purpose: str = "", times: HopTimes | None = None) -> None:
        self.sim = sim
        self.channel = channel
        self.stream = stream  #: "main" or "sub", as asked of the terminal
        self.purpose = purpose  #: who began it
        self.started = now
        self.wall = wall  #: the same moment, seconds since 1970
        self.notes: list[tuple[float, str]] = []
        self.failure = ""  #: code of the error it ended with; empty while it goes on and when it succeeded
        self._at: dict[str, float] = {REQUESTED: now}
        self._details: dict[str, str] = {}
        self._watchers: list[Watcher] = []
        self._times = times

    def mark(self, hop: str, now: float, detail: str = "") -> None:
        """The hop was reached; only the first time counts."""
        if hop not in self._at:
            self._at[hop] = now
            if detail:
                self._details[hop] = detail
            if self._times is not None:
                self._times.add(hop, now - self.started)
            for watcher in list(self._watchers):
                watcher(hop, _ms(now - self.started))

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher(hop, ms)`` for the hops reached so far and for each that follows; a page shows how a start goes on."""
        self._watchers.append(watcher)
        for hop, ms in self.hops().items():
            watcher(hop, ms)

    def unwatch(self, watcher: Watcher) -> None:
        """No longer."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def hops(self) -> dict[str, int]:
        """Hop -> milliseconds since the start, in the order in which they were reached."""
        reached = sorted(self._at.items(), key=lambda item: (item[1], HOPS.index(item[0])))
        return {hop: _ms(at - self.started) for hop, at in reached}

    def note(self, text: str, now: float) -> None:
        """Something worth knowing that is no hop: a retry, a refused connection."""
        if len(self.notes) < NOTES_MAX:
            self.notes.append((now, text))

    def reached(self, hop: str) -> bool:
        """Whether the hop has a time."""
        return hop in self._at

    def at(self, hop: str) -> float | None:
        """When the hop was reached."""
        return self._at.get(hop)

    @property
    def missing(self) -> str:
        """The hop it waits for, or stopped at; empty when all were reached."""
        last = max(HOPS.index(hop) for hop in self._at)
        return HOPS[last + 1] if last + 1 < len(HOPS) else ""

    def as_dict(self) -> dict[str, Any]:
        """For the error body and the API: ``at_ms`` since the start, ``took_ms`` since the hop before it in time."""
        hops: list[dict[str, Any]] = []
        before = self.started
        for hop, at in sorted(self._at.items(), key=lambda item: (item[1], HOPS.index(item[0]))):
            entry: dict[str, Any] = {"hop": hop, "at_ms": _ms(at - self.started), "took_ms": _ms(at - before)}
            if hop in self._details:
                entry["detail"] = self._details[hop]
            hops.append(entry)
            before = at
        return {
            "sim": self.sim,
            "channel": self.channel,
            "stream": self.stream,
            "purpose": self.purpose,
            "started": iso_time(self.wall),
            "hops": hops,
            "missing": self.missing,
            "failure": self.failure,
            "notes": [{"at_ms": _ms(at - self.started), "note": text} for at, text in self.notes],
        }

    def describe(self) -> str:
        """One line for the log: ``requested 0, sent 1, answered 46, connected 80 ms``."""
        return ", ".join(f"{hop} {ms}" for hop, ms in self.hops().items()) + " ms"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
