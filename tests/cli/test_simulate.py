"""The command ``simulate``: run as users run it, against a platform of plain sockets in this process."""

from __future__ import annotations

import json
import re
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.cli.main import main
from relay.jt808.messages.video import RealtimeAvControl, RealtimeAvRequest
from relay.jt808.session import Session
from relay.jt808.session_events import Authenticating, Registering, Role, SessionOptions
from tests.shared import shared

COMMAND = [str(Path(sys.executable).parent / "jt1078relay"), "simulate", "terminal"]


class Platform(threading.Thread):
    """Admits every terminal, asks each for channel 1 if ``media``, and counts what comes."""

    def __init__(self, media: bool = False) -> None:
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.sessions: dict[socket.socket, Session] = {}
        self.asks_media = media
        self.media = b""
        self.stop_after = 30_000
        self.seen: list[str] = []
        self.done = False
        self.listeners = [socket.create_server(("127.0.0.1", 0), backlog=200) for _ in range(2)]
        self.port, self.media_port = (listener.getsockname()[1] for listener in self.listeners)
        for listener, accept in zip(self.listeners, (self.accept_link, self.accept_media), strict=True):
            listener.setblocking(False)
            self.selector.register(listener, selectors.EVENT_READ, accept)

    def run(self) -> None:
        while not self.done:
            for key, _ in self.selector.select(0.05):
                key.data(key.fileobj)

    def accept_link(self, listener: socket.socket) -> None:
        link, _ = listener.accept()
        self.sessions[link] = Session(Role.PLATFORM, SessionOptions(), time.monotonic())
        self.selector.register(link, selectors.EVENT_READ, self.read_link)

    def accept_media(self, listener: socket.socket) -> None:
        link, _ = listener.accept()
        self.selector.register(link, selectors.EVENT_READ, self.read_media)

    def read_link(self, link: socket.socket) -> None:
        data = self.read(link)
        session, now = self.sessions[link], time.monotonic()
        session.receive(data, now)
        for event in session.events():
            if isinstance(event, Registering):
                self.seen.append(event.header.phone)
                session.registered(event.header, 0, "CODE", now)
            elif isinstance(event, Authenticating):
                session.authenticated(event.header, event.message.auth_code == "CODE", now)  # type: ignore[attr-defined]
                if self.asks_media:
                    session.send(RealtimeAvRequest(server_ip="127.0.0.1", tcp_port=self.media_port, channel=1, stream_type=1), now)
        self.write(link)

    def read_media(self, link: socket.socket) -> None:
        before = len(self.media)
        self.media += self.read(link)
        if before < self.stop_after <= len(self.media):
            for other, session in self.sessions.items():
                session.send(RealtimeAvControl(channel=1, command=0), time.monotonic())
                self.write(other)

    def read(self, link: socket.socket) -> bytes:
        try:
            data = link.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(link)
            link.close()
        return data

    def write(self, link: socket.socket) -> None:
        data = self.sessions[link].bytes_to_send()
        if data and link.fileno() >= 0:
            link.sendall(data)

    def finish(self) -> None:
        self.done = True
        self.join(5)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self.selector.close()


@pytest.fixture
def platform() -> Iterator[Platform]:
    made = Platform()
    made.start()
    yield made
    made.finish()


@pytest.fixture
def asking_platform() -> Iterator[Platform]:
    made = Platform(media=True)
    made.start()
    yield made
    made.finish()


