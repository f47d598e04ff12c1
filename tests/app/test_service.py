"""The whole relay in this process: starts on its sockets, shows a simulated terminal's picture, stops in order."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from relay.app.config import Loaded
from relay.app.demo import Demo, demo_settings
from relay.app.listening import FreePorts
from relay.app.ports import listeners
from relay.app.service import Relay, differing
from relay.errors import ConfigError, RelayError
from relay.settings import Settings
from relay.sim.terminal import SimulatedTerminal, TerminalOptions
from relay.store import terminals
from relay.store.database import connect, in_transaction
from relay.store.schema import LATEST
from tests.conftest import LoggedErrors
from tests.ports import free_port
from tests.postgres import Server

PHONE = "013800138000"


def settings_in(folder: Path, **sections: dict[str, Any]) -> Settings:
    """The demonstration's settings, each port a free one."""
    with FreePorts() as free:
        settings = demo_settings(folder, free)
    settings = replace(settings, media=replace(settings.media, talk_extra_ports=""))
    for key, *_ in listeners(settings):
        section, _, name = key.partition(".")
        if name.endswith("_port") or name == "port":
            settings = replace(settings, **{section: replace(getattr(settings, section), **{name: free_port()})})
    for section, values in sections.items():
        settings = replace(settings, **{section: replace(getattr(settings, section), **values)})
    return settings


def make(folder: Path, **sections: dict[str, Any]) -> Relay:
    settings = settings_in(folder, **sections)
    return Relay(lambda: Loaded(settings, None, "configuration: this test's"), reactor)


async def started(relay: Relay) -> Relay:
    ready: Deferred[Any] = Deferred()
    relay.on_ready.append(ready.callback)
    relay.privilegedStartService()
    relay.startService()
    await ready
    return relay


async def until(condition: Callable[[], Any], what: str, seconds: float = 15.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        await deferLater(reactor, 0.02)
    return found


class Client(Protocol):
    """Sends a request and keeps what comes."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.data = b""
        self.over = False

    def connectionMade(self) -> None:
        self.transport.write(self.request)

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.over = True


def ask(port: int, path: str, token: str = "", tls: bool = False) -> Client:
    """A GET on loopback."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    client = Client(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}Connection: close\r\n\r\n".encode())
    factory = ClientFactory()
    factory.noisy = False
    factory.buildProtocol = lambda address: client  # type: ignore[method-assign]
    if tls:
        reactor.connectSSL("127.0.0.1", port, factory, CertificateOptions(verify=False))  # type: ignore[attr-defined]
    else:
        reactor.connectTCP("127.0.0.1", port, factory)  # type: ignore[attr-defined]
    return client


async def answer(port: int, path: str, token: str = "", tls: bool = False) -> tuple[int, Any]:
    client = ask(port, path, token, tls)
    await until(lambda: client.over, path)
    head, _, body = client.data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body[:1] in (b"{", b"[") else body


async def test_the_store_may_be_postgresql(tmp_path: Path, postgres: Server) -> None:
    url = postgres.fresh()
    relay = await started(make(tmp_path, store={"url": url, "directory": str(tmp_path)}, terminals={"registration": "first-seen"}))
    terminal = SimulatedTerminal(PHONE, reactor, TerminalOptions(port=relay.listeners.port("terminals.tcp_port"), host="127.0.0.1"))
    terminal.start()
    await until(lambda: terminal.online, "online")
    await terminal.stop()
    await relay.stopService()
    assert postgres.psql("SELECT key, origin, auth_hash IS NOT NULL FROM terminals", url) == "13800138000|first-seen|t"
    assert (tmp_path / "signing.key").exists()


