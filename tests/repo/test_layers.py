"""Holds the table of layers in docs/design.md by reading the imports of every module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared import ROOT

LAYERS: dict[int, tuple[str, ...]] = {
    0: ("errors", "bits", "identity", "settings", "wire"),
    1: ("jt808", "jt1078", "jt809", "codec", "mux", "rtmp"),
    2: ("hub", "core", "store"),
    3: ("net", "web", "sim"),
    4: ("app", "cli"),
}
LAYER = {part: layer for layer, parts in LAYERS.items() for part in parts}

#: a part may import itself, lower layers, and of its own layer only these
BESIDE = {"mux": {"codec", "jt1078"}, "rtmp": {"mux", "codec"}, "core": {"hub", "store"}}
for _layer in (0, 4):
    for _part in LAYERS[_layer]:
        BESIDE[_part] = set(LAYERS[_layer])

#: top-level modules of the standard library that give time, chance, sockets or logging
IMPURE = {"socket", "socketserver", "ssl", "select", "selectors", "asyncio", "logging", "random", "secrets", "time", "threading", "subprocess"}
TWISTED_IN_LAYER_2 = {"twisted.internet.defer", "twisted.logger", "twisted.python.failure"}  # the last: what a Deferred fails with
#: where a rule gives way, and why
EXCEPTIONS = {
    ("relay.hub.derived", "time"): "the same as of the next",
    ("relay.hub.transcode", "time"): "processor time of a pool's thread can only be measured inside it",
}
THIRD_PARTY = {
    # the extra `media` is looked for when a track is transcoded, and only there
    "hub": {"av"},
    "store": {"psycopg"},  # the extra `postgres`, looked for when store.url names a server
    "net": {"OpenSSL", "service_identity", "zope"},
    "web": {"msgspec", "prometheus_client", "OpenSSL", "wsproto", "zope"},
    "sim": {"av", "zope"},
    "app": {"zope"},
    "cli": {"av"},  # the same extra, for `inspect --audio`
}


def modules() -> list[Path]:
    return sorted((ROOT / "relay").rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of all that a module imports, wherever it stands in it; ``from a import b`` gives ``a.b``."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = name_of(path).split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def faults(path: Path) -> list[str]:
    """What this module may not import, as ``file:line: words``."""
    parts = name_of(path).split(".")
    if parts == ["relay", "__init__"]:
        return [f"{path}:{line}: the package itself imports nothing" for line, name in imports(path) if name != "__future__.annotations"]
    part = parts[1]
    layer = LAYER[part]
    found = []

    def fault(line: int, words: str) -> None:
        if (".".join(parts), root) not in EXCEPTIONS:
            found.append(f"{path.relative_to(ROOT)}:{line}: {words}")

    for line, name in imports(path):
        root, _, rest = name.partition(".")
        if root == "relay":
            other = rest.split(".")[0]
            if other == "__version__" or not other:
                continue
            if other not in LAYER:
                fault(line, f"{name}: no part of the table")
            elif other != part and LAYER[other] >= layer and other not in BESIDE.get(part, ()):
                fault(line, f"{part} (layer {layer}) imports {other} (layer {LAYER[other]})")
        elif root == "twisted":
            if layer < 2:
                fault(line, f"layer {layer} imports {name}")
            elif layer == 2 and not any(name == allowed or name.startswith(allowed + ".") for allowed in TWISTED_IN_LAYER_2):
                fault(line, f"layer 2 imports {name}; of twisted only {', '.join(sorted(TWISTED_IN_LAYER_2))}")
            elif name.startswith("twisted.internet.reactor") and layer != 4:
                fault(line, "only app and cli name the reactor")
        elif root in IMPURE:
            if layer < 2 or (layer == 2 and root in {"socket", "socketserver", "ssl", "select", "selectors", "asyncio", "logging", "time"}):
                fault(line, f"layer {layer} imports {root}: what it needs of it is an argument")
        elif root not in sys.stdlib_module_names and root not in THIRD_PARTY.get(part, ()):
            fault(line, f"{part} imports {root}, which is not in this test's list")
    return found


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    assert faults(path) == []


def test_every_part_is_in_the_table() -> None:
    parts = {path.name if path.is_dir() else path.stem for path in (ROOT / "relay").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert parts - {"__init__", "__pycache__"} <= set(LAYER)


def test_the_table_is_the_one_in_the_design() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    for layer in LAYERS:
        row = next(line for line in design.splitlines() if line.startswith(f"| {layer} |"))
        named = {word.strip("`").removeprefix("relay.") for word in row.split("|")[2].split()}
        assert named <= set(LAYERS[layer]), f"layer {layer}"


@pytest.mark.parametrize(
    ("part", "line", "words"),
    [
        ("jt808", "from twisted.internet import defer", "layer 1 imports twisted"),
        ("jt808", "import relay.jt1078.packet", "jt808 (layer 1) imports jt1078"),
        ("codec", "from relay.mux import base", "codec (layer 1) imports mux"),
        ("codec", "import time", "layer 1 imports time"),
        ("hub", "from twisted.internet import task", "layer 2 imports twisted.internet.task"),
        ("hub", "from relay.core import live", "hub (layer 2) imports core"),
        ("net", "from twisted.internet import reactor", "only app and cli name the reactor"),
        ("net", "from ..app import config", "net (layer 3) imports app"),
        ("web", "import requests", "which is not in this test's list"),
    ],
)
def test_the_test_notices(part: str, line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "relay" / part / "module.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"def late():\n    {line}\n")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (fault,) = faults(path)
    assert words in fault
