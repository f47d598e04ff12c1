"""The answers that the last messages of a link got: a message sent again (same id, serial and content) gets the same one, and is delivered no second time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from zlib import crc32

from relay.jt808.header import Header

REPEATS_KEPT = 16  #: messages; a repeat comes among the next few

HEARTBEAT = 0x0002
AUTHENTICATE = 0x0102
#: not remembered: nothing is done twice by a heartbeat, and a terminal may well authenticate again
NEVER_REPEATS = (HEARTBEAT, AUTHENTICATE)


class Repeats:
    """Of one link."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[int, int]] = OrderedDict()  #: msg_id << 16 | serial -> (CRC of the body, result)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(msg_id << 16 | serial, CRC of the body, result), the oldest first."""
        return ((key, crc, result) for key, (crc, result) in self._kept.items())

    def find(self, header: Header, body: bytes) -> int | None:
        """The result that it was answered with; None: it is no repeat."""
        kept = self._kept.get(header.msg_id << 16 | header.serial)
        return kept[1] if kept is not None and kept[0] == crc32(body) else None

    def keep(self, key: int, crc: int, result: int) -> None:
        """A message was answered so; the same three as ``__iter__`` gives."""
        self._kept[key] = crc, result
        if len(self._kept) > REPEATS_KEPT:
            self._kept.popitem(last=False)
