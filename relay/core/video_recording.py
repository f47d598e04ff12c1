"""One channel that is recorded on this side, and the file that grows of it; who decides is ``core.videos``.

Pieces of the stream's segments go to the file as they come; while the disk is slow they wait, PENDING_MAX bytes of them.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.codec.frame import AudioConfig
from relay.core import video_files as files
from relay.core.events import BEIJING, iso_time
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.hub.formats import OutputFormat, UnsupportedTrackError
from relay.hub.poller import SegmentViewer
from relay.hub.segments import SegmentOutput
from relay.hub.stream import StreamState
from relay.hub.viewer import Who
from relay.identity import StreamKey
from relay.mux.fmp4 import AUDIO_TRACK
from relay.mux.playlist import Segment
from relay.mux.record import Reference, first_time_ms, rebase
from relay.store.videos import VideoRow

if TYPE_CHECKING:
    from relay.core.videos import Videos

log = Logger(namespace="relay.core.videos")

RETRY_S = (5.0, 15.0, 60.0, 300.0)  #: after failed starts in a row: each costs the terminal's attention
PENDING_MAX = 16 << 20  #: bytes of one recording that wait for the disk; beyond it the file ends, and another begins with the next segment


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
        self.row = self.row._replace(duration=self._duration_ms / 1000, bytes=size, complete=True)
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
