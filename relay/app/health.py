"""Whether the relay can do its work: the store takes writes. Looked at regularly, told by ``/readyz``, logged when it changes.

Live viewing and signalling go on without the store; registrations and what the operator changes do not.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.store.errors import StoreError
from relay.store.store import Store

log = Logger(namespace="relay.app")

LOOK_S = 10.0  #: one small write
STALLED_S = 5.0  #: a write that has not come back by then: the disk hangs, or another program holds the file


class Health:
    """Looks after the store."""

    def __init__(self, store: Store, clock: Any) -> None:
        self._store = store
        self._clock = clock
        self._call: Any = None
        self._asked: float | None = None
        self._problem = ""

    def start(self) -> None:
        """Look now and every LOOK_S."""
        self._look()

    def stop(self) -> None:
        """Look no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def problems(self) -> list[str]:
        """In words; an empty list means ready."""
        if self._problem:
            return [self._problem]
        if self._asked is not None and self._clock.seconds() - self._asked > STALLED_S:
            return ["the store does not answer"]
        return []

    def _look(self) -> None:
        self._call = self._clock.callLater(LOOK_S, self._look)
        if self._asked is None:
            self._asked = self._clock.seconds()
            self._store.check().addCallbacks(self._well, self._ill)

    def _well(self, _: object) -> None:
        self._asked = None
        if self._problem:
            log.info("the store is usable again")
        self._problem = ""

    def _ill(self, failure: Failure) -> Failure | None:
        self._asked = None
        if not isinstance(failure.value, StoreError):
            return failure
        if not self._problem:
            log.error("{problem}", problem=str(failure.value))
        self._problem = str(failure.value)
        return None
