"""The demonstration's terminals as a service."""

from __future__ import annotations

from twisted.application.service import IService
from zope.interface.verify import verifyObject

from relay.sim.demo import start_demo_terminals
from relay.sim.rehearsal import Rehearsal
from tests.sim.platform import Reactor


def test_they_start_and_stop_with_the_service() -> None:
    reactor = Reactor()
    service = start_demo_terminals(reactor, "127.0.0.1", 7808, count=3, channels=2)
    assert verifyObject(IService, service)
    assert len({terminal.phone for terminal in service.terminals}) == 3
    assert reactor.tcpClients == []
    service.startService()
    assert [client[:2] for client in reactor.tcpClients] == [("127.0.0.1", 7808)] * 3
    assert service.terminals[0].options.channels == (1, 2)
    reactor.advance(0.1)
    stopped: list[object] = []
    service.terminals[0]._link = None  # as after a failed connection
    for terminal, connector in zip(service.terminals[1:], reactor.connectors[1:], strict=True):
        connector.disconnect = lambda terminal=terminal: terminal.link_failed("stopped")
    service.stopService().addCallback(stopped.append)
    assert len(stopped) == 1
    assert [call for call in reactor.getDelayedCalls() if call.active()] == []


def test_each_terminal_has_its_own_colour() -> None:
    service = start_demo_terminals(Reactor(), "127.0.0.1", 7808, count=4)
    hues = {terminal.media.source.pattern(1, True, 0.0).hue for terminal in service.terminals}  # type: ignore[attr-defined]
    assert len(hues) == 4


def test_a_rehearsal_ends_by_itself_and_can_be_stopped() -> None:
    class Counting:
        drawn = 0

        def frame(self, n: int) -> bytes:
            assert n == self.drawn
            self.drawn += 1
            return b""

    for stop in (False, True):
        reactor, card = Reactor(), Counting()
        rehearsal = Rehearsal(reactor, card)  # type: ignore[arg-type]
        for _ in range(200):
            reactor.advance(0.02)
            if stop:
                rehearsal.stop()
        assert rehearsal.done
        assert card.drawn == (1 if stop else 100)
