"""``twistd jt1078relay`` as a process: first line, failures in one line, signals, exit status, the demonstration."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.app.ports import listeners
from relay.settings import Settings
from tests.ports import free_port
from tests.shared import ROOT

TWISTD = Path(sys.executable).parent / "twistd"
LOOPBACK = "127.0.0.1"

pytestmark = pytest.mark.skipif(not TWISTD.exists(), reason="twistd is not installed beside this Python")


def ports() -> dict[str, int]:
    """A free port for every listener."""
    return {key: free_port() for key, kind, _, _ in listeners(Settings()) if key != "media.talk_extra_ports"}


class Twistd:
    """One run."""

    def __init__(self, folder: Path, *words: str, config: str | None = None, **more: str) -> None:
        self.folder = folder
        if config is not None:
            (folder / "relay.toml").write_text(config, encoding="utf-8")
        environ = {key: value for key, value in os.environ.items() if key != "JT1078RELAY_CONFIG"} | {"PYTHONPATH": str(ROOT)} | more
        command = [str(TWISTD), "-n", "--pidfile=twistd.pid", "jt1078relay", *words]
        self.log = folder / "out"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, cwd=folder, env=environ, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def until(self, pattern: str, count: int = 1) -> str:
        """The last of so many matches in its output."""
        deadline = time.monotonic() + 30
        while True:
            found = re.findall(pattern, self.output)
            if len(found) >= count:
                return str(found[count - 1])
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def end(self) -> int:
        """How it ended by itself."""
        return self.process.wait(30)

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(15)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def runs() -> Iterator[list[Twistd]]:
    made: list[Twistd] = []
    yield made
    for run in made:
        run.kill()


def config_text(taken: dict[str, int], extra: str = "") -> str:
    sections: dict[str, list[str]] = {}
    for key, port in taken.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, [f'host = "{LOOPBACK}"']).append(f"{name} = {port}")
    sections["media"].append('talk_extra_ports = ""')
    text = "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())
    return text + '[store]\nurl = "sqlite:///data/relay.db"\n' + extra


def test_it_starts_says_which_configuration_and_stops_with_status_0(tmp_path: Path, runs: list[Twistd]) -> None:
    run = Twistd(tmp_path, "--config", "relay.toml", config=config_text(ports(), "[cluster]\nport = 1\n"))
    runs.append(run)
    run.until(r"#info\] ready")
    first = run.output.splitlines()[0]
    assert first.endswith(f"configuration: {tmp_path}/relay.toml (--config)")
    assert "[cluster] is not served by this version" in run.output
    link = run.until(r"first start: .*(http://\S+/\?first=\S+)")
    assert (tmp_path / "data" / "relay.db").exists()
    begun = time.monotonic()
    assert run.stop() == 0
    assert time.monotonic() - begun < 10
    assert "Traceback" not in run.output
    assert not (tmp_path / "twistd.pid").exists()

    again = Twistd(tmp_path, "--config", "relay.toml")
    runs.append(again)
    again.until(r"#info\] ready")
    assert again.until(r"first start: .*(http://\S+/\?first=\S+)") != link, "nobody has become administrator yet"
    assert again.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("name", ["{folder}/notify", "@jt1078relay {folder}"])
def test_a_supervisor_is_told_when_it_is_ready_and_again_after_a_change_of_image(tmp_path: Path, runs: list[Twistd], name: str) -> None:
    place = name.format(folder=tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.settimeout(30)
        supervisor.bind("\0" + place[1:] if place[0] == "@" else place)
        run = Twistd(tmp_path, "--config", "relay.toml", config=config_text(ports()), NOTIFY_SOCKET=place)
        runs.append(run)
        assert supervisor.recv(100) == b"READY=1"
        run.until(r"#info\] ready")
        run.process.send_signal(signal.SIGHUP)  # whoever waited may ask at once
        run.until("configuration reread")
        run.process.send_signal(signal.SIGUSR2)
        assert supervisor.recv(100) == b"READY=1"
        run.until(r"#info\] ready", 2)
        assert run.stop() == 0


def test_nobody_at_the_notify_socket_is_said_and_no_fault(tmp_path: Path, runs: list[Twistd]) -> None:
    run = Twistd(tmp_path, "--config", "relay.toml", config=config_text(ports()), NOTIFY_SOCKET=f"{tmp_path}/nobody")
    runs.append(run)
    run.until(r"#info\] ready")
    assert run.stop() == 0
    assert "cannot be told: [Errno 2]" in run.output
    assert "Traceback" not in run.output


def test_every_fault_of_the_configuration_is_printed_and_the_status_is_1(tmp_path: Path, runs: list[Twistd]) -> None:
    run = Twistd(tmp_path, "--config", "relay.toml", config='[http]\nprot = 1\n[media]\nunrequested = "knwon"\n')
    runs.append(run)
    assert run.end() == 1
    assert sorted(run.output.splitlines()) == [
        f"{tmp_path}/relay.toml: http.prot: unknown key; did you mean port?",
        f"{tmp_path}/relay.toml: media.unrequested: must be one of known, accept, reject, not 'knwon'; did you mean known?",
    ]


@pytest.mark.parametrize("words", [["--demo", "--config", "x"], ["--nonsense"], ["surplus"]])
def test_wrong_usage_is_status_2(tmp_path: Path, runs: list[Twistd], words: list[str]) -> None:
    run = Twistd(tmp_path, *words)
    runs.append(run)
    assert run.end() == 2
    assert "Traceback" not in run.output
    assert run.output.splitlines()[-1].startswith("jt1078relay: ")


def test_the_version(tmp_path: Path, runs: list[Twistd]) -> None:
    import relay

    run = Twistd(tmp_path, "--version")
    runs.append(run)
    assert run.end() == 0
    assert run.output == f"jt1078relay {relay.__version__}\n"


def test_a_port_that_is_taken_is_one_line_with_its_key(tmp_path: Path, runs: list[Twistd]) -> None:
    taken = ports()
    with socket.socket() as other:
        other.bind((LOOPBACK, taken["media.playback_tcp_port"]))
        other.listen()
        run = Twistd(tmp_path, "--config", "relay.toml", config=config_text(taken))
        runs.append(run)
        assert run.end() == 1
    port = taken["media.playback_tcp_port"]
    words = f"cannot start: media.playback_tcp_port: cannot listen on TCP 127.0.0.1:{port}: another program listens there"
    assert f"jt1078relay: {words}" in run.output.splitlines()
    assert "Traceback" not in run.output
    assert not (tmp_path / "twistd.pid").exists()
    assert not (tmp_path / "data").exists(), "nothing else was begun"


def test_a_store_of_a_newer_version_is_one_line(tmp_path: Path, runs: list[Twistd]) -> None:
    import sqlite3

    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data" / "relay.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    run = Twistd(tmp_path, "--config", "relay.toml", config=config_text(ports()))
    runs.append(run)
    assert run.end() == 1
    assert "was written by a newer version (schema 99" in run.output.splitlines()[-1]
    assert "Traceback" not in run.output


def test_json_lines(tmp_path: Path, runs: list[Twistd]) -> None:
    run = Twistd(tmp_path, "--config", "relay.toml", config=config_text(ports(), '[log]\nformat = "json"\n'))
    runs.append(run)
    run.until(r'"message": "ready"')
    assert run.stop() == 0
    entries = [json.loads(line) for line in run.output.splitlines()]
    assert entries[0]["message"].startswith("configuration: ")
    assert {entry["level"] for entry in entries} <= {"info", "warn"}


def test_sighup_rereads_and_keeps_what_it_had_when_there_is_a_fault(tmp_path: Path, runs: list[Twistd]) -> None:
    taken = ports()
    run = Twistd(tmp_path, "--config", "relay.toml", config=config_text(taken))
    runs.append(run)
    run.until(r"#info\] ready")
    (tmp_path / "relay.toml").write_text("[http]\nprot = 1\n")
    run.process.send_signal(signal.SIGHUP)
    run.until(r"not reread, the former configuration stays: .*relay\.toml: http\.prot: unknown key")
    (tmp_path / "relay.toml").write_text(config_text(taken | {"http.port": 1}))
    run.process.send_signal(signal.SIGHUP)
    run.until(r"configuration reread; at the next start: http\.port")
    assert run.stop() == 0


def test_as_a_daemon_the_parent_tells_what_is_wrong(tmp_path: Path) -> None:
    taken = ports()
    (tmp_path / "relay.toml").write_text(config_text(taken))
    command = [str(TWISTD), "--pidfile=twistd.pid", "--logfile=relay.log", "jt1078relay", "--config", "relay.toml"]
    with socket.socket() as other:
        other.bind((LOOPBACK, taken["http.port"]))
        other.listen()
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert f"http.port: cannot listen on TCP 127.0.0.1:{taken['http.port']}" in done.stderr
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    pid = int((tmp_path / "twistd.pid").read_text())
    try:
        deadline = time.monotonic() + 20
        while "ready" not in (tmp_path / "relay.log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.kill(pid, signal.SIGTERM)
    while (tmp_path / "twistd.pid").exists():
        assert time.monotonic() < deadline + 15
        time.sleep(0.05)
    assert "stopped after" in (tmp_path / "relay.log").read_text()


def test_the_demonstration_prints_a_url_with_a_token_though_ports_are_taken(tmp_path: Path, runs: list[Twistd]) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind((LOOPBACK, 8080))
            other.listen()
            taken = True
        except OSError:
            taken = False  # somebody else has it: just as good, but it may be free again in a moment
        run = Twistd(tmp_path, "--demo", TMPDIR=str(tmp_path))
        runs.append(run)
        url = run.until(r"(?m)^Open (http://127\.0\.0\.1:\d+/\?token=[\w.-]+)$")
        assert not taken or ":8080/" not in url
        assert run.stop() == 0
    assert "Traceback" not in run.output
    assert list(tmp_path.glob("jt1078relay-demo-*")) == [], "the store went with it"
    assert not (tmp_path / "jt1078relay-data").exists()
