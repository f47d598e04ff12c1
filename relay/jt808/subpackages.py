"""Sub-packages (分包): putting long messages together, asking for what is missing, cutting our own.

JT/T 808-2013 §4.4.3, -2019 §4.4.3. A long message travels as pieces with the same message id, bit 13 of the
properties set, ``package_total`` and ``package_index`` (1-based) in each header, and consecutive serials::

    | 0x0801 total=3 index=1 serial=40 | 0x0801 3/2 serial=41 | 0x0801 3/3 serial=42 |   ->  one body

Only the joined body has the message's layout; a piece alone is never decoded.

Which pieces belong together, first match wins:

1. same (msg_id, total, serial - index + 1): the standard's run of consecutive serials;
2. the unfinished set of the same (msg_id, total) that lacks the index and whose serials lie nearest, the newest of
   equals: terminals let other messages take serials in between (seen: jt808-0104-2013-f-4 and -5, pieces 1 and 2 with
   serials 1233 and 1250);
3. a new set. So an index 1 that comes again begins the message anew.

A piece that came already (same set, same index) is counted and otherwise ignored, also for a while after its
message is complete: a terminal repeats what it did not see acknowledged.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from relay.errors import SequenceError, UsageError
from relay.jt808.header import MAX_BODY

PIECE_BODY = 1000  #: what terminals themselves send; leaves room for those that count the header in
PIECE_COST = 150  #: bytes of bookkeeping a kept piece costs beside its body, counted so that tiny pieces cannot evade the limits
DONE_KEPT = 2  #: finished messages remembered per link so that late repeats are known as such
ASK_HOLE_S = 1.0  #: the last piece is here and others are not: UDP may still reorder for so long
ASK_QUIET_S = 5.0  #: nothing came for so long although pieces are missing
ASK_MAX = 3  #: requests for missing pieces without any progress, then the set only ages
ASK_LIST_MAX = 255  #: the 2013 layout of 0x8003 counts in one byte
AGE_FACTOR = 10  #: however steadily pieces trickle, a set lives at most so many times ``timeout_s``


@dataclass(frozen=True, slots=True)
class SubpackageLimits:
    """Bounds of one link."""

    messages: int = 64  #: sets in assembly
    bytes: int = 4194304  #: in assembly; photos of 0x0801 are large
    total: int = 4096  #: pieces of one message: 4 MiB of ordinary pieces; the header could say 65,535
    timeout_s: float = 60.0  #: a set without a new piece for so long is given up


class Assembled(NamedTuple):
    """A message whose pieces are all here."""

    msg_id: int
    body: bytes
    serial: int  #: of the first piece: what 0x8003, and an answer to the whole, refer to
    last_serial: int
    total: int


class Missing(NamedTuple):
    """Pieces to ask for with 0x8003 or 0x0005 (0x8800 for 0x0801)."""

    msg_id: int
    original_serial: int
    indexes: tuple[int, ...]
    first_body: bytes | None  #: piece 1, when it is here: 0x8800 needs the media id in it


class Abandoned(NamedTuple):
    """A set given up."""

    msg_id: int
    total: int
    received: int
    reason: str  #: "timeout", "link limit" or "process limit"


class _Set:
    """One message in assembly."""

    __slots__ = ("ask_at", "asked", "base", "first_at", "last_at", "msg_id", "owner", "pieces", "size", "total")

    def __init__(self, owner: Reassembler, msg_id: int, total: int, base: int, now: float) -> None:
        self.owner = owner
        self.msg_id = msg_id
        self.total = total
        self.base = base  #: serial of piece 1 by the standard's rule
        self.pieces: dict[int, tuple[int, bytes]] = {}  #: index -> (serial, body)
        self.size = 0
        self.first_at = now
        self.last_at = now
        self.asked = 0
        self.ask_at = now + ASK_QUIET_S

    def first_serial(self) -> int:
        piece = self.pieces.get(1)
        return self.base if piece is None else piece[0]

    def gap(self, index: int, serial: int) -> int:
        """How far a piece's serial lies from where it should; 0x10000 when it lies on the wrong side of one that is here."""
        widest = 0
        for other, (known, _) in self.pieces.items():
            behind = (serial - known if other < index else known - serial) & 0xFFFF
            if behind >= 0x8000:
                return 0x10000
            widest = max(widest, behind - abs(index - other))
        return widest


