"""Active safety (主动安全): alarm items, parameters and the alarm id of T/JSATL 12-2017 (苏标), T/GDRTA 002-2020 (粤标) and relatives.

The dialects differ in widths only, and the length of an entry tells which one it is::

                          terminal id   alarm id (报警标识号)      items 0x64 0x65   0x67
    苏标 湘标 渝标             7          16 = 7+6+1+1+1           47             41
    粤标                      30          40 = 30+6+1+1+2          71             65
    川标                      30          39 = 30+6+1+1+1          70             64
    黑标                      30          38 = 30+6+1+1            69             63

The ids are not protected: tracker vendors use them for other things, so only a length that fits exactly makes an active-safety entry; and
since the guess may still be wrong, ``fields()`` always has ``raw`` beside the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from relay.jt808.items import ITEMS, Item
from relay.jt808.params import PARAMETERS, Parameter
from relay.wire import U8, U16, U32, Blob, BytesRest, Codec, Entry, Fault, FieldError, Fixed, Nested, Record, Time6, f, text_bytes
from relay.wire.groups import ListOf
from relay.wire.record import RecordType

if TYPE_CHECKING:
    from relay.wire.dump import Walk
    from relay.wire.record import FieldInfo


class AlarmSign(Record):
    """报警标识号. An opaque key: ``encode()`` gives back the very bytes that came, and those go into 0x9208."""

    terminal_id: Annotated[str, Fixed(7)] = f("终端ID", "terminal id")
    time: Time6 = f("时间")
    serial: U8 = f("序号", note="alarms within one second, from 0")
    attachment_count: U8 = f("附件数量", "files that belong to the alarm")
    reserved: BytesRest | None = f("预留", optional=True, default=None)


class WideAlarmSign(AlarmSign):
    """The same with a terminal id of 30 bytes (粤标, 川标, 黑标)."""

    terminal_id: Annotated[str, Fixed(30)] = f("终端ID", "terminal id")


#: sizes of an alarm id, in the order in which they are tried
SIGN_SIZES = (16, 40, 39, 38)


def sign_class(size: int) -> type[AlarmSign] | None:
    """The layout of an alarm id of that size, None if there is none."""
    return AlarmSign if size == 16 else WideAlarmSign if size in (38, 39, 40) else None


class SignCodec(Codec):
    """An alarm id with ``behind`` bytes after it to the end of what holds it."""

    def __init__(self, behind: int = 0) -> None:
        self.behind = behind

    def size(self, data: bytes, pos: int, end: int, record: Record) -> int:
        """How many bytes the alarm id has here."""
        return end - pos - self.behind

    def _stop(self, data: bytes, pos: int, end: int, record: Record) -> tuple[type[AlarmSign], int]:
        size = self.size(data, pos, end, record)
        cls = sign_class(size)
        if cls is None:
            raise Fault(pos, f"an alarm id has 16, 38, 39 or 40 bytes, not {size}")
        return cls, pos + size

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        cls, stop = self._stop(data, pos, end, record)
        return Nested(cls).read(data, pos, stop, record)

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        if not isinstance(value, AlarmSign):
            raise FieldError("", f"must be an AlarmSign, not {value!r}")
        start = len(out)
        Nested(AlarmSign).write(value, out, record)
        if sign_class(len(out) - start) is not type(value):
            raise FieldError("reserved", f"makes an alarm id of {len(out) - start} bytes; it has 16, 38, 39 or 40")

    def to_fields(self, value: Any) -> Any:
        return value.fields()

    def to_exact(self, value: Any) -> Any:
        fields: dict[str, Any] = value.exact_fields()
        if isinstance(value, WideAlarmSign) and not self._is_wide(fields):
            # 川: one byte reserved, as in the short form; what fills the field up tells that it is the long one
            fields["terminal_id.raw"] = text_bytes(value.terminal_id).ljust(30, b"\0").hex()
        return fields

    def from_fields(self, value: Any, edition: int) -> Any:
        if not isinstance(value, Mapping):
            raise FieldError("", f"must be an object, not {value!r}")
        return (WideAlarmSign if self._is_wide(value) else AlarmSign).from_fields(value, edition)

    @staticmethod
    def _is_wide(fields: Mapping[str, Any]) -> bool:
        """Which form these fields are of: only the short one has a reserved byte alone."""
        reserved = fields.get("reserved")
        if len(str(fields.get("terminal_id.raw", ""))) == 60:
            return True
        return len(str(fields.get("terminal_id", ""))) > 7 or not isinstance(reserved, str) or len(reserved) != 2

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        cls, stop = self._stop(data, pos, end, record)
        return Nested(cls).show(walk, info, path, data, pos, stop, record)

    def describe(self) -> str:
        return "alarm id, 16 or 38 to 40 bytes"


#: 车辆状态
_VEHICLE_STATUS = {
    0: ("ACC off", "ACC on"),
    1: "left turn (左转向)",
    2: "right turn (右转向)",
    3: "wipers (雨刮器)",
    4: "brake (制动)",
    5: "card inserted (插卡)",
    10: ("not located (未定位)", "located (定位)"),
}

_PLACE = ("speed", "altitude", "latitude", "longitude", "time", "vehicle_status")


def _order(*own: str, tail: tuple[str, ...] = ()) -> dict[int, tuple[str, ...]]:
    """The order on the wire: head, own fields, place, alarm id."""
    return {0: ("alarm_id", "state", *own, *_PLACE, "alarm_sign", *tail)}


class RawBeside(Entry):
    """An entry whose ``fields()`` has its bytes too."""

    def fields(self) -> dict[str, Any]:
        named = super().fields()
        return {"id": named.pop("id"), "raw": self.value_bytes(self.edition).hex(), **named}

    def exact_fields(self) -> dict[str, Any]:
        return self.fields()


class SafetyAlarm(RawBeside, Item):
    """What all alarms hold. The place is that of the alarm's moment, hemispheres are those of the report."""

    alarm_id: U32 = f("报警ID", "alarm id", note="counts all alarms of the terminal")
    state: U8 = f("标志状态", enum={0: "not applicable (不可用)", 1: "begin (开始标志)", 2: "end (结束标志)"})
    speed: U8 = f("车速", unit="km/h")
    altitude: U16 = f("高程", unit="m")
    latitude: U32 = f("纬度", unit="°", scale=1e-6)
    longitude: U32 = f("经度", unit="°", scale=1e-6)
    time: Time6 = f("日期时间")
    vehicle_status: U16 = f("车辆状态", bits=_VEHICLE_STATUS)
    alarm_sign: Annotated[AlarmSign, SignCodec()] = f("报警标识号", "alarm id (key)")


