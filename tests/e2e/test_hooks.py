"""Hooks of a configuration that is read again: what is new is told, what has moved is told there, what is gone is not, and nothing that waits is lost."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.support import Product, wait_for
from tests.ports import free_port

pytestmark = pytest.mark.e2e

PHONES = ("13800138000", "13800138001", "13800138002")


class Receiver(BaseHTTPRequestHandler):
    """Keeps where it was told what."""

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append((self.path, told["hook"], told["event"]["sim"]))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.told = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def reread(relay: Product, plain: str, hooks: str) -> str:
    """The log's line about it."""
    before = relay.process.output.count("configuration reread")
    relay.config.write_text(plain + hooks, encoding="utf-8")
    relay.process.process.send_signal(signal.SIGHUP)
    wait_for("the configuration to be read again", lambda: relay.process.output.count("configuration reread") > before)
    return next(line for line in reversed(relay.process.output.splitlines()) if "configuration reread" in line)


def test_hooks_begin_move_and_end_at_sighup(relay: Product, receiver: ThreadingHTTPServer) -> None:
    told: list[tuple[str, str, str]] = receiver.told  # type: ignore[attr-defined]
    plain = relay.config.read_text(encoding="utf-8")

    def hook(name: str, port: int) -> str:
        return f'[[hook]]\nname = "{name}"\nurl = "http://127.0.0.1:{port}/{name}"\nevents = ["on_terminal_online"]\n'

    relay.terminal(PHONES[0])
    gone = free_port()
    assert "; hook fleet (new), hook yard (new)" in reread(relay, plain, hook("fleet", receiver.server_port) + hook("yard", gone))
    relay.terminal(PHONES[1])
    wait_for("the new hook's delivery", lambda: told == [("/fleet", "on_terminal_online", PHONES[1])])
    shown = relay.api("GET", "/hooks")["items"]
    assert [(one["name"], one["delivered"], one["waiting"]) for one in shown] == [("fleet", 1, 0), ("yard", 0, 1)]
    # the receiver of yard has moved: what waits goes there; fleet is as it was, with its counters
    line = reread(relay, plain, hook("fleet", receiver.server_port) + hook("yard", receiver.server_port))
    assert "hook yard (changed)" in line
    assert "fleet" not in line
    wait_for("what waited", lambda: told[1:] == [("/yard", "on_terminal_online", PHONES[1])])
    assert [one["delivered"] for one in relay.api("GET", "/hooks")["items"]] == [1, 1]
    assert "; hook fleet (gone)" in reread(relay, plain, hook("yard", receiver.server_port))
    relay.terminal(PHONES[2])
    wait_for("the delivery to the one that stayed", lambda: told[2:] == [("/yard", "on_terminal_online", PHONES[2])])
    assert [one["name"] for one in relay.api("GET", "/hooks")["items"]] == ["yard"]
