"""The core of one JT/T 808 link, without I/O: bytes, messages and the time in; events and bytes out.

The platform's side (the relay) and the terminal's side (the simulator) are the same machine; the platform's also decides
nothing about who is let in: it holds a terminal's messages until it is told.

Phases of the platform's side, and what becomes of a message in each::

                    0x0100            0x0102             0x0001         any other
    NEW             event, DECIDING   event, DECIDING    ignored        answered "failed" (1), counted; event ``Unadmitted`` once.
                                                                        With ``silent_ok``: event ``Silent``, DECIDING
    DECIDING        held              held               ignored        held (at most HELD_MAX), then treated as the phase decided on says
    READY           event             event              matched        answered, deduplicated, event ``Received``
    CLOSED          ignored           ignored            ignored        ignored

    DECIDING ends with ``registered()`` (→ NEW: the terminal now authenticates), ``authenticated()`` (→ READY or NEW)
    or ``admitted()`` (→ READY). 0x0003 in READY leads back to NEW. A 0x0100 or 0x0102 in READY changes the phase only if it succeeds.

JT/T 808 clauses kept here: 4.4 framing and header (``framing``, ``header``), 4.4.3 sub-packages (``subpackages``), 6.x answers
(``session_replies``), retransmission T(N+1) = T(N) x (N+1) (``session_requests``).
"""

from __future__ import annotations

import struct
from zlib import crc32

from relay.errors import DecodeError, FrameError, SequenceError
from relay.identity import phone_key
from relay.jt808.framing import Deframer, foreign
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages.base import MESSAGES, Body
from relay.jt808.messages.general import RegistrationResponse, ResendRequest, Result, TerminalResendRequest
from relay.jt808.session_events import (
    Accepted,
    Authenticating,
    Broken,
    BusyError,
    Ended,
    Event,
    Failed,
    Foreign,
    GaveUp,
    Phase,
    Received,
    Registering,
    Replied,
    Role,
    SessionOptions,
    Silent,
    Strayed,
    Unadmitted,
)
from relay.jt808.session_out import MULTIMEDIA, RESEND_UP, Outbox
from relay.jt808.session_repeats import AUTHENTICATE, NEVER_REPEATS, Repeats
from relay.jt808.session_replies import (
    PLATFORM_GENERAL,
    SERIAL_MAY_LACK,
    STANDARD_UPLINK,
    TERMINAL_GENERAL,
    UNANSWERED,
    UNANSWERED_DOWN,
    expectation,
)
from relay.jt808.session_requests import PENDING_MAX, Request, Requests, Verdict
from relay.jt808.subpackages import Reassembler

HELD_MAX = 32  #: messages held while the store decides; a terminal sends a few position reports behind its 0x0102
WRONG_PROTOCOL_S = 5.0  #: a link that began as another protocol gets so long to show one good frame

_GENERAL = struct.Struct(">HHB")
_WORD = struct.Struct(">H")

REGISTER = 0x0100
DEREGISTER = 0x0003
TIME_QUERY = 0x0004
RESEND_DOWN = 0x8003


