"""Live streams on demand: who wants which channel, and the terminals that are asked for them.

``acquire`` is the one way to a live stream, for players, recorders, pushes and superiors alike; a ``Lease`` is a reference, and the last one that
is released lets the channel be stopped. The machine of one channel is ``live_channel`` (who has it: ``live_leases``, who waits for it:
``live_waiting``); what may come in is ``admission``; why a start failed is ``live_failure``.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from relay.core import live_failure as failures
from relay.core.admission import Admission
from relay.core.alias import Resolver
from relay.core.events import Events
from relay.core.live_channel import LiveChannel, State
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.live_leases import MAIN, SUB
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.core.trace import HopTimes, Watcher
from relay.hub.merge import Clock, DelayedCall
from relay.hub.registry import Registry, StreamEvent
from relay.identity import StreamKey, phone_key
from relay.jt808.messages.video import RealtimeAvStatus
from relay.settings import Media

log = Logger()

CHANNELS_KEPT = 2000  #: idle channels whose traces are remembered; some hundred bytes each
CHANNEL_MAX = 255  #: a BYTE

LIVE = "live"


class MediaPorts(NamedTuple):
    """The ports that are really bound; 0 = none."""

    tcp: int = 0
    udp: int = 0


class Told(NamedTuple):
    """What a 0x9101 names."""

    host: str
    tcp_port: int
    udp_port: int


def told_address(media: Media, ports: MediaPorts, terminal: Terminal) -> Told:
    """Where a terminal is told to send: ``media.advertise``, else the address of ours that its signalling reached."""
    host = media.advertise or (terminal.link.wire.local if terminal.link is not None else "")
    tcp, udp = ports
    if tcp and udp:
        tcp, udp = (0, udp) if media.prefer == "udp" else (tcp, 0)
    return Told(host, tcp, udp)


class Live:
    """All live channels."""

    def __init__(
        self,
        media: Media,
        registry: Registry,
        terminals: Terminals,
        resolver: Resolver,
        admission: Admission,
        clock: Clock,
        events: Events,
        wall: Callable[[], float],
        ports: MediaPorts,
        loss_report_s: float = 10.0,
    ) -> None:
        self.media = media
        self.registry = registry
        self.terminals = terminals
        self.resolver = resolver
        self.admission = admission
        self.clock = clock
        self.events = events
        self.wall = wall
        self.ports = ports
        self.counts: Counter[str] = Counter()  #: starts and failures by code, for metrics
        self.hop_times = HopTimes()
        #: how many media connections from an address have brought no whole packet yet (the listeners know); for telling failures apart
        self.unidentified: Callable[[str], int] = lambda host: 0
        #: why a channel must not be asked for now, though somebody wants it: a recording of it plays back, and its terminal does not do both
        self.held_back: Callable[[StreamKey], str] = lambda key: ""
        #: whether somebody talks or listens on a channel: a 0x9102 that stops its picture ends that too, at many terminals
        self.in_call: Callable[[StreamKey], bool] = lambda key: False
        #: (channel, "main" | "sub" | "", purpose) -> which stream it may be, or why none: the SIM's data budget
        self.allowance: Callable[[StreamKey, str, str], tuple[str, StartFailed | None]] = lambda key, stream, purpose: (stream, None)
        #: (channel, wish) -> "main" or "sub" for a player that shows H.264 only, as far as is known
        self.h264_stream: Callable[[LiveChannel, str], str] = lambda machine, wants: ""
        self._channels: OrderedDict[StreamKey, LiveChannel] = OrderedDict()
        self._by_sim: dict[str, dict[int, LiveChannel]] = {}  #: the same: ten thousand terminals may come back within seconds
        self._loss_report_s = loss_report_s
        self._report: DelayedCall | None = None
        self._closed = False
        admission.hinder = self._hinder
        registry.admission = admission
        self._undo = [registry.observe(self._on_stream), terminals.watch(self._on_terminal)]
        if loss_report_s:
            self._report = clock.callLater(loss_report_s, self._report_loss)

    # ---- for those who want a stream ----------------------------------------------------------------------------------------

    def acquire(
        self,
        name: str,
        channel: int,
        stream: str = "",
        media: str = "av",
        purpose: str = "viewer",
        who: str = "",
        timeout_s: float | None = None,
        watch: Watcher | None = None,
        peer: str = "",
        codec: str = "",
    ) -> Deferred[Lease]:
        """The channel of a terminal, started when it does not run.

        Fires with a ``Lease`` when ``lease.stream`` has a picture to begin with (sound, for ``media="a"`` and where no picture comes), or fails with
        ``StartFailed``. ``stream`` is "main", "sub" or "" (what runs, else sub). Cancelling the Deferred is releasing. ``watch(hop, ms)`` is called
        as the start goes on. ``codec="h264"``: nothing else can be shown; what comes may be H.265 all the same, and ``OtherStreams.ask`` then helps.
        """
        waiting = self.resolver.resolve(name)
        return waiting.addCallback(lambda sim: self._acquire(name, sim, channel, stream, media, purpose, who, timeout_s, watch, peer, codec))

    def _acquire(
        self, name: str, sim: str | None, number: int, stream: str, media: str, purpose: str, who: str, timeout_s: float | None,
        watch: Watcher | None, peer: str, codec: str,
    ) -> Deferred[Lease]:
        key = StreamKey(sim if sim is not None else phone_key(name), number, LIVE)
        running = self.registry.get(key)
        terminal = self.terminals.get(key.sim)
        problem: StartFailed | None = None
        if self._closed:
            problem = failures.ended(key.sim, number, "the relay stops", None)
        elif running is None and sim is None:
            problem = failures.unknown_terminal(name)
        elif not 1 <= number <= CHANNEL_MAX or (running is None and terminal is not None and not terminal.has_channel(number)):
            problem = failures.unknown_channel(key.sim, number, terminal.told_channels() if terminal is not None else [])
        elif (running is None or running.source is None) and (terminal is None or not terminal.online):
            problem = failures.offline(key.sim, self.terminals.why_offline(key.sim))
        elif running is None and not self._is_active(key) and self.active >= self.media.connections_max:
            problem = failures.too_many(self.media.connections_max)
        elif running is None and (held := self.held_back(key)):
            problem = failures.playback_running(key.sim, number, held)
        if problem is None:
            stream, problem = self.allowance(key, stream, purpose)
        if problem is not None:
            self.failed(key, problem)
            return fail(problem)
        self.counts["acquired"] += 1
        machine = self._channel(key)
        if media == "av" and terminal is not None and terminal.channel_kind(number) == "audio":
            media = "a"  # a microphone: its first sound is all there will be
        lease = Lease(machine, stream if stream in (MAIN, SUB) else "", media, purpose, who, peer)
        if codec == "h264":
            lease.codec = codec
            lease.needs = self._given(machine, lease)
        return machine.acquire(lease, timeout_s if timeout_s is not None else self.media.start_timeout_s, watch)

    def stop(self, name: str, channel: int, why: str = "stopped by the operator") -> Deferred[bool]:
        """Stop a channel although somebody may be watching; fires with False when it did not run."""
        return self.resolver.resolve(name).addCallback(lambda sim: self._stop(StreamKey(sim or phone_key(name), channel, LIVE), why))

    def _stop(self, key: StreamKey, why: str) -> bool:
        machine = self._channels.get(key)
        if machine is None or machine.state is State.IDLE:
            return False
        if machine.state is not State.STOPPING:
            machine.stop(why)
        return True

    # ---- what runs --------------------------------------------------------------------------------------------------------------

    @property
    def active(self) -> int:
        """Channels that are not idle."""
        return sum(machine.state is not State.IDLE for machine in self._channels.values())

    def _is_active(self, key: StreamKey) -> bool:
        machine = self._channels.get(key)
        return machine is not None and machine.state is not State.IDLE

    def channel(self, sim: str, channel: int) -> LiveChannel | None:
        """The machine of a channel, if it was ever used."""
        return self._channels.get(StreamKey(phone_key(sim), channel, LIVE))

    def watched(self, sim: str, channel: int) -> bool:
        """Whether somebody has a channel, or waits for it."""
        machine = self.channel(sim, channel)
        return machine is not None and bool(machine.leases)

    def of_terminal(self, sim: str) -> list[LiveChannel]:
        """The machines of a terminal's channels that are not idle."""
        return [machine for machine in self._by_sim.get(phone_key(sim), {}).values() if machine.state is not State.IDLE]

    def traces(self, sim: str, channel: int) -> list[dict[str, Any]]:
        """The last starts of a channel, newest first."""
        machine = self.channel(sim, channel)
        return [trace.as_dict() for trace in reversed(machine.traces)] if machine is not None else []

    def describe(self) -> list[dict[str, Any]]:
        """Every channel that is not idle."""
        return [
            {
                "sim": key.sim,
                "channel": key.channel,
                "state": machine.state.value,
                "stream": machine.asked_stream,
                "waiting": len(machine.waiting),
                "leases": [
                    {"purpose": lease.purpose, "who": lease.who, "stream": lease.needs or lease.wants, "media": lease.media} for lease in machine.leases
                ],
                "attempts": machine.attempts,
            }
            for key, machine in self._channels.items()
            if machine.state is not State.IDLE
        ]

    # ---- for the channels ---------------------------------------------------------------------------------------------------------

    def told_address(self, terminal: Terminal) -> Told:
        """Where this terminal is told to send: ``media.advertise``, else the address of ours that its signalling reached."""
        return told_address(self.media, self.ports, terminal)

    def failed(self, key: StreamKey, problem: StartFailed) -> None:
        """A start did not succeed: count it, tell it."""
        self.counts[f"failed: {problem.code}"] += 1
        steps = problem.trace.describe() if problem.trace is not None else "not begun"
        log.info("{key}: not started, {code}: {message} ({steps})", key=str(key), code=problem.code, message=problem.message, steps=steps)
        self.events.publish("stream.start_failed", sim=key.sim, channel=key.channel, code=problem.code, hop=problem.hop, message=problem.message)

    # ---- inside -----------------------------------------------------------------------------------------------------------------------

    def _given(self, machine: LiveChannel, lease: Lease) -> str:
        """The stream that a player of H.264 is given from the beginning; "" = as anybody else."""
        needs = self.h264_stream(machine, lease.wants)
        allowed, problem = self.allowance(machine.key, needs, lease.purpose) if needs else ("", None)
        return needs if problem is None and allowed == needs else ""

    def _channel(self, key: StreamKey) -> LiveChannel:
        machine = self._channels.get(key)
        if machine is None:
            machine = self._channels[key] = LiveChannel(self, key)
            self._by_sim.setdefault(key.sim, {})[key.channel] = machine
            if len(self._channels) > CHANNELS_KEPT:
                self._forget_idle()
        else:
            self._channels.move_to_end(key)
        return machine

    def _forget_idle(self) -> None:
        for key, machine in self._channels.items():
            if machine.state is State.IDLE and not machine.leases:
                del self._channels[key]
                machines = self._by_sim[key.sim]
                del machines[key.channel]
                if not machines:
                    del self._by_sim[key.sim]
                return

    def _hinder(self, key: StreamKey) -> str:
        machine = self._channels.get(key)
        return machine.hinders() if machine is not None else ""

    def _on_stream(self, event: StreamEvent) -> None:
        """What the hub tells."""
        key = event.key
        if event.name == "refused":
            self.events.publish("stream.refused", sim=key.sim, channel=key.channel, kind=key.kind, reason=event.detail, peer=event.peer)
            return
        if key.kind != LIVE or self._closed:
            return
        if event.name == "connected":
            self._channel(key).media_came()
            return
        machine = self._channels.get(key)
        if machine is None:
            return
        if event.name == "first_key_frame":
            machine.picture_came(event.detail)
            self._seen(key)
        elif event.name == "audio_ready":
            self._seen(key)
        elif event.name == "lost":
            machine.lost(event.detail)
        elif event.name == "ended":
            machine.stream_ended(event.detail)

    def _seen(self, key: StreamKey) -> None:
        """A channel that the terminal had not told of."""
        terminal = self.terminals.get(key.sim)
        if terminal is not None and terminal.take_seen(key.channel):
            self.events.publish("terminal.updated", sim=key.sim)

    def _on_terminal(self, what: str, terminal: Terminal) -> None:
        for machine in list(self._by_sim.get(terminal.sim, {}).values()):
            if what == "online":
                machine.terminal_online()
            else:
                machine.terminal_offline(terminal.offline_reason)

    def _report_loss(self) -> None:
        """0x9105 for every channel that receives. Terminals need not answer, and silence is no fault."""
        self._report = self.clock.callLater(self._loss_report_s, self._report_loss)
        for key, machine in list(self._channels.items()):
            stream = machine.stream()
            if stream is None or machine.state not in (State.RUNNING, State.LINGERING) or not self.terminals.is_online(key.sim):
                continue
            loss = stream.take_loss()
            if loss is not None:
                self.terminals.send(key.sim, RealtimeAvStatus(channel=key.channel, packet_loss_rate=min(100, max(0, int(loss)))))

    def close(self, why: str = "the relay stops") -> None:
        """Tell every terminal that sends to stop, and end all streams; nothing is waited for. Call it before the links are closed."""
        if self._closed:
            return
        self._closed = True
        if self._report is not None:
            self._report.cancel()
            self._report = None
        for machine in list(self._channels.values()):
            machine.close(why)
        for undo in self._undo:
            undo()
