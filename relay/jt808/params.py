"""The terminal's parameters (终端参数), JT/T 808 table 12 and JT/T 1078-2016 section 5.

``id DWORD, length BYTE, value``; one length byte, so a value has at most 255 bytes. A known id whose length is wrong, and every unknown id, stays
a ``RawEntry``. Neither count nor lengths of a list are trusted (seen: 88 announced, garbage after item 84).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from relay.jt808.items import ALARM_BITS, VIDEO_ALARM_BITS
from relay.wire import U8, U16, U32, Blob, Counted8, Entries, Entry, Family, ListOf, Record, StrRest, Time2, f
from relay.wire.record import RecordType

PARAMETERS = Family("params", "I", "B")

#: the type of a field that holds them, with its BYTE of count
Parameters: TypeAlias = Annotated[list[Entry], Entries(PARAMETERS, "B")]


class Parameter(Entry):
    """One known parameter. Most have a single ``value``; those of JT/T 1078 have named fields."""


class SimpleParameter(Parameter):
    """A parameter with one value: a number, text, or bytes."""

    #: struct letter of the number, "S" for text
    KIND: ClassVar[str] = ""

    if TYPE_CHECKING:
        value: Any


_TYPES: dict[str, Any] = {
    "B": U8,
    "H": U16,
    "I": U32,
    "S": StrRest,
    "4s": Annotated[bytes, Blob(4)],
    "8s": Annotated[bytes, Blob(8)],
}


def _simple(id: int, kind: str, name: str, label: str, english: str, since: int = 0, **details: Any) -> None:
    """Declare a parameter with one value; ``details`` are those of ``f``."""
    body = {"__annotations__": {"value": _TYPES[kind]}, "value": f(label, english, **details), "__module__": __name__, "KIND": kind}
    cls: Any = RecordType(f"Parameter{id:04X}", (SimpleParameter,), body)
    PARAMETERS.entry(id, label, english, name=name, since=since)(cls)


_SECONDS: dict[str, Any] = {"unit": "s"}
_METRES: dict[str, Any] = {"unit": "m"}

_simple(0x0001, "I", "heartbeat_interval", "终端心跳发送间隔", "heartbeat interval", **_SECONDS)
_simple(0x0002, "I", "tcp_response_timeout", "TCP消息应答超时时间", "TCP response timeout", **_SECONDS)
_simple(0x0003, "I", "tcp_retransmissions", "TCP消息重传次数", "TCP retransmissions")
_simple(0x0004, "I", "udp_response_timeout", "UDP消息应答超时时间", "UDP response timeout", **_SECONDS)
_simple(0x0005, "I", "udp_retransmissions", "UDP消息重传次数", "UDP retransmissions")
_simple(0x0006, "I", "sms_response_timeout", "SMS消息应答超时时间", "SMS response timeout", **_SECONDS)
_simple(0x0007, "I", "sms_retransmissions", "SMS消息重传次数", "SMS retransmissions")
_simple(0x0010, "S", "main_apn", "主服务器APN", "main server APN", note="CDMA: PPP number")
_simple(0x0011, "S", "main_dial_user", "主服务器无线通信拨号用户名", "main server dial user")
_simple(0x0012, "S", "main_dial_password", "主服务器无线通信拨号密码", "main server dial password", secret=True)
_simple(0x0013, "S", "main_address", "主服务器地址", "main server address", note="2019: host:port, several separated by ;")
_simple(0x0014, "S", "backup_apn", "备份服务器APN", "backup server APN")
_simple(0x0015, "S", "backup_dial_user", "备份服务器无线通信拨号用户名", "backup server dial user")
_simple(0x0016, "S", "backup_dial_password", "备份服务器无线通信拨号密码", "backup server dial password", secret=True)
_simple(0x0017, "S", "backup_address", "备份服务器地址", "backup server address", note="2019: host:port, several separated by ;")
_simple(0x0018, "I", "tcp_port", "服务器TCP端口", "server TCP port", note="2011 and 2013; reserved in 2019")
_simple(0x0019, "I", "udp_port", "服务器UDP端口", "server UDP port", note="2011 and 2013; reserved in 2019")
_simple(0x001A, "S", "ic_card_address", "道路运输证IC卡认证主服务器地址", "IC-card authentication main server")
_simple(0x001B, "I", "ic_card_tcp_port", "道路运输证IC卡认证服务器TCP端口", "IC-card server TCP port")
_simple(0x001C, "I", "ic_card_udp_port", "道路运输证IC卡认证服务器UDP端口", "IC-card server UDP port")
_simple(0x001D, "S", "ic_card_backup_address", "道路运输证IC卡认证备份服务器地址", "IC-card authentication backup server")
_simple(0x0020, "I", "report_strategy", "位置汇报策略", "report strategy", enum={0: "by time", 1: "by distance", 2: "by time and distance"})
_simple(0x0021, "I", "report_scheme", "位置汇报方案", "report scheme", enum={0: "by ACC", 1: "by login state, then ACC"})
_simple(0x0022, "I", "interval_not_logged_in", "驾驶员未登录汇报时间间隔", "interval when the driver is not logged in", **_SECONDS)
_simple(0x0023, "S", "slave_apn", "从服务器APN", "slave server APN", since=2019, note="empty = as the main server")
_simple(0x0024, "S", "slave_dial_user", "从服务器无线通信拨号用户名", "slave server dial user", since=2019)
_simple(0x0025, "S", "slave_dial_password", "从服务器无线通信拨号密码", "slave server dial password", since=2019, secret=True)
_simple(0x0026, "S", "slave_address", "从服务器备份地址", "slave server address", since=2019, note="host:port, several separated by ;")
_simple(0x0027, "I", "interval_sleeping", "休眠时汇报时间间隔", "interval while sleeping", **_SECONDS)
_simple(0x0028, "I", "interval_emergency", "紧急报警时汇报时间间隔", "interval during an emergency alarm", **_SECONDS)
_simple(0x0029, "I", "interval_default", "缺省时间汇报间隔", "default interval", **_SECONDS)
_simple(0x002C, "I", "distance_default", "缺省距离汇报间隔", "default distance", **_METRES)
_simple(0x002D, "I", "distance_not_logged_in", "驾驶员未登录汇报距离间隔", "distance when the driver is not logged in", **_METRES)
_simple(0x002E, "I", "distance_sleeping", "休眠时汇报距离间隔", "distance while sleeping", **_METRES)
_simple(0x002F, "I", "distance_emergency", "紧急报警时汇报距离间隔", "distance during an emergency alarm", **_METRES)
_simple(0x0030, "I", "turn_angle", "拐点补传角度", "turn angle for an extra report", unit="°", note="less than 180")
_simple(0x0031, "H", "fence_radius", "电子围栏半径(非法位移阈值)", "fence radius", **_METRES)
_simple(
    0x0032, "4s", "forbidden_period", "违规行驶时段范围", "forbidden driving period", since=2019,
    note="start hour, start minute, end hour, end minute, binary: 16320a1e = 22:50 to 10:30",
)  # fmt: skip
_simple(0x0040, "S", "platform_phone", "监控平台电话号码", "platform phone")
_simple(0x0041, "S", "reset_phone", "复位电话号码", "phone that resets the terminal")
_simple(0x0042, "S", "factory_reset_phone", "恢复出厂设置电话号码", "phone that factory-resets the terminal")
_simple(0x0043, "S", "platform_sms", "监控平台SMS电话号码", "platform SMS number")
_simple(0x0044, "S", "alarm_sms", "接收终端SMS文本报警号码", "number for SMS alarms")
_simple(0x0045, "I", "answer_strategy", "终端电话接听策略", "call answering", enum={0: "automatic", 1: "automatic if ACC on, else manual"})
_simple(0x0046, "I", "call_max", "每次最长通话时间", "longest call", unit="s", note="0 = forbidden, 4294967295 = unlimited")
_simple(0x0047, "I", "call_max_month", "当月最长通话时间", "longest calls in a month", unit="s", note="0 = forbidden, 4294967295 = unlimited")
_simple(0x0048, "S", "listen_phone", "监听电话号码", "listen-in number")
_simple(0x0049, "S", "privileged_sms", "监管平台特权短信号码", "privileged SMS number")
_simple(0x0050, "I", "alarm_mask", "报警屏蔽字", "alarm mask", bits=ALARM_BITS)
_simple(0x0051, "I", "alarm_sms_switch", "报警发送文本SMS开关", "alarms that send an SMS", bits=ALARM_BITS)
_simple(0x0052, "I", "alarm_photo_switch", "报警拍摄开关", "alarms that take a photo", bits=ALARM_BITS)
_simple(0x0053, "I", "alarm_photo_store", "报警拍摄存储标志", "alarms whose photo is stored, not uploaded", bits=ALARM_BITS)
_simple(0x0054, "I", "key_alarms", "关键标志", "key alarms", bits=ALARM_BITS)
_simple(0x0055, "I", "max_speed", "最高速度", "speed limit", unit="km/h")
_simple(0x0056, "I", "overspeed_duration", "超速持续时间", "overspeed duration", **_SECONDS)
_simple(0x0057, "I", "continuous_driving_limit", "连续驾驶时间门限", "continuous driving limit", **_SECONDS)
_simple(0x0058, "I", "daily_driving_limit", "当天累计驾驶时间门限", "daily driving limit", **_SECONDS)
_simple(0x0059, "I", "min_rest", "最小休息时间", "minimum rest", **_SECONDS)
_simple(0x005A, "I", "max_parking", "最长停车时间", "maximum parking", **_SECONDS)
_simple(0x005B, "H", "overspeed_warning_margin", "超速报警预警差值", "overspeed pre-warning difference", unit="km/h", scale=0.1)
_simple(0x005C, "H", "fatigue_warning_margin", "疲劳驾驶预警差值", "fatigue pre-warning difference", **_SECONDS)
_simple(
    0x005D, "H", "collision_alarm", "碰撞报警参数设置", "collision alarm",
    bits={(0, 7): "collision time (2013: 4 ms, 2019: ms)", (8, 15): "acceleration (0.1 g)"},
)  # fmt: skip
_simple(0x005E, "H", "rollover_angle", "侧翻报警参数设置", "rollover angle", unit="°")
_CAMERA_BITS = {
    **{bit: f"camera {bit + 1} on" for bit in range(5)},
    **{bit: (f"camera {bit - 7} store", f"camera {bit - 7} upload") for bit in range(8, 13)},
}
_simple(
    0x0064, "I", "timed_photo", "定时拍照控制", "timed photo", bits={**_CAMERA_BITS, 16: ("unit s", "unit min"), (17, 31): "interval"}
)  # fmt: skip
_simple(
    0x0065, "I", "distance_photo", "定距拍照控制", "distance photo", bits={**_CAMERA_BITS, 16: ("unit m", "unit km"), (17, 31): "distance"}
)  # fmt: skip
_simple(0x0070, "I", "picture_quality", "图像/视频质量", "picture quality", note="1 best … 10")
_simple(0x0071, "I", "brightness", "亮度", "brightness", note="0 to 255")
_simple(0x0072, "I", "contrast", "对比度", "contrast", note="0 to 127")
_simple(0x0073, "I", "saturation", "饱和度", "saturation", note="0 to 127")
_simple(0x0074, "I", "chroma", "色度", "chroma", note="0 to 255")
_simple(0x0080, "I", "odometer", "车辆里程表读数", "odometer", unit="km", scale=0.1)
_simple(0x0081, "H", "province_id", "车辆所在的省域ID", "province")
_simple(0x0082, "H", "city_id", "车辆所在的市域ID", "city")
_simple(0x0083, "S", "plate_no", "机动车号牌", "plate")
_simple(0x0084, "B", "plate_color", "车牌颜色", "plate colour", note="as in 0x0100")
_simple(0x0090, "B", "gnss_mode", "GNSS定位模式", "GNSS systems", bits={0: "GPS", 1: "BeiDou (北斗)", 2: "GLONASS", 3: "Galileo"})
_simple(
    0x0091, "B", "gnss_baud_rate", "GNSS波特率", "GNSS baud rate",
    enum={0: "4800", 1: "9600", 2: "19200", 3: "38400", 4: "57600", 5: "115200"},
)  # fmt: skip
_simple(
    0x0092, "B", "gnss_output_rate", "GNSS模块详细定位数据输出频率", "GNSS detail output",
    enum={0: "500 ms", 1: "1000 ms", 2: "2000 ms", 3: "3000 ms", 4: "4000 ms"},
)  # fmt: skip
_simple(0x0093, "I", "gnss_sample_interval", "GNSS模块详细定位数据采集频率", "GNSS detail sampling", **_SECONDS)
_simple(
    0x0094, "B", "gnss_upload_mode", "GNSS模块详细定位数据上传方式", "GNSS detail upload",
    enum={0: "store only", 1: "by time", 2: "by distance", 11: "cumulated time", 12: "cumulated distance", 13: "cumulated count"},
)  # fmt: skip
_simple(0x0095, "I", "gnss_upload_setting", "GNSS模块详细定位数据上传设置", "GNSS detail upload setting", note="unit by 0x0094")
_simple(0x0100, "I", "can1_sample_interval", "CAN总线通道1采集时间间隔", "CAN 1 sampling", unit="ms", note="0 = off")
_simple(0x0101, "H", "can1_upload_interval", "CAN总线通道1上传时间间隔", "CAN 1 upload", unit="s", note="0 = off")
_simple(0x0102, "I", "can2_sample_interval", "CAN总线通道2采集时间间隔", "CAN 2 sampling", unit="ms", note="0 = off")
_simple(0x0103, "H", "can2_upload_interval", "CAN总线通道2上传时间间隔", "CAN 2 upload", unit="s", note="0 = off")
_simple(
    0x0110, "8s", "can_id_setting", "CAN总线ID单独采集设置", "sampling of one CAN id",
    note="interval ms DWORD, then bit 31 channel, 30 extended, 29 computed, 0-28 id",
)  # fmt: skip

# JT/T 1078-2016

_ENCODE_MODES = {0: "CBR", 1: "VBR", 2: "ABR"}
RESOLUTIONS = {0: "QCIF", 1: "CIF", 2: "WCIF", 3: "D1", 4: "WD1", 5: "720P", 6: "1080P"}
_OSD_BITS = {
    0: "date and time (日期和时间)",
    1: "plate (车牌号码)",
    2: "logical channel (逻辑通道号)",
    3: "coordinates (经纬度)",
    4: "recorder speed (行驶记录速度)",
    5: "GNSS speed (卫星定位速度)",
    6: "continuous driving time (连续驾驶时间)",
    **{bit: f"custom {bit}" for bit in range(11, 16)},
}


class VideoEncoding(Record):
    """The live and the stored stream of a channel."""

    live_encode_mode: U8 = f("实时流编码模式", enum=_ENCODE_MODES, note="100 to 127 custom")
    live_resolution: U8 = f("实时流分辨率", enum=RESOLUTIONS)
    live_keyframe_interval: U16 = f("实时流关键帧间隔", unit="frames")
    live_frame_rate: U8 = f("实时流目标帧率", unit="fps")
    live_bitrate: U32 = f("实时流目标码率", unit="kbit/s")
    store_encode_mode: U8 = f("存储流编码模式", enum=_ENCODE_MODES)
    store_resolution: U8 = f("存储流分辨率", enum=RESOLUTIONS)
    store_keyframe_interval: U16 = f("存储流关键帧间隔", unit="frames")
    store_frame_rate: U8 = f("存储流目标帧率", unit="fps")
    store_bitrate: U32 = f("存储流目标码率", unit="kbit/s")
    osd_flags: U16 = f("OSD字幕叠加设置", "on-screen text", bits=_OSD_BITS)


@PARAMETERS.entry(0x0075, "音视频参数设置", "AV parameters", name="av_parameters", note="all channels that 0x0077 does not name")
class AvParameters(VideoEncoding, Parameter):
    audio_output_enabled: U8 = f("是否启用音频输出", enum={0: "no", 1: "yes"})


class AvChannel(Record):
    """Four bytes of the channel table."""

    physical_channel: U8 = f("物理通道号", note="from 1")
    logical_channel: U8 = f("逻辑通道号")
    channel_type: U8 = f("通道类型", enum={0: "audio and video", 1: "audio", 2: "video"})
    ptz_connected: U8 = f("是否连接云台", enum={0: "no", 1: "yes"})


@PARAMETERS.entry(0x0076, "音视频通道列表设置", "AV channel list", name="av_channels")
class AvChannels(Parameter):
    """The table should have as many entries as the three counts say; whole entries are read while they last."""

    TAIL: ClassVar[bool] = True

    av_channel_count: U8 = f("音视频通道总数", "audio and video channels")
    audio_channel_count: U8 = f("音频通道总数", "audio channels")
    video_channel_count: U8 = f("视频通道总数", "video channels")
    channels: Annotated[list[AvChannel], ListOf(rest=True)] = f("音视频通道对照表", "channel table")


class ChannelEncoding(VideoEncoding):
    """The same for one channel."""

    ORDERS: ClassVar[dict[int, tuple[str, ...]]] = {0: ("logical_channel", *VideoEncoding.wire_fields)}

    logical_channel: U8 = f("逻辑通道号")


@PARAMETERS.entry(0x0077, "单独视频通道参数设置", "per-channel video parameters", name="channel_parameters", note="at most 12 channels fit")
class ChannelParameters(Parameter):
    channels: Counted8[ChannelEncoding] = f("单独通道视频参数设置列表", "channels")


@PARAMETERS.entry(0x0079, "特殊报警录像参数设置", "special-alarm recording", name="special_alarm_recording")
class SpecialAlarmRecording(Parameter):
    storage_threshold: U8 = f("特殊报警录像存储阈值", unit="% of main storage")
    record_duration: U8 = f("特殊报警录像持续时间", unit="min")
    mark_lead_time: U8 = f("特殊报警标识起始时间", unit="min before the alarm")


_simple(0x007A, "I", "video_alarm_mask", "视频相关报警屏蔽字", "video alarm mask", bits=VIDEO_ALARM_BITS)


@PARAMETERS.entry(0x007B, "图像分析报警参数设置", "image analysis alarm", name="image_analysis")
class ImageAnalysis(Parameter):
    approved_passengers: U8 = f("车辆核载人数", "seats")
    fatigue_threshold: U8 = f("疲劳程度阈值")


@PARAMETERS.entry(0x007C, "终端休眠唤醒模式设置", "sleep and wake mode", name="wake_mode")
class WakeMode(Parameter):
    wake_mode: U8 = f("休眠唤醒模式", bits={0: "conditional (条件唤醒)", 1: "timed (定时唤醒)", 2: "manual (手动唤醒)"})
    wake_conditions: U8 = f("唤醒条件类型", bits={0: "emergency alarm (紧急报警)", 1: "collision or rollover (碰撞侧翻报警)", 2: "door open (车辆开门)"})
    wake_weekdays: U8 = f("定时唤醒日", bits=dict(enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))))
    wake_periods_enabled: U8 = f("定时唤醒启用标志", bits={bit: f"period {bit + 1}" for bit in range(4)})
    wake_time_1: Time2 = f("时间段1唤醒时间")
    sleep_time_1: Time2 = f("时间段1关闭时间")
    wake_time_2: Time2 = f("时间段2唤醒时间")
    sleep_time_2: Time2 = f("时间段2关闭时间")
    wake_time_3: Time2 = f("时间段3唤醒时间")
    sleep_time_3: Time2 = f("时间段3关闭时间")
    wake_time_4: Time2 = f("时间段4唤醒时间")
    sleep_time_4: Time2 = f("时间段4关闭时间")
