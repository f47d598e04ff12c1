"""Talking to drivers: two-way talk, listening in, broadcasts to many (0x9101 data types 2, 3, 4), with one microphone each.

    Talk   what a person holds: an id, a mode, a socket that carries PCM both ways, one or more Calls
    Call   one terminal in it (``talk_call``)

A terminal has one call at a time, and a call one microphone: who holds it is visible (``describe``, events), and another who wants it is told who does.
Those who only listen join a talk or a listening that runs. A Talk ends when its socket is gone, when nobody opens it within ATTACH_S, when it is ended by
hand, and when its last call is over.

Sound goes through ``hub.voice``: one Speaker for all calls of a talk that speak the same, so that a broadcast to a hundred terminals is coded once.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, FirstError, fail, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core import live_failure as failures
from relay.core.alias import Resolver
from relay.core.events import Events, iso_time
from relay.core.live_failure import StartFailed
from relay.core.orders import Record
from relay.core.quirks import Quirks
from relay.core.talk_call import BROADCAST, LISTEN, TALK, Call, CallState
from relay.core.talk_link import IDENTIFY_S, SILENT_S, TalkLink, TalkWire
from relay.core.terminals import Terminals
from relay.core.throttle import PeerLog
from relay.hub.merge import Clock, DelayedCall
from relay.hub.voice import DUCK_S, RATE, SPEECH, Limiter, Speaker, Voice, ducked
from relay.identity import StreamKey, phone_key
from relay.settings import Media

log = Logger()

MODES = (TALK, LISTEN, BROADCAST)
ATTACH_S = 20.0  #: a talk whose socket nobody opens by then is ended: the driver hears nobody
REST_S = 10.0  #: a port of its own is not given to the next call before that: a late connection of the former one must not join it
LINKS_MAX = 500  #: connections on talk ports
BROADCAST_MAX = 200  #: terminals of one broadcast
SWEEP_S = 0.5
CHUNK_BYTES = 2 * RATE  #: PCM of one message: a second
#: PCM that may come within a second; a page that sends faster than sound is spoken is broken or hostile
FLOOD_BYTES = 4 * 2 * RATE


class Socket(Protocol):
    """The person's side; ``relay.web.api_talk`` has the WebSocket."""

    def sound(self, pcm: bytes) -> None:
        """PCM of the terminal, 16 bit little-endian, 8 kHz, mono."""

    def tell(self, what: dict[str, Any]) -> None:
        """Something happened: ``{"type": "state", …}``."""

    def finish(self, reason: str) -> None:
        """The talk is over."""


