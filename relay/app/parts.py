"""Builds the parts from the settings, joins them, and puts them on their sockets."""

from __future__ import annotations

from typing import Any

from relay.app.listening import Listeners
from relay.core.tokens import Signer
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
        router = Router(Pages(Headers(settings.http)).routes(), lambda call: ANYBODY, settings.http)
        self.site = Site(settings.http, clock, router.handle)

    def start(self) -> None:
        """Answer on every socket."""
        bound = self.listeners.get("http.port")
        if bound is not None:
            bound.adopt_stream(self.reactor, self.site)

    async def stop(self) -> None:
        """End everything in order."""
