"""Pushes into Debian's nginx with RTMP and back out of it; a server that restarts, refuses, or has a certificate."""

from __future__ import annotations

import itertools
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Product, need, probe_streams, run, wait_for
from tests.net.test_push import certificate
from tests.ports import free_port
from tests.shared import shared

pytestmark = pytest.mark.e2e

PHONE = "13800138000"
MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")

CONFIGURATION = """
load_module {module};
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
rtmp {{
  server {{
    listen 127.0.0.1:{port};
    access_log off;
    application live {{ live on; wait_key on; {more} }}
    application closed {{ live on; deny publish all; }}
  }}
}}
"""


class MediaServer:
    """nginx with RTMP on a port that stays the same when it is started again."""

    def __init__(self, folder: Path) -> None:
        if not MODULE.exists():
            pytest.skip("nginx has no RTMP (Debian's package libnginx-mod-rtmp)")
        self.folder = folder
        self.folder.mkdir()
        self.port = free_port()
        self.nginx: subprocess.Popen[bytes] | None = None

    def configure(self, more: str = "") -> None:
        text = CONFIGURATION.format(module=MODULE, folder=self.folder, port=self.port, more=more)
        (self.folder / "nginx.conf").write_text(text, encoding="utf-8")

    def url(self, name: str, app: str = "live") -> str:
        return f"rtmp://127.0.0.1:{self.port}/{app}/{name}"

    def start(self) -> None:
        words = [need("nginx"), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "error.log")]
        self.nginx = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers() -> bool:
            with socket.socket() as look:
                return look.connect_ex(("127.0.0.1", self.port)) == 0

        wait_for("nginx", answers)

    def stop(self) -> None:
        nginx, self.nginx = self.nginx, None
        if nginx is not None:
            nginx.terminate()
            nginx.wait(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MediaServer]:
    made = MediaServer(tmp_path / "nginx")
    made.configure()
    made.start()
    yield made
    made.stop()


def push_of(relay: Product, name: str) -> dict[str, Any]:
    found: dict[str, Any] = relay.api("GET", f"/pushes/{name}")
    return found


def running(relay: Product, name: str, connects: int = 1) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        push = push_of(relay, name)
        return push if push["state"] == "running" and push["connects"] >= connects and push["bytes"] else None

    return wait_for(f"the push {name}", look)


def test_a_push_for_always_comes_out_of_the_server_and_comes_back_after_its_restart(tmp_path: Path, server: MediaServer) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    push = {"name": "always", "url": server.url("car?key=secret"), "terminal": PHONE, "stream": "main"}
    with Product(tmp_path, pushes=(push,)) as relay:
        assert push_of(relay, "always")["last_error"] == f"no terminal is called {PHONE}"
        relay.terminal(PHONE)
        seen = running(relay, "always")
        assert seen["target"] == f"rtmp://127.0.0.1:{server.port}/live/…"
        streams = {stream["codec_type"]: stream for stream in probe_streams(server.url("car"))}
        assert (streams["video"]["codec_name"], streams["video"]["width"]) == ("h264", 640)
        assert streams["audio"]["codec_name"] == "aac"
        ffmpeg = [need("ffmpeg"), "-v", "warning", "-xerror", "-t", "3", "-i", server.url("car"), "-f", "null", "-"]
        done = run(*ffmpeg, check=False)
        assert (done.returncode, done.stderr) == (0, "")

        server.stop()
        wait_for("the loss", lambda: push_of(relay, "always")["state"] != "running")
        server.start()
        again = running(relay, "always", 2)
        assert again["reconnects"] == 1
        assert again["failures"] >= 1
        probed = run(need("ffprobe"), "-v", "error", "-show_entries", "stream=codec_type,start_time", "-of", "csv=p=0", server.url("car"))
        starts = [float(line.split(",")[1]) for line in probed.stdout.splitlines()]
        assert max(starts) < 10, f"time stamps do not begin anew: {probed.stdout}"
        assert "secret" not in relay.process.output
        assert relay.api("GET", f"/streams/{PHONE}_1/viewers")["items"][0]["who"] == "push:always"


