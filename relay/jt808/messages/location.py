"""Locations (位置信息汇报 and relatives), JT/T 808 clauses 8.18 to 8.22 and 8.49.

The base, 28 bytes (the standard prints offset 21 for the time; it is 22)::

     0 alarm_flags DWORD    8 latitude  DWORD   16 altitude WORD   20 direction WORD
     4 status_flags DWORD  12 longitude DWORD   18 speed    WORD   22 time      BCD[6]

Coordinates are a magnitude and a hemisphere bit in the status word; some devices send two's complement (above 180,000,000) instead.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from relay.jt808.items import ALARM_BITS, Items
from relay.jt808.messages.base import Body, message
from relay.wire import U8, U16, U32, Codec, Fault, FieldError, IsNot, ListOf, Record, Time6, f
from relay.wire.codecs import from_hex

if TYPE_CHECKING:
    from relay.wire.dump import Walk
    from relay.wire.record import FieldInfo

class Alarm(enum.IntFlag):
    """Bits of the alarm word that the program acts on."""

    EMERGENCY = 1 << 0
    OVERSPEED = 1 << 1
    FATIGUE = 1 << 2
    DANGER = 1 << 3
    AREA = 1 << 20
    ROUTE = 1 << 21
    SEGMENT_TIME = 1 << 22
    ILLEGAL_IGNITION = 1 << 27
    ILLEGAL_DISPLACEMENT = 1 << 28


#: 状态位
STATUS_BITS = {
    0: ("ACC off", "ACC on"),
    1: ("not located (未定位)", "located (定位)"),
    2: ("north", "south"),
    3: ("east", "west"),
    4: ("in operation (运营)", "out of operation (停运)"),
    5: "coordinates encrypted (经纬度经保密插件加密)",
    6: "forward collision warning (紧急刹车系统采集的前撞预警)",
    7: "lane departure warning (车道偏移预警)",
    (8, 9): {1: "half loaded (半载)", 3: "fully loaded (满载)"},
    10: "fuel line cut (车辆油路断开)",
    11: "electric circuit cut (车辆电路断开)",
    12: "doors locked (车门加锁)",
    13: "front door open (门1开)",
    14: "middle door open (门2开)",
    15: "rear door open (门3开)",
    16: "driver's door open (门4开)",
    17: "custom door open (门5开)",
    18: "GPS",
    19: "BeiDou (北斗)",
    20: "GLONASS",
    21: "Galileo",
    22: "moving (车辆行驶)",
}


class Status(enum.IntFlag):
    """Bits of the status word that the program acts on."""

    ACC = 1 << 0
    LOCATED = 1 << 1
    SOUTH = 1 << 2
    WEST = 1 << 3
    OUT_OF_OPERATION = 1 << 4
    ENCRYPTED = 1 << 5
    DOORS_LOCKED = 1 << 12
    MOVING = 1 << 22


class BaseLocation(Record):
    """位置基本信息: 28 bytes."""

    alarm_flags: U32 = f("报警标志", "alarm word", bits=ALARM_BITS, default=0)
    status_flags: U32 = f("状态", "status word", bits=STATUS_BITS, default=0)
    # seen: two's complement where a hemisphere bit should be
    latitude: U32 = f("纬度", unit="°", scale=1e-6, negative_above=180_000_000)
    longitude: U32 = f("经度", unit="°", scale=1e-6, negative_above=180_000_000)
    altitude: U16 = f("高程", unit="m", default=0, negative_above=0x7FFF)
    speed: U16 = f("速度", unit="km/h", scale=0.1, default=0)
    direction: U16 = f("方向", unit="° clockwise from north", default=0)
    time: Time6 = f("时间")


class Location(BaseLocation):
    """The base and its additional items. What remains of a broken last item is ``trailing`` of the body."""

    items: Items = f("位置附加信息项列表", "additional items", default_factory=list)


@message(0x0200, "位置信息汇报", "Location report", reply=0x8001)
class LocationReport(Location, Body):
    pass


@message(0x8201, "位置信息查询", "Location query", reply=0x0201)
class LocationQuery(Body):
    pass


@message(0x0201, "位置信息查询应答", "Location query response")
class LocationQueryResponse(Body):
    reply_serial: U16 | None = f("应答流水号", "serial of the request answered", since=2013, default=None)
    location: Location = f("位置信息汇报", "location")


@message(0x8202, "临时位置跟踪控制", "Temporary tracking control", reply=0x0001)
class TrackingControl(Body):
    interval: U16 = f("时间间隔", "interval", unit="s", note="0 = stop tracking")
    duration: U32 | None = f("位置跟踪有效期", "how long", unit="s", when=IsNot("interval", 0), optional=True, default=None)


@message(0x8203, "人工确认报警消息", "Manual alarm confirmation", reply=0x0001, since=2013)
class AlarmConfirmation(Body):
    alarm_serial: U16 = f("报警消息流水号", "serial of the 0x0200 with the alarm", note="0 = all alarms of the given types")
    alarm_types: U32 = f(
        "人工确认报警类型", "alarm types", bits={bit: ALARM_BITS[bit] for bit in (0, 3, 20, 21, 22, 27, 28)}
    )


class _BatchList(ListOf):
    """Locations with a WORD of length each, to the end. One that is broken is skipped by its length and the rest kept; ``skipped`` of the
    list remembers its bytes, so that nothing is lost when the message is passed on."""

    def __init__(self) -> None:
        super().__init__()

    def at(self, edition: int) -> Codec:
        return _BatchList()

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        batch = Batch()
        while pos + 2 <= end:
            stop = pos + 2 + int.from_bytes(data[pos : pos + 2], "big")
            if stop > end:
                break
            location = Location.__new__(Location)
            location.edition = record.edition
            try:
                at = Location.plan(record.edition).fill(location, data, pos + 2, stop)
            except Fault:
                batch.skipped.append((len(batch), data[pos + 2 : stop]))
            else:
                location.trailing = data[at:stop]
                batch.append(location)
            pos = stop
        return batch, pos

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        skipped = list(value.skipped) if isinstance(value, Batch) else []
        for place, location in enumerate([*value, None]):
            while skipped and skipped[0][0] <= place:
                raw = skipped.pop(0)[1]
                out += struct.pack(">H", len(raw)) + raw
            if location is not None:
                if not isinstance(location, Location):
                    raise FieldError(f"[{place}]", f"must be a Location, not {location!r}")
                raw = location.encode(record.edition)
                if len(raw) > 0xFFFF:
                    raise FieldError(f"[{place}]", "is longer than a WORD can say")
                out += struct.pack(">H", len(raw)) + raw

    def memory(self, value: Any) -> Mapping[str, Any]:
        return {"skipped": [[place, raw.hex()] for place, raw in value.skipped]} if isinstance(value, Batch) and value.skipped else {}

    def recall(self, given: Any, memory: Mapping[str, Any], edition: int) -> Any:
        batch = Batch(self.from_fields(given, edition))
        for one in memory.get("skipped", []):
            if not isinstance(one, (list, tuple)) or len(one) != 2 or isinstance(one[0], bool) or not isinstance(one[0], int):
                raise FieldError("skipped", f"must be pairs of a place and hex digits, not {one!r}")
            batch.skipped.append((one[0], from_hex(one[1])))
        return batch

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        batch, stop = self.read(data, pos, end, record)
        walk.heading(pos, b"", path, info, self)
        place = 0
        head = f("位置汇报数据体", "length and location")
        while pos < stop:
            size = int.from_bytes(data[pos : pos + 2], "big")
            location = Location.__new__(Location)
            location.edition = record.edition
            with walk.deeper():
                walk.heading(pos, data[pos : pos + 2], f"{path}[{place}]", head, self.element, f"{size} bytes")
                with walk.deeper():
                    try:
                        at = walk.fields(location, data, pos + 2, pos + 2 + size, f"{path}[{place}]")
                        walk.rest(at, data[at : pos + 2 + size], f"{path}[{place}]")
                    except Fault as fault:
                        walk.rest(fault.offset, data[fault.offset : pos + 2 + size], f"{path}[{place}]", f"skipped: {fault.problem}")
            place += 1
            pos += 2 + size
        return batch, stop

    def describe(self) -> str:
        return "(WORD n, location[n]), until end"


class Batch(list[Location]):
    """The locations of a 0x0704. ``skipped`` holds what could not be read: (place before which it stood, bytes)."""

    def __init__(self, locations: Any = ()) -> None:
        super().__init__(locations)
        self.skipped: list[tuple[int, bytes]] = []


@message(0x0704, "定位数据批量上传", "Batch location upload", reply=0x8001, since=2013)
class BatchLocation(Body):
    count: U16 = f("数据项个数", "number of locations")
    data_type: U8 = f("位置数据类型", "kind", enum={0: "normal batch (正常位置批量汇报)", 1: "stored in a blind area (盲区补报)"})
    locations: Annotated[list[Location], _BatchList()] = f("位置汇报数据项", "locations")
