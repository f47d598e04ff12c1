"""The whole relay under load: one terminal to many viewers (A), or as many terminals as viewers (B).

    python bench/load/fanout.py A --viewers 1000 --merge 0          every frame at once
    python bench/load/fanout.py B --viewers 400 --merge 100         reads and writes gathered for 100 ms

25 pictures a second at 500 kbit/s, HTTP-FLV, everything on loopback. Starts the installed relay with a configuration of its own and, in a second
run right after it, a floor; both are fed and read by the same clients, and only the processor time of the server's process is counted. One JSON line:

    name, viewers, merge_ms
    us_per_unit, floor_us, ratio     processor time for one frame delivered to one viewer: the relay, the floor
    us_per_viewer_s                  the same for one viewer and second
    p50_ms, p99_ms                   from the terminal's send to the viewer's receive, by a clock inside the frames
    kib_per_viewer                   resident memory that came with the viewers
    delivered                        frames received of frames due

The floor is ``limit`` of the C tools when their directory is named by JT1078RELAY_BENCH (their pusher and puller are used then, too), else a Python
program that follows the packets' lengths and sends each frame on, with every check left out. ``ulimit -n`` must exceed twice the viewers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

FPS = 25
BASE_SIM = 13800000000
SPS, PPS = bytes.fromhex("674d001495a8582590"), bytes.fromhex("68ee3c80")
CLOCK = re.compile(rb"JTCK([0-9a-f]{12})")
HZ = os.sysconf("SC_CLK_TCK")

CONFIG = """
[terminals]
host = "127.0.0.1"
tcp_port = 0
udp_port = 0
[media]
host = "127.0.0.1"
live_tcp_port = {jt}
live_udp_port = 0
playback_tcp_port = 0
playback_udp_port = 0
talk_tcp_port = 0
talk_extra_ports = ""
unrequested = "accept"
merge_ms = {merge}
[http]
host = "127.0.0.1"
port = {http}
platform_port = 0
[rtmp]
port = 0
[store]
url = "sqlite:///{directory}/relay.db"
"""


# clients, each a process of its own: ``fanout.py push …``, ``fanout.py pull …`` -----------------------------------------------


def recording(frames: int = 100) -> list[list[bytearray]]:
    """Packets of each frame, a clock's place in the last bytes of each slice; SIM, number and stamp are written in later."""
    rng = random.Random(1)
    out: list[list[bytearray]] = []
    for number in range(frames):
        key = number % 50 == 0
        unit = bytes([0x65 if key else 0x41, 0x9A]) + rng.randbytes(9000 if key else rng.randrange(1800, 2900)).replace(b"\0", b"\1")
        body = (b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS if key else b"") + b"\0\0\0\1" + unit + b"JTCK" + b"0" * 12
        pieces = [body[at : at + 950] for at in range(0, len(body), 950)]
        if len(pieces[-1]) < 16:  # the clock in one piece
            pieces[-2:] = [pieces[-2][:-40], pieces[-2][-40:] + pieces[-1]]
        packets = []
        for at, piece in enumerate(pieces):
            mark = 0 if len(pieces) == 1 else 1 if at == 0 else 2 if at == len(pieces) - 1 else 3
            kind = (0 if key else 16) | mark
            head = struct.pack(">IBBH6sBBQHHH", 0x30316364, 0x81, (0x80 if mark in (0, 2) else 0) | 98, 0, bytes(6), 1, kind, 0, 0, 0, len(piece))
            packets.append(bytearray(head + piece))
        out.append(packets)
    return out


