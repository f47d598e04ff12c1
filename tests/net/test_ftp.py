"""The FTP server's fence without sockets: what may be said, log-ins, addresses, limits. Real clients are in tests/e2e/test_uploads.py."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.protocols import ftp
from twisted.python.failure import Failure

from relay.net.ftp import COMMANDS, HOST_MISSES_MAX, PER_TASK, WRITE_ONLY, FencedFTP, FtpServer
from relay.net.ftp_data import DataConnection
from tests.core.test_uploads import Site

PEER = "198.51.100.7"


class Ports(MemoryReactorClock):
    """A reactor whose ports may all be taken."""

    taken = False

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if self.taken:
            raise CannotListenError(interface, port, OSError("in use"))
        return super().listenTCP(port, factory, backlog, interface)


class World:
    """A server, one task, and clients that say a command at a time."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.site = Site(folder, advertise="203.0.113.10", passive_ports="30000-30003", **settings)
        self.task = self.site.uploading()
        self.reactor = Ports()
        self.server = FtpServer(self.reactor, self.site.world.clock, self.site.settings, self.site.uploads)

    def connect(self, host: str = PEER) -> Client | None:
        session = self.server.buildProtocol(IPv4Address("TCP", host, 40000))
        return Client(self, session, host) if isinstance(session, FencedFTP) else None

    def client(self) -> Client:
        """One that is logged in."""
        client = self.connect()
        assert client is not None
        assert client.login().startswith("230")
        return client


class Client:
    def __init__(self, world: World, session: FencedFTP, host: str) -> None:
        self.world = world
        self.session = session
        self.transport: Any = StringTransportWithDisconnection(IPv4Address("TCP", "192.0.2.1", 2121), IPv4Address("TCP", host, 40000))
        self.transport.protocol = session
        self.transport.abortConnection = self.transport.loseConnection
        session.makeConnection(self.transport)
        self.read()

    def read(self) -> str:
        text = self.transport.value().decode("latin-1")
        self.transport.clear()
        return text

    def say(self, command: str, *argument: str, wait: float = 0.0) -> str:
        """One command and its reply, as the inherited dispatcher makes it of the result."""
        failed: list[Failure] = []
        result: list[Any] = []
        maybeDeferred(self.session.processCommand, command, *argument).addCallbacks(result.append, failed.append)
        if wait:
            self.world.site.world.clock.advance(wait)
        for failure in failed:
            assert isinstance(failure.value, ftp.FTPCmdError), failure
            return str(failure.value.response())
        if result and result[0] is not None:
            self.session.reply(*(result[0] if isinstance(result[0], tuple) else (result[0],)))
        return self.read()

    def login(self, password: str = "") -> str:
        self.say("USER", self.world.task.id)
        return self.say("PASS", password or f"secret of ftp {self.world.task.id}", wait=5.0 if password else 0.0)

    def lose(self) -> None:
        if self.session.transport is not None:
            self.transport.loseConnection()


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    for session in list(made.server.connections):
        session.transport.loseConnection()
    made.site.end()


def test_before_the_log_in_nothing_is_done(world: World) -> None:
    client = world.connect()
    assert client is not None
    for command in ("STOR", "PASV", "CWD", "SIZE", "REST"):
        assert client.say(command, "x").startswith("530"), command
    assert client.say("PASS", "x").startswith("503")


def test_every_name_of_the_table_is_answered_and_no_other(world: World) -> None:
    client = world.client()
    for command, wants in COMMANDS.items():
        if command not in ("QUIT", "PASS", "USER", "PORT", "EPRT"):
            assert client.say(command, "1")[0] in "12345", command
            if wants:
                assert client.say(command)[0] == "5", command
    known = {name.removeprefix("ftp_") for name in dir(ftp.FTP) if name.startswith("ftp_")}
    for command in known - set(COMMANDS):
        reply = client.say(command, "x")
        assert reply.startswith("550" if command in WRITE_ONLY else "502"), command


def test_anything_said_is_answered_and_nothing_raises(world: World) -> None:
    dice = random.Random(2026)
    client = world.client()
    for _ in range(3000):
        command = dice.choice([name for name in COMMANDS if name not in ("QUIT", "USER", "PASS")])
        argument = "".join(map(chr, dice.choices(range(256), k=dice.randrange(20))))
        client.say(command, *((argument,) if dice.random() < 0.9 else ()))
        if client.session.transport is None:
            client = world.client()
    assert len(world.task.facts.files) <= 256


