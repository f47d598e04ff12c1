"""What superiors' players open after 0x1801 and 0x1A01 (JT/T 1078-2016 6.1 and 6.2, table 35), on a port of its own:

    GET /{plate}.{plate colour}.{logical channel}.{av flag}.{time-efficient password}[.{position mark}]

The answer's body is packets of JT/T 1078 as table 19 has them, one after the other, from a key frame on, without length or chunks, until either side closes.
Plates come as UTF-8 or, a dialect, GBK percent escapes, raw or escaped; ``+`` is a space. The password never gets into a log. Nothing else is served here.

    403 password wrong, or cross-domain condition not met    404 no such vehicle, or not asked for    503, 504 the terminal did not start
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.bridge import MEDIA, Bridge, Permit, Streaming, Wanted
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.hub.formats import OutputFormat, UnsupportedTrackError
from relay.hub.merge import Clock
from relay.hub.stream import StreamState
from relay.hub.viewer import Viewer, Who
from relay.settings import Http
from relay.web.api_live import start_problem
from relay.web.connection import Connection, SinkMaker
from relay.web.media import log_end, peer_of
from relay.web.problem import Problem
from relay.web.request import Request
from relay.web.server import Site

_log = Logger(namespace="relay.web")

PATH_MAX = 512  #: characters: plate 63, password 64, position mark 40, escapes
BUFFER_MAX = 4 << 20  #: bytes that all channels on one connection may have waiting; a player that lets more wait is closed

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nCache-Control: no-cache, no-store\r\nConnection: close\r\n"
    b"X-Content-Type-Options: nosniff\r\nServer: jt1078relay\r\n\r\n"
)


def parse(path: bytes) -> Wanted | None:
    """What a URL's path says; None when it is not of the standard's form."""
    if len(path) > PATH_MAX or not path.startswith(b"/"):
        return None
    raw = unquote_to_bytes(path[1:].replace(b"+", b" "))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        try:
            text = raw.decode("gbk")
        except UnicodeDecodeError:
            return None
    parts = text.split(".", 5)
    if len(parts) < 5:
        return None
    plate, color, channel, avitem, password = parts[:5]
    numbers = (color, channel, avitem)
    if not plate or not all(number.isascii() and number.isdigit() and len(number) <= 3 for number in numbers) or int(avitem) > 3 or int(channel) > 255:
        return None
    return Wanted(plate, int(color), int(channel), int(avitem), password, parts[5] if len(parts) > 5 else "")


class Gathered:
    """One channel's share of a connection that carries several: everything is taken whole, so that packets never mix.

    The other way round than a viewer's own connection: the transport buffers, BUFFER_MAX at most, then the connection ends.
    """

    def __init__(self, connection: PlatformConnection) -> None:
        self._connection = connection

    def send(self, data: bytes) -> int:
        """All of it."""
        self._connection.write(bytes(data))
        return len(data)

    def hold(self, data: bytes, ready: Callable[[], None]) -> None:
        """As ``send``, and there is room at once."""
        self._connection.write(bytes(data))
        ready()

    def close(self, farewell: bytes) -> None:
        """The channel is over; the others go on."""

    def abort(self) -> None:
        """The channel is over; the others go on."""


class PlatformConnection(Connection):
    """A superior's player."""

    __slots__ = ("_bridge", "_format", "_leases", "_streaming", "_viewers", "_who")

    QUEUE = BUFFER_MAX

    def __init__(self, bridge: Bridge, permit: Permit, leases: list[Lease], who: Who) -> None:
        super().__init__()
        self._bridge = bridge
        self._leases = leases
        self._viewers: list[Viewer] = []
        self._who = who
        self._format = OutputFormat("jt1078", "raw", MEDIA[permit.avitem], "source")
        self._streaming: Streaming | None = bridge.playing(permit, self._end)

    def attach(self) -> None:
        """The head has left: media may follow."""
        shared = len(self._leases) > 1
        for lease in list(self._leases):
            stream = lease.stream
            if stream is None or stream.state is StreamState.ENDED:
                self._over(lease)
                continue
            lease.on_ended = partial(self._ended, lease)
            sink: Any = Gathered(self) if shared else self.sink
            try:
                viewer = stream.attach(self._format, sink, self._who, on_close=partial(self._viewer_closed, lease))
            except UnsupportedTrackError as problem:
                _log.info("superior's player {peer}: {problem}", peer=self._who.peer, problem=problem.message)
                self._over(lease)
                continue
            if not viewer.closed:
                self._viewers.append(viewer)

    def _ended(self, lease: Lease, cause: str) -> None:
        self._over(lease)

    def _viewer_closed(self, lease: Lease, viewer: Viewer, cause: str) -> None:
        log_end(viewer, cause)
        if viewer in self._viewers:
            self._viewers.remove(viewer)
        self._over(lease)

    def _over(self, lease: Lease) -> None:
        """One channel has ended; with the last one the connection does, which is how a player learns that a recording is over."""
        if lease in self._leases:
            self._leases.remove(lease)
            lease.release()
        if not self._leases and not self.closed:
            self._leave()
            self.close()

    def _end(self, reason: str) -> None:
        """By the superior's word, or ours."""
        for viewer in list(self._viewers):
            viewer.close(reason)
        for lease in list(self._leases):
            self._over(lease)

    def _leave(self) -> None:
        streaming, self._streaming = self._streaming, None
        if streaming is not None:
            self._bridge.left(streaming)

    def lost(self) -> None:
        self.closed = True
        self._leave()
        viewers, self._viewers = self._viewers, []
        for viewer in viewers:
            viewer.close("gone")
        leases, self._leases = self._leases, []
        for lease in leases:
            lease.release()


