"""How a simulated terminal answers its operators; ``answers`` has the rest.

| message | answer | does |
|---|---|---|
| 0x9301-0x9306 | 0x0001 | writes it into ``terminal.operator.ptz``, with the time |
| 0x8300-0x8304, 0x8400, 0x8401 | 0x0001 | remembers it; a question (0x8302) is answered by 0x0302 a moment later |
| 0x8500 | 0x0001, then 0x0500 | doors; fuel and circuit by flags 4 and 8 (2013) or controls 0xF001 and 0xF002 (2019) |
| 0x8600-0x8607, 0x8608 | 0x0001, 0x0608 | keeps areas and routes |
| 0x8700, 0x8701, 0x8702 | 0x0700, 0x0001, 0x0702 | |
| 0x8801 | 0x0805 (2011: 0x0001), 0x0800, 0x0801 | takes pictures of 640x480 and sends them in sub-packages, or keeps them |
| 0x8802, 0x8803, 0x8805, 0x8804 | 0x0802, 0x0001 and 0x0801 | what it has kept |
| 0x8900 | 0x0001, then 0x0900 | sends the same back |
| 0x8108, 0x8A00 | 0x0001 and 0x0108, 0x0A00 | |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.jt808.header import Header
from relay.jt808.messages import areas, data, multimedia, parameters, text
from relay.jt808.messages.base import Body
from relay.jt808.messages.general import Result
from relay.jt808.messages.location import BaseLocation
from relay.sim.answers import on
from relay.sim.jpeg import photo
from relay.sim.vehicle import bcd_time, from_bcd
from relay.sim.vehicle import location as as_location

if TYPE_CHECKING:
    from relay.sim.terminal import SimulatedTerminal

#: photos kept; a memory card has room for more, a test has not
PHOTOS_MAX = 64
_LOG_MAX = 500
_FUEL, _CIRCUIT, _LOCKED = 1 << 10, 1 << 11, 1 << 12


class Kept:
    """One photo on the terminal's card."""

    __slots__ = ("channel", "event", "jpeg", "location", "media_id", "wall")

    def __init__(self, media_id: int, channel: int, event: int, wall: float, location: BaseLocation, jpeg: bytes) -> None:
        self.media_id = media_id
        self.channel = channel
        self.event = event
        self.wall = wall
        self.location = location
        self.jpeg = jpeg


class Operator:
    """What operators have made of the terminal; made when the first of them asks for something."""

    def __init__(self) -> None:
        self.ptz: list[tuple[float, Body]] = []  #: (reactor time, message)
        self.told: list[Body] = []  #: texts, questions, lists, calls, passthrough
        self.areas: dict[tuple[int, int], Any] = {}  #: (kind as in 0x8608, id) -> area
        self.status = 0  #: bits 10 to 12 of the status word
        self.photos: dict[int, Kept] = {}
        self.next_media = 1
        self.uploads: dict[int, int] = {}  #: media id -> serial of the first piece of its 0x0801


def _operator(terminal: SimulatedTerminal) -> Operator:
    if terminal.operator is None:
        terminal.operator = Operator()
    return terminal.operator


def _remember(terminal: SimulatedTerminal, message: Body) -> None:
    told = _operator(terminal).told
    told.append(message)
    del told[:-_LOG_MAX]


@on(0x9301, 0x9302, 0x9303, 0x9304, 0x9305, 0x9306)
def _ptz(terminal: SimulatedTerminal, header: Header, message: Body) -> None:
    log = _operator(terminal).ptz
    log.append((terminal.reactor.seconds(), message))
    del log[:-_LOG_MAX]
    terminal.answer(header)


@on(0x8300, 0x8301, 0x8303, 0x8304, 0x8400, 0x8401, 0x8701, 0x8804)
def _told(terminal: SimulatedTerminal, header: Header, message: Body) -> None:
    _remember(terminal, message)
    terminal.answer(header)


@on(0x8302)
def _question(terminal: SimulatedTerminal, header: Header, message: text.Question) -> None:
    _told(terminal, header, message)
    if message.answers:
        answer = text.QuestionResponse(reply_serial=header.serial, answer_id=message.answers[0].answer_id)
        terminal.later(0.2, lambda: terminal.send(answer))


