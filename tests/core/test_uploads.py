"""Upload tasks: asked for, watched, reminded, held for want of room, ended by name; what is kept over a restart, and for how long."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred, succeed

from relay.core.alias import Resolver
from relay.core.stored import Criteria
from relay.core.upload_files import Incoming, stored_name
from relay.core.uploads import State, Upload, UploadError, UploadRefusedError, Uploads
from relay.jt808.messages.video import FileUpload, FileUploadControl, FileUploadFinished
from relay.settings import Ftp
from relay.store import uploads as table
from relay.store.uploads import UploadRow
from tests.core.fakes import SIM, WALL, Device, World

SPAN = Criteria("261121090000", "261121100000")


class Rows:
    """``UploadStore`` in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, UploadRow] = {}

    def put(self, row: UploadRow) -> Deferred[None]:
        self.rows[row.id] = row
        return succeed(None)

    def get(self, ident: str) -> Deferred[UploadRow | None]:
        return succeed(self.rows.get(ident))

    def active(self) -> Deferred[list[UploadRow]]:
        return succeed([row for row in self.rows.values() if row.state in table.ACTIVE])

    def page(self, sim: str, state: str, limit: int, before: Any) -> Deferred[Any]:
        rows = [row for row in self.rows.values() if not sim or row.sim == sim]
        return succeed((rows[:limit], len(rows)))

    def finished(self, limit: int) -> Deferred[list[UploadRow]]:
        rows = [row for row in self.rows.values() if row.finished is not None]
        return succeed(sorted(rows, key=lambda row: row.finished or 0.0)[:limit])

    def size(self) -> Deferred[int]:
        return succeed(sum(row.bytes for row in self.rows.values()))

    def remove(self, idents: list[str]) -> Deferred[None]:
        for ident in idents:
            self.rows.pop(ident, None)
        return succeed(None)


