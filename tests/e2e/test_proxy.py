"""Debian's nginx in front of the relay, as ``etc/nginx.conf`` says: page, API, media and WebSockets come through, at once and under the
client's own address."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, Request, TextMessage

from tests.e2e.support import PATIENCE_S, Product, need, probe_streams, wait_for
from tests.ports import free_port
from tests.shared import ROOT

pytestmark = pytest.mark.e2e

PHONE = "13800138000"
CLIENT = "127.0.0.2"  #: a loopback address that is no proxy's; Linux gives all of 127/8


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    need("nginx")
    with Product(tmp_path_factory.mktemp("proxied"), http={"trusted_proxies": ["127.0.0.1"]}) as product:
        product.terminal(PHONE)
        yield product


@pytest.fixture(scope="module")
def proxy(relay: Product) -> Iterator[int]:
    """nginx with the sample, its addresses and paths alone exchanged; its port."""
    port = free_port()
    folder = relay.folder / "nginx"
    folder.mkdir()
    sample = (ROOT / "etc" / "nginx.conf").read_text(encoding="utf-8")
    for old, new in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{relay.ports['http']};"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("/var/log/nginx/jt1078relay.log", str(folder / "access.log")),
        ("/var/cache/nginx/jt1078relay", str(folder / "cache")),
    ):
        assert old in sample
        sample = sample.replace(old, new)
    temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n{temporary}{sample}}}\n"
    (folder / "nginx.conf").write_text(main, encoding="utf-8")
    words = [need("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    nginx = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def answers() -> bool:
        if nginx.poll() is not None:
            assert nginx.stderr is not None
            raise AssertionError(nginx.stderr.read().decode() + (folder / "error.log").read_text())
        with socket.socket() as look:
            return look.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for("nginx", answers)
        yield port
    finally:
        nginx.terminate()
        nginx.wait(10)
    assert "token=" not in (folder / "access.log").read_text()


@contextlib.contextmanager
def get(port: int, path: str, source: str = CLIENT, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """One request from an address of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S, source_address=(source, 0))
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with connection.getresponse() as answer:
        assert answer.status == 200
        yield answer
    connection.close()


def viewers(relay: Product) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = relay.api("GET", f"/streams/{PHONE}_1/viewers")["items"]
    return items


class Socket:
    """A WebSocket of a client that is no browser."""

    def __init__(self, port: int, target: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S, source_address=(CLIENT, 0))
        self.connection = WSConnection(ConnectionType.CLIENT)
        self.socket.sendall(self.connection.send(Request(host=f"127.0.0.1:{port}", target=target)))

    def events(self) -> Iterator[Any]:
        """What comes, pings answered, until the connection is closed."""
        while data := self.socket.recv(65536):
            self.connection.receive_data(data)
            for event in self.connection.events():
                if isinstance(event, Ping):
                    self.socket.sendall(self.connection.send(event.response()))
                yield event
                if isinstance(event, CloseConnection | RejectConnection):
                    return


def test_the_page_and_its_policy_name_the_proxy(proxy: int) -> None:
    with get(proxy, "/", Host="video.example:8443") as answer:
        assert b"<html" in answer.read()
        assert "connect-src 'self' ws://video.example:8443 wss://video.example:8443;" in str(answer.getheader("Content-Security-Policy"))


def test_play_urls_of_the_api_lead_through_the_proxy(relay: Product, proxy: int) -> None:
    with get(proxy, f"/api/v1/terminals/{PHONE}/channels/1/play", Authorization=f"Bearer {relay.api_token}") as answer:
        urls = json.loads(answer.read())["urls"]
    assert {urlsplit(url).netloc for url in urls.values() if url.startswith(("http:", "ws:"))} == {f"127.0.0.1:{proxy}"}
    codecs = {stream["codec_type"]: stream["codec_name"] for stream in probe_streams(urls["mp4"])}
    assert codecs == {"video": "h264", "audio": "flac"}


def test_media_over_http_is_not_gathered_on_its_way(relay: Product, proxy: int) -> None:
    with get(proxy, f"/live/{PHONE}_1.flv?audio=source&token={relay.media_token}") as answer:
        assert answer.getheader("Content-Type") == "video/x-flv"
        assert answer.read1(65536)[:3] == b"FLV"
        arrivals = [time.monotonic()]
        while arrivals[-1] < arrivals[0] + 2:
            assert answer.read1(65536)
            arrivals.append(time.monotonic())
        pauses = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
        assert len(pauses) > 20, "25 pictures and some blocks of sound a second, a lump at a time"
        assert max(pauses) < 0.8
        assert [viewer["peer"] for viewer in viewers(relay)] == [CLIENT], "without the port, which is the proxy's"
    wait_for("the viewer's end", lambda: not viewers(relay))
    assert re.search(rf"{re.escape(CLIENT)} GET /live/{PHONE}_1\.flv\?audio=source&token=\S+ 200 ", relay.process.output)
    assert re.search(rf"viewer {re.escape(CLIENT)} .*flv.* ended", relay.process.output)


