"""A terminal with H.265 in one stream and H.264 in the other, and players that show H.264 only: ffprobe and the page in Chromium."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.support import Product, chromium_options, http_error, need, probe_streams, run, wait_for
from tests.e2e.test_page import moving, open_page
from tests.shared import shared

pytestmark = pytest.mark.e2e

PHONE = "13800138000"
CAPTURE = "captures/syn-h265-g711u.jt1078"


def probe(url: str) -> tuple[str, int]:
    [video] = [stream for stream in probe_streams(url) if stream["codec_type"] == "video"]
    return video["codec_name"], video["width"]


def test_the_h264_stream_is_found_and_remembered(relay: Product) -> None:
    relay.terminal(PHONE, "--audio", "g711u", "--sub-capture", shared(CAPTURE))
    assert probe(relay.url(f"/live/{PHONE}_1.ts", media="v")) == ("hevc", 320)
    assert probe(relay.url(f"/live/{PHONE}_1.flv", media="v", video="h264")) == ("h264", 640)
    quirks = relay.api("GET", f"/terminals/{PHONE}/quirks")
    assert '"1.sub": "h265"' in json.dumps(quirks)
    assert '"1.main": "h264"' in json.dumps(quirks)
    relay.api("DELETE", f"/terminals/{PHONE}/channels/1/live", expect=204)
    wait_for("the channel's end", lambda: not relay.api("GET", "/streams")["items"])
    playlist = relay.url(f"/live/{PHONE}_1/index.m3u8", media="v", video="h264")
    assert probe(playlist) == ("h264", 640)
    switches = relay.process.output.count("other stream")
    assert probe(playlist) == ("h264", 640)
    assert relay.process.output.count("other stream") == switches
    counted = run(need("curl"), "-s", "-H", f"Authorization: Bearer {relay.api_token}", f"http://127.0.0.1:{relay.ports['http']}/metrics").stdout
    assert 'live_events_total{what="other stream: H.264"} 1' in counted


def test_somebody_who_watches_h265_keeps_it(relay: Product) -> None:
    relay.terminal(PHONE, "--audio", "g711u", "--sub-capture", shared(CAPTURE))
    relay.api("POST", f"/terminals/{PHONE}/channels/1/live", {"stream": "sub", "hold_s": 60})
    status, body = http_error(relay.url(f"/live/{PHONE}_1.flv", video="h264"))
    assert (status, body["error"]) == (415, "unsupported_video")
    assert "others have this one (1 api)" in body["message"]


def test_the_page_shows_the_other_stream(relay: Product) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    relay.terminal(PHONE, "--channels", "1", "--audio", "g711u", "--sub-capture", shared(CAPTURE))
    options = chromium_options()
    with playwright.sync_playwright() as machinery:
        chromium = machinery.chromium.launch(**options)
        page: Any = open_page(chromium, relay.page())
        if page.evaluate("""() => MediaSource.isTypeSupported('video/mp4; codecs="hvc1.1.6.L93.B0"')"""):
            pytest.skip("this Chromium decodes H.265")
        page.locator(".terminal .channels button").first.click()
        [look] = moving(page, 1)
        assert look["width"] == 640
        chromium.close()
