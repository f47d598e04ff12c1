"""The API's pictures: what terminals sent by 0x0801, and asking them for what they have kept (0x8802, 0x8803, 0x8805)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core import order_forms as forms
from relay.core.multimedia import CONTENT_TYPES, as_dict
from relay.core.orders import Orders
from relay.core.terminal_state import position_of
from relay.jt808.messages.location import Location
from relay.jt808.messages.multimedia import MultimediaSearchResponse, SingleMultimediaUpload
from relay.store.multimedia import ENDINGS, MediaFilter, MediaRow, MultimediaStore
from relay.web.api_orders import Done, Order, reply_view
from relay.web.api_stored import known_sim
from relay.web.connection import SinkMaker
from relay.web.files import InThread, send_file
from relay.web.models import PageQuery, Position
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route

MediaType = Literal["image", "audio", "video"]
_TYPES: dict[str, int] = {"image": 0, "audio": 1, "video": 2}
_EVENTS: dict[str, int] = {"command": 0, "timed": 1, "robbery": 2, "collision": 3}
WireTime = Annotated[str, Meta(pattern="^[0-9]{12}$", description="YYMMDDhhmmss, GMT+8; zeros for no limit.")]


class MultimediaQuery(PageQuery):
    """Which pictures."""

    sim: Annotated[str, Meta(max_length=64)] = ""
    channel: Annotated[int, Meta(ge=0, le=255)] | None = None


class MultimediaView(msgspec.Struct):
    """One picture, sound or film; its content is at /multimedia/{id}."""

    id: int
    sim: str
    time: str
    media_id: int
    type: str
    format: str
    event: str
    channel: int
    position: Position | None
    bytes: int


class MultimediaList(msgspec.Struct):
    """One page, newest first."""

    items: list[MultimediaView]
    total: int
    next: str | None = None


class StoredQuery(Order, kw_only=True):
    """What the terminal has kept."""

    type: MediaType = "image"
    channel: Annotated[int, Meta(ge=0, le=255, description="0 = all.")] = 0
    event: Literal["command", "timed", "robbery", "collision"] = "command"
    start_time: WireTime = "000000000000"
    end_time: WireTime = "000000000000"


class StoredUpload(StoredQuery, kw_only=True):
    """The same, to be sent; or one by its number."""

    media_id: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)] | None = None
    delete: Annotated[bool, Meta(description="The terminal deletes it afterwards.")] = False


class StoredItem(msgspec.Struct):
    """One that the terminal has; ``media_id`` is null in 2011."""

    media_id: int | None
    type: str
    channel: int
    event: int
    position: Position


class StoredList(msgspec.Struct):
    """All that it told."""

    items: list[StoredItem]
    total: int
    next: str | None = None


class MultimediaApi:
    """Handlers and their routes."""

    def __init__(
        self, store: MultimediaStore, orders: Orders, names: Names, sinks: SinkMaker, in_thread: InThread, record: Callable[..., object]
    ) -> None:
        self._store = store
        self._orders = orders
        self._names = names
        self._sinks = sinks
        self._in_thread = in_thread
        self._record = record

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        base, one, tag = "/api/v1/multimedia", "/api/v1/terminals/{sim}/multimedia", "multimedia"
        viewer, operator = Permission.VIEWER, Permission.OPERATOR
        failing = (409, 429, 502, 503, 504)
        yield Route(
            method="GET", path=base, handler=self.list, permission=viewer, query=MultimediaQuery, answer=MultimediaList, tag=tag,
            summary="Pictures, sound and films that terminals sent (0x0801)", errors=(503,), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{base}/{{id}}", handler=self.file, permission=viewer, tag=tag, content_type="application/octet-stream",
            also=tuple(sorted(set(CONTENT_TYPES.values()))),
            summary="The content of one", errors=(416, 503), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="DELETE", path=f"{base}/{{id}}", handler=self.remove, permission=operator, status=204, tag=tag, summary="Delete one", errors=(503,),
            scope="filtered",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/search", handler=self.search, permission=operator, body=StoredQuery, body_optional=True, answer=StoredList, tag=tag,
            summary="What the terminal has kept (0x8802)", errors=failing,
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/upload", handler=self.upload, permission=operator, body=StoredUpload, body_optional=True, answer=Done, tag=tag,
            summary="Have it send what it has kept (0x8803, 0x8805)", errors=failing,
        )  # fmt: skip

    async def _row(self, call: Call) -> tuple[int, MediaRow]:
        text = call.path["id"]
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
        row = await self._store.get(number) if number else None
        if row is None or not call.sees(row.sim):
            raise Problem(404, f"There is no picture {text}.", code="unknown_multimedia")
        return number, row

    async def list(self, call: Call) -> dict[str, Any]:
        """Newest first."""
        query: MultimediaQuery = call.query
        sim = (await self._names.sim(query.sim) or query.sim) if query.sim else ""
        before = int(query.after) if query.after.isascii() and query.after.isdigit() and len(query.after) < 16 else None
        rows, total = await self._store.page(MediaFilter(sim, query.channel), query.limit + 1, before)
        page = rows[: query.limit]
        more = str(page[-1][0]) if len(rows) > query.limit else None
        if call.principal.groups:
            page = [entry for entry in page if call.sees(entry[1].sim)]
            total = len(page)  # of others nothing is told, not even how many
        return {"items": [as_dict(*entry) for entry in page], "total": total, "next": more}

    async def file(self, call: Call) -> Any:
        """With ranges."""
        number, row = await self._row(call)
        name = f"{row.sim}-{number}.{ENDINGS.get(row.media_format, 'bin')}"
        who, address = call.principal.name, call.request.address

        def ended(sent: int) -> None:
            self._record(who, "download", f"{row.sim}_{row.channel}", f"multimedia {number}", address, sent)

        content_type = CONTENT_TYPES.get(row.media_format, "application/octet-stream")
        return await send_file(call, self._sinks, self._in_thread, self._store.path(row), content_type, name, f"{row.crc:08x}", ended)

    async def remove(self, call: Call) -> None:
        """Row and file."""
        number, row = await self._row(call)
        await self._store.remove(number)
        self._record(call.principal.name, "multimedia", f"{row.sim}_{row.channel}", f"multimedia {number}: deleted", call.request.address)

    async def search(self, call: Call) -> StoredList:
        """0x8802 → 0x0802."""
        body: StoredQuery = call.body
        sim = await known_sim(self._names, call)
        message = forms.multimedia_search(
            _TYPES[body.type], body.channel, _EVENTS[body.event], body.start_time, body.end_time, self._orders.edition(sim)
        )
        reply = await self._orders.ask(sim, message, call.principal.name, timeout_s=body.timeout_s, quiet=True)
        if not isinstance(reply, MultimediaSearchResponse):
            raise Problem(502, "The terminal answered without a list.", code="bad_reply", hop="answered")
        words = {number: word for word, number in _TYPES.items()}
        items = []
        for item in reply.items:
            fields = {name: getattr(item.location, name) for name in type(item.location).wire_fields}
            where = msgspec.convert(position_of(Location(**fields, items=[])), Position)
            items.append(StoredItem(item.media_id, words.get(item.media_type, str(item.media_type)), item.channel_id, item.event_code, where))
        return StoredList(items, len(items))

    async def upload(self, call: Call) -> Done:
        """0x8805 for one, 0x8803 for all that fit; they come as 0x0801."""
        body: StoredUpload = call.body
        sim = await known_sim(self._names, call)
        edition = self._orders.edition(sim)
        if body.media_id is not None:
            message = forms.built(SingleMultimediaUpload, {"media_id": body.media_id, "delete_flag": int(body.delete)}, edition)
        else:
            message = forms.multimedia_search(
                _TYPES[body.type], body.channel, _EVENTS[body.event], body.start_time, body.end_time, edition, upload=True, delete=body.delete
            )
        reply = await self._orders.ask(sim, message, call.principal.name, timeout_s=body.timeout_s)
        return Done(f"0x{message.KEY:04X}", reply_view(reply) if reply is not None else None)
