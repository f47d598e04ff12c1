"""The fixtures of the end-to-end tests, and what the pages showed where one fails."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.e2e.support import relay

__all__ = ["relay"]

#: what is said of a page at most
WORDS_MAX = 3000
SHOWN = """() => [location.hash, document.querySelector('#toast')?.textContent, document.querySelector('#link')?.textContent,
  document.querySelector('.talk-bar')?.textContent, document.querySelector('#view')?.innerText ?? document.body.innerText]"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure of a test with a browser's page says what that page showed."""
    report = yield
    page: Any = getattr(item, "funcargs", {}).get("page")
    if report.failed and report.when == "call" and page is not None:
        try:
            said = "\n".join(str(part) for part in page.evaluate(SHOWN) if part)[:WORDS_MAX]
        except Exception as problem:  # a page that has crashed says nothing
            said = f"nothing: {problem}"
        report.sections.append(("What the page showed", said))
    return report
