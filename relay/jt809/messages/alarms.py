"""车辆报警信息交互 (0x1400, 0x9400). In 2019 the plate moves from the envelope into the data, because an alarm may concern no vehicle."""

from __future__ import annotations

from typing import Annotated

from relay.jt809.messages.base import PLATE_COLORS, VARIANT, Answer, Body, UnixTime, message
from relay.wire import U8, U16, U32, Fixed, Text, f

UP, DOWN = 0x1400, 0x9400

WARN_SOURCES = {1: "terminal (车载终端)", 2: "enterprise platform (企业监控平台)", 3: "government platform (政府监管平台)", 9: "other"}
WARN_TYPES = {
    0x0001: "speeding (超速)",
    0x0002: "fatigue (疲劳驾驶)",
    0x0003: "emergency (紧急)",
    0x0004: "entered area (进入指定区域)",
    0x0005: "left area (离开指定区域)",
    0x0006: "road blocked (路段堵塞)",
    0x0007: "dangerous road (危险路段)",
    0x0008: "boundary (越界)",
    0x0009: "theft (盗警)",
    0x000A: "robbery (劫警)",
    0x000B: "off route (偏离路线)",
    0x000C: "moved (车辆移动)",
    0x000D: "over-time driving (超时驾驶)",
    0x000E: "other",
    0x0010: "rule-breaking driving (违规行驶)",
    0x0011: "forward collision (前撞)",
    0x0012: "lane departure (车道偏离)",
    0x0013: "tyre pressure (胎压异常)",
    0x0014: "dynamic data abnormal (动态信息异常)",
    0x00FF: "other",
    0x0101: "video signal lost (视频信号丢失)",
    0x0102: "video blocked (视频信号遮挡)",
    0x0103: "storage fault (存储单元故障)",
    0x0104: "other video fault (其他视频设备故障)",
    0x0105: "overload (客车超员)",
    0x0106: "abnormal driving (异常驾驶行为)",
    0x0107: "special-alarm recording limit (特殊报警录像达到存储阈值)",
    0xA001: "over-time parking (超时停车)",
    0xA002: "upload time interval abnormal",
    0xA003: "upload distance interval abnormal",
    0xA004: "lower platform broke off",
    0xA005: "its data transfer abnormal",
    0xA006: "road blocked",
    0xA007: "dangerous road",
    0xA008: "rain or snow",
    0xA009: "driver identity abnormal",
    0xA00A: "terminal abnormal",
    0xA00B: "platform access abnormal",
    0xA00C: "core data abnormal",
    0xA0FF: "other",
}
HANDLING = {0: "in progress (处理中)", 1: "done (已处理完毕)", 2: "no action (不作处理)", 3: "later (将来处理)"}
LEVELS = {0: "urgent (紧急)", 1: "normal (一般)"}

_Platform = Annotated[str, Fixed(11)]


@message(UP, 0x1401, "报警督办应答", "Answer to a supervision request", "UP_WARN_MSG_URGE_TODO_ACK", note="in 2019 five, seven and eleven bytes are seen")
class SupervisionAnswer(Body):
    supervision_id: U32 | None = f("报警督办ID", "supervision id of 0x9401", until=2019, default=None)
    source_data_type: U16 | None = f("对应请求消息源子业务类型标识", "sub-business answered", since=2019, default=None)
    source_msg_sn: U32 | None = f("对应请求消息源报文序列号", "serial number answered", since=2019, default=None)
    result: U8 = f("报警处理结果", "result", enum=HANDLING)

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        return {5: 2011, 7: VARIANT, 11: 2019}.get(len(data), edition)


class _Warning(Body):
    """What 0x1402, 0x1403, 0x9402 and 0x9403 share in 2019; a dialect of it has two times instead of three, in milliseconds."""

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        def text_from(place: int) -> bool:
            return len(data) >= place and int.from_bytes(data[place - 4 : place], "big") == len(data) - place

        return VARIANT if edition >= 2019 and text_from(70) and not text_from(78) else edition


@message(UP, 0x1402, "上报报警信息", "Alarm report", "UP_WARN_MSG_ADPT_INFO")
class AlarmReport(_Warning):
    warn_src: U8 | None = f("报警信息来源", "source", enum=WARN_SOURCES, until=2018, default=None)
    source_platform_id: _Platform | None = f("发起报警平台唯一编码", "platform that raises it", since=2019, default=None)
    warn_type: U16 = f("报警类型", "alarm type", enum=WARN_TYPES)
    warn_time: UnixTime | None = f("报警时间", "alarm time", unit="s UTC", until=2019, default=None)
    info_id: U32 | None = f("信息ID", "info id", until=2018, default=None)
    start_time: UnixTime | None = f("事件开始时间", "begin", unit="s UTC", since=2019, default=None)
    end_time: UnixTime | None = f("事件结束时间", "end", unit="s UTC", since=2019, default=None)
    vehicle_no: Annotated[str, Fixed(21)] | None = f("车牌号码", "plate", since=2019, default=None)
    vehicle_color: U8 | None = f("车牌颜色", "plate colour", enum=PLATE_COLORS, since=2019, default=None)
    destination_platform_id: _Platform | None = f("被报警平台唯一编码", "platform it is about", since=2019, default=None)
    drvline_id: U32 | None = f("线路ID", "route", since=2019, default=None)
    info_length: U32 = f("数据长度", "length", default=0)
    info_content: Annotated[str, Text(by="info_length")] = f("信息内容", "text")


