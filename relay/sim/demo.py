"""The terminals of ``--demo``: a few buses that show the test card on every channel, in the relay's own process."""

from __future__ import annotations

import time
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList
from zope.interface import implementer

from relay.sim.options import TerminalOptions
from relay.sim.rehearsal import Rehearsal
from relay.sim.sources import PatternSource, Source
from relay.sim.terminal import SimulatedTerminal

FIRST_PHONE = 13_800_138_001


def local_utc_offset_s() -> int:
    """This machine's time zone, so that the card's clock can be compared with the one on the wall."""
    return time.localtime().tm_gmtoff or 0


@implementer(IService)
class DemoTerminals(Service):
    """Starts them with the service, stops them with it."""

    def __init__(self, reactor: Any, options: TerminalOptions, count: int) -> None:
        self._reactor = reactor
        self._rehearsal: Rehearsal | None = None
        self.terminals = [SimulatedTerminal(f"{FIRST_PHONE + i:012d}", reactor, options, source=_source_of(i, options)) for i in range(count)]

    def startService(self) -> None:
        """Connect all of them."""
        super().startService()  # type: ignore[no-untyped-call]
        for terminal in self.terminals:
            terminal.start()
        self._rehearsal = Rehearsal(self._reactor, PatternSource().pattern(1, True, time.time()))

    def stopService(self) -> Deferred[Any]:
        """Fires when their connections are closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._rehearsal is not None:
            self._rehearsal.stop()
            self._rehearsal = None
        return DeferredList([terminal.stop() for terminal in self.terminals])


def _source_of(index: int, options: TerminalOptions) -> Any:
    def make(terminal: SimulatedTerminal) -> Source:
        return PatternSource(terminal.phone, utc_offset_s=options.utc_offset_s, hue_offset=index)

    return make


def start_demo_terminals(reactor: Any, host: str, port: int, count: int = 4, channels: int = 4) -> DemoTerminals:
    """A service (not yet started) of ``count`` terminals that register at ``host:port``."""
    options = TerminalOptions(
        host=host, port=port, edition=2019, channels=tuple(range(1, channels + 1)), heartbeat_s=20, position_s=5, utc_offset_s=local_utc_offset_s()
    )
    return DemoTerminals(reactor, options, count)
