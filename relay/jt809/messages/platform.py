"""平台间信息交互 (0x1300, 0x9300): post queries (查岗), messages between platforms, resending."""

from __future__ import annotations

from typing import Annotated

from relay.jt809.messages.base import SUPPLEMENT, VARIANT, Body, UnixTime, message
from relay.wire import U8, U16, U32, Fixed, Text, f

UP, DOWN = 0x1300, 0x9300

QUERY_OBJECTS = {1: "the connected platform (当前连接的下级平台)", 2: "one owner (单一业户)", 3: "all owners (所有业户)"}
INFO_OBJECTS = {
    0: "one platform below", 1: "the connected platform", 2: "one owner", 3: "all owners", 4: "all platforms", 5: "all platforms and owners",
    6: "all government platforms", 7: "all enterprise platforms", 8: "all commercial (经营性)", 9: "all non-commercial (非经营性)",
}  # fmt: skip
_ObjectId = Annotated[str, Fixed(12, {SUPPLEMENT: 20})]


def _text_ends_at(data: bytes, length_at: int) -> bool:
    """A u32 length there says exactly what follows it."""
    return len(data) >= length_at + 4 and int.from_bytes(data[length_at : length_at + 4], "big") == len(data) - length_at - 4


@message(DOWN, 0x9301, "平台查岗请求", "Post query", "DOWN_PLATFORM_MSG_POST_QUERY_REQ", reply=(UP, 0x1301))
class PostQuery(Body):
    object_type: U8 = f("查岗对象的类型", "kind of object", enum=QUERY_OBJECTS)
    object_id: _ObjectId = f("查岗对象的ID", "object")
    answer_time: U8 | None = f("查岗应答时限", "time allowed", since=2019, default=None, note="unit not confirmed, probably minutes")
    info_id: U32 = f("信息ID", "info id")
    info_length: U32 = f("数据长度", "length", default=0)
    info_content: Annotated[str, Text(by="info_length")] = f("信息内容", "text")

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        # seen: 2011 superiors with an object_id of 20
        for known, length_at in ((2011, 17), (SUPPLEMENT, 25), (2019, 26)):
            if _text_ends_at(data, length_at):
                return known
        return edition


@message(UP, 0x1301, "平台查岗应答", "Answer to a post query", "UP_PLATFORM_MSG_POST_QUERY_ACK")
class PostQueryAnswer(Body):
    object_type: U8 = f("查岗对象的类型", "kind of object", enum=QUERY_OBJECTS)
    responder: Annotated[str, Fixed(16)] | None = f("查岗应答人姓名", "answering person", since=2019, default=None)
    responder_tel: Annotated[str, Fixed(20)] | None = f("查岗应答人联系电话", "their telephone", since=2019, default=None)
    object_id: _ObjectId = f("查岗对象的ID", "object")
    info_id: U32 | None = f("信息ID", "info id of 0x9301", until=2018, default=None)
    source_data_type: U16 | None = f("对应请求消息源子业务类型标识", "sub-business answered", since=2019, default=None)
    source_msg_sn: U32 | None = f("对应请求消息源报文序列号", "serial number answered", since=2019, default=None)
    info_length: U32 = f("数据长度", "length", default=0)
    info_content: Annotated[str, Text(by="info_length")] = f("信息内容", "text")

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        for known, length_at in ((2011, 17), (SUPPLEMENT, 25), (2019, 63)):
            if _text_ends_at(data, length_at):
                return known
        return edition


@message(DOWN, 0x9302, "下发平台间报文请求", "Message to platforms", "DOWN_PLATFORM_MSG_INFO_REQ", reply=(UP, 0x1302))
class PlatformInfo(Body):
    object_type: U8 = f("下发报文对象类型", "kind of object", enum=INFO_OBJECTS)
    object_id: _ObjectId = f("对象ID", "object")
    info_id: U32 = f("信息ID", "info id")
    info_length: U32 = f("数据长度", "length", default=0)
    info_content: Annotated[str, Text(by="info_length")] = f("信息内容", "text")

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        for known, length_at in ((2011, 17), (2019, 25)):
            if _text_ends_at(data, length_at):
                return known
        return edition


@message(UP, 0x1302, "下发平台间报文应答", "Answer to a message to platforms", "UP_PLATFORM_MSG_INFO_ACK")
class PlatformInfoAnswer(Body):
    info_id: U32 | None = f("信息ID", "info id of 0x9302", until=2018, default=None)
    source_data_type: U16 | None = f("对应请求消息源子业务类型标识", "sub-business answered", since=2019, default=None)
    source_msg_sn: U32 | None = f("对应请求消息源报文序列号", "serial number answered", since=2019, default=None)


class _Resend(Body):
    retran_data_type: U16 | None = f("对应需要重传消息的子业务类型标识", "sub-business to resend", until=2019, default=None)
    serial_count: U8 | None = f("重传消息总数", "number of messages", until=2019, default=None)
    begin_msg_sn: U32 = f("重传起始报文序列号", "first serial number")
    end_msg_sn: U32 = f("重传结束报文序列号", "last serial number")
    time: UnixTime = f("重传起始系统UTC时间", "from", unit="s UTC")

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        return VARIANT if len(data) == 16 else edition  # one library leaves type and count out


@message(DOWN, 0x9303, "下发平台间消息补传请求", "Resend request from the superior", "DOWN_PLATFORM_MSG_RETRAN_REQ", since=2019)
class ResendRequestDown(_Resend):
    pass


@message(UP, 0x1303, "上传平台间消息补传请求", "Resend request to the superior", "UP_PLATFORM_MSG_RETRAN_REQ", since=2019)
class ResendRequestUp(_Resend):
    pass
