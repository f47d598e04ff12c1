"""All superior platforms: their links, which vehicles go up to which, positions and alarms from terminals to them, and their requests to handlers.

    Terminals ──0x0200, 0x0704, online──→ Superiors ──position(), register()──→ Superior ──→ its link, or its outbox
    Superior's link ──message──→ Superiors ──→ Uplink's table ──→ handler ──reply──→ Superior
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.alarm_reading import STATES
from relay.core.alarm_types import AREA_IN_OUT, ENTERED_AREA, LEFT_AREA, alarms_of, left_area
from relay.core.alias import tidy_plate
from relay.core.events import Events
from relay.core.orders import Orders
from relay.core.positions import BASE_SIZE, batch, block_2011, unix_time
from relay.core.superior import LAST_WORDS_S, Superior
from relay.core.superior_link import SuperiorLink, Wire
from relay.core.superior_requests import Requests
from relay.core.superior_vehicles import Vehicle, goes_up
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.core.throttle import PeerLog
from relay.core.time_passwords import Passwords
from relay.core.uplink import Request, Uplink
from relay.hub.merge import Clock
from relay.jt808.messages.data import DriverIdentity
from relay.jt808.session_events import Received as TerminalMessage
from relay.jt809.link import Broken, Event, KeptAlive, LoggedIn, LoginRefused, PeerCloses, Received, SubLinkLost, SubLoggedIn
from relay.jt809.sublink import Candidate, SubLink
from relay.settings import Superior as Settings
from relay.store.alarms import AlarmRow
from relay.store.errors import StoreError
from relay.store.superiors import Kept, PasswordRow, SuperiorStore
from relay.store.terminals import KnownTerminal

log = Logger()

#: settings of the listener
AT_START = ("sublink_host", "sublink_port", "sublink_tls", "tls_certificate", "tls_key")
#: connections on the subordinate links' ports that have not logged in: a superior has one; a few more while it reconnects
UNKNOWN_LINKS_MAX = 64

MessageWatcher = Callable[[Terminal, TerminalMessage], None]


class Connector(Protocol):
    """Makes main-link connections; ``relay.net.superior809`` has the real one."""

    def connect(self, superior: Superior) -> None:
        """Begin one attempt; ends in ``superior.connected`` or ``superior.connect_failed``."""


class Rows(Protocol):
    """What is needed of the store of terminals."""

    def resolve(self, name: str) -> Deferred[KnownTerminal | None]: ...


class Superiors:
    """All of them. ``wall``: UNIX seconds."""

    def __init__(
        self,
        settings: Sequence[Settings],
        terminals: Terminals,
        rows: Rows,
        store: SuperiorStore,
        clock: Clock,
        wall: Callable[[], float],
        events: Events,
        connector: Connector,
        sublink_port: Callable[[Settings], int],
        orders: Orders,
        log_peer_s: float = 1.0,
    ) -> None:
        self.terminals = terminals
        self.rows = rows
        self.store = store
        self.clock = clock
        self.wall = wall
        self.events = events
        self.connector = connector
        self.orders = orders  #: what has terminals do something, and writes down who wanted it
        self.uplink = Uplink()
        self.peer_log = PeerLog(log, clock.seconds, log_peer_s)
        self.uplink.warn = self.peer_log.warn
        self.passwords = Passwords(wall, self._keep_passwords)
        self.requests = Requests(clock, wall, events)
        self._sublink_port = sublink_port
        self._superiors = {one.name: Superior(one, self) for one in settings}
        self._vehicles: OrderedDict[str, Vehicle] = OrderedDict()
        self._by_plate: dict[tuple[str, int], str] = {}
        self._unknown: dict[SuperiorLink, None] = {}
        self._watching: list[Callable[[], None]] = []
        self._message_watchers: list[MessageWatcher] = []
        self._closed = False

    # ---- finding --------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Superior]:
        return iter(self._superiors.values())

    def __len__(self) -> int:
        return len(self._superiors)

    def get(self, name: str) -> Superior | None:
        """By name."""
        return self._superiors.get(name)

    def epoch(self) -> float:
        """What, added to the monotonic clock, gives UNIX seconds."""
        return self.wall() - self.clock.seconds()

    def sublink_port(self, superior: Superior) -> int:
        """The port on which its subordinate link comes in."""
        return self._sublink_port(superior.settings)

    def vehicle(self, sim: str) -> Vehicle | None:
        """By the terminal's number, if it was seen."""
        return self._vehicles.get(sim)

    def find(self, plate: str, color: int) -> Vehicle | None:
        """By plate and colour, if its terminal was seen since the start; a colour that is not known on either side fits any."""
        sim = self._by_plate.get((tidy_plate(plate), color)) or self._by_plate.get((tidy_plate(plate), 0))
        return self._vehicles.get(sim) if sim is not None else None

    def vehicles_of(self, superior: Superior) -> Iterator[Vehicle]:
        """Those that are online and go up to it."""
        for terminal in self.terminals.online():
            vehicle = self._vehicle_of(terminal)
            if vehicle is not None and superior in vehicle.superiors:
                yield vehicle

    def online(self, sim: str) -> bool:
        """Whether the terminal is there."""
        return self.terminals.is_online(sim)

    # ---- starting and ending --------------------------------------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """Read what is kept, then connect; fires when that is read."""
        if not self._superiors:
            return succeed(None)
        self._watching = [self.terminals.watch(self._terminal_changed), self.terminals.watch_messages(self._terminal_message)]
        self.requests.start()
        return ensureDeferred(self._begin())

    async def _begin(self) -> None:
        await self.requests.load()
        kept: dict[str, Kept] = {}
        pairs: dict[str, PasswordRow] = {}
        try:
            kept = await self.store.kept()
            pairs = await self.store.passwords()
        except StoreError as problem:
            log.error("superior platforms: what was kept cannot be read: {problem}", problem=str(problem))
        for name in kept.keys() - self._superiors.keys():
            log.warn("{count} positions wait for superior {name}, which is not configured any more", count=kept[name].rows, name=name)
        for superior in self._superiors.values():
            settings = superior.settings
            self.passwords.add(superior.name, settings.passwords_life_s, settings.passwords_overlap_s, pairs.get(superior.name))
            superior.outbox.begin(*kept.get(superior.name, Kept(0, 0)))
            if not self._closed:
                superior.start()

    def reconfigure(self, settings: Sequence[Settings]) -> list[str]:
        """The configuration was reread: change what can be changed, and give what waits for the next start.

        New superiors, ones that are gone, and other ports wait: sockets are bound at the start, while the process may still do so.
        """
        waiting = []
        fresh = {one.name: one for one in settings}
        for name in sorted(fresh.keys() ^ self._superiors.keys()):
            waiting.append(f"superior {name} ({'new' if name in fresh else 'gone'})")
        for superior in self._superiors.values():
            wanted = fresh.get(superior.name)
            if wanted is None:
                continue
            bound = [key for key in AT_START if getattr(superior.settings, key) != getattr(wanted, key)]
            waiting += [f"superior {superior.name} {key}" for key in bound]
            wanted = replace(wanted, **{key: getattr(superior.settings, key) for key in bound})
            if wanted == superior.settings:
                continue
            superior.reconfigure(wanted)
            self.passwords.adjust(superior.name, wanted.passwords_life_s, wanted.passwords_overlap_s)
        for vehicle in self._vehicles.values():
            vehicle.superiors = self._superiors_of(vehicle)
        return waiting

    def _keep_passwords(self, superior: str, row: PasswordRow) -> None:
        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, StoreError):
                log.failure("keeping passwords failed", failure)
            else:
                log.error("the passwords of superior {name} are not kept: {problem}", name=superior, problem=failure.getErrorMessage())

        self.store.keep_passwords(superior, row).addErrback(failed)

    def close(self) -> Deferred[None]:
        """End all links in order; fires when what could not be sent is on disk."""
        if self._closed or not self._superiors:
            return succeed(None)
        self._closed = True
        for stop in self._watching:
            stop()
        self.requests.close()
        self.uplink.cancel()
        for superior in self._superiors.values():
            superior.close()
        for link in list(self._unknown):
            link.end("the relay stops")
        done: Deferred[None] = Deferred()
        self._wait_until_gone(self.clock.seconds() + LAST_WORDS_S, done)
        return done

    def _wait_until_gone(self, deadline: float, done: Deferred[None]) -> None:
        """Until every link is closed or the time is over."""
        if any(superior.open_links for superior in self._superiors.values()):
            if self.clock.seconds() < deadline:
                self.clock.callLater(0.02, self._wait_until_gone, deadline, done)
                return
            for superior in self._superiors.values():
                superior.give_up()
        writes = [superior.outbox.flush() for superior in self._superiors.values()]
        DeferredList(writes).addCallback(lambda _: done.callback(None))

    # ---- subordinate links ------------------------------------------------------------------------------------------------

    def accepted(self, wire: Wire, host: str, port: int) -> SuperiorLink | None:
        """A connection on the port of one or more superiors; None: it is not to be served."""
        candidates = [
            Candidate(one.name, one.options, one.serials, lambda one=one: one.verify_code if one.wanted else None)  # type: ignore[misc]
            for one in self._superiors.values()
            if (one.settings.sublink_host, one.settings.sublink_port) == (host, port)
        ]
        if self._closed or not candidates:
            return None
        if len(self._unknown) >= UNKNOWN_LINKS_MAX:  # a superior logs in within a moment, and is not among the oldest
            self.uplink.counts["subordinate connections cut: too many"] += 1
            self.peer_log.warn(wire.host, "{peer}: {count} subordinate links have not logged in, the oldest is cut", peer=wire.peer, count=len(self._unknown))
            next(iter(self._unknown)).end("it did not log in, and others wait")
        link = SuperiorLink(self, SubLink(candidates, self.clock.seconds(), self.epoch()), wire, self.clock)
        self._unknown[link] = None
        return link

    # ---- what links tell (Owner) --------------------------------------------------------------------------------------------

    def happened(self, link: SuperiorLink, event: Event) -> None:
        """One event of a link's core."""
        if isinstance(event, SubLoggedIn):
            self._unknown.pop(link, None)
            link.superior = self._superiors[event.name]
            link.superior.sub_up(link)
            return
        superior = link.superior
        if superior is None:
            self._of_unknown(link, event)
        elif isinstance(event, Received):
            self._received(superior, event)
        elif isinstance(event, Broken):
            superior.counts[f"dropped: {event.reason}"] += 1
            self.peer_log.warn(superior.name, "superior {name}: {detail}", name=superior.name, detail=event.detail)
        elif isinstance(event, LoggedIn):
            superior.logged_in(event)
        elif isinstance(event, LoginRefused):
            superior.login_refused(event, link.main)
        elif isinstance(event, PeerCloses):
            superior.peer_closes(event)
        elif isinstance(event, SubLinkLost):
            superior.sub_lost(event)
        elif isinstance(event, KeptAlive) and not link.main and superior.main is not None:
            superior.main.core.answered(self.clock.seconds())  # seen: 0x1006 on the subordinate link

    def _of_unknown(self, link: SuperiorLink, event: Event) -> None:
        """A connection that has not logged in."""
        if isinstance(event, Broken | LoginRefused):
            word = event.reason if isinstance(event, Broken) else "verify_code"
            self.uplink.counts[f"before login: {word}"] += 1
            detail = event.detail if isinstance(event, Broken) else event.reason
            self.peer_log.warn(link.wire.host, "{peer}: subordinate link: {detail}", peer=link.wire.peer, detail=detail)

    def ended(self, link: SuperiorLink, reason: str) -> None:
        """A link is over."""
        self._unknown.pop(link, None)
        if link.superior is not None:
            link.superior.ended(link, reason)

    def gone(self, link: SuperiorLink) -> None:
        """Its connection is closed."""
        if link.superior is not None:
            link.superior.gone(link)

    def _received(self, superior: Superior, event: Received) -> None:
        business = event.business
        kind = business.data_type or event.header.msg_id
        if kind in superior.received or len(superior.received) < 128:  # the standard has some sixty
            superior.received[kind] += 1
        superior.peer_serials[kind if superior.edition >= 2019 and len(superior.peer_serials) < 256 else 0] = event.header.msg_sn
        self.uplink.dispatch(superior, Request(event.header, business, tidy_plate(business.vehicle_no), business.vehicle_color))

    # ---- what terminals tell ------------------------------------------------------------------------------------------------

    def watch_messages(self, watcher: MessageWatcher) -> Callable[[], None]:
        """Call it for every message of a terminal whose vehicle goes up somewhere, beside positions: for handlers that wait for one."""
        self._message_watchers.append(watcher)
        return lambda: self._message_watchers.remove(watcher) if watcher in self._message_watchers else None

    def _vehicle_of(self, terminal: Terminal) -> Vehicle | None:
        """The terminal's vehicle; None while it has no plate."""
        vehicle = self._vehicles.get(terminal.sim)
        if vehicle is not None and vehicle.terminal is terminal and vehicle.current():
            return vehicle
        fresh = Vehicle(terminal)
        if vehicle is not None:
            self._forget(vehicle)
        if not fresh.plate:
            return None
        fresh.superiors = self._superiors_of(fresh)
        if vehicle is not None and (vehicle.plate, vehicle.color) == (fresh.plate, fresh.color):
            fresh.driver, fresh.waybill, fresh.alarm, fresh.video_alarm = vehicle.driver, vehicle.waybill, vehicle.alarm, vehicle.video_alarm
        elif vehicle is not None:  # another name: it is another vehicle to every superior
            for one in self._superiors.values():
                for link in (one.main, one.sub):
                    if link is not None:
                        link.registered.discard(terminal.sim)
        self._vehicles[terminal.sim] = fresh
        self._by_plate[fresh.plate, fresh.color] = terminal.sim
        if len(self._vehicles) > self.terminals.limits.terminals_max:
            self._forget(next(iter(self._vehicles.values())))
        return fresh

    def _superiors_of(self, vehicle: Vehicle) -> tuple[Superior, ...]:
        names = vehicle.names()
        return tuple(one for one in self._superiors.values() if goes_up(one.settings.vehicles, *names))

    def _forget(self, vehicle: Vehicle) -> None:
        self._vehicles.pop(vehicle.sim, None)
        if self._by_plate.get((vehicle.plate, vehicle.color)) == vehicle.sim:
            del self._by_plate[vehicle.plate, vehicle.color]

    def _terminal_changed(self, what: str, terminal: Terminal) -> None:
        if what != "online":
            return
        vehicle = self._vehicle_of(terminal)
        if vehicle is None:
            return
        for superior in vehicle.superiors:
            link = superior.link
            if link is not None and not link.wire.full:
                superior.register(link, vehicle)

    def _terminal_message(self, terminal: Terminal, received: TerminalMessage) -> None:
        vehicle = self._vehicle_of(terminal)
        if vehicle is None or not vehicle.superiors:
            return
        msg_id = received.header.msg_id
        body = received.body
        if msg_id == 0x0200:
            if len(body) >= BASE_SIZE:
                self._position(vehicle, body, False)
        elif msg_id == 0x0704:
            kind, bodies = batch(body)
            for one in bodies:
                self._position(vehicle, one, kind == 1)
        else:
            if isinstance(received.message, DriverIdentity):
                vehicle.driver = received.message
            elif msg_id == 0x0701 and len(body) > 4:
                vehicle.waybill = body[4:]
        for watcher in list(self._message_watchers):
            watcher(terminal, received)

    def _position(self, vehicle: Vehicle, body: bytes, late: bool) -> None:
        block = block_2011(body) if any(one.body_edition < 2019 for one in vehicle.superiors) else b""
        for superior in vehicle.superiors:
            superior.position(vehicle, body, block, late)
        alarm = int.from_bytes(body[:4], "big")
        if not late and (alarm != vehicle.alarm or vehicle.video_alarm or b"\x14\x04" in body):
            self._alarms(vehicle, alarm, body)

    def _alarms(self, vehicle: Vehicle, alarm: int, body: bytes) -> None:
        """0x1402 for alarms that begin with this position."""
        begun, video = alarms_of(body, vehicle.alarm, vehicle.video_alarm)
        vehicle.alarm, vehicle.video_alarm = alarm, video
        if not begun:
            return
        for superior in vehicle.superiors:
            for bit in begun:
                entry = superior.alarm_types.get(bit)
                if entry is not None:
                    if bit == AREA_IN_OUT and entry.warn_type == ENTERED_AREA and left_area(body):
                        entry = LEFT_AREA
                    superior.alarm(vehicle, entry, unix_time(body))

    def safety_alarm(self, what: str, row: AlarmRow) -> None:
        """An active-safety alarm (``core.alarms`` watches for it): 0x1402 when it begins. States come by the positions themselves."""
        vehicle = self._vehicles.get(row.key)
        if what != "begin" or row.late or row.kind in STATES or vehicle is None:
            return
        for superior in vehicle.superiors:
            table = superior.alarm_types
            entry = table.get(f"{row.kind}.{row.code}") or table.get(f"{row.kind}.*")
            if entry is not None:
                superior.alarm(vehicle, entry, int(row.began))
