"""Pan, tilt, zoom (云台控制, 0x9301 to 0x9306) by words, and the dead man's switch behind a held button.

A rotation (0x9301) goes on until it is told to stop, and the page that was to say so may be gone. So every rotation is a *hold*: whoever wants it
to go on says the same again within ``hold_s``, which sends nothing to the terminal, and when nobody does the relay sends the stop itself.

    still ──rotate──→ moving ──the same again──→ moving (new deadline, nothing sent)
                        │  ──another direction or speed──→ moving (sent)
                        │  ──"stop"──→ still            ──hold_s over──→ stop sent, event "ptz.stopped"
                        └──terminal offline──→ stop is owed: sent when it is back, within OWED_S

Focus, iris and zoom (0x9302, 0x9303, 0x9306) are single steps in the standard and end by themselves; wiper and light (0x9304, 0x9305) are switches.
One channel has one owner of its movement at a time: the last who spoke.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.events import Events
from relay.core.link import RefusedError, RequestError, TerminalOfflineError
from relay.core.orders import Record
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.errors import RelayError
from relay.hub.merge import Clock, DelayedCall
from relay.identity import phone_key
from relay.jt808.messages.base import Body
from relay.jt808.messages.video import Direction, PtzFocus, PtzIris, PtzLight, PtzRotate, PtzWiper, PtzZoom

log = Logger()

HOLD_S = 2.0  #: a rotation that is not renewed is stopped after so long: a page renews twice a second, a lost one moves no camera for minutes
HOLD_MAX_S = 60.0  #: what may be asked for at once, by scripts that do not renew
OWED_S = 60.0  #: a terminal that comes back later has most likely restarted, and its head stands still
MOVING_MAX = 1000  #: heads that move at a time

ROTATE, FOCUS, ZOOM, IRIS, WIPER, LIGHT = "rotate", "focus", "zoom", "iris", "wiper", "light"

_DIRECTIONS = {"stop": Direction.STOP, "up": Direction.UP, "down": Direction.DOWN, "left": Direction.LEFT, "right": Direction.RIGHT}
_IN_OUT = {"in": 0, "out": 1}
_OPEN_CLOSE = {"open": 0, "close": 1}


class PtzError(RelayError):
    """Words that are no movement."""


class Movement(NamedTuple):
    """What a camera is told, in the words of the API."""

    action: str  #: rotate, focus, zoom, iris, wiper, light
    direction: str = ""  #: up, down, left, right, stop; in, out; open, close
    speed: int = 128  #: 0 to 255, for rotate
    on: bool = False  #: for wiper and light

    def message(self, channel: int) -> Body:
        """0x9301 to 0x9306; raises PtzError."""
        if self.action == ROTATE:
            direction = _word(self, _DIRECTIONS)
            return PtzRotate(channel=channel, direction=direction, speed=self.speed if direction else 0)
        if self.action == FOCUS:
            return PtzFocus(channel=channel, focus_direction=_word(self, _IN_OUT))
        if self.action == ZOOM:
            return PtzZoom(channel=channel, zoom_direction=_word(self, _IN_OUT))
        if self.action == IRIS:
            return PtzIris(channel=channel, iris_direction=_word(self, _OPEN_CLOSE))
        if self.action == WIPER:
            return PtzWiper(channel=channel, switch=int(self.on))
        if self.action == LIGHT:
            return PtzLight(channel=channel, switch=int(self.on))
        raise PtzError(f"there is no action {self.action!r}: rotate, focus, zoom, iris, wiper, light")


def _word(movement: Movement, words: Mapping[str, int]) -> int:
    if movement.direction not in words:
        raise PtzError(f"{movement.action} has the directions {', '.join(words)}, not {movement.direction!r}")
    return words[movement.direction]


class _Hold:
    """A head that moves."""

    __slots__ = ("call", "movement", "until", "who")

    def __init__(self, movement: Movement, until: float, who: str) -> None:
        self.movement = movement
        self.until = until  #: monotonic
        self.who = who
        self.call: DelayedCall | None = None


class Ptz:
    """All heads of all terminals."""

    def __init__(self, terminals: Terminals, clock: Clock, events: Events, hold_s: float = HOLD_S, record: Record | None = None) -> None:
        self.hold_s = hold_s
        self._record = record
        self._terminals = terminals
        self._clock = clock
        self._events = events
        self._moving: dict[tuple[str, int], _Hold] = {}
        self._owed: dict[tuple[str, int], float] = {}  #: a stop that could not be said -> until when it is still worth saying
        self._unwatch = terminals.watch(self._on_terminal)

    def moving(self, sim: str) -> list[dict[str, object]]:
        """The heads of a terminal that move, and who moves them."""
        key = phone_key(sim)
        return [
            {"channel": channel, "direction": hold.movement.direction, "speed": hold.movement.speed, "who": hold.who}
            for (number, channel), hold in self._moving.items()
            if number == key
        ]

    def tell(self, sim: str, channel: int, movement: Movement, who: str = "", hold_s: float | None = None, timeout_s: float | None = None) -> Deferred[float]:
        """Move; fires with the seconds after which the relay stops it by itself (0.0: it need not), once the terminal has said yes.

        Fails with PtzError or a RequestError. ``hold_s`` is for those who do not renew, at most HOLD_MAX_S.
        """
        key = phone_key(sim), channel
        try:
            message = movement.message(channel)
        except PtzError as problem:
            return fail(problem)
        hold = self._moving.get(key)
        if self._record is not None and (hold is None or hold.movement != movement):
            words = f"channel {channel}: {movement.action} {movement.direction or ('on' if movement.on else 'off')}"
            self._record(who, "ptz", key[0], f"{words} {movement.speed}" if movement.action == ROTATE else words)
        if movement.action != ROTATE:
            return self._terminals.request(sim, message, timeout_s).addCallback(lambda _: 0.0)
        if movement.direction == "stop":
            self._forget(key)
            return self._terminals.request(sim, message, timeout_s).addCallback(lambda _: 0.0)
        seconds = self.hold_s if hold_s is None else max(0.1, min(hold_s, HOLD_MAX_S))
        if hold is not None and hold.movement == movement:
            hold.who = who
            self._extend(key, hold, seconds)
            done: Deferred[float] = Deferred()
            done.callback(seconds)
            return done
        if hold is None and len(self._moving) >= MOVING_MAX:
            return fail(PtzError(f"{MOVING_MAX} cameras move already"))
        if not self._terminals.is_online(sim):
            return fail(TerminalOfflineError(key[0], f"terminal {key[0]} is not online"))
        if hold is None:
            hold = self._moving[key] = _Hold(movement, 0.0, who)
        hold.movement, hold.who = movement, who
        self._owed.pop(key, None)
        self._extend(key, hold, seconds)

        def refused(failure: Failure) -> Failure:
            # a yes that was lost moves the head all the same: the stop is sent when the hold is over; a clear no needs none
            if isinstance(failure.value, RefusedError) and self._moving.get(key) is hold and hold.movement is movement:
                self._forget(key)
            return failure

        return self._terminals.request(sim, message, timeout_s).addCallbacks(lambda _: seconds, refused)

    def _extend(self, key: tuple[str, int], hold: _Hold, seconds: float) -> None:
        """A call that is early finds out by itself; renewals come twice a second."""
        hold.until = self._clock.seconds() + seconds
        if hold.call is None:
            hold.call = self._clock.callLater(seconds, self._look, key, hold)

    def _look(self, key: tuple[str, int], hold: _Hold) -> None:
        hold.call = None
        left = hold.until - self._clock.seconds()
        if left > 0.001:
            hold.call = self._clock.callLater(left, self._look, key, hold)
            return
        self._forget(key)
        sim, channel = key
        log.info("{sim} channel {channel}: the rotation of {who} was not renewed, stopped", sim=sim, channel=channel, who=hold.who or "nobody")
        self._events.publish("ptz.stopped", sim=sim, channel=channel, who=hold.who, reason="not renewed")
        self._say_stop(key)

    def _say_stop(self, key: tuple[str, int]) -> None:
        sim, channel = key
        stop = PtzRotate(channel=channel, direction=Direction.STOP, speed=0)

        def unheard(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, RequestError):
                return failure
            log.warn("{sim} channel {channel}: it may go on turning: {problem}", sim=sim, channel=channel, problem=failure.getErrorMessage())
            if isinstance(failure.value, TerminalOfflineError):
                self._owed[key] = self._clock.seconds() + OWED_S
            self._events.publish("ptz.not_stopped", sim=sim, channel=channel, reason=failure.getErrorMessage())
            return None

        self._terminals.request(sim, stop).addErrback(unheard)

    def _forget(self, key: tuple[str, int]) -> None:
        hold = self._moving.pop(key, None)
        if hold is not None and hold.call is not None:
            hold.call.cancel()
            hold.call = None
        self._owed.pop(key, None)

    def _on_terminal(self, what: str, terminal: Terminal) -> None:
        now = self._clock.seconds()
        if what == "online":
            for key in [key for key in self._owed if key[0] == terminal.sim]:
                if self._owed.pop(key) >= now:
                    self._say_stop(key)
            return
        for key in [key for key in self._moving if key[0] == terminal.sim]:
            self._forget(key)
            self._owed[key] = now + OWED_S
        for key in [key for key, until in self._owed.items() if until < now]:
            del self._owed[key]

    def close(self) -> None:
        """The relay stops: no head is left turning. Call it while the links are up."""
        self._unwatch()
        for key in list(self._moving):
            self._forget(key)
            self._terminals.send(key[0], PtzRotate(channel=key[1], direction=Direction.STOP, speed=0))
