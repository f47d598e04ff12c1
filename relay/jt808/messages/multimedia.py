"""Photos, sound and short films kept or taken by the terminal (JT/T 808 clauses 8.50 to 8.61)."""

from __future__ import annotations

from typing import Annotated

from relay.jt808.messages.base import Body, message
from relay.jt808.messages.location import BaseLocation
from relay.wire import U8, U16, U32, BytesRest, Counted8, Counted16, Is, ListOf, Record, Time6, f

MEDIA_TYPES = {0: "image (图像)", 1: "audio (音频)", 2: "video (视频)"}
MEDIA_FORMATS = {0: "JPEG", 1: "TIF", 2: "MP3", 3: "WAV", 4: "WMV"}
EVENT_CODES = {
    0: "platform command (平台下发指令)",
    1: "timed (定时动作)",
    2: "robbery alarm (抢劫报警触发)",
    3: "collision or rollover (碰撞侧翻报警触发)",
    4: "door open (门开拍照)",
    5: "door closed (门关拍照)",
    6: "door closed, passing 20 km/h (车门由开变关，车速从小于20公里到超过20公里)",
    7: "distance (定距拍照)",
}
SAVE_FLAGS = {0: "upload in real time (实时上传)", 1: "store (保存)"}


class _Media(Body):
    media_id: U32 = f("多媒体数据ID", "multimedia id")
    media_type: U8 = f("多媒体类型", enum=MEDIA_TYPES)
    media_format: U8 = f("多媒体格式编码", enum=MEDIA_FORMATS)
    event_code: U8 = f("事件项编码", enum=EVENT_CODES)
    channel_id: U8 = f("通道ID", "channel")


@message(0x0800, "多媒体事件信息上传", "Multimedia event", reply=0x8001)
class MultimediaEvent(_Media):
    pass


@message(0x0801, "多媒体数据上传", "Multimedia data upload", reply=0x8800, note="nearly always sub-packaged")
class MultimediaData(_Media):
    location: BaseLocation | None = f("位置信息汇报", "location", since=2013, default=None)
    #: 2011 cuts the data by itself
    package_total: U32 | None = f("包总数", "packages", until=2011, default=None)
    package_id: U32 | None = f("包ID", "this package", until=2011, default=None)
    data: BytesRest = f("多媒体数据包", "media")


@message(0x8800, "多媒体数据上传应答", "Multimedia upload response")
class MultimediaResponse(Body):
    """Four bytes say that everything arrived; otherwise the pieces to send again are listed."""

    reply_serial: U16 | None = f("应答流水号", "serial of the message answered", until=2011, default=None)
    media_id: U32 = f("多媒体ID", "multimedia id")
    package_ids: Counted8[U16] | None = f("重传包ID列表", "pieces to send again", optional=True, default=None)


@message(0x8801, "摄像头立即拍摄命令", "Take photo or record now", reply=(0x0805, 0x0001))
class TakePhoto(Body):
    channel_id: U8 = f("通道ID", "channel")
    command: U16 = f("拍摄命令", note="0 stop, 65535 record, else number of photos")
    interval: U16 = f("拍照间隔/录像时间", "interval or recording time", unit="s", default=0)
    save_flag: U8 = f("保存标志", enum=SAVE_FLAGS, default=0)
    resolution: U8 = f(
        "分辨率",
        default=1,
        enum={
            0: "lowest (2019)", 1: "320×240", 2: "640×480", 3: "800×600", 4: "1024×768", 5: "176×144", 6: "352×288", 7: "704×288",
            8: "704×576", 255: "highest (2019)",
        },
    )  # fmt: skip
    quality: U8 = f("图像/视频质量", note="1 best … 10", default=1)
    brightness: U8 = f("亮度", default=128)
    contrast: U8 = f("对比度", default=64)
    saturation: U8 = f("饱和度", default=64)
    chroma: U8 = f("色度", default=128)


@message(0x0805, "摄像头立即拍摄命令应答", "Take-photo response", since=2013)
class TakePhotoResponse(Body):
    reply_serial: U16 = f("应答流水号", "serial of the request answered")
    result: U8 = f("结果", enum={0: "ok", 1: "failure", 2: "channel not supported"})
    media_ids: Counted16[U32] | None = f("多媒体ID列表", "multimedia ids", when=Is("result", 0), optional=True, default=None)


class _Search(Body):
    media_type: U8 = f("多媒体类型", enum=MEDIA_TYPES)
    channel_id: U8 = f("通道ID", "channel", note="0 = all")
    event_code: U8 = f("事件项编码", enum=EVENT_CODES)
    start_time: Time6 = f("起始时间", default="000000000000")
    end_time: Time6 = f("结束时间", default="000000000000")


@message(0x8802, "存储多媒体数据检索", "Search stored multimedia", reply=0x0802)
class MultimediaSearch(_Search):
    pass


class StoredMultimedia(Record):
    """35 bytes, 31 in 2011."""

    media_id: U32 | None = f("多媒体ID", "multimedia id", since=2013, default=None)
    media_type: U8 = f("多媒体类型", enum=MEDIA_TYPES)
    channel_id: U8 = f("通道ID", "channel")
    event_code: U8 = f("事件项编码", enum=EVENT_CODES)
    location: BaseLocation = f("位置信息汇报", "location")


@message(0x0802, "存储多媒体数据检索应答", "Stored multimedia search response")
class MultimediaSearchResponse(Body):
    reply_serial: U16 = f("应答流水号", "serial of the request answered")
    total_count: U16 | None = f("多媒体数据总项数", "matches in all packages", until=2011, default=None)
    #: the count is of all matches, so in a part of a long answer it is larger than the list
    items: Annotated[list[StoredMultimedia], ListOf("H", rest=True)] = f("检索项", "matches")

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        """Items of 35 bytes from offset 4, or of 31 from offset 6 (2011), by what comes out even with the announced count."""
        size = len(data)
        if size >= 4 and size - 4 == 35 * int.from_bytes(data[2:4], "big"):
            return max(edition, 2013)
        if size >= 6 and size - 6 == 31 * int.from_bytes(data[4:6], "big"):
            return 2011
        return edition


@message(0x8803, "存储多媒体数据上传命令", "Upload stored multimedia", reply=(0x0001, 0x0801))
class MultimediaUpload(_Search):
    delete_flag: U8 = f("删除标志", enum={0: "keep (保留)", 1: "delete after upload (删除)"}, default=0)


@message(0x8804, "录音开始命令", "Audio recording command", reply=0x0001, note="not inherited by JT/T 1078 terminals")
class RecordAudio(Body):
    command: U8 = f("录音命令", enum={0: "stop (停止录音)", 1: "start (开始录音)"})
    duration: U16 = f("录音时间", unit="s", note="0 = endless")
    save_flag: U8 = f("保存标志", enum=SAVE_FLAGS)
    sample_rate: U8 = f("音频采样率", enum={0: "8 kHz", 1: "11 kHz", 2: "23 kHz", 3: "32 kHz"})


@message(0x8805, "单条存储多媒体数据检索上传命令", "Upload one stored item", reply=(0x0001, 0x0801), since=2013)
class SingleMultimediaUpload(Body):
    media_id: U32 = f("多媒体ID", "multimedia id")
    delete_flag: U8 = f("删除标志", enum={0: "keep (保留)", 1: "delete (删除)"}, default=0)
