"""Those who wait for a live channel's first picture: each with its own patience, told when it is there, failed when it does not come."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.trace import Watcher
from relay.hub.merge import Clock, DelayedCall
from relay.hub.stream import NotReadyError, Stream

FOR_EVER_S = 86400.0  #: the waiter's own time limit is shorter and decides


class Waited(Protocol):
    """What is waited for."""

    def ready(self, lease: Lease, stream: Stream) -> None:
        """The picture is there; the waiter is told afterwards."""

    def failed(self, lease: Lease, problem: StartFailed) -> None:
        """It will not come; the waiter is told afterwards."""

    def expired(self, waiter: Waiter) -> None:
        """It has waited long enough, and is to be failed."""


class Waiter:
    """Somebody who waits for the first picture."""

    __slots__ = ("_waiting", "began", "call", "deferred", "lease", "ready", "watch")

    def __init__(self, waiting: Waiting, lease: Lease, began: float, watch: Watcher | None) -> None:
        self.lease = lease
        self.deferred: Deferred[Lease] = Deferred(lambda _: waiting.give_up(self))
        self.began = began  #: monotonic
        self.watch = watch
        self.call: DelayedCall | None = None  #: its time limit
        self.ready: Deferred[None] | None = None  #: the hub's, once there is a stream


class Waiting:
    """All who wait for one channel."""

    def __init__(self, channel: Waited, clock: Clock) -> None:
        self._channel = channel
        self._clock = clock
        self._waiters: list[Waiter] = []

    def __len__(self) -> int:
        return len(self._waiters)

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._waiters

    def join(self, lease: Lease, timeout_s: float, watch: Watcher | None) -> Waiter:
        """One more; ``expired`` is called after ``timeout_s``. Cancelling its Deferred releases the lease."""
        waiter = Waiter(self, lease, self._clock.seconds(), watch)
        self._waiters.append(waiter)
        waiter.call = self._clock.callLater(timeout_s, self._expire, waiter)
        return waiter

    def look(self, waiter: Waiter, stream: Stream | None) -> None:
        """It waits for this stream's picture from now on, if it has a source and the waiter waits for none yet."""
        if stream is None or stream.source is None or waiter.ready is not None:
            return
        waiter.ready = ready = stream.wait_ready(waiter.lease.media, FOR_EVER_S)
        ready.addCallbacks(lambda _: self._ready(waiter, stream), lambda failure: self._not_ready(waiter, failure))

    def look_all(self, stream: Stream | None) -> None:
        """The same for all."""
        for waiter in list(self._waiters):
            self.look(waiter, stream)

    def _ready(self, waiter: Waiter, stream: Stream) -> None:
        waiter.ready = None
        if waiter not in self._waiters:
            return
        waiter.lease.stream = stream
        self._forget(waiter)
        self._channel.ready(waiter.lease, stream)
        waiter.deferred.callback(waiter.lease)

    def _not_ready(self, waiter: Waiter, failure: Failure) -> Failure | None:
        waiter.ready = None
        return None if isinstance(failure.value, NotReadyError | CancelledError) else failure

    def _expire(self, waiter: Waiter) -> None:
        waiter.call = None
        self._channel.expired(waiter)

    def fail(self, waiter: Waiter, problem: StartFailed) -> None:
        """The picture will not come for this one."""
        self._forget(waiter)
        self._channel.failed(waiter.lease, problem)
        waiter.deferred.errback(problem)

    def fail_all(self, problem: StartFailed) -> None:
        """The picture will not come."""
        for waiter in list(self._waiters):
            self.fail(waiter, problem)

    def give_up(self, waiter: Waiter) -> None:
        """The one who waited went away."""
        self._forget(waiter)
        waiter.lease.release()

    def _forget(self, waiter: Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if waiter.call is not None:
            waiter.call.cancel()
            waiter.call = None
        ready, waiter.ready = waiter.ready, None
        if ready is not None:
            ready.cancel()
        if waiter.watch is not None and waiter.lease.trace is not None and waiter.lease.stream is None:
            waiter.lease.trace.unwatch(waiter.watch)
