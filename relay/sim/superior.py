"""A simulated superior platform (上级平台): the other side of JT/T 809, as a library and behind ``jt1078relay simulate superior``.

    superior = SimulatedSuperior(reactor, SuperiorOptions(access_code=44030001, user_id=10001, password="12345678"))
    port = superior.listen()
    await superior.logged_in()                                   the relay's main link, and our subordinate link back to it
    answer = await superior.ask(PhotoRequest(lens_id=1, size=1), "粤B12345", 2)
    superior.positions["粤B12345", 2]                            what came, in the order it came

It answers what a superior answers (0x1002, 0x1006, 0x9201 in 2019 …), records everything, and misbehaves by option (``faults``).
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, DefaultOpenSSLContextFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from relay.errors import RelayError
from relay.jt809 import framing
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import PLATFORM_FAMILIES, Business
from relay.jt809.header import Header
from relay.jt809.link import Broken, Link, LinkOptions, Phase, Received, Serials
from relay.jt809.messages.base import Body, Gnss
from relay.jt809.messages.exchange import HistoryLocation, RealLocation, VehicleRegistration, VehicleRegistrationAnswer
from relay.jt809.messages.link import Login, LoginAnswer, SubCloseLinkNotice, SubDisconnectNotice, SubLogin, SubLogout
from relay.jt809.messages.video import TimePasswords

HEARD_KEPT = 10_000  #: messages remembered; counters have them all


@dataclass(frozen=True, slots=True)
class SuperiorOptions:
    """Who may log in, and how we speak."""

    access_code: int = 44030001
    user_id: int = 10001
    password: str = "12345678"  # noqa: S105 - made up
    edition: int = 2011
    body_edition: int = 0
    encrypt: bool = False
    keys: CipherKeys | None = None
    heartbeat_s: float = 60.0
    connect_back: bool = True  #: make the subordinate link
    reconnect_s: float = 1.0  #: pause before the subordinate link is tried again, three times
    keep_positions: bool = True  #: False: only count them (load)
    faults: dict[str, float] = field(default_factory=dict)
    tls_certificate: str = ""  #: PEM: the main link is served in TLS
    tls_key: str = ""
    tls_back: bool = False  #: the subordinate link in TLS; the certificate is not checked


class Heard(NamedTuple):
    """One message that came."""

    at: float  #: monotonic
    link: str  #: "main" | "sub"
    header: Header
    business: Business

    @property
    def kind(self) -> int:
        """Sub-business type, else msg_id."""
        return self.business.data_type or self.header.msg_id


class Position(NamedTuple):
    """One position that came."""

    kind: int  #: 0x1202 or 0x1203
    time: str  #: YYMMDDhhmmss
    gnss: Gnss


class NotAnsweredError(RelayError):
    """No answer came in time, or no link is up."""


class CannotServeError(RelayError):
    """The certificate cannot be used."""


class _Core(Link):
    """Either link from the superior's side: every message is told, nothing is decided."""

    def _message(self, header: Header, business: Business, now: float) -> None:
        self._events.append(Received(header, business))


@implementer(IPushProducer)
class _Connection(Protocol):
    """One connection of either kind."""

    def __init__(self, owner: SimulatedSuperior, name: str) -> None:
        self.owner = owner
        self.name = name
        self.core = _Core(owner.link_options, owner.serials, owner.seconds(), time.time() - owner.seconds(), random.getrandbits(32))
        self.core.phase = Phase.UP
        self.logged_in = False
        self.paused: Any = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(1)
        transport.registerProducer(self, True)
        self.owner.opened(self)

    def dataReceived(self, data: bytes) -> None:
        rate = self.owner.options.faults.get("slow")
        if rate and self.name == "main":
            transport: Any = self.transport
            transport.pauseProducing()
            self.paused = self.owner.reactor.callLater(len(data) / rate, self._resume)
        self.core.receive(data, self.owner.seconds())
        for event in self.core.events():
            if isinstance(event, Received):
                self.owner.heard_message(self, event.header, event.business)
            elif isinstance(event, Broken):
                self.owner.counts[f"broken: {event.reason}"] += 1
        self.flush()

    def _resume(self) -> None:
        self.paused = None
        transport: Any = self.transport
        transport.resumeProducing()

    def send(self, msg_id: int, kind: int, body: bytes) -> int:
        sn = self.core.send_body(msg_id, kind, body, self.owner.seconds())
        self.flush()
        return sn

    def flush(self) -> None:
        data = self.core.bytes_to_send()
        if data and self.transport is not None:
            if "garbage" in self.owner.options.faults:
                data = b"noise" + data + b"\x5b\x00\x00\x5d\x5b" + framing.escape(bytes(30)) + b"\x5d"
            self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.paused is not None:
            self.paused.cancel()
        self.owner.lost(self)

    # IPushProducer: what we send is little

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


