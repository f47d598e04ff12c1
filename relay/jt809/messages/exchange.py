"""车辆动态信息交换 (0x1200, 0x9200): registration, locations and their supplements, drivers, waybills, routes."""

from __future__ import annotations

from typing import Annotated

from relay.jt809.messages.base import Answer, Body, FixedOneOf, Gnss, UnixTime, message
from relay.wire import U8, U16, U32, BytesRest, Fixed, ListOf, StrRest, Text, f

UP, DOWN = 0x1200, 0x9200


class _ModelName(FixedOneOf):
    """8 bytes in JT/T 809-2011, 20 in its supplement (told by the length), 30 in 2019."""

    def __init__(self) -> None:
        super().__init__(8, 20, tail=19)

    def at(self, edition: int) -> Fixed:  # type: ignore[override]
        return Fixed(30) if edition >= 2019 else self


@message(UP, 0x1201, "上传车辆注册信息", "Vehicle registration", "UP_EXG_MSG_REGISTER", reply=(DOWN, 0x9201))
class VehicleRegistration(Body):
    platform_id: Annotated[str, Fixed(11)] = f("平台唯一编码", "platform")
    producer_id: Annotated[str, Fixed(11)] = f("车载终端厂商唯一编码", "terminal maker")
    terminal_model_type: Annotated[str, _ModelName()] = f("车载终端型号", "terminal model")
    imei_id: Annotated[str, Fixed(15)] | None = f("通讯模块IMEI码", "IMEI", since=2019, default=None)
    terminal_id: Annotated[str, Fixed(7, {2019: 30})] = f("车载终端编号", "terminal")
    terminal_simcode: Annotated[str, Fixed(12, {2019: 13})] = f("车载终端SIM卡电话号码", "SIM number")

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        # 61: the supplement's model of 20 bytes
        return {49: 2011, 61: 2011, 110: 2019}.get(len(data), edition)


@message(UP, 0x1202, "实时上传车辆定位信息", "Real-time location", "UP_EXG_MSG_REAL_LOCATION")
class RealLocation(Body):
    gnss: Gnss = f("车辆定位信息", "location")


class _Locations(Body):
    gnss_cnt: U8 = f("卫星定位数据个数", "number of locations", default=0)
    gnss: Annotated[list[Gnss], ListOf(by="gnss_cnt")] = f("卫星定位数据", "locations, oldest first")


@message(UP, 0x1203, "车辆定位信息自动补报", "Supplement of locations", "UP_EXG_MSG_HISTORY_LOCATION", note="1 to 5 locations")
class HistoryLocation(_Locations):
    pass


@message(UP, 0x1205, "启动车辆定位信息交换应答", "Start of exchange acknowledged", "UP_EXG_MSG_RETURN_STARTUP_ACK")
class ExchangeStartAnswer(Body):
    pass


@message(UP, 0x1206, "结束车辆定位信息交换应答", "End of exchange acknowledged", "UP_EXG_MSG_RETURN_END_ACK")
class ExchangeEndAnswer(Body):
    pass


class _Period(Body):
    start_time: UnixTime = f("开始时间", unit="s UTC")
    end_time: UnixTime = f("结束时间", unit="s UTC")


@message(UP, 0x1207, "申请交换指定车辆定位信息请求", "Request for a vehicle's locations", "UP_EXG_MSG_APPLY_FOR_MONITOR_STARTUP", reply=(DOWN, 0x9207))
class MonitorStartRequest(_Period):
    pass


@message(UP, 0x1208, "取消交换指定车辆定位信息请求", "End of that request", "UP_EXG_MSG_APPLY_FOR_MONITOR_END", reply=(DOWN, 0x9208))
class MonitorEndRequest(Body):
    pass


@message(UP, 0x1209, "补发车辆定位信息请求", "Request for missed locations", "UP_EXG_MSG_APPLY_HISGNSSDATA_REQ", reply=(DOWN, 0x9209))
class HistoryRequest(_Period):
    pass


@message(UP, 0x120A, "上报驾驶员身份识别信息应答", "Driver identity answer", "UP_EXG_MSG_REPORT_DRIVER_INFO_ACK")
class DriverInfoAnswer(Answer):
    driver_name: Annotated[str, Fixed(16)] = f("驾驶员姓名", "driver")
    driver_id: Annotated[str, Fixed(20)] = f("身份证编号", "identity card")
    licence: Annotated[str, Fixed(40)] = f("从业资格证号", "professional licence")
    org_name: Annotated[str, Fixed(200)] = f("发证机构名称", "issuing body")
    valid_date: UnixTime | None = f("证件有效期", "valid until", unit="s UTC", since=2019, default=None)


@message(UP, 0x120B, "上报车辆电子运单应答", "Waybill answer", "UP_EXG_MSG_TAKE_EWAYBILL_ACK")
class WaybillAnswer(Answer):
    ewaybill_length: U32 = f("电子运单数据体长度", "length", default=0)
    ewaybill_info: Annotated[str, Text(by="ewaybill_length")] = f("电子运单数据内容", "waybill")


@message(UP, 0x120C, "主动上报驾驶员身份信息", "Driver identity report", "UP_EXG_MSG_REPORT_DRIVER_INFO")
class DriverInfoReport(Body):
    driver_name: Annotated[str, Fixed(16)] = f("驾驶员姓名", "driver")
    driver_id: Annotated[str, Fixed(20)] = f("身份证编号", "identity card")
    licence: Annotated[str, Fixed(40)] = f("从业资格证号", "professional licence")
    org_name: Annotated[str, Fixed(200)] = f("发证机构名称", "issuing body")
    valid_date: UnixTime | None = f("证件有效期", "valid until", unit="s UTC", since=2019, default=None)


