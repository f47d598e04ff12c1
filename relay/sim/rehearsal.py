"""Draws the test card's first pictures before anybody asks for them.

A block of a picture costs some hundred microseconds the first time it is drawn and almost nothing afterwards (``tiles``). So a process that is going to
send the card draws four seconds of it, one picture at a time between other work, and the first viewer finds everything known.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall

from relay.sim.pattern import Pattern

#: four seconds at 25 pictures a second: by then the ball has been everywhere
_PICTURES = 100
_PAUSE_S = 0.02


class Rehearsal:
    """One card, drawn on a reactor's idle time."""

    def __init__(self, reactor: Any, pattern: Pattern) -> None:
        self._reactor = reactor
        self._pattern = pattern
        self._n = 0
        self._call: IDelayedCall | None = reactor.callLater(0, self._draw)

    @property
    def done(self) -> bool:
        """Everything is drawn, or it was stopped."""
        return self._call is None

    def _draw(self) -> None:
        self._pattern.frame(self._n)
        self._n += 1
        self._call = self._reactor.callLater(_PAUSE_S, self._draw) if self._n < _PICTURES else None

    def stop(self) -> None:
        """No more of it."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
