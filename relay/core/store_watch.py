"""Sees what commands change in the store while the relay runs: a number is asked for every few seconds, and what differs is read again."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from relay.hub.merge import Clock, DelayedCall
from relay.store.errors import StoreError

STORE_POLL_S = 5.0  #: how soon a change by ``jt1078relay terminal …`` is seen by links that are up


class StoreWatch:
    """``changes`` gives the number, ``refresh`` reads again, ``failed`` is called when the store does not answer."""

    def __init__(self, clock: Clock, changes: Callable[[], Deferred[int]], refresh: Callable[[], Deferred[None]], failed: Callable[[], None]) -> None:
        self._clock = clock
        self._changes = changes
        self._refresh = refresh
        self._failed = failed
        self._version: int | None = None
        self._call: DelayedCall | None = clock.callLater(STORE_POLL_S, self._look)
        self._closed = False

    def now(self) -> None:
        """Look at once rather than in a while."""
        if self._call is not None:
            self._call.cancel()
            self._look()

    def close(self) -> None:
        """No more."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call = None

        def looked(version: int) -> Deferred[None] | None:
            changed = version != self._version  # the first look too: something may have changed since the start
            self._version = version
            return self._refresh() if changed and not self._closed else None

        def failed(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, StoreError):
                return failure
            self._failed()
            return None

        def again(_: object) -> None:
            if not self._closed:
                self._call = self._clock.callLater(STORE_POLL_S, self._look)

        self._changes().addCallback(looked).addErrback(failed).addCallback(again)
