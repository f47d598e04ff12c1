"""The bridge from superiors' video requests to the terminals: who of a superior may open what, and what it opens (JT/T 1078-2016 chapters 6 to 8).

    0x9801, 0x9A01 ─ checks ─► Permit (superior, vehicle, channel; live or a playback)      ``bridge_requests`` answers
                                 │   holds the channel started until the player comes, KEEP_S at most
    GET /{plate}.{colour}.{ch}.{avflag}.{password} ─ password names superior ─► Permit ─► Lease(s) on the hub's stream
                                 │
    0x9802, 0x9A02 stop ────────► the superior's own leases and connections go; others' and local viewers' stay

One device stream serves everybody: a permit holds a lease like any viewer, so main against sub, the stop after the last one and the watch that
it did stop are ``core.live``'s.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core import cross_domain
from relay.core.cross_domain import Place, Tracks
from relay.core.events import Events, iso_time
from relay.core.live import Live
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.playback import Playbacks
from relay.core.playback_session import Playback
from relay.core.time_passwords import CROSS_DOMAIN, Grant
from relay.core.trace import REQUESTED
from relay.hub.merge import Clock, DelayedCall

if TYPE_CHECKING:
    from relay.core.superior import Superior
    from relay.core.superior_vehicles import Vehicle
    from relay.core.superiors import Superiors

log = Logger()

KEEP_S = 300.0  #: between 0x1801 and the player's request; the standard names no limit, five minutes is practice
WARM_S = 30.0  #: how long a channel is kept running for a player that has not come yet: superiors' pages connect at once or not at all
PERMITS_MAX = 1000  #: of one superior
REFUSALS_MAX = 200  #: remembered for the API, of all superiors; every one is counted
AUDIO_CHANNELS = 33  #: channels from here on are microphones (JT/T 1076-2016 table 2); "all channels" means cameras

LIVE, PLAYBACK = "live", "playback"
MEDIA = {0: "av", 1: "a", 2: "v", 3: "av"}  #: avitem_type → what is asked of the hub

_numbers = itertools.count(1)


@dataclass(eq=False)
class Permit:
    """What one request of a superior opened."""

    superior: str
    sim: str
    plate: str
    color: int
    channel: int  #: 0 = all
    avitem: int
    kind: str  #: LIVE or PLAYBACK
    domain: str  #: HOME or CROSS_DOMAIN: which password opened it
    asked: float  #: UNIX seconds
    id: int = field(default_factory=_numbers.__next__)
    playbacks: list[str] = field(default_factory=list)  #: ids of the sessions, PLAYBACK
    warm: list[Lease] = field(default_factory=list)  #: held until the player comes
    starting: list[Deferred[Any]] = field(default_factory=list)
    streams: set[Streaming] = field(default_factory=set)  #: connections that play it
    failure: StartFailed | None = None  #: why the start failed
    timer: DelayedCall | None = None
    cooling: DelayedCall | None = None  #: ends ``warm``

    def cool(self) -> None:
        """Let go of what is held for a player."""
        if self.cooling is not None:
            self.cooling.cancel()
            self.cooling = None
        for lease in self.warm:
            lease.release()
        self.warm.clear()

    def as_dict(self) -> dict[str, Any]:
        """For the API."""
        return {
            "id": self.id, "superior": self.superior, "sim": self.sim, "plate": self.plate, "plate_color": self.color, "channel": self.channel,
            "media": MEDIA[self.avitem], "kind": self.kind, "domain": self.domain, "since": iso_time(self.asked), "connections": len(self.streams),
            "failure": self.failure.message if self.failure is not None else "",
        }  # fmt: skip


class Refusal(NamedTuple):
    """A request of a superior that was not granted."""

    superior: str
    kind: int  #: sub-business type
    plate: str
    color: int
    result: int  #: as the superior was told
    why: str
    at: float  #: UNIX seconds

    def as_dict(self) -> dict[str, Any]:
        """For the API."""
        return {
            "request": f"0x{self.kind:04X}", "plate": self.plate, "plate_color": self.color, "result": self.result, "reason": self.why,
            "time": iso_time(self.at),
        }  # fmt: skip


class Streaming:
    """One player's connection, as its owner told us: ``end(reason)`` closes it."""

    __slots__ = ("end", "permit")

    def __init__(self, permit: Permit, end: Callable[[str], None]) -> None:
        self.permit = permit
        self.end = end


class Wanted(NamedTuple):
    """What a player's URL says."""

    plate: str
    color: int
    channel: int
    avitem: int
    password: str
    mark: str = ""  #: 位置标识


