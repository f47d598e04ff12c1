"""The whole table of routes, those of optional parts included, over parts that nobody calls."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from relay.web.site import WebParts
from tests.web.world import Relay


class _Unused:
    """Stands where a part would; its attributes are there, and that is all."""

    def __getattr__(self, name: str) -> Any:
        return _Unused()


#: everything that a relay may be without
PARTS = [field.name for field in fields(WebParts) if field.default is None and field.name not in ("permit", "pages", "quota")]


def whole_relay() -> Relay:
    """A relay with every route that there can be."""
    return Relay(more=lambda _: {name: _Unused() for name in PARTS})
