"""The hub: what one frame costs, to a thousand viewers, to nobody, and from a terminal's socket to a viewer's.

One JSON line a benchmark: ``{"name", "us_per_unit", "floor_us", "ratio"}``. CPU time, median of several rounds, the floor measured in turn with
it. Real sockets on loopback, so most of a fan-out is the kernel's ``send``:

    fan-out          one frame of 2.5 kB to 1,000 viewers; a unit is one viewer; floor: a bare loop of ``send`` over the same sockets
    no viewers       one frame from the ingest's hands into the GOP cache; floor: a method that appends it to a list
    joining          headers and a GOP of 50 frames to a viewer that joins; floor: one ``send`` of those bytes
    400 to 400       400 terminals' sockets read, parsed, muxed, sent to a viewer each; a unit is one frame; at arrival (one frame a
                     read) and on a tick of 100 ms (2.5 frames); floor: ``recv_into`` and ``send`` of the same bytes

    python bench/bench_hub.py
"""

from __future__ import annotations

import gc
import json
import random
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relay.codec.frame import VIDEO, Frame, VideoConfig
from relay.codec.h264 import video_config
from relay.hub.formats import Options, OutputFormat
from relay.hub.ingest import Ingest
from relay.hub.merge import Merge
from relay.hub.registry import Admitted, Registry
from relay.hub.stream import Stream
from relay.identity import StreamKey
from relay.jt1078.packet import packetize
from relay.net.media1078 import MediaProtocol, MediaServer
from relay.net.poller import Poller
from relay.settings import Media

SPS, PPS = bytes.fromhex("674d001495a8582590"), bytes.fromhex("68ee3c80")
CONFIG: VideoConfig = video_config([SPS], [PPS])
VIEWERS = 1000
PAIRS = 400
V = OutputFormat(media="v", audio="none")


class Call:
    def active(self) -> bool:
        return False

    def cancel(self) -> None: ...


class Clock:
    """Time goes on; nothing is scheduled."""

    seconds = staticmethod(time.monotonic)

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        return Call()


class Everybody:
    def admit(self, kind: str, sim: str, channel: int, peer: str, transport: str) -> Admitted:
        return Admitted(StreamKey(sim, channel, kind), True)


class Source:
    peer, transport = "bench", "tcp"

    def close(self, reason: str) -> None: ...


class Sink:
    """A socket and nothing else."""

    def __init__(self, sock: socket.socket) -> None:
        self.send = sock.send

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        raise SystemExit("a viewer's socket was full: the benchmark drains them between rounds")


def registry() -> Registry:
    clock = Clock()
    return Registry(clock, Options(flv_audio="none"), Merge(clock, 0), lambda key: Ingest(key.sim, key.channel), Everybody())


