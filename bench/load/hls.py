"""HLS to many clients: the relay's processor time beside nginx's, which serves the same files to the same clients.

    python bench/load/hls.py --clients 300 [--low] [--seconds 20] [--repeats 5]

A terminal's stream goes to the installed relay. The clients poll as players do: the playlist every ``segment_s`` and each new segment
(``--low``: a blocking reload a part and each part); over keep-alive connections, one a client. For nginx a mirror copies what the relay's playlist names into a
directory under the same names, and the clients poll that (without blocking, which nginx cannot do: twice a part). The two take turns, ``--repeats`` times, in
one run; told are the medians. One JSON line:

    clients, requests_s, mbit_s             what was asked for and given, by the relay
    relay_us, nginx_us                      processor time of the server's processes a request
    relay_share, nginx_share, share_ratio   of a processor, while the clients run; the relay's with the stream itself in it
    ratios, byte_ratio                      the turns' ratios of shares; the median ratio of processor time a byte
    relay_idle_share                        the relay without clients: the stream, and its segments for one that polls
"""

from __future__ import annotations

import argparse
import json
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s mp4; }}
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; add_header Cache-Control no-cache; }} }}
"""


def cpu(pid: int) -> float:
    """Seconds of processor time of a process's threads; finer than the hundredths of ``/proc/PID/stat``."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# clients: ``hls.py pull PORT PATH CLIENTS SECONDS STEP LOW`` in a process of its own -----------------------------------------------


class Client:
    """One player: asks one thing at a time on its connection."""

    def __init__(self, port: int, path: str, step: float, low: bool, blocking: bool, counts: dict[str, int]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.folder = path.rpartition("/")[0]
        self.path = path
        self.step, self.low, self.blocking = step, low, blocking
        self.counts = counts
        self.seen: set[str] = set()
        self.buffer = bytearray()
        self.left = -1
        self.due = 0.0
        self.listing = False
        self.more = ""
        self.work = self.life()

    def life(self) -> Iterator[tuple[float, str]]:
        """What to ask for, and when; the answer's text comes back by ``send``."""
        at = time.monotonic()
        while True:
            text = yield at, self.path + self.more
            found = re.findall(r'#EXT-X-PART:[^\n]*URI="([^"]+)"', text) if self.low else re.findall(r"^\d+\.m4s.*$", text, re.MULTILINE)
            fresh = [uri for uri in found if uri not in self.seen]
            if not self.seen:
                fresh = fresh[-2:]
            self.seen.update(found)
            for uri in fresh:
                yield 0.0, f"{self.folder}/{uri}"
            hint = re.search(r'PRELOAD-HINT:TYPE=PART,URI="(\d+)\.(\d+)', text)
            if self.low and self.blocking and hint:
                self.more = f"&_HLS_msn={hint.group(1)}&_HLS_part={hint.group(2)}"
                at = 0.0
            else:
                at = max(at + self.step, time.monotonic())

    def ask(self, path: str) -> None:
        self.listing = ".m3u8" in path
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode())

    def read(self) -> bool:
        """True when the answer is whole."""
        data = self.socket.recv(262144)
        if not data:
            raise ConnectionError("closed by the server")
        if self.left < 0:
            self.buffer += data
            head, mark, body = bytes(self.buffer).partition(b"\r\n\r\n")
            if not mark:
                return False
            status = head.split(b" ", 2)[1]
            if status != b"200":
                self.counts["refused"] = self.counts.get("refused", 0) + 1
            size = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
            self.left = size - len(body)
            self.buffer = bytearray(body) if self.listing else bytearray()
            self.counts["bytes"] += len(body)
        else:
            self.left -= len(data)
            self.counts["bytes"] += len(data)
            if self.listing:
                self.buffer += data
        if self.left:
            return False
        self.left = -1
        self.counts["requests"] += 1
        return True


def pull(port: int, paths: list[str], seconds: float, step: float, low: bool, blocking: bool) -> None:
    counts = {"bytes": 0, "requests": 0}
    selector = selectors.DefaultSelector()
    waiting: list[tuple[Client, str]] = []
    for number, path in enumerate(paths):
        client = Client(port, path, step, low, blocking, counts)
        client.due, wanted = next(client.work)
        client.due += step * number / len(paths)
        waiting.append((client, wanted))
        selector.register(client.socket, selectors.EVENT_READ, client)
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        for one in [one for one in waiting if one[0].due <= now]:
            waiting.remove(one)
            one[0].ask(one[1])
        due = min((client.due for client, _ in waiting), default=end)
        for key, _ in selector.select(max(min(due, end) - time.monotonic(), 0.0)):
            client = key.data
            if client.read():
                text, client.buffer = client.buffer.decode("latin-1"), bytearray()
                client.due, wanted = client.work.send(text)
                if client.due <= time.monotonic():
                    client.ask(wanted)
                else:
                    waiting.append((client, wanted))
    print(json.dumps(counts))


