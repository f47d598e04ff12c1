"""Joins the superiors' video requests to the terminals, and puts the listener for superiors' players on its port."""

from __future__ import annotations

from typing import Any

from relay.core.bridge import Bridge
from relay.core.bridge_downloads import BridgeDownloads
from relay.core.bridge_requests import BridgeRequests
from relay.core.cross_domain import Tracks
from relay.core.events import Events
from relay.core.fetches import Fetches
from relay.core.live import Live
from relay.core.playback import Playbacks
from relay.core.recordings import Recordings
from relay.core.superior import Superior
from relay.core.superiors import Superiors
from relay.core.uploads import Uploads
from relay.settings import Http
from relay.web.connection import SinkMaker
from relay.web.platform import PlatformStreams


def platform_address(settings: Http, port: int, superior: Superior) -> tuple[str, int]:
    """Host and port told in 0x1801; ``("", 0)`` when there is nothing to tell. ``port``: the listener's, 0 = it is off."""
    host, _, told = settings.platform_advertise.rpartition(":") if ":" in settings.platform_advertise else (settings.platform_advertise, "", "")
    if not port and not told:
        return "", 0
    announced = superior.announced().rpartition(":")[0]
    return (host or superior.settings.sublink_advertise or announced).strip("[]"), int(told) if told else port


class VideoUplink:
    """The bridge and its listener's requests."""

    def __init__(
        self, superiors: Superiors, live: Live, playbacks: Playbacks, searches: Recordings, tracks: Tracks, events: Events, clock: Any,
        settings: Http, port: int, sinks: SinkMaker, uploads: Uploads, fetches: Fetches, ftp_port: int,
    ) -> None:  # fmt: skip
        self.bridge = Bridge(superiors, live, playbacks, tracks, events, clock, lambda superior: platform_address(settings, port, superior))
        self.requests = BridgeRequests(self.bridge, searches)
        self.requests.register()
        self.downloads = BridgeDownloads(self.requests, uploads, fetches, ftp_port)
        self.downloads.register()
        self.streams = PlatformStreams(self.bridge, settings, clock, sinks)

    def close(self) -> None:
        """The relay stops."""
        self.downloads.close()
        self.requests.close()
        self.bridge.close()
