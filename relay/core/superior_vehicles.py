"""Which vehicles go up to which superior, and what a superior is told of each beside its positions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from relay.core.alias import tidy_plate
from relay.core.terminal_state import Terminal
from relay.jt809.messages.exchange import VehicleRegistration
from relay.settings import Superior as Settings
from relay.store.terminals import KnownTerminal
from relay.wire import RawText

if TYPE_CHECKING:
    from relay.core.superior import Superior
    from relay.jt808.messages.data import DriverIdentity

PLATE_BYTES = 21


class Vehicle:
    """One terminal's vehicle, as superiors know it."""

    __slots__ = ("alarm", "color", "driver", "head", "known", "plate", "plate_told", "sim", "superiors", "terminal", "video_alarm", "waybill")

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.sim = terminal.sim
        self.known = terminal.known
        self.plate_told = terminal.plate
        self.plate, self.color = plate_of(terminal)
        self.head = self.plate.encode("gbk", "replace")[:PLATE_BYTES].ljust(PLATE_BYTES, b"\0") + bytes((self.color & 0xFF,))
        self.superiors: tuple[Superior, ...] = ()
        self.alarm = 0  #: alarm word of the last position
        self.video_alarm = 0
        self.driver: DriverIdentity | None = None  #: the last 0x0702
        self.waybill = b""  #: the last 0x0701

    def names(self) -> list[str]:
        """What patterns of ``superior.vehicles`` are held against."""
        return names_of(self.plate, self.sim, self.terminal.known)

    def current(self) -> bool:
        """Whether the terminal is still called so."""
        return self.known is self.terminal.known and self.plate_told == self.terminal.plate

    def registration(self, settings: Settings, edition: int) -> VehicleRegistration:
        """0x1201."""
        terminal = self.terminal
        known = terminal.known
        model = terminal.model or (known.model if known else "")
        if edition < 2019 and settings.model_bytes == 20:
            raw = model.encode("gbk", "replace")[:20].ljust(20, b"\0")
            model = RawText.of(model[:20], raw)
        elif edition < 2019:
            model = cut_text(model, 8)
        number = terminal.sim.rjust(12, "0") if terminal.sim.isdigit() else terminal.sim
        return VehicleRegistration(
            platform_id=settings.platform_id,
            producer_id=settings.producer_id or cut_text(terminal.manufacturer or (known.manufacturer if known else ""), 11),
            terminal_model_type=model if edition < 2019 else cut_text(model, 30),
            imei_id=cut_text(terminal.imei, 15) if edition >= 2019 else None,
            terminal_id=cut_text(terminal.terminal_id or (known.terminal_id if known else ""), 30 if edition >= 2019 else 7).upper(),
            terminal_simcode=number[-13:] if edition >= 2019 else number[-12:],
        )


def cut_text(text: str, size: int) -> str:
    """Text that fits into so many bytes of GBK."""
    while len(text.encode("gbk", "replace")) > size:
        text = text[:-1]
    return text


def plate_of(terminal: Terminal) -> tuple[str, int]:
    """Plate and colour: what the operator wrote, else what the terminal registered with; colour 0 counts as no plate (it is a VIN then)."""
    known = terminal.known
    plate = (known.plate if known else "") or terminal.plate
    color = known.plate_color if known is not None and known.plate_color is not None else terminal.plate_color
    return (tidy_plate(plate), color) if color else ("" if color == 0 else tidy_plate(plate), 0)


def names_of(plate: str, number: str, known: KnownTerminal | None) -> list[str]:
    """What patterns of ``superior.vehicles`` are held against."""
    if known is None:
        return [plate, number]
    return [plate, number, known.alias, *known.aliases, f"group:{known.group}" if known.group else ""]


def goes_up(patterns: Sequence[str], *names: str) -> bool:
    """Whether a vehicle (plate, number, aliases, ``group:NAME``) goes up: patterns in order, the last that fits decides; a list that begins with "!"
    begins with all."""
    verdict = not patterns or patterns[0].startswith("!")
    for pattern in patterns:
        wanted = not pattern.startswith("!")
        bare = pattern.removeprefix("!").strip()
        if any(name and fnmatchcase(name, bare) for name in names):
            verdict = wanted
    return verdict


#: 车辆静态信息 by edition; VIN is the plate, despite its name
CAR_INFO = {
    2011: "VIN:={plate};VEHICLE_COLOR:={plate_color};VEHICLE_TYPE:={VEHICLE_TYPE};TRANS_TYPE:={TRANS_TYPE};VEHICLE_NATIONALITY:={VEHICLE_NATIONALITY};"
    "OWERS_ID:={OWERS_ID};OWERS_NAME:={OWERS_NAME};OWERS_TEL:={OWERS_TEL}",
    2019: "VIN:={plate};VEHICLE_COLOR:={plate_color};VEHICLE_TYPE:={VEHICLE_TYPE};TRANS_TYPE:={TRANS_TYPE};VEHICLE_NATIONALITY:={VEHICLE_NATIONALITY};"
    "BUSINESSSCOPECODE:={BUSINESSSCOPECODE};OWERS_ID:={OWERS_ID};OWERS_NAME:={OWERS_NAME};OWERS_TEL:={OWERS_TEL}",
}


def car_info(template: str, edition: int, plate: str, color: int, details: Mapping[str, str]) -> str:
    """The text of 0x1601 (CAR_INFO): the template (else the edition's own) with what is known; what is not stands empty. The format's separators cannot
    stand in a value."""
    values = {**details, "plate": plate, "plate_color": str(color)}

    def value(found: re.Match[str]) -> str:
        return values.get(found[1], "").replace(";", " ").replace(":=", " ")

    return re.sub(r"\{(\w+)\}", value, template or CAR_INFO[edition])
