"""Links: login, keep-alive, logout, notices (主链路 and 从链路), and the statistics class (信息统计类)."""

from __future__ import annotations

from typing import Annotated

from relay.jt809.messages.base import Body, UnixTime, message
from relay.wire import U8, U16, U32, Fixed, ListOf, Record, f

LOGIN_RESULT = {
    0: "success (成功)", 1: "IP address wrong", 2: "access code wrong", 3: "user not registered", 4: "password wrong", 5: "resource busy (资源紧张)",
    6: "other", 0xFF: "other",
}  # fmt: skip


@message(0x1001, 0, "主链路登录请求", "Main link login request", "UP_CONNECT_REQ", reply=(0x1002, 0))
class Login(Body):
    user_id: U32 = f("用户名", "user")
    password: Annotated[str, Fixed(8)] = f("密码", "password", secret=True)
    msg_gnsscenterid: U32 | None = f("下级平台接入码", "access code", since=2019, default=None)
    down_link_ip: Annotated[str, Fixed(32)] = f("从链路服务端IP", "subordinate link's address")
    down_link_port: U16 = f("从链路服务端口", "subordinate link's port")


@message(0x1002, 0, "主链路登录应答", "Main link login answer", "UP_CONNECT_RSP")
class LoginAnswer(Body):
    result: U8 = f("验证结果", enum=LOGIN_RESULT)
    verify_code: U32 = f("校验码", "verify code")


@message(0x1003, 0, "主链路注销请求", "Main link logout request", "UP_DISCONNECT_REQ", reply=(0x1004, 0))
class Logout(Body):
    user_id: U32 = f("用户名", "user")
    password: Annotated[str, Fixed(8)] = f("密码", "password", secret=True)


@message(0x1004, 0, "主链路注销应答", "Main link logout answer", "UP_DISCONNECT_RSP")
class LogoutAnswer(Body):
    pass


@message(0x1005, 0, "主链路连接保持请求", "Main link keep-alive request", "UP_LINKTEST_REQ", reply=(0x1006, 0))
class LinkTest(Body):
    pass


@message(0x1006, 0, "主链路连接保持应答", "Main link keep-alive answer", "UP_LINKTEST_RSP")
class LinkTestAnswer(Body):
    pass


@message(0x1007, 0, "主链路断开通知", "Main link broken notice", "UP_DISCONNECT_INFORM", note="goes on the subordinate link")
class DisconnectNotice(Body):
    error_code: U8 = f("错误代码", "error code", enum={0: "main link broken (主链路断开)", 1: "other"})


@message(0x1008, 0, "下级平台主动关闭链路通知", "Subordinate platform closes its links", "UP_CLOSELINK_INFORM", note="goes on the subordinate link")
class CloseLinkNotice(Body):
    reason_code: U8 = f("链路关闭原因", "reason", enum={0: "gateway restart (网关重启)", 1: "other"})


@message(0x9001, 0, "从链路连接请求", "Subordinate link login request", "DOWN_CONNECT_REQ", reply=(0x9002, 0))
class SubLogin(Body):
    verify_code: U32 = f("校验码", "verify code of 0x1002")


@message(0x9002, 0, "从链路连接应答", "Subordinate link login answer", "DOWN_CONNECT_RSP")
class SubLoginAnswer(Body):
    result: U8 = f("验证结果", enum={0: "success (成功)", 1: "verify code wrong", 2: "resource busy (资源紧张)", 3: "other"})


@message(0x9003, 0, "从链路注销请求", "Subordinate link logout request", "DOWN_DISCONNECT_REQ", reply=(0x9004, 0))
class SubLogout(Body):
    verify_code: U32 = f("校验码", "verify code")


@message(0x9004, 0, "从链路注销应答", "Subordinate link logout answer", "DOWN_DISCONNECT_RSP")
class SubLogoutAnswer(Body):
    pass


@message(0x9005, 0, "从链路连接保持请求", "Subordinate link keep-alive request", "DOWN_LINKTEST_REQ", reply=(0x9006, 0))
class SubLinkTest(Body):
    pass


@message(0x9006, 0, "从链路连接保持应答", "Subordinate link keep-alive answer", "DOWN_LINKTEST_RSP")
class SubLinkTestAnswer(Body):
    pass


@message(0x9007, 0, "从链路断开通知", "Subordinate link broken notice", "DOWN_DISCONNECT_INFORM", note="goes on the main link")
class SubDisconnectNotice(Body):
    error_code: U8 = f(
        "错误代码",
        "error code",
        enum={0: "superior cannot connect to the announced address", 1: "link broken, three attempts failed", 2: "other", 0xFF: "other"},
    )


@message(0x9008, 0, "上级平台主动关闭链路通知", "Superior platform closes its links", "DOWN_CLOSELINK_INFORM", note="goes on the main link")
class SubCloseLinkNotice(Body):
    reason_code: U8 = f("链路关闭原因", "reason", enum={0: "gateway restart (网关重启)", 1: "other"})


@message(0x9101, 0, "接收定位信息数量通知", "Number of locations received", "DOWN_TOTAL_RECV_BACK_MSG", note="some 2019 texts turn its direction round")
class LocationTotal(Body):
    dynamic_info_total: U32 = f("车辆定位信息数量", "number of locations")
    start_time: UnixTime = f("开始时间", unit="s UTC")
    end_time: UnixTime = f("结束时间", unit="s UTC")


@message(
    0x9102,
    0x9102,
    "平台链路连接情况与车辆定位消息传输情况上报请求",
    "Link and transfer report request",
    "DOWN_MANAGE_MSG_REQ",
    since=2019,
    reply=(0x1102, 0x1102),
)
class LinkReportRequest(Body):
    platform_id: Annotated[str, Fixed(11)] = f("平台唯一编码", "platform")
    start_time: UnixTime = f("开始时间", unit="s UTC")
    end_time: UnixTime = f("结束时间", unit="s UTC")


@message(0x1102, 0x1102, "平台链路连接情况与车辆定位消息传输情况上报应答", "Link and transfer report", "UP_MANAGE_MSG_RSP", since=2019)
class LinkReport(Body):
    platform_id: Annotated[str, Fixed(11)] = f("平台唯一编码", "platform")
    start_time: UnixTime = f("开始时间", unit="s UTC")
    end_time: UnixTime = f("结束时间", unit="s UTC")
    lose_dynamic_sum: U32 = f("丢失车辆定位消息总数", "locations lost")
    disconnect_num: U8 = f("链路断开次数", "link breaks")
    disconnect_time: U32 = f("链路断开总时长", "time broken", unit="s")


class SerialNotice(Record):
    """One sub-business's serial number: 14 bytes."""

    sub_data_type: U16 = f("子业务类型标识", "sub-business")
    msg_sn: U32 = f("报文序列号", "serial number")
    time: UnixTime = f("系统UTC时间", unit="s UTC")


class _SerialNotices(Body):
    count: U8 = f("子业务类型标识总数", "number of entries", default=0)
    items: Annotated[list[SerialNotice], ListOf(by="count")] = f("序列号列表", "entries")


@message(0x9103, 0x9103, "下发平台间消息序列号通知", "Serial numbers, from the superior", "DOWN_MANAGE_MSG_SN_INFORM", since=2019)
class SerialNumbersDown(_SerialNotices):
    pass


@message(0x1103, 0x1103, "上传平台间消息序列号通知", "Serial numbers, to the superior", "UP_MANAGE_MSG_SN_INFORM", since=2019)
class SerialNumbersUp(_SerialNotices):
    pass
