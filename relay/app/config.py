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
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from relay.app import coherence
from relay.app.forms import FORMS, PLACES, FormError, shown
from relay.errors import ConfigError, RelayError
from relay.settings import Settings
from relay.store.postgres import is_postgres

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
    if os.path.exists(here / HERE):  # not Path.exists(): a directory that this user may not look into has no such file for it
        return here / HERE, f"configuration: {here / HERE} (found here)"
    if SYSTEM.exists():
        return SYSTEM, f"configuration: {SYSTEM}"
    why = f"no --config, no ${ENVIRONMENT}, no {HERE} here, no {SYSTEM}"
    return None, f"configuration: built-in defaults ({why}), store in {here / DATA}"


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
    coherence.check(settings, reader.faults)
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
                self.fault(f"{name}[{at}].name", f"{shown(word)} is also {name}[{taken[word]}]'s")
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
                self.fault(path, f"must be true or false, not {shown(value)}")
        elif isinstance(default, int):
            if isinstance(value, bool) or not isinstance(value, int):
                self.fault(path, f"must be a whole number, not {shown(value)}")
        elif isinstance(default, float):
            if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value in (float("inf"), float("-inf")):
                self.fault(path, f"must be a number, not {shown(value)}")
            else:
                value = float(value)
        elif isinstance(default, tuple):
            if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
                self.fault(path, f"must be a list of texts, not {shown(value)}")
            else:
                value = tuple(self._formed(path, rules["check"], item) for item in value)
        elif rules.get("check") == "merge_ms":
            value = self._formed(path, "merge_ms", value)
        elif not isinstance(value, str):
            self.fault(path, f"must be a text, not {'a ' + type(value).__name__ if rules.get('secret') else shown(value)}")
        elif rules.get("secret"):
            value = self._secret(path, value)
            if value and "check" in rules and len(self.faults) == count:
                value = self._formed(path, rules["check"], value)
        elif "check" in rules:
            value = self._formed(path, rules["check"], value)
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
            self.fault(path, f"must be one of {names}, not {shown(value)}{near}")
        return value if len(self.faults) == count else default

    def _formed(self, path: str, form: str, value: str) -> str:
        try:
            return PLACES[form](value, self.base) if form in PLACES else FORMS[form](value)
        except FormError as problem:
            self.fault(path, str(problem))
            return value

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


def _owner(key: str) -> str:
    """The one section that has this key, when there is just one."""
    owners = [f.name for f in fields(Settings) if "table" not in f.metadata and key in {k.name for k in fields(getattr(_DEFAULTS, f.name))}]
    return owners[0] if len(owners) == 1 else ""


def _hint(name: str, known: list[str], owner: str = "") -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; it belongs into [{owner}]" if owner else ""
