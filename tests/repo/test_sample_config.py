"""etc/jt1078relay.toml holds every key with its default and a comment, and nothing else."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, fields

import pytest

from relay.settings import Settings
from tests.shared import ROOT

SAMPLE = ROOT / "etc" / "jt1078relay.toml"


ARRAYS = {section.name: section.metadata["table"] for section in fields(Settings) if "table" in section.metadata}


def sections() -> dict[str, dict[str, object]]:
    return {name: keys for name, keys in asdict(Settings()).items() if name not in ARRAYS}


def test_every_key_stands_there_with_its_default() -> None:
    written = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))
    expected = {section: {key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()} for section, keys in sections().items()}
    assert written == expected
    for section, keys in expected.items():
        for key, value in keys.items():
            assert type(written[section][key]) is type(value), f"{section}.{key}"


def test_in_the_order_of_the_settings() -> None:
    written = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))
    assert {name: list(keys) for name, keys in written.items()} == {name: list(keys) for name, keys in sections().items()}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_tables_stand_there_as_comments(name: str) -> None:
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"# [[{name}]]"))
    block = []
    for line in lines[at:]:
        if not line.startswith("# "):
            break
        assert "#" in line[2:] or re.match(r"# [a-z_0-9]+ = [0-9]", line), f"no comment: {line}"
        block.append(line.removeprefix("# "))
    (written,) = tomllib.loads("\n".join(block))[name]
    keys = fields(ARRAYS[name])
    assert list(written) == [key.name for key in keys]
    for key in keys:
        default = list(key.default) if isinstance(key.default, tuple) else key.default
        assert type(written[key.name]) is type(default), key.name
        assert "needed" in key.metadata or written[key.name] == default, key.name


def test_every_key_has_a_comment() -> None:
    bare = [line for line in SAMPLE.read_text(encoding="utf-8").splitlines() if re.match(r"[a-z_0-9]+ = ", line) and not re.search(r"# \s*\S", line)]
    assert bare == []