def pullers(port: int, paths: list[str], seconds: float, step: float, low: bool, blocking: bool) -> dict[str, int]:
    words = [sys.executable, __file__, "pull", str(port), str(seconds), str(step), str(int(low)), str(int(blocking))]
    done = subprocess.run(words, input="\n".join(paths), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, int] = json.loads(done.stdout)
    return found


# the run -----------------------------------------------------------------------------------------------------------------------------


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        data: bytes = answer.read()
        return data


def mirror(base: str, variant: str, www: Path, low: bool, stop: threading.Event) -> None:
    """Copies what the playlist names, and then the playlist."""
    while not stop.is_set():
        text = fetch(f"{base}/{variant}").decode()
        text = re.sub(r"#EXT-X-PRELOAD-HINT.*\n|#EXT-X-SERVER-CONTROL.*\n", "", text)
        names = set(re.findall(r'URI="([^"]+)"', text)) | set(re.findall(r"^\d+\.m4s.*$", text, re.MULTILINE))
        for name in names:
            path = www / name.partition("?")[0]
            if not path.exists():
                path.write_bytes(fetch(f"{base}/{name}"))
        new = www / "live.new"
        new.write_text(re.sub(r"\?key=[^\"\n]+", "", text))
        new.rename(www / "live.m3u8")
        stop.wait(0.1 if low else 0.4)


def variant_of(index: str) -> str:
    """A session of one's own."""
    return fetch(index).decode().splitlines()[-1]


def turn(ours: dict[str, int], relay_cpu: float, theirs: dict[str, int], nginx_cpu: float, seconds: float) -> dict[str, float]:
    """The figures of one turn."""
    return {
        "requests_s": ours["requests"] / seconds,
        "mbit_s": ours["bytes"] * 8 / seconds / 1e6,
        "refused": ours.get("refused", 0),
        "nginx_requests_s": theirs["requests"] / seconds,
        "nginx_mbit_s": theirs["bytes"] * 8 / seconds / 1e6,
        "relay_us": relay_cpu / ours["requests"] * 1e6,
        "nginx_us": nginx_cpu / theirs["requests"] * 1e6,
        "relay_share": relay_cpu / seconds,
        "nginx_share": nginx_cpu / seconds,
        "share_ratio": relay_cpu / nginx_cpu,
        "byte_ratio": relay_cpu / ours["bytes"] / (nginx_cpu / theirs["bytes"]),
    }


def main() -> None:
    if sys.argv[1:2] == ["pull"]:
        port, seconds, step, low, blocking = sys.argv[2:]
        pull(int(port), sys.stdin.read().split("\n"), float(seconds), float(step), low == "1", blocking == "1")
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--low", action="store_true", help="low latency: parts and blocking reloads")
    parser.add_argument("--capture", default="", help="a recorded JT/T 1078 stream instead of the test card")
    arguments = parser.parse_args()
    from tests.e2e.support import Product, free_port

    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    step = 0.25 if arguments.low else 2.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "www").mkdir()
        folder.chmod(0o755)
        (folder / "www").chmod(0o755)
        with Product(folder) as relay:
            words = ["--capture", arguments.capture] if arguments.capture else ["--sub-size", "704x576"]
            relay.terminal("13800138000", *words)
            base = f"http://127.0.0.1:{relay.ports['http']}/live/13800138000_1"
            index = relay.url("/live/13800138000_1/index.m3u8", audio="none")
            pid = relay.process.process.pid
            port = free_port()
            (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
            server = subprocess.Popen([nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL)
            turns: list[dict[str, float]] = []
            try:
                for _ in range(arguments.repeats):
                    stop = threading.Event()
                    copier = threading.Thread(target=mirror, args=(base, variant_of(index), folder / "www", arguments.low, stop))
                    copier.start()
                    try:
                        time.sleep(3)
                        workers = children(server.pid)
                        before = sum(map(cpu, workers))
                        idle = [f"/live.m3u8?client={number}" for number in range(arguments.clients)]
                        theirs = pullers(port, idle, arguments.seconds, step, arguments.low, False)
                        nginx_cpu = sum(map(cpu, workers)) - before
                    finally:
                        stop.set()
                        copier.join()
                    paths = [f"/live/13800138000_1/{variant_of(index)}" for _ in range(arguments.clients)]
                    before = cpu(pid)
                    ours = pullers(relay.ports["http"], paths, arguments.seconds, step, arguments.low, True)
                    turns.append(turn(ours, cpu(pid) - before, theirs, nginx_cpu, arguments.seconds))
            finally:
                server.terminate()
                server.wait()
            before = cpu(pid)
            time.sleep(5)
            idle_share = (cpu(pid) - before) / 5
        told: dict[str, Any] = {"clients": arguments.clients, "low": arguments.low}
        told.update({name: round(statistics.median(one[name] for one in turns), 4) for name in turns[0]})
        told["ratios"] = [round(one["share_ratio"], 2) for one in turns]
        told["relay_idle_share"] = round(idle_share, 4)
        print(json.dumps(told))


main()
