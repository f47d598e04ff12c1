"""What single values of JT/T 809 say: times spelt out, JT/T 808's words by bits, positions taken apart beneath the bytes that hold them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from relay.jt808.items import ALARM_BITS
from relay.jt808.messages import MESSAGES as MESSAGES808
from relay.jt808.messages.location import STATUS_BITS, LocationReport
from relay.jt808.messages.video import ALARM64_BITS
from relay.jt809.messages import Gnss
from relay.wire import Int, Row, dump, f
from relay.wire.dump import meaning

_BEIJING = timezone(timedelta(hours=8))
_WORDS = {
    "state": f(bits=STATUS_BITS), "alarm": f(bits=ALARM_BITS), "alarm1": f(bits=ALARM_BITS), "alarm2": f(bits=ALARM_BITS), "alarm3": f(bits=ALARM_BITS),
    "alarm_type": f(bits=ALARM64_BITS),
}  # fmt: skip
_INT = Int("I")


def utc_text(value: int) -> str:
    """A time (8) of the standard: UTC seconds; milliseconds are told, since a dialect has them."""
    if not value:
        return "0: none"
    seconds = value / 1000 if value > 100_000_000_000 else value
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return "no time that a calendar has"
    local = moment.astimezone(_BEIJING)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC ({local:%m-%d %H:%M:%S} UTC+8)" + (", in milliseconds" if seconds != value else "")


def spell(row: Row) -> list[Row]:
    """Say in ``row`` what its value means; the rows beneath it, if its bytes are something by themselves."""
    name = row.name.rpartition(".")[2]
    if row.kind != "field":
        return []
    if row.type == "QWORD" and "s UTC" in row.meaning:
        note = row.meaning.partition("; ")[2]
        row.meaning = utc_text(int(row.value)) + (f"; {note}" if note else "")
    elif name in _WORDS and row.type in ("DWORD", "QWORD"):
        row.meaning = meaning(_WORDS[name], int(row.value), _INT)
    elif name == "gnss_data":
        return _position(row)
    elif name == "drvline":
        return _inside(row, "0x8606", row.data)
    return []


def _position(row: Row) -> list[Row]:
    data = row.data
    if not any(data):
        row.meaning = "zeros: none given"
        return []
    if row.type == "BYTE[36]":
        return _rows(row, dump(Gnss, data, 2011).rows, 0)
    if len(data) == 35:  # seen: a 2011 block without its first byte where a 0x0200 body belongs
        row.meaning = "35 bytes: the end of a block of 2011, not a 0x0200 body"
        return _rows(row, dump(Gnss, b"\0" + data, 2011).rows[1:], -1)
    row.meaning = "JT/T 808-2019 0x0200 body"
    return _rows(row, dump(LocationReport, data, 2019).rows, 0)


def _inside(row: Row, what: str, data: bytes) -> list[Row]:
    cls = MESSAGES808.get(int(what, 16))
    row.meaning = f"JT/T 808-2019 {what} body"
    return _rows(row, dump(cls, data, 2019).rows, 0) if cls is not None and data else []


def _rows(above: Row, rows: list[Row], shift: int) -> list[Row]:
    for row in rows:
        row.offset += above.offset + shift
        row.depth += above.depth + 1
        row.name = f"{above.name}.{row.name}"
        if row.kind == "error":
            row.kind = "rest"  # the message around it is sound
        spell(row)
    return rows
