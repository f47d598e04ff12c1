"""The short way of ordinary pictures gives what the long way gives: the same bytes to every viewer, the same figures, whatever comes in which pieces.

Everything here is done with the loop in Python and with the compiled one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from relay.codec.frame import Frame
from relay.hub import shortcut as short_way
from relay.hub.formats import OutputFormat
from relay.hub.shortcut import Shortcut
from relay.net.media1078 import MediaProtocol
from tests.hub.support import FakeSink
from tests.hub.test_ingest import IDR5, PPS5, SPS5, VPS, annexb
from tests.net.media_support import SIM, Camera, World, packet
from tests.shared import captures, shared

FLV = OutputFormat(media="v", audio="none")
BOTH = OutputFormat(audio="source")
MP4 = OutputFormat("mp4", media="v", audio="none")
WS = OutputFormat("flv", "ws", media="v", audio="none")


@pytest.fixture(params=["python", "compiled"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(short_way, "scan", None)
    elif short_way.scan is None:
        pytest.skip("relay.hub._scan was not compiled when this was installed: that needs a C compiler and Python's headers")


class Transport:
    """Of a connection that Twisted reads."""

    aborted = False

    def getHandle(self) -> Any:
        return None

    def getPeer(self) -> Any:
        return None

    def abortConnection(self) -> None:
        self.aborted = True


class Way:
    """A world with one connection, read the long way or, wherever it may be, the short way."""

    def __init__(self, short: bool, merge: int = 0) -> None:
        self.short = short
        self.world = World(merge=merge)
        self.protocol: MediaProtocol = self.world.server.factory("live", 1078).buildProtocol(None)
        self.protocol.makeConnection(Transport())  # type: ignore[arg-type]
        self.sinks: list[FakeSink] = []
        self.frames_taken = 0

    @property
    def stream(self) -> Any:
        streams = list(self.world.registry.streams())
        return streams[0] if streams else None

    def read(self, data: bytes) -> None:
        self.world.clock.advance(0.01)
        if self.short:
            self.protocol._look_for_shortcut()
        before = self.protocol._shortcut
        if before is not None and not before._idle:
            self.frames_taken += 1
        if not self.protocol.closing:
            self.protocol.dataReceived(data)

    def watch(self, fmt: OutputFormat = FLV, room: int | None = None) -> FakeSink:
        sink = FakeSink(room)
        self.sinks.append(sink)
        self.stream.attach(fmt, sink)
        return sink

    def end(self) -> dict[str, Any]:
        """What there is to compare."""
        demuxer = self.protocol.demuxer
        self.protocol._give_up_shortcut()
        stream = self.stream
        found: dict[str, Any] = {
            "demuxer": (demuxer.packets, demuxer.bytes, demuxer.lost_packets, demuxer.garbage_bytes),
            "closing": self.protocol.closing,
        }
        if stream is not None:
            viewers = [(viewer.state, viewer.bytes, viewer.drops) for viewer in stream.viewers()]
            found.update(
                counts=(stream.packets, stream.received, stream.frames, stream.key_frames, stream.lost_packets, stream.last_dts, stream.last_packet),
                dropped=stream.ingest.counts,
                gop=[(frame.kind, frame.dts, frame.pts, frame.key, frame.data) for frame in stream.gop.frames],
                viewers=viewers,
            )
        self.protocol.connectionLost()
        found["sent"] = [sink.got for sink in self.sinks]
        return found


def compare(reads: Sequence[bytes], act: Callable[[Way, int], None] | None = None, merge: int = 0) -> Way:
    """Both ways, read by read; ``act(way, number)`` is called before each read. Gives the short one."""
    ways = Way(False, merge), Way(True, merge)
    ends = []
    for way in ways:
        for number, data in enumerate(reads):
            if act is not None:
                act(way, number)
            elif way.stream is not None and not way.sinks:
                way.watch()
            way.read(data)
        ends.append(way.end())
    assert ends[0].keys() == ends[1].keys()
    for name, expected in ends[0].items():
        assert ends[1][name] == expected, name
    return ways[1]


def cut(data: bytes, rng: random.Random, longest: int) -> list[bytes]:
    reads = []
    at = 0
    while at < len(data):
        size = rng.randint(1, longest)
        reads.append(data[at : at + size])
        at += size
    return reads


def pictures(rng: random.Random, count: int, camera: Camera | None = None, gop: int = 12) -> list[bytes]:
    camera = camera or Camera()
    made = []
    for number in range(count):
        made.append(camera.key(rng.randint(100, 4000)) if number % gop == 0 else camera.picture(rng.choice((10, 300, 943, 944, 945, 1894, 2500, 5000))))
    return made


@pytest.mark.parametrize("longest", [60, 1460, 20000])
def test_plain_pictures_in_any_pieces(longest: int) -> None:
    rng = random.Random(longest)
    way = compare([read for made in pictures(rng, 200) for read in cut(made, rng, longest)])
    assert way.frames_taken > 100, "the short way has been gone"
    compare(cut(b"".join(pictures(rng, 200)), rng, longest))


def test_a_picture_a_read_is_sent_with_one_send() -> None:
    way = compare(pictures(random.Random(1), 100))
    assert way.frames_taken > 70
    assert len(way.sinks[0].sends) == 100
    assert b"\x27\x01" in way.sinks[0].got


def test_what_came_before_the_beginning_of_a_key_frame_is_not_held_up() -> None:
    way = Way(True)
    camera = Camera()
    for made in [camera.key(), *(camera.picture() for _ in range(20))]:
        way.read(made)
    sink = way.watch()
    way.read(camera.picture())
    sends = len(sink.sends)
    way.read(camera.picture() + camera.key(3000)[:1500])
    assert len(sink.sends) == sends + 1
    way.protocol.connectionLost()


def test_a_fault_of_our_own_costs_the_connection(logged_errors: Any) -> None:
    way = Way(True)
    camera = Camera()
    for made in [camera.key(), *(camera.picture() for _ in range(20))]:
        way.read(made)
    way.watch()
    way.read(camera.picture())
    assert not way.protocol._shortcut._idle  # type: ignore[union-attr]
    way.sinks[0].closed = b"a send now is a mistake"
    way.read(camera.picture())
    assert way.protocol.closing
    way.protocol.connectionLost()
    logged_errors.flush(AssertionError)


def test_a_gathered_stream_waits_for_the_tick() -> None:
    def act(way: Way, number: int) -> None:
        if number == 20:
            way.watch()
        if number % 5 == 0:
            way.world.clock.advance(0.1)

    way = compare(pictures(random.Random(2), 100), act, merge=100)
    assert way.frames_taken > 50
    assert len(way.sinks[0].sends) < 30


@pytest.mark.parametrize("formats", [(FLV, FLV), (MP4,), (FLV, MP4), (WS,), (WS, FLV), (BOTH,)], ids=str)
def test_every_kind_of_output(formats: Sequence[OutputFormat]) -> None:
    def act(way: Way, number: int) -> None:
        if 20 <= number < 20 + len(formats):
            way.watch(formats[number - 20])
        if number == 60:
            way.stream.kick(next(iter(way.stream.viewers())).id)
        if number == 70:
            way.watch(formats[0])

    assert compare(pictures(random.Random(3), 120), act).frames_taken > 60


def test_a_late_viewer_begins_with_the_reads_in_the_cache() -> None:
    def act(way: Way, number: int) -> None:
        if number in (19, 25, 26, 40):
            way.watch(MP4 if number == 26 else FLV)

    compare(pictures(random.Random(4), 60), act)


def test_a_viewer_that_stops_reading_falls_back_to_its_queue() -> None:
    def act(way: Way, number: int) -> None:
        if number == 3:
            way.watch(room=30000)
        elif number % 9 == 8 and way.sinks:
            way.sinks[0].drain(4000)
        if number == 100:
            way.sinks[0].drain(None)

    compare(pictures(random.Random(5), 160), act)


def test_a_viewer_whose_connection_is_lost() -> None:
    def act(way: Way, number: int) -> None:
        if number == 3:
            way.watch()
            way.watch(MP4)
        if number == 50:
            way.sinks[0].lost = True

    compare(pictures(random.Random(6), 80), act)


def test_sound_between_pictures() -> None:
    rng = random.Random(7)
    camera = Camera()
    reads = []
    for number, made in enumerate(pictures(rng, 120, camera)):
        reads.append(made)
        if number % 3:
            reads.append(camera.sound())

    def act(way: Way, number: int) -> None:
        if number == 6:
            way.watch(BOTH)

    compare(reads, act)
    compare([b"".join(reads[at : at + 5]) for at in range(0, len(reads), 5)])


def test_it_is_given_up_where_sound_comes_between_all_pictures() -> None:
    way = Way(True)
    camera = Camera()
    way.read(camera.key())
    for _ in range(20):
        way.read(camera.picture())
    assert way.protocol._shortcut is not None
    shortcut = way.protocol._shortcut
    for number in range(40):
        way.short = False  # it is not looked for again
        way.read(camera.picture() + camera.sound())
        assert (way.protocol._shortcut is shortcut) == (number <= 16)
    assert way.stream.shortcut is None
    assert way.stream.frames == 61
    way.protocol.connectionLost()


def test_the_cache_is_bounded_as_ever() -> None:
    camera = Camera()
    reads = [camera.key()] + [camera.picture(2000) for _ in range(1500)]
    way = compare([b"".join(reads[at : at + 3]) for at in range(0, len(reads), 3)])
    assert way.frames_taken > 300
    assert way.stream is None or not way.stream.gop.items


def test_figures_are_right_while_the_short_way_is_gone() -> None:
    way = Way(True)
    camera = Camera()
    sent = 0
    for number in range(40):
        made = camera.key() if number == 0 else camera.picture()
        sent += len(made)
        way.read(made)
        if number == 20:
            way.watch()
        if number:
            assert way.stream.frames == number + 1
            assert way.stream.received == sent
            assert way.stream.last_packet == way.world.clock.seconds()
    assert isinstance(way.stream.shortcut, Shortcut)
    assert not way.stream.shortcut._idle
    (viewer,) = way.stream.viewers()
    assert viewer.bytes == len(way.sinks[0].got)
    assert len(way.stream.gop.frames) == 40
    assert all(isinstance(frame, Frame) for frame in way.stream.gop.frames)
    way.protocol.connectionLost()


def _without_m(data: bytes) -> bytes:
    return _each(data, lambda head: head.__setitem__(5, head[5] & 0x7F))


def _all_m(data: bytes) -> bytes:
    return _each(data, lambda head: head.__setitem__(5, head[5] | 0x80))


def _all_i(data: bytes) -> bytes:
    return _each(data, lambda head: head.__setitem__(15, head[15] & 0x0F))


def _each(data: bytes, change: Callable[[bytearray], None]) -> bytes:
    out = bytearray()
    at = 0
    while at < len(data):
        end = at + 30 + int.from_bytes(data[at + 28 : at + 30], "big")
        one = bytearray(data[at:end])
        change(one)
        out += one
        at = end
    return bytes(out)


@pytest.mark.parametrize("change", [_without_m, _all_m, _all_i])
def test_terminals_that_set_their_bits_otherwise(change: Callable[[bytes], bytes]) -> None:
    way = compare([change(made) for made in pictures(random.Random(8), 120)])
    assert way.frames_taken > 60, "and it is gone nevertheless"


def test_pictures_that_are_not_ordinary() -> None:
    rng = random.Random(9)
    camera = Camera()
    start = b"\0\0\0\1"
    odd = [
        start + b"\x41\x9a" + b"\xbb" * 50 + start + b"\x41\x40" + b"\xbb" * 50,  # two slices
        start + b"\x41\x9a" + b"\xbb" * 943 + b"\0\0\1\x41\x40" + b"\xbb" * 50,  # their start code in two packets
        start + b"\x41\x9a" + b"\xbb" * 50 + b"\0\0",
        b"\0\0\1\x41\x9a" + b"\xbb" * 50,
        start + b"\x41\x9e" + b"\xbb" * 50,
        start + b"\x09\xf0" + start + b"\x41\x9a" + b"\xbb" * 50,
        start + b"\x06\x05\x01\xff\x80" + start + b"\x41\x9a" + b"\xbb" * 50,
        b"\x41\x9a" + b"\xbb" * 50,
        b"",
    ]
    reads = []
    for number, made in enumerate(pictures(rng, 150, camera)):
        reads.append(made)
        if number > 10 and number % 3 == 0:
            reads.append(camera._packets(odd[number // 3 % len(odd)], 1) if odd[number // 3 % len(odd)] else packet(b"", camera.seq))
        if number % 40 == 39:
            camera.stamp += rng.choice((-5000, 499, 501, 70000, -40))
            camera.seq += rng.choice((0, 3))
    compare(reads)
    compare([b"".join(reads[at : at + 4]) for at in range(0, len(reads), 4)])


@pytest.mark.parametrize("seed", range(12))
def test_damage(seed: int) -> None:
    """Bytes lost, doubled, changed, put in: both ways make the same of it."""
    rng = random.Random(seed)
    data = bytearray(b"".join(pictures(rng, 200)))
    for _ in range(12):
        at = rng.randrange(6000, len(data))
        what = rng.randrange(5)
        if what == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del data[at : at + rng.randint(1, 2000)]
        elif what == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 300))
        elif what == 3:
            data[at:at] = data[at - 1500 : at]
        else:
            head = data.find(b"01cd", at)
            if head > 0:
                data[head + rng.randrange(30)] ^= 1 << rng.randrange(8)
    compare(cut(bytes(data), rng, rng.choice((200, 3000, 9000))))


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["file"]) for entry in captures() if entry["file"].endswith(".jt1078")])
def test_captures(entry: dict[str, Any]) -> None:
    data = shared(f"captures/{entry['file']}").read_bytes()[:1_500_000]
    rng = random.Random(len(data))
    compare(cut(data, rng, 4000))
    compare(cut(data, rng, 20000))


def test_sim_of_ten_bytes() -> None:
    rng = random.Random(10)

    def longer(data: bytes) -> bytes:
        out = b""
        at = 0
        while at < len(data):
            end = at + 30 + int.from_bytes(data[at + 28 : at + 30], "big")
            out += data[at : at + 8] + b"\0\0\0\0" + data[at + 8 : end]
            at = end
        return out

    assert compare([longer(made) for made in pictures(rng, 100, Camera(SIM))]).frames_taken > 50


def test_stamps_and_numbers_of_any_size() -> None:
    for stamp in (0, 1, 0xFF, 0xFFFFFF - 100, 0x1000000 - 40, 0xFFFFFFFF - 100, 1 << 62, (1 << 63) - 100, (1 << 63) + 5, (1 << 64) - 5000):
        camera = Camera()
        camera.stamp = stamp
        camera.seq = 0xFFFF - 30
        assert compare(pictures(random.Random(11), 60, camera)).frames_taken > 20


def test_h265() -> None:
    rng = random.Random(12)
    camera = Camera()
    reads = []
    for number in range(120):
        plain = b"\0\0\0\1\x02\x01\xd0" + b"\xbb" * rng.choice((10, 300, 943, 944, 2500))
        reads.append(camera._packets(plain, 1, 99) if number % 40 else camera._packets(annexb(VPS, SPS5, PPS5, IDR5), 0, 99))
    way = compare(reads)
    assert way.frames_taken > 60
    assert b"\xa3hvc1" in way.sinks[0].got
