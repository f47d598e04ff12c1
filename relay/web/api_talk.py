"""The API's calls: talk, listen, broadcast; who holds which microphone; and the WebSocket that carries the sound.

``POST …/channels/{ch}/talk`` waits until the terminal has connected and names a WebSocket; whoever opens it within 20 s has the microphone, and
closing it ends the call. On it:

    binary, both ways     PCM, signed 16 bit little-endian, 8000 Hz, mono; messages of 20 to 60 ms are best, whole samples only
    text, to the page     {"type": "state", "sim": "…", "state": "connected", "codec": "g711a", "problem": ""}
                          {"type": "end", "message": "…"}, then closed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core.events import iso_time
from relay.core.talk import Talk, Talks
from relay.core.tokens import Signer
from relay.settings import Auth, Http
from relay.web.auth import check_origin
from relay.web.connection import QUEUE_BYTES, SinkMaker, WebSocket
from relay.web.models import Timeout
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import TAKEN, Call, Permission, Route
from relay.web.urls import PlayAddresses
from relay.web.websocket import GOING_AWAY, NORMAL, Message, Opcode, accept, frame

BROADCAST_MAX = 200
#: sound that may wait for a page that does not read: half a second; what is older is of no use
LATE_BYTES = 8000


class TalkStart(msgspec.Struct, forbid_unknown_fields=True):
    """How to call."""

    mode: Literal["talk", "listen", "broadcast"] = "talk"
    timeout_s: Timeout | None = None


class TalkStarted(msgspec.Struct):
    """A call that has begun; open ``ws`` within 20 s."""

    id: str
    ws: str
    token: str
    expires: str
    mode: str
    sim: str
    channel: int
    codec: str
    problem: str = ""


class BroadcastStart(msgspec.Struct, forbid_unknown_fields=True):
    """One microphone to many."""

    terminals: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(min_length=1, max_length=BROADCAST_MAX)]
    channel: Annotated[int, Meta(ge=1, le=255)] = 33
    timeout_s: Timeout | None = None


class BroadcastResult(msgspec.Struct):
    """Of one terminal."""

    terminal: str
    sim: str
    ok: bool
    error: str = ""
    message: str = ""


class BroadcastStarted(msgspec.Struct):
    """Whom it reaches; ``id`` and ``ws`` are empty when it reaches nobody."""

    id: str
    ws: str
    token: str
    expires: str
    results: list[BroadcastResult]


class TalkList(msgspec.Struct):
    """All calls that run."""

    items: list[dict[str, Any]]
    total: int
    next: str | None = None


class TalkSocket(WebSocket):
    """The person's side of a talk."""

    __slots__ = ("skipped", "stop", "talk")

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self.talk = talk
        self.skipped = 0  #: bytes of sound left out since the page did not read
        self.stop: Callable[[], None] | None = None

    def message(self, message: Message) -> None:
        """Sound of the microphone."""
        if message.opcode is not Opcode.BINARY or len(message.data) & 1:
            self.end(1003, "PCM of 16 bit in binary messages is expected here")
        elif not self.talk.speaks:
            self.end(1003, "this call only listens")
        else:
            self.talk.speak(message.data)

    def sound(self, pcm: bytes) -> None:
        """Sound of the terminal, unless the page is behind."""
        if self._queued + len(pcm) > min(LATE_BYTES, QUEUE_BYTES):
            self.skipped += len(pcm)
            return
        self.write(frame(Opcode.BINARY, pcm))

    def tell(self, what: dict[str, Any]) -> None:
        """Something happened."""
        self.text(msgspec.json.encode(what))

    def finish(self, reason: str) -> None:
        """The talk is over."""
        self.tell({"type": "end", "message": reason})
        self.end(GOING_AWAY if reason == "the relay stops" else NORMAL, reason)

    def lost(self) -> None:
        stop, self.stop = self.stop, None
        if stop is not None:
            stop()