class Talk:
    """One person with a microphone, or with an ear."""

    def __init__(self, owner: Talks, ident: str, mode: str, who: str, attach_s: float) -> None:
        self.id = ident
        self.mode = mode
        self.who = who
        self.calls: list[Call] = []
        self.since = owner.wall()
        self.socket: Socket | None = None
        self.over = ""  #: why it ended
        self._owner = owner
        self._limiter = Limiter()
        self._spoke_at = float("-inf")
        self._speakers: dict[Voice, tuple[Speaker, list[Call]]] = {}
        self._flood_at = 0.0
        self._flood = 0
        self.flooded = 0  #: bytes of PCM not taken
        self.bytes_up = 0
        self._attach: DelayedCall | None = owner.clock.callLater(attach_s, self._unattached)

    @property
    def speaks(self) -> bool:
        """It has a microphone."""
        return self.mode != LISTEN

    def as_dict(self) -> dict[str, Any]:
        """For the API."""
        speakers = [speaker for speaker, _ in self._speakers.values()]
        return {
            "id": self.id, "mode": self.mode, "who": self.who, "since": iso_time(self.since), "attached": self.socket is not None,
            "speaking": any(speaker.speaking for speaker in speakers), "dropped_ms": round(sum(speaker.dropped_ms for speaker in speakers)),
            "held_ms": round(max((speaker.held_ms for speaker in speakers), default=0.0)), "terminals": [call.as_dict() for call in self.calls],
        }  # fmt: skip

    # ---- the person's side ------------------------------------------------------------------------------------------------------

    def attach(self, socket: Socket) -> None:
        """The socket is open. One that comes again (a page reloaded) takes the former one's place."""
        old, self.socket = self.socket, socket
        if self._attach is not None:
            self._attach.cancel()
            self._attach = None
        if old is not None:
            old.finish("opened elsewhere")
        for call in self.calls:
            self._tell(call)

    def detach(self, socket: Socket) -> None:
        """The socket is gone, and with it whoever spoke."""
        if self.socket is socket:
            self.socket = None
            self._owner.end(self.id, "the page has gone")

    def speak(self, sound: bytes) -> None:
        """PCM of the microphone, 16 bit little-endian, 8 kHz, mono; whole samples."""
        if not self.speaks or self.over:
            return
        now = self._owner.clock.seconds()
        if now >= self._flood_at + 1.0:
            self._flood_at, self._flood = now, 0
        self._flood += len(sound)
        if self._flood > FLOOD_BYTES or len(sound) > CHUNK_BYTES:
            self.flooded += len(sound)
            return
        self.bytes_up += len(sound)
        limited = self._limiter.limit(sound)
        if self._limiter.peak >= SPEECH:
            self._spoke_at = now
        for speaker, _ in list(self._speakers.values()):
            speaker.push(limited)

    def _unattached(self) -> None:
        self._attach = None
        self._owner.end(self.id, "nobody opened its socket")

    def _tell(self, call: Call) -> None:
        if self.socket is not None:
            voice = call.voice or call.uplink.voice
            told = {"type": "state", "sim": call.sim, "state": call.state.value, "codec": voice.codec if voice is not None else "", "problem": call.problem}
            self.socket.tell(told)

    # ---- the terminals' side ----------------------------------------------------------------------------------------------------

    def join(self, call: Call) -> None:
        """Take part in a call."""
        self.calls.append(call)
        call.members.append(self)
        self.voice_changed(call)

    def hear(self, sound: bytes) -> None:
        """PCM of a terminal."""
        if self.socket is None:
            return
        if self.speaks and self._owner.clock.seconds() < self._spoke_at + DUCK_S:
            sound = ducked(sound)
        self.socket.sound(sound)

    def voice_changed(self, call: Call) -> None:
        """The call's terminal is spoken to in another voice from now on, or for the first time."""
        if not self.speaks:
            return
        self._silence(call)
        voice = call.voice
        if voice is not None and call.state is CallState.CONNECTED:
            entry = self._speakers.get(voice)
            if entry is None:
                calls: list[Call] = []

                def deliver(block: bytes, ms: int) -> None:
                    for one in list(calls):
                        one.said(block, ms)

                keep = self._owner.quirks.get(call.sim, "talk.keep_ms", 1000)
                entry = self._speakers[voice] = Speaker(voice, self._owner.clock, deliver, keep), calls
            entry[1].append(call)
            entry[0].silence()  # some terminals speak only after they were spoken to
        self._tell(call)

    def _silence(self, call: Call) -> None:
        """No speaker speaks to that call any more."""
        for voice, (speaker, calls) in list(self._speakers.items()):
            if call in calls:
                calls.remove(call)
                if not calls:
                    speaker.close()
                    del self._speakers[voice]

    def call_over(self, call: Call, why: str) -> None:
        """One terminal is out."""
        self._silence(call)
        if call in self.calls:
            self.calls.remove(call)
        if self.socket is not None and not self.over:
            self.socket.tell({"type": "state", "sim": call.sim, "state": "over", "problem": why})
        self._owner.events.publish("talk.left", id=self.id, sim=call.sim, channel=call.channel, mode=self.mode, who=self.who, reason=why)
        if not self.calls and not self.over:
            self._owner.end(self.id, why)

    def finish(self, why: str) -> None:
        """It is over (called by the owner)."""
        self.over = why
        if self._attach is not None:
            self._attach.cancel()
            self._attach = None
        for speaker, _ in self._speakers.values():
            speaker.close()
        self._speakers.clear()
        calls, self.calls = self.calls, []
        for call in calls:
            call.leave(self, why)
        socket, self.socket = self.socket, None
        if socket is not None:
            socket.finish(why)


