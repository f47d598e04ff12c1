"""Words into messages: what an operator or a superior says, put into the fields of JT/T 808 for a terminal of a given edition.

Degrees, km/h, seconds and words come in; raw integers and bits go out. Every fault is a ``NotPossibleError`` that says what was wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from relay.core.orders import NotPossibleError
from relay.jt808.messages import areas, data, location, multimedia, parameters, text
from relay.jt808.messages.base import Body
from relay.wire import FieldError

TEXT_BYTES = 1024  #: 文本信息: "up to 1024 bytes"

#: 终端控制 by word; 2019 keeps only connect, reset and factory_reset
CONTROLS = {"upgrade": 1, "connect": 2, "power_off": 3, "reset": 4, "factory_reset": 5, "close_data": 6, "close_wireless": 7}
CONTROLS_2019 = frozenset({2, 4, 5})
#: the fields of the two commands that have any, in their order; joined by ";" with empty ones kept
UPGRADE_FIELDS = (
    "url", "apn", "dial_user", "dial_password", "address", "tcp_port", "udp_port", "manufacturer_id", "hardware_version", "firmware_version", "time_limit_min",
)  # fmt: skip
CONNECT_FIELDS = ("switch", "auth_code", "apn", "dial_user", "dial_password", "address", "tcp_port", "udp_port", "time_limit_min")

RESOLUTIONS = {"320x240": 1, "640x480": 2, "800x600": 3, "1024x768": 4, "176x144": 5, "352x288": 6, "704x288": 7, "704x576": 8, "lowest": 0, "highest": 255}

#: 报警类型 of 0x8203 by word
CONFIRMABLE = {"emergency": 0, "danger": 3, "area": 20, "route": 21, "segment_time": 22, "illegal_ignition": 27, "illegal_displacement": 28}

AREA_KINDS = {"circles": 1, "rectangles": 2, "polygons": 3, "routes": 4}
SET_WORDS = {"replace": 0, "append": 1, "modify": 2}
LIST_WORDS = {"clear": 0, "replace": 1, "append": 2, "modify": 3, "delete": 4}
DELETES: dict[str, type[areas.DeleteAreas]] = {
    "circles": areas.DeleteCircularAreas, "rectangles": areas.DeleteRectangularAreas, "polygons": areas.DeletePolygonAreas, "routes": areas.DeleteRoutes,
}  # fmt: skip
AREAS_MAX = 125  #: of one message

#: what an area's flags are called; the numbers are the bits of 区域属性
AREA_FLAGS = {
    "entry_alarm_driver": 2, "entry_alarm_platform": 3, "exit_alarm_driver": 4, "exit_alarm_platform": 5, "doors_closed": 8, "communication_off": 14,
    "gnss_detail": 15,
}  # fmt: skip
#: those of them that a route has
ROUTE_FLAGS = {word: bit for word, bit in AREA_FLAGS.items() if bit in areas.ROUTE_BITS}


def built(kind: type[Body], fields: Mapping[str, Any], edition: int) -> Body:
    """The message, tried out on the wire so that every fault shows here."""
    try:
        made = kind.from_fields(fields, edition)
        made.encode(edition)
    except FieldError as problem:
        raise NotPossibleError(f"{kind.ENGLISH}: {problem}") from None
    return made


# texts ---------------------------------------------------------------------------------------------------------------------------------


def text_message(
    words: str, edition: int, *, urgent: bool = False, display: bool = True, speak: bool = False, advertise: bool = False, fault_code: bool = False,
    service: bool = False,
) -> Body:  # fmt: skip
    """0x8300. ``speak`` reads it aloud (TTS). 2019 has two bits for its kind: 1 service, 2 urgent, 3 notice."""
    size = len(words.encode("gb18030", "replace"))
    if not words or size > TEXT_BYTES:
        raise NotPossibleError(f"a text of {size} bytes in GBK; from 1 to {TEXT_BYTES}")
    flags = display << 2 | speak << 3 | fault_code << 5
    if edition >= 2019:
        flags |= 2 if urgent else 1 if service else 3
    else:
        flags |= urgent | advertise << 4
    return built(text.TextMessage, {"flags": flags, "text": words, **({"text_type": 2 if service else 1} if edition >= 2019 else {})}, edition)


def question(words: str, answers: Mapping[int, str], edition: int, *, urgent: bool = False, speak: bool = True, advertise: bool = False) -> Body:
    """0x8302; the driver's choice comes later as 0x0302."""
    listed = [{"answer_id": number, "content": answer} for number, answer in answers.items()]
    return built(text.Question, {"flags": urgent | speak << 3 | advertise << 4, "question": words, "answers": listed}, edition)


