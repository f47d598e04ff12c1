"""One channel on demand: asked for when somebody wants it, stopped when nobody does, and watched until it did stop.

    ============  ====================================================================================================
    state         what happens to it, and what is ignored in it
    ============  ====================================================================================================
    IDLE          acquire → REQUESTING. Media that nobody asked for (admitted: after a restart of the relay, or from a
                  terminal whose signalling is elsewhere) → LINGERING, so that it is stopped if nobody wants it; → RUNNING
                  without a timer when its terminal is not ours to stop.
    REQUESTING    0x9101 was sent, or is to be sent when the terminal comes back. media → RUNNING. 0x0001 with result 0: noted;
                  with another result: all who wait fail, → IDLE. Time → asked again. last lease gone → LINGERING.
                  More acquires join: one 0x9101 serves all. A second answer, or one after media came, is ignored.
    RUNNING       media comes. connection lost → REQUESTING with a growing pause, viewers stay. last lease gone → LINGERING.
                  Loss of the signalling link is ignored while media comes.
    LINGERING     nobody wants it, ``idle_stop_s`` runs, anew while a call is made on the channel: 0x9102 would end that too. acquire → RUNNING.
                  time over → STOPPING. connection lost → IDLE.
    STOPPING      0x9102 was sent. ``live_stop`` judges by the packets; quiet, or connection lost → IDLE; in vain → the
                  connection is closed, an alarm raised, → IDLE. acquire → the old source is dropped, REQUESTING. While a
                  call is made on the channel 0x9102 is not repeated, and the connection stays.
                  Answers to 0x9102 are noted and otherwise ignored: only the packets count.
    ============  ====================================================================================================
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core import live_failure as failures
from relay.core.link import BadReplyError, NoReplyError, RefusedError, RequestError, TerminalOfflineError
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.live_leases import MAIN, VIEWER, Leases
from relay.core.live_stop import LOOK_S, Judgement, StopWatch
from relay.core.live_waiting import Waiter, Waiting
from relay.core.state_timer import StateTimer
from relay.core.trace import ANSWERED, CONNECTED, FIRST_KEY_FRAME, SENT, Trace, Watcher
from relay.hub.stream import Stream
from relay.identity import StreamKey
from relay.jt808.messages.base import Body
from relay.jt808.messages.video import AvCommand, AvDataType, RealtimeAvControl, RealtimeAvRequest, StreamType

if TYPE_CHECKING:
    from relay.core.admission import Expected
    from relay.core.live import Live
    from relay.core.terminal_state import Terminal

log = Logger()

TRACES_KEPT = 8  #: starts remembered per channel
EXPECT_S = 30.0  #: how long after a 0x9101 its connection may come
RECOVER_S = (2.0, 5.0, 10.0, 20.0, 30.0)  #: pauses before asking again for a stream that broke off; the last one repeats
SILENT_S = 3.0  #: a terminal that registers anew while its media is silent for so long is asked anew


class State(enum.Enum):
    """See the module's table."""

    IDLE = "idle"
    REQUESTING = "requesting"
    RUNNING = "running"
    LINGERING = "lingering"
    STOPPING = "stopping"


