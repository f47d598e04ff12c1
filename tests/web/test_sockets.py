"""Real sockets on loopback: TLS, clients that are slow or hostile, connections that change hands behind an unfinished answer."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint, SSL4ServerEndpoint, TCP4ServerEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.ssl import CertificateOptions, DefaultOpenSSLContextFactory
from twisted.internet.task import deferLater

from relay.net.sink import make_sink
from relay.web.websocket import Opcode
from tests.web.support import UPGRADE, Raw, Server, dial, listen, parse, request
from tests.web.world import Relay, picture, split


async def pause(seconds: float = 0.0) -> None:
    """Let the reactor turn."""
    await deferLater(reactor, seconds)


async def eventually(condition: Callable[[], bool], what: str = "") -> None:
    """Until it holds; polls, since what is waited for is the other end of a socket."""
    for _ in range(500):
        if condition():
            return
        await pause(0.01)
    raise AssertionError(what or "it never came")


def echo(req: Any) -> None:
    req.answer(200, req.uri, "text/plain")


async def closed(raw: Raw) -> None:
    """The client closes, and everything of it goes."""
    raw.transport.abortConnection()
    await raw.until(lambda: raw.lost)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate for localhost, made here."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    chain, private = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(private), str(chain)


async def serve(relay: Relay) -> Any:
    return await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(relay.site)


async def test_a_player_over_tcp_gets_the_stream_and_its_end() -> None:
    relay = Relay(sinks=make_sink)
    stream = relay.running()
    port = await serve(relay)
    raw = await dial(port, reactor)
    raw.transport.write(request("GET", f"/live/13800138000_1.flv?token={relay.media_token()}"))
    await eventually(lambda: stream.viewer_count() == 1)
    relay.clock.advance(0.2)
    await raw.until(lambda: raw.data.endswith(b"<H h264><K0>"))
    for number in range(1, 200):
        picture(stream, number * 40, key=number % 50 == 0)
    await raw.until(lambda: raw.data.endswith(b"<p7960>"))
    stream.end("over")
    await raw.until(lambda: raw.lost)
    await eventually(lambda: relay.site.open == 0)
    await port.stopListening()
    relay.end()


async def test_a_stream_behind_a_large_answer_on_the_same_connection_keeps_its_place() -> None:
    """The answer before may still lie in the transport's buffer when the connection is taken over."""
    relay = Relay(sinks=make_sink)
    stream = relay.running()
    port = await serve(relay)
    raw = await dial(port, reactor)
    raw.transport.write(
        request("GET", f"/api/v1/openapi.json?token={relay.api_token()}") * 8 + request("GET", f"/live/13800138000_1.flv?token={relay.media_token()}")
    )
    await eventually(lambda: stream.viewer_count() == 1)
    relay.clock.advance(0.2)
    await raw.until(lambda: raw.data.endswith(b"<H h264><K0>"))
    rest = raw.data
    for _ in range(8):
        answer, rest = parse(rest)
        assert answer.status == 200
        assert answer.json["openapi"] == "3.1.0"
    assert rest.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv")
    await closed(raw)
    await eventually(lambda: stream.viewer_count() == 0)
    await port.stopListening()
    relay.end()


@pytest.mark.parametrize("upgrade", [False, True])
async def test_over_tls(certificate: tuple[str, str], upgrade: bool) -> None:
    relay = Relay(sinks=make_sink)
    stream = relay.running()
    port = await SSL4ServerEndpoint(reactor, 0, DefaultOpenSSLContextFactory(*certificate), interface="127.0.0.1").listen(relay.site)
    place = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
    raw = await connectProtocol(wrapClientTLS(Trusting(), place), Raw())
    raw.transport.write(request("GET", f"/live/13800138000_1.mp4?token={relay.media_token()}", UPGRADE if upgrade else {}))
    await eventually(lambda: stream.viewer_count() == 1)
    relay.clock.advance(1.1)
    await raw.until(lambda: raw.data.endswith(b"<K0>"))
    for number in range(1, 100):
        picture(stream, number * 40)
    await raw.until(lambda: raw.data.endswith(b"<p3960>"))
    if upgrade:
        frames = split(raw.data.partition(b"\r\n\r\n")[2])
        assert [opcode for opcode, _ in frames[:3]] == [Opcode.TEXT, Opcode.BINARY, Opcode.BINARY]
    stream.end("over")
    await raw.until(lambda: raw.lost)
    if upgrade:
        assert split(raw.data.partition(b"\r\n\r\n")[2])[-1][0] == Opcode.CLOSE
    await eventually(lambda: relay.site.open == 0)
    await port.stopListening()
    relay.end()


class Trusting(CertificateOptions):
    """A client that takes any certificate."""

    def clientConnectionForTLS(self, tls: Any) -> Any:
        from OpenSSL.SSL import Connection

        connection = Connection(self.getContext(), None)
        connection.set_connect_state()
        return connection


