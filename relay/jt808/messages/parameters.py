"""Parameters, attributes, control and upgrade of the terminal (JT/T 808 clauses 8.9 to 8.17)."""

from __future__ import annotations

from typing import Annotated

from relay.jt808.messages.base import Body, message
from relay.jt808.params import Parameters
from relay.wire import U8, U16, U32, Bcd10, Bytes32, Counted8, Fixed, Str8, StrRest, f


@message(0x8103, "设置终端参数", "Set terminal parameters", reply=0x0001)
class SetParameters(Body):
    total_count: U8 | None = f("参数总数", "parameters in all packages", until=2011, default=None)
    params: Parameters = f("参数项列表", "parameters")


@message(0x8104, "查询终端参数", "Query all parameters", reply=0x0104)
class QueryAllParameters(Body):
    pass


@message(0x8106, "查询指定终端参数", "Query listed parameters", reply=0x0104, since=2013)
class QueryParameters(Body):
    param_ids: Counted8[U32] = f("参数ID列表", "parameter ids")


@message(0x0104, "查询终端参数应答", "Parameter query response")
class ParametersResponse(Body):
    reply_serial: U16 = f("应答流水号", "serial of the request answered")
    total_count: U8 | None = f("应答参数总数", "parameters in all packages", until=2011, default=None)
    params: Parameters = f("参数项列表", "parameters")


@message(0x8105, "终端控制", "Terminal control", reply=0x0001, note="2019 keeps only 2, 4 and 5")
class TerminalControl(Body):
    command: U8 = f(
        "命令字",
        enum={
            1: "wireless upgrade (无线升级)",
            2: "connect to the given server (控制终端连接指定服务器)",
            3: "power off (终端关机)",
            4: "reset (终端复位)",
            5: "factory reset (恢复出厂设置)",
            6: "close the data link (关闭数据通信)",
            7: "close all wireless links (关闭所有无线通信)",
        },
    )
    command_params: StrRest | None = f("命令参数", "parameters joined by ;", optional=True, default=None)


@message(0x8107, "查询终端属性", "Query terminal attributes", reply=0x0107, since=2013)
class QueryAttributes(Body):
    pass


GNSS_BITS = {0: "GPS", 1: "BeiDou (北斗)", 2: "GLONASS", 3: "Galileo"}


@message(0x0107, "查询终端属性应答", "Terminal attributes response", since=2013, note="no reply serial: matched by its id")
class TerminalAttributes(Body):
    terminal_type: U16 = f(
        "终端类型",
        bits={
            0: "passenger vehicles (客运)",
            1: "dangerous goods (危险品)",
            2: "freight (普通货运)",
            3: "taxi (出租)",
            6: "hard-disk recorder (硬盘录像)",
            7: ("one piece (一体机)", "split (分体机)"),
            8: "trailer (挂车)",
        },
    )
    manufacturer_id: Annotated[str, Fixed(5)] = f("制造商ID", "manufacturer", note="five bytes in 2019 too, unlike 0x0100")
    terminal_model: Annotated[str, Fixed(20, {2019: 30})] = f("终端型号", "model")
    terminal_id: Annotated[str, Fixed(7, {2019: 30})] = f("终端ID", "terminal id")
    iccid: Bcd10 = f("终端SIM卡ICCID", "ICCID")
    hardware_version: Str8 = f("终端硬件版本号")
    firmware_version: Str8 = f("终端固件版本号")
    gnss_attributes: U8 = f("GNSS模块属性", "GNSS module", bits=GNSS_BITS)
    comm_attributes: U8 = f(
        "通信模块属性",
        "communication module",
        bits={0: "GPRS", 1: "CDMA", 2: "TD-SCDMA", 3: "WCDMA", 4: "CDMA2000", 5: "TD-LTE", 7: "other"},
    )

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        """Terminals mix header and body of the editions; the two version texts make only one of the layouts come out even."""

        def even(fixed: int) -> bool:
            second = fixed + 1 + data[fixed] if len(data) > fixed else len(data)
            return second < len(data) and second + 1 + data[second] + 2 == len(data)

        if edition >= 2019:
            return 2013 if not even(77) and even(44) else edition
        return 2019 if not even(44) and even(77) else edition


UPGRADE_TYPES = {
    0: "terminal (终端)",
    12: "IC-card reader (道路运输证IC卡读卡器)",
    52: "GNSS module (卫星定位模块)",
    0x64: "ADAS (高级驾驶辅助系统)",
    0x65: "driver monitoring (驾驶状态监控系统)",
    0x66: "tyre pressure monitoring (胎压监测系统)",
    0x67: "blind spot monitoring (盲点监测系统)",
}


@message(0x8108, "下发终端升级包", "Send upgrade package", reply=(0x0001, 0x0108), since=2013)
class UpgradePackage(Body):
    upgrade_type: U8 = f("升级类型", enum=UPGRADE_TYPES)
    manufacturer_id: Annotated[str, Fixed(5)] = f("制造商ID", "manufacturer", note="five bytes in 2019 too, unlike 0x0100")
    version: Str8 = f("版本号")
    data: Bytes32 = f("升级数据包", "firmware")


@message(0x0108, "终端升级结果通知", "Upgrade result", reply=0x8001, since=2013)
class UpgradeResult(Body):
    upgrade_type: U8 = f("升级类型", enum=UPGRADE_TYPES)
    result: U8 = f("升级结果", enum={0: "ok", 1: "failed", 2: "cancelled"})
