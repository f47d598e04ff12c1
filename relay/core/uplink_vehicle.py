"""The base duties of JT/T 809 that concern one vehicle: a superior's request becomes a request to its terminal, the terminal's answer one to the superior.

    0x9501 listen-in            0x8400 (listen-in)     → 0x1501         0x920A driver       0x8702, or the last 0x0702 → 0x120A
    0x9502 photo                0x8801, then 0x0801    → 0x1502         0x920B waybill      the last 0x0701 → 0x120B
    0x9503 text                 0x8300                 → 0x1503         0x920C route        told to people: no terminal tells its route
    0x9504 recorder data        0x8700, 0x0700         → 0x1504
    0x9505 emergency access     0x8105 command 2       → 0x1505

Drivers (0x0702) and waybills (0x0701) that terminals report go up by themselves as 0x120C and 0x120D.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

from relay.core.events import BEIJING
from relay.core.link import RefusedError, RequestError, TerminalOfflineError
from relay.core.orders import NotPossibleError
from relay.core.positions import block_2011, block_2019, tail_2019
from relay.core.superior_vehicles import Vehicle, cut_text, goes_up, names_of
from relay.core.terminal_state import Terminal
from relay.core.uplink import Reply, Request
from relay.errors import RelayError
from relay.jt808.messages.data import DriverIdentity, DriverIdentityQuery, RecorderData, RecorderQuery
from relay.jt808.messages.multimedia import MultimediaData, TakePhoto, TakePhotoResponse
from relay.jt808.messages.parameters import TerminalControl
from relay.jt808.messages.text import CallBack, TextMessage
from relay.jt808.session_events import Received
from relay.jt809.messages.base import Gnss
from relay.jt809.messages.exchange import DriverInfoAnswer, DriverInfoReport, WaybillAnswer, WaybillReport
from relay.jt809.messages.supervision import (
    EmergencyAnswer,
    EmergencyRequest,
    ListenAnswer,
    ListenRequest,
    PhotoAnswer,
    PhotoRequest,
    RecorderAnswer,
    RecorderRequest,
    TextAnswer,
    TextRequest,
)
from relay.store.errors import StoreError

if TYPE_CHECKING:
    from relay.core.superior import Superior
    from relay.core.superiors import Superiors

log = Logger()

REQUEST_S = 15.0  #: for a terminal's answer; superiors' own pages give up after some ten seconds
PHOTO_S = 20.0  #: for the picture behind it; then the superior is told that it comes later
PHOTO_LATER_S = 300.0
RECORDER_S = 60.0  #: recorders are slow
WAYBILL_BYTES = 65536

#: photo_rsp_flag of 0x1502
NOT_SUPPORTED, TAKEN, LATER, OFFLINE, LENS, OTHER, WRONG_PLATE = 0, 1, 2, 3, 4, 5, 9

_FORMATS = {0: 1, 1: 3}  #: of 0x0801 (JPEG, TIF) → of 0x1502 (jpg, tiff)


def register(hub: Superiors) -> None:
    """Put these duties into the hub's table."""
    duties = _Vehicles(hub)
    on = hub.uplink.on
    on(0x9200, 0x920A, duties.driver)
    on(0x9200, 0x920B, duties.waybill)
    on(0x9200, 0x920C, duties.route)
    on(0x9500, 0x9501, duties.listen)
    on(0x9500, 0x9502, duties.photo)
    on(0x9500, 0x9503, duties.text)
    on(0x9500, 0x9504, duties.recorder)
    on(0x9500, 0x9505, duties.emergency)
    hub.watch_messages(duties.terminal_message)