class TalkApi:
    """Handlers and their routes."""

    def __init__(
        self, talks: Talks, names: Names, addresses: PlayAddresses, signer: Signer, auth: Auth, http: Http, sinks: SinkMaker, wall: Callable[[], float]
    ) -> None:
        self._talks = talks
        self._names = names
        self._addresses = addresses
        self._signer = signer
        self._auth = auth
        self._http = http
        self._sinks = sinks
        self._wall = wall

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        channel = "/api/v1/terminals/{sim}/channels/{channel:int}"
        viewer, operator = Permission.VIEWER, Permission.OPERATOR
        failing = (409, 502, 503, 504)
        yield Route(
            method="POST", path=f"{channel}/talk", handler=self.start, permission=operator, body=TalkStart, body_optional=True, answer=TalkStarted,
            status=201, tag="talk", summary="Talk to a terminal, listen to it, or speak to it (0x9101 data types 2, 3, 4)", errors=failing,
        )  # fmt: skip
        yield Route(
            method="POST", path="/api/v1/broadcasts", handler=self.broadcast, permission=operator, body=BroadcastStart, answer=BroadcastStarted,
            status=201, tag="talk", summary="One microphone to many terminals", errors=failing, scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path="/api/v1/talks", handler=self.list, permission=viewer, answer=TalkList, tag="talk",
            summary="Calls that run, and who holds the microphone", scope="filtered",
        )  # fmt: skip
        yield Route(
            method="DELETE", path="/api/v1/talks/{id}", handler=self.stop, permission=operator, status=204, tag="talk", summary="End a call (0x9102)",
            scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path="/talk/{id}", handler=self.socket, permission=Permission.MEDIA, any_query=True, tag="talk", hidden=True,
            summary="The sound of a call, over a WebSocket; its token is in the address that the call was answered with", report=self._report, scope="filtered",
        )  # fmt: skip

    # ---- asking ----------------------------------------------------------------------------------------------------------------

    async def start(self, call: Call) -> TalkStarted:
        """Call, wait, and name the socket."""
        body: TalkStart = call.body
        name, channel = call.path["sim"], int(call.path["channel"])
        talk = await self._talks.start(name, channel, body.mode, call.principal.name, body.timeout_s)
        [called] = talk.calls
        ws, token, expires = self._address(call, talk)
        voice = called.voice or called.uplink.voice
        return TalkStarted(
            talk.id, ws, token, expires, talk.mode, called.sim, called.channel, voice.codec if voice is not None else "", called.problem
        )  # fmt: skip

    async def broadcast(self, call: Call) -> BroadcastStarted:
        """Call all of them."""
        body: BroadcastStart = call.body
        wanted, unseen = body.terminals, []
        if call.principal.groups:
            sims = [(name, await self._names.sim(name)) for name in body.terminals]
            unseen = [name for name, sim in sims if sim is None or not call.sees(sim)]
            wanted = [name for name in body.terminals if name not in unseen]
        talk, results = await self._talks.broadcast(wanted, body.channel, call.principal.name, body.timeout_s)
        for name in unseen:
            results.append({"terminal": name, "sim": "", "ok": False, "error": "unknown_terminal", "message": f"No terminal is called {name}."})
        ws, token, expires = self._address(call, talk) if talk is not None else ("", "", "")
        return BroadcastStarted(talk.id if talk is not None else "", ws, token, expires, [BroadcastResult(**result) for result in results])

    def _address(self, call: Call, talk: Talk) -> tuple[str, str, str]:
        now = self._wall()
        token = self._signer.media(f"talk/{talk.id}", self._auth.media_token_s, now, call.principal.name)
        host, secure = self._addresses.place(call.request)
        return f"{'wss' if secure else 'ws'}://{host}/talk/{talk.id}?token={token}", token, iso_time(now + self._auth.media_token_s)

    def list(self, call: Call) -> dict[str, Any]:
        """What runs."""
        items = [talk for talk in self._talks.describe() if all(call.sees(one["sim"]) for one in talk["terminals"])]
        return {"items": items, "total": len(items), "next": None}

    def stop(self, call: Call) -> None:
        """End it, whoever holds it."""
        self._talks.end(self._seen(call).id, f"ended by {call.principal.name}")

    def _seen(self, call: Call) -> Talk:
        """The call that the path names, if it is the account's to see."""
        talk = self._talks.get(call.path["id"])
        if talk is None or not all(call.sees(one.sim) for one in talk.calls):
            raise Problem(404, f"There is no call {call.path['id']}.", code="unknown_talk", hint="GET /api/v1/talks lists those that run.")
        return talk

    # ---- the socket ----------------------------------------------------------------------------------------------------------------

    def socket(self, call: Call) -> Any:
        """Open the sound. The token is of this very call, since one for all channels opens no microphone; or an operator's in the header."""
        request, ident = call.request, call.path["id"]
        own = call.grant is not None and call.grant.pattern == f"talk/{ident}"
        talk = self._seen(call)
        if not own and not call.principal.may(Permission.OPERATOR):
            raise Problem(403, "The token is refused: it was not made for this call.", code="token_wrong_path")
        if not call.upgrade:
            raise Problem(400, "This address is for a WebSocket.", code="not_a_websocket")
        check_origin(request, self._http)
        socket = TalkSocket(talk)
        socket.begin(request, self._sinks, accept(request))
        socket.stop = lambda: talk.detach(socket)
        talk.attach(socket)
        return TAKEN

    def _report(self, call: Call, problem: Problem) -> None:
        """A handshake that is refused is accepted first: scripts cannot read the answer otherwise."""
        socket = WebSocket()
        socket.begin(call.request, self._sinks, accept(call.request))
        socket.text(msgspec.json.encode({"type": "error", "status": problem.status, **msgspec.to_builtins(problem.struct())}))
        socket.end(4000 + problem.status, problem.code)
