"""``jt1078relay selftest`` as its user runs it: a relay, terminals and two superior platforms, compared, and a report that people and programs read."""

from __future__ import annotations

import json
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.e2e.support import BIN

pytestmark = pytest.mark.e2e

SUBJECTS = [
    "links", "registration", "passwords", "positions", "alarms", "requests", "live", "checks", "catalogue", "playback", "download", "download-control",
    "supplement", "logout",
]  # fmt: skip


class Page(HTMLParser):
    """What stands in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_everything_that_was_sent_is_what_was_received(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    done = subprocess.run([BIN / "jt1078relay", "selftest", "--report", folder], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert done.stderr == ""
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert report["ok"]
    assert [(one["step"], one["superior"]) for one in report["steps"]] == [(step, name) for step in SUBJECTS for name in ("plain", "encrypted")]
    assert done.stdout.count("✓") >= report["passed"] == report["total"] == 2 * len(SUBJECTS)
    compared = {check["en"]: check for step in report["steps"] if step["superior"] == "encrypted" for check in step["checks"]}
    assert len(compared) > 60
    assert all(check["ok"] and check["sent"] and check["received"] for check in compared.values())
    for name in ("pictures: the same bytes, in order, none missing", "files fetched by FTP, byte for byte", "of them by 0x1203"):
        assert compared[name]["received"] not in ("0", "[]", "—")
    answer, first = report["figures"]
    assert (answer["name"], answer["limit_ms"], len(answer["values_ms"])) == ("live_answer", 100, 6)
    assert (first["name"], first["limit_ms"], len(first["values_ms"])) == ("first_byte", 1000, 6)
    assert 0 < answer["worst_ms"] < 5000
    page = Page()
    html = (folder / "report.html").read_text("utf-8")
    page.feed(html)
    assert page.tags.count("details") == report["total"]
    assert "script" not in page.tags
    assert page.links == [], "nothing is fetched"
    assert "合格 passed" in page.text and "不合格" not in page.text.replace("合格与否", "")
    log = (folder / "relay.log").read_text("utf-8")
    assert "ready" in log and "Traceback" not in log