_LEVELS = {0: "event", 1: "level 1 (一级报警)", 2: "level 2 (二级报警)"}

ADAS_EVENTS = {
    0x01: "forward collision (前向碰撞)",
    0x02: "lane departure (车道偏离)",
    0x03: "headway (车距过近)",
    0x04: "pedestrian (行人碰撞)",
    0x05: "frequent lane change (频繁变道)",
    0x06: "road sign exceeded (道路标识超限)",
    0x07: "obstacle (障碍物)",
    0x10: "road sign recognised (道路标志识别)",
    0x11: "active capture (主动抓拍)",
    0x12: "粤: change over a solid line; 湘: device failure (粤: 实线变道; 湘: 设备失效)",
    0x13: "粤: pedestrian in the aisle (车厢过道行人)",
}

DSM_EVENTS = {
    0x01: "fatigue (疲劳驾驶)",
    0x02: "phone (接打手持电话)",
    0x03: "smoking (抽烟)",
    0x04: "distraction; 粤: eyes off the road (分神驾驶; 粤: 长时间不目视前方)",
    0x05: "driver abnormal (驾驶员异常)",
    0x06: "粤: camera covered (摄像头遮挡)",
    0x08: "粤: driving too long (超时驾驶)",
    0x09: "湘: playing with the phone (玩手机)",
    0x0A: "粤: no seat belt (未系安全带)",
    0x0B: "粤: infrared-blocking glasses (红外阻断型墨镜)",
    0x0C: "粤: both hands off the wheel (双手脱离方向盘)",
    0x0D: "粤: playing with the phone (玩手机)",
    0x10: "automatic capture (自动抓拍)",
    0x11: "driver changed (驾驶员变更)",
    0x12: "湘: face function fails through glasses (墨镜致人脸识别失效)",
    0x13: "湘: camera covered (摄像头遮挡)",
    0x14: "湘: capture at ignition (点火抓拍)",
}