def test_a_push_by_the_api_on_demand(tmp_path: Path, server: MediaServer) -> None:
    with Product(tmp_path, rtmp={"push_allow": ["127.0.0.0/8"]}, media={"idle_stop_s": 0.5}) as relay:
        relay.terminal(PHONE)
        wanted = {"url": server.url("b"), "sim": PHONE, "channel": 2, "media": "v", "when": "demand", "name": "mine"}
        made = relay.api("POST", "/pushes", wanted, 201)
        assert (made["id"], made["state"], made["origin"]) == ("mine", "stopped", "api")
        assert relay.api("GET", "/streams")["total"] == 0
        relay.api("POST", "/pushes/mine/start")
        running(relay, "mine")
        assert [stream["codec_type"] for stream in probe_streams(server.url("b"))] == ["video"]
        assert relay.api("POST", "/pushes/mine/stop")["state"] == "stopped"
        wait_for("the end of the stream", lambda: relay.api("GET", "/streams")["total"] == 0)
        relay.api("DELETE", "/pushes/mine", expect=204)
        assert relay.api("GET", "/pushes")["total"] == 0

        relay.api("POST", "/pushes", {"url": server.url("x", "closed"), "sim": PHONE, "name": "denied"}, 201)
        wait_for("the refusal", lambda: push_of(relay, "denied")["failures"])
        assert push_of(relay, "denied")["state"] == "waiting"


@pytest.mark.shared
def test_h265_is_decoded_by_a_server_that_takes_enhanced_rtmp(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    port = free_port()
    seen: list[tuple[str, int]] = []

    def serve() -> None:
        with av.open(f"rtmp://127.0.0.1:{port}/live/car", options={"listen": "1"}, timeout=40) as server:
            for picture in itertools.islice(server.decode(video=0), 30):
                seen.append((server.streams.video[0].codec_context.name, picture.width))

    serving = threading.Thread(target=serve)
    serving.start()
    push = {"name": "hevc", "url": f"rtmp://127.0.0.1:{port}/live/car", "terminal": PHONE}
    with Product(tmp_path, pushes=(push,)) as relay:
        relay.terminal(PHONE, "--capture", str(shared("captures/syn-h265-g711u.jt1078")))
        serving.join(40)
        assert seen == [("hevc", 320)] * 30


def test_a_push_on_demand_begins_with_the_first_viewer_at_the_server(tmp_path: Path, server: MediaServer) -> None:
    push = {"name": "first", "url": server.url("car"), "terminal": PHONE, "when": "demand", "media": "v"}
    with Product(tmp_path, pushes=(push,)) as relay:
        relay.terminal(PHONE)
        hook = f"http://127.0.0.1:{relay.ports['http']}{push_of(relay, 'first')['hook']}"
        server.stop()
        server.configure(f"on_play {hook}; on_play_done {hook};")
        server.start()
        assert push_of(relay, "first")["state"] == "stopped"
        assert [stream["codec_type"] for stream in probe_streams(server.url("car"))] == ["video"]
        assert push_of(relay, "first")["connects"] == 1
        wait_for("the viewer's end", lambda: push_of(relay, "first")["watching"] == 0)
        assert hook.partition("token=")[2] not in relay.process.output


def test_a_media_server_pulls_and_a_player_comes_by_tls(tmp_path: Path, server: MediaServer) -> None:
    files = certificate(tmp_path, "localhost")
    tls = free_port()
    with Product(tmp_path, rtmp={"tls_port": tls, "tls_certificate": files[0], "tls_key": files[1]}) as relay:
        relay.terminal(PHONE)
        server.stop()
        server.configure(f"pull rtmp://127.0.0.1:{relay.ports['rtmp']}/live/{PHONE}_1?token={relay.media_token} name=pulled live=1;")
        server.start()
        for url in (server.url("pulled"), f"rtmps://127.0.0.1:{tls}/live/{PHONE}_1?token={relay.media_token}&audio=source"):
            assert {stream["codec_type"] for stream in probe_streams(url)} >= {"video"}


def test_the_api_does_not_push_into_the_network_behind_the_relay(relay: Product, tmp_path: Path) -> None:
    relay.terminal(PHONE)
    with socket.socket() as inner:
        inner.bind(("127.0.0.1", 0))
        inner.listen()
        inner.settimeout(0.2)
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"):
            made = relay.api("POST", "/pushes", {"url": f"rtmp://{host}:{inner.getsockname()[1]}/live/x", "sim": PHONE}, 201)
            failed = wait_for("the refusal", lambda made=made: relay.api("GET", f"/pushes/{made['id']}")["last_error"])
            assert "is not a public address; rtmp.push_allow names" in failed, host
            relay.api("DELETE", f"/pushes/{made['id']}", expect=204)
        with pytest.raises(TimeoutError):
            inner.accept()
    for url, words in (("http://example.org/a/b", "must begin with rtmp"), ("file:///etc/passwd", "must begin with rtmp"), ("rtmp://h/one", "application")):
        assert words in relay.api("POST", "/pushes", {"url": url, "sim": PHONE}, 400)["message"]
