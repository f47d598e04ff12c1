"""The signalling of JT/T 1078-2016: attributes, live, playback, file upload, pan-tilt-zoom.

Mind the codes: ``StreamType`` of 0x9101 and 0x9102 has 0 main, 1 sub; that of 0x9201, 0x9205, 0x9206 and 0x1205 (``StoredStream``) has 0 all,
1 main, 2 sub. ``AvDataType`` of 0x9101 and ``MediaType`` of the others differ too, and so do ``PlaybackMode`` and ``PlaybackControl``.
"""

from __future__ import annotations

import enum

from relay.jt808.items import ALARM_BITS, VIDEO_ALARM_BITS
from relay.jt808.messages.base import Body, message
from relay.wire import U8, U16, U32, U64, Counted32, Record, Str8, Time6, f

REF = "JT/T 1078-2016"

#: 音视频编码类型; also the payload types of the media packets
CODECS = {
    1: "G.721", 2: "G.722", 3: "G.723", 4: "G.728", 5: "G.729", 6: "G.711A", 7: "G.711U", 8: "G.726", 9: "G.729A", 10: "DVI4_3",
    11: "DVI4_4", 12: "DVI4_8K", 13: "DVI4_16K", 14: "LPC", 15: "S16BE_STEREO", 16: "S16BE_MONO", 17: "MPEGAUDIO", 18: "LPCM", 19: "AAC",
    20: "WMA9STD", 21: "HEAAC", 22: "PCM_VOICE", 23: "PCM_AUDIO", 24: "AACLC", 25: "MP3", 26: "ADPCMA", 27: "MP4AUDIO", 28: "AMR",
    91: "transparent data (透传)", 98: "H.264", 99: "H.265", 100: "AVS", 101: "SVAC",
}  # fmt: skip

#: 逻辑通道号, JT/T 1076-2016 table 2; many devices number their inputs regardless of place
CHANNELS = {
    1: "driver", 2: "ahead of the vehicle", 3: "front door", 4: "front of the compartment", 5: "rear of the compartment", 6: "rear door",
    7: "luggage hold", 8: "left side", 9: "right side", 10: "behind the vehicle", 11: "middle of the compartment", 12: "middle door",
    13: "driver's door", 33: "driver (audio)", 36: "front of the compartment (audio)", 37: "rear of the compartment (audio)",
}  # fmt: skip
_CHANNELS_OR_ALL = {0: "all", **CHANNELS}

#: 64 bits: the alarm word of JT/T 808 below, the video alarm word above
ALARM64_BITS = {**ALARM_BITS, **{bit + 32: text for bit, text in VIDEO_ALARM_BITS.items()}}


class AvDataType(enum.IntEnum):
    """数据类型 of 0x9101."""

    AUDIO_VIDEO = 0
    VIDEO = 1
    TALK = 2
    LISTEN = 3
    BROADCAST = 4
    PASSTHROUGH = 5


class StreamType(enum.IntEnum):
    """码流类型 of 0x9101 and 0x9102."""

    MAIN = 0
    SUB = 1


class AvCommand(enum.IntEnum):
    """控制指令 of 0x9102."""

    CLOSE = 0
    SWITCH_STREAM = 1
    PAUSE = 2
    RESUME = 3
    CLOSE_TALK = 4


class CloseType(enum.IntEnum):
    """关闭音视频类型 of 0x9102."""

    AUDIO_VIDEO = 0
    AUDIO = 1
    VIDEO = 2


class MediaType(enum.IntEnum):
    """音视频资源类型 of 0x9201, 0x9205, 0x9206 and 0x1205."""

    AUDIO_VIDEO = 0
    AUDIO = 1
    VIDEO = 2
    VIDEO_OR_AUDIO_VIDEO = 3


class StoredStream(enum.IntEnum):
    """码流类型 of stored media."""

    ALL = 0
    MAIN = 1
    SUB = 2


class StorageType(enum.IntEnum):
    """存储器类型."""

    ALL = 0
    MAIN = 1
    BACKUP = 2


