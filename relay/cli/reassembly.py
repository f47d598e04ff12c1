"""TCP connections out of captured segments: each direction's bytes in order, with what is missing named and not waited for.

Every segment is placed by its sequence number behind what is already there::

    before it        a retransmission: what was delivered stays, only new bytes count
    right behind     delivered, and what waited behind it
    further on       waits for the hole to be filled: by a late segment (order), or never (the capture lost it)

A hole is given up, and told as a gap, when the other side acknowledges bytes beyond it (so they did arrive, and the capture missed them), when the
connection ends, or when more waits than ``PENDING_MAX``. A capture that begins in the middle of a connection begins with the first segment that is seen.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from relay.cli.packets import ACK, FIN, RST, SYN, Segment

#: bytes and segments that wait behind a hole, a direction: more than any receive window that lives long without the hole being filled
PENDING_MAX = 1 << 22
SEGMENTS_MAX = 8192
#: bytes that wait in all connections together; beyond it the connection longest silent gives its holes up
HELD_MAX = 1 << 26
#: connections at a time; beyond it the longest silent one is ended
CONNECTIONS_MAX = 50_000
_WRAP = 1 << 32
#: connections that ended, remembered for what straggles in
_CLOSED_MAX = 4096
_CLOSED_NS = 60_000_000_000
#: a sequence number this far off is not of this stream: a new connection on the same ports, or damage
_FAR = 1 << 30


@dataclass(slots=True)
class Endpoint:
    """An address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Connection:
    """One TCP connection, or all datagrams between two ports. Direction 0 is from ``ends[0]`` (the client, as far as one can tell) to ``ends[1]``."""

    number: int  #: from 1 in the order of their first packets
    transport: str  #: "tcp" or "udp"
    ends: tuple[Endpoint, Endpoint]
    first: int = 0  #: time of the first and last packet, ns
    last: int = 0
    packets: int = 0
    bytes: list[int] = field(default_factory=lambda: [0, 0])  #: delivered, by direction
    lost: list[int] = field(default_factory=lambda: [0, 0])  #: never seen, by direction
    repeated: list[int] = field(default_factory=lambda: [0, 0])  #: sent more than once
    protocol: str = ""  #: if that is known beforehand
    opened: bool = False  #: its beginning is in the capture
    closed: bool = False  #: and its end


@dataclass(slots=True)
class Delivered:
    """Bytes of one direction in order, or a gap, or the end."""

    connection: Connection
    direction: int
    time: int
    data: bytes = b""
    gap: int = 0  #: so many bytes are missing here
    end: bool = False


