"""A recorded terminal, scrubbed, played against another platform: the same messages and media arrive there."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater

from relay.jt808.header import Header
from relay.jt808.messages.general import Heartbeat
from relay.jt808.messages.video import RealtimeAvControl, RealtimeAvRequest
from relay.jt808.session import Session
from relay.jt808.session_events import Authenticating, Received, Registering, Replied, Role, SessionOptions
from relay.jt1078.demux import PacketReader
from relay.jt1078.packet import DataType, Packet, packetize
from relay.net.player import GATE_S, Player, PlayOptions
from relay.net.recorder import Recorder
from relay.net.recording import Event, Kind, Recording
from relay.net.scrub import Scrubber, scrub_recording
from relay.sim.sources import Unit
from relay.sim.terminal import SimulatedTerminal, TerminalOptions

reactor: Any = _reactor
PHONE = "013800138000"


class Source:
    """Frames that say what they are."""

    video_pt, audio_pt, audio_bytes = 98, 0, 0

    def open(self, channel: int, sub: bool, wall: float) -> Iterator[Unit]:
        for n in range(100_000):
            yield Unit(20 * n, 20 * n, 98, DataType.VIDEO_P if n % 10 else DataType.VIDEO_I, b"\0\0\0\1\x65frame %d " % n + bytes(1200))


class Platform:
    """Admits terminals with codes of its own, asks each for channel 1, and keeps what comes."""

    def __init__(self, code: str, recorder: Recorder | None = None, asks: bool = True, refuses: bool = False) -> None:
        self.code = code
        self.recorder = recorder
        self.asks = asks
        self.refuses = refuses
        self.messages: list[tuple[Header, Any]] = []
        self.replies: list[Any] = []
        self.codes: list[str] = []
        self.media: list[bytes] = []
        self.links: list[Link] = []
        self.ports = [reactor.listenTCP(0, self.factory(Link), interface="127.0.0.1"), reactor.listenTCP(0, self.factory(Media), interface="127.0.0.1")]
        self.port, self.media_port = (port.getHost().port for port in self.ports)

    def factory(self, kind: Any) -> Factory:
        made: Any = Factory()
        made.noisy = False
        made.buildProtocol = lambda _: kind(self)
        return made  # type: ignore[no-any-return]

    async def stop(self) -> None:
        for port in self.ports:
            await port.stopListening()
        for link in self.links:
            link.transport.abortConnection()
        await pause(0.02)

    def packets(self) -> list[Packet]:
        found = []
        for data in self.media:
            reader = PacketReader()
            found += reader.feed(data) + reader.finish()
        return found

    def counts(self) -> Counter[int]:
        return Counter(header.msg_id for header, _ in self.messages)


class Link(Protocol):
    transport: Any

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.session = Session(Role.PLATFORM, SessionOptions(), reactor.seconds())
        platform.links.append(self)
        self.tap = platform.recorder.tap("jt808", "tcp", "10.0.0.7:1", "192.0.2.1:7808") if platform.recorder else None

    def dataReceived(self, data: bytes) -> None:
        if self.tap is not None:
            self.tap.data_in(data)
        now, platform = reactor.seconds(), self.platform
        self.session.receive(data, now)
        for event in self.session.events():
            if isinstance(event, Registering):
                platform.messages.append((event.header, event.message))
                self.session.registered(event.header, 0, platform.code, now)
            elif isinstance(event, Authenticating):
                platform.messages.append((event.header, event.message))
                platform.codes.append(event.message.auth_code)  # type: ignore[attr-defined]
                good = not platform.refuses and event.message.auth_code == platform.code  # type: ignore[attr-defined]
                self.session.authenticated(event.header, good, now)
                if good and platform.asks:
                    self.session.request(RealtimeAvRequest(server_ip="127.0.0.1", tcp_port=platform.media_port, channel=1, stream_type=1), now)
            elif isinstance(event, Replied):
                platform.replies.append(event)
                assert event.header is not None
                platform.messages.append((event.header, event.message))
            elif isinstance(event, Received):
                platform.messages.append((event.header, event.message))
        self.flush()

    def flush(self) -> None:
        data = self.session.bytes_to_send()
        if data:
            if self.tap is not None:
                self.tap.data_out(data)
            self.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        if self.tap is not None:
            self.tap.close("closed")
        if self in self.platform.links:
            self.platform.links.remove(self)


class Media(Protocol):
    transport: Any

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.number = len(platform.media)
        platform.media.append(b"")
        platform.links.append(self)  # type: ignore[arg-type]
        self.tap = platform.recorder.tap("jt1078", "tcp", "10.0.0.7:2", "192.0.2.1:1078", kind="live") if platform.recorder else None

    def dataReceived(self, data: bytes) -> None:
        if self.tap is not None:
            self.tap.data_in(data)
        self.platform.media[self.number] += data

    def connectionLost(self, reason: Any = None) -> None:
        if self.tap is not None:
            self.tap.close("closed")
        self.platform.links.remove(self)  # type: ignore[arg-type]


async def pause(seconds: float) -> None:
    await deferLater(reactor, seconds)


async def until(condition: Any, seconds: float = 10.0) -> None:
    begun = reactor.seconds()
    while not condition():
        assert reactor.seconds() < begun + seconds, "it did not happen"
        await pause(0.01)


async def record(tmp_path: Path) -> tuple[Path, Platform]:
    """A simulated terminal in the field."""
    recorder = Recorder(tmp_path, reactor.seconds, [PHONE])
    platform = Platform("FIELD-CODE", recorder)
    options = TerminalOptions(host="127.0.0.1", port=platform.port, channels=(1, 2), heartbeat_s=0.1, position_s=0.15, plate="粤B12345")
    terminal = SimulatedTerminal(PHONE, reactor, options, source=Source())
    terminal.start()
    await until(lambda: len(platform.packets()) > 20 and platform.counts()[0x0200] >= 2 and platform.counts()[0x0002] >= 2)
    for link in platform.links:
        if isinstance(link, Link):
            link.session.send(RealtimeAvControl(channel=1, command=0), reactor.seconds())
            link.flush()
    await until(lambda: not terminal.media.sending)
    await terminal.stop()
    await pause(0.05)
    recorder.close()
    await platform.stop()
    (path,) = tmp_path.glob("*.jtrec")
    return path, platform


@pytest_twisted.ensureDeferred
async def test_recorded_scrubbed_and_played_again(tmp_path: Path) -> None:
    path, field = await record(tmp_path)
    scrubbed = tmp_path / "scrubbed.jtrec"
    scrub_recording(Recording(path), scrubbed, Scrubber())
    content = scrubbed.read_bytes()
    for secret in (bytes.fromhex(PHONE), "粤B12345".encode("gb18030"), b"FIELD-CODE", b"10.0.0.7"):
        assert secret in path.read_bytes()
        assert secret not in content
    relay = Platform("RELAY-CODE")
    said: list[str] = []
    player = Player(Recording(scrubbed), reactor, PlayOptions(("127.0.0.1", relay.port), speed=20), said.append)
    result = await ensureDeferred(player.run())
    await pause(0.05)
    assert result.trouble == []
    assert (result.links, relay.codes) == (2, ["RELAY-CODE"])
    assert [header.msg_id for header, _ in relay.messages] == [header.msg_id for header, _ in field.messages]
    # one more 0x0001 than the platform's session tells of: the one to the 0x9102, which nobody waited for
    assert result.sent == Counter(f"0x{header.msg_id:04X}" for header, _ in field.messages) + Counter(("0x0001",))
    assert {header.phone for header, _ in relay.messages} == {"010000000001"}
    for (_, one), (_, two) in zip(field.messages, relay.messages, strict=True):
        if one.KEY == 0x0200:
            assert one == two
        elif one.KEY == 0x0100:
            assert (two.plate_no, two.province_id) == ("测A00003", one.province_id)
    assert len(relay.replies) == 1  # the 0x0001 to the 0x9101 carries this relay's serial
    assert [(p.seq, p.timestamp, p.body) for p in relay.packets()] == [(p.seq, p.timestamp, p.body) for p in field.packets()]
    assert {p.sim for p in relay.packets()} == {"010000000001"}
    assert len(said) == 2
    await relay.stop()


@pytest_twisted.ensureDeferred
async def test_at_once_to_a_media_server_as_another_terminal(tmp_path: Path) -> None:
    path, field = await record(tmp_path)
    relay = Platform("OTHER", asks=False)
    begun = reactor.seconds()
    options = PlayOptions(("127.0.0.1", relay.port), ("127.0.0.1", relay.media_port), speed=math.inf, phone="19900000001", code="OTHER")
    result = await ensureDeferred(Player(Recording(path), reactor, options).run())
    assert reactor.seconds() - begun < 3
    await pause(0.05)
    assert (result.trouble, relay.codes) == ([], ["OTHER"])
    assert {header.phone for header, _ in relay.messages} == {"019900000001"}
    assert [(p.seq, p.body, p.sim) for p in relay.packets()] == [(p.seq, p.body, "019900000001") for p in field.packets()]
    await relay.stop()


@pytest_twisted.ensureDeferred
async def test_as_recorded_not_a_byte_differs(tmp_path: Path) -> None:
    path, field = await record(tmp_path)
    relay = Platform("FIELD-CODE", asks=False)
    recorder = relay.recorder = Recorder(tmp_path / "again", reactor.seconds, ["*"])
    options = PlayOptions(("127.0.0.1", relay.port), ("127.0.0.1", relay.media_port), speed=math.inf, as_recorded=True)
    result = await ensureDeferred(Player(Recording(path), reactor, options).run())
    await pause(0.05)
    recorder.close()
    (again,) = (tmp_path / "again").iterdir()

    def sent(file: Path, protocol: str) -> bytes:
        links = {event.link for event in Recording(file) if event.kind is Kind.OPEN and event.info["protocol"] == protocol}
        return b"".join(event.data for event in Recording(file) if event.kind is Kind.IN and event.link in links)

    assert result.trouble == []
    assert sent(again, "jt808") == sent(path, "jt808")
    assert sent(again, "jt1078") == sent(path, "jt1078") == b"".join(field.media)
    await relay.stop()


def link(protocol: str, number: int = 1, time: int = 0, **info: str) -> Event:
    return Event(Kind.OPEN, number, time, info={"protocol": protocol, "transport": "tcp", "peer": "x", "local": "y", "initiator": "peer", **info})


def said(number: int, data: bytes, time: int = 0) -> Event:
    return Event(Kind.IN, number, time, data)


def frame(msg_id: int, body: bytes = b"", serial: int = 0) -> bytes:
    return Header(msg_id, PHONE, serial).encode(body)


@pytest_twisted.ensureDeferred
async def test_a_recording_that_begins_with_a_code_is_registered_first() -> None:
    relay = Platform("RELAY-CODE", asks=False)
    events = [link("jt808"), said(1, frame(0x0102, b"OLD", 7)[:9]), said(1, frame(0x0102, b"OLD", 7)[9:] + frame(0x0002, serial=8))]
    result = await ensureDeferred(Player(events, reactor, PlayOptions(("127.0.0.1", relay.port), speed=math.inf)).run())
    assert result.trouble == []
    assert relay.codes == ["RELAY-CODE"]
    assert [(header.msg_id, header.serial) for header, _ in relay.messages] == [(0x0100, 6), (0x0102, 7), (0x0002, 8)]
    await relay.stop()


@pytest_twisted.ensureDeferred
async def test_broken_frames_and_noise_go_out_as_they_are() -> None:
    received = []

    class Sink(Protocol):
        def dataReceived(self, data: bytes) -> None:
            received.append(data)

    port = reactor.listenTCP(0, Factory.forProtocol(Sink), interface="127.0.0.1")
    wrong = bytearray(frame(0x0200, bytes(28)))
    wrong[-2] ^= 1
    parts = [b"noise", bytes(wrong), b"\x7e\x7e", b"\x7e\x7d\x05\x7e", frame(0x0002), b"\x7e\x02\x00unfinished"]
    options = PlayOptions(("127.0.0.1", port.getHost().port), speed=math.inf)
    events = [link("jt808"), *(said(1, part) for part in parts)]
    result = await ensureDeferred(Player(events, reactor, options).run())
    await pause(0.05)
    assert b"".join(received) == b"".join(parts[:-1]) + b"\x7e"  # what never ended is not sent
    assert result.sent == {"0x0002": 1}
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_the_pauses_are_kept_at_the_speed_that_is_asked_for() -> None:
    times = []

    class Sink(Protocol):
        def dataReceived(self, data: bytes) -> None:
            times.append((reactor.seconds(), data))

    port = reactor.listenTCP(0, Factory.forProtocol(Sink), interface="127.0.0.1")
    events = [link("jt808"), *(said(1, frame(0x0002, serial=n), 400_000 * n) for n in range(4))]
    await ensureDeferred(Player(events, reactor, PlayOptions(("127.0.0.1", port.getHost().port), speed=4)).run())
    gaps = [round(b[0] - a[0], 2) for a, b in itertools.pairwise(times)]
    assert all(0.08 <= gap <= 0.16 for gap in gaps), gaps
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_trouble_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.net.player.GATE_S", 0.05)
    port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    number = port.getHost().port
    packet = packetize(b"x", sim=PHONE, channel=3, pt=98, data_type=0)[0]
    events = [link("jt808"), said(1, frame(0x0100, bytes(40))), said(1, frame(0x0002)), link("jt1078", 2), said(2, packet), said(9, b"nobody")]
    result = await ensureDeferred(Player(events, reactor, PlayOptions(("127.0.0.1", number), speed=math.inf)).run())
    assert result.trouble == ["link 1: no answer to 0x0100 within 0.05 s", "link 2: the relay did not ask for channel 3 within 0.05 s"]
    assert result.sent == {"0x0100": 1, "0x0002": 1}
    await port.stopListening()
    result = await ensureDeferred(Player(events[:3], reactor, PlayOptions(("127.0.0.1", number), speed=math.inf)).run())
    assert result.trouble == [f"link 1: no connection with 127.0.0.1:{number}"]
    assert result.links == 0
    assert GATE_S == 10.0
    relay = Platform("RIGHT", refuses=True)
    result = await ensureDeferred(Player([link("jt808"), said(1, frame(0x0102, b"OLD"))], reactor, PlayOptions(("127.0.0.1", relay.port), code="x")).run())
    assert result.trouble[0] == "link 1: the relay refuses the authentication: result 1"
    await relay.stop()


@pytest_twisted.ensureDeferred
async def test_datagrams_are_played_as_datagrams() -> None:
    received = []

    class Sink(DatagramProtocol):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            received.append(datagram)
            self.transport.write(frame(0x8001), addr)  # type: ignore[union-attr]

    port = reactor.listenUDP(0, Sink(), interface="127.0.0.1")
    beats = [Header(0x0002, PHONE, n).encode(Heartbeat().encode()) for n in range(3)]
    events = [link("jt808", transport="udp"), said(1, beats[0]), said(1, beats[1] + beats[2])]
    result = await ensureDeferred(Player(events, reactor, PlayOptions(("127.0.0.1", port.getHost().port))).run())
    await pause(0.05)
    assert received == [beats[0], beats[1] + beats[2]]
    assert result.received == {"0x8001": 2}
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_superior_is_played_on_both_links() -> None:
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint

    from relay.jt809.header import Header as Header809
    from relay.jt809.header import encode_frame
    from relay.jt809.messages.link import Login, LoginAnswer, SubLogin, SubLoginAnswer

    def made(message: Any) -> bytes:
        return encode_frame(Header809(message.KEY[0], 1, 44030001), message.encode(2011))

    received: dict[str, bytes] = {"main": b"", "sub": b""}

    class Relay(Protocol):
        def __init__(self, name: str, first: bytes, answer: bytes) -> None:
            self.name, self.first, self.answer = name, first, answer

        def connectionMade(self) -> None:
            self.transport.write(self.first)  # type: ignore[union-attr]

        def dataReceived(self, data: bytes) -> None:
            received[self.name] += data
            self.transport.write(self.answer)  # type: ignore[union-attr]

    login = made(Login(user_id=1, password="x", down_link_ip="127.0.0.1", down_link_port=1))
    sub_answer = made(SubLoginAnswer(result=0))
    answer, sub_login = made(LoginAnswer(result=0, verify_code=77)), made(SubLogin(verify_code=77))
    sublink = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(lambda: Relay("sub", b"", sub_answer)))
    told: list[str] = []
    events = [
        link("jt809", 1, kind="main", name="province", initiator="us"),
        Event(Kind.OUT, 1, 1, login),
        Event(Kind.IN, 1, 2, answer),
        link("jt809", 2, 3, kind="sub", name="province"),
        Event(Kind.IN, 2, 4, b"noise" + sub_login[:9]),
        Event(Kind.IN, 2, 5, sub_login[9:]),
        Event(Kind.OUT, 2, 6, sub_answer),
    ]
    player = Player(events, reactor, PlayOptions(("127.0.0.1", sublink.getHost().port), speed=math.inf), told.append)
    running = ensureDeferred(player.run())
    await until(lambda: told)
    factory: Any = Factory.forProtocol(lambda: Relay("main", login, b""))
    await TCP4ClientEndpoint(reactor, "127.0.0.1", int(told[0].rpartition(" ")[2])).connect(factory)
    result = await running
    await until(lambda: received["sub"])
    assert received == {"main": answer, "sub": b"noise" + sub_login}
    assert (result.links, result.sent, result.received) == (2, {"0x1002": 1, "0x9001": 1}, {"0x1001": 1, "0x9002": 1})
    await sublink.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_link_that_the_platform_opens_is_waited_for() -> None:
    received = []

    class Superior(Protocol):
        def dataReceived(self, data: bytes) -> None:
            received.append(data)

    told: list[str] = []
    events = [link("jt809", initiator="us", name="province"), said(1, b"[answer]"), Event(Kind.CLOSE, 1, 1, info={"reason": "x"})]
    player = Player(events, reactor, PlayOptions(("127.0.0.1", 1), speed=math.inf), told.append)
    running = ensureDeferred(player.run())
    await until(lambda: told)
    factory: Any = Factory.forProtocol(Superior)
    from twisted.internet.endpoints import TCP4ClientEndpoint

    await TCP4ClientEndpoint(reactor, "127.0.0.1", int(told[0].rpartition(" ")[2])).connect(factory)
    result = await running
    await until(lambda: received)
    assert (received, result.links, result.trouble) == ([b"[answer]"], 1, [])
