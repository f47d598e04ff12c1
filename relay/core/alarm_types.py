"""Alarm bits of terminals as alarm types (报警类型) of 0x1402.

Bits 0 to 31 are the alarm word of 0x0200 (JT/T 808 table 18/24), 32 to 63 the video alarms of its item 0x14 (JT/T 1078 table 14); active-safety alarms go by
kind and code as ``alarm_reading`` has them. Which of a terminal's alarms a platform is to tell is not fixed by the standard; faults of equipment and
advance warnings are left out here, ``superior.alarm_types`` adds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from relay.core.positions import BASE_SIZE

VIDEO_ALARMS = 0x14  #: item of 0x0200
AREA_ALARM = 0x12
ENTERED_AREA = 0x0004
AREA_IN_OUT = 20  #: 进出区域: item 0x12 says which


class AlarmType(NamedTuple):
    """One row."""

    warn_type: int
    text: str


Table = dict[int | str, AlarmType]

_TABLE: Table = {
    0: AlarmType(0x0003, "紧急报警"),
    1: AlarmType(0x0001, "超速报警"),
    2: AlarmType(0x0002, "疲劳驾驶"),
    3: AlarmType(0x0010, "危险驾驶行为"),
    18: AlarmType(0x000D, "当天累计驾驶超时"),
    20: AlarmType(0x0004, "进入指定区域"),
    21: AlarmType(0x0008, "进出路线"),
    23: AlarmType(0x000B, "路线偏离"),
    26: AlarmType(0x0009, "车辆被盗"),
    28: AlarmType(0x000C, "车辆非法位移"),
    29: AlarmType(0x0011, "碰撞预警"),
    32: AlarmType(0x0101, "视频信号丢失"),
    33: AlarmType(0x0102, "视频信号遮挡"),
    34: AlarmType(0x0103, "存储单元故障"),
    35: AlarmType(0x0104, "其他视频设备故障"),
    36: AlarmType(0x0105, "客车超员"),
    37: AlarmType(0x0106, "异常驾驶行为"),
    38: AlarmType(0x0107, "特殊报警录像达到存储阈值"),
}
_SAFETY: Table = {
    "adas.1": AlarmType(0x0011, "前向碰撞报警"),
    "adas.2": AlarmType(0x0012, "车道偏离报警"),
    "dsm.1": AlarmType(0x0002, "疲劳驾驶报警"),
    "dsm.2": AlarmType(0x0010, "接打手持电话报警"),
    "dsm.3": AlarmType(0x0010, "抽烟报警"),
    "tpms.*": AlarmType(0x0013, "胎压异常报警"),
}
LEFT_AREA = AlarmType(0x0005, "离开指定区域")


def alarm_table(changes: Sequence[str] = ()) -> Table:
    """The table with ``superior.alarm_types`` over it: "bit=type" or "kind.code=type", type 0 = not told."""
    table: Table = {**_TABLE, **_SAFETY}
    for change in changes:
        which, _, number = change.partition("=")
        key = which.strip() if "." in which else int(which, 0)
        kind = int(number, 0)
        if kind:
            table[key] = AlarmType(kind, table[key].text if key in table else f"报警标志位{key}")
        else:
            table.pop(key, None)
    return table


def items_of(body: bytes, wanted: int) -> bytes | None:
    """The value of one additional item of a 0x0200 body; None when it is not there."""
    pos, end = BASE_SIZE, len(body)
    while pos + 2 <= end:
        size = body[pos + 1]
        if body[pos] == wanted:
            return body[pos + 2 : pos + 2 + size]
        pos += 2 + size
    return None


def alarms_of(body: bytes, before: int, video_before: int) -> tuple[list[int], int]:
    """The bits (0 to 63) that are set in this position and were not before, and its video alarms."""
    video = int.from_bytes((items_of(body, VIDEO_ALARMS) or b"")[:4], "big")
    fresh = int.from_bytes(body[:4], "big") & ~before | (video & ~video_before) << 32
    return [bit for bit in range(64) if fresh >> bit & 1], video


def left_area(body: bytes) -> bool:
    """Whether an area alarm is one of leaving (item 0x12: kind BYTE, id DWORD, direction BYTE; no id where the kind is 0)."""
    value = items_of(body, AREA_ALARM) or b""
    return bool(value) and value[-1] == 1
