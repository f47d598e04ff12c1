"""``jt1078relay backup FILE``: a copy of the store while the relay runs on it.

The copy is the store as it stood at one moment, one SQLite file that ``store.url`` may name. It appears when it is whole and checked; a file
that is there already is kept unless ``--force`` is given. It holds what the store holds (hashes of codes and passwords, positions): mode 0600.
PostgreSQL has its own tool for that, ``pg_dump``, which is named instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from relay.app.keys import data_directory
from relay.cli.common import InputError, add_config_option, loaded, say
from relay.store import sqlite
from relay.store.database import COMMAND_BUSY_S
from relay.store.postgres import is_postgres, shown


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="where the copy goes")
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there already")
    add_config_option(parser)


def run(args: argparse.Namespace) -> int:
    settings = loaded(args).settings
    if is_postgres(settings.store.url):
        url = shown(settings.store.url)
        raise InputError(f"the store is PostgreSQL, whose own tool copies it while it is in use: pg_dump --format=custom --file={args.file} '{url}'")
    source = sqlite.path_of(settings.store.url)
    if args.file.exists() and not args.force:
        raise InputError(f"{args.file} is there already; --force replaces it")
    if args.file.exists() and args.file.samefile(source):
        raise InputError(f"{args.file} is the store itself")
    size = sqlite.backup(source, args.file, COMMAND_BUSY_S)
    print(f"{args.file}: {size} bytes")
    say(f"not in it: the signing key and files, in {data_directory(settings)}")
    return 0