def setting_list(kind: type[Body], name: str, how: str, items: list[dict[str, Any]], edition: int) -> Body:
    """0x8301, 0x8303, 0x8401: a list on the terminal that is cleared, replaced, appended to or modified."""
    code = LIST_WORDS.get(how)
    if code is None or (code == 4 and kind is not text.SetEvents):
        raise NotPossibleError(f"set is {how!r}; it may be {', '.join(LIST_WORDS)}")
    fields: dict[str, Any] = {"set_type": code}
    if code:
        fields[name] = items
        if edition == 2011:
            fields["total_count"] = len(items)
    return built(kind, fields, edition)


# control -------------------------------------------------------------------------------------------------------------------------------


def control(command: str, fields: Mapping[str, Any], edition: int) -> Body:
    """0x8105 by word."""
    code = CONTROLS.get(command)
    if code is None:
        raise NotPossibleError(f"there is no command {command!r}: {', '.join(CONTROLS)}")
    if edition >= 2019 and code not in CONTROLS_2019:
        raise NotPossibleError(f"JT/T 808-2019 has no {command}: connect, reset, factory_reset")
    names = {1: UPGRADE_FIELDS, 2: CONNECT_FIELDS}.get(code, ())
    unknown = [name for name in fields if name not in names]
    if unknown:
        raise NotPossibleError(f"{command} has no {', '.join(unknown)}; it has {', '.join(names) or 'no parameters'}")
    made: dict[str, Any] = {"command": code}
    if names:
        values = {name: str(value) for name, value in fields.items()}
        if any(";" in value for value in values.values()):
            raise NotPossibleError("a parameter of a control command cannot hold a semicolon, which parts them")
        back = code == 2 and values.get("switch", "0") not in ("0", "to")
        if code == 2:
            values["switch"] = "1" if back else "0"  # 0 to the platform that follows, 1 back to the former one
        made["command_params"] = "1" if back else ";".join(values.get(name, "") for name in names)
    return built(parameters.TerminalControl, made, edition)


def vehicle_doors(lock: bool, edition: int) -> Body:
    """0x8500: 2013 has bit 0 (1 = lock), 2019 control 1 (0 = lock, 1 = open): the other way round."""
    if edition >= 2019:
        return vehicle_controls([(1, 0 if lock else 1)])
    return vehicle_flags(int(lock))


def vehicle_flags(flags: int) -> Body:
    """0x8500 of 2011 and 2013; bits above 0 are vendors'."""
    return built(areas.VehicleControl, {"control_flags": flags}, 2013)


def vehicle_controls(controls: Iterable[tuple[int, int]]) -> Body:
    """0x8500 of 2019: (control id, parameter); ids from 0xF001 on are vendors'."""
    return built(areas.VehicleControl, {"controls": [{"control_id": number, "control_param": value} for number, value in controls]}, 2019)


def call_back(phone: str, listen: bool, edition: int) -> Body:
    """0x8400."""
    if not 1 <= len(phone) <= 20 or not all(c.isascii() and (c.isdigit() or c in "+-*#") for c in phone):
        raise NotPossibleError("a telephone number has 1 to 20 digits")
    return built(text.CallBack, {"flag": int(listen), "phone": phone}, edition)


# photos --------------------------------------------------------------------------------------------------------------------------------


