"""Publishing over real sockets and TLS: what a server receives, certificates, addresses, a server that does not read."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock

from relay.core.fence import Fence
from relay.core.push import PushFailed
from relay.hub.formats import OutputFormat
from relay.mux import amf0
from relay.net.push import Dialler
from relay.net.tls import ReloadingCertificate, wrap
from relay.rtmp.chunks import COMMAND, DATA, VIDEO, ChunkReader, Message
from relay.rtmp.commands import command, read_command, status
from relay.rtmp.handshake import ServerHandshake
from relay.rtmp.url import parse_push_url
from tests.hub.support import Hub
from tests.net.test_media1078 import ensure, wait_for

reactor: Any = global_reactor
FLV = OutputFormat(media="v")


class Publisher(Protocol):
    """An outside server's end of one connection: takes every publication, keeps what comes."""

    def __init__(self, server: OutsideServer) -> None:
        self.server = server
        self.shake = ServerHandshake(bytes(ServerHandshake.NOISE))
        self.reader = ChunkReader()
        self.messages: list[Message] = []
        self.commands: list[str] = []
        self.lost = False

    def connectionMade(self) -> None:
        self.server.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        if not self.shake.done:
            self.transport.write(self.shake.receive(data, 0))  # type: ignore[union-attr]
            data = self.shake.rest if self.shake.done else b""
        for message in self.reader.receive(data):
            if message.type != COMMAND:
                self.messages.append(message)
                continue
            request = read_command(message)
            self.commands.append(request.name)
            answer = {
                "connect": command("_result", 1, None, {"code": "NetConnection.Connect.Success"}),
                "createStream": command("_result", request.transaction, None, 1),
                "publish": status("status", "NetStream.Publish.Start", "go", 1),
            }.get(request.name, b"")
            self.transport.write(self.server.refusal if request.name == "publish" and self.server.refusal else answer)  # type: ignore[union-attr]

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self.lost = True


class OutsideServer:
    """On a port of its own."""

    def __init__(self, certificate: tuple[str, str] | None = None) -> None:
        self.connections: list[Publisher] = []
        self.refusal = b""
        factory = Factory.forProtocol(lambda: Publisher(self))
        factory.noisy = False
        wrapped: Any = factory
        if certificate is not None:
            wrapped = wrap(factory, ReloadingCertificate(*certificate, lambda: 0.0), reactor)
        self.port = reactor.listenTCP(0, wrapped, interface="127.0.0.1")
        self.number = self.port.getHost().port
        self.dialler = Dialler(reactor, Clock(), Fence(["127.0.0.0/8"]))

    async def dial(self, host: str = "127.0.0.1", scheme: str = "rtmp", trusted: bool = False, tls_ca: str = "") -> Any:
        return await self.dialler(parse_push_url(f"{scheme}://{host}:{self.number}/live/car?key=1"), trusted, tls_ca)

    async def publish(self, **more: Any) -> Any:
        link = await self.dial(**more)
        await link.publish(parse_push_url(f"rtmp://127.0.0.1:{self.number}/live/car?key=1"), "name", ())
        return link

    async def stop(self) -> None:
        for connection in [each for each in self.connections if not each.lost]:
            connection.transport.abortConnection()  # type: ignore[union-attr]
        await wait_for(lambda: all(connection.lost for connection in self.connections))
        await self.port.stopListening()


