"""The API's live channels: start, stop, play URLs, how the last starts went; and media tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.logger import Logger

from relay.core.events import iso_time
from relay.core.live import Live
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.tokens import Signer
from relay.hub.merge import Clock, DelayedCall
from relay.hub.registry import Registry
from relay.identity import StreamKey, phone_key
from relay.settings import Auth
from relay.web.models import LiveStart, LiveStarted, Play, PlayQuery, Token, TokenRequest, TraceList
from relay.web.names import Names
from relay.web.problem import Problem, refuse_newlines
from relay.web.router import Call, Permission, Route
from relay.web.urls import PlayAddresses

_log = Logger(namespace="relay.web")

HOLDS_MAX = 1000  #: channels that the API keeps running though nobody watches


def start_problem(error: StartFailed) -> Problem:
    """A failed start as an answer."""
    trace = error.trace
    return Problem(
        error.status, error.message, code=error.code, hint=error.hint, hop=error.hop,
        hops=trace.hops() if trace is not None else None, trace=trace.as_dict() if trace is not None else None,
    )  # fmt: skip


class LiveApi:
    """Handlers and their routes."""

    def __init__(
        self, live: Live, hub: Registry, names: Names, addresses: PlayAddresses, signer: Signer, auth: Auth, clock: Clock, wall: Callable[[], float]
    ) -> None:
        self._live = live
        self._hub = hub
        self._names = names
        self._addresses = addresses
        self._signer = signer
        self._auth = auth
        self._clock = clock
        self._wall = wall
        self._holds: dict[StreamKey, tuple[Lease, DelayedCall]] = {}

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        one = "/api/v1/terminals/{sim}/channels/{channel:int}"
        viewer, operator = Permission.VIEWER, Permission.OPERATOR
        failing = (409, 502, 503, 504)
        yield Route(
            method="POST", path=f"{one}/live", handler=self.start, permission=viewer, body=LiveStart, body_optional=True, answer=LiveStarted,
            tag="live", summary="Start a channel (0x9101) and wait until it runs", errors=failing,
        )  # fmt: skip
        yield Route(
            method="DELETE", path=f"{one}/live", handler=self.stop, permission=operator, status=204, tag="live",
            summary="Stop a channel (0x9102) whoever watches", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{one}/play", handler=self.play, permission=viewer, query=PlayQuery, answer=Play, tag="live",
            summary="Play URLs with fresh tokens; playing starts the channel", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{one}/traces", handler=self.traces, permission=viewer, answer=TraceList, tag="live",
            summary="How the last starts went, hop by hop", errors=(503,),
        )  # fmt: skip
        yield Route(
            method="POST", path="/api/v1/media-tokens", handler=self.token, permission=operator, body=TokenRequest, answer=Token, status=201,
            tag="live", summary="Make a media token for one or more channels",
        )  # fmt: skip

    async def _key(self, call: Call) -> StreamKey:
        """The channel that is meant, of a terminal that somebody knows."""
        name, channel = call.path["sim"], int(call.path["channel"])
        sim = await self._names.sim(name)
        key = StreamKey(sim or phone_key(name), channel)
        if sim is None and self._hub.get(key) is None:
            raise Problem(404, f"Terminal {name} is not known.", code="unknown_terminal", hint="Add it with POST /api/v1/terminals.")
        if not 1 <= channel <= 255:
            raise Problem(404, f"There is no channel {channel}; they are numbered from 1 to 255.", code="unknown_channel")
        return key

    async def start(self, call: Call) -> LiveStarted:
        """Start, wait, answer with where to play. It stops ``idle_stop_s`` later if nobody plays it, unless it is held."""
        body: LiveStart = call.body
        key = await self._key(call)
        if body.hold_s and not call.principal.may(Permission.OPERATOR):
            raise Problem(403, "Keeping a channel running without viewers needs the role operator.", code="role")
        who = call.principal.name
        lease = await self._live.acquire(key.sim, key.channel, body.stream or "", body.media, "api", who, body.timeout_s)
        trace = lease.trace.as_dict() if lease.trace is not None else None
        if body.hold_s:
            self._hold(key, lease, body.hold_s)
        else:
            lease.release()
        query = PlayQuery(stream=body.stream, media=body.media)
        play = self._addresses.play(call.request, key, query, who)
        return LiveStarted(play.id, play.sim, play.channel, play.urls, play.token, play.expires, trace=trace)

    def _hold(self, key: StreamKey, lease: Lease, seconds: float) -> None:
        if len(self._holds) >= HOLDS_MAX and key not in self._holds:
            lease.release()
            raise Problem(503, f"{HOLDS_MAX} channels are held already.", code="too_many_holds")
        self._release(key)
        lease.on_ended = lambda cause: self._release(key)
        self._holds[key] = (lease, self._clock.callLater(seconds, self._release, key))

    def _release(self, key: StreamKey) -> None:
        held = self._holds.pop(key, None)
        if held is None:
            return
        lease, call = held
        if call.active():
            call.cancel()
        lease.on_ended = None
        lease.release()

    async def stop(self, call: Call) -> None:
        """Tell the terminal to stop, and close whoever watches."""
        key = await self._key(call)
        await self.end(key, f"stopped by {call.principal.name}")

    async def end(self, key: StreamKey, why: str) -> None:
        """End a stream of any kind; 404 when it does not run."""
        self._release(key)
        stopped = await self._live.stop(key.sim, key.channel, why) if key.kind == "live" else False
        stream = self._hub.get(key)
        if stopped:
            _log.info("{key} {why}", key=str(key), why=why)
        elif stream is not None:
            stream.end(why)
        else:
            raise Problem(404, f"Channel {key.channel} of terminal {key.sim} does not run.", code="not_running")

    async def play(self, call: Call) -> Play:
        """Addresses only; nothing is started yet."""
        return self._addresses.play(call.request, await self._key(call), call.query, call.principal.name)

    async def traces(self, call: Call) -> dict[str, Any]:
        """The last starts, newest first."""
        key = await self._key(call)
        items = self._live.traces(key.sim, key.channel)
        return {"items": items, "total": len(items), "next": None}

    def token(self, call: Call) -> Token:
        """A media token."""
        body: TokenRequest = call.body
        refuse_newlines(body.pattern, body.viewer, body.address)
        seconds = body.expires_s if body.expires_s is not None else self._auth.media_token_s
        now = self._wall()
        made = self._signer.media(body.pattern, seconds, now, body.viewer or call.principal.name, body.address)
        return Token(made, iso_time(now + seconds))

    def close(self) -> None:
        """Let go of everything that is held."""
        for key in list(self._holds):
            self._release(key)
