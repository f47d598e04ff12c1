"""Fetches the files that belong to alarms (报警附件): who is asked when, what is let in, what becomes of it.

    request(alarm) ─► queue ─► 0x9208 ─► open ─► the terminal connects: 0x1210 … (AttachmentSession) ─► complete
                        ▲        │ refused, silent: again later, TRIES times            │ link lost: partial,
                        └────────┘                                                      └─ open until accept_s is over

Few are open at a time, for the SIM's data is money and the terminal's uplink is narrow. Only files that we asked for are let in: number, alarm id and our
random 报警编号 of the 0x1210 must be those of an open request. What has arrived stays, over connections and restarts; ranges that miss are asked for by 0x9212.
"""

from __future__ import annotations

import errno
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core import attachment_files as files
from relay.core.alarms import Alarms
from relay.core.events import Events
from relay.core.link import RequestError
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.hub.merge import Clock, DelayedCall
from relay.identity import phone_key
from relay.jt808.attachment import AttachedFile, AttachmentLimits, AttachmentLink, ChunkCame, Coverage, Data, FileComplete, LinkFailed, ListCame
from relay.jt808.header import Header
from relay.jt808.messages.safety import AttachmentList, AttachmentRequest
from relay.jt808.safety import sign_class
from relay.settings import Attachments as AttachmentSettings
from relay.store.alarm_files import AlarmFileStore, FileRow, old, remove_alarms
from relay.store.alarms import AlarmRow
from relay.store.connection import storable
from relay.store.errors import StoreError

log = Logger()

TRIES = 4  #: 0x9208 for one alarm
AGAIN_S = 60.0  #: after the first that was not accepted, twice as long after each
SLOT_S = 900.0  #: an open request holds its place for so long without progress
LOOK_S = 5.0
RESTORED_MAX = 20_000
NAME_MAX = 255  #: a BYTE of length

#: 文件类型; 4 is a face picture in 粤标
KINDS = {0: "picture", 1: "audio", 2: "video", 3: "text", 4: "other", 5: "other"}

#: runs a function that blocks, in a thread of its own, in order
InThread = Callable[..., Deferred[Any]]


class Meter(Protocol):
    """Counts what a SIM's data is spent on, and says when there is none left (``core.budget``)."""

    def count(self, sim: str, channel: int, purpose: str, size: int) -> None: ...

    def refuses(self, sim: str) -> str: ...


@dataclass(slots=True)
class Entry:
    """One file of a request."""

    row: FileRow
    coverage: Coverage


@dataclass(slots=True)
class Request:
    """The files of one alarm."""

    alarm: AlarmRow
    who: str
    number: str  #: 报警编号
    at: float  #: UNIX time at which it was wanted
    due: float = 0.0  #: monotonic: not asked before
    tries: int = 0
    asked: bool = False
    slot_until: float = 0.0  #: monotonic: until then it counts as open
    sessions: int = 0
    entries: dict[bytes, Entry] = field(default_factory=dict)


