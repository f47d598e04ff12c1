"""How long reads and writes are gathered. (Written next.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class DelayedCall(Protocol):
    """What ``callLater`` gives back."""

    def active(self) -> bool:
        """Neither called nor cancelled."""

    def cancel(self) -> None:
        """Do not call it."""


class Clock(Protocol):
    """Monotonic time and timers; Twisted's reactor and ``task.Clock`` have this shape."""

    def seconds(self) -> float:
        """Monotonic seconds."""

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> DelayedCall:
        """Call it after that many seconds."""


class Merge:
    """The present tick."""
