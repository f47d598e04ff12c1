"""How long reads and writes are gathered: at once, or on a tick.

A send to the kernel costs the same for one frame as for three, and so does a wake-up for one read; gathering 100 ms of frames into one
write a viewer cuts the processor time to less than half (``bench/``). It costs up to the tick in delay. So:

    merge_ms = 0       every frame at once
    merge_ms = 20-350  a tick of so many milliseconds
    merge_ms = "auto"  at once while the reactor's thread is idle; the tick climbs a ladder (0, 20, 40 … merge_max_ms) as it fills

``auto`` has hysteresis, since gathering itself lowers the share of the processor it is steered by: it climbs when the share has been
above ``CLIMB`` for a second (straight to the top above ``FULL``), and goes one step down when it has been below ``DESCEND`` for
``CALM_S``; a step down that had to be taken back doubles the calm asked for before the next one.

A stream with an audience (``CROWD`` viewers) is a load by itself: with ``auto`` its writes are gathered for ``merge_max_ms`` however idle the thread is, and
nobody else's. A thousand viewers' sends cost half as much then.

On each tick the readers (``relay.net.media1078``) read what has arrived on every settled media connection and flush each stream's outputs; what
came by other ways (UDP, TLS, transcoders) waits in ``dirty`` for the same moment. A stream that somebody waits to see is never
gathered: its connection is read at arrival and its first picture flushed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import Logger

_log = Logger()

#: shares of one processor; a factor of 3 lies between, which is more than gathering can save
CLIMB = 0.5
FULL = 0.8
DESCEND = 0.16
SAMPLE_S = 0.5
CROWD = 200  #: viewers of one stream: some 5,000 sends a second, 3 % of a processor
#: on a tick the delays are much alike, and each stream's counts lie in memory that nothing else touches
MEASURE_EVERY = 4
#: how long the share must stay low before a step down, at first and at most
CALM_S = 5.0
CALM_MAX_S = 80.0


class DelayedCall(Protocol):
    """What ``callLater`` gives back."""

    def active(self) -> bool:
        """Neither called nor cancelled."""

    def cancel(self) -> None:
        """Do not call it."""


class Clock(Protocol):
    """Monotonic time and timers; ``task.Clock`` has this shape, and so has what ``relay.app`` makes of the reactor."""

    def seconds(self) -> float:
        """Monotonic seconds."""

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> DelayedCall:
        """Call it after that many seconds."""


class Reader(Protocol):
    """Reads media connections; told when to do so."""

    def gather(self, on: bool) -> None:
        """From now on ``read`` is called on each tick (True), or bytes are to be read as they arrive (False)."""

    def read(self) -> None:
        """Read what has arrived, feed it, flush the streams it touched."""


class Flushable(Protocol):
    """A stream."""

    def flush_since(self, since: float) -> None:
        """Send what is pending, the oldest of it read at ``since``."""


class Merge:
    """The present tick and everything that hangs on it."""

    def __init__(
        self,
        clock: Clock,
        setting: str | int = "auto",
        max_ms: int = 80,
        cpu: Callable[[], float] | None = None,
    ) -> None:
        """``cpu`` gives the processor seconds used so far by the reactor's thread (``time.thread_time``); ``auto`` without it is 0."""
        self._clock = clock
        self._cpu = cpu
        self.auto = setting == "auto"
        self.ladder = (0, *(ms for ms in (20, 40) if ms < max_ms), max_ms) if self.auto else (int(setting),)
        self._step = 0
        self.share = 0.0  #: of one processor, smoothed; auto only
        self.dirty: dict[Flushable, float] = {}  #: and when the oldest that waits there was read
        self.interval = 0.0  #: seconds; 0 = at once
        self.immediate = True  #: flush at once: no tick, or inside one
        self.crowd_s = max_ms / 1000 if self.auto else 0.0  #: so long the writes of a crowded stream wait; 0 = as anybody's
        self.ticks = 0
        self.measure = True  #: delays are measured: always, or on one tick of MEASURE_EVERY
        self.climbs = 0
        self._readers: list[Reader] = []
        self._tick_call: DelayedCall | None = None
        self._crowds: dict[Flushable, float] = {}  #: crowded streams, as ``dirty``
        self._crowd_call: DelayedCall | None = None
        self._sample_call: DelayedCall | None = None
        self._next = 0.0
        self._last_cpu = 0.0
        self._last_at = 0.0
        self._calm_since = 0.0
        self._descended = 0.0
        self._calm_s = CALM_S
        self._running = False

    @property
    def ms(self) -> int:
        """The present tick in milliseconds, 0 = at once."""
        return self.ladder[self._step]

    def start(self) -> None:
        """Begin to tick and to measure."""
        self._running = True
        if self.auto and self._cpu is not None:
            self._last_cpu, self._last_at = self._cpu(), self._clock.seconds()
            self._calm_since = self._last_at
            self._sample_call = self._clock.callLater(SAMPLE_S, self._sample)
        self._apply()

    def stop(self) -> None:
        """No more ticks; whatever comes is flushed at once."""
        self._running = False
        for call in (self._tick_call, self._sample_call, self._crowd_call):
            if call is not None and call.active():
                call.cancel()
        self._tick_call = self._sample_call = self._crowd_call = None
        self.interval, self.immediate = 0.0, True
        self._flush_dirty()
        self._flush_crowds()

    def add(self, reader: Reader) -> None:
        """A reader joins."""
        self._readers.append(reader)
        reader.gather(self.interval > 0)

    def remove(self, reader: Reader) -> None:
        """A reader leaves; unknown ones are ignored."""
        if reader in self._readers:
            self._readers.remove(reader)

    # the tick ------------------------------------------------------------

    def _apply(self) -> None:
        """Bring the tick in line with the ladder's present step."""
        interval = self.ladder[self._step] / 1000
        was, self.interval = self.interval, interval
        self.measure = True
        if interval:
            self.immediate = False
            if self._tick_call is None:
                self._next = self._clock.seconds() + interval
                self._tick_call = self._clock.callLater(interval, self._tick)
        else:
            self.immediate = True
            if self._tick_call is not None and self._tick_call.active():
                self._tick_call.cancel()
            self._tick_call = None
        if (was > 0) != (interval > 0):
            for reader in list(self._readers):
                reader.gather(interval > 0)
        if not interval:
            self._flush_dirty()

    def _tick(self) -> None:
        self._tick_call = None
        self.ticks += 1
        self.measure = self.ticks % MEASURE_EVERY == 0
        self.immediate = True
        for reader in self._readers:
            reader.read()
        self._flush_dirty()
        if not self.interval:  # a reader or an observer brought the tick to an end
            return
        self.immediate = False
        now = self._clock.seconds()
        self._next += self.interval
        if self._next <= now:  # the work takes longer than the tick: do not pile ticks up
            self._next = now
        self._tick_call = self._clock.callLater(self._next - now, self._tick)

    def later(self, stream: Flushable, since: float, crowded: bool) -> None:
        """Leave it to the tick; a crowded stream waits ``crowd_s`` by itself, where the tick is shorter."""
        if not crowded or self.interval >= self.crowd_s:
            self.dirty.setdefault(stream, since)
            return
        self._crowds.setdefault(stream, since)
        if not self._running:
            self._flush_crowds()
        elif self._crowd_call is None:
            self._crowd_call = self._clock.callLater(self.crowd_s, self._flush_crowds)

    def forget(self, stream: Flushable) -> None:
        """It has ended."""
        self.dirty.pop(stream, None)
        self._crowds.pop(stream, None)

    def _flush_crowds(self) -> None:
        self._crowd_call = None
        crowds, self._crowds = self._crowds, {}
        for stream, since in crowds.items():
            stream.flush_since(since)

    def _flush_dirty(self) -> None:
        dirty, self.dirty = self.dirty, {}
        for stream, since in dirty.items():
            stream.flush_since(since)

    # the ladder ------------------------------------------------------------

    def _sample(self) -> None:
        assert self._cpu is not None  # noqa: S101 - started only with it
        now, used = self._clock.seconds(), self._cpu()
        span = now - self._last_at
        if span > 0:
            self.share += 0.5 * ((used - self._last_cpu) / span - self.share)
            self._last_cpu, self._last_at = used, now
            self._decide(now)
        self._sample_call = self._clock.callLater(SAMPLE_S, self._sample)

    def _decide(self, now: float) -> None:
        share, step, top = self.share, self._step, len(self.ladder) - 1
        if share > DESCEND:
            self._calm_since = now
        if share > CLIMB and step < top:
            if self._descended and now - self._descended < self._calm_s:  # the step down was wrong
                self._calm_s = min(self._calm_s * 2, CALM_MAX_S)
            elif self._descended:
                self._calm_s = CALM_S
            self._descended = 0.0
            self._move(top if share > FULL else step + 1)
        elif step and now - self._calm_since >= self._calm_s:
            self._calm_since = self._descended = now
            self._move(step - 1)

    def _move(self, step: int) -> None:
        self.climbs += step > self._step
        self._step = step
        _log.info("reads and writes are gathered for {ms} ms (processor share {share:.2f})", ms=self.ms, share=self.share)
        self._apply()
