"""The short way of ordinary pictures: from the bytes of one connection to the pieces of its outputs in one loop.

Between two key frames nearly everything a terminal sends is alike: P pictures of one slice, in packets that follow on, with stamps that
run. What ``Demuxer``, ``Ingest``, ``Timeline`` and the muxers do with such a picture is little; most of the time goes into passing it from one
to the next, and into fetching the state of each of them into the cache, for hundreds of connections in turn. So once a connection
has settled, its ``Shortcut`` borrows that state (``lend``), keeps it in the variables of a generator, and gives it back (``take_back``) as soon as
anything comes that is not ordinary::

    idle ──a read, and everybody lends──→ taking ──something that is not ordinary──→ idle; the rest of the read goes the long way
                                            └──somebody needs the state (``settle``)──→ idle

Nothing of what came is kept but the read itself, which joins the GOP cache as it is: all else is let go before the next connection is read, so
that its pictures are made in the same, warm memory. Where a stream has one viewer, and he takes what comes, it is sent to from here. If it is written as
FLV and nothing else, and the relay was installed where there is a C compiler, ``scan`` in ``_scan.c`` does what the inner loop does.

Ordinary is what the long way passes on without a second look: the next number, the same SIM and channel, honest marks, a stamp ahead of
the last one by no more than ``timeline.EASY_STEP_MS``, one NAL unit, which is a P slice and begins a picture. The long way must give the same
bytes for the same input, and so must ``scan``; ``tests/hub/test_shortcut.py`` compares the three.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from relay.codec.frame import Frame, plain_picture
from relay.hub.gop import Read
from relay.hub.ingest import Ingest
from relay.hub.merge import Merge
from relay.hub.output import Ways
from relay.hub.picture import PLAIN_BYTES, Lent
from relay.jt1078.demux import Demuxer
from relay.jt1078.packet import SubpackageMark
from relay.mux.flv import PLAIN, PLAIN_HEAD, PLAIN_HEAD_BYTES, PLAIN_TRAILER

try:
    from relay.hub._scan import scan
except ImportError:  # not compiled here
    scan = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from relay.hub.stream import Stream

#: whether the inner loop was compiled at installing
COMPILED = scan is not None
#: a picture that has not wholly come is begun again with each read; one that has more bytes than this takes the long way instead
TAIL_MAX = 16384
#: a packet that claims more takes the long way, which looks whether it may
PACKET_MAX = 4096
#: borrowing and giving back costs as much as the long way does for a picture or two, so it is worth while for so many packets in a row.
WORTH_PACKETS = 8
#: times in a row that it was not, after which the shortcut is given up: this terminal sends something else in between, sound mostly
MISSES_MAX = 16

_M = 0x800000  # the M bit in bytes 0-7 of a packet
_NUMBER = 0xFFFF
_STAMP = 0xFFFFFFFFFFFFFFFF
_TYPES = frozenset((0x00, 0x10, 0x20))  # I, P, B, in the upper half of the byte with the mark
_LENGTH = struct.Struct(">I").pack
_RULE = struct.Struct(">9Q").pack
_START = b"\0\0\1"
# Bytes 0-7, SIM to mark, time stamp, length of the body; and the same with the start code and the first bytes of the slice.
_HEADS = {6: struct.Struct(">Q8sQ4xH"), 10: struct.Struct(">Q12sQ4xH")}
_BEGINNINGS = {
    (6, 98): struct.Struct(">Q8sQ4xH6s"),
    (10, 98): struct.Struct(">Q12sQ4xH6s"),
    (6, 99): struct.Struct(">Q8sQ4xH7s"),
    (10, 99): struct.Struct(">Q12sQ4xH7s"),
}
#: how ordinary pictures begin, by PT: learnt from those that came, of which few differ
_ORDINARY: dict[int, set[bytes]] = {98: set(), 99: set()}
_ORDINARY_MAX = 4096
#: after a send is measured how long it took where these bits of the count of pictures are 0: one in eight
_MEASURE = 7
# what ``take`` is told besides what came
_SETTLE: tuple[bytes, float] = (b"", 0.0)
_COUNT: tuple[bytes, float] = (b"", 1.0)

#: answers of ``take``: what is in ``rest`` is for the long way; all has been taken; taken and sent
REST, TAKEN, SENT = 0, 1, 2
Take = Callable[[tuple[bytes, float]], int]


class Marks(NamedTuple):
    """SIM, channel, data type and mark of the packets of one picture, as they stand in the packet."""

    first: bytes
    middle: bytes
    last: bytes
    atomic: bytes


class Borrowed(NamedTuple):
    """What the loop works with."""

    begin: Callable[[bytes, int], tuple[int, bytes, int, int, bytes]]
    follow: Callable[[bytes, int], tuple[int, bytes, int, int]]
    header: int  #: bytes of a packet before its body
    reach: int  #: and as many as ``begin`` looks at
    ordinary: set[bytes]
    marks: Marks
    word: int  #: bytes 0-7 of the last packet, without M
    pictures: Lent
    span: tuple[bytes, int, int]
    items: list[Frame | Read]  #: of the GOP cache; empty while there is none
    ways: Ways


class Shortcut:
    """Of one connection that feeds one stream."""

    __slots__ = ("_demuxer", "_generator", "_idle", "_ingest", "_last_m", "_merge", "_middle_m", "_misses", "_stream", "rest", "take")

    def __init__(self, demuxer: Demuxer, ingest: Ingest, stream: Stream, merge: Merge) -> None:
        self._demuxer = demuxer
        self._ingest = ingest
        self._stream = stream
        self._merge = merge
        self._idle = True
        self._misses = 0
        self._middle_m = 0  #: the M bit of packets that are not the last of their picture, and of those that are; seen: set in all or in none
        self._last_m = _M
        self.rest = b""
        self._generator = self._run()
        next(self._generator)
        self.take: Take = self._generator.send  #: bytes as they came, and when; answers REST, TAKEN or SENT

    @property
    def useless(self) -> bool:
        """It has been given back too soon for many times in a row."""
        return self._misses > MISSES_MAX

    def settle(self) -> None:
        """Give the state back: somebody needs it, or is about to change what pictures are written to."""
        self._tell(_SETTLE)

    def give_up(self) -> None:
        """Settle for good."""
        self.settle()
        self._generator.close()  # the two hold each other
        if self._stream.shortcut is self:
            self._stream.shortcut = None

    def count(self) -> None:
        """Bring the stream's and the connection's figures up to date."""
        self._tell(_COUNT)

    def _tell(self, what: tuple[bytes, float]) -> None:
        if not self._idle:
            try:
                self.take(what)
            except StopIteration:  # a fault of our own has ended it, and the connection
                self._idle = True

    def _borrow(self) -> Borrowed | None:
        packets, pictures = self._demuxer.lend(), self._ingest.lend()
        if packets is None or pictures is None or packets.ts != pictures.stamp:
            return None
        width, pt = packets.sim_bytes, pictures.pt
        follow, begin = _HEADS[width], _BEGINNINGS[width, pt]
        word = int.from_bytes(packets.head + bytes((pt, packets.seq >> 8, packets.seq & 0xFF)), "big")
        return Borrowed(
            begin.unpack_from, follow.unpack_from, follow.size, begin.size, _ORDINARY[pt], _marks(packets.key, 0x10), word, pictures, packets.span,
            self._stream.gop.items, self._stream.ways(),
        )  # fmt: skip

    def _rule(self, borrowed: Borrowed) -> bytes:
        """For ``scan``: the numbers that ``_scan.c`` names, SIM and channel, what a plain picture may begin with."""
        (((lead, second), _),) = borrowed.ways.short
        _, _, _, offset, easy = borrowed.pictures
        numbers = borrowed.header, borrowed.reach - borrowed.header, self._middle_m, self._last_m, offset & _STAMP, easy, PACKET_MAX, lead, second
        return b"".join((_RULE(*numbers), borrowed.marks.first[:-1], *PLAIN_BYTES[borrowed.pictures.pt]))

    def _run(self) -> Generator[int, tuple[bytes, float], None]:
        # One long function, since each call would cost as much as what it did; and plain variables, since an attribute costs three times as much.
        demuxer, ingest, stream, merge = self._demuxer, self._ingest, self._stream, self._merge
        answer = TAKEN
        idle = True
        tail = b""
        arrived = seen = 0.0
        size = frames = reads = sent = step = 0
        parts: list[bytes] = []
        while True:
            new, now = yield answer
            answer = TAKEN
            settling = False
            failed = 0
            if new:
                if idle:
                    borrowed = self._borrow()
                    if borrowed is None:
                        self._misses += 1
                        self.rest = new
                        answer = REST
                        continue
                    self._idle = idle = False
                    begin, follow, header, reach, ordinary, marks, word, lent, span, items, (short, ways, direct) = borrowed
                    first, middle, last, atomic = marks
                    pt, config, stamp, offset, easy = lent
                    send = direct.direct_send if direct is not None else None
                    alone = len(short) == 1 and not ways
                    (lead, second), pending = short[0] if alone else ((0, 0), [])
                    rule = self._rule(borrowed) if alone and scan is not None else b""
                    middle_m, last_m = self._middle_m, self._last_m
                    first_step, atomic_step = 1 + middle_m, 1 + last_m
                    body_at = header + 4
                    word_before = word_counted = word
                    head, ident = word, b""
                    read: Read = (*span, header, offset)
                    stamp_limit, bytes_room, frames_room = stream.room(offset)
                    keeps_reads = bool(items) and not ways
                arrived = now
                size += len(new)
                data = tail + new if tail else new
                n = len(data)
                stop = n - reach
                inner_stop = n - header
                pos = at = last_at = 0
                usual = True
                if rule:
                    made, pos, last_at, looked, count, stamp, gap, taken, usual = scan(data, n, rule, word, stamp)
                    if made is not None:
                        pending.append(made)
                        made = None
                        step = gap
                        word += count
                        frames += taken
                    if not usual and looked <= inner_stop:
                        head, ident, _, _ = follow(data, looked)
                while pos <= stop and not rule:
                    head, ident, ts, length, beginning = begin(data, pos)
                    if ident == first:
                        expected = word + first_step
                    elif ident == atomic:
                        expected = word + atomic_step
                    else:
                        kind = ident[-1] & 0xF0
                        usual = kind in _TYPES and kind != first[-1] & 0xF0 and ident[:-1] == first[:-1]
                        if not usual:
                            break
                        first, middle, last, atomic = _marks(first[:-1], kind)  # what the terminal calls the picture is not believed
                        continue
                    gap = ts - stamp
                    if head != expected or length < 8 or gap <= 0 or gap > easy or (beginning not in ordinary and not _is_ordinary(pt, beginning)):
                        usual = False
                        break
                    at = pos
                    end = pos + header + length
                    parts = [b"", data[pos + body_at : end]]
                    if ident == first:
                        at = end
                        while at <= inner_stop:
                            head, ident, same, length = follow(data, at)
                            end = at + header + length
                            parts.append(data[at + header : end])
                            if ident == middle and same == ts:
                                at = end
                                continue
                            usual = ident == last and same == ts and length > 0 and head == word + len(parts) - 1 + last_m
                            break
                        else:  # the rest has not come
                            usual = length <= PACKET_MAX
                            break
                        if not usual:
                            break
                    if end > n:
                        usual = length <= PACKET_MAX
                        break
                    count = len(parts) - 1
                    size_of_unit = end - pos - header * count - 4
                    dts = ts - offset
                    if alone:
                        parts[0] = PLAIN_HEAD(PLAIN + size_of_unit, (dts & 0xFFFFFF) << 8 | dts >> 24 & 0xFF, lead, second, size_of_unit)
                        parts.append(PLAIN_TRAILER(PLAIN_HEAD_BYTES + size_of_unit))
                        body = b"".join(parts)
                        if not data[end - 1] or body.find(_START, PLAIN_HEAD_BYTES, -4) >= 0:
                            usual = False
                            break
                        pending.append(body)
                    else:
                        body = b"".join(parts)
                        if not data[end - 1] or body.find(_START) >= 0:  # zeros after the slice; or more than one NAL unit
                            usual = False
                            break
                        for (lead, second), written in short:
                            before = PLAIN_HEAD(PLAIN + size_of_unit, (dts & 0xFFFFFF) << 8 | dts >> 24 & 0xFF, lead, second, size_of_unit)
                            written.append(b"".join((before, body, PLAIN_TRAILER(PLAIN_HEAD_BYTES + size_of_unit))))
                        if ways:
                            picture = plain_picture(dts, _LENGTH(size_of_unit) + body, config, now)
                            if items:
                                items.append(picture)
                            for write, keep in ways:
                                keep(write(picture))
                    step = gap
                    stamp = ts
                    word += count
                    pos = end
                    last_at = at
                    frames += 1
                if pos:
                    read = data, last_at, pos, header, offset
                    seen = now
                    if keeps_reads:
                        items.append(read)
                        reads += 1
                if pos == n:
                    tail = b""
                else:
                    left = n - pos
                    if not usual or left > TAIL_MAX or (left < reach and left > header - 15 and (left >= header or data[pos + header - 15] >= 0x30)):
                        self.rest = data[pos:]
                        if pos:
                            read = data[:pos], last_at, pos, header, offset
                            if keeps_reads:
                                items[-1] = read
                        size -= left
                        tail = b""
                        answer = REST
                        settling = True
                        if ident[:-1] == first[:-1]:
                            if ident[-1] & 0x0F in (SubpackageMark.FIRST, SubpackageMark.MIDDLE):
                                self._middle_m = head & _M
                            else:
                                self._last_m = head & _M
                        self._misses = 0 if word - word_before >= WORTH_PACKETS else self._misses + 1
                    else:
                        tail = data[pos:]
                if answer and send is not None and merge.immediate:
                    answer = SENT
                    if pending:
                        body = b"".join(pending)
                        pending.clear()
                        length = len(body)
                        sent += length
                        try:
                            failed = send(body) - length
                        except BlockingIOError:
                            failed = -length
                        except OSError:
                            failed = -length - 1
                        if failed:
                            settling = True
                        elif not frames & _MEASURE and merge.measure:
                            stream.measure(now)
                parts.clear()
                if not settling:
                    body = b""
                    if stamp <= stamp_limit and size <= bytes_room and frames <= frames_room:
                        # Freed now, while they are warm: at the next read, after those of all others, each would be a wait for memory.
                        n = stop = inner_stop = at = last_at = end = length = size_of_unit = dts = looked = left = 0
                        new = data = b""
                        continue
            else:
                settling = now == 0.0  # _SETTLE, not _COUNT
                body = b""
            if idle:
                continue
            packets = word - word_counted
            word_counted = word
            demuxer.count(packets, size - len(tail) if settling else size)
            if frames:
                ingest.take_back(frames, stamp, step, seen)
            if direct is not None:
                direct.count(sent)
            if settling:
                self._idle = idle = True
                demuxer.take_back(word & _NUMBER, pt, stamp, read[:3])
                new = data = b""
                read = b"", 0, 0, 0, 0
                if tail:  # the beginning of a picture: its packets wait where they always do
                    packets -= demuxer.packets
                    demuxer.feed(tail, arrived)
                    packets += demuxer.packets
                    tail = b""
            stream.shortened(packets, size, frames, reads, stamp - offset, arrived)
            size = frames = reads = sent = 0
            if failed and direct is not None:
                direct.fell(length + failed, body)
            items = stream.gop.items if not settling else []  # the cache is about to begin anew, and the old one to go
            keeps_reads = bool(items) and not ways
            stamp_limit, bytes_room, frames_room = stream.room(offset)


@lru_cache(maxsize=4096)
def _marks(key: bytes, kind: int) -> Marks:
    return Marks(*(key + bytes((kind | mark,)) for mark in (SubpackageMark.FIRST, SubpackageMark.MIDDLE, SubpackageMark.LAST, SubpackageMark.ATOMIC)))


def _is_ordinary(pt: int, beginning: bytes) -> bool:
    """A start code of four bytes, and behind it a P slice that begins a picture."""
    units, slices = PLAIN_BYTES[pt]
    if not (beginning.startswith(b"\0\0\0\1") and units[beginning[4]] and slices[beginning[-1]]):
        return False
    if len(_ORDINARY[pt]) < _ORDINARY_MAX:
        _ORDINARY[pt].add(beginning)
    return True
