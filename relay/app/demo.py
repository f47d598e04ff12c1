"""``twistd jt1078relay --demo``: the relay with its defaults on loopback, a store that goes with it, and terminals that already send.

Must start on a busy machine: a port that somebody has is replaced by a free one. Everybody may register, but only from this machine.
"""

# mypy: disallow-untyped-calls=False
# (twisted.application carries no annotations)

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from relay.app.config import Loaded
from relay.app.listening import FreePorts
from relay.app.logs import stdout
from relay.app.ports import MANY, listeners
from relay.app.service import Relay
from relay.settings import Settings
from relay.sim.demo import start_demo_terminals
from relay.store.sqlite import url_of

log = Logger(namespace="relay.app")

LOOPBACK = "127.0.0.1"
PAGE_S = 86400  #: life of the URL that is printed


def demo_settings(folder: Path, free: FreePorts) -> Settings:
    """The defaults on loopback, with ports that are free now, and held until ``free`` is closed."""
    settings = Settings()
    settings = replace(
        settings,
        terminals=replace(settings.terminals, host=LOOPBACK, registration="open"),
        media=replace(settings.media, host=LOOPBACK, advertise=LOOPBACK),
        http=replace(settings.http, host=LOOPBACK),
        rtmp=replace(settings.rtmp, host=LOOPBACK),
        attachments=replace(settings.attachments, host=LOOPBACK),
        ftp=replace(settings.ftp, host=LOOPBACK, advertise=LOOPBACK, directory=str(folder / "uploads")),
        store=replace(settings.store, url=url_of(folder / "relay.db")),
    )
    for key, kind, host, port in listeners(settings):
        if key == MANY:
            if free.port(host, kind, port) != port:  # these come in a row, or not at all
                settings = replace(settings, media=replace(settings.media, talk_extra_ports=""))
        else:
            section, _, name = key.partition(".")
            settings = replace(settings, **{section: replace(getattr(settings, section), **{name: free.port(host, kind, port)})})
    return settings


class Demo(Relay):
    """A relay that brings its terminals and takes its store away again."""

    demo = True

    def __init__(self, reactor: Any, twistd: Mapping[str, Any] | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="jt1078relay-demo-"))
        self._free = FreePorts()  #: held until the relay binds them: another one may start at this moment
        settings = demo_settings(self._folder, self._free)
        super().__init__(lambda: Loaded(settings, None, "configuration: --demo: built-in defaults on 127.0.0.1, a temporary store"), reactor, twistd)
        self.on_ready.append(lambda _: self._begin())

    def privilegedStartService(self) -> None:
        """As the relay."""
        self._free.close()
        super().privilegedStartService()

    def _begin(self) -> None:
        terminals = start_demo_terminals(self.reactor, LOOPBACK, self.listeners.port("terminals.tcp_port"))
        terminals.setServiceParent(self)
        url = self.page_url("admin", PAGE_S, "demo")
        if self.writer is None or not self.writer.on_stdout:
            log.info("the page: {url}", url=url, reveal=True)
        print(f"\nOpen {url}\n", file=stdout(), flush=True)

    def stopService(self) -> Deferred[None]:
        """As the relay, and the store goes."""

        def remove(_: None) -> None:
            shutil.rmtree(self._folder, ignore_errors=True)

        return super().stopService().addCallback(remove)


def demo_service(twistd: Mapping[str, Any]) -> Relay:
    """What ``twistd jt1078relay --demo`` runs."""
    from twisted.internet import reactor

    return Demo(reactor, twistd)
