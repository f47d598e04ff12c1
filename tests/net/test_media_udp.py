"""JT/T 1078 on UDP: sessions to streams, admission before state, silence as the end, order restored."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from twisted.internet.task import Clock

from relay.hub.registry import Refusal
from relay.hub.stream import StreamState
from relay.net.media1078udp import RECEIVE_BUFFER, MediaDatagrams, show
from relay.settings import Media
from tests.hub.support import FakeSink
from tests.net.media_support import SIM, Camera, World
from tests.net.test_media1078 import V, lines  # noqa: F401

HERE = ("10.0.0.7", 40000)
THERE = ("10.0.0.7", 41000)
ELSEWHERE = ("10.66.6.6", 999)


def datagrams(data: bytes) -> list[bytes]:
    """One packet each."""
    out = []
    while data:
        header = 26 if data[15] >> 4 == 3 else 30
        size = header + struct.unpack(">H", data[header - 2 : header])[0]
        out.append(data[:size])
        data = data[size:]
    return out


class Port:
    """A UDP listener in memory."""

    def __init__(self, **media: Any) -> None:
        self.world = World(**media)
        self.clock: Clock = self.world.clock
        media.setdefault("host", "127.0.0.1")
        self.protocol = MediaDatagrams(self.clock, self.world.registry, Media(**media), "live", 1079)
        self.protocol.startProtocol()

    def send(self, data: bytes, address: tuple[str, int] = HERE) -> None:
        for datagram in datagrams(data):
            self.protocol.datagramReceived(datagram, address)

    def stop(self) -> None:
        self.protocol.stopProtocol()
        self.world.registry.close()
        self.clock.advance(2)
        assert not self.clock.getDelayedCalls()


def test_datagrams_become_a_stream() -> None:
    port = Port()
    camera = Camera()
    port.send(camera.key() + camera.picture() + camera.sound())
    stream = port.world.stream()
    assert port.world.asked == [("live", SIM, 1, "10.0.0.7:40000", "udp")]
    assert stream.state is StreamState.RUNNING
    sink = FakeSink()
    stream.attach(V, sink)
    port.send(camera.picture())
    assert len(sink.sends) == 2
    assert stream.frames == 3
    port.stop()


def test_datagrams_out_of_order_and_doubled_give_every_frame_once() -> None:
    port = Port()
    camera = Camera()
    port.send(camera.key())
    dice = random.Random(7)
    frames = [camera.picture(2500) for _ in range(40)]
    packets = [datagram for frame in frames for datagram in datagrams(frame)]
    for at in range(0, len(packets), 8):
        batch = packets[at : at + 8] + packets[at : at + 2]
        dice.shuffle(batch)
        for packet in batch:
            port.protocol.datagramReceived(packet, HERE)
    assert port.world.stream().frames == 41
    assert port.world.stream().lost_packets == 0
    port.stop()


def test_a_lost_datagram_costs_its_frame_after_the_wait_and_is_counted() -> None:
    port = Port(reorder_ms=150)
    camera = Camera()
    port.send(camera.key() + camera.picture())
    packets = datagrams(camera.picture(2500))
    for packet in [packets[0], *packets[2:]]:
        port.protocol.datagramReceived(packet, HERE)
    port.send(camera.key())
    stream = port.world.stream()
    assert stream.frames == 2
    port.clock.advance(0.2)
    assert stream.frames == 3
    assert stream.key_frames == 2
    port.clock.advance(1.0)
    assert stream.lost_packets == 1
    port.stop()


def test_who_is_refused_leaves_no_state_and_is_not_asked_about_with_every_datagram(lines: list[str]) -> None:  # noqa: F811
    port = Port()
    port.world.refuse = Refusal("unknown", "no such terminal")
    for _ in range(200):
        port.send(Camera().key())
    assert len(port.world.asked) == 1
    assert not port.protocol.feeds
    assert not port.protocol.demuxer.sessions
    assert len(port.world.registry) == 0
    assert port.world.registry.refused == 1
    assert [line for line in lines if "refused" in line] == [
        "media udp from 10.0.0.7:40000 on the live port 1079: 013800138000_1 refused (unknown: no such terminal)"
    ]
    port.clock.advance(1.1)
    port.stop()


def test_a_flood_of_unknown_numbers_is_bounded() -> None:
    port = Port(unrequested="reject")
    port.world.refuse = Refusal("unknown")
    packet = datagrams(Camera().picture(100))[0]
    for number in range(20000):
        port.protocol.datagramReceived(packet[:8] + number.to_bytes(6, "big") + packet[14:], ("10.1.0.1", number % 60000))
    assert not port.protocol.feeds
    assert not port.protocol.demuxer.sessions
    assert len(port.protocol.demuxer._refusals) <= 4096
    port.clock.advance(1.1)
    port.stop()


def test_silence_is_the_end_of_the_source() -> None:
    port = Port(silent_timeout_s=10.0)
    camera = Camera()
    port.send(camera.key() + camera.picture())
    stream = port.world.stream()
    port.clock.pump([1.0] * 12)
    assert stream.state is StreamState.LOST
    assert not port.protocol.feeds
    camera.seq += 500
    port.send(camera.key() + camera.picture())
    port.clock.advance(0.1)
    assert stream.state is StreamState.RUNNING
    port.stop()


def test_a_rebound_address_goes_on_and_a_stranger_does_not_get_in() -> None:
    port = Port()
    camera = Camera()
    port.send(camera.key() + camera.picture())
    stranger = Camera(seq=20000)
    port.send(stranger.key() + stranger.picture(), ELSEWHERE)
    stream = port.world.stream()
    assert stream.frames == 2
    port.send(camera.picture(), THERE)  # carriers' NAT forgot the mapping
    assert stream.frames == 3
    port.clock.advance(1.0)
    assert stream.source is not None
    assert stream.source.peer == "10.0.0.7:41000"
    assert len(port.world.asked) == 1
    port.stop()


def test_a_stream_that_ended_lets_its_session_go() -> None:
    port = Port()
    camera = Camera()
    port.send(camera.key() + camera.picture())
    port.world.stream().end("stopped")
    assert not port.protocol.feeds
    assert not port.protocol.demuxer.sessions
    port.world.refuse = Refusal("unrequested")
    port.send(camera.picture())
    assert len(port.world.registry) == 0
    port.clock.advance(1.1)
    port.stop()


@pytest.mark.parametrize(
    ("datagram", "word"),
    [(b"GET / HTTP/1.1\r\n\r\n", "HTTP"), (b"\x00" * 40, "not one JT/T 1078 packet"), (b"", "not one"), (b"01cd\x81\x62" + b"x" * 30, "not one")],
)
def test_what_is_no_packet_is_told_once(datagram: bytes, word: str, lines: list[str]) -> None:  # noqa: F811
    port = Port()
    for _ in range(100):
        port.protocol.datagramReceived(datagram, HERE)
    assert len(lines) == 1
    assert word in lines[0]
    port.clock.advance(1.1)
    assert any("99 more from 10.0.0.7" in line for line in lines)
    port.clock.advance(2)
    port.stop()


def test_a_fault_of_our_own_costs_one_datagram(logged_errors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port = Port()
    camera = Camera()
    port.send(camera.key())

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(port.protocol.demuxer, "feed", broken)
        port.protocol.datagramReceived(b"x", HERE)
    assert port.protocol.unhandled == 1
    logged_errors.flush(ZeroDivisionError)
    port.send(camera.picture())
    assert port.world.stream().frames == 2
    port.stop()


def test_the_socket_gets_room_for_bursts() -> None:
    import socket

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    class Transport:
        def getHandle(self) -> socket.socket:
            return sock

    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    world = World()
    protocol = MediaDatagrams(world.clock, world.registry, Media(), "live", 1079)
    protocol.transport = Transport()  # type: ignore[assignment]
    protocol.startProtocol()
    assert before < sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * RECEIVE_BUFFER
    sock.close()


def test_addresses_in_words() -> None:
    assert show(("10.0.0.7", 40112)) == "10.0.0.7:40112"
    assert show(("fe80::1", 40112)) == "[fe80::1]:40112"
