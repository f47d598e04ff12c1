"""Byte order is always written: ``struct`` formats start with ``>``.

A format that another specification fixes as little-endian (WAV, OpusHead) starts with ``<`` and a comment on its line says so.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.shared import ROOT

CALLS = {"Struct", "pack", "unpack", "pack_into", "unpack_from", "iter_unpack", "calcsize"}


def struct_names(tree: ast.AST) -> set[str]:
    """Names under which this module calls the functions of struct itself (not the methods of a Struct)."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "struct":
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {f"{alias.asname or alias.name}." for alias in node.names if alias.name == "struct"}
    return names


def faults(source: str) -> list[str]:
    tree = ast.parse(source)
    names = struct_names(tree)
    lines = source.splitlines()
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        call = node.func
        named = (isinstance(call, ast.Name) and call.id in names) or (
            isinstance(call, ast.Attribute) and call.attr in CALLS and isinstance(call.value, ast.Name) and f"{call.value.id}." in names
        )
        if not named:
            continue
        first = node.args[0]
        if isinstance(first, ast.JoinedStr) and first.values:
            first = first.values[0]
        while isinstance(first, ast.BinOp):
            first = first.left
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            little = first.value.startswith("<") and "little-endian" in lines[node.lineno - 1].partition("#")[2]
            if not first.value.startswith(">") and not little:
                found.append(f"{node.lineno}: {first.value!r}")
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "relay").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_formats_say_their_byte_order(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('import struct\nstruct.pack(">H", 1)', 0),
        ('import struct\nstruct.pack("H", 1)', 1),
        ('from struct import Struct as S\nS("<H")', 1),
        ('from struct import Struct\nStruct("<H")  # RIFF is little-endian', 0),
        ('from struct import Struct\nStruct(f">{n}H")', 0),
        ('from struct import Struct\nStruct(f"{n}H")', 0),
        ('from struct import Struct\nStruct("I" * n)', 1),
        ('from struct import Struct\nHEAD = Struct(">H")\nHEAD.unpack(b"ab")', 0),
    ],
)
def test_the_test_notices(source: str, count: int) -> None:
    assert len(faults(source)) == count
