"""Tables of decoded messages for people: offset, bytes, names, value, meaning; aligned also where Chinese stands; colours on a terminal."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from relay.cli.hexdump import undump
from relay.errors import RelayError
from relay.wire import Row

#: bytes of a long field that the table shows before it says how many there are
SHOWN_BYTES = 8
#: characters of a long value likewise
SHOWN_VALUE = 48


class InputError(RelayError):
    """What was given to the command is at fault; said in one line on standard error, exit status 1."""


def parse_hex(words: Sequence[str]) -> bytes:
    """Bytes from what people paste: blanks, line breaks, commas, colons and 0x are fine, and dumps with offsets and ASCII columns."""
    text = " ".join(words)
    dumped = undump(text)
    if dumped is not None:
        return dumped
    for noise in ("0x", "0X", "\\x"):
        text = text.replace(noise, " ")
    text = text.translate(str.maketrans("", "", " \t\r\n\v\f,;:-'\"[]{}()"))
    if not text:
        raise InputError("no hex digits given")
    try:
        return bytes.fromhex(text)
    except ValueError:
        wrong = next((character for character in text if character not in "0123456789abcdefABCDEF"), None)
        if wrong is not None:
            raise InputError(f"{wrong!r} is not a hex digit") from None
        raise InputError(f"{len(text)} hex digits: one is missing") from None


def display_width(text: str) -> int:
    """Columns that ``text`` takes in a terminal."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 0 if unicodedata.combining(character) else 1 for character in text)


def _pad(text: str, width: int) -> str:
    return text + " " * max(0, width - display_width(text))


def _clean(text: str) -> str:
    """No control characters: a message must not be able to drive somebody's terminal."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


class Table:
    """Collects rows and prints them aligned."""

    def __init__(self, stream: TextIO | None = None, full: bool = False) -> None:
        self.stream = stream or sys.stdout
        self.full = full
        self.colour = self.stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def paint(self, code: str, text: str) -> str:
        """``text`` in a colour if there are any."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def title(self, text: str) -> None:
        """A line above a table."""
        print(self.paint("1", _clean(text)), file=self.stream)

    def line(self, text: str) -> None:
        """A plain line."""
        print(_clean(text), file=self.stream)

    def note(self, text: str) -> None:
        """A remark about what is shown."""
        print(self.paint("33", _clean(text)), file=self.stream)

    def rows(self, rows: Iterable[Row], base: int = 0) -> None:
        """The table; ``base`` is added to the offsets."""
        lines = [(row, self._cells(row, base)) for row in rows]
        if not lines:
            return
        widths = [max(display_width(cells[column]) for _, cells in lines) for column in range(4)]
        for row, (offset, data, name, value, meaning) in lines:
            code = {"error": "31", "rest": "33", "group": "1"}.get(row.kind, "36")
            text = "  ".join(
                (
                    self.paint("2", offset.rjust(widths[0])),
                    self.paint("2", _pad(data, widths[1])),
                    self.paint(code, _pad(name, widths[2])),
                    _pad(value, widths[3]),
                    self.paint("31" if row.kind == "error" else "32", meaning),
                )
            )
            print(text.rstrip(), file=self.stream)

    def _cells(self, row: Row, base: int) -> tuple[str, str, str, str, str]:
        data = row.data if self.full else row.data[:SHOWN_BYTES]
        shown = data.hex(" ") + (" …" if len(data) < len(row.data) else "")
        value = _clean(row.value)
        if len(value) > SHOWN_VALUE and not self.full:
            value = f"{value[:SHOWN_VALUE]}… ({len(row.data)} bytes)"
        short_name = row.name.rpartition(".")[2]
        names = "  ".join(part for part in (short_name, row.label, row.english if row.english != short_name.replace("_", " ") else "") if part)
        return str(row.offset + base), shown, "  " * row.depth + names, value, _clean(row.meaning)


def row_fields(row: Row) -> dict[str, Any]:
    """A row for ``--json``."""
    return {
        "offset": row.offset,
        "bytes": row.data.hex(),
        "name": row.name,
        "label": row.label,
        "english": row.english,
        "type": row.type,
        "value": row.value,
        "meaning": row.meaning,
        "kind": row.kind,
    }
