"""The page in a real Chromium: pictures that move, sound that is the terminal's tone, failures in words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import BIN, Process, Product, chromium_options, wait_for

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.e2e

PHONE = "13800138000"
SCREENSHOTS = os.environ.get("JT1078RELAY_SCREENSHOTS", "")

#: What a picture looks like now: a small copy of the video's pixels, as numbers. Moving pictures differ from one look to the next.
LOOK = """() => [...document.querySelectorAll('.tile.open video')].map((video) => {
  const canvas = document.createElement('canvas'); canvas.width = 44; canvas.height = 36;
  const context = canvas.getContext('2d'); context.drawImage(video, 0, 0, 44, 36);
  return { time: video.currentTime, width: video.videoWidth, pixels: [...context.getImageData(0, 0, 44, 36).data] };
})"""


@pytest.fixture
def browser() -> Iterator[Any]:
    options = chromium_options()
    with playwright.sync_playwright() as machinery:
        chromium = machinery.chromium.launch(**options)
        yield chromium
        chromium.close()


def open_page(browser: Any, url: str, **context: Any) -> Any:
    """A page whose complaints (script errors, broken policy) fail the test."""
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 760}, "locale": "en-US", **context}).new_page()
    page.complaints = []
    page.on("pageerror", lambda problem: page.complaints.append(str(problem)))
    page.on("console", lambda line: page.complaints.append(line.text) if line.type == "error" else None)
    page.goto(url)
    return page


def shoot(page: Any, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


def moving(page: Any, count: int) -> list[dict[str, Any]]:
    """Waits until ``count`` pictures play, and checks that every one changes and is not one colour."""

    def playing() -> list[dict[str, Any]] | None:
        looks = page.evaluate(LOOK)
        return looks if len(looks) == count and all(look["width"] and look["time"] > 0 and len(set(look["pixels"])) > 8 for look in looks) else None

    before = wait_for(f"{count} pictures", playing)
    return wait_for(
        "moving pictures",
        lambda: (now := playing()) and all(a["pixels"] != b["pixels"] and b["time"] > a["time"] for a, b in zip(before, now, strict=True)) and now,
    )


def test_the_demonstration_shows_four_moving_pictures_with_sound(browser: Any, tmp_path: Path) -> None:
    demo = Process("the demo", [BIN / "twistd", "-n", "--pidfile=", "jt1078relay", "--demo"], tmp_path / "demo.log", cwd=tmp_path)
    try:
        url = demo.wait_for_output(r"http://127\.0\.0\.1:\d+/\?token=\S+").group(0)
        page = open_page(browser, url)
        moving(page, 4)
        decoded = "() => document.querySelector('.tile.open video').webkitAudioDecodedByteCount"
        wait_for("decoded sound", lambda: page.evaluate(decoded) > 20000)
        page.locator(".tile.open").first.hover()
        page.locator(".tile.open").first.get_by_role("button", name="Sound").click()
        assert page.evaluate("() => document.querySelector('.tile.open video').muted") is False
        behind = page.evaluate(
            "() => Math.max(...[...document.querySelectorAll('.tile.open video')].map((v) => v.buffered.end(v.buffered.length - 1) - v.currentTime))"
        )
        assert behind < 1.6
        assert "token" not in page.url
        shoot(page, "demo")
        assert page.complaints == []
    finally:
        assert demo.stop() == 0, demo.output[-3000:]
    assert "Traceback" not in demo.output


def test_a_picture_is_opened_by_hand_in_chinese_and_on_a_phone(browser: Any, relay: Product) -> None:
    relay.terminal(PHONE, "--plate", "粤B12345")
    page = open_page(browser, relay.page(), locale="zh-CN", viewport={"width": 390, "height": 844})
    page.get_by_role("button", name="终端列表").click()
    page.get_by_text("粤B12345").first.wait_for()
    page.locator(".chip").first.click()
    moving(page, 1)
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    shoot(page, "phone")
    assert page.complaints == []


def test_a_failure_is_told_in_words_with_its_hop_and_tried_again(browser: Any, tmp_path: Path) -> None:
    with Product(tmp_path, media={"start_timeout_s": 3}, terminals={"registration": "open", "reply_timeout_s": 1}) as relay:
        terminal = relay.terminal(PHONE, "--fault", "never-connect")
        page = open_page(browser, relay.page())
        page.locator(".chip").first.click()
        alert = page.get_by_role("alert")
        alert.wait_for()
        assert len(alert.inner_text()) > 20
        assert page.locator(".cover .hint").inner_text()
        assert "0x9101" in page.locator(".hops li.done").nth(1).inner_text()
        assert "media port" in page.locator(".hops li.failed").inner_text()
        shoot(page, "failure")
        terminal.stop()
        relay.terminal(PHONE)
        moving(page, 1)  # by itself, nobody clicked
        assert page.complaints == []


def test_the_page_goes_on_by_itself_when_the_relay_is_restarted(browser: Any, tmp_path: Path) -> None:
    product = Product(tmp_path)
    with product as relay:
        relay.terminal(PHONE)
        page = open_page(browser, relay.page())
        page.locator(".chip").first.click()
        moving(page, 1)
        assert relay.process.stop() == 0
        page.get_by_text(re.compile("lost")).first.wait_for()
        relay.__enter__()
        moving(page, 1)


def test_a_page_without_a_token_asks_for_one(browser: Any, relay: Product) -> None:
    relay.terminal(PHONE)
    page = open_page(browser, relay.page().partition("?")[0])
    page.get_by_role("button", name="Use a token instead").click()
    page.get_by_label("Page token").fill("not a token")
    page.get_by_role("button", name="Open").click()
    page.get_by_text(re.compile("refused")).wait_for()
    page.get_by_label("Page token").fill(relay.api_token)
    page.get_by_role("button", name="Open").click()
    page.locator(".chip").first.click()
    moving(page, 1)
    shoot(page, "one")


def test_the_first_administrator_makes_a_user_who_logs_in_and_watches(browser: Any, relay: Product) -> None:
    relay.terminal(PHONE)
    first = relay.process.wait_for_output(r"http://\S+/\?first=\S+").group(0)
    page = open_page(browser, first)
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password", exact=True).fill("password of ann")
    page.get_by_label("Password again").fill("password of ann")
    page.get_by_role("button", name="Create and sign in").click()
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("button", name="Add a user").click()
    page.get_by_label("Name").fill("cam")
    page.get_by_label("New password").fill("password of cam")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("cell", name="cam").wait_for()
    shoot(page, "settings")
    assert page.complaints == []

    viewer = open_page(browser, first)  # the link has done its work
    viewer.get_by_label("Name").fill("eve")
    viewer.get_by_label("Password", exact=True).fill("password of eve")
    viewer.get_by_label("Password again").fill("password of eve")
    viewer.get_by_role("button", name="Create and sign in").click()
    viewer.get_by_text(re.compile("administrator already")).wait_for()
    viewer.get_by_role("button", name="Sign in", exact=True).click()
    viewer.get_by_label("Name").fill("cam")
    viewer.get_by_label("Password").fill("password of cam")
    viewer.get_by_role("button", name="Sign in", exact=True).click()
    viewer.locator(".chip").first.click()
    moving(viewer, 1)
    assert viewer.get_by_role("link", name="Streams").is_visible()
    viewer.reload()
    moving(viewer, 1)  # the session outlives the page

    page.get_by_role("row", name=re.compile("cam")).get_by_role("button", name="Disable").click()
    viewer.get_by_label("Password").wait_for()  # thrown out, asked again
    shoot(viewer, "signed-out")


@pytest.mark.parametrize("stream", ["main", "sub"])
def test_main_and_sub_stream_differ_and_switch_without_losing_the_picture(browser: Any, relay: Product, stream: str) -> None:
    relay.terminal(PHONE)
    page = open_page(browser, relay.page())
    page.locator(".chip").first.click()
    small = moving(page, 1)[0]["width"]
    page.locator(".tile.open").hover()
    page.get_by_role("button", name="Sub", exact=True).click()
    wait_for("the main stream's size", lambda: page.evaluate(LOOK) and page.evaluate(LOOK)[0]["width"] > small)
    if stream == "sub":
        page.locator(".tile.open").hover()
        page.get_by_role("button", name="Main", exact=True).click()
        wait_for("the sub stream's size", lambda: page.evaluate(LOOK) and page.evaluate(LOOK)[0]["width"] == small)
    moving(page, 1)
    assert page.complaints == []