class LiveChannel:
    """The machine of one (SIM, channel)."""

    def __init__(self, owner: Live, key: StreamKey) -> None:
        self.key = key
        self.state = State.IDLE
        self.leases = Leases()  #: of those who wait, too
        self.waiting = Waiting(self, owner.clock)
        self.trace: Trace | None = None  #: of the present or last start
        self.traces: deque[Trace] = deque(maxlen=TRACES_KEPT)
        self.asked_stream = ""  #: "main" or "sub" of the last 0x9101 or switch; "" = never asked
        self.switching = False  #: a switch was sent, and nothing has been seen of it
        self.asked_type = AvDataType.AUDIO_VIDEO
        self.attempts = 0  #: 0x9101s of this start
        self._owner = owner
        self._timer = StateTimer(owner.clock)
        self._expected: Expected | None = None
        self._told = ""  #: address and port named in the last 0x9101
        self._asks = 0  #: answers to older ones are ignored
        self._recovery = 0  #: how often it was asked again since the connection broke
        self._started = False  #: "stream.started" was published
        self._stopping = StopWatch()

    # ---- what is known --------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Monotonic seconds."""
        return self._owner.clock.seconds()

    def stream(self) -> Stream | None:
        """The hub's stream, if there is one."""
        return self._owner.registry.get(self.key)

    def _terminal(self) -> Terminal | None:
        terminal = self._owner.terminals.get(self.key.sim)
        return terminal if terminal is not None and terminal.online else None

    def _source_there(self) -> bool:
        stream = self.stream()
        return stream is not None and stream.source is not None

    # ---- acquire and release ----------------------------------------------------------------------------------------------

    def acquire(self, lease: Lease, timeout_s: float, watch: Watcher | None = None) -> Deferred[Lease]:
        """Fires when a viewer of that lease would get a picture; fails with StartFailed. Cancelling it releases the lease."""
        self.leases.add(lease)
        waiter = self.waiting.join(lease, timeout_s, watch)
        if self.state is State.STOPPING:
            self._drop_source("wanted again")
        if self.state is State.LINGERING:
            self._timer.cancel()
            if self._source_there():
                self.state = State.RUNNING
            elif self._asks and self.now() < self._last_asked() + self._owner.media.start_timeout_s:
                self.state = State.REQUESTING
                self._timer.set(self._last_asked() + self._owner.media.start_timeout_s - self.now(), self._again)
            else:
                self.state = State.IDLE
        if self.state is State.IDLE:
            if self._source_there():
                self.state = State.RUNNING
            else:
                self._tell("stream.not_found", who=lease.who, purpose=lease.purpose)
                self._start(lease)
        if waiter in self.waiting:
            if self.state is State.REQUESTING:
                lease.trace = self.trace
                if watch is not None and self.trace is not None:
                    self.trace.watch(watch)
            self.waiting.look(waiter, self.stream())
            self._arbitrate()
        return waiter.deferred

    def release(self, lease: Lease) -> None:
        """A lease is no longer wanted."""
        self.leases.drop(lease)
        self._tell_viewer(lease, "viewer.ended")
        if self.leases:
            self._arbitrate()
        else:
            if lease.stream is not None and self.state is State.RUNNING:
                self._tell("stream.unwatched")
            self._unwanted()

    def step_down(self, but: Sequence[str]) -> None:
        """The sub stream must do for all, except for these purposes."""
        self.leases.step_down(but)
        self._arbitrate()

    def _tell(self, event: str, **fields: object) -> None:
        self._owner.events.publish(event, sim=self.key.sim, channel=self.key.channel, **fields)

    def _tell_viewer(self, lease: Lease, event: str) -> None:
        if lease.purpose == VIEWER and lease.stream is not None:
            self._tell(event, who=lease.who, peer=lease.peer)

    def _unwanted(self) -> None:
        """Nobody wants it any more."""
        if self.state not in (State.RUNNING, State.REQUESTING):
            return
        if self.state is State.RUNNING and self._terminal() is None and self._owner.media.unrequested == "accept":
            return  # its signalling is elsewhere: not ours to stop
        self.state = State.LINGERING
        self._timer.set(self._owner.media.idle_stop_s, self._nobody)

    def _nobody(self) -> None:
        """Nobody has come."""
        if self._owner.in_call(self.key):
            self._timer.set(max(self._owner.media.idle_stop_s, LOOK_S), self._nobody)
        else:
            self.stop("nobody watches")

    # ---- those who wait -----------------------------------------------------------------------------------------------------

    def ready(self, lease: Lease, stream: Stream) -> None:
        """The picture that it waited for is there."""
        if self.trace is not None and lease.trace is self.trace:
            self.trace.mark(FIRST_KEY_FRAME, self.now(), "" if stream.first_key_frame else "sound only")
            self.trace.failure = ""  # of somebody who waited less long
        self._tell_viewer(lease, "viewer.began")

    def expired(self, waiter: Waiter) -> None:
        """It has waited long enough."""
        self.waiting.fail(waiter, self._diagnose(waiter))
        if self.leases:
            return
        if self.state is State.REQUESTING and not self._owner.in_call(self.key):
            self.stop("the start failed")
        else:
            self._unwanted()

    def failed(self, lease: Lease, problem: StartFailed) -> None:
        """What it waited for will not come."""
        self.leases.drop(lease)
        lease.end(problem.code)
        if problem.trace is not None and not problem.trace.failure:
            problem.trace.failure = problem.code
        self._owner.failed(self.key, problem)

    def _end_all(self, why: str) -> None:
        """Nobody has it any more, whether they still waited or not."""
        self.waiting.fail_all(failures.ended(self.key.sim, self.key.channel, why, self.trace))
        for lease in self.leases:
            self.leases.drop(lease)
            lease.end(why)

    def _diagnose(self, waiter: Waiter) -> StartFailed:
        """At which hop did it stop?"""
        sim, channel = self.key.sim, self.key.channel
        seconds = self.now() - waiter.began
        trace = self.trace or self._new_trace(waiter.lease)
        stream = self.stream()
        if stream is not None and stream.source is not None:
            if waiter.lease.media == "v" and stream.first_sound:
                return failures.only_audio(sim, channel, trace)
            return failures.no_key_frame(sim, channel, seconds, stream.packets, trace)
        terminal = self._terminal()
        if terminal is None or terminal.link is None:
            return failures.offline(sim, self._owner.terminals.why_offline(sim), trace)
        if trace.reached(CONNECTED):
            return failures.no_key_frame(sim, channel, seconds, stream.packets if stream is not None else 0, trace)
        if self._expected is not None and self._expected.seen:
            return failures.wrong_sim(sim, self._expected.seen, trace)
        count = self._owner.unidentified(terminal.link.wire.host)
        if count:
            return failures.no_packet(sim, count, trace)
        if not trace.reached(ANSWERED):
            return failures.no_answer(sim, seconds, trace)
        return failures.no_connection(sim, self._told, terminal.link.wire.host, seconds, trace)

    # ---- starting -----------------------------------------------------------------------------------------------------------

    def _new_trace(self, lease: Lease | None) -> Trace:
        purpose = lease.purpose if lease is not None else "recovery"
        trace = Trace(self.key.sim, self.key.channel, self.now(), self._owner.wall(), self.leases.wanted(self.asked_stream), purpose, self._owner.hop_times)
        self.trace = trace
        self.traces.append(trace)
        return trace

    def _start(self, lease: Lease) -> None:
        """IDLE → REQUESTING."""
        self.asked_stream = ""  # nothing runs: who has no wish gets the sub stream, whatever was sent last
        self.attempts = self._recovery = 0
        self._stopping.forgive()
        self._new_trace(lease)
        self._ask()

    def _last_asked(self) -> float:
        sent = self.trace.at(SENT) if self.trace is not None else None
        return sent if sent is not None else float("-inf")

    def _ask(self) -> None:
        """Send 0x9101. What it will bring is expected before it is sent: media may overtake the answer."""
        trace = self.trace or self._new_trace(None)
        terminal = self._terminal()
        self.state = State.REQUESTING
        if terminal is None or terminal.link is None:
            self._timer.set(RECOVER_S[-1], self._again)  # it is asked as soon as it comes back
            return
        held = self._owner.held_back(self.key)
        if held:
            trace.note(f"not asked: {held}", self.now())
            self._timer.set(RECOVER_S[-1], self._again)
            return
        told = self._owner.told_address(terminal)
        if not told.host or not (told.tcp_port or told.udp_port):
            problem = failures.no_address(self.key.sim, trace) if not told.host else failures.no_media_port(self.key.sim, trace)
            self._timer.cancel()
            self.state = State.IDLE
            self.waiting.fail_all(problem)
            return
        self._told = f"{told.host}:{told.tcp_port or told.udp_port}"
        self._expected = self._owner.admission.expect(self.key, terminal.link.wire.host, EXPECT_S, trace)
        if self.attempts and not self._owner.in_call(self.key):
            # "A second 0x9101 for the same channel … is a restart or is ignored, depending on the device: send 0x9102 command 0 first."
            self._owner.terminals.send(self.key.sim, RealtimeAvControl(channel=self.key.channel, command=AvCommand.CLOSE))
        if self.attempts:
            trace.note(f"asked again, attempt {self.attempts + 1}", self.now())
        self.attempts += 1
        self._asks += 1
        self.asked_stream = self.leases.wanted(self.asked_stream)
        self.switching = False
        self._overrule()
        self.asked_type = self.leases.data_type()
        trace.stream = self.asked_stream
        request = RealtimeAvRequest(
            server_ip=told.host,
            tcp_port=told.tcp_port,
            udp_port=told.udp_port,
            channel=self.key.channel,
            data_type=self.asked_type,
            stream_type=_stream_type(self.asked_stream),
        )
        self._timer.set(self._pause(), self._again)
        # Over TCP nothing gets lost that a repeat could mend, and a terminal that sends without having answered would begin anew.
        repeats = None if terminal.link.wire.transport == "udp" else 0
        waiting = self._owner.terminals.request(self.key.sim, request, self._owner.media.start_timeout_s, repeats)
        trace.mark(SENT, self.now(), self._told)
        waiting.addCallbacks(self._answered, self._not_answered, callbackArgs=(self._asks, trace), errbackArgs=(self._asks, trace))

    def _pause(self) -> float:
        """How long until it is asked again, if no media comes."""
        if self._recovery:
            return RECOVER_S[min(self._recovery, len(RECOVER_S) - 1)]
        return self._owner.media.start_timeout_s

    def _answered(self, reply: Body, asked: int, trace: Trace) -> None:
        trace.mark(ANSWERED, self.now())

    def _not_answered(self, failure: Failure, asked: int, trace: Trace) -> Failure | None:
        problem = failure.value
        if not isinstance(problem, RequestError):
            return failure
        trace.note(problem.message, self.now())
        if asked != self._asks or self.state is not State.REQUESTING or self._source_there():
            return None
        if isinstance(problem, RefusedError):
            trace.mark(ANSWERED, self.now(), f"refused, result {problem.result}")
            self._over(failures.refused(self.key.sim, self.key.channel, problem.result, trace))
        elif not isinstance(problem, TerminalOfflineError | NoReplyError | BadReplyError):
            self._over(failures.busy(self.key.sim, problem.message, trace))
        return None

    def _over(self, problem: StartFailed) -> None:
        """No use in waiting for this one: all who do fail, and nothing is left to be stopped."""
        self._timer.cancel()
        self._owner.admission.forget(self.key)
        stream = self.stream()
        self.state = State.IDLE
        self.waiting.fail_all(problem)
        if stream is not None and self.state is State.IDLE:
            stream.end(problem.message)

    def _again(self) -> None:
        """No media within the pause."""
        if not self.leases:
            self._nobody()
            return
        stream = self.stream()
        if stream is not None and stream.source is not None and self.now() - stream.last_packet < SILENT_S:
            # asked to begin anew, the terminal goes on over the connection it has
            self._owner.admission.forget(self.key)
            self._recovery = 0
            self.state = State.RUNNING
            return
        self._recovery += 1 if self._recovery else 0
        self._ask()

    # ---- from the hub ---------------------------------------------------------------------------------------------------------

    def media_came(self) -> None:
        """A source was admitted."""
        stream = self.stream()
        self._tell("stream.connected", peer=stream.source.peer if stream is not None and stream.source is not None else "")
        self._owner.admission.forget(self.key)
        self._recovery = 0
        if self.state is State.REQUESTING:
            self.state = State.RUNNING
            self._timer.cancel()
        elif self.state is State.IDLE:
            self.state = State.RUNNING
            if not self.leases:
                self.asked_stream = ""
                self._unwanted()
        self.waiting.look_all(stream)

    def picture_came(self, detail: str) -> None:
        """The first key frame of a source, or its first sound where there is no picture."""
        if self.trace is not None and self.state is not State.STOPPING:
            self.trace.mark(FIRST_KEY_FRAME, self.now(), detail)
        if not self._started:
            self._started = True
            steps = f"asked for: {self.trace.describe()}" if self.trace is not None and self._asks else "not asked for"
            log.info("{key} runs: {codec} ({steps})", key=str(self.key), codec=detail, steps=steps)
            self._tell("stream.started", codec=detail)
        self._arbitrate()

    def lost(self, cause: str) -> None:
        """The source's connection is gone."""
        stream = self.stream()
        if self.state is State.RUNNING and self.leases:
            trace = self.trace if self.waiting and self.trace is not None else self._new_trace(None)
            trace.note(f"the media connection was lost: {cause}", self.now())
            self.state = State.REQUESTING
            self._recovery = 1
            terminal = self._terminal()
            if terminal is not None and terminal.link is not None:
                # it may come back by itself, and is as welcome then as if it had been asked
                self._expected = self._owner.admission.expect(self.key, terminal.link.wire.host, EXPECT_S, trace)
            self._timer.set(RECOVER_S[0], self._again)
        elif self.state is not State.REQUESTING and stream is not None:
            stream.end("stopped" if self.state is State.STOPPING else cause)

    def stream_ended(self, cause: str) -> None:
        """The hub's stream is over, by our doing or because its source did not come back in time."""
        for lease in self.leases:
            if lease.stream is None:
                continue
            self.leases.drop(lease)
            self._tell_viewer(lease, "viewer.ended")
            lease.end(cause)
        if self._started:
            self._started = False
            log.info("{key} ended: {cause}", key=str(self.key), cause=cause)
            self._tell("stream.ended", reason=cause)
        if self.waiting and self.state in (State.REQUESTING, State.RUNNING):
            if self.state is State.RUNNING:
                self._ask()
            return
        if self.state is not State.IDLE:
            self._timer.cancel()
            self.state = State.IDLE
            self._owner.admission.forget(self.key)

    # ---- the terminal's coming and going ----------------------------------------------------------------------------------------

    def terminal_online(self) -> None:
        """It has a new signalling link."""
        stream = self.stream()
        if self.state is State.REQUESTING:
            self._ask()
        elif self.state is State.RUNNING and not self.leases:
            self._unwanted()  # media of a terminal that was not online: now it is ours to stop
        elif self.state is State.RUNNING and stream is not None and self.now() - stream.last_packet > SILENT_S:
            self._new_trace(None).note("the terminal registered anew while its media was silent", self.now())
            self.attempts = 0
            self._ask()

    def terminal_offline(self, reason: str) -> None:
        """Its signalling link is gone. While media comes nothing changes."""
        if self.state is State.REQUESTING and self.trace is not None:
            self.trace.note(f"the signalling link was lost: {reason}", self.now())
        elif self.state is State.STOPPING:
            self._drop_source("the terminal is offline")

    # ---- main or sub, picture or both ---------------------------------------------------------------------------------------------

    def _arbitrate(self) -> None:
        """Make what runs what is wanted, where it can be told to the terminal."""
        if self.state is not State.RUNNING or not self.leases or self._terminal() is None:
            return
        if self.asked_stream and self.asked_type is AvDataType.VIDEO and self.leases.data_type() is AvDataType.AUDIO_VIDEO:
            self.restart("sound is wanted too")
            return
        want = self.leases.wanted(self.asked_stream)
        if want == self.asked_stream or self.leases.indifferent():
            return
        self.asked_stream = want
        self.switching = True
        self._overrule()
        switch = RealtimeAvControl(channel=self.key.channel, command=AvCommand.SWITCH_STREAM, stream_type=_stream_type(want))
        self._owner.terminals.request(self.key.sim, switch).addErrback(self._not_switched, want)

    def arbitrate(self, why: str) -> None:
        """The leases need another stream."""
        if self.trace is not None:
            self.trace.note(why, self.now())
        self._arbitrate()

    def _overrule(self) -> None:
        """End those who cannot show what will come."""
        for lease in self.leases:
            if lease.needs in ("", self.asked_stream):
                continue
            if lease.stream is None:
                lease.needs = ""  # it waits still, and is asked again when the picture is there
                continue
            self.leases.drop(lease)
            self._tell_viewer(lease, "viewer.ended")
            lease.end(f"the {self.asked_stream} stream is needed, and it is not H.264")

    def _not_switched(self, failure: Failure, want: str) -> Failure | None:
        problem = failure.value
        if not isinstance(problem, RequestError):
            return failure
        if self.trace is not None:
            self.trace.note(f"switch to {want}: {problem.message}", self.now())
        if isinstance(problem, RefusedError) and self.state is State.RUNNING and self.asked_stream == want:
            self.restart(f"it does not switch to {want} while it sends")
        return None

    def restart(self, why: str) -> None:
        """0x9102 (not while a call is made on the channel) and 0x9101 anew; the viewers stay, the new connection takes the old one's place."""
        trace = self._new_trace(None)
        trace.note(why, self.now())
        self.attempts = 1  # so that 0x9102 goes first
        self._recovery = 1
        self._ask()

    # ---- stopping -------------------------------------------------------------------------------------------------------------------

    def stop(self, why: str) -> None:
        """Tell the terminal to stop, and see that it does."""
        self._timer.cancel()
        self._owner.admission.forget(self.key)
        stream = self.stream()
        self._end_all(why)
        self.state = State.STOPPING
        self._stopping.begin(self.now(), stream.packets if stream is not None else 0)
        if self._terminal() is None:
            self._drop_source(why)
            return
        self._say_stop()
        if stream is None or stream.source is None:
            self._drop_source(why)
            return
        self._timer.set(LOOK_S, self._watch)

    def _say_stop(self) -> None:
        self._stopping.say(self.now())
        close = RealtimeAvControl(channel=self.key.channel, command=AvCommand.CLOSE)
        self._owner.terminals.request(self.key.sim, close, repeats=0).addErrback(self._stop_unanswered)

    def _stop_unanswered(self, failure: Failure) -> Failure | None:
        problem = failure.value
        if not isinstance(problem, RequestError):
            return failure
        if self.trace is not None:
            self.trace.note(f"0x9102: {problem.message}", self.now())
        return None

    def _watch(self) -> None:
        """STOPPING: do the packets end?"""
        stream = self.stream()
        if stream is None or stream.source is None:
            self._drop_source("stopped")
            return
        judgement = self._stopping.look(self.now(), stream.packets)
        if judgement is Judgement.QUIET:
            self._drop_source("stopped")
        elif judgement is Judgement.GIVE_UP:
            self._tell_stubborn("the connection was closed")
            self._drop_source("it did not stop when told to")
        else:
            if judgement is Judgement.AGAIN and not self._owner.in_call(self.key):
                self._say_stop()
            self._timer.set(LOOK_S, self._watch)

    def _drop_source(self, cause: str) -> None:
        """STOPPING → IDLE: nothing of it is left."""
        self._timer.cancel()
        self.state = State.IDLE
        stream = self.stream()
        if stream is not None:
            stream.end(cause)

    def hinders(self) -> str:
        """Why a connection that nobody asked for may not come in; ``""`` = it may."""
        if self.state is State.STOPPING:
            return "the channel is being stopped"
        if self.leases or not self._stopping.stubborn(self.now()):
            return ""
        self._tell_stubborn("it connected again by itself")
        return "it was told to stop and did not"

    def _tell_stubborn(self, what: str) -> None:
        if not self._stopping.may_tell(self.now()):
            return
        log.warn("{key} was told to stop {told} times and went on; {what}", key=str(self.key), told=self._stopping.told, what=what)
        self._owner.terminals.send(self.key.sim, RealtimeAvControl(channel=self.key.channel, command=AvCommand.CLOSE))
        self._tell("stream.not_stopped", told=self._stopping.told, what=what)

    def close(self, why: str) -> None:
        """Shutdown: the terminal is told, nothing is waited for."""
        if self.state is not State.IDLE and self._terminal() is not None:
            self._owner.terminals.send(self.key.sim, RealtimeAvControl(channel=self.key.channel, command=AvCommand.CLOSE))
        self._end_all(why)
        self._drop_source(why)


def _stream_type(name: str) -> StreamType:
    return StreamType.MAIN if name == MAIN else StreamType.SUB
