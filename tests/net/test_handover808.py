"""Terminals' connections from one process to the next, over real sockets: two halves of one test process play both."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet import reactor as installed

from relay.jt808.header import Header
from relay.net import handover808
from relay.net.handover808 import UNSENT_MAX, Adoption
from relay.net.terminal808 import TerminalDatagrams, TerminalFactory, TerminalProtocol, local_address_for
from relay.wire.plain import Plain
from tests.core.fakes import PHONE, SIM, World

reactor: Any = installed


def frame(msg_id: int, body: bytes = b"", serial: int = 0) -> bytes:
    return Header(msg_id, PHONE, serial).encode(body)


@pytest.fixture
def terminal() -> Iterator[tuple[socket.socket, int]]:
    """The terminal's socket, and the descriptor of the other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    far.setblocking(False)
    near.settimeout(5)
    yield near, far.detach()
    near.close()
    for transport in {*reactor.getReaders(), *reactor.getWriters()}:
        if isinstance(getattr(transport, "protocol", None), TerminalProtocol):
            transport.abortConnection()
    reactor.runUntilCurrent()


def online(world: World, number: int) -> TerminalProtocol:
    world.rows.codes[SIM] = "right"
    made: list[TerminalProtocol] = []
    factory = TerminalFactory(world.terminals)
    build = factory.buildProtocol

    def remembered(addr: object) -> TerminalProtocol:
        made.append(build(addr))
        return made[0]

    factory.buildProtocol = remembered  # type: ignore[method-assign]
    reactor.adoptStreamConnection(number, socket.AF_INET, factory)
    os.close(number)
    made[0].dataReceived(frame(0x0102, b"right"))
    return made[0]


def through_json(carried: list[dict[str, Any]]) -> list[Plain]:
    return [Plain(one, f"terminals[{at}]") for at, one in enumerate(json.loads(json.dumps(carried)))]


def test_the_connection_is_the_same_and_what_was_not_sent_comes_first(terminal: tuple[socket.socket, int]) -> None:
    near, far = terminal
    former = World()
    protocol = online(former, far)
    handover808.hold(former.terminals)
    assert protocol.transport not in reactor.getReaders()
    carried = handover808.leave(former.terminals)
    assert [bytes.fromhex(one["unsent"]) for one in carried] == [frame(0x8001, b"\x00\x00\x01\x02\x00")], "Twisted had not written it yet"
    assert os.get_inheritable(carried[0]["fd"])
    assert protocol.transport not in reactor.getWriters()
    assert former.terminals.connected(former.online) is None  # type: ignore[arg-type]
    near.sendall(frame(0x0002, serial=1))  # in between

    world = World(former.rows)
    adopted = Adoption(reactor, world.terminals, None, None).take(through_json(carried))
    assert adopted == (1, 0, 0)
    with pytest.raises(OSError):
        os.fstat(carried[0]["fd"])
    carrier = world.terminals.get(SIM).link.wire.protocol  # type: ignore[union-attr]
    carrier.transport.doWrite()
    carrier.transport.doRead()
    carrier.transport.doWrite()
    assert near.recv(1000) == frame(0x8001, b"\x00\x00\x01\x02\x00") + frame(0x8001, b"\x00\x01\x00\x02\x00", 1)


def test_a_terminal_that_has_gone_meanwhile_is_counted(terminal: tuple[socket.socket, int]) -> None:
    near, far = terminal
    former = World()
    online(former, far)
    carried = handover808.leave(former.terminals)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    near.close()  # a reset
    world = World(former.rows)
    assert Adoption(reactor, world.terminals, None, None).take(through_json(carried)) == (0, 0, 1)
    assert world.terminals.counts["links not carried on: closed"] == 1
    assert not world.terminals.is_online(SIM)


@pytest.mark.parametrize("damage", [{"fd": "x"}, {"fd": 2}, {"unsent": "zz"}, {"link": 3}, {"link": {"session": {}, "failures": 0}}, {"fd": 999_999}])
def test_a_damaged_state_costs_its_connection_and_is_one_line(terminal: tuple[socket.socket, int], damage: dict[str, Any]) -> None:
    near, far = terminal
    former = World()
    online(former, far)
    carried = handover808.leave(former.terminals)
    world = World(former.rows)
    assert Adoption(reactor, world.terminals, None, None).take(through_json([carried[0] | damage])) == (0, 0, 1)
    if "fd" in damage:
        os.close(carried[0]["fd"])
    reactor.runUntilCurrent()  # Twisted aborts a connection with its next turn
    try:
        assert near.recv(100) == b""
    except ConnectionResetError:
        pass
    assert list(world.terminals.links()) == []


def test_one_that_does_not_read_at_all_is_not_carried(terminal: tuple[socket.socket, int]) -> None:
    _, far = terminal
    former = World()
    protocol = online(former, far)
    protocol.transport.write(bytes(UNSENT_MAX + 1))  # type: ignore[union-attr]
    assert handover808.leave(former.terminals) == []
    assert former.terminals.counts["links cut: not reading"] == 1
    protocol.transport.getHandle().close()  # type: ignore[union-attr]


def test_udp_sessions_go_on_at_their_address() -> None:
    class Port:
        sent: list[tuple[bytes, Any]]

        def __init__(self) -> None:
            self.sent = []

        def write(self, data: bytes, address: Any) -> None:
            self.sent.append((data, address))

    former, address = World(), ("10.0.0.7", 40000)
    former.rows.codes[SIM] = "right"
    old = TerminalDatagrams(former.terminals, local_address_for("127.0.0.1"))
    old.transport = Port()  # type: ignore[assignment]
    old.datagramReceived(frame(0x0102, b"right"), address)
    carried = handover808.leave(former.terminals)
    assert [(one["host"], one["port"]) for one in carried] == [address]

    world, port = World(former.rows), Port()
    new = TerminalDatagrams(world.terminals, local_address_for("127.0.0.1"))
    new.transport = port  # type: ignore[assignment]
    assert Adoption(reactor, world.terminals, None, new).take(through_json(carried)) == (0, 1, 0)
    new.datagramReceived(frame(0x0002, serial=1), address)
    assert port.sent == [(frame(0x8001, b"\x00\x01\x00\x02\x00", 1), address)]
    assert len(new) == 1

    closed = World(former.rows)
    assert Adoption(reactor, closed.terminals, None, None).take(through_json(carried)) == (0, 0, 1)
    assert closed.terminals.counts["links not carried on: terminals.udp_port is off"] == 1


def test_tls_links_end_because_their_keys_cannot_leave_the_process() -> None:
    world = World()
    device = world.online(transport="tls")
    assert handover808.end_the_others(world.terminals, "the relay restarts") == 1
    assert device.wire.closed == "the relay restarts"
    assert handover808.leave(world.terminals) == []
