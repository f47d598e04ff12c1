"""The video extension (JT/T 1078-2016 chapters 6 to 10, tables 35 to 60): 0x1700–0x1B00 upwards, 0x9700–0x9B00 downwards.

There is no request number: an answer is matched by plate, colour and its type; downloads by ``session_id``. Mind that 0x1801 has the result
first, 0x1A01 last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from relay.jt809.messages.base import RESULT, RESULT_WITH_CHECKS, Body, UnixTime, message
from relay.wire import U8, U16, U32, U64, Blob, Fixed, ListOf, Record, f

REF = "JT/T 1078-2016"

CHANNELS = {0: "all channels"}
AV_ITEMS = {0: "audio and video", 1: "audio", 2: "video", 3: "video or audio and video"}
STREAMS = {0: "all", 1: "main (主码流)", 2: "sub (子码流)"}
STORAGE = {0: "all", 1: "main (主存储器)", 2: "disaster-recovery (灾备存储器)"}
CONTROL = {
    0: "play (正常回放)", 1: "pause (暂停)", 2: "stop (结束)", 3: "fast forward (快进)", 4: "key-frame rewind (关键帧快退)", 5: "seek (拖动)",
    6: "key-frame play (关键帧播放)",
}  # fmt: skip
SPEEDS = {0: "none", 1: "1×", 2: "2×", 3: "4×", 4: "8×", 5: "16×"}

#: 时效口令: exactly 64 ASCII letters and digits
_Password = Annotated[str, Fixed(64)]
#: the 36 bytes of JT/T 809-2011 4.5.8.1; zeros for home-domain requests, and left out altogether by some superiors
_Gnss = Annotated[bytes, Blob(36)]


@message(
    0x1700,
    0x1701,
    "时效口令上报",
    "Time-efficient passwords",
    "UP_AUTHORIZE_MSG_STARTUP",
    ref=REF,
    note="no plate, no data_length: 141 bytes; a dialect has them: 167",
)
class TimePasswords(Body):
    platform_id: Annotated[str, Fixed(11)] = f("企业视频监控平台唯一编码", "platform")
    authorize_code_1: _Password = f("归属地区政府平台使用的时效口令", "home-domain password", secret=True)
    authorize_code_2: _Password = f("跨域地区政府平台使用的时效口令", "cross-domain password", secret=True)


@message(0x1700, 0x1702, "时效口令请求", "Request for time-efficient passwords", "UP_AUTHORIZE_MSG_STARTUP_REQ", ref=REF, reply=(0x9700, 0x9702))
class TimePasswordRequest(Body):
    pass


@message(
    0x9700,
    0x9702,
    "时效口令请求应答",
    "Time-efficient passwords, answered",
    "DOWN_AUTHORIZE_MSG_STARTUP_REQ_ACK",
    ref=REF,
    note="0, 64, 128 or 129 bytes: the printed table lost its fields",
)
class TimePasswordAnswer(Body):
    #: lengths beside the plain one stand for themselves as editions: 64 is the cross-domain password alone, 129 has a result in front
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = {
        0: ("authorize_code_1", "authorize_code_2"),
        3064: ("authorize_code_2",),
        3129: ("result", "authorize_code_1", "authorize_code_2"),
    }

    result: U8 | None = f("应答结果", "result", enum=RESULT, optional=True, default=None)
    authorize_code_1: _Password | None = f("归属地区政府平台使用的时效口令", "home-domain password", optional=True, default=None, secret=True)
    authorize_code_2: _Password | None = f("跨域地区政府平台使用的时效口令", "cross-domain password", optional=True, default=None, secret=True)

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        return {64: 3064, 129: 3129}.get(len(data), edition)

    @classmethod
    def layout_for(cls, fields: Mapping[str, object], edition: int) -> int:
        if "result" in fields:
            return 3129
        return 3064 if "authorize_code_2" in fields and "authorize_code_1" not in fields else edition


@message(0x9800, 0x9801, "实时音视频请求", "Live request", "DOWN_REALVIDEO_MSG_STARTUP", ref=REF, reply=(0x1800, 0x1801))
class LiveRequest(Body):
    channel_id: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    avitem_type: U8 = f("音视频类型", "what", enum=AV_ITEMS)
    authorize_code: _Password = f("时效口令", "time-efficient password", secret=True)
    gnss_data: _Gnss | None = f("车辆进入跨域地区后5min之内任一位置", "a position in the other region", optional=True, default=None)


@message(0x1800, 0x1801, "实时音视频请求应答", "Answer to a live request", "UP_REALVIDEO_MSG_STARTUP_ACK", ref=REF)
class LiveAnswer(Body):
    result: U8 = f("应答结果", "result", enum=RESULT_WITH_CHECKS)
    server_ip: Annotated[str, Fixed(32)] = f("企业视频服务器IP地址", "media server's address", default="")
    server_port: U16 = f("企业视频服务器端口号", "media server's port", default=0)


@message(0x9800, 0x9802, "主动请求停止实时音视频传输", "Live stop request", "DOWN_REALVIDEO_MSG_END", ref=REF, reply=(0x1800, 0x1802))
class LiveStopRequest(Body):
    channel_id: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    avitem_type: U8 = f("音视频类型", "what", enum=AV_ITEMS)


@message(0x1800, 0x1802, "主动请求停止实时音视频传输应答", "Answer to a live stop request", "UP_REALVIDEO_MSG_END_ACK", ref=REF)
class LiveStopAnswer(Body):
    result: U8 = f("应答结果", "result", enum=RESULT)


class CatalogueItem(Record):
    """资源目录项 (table 47): 32 bytes."""

    channel_id: U8 = f("逻辑通道号", "logical channel")
    start_time: UnixTime = f("开始时间", unit="s UTC")
    end_time: UnixTime = f("结束时间", unit="s UTC")
    alarm_type: U64 = f("报警类型", "alarm words", note="bits 0-31 JT/T 808, bits 32-63 video alarms")
    avitem_type: U8 = f("音视频类型", "what", enum=AV_ITEMS)
    stream_type: U8 = f("码流类型", "stream", enum=STREAMS)
    mem_type: U8 = f("存储器类型", "storage", enum=STORAGE)
    file_size: U32 = f("文件大小", unit="bytes")


@message(0x9900, 0x9902, "查询音视频资源目录请求", "Catalogue request", "DOWN_REALVIDEO_FILELIST_REQ", ref=REF, reply=(0x1900, 0x1902))
class CatalogueRequest(Body):
    channel_id: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    start_time: UnixTime = f("开始时间", unit="s UTC", note="0 = no bound")
    end_time: UnixTime = f("结束时间", unit="s UTC", note="0 = no bound")
    alarm_type: U64 = f("报警类型", "alarm words")
    avitem_type: U8 = f("音视频类型", "what", enum=AV_ITEMS)
    stream_type: U8 = f("码流类型", "stream", enum=STREAMS)
    mem_type: U8 = f("存储器类型", "storage", enum=STORAGE)
    authorize_code: _Password = f("时效口令", "time-efficient password", secret=True)
    gnss_data: _Gnss | None = f("车辆进入跨域地区后5min之内任一位置", "a position in the other region", optional=True, default=None)


@message(0x1900, 0x1902, "查询音视频资源目录应答", "Catalogue", "UP_REALVIDEO_FILELIST_REQ_ACK", ref=REF)
class CatalogueAnswer(Body):
    result: U8 = f("应答结果", "result", enum=RESULT_WITH_CHECKS)
    item_num: U32 = f("资源目录项总数", "number of items", default=0)
    item_list: Annotated[list[CatalogueItem], ListOf(by="item_num")] = f("资源目录项列表", "items")


@message(0x1900, 0x1901, "主动上传音视频资源目录信息", "Catalogue, unasked", "UP_FILELIST_MSG", ref=REF, reply=(0x9900, 0x9901))
class CatalogueReport(Body):
    item_num: U32 = f("资源目录项总数", "number of items", default=0)
    item_list: Annotated[list[CatalogueItem], ListOf(by="item_num")] = f("资源目录项列表", "items")


@message(0x9900, 0x9901, "主动上传音视频资源目录信息应答", "Answer to an unasked catalogue", "DOWN_FILELIST_MSG_ACK", ref=REF)
class CatalogueReportAnswer(Body):
    result: U8 = f("应答结果", "result", enum=RESULT)
    item_number: U8 = f("资源目录总数", "number of items", note="one byte: modulo 256")


@message(0x9A00, 0x9A01, "远程录像回放请求", "Playback request", "DOWN_PLAYBACK_MSG_STARTUP", ref=REF, reply=(0x1A00, 0x1A01))
class PlaybackRequest(Body):
    channel_id: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    avitem_type: U8 = f("音视频类型", "what", enum=AV_ITEMS)
    stream_type: U8 = f("码流类型", "stream", enum=STREAMS)
    mem_type: U8 = f("存储器类型", "storage", enum=STORAGE)
    playback_start_time: UnixTime = f("回放起始时间", unit="s UTC")
    playback_end_time: UnixTime = f("回放结束时间", unit="s UTC")
    authorize_code: _Password = f("时效口令", "time-efficient password", secret=True)
    gnss_data: _Gnss | None = f("车辆进入跨域地区后5min之内任一位置", "a position in the other region", optional=True, default=None)


@message(0x1A00, 0x1A01, "远程录像回放请求应答", "Answer to a playback request", "UP_PLAYBACK_MSG_STARTUP_ACK", ref=REF, note="the result stands last")
class PlaybackAnswer(Body):
    server_ip: Annotated[str, Fixed(32)] = f("企业视频服务器IP地址", "media server's address", default="")
    server_port: U16 = f("企业视频服务器端口号", "media server's port", default=0)
    result: U8 = f("应答结果", "result", enum=RESULT_WITH_CHECKS)


@message(0x9A00, 0x9A02, "远程录像回放控制", "Playback control", "DOWN_PLAYBACK_MSG_CONTROL", ref=REF, reply=(0x1A00, 0x1A02))
class PlaybackControl(Body):
    control_type: U8 = f("控制类型", "control", enum=CONTROL)
    fast_time: U8 = f("快进或倒退倍数", "speed", enum=SPEEDS, default=0)
    date_time: UnixTime = f("拖动位置", "seek to", unit="s UTC", default=0)


@message(0x1A00, 0x1A02, "远程录像回放控制应答", "Answer to playback control", "UP_PLAYBACK_MSG_CONTROL_ACK", ref=REF)
class PlaybackControlAnswer(Body):
    result: U8 = f("应答结果", "result", enum=RESULT)


@message(0x9B00, 0x9B01, "远程录像下载请求", "Download request", "DOWN_DOWNLOAD_MSG_STARTUP", ref=REF, reply=(0x1B00, 0x1B01))
class DownloadRequest(Body):
    channel_id: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    start_time: UnixTime = f("开始时间", unit="s UTC")
    end_time: UnixTime = f("结束时间", unit="s UTC")
    alarm_type: U64 = f("报警类型", "alarm words")
    avitem_type: U8 = f("音视频类型", "what", enum=AV_ITEMS)
    stream_type: U8 = f("码流类型", "stream", enum=STREAMS)
    mem_type: U8 = f("存储器类型", "storage", enum=STORAGE)
    file_size: U32 = f("文件大小", unit="bytes")
    authorize_code: _Password = f("时效口令", "time-efficient password", secret=True)
    gnss_data: _Gnss | None = f("车辆进入跨域地区后5min之内任一位置", "a position in the other region", optional=True, default=None)


@message(0x1B00, 0x1B01, "远程录像下载请求应答", "Answer to a download request", "UP_DOWNLOAD_MSG_STARTUP_ACK", ref=REF)
class DownloadAnswer(Body):
    result: U8 = f("应答结果", "result", enum=RESULT_WITH_CHECKS)
    session_id: U16 = f("对应平台文件上传消息的流水号", "session", default=0)


@message(0x1B00, 0x1B02, "远程录像下载完成通知", "Download ready", "UP_DOWNLOAD_MSG_END_INFORM", ref=REF, reply=(0x9B00, 0x9B02))
class DownloadReady(Body):
    result: U8 = f("应答结果", "result", enum={0: "success (成功)", 1: "failure (失败)"})
    session_id: U16 = f("对应平台文件上传消息的流水号", "session")
    server_ip: Annotated[str, Fixed(32)] = f("FTP服务器IP地址", "FTP server", default="")
    tcp_port: U16 = f("FTP服务器端口", "FTP port", default=0)
    username: Annotated[str, Fixed(49)] = f("FTP用户名", "FTP user", default="")
    password: Annotated[str, Fixed(22)] = f("FTP密码", "FTP password", default="", secret=True)
    file_path: Annotated[str, Fixed(200)] = f("文件存储路径", "path", default="")


@message(
    0x9B00,
    0x9B02,
    "远程录像下载完成通知应答",
    "Answer to download ready",
    "UP_DOWNLOAD_MSG_END_INFORM_ACK",
    ref=REF,
    note="the standard prints UP_ although it goes down",
)
class DownloadReadyAnswer(Body):
    result: U8 = f("应答结果", "result", enum=RESULT)
    session_id: U16 = f("对应平台文件上传消息的流水号", "session")


@message(0x9B00, 0x9B03, "远程录像下载控制", "Download control", "DOWN_DOWNLOAD_MSG_CONTROL", ref=REF, reply=(0x1B00, 0x1B03))
class DownloadControl(Body):
    session_id: U16 = f("对应平台文件上传消息的流水号", "session")
    type: U8 = f("下载控制", "control", enum={0: "pause (暂停)", 1: "resume (继续)", 2: "cancel (取消)"})


@message(0x1B00, 0x1B03, "远程录像下载控制应答", "Answer to download control", "UP_DOWNLOAD_MSG_CONTROL_ACK", ref=REF)
class DownloadControlAnswer(Body):
    result: U8 = f("应答结果", "result", enum=RESULT)