AV_DATA_TYPES = {
    AvDataType.AUDIO_VIDEO: "audio and video (音视频)",
    AvDataType.VIDEO: "video (视频)",
    AvDataType.TALK: "two-way talk (双向对讲)",
    AvDataType.LISTEN: "listen-in (监听)",
    AvDataType.BROADCAST: "broadcast (中心广播)",
    AvDataType.PASSTHROUGH: "passthrough (透传)",
}
STREAM_TYPES = {StreamType.MAIN: "main stream (主码流)", StreamType.SUB: "sub stream (子码流)"}
AV_COMMANDS = {
    AvCommand.CLOSE: "stop (关闭音视频传输指令)",
    AvCommand.SWITCH_STREAM: "switch the stream (切换码流)",
    AvCommand.PAUSE: "pause all streams of the channel (暂停该通道所有流的发送)",
    AvCommand.RESUME: "resume (恢复暂停前流的发送)",
    AvCommand.CLOSE_TALK: "end the talk (关闭双向对讲)",
}
CLOSE_TYPES = {
    CloseType.AUDIO_VIDEO: "audio and video (音视频)",
    CloseType.AUDIO: "the sound only (只关闭音频)",
    CloseType.VIDEO: "the picture only (只关闭视频)",
}
MEDIA_TYPES = {
    MediaType.AUDIO_VIDEO: "audio and video (音视频)",
    MediaType.AUDIO: "audio (音频)",
    MediaType.VIDEO: "video (视频)",
    MediaType.VIDEO_OR_AUDIO_VIDEO: "video, or audio and video (视频或音视频)",
}
STORED_STREAMS = {StoredStream.ALL: "all (所有码流)", StoredStream.MAIN: "main stream (主码流)", StoredStream.SUB: "sub stream (子码流)"}
STORAGE_TYPES = {StorageType.ALL: "all (所有存储器)", StorageType.MAIN: "main storage (主存储器)", StorageType.BACKUP: "backup storage (灾备存储器)"}


class PlaybackMode(enum.IntEnum):
    """回放方式 of 0x9201."""

    NORMAL = 0
    FAST_FORWARD = 1
    KEYFRAME_REWIND = 2
    KEYFRAMES = 3
    SINGLE_FRAME = 4


class PlaybackControlCode(enum.IntEnum):
    """回放控制 of 0x9202."""

    START = 0
    PAUSE = 1
    END = 2
    FAST_FORWARD = 3
    KEYFRAME_REWIND = 4
    SEEK = 5
    KEYFRAMES = 6


PLAYBACK_MODES = {
    PlaybackMode.NORMAL: "normal (正常回放)",
    PlaybackMode.FAST_FORWARD: "fast forward (快进回放)",
    PlaybackMode.KEYFRAME_REWIND: "rewind by key frames (关键帧快退回放)",
    PlaybackMode.KEYFRAMES: "key frames (关键帧播放)",
    PlaybackMode.SINGLE_FRAME: "upload a single frame (单帧上传)",
}
PLAYBACK_CONTROLS = {
    PlaybackControlCode.START: "start (开始回放)",
    PlaybackControlCode.PAUSE: "pause (暂停回放)",
    PlaybackControlCode.END: "end (结束回放)",
    PlaybackControlCode.FAST_FORWARD: "fast forward (快进回放)",
    PlaybackControlCode.KEYFRAME_REWIND: "rewind by key frames (关键帧快退回放)",
    PlaybackControlCode.SEEK: "seek (拖动回放)",
    PlaybackControlCode.KEYFRAMES: "key frames (关键帧播放)",
}
#: 快进或快退倍数
SPEEDS = {0: "none", 1: "1×", 2: "2×", 3: "4×", 4: "8×", 5: "16×"}

NO_TIME = "000000000000"


@message(0x9003, "查询终端音视频属性", "Query AV attributes", reply=0x1003, ref=REF)
class AvAttributesQuery(Body):
    pass


@message(0x1003, "终端上传音视频属性", "AV attributes upload", ref=REF, note="no reply serial: matched by its id")
class AvAttributes(Body):
    audio_encoding: U8 = f("输入音频编码方式", "audio codec", enum=CODECS)
    audio_channels: U8 = f("输入音频声道数", "audio channels")
    audio_sample_rate: U8 = f("输入音频采样率", "audio sample rate", enum={0: "8 kHz", 1: "22.05 kHz", 2: "44.1 kHz", 3: "48 kHz"})
    audio_sample_bits: U8 = f("输入音频采样位数", "audio sample bits", enum={0: "8 bit", 1: "16 bit", 2: "32 bit"})
    audio_frame_length: U16 = f("音频帧长度", unit="bytes")
    audio_output_supported: U8 = f("是否支持音频输出", enum={0: "no", 1: "yes"})
    video_encoding: U8 = f("视频编码方式", "video codec", enum=CODECS)
    max_audio_channels: U8 = f("终端支持的最大音频物理通道数量", "physical audio channels")
    max_video_channels: U8 = f("终端支持的最大视频物理通道数量", "physical video channels")


