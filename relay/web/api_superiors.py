"""The API of superior platforms: their links and queues, what waits for a person, messages for experts. No secret is ever shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core.audit import Audit
from relay.core.bridge import Bridge
from relay.core.superior import Superior
from relay.core.superior_requests import POST_QUERY, PersonRequest
from relay.core.superiors import Superiors
from relay.jt809.messages import MESSAGES
from relay.web.models import WORDS, Query
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route
from relay.wire import FieldError

_TAG = "superiors"


class LinkView(msgspec.Struct):
    """One link."""

    peer: str
    up: bool
    bytes_in: int
    bytes_out: int
    frames_in: int
    frames_out: int
    dropped: dict[str, int]  #: frames and bytes of the superior that were dropped, by reason
    under_way: int  #: messages sent and not yet known to have arrived


class QueueView(msgspec.Struct):
    """What waits on disk."""

    waiting: int
    queued: int  #: since the start, as the rest
    sent: int
    dropped_age: int
    dropped_full: int
    dropped_store: int


class SuperiorView(msgspec.Struct):
    """One superior platform."""

    name: str
    host: str
    port: int
    edition: int
    encrypted: bool
    state: str  #: "stopped" | "down" | "login" | "main_up" | "both_up" | "sub_only"
    state_since: str
    problem: str
    attempts: int
    next_attempt: str | None
    announced: str  #: address of our side of the subordinate link, as the present login told it
    links: dict[str, LinkView | None]
    vehicles: int  #: online ones that go up to it
    queue: QueueView
    passwords_age_s: int
    requests: int  #: that wait for a person
    counts: dict[str, int]
    received: dict[str, int]  #: messages of the superior by sub-business type


class SuperiorList(msgspec.Struct):
    """All of them."""

    items: list[SuperiorView]
    total: int
    next: str | None = None


class RequestView(msgspec.Struct):
    """Something a superior wants a person to answer."""

    id: int
    superior: str
    kind: str  #: "post_query" | "supervision"
    state: str  #: "waiting" | "answered" | "expired"
    received_at: str
    deadline: str
    text: str
    details: dict[str, Any]
    answer: dict[str, Any] | None = None
    answered_at: str | None = None
    answered_by: str = ""


class RequestList(msgspec.Struct):
    """A superior's, newest first."""

    items: list[RequestView]
    total: int
    next: str | None = None


class RequestQuery(Query):
    """Which ones."""

    waiting: Annotated[bool, Meta(description="Only those that wait.")] = False


class AnswerBody(msgspec.Struct, forbid_unknown_fields=True):
    """A post query wants ``text``; a supervision request ``result``."""

    text: Annotated[str, Meta(max_length=2000)] = ""
    responder: Annotated[str, Meta(max_length=16, pattern=WORDS)] = ""
    responder_tel: Annotated[str, Meta(max_length=20, pattern=WORDS)] = ""
    result: Literal["in_progress", "done", "no_action", "later"] | None = None


class PasswordsBody(msgspec.Struct, forbid_unknown_fields=True):
    """What to do about the time-efficient passwords."""

    renew: Annotated[bool, Meta(description="Make a new pair first; without it the present one is reported again.")] = False


class UpBody(msgspec.Struct, forbid_unknown_fields=True):
    """A message for experts."""

    plate: Annotated[str, Meta(max_length=21)] = ""
    plate_color: Annotated[int, Meta(ge=0, le=255)] = 0
    fields: dict[str, Any] = {}


class UpAnswer(msgspec.Struct):
    """It was sent."""

    serial: int  #: its MSG_SN


class OpenedView(msgspec.Struct):
    """What one request of a superior opened."""

    id: int
    superior: str
    sim: str
    plate: str
    plate_color: int
    channel: int  #: 0 = all
    media: str  #: "av" | "a" | "v"
    kind: str  #: "live" (0x9801) | "playback" (0x9A01)
    domain: str  #: "home" | "cross-domain": which time-efficient password opened it
    since: str
    connections: int  #: players that fetch it now
    failure: str  #: why the terminal's stream did not start, such as a playback that keeps live from starting; empty = nothing is wrong


