"""The address of a stream at an outside server, and what of it goes where.

::

    rtmp[s]://host[:port]/app[/instance]/name[?query]

    app    the path without its last segment          tcUrl  rtmp[s]://host:port/app
    name   the last segment with the query, which servers read for authentication; some want the query behind the app instead
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from relay.errors import RelayError

PORTS = {"rtmp": 1935, "rtmps": 443}
MAX_URL = 2048  #: characters; a longer one does not fit the strings of some servers


class PushUrlError(RelayError):
    """A push address that cannot be used; the text shows nothing of it, since it may hold a stream key."""


class Target(NamedTuple):
    """One stream at one server."""

    scheme: str  #: rtmp | rtmps
    host: str
    port: int
    app: str
    name: str
    query: str  #: without "?"

    @property
    def place(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def shown(self) -> str:
        """For logs and lists: neither the query nor the name, which is often the key."""
        return f"{self.scheme}://{self.place}/{self.app}/…"

    def connect(self, query: str = "name") -> tuple[str, str, str]:
        """What ``connect`` and ``publish`` carry: (app, tcUrl, stream name); ``query`` says where the query goes: "name" or "app"."""
        tail = f"?{self.query}" if self.query else ""
        app, name = (self.app + tail, self.name) if query == "app" else (self.app, self.name + tail)
        return app, f"{self.scheme}://{self.place}/{app}", name


def parse_push_url(url: str) -> Target:
    """Take a push address apart; PushUrlError says what is wrong with it."""
    if len(url) > MAX_URL:
        raise PushUrlError(f"longer than {MAX_URL} characters")
    if not url.isprintable() or " " in url:
        raise PushUrlError("has blanks or control characters")
    try:
        parts = urlsplit(url, allow_fragments=False)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise PushUrlError("no address such as rtmp://host/app/name") from None
    if parts.scheme not in PORTS:
        raise PushUrlError("must begin with rtmp:// or rtmps://")
    if not host or not (":" in host or re.fullmatch(r"[a-z0-9_.-]{1,253}", host)):
        raise PushUrlError("names no host")
    if parts.username is not None:
        raise PushUrlError("user:password@ is not of RTMP; put what the server asks for into the query")
    if port == 0:
        raise PushUrlError("port 0")
    app, _, name = parts.path.strip("/").rpartition("/")
    if not app or not name:
        raise PushUrlError("must have an application and a stream name: rtmp://host/app/name")
    return Target(parts.scheme, host, port or PORTS[parts.scheme], app, name, parts.query)