class _Direction:
    """What is known of one direction. Places count from the first byte seen, so that sequence numbers may wrap."""

    __slots__ = ("_order", "_waiting", "finished", "held", "next", "place")

    def __init__(self) -> None:
        self.next = -1  #: sequence number after what was delivered; -1 = nothing seen yet
        self.place = 0  #: the same as a place
        self.held = 0  #: bytes that wait
        self.finished = -1  #: sequence number behind the last byte
        self._waiting: dict[int, tuple[bytes, int, int]] = {}  # place -> (bytes, how many the capture cut off behind them, time)
        self._order: list[int] = []  # the places, sorted

    def __len__(self) -> int:
        return len(self._order)

    def ahead(self, seq: int) -> int:
        """How far ``seq`` is behind ``next``; negative = before it."""
        return (seq - self.next + _WRAP // 2) % _WRAP - _WRAP // 2

    def move(self, count: int) -> None:
        """So many bytes are done with."""
        self.next = (self.next + count) % _WRAP
        self.place += count

    def wait(self, ahead: int, payload: bytes, missing: int, time: int) -> bool:
        """Keep a segment that comes too early; False if one as long is there already."""
        place = self.place + ahead
        known = self._waiting.get(place)
        if known is not None:
            if len(known[0]) + known[1] >= len(payload) + missing:
                return False
            self.held -= len(known[0])
        else:
            insort(self._order, place)
        self._waiting[place] = (payload, missing, time)
        self.held += len(payload)
        return True

    @property
    def hole(self) -> int:
        """Bytes missing before the first segment that waits; 0 or less when it can be had."""
        return self._order[0] - self.place

    def take(self) -> tuple[bytes, int, int]:
        """The first segment that waits."""
        found = self._waiting.pop(self._order.pop(0))
        self.held -= len(found[0])
        return found

    def restart(self, seq: int) -> None:
        """Nothing known is of any use."""
        self.next = seq
        self.held = 0
        self._waiting.clear()
        self._order.clear()


class _Tcp:
    """A connection and its two directions."""

    __slots__ = ("connection", "directions")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.directions = (_Direction(), _Direction())

    @property
    def held(self) -> int:
        """Bytes that wait in both directions."""
        return self.directions[0].held + self.directions[1].held

    def take(self, direction: int, segment: Segment) -> Iterator[Delivered]:
        """What becomes readable with this segment."""
        mine, other = self.directions[direction], self.directions[1 - direction]
        connection = self.connection
        seq = segment.seq
        if segment.flags & SYN:
            seq = (seq + 1) % _WRAP
            connection.opened = True
        if mine.next < 0:
            mine.next = seq
        if segment.flags & ACK and len(other) and 0 < other.ahead(segment.ack) < _FAR:
            yield from self._give_up(1 - direction, segment.time, other.ahead(segment.ack))
        size = len(segment.payload) + segment.missing
        if segment.flags & FIN:
            mine.finished = (seq + size) % _WRAP
        if size:
            yield from self._place(direction, seq, segment)
        if segment.flags & RST or all(one.finished >= 0 and one.ahead(one.finished) <= 0 for one in self.directions):
            connection.closed = True

    def _place(self, direction: int, seq: int, segment: Segment) -> Iterator[Delivered]:
        mine = self.directions[direction]
        payload, missing = segment.payload, segment.missing
        ahead = mine.ahead(seq)
        if abs(ahead) > _FAR:
            mine.restart(seq)
            ahead = 0
        if ahead > 0:
            if not mine.wait(ahead, payload, missing, segment.time):
                self.connection.repeated[direction] += len(payload)
            if mine.held > PENDING_MAX or len(mine) > SEGMENTS_MAX:
                yield from self._give_up(direction, segment.time)
            return
        yield from self._deliver(direction, -ahead, payload, missing, segment.time)
        yield from self._follow(direction, segment.time)

    def _deliver(self, direction: int, known: int, payload: bytes, missing: int, time: int) -> Iterator[Delivered]:
        """Bytes of which the first ``known`` are there already."""
        mine, connection = self.directions[direction], self.connection
        connection.repeated[direction] += min(known, len(payload))
        fresh = payload[known:]
        if fresh:
            mine.move(len(fresh))
            connection.bytes[direction] += len(fresh)
            yield Delivered(connection, direction, time, fresh)
        cut = missing - max(0, known - len(payload))
        if missing and cut > 0:
            mine.move(cut)
            connection.lost[direction] += cut
            yield Delivered(connection, direction, time, gap=cut)

    def _follow(self, direction: int, time: int) -> Iterator[Delivered]:
        """What waited for just these bytes."""
        mine = self.directions[direction]
        while len(mine) and mine.hole <= 0:
            known = -mine.hole
            payload, missing, came = mine.take()
            yield from self._deliver(direction, known, payload, missing, max(came, time))

    def _give_up(self, direction: int, time: int, upto: int = 0) -> Iterator[Delivered]:
        """Leave the hole behind, or every hole that ends within ``upto`` bytes, and go on after it."""
        mine = self.directions[direction]
        stop = mine.place + upto
        while len(mine) and (not upto or mine.place + mine.hole <= stop):
            gap = mine.hole
            mine.move(gap)
            self.connection.lost[direction] += gap
            yield Delivered(self.connection, direction, time, gap=gap)
            yield from self._follow(direction, time)
            if not upto:
                return

    def give_up_all(self, time: int) -> Iterator[Delivered]:
        """Everything that waits comes out, with the gaps between."""
        for direction, mine in enumerate(self.directions):
            while len(mine):
                yield from self._give_up(direction, time)

    def finish(self, time: int) -> Iterator[Delivered]:
        """The end."""
        yield from self.give_up_all(time)
        for direction in (0, 1):
            yield Delivered(self.connection, direction, time, end=True)


Key = tuple[str, str, int, str, int]


class Reassembler:
    """All connections of a capture. ``take`` segments in the file's order, ``finish`` at its end."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self._tcp: OrderedDict[Key, _Tcp] = OrderedDict()
        self._udp: OrderedDict[Key, Connection] = OrderedDict()
        self._closed: OrderedDict[Key, int] = OrderedDict()
        self._held = 0

    def take(self, segment: Segment) -> Iterator[Delivered]:
        """What this segment makes readable."""
        if segment.is_udp:
            yield from self._datagram(segment)
            return
        key = _key(segment)
        tcp = self._tcp.get(key)
        if tcp is not None and segment.flags & SYN and not segment.flags & ACK and _begins_anew(tcp, segment):
            yield from self._end(key, segment.time)
            tcp = None
        if tcp is None:
            straggler = key in self._closed and segment.time - self._closed[key] < _CLOSED_NS
            if not segment.flags & SYN and (segment.flags & RST or not segment.payload or straggler):
                return  # the last words of a connection, or an acknowledgement before anything was said
            if len(self._tcp) >= CONNECTIONS_MAX:
                yield from self._end(next(iter(self._tcp)), segment.time)
            tcp = self._tcp[key] = _Tcp(self._begin("tcp", segment))
        else:
            self._tcp.move_to_end(key)
        connection = tcp.connection
        connection.last = segment.time
        connection.packets += 1
        before = tcp.held
        yield from tcp.take(_direction(connection, segment), segment)
        self._held += tcp.held - before
        if connection.closed:
            self._closed[key] = segment.time
            while len(self._closed) > _CLOSED_MAX:
                self._closed.popitem(last=False)
            yield from self._end(key, segment.time)
        elif self._held > HELD_MAX:
            yield from self._relieve(segment.time)

    def _relieve(self, time: int) -> Iterator[Delivered]:
        """The connection longest silent among those that wait does not wait any longer."""
        for tcp in self._tcp.values():
            if tcp.held:
                self._held -= tcp.held
                yield from tcp.give_up_all(time)
                return

    def finish(self) -> Iterator[Delivered]:
        """The end of the capture."""
        for key in list(self._tcp):
            yield from self._end(key, self._tcp[key].connection.last)
        for connection in self._udp.values():
            yield Delivered(connection, 0, connection.last, end=True)
            yield Delivered(connection, 1, connection.last, end=True)

    def _datagram(self, segment: Segment) -> Iterator[Delivered]:
        key = _key(segment)
        connection = self._udp.get(key)
        if connection is None:
            if len(self._udp) >= CONNECTIONS_MAX:
                _, old = self._udp.popitem(last=False)
                yield Delivered(old, 0, segment.time, end=True)
                yield Delivered(old, 1, segment.time, end=True)
            connection = self._udp[key] = self._begin("udp", segment)
        else:
            self._udp.move_to_end(key)
        direction = _direction(connection, segment)
        connection.last = segment.time
        connection.packets += 1
        connection.bytes[direction] += len(segment.payload)
        connection.lost[direction] += segment.missing
        yield Delivered(connection, direction, segment.time, segment.payload, segment.missing)

    def _begin(self, transport: str, segment: Segment) -> Connection:
        source, target = Endpoint(segment.source, segment.source_port), Endpoint(segment.target, segment.target_port)
        syn = not segment.is_udp and segment.flags & SYN
        # without its beginning: servers' ports are the smaller ones; with datagrams the terminal speaks first
        backwards = bool(segment.flags & ACK) if syn else not segment.is_udp and source.port < target.port
        connection = Connection(len(self.connections) + 1, transport, (target, source) if backwards else (source, target), segment.time, segment.time)
        self.connections.append(connection)
        return connection

    def _end(self, key: Key, time: int) -> Iterator[Delivered]:
        tcp = self._tcp.pop(key)
        self._held -= tcp.held
        yield from tcp.finish(time)


def _key(segment: Segment) -> Key:
    """The same for both directions."""
    here, there = (segment.source, segment.source_port), (segment.target, segment.target_port)
    kind = "udp" if segment.is_udp else "tcp"
    return (kind, *here, *there) if here <= there else (kind, *there, *here)


def _direction(connection: Connection, segment: Segment) -> int:
    first = connection.ends[0]
    return 0 if (segment.source, segment.source_port) == (first.host, first.port) else 1


def _begins_anew(tcp: _Tcp, segment: Segment) -> bool:
    """A SYN on known ports is the old one again, or a new connection's."""
    direction = tcp.directions[_direction(tcp.connection, segment)]
    return direction.next >= 0 and direction.ahead((segment.seq + 1) % _WRAP) != -direction.place
