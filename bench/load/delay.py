"""How far behind the terminal's clock a real Chromium shows its picture in the relay's own page (fMP4 over a WebSocket).

    python bench/load/delay.py [--seconds 30] [--audio none]

Relay, simulated terminal and headless Chromium run here; the delay is read off the pictures that the browser shows (``tests/e2e/glass.py`` has the method).
One JSON line: {"name", "median_ms", "p95_ms", "max_ms", "samples", "audio"}. Needs Debian's chromium and Playwright, as the tests do.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import sync_playwright

from tests.e2e.glass import watch
from tests.e2e.support import Product, chromium_options, wait_for

TILE = ".tile.open video"
PHONE = "13800138000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--audio", default="g711a", help="the terminal's sound; none: a picture alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Product(Path(name)) as relay, sync_playwright() as machinery:
        relay.terminal(PHONE, "--channels", "1", "--audio", arguments.audio)
        chromium = machinery.chromium.launch(**chromium_options())
        page = chromium.new_context(locale="en-US").new_page()
        page.goto(relay.page())
        page.locator(".chip").first.click()
        wait_for("a picture", lambda: page.evaluate(f"() => document.querySelector('{TILE}')?.currentTime > 1"))
        delays = watch(page, TILE, arguments.seconds)
        chromium.close()
        told = {
            "name": "page, fMP4 over WebSocket", "median_ms": round(delays.median * 1000), "p95_ms": round(delays.p95 * 1000),
            "max_ms": round(delays.most * 1000), "samples": delays.samples, "audio": arguments.audio,
        }  # fmt: skip
        print(json.dumps(told))


main()