def push(port: int, count: int, seconds: float) -> None:
    """``count`` terminals, spread evenly over the time of a frame."""
    frames = recording()
    socks = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks.append(sock)
    sims = [bytes.fromhex(f"{BASE_SIM + number:012d}") for number in range(count)]
    seqs = [0] * count
    start = time.monotonic()
    turn = 0
    while time.monotonic() - start < seconds:
        number, round_ = turn % count, turn // count
        due = start + turn / (FPS * count)
        wait = due - time.monotonic()
        if wait > 0.0005:
            time.sleep(wait)
        packets = frames[round_ % len(frames)]
        clock = b"%012x" % int(time.monotonic() * 1e6)
        packets[-1][-12:] = clock
        seq = seqs[number]
        for packet in packets:
            struct.pack_into(">H6s", packet, 6, seq, sims[number])
            struct.pack_into(">Q", packet, 16, 40 * round_)
            seq = (seq + 1) & 0xFFFF
        seqs[number] = seq
        try:
            socks[number].sendall(b"".join(packets))
        except OSError:
            sys.exit("push: the server closed a terminal's connection")
        turn += 1


def pull(url: str, count: int, streams: int, warmup: float, seconds: float) -> None:
    """``count`` viewers; every 32nd is read at once and tells the delay, the others every 20 ms."""
    host, port, path = re.match(r"http://([^:/]+):(\d+)(/.*)", url).groups()  # type: ignore[union-attr]
    socks: list[socket.socket] = []
    for number in range(count):
        sock = socket.create_connection((host, int(port)))
        sock.sendall(f"GET {path.replace('{sim}', f'{BASE_SIM + number % streams:012d}')} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        sock.setblocking(False)
        socks.append(sock)
        if number % 50 == 49:
            time.sleep(0.1)
    probes = socks[:: max(1, count // 32)]
    poll = select.epoll()
    for sock in probes:
        poll.register(sock.fileno(), select.EPOLLIN)
    by_fd = {sock.fileno(): sock for sock in probes}
    rest = [sock for sock in socks if sock.fileno() not in by_fd]
    delays: list[float] = []
    counted = frames = lost = 0
    counting = False
    begin = time.monotonic() + warmup
    end = begin + seconds
    next_drain = 0.0

    def read(sock: socket.socket) -> None:
        nonlocal counted, frames, lost
        try:
            data = sock.recv(1 << 18)
        except BlockingIOError:
            return
        if not data:
            lost += 1
            if sock in rest:
                rest.remove(sock)
            elif sock.fileno() in by_fd:
                poll.unregister(sock.fileno())
                del by_fd[sock.fileno()]
            return
        if counting:
            counted += len(data)
            now = time.monotonic()
            for found in CLOCK.finditer(data):
                frames += 1
                if sock.fileno() in by_fd:
                    delays.append(now - int(found[1], 16) / 1e6)

    while True:
        now = time.monotonic()
        if not counting and now >= begin:
            counting = True
            print(json.dumps({"event": "window_start"}), flush=True)
        if now >= end:
            break
        for fd, _ in poll.poll(max(0.0, min(0.02, next_drain - now)), 256):
            if fd in by_fd:
                read(by_fd[fd])
        if time.monotonic() >= next_drain:
            next_drain = time.monotonic() + 0.02
            for sock in list(rest):
                read(sock)
    print(json.dumps({"event": "window_end"}), flush=True)
    delays.sort()
    percentile = {f"p{share}": round(delays[min(len(delays) - 1, len(delays) * share // 100)] * 1000, 2) if delays else 0 for share in (50, 99)}
    share = round(frames / (FPS * count * seconds), 4)
    print(json.dumps({"tool": "pull", "video_frames": frames, "delivered_ratio": share, "lat_ms": percentile, "lost": lost}))


# the floor ----------------------------------------------------------------------------------------------------------------------


def floor(jt: int, http: int) -> None:
    """Reads, follows lengths, sends each whole frame on as it is. No checks, no cache, no limits."""
    poll = select.epoll()
    listeners = {}
    for port in (jt, http):
        sock = socket.create_server(("127.0.0.1", port), backlog=1024)
        sock.setblocking(False)
        poll.register(sock.fileno(), select.EPOLLIN)
        listeners[sock.fileno()] = sock, port == jt
    terminals: dict[int, list[Any]] = {}
    players: dict[int, socket.socket] = {}
    sends: dict[bytes, list[Any]] = {}
    while True:
        for fd, _ in poll.poll():
            if fd in terminals:
                sock, tail, out = terminals[fd]
                data = sock.recv(65536)
                if not data:
                    poll.unregister(fd)
                    del terminals[fd]
                    continue
                data = tail + data
                pos, n, begin = 0, len(data), 0
                while pos + 30 <= n:
                    end = pos + 30 + (data[pos + 28] << 8 | data[pos + 29])
                    if end > n:
                        break
                    if data[pos + 15] & 15 in (0, 2):
                        if out is None:
                            out = terminals[fd][2] = sends.setdefault(data[pos + 8 : pos + 14], [])
                        frame = data[begin:end]
                        for send in out:
                            try:
                                send(frame)
                            except OSError:
                                pass
                        begin = end
                    pos = end
                terminals[fd][1] = data[begin:]
            elif fd in listeners:
                listener, is_jt = listeners[fd]
                try:
                    while True:
                        sock, _ = listener.accept()
                        sock.setblocking(False)
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        poll.register(sock.fileno(), select.EPOLLIN)
                        if is_jt:
                            terminals[sock.fileno()] = [sock, b"", None]
                        else:
                            players[sock.fileno()] = sock
                except BlockingIOError:
                    pass
            else:
                sock = players[fd]
                data = sock.recv(65536)
                found = re.search(rb"/live/(\d{12})", data)
                if found:
                    sock.send(b"HTTP/1.1 200 OK\r\n\r\n")
                    sends.setdefault(bytes.fromhex(found[1].decode()), []).append(sock.send)
                elif not data:
                    poll.unregister(fd)


# measuring ------------------------------------------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def rss_kib(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"the server ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"port {port} did not open:\n{log.read_text()[-2000:]}")


def stop(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(
    server: list[str], jt: int, url: str, ports: tuple[int, ...], arguments: argparse.Namespace, directory: Path, tools: Path | None
) -> dict[str, float]:
    """Run one server under the load; its figures in the window."""
    viewers, streams = arguments.viewers, 1 if arguments.scenario == "A" else arguments.viewers
    total = arguments.seconds + arguments.warmup + 10 + viewers / 250
    here = [sys.executable, str(Path(__file__).resolve())]
    if tools is not None:
        pusher = [str(tools / "jtpush"), "--to", f"127.0.0.1:{jt}", "--cap", str(arguments.clip), "--n", str(streams), "--sim", f"{BASE_SIM:012d}", "--clock"]
        pusher += ["--duration", str(total)]
        puller = [str(tools / "flvpull"), "--url", url, "--n", str(viewers), "--streams", str(streams), "--sim", f"{BASE_SIM:012d}"]
        puller += ["--warmup", str(arguments.warmup), "--duration", str(arguments.seconds)]
    else:
        pusher = [*here, "push", str(jt), str(streams), str(total)]
        puller = [*here, "pull", url, str(viewers), str(streams), str(arguments.warmup), str(arguments.seconds)]
    log = directory / "server.log"
    running: list[subprocess.Popen[Any]] = []
    try:
        with log.open("wb") as out:
            process = subprocess.Popen(server, stdout=out, stderr=out, cwd=directory)
        running.append(process)
        for port in ports:
            wait_port(port, process, log)
        running.append(subprocess.Popen(pusher, stdout=subprocess.DEVNULL))
        time.sleep(2.5 + streams / 500)
        base = rss_kib(process.pid)
        player = subprocess.Popen(puller, stdout=subprocess.PIPE, text=True)
        running.append(player)
        figures: dict[str, float] = {}
        assert player.stdout is not None
        for line in player.stdout:
            told = json.loads(line)
            if told.get("event") == "window_start":
                figures["cpu_s"], figures["at"] = cpu_s(process.pid), time.monotonic()
                figures["kib_per_viewer"] = round((rss_kib(process.pid) - base) / viewers, 1)
            elif told.get("event") == "window_end":
                figures["cpu_s"] = cpu_s(process.pid) - figures["cpu_s"]
                figures["window_s"] = time.monotonic() - figures["at"]
            elif told.get("tool"):
                figures["frames"] = told["video_frames"]
                figures["delivered"] = told["delivered_ratio"]
                figures["p50_ms"], figures["p99_ms"] = told["lat_ms"]["p50"], told["lat_ms"]["p99"]
        if process.poll() is not None:
            sys.exit(f"the server ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        return figures
    finally:
        for each in reversed(running):
            stop(each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=["A", "B"])
    parser.add_argument("--viewers", type=int, default=0, help="default: 1000 in A, 400 in B")
    parser.add_argument("--merge", default="0", help="merge_ms of the relay: 0, 20-350, auto")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--warmup", type=float, default=2.0)
    parser.add_argument("--clip", type=Path, help="with the C tools: a capture with clocks, made by their mkcap.py; default: clips/a.jt1078 there")
    arguments = parser.parse_args()
    arguments.viewers = arguments.viewers or (1000 if arguments.scenario == "A" else 400)
    named = os.environ.get("JT1078RELAY_BENCH", "")
    tools = Path(named) if named and (Path(named) / "limit").exists() else None
    arguments.clip = arguments.clip or (tools / "clips/a.jt1078" if tools else None)
    if tools is not None and not arguments.clip.exists():
        sys.exit(f"{arguments.clip} is not there: see the tools' README for the clip")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        jt, http = free_port(), free_port()
        config = directory / "relay.toml"
        merge = arguments.merge if arguments.merge.isdigit() else f'"{arguments.merge}"'
        config.write_text(CONFIG.format(jt=jt, http=http, merge=merge, directory=directory))
        program = shlex.split(os.environ.get("JT1078RELAY_PROGRAM", f"{Path(sys.executable).parent / 'twistd'} -n --pidfile= jt1078relay"))
        command = str(Path(sys.executable).parent / "jt1078relay")
        token = subprocess.run([command, "token", "--config", str(config), "--media", "*"], capture_output=True, text=True, check=True)
        url = f"http://127.0.0.1:{http}/live/{{sim}}_1.flv?media=v&token={token.stdout.split()[-1]}"
        ours = measure([*program, "--config", str(config)], jt, url, (jt, http), arguments, directory, tools)
        jt, http = free_port(), free_port()
        bare = [str(tools / "limit"), "--http", str(http), "--jt", str(jt)] if tools else [sys.executable, __file__, "floor", str(jt), str(http)]
        least = measure(bare, jt, f"http://127.0.0.1:{http}/live/{{sim}}", (jt, http), arguments, directory, tools)
    unit, floor_unit = (figures["cpu_s"] / max(1, figures["frames"]) * 1e6 for figures in (ours, least))
    print(
        json.dumps(
            {
                "name": f"load_{arguments.scenario}",
                "viewers": arguments.viewers,
                "merge_ms": arguments.merge,
                "us_per_unit": round(unit, 2),
                "floor_us": round(floor_unit, 2),
                "ratio": round(unit / floor_unit, 2) if floor_unit else None,
                "floor": "limit (C)" if tools else "bare Python",
                "us_per_viewer_s": round(ours["cpu_s"] / ours["window_s"] / arguments.viewers * 1e6, 1),
                "p50_ms": ours["p50_ms"],
                "p99_ms": ours["p99_ms"],
                "kib_per_viewer": ours["kib_per_viewer"],
                "delivered": ours["delivered"],
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["push"]:
        push(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    elif sys.argv[1:2] == ["pull"]:
        pull(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), float(sys.argv[6]))
    elif sys.argv[1:2] == ["floor"]:
        floor(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