@on(0x8500)
def _vehicle(terminal: SimulatedTerminal, header: Header, message: areas.VehicleControl) -> None:
    operator = _operator(terminal)
    if message.control_flags is not None:
        flags = message.control_flags
        operator.status = (_LOCKED if flags & 1 else 0) | (_FUEL if flags & 4 else 0) | (_CIRCUIT if flags & 8 else 0)
    for control in message.controls or ():
        # the door's 1 opens, a vendor's 1 cuts
        bit, wanted = {1: (_LOCKED, not control.control_param), 0xF001: (_FUEL, bool(control.control_param))}.get(
            control.control_id, (_CIRCUIT, bool(control.control_param))
        )
        operator.status = operator.status | bit if wanted else operator.status & ~bit
    terminal.answer(header)

    def done() -> None:
        terminal.reply(header, areas.VehicleControlResponse(reply_serial=header.serial, location=as_location(terminal.location_report())))

    terminal.later(0.1, done)


# areas ---------------------------------------------------------------------------------------------------------------------------------


@on(0x8600, 0x8602)
def _set_areas(terminal: SimulatedTerminal, header: Header, message: Any) -> None:
    kind = 1 if header.msg_id == 0x8600 else 2
    kept = _operator(terminal).areas
    if message.set_type == 0:
        for key in [key for key in kept if key[0] == kind]:
            del kept[key]
    for area in message.areas:
        kept[kind, area.area_id] = area
    terminal.answer(header)


@on(0x8604, 0x8606)
def _set_one(terminal: SimulatedTerminal, header: Header, message: Any) -> None:
    kind = 3 if header.msg_id == 0x8604 else 4
    number = message.area_id if kind == 3 else message.route_id
    _operator(terminal).areas[kind, number] = message
    terminal.answer(header)


@on(0x8601, 0x8603, 0x8605, 0x8607)
def _delete_areas(terminal: SimulatedTerminal, header: Header, message: areas.DeleteAreas) -> None:
    kind = (header.msg_id - 0x8600 + 1) // 2
    kept = _operator(terminal).areas
    for key in [key for key in kept if key[0] == kind and (not message.area_ids or key[1] in message.area_ids)]:
        del kept[key]
    terminal.answer(header)


@on(0x8608)
def _query_areas(terminal: SimulatedTerminal, header: Header, message: areas.AreaQuery) -> None:
    found = [area for (kind, number), area in _operator(terminal).areas.items() if kind == message.query_type and (not message.ids or number in message.ids)]
    out = bytearray()
    for area in found:
        area.plan(2019).pack(area, out)
    terminal.reply(header, areas.AreaQueryResponse(query_type=message.query_type, count=len(found), data=bytes(out)))


# recorder, driver, passthrough, keys, upgrade --------------------------------------------------------------------------------------------


@on(0x8700)
def _recorder(terminal: SimulatedTerminal, header: Header, message: data.RecorderQuery) -> None:
    # GB/T 19056: AA 75, command, length, reserved, content, XOR of all
    packet = bytes((0xAA, 0x75, message.command, 0, 4, 0)) + b"2021"
    check = 0
    for byte in packet:
        check ^= byte
    terminal.reply(header, data.RecorderData(reply_serial=header.serial, command=message.command, data=packet + bytes((check,))))


@on(0x8702)
def _driver(terminal: SimulatedTerminal, header: Header, message: data.DriverIdentityQuery) -> None:
    terminal.reply(
        header,
        data.DriverIdentity(
            status=1, time=bcd_time(terminal.wall()), read_result=0, driver_name="张三", license_no="44030000000000000001", issuer="深圳市交通运输局",
            valid_until="20301231", id_card_no="440300199001010000" if terminal.options.edition >= 2019 else None,
        ),
    )  # fmt: skip


@on(0x8900)
def _passthrough(terminal: SimulatedTerminal, header: Header, message: data.PassthroughDown) -> None:
    _told(terminal, header, message)
    answer = data.PassthroughUp(type=message.type, data=message.data)
    terminal.later(0.1, lambda: terminal.send(answer))


@on(0x8A00)
def _key(terminal: SimulatedTerminal, header: Header, message: data.PlatformRsaKey) -> None:
    terminal.reply(header, data.TerminalRsaKey(e=65537, n=bytes(range(128))))


@on(0x8108)
def _upgrade(terminal: SimulatedTerminal, header: Header, message: parameters.UpgradePackage) -> None:
    terminal.answer(header)
    result = parameters.UpgradeResult(upgrade_type=message.upgrade_type, result=0)
    terminal.later(0.5, lambda: terminal.send(result))


# photos --------------------------------------------------------------------------------------------------------------------------------


