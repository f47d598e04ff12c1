"""Positions of terminals to two superior platforms: what the relay needs for them, and whether a cut main link loses any.

    python bench/load/superiors.py rate [--positions 5000] [--seconds 20] [--terminals 1000]
    python bench/load/superiors.py cut  [--positions 1000] [--cut 600] [--after 300]

Starts a relay of its own, two simulated superiors in a process of their own (2011 plain; 2019 encrypted), and terminals in this one that send 0x0200 at the
wanted rate, spread evenly. Each superior counts the positions it gets. ``cut`` breaks the links of the first superior and keeps them away for so long
while positions go on, then looks how long the first superior takes to have every one of them, and whether each came once and in order.

Prints one JSON line: positions sent, received by each (``live`` and ``afterwards``), ``missing``, ``doubled``, ``out_of_order``, the relay's processor
share and memory before and at the end, and for ``cut`` the seconds until all had come (``caught_up_s``) and the largest queue (rows, bytes on disk).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages.general import Registration

CONFIG = """
[terminals]
host = "127.0.0.1"
tcp_port = {terminals}
udp_port = 0
registration = "open"
[media]
host = "127.0.0.1"
live_tcp_port = 0
live_udp_port = 0
playback_tcp_port = 0
playback_udp_port = 0
talk_tcp_port = 0
talk_extra_ports = ""
[http]
port = 0
platform_port = 0
[rtmp]
port = 0
[attachments]
port = 0
[ftp]
port = 0
[limits]
unregistered_max = 20000
[store]
url = "sqlite:///{directory}/relay.db"
[[superior]]
name = "old"
host = "127.0.0.1"
port = {old}
access_code = 1
user_id = 10001
password = "12345678"
platform_id = "44030012345"
sublink_host = "127.0.0.1"
sublink_port = {sub}
reconnect_max_s = 5
[[superior]]
name = "new"
host = "127.0.0.1"
port = {new}
edition = 2019
access_code = 2
user_id = 10001
password = "12345678"
platform_id = "44030012345"
encrypt = true
m1 = 30000000
ia1 = 20000000
ic1 = 20000000
sublink_host = "127.0.0.1"
sublink_port = {sub}
"""


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# -- the superiors, in a process of their own


def serve(old: int, new: int) -> None:
    """Commands on standard input: ``count``, ``cut``, ``back``, ``report``; answers as JSON lines."""
    from twisted.internet import reactor
    from twisted.internet.stdio import StandardIO
    from twisted.protocols.basic import LineOnlyReceiver

    from relay.jt809.cipher import CipherKeys, Keystream
    from relay.jt809.framing import crc16, unescape
    from relay.jt809.header import header_size
    from relay.sim.superior import SimulatedSuperior, SuperiorOptions, _Core

    class Counting(SimulatedSuperior):
        """Keeps of each position its vehicle and the number that stands in altitude and direction."""

        def __init__(self, *args) -> None:
            super().__init__(*args)
            self.seen: dict[bytes, list[tuple[int, int]]] = {}
            self.live = self.afterwards = 0

        def opened(self, connection) -> None:
            connection.core.owner = self
            super().opened(connection)

        def report(self) -> dict:
            doubled = wrong = 0
            total = 0
            for numbers in self.seen.values():
                total += len(numbers)
                doubled += sum(count - 1 for count in Counter(number for _, number in numbers).values())
                for wanted in (0x1202, 0x1203):
                    own = [number for kind, number in numbers if kind == wanted]
                    wrong += sum(b < a for a, b in itertools.pairwise(own))
            return {"received": total, "live": self.live, "afterwards": self.afterwards, "doubled": doubled, "out_of_order": wrong}

    # the usual way of a message through the simulated superior takes longer than the relay's own; positions are read by hand here
    usual = _Core._frame
    streams: dict[int, Keystream] = {}

    def frame(self, raw, now) -> None:
        inner = unescape(raw[1:-1])
        size = header_size(self.options.edition)
        if inner[8:10] != b"\x12\x00" or inner[size + 22 : size + 24] == b"\x12\x01":
            return usual(self, raw, now)
        body = inner[size:-2]
        if inner[17]:
            key = int.from_bytes(inner[18:22], "big")
            if key not in streams:
                streams.clear()
                streams[key] = Keystream(keys, key)
            body = streams[key].apply(body)
        kind = body[22] << 8 | body[23]
        if kind not in (0x1202, 0x1203) or crc16(inner[:-2]) != int.from_bytes(inner[-2:], "big"):
            return usual(self, raw, now)
        superior = self.owner
        superior.live += kind == 0x1202
        numbers = superior.seen.setdefault(body[:22], [])
        at = 28 if kind == 0x1202 else 29
        while at < len(body):
            if self.options.edition == 2011:
                direction, altitude = body[at + 24] << 8 | body[at + 25], body[at + 26] << 8 | body[at + 27]
                at += 36
            else:
                data = at + 5
                direction, altitude = body[data + 20] << 8 | body[data + 21], body[data + 16] << 8 | body[data + 17]
                at = data + int.from_bytes(body[at + 1 : at + 5], "big") + 45
            numbers.append((kind, direction << 16 | altitude))
            superior.afterwards += kind == 0x1203
        return None

    _Core._frame = frame
    keys = CipherKeys(30000000, 20000000, 20000000)
    superiors = [
        Counting(reactor, SuperiorOptions(access_code=1)),
        Counting(reactor, SuperiorOptions(access_code=2, edition=2019, encrypt=True, keys=keys)),
    ]
    superiors[0].listen(port=old)
    superiors[1].listen(port=new)

    def say(value) -> None:
        print(json.dumps(value), flush=True)

    class Lines(LineOnlyReceiver):
        delimiter = b"\n"

        def lineReceived(self, line: bytes) -> None:
            word = line.decode()
            if word == "count":
                say([one.live + one.afterwards for one in superiors])
            elif word == "up":
                say([one.main is not None and one.main.logged_in for one in superiors])
            elif word == "cut":
                superiors[0].stop_listening()
                superiors[0].hang_up()
                say("cut")
            elif word == "back":
                superiors[0].listen(port=old)
                say("back")
            elif word == "report":
                say([one.report() for one in superiors])

        def connectionLost(self, reason=None) -> None:
            reactor.stop()

    StandardIO(Lines())
    reactor.run()


class Superiors:
    """The process."""

    def __init__(self, old: int, new: int) -> None:
        words = [sys.executable, __file__, "serve", "--old", str(old), "--new", str(new)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, word: str):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


# -- the terminals


class Terminal(asyncio.Protocol):
    """Registers, authenticates, then sends what it is told to."""

    def __init__(self, number: int, ready: list[Terminal]) -> None:
        self.number = number
        self.phone = f"{13900000000 + number:012d}"
        self.serial = 0
        self.sent = 0
        self.ready = ready
        self.deframer = Deframer()
        self.up = False

    def connection_made(self, transport) -> None:
        self.transport = transport
        plate = f"粤{'ABCDEFGHJK'[self.number // 10000]}{self.number % 10000:05d}"
        message = Registration(
            province_id=44, city_id=300, manufacturer_id="BENCH", terminal_model="LOAD-1", terminal_id=f"{self.number:07d}", plate_color=2, plate_no=plate
        )
        self.write(0x0100, message.encode(2013))

    def write(self, msg_id: int, body: bytes) -> None:
        self.transport.write(Header(msg_id, self.phone, self.serial & 0xFFFF).encode(body))
        self.serial += 1

    def data_received(self, data: bytes) -> None:
        if self.up:
            return  # answers to positions; the relay's questions stay unanswered
        for piece in self.deframer.feed(data):
            header, body = decode_frame(piece)
            if header.msg_id == 0x8100:
                self.write(0x0102, body[3:])
            elif header.msg_id == 0x8001 and body[2:4] == b"\x01\x02":
                self.up = True
                self.ready.append(self)

    def position(self, now: bytes) -> None:
        """Speed and so on as always; its number stands in altitude (low 16 bits) and direction."""
        number = self.sent
        self.sent += 1
        base = b"\0\0\0\0\0\x0c\0\x03\x01\x58\x81\xf0\x06\xca\x8e\x0a" + (number & 0xFFFF).to_bytes(2, "big") + b"\x02\x3f" + (number >> 16).to_bytes(2, "big")
        self.write(0x0200, base + now + b"\x01\x04\x00\x00\x03\xe8\x30\x01\x19\x31\x01\x0e")


def stamp() -> bytes:
    return bytes.fromhex(time.strftime("%y%m%d%H%M%S", time.gmtime(time.time() + 8 * 3600)))


class Process:
    """The relay's processor time and memory."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        text = Path(f"/proc/{self.pid}/status").read_text()
        return round(int(text.split("VmRSS:")[1].split()[0]) / 1024, 1)


