"""Calls: who is called how, who holds the microphone, what goes over the connection, and how each ends."""

from __future__ import annotations

import itertools
import math
from array import array
from typing import Any

import pytest

from relay.codec import g711, hisi, pcm
from relay.core.alias import Resolver
from relay.core.live_failure import StartFailed
from relay.core.quirks import Quirks
from relay.core.talk import ATTACH_S, Talk, Talks
from relay.core.talk_link import TalkLink
from relay.identity import StreamKey
from relay.jt808.messages.video import AvAttributes, AvDataType, RealtimeAvControl, RealtimeAvRequest
from relay.jt1078.packet import Packet, build_packet, parse_packet
from relay.settings import Media
from relay.store.terminals import KnownTerminal
from tests.core.fakes import PHONE, SIM, WALL, Device, Rows, World

OTHER = "013900139000"
BLOCK = g711.encode_a(bytes(640))
MAIN, EXTRA = 1278, (1279, 1280)


class Wire:
    """The terminal's end of a talk connection."""

    def __init__(self, host: str = "10.0.0.7", port: int = 50000) -> None:
        self.host, self.transport = host, "tcp"
        self.peer = f"{host}:{port}"
        self.data = b""
        self.closed = False
        self.link: TalkLink | None = None
        self.waiting = 0
        self.seq = 0

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.data += data

    def backlog(self) -> int:
        return self.waiting

    def close(self) -> None:
        self.closed = True

    def lose(self) -> None:
        assert self.link is not None
        self.link.lost("reset")

    def packets(self) -> list[Packet]:
        """What came since the last call."""
        found = []
        data, self.data = self.data, b""
        while data:
            packet = parse_packet(data, 0, self.width if self.link is not None else 0)
            assert packet is not None
            found.append(packet)
            data = data[packet.consumed :]
        return found

    width = 6

    def say(self, sim: str = PHONE, body: bytes = BLOCK, pt: int = 6, channel: int = 1, sim_bytes: int = 6) -> None:
        """One block of the microphone."""
        assert self.link is not None
        packet = build_packet(sim=sim, channel=channel, pt=pt, data_type=3, body=body, seq=self.seq, timestamp=self.seq * 40, sim_bytes=sim_bytes)
        self.seq += 1
        self.link.received(packet)


    def hello(self, *words: Any, **more: Any) -> None:
        """Two blocks: the width of the SIM field shows with the second one."""
        self.say(*words, **more)
        if not self.closed:
            self.say(*words, **more)


class Page:
    """The person's socket."""

    def __init__(self) -> None:
        self.heard = b""
        self.told: list[dict[str, Any]] = []
        self.finished = ""

    def sound(self, pcm: bytes) -> None:
        self.heard += pcm

    def tell(self, what: dict[str, Any]) -> None:
        self.told.append(what)

    def finish(self, reason: str) -> None:
        self.finished = reason


