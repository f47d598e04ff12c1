"""Where packets begin and end in a byte stream that may lie: the rules ``demux`` turns to when its loop is out of step.

The magic may occur inside a body and in garbage, a length may be corrupt, bytes may be missing. What counts as evidence:

    a header is possible   the magic, V = 2, a data type ≤ 4 with a mark ≤ 3, a body no longer than allowed
    it is plausible        possible, byte 4 = 0x81 (or what this connection uses), and PT and data type agree or (SIM, channel) is known here
    it is confirmed        (SIM, channel) is known here, or the packet's end meets the next magic
"""

from __future__ import annotations

import re
from functools import reduce
from operator import xor

from relay.jt1078.assembly import Stream
from relay.jt1078.packet import MAGIC, SIM_WIDTHS, header_length, measure, pt_agrees

USUAL_HEAD = MAGIC + b"\x81"

# How far the bytes speak for one width of the SIM field.
_IMPOSSIBLE, _CONTRADICTED, _OPEN, _CHAINS = range(4)

#: looking at one head costs microseconds, so noise made of heads is searched for packets only so far: this much at once, and one head for
#: every so many bytes that come in
CREDIT_MAX, CREDIT_BYTES = 2048, 32
#: packets in a row that are possible only with the other width of the SIM field before that one is taken
_CONTRARY = 3

_REQUEST = re.compile(rb"[A-Z_]{3,16} \S+ (HTTP|RTSP)/[0-9]")


def foreign(opening: bytes) -> str:
    """What a connection is that begins so and has brought no packet; empty when its first bytes do not tell."""
    if opening[:1] == b"\x7e":
        end = opening.find(b"\x7e", 1)
        if end > 13:
            message = opening[1:end].replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d")
            if reduce(xor, message) == 0:
                return "JT/T 808 signalling on a JT/T 1078 media port"
    request = _REQUEST.match(opening)
    if request:
        return f"{request[1].decode()} request on a JT/T 1078 media port"
    if opening[:1] == b"\x03" and len(opening) >= 9 and opening[5:9] == b"\0\0\0\0":
        return "RTMP client on a JT/T 1078 media port"
    if re.match(rb"\x16\x03[\x00-\x04]..\x01", opening, re.DOTALL):
        return "TLS client on a plain JT/T 1078 media port"
    return ""


