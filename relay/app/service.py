"""The whole relay as one service: what is made when, what is stopped when, and how it fails.

    __init__     settings only: no socket, no file, no thread, since twistd may still fork
    privileged   every listening socket is bound, while twistd still has its first user; a port that cannot be had: one line, status 1
    start        store, signing key, parts; the reactor takes the sockets; a store that cannot be used: one line, status 1
    running      descriptors, garbage collector, signals; "listening …", "ready"

    stop         nothing new is accepted → terminals are told to stop sending (0x9102) → viewers end → links close → the store closes;
                 all within STOP_S

SIGTERM and SIGINT stop and exit with 0. SIGHUP rereads the configuration. SIGUSR2 stops too, but terminals and listeners go on in the next image
of the process (``restarting``, ``handover``).
"""

# mypy: disallow-untyped-calls=False
# (twisted.application and twisted.python.usage carry no annotations)

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

import relay
from relay.app import advertised, keys, process
from relay.app.config import ConfigurationError, Loaded, load
from relay.app.listening import Listeners, Wanted, show
from relay.app.logs import LogWriter, stdout
from relay.app.parts import Parts
from relay.app.ports import MANY, listeners
from relay.app.restarting import Go, Restarting, gap
from relay.core.accounts import Accounts
from relay.core.tokens import Signer
from relay.errors import RelayError, UsageError
from relay.hub.shortcut import COMPILED
from relay.settings import Settings
from relay.store.store import Store

log = Logger(namespace="relay.app")

STOP_S = 9.0  #: for everything together; contract and operators' tools count on ten
FIRST_LINK_S = 900  #: life of the first administrator's link

#: what SIGHUP changes at once; everything else waits for the next start
RELOADABLE = {"log.level", "log.format", "log.record", "auth.signing_key", "auth.signing_key_old", "auth.leeway_s", "push", "hook"}


