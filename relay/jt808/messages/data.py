"""Recorder, waybill, driver, CAN bus, passthrough, compression, keys (JT/T 808 clauses 8.44 to 8.48, 8.62 to 8.66)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from relay.jt808.messages.base import Body, message
from relay.jt808.messages.safety import Peripherals, read_peripheral_ids, read_peripherals, without
from relay.wire import U8, U16, U32, Bcd5, Blob, Bytes32, BytesRest, Date4, Fixed, Record, Str8, Time6, UntilEnd, f


@message(0x8700, "行驶记录数据采集命令", "Recorder data request", reply=0x0700)
class RecorderQuery(Body):
    command: U8 = f("命令字", "GB/T 19056 command word")
    data: BytesRest = f("数据块", "GB/T 19056 block")


@message(0x0700, "行驶记录数据上传", "Recorder data upload", reply=0x8001)
class RecorderData(Body):
    reply_serial: U16 = f("应答流水号", "serial of the request answered")
    command: U8 = f("命令字", "GB/T 19056 command word")
    data: BytesRest = f("数据块", "GB/T 19056 packet")


@message(0x8701, "行驶记录参数下传命令", "Recorder parameter download", reply=0x0001)
class RecorderParameters(Body):
    command: U8 = f("命令字", "GB/T 19056 command word")
    data: BytesRest = f("数据块", "GB/T 19056 packet")


@message(0x0701, "电子运单上报", "Electronic waybill", reply=0x8001)
class Waybill(Body):
    data: Bytes32 = f("电子运单内容", "waybill")


@message(0x8702, "上报驾驶员身份信息请求", "Driver identity request", reply=0x0702, since=2013)
class DriverIdentityQuery(Body):
    pass


def _plausible_time(digits: str) -> bool:
    """Decimal digits that could be a time; zeros are (an unset clock)."""
    return digits.isdigit() and int(digits[2:4]) <= 12 and int(digits[4:6]) <= 31 and int(digits[6:8]) < 24 and int(digits[8:10]) < 60


@message(0x0702, "驾驶员身份信息采集上报", "Driver identity report", reply=0x8001, note="2011 has another layout; later fields are read if they are there")
class DriverIdentity(Body):
    #: 2011 knows neither card events nor validity
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = {2011: ("driver_name", "id_card_no", "license_no", "issuer")}

    status: U8 | None = f("状态", since=2013, enum={1: "card inserted, on duty (上班)", 2: "card pulled, off duty (下班)"}, default=None)
    time: Time6 | None = f("插卡/拔卡时间", "time of the card", since=2013, default=None)
    read_result: U8 | None = f(
        "IC卡读取结果",
        since=2013,
        optional=True,
        default=None,
        enum={
            0: "ok (读卡成功)",
            1: "key authentication failed (卡片密钥认证未通过)",
            2: "card locked (卡片已被锁定)",
            3: "card pulled (卡片被拔出)",
            4: "checksum error (数据校验错误)",
        },
    )
    driver_name: Str8 | None = f("驾驶员姓名", optional=True, default=None)
    license_no: Annotated[str, Fixed(40, {2013: 20})] | None = f("从业资格证编码", "qualification certificate", since=2013, optional=True, default=None)
    issuer: Str8 | None = f("发证机构名称", optional=True, default=None)
    valid_until: Date4 | None = f("证件有效期", since=2013, optional=True, default=None)
    id_card_no: Annotated[str, Fixed(20)] | None = f("驾驶员身份证号", "id card", since=2019, optional=True, default=None)

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        """A status of 1 or 2 and then a time is 2013 or later, whatever was said; else it is 2011 if two names with 60 bytes between them fit."""
        if len(data) >= 7 and data[0] in (1, 2) and _plausible_time(data[1:7].hex()):
            return max(edition, 2013)
        issuer = 1 + data[0] + 60 if data else 0
        return 2011 if issuer and issuer < len(data) and issuer + 1 + data[issuer] <= len(data) else edition

    @classmethod
    def layout_for(cls, fields: Mapping[str, Any], edition: int) -> int:
        return max(edition, 2013) if "status" in fields else 2011


class CanFrame(Record):
    can_id: U32 = f(
        "CAN ID",
        bits={(0, 28): "id", 29: ("raw (原始数据)", "average (采集区间平均值)"), 30: ("standard (标准帧)", "extended (扩展帧)"), 31: ("CAN 1", "CAN 2")},
    )
    can_data: Annotated[bytes, Blob(8)] = f("CAN DATA", "CAN data")


@message(0x0705, "CAN总线数据上传", "CAN data upload", reply=0x8001, since=2013)
class CanData(Body):
    count: U16 = f("数据项个数", "number of frames")
    receive_time: Bcd5 = f("CAN总线数据接收时间", "time of the first frame", note="hhmmss and four digits of ms")
    frames: UntilEnd[CanFrame] = f("CAN总线数据项", "CAN frames")


PASSTHROUGH_TYPES = {
    0x00: "GNSS detail (GNSS模块详细定位数据)",
    0x0B: "transport-licence IC card (道路运输证IC卡信息)",
    0x41: "serial port 1 (串口1透传)",
    0x42: "serial port 2 (串口2透传)",
    0xF7: "peripherals' state (外设状态信息)",
    0xF8: "peripherals' information (外设传感器的基本信息)",
}


class _Passthrough(Body):
    """Content that is a list of peripherals (types 0xF7 and 0xF8 of active safety) is also shown taken apart, under ``BESIDE``."""

    BESIDE: ClassVar[str] = ""

    type: U8 = f("透传消息类型", enum=PASSTHROUGH_TYPES)
    data: Annotated[bytes, Peripherals()] = f("透传消息内容", "content")

    def beside(self) -> Any:
        """What the content is, if it is known."""
        raise NotImplementedError

    def fields(self) -> dict[str, Any]:
        result = super().fields()
        known = self.beside()
        if known is not None:
            result[self.BESIDE] = known
        return result

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], edition: int = 0) -> Self:
        return super().from_fields(without(fields, cls.BESIDE), edition)


@message(0x8900, "数据下行透传", "Transparent data down", reply=0x0001)
class PassthroughDown(_Passthrough):
    BESIDE: ClassVar[str] = "peripheral_ids"

    def beside(self) -> Any:
        return read_peripheral_ids(self.type, self.data)


@message(0x0900, "数据上行透传", "Transparent data up", reply=0x8001)
class PassthroughUp(_Passthrough):
    BESIDE: ClassVar[str] = "peripherals"

    def beside(self) -> Any:
        return read_peripherals(self.type, self.data)


@message(0x0901, "数据压缩上报", "Compressed data", reply=0x8001)
class CompressedData(Body):
    data: Bytes32 = f("压缩消息体", "GZIP bytes", note="of a whole message, in the vendors' reading")


@message(0x8A00, "平台RSA公钥", "Platform RSA key", reply=0x0A00)
class PlatformRsaKey(Body):
    e: U32 = f("平台RSA公钥中的e", "public exponent")
    n: Annotated[bytes, Blob(128)] = f("平台RSA公钥中的n", "modulus")


@message(0x0A00, "终端RSA公钥", "Terminal RSA key", reply=0x8A00)
class TerminalRsaKey(Body):
    e: U32 = f("终端RSA公钥中的e", "public exponent")
    n: Annotated[bytes, Blob(128)] = f("终端RSA公钥中的n", "modulus")
