"""The self-test's report tells what is wrong; the run as a whole is in tests/e2e/test_selftest.py."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from relay.app.selftest_report import Figure, Report, Result, page


def report_of(*results: Result) -> Report:
    figures = [Figure("live_answer", "应答时间", "answer", 100.0, [20.0, 130.5]), Figure("first_byte", "首字节", "first byte", 1000.0)]
    return Report(datetime(2026, 1, 2, tzinfo=UTC), list(results), figures, parties=["终端 <terminal>"])


def test_one_difference_fails_the_run_and_stands_open_in_the_page(tmp_path: Path) -> None:
    good, bad = Result("links", "链路", "links", "0x1001", "plain"), Result("positions", "定位", "positions", "0x1202", "encrypted")
    assert good.expect("用户", "user", 10001, 10001)
    assert not bad.expect("时间", "time", "260102", "<260103>")
    report = report_of(good, bad)
    assert (good.ok, bad.ok, report.ok) == (True, False, False)
    report.write(tmp_path)
    told = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert (told["ok"], told["passed"], told["total"]) == (False, 1, 2)
    assert told["steps"][1]["checks"] == [{"zh": "时间", "en": "time", "sent": "260102", "received": "<260103>", "ok": False}]
    assert [(one["worst_ms"], one["within"]) for one in told["figures"]] == [(130.5, False), (None, False)]
    html = (tmp_path / "report.html").read_text("utf-8")
    assert html.count("<details open>") == 1
    assert "&lt;260103&gt;" in html and "<260103>" not in html and "&lt;terminal&gt;" in html
    assert "✗ 超出 over" in html and "未测得 not measured" in html


def test_a_step_that_compared_nothing_or_broke_off_has_not_passed() -> None:
    empty, broken = Result("a", "甲", "a", "", "plain"), Result("b", "乙", "b", "", "plain")
    broken.expect("一", "one", 1, 1)
    broken.problem = "not done within 15 s"
    assert not empty.ok
    assert not broken.ok
    assert "not done within 15 s" in page(report_of(broken))
    whole = Result("c", "丙", "c", "", "plain")
    whole.expect("一", "one", 1, 2, ok=True)
    assert report_of(whole).ok, "figures over their limit do not decide"
    assert not report_of().ok
    ended = report_of(whole)
    ended.problem = "interrupted"
    assert not ended.ok


def test_long_values_are_cut() -> None:
    result = Result("a", "甲", "a", "", "plain")
    result.expect("一", "one", ["x" * 1000], "y")
    assert len(result.checks[0].sent) < 420
