"""Media over HTTP and WebSocket: ``/live/{sim}_{ch}.flv``, ``.mp4``, ``.ts`` and ``.jt1078``, and the same paths with an upgrade.

One play, in time::

    HTTP        token → start or join (held) → can it be carried? → connection taken over, head sent → viewer attached → bytes
    WebSocket   token → accepted, connection taken over → start or join (its hops told) → viewer attached → bytes

So over HTTP every failure is a status with a JSON body. A browser's script cannot read those of a WebSocket, so there the handshake is
answered first (unless it is no handshake: 400) and failures come inside:

    WS-FLV      (and WS-1078) binary messages only; a failure closes with 4000 + the HTTP status and its message for a reason
    WS-fMP4     text messages tell what happens, binary ones carry media:
                {"type": "state", "hop": "answered", "ms": 46}             while the channel starts, one a hop
                {"type": "init", "mime": …, "video": …, "audio": …, "notes": […]}  before each initialisation segment (hub.formats)
                {"type": "error", "status": 503, "error": …, "message": …, "hint": …, "hop": …, "hops": {…}}  then close 4503
                {"type": "end", "error": "…", "message": …}                 the stream is over; then close
    with ``ws=binary``, or at ``….live.mp4`` where other servers' players expect it: no text messages, closed as WS-FLV

A viewer's end releases its lease, whoever ended it; the hub closes the sink when the stream ends, and this module the viewer when the
connection does.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Literal, Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.hooks import Permit
from relay.core.live_lease import Lease
from relay.core.other_stream import OtherStreamError
from relay.core.playback_session import AT_ITS_END
from relay.core.quota import Quota
from relay.core.tokens import Grant
from relay.core.trace import FIRST_BYTE, Watcher
from relay.hub.formats import OutputFormat, UnsupportedTrackError
from relay.hub.poller import SegmentViewer
from relay.hub.stream import Stream, StreamState
from relay.hub.viewer import Viewer, Who
from relay.mux.mjpeg import MjpegMuxer
from relay.web.auth import Authenticator
from relay.web.connection import CLOSE_S, PING_S, Connection, SinkMaker, WebSocket
from relay.web.names import Names
from relay.web.problem import PHRASES, Problem
from relay.web.request import Request
from relay.web.router import TAKEN, Answer, Call, Permission, Route
from relay.web.websocket import GOING_AWAY, NORMAL, POLICY, Opcode, accept, close_frame, frame

_log = Logger(namespace="relay.web")

TYPES = {"flv": "video/x-flv", "mp4": "video/mp4", "ts": "video/mp2t", "mjpeg": MjpegMuxer.content_type, "jt1078": "application/octet-stream"}
WORDS = {"flv": "Live FLV", "mp4": "Live MP4", "ts": "Live MPEG-TS", "mjpeg": "Live motion JPEG", "jt1078": "Live packets of JT/T 1078, from a key frame on"}

#: causes that the hub gives, and the code that a WebSocket is closed with; what is not here is a plain end
CLOSE_CODES = {"shutdown": GOING_AWAY, "the relay stops": GOING_AWAY, "kicked": POLICY}



class MediaQuery(msgspec.Struct):
    """Parameters of a media URL; what is not here belongs to the player."""

    stream: Literal["main", "sub"] | None = None
    media: Literal["av", "v", "a"] = "av"
    audio: Literal["aac", "flac", "opus", "source", "none"] | None = None
    hevc: Literal["enhanced", "legacy"] = "enhanced"
    ws: Literal["text", "binary"] = "text"
    video: Literal["h264"] | None = None  #: H.265 is transcoded, where that is allowed
    motion: Literal["all", "keys"] = "all"  #: of motion JPEG

    def made(self, container: str) -> str:
        """What a ``Holder`` makes of the pictures."""
        if container == "mjpeg":
            return "jpeg" if self.motion == "all" else "jpeg-keys"
        return self.video or ""


class Acquire(Protocol):
    """Starts or joins a channel: ``relay.core.live.Live.acquire``."""

    def __call__(
        self, name: str, channel: int, stream: str = ..., media: str = ..., purpose: str = ..., who: str = ...,
        timeout_s: float | None = ..., watch: Watcher | None = ..., peer: str = ..., codec: str = ...,
    ) -> Deferred[Lease]: ...  # fmt: skip


class AcquirePlayback(Protocol):
    """Joins a playback session: ``relay.core.playback.Playbacks.acquire``."""

    def __call__(
        self, ident: str, media: str = ..., purpose: str = ..., who: str = ..., timeout_s: float | None = ..., watch: Watcher | None = ...,
    ) -> Deferred[Lease]: ...  # fmt: skip


class Holder:
    """What a connection has of a channel: a lease, then a viewer; let go of once."""

    __slots__ = ("lease", "made", "viewer")

    def __init__(self, made: str = "") -> None:
        """``made``: what the pictures are made into, where they are not so already ("h264", "jpeg", "jpeg-keys")."""
        self.made = made
        self.lease: Lease | None = None
        self.viewer: Viewer | None = None

    def let_go(self, cause: str = "gone") -> None:
        """Close the viewer, release the lease."""
        viewer, self.viewer = self.viewer, None
        lease, self.lease = self.lease, None
        if viewer is not None:
            viewer.close(cause)
        if lease is not None:
            lease.release()

    def ended(self, cause: str) -> None:
        """The lease has ended before the stream."""
        if self.viewer is not None:
            self.viewer.close(cause)

    def running(self) -> Stream:
        """What the lease is for, if it has not ended meanwhile. Raises a Problem."""
        stream = self.lease.stream if self.lease is not None else None
        if stream is None or stream.state is StreamState.ENDED:
            raise Problem(503, "The stream ended while it was being opened.", code="stream_ended", hint="Try again.")
        return stream

    def stream(self, fmt: OutputFormat) -> Stream:
        """The stream, if it can still be attached to: it may have ended or changed since it was looked at. Raises a Problem."""
        stream = self.running()
        try:
            if self.made and (self.made != "h264" or (stream.video is not None and stream.video.codec == "h265")):
                stream = stream.derive(self.made)
            stream.check(fmt)
        except UnsupportedTrackError as error:
            raise Problem(415, f"{error.message}.", code=f"unsupported_{error.track}", hint=error.hint) from None
        return stream


class MediaConnection(Connection):
    """A player over HTTP."""

    __slots__ = ("_format", "_who", "holder")

    def __init__(self, fmt: OutputFormat, who: Who, made: str = "") -> None:
        super().__init__()
        self.holder = Holder(made)
        self._format = fmt
        self._who = who

    def attach(self) -> None:
        """The head has left: media may follow."""
        try:
            stream = self.holder.stream(self._format)
        except Problem as problem:  # the head has gone, so all that is left is to close
            _log.info("viewer {peer} not attached: {problem}", peer=self._who.peer, problem=problem.message)
            self.holder.let_go()
            self.close()
            return
        viewer = stream.attach(self._format, self.sink, self._who, on_first=self._first, on_close=self._viewer_closed)
        if not viewer.closed:
            self.holder.viewer = viewer

    def _first(self, viewer: Viewer) -> None:
        if self.holder.lease is not None:
            self.holder.lease.first_byte()

    def _viewer_closed(self, viewer: Viewer, cause: str) -> None:
        log_end(viewer, cause)
        self.closed = True
        self.holder.viewer = None  # closed already
        self.time(CLOSE_S, self.sink.abort)
        self.holder.let_go()

    def lost(self) -> None:
        self.holder.let_go()


class MediaSocket(WebSocket):
    """A player over a WebSocket; ``telling``: with text messages."""

    __slots__ = ("_format", "_who", "holder", "telling", "waiting")

    def __init__(self, fmt: OutputFormat, who: Who, telling: bool, made: str = "") -> None:
        super().__init__()
        self.holder = Holder(made)
        self.telling = telling
        self.waiting: Deferred[Any] | None = None  #: the start that is under way
        self._format = fmt
        self._who = who

    # what the page is told ----------------------------------------------------

    def say(self, message: dict[str, Any]) -> None:
        """A text message, between two of the hub's."""
        if not self.telling:
            return
        data = frame(Opcode.TEXT, msgspec.json.encode(message))
        viewer = self.holder.viewer
        if viewer is not None:
            viewer.insert(data)
        else:
            self.write(data)

    def hop(self, hop: str, ms: int) -> None:
        """A start has come so far."""
        self.say({"type": "state", "hop": hop, "ms": ms})

    def fail(self, problem: Problem) -> None:
        """It cannot be played: say why, and close."""
        if self.holder.viewer is None:
            self.say(error_message(problem))
        self.end(4000 + problem.status, problem.message)

    # media --------------------------------------------------------------------

    def attach(self) -> None:
        """What was written has left: media may follow."""
        try:
            stream = self.holder.stream(self._format)
        except Problem as problem:
            self.fail(problem)
            self.holder.let_go()
            return
        viewer = stream.attach(
            self._format, self.sink, self._who, farewell=self._farewell, on_first=self._first, on_close=self._viewer_closed
        )
        if not viewer.closed:
            self.holder.viewer = viewer

    def _first(self, viewer: Viewer) -> None:
        self.holder.viewer = viewer  # the burst may be on its way before ``attach`` has returned
        lease = self.holder.lease
        if lease is None:
            return
        lease.first_byte()
        ms = lease.trace.hops().get(FIRST_BYTE) if lease.trace is not None else None
        if ms is not None:
            self.hop(FIRST_BYTE, ms)

    def _farewell(self, cause: str) -> bytes:
        """The last words when the hub, or we, close the viewer."""
        if self.close_code:
            return close_frame(self.close_code)
        self.close_code = CLOSE_CODES.get(cause, NORMAL)
        last = close_frame(self.close_code, cause)
        if self.telling:
            last = frame(Opcode.TEXT, msgspec.json.encode(end_message(cause))) + last
        return last

    def _viewer_closed(self, viewer: Viewer, cause: str) -> None:
        log_end(viewer, cause)
        self.closed = True
        self.holder.viewer = None  # closed already
        self.time(CLOSE_S, self.sink.abort)
        self.holder.let_go()

    def control(self, data: bytes) -> None:
        viewer = self.holder.viewer
        if viewer is not None:
            viewer.insert(data)
        else:
            super().control(data)

    def _ping(self) -> None:
        viewer = self.holder.viewer
        if viewer is not None and viewer.busy:
            self.time(PING_S, self._ping)  # it would not get it; the hub closes one that takes nothing at all
        else:
            super()._ping()

    def end(self, code: int = NORMAL, reason: str = "") -> None:
        if self.holder.viewer is not None and not self.close_code:
            self.close_code = code
            self.holder.let_go("closed by the client" if code == NORMAL else f"closed with {code}")
        else:
            super().end(code, reason)

    def lost(self) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.cancel()
        self.holder.let_go()


