"""Pushes: channels that are sent to outside RTMP servers, always or on demand.

One push::

    stopped ──start──→ connecting ──TCP, TLS──→ starting ──the channel runs──→ publishing ──Publish.Start──→ running
       ↑                   ↑  └───────────────────── whatever fails ─────────────────┴─────────────────────────┤
       └──stop─────────────┴────────── waiting (1, 2, 4 … 30 s, with jitter; at once when the terminal comes) ←─┘

The server is connected to before the terminal is asked for its media, so that a server that is down costs no terminal its traffic, and not at all
while the terminal is away. Each publication begins with its headers and a key frame, and time stamps from 0. What a slow server does not take waits
in the hub's viewer queue, bounded as any viewer's; it goes on at a key frame.

The connection is made by ``relay.net.push``; here is what is decided.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.alias import Resolver
from relay.core.events import Events
from relay.core.live import Live
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.errors import RelayError
from relay.hub.formats import OutputFormat, UnsupportedTrackError
from relay.hub.merge import Clock, DelayedCall
from relay.hub.registry import Registry
from relay.hub.stream import StreamState
from relay.hub.viewer import Sink, Viewer, Who
from relay.identity import StreamKey, phone_key
from relay.rtmp.url import Target, parse_push_url
from relay.settings import Push as PushSettings

log = Logger(namespace="relay.core.push")

RETRY_MIN_S, RETRY_MAX_S = 1.0, 30.0
#: running for so long, a push counts as sound again: the next failure is retried after ``RETRY_MIN_S``
SOUND_S = 30.0
#: from the connection's start to the server's Publish.Start, the terminal's own start not counted
CONNECT_S, PUBLISH_S = 15.0, 15.0
#: the last viewer at the server has gone: another one may come, or the same again
IDLE_S = 15.0
PUSHES_MAX = 1000  #: each has its own connection and its own pass over the frames


class PushFailed(RelayError):  # noqa: N818 (as ``StartFailed``: an outcome, not a fault of the program)
    """The server could not be reached, or does not take it; the text is for people and holds no key."""


class Link(Protocol):
    """One connection to a server, made by ``Dial``."""

    sent_bytes: int
    on_lost: Callable[[str], None]  #: set by the push; called once, with why, when the connection ends

    @property
    def sink(self) -> Sink:
        """Where media go, once it publishes."""

    def publish(self, target: Target, query: str, fourccs: tuple[str, ...]) -> Deferred[None]:
        """Handshake and commands; fires at Publish.Start, fails with PushFailed."""

    def farewell(self, cause: str) -> bytes:
        """The last words of a publication."""

    def close(self) -> None:
        """End the connection; ``on_lost`` is not called any more."""


class Dial(Protocol):
    """Makes connections: ``relay.net.push.Dialler``."""

    def __call__(self, target: Target, trusted: bool, tls_ca: str) -> Deferred[Link]: ...


class Push:
    """One push. ``origin``: "config" or "api"."""

    def __init__(self, pushes: Pushes, settings: PushSettings, origin: str) -> None:
        self.settings = settings
        self.origin = origin
        self.target = parse_push_url(settings.url)
        self.format = OutputFormat("flv", "raw", settings.media, settings.audio, settings.hevc)
        self.state = "stopped"  #: stopped | connecting | starting | publishing | running | waiting
        self.sim = ""  #: the terminal's number, once it is known
        self.last_error = ""
        self.connects = 0  #: publications that began
        self.failures = 0  #: attempts and publications that failed
        self.since = pushes.clock.seconds()  #: monotonic, of the present state
        self.retry_at = 0.0  #: monotonic; 0.0 = not waiting
        self.watching = 0  #: viewers at the server, as it tells
        self._pushes = pushes
        self._row = 0  #: failures in a row
        self._bytes = 0  #: of links that are gone
        self._attempt: Deferred[Any] | None = None
        self._timer: DelayedCall | None = None
        self._idle: DelayedCall | None = None
        self._link: Link | None = None
        self._lease: Lease | None = None
        self._viewer: Viewer | None = None

    @property
    def id(self) -> str:
        """Its name."""
        return self.settings.name

    @property
    def sent_bytes(self) -> int:
        """Of all its connections."""
        return self._bytes + (self._link.sent_bytes if self._link is not None else 0)

    @property
    def viewer(self) -> Viewer | None:
        """Its viewer in the hub, while it runs."""
        return self._viewer

    # at somebody's word ---------------------------------------------------------

    def start(self) -> None:
        """Begin, if it is stopped; at once, if it waits."""
        if self.state == "waiting":
            self._row = 0
        if self.state in ("stopped", "waiting"):
            self._begin()

    def stop(self, why: str) -> None:
        """End; nothing is retried."""
        self._stay()
        self.watching = 0
        if self.state == "stopped":
            return
        self._clear()
        self._enter("stopped")
        log.info("push {name}: stopped, {why}", name=self.id, why=why)
        self._pushes.events.publish("push.stopped", push=self.id, sim=self.sim, channel=self.settings.channel, reason=why)

    def viewer_came(self) -> None:
        """The server tells of a viewer: the first one begins a push on demand."""
        self.watching += 1
        self._stay()
        if self.settings.when == "demand" and self.state == "stopped":
            self.start()

    def viewer_went(self, all_of_them: bool = False) -> None:
        """The server tells that one has gone, or that nobody is left: a push on demand ends ``IDLE_S`` later."""
        self.watching = 0 if all_of_them else max(self.watching - 1, 0)
        if not self.watching and self.settings.when == "demand" and self.state != "stopped" and self._idle is None:
            self._idle = self._pushes.clock.callLater(IDLE_S, self._unwatched)

    def _unwatched(self) -> None:
        self._idle = None
        self.stop("nobody watches it at the server")

    def _stay(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and idle.active():
            idle.cancel()

    def terminal_online(self) -> None:
        """Its terminal has come: no need to wait any longer."""
        if self.state == "waiting":
            self._begin()

    # one attempt ------------------------------------------------------------------

    def _enter(self, state: str) -> None:
        self.state = state
        self.since = self._pushes.clock.seconds()
        self.retry_at = 0.0

    def _time(self, delay: float | None, call: Callable[..., None] | None = None, *words: str) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if delay is not None and call is not None:
            self._timer = self._pushes.clock.callLater(delay, call, *words)

    def _begin(self) -> None:
        self._time(None)
        self._enter("connecting")
        attempt = self._attempt = Deferred.fromCoroutine(self._run())
        attempt.addErrback(self._not_run, attempt)

    async def _run(self) -> None:
        pushes, settings = self._pushes, self.settings
        sim = await pushes.resolver.resolve(settings.terminal)
        self.sim = sim or phone_key(settings.terminal)
        running = pushes.registry.get(StreamKey(self.sim, settings.channel))
        if (running is None or running.source is None) and not pushes.terminals.is_online(self.sim):
            raise PushFailed(f"terminal {settings.terminal} is not online" if sim else f"no terminal is called {settings.terminal}")
        self._time(CONNECT_S, self._failed, f"no connection to {self.target.place} within {CONNECT_S:.0f} s")
        link = await pushes.dial(self.target, self.origin == "config", settings.tls_ca)
        self._link = link
        link.on_lost = self._lost
        self._time(None)
        self._enter("starting")
        stream = "" if settings.stream == "auto" else settings.stream
        lease = self._lease = await pushes.live.acquire(self.sim, settings.channel, stream, settings.media, "push", f"push:{self.id}")
        found = lease.stream
        if found is None or found.state is StreamState.ENDED:
            raise PushFailed("the stream ended while it was being opened")
        found.check(self.format)
        self._enter("publishing")
        self._time(PUBLISH_S, self._failed, f"{self.target.place} did not accept the stream within {PUBLISH_S:.0f} s")
        video = found.video
        fourccs = ("hvc1",) if video is not None and video.codec == "h265" and settings.hevc == "enhanced" and settings.media != "a" else ()
        await link.publish(self.target, settings.query, fourccs)
        self._time(None)
        if found.ended():
            raise PushFailed(f"the stream ended: {found.cause}")
        self._attempt = None
        self.connects += 1
        self._enter("running")
        log.info("push {name}: {stream} goes to {target}", name=self.id, stream=str(found.key), target=self.target.shown())
        pushes.events.publish("push.running", push=self.id, sim=self.sim, channel=settings.channel)
        who = Who(self.target.place, f"push:{self.id}", "push")
        viewer = found.attach(self.format, link.sink, who, farewell=link.farewell, on_first=self._first, on_close=self._viewer_closed)
        if not viewer.closed:
            self._viewer = viewer

    def _first(self, viewer: Viewer) -> None:
        self._viewer = viewer  # the burst may be on its way before ``attach`` has returned
        if self._lease is not None:
            self._lease.first_byte()

    def _not_run(self, failure: Failure, attempt: Deferred[Any]) -> None:
        if self._attempt is not attempt:
            return  # given up, and this is how it took it
        self._attempt = None
        problem = failure.value
        if isinstance(problem, StartFailed):
            self._failed(f"{problem.message} [{problem.code}; stopped at: {problem.hop}]" if problem.hop else f"{problem.message} [{problem.code}]")
        elif isinstance(problem, PushFailed):
            self._failed(str(problem))
        elif isinstance(problem, UnsupportedTrackError):
            self._failed(f"{problem.message}; {problem.hint}" if problem.hint else problem.message)
        else:
            self._pushes.unhandled += 1
            log.failure("push {name} failed", failure=failure, name=self.id)
            self._failed("the relay failed; its log says why")

    # how it ends ---------------------------------------------------------------------

    def _viewer_closed(self, viewer: Viewer, cause: str) -> None:
        """The hub has closed the viewer and with it the sink, or we have."""
        self._viewer = None
        if self.state == "running":
            self._failed("the server takes nothing" if cause == "stuck" else f"the stream has ended: {cause}", closing=True)

    def _lost(self, why: str) -> None:
        self._failed(why, lost=True)

    def _failed(self, why: str, closing: bool = False, lost: bool = False) -> None:
        if self.state in ("stopped", "waiting"):
            return
        now = self._pushes.clock.seconds()
        if self.state == "running" and now - self.since >= SOUND_S:
            self._row = 0
        self.failures += 1
        self.last_error = why
        self._clear(closing, lost)
        delay = min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(self._row, 10)) * (0.5 + self._pushes.chance() / 2)
        self._row += 1
        self._enter("waiting")
        self.retry_at = now + delay
        self._time(delay, self._begin)
        log.info("push {name}: {why}; again in {delay:.1f} s", name=self.id, why=why, delay=delay)
        self._pushes.events.publish("push.failed", push=self.id, sim=self.sim, channel=self.settings.channel, reason=why)

    def _clear(self, closing: bool = False, lost: bool = False) -> None:
        """Let go of everything. ``closing``: the hub has given the sink its last words and closes it; ``lost``: the connection is gone already."""
        self._time(None)
        attempt, self._attempt = self._attempt, None
        viewer, self._viewer = self._viewer, None
        lease, self._lease = self._lease, None
        link, self._link = self._link, None
        state, self.state = self.state, "waiting"  # what is closed here is no news
        if attempt is not None:
            attempt.cancel()
        if link is not None:
            self._bytes += link.sent_bytes
            link.on_lost = _ignore
        if viewer is not None:
            viewer.close("gone" if lost else "the push ends")
        elif link is not None and not closing:
            link.close()
        if lease is not None:
            lease.release()
        self.state = state


def _ignore(why: str) -> None:
    """The connection was given up."""


class Pushes:
    """All pushes of the process."""

    def __init__(
        self,
        dial: Dial,
        live: Live,
        registry: Registry,
        terminals: Terminals,
        resolver: Resolver,
        clock: Clock,
        events: Events,
        chance: Callable[[], float],
    ) -> None:
        self.dial = dial
        self.live = live
        self.registry = registry
        self.terminals = terminals
        self.resolver = resolver
        self.clock = clock
        self.events = events
        self.chance = chance  #: 0 to 1, for the jitter
        self.unhandled = 0
        self._pushes: dict[str, Push] = {}
        self._gone_bytes = self._gone_failures = self._gone_connects = 0
        self._numbers = itertools.count(1)
        self._closed = False
        self._undo = terminals.watch(self._on_terminal)

    def __iter__(self) -> Iterator[Push]:
        return iter(self._pushes.values())

    def __len__(self) -> int:
        return len(self._pushes)

    def get(self, ident: str) -> Push | None:
        """By id."""
        return self._pushes.get(ident)

    def free_name(self) -> str:
        """One that nobody has."""
        return next(name for number in self._numbers if (name := f"push-{number}") not in self._pushes)

    def add(self, settings: PushSettings, origin: str) -> Push:
        """A new push, begun when it is for always. Raises PushUrlError; the caller sees to it that the name is free and there is room."""
        push = self._pushes[settings.name] = Push(self, settings, origin)
        if settings.when == "always" and not self._closed:
            push.start()
        return push

    def configure(self, wanted: Iterable[PushSettings]) -> None:
        """The configuration's, at the start and when it is read again: what is gone or other ends, what is new begins, the rest goes on."""
        named = {settings.name: settings for settings in wanted}
        for push in list(self):
            if push.origin == "config" and named.get(push.id) != push.settings:
                self.remove(push, "the configuration has changed")
        for name, settings in named.items():
            known = self.get(name)
            if known is None:
                self.add(settings, "config")
            elif known.origin != "config":
                log.error("push {name} of the configuration does not begin: the API made one of that name", name=name)

    def remove(self, push: Push, why: str) -> None:
        """End it and forget it."""
        push.stop(why)
        if self._pushes.pop(push.id, None) is not None:
            self._gone_bytes += push.sent_bytes
            self._gone_failures += push.failures
            self._gone_connects += push.connects

    # figures ---------------------------------------------------------------------

    def running(self) -> int:
        """How many run."""
        return sum(push.state == "running" for push in self)

    def sent_bytes(self) -> int:
        """Of all there were."""
        return self._gone_bytes + sum(push.sent_bytes for push in self)

    def failures(self) -> int:
        """Attempts and publications that failed."""
        return self._gone_failures + sum(push.failures for push in self)

    def connects(self) -> int:
        """Publications that began."""
        return self._gone_connects + sum(push.connects for push in self)

    # inside ------------------------------------------------------------------------

    def _on_terminal(self, what: str, terminal: Terminal) -> None:
        if what != "online":
            return
        for push in list(self):
            if push.state == "waiting" and (push.sim == terminal.sim or push.settings.terminal in self.resolver.names_of(terminal.sim)):
                push.terminal_online()

    def close(self, why: str = "the relay stops") -> None:
        """End all."""
        self._closed = True
        self._undo()
        for push in self:
            push.stop(why)
