"""Playback of what terminals have recorded: who plays what, on whose behalf, and what a terminal can do at the same time.

``Playbacks.start`` is the one way to one, for the API and for superiors (0x9A01) alike; ``acquire`` gives a viewer its reference. The machine of
one session is ``playback_session``, what is shown of the recording ``playhead``.

0x9202 names the channel alone and media packets name no session either, so a channel of a terminal plays one recording at a time: a second start of
it is a conflict, unless it says ``replace``. Other channels play beside it.

Whether a channel plays and shows live at once differs from terminal to terminal, and none of them says so. It is learnt and kept
with the terminal (``Terminal.playback_beside_live``): live media that the terminal ends as playback begins, or a refusal that goes with live, says no; both
running for BESIDE_S says yes. From a no on, neither is begun while the other is watched.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from relay.core import live_failure as failures
from relay.core.admission import Admission
from relay.core.alias import Resolver
from relay.core.events import Events
from relay.core.live import CHANNEL_MAX, Live, MediaPorts, told_address
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.playback_session import PLAYBACK, Playback
from relay.core.playhead import Wish
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.core.trace import REQUESTED, Watcher
from relay.hub.merge import Clock
from relay.hub.registry import Registry, StreamEvent
from relay.identity import StreamKey, phone_key
from relay.jt808.messages.video import ResourceList
from relay.settings import Media

log = Logger()

ENDED_KEPT = 200  #: sessions that are over, remembered so that a late question about one is answered
PLAYBACKS_MAX = 1000  #: at a time; each is a media connection and a muxer


class Playbacks:
    """All playback sessions of the process."""

    def __init__(
        self,
        media: Media,
        registry: Registry,
        terminals: Terminals,
        resolver: Resolver,
        admission: Admission,
        live: Live,
        clock: Clock,
        events: Events,
        wall: Callable[[], float],
        ports: MediaPorts,
    ) -> None:
        self.media = media
        self.registry = registry
        self.terminals = terminals
        self.admission = admission
        self.live = live
        self.clock = clock
        self.events = events
        self.wall = wall
        self.ports = ports
        self.counts: Counter[str] = Counter()
        self._resolver = resolver
        self._sessions: dict[str, Playback] = {}  #: by id, oldest first; those that are over, too, for a while
        self._closed = False
        #: whether a terminal plays back beside live, and who wants to know when that is learnt; ``core.quirks`` keeps it
        self.beside: Callable[[Terminal], bool | None] = lambda terminal: terminal.playback_beside_live
        self.on_learnt: Callable[[str, bool], object] = lambda sim, beside: None
        live.held_back = self._hinders_live
        self._undo = [registry.observe(self._on_stream), terminals.watch(self._on_terminal)]

    # ---- for those who want one ------------------------------------------------------------------------------------------

    def start(
        self, name: str, channel: int, wish: Wish, purpose: str = "viewer", who: str = "", timeout_s: float | None = None, replace: bool = False
    ) -> Deferred[Playback]:
        """Ask a terminal (by any of its names) to play a recording of a channel.

        Fires when there is a picture to begin with (sound, where no picture comes); fails with StartFailed. It is stopped when nobody has acquired it
        for ``media.idle_stop_s``. ``replace``: a session of the same channel ends first. Cancelling the Deferred stops it.
        """
        return self._resolver.resolve(name).addCallback(lambda sim: self._start(name, sim, channel, wish, purpose, who, timeout_s, replace))

    def _start(
        self, name: str, sim: str | None, channel: int, wish: Wish, purpose: str, who: str, timeout_s: float | None, replace: bool
    ) -> Deferred[Playback]:
        key = StreamKey(sim or phone_key(name), channel, PLAYBACK, secrets.token_hex(6))
        terminal = self.terminals.get(key.sim)
        problem: StartFailed | None = None
        if self._closed:
            problem = failures.ended(key.sim, channel, "the relay stops", None)
        elif sim is None:
            problem = failures.unknown_terminal(name)
        elif not 1 <= channel <= CHANNEL_MAX or (terminal is not None and not terminal.has_channel(channel)):
            problem = failures.unknown_channel(key.sim, channel, terminal.told_channels() if terminal is not None else [])
        elif terminal is None or not terminal.online:
            problem = failures.offline(key.sim, self.terminals.why_offline(key.sim))
        elif sum(1 for _ in self.running()) >= PLAYBACKS_MAX:
            problem = failures.too_many(PLAYBACKS_MAX)
        else:
            problem = self._conflict(key, terminal, replace)
        if problem is None:
            _, problem = self.live.allowance(key, "", "playback")
        if problem is not None:
            self.failed(key, problem)
            return fail(problem)
        session = self._sessions[key.id] = Playback(self, key, wish, purpose, who)
        self.counts["started"] += 1
        self._forget_old()
        return session.start(timeout_s if timeout_s is not None else self.media.start_timeout_s)

    def _conflict(self, key: StreamKey, terminal: Terminal, replace: bool) -> StartFailed | None:
        other = self.of_channel(key.sim, key.channel)
        if other is not None:
            if not replace and not other.stopping:
                message = f"Channel {key.channel} of terminal {key.sim} is playing back already, for {other.who or other.purpose} (playback {other.id})."
                hint = "A terminal plays one recording of a channel at a time: watch that one, or start with \"replace\": true."
                return StartFailed(409, "playback_running", message, hint, REQUESTED)
            other.finish("another playback takes its place", tell=not other.stopping)
        live = self.live.channel(key.sim, key.channel)
        if self.beside(terminal) is False and live is not None and live.leases:
            message = f"Channel {key.channel} of terminal {key.sim} is being watched live, and this terminal does not play back beside live."
            return StartFailed(409, "live_running", message, "Stop live of the channel first (DELETE …/live).", REQUESTED)
        return None

    def acquire(
        self, ident: str, media: str = "av", purpose: str = "viewer", who: str = "", timeout_s: float | None = None, watch: Watcher | None = None
    ) -> Deferred[Lease]:
        """A viewer's reference to a session; fires when ``lease.stream`` has something to begin with, fails with StartFailed."""
        session = self._sessions.get(ident)
        if session is None or session.over or session.stopping:
            return fail(no_session(ident, session))
        return session.acquire(media, purpose, who, timeout_s if timeout_s is not None else self.media.start_timeout_s, watch)

    def get(self, ident: str) -> Playback | None:
        """A session, running or over not long ago."""
        return self._sessions.get(ident)

    def need(self, ident: str) -> Playback:
        """A session that runs; raises StartFailed (404, 410)."""
        session = self._sessions.get(ident)
        if session is None or session.over:
            raise no_session(ident, session)
        return session

    def of_channel(self, sim: str, channel: int) -> Playback | None:
        """The session of a channel: 0x9202, and superiors, know no other name for it."""
        key = phone_key(sim)
        return next((each for each in self.running() if each.key.sim == key and each.key.channel == channel), None)

    def running(self) -> Iterator[Playback]:
        """Those that are not over, oldest first."""
        return (each for each in list(self._sessions.values()) if not each.over)

    def all(self) -> list[Playback]:
        """Those that are over, too, newest first."""
        return list(reversed(self._sessions.values()))

    # ---- for the sessions ---------------------------------------------------------------------------------------------------

    def failed(self, key: StreamKey, problem: StartFailed) -> None:
        """A start did not succeed: count it, tell it."""
        self.counts[f"failed: {problem.code}"] += 1
        log.info("{key}: no playback, {code}: {message}", key=f"{key.sim}_{key.channel}", code=problem.code, message=problem.message)
        self.events.publish("playback.start_failed", sim=key.sim, channel=key.channel, code=problem.code, hop=problem.hop, message=problem.message)

    def told_address(self, terminal: Terminal) -> tuple[str, int, int]:
        """Where this terminal is told to send: host, TCP port, UDP port."""
        return told_address(self.media, self.ports, terminal)

    def learnt(self, sim: str, beside: bool) -> None:
        """This terminal plays back beside live of the same channel, or does not."""
        terminal = self.terminals.get(sim)
        if terminal is not None and terminal.playback_beside_live is not beside:
            terminal.playback_beside_live = beside
            self.on_learnt(sim, beside)
            log.info("{sim} {can} play back a channel that is live", sim=sim, can="can" if beside else "cannot")

    def _hinders_live(self, key: StreamKey) -> str:
        terminal = self.terminals.get(key.sim)
        if terminal is None or self.beside(terminal) is not False:
            return ""
        session = self.of_channel(key.sim, key.channel)
        return f"it is playing back for {session.who or session.purpose} (playback {session.id})" if session is not None else ""

    def claim(self, sim: str, reply_serial: int, message: ResourceList) -> bool:
        """A 0x1205 that comes after a 0x0001 has answered the 0x9201 already."""
        return any(each.key.sim == sim and each.listed(reply_serial, message) for each in self.running())

    def _forget_old(self) -> None:
        over = [ident for ident, session in self._sessions.items() if session.over]
        for ident in over[: max(0, len(over) - ENDED_KEPT)]:
            del self._sessions[ident]

    # ---- what happens -----------------------------------------------------------------------------------------------------------

    def _on_stream(self, event: StreamEvent) -> None:
        key = event.key
        if key.kind == "live":
            if event.name == "lost":
                session = self.of_channel(key.sim, key.channel)
                if session is not None:
                    session.live_lost(event.detail)
            return
        session = self._sessions.get(key.id) if key.kind == PLAYBACK else None
        if session is None or session.over:
            return
        if event.name == "connected":
            session.media_came()
        elif event.name in ("first_key_frame", "audio_ready"):
            session.picture_came(event.detail)
        elif event.name == "lost":
            session.lost(event.detail)
        elif event.name == "ended":
            session.finish(event.detail)  # by somebody else: an operator, a limit

    def _on_terminal(self, what: str, terminal: Terminal) -> None:
        for session in list(self.running()):
            if what == "offline" and session.key.sim == terminal.sim:
                session.terminal_offline(terminal.offline_reason)

    def close(self, why: str = "the relay stops") -> None:
        """Tell every terminal that plays to stop; nothing is waited for. Call it before the links are closed."""
        if self._closed:
            return
        self._closed = True
        for session in list(self.running()):
            session.finish(why)
        for undo in self._undo:
            undo()


def no_session(ident: str, session: Playback | None = None) -> StartFailed:
    """404, or 410 for one that is over."""
    if session is None:
        return StartFailed(404, "unknown_playback", f"There is no playback {ident}.", "POST …/channels/{ch}/playback starts one.", REQUESTED)
    return StartFailed(410, "playback_ended", f"Playback {ident} is over: {session.ended}.", "Start another one.", REQUESTED)
