"""Commands of the documentation stand in blocks that are run, or that say why they are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.guides import EACH, FENCE, NOT_RUN, PAGES, blocks
from tests.shared import ROOT

#: what a line of a shell begins with in these pages
PROGRAMS = "jt1078relay|twistd|curl|api|python3?|bash|pip|apt-get|systemctl|ffmpeg|ffplay|ffprobe|docker|podman"
COMMAND = re.compile(rf"^\s*(?:\$ |sudo |env )?(?:{PROGRAMS})\s+[^\s=|]", re.MULTILINE)
#: what is no shell
OTHERS = {"toml", "json", "python", ""}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_stands_outside_a_block_that_is_run_or_says_why_not(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in blocks(page):
        if block.language == "sh":
            assert not block.mark or NOT_RUN.fullmatch(block.mark) or EACH.fullmatch(block.mark), block.mark
            continue
        assert block.language in OTHERS, f"a block of {block.language}: shell commands are `sh`"
        assert not COMMAND.search(block.text), f"a command in a block that is not `sh`: {block.text[:200]}"
    indented = [line for line in FENCE.sub("", text).split("\n") if line.startswith("    ") and COMMAND.match(line)]
    assert indented == []
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(blocks(page)), "a fence that is indented or not closed"
