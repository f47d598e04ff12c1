"""How long the API takes for lists of terminals, as its clients see it: one keep-alive connection, one request after the other.

    python bench/load/api.py [--count 1000] [--requests 500] [--interval 10]

The installed relay with ``--count`` known terminals (a row each in the store, with plate, alias and group), all of which are
online: they register, authenticate, tell their channels and attributes, and report a position every ``--interval`` seconds. One JSON line a list:

    name, path             api, what was asked for
    items, total, kib      in the answer
    p50_ms, p99_ms, max_ms   from the first byte sent to the last byte received
    us                     processor time of the relay's process a request, positions included

The same again in a relay with the same rows and nobody online is ``offline`` in ``name``.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

HZ = os.sysconf("SC_CLK_TCK")
FIRST = 13900000000


async def fleet(port: int, count: int, interval: float) -> None:
    """``api.py fleet PORT COUNT INTERVAL``: the terminals; says so when all are there, and goes on until it is ended."""
    from idle_terminals import Terminal  # beside this file

    loop, done, terminals = asyncio.get_running_loop(), asyncio.Queue[int](), []
    for number in range(count):
        _, terminal = await loop.create_connection(lambda number=number: Terminal(number, done), "127.0.0.1", port)
        terminals.append(terminal)
    for _ in range(count):
        await asyncio.wait_for(done.get(), 120)
    await asyncio.sleep(8)  # the relay's questions come within four seconds
    print("ready", flush=True)
    turn = 0
    begun = time.monotonic()
    while True:
        terminals[turn % count].report()
        turn += 1
        await asyncio.sleep(max(0.0, begun + turn * interval / count - time.monotonic()))


class Client:
    """A keep-alive connection."""

    def __init__(self, port: int, token: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = f"Host: bench\r\nAuthorization: Bearer {token}\r\n\r\n"

    def get(self, path: str) -> tuple[float, bytes]:
        """Seconds, and the body of the answer."""
        began = time.perf_counter()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\n{self.head}".encode())
        data = bytearray()
        left = -1
        while left:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise SystemExit("the relay closed the connection")
            data += piece
            if left < 0 and b"\r\n\r\n" in data:
                head, _, body = bytes(data).partition(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200"):
                    raise SystemExit(data.decode("utf-8", "replace")[:500])
                size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                left = size - len(body)
                data = bytearray(body)
            elif left > 0:
                left -= len(piece)
        return time.perf_counter() - began, bytes(data)


def processor_s(pid: int) -> float:
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / HZ


def rank(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def ask(relay: Any, name: str, path: str, requests: int) -> None:
    """Prints one line."""
    client = Client(relay.ports["http"], relay.api_token)
    for _ in range(5):
        client.get(path)
    pid = relay.process.process.pid
    before = processor_s(pid)
    took: list[float] = []
    body = b""
    for _ in range(requests):
        seconds, body = client.get(path)
        took.append(seconds * 1000)
        time.sleep(0.005)  # a client does something with what it got; the relay serves its terminals meanwhile
    used = processor_s(pid) - before
    told = json.loads(body)
    figures = {
        "name": name, "path": path, "items": len(told.get("items", [told])), "total": told.get("total", 1), "kib": round(len(body) / 1024, 1),
        "p50_ms": round(rank(took, 0.5), 2), "p99_ms": round(rank(took, 0.99), 2), "max_ms": round(max(took), 2), "us": round(used / requests * 1e6),
    }  # fmt: skip
    print(json.dumps(figures), flush=True)


def main() -> None:
    if sys.argv[1:2] == ["fleet"]:
        asyncio.run(fleet(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between a terminal's positions")
    parser.add_argument("--only", default="", help="only paths with this in it")
    arguments = parser.parse_args()
    from tests.e2e.support import Process, Product, command

    base = "/api/v1/terminals"
    lists = ["", "?limit=1000", "?online=true", "?online=false", "?q=B0077", f"?limit=500&after={FIRST + 499}", f"/{FIRST + 500}"]
    paths = [*(base + each for each in lists), "/api/v1/positions?limit=1000"]
    paths = [path for path in paths if arguments.only in path]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "terminals.csv"
        with table.open("w", encoding="utf-8", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["phone", "plate", "plate_color", "alias", "group"])
            for number in range(arguments.count):
                rows.writerow([f"{FIRST + number:012}", f"粤B{(FIRST + number) % 100000:05}", 2, f"bus-{number}", f"depot {number % 7}"])
        with Product(folder, terminals={"registration": "known"}, limits={"unregistered_max": 20000}) as relay:
            command("terminal", "import", "--config", relay.config, table)
            for path in paths:
                if "online=true" not in path:
                    ask(relay, "api offline", path, arguments.requests)
            words = [sys.executable, Path(__file__), "fleet", str(relay.ports["terminals_tcp"]), str(arguments.count), str(arguments.interval)]
            terminals = Process("the fleet", words, folder / "fleet.log")
            try:
                terminals.wait_for_output("ready", 180)
                for path in paths:
                    ask(relay, "api", path, arguments.requests)
            finally:
                subprocess.run(["kill", str(terminals.process.pid)], check=False)
                terminals.process.wait(20)


main()
