"""What is peculiar to a terminal or to its model: learnt while it works, kept, shown, and overridden by people who know better.

    effective = the terminal's override, else its model's override, else what was learnt of the terminal, else of its model, else the default

The places that ask are few and named in ``KNOWN``; nothing else of the relay looks at makers or models. What is learnt of a terminal is learnt of its
model too ("manufacturer/model" of 0x0100 or 0x0107), so that the next one of the kind is known from its first connection.

Values are JSON's; a table of the store keeps them (``QuirkRows``), and reading never waits: everything is in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.events import Events
from relay.core.terminals import Terminals
from relay.errors import RelayError
from relay.hub.stream import Stream
from relay.identity import phone_key
from relay.jt1078.demux import Demuxer
from relay.jt1078.sequence import CHANNEL, CONNECTION, KIND
from relay.jt1078.timeline import Timeline
from relay.store.quirks import Profile

log = Logger()

TERMINAL, MODEL = "terminal", "model"
PROFILES_MAX = 50_000  #: terminals and models that something is kept of; some hundred bytes each


#: what nearly all have: not worth keeping unless something else was kept before
USUAL: dict[str, Any] = {"sim_bytes": 6, "timestamps": "regular", "marks": "right", "sequence": "connection"}
_SCHEMES = {CONNECTION: "connection", CHANNEL: "channel", KIND: "kind"}


class QuirkError(RelayError):
    """A quirk that does not exist, or a value it cannot have."""


class Quirk(NamedTuple):
    """One peculiarity."""

    words: str  #: what it is, and who asks
    check: Callable[[Any], bool]
    values: str  #: what it may be


def _one_of(*choices: Any) -> tuple[Callable[[Any], bool], str]:
    return lambda value: type(value) in {type(one) for one in choices} and value in choices, ", ".join(map(str, choices))


def _number(low: int, high: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high, f"{low} to {high}"


def _is_voice(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= {"pt", "samples", "hisi", "bits", "layout", "rate"}
        and isinstance(value.get("pt"), int)
        and 1 <= value["pt"] <= 127
        and all(isinstance(value.get(name, 0), int) and 0 <= value.get(name, 0) <= 48000 for name in ("samples", "bits", "rate"))
        and isinstance(value.get("hisi", False), bool)
        and value.get("layout", "") in ("", "le", "be", "hisi", "ima-wav", "raw-dvi4", "rtp-dvi4")
    )


def _is_way(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    flags, controls = value.get("flags"), value.get("controls")
    if flags is not None:
        return isinstance(flags, int) and 0 <= flags <= 255
    return (
        isinstance(controls, list)
        and 1 <= len(controls) <= 64
        and all(isinstance(one, list) and len(one) == 2 and all(isinstance(number, int) and number >= 0 for number in one) for one in controls)
    )


def _is_streams(value: Any) -> bool:
    return isinstance(value, dict) and len(value) <= 510 and all(_STREAM.fullmatch(name) and codec in ("h264", "h265") for name, codec in value.items())


_STREAM = re.compile(r"[1-9][0-9]{0,2}\.(main|sub)")
_STREAMS = '{"1.main": "h265", "1.sub": "h264"}'

_WAY = 'as {"flags": 4} (2013) or {"controls": [[61441, 1]]} (2019)'

KNOWN: dict[str, Quirk] = {
    "sim_bytes": Quirk("width of the SIM field in its media packets; the downlink of a talk has the same", *_one_of(6, 10)),
    "sim_field": Quirk("the SIM field that its media packets carry, when it is not its number", lambda v: isinstance(v, str) and len(v) <= 20, "hex digits"),
    "timestamps": Quirk("what its time stamps do; shown, since the timeline finds out anew each time", *_one_of("regular", "frozen", "jumping", "other unit")),
    "marks": Quirk("whether its sub-package marks can be believed; shown", *_one_of("right", "wrong")),
    "sequence": Quirk("what its sequence numbers count; shown", *_one_of("connection", "channel", "kind")),
    "audio.g726_order": Quirk("bit order of its G.726, taken instead of found out", *_one_of("le", "be")),
    "video.streams": Quirk("codec of each channel's streams; players that show H.264 only are given the one that is", _is_streams, _STREAMS),
    "playback_beside_live": Quirk("whether it plays back while it sends the same channel live", *_one_of(True, False)),
    "talk.voice": Quirk("what it plays: codec and block, as learnt from what it sends when it talks", _is_voice, '{"pt": 6, "samples": 320, "hisi": false}'),
    "talk.silent": Quirk("it sends nothing when it is called: told by a port of its own", *_one_of(True, False)),
    "talk.close_command": Quirk("command of 0x9102 that ends a talk", *_one_of(0, 4)),
    "broadcast.close_command": Quirk("command of 0x9102 that ends listening and broadcasts", *_one_of(0, 4)),
    "talk.keep_ms": Quirk("silence is sent so often while nobody speaks; 0 = never", *_number(0, 60000)),
    "vehicle.fuel_cut": Quirk("0x8500 that cuts the fuel", _is_way, _WAY),
    "vehicle.fuel_restore": Quirk("0x8500 that restores it", _is_way, _WAY),
    "vehicle.circuit_cut": Quirk("0x8500 that cuts the circuit", _is_way, _WAY),
    "vehicle.circuit_restore": Quirk("0x8500 that restores it", _is_way, _WAY),
}


def check(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, if every one of them is possible; QuirkError names the first that is not."""
    for name, value in values.items():
        known = KNOWN.get(name)
        if known is None:
            raise QuirkError(f"there is no quirk {name!r}: {', '.join(KNOWN)}")
        if not known.check(value):
            raise QuirkError(f"{name} may be {known.values}, not {value!r}")
    return dict(values)


