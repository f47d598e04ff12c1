"""包序号: which packets are missing on a TCP connection, when nobody says what the terminal counts.

The standard: from 0, one more per packet sent, 65535 → 0. seen: one count for the whole connection; one per channel; one per channel
and kind of media; restarts with every request; a number that stands still. So three counts are kept side by side until one of
them is seen to run on while the others jump; a packet is missing only if it is missing from the count that fits best.

On TCP a gap is no loss on the way: the terminal itself dropped packets, mostly because its buffer was full.
"""

from __future__ import annotations

from relay.jt1078.assembly import NEVER, UNKNOWN, Counter, Stream, Track

CONNECTION, CHANNEL, KIND, NONE, LEARNING = range(5)

#: packets after which a scheme may be settled: if it has not failed once, and else
_FEW, _ENOUGH = 8, 32
#: a jump forward by more is a new beginning, not so many missing packets
_FAR = 8192
#: answers of ``gap`` besides the number of missing packets
FOLLOWS, RESTART, FIRST, SAME = 0, -1, -2, -3


class Sequence:
    """The numbers of one connection."""

    __slots__ = ("counter", "decided", "fails", "mismatch", "packets", "scheme", "streak")

    def __init__(self) -> None:
        self.scheme = LEARNING
        self.counter = Counter()
        self._forget()

    def _forget(self) -> None:
        self.scheme = LEARNING
        self.packets = 0
        self.fails = [0, 0, 0]
        self.decided = False  #: the scheme was told from others, not just taken because all agreed
        self.mismatch = 0
        self.streak = 0

    @property
    def best(self) -> int:
        """The scheme by which loss is judged now."""
        if self.scheme != LEARNING:
            return self.scheme
        return self.fails.index(min(self.fails))

    def counter_of(self, track: Track) -> Counter:
        """What the fast path compares with; NEVER while the scheme is not settled."""
        if self.scheme == CONNECTION:
            return self.counter
        if self.scheme == CHANNEL:
            return track.stream.counter
        return track.own if self.scheme == KIND else NEVER

    def new_track(self) -> None:
        """Another track has begun: what all counts agreed on may need another look."""
        if self.scheme != LEARNING and not self.decided:
            self._forget()

    def gap(self, stream: Stream, track: Track, seq: int) -> int:
        """FOLLOWS, the number of packets missing before this one, RESTART, or FIRST or SAME where nothing can be known."""
        if self.scheme == NONE:
            return FIRST
        if self.scheme == LEARNING:
            return self._learn(stream, track, seq)
        counter = self.counter_of(track)
        answer = _judge(counter.last, seq)
        counter.last = seq
        if answer not in (FOLLOWS, FIRST):
            # Losses stand alone or in bursts; a count that fails at every turn is the wrong one.
            self.streak = self.streak + 1 if (seq - self.mismatch) & 0xFFFF < 8 or answer < 0 else 0
            self.mismatch = seq
            if self.streak >= 6:
                self._forget()
        return answer

    def _learn(self, stream: Stream, track: Track, seq: int) -> int:
        counters = (self.counter, stream.counter, track.own)
        answers = [_judge(counter.last, seq) for counter in counters]
        for counter in counters:
            counter.last = seq
        fails = self.fails
        for index, answer in enumerate(answers):
            if answer not in (FOLLOWS, FIRST):
                fails[index] += 1
        self.packets += 1
        fewest = min(fails)
        alive = [answer for index, answer in enumerate(answers) if fails[index] == fewest]
        if self.packets >= (_ENOUGH if fewest else _FEW):
            self._settle(fewest)
        for answer in (FOLLOWS, FIRST, SAME):
            if answer in alive:
                return answer
        lost = [answer for answer in alive if answer > 0]
        return min(lost) if lost else RESTART

    def _settle(self, fewest: int) -> None:
        if fewest * 10 <= self.packets:
            self.scheme = self.fails.index(fewest)
            self.decided = max(self.fails) > fewest + 2
            self.streak = 0
        elif self.packets >= 8 * _ENOUGH or fewest * 10 > 4 * self.packets:
            self.scheme = NONE if fewest * 10 > 4 * self.packets else self.fails.index(fewest)
            self.decided = True


def _judge(last: int, seq: int) -> int:
    if last == UNKNOWN:
        return FIRST
    if seq == last:
        return SAME  # seen: a count of frames instead of packets, or none at all
    ahead = (seq - last - 1) & 0xFFFF
    if ahead > _FAR or (seq == 0 and ahead > 64):
        return RESTART
    return ahead
