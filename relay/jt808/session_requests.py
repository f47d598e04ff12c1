"""Requests of one link that await their replies: matching, repeats with the same serial, time-outs.

    sent ──0x0001 result 0, and that is all it waits for──→ done
      │  ──0x0001 result 0, a special answer is to follow──→ accepted ──special answer──→ done
      │  ──special answer───────────────────────────────────→ done        └─silence─→ failed "unfinished"
      │  ──0x0001 result 1, 2, 3────────────────────────────→ failed "refused"
      │  ──a piece of the special answer──→ arriving ──the last one──→ done      (the time limit moves on with every piece)
      │                                        └─the pieces stop───→ failed "incomplete"
      └──silence──→ sent again (same serial), T(N+1) = T(N) x (N+1) … at last failed "no reply"

A request that had to be sent in sub-packages has several serials. Terminals acknowledge each piece, or the whole under
the serial of the first or the last piece: it is done when the last piece or all of them are acknowledged, and also when
only some are and nothing more comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal, NamedTuple

from relay.jt808.messages.general import Result
from relay.jt808.session_replies import PLATFORM_GENERAL, TERMINAL_GENERAL, Expect

PENDING_MAX = 64  #: requests awaiting replies on one link; a terminal works on a handful at a time
OVER_KEPT = 16  #: requests that are over and whose later answers are still told apart
ACCEPTED_WAIT_S = 30.0  #: after "accepted": doing it (a door, a photo) takes the terminal longer than answering


class Request:
    """One message sent that wants an answer."""

    __slots__ = (
        "acked", "again_at", "arriving", "context", "expect", "expires_at", "frames", "general_ends", "last_serial", "misnamed", "msg_id", "pause",
        "repeats", "repeats_left", "serial",
    )  # fmt: skip

    def __init__(
        self,
        msg_id: int,
        serial: int,
        frames: tuple[bytes, ...],
        expect: Expect,
        now: float,
        first_timeout_s: float,
        repeats: int,
        timeout_s: float | None,
        context: object,
    ) -> None:
        self.msg_id = msg_id
        self.serial = serial  #: of the first frame: what 0x9207 and the like refer to
        self.last_serial = (serial + len(frames) - 1) & 0xFFFF
        self.frames = frames
        self.expect = expect
        self.general_ends = TERMINAL_GENERAL in expect.final or PLATFORM_GENERAL in expect.final
        self.context = context  #: the caller's own
        self.acked: set[int] | None = None  #: serials acknowledged with result 0
        self.arriving = False  #: its answer comes in sub-packages, and has begun
        self.misnamed = 0  #: the id under which a general answer with our serial came, where it was another
        self.repeats = 0  #: how often it was sent again
        self.repeats_left = repeats
        self.pause = first_timeout_s  #: T(N)
        self.again_at = now + first_timeout_s
        self.expires_at = now + timeout_s if timeout_s is not None else float("inf")

    def covers(self, serial: int) -> bool:
        """Whether one of its frames had this serial."""
        return (serial - self.serial) & 0xFFFF < len(self.frames)

    @property
    def deadline(self) -> float:
        """When it next needs attention."""
        return min(self.again_at, self.expires_at)

    @property
    def accepted(self) -> bool:
        """A 0x0001 with result 0 came, but it is not all that is awaited."""
        return self.acked is not None


class Verdict(NamedTuple):
    """What an answer or the passing of time did to a request."""

    request: Request
    outcome: Literal["done", "accepted", "refused", "again", "no reply", "unfinished", "incomplete"]
    result: int = 0  #: of the general answer that refused it


class Over(NamedTuple):
    """A request that no longer waits."""

    msg_id: int
    serial: int
    frames: int  #: how many it was sent in
    expect: Expect
    answered: bool  #: False: it was given up
    at: float  #: monotonic


class Stray(NamedTuple):
    """An answer that nobody waits for."""

    kind: Literal["late", "repeated", "misnamed"]
    msg_id: int  #: of the request
    answer_id: int  #: of the answer; misnamed: the id that it names
    after_s: float  #: since the request was over


class Requests:
    """Those of one link, oldest first."""

    def __init__(self) -> None:
        self._pending: dict[int, Request] = {}  #: by first serial; insertion order is age
        self._over: deque[Over] = deque(maxlen=OVER_KEPT)
        self.unmatched = 0  #: answers that no request waits for
        self.strays: list[Stray] = []  #: told to the session, which takes them out

    def __len__(self) -> int:
        return len(self._pending)

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self._pending.values()))

    def add(self, request: Request) -> None:
        """From now on ``request`` waits."""
        self._pending[request.serial] = request

    def forget(self, request: Request) -> None:
        """Wait no longer, and care for no late answer either."""
        self._pending.pop(request.serial, None)

    def drop(self, request: Request, now: float, answered: bool = False) -> bool:
        """Wait no longer; False when it did not."""
        self._over.append(Over(request.msg_id, request.serial, len(request.frames), request.expect, answered, now))
        return self._pending.pop(request.serial, None) is not None

    def _stray(self, msg_id: int | None, answer_id: int, serial: int | None, now: float) -> bool:
        """An answer that no request waits for: to one that is over? The newest is meant; one that names its request by its id alone is late only
        for one that was given up, since such messages also come unasked."""
        for over in reversed(self._over):
            if over.expect.by_id:
                meant = msg_id is None and not over.answered and answer_id in over.expect.final
            else:
                meant = serial is not None and (serial - over.serial) & 0xFFFF < over.frames
            if not meant or msg_id not in (None, over.msg_id) or (msg_id is None and answer_id not in over.expect.final):
                continue
            self._over.remove(over)
            self._over.append(over._replace(answered=True))
            self.strays.append(Stray("repeated" if over.answered else "late", over.msg_id, answer_id, now - over.at))
            return True
        return False

    def uses(self, serial: int) -> bool:
        """Whether a waiting request was sent with this serial: it must not be given out again."""
        return any(request.covers(serial) for request in self._pending.values())

    def general(self, reply_serial: int, reply_msg_id: int, result: int, now: float) -> Verdict | None:
        """A general answer has come."""
        for request in self._pending.values():
            if request.msg_id == reply_msg_id and request.covers(reply_serial):
                break
        else:
            self.unmatched += 1
            if not self._stray(reply_msg_id, TERMINAL_GENERAL, reply_serial, now):
                self._misnamed(reply_serial, reply_msg_id)
            return None
        if result != Result.OK:
            self.drop(request, now, True)
            return Verdict(request, "refused", result)
        first = request.acked is None
        acked = request.acked = request.acked or set()
        acked.add(reply_serial)
        if not request.general_ends:
            if first:
                request.repeats_left = 0
                request.again_at = max(request.again_at, now + ACCEPTED_WAIT_S)
                return Verdict(request, "accepted")
            return None
        if reply_serial == request.last_serial or len(acked) >= len(request.frames):
            self.drop(request, now, True)
            return Verdict(request, "done")
        return None

    def _misnamed(self, reply_serial: int, reply_msg_id: int) -> None:
        """Our serial under another message's id. Which of the two is wrong cannot be told, so the request goes on waiting and remembers it."""
        for request in self._pending.values():
            if request.covers(reply_serial):
                request.misnamed = reply_msg_id
                self.strays.append(Stray("misnamed", request.msg_id, reply_msg_id, 0.0))
                return

    def special(self, msg_id: int, reply_serial: int | None, by_id_too: bool, now: float) -> Verdict | None:
        """A message that may answer a request has come. ``by_id_too``: the serial may be missing or not be one."""
        oldest = None
        for request in self._pending.values():
            if msg_id not in request.expect.final:
                continue
            if not request.expect.by_id and reply_serial is not None and request.covers(reply_serial):
                self.drop(request, now, True)
                return Verdict(request, "done")
            if oldest is None and (request.expect.by_id or by_id_too):
                oldest = request
        if oldest is None:
            if self._over:
                self._stray(None, msg_id, reply_serial, now)
            return None
        self.drop(oldest, now, True)
        return Verdict(oldest, "done")

    def piece(self, msg_id: int, reply_serial: int | None, until: float) -> None:
        """A sub-package of an answer has come: who waits for it waits until ``until`` at least, and does not ask again.

        Only the first piece holds the ``reply_serial``; None: another piece, which belongs to whoever's answer has begun, or to any of them.
        """
        waiting = [request for request in self._pending.values() if msg_id in request.expect.final]
        if reply_serial is not None:
            named = [request for request in waiting if request.expect.by_id or request.covers(reply_serial)]
        else:
            named = [request for request in waiting if request.arriving]
        for request in named or (waiting if reply_serial is None else ()):
            request.arriving = True
            request.repeats_left = 0
            request.again_at = max(request.again_at, until)
            request.expires_at = max(request.expires_at, until)

    def given_up(self, msg_id: int) -> list[Verdict]:
        """The pieces of an answer have stopped coming: those whose answer it was are over."""
        over = [request for request in self if request.arriving and msg_id in request.expect.final]
        for request in over:
            self.forget(request)
        return [Verdict(request, "incomplete") for request in over]

    def due(self, now: float) -> list[Verdict]:
        """What time has brought: requests to send again, and those that have waited in vain."""
        verdicts = []
        for request in self:
            if now < request.deadline:
                continue
            if now < request.expires_at and request.repeats_left > 0:
                request.repeats += 1
                request.repeats_left -= 1
                request.pause *= request.repeats
                request.again_at = now + request.pause
                verdicts.append(Verdict(request, "again"))
                continue
            self.drop(request, now)
            if request.arriving:
                verdicts.append(Verdict(request, "incomplete"))
            elif not request.accepted:
                verdicts.append(Verdict(request, "no reply"))
            else:
                # of a message in pieces some were acknowledged: the terminal answers the whole, under a serial of its choice
                verdicts.append(Verdict(request, "done" if request.general_ends else "unfinished"))
        return verdicts

    def next_deadline(self) -> float | None:
        """When ``due`` has something to say."""
        return min((request.deadline for request in self._pending.values()), default=None)

    def clear(self) -> list[Request]:
        """The link is gone: all that waited."""
        left = list(self._pending.values())
        self._pending.clear()
        return left
