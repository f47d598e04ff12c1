"""What values of the configuration may look like that have a form of their own: addresses, origins, patterns, spans, by the name an option gives.

A form takes the text that stands in the file and gives what the settings hold; ``FormError`` says what it must be.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from relay.core import video_schedule
from relay.core.alarm_reading import KINDS
from relay.errors import ConfigError
from relay.rtmp.url import PushUrlError, parse_push_url
from relay.settings import tiles_origin
from relay.store.postgres import check_url as check_postgres_url
from relay.store.postgres import is_postgres
from relay.store.sqlite import path_of, url_of

TALK_PORTS_MAX = 1000  #: one listening socket each


class FormError(ValueError):
    """A value has not the form it needs; the words go on after its key."""


def shown(value: object) -> str:
    """A value as a fault shows it."""
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(words: str, value: object) -> FormError:
    return FormError(f"{words}, not {shown(value)}")


def _host(value: str) -> str:
    if value == "localhost":
        return "127.0.0.1"
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise _wrong('must be a numeric address to bind such as "0.0.0.0", "127.0.0.1" or "::"', value) from None
    return value


def _name(value: str) -> str:
    """What others are told to connect to: it goes into a STRING of 0x9101 whose length is one byte."""
    if value and not _is_name(value):
        raise _wrong('must be an address or a host name such as "203.0.113.10", without scheme and port', value)
    return value


def _place(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if separator and port.isascii() and port.isdigit() and int(port) <= 65535:
        if host.startswith("[") and host.endswith("]") and ":" in host:
            host = host[1:-1]
    else:
        host = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if value and not _is_name(host):
        raise _wrong('must be host or host:port such as "video.example:8443"', value)
    return value


def _is_name(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return len(value) <= 253 and re.fullmatch(r"(?i)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?", value) is not None
    return True


def _port_range(value: str) -> str:
    if value in ("", "0"):
        return ""
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", value)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not match or not 1 <= first <= last <= 65535:
        raise _wrong('must be ports such as "1279-1299" (or "" for none)', value)
    if last - first >= TALK_PORTS_MAX:
        raise FormError(f"more than {TALK_PORTS_MAX} ports")
    return value


def _merge_ms(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and (text == "auto" or (text.isascii() and text.isdigit() and (text == "0" or 20 <= int(text) <= 350))):
        return text
    raise _wrong('must be "auto", 0 or 20 to 350', value)


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise _wrong('must be addresses or networks such as "10.0.0.1" or "10.0.0.0/8"', value) from None
    return value


def _origin(value: str) -> str:
    try:
        parts = urlsplit(value)
        more = parts.path or parts.query or parts.fragment or parts.username
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and not more
    except ValueError:
        right = False
    if not right and value != "*":
        raise _wrong('must be origins such as "https://fleet.example"', value)
    return value


def _tiles(value: str) -> str:
    try:
        right = not value or (tiles_origin(value) != "" and all(hole in value for hole in ("{x}", "{y}", "{z}")))
    except ValueError:
        right = False
    if not right:
        raise _wrong('must be an address such as "https://tiles.example/{z}/{x}/{y}.png"', value)
    return value


def _header(value: str) -> str:
    if not value.isascii() or not value.isprintable() or ";" in value or "," in value:
        raise _wrong("must be one list of sources of a Content-Security-Policy", value)
    return value


def _alarm(value: str) -> str:
    kind, dot, code = value.partition(".")
    if value != "*" and (kind not in KINDS or (dot and not re.fullmatch(r"[0-9]{1,3}|0x[0-9A-Fa-f]{1,2}", code))):
        raise FormError(f'must be kinds of alarms such as "adas", "dsm.1" or "*", not {shown(value)}; kinds are {", ".join(KINDS)}')
    return value


def _rule_terminal(value: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f]{1,20}|group:.+", value):
        raise _wrong('must be numbers of terminals or "group:NAME"', value)
    return value


def _file_kind(value: str) -> str:
    kinds = ("picture", "audio", "video", "text", "face", "other")
    if value not in kinds:
        raise _wrong(f"must be of {', '.join(kinds)}", value)
    return value


def _purpose(value: str) -> str:
    purposes = ("superior", "recorder", "viewer", "push", "api", "playback")
    if value not in purposes:
        raise _wrong(f"must be of {', '.join(purposes)}", value)
    return value


def _channel(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,3}", value) or not 1 <= int(value) <= 255:
        raise _wrong('must be channels as texts: ["1", "2"]', value)
    return value


def _subject(value: str) -> str:
    number = re.fullmatch(r"[0-9A-Fa-f]{1,20}", value)
    if value != "*" and not number and not re.fullmatch(r"superior:.+", value):
        raise _wrong('must be numbers of terminals, "superior:NAME" or "*"', value)
    return value


def _word(value: str) -> str:
    """A name that stands in URLs, metrics and logs."""
    if value and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", value):
        raise _wrong("must be 1 to 64 letters, digits, dots, dashes and underscores", value)
    return value


def _push_url(value: str) -> str:
    """The value is a secret (stream keys), so it is not shown."""
    try:
        parse_push_url(value)
    except PushUrlError as problem:
        raise FormError(str(problem)) from None
    return value


def _platform_id(value: str) -> str:
    """The 11 bytes of 平台唯一编码 and its like."""
    if len(value) > 11 or not value.isascii() or not value.isprintable():
        raise _wrong("must be at most 11 letters and digits", value)
    return value


def _version(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){2}", value) or max(map(int, value.split("."))) > 255:
        raise _wrong('must be three numbers up to 255 such as "1.0.0"', value)
    return value


def _vehicle(value: str) -> str:
    if not value.removeprefix("!").strip() or len(value) > 64:
        raise _wrong('must be patterns such as "粤B*", "13800*", "!粤BT*"', value)
    return value


def _alarm_type(value: str) -> str:
    which, _, kind = value.partition("=")
    try:
        right = 0 <= int(kind, 0) <= 0xFFFF and (re.fullmatch(r"[a-z]+\.([0-9]+|\*)", which) is not None or 0 <= int(which, 0) < 64)
    except ValueError:
        right = False
    if not right:
        raise _wrong('must be "bit=type" or "kind.code=type" such as "0=0x0003", "adas.1=0x0011" (bits 32-63: video alarms)', value)
    return value


def _rule(value: str) -> str:
    pattern, arrow, answer = value.partition("=>")
    if not arrow or not pattern.strip() or not answer.strip():
        raise _wrong('must be "pattern => answer" such as "* => 在岗"', value)
    return value


def _car_info(value: str) -> str:
    odd = re.search(r"[{}]", re.sub(r"\{(plate|plate_color|[A-Z][A-Z0-9_]*)\}", "", value))
    if odd:
        raise _wrong("may name {plate}, {plate_color} and keys in capitals such as {OWERS_NAME}", value)
    return value


def _hook_url(value: str) -> str:
    """The value may carry a key, so it is not shown."""
    try:
        parts = urlsplit(value)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and value.isascii() and value.isprintable()
    except ValueError:  # brackets, or a port that is none
        right = False
    if not right or " " in value:
        raise FormError("must be an http:// or https:// address")
    return value


def _hook_event(value: str) -> str:
    if not re.fullmatch(r"on_[a-z_*]+|\*", value):
        raise _wrong("must be the name of a hook, like on_terminal_online or on_stream_*", value)
    return value


def _target(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        if not value or not _is_name(value):
            raise _wrong('must be hosts, addresses or networks such as "srs.internal" or "10.1.0.0/16"', value) from None
    return value


def _schedule(value: str) -> str:
    try:
        video_schedule.parse(value)
    except ValueError:
        raise _wrong('must be a span such as "Mon-Fri 07:00-19:00" or "22:00-06:00"', value) from None
    return value


def _store_url(value: str, base: Path) -> str:
    if is_postgres(value):
        problem = check_postgres_url(value)
        if problem:
            raise FormError(problem)
        return value
    try:
        place = path_of(value)
    except ConfigError as fault:
        raise FormError(fault.message) from None
    return url_of(base / place)


def _directory(value: str, base: Path) -> str:
    if not value:
        return ""
    place = base / value
    if place.exists() and not place.is_dir():
        raise FormError(f"{place} is no directory")
    return str(place)


#: by the name that an option's ``check`` gives
FORMS: dict[str, Callable[[str], str]] = {
    "merge_ms": _merge_ms,
    "schedule": _schedule,
    "target": _target,
    "platform_id": _platform_id,
    "version": _version,
    "vehicle": _vehicle,
    "alarm_type": _alarm_type,
    "rule": _rule,
    "car_info": _car_info,
    "hook_url": _hook_url,
    "hook_event": _hook_event,
    "word": _word,
    "push_url": _push_url,
    "subject": _subject,
    "alarm": _alarm,
    "rule_terminal": _rule_terminal,
    "channel": _channel,
    "purpose": _purpose,
    "file_kind": _file_kind,
    "host": _host,
    "name": _name,
    "place": _place,
    "port_range": _port_range,
    "network": _network,
    "origin": _origin,
    "header": _header,
    "tiles": _tiles,
}

#: the same for what counts from the directory of the file, their second argument
PLACES: dict[str, Callable[[str, Path], str]] = {"store_url": _store_url, "directory": _directory}
