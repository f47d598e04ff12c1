"""What a superior asks, and who answers: one table (msg_id, sub-business) → handler.

    uplink.on(0x9200, 0x9205, handler)         handler(superior, request, reply)

``reply(message)`` sends an answer in the request's envelope: same plate and colour, and in 2019 with the request's sub-business and serial number
(对应请求消息源) where the answer has fields for them. It gives the serial number, or None when no link is up. A handler may be a coroutine; when it raises, the
superior gets no answer, the log gets the fault, and the link lives on.

Answers go up by the main link whatever link the request came by (chapter 2). Requests nobody handles are counted and logged, never a reason to close.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.errors import ProtocolError
from relay.jt809.envelope import Business
from relay.jt809.header import Header
from relay.jt809.messages import MESSAGES
from relay.jt809.messages.base import Body

if TYPE_CHECKING:
    from relay.core.superior import Superior

log = Logger()

#: handlers at work at a time, for each superior: a superior that asks a thousand photos must not hold a thousand requests to terminals
AT_WORK_MAX = 200


@dataclass(frozen=True, slots=True)
class Request:
    """One message of a superior."""

    header: Header
    business: Business
    plate: str = ""  #: tidied; empty where the message concerns no vehicle
    color: int = 0

    @property
    def data(self) -> Body | None:
        """Its fields; None where the sub-business is not known."""
        return self.business.data

    @property
    def kind(self) -> int:
        """Sub-business type."""
        return self.business.data_type or self.header.msg_id


Reply = Callable[[Body], int | None]
Handler = Callable[["Superior", Request, Reply], "Coroutine[Deferred[Any], Any, None] | None"]


class Uplink:
    """The table, and what is at work."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[int, int], Handler] = {}
        self._work: dict[str, set[Deferred[Any]]] = {}
        self.counts: Counter[str] = Counter()
        self.warn: Callable[..., object] = log.warn  #: at most one line a second and superior; ``Superiors`` sets it

    def on(self, msg_id: int, sub_id: int, handler: Handler) -> None:
        """Handle that message from now on."""
        self._handlers[msg_id, sub_id] = handler

    def handles(self, msg_id: int, sub_id: int) -> bool:
        """Whether somebody does."""
        return (msg_id, sub_id) in self._handlers

    def dispatch(self, superior: Superior, request: Request) -> None:
        """Give it to its handler."""
        key = request.header.msg_id, request.business.data_type
        handler = self._handlers.get(key)
        if handler is None:
            self.counts["not handled"] += 1
            cls = MESSAGES.get(key)
            name = f" {cls.LABEL}" if cls is not None else ""
            self.warn(superior.name, "superior {name}: 0x{kind:04X}{label} is not handled", name=superior.name, kind=request.kind, label=name)
            return
        work = self._work.setdefault(superior.name, set())
        if len(work) >= AT_WORK_MAX:
            self.counts["too many at work"] += 1
            text = "superior {name}: 0x{kind:04X} dropped, {count} requests are at work"
            self.warn(superior.name, text, name=superior.name, kind=request.kind, count=len(work))
            return
        try:
            coroutine = handler(superior, request, replier(superior, request))
        except Exception as problem:
            self._failed(Failure(problem), superior, request)  # type: ignore[no-untyped-call]
            return
        if coroutine is None:
            return
        waiting = ensureDeferred(coroutine)
        work.add(waiting)

        def ended(result: Any) -> Any:
            work.discard(waiting)
            return result

        waiting.addBoth(ended).addErrback(self._failed, superior, request)

    def _failed(self, failure: Failure, superior: Superior, request: Request) -> None:
        if isinstance(failure.value, CancelledError):
            return
        self.counts["failed"] += 1
        log.failure("handling 0x{kind:04X} of superior {name} failed", failure, kind=request.kind, name=superior.name)

    def cancel(self, superior: str = "") -> None:
        """End what is at work for a superior, or for all."""
        for name, work in self._work.items():
            if not superior or name == superior:
                for waiting in list(work):
                    waiting.cancel()

    def at_work(self, superior: str) -> int:
        """How many requests of a superior wait for something."""
        return len(self._work.get(superior, ()))


def replier(superior: Superior, request: Request) -> Reply:
    """What a handler answers with."""
    business = request.business
    source = request.kind, request.header.msg_sn

    def reply(message: Body) -> int | None:
        fields = type(message).wire_fields
        if superior.body_edition >= 2019 and "source_data_type" in fields:
            message.source_data_type, message.source_msg_sn = source  # type: ignore[attr-defined]
        return superior.send(message, business.vehicle_no, business.vehicle_color, source=source)

    return reply


def origin_of(request: Request) -> dict[str, Any]:
    """A request in JSON's types, as far as an answer needs it after a restart."""
    business, data = request.business, request.business.data
    return {
        "msg_id": request.header.msg_id,
        "msg_sn": request.header.msg_sn,
        "data_type": business.data_type,
        "plate": str(business.vehicle_no),
        "color": business.vehicle_color,
        "edition": data.edition if data is not None else 0,
        "body": data.encode(data.edition).hex() if data is not None else "",
    }


def request_of(origin: dict[str, Any]) -> Request | None:
    """The request again; None for what this version does not understand."""
    try:
        msg_id, data_type, edition = int(origin["msg_id"]), int(origin["data_type"]), int(origin["edition"])
        cls = MESSAGES.get((msg_id, data_type))
        if cls is None:
            return None
        data = cls.decode(bytes.fromhex(origin["body"]), edition)
        business = Business(msg_id, "V", data, b"", data_type, str(origin["plate"]), int(origin["color"]), edition=edition)
        return Request(Header(msg_id, int(origin["msg_sn"]), edition=edition), business, business.vehicle_no, business.vehicle_color)
    except (KeyError, TypeError, ValueError, ProtocolError):
        return None
