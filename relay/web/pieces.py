"""Answers as they lie in memory: sent from there to a plain socket, and what hundreds fetch from memory files, which the kernel sends without a copy.

::

    [head, piece, piece …] ─→ one ``sendmsg``                    what the socket does not take at once the transport sends later
    Filed(…)               ─→ ``send`` the head, ``sendfile``     the same; the bytes stand in ``Shelf``

A megabyte costs some 130 µs to copy into the kernel, once a viewer and segment; of a stream that many watch as HLS that was a quarter of everything.
"""

from __future__ import annotations

import os
import socket as sockets
from collections import OrderedDict
from typing import Any

from twisted.internet import interfaces

HOT = 4  #: fetched so often: worth a memory file
FILED_MIN_BYTES = 65536  #: of less a copy costs no more than another system call
FILES_MAX = 64  #: descriptors
FILES_BYTES = 67108864  #: in all of them
COUNTED_MAX = 1024  #: pieces whose fetches are counted

_MORE = getattr(sockets, "MSG_MORE", 0)
_create = getattr(os, "memfd_create", None)  # Linux


class Filed(list[bytes]):
    """Head and pieces; the pieces stand in a memory file, too. To be sent at once: the file may go at the next ``Shelf.find``."""

    __slots__ = ("file", "size")

    def __init__(self, head: bytes, pieces: list[bytes], file: int, size: int) -> None:
        super().__init__((head, *pieces))
        self.file = file
        self.size = size


class Shelf:
    """Memory files of what is fetched often."""

    def __init__(self) -> None:
        self.size = 0
        self._files: OrderedDict[tuple[str, bytes], tuple[int, int]] = OrderedDict()  #: by owner and name: descriptor and bytes
        self._counts: OrderedDict[tuple[str, bytes], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._files)

    def find(self, owner: str, name: bytes, pieces: list[bytes], size: int) -> int | None:
        """The file with these pieces, made when they have been asked for often enough; None: send them as they are."""
        key = owner, name
        known = self._files.get(key)
        if known is not None:
            self._files.move_to_end(key)
            return known[0]
        if size < FILED_MIN_BYTES or size > FILES_BYTES or _create is None:
            return None
        count = self._counts[key] = self._counts.pop(key, 0) + 1
        if count < HOT:
            if len(self._counts) > COUNTED_MAX:
                self._counts.popitem(last=False)
            return None
        del self._counts[key]
        while self._files and (len(self._files) >= FILES_MAX or self.size + size > FILES_BYTES):
            self._drop(next(iter(self._files)))
        file = _filled(pieces, size)
        if file is not None:
            self._files[key] = file, size
            self.size += size
        return file

    def forget(self, owner: str) -> None:
        """What is the owner's will not be fetched any more."""
        for key in [key for key in self._files if key[0] == owner]:
            self._drop(key)

    def _drop(self, key: tuple[str, bytes]) -> None:
        file, size = self._files.pop(key)
        self.size -= size
        os.close(file)

    def close(self) -> None:
        """Let go of all of it."""
        for key in list(self._files):
            self._drop(key)
        self._counts.clear()


def _filled(pieces: list[bytes], size: int) -> int | None:
    """A memory file with the pieces; None where there is no room or no descriptor left."""
    try:
        file: int = _create("jt1078relay", os.MFD_CLOEXEC)  # type: ignore[misc]  # the caller looked
    except OSError:
        return None
    try:
        if os.writev(file, pieces[:1024]) == size:
            return file
    except OSError:
        pass
    os.close(file)
    return None


def plain_socket(transport: Any) -> Any:
    """The socket of a plain TCP connection, which may be sent to directly; None for TLS and others."""
    if not interfaces.ITCPTransport.providedBy(transport) or interfaces.ISSLTransport.providedBy(transport):
        return None
    handle = getattr(transport, "getHandle", None)
    return handle() if handle is not None and hasattr(transport, "_tempDataBuffer") else None


def send_all(transport: Any, socket: Any, pieces: list[bytes]) -> None:
    """Send pieces as they lie there: joined, and copied by the transport for each 128 KiB, a segment costs five times as much."""
    # what the transport still holds of the answer before must not be overtaken
    if socket is None or transport._tempDataBuffer or len(transport.dataBuffer) != transport.offset:
        transport.writeSequence(pieces)
        return
    sent = 0
    try:
        if type(pieces) is Filed:
            head = pieces[0]
            sent = socket.send(head, _MORE)
            if sent == len(head):
                sent += os.sendfile(socket.fileno(), pieces.file, 0, pieces.size)
        else:
            sent = socket.sendmsg(pieces)
    except OSError:  # full, or being lost: the transport finds out
        pass
    for number, piece in enumerate(pieces):
        size = len(piece)
        if sent < size:
            transport.writeSequence([piece[sent:], *pieces[number + 1 :]])
            return
        sent -= size