def test_wrong_passwords_are_slow_few_and_end_the_address(world: World) -> None:
    for number in range(HOST_MISSES_MAX):
        client = world.connect()
        if client is None:
            break
        assert client.login(f"wrong{number}").startswith("530")
        client.lose()
    assert world.connect() is None
    assert world.connect("198.51.100.8") is not None  # others are not affected
    world.site.world.clock.advance(61.0)
    assert world.connect() is not None


def test_three_wrong_ones_end_a_connection(world: World) -> None:
    client = world.connect()
    assert client is not None
    for number in range(3):
        assert client.session.transport is not None
        client.login(f"wrong{number}")
    assert client.session.transport is None


def test_a_task_has_so_many_connections_and_the_server_too(tmp_path: Path) -> None:
    world = World(tmp_path, connections_max=PER_TASK + 1)
    clients = [world.client() for _ in range(PER_TASK)]
    last = world.connect()
    assert last is not None
    assert last.login().startswith("421")
    assert world.task.connections == PER_TASK
    extra = world.connect()
    assert extra is not None
    assert world.connect() is None  # connections_max
    for client in [*clients, extra]:
        client.lose()
    assert world.task.connections == 0
    world.site.end()


def test_the_public_address_and_a_port_of_the_range_are_told(world: World) -> None:
    client = world.client()
    reply = client.say("PASV")
    assert reply.startswith("227 Entering Passive Mode (203,0,113,10,117,")  # 117 * 256 = 29952
    port, factory, *_ = world.reactor.tcpServers[-1]
    assert 30000 <= port <= 30003
    assert factory.buildProtocol(IPv4Address("TCP", "198.51.100.99", 5)) is None  # a stranger
    assert world.site.uploads.counts["data connections of strangers refused"] == 1
    assert isinstance(factory.buildProtocol(IPv4Address("TCP", PEER, 5)), DataConnection)
    assert factory.buildProtocol(IPv4Address("TCP", PEER, 6)) is None  # one only
    world.reactor.taken = True
    assert client.say("EPSV").startswith("425")


def test_active_connections_go_to_the_client_itself(world: World) -> None:
    client = world.client()
    assert client.say("PORT", "198,51,100,8,200,1").startswith("504")
    assert client.say("EPRT", f"|1|{PEER}|22|").startswith("504")
    assert not world.reactor.tcpClients
    client.say("EPRT", f"|1|{PEER}|51201|")
    assert world.reactor.tcpClients[-1][:2] == (PEER, 51201)


@pytest.mark.parametrize(("end", "reply", "complete"), [(ConnectionDone(), "226", True), (ConnectionLost(), "426", False)])
def test_a_file_through_a_data_connection(world: World, end: Exception, reply: str, complete: bool) -> None:
    client = world.client()
    client.say("EPSV")
    data = world.reactor.tcpServers[-1][1].buildProtocol(IPv4Address("TCP", PEER, 5))
    transport = StringTransportWithDisconnection()
    transport.protocol = data
    data.makeConnection(transport)
    assert transport.producerState == "paused"  # nothing is read before there is somewhere to put it
    assert client.say("STOR", "clip.h264").startswith("150")
    assert transport.producerState == "producing"
    data.dataReceived(b"hello")
    data.connectionLost(Failure(end))
    assert client.read().startswith(reply)
    stored = world.task.facts.files["clip.h264"]
    assert (stored.size, stored.complete) == (5, complete)


def test_a_data_connection_that_never_comes(world: World) -> None:
    client = world.client()
    client.say("EPSV")
    assert client.say("STOR", "clip.h264").startswith("150")
    world.site.world.clock.advance(31.0)
    assert client.read().startswith("425")
    assert not world.task.open
    assert client.say("STOR", "clip.h264").startswith("503")  # a new one has to be asked for


def test_a_control_connection_that_goes_takes_its_file_along(world: World) -> None:
    client = world.client()
    client.say("EPSV")
    client.say("STOR", "clip.h264")
    client.lose()
    assert not world.task.open
    assert world.task.facts.files["clip.h264"].problem == "broken_off"


def test_nobody_is_served_while_no_task_is_open(world: World) -> None:
    world.task.control("cancel")
    assert world.connect() is None
