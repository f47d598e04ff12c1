"""Plays the peer's side of a recording against a relay, at any speed.

What the peer sent goes out again at its times; what the relay says is listened to only as far as it must be, because a relay is not the one that was recorded:

    0x0100, 0x0102      the next message waits for the answer (``GATE_S`` at most); the code of 0x0102 is the one this relay gave. A recording that begins
                        with 0x0102 is preceded by a registration when no code is given
    应答流水号           an answer to the recorded platform's n-th 0x9101 carries the serial of this relay's n-th 0x9101
    media               goes to ``media_server``, else where this relay's 0x9101 or 0x9201 for the channel says

A superior's main link is listened for, its subordinate link made; both carry the recording's verify code, so a relay with the same account takes them.

Everything else is sent as it was: frames that are broken, bytes between them, the order, the pauses. ``as_recorded`` leaves the named exceptions out as well
and keeps the very portions.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from relay.errors import FrameError, ProtocolError
from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages import MESSAGES, decode_message
from relay.jt808.messages.general import Authentication, PlatformGeneralResponse, Registration, RegistrationResponse
from relay.jt808.messages.video import PlaybackRequest, RealtimeAvRequest
from relay.jt809 import framing as framing809
from relay.jt809.header import header_size
from relay.jt1078.packet import MAGIC, detect_sim_bytes
from relay.net.player_wires import Client, Datagrams, Server
from relay.net.recording import Event, Kind
from relay.net.restream import Fields1078, Frames808

#: how long a message waits for the answer to the one before, and media for being asked for
GATE_S = 10.0
_CONNECT_S = 15
#: at the end, for what was written to leave and for answers to come
LINGER_S = 1.0
#: the reactor gets its turn after so many events that were due at once
_TURN = 32
#: requests for media and serials remembered of one relay; a run of days has fewer
_HEARD_MAX = 100_000

#: no pauses at all
AT_ONCE = math.inf

_PARTS = re.compile(rb"[^\x7e]*\x7e|[^\x7e]+\Z")


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """How to play."""

    server: tuple[str, int]  #: where JT/T 808 (or a JT/T 809 subordinate link) goes
    media_server: tuple[str, int] | None = None  #: where all media go; None: where the relay asks for them
    speed: float = 1.0  #: ``math.inf``: no pauses
    code: str = ""  #: the authentication code that this relay knows
    phone: str = ""  #: play as this terminal instead
    as_recorded: bool = False  #: not a byte changed
    tls: bool = False
    listen_port: int = 0  #: where connections are awaited that the platform opens itself


@dataclass(slots=True)
class Played:
    """What came of it."""

    links: int = 0
    bytes_sent: int = 0
    sent: Counter[str] = field(default_factory=Counter)  #: messages of JT/T 808 and 809 by id
    received: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)


class Player:
    """One run. ``told`` hears of what happens in words."""

    def __init__(self, events: Iterable[Event], reactor: Any, options: PlayOptions, told: Callable[[str], None] | None = None) -> None:
        self.options = options
        self.reactor = reactor
        self.result = Played()
        self.code = options.code
        self.media_wanted: list[_Wanted] = []
        self._events = events
        self._told = told or (lambda _: None)
        self._links: dict[int, Link] = {}
        self._waited = 0.0
        self._call: Deferred[None] | None = None

    async def run(self) -> Played:
        """Play everything; returns when the last connection is closed."""
        begun = self.reactor.seconds()
        first: int | None = None
        for turn, event in enumerate(self._events, 1):
            first = event.time if first is None else first
            due = max(0.0, event.time - first) / 1e6 / self.options.speed + self._waited
            pause = begun + due - self.reactor.seconds()
            if pause > 0 or turn % _TURN == 0:
                await self.sleep(max(pause, 0.0))
            await self._play(event)
        if any(link.up for link in self._links.values()):
            await self.sleep(LINGER_S)
        for link in self._links.values():
            link.close()
        await self.sleep(0.0)
        return self.result

    async def sleep(self, seconds: float) -> None:
        """Let the reactor do other things."""
        await deferLater(self.reactor, seconds)

    async def wait(self, waiting: Deferred[None], seconds: float) -> bool:
        """Until it fires or the time is over; the recording's clock stands still meanwhile. False: it did not fire."""
        begun = self.reactor.seconds()
        if not waiting.called:
            call = self.reactor.callLater(seconds, waiting.callback, None)
            await waiting
            if not call.active():
                self._waited += self.reactor.seconds() - begun
                return False
            call.cancel()
        self._waited += self.reactor.seconds() - begun
        return True

    def tell(self, text: str, trouble: bool = False) -> None:
        """To whoever listens; ``trouble`` is kept in the result."""
        if trouble and len(self.result.trouble) < 100:
            self.result.trouble.append(text)
        self._told(text)

    async def _play(self, event: Event) -> None:
        if event.kind is Kind.OPEN:
            link = self._links[event.link] = _link(self, event)
            await link.open()
            return
        known = self._links.get(event.link)
        if known is None:
            return
        if event.kind is Kind.IN:
            await known.send(event.data)
        elif event.kind is Kind.OUT:
            known.recorded_answer(event.data)
        elif event.kind is Kind.CLOSE:
            known.close()

    @property
    def signalling(self) -> bool:
        """A JT/T 808 link is up."""
        return any(isinstance(link, _Terminal) and link.up for link in self._links.values())

    def target(self, protocol: str) -> tuple[str, int]:
        """Where a link goes that is known beforehand."""
        if protocol == "jt1078" and self.options.media_server is not None:
            return self.options.media_server
        return self.options.server