class Bridge:
    """All permits. ``platform_address``: where superiors' players find us, for a superior; ``("", 0)`` when the listener is off."""

    def __init__(
        self,
        hub: Superiors,
        live: Live,
        playbacks: Playbacks,
        tracks: Tracks,
        events: Events,
        clock: Clock,
        platform_address: Callable[[Superior], tuple[str, int]],
    ) -> None:
        self.hub = hub
        self.live = live
        self.playbacks = playbacks
        self.tracks = tracks
        self.events = events
        self.clock = clock
        self.platform_address = platform_address
        self.counts: Counter[str] = Counter()  #: requests and refusals, for metrics
        self.refusals: deque[Refusal] = deque(maxlen=REFUSALS_MAX)  #: oldest first
        self._permits: dict[int, Permit] = {}
        self._closed = False

    # ---- checks -----------------------------------------------------------------------------------------------------------

    def vehicle(self, superior: Superior, plate: str, color: int) -> Vehicle | None:
        """A vehicle of this superior; another's is none of its business."""
        vehicle = self.hub.find(plate, color)
        return vehicle if vehicle is not None and superior in vehicle.superiors else None

    async def meets_cross_domain(self, superior: Superior, vehicle: Vehicle, shown: Place | None) -> bool:
        """The condition for a request with the cross-domain password."""
        if not superior.settings.check_cross_domain:
            return True
        why = await cross_domain.refusal(shown, vehicle.sim, self.tracks, self.hub.wall)
        if why:
            self.counts["refused: cross-domain"] += 1
            log.info("superior {name} may not see {plate}: {why}", name=superior.name, plate=vehicle.plate, why=why)
        return not why

    # ---- permits ------------------------------------------------------------------------------------------------------------

    def permits(self, superior: str = "", sim: str = "", kind: str = "", channel: int | None = None) -> list[Permit]:
        """Those that fit, oldest first; channel 0 of a request or of a permit is all channels."""
        return [
            permit
            for permit in self._permits.values()
            if (not superior or permit.superior == superior)
            and (not sim or permit.sim == sim)
            and (not kind or permit.kind == kind)
            and (channel is None or channel == 0 or permit.channel in (0, channel))
        ]

    def permit(self, superior: Superior, vehicle: Vehicle, channel: int, avitem: int, kind: str, grant: Grant) -> Permit | None:
        """A new permit; it takes the place of the superior's earlier one for the same. None: it has too many."""
        for old in self.permits(superior.name, vehicle.sim, kind):
            if (old.channel, old.avitem) == (channel, avitem):
                self.drop(old, "asked for anew", keep_connections=kind == LIVE)
        if len(self.permits(superior.name)) >= PERMITS_MAX:
            self.counts["refused: too many permits"] += 1
            return None
        permit = Permit(superior.name, vehicle.sim, vehicle.plate, vehicle.color, channel, avitem, kind, grant.kind, self.hub.wall())
        self._permits[permit.id] = permit
        permit.timer = self.clock.callLater(KEEP_S, self._expire, permit)
        return permit

    def start_live(self, superior: Superior, permit: Permit) -> None:
        """Ask the terminal for the stream now, and keep it until the player comes."""
        for channel in self.channels_of(permit):
            stream = superior.settings.live_stream
            starting = self.live.acquire(permit.sim, channel, "" if stream == "auto" else stream, MEDIA[permit.avitem], "superior", superior.name)
            permit.starting.append(starting)
            starting.addCallbacks(self._warm, self._start_failed, callbackArgs=(permit, starting), errbackArgs=(permit, starting))

    def _warm(self, lease: Lease, permit: Permit, starting: Deferred[Any]) -> None:
        if starting in permit.starting:
            permit.starting.remove(starting)
        if permit.id not in self._permits or permit.streams:
            lease.release()
            return
        permit.warm.append(lease)
        if permit.cooling is None:
            permit.cooling = self.clock.callLater(WARM_S, self._cooled, permit)

    def _cooled(self, permit: Permit) -> None:
        permit.cooling = None
        permit.cool()

    def _start_failed(self, failure: Failure, permit: Permit, starting: Deferred[Any]) -> Failure | None:
        if starting in permit.starting:
            permit.starting.remove(starting)
        problem = failure.value
        if isinstance(problem, CancelledError):
            return None
        if not isinstance(problem, StartFailed):
            return failure
        permit.failure = problem
        self.counts[f"starts failed: {problem.code}"] += 1
        self.events.publish("superior.start_failed", superior=permit.superior, sim=permit.sim, channel=permit.channel, code=problem.code)
        return None

    def channels_of(self, permit: Permit) -> list[int]:
        """The channels that a permit is for."""
        if permit.channel:
            return [permit.channel]
        terminal = self.hub.terminals.get(permit.sim)
        told = (terminal.told_channels() or sorted(terminal.channels)) if terminal is not None else []
        cameras = [channel for channel in told if channel < AUDIO_CHANNELS or permit.avitem == 1]
        return cameras or [1]

    def _expire(self, permit: Permit) -> None:
        permit.timer = None
        if permit.streams or any(not session.over for session in self.sessions(permit)):
            permit.timer = self.clock.callLater(KEEP_S, self._expire, permit)
            return
        self.drop(permit, "not used any more")

    def sessions(self, permit: Permit) -> Iterable[Playback]:
        """The playback sessions of a permit, those that are over, too."""
        return [session for session in map(self.playbacks.get, permit.playbacks) if session is not None]

    def drop(self, permit: Permit, why: str, keep_connections: bool = False) -> None:
        """The permit is over: its connections close, its leases go, its playbacks stop. Others are not touched."""
        self._permits.pop(permit.id, None)
        if permit.timer is not None:
            permit.timer.cancel()
            permit.timer = None
        for starting in list(permit.starting):
            starting.cancel()
        permit.cool()
        for stream in list(permit.streams) if not keep_connections else []:
            stream.end(why)
        for session in self.sessions(permit):
            if not session.over:
                session.stop(why)

    def drop_all(self, superior: str, why: str) -> None:
        """A superior is gone for good: it has been disconnected by an operator."""
        for permit in self.permits(superior):
            self.drop(permit, why)

    # ---- the player's request -------------------------------------------------------------------------------------------------

    async def open(self, wanted: Wanted) -> tuple[Permit, list[Lease]]:
        """What a player's URL opens: one lease a channel. Raises StartFailed; the owner of the connection releases the leases."""
        permit = await self._find(wanted)
        leases: list[Lease] = []
        try:
            for waiting in self._leases(permit):
                leases.append(await waiting)
        except StartFailed:
            if not leases:  # with all channels, those that came are shown
                raise
        except BaseException:
            for lease in leases:
                lease.release()
            raise
        permit.cool()
        self.counts["players"] += 1
        return permit, leases

    def _leases(self, permit: Permit) -> Iterable[Deferred[Lease]]:
        media = MEDIA[permit.avitem]
        if permit.kind == PLAYBACK:
            return [self.playbacks.acquire(ident, media, "superior", permit.superior) for ident in permit.playbacks]
        superior = self.hub.get(permit.superior)
        stream = superior.settings.live_stream if superior is not None else "auto"
        return [
            self.live.acquire(permit.sim, channel, "" if stream == "auto" else stream, media, "superior", permit.superior)
            for channel in self.channels_of(permit)
        ]

    async def _find(self, wanted: Wanted) -> Permit:
        grant = self.hub.passwords.check(None, wanted.password)
        superior = self.hub.get(grant.superior) if grant is not None else None
        if grant is None or superior is None:
            self.counts["players refused: password"] += 1
            raise StartFailed(403, "wrong_password", "The time-efficient password (时效口令) is wrong or has expired.", "Ask again by 0x9801.", REQUESTED)
        vehicle = self.vehicle(superior, wanted.plate, wanted.color)
        if vehicle is None:
            self.counts["players refused: vehicle"] += 1
            raise StartFailed(404, "unknown_vehicle", f"There is no vehicle {wanted.plate} of colour {wanted.color} here.", hop=REQUESTED)
        mine = [permit for permit in self.permits(superior.name, vehicle.sim) if permit.channel == wanted.channel and permit.domain == grant.kind]
        mine = [permit for permit in mine if permit.avitem == wanted.avitem] or mine
        if not mine:
            self.counts["players refused: not asked for"] += 1
            hint = "Ask by 0x9801 (live) or 0x9A01 (playback) first; a request is good for five minutes."
            raise StartFailed(404, "not_asked_for", f"Nobody has asked for channel {wanted.channel} of {wanted.plate}.", hint, REQUESTED)
        marked = grant.kind == CROSS_DOMAIN and wanted.mark
        if marked and not await self.meets_cross_domain(superior, vehicle, cross_domain.place_of_mark(wanted.mark)):
            raise StartFailed(403, "cross_domain", "The position mark (位置标识) is not one of this vehicle's last five minutes.", hop=REQUESTED)
        return mine[-1]

    def playing(self, permit: Permit, end: Callable[[str], None]) -> Streaming:
        """A player's connection is there; ``end(reason)`` closes it. Give it to ``left`` when it is over."""
        stream = Streaming(permit, end)
        permit.streams.add(stream)
        return stream

    def left(self, stream: Streaming) -> None:
        """The connection is over. The permit stays: players that lose a connection come again."""
        stream.permit.streams.discard(stream)

    def get(self, superior: str, ident: int) -> Permit | None:
        """One of a superior's permits."""
        permit = self._permits.get(ident)
        return permit if permit is not None and permit.superior == superior else None

    def refused(self, superior: str) -> list[dict[str, Any]]:
        """What was refused to a superior lately, newest first, for the API."""
        return [refusal.as_dict() for refusal in reversed(self.refusals) if refusal.superior == superior]

    def as_list(self, superior: str = "") -> list[dict[str, Any]]:
        """For the API."""
        return [permit.as_dict() for permit in self.permits(superior)]

    def close(self, why: str = "the relay stops") -> None:
        """The relay stops."""
        self._closed = True
        for permit in list(self._permits.values()):
            self.drop(permit, why)
