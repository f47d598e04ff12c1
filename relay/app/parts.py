"""Builds the parts from the settings, joins them, and puts them on their sockets.

    store ─ gate ─ terminals ─── TerminalFactory (TCP, TLS), TerminalDatagrams (UDP)
                       │
                     events ──── page, API
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.protocol import Factory

from relay.app.listening import Listeners
from relay.core.events import Events
from relay.core.terminals import Terminals
from relay.core.tokens import Signer
from relay.net.terminal808 import TerminalDatagrams, TerminalFactory, local_address_for
from relay.settings import Settings
from relay.store.store import Store
from relay.web.pages import Pages
from relay.web.router import ANYBODY, Headers, Router
from relay.web.server import Site


class Parts:
    """Everything between the sockets and the store."""

    def __init__(self, settings: Settings, reactor: Any, clock: Any, store: Store, signer: Signer, listeners: Listeners) -> None:
        self.settings = settings
        self.reactor = reactor
        self.clock = clock
        self.listeners = listeners
        self.events = Events(time.time)
        self.terminals = Terminals(settings.terminals, settings.limits, store.terminals, clock, self.events, time.time, store.changes)
        router = Router(Pages(Headers(settings.http)).routes(), lambda call: ANYBODY, settings.http)
        self.site = Site(settings.http, clock, router.handle)

    def start(self) -> None:
        """Answer on every socket."""
        self._stream("terminals.tcp_port", TerminalFactory(self.terminals))
        datagrams = self.listeners.get("terminals.udp_port")
        if datagrams is not None:
            datagrams.adopt_datagrams(self.reactor, TerminalDatagrams(self.terminals, local_address_for(self.settings.terminals.host)))
        self._stream("http.port", self.site)

    def _stream(self, key: str, factory: Factory) -> None:
        bound = self.listeners.get(key)
        if bound is not None:
            bound.adopt_stream(self.reactor, factory)

    async def stop(self) -> None:
        """End everything in order."""
        self.terminals.close()