def certificate(folder: Path, *names: str) -> tuple[str, str]:
    """A self-signed certificate for these names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "outside")])
    now = datetime.datetime.now(datetime.UTC)
    alternative: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
    ]  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain_file, key_file = folder / "chain.pem", folder / "key.pem"
    chain_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(chain_file), str(key_file)


def with_server(test: Callable[[OutsideServer], Coroutine[Any, Any, None]], tls: tuple[str, str] | None = None) -> Deferred[Any]:
    async def run() -> None:
        server = OutsideServer(tls)
        try:
            await test(server)
        finally:
            await server.stop()

    return ensure(run())


def test_a_server_gets_metadata_header_and_pictures_and_at_the_end_the_last_words() -> Deferred[Any]:
    async def test(server: OutsideServer) -> None:
        hub = Hub(real=True)
        stream = hub.open()
        hub.dts = 1_000_000
        hub.feed(stream, "KP", b"x" * 10_000)
        link = await server.publish()
        viewer = stream.attach(FLV, link.sink, farewell=link.farewell)
        hub.feed(stream, "P", b"y" * 200_000)
        (there,) = server.connections
        await wait_for(lambda: len(there.messages) == 5)
        assert [(message.type, message.timestamp) for message in there.messages] == [(DATA, 0), (VIDEO, 0), (VIDEO, 0), (VIDEO, 40), (VIDEO, 80)]
        reader = amf0.Reader(there.messages[0].body)
        assert (reader.value(), reader.value()) == ("@setDataFrame", "onMetaData")
        assert there.messages[-1].body.endswith(b"y" * 200_000)
        assert link.sent_bytes > 220_000
        viewer.close("stopped")
        await wait_for(lambda: there.lost)
        assert there.commands == ["connect", "releaseStream", "FCPublish", "createStream", "publish", "FCUnpublish", "deleteStream"]

    return with_server(test)


def test_a_server_that_does_not_read_gets_whole_messages_and_then_a_key_frame() -> Deferred[Any]:
    async def test(server: OutsideServer) -> None:
        hub = Hub(real=True, queue_bytes=200_000)
        stream = hub.open()
        hub.feed(stream, "K", b"first")
        link = await server.publish()
        (there,) = server.connections
        there.transport.pauseProducing()  # type: ignore[union-attr]
        viewer = stream.attach(FLV, link.sink)
        most = 0
        for _ in range(400):
            hub.feed(stream, "P", b"p" * 50_000)
            most = max(most, viewer.queue_bytes)
        assert viewer.drops
        assert most < 200_000 + 2 * 50_000
        assert len(link.transport.dataBuffer) + link.transport._tempDataLen < 400_000
        hub.feed(stream, "K", b"fresh")
        there.transport.resumeProducing()  # type: ignore[union-attr]
        await wait_for(lambda: there.messages and there.messages[-1].body.endswith(b"fresh"))
        await wait_for(lambda: viewer.state == "live")
        hub.feed(stream, "P", b"last")
        await wait_for(lambda: there.messages[-1].body.endswith(b"last"))
        assert [message.body[:2] for message in there.messages[-2:]] == [b"\x17\x01", b"\x27\x01"]
        viewer.close("stopped")

    return with_server(test)


def test_a_refusal_and_a_loss_are_told_in_words() -> Deferred[Any]:
    async def test(server: OutsideServer) -> None:
        server.refusal = status("error", "NetStream.Publish.BadName", "already publishing", 1)
        with pytest.raises(PushFailed, match=r"the server refuses: NetStream\.Publish\.BadName: already publishing"):
            await server.publish()
        server.refusal = b""
        link = await server.publish()
        told: list[str] = []
        link.on_lost = told.append
        server.connections[-1].transport.loseConnection()  # type: ignore[union-attr]
        await wait_for(lambda: told)
        assert told == ["the server closed the connection"]
        link = await server.publish()
        link.on_lost = told.append
        link.close()
        await wait_for(lambda: server.connections[-1].lost)
        assert len(told) == 1, "one that we end is no news"

    return with_server(test)


def test_rtmps_with_the_servers_own_authority(tmp_path: Path) -> Deferred[Any]:
    files = certificate(tmp_path, "localhost", "127.0.0.1")

    async def test(server: OutsideServer) -> None:
        for host in ("127.0.0.1", "localhost"):
            link = await server.publish(host=host, scheme="rtmps", tls_ca=files[0])
            assert server.connections[-1].commands[-1] == "publish"
            link.close()

    return with_server(test, files)


@pytest.mark.parametrize(
    ("names", "trust", "words"),
    [
        (("localhost", "127.0.0.1"), False, "TLS: certificate verify failed"),
        (("elsewhere.example",), True, "TLS: the server's certificate is for another host"),
    ],
)
def test_rtmps_to_somebody_else_carries_nothing(tmp_path: Path, names: tuple[str, ...], trust: bool, words: str) -> Deferred[Any]:
    files = certificate(tmp_path, *names)

    async def test(server: OutsideServer) -> None:
        with pytest.raises(PushFailed) as caught:
            await server.publish(host="localhost", scheme="rtmps", tls_ca=files[0] if trust else "")
        assert str(caught.value) == words
        assert not any(connection.commands for connection in server.connections)

    return with_server(test, files)


def test_where_it_does_not_connect_to(tmp_path: Path) -> Deferred[Any]:
    async def test(server: OutsideServer) -> None:
        server.dialler = Dialler(reactor, Clock(), Fence())
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(PushFailed, match="is not a public address"):
                await server.dial(host)
        (await server.dial("localhost", trusted=True)).close()
        with pytest.raises(PushFailed, match="has no address"):
            await server.dial("nowhere.invalid")
        with pytest.raises(PushFailed, match="no certificates"):
            await server.dial("127.0.0.1", "rtmps", True, str(tmp_path / "none.pem"))
        (tmp_path / "empty.pem").write_text("")
        with pytest.raises(PushFailed, match="no certificates"):
            await server.dial("127.0.0.1", "rtmps", True, str(tmp_path / "empty.pem"))
        await server.port.stopListening()
        with pytest.raises(PushFailed, match=f"127.0.0.1:{server.number}: connection refused"):
            await server.dial("127.0.0.1", trusted=True)
        server.port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")

    return with_server(test)
