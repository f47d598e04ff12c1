"""The command ``jt1078relay``: one module of this package a subcommand.

A subcommand's module has ``SUMMARY`` (one line), ``arguments(parser)`` and ``run(args) -> int``. Exit status: 0 done, 1 the input
was at fault (said in one line on standard error), 2 wrong usage. Modules are imported only when their command is asked for.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import relay
from relay.errors import RelayError, UsageError

#: command -> (module, summary); the summary stands here too so that ``--help`` imports nothing
COMMANDS = {
    "decode": ("relay.cli.decode", "explain messages field by field: jt808, jt1078, jt809, or a vector file"),
    "encode": ("relay.cli.encode", "build messages from fields"),
    "inspect": ("relay.cli.inspect", "tell what is in a recorded JT/T 1078 byte stream"),
    "simulate": ("relay.cli.simulate", "simulated terminals"),
    "selftest": ("relay.cli.selftest", "conformance: a relay against simulated terminals and superior platforms, with a report"),
    "replay": ("relay.cli.replay", "play a recorded terminal against a relay, or scrub the recording"),
    "check-config": ("relay.cli.check_config", "every fault of a configuration file at once"),
    "check-health": ("relay.cli.check_health", "whether the relay of a configuration answers on this machine"),
    "terminal": ("relay.cli.terminal", "the known terminals: add, list, remove, import"),
    "backup": ("relay.cli.backup", "copy the store while the relay runs"),
    "user": ("relay.cli.user", "users and their roles"),
    "token": ("relay.cli.token", "make API tokens and signed media tokens"),
}


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser; only ``command``'s own module is imported and asked for its arguments."""
    parser = argparse.ArgumentParser(prog="jt1078relay", description="Vehicle-video gateway: JT/T 808, JT/T 1078, JT/T 809.")
    parser.add_argument("--version", action="version", version=f"jt1078relay {relay.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == command:
            importlib.import_module(module).arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if not word.startswith("-")), None)
    args = build_parser(command).parse_args(words)
    try:
        status: int = importlib.import_module(COMMANDS[args.command][0]).run(args)
        sys.stdout.flush()
    except UsageError:
        raise
    except (RelayError, OSError) as problem:
        if isinstance(problem, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        said = f"{problem.filename}: {problem.strerror}" if isinstance(problem, OSError) and problem.filename else str(problem)
        print(f"jt1078relay {args.command}: {said}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
