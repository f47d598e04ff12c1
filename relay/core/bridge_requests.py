"""Superiors' video requests, answered (JT/T 1078-2016 chapters 6 to 8); what they open is ``core.bridge``'s.

    0x9801 live                 → 0x1801 at once, the terminal is asked (0x9101) at the same time
    0x9802 live stop            → 0x1802; only this superior's references go
    0x9902 catalogue            0x9205 → 0x1205 → 0x1902
    0x9A01 playback             → 0x1A01, 0x9201 at the same time
    0x9A02 playback control     0x9202 → 0x0001 → 0x1A02
    0x9700 password demand      → 0x1701, harmless and wanted by some superiors
    0x9901 catalogue taken      counted
    an alarm begins             report_recordings_s later 0x9205 → 0x1205 → 0x1901

Results: 0 success, 1 failure, 2 not supported, 3 session ended, 4 password wrong, 5 cross-domain condition not met.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core import cross_domain
from relay.core.bridge import LIVE, PLAYBACK, Bridge, Permit, Refusal
from relay.core.events import BEIJING, Event
from relay.core.link import RefusedError, RequestError, TerminalOfflineError
from relay.core.live_failure import StartFailed
from relay.core.playback_session import Playback
from relay.core.playhead import KEYFRAMES, PAUSE, RESUME, REWIND, SEEK, SPEED, Wish
from relay.core.recordings import Recordings
from relay.core.stored import Criteria, wire_digits
from relay.core.time_passwords import CROSS_DOMAIN, Grant
from relay.core.uplink import Reply, Request
from relay.hub.merge import DelayedCall
from relay.jt808.messages.video import Resource
from relay.jt809.messages.video import (
    CatalogueAnswer,
    CatalogueItem,
    CatalogueReport,
    CatalogueReportAnswer,
    CatalogueRequest,
    LiveAnswer,
    LiveRequest,
    LiveStopAnswer,
    LiveStopRequest,
    PlaybackAnswer,
    PlaybackControl,
    PlaybackControlAnswer,
    PlaybackRequest,
)

if TYPE_CHECKING:
    from relay.core.superior import Superior
    from relay.core.superior_vehicles import Vehicle

log = Logger()

SUCCESS, FAILURE, NOT_SUPPORTED, SESSION_ENDED, WRONG_PASSWORD, NOT_CROSS_DOMAIN = range(6)

SEARCH_S = 60.0  #: a terminal that reads a full card takes tens of seconds, and there is nothing to tell the superior before
SPEEDS = {1: 1, 2: 2, 3: 4, 4: 8, 5: 16}  #: fast_time → times

BEFORE_S = 600.0  #: a recording that holds an alarm may have begun so long before it
DUE_MAX = 1000
#: kinds of alarms that recordings are marked with, and their first bit in 0x1205's word
ALARM_BASE = {"terminal": 0, "video": 32}

#: a failed start's word → result, where it is not simply FAILURE
RESULTS = {"unknown_channel": NOT_SUPPORTED, "refused_by_terminal": NOT_SUPPORTED}


class BridgeRequests:
    """The handlers; ``register`` puts them into the table of ``core.uplink``."""

    def __init__(self, bridge: Bridge, searches: Recordings) -> None:
        self.bridge = bridge
        self.searches = searches
        self._due: dict[tuple[str, str], DelayedCall] = {}  #: 0x1901 that are to come, by superior and terminal
        self._undo = bridge.events.subscribe(self._alarm)

    def register(self) -> None:
        """From now on."""
        on = self.bridge.hub.uplink.on
        on(0x9800, 0x9801, self.live)
        on(0x9800, 0x9802, self.live_stop)
        on(0x9900, 0x9902, self.catalogue)
        on(0x9900, 0x9901, self.catalogue_taken)
        on(0x9A00, 0x9A01, self.playback)
        on(0x9A00, 0x9A02, self.control)
        on(0x9700, 0x9702, self.passwords)

    # ---- what all have in common ------------------------------------------------------------------------------------------

    async def admit(self, superior: Superior, request: Request, password: str, gnss: bytes | None) -> tuple[Vehicle, Grant] | int:
        """The vehicle and which password opened it, or the result that refuses."""
        bridge = self.bridge
        bridge.counts[f"0x{request.kind:04X}"] += 1
        vehicle = bridge.vehicle(superior, request.plate, request.color)
        if vehicle is None:
            return self.refuse(superior, request, FAILURE, "no such vehicle of this superior's")
        grant = bridge.hub.passwords.check(superior.name, str(password))
        if grant is None:
            return self.refuse(superior, request, WRONG_PASSWORD, "wrong time-efficient password")
        if grant.kind == CROSS_DOMAIN and not await bridge.meets_cross_domain(superior, vehicle, cross_domain.place_of_block(gnss)):
            return self.refuse(superior, request, NOT_CROSS_DOMAIN, "cross-domain condition not met")
        if not bridge.hub.online(vehicle.sim):
            return self.refuse(superior, request, FAILURE, "the terminal is not online")
        return vehicle, grant

    def refuse(self, superior: Superior, request: Request, result: int, why: str) -> int:
        """Count, remember and log a refusal; gives ``result``."""
        bridge = self.bridge
        bridge.counts[f"refused: {result}"] += 1
        bridge.refusals.append(Refusal(superior.name, request.kind, request.plate, request.color, result, why, bridge.hub.wall()))
        text = "superior {name}: 0x{kind:04X} for {plate} answered with {result}: {why}"
        log.info(text, name=superior.name, kind=request.kind, plate=request.plate, result=result, why=why)
        return result

    def _supported(self, vehicle: Vehicle, channel: int, avitem: int) -> bool:
        terminal = vehicle.terminal
        if avitem > 3 or (channel and not terminal.has_channel(channel)):
            return False
        kind = terminal.channel_kind(channel) if channel else ""
        return not (kind == "audio" and avitem == 2) and not (kind == "video" and avitem == 1)

    def _tell(self, superior: Superior, request: Request, what: str, **more: Any) -> None:
        self.bridge.events.publish("superior.video", superior=superior.name, plate=request.plate, what=what, **more)

    # ---- live ---------------------------------------------------------------------------------------------------------------

    async def live(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9801."""
        data = request.data
        if not isinstance(data, LiveRequest):
            return
        admitted = await self.admit(superior, request, data.authorize_code, data.gnss_data)
        if isinstance(admitted, int):
            reply(LiveAnswer(result=admitted))
            return
        vehicle, grant = admitted
        channel, avitem = int(data.channel_id), int(data.avitem_type)
        host, port = self.bridge.platform_address(superior)
        if not self._supported(vehicle, channel, avitem):
            reply(LiveAnswer(result=self.refuse(superior, request, NOT_SUPPORTED, f"channel {channel} has no such media")))
            return
        if not host or not port:
            reply(LiveAnswer(result=self.refuse(superior, request, FAILURE, "http.platform_port is off, or no address is known to tell")))
            return
        permit = self.bridge.permit(superior, vehicle, channel, avitem, LIVE, grant)
        if permit is None:
            reply(LiveAnswer(result=self.refuse(superior, request, FAILURE, "too many requests of this superior")))
            return
        self.bridge.start_live(superior, permit)
        if permit.failure is not None:  # known without asking the terminal: it is playing back and does not do both, say
            self.bridge.drop(permit, permit.failure.message)
            result = RESULTS.get(permit.failure.code, FAILURE)
            reply(LiveAnswer(result=self.refuse(superior, request, result, permit.failure.message)))
            return
        reply(LiveAnswer(result=SUCCESS, server_ip=host, server_port=port))
        self._tell(superior, request, "live", sim=vehicle.sim, channel=channel, domain=grant.kind)

    def live_stop(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9802: what this superior has of it, and nothing else. Nothing there: the friendly answer is success."""
        data = request.data
        if not isinstance(data, LiveStopRequest):
            return
        self.bridge.counts["0x9802"] += 1
        vehicle = self.bridge.vehicle(superior, request.plate, request.color)
        if vehicle is None:
            reply(LiveStopAnswer(result=FAILURE))
            return
        channel, avitem = int(data.channel_id), int(data.avitem_type)
        for permit in self.bridge.permits(superior.name, vehicle.sim, LIVE):
            if channel in (0, permit.channel) and avitem in (0, permit.avitem):
                self.bridge.drop(permit, "stopped by the superior (0x9802)")
        reply(LiveStopAnswer(result=SUCCESS))
        self._tell(superior, request, "live stop", sim=vehicle.sim, channel=channel)

    # ---- catalogue ------------------------------------------------------------------------------------------------------------

    async def catalogue(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9902: the terminal is asked each time, as 8.2 wants it."""
        data = request.data
        if not isinstance(data, CatalogueRequest):
            return
        admitted = await self.admit(superior, request, data.authorize_code, data.gnss_data)
        if isinstance(admitted, int):
            reply(CatalogueAnswer(result=admitted, item_list=[]))
            return
        vehicle, _ = admitted
        channel = int(data.channel_id)
        if channel and not vehicle.terminal.has_channel(channel):
            reply(CatalogueAnswer(result=self.refuse(superior, request, NOT_SUPPORTED, f"there is no channel {channel}"), item_list=[]))
            return
        criteria = Criteria(
            digits_of(data.start_time), digits_of(data.end_time), int(data.alarm_type), int(data.avitem_type), int(data.stream_type), int(data.mem_type)
        )
        try:
            found = await self.searches.search(vehicle.sim, channel, criteria, SEARCH_S)
        except RequestError as problem:
            result = NOT_SUPPORTED if isinstance(problem, RefusedError) and problem.result == 3 else FAILURE
            reply(CatalogueAnswer(result=self.refuse(superior, request, result, problem.message), item_list=[]))
            return
        items = [item_of(each) for each in found.items if _wanted(criteria, channel, each)]
        reply(CatalogueAnswer(result=SUCCESS, item_num=len(items), item_list=items))
        self._tell(superior, request, "catalogue", sim=vehicle.sim, channel=channel, items=len(items))

    # ---- catalogues that nobody asked for ------------------------------------------------------------------------------------

    def _alarm(self, event: Event) -> None:
        """A special alarm has begun: once its recording is complete, the superiors that want so are told what there is of it."""
        if event["event"] != "alarm.begin" or event.get("kind") not in ALARM_BASE or not 0 <= event["code"] < 32:
            return
        vehicle = self.bridge.hub.vehicle(event["sim"])
        for superior in vehicle.superiors if vehicle is not None else ():
            delay = superior.settings.report_recordings_s
            if delay and vehicle is not None and (superior.name, vehicle.sim) not in self._due:
                if len(self._due) >= DUE_MAX:
                    self.bridge.counts["0x1901 not sent: too many alarms"] += 1
                    return
                flags = 1 << (ALARM_BASE[event["kind"]] + event["code"])
                self._due[superior.name, vehicle.sim] = self.bridge.clock.callLater(delay, self._report, superior, vehicle, flags, delay)

    def _report(self, superior: Superior, vehicle: Vehicle, flags: int, delay: float) -> None:
        del self._due[superior.name, vehicle.sim]
        now = self.bridge.hub.wall()
        criteria = Criteria(digits_of(int(now - delay - BEFORE_S)), digits_of(int(now)), flags)
        waiting = Deferred.fromCoroutine(self.report_catalogue(superior, vehicle, criteria))
        waiting.addCallbacks(self._reported, self._not_reported, errbackArgs=(superior, vehicle))

    def _reported(self, items: int) -> None:
        self.bridge.counts["0x1901" if items else "0x1901 not sent: nothing recorded"] += 1

    def _not_reported(self, failure: Failure, superior: Superior, vehicle: Vehicle) -> Failure | None:
        problem = failure.value
        if not isinstance(problem, RequestError):
            return failure
        self.bridge.counts["0x1901 not sent: the terminal"] += 1
        log.info("superior {name}: no 0x1901 for {plate}: {why}", name=superior.name, plate=vehicle.plate, why=problem.message)
        return None

    def close(self) -> None:
        """The relay stops."""
        self._undo()
        for call in self._due.values():
            call.cancel()
        self._due.clear()

    async def report_catalogue(self, superior: Superior, vehicle: Vehicle, criteria: Criteria) -> int:
        """0x1901: tell a superior, unasked, what a terminal has recorded of a special alarm; gives how many. Fails with a RequestError."""
        found = await self.searches.search(vehicle.sim, 0, criteria, SEARCH_S)
        items = [item_of(each) for each in found.items if _wanted(criteria, 0, each)]
        if items:
            superior.keep_or_send(CatalogueReport(item_num=len(items), item_list=items), vehicle.plate, vehicle.color)
        return len(items)

    def catalogue_taken(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9901."""
        data = request.data
        if isinstance(data, CatalogueReportAnswer):
            self.bridge.counts[f"0x9901 result {data.result}"] += 1

    # ---- playback ---------------------------------------------------------------------------------------------------------------

    async def playback(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9A01."""
        data = request.data
        if not isinstance(data, PlaybackRequest):
            return
        admitted = await self.admit(superior, request, data.authorize_code, data.gnss_data)
        if isinstance(admitted, int):
            reply(PlaybackAnswer(result=admitted))
            return
        vehicle, grant = admitted
        channel, avitem = int(data.channel_id), int(data.avitem_type)
        host, port = self.bridge.platform_address(superior)
        if avitem > 3 or (channel and not vehicle.terminal.has_channel(channel)):
            reply(PlaybackAnswer(result=self.refuse(superior, request, NOT_SUPPORTED, f"channel {channel} has no such media")))
            return
        permit = self.bridge.permit(superior, vehicle, channel, avitem, PLAYBACK, grant) if host and port else None
        if permit is None:
            reply(PlaybackAnswer(result=self.refuse(superior, request, FAILURE, "no listener for players, or too many requests")))
            return
        span = digits_of(data.playback_start_time), digits_of(data.playback_end_time)
        wish = Wish(Criteria(*span, media_type=avitem, stream_type=int(data.stream_type), storage_type=int(data.mem_type)))
        for each in self.bridge.channels_of(permit):
            self._begin(superior, permit, each, wish)
        if not permit.playbacks and permit.failure is not None:
            self.bridge.drop(permit, permit.failure.message)
            result = RESULTS.get(permit.failure.code, FAILURE)
            reply(PlaybackAnswer(result=self.refuse(superior, request, result, permit.failure.message)))
            return
        reply(PlaybackAnswer(result=SUCCESS, server_ip=host, server_port=port))
        self._tell(superior, request, "playback", sim=vehicle.sim, channel=channel, domain=grant.kind)

    def _begin(self, superior: Superior, permit: Permit, channel: int, wish: Wish) -> None:
        playbacks = self.bridge.playbacks
        own = {ident for each in self.bridge.permits(superior.name, permit.sim, PLAYBACK) for ident in each.playbacks}
        other = playbacks.of_channel(permit.sim, channel)
        replace = other is not None and other.id in own  # its own earlier one, not somebody else's
        before = {session.id for session in playbacks.running()}
        starting: Deferred[Playback] = playbacks.start(permit.sim, channel, wish, "superior", superior.name, replace=replace)
        session = playbacks.of_channel(permit.sim, channel)
        if session is not None and session.id not in before:
            permit.playbacks.append(session.id)
        starting.addErrback(self._not_begun, permit)

    def _not_begun(self, failure: Failure, permit: Permit) -> Failure | None:
        problem = failure.value
        if isinstance(problem, StartFailed):
            permit.failure = problem
            return None
        return None if isinstance(problem, CancelledError) else failure

    async def control(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9A02 names no channel: it is for all this superior plays of the vehicle."""
        data = request.data
        if not isinstance(data, PlaybackControl):
            return
        self.bridge.counts["0x9A02"] += 1
        vehicle = self.bridge.vehicle(superior, request.plate, request.color)
        permits = self.bridge.permits(superior.name, vehicle.sim, PLAYBACK) if vehicle is not None else []
        sessions = [session for permit in permits for session in self.bridge.sessions(permit) if not session.over]
        if not sessions:
            reply(PlaybackControlAnswer(result=SESSION_ENDED))
            return
        if data.control_type == 2:
            for permit in permits:
                self.bridge.drop(permit, "stopped by the superior (0x9A02)")
            reply(PlaybackControlAnswer(result=SUCCESS))
            return
        result = SUCCESS
        for session in sessions:
            result = await self._control(superior, request, session, data) or result
        reply(PlaybackControlAnswer(result=result))

    async def _control(self, superior: Superior, request: Request, session: Playback, data: PlaybackControl) -> int:
        code, times = int(data.control_type), SPEEDS.get(int(data.fast_time), 1)
        action = {0: RESUME, 1: PAUSE, 3: SPEED, 4: REWIND, 5: SEEK, 6: KEYFRAMES}.get(code)
        if action is None or (action == SEEK and not data.date_time):
            return self.refuse(superior, request, NOT_SUPPORTED, f"control {code}")
        time = datetime.fromtimestamp(data.date_time, UTC) if action == SEEK else None
        try:
            await session.control(action, times, time)
        except StartFailed as problem:
            return self.refuse(superior, request, FAILURE, problem.message)
        except TerminalOfflineError:
            return self.refuse(superior, request, SESSION_ENDED, "the terminal is not online")
        except RequestError as problem:
            unsupported = isinstance(problem, RefusedError) and problem.result == 3
            return self.refuse(superior, request, NOT_SUPPORTED if unsupported else FAILURE, problem.message)
        return SUCCESS

    # ---- passwords ----------------------------------------------------------------------------------------------------------------

    def passwords(self, superior: Superior, request: Request, reply: Reply) -> None:
        """A 0x9702 that nobody asked for: some superiors mean it as a demand for the passwords."""
        self.bridge.counts["0x9702"] += 1
        log.info("superior {name}: 0x9702, which no enterprise platform asks for; answered with the present passwords (0x1701)", name=superior.name)
        superior.send_passwords()


def digits_of(unix: int) -> str:
    """UTC seconds of the platforms as the terminals' local digits; 0 = no limit."""
    return wire_digits(datetime.fromtimestamp(unix, BEIJING) if unix else None)


def _seconds(digits: str) -> int:
    """The other way; 0 for what is no time."""
    try:
        return int(datetime.strptime(digits, "%y%m%d%H%M%S").replace(tzinfo=BEIJING).timestamp())
    except ValueError:
        return 0


def item_of(resource: Resource) -> CatalogueItem:
    """A terminal's recording as an item of table 47."""
    return CatalogueItem(
        channel_id=resource.channel,
        start_time=_seconds(resource.start_time),
        end_time=_seconds(resource.end_time),
        alarm_type=resource.alarm_flags,
        avitem_type=resource.media_type,
        stream_type=resource.stream_type,
        mem_type=resource.storage_type,
        file_size=resource.file_size,
    )


def _wanted(criteria: Criteria, channel: int, resource: Resource) -> bool:
    """Terminals list more than they were asked for; the superior gets what it asked for. Any common alarm bit counts; 0 is no filter."""
    return (
        criteria.fits(channel, resource)
        and (not criteria.alarm_flags or bool(criteria.alarm_flags & resource.alarm_flags))
        and (criteria.media_type not in (1, 2) or resource.media_type in (criteria.media_type, 0))
        and (not criteria.stream_type or resource.stream_type in (criteria.stream_type, 0))
        and (not criteria.storage_type or resource.storage_type in (criteria.storage_type, 0))
    )