def photo(
    channel: int, edition: int, *, action: str = "photo", count: int = 1, interval_s: int = 0, store: bool = False, resolution: str = "640x480",
    quality: int = 5, brightness: int = 128, contrast: int = 64, saturation: int = 64, chroma: int = 128,
) -> Body:  # fmt: skip
    """0x8801. ``action``: photo (``count`` of them), record (for ``interval_s``, 0 = endless), stop."""
    if resolution not in RESOLUTIONS:
        raise NotPossibleError(f"resolution is {resolution!r}; it may be {', '.join(RESOLUTIONS)}")
    if edition < 2019 and resolution in ("lowest", "highest"):
        raise NotPossibleError("lowest and highest are resolutions of JT/T 808-2019")
    commands = {"photo": count, "record": 0xFFFF, "stop": 0}
    if action not in commands or (action == "photo" and not 1 <= count <= 0xFFFE):
        raise NotPossibleError("action is photo with a count from 1 to 65534, record, or stop")
    for name, value, high in (
        ("quality", quality, 10), ("brightness", brightness, 255), ("contrast", contrast, 127), ("saturation", saturation, 127), ("chroma", chroma, 255),
    ):  # fmt: skip
        if not (name == "quality") <= value <= high:
            raise NotPossibleError(f"{name} is {value}; at most {high}")
    fields = {
        "channel_id": channel, "command": commands[action], "interval": interval_s, "save_flag": int(store), "resolution": RESOLUTIONS[resolution],
        "quality": quality, "brightness": brightness, "contrast": contrast, "saturation": saturation, "chroma": chroma,
    }  # fmt: skip
    return built(multimedia.TakePhoto, fields, edition)


def multimedia_search(media_type: int, channel: int, event: int, begin: str, end: str, edition: int, *, upload: bool = False, delete: bool = False) -> Body:
    """0x8802, or 0x8803 with ``upload``; times as the wire has them, zeros for no limit."""
    fields = {"media_type": media_type, "channel_id": channel, "event_code": event, "start_time": begin, "end_time": end}
    if upload:
        return built(multimedia.MultimediaUpload, {**fields, "delete_flag": int(delete)}, edition)
    return built(multimedia.MultimediaSearch, fields, edition)


# positions and alarms --------------------------------------------------------------------------------------------------------------------


def tracking(interval_s: int, duration_s: int, edition: int) -> Body:
    """0x8202; an interval of 0 stops it."""
    fields: dict[str, Any] = {"interval": interval_s}
    if interval_s:
        if duration_s < 1:
            raise NotPossibleError("tracking needs a duration_s of 1 or more")
        fields["duration"] = duration_s
    return built(location.TrackingControl, fields, edition)


def confirm_alarm(serial: int, types: Iterable[str], edition: int) -> Body:
    """0x8203; serial 0 = all alarms of these types."""
    flags = 0
    for word in types:
        if word not in CONFIRMABLE:
            raise NotPossibleError(f"{word!r} is no alarm that a person confirms: {', '.join(CONFIRMABLE)}")
        flags |= 1 << CONFIRMABLE[word]
    if not flags:
        raise NotPossibleError(f"types are missing: {', '.join(CONFIRMABLE)}")
    return built(location.AlarmConfirmation, {"alarm_serial": serial, "alarm_types": flags}, edition)


# areas ---------------------------------------------------------------------------------------------------------------------------------


def _degrees(where: str, given: Mapping[str, Any], latitude: str, longitude: str) -> tuple[int, int, bool, bool]:
    try:
        lat, lon = float(given[latitude]), float(given[longitude])
    except (KeyError, TypeError, ValueError):
        raise NotPossibleError(f"{where}: {latitude} and {longitude} are degrees") from None
    if not -90 <= lat <= 90 or not -180 <= lon <= 180:
        raise NotPossibleError(f"{where}: {lat}, {lon} is no place on earth")
    return round(abs(lat) * 1e6), round(abs(lon) * 1e6), lat < 0, lon < 0


