"""The 62 rows of JT/T 1078-2016: each declared, each tested, and the page that says so."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from relay.cli.rows import TESTS, page, rows, short_table, with_table
from tests.shared import ROOT, load_vectors, shared


def test_the_committed_page_is_what_the_declarations_say() -> None:
    written = ROOT / "docs" / "reference" / "rows.md"
    assert written.read_text(encoding="utf-8") == page(), "python -m relay.cli.rows > docs/reference/rows.md"


def test_the_readme_has_the_table() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == with_table(text), "python -m relay.cli.rows README.md"
    links = set(re.findall(r"\]\((\w[^)#]*)\)", short_table()))
    assert links and all((ROOT / link).exists() for link in links)


def test_there_are_62_rows_of_which_each_has_names_and_a_declaration() -> None:
    found = list(rows())
    assert Counter((row.protocol, row.kind) for row in found) == {
        ("jt808", "item"): 5,
        ("jt808", "parameter"): 7,
        ("jt808", "message"): 19,
        ("jt809", "family"): 10,
        ("jt809", "sub-message"): 21,
    }
    assert len({(row.protocol, row.kind, row.id) for row in found}) == 62
    for row in found:
        assert row.label and row.english and row.label != row.english
        source = (ROOT / row.file).read_text(encoding="utf-8")
        assert f"class {row.name}(" in source or f'"{row.name}"' in source, row
        # the id stands in the declaration, so that it is found by searching
        assert re.search(rf"\b{row.text}\b", source, re.IGNORECASE), row
        assert (ROOT / TESTS[row.protocol]).exists()


@pytest.mark.shared
@pytest.mark.parametrize("protocol", ["jt808", "jt809"])
def test_every_row_has_vectors(protocol: str) -> None:
    shared(f"vectors/{protocol}.jsonl")
    seen: set[tuple[str, int]] = set()
    for vector in load_vectors(protocol):
        if "error" in vector["fields"]:
            continue
        kind = {"item": "item", "param": "parameter"}.get(vector["kind"])
        if kind is not None:
            seen.add((kind, vector["fields"]["id"]))
        elif protocol == "jt808":
            seen.add(("message", int(vector["msg_id"], 16)))
        elif vector["msg_id"] is not None:
            seen.add(("family", int(vector["msg_id"], 16)))
            if vector["sub_id"] is not None:
                seen.add(("sub-message", int(vector["sub_id"], 16)))
    assert {row.text for row in rows() if row.protocol == protocol and (row.kind, row.id) not in seen} == set()