class Attachments:
    """All of it."""

    def __init__(
        self,
        settings: AttachmentSettings,
        directory: Path,
        store: AlarmFileStore,
        alarms: Alarms,
        terminals: Terminals,
        clock: Clock,
        events: Events,
        wall: Callable[[], float],
        in_thread: InThread,
        address: Callable[[Terminal], tuple[str, int]],
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.store = store
        self.alarms = alarms
        self.terminals = terminals
        self.clock = clock
        self.events = events
        self.wall = wall
        self.in_thread = in_thread
        self.meter: Meter | None = None
        self._address = address
        self._requests: OrderedDict[str, Request] = OrderedDict()  #: by alarm id, queued and open
        self._numbers: dict[str, Request] = {}  #: open ones by 报警编号
        self._call: DelayedCall | None = None
        self._asking: set[str] = set()
        self._full = ""  #: why nothing is asked for: the disk
        self._stopped = False
        self.counts: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Alarms whose files are wanted and not all here."""
        return len(self._requests)

    @property
    def problem(self) -> str:
        """Why nothing is fetched now; empty = it is."""
        return self._full

    def start(self) -> Deferred[None]:
        """Go on where the last run ended."""

        def restore(found: list[tuple[AlarmRow, list[FileRow]]]) -> None:
            for alarm, rows in found:
                request = Request(alarm, "relay", alarm.alarm_number or "", alarm.received, self.clock.seconds())
                request.asked = alarm.files_state != "queued" and bool(request.number)
                for row in rows:
                    coverage = Coverage()
                    for start, end in row.ranges:
                        coverage.add(start, end)
                    request.entries[row.name.encode("gb18030", "replace")] = Entry(row, coverage)
                self._requests[alarm.id] = request
                if request.asked:
                    self._numbers[request.number] = request
            self._look()

        def failed(failure: Failure) -> Failure | None:
            if not isinstance(failure.value, StoreError):
                return failure
            log.error("which attachments were asked for is not known: {problem}", problem=str(failure.value))
            self._look()
            return None

        return self.store.unfinished(self.wall() - self.settings.accept_s, RESTORED_MAX).addCallbacks(restore, failed)

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    # ---- asking -----------------------------------------------------------------------------------------------------------

    def request(self, row: AlarmRow, who: str) -> None:
        """Fetch the files of an alarm as soon as may be."""
        if row.id in self._requests or row.sign is None or sign_class(len(row.sign)) is None or row.files_state == "complete":
            return
        if len(self._requests) >= self.settings.queue_max:
            self.counts["dropped: queue_max"] += 1
            self._state(Request(row, who, "", self.wall()), "failed", "too many wait already")
            return
        self._requests[row.id] = Request(row, who, "", self.wall(), self.clock.seconds() + self.settings.delay_s)
        self.counts["wanted"] += 1
        self._state(self._requests[row.id], "queued")

    def again(self, row: AlarmRow, who: str) -> None:
        """Somebody wants them now, whatever became of it before."""
        known = self._requests.get(row.id)
        if known is None:
            self.request(row, who)
            known = self._requests.get(row.id)
        if known is not None:
            known.tries, known.due, known.asked, known.at = 0, self.clock.seconds(), False, self.wall()

    def _look(self) -> None:
        self._call = None
        if self._stopped:
            return
        now, wall = self.clock.seconds(), self.wall()
        open_all = 0
        open_of: Counter[str] = Counter()
        for request in list(self._requests.values()):
            age = wall - request.at
            if age > (self.settings.accept_s if request.asked else self.settings.queue_age_s) and not request.sessions:
                self._give_up(request, "the terminal did not send them in time" if request.asked else "the terminal was not there in time")
            elif request.sessions or (request.asked and now < request.slot_until) or request.alarm.id in self._asking:
                open_all += 1
                open_of[request.alarm.key] += 1
        for request in list(self._requests.values()):
            if open_all >= self.settings.open_max:
                break
            sim = request.alarm.key
            if request.asked or now < request.due or request.alarm.id in self._asking or open_of[sim] >= self.settings.open_per_terminal:
                continue
            if not self.terminals.is_online(sim):
                continue
            if self.meter is not None and self.meter.refuses(sim):
                self.counts["put off: budget"] += 1
                request.due = now + 600
                continue
            open_all += 1
            open_of[sim] += 1
            self._asking.add(request.alarm.id)
            ensureDeferred(self._ask(request)).addErrback(lambda failure: log.failure("asking for attachments failed", failure=failure))
        self._call = self.clock.callLater(LOOK_S, self._look)

    async def _ask(self, request: Request) -> None:
        try:
            if not await self._room():
                request.due = self.clock.seconds() + AGAIN_S
                return
            terminal = self.terminals.get(request.alarm.key)
            layout = sign_class(len(request.alarm.sign or b""))
            if terminal is None or layout is None:
                return
            host, port = self._address(terminal)
            if not request.number:
                # letters and digits, 24 of them: terminals put it into file names of at most 50 bytes
                request.number = secrets.token_hex(12)
            self._numbers[request.number] = request  # it may connect before its 0x0001 is here
            sign = layout.decode(request.alarm.sign or b"")
            message = AttachmentRequest(server_address=host, tcp_port=port, alarm_sign=sign, alarm_number=request.number)
            request.tries += 1
            try:
                await self.terminals.request(request.alarm.key, message, repeats=1)
            except RequestError as problem:
                if request.sessions or request.entries:
                    return  # it connected all the same
                self.counts[f"not accepted: {problem.code}"] += 1
                if request.tries >= TRIES:
                    self._give_up(request, f"{problem.message}")
                else:
                    request.due = self.clock.seconds() + AGAIN_S * 2 ** (request.tries - 1)
                return
            request.asked = True
            request.slot_until = self.clock.seconds() + SLOT_S
            self.counts["asked"] += 1
            if not request.sessions:
                self._state(request, "asked")
        finally:
            self._asking.discard(request.alarm.id)

    async def _room(self) -> bool:
        """Whether the disk has room; what changes is said."""
        try:
            free = await self.in_thread(files.free_bytes, self.directory)
            why = "" if free >= self.settings.free_bytes else f"the disk of {self.directory} has {free >> 20} MiB left (attachments.free_bytes)"
        except OSError as problem:
            why = f"{self.directory}: {problem.strerror}"
        self._say(why)
        return not why

    def _say(self, why: str) -> None:
        if bool(why) != bool(self._full):
            if why:
                log.error("no attachments are fetched: {why}", why=why)
                self.events.publish("attachments.stopped", why=why)
            else:
                log.info("attachments are fetched again")
                self.events.publish("attachments.resumed")
        self._full = why

    def _give_up(self, request: Request, why: str) -> None:
        self._forget(request)
        some = any(entry.row.state == "complete" for entry in request.entries.values())
        self.counts["given up"] += 1
        self._state(request, "partial" if some else "failed", why)

    def _forget(self, request: Request) -> None:
        self._requests.pop(request.alarm.id, None)
        self._numbers.pop(request.number, None)

    def _state(self, request: Request, state: str, why: str = "") -> None:
        if state == request.alarm.files_state and not why:
            return
        request.alarm = request.alarm._replace(files_state=state, alarm_number=request.number or None)
        waiting = ensureDeferred(self.alarms.set_files_state(request.alarm, state, request.number or None, why))
        waiting.addErrback(self._not_stored)

    def _not_stored(self, failure: Failure) -> None:
        if isinstance(failure.value, StoreError):
            self.counts["not stored"] += 1
        else:
            log.failure("keeping what became of attachments failed", failure=failure)

    # ---- connections --------------------------------------------------------------------------------------------------------

    def connected(self, peer: str) -> AttachmentSession:
        """A terminal, or somebody else, connected to the port."""
        self.counts["connections"] += 1
        return AttachmentSession(self, peer)

    def admitted(self, header: Header, message: AttachmentList) -> Request | None:
        """The open request that a 0x1210 answers."""
        request = self._numbers.get(str(message.alarm_number))
        if request is None or phone_key(header.phone) != request.alarm.key or message.alarm_sign.encode() != request.alarm.sign:
            return None
        return request

    def entry(self, request: Request, file: AttachedFile) -> Entry:
        """What is known of a file that was announced."""
        known = request.entries.get(file.name_bytes)
        if known is None:
            now = self.wall()
            row = FileRow(
                secrets.token_hex(16), request.alarm.id, request.alarm.key, storable(file.name)[:NAME_MAX], "other", channel_of(file.name), file.size, [],
                "partial", "", "", now, now,
            )  # fmt: skip
            known = request.entries[file.name_bytes] = Entry(row, Coverage())
        return known

    def kind_of(self, request: Request, file: AttachedFile) -> str:
        """In a word."""
        number = file.kind
        if number is None:
            head = file.name[:2]
            number = int(head) if head.isdecimal() and head.isascii() else 4
        if number == 4 and len(request.alarm.sign or b"") == 40:
            return "face"
        return KINDS.get(number, "other")

    def progress(self, request: Request) -> None:
        """Something came."""
        request.slot_until = self.clock.seconds() + SLOT_S
        self._state(request, "coming")

    def keep(self, request: Request, entries: list[Entry]) -> None:
        """Note how far files are."""
        now = self.wall()
        for entry in entries:
            entry.row = entry.row._replace(ranges=entry.coverage.ranges, updated=now)

        async def put() -> None:
            await self.alarms.batch.flush()
            await self.store.put([entry.row for entry in entries])

        ensureDeferred(put()).addErrback(self._not_stored)

    def complete(self, request: Request, entry: Entry, done: files.Done) -> None:
        """A file is here."""
        entry.row = entry.row._replace(state="complete", sha256=done.sha256, content_type=done.content_type)
        self.counts["files"] += 1
        self.keep(request, [entry])
        self.events.publish(
            "alarm.file", alarm=request.alarm.id, sim=request.alarm.key, file=entry.row.id, name=entry.row.name, kind=entry.row.kind, size=entry.row.size
        )
        self._check(request)

    def _check(self, request: Request) -> None:
        if request.entries and all(entry.row.state != "partial" for entry in request.entries.values()):
            self._forget(request)
            self._state(request, "complete")

    def session_over(self, request: Request) -> None:
        """A connection that brought files of this request ended."""
        request.sessions -= 1
        self.keep(request, [entry for entry in request.entries.values() if entry.row.state == "partial"])
        if request.alarm.id in self._requests and not request.sessions:
            request.slot_until = self.clock.seconds()  # others may be asked for; it may come back
            self._state(request, "partial")

    def disk_failed(self, problem: OSError) -> None:
        """Writing did not succeed: the connection is closed, the terminal may come again."""
        self.counts["disk"] += 1
        what = "the disk is full" if problem.errno in (errno.ENOSPC, errno.EDQUOT) else problem.strerror or str(problem)
        self._say(f"{self.directory}: {what}")

    # ---- for the API and the clock ------------------------------------------------------------------------------------------

    def of_alarm(self, alarm: str) -> Deferred[list[FileRow]]:
        """The files of an alarm, with those that are coming."""
        request = self._requests.get(alarm)
        if request is not None and request.entries:
            return succeed([entry.row._replace(ranges=entry.coverage.ranges) for entry in request.entries.values()])
        return self.store.of_alarm(alarm)

    async def content(self, row: FileRow) -> bytes:
        """All of a complete file; raises OSError."""
        data: bytes = await self.in_thread(files.read, self.directory, row.id)
        return data

    async def delete_old(self, before: float, rows: int) -> int:
        """Retention: alarms and their files. The files go first, so that none is left that nobody knows."""
        ids, numbers = await self.store.database.read(lambda connection: old(connection, before, rows))
        try:
            await self.in_thread(files.remove, self.directory, numbers)
        except OSError as problem:
            raise StoreError(f"files of old alarms stay: {problem.strerror}") from None
        await self.store.database.write(lambda connection: remove_alarms(connection, ids))
        return len(ids)


class AttachmentSession:
    """One connection."""

    def __init__(self, owner: Attachments, peer: str) -> None:
        settings = owner.settings
        self.owner = owner
        self.peer = peer
        self.requests: list[Request] = []
        self._entries: dict[bytes, tuple[Request, Entry]] = {}
        self._broken = False  #: something could not be written: what the link believes to have is not here
        limits = replace(AttachmentLimits(), file_bytes=settings.file_bytes)
        self.link = AttachmentLink("", limits, self._admit, owner.clock.seconds())

    @property
    def failed(self) -> LinkFailed | None:
        """Why the connection is to be closed."""
        return self.link.failed

    def received(self, data: bytes) -> Deferred[bytes]:
        """Bytes of the terminal; fires with what it is to get, once what came is on the disk. Fails with OSError when it cannot be."""
        if self._broken:
            return succeed(b"")
        self.link.receive(data, self.owner.clock.seconds())
        if self.requests and self.owner.meter is not None:
            self.owner.meter.count(self.requests[0].alarm.key, 0, "attachment", len(data))
        return self._settle()

    def tick(self) -> None:
        """Time went by."""
        self.link.tick(self.owner.clock.seconds())

    def lost(self) -> None:
        """The connection is gone."""
        self.link.finish()
        if self.link.failed is not None:
            self.owner.counts[f"link: {self.link.failed.reason}"] += 1
        for request in self.requests:
            self.owner.session_over(request)
        self.requests = []

    def _admit(self, header: Header, message: AttachmentList) -> bool:
        if self.owner.admitted(header, message) is None:
            self.owner.counts["lists nobody asked for"] += 1
            return False
        return True

    def _listed(self, event: ListCame) -> None:
        owner = self.owner
        request = owner.admitted(event.header, event.message)
        if request is None:
            return
        if request not in self.requests:
            self.requests.append(request)
            request.sessions += 1
        request.asked = True
        for file in event.files:
            entry = owner.entry(request, file)
            self._entries[file.name_bytes] = (request, entry)
            kind = owner.kind_of(request, file)
            state = entry.row.state
            if state != "complete":
                state = "refused" if (owner.settings.types and kind not in owner.settings.types) or file.size > owner.settings.file_bytes else "partial"
            if state == "refused" and entry.row.state != "refused":
                owner.counts["files refused"] += 1
            entry.row = entry.row._replace(kind=kind, size=entry.row.size if state == "complete" else file.size, state=state)
            for start, end in entry.coverage.ranges:
                file.received.add(start, min(end, file.size))
            file.complete = state == "complete"
        owner.progress(request)
        owner.keep(request, list(request.entries.values()))

    def _settle(self) -> Deferred[bytes]:
        owner = self.owner
        pieces: list[tuple[str, int, bytes]] = []
        placed: list[tuple[Entry, int, int]] = []
        ended: list[tuple[Request, Entry]] = []
        for event in self.link.events():
            if isinstance(event, ListCame):
                self._listed(event)
            elif isinstance(event, ChunkCame):
                if event.error:
                    owner.counts[f"chunks skipped: {event.error}"] += 1
            elif isinstance(event, Data | FileComplete):
                found = self._entries.get(event.file.name_bytes)
                if found is None or found[1].row.state != "partial":
                    continue
                request, entry = found
                if isinstance(event, Data):
                    pieces.append((entry.row.id, event.offset, event.data))
                    placed.append((entry, event.offset, event.offset + len(event.data)))
                else:
                    entry.row = entry.row._replace(size=event.file.size, kind=owner.kind_of(request, event.file))
                    ended.append((request, entry))
        out = self.link.bytes_to_send()
        if not pieces and not ended:
            return succeed(out)

        def work() -> list[files.Done]:
            files.write(owner.directory, pieces)
            return [files.finish(owner.directory, entry.row.id, entry.row.size) for _, entry in ended]

        def written(results: list[files.Done]) -> bytes:
            for entry, start, end in placed:
                entry.coverage.add(start, end)
            for request in self.requests:
                owner.progress(request)
            for (request, entry), done in zip(ended, results, strict=True):
                owner.complete(request, entry, done)
            return out

        def failed(failure: Failure) -> Failure:
            self._broken = True
            if isinstance(failure.value, OSError):
                owner.disk_failed(failure.value)
            return failure

        waiting: Deferred[list[files.Done]] = owner.in_thread(work)
        return waiting.addCallbacks(written, failed)


def channel_of(name: str) -> int:
    """The logical channel in a name of the standard's form ``<type>_<channel>_…``; 64, 65 and 67 there mean 0x64, 0x65, 0x67. 0 = not told."""
    parts = name.split("_", 2)
    if len(parts) < 3 or not (parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) <= 3):
        return 0
    number = int(parts[1])
    return {64: 0x64, 65: 0x65, 67: 0x67}.get(number, number)
