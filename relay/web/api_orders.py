"""The API's orders to terminals: cameras, parameters, control, texts, photos, areas, vehicle … words in, JT/T 808 out.

Everything here is ``core.ptz``, ``core.orders`` and ``core.order_forms`` with a body and an answer around it. What can do harm to vehicle or
terminal wants ``"confirm": true`` in its body, else 409 ``confirmation_needed`` says what it would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core import order_forms as forms
from relay.core.orders import ConfirmationNeededError, NotPossibleError, Orders
from relay.core.ptz import HOLD_MAX_S, Movement, Ptz, PtzError
from relay.core.terminal_state import position_of
from relay.errors import RelayError
from relay.jt808 import params_check
from relay.jt808.messages import text as text_messages
from relay.jt808.messages.areas import AreaQueryResponse, VehicleControlResponse
from relay.jt808.messages.base import Body
from relay.jt808.messages.data import DriverIdentityQuery
from relay.jt808.messages.location import LocationQuery, LocationQueryResponse
from relay.jt808.messages.multimedia import TakePhotoResponse
from relay.jt808.messages.parameters import QueryAttributes
from relay.jt808.messages.video import AvAttributesQuery
from relay.jt808.params import PARAMETERS
from relay.web.api_stored import known_sim
from relay.web.models import WORDS, Position, Reply, Timeout
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route
from relay.wire import FieldError

Confirm = Annotated[bool, Meta(description="Yes, although it may do harm.")]
Line = Annotated[str, Meta(min_length=1, max_length=1024)]
Short = Annotated[str, Meta(max_length=255, pattern=WORDS)]
Byte = Annotated[int, Meta(ge=0, le=255)]
Word = Annotated[int, Meta(ge=0, le=65535)]
Id32 = Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
Hex = Annotated[str, Meta(pattern="^([0-9A-Fa-f]{2})*$", max_length=2046)]


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """What every order may have."""

    timeout_s: Timeout | None = None


class PtzOrder(Order, kw_only=True):
    """A movement of a camera."""

    action: Literal["rotate", "focus", "zoom", "iris", "wiper", "light"]
    direction: Literal["", "up", "down", "left", "right", "stop", "in", "out", "open", "close"] = ""
    speed: Byte = 128
    on: bool = False
    hold_s: Annotated[float, Meta(ge=0.1, le=HOLD_MAX_S, description="For those who do not renew a rotation: how long it goes on.")] | None = None


class PtzDone(msgspec.Struct):
    """The terminal has said yes. A rotation is to be told again within ``stops_in_s``, or the relay stops it; 0 for everything else."""

    stops_in_s: float


class Done(msgspec.Struct):
    """The terminal has said yes."""

    sent: str
    reply: Reply | None = None


class ParameterList(msgspec.Struct):
    """Parameters of a terminal."""

    items: list[dict[str, Any]]
    total: int
    next: str | None = None


class ParameterQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which parameters."""

    ids: Annotated[str, Meta(max_length=2000, description="Numbers or names, parted by commas; all without it.")] = ""
    timeout_s: Timeout | None = None


class ParameterChange(Order, kw_only=True):
    """Parameters to be set."""

    params: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=255, description='`{"id": 1, "value": 45}` or by name.')]
    confirm: Confirm = False


class TimeoutQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How long to wait."""

    timeout_s: Timeout | None = None


class ControlOrder(Order, kw_only=True):
    """0x8105."""

    command: Literal["upgrade", "connect", "power_off", "reset", "factory_reset", "close_data", "close_wireless"]
    params: dict[str, str | int] = {}
    confirm: Confirm = False


class VehicleControlItem(msgspec.Struct, forbid_unknown_fields=True):
    """One control of 2019."""

    id: Word
    param: Byte


class VehicleOrder(Order, kw_only=True):
    """0x8500: exactly one of these. Fuel and circuit are vendors': a quirk of the model says how."""

    doors: Literal["lock", "unlock"] | None = None
    fuel: Literal["cut", "restore"] | None = None
    circuit: Literal["cut", "restore"] | None = None
    flags: Byte | None = None
    controls: Annotated[list[VehicleControlItem], Meta(min_length=1, max_length=64)] | None = None
    confirm: Confirm = False


