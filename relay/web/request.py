"""One request: its body in memory and bounded, its client's true address behind proxies, one way to answer, an address that logs may show."""

# mypy: disallow-untyped-calls=False
# (twisted.web.http, which is subclassed here, carries no annotations)

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from twisted.python.failure import Failure
from twisted.web import http

from relay.web.problem import PHRASES

if TYPE_CHECKING:
    from relay.web.server import Channel

_HOST = re.compile(r"[A-Za-z0-9._~%-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_SECRETS = frozenset({"token", "key", "password", "access_token", "session"})  #: query parameters that no log shows


def redact(uri: str) -> str:
    """A request's address as logs may show it: no token, no control characters, bounded."""
    path, mark, query = uri.partition("?")
    if mark:
        pairs = parse_qsl(query, keep_blank_values=True)
        query = urlencode([(name, "-" if name.lower() in _SECRETS else value) for name, value in pairs])
    return "".join(c if c.isprintable() else "?" for c in path + mark + query)[:512]


class Proxies:
    """The proxies in front of us whose X-Forwarded-* headers are believed."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(address, strict=False) for address in addresses]

    def trusts(self, address: str) -> bool:
        """Whether ``address`` is one of them."""
        if not self._networks:
            return False
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._networks)

    def client(self, peer: str, forwarded_for: str) -> str:
        """The client's address: the last one in X-Forwarded-For that no trusted proxy has, if ``peer`` is a trusted proxy."""
        if not self.trusts(peer):
            return peer
        hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
        for hop in reversed(hops):
            if not self.trusts(hop):
                return hop[:64]
        return hops[0][:64] if hops else peer


class Request(http.Request):
    """One request: body in memory and bounded, the client's true address, one way to answer."""

    channel: Channel
    content: BytesIO | None
    gone = False  #: the client closed before the answer was complete
    quiet = False  #: not worth a line in the access log
    begun = 0.0

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()  # never a temporary file: the channel has refused what is too large
        self.begun = self.channel.site.clock.seconds()

    def handleContentChunk(self, data: bytes) -> None:
        if self.content is None:
            return
        limit = self.channel.site.settings.body_max_bytes
        if self.content.tell() + len(data) > limit:
            self.channel.refuse(413, f"The body is larger than {limit} bytes.")
            return
        self.content.write(data)

    def process(self) -> None:
        self.channel.site.handle(self)

    def connectionLost(self, reason: Failure) -> None:
        self.gone = True
        super().connectionLost(reason)

    def __repr__(self) -> str:
        return f"<Request {self.method.decode('latin-1')} {redact(self.uri.decode('latin-1'))}>"

    def header(self, name: str) -> str:
        """A header's value, the last if there are several; ``""`` if there is none."""
        value = self.getHeader(name)
        return value if value is not None else ""

    def header_list(self, name: str) -> list[str]:
        """The members of a header that is a list (RFC 9110 5.6.1), over all its lines, in lower case."""
        lines = self.requestHeaders.getRawHeaders(name, [])
        return [member.strip().lower() for line in lines for member in line.split(",") if member.strip()]

    @property
    def peer(self) -> str:
        """The address the connection comes from."""
        return getattr(self.client, "host", "") or "-"

    @property
    def from_proxy(self) -> bool:
        """Whether the headers that proxies add are believed here."""
        return self.channel.site.proxies.trusts(self.peer)

    @property
    def address(self) -> str:
        """The address of the client."""
        return self.channel.site.proxies.client(self.peer, ", ".join(self.header_list("x-forwarded-for")))

    @property
    def secure(self) -> bool:
        """Whether the client speaks TLS, to us or to a trusted proxy."""
        if self.from_proxy and self.header("x-forwarded-proto"):
            return self.header("x-forwarded-proto").split(",")[0].strip().lower() == "https"
        return bool(self.channel.isSecure())

    @property
    def host_header(self) -> str:
        """``host[:port]`` as the client addressed us, from a trusted proxy as it was told; ``""`` if it is not a host."""
        host = (self.header("x-forwarded-host").split(",")[0].strip() if self.from_proxy else "") or self.header("host")
        return host if _HOST.fullmatch(host) else ""

    def answer(
        self, status: int, body: bytes = b"", content_type: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send the whole answer and be done; nothing happens if the client has gone or the answer was sent."""
        if self.gone or self.finished or self.startedWriting:
            return
        self.setResponseCode(status, PHRASES.get(status, "Unknown").encode())
        self.responseHeaders.setRawHeaders("Date", [http.datetimeToString()])
        if body or (status not in (204, 304) and self.method != b"HEAD"):  # a HEAD without a body knows no length
            self.responseHeaders.setRawHeaders("Content-Length", [str(len(body))])
        if body:
            self.responseHeaders.setRawHeaders("Content-Type", [content_type])
        for name, value in (headers or {}).items():
            self.responseHeaders.setRawHeaders(name, [value])
        if not self.channel.persistent:
            self.responseHeaders.setRawHeaders("Connection", ["close"])
        self.write(body)
        self.finish()