class SimulatedSuperior:
    """One superior platform with one subordinate."""

    def __init__(self, reactor: Any, options: SuperiorOptions, on_message: Callable[[Heard], None] | None = None) -> None:
        self.reactor = reactor
        self.options = options
        self.on_message = on_message
        self.link_options = LinkOptions(
            edition=options.edition, body_edition=options.body_edition, access_code=options.access_code, keys=options.keys, encrypt=options.encrypt
        )
        self.serials = Serials(options.edition)
        self.verify_code = 0
        self.announced: tuple[str, int] = ("", 0)
        self.main: _Connection | None = None
        self.sub: _Connection | None = None
        self.heard: deque[Heard] = deque(maxlen=HEARD_KEPT)
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[int] = Counter()  #: messages by sub-business type
        self.positions: dict[tuple[str, int], list[Position]] = {}
        self.position_count = 0
        self.supplement_count = 0
        self.vehicles: dict[tuple[str, int], VehicleRegistration] = {}
        self.passwords: tuple[str, str] = ("", "")  #: home-domain and cross-domain, of the last 0x1701
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._asked: list[tuple[tuple[int, int], str, int, int, Deferred[Body]]] = []
        self._connections: set[_Connection] = set()
        self._port: Any = None
        self._calls: set[Any] = set()
        self._tries = 0
        self._stopped = False
        self._second: _Connection | None = None

    def seconds(self) -> float:
        """Monotonic."""
        return time.monotonic()

    # ---- life -----------------------------------------------------------------------------------------------------------

    def listen(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Accept the main link; gives the port."""
        factory = Factory.forProtocol(lambda: _Connection(self, "main"))
        factory.noisy = False
        if self.options.tls_certificate:
            try:
                context = DefaultOpenSSLContextFactory(self.options.tls_key, self.options.tls_certificate)  # type: ignore[no-untyped-call]
            except Exception as problem:  # OSError, OpenSSL's own
                raise CannotServeError(f"the certificate or its key cannot be used: {type(problem).__name__}") from None
            self._port = self.reactor.listenSSL(port, factory, context, interface=host)
        else:
            self._port = self.reactor.listenTCP(port, factory, interface=host)
        number: int = self._port.getHost().port
        return number

    def stop_listening(self) -> Deferred[Any]:
        """Accept no more; what is connected stays. Fires when it is so."""
        port, self._port = self._port, None
        waiting: Deferred[Any] = Deferred()
        if port is None:
            waiting.callback(None)
            return waiting
        stopping = port.stopListening()
        return stopping if isinstance(stopping, Deferred) else _fired()

    def cut(self) -> None:
        """Reset all connections."""
        for connection in list(self._connections):
            transport: Any = connection.transport
            transport.abortConnection()

    def hang_up(self) -> None:
        """Close all connections in order, without a word of JT/T 809."""
        for connection in list(self._connections):
            transport: Any = connection.transport
            transport.unregisterProducer()
            transport.loseConnection()

    async def stop(self) -> None:
        """End everything."""
        self._stopped = True
        for call in list(self._calls):
            call.cancel()
        self._calls.clear()
        self.cut()
        await self.stop_listening()
        await self.until(lambda: not self._connections)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """A call that ``stop`` cancels."""

        def run() -> None:
            self._calls.discard(handle)
            call()

        handle = self.reactor.callLater(seconds, run)
        self._calls.add(handle)

    def until(self, true: Callable[[], bool], timeout_s: float = 30.0) -> Deferred[None]:
        """Fires when ``true()``, looked at after each message and change of links; fails with NotAnsweredError after ``timeout_s``."""
        waiting: Deferred[None] = Deferred()
        entry = (true, waiting)
        if true():
            waiting.callback(None)
            return waiting
        return self._limited(waiting, self._waiting, entry, timeout_s, f"not so within {timeout_s:g} s")

    def _limited(self, waiting: Deferred[Any], among: list[Any], entry: Any, timeout_s: float, reason: str) -> Deferred[Any]:
        """Keep ``entry`` ``among`` those that wait, no longer than ``timeout_s``; whoever fires ``waiting`` takes it out."""
        among.append(entry)

        def over() -> None:
            if entry in among:
                among.remove(entry)
                waiting.errback(NotAnsweredError(reason))

        call = self.reactor.callLater(timeout_s, over)

        def done(result: Any) -> Any:
            if call.active():
                call.cancel()
            return result

        return waiting.addBoth(done)

    def _look(self) -> None:
        for entry in list(self._waiting):
            if entry in self._waiting and entry[0]():
                self._waiting.remove(entry)
                entry[1].callback(None)

    def logged_in(self, both: bool = True, timeout_s: float = 30.0) -> Deferred[None]:
        """Fires when the main link (and with ``both`` the subordinate one) is up."""
        return self.until(lambda: self.main is not None and self.main.logged_in and (not both or (self.sub is not None and self.sub.logged_in)), timeout_s)

    # ---- links ----------------------------------------------------------------------------------------------------------

    def opened(self, connection: _Connection) -> None:
        """A connection is made."""
        self._connections.add(connection)
        if connection.name == "sub":
            code = self.verify_code ^ 0x5A5A if "wrong-code" in self.options.faults else self.verify_code
            self._send_on(connection, SubLogin(verify_code=code))

    def lost(self, connection: _Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if connection is self.main:
            self.main = None
            self.counts["main link lost"] += 1
        elif connection is self.sub:
            self.sub = None
            self.counts["subordinate link lost"] += 1
            if self.main is not None and not self._stopped and self.options.connect_back:
                self._connect_back_later()
        self._look()

    def _connect_back_later(self) -> None:
        if self._tries >= 3:
            self._send_on(self.main, SubDisconnectNotice(error_code=1))
            return
        self._tries += 1
        self.later(self.options.reconnect_s, self._connect_back)

    def _connect_back(self) -> None:
        host, port = self.announced
        if self._stopped or self.main is None or not port:
            return
        factory = Factory.forProtocol(lambda: _Connection(self, "sub"))
        factory.noisy = False

        def made(protocol: Any) -> None:
            former, self.sub = self.sub, protocol
            self._second = former

        def failed(failure: Failure) -> None:
            self.counts["subordinate link: no connection"] += 1
            if self.main is not None and self._tries >= 3:
                self._send_on(self.main, SubDisconnectNotice(error_code=0))
            else:
                self._connect_back_later()

        endpoint: Any = HostnameEndpoint(self.reactor, host, port, 5)
        if self.options.tls_back:
            endpoint = wrapClientTLS(CertificateOptions(), endpoint)
        endpoint.connect(factory).addCallbacks(made, failed)

    # ---- what comes -----------------------------------------------------------------------------------------------------

    def heard_message(self, connection: _Connection, header: Header, business: Business) -> None:
        """One message."""
        heard = Heard(self.seconds(), connection.name, header, business)
        kind = heard.kind
        self.kinds[kind] += 1
        data = business.data
        if isinstance(data, RealLocation | HistoryLocation):
            self._take_positions(kind, business, data)
        else:
            self.heard.append(heard)
        msg_id = header.msg_id
        if msg_id == 0x1001 and isinstance(data, Login):
            self._login(connection, header, data)
        elif msg_id == 0x1003:
            connection.send(0x1004, 0x1004, b"")
        elif msg_id == 0x1005 and "deaf" not in self.options.faults:
            on = self.sub if "keepalive-on-sub" in self.options.faults and self.sub is not None else connection
            on.send(0x1006, 0x1006, b"")
        elif msg_id == 0x9002 and getattr(data, "result", 1) == 0:
            connection.logged_in = True
            self._tries = 0
            if "twice" in self.options.faults and not self.counts["second subordinate link"]:
                self.counts["second subordinate link"] += 1
                self._connect_back()
        elif isinstance(data, TimePasswords):
            self.passwords = str(data.authorize_code_1), str(data.authorize_code_2)
        elif isinstance(data, VehicleRegistration):
            self.vehicles[business.vehicle_no, business.vehicle_color] = data
            if self.link_options.body >= 2019:
                self.send(VehicleRegistrationAnswer(source_data_type=0x1201, source_msg_sn=header.msg_sn, result=0))
        self._answered(heard)
        if self.on_message is not None:
            self.on_message(heard)
        self._look()

    def _take_positions(self, kind: int, business: Business, data: RealLocation | HistoryLocation) -> None:
        blocks = [data.gnss] if isinstance(data, RealLocation) else data.gnss
        self.position_count += len(blocks)
        if kind == 0x1203:
            self.supplement_count += len(blocks)
        if self.options.keep_positions:
            kept = self.positions.setdefault((business.vehicle_no, business.vehicle_color), [])
            kept.extend(Position(kind, time_of(block), block) for block in blocks)

    def _login(self, connection: _Connection, header: Header, login: Login) -> None:
        faults, options = self.options.faults, self.options
        if "mute" in faults:
            return
        result = 0
        if "refuse" in faults:
            result = int(faults["refuse"])
        elif header.msg_gnsscenterid != options.access_code:
            result = 2
        elif login.user_id != options.user_id:
            result = 3
        elif login.password != options.password:
            result = 4
        elif self.main is not None:
            result = 5
        self.verify_code = random.getrandbits(32)
        self._send_on(connection, LoginAnswer(result=result, verify_code=self.verify_code if result == 0 else 0))
        if result:
            self.counts[f"login refused: {result}"] += 1
            return
        self.main = connection
        connection.logged_in = True
        self.announced = str(login.down_link_ip), login.down_link_port
        self._tries = 0
        if "close-after" in faults:
            self.later(faults["close-after"], self.cut)
        if "no-sublink" in faults:
            self._send_on(connection, SubDisconnectNotice(error_code=0))
        elif options.connect_back:
            self._connect_back()
        if "deaf" not in faults:
            self.later(options.heartbeat_s, self._keep_alive)

    def _keep_alive(self) -> None:
        if self.sub is not None and self.sub.logged_in:
            self.sub.send(0x9005, 0x9005, b"")
        if self.main is not None:
            self.later(self.options.heartbeat_s, self._keep_alive)

    # ---- what goes ------------------------------------------------------------------------------------------------------

    @property
    def link(self) -> _Connection | None:
        """Where our requests go: the subordinate link, else the main one."""
        if self.sub is not None and self.sub.logged_in:
            return self.sub
        return self.main

    def _send_on(self, connection: _Connection | None, message: Body, plate: str = "", color: int = 0) -> int:
        if connection is None:
            raise NotAnsweredError("no link is up")
        msg_id, sub_id = message.KEY
        edition = self.link_options.body
        form = "L" if not sub_id else "V"
        if msg_id in PLATFORM_FAMILIES or sub_id == 0x9201 or (msg_id == 0x9400 and edition >= 2019):
            form = "P"
        business = Business(msg_id, form, data=message, data_type=sub_id, vehicle_no=plate, vehicle_color=color, edition=edition)
        return connection.send(msg_id, sub_id or msg_id, business.encode())

    def send(self, message: Body, plate: str = "", color: int = 0, link: str = "") -> int:
        """Send a message; gives its serial number. ``link``: "main" or "sub" instead of the usual one."""
        connection = {"main": self.main, "sub": self.sub}[link] if link else self.link
        return self._send_on(connection, message, plate, color)

    def send_raw(self, data: bytes, link: str = "") -> None:
        """Bytes as they are."""
        connection = {"main": self.main, "sub": self.sub}[link] if link else self.link
        if connection is None or connection.transport is None:
            raise NotAnsweredError("no link is up")
        connection.transport.write(data)

    def ask(self, message: Body, plate: str = "", color: int = 0, timeout_s: float = 30.0, link: str = "") -> Deferred[Body]:
        """Send a request; fires with its answer, told by its type, the plate, and in 2019 the serial number. Fails with NotAnsweredError."""
        waiting: Deferred[Body] = Deferred()
        reply = type(message).REPLY[0] if type(message).REPLY else None
        if reply is None:
            waiting.errback(NotAnsweredError(f"0x{message.KEY[1]:04X} has no answer"))
            return waiting
        try:
            sn = self.send(message, plate, color, link)
        except NotAnsweredError as problem:
            waiting.errback(problem)
            return waiting
        entry = (reply, plate, color, sn, waiting)
        return self._limited(waiting, self._asked, entry, timeout_s, f"0x{reply[1]:04X} did not come within {timeout_s:g} s")

    def _answered(self, heard: Heard) -> None:
        business = heard.business
        key = heard.header.msg_id, business.data_type
        for entry in self._asked:
            reply, plate, color, sn, waiting = entry
            if reply != key or (business.form in "VA" and (business.vehicle_no, business.vehicle_color) != (plate, color)):
                continue
            named = business.source_msg_sn if business.form == "A" else getattr(business.data, "source_msg_sn", None)
            if named is not None and self.options.edition >= 2019 and named != sn:
                continue
            self._asked.remove(entry)
            waiting.callback(business.data if business.data is not None else Body())
            return

    def close_links(self, reason: int = 0) -> None:
        """0x9008, and then both links."""
        if self.main is not None:
            self._send_on(self.main, SubCloseLinkNotice(reason_code=reason))

    def leave_sublink(self) -> None:
        """0x9003."""
        if self.sub is not None:
            self._send_on(self.sub, SubLogout(verify_code=self.verify_code))


def _fired() -> Deferred[Any]:
    done: Deferred[Any] = Deferred()
    done.callback(None)
    return done


def time_of(block: Gnss) -> str:
    """A block's time, YYMMDDhhmmss (UTC+8)."""
    if block.gnss_data is not None:
        return bytes(block.gnss_data[22:28]).hex()
    parts = ((block.year or 0) % 100, block.month or 0, block.day or 0, block.hour or 0, block.minute or 0, block.second or 0)
    return "".join(f"{part:02d}" for part in parts)
