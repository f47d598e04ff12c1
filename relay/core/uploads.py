"""Files fetched from terminals (0x9206, 0x9207, 0x1206) into the embedded FTP server: the queue, the room on the disk, what is kept how long.

``Uploads.start`` is the one way to a file, for the API and for superiors (0x9B01) alike. The machine of one task is ``upload_task``; the FTP server
(``relay.net.ftp``) asks here who may come in (``log_in``) and hands each file to its task.

A task's FTP user is its id and its password is derived from the signing key: nothing secret is stored, a restart changes neither,
and both are worthless once the task is over.
"""

from __future__ import annotations

import hmac
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.alias import Resolver
from relay.core.events import Events
from relay.core.stored import Criteria
from relay.core.terminal_state import Terminal
from relay.core.terminals import Terminals
from relay.core.upload_facts import Facts, State, UploadError, UploadRefusedError
from relay.core.upload_files import DISK_FULL, InThread
from relay.core.upload_task import QUOTA, Upload, delete
from relay.hub.merge import Clock, DelayedCall
from relay.identity import phone_key
from relay.jt808.messages.video import FileUploadFinished
from relay.jt808.session_events import Received
from relay.settings import Ftp
from relay.store.errors import StoreError
from relay.store.uploads import UploadRow

__all__ = ["State", "Upload", "UploadError", "UploadRefusedError", "Uploads"]

log = Logger()

ACTIVE_MAX = 10_000  #: tasks that are not over
KEEP_LOOK_S = 600.0  #: how often it is looked for what is too old or too much
KEEP_BATCH = 50


class Rows(Protocol):
    """What is needed of the store (``relay.store.uploads.UploadStore``)."""

    def put(self, row: UploadRow) -> Deferred[None]: ...
    def get(self, ident: str) -> Deferred[UploadRow | None]: ...
    def active(self) -> Deferred[list[UploadRow]]: ...
    def page(self, sim: str, state: str, limit: int, before: tuple[float, str] | None) -> Deferred[tuple[list[UploadRow], int]]: ...
    def finished(self, limit: int) -> Deferred[list[UploadRow]]: ...
    def size(self) -> Deferred[int]: ...
    def remove(self, idents: list[str]) -> Deferred[None]: ...


