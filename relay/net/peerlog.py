"""Log lines about bad peers: at most one a second for each address, then a summary.

What a peer can cause per connection or packet must not fill the disk: the first line tells, the rest is counted and told in one line when
the second is over.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.hub.merge import Clock, DelayedCall

#: addresses remembered; when more complain within one interval, the rest is counted under one name
ADDRESSES_MAX = 1024

_OTHERS = "other addresses"


def how_it_ended(reason: Failure) -> str:
    """The end of a terminal's connection in words; Twisted's own are for programmers."""
    if isinstance(reason.value, ConnectionDone):
        return "connection closed by the terminal"
    if isinstance(reason.value, ConnectionAborted):
        return "connection closed by the relay"
    if isinstance(reason.value, ConnectionLost):
        return "connection lost"  # reset, or nothing acknowledged in time
    return reason.getErrorMessage()


class PeerLog:
    """Warnings by address."""

    log = Logger()

    def __init__(self, clock: Clock, interval_s: float = 1.0) -> None:
        self._clock = clock
        self._interval = interval_s
        self._silent: dict[str, tuple[int, dict[str, Any]]] = {}  # address: lines held back, the last of them
        self._call: DelayedCall | None = None

    def warn(self, address: str, format: str, /, **fields: Any) -> None:
        """Log it now, or count it when this address had a line in this interval."""
        if address not in self._silent:
            if len(self._silent) >= ADDRESSES_MAX:
                address = _OTHERS
            else:
                self._silent[address] = (0, {})
                self.log.warn(format, **fields)
                if self._call is None:
                    self._call = self._clock.callLater(self._interval, self._summary)
                return
        count = self._silent.get(address, (0, {}))[0]
        self._silent[address] = (count + 1, {"format": format, **fields})

    def _summary(self) -> None:
        self._call = None
        silent, self._silent = self._silent, {}
        for address, (count, last) in silent.items():
            if count:
                text = last.pop("format").format(**last)
                self.log.warn("{count} more from {address}, the last: {text}", count=count, address=address, text=text)
                self._silent[address] = (0, {})
        if self._silent:
            self._call = self._clock.callLater(self._interval, self._summary)

    def close(self) -> None:
        """Stop the timer."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
