"""Who is online: one link per terminal, and requests that await replies.

Who is let in is decided by ``gate``; what terminals tell about themselves is for ``learning``. A number counts as a terminal's own once it has authenticated:
a second link with the same number takes the place of the first only then, and the first is closed with that for a cause.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from relay.core.entrance import Entrance
from relay.core.events import Events
from relay.core.gate import KNOWN, OPEN, Gate, TerminalRows
from relay.core.learning import Learning
from relay.core.link import Link, TerminalOfflineError, Wire
from relay.core.store_watch import StoreWatch
from relay.core.terminal_state import Terminal
from relay.core.throttle import PeerLog
from relay.hub.merge import Clock
from relay.identity import phone_key
from relay.jt808.messages.base import Body
from relay.jt808.messages.general import Authentication, Registration, ServerTime, ServerTimeQuery
from relay.jt808.session_events import (
    Broken,
    Event,
    GaveUp,
    Phase,
    Received,
    SessionOptions,
    Strayed,
)
from relay.jt808.subpackages import AssemblyPool, SubpackageLimits
from relay.settings import Limits
from relay.settings import Terminals as TerminalSettings
from relay.store.terminals import KnownTerminal

log = Logger()

SAY_SOMETHING_S = 5.0  #: a connection that has brought no message by then makes room when there are too many
REFUSALS_MAX = 4096  #: numbers whose refusal is remembered, for those who want to watch them
STORED = "stored"
POSITIONS = frozenset({0x0200, 0x0704})  #: what such a setting is about


Watcher = Callable[[str, Terminal], None]


class Terminals:
    """All terminals of the process."""

    def __init__(
        self,
        settings: TerminalSettings,
        limits: Limits,
        rows: TerminalRows,
        clock: Clock,
        events: Events,
        wall: Callable[[], float],
        store_changes: Callable[[], Deferred[int]] | None = None,
    ) -> None:
        self.settings = settings
        self.limits = limits
        self._rows = rows
        self.clock = clock
        self.events = events
        self.wall = wall  #: seconds since 1970
        self.counts: Counter[str] = Counter()  #: what happened, for metrics
        self.learning = Learning(clock, events)
        self.peer_log = PeerLog(log, clock.seconds, limits.log_peer_s)
        self.options = SessionOptions(
            idle_timeout_s=settings.idle_timeout_s,
            register_timeout_s=settings.register_timeout_s,
            first_timeout_s=settings.reply_timeout_s,
            repeats=settings.retries,
            subpackages=SubpackageLimits(
                messages=limits.subpackage_messages, bytes=limits.subpackage_bytes, timeout_s=settings.subpackage_timeout_s
            ),
            pool=AssemblyPool(limits.subpackage_bytes_all),
            silent_ok=settings.registration == OPEN,
            answer_later=POSITIONS if settings.answer_positions == STORED else frozenset(),
        )
        #: calls back once the location that was told last is in the store (``terminals.answer_positions = "stored"``); None: at once
        self.when_stored: Callable[[Callable[[], None]], None] | None = None
        self._terminals: OrderedDict[str, Terminal] = OrderedDict()  #: offline ones are forgotten oldest first
        self._online: dict[str, Terminal] = {}
        self._called: dict[str, set[str]] = {}  #: other names in media packets -> numbers of terminals that are online
        self._unregistered: dict[Link, None] = {}  #: oldest first
        self._watchers: list[Watcher] = []
        self._message_watchers: list[Callable[[Terminal, Received], None]] = []
        self._refusals: OrderedDict[str, str] = OrderedDict()  #: number -> why it was turned away last
        self.entrance = Entrance(self, Gate(settings.registration, rows, wall))
        self._store_watch = StoreWatch(clock, store_changes, self.refresh, self._store_failed) if store_changes is not None else None
        self._closed = False

    # ---- finding --------------------------------------------------------------------------------------------------------

    def get(self, sim: str) -> Terminal | None:
        """The terminal of that number (zeros in front or not), online or seen since the start."""
        return self._terminals.get(phone_key(sim))

    def online(self) -> Iterator[Terminal]:
        """Those that are there."""
        return iter(list(self._online.values()))

    def seen(self) -> Iterator[Terminal]:
        """All since the start that are not forgotten."""
        return iter(list(self._terminals.values()))

    def is_online(self, sim: str) -> bool:
        """Whether it has authenticated and its link is up."""
        return phone_key(sim) in self._online

    def why_offline(self, sim: str) -> str:
        """What is known of a terminal that is not there: how it was turned away, else how its last link ended."""
        key = phone_key(sim)
        terminal = self._terminals.get(key)
        return self._refusals.get(key) or (terminal.offline_reason if terminal is not None else "")

    def refused(self, sim: str, why: str) -> None:
        """It was turned away."""
        self._refusals[sim] = why
        self._refusals.move_to_end(sim)
        if len(self._refusals) > REFUSALS_MAX:
            self._refusals.popitem(last=False)

    def called(self, name: str) -> list[Terminal]:
        """Online terminals whose media may go by that name though it is not their number (see ``Terminal.media_names``)."""
        return [self._online[sim] for sim in self._called.get(name, ())]

    @property
    def online_count(self) -> int:
        """How many are there."""
        return len(self._online)

    @property
    def unregistered_count(self) -> int:
        """Links that have not authenticated."""
        return len(self._unregistered)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher("online" | "offline", terminal)``; returns what ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def watch_messages(self, watcher: Callable[[Terminal, Received], None]) -> Callable[[], None]:
        """Call ``watcher(terminal, received)`` for every message of an authenticated terminal that is no reply."""
        self._message_watchers.append(watcher)
        return lambda: self._message_watchers.remove(watcher) if watcher in self._message_watchers else None

    # ---- speaking to them -----------------------------------------------------------------------------------------------

    def request(
        self, sim: str, message: Body, timeout_s: float | None = None, repeats: int | None = None, sent: Callable[[int], None] | None = None
    ) -> Deferred[Body]:
        """Send a message and wait for its reply.

        Fails with a RequestError: TerminalOfflineError, NoReplyError, RefusedError, IncompleteReplyError, BadReplyError, TooManyRequestsError.
        Without ``timeout_s`` it is sent again as ``terminals.retries`` says before it fails; while sub-packages of its answer arrive, either limit
        moves on. ``sent`` is called with the message's serial before anything can answer to it.
        """
        terminal = self._online.get(phone_key(sim))
        if terminal is None or terminal.link is None:
            return fail(TerminalOfflineError(phone_key(sim), f"terminal {phone_key(sim)} is not online"))
        return terminal.link.request(message, timeout_s, repeats, sent)

    def send(self, sim: str, message: Body) -> int | None:
        """Send a message whose reply is not awaited; gives its serial, None when the terminal is offline."""
        terminal = self._online.get(phone_key(sim))
        if terminal is None or terminal.link is None:
            return None
        return terminal.link.send(message)

    def kick(self, sim: str, reason: str = "closed by the operator") -> bool:
        """Close a terminal's link; False when it is offline."""
        terminal = self._online.get(phone_key(sim))
        if terminal is None or terminal.link is None:
            return False
        terminal.link.end(reason)
        return True

    # ---- links, from the adapters -----------------------------------------------------------------------------------------

    def connected(self, wire: Wire, phone: str = "") -> Link | None:
        """A new link; None when it is not to be served (too many, banned, closing), and the reason is logged."""
        if self._closed:
            return None
        if not self.entrance.serves(wire):
            return None
        if len(self._unregistered) >= self.limits.unregistered_max and not self._make_room():
            self.counts["links refused: unregistered_max"] += 1
            text = "{peer}: not served, {count} connections have not authenticated yet (limits.unregistered_max)"
            self.peer_log.warn("", text, peer=wire.peer, count=len(self._unregistered))
            return None
        self.counts["links"] += 1
        link = Link(self, wire, phone)
        self._unregistered[link] = None
        return link

    def _make_room(self) -> bool:
        """Give up the oldest connection that has brought no message: many that say nothing must not keep one out that does."""
        latest = self.clock.seconds() - SAY_SOMETHING_S
        for link in self._unregistered:
            if link.session.opened > latest:
                return False
            if not link.session.frames_in:
                link.end("said nothing, and others wait")
                return True
        return False

    def ended(self, link: Link, reason: str) -> None:
        """A link is over (called by the link)."""
        if link in self._unregistered:
            del self._unregistered[link]
            if not self._closed:
                self.counts["links ended unregistered"] += 1
                self.entrance.left(link.wire)
                if link.session.frames_in == 0 and link.session.bytes_in:
                    self.peer_log.info(link.wire.host, "{peer}: closed, no JT/T 808 message came: {reason}", peer=link.wire.peer, reason=reason)
            return
        terminal = self._terminals.get(link.sim)
        if terminal is None or terminal.link is not link:
            return
        self._leave(terminal, link, reason)
        self.events.publish("terminal.offline", sim=terminal.sim, reason=reason)
        self._tell("offline", terminal)

    def _leave(self, terminal: Terminal, link: Link, reason: str) -> None:
        terminal.bytes_in += link.session.bytes_in
        terminal.bytes_out += link.session.bytes_out
        terminal.link = None
        terminal.offline_reason = reason
        self._call_no_more(terminal)
        self._online.pop(terminal.sim, None)
        log.info(
            "terminal {sim} offline: {reason} (online for {seconds} s, {bytes_in} bytes in, {bytes_out} out)", sim=terminal.sim, reason=reason,
            seconds=round(self.clock.seconds() - link.session.opened, 1), bytes_in=link.session.bytes_in, bytes_out=link.session.bytes_out,
        )  # fmt: skip

    def links(self) -> Iterator[Link]:
        """All that are up, authenticated or not."""
        return iter([terminal.link for terminal in self._online.values() if terminal.link is not None] + list(self._unregistered))

    def leave(self) -> None:
        """No more links, and no look into the store: another process goes on with what is carried (``handover``)."""
        self._closed = True
        if self._store_watch is not None:
            self._store_watch.close()

    def carried_on(self, link: Link, terminal: Terminal | None) -> bool:
        """A link of the former process goes on here; ``terminal``: whose it is, None = it has not authenticated. False: there is no room for it."""
        if terminal is None:
            self._unregistered[link] = None
            return True
        if terminal.sim in self._online or len(self._online) >= self.limits.terminals_max:
            why = "online already" if terminal.sim in self._online else "terminals_max"
            self.counts[f"links not carried on: {why}"] += 1
            return False
        self._terminals[terminal.sim] = terminal
        link.sim = terminal.sim
        terminal.link = link
        self._online[terminal.sim] = terminal
        self._call_by_names(terminal)
        self.counts["links carried on"] += 1
        self.learning.ask(terminal, link)
        self._tell("online", terminal)
        return True

    def look_now(self) -> None:
        """Look into the store at once rather than in a while."""
        if self._store_watch is not None:
            self._store_watch.now()

    # ---- what a session tells -----------------------------------------------------------------------------------------------

    def happened(self, link: Link, event: Event) -> None:
        """One event of a link's session (called by the link)."""
        if isinstance(event, Received):
            self._received(link, event)
        elif isinstance(event, Broken):
            self.counts[f"frames dropped: {event.reason}"] += 1
            self.peer_log.warn(link.wire.host, "{peer}: {detail}", peer=link.wire.peer, detail=event.detail)
        elif isinstance(event, Strayed):
            self._strayed(link, event)
        elif isinstance(event, GaveUp):
            self.counts["sub-packaged messages given up"] += 1
            self.peer_log.info(link.wire.host, "{peer}: {detail}", peer=link.wire.peer, detail=event.detail)
        else:
            self.entrance.happened(link, event)

    def _received(self, link: Link, event: Received) -> None:
        if event.problem not in ("", "unknown"):
            self.counts["messages not readable"] += 1
            self.peer_log.warn(link.wire.host, "{peer}: {problem}", peer=link.wire.peer, problem=event.problem)
        if isinstance(event.message, ServerTimeQuery) and event.wants_answer:
            now = datetime.fromtimestamp(self.wall(), UTC)
            link.session.reply(ServerTime(time=f"{now:%y%m%d%H%M%S}"))
        terminal = self._online.get(link.sim)
        if terminal is None or terminal.link is not link:
            return
        terminal.last_seen = self.wall()
        terminal.edition = link.session.edition or terminal.edition
        msg_id = event.header.msg_id
        if msg_id in terminal.counts or len(terminal.counts) < 64:  # vendors' ids are many; a terminal uses a few dozen
            terminal.counts[msg_id] = terminal.counts.get(msg_id, 0) + 1
        if event.message is not None:
            self.learning.take(terminal, event.message)
        for watcher in list(self._message_watchers):
            watcher(terminal, event)
        if event.wants_answer and msg_id in POSITIONS:
            self._answer_stored(link, event)
        if link.session.phase is Phase.NEW:  # 0x0003
            self._deregistered(terminal, link)

    def _answer_stored(self, link: Link, event: Received) -> None:
        def stored() -> None:
            link.session.taken(event.header, event.body)
            link.settle()

        if self.when_stored is not None:
            self.when_stored(stored)
        else:
            stored()

    def _strayed(self, link: Link, event: Strayed) -> None:
        """An answer that nobody waits for: a late one is worth knowing, since its request was told to have failed."""
        stray = event.stray
        self.counts[f"answers {stray.kind}"] += 1
        if stray.kind == "late" and link.sim:
            self.events.publish("terminal.late_answer", sim=link.sim, message=f"0x{stray.msg_id:04X}", late_s=round(stray.after_s, 1))

    def told(self, link: Link, answer: Body) -> None:
        """The reply to a request, whoever made it."""
        terminal = self._online.get(link.sim)
        if terminal is not None and terminal.link is link:
            terminal.last_seen = self.wall()
            self.learning.take(terminal, answer)

    # ---- coming in ---------------------------------------------------------------------------------------------------------

    def enter(self, link: Link, sim: str, phone: str, row: KnownTerminal | None) -> Callable[[], None] | None:
        """The link has proved to be the terminal's: it is online from now on.

        Gives what tells everybody, to be called once the terminal has its answer; None when there is no room for it.
        """
        terminal = self._state(sim, phone, row)
        if terminal.link is link:
            return lambda: None  # authenticated again on the same link
        if terminal.link is None and len(self._online) >= self.limits.terminals_max:
            return None
        old = terminal.link
        if old is not None:
            self._leave(terminal, old, f"replaced by {link.wire.peer}")
            old.end(f"replaced by {link.wire.peer}")
        self._unregistered.pop(link, None)
        link.sim = sim
        if link.registration is not None:
            self.learning.take_registration(terminal, link.registration)
            link.registration = None
        terminal.link = link
        terminal.phone = phone
        terminal.edition = link.session.edition or terminal.edition
        if link.session.protocol_version is None and not link.session.edition and terminal.edition in (2011, 2013):
            link.session.edition = terminal.edition
        terminal.online_since = terminal.last_seen = self.wall()
        terminal.connects += 1
        terminal.offline_reason = ""
        self._refusals.pop(sim, None)
        self._online[sim] = terminal
        self._call_by_names(terminal)
        self._terminals.move_to_end(sim)
        before, terminal.last_host = terminal.last_host, link.wire.host
        return lambda: self._announce(terminal, link, before, old is not None)

    def authenticated(self, sim: str, message: Authentication) -> None:
        """What a 0x0102 tells beside the code."""
        terminal = self._terminals.get(sim)
        if terminal is not None:
            terminal.take_authentication(message)

    def registered(self, link: Link, sim: str, phone: str, row: KnownTerminal | None, message: Registration) -> None:
        """A 0x0100 was accepted. It counts at once, unless the number is online on another link: then once this one has authenticated."""
        terminal = self._state(sim, phone, row)
        if terminal.link is None or terminal.link is link:
            self.learning.take_registration(terminal, message)
        else:
            link.registration = message

    def _announce(self, terminal: Terminal, link: Link, host_before: str, replaced: bool) -> None:
        """Tell everybody that a terminal is online."""
        if terminal.link is not link:
            return  # it left while it was being answered
        sim, wire = terminal.sim, link.wire
        log.info("terminal {sim} online from {peer} ({transport})", sim=sim, peer=wire.peer, transport=wire.transport)
        if host_before and host_before != wire.host:
            self.events.publish("terminal.address_changed", sim=sim, before=host_before, now=wire.host, replaced=replaced)
        name = "terminal.replaced" if replaced else "terminal.online"
        self.events.publish(name, sim=sim, peer=wire.peer, transport=wire.transport, edition=terminal.edition or None)
        self.learning.ask(terminal, link)
        self._tell("online", terminal)

    def _deregistered(self, terminal: Terminal, link: Link) -> None:
        """0x0003: the binding is forgotten; it has to register again, on this link or another."""
        self._leave(terminal, link, "deregistered")
        link.sim = ""
        self._unregistered[link] = None
        self.events.publish("terminal.offline", sim=terminal.sim, reason="deregistered")
        self._tell("offline", terminal)
        self.entrance.deregistered(link, terminal.sim)

    def moved(self, link: Link, host: str) -> None:
        """The datagrams of a terminal come from another address now; the adapter has let ``link`` follow."""
        self.events.publish("terminal.address_changed", sim=link.sim, before=host, now=link.wire.host, replaced=False)

    # ---- the store's changes ----------------------------------------------------------------------------------------------

    def refresh(self) -> Deferred[None]:
        """Take over what the operator changed in the store: aliases, plates, who is enabled, who was removed."""
        return self._rows.list().addCallback(self._refreshed)

    def _refreshed(self, rows: list[KnownTerminal]) -> None:
        known = {row.key: row for row in rows}
        for sim, terminal in list(self._terminals.items()):
            before, row = terminal.known, known.get(sim)
            self._set_row(terminal, row)
            if terminal.link is None:
                continue
            if row is not None and not row.enabled:
                terminal.link.end("disabled by the operator")
            elif row is None and before is not None and self.settings.registration == KNOWN:
                terminal.link.end("removed by the operator")

    def _store_failed(self) -> None:
        self.counts["store failures"] += 1

    # ---- inside -------------------------------------------------------------------------------------------------------------

    def _state(self, sim: str, phone: str, row: KnownTerminal | None) -> Terminal:
        terminal = self._terminals.get(sim)
        if terminal is None:
            terminal = self._terminals[sim] = Terminal(sim, phone, row)
            if len(self._terminals) > self.limits.terminals_max:
                self._forget_one()
        elif row is not None:
            self._set_row(terminal, row)
        return terminal

    def _set_row(self, terminal: Terminal, row: KnownTerminal | None) -> None:
        if terminal.link is not None:
            self._call_no_more(terminal)
        terminal.known = row
        if terminal.link is not None:
            self._call_by_names(terminal)

    def _call_by_names(self, terminal: Terminal) -> None:
        for name in terminal.media_names():
            self._called.setdefault(name, set()).add(terminal.sim)

    def _call_no_more(self, terminal: Terminal) -> None:
        for name in terminal.media_names():
            sims = self._called.get(name, set())
            sims.discard(terminal.sim)
            if not sims:
                self._called.pop(name, None)

    def _forget_one(self) -> None:
        for sim, terminal in self._terminals.items():
            if terminal.link is None:
                del self._terminals[sim]
                return

    def _tell(self, what: str, terminal: Terminal) -> None:
        for watcher in list(self._watchers):
            watcher(what, terminal)

    def close(self, reason: str = "the relay stops") -> None:
        """Close every link."""
        self.leave()
        for terminal in list(self._online.values()):
            if terminal.link is not None:
                terminal.link.end(reason)
        for link in list(self._unregistered):
            link.end(reason)