@dataclass(slots=True)
class _Wanted:
    """One request for media."""

    channel: int
    host: str
    tcp_port: int
    udp_port: int
    used: bool = False


class Link:
    """One connection of the recording, played as it is."""

    def __init__(self, player: Player, event: Event) -> None:
        self.player = player
        self.number = event.link
        self.protocol: str = event.info.get("protocol", "")
        self.udp = event.info.get("transport") == "udp"
        self.listens = event.info.get("initiator") == "us"  # then the relay of now opens it as well
        self.wire: Any = None
        self.ended = False

    @property
    def up(self) -> bool:
        return self.wire is not None and not self.ended

    async def open(self) -> None:
        await self.connect(*self.player.target(self.protocol))

    async def connect(self, host: str, port: int) -> None:
        """Connect, or wait until the relay does."""
        player = self.player
        ready: Deferred[None] = Deferred()
        reactor = player.reactor
        if self.udp:
            wire = Datagrams(self, host, port, ready)
            reactor.listenUDP(0, wire, interface="::" if ":" in host else "")
            what = f"udp {host}:{port}"
        elif self.listens:
            listening = reactor.listenTCP(player.options.listen_port, Server(self, ready))
            what = f"a connection on port {listening.getHost().port}"
            ready.addBoth(_also(listening.stopListening))
        else:
            factory = Client(self, ready)
            if player.options.tls and self.protocol == "jt808":
                from twisted.internet.ssl import CertificateOptions

                reactor.connectSSL(host, port, factory, CertificateOptions(), timeout=_CONNECT_S)
            else:
                reactor.connectTCP(host, port, factory, timeout=_CONNECT_S)
            what = f"{host}:{port}"
        player.tell(f"link {self.number}: {self.protocol} to {what}" if not self.listens else f"link {self.number}: {self.protocol}, waiting for {what}")
        if not await player.wait(ready, 600.0 if self.listens else _CONNECT_S + 1) or self.wire is None:
            self.ended = True
            player.tell(f"link {self.number}: no connection with {what}", trouble=True)
            return
        player.result.links += 1

    async def send(self, data: bytes) -> None:
        """One portion of the recording."""
        self.write(data)
        await self.room()

    async def room(self) -> None:
        """Wait while the relay does not read."""
        full = getattr(self.wire, "full", None)
        if full is not None and self.up:
            await self.player.wait(full, 60.0)

    def write(self, data: bytes) -> None:
        if self.up and data:
            self.player.result.bytes_sent += len(data)
            self.wire.send(data)

    def close(self) -> None:
        if self.up:
            self.wire.end()
        self.ended = True

    def received(self, data: bytes) -> None:
        """Bytes of the relay."""

    def recorded_answer(self, data: bytes) -> None:
        """Bytes of the platform that was recorded."""

    def lost(self, reason: Failure) -> None:
        """The relay has closed, or the network."""
        if not self.ended:
            self.ended = True
            how = "closed by the relay" if isinstance(reason.value, ConnectionDone) else reason.getErrorMessage()
            self.player.tell(f"link {self.number}: {self.protocol} {how}", trouble=True)


