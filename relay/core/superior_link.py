"""One link of a superior: the core of JT/T 809, its wire, one timer, and what is under way on it.

    net.superior809 ──received(data) / lost(reason)──→ SuperiorLink ──events──→ Superiors, Superior
                    ←──write(data) / close(reason)──── Wire

JT/T 809 acknowledges no position. Whether one has arrived is told by the connection::

    what the superior's side of TCP has acknowledged (``Wire.acknowledged``)     delivered, once that is DOUBT_S ago
    what was sent before a 0x1005 that 0x1006 answered                           delivered; the only sign where the above cannot be asked (TLS, other systems)
    the link ends in order, or we give it up                                     what is acknowledged at the end is delivered
    the link ends by a reset                                                     what is acknowledged less than DOUBT_S ago may lie in the superior's buffers
                                                                                 unread, and what is not may have been read: it goes up twice rather than never

When a link is lost, what was not delivered is given back, and goes up again as a supplement.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from relay.hub.merge import Clock, DelayedCall
from relay.jt809.link import Ended, Event, Link, Phase
from relay.jt809.mainlink import MainLink

if TYPE_CHECKING:
    from relay.core.superior import Superior

FLUSH_S = 0.01  #: frames of so long are written together
FLUSH_BYTES = 32768  #: or so many bytes
#: how long bytes may lie acknowledged and unread on the superior's side; one that reads needs milliseconds
DOUBT_S = 2.0
#: without acknowledgements of TCP: a keep-alive of our own is due when so many messages are not confirmed
PROBE_AFTER = 1000
#: answers that a superior may leave unread before its link is ended: several photos; positions do not count, they wait on disk
UNREAD_MAX = 1 << 22
#: messages under way that are remembered; when a superior confirms nothing, the oldest count as delivered beyond it, and are counted
UNDER_WAY_MAX = 50_000


class UnderWay(NamedTuple):
    """Something sent that must not be lost."""

    end: int  #: position in our bytes behind its last one
    ids: tuple[int, ...]  #: rows of the outbox; empty: it was sent as it came in
    kind: int
    head: bytes
    data: bytes


class Wire(Protocol):
    """What carries the link's bytes; ``relay.net.superior809`` has the real one."""

    peer: str  #: "address:port"
    host: str
    full: bool  #: the peer does not take more at the moment
    reset: bool  #: the connection has ended by a reset, not in order

    def write(self, data: bytes) -> None:
        """Send whole frames."""

    def close(self, reason: str) -> None:
        """Close after what is still to be written."""

    def acknowledged(self) -> int | None:
        """How many of our bytes the peer's side of the connection has; None when that cannot be known."""


class Owner(Protocol):
    """Who is told."""

    def happened(self, link: SuperiorLink, event: Event) -> None: ...

    def ended(self, link: SuperiorLink, reason: str) -> None:
        """Nothing comes or goes any more."""

    def gone(self, link: SuperiorLink) -> None:
        """The connection is closed: what it delivered is known."""


