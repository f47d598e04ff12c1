"""Recording channels on this side: always, by schedule, for an alarm, or because somebody says so.

    [[record]] ──┐
    rule (alarm) ├─► Recording (one a channel) ── lease ──► hub: segments of the stream ──► file after file (``video_files``)
    API ─────────┘        ▲ wanted by …, until …                                       └─► rows (``store.videos``)

A recording holds a lease like any viewer, and takes every piece of the segments that HLS viewers would fetch, serialised once for both. A file
begins with a segment that begins with a key frame; another begins after ``recording.file_s``, and when the picture's or the sound's description
changes. Pieces go to the disk as they come (half a second), so that a killed process loses the last piece at most.

    starting ── stream runs ──► recording ── lost, offline ──► waiting (RETRY_S, sooner when the terminal comes) ──► starting
                                    └─ disk full or broken ──► blocked, looked at again every DISK_S

A full disk stops recordings, says so (``record.stopped``, /readyz stays as it is), and nothing else; they go on by themselves when there is room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core import video_files as files
from relay.core import video_schedule
from relay.core.events import BEIJING, Events
from relay.core.live import Live
from relay.core.superior_vehicles import goes_up
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.core.video_recording import Recording
from relay.errors import RelayError
from relay.hub.merge import Clock, DelayedCall
from relay.identity import phone_key
from relay.settings import Record, RecordingSettings
from relay.store.videos import VideoRow, VideoStore

log = Logger(namespace="relay.core.videos")

LOOK_S = 1.0  #: schedules, ends of what is limited in time, viewers' signs of life
DISK_S = 30.0
KEEP_S = 60.0  #: how often what is too old or too much is looked for
RECORDINGS_MAX = 2000
REMOVED_AT_ONCE = 50

#: runs a function that blocks, in a thread of its own, in order
InThread = Callable[..., Deferred[Any]]


class RecordError(RelayError):
    """It is not recorded, and ``code`` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Videos:
    """All recordings of the process. ``wall``: UNIX seconds."""

    def __init__(
        self,
        settings: RecordingSettings,
        records: tuple[Record, ...],
        directory: Path,
        rows: VideoStore,
        live: Live,
        terminals: Terminals,
        clock: Clock,
        events: Events,
        wall: Callable[[], float],
        in_thread: InThread,
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.rows = rows
        self.live = live
        self.terminals = terminals
        self.clock = clock
        self.events = events
        self.wall = wall
        self.in_thread = in_thread
        self.counts: Counter[str] = Counter()  #: files, bytes, failures, for metrics
        self.blocked = ""  #: why nothing is written: the disk's words
        self._records = [(record, tuple(map(video_schedule.parse, record.schedule))) for record in records]
        self._recordings: dict[tuple[str, int], Recording] = {}
        self._timer: DelayedCall | None = None
        self._kept_at = float("-inf")
        self._disk_at = float("-inf")
        self._busy: set[Deferred[Any]] = set()
        self._closed = False
        self._undo = terminals.watch(self._terminal)

    # ---- starting and ending --------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Mend what a crash left, then record what the configuration wants."""
        self.background(self._repair())
        self._look()

    async def _repair(self) -> None:
        for row in await self.rows.unfinished():
            if any(row.id == recording.file_id for recording in self._recordings.values()):
                continue
            repaired = await self.in_thread(files.repair, self.directory, row.path)
            if repaired is None:
                await self.rows.remove([row.id])
                log.warn("recording {path} held nothing that can be played", path=row.path)
            else:
                await self.rows.put(row._replace(bytes=repaired.bytes, duration=repaired.duration, complete=True))
                self.counts["files repaired"] += 1
                log.info("recording {path} was not closed; {seconds:.1f} s of it are whole", path=row.path, seconds=repaired.duration)

    async def close(self) -> None:
        """Close every file; nothing is recorded any more."""
        self._closed = True
        self._undo()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for recording in list(self._recordings.values()):
            recording.end("the relay stops")
        while self._busy:
            await next(iter(self._busy))

    def background(self, work: Any) -> None:
        """Something that takes its time; its faults are logged."""
        waiting = Deferred.fromCoroutine(work)
        self._busy.add(waiting)

        def over(result: Any) -> None:
            self._busy.discard(waiting)
            if isinstance(result, Failure):
                problem = result.value
                if isinstance(problem, RelayError | OSError):
                    log.warn("recordings: {problem}", problem=str(problem))
                else:
                    log.failure("recordings", failure=result)

        waiting.addBoth(over)

    # ---- who wants what -----------------------------------------------------------------------------------------------------

    def start(self, sim: str, channel: int, seconds: float, why: str) -> Deferred[object] | None:
        """Record a channel for so long (0: until ``stop``); again while it records: so long from now. For rules, and for the API.

        Fails with RecordError when it cannot be; None: it is wanted from now on.
        """
        try:
            recording = self._recording(phone_key(sim), channel)
        except RecordError as problem:
            return fail(problem)
        recording.want(why, self.clock.seconds() + seconds if seconds else None)
        return None

    def stop(self, sim: str, channel: int) -> bool:
        """End what people and alarms wanted; what the configuration wants goes on. False: there was nothing of it."""
        recording = self._recordings.get((phone_key(sim), channel))
        return recording is not None and recording.unwant_people()

    def get(self, sim: str, channel: int) -> Recording | None:
        """The recording of a channel that is wanted now."""
        return self._recordings.get((phone_key(sim), channel))

    def __iter__(self) -> Iterator[Recording]:
        return iter(list(self._recordings.values()))

    def __len__(self) -> int:
        return len(self._recordings)

    def _recording(self, sim: str, channel: int) -> Recording:
        recording = self._recordings.get((sim, channel))
        if recording is None:
            if len(self._recordings) >= RECORDINGS_MAX:
                raise RecordError("too_many_recordings", f"{RECORDINGS_MAX} channels are recorded already")
            recording = self._recordings[sim, channel] = Recording(self, sim, channel)
        return recording

    def forget(self, recording: Recording) -> None:
        """Nobody wants it any more."""
        self._recordings.pop((recording.sim, recording.channel), None)

    # ---- time -----------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._timer = None
        if self._closed:
            return
        now = self.clock.seconds()
        local = datetime.fromtimestamp(self.wall(), UTC).astimezone(BEIJING)
        for record, spans in self._records:
            if video_schedule.now_in(spans, local):
                self._configured(record)
        for recording in self:
            recording.look(now, {record.name for record, spans in self._records if video_schedule.now_in(spans, local)})
        if now - self._kept_at >= KEEP_S:
            self._kept_at = now
            self.background(self._keep())
        if self.blocked and now - self._disk_at >= DISK_S:
            self._disk_at = now
            self.background(self._unblock())
        self._timer = self.clock.callLater(LOOK_S, self._look)

    def _configured(self, record: Record) -> None:
        for terminal in self.terminals.online():
            known = terminal.known
            group = f"group:{known.group}" if known is not None and known.group else ""
            if not goes_up(record.terminals, terminal.plate, group, terminal.sim):
                continue
            channels = [int(word) for word in record.channels] or [c for c in terminal.told_channels() if terminal.channel_kind(c) != "audio"] or [1]
            for channel in channels:
                if terminal.has_channel(channel):
                    recording = self._recordings.get((terminal.sim, channel))
                    if recording is None and len(self._recordings) >= RECORDINGS_MAX:
                        self.counts["channels not recorded: too many"] += 1
                    elif recording is None or record.name not in recording.configured:
                        self._recording(terminal.sim, channel).configure(record.name, record.stream)

    def _terminal(self, what: str, terminal: Terminal) -> None:
        if what == "online":
            for recording in self:
                if recording.sim == terminal.sim:
                    recording.terminal_came()

    # ---- the disk ---------------------------------------------------------------------------------------------------------------

    def block(self, why: str) -> None:
        """The disk takes nothing: all recordings stop, and say so once."""
        if self.blocked:
            return
        self.blocked = why
        self._disk_at = self.clock.seconds()
        self.counts["stopped by the disk"] += 1
        log.error("recording stops: {why}; looked at again every {seconds:g} s", why=why, seconds=DISK_S)
        self.events.publish("record.stopped", reason=why)
        for recording in self:
            recording.drop("the disk: " + why)

    async def _unblock(self) -> None:
        free = await self.in_thread(files.free_bytes, self.directory)
        if free < self.settings.min_free_bytes:
            return
        self.blocked = ""
        log.info("recording goes on")
        self.events.publish("record.resumed")
        for recording in self:
            recording.terminal_came()

    async def _keep(self) -> None:
        """Remove what is too old or too much; block before the disk is full."""
        settings = self.settings
        free = await self.in_thread(files.free_bytes, self.directory)
        size = await self.rows.size()
        oldest = await self.rows.oldest(REMOVED_AT_ONCE)
        latest = self.wall() - settings.days * 86400 if settings.days else float("-inf")
        gone: list[VideoRow] = []
        for row in oldest:
            excess = (settings.max_bytes and size > settings.max_bytes) or free < settings.min_free_bytes
            if row.began >= latest and not (excess and settings.make_room):
                break
            gone.append(row)
            size -= row.bytes
            free += row.bytes
        if gone:
            await self.in_thread(files.remove, self.directory, [row.path for row in gone])
            await self.rows.remove([row.id for row in gone])
            self.counts["files removed"] += len(gone)
        if len(gone) == REMOVED_AT_ONCE:
            self._kept_at = float("-inf")  # there may be more
        if free < settings.min_free_bytes and self._recordings:
            self.block(f"less than {settings.min_free_bytes >> 20} MiB are free (recording.min_free_bytes)")

    async def remove(self, row: VideoRow) -> None:
        """Delete one file."""
        await self.in_thread(files.remove, self.directory, [row.path])
        await self.rows.remove([row.id])
