"""What all JT/T 809 messages have in common, the register of them, and the blocks that several use.

A message is known by (业务数据类型, 子业务类型标识): ``(0x9800, 0x9801)``; link messages without a sub-business by ``(0x1001, 0)``. Editions are
2011 and 2019; years beside them name dialects that are told by a body's length (``VARIANT`` and the like), so that what was read is written the same way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from relay.wire import U8, U16, U32, U64, Bytes, Fixed, Message, Nested, RawText, Record, Registry, f, read_text
from relay.wire.codecs import encode_text, from_hex

M = TypeVar("M", bound="Body")

#: time (8): UTC seconds since 1970
UnixTime = U64

#: 2011 as its supplement (补充协议) has it, and 2019 as a dialect has it
SUPPLEMENT = 2012
VARIANT = 2020

RESULT = {0: "success (成功)", 1: "failure (失败)", 2: "not supported (不支持)", 3: "session ended (会话结束)"}
RESULT_WITH_CHECKS = {**RESULT, 4: "time-efficient password wrong (时效口令错误)", 5: "cross-domain condition not met (不满足跨域条件)"}
PLATE_COLORS = {
    1: "blue (蓝)", 2: "yellow (黄)", 3: "black (黑)", 4: "white (白)", 5: "green (绿)", 9: "other (其他)", 91: "farm yellow (农黄)",
    92: "farm green (农绿)", 93: "yellow-green (黄绿)", 94: "gradient green (渐变绿)",
}  # fmt: skip


class Body(Message):
    """The fields of a link message, or of a sub-business behind its envelope."""

    DEFAULT_EDITION: ClassVar[int] = 2011

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        """Links mix headers of one edition with bodies of the other: a message of 2019 is always read as such, and where both editions have
        fixed sizes the size tells."""
        if cls.SINCE >= 2019:
            return max(edition, 2019)
        own, other = _width(cls, edition), 2011 if edition >= 2019 else 2019
        return other if own is not None and own != len(data) == _width(cls, other) else edition


@functools.cache
def _width(cls: type[Body], edition: int) -> int | None:
    """Bytes of a message if that is fixed."""
    return cls.plan(edition).width


MESSAGES: Registry[Body] = Registry("JT/T 809")


#: answers of link life have the range of what they answer, and go the other way
_LINK_ANSWERS = frozenset((0x1002, 0x1004, 0x1006, 0x9002, 0x9004, 0x9006))


def message(
    msg_id: int,
    sub_id: int,
    label: str,
    english: str,
    name: str,
    *,
    reply: tuple[int, int] | tuple[()] = (),
    since: int = 2011,
    ref: str = "JT/T 809",
    note: str = "",
) -> Callable[[type[M]], type[M]]:
    """Decorator: the class is what stands in ``msg_id`` (and its ``sub_id``, 0 for link messages)."""
    direction = "down" if (msg_id >= 0x9000) is not (msg_id in _LINK_ANSWERS) else "up"
    return MESSAGES.message((msg_id, sub_id), label, english, ref=ref, reply=(reply,) if reply else (), direction=direction, since=since, name=name, note=note)


class FixedOneOf(Fixed):
    """Fixed text whose width is told by what is left: ``tail`` bytes follow it. ``widths[0]`` is what we write ourselves."""

    def __init__(self, *widths: int, tail: int) -> None:
        super().__init__(widths[0])
        self.widths = widths
        self.tail = tail
        self.format = ""  # not part of a run: its width is not fixed

    def at(self, edition: int) -> FixedOneOf:
        return self

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        width = end - pos - self.tail
        if width not in self.widths or width == self.size:
            return super().read(data, pos, end, record)
        raw = data[pos : pos + width]
        return RawText.of(read_text(raw), raw), pos + width

    def recall(self, given: Any, memory: Mapping[str, Any], edition: int) -> Any:
        raw = from_hex(memory.get("raw", ""))
        return RawText.of(given, raw) if len(raw) in self.widths and read_text(raw) == given else self.from_fields(given, edition)

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        raw = encode_text(value)
        if isinstance(value, RawText) and len(raw) in self.widths:
            out += raw
        else:
            super().write(value, out, record)

    def describe(self) -> str:
        return " or ".join(f"STRING[{width}]" for width in self.widths)


class NestedAs(Nested):
    """A nested record that stays in another edition's layout: ``Annotated[Gnss, NestedAs({VARIANT: 2011})]``."""

    def __init__(self, editions: Mapping[int, int], cls: type[Record] = Record) -> None:
        super().__init__(cls)
        self.editions = editions

    def bind(self, inner: Any, edition: int) -> NestedAs:
        return NestedAs(self.editions, inner)

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        edition = self.editions.get(record.edition, record.edition)
        inner = self.cls.__new__(self.cls)
        inner.edition = edition
        inner.trailing = b""
        return inner, self.cls.plan(edition).fill(inner, data, pos, end)

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        edition = self.editions.get(record.edition, record.edition)
        value.edition = edition
        value.plan(edition).pack(value, out)

    def from_fields(self, value: Any, edition: int) -> Any:
        return self.cls.from_fields(value, self.editions.get(edition, edition))


