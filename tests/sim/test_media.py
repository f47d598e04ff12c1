"""The media of the simulated terminal: opened by 0x9101, steered by 0x9102, byte by byte as JT/T 1078 table 19 has it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from relay.jt808.messages.video import PlaybackControl, PlaybackRequest, RealtimeAvControl, RealtimeAvRequest
from relay.jt1078.packet import DataType, Packet, build_packet
from relay.sim.media import State
from relay.sim.sources import Unit
from relay.sim.tone import sound
from tests.sim.platform import PHONE, Platform, frames_of, packets_of

SERVER = "203.0.113.9"


class Plain:
    """A source whose frames say what they are: no drawing, so the tests are quick."""

    video_pt, audio_pt, audio_bytes = 98, 6, 320

    def open(self, channel: int, sub: bool, wall: float) -> Iterator[Unit]:
        for n in range(1_000_000):
            key = n % 50 == 0
            word = f"{'sub' if sub else 'main'} {channel} {n} {'key' if key else 'p'} ".encode()
            body = b"\x00\x00\x00\x01" + (b"\x65" if key else b"\x41") + word
            yield Unit(40 * n, 40 * n, 98, DataType.VIDEO_I if key else DataType.VIDEO_P, body + bytes(3000 if key else 500))
            yield Unit(40 * n + 40, 40 * n, 6, DataType.AUDIO, bytes((n & 0xFF,)) * 320)


def live(channel: int = 1, data_type: int = 0, stream_type: int = 1, tcp: int = 1078, udp: int = 0) -> RealtimeAvRequest:
    return RealtimeAvRequest(server_ip=SERVER, tcp_port=tcp, udp_port=udp, channel=channel, data_type=data_type, stream_type=stream_type)


def stop(channel: int = 1, **fields: int) -> RealtimeAvControl:
    return RealtimeAvControl(channel=channel, command=fields.pop("command", 0), **fields)


class Media:
    """One media connection of the terminal."""

    def __init__(self, platform: Platform, request: RealtimeAvRequest | None = None) -> None:
        self.platform = platform
        self.result = platform.result(request or live())
        assert self.result == 0
        assert len(platform.pending()) == 1
        self.where = platform.pending()[0]
        self.protocol, self.wire = platform.accept()

    def run(self, seconds: float) -> list[Packet]:
        self.platform.advance(seconds)
        return packets_of(self.wire.take())


def online(*faults: str, **options: Any) -> Platform:
    return Platform(faults, source=Plain(), heartbeat_s=1000, position_s=0, **options).online()


def video(packet: Packet) -> bool:
    return packet.data_type <= 2


def audio(packet: Packet) -> bool:
    return packet.data_type == 3


# live -------------------------------------------------------------------------------------------------------------------------------


def test_the_first_bytes_are_a_key_frame_in_packets_of_950_bytes() -> None:
    platform = online()
    media = Media(platform)
    assert media.where == (SERVER, 1078)
    packets = packets_of(media.wire.take())
    assert [p.subpackage for p in packets] == [1, 3, 3, 2]
    assert [len(p.body) for p in packets][:3] == [950] * 3
    assert [p.m for p in packets] == [0, 0, 0, 1]
    for n, packet in enumerate(packets):
        assert (packet.v, packet.p, packet.x, packet.cc, packet.pt) == (2, 0, 0, 1, 98)
        assert (packet.seq, packet.sim, packet.channel, packet.data_type) == (n, PHONE, 1, 0)
        assert packet.timestamp == 1_700_000_000_000
        assert packet.last_i_interval == packet.last_frame_interval == 0
    assert platform.terminal.media.sending == [1]
    platform.finish()


def test_it_sends_in_real_time_with_sound_between_the_pictures() -> None:
    platform = online()
    media = Media(platform)
    packets = media.run(4.02)
    pictures = [p for p in packets if video(p) and p.subpackage in (0, 1)]
    assert len(pictures) == 101
    assert [p.timestamp - 1_700_000_000_000 for p in pictures] == [40 * n for n in range(101)]  # type: ignore[operator]
    assert [n for n, p in enumerate(pictures) if p.data_type == 0] == [0, 50, 100]
    assert [p.last_frame_interval for p in pictures[1:]] == [40] * 100
    assert [p.last_i_interval for p in pictures[:3]] == [0, 40, 80]
    assert pictures[51].last_i_interval == 40
    blocks = [p for p in packets if audio(p)]
    assert len(blocks) == 100
    assert {(p.pt, p.m, p.subpackage, len(p.body)) for p in blocks} == {(6, 1, 0, 320)}
    assert [p.seq for p in packets] == [n & 0xFFFF for n in range(len(packets))]
    assert platform.terminal.media.bytes_sent == sum(p.consumed for p in packets)
    platform.finish()


@pytest.mark.parametrize(("data_type", "pictures", "blocks"), [(0, True, True), (1, True, False), (2, False, True), (3, False, True), (4, False, False)])
def test_data_types(data_type: int, pictures: bool, blocks: bool) -> None:
    platform = online()
    packets = Media(platform, live(data_type=data_type)).run(1)
    assert (any(map(video, packets)), any(map(audio, packets))) == (pictures, blocks)
    platform.finish()


def test_transparent_data() -> None:
    platform = online()
    packets = Media(platform, live(data_type=5)).run(2.5)
    assert [(p.pt, p.data_type, p.timestamp) for p in packets] == [(91, 4, None)] * 3
    platform.finish()


def test_main_and_sub_differ_and_channels_too() -> None:
    platform = online()
    for channel, stream_type, word in ((1, 0, b"main 1"), (2, 1, b"sub 2"), (3, 1, b"sub 3")):
        media = Media(platform, live(channel, stream_type=stream_type))
        assert word in frames_of(packets_of(media.wire.take()), video)[0]
    assert platform.terminal.media.sending == [1, 2, 3]
    platform.finish()


def test_stopping_closes_the_connection() -> None:
    platform = online()
    media = Media(platform)
    media.run(1)
    assert platform.result(stop()) == 0
    assert media.wire.lost
    assert platform.terminal.media.sending == []
    assert media.run(1) == []
    assert platform.terminal.media.bytes_sent > 1000
    assert platform.result(stop()) == 1  # nothing to stop any more
    platform.finish()


def test_stopping_sound_and_picture_apart() -> None:
    platform = online()
    media = Media(platform)
    media.run(1)
    platform.result(stop(close_type=1))
    media.wire.take()
    assert not any(map(audio, media.run(1)))
    platform.result(stop(close_type=2))
    assert media.wire.lost
    platform.finish()


def test_switching_goes_on_on_the_same_connection_from_a_key_frame_with_one_time() -> None:
    platform = online()
    media = Media(platform)
    before = media.run(0.5)
    assert platform.result(stop(command=1, stream_type=0)) == 0
    after = media.run(0.5)
    assert not media.wire.lost
    assert after[0].data_type == 0
    assert b"main 1 0 key" in frames_of(after, video)[0]
    stamps = [p.timestamp for p in before + after if video(p)]
    assert stamps == sorted(stamps)  # type: ignore[type-var]
    assert [p.seq for p in before + after] == list(range(len(before + after)))
    platform.finish()


def test_pausing_and_resuming() -> None:
    platform = online()
    media = Media(platform)
    before = media.run(0.5)
    assert platform.result(stop(command=2)) == 0
    assert media.run(3) == []
    assert platform.terminal.media.sending == []
    assert platform.result(stop(command=3)) == 0
    after = media.run(0.5)
    assert after[0].data_type == 0
    assert after[0].timestamp - before[-1].timestamp >= 3000  # type: ignore[operator]
    assert 10 <= len(frames_of(after, video)) <= 14  # no burst of what was missed
    platform.finish()


def test_the_same_channel_asked_for_again_begins_anew() -> None:
    platform = online()
    first = Media(platform)
    first.run(1)
    second = Media(platform, live(stream_type=0))
    assert first.wire.lost
    assert second.run(0.1)[0].seq == 0
    platform.finish()


def test_a_channel_it_does_not_have_is_refused() -> None:
    platform = online(channels=(1, 2))
    assert platform.result(live(7)) == 1
    assert platform.pending() == []
    platform.finish()


def test_tcp_wins_when_both_ports_are_given_unless_udp_is_preferred() -> None:
    platform = online()
    assert platform.result(live(udp=1079)) == 0
    assert platform.pending() == [(SERVER, 1078)]
    platform.finish()
    platform = online(media_udp=True)
    assert platform.result(live(udp=1079)) == 0
    assert platform.pending() == []
    (port,) = platform.reactor.ports
    assert port.remote == (SERVER, 1079)
    platform.finish()


def test_over_udp_a_packet_a_datagram() -> None:
    platform = online()
    assert platform.result(live(tcp=0, udp=1079)) == 0
    platform.advance(1)
    (port,) = platform.reactor.ports
    packets = [packets_of(datagram) for datagram in port.sent]
    assert all(len(found) == 1 for found in packets)
    assert max(map(len, port.sent)) == 980
    assert [found[0].seq for found in packets] == list(range(len(packets)))
    platform.result(stop())
    assert port.closed
    platform.finish()


def test_a_media_server_of_ones_own() -> None:
    platform = online(media_server=("192.0.2.1", 5555))
    platform.result(live())
    assert platform.pending() == [("192.0.2.1", 5555)]
    platform.finish()


def test_a_server_that_is_not_there() -> None:
    platform = online()
    platform.result(live())
    platform.refuse()
    assert platform.terminal.media.streams == {}
    assert "media channel 1 (live) closed: no connection" in platform.lines[-1]
    platform.finish()


def test_when_the_socket_is_full_frames_are_dropped_and_the_picture_returns_with_a_key_frame() -> None:
    platform = online()
    media = Media(platform)
    media.run(0.5)
    stream = platform.terminal.media.streams[1, "live"]
    stream.pauseProducing()
    assert media.run(1) == []
    assert stream.frames_dropped > 40
    stream.resumeProducing()
    after = media.run(3)
    pictures = [p for p in after if video(p)]
    assert pictures[0].data_type == 0
    assert any(map(audio, after))
    platform.finish()


def test_a_machine_that_slept_does_not_catch_up() -> None:
    platform = online()
    media = Media(platform)
    media.run(1)
    platform.reactor.advance(60)
    packets = packets_of(media.wire.take())
    assert len(packets) < 10
    assert packets[0].data_type == 0
    platform.finish()


def test_talk_goes_both_ways_on_one_connection() -> None:
    platform = online()
    media = Media(platform, live(channel=33, data_type=2))
    media.run(0.2)
    down = b"".join(build_packet(sim=PHONE, channel=33, pt=6, data_type=3, body=bytes((n,)) * 320, seq=n) for n in range(3))
    for i in range(0, len(down), 100):
        media.protocol.dataReceived(down[i : i + 100])
    stream = platform.terminal.media.streams[33, "talk"]
    assert (stream.packets_received, stream.bytes_received, stream.last_received) == (3, len(down), b"\x02" * 320)
    assert platform.result(stop(33, command=4)) == 0
    assert media.wire.lost
    platform.finish()


def test_noise_on_the_downlink_is_passed_over() -> None:
    platform = online()
    media = Media(platform, live(channel=33, data_type=4))
    media.protocol.dataReceived(b"noise 01c" + build_packet(sim=PHONE, channel=33, pt=6, data_type=3, body=b"x" * 160))
    assert platform.terminal.media.streams[33, "talk"].packets_received == 1
    platform.finish()


def test_deferreds_tell_when_something_was_asked() -> None:
    platform = online()
    asked: list[Any] = []
    platform.terminal.when_received(0x9102).addCallback(asked.append)
    Media(platform)
    assert asked == []
    platform.result(stop())
    assert asked[0].message.channel == 1
    platform.finish()


def test_the_link_may_go_while_media_flows() -> None:
    platform = online()
    media = Media(platform)
    platform.wire.loseConnection()  # type: ignore[union-attr]
    platform.reactor.advance(0.5)
    assert packets_of(media.wire.take())
    platform.finish()
    assert media.wire.lost


# playback ---------------------------------------------------------------------------------------------------------------------------


def test_playback_shows_the_time_asked_for_and_obeys() -> None:
    platform = online()
    request = PlaybackRequest(server_ip=SERVER, tcp_port=1178, channel=2, start_time="231115060000", end_time="231115060010")
    event = platform.ask(request)
    assert [r.channel for r in event.message.resources] == [2]
    assert platform.pending() == [(SERVER, 1178)]
    _, wire = platform.accept()
    begun = 1_700_000_000_000 - 800_000
    first = packets_of(wire.take())[0]
    assert first.timestamp == begun
    platform.advance(2)
    assert platform.result(PlaybackControl(channel=2, playback_control=1)) == 0
    wire.take()
    platform.advance(5)
    assert wire.take() == b""
    assert platform.result(PlaybackControl(channel=2, playback_control=0)) == 0
    resumed = packets_of(wire.take())[0]
    assert 1900 <= resumed.timestamp - begun <= 2100  # type: ignore[operator]
    assert platform.result(PlaybackControl(channel=2, playback_control=3, playback_speed=3)) == 0
    platform.advance(1)
    stamps = [p.timestamp for p in packets_of(wire.take())]
    assert max(stamps) - begun > 5000  # type: ignore[type-var,operator]
    assert platform.result(PlaybackControl(channel=2, playback_control=5, seek_time="231115060009")) == 0
    platform.advance(2)
    assert wire.lost
    assert "media channel 2 (playback) closed: the recording is at its end" in platform.lines
    platform.finish()


def test_a_playback_of_nothing_brings_no_media() -> None:
    platform = online()
    event = platform.ask(PlaybackRequest(server_ip=SERVER, tcp_port=1178, channel=2, start_time="200101000000", end_time="200101010000"))
    assert event.message.resources == []
    assert platform.pending() == []
    platform.finish()


# faults -----------------------------------------------------------------------------------------------------------------------------


def test_fault_refuse() -> None:
    platform = online("refuse=3")
    assert platform.result(live()) == 3
    assert platform.pending() == []
    platform.finish()


def test_fault_no_answer() -> None:
    platform = online("no-answer")
    assert platform.ask(live()) is None
    assert platform.pending() == []
    platform.finish()


def test_fault_never_connect() -> None:
    platform = online("never-connect")
    assert platform.result(live()) == 0
    platform.advance(20, 1)
    assert platform.pending() == []
    platform.finish()


def test_fault_connect_late() -> None:
    platform = online("connect-late=4")
    assert platform.result(live()) == 0
    platform.advance(3.9, 0.1)
    assert platform.pending() == []
    platform.advance(0.3, 0.1)
    assert platform.pending() == [(SERVER, 1078)]
    platform.finish()


def test_fault_media_before_answer() -> None:
    platform = online("media-before-answer=2")
    assert platform.ask(live()) is None
    _, wire = platform.accept()
    assert packets_of(wire.take())
    assert (0x9101, 0) not in platform.general()
    platform.advance(2.1, 0.1)
    assert (0x9101, 0) in platform.general()
    platform.finish()


def test_fault_keeps_sending() -> None:
    platform = online("keeps-sending")
    media = Media(platform)
    assert platform.result(stop()) == 0
    assert media.run(1)
    platform.finish()


def test_fault_reconnect_media() -> None:
    platform = online("keeps-sending", "reconnect-media=1")
    media = Media(platform)
    media.wire.loseConnection()
    platform.advance(1.1)
    assert platform.pending() == [(SERVER, 1078)]
    platform.finish()


def test_fault_drop_media() -> None:
    platform = online("drop-media=2")
    media = Media(platform)
    media.run(1.9)
    assert not media.wire.lost
    media.run(0.2)
    assert media.wire.lost
    platform.finish()


def test_fault_stall_media() -> None:
    platform = online("stall-media=1")
    media = Media(platform)
    assert media.run(0.9)
    media.run(0.2)
    assert media.run(5) == []
    assert not media.wire.lost
    assert platform.terminal.media.streams[1, "live"].state is State.PAUSED
    platform.finish()


@pytest.mark.parametrize(
    ("fault", "sim", "sim_bytes"),
    [("wrong-sim=13900001111", "013900001111", 6), ("sim-bytes=10", "00000000013800138001", 10), ("binary-sim", "0000368d6511", 6)],
)
def test_faults_of_the_sim_field(fault: str, sim: str, sim_bytes: int) -> None:
    platform = online(fault)
    media = Media(platform)
    packet = packets_of(media.wire.take(), sim_bytes)[0]
    assert packet.sim == sim
    if fault == "binary-sim":
        assert int(packet.sim, 16) == 13800138001 & 0xFFFFFFFF
    platform.finish()


def test_fault_loss() -> None:
    platform = online("loss=20")
    packets = Media(platform).run(10)
    numbers = [p.seq for p in packets]
    assert numbers == sorted(numbers)
    missing = numbers[-1] + 1 - len(numbers)
    assert 0.12 < missing / numbers[-1] < 0.28
    platform.finish()


def test_fault_garbage() -> None:
    platform = online("garbage=30")
    media = Media(platform)
    platform.advance(10)
    data = media.wire.take()
    magics = data.count(b"01cd")
    clean = sum(p.consumed for p in _forgiving(data))
    assert magics >= 500
    assert 100 < len(data) - clean < 2000
    platform.finish()


def _forgiving(data: bytes) -> Iterator[Packet]:
    from relay.jt1078.packet import parse_packet

    at = data.find(b"01cd")
    while at >= 0:
        packet = parse_packet(data, at, 6)
        if packet is None:
            return
        yield packet
        at = data.find(b"01cd", at + packet.consumed)


@pytest.mark.parametrize("fault", ["duplicates=20", "reorder=20"])
def test_faults_of_udp(fault: str) -> None:
    platform = online(fault)
    assert platform.result(live(tcp=0, udp=1079)) == 0
    platform.advance(5)
    numbers = [packets_of(datagram)[0].seq for datagram in platform.reactor.ports[0].sent]
    assert set(range(max(numbers) - 1)) <= set(numbers)
    if fault.startswith("dup"):
        assert 0.1 < 1 - len(set(numbers)) / len(numbers) < 0.25
    else:
        assert 0.1 < sum(b < a for a, b in pairwise(numbers)) / len(numbers) < 0.3
        assert max(abs(n - i) for i, n in enumerate(numbers)) <= 2
    platform.finish()


def test_fault_body() -> None:
    platform = online("body=1400")
    packets = packets_of(Media(platform).wire.take())
    assert [len(p.body) for p in packets][:2] == [1400, 1400]
    platform.finish()


def test_fault_wrong_marks() -> None:
    platform = online("wrong-marks")
    packets = Media(platform).run(1)
    assert {(p.subpackage, p.m) for p in packets} == {(0, 0)}
    assert len(frames_of(packets, video)) > 25
    platform.finish()


def test_fault_wrong_types() -> None:
    platform = online("wrong-types")
    assert {p.data_type for p in Media(platform).run(1)} == {0, 3}
    platform.finish()


def test_fault_frozen_stamps() -> None:
    platform = online("frozen-stamps")
    assert len({p.timestamp for p in Media(platform).run(2)}) == 1
    platform.finish()


def test_fault_jumping_stamps() -> None:
    platform = online("jumping-stamps=2")
    packets = Media(platform).run(5)
    stamps = [p.timestamp for p in packets if video(p) and p.subpackage in (0, 1)]
    jumps = [b - a for a, b in pairwise(stamps) if not 0 <= b - a <= 80]  # type: ignore[operator]
    assert len(jumps) == 2
    assert all(-6000 <= jump <= -5900 for jump in jumps)
    assert [p.seq for p in packets] == list(range(len(packets)))
    platform.finish()


def test_fault_no_key_frames() -> None:
    platform = online("no-key-frames")
    packets = Media(platform).run(5)
    assert {p.data_type for p in packets} == {1, 3}
    assert len(frames_of(packets, video)) > 100
    platform.finish()


def test_fault_late_key_frame() -> None:
    platform = online("late-key-frame=3")
    packets = Media(platform).run(6)
    first = next(p for p in packets if p.data_type == 0)
    assert first.timestamp == 1_700_000_004_000
    assert any(p.data_type == 1 and p.timestamp < first.timestamp for p in packets)  # type: ignore[operator]
    platform.finish()


@pytest.mark.parametrize(("fault", "left"), [("no-audio", video), ("no-video", audio)])
def test_faults_that_leave_a_track_out(fault: str, left: Any) -> None:
    platform = online(fault)
    packets = Media(platform).run(1)
    assert packets
    assert all(map(left, packets))
    platform.finish()


def test_fault_burst() -> None:
    platform = online("burst=5")
    media = Media(platform)
    at_once = packets_of(media.wire.take())
    assert len(frames_of(at_once, video)) == 126
    assert len(frames_of(media.run(1), video)) == 25
    platform.finish()


def test_a_burst_waits_for_room_in_the_socket() -> None:
    platform = online("burst=5")
    platform.result(live())
    stream = platform.terminal.media.streams[1, "live"]
    wrote: list[bytes] = []

    def write(data: bytes) -> None:
        wrote.append(data)
        if len(wrote) % 10 == 0:
            stream.pauseProducing()

    stream.connected(write, lambda: None)
    assert len(wrote) == 10
    while stream._blocked:
        stream.resumeProducing()
    assert len(frames_of(packets_of(b"".join(wrote)), video)) == 126
    assert stream.frames_dropped == 0
    platform.finish()


def test_fault_hisi_with_the_card() -> None:
    platform = Platform(("hisi",), heartbeat_s=1000, position_s=0).online()
    packets = Media(platform, live(data_type=3)).run(0.5)
    assert {p.body[:4] for p in packets} == {bytes((0, 1, 160, 0))}
    platform.finish()


def test_the_card_itself_goes_out_and_the_tone_changes_with_the_clock() -> None:
    platform = Platform(heartbeat_s=1000, position_s=0).online()
    packets = Media(platform).run(1.5)
    frames = frames_of(packets, video)
    assert frames[0].startswith(b"\x00\x00\x00\x01\x67")
    assert len(frames) == 38
    blocks = [p.body for p in packets if audio(p)]
    assert blocks == sound("g711a", 1).blocks[: len(blocks)]  # the clock began at an even second
    platform.finish()


def test_a_udp_server_whose_name_does_not_exist() -> None:
    platform = online()
    asking = live(tcp=0, udp=1079)
    asking.server_ip = "nowhere.invalid"
    assert platform.result(asking) == 0
    assert platform.terminal.media.streams == {}
    assert "nowhere.invalid" in platform.lines[-1]
    platform.finish()
