"""Sixteen pictures in a real Chromium: one WebSocket carries them all, none is late, and a page where that one cannot be had takes one each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.support import Product, wait_for
from tests.e2e.test_page import LOOK, PHONE, browser, moving, open_page, shoot

pytestmark = pytest.mark.e2e

__all__ = ["browser"]  # the fixture

SMALL = ("--sub-size", "176x144", "--fps", "5", "--gop", "2")
BEHIND = "() => [...document.querySelectorAll('video')].map((v) => v.buffered.length ? v.buffered.end(v.buffered.length - 1) - v.currentTime : 99)"


def remembered(count: int) -> str:
    """A script that puts so many pictures on the wall before the page looks."""
    tiles = [{"sim": PHONE, "channel": channel, "stream": ""} for channel in range(1, count + 1)]
    return f"localStorage.setItem('wall', {json.dumps(json.dumps({'layout': 16, 'tiles': tiles}))})"


def wall(browser: Any, relay: Product, count: int, refuse: bool = False) -> tuple[Any, list[str]]:
    """The page with its wall, and the addresses of the WebSockets for media that it opens."""
    page = open_page(browser, relay.page())
    page.evaluate(remembered(count))
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url) if "/live/" in socket.url else None)
    if refuse:
        page.route_web_socket("**/live/ws*", lambda socket: socket.close())
    page.goto(relay.page())
    return page, sockets


def test_sixteen_pictures_move_over_one_websocket_and_stay_close_to_now(browser: Any, relay: Product) -> None:
    relay.terminal(PHONE, "--channels", "16", *SMALL)
    page, sockets = wall(browser, relay, 16)
    moving(page, 16)
    assert len(sockets) == 1, sockets
    assert "/live/ws" in sockets[0]
    assert sum(stream["viewers"] for stream in relay.api("GET", "/streams")["items"]) == 16
    wait_for("all within a second of now", lambda: max(page.evaluate(BEHIND)) <= 1.0)
    # a page that stood still for a while (a busy machine) catches up
    page.evaluate("() => { const until = performance.now() + 3000; while (performance.now() < until); }")
    wait_for("all within a second of now again", lambda: max(page.evaluate(BEHIND)) <= 1.0, timeout=15)
    streams = relay.api("GET", "/streams")["items"]
    assert all(stream["delay_p99_ms"] > 0 and stream["quality"]["score"] > 0 for stream in streams), streams
    shoot(page, "wall16")
    page.locator(".tile.open").first.hover()
    page.locator(".tile.open").first.get_by_role("button", name="Close").click()
    wait_for("the viewer gone", lambda: sum(stream["viewers"] for stream in relay.api("GET", "/streams")["items"]) == 15)
    moving(page, 15)
    assert len(sockets) == 1, sockets
    assert page.complaints == []


def test_where_the_one_websocket_cannot_be_had_each_picture_takes_its_own(browser: Any, relay: Product) -> None:
    relay.terminal(PHONE, "--channels", "2", *SMALL)
    page, sockets = wall(browser, relay, 2, refuse=True)
    moving(page, 2)
    assert sum(".mp4" in url for url in sockets) == 2
    assert len(page.evaluate(LOOK)) == 2
