"""Reads the configuration: TOML, files and environment in, one ``Settings`` out, every fault at once.

Which file, in this order, the first that applies: ``--config FILE``, ``$JT1078RELAY_CONFIG``, ``./jt1078relay.toml``,
``/etc/jt1078relay.toml``, and else the built-in defaults with the store in ``./jt1078relay-data``. The first two must exist.

Rules for what stands in the file:

* Relative paths (``store.url``, ``tls_*``, ``file:``) count from the directory of the file, not from where the relay was started,
  so that ``jt1078relay terminal add --config …`` finds the same store from anywhere.
* A secret is the text itself, or ``"file:/path"`` (its first line), or ``"env:NAME"``. Secrets never appear in messages.
* An unknown section or key is a fault, with the nearest known name. A section of the contract that this version does not serve is
  taken with one warning.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from relay.core import video_schedule
from relay.core.alarm_reading import KINDS
from relay.errors import ConfigError, RelayError
from relay.rtmp.url import PushUrlError, parse_push_url
from relay.settings import Settings, Superior, tiles_origin
from relay.store.postgres import check_url as check_postgres_url
from relay.store.postgres import is_postgres
from relay.store.sqlite import path_of, url_of

ENVIRONMENT = "JT1078RELAY_CONFIG"
DATA = "jt1078relay-data"  #: where files go when the store is no file itself
HERE = "jt1078relay.toml"
SYSTEM = Path("/etc/jt1078relay.toml")

#: sections that the contract names and a later version serves; True: an array of tables
NOT_SERVED = {
    "cluster": False,
}

#: the contract's example writes this for "a key of yours"; it is no key
PLACEHOLDER = "…"
SIGNING_KEY_MIN = 16  #: characters: 128 bits if they are random hex digits' bytes; less invites guessing offline from one token
TALK_PORTS_MAX = 1000  #: one listening socket each


class ConfigurationError(RelayError):
    """All faults of one configuration."""

    def __init__(self, source: str, faults: list[ConfigError]) -> None:
        super().__init__("\n".join(f"{source}: {fault}" for fault in faults))
        self.source = source
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that was read, and where from."""

    settings: Settings
    path: Path | None  #: None: the built-in defaults
    said: str  #: for the first log line
    warnings: tuple[str, ...] = ()


def locate(explicit: str | None, environ: Mapping[str, str], here: Path) -> tuple[Path | None, str]:
    """The file to read and the words that say why this one."""
    if explicit:
        return here / explicit, f"configuration: {here / explicit} (--config)"
    named = environ.get(ENVIRONMENT, "")
    if named:
        return here / named, f"configuration: {here / named} (${ENVIRONMENT})"
    if (here / HERE).exists():
        return here / HERE, f"configuration: {here / HERE} (found here)"
    if SYSTEM.exists():
        return SYSTEM, f"configuration: {SYSTEM}"
    why = f"no --config, no ${ENVIRONMENT}, no {HERE} here, no {SYSTEM}"
    return None, f"configuration: built-in defaults ({why}), store in {here / 'jt1078relay-data'}"


def load(explicit: str | None = None, environ: Mapping[str, str] | None = None, here: Path | None = None) -> Loaded:
    """Find and read the configuration; raises ConfigurationError."""
    environ = os.environ if environ is None else environ
    here = Path.cwd() if here is None else here
    path, said = locate(explicit, environ, here)
    if path is None:
        settings, _ = build({}, here, environ, "built-in defaults")
        return Loaded(settings, None, said)
    try:
        source = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror or str(problem) if isinstance(problem, OSError) else f"not UTF-8 ({problem})"
        raise ConfigurationError(str(path), [ConfigError("", f"cannot be read: {why}")]) from None
    try:
        tree = tomllib.loads(source)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigurationError(str(path), [ConfigError("", f"not TOML: {problem}")]) from None
    settings, warnings = build(tree, path.resolve().parent, environ, str(path))
    return Loaded(settings, path, said, tuple(warnings))


def build(tree: Mapping[str, Any], base: Path, environ: Mapping[str, str], source: str) -> tuple[Settings, list[str]]:
    """A parsed file as Settings and warnings; raises ConfigurationError with everything that is wrong."""
    reader = _Reader(base, environ)
    settings = reader.settings(tree)
    _together(settings, reader.faults)
    if reader.faults:
        raise ConfigurationError(source, reader.faults)
    return settings, reader.warnings


