"""The page's files: a fixed table from name to bytes, read once from the package. No path of a request ever reaches the file system."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import partial
from importlib import resources
from typing import NamedTuple

from relay.web.router import Answer, Call, Headers, Permission, Route

#: endings that are served, and as what
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}

#: addresses of their own for some files
ADDRESSES = {"index.html": "/", "api.html": "/api/"}


class Page(NamedTuple):
    """One file."""

    data: bytes
    content_type: str
    etag: str


def load(package: str = "relay.web", folder: str = "static") -> dict[str, Page]:
    """Every file of the folder that has a known ending, by name."""
    pages = {}
    for entry in resources.files(package).joinpath(folder).iterdir():
        ending = "." + entry.name.rpartition(".")[2]
        if entry.is_file() and ending in TYPES:
            data = entry.read_bytes()
            pages[entry.name] = Page(data, TYPES[ending], f'"{hashlib.sha256(data).hexdigest()[:24]}"')
    return pages


class Pages:
    """Answers for the files; revalidated at every use, so that an upgraded relay never meets yesterday's script."""

    def __init__(self, headers: Headers, pages: dict[str, Page] | None = None) -> None:
        self._headers = headers
        self._pages = load() if pages is None else pages

    def routes(self) -> Iterable[Route]:
        """``/`` and ``/static/{name}``; the page itself asks for a token before it shows anything."""
        for name, address in ADDRESSES.items():
            if name in self._pages:
                yield Route(
                    method="GET",
                    path=address,
                    handler=partial(self._answer, name),
                    permission=Permission.PUBLIC,
                    summary="The page",
                    any_query=True,
                    hidden=True,
                )
        for name in sorted(self._pages):
            yield Route(
                method="GET",
                path=f"/static/{name}",
                handler=partial(self._answer, name),
                permission=Permission.PUBLIC,
                summary="A file of the page",
                any_query=True,
                hidden=True,
            )

    def _answer(self, name: str, call: Call) -> Answer:
        page, request = self._pages[name], call.request
        request.quiet = True
        headers = {"ETag": page.etag, "Cache-Control": "no-cache", "Content-Security-Policy": self._headers.page(request.host_header)}
        if page.etag in [tag.strip().removeprefix("W/") for tag in request.header("if-none-match").split(",")]:
            return Answer(status=304, headers=headers)
        return Answer(page.data, page.content_type, headers=headers)