class Media:
    """The handlers of media URLs."""

    def __init__(
        self,
        acquire: Acquire,
        playback: AcquirePlayback,
        names: Names,
        authenticator: Authenticator,
        sinks: SinkMaker,
        translate: Callable[[BaseException], Problem | None],
        permit: Permit | None = None,
        quota: Quota | None = None,
    ) -> None:
        self._quota = quota
        self._permit = permit
        self._acquire = acquire
        self._playback = playback
        self._names = names
        self._authenticator = authenticator
        self._sinks = sinks
        self._translate = translate
        self.other_stream: Callable[[Lease], Deferred[None]] | None = None  #: ``OtherStreams.ask``
        self.starting: dict[MediaSocket, None] = {}  #: sockets whose channel is not there yet

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        name = "/live/{sim}_{channel:int}"
        word = "/live/{sim}_{channel:int}_{stream:main|sub}"
        more = {"flv": ("/{sim}/{channel:int}.flv", "/video/{sim}-{channel:int}")}
        for container in TYPES:
            yield Route(
                method="GET", path=f"{name}.{container}", handler=self.play, permission=Permission.MEDIA, tag="media",
                aliases=(f"{word}.{container}", f"{name}.live.{container}", f"{word}.live.{container}", *more.get(container, ())),
                summary=f"{WORDS[container]}; with an upgrade, over a WebSocket", query=MediaQuery, any_query=True,
                content_type=TYPES[container], errors=(409, 415, 429, 503, 504), any_origin=True, report=self.report,
            )  # fmt: skip
            yield Route(
                method="GET", path=f"/playback/{{id}}.{container}", handler=self.play, permission=Permission.MEDIA, tag="media",
                summary=f"{WORDS[container]} of a playback; with an upgrade, over a WebSocket", query=MediaQuery, any_query=True,
                content_type=TYPES[container], errors=(409, 410, 415, 429, 503, 504), any_origin=True, report=self.report,
            )  # fmt: skip

    # ---- one request ----------------------------------------------------------------------------------------------------

    def play(self, call: Call) -> Any:
        """Play one channel, or one playback."""
        container = call.route.path.rpartition(".")[2]
        if call.head:
            return Answer(headers={"Content-Type": TYPES[container], "Cache-Control": _MEDIA_HEADERS["Cache-Control"]})
        query: MediaQuery = call.query
        stream = call.path.get("stream") or query.stream or ""
        who = Who(peer_of(call.request), call.principal.name, "playback" if "id" in call.path else "live")
        media = query.media if container != "mjpeg" else "v"
        if call.upgrade:
            telling = container == "mp4" and query.ws == "text" and not call.request.path.endswith(b".live.mp4")
            framing = "ws-binary" if container == "mp4" and not telling else "ws"
            fmt = OutputFormat(container, framing, media, query.audio or "auto", query.hevc)
            self._play_socket(call, fmt, who, telling, stream, query.made(container))
            return TAKEN
        fmt = OutputFormat(container, "raw", media, query.audio or "auto", query.hevc)
        return self._play_http(call, fmt, who, stream, query.made(container))

    async def lease(
        self, path: dict[str, str], grant: Grant | None, stream: str, fmt: OutputFormat, who: Who, watch: Watcher | None = None, made: str = ""
    ) -> Lease:
        """What the path names."""
        if "id" in path:
            await self._permitted(path["id"], 0, fmt, who)
            return await self._counted(who.name, lambda: self._playback(path["id"], fmt.media, "viewer", who.name, watch=watch))
        channel = int(path["channel"])
        name = await self._name(path["sim"], channel, grant)
        await self._permitted(name, channel, fmt, who)
        codec = made if made == "h264" else ""
        return await self._counted(
            who.name, lambda: self._acquire(name, channel, stream, fmt.media, "viewer", who.name, watch=watch, peer=who.peer, codec=codec)
        )

    async def _counted(self, name: str, acquire: Callable[[], Deferred[Lease]]) -> Lease:
        """Within what one user may have at once."""
        return await (self._quota.viewer(name, acquire) if self._quota is not None else acquire())

    async def suit(self, holder: Holder, fmt: OutputFormat) -> None:
        """See that the holder's stream can be attached to: ask for the terminal's other one, where the player cannot show H.265. Raises a Problem."""
        try:
            holder.stream(fmt)
        except Problem as problem:
            lease = holder.lease
            if self.other_stream is None or lease is None or problem.code != "unsupported_video" or holder.made != "h264":
                raise
            refused = problem
        else:
            if holder.lease is not None and holder.lease.codec:
                holder.lease.on_ended = holder.ended
            return
        try:
            await self.other_stream(lease)
        except OtherStreamError as problem:
            message = f"{refused.message.rstrip('.')}; {problem}."
            raise Problem(415, message, code="unsupported_video", hint=f"{problem.hint} {refused.hint}".strip()) from None
        lease.on_ended = holder.ended
        holder.stream(fmt)

    async def _permitted(self, name: str, channel: int, fmt: OutputFormat, who: Who) -> None:
        """Ask the hooks that decide about plays."""
        if self._permit is not None:
            await self._permit(name, channel, who.purpose or "live", fmt.container, who.name, who.peer)

    async def _name(self, name: str, channel: int, grant: Grant | None) -> str:
        """What to ask for: the number, or the name as it came when nobody has it, or when it does not matter for the token."""
        if grant is None or grant.pattern == "*":
            return name
        sim = await self._names.sim(name)
        self._authenticator.check_stream(grant, name, sim or "", channel)
        return sim or name

    async def _play_http(self, call: Call, fmt: OutputFormat, who: Who, stream: str, made: str) -> Any:
        connection = MediaConnection(fmt, who, made)
        connection.holder.lease = await self.lease(call.path, call.grant, stream, fmt, who, made=made)
        try:
            await self.suit(connection.holder, fmt)
        except BaseException:
            connection.holder.let_go()
            raise
        connection.begin(call.request, self._sinks, response_head(fmt.container))
        connection.when_drained(connection.attach)
        return TAKEN

    def _play_socket(self, call: Call, fmt: OutputFormat, who: Who, telling: bool, stream: str, made: str) -> None:
        head = accept(call.request)
        socket = MediaSocket(fmt, who, telling, made)
        socket.begin(call.request, self._sinks, head)
        self.starting[socket] = None
        # The call, and with it the request, must not live as long as the socket: only what the start needs goes on.
        finding = self.lease(call.path, call.grant, stream, fmt, who, socket.hop if telling else None, made)
        waiting = socket.waiting = Deferred.fromCoroutine(self._start(socket, fmt, finding))

        def done(result: Any) -> None:
            self.starting.pop(socket, None)
            socket.waiting = None
            if isinstance(result, Failure):
                self._socket_failed(socket, result)

        waiting.addBoth(done)

    async def _start(self, socket: MediaSocket, fmt: OutputFormat, finding: Coroutine[Any, Any, Lease]) -> None:
        socket.holder.lease = await finding
        await self.suit(socket.holder, fmt)
        socket.when_drained(socket.attach)

    def _socket_failed(self, socket: MediaSocket, failure: Failure) -> None:
        error = failure.value
        if socket.closed or isinstance(error, CancelledError):
            socket.holder.let_go()
            return
        problem = error if isinstance(error, Problem) else self._translate(error) if error is not None else None
        if problem is None:
            _log.failure("starting for a WebSocket failed", failure=failure)
            problem = Problem(500, "The relay failed at this request; its log says why.")
        socket.fail(problem)
        socket.holder.let_go()

    def report(self, call: Call, problem: Problem) -> None:
        """A request for a WebSocket that is refused before its start: accept, say why, close."""
        path = call.request.path
        head = accept(call.request)
        telling = path.endswith(b".mp4") and not path.endswith(b".live.mp4")
        socket = MediaSocket(OutputFormat(), Who(), telling)
        socket.begin(call.request, self._sinks, head)
        socket.fail(problem)

    def close(self) -> None:
        """The relay stops: end what still waits for its channel."""
        for socket in list(self.starting):
            socket.end(GOING_AWAY, "the relay stops")
            if socket.waiting is not None:
                socket.waiting.cancel()


