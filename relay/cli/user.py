"""``jt1078relay user add NAME --role ROLE`` and its brothers: users of the pages and the API.

The password comes from the terminal (asked twice, not shown), from ``--password-file FILE``, or from standard input, never from the command
line, where every process could read it. Where standard input is at its end (scripts), a random one is made and told on the last line.
"""

from __future__ import annotations

import argparse
import getpass
import json
import secrets
import sys
import time
from pathlib import Path

from relay.cli.common import InputError, add_config_option, change, store
from relay.store import users
from relay.store.connection import Connection

PASSWORD_MIN = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a user")
    add.add_argument("--role", required=True, choices=users.ROLES)
    add.add_argument("--group", action="append", default=[], metavar="GROUP", help="only terminals of this group; may be given again (default: all)")
    password = actions.add_parser("password", help="change a user's password")
    remove = actions.add_parser("remove", help="remove users")
    remove.add_argument("name", metavar="NAME", nargs="+")
    show = actions.add_parser("list", help="list the users")
    show.add_argument("--json", action="store_true", help="one JSON object a line")
    for sub in (add, password):
        sub.add_argument("name", metavar="NAME")
        sub.add_argument("--password-file", dest="source", metavar="FILE", help="read the password from the first line of FILE (- = standard input)")
    for sub in (add, password, remove, show):
        add_config_option(sub)


def run(args: argparse.Namespace) -> int:
    if args.action == "add":
        if not args.name.strip() or not args.name.isprintable() or len(args.name) > 64:
            raise InputError("a user's name has 1 to 64 printable characters")
        word, made = _password(args)
        change(args, lambda connection: users.add(connection, args.name, args.role, word, time.time(), tuple(args.group)))
        print(f"added {args.name} ({args.role})")
        _tell(word, made)
    elif args.action == "password":
        word, made = _password(args)
        if not change(args, lambda connection: users.set_password(connection, args.name, word, time.time())):
            raise InputError(f"there is no user {args.name}")
        print(f"changed the password of {args.name}")
        _tell(word, made)
    elif args.action == "remove":
        change(args, lambda connection: _remove(connection, args.name))
        print(f"removed {', '.join(args.name)}")
    else:
        with store(args) as connection:
            for user in users.list_all(connection):
                if args.json:
                    print(json.dumps({"name": user.name, "role": user.role, "enabled": user.enabled, "groups": user.groups}, ensure_ascii=False))
                else:
                    print("\t".join([user.name, user.role, ", ".join(user.groups) or "all terminals", *([] if user.enabled else ["disabled"])]))
    return 0


def _remove(connection: Connection, names: list[str]) -> None:
    missing = [name for name in names if not users.remove(connection, name)]
    if missing:
        raise InputError(f"there is no user {', '.join(missing)}; nobody was removed")


def _tell(word: str, made: bool) -> None:
    if made:
        print(f"password: {word}")


def _password(args: argparse.Namespace) -> tuple[str, bool]:
    """The password, and whether it was made here."""
    if args.source and args.source != "-":
        lines = Path(args.source).read_text(encoding="utf-8").splitlines()
        word = lines[0] if lines else ""
    elif args.source is None and sys.stdin.isatty():
        word = getpass.getpass(f"Password for {args.name}: ")
        if getpass.getpass("Again: ") != word:
            raise InputError("the two differ")
    else:
        line = sys.stdin.readline()
        if not line and args.source is None:
            return secrets.token_urlsafe(12), True
        word = line.rstrip("\r\n")
    if len(word) < PASSWORD_MIN:
        raise InputError(f"a password has at least {PASSWORD_MIN} characters")
    return word, False
