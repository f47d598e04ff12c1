"""What happens, told to whoever listens: the page, the API's event stream, hooks, the log of alarms.

An event is a small dict of JSON's types; ``event``, ``id`` and ``time`` are always there::

    {"event": "terminal.online", "id": 17, "time": "2026-11-21T09:30:00.250+08:00", "sim": "13800138000", "peer": "10.0.0.7:40112"}

============================  =======================================================================================
terminal.online               a terminal has authenticated; ``edition``, ``peer``, ``transport``
terminal.offline              its link ended; ``reason``
terminal.replaced             a second link with its number authenticated and took over
terminal.refused              a link was not let in; ``reason``: "unknown sim", "wrong code", "someone else's sim" …
terminal.address_changed      alarm: it authenticated from another host than the last time
terminal.identity_changed     alarm: another terminal id, plate or ICCID under the same number
terminal.flapping             alarm: banned for a while, it connects too often
terminal.alarm                alarm bits of its position reports that were set or cleared; ``set``, ``cleared``, ``video_set`` …
alarm.begin, alarm.end        an alarm of a terminal began or ended; ``alarm`` is its id, ``kind``, ``code``, ``name``, ``level``, ``began`` …
alarm.flood                   alarm: a terminal raises more alarms a minute than are kept
alarm.acknowledged            somebody has seen it
alarm.files, alarm.file       how far the files of an alarm are; one of them is here
budget.warn, .sub, .spent     a terminal's data budget is nearly spent, good for the sub stream only, spent; budget.renewed
rule.fired, rule.failed       a rule acted on an alarm; what it could not do
terminal.updated              attributes or channels became known
terminal.message              a message that a person may wait for: driver, waybill, answer to a question; ``id``, ``message``, ``fields``
terminal.late_answer          the answer to a request came after its time limit; ``message``, ``late_s``
operator.action               somebody ordered a terminal to do something; ``who``, ``action``, ``message``, ``outcome``
ptz.stopped                   a rotation was stopped since nobody renewed it; ``channel``, ``who``
ptz.not_stopped               alarm: that stop was not answered
stream.not_found              a channel that does not run was asked for; ``who``, ``purpose``
stream.connected              its media connection was admitted; ``peer``
multimedia.stored             a terminal's picture, sound or film is kept; ``multimedia`` (its number), ``media_id``, ``type``
multimedia.lost               alarm: one could not be kept; ``reason``
talk.began                    a terminal is in a call; ``id``, ``mode`` ("talk", "listen", "broadcast"), ``who`` holds the microphone
talk.left                     it no longer is; ``reason``
talk.ended                    the whole call is over; ``reason``
talk.refused                  a connection on a talk port that belongs to no call
talk.not_stopped              alarm: a terminal went on sending after its call had ended
terminal.quirk                something peculiar was learnt of a terminal; ``quirk``, ``value``
stream.started                first key frame (or first sound) of a channel
stream.ended                  the channel has no media any more; ``reason``
stream.unwatched              the last one who wanted the channel has gone
quality.changed               a live channel's picture or sound became worse or better; ``score`` (0-100), ``before``, ``causes``, ``message``
viewer.began                  a viewer of a live channel has its picture; ``who``, ``peer``
viewer.ended                  it has gone, or the stream ended; ``who``, ``peer``
stream.start_failed           a start did not succeed; ``code``, ``hop``
stream.refused                a media connection was not let in; ``reason``, ``peer``
stream.not_stopped            alarm: it goes on sending although it was told to stop, repeatedly
recordings.answer             a list of recordings (0x1205) that nobody waits for; ``outcome``: "late", "twice", "foreign"
playback.started              a playback shows its first picture; ``id``
playback.controlled           it was paused, moved, sped up …; ``action``, ``speed``, ``mode``
playback.ended                it is over; ``reason``
playback.start_failed         it did not begin; ``code``, ``hop``
superior.state                a superior platform's links: ``state``, ``before``, ``reason``
superior.request              a superior wants a person to answer, or it was answered, or its time is over: as ``GET …/requests`` has it
superior.message              what a superior tells: texts, alarms and positions of others; ``kind``, ``fields``
push.running                  a channel goes to an outside server; ``push`` is its id
push.failed                   it does not, or not any more; ``reason``; it is tried again
push.stopped                  it was stopped; ``reason``
upload.state                  an upload task is queued, asked for, uploading, paused, over; ``id``, ``state``, ``reason``
upload.progress               its bytes so far, every few seconds
upload.file                   one file has come; ``file``, ``size``, ``complete``, ``problem``
upload.removed                its files were deleted; ``reason``
stream.sim_differs            media came under another number than the signalling's and was joined to a request
============================  =======================================================================================

Nothing here may be caused once a packet: publishers speak of changes, and count the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from twisted.logger import Logger

log = Logger()

Event = dict[str, Any]
Listener = Callable[[Event], None]

#: the standards' own zone
BEIJING = timezone(timedelta(hours=8))

RECENT = 500  #: events kept for a page that comes later; a few hundred bytes each
LISTENERS_MAX = 1000  #: one an open page; each costs a call an event

#: what somebody should look at
ALARMS = frozenset(
    {
        "terminal.address_changed",
        "terminal.identity_changed",
        "terminal.flapping",
        "terminal.alarm",
        "alarm.begin",
        "budget.warn",
        "budget.sub",
        "budget.spent",
        "alarm.flood",
        "terminal.refused",
        "stream.not_stopped",
        "ptz.not_stopped",
        "talk.not_stopped",
        "multimedia.lost",
    }
)


#: of these there may be a thousand at once; they are told, and not kept for pages that come later
PASSING = frozenset({"viewer.began", "viewer.ended"})


@lru_cache(maxsize=256)
def _minute(minutes: int) -> str:
    """Minutes since 1970 as ``YYYY-MM-DDThh:mm``."""
    return datetime.fromtimestamp(minutes * 60, UTC).astimezone(BEIJING).isoformat(timespec="minutes")[:16]


def iso_time(unix: float) -> str:
    """Seconds since 1970 as the API writes times: ISO 8601, milliseconds, the standards' zone. A list of terminals has two of them each."""
    minutes, ms = divmod(round(unix * 1e6) // 1000, 60_000)
    return f"{_minute(minutes)}:{ms // 1000:02}.{ms % 1000:03}+08:00"


class Events:
    """The bus. Publishing calls every listener at once, in this thread; a listener keeps its own bounded queue if it is slow."""

    def __init__(self, wall: Callable[[], float], recent: int = RECENT) -> None:
        self._wall = wall  #: seconds since 1970
        self._listeners: list[Listener] = []
        self._next_id = 1
        self.recent: deque[Event] = deque(maxlen=recent)
        self.published = 0

    def publish(self, name: str, /, **fields: Any) -> Event:
        """Tell everybody; returns the event."""
        event: Event = {"event": name, "id": self._next_id, "time": iso_time(self._wall()), **fields}
        self._next_id += 1
        self.published += 1
        if name not in PASSING:
            self.recent.append(event)
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:
                # a listener's bug: logged as such, the others hear the event all the same
                log.failure("listener failed at {event}", event=name)
        return event

    def subscribe(self, listener: Listener, after_id: int | None = None) -> Callable[[], None]:
        """Call ``listener(event)`` from now on; with ``after_id``, first for what is still kept and newer. Returns what ends it.

        Raises OverflowError when there are too many.
        """
        if len(self._listeners) >= LISTENERS_MAX:
            raise OverflowError(f"{LISTENERS_MAX} listeners already")
        if after_id is not None:
            for event in list(self.recent):
                if event["id"] > after_id:
                    listener(event)
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop
