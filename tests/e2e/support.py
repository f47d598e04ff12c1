"""Runs the installed product as its users do: ``twistd``, the commands, real sockets, ffmpeg and Chromium as judges.

Everything here is a subprocess on loopback; ports are free ones, and readiness is waited for, never slept for.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.ports import free_port
from tests.shared import ROOT

BIN = Path(sys.executable).parent
NPM = ROOT / "tests" / "browser" / "node_modules"
T = TypeVar("T")

#: Debian's package of a program, where it is not called the same
PACKAGES = {"ffprobe": "ffmpeg", "nginx": "nginx-light"}

#: deadline for anything that happens at once on an idle machine; CI machines are not idle
PATIENCE_S = 30.0


def need(program: str) -> str:
    """The path of a program from Debian's packages, or skip."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed (Debian's package {PACKAGES.get(program, program)})")
    return path


def wait_for(what: str, probe: Callable[[], T | None], timeout: float = PATIENCE_S) -> T:
    """Ask ``probe`` until it answers something true; the poll is the only place of these tests that lets time pass."""
    deadline = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.05)


def run(*words: str | Path, timeout: float = 60.0, check: bool = True, text: bool = True) -> subprocess.CompletedProcess[Any]:
    """One command to its end; its output is in the failure's message."""
    done = subprocess.run([str(word) for word in words], capture_output=True, timeout=timeout, text=text)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, words))} gave {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def command(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[Any]:
    """The command ``jt1078relay``."""
    return run(BIN / "jt1078relay", *words, **options)


class Process:
    """A long-running program with its output in a file."""

    def __init__(self, name: str, words: list[str | Path], log: Path, cwd: Path | None = None) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen([str(word) for word in words], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=cwd)

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for_output(self, pattern: str, timeout: float = PATIENCE_S) -> re.Match[str]:
        """The first match of ``pattern`` in what it has printed."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.output)
            if not found and self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.output}")
            return found

        try:
            return wait_for(f"{pattern!r} from {self.name}", look, timeout)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.output}") from None

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM, and how it ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.name} did not stop within {timeout} s:\n{self.output[-4000:]}") from None
        return self.process.returncode


class Product:
    """A relay of its own: configuration, store and ports; ``with Product(tmp_path) as relay``."""

    def __init__(
        self,
        folder: Path,
        pushes: tuple[dict[str, Any], ...] = (),
        superiors: tuple[dict[str, Any], ...] = (),
        rules: tuple[dict[str, Any], ...] = (),
        **sections: dict[str, Any],
    ) -> None:
        self.folder = folder
        self.ports = {
            name: free_port()
            for name in ("terminals_tcp", "terminals_udp", "live_tcp", "live_udp", "playback_tcp", "playback_udp", "http", "rtmp", "ftp", "attachments")
        }
        values: dict[str, dict[str, Any]] = {
            "terminals": {"host": "127.0.0.1", "tcp_port": self.ports["terminals_tcp"], "udp_port": self.ports["terminals_udp"], "registration": "open"},
            "media": {
                "host": "127.0.0.1",
                "advertise": "127.0.0.1",
                "live_tcp_port": self.ports["live_tcp"],
                "live_udp_port": self.ports["live_udp"],
                "playback_tcp_port": self.ports["playback_tcp"],
                "playback_udp_port": self.ports["playback_udp"],
                "talk_tcp_port": 0,
                "talk_extra_ports": "",
            },
            "http": {"host": "127.0.0.1", "port": self.ports["http"], "platform_port": 0},
            "rtmp": {"host": "127.0.0.1", "port": self.ports["rtmp"]},
            "attachments": {"host": "127.0.0.1", "port": self.ports["attachments"]},
            "ftp": {"host": "127.0.0.1", "port": self.ports["ftp"], "advertise": "127.0.0.1", "passive_ports": "", "directory": str(folder / "uploads"),
                    "min_free_bytes": 0},
            "store": {"url": f"sqlite:///{folder / 'relay.db'}"},
        }
        for section, entries in sections.items():
            values.setdefault(section, {}).update(entries)
        self.config = folder / "jt1078relay.toml"
        tables = [(f"[{name}]", section) for name, section in values.items()] + [("[[push]]", push) for push in pushes]
        tables += [("[[superior]]", superior) for superior in superiors] + [("[[rule]]", rule) for rule in rules]
        self.config.write_text(
            "".join(f"{head}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items()) for head, table in tables),
            encoding="utf-8",
        )
        self._tokens: dict[str, str] = {}
        self._terminals: list[Process] = []

    def __enter__(self) -> Product:
        self.process = Process(
            "the relay", [BIN / "twistd", "-n", "--pidfile=", "jt1078relay", "--config", self.config], self.folder / "relay.log", cwd=self.folder
        )
        self.process.wait_for_output("")

        def ready() -> bool:
            if self.process.process.poll() is not None:
                raise AssertionError(f"the relay ended with {self.process.process.returncode}:\n{self.process.output}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/readyz", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False

        try:
            wait_for("the relay's readiness", ready)
        except AssertionError as problem:
            self.process.stop()
            raise AssertionError(f"{problem}\n{self.process.output}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for terminal in self._terminals:
            with contextlib.suppress(AssertionError):
                terminal.stop()
        status = self.process.stop()
        output = self.process.output
        if kind is None:
            assert status == 0, output[-6000:]
            assert "Traceback" not in output, output[-6000:]
            assert "Unhandled" not in output, output[-6000:]
            for token in self._tokens.values():
                assert token not in output, "a token stands in the log"
        else:
            print(output[-6000:])

    # what users do --------------------------------------------------------

    def token(self, *words: str) -> str:
        """``jt1078relay token --config …``: the token alone on the last line."""
        key = " ".join(words)
        if key not in self._tokens:
            self._tokens[key] = command("token", "--config", self.config, *words).stdout.strip().splitlines()[-1]
        return self._tokens[key]

    @property
    def media_token(self) -> str:
        return self.token("--media", "*")

    @property
    def api_token(self) -> str:
        return self.token("--api", "--role", "admin")

    def url(self, path: str, scheme: str = "http", **query: str) -> str:
        """A media URL with its token."""
        words = "&".join(f"{key}={value}" for key, value in {**query, "token": self.media_token}.items())
        return f"{scheme}://127.0.0.1:{self.ports['http']}{path}?{words}"

    def page(self) -> str:
        """The page's URL with its token."""
        return f"http://127.0.0.1:{self.ports['http']}/?token={self.api_token}"

    def api(self, method: str, path: str, body: Any = None, expect: int = 200) -> Any:
        """One call of the API."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['http']}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.api_token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as problem:
            status, text = problem.code, problem.read()
        assert status == expect, (status, text)
        return json.loads(text) if text else None

    def terminal(self, phone: str, *words: str, online: bool = True) -> Process:
        """A simulated terminal; returns when the relay says that it is online."""
        process = Process(
            f"terminal {phone}",
            [BIN / "jt1078relay", "simulate", "terminal", "--server", f"127.0.0.1:{self.ports['terminals_tcp']}", "--phone", phone, *words],
            self.folder / f"terminal-{phone}.log",
        )
        self._terminals.append(process)
        if online:
            try:
                wait_for(f"terminal {phone} online", lambda: self.is_online(phone))
            except AssertionError as problem:
                raise AssertionError(f"{problem}\n{process.output}\n{self.process.output[-4000:]}") from None
        return process

    def is_online(self, phone: str) -> bool:
        """What the API says of it."""
        return any(item["sim"] == phone.lstrip("0") and item["online"] for item in self.api("GET", "/terminals")["items"])


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Product]:
    """A relay with open registration on free ports."""
    with Product(tmp_path) as product:
        yield product


def probe_streams(url: str | Path, *options: str, timeout: float = 40.0) -> list[dict[str, Any]]:
    """ffprobe's streams of a URL or file."""
    done = run(need("ffprobe"), "-v", "error", *options, "-show_streams", "-of", "json", url, timeout=timeout)
    streams: list[dict[str, Any]] = json.loads(done.stdout)["streams"]
    return streams


def record(url: str, seconds: float, target: Path, timeout: float = 40.0) -> bytes:
    """What a player that reads for so long gets, byte for byte."""
    with target.open("wb") as out, urllib.request.urlopen(url, timeout=timeout) as answer:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            data = answer.read1(65536)
            if not data:
                break
            out.write(data)
    return target.read_bytes()


def decode_errors(path: str | Path) -> str:
    """What ffmpeg complains of when it decodes everything; empty is what is wanted."""
    return str(run(need("ffmpeg"), "-v", "warning", "-xerror", "-i", path, "-f", "null", "-", check=False).stderr)


def loudest(path: str | Path, candidates: tuple[int, ...] = (220, 330, 440, 660, 880, 1200), rate: int = 8000) -> list[int]:
    """For each tenth of a second of sound, which of the candidate tones (Hz) is the strongest."""
    import math

    pcm = run(need("ffmpeg"), "-v", "error", "-i", path, "-ac", "1", "-ar", str(rate), "-f", "s16le", "-", text=False).stdout
    samples = memoryview(pcm[: len(pcm) // 2 * 2]).cast("h")
    found = []
    step = rate // 10
    for start in range(0, len(samples) - step, step):
        block = samples[start : start + step]

        def power(tone: int, block: Any = block) -> float:
            turn = 2 * math.cos(2 * math.pi * tone / rate)
            a = b = 0.0
            for value in block:
                a, b = value + turn * a - b, a
            return a * a + b * b - turn * a * b

        found.append(max(candidates, key=power))
    return found


def http_error(url: str, timeout: float = PATIENCE_S) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of an answer that is an error."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            raise AssertionError(f"{answer.status} where an error was due")
    except urllib.error.HTTPError as problem:
        return problem.code, json.loads(problem.read())


def memory_kib(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))  # type: ignore[union-attr]


@functools.cache
def npm_fault(*wanted: str) -> str:
    """Why these are not under ``tests/browser/node_modules``, after an attempt to install them; "" when they are."""
    if all((NPM / name).exists() for name in wanted):
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed (Debian's package npm)"
    if os.environ.get("JT1078RELAY_OFFLINE"):
        return "nothing may be installed (JT1078RELAY_OFFLINE)"
    words = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
    done = subprocess.run(words, cwd=NPM.parent, capture_output=True, text=True, timeout=120, check=False)
    return f"npm install gave {done.returncode}: {done.stderr[-300:]}" if done.returncode else ""


@functools.cache
def playwright_fault() -> str:
    """Why Playwright's driver does not run here; it is a program of its own with needs of its own."""
    done = run(sys.executable, "-m", "playwright", "--version", check=False)
    return str(done.stderr or done.stdout).strip() if done.returncode else ""


def chromium_options() -> dict[str, Any]:
    """Launch options of Debian's Chromium for Playwright: sound and picture without a person's gesture, no network but loopback."""
    chromium = need("chromium")
    if playwright_fault():
        pytest.skip(f"Playwright does not run here (Debian's package libatomic1?): {playwright_fault()}")
    return {
        "executable_path": chromium,
        "args": [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--autoplay-policy=no-user-gesture-required",
            "--mute-audio",
        ],
        "env": {**os.environ, "HOME": os.environ.get("HOME", "/tmp")},
    }
