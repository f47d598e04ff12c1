"""A simulated terminal: registers, authenticates, reports, answers, and sends media when it is asked to. A library; the command is
``jt1078relay simulate terminal``.

States of the link, and what leads from one to the next::

    STOPPED         start()                     → CONNECTING
    CONNECTING      connected, code known       → AUTHENTICATING;  connected, no code → REGISTERING;  refused → WAITING
    REGISTERING     0x8100 result 0             → AUTHENTICATING;  other result, silence, link lost → WAITING
    AUTHENTICATING  0x8001 result 0             → ONLINE;  other result → REGISTERING (once a connection), then WAITING
    ONLINE          heartbeats, positions, answers to the platform; link lost or heartbeats unanswered → WAITING
    WAITING         back-off over (1, 2, 4 … 60 s) → CONNECTING
    any             stop()                      → STOPPED

What is answered to which message stands in ``answers``. Ten thousand of these fit into one process: what an idle terminal does not need
it does not have, and one timer serves everything that happens by the clock.
"""

from __future__ import annotations

import enum
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any
from zlib import crc32

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from relay.jt808.header import Header
from relay.jt808.messages.base import Body
from relay.jt808.messages.general import Authentication, Heartbeat, Registration, RegistrationResponse
from relay.jt808.messages.location import LocationReport
from relay.jt808.messages.multimedia import MultimediaResponse
from relay.jt808.session import Session
from relay.jt808.session_events import Broken, Ended, Event, Failed, Foreign, Received, Replied, Role, SessionOptions
from relay.jt808.session_requests import Request
from relay.sim import alarms, answers, links, operator_answers
from relay.sim.options import TerminalOptions
from relay.sim.sources import Source
from relay.sim.terminal_media import TerminalMedia
from relay.sim.uploads import SimulatedUpload
from relay.sim.vehicle import report

#: messages kept for tests and curious people; only of terminals that get any
RECEIVED_KEPT = 200
#: repeats of these are told by serial and answered again without being done again
_SERIALS_KEPT = 16
_BACK_OFF_MAX_S = 60.0


