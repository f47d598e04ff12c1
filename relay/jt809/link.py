"""What the two links of JT/T 809 have in common, without I/O: bytes and the time in; events and bytes out.

    receive(data, now)      bytes of the peer, in any portions        events()           what happened since the last call
    send_body(…, now)       one message of ours                       bytes_to_send()    what is to be written
    tick(now)               deadlines                                 next_deadline()    when to call ``tick``

``mainlink`` (主链路: we connect and log in) and ``sublink`` (从链路: the superior connects and logs in) say what each message does in each phase.
A broken frame costs that frame: it is counted, told by ``Broken``, and the link lives on.
"""

from __future__ import annotations

import enum
import struct
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from relay.errors import FrameError, ProtocolError
from relay.jt809 import cipher, framing
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import Business, decode_body
from relay.jt809.header import Header, decode_frame

_2011 = struct.Struct(">IIHI3sBI")
_2019 = struct.Struct(">IIHI3sBIQ")

#: link messages whose answer or notice is bound to a link; everything else is business (3.3: dispatched by its id, whatever link it came by)
LINK_MESSAGES = frozenset({*range(0x1001, 0x1009), *range(0x9001, 0x9009)})
#: keep-alive requests that nobody has answered are remembered up to here: three minutes of silence end the link long before
_PROBES_MAX = 256
#: frames that are written with one key; any key of 32 bits is legal for each frame
FRAMES_A_KEY = 64
_EMPTY = b""


class Phase(enum.Enum):
    """Where a link stands."""

    NEW = "new"  #: connected, not logged in
    UP = "up"  #: logged in
    LEAVING = "leaving"  #: 0x1003 sent, 0x1004 awaited
    CLOSED = "closed"  #: nothing more


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """One superior's links: who we are to it, and how it speaks. Nothing on the wire tells the edition; it is a setting."""

    edition: int = 2011  #: of the header
    body_edition: int = 0  #: of the bodies; 0 = the header's. seen: 2019 headers before 2011 bodies, and the other way round
    access_code: int = 0  #: 下级平台接入码 MSG_GNSSCENTERID, the same in both directions
    user_id: int = 0
    password: str = field(default="", repr=False)
    keys: CipherKeys | None = None  #: M1, IA1, IC1; None = an encrypted body cannot be read
    encrypt: bool = False  #: our bodies are encrypted
    version: tuple[int, int, int] = (1, 0, 0)  #: 协议版本号标识
    down_link_ip: str = ""  #: what 0x1001 announces
    down_link_port: int = 0
    heartbeat_s: float = 60.0  #: between our 0x1005
    timeout_s: float = 180.0  #: nothing from the peer for so long: dead
    login_timeout_s: float = 20.0  #: for 0x1002, and for 0x9001
    max_frame: int = framing.MAX_FRAME

    @property
    def body(self) -> int:
        """The edition of the bodies."""
        return self.body_edition or self.edition


class Serials:
    """报文序列号 of our own frames, from 0, over both links and their reconnects.

    One counter in 2011; in 2019 one for each sub-business type (for each msg_id where there is none), which 0x1103 and 0x9103 compare.
    """

    def __init__(self, edition: int) -> None:
        self._each = edition >= 2019
        self._next: dict[int, int] = {}

    def next(self, kind: int) -> int:
        """The number of the next frame of that kind."""
        if not self._each:
            kind = 0
        number = self._next.get(kind, 0)
        self._next[kind] = (number + 1) & 0xFFFFFFFF
        return number

    def last(self) -> dict[int, int]:
        """The last number given, by kind."""
        return {kind: (number - 1) & 0xFFFFFFFF for kind, number in self._next.items()}


# -- events


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """0x1002 with 0: the main link is up; 0x9001 must bring this code."""

    verify_code: int


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """0x1002 with another result, or 0x9001 refused by us with ``result``."""

    result: int
    reason: str


@dataclass(frozen=True, slots=True)
class SubLoggedIn:
    """0x9001 with the right code: the subordinate link is ``name``'s."""

    name: str


@dataclass(frozen=True, slots=True)
class Received:
    """A business message."""

    header: Header
    business: Business


