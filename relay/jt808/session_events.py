"""What a JT/T 808 session tells its owner, what its owner sets, and which side and phase it is in (see ``session``)."""

from __future__ import annotations

import enum
from typing import NamedTuple

from relay.errors import ProtocolError
from relay.jt808.header import Header
from relay.jt808.messages.base import Body
from relay.jt808.session_requests import Request, Stray
from relay.jt808.subpackages import AssemblyPool, SubpackageLimits


class Role(enum.Enum):
    """Which side of the link this is."""

    PLATFORM = "platform"
    TERMINAL = "terminal"


class Phase(enum.Enum):
    """See the module's table."""

    NEW = "new"
    DECIDING = "deciding"
    READY = "ready"
    CLOSED = "closed"


class Received(NamedTuple):
    """A message for the program. It has been answered as the standard wants, unless ``wants_answer``."""

    header: Header  #: of the (last) frame
    message: Body | None  #: None: unknown id, broken or encrypted
    body: bytes
    problem: str  #: why ``message`` is None: "", "unknown", "encrypted", or the decoding error
    wants_answer: bool  #: the session cannot answer it by itself: use ``reply`` or ``answer``


class Registering(NamedTuple):
    """0x0100: answer with ``registered``."""

    header: Header
    message: Body


class Authenticating(NamedTuple):
    """0x0102: answer with ``authenticated``."""

    header: Header
    message: Body


class Silent(NamedTuple):
    """A terminal that neither registers nor authenticates has sent something: answer with ``admitted``."""

    header: Header


class Unadmitted(NamedTuple):
    """The first message of a terminal that has not authenticated; it was answered with "failed"."""

    header: Header


class Foreign(NamedTuple):
    """A frame with another terminal's number on this link; it was answered with "failed"."""

    header: Header


class Broken(NamedTuple):
    """A frame or piece that was dropped."""

    reason: str  #: "escape" "checksum" "length" "short_header" "empty" "too_long" "sequence"
    detail: str


class Replied(NamedTuple):
    """A request is done."""

    request: Request
    header: Header | None  #: of the answer; None: done by acknowledgements of pieces only
    message: Body | None
    body: bytes
    problem: str  #: the answer came but could not be read


class Accepted(NamedTuple):
    """The terminal has said yes; the special answer is still to come."""

    request: Request


class Failed(NamedTuple):
    """A request is over without its answer."""

    request: Request
    reason: str  #: "refused" "no reply" "unfinished" "incomplete" (its answer came in pieces, and not all of them) "closed"
    result: int  #: of the 0x0001 that refused it


class Strayed(NamedTuple):
    """An answer that nobody waits for; the message itself is delivered as any other."""

    stray: Stray


class GaveUp(NamedTuple):
    """A message in pieces that never became whole."""

    msg_id: int
    detail: str


class Ended(NamedTuple):
    """The session asks for the link to be closed."""

    reason: str


Event = Received | Registering | Authenticating | Silent | Unadmitted | Foreign | Broken | Replied | Accepted | Failed | Strayed | GaveUp | Ended


class BusyError(ProtocolError):
    """Too many requests wait on this link already."""


class SessionOptions:
    """What all links of a listener share."""

    __slots__ = ("answer_later", "first_timeout_s", "idle_timeout_s", "pool", "register_timeout_s", "repeats", "silent_ok", "subpackages")

    def __init__(
        self,
        *,
        idle_timeout_s: float = 180.0,
        register_timeout_s: float = 30.0,
        first_timeout_s: float = 10.0,
        repeats: int = 2,
        subpackages: SubpackageLimits | None = None,
        pool: AssemblyPool | None = None,
        silent_ok: bool = False,
        answer_later: frozenset[int] = frozenset(),
    ) -> None:
        self.answer_later = answer_later  #: messages that the owner answers (``Session.taken``) once it has done with them what it does
        self.idle_timeout_s = idle_timeout_s  #: no good frame for so long ends the link; 0 = never
        self.register_timeout_s = register_timeout_s  #: a link not READY by then ends
        self.first_timeout_s = first_timeout_s  #: T(0)
        self.repeats = repeats
        self.subpackages = subpackages or SubpackageLimits()
        self.pool = pool or AssemblyPool()
        self.silent_ok = silent_ok  #: messages without 0x0100 and 0x0102 ask for admission too