class _Terminal(Link):
    """JT/T 808: answers of the relay are waited for where the next message needs them."""

    def __init__(self, player: Player, event: Event) -> None:
        super().__init__(player, event)
        self._outgoing = Frames808(self._change, lambda data: data)
        self._preview = Deframer()
        self._incoming = Deframer()
        self._past = Deframer()
        self._begun = False
        self._awaited = 0  # the id that must be answered before anything else is sent
        self._answered: Deferred[None] | None = None
        self._asked: dict[int, list[int]] = {}  # serials of this relay by message id
        self._counts: Counter[int] = Counter()  # of the recorded platform's messages by id
        self._recorded: dict[int, tuple[int, int]] = {}  # its serial -> (message id, which of them)

    async def send(self, data: bytes) -> None:
        if self.player.options.as_recorded or not self.up:
            await super().send(data)
            return
        made = b""
        for part in _PARTS.findall(data):
            headers = [header for header in map(_header, self._preview.feed(part)) if header is not None]
            if headers and self._must_wait(headers[0]):
                self.write(made)
                made = b""
                await self._before(headers[0])
            made += self._outgoing.feed(part)
            self._begun = self._begun or bool(headers)
            for header in headers:
                self.player.result.sent[f"0x{header.msg_id:04X}"] += 1
                if header.msg_id in (0x0100, 0x0102):
                    self._awaited, self._answered = header.msg_id, Deferred()
        self.write(made + (self._outgoing.flush() if self.udp else b""))
        await self.room()

    def _must_wait(self, header: Header) -> bool:
        return self._answered is not None or (not self._begun and header.msg_id == 0x0102)

    async def _before(self, header: Header) -> None:
        """What must have happened before this message goes out."""
        player = self.player
        if not self._begun and header.msg_id == 0x0102 and not player.code:
            self._register(header)
        if self._answered is not None:
            answered = await player.wait(self._answered, GATE_S)
            self._answered = None
            if not answered:
                player.tell(f"link {self.number}: no answer to 0x{self._awaited:04X} within {GATE_S:g} s", trouble=True)

    def _register(self, header: Header) -> None:
        """The recording begins with a code that this relay has not given."""
        message = Registration(
            province_id=44, city_id=300, manufacturer_id="REC", terminal_model="REPLAY", terminal_id=header.phone[-7:], plate_color=2, plate_no="测A00001"
        )
        first = Header(0x0100, self._phone(header.phone), (header.serial - 1) & 0xFFFF, protocol_version=header.protocol_version)
        self.write(first.encode(message.encode(header.edition)))
        self.player.result.sent["0x0100"] += 1
        self._awaited, self._answered = 0x0100, Deferred()

    def _phone(self, phone: str) -> str:
        other = self.player.options.phone
        return other.rjust(len(phone), "0")[-len(phone) :] if other else phone

    def _change(self, piece: bytes) -> bytes:
        """One frame with what must differ."""
        try:
            header, body = decode_frame(piece)
        except FrameError:
            return piece
        made = self._body(header, body)
        phone = self._phone(header.phone)
        if made == body and phone == header.phone:
            return piece
        return header.replace(phone=phone).encode(made)[1:-1]

    def _body(self, header: Header, body: bytes) -> bytes:
        if header.encryption or (header.package_index or 1) != 1:
            return body
        if header.msg_id == 0x0102 and self.player.code:
            try:
                message = decode_message(header, body)
            except ProtocolError:
                return body
            if isinstance(message, Authentication):
                message.auth_code = self.player.code
                return message.encode()
            return body
        cls = MESSAGES.get(header.msg_id)
        if cls is not None and "reply_serial" in cls.wire_fields and len(body) >= 2:
            serial = self._serial_now(int.from_bytes(body[:2], "big"))
            return serial.to_bytes(2, "big") + body[2:]
        return body

    def _serial_now(self, recorded: int) -> int:
        """The serial by which this relay sent what the recorded platform sent with ``recorded``."""
        known = self._recorded.get(recorded)
        if known is None:
            return recorded
        msg_id, place = known
        serials = self._asked.get(msg_id, ())
        if not serials:
            return recorded
        return serials[min(place, len(serials) - 1)]

    def recorded_answer(self, data: bytes) -> None:
        for piece in self._past.feed(data):
            header = _header(piece)
            if header is not None:
                self._recorded[header.serial] = (header.msg_id, self._counts[header.msg_id])
                self._counts[header.msg_id] += 1

    def received(self, data: bytes) -> None:
        for piece in self._incoming.feed(data):
            if not isinstance(piece, bytes):
                continue
            try:
                header, body = decode_frame(piece)
            except FrameError:
                continue
            self.player.result.received[f"0x{header.msg_id:04X}"] += 1
            serials = self._asked.setdefault(header.msg_id, [])
            if len(serials) < _HEARD_MAX:
                serials.append(header.serial)
            try:
                message = decode_message(header, body)
            except ProtocolError:
                continue
            self._heard(message)

    def _heard(self, message: Any) -> None:
        player = self.player
        if isinstance(message, RegistrationResponse):
            if message.result == 0:
                player.code = str(message.auth_code or "")
            else:
                player.tell(f"link {self.number}: the relay refuses the registration: result {message.result}", trouble=True)
            self._settle(0x0100)
        elif isinstance(message, PlatformGeneralResponse):
            if message.reply_msg_id == 0x0102 and message.result:
                player.tell(f"link {self.number}: the relay refuses the authentication: result {message.result}", trouble=True)
            self._settle(message.reply_msg_id)
        elif isinstance(message, RealtimeAvRequest | PlaybackRequest) and len(player.media_wanted) < _HEARD_MAX:
            player.media_wanted.append(_Wanted(message.channel, str(message.server_ip), message.tcp_port, message.udp_port))

    def _settle(self, msg_id: int) -> None:
        if self._awaited == msg_id and self._answered is not None and not self._answered.called:
            self._answered.callback(None)

    def lost(self, reason: Failure) -> None:
        self._settle(self._awaited)
        super().lost(reason)