@ITEMS.entry(0x64, "高级驾驶辅助系统报警信息", "ADAS alarm")
class AdasAlarm(SafetyAlarm):
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = _order(
        "event_type", "level", "front_speed", "front_distance", "departure_type", "road_sign_type", "road_sign_value"
    )

    event_type: U8 = f("报警/事件类型", enum=ADAS_EVENTS)
    level: U8 = f("报警级别", enum=_LEVELS)
    front_speed: U8 = f("前车车速", unit="km/h", note="types 1 and 2")
    front_distance: U8 = f("前车/行人距离", unit="s", scale=0.1, note="types 1, 2 and 4")
    departure_type: U8 = f("偏离类型", enum={1: "left (左侧偏离)", 2: "right (右侧偏离)"})
    road_sign_type: U8 = f("道路标志识别类型", enum={1: "speed (限速)", 2: "height (限高)", 3: "weight (限重)", 4: "no entry", 5: "no stopping"})
    road_sign_value: U8 = f("道路标志识别数据")


@ITEMS.entry(0x65, "驾驶员状态监测系统报警信息", "driver monitoring alarm")
class DsmAlarm(SafetyAlarm):
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = _order("event_type", "level", "fatigue_level", "reserved")

    event_type: U8 = f("报警/事件类型", enum=DSM_EVENTS)
    level: U8 = f("报警级别", enum=_LEVELS)
    fatigue_level: U8 = f("疲劳程度", note="type 1")
    reserved: Annotated[bytes, Blob(4)] = f("预留")


TIRE_BITS = {
    0: "periodic report (定时上报)",
    1: "pressure high (胎压过高)",
    2: "pressure low (胎压过低)",
    3: "temperature high (胎温过高)",
    4: "sensor fault (传感器异常)",
    5: "unbalanced (胎压不平衡)",
    6: "slow leak (慢漏气)",
    7: "battery low (电池电量低)",
}


class Tire(Record):
    """Nine bytes."""

    position: U8 = f("胎压报警位置", note="zigzag from the left front wheel, from 0")
    alarm_flags: U16 = f("报警/事件类型", bits=TIRE_BITS)
    pressure: U16 = f("胎压", unit="kPa")
    temperature: U16 = f("胎温", unit="°C")
    battery: U16 = f("电池电量", unit="%")


class WideTire(Tire):
    """Ten bytes: the position is a WORD (粤标 by its text)."""

    position: U16 = f("胎压报警位置", note="zigzag from the left front wheel, from 0")


class _TireList(ListOf):
    """A BYTE of count and entries of nine or ten bytes, whichever come out even."""

    def __init__(self) -> None:
        super().__init__("B")

    def at(self, edition: int) -> Codec:
        return _TireList()

    def _choose(self, data: bytes, pos: int, end: int) -> None:
        wide = pos < end and data[pos] and end - pos - 1 == 10 * data[pos]
        self.element = Nested(WideTire if wide else Tire)

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        self._choose(data, pos, end)
        return super().read(data, pos, end, record)

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        self._choose(data, pos, end)
        return super().show(walk, info, path, data, pos, end, record)

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        self.element = Nested(WideTire if value and isinstance(value[0], WideTire) else Tire)
        super().write(value, out, record)


