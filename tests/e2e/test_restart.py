"""SIGUSR2 with the installed twistd: terminals keep their connections, nothing they send is lost, and a start that would fail is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from relay.jt808.framing import Deframer
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages.location import LocationReport
from tests.e2e.support import BIN, PATIENCE_S, Process, Product, need, probe_streams, run, wait_for


class RawTerminal:
    """A terminal that authenticates once and then only reports, so often; it keeps every answer."""

    def __init__(self, port: int, phone: str, udp: bool = False) -> None:
        self.phone = phone
        self.answered: dict[int, int] = {}  #: serial -> message answered
        self.sent: list[int] = []
        self.asked: list[int] = []  #: messages of the platform that are no answers
        self.ended = ""
        self._serial = 0
        self._began = time.time() + 7 * 3600  # an hour ago, in GMT+8
        self._deframer = Deframer()
        self._lock = threading.Lock()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self.socket.connect(("127.0.0.1", port))
        self.local = self.socket.getsockname()
        self._going = threading.Event()
        self.send(0x0102, b"code")
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, msg_id: int, body: bytes = b"") -> int:
        with self._lock:
            serial = self._serial = self._serial + 1
            self.socket.sendall(Header(msg_id, self.phone, serial).encode(body))
            return serial

    def position(self) -> None:
        moment = time.strftime("%y%m%d%H%M%S", time.gmtime(self._began + len(self.sent)))  # a second each: a row each
        body = LocationReport(latitude=22_547_000 + len(self.sent), longitude=114_085_000, speed=100, time=moment, items=[]).encode(2013)
        self.sent.append(self.send(0x0200, body))

    def report_steadily(self, every_s: float) -> None:
        def go() -> None:
            while not self._going.wait(every_s):
                self.position()

        threading.Thread(target=go, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = self.socket.recv(65536)
            except OSError as problem:
                self.ended = str(problem)
                return
            if not data:
                self.ended = "closed by the relay"
                return
            for piece in self._deframer.feed(data):
                assert isinstance(piece, bytes)
                header, body = decode_frame(piece)
                if header.msg_id == 0x8001:
                    serial, msg_id, _ = struct.unpack_from(">HHB", body)
                    self.answered[serial] = msg_id
                else:
                    self.asked.append(header.msg_id)

    def stop_reporting(self) -> None:
        self._going.set()
        wait_for("all answers", lambda: set(self.sent) <= self.answered.keys() or self.ended)
        assert not self.ended, self.ended

    def close(self) -> None:
        self._going.set()
        self.socket.close()


def restarted(relay: Product, number: int = 1) -> None:
    relay.process.process.send_signal(signal.SIGUSR2)
    relay.process.wait_for_output(rf"(?s)(?:terminals go on.*?){{{number}}}")
    wait_for("ready again", lambda: relay.process.output.count("#info] ready") == number + 1)


def stored(relay: Product, sim: str) -> int:
    return int(relay.api("GET", f"/terminals/{sim}/track?limit=1")["total"])


def test_terminals_keep_their_connections_and_nothing_they_send_is_lost(tmp_path: Path) -> None:
    with Product(tmp_path) as relay:
        streams = [RawTerminal(relay.ports["terminals_tcp"], f"01390000000{number}") for number in range(3)]
        datagrams = RawTerminal(relay.ports["terminals_udp"], "013900000009", udp=True)
        simulated = relay.terminal("013800138000")
        everybody = [*streams, datagrams]
        try:
            for terminal in everybody:
                wait_for(f"{terminal.phone} online", lambda terminal=terminal: relay.is_online(terminal.phone))
                terminal.report_steadily(0.1)
            pid = relay.process.process.pid
            before = relay.api("GET", "/terminals/13900000000")
            # in the middle of a frame
            half = Header(0x0002, streams[0].phone, 60000).encode(b"")
            for number in (1, 2):
                with streams[0]._lock:
                    streams[0].socket.sendall(half[:7])
                    time.sleep(0.2)
                    relay.process.process.send_signal(signal.SIGUSR2)
                    relay.process.wait_for_output(rf"(?s)(?:handed over.*?){{{number}}}")
                    streams[0].socket.sendall(half[7:])
                wait_for("ready again", lambda number=number: relay.process.output.count("#info] ready") == number + 1)
                wait_for("the cut frame's answer", lambda: streams[0].answered.pop(60000, None) == 0x0002)
            assert relay.process.process.poll() is None
            assert "4 TCP connections and 1 UDP sessions of terminals go on, 0 do not" in relay.process.output
            for terminal in everybody:
                terminal.stop_reporting()
                assert terminal.socket.getsockname() == terminal.local
            after = relay.api("GET", "/terminals/13900000000")
            assert {name: after[name] for name in ("peer", "online_since", "connects", "edition")} == {
                name: before[name] for name in ("peer", "online_since", "connects", "edition")
            }
            for terminal in everybody:
                wait_for(f"{terminal.phone}'s rows", lambda terminal=terminal: stored(relay, terminal.phone) == len(terminal.sent), 10)
            assert simulated.output.count("online") == 1, simulated.output
            assert Path(f"/proc/{pid}/environ").read_bytes().count(b"JT1078RELAY_HANDOVER") == 1
            assert len(os.listdir(f"/proc/{pid}/fd")) < 60, "nothing inherited is left over"
            metrics = relay.url("/metrics").partition("?")[0]
            text = run("curl", "-s", "-H", f"Authorization: Bearer {relay.api_token}", metrics).stdout
            assert 'jt1078relay_terminal_events_total{what="links carried on"} 5.0' in text
            # a live view: the terminal is asked, and sends
            need("ffprobe")
            assert {one["codec_type"] for one in probe_streams(relay.url("/live/13800138000_1.flv"))} == {"video", "audio"}
        finally:
            for terminal in everybody:
                terminal.close()


def test_viewers_are_told_and_the_stream_is_stopped_and_comes_back(tmp_path: Path) -> None:
    need("ffprobe")
    with Product(tmp_path) as relay:
        simulated = relay.terminal("013800138000")
        with socket.create_connection(("127.0.0.1", relay.ports["http"])) as player:
            player.sendall(f"GET /live/13800138000_1.flv?token={relay.media_token} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b"200 OK" in player.recv(4096)
            restarted(relay)
            player.settimeout(10)
            while player.recv(65536):
                pass
        simulated.wait_for_output("0x9102")
        assert probe_streams(relay.url("/live/13800138000_1.flv"))
        assert simulated.output.count("online") == 1


def test_a_start_that_would_fail_is_refused_and_everything_goes_on(tmp_path: Path) -> None:
    with Product(tmp_path, terminals={"answer_positions": "stored"}) as relay:
        terminal = RawTerminal(relay.ports["terminals_tcp"], "013900000000")
        wait_for("online", lambda: relay.is_online(terminal.phone))
        terminal.report_steadily(0.1)
        good = relay.config.read_text()
        relay.config.write_text(good.replace("[terminals]", "[terminals]\nregistartion = 1", 1))
        relay.process.process.send_signal(signal.SIGUSR2)
        relay.process.wait_for_output(r"not restarted, everything goes on as it was: .*terminals\.registartion: unknown key")
        assert "stopping" not in relay.process.output
        relay.config.write_text(good)
        restarted(relay)
        terminal.stop_reporting()
        wait_for("rows", lambda: stored(relay, terminal.phone) == len(terminal.sent), 10)
        terminal.close()


def test_a_stop_in_the_middle_of_a_restart_is_a_stop(tmp_path: Path) -> None:
    with Product(tmp_path) as relay:
        relay.process.process.send_signal(signal.SIGUSR2)
        relay.process.wait_for_output("trying the start")
    # Product's end has looked at the status and at the log


def test_a_daemon_restarts_as_itself_and_keeps_its_pid_file(tmp_path: Path) -> None:
    product = Product(tmp_path)
    words: list[Any] = [BIN / "twistd", "--rundir=.", "jt1078relay", "--config", product.config.name]
    process = Process("the daemon's parent", words, tmp_path / "parent.log", cwd=tmp_path)
    assert process.process.wait(PATIENCE_S) == 0, process.output
    pid = int((tmp_path / "twistd.pid").read_text())
    log = tmp_path / "twistd.log"
    terminal: RawTerminal | None = None
    try:
        wait_for("ready", lambda: "#info] ready" in log.read_text())
        terminal = RawTerminal(product.ports["terminals_tcp"], "013900000000")
        wait_for("online", lambda: "013900000000"[1:] in log.read_text())
        for number in (1, 2):
            os.kill(pid, signal.SIGUSR2)
            wait_for("ready again", lambda number=number: log.read_text().count("#info] ready") == number + 1)
            assert int((tmp_path / "twistd.pid").read_text()) == pid
            terminal.position()
        terminal.stop_reporting()
        os.kill(pid, signal.SIGUSR1)  # still begins a new log file
        wait_for("a new log", lambda: list(tmp_path.glob("twistd.log.*")))
    finally:
        os.kill(pid, signal.SIGTERM)
        if terminal is not None:
            terminal.close()
    wait_for("its end", lambda: not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text())
    assert not (tmp_path / "twistd.pid").exists()
    text = "".join(path.read_text() for path in tmp_path.glob("twistd.log*"))
    assert "Traceback" not in text
    assert "stopped after" in log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")
def test_privileges_that_were_dropped_do_not_keep_it_from_restarting(tmp_path: Path) -> None:
    """The port below 1024 was bound by root; the next image is nobody from its beginning."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 989))
        except OSError:
            pytest.skip("port 989 is taken")
    reachable = all(folder.stat().st_mode & 0o005 == 0o005 for folder in (Path(BIN), *Path(BIN).parents, *tmp_path.parents))
    if not reachable:
        pytest.skip("nobody may not reach the program or the test's folder")
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    product = Product(tmp_path, terminals={"tcp_port": 989}, store={"url": f"sqlite:///{home / 'relay.db'}"}, ftp={"directory": str(home / "up")})
    product.ports["terminals_tcp"] = 989
    words: list[Any] = [BIN / "twistd", "-n", "--uid=65534", "--gid=65534", f"--pidfile={home}/x.pid", "jt1078relay", "--config", product.config]
    process = Process("the relay", words, tmp_path / "relay.log", cwd=home)
    try:
        process.wait_for_output("#info] ready")
        terminal = RawTerminal(989, "013900000000")
        process.wait_for_output("13900000000 online")
        process.process.send_signal(signal.SIGUSR2)
        wait_for("ready again", lambda: process.output.count("#info] ready") == 2)
        assert json.loads(f"[{(home / 'x.pid').read_text()}]") == [process.process.pid]
        terminal.position()
        terminal.stop_reporting()
        terminal.close()
    finally:
        assert process.stop() == 0, process.output
    assert "Traceback" not in process.output
    assert not (home / "x.pid").exists()
