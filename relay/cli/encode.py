"""``jt1078relay encode``: builds messages from fields, the other way round to ``decode --jsonl``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from relay.cli.decode import answer_lines, codec_for

SUMMARY = "build messages from fields"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jsonl", metavar="FILE", required=True, help="objects as in a vector file, with fields; one JSON object a line; - is standard input"
    )


def run(args: argparse.Namespace) -> int:
    return answer_lines(args.jsonl, encode_vector)


def encode_vector(vector: Mapping[str, Any]) -> dict[str, Any]:
    """``hex`` for one object."""
    raw: bytes = codec_for(vector).encode_object(vector)
    return {"hex": raw.hex()}
