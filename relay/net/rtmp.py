"""RTMP players: the listener, and one connection from its handshake to its viewer.

One play, in time::

    handshake, connect, createStream → play → token, start or join (held) → Play.Start → viewer attached → bytes → last words

The protocol is ``relay.rtmp.server``; media come from the hub's output of framing "rtmp", whose bytes all players of a stream share, and go out
through the hub's sink. While a viewer is attached, answers to the player (pings, acknowledgements) are put between two messages.

A play that cannot be served gets ``onStatus`` with NetStream.Play.StreamNotFound (nobody has that channel) or NetStream.Play.Failed (all else),
with the cause, and where a start stopped its hop, in the description; then the connection ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.play import Wish, wish
from relay.errors import ProtocolError
from relay.hub.formats import UnsupportedTrackError
from relay.hub.merge import Clock, DelayedCall
from relay.hub.stream import StreamState
from relay.hub.viewer import HOLD_BYTES, Sink, Viewer, Who
from relay.net.peerlog import PeerLog
from relay.net.sink import make_sink
from relay.rtmp.server import Pause, Play, Refused, ServerSession, State, Stop
from relay.settings import Rtmp

_log = Logger()

#: after the last word, before the connection is closed by us: players close it themselves and show what they read only when it is all there
LINGER_S = 1.0
#: a closed connection that does not take its last bytes
ABORT_S = 5.0
#: a player without a running stream is asked so often whether it is there, and closed when it said nothing for ``SILENT_S``
PING_S = 30.0
SILENT_S = 75.0
#: a player that is connected and plays nothing
IDLE_S = 60.0
#: what a player may leave untaken of our answers: more than the handshake's answer and every command's
UNSENT_MAX = 65536


class Opener(Protocol):
    """``relay.core.play.Plays``."""

    def open(self, wanted: Wish, address: str, codec: str = "") -> Deferred[Lease]: ...
    def other(self, lease: Lease, refused: StartFailed) -> Deferred[None]: ...


class Outlet:
    """What goes out while no viewer has the sink: answers to commands. Nothing is left in Twisted's buffer unnoticed, since the hub sends
    to the socket directly and would overtake it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting = b""
        self._holding = False
        self._drained: Callable[[], None] | None = None

    def write(self, data: bytes) -> bool:
        """Send; False when more waits than a sound player leaves."""
        if not self._holding:
            try:
                sent = self._sink.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return True  # being lost; connectionLost follows
            data = data[sent:]
            if not data:
                return True
        self._waiting += data
        self._go_on()
        return len(self._waiting) <= UNSENT_MAX

    def _go_on(self) -> None:
        if not self._holding and self._waiting:
            piece, self._waiting = self._waiting[:HOLD_BYTES], self._waiting[HOLD_BYTES:]
            self._holding = True
            self._sink.hold(piece, self._ready)

    def _ready(self) -> None:
        self._holding = False
        self._go_on()
        if not self._holding:
            drained, self._drained = self._drained, None
            if drained is not None:
                drained()

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call once, now or when all has left."""
        if self._holding:
            self._drained = call
        else:
            call()


class RtmpProtocol(TwistedProtocol):
    """One player."""

    transport: Any

    def __init__(self, server: RtmpServer) -> None:
        self.server = server
        self.session = ServerSession(os.urandom(ServerSession.NOISE))
        self.peer = ""
        self.address = ""
        self.viewer: Viewer | None = None
        self.lease: Lease | None = None
        self.wish: Wish | None = None
        self._fourccs: tuple[str, ...] = ()  #: what the player said it can decode
        self._opening: Deferred[Any] | None = None
        self._timer: DelayedCall | None = None  #: the deadline or ping that is due next
        self._duration: DelayedCall | None = None
        self._heard = 0.0
        self._wanted = 0.0  #: when it last had, or waited for, a stream
        self._paused = False
        self._closing = False
        self._lost = False

    # connection -------------------------------------------------------------

    def connectionMade(self) -> None:
        server = self.server
        where = self.transport.getPeer()
        self.address = getattr(where, "host", "")
        port = getattr(where, "port", 0)
        self.peer = f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"
        server.accepted += 1
        if len(server.players) >= server.settings.connections_max:
            server.over_limit += 1
            self._lost = True
            self.transport.abortConnection()
            return
        server.players[self] = None
        self._sink = make_sink(self.transport)
        self._outlet = Outlet(self._sink)
        self._heard = server.clock.seconds()
        self._timer = server.clock.callLater(server.settings.handshake_timeout_s, self._too_late)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self.server.players.pop(self, None)
        self._cancel()
        self._let_go()

    def _cancel(self) -> None:
        for call in (self._timer, self._duration):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._duration = None

    def _let_go(self, cause: str = "gone") -> None:
        """Viewer and lease, once."""
        opening, self._opening = self._opening, None
        viewer, self.viewer = self.viewer, None
        lease, self.lease = self.lease, None
        if opening is not None:
            opening.cancel()
        if viewer is not None:
            viewer.close(cause)
        if lease is not None:
            lease.release()

    def _too_late(self) -> None:
        self._timer = None
        self.server.slow += 1
        self.server.warn(self.address, "RTMP connection {peer} closed: no connect command in time", peer=self.peer)
        self._sink.abort()

    def _look(self) -> None:
        """Every ``PING_S``: a player whose stream runs takes its bytes or is stuck, which the hub sees; any other is asked."""
        server = self.server
        viewer = self.viewer
        now = server.clock.seconds()
        if self.lease is not None or self._opening is not None:
            self._wanted = now
        problem = "plays nothing" if now - self._wanted > IDLE_S else "silent" if viewer is None and now - self._heard > SILENT_S else ""
        if problem:
            self._timer = None
            server.slow += 1
            server.warn(self.address, "RTMP connection {peer} closed: {problem}", peer=self.peer, problem=problem)
            self._sink.abort()
            return
        self._timer = server.clock.callLater(PING_S, self._look)
        if viewer is None or not viewer.busy:
            self.session.ping(int(now * 1000))
            self._flush()

    # bytes ------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self._lost or self._closing:
            return
        server, session = self.server, self.session
        now = self._heard = server.clock.seconds()
        connected = session.state not in (State.HANDSHAKE, State.CONNECTING)
        try:
            session.receive(data, int(now * 1000))
        except ProtocolError as problem:
            server.broken += 1
            server.warn(self.address, "RTMP connection {peer} closed: {problem}", peer=self.peer, problem=str(problem))
            self._flush()
            self._let_go()
            self._end()
            return
        if not connected and session.state not in (State.HANDSHAKE, State.CONNECTING) and self._timer is not None:
            self._timer.cancel()
            self._timer = server.clock.callLater(PING_S, self._look)
            self._wanted = now
        for event in session.events():
            self._event(event)
        self._flush()

    def _flush(self) -> None:
        """Send what the session has to say, between two messages of media when there are any."""
        data = self.session.bytes_to_send()
        if not data or self._lost:
            return
        if self.viewer is not None:
            self.viewer.insert(data)
            return
        if not self._outlet.write(data):  # asks and asks, and never reads
            self.server.broken += 1
            self._sink.abort()

    # what the player wants ----------------------------------------------------

    def _event(self, event: Play | Pause | Stop | Refused) -> None:
        if isinstance(event, Play):
            self._play(event)
        elif isinstance(event, Pause):
            self._pause(event.on)
        elif isinstance(event, Stop):
            self._stop()
        else:
            self.server.refused += 1
            self.server.warn(self.address, "RTMP connection {peer} refused: {why}", peer=self.peer, why=event.why)
            self._flush()
            self._end()

    def _play(self, play: Play) -> None:
        try:
            self.wish = wanted = wish(play.app, play.tc_url, play.name)
            self._fourccs = play.fourccs
        except StartFailed as problem:
            self._refuse(problem)
            return
        if play.duration > 0:
            self._duration = self.server.clock.callLater(play.duration, self._over, "the asked-for duration is over")
        opening = self._opening = self.server.plays.open(wanted, self.address, "h264" if self._knows_h264_only() else "")
        opening.addCallbacks(self._opened, self._not_opened)

    def _opened(self, lease: Lease) -> None:
        self._opening = None
        if self._lost or self._closing:
            lease.release()
            return
        self.lease = lease
        problem = self._carried()
        if problem is not None and problem.code == "unsupported_video" and self._knows_h264_only():
            opening = self._opening = self.server.plays.other(lease, problem)
            opening.addCallbacks(self._other_came, self._not_opened)
            return
        self._begin(problem)

    def _other_came(self, _: object) -> None:
        """The terminal sends its other stream now."""
        self._opening = None
        self._begin(self._carried())

    def _lease_ended(self, cause: str) -> None:
        if self.viewer is not None:
            self.viewer.close(cause)

    def _knows_h264_only(self) -> bool:
        """It said what it decodes, H.265 is not among it, and it did not ask for H.265 all the same."""
        return bool(self._fourccs) and not {"hvc1", "*"} & set(self._fourccs) and self.wish is not None and not self.wish.insists

    def _begin(self, problem: StartFailed | None) -> None:
        if problem is not None:
            self._let_go()
            self._refuse(problem)
            return
        if self.lease is not None and self._knows_h264_only():
            self.lease.on_ended = self._lease_ended
        self.session.play_started()
        self._flush()
        self._attach()

    def _carried(self) -> StartFailed | None:
        """Why the stream cannot be attached to: it may have ended or changed since it was looked at."""
        stream = self.lease.stream if self.lease is not None else None
        if stream is None or stream.state is StreamState.ENDED or self.wish is None:
            return StartFailed(503, "stream_ended", "The stream ended while it was being opened.", "Try again.")
        try:
            stream.check(self.wish.format)
        except UnsupportedTrackError as error:
            return StartFailed(415, f"unsupported_{error.track}", f"{error.message}.", error.hint)
        video = stream.video
        if video is not None and video.codec == "h265" and self._knows_h264_only():
            message = f"The picture is H.265, and the player says that it decodes {', '.join(self._fourccs)[:80]}."
            return StartFailed(415, "unsupported_video", message, "hevc=enhanced or hevc=legacy sends it all the same.")
        return None

    def _not_opened(self, failure: Failure) -> None:
        self._opening = None
        problem = failure.value
        if self._lost or self._closing or isinstance(problem, CancelledError):
            return
        if not isinstance(problem, StartFailed):
            self.server.unhandled += 1
            _log.failure("starting for an RTMP player failed", failure=failure)
            problem = StartFailed(500, "failed", "The relay failed at this request; its log says why.")
        self._let_go()
        self._refuse(problem)

    def _refuse(self, problem: StartFailed) -> None:
        code = "NetStream.Play.StreamNotFound" if problem.status == 404 else "NetStream.Play.Failed"
        stopped = f"stopped at: {problem.hop}" if problem.hop else ""
        words = " ".join(part for part in (problem.message, problem.hint, f"[{problem.code}{'; ' if stopped else ''}{stopped}]") if part)
        self.server.failed += 1
        _log.info("RTMP player {peer} not served: {words}", peer=self.peer, words=words)
        self.session.play_failed(code, words)
        self._flush()
        self._end()

    # media --------------------------------------------------------------------

    def _attach(self) -> None:
        """Play.Start is on its way; media may follow once it has left."""
        self._outlet.when_drained(self._attach_now)

    def _attach_now(self) -> None:
        lease, wanted = self.lease, self.wish
        if lease is None or wanted is None or lease.stream is None or self._lost or self._closing or self._paused or self.viewer is not None:
            return
        problem = self._carried()
        if problem is not None:
            self._over(problem.message)
            return
        who = Who(self.peer, lease.who, "live")
        viewer = lease.stream.attach(wanted.format, self._sink, who, farewell=self._farewell, on_first=self._first, on_close=self._viewer_closed)
        if not viewer.closed:
            self.viewer = viewer

    def _first(self, viewer: Viewer) -> None:
        self.viewer = viewer  # the burst may be on its way before ``attach`` has returned
        if self.lease is not None:
            self.lease.first_byte()

    def _farewell(self, cause: str) -> bytes:
        return self.session.play_ended(f"The stream has ended: {cause}.")

    def _viewer_closed(self, viewer: Viewer, cause: str) -> None:
        stats = viewer.stats()
        _log.info(
            "viewer {peer} {who} of {output} ended: {cause}; {bytes} bytes, {drops} drops",
            peer=stats.peer, who=stats.who or "-", output=stats.format, cause=cause, bytes=stats.bytes, drops=stats.drops,
        )  # fmt: skip
        self.viewer = None
        if cause == "gone":
            return
        self._closing = True  # the hub closed the sink
        self._let_go()
        self._cancel()
        if not self._lost:
            self._timer = self.server.clock.callLater(ABORT_S, self._sink.abort)

    def _pause(self, on: bool) -> None:
        viewer = self.viewer
        if on and not self._paused:
            if viewer is not None and viewer.busy:
                return  # in the middle of a message: it goes on, and what the player does not read the hub drops
            self._paused = True
            self.viewer = None
            if viewer is not None:
                viewer.close("gone")  # the connection stays
        elif not on and self._paused:
            self._paused = False
            self.session.resumed()
            self._flush()
            self._attach()

    def _stop(self) -> None:
        """The player closed its stream; it may play another."""
        viewer = self.viewer
        self._paused = False
        if viewer is not None and viewer.busy:  # a message was cut: nothing can follow it
            self._let_go("closed by the player")
            return
        self._let_go()
        if self._duration is not None and self._duration.active():
            self._duration.cancel()
        self._duration = None

    def _over(self, why: str) -> None:
        """End of this play, said by us."""
        if self.viewer is not None:
            self.viewer.close(why)
        else:
            self._outlet.write(self.session.play_ended(why))
            self._end()

    def _end(self) -> None:
        """The last word is said: the player has ``LINGER_S`` to close."""
        if self._closing or self._lost:
            return
        self._closing = True
        self._cancel()
        self._let_go()
        self._timer = self.server.clock.callLater(LINGER_S, self._close)

    def _close(self) -> None:
        self._timer = self.server.clock.callLater(ABORT_S, self._sink.abort)
        self._sink.close(b"")

    def shut(self) -> None:
        """The relay stops; the hub has ended what plays."""
        if not self._closing and self.viewer is None:
            self._over("the relay stops")


class RtmpServer(Factory):
    """All RTMP players."""

    noisy = False

    def __init__(self, clock: Clock, settings: Rtmp, plays: Opener, log_peer_s: float = 1.0) -> None:
        self.clock = clock
        self.settings = settings
        self.plays = plays
        self.players: dict[RtmpProtocol, None] = {}
        self.accepted = 0
        self.over_limit = 0
        self.slow = 0  #: closed for a deadline
        self.broken = 0  #: closed for what they sent
        self.refused = 0  #: encoders that wanted to publish
        self.failed = 0  #: plays that could not be served
        self.unhandled = 0
        self._peers = PeerLog(clock, log_peer_s)
        self.warn: Callable[..., None] = self._peers.warn

    def buildProtocol(self, addr: object) -> RtmpProtocol:
        """One connection."""
        return RtmpProtocol(self)

    def close(self) -> None:
        """End the connections that do not play; those that do end with their streams."""
        for player in list(self.players):
            player.shut()

    def stop(self) -> None:
        """End every connection at once."""
        for player in list(self.players):
            player.transport.abortConnection()
        self._peers.close()