@message(0x1005, "终端上传乘客流量", "Passenger flow upload", reply=0x8001, ref=REF)
class PassengerFlow(Body):
    start_time: Time6 = f("起始时间")
    end_time: Time6 = f("结束时间")
    boarding_count: U16 = f("从起始时间到结束时间的上车人数", "passengers boarding")
    alighting_count: U16 = f("从起始时间到结束时间的下车人数", "passengers alighting")


@message(0x9101, "实时音视频传输请求", "Real-time AV request", reply=0x0001, ref=REF)
class RealtimeAvRequest(Body):
    server_ip: Str8 = f("服务器IP地址", "server address")
    tcp_port: U16 = f("服务器TCP端口号", "TCP port", note="0 = not used")
    udp_port: U16 = f("服务器UDP端口号", "UDP port", note="0 = not used", default=0)
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    data_type: U8 = f("数据类型", enum=AV_DATA_TYPES, default=AvDataType.AUDIO_VIDEO)
    stream_type: U8 = f("码流类型", enum=STREAM_TYPES, default=StreamType.MAIN)


@message(0x9102, "音视频实时传输控制", "Real-time AV control", reply=0x0001, ref=REF)
class RealtimeAvControl(Body):
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    command: U8 = f("控制指令", enum=AV_COMMANDS)
    close_type: U8 = f("关闭音视频类型", enum=CLOSE_TYPES, default=CloseType.AUDIO_VIDEO, note="for command 0")
    stream_type: U8 = f("切换码流类型", enum=STREAM_TYPES, default=StreamType.MAIN, note="for command 1")


@message(0x9105, "实时音视频传输状态通知", "Real-time AV status notice", reply=0x0001, ref=REF, note="many terminals do not answer it")
class RealtimeAvStatus(Body):
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    packet_loss_rate: U8 = f("丢包率", unit="%")


@message(0x9205, "查询资源列表", "Query AV resource list", reply=0x1205, ref=REF)
class ResourceQuery(Body):
    channel: U8 = f("逻辑通道号", "logical channel", enum=_CHANNELS_OR_ALL)
    start_time: Time6 = f("开始时间", default=NO_TIME)
    end_time: Time6 = f("结束时间", default=NO_TIME)
    alarm_flags: U64 = f("报警标志", "alarm words", bits=ALARM64_BITS, default=0)
    media_type: U8 = f("音视频资源类型", enum=MEDIA_TYPES, default=MediaType.VIDEO_OR_AUDIO_VIDEO)
    stream_type: U8 = f("码流类型", enum=STORED_STREAMS, default=StoredStream.ALL)
    storage_type: U8 = f("存储器类型", enum=STORAGE_TYPES, default=StorageType.ALL)


class Resource(Record):
    """One recording: 28 bytes."""

    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    start_time: Time6 = f("开始时间")
    end_time: Time6 = f("结束时间")
    alarm_flags: U64 = f("报警标志", "alarm words", bits=ALARM64_BITS, default=0)
    media_type: U8 = f("音视频资源类型", enum=MEDIA_TYPES)
    stream_type: U8 = f("码流类型", enum=STORED_STREAMS)
    storage_type: U8 = f("存储器类型", enum=STORAGE_TYPES)
    file_size: U32 = f("文件大小", unit="bytes")


@message(0x1205, "终端上传音视频资源列表", "AV resource list", reply=0x8001, ref=REF)
class ResourceList(Body):
    reply_serial: U16 = f("应答流水号", "serial of the 0x9205 or 0x9201 answered")
    resources: Counted32[Resource] = f("音视频资源列表", "recordings")


@message(0x9201, "平台下发远程录像回放请求", "Playback request", reply=(0x1205, 0x0001), ref=REF)
class PlaybackRequest(Body):
    """The standard wants 0x1205 for an answer; many terminals send 0x0001 instead, or both."""

    server_ip: Str8 = f("服务器IP地址", "server address")
    tcp_port: U16 = f("服务器TCP端口号", "TCP port", note="0 = not used")
    udp_port: U16 = f("服务器UDP端口号", "UDP port", note="0 = not used", default=0)
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    media_type: U8 = f("音视频类型", enum=MEDIA_TYPES, default=MediaType.AUDIO_VIDEO)
    stream_type: U8 = f("码流类型", enum=STORED_STREAMS, default=StoredStream.ALL)
    storage_type: U8 = f("存储器类型", enum=STORAGE_TYPES, default=StorageType.ALL)
    playback_mode: U8 = f("回放方式", enum=PLAYBACK_MODES, default=PlaybackMode.NORMAL)
    playback_speed: U8 = f("快进或快退倍数", "speed", enum=SPEEDS, default=0, note="for modes 1 and 2")
    start_time: Time6 = f("开始时间")
    end_time: Time6 = f("结束时间", default=NO_TIME, note="zeros = play on")


