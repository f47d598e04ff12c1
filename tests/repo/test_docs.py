"""Links of the documentation resolve; news fragments are named as the release expects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.shared import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")])
FRAGMENT = re.compile(r"[a-z0-9][a-z0-9-]*\.(feature|bugfix|doc|removal|misc)")


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings are linked, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    missing = []
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            missing.append(target)
    assert missing == []


def test_news_fragments_are_named_and_written() -> None:
    fragments = [path for path in (ROOT / "newsfragments").iterdir() if not path.name.startswith(".") and path.name != "README.md"]
    assert [path.name for path in fragments if not FRAGMENT.fullmatch(path.name)] == []
    assert [path.name for path in fragments if not path.read_text(encoding="utf-8").strip()] == []
    assert fragments or (ROOT / "NEWS.md").exists(), "a change without news for its users"
