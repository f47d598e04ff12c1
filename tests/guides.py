"""The shell commands of the documentation, as its pages mark them.

A fenced block ``sh`` is run by ``tests/e2e/test_guides.py``, line after line in one shell, as a reader would type it. The line
right above it may say otherwise::

    <!-- not run: REASON -->            it is not run, for that reason
    <!-- run: each line for 2 s -->     commands that go on: each is begun, watched for so long, and stopped
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.shared import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench" / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(?:<!-- (.*?) -->\n)?```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"not run: (.{10,})")
EACH = re.compile(r"run: each line for (\d+) s")


class Block(NamedTuple):
    """One fenced block."""

    language: str
    text: str
    mark: str  #: the comment above it

    @property
    def reason(self) -> str:
        """Why it is not run; "" when it is."""
        found = NOT_RUN.fullmatch(self.mark)
        return found.group(1) if found else ""

    @property
    def seconds_each(self) -> int:
        """How long each line goes on; 0: it ends by itself."""
        found = EACH.fullmatch(self.mark)
        return int(found.group(1)) if found else 0


def blocks(page: Path) -> list[Block]:
    """All of a page."""
    return [Block(language, text, mark or "") for mark, language, text in FENCE.findall(page.read_text(encoding="utf-8"))]


def runnable(page: Path) -> list[Block]:
    """Those whose commands are run."""
    return [block for block in blocks(page) if block.language == "sh" and not block.reason]
