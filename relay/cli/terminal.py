"""``jt1078relay terminal add | list | remove | import``: the terminals that the policy ``known`` admits.

Works on the store of ``--config`` while the relay runs; the relay reads through, so what is added here may register at once.

CSV: a header line names the columns, in any order, in English or in the standard's words (below); other columns are left alone. UTF-8
with or without a mark, or GBK as Chinese spreadsheets write it; commas, semicolons or tabs. Rows of known terminals change them, where a
column is absent the value stays. Either every row is taken or, when one is at fault, none: faults are told by line.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from relay.cli.common import InputError, add_config_option, as_argument, change, edition, phone, plate_color, say, store
from relay.store import terminals
from relay.store.connection import Connection
from relay.store.errors import StoreConflictError
from relay.store.terminals import KnownTerminal

FAULTS_SHOWN = 50  #: of an import; more help nobody


def _text(limit: int) -> Callable[[str], str]:
    def rule(value: str) -> str:
        value = value.strip()
        if len(value) > limit or not all(character.isprintable() for character in value):
            raise InputError(f"{value[:40]!r} is longer than {limit} characters or not printable")
        return value

    return rule


def _alias(value: str) -> str:
    value = _text(64)(value)
    if any(character in "/_.?#%*" for character in value):
        raise InputError(f"alias {value!r}: none of / _ . ? # % *, it stands in URLs before _channel")
    return value


def _pairs(value: str) -> dict[str, str]:
    """``a=b;c=d``"""
    found = {}
    for part in filter(None, (part.strip() for part in value.split(";"))):
        name, equals, text = part.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{part[:40]!r} is not NAME=TEXT; several are parted by semicolons")
        found[name.strip()] = _text(200)(text)
    return found


def _channels(value: str) -> dict[int, str]:
    pairs = _pairs(value)
    if any(not (number.isascii() and number.isdigit() and len(number) <= 3) for number in pairs):
        raise InputError("channels are numbers: 1=front;2=driver")
    return {int(number): name for number, name in pairs.items()}


def _details(value: str) -> dict[str, str]:
    pairs = {name.upper(): text for name, text in _pairs(value).items()}
    for name in pairs:
        if not re.fullmatch("[A-Z0-9_]{1,40}", name):
            raise InputError(f"{name[:40]!r} is no key of JT/T 809 CAR_INFO")
    return pairs


def _aliases(value: str) -> tuple[str, ...]:
    return tuple(_alias(part) for part in value.split(";") if part.strip())


#: column or option -> (rule, other names of the column, help). ``code`` goes into the row's hash, the others into its fields.
FIELDS: dict[str, tuple[Callable[[str], Any], tuple[str, ...], str]] = {
    "phone": (phone, ("sim", "终端手机号", "手机号", "sim卡号"), "终端手机号, the number it registers with; zeros in front do not matter"),
    "plate": (_text(21), ("车牌号", "车牌"), "车牌号"),
    "plate_color": (plate_color, ("车牌颜色",), "车牌颜色: a number of JT/T 697.7 or blue, yellow, black, white, green, other, none"),
    "code": (_text(64), ("auth_code", "鉴权码"), "鉴权码: an authentication code the terminal already has; kept as a hash"),
    "alias": (_alias, ("别名",), "another name for it in URLs, unique"),
    "manufacturer": (_text(11), ("制造商id", "制造商"), "制造商ID"),
    "model": (_text(30), ("终端型号", "型号"), "终端型号"),
    "terminal_id": (_text(30), ("终端id",), "终端ID"),
    "group": (_text(64), ("分组", "车队"), "what the operator sorts by: a fleet, a depot"),
    "aliases": (_aliases, ("更多别名",), "more names for it in URLs: a;b"),
    "channels": (_channels, ("通道名称",), "names of its channels: 1=front;2=driver"),
    "details": (_details, ("车辆静态信息",), "static data of the vehicle by the keys of JT/T 809: VEHICLE_TYPE=40;OWERS_NAME=…"),
    "edition": (edition, ("版本",), "2011, 2013 or 2019; default: found out"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add one terminal")
    for name, (rule, _, text) in FIELDS.items():
        option = "--" + name.replace("_", "-")
        if name == "phone":
            add.add_argument(option, required=True, type=as_argument(rule), help=text)
        else:
            add.add_argument(option, type=as_argument(rule), help=text)
    add.add_argument("--disabled", action="store_true", help="known, but refused")
    add.add_argument("--replace", action="store_true", help="change the terminal if it is known already")
    show = actions.add_parser("list", help="list the known terminals")
    show.add_argument("--json", action="store_true", help="one JSON object a line")
    remove = actions.add_parser("remove", help="forget terminals")
    remove.add_argument("--phone", metavar="PHONE", action="append", default=[], dest="phones", type=as_argument(phone))
    remove.add_argument("numbers", metavar="PHONE", nargs="*", type=as_argument(phone))
    imports = actions.add_parser("import", help="add or change terminals from CSV")
    imports.add_argument("file", metavar="FILE", help="CSV with a header line (- = standard input)")
    for sub in (add, show, remove, imports):
        add_config_option(sub)


def run(args: argparse.Namespace) -> int:
    actions: dict[str, Callable[[argparse.Namespace], int]] = {"add": _add, "list": _list, "remove": _remove, "import": _import}
    return actions[args.action](args)


def _add(args: argparse.Namespace) -> int:
    given = {name: getattr(args, name) for name in FIELDS if getattr(args, name) is not None}
    code = given.pop("code", "")
    if args.disabled:
        given["enabled"] = False

    def work(connection: Connection) -> bool:
        known = terminals.get(connection, given["phone"])
        if known is not None and not args.replace:
            raise StoreConflictError(f"terminal {known.phone} is known already; --replace changes it")
        terminals.upsert(connection, replace(known, **{"enabled": True, **given}) if known else KnownTerminal(**given), time.time(), code)
        return known is None

    print(f"{'added' if change(args, work) else 'changed'} {given['phone']}")
    return 0


def _list(args: argparse.Namespace) -> int:
    with store(args) as connection:
        for terminal in terminals.list_all(connection):
            if args.json:
                print(json.dumps(asdict(terminal), ensure_ascii=False))
            else:
                color = "" if terminal.plate_color is None else str(terminal.plate_color)
                state = "" if terminal.enabled else "disabled"
                print("\t".join((terminal.phone, terminal.plate, color, terminal.alias, str(terminal.edition or ""), state)).rstrip("\t"))
    return 0


def _remove(args: argparse.Namespace) -> int:
    numbers = [*args.phones, *args.numbers]
    if not numbers:
        say("jt1078relay terminal remove: which one? --phone PHONE")
        return 2

    def work(connection: Connection) -> None:
        missing = [number for number in numbers if not terminals.remove(connection, number)]
        if missing:
            raise InputError(f"not known: {', '.join(missing)}; nothing was removed")

    change(args, work)
    print(f"removed {', '.join(numbers)}")
    return 0


# -- import


def _import(args: argparse.Namespace) -> int:
    name = "standard input" if args.file == "-" else args.file
    data = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
    rows, faults = read_csv(data)

    def work(connection: Connection) -> tuple[int, int]:
        added = changed = 0
        for line, row in rows:
            code = row.pop("code", "")
            known = terminals.get(connection, row["phone"])
            try:
                terminals.upsert(connection, replace(known, **row) if known else KnownTerminal(**row), time.time(), code)
            except StoreConflictError as problem:
                faults.append((line, str(problem)))
            added, changed = added + (known is None), changed + (known is not None)
        if faults:
            raise InputError("")  # takes everything back
        return added, changed

    try:
        if faults:
            raise InputError("")
        added, changed = change(args, work)
    except InputError:
        faults.sort()
        for line, message in faults[:FAULTS_SHOWN]:
            say(f"{name}:{line}: {message}")
        more = f" ({len(faults) - FAULTS_SHOWN} more not shown)" if len(faults) > FAULTS_SHOWN else ""
        say(f"jt1078relay terminal import: {len(faults)} fault{'s' if len(faults) > 1 else ''}{more}; nothing was imported")
        return 1
    print(f"{added} added, {changed} changed")
    return 0


def read_csv(data: bytes) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, str]]]:
    """Rows as (line, values by field) and faults as (line, message)."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError:
            return [], [(1, "neither UTF-8 nor GBK")]
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    rows: list[tuple[int, dict[str, Any]]] = []
    faults: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    try:
        columns = [_column(title) for title in next(reader, [])]
        if "phone" not in columns:
            return [], [(1, f"the header line must name a column phone; it may name {', '.join(FIELDS)}")]
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            row: dict[str, Any] = {}
            if len(cells) > len(columns):
                faults.append((reader.line_num, f"{len(cells)} values under {len(columns)} columns"))
                continue
            for column, cell in zip(columns, cells, strict=False):
                if column:
                    try:
                        row[column] = FIELDS[column][0](cell)
                    except InputError as problem:
                        faults.append((reader.line_num, f"{column}: {problem}"))
            if row.get("phone"):
                key = KnownTerminal(row["phone"]).key
                if key in seen:
                    faults.append((reader.line_num, f"terminal {row['phone']} stands in line {seen[key]} already"))
                seen.setdefault(key, reader.line_num)
                rows.append((reader.line_num, row))
    except csv.Error as problem:
        faults.append((reader.line_num, f"not CSV: {problem}"))
    return rows, faults


def _column(title: str) -> str:
    name = title.strip().lower().replace(" ", "_").replace("-", "_")
    for field, (_, others, _) in FIELDS.items():
        if name == field or name in others:
            return field
    return ""