class _Vehicles:
    def __init__(self, hub: Superiors) -> None:
        self.hub = hub

    def _find(self, superior: Superior, request: Request) -> Vehicle | None:
        """The vehicle, if it is one of this superior's; another's is none of its business."""
        vehicle = self.hub.find(request.plate, request.color)
        if vehicle is not None and superior in vehicle.superiors:
            return vehicle
        superior.counts["requests for unknown vehicles"] += 1
        return None

    async def _is_known(self, superior: Superior, request: Request) -> bool:
        """Whether the store has a vehicle of this superior's with that plate: one that is not there is another thing than one that does not exist."""
        try:
            row = await self.hub.rows.resolve(request.plate)
        except StoreError:
            return False
        return row is not None and row.plate_color in (None, request.color) and goes_up(superior.settings.vehicles, *names_of(request.plate, row.key, row))

    async def _ask(self, superior: Superior, request: Request, vehicle: Vehicle | None, message: Any, timeout_s: float = REQUEST_S) -> Any:
        """The terminal's answer; a RequestError when it did not do it, NotPossibleError when its edition cannot."""
        if vehicle is None:
            raise TerminalOfflineError("", "no such vehicle")
        superior.counts["requests to terminals"] += 1
        # the superior is the one who decides: what is dangerous is not asked back, but written down under its name
        who, note = f"superior:{superior.name}", f"0x{request.kind:04X}"
        return await self.hub.orders.ask(vehicle.sim, message, who, timeout_s=timeout_s, confirm=True, note=note)

    # ---- supervision ------------------------------------------------------------------------------------------------------

    async def listen(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9501."""
        data = request.data
        if not isinstance(data, ListenRequest):
            return
        try:
            await self._ask(superior, request, self._find(superior, request), CallBack(flag=1, phone=str(data.monitor_tel)))
            result = 0
        except (RequestError, NotPossibleError) as problem:
            result = _told(superior, request, problem)
        reply(ListenAnswer(result=result))

    async def text(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9503: urgent ones are marked so; shown and spoken."""
        data = request.data
        if not isinstance(data, TextRequest):
            return
        flags = 0x0C | (0 if data.msg_priority else 1)
        try:
            await self._ask(superior, request, self._find(superior, request), TextMessage(flags=flags, text=data.msg_content))
            result = 0
        except (RequestError, NotPossibleError) as problem:
            result = _told(superior, request, problem)
        reply(TextAnswer(msg_id=data.msg_sequence if superior.body_edition < 2019 else None, result=result))

    async def recorder(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9504: the recorder's own frame, or none."""
        data = request.data
        if not isinstance(data, RecorderRequest):
            return
        block = b""
        if data.start_time and data.end_time:
            block = _bcd(data.start_time) + _bcd(data.end_time) + (0xFFFF).to_bytes(2, "big")
        elif data.start_time_bcd and data.end_time_bcd:
            block = bytes.fromhex(data.start_time_bcd + data.end_time_bcd) + (data.max_units or 0xFFFF).to_bytes(2, "big")
        frame = b""
        try:
            query = RecorderQuery(command=data.command_type, data=block)
            answer = await self._ask(superior, request, self._find(superior, request), query, RECORDER_S)
            if isinstance(answer, RecorderData):
                frame = answer.data
        except (RequestError, NotPossibleError) as problem:
            _told(superior, request, problem)
        reply(RecorderAnswer(command_type=data.command_type, traveldata_info=frame))

    async def emergency(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9505: the terminal is sent to the superior's own server for a while (终端控制, command 2)."""
        data = request.data
        if not isinstance(data, EmergencyRequest):
            return
        vehicle = self._find(superior, request)
        if vehicle is None:
            reply(EmergencyAnswer(result=2 if await self._is_known(superior, request) else 1))
            return
        minutes = max(1, min(65535, int((data.end_time - self.hub.wall()) // 60)))
        # 连接控制; 监管平台鉴权码; 拨号点名称; 拨号用户名; 拨号密码; 地址; TCP端口; UDP端口; 制造商ID; 时限 (minutes)
        words: tuple[object, ...] = (
            0, data.authentication_code.hex(), data.access_point_name, data.username, data.password, data.server_ip, data.tcp_port, data.udp_port,
            vehicle.terminal.manufacturer, minutes,
        )  # fmt: skip
        try:
            await self._ask(superior, request, vehicle, TerminalControl(command=2, command_params=";".join(str(word) for word in words)))
            result = 0
        except (RequestError, NotPossibleError) as problem:
            _told(superior, request, problem)
            result = 2
        reply(EmergencyAnswer(result=result))

    # ---- photos -----------------------------------------------------------------------------------------------------------

    async def photo(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9502: one picture now; when it takes long, "sent later" first and the picture afterwards."""
        data = request.data
        if not isinstance(data, PhotoRequest):
            return
        vehicle = self._find(superior, request)
        if vehicle is None:
            reply(self._photo_answer(superior, None, data, OFFLINE if await self._is_known(superior, request) else WRONG_PLATE))
            return
        picture: Deferred[MultimediaData] = Deferred()

        def watch(terminal: Terminal, received: Received) -> None:
            message = received.message
            if terminal.sim == vehicle.sim and isinstance(message, MultimediaData) and message.media_type == 0 and message.channel_id == data.lens_id:
                stop()
                if not picture.called:
                    picture.callback(message)

        stop = self.hub.watch_messages(watch)
        try:
            take = TakePhoto(
                channel_id=data.lens_id, command=1, resolution=data.size if 1 <= data.size <= 8 else 1, quality=1, brightness=127, contrast=64,
                saturation=64, chroma=127,
            )  # fmt: skip
            try:
                answer = await self._ask(superior, request, vehicle, take)
            except (RequestError, NotPossibleError) as problem:
                _told(superior, request, problem)
                flag = OFFLINE if isinstance(problem, TerminalOfflineError) else NOT_SUPPORTED if _unsupported(problem) else OTHER
                reply(self._photo_answer(superior, vehicle, data, flag))
                return
            if isinstance(answer, TakePhotoResponse) and answer.result:
                reply(self._photo_answer(superior, vehicle, data, LENS if answer.result == 2 else OTHER))
                return
            for wait_s, otherwise in ((PHOTO_S, LATER), (PHOTO_LATER_S, OTHER)):
                try:
                    message = await _within(picture, wait_s, self.hub)
                except TimeoutError:
                    reply(self._photo_answer(superior, vehicle, data, otherwise))
                else:
                    reply(self._photo_answer(superior, vehicle, data, TAKEN, message))
                    return
        finally:
            stop()

    def _photo_answer(self, superior: Superior, vehicle: Vehicle | None, data: PhotoRequest, flag: int, picture: MultimediaData | None = None) -> PhotoAnswer:
        body = bytes(28)
        if picture is not None and picture.location is not None:
            body = picture.location.encode()
        elif picture is not None and vehicle is not None and vehicle.terminal.position is not None:
            body = vehicle.terminal.position.encode(vehicle.terminal.edition)
        edition = superior.body_edition
        gnss = Gnss.decode(block_2011(body) if edition < 2019 else block_2019(body, tail_2019(superior.settings.platform_id)), edition)
        if picture is None and edition < 2019:
            gnss = Gnss.decode(bytes(36), 2011)  # a refused photo still carries the block, of zeros
        return PhotoAnswer(
            photo_rsp_flag=flag, gnss=gnss, lens_id=data.lens_id, size_type=data.size, type=_FORMATS.get(picture.media_format, 1) if picture else 1,
            photo=bytes(picture.data) if picture is not None else b"",
        )  # fmt: skip

    # ---- drivers, waybills, routes ------------------------------------------------------------------------------------------

    async def driver(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x920A: the last one told, or (2019, flag 1; and where none was told) asked for now. Not known: empty fields."""
        vehicle = self._find(superior, request)
        identity = vehicle.driver if vehicle is not None else None
        if vehicle is not None and (identity is None or getattr(request.data, "flag", 0) == 1):
            try:
                answer = await self._ask(superior, request, vehicle, DriverIdentityQuery())
                if isinstance(answer, DriverIdentity):
                    identity = vehicle.driver = answer
            except (RequestError, NotPossibleError) as problem:
                _told(superior, request, problem)
        reply(DriverInfoAnswer(**_driver(identity, superior.body_edition)))

    def waybill(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x920B: the last one told; empty where none was."""
        vehicle = self._find(superior, request)
        raw = vehicle.waybill if vehicle is not None else b""
        reply(WaybillAnswer(ewaybill_info=raw.decode("gbk", "replace")))

    def route(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x920C: routes are planned by people and go up as 0x120E when they send them."""
        superior.counts["routes asked for"] += 1
        self.hub.events.publish("superior.message", superior=superior.name, kind="0x920C", fields=request.business.fields())

    def terminal_message(self, terminal: Terminal, received: Received) -> None:
        """0x0702 → 0x120C, 0x0701 → 0x120D."""
        msg_id = received.header.msg_id
        if msg_id not in (0x0702, 0x0701):
            return
        vehicle = self.hub.vehicle(terminal.sim)
        if vehicle is None:
            return
        for superior in vehicle.superiors:
            if msg_id == 0x0701 and 0 < len(vehicle.waybill) <= WAYBILL_BYTES:
                superior.send(WaybillReport(ewaybill_info=vehicle.waybill.decode("gbk", "replace")), vehicle.plate, vehicle.color)
            elif msg_id == 0x0702 and vehicle.driver is not None and vehicle.driver.driver_name:
                superior.send(DriverInfoReport(**_driver(vehicle.driver, superior.body_edition)), vehicle.plate, vehicle.color)


def _driver(identity: DriverIdentity | None, edition: int) -> dict[str, Any]:
    """The fields of 0x120A and 0x120C."""

    def text(name: str, size: int) -> str:
        return cut_text(str(getattr(identity, name, None) or ""), size)

    fields: dict[str, Any] = {
        "driver_name": text("driver_name", 16), "driver_id": text("id_card_no", 20), "licence": text("license_no", 40), "org_name": text("issuer", 200),
    }  # fmt: skip
    if edition >= 2019:
        fields["valid_date"] = _day(str(getattr(identity, "valid_until", None) or ""))
    return fields


def _day(digits: str) -> int:
    """YYYYMMDD as UNIX seconds of that day's beginning, UTC+8; 0 where it is none."""
    try:
        return int(datetime.strptime(digits, "%Y%m%d").replace(tzinfo=BEIJING).timestamp())
    except ValueError:
        return 0


def _bcd(unix: int) -> bytes:
    """YYMMDDhhmmss, UTC+8."""
    try:
        return bytes.fromhex(datetime.fromtimestamp(unix, BEIJING).strftime("%y%m%d%H%M%S"))
    except (ValueError, OverflowError, OSError):
        return bytes(6)


def _unsupported(problem: RelayError) -> bool:
    return isinstance(problem, NotPossibleError) or (isinstance(problem, RefusedError) and problem.result == 3)


def _told(superior: Superior, request: Request, problem: RelayError) -> int:
    """Note why a terminal did not do it; gives the standard's "failed"."""
    superior.counts[f"terminal: {problem.code if isinstance(problem, RequestError) else 'not_possible'}"] += 1
    superior.hub.peer_log.info(superior.name, "superior {name}: 0x{kind:04X}: {problem}", name=superior.name, kind=request.kind, problem=str(problem))
    return 1


def _within(waiting: Deferred[MultimediaData], seconds: float, hub: Superiors) -> Deferred[MultimediaData]:
    """``waiting``'s value, or TimeoutError; ``waiting`` itself goes on."""
    result: Deferred[MultimediaData] = Deferred(lambda _: call.cancel() if call.active() else None)

    def done(value: MultimediaData) -> MultimediaData:
        if not result.called:
            call.cancel()
            result.callback(value)
        return value

    def over() -> None:
        if not result.called:
            result.errback(TimeoutError())

    call = hub.clock.callLater(seconds, over)
    waiting.addCallback(done)
    return result
