"""The rows of the JT/T 1078-2016 extension, where each is declared and tested: ``python -m relay.cli.rows > docs/reference/rows.md``.

``python -m relay.cli.rows README.md`` writes the short table between the marks of that file anew.

Only the ids stand here; names come from the declarations, so that a row without one is an error. Here and not beside the declarations,
because ``relay.jt808`` and ``relay.jt809`` do not know each other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relay.jt808.items import ITEMS
from relay.jt808.messages import MESSAGES as MESSAGES_808
from relay.jt808.params import PARAMETERS, SimpleParameter
from relay.jt809.envelope import FAMILIES
from relay.jt809.messages import MESSAGES as MESSAGES_809

#: additional items of 0x0200
ITEM_IDS = (0x14, 0x15, 0x16, 0x17, 0x18)
#: parameters of 0x8103 and 0x0104
PARAMETER_IDS = (0x0075, 0x0076, 0x0077, 0x0079, 0x007A, 0x007B, 0x007C)
MESSAGE_IDS = (
    0x1003, 0x1005, 0x1205, 0x1206, 0x9003, 0x9101, 0x9102, 0x9105, 0x9201, 0x9202, 0x9205, 0x9206, 0x9207,
    0x9301, 0x9302, 0x9303, 0x9304, 0x9305, 0x9306,
)  # fmt: skip
#: 业务类型 -> its English name (the standard has none) and its sub-businesses
FAMILY_IDS: dict[int, tuple[str, tuple[int, ...]]] = {
    0x1700: ("Time-efficient passwords, main link", (0x1701, 0x1702)),
    0x1800: ("Live audio and video, main link", (0x1801, 0x1802)),
    0x1900: ("Search of recordings, main link", (0x1901, 0x1902)),
    0x1A00: ("Playback of recordings, main link", (0x1A01, 0x1A02)),
    0x1B00: ("Download of recordings, main link", (0x1B01, 0x1B02, 0x1B03)),
    0x9700: ("Time-efficient passwords, subordinate link", (0x9702,)),
    0x9800: ("Live audio and video, subordinate link", (0x9801, 0x9802)),
    0x9900: ("Search of recordings, subordinate link", (0x9901, 0x9902)),
    0x9A00: ("Playback of recordings, subordinate link", (0x9A01, 0x9A02)),
    0x9B00: ("Download of recordings, subordinate link", (0x9B01, 0x9B02, 0x9B03)),
}

TESTS = {"jt808": "tests/jt808/test_vectors.py", "jt809": "tests/jt809/test_vectors.py"}
ROUND_TRIPS = {"jt808": "tests/jt808/test_roundtrip.py", "jt809": "tests/jt809/test_roundtrip.py"}

INTRO = """JT/T 1078-2016 adds 62 rows to two protocols: 31 to JT/T 808 (terminal and platform) and 31 to JT/T 809 (platform and platform). Each is
declared once; encoding, decoding, `decode`'s explanation and the reference come from the declaration. The tests run every vector of the row both ways.

JT/T 1078-2016 共扩展 62 项：JT/T 808 31 项，JT/T 809 31 项。下表列出每一项的声明与测试。

Written from the declarations; do not edit. `python -m relay.cli.rows > docs/reference/rows.md` writes it again. All fields: [JT/T 808](jt808.md),
[JT/T 809](jt809.md)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    protocol: str  #: "jt808" or "jt809"
    kind: str  #: "item", "parameter", "message", "family" or "sub-message"
    id: int
    label: str
    english: str
    name: str  #: what declares it: a class, or a line of a table
    module: str

    @property
    def text(self) -> str:
        """The id as the standard writes it."""
        return f"0x{self.id:0{2 if self.kind == 'item' else 4}X}"

    @property
    def file(self) -> str:
        """Where it is declared."""
        return self.module.replace(".", "/") + ".py"


def rows() -> Iterator[Row]:
    """All 62; ``KeyError`` for one that nothing declares."""
    for kind, family, ids in (("item", ITEMS, ITEM_IDS), ("parameter", PARAMETERS, PARAMETER_IDS)):
        for id in ids:
            entry = family.classes[id]
            # parameters of one plain value are lines of a table, told by their names
            name = entry.NAME if issubclass(entry, SimpleParameter) else entry.__name__
            yield Row("jt808", kind, id, entry.LABEL, entry.ENGLISH, name, entry.__module__)
    for id in MESSAGE_IDS:
        message = MESSAGES_808.get(id)
        if message is None:
            raise KeyError(f"0x{id:04X}")
        yield Row("jt808", "message", id, message.LABEL, message.ENGLISH, message.__name__, message.__module__)
    for id, (english, sub_ids) in FAMILY_IDS.items():
        label, name = FAMILIES[id]
        yield Row("jt809", "family", id, label, english, name, "relay.jt809.envelope")
        for sub_id in sub_ids:
            sub = MESSAGES_809.get((id, sub_id))
            if sub is None:
                raise KeyError(f"0x{id:04X}/0x{sub_id:04X}")
            yield Row("jt809", "sub-message", sub_id, sub.LABEL, sub.ENGLISH, sub.__name__, sub.__module__)


def page() -> str:
    """The page."""
    text = ["# The 62 rows of JT/T 1078-2016", "", INTRO, ""]
    number = 0
    for protocol, heading in (("jt808", "On JT/T 808"), ("jt809", "On JT/T 809")):
        text += [f"## {heading}", "", "| # | kind | id | 中文 | English | declared | test |", "| --- | --- | --- | --- | --- | --- | --- |"]
        for row in rows():
            if row.protocol == protocol:
                number += 1
                declared = f"`{row.name}` in [{row.file}](../../{row.file})"
                test = f"[{TESTS[protocol]}](../../{TESTS[protocol]})"
                text.append(f"| {number} | {row.kind} | {row.text} | {row.label} | {row.english} | {declared} | {test} |")
        text.append("")
    return "\n".join(text)


#: between these the README has its table
MARKS = ("<!-- rows: written by python -m relay.cli.rows README.md -->", "<!-- rows: end -->")


def short_table() -> str:
    """The README's table, marks included."""
    text = [MARKS[0], "<details><summary>The 62 rows of JT/T 1078-2016, each with its declaration and its tests</summary>", ""]
    text += ["| # | row | id | 中文 | declaration | tests |", "|---|---|---|---|---|---|"]
    for number, row in enumerate(rows(), 1):
        kind = f"{'808' if row.protocol == 'jt808' else '809'} {row.kind}"
        tests = f"[vectors]({TESTS[row.protocol]}), [round trip]({ROUND_TRIPS[row.protocol]})"
        text.append(f"| {number} | {kind} | {row.text} | {row.label} | [`{row.name}`]({row.file}) | {tests} |")
    return "\n".join([*text, "", "</details>", MARKS[1]])


def with_table(text: str) -> str:
    """``text`` with the table between its marks written anew; ``ValueError`` if the marks are not there."""
    begin, end = text.index(MARKS[0]), text.index(MARKS[1]) + len(MARKS[1])
    return text[:begin] + short_table() + text[end:]


if __name__ == "__main__":
    if sys.argv[1:]:
        file = Path(sys.argv[1])
        file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(page())
