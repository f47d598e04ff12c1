"""Which alarms a location report holds: its alarm word, the video items 0x14 to 0x18, and the active-safety items 0x64 to 0x71.

===========  ====================================================  ==========================  =====================
kind         from                                                  code                        channel
===========  ====================================================  ==========================  =====================
terminal     报警标志 of 0x0200                                      bit, 0 to 31                0
video        item 0x14, and which channels: 0x15, 0x16             bit, 0 to 31                logical channel, or 0
storage      item 0x17                                             0                           1 to 12 main, 13 to 16 backup
behaviour    item 0x18                                             bit: 0 fatigue, 1 phone …   0
adas         item 0x64                                             event type                  0
dsm          item 0x65                                             event type                  0
tpms         item 0x66                                             bit of the first alarm      0
bsd          item 0x67                                             event type                  0
passenger    item 0x68 (湘标)                                       event type                  0
driving      item 0x70                                             event type                  0
overspeed    item 0x71                                             event type                  0
===========  ====================================================  ==========================  =====================

The first four are *states*: an alarm lasts while reports show it. The others are *moments*: an item says begin, end, or neither, and carries an alarm id
(报警标识号), by which files can be asked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from relay.jt808.items import (
    ALARM_BITS,
    VIDEO_ALARM_BITS,
    AbnormalDriving,
    AreaAlarm,
    OverspeedAlarm,
    SegmentTimeAlarm,
    StorageFault,
    VideoAlarms,
    VideoLoss,
    VideoOcclusion,
)
from relay.jt808.messages.location import Location
from relay.jt808.safety import (
    ADAS_EVENTS,
    DSM_EVENTS,
    TIRE_BITS,
    AdasAlarm,
    BlindSpotAlarm,
    DsmAlarm,
    IntenseDrivingAlarm,
    OverspeedActiveAlarm,
    PassengerAlarm,
    SafetyAlarm,
    TireAlarm,
)

BEGIN, END = 1, 2  #: 标志状态

#: kinds that last while reports show them
STATES = ("terminal", "video", "storage", "behaviour")
#: class -> kind
MOMENTS: dict[type, str] = {
    AdasAlarm: "adas",
    DsmAlarm: "dsm",
    TireAlarm: "tpms",
    BlindSpotAlarm: "bsd",
    PassengerAlarm: "passenger",
    IntenseDrivingAlarm: "driving",
    OverspeedActiveAlarm: "overspeed",
}
KINDS = (*STATES, *MOMENTS.values())

_BEHAVIOURS = {0: "fatigue (疲劳)", 1: "phone (打电话)", 2: "smoking (抽烟)"}
_BSD_EVENTS = {1: "rear approach (后方接近)", 2: "left rear (左侧后方接近)", 3: "right rear (右侧后方接近)"}
_DRIVING_EVENTS = {
    1: "hard acceleration (急加速)",
    2: "hard braking (急减速)",
    3: "hard turn (急转弯)",
    4: "idling (怠速)",
    5: "stalled (异常熄火)",
    6: "coasting in neutral (空挡滑行)",
    7: "engine over-speed (发动机超转)",
    0x16: "crash (碰撞)",
}
_PASSENGER_EVENTS = {1: "overcrowded (超员)", 0x80: "seat belts not checked (未检查安全带)"}
_EVENTS = {"adas": ADAS_EVENTS, "dsm": DSM_EVENTS, "bsd": _BSD_EVENTS, "driving": _DRIVING_EVENTS, "passenger": _PASSENGER_EVENTS}
_WORDS = {
    "adas": "ADAS",
    "dsm": "driver monitoring",
    "tpms": "tyre pressure",
    "bsd": "blind spot",
    "passenger": "passengers",
    "driving": "intense driving",
    "overspeed": "overspeed (超速)",
}
#: fields of an item that every kind has, or that stand elsewhere in the row
_COMMON = {"id", "raw", "state", "event_type", "level", "speed", "altitude", "latitude", "longitude", "time", "alarm_sign", "reserved"}
#: items of states, and the field that is 0 while there is nothing
_ITEM_TYPES = {
    VideoAlarms: "video_alarm_flags",
    VideoLoss: "video_loss_channels",
    VideoOcclusion: "video_occlusion_channels",
    StorageFault: "storage_fault_flags",
    AbnormalDriving: "behavior_flags",
}
#: bit of the alarm word -> item that says more
_DETAILS: dict[int, type] = {1: OverspeedAlarm, 20: AreaAlarm, 21: AreaAlarm, 22: SegmentTimeAlarm}


class Source(NamedTuple):
    """What raises an alarm."""

    kind: str
    code: int
    channel: int = 0


class Moment(NamedTuple):
    """An active-safety item."""

    source: Source
    name: str
    item: SafetyAlarm
    detail: dict[str, Any]

    @property
    def level(self) -> int:
        """1, 2; 0 for an event."""
        return int(getattr(self.item, "level", 0))


def name_of(source: Source) -> str:
    """In words."""
    kind, code, channel = source
    if kind == "terminal":
        return ALARM_BITS.get(code, f"alarm bit {code}")
    if kind == "video":
        text = VIDEO_ALARM_BITS.get(code, f"video alarm bit {code}")
        return f"{text}, channel {channel}" if channel else text
    if kind == "storage":
        return f"{'main' if channel <= 12 else 'backup'} storage {channel if channel <= 12 else channel - 12} fault (存储器故障)"
    if kind == "behaviour":
        return _BEHAVIOURS.get(code, f"abnormal driving behaviour {code}")
    if kind == "tpms":
        return f"tyre pressure: {TIRE_BITS.get(code, f'bit {code}')}"
    text = _EVENTS.get(kind, {}).get(code, "" if kind == "overspeed" else f"type 0x{code:02X}")
    return f"{_WORDS[kind]}: {text}" if text else _WORDS[kind]


def read_states(report: Location) -> dict[Source, dict[str, Any]]:
    """What lasts, with what is known besides."""
    found: dict[Source, dict[str, Any]] = {}
    flags = report.alarm_flags
    items = report.items
    for bit in range(flags.bit_length()):
        if flags >> bit & 1:
            more = _DETAILS.get(bit)
            item = next((item for item in items if type(item) is more), None) if more is not None else None
            found[Source("terminal", bit)] = {name: value for name, value in item.fields().items() if name != "id"} if item is not None else {}
    if not any(type(item) in _ITEM_TYPES for item in items):
        return found
    video = storage = behaviour = 0
    channels = {0: 0, 1: 0}
    fatigue = None
    for item in items:
        if isinstance(item, VideoAlarms):
            video = item.video_alarm_flags
        elif isinstance(item, VideoLoss):
            channels[0] = item.video_loss_channels
        elif isinstance(item, VideoOcclusion):
            channels[1] = item.video_occlusion_channels
        elif isinstance(item, StorageFault):
            storage = item.storage_fault_flags
        elif isinstance(item, AbnormalDriving):
            behaviour, fatigue = item.behavior_flags, item.fatigue_level
    # items that say which channel, storage or behaviour stand in for the bit that says only that there is one
    for bit, which in channels.items():
        for channel in bits(which):
            found[Source("video", bit, channel + 1)] = {}
    for number in bits(storage):
        found[Source("storage", 0, number + 1)] = {}
    for number in bits(behaviour):
        found[Source("behaviour", number)] = {"fatigue_level": fatigue} if number == 0 and fatigue is not None else {}
    told = {0: channels[0], 1: channels[1], 2: storage, 5: behaviour}
    for bit in bits(video):
        if not told.get(bit):
            found[Source("video", bit)] = {}
    return found


def bits(flags: int) -> list[int]:
    """Numbers of the bits that are set."""
    return [bit for bit in range(flags.bit_length()) if flags >> bit & 1]


def read_moments(report: Location) -> list[Moment]:
    """The active-safety items."""
    found = []
    for item in report.items:
        if isinstance(item, SafetyAlarm):
            kind = MOMENTS[type(item)]
            fields = item.fields()
            if isinstance(item, TireAlarm):
                flags = 0
                for tire in item.tires:
                    flags |= tire.alarm_flags
                code = next(iter(bits(flags & ~1)), 0)
            else:
                code = int(getattr(item, "event_type", 0))
            source = Source(kind, code)
            found.append(Moment(source, name_of(source), item, {name: value for name, value in fields.items() if name not in _COMMON}))
    return found


def has_alarms(report: Location) -> bool:
    """Whether there is anything to read; most reports have nothing."""
    if report.alarm_flags:
        return True
    for item in report.items:
        kind = type(item)
        if kind in MOMENTS or (kind in _ITEM_TYPES and getattr(item, _ITEM_TYPES[kind])):
            return True
    return False
