"""What terminals tell about themselves: where they are, their alarm words, what they are and can. Told on to who watches; asked for once a day.

::

    0x0200 0x0201 0x0500 0x0704 ─→ ``watch_locations``; changes of the alarm words ─→ event ``terminal.alarm``
    0x0107 0x1003 0x0104        ─→ ``Terminal`` ─→ events ``terminal.updated``, ``terminal.identity_changed``
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from twisted.logger import Logger

from relay.core.events import Events
from relay.core.link import Link
from relay.core.terminal_state import Terminal, bit_words, locations_of
from relay.hub.merge import Clock
from relay.jt808.items import ALARM_BITS, VIDEO_ALARM_BITS, VideoAlarms
from relay.jt808.messages.base import Body
from relay.jt808.messages.general import Registration
from relay.jt808.messages.location import Location
from relay.jt808.messages.parameters import ParametersResponse, QueryAttributes, QueryParameters, TerminalAttributes
from relay.jt808.messages.video import AvAttributes, AvAttributesQuery

log = Logger()

QUESTIONS_AFTER_S = 2.0  #: after authentication; terminals send their backlog first
QUESTIONS_SPREAD_S = 2.0  #: ten thousand terminals that come back at once must not be asked in the same moment
QUESTIONS_AGAIN_S = 86400.0  #: a terminal that reconnects is not asked what it told within a day
ALARM_EVERY_S = 1.0  #: alarm events of one terminal; flags that flicker are told together

#: (terminal, location, whether it is of now: not stored in a blind area and sent afterwards)
LocationWatcher = Callable[[Terminal, Location, bool], None]


class Learning:
    """Of all terminals."""

    def __init__(self, clock: Clock, events: Events) -> None:
        self._clock = clock
        self._events = events
        self._watchers: list[LocationWatcher] = []

    def watch_locations(self, watcher: LocationWatcher) -> Callable[[], None]:
        """Call ``watcher(terminal, location, live)`` for every location that a terminal reports, in 0x0200, 0x0201, 0x0500 or 0x0704; ``terminal.last_seen`` is
        when it came. Returns what ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def take(self, terminal: Terminal, message: Body) -> None:
        """A message, or the reply to a request, whoever made it."""
        locations, live = locations_of(message)
        if locations:
            for location in locations:
                for watcher in self._watchers:
                    watcher(terminal, location, live)
            report = terminal.take_location(message, terminal.last_seen)
            if report is not None:
                self._alarms(terminal, report)
            return
        changed: list[str] = []
        if isinstance(message, TerminalAttributes):
            changed = terminal.take_attributes(message)
        elif isinstance(message, AvAttributes):
            terminal.take_av(message)
        elif isinstance(message, ParametersResponse):
            terminal.take_parameters(message)
        else:
            return
        self._changed(terminal, changed)
        self._events.publish("terminal.updated", sim=terminal.sim)

    def take_registration(self, terminal: Terminal, message: Registration) -> None:
        """A 0x0100 that counts."""
        self._changed(terminal, terminal.take_registration(message))

    def _changed(self, terminal: Terminal, changed: list[str]) -> None:
        if changed:
            log.warn("terminal {sim} is not what it was: {changed}", sim=terminal.sim, changed="; ".join(changed))
            self._events.publish("terminal.identity_changed", sim=terminal.sim, changed=changed)

    def _alarms(self, terminal: Terminal, report: Location) -> None:
        """Tell changes of the alarm words, at most once a second."""
        video = next((item.video_alarm_flags for item in report.items if isinstance(item, VideoAlarms)), 0)
        now = self._clock.seconds()
        if (report.alarm_flags, video) == (terminal.alarm_flags, terminal.video_alarm_flags) or now < terminal.alarms_told_at + ALARM_EVERY_S:
            return
        before, before_video = terminal.alarm_flags, terminal.video_alarm_flags
        terminal.alarm_flags, terminal.video_alarm_flags = report.alarm_flags, video
        terminal.alarms_told_at = now
        self._events.publish(
            "terminal.alarm",
            sim=terminal.sim,
            set=bit_words(report.alarm_flags & ~before, ALARM_BITS) + bit_words(video & ~before_video, VIDEO_ALARM_BITS),
            cleared=bit_words(before & ~report.alarm_flags, ALARM_BITS) + bit_words(before_video & ~video, VIDEO_ALARM_BITS),
            alarm_flags=report.alarm_flags,
            video_alarm_flags=video,
        )

    def ask(self, terminal: Terminal, link: Link) -> None:
        """0x8107, 0x9003, 0x8106[0x0076], one at a time and in a while; many terminals know only some of them, or none."""
        now = self._clock.seconds()
        if now < terminal.asked_at + QUESTIONS_AGAIN_S:
            return
        terminal.asked_at = now
        questions: list[Body] = [AvAttributesQuery()]
        if terminal.edition != 2011:  # 2011 has neither 0x8107 nor 0x8106
            questions = [QueryAttributes(), AvAttributesQuery(), QueryParameters(param_ids=[0x0076])]
        spread = crc32(terminal.sim.encode()) % 1000 / 1000 * QUESTIONS_SPREAD_S
        link.ask_later(questions, now + QUESTIONS_AFTER_S + spread)
