"""The short way: plain GETs whose answers lie ready are answered without a request object (segments and playlists that hundreds fetch)."""

from __future__ import annotations

from collections.abc import Callable

#: headers with which a GET is no plain one: it has a body, or wants another protocol
_NOT_PLAIN = (b"\ncontent-length:", b"\ntransfer-encoding:", b"\nupgrade:", b"\nexpect:")

#: an answer that is not there yet: called with what sends it, gives what is called when the client leaves before
Later = Callable[[Callable[[list[bytes]], None]], Callable[[], None]]
#: answers a plain GET: the target as it came → head and body in pieces, now or later, or None for what has to go the long way
Short = Callable[[bytes], "list[bytes] | Later | None"]


def plain(headers: bytes) -> bool:
    """Whether a GET with these headers is a plain one, whose connection is kept."""
    small = headers.lower()
    for name in _NOT_PLAIN:
        if name in small:
            return False
    at = small.find(b"\nconnection:")
    return small.count(b"\nhost:") == 1 and not (at >= 0 and b"close" in small[at : small.find(b"\r", at)])