class QuirkRows(Protocol):
    """What is needed of the store."""

    def all(self) -> Deferred[list[Profile]]: ...
    def put(self, profile: Profile, now: float) -> Deferred[None]: ...


class Quirks:
    """All profiles."""

    def __init__(self, terminals: Terminals, events: Events, wall: Callable[[], float], rows: QuirkRows | None = None) -> None:
        self.unsaved = 0  #: changes that the store did not take
        self._terminals = terminals
        self._events = events
        self._wall = wall
        self._rows = rows
        self._profiles: dict[tuple[str, str], Profile] = {}

    def load(self) -> Deferred[None] | None:
        """Read what was kept; until then everything is at its default."""
        if self._rows is None:
            return None

        def loaded(profiles: list[Profile]) -> None:
            for profile in profiles[:PROFILES_MAX]:
                self._profiles.setdefault((profile.kind, profile.name), profile)

        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, RelayError):
                failure.raiseException()
            log.error("what was learnt of terminals cannot be read: {problem}", problem=failure.getErrorMessage())

        done: Deferred[None] = self._rows.all().addCallbacks(loaded, failed)
        return done

    # ---- asking ---------------------------------------------------------------------------------------------------------------

    def model_of(self, sim: str) -> str:
        """ "manufacturer/model", or "" while the terminal has not told."""
        terminal = self._terminals.get(sim)
        if terminal is None or not terminal.model:
            return ""
        return f"{terminal.manufacturer.strip() or '?'}/{terminal.model.strip()}"

    def get(self, sim: str, name: str, default: Any = None) -> Any:
        """The effective value."""
        for source in self._sources(sim):
            if name in source:
                return source[name]
        return default

    def _sources(self, sim: str) -> list[dict[str, Any]]:
        terminal = self._profiles.get((TERMINAL, phone_key(sim)))
        model = self._profiles.get((MODEL, self.model_of(sim)))
        empty: dict[str, Any] = {}
        return [
            terminal.override if terminal else empty, model.override if model else empty, terminal.learnt if terminal else empty,
            model.learnt if model else empty,
        ]  # fmt: skip

    def effective(self, sim: str) -> dict[str, Any]:
        """All that is known, by name."""
        found: dict[str, Any] = {}
        for source in reversed(self._sources(sim)):
            found.update(source)
        return dict(sorted(found.items()))

    def profile(self, kind: str, name: str) -> Profile:
        """What is kept of one; empty when nothing is."""
        return self._profiles.get((kind, name)) or Profile(kind, name, {}, {})

    def profiles(self) -> list[Profile]:
        """All of them: models first, by name."""
        return [self._profiles[key] for key in sorted(self._profiles)]

    @staticmethod
    def check(*values: Mapping[str, Any]) -> None:
        """QuirkError if one of them is not possible."""
        for one in values:
            check(one)

    # ---- learning and overriding ---------------------------------------------------------------------------------------------------

    def learn(self, sim: str, name: str, value: Any) -> bool:
        """Something was seen of a terminal; True when that is news. What cannot be is a fault of ours: QuirkError."""
        check({name: value})
        key = phone_key(sim)
        if USUAL.get(name) == value and not any(name in source for source in self._sources(key)):
            return False
        news = self._learn(TERMINAL, key, name, value)
        model = self.model_of(key)
        if model:
            self._learn(MODEL, model, name, value)
        if news:
            log.info("{sim}: {name} is {value}", sim=key, name=name, value=value)
            self._events.publish("terminal.quirk", sim=key, quirk=name, value=value)
        return news

    def media_seen(self, stream: Stream, sim: str, demuxer: Demuxer) -> None:
        """A media connection of a terminal has run for a while; ``sim`` is what its packets say."""
        key = stream.key.sim
        if self._terminals.get(key) is None:
            return
        if demuxer.sim_bytes:
            self.learn(key, "sim_bytes", demuxer.sim_bytes)
        if phone_key(sim) != key:
            self.learn(key, "sim_field", sim)
        if demuxer.sequence.decided and demuxer.sequence.scheme in _SCHEMES:
            self.learn(key, "sequence", _SCHEMES[demuxer.sequence.scheme])
        tracks = [track for each in demuxer.streams.values() for track in (each.video, each.audio)]
        self.learn(key, "marks", "wrong" if any(track.by_time for track in tracks) else "right")
        timeline = getattr(stream.ingest, "timeline", None)
        if isinstance(timeline, Timeline) and stream.key.kind == "live":
            self.learn(key, "timestamps", timeline.habit)

    def _learn(self, kind: str, name: str, quirk: str, value: Any) -> bool:
        profile = self.profile(kind, name)
        if quirk in profile.learnt and profile.learnt[quirk] == value:
            return False
        self._keep(profile._replace(learnt={**profile.learnt, quirk: value}))
        return True

    def override(self, kind: str, name: str, values: Mapping[str, Any], learnt: Mapping[str, Any] | None = None) -> Profile:
        """What people say of it, instead of what they said before; with ``learnt`` (an import) that is replaced too. QuirkError."""
        profile = self.profile(kind, name)._replace(override=check(values))
        if learnt is not None:
            profile = profile._replace(learnt=check(learnt))
        self._keep(profile)
        return profile

    def forget(self, kind: str, name: str) -> Profile:
        """Forget what was learnt; overrides stay."""
        profile = self.profile(kind, name)._replace(learnt={})
        self._keep(profile)
        return profile

    def _keep(self, profile: Profile) -> None:
        key = profile.kind, profile.name
        if key not in self._profiles and len(self._profiles) >= PROFILES_MAX:
            self.unsaved += 1
            return
        self._profiles[key] = profile
        if not profile.learnt and not profile.override:
            del self._profiles[key]
        if self._rows is None:
            return

        def failed(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, RelayError):
                return failure
            self.unsaved += 1
            log.warn("{kind} {name}: its quirks are not saved: {problem}", kind=profile.kind, name=profile.name, problem=failure.getErrorMessage())
            return None

        self._rows.put(profile, self._wall()).addErrback(failed)