class Gnss(Record):
    """车辆定位信息: 36 bytes in 2011 (date and time UTC+8, km/h, km, longitude first), the JT/T 808-2019 location and three platforms in 2019."""

    encrypt: U8 = f("是否加密", "coordinates encrypted", enum={0: "no", 1: "yes"}, default=0)
    day: U8 | None = f("日", "day", until=2018, default=None)
    month: U8 | None = f("月", "month", until=2018, default=None)
    year: U16 | None = f("年", "year", until=2018, default=None)
    hour: U8 | None = f("时", "hour", note="UTC+8", until=2018, default=None)
    minute: U8 | None = f("分", "minute", until=2018, default=None)
    second: U8 | None = f("秒", "second", until=2018, default=None)
    lon: U32 | None = f("经度", "longitude", unit="°", scale=1e-6, until=2018, default=None)
    lat: U32 | None = f("纬度", "latitude", unit="°", scale=1e-6, until=2018, default=None)
    vec1: U16 | None = f("速度", "GNSS speed", unit="km/h", until=2018, default=None)
    vec2: U16 | None = f("行驶记录速度", "recorder speed", unit="km/h", until=2018, default=None)
    vec3: U32 | None = f("车辆当前总里程数", "mileage", unit="km", until=2018, default=None)
    direction: U16 | None = f("方向", "heading", unit="° clockwise from north", until=2018, default=None)
    altitude: U16 | None = f("海拔高度", "altitude", unit="m", until=2018, default=None)
    state: U32 | None = f("车辆状态", "JT/T 808 status word", until=2018, default=None)
    alarm: U32 | None = f("报警状态", "JT/T 808 alarm word", until=2018, default=None)
    data_length: U32 | None = f("定位信息数据长度", "length of the location", since=2019, default=None)
    gnss_data: Annotated[bytes, Bytes(by="data_length")] | None = f("车辆定位信息内容", "JT/T 808-2019 0x0200 body", since=2019, default=None)
    platform_id1: Annotated[str, Fixed(11)] | None = f("监控平台唯一编码", "enterprise platform", since=2019, default=None)
    alarm1: U32 | None = f("报警状态1", "alarms found by it", since=2019, default=None)
    platform_id2: Annotated[str, Fixed(11)] | None = f("市级监控平台唯一编码", "municipal platform", since=2019, default=None)
    alarm2: U32 | None = f("报警状态2", "alarms found by it", since=2019, default=None)
    platform_id3: Annotated[str, Fixed(11)] | None = f("省级监控平台唯一编码", "provincial platform", since=2019, default=None)
    alarm3: U32 | None = f("报警状态3", "alarms found by it", since=2019, default=None)


class Answer(Body):
    """Begins in 2019 with what it answers (对应请求消息源)."""

    source_data_type: U16 | None = f("对应请求消息源子业务类型标识", "sub-business answered", since=2019, default=None)
    source_msg_sn: U32 | None = f("对应请求消息源报文序列号", "serial number answered", since=2019, default=None)