def report(name: str, took: list[float], floor: list[float], units: int) -> None:
    ours, least = (sorted(values)[len(values) // 2] / units * 1e6 for values in (took, floor))
    print(json.dumps({"name": name, "us_per_unit": round(ours, 3), "floor_us": round(least, 3), "ratio": round(ours / least, 2)}), flush=True)


def cpu(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


class Loopback:
    """Connected TCP sockets: ours, and the players' or terminals' ends."""

    def __init__(self, count: int) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=count)
        self.ours: list[socket.socket] = []
        self.theirs: list[socket.socket] = []
        for _ in range(count):
            self.theirs.append(socket.create_connection(listener.getsockname()))
            self.ours.append(listener.accept()[0])
        listener.close()
        for sock in self.ours + self.theirs:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def drain(self) -> None:
        for sock in self.theirs:
            try:
                while len(sock.recv(1 << 18)) == 1 << 18:
                    pass
            except BlockingIOError:
                pass


def picture(number: int, size: int = 2480) -> Frame:
    key = number % 50 == 0
    body = bytes([0x65 if key else 0x41]) + b"\xaa" * (size if not key else 4 * size)
    return Frame(VIDEO, 40 * number, 40 * number, key, struct.pack(">I", len(body)) + body, CONFIG, 0, time.monotonic())


def opened() -> tuple[Registry, Stream]:
    streams = registry()
    stream = streams.connect("live", "1", 1, Source())
    assert isinstance(stream, Stream)
    return streams, stream


def fan_out() -> None:
    lines = Loopback(VIEWERS)
    _, stream = opened()
    stream.push([picture(0, 100)])
    for sock in lines.ours:
        stream.attach(V, Sink(sock))
    sends = [sock.send for sock in lines.ours]
    took, floor = [], []
    for number in range(1, 46):
        lines.drain()
        frame = picture(number)
        took.append(cpu(lambda: stream.push([frame])))  # noqa: B023
        lines.drain()

        def bare() -> None:
            data = b"".join((b"x" * 16, frame.data, b"x" * 4))  # noqa: B023
            for send in sends:
                send(data)

        floor.append(cpu(bare))
    report(f"fan-out, one frame to {VIEWERS} viewers, a viewer", took, floor, VIEWERS)


def nobody() -> None:
    _, stream = opened()
    frames = [picture(number) for number in range(5000)]
    took, floor = [], []

    class Bare:
        def __init__(self) -> None:
            self.frames: list[Frame] = []

        def push(self, frames: list[Frame]) -> None:
            for frame in frames:
                if frame.key:
                    self.frames = []
                self.frames.append(frame)

    bare = Bare()
    for _ in range(9):
        stream._need_key = True
        took.append(cpu(lambda: [stream.push([frame]) for frame in frames]))
        floor.append(cpu(lambda: [bare.push([frame]) for frame in frames]))
    report("one frame, no viewers", took, floor, len(frames))


def joining() -> None:
    lines = Loopback(300)
    _, stream = opened()
    for number in range(50):
        stream.push([picture(number)])
    burst = b"x" * sum(len(frame.data) + 20 for frame in stream.gop.frames)
    took, floor = [], []
    for sock in lines.ours[:150]:
        for output in stream._outputs.values():
            output._burst = b""  # that of the one before would serve this one as well
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        took.append(cpu(lambda: stream.attach(V, Sink(sock))))  # noqa: B023
        lines.drain()
    for sock in lines.ours[150:]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        floor.append(cpu(lambda: sock.send(burst)))  # noqa: B023
        lines.drain()
    report("a viewer joins, GOP of 50 frames", took, floor, 1)


class Transport:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.host, self.port = "127.0.0.1", 0

    def getHandle(self) -> socket.socket:
        return self.sock

    def getPeer(self) -> Transport:
        return self

    def pauseProducing(self) -> None: ...

    def abortConnection(self) -> None:
        raise SystemExit("the relay gave a connection up")


class Reactor:
    def addReader(self, reader: object) -> None: ...

    removeReader = addReader


def pictures(seed: int, count: int) -> list[bytes]:
    """500 kbit/s at 25 pictures a second, as the encoder gives them."""
    rng = random.Random(seed)
    out: list[bytes] = []
    for number in range(count):
        key = number % 50 == 0
        unit = bytes([0x65 if key else 0x41, 0x9A]) + rng.randbytes(9000 if key else rng.randrange(1800, 2900)).replace(b"\0", b"\1")
        out.append((b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS if key else b"") + b"\0\0\0\1" + unit)
    return out


def recording(sim: int, bodies: list[bytes]) -> list[bytes]:
    """The same as a terminal sends it, a picture a piece."""
    out: list[bytes] = []
    seq = 0
    for number, body in enumerate(bodies):
        kind = 0 if number % 50 == 0 else 1
        packets = packetize(body, sim=f"{13800000000 + sim:012d}", channel=1, pt=98, data_type=kind, seq=seq, timestamp=40 * number)
        seq = (seq + len(packets)) & 0xFFFF
        out.append(b"".join(packets))
    return out


def many(name: str, per_read: float) -> None:
    streams = registry()
    server = MediaServer(None, streams.clock, streams, Media())
    poller = Poller(Reactor(), streams.clock)  # type: ignore[arg-type]
    server.prompt = poller
    terminals, players = Loopback(PAIRS), Loopback(PAIRS)
    connections: list[MediaProtocol] = []
    for sock in terminals.ours:
        protocol = server.factory("live").buildProtocol(None)
        protocol.transport = Transport(sock)
        protocol.connectionMade()
        connections.append(protocol)
    bodies = [pictures(number, 60) for number in range(20)]
    material = [recording(number, bodies[number % 20]) for number in range(PAIRS)]
    at = due = 0.0
    took, floor = [], []
    units = []
    buffer = bytearray(65536)
    view = memoryview(buffer)

    def bare() -> None:
        for source, sink in zip(terminals.ours, players.ours, strict=True):
            sink.send(bytes(view[: source.recv_into(buffer)]))

    attached = False
    while due < 58:
        due += per_read
        pieces = [b"".join(frames[int(at) : int(due)]) for frames in material]
        count = int(due) - int(at)
        at = due
        for number, sock in enumerate(terminals.theirs):
            sock.send(pieces[number])
        used = cpu(poller.read)
        players.drain()
        if not attached:
            if due > 6:
                for protocol, sock in zip(connections, players.ours, strict=True):
                    stream = protocol._stream
                    assert stream is not None
                    stream.attach(V, Sink(sock))
                attached = True
                players.drain()
                gc.collect()
                gc.freeze()
            continue
        took.append(used / count)
        units.append(count)
        for number, sock in enumerate(terminals.theirs):
            sock.send(pieces[number])
        floor.append(cpu(bare) / count)
        players.drain()
    report(f"{PAIRS} terminals to {PAIRS} viewers, {name}, a frame", took, floor, PAIRS)
    gc.unfreeze()


def main() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))
    gc.set_threshold(50000, 20, 50)
    fan_out()
    nobody()
    joining()
    many("at arrival", 1)
    many("on a tick of 100 ms", 2.5)


if __name__ == "__main__":
    main()
