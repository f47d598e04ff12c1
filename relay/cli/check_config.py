"""``jt1078relay check-config FILE``: every fault of a configuration at once, each with its key; exit status 1 if there is one."""

from __future__ import annotations

import argparse
import sys

from relay.app.config import ConfigurationError, load


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="the TOML file (default: the one the relay would read)")


def run(args: argparse.Namespace) -> int:
    try:
        found = load(args.file)
    except ConfigurationError as problem:
        for fault in problem.faults:
            print(f"{problem.source}: {fault}", file=sys.stderr)
        count = len(problem.faults)
        print(f"{count} fault{'s' if count > 1 else ''}", file=sys.stderr)
        return 1
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{found.path or 'built-in defaults'}: no faults")
    return 0
