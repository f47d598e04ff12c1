"""Files of any size to a client: with ranges (RFC 9110 14), read by a thread a piece at a time, never faster than the client takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.web.connection import Connection, SinkMaker
from relay.web.problem import PHRASES, Problem
from relay.web.router import TAKEN, Answer, Call

_log = Logger(namespace="relay.web")

PIECE = 131072  #: one read; half of what may wait for a client
STUCK_S = 60.0  #: a client that takes no piece for so long is cut off

InThread = Callable[..., Deferred[Any]]

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """(first, last) of ``Range``, both included; None: all of it. Raises a Problem with 416. Several ranges are answered with all of it."""
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        begin, end = max(0, size - int(last)), size - 1
    else:
        begin, end = int(first), min(int(last), size - 1) if last else size - 1
    if begin > end or begin >= size:
        raise Problem(416, f"The file has {size} bytes.", code="bad_range", headers={"Content-Range": f"bytes */{size}"})
    return begin, end


class FileConnection(Connection):
    """One answer."""

    __slots__ = ("STATUS", "_file", "_in_thread", "_left", "on_end", "sent")

    def __init__(self, file: Any, size: int, status: int, in_thread: InThread) -> None:
        super().__init__()
        self.STATUS = status
        self._file = file
        self._left = size
        self._in_thread = in_thread
        self.sent = 0
        self.on_end: Callable[[int], None] | None = None

    def go(self) -> None:
        """The next piece."""
        if not self._left:
            self._over()
            self.close()
            return
        self.time(STUCK_S, self.abort)
        self._in_thread(self._file.read, min(PIECE, self._left)).addCallbacks(self._read, self._broken)

    def _read(self, data: bytes) -> None:
        if self.gone or not data:
            self._over()
            self.abort()
            return
        self._left -= len(data)
        self.sent += len(data)
        self.write(data)
        self.when_drained(self.go)

    def _broken(self, failure: Failure) -> None:
        _log.warn("a file cannot be read: {problem}", problem=str(failure.value))
        self._over()
        self.abort()

    def _over(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._in_thread(file.close)
            if self.on_end is not None:
                self.on_end(self.sent)

    def lost(self) -> None:
        self._over()


async def send_file(
    call: Call, sinks: SinkMaker, in_thread: InThread, path: Path, content_type: str, name: str, tag: str = "", on_end: Callable[[int], None] | None = None
) -> Any:
    """Answer a GET or HEAD with a file. ``name``: what it is to be called when it is saved; ``on_end(bytes)`` when it is over."""

    def look() -> tuple[Any, int]:
        file = path.open("rb")
        return file, os.fstat(file.fileno()).st_size

    try:
        file, size = await in_thread(look)
    except OSError as problem:
        raise Problem(404, f"{name} is not there any more: {problem.strerror}.", code="file_gone") from None
    headers = {
        "Content-Type": content_type,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name)}",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Server": "jt1078relay",
        "Connection": "close",
    }
    if tag:
        headers["ETag"] = f'"{tag}"'
    part = None
    try:
        if not call.request.header("if-range") or call.request.header("if-range") == headers.get("ETag"):
            part = wanted_range(call.request.header("range"), size)
    except Problem:
        in_thread(file.close)
        raise
    first, last = part or (0, size - 1)
    if call.head:
        in_thread(file.close)
        return Answer(content_type=content_type, headers={**headers, "Content-Length": str(size)})
    status = 206 if part else 200
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last - first + 1)
    await in_thread(file.seek, first)
    connection = FileConnection(file, last - first + 1, status, in_thread)
    connection.on_end = on_end
    lines = [f"HTTP/1.1 {status} {PHRASES[status]}", *(f"{name}: {value}" for name, value in headers.items())]
    connection.begin(call.request, sinks, ("\r\n".join(lines) + "\r\n\r\n").encode())
    connection.when_drained(connection.go)
    return TAKEN
