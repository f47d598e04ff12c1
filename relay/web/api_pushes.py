"""The API's pushes: channels sent to outside RTMP servers.

Addresses hold keys, so they are taken and never shown; making a push sends pictures to where its maker says, so it is for administrators, and its target
is fenced (``core.fence``). What is made here lasts until it is deleted or the relay stops; what is to last stands in the configuration as ``[[push]]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from relay.core.audit import Audit
from relay.core.events import iso_time
from relay.core.push import PUSHES_MAX, Push, Pushes
from relay.core.tokens import Signer
from relay.identity import phone_key
from relay.rtmp.url import PushUrlError
from relay.settings import Push as PushSettings
from relay.web.problem import Problem, refuse_newlines
from relay.web.router import Call, Permission, Route, query_of

FIELDS_MAX = 50  #: of a media server's hook; they send some ten


class PushRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A channel, and where it goes."""

    url: Annotated[str, Meta(min_length=8, max_length=2048, description="rtmp://host/app/name?query or rtmps://…; never shown again")]
    sim: Annotated[str, Meta(min_length=1, max_length=64, description="Number, plate or alias of the terminal")]
    channel: Annotated[int, Meta(ge=1, le=255)] = 1
    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$", description="Its id; made up when absent")] | None = None
    stream: Literal["auto", "main", "sub"] = "auto"
    media: Literal["av", "v", "a"] = "av"
    audio: Literal["auto", "aac", "source", "none"] = "auto"
    hevc: Literal["enhanced", "legacy"] = "enhanced"
    when: Annotated[Literal["always", "demand"], Meta(description="demand: POST …/start begins it")] = "always"
    query: Annotated[Literal["name", "app"], Meta(description="Where the query of the URL goes")] = "name"


class PushView(msgspec.Struct):
    """One push."""

    id: str
    origin: str  #: "config" or "api"
    target: str  #: without the stream's name and query
    terminal: str
    sim: str  #: the terminal's number, once it is known
    channel: int
    stream: str
    media: str
    audio: str
    hevc: str
    when: str
    state: str  #: stopped | connecting | starting | publishing | running | waiting
    since: str
    next_try_s: float | None  #: while it waits
    bytes: int
    connects: int  #: publications that began
    reconnects: int  #: of these after the first
    failures: int
    last_error: str
    drops: int  #: overflows of its queue since it runs
    queue_bytes: int
    note: str  #: a track that is left out
    watching: int  #: viewers at the server, as its hooks tell
    hook: str  #: path for those hooks, with its key; "" for who may not begin a push


class PushList(msgspec.Struct):
    """All of them."""

    items: list[PushView]
    total: int
    next: str | None = None


class HookAnswer(msgspec.Struct):
    """What media servers take for consent."""

    code: int = 0


