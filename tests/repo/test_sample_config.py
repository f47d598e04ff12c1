"""etc/jt1078relay.toml holds every key with its default and a comment, and nothing else."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict

from relay.settings import Settings
from tests.shared import ROOT

SAMPLE = ROOT / "etc" / "jt1078relay.toml"


def test_every_key_stands_there_with_its_default() -> None:
    written = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))
    expected = {
        section: {key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()} for section, keys in asdict(Settings()).items()
    }
    assert written == expected
    for section, keys in expected.items():
        for key, value in keys.items():
            assert type(written[section][key]) is type(value), f"{section}.{key}"


def test_in_the_order_of_the_settings() -> None:
    written = tomllib.loads(SAMPLE.read_text(encoding="utf-8"))
    assert {name: list(keys) for name, keys in written.items()} == {name: list(keys) for name, keys in asdict(Settings()).items()}


def test_every_key_has_a_comment() -> None:
    bare = [line for line in SAMPLE.read_text(encoding="utf-8").splitlines() if re.match(r"[a-z_0-9]+ = ", line) and not re.search(r"# \s*\S", line)]
    assert bare == []