@on(0x8801)
def _take(terminal: SimulatedTerminal, header: Header, message: multimedia.TakePhoto) -> None:
    options, faults = terminal.options, terminal.options.faults
    wrong = message.channel_id not in options.channels
    if options.edition <= 2011:
        terminal.answer(header, Result.FAILURE if wrong or "no-photo" in faults else Result.OK)
    if wrong or "no-photo" in faults:
        if options.edition > 2011:
            terminal.reply(header, multimedia.TakePhotoResponse(reply_serial=header.serial, result=2 if wrong else 1))
        return
    taken = [] if message.command in (0, 0xFFFF) else [_snap(terminal, message.channel_id) for _ in range(min(message.command, 10))]
    if options.edition > 2011:
        ids = [kept.media_id for kept in taken]
        terminal.reply(header, multimedia.TakePhotoResponse(reply_serial=header.serial, result=0, media_ids=ids))
    for place, kept in enumerate(taken):
        event = multimedia.MultimediaEvent(media_id=kept.media_id, media_type=0, media_format=0, event_code=0, channel_id=kept.channel)
        terminal.later(0.1 + 0.2 * place, lambda event=event: terminal.send(event))  # type: ignore[misc]
        if not message.save_flag:
            terminal.later(0.2 + 0.2 * place, lambda kept=kept: _send_photo(terminal, kept))  # type: ignore[misc]


def _snap(terminal: SimulatedTerminal, channel: int) -> Kept:
    operator = _operator(terminal)
    number, operator.next_media = operator.next_media, operator.next_media + 1
    where = as_location(terminal.location_report())
    base = BaseLocation(**{name: getattr(where, name) for name in BaseLocation.wire_fields})
    kept = Kept(number, channel, 0, terminal.wall(), base, photo(f"{channel}{number % 100:02d}", seed=number))
    operator.photos[number] = kept
    if len(operator.photos) > PHOTOS_MAX:
        del operator.photos[next(iter(operator.photos))]
    return kept


def _send_photo(terminal: SimulatedTerminal, kept: Kept, media_type: int = 0) -> None:
    old = terminal.options.edition <= 2011
    message = multimedia.MultimediaData(
        media_id=kept.media_id, media_type=media_type, media_format=0, event_code=kept.event, channel_id=kept.channel,
        location=None if old else kept.location, package_total=1 if old else None, package_id=1 if old else None, data=kept.jpeg,
    )  # fmt: skip
    serial = terminal.send_pieces(message)
    if serial is not None:
        _operator(terminal).uploads[kept.media_id] = serial


def asked_again(terminal: SimulatedTerminal, message: multimedia.MultimediaResponse) -> None:
    """0x8800: all arrived, or the pieces to send again."""
    operator = _operator(terminal)
    serial = operator.uploads.get(message.media_id)
    if serial is None:
        return
    if message.package_ids:
        terminal.repeat_pieces(serial, message.package_ids)
    else:
        del operator.uploads[message.media_id]


def _matching(terminal: SimulatedTerminal, message: Any) -> list[Kept]:
    begin, end = from_bcd(message.start_time), from_bcd(message.end_time)
    return [
        kept
        for kept in _operator(terminal).photos.values()
        if message.media_type == 0
        and message.channel_id in (0, kept.channel)
        and message.event_code == kept.event
        and (begin is None or kept.wall >= begin)
        and (end is None or kept.wall <= end)
    ]


@on(0x8802)
def _search(terminal: SimulatedTerminal, header: Header, message: multimedia.MultimediaSearch) -> None:
    old = terminal.options.edition <= 2011
    items = [
        multimedia.StoredMultimedia(
            media_id=None if old else kept.media_id, media_type=0, channel_id=kept.channel, event_code=kept.event, location=kept.location
        )
        for kept in _matching(terminal, message)
    ]
    terminal.reply(header, multimedia.MultimediaSearchResponse(reply_serial=header.serial, total_count=len(items) if old else None, items=items))


@on(0x8803)
def _upload(terminal: SimulatedTerminal, header: Header, message: multimedia.MultimediaUpload) -> None:
    terminal.answer(header)
    for place, kept in enumerate(_matching(terminal, message)):
        terminal.later(0.1 + 0.2 * place, lambda kept=kept: _send_photo(terminal, kept))  # type: ignore[misc]
        if message.delete_flag:
            _operator(terminal).photos.pop(kept.media_id, None)


@on(0x8805)
def _upload_one(terminal: SimulatedTerminal, header: Header, message: multimedia.SingleMultimediaUpload) -> None:
    kept = _operator(terminal).photos.get(message.media_id)
    terminal.answer(header, Result.FAILURE if kept is None else Result.OK)
    if kept is None:
        return
    terminal.later(0.1, lambda: _send_photo(terminal, kept))
    if message.delete_flag:
        del _operator(terminal).photos[message.media_id]
