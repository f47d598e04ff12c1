"""One playback session: asked for (0x9201), controlled (0x9202), watched until it has stopped.

    ==========  ======================================================================================================
    state       what happens to it, and what is ignored in it
    ==========  ======================================================================================================
    REQUESTING  0x9201 was sent. 0x1205 with recordings, or 0x0001: accepted, whichever comes first; both are usual. 0x1205 without any: nothing
                recorded, → ENDED. Refused → ENDED. media → PLAYING. Time → ENDED, with the hop where it stopped.
    PLAYING     media comes. 0x9202 pause → PAUSED. Nothing for END_SILENCE_S, or the terminal closes the connection: the end of the
                recording, → ENDED. Nobody has it for ``idle_stop_s`` (the first viewer may take FIRST_VIEWER_S) → STOPPING.
    PAUSED      no media is expected; resume, speed, key frames and seek → PLAYING.
    STOPPING    0x9202 end was sent; ``live_stop`` judges by the packets, as for live channels. Quiet → ENDED; in vain → the connection is closed.
    ENDED       remembered for questions; everything is ignored.
    ==========  ======================================================================================================

The signalling link may be lost while media comes: only controls fail then.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core import live_failure as failures
from relay.core import playhead
from relay.core.events import iso_time
from relay.core.link import NoReplyError, RefusedError, RequestError, TerminalOfflineError
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.live_stop import LOOK_S, Judgement, StopWatch
from relay.core.playhead import PAUSE, SEEK, Playhead, Wish
from relay.core.state_timer import StateTimer
from relay.core.stored import wire_digits
from relay.core.terminal_state import Terminal, wire_time
from relay.core.trace import ANSWERED, FIRST_KEY_FRAME, REQUESTED, SENT, Trace, Watcher
from relay.hub.merge import DelayedCall
from relay.hub.opening import NotReadyError
from relay.hub.stream import Stream
from relay.identity import StreamKey
from relay.jt808.messages.base import Body
from relay.jt808.messages.video import ResourceList

if TYPE_CHECKING:
    from relay.core.playback import Playbacks

log = Logger()

PLAYBACK = "playback"  #: kind of its StreamKey

END_SILENCE_S = 10.0  #: the terminal sends no more, and keeps the connection: the recording is at its end
AGAIN_S = 2.0  #: after live was stopped for it
FIRST_VIEWER_S = 15.0  #: who asked for it is told where it is, and must come: so long at least it runs before anybody has watched
BESIDE_S = 5.0  #: live and playback of a channel side by side for so long: this terminal can
CLOSED_BY_TERMINAL = "connection closed by the terminal"  #: as ``net.peerlog`` words it; a connection that is reset was lost
AT_ITS_END = "the recording is at its end"


class State(enum.Enum):
    """See the module's table."""

    REQUESTING = "requesting"
    PLAYING = "playing"
    PAUSED = "paused"
    STOPPING = "stopping"
    ENDED = "ended"