class _Area:
    """What circles, rectangles, polygons and routes have in common."""

    def __init__(self, kind: str, given: Mapping[str, Any], edition: int, place: int) -> None:
        self.given = dict(given)
        self.where = f"{kind}[{place}]"
        self.edition = edition
        self.attributes = 0
        self.fields: dict[str, Any] = {}
        number = self.given.pop("id", None)
        if not isinstance(number, int) or not 1 <= number <= 0xFFFFFFFF:
            raise NotPossibleError(f"{self.where}: id is a number from 1 on")
        self.number = number
        for word, bit in (ROUTE_FLAGS if kind == "routes" else AREA_FLAGS).items():
            if self.given.pop(word, False):
                self.attributes |= 1 << bit
        begin, end = self.given.pop("start_time", None), self.given.pop("end_time", None)
        if (begin is None) != (end is None):
            raise NotPossibleError(f"{self.where}: start_time and end_time belong together")
        if begin is not None:
            self.attributes |= 1
            self.fields.update(start_time=begin, end_time=end)
        if edition >= 2019:
            self.fields["name"] = str(self.given.pop("name", ""))
        else:
            self.given.pop("name", None)

    def limit(self) -> None:
        """Speed limit, where one is given."""
        speed = self.given.pop("max_speed_kmh", None)
        seconds, night = self.given.pop("overspeed_s", None), self.given.pop("night_max_speed_kmh", None)
        if speed is None:
            return
        self.attributes |= 2
        self.fields.update(max_speed=speed, overspeed_duration=seconds if seconds is not None else 10)
        if self.edition >= 2019:
            self.fields["night_max_speed"] = night if night is not None else speed

    def point(self, latitude: str = "latitude", longitude: str = "longitude") -> tuple[int, int]:
        lat, lon, south, west = _degrees(self.where, self.given, latitude, longitude)
        self.given.pop(latitude, None)
        self.given.pop(longitude, None)
        self.attributes |= south << 6 | west << 7
        return lat, lon

    def done(self) -> dict[str, Any]:
        if self.given:
            raise NotPossibleError(f"{self.where}: {', '.join(sorted(self.given))} is not known here")
        return {**self.fields, "attributes": self.attributes}


def _circle(area: _Area) -> dict[str, Any]:
    lat, lon = area.point()
    area.fields.update(area_id=area.number, center_latitude=lat, center_longitude=lon, radius=area.given.pop("radius_m", None))
    area.limit()
    return area.done()


def _rectangle(area: _Area) -> dict[str, Any]:
    top, left = area.point("top", "left")
    bottom, right = area.point("bottom", "right")
    area.fields.update(area_id=area.number, left_top_latitude=top, left_top_longitude=left, right_bottom_latitude=bottom, right_bottom_longitude=right)
    area.limit()
    return area.done()


def _polygon(area: _Area) -> dict[str, Any]:
    points = area.given.pop("points", [])
    if not isinstance(points, list) or not 3 <= len(points) <= 0xFFFF:
        raise NotPossibleError(f"{area.where}: points are three or more of {{latitude, longitude}}")
    made, halves = [], set()
    for place, point in enumerate(points):
        lat, lon, south, west = _degrees(f"{area.where}.points[{place}]", point, "latitude", "longitude")
        made.append({"latitude": lat, "longitude": lon})
        halves.add((south, west))
    if len(halves) > 1:
        raise NotPossibleError(f"{area.where}: an area cannot lie on both sides of the equator or of the zero meridian")
    south, west = halves.pop()
    area.attributes |= south << 6 | west << 7
    area.fields.update(area_id=area.number, points=made)
    area.limit()
    return area.done()


