"""Which media connection may come in, and whose stream it feeds.

A media packet names only SIM and channel, so a connection is told by what was asked for: every 0x9101 leaves an ``Expected`` here *before* it is
sent, since media may arrive before the terminal's 0x0001 is read.

    expected (asked for, not come yet)                              → admitted as requested
    not expected, ``media.unrequested``
        known   the terminal is online, its channel is not being    → admitted; the hub lets it take no running stream's place
                stopped
        accept  the same, and terminals whose signalling is elsewhere → admitted
        reject                                                      → refused
    playback and talk are never admitted unrequested, except under "accept"

The SIM field is not always the number of the signalling: terminals cut it to twelve digits, or put a binary number there (seen: SEEWORLD). The
operator can write that number as the terminal's alias. Without that it is joined to a request only if all of these hold: nobody that is known
here has that number; the connection comes from the address of the terminal's signalling link; exactly one request from that address waits
for this channel. The address is what makes it no weaker than the SIM itself, which anybody can write into a packet; it is told as
an event and noted in the trace, and remembered for that link only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

from relay.core.alias import Resolver
from relay.core.events import Events
from relay.core.terminals import Terminals
from relay.core.trace import CONNECTED, FIRST_PACKET, Trace
from relay.hub.merge import Clock
from relay.hub.registry import Admitted, Refusal
from relay.identity import StreamKey, phone_key

log = Logger()

MAPPINGS_MAX = 4096  #: foreign SIM fields remembered; a terminal has one

KNOWN, ACCEPT, REJECT = "known", "accept", "reject"


@dataclass(slots=True)
class Expected:
    """A connection that was asked for."""

    key: StreamKey
    host: str  #: the terminal's signalling address
    until: float  #: monotonic
    trace: Trace | None = None
    came: bool = False
    seen: str = ""  #: what came from that address instead, in words


class Admission:
    """Answers the hub (``hub.registry.Admission``)."""

    def __init__(self, terminals: Terminals, resolver: Resolver, clock: Clock, events: Events, unrequested: str = KNOWN) -> None:
        self.unrequested = unrequested
        #: asked before an unrequested live connection comes in; a reason refuses it
        self.hinder: Callable[[StreamKey], str] = lambda key: ""
        self.mismatched = 0
        self._terminals = terminals
        self._resolver = resolver
        self._clock = clock
        self._events = events
        self._expected: dict[StreamKey, Expected] = {}
        self._mapped: OrderedDict[tuple[str, str], str] = OrderedDict()  #: (SIM field, address) -> terminal

    def expect(self, key: StreamKey, host: str, seconds: float, trace: Trace | None = None) -> Expected:
        """A request is about to be sent."""
        expected = self._expected[key] = Expected(key, host, self._clock.seconds() + seconds, trace)
        return expected

    def forget(self, key: StreamKey) -> None:
        """It is no longer wanted."""
        self._expected.pop(key, None)

    def expected(self, key: StreamKey) -> Expected | None:
        """What waits for that stream, if it still does."""
        expected = self._expected.get(key)
        return expected if expected is not None and not expected.came and self._clock.seconds() <= expected.until else None

    def admit(self, kind: str, sim: str, channel: int, peer: str, transport: str) -> Admitted | Refusal:
        """One (SIM, channel) of a connection, at its first packet."""
        host = host_of(peer)
        key = StreamKey(self._whose(kind, sim, channel, host), channel, kind)
        expected = self._waiting(key)
        if expected is not None:
            expected.came = True
            if expected.trace is not None:
                now = self._clock.seconds()
                expected.trace.mark(CONNECTED, now, f"{transport} {peer}")
                expected.trace.mark(FIRST_PACKET, now)
            return Admitted(expected.key, True)
        refusal = self._unrequested(key, sim)
        if refusal is not None:
            self._note(host, key, refusal)
            return refusal
        return Admitted(key, False)

    def _waiting(self, key: StreamKey) -> Expected | None:
        if key.kind == "live":
            return self.expected(key)
        # playback and talk have an id that the packets do not tell: the one session of that channel that waits
        sessions = [k for k in self._expected if (k.sim, k.channel, k.kind) == (key.sim, key.channel, key.kind)]
        waiting = [e for e in map(self.expected, sessions) if e is not None]
        return waiting[0] if waiting else None

    def _unrequested(self, key: StreamKey, sim: str) -> Refusal | None:
        online = self._terminals.is_online(key.sim)
        if self.unrequested == REJECT:
            return Refusal("unrequested", "nobody asked for it (media.unrequested = reject)")
        if self.unrequested == KNOWN:
            if key.kind != "live":
                return Refusal("unrequested", f"{key.kind} that nobody asked for")
            if not online:
                seen = self._terminals.get(key.sim) is not None
                return Refusal("offline" if seen else "unknown", f"terminal {sim} is not online here (media.unrequested = known)")
        reason = self.hinder(key) if key.kind == "live" else ""
        return Refusal("stopping", reason) if reason else None

    def _whose(self, kind: str, sim: str, channel: int, host: str) -> str:
        terminal = self._resolver.whose_media(sim)
        own = phone_key(sim)
        if terminal is not None:
            return terminal.sim
        if any(key.sim == own for key in self._expected):
            return own
        mapped = self._mapped.get((own, host))
        if mapped is not None and self._terminals.is_online(mapped):
            return mapped
        waiting = [
            e
            for e in map(self.expected, list(self._expected))
            if e is not None and e.host == host and e.key.channel == channel and e.key.kind == kind
        ]
        if len(waiting) != 1:
            return own
        [adopted] = waiting
        self.mismatched += 1
        self._mapped[own, host] = adopted.key.sim
        if len(self._mapped) > MAPPINGS_MAX:
            self._mapped.popitem(last=False)
        if adopted.trace is not None:
            note = f"the media says SIM {sim}; joined by address and channel (an alias {own} of the terminal makes it certain)"
            adopted.trace.note(note, self._clock.seconds())
        text = "{terminal} channel {channel}: its media says SIM {sim}; joined by address and channel (an alias {own} makes it certain)"
        log.warn(text, terminal=adopted.key.sim, channel=channel, sim=sim, own=own)
        self._events.publish("stream.sim_differs", sim=adopted.key.sim, channel=channel, media_sim=sim, host=host)
        return adopted.key.sim

    def _note(self, host: str, key: StreamKey, refusal: Refusal) -> None:
        """Those who wait for media from this address learn what came instead."""
        now = self._clock.seconds()
        for waiting in map(self.expected, list(self._expected)):
            if waiting is None or (waiting.host != host and waiting.key.sim != key.sim):
                continue
            waiting.seen = f"SIM {key.sim} channel {key.channel}"
            if waiting.trace is not None:
                waiting.trace.note(f"media of {waiting.seen} came instead and was refused: {refusal.reason}", now)


def host_of(peer: str) -> str:
    """The address in ``10.0.0.7:40112`` and ``[fe80::1]:40112``."""
    host = peer.rpartition(":")[0].strip("[]")
    return host.removeprefix("::ffff:") if "." in host else host