class RefusalView(msgspec.Struct):
    """A video request that was not granted."""

    request: str  #: sub-business type, such as "0x9801"
    plate: str
    plate_color: int
    result: int  #: 1 failure, 2 not supported, 3 session ended, 4 wrong password, 5 cross-domain condition, as the superior was told
    reason: str
    time: str


class OpenedList(msgspec.Struct):
    """What a superior has open, oldest first, and what was refused to it lately, newest first."""

    items: list[OpenedView]
    total: int
    refused: list[RefusalView]
    next: str | None = None


class SuperiorApi:
    """Handlers and their routes; without superiors the list is empty."""

    def __init__(self, superiors: Superiors | None, bridge: Bridge | None = None, audit: Audit | None = None) -> None:
        self._superiors = superiors
        self._bridge = bridge
        self._audit = audit

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        base, one = "/api/v1/superiors", "/api/v1/superiors/{name}"
        viewer, operator = Permission.VIEWER, Permission.OPERATOR
        yield Route(method="GET", path=base, handler=self.list, permission=viewer, answer=SuperiorList, tag=_TAG, summary="Superior platforms")
        yield Route(method="GET", path=one, handler=self.get, permission=viewer, answer=SuperiorView, tag=_TAG, summary="One superior platform")
        yield Route(
            method="POST", path=f"{one}/connect", handler=self.connect, permission=operator, answer=SuperiorView, tag=_TAG,
            summary="Connect to it, at once",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/disconnect", handler=self.disconnect, permission=operator, answer=SuperiorView, tag=_TAG,
            summary="Log out and stay away; what comes in waits on disk",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/passwords", handler=self.passwords, permission=operator, body=PasswordsBody, body_optional=True, status=204,
            tag=_TAG, summary="Report the time-efficient passwords (0x1701), or make new ones",
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{one}/requests", handler=self.requests, permission=viewer, query=RequestQuery, answer=RequestList, tag=_TAG,
            summary="What it wants a person to answer: post queries (0x9301), supervision requests (0x9401)",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/requests/{{id}}/answer", handler=self.answer, permission=operator, body=AnswerBody, answer=RequestView,
            tag=_TAG, summary="Answer one of them", errors=(409, 503),
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{one}/streams", handler=self.streams, permission=viewer, answer=OpenedList, tag=_TAG,
            summary="Video that it has open (0x9801, 0x9A01), and what was refused to it",
        )  # fmt: skip
        yield Route(
            method="DELETE", path=f"{one}/streams/{{id}}", handler=self.end_stream, permission=operator, status=204, tag=_TAG,
            summary="End one of them; other superiors and local viewers keep theirs",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/messages/{{id}}", handler=self.message, permission=operator, body=UpBody, body_optional=True,
            answer=UpAnswer, tag=_TAG, summary="Send any message by its sub-business type, such as 0x1207 or 0x120E", errors=(503,),
        )  # fmt: skip

    def _superior(self, call: Call) -> Superior:
        name = call.path["name"]
        found = self._superiors.get(name) if self._superiors is not None else None
        if found is None:
            raise Problem(404, f"There is no superior platform {name}.", code="unknown_superior", hint="[[superior]] of the configuration names them.")
        return found

    def _hub(self) -> Superiors:
        if self._superiors is None:  # pragma: no cover - _superior has said so before
            raise Problem(404, "There are no superior platforms.", code="unknown_superior")
        return self._superiors

    def list(self, call: Call) -> dict[str, Any]:
        """All of them."""
        items = [one.as_dict() for one in self._superiors or ()]
        return {"items": items, "total": len(items), "next": None}

    def get(self, call: Call) -> dict[str, Any]:
        """One."""
        return self._superior(call).as_dict()

    def connect(self, call: Call) -> dict[str, Any]:
        """Begin now."""
        superior = self._superior(call)
        superior.connect()
        return superior.as_dict()

    def disconnect(self, call: Call) -> dict[str, Any]:
        """End."""
        superior = self._superior(call)
        superior.disconnect()
        return superior.as_dict()

    def passwords(self, call: Call) -> None:
        """0x1701."""
        superior = self._superior(call)
        if call.body is not None and call.body.renew:
            self._hub().passwords.renew(superior.name)
        if superior.link is not None:
            superior.send_passwords()

    def requests(self, call: Call) -> dict[str, Any]:
        """Newest first."""
        superior = self._superior(call)
        items = [one.as_dict() for one in self._hub().requests.of(superior.name, call.query.waiting)]
        return {"items": items, "total": len(items), "next": None}

    def answer(self, call: Call) -> dict[str, Any]:
        """Send the answer up."""
        superior, hub = self._superior(call), self._hub()
        number = _number(call)
        request = hub.requests.get(superior.name, number) if number is not None else None
        if request is None:
            raise Problem(404, f"{superior.name} has no request {call.path['id']}.", code="unknown_request")
        if request.state == "answered":
            raise Problem(409, "It has been answered already.", code="answered")
        answer = _answer(request, call.body)
        if not hub.requests.answer(request, answer, call.principal.name):
            raise Problem(503, f"No link to {superior.name} is up; the request goes on waiting.", code="superior_down", hint=superior.problem)
        return request.as_dict()

    def streams(self, call: Call) -> dict[str, Any]:
        """What it has open."""
        name, bridge = self._superior(call).name, self._bridge
        items = bridge.as_list(name) if bridge is not None else []
        return {"items": items, "total": len(items), "refused": bridge.refused(name) if bridge is not None else [], "next": None}

    def end_stream(self, call: Call) -> None:
        """As if the superior had asked for the end, and its players' connections close."""
        name, number, bridge = self._superior(call).name, _number(call), self._bridge
        permit = bridge.get(name, number) if bridge is not None and number is not None else None
        if bridge is None or permit is None:
            raise Problem(404, f"{name} has no stream {call.path['id']} open.", code="unknown_stream", hint="It may have ended by itself.")
        who = call.principal.name
        bridge.drop(permit, f"ended by {who}")
        if self._audit is not None:
            self._audit.record(who, "superior", f"{permit.sim}_{permit.channel}", f"{permit.kind} of {name} ended", call.request.address)

    def message(self, call: Call) -> dict[str, Any]:
        """Any message that goes up."""
        superior = self._superior(call)
        try:
            kind = int(call.path["id"], 16)
        except ValueError:
            kind = 0
        key = next((key for key in ((kind & 0xFF00, kind), (kind, kind)) if MESSAGES.get(key) is not None and 0x1100 <= kind < 0x9000), None)
        cls = MESSAGES.get(key) if key is not None else None
        if cls is None:
            raise Problem(404, f"{call.path['id']} is no message that goes up.", code="unknown_message", hint="Sub-business types in hexadecimal: 0x1207.")
        body: UpBody = call.body if call.body is not None else UpBody()
        try:
            serial = superior.send(cls.from_fields(body.fields, superior.body_edition), body.plate, body.plate_color)
        except FieldError as problem:
            raise Problem(400, str(problem), code="bad_fields") from None
        if serial is None:
            raise Problem(503, f"No link to {superior.name} is up.", code="superior_down", hint=superior.problem)
        return {"serial": serial}


def _number(call: Call) -> int | None:
    """The path's ``id``; None: it is no number."""
    text = call.path["id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _answer(request: PersonRequest, body: AnswerBody) -> dict[str, Any]:
    if request.kind == POST_QUERY:
        if not body.text.strip():
            raise Problem(400, "A post query wants a text.", code="bad_request")
        return {"text": body.text, "responder": body.responder, "responder_tel": body.responder_tel}
    if body.result is None:
        raise Problem(400, "A supervision request wants a result: in_progress, done, no_action or later.", code="bad_request")
    return {"result": body.result}
