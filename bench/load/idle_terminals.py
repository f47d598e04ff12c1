"""Idle terminals: how much memory and processor the relay needs for many that register, tell about themselves, and then only beat, or report where they are.

    python bench/load/idle_terminals.py [--count 10000] [--seconds 30] [--heartbeat 60] [--positions] [--address 127.0.0.1]

With ``--positions`` each sends a 0x0200 every ``--heartbeat`` seconds in place of a 0x0002, and the rows in the store are counted at the
end: 10,000 terminals with ``--heartbeat 10`` are a thousand positions a second.

Starts a relay of its own (policy "first-seen", store in a temporary directory), connects the terminals as fast as they are served, lets each
register, authenticate, send one position and answer the relay's questions, and then heartbeats. Prints one JSON line:

    name                    idle_terminals
    connect_s               until all had authenticated
    rss_mib, rss_empty_mib  resident memory of the relay, full and before the first terminal
    kib_per_terminal        the difference, shared
    cpu_share               of one core while only heartbeats come
    us_per_message          the same for each heartbeat
    positions, stored       sent, and rows in the store at the end
    answer_p99_ms           from a report to its 0x8001
    floor_us, ratio         what parsing a heartbeat and building its answer costs alone, in the same run
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from relay.jt808.framing import Deframer, frame
from relay.jt808.header import Header, decode_frame
from relay.jt808.items import GnssSatellites, Mileage, NetworkSignal
from relay.jt808.messages.general import Registration
from relay.jt808.messages.location import LocationReport
from relay.jt808.messages.parameters import ParametersResponse, TerminalAttributes
from relay.jt808.messages.video import AvAttributes
from relay.jt808.params import AvChannel, AvChannels

#: what most terminals send with each position
ITEMS = [Mileage(mileage=123456), NetworkSignal(network_signal=25), GnssSatellites(gnss_satellites=14)]

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
[terminals]
host = "{address}"
tcp_port = {port}
udp_port = 0
registration = "first-seen"
[media]
host = "{address}"
live_tcp_port = 0
live_udp_port = 0
playback_tcp_port = 0
playback_udp_port = 0
[http]
host = "{address}"
port = 0
[limits]
unregistered_max = 20000
[attachments]
port = 0
[store]
url = "sqlite:///{directory}/relay.db"
"""

ATTRIBUTES = TerminalAttributes(
    terminal_type=71, manufacturer_id="BENCH", terminal_model="IDLE-1", terminal_id="0000001", iccid="89860000000000000001", hardware_version="1.0",
    firmware_version="2.0.1", gnss_attributes=3, comm_attributes=32,
).encode(2013)  # fmt: skip
AV = AvAttributes(
    audio_encoding=6, audio_channels=1, audio_sample_rate=0, audio_sample_bits=1, audio_frame_length=320, audio_output_supported=1, video_encoding=98,
    max_audio_channels=1, max_video_channels=4,
).encode(2013)  # fmt: skip


class Terminal(asyncio.Protocol):
    """One of them."""

    def __init__(self, number: int, done: asyncio.Queue[int]) -> None:
        self.phone = f"{13900000000 + number:012}"
        self.done = done
        self.serial = 0
        self.answered = 0
        self.reported: dict[int, float] = {}
        self.delays: list[float] = []
        self.deframer = Deframer()
        self.transport: asyncio.WriteTransport

    def connection_made(self, transport):
        self.transport = transport
        plate = f"粤B{int(self.phone) % 100000:05}"
        self.send(0x0100, Registration(
            province_id=44, city_id=300, manufacturer_id="BENCH", terminal_model="IDLE-1", terminal_id=self.phone[-7:], plate_color=2, plate_no=plate
        ).encode(2013))  # fmt: skip

    def send(self, msg_id: int, body: bytes = b"") -> None:
        self.transport.write(Header(msg_id, self.phone, self.serial).encode(body))
        self.serial = (self.serial + 1) & 0xFFFF

    def report(self) -> None:
        """Where it is now."""
        self.reported[self.serial] = time.monotonic()
        moment = time.strftime("%y%m%d%H%M%S", time.gmtime(time.time() + 28800))
        place = LocationReport(status_flags=3, latitude=22540000 + self.serial, longitude=114050000, speed=450, direction=90, time=moment, items=ITEMS)
        self.send(0x0200, place.encode(2013))

    def data_received(self, data: bytes) -> None:
        for piece in self.deframer.feed(data):
            header, body = decode_frame(piece)
            if header.msg_id == 0x8100:
                self.send(0x0102, body[3:])
            elif header.msg_id == 0x8001:
                self.answered += 1
                sent = self.reported.pop(int.from_bytes(body[:2], "big"), None)
                if sent is not None:
                    self.delays.append(time.monotonic() - sent)
                if body[2:4] == b"\x01\x02":
                    if body[4]:
                        raise SystemExit(f"{self.phone} was refused")
                    position = LocationReport(status_flags=3, latitude=22540000, longitude=114050000, time="261121093000")
                    self.send(0x0200, position.encode(2013))
                    self.done.put_nowait(1)
            elif header.msg_id == 0x8107:
                self.send(0x0107, ATTRIBUTES)
            elif header.msg_id == 0x9003:
                self.send(0x1003, AV)
            elif header.msg_id == 0x8106:
                rows = [AvChannel(physical_channel=n, logical_channel=n, channel_type=0, ptz_connected=0) for n in (1, 2, 3, 4)]
                channels = AvChannels(av_channel_count=4, audio_channel_count=0, video_channel_count=0, channels=rows)
                self.send(0x0104, ParametersResponse(reply_serial=header.serial, params=[channels]).encode(2013))

    def connection_lost(self, problem):
        if self.done is not None and not getattr(asyncio.get_running_loop(), "finishing", False):
            print(f"{self.phone} lost its link: {problem}", file=sys.stderr)


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the relay is gone")