class _SignBeforeTires(SignCodec):
    """The alarm id of the size for which count and length of the tyres behind it agree."""

    def size(self, data: bytes, pos: int, end: int, record: Record) -> int:
        for size in SIGN_SIZES:
            at = pos + size
            if at < end and end - at - 1 in (9 * data[at], 10 * data[at]):
                return size
        return 0


@ITEMS.entry(0x66, "胎压监测系统报警信息", "tyre pressure alarm")
class TireAlarm(SafetyAlarm):
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = _order(tail=("tires",))

    alarm_sign: Annotated[AlarmSign, _SignBeforeTires()] = f("报警标识号", "alarm id (key)")
    tires: Annotated[list[Tire], _TireList()] = f("报警/事件信息列表", "tyres")


@ITEMS.entry(0x67, "盲区监测系统报警信息", "blind spot alarm")
class BlindSpotAlarm(SafetyAlarm):
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = _order("event_type")

    event_type: U8 = f("报警/事件类型", enum={1: "rear approach (后方接近)", 2: "left rear (左侧后方接近)", 3: "right rear (右侧后方接近)"})


@ITEMS.entry(0x68, "乘客AI识别报警信息", "passenger recognition alarm", note="湘标")
class PassengerAlarm(SafetyAlarm):
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = _order("event_type", "level", "reserved")

    event_type: U8 = f("报警/事件类型", enum={1: "overcrowded (超员)", 0x80: "seat belts not checked (未检查安全带)"})
    level: U8 = f("报警级别", enum=_LEVELS)
    reserved: Annotated[bytes, Blob(5)] = f("预留")


@ITEMS.entry(0x70, "激烈驾驶报警信息", "intense driving alarm")
class IntenseDrivingAlarm(SafetyAlarm):
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = _order("event_type", "duration", "threshold_1", "threshold_2")

    event_type: U8 = f(
        "报警/事件类型",
        enum={
            0x01: "hard acceleration (急加速)",
            0x02: "hard braking (急减速)",
            0x03: "hard turn (急转弯)",
            0x04: "idling (怠速)",
            0x05: "stalled (异常熄火)",
            0x06: "coasting in neutral (空挡滑行)",
            0x07: "engine over-speed (发动机超转)",
            0x16: "crash (碰撞)",
        },
    )
    duration: U16 = f("持续时间")
    threshold_1: U16 = f("报警时间阈值/阈值1", "threshold 1")
    threshold_2: U16 = f("阈值2", "threshold 2")


@ITEMS.entry(0x71, "超速报警信息", "overspeed alarm (active safety)", name="overspeed_active")
class OverspeedActiveAlarm(SafetyAlarm):
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = _order("event_type", "overspeed_type", "terminal_threshold", "road_threshold")

    event_type: U8 = f("报警/事件类型")
    overspeed_type: U8 = f("超速类型")
    terminal_threshold: U8 = f("终端限速值", unit="km/h")
    road_threshold: U8 = f("道路限速值", unit="km/h")


# parameters


class SafetyParameter(RawBeside, Parameter):
    """A parameter whose layout depends on its length; ``WIDER`` is the layout to try next."""

    WIDER: ClassVar[type[SafetyParameter] | None] = None

    @classmethod
    def read_value(cls, data: bytes, pos: int, end: int, edition: int) -> Entry | None:
        width = cls.plan(edition).width
        if width == end - pos or cls.WIDER is None:
            return super().read_value(data, pos, end, edition)
        return cls.WIDER.read_value(data, pos, end, edition)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], edition: int = 0) -> Any:
        if cls.WIDER is not None and isinstance(fields, Mapping) and not set(fields) <= set(cls.wire_fields):
            return cls.WIDER.from_fields(fields, edition)
        return super().from_fields(fields, edition)


_NO_CHANGE = "255, 65535, 4294967295 by width = leave unchanged"

_RESOLUTIONS = {1: "352×288", 2: "704×288", 3: "704×576", 4: "640×480", 5: "1280×720", 6: "1920×1080"}
_VIDEO_RESOLUTIONS = {1: "CIF", 2: "HD1", 3: "D1", 4: "WD1", 5: "VGA", 6: "720P", 7: "1080P"}


