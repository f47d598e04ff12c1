"""The installed relay between simulated terminals and two superior platforms: one of 2011 in plain, one of 2019 encrypted."""

from __future__ import annotations

import datetime
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages.general import Registration
from relay.jt809.cipher import CipherKeys
from relay.jt809.messages.platform import PostQuery
from relay.jt809.messages.supervision import CarInfoRequest, TextRequest
from relay.sim.superior import SimulatedSuperior, SuperiorOptions
from tests.e2e.support import Product, wait_for
from tests.ports import free_port

pytestmark = pytest.mark.e2e

KEYS = CipherKeys(30000000, 20000000, 20000000)


def self_signed(folder: Path, name: str) -> tuple[str, str]:
    """A certificate for a host name, and its key: two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    chain, secret = folder / "superior.pem", folder / "superior.key"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(chain), str(secret)


class Scene:
    """The relay and its superiors."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.old = SimulatedSuperior(reactor, SuperiorOptions(access_code=1))
        self.new = SimulatedSuperior(reactor, SuperiorOptions(access_code=2, edition=2019, encrypt=True, keys=KEYS))
        self.ports = self.old.listen(), self.new.listen()
        shared = {"host": "127.0.0.1", "user_id": 10001, "password": "12345678", "platform_id": "44030012345", "sublink_host": "127.0.0.1"}
        shared |= {"sublink_port": free_port(), "reconnect_s": 0.2, "reconnect_max_s": 1.0, **more}
        keys = {"encrypt": True, "m1": KEYS.m1, "ia1": KEYS.ia1, "ic1": KEYS.ic1}
        self.product = Product(
            folder,
            superiors=(
                {**shared, "name": "old", "port": self.ports[0], "access_code": 1},
                {**shared, "name": "new", "port": self.ports[1], "access_code": 2, "edition": 2019, **keys},
                {**shared, "name": "away", "port": free_port(), "access_code": 3},
            ),
        )

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.product.api("GET", f"/superiors/{name}")
        return found


@asynccontextmanager
async def scene_in(folder: Path, **more: Any) -> AsyncIterator[Scene]:
    scene = Scene(folder, **more)
    try:
        with scene.product:
            await scene.old.logged_in()
            await scene.new.logged_in()
            yield scene
    finally:
        await scene.old.stop()
        await scene.new.stop()