class Session(Outbox):
    """One link. After every call look at ``events()`` and ``bytes_to_send()``."""

    __slots__ = (
        "_deciding", "_deframer", "_events", "_held", "_parts", "_registration", "_repeats", "_stranger_at", "_told", "bytes_in", "bytes_out",
        "duplicates", "errors", "frames_in", "key", "last_frame", "opened", "options", "phase",
    )  # fmt: skip

    def __init__(self, role: Role, options: SessionOptions, now: float, phone: str = "", edition: int = 0, protocol_version: int = 1) -> None:
        super().__init__(role, phone, edition, protocol_version)
        self.options = options
        self.phase = Phase.NEW if role is Role.PLATFORM else Phase.READY
        self.key = phone_key(phone) if phone else ""  #: "" until the first good frame
        self.opened = now
        self.last_frame = now  #: when the last good frame came
        self.bytes_in = self.bytes_out = self.frames_in = self.duplicates = 0
        self.errors: dict[str, int] | None = None  #: dropped frames by reason
        self._deframer = Deframer()
        self._events: list[Event] = []
        self._stranger_at = 0.0
        self._told = False
        self._deciding = 0  #: id of the message that is being decided on
        self._registration: tuple[int, bytes] | None = None  #: serial of the last 0x0100 and the frame that answered it
        # made when first needed, as those of the outbox
        self._parts: Reassembler | None = None
        self._held: list[tuple[Header, bytes]] | None = None
        self._repeats: Repeats | None = None

    # ---- in ---------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Bytes of the stream, in any portions."""
        if self.phase is Phase.CLOSED:
            return
        if not self.frames_in and not self.bytes_in:
            self._look_for_stranger(data, now)
        self.bytes_in += len(data)
        for piece in self._deframer.feed(data):
            if isinstance(piece, FrameError):
                self._broken(piece.reason, str(piece))
                continue
            try:
                header, body = decode_frame(piece)
            except FrameError as problem:
                self._broken(problem.reason, str(problem))
                continue
            self.take(header, body, now)

    def take(self, header: Header, body: bytes, now: float) -> None:
        """One good frame (UDP: the adapter has found out whose it is)."""
        if self.phase is Phase.CLOSED:
            return
        self.frames_in += 1
        self.last_frame = now
        self._stranger_at = 0.0
        if (header.phone != self.phone or header.protocol_version != self.protocol_version) and not self._identify(header):
            return
        if header.encryption:
            self._encrypted(header, body)
        elif header.is_subpackage:
            self._piece(header, body, now)
        else:
            self._whole(header, body, False, now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        if self.phase is Phase.CLOSED:
            return
        if self._requests is not None:
            for verdict in self._requests.due(now):
                self._judged(verdict, None, None, b"", "")
        if self._parts is not None:
            for lack in self._parts.missing(now):
                self._ask_again(lack)
            for gone in self._parts.tick(now):
                for verdict in self._requests.given_up(gone.msg_id) if self._requests is not None else ():
                    self._judged(verdict, None, None, b"", "")
                self._emit(GaveUp(gone.msg_id, f"{gone.received} of {gone.total} sub-packages of 0x{gone.msg_id:04X}: {gone.reason}"))
        if self._stranger_at and now >= self._stranger_at:
            self.end("wrong protocol")
        elif self.options.idle_timeout_s and now >= self.last_frame + self.options.idle_timeout_s:
            self.end(f"no message for {self.options.idle_timeout_s:g} s")
        elif self.phase is not Phase.READY and now >= self.opened + self.options.register_timeout_s:
            self.end(f"not authenticated within {self.options.register_timeout_s:g} s")

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        if self.phase is Phase.CLOSED:
            return None
        times = []
        if self.options.idle_timeout_s:
            times.append(self.last_frame + self.options.idle_timeout_s)
        if self.phase is not Phase.READY:
            times.append(self.opened + self.options.register_timeout_s)
        if self._stranger_at:
            times.append(self._stranger_at)
        for part in (self._requests, self._parts):
            if part is not None and (deadline := part.next_deadline()) is not None:
                times.append(deadline)
        return min(times) if times else None

    # ---- what happened, and requests ------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def request(
        self,
        message: Body,
        now: float,
        *,
        timeout_s: float | None = None,
        repeats: int | None = None,
        context: object = None,
    ) -> Request:
        """Send a message whose reply is awaited: an event ``Replied`` or ``Failed`` with this request follows.

        ``timeout_s`` limits the whole; without it only the repeats do. Raises BusyError when too many wait already.
        """
        if self._requests is None:
            self._requests = Requests()
        requests = self._requests
        if len(requests) >= PENDING_MAX:
            raise BusyError(f"{len(requests)} requests already await replies of {self.phone}")
        serial, frames = self._send(message)
        request = Request(
            message.KEY,
            serial,
            frames,
            expectation(message.KEY, self.role is Role.PLATFORM),
            now,
            self.options.first_timeout_s,
            self.options.repeats if repeats is None else repeats,
            timeout_s,
            context,
        )
        requests.add(request)
        return request

    def cancel(self, request: Request) -> None:
        """Wait no longer for its reply; no event follows."""
        if self._requests is not None:
            self._requests.forget(request)

    # ---- decisions about admission (platform) ----------------------------------------------------------------------------

    def registered(self, header: Header, result: int, auth_code: str = "", now: float = 0.0) -> None:
        """Answer a 0x0100: 0 and the code, or 1 vehicle known already, 2 vehicle unknown, 3 terminal known already, 4 terminal unknown."""
        response = RegistrationResponse(reply_serial=header.serial, result=result, auth_code=auth_code if result == 0 else None)
        self.send(response, now)
        self._registration = header.serial, self._out[-1]
        if self.phase is Phase.DECIDING:
            self._decide(Phase.NEW, now)

    def authenticated(self, header: Header, ok: bool, now: float) -> None:
        """Answer a 0x0102."""
        self._answer_once(header, 0, Result.OK if ok else Result.FAILURE)
        if ok or self.phase is Phase.DECIDING:
            self._decide(Phase.READY if ok else Phase.NEW, now)

    def admitted(self, ok: bool, now: float) -> None:
        """Let a terminal in that did not authenticate, or not."""
        if self.phase is Phase.DECIDING:
            self._decide(Phase.READY if ok else Phase.NEW, now)

    def taken(self, header: Header, body: bytes) -> None:
        """Answer a message of ``options.answer_later``: the owner has it safe."""
        if self.phase is not Phase.CLOSED:
            self._answer_once(header, crc32(body), Result.OK)

    def end(self, reason: str) -> None:
        """No more: fails what waits and asks for the link to be closed. Safe to call again."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        if self._requests is not None:
            for request in self._requests.clear():
                self._emit(Failed(request, "closed", 0))
        if self._parts is not None:
            self._parts.clear()
        self._held = None
        self._emit(Ended(reason))

    def leave(self) -> None:
        """Another process goes on with this link (``session_state``): what waits for replies fails, the phase stays what it is."""
        if self._requests is not None:
            for request in self._requests.clear():
                self._emit(Failed(request, "closed", 0))

    # ---- frames -----------------------------------------------------------------------------------------------------

    def _identify(self, header: Header) -> bool:
        """Whose link is it, and in which edition? False: not this terminal's frame."""
        key = phone_key(header.phone)
        if self.key and key != self.key and (self.phase is not Phase.NEW or self.role is Role.TERMINAL):
            self._emit(Foreign(header))
            if header.msg_id not in UNANSWERED and self.role is Role.PLATFORM:
                mine = self.phone, self.protocol_version
                self.phone, self.protocol_version = header.phone, header.protocol_version
                self.answer(header, Result.FAILURE)
                self.phone, self.protocol_version = mine
            return False
        self.key = key
        self.phone = header.phone
        self.protocol_version = header.protocol_version
        if header.protocol_version is not None:
            self.edition = 2019
        elif self.edition >= 2019:
            self.edition = 2013
        return True

    def _piece(self, header: Header, body: bytes, now: float) -> None:
        """A sub-package. JT/T 1078 §4.1 wants each acknowledged by itself; JT/T 808 allows it."""
        if self.role is Role.PLATFORM and self.phase is not Phase.READY:
            self._before_ready(header, body, now)
            return
        if self._parts is None:
            self._parts = Reassembler(self.options.subpackages, self.options.pool)
        try:
            whole = self._parts.add(header.msg_id, header.package_total or 0, header.package_index or 0, header.serial, body, now)
        except SequenceError as problem:
            self._broken("sequence", str(problem))
            self.answer(header, Result.MESSAGE_ERROR)
            return
        if header.msg_id != TERMINAL_GENERAL and header.msg_id not in UNANSWERED_DOWN:
            self.answer(header)
        if whole is None and self._requests is not None and len(self._requests):
            reply_serial = _WORD.unpack_from(body)[0] if header.package_index == 1 and len(body) >= 2 else None
            # a second more than the set lives without a new piece: its end is what ends the waiting
            self._requests.piece(header.msg_id, reply_serial, now + self.options.subpackages.timeout_s + 1.0)
        if whole is not None:
            first = header.replace(serial=whole.serial, body_length=len(whole.body))
            self._whole(first, whole.body, True, now)

    def _whole(self, header: Header, body: bytes, acked: bool, now: float) -> None:
        """A whole message."""
        msg_id = header.msg_id
        general = TERMINAL_GENERAL if self.role is Role.PLATFORM else PLATFORM_GENERAL
        if msg_id == general:
            self._general(header, body, now)
            return
        if self.role is Role.PLATFORM and self.phase is not Phase.READY and not acked:
            self._before_ready(header, body, now)
            return
        if not acked and self._is_repeat(header, body):
            return
        if msg_id == (RESEND_UP if self.role is Role.PLATFORM else RESEND_DOWN):
            self._repeat_pieces(header, body)
            return
        message, problem = _read(msg_id, body, self._layout(header))
        if self._finishes_request(header, message, body, problem, now):
            if self.role is Role.PLATFORM and msg_id not in UNANSWERED and not acked:
                self._answer_once(header, crc32(body), Result.OK)
            return
        if self.role is Role.PLATFORM:
            self._uplink(header, message, body, problem, acked, now)
        else:
            self._emit(Received(header, message, body, problem, msg_id not in UNANSWERED_DOWN))

    def _uplink(self, header: Header, message: Body | None, body: bytes, problem: str, acked: bool, now: float) -> None:
        """What the platform does with a terminal's message in READY."""
        msg_id = header.msg_id
        if msg_id == REGISTER and message is not None:
            self._learn_edition(message)
            self._emit(Registering(header, message))
            return
        if msg_id == AUTHENTICATE and message is not None:
            self._emit(Authenticating(header, message))
            return
        known = message is not None or msg_id in STANDARD_UPLINK
        wants_answer = msg_id == TIME_QUERY and message is not None
        if problem not in ("", "unknown"):
            result = Result.MESSAGE_ERROR
            wants_answer = False
        elif known:
            result = Result.OK
        else:
            result = Result.NOT_SUPPORTED
        if msg_id == MULTIMEDIA and len(body) >= 4:
            self._answer_multimedia(header.serial, body[:4])
        elif msg_id in self.options.answer_later and result == Result.OK and not acked:
            wants_answer = True
        elif not wants_answer and not acked and msg_id not in UNANSWERED:
            self._answer_once(header, crc32(body), result)
        self._emit(Received(header, message, body, problem, wants_answer))
        if msg_id == DEREGISTER:
            self.phase = Phase.NEW
            self.opened = now

    def _before_ready(self, header: Header, body: bytes, now: float) -> None:
        """A message of a terminal that is not let in yet."""
        if self.phase is Phase.DECIDING:
            if header.msg_id == self._deciding:
                return  # a repeat: the answer to the first one is on its way
            held = self._held = self._held if self._held is not None else []
            if len(held) < HELD_MAX:
                held.append((header, body))
            else:
                self._broken("held", "too many messages before admission")
            return
        msg_id = header.msg_id
        if msg_id in (REGISTER, AUTHENTICATE) and not header.is_subpackage:
            if self._registration is not None and msg_id == REGISTER and header.serial == self._registration[0]:
                self._write((self._registration[1],))  # its answer was lost; a new code would make the one on its way worthless
                return
            message, problem = _read(msg_id, body, self._layout(header))
            if message is None:
                self.answer(header, Result.MESSAGE_ERROR)
                self._emit(Received(header, None, body, problem, False))
                return
            self.phase = Phase.DECIDING
            self._deciding = msg_id
            if msg_id == REGISTER:
                self._learn_edition(message)
                self._emit(Registering(header, message))
            else:
                self._emit(Authenticating(header, message))
            return
        if self.options.silent_ok:
            self.phase = Phase.DECIDING
            self._deciding = 0
            self._held = [(header, body)]
            self._emit(Silent(header))
            return
        if msg_id not in UNANSWERED:
            self.answer(header, Result.FAILURE)
        if not self._told:
            self._told = True
            self._emit(Unadmitted(header))

    def _decide(self, phase: Phase, now: float) -> None:
        self.phase = phase
        held, self._held = self._held, None
        for header, body in held or ():
            if phase is Phase.NEW and self.options.silent_ok and header.msg_id not in (REGISTER, AUTHENTICATE):
                self.answer(header, Result.FAILURE)  # refused: asking again for each held message would go in circles
            elif header.is_subpackage:
                self._piece(header, body, now)
            else:
                self._whole(header, body, False, now)

    # ---- answers ----------------------------------------------------------------------------------------------------

    def _general(self, header: Header, body: bytes, now: float) -> None:
        if len(body) < _GENERAL.size:
            self._broken("sequence", f"0x{header.msg_id:04X} of {len(body)} bytes")
            return
        reply_serial, reply_msg_id, result = _GENERAL.unpack_from(body)
        if self._requests is not None:
            verdict = self._requests.general(reply_serial, reply_msg_id, result, now)
            self._tell_strays()
            if verdict is not None:
                message, problem = _read(header.msg_id, body, self._layout(header))
                self._judged(verdict, header, message, body, problem)

    def _tell_strays(self) -> None:
        if self._requests is not None and self._requests.strays:
            strays, self._requests.strays = self._requests.strays, []
            for stray in strays:
                self._emit(Strayed(stray))

    def _finishes_request(self, header: Header, message: Body | None, body: bytes, problem: str, now: float) -> bool:
        if self._requests is None:
            return False
        lacks = header.msg_id in SERIAL_MAY_LACK and getattr(message, "reply_serial", None) is None
        serial = None if lacks or len(body) < 2 else _WORD.unpack_from(body)[0]
        verdict = self._requests.special(header.msg_id, serial, lacks, now)
        if verdict is None:
            self._tell_strays()
            return False
        self._judged(verdict, header, message, body, problem)
        return True

    def _judged(self, verdict: Verdict, header: Header | None, message: Body | None, body: bytes, problem: str) -> None:
        request = verdict.request
        if verdict.outcome == "again":
            self._write(request.frames)
        elif verdict.outcome == "done":
            self._emit(Replied(request, header, message, body, problem))
        elif verdict.outcome == "accepted":
            self._emit(Accepted(request))
        else:
            self._emit(Failed(request, verdict.outcome, verdict.result))

    def _is_repeat(self, header: Header, body: bytes) -> bool:
        """A retransmission (same id, serial and content): answer it as before, deliver nothing."""
        result = self._repeats.find(header, body) if self._repeats is not None else None
        if result is None:
            return False
        self.duplicates += 1
        if self.role is Role.PLATFORM:
            self.answer(header, result)
        return True

    def _answer_once(self, header: Header, crc: int, result: int) -> None:
        """Answer, and remember it for repeats."""
        self.answer(header, result)
        if header.msg_id in NEVER_REPEATS:
            return
        if self._repeats is None:
            self._repeats = Repeats()
        self._repeats.keep(header.msg_id << 16 | header.serial, crc, result)

    def _repeat_pieces(self, header: Header, body: bytes) -> None:
        """0x0005 or 0x8003: send the pieces asked for again, unchanged."""
        message, problem = _read(header.msg_id, body, self._layout(header))
        if not isinstance(message, ResendRequest | TerminalResendRequest):
            if self.role is Role.PLATFORM:
                self.answer(header, Result.MESSAGE_ERROR)
            self._emit(Received(header, None, body, problem, False))
            return
        frames = self._sent.repeat(message.original_serial, message.package_ids) if self._sent is not None else []
        if not frames and self.role is Role.PLATFORM:
            self.answer(header, Result.FAILURE)
        self._write(frames)

    def _encrypted(self, header: Header, body: bytes) -> None:
        """Without a key agreement the body stays what it is; the terminal is told that this is not supported."""
        if self.role is Role.PLATFORM and header.msg_id not in UNANSWERED:
            self.answer(header, Result.NOT_SUPPORTED if self.phase is Phase.READY else Result.FAILURE)
        self._emit(Received(header, None, body, "encrypted", False))

    # ---- helpers ----------------------------------------------------------------------------------------------------

    def _layout(self, header: Header) -> int:
        """The edition whose layouts the body of this frame has."""
        return 2019 if header.protocol_version is not None else self.edition or 2013

    def _learn_edition(self, message: Body) -> None:
        """Only 0x0100 tells 2011 from 2013."""
        if self.protocol_version is None:
            self.edition = message.edition

    def _look_for_stranger(self, data: bytes, now: float) -> None:
        name = foreign(data)
        if name:
            self._stranger_at = now + WRONG_PROTOCOL_S
            self._broken("wrong_protocol", f"this is {name}, not JT/T 808")

    def _broken(self, reason: str, detail: str) -> None:
        errors = self.errors = self.errors if self.errors is not None else {}
        errors[reason] = errors.get(reason, 0) + 1
        self._emit(Broken(reason, detail))

    def _emit(self, event: Event) -> None:
        self._events.append(event)


def _read(msg_id: int, body: bytes, edition: int) -> tuple[Body | None, str]:
    """The message, or why there is none."""
    cls = MESSAGES.get(msg_id)
    if cls is None:
        return None, "unknown"
    try:
        return cls.decode(body, edition), ""
    except DecodeError as problem:
        return None, str(problem)