async def test_it_starts_on_every_socket_and_stops_without_leaving_anything(tmp_path: Path) -> None:
    relay = await started(make(tmp_path))
    described = relay.listeners.described()
    for key in ("terminals.tcp_port", "terminals.udp_port", "media.live_tcp_port", "media.playback_tcp_port", "http.port"):
        assert f"{key} " in described
    port = relay.listeners.port("http.port")
    assert await answer(port, "/healthz") == (200, {"ok": True, "problems": []})
    assert await answer(port, "/readyz") == (200, {"ok": True, "problems": []})
    assert (await answer(port, "/"))[0] == 200
    assert (await answer(port, "/api/v1/status"))[0] == 401
    assert relay.signer is not None
    status, body = await answer(port, "/api/v1/status", relay.signer.api("viewer", 60, time.time()))
    assert status == 200
    assert body["ready"] is True
    status, text = await answer(port, "/metrics", relay.signer.api("viewer", 60, time.time()))
    assert status == 200
    names = [line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE ")]
    assert len(names) == len(set(names))
    assert b"\njt1078relay_unhandled_total 0.0\n" in text
    await relay.stopService()
    connection = sqlite3.connect(tmp_path / "relay.db")
    assert connection.execute("PRAGMA user_version").fetchone() == (LATEST,)
    connection.close()


async def test_a_terminals_picture_reaches_a_player_and_the_end_is_told_to_both(tmp_path: Path) -> None:
    relay = await started(make(tmp_path))
    options = TerminalOptions(port=relay.listeners.port("terminals.tcp_port"), edition=2019, channels=(1,))
    terminal = SimulatedTerminal(PHONE, reactor, options)
    terminal.start()
    assert relay.parts is not None
    assert relay.signer is not None
    await until(lambda: relay.parts.terminals.is_online(PHONE), "online")  # type: ignore[union-attr]
    token = relay.signer.media("13800138000_*", 60, time.time())
    player = ask(relay.listeners.port("http.port"), f"/live/{PHONE}_1.flv?token={token}")
    await until(lambda: len(player.data) > 50000, "media")
    head, _, body = player.data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: video/x-flv" in head
    assert body.startswith(b"FLV\x01")
    begun = time.monotonic()
    await relay.stopService()
    assert time.monotonic() - begun < 10
    await until(lambda: player.over, "the player's end")
    await until(lambda: terminal.received and any(message.header.msg_id == 0x9102 for message in terminal.received), "0x9102")
    await terminal.stop()


async def test_a_step_of_stopping_that_fails_does_not_keep_the_others_from_being_taken(
    tmp_path: Path, logged_errors: LoggedErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = await started(make(tmp_path))
    assert relay.parts is not None
    parts = relay.parts

    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(parts.live, "close", broken)
    await relay.stopService()
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert parts.pool.joined
    assert relay.store.database.waiting == 0
    for call in reactor.getDelayedCalls():  # type: ignore[attr-defined]
        call.cancel()  # what the step that failed would have cancelled


async def test_known_terminals_are_added_and_removed_while_it_runs(tmp_path: Path) -> None:
    relay = await started(make(tmp_path, terminals={"registration": "known"}))
    told: list[str] = []
    options = TerminalOptions(port=relay.listeners.port("terminals.tcp_port"))
    terminal = SimulatedTerminal(PHONE, reactor, options, told=lambda _, what: told.append(what))
    terminal.start()
    await until(lambda: any("refused" in what for what in told), "refusal")
    assert not terminal.online
    command = connect(tmp_path / "relay.db")
    in_transaction(command, lambda c: terminals.add(c, terminals.KnownTerminal("13800138000"), time.time()))
    await until(lambda: terminal.online, "online")
    in_transaction(command, lambda c: terminals.remove(c, "13800138000"))
    command.close()
    await until(lambda: not terminal.online, "closed by the operator")
    await terminal.stop()
    await relay.stopService()


async def test_a_preset_code_opens_without_registration(tmp_path: Path) -> None:
    relay = make(tmp_path, terminals={"registration": "known"})
    command = connect(tmp_path / "relay.db")
    in_transaction(command, lambda c: terminals.add(c, terminals.KnownTerminal("13800138000"), time.time(), "preset-code"))
    command.close()
    await started(relay)
    options = TerminalOptions(port=relay.listeners.port("terminals.tcp_port"), auth_code="preset-code")
    terminal = SimulatedTerminal(PHONE, reactor, options)
    terminal.start()
    await until(lambda: terminal.online, "online")
    assert terminal.registered_count == 0
    await terminal.stop()
    await relay.stopService()


def certificate(folder: Path) -> tuple[str, str]:
    """A self-signed one for loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return str(folder / "cert.pem"), str(folder / "key.pem")


async def test_tls_on_a_port_of_its_own_and_on_the_only_one(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    tls = {"tls_certificate": chain, "tls_key": key}
    relay = await started(make(tmp_path, http={**tls, "tls_port": free_port()}, terminals={**tls}))
    assert (await answer(relay.listeners.port("http.port"), "/healthz"))[0] == 200
    assert (await answer(relay.listeners.port("http.tls_port"), "/healthz", tls=True))[0] == 200
    terminal = SimulatedTerminal(PHONE, reactor, TerminalOptions(port=relay.listeners.port("terminals.tcp_port"), tls=True))
    terminal.start()
    await until(lambda: terminal.online, "online over TLS")
    assert relay.parts is not None
    (online,) = relay.parts.terminals.online()
    assert online.link is not None
    assert online.link.wire.transport == "tls"
    await terminal.stop()
    await relay.stopService()


async def test_a_certificate_that_is_none_is_a_fault_of_its_key(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing of the sort")
    relay = make(tmp_path, http={"tls_certificate": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "cert.pem")})
    with pytest.raises(ConfigError, match=r"http\.tls_certificate"):
        relay.startService()
    await relay.stopService()


async def test_a_store_that_cannot_be_opened_ends_the_start_and_gives_the_ports_back(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "relay.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    relay = make(tmp_path)
    with pytest.raises(RelayError, match="newer version"):
        relay.startService()
    await relay.stopService()
    again = make(tmp_path / "other", http={"port": relay.settings.http.port})
    await started(again)
    await again.stopService()


async def test_readiness_falls_when_the_store_is_locked_and_live_goes_on(tmp_path: Path) -> None:
    relay = await started(make(tmp_path))
    assert relay.parts is not None
    relay.parts.health.stop()
    other = sqlite3.connect(tmp_path / "relay.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    relay.parts.health.start()
    await until(lambda: relay.store.database.waiting, "the write")
    port = relay.listeners.port("http.port")
    assert (await answer(port, "/readyz"))[0] == 200, "a moment's lock is no fault"
    status, body = await until_not_ready(port)
    assert (status, body) == (503, {"ok": False, "problems": ["the store does not answer"]})
    assert (await answer(port, "/healthz"))[0] == 200
    other.execute("COMMIT")
    other.close()
    await until(lambda: not relay.parts.problems(), "recovery")  # type: ignore[union-attr]
    await relay.stopService()


async def until_not_ready(port: int) -> tuple[int, Any]:
    deadline = time.monotonic() + 15
    while True:
        found = await answer(port, "/readyz")
        if found[0] == 503 or time.monotonic() > deadline:
            return found
        await deferLater(reactor, 0.2)


async def test_reloading_rotates_the_key_and_keeps_what_it_had_on_a_fault(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, auth={"signing_key": "the first key of this test"})
    now: list[Settings | RelayError] = [settings]

    def read() -> Loaded:
        if isinstance(now[0], RelayError):
            raise now[0]
        return Loaded(now[0], None, "configuration: this test's")

    relay = await started(Relay(read, reactor))
    assert relay.signer is not None
    before = relay.signer.api("admin", 600, time.time())
    now[0] = RelayError("nonsense")
    relay.reload()
    assert relay.signer.check_api(before, time.time())
    now[0] = replace(settings, auth=replace(settings.auth, signing_key="the second key of this test", signing_key_old="the first key of this test"))
    relay.reload()
    assert relay.signer.check_api(before, time.time())
    now[0] = replace(settings, auth=replace(settings.auth, signing_key="the second key of this test"))
    relay.reload()
    port = relay.listeners.port("http.port")
    assert (await answer(port, "/api/v1/status", before))[0] == 401
    assert (await answer(port, "/api/v1/status", relay.signer.api("viewer", 60, time.time())))[0] == 200
    assert differing(settings, replace(settings, http=replace(settings.http, port=1, keepalive_s=2.0))) == ["http.port", "http.keepalive_s"]
    await relay.stopService()


async def test_the_demonstration_shows_moving_pictures_of_its_terminals(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    demo = Demo(reactor)
    folder = demo.store.path.parent
    await started(demo)
    assert demo.parts is not None
    await until(lambda: demo.parts.terminals.online_count >= 2, "terminals")  # type: ignore[union-attr]
    url = capfd.readouterr().out.split("Open ")[1].split()[0]
    token = url.partition("token=")[2]
    port = demo.listeners.port("http.port")
    assert url.startswith(f"http://127.0.0.1:{port}/?token=")
    status, body = await answer(port, "/api/v1/terminals", token)
    assert status == 200
    sim = body["items"][0]["sim"]
    status, play = await answer(port, f"/api/v1/terminals/{sim}/channels/1/play", token)
    assert status == 200
    player = ask(port, "/" + play["urls"]["mp4"].split("/", 3)[3])
    await until(lambda: player.data.count(b"moof") > 20, "fragments")
    assert {listening.wanted.host for listening in demo.listeners.all()} == {"127.0.0.1"}
    await demo.stopService()
    assert not folder.exists()