@pytest_twisted.ensureDeferred
async def test_two_superiors_get_what_the_law_wants_and_are_answered(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        product = scene.product
        terminal = product.terminal("13800138000", "--position-interval", "1", "--plate", "粤B12345", "--plate-color", "2", online=False)
        vehicle = "粤B12345", 2
        for superior in (scene.old, scene.new):
            await superior.until(lambda superior=superior: len(superior.positions.get(vehicle, ())) >= 2)  # type: ignore[misc]
            assert superior.vehicles[vehicle].platform_id == "44030012345"
            assert {len(password) for password in superior.passwords} == {64}
            text: Any = await superior.ask(TextRequest(msg_sequence=7, msg_priority=0, msg_content="前方事故"), *vehicle)
            assert text.result == 0
            told: Any = await superior.ask(CarInfoRequest(), *vehicle)
            assert told.car_info.startswith("VIN:=粤B12345;VEHICLE_COLOR:=2;")
        assert scene.old.passwords != scene.new.passwords
        assert "0x8300" in terminal.output

        # a person answers a post query
        waiting = scene.new.ask(PostQuery(object_type=1, object_id="1", answer_time=5, info_id=7, info_content="是否在岗？"))
        await scene.new.until(lambda: bool(product.api("GET", "/superiors/new/requests?waiting=true")["items"]), 10)
        (request,) = product.api("GET", "/superiors/new/requests?waiting=true")["items"]
        assert request["text"] == "是否在岗？"
        product.api("POST", f"/superiors/new/requests/{request['id']}/answer", {"text": "在岗", "responder": "张三"})
        answer: Any = await waiting
        assert (answer.info_content, answer.responder, answer.source_data_type) == ("在岗", "张三", 0x9301)

        # what is shown of them
        assert [scene.state(name)["state"] for name in ("old", "new")] == ["both_up", "both_up"]
        away = scene.state("away")
        assert away["state"] in ("down", "login") and away["queue"]["waiting"] > 0 and "no connection" in away["problem"]
        headers = {"Authorization": f"Bearer {product.api_token}"}
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{product.ports['http']}/metrics", headers=headers)) as figures:
            text = figures.read().decode()
        assert 'jt1078relay_superior_links_up{superior="new"} 2.0' in text
        for secret in (*scene.old.passwords, *scene.new.passwords, "12345678"):
            assert secret not in product.process.output

        # broken frames cost themselves; an operator ends a link and begins it again
        scene.old.send_raw(b"noise\x5b\x00\x00\x5d\x5b" + bytes(40) + b"\x5d\x5a\x5b", "main")
        scene.old.send_raw(b"\x5b" + bytes(26) + b"\x5d", "sub")
        before = len(scene.old.positions.get(vehicle, []))
        await scene.old.until(lambda: len(scene.old.positions.get(vehicle, [])) > before)
        assert sum(scene.state("old")["links"]["main"]["dropped"].values()) >= 2
        product.api("POST", "/superiors/old/disconnect")
        await scene.old.until(lambda: scene.old.main is None and scene.old.sub is None)
        assert scene.old.kinds[0x1003] == 1 and scene.old.kinds[0x1008] == 1
        assert scene.state("new")["state"] == "both_up"
        product.api("POST", "/superiors/old/connect")
        await scene.old.logged_in()
        assert await deferToThread(product.process.stop) == 0
        await scene.new.until(lambda: scene.new.kinds[0x1008] == 1)


class Reporter(Protocol):
    """A terminal that reports numbered positions: the number stands in altitude and direction."""

    def __init__(self, number: int) -> None:
        self.phone = f"{13900000000 + number:012d}"
        self.plate = f"粤A{number:05d}"
        self.serial = 0
        self.sent = 0
        self.up: Deferred[None] = Deferred()
        self._deframer = Deframer()

    def connectionMade(self) -> None:
        message = Registration(
            province_id=44, city_id=300, manufacturer_id="TEST", terminal_model="R", terminal_id=self.phone[-7:], plate_color=2, plate_no=self.plate
        )
        self.write(0x0100, message.encode(2013))

    def write(self, msg_id: int, body: bytes) -> None:
        transport: Any = self.transport
        transport.write(Header(msg_id, self.phone, self.serial & 0xFFFF).encode(body))
        self.serial += 1

    def dataReceived(self, data: bytes) -> None:
        for piece in self._deframer.feed(data):
            assert isinstance(piece, bytes)
            header, body = decode_frame(piece)
            if header.msg_id == 0x8100:
                self.write(0x0102, body[3:])
            elif header.msg_id == 0x8001 and body[2:4] == b"\x01\x02":
                self.up.callback(None)

    def report(self) -> None:
        self.sent += 1
        stamp = bytes.fromhex(time.strftime("%y%m%d%H%M%S", time.gmtime(time.time() + 8 * 3600)))
        base = b"\0\0\0\0\0\x0c\0\x03\x01\x58\x81\xf0\x06\xca\x8e\x0a" + (self.sent & 0xFFFF).to_bytes(2, "big") + b"\x02\x3f\0\0" + stamp
        self.write(0x0200, base)


def numbers(superior: SimulatedSuperior, plate: str, kind: int = 0) -> list[int]:
    """Of the positions that came of a vehicle, in their order."""
    return [
        one.gnss.altitude if one.gnss.altitude is not None else int.from_bytes(bytes(one.gnss.gnss_data or b"")[16:18], "big")
        for one in superior.positions.get((plate, 2), ())
        if kind in (0, one.kind)
    ]


async def drive(reporters: list[Reporter], rate: int, seconds: float) -> None:
    """So many positions a second."""
    begun, sent = time.monotonic(), 0
    while time.monotonic() < begun + seconds:
        due = int((time.monotonic() - begun) * rate)
        for at in range(sent, due):
            reporters[at % len(reporters)].report()
        sent = due
        await deferLater(reactor, 0.02)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_a_cut_main_link_and_a_restart_lose_nothing(tmp_path: Path) -> None:
    """The minute's form of ten minutes under a thousand positions a second: 200 a second, cut three seconds, and the relay restarted meanwhile."""
    async with scene_in(tmp_path) as scene:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", scene.product.ports["terminals_tcp"])

        async def connect() -> list[Reporter]:
            made = []
            for number in range(20):
                reporter: Reporter = await endpoint.connect(Factory.forProtocol(lambda number=number: Reporter(number)))  # type: ignore[arg-type, misc]
                await reporter.up
                made.append(reporter)
            return made

        reporters = await connect()
        await drive(reporters, 200, 2)
        await scene.old.stop_listening()
        scene.old.hang_up()
        await drive(reporters, 200, 3)
        scene.old.listen(port=scene.ports[0])
        await drive(reporters, 200, 3)
        wanted = {reporter.plate: list(range(1, reporter.sent + 1)) for reporter in reporters}
        for superior in (scene.old, scene.new):
            await superior.until(lambda superior=superior: superior.position_count >= sum(map(len, wanted.values())), 30)  # type: ignore[misc]
            for plate, all_of_it in wanted.items():
                came = sorted(numbers(superior, plate))
                if superior is scene.old and "superior old: main link ended: connection lost" in scene.product.process.output:
                    came = sorted(set(came))  # bytes that were under way made the system answer by a reset: what was in doubt came twice
                assert came == all_of_it, "none missing, none twice"
                for kind in (0x1202, 0x1203):
                    assert numbers(superior, plate, kind) == sorted(numbers(superior, plate, kind)), "in order"
        assert scene.old.supplement_count >= 400 and scene.new.supplement_count == 0
        assert scene.old.kinds[0x1203] < scene.old.supplement_count / 3, "five in a message"
        wait_for("an empty queue", lambda: scene.state("old")["queue"]["waiting"] == 0)

        # what waits survives a restart of the relay
        await scene.old.stop_listening()
        scene.old.cut()
        await scene.old.until(lambda: scene.old.main is None)
        await drive(reporters, 200, 1)
        total = sum(reporter.sent for reporter in reporters)
        await scene.new.until(lambda: scene.new.position_count >= total)
        assert await deferToThread(scene.product.process.stop) == 0
        scene.old.listen(port=scene.ports[0])
        scene.product.__enter__()
        await scene.old.until(lambda: len({(plate, number) for plate, _ in scene.old.positions for number in numbers(scene.old, plate)}) >= total, 30)
        for reporter in reporters:
            assert sorted(set(numbers(scene.old, reporter.plate))) == list(range(1, reporter.sent + 1)), "after a reset none missing either"


@pytest_twisted.ensureDeferred
async def test_both_links_in_tls_and_a_certificate_of_another_name(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "gov.example")
    options = SuperiorOptions(access_code=1, tls_certificate=certificate, tls_key=key, tls_back=True)
    good, bad = SimulatedSuperior(reactor, options), SimulatedSuperior(reactor, options)
    shared = {"host": "127.0.0.1", "user_id": 10001, "password": "12345678", "sublink_host": "127.0.0.1", "sublink_port": free_port(), "access_code": 1}
    shared |= {"tls": True, "tls_ca": certificate, "sublink_tls": True, "tls_certificate": certificate, "tls_key": key}
    product = Product(
        tmp_path,
        superiors=(
            {**shared, "name": "good", "port": good.listen(), "tls_name": "gov.example"},
            {**shared, "name": "bad", "port": bad.listen(), "tls_name": "other.example"},
        ),
    )
    try:
        with product:
            await good.logged_in()
            product.terminal("13800138000", "--position-interval", "1", online=False)
            await good.until(lambda: good.position_count >= 2)
            state = product.api("GET", "/superiors/bad")
            assert state["state"] in ("down", "login") and bad.kinds[0x1001] == 0
            assert product.api("GET", "/superiors/good")["state"] == "both_up"
            assert await deferToThread(product.process.stop) == 0
    finally:
        await good.stop()
        await bad.stop()