class CameraParameter(SafetyParameter):
    """What 0xF364 and 0xF365 begin with."""

    alarm_speed_threshold: U8 = f("报警判断速度阈值", unit="km/h")
    volume: U8 = f("报警提示音量", note="0 to 8")
    photo_strategy: U8 = f("主动拍照策略", enum={0: "off (不开启)", 1: "by time (定时)", 2: "by distance (定距)", 3: "card inserted (插卡触发)"})
    photo_time_interval: U16 = f("主动定时拍照时间间隔", unit="s")
    photo_distance_interval: U16 = f("主动定距拍照距离间隔", unit="m")
    photo_count: U8 = f("每次主动拍照张数")
    photo_interval: U8 = f("每次主动拍照时间间隔", unit="s", scale=0.1)
    photo_resolution: U8 = f("拍照分辨率", enum=_RESOLUTIONS)
    video_resolution: U8 = f("视频录制分辨率", enum=_VIDEO_RESOLUTIONS)
    alarm_enable: U32 = f("报警使能", "alarms on", note="two bits an alarm: level 1, level 2")
    event_enable: U32 = f("事件使能", "events on")


def _four(prefix: str, label: str) -> dict[str, tuple[Any, Any]]:
    """The four settings of one alarm: speed of level 2, video, photos, their interval."""
    return {
        f"{prefix}_speed_threshold": (U8, f(f"{label}分级速度阈值", unit="km/h")),
        f"{prefix}_video_time": (U8, f(f"{label}前后视频录制时间", unit="s")),
        f"{prefix}_photo_count": (U8, f(f"{label}拍照张数")),
        f"{prefix}_photo_interval": (U8, f(f"{label}拍照间隔时间", unit="s", scale=0.1)),
    }


def _declare(name: str, base: type[Record], fields: Mapping[str, tuple[Any, Any]], doc: str) -> Any:
    """A class of many alike fields, made from tables; new fields stand behind the base's, ``reserved`` always at the end."""
    order = tuple(one for one in (*base.ORDERS.get(0, base.wire_fields), *fields) if one != "reserved")
    body = {
        "__annotations__": {one: kind for one, (kind, _) in fields.items()},
        **{one: info for one, (_, info) in fields.items()},
        "__module__": __name__,
        "__doc__": doc,
        "ORDERS": {0: (*order, "reserved")},
    }
    return RecordType(name, (base,), body)


def _blob(size: int, label: str = "保留字段") -> tuple[Any, Any]:
    return Annotated[bytes, Blob(size)], f(label, "reserved")


AdasParameters = _declare(
    "AdasParameters",
    CameraParameter,
    {
        "reserved_1": _blob(1),
        "obstacle_distance_threshold": (U8, f("障碍物报警距离阈值", unit="s", scale=0.1)),
        **_four("obstacle", "障碍物报警"),
        "lane_change_period": (U8, f("频繁变道报警判断时间段", unit="s")),
        "lane_change_count": (U8, f("频繁变道报警判断次数")),
        **_four("lane_change", "频繁变道报警"),
        **_four("lane_departure", "车道偏离报警"),
        "forward_collision_time_threshold": (U8, f("前向碰撞报警时间阈值", unit="s", scale=0.1)),
        **_four("forward_collision", "前向碰撞报警"),
        "pedestrian_time_threshold": (U8, f("行人碰撞报警时间阈值", unit="s", scale=0.1)),
        **_four("pedestrian", "行人碰撞报警"),
        "headway_distance_threshold": (U8, f("车距监控报警距离阈值", unit="s", scale=0.1)),
        **_four("headway", "车距过近报警"),
        "road_sign_photo_count": (U8, f("道路标志识别拍照张数")),
        "road_sign_photo_interval": (U8, f("道路标志识别拍照间隔时间", unit="s", scale=0.1)),
        "reserved": _blob(4),
    },
    "高级驾驶辅助系统参数, 56 bytes (苏标).",
)