def test_fragmented_mp4_over_a_websocket(relay: Product, proxy: int) -> None:
    client = Socket(proxy, f"/live/{PHONE}_1.mp4?token={relay.media_token}")
    told, media = [], b""
    for event in client.events():
        if isinstance(event, TextMessage):
            told.append(json.loads(event.data))
        elif isinstance(event, BytesMessage):
            media += event.data
            if media.count(b"moof") >= 10:
                break
    [init] = [message for message in told if message["type"] == "init"]
    assert init["mime"].startswith('video/mp4; codecs="avc1.')
    assert media[4:8] == b"ftyp"
    assert [viewer["peer"] for viewer in viewers(relay)] == [CLIENT]
    client.socket.sendall(client.connection.send(CloseConnection(code=1000)))
    assert any(isinstance(event, CloseConnection) for event in client.events())
    wait_for("the viewer's end", lambda: not viewers(relay))


def test_a_failure_inside_a_websocket_is_told_through_the_proxy(proxy: int) -> None:
    events = list(Socket(proxy, f"/live/{PHONE}_1.mp4?token=nonsense").events())
    assert isinstance(events[0], AcceptConnection)
    [told] = [json.loads(event.data) for event in events if isinstance(event, TextMessage)]
    assert (told["type"], told["status"], told["error"]) == ("error", 403, "token_malformed")
    assert events[-1].code == 4403


def test_events_are_sent_as_they_happen(relay: Product, proxy: int) -> None:
    with get(proxy, "/api/v1/events", Authorization=f"Bearer {relay.api_token}", Accept="text/event-stream") as answer:
        other = relay.terminal("13900139000", online=False)
        seen = b""
        while b"event: terminal.online" not in seen:
            seen += answer.read1(65536)
        other.stop()


@pytest.mark.parametrize(
    ("source", "told", "believed"),
    [
        (CLIENT, "203.0.113.9", CLIENT),  # nginx adds the client's address behind what it claims
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),  # a second proxy on this machine
    ],
)
def test_addresses_are_believed_as_far_as_proxies_are_trusted(relay: Product, proxy: int, source: str, told: str, believed: str) -> None:
    mark = len(relay.process.output)
    with get(proxy, "/api/v1/terminals", source, Authorization=f"Bearer {relay.api_token}", X_Forwarded_For=told):
        pass
    line = wait_for("the access log", lambda: re.search(r"(\S+) GET /api/v1/terminals 200", relay.process.output[mark:]))
    assert line[1] == believed


def test_without_a_proxy_nobody_names_another_address(relay: Product) -> None:
    mark = len(relay.process.output)
    with get(relay.ports["http"], "/api/v1/streams", Authorization=f"Bearer {relay.api_token}", X_Forwarded_For="203.0.113.9"):
        pass
    line = wait_for("the access log", lambda: re.search(r"(\S+) GET /api/v1/streams 200", relay.process.output[mark:]))
    assert line[1] == CLIENT


def test_segments_of_hls_are_kept_by_the_proxy(relay: Product, proxy: int) -> None:
    folder = f"/live/{PHONE}_1"
    with get(proxy, f"{folder}/index.m3u8?token={relay.media_token}") as answer:
        variant = answer.read().decode().splitlines()[-1]
    with get(proxy, f"{folder}/{variant}") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
        listed = answer.read().decode()
    init, segment = re.findall(r'MAP:URI="([^"]+)"', listed)[0], re.findall(r"^\d+\.m4s.*$", listed, re.MULTILINE)[-1]
    before = relay.api("GET", "/streams")["items"][0]["sent_bytes"]
    sizes = []
    for _ in range(5):
        for name in (init, segment):
            with get(proxy, f"{folder}/{name}") as answer:
                sizes.append(len(answer.read()))
    assert len(set(sizes)) == 2
    sent = relay.api("GET", "/streams")["items"][0]["sent_bytes"] - before
    assert sent < 2 * max(sizes), "the relay was asked more than once"
    hint = re.findall(r'PRELOAD-HINT:TYPE=PART,URI="([^"]+)"', listed)[0]
    with get(proxy, f"{folder}/{hint}") as answer:  # held until it is there
        assert answer.read()[4:8] == b"moof"
