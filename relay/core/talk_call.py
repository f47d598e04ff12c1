"""The terminal's side of a talk, a listening or a broadcast: asked for by 0x9101, joined by its connection, ended by 0x9102 and watched until it is.

    ASKED       0x9101 was sent. its connection comes → CONNECTED. refused, no connection in time → OVER
    CONNECTED   sound goes both ways (talk), up (listen), down (broadcast). connection lost → OVER. nobody left → ENDING
    ENDING      0x9102 was sent (command 4 for a talk, 0 for the others, or what the quirk says). connection closed, or quiet → OVER;
                packets go on → told again (``live_stop``), at last the connection is closed and an alarm raised → OVER
    OVER        nothing is left of it

Answers to 0x9102 are ignored: only the connection tells. A terminal whose signalling link is lost goes on talking.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core import live_failure as failures
from relay.core.events import iso_time
from relay.core.link import RefusedError, RequestError, TerminalOfflineError
from relay.core.live_failure import StartFailed
from relay.core.live_stop import LOOK_S, Judgement, StopWatch
from relay.core.trace import ANSWERED, CONNECTED, FIRST_PACKET, SENT, Trace
from relay.hub.merge import DelayedCall
from relay.hub.voice import USUAL, Uplink, Voice, voice_of_attributes, why_not
from relay.jt808.messages.base import Body
from relay.jt808.messages.video import AvCommand, AvDataType, RealtimeAvControl, RealtimeAvRequest
from relay.jt1078.assembly import RawFrame
from relay.jt1078.packet import sim_field

if TYPE_CHECKING:
    from relay.core.talk import Talk, Talks
    from relay.core.talk_link import TalkLink

log = Logger()

TALK, LISTEN, BROADCAST = "talk", "listen", "broadcast"
DATA_TYPES = {TALK: AvDataType.TALK, LISTEN: AvDataType.LISTEN, BROADCAST: AvDataType.BROADCAST}

SETTLE_S = 3.0  #: after connecting: a terminal that has sent nothing by then is a silent one
QUIET_LOOK_S = 5.0  #: how often it is looked whether the terminal still sends


class CallState(enum.Enum):
    """See the module's table."""

    ASKED = "asked"
    CONNECTED = "connected"
    ENDING = "ending"
    OVER = "over"