class PlatformStreams:
    """The listener's requests."""

    def __init__(self, bridge: Bridge, settings: Http, clock: Clock, sinks: SinkMaker) -> None:
        self._bridge = bridge
        self._sinks = sinks
        self.site = Site(settings, clock, self.handle)
        self.refused = 0

    def handle(self, request: Request) -> None:
        """One request; never raises."""
        request.quiet = True  # its path holds a password
        wanted = parse(request.path) if request.method in (b"GET", b"HEAD") else None
        if wanted is None:
            status = 404 if request.method in (b"GET", b"HEAD") else 405
            hint = "GET /{plate}.{plate colour}.{channel}.{av flag}.{time-efficient password}"
            self._refuse(request, Problem(status, "This port serves streams to superior platforms only.", hint=hint, headers={"Allow": "GET, HEAD"}))
            return
        waiting = Deferred.fromCoroutine(self._open(request, wanted))
        request.notifyFinish().addErrback(lambda _: waiting.cancel())
        waiting.addErrback(self._failed, request)

    async def _open(self, request: Request, wanted: Wanted) -> None:
        permit, leases = await self._bridge.open(wanted)
        if request.method == b"HEAD":
            for lease in leases:
                lease.release()
            request.answer(200, b"", "application/octet-stream", {"Connection": "close"})
            return
        who = Who(peer_of(request), f"superior {permit.superior}", permit.kind)
        _log.info(
            "superior {superior}: player {peer} opens {kind} of {plate} channel {channel}", superior=permit.superior, peer=who.peer, kind=permit.kind,
            plate=permit.plate, channel=permit.channel,
        )  # fmt: skip
        connection = PlatformConnection(self._bridge, permit, leases, who)
        connection.begin(request, self._sinks, _HEAD)
        connection.when_drained(connection.attach)

    def _failed(self, failure: Failure, request: Request) -> None:
        problem = failure.value
        if isinstance(problem, CancelledError) or request.gone:
            return
        if isinstance(problem, StartFailed):
            self._refuse(request, start_problem(problem))
            return
        _log.failure("a superior's player could not be served", failure=failure)
        self._refuse(request, Problem(500, "The relay failed at this request; its log says why."))

    def _refuse(self, request: Request, problem: Problem) -> None:
        self.refused += 1
        request.channel.persistent = False
        _log.info("superior's player {peer} refused: {status} {why}", peer=peer_of(request), status=problem.status, why=problem.message)
        request.answer(problem.status, problem.body(), headers={"Cache-Control": "no-store", **problem.headers})
