"""The entrance of terminals: what becomes of 0x0100, 0x0102 and of those that do neither; who is banned for a while.

The policy is ``gate``'s, the links are ``terminals``'; this is what happens between a message and the decision, which may take the store a moment.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.gate import Gate, Verdict
from relay.core.link import Link, Wire
from relay.core.throttle import Flapping
from relay.identity import phone_key
from relay.jt808.header import Header
from relay.jt808.messages.general import Authentication, Registration, RegistrationResult
from relay.jt808.session_events import Authenticating, Event, Foreign, Registering, Silent, Unadmitted
from relay.store.errors import StoreError

if TYPE_CHECKING:
    from relay.core.terminals import Terminals

log = Logger()

FAILURES_MAX = 3  #: refused authentications on one link; some firmware registers anew only after the link was closed
FLAP_LIMIT, FLAP_WINDOW_S, FLAP_BAN_S = 15, 60.0, 300.0  #: authentications of one number: two terminals with one SIM throw each other out
HOST_LIMIT, HOST_WINDOW_S, HOST_BAN_S = 100, 60.0, 60.0  #: links of one address that end without having authenticated


class Entrance:
    """Lets terminals in."""

    def __init__(self, terminals: Terminals, gate: Gate) -> None:
        self._terminals = terminals
        self._gate = gate
        self._flapping = Flapping(FLAP_LIMIT, FLAP_WINDOW_S, FLAP_BAN_S)
        self._hosts = Flapping(HOST_LIMIT, HOST_WINDOW_S, HOST_BAN_S)

    # ---- addresses --------------------------------------------------------------------------------------------------------

    def serves(self, wire: Wire) -> bool:
        """Whether a connection from there is served at all. An address with a good terminal is a carrier's NAT or a proxy: never banned."""
        terminals = self._terminals
        if not self._hosts.banned(wire.host, terminals.clock.seconds()):
            return True
        if any(terminal.last_host == wire.host for terminal in terminals.online()):
            return True
        terminals.counts["links refused: banned"] += 1
        terminals.peer_log.warn(wire.host, "{peer}: not served, its connections keep ending without authentication", peer=wire.peer)
        return False

    def left(self, wire: Wire) -> None:
        """A connection from there ended without having authenticated. This machine itself is not counted: a proxy brings everybody's."""
        if _is_loopback(wire.host):
            return
        if self._hosts.count(wire.host, self._terminals.clock.seconds()):
            self._terminals.peer_log.warn(wire.host, "{host}: {limit} connections ended without authentication", limit=HOST_LIMIT)

    # ---- terminals --------------------------------------------------------------------------------------------------------

    def happened(self, link: Link, event: Event) -> None:
        """One of the session's events that are about coming in."""
        if isinstance(event, Registering):
            self._registering(link, event)
        elif isinstance(event, Authenticating):
            self._authenticating(link, event)
        elif isinstance(event, Silent):
            self._silent(link)
        elif isinstance(event, Unadmitted):
            self._refuse(link, event.header, "not authenticated", f"sent 0x{event.header.msg_id:04X} before authenticating")
        elif isinstance(event, Foreign):
            detail = f"a message of {phone_key(event.header.phone)} on the link of {link.session.key}"
            self._refuse(link, event.header, "someone else's sim", detail)

    def _registering(self, link: Link, event: Registering) -> None:
        message, header = event.message, event.header
        if not isinstance(message, Registration):
            return
        terminals = self._terminals
        sim = phone_key(header.phone)
        if self._is_banned(link, header, sim):
            link.session.registered(header, RegistrationResult.TERMINAL_ALREADY_REGISTERED, "", terminals.clock.seconds())
            return
        online = terminals.get(sim) if terminals.is_online(sim) else None
        online_id = online.terminal_id if online is not None and online.link is not link else ""

        def decided(verdict: Verdict) -> None:
            if not link.open:
                return
            if verdict.refused:
                self._refuse(link, header, verdict.refused, f"registration of {message.plate_no or 'no plate'}, terminal id {message.terminal_id}")
            else:
                terminals.counts["registrations"] += 1
                terminals.registered(link, sim, header.phone, verdict.row, message)
            link.session.registered(header, verdict.result, verdict.code, terminals.clock.seconds())
            link.settle()

        waiting = self._gate.register(header.phone, link.session.edition, message, online_id)
        waiting.addCallback(decided).addErrback(self._store_failed, link)

    def _authenticating(self, link: Link, event: Authenticating) -> None:
        message, header = event.message, event.header
        if not isinstance(message, Authentication):
            return
        terminals = self._terminals
        sim = phone_key(header.phone)
        if self._is_banned(link, header, sim):
            link.session.authenticated(header, False, terminals.clock.seconds())
            link.session.end("banned for a while: connects too often")
            return

        def decided(verdict: Verdict) -> None:
            if not link.open:
                return
            now = terminals.clock.seconds()
            fresh = link.sim != sim
            if verdict.refused:
                link.failures += 1
                self._refuse(link, header, verdict.refused, "authentication")
                link.session.authenticated(header, False, now)
                if link.failures >= FAILURES_MAX and not link.ready:
                    link.session.end(f"{link.failures} failed authentications")
            elif (announce := terminals.enter(link, sim, header.phone, verdict.row)) is not None:
                if fresh:
                    self._count(link, sim)
                terminals.authenticated(sim, message)
                link.session.authenticated(header, True, now)
                link.settle()
                announce()
            else:
                self._too_many(link, header)
                link.session.authenticated(header, False, now)
                link.session.end("too many terminals")
            link.settle()

        self._gate.authenticate(header.phone, message).addCallback(decided).addErrback(self._store_failed, link)

    def _silent(self, link: Link) -> None:
        """Policy "open": a terminal that neither registers nor authenticates."""
        terminals = self._terminals
        sim, phone = link.session.key, link.session.phone
        if self._flapping.banned(sim, terminals.clock.seconds()):
            link.session.end("banned for a while: connects too often")
            return

        def decided(verdict: Verdict) -> None:
            if not link.open:
                return
            announce = None if verdict.refused else terminals.enter(link, sim, phone, verdict.row)
            link.session.admitted(announce is not None, terminals.clock.seconds())
            link.settle()
            if announce is not None:
                self._count(link, sim)
                announce()

        self._gate.silent(phone).addCallback(decided).addErrback(self._store_failed, link)

    def deregistered(self, link: Link, sim: str) -> None:
        """0x0003: the code is worth nothing any more."""
        self._gate.deregister(sim).addErrback(self._store_failed, link)

    # ---- refusing ---------------------------------------------------------------------------------------------------------

    def _count(self, link: Link, sim: str) -> None:
        """It has authenticated once more."""
        if self._flapping.count(sim, self._terminals.clock.seconds()):
            log.warn("terminal {sim} authenticated {count} times within a minute; not served for {ban:g} s", sim=sim, count=FLAP_LIMIT, ban=FLAP_BAN_S)
            self._terminals.events.publish("terminal.flapping", sim=sim, peer=link.wire.peer)

    def _is_banned(self, link: Link, header: Header, sim: str) -> bool:
        if not self._flapping.banned(sim, self._terminals.clock.seconds()):
            return False
        self._refuse(link, header, "banned", "it connected too often")
        return True

    def _too_many(self, link: Link, header: Header) -> None:
        self._refuse(link, header, "too many terminals", f"limits.terminals_max = {self._terminals.limits.terminals_max}")

    def _refuse(self, link: Link, header: Header, reason: str, detail: str) -> None:
        """Name a refusal: counted always, logged and told at most once a second and address."""
        terminals = self._terminals
        terminals.counts[f"refused: {reason}"] += 1
        sim, wire = phone_key(header.phone), link.wire
        terminals.refused(sim, f"refused: {reason}, {detail}")
        text = "{peer}: terminal {sim} refused: {reason} ({detail})"
        if terminals.peer_log.warn(wire.host, text, peer=wire.peer, sim=sim, reason=reason, detail=detail):
            terminals.events.publish("terminal.refused", sim=sim, peer=wire.peer, reason=reason, detail=detail)

    def _store_failed(self, failure: Failure, link: Link) -> Failure | None:
        """The terminal is left to try again; everything else goes on."""
        if not isinstance(failure.value, StoreError):
            return failure  # a fault of ours: logged with its traceback, and this link only
        self._terminals.counts["store failures"] += 1
        log.error("terminal {sim}: {problem}", sim=link.session.key, problem=str(failure.value))
        link.end("the store failed")
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