@dataclass(frozen=True, slots=True)
class SubLinkLost:
    """0x9007: the superior cannot keep the subordinate link; what goes down comes by the main link now."""

    code: int


@dataclass(frozen=True, slots=True)
class PeerCloses:
    """0x9008 or 0x9003: the superior ends this, in order."""

    code: int
    msg_id: int


@dataclass(frozen=True, slots=True)
class KeptAlive:
    """0x1006 came; seen on either link. All our bytes before the 0x1005 it answers have been read by the superior."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Something was dropped; ``reason`` is one word for counting."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Close the connection, after what is still to be written."""

    reason: str


Event = LoggedIn | LoginRefused | SubLoggedIn | Received | SubLinkLost | PeerCloses | KeptAlive | Broken | Ended


class Link:
    """One connection. ``epoch`` + ``now`` = UNIX seconds, for the headers of 2019."""

    #: (phase, msg_id) -> what it does; what stands nowhere is out of place: counted and dropped
    TABLE: ClassVar[Mapping[tuple[Phase, int], str]] = {}

    def __init__(self, options: LinkOptions, serials: Serials, now: float, epoch: float = 0.0, seed: int = 1) -> None:
        self.options = options
        self.serials = serials
        self.epoch = epoch
        self.phase = Phase.NEW
        self.opened = self.last_received = now
        self.bytes_in = self.bytes_out = 0
        self.frames_in = self.frames_out = 0
        self.errors: Counter[str] = Counter()
        self._deframer = framing.Deframer(options.max_frame)
        self._noise = (0, 0, 0)
        self._events: list[Event] = []
        self._out: list[bytes] = []
        self._key = seed & 0xFFFFFFFF
        self._stream: cipher.Keystream | None = None
        self._rekey_at = 0
        self._version = bytes(options.version)
        self._probes: deque[int] = deque(maxlen=_PROBES_MAX)
        self.confirmed = 0  #: of our bytes so many have certainly been read by the superior

    # ---- in -------------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Bytes of the connection."""
        if self.phase is Phase.CLOSED:
            return
        self.bytes_in += len(data)
        for frame in self._deframer.feed(data):
            if self.ended:
                return
            self._frame(frame, now)
        deframer = self._deframer
        noise = (deframer.garbage, deframer.cut, deframer.oversize)
        if noise != self._noise:
            for word, before, after in zip(("garbage", "cut", "oversize"), self._noise, noise, strict=True):
                if after > before:
                    unit = "bytes outside frames" if word == "garbage" else "frames"
                    self._broken(word, f"{after - before} {unit}", after - before)
            self._noise = noise

    def _decode(self, frame: bytes) -> tuple[Header, bytes]:
        header, body, _ = decode_frame(frame, self.options.edition, self.options.keys)
        return header, body

    def _frame(self, frame: bytes, now: float) -> None:
        try:
            header, body = self._decode(frame)
        except ProtocolError as problem:
            self._broken(problem.reason if isinstance(problem, FrameError) else "frame", str(problem))
            return
        self.frames_in += 1
        self.last_received = now
        msg_id = header.msg_id
        try:
            business = decode_body(msg_id, body, self.options.body)
        except ProtocolError as problem:
            self._broken(problem.reason if isinstance(problem, FrameError) else "body", f"0x{msg_id:04X}: {problem}")
            return
        self._message(header, business, now)

    def _message(self, header: Header, business: Business, now: float) -> None:
        """One good message."""
        msg_id = header.msg_id
        if msg_id not in LINK_MESSAGES:
            self._business(header, business, now)
            return
        name = self.TABLE.get((self.phase, msg_id))
        if name is None:
            self._broken("out_of_place", f"0x{msg_id:04X} while the link is {self.phase.value}")
            return
        handler: Callable[[Header, Business, float], None] = getattr(self, name)
        handler(header, business, now)

    def _business(self, header: Header, business: Business, now: float) -> None:
        if self.phase in (Phase.UP, Phase.LEAVING):
            self._events.append(Received(header, business))
        else:
            self._broken("not_logged_in", f"0x{header.msg_id:04X} before the login")

    # what several phases do with a message

    def _ignore(self, header: Header, business: Business, now: float) -> None:
        """Nothing beside its sign of life."""

    def _kept_alive(self, header: Header, business: Business, now: float) -> None:
        self._events.append(KeptAlive())

    def _answer_main_test(self, header: Header, business: Business, now: float) -> None:
        self.send_body(0x1006, 0x1006, _EMPTY, now)

    def _answer_sub_test(self, header: Header, business: Business, now: float) -> None:
        self.send_body(0x9006, 0x9006, _EMPTY, now)

    def _sub_lost(self, header: Header, business: Business, now: float) -> None:
        self._events.append(SubLinkLost(getattr(business.data, "error_code", 0)))

    def _peer_stops(self, header: Header, business: Business, now: float) -> None:
        code = getattr(business.data, "reason_code", 0)
        self._events.append(PeerCloses(code, header.msg_id))
        self.end(f"the superior closes its links (0x9008, reason {code})")

    def answered(self, now: float) -> None:
        """A 0x1006 answered our oldest 0x1005, wherever it came in: a sign of life of this link."""
        self.last_received = now
        if self._probes:
            self.confirmed = self._probes.popleft()

    # ---- out ------------------------------------------------------------------------------------------------------------

    def send_body(self, msg_id: int, kind: int, body: bytes, now: float) -> int:
        """One frame with this (plain) body; ``kind`` is the sub-business type, else the msg_id. Gives its serial number."""
        options = self.options
        sn = self.serials.next(kind)
        flag = key = 0
        if options.encrypt and options.keys is not None and body:
            stream = self._stream
            if stream is None or self.frames_out >= self._rekey_at:
                self._key = (self._key * 1664525 + 1013904223) & 0xFFFFFFFF
                stream = self._stream = cipher.Keystream(options.keys, self._key)
                self._rekey_at = self.frames_out + FRAMES_A_KEY
            flag, key = 1, stream.key
            body = stream.apply(body)
        version = self._version
        if options.edition >= 2019:
            seconds = max(0, int(now + self.epoch))
            head = _2019.pack(34 + len(body), sn, msg_id, options.access_code, version, flag, key, seconds)
        else:
            head = _2011.pack(26 + len(body), sn, msg_id, options.access_code, version, flag, key)
        frame = framing.wrap(head + body)
        self._out.append(frame)
        self.bytes_out += len(frame)
        self.frames_out += 1
        return sn

    def probe(self, now: float) -> None:
        """Send 0x1005."""
        self.send_body(0x1005, 0x1005, _EMPTY, now)
        self._probes.append(self.bytes_out)

    @property
    def probes(self) -> int:
        """0x1005 that nobody has answered."""
        return len(self._probes)

    @property
    def ended(self) -> bool:
        """Nothing more comes or goes."""
        return self.phase is Phase.CLOSED

    def end(self, reason: str) -> None:
        """No more: asks for the connection to be closed. Safe to call again."""
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._events.append(Ended(reason))

    # ---- time -----------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do, if nothing happens before."""
        if self.phase is Phase.CLOSED:
            return None
        if self.phase is Phase.NEW:
            return self.opened + self.options.login_timeout_s
        return self.last_received + self.options.timeout_s

    def tick(self, now: float) -> None:
        """Time has passed."""
        if self.phase is Phase.CLOSED:
            return
        if self.phase is Phase.NEW:
            if now >= self.opened + self.options.login_timeout_s:
                self.end(f"no login within {self.options.login_timeout_s:g} s")
        elif now >= self.last_received + self.options.timeout_s:
            self.end(f"nothing from the superior for {self.options.timeout_s:g} s")

    # ---- what the adapter takes -----------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def bytes_to_send(self) -> bytes:
        """What is to be written since the last call."""
        if not self._out:
            return _EMPTY
        out, self._out = self._out, []
        return out[0] if len(out) == 1 else b"".join(out)

    def _broken(self, reason: str, detail: str, count: int = 1) -> None:
        self.errors[reason] += count
        self._events.append(Broken(reason, detail))
