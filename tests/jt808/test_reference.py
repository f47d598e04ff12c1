"""The reference page is written from the declarations."""

from __future__ import annotations

import re

from relay.jt808.items import ITEMS
from relay.jt808.messages import MESSAGES
from relay.jt808.params import PARAMETERS
from relay.jt808.reference import reference
from tests.shared import ROOT


def test_the_committed_page_is_what_the_declarations_say() -> None:
    page = ROOT / "docs" / "reference" / "jt808.md"
    assert page.read_text(encoding="utf-8") == reference(), "python -m relay.jt808.reference > docs/reference/jt808.md"


def test_everything_declared_is_on_the_page() -> None:
    text = reference()
    for cls in MESSAGES:
        assert f"### 0x{cls.KEY:04X} {cls.LABEL} — {cls.ENGLISH}\n" in text
    for family, digits in ((ITEMS, 2), (PARAMETERS, 8)):
        for id in family.classes:
            assert re.search(rf"^(\| |### )0x{id:0{digits}X} ", text, re.M), hex(id)


def test_links_lead_to_a_list() -> None:
    text = reference()
    anchors = {re.sub(r"[^\w-]", "", name.lower().replace(" ", "-")) for name in re.findall(r"^### (.+)$", text, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_every_table_is_rectangular() -> None:
    width = 0
    for line in reference().splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert cells in (0, width) or width == 0, line
        width = cells


def test_columns_where_editions_differ() -> None:
    text = reference()
    registration = text[text.index("### 0x0100 ") :]
    assert "| 4 | STRING[5] | 4 | STRING[5] | 4 | STRING[11] | `manufacturer_id` |" in registration
    assert "| 2011, 2013: offset | type | 2019: offset | type |" in text[text.index("### 0x0102 ") :]
    assert "| 8 | DWORD | `latitude` | 纬度 | latitude | 0.000001 ° |" in text[text.index("### 0x0200 ") :]
