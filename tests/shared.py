"""Finds the shared vectors and captures beside the checkout; tests that need them skip with a clear message when absent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("JT1078RELAY_SHARED", ROOT.parent / "shared"))


def shared(name: str) -> Path:
    """The path of a shared file, or skip."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not there: shared vectors and captures live beside the checkout", allow_module_level=True)
    return path


def load_vectors(name: str) -> list[dict[str, Any]]:
    """All objects of one vector file (``jt808``, ``jt1078``, ``jt809`` …), or an empty list when it is not there."""
    path = SHARED / "vectors" / f"{name}.jsonl"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def captures() -> list[dict[str, Any]]:
    """The entries of ``captures/INDEX.json``, or an empty list when it is not there."""
    path = SHARED / "captures" / "INDEX.json"
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["captures"]
    return entries
