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

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.codec.frame import AudioConfig
from relay.core import video_files as files
from relay.core import video_schedule
from relay.core.events import BEIJING, Events, iso_time
from relay.core.live import Live
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.superior_vehicles import goes_up
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.errors import RelayError
from relay.hub.formats import OutputFormat, UnsupportedTrackError
from relay.hub.merge import Clock, DelayedCall
from relay.hub.poller import SegmentViewer
from relay.hub.segments import SegmentOutput
from relay.hub.stream import StreamState
from relay.hub.viewer import Who
from relay.identity import StreamKey, phone_key
from relay.mux.fmp4 import AUDIO_TRACK
from relay.mux.playlist import Segment
from relay.mux.record import Reference, first_time_ms, rebase
from relay.settings import Record, RecordingSettings
from relay.store.videos import VideoRow, VideoStore

log = Logger(namespace="relay.core.videos")

LOOK_S = 1.0  #: schedules, ends of what is limited in time, viewers' signs of life
RETRY_S = (5.0, 15.0, 60.0, 300.0)  #: after failed starts in a row: each costs the terminal's attention
DISK_S = 30.0
KEEP_S = 60.0  #: how often what is too old or too much is looked for
PENDING_MAX = 16 << 20  #: bytes of one recording that wait for the disk; beyond it pieces are dropped up to the next segment
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