@message(UP, 0x120D, "主动上报车辆电子运单信息", "Waybill report", "UP_EXG_MSG_REPORT_EWAYBILL_INFO")
class WaybillReport(Body):
    ewaybill_length: U32 = f("电子运单数据体长度", "length", default=0)
    ewaybill_info: Annotated[str, Text(by="ewaybill_length")] = f("电子运单数据内容", "waybill")


@message(UP, 0x120E, "主动上报车辆行驶路线信息", "Route report", "UP_BASE_MSG_DRVLINE_INFO", since=2019)
class RouteReport(Body):
    drvline: BytesRest = f("路线信息", "JT/T 808-2019 0x8606 body")


@message(DOWN, 0x9201, "车辆注册信息应答", "Vehicle registration answer", "DOWN_EXG_MSG_REGISTER_ACK", since=2019)
class VehicleRegistrationAnswer(Answer):
    result: U8 = f(
        "结果", enum={0: "registered (完成注册)", 1: "approved and registered (审核通过)", 2: "data wrong (信息错误)", 3: "not approved (审核没通过)"}
    )


@message(DOWN, 0x9202, "交换车辆定位信息", "Location of a foreign vehicle", "DOWN_EXG_MSG_CAR_LOCATION")
class ExchangedLocation(Body):
    gnss: Gnss = f("车辆定位信息", "location")


@message(DOWN, 0x9203, "车辆定位信息交换补发", "Missed locations", "DOWN_EXG_MSG_HISTORY_ARCOSSAREA")
class ExchangedHistory(_Locations):
    pass


@message(DOWN, 0x9204, "交换车辆静态信息", "Static data of a vehicle", "DOWN_EXG_MSG_CAR_INFO")
class ExchangedCarInfo(Body):
    car_info: StrRest = f("车辆信息", "KEY:=value pairs joined by ;")


@message(DOWN, 0x9205, "启动车辆定位信息交换请求", "Start of exchange", "DOWN_EXG_MSG_RETURN_STARTUP", reply=(UP, 0x1205))
class ExchangeStart(Body):
    reason_code: U8 = f(
        "原因", "reason", enum={0: "entered a given area (进入指定区域)", 1: "chosen by hand (人工指定)", 2: "emergency (应急状态)", 3: "other"}
    )


@message(DOWN, 0x9206, "结束车辆定位信息交换请求", "End of exchange", "DOWN_EXG_MSG_RETURN_END", reply=(UP, 0x1206))
class ExchangeEnd(Body):
    reason_code: U8 = f(
        "原因", "reason",
        enum={0: "left the area (离开指定区域)", 1: "stopped by hand (人工停止)", 2: "emergency over (紧急监控完成)", 3: "vehicle offline (车辆离线)",
              4: "other"},
    )  # fmt: skip


@message(DOWN, 0x9207, "申请交换指定车辆定位信息应答", "Answer to 0x1207", "DOWN_EXG_MSG_APPLY_FOR_MONITOR_STARTUP_ACK")
class MonitorStartAnswer(Answer):
    result: U8 = f("结果", enum={0: "granted", 1: "superior has no data of the vehicle", 2: "wrong period", 3: "other"})


@message(DOWN, 0x9208, "取消申请交换指定车辆定位信息应答", "Answer to 0x1208", "DOWN_EXG_MSG_APPLY_FOR_MONITOR_END_ACK")
class MonitorEndAnswer(Answer):
    result: U8 = f("结果", enum={0: "cancelled", 1: "no such application", 2: "other"})


@message(DOWN, 0x9209, "补发车辆定位信息应答", "Answer to 0x1209", "DOWN_EXG_MSG_APPLY_HISGNSSDATA_ACK")
class HistoryAnswer(Answer):
    result: U8 = f("结果", enum={0: "sent at once (即刻补发)", 1: "sent later (择机补发)", 2: "no such data", 3: "request wrong", 4: "other"})


@message(DOWN, 0x920A, "上报车辆驾驶员身份识别信息请求", "Driver identity request", "DOWN_EXG_MSG_REPORT_DRIVER_INFO", reply=(UP, 0x120A))
class DriverInfoRequest(Body):
    flag: U8 | None = f("上传标志", "which", enum={0: "the latest received", 1: "fetch from the terminal"}, since=2019, default=None)


@message(DOWN, 0x920B, "上报车辆电子运单请求", "Waybill request", "DOWN_EXG_MSG_TAKE_EWAYBILL_REQ", reply=(UP, 0x120B))
class WaybillRequest(Body):
    pass


@message(DOWN, 0x920C, "上报车辆行驶路线请求", "Route request", "DOWN_BASE_MSG_DRVLINE_REQ", since=2019, reply=(UP, 0x120E))
class RouteRequest(Body):
    pass


@message(DOWN, 0x920D, "车辆行驶路线请求应答", "Answer to a route report", "DOWN_BASE_MSG_DRVLINE_ACK", since=2019)
class RouteAnswer(Body):
    drvline_id: U32 = f("线路ID", "route")
    result: U8 = f("结果", enum={0: "recorded (完成记录)", 1: "approved and recorded (审核通过)", 2: "data wrong (信息错误)", 3: "not approved (审核未通过)"})
    reason_length: U16 = f("未通过原因长度", "length", default=0)
    reason: Annotated[str, Text(by="reason_length")] = f("未通过原因", "reason")


@message(
    DOWN,
    0x920E,
    "交换车辆行驶路线信息",
    "Route of a vehicle",
    "DOWN_EXG_MSG_DRVLINE_INFO",
    since=2019,
    note="known by its name; taken to be a route like 0x120E",
)
class ExchangedRoute(Body):
    drvline: BytesRest = f("路线信息", "JT/T 808-2019 0x8606 body")
