"""Vehicle control, areas and routes (JT/T 808 clauses 8.33 to 8.43).

The optional fields of an area exist exactly when their bit of ``attributes`` is set. In 2019 the night speed follows the overspeed duration in
circles and rectangles, but comes after the vertices in polygons; names have a WORD of length.
"""

from __future__ import annotations

from typing import Annotated

from relay.jt808.messages.base import Body, message
from relay.jt808.messages.location import Location
from relay.wire import U8, U16, U32, Bit, BytesRest, Counted8, Counted16, Counted32, Fault, ListOf, Record, Str16, Time6, f

SET_TYPES = {0: "update (更新区域)", 1: "append (追加区域)", 2: "modify (修改区域)"}

AREA_BITS = {
    0: "by time (根据时间)",
    1: "speed limit (限速)",
    2: "entry alarm to driver (进区域报警给驾驶员)",
    3: "entry alarm to platform (进区域报警给平台)",
    4: "exit alarm to driver (出区域报警给驾驶员)",
    5: "exit alarm to platform (出区域报警给平台)",
    6: ("north", "south"),
    7: ("east", "west"),
    8: ("doors may open (允许开门)", "doors must stay closed (禁止开门)"),
    14: "communication module off inside (进区域关闭通信模块)",
    15: "collect GNSS detail inside (进区域采集GNSS详细定位数据)",
}

ROUTE_BITS = {bit: AREA_BITS[bit] for bit in (0, 2, 3, 4, 5)}

POINT_BITS = {0: "drive time (行驶时间)", 1: "speed limit (限速)", 2: ("north", "south"), 3: ("east", "west")}


class Control(Record):
    control_id: U16 = f("控制类型ID", "control", enum={1: "door (车门)"})
    control_param: U8 = f("控制参数", "parameter", note="door: 0 lock, 1 open")


@message(0x8500, "车辆控制", "Vehicle control", reply=(0x0001, 0x0500))
class VehicleControl(Body):
    control_flags: U8 | None = f("控制标志", until=2013, default=None, bits={0: ("unlock doors (车门解锁)", "lock doors (车门加锁)")})
    controls: Annotated[list[Control], ListOf("H")] | None = f("控制项", since=2019, default=None)


@message(0x0500, "车辆控制应答", "Vehicle control response")
class VehicleControlResponse(Body):
    reply_serial: U16 = f("应答流水号", "serial of the request answered")
    location: Location = f("位置信息汇报", "location")


_BY_TIME = Bit("attributes", 0)
_LIMITED = Bit("attributes", 1)


class CircularArea(Record):
    area_id: U32 = f("区域ID", "area id")
    attributes: U16 = f("区域属性", bits=AREA_BITS)
    center_latitude: U32 = f("中心点纬度", unit="°", scale=1e-6)
    center_longitude: U32 = f("中心点经度", unit="°", scale=1e-6)
    radius: U32 = f("半径", unit="m")
    start_time: Time6 | None = f("起始时间", when=_BY_TIME, default=None)
    end_time: Time6 | None = f("结束时间", when=_BY_TIME, default=None)
    max_speed: U16 | None = f("最高速度", unit="km/h", when=_LIMITED, default=None)
    overspeed_duration: U8 | None = f("超速持续时间", unit="s", when=_LIMITED, default=None)
    night_max_speed: U16 | None = f("夜间最高速度", unit="km/h", when=_LIMITED, since=2019, default=None)
    name: Str16 | None = f("区域名称", since=2019, default=None)


@message(0x8600, "设置圆形区域", "Set circular areas", reply=0x0001)
class SetCircularAreas(Body):
    set_type: U8 = f("设置属性", enum=SET_TYPES)
    total_count: U8 | None = f("区域总数", "areas in all packages", until=2011, default=None)
    areas: Counted8[CircularArea] = f("区域项", "areas")


class DeleteAreas(Body):
    area_ids: Counted8[U32] = f("区域ID列表", "area ids", note="none = all")


@message(0x8601, "删除圆形区域", "Delete circular areas", reply=0x0001)
class DeleteCircularAreas(DeleteAreas):
    pass


class RectangularArea(Record):
    area_id: U32 = f("区域ID", "area id")
    attributes: U16 = f("区域属性", bits=AREA_BITS)
    left_top_latitude: U32 = f("左上点纬度", unit="°", scale=1e-6)
    left_top_longitude: U32 = f("左上点经度", unit="°", scale=1e-6)
    right_bottom_latitude: U32 = f("右下点纬度", unit="°", scale=1e-6)
    right_bottom_longitude: U32 = f("右下点经度", unit="°", scale=1e-6)
    start_time: Time6 | None = f("起始时间", when=_BY_TIME, default=None)
    end_time: Time6 | None = f("结束时间", when=_BY_TIME, default=None)
    max_speed: U16 | None = f("最高速度", unit="km/h", when=_LIMITED, default=None)
    overspeed_duration: U8 | None = f("超速持续时间", unit="s", when=_LIMITED, default=None)
    night_max_speed: U16 | None = f("夜间最高速度", unit="km/h", when=_LIMITED, since=2019, default=None)
    name: Str16 | None = f("区域名称", since=2019, default=None)