class SuperiorLink:
    """``superior`` is None on a subordinate link whose superior has not logged in."""

    def __init__(self, owner: Owner, core: Link, wire: Wire, clock: Clock, superior: Superior | None = None) -> None:
        self.core = core
        self.wire = wire
        self.superior = superior
        self.main = isinstance(core, MainLink)
        self.registered: set[str] = set()  #: vehicles whose 0x1201 went up on this login
        self.under_way: deque[UnderWay] = deque()
        self.acknowledged = 0  #: of our bytes, as far as it is known
        self.unconfirmed = 0  #: given up as delivered though nobody confirmed it
        self._owner = owner
        self._clock = clock
        self._call: DelayedCall | None = None
        self._call_at = 0.0
        self._flush_call: DelayedCall | None = None
        self._marks: deque[tuple[float, int]] = deque()  #: (when, acknowledged) of the last DOUBT_S
        self._certain = 0  #: acknowledged longer ago than that
        self._held = 0
        self._unread = 0  #: bytes put on it since it was full
        self._settling = False

    @property
    def up(self) -> bool:
        """Logged in."""
        return self.core.phase is Phase.UP

    @property
    def full(self) -> bool:
        """Nothing more should be put on it at the moment."""
        return self.wire.full

    # ---- from the adapter -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The connection is made: log in, or wait to be logged in to."""
        if isinstance(self.core, MainLink):
            self.core.login(self._clock.seconds())
        self.settle()

    def received(self, data: bytes) -> None:
        """Bytes of the connection."""
        self.core.receive(data, self._clock.seconds())
        self.settle()

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        self.core.end(reason)
        self.settle()
        self._owner.gone(self)

    def end(self, reason: str) -> None:
        """Close it, after what is still to be said."""
        self.core.end(reason)
        self.settle()

    # ---- out ------------------------------------------------------------------------------------------------------------

    def send(self, msg_id: int, kind: int, body: bytes) -> int:
        """One message, written soon; gives its serial number."""
        sn = self.core.send_body(msg_id, kind, body, self._clock.seconds())
        if self.wire.full:
            self._unread += len(body)
            if self._unread > UNREAD_MAX:
                self._unread = 0
                self.end("it does not read what it asks for")
                return sn
        else:
            self._unread = 0
        self._held += len(body)
        if self._held >= FLUSH_BYTES:
            self.flush()
        elif self._flush_call is None:
            self._flush_call = self._clock.callLater(FLUSH_S, self._flush_now)
        return sn

    def send_kept(self, msg_id: int, kind: int, body: bytes, head: bytes, data: bytes, ids: tuple[int, ...] = (), row: int = 0) -> int:
        """The same of something that must not be lost: remembered until it is delivered. ``row``: its kind in the outbox, if that is another."""
        sn = self.send(msg_id, kind, body)
        under_way = self.under_way
        under_way.append(UnderWay(self.core.bytes_out, ids, row or kind, head, data))
        if len(under_way) > UNDER_WAY_MAX:
            self.unconfirmed += 1
            gone = under_way.popleft()
            if gone.ids and self.superior is not None:
                self.superior.outbox.delivered(gone.ids)
        return sn

    def flush(self) -> None:
        """Write what is held."""
        self._held = 0
        data = self.core.bytes_to_send()
        if data:
            self.wire.write(data)

    def _flush_now(self) -> None:
        self._flush_call = None
        self.flush()

    def delivered(self, final: bool = False) -> Iterator[UnderWay]:
        """What has arrived since the last call; ``final``: the connection is closed."""
        acknowledged = self.wire.acknowledged()
        upto = self.core.confirmed
        if acknowledged is None:
            self.acknowledged = upto
            if len(self.under_way) >= PROBE_AFTER and not self.core.probes and self.main and self.up:
                self.core.probe(self._clock.seconds())
                self.flush()
        else:
            self.acknowledged = acknowledged
            now = self._clock.seconds()
            self._marks.append((now, acknowledged))
            while self._marks[0][0] <= now - DOUBT_S:
                self._certain = self._marks.popleft()[1]
            upto = max(upto, acknowledged if final and not self.wire.reset else self._certain)
        under_way = self.under_way
        while under_way and under_way[0].end <= upto:
            yield under_way.popleft()

    # ---- inside ---------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Write what is to be written, tell what happened, arm the timer."""
        if self._settling:
            return  # a handler of one of the events below sent something: the loop goes on
        self._settling = True
        try:
            while True:
                events = self.core.events()
                if not events:
                    break
                for event in events:
                    if isinstance(event, Ended):
                        self._finish(event.reason)
                    else:
                        self._owner.happened(self, event)
            if self._flush_call is None:
                self.flush()
        finally:
            self._settling = False
        self._arm()

    def _finish(self, reason: str) -> None:
        self.flush()
        for call in (self._call, self._flush_call):
            if call is not None:
                call.cancel()
        self._call = self._flush_call = None
        self._owner.ended(self, reason)
        self.wire.close(reason)

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if deadline is None:
            return
        if self._call is not None:
            if self._call_at <= deadline:
                return  # it finds out by itself that it came too soon
            self._call.cancel()
        self._call_at = deadline
        self._call = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._tick)

    def _tick(self) -> None:
        self._call = None
        self.core.tick(self._clock.seconds())
        self.settle()