class VehicleState(msgspec.Struct):
    """What the terminal's status says after it was done (0x0500); null where it sent none."""

    sent: str
    doors_locked: bool | None = None
    fuel_cut: bool | None = None
    circuit_cut: bool | None = None
    position: Position | None = None


class TextOrder(Order, kw_only=True):
    """0x8300."""

    text: Line
    urgent: bool = False
    display: bool = True
    speak: Annotated[bool, Meta(description="Read aloud (TTS).")] = False
    advertise: bool = False
    fault_code: bool = False
    service: bool = False


class PhotoOrder(Order, kw_only=True):
    """0x8801."""

    action: Literal["photo", "record", "stop"] = "photo"
    count: Annotated[int, Meta(ge=1, le=65534)] = 1
    interval_s: Word = 0
    store: Annotated[bool, Meta(description="Kept by the terminal instead of sent.")] = False
    resolution: str = "640x480"
    quality: Annotated[int, Meta(ge=1, le=10, description="1 best … 10.")] = 5
    brightness: Byte = 128
    contrast: Annotated[int, Meta(ge=0, le=127)] = 64
    saturation: Annotated[int, Meta(ge=0, le=127)] = 64
    chroma: Byte = 128


class PhotoTaken(msgspec.Struct):
    """The terminal's answer; the pictures come by themselves and are listed in /multimedia."""

    sent: str
    result: str
    media_ids: list[int]


class TrackOrder(Order, kw_only=True):
    """0x8202."""

    interval_s: Word
    duration_s: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0


class AlarmOrder(Order, kw_only=True):
    """0x8203."""

    types: Annotated[list[str], Meta(min_length=1, max_length=16)]
    serial: Annotated[int, Meta(ge=0, le=65535, description="Of the 0x0200 with the alarm; 0 = all of these types.")] = 0


class AreaOrder(Order, kw_only=True):
    """0x8600, 0x8602, 0x8604, 0x8606: degrees, metres, km/h, times as YYMMDDhhmmss (zeros for the date: every day)."""

    areas: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=forms.AREAS_MAX)]
    set: Literal["replace", "append", "modify"] = "append"


class AreaIds(msgspec.Struct, forbid_unknown_fields=True):
    """Which areas."""

    ids: Annotated[str, Meta(max_length=2000, pattern="^([0-9]+(,[0-9]+)*)?$", description="Parted by commas; all without it.")] = ""
    timeout_s: Timeout | None = None


class AreaData(msgspec.Struct):
    """0x0608: how many there are, and the bodies as the terminal sent them."""

    count: int
    areas: list[dict[str, Any]]
    data: str


class CallOrder(Order, kw_only=True):
    """0x8400."""

    phone: Annotated[str, Meta(min_length=1, max_length=20)]
    listen: bool = False
    confirm: Confirm = False


class QuestionOrder(Order, kw_only=True):
    """0x8302; the driver's choice comes as the event ``terminal.message`` with 0x0302."""

    question: Annotated[str, Meta(min_length=1, max_length=255)]
    answers: Annotated[list[str], Meta(min_length=1, max_length=32)]
    urgent: bool = False
    speak: bool = True
    advertise: bool = False


class ListOrder(Order, kw_only=True):
    """0x8301, 0x8303, 0x8401."""

    set: Literal["clear", "replace", "append", "modify", "delete"] = "replace"
    items: Annotated[list[dict[str, Any]], Meta(max_length=255)] = []


class InfoOrder(Order, kw_only=True):
    """0x8304."""

    info_type: Byte
    content: Line


class RecorderOrder(Order, kw_only=True):
    """0x8700: a command word of GB/T 19056."""

    command: Byte
    data: Hex = ""


class PassthroughOrder(Order, kw_only=True):
    """0x8900."""

    type: Byte
    data: Hex = ""


#: lists on the terminal: path → message, its list, the fields of an item
LISTS: dict[str, tuple[type[Body], str]] = {
    "events": (text_messages.SetEvents, "events"),
    "infos": (text_messages.SetInfoMenu, "infos"),
    "contacts": (text_messages.SetPhoneBook, "contacts"),
}

#: how fuel and circuit are cut, as a quirk of the model: ``vehicle.fuel_cut`` → {"flags": 4} or {"controls": [[61441, 1]]}
VehicleWays = Callable[[str, str], dict[str, Any] | None]