class MonotonicClock:
    """The reactor's timers with a clock that nobody sets: Twisted's own ``seconds()`` is the wall clock."""

    def __init__(self, reactor: Any) -> None:
        self.callLater = reactor.callLater

    def seconds(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()


class Relay(MultiService):
    """Owns everything.

    ``read`` gives the configuration, now and at every SIGHUP. ``twistd``: twistd's own options when this process is ours alone, else None,
    and then nothing of the process is touched and what cannot start raises.
    """

    demo = False

    def __init__(
        self, read: Callable[[], Loaded], reactor: Any, twistd: Mapping[str, Any] | None = None, config: str | None = None, here: Path | None = None
    ) -> None:
        super().__init__()
        self.setName("jt1078relay")
        loaded = read()
        self.settings: Settings = loaded.settings
        self.reactor = reactor
        self.clock = MonotonicClock(reactor)
        self.listeners = Listeners()
        self.store = Store(self.settings.store.url, self.settings.store.password)
        self.signer: Signer | None = None
        self.parts: Parts | None = None
        self.writer: LogWriter | None = None
        self.on_ready: list[Callable[[Relay], object]] = []  #: called once everything listens
        self._read = read
        self._twistd = twistd
        self._bound = False
        self._stopping: Deferred[None] | None = None
        self._told_to_stop = False
        self._restarting = Restarting(self, twistd, config, here or Path.cwd()) if twistd is not None else None
        log.info("{said}", said=loaded.said)
        loop = "compiled" if COMPILED else "in Python"
        log.info("jt1078relay {version}, Python {python}, pictures' loop {loop}", version=relay.__version__, python=sys.version.split()[0], loop=loop)
        for warning in (*loaded.warnings, *advertised.warnings(loaded.settings)):
            log.warn("{warning}", warning=warning)

    # twistd ---------------------------------------------------------------

    def setServiceParent(self, parent: Any) -> None:
        """Give the application the log's form, before twistd makes one of its own."""
        twistd = self._twistd
        if twistd is not None and isinstance(parent, Componentized) and not twistd.get("logger") and not twistd.get("syslog"):
            self.writer = self._log_writer(twistd)
            parent.setComponent(ILogObserver, self.writer)
        super().setServiceParent(parent)

    def _log_writer(self, twistd: Mapping[str, Any]) -> LogWriter:
        name = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
        out: Any = stdout()
        if name != "-":
            out = LogFile.fromFullPath(str(Path(name).absolute()))
            process.on_rotate(self.reactor, out.rotate)
        return LogWriter(out, self.settings.log.format, self.settings.log.level)

    # starting -------------------------------------------------------------

    def wanted(self) -> Iterable[Wanted]:
        """The listeners that these settings ask for and this version serves."""
        return (
            Wanted(f"{key}:{port}" if key == MANY else key, kind, host, port)
            for key, kind, host, port in listeners(self.settings)
        )

    def privilegedStartService(self) -> None:
        """Bind all ports."""
        if self._twistd is not None:
            process.use_monotonic_time(self.reactor)
            process.raise_descriptors()
        received = self._restarting.take() if self._restarting is not None else None
        try:
            self.listeners.bind(self.wanted(), received.listeners if received is not None else ())
        except RelayError as problem:
            self._cannot_start(problem)
        self._bound = True
        super().privilegedStartService()

    def startService(self) -> None:
        """Open the store, make the parts, answer on the ports."""
        if not self._bound:
            self.privilegedStartService()
        try:
            self.store.start(self.reactor.callFromThread)
            self.signer = keys.signer(self.settings)
            self.parts = Parts(self.settings, self.reactor, self.clock, self.store, self.signer, self.listeners, self.demo)
            self.parts.start()
        except RelayError as problem:
            self.listeners.close_unadopted()
            self._cannot_start(problem)
        self._go_on()
        super().startService()
        self.reactor.callWhenRunning(self._running)

    def _cannot_start(self, problem: RelayError) -> None:
        if self._twistd is None:
            raise problem
        if self._restarting is not None:
            self._restarting.end()
        process.cannot_start(problem, self._twistd)

    def _go_on(self) -> None:
        """With the terminals of a former image, if there was one."""
        received = self._restarting.received if self._restarting is not None else None
        if received is None or self.parts is None or self._restarting is None:
            return
        self.reactor.addSystemEventTrigger("after", "shutdown", self._restarting.end)
        adopted = self.parts.signalling.take(received.terminals)
        text = "{tcp} TCP connections and {udp} UDP sessions of terminals go on, {lost} do not; nothing was answered for {seconds:.2f} s"
        log.info(text, tcp=adopted.tcp, udp=adopted.udp, lost=adopted.lost, seconds=gap(received))
        received.terminals.clear()

    def _running(self) -> None:
        if not self.running:
            return
        if self._restarting is not None:
            process.on_signals(self.reactor, self.reload, self._restarting.begin)
            process.freeze_garbage()
        log.info("listening: {listeners}", listeners=self.listeners.described() or "nowhere")
        if self.parts is not None:
            self.parts.accounts.watch()
            Deferred.fromCoroutine(self._first_start(self.parts.accounts)).addErrback(self._no_accounts)
            self.parts.events.publish("relay.started", version=relay.__version__)
        log.info("ready")
        if self._restarting is not None:
            process.tell_ready()
        for call in self.on_ready:
            call(self)

    async def _first_start(self, accounts: Accounts) -> None:
        """Read the accounts; where nobody is administrator yet, say how to become one."""
        await accounts.load()
        if accounts.has_admin or self.on_ready or self.signer is None or self.listeners.get("http.port") is None:
            return
        url = f"{self.page_address()}?first={self.signer.first(FIRST_LINK_S, time.time())}"
        text = "first start: nobody is administrator yet; this link makes one, once, within {minutes} minutes: {url}"
        log.info(text, minutes=FIRST_LINK_S // 60, url=url, reveal=True)

    def _no_accounts(self, failure: Failure) -> None:
        log.error("the accounts cannot be read, nobody can log in: {problem}", problem=failure.getErrorMessage())

    def page_url(self, role: str, seconds: float, name: str) -> str:
        """The page's address with a ready token."""
        if self.signer is None:
            raise UsageError("page_url before the start")
        return f"{self.page_address()}?token={self.signer.api(role, seconds, time.time(), name)}"

    def page_address(self) -> str:
        """The page's address, without anything that opens it."""
        http = self.settings.http
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)
        place = http.advertise or show(host, self.listeners.port("http.port"))
        scheme = "https" if http.tls_certificate and not http.tls_port else "http"
        return f"{scheme}://{place}/"

    # stopping -------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """The end has begun."""
        return self._stopping is not None

    def stopService(self) -> Deferred[None]:
        """End everything in order, within STOP_S; fires when done."""
        self._told_to_stop = True
        return self._end(self._stop)

    def hand_over(self, go: Go) -> Deferred[None]:
        """The same, but terminals and listeners are kept for ``go``, which does not come back."""
        since = self.clock.seconds()

        def ended(_: None) -> None:
            if self._told_to_stop:
                log.info("told to stop while restarting: ends")
            elif self.parts is not None:
                go(since, self.parts.signalling.carried())

        return self._end(self._stop_for_handover).addCallback(ended)

    def _end(self, steps: Callable[[], Coroutine[Any, Any, None]]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self._stopping is None:
            log.info("stopping")
            if self.parts is not None:
                self.parts.events.publish("relay.stopping")
            begun = self.clock.seconds()

            def failed(failure: Failure) -> None:
                if failure.check(TimeoutError):
                    log.error("not everything stopped within {seconds:g} s; ending all the same", seconds=STOP_S)
                else:
                    log.failure("stopping failed", failure=failure)

            def ended(_: object) -> None:
                log.info("stopped after {seconds:.1f} s", seconds=self.clock.seconds() - begun)

            self._stopping = ensureDeferred(steps()).addTimeout(STOP_S, self.reactor).addErrback(failed).addCallback(ended)

        def tell(_: None) -> None:
            done.callback(None)

        self._stopping.addCallback(tell)
        return done

    async def _stop(self) -> None:
        await self.listeners.stop("tcp")
        if self.parts is not None:
            await self.parts.stop()
        await self.listeners.stop()
        await super().stopService()
        await self.store.stop()

    async def _stop_for_handover(self) -> None:
        process.rest_garbage()
        self.listeners.hold("terminals.udp_port")
        if self.parts is not None:
            self.parts.signalling.hold()
            await self.parts.stop(handing_over=True)
        await super().stopService()
        await self.store.stop()

    # reloading ------------------------------------------------------------

    def reload(self) -> None:
        """SIGHUP: change what can be changed; with a fault in the file everything stays."""
        try:
            fresh = self._read().settings
            key, old = keys.signing_keys(fresh)
        except ConfigurationError as problem:
            for fault in problem.faults:
                log.error("not reread, the former configuration stays: {source}: {fault}", source=problem.source, fault=str(fault))
            return
        except RelayError as problem:
            log.error("not reread, the former configuration stays: {problem}", problem=str(problem))
            return
        if self.signer is not None:
            self.signer.rotate(key, old)
            self.signer.leeway_s = fresh.auth.leeway_s
        if self.writer is not None:
            self.writer.set(fresh.log.format, fresh.log.level)
        changed: list[str] = []
        if self.parts is not None:
            changed = self.parts.hooks.configure(fresh.hook)
            self.parts.pushes.configure(fresh.push)
            self.parts.recorder.want(fresh.log.record)
        waiting = [name for name in differing(self.settings, fresh) if name not in RELOADABLE]
        if self.parts is not None and self.parts.superiors is not None:
            waiting = [name for name in waiting if name != "superior"] + self.parts.superiors.reconfigure(fresh.superior)
        rest = f"; {', '.join(changed)}" if changed else ""
        log.info("configuration reread{rest}", rest=f"{rest}; at the next start: {', '.join(waiting)}" if waiting else rest)


def differing(one: Settings, other: Settings) -> list[str]:
    """The keys whose values differ."""
    found = []
    for section in fields(Settings):
        left, right = getattr(one, section.name), getattr(other, section.name)
        if isinstance(left, tuple):  # an array of tables
            found += [section.name] if left != right else []
            continue
        found += [f"{section.name}.{key.name}" for key in fields(left) if getattr(left, key.name) != getattr(right, key.name)]
    return found


def relay_service(explicit: str | None, twistd: Mapping[str, Any]) -> Relay:
    """What ``twistd jt1078relay`` runs; raises ConfigurationError."""
    from twisted.internet import reactor

    here = Path.cwd()
    return Relay(lambda: load(explicit, here=here), reactor, twistd, explicit, here)
