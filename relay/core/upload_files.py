"""One file on its way in: bounded in memory, written by a thread, so that a slow disk stops the sender and nothing else.

    data connection ── write(bytes) ──► pending (at most PENDING_BYTES, then the sender is paused) ── thread ──► file
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()

PENDING_BYTES = 1 << 20  #: some tenths of a second of the fastest terminal
NAME_MAX = 120  #: bytes of a stored name; file systems take 255

#: runs a function in a thread: ``deferToThreadPool`` with its pool bound
InThread = Callable[..., Deferred[Any]]

DISK_FULL = "disk_full"
DISK_ERROR = "disk_error"


class Sender(Protocol):
    """What the bytes come from."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def failed(self, reason: str) -> None:
        """The file cannot be written any further: ``disk_full``, ``disk_error``, ``quota``, ``too_large``."""


class Incoming:
    """A file that is being written."""

    def __init__(self, path: Path, offset: int, in_thread: InThread, room: Callable[[int], str], wrote: Callable[[int], None]) -> None:
        """``room(bytes)`` says why so many more must not be taken ("" = they may); ``wrote(bytes)`` is called as they reach the disk."""
        self.path = path
        self.size = offset  #: of the file, what is pending included
        self.problem = ""
        self.sender: Sender | None = None
        self._offset = offset
        self._in_thread = in_thread
        self._room = room
        self._wrote = wrote
        self._file: Any = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._writing = False
        self._paused = False
        self._given_up = False  #: the disk did not take it; the file is closed as far as it got
        self._closed: Deferred[str] | None = None

    def write(self, data: bytes) -> None:
        """Take some bytes."""
        if self.problem or self._closed is not None:
            return
        problem = self._room(len(data))
        if problem:
            self._fail(problem)
            return
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.size += len(data)
        if not self._writing:
            self._go()
        elif self._pending_bytes > PENDING_BYTES and not self._paused and self.sender is not None:
            self._paused = True
            self.sender.pause()

    def close(self) -> Deferred[str]:
        """No more comes; fires with "" when everything is on the disk, or with what went wrong."""
        closed = self._closed = Deferred()
        if self._given_up:
            closed.callback(self.problem)
        elif not self._writing:
            self._go()
        return closed

    def _go(self) -> None:
        self._writing = True
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        self._in_thread(self._write, pending, self._closed is not None).addCallbacks(self._done, self._broken, callbackArgs=(sum(map(len, pending)),))

    def _write(self, pending: list[bytes], last: bool) -> bool:
        """In the thread."""
        if self._file is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            # without a buffer: what is counted as written is written, and a terminal that goes on goes on at the right place
            self._file = os.fdopen(descriptor, "wb", buffering=0)
            self._file.truncate(self._offset)
            self._file.seek(self._offset)
        for piece in pending:
            left = memoryview(piece)
            while left:
                left = left[self._file.write(left) :]
        if last:
            file, self._file = self._file, None
            file.close()
        return last

    def _done(self, last: bool, written: int) -> None:
        self._writing = False
        if written:
            self._wrote(written)
        if self._paused and self.sender is not None:
            self._paused = False
            self.sender.resume()
        if last and self._closed is not None:
            self._closed.callback(self.problem)
        elif self._pending or self._closed is not None:
            self._go()

    def _broken(self, failure: Failure) -> None:
        self._writing = False
        problem = failure.value
        full = isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full:
            log.error("{path} cannot be written: {problem}", path=str(self.path), problem=str(problem))
        self._pending, self._pending_bytes = [], 0
        self._given_up = True
        self._in_thread(self._abandon)
        self._fail(DISK_FULL if full else DISK_ERROR)
        if self._closed is not None:
            self._closed.callback(self.problem)

    def _abandon(self) -> None:
        """In the thread: the file as far as it got."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                pass  # what it could not write is lost already, and told

    def _fail(self, problem: str) -> None:
        self.problem = self.problem or problem
        if self.sender is not None:
            self.sender.failed(problem)


def sha256_of(path: Path) -> str:
    """Of a file, in hex; for a thread."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored_name(wire: bytes) -> str:
    """A name as it is kept: one path segment, no matter what the terminal wrote; "" for one that holds nothing to keep.

    Terminals write UTF-8, GBK, Windows paths. Only the last segments' letters, digits and ``-_.()+=@`` stay, everything else becomes ``_``.
    """
    for encoding in ("utf-8", "gb18030"):
        try:
            text = wire.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = wire.decode("latin-1")
    text = re.sub(r"[/\\:]+", "_", text.strip().strip("/\\"))
    text = "".join(c if c.isalnum() or c in "-_.()+=@" else "_" for c in text).lstrip(".")
    head, dot, ending = text.rpartition(".")
    while len(text.encode()) > NAME_MAX:  # keep the ending: it tells people what it is
        head = head[:-1] if dot else ""
        text = f"{head}{dot}{ending}" if head else text.encode()[:NAME_MAX].decode("utf-8", "ignore")
    return text if text.strip("_.") else ""