@dataclass(slots=True)
class _Reader:
    """One reading: collects faults and warnings instead of stopping at the first."""

    base: Path
    environ: Mapping[str, str]
    faults: list[ConfigError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def settings(self, tree: Mapping[str, Any]) -> Settings:
        sections = {f.name: type(getattr(_DEFAULTS, f.name)) for f in fields(Settings) if "table" not in f.metadata}
        arrays = {f.name: f.metadata for f in fields(Settings) if "table" in f.metadata}
        for name, value in tree.items():
            if name in arrays:
                if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
                    self.fault(name, f"must be an array of tables: [[{name}]]")
            elif name in NOT_SERVED:
                self._not_served(name, value)
            elif name not in sections:
                self.fault(name, "unknown section" + _hint(name, [*sections, *arrays, *NOT_SERVED], _owner(name)))
            elif not isinstance(value, dict):
                self.fault(name, f"must be a section: [{name}]")
        built: dict[str, Any] = {}
        for name, cls in sections.items():
            table = tree.get(name, {})
            built[name] = self._section(name, cls, table if isinstance(table, dict) else {})
        for name, rules in arrays.items():
            built[name] = self._tables(name, rules, tree.get(name, []))
        kept = built["store"]
        if is_postgres(kept.url) and not kept.directory:
            built["store"] = replace(kept, directory=str(self.base / DATA))
        return Settings(**built)

    def _tables(self, name: str, rules: Mapping[str, Any], tables: object) -> tuple[Any, ...]:
        """An array of tables; faults name them ``push[1].url``, counted from 1 as they stand in the file."""
        if not isinstance(tables, list):
            return ()
        if len(tables) > rules["most"]:
            self.fault(name, f"{len(tables)} tables, {rules['most']} at most")
            return ()
        built = [self._section(f"{name}[{at}]", rules["table"], table) for at, table in enumerate(tables, 1) if isinstance(table, dict)]
        taken: dict[str, int] = {}
        for at, one in enumerate(built, 1):
            word = getattr(one, "name", "")
            if word and taken.setdefault(word, at) != at:
                self.fault(f"{name}[{at}].name", f"{_shown(word)} is also {name}[{taken[word]}]'s")
        return tuple(built)

    def fault(self, path: str, message: str) -> None:
        self.faults.append(ConfigError(path, message))

    def _not_served(self, name: str, value: object) -> None:
        if NOT_SERVED[name]:
            if not isinstance(value, list):
                self.fault(name, f"must be an array of tables: [[{name}]]")
                return
        elif not isinstance(value, dict):
            self.fault(name, f"must be a section: [{name}]")
            return
        self.warnings.append(f"{'[[' if NOT_SERVED[name] else '['}{name}{']]' if NOT_SERVED[name] else ']'} is not served by this version")

    def _section(self, section: str, cls: type, table: Mapping[str, Any]) -> Any:
        known = {f.name: f for f in fields(cls)}
        values = {}
        for key in table:
            if key not in known:
                self.fault(f"{section}.{key}", "unknown key" + _hint(key, list(known), _owner(key)))
        for key, option in known.items():
            default = option.default
            if option.metadata.get("needed") and table.get(key, "") == "":
                self.fault(f"{section}.{key}", "missing")
            values[key] = self._value(f"{section}.{key}", table.get(key, default), default, option.metadata)
        return cls(**values)

    def _value(self, path: str, value: Any, default: Any, rules: Mapping[str, Any]) -> Any:
        """``value`` as the type of ``default`` and within ``rules``; on a fault the default, so that reading goes on."""
        count = len(self.faults)
        if isinstance(default, bool):
            if not isinstance(value, bool):
                self.fault(path, f"must be true or false, not {_shown(value)}")
        elif isinstance(default, int):
            if isinstance(value, bool) or not isinstance(value, int):
                self.fault(path, f"must be a whole number, not {_shown(value)}")
        elif isinstance(default, float):
            if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value in (float("inf"), float("-inf")):
                self.fault(path, f"must be a number, not {_shown(value)}")
            else:
                value = float(value)
        elif isinstance(default, tuple):
            if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
                self.fault(path, f"must be a list of texts, not {_shown(value)}")
            else:
                value = tuple(_CHECKS[rules["check"]](self, path, item) for item in value)
        elif rules.get("check") == "merge_ms":
            value = _merge_ms(self, path, value)
        elif not isinstance(value, str):
            self.fault(path, f"must be a text, not {'a ' + type(value).__name__ if rules.get('secret') else _shown(value)}")
        elif rules.get("secret"):
            value = self._secret(path, value)
            if value and "check" in rules and len(self.faults) == count:
                value = _CHECKS[rules["check"]](self, path, value)
        elif "check" in rules:
            value = _CHECKS[rules["check"]](self, path, value)
        elif path.endswith((".tls_certificate", ".tls_key", ".tls_ca")) and value:
            value = self._readable(path, value)
        if len(self.faults) > count:
            return default
        low, high = rules.get("low"), rules.get("high")
        if low is not None and (value < low or (high is not None and value > high)):
            self.fault(path, f"{value} is out of range: {f'{low} to {high}' if high is not None else f'{low} or more'}")
        choices = rules.get("choices")
        if choices is not None and value not in choices:
            names = ", ".join(str(choice) for choice in choices)
            near = _hint(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else ""
            self.fault(path, f"must be one of {names}, not {_shown(value)}{near}")
        return value if len(self.faults) == count else default

    def _secret(self, path: str, value: str) -> str:
        if value.startswith("file:"):
            place = self.base / value[5:]
            try:
                lines = place.read_text(encoding="utf-8").splitlines()
                mode = place.stat().st_mode
            except (OSError, UnicodeDecodeError) as problem:
                why = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8"
                self.fault(path, f"the file {place} cannot be read: {why}")
                return ""
            if mode & (stat.S_IROTH | stat.S_IWOTH):
                self.warnings.append(f"{path}: the file {place} can be read by everybody; chmod 600 it")
            value = lines[0].strip() if lines else ""
            if not value:
                self.fault(path, f"the file {place} is empty")
        elif value.startswith("env:"):
            value = self.environ.get(value[4:], "")
            if not value:
                self.fault(path, "the environment variable it names is not set")
        if value == PLACEHOLDER:
            self.warnings.append(f'{path}: "…" is the placeholder of the documentation and counts as absent')
            return ""
        if value and path.startswith("auth.") and len(value) < SIGNING_KEY_MIN:
            self.fault(path, f"shorter than {SIGNING_KEY_MIN} characters; `openssl rand -hex 32` makes a good one")
        return value

    def _readable(self, path: str, value: str) -> str:
        place = self.base / value
        try:
            with place.open("rb"):
                pass
        except OSError as problem:
            self.fault(path, f"{place} cannot be read: {problem.strerror}")
        return str(place)


_DEFAULTS = Settings()


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else text[:57] + "..."


def _owner(key: str) -> str:
    """The one section that has this key, when there is just one."""
    owners = [f.name for f in fields(Settings) if "table" not in f.metadata and key in {k.name for k in fields(getattr(_DEFAULTS, f.name))}]
    return owners[0] if len(owners) == 1 else ""


def _hint(name: str, known: list[str], owner: str = "") -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; it belongs into [{owner}]" if owner else ""


def _host(reader: _Reader, path: str, value: str) -> str:
    if value == "localhost":
        return "127.0.0.1"
    try:
        ipaddress.ip_address(value)
    except ValueError:
        reader.fault(path, f'must be a numeric address to bind such as "0.0.0.0", "127.0.0.1" or "::", not {_shown(value)}')
    return value


def _name(reader: _Reader, path: str, value: str) -> str:
    """What others are told to connect to: it goes into a STRING of 0x9101 whose length is one byte."""
    if value and not _is_name(value):
        reader.fault(path, f'must be an address or a host name such as "203.0.113.10", without scheme and port, not {_shown(value)}')
    return value


def _place(reader: _Reader, path: str, value: str) -> str:
    host, separator, port = value.rpartition(":")
    if separator and port.isascii() and port.isdigit() and int(port) <= 65535:
        if host.startswith("[") and host.endswith("]") and ":" in host:
            host = host[1:-1]
    else:
        host = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if value and not _is_name(host):
        reader.fault(path, f'must be host or host:port such as "video.example:8443", not {_shown(value)}')
    return value


def _is_name(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return len(value) <= 253 and re.fullmatch(r"(?i)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?", value) is not None
    return True


def _port_range(reader: _Reader, path: str, value: str) -> str:
    if value in ("", "0"):
        return ""
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", value)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not match or not 1 <= first <= last <= 65535:
        reader.fault(path, f'must be ports such as "1279-1299" (or "" for none), not {_shown(value)}')
    elif last - first >= TALK_PORTS_MAX:
        reader.fault(path, f"more than {TALK_PORTS_MAX} ports")
    return value


def _merge_ms(reader: _Reader, path: str, value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and (text == "auto" or (text.isascii() and text.isdigit() and (text == "0" or 20 <= int(text) <= 350))):
        return text
    reader.fault(path, f'must be "auto", 0 or 20 to 350, not {_shown(value)}')
    return "auto"


def _network(reader: _Reader, path: str, value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        reader.fault(path, f'must be addresses or networks such as "10.0.0.1" or "10.0.0.0/8", not {_shown(value)}')
    return value


def _origin(reader: _Reader, path: str, value: str) -> str:
    try:
        parts = urlsplit(value)
        more = parts.path or parts.query or parts.fragment or parts.username
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and not more
    except ValueError:
        right = False
    if not right and value != "*":
        reader.fault(path, f'must be origins such as "https://fleet.example", not {_shown(value)}')
    return value


def _tiles(reader: _Reader, path: str, value: str) -> str:
    try:
        right = not value or (tiles_origin(value) != "" and all(hole in value for hole in ("{x}", "{y}", "{z}")))
    except ValueError:
        right = False
    if not right:
        reader.fault(path, f'must be an address such as "https://tiles.example/{{z}}/{{x}}/{{y}}.png", not {_shown(value)}')
    return value


def _header(reader: _Reader, path: str, value: str) -> str:
    if not value.isascii() or not value.isprintable() or ";" in value or "," in value:
        reader.fault(path, f"must be one list of sources of a Content-Security-Policy, not {_shown(value)}")
    return value


def _store_url(reader: _Reader, path: str, value: str) -> str:
    if is_postgres(value):
        problem = check_postgres_url(value)
        if problem:
            reader.fault(path, problem)
        return value
    try:
        place = path_of(value)
    except ConfigError as fault:
        reader.fault(path, fault.message)
        return value
    return url_of(reader.base / place)


def _directory(reader: _Reader, path: str, value: str) -> str:
    if not value:
        return ""
    place = reader.base / value
    if place.exists() and not place.is_dir():
        reader.fault(path, f"{place} is no directory")
    return str(place)


def _alarm(reader: _Reader, path: str, value: str) -> str:
    kind, dot, code = value.partition(".")
    if value != "*" and (kind not in KINDS or (dot and not re.fullmatch(r"[0-9]{1,3}|0x[0-9A-Fa-f]{1,2}", code))):
        reader.fault(path, f'must be kinds of alarms such as "adas", "dsm.1" or "*", not {_shown(value)}; kinds are {", ".join(KINDS)}')
    return value


def _rule_terminal(reader: _Reader, path: str, value: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f]{1,20}|group:.+", value):
        reader.fault(path, f'must be numbers of terminals or "group:NAME", not {_shown(value)}')
    return value


def _file_kind(reader: _Reader, path: str, value: str) -> str:
    kinds = ("picture", "audio", "video", "text", "face", "other")
    if value not in kinds:
        reader.fault(path, f"must be of {', '.join(kinds)}, not {_shown(value)}")
    return value


def _purpose(reader: _Reader, path: str, value: str) -> str:
    purposes = ("superior", "recorder", "viewer", "push", "api", "playback")
    if value not in purposes:
        reader.fault(path, f"must be of {', '.join(purposes)}, not {_shown(value)}")
    return value


def _channel(reader: _Reader, path: str, value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,3}", value) or not 1 <= int(value) <= 255:
        reader.fault(path, f'must be channels as texts: ["1", "2"], not {_shown(value)}')
    return value


def _subject(reader: _Reader, path: str, value: str) -> str:
    number = re.fullmatch(r"[0-9A-Fa-f]{1,20}", value)
    if value != "*" and not number and not re.fullmatch(r"superior:.+", value):
        reader.fault(path, f'must be numbers of terminals, "superior:NAME" or "*", not {_shown(value)}')
    return value


def _word(reader: _Reader, path: str, value: str) -> str:
    """A name that stands in URLs, metrics and logs."""
    if value and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", value):
        reader.fault(path, f"must be 1 to 64 letters, digits, dots, dashes and underscores, not {_shown(value)}")
    return value


def _push_url(reader: _Reader, path: str, value: str) -> str:
    """The value is a secret (stream keys), so it is not shown."""
    try:
        parse_push_url(value)
    except PushUrlError as problem:
        reader.fault(path, str(problem))
    return value


def _platform_id(reader: _Reader, path: str, value: str) -> str:
    """The 11 bytes of 平台唯一编码 and its like."""
    if len(value) > 11 or not value.isascii() or not value.isprintable():
        reader.fault(path, f"must be at most 11 letters and digits, not {_shown(value)}")
    return value


def _version(reader: _Reader, path: str, value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){2}", value) or max(map(int, value.split("."))) > 255:
        reader.fault(path, f'must be three numbers up to 255 such as "1.0.0", not {_shown(value)}')
    return value


def _vehicle(reader: _Reader, path: str, value: str) -> str:
    if not value.removeprefix("!").strip() or len(value) > 64:
        reader.fault(path, f'must be patterns such as "粤B*", "13800*", "!粤BT*", not {_shown(value)}')
    return value


def _alarm_type(reader: _Reader, path: str, value: str) -> str:
    which, _, kind = value.partition("=")
    try:
        right = 0 <= int(kind, 0) <= 0xFFFF and (re.fullmatch(r"[a-z]+\.([0-9]+|\*)", which) is not None or 0 <= int(which, 0) < 64)
    except ValueError:
        right = False
    if not right:
        reader.fault(path, f'must be "bit=type" or "kind.code=type" such as "0=0x0003", "adas.1=0x0011" (bits 32-63: video alarms), not {_shown(value)}')
    return value


def _rule(reader: _Reader, path: str, value: str) -> str:
    pattern, arrow, answer = value.partition("=>")
    if not arrow or not pattern.strip() or not answer.strip():
        reader.fault(path, f'must be "pattern => answer" such as "* => 在岗", not {_shown(value)}')
    return value


def _car_info(reader: _Reader, path: str, value: str) -> str:
    odd = re.search(r"[{}]", re.sub(r"\{(plate|plate_color|[A-Z][A-Z0-9_]*)\}", "", value))
    if odd:
        reader.fault(path, f"may name {{plate}}, {{plate_color}} and keys in capitals such as {{OWERS_NAME}}, not {_shown(value)}")
    return value


def _hook_url(reader: _Reader, path: str, value: str) -> str:
    """The value may carry a key, so it is not shown."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or not value.isascii() or not value.isprintable() or " " in value:
        reader.fault(path, "must be an http:// or https:// address")
    return value


def _hook_event(reader: _Reader, path: str, value: str) -> str:
    if not re.fullmatch(r"on_[a-z_*]+|\*", value):
        reader.fault(path, f"must be the name of a hook, like on_terminal_online or on_stream_*, not {_shown(value)}")
    return value


def _target(reader: _Reader, path: str, value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        if not value or not _is_name(value):
            reader.fault(path, f'must be hosts, addresses or networks such as "srs.internal" or "10.1.0.0/16", not {_shown(value)}')
    return value


def _schedule(reader: _Reader, path: str, value: str) -> str:
    try:
        video_schedule.parse(value)
    except ValueError:
        reader.fault(path, f'must be a span such as "Mon-Fri 07:00-19:00" or "22:00-06:00", not {_shown(value)}')
    return value


_CHECKS = {
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
    "directory": _directory,
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
    "store_url": _store_url,
}


# -- what must fit together


def sublink_key(superior: Superior) -> str:
    """The name of the listener on which a superior's subordinate link comes in."""
    return f"superior.sublink {superior.sublink_host}:{superior.sublink_port}"


def listeners(settings: Settings) -> list[tuple[str, str, str, int]]:
    """Every port that these settings bind: (key, "tcp" or "udp", host, port)."""
    t, m, h, r = settings.terminals, settings.media, settings.http, settings.rtmp
    found = [
        ("terminals.tcp_port", "tcp", t.host, t.tcp_port),
        ("terminals.udp_port", "udp", t.host, t.udp_port),
        ("terminals.tls_port", "tcp", t.host, t.tls_port),
        ("media.live_tcp_port", "tcp", m.host, m.live_tcp_port),
        ("media.live_udp_port", "udp", m.host, m.live_udp_port),
        ("media.playback_tcp_port", "tcp", m.host, m.playback_tcp_port),
        ("media.playback_udp_port", "udp", m.host, m.playback_udp_port),
        ("media.talk_tcp_port", "tcp", m.host, m.talk_tcp_port),
        ("http.port", "tcp", h.host, h.port),
        ("http.tls_port", "tcp", h.host, h.tls_port),
        ("attachments.port", "tcp", settings.attachments.host, settings.attachments.port),
        ("rtmp.port", "tcp", r.host, r.port),
        ("rtmp.tls_port", "tcp", r.host, r.tls_port),
    ]
    if settings.superior:  # their players are the only ones to use it
        found.append(("http.platform_port", "tcp", h.host, h.platform_port))
    shared: set[tuple[str, int]] = set()
    for one in settings.superior:
        if (one.sublink_host, one.sublink_port) not in shared:  # superiors on one port are told apart by access code and verify code
            shared.add((one.sublink_host, one.sublink_port))
            found.append((sublink_key(one), "tcp", one.sublink_host, one.sublink_port))
    found.append(("ftp.port", "tcp", settings.ftp.host, settings.ftp.port))
    if m.talk_extra_ports:
        first, _, last = m.talk_extra_ports.partition("-")
        found += [("media.talk_extra_ports", "tcp", m.host, n) for n in range(int(first), int(last or first) + 1)]
    return [one for one in found if one[3]]


def _together(settings: Settings, faults: list[ConfigError]) -> None:
    """What concerns several keys; keys that are at fault already stand at their defaults and are left out."""
    bad = {fault.path for fault in faults}
    if settings.log.record and not settings.log.record_dir and not bad & {"log.record", "log.record_dir"}:
        faults.append(ConfigError("log.record_dir", "says where recordings go; log.record needs it"))
    for name in ("terminals", "media", "http", "rtmp"):
        section = getattr(settings, name)
        if bad & {f"{name}.tls_certificate", f"{name}.tls_key"}:
            continue
        if bool(section.tls_certificate) != bool(section.tls_key):
            missing = "tls_key" if section.tls_certificate else "tls_certificate"
            faults.append(ConfigError(f"{name}.{missing}", "tls_certificate and tls_key go together"))
        elif section.tls_certificate:
            _certificate(section.tls_certificate, section.tls_key, name, faults)
        if getattr(section, "tls_port", 0) and not section.tls_certificate:
            faults.append(ConfigError(f"{name}.tls_certificate", f"{name}.tls_port needs tls_certificate and tls_key"))
    for at, one in enumerate(settings.superior, 1):
        _superior(one, f"superior[{at}]", bad, faults)
    taken: dict[tuple[str, int], list[tuple[str, str]]] = {}
    told = set()
    for key, kind, host, port in listeners(settings):
        if key in bad or f"{key.partition('.')[0]}.host" in bad:
            continue
        for other, where in taken.setdefault((kind, port), []):
            if (host == where or _any(host) or _any(where)) and (key, other) not in told:
                told.add((key, other))
                faults.append(ConfigError(key, f"{kind.upper()} port {port} is also {other}'s"))
        taken[kind, port].append((key, host))
    if settings.auth.signing_key_old and not settings.auth.signing_key:
        faults.append(ConfigError("auth.signing_key", "missing beside signing_key_old: the new key goes here, the former one there"))


def _superior(one: Superior, section: str, bad: set[str], faults: list[ConfigError]) -> None:
    def fault(key: str, message: str) -> None:
        if f"{section}.{key}" not in bad:
            faults.append(ConfigError(f"{section}.{key}", message))

    if one.encrypt and not (one.m1 or one.ia1 or one.ic1):
        fault("encrypt", "needs m1, ia1 and ic1, which the superior gives")
    if len(one.password.encode("gbk", "replace")) > 8:
        fault("password", "longer than the 8 bytes of 0x1001")
    if one.reconnect_max_s < one.reconnect_s:
        fault("reconnect_max_s", "less than reconnect_s")
    if one.timeout_s <= one.heartbeat_s:
        fault("timeout_s", "must be more than heartbeat_s, else a silent link is given up between two keep-alives")
    if bool(one.tls_certificate) != bool(one.tls_key):
        fault("tls_key" if one.tls_certificate else "tls_certificate", "tls_certificate and tls_key go together")
    elif one.tls_certificate:
        _certificate(one.tls_certificate, one.tls_key, section, faults)
    elif one.sublink_tls:
        fault("sublink_tls", "needs tls_certificate and tls_key")


def _certificate(certificate: str, key: str, section: str, faults: list[ConfigError]) -> None:
    from relay.net.tls import ReloadingCertificate  # OpenSSL takes a tenth of a second to load: only where there is a certificate

    try:
        ReloadingCertificate(certificate, key, lambda: 0.0, section)
    except ConfigError as problem:
        faults.append(problem)


def _any(host: str) -> bool:
    return ipaddress.ip_address(host).is_unspecified
