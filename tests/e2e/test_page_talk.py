"""A call from a real Chromium: its (pretended) microphone reaches the terminal, and comes back from one that echoes."""

from __future__ import annotations

import os
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Product, chromium_options, wait_for
from tests.ports import free_port

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.e2e

PHONE = "13800138000"
CALL = """async (sim) => {
  const { Talk } = await import('/static/talk.js');
  window.talk = new Talk((what) => { window.told = [...(window.told || []), what]; });
  await window.talk.start({ sim, channel: 1, mode: 'talk' });
}"""


def test_the_browsers_microphone_reaches_the_terminal_and_comes_back(tmp_path: Path) -> None:
    options: dict[str, Any] = chromium_options()
    options["args"] = [*options["args"], "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with Product(tmp_path, media={"talk_tcp_port": free_port()}) as relay, playwright.sync_playwright() as machinery:
        relay.terminal(PHONE, "--fault", "talk-echo", "--fault", "talk-silent")
        chromium = machinery.chromium.launch(**options)
        page = chromium.new_context().new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.goto(relay.page())
        page.evaluate(CALL, PHONE)
        wait_for("sound that went to the terminal and back", lambda: page.evaluate("(window.told || []).some((one) => one.level > 0.02)"))
        assert page.evaluate("window.talk.sent") > 10
        assert relay.api("GET", "/talks")["items"][0]["attached"] is True
        page.evaluate("window.talk.stop()")
        wait_for("the end of the call", lambda: relay.api("GET", "/talks")["total"] == 0)
        assert complaints == []
        with pytest.raises(playwright.Error, match="No terminal is called"):
            page.evaluate(CALL, "nobody")
        chromium.close()


def test_an_operator_talks_and_turns_a_camera_from_the_wall(tmp_path: Path) -> None:
    options: dict[str, Any] = chromium_options()
    options["args"] = [*options["args"], "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with Product(tmp_path, media={"talk_tcp_port": free_port()}) as relay, playwright.sync_playwright() as machinery:
        terminal = relay.terminal(PHONE)
        chromium = machinery.chromium.launch(**options)
        page = chromium.new_context(viewport={"width": 1280, "height": 760}, locale="en-US").new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.goto(relay.page())
        page.locator(".chip").first.click()
        page.locator(".tile.open").first.hover()
        page.get_by_role("button", name="Talk to the driver").click()
        wait_for("the call", lambda: relay.api("GET", "/talks")["total"] == 1)
        page.get_by_role("button", name="End the call").click()
        wait_for("the end of the call", lambda: relay.api("GET", "/talks")["total"] == 0)
        page.get_by_role("button", name="Turn the camera").click()
        left = page.get_by_role("button", name="Left", exact=True)
        if shots := os.environ.get("JT1078RELAY_SCREENSHOTS", ""):
            page.screenshot(path=str(Path(shots) / "operate.png"))
        left.hover()
        page.mouse.down()
        wait_for("the camera's turning", lambda: terminal.output.count("0x9301") >= 1)
        page.mouse.up()
        wait_for("its stopping", lambda: terminal.output.count("0x9301") >= 2)
        assert complaints == []
        chromium.close()


def test_a_picture_that_nobody_watches_any_more_is_stopped_after_the_call_and_not_with_it(tmp_path: Path) -> None:
    media = {"talk_tcp_port": free_port(), "idle_stop_s": 1.0}
    with Product(tmp_path, media=media) as relay:
        vehicle = relay.terminal(PHONE, "--fault", "talk-echo")
        with urllib.request.urlopen(relay.url(f"/live/{PHONE}_1.flv"), timeout=30) as picture:
            assert picture.read(3) == b"FLV"
        talk = relay.api("POST", f"/terminals/{PHONE}/channels/1/talk", {"mode": "talk"}, expect=201)
        time.sleep(3)  # thrice as long as its stop would take without a call
        assert relay.api("GET", "/talks")["total"] == 1, vehicle.output
        assert "command 0" not in vehicle.output
        relay.api("DELETE", f"/talks/{talk['id']}", expect=204)
        vehicle.wait_for_output(r"0x9102 \S+ channel 1, command 4")
        vehicle.wait_for_output(r"0x9102 \S+ channel 1, command 0")
