"""``jt1078relay token``: an API token, or a media token for ``?token=…``; the token alone on the last line.

Signed with the key of the configuration (or the one kept beside its store), so the relay need not run.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

from relay.app import keys
from relay.cli.common import add_config_option, loaded
from relay.core.tokens import ROLES

DAY_S = 86400
YEAR_S = 366 * DAY_S


def _seconds(text: str) -> int:
    seconds = int(text)
    if not 1 <= seconds <= 100 * YEAR_S:
        raise argparse.ArgumentTypeError("must be 1 or more seconds")
    return seconds


def _field(text: str) -> str:
    if not text.isprintable() or len(text) > 200:
        raise argparse.ArgumentTypeError("must be at most 200 printable characters")
    return text


def _pattern(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty pattern opens nothing; '*' is every channel")
    return _field(text)


def arguments(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--api", action="store_true", help="for the API and the pages: Authorization: Bearer TOKEN")
    kind.add_argument("--media", metavar="PATTERN", type=_pattern, help="for media URLs: 13800138000_1, 13800138000_*, or * for every channel")
    parser.add_argument("--role", choices=tuple(ROLES), help="with --api: what it may do (default viewer)")
    parser.add_argument("--name", type=_field, default="", help="who it is for; shown in logs and audits")
    parser.add_argument("--address", type=_field, default="", help="with --media: the only client address that may use it")
    parser.add_argument("--expires", metavar="S", type=_seconds, default=DAY_S, help="seconds until it expires (default: a day)")


def run(args: argparse.Namespace) -> int:
    signer = keys.signer(loaded(args).settings)
    now = time.time()
    if args.api:
        role = args.role or "viewer"
        token = signer.api(role, args.expires, now, args.name)
        what = f"API token, role {role}"
    else:
        token = signer.media(args.media, args.expires, now, args.name, args.address)
        what = f"media token for {args.media}"
    until = datetime.fromtimestamp(now + args.expires, UTC).isoformat(timespec="seconds")
    print(f"{what}, valid until {until}")
    print(token)
    return 0