AdasParameters.WIDER = _declare(
    "AdasParameters64",
    AdasParameters,
    {**_four("solid_line", "实线变道报警"), **_four("aisle_pedestrian", "车厢过道行人检测报警")},
    "The same with two alarms more, 64 bytes (粤标).",
)
AdasParameters.WIDER.WIDER = None
_MORE = "粤标: 64 bytes, two alarms more before reserved"
PARAMETERS.entry(0xF364, "高级驾驶辅助系统参数", "ADAS parameters", name="adas", note=f"{_NO_CHANGE}; {_MORE}")(AdasParameters)

DsmParameters = _declare(
    "DsmParameters",
    CameraParameter,
    {
        "smoking_interval": (U16, f("吸烟报警判断时间间隔", unit="s")),
        "phone_interval": (U16, f("接打电话报警判断时间间隔", unit="s")),
        "reserved_1": _blob(3),
        **_four("fatigue", "疲劳驾驶报警"),
        **_four("phone", "接打电话报警"),
        **_four("smoking", "抽烟报警"),
        **_four("distraction", "分神驾驶报警"),
        **_four("abnormal", "驾驶行为异常"),
        "identify_trigger": (U8, f("驾驶员身份识别触发", enum={0: "off", 1: "by time", 2: "by distance", 3: "card inserted and start"})),
        "reserved": _blob(2),
    },
    "驾驶员状态监测系统参数, 49 bytes (苏标).",
)

DsmParameters.WIDER = _declare(
    "DsmParameters66",
    DsmParameters,
    {
        "camera_covered_speed_threshold": (U8, f("摄像头遮挡报警分级速度阈值", unit="km/h")),
        **_four("seatbelt", "不系安全带报警"),
        **_four("sunglasses", "红外墨镜阻断失效报警"),
        **_four("hands_off", "双脱把报警"),
        **_four("phone_play", "玩手机报警"),
    },
    "The same with five alarms more, 66 bytes (粤标).",
)
DsmParameters.WIDER.WIDER = None
_MORE = "粤标: 66 bytes, five alarms more before reserved"
PARAMETERS.entry(0xF365, "驾驶员状态监测系统参数", "driver monitoring parameters", name="dsm", note=f"{_NO_CHANGE}; {_MORE}")(DsmParameters)


@PARAMETERS.entry(0xF366, "胎压监测系统参数", "tyre pressure parameters", name="tpms", note=_NO_CHANGE)
class TpmsParameters(SafetyParameter):
    tire_model: Annotated[str, Fixed(12)] = f("轮胎规格型号", "tyre model")
    pressure_unit: U16 = f("胎压单位", enum={0: "kg/cm²", 1: "bar", 2: "kPa", 3: "PSI"})
    normal_pressure: U16 = f("正常胎压值")
    imbalance_threshold: U16 = f("胎压不平衡门限", unit="%")
    slow_leak_threshold: U16 = f("慢漏气门限", unit="%")
    low_pressure_threshold: U16 = f("低压阈值")
    high_pressure_threshold: U16 = f("高压阈值")
    high_temperature_threshold: U16 = f("高温阈值", unit="°C")
    low_battery_threshold: U16 = f("电压阈值", unit="%")
    report_interval: U16 = f("定时上报时间间隔", unit="s")
    reserved: Annotated[bytes, Blob(6)] = f("保留项")


@PARAMETERS.entry(0xF367, "盲区监测系统参数", "blind spot parameters", name="bsd", note=_NO_CHANGE)
class BsdParameters(SafetyParameter):
    rear_time_threshold: U8 = f("后方接近报警时间阈值", unit="s")
    side_rear_time_threshold: U8 = f("侧后方接近报警时间阈值", unit="s")


@PARAMETERS.entry(0xF370, "智能视频协议版本信息", "active-safety protocol revision", name="protocol_revision", note="粤标, read only")
class ProtocolRevision(SafetyParameter):
    protocol_revision: U8 = f("智能视频协议版本", note="from 1")
