"""Photos, sound and short films that terminals send (0x0801), kept: whoever asked for them (0x8801, 0x8803, 0x8805) or not (alarms, by time).

    0x0801, whole (the session joins and asks for lost pieces by 0x8800) ── kept in file and row ── event multimedia.stored
    0x0801 of 2011, which cuts by itself (包总数, 包ID) ── joined here ──┘
    the store refuses (disk full) ── waits in memory, tried again every AGAIN_S, at most WAITING_BYTES ── else lost, event multimedia.lost

The terminal has its 0x8800 by then and may have deleted the picture, which is why a full disk is waited out.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Any, Protocol
from zlib import crc32

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.events import Events, iso_time
from relay.core.terminal_state import Terminal, position_of
from relay.core.terminals import Terminals
from relay.errors import RelayError
from relay.hub.merge import Clock, DelayedCall
from relay.jt808.messages.location import Location
from relay.jt808.messages.multimedia import EVENT_CODES, MEDIA_FORMATS, MEDIA_TYPES, MultimediaData
from relay.jt808.session_events import Received
from relay.store.multimedia import MediaRow, name_of

log = Logger()

AGAIN_S = 10.0
WAITING_BYTES = 64 << 20  #: some thousand photos
PARTS_MAX = 64  #: pictures of 2011 that are being joined
PART_BYTES = 4 << 20  #: of one of them
MANY_S = 60.0  #: how often it is looked whether there is too much on the disk

TYPES = {0: "image", 1: "audio", 2: "video"}
CONTENT_TYPES = {0: "image/jpeg", 1: "image/tiff", 2: "audio/mpeg", 3: "audio/wav", 4: "video/x-ms-wmv"}


class MediaRows(Protocol):
    """What is needed of the store."""

    def save(self, row: MediaRow, content: bytes) -> Deferred[tuple[int, bool]]: ...
    def delete_beyond(self, most: int) -> Deferred[int]: ...


class Multimedia:
    """Keeps what comes."""

    def __init__(self, terminals: Terminals, rows: MediaRows, clock: Clock, events: Events, wall: Callable[[], float], max_bytes: int) -> None:
        self.counts: Counter[str] = Counter()
        self._rows = rows
        self._clock = clock
        self._events = events
        self._wall = wall
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[MediaRow, bytes]] = deque()
        self._waiting_bytes = 0
        self._parts: OrderedDict[tuple[str, int], dict[int, bytes]] = OrderedDict()
        self._again: DelayedCall | None = None
        self._looked_at = float("-inf")
        self._closed = False
        self._unwatch = terminals.watch_messages(self._message)

    @property
    def waiting(self) -> int:
        """Pictures that the store has not taken yet."""
        return len(self._waiting)

    def _message(self, terminal: Terminal, received: Received) -> None:
        message = received.message
        if not isinstance(message, MultimediaData):
            return
        content = self._joined(terminal.sim, message)
        if not content:
            return
        where = ""
        if message.location is not None:
            base = message.location
            fields = {name: getattr(base, name) for name in type(base).wire_fields}
            where = json.dumps(position_of(Location(**fields, items=[])))
        row = MediaRow(
            terminal.sim, self._wall(), message.media_id, message.media_type, message.media_format, message.event_code, message.channel_id, where, "",
            len(content), crc32(content),
        )  # fmt: skip
        self._save(row._replace(file=name_of(row)), content)

    def _joined(self, sim: str, message: MultimediaData) -> bytes:
        """The whole content; b"" while parts of a picture of 2011 are missing."""
        total, place = message.package_total or 1, message.package_id or 1
        if total == 1:
            return message.data
        key = sim, message.media_id
        parts = self._parts.setdefault(key, {})
        self._parts.move_to_end(key)
        parts[place] = message.data
        if sum(map(len, parts.values())) > PART_BYTES or len(self._parts) > PARTS_MAX:
            self._parts.pop(key if sum(map(len, parts.values())) > PART_BYTES else next(iter(self._parts)))
            self.counts["pictures of 2011 given up"] += 1
            return b""
        if len(parts) < total:
            return b""
        del self._parts[key]
        return b"".join(parts[number] for number in sorted(parts))

    def _save(self, row: MediaRow, content: bytes) -> None:
        def saved(result: tuple[int, bool]) -> None:
            number, new = result
            if not new:
                self.counts["sent again"] += 1
                return
            self.counts["stored"] += 1
            self._events.publish(
                "multimedia.stored", multimedia=number, sim=row.sim, channel=row.channel, type=TYPES.get(row.media_type, str(row.media_type)),
                media_id=row.media_id, bytes=row.bytes,
            )  # fmt: skip
            self._look_at_size()

        def refused(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, RelayError):
                return failure
            self._wait(row, content, failure.getErrorMessage())
            return None

        self._rows.save(row, content).addCallbacks(saved, refused)

    def _wait(self, row: MediaRow, content: bytes, problem: str) -> None:
        if self._closed or self._waiting_bytes + len(content) > WAITING_BYTES:
            self.counts["lost"] += 1
            log.error("{sim}: picture {media_id} is lost: {problem}", sim=row.sim, media_id=row.media_id, problem=problem)
            self._events.publish("multimedia.lost", sim=row.sim, channel=row.channel, media_id=row.media_id, reason=problem)
            return
        if not self._waiting:
            log.warn("{sim}: picture {media_id} waits: {problem}", sim=row.sim, media_id=row.media_id, problem=problem)
        self._waiting.append((row, content))
        self._waiting_bytes += len(content)
        if self._again is None:
            self._again = self._clock.callLater(AGAIN_S, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        waiting, self._waiting, self._waiting_bytes = list(self._waiting), deque(), 0
        for row, content in waiting:
            self._save(row, content)

    def _look_at_size(self) -> None:
        now = self._clock.seconds()
        if now < self._looked_at + MANY_S:
            return
        self._looked_at = now

        def looked(gone: int) -> None:
            if gone:
                self.counts["deleted for store.multimedia_max_bytes"] += gone

        def failed(failure: Failure) -> Failure | None:
            return None if isinstance(failure.value, RelayError) else failure

        self._rows.delete_beyond(self._max_bytes).addCallback(looked).addErrback(failed)

    def close(self) -> None:
        """No more; what waits gets a last try."""
        self._unwatch()
        self._closed = True
        if self._again is not None:
            self._again.cancel()
            self._try_again()


def as_dict(number: int, row: MediaRow) -> dict[str, Any]:
    """A row in JSON's types."""
    return {
        "id": number, "sim": row.sim, "time": iso_time(row.time), "media_id": row.media_id, "type": TYPES.get(row.media_type, str(row.media_type)),
        "format": MEDIA_FORMATS.get(row.media_format, str(row.media_format)), "event": EVENT_CODES.get(row.event_code, str(row.event_code)),
        "channel": row.channel, "position": json.loads(row.location) if row.location else None, "bytes": row.bytes,
    }  # fmt: skip


__all__ = ["CONTENT_TYPES", "MEDIA_TYPES", "Multimedia", "as_dict"]
