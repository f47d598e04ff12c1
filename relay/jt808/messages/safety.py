"""Messages of active safety: fetching the attachments of an alarm, progress of an upgrade (T/JSATL 12-2017, T/GDRTA 002-2020).

0x9208 and its 0x0001 go over the signalling link; 0x1210, 0x1211, 0x1212 and 0x9212 over a connection of their own, between the chunks of the
files (``relay.jt808.attachment``). Widths of alarm id and terminal id differ with the dialect; the bodies tell them by their length.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from relay.jt808.messages.base import Body, message
from relay.jt808.messages.parameters import UPGRADE_TYPES
from relay.jt808.safety import AlarmSign, SignCodec, WideAlarmSign
from relay.wire import U8, U16, U32, Blob, Bytes, Codec, Counted8, Fault, FieldError, Fixed, RawText, Record, Str8, f, read_padded
from relay.wire.codecs import encode_text

if TYPE_CHECKING:
    from relay.wire.dump import Walk
    from relay.wire.record import FieldInfo

REF = "T/JSATL 12-2017"

#: what stands behind the alarm id in a 0x9208: 报警编号 and 16 reserved bytes
_BEHIND_9208 = 48


@message(0x9208, "报警附件上传指令", "Upload the attachments of an alarm", reply=0x0001, ref=REF)
class AttachmentRequest(Body):
    server_address: Str8 = f("附件服务器地址", "attachment server")
    tcp_port: U16 = f("附件服务器TCP端口号", "TCP port")
    udp_port: U16 = f("附件服务器UDP端口号", "UDP port", default=0)
    #: the bytes of the alarm item, handed back as they came
    alarm_sign: Annotated[AlarmSign, SignCodec(_BEHIND_9208)] = f("报警标识号", "alarm id (key)")
    alarm_number: Annotated[str, Fixed(32)] = f("报警编号", "alarm number", note="given by the platform, unique", secret=True)
    reserved: Annotated[bytes, Blob(16)] = f("预留", default=bytes(16))


class AttachmentFile(Record):
    file_name: Str8 = f("文件名称")
    file_size: U32 = f("文件大小", unit="bytes")


#: (terminal id, alarm id) of the dialects in the order in which they are tried: 苏, 粤, 川, 黑, 川 with a 2013 header
LIST_WIDTHS = ((7, 16), (30, 40), (30, 39), (0, 38), (30, 16))


def list_widths(data: bytes) -> tuple[int, int] | None:
    """The widths with which a 0x1210 comes out even, None if there are none."""
    for terminal, sign in LIST_WIDTHS:
        pos = terminal + sign + 32 + 1
        if pos >= len(data):
            continue
        left = data[pos]
        pos += 1
        while left and pos < len(data):
            pos += 1 + data[pos] + 4
            left -= 1
        if not left and pos == len(data):
            return terminal, sign
    return None


class _ListSign(SignCodec):
    """The alarm id of a 0x1210, whose size follows from the whole body."""

    def size(self, data: bytes, pos: int, end: int, record: Record) -> int:
        widths = list_widths(data[:end])
        if widths is None:
            raise Fault(pos, "no dialect's widths use up the body exactly")
        return widths[1]


class _ListTerminal(Codec):
    """The terminal id in front of it, 7 or 30 bytes, or none (黑标)."""

    nullable = True

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        widths = list_widths(data[:end])
        if widths is None:
            raise Fault(pos, "no dialect's widths use up the body exactly")
        size, sign = widths
        raw = data[pos : pos + size]
        if (size, sign) == LIST_WIDTHS[-1]:
            # only the id itself tells this dialect from the first one
            return RawText.of(read_padded(raw), raw), pos + size
        return (read_padded(raw) if size else None), pos + size

    def write(self, value: Any, out: bytearray, record: Any) -> None:
        raw = encode_text(value)
        size = 30 if isinstance(record.alarm_sign, WideAlarmSign) or len(raw) > 7 else 7
        if len(raw) > size:
            raise FieldError("", f"needs {len(raw)} bytes, the field has {size}")
        out += raw.ljust(size, b"\0")

    def to_fields(self, value: Any) -> Any:
        return str(value)

    def from_fields(self, value: Any, edition: int) -> Any:
        if not isinstance(value, str):
            raise FieldError("", f"must be text, not {value!r}")
        encode_text(value)
        return value

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        value, stop = self.read(data, pos, end, record)
        if stop > pos:
            walk.row(pos, data[pos:stop], path, info, value, self)
        return value, stop

    def describe(self) -> str:
        return "STRING[7] or STRING[30]"


@message(0x1210, "报警附件信息消息", "Alarm and list of its files", reply=0x8001, ref=REF)
class AttachmentList(Body):
    terminal_id: Annotated[str, _ListTerminal()] | None = f("终端ID", "terminal id", default=None)
    alarm_sign: Annotated[AlarmSign, _ListSign()] = f("报警标识号", "alarm id (key)")
    alarm_number: Annotated[str, Fixed(32)] = f("报警编号", "alarm number", secret=True)
    info_type: U8 = f("信息类型", enum={0: "first sending (正常报警文件信息)", 1: "re-sent list (补传报警文件信息)"})
    files: Counted8[AttachmentFile] = f("附件信息列表", "files")


#: file types; 4 and 5 differ between the dialects
FILE_TYPES = {
    0: "picture (图片)",
    1: "audio (音频)",
    2: "video (视频)",
    3: "text (文本)",
    4: "other (其它); 粤: face picture (面部特征图片)",
    5: "粤: other (其它)",
}


class _FileMessage(Body):
    file_name: Str8 = f("文件名称")
    file_type: U8 = f("文件类型", enum=FILE_TYPES)
    file_size: U32 = f("文件大小", unit="bytes")


@message(0x1211, "文件信息上传", "One file is about to come", reply=0x8001, ref=REF)
class FileBegin(_FileMessage):
    pass


@message(0x1212, "文件上传完成消息", "File sent", reply=0x9212, ref=REF)
class FileEnd(_FileMessage):
    pass


class Range(Record):
    offset: U32 = f("数据偏移量", unit="bytes")
    length: U32 = f("数据长度", unit="bytes")


@message(0x9212, "文件上传完成消息应答", "File complete, or ranges to send again", ref=REF)
class FileEndResponse(Body):
    file_name: Str8 = f("文件名称")
    file_type: U8 = f("文件类型", enum=FILE_TYPES)
    upload_result: U8 = f("上传结果", enum={0: "complete (完成)", 1: "send again (需要补传)"})
    ranges: Counted8[Range] = f("补传数据包列表", "ranges", default_factory=list)


@message(0x1FC4, "终端升级进度上报", "Upgrade progress", reply=0x8001, ref="T/GDRTA 002-2020", since=2019)
class UpgradeProgress(Body):
    reply_serial: U16 = f("应答流水号", "serial of the upgrade command")
    upgrade_type: U8 = f("升级类型", enum=UPGRADE_TYPES)
    upgrade_state: U8 = f(
        "升级状态",
        enum={
            1: "downloading",
            2: "downloaded",
            3: "download failed",
            4: "installing",
            5: "installed",
            6: "install failed",
            7: "no device",
            8: "wrong hardware",
            9: "same version",
            10: "wrong version",
            11: "other",
        },
    )
    progress: U8 = f("升级进度", unit="%")
    error_code: U8 = f("错误码")


# peripherals: 0x8900 and 0x0900 of types 0xF7 and 0xF8

PERIPHERAL_STATE = 0xF7
PERIPHERAL_INFO = 0xF8

PERIPHERALS = {0x64: "ADAS", 0x65: "driver monitoring (DSM)", 0x66: "tyre pressure (TPMS)", 0x67: "blind spot (BSD)"}


class PeripheralState(Record):
    work_state: U8 = f(
        "工作状态",
        enum={1: "working (正常工作)", 2: "standby (待机)", 3: "upgrading (升级维护)", 4: "fault (设备异常)", 16: "disconnected (断开连接)"},
    )
    fault_flags: U32 = f(
        "报警状态",
        bits={
            0: "camera (摄像头异常)",
            1: "main storage (主存储器异常)",
            2: "second storage (辅存储器异常)",
            3: "infrared light (红外补光异常)",
            4: "speaker (扬声器异常)",
            5: "battery (电池异常)",
            10: "communication module (通讯模块异常)",
            11: "positioning module (定位模块异常)",
        },
    )


class PeripheralInfo(Record):
    company: Str8 = f("公司名称")
    product: Str8 = f("产品型号")
    hardware_version: Str8 = f("硬件版本号")
    software_version: Str8 = f("软件版本号")
    device_id: Str8 = f("设备ID")
    customer_code: Str8 = f("客户代码")


def read_peripherals(kind: int, data: bytes) -> list[dict[str, Any]] | None:
    """The peripherals in the content of a 0x0900, each with its bytes and, where the layout fits, its fields; None if it is no such list."""
    if kind not in (PERIPHERAL_STATE, PERIPHERAL_INFO) or not data:
        return None
    cls: type[Record] = PeripheralState if kind == PERIPHERAL_STATE else PeripheralInfo
    found = []
    pos = 1
    for _ in range(data[0]):
        if pos + 2 > len(data) or pos + 2 + data[pos + 1] > len(data):
            return None
        id, size = struct.unpack_from(">BB", data, pos)
        content = data[pos + 2 : pos + 2 + size]
        one: dict[str, Any] = {"id": id, "raw": content.hex()}
        record = cls.__new__(cls)
        record.edition, record.trailing = 2013, b""
        try:
            if cls.plan(2013).fill(record, content, 0, size) == size:
                one.update(record.fields())
        except Fault:
            pass
        found.append(one)
        pos += 2 + size
    return found if pos == len(data) else None


class Peripherals(Bytes):
    """The content of a passthrough message: bytes, and for people the peripherals in it where the type says so."""

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Any) -> tuple[Any, int]:
        known = read_peripherals(record.type, data[pos:end])
        if known is None:
            return super().show(walk, info, path, data, pos, end, record)
        walk.heading(pos, data[pos : pos + 1], path, info, self, f"{len(known)} peripherals")
        at = pos + 1
        cls: type[Record] = PeripheralState if record.type == PERIPHERAL_STATE else PeripheralInfo
        with walk.deeper():
            for one in known:
                stop = at + 2 + data[at + 1]
                name = f("外设", PERIPHERALS.get(one["id"], "peripheral"))
                walk.heading(at, data[at : at + 2], path, name, self, f"0x{one['id']:02X}, {stop - at - 2} bytes")
                with walk.deeper():
                    if len(one) > 2:
                        inner = cls.__new__(cls)
                        inner.edition, inner.trailing = record.edition, b""
                        walk.fields(inner, data, at + 2, stop, path)
                    else:
                        walk.rest(at + 2, data[at + 2 : stop], path)
                at = stop
        return data[pos:end], end


def read_peripheral_ids(kind: int, data: bytes) -> list[int] | None:
    """The peripherals that a 0x8900 asks for, None if it asks for something else."""
    if kind not in (PERIPHERAL_STATE, PERIPHERAL_INFO) or not data or len(data) != 1 + data[0]:
        return None
    return list(data[1:])


def without(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """``fields`` without a name that only explains what another holds."""
    return {key: value for key, value in fields.items() if key != name} if isinstance(fields, Mapping) else fields