@message(
    UP, 0x1403, "主动上报报警处理结果 (2011补充) / 上报报警预警信息 (2019)", "Alarm handled (2011) / early warning (2019)",
    "UP_WARN_MSG_ADPT_TODO_INFO / UP_WARN_MSG_INFORM_TIPS",
)  # fmt: skip
class AlarmHandled(_Warning):
    info_id: U32 | None = f("报警信息ID", "info id of the 0x1402", until=2018, default=None)
    result: U8 | None = f("处理结果", "result", enum=HANDLING, until=2018, default=None)
    source_platform_id: _Platform | None = f("发起报警平台唯一编码", "platform that raises it", since=2019, default=None)
    warn_type: U16 | None = f("报警类型", "alarm type", enum=WARN_TYPES, since=2019, default=None)
    warn_time: UnixTime | None = f("报警时间", "alarm time", unit="s UTC", since=2019, until=2019, default=None)
    start_time: UnixTime | None = f("事件开始时间", "begin", unit="s UTC", since=2019, default=None)
    end_time: UnixTime | None = f("事件结束时间", "end", unit="s UTC", since=2019, default=None)
    vehicle_no: Annotated[str, Fixed(21)] | None = f("车牌号码", "plate", since=2019, default=None)
    vehicle_color: U8 | None = f("车牌颜色", "plate colour", enum=PLATE_COLORS, since=2019, default=None)
    destination_platform_id: _Platform | None = f("被报警平台唯一编码", "platform it is about", since=2019, default=None)
    drvline_id: U32 | None = f("线路ID", "route", since=2019, default=None)
    warn_length: U32 | None = f("数据长度", "length", since=2019, default=None)
    warn_content: Annotated[str, Text(by="warn_length")] | None = f("报警描述", "text", since=2019, default=None)


class _Handling(Answer):
    result: U8 = f("处理结果", "result", enum=HANDLING)


@message(UP, 0x1411, "上报报警督办应答", "Answer to a supervision request, upwards", "UP_WARN_MSG_URGE_TODO_ACK_INFO", since=2019)
class SupervisionAnswerUp(_Handling):
    pass


@message(UP, 0x1412, "主动上报报警处理结果", "Alarm handled", "UP_WARN_MSG_ADPT_TODO_INFO", since=2019)
class AlarmHandledUp(_Handling):
    pass


class _Supervision2019(Body):
    source_platform_id: _Platform | None = f("发起报警平台唯一编码", "platform that raises it", since=2019, default=None)
    warn_src: U8 | None = f("报警信息来源", "source", enum=WARN_SOURCES, until=2018, default=None)
    warn_type: U16 | None = f("报警类型", "alarm type", enum=WARN_TYPES, until=2018, default=None)
    warn_time: UnixTime = f("报警时间", "alarm time", unit="s UTC")
    supervision_id: U32 | None = f("报警督办ID", "supervision id", until=2018, default=None)
    source_data_type: U16 | None = f("对应报警消息子业务类型标识", "sub-business of the alarm", since=2019, default=None)
    source_msg_sn: U32 | None = f("对应报警消息报文序列号", "serial number of the alarm", since=2019, default=None)
    supervision_endtime: UnixTime = f("督办截止时间", "to be done by", unit="s UTC")
    supervision_level: U8 = f("督办级别", "level", enum=LEVELS)
    supervisor: Annotated[str, Fixed(16)] = f("督办人", "supervisor")
    supervisor_tel: Annotated[str, Fixed(20)] = f("督办联系电话", "telephone")
    supervisor_email: Annotated[str, Fixed(32)] = f("督办联系电子邮件", "e-mail")


@message(UP, 0x1413, "上报报警督办请求", "Supervision request, upwards", "UP_WARN_MSG_URGE_TODO_REQ_INFO", since=2019)
class SupervisionRequestUp(_Supervision2019):
    pass


@message(DOWN, 0x9401, "报警督办请求", "Supervision request", "DOWN_WARN_MSG_URGE_TODO_REQ", reply=(UP, 0x1401))
class SupervisionRequest(_Supervision2019):
    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        return {92: 2011, 102: 2019}.get(len(data), edition)


class _Notice(_Warning):
    warn_src: U8 | None = f("报警信息来源", "source", enum=WARN_SOURCES, until=2018, default=None)
    source_platform_id: _Platform | None = f("发起报警平台唯一编码", "platform that raises it", since=2019, default=None)
    warn_type: U16 = f("报警类型", "alarm type", enum=WARN_TYPES)
    warn_time: UnixTime | None = f("报警时间", "alarm time", unit="s UTC", until=2019, default=None)
    start_time: UnixTime | None = f("事件开始时间", "begin", unit="s UTC", since=2019, default=None)
    end_time: UnixTime | None = f("事件结束时间", "end", unit="s UTC", since=2019, default=None)
    vehicle_no: Annotated[str, Fixed(21)] | None = f("车牌号码", "plate", since=2019, default=None)
    vehicle_color: U8 | None = f("车牌颜色", "plate colour", enum=PLATE_COLORS, since=2019, default=None)
    destination_platform_id: _Platform | None = f("被报警平台唯一编码", "platform it is about", since=2019, default=None)
    drvline_id: U32 | None = f("线路ID", "route", since=2019, default=None)
    warn_length: U32 = f("数据长度", "length", default=0)
    warn_content: Annotated[str, Text(by="warn_length")] = f("报警描述", "text")


@message(DOWN, 0x9402, "报警预警", "Early warning", "DOWN_WARN_MSG_INFORM_TIPS")
class EarlyWarning(_Notice):
    pass


@message(DOWN, 0x9403, "实时交换报警信息", "Alarm exchanged", "DOWN_WARN_MSG_EXG_INFORM")
class ExchangedAlarm(_Notice):
    pass
