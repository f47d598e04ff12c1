"""The reference page is written from the declarations."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import pytest

from relay.jt809.envelope import FAMILIES, form_of
from relay.jt809.messages import MESSAGES, Body
from relay.jt809.reference import EDITIONS, envelope, reference
from tests.shared import ROOT


def test_the_committed_page_is_what_the_declarations_say() -> None:
    page = ROOT / "docs" / "reference" / "jt809.md"
    assert page.read_text(encoding="utf-8") == reference(), "python -m relay.jt809.reference > docs/reference/jt809.md"


def section(text: str, cls: type[Body]) -> str:
    start = text.index(f" {cls.LABEL} — {cls.ENGLISH}\n")
    return text[start : text.index("\n#", start)]


def test_everything_declared_is_on_the_page_with_its_names_and_its_envelope() -> None:
    text = reference()
    for cls in MESSAGES:
        msg_id, sub_id = cls.KEY
        assert f"### 0x{msg_id:04X}{f'/0x{sub_id:04X}' if sub_id else ''} {cls.LABEL} — {cls.ENGLISH}\n" in text
        said = section(text, cls)
        assert f"Class `{cls.__name__}`. Envelope {envelope(cls)}. " in said
        for name in cls.NAME.split(" / "):
            assert f"`{name}`" in said
        for edition in EDITIONS:
            for bound in cls.plan(edition).fields if edition >= cls.SINCE else ():
                assert re.search(rf"\| `{bound.name}(\[\])?` \| {re.escape(bound.info.label)} \|", said), bound.name
    for id, (label, name) in FAMILIES.items():
        assert re.search(rf"^\| 0x{id:04X} \| \w+ \| `{name}` \| {label} \|", text, re.M)


def test_layouts_that_lengths_tell_are_among_the_dialects_and_not_in_the_columns() -> None:
    text = reference()
    dialects = text[text.index("## Dialects") : text.index("## Index")]
    for cls in MESSAGES:
        if cls.layout.__func__ is not Body.layout.__func__:  # type: ignore[attr-defined]
            assert f"0x{cls.KEY[1]:04X}" in dialects, cls.__name__
    heads = set(re.findall(r"^\| (?:offset|(.+?): offset)", text, re.M))
    assert heads == {"", "2011"}
    assert not re.search(r"\b(2012|2020|3064|3129)\b", text.replace(dialects, ""))


BODIES: dict[str, Callable[[int], bytes]] = {
    "V": lambda sub_id: bytes(22) + struct.pack(">HI", sub_id, 0),
    "P": lambda sub_id: struct.pack(">HI", sub_id, 0),
    "A": lambda sub_id: bytes(22) + struct.pack(">HHII", sub_id, 0, 0, 0),
    "T": lambda sub_id: struct.pack(">H", sub_id) + bytes(139),
    "L": lambda sub_id: b"",
}


@pytest.mark.parametrize("edition", EDITIONS)
def test_the_envelopes_said_are_those_read(edition: int) -> None:
    for cls in MESSAGES:
        said = envelope(cls)
        for word in said.split(", "):
            form, _, year = word.removeprefix("or ").partition(" in ")
            if edition >= cls.SINCE and year in ("", str(edition)):
                assert form_of(cls.KEY[0], BODIES[form](cls.KEY[1]), edition) == form, cls.__name__


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
    assert "| – | – | 12 | DWORD | `msg_gnsscenterid` |" in section(text, MESSAGES.get((0x1001, 0)))  # type: ignore[arg-type]
    live = section(text, MESSAGES.get((0x9800, 0x9801)))  # type: ignore[arg-type]
    assert "| 2 | STRING[64] | `authorize_code` | 时效口令 |" in live
    assert "| 66 | BYTE[36] | `gnss_data` |" in live
