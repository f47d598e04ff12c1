"""What the administrative commands share: the configuration option, the store, and words for plate colours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from relay.app.config import ENVIRONMENT, Loaded, load
from relay.errors import RelayError
from relay.store.connection import Connection, in_transaction
from relay.store.database import connect

T = TypeVar("T")

#: 车牌颜色 of JT/T 415-2006 and JT/T 697.7-2014 by the words people write
PLATE_COLORS = {
    "none": 0,
    "blue": 1,
    "yellow": 2,
    "black": 3,
    "white": 4,
    "green": 5,
    "other": 9,
    "无": 0,
    "蓝": 1,
    "黄": 2,
    "黑": 3,
    "白": 4,
    "绿": 5,
    "其他": 9,
}
EDITIONS = (2011, 2013, 2019)


class InputError(RelayError):
    """What was typed or given in a file is at fault."""


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """``--config FILE``; without it the relay's own order of places."""
    parser.add_argument("--config", metavar="FILE", help=f"configuration (default: ${ENVIRONMENT}, ./jt1078relay.toml, /etc/jt1078relay.toml)")


def loaded(args: argparse.Namespace) -> Loaded:
    """The configuration these arguments name; its warnings belong to the relay's log, not here."""
    return load(args.config)


@contextmanager
def store(args: argparse.Namespace) -> Iterator[Connection]:
    """The store of the configuration; the relay may be running on it."""
    settings = loaded(args).settings.store
    connection = connect(settings.url, settings.password)
    try:
        yield connection
    finally:
        connection.close()


def change(args: argparse.Namespace, work: Callable[[Connection], T]) -> T:
    """Do ``work`` in one transaction on the store."""
    with store(args) as connection:
        return in_transaction(connection, work)


def plate_color(text: str) -> int | None:
    """A number or a word; empty: not given."""
    word = text.strip().lower().removesuffix("色")
    if not word:
        return None
    if word in PLATE_COLORS:
        return PLATE_COLORS[word]
    if word.isascii() and word.isdigit() and int(word) <= 255:
        return int(word)
    raise InputError(f"{text!r} is no plate colour: a number of JT/T 697.7, or none, blue, yellow, black, white, green, other")


def edition(text: str) -> int | None:
    """An edition's year; empty: not given."""
    word = text.strip()
    if not word:
        return None
    if word in {str(year) for year in EDITIONS}:
        return int(word)
    raise InputError(f"{text!r} is no edition: 2011, 2013 or 2019")


def phone(text: str) -> str:
    """终端手机号: up to 20 BCD digits; some terminals carry hex letters there."""
    number = text.strip()
    if not 1 <= len(number) <= 20 or not all(c in "0123456789abcdefABCDEF" for c in number):
        raise InputError(f"{text!r} is no terminal phone number: 1 to 20 digits")
    return number


def as_argument(rule: Callable[[str], T]) -> Callable[[str], T]:
    """A rule of this module as argparse's ``type``: a fault there is wrong usage."""

    def convert(text: str) -> T:
        try:
            return rule(text)
        except InputError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return convert


def say(text: str) -> None:
    """To the person at the prompt, apart from what a script reads."""
    print(text, file=sys.stderr)