class Uploads:
    """All tasks."""

    def __init__(
        self,
        settings: Ftp,
        rows: Rows,
        terminals: Terminals,
        resolver: Resolver,
        clock: Clock,
        events: Events,
        wall: Callable[[], float],
        port: int,
        derive: Callable[[str], list[str]],
        in_thread: InThread,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        """``port``: of the FTP server, 0 = it is off. ``derive(text)``: secrets made of the signing keys, the present one's first. ``free(directory)``:
        bytes left on its disk."""
        self.settings = settings
        self.terminals = terminals
        self.clock = clock
        self.events = events
        self.wall = wall
        self.port = port
        self.directory = Path(settings.directory)
        self.in_thread = in_thread
        self.counts: Counter[str] = Counter()
        self.used = 0  #: bytes of all tasks on the disk
        #: told of bytes that a terminal has sent: (sim, channel, who asked, bytes); for budgets
        self.took: Callable[[str, int, str, int], None] = lambda sim, channel, who, count: None
        #: why nothing is to be asked of a terminal now: its data budget; "" = it may be
        self.refuses: Callable[[str], str] = lambda sim: ""
        self._rows = rows
        self._resolver = resolver
        self._derive = derive
        self._free = free or _free
        self._tasks: dict[str, Upload] = {}  #: that are not over
        self._serials: dict[tuple[str, int], Upload] = {}
        self._keep_call: DelayedCall | None = None
        self._closed = False
        self._undo = [terminals.watch(self._on_terminal), terminals.watch_messages(self._heard)]

    # ---- starting and stopping ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take up what was active before the relay was stopped."""
        self._rows.size().addCallbacks(self._sized, self._no_store)
        self._rows.active().addCallbacks(self._loaded, self._no_store)
        self._keep_call = self.clock.callLater(KEEP_LOOK_S, self._keep)

    def _sized(self, size: int) -> None:
        self.used += size

    def _loaded(self, rows: list[UploadRow]) -> None:
        for row in rows:
            if row.id in self._tasks or self._closed:
                continue
            task = self._task(row)
            if task.state is State.ASKED:
                task.state = State.QUEUED
            self._tasks[task.id] = task
            self.serial_given(task)
            task.begin()

    def _no_store(self, failure: Failure) -> Failure | None:
        if not isinstance(failure.value, StoreError):
            return failure
        log.error("uploads cannot be read: {problem}", problem=str(failure.value))
        return None

    def _task(self, row: UploadRow) -> Upload:
        task = Upload(self, row.id, row.sim, row.channel, row.created, Facts.load(row.data))
        task.state = State(row.state)
        task.finished = row.finished
        return task

    def close(self) -> None:
        """The relay stops."""
        self._closed = True
        for undo in self._undo:
            undo()
        if self._keep_call is not None:
            self._keep_call.cancel()
            self._keep_call = None
        for task in list(self._tasks.values()):
            task.stop()

    # ---- for those who want files ------------------------------------------------------------------------------------------------

    def start(
        self, name: str, channel: int, criteria: Criteria, conditions: int = 7, expected_bytes: int = 0, purpose: str = "api", who: str = ""
    ) -> Deferred[Upload]:
        """A task for a terminal by any of its names; fires at once, the terminal being online or not. Fails with UploadError.

        ``conditions``: bits 0 WIFI, 1 LAN, 2 mobile, on which the terminal may upload. ``expected_bytes``: what its list says, for progress and check.
        """
        return self._resolver.resolve(name).addCallback(lambda sim: self._start(name, sim, channel, criteria, conditions, expected_bytes, purpose, who))

    def _start(
        self, name: str, sim: str | None, channel: int, criteria: Criteria, conditions: int, expected: int, purpose: str, who: str
    ) -> Upload | Deferred[Upload]:
        if sim is None:
            return fail(UploadError(404, "unknown_terminal", f"No terminal is called {name}."))
        if not self.port:
            return fail(UploadError(503, "ftp_off", "The FTP server is switched off.", "ftp.port of the configuration is 0."))
        if why := self.refuses(sim):
            hint = f"An operator may raise it: PUT /api/v1/terminals/{sim}/budget."
            return fail(UploadError(409, "budget_spent", f"Nothing is asked of terminal {sim} now: {why}.", hint))
        if len(self._tasks) >= ACTIVE_MAX:
            return fail(UploadError(503, "too_many_uploads", f"{ACTIVE_MAX} uploads are under way."))
        facts = Facts(criteria, conditions, expected, purpose, who)
        task = Upload(self, secrets.token_hex(6), sim, channel, self.wall(), facts)
        self._tasks[task.id] = task
        self.counts["started"] += 1
        task.save()
        task.begin()
        return task

    def get(self, ident: str) -> Deferred[Upload]:
        """A task, active or over; fails with UploadError (404)."""
        task = self._tasks.get(ident)
        if task is not None:
            waiting: Deferred[Upload] = Deferred()
            waiting.callback(task)
            return waiting
        return self._rows.get(ident).addCallback(self._got, ident)

    def _got(self, row: UploadRow | None, ident: str) -> Upload:
        if row is None:
            raise UploadError(404, "unknown_upload", f"There is no upload {ident}.")
        return self._tasks.get(ident) or self._task(row)

    def page(
        self, sim: str = "", state: str = "", limit: int = 100, before: tuple[float, str] | None = None
    ) -> Deferred[tuple[list[Upload], int]]:
        """Newest first, and how many there are in all; ``before``: (created, id) of the last one of the page before."""
        return self._rows.page(phone_key(sim) if sim else "", state, limit, before).addCallback(
            lambda found: ([self._tasks.get(row.id) or self._task(row) for row in found[0]], found[1])
        )

    def active(self) -> Iterator[Upload]:
        """Those that are not over."""
        return iter(list(self._tasks.values()))

    def remove(self, ident: str) -> Deferred[None]:
        """Forget a task that is over, and delete its files; fails with UploadError."""
        return self.get(ident).addCallback(self._remove_one)

    def _remove_one(self, task: Upload) -> Deferred[None]:
        if not task.over:
            raise UploadError(409, "upload_active", f"Upload {task.id} is {task.state.value}.", 'Cancel it first: {"action": "cancel"}.')
        return self._remove([task], "deleted")

    # ---- for the FTP server --------------------------------------------------------------------------------------------------------

    @property
    def expected(self) -> bool:
        """A terminal may want to log in; while none may, connections are turned away unanswered."""
        return bool(self._tasks)

    def log_in(self, user: str, password: str) -> Upload | None:
        """The task whose credentials these are; None for anybody else."""
        right = any(hmac.compare_digest(password.encode(), secret.encode()) for secret in self._derive(f"ftp {user}"))
        task = self._tasks.get(user)
        if not right or task is None or task.over:
            self.counts["log-ins refused"] += 1
            return None
        return task

    def password(self, ident: str) -> str:
        """Of a task."""
        return self._derive(f"ftp {ident}")[0]

    def address(self, terminal: Terminal) -> tuple[str, int]:
        """Where a terminal is told to send: ``ftp.advertise``, else the address of ours that its signalling reached."""
        return self.settings.advertise or (terminal.link.wire.local if terminal.link is not None else ""), self.port

    def room(self, more: int) -> str:
        """ "" when so many bytes may come, else ``disk_full`` or ``quota``."""
        if self.used + more > self.settings.max_bytes:
            return QUOTA
        if not more:  # asked for at the beginning of each file: the rest is told by the disk itself
            try:
                if self._free(self.directory) < self.settings.min_free_bytes:
                    return DISK_FULL
            except OSError:
                return ""  # the directory cannot be looked at; opening the file will say why
        return ""

    # ---- for the tasks -----------------------------------------------------------------------------------------------------------------

    def serial_given(self, task: Upload) -> None:
        """0x1206 and 0x9207 will name it by its serial; of two tasks with the same, the newer one is meant."""
        if task.facts.serial is not None:
            self._serials[task.sim, task.facts.serial] = task

    def save(self, task: Upload) -> None:
        """Write a task's row."""
        self._rows.put(task.row()).addErrback(self._not_saved, task)

    def _not_saved(self, failure: Failure, task: Upload) -> Failure | None:
        if not isinstance(failure.value, StoreError):
            return failure
        self.counts["rows not stored"] += 1
        if self.counts["rows not stored"] == 1:
            log.error("upload {id} cannot be stored, it goes on: {problem}", id=task.id, problem=str(failure.value))
        return None

    def tell(self, name: str, task: Upload, **more: Any) -> None:
        """An event about a task."""
        self.events.publish(name, id=task.id, sim=task.sim, channel=task.channel, **more)

    def over(self, task: Upload) -> None:
        """A task is over."""
        self.counts[f"over: {task.facts.reason or task.state.value}"] += 1
        self._tasks.pop(task.id, None)
        if task.facts.serial is not None and self._serials.get((task.sim, task.facts.serial)) is task:
            del self._serials[task.sim, task.facts.serial]

    # ---- what happens ----------------------------------------------------------------------------------------------------------------------

    def _on_terminal(self, what: str, terminal: Terminal) -> None:
        if what == "online":
            for task in self.active():
                if task.sim == terminal.sim:
                    task.terminal_online()

    def _heard(self, terminal: Terminal, received: Received) -> None:
        message = received.message
        if not isinstance(message, FileUploadFinished):
            return
        task = self._serials.get((terminal.sim, message.reply_serial))
        if task is None:
            # another id than ours, or an answer that comes twice: if just one task waits at that terminal, it is meant
            waiting = [each for each in self.active() if each.sim == terminal.sim and each.state is State.UPLOADING]
            outcome = "foreign" if len(waiting) == 1 else "unknown"
            self.counts[f"0x1206: {outcome}"] += 1
            task = waiting[0] if len(waiting) == 1 else None
        if task is not None:
            task.finished_by_terminal(message.result)

    def make_room(self) -> None:
        """Something did not fit."""
        self.sweep().addErrback(self._no_store)

    # ---- what is kept ---------------------------------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        self._keep_call = self.clock.callLater(KEEP_LOOK_S, self._keep)
        self.make_room()

    def sweep(self) -> Deferred[None]:
        """Delete what is over and too old, or, oldest first, too much."""
        return self._rows.finished(KEEP_BATCH).addCallback(self._swept)

    def _swept(self, rows: list[UploadRow]) -> Deferred[None] | None:
        before = self.wall() - self.settings.keep_days * 86400 if self.settings.keep_days else 0.0
        old, used = [], self.used
        for row in rows:
            too_old = row.finished is not None and row.finished < before
            if too_old or used > self.settings.max_bytes * 9 // 10:
                old.append(self._task(row))
                used -= row.bytes
        if not old:
            return None
        done = self._remove(old, "too old, or too much")
        return done.addCallback(lambda _: self.sweep()) if len(old) == len(rows) else done

    def _remove(self, tasks: list[Upload], why: str) -> Deferred[None]:
        for task in tasks:
            self.used -= task.size
            self.tell("upload.removed", task, bytes=task.size, reason=why)
        log.info("uploads removed, {why}: {ids}", why=why, ids=", ".join(task.id for task in tasks))
        deleted = self.in_thread(delete, [task.folder for task in tasks])
        return deleted.addCallback(lambda _: self._rows.remove([task.id for task in tasks]))


def _free(directory: Path) -> int:
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return shutil.disk_usage(directory).free
