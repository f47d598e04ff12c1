"""车辆监管 (0x1500, 0x9500) and 车辆静态信息交换 (0x1600, 0x9600)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from relay.jt809.messages.base import SUPPLEMENT, VARIANT, Answer, Body, Gnss, NestedAs, UnixTime, message
from relay.wire import U8, U16, U32, Blob, Bytes, BytesRest, Fixed, StrRest, Text, Time6, f

UP, DOWN = 0x1500, 0x9500
UP_BASE, DOWN_BASE = 0x1600, 0x9600

PHOTO_SIZES = {1: "320×240", 2: "640×480", 3: "800×600", 4: "1024×768", 5: "176×144", 6: "352×288", 7: "704×288", 8: "704×576"}


@message(DOWN, 0x9501, "车辆单向监听请求", "Listen-in request", "DOWN_CTRL_MSG_MONITOR_VEHICLE_REQ", reply=(UP, 0x1501))
class ListenRequest(Body):
    monitor_tel: Annotated[str, Fixed(20)] = f("回拨电话号码", "number to call back")


@message(UP, 0x1501, "车辆单向监听应答", "Listen-in answer", "UP_CTRL_MSG_MONITOR_VEHICLE_ACK")
class ListenAnswer(Answer):
    result: U8 = f("应答结果", "result", enum={0: "listening (监听成功)", 1: "failed"})


@message(DOWN, 0x9502, "车辆拍照请求", "Photo request", "DOWN_CTRL_MSG_TAKE_PHOTO_REQ", reply=(UP, 0x1502))
class PhotoRequest(Body):
    lens_id: U8 = f("镜头ID", "lens")
    size: U8 = f("图片大小", "size", enum=PHOTO_SIZES)


@message(UP, 0x1502, "车辆拍照应答", "Photo answer", "UP_CTRL_MSG_TAKE_PHOTO_ACK", note="a refused photo carries the location too, of zeros")
class PhotoAnswer(Answer):
    photo_rsp_flag: U8 = f(
        "拍照应答标识", "result",
        enum={0: "not supported", 1: "taken (完成拍照)", 2: "taken, sent later (稍后传送)", 3: "offline (不在线)",
              4: "lens unusable (无法使用指定镜头)", 5: "other", 9: "plate wrong"},
    )  # fmt: skip
    #: seen: the 36 bytes of 2011, of zeros, from a 2019 sender
    gnss: Annotated[Gnss, NestedAs({VARIANT: 2011})] = f("拍摄位置", "where it was taken")
    lens_id: U8 = f("镜头ID", "lens")
    photo_len: U32 = f("图片长度", "length", default=0)
    size_type: U8 = f("图片大小", "size", enum=PHOTO_SIZES)
    type: U8 = f("图像格式", "format", enum={1: "jpg", 2: "gif", 3: "tiff", 4: "png"})
    photo: Annotated[bytes, Bytes(by="photo_len")] = f("图片内容", "picture")

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        def fits(gnss_end: int) -> bool:
            return len(data) >= gnss_end + 7 and gnss_end + 7 + int.from_bytes(data[gnss_end + 1 : gnss_end + 5], "big") == len(data)

        if edition >= 2019 and not fits(7 + 50 + int.from_bytes(data[8:12], "big")) and fits(7 + 36):
            return VARIANT
        return edition


@message(DOWN, 0x9503, "下发车辆报文请求", "Text to a vehicle", "DOWN_CTRL_MSG_TEXT_INFO", reply=(UP, 0x1503))
class TextRequest(Body):
    msg_sequence: U32 = f("消息ID序号", "message id")
    msg_priority: U8 = f("报文优先级", "priority", enum={0: "urgent (紧急)", 1: "normal (一般)"})
    msg_length: U32 = f("报文信息长度", "length", default=0)
    msg_content: Annotated[str, Text(by="msg_length")] = f("报文信息内容", "text")


@message(UP, 0x1503, "下发车辆报文应答", "Answer to a text", "UP_CTRL_MSG_TEXT_INFO_ACK")
class TextAnswer(Answer):
    msg_id: U32 | None = f("消息ID", "message id of 0x9503", until=2018, default=None)
    result: U8 = f("应答结果", "result", enum={0: "delivered (下发成功)", 1: "failed"})


@message(DOWN, 0x9504, "上报车辆行驶记录请求", "Recorder data request", "DOWN_CTRL_MSG_TAKE_TRAVEL_REQ", reply=(UP, 0x1504))
class RecorderRequest(Body):
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = {
        2011: ("command_type",),
        SUPPLEMENT: ("command_type", "start_time_bcd", "end_time_bcd", "max_units"),
        2019: ("start_time", "end_time", "command_type"),
    }

    command_type: U8 = f("命令字", "GB/T 19056 command")
    start_time: UnixTime | None = f("开始时间", unit="s UTC", since=2019, default=None)
    end_time: UnixTime | None = f("结束时间", unit="s UTC", since=2019, default=None)
    start_time_bcd: Time6 | None = f("开始时间", since=SUPPLEMENT, until=SUPPLEMENT, default=None)
    end_time_bcd: Time6 | None = f("结束时间", since=SUPPLEMENT, until=SUPPLEMENT, default=None)
    max_units: U16 | None = f("最大单位数据块个数", "largest number of blocks", since=SUPPLEMENT, until=SUPPLEMENT, default=None)

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        return {1: 2011, 15: SUPPLEMENT, 17: 2019}.get(len(data), edition)

    @classmethod
    def layout_for(cls, fields: Mapping[str, Any], edition: int) -> int:
        return SUPPLEMENT if "max_units" in fields else edition


@message(UP, 0x1504, "上报车辆行驶记录应答", "Recorder data", "UP_CTRL_MSG_TAKE_TRAVEL_ACK")
class RecorderAnswer(Answer):
    command_type: U8 = f("命令字", "GB/T 19056 command")
    traveldata_length: U32 = f("车辆行驶记录数据体长度", "length", default=0)
    traveldata_info: Annotated[bytes, Bytes(by="traveldata_length")] = f("车辆行驶记录信息", "recorder frame")


@message(DOWN, 0x9505, "车辆应急接入监管平台请求", "Emergency access request", "DOWN_CTRL_MSG_EMERGENCY_MONITORING_REQ", reply=(UP, 0x1505))
class EmergencyRequest(Body):
    authentication_code: Annotated[bytes, Blob(10)] = f("监管平台下发的鉴权码", "authentication code", secret=True)
    access_point_name: Annotated[str, Fixed(20)] = f("拨号点名称", "access point")
    username: Annotated[str, Fixed(49)] = f("拨号用户名", "dial user")
    password: Annotated[str, Fixed(22)] = f("拨号密码", "dial password", secret=True)
    server_ip: Annotated[str, Fixed(32)] = f("地址", "server address")
    tcp_port: U16 = f("服务器TCP端口", "TCP port")
    udp_port: U16 = f("服务器UDP端口", "UDP port")
    end_time: UnixTime = f("结束时间", unit="s UTC")


@message(UP, 0x1505, "车辆应急接入监管平台应答", "Emergency access answer", "UP_CTRL_MSG_EMERGENCY_MONITORING_ACK")
class EmergencyAnswer(Answer):
    result: U8 = f("应答结果", "result", enum={0: "terminal received the command", 1: "no such vehicle (无该车辆)", 2: "other failure"})


@message(DOWN_BASE, 0x9601, "补报车辆静态信息请求", "Static data request", "DOWN_BASE_MSG_VEHICLE_ADDED", reply=(UP_BASE, 0x1601))
class CarInfoRequest(Body):
    pass


@message(UP_BASE, 0x1601, "补报车辆静态信息应答", "Static data", "UP_BASE_MSG_VEHICLE_ADDED_ACK")
class CarInfoAnswer(Answer):
    car_info: StrRest = f("车辆信息", "KEY:=value pairs joined by ;")


@message(UP_BASE, 0x1602, "补报车辆行驶路线信息应答", "Route data", "UP_BASE_MSG_DRVLINE_ADDED_REQ", since=2019)
class RouteAdded(Body):
    drvline: BytesRest = f("路线信息", "JT/T 808-2019 0x8606 body")