class _Media(Link):
    """JT/T 1078: to the media server, or wherever the relay asks for the channel."""

    def __init__(self, player: Player, event: Event) -> None:
        super().__init__(player, event)
        self._fields = Fields1078(self._number)
        self._change = bool(player.options.phone) and not player.options.as_recorded

    def _number(self, sim: bytes) -> bytes:
        digits = self.player.options.phone.rjust(2 * len(sim), "0")[-2 * len(sim) :]
        return bytes.fromhex(digits)

    async def open(self) -> None:
        if self.player.options.media_server is not None:
            await super().open()

    async def send(self, data: bytes) -> None:
        if self.wire is None and not self.ended:
            await self._when_wanted(data)
        if self._change:
            data = self._fields.feed(data) + (self._fields.flush() if self.udp else b"")
        await super().send(data)

    async def _when_wanted(self, data: bytes) -> None:
        """Connect where the relay wants this channel."""
        player = self.player
        width = detect_sim_bytes(data) if data.startswith(MAGIC) else 0
        channel = data[8 + width] if width and len(data) > 8 + width else -1
        limit = player.reactor.seconds() + GATE_S
        begun = player.reactor.seconds()
        while True:
            for wanted in player.media_wanted:
                if not wanted.used and channel in (-1, wanted.channel):
                    wanted.used = True
                    player._waited += player.reactor.seconds() - begun
                    host = wanted.host if wanted.host not in ("", "0.0.0.0") else player.options.server[0]
                    await self.connect(host, wanted.udp_port if self.udp else wanted.tcp_port)
                    return
            if player.reactor.seconds() >= limit or not player.signalling:
                break
            await player.sleep(0.05)
        player._waited += player.reactor.seconds() - begun
        self.ended = True
        why = f"the relay did not ask for channel {channel if channel >= 0 else '?'} within {GATE_S:g} s"
        player.tell(f"link {self.number}: {why if player.signalling else 'media, but no JT/T 808 link and no media server'}", trouble=True)


class _Superior(Link):
    """JT/T 809: a superior's side of its main or subordinate link, played as it is. The login's verify code is the recording's on both links."""

    def __init__(self, player: Player, event: Event) -> None:
        super().__init__(player, event)
        self._outgoing = framing809.Deframer()
        self._incoming = framing809.Deframer()

    async def send(self, data: bytes) -> None:
        self._count(self._outgoing, data, self.player.result.sent)
        await super().send(data)

    def received(self, data: bytes) -> None:
        self._count(self._incoming, data, self.player.result.received)

    @staticmethod
    def _count(deframer: framing809.Deframer, data: bytes, counts: Counter[str]) -> None:
        for frame in deframer.feed(data):
            try:
                inner, _ = framing809.unwrap(frame, header_size(2011))
            except FrameError:
                continue
            counts[f"0x{int.from_bytes(inner[8:10], 'big'):04X}"] += 1


_LINKS: dict[str, type[Link]] = {"jt808": _Terminal, "jt1078": _Media, "jt809": _Superior}


def _link(player: Player, event: Event) -> Link:
    return _LINKS.get(event.info.get("protocol", ""), Link)(player, event)


def _header(piece: bytes | FrameError) -> Header | None:
    if not isinstance(piece, bytes):
        return None
    try:
        return decode_frame(piece)[0]
    except FrameError:
        return None


def _also(action: Callable[[], Any]) -> Callable[[Any], Any]:
    def run(result: Any) -> Any:
        action()
        return result

    return run
