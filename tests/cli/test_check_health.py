"""``jt1078relay check-health``."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from relay.cli.main import main
from tests.net.test_tls import make
from tests.ports import free_port


class Answers(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(status: int = 200, pair: tuple[str, str] | None = None) -> Iterator[int]:
    """A port of 127.0.0.1 on which somebody answers."""
    server = HTTPServer(("127.0.0.1", 0), type("Answers", (Answers,), {"status": status}))
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(folder: Path, *lines: str) -> int:
    path = folder / "relay.toml"
    path.write_text("\n".join(["[http]", *lines]), encoding="utf-8")
    return main(["check-health", "--config", str(path)])


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_relay_in_health(tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with answering() as port:
        assert asked(tmp_path, f'host = "{host}"', f"port = {port}") == 0
    assert capsys.readouterr() == (f"http://127.0.0.1:{port}: in health\n", "")


def test_over_tls_whatever_name_its_certificate_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = make(tmp_path, "relay.example")
    words = [f'tls_certificate = "{pair[0]}"', f'tls_key = "{pair[1]}"']
    with answering(pair=pair) as port:
        assert asked(tmp_path, f"port = {port}", *words) == 0
        assert asked(tmp_path, "port = 0", f"tls_port = {port}", *words) == 0
    assert capsys.readouterr().out == f"https://127.0.0.1:{port}: in health\n" * 2
    with answering() as port:
        assert asked(tmp_path, f"port = {port}", "tls_port = 1", *words) == 0


def test_one_that_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(500) as port:
        assert asked(tmp_path, f"port = {port}") == 1
    assert capsys.readouterr().err == f"jt1078relay check-health: http://127.0.0.1:{port} answers 500\n"
    port = free_port()
    assert asked(tmp_path, f"port = {port}") == 1
    assert f"http://127.0.0.1:{port}: " in capsys.readouterr().err
    assert asked(tmp_path, "port = 0") == 1
    assert "nobody to ask" in capsys.readouterr().err