class Talks:
    """All of them, and the connections on the talk ports."""

    def __init__(
        self,
        media: Media,
        terminals: Terminals,
        resolver: Resolver,
        quirks: Quirks,
        clock: Clock,
        events: Events,
        wall: Callable[[], float],
        new_id: Callable[[], str],
        port: int,
        extra_ports: Sequence[int] = (),
        record: Record | None = None,
        log_peer_s: float = 1.0,
    ) -> None:
        """``new_id`` gives names that cannot be guessed; ``port`` and ``extra_ports`` are the ones really bound, 0 and none where they are not."""
        self.media = media
        self.terminals = terminals
        self.quirks = quirks
        self.clock = clock
        self.events = events
        self.wall = wall
        self.counts: Counter[str] = Counter()  #: for metrics
        #: told of what a call has cost when it is over: (sim, channel, bytes both ways); for budgets
        self.took: Callable[[str, int, int], None] = lambda sim, channel, count: None
        #: whether somebody watches the live picture of a channel
        self.watched: Callable[[str, int], bool] = lambda sim, channel: False
        self._resolver = resolver
        self._new_id = new_id
        self._port = port
        self._extra = OrderedDict((number, float("-inf")) for number in extra_ports)  #: free ports of their own -> when they became free
        self._record = record
        self._talks: dict[str, Talk] = {}
        self._calls: dict[str, Call] = {}  #: by terminal
        self._links: dict[TalkLink, None] = {}
        self._sweep_call: DelayedCall | None = None
        self._peer_log = PeerLog(log, clock.seconds, log_peer_s)
        self._closed = False

    # ---- for people --------------------------------------------------------------------------------------------------------------

    def get(self, ident: str) -> Talk | None:
        """A talk that is not over."""
        return self._talks.get(ident)

    def describe(self) -> list[dict[str, Any]]:
        """Who holds which microphone."""
        return [talk.as_dict() for talk in self._talks.values()]

    def in_call(self, key: StreamKey) -> bool:
        """Whether a call is made, or being made, on this channel."""
        call = self._calls.get(key.sim)
        return call is not None and call.channel == key.channel and call.state in (CallState.ASKED, CallState.CONNECTED)

    @property
    def active(self) -> int:
        """Terminals in a call."""
        return len(self._calls)

    def start(self, name: str, channel: int, mode: str, who: str, timeout_s: float | None = None) -> Deferred[Talk]:
        """Talk to a terminal, listen to it, or speak to it alone; fires when it has connected, or fails with StartFailed."""
        waiting = self._resolver.resolve(name)
        return waiting.addCallback(lambda sim: self._start(name, sim, channel, mode, who, timeout_s))

    def _start(self, name: str, sim: str | None, channel: int, mode: str, who: str, timeout_s: float | None) -> Deferred[Talk]:
        talk: Talk | None = None
        try:
            call = self._call(name, sim, channel, mode)
        except StartFailed as problem:
            return fail(self._failed(phone_key(name), problem))
        if call.state is CallState.CONNECTED:
            talk = self._open(mode, who)
            talk.join(call)
            return succeed(talk)

        def connected(call: Call) -> Talk:
            talk = self._open(mode, who)
            talk.join(call)
            self._began(talk, call)
            return talk

        def failed(failure: Failure) -> Failure:
            if isinstance(failure.value, StartFailed):
                self._failed(call.sim, failure.value)
            return failure

        return call.start(timeout_s if timeout_s is not None else self.media.start_timeout_s).addCallbacks(connected, failed)

    def broadcast(
        self, names: Sequence[str], channel: int, who: str, timeout_s: float | None = None
    ) -> Deferred[tuple[Talk | None, list[dict[str, Any]]]]:
        """One microphone to many. Fires with the talk (None when nobody could be reached) and a result for each terminal, in their order."""
        wanted = list(dict.fromkeys(names))
        if len(wanted) > BROADCAST_MAX:
            text = f"{len(wanted)} terminals; a broadcast reaches {BROADCAST_MAX} at most."
            return fail(StartFailed(400, "too_many", text, "Send it to some after the others."))
        return self._resolve_all(wanted).addCallback(lambda sims: self._broadcast(wanted, sims, channel, who, timeout_s))

    def _resolve_all(self, names: Sequence[str]) -> Deferred[list[str | None]]:
        def unwrapped(failure: Failure) -> Failure:
            return failure.value.subFailure if isinstance(failure.value, FirstError) else failure

        return gatherResults([self._resolver.resolve(name) for name in names], consumeErrors=True).addErrback(unwrapped)

    def _broadcast(
        self, names: Sequence[str], sims: Sequence[str | None], channel: int, who: str, timeout_s: float | None
    ) -> Deferred[tuple[Talk | None, list[dict[str, Any]]]]:
        results: list[dict[str, Any]] = []
        seconds = timeout_s if timeout_s is not None else self.media.start_timeout_s
        talk = self._open(BROADCAST, who, seconds + ATTACH_S)
        starting: list[Deferred[Any]] = []
        for name, sim in zip(names, sims, strict=True):
            result: dict[str, Any] = {"terminal": name, "sim": sim or "", "ok": False, "error": "", "message": ""}
            results.append(result)
            try:
                call = self._call(name, sim, channel, BROADCAST)
            except StartFailed as problem:
                self._failed(sim or phone_key(name), problem)
                result.update(error=problem.code, message=problem.message)
                continue

            def connected(call: Call, result: dict[str, Any] = result) -> None:
                result["ok"] = True
                talk.join(call)
                self._began(talk, call)

            def failed(failure: Failure, result: dict[str, Any] = result) -> Failure | None:
                problem = failure.value
                if not isinstance(problem, StartFailed):
                    return failure
                self._failed(str(result["sim"]), problem)
                result.update(error=problem.code, message=problem.message)
                return None

            starting.append(call.start(seconds).addCallbacks(connected, failed))

        def all_known(_: object) -> tuple[Talk | None, list[dict[str, Any]]]:
            if talk.calls or talk.over:
                return (None if talk.over else talk), results
            self.end(talk.id, "nobody could be reached")
            return None, results

        return DeferredList(starting, consumeErrors=True).addCallback(all_known)

    def end(self, ident: str, why: str = "ended by hand") -> bool:
        """End a talk; False when there is none."""
        talk = self._talks.pop(ident, None)
        if talk is None:
            return False
        sims = [call.sim for call in talk.calls]
        up, down = (sum(call.as_dict()[name] for call in talk.calls) for name in ("bytes_in", "bytes_out"))
        talk.finish(why)
        if self._record is not None:
            words = f"{talk.mode} ended after {self.wall() - talk.since:.0f} s: {why}; {up} bytes from, {down} to the terminals"
            self._record(talk.who, "talk", ",".join(sims)[:200], words)
        self.events.publish("talk.ended", id=talk.id, mode=talk.mode, who=talk.who, reason=why)
        return True

    def _call(self, name: str, sim: str | None, channel: int, mode: str) -> Call:
        """The call to take part in: a new one, or the one that runs when only an ear is wanted. Raises StartFailed."""
        if self._closed:
            raise failures.ended(phone_key(name), channel, "the relay stops", None)
        if sim is None:
            raise failures.unknown_terminal(name)
        if not 1 <= channel <= 255:
            raise failures.unknown_channel(sim, channel, [])
        if not self.terminals.is_online(sim):
            raise failures.offline(sim, self.terminals.why_offline(sim))
        running = self._calls.get(sim)
        if running is not None and running.state is CallState.ENDING:
            running.finish("wanted again")
            running = None
        if running is not None:
            holder = next((member for member in running.members if member.speaks), None)
            joins = mode == LISTEN or (mode == TALK == running.mode and holder is None)  # an ear, or a microphone that nobody holds
            if joins and running.state is CallState.CONNECTED and running.mode != BROADCAST:
                return running
            holder = holder or (running.members[0] if running.members else None)
            raise failures.microphone_taken(sim, running.mode, holder.who if holder is not None else "somebody", iso_time(running.since))
        port, own = self._take_port(sim, mode)
        call = self._calls[sim] = Call(self, sim, channel, mode, port, own)
        self.counts[f"calls: {mode}"] += 1
        return call

    def _take_port(self, sim: str, mode: str) -> tuple[int, bool]:
        """A broadcast's terminals say nothing, and some say nothing at all: those get a port of their own while there are any."""
        if mode == BROADCAST or not self._port or self.quirks.get(sim, "talk.silent", False):
            now = self.clock.seconds()
            for number, free_since in self._extra.items():
                if now >= free_since + REST_S:
                    del self._extra[number]
                    return number, True
        return self._port, False

    def _open(self, mode: str, who: str, attach_s: float = ATTACH_S) -> Talk:
        talk = Talk(self, self._new_id(), mode, who, attach_s)
        self._talks[talk.id] = talk
        return talk

    def _began(self, talk: Talk, call: Call) -> None:
        if self._record is not None:
            self._record(talk.who, "talk", f"{call.sim}_{call.channel}", f"{talk.mode} began")
        self.events.publish("talk.began", id=talk.id, sim=call.sim, channel=call.channel, mode=talk.mode, who=talk.who)

    def _failed(self, sim: str, problem: StartFailed) -> StartFailed:
        self.counts[f"failed: {problem.code}"] += 1
        log.info("{sim}: no call, {code}: {message}", sim=sim, code=problem.code, message=problem.message)
        return problem

    # ---- for the calls ---------------------------------------------------------------------------------------------------------------

    def over(self, call: Call) -> None:
        """Nothing is left of a call."""
        if self._calls.get(call.sim) is call:
            del self._calls[call.sim]
        if call.own_port:
            self._extra[call.port] = self.clock.seconds()
        self.took(call.sim, call.channel, call.bytes_in + call.bytes_out)

    def unidentified(self, host: str) -> int:
        """Connections from that address that belong to no call."""
        return sum(link.host == host and link.call is None for link in self._links)

    # ---- the connections -----------------------------------------------------------------------------------------------------------------

    def connected(self, wire: TalkWire, port: int) -> TalkLink | None:
        """A new connection on a talk port; None when it is not to be served."""
        if self._closed or len(self._links) >= LINKS_MAX:
            self.counts["connections refused"] += 1
            return None
        link = TalkLink(self, wire, port, self.clock.seconds())
        owners = [call for call in self._calls.values() if call.own_port and call.port == port]
        if port != self._port and not owners:
            self.counts["connections refused"] += 1
            self.complain(link, "nobody is called on this port; closed")
            return None
        self._links[link] = None
        if owners and owners[0].host == link.host:
            owners[0].joined(link)
        elif self._sweep_call is None:
            self._sweep_call = self.clock.callLater(SWEEP_S, self._sweep)
        return link

    def introduced(self, link: TalkLink, channel: int) -> None:
        """The first packet of a connection has come."""
        if link.call is not None:
            return
        terminal = self._resolver.whose_media(link.sim)
        sim = terminal.sim if terminal is not None else phone_key(link.sim)
        call = self._calls.get(sim)
        if call is None:
            meant = self._waiting(link)
            call = meant[0] if len(meant) == 1 and terminal is None else None
            if call is not None:
                call.trace.note(f"its packets say SIM {link.sim}; joined by its address", self.clock.seconds())
                self.quirks.learn(call.sim, "sim_field", link.field.hex())
        if call is None or call.state in (CallState.ENDING, CallState.OVER) or (call.own_port and call.port != link.port):
            self.counts["connections refused"] += 1
            self.events.publish("talk.refused", sim=sim, channel=channel, peer=link.peer, reason="nobody called it")
            self.complain(link, f"{link.sim} channel {channel}: nobody called it; closed")
            link.close()
            return
        call.joined(link)

    def _waiting(self, link: TalkLink) -> list[Call]:
        """Calls that this connection may be the answer to, going by its address and port."""
        return [call for call in self._calls.values() if call.state is CallState.ASKED and call.host == link.host and call.port == link.port]

    def _sweep(self) -> None:
        """Connections that say nothing."""
        self._sweep_call = None
        now = self.clock.seconds()
        anonymous = [link for link in self._links if link.call is None and not link.closed]
        for link in anonymous:
            if not link.sim and now >= link.made + SILENT_S:
                meant = self._waiting(link)
                others = [other for other in anonymous if other.host == link.host and other.port == link.port]
                if len(meant) == 1 and len(others) == 1:
                    meant[0].trace.note("it says nothing; joined by its address", now)
                    meant[0].joined(link)
                    continue
            if now >= link.made + IDENTIFY_S:
                self.complain(link, "it belongs to no call; closed")
                link.close()
        if any(link.call is None and not link.closed for link in self._links):
            self._sweep_call = self.clock.callLater(SWEEP_S, self._sweep)

    def gone(self, link: TalkLink) -> None:
        """A connection is closed."""
        self._links.pop(link, None)

    def complain(self, link: TalkLink, what: str) -> None:
        """A line about a bad peer, at most one a second for each address."""
        text = "talk {transport} from {peer} on port {port}: {what}"
        self._peer_log.warn(link.host, text, transport=link.transport, peer=link.peer, port=link.port, what=what)

    def close(self) -> None:
        """The relay stops: every terminal is told, nothing is waited for."""
        self._closed = True
        for ident in list(self._talks):
            self.end(ident, "the relay stops")
        for call in list(self._calls.values()):
            call.finish("the relay stops")
        for link in list(self._links):
            link.close()
        if self._sweep_call is not None:
            self._sweep_call.cancel()
            self._sweep_call = None