class Playback:
    """One session. ``key.id`` is its name everywhere."""

    def __init__(self, owner: Playbacks, key: StreamKey, wish: Wish, purpose: str, who: str) -> None:
        self.key = key
        self.wish = wish
        self.purpose = purpose
        self.who = who
        self.state = State.REQUESTING
        self.ended = ""  #: why it is over
        self.head = Playhead(wish)
        self.leases: set[Lease] = set()
        self.recordings: list[Any] = []  #: of the 0x1205 that answered, if one did
        self.trace = Trace(key.sim, key.channel, owner.clock.seconds(), owner.wall(), "", purpose)
        self.started_at = owner.wall()
        self._owner = owner
        self._serial: int | None = None
        self._told = ""
        self._waiting: list[Deferred[None]] = []  #: for the media connection
        self._start: Deferred[Playback] | None = None
        self._timer = StateTimer(owner.clock)  #: of the state
        self._idle: DelayedCall | None = None  #: nobody has it
        self._watched = False  #: somebody has had it
        self._again: DelayedCall | None = None  #: a second 0x9201
        self._timeout_s = 0.0
        self._live_ended = False  #: live of the same channel, by the terminal or by us, while this was asked for
        self._stopping = StopWatch()
        self._played_at = 0.0  #: when the picture began, to find out about live beside it

    # ---- what is known ----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Its name in URLs."""
        return self.key.id

    @property
    def over(self) -> bool:
        """Nothing happens to it any more."""
        return self.state is State.ENDED

    @property
    def stopping(self) -> bool:
        """It was told to stop."""
        return self.state is State.STOPPING

    def now(self) -> float:
        """Monotonic seconds."""
        return self._owner.clock.seconds()

    def stream(self) -> Stream | None:
        """The hub's stream, if there is one."""
        return self._owner.registry.get(self.key)

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        stream = self.stream()
        position = self.head.position(self.now())
        return {
            "id": self.id,
            "sim": self.key.sim,
            "channel": self.key.channel,
            "state": self.state.value,
            "mode": self.head.mode,
            "speed": self.head.speed,
            **self.wish.criteria.as_dict(),
            "position": wire_time(wire_digits(position)) if position is not None else None,
            "purpose": self.purpose,
            "who": self.who,
            "started": iso_time(self.started_at),
            "viewers": len(self.leases),
            "packets": stream.packets if stream is not None else 0,
            "bytes": stream.received if stream is not None else 0,
            "ended": self.ended,
        }

    def _terminal(self) -> Terminal | None:
        terminal = self._owner.terminals.get(self.key.sim)
        return terminal if terminal is not None and terminal.online else None

    # ---- starting -----------------------------------------------------------------------------------------------------------

    def start(self, timeout_s: float) -> Deferred[Playback]:
        """Ask for it."""
        started = self._start = Deferred(lambda _: self.stop("cancelled"))
        terminal = self._terminal()
        told = self._owner.told_address(terminal) if terminal is not None else ("", 0, 0)
        host, tcp, udp = told
        if terminal is None or terminal.link is None:
            self._fail(failures.offline(self.key.sim, self._owner.terminals.why_offline(self.key.sim), self.trace))
            return started
        if not host or not (tcp or udp):
            self._fail(failures.no_media_port(self.key.sim, self.trace) if host else failures.no_address(self.key.sim, self.trace))
            return started
        self._told = f"{host}:{tcp or udp}"
        self._timer.set(timeout_s, self._expire, timeout_s)
        self._timeout_s = timeout_s
        self._ask()
        return started

    def _ask(self) -> None:
        """Send the 0x9201; what it will bring is expected before."""
        self._again = None
        terminal = self._terminal()
        if self.state is not State.REQUESTING or terminal is None or terminal.link is None:
            return  # the time limit decides
        host, tcp, udp = self._owner.told_address(terminal)
        self._owner.admission.expect(self.key, terminal.link.wire.host, self._timeout_s + 15.0, self.trace)
        request = self.wish.request(host, tcp, udp, self.key.channel)
        repeats = None if terminal.link.wire.transport == "udp" else 0
        asked = self._owner.terminals.request(self.key.sim, request, self._timeout_s, repeats, self._sent)
        self.trace.mark(SENT, self.now(), self._told)
        asked.addCallbacks(self._answered, self._not_answered)

    def _sent(self, serial: int) -> None:
        self._serial = serial

    def _answered(self, reply: Body) -> None:
        if isinstance(reply, ResourceList):
            self._listed(reply)
        else:
            self.trace.mark(ANSWERED, self.now())

    def listed(self, reply_serial: int, message: ResourceList) -> bool:
        """A 0x1205 after a 0x0001: False when it answers another message."""
        if reply_serial != self._serial:
            return False
        self._listed(message)
        return True

    def _listed(self, message: ResourceList) -> None:
        self.trace.mark(ANSWERED, self.now(), f"{len(message.resources)} recordings")
        self.recordings = list(message.resources)[:1000]
        if not message.resources and self.state is State.REQUESTING and self.stream() is None:
            text = f"Terminal {self.key.sim} has no such recording of channel {self.key.channel}."
            self._fail(StartFailed(404, "nothing_recorded", text, "recordings/search lists what it has.", ANSWERED, self.trace))

    def _not_answered(self, failure: Failure) -> Failure | None:
        problem = failure.value
        if isinstance(problem, CancelledError):
            return None
        if not isinstance(problem, RequestError):
            return failure
        self.trace.note(problem.message, self.now())
        if self.state is not State.REQUESTING or self.stream() is not None:
            return None
        if isinstance(problem, RefusedError):
            self._refused(problem)
        elif not isinstance(problem, TerminalOfflineError | NoReplyError):
            self._fail(failures.busy(self.key.sim, problem.message, self.trace))
        return None  # silence, or a lost link: media may come all the same, and the time limit decides

    def _refused(self, problem: RefusedError) -> None:
        self.trace.mark(ANSWERED, self.now(), f"refused, result {problem.result}")
        live = self._owner.live.channel(self.key.sim, self.key.channel)
        hint = "Another platform may be playing back, or its card be missing."
        if live is not None and live.stream() is not None and not self._live_ended:
            if not live.leases:  # nobody watches it: does that help?
                self._live_ended = True
                live.stop("a playback of the channel begins")
                self._again = self._owner.clock.callLater(AGAIN_S, self._ask)
                return
            hint = "Live of the same channel runs, and some terminals cannot do both: try again without it."
        text = f"Terminal {self.key.sim} refused playback of channel {self.key.channel}: result {problem.result}."
        self._fail(StartFailed(409 if problem.result == 1 else 502, "refused_by_terminal", text, hint, ANSWERED, self.trace))

    def media_came(self) -> None:
        """A source was admitted."""
        self._owner.admission.forget(self.key)
        stream = self.stream()
        if self.state is not State.REQUESTING or stream is None:
            return
        self._pace()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def picture_came(self, detail: str) -> None:
        """The first key frame, or the first sound where there is no picture."""
        if self.state is not State.REQUESTING:
            return
        self.trace.mark(FIRST_KEY_FRAME, self.now(), detail)
        self.state = State.PLAYING
        if self._live_ended:
            self._owner.learnt(self.key.sim, False)
        self._played_at = self.now()
        self.head.begin(self._played_at)
        self._timer.set(LOOK_S, self._look)
        log.info("{key}: channel {channel} of {sim} plays back: {codec} ({steps})", key=str(self.key), channel=self.key.channel,
                 sim=self.key.sim, codec=detail, steps=self.trace.describe())  # fmt: skip
        self._tell("playback.started")
        started, self._start = self._start, None
        if not self.leases:
            self._unwanted()
        if started is not None:
            started.callback(self)

    def _expire(self, seconds: float) -> None:
        stream, trace, sim = self.stream(), self.trace, self.key.sim
        terminal = self._terminal()
        if stream is not None:
            self._fail(failures.no_key_frame(sim, self.key.channel, seconds, stream.packets, trace))
        elif terminal is None or terminal.link is None:
            self._fail(failures.offline(sim, self._owner.terminals.why_offline(sim), trace))
        elif not trace.reached(ANSWERED):
            self._fail(failures.no_answer(sim, seconds, trace, "0x9201"))
        else:
            self._fail(failures.no_connection(sim, self._told, terminal.link.wire.host, seconds, trace))

    def _fail(self, problem: StartFailed) -> None:
        self.trace.failure = problem.code
        self._owner.failed(self.key, problem)
        started, self._start = self._start, None
        self.finish(problem.message, tell=problem.code not in ("nothing_recorded", "refused_by_terminal"))
        if started is not None:
            started.errback(problem)

    # ---- those who watch ------------------------------------------------------------------------------------------------------

    def acquire(self, media: str, purpose: str, who: str, timeout_s: float, watch: Watcher | None) -> Deferred[Lease]:
        """A reference; see ``Playbacks.acquire``."""
        lease = Lease(self, "", media, purpose, who)
        lease.trace = self.trace
        self.leases.add(lease)
        self._watched = True
        self._wanted()
        if watch is not None and self.state is State.REQUESTING:
            self.trace.watch(watch)
        stream = self.stream()
        if stream is not None:
            ready = stream.wait_ready(media, timeout_s)
        else:
            ready = Deferred(lambda waiting: self._waiting.remove(waiting))
            self._waiting.append(ready)
            ready.addCallback(lambda _: self._now_ready(media, timeout_s))
        ready.addCallbacks(lambda _: self._leased(lease), lambda failure: self._not_leased(lease, failure, timeout_s))
        return ready  # type: ignore[return-value]  # the callbacks made it one of leases

    def _now_ready(self, media: str, timeout_s: float) -> Deferred[None]:
        stream = self.stream()
        return stream.wait_ready(media, timeout_s) if stream is not None else fail(NotReadyError("connected", "it has ended"))

    def _leased(self, lease: Lease) -> Lease:
        lease.stream = self.stream()
        if lease.stream is None or self.over:
            self.leases.discard(lease)
            raise failures.ended(self.key.sim, self.key.channel, self.ended or "it has ended", self.trace)
        return lease

    def _not_leased(self, lease: Lease, failure: Failure, timeout_s: float) -> Failure:
        self.release(lease)
        if not isinstance(failure.value, NotReadyError):
            return failure
        stream = self.stream()
        if self.over or stream is None:
            raise failures.ended(self.key.sim, self.key.channel, self.ended or str(failure.value), self.trace)
        raise failures.no_key_frame(self.key.sim, self.key.channel, timeout_s, stream.packets, self.trace)

    def release(self, lease: Lease) -> None:
        """A viewer has gone."""
        self.leases.discard(lease)
        if not self.leases and self.state in (State.PLAYING, State.PAUSED):
            self._unwanted()

    def _unwanted(self) -> None:
        self._wanted()
        idle_s = self._owner.media.idle_stop_s
        self._idle = self._owner.clock.callLater(idle_s if self._watched else max(idle_s, FIRST_VIEWER_S), self._nobody)

    def _wanted(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _nobody(self) -> None:
        self._idle = None
        self.stop("nobody watches")

    # ---- control -----------------------------------------------------------------------------------------------------------------

    def control(self, action: str, speed: int = 1, time: datetime | None = None, timeout_s: float | None = None) -> Deferred[Playback]:
        """Send a 0x9202 and wait for its 0x0001; fails with a RequestError. ``speed`` is for "speed" and "rewind", ``time`` for "seek"."""
        if self.state not in (State.PLAYING, State.PAUSED):
            return fail(StartFailed(409, "not_playing", f"Playback {self.id} is {self.state.value}.", "Wait until it plays.", REQUESTED))
        message = playhead.control(self.key.channel, action, speed, time)
        if action == SEEK:
            self._expect_jump()
        return self._owner.terminals.request(self.key.sim, message, timeout_s).addCallback(lambda _: self._controlled(action, speed, time))

    def _expect_jump(self) -> None:
        """Media of the new place may come before the 0x0001 does."""
        stream = self.stream()
        jump = getattr(stream.ingest, "jump", None) if stream is not None else None
        if jump is not None:
            jump(self.now())

    def _controlled(self, action: str, speed: int, time: datetime | None) -> Playback:
        if self.state not in (State.PLAYING, State.PAUSED):
            return self
        self.head.change(action, speed, time, self.now())
        if action not in (PAUSE, SEEK):
            self._pace()
        self.state = State.PAUSED if action == PAUSE else State.PLAYING
        stream = self.stream()
        if stream is not None:
            stream.paused = self.state is State.PAUSED
            stream.last_packet = self.now()  # silence counts from here
        self._timer.set(LOOK_S, self._look)
        self._tell("playback.controlled", action=action, speed=self.head.speed, mode=self.head.mode)
        return self

    def _pace(self) -> None:
        """Tell the ingest how the media is to be timed."""
        stream = self.stream()
        pace = getattr(stream.ingest, "pace", None) if stream is not None else None
        if pace is not None:
            pace(self.head.uneven, self.now())

    # ---- its end -----------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """PLAYING: does anything come? Does live go on beside it?"""
        stream = self.stream()
        if stream is None:
            self.finish("its media has ended")
            return
        now = self.now()
        if self.state is State.PLAYING and now - stream.last_packet > END_SILENCE_S:
            self.finish(AT_ITS_END)
            return
        live = self._owner.live.channel(self.key.sim, self.key.channel)
        beside = live.stream() if live is not None else None
        if beside is not None and beside.runs() and now - self._played_at > BESIDE_S and max(now - beside.last_packet, now - stream.last_packet) <= 2 * LOOK_S:
            self._owner.learnt(self.key.sim, True)
        self._timer.set(LOOK_S, self._look)

    def live_lost(self, cause: str) -> None:
        """The terminal has ended live media of the same channel: if playback begins at that moment, this terminal does not do both."""
        live = self._owner.live.channel(self.key.sim, self.key.channel)
        if not cause.startswith(CLOSED_BY_TERMINAL) or live is None or not live.leases:
            return  # the network's doing, or ours: one that nobody watches is told to stop
        if self.state is State.REQUESTING:
            self._live_ended = True
        elif self.state is State.PLAYING and self.now() - self._played_at < BESIDE_S:
            self._owner.learnt(self.key.sim, False)

    def lost(self, cause: str) -> None:
        """The media connection is gone (the hub ends the stream after this)."""
        stream = self.stream()
        if stream is None or self.over:
            return
        ended = self.state in (State.PLAYING, State.PAUSED) and cause.startswith(CLOSED_BY_TERMINAL)
        self.finish(AT_ITS_END if ended else self.ended if self.stopping else f"the media connection was lost: {cause}", tell=False)

    def terminal_offline(self, reason: str) -> None:
        """The signalling link is gone. While media comes nothing changes."""
        if self.state is State.REQUESTING:
            self.trace.note(f"the signalling link was lost: {reason}", self.now())
        elif self.state is State.STOPPING:
            self.finish("the terminal is offline", tell=False)

    def stop(self, why: str) -> None:
        """Tell the terminal to end it, and see that it does."""
        if self.over or self.stopping:
            return
        self._wanted()
        stream = self.stream()
        if stream is None or stream.source is None or self._terminal() is None:
            self.finish(why)
            return
        self.ended = why
        self.head.halt(self.now())
        self.state = State.STOPPING
        self._end_leases(why)
        self._stopping.begin(self.now(), stream.packets)
        self._say_end()
        self._timer.set(LOOK_S, self._watch)

    def _say_end(self) -> None:
        self._stopping.say(self.now())
        self._owner.terminals.request(self.key.sim, playhead.end(self.key.channel), repeats=0).addErrback(self._end_unanswered)

    def _end_unanswered(self, failure: Failure) -> Failure | None:
        if not isinstance(failure.value, RequestError):
            return failure
        self.trace.note(f"0x9202: {failure.value.message}", self.now())
        return None

    def _watch(self) -> None:
        """STOPPING: do the packets end?"""
        stream = self.stream()
        judgement = self._stopping.look(self.now(), stream.packets) if stream is not None and stream.source is not None else Judgement.QUIET
        if judgement is Judgement.QUIET:
            self.finish(self.ended, tell=False)
        elif judgement is Judgement.GIVE_UP:
            told = self._stopping.told
            log.warn("{key} was told to stop {told} times and went on; the connection was closed", key=str(self.key), told=told)
            self._owner.events.publish(
                "stream.not_stopped", sim=self.key.sim, channel=self.key.channel, kind=PLAYBACK, told=told, what="the connection was closed"
            )
            self.finish("it did not stop when told to", tell=False)
        else:
            if judgement is Judgement.AGAIN:
                self._say_end()
            self._timer.set(LOOK_S, self._watch)

    def finish(self, cause: str, tell: bool = True) -> None:
        """It is over now, whatever it was doing; ``tell``: the terminal too (0x9202 end), whose answer is not waited for."""
        if self.over:
            return
        begun = self.state is not State.REQUESTING
        self._timer.cancel()
        self._wanted()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self.head.halt(self.now())
        self.state = State.ENDED
        self.ended = cause
        self._owner.admission.forget(self.key)
        if tell and self._terminal() is not None:
            self._owner.terminals.send(self.key.sim, playhead.end(self.key.channel))
        self._end_leases(cause)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.errback(NotReadyError("connected", cause))
        stream = self.stream()
        if stream is not None:
            stream.end(cause, drain=cause == AT_ITS_END)
        if begun:
            log.info("{key} ended: {cause}", key=str(self.key), cause=cause)
            self._tell("playback.ended", reason=cause)
        started, self._start = self._start, None
        if started is not None:
            started.errback(failures.ended(self.key.sim, self.key.channel, cause, self.trace))

    def _end_leases(self, cause: str) -> None:
        for lease in list(self.leases):
            self.leases.discard(lease)
            if lease.stream is not None:
                lease.end(cause)

    # ---- helpers -------------------------------------------------------------------------------------------------------------------

    def _tell(self, name: str, **more: Any) -> None:
        self._owner.events.publish(name, id=self.id, sim=self.key.sim, channel=self.key.channel, **more)
