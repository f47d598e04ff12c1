"""JT/T 808 on TCP and UDP: what the adapters add to the links they carry."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.net.terminal808 import UNREAD_MAX, TerminalDatagrams, TerminalFactory, TerminalProtocol, local_address_for, plain, show
from relay.settings import Limits
from tests.core.fakes import PHONE, SIM, World


class Transport(StringTransport):
    """A TCP transport that knows what a terminal's adapter does with it."""

    def __init__(self) -> None:
        super().__init__(hostAddress=IPv4Address("TCP", "192.0.2.1", 7808), peerAddress=IPv4Address("TCP", "10.0.0.7", 40000))
        self.aborted = False

    def setTcpKeepAlive(self, on: bool) -> None: ...

    def setTcpNoDelay(self, on: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True


def connect(world: World) -> tuple[TerminalProtocol, Transport]:
    protocol = TerminalFactory(world.terminals).buildProtocol(None)
    transport = Transport()
    protocol.makeConnection(transport)
    return protocol, transport


def frame(msg_id: int, body: bytes = b"", serial: int = 0, phone: str = PHONE) -> bytes:
    return Header(msg_id, phone, serial).encode(body)


def answers(data: bytes) -> list[tuple[int, bytes]]:
    return [(header.msg_id, body) for header, body in (decode_frame(piece) for piece in Deframer().feed(data))]


def authenticated(world: World) -> tuple[TerminalProtocol, Transport]:
    world.rows.codes[SIM] = "right"
    protocol, transport = connect(world)
    protocol.dataReceived(frame(0x0102, b"right"))
    transport.clear()
    return protocol, transport


def test_bytes_go_in_and_answers_come_out_whatever_the_portions():
    world = World()
    world.rows.codes[SIM] = "right"
    protocol, transport = connect(world)
    for i, byte in enumerate(frame(0x0102, b"right", 5)):
        assert i == 0 or transport.value() == b""
        protocol.dataReceived(bytes((byte,)))
    assert answers(transport.value()) == [(0x8001, b"\x00\x05\x01\x02\x00")]
    terminal = world.terminals.get(SIM)
    assert terminal is not None
    assert terminal.link is not None
    wire = terminal.link.wire
    assert (wire.peer, wire.host, wire.local, wire.transport) == ("10.0.0.7:40000", "10.0.0.7", "192.0.2.1", "tcp")


def test_a_lost_connection_takes_the_terminal_offline():
    world = World()
    protocol, _ = authenticated(world)
    protocol.connectionLost(Failure(ConnectionLost()))
    assert not world.terminals.is_online(SIM)
    assert "connection lost" in world.told[-1]["reason"]
    assert world.clock.getDelayedCalls() == []


def test_the_last_answer_is_written_before_the_connection_closes():
    world = World()
    protocol, transport = connect(world)
    for serial in range(3):
        protocol.dataReceived(frame(0x0102, b"wrong", serial))
    assert len(answers(transport.value())) == 3
    assert transport.disconnecting
    assert not transport.aborted
    world.clock.advance(5.0)
    assert transport.aborted
    protocol.connectionLost(Failure(ConnectionLost()))


def test_a_connection_that_closes_by_itself_is_not_cut():
    world = World()
    protocol, transport = authenticated(world)
    world.terminals.kick(SIM)
    assert transport.disconnecting
    protocol.connectionLost(Failure(ConnectionLost()))
    assert world.clock.getDelayedCalls() == []
    assert not transport.aborted


def test_a_refused_connection_is_aborted():
    world = World(limits=Limits(unregistered_max=1, log_peer_s=0.0))
    connect(world)
    protocol, transport = connect(world)
    assert transport.aborted
    protocol.dataReceived(frame(0x0002))
    protocol.connectionLost(Failure(ConnectionLost()))
    assert transport.value() == b""


def test_a_terminal_that_does_not_read_is_cut_off():
    world = World()
    protocol, transport = authenticated(world)
    protocol.pauseProducing()
    count = 0
    while not transport.aborted:
        count += 1
        protocol.dataReceived(frame(0x0002, b"", count & 0xFFFF))
        assert count < UNREAD_MAX
    assert count * 22 >= UNREAD_MAX
    protocol.connectionLost(Failure(ConnectionLost()))


def test_a_terminal_that_reads_again_is_not():
    world = World()
    protocol, transport = authenticated(world)
    for _ in range(5):
        protocol.pauseProducing()
        for count in range(UNREAD_MAX // 40):
            protocol.dataReceived(frame(0x0002, b"", count))
        protocol.resumeProducing()
    assert not transport.aborted


def test_noise_does_not_close_a_link_that_brings_good_messages():
    world = World()
    protocol, transport = authenticated(world)
    for count in range(50):
        protocol.dataReceived(bytes(range(256)) * 40 + b"\x7e" + frame(0x0002, b"", count))
        world.clock.advance(1.0)
    assert sum(msg_id == 0x8001 for msg_id, _ in answers(transport.value())) == 50
    assert not transport.disconnecting
    assert world.terminals.counts["frames dropped: checksum"] == 50


# ---- UDP --------------------------------------------------------------------------------------------------------------------


class Datagrams:
    """The UDP port and what was sent where."""

    def __init__(self, world: World) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.protocol = TerminalDatagrams(world.terminals, lambda host: "192.0.2.1")
        self.protocol.transport = self  # type: ignore[assignment]

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        self.sent.append((data, address))

    def receive(self, data: bytes, address: tuple[str, int]) -> list[tuple[int, bytes, tuple[str, int]]]:
        self.protocol.datagramReceived(data, address)
        sent, self.sent = self.sent, []
        return [(*answers(data)[0], address) for data, address in sent]


HERE, NAT, THERE = ("10.0.0.7", 5000), ("10.0.0.7", 6000), ("203.0.113.5", 5000)


def udp(world: World) -> Datagrams:
    world.rows.codes[SIM] = "right"
    datagrams = Datagrams(world)
    assert datagrams.receive(frame(0x0102, b"right"), HERE) == [(0x8001, b"\x00\x00\x01\x02\x00", HERE)]
    return datagrams


def test_a_datagram_holds_whole_frames_and_each_answer_is_one():
    world = World()
    datagrams = udp(world)
    replies = datagrams.receive(frame(0x0002, b"", 1) + frame(0x0002, b"", 2), HERE)
    assert replies == [(0x8001, b"\x00\x01\x00\x02\x00", HERE), (0x8001, b"\x00\x02\x00\x02\x00", HERE)]
    link = world.terminals.get(SIM).link
    assert (link.wire.transport, link.wire.peer, link.wire.local) == ("udp", "10.0.0.7:5000", "192.0.2.1")


def test_half_a_frame_is_not_joined_with_the_next_datagram():
    world = World()
    datagrams = udp(world)
    whole = frame(0x0002, b"", 1)
    assert datagrams.receive(whole[:9], HERE) == []
    assert datagrams.receive(whole[9:], HERE) == []
    assert datagrams.receive(whole, HERE) != []
    assert world.terminals.counts["datagrams not whole frames"] == 1
    assert world.terminals.counts["frames dropped: checksum"] == 1


def test_another_port_of_the_same_address_is_followed():
    world = World()
    datagrams = udp(world)
    assert datagrams.receive(frame(0x0002, b"", 1), NAT) == [(0x8001, b"\x00\x01\x00\x02\x00", NAT)]
    assert world.terminals.online_count == 1
    assert world.terminals.get(SIM).link.wire.peer == "10.0.0.7:6000"
    assert len(datagrams.protocol) == 1


def test_another_address_has_to_authenticate():
    world = World()
    datagrams = udp(world)
    assert datagrams.receive(frame(0x0002, b"", 1), THERE) == [(0x8001, b"\x00\x01\x00\x02\x01", THERE)]
    assert world.terminals.get(SIM).link.wire.host == "10.0.0.7"
    assert datagrams.receive(frame(0x0102, b"right", 2), THERE) == [(0x8001, b"\x00\x02\x01\x02\x00", THERE)]
    assert world.terminals.get(SIM).link.wire.host == "203.0.113.5"
    assert world.names()[-2:] == ["terminal.address_changed", "terminal.replaced"]
    assert len(datagrams.protocol) == 1


def test_open_follows_to_any_address_and_tells():
    world = World(registration="open")
    datagrams = udp(world)
    assert datagrams.receive(frame(0x0002, b"", 1), THERE) == [(0x8001, b"\x00\x01\x00\x02\x00", THERE)]
    [event] = [event for event in world.told if event["event"] == "terminal.address_changed"]
    assert (event["before"], event["now"]) == ("10.0.0.7", "203.0.113.5")


def test_many_terminals_behind_one_address_are_told_apart():
    world = World(registration="open")
    datagrams = Datagrams(world)
    for number in range(20):
        datagrams.receive(frame(0x0002, b"", 1, f"1390000{number:05}"), HERE)
    assert world.terminals.online_count == 20


def test_forged_numbers_cannot_fill_the_memory():
    world = World(limits=Limits(unregistered_max=10, log_peer_s=0.0))
    datagrams = Datagrams(world)
    for number in range(1000):
        datagrams.receive(frame(0x0002, b"", 1, f"1390000{number:05}"), HERE)
    assert len(datagrams.protocol) == 10
    world.clock.advance(30.0)
    assert len(datagrams.protocol) == 0


def test_the_end_of_a_datagram_link_forgets_it():
    world = World()
    datagrams = udp(world)
    world.clock.advance(180.0)
    assert len(datagrams.protocol) == 0
    assert not world.terminals.is_online(SIM)
    assert world.clock.getDelayedCalls() == []


def test_noise_in_a_datagram_is_counted():
    world = World()
    datagrams = Datagrams(world)
    datagrams.receive(b"GET / HTTP/1.1\r\n\r\n", HERE)
    datagrams.receive(b"\x7e\x01\x02\x7e", HERE)
    datagrams.receive(b"\x7e" + bytes(5000) + b"\x7e", HERE)
    assert world.terminals.counts["datagrams not whole frames"] == 1
    assert sum(n for name, n in world.terminals.counts.items() if name.startswith("frames dropped")) == 2


# ---- addresses ----------------------------------------------------------------------------------------------------------------


def test_addresses_are_shown_and_compared_plainly():
    assert plain("::ffff:10.0.0.7") == "10.0.0.7"
    assert plain("fe80::1") == "fe80::1"
    assert show("10.0.0.7", 1) == "10.0.0.7:1"
    assert show("fe80::1", 1) == "[fe80::1]:1"


def test_our_own_address_is_the_one_that_the_peer_reaches():
    source: Any = local_address_for("0.0.0.0")
    assert source("127.0.0.1") == "127.0.0.1"
    assert local_address_for("192.0.2.9")("127.0.0.1") == "192.0.2.9"