def order_problem(error: RelayError) -> Problem | None:
    """An order that was not sent as an answer."""
    if isinstance(error, ConfirmationNeededError):
        return Problem(409, f"{error}.", code=error.code, hint='Send it again with "confirm": true if that is meant.')
    if isinstance(error, NotPossibleError):
        return Problem(400, f"{error}.", code=error.code)
    if isinstance(error, PtzError):
        return Problem(400, f"{error}.", code="bad_movement")
    return None


class OrderApi:
    """Handlers and their routes."""

    def __init__(self, orders: Orders, ptz: Ptz, names: Names, ways: VehicleWays = lambda sim, what: None) -> None:
        self._orders = orders
        self._ptz = ptz
        self._names = names
        self._ways = ways

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        one = "/api/v1/terminals/{sim}"
        channel = f"{one}/channels/{{channel:int}}"
        viewer, operator = Permission.VIEWER, Permission.OPERATOR
        failing = (409, 429, 502, 503, 504)
        order: tuple[tuple[str, str, Any, type[Any], Any, str], ...] = (
            ("POST", f"{channel}/ptz", self.ptz, PtzOrder, PtzDone, "Turn, zoom, focus, wipe, light (0x9301-0x9306)"),
            ("PUT", f"{one}/parameters", self.set_parameters, ParameterChange, Done, "Set parameters (0x8103)"),
            ("POST", f"{one}/control", self.control, ControlOrder, Done, "Restart, reset, upgrade, switch platform (0x8105); to be confirmed"),
            ("POST", f"{one}/vehicle", self.vehicle, VehicleOrder, VehicleState, "Doors, fuel, circuits (0x8500); to be confirmed"),
            ("POST", f"{one}/text", self.text, TextOrder, Done, "A text to the driver (0x8300)"),
            ("POST", f"{channel}/photo", self.photo, PhotoOrder, PhotoTaken, "Take pictures now (0x8801)"),
            ("POST", f"{one}/tracking", self.tracking, TrackOrder, Done, "Report positions more often for a while (0x8202)"),
            ("POST", f"{one}/alarms/confirm", self.confirm, AlarmOrder, Done, "Confirm alarms by hand (0x8203)"),
            ("PUT", f"{one}/areas/{{kind:circles|rectangles|polygons|routes}}", self.set_areas, AreaOrder, Done, "Set areas or routes (0x8600-0x8606)"),
            ("POST", f"{one}/call", self.call_back, CallOrder, Done, "Have the terminal call a number (0x8400); to be confirmed"),
            ("POST", f"{one}/question", self.question, QuestionOrder, Done, "Ask the driver a question (0x8302)"),
            ("PUT", f"{one}/lists/{{kind:events|infos|contacts}}", self.set_list, ListOrder, Done, "Lists on the terminal (0x8301, 0x8303, 0x8401)"),
            ("POST", f"{one}/info", self.info, InfoOrder, Done, "Information that was subscribed to (0x8304)"),
            ("POST", f"{one}/recorder", self.recorder, RecorderOrder, Done, "Ask the driving recorder (0x8700)"),
            ("POST", f"{one}/passthrough", self.passthrough, PassthroughOrder, Done, "Transparent data (0x8900)"),
        )
        for method, path, handler, body, answer, summary in order:
            yield Route(
                method=method, path=path, handler=handler, permission=operator, body=body, answer=answer, tag="orders", summary=summary, errors=failing
            )
        yield Route(
            method="GET", path=f"{one}/parameters", handler=self.parameters, permission=operator, query=ParameterQuery, answer=ParameterList,
            tag="orders", summary="Read parameters (0x8104, 0x8106)", errors=failing,
        )  # fmt: skip
        asked: tuple[tuple[str, str, Any, Any, str], ...] = (
            ("GET", f"{one}/attributes", self.attributes, Done, "Read the terminal's attributes (0x8107)"),
            ("GET", f"{one}/av-attributes", self.av_attributes, Done, "Read codecs and channels (0x9003)"),
            ("POST", f"{one}/position", self.position, Position, "Ask where it is now (0x8201)"),
            ("POST", f"{one}/driver", self.driver, Done, "Ask who drives (0x8702)"),
        )
        for method, path, handler, answer, summary in asked:
            yield Route(
                method=method, path=path, handler=handler, permission=viewer if method == "GET" else operator, query=TimeoutQuery, answer=answer,
                tag="orders", summary=summary, errors=failing,
            )  # fmt: skip
        areas = f"{one}/areas/{{kind:circles|rectangles|polygons|routes}}"
        yield Route(
            method="GET", path=areas, handler=self.areas, permission=operator, query=AreaIds, answer=AreaData, tag="orders",
            summary="Read areas or routes (0x8608, 2019)", errors=failing,
        )  # fmt: skip
        yield Route(
            method="DELETE", path=areas, handler=self.delete_areas, permission=operator, query=AreaIds, answer=Done, tag="orders",
            summary="Delete areas or routes (0x8601-0x8607)", errors=failing,
        )  # fmt: skip

    # ---- what they have in common --------------------------------------------------------------------------------------------------

    def _channel(self, call: Call) -> int:
        channel = int(call.path["channel"])
        if not 1 <= channel <= 255:
            raise Problem(404, f"There is no channel {channel}; they are numbered from 1 to 255.", code="unknown_channel")
        return channel

    async def _ask(self, call: Call, sim: str, message: Body, *, confirm: bool = False, quiet: bool = False) -> Body | None:
        asked: Any = call.body if call.body is not None else call.query
        return await self._orders.ask(sim, message, call.principal.name, timeout_s=asked.timeout_s, confirm=confirm, quiet=quiet)

    async def _done(self, call: Call, sim: str, message: Body, *, confirm: bool = False, quiet: bool = False) -> Done:
        reply = await self._ask(call, sim, message, confirm=confirm, quiet=quiet)
        return Done(f"0x{message.KEY:04X}", reply_view(reply) if reply is not None else None)

    # ---- cameras ---------------------------------------------------------------------------------------------------------------------

    async def ptz(self, call: Call) -> PtzDone:
        """A movement; rotations are audited when they begin, not at each renewal."""
        body: PtzOrder = call.body
        sim, channel = await known_sim(self._names, call), self._channel(call)
        movement = Movement(body.action, body.direction, body.speed, body.on)
        return PtzDone(await self._ptz.tell(sim, channel, movement, call.principal.name, body.hold_s, body.timeout_s))

    async def photo(self, call: Call) -> PhotoTaken:
        """0x8801 → 0x0805, or 0x0001 (2011)."""
        body: PhotoOrder = call.body
        sim, channel = await known_sim(self._names, call), self._channel(call)
        message = forms.photo(
            channel, self._orders.edition(sim), action=body.action, count=body.count, interval_s=body.interval_s, store=body.store,
            resolution=body.resolution, quality=body.quality, brightness=body.brightness, contrast=body.contrast, saturation=body.saturation,
            chroma=body.chroma,
        )  # fmt: skip
        reply = await self._ask(call, sim, message)
        result, ids = 0, []
        if isinstance(reply, TakePhotoResponse):
            result, ids = reply.result, list(reply.media_ids or [])
        if result:
            words = {1: "it failed", 2: "that channel takes no pictures"}
            raise Problem(409, f"The terminal took no picture: {words.get(result, f'result {result}')}.", code="refused", hop="answered")
        return PhotoTaken("0x8801", "ok", ids)

    # ---- parameters and attributes ------------------------------------------------------------------------------------------------------

    async def parameters(self, call: Call) -> dict[str, Any]:
        """All, or those named."""
        sim = await known_sim(self._names, call)
        try:
            ids = [params_check.number(word.strip()) for word in call.query.ids.split(",") if word.strip()]
        except FieldError as problem:
            raise Problem(400, f"{problem}.", code="unknown_parameter", hint="docs/reference/jt808.md lists them.") from None
        found = await self._orders.parameters(sim, ids, call.principal.name, call.query.timeout_s)
        items = [params_check.shown(one) for one in found]
        return {"items": items, "total": len(items), "next": None}

    async def set_parameters(self, call: Call) -> Done:
        """Each checked before anything is sent."""
        body: ParameterChange = call.body
        sim = await known_sim(self._names, call)
        edition = self._orders.edition(sim)
        entries = []
        for place, given in enumerate(body.params):
            try:
                entries.append(params_check.entry(given, edition))
            except FieldError as problem:
                hint = f"{len(PARAMETERS.classes)} parameters have names; docs/reference/jt808.md lists them."
                raise Problem(400, f"params[{place}]: {problem}.", code="bad_parameter", hint=hint) from None
        await self._orders.set_parameters(sim, entries, call.principal.name, confirm=body.confirm, timeout_s=body.timeout_s)
        return Done("0x8103")

    async def attributes(self, call: Call) -> Done:
        """0x8107 → 0x0107."""
        return await self._done(call, await known_sim(self._names, call), QueryAttributes(), quiet=True)

    async def av_attributes(self, call: Call) -> Done:
        """0x9003 → 0x1003."""
        return await self._done(call, await known_sim(self._names, call), AvAttributesQuery(), quiet=True)

    # ---- control -------------------------------------------------------------------------------------------------------------------------

    async def control(self, call: Call) -> Done:
        """0x8105."""
        body: ControlOrder = call.body
        sim = await known_sim(self._names, call)
        return await self._done(call, sim, forms.control(body.command, body.params, self._orders.edition(sim)), confirm=body.confirm)

    async def vehicle(self, call: Call) -> VehicleState:
        """0x8500 → 0x0001, 0x0500."""
        body: VehicleOrder = call.body
        sim = await known_sim(self._names, call)
        reply = await self._ask(call, sim, self._vehicle(sim, body), confirm=body.confirm)
        if not isinstance(reply, VehicleControlResponse):
            return VehicleState("0x8500")
        status = reply.location.status_flags
        position = msgspec.convert(position_of(reply.location), Position)
        return VehicleState("0x8500", bool(status >> 12 & 1), bool(status >> 10 & 1), bool(status >> 11 & 1), position)

    def _vehicle(self, sim: str, body: VehicleOrder) -> Body:
        given = [name for name in ("doors", "fuel", "circuit", "flags", "controls") if getattr(body, name) is not None]
        if len(given) != 1:
            raise NotPossibleError("exactly one of doors, fuel, circuit, flags and controls is to be given")
        edition = self._orders.edition(sim)
        what = given[0]
        if what in ("fuel", "circuit"):
            wanted = f"{what}_{getattr(body, what)}"
            way = self._ways(sim, wanted)
            if way is None:
                raise NotPossibleError(f"how terminals of this model have {what} {getattr(body, what)} is not known: their quirk vehicle.{wanted} says it")
            if "flags" in way:
                return forms.vehicle_flags(int(way["flags"]))
            return forms.vehicle_controls([(int(number), int(value)) for number, value in way["controls"]])
        if body.doors is not None:
            return forms.vehicle_doors(body.doors == "lock", edition)
        if body.flags is not None:
            if edition >= 2019:
                raise NotPossibleError("flags are of 2011 and 2013; this terminal takes controls")
            return forms.vehicle_flags(body.flags)
        if edition < 2019:
            raise NotPossibleError("controls are of 2019; this terminal takes flags")
        return forms.vehicle_controls([(item.id, item.param) for item in body.controls or []])

    async def call_back(self, call: Call) -> Done:
        """0x8400."""
        body: CallOrder = call.body
        sim = await known_sim(self._names, call)
        return await self._done(call, sim, forms.call_back(body.phone, body.listen, self._orders.edition(sim)), confirm=body.confirm)

    # ---- words for the driver --------------------------------------------------------------------------------------------------------------

    async def text(self, call: Call) -> Done:
        """0x8300."""
        body: TextOrder = call.body
        sim = await known_sim(self._names, call)
        message = forms.text_message(
            body.text, self._orders.edition(sim), urgent=body.urgent, display=body.display, speak=body.speak, advertise=body.advertise,
            fault_code=body.fault_code, service=body.service,
        )  # fmt: skip
        return await self._done(call, sim, message)

    async def question(self, call: Call) -> Done:
        """0x8302; answers are numbered from 1."""
        body: QuestionOrder = call.body
        sim = await known_sim(self._names, call)
        answers = dict(enumerate(body.answers, 1))
        message = forms.question(body.question, answers, self._orders.edition(sim), urgent=body.urgent, speak=body.speak, advertise=body.advertise)
        return await self._done(call, sim, message)

    async def set_list(self, call: Call) -> Done:
        """0x8301, 0x8303, 0x8401."""
        body: ListOrder = call.body
        sim = await known_sim(self._names, call)
        kind, name = LISTS[call.path["kind"]]
        return await self._done(call, sim, forms.setting_list(kind, name, body.set, body.items, self._orders.edition(sim)))

    async def info(self, call: Call) -> Done:
        """0x8304."""
        body: InfoOrder = call.body
        sim = await known_sim(self._names, call)
        edition = self._orders.edition(sim)
        fields: dict[str, Any] = {"info_type": body.info_type, "content": body.content}
        if edition == 2011:
            fields["total_length"] = len(body.content.encode("gb18030", "replace"))
        return await self._done(call, sim, forms.built(text_messages.InfoService, fields, edition))

    # ---- positions, alarms, areas ------------------------------------------------------------------------------------------------------------

    async def position(self, call: Call) -> Position:
        """0x8201 → 0x0201."""
        reply = await self._ask(call, await known_sim(self._names, call), LocationQuery(), quiet=True)
        if not isinstance(reply, LocationQueryResponse):
            raise Problem(502, "The terminal answered without a position.", code="bad_reply", hop="answered")
        return msgspec.convert(position_of(reply.location), Position)

    async def tracking(self, call: Call) -> Done:
        """0x8202."""
        body: TrackOrder = call.body
        sim = await known_sim(self._names, call)
        return await self._done(call, sim, forms.tracking(body.interval_s, body.duration_s, self._orders.edition(sim)))

    async def confirm(self, call: Call) -> Done:
        """0x8203."""
        body: AlarmOrder = call.body
        sim = await known_sim(self._names, call)
        return await self._done(call, sim, forms.confirm_alarm(body.serial, body.types, self._orders.edition(sim)))

    async def set_areas(self, call: Call) -> Done:
        """One message, or for polygons and routes one each; the first that fails ends it, and says how far it came."""
        body: AreaOrder = call.body
        sim = await known_sim(self._names, call)
        messages = forms.set_areas(call.path["kind"], body.set, body.areas, self._orders.edition(sim))
        done = Done("")
        for message in messages:
            done = await self._done(call, sim, message)
        return done

    async def delete_areas(self, call: Call) -> Done:
        """Those named, or all."""
        sim = await known_sim(self._names, call)
        return await self._done(call, sim, forms.delete_areas(call.path["kind"], _ids(call.query.ids), self._orders.edition(sim)))

    async def areas(self, call: Call) -> AreaData:
        """0x8608 → 0x0608. Its content has the layout of the messages that set them; what does not fit is left as ``data``."""
        sim = await known_sim(self._names, call)
        reply = await self._ask(call, sim, forms.query_areas(call.path["kind"], _ids(call.query.ids)), quiet=True)
        if not isinstance(reply, AreaQueryResponse):
            raise Problem(502, "The terminal answered without areas.", code="bad_reply", hop="answered")
        return AreaData(reply.count, [one.fields() for one in reply.areas()], reply.data.hex())

    # ---- the rest ----------------------------------------------------------------------------------------------------------------------------

    async def driver(self, call: Call) -> Done:
        """0x8702 → 0x0702."""
        return await self._done(call, await known_sim(self._names, call), DriverIdentityQuery())

    async def recorder(self, call: Call) -> Done:
        """0x8700 → 0x0700."""
        body: RecorderOrder = call.body
        sim = await known_sim(self._names, call)
        return await self._done(call, sim, forms.recorder(body.command, bytes.fromhex(body.data), self._orders.edition(sim)))

    async def passthrough(self, call: Call) -> Done:
        """0x8900."""
        body: PassthroughOrder = call.body
        sim = await known_sim(self._names, call)
        return await self._done(call, sim, forms.passthrough(body.type, bytes.fromhex(body.data), self._orders.edition(sim)))


def _ids(words: str) -> list[int]:
    ids = [int(word) for word in words.split(",") if word]
    if any(not 0 < number <= 0xFFFFFFFF for number in ids):
        raise Problem(400, "Ids of areas are from 1 to 4294967295.", code="bad_query")
    return ids


def reply_view(reply: Body) -> Reply:
    """A terminal's message for the API."""
    return Reply(f"0x{reply.msg_id:04X}", type(reply).__name__, reply.LABEL, reply.fields())
