"""The whole table of routes, those of optional parts included, over parts that nobody calls."""

from __future__ import annotations

from typing import Any

from tests.web.world import Relay


class _Unused:
    """Stands where a part would; its attributes are there, and that is all."""

    def __getattr__(self, name: str) -> Any:
        return _Unused()


PARTS = (
    "recordings", "audit", "pushes", "positions", "superiors", "alarms", "uploads", "videos", "in_thread", "convert", "multimedia", "attachments",
    "budget", "views",
)  # fmt: skip


def whole_relay() -> Relay:
    """A relay with every route that there can be."""
    return Relay(more=lambda _: {name: _Unused() for name in PARTS})