@message(0x8602, "设置矩形区域", "Set rectangular areas", reply=0x0001)
class SetRectangularAreas(Body):
    set_type: U8 = f("设置属性", enum=SET_TYPES)
    total_count: U8 | None = f("区域总数", "areas in all packages", until=2011, default=None)
    areas: Counted8[RectangularArea] = f("区域项", "areas")


@message(0x8603, "删除矩形区域", "Delete rectangular areas", reply=0x0001)
class DeleteRectangularAreas(DeleteAreas):
    pass


class Vertex(Record):
    latitude: U32 = f("顶点纬度", unit="°", scale=1e-6)
    longitude: U32 = f("顶点经度", unit="°", scale=1e-6)


@message(0x8604, "设置多边形区域", "Set polygon area", reply=0x0001)
class SetPolygonArea(Body):
    area_id: U32 = f("区域ID", "area id")
    attributes: U16 = f("区域属性", bits=AREA_BITS)
    start_time: Time6 | None = f("起始时间", when=_BY_TIME, default=None)
    end_time: Time6 | None = f("结束时间", when=_BY_TIME, default=None)
    max_speed: U16 | None = f("最高速度", unit="km/h", when=_LIMITED, default=None)
    overspeed_duration: U8 | None = f("超速持续时间", unit="s", when=_LIMITED, default=None)
    points: Counted16[Vertex] = f("顶点项", "vertices")
    night_max_speed: U16 | None = f("夜间最高速度", unit="km/h", when=_LIMITED, since=2019, default=None)
    name: Str16 | None = f("区域名称", since=2019, default=None)


@message(0x8605, "删除多边形区域", "Delete polygon areas", reply=0x0001)
class DeletePolygonAreas(DeleteAreas):
    pass


class RoutePoint(Record):
    point_id: U32 = f("拐点ID", "turning point id")
    segment_id: U32 = f("路段ID", "segment id")
    latitude: U32 = f("拐点纬度", unit="°", scale=1e-6)
    longitude: U32 = f("拐点经度", unit="°", scale=1e-6)
    width: U8 = f("路段宽度", unit="m")
    attributes: U8 = f("路段属性", bits=POINT_BITS)
    too_long_threshold: U16 | None = f("路段行驶过长阈值", unit="s", when=_BY_TIME, default=None)
    too_short_threshold: U16 | None = f("路段行驶不足阈值", unit="s", when=_BY_TIME, default=None)
    max_speed: U16 | None = f("路段最高速度", unit="km/h", when=_LIMITED, default=None)
    overspeed_duration: U8 | None = f("路段超速持续时间", unit="s", when=_LIMITED, default=None)
    night_max_speed: U16 | None = f("路段夜间最高速度", unit="km/h", when=_LIMITED, since=2019, default=None)


@message(0x8606, "设置路线", "Set route", reply=0x0001)
class SetRoute(Body):
    route_id: U32 = f("路线ID", "route id")
    attributes: U16 = f("路线属性", bits=ROUTE_BITS)
    start_time: Time6 | None = f("起始时间", when=_BY_TIME, default=None)
    end_time: Time6 | None = f("结束时间", when=_BY_TIME, default=None)
    points: Counted16[RoutePoint] = f("拐点项", "turning points")
    name: Str16 | None = f("路线名称", since=2019, default=None)


@message(0x8607, "删除路线", "Delete routes", reply=0x0001)
class DeleteRoutes(DeleteAreas):
    pass


QUERY_TYPES = {1: "circles (圆形区域)", 2: "rectangles (矩形区域)", 3: "polygons (多边形区域)", 4: "routes (线路)"}


@message(0x8608, "查询区域或线路数据", "Query areas or routes", reply=0x0608, since=2019)
class AreaQuery(Body):
    query_type: U8 = f("查询类型", enum=QUERY_TYPES)
    ids: Counted32[U32] = f("要查询的区域或线路ID", "ids", note="none = all")


@message(0x0608, "查询区域或线路数据应答", "Areas or routes response", since=2019, note="no reply serial: matched by its id")
class AreaQueryResponse(Body):
    query_type: U8 = f("查询类型", enum=QUERY_TYPES)
    count: U32 = f("查询到的区域或线路数量", "number of areas")
    data: BytesRest = f("区域或线路数据", "bodies as in 0x8600, 0x8602, 0x8604 or 0x8606")

    def areas(self) -> list[Record]:
        """The areas in ``data``: items as in 0x8600 and 0x8602, or whole bodies of 0x8604 and 0x8606, one after the other. What does not fit, and what
        follows it, is left out: the standard says only "格式见" the setting messages."""
        kinds: dict[int, type[Record]] = {1: CircularArea, 2: RectangularArea, 3: SetPolygonArea, 4: SetRoute}
        cls = kinds.get(self.query_type)
        found: list[Record] = []
        data, pos = self.data, 0
        while cls is not None and pos < len(data) and len(found) < self.count:
            record = cls.__new__(cls)
            record.edition, record.trailing = 2019, b""
            try:
                pos = cls.plan(2019).fill(record, data, pos, len(data))
            except Fault:
                break
            found.append(record)
        return found
