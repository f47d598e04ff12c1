"""One upload task: a terminal is asked to send recordings by FTP (0x9206), and watched until it has.

    ==========  ======================================================================================================
    state       what happens to it
    ==========  ======================================================================================================
    queued      it waits for the terminal to be online → asked
    asked       0x9206 was sent. 0x0001, or its FTP log-in, whichever comes first → uploading. Refused → failed. Silence → asked again
                (ASK_AGAIN_S apart, ASK_MAX times) → failed. Link lost → queued
    uploading   files come, over as many connections, of FTP and JT/T 808, as it takes. 0x1206 result 0 → done, once what is open is written;
                result 1 → failed. Nothing for ``ftp.stall_s``: 0x9207 resume; if the terminal no longer knows the task, 0x9206 again;
                NUDGES times in vain → done, if what came is whole, else failed
    paused      by an operator (0x9207 pause), or held for want of room (``hold``: disk_full, quota) until there is some; what still comes is kept
    done        with what came; ``check`` compares with the size that was expected
    failed      ``reason`` says why; what came stays
    cancelled   0x9207 cancel was sent; half files are deleted, whole ones stay
    ==========  ======================================================================================================

A task outlives links and restarts. 0x9207 and 0x1206 name it by the serial of its last 0x9206.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from relay.core.events import iso_time
from relay.core.link import NoReplyError, RefusedError, RequestError, TerminalOfflineError
from relay.core.state_timer import StateTimer
from relay.core.upload_facts import OVER, Facts, State, StoredFile, UploadError, UploadRefusedError
from relay.core.upload_files import DISK_ERROR, DISK_FULL, Incoming, sha256_of, stored_name
from relay.hub.merge import DelayedCall
from relay.jt808.messages.base import Body
from relay.jt808.messages.video import FileUpload, FileUploadControl, UploadCommand
from relay.store.uploads import UploadRow

if TYPE_CHECKING:
    from relay.core.uploads import Uploads

log = Logger()

LOOK_S = 5.0  #: how often an active task is looked at, and its progress stored
ASK_AGAIN_S = 60.0
ASK_MAX = 3
ANSWER_S = 20.0  #: for 0x0001 to 0x9206 and 0x9207
BACK_S = 15.0  #: a terminal that has come back goes on by itself within that, or is reminded
NUDGES = 3
FILES_MAX = 256  #: of a task; half-hour files of five days
QUOTA, TOO_LARGE, TOO_MANY_FILES = "quota", "too_large", "too_many_files"


class Upload:
    """One task. ``id`` is its name everywhere, also in its FTP user name."""

    def __init__(self, owner: Uploads, ident: str, sim: str, channel: int, created: float, facts: Facts) -> None:
        self.id = ident
        self.sim = sim
        self.channel = channel
        self.created = created  #: UNIX time
        self.finished: float | None = None  #: UNIX time
        self.facts = facts
        self.state = State.QUEUED
        self.connections = 0  #: FTP control connections that are logged in
        self.open: dict[str, Incoming] = {}
        self.rate = 0.0  #: bytes/s over the last LOOK_S
        self._owner = owner
        self._timer = StateTimer(owner.clock)
        self._look_at: DelayedCall | None = None
        self._asks = 0
        self._nudges = 0
        self._moved = owner.clock.seconds()
        self._rated = 0
        self._finish_with: tuple[State, str, str] | None = None  #: once everything open is written
        self._dirty = False

    # ---- what is known -----------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Nothing happens to it any more."""
        return self.state in OVER

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._owner.directory / self.id

    @property
    def size(self) -> int:
        """Of all its files so far."""
        return sum(each.size for each in self.facts.files.values())

    @property
    def check(self) -> str:
        """Against the size expected: "" = none was given, "ok", "smaller", "larger"; within a hundredth, since terminals round."""
        expected = self.facts.expected
        if not expected or self.state not in (State.DONE, State.FAILED):
            return ""
        if abs(self.size - expected) <= max(expected // 100, 65536):
            return "ok"
        return "smaller" if self.size < expected else "larger"

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        facts = self.facts
        online = self._owner.terminals.is_online(self.sim)
        return {
            "id": self.id,
            "sim": self.sim,
            "channel": self.channel,
            "state": self.state.value,
            "reason": facts.reason,
            "message": facts.message,
            "waits_for_terminal": not online and not self.over,
            **facts.criteria.as_dict(),
            "created": iso_time(self.created),
            "finished": iso_time(self.finished) if self.finished is not None else None,
            "purpose": facts.purpose,
            "who": facts.who,
            "bytes": self.size,
            "expected_bytes": facts.expected,
            "percent": min(100, round(100 * self.size / facts.expected)) if facts.expected else None,
            "bytes_per_s": round(self.rate) if self.state is State.UPLOADING else 0,
            "check": self.check,
            "connections": self.connections,
            "files": [each.as_dict() for each in facts.files.values()],
        }

    def row(self) -> UploadRow:
        """For the store."""
        return UploadRow(self.id, self.sim, self.channel, self.state.value, self.created, self.finished, self.size, self.facts.dump())

    def _now(self) -> float:
        return self._owner.clock.seconds()

    # ---- asking -------------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A new task, or one that was active before a restart."""
        self._moved = self._now()
        self._look_at = self._owner.clock.callLater(LOOK_S, self._look)
        if self.state is State.QUEUED and self._owner.terminals.is_online(self.sim):
            self._ask()

    def _ask(self) -> None:
        self._asks += 1
        self._moved = self._now()
        terminal = self._owner.terminals.get(self.sim)
        host, port = self._owner.address(terminal) if terminal is not None else ("", 0)
        if not host or not port:
            self._fail("no_ftp_address", "No FTP address is known: set ftp.port and ftp.advertise.")
            return
        self._set(State.ASKED)
        facts, criteria = self.facts, self.facts.criteria
        request = FileUpload(
            server_address=host, port=port, username=self.id, password=self._owner.password(self.id), path="/", channel=self.channel,
            start_time=criteria.begin, end_time=criteria.end, alarm_flags=criteria.alarm_flags, media_type=criteria.media_type,
            stream_type=criteria.stream_type, storage_type=criteria.storage_type, conditions=facts.conditions,
        )  # fmt: skip
        self._owner.terminals.request(self.sim, request, ANSWER_S, None, self._sent).addCallbacks(self._agreed, self._not_agreed)

    def _sent(self, serial: int) -> None:
        self.facts.serial = serial
        self._owner.serial_given(self)

    def _agreed(self, _: Body) -> None:
        self._moved = self._now()
        if self.state is State.ASKED:
            self._set(State.UPLOADING)

    def _not_agreed(self, failure: Failure) -> Failure | None:
        problem = failure.value
        if not isinstance(problem, RequestError):
            return failure
        if self.state is not State.ASKED:
            return None
        if isinstance(problem, RefusedError):
            self._fail("refused_by_terminal", f"The terminal refused the upload: result {problem.result}.")
        elif isinstance(problem, TerminalOfflineError):
            self._set(State.QUEUED)
        elif self._asks >= ASK_MAX:
            self._fail("no_answer", f"{problem.message}.")
        else:
            self._timer.set(ASK_AGAIN_S if isinstance(problem, NoReplyError) else LOOK_S, self._ask_again)
        return None

    def _ask_again(self) -> None:
        if self.state is State.ASKED:
            if self._owner.terminals.is_online(self.sim):
                self._ask()
            else:
                self._set(State.QUEUED)

    def terminal_online(self) -> None:
        """It has a new link."""
        if self.state is State.QUEUED:
            self._ask()
        elif self.state is State.UPLOADING:
            self._timer.set(BACK_S, self._remind)

    def finished_by_terminal(self, result: int) -> None:
        """0x1206."""
        if self.over:
            self._owner.counts["0x1206 after the end"] += 1
        elif result == 0:
            self._end(State.DONE)
        else:
            self._end(State.FAILED, "terminal_failed", f"The terminal reports that the upload failed (0x1206 result {result}).")

    # ---- files ----------------------------------------------------------------------------------------------------------------

    def size_of(self, wire: bytes) -> int | None:
        """Of a file that came, by the name that the terminal gives it."""
        stored = self.facts.files.get(stored_name(wire))
        return stored.size if stored is not None else None

    def receive(self, wire: bytes, offset: int | None) -> Incoming:
        """A file is about to come; ``offset``: where it goes on (None: at the end of what is there). Raises UploadRefusedError."""
        owner, settings = self._owner, self._owner.settings
        name = stored_name(wire)
        if not name:
            raise UploadRefusedError("bad_name", "That is no name for a file")
        if self.over:
            raise UploadRefusedError("over", f"The task is over ({self.state.value})")
        if name in self.open:
            raise UploadRefusedError("busy", "That file is being written already")
        stored = self.facts.files.get(name)
        if stored is None and len(self.facts.files) >= FILES_MAX:
            raise UploadRefusedError(TOO_MANY_FILES, f"A task has {FILES_MAX} files at most")
        size = stored.size if stored is not None else 0
        begin = size if offset is None else offset
        if begin > size:
            raise UploadRefusedError("bad_offset", f"The file has {size} bytes so far")
        problem = owner.room(0)
        if problem:
            self.hold(problem)
            raise UploadRefusedError(problem, "There is no room now")
        if stored is None:
            stored = self.facts.files[name] = StoredFile(name)
        owner.used -= size - begin
        stored.size, stored.complete, stored.problem, stored.sha256 = begin, False, "", ""
        kept = stored

        def room(more: int) -> str:
            if kept.size + more > settings.file_max_bytes:
                return TOO_LARGE
            return QUOTA if self.size + more > settings.task_max_bytes else owner.room(more)

        def wrote(more: int) -> None:
            kept.size += more
            owner.used += more
            owner.took(self.sim, self.channel, self.facts.who, more)
            kept.received = owner.wall()
            self._moved = self._now()
            self._nudges = 0
            self._dirty = True

        incoming = self.open[name] = Incoming(self.folder / name, begin, owner.in_thread, room, wrote)
        if self.state in (State.ASKED, State.QUEUED):
            self._set(State.UPLOADING)
        self._moved = self._now()
        return incoming

    def received(self, incoming: Incoming, in_order: bool) -> Deferred[str]:
        """The data connection has ended; fires with "" when the file is on the disk and whole, else with what is wrong."""
        name = incoming.path.name
        return incoming.close().addCallback(self._written, name, in_order)

    def _written(self, problem: str, name: str, in_order: bool) -> Deferred[str] | str:
        stored = self.facts.files.get(name)
        if stored is None:  # cancelled meanwhile
            self.open.pop(name, None)
            self._owner.in_thread(delete, [self.folder / name])
            return "over"
        stored.problem = problem or ("" if in_order else "broken_off")
        self._moved = self._now()
        if stored.problem or self.over:
            return self._file_over("", name)
        return self._owner.in_thread(sha256_of, self.folder / name).addCallbacks(
            self._file_over, lambda failure: self._file_over("", name), callbackArgs=(name,)
        )

    def _file_over(self, sha256: str, name: str) -> str:
        stored = self.facts.files[name]
        stored.sha256 = sha256
        stored.complete = bool(sha256)
        self.open.pop(name, None)
        text = "upload {id}: {name}, {size} bytes{problem}"
        log.info(text, id=self.id, name=name, size=stored.size, problem=f", {stored.problem}" if stored.problem else "")
        self._owner.tell("upload.file", self, file=name, size=stored.size, complete=stored.complete, problem=stored.problem)
        if stored.problem in (DISK_FULL, QUOTA):
            self.hold(stored.problem)
        elif stored.problem == DISK_ERROR:
            self._fail(DISK_ERROR, "The file cannot be written; the log says why.")
        self.save()
        if self._finish_with is not None and not self.open:
            self._finish(*self._finish_with)
        return stored.problem

    def logged_in(self) -> None:
        """A control connection."""
        self.connections += 1
        self._moved = self._now()
        if self.state is State.ASKED:
            self._set(State.UPLOADING)

    def logged_out(self) -> None:
        """It is gone."""
        self.connections -= 1

    # ---- watching --------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._look_at = self._owner.clock.callLater(LOOK_S, self._look)
        size = self.size
        self.rate, self._rated = max(0.0, (size - self._rated) / LOOK_S), size
        if self._dirty:
            self.save()
            self._owner.tell("upload.progress", self, bytes=size)
        now, settings = self._now(), self._owner.settings
        if self._owner.wall() > self.created + settings.task_hours * 3600:
            self._end(State.FAILED, "expired", f"It was not done within {settings.task_hours:g} hours (ftp.task_hours).")
        elif self.state is State.PAUSED and self.facts.reason in (DISK_FULL, QUOTA) and not self._owner.room(0):
            self._resume(quietly=True)
        elif self.state is State.UPLOADING and now > self._moved + settings.stall_s:
            self._stalled()

    def _stalled(self) -> None:
        self._moved = self._now()
        if not self._owner.terminals.is_online(self.sim):
            return  # it is reminded when it comes back
        self._nudges += 1
        if self._nudges <= NUDGES:
            self._remind()
            return
        whole = [each for each in self.facts.files.values() if each.complete]
        if whole and len(whole) == len(self.facts.files):
            self._end(State.DONE, "unconfirmed", "The terminal did not say that it had sent everything (0x1206).")
        else:
            code = "stopped_half_way" if self.facts.files else "nothing_came"
            self._end(State.FAILED, code, f"The terminal agreed and sent nothing more for {NUDGES + 1} x {self._owner.settings.stall_s:g} s.")

    def _remind(self) -> None:
        """0x9207 resume; a terminal that knows nothing of the task is asked anew."""
        if self.state is not State.UPLOADING or self.open:
            return
        self._command(UploadCommand.RESUME).addErrback(self._unknown)

    def _unknown(self, failure: Failure) -> Failure | None:
        if not isinstance(failure.value, RequestError):
            return failure
        if isinstance(failure.value, RefusedError) and self.state is State.UPLOADING and not self.open:
            self._ask()
        return None

    # ---- control ------------------------------------------------------------------------------------------------------------------

    def control(self, action: str) -> Deferred[Upload]:
        """ "pause", "resume" or "cancel"; fails with a RequestError when the terminal does not do it."""
        if self.over:
            return fail(UploadError(409, "upload_over", f"Upload {self.id} is over: {self.state.value}."))
        if action == "cancel":
            self._cancel()
            return succeed(self)
        if action == "pause":
            return self._pause()
        return self._resume()

    def _command(self, command: UploadCommand) -> Deferred[Body]:
        return self._owner.terminals.request(self.sim, FileUploadControl(reply_serial=self.facts.serial or 0, command=command), ANSWER_S)

    def _pause(self) -> Deferred[Upload]:
        if self.state is State.QUEUED or self.facts.serial is None:
            return succeed(self._set(State.PAUSED, "paused"))
        return self._command(UploadCommand.PAUSE).addCallback(lambda _: self if self.over else self._set(State.PAUSED, "paused"))

    def _resume(self, quietly: bool = False) -> Deferred[Upload]:
        if self.state is not State.PAUSED:
            return succeed(self)
        if not self._owner.terminals.is_online(self.sim) or self.facts.serial is None:
            self._set(State.QUEUED)
            self._asks = 0
            if self._owner.terminals.is_online(self.sim):
                self._ask()
            return succeed(self)
        self._set(State.UPLOADING)
        self._moved = self._now()
        return self._command(UploadCommand.RESUME).addErrback(self._unknown).addCallback(lambda _: self)

    def _cancel(self) -> None:
        if self.facts.serial is not None and self._owner.terminals.is_online(self.sim):
            self._command(UploadCommand.CANCEL).addErrback(self._not_told)
        self._end(State.CANCELLED)

    def _not_told(self, failure: Failure) -> Failure | None:
        if not isinstance(failure.value, RequestError):
            return failure
        log.info("upload {id}: cancelled, but {problem}", id=self.id, problem=failure.value.message)
        return None

    def hold(self, reason: str) -> None:
        """There is no room for more; it goes on by itself when there is."""
        if self.over or self.state is State.PAUSED:
            return
        log.warn("upload {id}: held, {reason}", id=self.id, reason=reason)
        if reason == QUOTA:
            self._owner.make_room()
        if self.facts.serial is not None and self._owner.terminals.is_online(self.sim):
            self._command(UploadCommand.PAUSE).addErrback(self._not_held)
        self._set(State.PAUSED, reason)

    def _not_held(self, failure: Failure) -> Failure | None:
        return None if isinstance(failure.value, RequestError) else failure

    # ---- its end --------------------------------------------------------------------------------------------------------------------

    def _fail(self, reason: str, message: str) -> None:
        self._end(State.FAILED, reason, message)

    def _end(self, state: State, reason: str = "", message: str = "") -> None:
        """Over, once what is open is written (the terminal may say that it is done before its last bytes have come)."""
        if self.over:
            return
        if state is State.DONE and not self.facts.files and not self.open:
            state, reason, message = State.FAILED, "nothing_came", "The terminal says that it is done, and has sent no file."
        elif state is State.DONE and not self.open and not all(each.complete for each in self.facts.files.values()):
            state, reason, message = State.FAILED, "stopped_half_way", "The terminal says that it is done, and a file ended half way."
        if self.open and state is State.DONE:
            self._finish_with = (state, reason, message)
            self._timer.set(self._owner.settings.stall_s, self._finish, state, reason, message)
            return
        self._finish(state, reason, message)

    def _finish(self, state: State, reason: str = "", message: str = "") -> None:
        if self.over:
            return
        self._finish_with = None
        self._timer.cancel()
        if self._look_at is not None:
            self._look_at.cancel()
            self._look_at = None
        self.finished = self._owner.wall()
        self._set(state, reason, message)
        log.info("upload {id} of {sim} is {state}{reason}: {files} files, {bytes} bytes", id=self.id, sim=self.sim, state=state.value,
                 reason=f" ({reason})" if reason else "", files=len(self.facts.files), bytes=self.size)  # fmt: skip
        for incoming in list(self.open.values()):
            if incoming.sender is not None:
                incoming.sender.failed("over")
        if state is State.CANCELLED:
            self._drop_halves()
        self._owner.over(self)

    def _drop_halves(self) -> None:
        halves = [name for name, each in self.facts.files.items() if not each.complete]
        for name in halves:
            self._owner.used -= self.facts.files.pop(name).size
        self._owner.in_thread(delete, [self.folder / name for name in halves]).addErrback(
            lambda failure: log.warn("upload {id}: {problem}", id=self.id, problem=str(failure.value))
        )
        self.save()

    def stop(self) -> None:
        """The relay stops: nothing is told, everything goes on after the next start."""
        self._timer.cancel()
        if self._look_at is not None:
            self._look_at.cancel()
            self._look_at = None
        if self.state is State.ASKED:
            self.state = State.QUEUED
        if not self.over:
            self.save()

    # ---- helpers ---------------------------------------------------------------------------------------------------------------------

    def _set(self, state: State, reason: str = "", message: str = "") -> Upload:
        self.state = state
        self.facts.reason, self.facts.message = reason, message
        self.save()
        self._owner.tell("upload.state", self, state=state.value, reason=reason)
        return self

    def save(self) -> None:
        """Into the store."""
        self._dirty = False
        self._owner.save(self)


def delete(paths: list[Path]) -> None:
    """For a thread."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
