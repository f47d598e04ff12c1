"""JT/T 1078 over UDP: one datagram is one packet; put in order, then joined to whole frames as on TCP.

A session is one (SIM, channel), bound to the address it came from. Packets are held until those before them have come::

    first of a session   waits START_S for earlier ones, unless its number is 0
    the next number      leaves at once, and with it what was held behind it
    a later one          is held: the gap is given up after ``wait_s`` or when ``window`` packets wait, and counted as loss
    an earlier one       duplicate or too late: dropped, counted
    far away             three in a row that fit each other are a new beginning

What the terminal counts is found out: one number for picture and sound of a channel (the usual), one for each of them, or one for all that comes from an
address (numbers missing here that were seen there are no gap).

A datagram of the same (SIM, channel) from another address is a NAT rebinding if its number goes on, and a new session if the old one has fallen silent;
else it is somebody else's, and dropped.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.jt1078.assembly import Assembler, RawFrame, Stream, Track
from relay.jt1078.packet import MAGIC, MAX_BODY, SIM_WIDTHS, header_length, measure, pt_agrees, sim_text

Address = tuple[str, int]

#: the first packet of a session may have been overtaken: so long its elders are waited for
START_S = 0.06
#: numbers up to so far ahead are a gap, and so far behind are late; beyond that it is another count
NEAR = 1024
#: packets in a row that begin a new count
FRESH = 3
#: a session that has been silent for so long may be taken over from another address
SILENT_S = 5.0
#: distance up to which another address' number goes on with a session
REBIND = 64
#: refused (SIM, channel, address) that are not asked about again for a while
REFUSED_MAX, REFUSED_S = 4096, 5.0

Admit = Callable[[str, int, Address], bool]
_Held = tuple[float, bytes, int]  # arrival, datagram, width of its SIM field


def _always(sim: str, channel: int, address: Address) -> bool:
    return True


class _Scope:
    """One count: what has come, what is held."""

    __slots__ = ("far", "held", "last", "recent", "since")

    def __init__(self, last: int = -1) -> None:
        self.last = last  #: the number delivered last; -1 = none yet
        self.held: dict[int, _Held] = {}
        self.far: list[tuple[int, _Held]] = []
        self.recent: dict[int, int] = {}  #: number -> kind of media, of the last few
        self.since = 0.0  #: when what is held began to wait


class Session:
    """One (SIM, channel) from one address."""

    __slots__ = ("address", "kinds", "last_packet", "packets", "scopes", "split", "stream", "votes")

    def __init__(self, stream: Stream, address: Address, now: float) -> None:
        self.stream = stream
        self.address = address
        self.last_packet = now
        self.packets = 0
        self.scopes = [_Scope()]
        self.split = False  #: picture and sound are counted apart
        self.votes = 0
        self.kinds: dict[int, int] = {}  #: kind of media -> its last number

    def scope(self, kind: int) -> _Scope:
        """The count that packets of this kind belong to."""
        return self.scopes[kind] if self.split else self.scopes[0]


class DatagramDemuxer:
    """All datagrams of one listener."""

    def __init__(
        self,
        max_body: int = MAX_BODY,
        sim_bytes: int = 0,
        window: int = 64,
        wait_s: float = 0.15,
        sessions_max: int = 20000,
        expire_s: float = 30.0,
        admit: Admit = _always,
    ) -> None:
        self.max_body = max_body
        self.sessions: dict[tuple[str, int], Session] = {}  #: by SIM (as on the wire) and channel
        self.packets = 0
        self.malformed = 0  #: datagrams that are no packet, or not exactly one
        self.duplicates = 0
        self.late = 0
        self.foreign = 0  #: from an address that has no business in the session
        self.refused = 0  #: not admitted, or beyond ``sessions_max``
        self.lost_packets = 0
        self._widths = (sim_bytes,) if sim_bytes else SIM_WIDTHS
        self._window = window
        self._wait_s = wait_s
        self._sessions_max = sessions_max
        self._expire_s = expire_s
        self._admit = admit
        self._assembler = Assembler()
        self._waiting: dict[Session, None] = {}  #: sessions with something held
        self._refusals: dict[tuple[str, int, Address], float] = {}
        self._width_of: dict[bytes, int] = {}  #: first SIM bytes -> width, where both fit
        self._at_address: dict[Address, list[Session]] = {}
        self._expired_at = 0.0

    # ---- datagrams -------------------------------------------------------------------------------------------------------------------

    def feed(self, datagram: bytes, address: Address, now: float) -> list[RawFrame]:
        """One datagram; gives the frames that are whole with it, mostly of its own session."""
        out: list[RawFrame] = []
        width = self._width(datagram)
        if not width:
            self.malformed += 1
            return out
        self.packets += 1
        field = datagram[8 : 8 + width]
        key = (sim_text(field), datagram[8 + width])
        seq = datagram[6] << 8 | datagram[7]
        session = self.sessions.get(key)
        if session is None or session.address != address:
            session = self._session(session, key, address, seq, now, out)
            if session is None:
                return out
        if session in self._waiting:
            self._overdue(session, now, out)
        session.last_packet = now
        session.packets += 1
        kind = session.stream.track(datagram[5] & 0x7F, datagram[9 + width] >> 4).kind
        self._place(session, kind, seq, (now, datagram, width), out)
        others = self._at_address[address]
        if len(others) > 1:
            for other in others:  # this number may be what another session at this address waited for
                if other is not session and other in self._waiting:
                    self._drain_all(other, now, out)
        return out

    def tick(self, now: float) -> list[RawFrame]:
        """Give up gaps that are too old; expire sessions."""
        out: list[RawFrame] = []
        for session in list(self._waiting):
            self._overdue(session, now, out)
        if now - self._expired_at > 1.0:
            self._expired_at = now
            for key, session in list(self.sessions.items()):
                if now - session.last_packet > self._expire_s:
                    self._end(key, session, now, out)
            for refusal, until in list(self._refusals.items()):
                if until <= now:
                    del self._refusals[refusal]
        return out

    def _overdue(self, session: Session, now: float, out: list[RawFrame]) -> None:
        for scope in session.scopes:
            if scope.held and now >= self._due(scope):
                self._skip(session, scope, now, out)
        self._note(session)

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do; None while nothing is held."""
        due = [self._due(scope) for session in self._waiting for scope in session.scopes if scope.held]
        return min(due) if due else None

    def end(self, sim: str, channel: int, now: float) -> None:
        """Forget a session: its stream is over. What comes after it begins anew, if it is admitted."""
        session = self.sessions.get((sim, channel))
        if session is not None:
            self._end((sim, channel), session, now, [])

    def finish(self, now: float) -> list[RawFrame]:
        """No more datagrams will come: everything held leaves in order."""
        out: list[RawFrame] = []
        for key, session in list(self.sessions.items()):
            self._end(key, session, now, out)
        return out

    # ---- sessions --------------------------------------------------------------------------------------------------------------------

    def _width(self, datagram: bytes) -> int:
        """Width of the SIM field by which the datagram is exactly one packet; 0 = it is none."""
        size = len(datagram)
        if size < 18 or not datagram.startswith(MAGIC):
            return 0
        fits = [width for width in self._widths if measure(datagram, 0, width, self.max_body) == size]
        if len(fits) < 2:
            return fits[0] if fits else 0
        known = self._width_of.get(datagram[8:14])
        if known is None:
            agreeing = [width for width in fits if pt_agrees(datagram[5] & 0x7F, datagram[9 + width] >> 4)]
            known = agreeing[0] if agreeing else fits[0]
            if len(self._width_of) < self._sessions_max:
                self._width_of[datagram[8:14]] = known
        return known

    def _session(self, session: Session | None, key: tuple[str, int], address: Address, seq: int, now: float, out: list[RawFrame]) -> Session | None:
        if session is not None:
            if any(scope.last >= 0 and 0 < (seq - scope.last & 0xFFFF) <= REBIND for scope in session.scopes):
                self._leave(session)
                session.address = address
                self._at_address.setdefault(address, []).append(session)
                return session
            if now - session.last_packet <= SILENT_S:
                self.foreign += 1
                return None
            self._end(key, session, now, out)
        refusal = (*key, address)
        if self._refusals.get(refusal, 0.0) > now:
            self.refused += 1
            return None
        if len(self.sessions) >= self._sessions_max or not self._admit(key[0], key[1], address):
            self.refused += 1
            if len(self._refusals) < REFUSED_MAX:
                self._refusals[refusal] = now + REFUSED_S
            return None
        session = self.sessions[key] = Session(Stream(*key), address, now)
        self._at_address.setdefault(address, []).append(session)
        return session

    def _leave(self, session: Session) -> None:
        at = self._at_address.get(session.address, [])
        if session in at:
            at.remove(session)
        if not at:
            self._at_address.pop(session.address, None)

    def _end(self, key: tuple[str, int], session: Session, now: float, out: list[RawFrame]) -> None:
        for scope in session.scopes:
            while scope.held:
                self._skip(session, scope, now, out)
        for track in (session.stream.video, session.stream.audio, session.stream.data):
            self._assembler.finish(track, now, out)
        self._leave(session)
        self._waiting.pop(session, None)
        if self.sessions.get(key) is session:
            del self.sessions[key]

    # ---- order -----------------------------------------------------------------------------------------------------------------------

    def _place(self, session: Session, kind: int, seq: int, held: _Held, out: list[RawFrame]) -> None:
        scope = session.scope(kind)
        before, session.kinds[kind] = session.kinds.get(kind, -1), seq
        if scope.last < 0:
            if seq == 0 and not scope.held:
                scope.last = 0xFFFF
            elif (
                scope.held
                and not session.split
                and not self._near(seq, next(iter(scope.held)))
                and self._kind_of(session, next(iter(scope.held.values()))) != kind
            ):
                self._split(session)
                self._place(session, kind, seq, held, out)
                return
            else:
                if not scope.held:
                    scope.since = held[0]
                scope.held.setdefault(seq, held)
                self._waiting[session] = None
                if len(scope.held) >= self._window:
                    self._skip(session, scope, held[0], out)
                return
        ahead = seq - scope.last - 1 & 0xFFFF
        if ahead == 0:
            self._deliver(session, scope, seq, held, True, out)
            if scope.held:
                self._drain(session, scope, held[0], out)
                self._note(session)
        elif ahead < NEAR:
            if seq in scope.held:
                self.duplicates += 1
                return
            if not scope.held:
                scope.since = held[0]
            scope.held[seq] = held
            self._waiting[session] = None
            self._drain(session, scope, held[0], out)
            if len(scope.held) > self._window:
                self._skip(session, scope, held[0], out)
            self._note(session)
        elif ahead >= 0x10000 - NEAR:
            if scope.recent.get(seq, kind) != kind and self._apart(session, kind, seq, before):
                self._place(session, kind, seq, held, out)
            elif seq in scope.recent:
                self.duplicates += 1
            else:
                self.late += 1
        elif not session.split and self._apart(session, kind, seq, before):
            self._place(session, kind, seq, held, out)
        else:
            self._far(session, scope, kind, seq, held, out)

    def _apart(self, session: Session, kind: int, seq: int, before: int) -> bool:
        """A number that does not fit into the channel's count but goes on with its own kind's: they are counted apart."""
        if session.split or before < 0 or not 0 < (seq - before & 0xFFFF) <= REBIND:
            return False
        session.votes += 1
        if session.votes < 2:
            return False
        self._split(session)
        session.scopes[kind].last = seq - 1 & 0xFFFF
        session.scopes[kind].held.clear()
        return True

    def _split(self, session: Session) -> None:
        """Count picture and sound apart from now on; what is held goes to its own kind."""
        session.split = True
        shared = session.scopes[0]
        session.scopes = [_Scope() for _ in range(3)]
        for number, held in shared.held.items():
            scope = session.scopes[self._kind_of(session, held)]
            scope.held[number] = held
            scope.since = shared.since
        if shared.last >= 0:
            of = shared.recent.get(shared.last, 0)
            session.scopes[of].last = shared.last
            session.scopes[of].recent = shared.recent

    @staticmethod
    def _near(one: int, other: int) -> bool:
        return (one - other & 0xFFFF) < NEAR or (other - one & 0xFFFF) < NEAR

    @staticmethod
    def _kind_of(session: Session, held: _Held) -> int:
        datagram, width = held[1], held[2]
        return session.stream.track(datagram[5] & 0x7F, datagram[9 + width] >> 4).kind

    def _far(self, session: Session, scope: _Scope, kind: int, seq: int, held: _Held, out: list[RawFrame]) -> None:
        """Too far for a gap: the terminal has begun to count anew, if more of the same follow."""
        far = scope.far
        if far and not self._near(seq, far[-1][0]):
            far.clear()
        far.append((seq, held))
        if len(far) < FRESH and seq != 0:
            return
        while scope.held:
            self._skip(session, scope, held[0], out)
        session.stream.restarts += 1
        for track in self._tracks(session, kind):
            self._assembler.restarted(track, out)
        fresh, scope.far = far, []
        base = fresh[0][0]
        scope.last = min((number - base + 0x8000 & 0xFFFF for number, _ in fresh)) - 0x8000 + base - 1 & 0xFFFF
        scope.recent.clear()
        for number, one in fresh:
            self._place(session, kind, number, one, out)

    def _drain(self, session: Session, scope: _Scope, now: float, out: list[RawFrame]) -> None:
        """Deliver what is next, and what is next behind numbers that came to another session of this address."""
        while scope.held:
            seq = scope.last + 1 & 0xFFFF
            held = scope.held.pop(seq, None)
            if held is None:
                nearest = self._nearest(scope)
                if not self._elsewhere(session, scope.last, nearest):
                    return
                held = scope.held.pop(nearest)
                seq = nearest
            self._deliver(session, scope, seq, held, True, out)
            scope.since = now

    def _drain_all(self, session: Session, now: float, out: list[RawFrame]) -> None:
        for scope in session.scopes:
            if scope.held and scope.last >= 0:
                self._drain(session, scope, now, out)
        self._note(session)

    def _elsewhere(self, session: Session, last: int, seq: int) -> bool:
        """All numbers between the two were seen in other sessions of the same address."""
        others = [scope.recent for other in self._at_address.get(session.address, ()) if other is not session for scope in other.scopes]
        if not others or (seq - last & 0xFFFF) > REBIND:
            return False
        return all(any(number & 0xFFFF in recent for recent in others) for number in range(last + 1, last + (seq - last & 0xFFFF)))

    def _skip(self, session: Session, scope: _Scope, now: float, out: list[RawFrame]) -> None:
        """Give up the gap before the nearest number that is held."""
        if scope.last < 0:
            lowest = self._lowest(scope)
            scope.last = lowest - 1 & 0xFFFF
            self._drain(session, scope, now, out)
            return
        seq = self._nearest(scope)
        missing = seq - scope.last - 1 & 0xFFFF
        held = scope.held.pop(seq)
        if missing and not self._elsewhere(session, scope.last, seq):
            session.stream.lost_packets += missing
            self.lost_packets += missing
            tracks = self._tracks(session, self._kind_of(session, held))
            for track in tracks:
                self._assembler.missing(track, missing, len(tracks) == 1, out)
            self._deliver(session, scope, seq, held, False, out)
        else:
            self._deliver(session, scope, seq, held, True, out)
        scope.since = now
        self._drain(session, scope, now, out)

    @staticmethod
    def _nearest(scope: _Scope) -> int:
        return min(scope.held, key=lambda seq: seq - scope.last & 0xFFFF)

    @staticmethod
    def _lowest(scope: _Scope) -> int:
        """The earliest of the numbers held before anything was delivered; they lie close together."""
        base = next(iter(scope.held))
        return min(scope.held, key=lambda seq: (seq - base + 0x8000) & 0xFFFF)

    @staticmethod
    def _tracks(session: Session, kind: int) -> list[Track]:
        """The tracks that share the count of this kind."""
        stream = session.stream
        tracks = [stream.video, stream.audio, stream.data]
        return [tracks[kind]] if session.split else [track for track in tracks if track.kind in session.kinds]

    def _due(self, scope: _Scope) -> float:
        return scope.since + (START_S if scope.last < 0 else self._wait_s)

    def _note(self, session: Session) -> None:
        if any(scope.held for scope in session.scopes):
            self._waiting[session] = None
        else:
            self._waiting.pop(session, None)

    def _deliver(self, session: Session, scope: _Scope, seq: int, held: _Held, follows: bool, out: list[RawFrame]) -> None:
        now, datagram, width = held
        scope.last = seq
        if scope.far:
            scope.far.clear()
        mpt, mark = datagram[5], datagram[9 + width]
        data_type = mark >> 4
        track = session.stream.track(mpt & 0x7F, data_type)
        recent = scope.recent
        recent[seq] = track.kind
        if len(recent) > NEAR:
            del recent[next(iter(recent))]
        header = header_length(data_type, width)
        ts = int.from_bytes(datagram[10 + width : 18 + width], "big") if data_type <= 3 else 0
        interval = datagram[header - 4] << 8 | datagram[header - 3] if data_type <= 2 else -1
        self._assembler.accept(track, mpt, mark, ts, datagram[header:], follows, now, out, interval)
