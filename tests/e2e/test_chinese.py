"""Failures on the Chinese page: the relay's English sentences arrive as Chinese ones, with the numbers and names that are in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Product, wait_for
from tests.e2e.test_page import PHONE, browser, open_page, playwright, shoot  # noqa: F401 - the fixture

pytestmark = pytest.mark.e2e

#: what may stand in Latin letters in a Chinese sentence
LATIN = re.compile(r"JT/T|SIM|TCP|UDP|media\.\w+|0x[0-9A-F]{4}")


def failure(page: Any) -> tuple[str, str]:
    """What the tile says: the cause and what to do."""
    page.get_by_role("alert").first.wait_for()
    return page.get_by_role("alert").first.inner_text(), page.locator(".cover .hint").first.inner_text()


def chinese(text: str) -> bool:
    return bool(re.search("[\u4e00-\u9fff]", text)) and not re.search("[A-Za-z]{2}", LATIN.sub("", text))


def test_a_terminal_that_is_offline_is_told_in_chinese(browser: Any, relay: Product) -> None:  # noqa: F811
    relay.terminal(PHONE, "--plate", "粤B12345").stop()
    wait_for("the end of its link", lambda: not relay.is_online(PHONE))
    page = open_page(browser, f"{relay.page()}#/live/{PHONE}_1", locale="zh-CN")
    cause, hint = failure(page)
    assert cause.startswith(f"终端 {PHONE} 不在线（上次断开：")
    assert chinese(cause), cause
    assert chinese(hint), hint
    shoot(page, "chinese-offline")
    page.evaluate("(sim) => { location.hash = `#/vehicles/${sim}`; }", PHONE)
    page.get_by_text("离线原因").wait_for()
    why = page.locator("dt", has_text="离线原因").locator("xpath=following-sibling::dd[1]").inner_text()
    assert chinese(why), why
    shoot(page, "chinese-vehicle")


def test_a_terminal_that_opens_no_media_connection_is_told_in_chinese(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    with Product(tmp_path, media={"start_timeout_s": 3}, terminals={"registration": "open", "reply_timeout_s": 1}) as relay:
        relay.terminal(PHONE, "--fault", "never-connect")
        page = open_page(browser, relay.page(), locale="zh-CN")
        page.locator(".chip").first.click()
        cause, hint = failure(page)
        assert re.fullmatch(rf"终端 {PHONE} 已同意，但在 3 秒内未向 127\.0\.0\.1:\d+ 建立媒体连接。", cause), cause
        assert chinese(hint), hint
        shoot(page, "chinese-no-connection")
        page.evaluate("(sim) => { location.hash = `#/vehicles/${sim}`; }", PHONE)
        page.get_by_role("button", name="最近启动").first.click()
        page.locator(".trace .note", has_text="终端未建立媒体连接").first.wait_for()
        shoot(page, "chinese-starts")


def test_a_wrong_password_is_told_in_chinese(browser: Any, relay: Product) -> None:  # noqa: F811
    page = open_page(browser, relay.page().partition("?")[0], locale="zh-CN")
    page.locator("input[type=password]").first.fill("wrong")
    page.locator("input[autocomplete=username]").first.fill("nobody")
    page.keyboard.press("Enter")
    page.get_by_text("用户名或密码错误").first.wait_for()
    assert chinese(page.get_by_text("用户名或密码错误").first.inner_text().partition("`")[0])
