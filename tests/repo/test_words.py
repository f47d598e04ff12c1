"""Every word that a page asks for is there when that page is the first that is opened."""

from __future__ import annotations

import re

from tests.repo.sentences import ROOT

STATIC = ROOT / "web" / "static"
ASKED = re.compile(r"\bt\(\"(\w+)\"")
NAMED = re.compile(r"[{,\s](\w+): \"")
IMPORT = re.compile(r"^import [^\"]*\"\./(\w+\.js)\"", re.MULTILINE)
#: i18n.js's example; what the map, which takes days from the time line's module, does not draw
NOT_SHOWN = {"key", "pb_zoom", "pb_timeline"}
LATER = re.compile(r"\bimport\(\"\./(\w+\.js)\"\)")


def together(name: str, seen: set[str]) -> set[str]:
    """The module, and what comes with it before it runs."""
    if name not in seen:
        seen.add(name)
        for other in IMPORT.findall((STATIC / name).read_text("utf-8")):
            together(other, seen)
    return seen


def words(name: str) -> set[str]:
    text = (STATIC / name).read_text("utf-8")
    return set(NAMED.findall(text)) if name == "i18n.js" or "addWords(" in text else set()


def test_no_page_shows_the_key_of_a_word_that_is_not_loaded() -> None:
    always = together("app.js", set())
    pages = set(LATER.findall((STATIC / "app.js").read_text("utf-8")))
    assert "page_live.js" in pages
    missing = {}
    for page in sorted(pages):
        loaded = together(page, set()) | always
        known = set().union(*map(words, loaded))
        for name in loaded:
            lacking = set(ASKED.findall((STATIC / name).read_text("utf-8"))) - known - NOT_SHOWN
            if lacking:
                missing[page, name] = lacking
    assert missing == {}
