"""Texts, events, questions, information menus, telephone (JT/T 808 clauses 8.24 to 8.32; partly gone from the text of 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from relay.jt808.messages.base import Body, message
from relay.wire import U8, U16, Codec, Fault, FieldError, ListOf, Record, Str8, Str16, StrRest, UntilEnd, f

if TYPE_CHECKING:
    from relay.wire.dump import Walk
    from relay.wire.record import FieldInfo

SET_TYPES = {
    0: "delete all (删除全部)",
    1: "update (更新)",
    2: "append (追加)",
    3: "modify (修改)",
    4: "delete the listed (删除特定几项)",
}


@message(0x8300, "文本信息下发", "Text message", reply=0x0001)
class TextMessage(Body):
    flags: U8 = f(
        "文本信息标志",
        bits={
            0: "urgent (紧急; 2019: bits 0-1 are 1 service, 2 urgent, 3 notice)",
            1: "2019: see bit 0",
            2: "terminal display (终端显示器显示)",
            3: "TTS (终端TTS播读)",
            4: "advertising screen (广告屏显示)",
            5: ("navigation information (中心导航信息)", "CAN fault code (CAN故障码信息)"),
        },
    )
    text_type: U8 | None = f("文本类型", since=2019, enum={1: "notice (通知)", 2: "service (服务)"}, default=1)
    text: StrRest = f("文本信息")


class SettingList(ListOf):
    """Items of a setting: a BYTE of count, then items whose last field may be missing in all of them (deleting needs no content).

    Whether an item to be deleted still carries its length byte is not said, so both are read: with the last field if the body comes out
    even, else without it.
    """

    def __init__(self) -> None:
        super().__init__("B")

    def at(self, edition: int) -> Codec:
        return SettingList()

    def read(self, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        problem = None
        try:
            items, stop = super().read(data, pos, end, record)
            if stop == end:
                return items, stop
        except Fault as fault:
            problem = fault
        bare = self._bare(data, pos, end, record)
        if bare is not None:
            return bare, end
        if problem is not None:
            raise problem
        return items, stop

    def _bare(self, data: bytes, pos: int, end: int, record: Record) -> list[Any] | None:
        """All items without their last field, if they fill the body exactly."""
        count, pos = self.count(data, pos, end, record)
        cls: type[Record] = self.element.cls  # type: ignore[attr-defined]
        *bounds, last = cls.plan(record.edition).fields
        items = []
        try:
            for _ in range(count):
                item = cls.__new__(cls)
                item.edition, item.trailing = record.edition, b""
                for bound in bounds:
                    pos = bound.read(item, data, pos, end)
                setattr(item, last.name, None)
                items.append(item)
        except Fault:
            return None
        return items if pos == end else None

    def show(self, walk: Walk, info: FieldInfo, path: str, data: bytes, pos: int, end: int, record: Record) -> tuple[Any, int]:
        cls: type[Record] = self.element.cls  # type: ignore[attr-defined]
        *bounds, last = cls.plan(record.edition).fields
        try:
            items, stop = self.read(data, pos, end, record)
        except Fault:
            items = []  # broken: shown as far as it goes
        if not items or any(getattr(item, last.name) is not None for item in items):
            return super().show(walk, info, path, data, pos, end, record)
        count, start = self.count(data, pos, end, record)
        walk.heading(pos, data[pos:start], path, info, self, str(count))
        with walk.deeper():
            for place, item in enumerate(items):
                walk.heading(start, b"", f"{path}[{place}]", info, self.element)
                with walk.deeper():
                    for bound in bounds:
                        _, start = bound.codec.show(walk, bound.info, f"{path}[{place}].{bound.name}", data, start, end, item)
        return items, stop

    def write(self, value: Any, out: bytearray, record: Record) -> None:
        cls: type[Record] = self.element.cls  # type: ignore[attr-defined]
        last = cls.plan(record.edition).fields[-1].name
        if len({getattr(item, last, None) is None for item in value[:-1]}) > 1 or (
            len(value) > 1 and getattr(value[0], last, None) is None and getattr(value[-1], last, None) is not None
        ):
            raise FieldError("", f"either all items have {last} or none")
        super().write(value, out, record)


class Event(Record):
    event_id: U8 = f("事件ID", "event id")
    content: Str8 | None = f("事件内容", "event", optional=True, default=None)


@message(0x8301, "事件设置", "Set event list", reply=0x0001, note="not in the text of 2019")
class SetEvents(Body):
    set_type: U8 = f("设置类型", enum=SET_TYPES)
    total_count: U8 | None = f("设置总数", "items in all packages", until=2011, optional=True, default=None)
    events: Annotated[list[Event], SettingList()] | None = f("事件项列表", "events", optional=True, default=None)


@message(0x0301, "事件报告", "Event report", reply=0x8001, note="not in the text of 2019")
class EventReport(Body):
    event_id: U8 = f("事件ID", "event id")


class Answer(Record):
    answer_id: U8 = f("答案ID", "answer id")
    content: Str16 = f("答案内容", "answer")


@message(0x8302, "提问下发", "Ask a question", reply=(0x0001, 0x0302), note="not in the text of 2019")
class Question(Body):
    flags: U8 = f("标志", bits={0: "urgent (紧急)", 3: "TTS (终端TTS播读)", 4: "advertising screen (广告屏显示)"})
    question: Str8 = f("问题")
    answers: UntilEnd[Answer] = f("候选答案列表", "answers")


@message(0x0302, "提问应答", "Answer to question")
class QuestionResponse(Body):
    reply_serial: U16 = f("应答流水号", "serial of the question")
    answer_id: U8 = f("答案ID", "answer id")


class Info(Record):
    info_type: U8 = f("信息类型")
    name: Str16 | None = f("信息名称", optional=True, default=None)


@message(0x8303, "信息点播菜单设置", "Set info-on-demand menu", reply=0x0001)
class SetInfoMenu(Body):
    set_type: U8 = f("设置类型", enum=SET_TYPES)
    total_count: U8 | None = f("信息项总数", "items in all packages", until=2011, optional=True, default=None)
    infos: Annotated[list[Info], SettingList()] | None = f("信息项列表", "menu", optional=True, default=None)


@message(0x0303, "信息点播/取消", "Subscribe or cancel info", reply=0x8001)
class InfoSubscription(Body):
    info_type: U8 = f("信息类型")
    flag: U8 = f("点播/取消标志", enum={0: "cancel (取消)", 1: "subscribe (点播)"})


@message(0x8304, "信息服务", "Info service", reply=0x0001)
class InfoService(Body):
    info_type: U8 = f("信息类型")
    total_length: U16 | None = f("信息总长度", "bytes in all packages", until=2011, default=None)
    content: Str16 = f("信息内容")


@message(0x8400, "电话回拨", "Call back", reply=0x0001)
class CallBack(Body):
    flag: U8 = f("标志", enum={0: "normal call (普通通话)", 1: "listen-in (监听)"})
    phone: StrRest = f("电话号码", "phone number")


class Contact(Record):
    flag: U8 = f("标志", enum={1: "incoming (呼入)", 2: "outgoing (呼出)", 3: "both (呼入/呼出)"})
    phone: Str8 = f("电话号码", "phone number")
    name: Str8 | None = f("联系人", "contact", optional=True, default=None)


@message(0x8401, "设置电话本", "Set phone book", reply=0x0001)
class SetPhoneBook(Body):
    set_type: U8 = f("设置类型", enum=SET_TYPES)
    total_count: U8 | None = f("联系人总数", "items in all packages", until=2011, optional=True, default=None)
    contacts: Annotated[list[Contact], SettingList()] | None = f("联系人项", "contacts", optional=True, default=None)
