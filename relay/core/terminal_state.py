"""What is known of one terminal while the relay runs: who it is, where it was last, what it can show.

Survives its links: a terminal that comes back finds its channels and last position here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.events import BEIJING, iso_time
from relay.identity import phone_key
from relay.jt808.items import ALARM_BITS, VIDEO_ALARM_BITS, Fuel, GnssSatellites, Mileage, NetworkSignal
from relay.jt808.messages.areas import VehicleControlResponse
from relay.jt808.messages.base import Body
from relay.jt808.messages.general import Authentication, Registration
from relay.jt808.messages.location import BaseLocation, BatchLocation, Location, LocationQueryResponse, LocationReport, Status
from relay.jt808.messages.parameters import ParametersResponse, TerminalAttributes
from relay.jt808.messages.video import CODECS, AvAttributes
from relay.jt808.params import AvChannels
from relay.store.terminals import KnownTerminal

if TYPE_CHECKING:
    from relay.core.link import Link

#: of the media header's BCD[6]: terminals cut longer numbers in front
SIM_DIGITS = 12
#: logical channels that JT/T 1076 table 2 gives to sound alone; the range 33-63 belongs to audio
AUDIO_CHANNELS = range(33, 64)
#: channels shown for a terminal that tells nothing about itself: most have four inputs
ASSUMED_CHANNELS = 4
#: more than a terminal can have (JT/T 1076 ends at 63); a table with nonsense in it must not fill the page
CHANNELS_MAX = 64
#: reports of which the clock's offset is estimated, and again: a clock that was set is believed after so many
CLOCK_REPORTS = 8
#: above it the DWORD is a negative number in two's complement, which some devices send (JT/T 808 facts §6.1)
_LARGEST_MICRODEGREES = 180_000_000


_ACC, _LOCATED, _SOUTH, _WEST = (int(flag) for flag in (Status.ACC, Status.LOCATED, Status.SOUTH, Status.WEST))  # an IntFlag's & costs a microsecond


class Channel(NamedTuple):
    """One logical channel."""

    number: int
    kind: str  #: "av" | "audio" | "video"
    source: str  #: how it is known: "0x0076" (the terminal's own table) | "0x1003" (a count) | "seen" (media came) | "assumed"
    ptz: bool | None = None  #: a pan-tilt head is connected; None = not told
    physical: int | None = None


def default_kind(number: int) -> str:
    """What a channel of that number carries when the terminal does not say."""
    return "audio" if number in AUDIO_CHANNELS else "av"


def position_of(report: Location) -> dict[str, Any]:
    """The one place where raw integers of the wire become degrees, km/h and a time with a zone."""
    status = report.status_flags
    latitude, longitude = degrees_of(report)
    mileage: float | None = None
    fuel: float | None = None
    signal: int | None = None
    satellites: int | None = None
    for item in report.items:
        if isinstance(item, Mileage):
            mileage = round(item.mileage * 0.1, 1)
        elif isinstance(item, NetworkSignal):
            signal = item.network_signal
        elif isinstance(item, GnssSatellites):
            satellites = item.gnss_satellites
        elif isinstance(item, Fuel):
            fuel = round(item.fuel * 0.1, 1)
    return {
        "latitude": latitude,
        "longitude": longitude,
        "altitude": report.altitude if report.altitude < 0x8000 else report.altitude - 0x10000,
        "speed": round(report.speed / 10, 1),
        "direction": report.direction,
        "time": wire_time(report.time),
        "located": bool(status & _LOCATED),
        "acc": bool(status & _ACC),
        "alarm_flags": report.alarm_flags,
        "status_flags": status,
        "mileage": mileage,
        "fuel": fuel,
        "signal": signal,
        "satellites": satellites,
    }


def degrees_of(report: BaseLocation) -> tuple[float, float]:
    """Latitude and longitude, south and west negative."""
    status = report.status_flags
    return _degrees(report.latitude, status & _SOUTH), _degrees(report.longitude, status & _WEST)


@lru_cache(maxsize=1000)
def _midnight(day: str) -> float | None:
    """YYMMDD in GMT+8 as UNIX time."""
    try:
        return datetime.strptime(day, "%y%m%d").replace(tzinfo=BEIJING).timestamp()
    except ValueError:
        return None


def wire_seconds(digits: str) -> float | None:
    """YYMMDDhhmmss in GMT+8 as UNIX time; None for zeros and impossible times. A thousand positions a second come through here."""
    start = _midnight(digits[:6])
    clock = digits[6:]
    if start is None or len(clock) != 6 or not clock.isdecimal() or clock[:2] > "23" or clock[2:4] > "59" or clock[4:] > "59":
        return None
    return start + int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:])


def locations_of(message: Body) -> tuple[Sequence[Location], bool]:
    """The locations in a message, and whether they are of now."""
    if isinstance(message, LocationReport):
        return (message,), True
    if isinstance(message, LocationQueryResponse | VehicleControlResponse):
        return (message.location,), True
    if isinstance(message, BatchLocation):
        return message.locations, False
    return (), False


def wire_time(digits: str) -> str | None:
    """YYMMDDhhmmss in GMT+8 as ISO 8601; None for zeros and impossible dates, which occur."""
    # no datetime: a list of thousands of recordings has two each
    hour, minute, second = digits[6:8], digits[8:10], digits[10:]
    if len(digits) != 12 or not digits.isdecimal() or hour > "23" or minute > "59" or second > "59" or _midnight(digits[:6]) is None:
        return None
    return f"20{digits[:2]}-{digits[2:4]}-{digits[4:6]}T{hour}:{minute}:{second}+08:00"


def _degrees(raw: int, negative: int) -> float:
    if raw > _LARGEST_MICRODEGREES:
        return round((raw - (1 << 32)) / 1e6, 6)
    return round((-raw if negative else raw) / 1e6, 6)


def bit_words(flags: int, words: dict[int, str]) -> list[str]:
    """The names of the bits that are set."""
    return [] if not flags else [text if isinstance(text, str) else text[1] for bit, text in words.items() if flags >> bit & 1]


class Terminal:
    """One terminal, online or not."""

    __slots__ = (
        "_clock_best", "_clock_count", "_clock_former", "_position_view", "alarm_flags", "alarms_told_at", "asked_at", "attributes", "av", "bytes_in",
        "bytes_out",
        "channels", "connects", "counts", "edition",
        "firmware", "hardware", "iccid", "imei", "known", "last_host", "last_seen", "link", "manufacturer", "model", "offline_reason",
        "online_since", "phone", "plate", "plate_color", "playback_beside_live", "position", "position_at", "sim", "software", "terminal_id",
        "video_alarm_flags",
    )  # fmt: skip

    def __init__(self, sim: str, phone: str, known: KnownTerminal | None = None) -> None:
        self.sim = sim  #: as ``phone_key`` gives it
        self.phone = phone  #: as on the wire
        self.known = known  #: its row in the store
        self.link: Link | None = None  #: None = offline
        self.edition = known.edition or 0 if known is not None else 0
        self.manufacturer = self.model = self.plate = ""
        self.terminal_id = known.terminal_id if known is not None else ""
        self.plate_color: int | None = None
        self.iccid = self.hardware = self.firmware = self.imei = self.software = ""
        self.attributes: TerminalAttributes | None = None
        self.av: AvAttributes | None = None
        self.channels: dict[int, Channel] = {}
        self.position: Location | None = None
        self.position_at = 0.0  #: UNIX time of its arrival
        self._clock_best: float | None = None
        self._clock_former: float | None = None
        self._clock_count = 0
        self.alarm_flags = 0
        self.video_alarm_flags = 0
        self.alarms_told_at = float("-inf")  #: monotonic
        self.asked_at = float("-inf")  #: monotonic; when its attributes were last asked for
        self.online_since = 0.0  #: UNIX time
        self.last_seen = 0.0  #: UNIX time of the last message
        self.last_host = ""
        self.offline_reason = ""
        self._position_view: tuple[Location, dict[str, Any]] | None = None
        self.connects = 0
        self.bytes_in = self.bytes_out = 0  #: of links that are over; ``traffic`` adds the present one
        self.counts: dict[int, int] = {}  #: messages by id
        self.playback_beside_live: bool | None = None  #: it plays a channel back while that channel is live; None = not known yet

    def media_names(self) -> set[str]:
        """What else its media packets may call it: the alias that the operator wrote for that, and its number cut to what BCD[6] holds."""
        names = set()
        if self.known is not None and self.known.alias:
            names.add(phone_key(self.known.alias))
        if len(self.sim) > SIM_DIGITS:
            names.add(phone_key(self.sim[-SIM_DIGITS:]))
        return names - {"0"}  # a field of zeros says nothing

    @property
    def online(self) -> bool:
        """It has authenticated on a link that is still up."""
        return self.link is not None

    @property
    def name(self) -> str:
        """For people: the plate, or the alias, or the number."""
        known = self.known
        return (known.plate if known else "") or self.plate or (known.alias if known else "") or self.sim

    def traffic(self) -> tuple[int, int]:
        """Bytes in and out over all its links."""
        if self.link is None:
            return self.bytes_in, self.bytes_out
        return self.bytes_in + self.link.session.bytes_in, self.bytes_out + self.link.session.bytes_out

    # ---- what its messages tell ---------------------------------------------------------------------------------------

    def take_registration(self, message: Registration) -> list[str]:
        """Note what a 0x0100 says; gives what changed against a former registration: "terminal id", "plate"."""
        changed = []
        if self.terminal_id and message.terminal_id and message.terminal_id != self.terminal_id:
            changed.append(f"terminal id {self.terminal_id} -> {message.terminal_id}")
        if self.plate and message.plate_no and message.plate_no != self.plate:
            changed.append(f"plate {self.plate} -> {message.plate_no}")
        self.manufacturer, self.model = str(message.manufacturer_id), str(message.terminal_model)
        self.terminal_id, self.plate, self.plate_color = str(message.terminal_id), str(message.plate_no), message.plate_color
        return changed

    def take_authentication(self, message: Authentication) -> None:
        """2019 tells IMEI and software version."""
        self.imei = str(message.imei or self.imei)
        self.software = str(message.software_version or self.software)

    def take_attributes(self, message: TerminalAttributes) -> list[str]:
        """0x0107; gives what changed: "ICCID"."""
        changed = []
        if self.iccid and message.iccid != self.iccid and message.iccid.strip("0"):
            changed.append(f"ICCID {self.iccid} -> {message.iccid}")
        self.attributes = message
        self.iccid = message.iccid
        self.hardware, self.firmware = str(message.hardware_version), str(message.firmware_version)
        self.manufacturer = self.manufacturer or str(message.manufacturer_id)
        self.model = str(message.terminal_model) or self.model
        self.terminal_id = self.terminal_id or str(message.terminal_id)
        return changed

    def take_av(self, message: AvAttributes) -> None:
        """0x1003: codecs, and how many inputs there are; a table of channels is better and stays."""
        self.av = message
        if not any(channel.source == "0x0076" for channel in self.channels.values()):
            for number in range(1, min(message.max_video_channels, CHANNELS_MAX) + 1):
                self._learn(Channel(number, default_kind(number), "0x1003"))

    def take_parameters(self, message: ParametersResponse) -> None:
        """0x0104: parameter 0x0076 is the table of channels."""
        for entry in message.params:
            if not isinstance(entry, AvChannels) or not entry.channels:
                continue
            self.channels = {number: channel for number, channel in self.channels.items() if channel.source == "seen"}
            for row in entry.channels[:CHANNELS_MAX]:
                kind = {0: "av", 1: "audio", 2: "video"}.get(row.channel_type, default_kind(row.logical_channel))
                ptz = bool(row.ptz_connected) if kind != "audio" else None
                self._learn(Channel(row.logical_channel, kind, "0x0076", ptz, row.physical_channel))

    def take_seen(self, number: int) -> bool:
        """Media of a channel came; True when it was not known."""
        if number in self.channels:
            return False
        self._learn(Channel(number, default_kind(number), "seen"))
        return True

    def _learn(self, channel: Channel) -> None:
        if channel.number in self.channels or len(self.channels) < CHANNELS_MAX:
            self.channels[channel.number] = channel

    def take_clock(self, offset: float) -> None:
        """A report came that many seconds before (positive) or after its own time.

        Reports are late by their way and by what held them up, never early: the largest of the last offsets is nearest to the clock's own.
        """
        if self._clock_best is None or offset > self._clock_best:
            self._clock_best = offset
        self._clock_count += 1
        if self._clock_count >= CLOCK_REPORTS:
            self._clock_former, self._clock_best, self._clock_count = self._clock_best, None, 0

    @property
    def clock_state(self) -> dict[str, float | int | None]:
        """What the clock's offset is estimated from: "best", "former", "count"."""
        return {"best": self._clock_best, "former": self._clock_former, "count": self._clock_count}

    @clock_state.setter
    def clock_state(self, state: dict[str, float | int | None]) -> None:
        self._clock_best, self._clock_former, self._clock_count = state["best"], state["former"], int(state["count"] or 0)

    @property
    def clock_offset_s(self) -> float | None:
        """How far its clock is ahead of ours, in seconds; behind: negative. Its times are whole seconds, so to about one."""
        known = [value for value in (self._clock_best, self._clock_former) if value is not None]
        return round(max(known), 1) if known else None

    def take_location(self, message: Body, wall: float) -> Location | None:
        """The newest position in a 0x0200, 0x0201, 0x0500 or 0x0704; None when there is none, or it is older than the one here."""
        locations, live = locations_of(message)
        if not locations:
            return None
        report = locations[0] if live else max(locations, key=lambda location: location.time)
        if not live and self.position is not None and report.time < self.position.time:
            return None  # stored in a blind area, sent afterwards
        if live:
            moment = wire_seconds(report.time)
            if moment is not None:
                self.take_clock(moment - wall)
        self.position = report
        self.position_at = wall
        return report

    # ---- for people and programs --------------------------------------------------------------------------------------

    def channel_list(self) -> list[Channel]:
        """What can be asked for, by number; assumed ones while the terminal has not told."""
        told = [channel for channel in self.channels.values() if channel.source in ("0x0076", "0x1003")]
        if told or len(self.channels) >= ASSUMED_CHANNELS:
            return sorted(self.channels.values())
        known = dict(self.channels)
        for number in range(1, ASSUMED_CHANNELS + 1):
            known.setdefault(number, Channel(number, default_kind(number), "assumed"))
        return sorted(known.values())

    def told_channels(self) -> list[int]:
        """The terminal's own table (parameter 0x0076), if it has sent one."""
        return sorted(channel.number for channel in self.channels.values() if channel.source == "0x0076")

    def has_channel(self, number: int) -> bool:
        """False only where the terminal's own table says so; whoever tells nothing may have any."""
        return not self.told_channels() or number in self.channels

    def channel_kind(self, number: int) -> str:
        """ "av", "audio" or "video"."""
        channel = self.channels.get(number)
        return channel.kind if channel is not None else default_kind(number)

    def position_view(self) -> dict[str, Any] | None:
        """``position_of`` its newest report, made once; not to be changed."""
        if self.position is None:
            return None
        if self._position_view is None or self._position_view[0] is not self.position:
            self._position_view = self.position, position_of(self.position)
        return self._position_view[1]

    def as_dict(self) -> dict[str, Any]:
        """Everything, in JSON's types."""
        known = self.known
        bytes_in, bytes_out = self.traffic()
        link = self.link
        return {
            "sim": self.sim,
            "phone": self.phone,
            "online": self.online,
            "name": self.name,
            "plate": (known.plate if known else "") or self.plate,
            "plate_color": known.plate_color if known and known.plate_color is not None else self.plate_color,
            "alias": known.alias if known else "",
            "aliases": list(known.aliases) if known else [],
            "group": known.group if known else "",
            "details": known.details if known else {},
            "known": known is not None,
            "edition": self.edition or None,
            "manufacturer": self.manufacturer or (known.manufacturer if known else ""),
            "model": self.model or (known.model if known else ""),
            "terminal_id": self.terminal_id or (known.terminal_id if known else ""),
            "iccid": self.iccid,
            "imei": self.imei,
            "hardware": self.hardware,
            "firmware": self.firmware or self.software,
            "peer": link.wire.peer if link is not None else "",
            "transport": link.wire.transport if link is not None else "",
            "online_since": iso_time(self.online_since) if link is not None else None,
            "last_seen": iso_time(self.last_seen) if self.last_seen else None,
            "offline_reason": "" if link is not None else self.offline_reason,
            "connects": self.connects,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "messages": sum(self.counts.values()),
            "position": self.position_view(),
            "clock_offset_s": self.clock_offset_s,
            "position_at": iso_time(self.position_at) if self.position_at else None,
            "alarms": bit_words(self.alarm_flags, ALARM_BITS) + bit_words(self.video_alarm_flags, VIDEO_ALARM_BITS),
            "alarm_flags": self.alarm_flags,
            "video_alarm_flags": self.video_alarm_flags,
            "channels": [
                {"channel": c.number, "kind": c.kind, "source": c.source, "ptz": c.ptz, "name": known.channels.get(c.number, "") if known else ""}
                for c in self.channel_list()
            ],
            "audio_codec": CODECS.get(self.av.audio_encoding, str(self.av.audio_encoding)) if self.av is not None else None,
            "video_codec": CODECS.get(self.av.video_encoding, str(self.av.video_encoding)) if self.av is not None else None,
        }