class AssemblyPool:
    """All sets of a process, so that many links together cannot exceed one limit.

    Above it the set longest without progress goes first, whoever owns it: a terminal that really sends keeps its own.
    """

    def __init__(self, limit_bytes: int = 67108864) -> None:
        self.limit_bytes = limit_bytes
        self.size = 0
        self._sets: OrderedDict[_Set, None] = OrderedDict()

    def touch(self, group: _Set, added: int) -> None:
        """``group`` grew by ``added`` bytes just now; may make owners drop their stalest sets."""
        self._sets[group] = None
        self._sets.move_to_end(group)
        self.size += added
        while self.size > self.limit_bytes and len(self._sets) > 1:
            stalest = next(iter(self._sets))
            stalest.owner._drop(stalest, "process limit")

    def remove(self, group: _Set) -> None:
        if group in self._sets:
            del self._sets[group]
            self.size -= group.size

    def __len__(self) -> int:
        return len(self._sets)


class Reassembler:
    """Puts the sub-packages of one link together. No message id is special here; what to answer is the session's business."""

    def __init__(self, limits: SubpackageLimits | None = None, pool: AssemblyPool | None = None) -> None:
        self.limits = limits or SubpackageLimits()
        self.pool = pool if pool is not None else AssemblyPool()
        self.size = 0
        self.completed = 0
        self.duplicates = 0
        self._sets: list[_Set] = []  #: oldest first; seldom more than one or two
        self._done: list[tuple[float, int, int, int, array[int]]] = []  #: (until, msg_id, total, base, serial and CRC of each piece)
        self._abandoned: list[Abandoned] = []

    def __len__(self) -> int:
        return len(self._sets)

    def add(self, msg_id: int, total: int, index: int, serial: int, body: bytes, now: float) -> Assembled | None:
        """Take one piece; gives the message when it was the last one missing.

        Raises SequenceError for numbers that no message can have.
        """
        if not 1 <= index <= total:
            raise SequenceError(f"0x{msg_id:04X}: sub-package {index} of {total}")
        if total > self.limits.total:
            raise SequenceError(f"0x{msg_id:04X}: {total} sub-packages announced, at most {self.limits.total} are accepted")
        if total == 1:
            # seen: bit 13 set on a message of one piece
            self.completed += 1
            return Assembled(msg_id, body, serial, serial, 1)
        if self._done and self._is_late(msg_id, total, index, serial, body):
            self.duplicates += 1
            return None
        group = self._find(msg_id, total, index, serial, body)
        if group is None:
            group = self._begin(msg_id, total, index, serial, body, now)
        elif index in group.pieces:
            self.duplicates += 1
            return None
        group.pieces[index] = (serial, body)
        group.last_at = now
        group.asked = 0
        group.ask_at = now + (ASK_HOLE_S if total in group.pieces else ASK_QUIET_S)
        if len(group.pieces) == total:
            return self._finish(group, serial, now)
        added = len(body) + PIECE_COST
        group.size += added
        self.size += added
        self.pool.touch(group, added)
        while self.size > self.limits.bytes or len(self._sets) > self.limits.messages:
            self._drop(min(self._sets, key=lambda g: g.last_at), "link limit")
        return None

    def missing(self, now: float) -> list[Missing]:
        """What to ask for now. Each call that returns a set counts as one request; the pause grows as T(N+1) = T(N) x (N+1)."""
        due = []
        for group in self._sets:
            if group.asked < ASK_MAX and now >= group.ask_at:
                group.asked += 1
                pause = ASK_QUIET_S
                for n in range(1, group.asked + 1):
                    pause *= n
                group.ask_at = now + pause
                lacking = [i for i in range(1, group.total + 1) if i not in group.pieces][:ASK_LIST_MAX]
                first = group.pieces.get(1)
                due.append(Missing(group.msg_id, group.first_serial(), tuple(lacking), first[1] if first else None))
        return due

    def tick(self, now: float) -> list[Abandoned]:
        """Give up what is too old; returns everything given up since the last call, whatever the reason."""
        for group in [g for g in self._sets if now >= self._expiry(g)]:
            self._drop(group, "timeout")
        if self._done:
            self._done = [done for done in self._done if done[0] > now]
        taken, self._abandoned = self._abandoned, []
        return taken

    def next_deadline(self) -> float | None:
        """When ``missing`` or ``tick`` may have something to do."""
        times = [min(self._expiry(g), g.ask_at if g.asked < ASK_MAX else float("inf")) for g in self._sets]
        times.extend(done[0] for done in self._done)
        return min(times) if times else None

    def clear(self) -> None:
        """The link is gone: give the memory back."""
        for group in self._sets:
            self.pool.remove(group)
        self._sets.clear()
        self._done.clear()
        self._abandoned.clear()
        self.size = 0

    def _expiry(self, group: _Set) -> float:
        return min(group.last_at + self.limits.timeout_s, group.first_at + AGE_FACTOR * self.limits.timeout_s)

    def _find(self, msg_id: int, total: int, index: int, serial: int, body: bytes) -> _Set | None:
        """Rules 1 and 2 of the module's text."""
        base = (serial - index + 1) & 0xFFFF
        loose = []
        for group in reversed(self._sets):
            if group.msg_id != msg_id or group.total != total:
                continue
            piece = group.pieces.get(index)
            if group.base == base:
                # the same serial with another first piece: the terminal restarted and counts from the beginning
                return group if piece is None or index != 1 or piece[1] == body else None
            if piece is None:
                loose.append(group)
            elif index != 1 and piece[1] == body:
                return group  # a repeat under a new serial is still a repeat; an index 1 begins the message anew
        if len(loose) > 1:
            return min(loose, key=lambda group: group.gap(index, serial))
        return loose[0] if loose else None

    def _begin(self, msg_id: int, total: int, index: int, serial: int, body: bytes, now: float) -> _Set:
        base = (serial - index + 1) & 0xFFFF
        if index == 1:
            for group in self._sets:
                same = group.msg_id == msg_id and group.total == total
                if same and (group.base == base or group.pieces.get(1, (0, None))[1] == body):
                    # The same message sent again from its beginning: the half that came before is superseded.
                    self._forget(group)
                    break
        group = _Set(self, msg_id, total, base, now)
        self._sets.append(group)
        return group

    def _finish(self, group: _Set, last_serial: int, now: float) -> Assembled:
        pieces = [group.pieces[i] for i in range(1, group.total + 1)]
        self._forget(group)
        self.completed += 1
        marks = array("Q", [serial << 32 | crc32(body) for serial, body in pieces])
        self._done = [*self._done[-(DONE_KEPT - 1) :], (now + self.limits.timeout_s, group.msg_id, group.total, group.base, marks)]
        return Assembled(group.msg_id, b"".join([body for _, body in pieces]), pieces[0][0], last_serial, group.total)

    def _is_late(self, msg_id: int, total: int, index: int, serial: int, body: bytes) -> bool:
        mark = serial << 32 | crc32(body)
        return any(d[1] == msg_id and d[2] == total and d[4][index - 1] == mark for d in self._done)

    def _forget(self, group: _Set) -> None:
        if group in self._sets:
            self._sets.remove(group)
            self.size -= group.size
        self.pool.remove(group)

    def _drop(self, group: _Set, reason: str) -> None:
        self._forget(group)
        self._abandoned.append(Abandoned(group.msg_id, group.total, len(group.pieces), reason))
        del self._abandoned[:-16]