class Framing:
    """What one connection has shown of its packets' shape."""

    __slots__ = ("_contrary", "credit", "fixed", "former", "head", "max_body", "sim_bytes", "sims", "streams", "sure")

    def __init__(self, max_body: int, sim_bytes: int = 0) -> None:
        self.max_body = max_body
        self.fixed = sim_bytes != 0
        self.sim_bytes = sim_bytes  #: 0 = not known yet
        self.sure = self.fixed  #: two packets in a row have agreed with that width
        self.former = sim_bytes  #: the width the streams here were met with
        self.head = USUAL_HEAD  #: bytes 0-4 as this connection sends them
        self.streams: dict[bytes, Stream] = {}  #: by SIM field and channel as on the wire
        self.sims: set[bytes] = set()  #: SIM fields met
        self._contrary = 0
        self.credit = CREDIT_MAX  #: heads that may still be looked at inside packets

    @property
    def _widths(self) -> tuple[int, ...]:
        return (self.sim_bytes,) if self.sure else SIM_WIDTHS

    def total(self, data: bytes, at: int) -> int:
        """Length of the packet at ``at`` with the width in use; 0 = header not complete, -1 = impossible."""
        return measure(data, at, self.sim_bytes, self.max_body)

    def known(self, data: bytes, at: int) -> bool:
        """Whether the header at ``at`` names a SIM number that this connection has brought before."""
        return data[at + 8 : at + 8 + self.former] in self.sims

    def choose_width(self, data: bytes, at: int) -> int:
        """The width of the SIM field by the packet at ``at``: 6 or 10; 0 = wait for more; -1 = no packet by either."""
        ranks = []
        for width in SIM_WIDTHS:
            total = measure(data, at, width, self.max_body)
            end = at + total
            if total < 0:
                rank = _IMPOSSIBLE
            elif total == 0 or end >= len(data) or (len(data) - end < 5 and self._meets(data, end)):
                rank = _OPEN
            else:
                rank = _CHAINS if self._meets(data, end) else _CONTRADICTED
            ranks.append(rank)
        six, ten = ranks
        if self.former:
            before, other = ranks[self.former == 10], ranks[self.former == 6]
            if before == _CHAINS or (before != _IMPOSSIBLE and other != _CHAINS):
                return self.former
            if other != _CHAINS:
                return 0 if other == _OPEN else -1
        if six == ten:
            if six == _IMPOSSIBLE:
                return -1
            if six == _OPEN:
                return 0
            return 10 if self._likelihood(data, at, 10) > self._likelihood(data, at, 6) else 6
        return 6 if six > ten else 10

    def _meets(self, data: bytes, end: int) -> bool:
        """Whether a head, or as much of one as is there, stands where a packet ends."""
        follows = data[end : end + 5]
        return USUAL_HEAD.startswith(follows) or self.head.startswith(follows)

    def chains(self, data: bytes, at: int, width: int) -> bool:
        """Whether with this width the packet at ``at`` is followed by another."""
        total = measure(data, at, width, self.max_body)
        return total > 0 and at + total + 5 <= len(data) and self._meets(data, at + total)

    def same_terminal(self, data: bytes, at: int, other: int) -> int:
        """The width by which the packet at ``at`` is whole and has the SIM number of the one at ``other``; or 0."""
        for width in self._widths:
            total = self._plausible(data, at, width)
            if 0 < total <= len(data) - at and data[at + 8 : at + 8 + width] == data[other + 8 : other + 8 + width]:
                return width
        return 0

    def take_width(self, sim_bytes: int) -> None:
        """Use this width from now on; what was learnt with another means nothing any more."""
        self.sim_bytes = sim_bytes
        if sim_bytes != self.former:
            self.former = sim_bytes
            self.streams.clear()
            self.sims.clear()

    def doubt_width(self) -> None:
        """Look at the width again with the next packet."""
        if not self.fixed:
            self.sim_bytes = 0
            self.sure = False

    def _likelihood(self, data: bytes, at: int, width: int) -> tuple[bool, bool, bool]:
        """What else speaks for a width when nothing decides: the media agree, channels count from 1, bodies are not empty."""
        filled = measure(data, at, width, self.max_body) > header_length(data[at + width + 9] >> 4, width)
        return self._agrees(data, at, width), data[at + width + 8] != 0, filled

    @staticmethod
    def _agrees(data: bytes, at: int, width: int) -> bool:
        kind = at + width + 9
        return kind >= len(data) or pt_agrees(data[at + 5] & 0x7F, data[kind] >> 4)

    def _plausible(self, data: bytes, at: int, width: int) -> int:
        """Like ``total``, but -1 also for a header that is possible and still unlikely."""
        if not (data.startswith(USUAL_HEAD, at) or data.startswith(self.head, at)):
            return -1
        total = measure(data, at, width, self.max_body)
        if total >= 0 and not self._agrees(data, at, width) and not self.known(data, at):
            return -1
        return total

    def _confirmed(self, data: bytes, at: int) -> bool:
        """Plausible, and its SIM number is known or its end meets the next magic."""
        return self._confirming_width(data, at) > 0

    def _confirming_width(self, data: bytes, at: int) -> int:
        for width in self._widths:
            total = self._plausible(data, at, width)
            if total > 0 and ((width == self.former and self.known(data, at)) or self.chains(data, at, width)):
                return width
        return 0

    def _next_head(self, data: bytes, start: int, stop: int) -> int:
        """The first head that begins at ``start`` or after it and before ``stop``; none when too many have been looked at."""
        self.credit -= 1
        if self.credit < 0:
            return -1
        return self._find_head(data, start, stop)

    def _find_head(self, data: bytes, start: int, stop: int) -> int:
        at = data.find(USUAL_HEAD, start, stop + 4)
        if self.head != USUAL_HEAD:
            other = data.find(self.head, start, (at if at >= 0 else stop) + 4)
            at = other if other >= 0 else at
        return at

    def seek(self, data: bytes, start: int) -> int:
        """Where to go on after ``start``, where no packet begins: at a plausible one, at what may be the beginning of a magic, or at the end."""
        n = len(data)
        at = self._find_head(data, start, n)
        while at >= 0:
            if at > start:
                total = max(self._plausible(data, at, width) for width in self._widths)
                if total >= 0:
                    self._contrary = 0
                    return self._prefer_inside(data, at, total)
            if self.sure and not self.fixed and self._speaks_for_other_width(data, at):
                self._contrary += 1
                if self._contrary >= _CONTRARY:
                    self._contrary = 0
                    self.take_width(16 - self.sim_bytes)
                    return at
            at = self._find_head(data, at + 4, n)
        for keep in range(min(4, n - start - 1), 0, -1):
            if data.endswith(USUAL_HEAD[:keep]):
                return n - keep
        return n

    def _speaks_for_other_width(self, data: bytes, at: int) -> bool:
        width = 16 - self.sim_bytes
        total = self._plausible(data, at, width)
        return total > 0 and (at + total == len(data) or self.chains(data, at, width))

    def _prefer_inside(self, data: bytes, at: int, total: int) -> int:
        """After garbage a header that only looks like one must not swallow packets that are known or followed by others."""
        if total == 0 or self.known(data, at) or self._confirmed(data, at):
            return at
        inside = self.confirmed_inside(data, at, at + total)
        return inside if inside >= 0 else at

    def confirmed_inside(self, data: bytes, at: int, end: int, beyond: bool = False) -> int:
        """The first packet after ``at`` and before ``end`` that is confirmed, or plausible and of the same SIM number as one confirmed; or -1.

        ``beyond``: that other one may also lie after ``end``.
        """
        plausible: list[int] = []
        inside = self._next_head(data, at + 4, len(data) if beyond else end)
        while inside >= 0:
            width = self._confirming_width(data, inside)
            if width:
                sim = data[inside + 8 : inside + 8 + width]
                inside = next((start for start in plausible if data.startswith(sim, start + 8)), inside)
                return inside if inside < end else -1
            if inside < end and any(self._plausible(data, inside, each) > 0 for each in self._widths):
                plausible.append(inside)
            elif inside >= end and not plausible:
                return -1
            inside = self._next_head(data, inside + 4, len(data) if beyond else end)
        return -1

    def doubtful(self, data: bytes, at: int, total: int) -> bool:
        """In step, but of a SIM number that is new on a connection that has shown another: does it look like garbage with a magic?"""
        if not self.sims or self.known(data, at):
            return False
        return self._plausible(data, at, self.sim_bytes) < 0 or self._prefer_inside(data, at, total) != at

    def whole_inside(self, data: bytes) -> int:
        """Where in a stream's last bytes, which are no whole packet, the first one begins that is whole and plausible; or -1."""
        inside = self._next_head(data, 4, len(data))
        while inside >= 0:
            if any(0 < self._plausible(data, inside, width) <= len(data) - inside for width in self._widths):
                return inside
            inside = self._next_head(data, inside + 4, len(data))
        return -1

    def run_inside(self, data: bytes, at: int) -> int:
        """Where packets begin that lie inside the unfinished one at ``at``, or -1.

        A corrupt length is believed in when two whole packets or more run on to the end of the data: a packet carried inside a body is
        followed by the rest of that body.
        """
        n = len(data)
        seen: set[tuple[int, int]] = set()
        start = self._next_head(data, at + 4, n)
        while start >= 0:
            for width in self._widths:
                here, count = start, 0
                while (here, width) not in seen:
                    seen.add((here, width))
                    self.credit -= 1
                    total = self._plausible(data, here, width)
                    if total < 0:
                        # The end of the data may cut a head in two.
                        if count >= 2 and n - here < 5 and USUAL_HEAD.startswith(data[here:]):
                            return self.confirmed_inside(data, at, start + 1)
                        break
                    if total == 0 or here + total > n:
                        if count >= 2:
                            return self.confirmed_inside(data, at, start + 1)
                        break
                    count += 1
                    here += total
                    if here == n and count >= 2:
                        return self.confirmed_inside(data, at, start + 1)
            start = self._next_head(data, start + 4, n)
        return -1

    def overrun(self, data: bytes, at: int, end: int) -> int:
        """Where a packet begins inside the one at ``at`` … ``end``, beyond whose end no magic stands; or -1.

        Either the length at ``at`` is corrupt, or bytes of that packet were missing and its length reaches into the next one.
        """
        n = len(data)
        start = self._next_head(data, at + 4, end)
        while start >= 0:
            total = self._plausible(data, start, self.sim_bytes)
            beyond = start + total
            if total == 0 or (
                total > 0 and (self.chains(data, start, self.sim_bytes) or (beyond > end and self.known(data, start)))
            ):
                first = self.confirmed_inside(data, at, start + 1)
                return first if first >= 0 else start
            start = self._next_head(data, start + 4, end)
        for start in range(max(at + 1, n - 4), end):  # a head of which only the first bytes are here
            if USUAL_HEAD.startswith(data[start:]):
                return start
        return -1