class LinkState(enum.Enum):
    """See the module's table."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    REGISTERING = "registering"
    AUTHENTICATING = "authenticating"
    ONLINE = "online"
    WAITING = "waiting"


#: one instance serves all terminals: the terminal's side keeps the link up by its heartbeats, not by waiting for the platform's
_SESSION = SessionOptions(idle_timeout_s=0, register_timeout_s=1e9, first_timeout_s=10, repeats=2)

Told = Callable[["SimulatedTerminal", str], None]


class SimulatedTerminal:
    """One terminal; ``start`` it, and ask ``when_online`` and ``when_received``."""

    __slots__ = (
        "_alarm", "_alarms", "_attempts", "_calls", "_done", "_heartbeat_at", "_link", "_next_report_at", "_position_every", "_register_again", "_request",
        "_session", "_stopped", "_told", "_tracking_until", "_waiters", "ahead", "attachments", "auth_code", "losses", "media", "moved_since", "online_count",
        "operator", "options", "parameters", "phone", "reactor", "received", "registered_count", "state", "unanswered", "uploads", "wall",
    )  # fmt: skip

    def __init__(
        self,
        phone: str,
        reactor: Any,
        options: TerminalOptions,
        *,
        source: Source | Callable[[SimulatedTerminal], Source] | None = None,
        wall: Callable[[], float] = time.time,
        told: Told | None = None,
    ) -> None:
        """``source`` is what ``media`` sends. ``reactor`` needs connectTCP,
        listenUDP, callLater and seconds. ``told`` hears of each change of state in words."""
        self.phone = phone
        self.reactor = reactor
        self.options = options
        self.state = LinkState.STOPPED
        self.auth_code = options.auth_code
        self.ahead = crc32(phone.encode()) / 0xFFFFFFFF  #: 0 to 1: spreads terminals over time and road
        self.moved_since = wall()
        self.registered_count = 0
        self.online_count = 0  #: how often it came online
        self.unanswered = 0  #: messages that got no answer on purpose
        self.parameters: dict[int, Any] | None = None  #: set by 0x8103
        self.received: deque[Received] | None = None  #: what the platform asked, newest last
        self.attachments: alarms.Uploads | None = None  #: files of alarms that were asked for
        self._alarms = 0  #: raised so far
        self.operator: operator_answers.Operator | None = None  #: cameras turned, texts, areas, photos
        self.losses: dict[int, int] | None = None  #: last 0x9105 by channel
        self.media = TerminalMedia(self, source)
        self.uploads: dict[int, SimulatedUpload] | None = None  #: by the serial of their 0x9206
        self.wall = wall  #: seconds since 1970
        self._told = told
        self._link: links.Link | None = None
        self._session: Session | None = None
        self._request: Request | None = None  #: registration or authentication under way
        self._register_again = False
        self._attempts = 0
        self._alarm: IDelayedCall | None = None
        self._calls: list[IDelayedCall] | None = None  #: what ``later`` has scheduled
        self._heartbeat_at = 0.0
        self._next_report_at = math.inf
        self._position_every = options.position_s
        self._tracking_until = 0.0
        self._waiters: list[tuple[int, Deferred[Any]]] | None = None  #: (message id, 0 = online; Deferred)
        self._done: OrderedDict[tuple[int, int], int] | None = None  #: (msg_id, serial) acted on -> result
        self._stopped: Deferred[None] | None = None

    # ---- what a test asks ---------------------------------------------------------------------------------------------------

    @property
    def online(self) -> bool:
        """Authenticated."""
        return self.state is LinkState.ONLINE

    @property
    def session(self) -> Session | None:
        """The link's core while there is one."""
        return self._session

    def when_online(self) -> Deferred[SimulatedTerminal]:
        """Fires when it is authenticated, at once if it is."""
        if self.online:
            return succeed(self)
        return self._wait(0)

    def when_received(self, msg_id: int) -> Deferred[Received]:
        """Fires at the next message with this id, after it has been acted on."""
        return self._wait(msg_id)

    def _wait(self, msg_id: int) -> Deferred[Any]:
        waiter: Deferred[Any] = Deferred(self._forget)
        self._waiters = [*(self._waiters or ()), (msg_id, waiter)]
        return waiter

    def _forget(self, waiter: Deferred[Any]) -> None:
        self._waiters = [entry for entry in self._waiters or () if entry[1] is not waiter] or None

    def _fire(self, msg_id: int, result: Any) -> None:
        if self._waiters is None:
            return
        due = [waiter for wanted, waiter in self._waiters if wanted == msg_id]
        self._waiters = [entry for entry in self._waiters if entry[0] != msg_id] or None
        for waiter in due:
            waiter.callback(result)

    # ---- starting and stopping ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and stay connected."""
        if self.state is LinkState.STOPPED:
            self._stopped = None
            self._connect()

    def stop(self) -> Deferred[None]:
        """Close everything; fires when the link is gone."""
        if self._stopped is None:
            self._stopped = Deferred()
        stopped = self._stopped
        self.state = LinkState.STOPPED
        self._disarm()
        for call in self._calls or ():
            if call.active():
                call.cancel()
        self._calls = None
        if self.attachments is not None:
            self.attachments.stop()
        self.media.close_all("the terminal stops")
        for upload in (self.uploads or {}).values():
            upload.cancel("stopped")
        if self._link is not None:
            self._link.close()
        else:
            self._gone()
        return stopped

    def drop_link(self) -> None:
        """Lose the signalling link, as in a tunnel; it comes back after the back-off."""
        if self._link is not None:
            self._link.close()

    def _gone(self) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped is not None and not stopped.called:
            stopped.callback(None)

    def _connect(self) -> None:
        self.state = LinkState.CONNECTING
        self._link = links.make_link(self.reactor, self.options, self)
        self._link.open()

    # ---- the link's side (called by ``links``) ------------------------------------------------------------------------------

    def link_up(self) -> None:
        """The connection is there."""
        options = self.options
        now = self.reactor.seconds()
        self._session = Session(Role.TERMINAL, _SESSION, now, self.phone, options.edition)
        self._register_again = False
        self.tell("connected")
        if "no-register" in options.faults:
            self._came_online()
        elif self.auth_code:
            self._authenticate()
        else:
            self._register()
        self._flush()

    def link_failed(self, why: str) -> None:
        """No connection."""
        self._link = None
        self.tell(f"no connection: {why}")
        self._back_off()

    def link_down(self, why: str) -> None:
        """The connection is gone."""
        self._link = None
        session, self._session, self._request = self._session, None, None
        if session is not None:
            session.end(why)
        if self.state is LinkState.STOPPED:
            self._gone()
            return
        self.tell(f"link lost: {why}")
        self._back_off()

    def link_data(self, data: bytes) -> None:
        """Bytes from the platform."""
        session = self._session
        if session is not None:
            session.receive(data, self.reactor.seconds())
            self._drain()

    def _back_off(self) -> None:
        if self.state is LinkState.STOPPED:
            self._gone()
            return
        self.state = LinkState.WAITING
        delay = min(_BACK_OFF_MAX_S, 2.0**self._attempts) * (0.8 + 0.4 * self.ahead)
        self._attempts = min(self._attempts + 1, 10)
        self._disarm()
        self._alarm = self.reactor.callLater(delay, self._connect_again)

    def _connect_again(self) -> None:
        self._alarm = None
        self._connect()

    # ---- registering --------------------------------------------------------------------------------------------------------

    @property
    def plate(self) -> str:
        """The plate; several terminals of a run have different ones."""
        return self.options.plate.replace("{tail}", self.phone[-5:])

    def _register(self) -> None:
        self.state = LinkState.REGISTERING
        tail = self.phone[-7:].rjust(7, "0").upper()
        message = Registration(
            province_id=44, city_id=300, manufacturer_id="JTSIM", terminal_model="SIM-1078", terminal_id=tail,
            plate_color=self.options.plate_color, plate_no=self.plate,
        )  # fmt: skip
        self._request = self._ask(message)

    def _authenticate(self) -> None:
        self.state = LinkState.AUTHENTICATING
        code = "wrong" if "wrong-auth" in self.options.faults else self.auth_code
        if self.options.edition >= 2019:
            message = Authentication(auth_code=code, imei=self.phone[-15:].rjust(15, "0"), software_version="jt1078relay")
        else:
            message = Authentication(auth_code=code)
        self._request = self._ask(message)

    def _registered(self, message: Body | None) -> None:
        result = message.result if isinstance(message, RegistrationResponse) else -1
        if result == 0 and isinstance(message, RegistrationResponse):
            self.registered_count += 1
            self.auth_code = message.auth_code or ""
            self.tell("registered")
            self._authenticate()
            return
        why = {1: "vehicle already registered", 2: "vehicle unknown", 3: "terminal already registered", 4: "terminal unknown"}.get(result, "unreadable answer")
        self.tell(f"registration refused: {why}")
        self.drop_link()

    def _refused(self) -> None:
        """0x0102 with another result than 0."""
        self.tell("authentication refused")
        self.auth_code = ""
        if self._register_again:
            self.drop_link()
            return
        self._register_again = True
        self._register()

    def _came_online(self) -> None:
        now = self.reactor.seconds()
        self.state = LinkState.ONLINE
        self.online_count += 1
        self._attempts = 0
        self._heartbeat_at = now + self.heartbeat_s * (0.5 + self.ahead / 2)
        self._next_report_at = now if self._position_every else math.inf
        self.tell("online")
        if self.options.alarm_s and self.online_count == 1:
            self.later(self.options.alarm_s, self._alarm_again)
        self._arm()
        self._fire(0, self)

    # ---- by the clock -------------------------------------------------------------------------------------------------------

    @property
    def heartbeat_s(self) -> float:
        """Interval of 0x0002: parameter 0x0001 if the platform set it."""
        known = (self.parameters or {}).get(0x0001)
        return float(known.value) if known is not None and known.value else self.options.heartbeat_s

    def report_every(self, seconds: float, duration: float = 0.0) -> None:
        """Report positions so often from now on; for ``duration`` only if it is given (0x8202)."""
        now = self.reactor.seconds()
        self._tracking_until = now + duration if duration else 0.0
        self._position_every = seconds
        self._next_report_at = now + seconds if seconds else math.inf
        self._arm()

    def _arm(self) -> None:
        """One timer for everything; one that is early enough already is left alone."""
        session = self._session
        if session is None:
            return
        times = [t for t in (session.next_deadline(),) if t is not None]
        if self.state is LinkState.ONLINE and "silent-heartbeat" not in self.options.faults:
            times += [self._heartbeat_at, self._next_report_at]
        if not times:
            return
        wait = max(0.0, min(times) - self.reactor.seconds())
        alarm = self._alarm
        if alarm is not None and alarm.active():
            if alarm.getTime() <= self.reactor.seconds() + wait:
                return
            alarm.cancel()
        self._alarm = self.reactor.callLater(wait, self._tick)

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something in a while, unless the terminal is stopped before."""
        self._calls = [call for call in self._calls or () if call.active()]
        self._calls.append(self.reactor.callLater(seconds, action))

    def _disarm(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()

    def _tick(self) -> None:
        self._alarm = None
        session = self._session
        if session is None:
            return
        now = self.reactor.seconds()
        session.tick(now)
        if self.state is LinkState.ONLINE and "silent-heartbeat" not in self.options.faults:
            if now >= self._next_report_at:
                self.send(self.location_report())
                if self._tracking_until and now >= self._tracking_until:
                    self._tracking_until = 0.0
                    self._position_every = self.options.position_s
                self._next_report_at = now + self._position_every if self._position_every else math.inf
                if "endless-subpackages" in self.options.faults:
                    self._send_endless()
            if now >= self._heartbeat_at:
                self._heartbeat_at = now + self.heartbeat_s
                self._ask(Heartbeat())
        self._drain()

    def location_report(self) -> LocationReport:
        """The position now."""
        made = report(self.wall(), self.moved_since, self.ahead, edition=self.options.edition)
        if self.operator is not None:
            made.status_flags |= self.operator.status
        return made

    def raise_alarm(self, *, state: int = 1) -> int:
        """Report an active-safety alarm (item 0x64) that has three files; gives its number."""
        number = self._alarms
        self._alarms += 1
        made = self.location_report()
        made.items.append(alarms.make_alarm(self, number, state))
        self.send(made)
        return number

    def _alarm_again(self) -> None:
        if self.state is LinkState.ONLINE:
            self.raise_alarm(state=0)
        self.later(self.options.alarm_s, self._alarm_again)

    def _send_endless(self) -> None:
        """Fault: pieces of a picture (0x0801) of which the last one never comes."""
        session, link = self._session, self._link
        if session is None or link is None:
            return
        version = 1 if self.options.edition >= 2019 else None
        for index in range(1, 5):
            header = Header(0x0801, session.phone, 0x7000 + index, protocol_version=version, package_total=5, package_index=index)
            link.write([header.encode(bytes(900))])

    # ---- sending and receiving ----------------------------------------------------------------------------------------------

    def send(self, message: Body) -> None:
        """A message that awaits nothing."""
        if self._session is not None:
            self._session.send(message, self.reactor.seconds())
            self._flush()

    def send_pieces(self, message: Body) -> int | None:
        """A long message that is to be acknowledged; gives the serial of its first piece. The fault ``lose-piece`` leaves the second one out."""
        session, link = self._session, self._link
        if session is None or link is None:
            return None
        self._flush()
        serial = session.send(message, self.reactor.seconds())
        frames = session.frames_to_send()
        if "lose-piece" in self.options.faults and len(frames) > 2:
            del frames[1]
        link.write(frames)
        return serial

    def repeat_pieces(self, serial: int, indexes: list[int]) -> None:
        """Pieces of a long message again."""
        if self._session is not None:
            self._session.send_again(serial, indexes)
            self._flush()

    def _ask(self, message: Body) -> Request | None:
        if self._session is None:
            return None
        request = self._session.request(message, self.reactor.seconds())
        self._flush()
        self._arm()
        return request

    def _flush(self) -> None:
        session, link = self._session, self._link
        if session is not None and link is not None and (frames := session.frames_to_send()):
            link.write(frames)

    def _drain(self) -> None:
        """Everything the session has to tell."""
        session = self._session
        while session is not None and (events := session.events()):
            for event in events:
                self._happened(event)
                if self._session is not session:
                    return
        self._flush()
        self._arm()

    def _happened(self, event: Event) -> None:
        if isinstance(event, Replied):
            if event.request is self._request:
                self._request = None
                if self.state is LinkState.REGISTERING:
                    self._registered(event.message)
                elif self.state is LinkState.AUTHENTICATING:
                    self._came_online()
        elif isinstance(event, Failed):
            self._failed(event)
        elif isinstance(event, Received):
            self._asked(event)
        elif isinstance(event, Broken):
            self.tell(f"dropped a frame of the platform: {event.reason}: {event.detail}")
        elif isinstance(event, Foreign):
            self.tell(f"got a message for {event.header.phone}")
        elif isinstance(event, Ended):
            self.drop_link()

    def _failed(self, event: Failed) -> None:
        if event.request is self._request:
            self._request = None
            if event.reason == "refused" and self.state is LinkState.AUTHENTICATING:
                self._refused()
                return
            if event.reason != "closed":
                self.tell(f"no answer to 0x{event.request.msg_id:04X} ({event.reason})")
                self.drop_link()
        elif event.request.msg_id == Heartbeat.KEY and event.reason == "no reply":
            self.tell("heartbeats stay unanswered: the link is dead")
            self.drop_link()

    def _asked(self, event: Received) -> None:
        """A message of the platform."""
        header = event.header
        if self.received is None:
            self.received = deque(maxlen=RECEIVED_KEPT)
        self.received.append(event)
        done = self._done = self._done if self._done is not None else OrderedDict()
        before = done.get((header.msg_id, header.serial))
        if before is None:
            done[header.msg_id, header.serial] = 0
            if len(done) > _SERIALS_KEPT:
                done.popitem(last=False)
        self.tell(f"<- {answers.describe(event)}{'' if before is None else ' (repeated)'}")
        if isinstance(event.message, MultimediaResponse):
            operator_answers.asked_again(self, event.message)
        if event.wants_answer:
            answers.act(self, event, before)
        self._fire(header.msg_id, event)

    def answer(self, header: Header, result: int = 0) -> None:
        """0x0001, when and if the faults let it."""

        def now(session: Session) -> None:
            session.answer(header.replace(msg_id=0x0002) if "wrong-reply-id" in self.options.faults else header, result)

        if self._done is not None:
            self._done[header.msg_id, header.serial] = result
        self._answer(header, now)

    def reply(self, header: Header, message: Body) -> None:
        """A special answer."""

        faults = self.options.faults
        if "other-serial" in faults and hasattr(message, "reply_serial"):
            message.reply_serial = (header.serial + 10_000) & 0xFFFF

        def now(session: Session) -> None:
            session.reply(message)
            if "half-list" in faults:
                session.forget_sent()
                frames = session.frames_to_send()
                if self._link is not None:
                    self._link.write(frames if len(frames) == 1 else frames[: len(frames) // 2])

        self._answer(header, now)

    def _answer(self, header: Header, action: Callable[[Session], None]) -> None:
        faults = self.options.faults
        if "no-answer" in faults and faults.get("no-answer") == header.msg_id:
            self.unanswered += 1
            return
        session = self._session

        def speak() -> None:
            if session is not None and session is self._session:
                action(session)
                if "answers-twice" in faults:
                    action(session)
                self._flush()

        late = faults.get("slow-answers")
        if late:
            self.later(late, speak)
        else:
            speak()

    def tell(self, what: str) -> None:
        """Something about it, in words."""
        if self._told is not None:
            self._told(self, what)
