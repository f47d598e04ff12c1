"""The additional items of a location (位置附加信息项), JT/T 808 table 27 and JT/T 1078-2016 table 13.

``id BYTE, length BYTE, value``, repeated to the end of the body. Parsed strictly by the length; an unknown id, or a length that the id
does not allow, stays a ``RawEntry``. Items of later editions are read in any edition, since terminals mix them.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from relay.wire import U8, U16, U32, Blob, Entries, Entry, Family, f

ITEMS = Family("items", "B", "B")

#: the type of a field that holds them
Items: TypeAlias = Annotated[list[Entry], Entries(ITEMS)]


class Item(Entry):
    """One known item; ``id`` is its number."""


#: 报警标志. Where the editions differ the text says it.
ALARM_BITS = {
    0: "emergency button (紧急报警)",
    1: "overspeed (超速报警)",
    2: "fatigue driving (疲劳驾驶)",
    3: "danger warning (危险预警; 2019: 危险驾驶行为报警)",
    4: "GNSS module fault (GNSS模块故障)",
    5: "GNSS antenna open (GNSS天线未接或被剪断)",
    6: "GNSS antenna short (GNSS天线短路)",
    7: "main power undervoltage (主电源欠压)",
    8: "main power off (主电源掉电)",
    9: "display fault (LCD或显示器故障)",
    10: "TTS fault (TTS模块故障)",
    11: "camera fault (摄像头故障)",
    12: "IC-card module fault (道路运输证IC卡模块故障)",
    13: "overspeed pre-warning (超速预警)",
    14: "fatigue pre-warning (疲劳驾驶预警)",
    15: "forbidden driving (违规行驶报警)",
    16: "tyre pressure pre-warning (胎压预警)",
    17: "right-turn blind zone (右转盲区异常报警)",
    18: "daily driving time exceeded (当天累计驾驶超时)",
    19: "parking time exceeded (超时停车)",
    20: "area entry or exit (进出区域)",
    21: "route entry or exit (进出路线)",
    22: "segment time too short or long (路段行驶时间不足/过长)",
    23: "route deviation (路线偏离)",
    24: "VSS fault (车辆VSS故障)",
    25: "fuel abnormal (车辆油量异常)",
    26: "stolen (车辆被盗)",
    27: "illegal ignition (车辆非法点火)",
    28: "illegal displacement (车辆非法位移)",
    29: "collision (碰撞预警; 2019: 碰撞侧翻报警)",
    30: "rollover pre-warning (侧翻预警)",
    31: "illegal door opening (非法开门; 2019: reserved)",
}

#: the video alarm word (视频相关报警), JT/T 1078-2016 table 14; also parameter 0x007A and bits 32-63 of the 64-bit alarm words
VIDEO_ALARM_BITS = {
    0: "video signal loss (视频信号丢失报警)",
    1: "video signal occlusion (视频信号遮挡报警)",
    2: "storage unit fault (存储单元故障报警)",
    3: "other video device fault (其他视频设备故障报警)",
    4: "passenger overload (客车超员报警)",
    5: "abnormal driving behaviour (异常驾驶行为报警)",
    6: "special-alarm recording reached the storage threshold (特殊报警录像达到存储阈值报警)",
}

_CHANNEL_BITS = {bit: f"channel {bit + 1}" for bit in range(32)}

_AREA_KINDS = {0: "no particular place", 1: "circle", 2: "rectangle", 3: "polygon", 4: "route or segment"}


@ITEMS.entry(0x01, "里程", "mileage")
class Mileage(Item):
    mileage: U32 = f("里程", "odometer", unit="km", scale=0.1)


@ITEMS.entry(0x02, "油量", "fuel")
class Fuel(Item):
    fuel: U16 = f("油量", "fuel gauge", unit="L", scale=0.1)


@ITEMS.entry(0x03, "行驶记录速度", "recorder speed")
class RecorderSpeed(Item):
    recorder_speed: U16 = f("行驶记录功能获取的速度", "speed by the recorder", unit="km/h", scale=0.1)


@ITEMS.entry(0x04, "人工确认报警事件ID", "alarm event id", since=2013)
class AlarmEventId(Item):
    alarm_event_id: U16 = f("需要人工确认报警事件的ID", "id of the alarm that a person must confirm", note="counted from 1")


@ITEMS.entry(0x05, "胎压", "tyre pressure", since=2019)
class TirePressures(Item):
    tire_pressures: Annotated[bytes, Blob(30)] = f(
        "胎压", "tyre pressures", note="a byte a wheel, from the front, left to right; ff = no data; the unit differs between vendors"
    )


@ITEMS.entry(0x06, "车厢温度", "cabin temperature", since=2019)
class CabinTemperature(Item):
    cabin_temperature_raw: U16 = f("车厢温度", "cabin temperature, °C", note="top bit = below zero")


@ITEMS.entry(0x11, "超速报警附加信息", "overspeed alarm")
class OverspeedAlarm(Item):
    position_type: U8 = f("位置类型", enum=_AREA_KINDS)
    area_id: U32 | None = f("区域或路段ID", "area or segment id", optional=True, default=None)


@ITEMS.entry(0x12, "进出区域/路线报警附加信息", "area or route alarm")
class AreaAlarm(Item):
    position_type: U8 = f("位置类型", enum=_AREA_KINDS)
    area_id: U32 = f("区域或线路ID", "area or route id")
    direction: U8 = f("方向", enum={0: "in", 1: "out"})


@ITEMS.entry(0x13, "路段行驶时间不足/过长报警附加信息", "segment time alarm")
class SegmentTimeAlarm(Item):
    segment_id: U32 = f("路段ID")
    drive_time: U16 = f("路段行驶时间", unit="s")
    result: U8 = f("结果", enum={0: "too short", 1: "too long"})


@ITEMS.entry(0x14, "视频相关报警", "video alarms")
class VideoAlarms(Item):
    video_alarm_flags: U32 = f("视频相关报警", bits=VIDEO_ALARM_BITS)


@ITEMS.entry(0x15, "视频信号丢失报警状态", "video loss")
class VideoLoss(Item):
    video_loss_channels: U32 = f("视频信号丢失的通道", "channels without signal", bits=_CHANNEL_BITS)


@ITEMS.entry(0x16, "视频信号遮挡报警状态", "video occlusion")
class VideoOcclusion(Item):
    video_occlusion_channels: U32 = f("视频信号遮挡的通道", "channels covered", bits=_CHANNEL_BITS)


@ITEMS.entry(0x17, "存储器故障报警状态", "storage fault")
class StorageFault(Item):
    storage_fault_flags: U16 = f(
        "存储器故障",
        bits={**{bit: f"main storage {bit + 1}" for bit in range(12)}, **{bit: f"backup storage {bit - 11}" for bit in range(12, 16)}},
    )


@ITEMS.entry(0x18, "异常驾驶行为报警详细描述", "abnormal driving", note="two bytes by table 13, three by table 15; both occur")
class AbnormalDriving(Item):
    behavior_flags: U16 = f(
        "异常驾驶行为类型",
        "behaviour",
        bits={0: "fatigue (疲劳)", 1: "phone (打电话)", 2: "smoking (抽烟)", **{bit: f"custom {bit}" for bit in range(11, 16)}},
    )
    # seen: jt808-item-18-2, without the level
    fatigue_level: U8 | None = f("疲劳程度", optional=True, default=None)


VEHICLE_SIGNALS = {
    0: "low beam (近光灯)",
    1: "high beam (远光灯)",
    2: "right turn (右转向灯)",
    3: "left turn (左转向灯)",
    4: "brake (制动)",
    5: "reverse (倒档)",
    6: "fog lamps (雾灯)",
    7: "outline lamps (示廓灯)",
    8: "horn (喇叭)",
    9: "air conditioner (空调)",
    10: "neutral (空挡)",
    11: "retarder (缓速器工作)",
    12: "ABS (ABS工作)",
    13: "heater (加热器工作)",
    14: "clutch (离合器状态)",
}


@ITEMS.entry(0x25, "扩展车辆信号状态位", "vehicle signals", since=2013)
class VehicleSignals(Item):
    vehicle_signal_flags: U32 = f("扩展车辆信号状态", bits=VEHICLE_SIGNALS)


@ITEMS.entry(0x2A, "IO状态位", "IO state", since=2013)
class IoState(Item):
    io_flags: U16 = f("IO状态", "IO state", bits={0: "deep sleep (深度休眠)", 1: "sleep (休眠)"})


@ITEMS.entry(0x2B, "模拟量", "analogue inputs", since=2013)
class Analog(Item):
    analog: U32 = f("模拟量", "analogue inputs", bits={(0, 15): "AD0", (16, 31): "AD1"})


@ITEMS.entry(0x30, "无线通信网络信号强度", "network signal", since=2013)
class NetworkSignal(Item):
    network_signal: U8 = f("无线通信网络信号强度", "signal strength")


@ITEMS.entry(0x31, "GNSS定位卫星数", "GNSS satellites", since=2013)
class GnssSatellites(Item):
    gnss_satellites: U8 = f("GNSS定位卫星数", "satellites used")