def processor_s(pid: int) -> float:
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def floor_us() -> float:
    """A heartbeat cut out and read, and its answer built: nothing else."""
    beat = Header(0x0002, "013900000000", 7).encode()
    count = 20000
    began = time.process_time()
    for _ in range(count):
        [piece] = Deframer().feed(beat)
        header, _body = decode_frame(piece)
        frame(header.reply(0x8001, 1).head(5) + struct.pack(">HHB", header.serial, header.msg_id, 0))
    return (time.process_time() - began) / count * 1e6


async def measure(arguments: argparse.Namespace, pid: int) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    done: asyncio.Queue[int] = asyncio.Queue()
    empty = resident_mib(pid)
    terminals: list[Terminal] = []
    began = time.monotonic()
    for number in range(arguments.count):
        _, terminal = await loop.create_connection(lambda number=number: Terminal(number, done), arguments.address, arguments.port)
        terminals.append(terminal)
    for _ in range(arguments.count):
        await asyncio.wait_for(done.get(), 120)
    connected = time.monotonic() - began
    await asyncio.sleep(8)  # the questions about themselves come within four seconds
    before, at, answered = processor_s(pid), time.monotonic(), sum(t.answered for t in terminals)
    pause = arguments.heartbeat / arguments.count
    next_at = at
    turn = 0
    while time.monotonic() < at + arguments.seconds:
        terminal = terminals[turn % arguments.count]
        terminal.report() if arguments.positions else terminal.send(0x0002)
        turn += 1
        next_at += pause
        delay = next_at - time.monotonic()
        if delay > 0.005:
            await asyncio.sleep(delay)
    await asyncio.sleep(1.0)
    span = time.monotonic() - at
    used = processor_s(pid) - before
    messages = sum(t.answered for t in terminals) - answered
    full = resident_mib(pid)
    loop.finishing = True
    for terminal in terminals:
        terminal.transport.close()
    floor = floor_us()
    delays = sorted(delay for t in terminals for delay in t.delays)
    more = {"positions": turn, "answer_p99_ms": round(delays[int(len(delays) * 0.99)] * 1000, 1)} if delays else {}
    each = used / max(messages, 1) * 1e6
    return {
        "name": "idle_terminals",
        "count": arguments.count,
        "connect_s": round(connected, 1),
        "rss_mib": round(full, 1),
        "rss_empty_mib": round(empty, 1),
        "kib_per_terminal": round((full - empty) * 1024 / arguments.count, 2),
        "cpu_share": round(used / span, 4),
        "messages": messages,
        **more,
        "us_per_message": round(each, 1),
        "floor_us": round(floor, 1),
        "ratio": round(each / floor, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long only heartbeats come")
    parser.add_argument("--heartbeat", type=float, default=60.0)
    parser.add_argument("--positions", action="store_true", help="reports in place of heartbeats")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=27809)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "relay.toml"
        config.write_text(CONFIG.format(address=arguments.address, port=arguments.port, directory=directory), encoding="utf-8")
        log = (Path(directory) / "relay.log").open("wb")
        command = [str(Path(sys.executable).parent / "twistd"), "--pidfile=", "-n", "jt1078relay", "--config", str(config)]
        relay = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            time.sleep(4)
            figures = asyncio.run(measure(arguments, relay.pid))
        finally:
            relay.terminate()
            relay.wait(20)
        if arguments.positions:
            rows = sqlite3.connect(Path(directory) / "relay.db").execute("SELECT COUNT(*) FROM positions").fetchone()[0]
            figures["stored"] = rows - arguments.count  # each had sent one when it had authenticated
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