async def drive(terminals: list[Terminal], rate: int, until: float) -> None:
    """So many positions a second, spread evenly over the terminals."""
    begun, sent, at = time.monotonic(), 0, 0
    now, stamped = stamp(), time.monotonic()
    while time.monotonic() < until:
        due = int((time.monotonic() - begun) * rate)
        if time.monotonic() - stamped > 0.5:
            now, stamped = stamp(), time.monotonic()
        while sent < due:
            terminals[at].position(now)
            at = (at + 1) % len(terminals)
            sent += 1
        await asyncio.sleep(0.01)


async def until(what: str, probe, timeout: float = 60.0, every: float = 0.2) -> float:
    begun = time.monotonic()
    while not probe():
        if time.monotonic() - begun > timeout:
            raise SystemExit(f"{what}: not within {timeout} s")
        await asyncio.sleep(every)
    return time.monotonic() - begun


async def measure(arguments: argparse.Namespace, ports: dict[str, int], superiors: Superiors, relay: Process, directory: Path) -> dict:
    loop = asyncio.get_running_loop()
    await until("links", lambda: all(superiors.ask("up")))
    ready: list[Terminal] = []
    for number in range(arguments.terminals):
        await loop.create_connection(lambda number=number: Terminal(number, ready), "127.0.0.1", ports["terminals"])
    await until("terminals", lambda: len(ready) == arguments.terminals)
    await asyncio.sleep(5)  # the relay's questions about each terminal
    empty = relay.rss_mib()
    result: dict = {"name": f"superiors_{arguments.what}", "positions_a_second": arguments.positions, "terminals": arguments.terminals}
    seconds, wall = relay.seconds(), time.monotonic()
    if arguments.what == "rate":
        await drive(ready, arguments.positions, time.monotonic() + arguments.seconds)
        result["cpu_share"] = round((relay.seconds() - seconds) / (time.monotonic() - wall), 3)
        sent = sum(one.sent for one in ready)
        result["caught_up_s"] = round(await until("all", lambda: all(count >= sent for count in superiors.ask("count")), 60), 1)
        result["us_per_position"] = round((relay.seconds() - seconds) / sent * 1e6, 1)  # whatever else the machine does
    else:
        await drive(ready, arguments.positions, time.monotonic() + 5)
        superiors.ask("cut")
        await drive(ready, arguments.positions, time.monotonic() + arguments.cut)
        result["cpu_share_cut"] = round((relay.seconds() - seconds) / (time.monotonic() - wall), 3)
        result["queue_bytes"] = sum(path.stat().st_size for path in directory.glob("superiors.db*"))
        superiors.ask("back")
        begun, seconds, wall = time.monotonic(), relay.seconds(), time.monotonic()
        driving = asyncio.ensure_future(drive(ready, arguments.positions, time.monotonic() + arguments.after))
        caught = None
        while not driving.done():
            await asyncio.sleep(1)
            if superiors.ask("count")[0] >= sum(one.sent for one in ready) - arguments.positions * 2:
                caught = time.monotonic() - begun
                break
        driving.cancel()
        result["caught_up_s"] = round(caught, 1) if caught is not None else None
        result["cpu_share_catching_up"] = round((relay.seconds() - seconds) / (time.monotonic() - wall), 3)
        sent = sum(one.sent for one in ready)
        last, still = superiors.ask("count"), time.monotonic()
        while min(last) < sent and time.monotonic() - still < 60:
            await asyncio.sleep(1)
            now = superiors.ask("count")
            if now != last:
                last, still = now, time.monotonic()
        if caught is None:
            result["caught_up_s"] = round(time.monotonic() - begun, 1)
    await asyncio.sleep(1)
    result |= {"sent": sent, "rss_empty_mib": empty, "rss_mib": relay.rss_mib()}
    for name, report in zip(("old", "new"), superiors.ask("report"), strict=True):
        result[name] = {"missing": sent - (report["received"] - report["doubled"]), **report}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rate", "cut", "serve"))
    parser.add_argument("--positions", type=int, default=0, help="a second")
    parser.add_argument("--terminals", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--cut", type=float, default=600)
    parser.add_argument("--after", type=float, default=300)
    parser.add_argument("--old", type=int, default=0)
    parser.add_argument("--new", type=int, default=0)
    parser.add_argument("--profile", type=Path, help="a profile of the relay (slows it down)")
    parser.add_argument("--log", type=Path, help="the relay's log")
    arguments = parser.parse_args()
    if arguments.what == "serve":
        serve(arguments.old, arguments.new)
        return
    arguments.positions = arguments.positions or (5000 if arguments.what == "rate" else 1000)
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        ports = {name: free_port() for name in ("terminals", "old", "new", "sub")}
        config = directory / "relay.toml"
        config.write_text(CONFIG.format(directory=folder, **ports), encoding="utf-8")
        superiors = Superiors(ports["old"], ports["new"])
        log = (arguments.log or directory / "log").open("wb")
        more = ["--profile", str(arguments.profile), "--profiler", "cprofile", "--savestats"] if arguments.profile else []
        words = [Path(sys.executable).parent / "twistd", "-n", "--pidfile=", *more, "jt1078relay", "--config", str(config)]
        process = subprocess.Popen([str(word) for word in words], stdout=log, stderr=subprocess.STDOUT)
        try:
            print(json.dumps(asyncio.run(measure(arguments, ports, superiors, Process(process.pid), directory))))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            superiors.end()


main()
