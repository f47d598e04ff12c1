"""The terminal's other stream, for players that cannot show H.265.

::

    H.265, and the player shows H.264 only ─→ transcoded, where ``video.h264_max`` admits it (``hub.derived``)
                                           └→ else the terminal's other stream: 0x9102 command 1; refused or without effect: 0x9102, 0x9101 anew
                                              └→ that is H.265 too, or does not come: 415 with what was tried

Main and sub stream of a channel cannot come side by side: packets of JT/T 1078 name the SIM and the channel and no stream. So one of them runs, and
who may change it is settled by rank (``Leases.wanted``):

    superiors, recorders, pushes, API: a stream by name    it is theirs; players that need the other one are ended with a word
    players that need H.264                                the stream that is H.264
    viewers: a stream by name                              main before sub
    everybody else                                         what runs; nothing is changed under somebody who watches it

What codec a stream turned out to have is learnt of the terminal (the quirk ``video.streams``, kept where H.265 is among them), so that the next player
that needs H.264 starts the right one at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred

from relay.core.live import LIVE, Live
from relay.core.live_channel import LiveChannel, State
from relay.core.live_lease import Lease
from relay.core.live_leases import MAIN, SUB
from relay.core.quirks import TERMINAL, Quirks
from relay.core.state_timer import StateTimer
from relay.errors import RelayError
from relay.hub.registry import StreamEvent
from relay.identity import StreamKey

SWITCH_S = 6.0  #: a terminal that says yes to a switch shows it with the next key frame; some say yes and do nothing
RECHECK_S = 3600.0  #: a stream that was H.265 is tried again after so long: cameras are set up anew
SEEN_MAX = 4096  #: streams whose last sight is remembered

H264, H265 = "h264", "h265"
NAMES = {H264: "H.264", H265: "H.265"}


class OtherStreamError(RelayError):
    """The terminal's other stream will not do; the words go on from "the terminal sends H.265, and"."""

    def __init__(self, words: str, hint: str = "") -> None:
        super().__init__(words)
        self.hint = hint  #: what would help all the same; "" = nothing about the other stream would


def other_of(kind: str) -> str:
    """Main and sub; of an unknown one main, since sub is what is asked for unless somebody says otherwise."""
    return SUB if kind == MAIN else MAIN


class _Search:
    """One channel's other stream is asked for, by one player or several."""

    def __init__(self, owner: OtherStreams, machine: LiveChannel, kind: str) -> None:
        self._owner = owner
        self._machine = machine
        self._kind = kind
        self._timer = StateTimer(owner.live.clock)
        self._begun = self._anew = False
        self._waiting: dict[Lease, Deferred[None]] = {}

    def join(self, lease: Lease) -> Deferred[None]:
        """Fires when the picture is H.264; fails with OtherStreamError."""
        waiting: Deferred[None] = Deferred(lambda _: self._cancelled(lease))
        self._waiting[lease] = waiting
        lease.needs = self._kind
        lease.on_ended = lambda cause: self._ended(lease, cause)
        if not self._begun:
            self._begun = True
            self._timer.set(SWITCH_S, self._without_effect)
            self._machine.arbitrate("a player cannot show H.265")
        return waiting

    def _cancelled(self, lease: Lease) -> None:
        self._leave(lease)

    def _leave(self, lease: Lease) -> Deferred[None] | None:
        lease.on_ended = None
        waiting = self._waiting.pop(lease, None)
        if not self._waiting:
            self._over()
        return waiting

    def _ended(self, lease: Lease, cause: str) -> None:
        waiting = self._leave(lease)
        if waiting is not None:
            waiting.errback(OtherStreamError(f"while its other stream ({self._kind}) was asked for it ended: {cause}"))

    def _over(self) -> None:
        self._timer.cancel()
        self._owner.forget(self._machine.key)

    def _without_effect(self) -> None:
        if not self._anew:
            self._anew = True
            self._timer.set(self._owner.live.media.start_timeout_s, self._without_effect)
            if self._machine.state is State.RUNNING:  # else it is being asked anew already
                self._machine.restart(f"the switch to {self._kind} had no effect")
            return
        self._fail(f"its other stream ({self._kind}) was asked for and did not come")

    def seen(self, codec: str) -> None:
        """A picture of another description, or of another connection."""
        if codec != H264:
            self._fail(f"its other stream ({self._kind}) is {NAMES.get(codec, codec)} too")
            return
        self._owner.live.counts["other stream: H.264"] += 1
        waiting, self._waiting = self._waiting, {}
        self._over()
        for lease, deferred in waiting.items():
            lease.on_ended = None
            deferred.callback(None)

    def _fail(self, words: str) -> None:
        self._owner.live.counts["other stream: in vain"] += 1
        waiting, self._waiting = self._waiting, {}
        self._over()
        for lease in waiting:
            lease.on_ended = None
            lease.needs = ""
        for deferred in waiting.values():
            deferred.errback(OtherStreamError(words))


