"""Answers, heartbeat, time, resending; registration and authentication (JT/T 808 clauses 8.1 to 8.8)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated, Any

from relay.jt808.messages.base import Body, message
from relay.wire import U8, U16, Bcd, Fixed, Is, ListOf, StrRest, Text, f


class Result(enum.IntEnum):
    """Result of a general response."""

    OK = 0
    FAILURE = 1
    MESSAGE_ERROR = 2
    NOT_SUPPORTED = 3
    ALARM_HANDLED = 4  #: platform only, 2013 and later: the alarm of the acknowledged 0x0200 was handled


RESULTS = {
    Result.OK: "ok (成功/确认)",
    Result.FAILURE: "failure (失败)",
    Result.MESSAGE_ERROR: "message error (消息有误)",
    Result.NOT_SUPPORTED: "not supported (不支持)",
    Result.ALARM_HANDLED: "alarm handled (报警处理确认)",
}


class GeneralResponse(Body):
    """What both general responses hold."""

    reply_serial: U16 = f("应答流水号", "serial of the message answered")
    reply_msg_id: U16 = f("应答ID", "id of the message answered")
    result: U8 = f("结果", enum=RESULTS)


@message(0x0001, "终端通用应答", "Terminal general response", note="never answered")
class TerminalGeneralResponse(GeneralResponse):
    pass


@message(0x8001, "平台通用应答", "Platform general response", note="never answered")
class PlatformGeneralResponse(GeneralResponse):
    pass


@message(0x0002, "终端心跳", "Heartbeat", reply=0x8001)
class Heartbeat(Body):
    pass


@message(0x0003, "终端注销", "Terminal deregistration", reply=0x8001)
class Deregistration(Body):
    pass


@message(0x0004, "查询服务器时间请求", "Query server time", reply=0x8004, since=2019)
class ServerTimeQuery(Body):
    pass


@message(0x8004, "查询服务器时间应答", "Server time response", since=2019, note="the only time of the protocol that is UTC")
class ServerTime(Body):
    time: Annotated[str, Bcd(6, time=True, zone="UTC")] = f("服务器时间", "server time")


@message(0x8204, "服务器向终端发起链路检测请求", "Link check by platform", reply=0x0001, since=2019)
class LinkCheck(Body):
    pass


class ResendRequest(Body):
    """Which pieces of a sub-packaged message to send again; ``package_ids`` count from 1."""

    original_serial: U16 = f("原始消息流水号", "serial of the first piece")
    package_ids: Annotated[list[U16], ListOf("B", {2019: "H"})] = f("重传包ID列表", "pieces to send again")


@message(0x8003, "服务器补传分包请求", "Request to resend sub-packages (platform)", since=2013)
class PlatformResendRequest(ResendRequest):
    pass


@message(0x0005, "终端补传分包请求", "Request to resend sub-packages (terminal)", since=2019)
class TerminalResendRequest(Body):
    original_serial: U16 = f("原始消息流水号", "serial of the first piece")
    #: the message exists only since 2019, where the count is a WORD whatever header carries it
    package_ids: Annotated[list[U16], ListOf("H")] = f("重传包ID列表", "pieces to send again")


#: 车牌颜色: JT/T 415-2006; 2019 refers to JT/T 697.7-2014
PLATE_COLORS = {
    0: "no plate (未上车牌)",
    1: "blue (蓝色)",
    2: "yellow (黄色)",
    3: "black (黑色)",
    4: "white (白色)",
    5: "green (绿色)",
    9: "other (其他)",
    91: "farm yellow (农黄色)",
    92: "farm green (农绿色)",
    93: "yellow-green (黄绿色)",
    94: "gradient green (渐变绿色)",
}


@message(0x0100, "终端注册", "Terminal registration", reply=0x8100)
class Registration(Body):
    province_id: U16 = f("省域ID", "province", note="first two digits of GB/T 2260; 0 = not set")
    city_id: U16 = f("市县域ID", "city", note="last four digits of GB/T 2260; 0 = not set")
    manufacturer_id: Annotated[str, Fixed(5, {2019: 11})] = f("制造商ID", "manufacturer")
    terminal_model: Annotated[str, Fixed(8, {2013: 20, 2019: 30})] = f("终端型号", "model")
    terminal_id: Annotated[str, Fixed(7, {2019: 30})] = f("终端ID", "terminal id")
    plate_color: U8 = f("车牌颜色", "plate colour", enum=PLATE_COLORS)
    plate_no: StrRest = f("车辆标识", "plate, or the VIN when the colour is 0")

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        """2011 and 2013 have the same header; the length tells them apart, and it shows a short body under a 2019 header too.

        The fixed part has 25 bytes in 2011, 37 in 2013, 76 in 2019. A 2011 body reaches 37 only with a plate of 12 bytes or more; then byte 36
        is a letter of the plate and no colour.
        """
        if edition >= 2019 and len(data) >= 76:
            return 2019
        if len(data) < 37 or (len(data) <= 45 and data[36] > 9):
            return 2011
        return 2013


class RegistrationResult(enum.IntEnum):
    """Result of a registration."""

    OK = 0
    VEHICLE_ALREADY_REGISTERED = 1
    VEHICLE_UNKNOWN = 2
    TERMINAL_ALREADY_REGISTERED = 3
    TERMINAL_UNKNOWN = 4


REGISTRATION_RESULTS = {
    RegistrationResult.OK: "ok (成功)",
    RegistrationResult.VEHICLE_ALREADY_REGISTERED: "vehicle already registered (车辆已被注册)",
    RegistrationResult.VEHICLE_UNKNOWN: "vehicle not in the database (数据库中无该车辆)",
    RegistrationResult.TERMINAL_ALREADY_REGISTERED: "terminal already registered (终端已被注册)",
    RegistrationResult.TERMINAL_UNKNOWN: "terminal not in the database (数据库中无该终端)",
}


@message(0x8100, "终端注册应答", "Registration response")
class RegistrationResponse(Body):
    reply_serial: U16 = f("应答流水号", "serial of the request answered")
    result: U8 = f("结果", enum=REGISTRATION_RESULTS)
    auth_code: StrRest | None = f("鉴权码", "authentication code", when=Is("result", 0), optional=True, default=None, secret=True)


@message(0x0102, "终端鉴权", "Terminal authentication", reply=0x8001)
class Authentication(Body):
    """The code is opaque: compare ``relay.wire.text_bytes(auth_code)``, do not trim."""

    auth_code: Annotated[str, Text("", {2019: "B"})] = f("鉴权码", "authentication code", secret=True)
    imei: Annotated[str, Fixed(15)] | None = f("终端IMEI", "IMEI", since=2019, default=None)
    software_version: Annotated[str, Fixed(20)] | None = f("软件版本号", since=2019, default=None)

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        """Under a 2019 header only a body whose first byte measures its code is of 2019; else all of it is the code."""
        return 2013 if edition >= 2019 and (not data or data[0] + 36 != len(data)) else edition

    @classmethod
    def layout_for(cls, fields: Mapping[str, Any], edition: int) -> int:
        return edition if "imei" in fields or "software_version" in fields else min(edition, 2013)