def simulate(*words: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_line_for_each_change_of_state_and_a_summary(asking_platform: Platform) -> None:
    done = simulate("--server", f"127.0.0.1:{asking_platform.port}", "--phone", "13912345678", "--duration", 3)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(re.match(r" +\d+\.\d{3} 13912345678 ", line) for line in lines[:-1])
    words = [line.split(maxsplit=2)[2] for line in lines[:-1]]
    assert words[:3] == ["connected", "registered", "online"]
    assert any(word.startswith("<- 0x9101") and "channel 1" in word for word in words)
    assert f"media channel 1 (live) connected TCP 127.0.0.1:{asking_platform.media_port}" in words
    assert any(word.startswith("<- 0x9102") for word in words)
    assert "media channel 1 (live) closed: 0x9102 command 0" in words
    assert re.fullmatch(r"1 terminals, 1 came online, 1 were online at the end; 1 registrations, 0\.0\d MB of media in \d\.\d+ s", lines[-1])
    assert asking_platform.media.startswith(b"01cd\x81")


@pytest.mark.parametrize("source", [["--capture", "captures/syn-h264-g711a.jt1078"], ["--capture", "captures/nasty-garbage-a.jt1078", "--untouched"]])
def test_recordings_as_source(asking_platform: Platform, source: list[str]) -> None:
    path = shared(source[1])
    done = simulate("--server", f"127.0.0.1:{asking_platform.port}", "--duration", 1.5, "--quiet", source[0], path, *source[2:])
    assert done.returncode == 0, done.stderr
    if "--untouched" in source:
        assert path.read_bytes().startswith(asking_platform.media[:2000])
    else:
        assert asking_platform.media[8:15] == bytes.fromhex("013800138000") + b"\x01"


def test_many_terminals_and_json(platform: Platform) -> None:
    done = simulate("--server", f"127.0.0.1:{platform.port}", "--phone", "13900000098", "--count", 60, "--duration", 2.5, "--json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any("60 online" in line for line in lines[:-1])
    summary = json.loads(lines[-1])
    assert (summary["terminals"], summary["came_online"], summary["online_at_end"], summary["registrations"]) == (60, 60, 60, 60)
    assert sorted(platform.seen) == [f"0{13900000098 + i}" for i in range(60)]


def test_a_signal_ends_it_with_a_summary(platform: Platform) -> None:
    process = subprocess.Popen([*COMMAND, "--server", f"127.0.0.1:{platform.port}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while " online" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "1 came online" in out


def test_a_platform_that_is_not_there_is_told_by_the_exit_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = simulate("--server", f"127.0.0.1:{port}", "--duration", 0.5)
    assert done.returncode == 1
    assert "no connection: Connection was refused" in done.stdout
    assert done.stderr.strip() == "jt1078relay simulate: 1 of 1 terminals never came online"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["superior", "--encrypt"], "--encrypt needs --keys"),
        (["superior", "--listen", "0", "--tls-certificate", "/nowhere"], "the certificate or its key cannot be used"),
        (["superior", "--fault", "nonsense"], "there is no fault"),
        (["superior", "--fault", "mute=1"], "takes no value"),
        (["superior", "--listen", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1"),
        (["terminal", "--server", "127.0.0.1:1", "--fault", "nonsense"], "there is no fault"),
        (["terminal", "--server", "127.0.0.1:1", "--fault", "loss=x"], "not a number"),
        (["terminal", "--server", "127.0.0.1:1", "--capture", "/nowhere"], "No such file"),
        (["terminal", "--server", "127.0.0.1:1", "--untouched"], "--capture"),
        (["terminal", "--server", "127.0.0.1:1", "--phone", "139-1234"], "--phone"),
        (["terminal", "--server", "127.0.0.1:1", "--phone", "99", "--count", "5"], "cannot count on"),
        (["terminal", "--server", "127.0.0.1:1", "--sub-size", "350x288"], "multiples of 16"),
    ],
)
def test_input_at_fault_is_one_line_and_status_1(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("jt1078relay simulate: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    ["", "terminal", "terminal --server nohost", "terminal --server h:99999", "terminal --server h:1 --count 0", "terminal --server h:1 --channels 0,300",
     "terminal --server h:1 --edition 2015", "terminal --server h:1 --sub-size big"],
)  # fmt: skip
def test_wrong_usage_is_status_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *words.split()])
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_lists_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    from relay.sim.faults import FAULTS

    with pytest.raises(SystemExit) as ended:
        main(["simulate", "terminal", "--help"])
    assert ended.value.code == 0
    shown: Any = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in FAULTS)
