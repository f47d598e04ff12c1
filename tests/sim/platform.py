"""The other side for the terminal's tests: a platform on the project's own session core, and sockets that only exist in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, DNSLookupError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages import Body
from relay.jt808.messages.general import Result
from relay.jt808.session import Session
from relay.jt808.session_events import Authenticating, Failed, Received, Registering, Replied, Role, SessionOptions
from relay.jt1078.packet import Packet, parse_packet
from relay.sim.faults import Faults
from relay.sim.options import TerminalOptions
from relay.sim.terminal import SimulatedTerminal

PHONE = "013800138001"
CODE = "AC-7788"


class Wire(StringTransport):
    """A socket in memory that closes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.lost = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to delay here."""

    def loseConnection(self) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def take(self) -> bytes:
        data = self.value()
        self.clear()
        return data


class Datagrams:
    """A UDP port in memory."""

    def __init__(self, protocol: Any, interface: str = "") -> None:
        self.protocol = protocol
        self.interface = interface
        self.remote: tuple[str, int] | None = None
        self.sent: list[bytes] = []
        self.closed = False
        protocol.transport = self
        protocol.startProtocol()

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        assert not self.closed
        self.remote = addr
        self.sent.append(datagram)

    def stopListening(self) -> None:
        self.closed = True
        self.protocol.stopProtocol()


class Reactor(MemoryReactorClock):  # type: ignore[misc]
    """Memory and a clock, UDP included."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Datagrams] = []

    def listenUDP(self, port: int, protocol: Any, interface: str = "") -> Datagrams:
        made = Datagrams(protocol, interface)
        self.ports.append(made)
        return made

    def resolve(self, name: str, timeout: Any = ()) -> Deferred[str]:
        return succeed(name) if name != "nowhere.invalid" else fail(DNSLookupError())


class Platform:
    """Accepts one terminal, answers it, and asks it things."""

    def __init__(self, faults: tuple[str, ...] = (), started: float = 1_700_000_000.0, source: Any = None, **options: Any) -> None:
        self.reactor = Reactor()
        self.started = started
        self.lines: list[str] = []
        self.options = TerminalOptions(faults=Faults.parse(faults), **options)
        self.terminal = SimulatedTerminal(
            PHONE, self.reactor, self.options, source=source, wall=lambda: started + self.reactor.seconds(), told=lambda _, what: self.lines.append(what)
        )
        self.session: Session | None = None
        self.wire: Wire | None = None
        self.events: list[Any] = []
        self.known_code = CODE
        self.register_result = 0
        self.accept_codes = True
        self.uplink = b""
        self._taken = 0

    # ---- the sockets --------------------------------------------------------------------------------------------------------

    def pending(self) -> list[tuple[str, int]]:
        """Connections asked for and not made yet."""
        return [(host, port) for host, port, *_ in self.reactor.tcpClients[self._taken :]]

    def accept(self) -> Any:
        """Make the next connection: (protocol, wire)."""
        _, _, factory, *_ = self.reactor.tcpClients[self._taken]
        self._taken += 1
        protocol = factory.buildProtocol(None)
        if protocol is None:
            return None, None
        wire = Wire()
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return protocol, wire

    def refuse(self) -> None:
        """The next connection fails."""
        _, _, factory, *_ = self.reactor.tcpClients[self._taken]
        factory.clientConnectionFailed(self.reactor.connectors[self._taken], Failure(ConnectionRefusedError()))
        self._taken += 1

    def link(self) -> None:
        """The signalling link comes up."""
        _, self.wire = self.accept()
        self.session = Session(Role.PLATFORM, SessionOptions(silent_ok=True), self.reactor.seconds())
        self.settle()

    def settle(self) -> None:
        """Let both sides speak until both are silent."""
        assert self.session is not None
        assert self.wire is not None
        now = self.reactor.seconds()
        while not self.wire.lost:
            data = self.wire.take()
            if data:
                self.uplink += data
                self.session.receive(data, now)
                for event in self.session.events():
                    self._decide(event)
            answer = self.session.bytes_to_send()
            if answer:
                self.wire.protocol.dataReceived(answer)
            if not data and not answer:
                return

    def _decide(self, event: Any) -> None:
        assert self.session is not None
        now = self.reactor.seconds()
        self.events.append(event)
        if isinstance(event, Registering):
            self.session.registered(event.header, self.register_result, self.known_code, now)
        elif isinstance(event, Authenticating):
            self.session.authenticated(event.header, self.accept_codes and event.message.auth_code == self.known_code, now)  # type: ignore[attr-defined]

    # ---- steps of a test ----------------------------------------------------------------------------------------------------

    def online(self) -> Platform:
        """Start the terminal and bring it online."""
        self.terminal.start()
        self.link()
        assert self.terminal.online or "no-register" in self.options.faults, self.lines
        return self

    def ask(self, message: Body) -> Any:
        """Send a request and let the terminal answer; the event it led to, or None."""
        assert self.session is not None
        request = self.session.request(message, self.reactor.seconds(), repeats=0)
        self.settle()
        return next((e for e in self.events if isinstance(e, Replied | Failed) and e.request is request), None)

    def result(self, message: Body) -> int:
        """The result of the general answer to a request."""
        event = self.ask(message)
        if isinstance(event, Failed):
            assert event.reason == "refused"
            return event.result
        assert isinstance(event, Replied), event
        return int(getattr(event.message, "result", Result.OK))

    def advance(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass."""
        for _ in range(round(seconds / step)):
            self.reactor.advance(step)
            if self.session is not None and self.wire is not None and not self.wire.lost:
                self.session.tick(self.reactor.seconds())
                self.settle()

    def received(self, msg_id: int) -> list[Received]:
        """Messages of the terminal with this id."""
        return [e for e in self.events if isinstance(e, Received) and e.header.msg_id == msg_id]

    def general(self) -> list[tuple[int, int]]:
        """(message id, result) of every 0x0001 so far, whether it was asked for or not."""
        return [(body[2] << 8 | body[3], body[4]) for header, body in self.frames() if header.msg_id == 0x0001]

    def frames(self) -> list[tuple[Header, bytes]]:
        """Every frame of the terminal since ``uplink`` was emptied."""
        return [decode_frame(piece) for piece in Deframer().feed(self.uplink) if isinstance(piece, bytes)]

    def finish(self) -> None:
        """Stop the terminal; nothing may stay behind."""
        gone: list[None] = []
        self.terminal.stop().addCallback(gone.append)
        assert gone == [None]
        assert self.terminal.media.streams == {}
        left = [call for call in self.reactor.getDelayedCalls() if call.active()]
        assert left == [], left


def packets_of(data: bytes, sim_bytes: int = 6) -> list[Packet]:
    """All packets of a media connection; it holds nothing else."""
    found = []
    at = 0
    while at < len(data):
        packet = parse_packet(data, at, sim_bytes)
        assert packet is not None
        found.append(packet)
        at += packet.consumed
    return found


def frames_of(packets: list[Packet], wanted: Callable[[Packet], bool]) -> list[bytes]:
    """Bodies joined from first to last."""
    frames: list[bytes] = []
    for packet in filter(wanted, packets):
        if packet.subpackage in (0, 1):
            frames.append(b"")
        frames[-1] += packet.body
    return frames