class Site:
    """A terminal and the tasks of its relay."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.world = World()
        self.device: Device | None = None
        self.rows = Rows()
        self.left = 1 << 40
        self.settings = Ftp(**{"directory": str(folder), "advertise": "192.0.2.5", "stall_s": 30.0, **settings})
        self.uploads = self.made()

    def resolve(self, name: str) -> Deferred[Any]:
        return succeed(self.world.rows.rows.get(name))

    def made(self) -> Uploads:
        uploads = Uploads(
            self.settings, self.rows, self.world.terminals, Resolver(self.world.terminals, self), self.world.clock, self.world.events,
            lambda: WALL + self.world.clock.seconds(), 2121, lambda text: [f"secret of {text}"], maybeDeferred, lambda folder: self.left,
        )  # fmt: skip
        uploads.begin()
        return uploads

    def online(self) -> Device:
        self.device = self.world.device()
        self.device.register()
        self.device.authenticate()
        return self.device

    def start(self, **more: Any) -> Upload:
        found: list[Upload] = []
        self.uploads.start(SIM, 1, SPAN, **more).addCallback(found.append)
        [task] = found
        return task

    def asked(self, kind: type = FileUpload, result: int | None = 0) -> Any:
        """The message of that kind that the terminal reads; answered."""
        assert self.device is not None
        [(header, message)] = [(h, m) for h, m in self.device.commands() if isinstance(m, kind)]
        if result is not None:
            self.device.answer(header, result)
        self.serial = header.serial
        return message

    def commands(self) -> list[int]:
        """The 0x9207s that the terminal reads, each answered."""
        assert self.device is not None
        out = []
        for header, message in self.device.commands():
            if isinstance(message, FileUploadControl):
                self.device.answer(header)
                out.append(int(message.command))
        return out

    def uploading(self, **more: Any) -> Upload:
        if self.device is None:
            self.online()
        task = self.start(**more)
        self.asked()
        return task

    def finished(self, result: int = 0, serial: int | None = None) -> None:
        assert self.device is not None
        self.device.say(FileUploadFinished(reply_serial=self.serial if serial is None else serial, result=result))

    def end(self) -> None:
        self.uploads.close()
        self.world.terminals.close()


@pytest.fixture
def site(tmp_path: Path) -> Any:
    made = Site(tmp_path)
    yield made
    made.end()


def send(task: Upload, data: bytes, name: bytes = b"a.h264", offset: int | None = 0, in_order: bool = True) -> str:
    """One file, as the FTP server brings it."""
    incoming = task.receive(name, offset)
    incoming.write(data)
    outcome: list[str] = []
    task.received(incoming, in_order).addCallback(outcome.append)
    return outcome[0]


def test_a_task_is_asked_for_with_credentials_of_its_own(site: Site) -> None:
    site.online()
    task = site.start(conditions=5)
    request = site.asked()
    assert (request.server_address, request.port, request.path) == ("192.0.2.5", 2121, "/")
    assert (request.username, request.password) == (task.id, f"secret of ftp {task.id}")
    assert (request.channel, request.start_time, request.end_time, request.conditions) == (1, "261121090000", "261121100000", 5)
    assert task.state is State.UPLOADING
    assert site.uploads.log_in(task.id, f"secret of ftp {task.id}") is task
    for user, password in ((task.id, "wrong"), ("anonymous", "secret of ftp anonymous"), ("", "")):
        assert site.uploads.log_in(user, password) is None


def test_files_come_and_0x1206_ends_the_task(site: Site) -> None:
    task = site.uploading(expected_bytes=11)
    assert send(task, b"hello world") == ""
    assert (site.uploads.directory / task.id / "a.h264").read_bytes() == b"hello world"
    site.finished()
    assert task.state is State.DONE
    view = task.as_dict()
    assert (view["check"], view["percent"], view["files"][0]["complete"], view["files"][0]["sha256"][:8]) == ("ok", 100, True, "b94d27b9")
    assert site.uploads.log_in(task.id, f"secret of ftp {task.id}") is None  # its credentials are worthless now
    assert not site.uploads.expected


def test_it_waits_until_the_vehicle_is_online(site: Site) -> None:
    task = site.start()
    assert (task.state, task.as_dict()["waits_for_terminal"]) == (State.QUEUED, True)
    site.online()
    assert site.asked().username == task.id


def test_a_link_that_breaks_before_the_answer_queues_it_again(site: Site) -> None:
    site.online()
    task = site.start()
    site.asked(result=None)
    site.device.link.lost("tunnel")  # type: ignore[union-attr]
    assert task.state is State.QUEUED
    site.online()
    site.asked()
    assert task.state is State.UPLOADING


@pytest.mark.parametrize(("result", "reason"), [(1, "refused_by_terminal"), (3, "refused_by_terminal")])
def test_a_refusal_fails_it(site: Site, result: int, reason: str) -> None:
    site.online()
    task = site.start()
    site.asked(result=result)
    assert (task.state, task.facts.reason) == (State.FAILED, reason)


def test_no_answer_is_asked_again_and_then_fails(site: Site) -> None:
    site.online()
    task = site.start()
    for _ in range(40):
        site.world.clock.advance(5.0)
        site.device.send(0x0002)  # type: ignore[union-attr]
    assert (task.state, task.facts.reason) == (State.FAILED, "no_answer")


def test_the_terminals_own_failure_and_an_empty_success_have_names(site: Site) -> None:
    task = site.uploading()
    send(task, b"x")
    site.finished(result=1)
    assert (task.state, task.facts.reason) == (State.FAILED, "terminal_failed")
    assert (task.folder / "a.h264").exists()  # what came stays
    other = site.uploading()
    site.finished()
    assert (other.state, other.facts.reason) == (State.FAILED, "nothing_came")


def test_a_file_that_ended_half_way_is_no_success(site: Site) -> None:
    task = site.uploading()
    assert send(task, b"half", in_order=False) == "broken_off"
    site.finished()
    assert (task.state, task.facts.reason) == (State.FAILED, "stopped_half_way")


def test_one_that_stops_is_reminded_and_fails_at_last(site: Site) -> None:
    task = site.uploading()
    send(task, b"half", in_order=False)
    told = []
    for _ in range(30):
        site.world.clock.advance(5.0)
        site.device.send(0x0002)  # type: ignore[union-attr]
        told += site.commands()
    assert told == [1, 1, 1]
    assert (task.state, task.facts.reason) == (State.FAILED, "stopped_half_way")


def test_whole_files_without_0x1206_are_done_all_the_same(site: Site) -> None:
    task = site.uploading()
    send(task, b"whole")
    for _ in range(30):
        site.world.clock.advance(5.0)
        site.device.send(0x0002)  # type: ignore[union-attr]
        site.commands()
    assert (task.state, task.facts.reason) == (State.DONE, "unconfirmed")


def test_a_terminal_that_forgot_the_task_is_asked_anew_and_goes_on_where_the_file_ends(site: Site) -> None:
    task = site.uploading()
    send(task, b"hello ", in_order=False)
    site.device.link.lost("power cut")  # type: ignore[union-attr]
    site.online()
    site.world.clock.advance(16.0)
    assert site.asked(FileUploadControl, result=1).command == 1
    assert site.asked().username == task.id
    assert task.size_of(b"a.h264") == 6
    assert send(task, b"world", offset=6) == ""
    assert (task.folder / "a.h264").read_bytes() == b"hello world"
    site.finished()
    assert task.state is State.DONE


def test_append_goes_on_too_and_a_new_beginning_replaces(site: Site) -> None:
    task = site.uploading()
    send(task, b"hello ")
    send(task, b"world", offset=None)
    assert (task.folder / "a.h264").read_bytes() == b"hello world"
    send(task, b"new")
    assert (task.folder / "a.h264").read_bytes() == b"new"
    assert site.uploads.used == 3
    with pytest.raises(UploadRefusedError, match="3 bytes so far"):
        task.receive(b"a.h264", 4)


def test_pause_resume_and_cancel_are_told_by_the_serial(site: Site) -> None:
    task = site.uploading()
    serial = site.serial
    send(task, b"whole", b"one")
    send(task, b"half", b"two", in_order=False)
    task.control("pause")
    assert (site.asked(FileUploadControl).reply_serial, task.state) == (serial, State.PAUSED)
    task.control("resume")
    assert (site.asked(FileUploadControl).command, task.state) == (1, State.UPLOADING)
    task.control("cancel")
    assert (site.asked(FileUploadControl).command, task.state) == (2, State.CANCELLED)
    assert [each.name for each in task.folder.iterdir()] == ["one"]
    assert site.uploads.used == 5
    site.finished(result=1)  # "may or may not come"
    assert task.state is State.CANCELLED
    problems: list[Any] = []
    task.control("pause").addErrback(lambda failure: problems.append(failure.value))
    assert problems[0].code == "upload_over"


def test_a_pause_that_the_terminal_refuses_is_told(site: Site) -> None:
    task = site.uploading()
    problems: list[Any] = []
    task.control("pause").addErrback(lambda failure: problems.append(failure.value))
    site.asked(FileUploadControl, result=3)
    assert (problems[0].code, task.state) == ("refused", State.UPLOADING)


def test_a_full_disk_holds_it_until_there_is_room(site: Site) -> None:
    task = site.uploading()
    send(task, b"whole", b"one")
    site.left = 0
    with pytest.raises(UploadRefusedError) as refused:
        task.receive(b"two", 0)
    assert refused.value.reason == "disk_full"
    assert (task.state, task.facts.reason, site.commands()) == (State.PAUSED, "disk_full", [0])
    site.world.clock.advance(10.0)
    assert task.state is State.PAUSED
    site.left = 1 << 40
    site.world.clock.advance(5.0)
    assert (task.state, site.commands()) == (State.UPLOADING, [1])
    assert send(task, b"more", b"two") == ""


def test_a_disk_that_fills_up_in_the_middle_loses_that_file_only(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    task = site.uploading()
    send(task, b"whole", b"one")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(Incoming, "_write", full)
    assert send(task, b"more", b"two") == "disk_full"
    assert (task.state, task.facts.reason) == (State.PAUSED, "disk_full")
    assert [(each.name, each.complete) for each in task.facts.files.values()] == [("one", True), ("two", False)]


def test_a_folder_that_cannot_be_written_fails_it_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    task = site.uploading()

    def forbidden(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "not allowed")

    monkeypatch.setattr(Incoming, "_write", forbidden)
    assert send(task, b"more", b"two") == "disk_error"
    assert (task.state, task.facts.reason) == (State.FAILED, "disk_error")


def test_bytes_are_told_to_who_counts_them(site: Site) -> None:
    told: list[tuple[str, int, str, int]] = []
    site.uploads.took = lambda *words: told.append(words)
    send(site.uploading(who="ann"), b"hello")
    assert told == [(SIM, 1, "ann", 5)]


def test_what_a_full_disk_took_of_a_piece_is_not_counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    task = site.uploading()

    class Full:
        """A disk with room for eight more bytes."""

        def __init__(self, file: Any) -> None:
            self.file, self.room = file, 8

        def write(self, data: Any) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, "no space left")
            count = self.file.write(data[: self.room])
            self.room -= count
            return int(count)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with monkeypatch.context() as small:
        small.setattr("relay.core.upload_files.os.fdopen", lambda descriptor, mode, buffering: Full(open(descriptor, mode, buffering)))  # noqa: SIM115
        incoming = task.receive(b"a", 0)
        incoming.write(b"hello ")
        incoming.write(b"world, and all the rest")
        task.received(incoming, True)
    assert task.size_of(b"a") == 6
    site.world.clock.advance(5.0)
    assert send(task, b"world", b"a", offset=6) == ""
    assert (task.folder / "a").read_bytes() == b"hello world"


def test_limits_of_a_file_and_of_a_task(tmp_path: Path) -> None:
    site = Site(tmp_path, file_max_bytes=10, task_max_bytes=15)
    task = site.uploading()
    assert send(task, bytes(11), b"one") == "too_large"
    assert send(task, bytes(10), b"two") == ""
    assert send(task, bytes(10), b"three") == "quota"
    site.end()


@pytest.mark.parametrize(("name", "stored"), [
    (b"ch1_20261121.mp4", "ch1_20261121.mp4"), (b"video/1.h264", "video_1.h264"), ("前门.avi".encode("gb18030"), "前门.avi"), ("前门.avi".encode(), "前门.avi"),
    (b"C:\\rec\\1.avi", "C_rec_1.avi"), (b".hidden", "hidden"), (b"a\r\nb;c|d", "a__b_c_d"), (b"", ""), (b"..", ""), (b"///", ""),
    (b"x" * 300 + b".mp4", "x" * 116 + ".mp4"),
])  # fmt: skip
def test_names_are_one_segment_whatever_the_terminal_writes(name: bytes, stored: str) -> None:
    assert stored_name(name) == stored


def test_a_restart_takes_up_what_was_under_way(site: Site, tmp_path: Path) -> None:
    task = site.uploading()
    send(task, b"hello ", in_order=False)
    queued = site.start()  # its 0x9206 was not answered
    site.uploads.close()
    site.uploads = site.made()
    again = {each.id: each for each in site.uploads.active()}
    assert {each.state for each in again.values()} >= {State.UPLOADING}
    assert again[task.id].size_of(b"a.h264") == 6
    assert again[queued.id].state in (State.QUEUED, State.ASKED)
    assert site.uploads.log_in(task.id, f"secret of ftp {task.id}") is again[task.id]
    send(again[task.id], b"world", offset=6)
    site.finished(serial=site.serial)
    assert again[task.id].state is State.DONE


def test_0x1206_under_a_foreign_serial_ends_the_only_task_there_is(site: Site) -> None:
    task = site.uploading()
    send(task, b"whole")
    site.finished(serial=site.serial + 100)
    assert task.state is State.DONE
    assert site.uploads.counts["0x1206: foreign"] == 1
    site.finished(serial=site.serial + 100)  # twice
    assert site.uploads.counts["0x1206: unknown"] == 1


def test_it_expires(tmp_path: Path) -> None:
    site = Site(tmp_path, task_hours=1.0)
    task = site.start()
    site.world.clock.pump([5.0] * 721)
    assert (task.state, task.facts.reason) == (State.FAILED, "expired")
    site.end()


def test_what_is_old_goes_and_the_oldest_when_there_is_too_much(tmp_path: Path) -> None:
    site = Site(tmp_path, max_bytes=100, keep_days=1.0)
    first = site.uploading()
    send(first, bytes(50))
    site.finished()
    site.world.clock.advance(100.0)
    second = site.uploading()
    send(second, bytes(45))
    site.finished()
    site.world.clock.advance(600.0)
    assert [row.id for row in site.rows.rows.values()] == [second.id]
    assert not first.folder.exists()
    assert site.uploads.used == 45
    site.world.clock.pump([3600.0] * 26)
    assert not site.rows.rows
    assert not second.folder.exists()
    site.end()


def test_deleting_needs_an_end(site: Site) -> None:
    task = site.uploading()
    problems: list[Any] = []
    site.uploads.remove(task.id).addErrback(lambda failure: problems.append(failure.value))
    assert isinstance(problems[0], UploadError)
    assert problems[0].status == 409
    task.control("cancel")
    site.uploads.remove(task.id)
    assert not site.rows.rows
    site.uploads.get(task.id).addErrback(lambda failure: problems.append(failure.value))
    assert problems[1].status == 404


class Slow:
    """A thread that answers when told to, and a sender."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Deferred[Any], Any, tuple[Any, ...]]] = []
        self.told: list[str] = []

    def __call__(self, call: Any, *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.jobs.append((done, call, args))
        return done

    def run(self) -> None:
        done, call, args = self.jobs.pop(0)
        done.callback(call(*args))

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def failed(self, reason: str) -> None:
        self.told.append(reason)


def test_a_slow_disk_pauses_the_sender_and_holds_no_more_than_a_megabyte(tmp_path: Path) -> None:
    slow, written = Slow(), []
    incoming = Incoming(tmp_path / "x", 0, slow, lambda more: "", written.append)
    incoming.sender = slow
    for _ in range(20):
        incoming.write(bytes(100_000))
        if slow.told == ["pause"]:
            break
    assert slow.told == ["pause"]
    assert incoming.size <= 1_400_000
    slow.run()
    assert slow.told == ["pause", "resume"]
    ended: list[str] = []
    incoming.close().addCallback(ended.append)
    while slow.jobs:
        slow.run()
    assert ended == [""]
    assert sum(written) == incoming.size == (tmp_path / "x").stat().st_size
