"""The one timer of a state machine: setting it forgets the one before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.hub.merge import Clock, DelayedCall


class StateTimer:
    """At most one call waits: each state knows only one."""

    __slots__ = ("_clock", "_waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: DelayedCall | None = None

    def set(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        """Call after ``seconds`` (at once when they are over) in place of what was set before."""
        self.cancel()
        self._waiting = self._clock.callLater(max(seconds, 0.0), self._due, call, args)

    def cancel(self) -> None:
        """Forget what was set, if anything."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _due(self, call: Callable[..., None], args: tuple[object, ...]) -> None:
        self._waiting = None
        call(*args)
