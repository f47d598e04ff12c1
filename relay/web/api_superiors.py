"""The API of superior platforms: their links and queues, what waits for a person, messages for experts. No secret is ever shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

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


class SuperiorApi:
    """Handlers and their routes; without superiors the list is empty."""

    def __init__(self, superiors: Superiors | None) -> None:
        self._superiors = superiors

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
        number = call.path["id"]
        request = hub.requests.get(superior.name, int(number)) if number.isascii() and number.isdigit() and len(number) < 16 else None
        if request is None:
            raise Problem(404, f"{superior.name} has no request {number}.", code="unknown_request")
        if request.state == "answered":
            raise Problem(409, "It has been answered already.", code="answered")
        answer = _answer(request, call.body)
        if not hub.requests.answer(request, answer, call.principal.name):
            raise Problem(503, f"No link to {superior.name} is up; the request goes on waiting.", code="superior_down", hint=superior.problem)
        return request.as_dict()

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


def _answer(request: PersonRequest, body: AnswerBody) -> dict[str, Any]:
    if request.kind == POST_QUERY:
        if not body.text.strip():
            raise Problem(400, "A post query wants a text.", code="bad_request")
        return {"text": body.text, "responder": body.responder, "responder_tel": body.responder_tel}
    if body.result is None:
        raise Problem(400, "A supervision request wants a result: in_progress, done, no_action or later.", code="bad_request")
    return {"result": body.result}
