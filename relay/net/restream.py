"""Byte streams with their messages exchanged for others, everything between them left as it is: garbage, doubled flags, frames that are broken.

``Frames808(change)``, ``Frames809(change)``: ``change`` gets what stands between two flags, still escaped, and gives what is to stand there.
``Fields1078(change)``: ``change`` gets the SIM field of every packet. ``raw`` is asked for bytes that belong to no message.

``feed`` gives what can be given away: an unfinished frame waits for its end, at most as long as a frame can be. ``flush`` gives the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.jt808.framing import MAX_PIECE
from relay.jt809.framing import MAX_FRAME
from relay.jt1078.packet import MAGIC, MAX_BODY, SIM_WIDTHS, detect_sim_bytes, measure

Change = Callable[[bytes], bytes]

#: the head of an attachment's chunk on a JT/T 808 connection: magic, name (50), offset, length
CHUNK_HEAD = 62
_CHUNK_MAX = 64 << 20
#: a packet that must be whole before its SIM field's width is known
_PACKET_MAX = 34 + MAX_BODY + 4


class Frames808:
    """JT/T 808 between flags of 7E; the chunks of attachments among them pass, their heads through ``chunk``."""

    def __init__(self, change: Change, raw: Change, chunk: Change | None = None) -> None:
        self._change = change
        self._raw = raw
        self._chunk = chunk or raw
        self._buffer = b""
        self._flag = False  # the last byte given away was a flag, so a frame may begin here
        self._skip = 0  # of a chunk's body

    def feed(self, data: bytes) -> bytes:
        """Take bytes, give bytes."""
        buffer = self._buffer + data
        out = bytearray()
        pos, size = 0, len(buffer)
        while pos < size:
            if self._skip:
                taken = min(self._skip, size - pos)
                out += buffer[pos : pos + taken]
                self._skip -= taken
                pos += taken
                continue
            if MAGIC.startswith(buffer[pos : pos + 4]):
                length = int.from_bytes(buffer[pos + 58 : pos + CHUNK_HEAD], "big")
                if size - pos < CHUNK_HEAD:
                    break
                if length <= _CHUNK_MAX:
                    out += self._chunk(buffer[pos : pos + CHUNK_HEAD])
                    self._skip, self._flag = length, False
                    pos += CHUNK_HEAD
                    continue
            end = buffer.find(0x7E, pos)
            if end < 0:
                if self._flag and size - pos <= MAX_PIECE:
                    break
                out += self._raw(buffer[pos:])
                self._flag = False
                pos = size
                break
            if end > pos:
                out += self._change(buffer[pos:end]) if self._flag else self._raw(buffer[pos:end])
            out += b"\x7e"
            self._flag = True
            pos = end + 1
        self._buffer = buffer[pos:]
        return bytes(out)

    def flush(self) -> bytes:
        """What was still waiting."""
        left, self._buffer = self._buffer, b""
        return self._raw(left) if left else b""


class Frames809:
    """JT/T 809 between 5B and 5D."""

    def __init__(self, change: Change, raw: Change) -> None:
        self._change = change
        self._raw = raw
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes, give bytes."""
        buffer = self._buffer + data
        out = bytearray()
        pos, size = 0, len(buffer)
        while pos < size:
            begin = buffer.find(0x5B, pos)
            if begin != pos:
                stop = size if begin < 0 else begin
                out += self._raw(buffer[pos:stop])
                pos = stop
                continue
            end = buffer.find(0x5D, pos)
            again = buffer.rfind(0x5B, pos + 1, end if end >= 0 else size)
            if again >= 0:  # a frame that another one's beginning cut
                out += b"\x5b" + self._raw(buffer[pos + 1 : again])
                pos = again
                continue
            if end < 0:
                if size - pos <= 2 * MAX_FRAME:
                    break
                out += self._raw(buffer[pos:])
                pos = size
                break
            content = buffer[pos + 1 : end]
            out += b"\x5b" + (self._change(content) if content else b"") + b"\x5d"
            pos = end + 1
        self._buffer = buffer[pos:]
        return bytes(out)

    def flush(self) -> bytes:
        """What was still waiting."""
        left, self._buffer = self._buffer, b""
        return self._raw(left) if left else b""


class Fields1078:
    """JT/T 1078: the SIM field of each packet; nothing else is touched."""

    def __init__(self, change: Change, sim_bytes: int = 0) -> None:
        self._change = change
        self._width = sim_bytes
        self._buffer = b""
        self._done = 0  # bytes given away before the buffer's first
        self._due = 0  # where the next packet begins if the last one's length was right
        self._known: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> bytes:
        """Take bytes, give bytes."""
        return self._take(data, False)

    def flush(self) -> bytes:
        """What was still waiting."""
        return self._take(b"", True)

    def _take(self, data: bytes, last: bool) -> bytes:
        buffer = self._buffer + data
        out = bytearray()
        pos = 0
        while True:
            at = buffer.find(MAGIC, pos)
            if at < 0:
                keep = 0 if last else next((n for n in range(min(3, len(buffer) - pos), 0, -1) if MAGIC.startswith(buffer[-n:])), 0)
                out += buffer[pos : len(buffer) - keep]
                pos = len(buffer) - keep
                break
            out += buffer[pos:at]
            pos = at
            width = self._width_at(buffer, at, last)
            if width < 0:
                break  # more bytes are needed
            if not width:
                out += buffer[at : at + 4]
                pos = at + 4
                continue
            self._width = self._width or width
            field = buffer[at + 8 : at + 8 + width]
            if field not in self._known and len(self._known) < 1024:
                self._known[field] = self._change(field)
            out += buffer[at : at + 8] + self._known.get(field, field)
            pos = at + 8 + width
            total = measure(buffer, at, width)
            if total > 0:
                self._due = self._done + at + total
        self._buffer = buffer[pos:]
        self._done += pos
        return bytes(out)

    def _width_at(self, buffer: bytes, at: int, last: bool) -> int:
        """The width of the SIM field at ``at``; 0 if no packet begins there, -1 if more must come before one can tell."""
        have = len(buffer) - at
        whole = last or have >= _PACKET_MAX
        for width in (self._width,) if self._width else SIM_WIDTHS:
            if have >= 8 + width and buffer[at + 8 : at + 8 + width] in self._known:
                return width
        if self._width:
            total = measure(buffer, at, self._width)
            if have < self._width + 24 and not last:
                return -1
            if total < 0 or have < 8 + self._width:
                return 0
            if self._done + at == self._due or not total:
                return self._width if self._done + at == self._due or whole else -1
            if have < total + 4 and not whole:
                return -1  # a number never seen, not where one is due: only if a packet follows it
            return self._width if buffer[at + total : at + total + 4] == MAGIC[: have - total] else 0
        width = detect_sim_bytes(buffer, at)
        if width or max(measure(buffer, at, 6), measure(buffer, at, 10)) < 0:
            return width
        return -1 if not whole else 6 if have >= 14 else 0
