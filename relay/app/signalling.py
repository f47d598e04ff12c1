"""The terminals' side at a change of process images: what is held, what ends, what goes over and comes back (see ``handover``)."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from relay.core.terminals import Terminals
from relay.jt808.session_events import Phase
from relay.net import handover808
from relay.net.handover808 import Adopted, Adoption
from relay.net.recorder import Recorder
from relay.net.terminal808 import TerminalDatagrams, TerminalProtocol
from relay.wire.plain import Plain

log = Logger(namespace="relay.app")

REASON = "the relay restarts"
DECISIONS_S = 1.0  #: the store's answers that admissions wait for; milliseconds, or the store is stuck
POLL_S = 0.02


class Signalling:
    """Hands terminals over, and takes them."""

    def __init__(self, reactor: Any, terminals: Terminals, recorder: Recorder | None) -> None:
        self._reactor = reactor
        self._terminals = terminals
        self._recorder = recorder
        self.datagrams: TerminalDatagrams | None = None
        self._carried: list[dict[str, Any]] | None = None

    def hold(self) -> None:
        """Nothing that terminals say from now on is heard by this image."""
        handover808.hold(self._terminals)

    def is_carried(self, writer: Any) -> bool:
        """Whether what a transport has still to send goes over with it."""
        return isinstance(getattr(writer, "protocol", None), TerminalProtocol)

    async def leave(self) -> None:
        """Wait for decisions, end what cannot go over, and make ``carried`` of the rest."""
        deadline = self._terminals.clock.seconds() + DECISIONS_S
        while any(link.session.phase is Phase.DECIDING for link in self._terminals.links()) and self._terminals.clock.seconds() < deadline:
            await deferLater(self._reactor, POLL_S)
        self.carried()

    def carried(self) -> list[dict[str, Any]]:
        """What the next image needs; from the first call on the links are over here."""
        if self._carried is None:
            ended = handover808.end_the_others(self._terminals, REASON)
            before = len(list(self._terminals.links()))
            self._carried = handover808.leave(self._terminals)
            text = "{count} terminals' connections and sessions are handed over; {ended} end: TLS, {lost}: in the middle of being let in or closed"
            log.info(text, count=len(self._carried), ended=ended, lost=before - len(self._carried))
        return self._carried

    def take(self, carried: list[Plain]) -> Adopted:
        """Go on with what a former image left."""
        adopted = Adoption(self._reactor, self._terminals, self._recorder, self.datagrams).take(carried)
        self._terminals.look_now()
        return adopted
