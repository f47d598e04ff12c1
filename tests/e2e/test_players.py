"""hls.js, mpegts.js and flv.js, as npm has them, in a real Chromium: pictures that move, decoded sound, and how far behind they are."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.e2e.support import NPM, Product, chromium_options, npm_fault, wait_for

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.e2e

PHONE = "13800138000"
LIBRARIES = ("hls.js", "mpegts.js", "flv.js")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The page and the libraries."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A web server of the players' page, of another origin than the relay."""
    if fault := npm_fault(*(f"{name}/dist" for name in LIBRARIES)):
        pytest.skip(f"hls.js, mpegts.js and flv.js are not there: {fault}")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(NPM.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as machinery:
        chromium = machinery.chromium.launch(**chromium_options())
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("players")) as relay:
        relay.terminal(PHONE)
        yield relay


def play(browser: Any, site: str, player: str, url: str, **more: str) -> Any:
    page = browser.new_context().new_page()
    page.goto(f"{site}/player.html?{urlencode({'player': player, 'url': url, **more})}")
    return page


def moving(page: Any, sound: bool) -> dict[str, Any]:
    """Waits until the picture moves and, if it is to be heard, sound was decoded."""

    def look() -> dict[str, Any] | None:
        seen: dict[str, Any] = page.evaluate("() => look()")
        fatal = [error for error in seen["errors"] if "fatal" in error]
        assert not fatal, seen
        return seen if seen["width"] and seen["colours"] > 8 and (not sound or seen["sound"] > 2000) else None

    try:
        first = wait_for("a picture", look)
        return wait_for("a moving picture", lambda: (now := look()) and now["time"] > first["time"] + 1.0 and now)
    except AssertionError as problem:
        raise AssertionError(f"{problem}: {page.evaluate('() => look()')}") from None


def test_hls_js_plays_low_latency_parts_at_most_two_and_a_half_seconds_behind(browser: Any, site: str, channel: Product) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    page = play(browser, site, "hls", channel.url(f"/live/{PHONE}_1/index.m3u8"))
    moving(page, sound=True)
    behind: list[float] = []

    def steady() -> bool:
        seen = page.evaluate("() => look()")
        if seen["behind"] is not None:
            behind.append(seen["behind"])
        return len(behind) > 60 and max(behind[-40:]) <= 2.5  # two seconds of looks in a row

    wait_for("at most 2.5 s behind the terminal", steady)
    seen = page.evaluate("() => look()")
    assert seen["parts"] > 5
    assert not set(seen["errors"]) - {"bufferStalledError  "}, seen  # it may run dry once, before the first part has come
    page.context.close()


@pytest.mark.parametrize(
    ("player", "kind", "path", "query"),
    [
        ("hls", "", "/index.m3u8", {"audio": "flac"}),
        ("hls", "", "/index.m3u8", {"container": "ts"}),
        ("mpegts", "mpegts", ".ts", {}),
        ("mpegts", "flv", ".flv", {}),
        ("flv", "flv", ".flv", {}),
    ],
)
def test_players_show_moving_pictures_and_decode_sound(
    browser: Any, site: str, channel: Product, player: str, kind: str, path: str, query: dict[str, str]
) -> None:
    pytest.importorskip("av", reason="the media extra (PyAV) is not installed")
    page = play(browser, site, player, channel.url(f"/live/{PHONE}_1{path}", **query), type=kind)
    seen = moving(page, sound=True)
    assert seen["width"] == 352
    assert not [error for error in seen["errors"] if "stalled" not in error.lower()], seen
    page.context.close()


def test_hls_js_goes_on_when_the_terminal_switches_streams(browser: Any, site: str, tmp_path: Path) -> None:
    with Product(tmp_path) as relay:
        relay.terminal(PHONE)
        page = play(browser, site, "hls", relay.url(f"/live/{PHONE}_1/index.m3u8"))
        before = moving(page, sound=False)
        answer = relay.api("POST", f"/terminals/{PHONE}/channels/1/live", {"stream": "main"})
        assert answer["id"] == f"{PHONE}_1"
        wait_for("the main stream's size", lambda: page.evaluate("() => look()")["width"] > before["width"])
        moving(page, sound=False)
        page.context.close()
