"""Builds the parts from the settings, joins them, and puts them on their sockets.

    store ─ gate ─ terminals ─── TerminalFactory (TCP, TLS), TerminalDatagrams (UDP)
                       │
                     events ──── page, API

A section with a certificate speaks TLS on its ``tls_port``, and where that is 0 on its other TCP ports.
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
from relay.net.tls import ReloadingCertificate, wrap
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
        self.certificates = {name: self._certificate(name) for name in ("terminals", "media", "http")}
        self.events = Events(time.time)
        self.terminals = Terminals(settings.terminals, settings.limits, store.terminals, clock, self.events, time.time, store.changes)
        router = Router(Pages(Headers(settings.http)).routes(), lambda call: ANYBODY, settings.http)
        self.site = Site(settings.http, clock, router.handle)

    def _certificate(self, section: str) -> ReloadingCertificate | None:
        values = getattr(self.settings, section)
        if not values.tls_certificate:
            return None
        return ReloadingCertificate(values.tls_certificate, values.tls_key, self.clock.seconds, section)

    # starting -------------------------------------------------------------

    def start(self) -> None:
        """Answer on every socket."""
        for key in ("terminals.tcp_port", "terminals.tls_port"):
            self._stream(key, TerminalFactory(self.terminals, "tls" if self._speaks_tls(key) else "tcp"))
        datagrams = self.listeners.get("terminals.udp_port")
        if datagrams is not None:
            datagrams.adopt_datagrams(self.reactor, TerminalDatagrams(self.terminals, local_address_for(self.settings.terminals.host)))
        self._stream("http.port", self.site)
        self._stream("http.tls_port", self.site)

    def _speaks_tls(self, key: str) -> bool:
        section, _, name = key.partition(".")
        return self.certificates[section] is not None and (name == "tls_port" or not getattr(getattr(self.settings, section), "tls_port", 0))

    def _stream(self, key: str, factory: Factory) -> None:
        bound = self.listeners.get(key)
        if bound is None:
            return
        certificate = self.certificates[key.partition(".")[0]]
        if certificate is not None and self._speaks_tls(key):
            bound.adopt_stream(self.reactor, wrap(factory, certificate, self.reactor))
        else:
            bound.adopt_stream(self.reactor, factory)

    # stopping -------------------------------------------------------------

    async def stop(self) -> None:
        """End everything in order."""
        self.terminals.close()