class Recording:
    """One channel that is wanted."""

    def __init__(self, owner: Videos, sim: str, channel: int) -> None:
        self._owner = owner
        self.sim = sim
        self.channel = channel
        self.configured: dict[str, str] = {}  #: names of ``[[record]]`` that want it → stream
        self.people: dict[str, float | None] = {}  #: who wants it → until when (monotonic); None: until it is stopped
        self.state = "waiting"  #: starting | recording | waiting | blocked
        self.problem = ""
        self.since = owner.wall()
        self.bytes = 0
        self.file: File | None = None
        self._lease: Lease | None = None
        self._viewer: SegmentViewer | None = None
        self._starting: Deferred[Any] | None = None
        self._failures = 0
        self._next_try = float("-inf")
        self._over = False

    @property
    def file_id(self) -> str:
        """Of the file that grows; ``""``: none does."""
        return self.file.row.id if self.file is not None else ""

    @property
    def why(self) -> str:
        """Who wants it."""
        return ", ".join([*(f"record {name}" for name in self.configured), *self.people])

    def as_dict(self) -> dict[str, Any]:
        """For the API."""
        now = self._owner.clock.seconds()
        limits = [until for until in self.people.values() if until is not None]
        lasting = bool(self.configured) or any(until is None for until in self.people.values())
        return {
            "sim": self.sim, "channel": self.channel, "state": self.state, "why": self.why, "since": iso_time(self.since), "bytes": self.bytes,
            "seconds_left": None if lasting or not limits else max(0, round(max(limits) - now)), "problem": self.problem, "video": self.file_id,
        }  # fmt: skip

    # ---- wishes -----------------------------------------------------------------------------------------------------------

    def configure(self, name: str, stream: str) -> None:
        """A ``[[record]]`` wants it."""
        self.configured[name] = stream
        self._try()

    def want(self, why: str, until: float | None) -> None:
        """Somebody wants it."""
        known = self.people.get(why, 0.0)
        self.people[why] = None if until is None or known is None else max(until, known)
        self._next_try = float("-inf")
        self._try()

    def unwant_people(self) -> bool:
        """People and alarms do not want it any more."""
        had = bool(self.people)
        self.people.clear()
        self._end_if_unwanted("stopped")
        return had

    def look(self, now: float, running: set[str]) -> None:
        """Once a second: what has come to its end, and the sign of life that a segment viewer gives."""
        for why in [why for why, until in self.people.items() if until is not None and now >= until]:
            del self.people[why]
        for name in [name for name in self.configured if name not in running]:
            del self.configured[name]
        if self._end_if_unwanted("its time is over"):
            return
        if self._viewer is not None:
            self._viewer.seen = now
        elif self._starting is None and now >= self._next_try:
            self._try()

    def _end_if_unwanted(self, why: str) -> bool:
        if self.configured or self.people:
            return False
        self.end(why)
        return True

    def terminal_came(self) -> None:
        """It may be worth another try at once."""
        self._failures = 0
        self._next_try = float("-inf")
        self._try()

    # ---- the stream -----------------------------------------------------------------------------------------------------------

    def _try(self) -> None:
        owner = self._owner
        if self._over or self._lease is not None or self._starting is not None or owner.clock.seconds() < self._next_try:
            return
        if owner.blocked:
            self.state, self.problem = "blocked", owner.blocked
            return
        if not owner.terminals.is_online(self.sim) and owner.live.registry.get(StreamKey(self.sim, self.channel)) is None:
            self.state, self.problem = "waiting", "the terminal is not online"
            return
        self.state = "starting"
        stream = "main" if "main" in self.configured.values() else ""
        self._starting = owner.live.acquire(self.sim, self.channel, stream, "av", "recorder", self.why)
        self._starting.addCallbacks(self._leased, self._failed)

    def _leased(self, lease: Lease) -> None:
        self._starting = None
        stream = lease.stream
        if self._over or stream is None or stream.state is StreamState.ENDED:
            lease.release()
            return
        try:
            viewer = stream.join_segments(OutputFormat("hls"), Who("", self.why, "recording"))
        except UnsupportedTrackError as problem:
            lease.release()
            self._later(problem.message)
            return
        self._lease, self._viewer = lease, viewer
        self._failures = 0
        self.state, self.problem = "recording", ""
        viewer.output.takers.append(self)
        viewer.on_close(lambda _, cause: self.drop(cause))
        self._owner.events.publish("record.begin", sim=self.sim, channel=self.channel, why=self.why)

    def _failed(self, failure: Failure) -> Failure | None:
        self._starting = None
        problem = failure.value
        if isinstance(problem, CancelledError):
            return None
        if not isinstance(problem, StartFailed):
            return failure
        self._later(problem.message)
        return None

    def _later(self, problem: str) -> None:
        pause = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1
        self._next_try = self._owner.clock.seconds() + pause
        if not self._over:
            self.state, self.problem = ("blocked", problem) if self._owner.blocked else ("waiting", problem)

    def drop(self, why: str) -> None:
        """The stream is over, or the disk takes nothing: close the file; it is tried again."""
        viewer, self._viewer = self._viewer, None
        lease, self._lease = self._lease, None
        if viewer is not None:
            output: SegmentOutput = viewer.output
            if not viewer.closed:
                viewer.close("not recorded any more")
            if self in output.takers:
                output.takers.remove(self)
            self._owner.events.publish("record.end", sim=self.sim, channel=self.channel, reason=why)
        self._close_file()
        if lease is not None:
            lease.release()
        self._later(why)

    def end(self, why: str) -> None:
        """Nobody wants it any more."""
        if self._over:
            return
        self._over = True
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
        self.drop(why)
        self._owner.forget(self)

    # ---- pieces ---------------------------------------------------------------------------------------------------------------

    def piece(self, segment: Segment, data: bytes, init: bytes, audio: AudioConfig | None) -> None:
        """One more piece of the stream's segments."""
        if len(segment.pieces) == 1 and (segment.independent or self.file is None):
            self._maybe_another(segment, data, init, audio)
        file = self.file
        if file is not None:
            self.bytes += len(data)
            self._owner.counts["bytes"] += len(data)
            file.add(data)

    def _maybe_another(self, segment: Segment, data: bytes, init: bytes, audio: AudioConfig | None) -> None:
        file = self.file
        if file is not None and file.init == init and not file.broken and file.seconds < self._owner.settings.file_s and not segment.discontinuity:
            return
        self._close_file()
        if not segment.independent or not init or self._owner.blocked:
            return
        stream = self._lease.stream if self._lease is not None else None
        video = stream.video if stream is not None else None
        rates = {AUDIO_TRACK: audio.sample_rate} if audio is not None else {}
        began = segment.time_ms / 1000
        local = datetime.fromtimestamp(began, UTC).astimezone(BEIJING)
        ident = secrets.token_hex(8)
        path = f"{self.sim}/{self.channel}/{local:%Y%m%d}/{local:%H%M%S}-{ident[:6]}.mp4"
        row = VideoRow(
            ident, self.sim, self.channel, began, 0.0, 0, path, video.codec if video is not None else "", video.width if video is not None else 0,
            video.height if video is not None else 0, audio.codec if audio is not None else "", self.why, False,
        )  # fmt: skip
        self.file = File(self._owner, row, init, first_time_ms(data, rates), rates)

    def segment_ended(self, segment: Segment) -> None:
        """The file can be jumped into here, and what is there is on the disk."""
        if self.file is not None:
            self.file.segment(round(segment.duration * 1000), segment.independent)

    def _close_file(self) -> None:
        file, self.file = self.file, None
        if file is not None:
            file.close()