_MEDIA_HEADERS = {"Cache-Control": "no-cache, no-store", "Connection": "close", "X-Accel-Buffering": "no"}


def response_head(container: str) -> bytes:
    """The answer's head; its body ends with the connection (RFC 9112 6.3), so it is not chunked: one bytes object serves all viewers."""
    headers = {
        "Content-Type": TYPES[container],
        "Access-Control-Allow-Origin": "*",
        "X-Content-Type-Options": "nosniff",
        "Server": "jt1078relay",
        **_MEDIA_HEADERS,
    }
    return ("\r\n".join([f"HTTP/1.1 200 {PHRASES[200]}", *(f"{name}: {value}" for name, value in headers.items())]) + "\r\n\r\n").encode()


def log_end(viewer: Viewer | SegmentViewer, cause: str) -> None:
    """One line for a viewer that is over; the access log has its beginning."""
    stats = viewer.stats()
    _log.info(
        "viewer {peer} {who} of {output} ended: {cause}; {bytes} bytes, {drops} drops",
        peer=stats.peer, who=stats.who or "-", output=stats.format, cause=cause, bytes=stats.bytes, drops=stats.drops,
    )  # fmt: skip


def tell_player(viewer: Viewer | SegmentViewer, message: dict[str, Any]) -> None:
    """A text message to a player that takes some: WS-fMP4 without ``ws=binary``."""
    if isinstance(viewer, Viewer) and viewer.format.framing == "ws" and viewer.format.container == "mp4":
        viewer.insert(frame(Opcode.TEXT, msgspec.json.encode(message)))


def error_message(problem: Problem) -> dict[str, Any]:
    """The text message that says why something cannot be played."""
    told: dict[str, Any] = {"type": "error", "status": problem.status, "error": problem.code, "message": problem.message}
    told.update({name: value for name, value in (("hint", problem.hint), ("hop", problem.hop), ("hops", problem.hops)) if value})
    return told


def end_message(cause: str) -> dict[str, Any]:
    """The text message at the end of a stream."""
    return {"type": "end", "error": cause.partition(":")[0].replace(" ", "_"), "message": end_words(cause)}


def end_words(cause: str) -> str:
    """Why a stream ended, for people."""
    words = {
        "shutdown": "The relay stops.",
        "the relay stops": "The relay stops.",
        "kicked": "Closed by an operator.",
        "connection lost": "The terminal's media connection was lost and did not come back.",
        AT_ITS_END: "The recording is at its end.",
        "configuration changed": "The picture's format changed; it goes on with a new connection.",
    }
    return words.get(cause, f"The stream has ended: {cause}.")


def peer_of(request: Request) -> str:
    """``address:port`` of the client."""
    port = getattr(request.client, "port", 0)
    address = request.address
    if request.from_proxy:
        return address  # the port is the proxy's own
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