@message(0x9202, "平台下发远程录像回放控制", "Playback control", reply=0x0001, ref=REF)
class PlaybackControl(Body):
    channel: U8 = f("音视频通道号", "channel", enum=CHANNELS)
    playback_control: U8 = f("回放控制", enum=PLAYBACK_CONTROLS)
    playback_speed: U8 = f("快进或快退倍数", "speed", enum=SPEEDS, default=0, note="for 3 and 4")
    seek_time: Time6 = f("拖动回放位置", default=NO_TIME, note="for 5")


@message(0x9206, "文件上传指令", "File upload command", reply=(0x0001, 0x1206), ref=REF)
class FileUpload(Body):
    server_address: Str8 = f("FTP服务器地址", "FTP server")
    port: U16 = f("FTP服务器端口号", "FTP port")
    username: Str8 = f("用户名", "FTP user")
    password: Str8 = f("密码", "FTP password", secret=True)
    path: Str8 = f("文件上传路径", "directory")
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    start_time: Time6 = f("开始时间")
    end_time: Time6 = f("结束时间")
    alarm_flags: U64 = f("报警标志", "alarm words", bits=ALARM64_BITS, default=0)
    media_type: U8 = f("音视频资源类型", enum=MEDIA_TYPES, default=MediaType.VIDEO_OR_AUDIO_VIDEO)
    stream_type: U8 = f("码流类型", enum=STORED_STREAMS, default=StoredStream.ALL)
    storage_type: U8 = f("存储位置", enum=STORAGE_TYPES, default=StorageType.ALL)
    conditions: U8 = f("任务执行条件", bits={0: "WIFI", 1: "LAN", 2: "3G/4G"}, default=7)


@message(0x1206, "文件上传完成通知", "File upload finished", reply=0x8001, ref=REF)
class FileUploadFinished(Body):
    reply_serial: U16 = f("应答流水号", "serial of the 0x9206")
    result: U8 = f("结果", enum={0: "ok", 1: "failure"})


class UploadCommand(enum.IntEnum):
    """上传控制 of 0x9207."""

    PAUSE = 0
    RESUME = 1
    CANCEL = 2


UPLOAD_COMMANDS = {UploadCommand.PAUSE: "pause (暂停)", UploadCommand.RESUME: "resume (继续)", UploadCommand.CANCEL: "cancel (取消)"}


@message(0x9207, "文件上传控制", "File upload control", reply=0x0001, ref=REF)
class FileUploadControl(Body):
    reply_serial: U16 = f("应答流水号", "serial of the 0x9206 to control")
    command: U8 = f("上传控制", enum=UPLOAD_COMMANDS)



class Direction(enum.IntEnum):
    """方向 of 0x9301."""

    STOP = 0
    UP = 1
    DOWN = 2
    LEFT = 3
    RIGHT = 4


DIRECTIONS = {
    Direction.STOP: "stop (停止)",
    Direction.UP: "up (上)",
    Direction.DOWN: "down (下)",
    Direction.LEFT: "left (左)",
    Direction.RIGHT: "right (右)",
}


@message(0x9301, "云台旋转", "PTZ rotate", reply=0x0001, ref=REF)
class PtzRotate(Body):
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    direction: U8 = f("方向", enum=DIRECTIONS)
    speed: U8 = f("速度", default=0)


@message(0x9302, "云台调整焦距控制", "PTZ focus", reply=0x0001, ref=REF)
class PtzFocus(Body):
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    focus_direction: U8 = f("焦距调整方向", enum={0: "increase (焦距调大)", 1: "decrease (焦距调小)"})


@message(0x9303, "云台调整光圈控制", "PTZ iris", reply=0x0001, ref=REF)
class PtzIris(Body):
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    iris_direction: U8 = f("光圈调整方式", enum={0: "open (调大)", 1: "close (调小)"})


_SWITCH = {0: "stop (停止)", 1: "start (启动)"}


@message(0x9304, "云台雨刷控制", "PTZ wiper", reply=0x0001, ref=REF)
class PtzWiper(Body):
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    switch: U8 = f("启停标识", enum=_SWITCH)


@message(0x9305, "红外补光控制", "Infrared light", reply=0x0001, ref=REF)
class PtzLight(Body):
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    switch: U8 = f("启停标识", enum=_SWITCH)


@message(0x9306, "云台变倍控制", "PTZ zoom", reply=0x0001, ref=REF)
class PtzZoom(Body):
    channel: U8 = f("逻辑通道号", "logical channel", enum=CHANNELS)
    zoom_direction: U8 = f("变倍控制", enum={0: "zoom in (调大)", 1: "zoom out (调小)"})