class File:
    """One file that grows. Pieces wait here while the disk is slow, PENDING_MAX bytes of them."""

    def __init__(self, owner: Videos, row: VideoRow, init: bytes, base_ms: int, rates: dict[int, int]) -> None:
        self._owner = owner
        self.row = row
        self.init = init
        self.broken = ""
        self._base_ms = base_ms
        self._rates = rates
        self._pending: list[bytes] = []
        self._waiting_bytes = 0
        self._synchronise = False
        self._references: list[Reference] = []
        self._growing = 0  #: bytes of the present segment
        self._duration_ms = 0
        self._size = 0
        self._closing = False
        self._working = True
        owner.counts["files"] += 1
        owner.background(self._create())

    @property
    def seconds(self) -> float:
        """Of whole segments."""
        return self._duration_ms / 1000

    async def _create(self) -> None:
        try:
            await self._owner.rows.put(self.row)
            self._size = await self._owner.in_thread(files.create, self._owner.directory, self.row.path, self.init)
        except OSError as problem:
            self._break(problem)
        self._working = False
        await self._write()

    def add(self, data: bytes) -> None:
        """One more piece."""
        if self.broken:
            return
        if self._waiting_bytes > PENDING_MAX:
            self._owner.counts["pieces dropped for a slow disk"] += 1
            self.broken = "the disk is too slow"  # the file ends here; another begins with the next segment
            log.warn("{path} ends: the disk is too slow", path=self.row.path)
            return
        piece = rebase(data, self._base_ms, self._rates)
        self._pending.append(piece)
        self._waiting_bytes += len(piece)
        self._growing += len(piece)
        self._go()

    def segment(self, duration_ms: int, key: bool) -> None:
        """What was added since the last one is a whole segment."""
        if self._growing:
            self._references.append(Reference(self._growing, duration_ms, key))
            self._growing = 0
            self._duration_ms += duration_ms
            self._synchronise = True
            self._go()

    def close(self) -> None:
        """Nothing more comes."""
        self._closing = True
        self._go()

    def _go(self) -> None:
        if not self._working:
            self._owner.background(self._write())

    async def _write(self) -> None:
        """Everything that waits, then what came meanwhile; the index once it is closed."""
        if self._working:
            return
        self._working = True
        owner = self._owner
        try:
            while self._pending and not (self.broken and not self._size):
                pending, self._pending = self._pending, []
                synchronise, self._synchronise = self._synchronise, False
                await owner.in_thread(files.append, owner.directory, self.row.path, pending, synchronise)
                size = sum(map(len, pending))
                self._waiting_bytes -= size
                self._size += size
            if self._closing:
                await self._finish()
        except OSError as problem:
            self._break(problem)
        finally:
            self._working = False

    async def _finish(self) -> None:
        owner = self._owner
        self._closing = False
        if self._growing:
            self._references.append(Reference(self._growing, 0, False))
        if not self._references or not self._size:
            await owner.in_thread(files.remove, owner.directory, [self.row.path])
            await owner.rows.remove([self.row.id])
            return
        size = await owner.in_thread(files.finish, owner.directory, self.row.path, len(self.init), self._references)
        self.row = replace_row(self.row, self._duration_ms / 1000, size)
        await owner.rows.put(self.row)
        owner.events.publish(
            "record.file", sim=self.row.key, channel=self.row.channel, video=self.row.id, began=iso_time(self.row.began), seconds=round(self.seconds, 1),
            bytes=size, why=self.row.why,
        )  # fmt: skip

    def _break(self, problem: OSError) -> None:
        """The disk refuses: what is on it is kept and mended at the next start."""
        self.broken = problem.strerror or str(problem)
        self._pending.clear()
        self._waiting_bytes = 0
        self._owner.block(self.broken)


def replace_row(row: VideoRow, duration: float, size: int) -> VideoRow:
    """The row of a file that was closed."""
    return row._replace(duration=duration, bytes=size, complete=True)


__all__ = ["File", "RecordError", "Recording", "Videos"]
