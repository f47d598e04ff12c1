"""One superior platform (上级平台): the state of its two links, reconnecting, and what goes up to it.

    state       main link      subordinate link      what goes up                       what comes down
    STOPPED     closed         closed                waits in the outbox                —
    DOWN        closed         closed                waits; a new attempt is planned    —
    LOGIN       0x1001 sent    any                   by the subordinate link, if up     the same
    MAIN_UP     logged in      closed                by the main link                   by the main link
    BOTH_UP     logged in      logged in             by the main link                   by either
    SUB_ONLY    lost           logged in             by the subordinate link (3.3)      by the subordinate link

When the main link is lost while the subordinate one is up, 0x1007 goes out on that; when it is logged in again, the new verify code counts for the next
0x9001, and the subordinate link that is there stays until the superior makes a new one.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, deque
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from relay.core.alarm_types import AlarmType, alarm_table
from relay.core.outbox import POSITION, Outbox
from relay.core.positions import block_2011, block_2019, tail_2019
from relay.core.superior_link import SuperiorLink
from relay.core.superior_state import WHILE_UP, State, link_options
from relay.core.superior_view import view_of
from relay.hub.merge import DelayedCall
from relay.jt809.envelope import Business
from relay.jt809.link import LINK_MESSAGES, LoggedIn, LoginRefused, PeerCloses, Serials, SubLinkLost
from relay.jt809.mainlink import MainLink
from relay.jt809.messages.alarms import AlarmReport
from relay.jt809.messages.base import Body
from relay.jt809.messages.link import CloseLinkNotice, DisconnectNotice, SerialNotice, SerialNumbersUp
from relay.jt809.messages.video import TimePasswords
from relay.settings import Superior as Settings

if TYPE_CHECKING:
    from relay.core.superior_link import Wire
    from relay.core.superior_vehicles import Vehicle
    from relay.core.superiors import Superiors

log = Logger()

TICK_S = 0.2  #: the outbox is looked at so often
REFUSED_FOR_GOOD = frozenset({1, 2, 3, 4})  #: results of 0x1002 that trying again soon does not change
JITTER = 0.25  #: of a pause: superiors that come back must not meet all their subordinate platforms in one moment
UNDER_WAY_BYTES = 1 << 19  #: of supplements that are not acknowledged: more would only fill buffers
REGISTRATIONS_A_TICK = 50  #: 0x1201 after a login: ten thousand vehicles within forty seconds, positions in between
RESEND_KEPT = 2000  #: messages that 0x9303 can ask for again
BREAKS_KEPT = 1000
LAST_WORDS_S = 1.0  #: at the end, for what is under way to arrive


class Superior:
    """One of them."""

    def __init__(self, settings: Settings, hub: Superiors) -> None:
        self.hub = hub
        self.name = settings.name
        self.outbox = Outbox(self.name, hub.store, hub.wall, settings.queue_max, settings.queue_age_s)
        self._configure(settings)
        self.counts: Counter[str] = Counter()  #: what happened, for metrics
        self.received: Counter[int] = Counter()  #: messages by sub-business type
        self.main: SuperiorLink | None = None
        self.sub: SuperiorLink | None = None
        self.verify_code: int | None = None
        self.wanted = settings.enabled
        self.state = State.DOWN if settings.enabled else State.STOPPED
        self.state_since = hub.wall()
        self.problem = ""  #: why it is not up, in words
        self.attempts = 0  #: in a row that failed
        self.next_attempt: float | None = None  #: UNIX time
        self.breaks: deque[tuple[float, float]] = deque(maxlen=BREAKS_KEPT)  #: (begin, end; 0 = lasts) of times without a link, UNIX seconds
        self.peer_serials: dict[int, int] = {}  #: last number of each of the superior's sub-business types (2019)
        self._attempt: DelayedCall | None = None
        self._ticking: DelayedCall | None = None
        self._connecting = False
        self.open_links: set[SuperiorLink] = set()  #: connections that are not closed
        self._info_id = 0
        self._refused_pause = 0.0
        self._budget = 0.0
        self._ticked_at = hub.clock.seconds()
        self._unregistered: deque[str] = deque()  #: vehicles to be registered after a login
        self._sent: OrderedDict[tuple[int, int], tuple[int, bytes]] = OrderedDict()  #: (sub-business, serial) -> msg_id, body
        self._rng = random.Random()  # noqa: S311 - jitter and keys of a cipher that hides nothing

    def _configure(self, settings: Settings) -> None:
        self.settings = settings
        self.edition = settings.edition
        self.body_edition = settings.body_edition or settings.edition
        self.options = link_options(settings)
        self.serials = Serials(self.edition)
        self.outbox.limit(settings.queue_max, settings.queue_age_s)
        self.alarm_types = alarm_table(settings.alarm_types) if settings.alarms else {}
        self._tail = tail_2019(settings.platform_id)

    def reconfigure(self, settings: Settings) -> None:
        """The configuration was reread. What the present links stand on makes them end and begin anew."""
        before = self.settings
        anew = [key.name for key in fields(Settings) if key.name not in WHILE_UP and getattr(before, key.name) != getattr(settings, key.name)]
        serials = self.serials
        self._configure(settings)
        if settings.edition == before.edition:
            self.serials = serials  # they go on
        if not anew:
            return
        reason = f"the configuration has changed: {', '.join(anew)}"
        if "enabled" in anew:
            self.wanted = settings.enabled
        for link in (self.sub, self.main):
            if link is not None:
                link.end(reason)
        if self.wanted:
            self.attempts = 0
            self._try_later(reason)
        else:
            self._cancel_attempt()
            self._look()

    # ---- starting and ending --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, if the configuration says so; keep what comes until then."""
        self._tick()
        if self.wanted:
            self._begin_attempt()

    def connect(self) -> None:
        """The operator wants it up, at once."""
        self.wanted = True
        self.attempts = 0
        if self.main is None and not self._connecting:
            self._begin_attempt()

    def disconnect(self) -> None:
        """The operator wants it down: log out (0x1003) and stay away."""
        self.wanted = False
        self._cancel_attempt()
        self.problem = "stopped by the operator"
        if self.sub is not None and self.sub.up:
            self.sub.send(0x1008, 0x1008, CloseLinkNotice(reason_code=1).encode(self.body_edition))
            self.sub.end("stopped by the operator")
        if self.main is not None:
            self._core(self.main).logout(self.hub.clock.seconds())
            self.main.settle()
        self._look()

    def close(self) -> None:
        """The relay stops: 0x1008 where there is a subordinate link, 0x1003 else."""
        self.wanted = False
        self._cancel_attempt()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        reason = "the relay stops"
        if self.sub is not None and self.sub.up:
            self.sub.send(0x1008, 0x1008, CloseLinkNotice(reason_code=0).encode(self.body_edition))
            self.sub.end(reason)
            if self.main is not None:
                self.main.end(reason)
        elif self.main is not None:
            self._core(self.main).logout(self.hub.clock.seconds())
            self.main.settle()

    def give_up(self) -> None:
        """The relay stops, and a connection does not close: what is not delivered is kept."""
        for link in list(self.open_links):
            self.gone(link)

    @staticmethod
    def _core(link: SuperiorLink) -> MainLink:
        core = link.core
        if not isinstance(core, MainLink):  # pragma: no cover - ``main`` is made of nothing else
            raise TypeError("not a main link")
        return core

    # ---- the main link --------------------------------------------------------------------------------------------------

    def _begin_attempt(self) -> None:
        self._cancel_attempt()
        self._connecting = True
        self.counts["attempts"] += 1
        self._look()
        self.hub.connector.connect(self)

    def connected(self, wire: Wire, local: str) -> SuperiorLink | None:
        """The connection is made (called by the adapter); None: it is not wanted any more. ``local``: our address on it."""
        self._connecting = False
        if not self.wanted or self.main is not None:
            self._look()
            return None
        settings = self.settings
        options = self.options
        if settings.sublink_port:
            port = settings.sublink_advertise_port or self.hub.sublink_port(self)
            options = replace(options, down_link_ip=settings.sublink_advertise or local, down_link_port=port)
        core = MainLink(options, self.serials, self.hub.clock.seconds(), self.hub.epoch(), self._rng.getrandbits(32))
        self.main = SuperiorLink(self.hub, core, wire, self.hub.clock, self)
        self.open_links.add(self.main)
        self._look()
        return self.main

    def connect_failed(self, reason: str) -> None:
        """No connection could be made (called by the adapter)."""
        self._connecting = False
        self.counts["connections failed"] += 1
        self._try_later(f"no connection: {reason}")

    def _try_later(self, problem: str, at_least_s: float = 0.0) -> None:
        self.problem = problem
        self._look()
        if not self.wanted:
            return
        settings = self.settings
        pause = min(settings.reconnect_max_s, settings.reconnect_s * 2.0 ** min(self.attempts, 20))
        pause = max(pause, min(at_least_s, settings.reconnect_max_s))
        pause *= 1 + JITTER * (2 * self._rng.random() - 1)
        self.attempts += 1
        self._cancel_attempt()
        self._attempt = self.hub.clock.callLater(pause, self._begin_attempt)
        self.next_attempt = self.hub.wall() + pause
        if self.attempts in (1, 2, 4, 8) or self.attempts % 16 == 0:  # a superior that is down for a week must not fill the log
            text = "superior {name}: {problem}; attempt {attempt} in {pause:.1f} s"
            log.warn(text, name=self.name, problem=problem, attempt=self.attempts + 1, pause=pause)

    def _cancel_attempt(self) -> None:
        self.next_attempt = None
        if self._attempt is not None and self._attempt.active():
            self._attempt.cancel()
        self._attempt = None

    def logged_in(self, event: LoggedIn) -> None:
        """0x1002 with 0."""
        self.verify_code = event.verify_code
        self.attempts = 0
        self.problem = ""
        self.counts["logins"] += 1
        log.info("superior {name}: main link logged in", name=self.name)
        self._look()
        self.send_passwords()
        self._unregistered = deque(vehicle.sim for vehicle in self.hub.vehicles_of(self))

    def login_refused(self, event: LoginRefused, main: bool) -> None:
        """0x1002 with another result, or our own refusal of 0x9001."""
        if main:
            self.counts[f"login refused: {event.result}"] += 1
            self._refused_pause = self.settings.reconnect_max_s if event.result in REFUSED_FOR_GOOD else 0.0
        else:
            self.counts["subordinate link refused"] += 1

    def peer_closes(self, event: PeerCloses) -> None:
        """0x9008 or 0x9003."""
        self.counts[f"closed by the superior: 0x{event.msg_id:04X}"] += 1
        if event.msg_id == 0x9008 and self.sub is not None:
            self.sub.end("the superior closes its links (0x9008)")

    def sub_lost(self, event: SubLinkLost) -> None:
        """0x9007."""
        self.counts["subordinate link broken (0x9007)"] += 1
        why = {0: "it cannot connect to the announced address", 1: "it was lost and three attempts failed"}.get(event.code, "other")
        text = "superior {name} gives up the subordinate link: {why}; what it sends comes by the main link. Announced: {place}"
        log.warn(text, name=self.name, why=why, place=self.announced())

    def announced(self) -> str:
        """The address that the present login announced."""
        if self.main is None:
            return ""
        options = self.main.core.options
        return f"{options.down_link_ip}:{options.down_link_port}"

    # ---- links --------------------------------------------------------------------------------------------------------

    def sub_up(self, link: SuperiorLink) -> None:
        """A subordinate link has logged in as ours; it takes the place of the former one."""
        former, self.sub = self.sub, link
        self.open_links.add(link)
        if former is not None and former is not link:
            self.counts["subordinate link replaced"] += 1
            former.end("replaced by a new subordinate link")
        self.counts["subordinate logins"] += 1
        log.info("superior {name}: subordinate link logged in from {peer}", name=self.name, peer=link.wire.peer)
        self._look()
        if self.body_edition >= 2019 and self.main is not None and self.main.up:
            self._tell_serials()

    def ended(self, link: SuperiorLink, reason: str) -> None:
        """A link of ours is over."""
        if link is self.sub:
            self.sub = None
            log.info("superior {name}: subordinate link ended: {reason}", name=self.name, reason=reason)
            self._look()
        elif link is self.main:
            was_up = self.state in (State.MAIN_UP, State.BOTH_UP)
            self.main = None
            pause, self._refused_pause = self._refused_pause, 0.0
            if was_up:
                self.counts["main link lost"] += 1
                log.info("superior {name}: main link ended: {reason}", name=self.name, reason=reason)
            if self.sub is not None and self.sub.up and self.wanted:
                self.sub.send(0x1007, 0x1007, DisconnectNotice(error_code=0).encode(self.body_edition))
            if self.wanted:
                self._try_later(reason, pause)
            else:
                self._look()

    def gone(self, link: SuperiorLink) -> None:
        """A connection of ours is closed: what it did not deliver waits again."""
        self.open_links.discard(link)
        ids: list[int] = []
        self._take_delivered(link, final=True)
        for left in link.under_way:
            if left.ids:
                ids.extend(left.ids)
            else:
                self.outbox.add(left.kind, left.head, left.data)
        self.counts["given back"] += len(link.under_way)
        link.under_way.clear()
        self.outbox.returned(ids)

    def _look(self) -> None:
        """Work out the state, tell when it is another."""
        main, sub = self.main, self.sub
        if main is not None and main.up:
            state = State.BOTH_UP if sub is not None and sub.up else State.MAIN_UP
        elif sub is not None and sub.up:
            state = State.SUB_ONLY
        elif main is not None or self._connecting:
            state = State.LOGIN
        else:
            state = State.DOWN if self.wanted else State.STOPPED
        before = self.state
        if state is before:
            return
        self.state, self.state_since = state, self.hub.wall()
        lost = (State.DOWN, State.LOGIN, State.STOPPED)
        if before not in lost and state in lost:
            self.breaks.append((self.state_since, 0.0))
        elif before in lost and state not in lost and self.breaks and not self.breaks[-1][1]:
            self.breaks[-1] = (self.breaks[-1][0], self.state_since)
        if (before, state) not in ((State.DOWN, State.LOGIN), (State.LOGIN, State.DOWN)):  # every attempt
            self.hub.events.publish("superior.state", superior=self.name, state=state.value, before=before.value, reason=self.problem)

    @property
    def link(self) -> SuperiorLink | None:
        """Where what goes up goes: the main link, else the subordinate one; None when neither is up."""
        main = self.main
        if main is not None and main.up:
            return main
        sub = self.sub
        return sub if sub is not None and sub.up else None

    # ---- what goes up ---------------------------------------------------------------------------------------------------

    def send(self, message: Body, plate: str = "", color: int = 0, *, form: str = "", source: tuple[int, int] | None = None) -> int | None:
        """Send a message in its family's envelope; gives its serial number, None when no link is up.

        ``plate`` and ``color`` for vehicles' envelopes; ``source`` (sub-business, serial number) of the request that it answers, for the
        2019 answers whose envelope names it.
        """
        link = self.link
        if link is None:
            self.counts["not sent: no link"] += 1
            return None
        msg_id, kind, body = self.encode(message, plate, color, form=form, source=source)
        sn = link.send(msg_id, kind, body)
        self._remember(msg_id, kind, sn, body)
        return sn

    def encode(
        self, message: Body, plate: str = "", color: int = 0, *, form: str = "", source: tuple[int, int] | None = None
    ) -> tuple[int, int, bytes]:
        """msg_id, sub-business and body of a message, as this superior's edition has them."""
        msg_id, sub_id = message.KEY
        edition = self.body_edition
        business = Business(msg_id, form or self._form(msg_id, sub_id), data=message, data_type=sub_id, edition=edition)
        business.vehicle_no, business.vehicle_color = plate, color
        if business.form == "A" and source is not None:
            business.source_data_type, business.source_msg_sn = source
        return msg_id, sub_id or msg_id, business.encode()

    def _form(self, msg_id: int, sub_id: int) -> str:
        if not sub_id:
            return "L"
        if msg_id in (0x1300, 0x1102, 0x1103):
            return "P"
        if sub_id == 0x1701:
            return "V" if self.settings.passwords_in_envelope else "T"
        if msg_id == 0x1400:
            return "P" if self.body_edition >= 2019 else "V"
        if sub_id in (0x1205, 0x1206):
            return "A" if self.body_edition >= 2019 else "V"
        return "V"

    def _remember(self, msg_id: int, kind: int, sn: int, body: bytes) -> None:
        """For 0x9303 (2019)."""
        if self.edition >= 2019 and msg_id not in (0x1700, 0x1103):
            self._sent[kind, sn] = msg_id, body
            if len(self._sent) > RESEND_KEPT:
                self._sent.popitem(last=False)

    def resend(self, kind: int, first: int, last: int) -> int:
        """Messages of a kind again (0x9303); gives how many are still here."""
        link = self.link
        found = [self._sent[kind, sn] for sn in range(first, min(last, first + RESEND_KEPT) + 1) if (kind, sn) in self._sent]
        if link is not None:
            for msg_id, body in found:
                link.send(msg_id, kind, body)
        return len(found)

    def send_passwords(self) -> None:
        """0x1701: after each login, at each renewal, and when somebody asks."""
        home, cross = self.hub.passwords.pair(self.name)
        self.send(TimePasswords(platform_id=self.settings.platform_id, authorize_code_1=home, authorize_code_2=cross))

    def _tell_serials(self) -> None:
        now = int(self.hub.wall())
        items = [SerialNotice(sub_data_type=kind, msg_sn=sn, time=now) for kind, sn in sorted(self.serials.last().items()) if kind not in LINK_MESSAGES]
        self.send(SerialNumbersUp(items=items[:255]))

    # positions, by the thousand

    def position(self, vehicle: Vehicle, body: bytes, block: bytes, late: bool = False) -> None:
        """A 0x0200 body of a vehicle; ``block`` is its 2011 form (empty where nobody needs it). ``late``: stored by the terminal in a blind area."""
        link = self.link
        if link is None or link.wire.full:
            self.outbox.add(POSITION, vehicle.head, body)
            return
        if vehicle.sim not in link.registered:
            self.register(link, vehicle)
        data = block if self.body_edition < 2019 else block_2019(body, self._tail)
        if late:
            data = b"\x01" + data
        kind = 0x1203 if late else POSITION
        whole = vehicle.head + kind.to_bytes(2, "big") + len(data).to_bytes(4, "big") + data
        link.send_kept(0x1200, kind, whole, vehicle.head, body, row=POSITION)
        self.counts["supplements" if late else "positions"] += 1

    def register(self, link: SuperiorLink, vehicle: Vehicle) -> None:
        """0x1201."""
        link.registered.add(vehicle.sim)
        message = vehicle.registration(self.settings, self.body_edition)
        msg_id, kind, body = self.encode(message, vehicle.plate, vehicle.color)
        self._remember(msg_id, kind, link.send(msg_id, kind, body), body)
        self.counts["registrations"] += 1

    def keep_or_send(self, message: Body, plate: str, color: int) -> int | None:
        """A message that must not be lost (an alarm): at once, or when a link is up again."""
        msg_id, kind, body = self.encode(message, plate, color)
        link = self.link
        if link is None or link.wire.full:
            self.outbox.add(kind, b"", msg_id.to_bytes(2, "big") + body)
            return None
        sn = link.send_kept(msg_id, kind, body, b"", msg_id.to_bytes(2, "big") + body)
        self._remember(msg_id, kind, sn, body)
        return sn

    def alarm(self, vehicle: Vehicle, entry: AlarmType, at: int) -> None:
        """0x1402 for an alarm that began then (UNIX seconds; 0 = now)."""
        self._info_id = self._info_id % 0xFFFFFFFF + 1
        at = at or int(self.hub.wall())
        if self.body_edition < 2019:
            message = AlarmReport(warn_src=1, warn_type=entry.warn_type, warn_time=at, info_id=self._info_id, info_content=entry.text)
        else:
            message = AlarmReport(
                source_platform_id=self.settings.platform_id, warn_type=entry.warn_type, warn_time=at, start_time=at, end_time=at,
                vehicle_no=vehicle.plate, vehicle_color=vehicle.color, destination_platform_id="", drvline_id=0, info_content=entry.text,
            )  # fmt: skip
        self.keep_or_send(message, vehicle.plate, vehicle.color)
        self.counts["alarms"] += 1

    # ---- time -----------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._ticking = self.hub.clock.callLater(TICK_S, self._tick)
        now = self.hub.clock.seconds()
        passed, self._ticked_at = now - self._ticked_at, now
        for link in (self.main, self.sub):
            if link is not None:
                link.core.epoch = self.hub.epoch()
                self._take_delivered(link)
        current = self.link
        if current is not None and not current.wire.full:
            self._register_some(current)
            self._budget = min(self.settings.supplement_rate, self._budget + passed * self.settings.supplement_rate)
            self._send_waiting(current)
        self.outbox.tick(now, current is not None)
        if self.hub.passwords.renew_if_due(self.name) and self.main is not None and self.main.up:
            self.send_passwords()

    def _take_delivered(self, link: SuperiorLink, final: bool = False) -> None:
        for arrived in link.delivered(final):
            if arrived.ids:
                self.outbox.delivered(arrived.ids)

    def _register_some(self, link: SuperiorLink) -> None:
        for _ in range(min(REGISTRATIONS_A_TICK, len(self._unregistered))):
            sim = self._unregistered.popleft()
            vehicle = self.hub.vehicle(sim)
            if vehicle is not None and sim not in link.registered and self.hub.online(sim):
                self.register(link, vehicle)

    def _send_waiting(self, link: SuperiorLink) -> None:
        """Supplements (0x1203) and kept messages, as fast as is configured and the superior takes them."""
        while self._budget >= 1 and not link.wire.full and link.core.bytes_out - link.acknowledged < UNDER_WAY_BYTES:
            batch = self.outbox.next()
            if batch is None:
                break
            self._budget -= len(batch.ids)
            if batch.kind != POSITION:
                data = batch.datas[0]
                link.send_kept(int.from_bytes(data[:2], "big"), batch.kind, data[2:], b"", data, batch.ids)
                continue
            blocks = [block_2011(data) if self.body_edition < 2019 else block_2019(data, self._tail) for data in batch.datas]
            inner = bytes((len(blocks),)) + b"".join(blocks)
            whole = batch.head + b"\x12\x03" + len(inner).to_bytes(4, "big") + inner
            link.send_kept(0x1200, 0x1203, whole, batch.head, b"", batch.ids, POSITION)
            self.counts["supplements"] += len(batch.ids)

    # ---- for people -----------------------------------------------------------------------------------------------------

    def lost_between(self, start: float, end: float) -> tuple[int, int, float]:
        """Positions dropped, breaks, and seconds without a link, in a period (0x9102)."""
        dropped = sum(count for at, count in self.outbox.losses if start <= at <= end)
        breaks, seconds = 0, 0.0
        for begin, until in self.breaks:
            overlap = min(until or self.hub.wall(), end) - max(begin, start)
            if overlap > 0:
                breaks += 1
                seconds += overlap
        return dropped, breaks, seconds

    def as_dict(self) -> dict[str, Any]:
        """Everything, in JSON's types; no secrets."""
        return view_of(self)