def _route(area: _Area) -> dict[str, Any]:
    points = area.given.pop("points", [])
    if not isinstance(points, list) or not 1 <= len(points) <= 0xFFFF:
        raise NotPossibleError(f"{area.where}: points are a list of turning points")
    made = []
    for place, given in enumerate(points):
        where = f"{area.where}.points[{place}]"
        if not isinstance(given, Mapping):
            raise NotPossibleError(f"{where}: a turning point has latitude and longitude")
        point = dict(given)
        lat, lon, south, west = _degrees(where, point, "latitude", "longitude")
        flags = south << 2 | west << 3
        one: dict[str, Any] = {
            "point_id": point.pop("id", place + 1), "segment_id": point.pop("segment", place + 1), "latitude": lat, "longitude": lon,
            "width": point.pop("width_m", 50),
        }  # fmt: skip
        slow, fast = point.pop("too_long_s", None), point.pop("too_short_s", None)
        if slow is not None or fast is not None:
            flags |= 1
            one.update(too_long_threshold=0xFFFF if slow is None else slow, too_short_threshold=fast or 0)  # neither is missed where it is not given
        speed, seconds, night = point.pop("max_speed_kmh", None), point.pop("overspeed_s", None), point.pop("night_max_speed_kmh", None)
        if speed is not None:
            flags |= 2
            one.update(max_speed=speed, overspeed_duration=seconds if seconds is not None else 10)
            if area.edition >= 2019:
                one["night_max_speed"] = night if night is not None else speed
        unknown = set(point) - {"latitude", "longitude"}
        if unknown:
            raise NotPossibleError(f"{where}: {', '.join(sorted(unknown))} is not known here")
        made.append({**one, "attributes": flags})
    area.fields.update(route_id=area.number, points=made)
    return area.done()


def set_areas(kind: str, how: str, given: Sequence[Mapping[str, Any]], edition: int) -> list[Body]:
    """0x8600, 0x8602: one message for all; 0x8604, 0x8606: a message each. ``how``: replace (all), append, modify."""
    if kind not in AREA_KINDS:
        raise NotPossibleError(f"there are no {kind}: {', '.join(AREA_KINDS)}")
    if how not in SET_WORDS:
        raise NotPossibleError(f"set is {how!r}; it may be {', '.join(SET_WORDS)}")
    if not 1 <= len(given) <= AREAS_MAX:
        raise NotPossibleError(f"{len(given)} {kind}; from 1 to {AREAS_MAX}")
    make = {"circles": _circle, "rectangles": _rectangle, "polygons": _polygon, "routes": _route}[kind]
    made = [make(_Area(kind, one, edition, place)) for place, one in enumerate(given)]
    if kind in ("circles", "rectangles"):
        cls: type[Body] = areas.SetCircularAreas if kind == "circles" else areas.SetRectangularAreas
        total = {"total_count": len(made)} if edition == 2011 else {}
        return [built(cls, {"set_type": SET_WORDS[how], **total, "areas": made}, edition)]
    messages = [built(areas.SetPolygonArea if kind == "polygons" else areas.SetRoute, one, edition) for one in made]
    return [built(DELETES[kind], {"area_ids": []}, edition), *messages] if how == "replace" else messages


def delete_areas(kind: str, ids: list[int], edition: int) -> Body:
    """0x8601, 0x8603, 0x8605, 0x8607; no id = all."""
    if kind not in DELETES or len(ids) > AREAS_MAX:
        raise NotPossibleError(f"{len(ids)} of {kind}; at most {AREAS_MAX} of {', '.join(DELETES)}")
    return built(DELETES[kind], {"area_ids": ids}, edition)


def query_areas(kind: str, ids: list[int]) -> Body:
    """0x8608 (2019)."""
    if kind not in AREA_KINDS:
        raise NotPossibleError(f"there are no {kind}: {', '.join(AREA_KINDS)}")
    return built(areas.AreaQuery, {"query_type": AREA_KINDS[kind], "ids": ids}, 2019)


def recorder(command: int, block: bytes, edition: int) -> Body:
    """0x8700: a command word of GB/T 19056 and its block."""
    return built(data.RecorderQuery, {"command": command, "data": block.hex()}, edition)


def passthrough(kind: int, content: bytes, edition: int) -> Body:
    """0x8900."""
    return built(data.PassthroughDown, {"type": kind, "data": content.hex()}, edition)