class OtherStreams:
    """Asks for them, and remembers what they were."""

    def __init__(self, live: Live, quirks: Quirks, on: bool, transcodes: Callable[[], bool] = lambda: False) -> None:
        """``transcodes()``: another channel would be transcoded now, so that nothing else is needed."""
        self.live = live
        self._quirks = quirks
        self._on = on
        self._transcodes = transcodes
        self._searches: dict[StreamKey, _Search] = {}
        self._seen: OrderedDict[tuple[StreamKey, str], float] = OrderedDict()
        live.h264_stream = self.choose
        self._undo = live.registry.observe(self._on_stream)

    # ---- for players ----------------------------------------------------------------------------------------------------

    def ask(self, lease: Lease) -> Deferred[None]:
        """Fires when the lease's stream is H.264; OtherStreamError says why it will not be. Cancelling leaves the lease to its owner."""
        key = lease.key
        if key is None or key.kind != LIVE:
            raise OtherStreamError("the stream is over" if key is None else "a recording has no other stream")
        search = self._searches.get(key)
        if search is None:
            machine = self.live.channel(key.sim, key.channel)
            if machine is None:
                raise OtherStreamError("the stream is over")
            kind = other_of(machine.asked_stream)
            if not self._on:
                hint = f"Ask for the terminal's other stream by name (stream={kind}), which may be H.264."
                raise OtherStreamError("asking for its other stream is switched off (video.other_stream)", hint)
            problem = self._hindrance(machine, lease, kind)
            if problem:
                raise OtherStreamError(problem)
            self.live.counts["other stream: asked for"] += 1
            search = self._searches[key] = _Search(self, machine, kind)
        return search.join(lease)

    def _hindrance(self, machine: LiveChannel, lease: Lease, kind: str) -> str:
        """Why the other stream must not, or cannot, be asked for."""
        key = machine.key
        if not self.live.terminals.is_online(key.sim):
            return "its other stream cannot be asked for: its signalling link is down"
        others = machine.leases.content_without(lease)
        if others:
            return f"its other stream ({kind}) is not asked for while others have this one ({others})"
        seen = self._seen.get((key, kind))
        if self.codec(key, kind) == H265 and seen is not None and self.live.clock.seconds() - seen < RECHECK_S:
            return f"its other stream ({kind}) is H.265 too"
        allowed, problem = self.live.allowance(key, kind, lease.purpose)
        if problem is not None or allowed != kind:
            return f"its data budget does not allow the other stream ({kind})"
        return ""

    def choose(self, machine: LiveChannel, wants: str) -> str:
        """For a player that shows H.264 only: the stream it is to be given from the beginning, as far as that is known; "" = as anybody else."""
        if not self._on or self._transcodes():
            return ""
        needed = machine.leases.needed()
        if needed:
            return needed
        kind = wants or SUB
        other = other_of(kind)
        if machine.state is State.IDLE and self.codec(machine.key, kind) == H265 and self.codec(machine.key, other) == H264:
            return other
        return ""

    # ---- what is known ----------------------------------------------------------------------------------------------------

    def codec(self, key: StreamKey, kind: str) -> str:
        """What a stream was when it was seen last; "" = not known."""
        known = self._quirks.get(key.sim, "video.streams", {})
        return str(known.get(f"{key.channel}.{kind}", ""))

    def _learn(self, key: StreamKey, kind: str, codec: str) -> None:
        self._seen[key, kind] = self.live.clock.seconds()
        self._seen.move_to_end((key, kind))
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        known = self._quirks.profile(TERMINAL, key.sim).learnt.get("video.streams", {})
        name = f"{key.channel}.{kind}"
        usual = codec == H264 and f"{key.channel}.{other_of(kind)}" not in known and name not in known
        if codec not in NAMES or known.get(name) == codec or usual:
            return
        self._quirks.learn(key.sim, "video.streams", {**known, name: codec})

    def _on_stream(self, event: StreamEvent) -> None:
        if event.key.kind != LIVE or (event.name != "first_key_frame" and not (event.name == "config_changed" and event.detail.startswith("video"))):
            return
        machine = self.live.channel(event.key.sim, event.key.channel)
        stream = machine.stream() if machine is not None else None
        if machine is None or stream is None or stream.video is None:
            return
        if event.name == "config_changed":
            machine.switching = False
        codec = stream.video.codec
        if machine.asked_stream and not machine.switching and self.live.terminals.get(event.key.sim) is not None:
            self._learn(event.key, machine.asked_stream, codec)
        search = self._searches.get(event.key)
        if search is not None:
            search.seen(codec)

    # ---- inside -----------------------------------------------------------------------------------------------------------

    def forget(self, key: StreamKey) -> None:
        """A search is over."""
        self._searches.pop(key, None)

    def close(self) -> None:
        """The relay stops; the streams' end has ended what was searched."""
        self._undo()