def split(body: bytes, piece: int = PIECE_BODY) -> list[bytes]:
    """Cut a body for sending; one element means that no package fields are needed."""
    if len(body) <= MAX_BODY:
        return [body]
    if not 1 <= piece <= MAX_BODY:
        raise UsageError(f"a piece of {piece} bytes does not fit a frame")
    pieces = [body[i : i + piece] for i in range(0, len(body), piece)]
    if len(pieces) > 0xFFFF:
        raise UsageError(f"a body of {len(body)} bytes needs {len(pieces)} sub-packages, more than the header can count")
    return pieces


class SentPieces:
    """What we sent in pieces, kept unchanged (same serials) for 0x0005 and 0x8003."""

    #: messages kept: the peer asks within seconds, and several long settings may be under way
    MESSAGES = 4
    #: bytes kept beyond the newest message, which is always kept whole
    BYTES = 262144

    def __init__(self) -> None:
        self._sent: OrderedDict[int, tuple[bytes, ...]] = OrderedDict()

    def keep(self, first_serial: int, frames: Sequence[bytes]) -> None:
        self._sent.pop(first_serial, None)
        self._sent[first_serial] = tuple(frames)
        while len(self._sent) > 1 and (len(self._sent) > self.MESSAGES or self._size() > self.BYTES):
            self._sent.popitem(last=False)

    def repeat(self, original_serial: int, indexes: Sequence[int]) -> list[bytes]:
        """The frames asked for; numbers that do not exist are passed over, an unknown serial gives none."""
        frames = self._sent.get(original_serial)
        if frames is None:
            return []
        return [frames[i - 1] for i in dict.fromkeys(indexes) if 1 <= i <= len(frames)]

    def _size(self) -> int:
        return sum(len(frame) for frames in self._sent.values() for frame in frames)