class PushApi:
    """Handlers and their routes."""

    def __init__(self, pushes: Pushes, signer: Signer, wall: Callable[[], float], audit: Audit | None = None) -> None:
        self._pushes = pushes
        self._audit = audit
        self._signer = signer
        self._wall = wall

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        base, one = "/api/v1/pushes", "/api/v1/pushes/{id}"
        viewer, operator, admin = Permission.VIEWER, Permission.OPERATOR, Permission.ADMIN
        yield Route(
            method="GET", path=base, handler=self.list, permission=viewer, answer=PushList, tag="pushes", scope="filtered",
            summary="Channels sent to outside RTMP servers",
        )  # fmt: skip
        yield Route(
            method="POST", path=base, handler=self.make, permission=admin, body=PushRequest, answer=PushView, status=201, tag="pushes",
            summary="Send a channel to an outside RTMP server", errors=(409, 503),
        )  # fmt: skip
        yield Route(
            method="GET", path=one, handler=self.get, permission=viewer, answer=PushView, tag="pushes", scope="filtered", summary="One push",
        )  # fmt: skip
        yield Route(
            method="DELETE", path=one, handler=self.remove, permission=admin, status=204, tag="pushes",
            summary="End a push and forget it (one of the configuration comes back when that is read again)",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/start", handler=self.start, permission=operator, answer=PushView, tag="pushes", scope="filtered",
            summary="Begin a push, or try again at once",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/stop", handler=self.stop, permission=operator, answer=PushView, tag="pushes", scope="filtered",
            summary="End a push until it is begun again",
        )  # fmt: skip

        for method in ("GET", "POST"):
            yield Route(
                method=method, path="/hooks/push/{id}", handler=self.hook, permission=Permission.KEY, answer=HookAnswer, tag="pushes", any_query=True,
                summary="For media servers: tells of their viewers, so that a push on demand begins with the first and ends after the last",
            )  # fmt: skip

    def hook(self, call: Call) -> HookAnswer:
        """A media server calls: ``event`` in the address, else ``call``, ``action`` or ``event`` in the form or JSON that it sends."""
        ident = call.path["id"]
        given = query_of(call.request)
        push = self._pushes.get(ident)
        if not self._signer.opens(f"push/{ident}", given.get("token", "")) or push is None:
            raise Problem(403, "The key does not open this.", code="bad_key", hint="GET /api/v1/pushes/{id} has the address as `hook`.")
        content = call.request.content
        word = given.get("event") or given.get("call") or _word(content.getvalue() if content is not None else b"")
        word = word.removeprefix("on_")
        if word in ("play", "stream_not_found"):
            push.viewer_came()
        elif word in ("play_done", "stop", "done"):
            push.viewer_went()
        elif word in ("none", "stream_none_reader"):
            push.viewer_went(all_of_them=True)
        return HookAnswer()

    def _find(self, call: Call) -> Push:
        push = self._pushes.get(call.path["id"])
        if push is None or not call.sees(_sim(push)):
            raise Problem(404, f"There is no push {call.path['id']}.", code="unknown_push", hint="GET /api/v1/pushes lists them.")
        return push

    def view(self, push: Push, call: Call) -> PushView:
        """What the API tells of a push."""
        settings, clock = push.settings, self._pushes.clock
        now = clock.seconds()
        stats = push.viewer.stats() if push.viewer is not None else None
        return PushView(
            id=push.id,
            origin=push.origin,
            target=push.target.shown(),
            terminal=settings.terminal,
            sim=push.sim,
            channel=settings.channel,
            stream=settings.stream,
            media=settings.media,
            audio=settings.audio,
            hevc=settings.hevc,
            when=settings.when,
            state=push.state,
            since=iso_time(self._wall() - (now - push.since)),
            next_try_s=round(max(push.retry_at - now, 0.0), 1) if push.retry_at else None,
            bytes=push.sent_bytes,
            connects=push.connects,
            reconnects=max(push.connects - 1, 0),
            failures=push.failures,
            last_error=push.last_error,
            drops=stats.drops if stats is not None else 0,
            queue_bytes=stats.queue_bytes if stats is not None else 0,
            note=stats.note if stats is not None else "",
            watching=push.watching,
            hook=f"/hooks/push/{push.id}?token={self._signer.door(f'push/{push.id}')}" if call.principal.may(Permission.OPERATOR) else "",
        )

    def list(self, call: Call) -> PushList:
        """All."""
        items = [self.view(push, call) for push in self._pushes if call.sees(_sim(push))]
        return PushList(items, len(items))

    def get(self, call: Call) -> PushView:
        """One."""
        return self.view(self._find(call), call)

    def make(self, call: Call) -> PushView:
        """A new one; one for always begins at once, and its state tells how that goes."""
        body: PushRequest = call.body
        refuse_newlines(body.url, body.sim)
        if body.name is not None and self._pushes.get(body.name) is not None:
            raise Problem(409, f"There is a push {body.name} already.", code="push_exists", hint="DELETE it first, or leave the name out.")
        if len(self._pushes) >= PUSHES_MAX:
            raise Problem(503, f"There are {PUSHES_MAX} pushes already.", code="too_many_pushes")
        settings = PushSettings(
            name=body.name or self._pushes.free_name(),
            url=body.url,
            terminal=body.sim,
            channel=body.channel,
            stream=body.stream,
            media=body.media,
            audio=body.audio,
            hevc=body.hevc,
            when=body.when,
            query=body.query,
        )
        try:
            push = self._pushes.add(settings, "api")
        except PushUrlError as problem:
            raise Problem(400, f"url: {problem}.", code="bad_url") from None
        self._note(call, push, "made")
        return self.view(push, call)

    def _note(self, call: Call, push: Push, what: str) -> None:
        if self._audit is not None:
            subject = f"{_sim(push)}_{push.settings.channel}"
            self._audit.record(call.principal.name, "push", subject, f"{push.id} to {push.target.shown()} {what}", call.request.address)

    def remove(self, call: Call) -> None:
        """End and forget."""
        push = self._find(call)
        self._note(call, push, "deleted")
        self._pushes.remove(push, f"deleted by {call.principal.name}")

    def start(self, call: Call) -> PushView:
        """Begin."""
        push = self._find(call)
        self._note(call, push, "started")
        push.start()
        return self.view(push, call)

    def stop(self, call: Call) -> PushView:
        """End."""
        push = self._find(call)
        self._note(call, push, "stopped")
        push.stop(f"stopped by {call.principal.name}")
        return self.view(push, call)


def _sim(push: Push) -> str:
    return push.sim or phone_key(push.settings.terminal)


def _word(body: bytes) -> str:
    """What a hook's body says has happened: a form (nginx-rtmp) or JSON (SRS, ZLMediaKit)."""
    try:
        given = msgspec.json.decode(body) if body.lstrip()[:1] == b"{" else dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=FIELDS_MAX))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""
    words = [given.get(name) for name in ("call", "action", "event")] if isinstance(given, dict) else []
    return next((word for word in words if isinstance(word, str)), "")