class Studio:
    """Talks over real terminals, with fake sockets."""

    def __init__(self, extra: tuple[int, ...] = EXTRA, **media: Any) -> None:
        self.core = World(Rows(KnownTerminal(phone=PHONE, plate="粤B12345"), KnownTerminal(phone=OTHER)), retries=0)
        self.clock = self.core.clock
        self.written: list[tuple[str, ...]] = []
        self.quirks = Quirks(self.core.terminals, self.core.events, self.wall)
        ids = (f"id{number}" for number in itertools.count(1))
        rows: Any = self.core.rows
        rows.resolve = rows.get
        self.talks = Talks(
            Media(**media), self.core.terminals, Resolver(self.core.terminals, rows), self.quirks, self.clock, self.core.events, self.wall, lambda: next(ids),
            MAIN, extra, lambda *row: self.written.append(row), 0.0,
        )  # fmt: skip

    def wall(self) -> float:
        return WALL + self.clock.seconds()

    def online(self, phone: str = PHONE, host: str = "10.0.0.7") -> Device:
        device = self.core.device(phone, host=host)
        device.register(plate="粤B12345" if phone == PHONE else "")
        device.authenticate()
        device.read()
        return device

    def call(self, name: str = PHONE, mode: str = "talk", who: str = "anna", channel: int = 1) -> list[Any]:
        ended: list[Any] = []
        self.talks.start(name, channel, mode, who).addBoth(ended.append)
        return ended

    def asked(self, device: Device, result: int = 0) -> RealtimeAvRequest:
        [(header, message)] = [one for one in device.commands() if isinstance(one[1], RealtimeAvRequest)]
        device.answer(header, result)
        return message  # type: ignore[no-any-return]

    def connect(self, port: int = MAIN, host: str = "10.0.0.7") -> Wire:
        wire = Wire(host)
        wire.link = self.talks.connected(wire, port)
        return wire

    def talking(self, device: Device, mode: str = "talk", say: bool = True) -> tuple[Talk, Page, Wire]:
        ended = self.call(device.phone, mode)
        request = self.asked(device)
        wire = self.connect(request.tcp_port, device.wire.host)
        if say:
            wire.hello(device.phone)
        [talk] = ended
        assert isinstance(talk, Talk), talk
        page = Page()
        talk.attach(page)
        return talk, page, wire

    def run(self, seconds: float, step: float = 0.01) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def speak(self, talk: Talk, seconds: float, level: int = 8000) -> None:
        for at in range(round(seconds * 50)):
            numbers = [round(level * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(160 * at, 160 * (at + 1))]
            talk.speak(pcm.to_bytes(array("h", numbers)))
            self.run(0.02)

    def end(self) -> None:
        self.talks.close()
        self.core.terminals.close()
        left = [call for call in self.clock.getDelayedCalls() if call.active()]
        assert left == [], left


def told_to_close(device: Device) -> list[RealtimeAvControl]:
    return [message for _, message in device.commands() if isinstance(message, RealtimeAvControl)]


def test_a_two_way_talk() -> None:
    studio = Studio()
    device = studio.online()
    ended = studio.call()
    request = studio.asked(device)
    assert (request.tcp_port, request.udp_port, request.data_type, request.channel) == (MAIN, 0, AvDataType.TALK, 1)
    assert ended == []
    wire = studio.connect()
    wire.hello()
    [talk] = ended
    page = Page()
    talk.attach(page)
    assert page.told[-1] == {"type": "state", "sim": SIM, "state": "connected", "codec": "g711a", "problem": ""}
    first = wire.packets()
    assert [(packet.seq, packet.m, packet.subpackage, packet.body) for packet in first] == [(0, 1, 0, BLOCK)]  # some speak only after they heard
    studio.speak(talk, 1.0)
    packets = wire.packets()
    assert 20 <= len(packets) <= 26
    assert [packet.seq for packet in packets] == list(range(1, len(packets) + 1))
    assert {(packet.sim, packet.channel, packet.pt, packet.data_type, packet.body_len) for packet in packets} == {("013800138000", 1, 6, 3, 320)}
    steps = {later.timestamp - earlier.timestamp for earlier, later in itertools.pairwise(packets[1:])}  # type: ignore[operator]
    assert steps <= set(range(20, 61, 1))
    for _ in range(10):
        wire.say()
    assert len(page.heard) >= 10 * 640
    [shown] = studio.talks.describe()
    assert (shown["who"], shown["mode"], shown["attached"], shown["terminals"][0]["codec"]) == ("anna", "talk", True, "g711a")
    assert studio.talks.end(talk.id)
    assert [message.command for message in told_to_close(device)] == [4]
    assert page.finished == "ended by hand"
    wire.lose()
    assert studio.talks.active == 0
    assert [row[1:3] for row in studio.written] == [("talk", f"{SIM}_1"), ("talk", SIM)]
    assert {"talk.began", "talk.ended"} <= set(studio.core.names())
    studio.end()


def test_the_downlink_speaks_as_the_terminal_does() -> None:
    studio = Studio()
    device = studio.online()
    ended = studio.call()
    studio.asked(device)
    wire = studio.connect()
    Wire.width = 10
    try:
        wire.say(sim="00000000013800138000", body=hisi.add_header(g711.encode_u(bytes(320))), pt=7, sim_bytes=10, channel=33)
        wire.say(sim="00000000013800138000", body=hisi.add_header(g711.encode_u(bytes(320))), pt=7, sim_bytes=10, channel=33)
        [talk] = ended
        talk.attach(Page())
        wire.packets()
        studio.speak(talk, 0.3)
        packets = wire.packets()
        assert {(packet.sim, packet.sim_bytes, packet.pt, packet.body_len, packet.body[:4]) for packet in packets} == {
            ("00000000013800138000", 10, 7, 164, b"\0\1\x50\0")
        }
        for _ in range(4 * 50):
            wire.say(sim="00000000013800138000", body=hisi.add_header(g711.encode_u(bytes(320))), pt=7, sim_bytes=10, channel=33)
            studio.run(0.02)
        assert studio.quirks.get(SIM, "talk.voice") == {"pt": 7, "samples": 160, "hisi": True}
        assert studio.quirks.get(SIM, "sim_bytes") == 10
        studio.end()
    finally:
        Wire.width = 6


def test_before_it_has_spoken_it_is_spoken_to_as_0x1003_says() -> None:
    studio = Studio()
    device = studio.online()
    device.say(
        AvAttributes(
            audio_encoding=26, audio_channels=1, audio_sample_rate=0, audio_sample_bits=1, audio_frame_length=164, audio_output_supported=1,
            video_encoding=98, max_audio_channels=1, max_video_channels=1,
        )
    )  # fmt: skip
    talk, _page, wire = studio.talking(device, "broadcast", say=False)
    assert {(packet.pt, packet.body_len) for packet in wire.packets()} == {(26, 164)}
    studio.talks.end(talk.id)
    studio.end()


def test_one_microphone_a_terminal_and_many_ears() -> None:
    studio = Studio()
    device = studio.online()
    talk, _page, wire = studio.talking(device)
    [problem] = studio.call(who="berta")
    assert isinstance(problem.value, StartFailed)
    assert (problem.value.status, problem.value.code) == (409, "microphone_taken")
    assert "anna" in problem.value.message
    [ear] = studio.call(mode="listen", who="clara")
    other = Page()
    ear.attach(other)
    wire.say()
    assert len(other.heard) == 640
    ear.speak(bytes(640))
    assert ear.bytes_up == 0
    studio.talks.end(talk.id)
    assert told_to_close(device) == []  # somebody still listens
    [again] = studio.call(who="berta")  # and the microphone is free
    assert isinstance(again, Talk)
    again.attach(Page())
    studio.talks.end(again.id)
    studio.talks.end(ear.id)
    assert [message.command for message in told_to_close(device)] == [4]
    studio.end()


def test_listening_sends_nothing_down_and_ends_with_command_0() -> None:
    studio = Studio()
    device = studio.online()
    talk, page, wire = studio.talking(device, "listen")
    assert wire.packets() == []
    wire.say()
    assert len(page.heard) == 640
    studio.run(3)
    assert wire.packets() == []
    talk.detach(page)
    assert [message.command for message in told_to_close(device)] == [0]
    studio.end()


def test_command_0_is_not_sent_while_it_would_end_a_picture_that_is_watched() -> None:
    studio = Studio()
    device = studio.online()
    talk, page, wire = studio.talking(device, "listen")
    asked: list[tuple[str, int]] = []
    studio.talks.watched = lambda sim, channel: asked.append((sim, channel)) or True
    talk.detach(page)
    assert asked == [(SIM, 1)]
    assert told_to_close(device) == []
    assert wire.closed
    assert studio.talks.active == 0
    talk, page, wire = studio.talking(device)
    assert studio.talks.in_call(StreamKey(SIM, 1))
    assert not studio.talks.in_call(StreamKey(SIM, 2))
    talk.detach(page)
    assert [message.command for message in told_to_close(device)] == [4]  # a talk's own command ends nothing else
    assert not studio.talks.in_call(StreamKey(SIM, 1))
    wire.lose()
    studio.end()


def test_a_broadcast_to_silent_terminals_each_by_a_port_of_its_own() -> None:
    studio = Studio()
    one, two = studio.online(), studio.online(OTHER, host="10.0.0.8")
    ended: list[Any] = []
    studio.talks.broadcast([PHONE, OTHER, "13700000000"], 33, "anna").addBoth(ended.append)
    first, second = studio.asked(one), studio.asked(two)
    assert {first.tcp_port, second.tcp_port} == set(EXTRA)
    assert first.data_type == AvDataType.BROADCAST
    wires = [studio.connect(first.tcp_port), studio.connect(second.tcp_port, "10.0.0.8")]
    [(talk, results)] = ended
    assert [(result["sim"], result["ok"], result["error"]) for result in results] == [
        (SIM, True, ""), ("13900139000", True, ""), ("", False, "unknown_terminal"),
    ]  # fmt: skip
    talk.attach(Page())
    studio.speak(talk, 0.5)
    heard = [[packet.body for packet in wire.packets()] for wire in wires]
    assert len(heard[0]) > 8
    assert heard[0][-5:] == heard[1][-5:]
    studio.talks.end(talk.id)
    assert [message.command for message in told_to_close(one)] == [0]
    studio.run(5, 0.5)
    assert [wire.closed for wire in wires] == [True, True]  # they say nothing and close nothing: we do
    assert studio.talks.active == 0
    studio.end()


def test_a_broadcast_that_reaches_nobody() -> None:
    studio = Studio()
    ended: list[Any] = []
    studio.talks.broadcast([PHONE], 33, "anna").addBoth(ended.append)
    assert ended == [(None, [{"terminal": PHONE, "sim": SIM, "ok": False, "error": "terminal_offline", "message": ended[0][1][0]["message"]}])]
    studio.end()


def test_a_silent_terminal_on_the_common_port_is_joined_by_its_address() -> None:
    studio = Studio()
    device = studio.online()
    ended = studio.call()
    studio.asked(device)
    studio.connect(host="10.0.0.99")  # a stranger
    wire = studio.connect()
    assert ended == []
    studio.run(2.5)
    [talk] = ended
    assert isinstance(talk, Talk)
    assert wire.packets()
    talk.attach(Page())
    studio.run(4)
    assert studio.quirks.get(SIM, "talk.silent") is True
    studio.talks.end(talk.id)
    studio.run(5)
    device.commands()
    studio.call()
    assert studio.asked(device).tcp_port in EXTRA  # next time by a port of its own
    studio.end()


def test_a_port_of_its_own_is_no_door_for_strangers() -> None:
    studio = Studio()
    device = studio.online()
    assert studio.connect(EXTRA[0]).link is None
    ended = studio.call(mode="broadcast")
    port = studio.asked(device).tcp_port
    stranger = studio.connect(port, "203.0.113.9")
    studio.run(3)
    assert ended == []
    assert stranger.link is not None
    stranger.hello("013700000000")
    assert stranger.closed
    behind_nat = studio.connect(port, "203.0.113.10")
    behind_nat.hello()
    assert isinstance(ended[0], Talk)
    studio.end()


def test_media_that_nobody_called_is_refused() -> None:
    studio = Studio()
    studio.online()
    wire = studio.connect()
    wire.hello()
    assert wire.closed
    assert "talk.refused" in studio.core.names()
    strange = studio.connect()
    assert strange.link is not None
    strange.link.received(b"GET / HTTP/1.1\r\n\r\n")
    assert strange.closed
    mute = studio.connect()
    studio.run(16, 0.5)
    assert mute.closed
    studio.end()


def test_refused_offline_silent_and_late() -> None:
    studio = Studio()
    [problem] = studio.call()
    assert problem.value.code == "terminal_offline"
    device = studio.online()
    ended = studio.call()
    studio.asked(device, 1)
    assert (ended[0].value.code, ended[0].value.status) == ("refused_by_terminal", 409)
    ended = studio.call()
    device.commands()
    studio.run(16, 0.5)
    assert ended[0].value.code == "no_answer"
    assert [message.command for message in told_to_close(device)] == [4]
    ended = studio.call()
    studio.asked(device)
    studio.run(16, 0.5)
    assert ended[0].value.code == "no_media_connection"
    late = studio.connect()
    late.hello()
    assert late.closed
    assert studio.talks.counts["failed: no_answer"] == 1
    studio.end()


def test_a_talk_that_nobody_opens_ends() -> None:
    studio = Studio()
    device = studio.online()
    ended = studio.call()
    studio.asked(device)
    wire = studio.connect()
    wire.hello()
    assert isinstance(ended[0], Talk)
    studio.run(ATTACH_S + 1, 0.5)
    assert studio.talks.describe() == []
    assert [message.command for message in told_to_close(device)] == [4]
    studio.end()


def test_a_lost_connection_ends_it_and_the_page_hears_why() -> None:
    studio = Studio()
    device = studio.online()
    _talk, page, wire = studio.talking(device)
    wire.lose()
    assert page.finished == "the terminal's connection was lost: reset"
    assert studio.talks.active == 0
    studio.end()


def test_a_terminal_that_falls_silent_is_given_up() -> None:
    studio = Studio(silent_timeout_s=10)
    device = studio.online()
    _talk, page, wire = studio.talking(device)
    for _ in range(20):
        wire.say()
        studio.run(1, 0.5)
    assert page.finished == ""
    studio.run(25, 0.5)
    assert page.finished.startswith("the terminal has sent nothing for")
    assert 4 in [message.command for message in told_to_close(device)]
    studio.end()


def test_a_terminal_that_goes_on_is_told_again_and_cut_off() -> None:
    studio = Studio()
    device = studio.online()
    talk, _page, wire = studio.talking(device)
    studio.talks.end(talk.id)
    for _ in range(80):
        if not wire.closed:
            wire.say()
        studio.run(0.5, 0.5)
    assert wire.closed
    assert "talk.not_stopped" in studio.core.names()
    assert len(told_to_close(device)) == 3
    studio.end()


def test_while_the_operator_speaks_the_terminal_is_softer() -> None:
    studio = Studio()
    device = studio.online()
    talk, page, wire = studio.talking(device)
    loud = g711.encode_a(pcm.to_bytes(array("h", [8000, -8000] * 160)))
    page.heard = b""
    wire.say(body=loud)
    before = max(pcm.samples(page.heard))
    studio.speak(talk, 0.1)
    page.heard = b""
    wire.say(body=loud)
    assert max(pcm.samples(page.heard)) == before >> 3
    studio.run(0.5)
    page.heard = b""
    wire.say(body=loud)
    assert max(pcm.samples(page.heard)) == before
    studio.end()


def test_a_slow_link_gets_no_old_sound_and_a_flood_of_the_page_is_not_taken() -> None:
    studio = Studio()
    device = studio.online()
    talk, _page, wire = studio.talking(device)
    wire.packets()
    wire.waiting = 20000
    studio.speak(talk, 0.5)
    assert wire.packets() == []
    assert wire.link is not None
    assert wire.link.skipped > 5
    for _ in range(100):
        talk.speak(bytes(8000))
    assert talk.flooded > 500_000
    assert talk.as_dict()["held_ms"] <= 250
    studio.end()


def test_a_codec_that_cannot_be_made_is_said_to_the_page() -> None:
    studio = Studio()
    device = studio.online()
    talk, page, wire = studio.talking(device)
    wire.say(body=bytes(20), pt=5)
    wire.say(body=bytes(20), pt=5)
    assert "cannot be made here" in talk.calls[0].problem
    assert page.told
    studio.end()


@pytest.mark.parametrize("closing", ["page", "relay"])
def test_the_end_of_page_or_relay(closing: str) -> None:
    studio = Studio()
    device = studio.online()
    talk, page, _wire = studio.talking(device)
    if closing == "page":
        talk.detach(page)
        assert studio.talks.describe() == []
    studio.end()
    assert 4 in [message.command for message in told_to_close(device)]