class Call:
    """One terminal in a call."""

    def __init__(self, owner: Talks, sim: str, channel: int, mode: str, port: int, own_port: bool) -> None:
        self.sim = sim
        self.channel = channel
        self.mode = mode
        self.port = port  #: where it is told to connect to
        self.own_port = own_port  #: nobody else is
        self.state = CallState.ASKED
        self.host = ""  #: the terminal's signalling address
        self.link: TalkLink | None = None
        self.voice: Voice | None = None  #: what the terminal is spoken to in; None for listening
        self.problem = ""  #: why it cannot be spoken to
        self.members: list[Talk] = []
        self.trace = Trace(sim, channel, owner.clock.seconds(), owner.wall(), purpose=mode)
        self.since = owner.wall()
        self.bytes_out = 0
        self.bytes_in = 0
        self.uplink = Uplink(owner.quirks.get(sim, "audio.g726_order", "auto"))
        self._owner = owner
        self._ready: Deferred[Call] | None = None
        self._timer: DelayedCall | None = None
        self._stopping = StopWatch()
        self._told = ""
        self._settled = False
        self._field = b""

    # ---- what is known --------------------------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """For the API."""
        link = self.link
        voice = self.voice or self.uplink.voice
        return {
            "sim": self.sim, "channel": self.channel, "mode": self.mode, "state": self.state.value, "peer": link.peer if link is not None else "",
            "port": self.port, "codec": voice.codec if voice is not None else "", "block_ms": voice.block_ms if voice is not None else None,
            "bytes_in": self.bytes_in + (link.bytes_in if link is not None else 0), "bytes_out": self.bytes_out, "since": iso_time(self.since),
            "problem": self.problem or self.uplink.problem,
        }  # fmt: skip

    def known_voice(self) -> Voice:
        """What it most likely plays, before it has said anything: learnt, told by 0x1003, or usual."""
        kept = self._owner.quirks.get(self.sim, "talk.voice")
        if isinstance(kept, dict):
            return Voice.of_dict(kept)
        terminal = self._owner.terminals.get(self.sim)
        if terminal is not None and terminal.av is not None:
            told = voice_of_attributes(terminal.av.audio_encoding, terminal.av.audio_sample_rate, terminal.av.audio_frame_length)
            if not why_not(told):
                return told
        return USUAL

    def field(self) -> bytes:
        """The SIM field of packets to a terminal that has not sent any."""
        if not self._field:
            terminal = self._owner.terminals.get(self.sim)
            digits = str(self._owner.quirks.get(self.sim, "sim_field", "")) or (terminal.phone.lstrip("0") if terminal is not None else self.sim)
            width = self._owner.quirks.get(self.sim, "sim_bytes", 10 if len(digits) > 12 else 6)
            self._field = sim_field(digits[-2 * width :], width)
        return self._field

    # ---- starting -------------------------------------------------------------------------------------------------------------

    def start(self, timeout_s: float) -> Deferred[Call]:
        """Send 0x9101; fires when the terminal has connected, or fails with StartFailed."""
        ready: Deferred[Call] = Deferred(lambda _: self.finish("the one who asked went away"))
        self._ready = ready
        owner = self._owner
        terminal = owner.terminals.get(self.sim)
        if terminal is None or terminal.link is None:
            self._fail(failures.offline(self.sim, owner.terminals.why_offline(self.sim), self.trace))
            return ready
        self.host = terminal.link.wire.host
        address = owner.media.advertise or terminal.link.wire.local
        if not address or not self.port:
            self._fail(failures.no_address(self.sim, self.trace) if self.port else failures.no_talk_port(self.sim, self.trace))
            return ready
        self._told = f"{address}:{self.port}"
        self._timer = owner.clock.callLater(timeout_s, self._expired)
        request = RealtimeAvRequest(
            server_ip=address, tcp_port=self.port, udp_port=0, channel=self.channel, data_type=DATA_TYPES[self.mode], stream_type=0
        )
        repeats = None if terminal.link.wire.transport == "udp" else 0
        waiting = owner.terminals.request(self.sim, request, timeout_s, repeats)
        self.trace.mark(SENT, owner.clock.seconds(), self._told)
        waiting.addCallbacks(self._answered, self._not_answered)
        return ready

    def _answered(self, reply: Body) -> None:
        self.trace.mark(ANSWERED, self._owner.clock.seconds())

    def _not_answered(self, failure: Failure) -> Failure | None:
        problem = failure.value
        if not isinstance(problem, RequestError):
            return failure
        self.trace.note(problem.message, self._owner.clock.seconds())
        if self.state is CallState.ASKED and isinstance(problem, RefusedError):
            self._fail(failures.talk_refused(self.sim, self.mode, problem.result, self.trace))
        elif self.state is CallState.ASKED and isinstance(problem, TerminalOfflineError):
            self._fail(failures.offline(self.sim, self._owner.terminals.why_offline(self.sim), self.trace))
        return None

    def _expired(self) -> None:
        self._timer = None
        owner = self._owner
        seconds = owner.clock.seconds() - self.trace.started
        silent = owner.unidentified(self.host)
        if silent:
            problem = failures.no_packet(self.sim, silent, self.trace)
        elif not self.trace.reached(ANSWERED):
            problem = failures.no_answer(self.sim, seconds, self.trace)
        else:
            problem = failures.no_connection(self.sim, self._told, self.host, seconds, self.trace)
        self._say_close()  # it may still come: what it would begin is not wanted any more
        self._fail(problem)

    def _fail(self, problem: StartFailed) -> None:
        self.trace.failure = problem.code
        ready, self._ready = self._ready, None
        self._over(problem.message)
        if ready is not None:
            ready.errback(problem)

    # ---- its connection ---------------------------------------------------------------------------------------------------------

    def joined(self, link: TalkLink) -> None:
        """Its connection is here."""
        now = self._owner.clock.seconds()
        old, self.link = self.link, link
        link.call = self
        if old is not None:
            self.bytes_in += old.bytes_in
            old.close()
            return
        self._cancel()
        self.trace.mark(CONNECTED, now, f"{link.transport} {link.peer}")
        self.state = CallState.CONNECTED
        self._timer = self._owner.clock.callLater(SETTLE_S, self._settle)
        if self.mode != LISTEN:
            self.speak_as(self.known_voice())
        log.info("{sim} channel {channel}: {mode} with {peer}", sim=self.sim, channel=self.channel, mode=self.mode, peer=link.peer)
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.callback(self)

    def speak_as(self, voice: Voice) -> None:
        """The terminal is spoken to like this from now on."""
        if voice == self.voice:
            return
        problem = why_not(voice)
        if problem:
            self.problem = problem
            log.warn("{sim}: it cannot be spoken to: {problem}", sim=self.sim, problem=problem)
            return
        self.problem = ""
        self.voice = voice
        for member in self.members:
            member.voice_changed(self)

    def heard(self, raw: RawFrame, now: float) -> None:
        """A block of the terminal's sound."""
        self.trace.mark(FIRST_PACKET, now)
        before = self.uplink.voice
        sound = self.uplink.feed(raw, now)
        if self.uplink.voice is not before and self.uplink.voice is not None and self.mode == TALK:
            self.speak_as(self.uplink.voice)
        if sound:
            for member in list(self.members):
                member.hear(sound)

    def said(self, block: bytes, ms: int) -> None:
        """A block for the terminal's loudspeaker."""
        if self.link is not None and self.voice is not None and self.state is CallState.CONNECTED:
            self.bytes_out += self.link.block(block, ms, self.channel, self.voice.pt, self.field())

    def _settle(self) -> None:
        """It has had time to send: what it is like is worth keeping."""
        self._timer = None
        link, quirks = self.link, self._owner.quirks
        if link is None or self.state is not CallState.CONNECTED:
            return
        if self.mode == TALK and (not link.packets or quirks.get(self.sim, "talk.silent")):
            quirks.learn(self.sim, "talk.silent", not link.packets)
        if link.sim_bytes:
            quirks.learn(self.sim, "sim_bytes", link.sim_bytes)
        if self.uplink.voice is not None and self.uplink.config is not None and self.mode == TALK:
            quirks.learn(self.sim, "talk.voice", self.uplink.voice.as_dict())
        self._quiet(link.packets, self._owner.clock.seconds())

    def _quiet(self, packets: int, since: float) -> None:
        """CONNECTED: a terminal that has sent and does no longer is gone, though its connection looks alive (a tunnel, a dead battery)."""
        self._timer = None
        link, now = self.link, self._owner.clock.seconds()
        if link is None or self.state is not CallState.CONNECTED:
            return
        if link.packets != packets or self.mode == BROADCAST or not packets:
            packets, since = link.packets, now
        elif now >= since + self._owner.media.silent_timeout_s:
            self._say_close()
            self._over(f"the terminal has sent nothing for {now - since:.0f} s")
            return
        self._timer = self._owner.clock.callLater(QUIET_LOOK_S, self._quiet, packets, since)

    def lost(self, link: TalkLink, reason: str) -> None:
        """Its connection is gone."""
        if link is not self.link:
            return
        self.bytes_in += link.bytes_in
        self.link = None
        if self.state is CallState.ENDING:
            self._over("ended")
        elif self.state is CallState.CONNECTED:
            self._over(f"the terminal's connection was lost: {reason}")

    # ---- ending -------------------------------------------------------------------------------------------------------------------

    def leave(self, member: Talk, why: str) -> None:
        """One who took part does no longer; the last one ends it."""
        if member in self.members:
            self.members.remove(member)
        if not self.members:
            self.end(why)

    def end(self, why: str) -> None:
        """Tell the terminal, and see that it stops."""
        if self.state in (CallState.ENDING, CallState.OVER):
            return
        self._cancel()
        if not self._say_close() or self.link is None:
            self._over(why)
            return
        self.state = CallState.ENDING
        self._stopping.begin(self._owner.clock.seconds(), self.link.packets)
        self._stopping.say(self._owner.clock.seconds())
        self._timer = self._owner.clock.callLater(LOOK_S, self._watch)

    def _say_close(self) -> bool:
        """0x9102: command 4 closes a talk, 0 the others; some terminals have it the other way. 0 would end a picture of the channel too: while that is
        watched the connection is closed without a word (False)."""
        name, usual = ("talk.close_command", AvCommand.CLOSE_TALK) if self.mode == TALK else ("broadcast.close_command", AvCommand.CLOSE)
        command = self._owner.quirks.get(self.sim, name, int(usual))
        if command == AvCommand.CLOSE and self._owner.watched(self.sim, self.channel):
            return False
        close = RealtimeAvControl(channel=self.channel, command=command)

        def unanswered(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, RequestError):
                return failure
            self.trace.note(f"0x9102: {failure.value.message}", self._owner.clock.seconds())
            return None

        if self._owner.terminals.is_online(self.sim):
            self._owner.terminals.request(self.sim, close, repeats=0).addErrback(unanswered)
        return True

    def _watch(self) -> None:
        self._timer = None
        link = self.link
        if link is None:
            self._over("ended")
            return
        judgement = self._stopping.look(self._owner.clock.seconds(), link.packets)
        if judgement is Judgement.QUIET:
            self._over("ended")
            return
        if judgement is Judgement.GIVE_UP:
            what = "it was told to end the call and went on; its connection was closed"
            log.warn("{sim} channel {channel}: {what}", sim=self.sim, channel=self.channel, what=what)
            self._owner.events.publish("talk.not_stopped", sim=self.sim, channel=self.channel, told=self._stopping.told, what=what)
            self._over("it did not stop")
            return
        if judgement is Judgement.AGAIN:
            self._stopping.say(self._owner.clock.seconds())
            self._say_close()
        self._timer = self._owner.clock.callLater(LOOK_S, self._watch)

    def finish(self, why: str) -> None:
        """At once: the relay stops, or somebody wants the terminal for something else."""
        if self.state is CallState.OVER:
            return
        if self.state is not CallState.ENDING:
            self._say_close()
        self._over(why)

    def _over(self, why: str) -> None:
        if self.state is CallState.OVER:
            return
        self._cancel()
        self.state = CallState.OVER
        link, self.link = self.link, None
        if link is not None:
            self.bytes_in += link.bytes_in
            link.close()
        self._owner.over(self)
        members, self.members = self.members, []
        for member in members:
            member.call_over(self, why)
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.errback(failures.ended(self.sim, self.channel, why, self.trace))

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
