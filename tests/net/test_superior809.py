"""JT/T 809 on its sockets: what has been delivered, buffers, closing, TLS."""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from relay.core.superior_link import SuperiorLink
from relay.errors import ConfigError
from relay.jt809.header import Header, encode_frame
from relay.jt809.link import Phase
from relay.net.superior809 import CLOSE_S, MainConnector, SublinkFactory, SuperiorProtocol, _Acknowledged, client_tls
from tests.core.superior_world import CODE, SuperiorWorld, superior_settings


class Transport(StringTransport):
    """Notes how it is closed."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True

    def setTcpKeepAlive(self, on: bool) -> None: ...

    def setTcpNoDelay(self, on: bool) -> None: ...


class Main(SuperiorProtocol):
    """A main link that the test makes."""

    def __init__(self, world: SuperiorWorld) -> None:
        super().__init__(world.clock, None, False)
        self.world = world

    def open_link(self, local: str) -> SuperiorLink | None:
        return self.world["a"].connected(self, local)


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = SuperiorWorld(tmp_path, superior_settings())
    yield made
    made.finish()


def login(protocol: SuperiorProtocol) -> None:
    """0x1002 with 0."""
    protocol.dataReceived(encode_frame(Header(0x1002, 0, 44030001), struct.pack(">BI", 0, CODE)))


def test_a_main_link_over_a_transport(world: SuperiorWorld) -> None:
    protocol, transport = Main(world), Transport()
    protocol.makeConnection(transport)
    assert transport.value().startswith(b"\x5b") and transport.value()[9:11] == b"\x10\x01"
    transport.clear()
    login(protocol)
    world.clock.advance(0.01)
    assert transport.value()[9:11] == b"\x17\x00"
    assert world["a"].main is not None and world["a"].main.up
    protocol.pauseProducing()
    assert world["a"].main.full
    protocol.resumeProducing()
    world["a"].disconnect()
    assert world["a"].main is not None and world["a"].main.core.phase is Phase.LEAVING
    world.clock.advance(5.0)
    assert transport.disconnecting and not transport.aborted
    world.clock.advance(CLOSE_S)
    assert transport.aborted, "a superior that does not take our last words"
    protocol.connectionLost(Failure(ConnectionDone()))
    assert world["a"].open_links == set()


def test_a_subordinate_link_that_is_not_wanted_is_cut_at_once(world: SuperiorWorld) -> None:
    factory = SublinkFactory(world.superiors, "0.0.0.0", 1, world.clock)
    protocol, transport = factory.buildProtocol(None), Transport()
    protocol.makeConnection(transport)
    assert transport.aborted and protocol.link is None
    protocol.dataReceived(b"whatever")
    protocol.connectionLost(Failure(ConnectionDone()))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's TCP")
def test_what_the_peers_tcp_has_acknowledged_also_after_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    acknowledged = _Acknowledged(ours, True)
    assert acknowledged.get() == 0
    ours.sendall(b"x" * 1000)
    while acknowledged.get() != 1000:
        os.sched_yield()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.recv(10)
    theirs.close()
    with pytest.raises(ConnectionResetError):
        ours.recv(1)
    ours.close()
    acknowledged.close()
    assert acknowledged.get() == 1000
    assert _Acknowledged(StringTransport(), True).get() is None, "nothing to ask"


def test_tls_that_cannot_be_set_up_is_a_failed_attempt_with_its_reason(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with pytest.raises(ConfigError, match="TLS cannot be set up"):
        client_tls(superior_settings(tls=True, tls_ca=str(tmp_path / "nowhere.pem")))
    with pytest.raises(ConfigError, match="TLS cannot be set up"):
        client_tls(superior_settings(tls=True, tls_certificate=str(bad), tls_key=str(bad)))
    world = SuperiorWorld(tmp_path, superior_settings(tls=True, tls_ca=str(tmp_path / "nowhere.pem")))
    clock = Clock()
    MainConnector(clock, clock).connect(world["a"])
    clock.advance(0)
    assert "TLS cannot be set up" in world["a"].problem
    world.finish()