async def test_clients_that_send_a_byte_now_and_then_are_closed_and_others_served() -> None:
    server = Server(echo, header_timeout_s=0.5)
    server.site.clock = reactor
    port = await listen(server.site, reactor)
    slow = [await dial(port, reactor) for _ in range(100)]
    text = request("GET", "/")
    for at in range(12):
        for raw in slow:
            if not raw.lost:
                raw.transport.write(text[at : at + 1])
        await pause(0.02)
    good = await dial(port, reactor)
    good.transport.write(request("GET", "/good"))
    await good.until(lambda: b"/good" in good.data)
    for raw in slow:
        await raw.until(lambda raw=raw: b"408" in raw.data or raw.lost)
        raw.transport.abortConnection()
    assert server.site.slow == 100
    await closed(good)
    await eventually(lambda: server.site.open == 0)
    await port.stopListening()


async def grown(work: Callable[[], Awaitable[None]]) -> int:
    """KiB by which the process' peak has grown."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


async def test_an_endless_chunked_body_costs_no_memory_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = Server(echo)
    server.site.clock = reactor
    port = await listen(server.site, reactor)
    raw = await dial(port, reactor)

    async def flood() -> None:
        raw.transport.write(request("POST", "/", {"Transfer-Encoding": "chunked"}))
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        while not raw.lost and b"413" not in raw.data:
            raw.transport.write(chunk)
            await pause()

    assert await grown(flood) < 8192
    assert parse(raw.data)[0].status == 413
    assert list(tmp_path.iterdir()) == []
    await closed(raw)
    await eventually(lambda: server.site.open == 0)
    await port.stopListening()


async def test_an_endless_websocket_message_is_cut_off() -> None:
    relay = Relay(sinks=make_sink)
    port = await serve(relay)
    raw = await dial(port, reactor)
    raw.transport.write(request("GET", f"/api/v1/events?token={relay.api_token()}", UPGRADE))
    await raw.until(lambda: b"\r\n\r\n" in raw.data)

    async def flood() -> None:
        raw.transport.write(b"\x02\xff" + (1 << 40).to_bytes(8, "big") + bytes(4))
        for _ in range(400):
            if raw.lost:
                break
            raw.transport.write(bytes(65536))
            await pause()

    assert await grown(flood) < 8192
    frames = split(raw.data.partition(b"\r\n\r\n")[2])
    assert (frames[-1][0], frames[-1][1][:2]) == (Opcode.CLOSE, (1009).to_bytes(2, "big"))
    await closed(raw)
    await eventually(lambda: relay.site.open == 0)
    await port.stopListening()
    relay.end()


async def test_a_viewer_that_stops_reading_costs_at_most_its_queue_and_goes_on_at_a_key_frame() -> None:
    relay = Relay(sinks=make_sink)
    stream = relay.running()
    port = await serve(relay)
    stuck, good = await dial(port, reactor), await dial(port, reactor)
    for raw in (stuck, good):
        raw.transport.write(request("GET", f"/live/13800138000_1.flv?token={relay.media_token()}", UPGRADE))
    await eventually(lambda: stream.viewer_count() == 2)
    relay.clock.advance(0.2)
    for raw in (stuck, good):
        await raw.until(lambda raw=raw: b"<K0>" in raw.data)
    stuck.transport.pauseProducing()
    for number in range(1, 250):
        size = len(good.data)
        picture(stream, number * 40, key=number % 10 == 0, size=20000)
        await good.until(lambda size=size: len(good.data) > size + 20000)  # the good one misses nothing
    queues = sorted((viewer.drops, viewer.queue_bytes) for viewer in stream.viewers())
    assert queues[0] == (0, 0)
    assert queues[1][0] > 0
    assert queues[1][1] <= 524288
    stuck.transport.resumeProducing()
    await eventually(lambda: all(viewer.queue_bytes == 0 for viewer in stream.viewers()))
    picture(stream, 40000, key=True)
    picture(stream, 40040)
    await eventually(lambda: stuck.data.endswith(b"<p40040>"))
    # every message is whole, and after each hole it goes on with a key frame
    payload = b"".join(data for opcode, data in split(stuck.data.partition(b"\r\n\r\n")[2]) if opcode == Opcode.BINARY)
    names = [part.strip(b"x>") for part in payload.split(b"<") if part[:1] in b"Kp" and part]
    assert b"".join(b"<" + name for name in names[-2:]) == b"<K40000<p40040"
    stamps = [(name[:1], int(name[1:])) for name in names]
    after_holes = {kind for (_, before), (kind, stamp) in itertools.pairwise(stamps) if stamp != before + 40}
    assert after_holes == {b"K"}
    for raw in (stuck, good):
        await closed(raw)
    await eventually(lambda: stream.viewer_count() == 0)
    await port.stopListening()
    relay.end()


async def test_a_page_and_the_server_understand_each_other() -> None:
    relay = Relay(sinks=make_sink)
    port = await serve(relay)
    raw = await dial(port, reactor)
    raw.transport.write(request("GET", f"/api/v1/events?token={relay.api_token()}", UPGRADE))
    await raw.until(lambda: b"\r\n\r\n" in raw.data)
    relay.online()
    await eventually(lambda: b"terminal.online" in raw.data)
    await closed(raw)
    await eventually(lambda: relay.site.open == 0)
    await port.stopListening()
    relay.end()
