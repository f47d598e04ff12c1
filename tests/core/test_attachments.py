"""Files of alarms: who is asked when, what is let in, what stays over connections and restarts, what a full disk does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute

from relay.core import attachment_files
from relay.core.attachments import AGAIN_S, LOOK_S, TRIES, Attachments, AttachmentSession
from relay.jt808.header import Header
from relay.jt808.messages.base import Body
from relay.jt808.messages.safety import AttachmentFile, AttachmentList, AttachmentRequest, FileBegin, FileEnd
from relay.jt808.safety import AlarmSign
from relay.settings import Attachments as AttachmentSettings
from relay.store.alarm_files import AlarmFileStore
from relay.store.alarms import AlarmRow
from tests.core.fakes import PHONE
from tests.core.test_alarms import Site, adas, sign
from tests.jt808.test_attachment import chunk


class Place(Site):
    """A terminal, its alarms, and where their files go."""

    def __init__(self, path: Path, **settings: Any) -> None:
        super().__init__(path / "a.db")
        self.directory = path / "attachments"
        self.settings = AttachmentSettings(**{"delay_s": 0.0, "free_bytes": 0, **settings})
        self.disk: Callable[..., Any] | None = None
        self.fetch()

    def fetch(self) -> None:
        def in_thread(work: Callable[..., Any], *args: Any) -> Deferred[Any]:
            return execute(self.disk or work, *args)

        self.attachments = Attachments(
            self.settings, self.directory, AlarmFileStore(self.database), self.alarms, self.world.terminals, self.world.clock, self.world.events,
            lambda: self.now, in_thread, lambda terminal: ("203.0.113.10", 7200),
        )  # fmt: skip
        self.attachments.start()

    def alarm(self, **more: Any) -> AlarmRow:
        self.report(0, adas(state=0, **more))
        row = self.rows()[-1]
        self.attachments.request(row, "rule:r")
        self.world.clock.advance(LOOK_S)
        return row

    def asked(self, result: int = 0) -> list[AttachmentRequest]:
        """The 0x9208 that came, repeats left out; each is answered."""
        found = {}
        for header, message in self.device.commands():
            if isinstance(message, AttachmentRequest) and header.serial not in found:
                self.device.answer(header, result)
                found[header.serial] = message
        return list(found.values())

    def state(self, row: AlarmRow) -> str:
        return next(each.files_state for each in self.rows() if each.id == row.id)

    def files(self, row: AlarmRow) -> list[tuple[str, str, int]]:
        found: list[Any] = []
        self.attachments.of_alarm(row.id).addCallback(found.extend)
        return [(each.name, each.state, sum(end - start for start, end in each.ranges)) for each in found]

    def end(self) -> None:
        self.attachments.stop()
        self.alarms.stop()
        self.world.terminals.close()
        self.database.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.end()


class Sender:
    """The terminal's end of one connection."""

    def __init__(self, place: Place, request: AttachmentRequest, phone: str = PHONE) -> None:
        self.session: AttachmentSession = place.attachments.connected("10.0.0.9:4000")
        self.request = request
        self.phone = phone
        self.failure: Any = None

    def bytes(self, data: bytes) -> bytes:
        out: list[bytes] = []
        self.session.received(data).addCallbacks(out.append, lambda failure: setattr(self, "failure", failure.value))
        return out[0] if out else b""

    def say(self, body: Body) -> bytes:
        return self.bytes(Header(body.msg_id, self.phone, 1).encode(body.encode(2013)))

    def announce(self, *files: tuple[str, int], number: str = "", alarm_sign: AlarmSign | None = None) -> bytes:
        return self.say(
            AttachmentList(
                terminal_id="T000001", alarm_sign=alarm_sign or self.request.alarm_sign, alarm_number=number or self.request.alarm_number, info_type=0,
                files=[AttachmentFile(file_name=name, file_size=size) for name, size in files],
            )
        )  # fmt: skip

    def file(self, name: str, content: bytes, kind: int = 0) -> bytes:
        self.say(FileBegin(file_name=name, file_type=kind, file_size=len(content)))
        self.bytes(chunk(name, 0, content))
        return self.say(FileEnd(file_name=name, file_type=kind, file_size=len(content)))


PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 8


def stored(place: Place) -> list[bytes]:
    return [path.read_bytes() for path in sorted(place.directory.rglob("*")) if path.is_file() and not path.suffix]


def test_asked_sent_and_kept(place: Place) -> None:
    row = place.alarm()
    (request,) = place.asked()
    assert (str(request.server_address), request.tcp_port, request.alarm_sign.encode()) == ("203.0.113.10", 7200, row.sign)
    assert len(str(request.alarm_number)) == 24
    assert place.state(row) == "asked"
    sender = Sender(place, request)
    sender.announce(("a.jpg", len(PHOTO)), ("../../b", 0))
    assert place.state(row) == "coming"
    assert sender.file("a.jpg", PHOTO)
    assert sender.file("../../b", b"")
    sender.session.lost()
    assert place.state(row) == "complete"
    assert [(name, state) for name, state, _ in place.files(row)] == [("../../b", "complete"), ("a.jpg", "complete")]
    assert sorted(stored(place)) == [b"", PHOTO]
    assert len(place.told("alarm.file")) == 2
    assert place.attachments.waiting == 0


@pytest.mark.parametrize("wrong", ["number", "sign", "phone", "nothing asked"])
def test_only_what_was_asked_for_is_let_in(place: Place, wrong: str) -> None:
    place.alarm()
    (request,) = place.asked()
    sender = Sender(place, request, "13900139000" if wrong == "phone" else PHONE)
    if wrong == "nothing asked":
        sender.bytes(chunk("a.jpg", 0, PHOTO))
    else:
        sender.announce(
            ("a.jpg", len(PHOTO)), number="0" * 24 if wrong == "number" else "", alarm_sign=sign(77) if wrong == "sign" else None
        )
        assert sender.session.failed is not None
        assert sender.session.failed.reason == "refused"
    sender.session.lost()
    assert stored(place) == []


def test_what_has_arrived_stays_over_connections_and_restarts(place: Place) -> None:
    row = place.alarm()
    (request,) = place.asked()
    first = Sender(place, request)
    first.announce(("a.jpg", len(PHOTO)))
    first.bytes(chunk("a.jpg", 0, PHOTO[:1000]))
    first.session.lost()
    assert (place.state(row), place.files(row)) == ("partial", [("a.jpg", "partial", 1000)])
    place.attachments.stop()
    place.fetch()  # the relay was started anew
    second = Sender(place, request)
    second.announce(("a.jpg", len(PHOTO)))
    asked_again = second.say(FileEnd(file_name="a.jpg", file_type=0, file_size=len(PHOTO)))
    assert (1000).to_bytes(4, "big") + (len(PHOTO) - 1000).to_bytes(4, "big") in asked_again, "0x9212: from where it stopped"
    second.bytes(chunk("a.jpg", 1000, PHOTO[1000:]))
    second.session.lost()
    assert place.state(row) == "complete"
    assert stored(place) == [PHOTO]


def test_a_terminal_that_does_not_accept_is_asked_again_later_and_then_given_up(place: Place) -> None:
    row = place.alarm()
    asked_at = []
    for second in range(int(AGAIN_S * 2**TRIES)):
        if place.asked(result=1):
            asked_at.append(second)
        place.report(after=1)
    assert [later - earlier for earlier, later in pairwise(asked_at)] == [AGAIN_S, AGAIN_S * 2, AGAIN_S * 4]
    assert place.state(row) == "failed"
    assert place.attachments.counts["not accepted: refused"] == TRIES
    assert "1" in place.told("alarm.files")[-1]["why"]


def test_few_at_a_time_and_offline_ones_wait(place: Place) -> None:
    rows = [place.alarm(alarm_sign=sign(0))]
    (request,) = place.asked()
    rows += [place.alarm(alarm_sign=sign(number)) for number in (1, 2)]
    assert place.asked() == []
    assert [place.state(row) for row in rows] == ["asked", "queued", "queued"]
    sender = Sender(place, request)
    sender.announce(("a", 4))
    sender.file("a", b"1234")
    sender.session.lost()
    place.world.terminals.kick(PHONE)
    place.world.clock.advance(LOOK_S)
    assert [place.state(row) for row in rows] == ["complete", "queued", "queued"]
    place.device = place.world.online()
    place.world.clock.advance(LOOK_S)
    assert len(place.asked()) == 1
    place.now += place.settings.queue_age_s + 1
    place.world.clock.advance(LOOK_S)
    assert place.state(rows[2]) == "failed"
    assert place.state(rows[1]) == "asked", "it may still come"


def test_an_alarm_is_asked_for_once_and_by_a_person_again(place: Place) -> None:
    row = place.alarm()
    place.attachments.request(row, "rule:other")
    assert len(place.asked()) == 1
    place.world.clock.advance(LOOK_S)
    assert place.asked() == []
    place.attachments.again(row, "ann")
    place.world.clock.advance(LOOK_S)
    assert len(place.asked()) == 1


def test_kinds_and_sizes_that_are_not_wanted(tmp_path: Path) -> None:
    place = Place(tmp_path, types=("picture",), file_bytes=5000)
    row = place.alarm()
    (request,) = place.asked()
    sender = Sender(place, request)
    sender.announce(("00_1_a.jpg", len(PHOTO)), ("02_1_a.mp4", 4), ("00_1_b.jpg", 6000))
    sender.file("02_1_a.mp4", b"mpeg", 2)
    sender.file("00_1_b.jpg", bytes(6000))
    sender.file("00_1_a.jpg", PHOTO)
    sender.session.lost()
    assert sorted(state for _, state, _ in place.files(row)) == ["complete", "refused", "refused"]
    assert place.state(row) == "complete", "nothing else will come"
    assert stored(place) == [PHOTO]
    place.end()


def test_a_full_disk_confirms_nothing_and_ends_by_itself(place: Place) -> None:
    row = place.alarm()
    (request,) = place.asked()
    sender = Sender(place, request)
    sender.announce(("a.jpg", len(PHOTO)))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.disk = full
    answer = sender.file("a.jpg", PHOTO)
    assert (answer, sender.failure.errno) == (b"", errno.ENOSPC)
    assert "the disk is full" in place.attachments.problem
    assert len(place.told("attachments.stopped")) == 1
    sender.session.lost()
    other = place.alarm(alarm_sign=sign(9))
    assert place.asked() == [], "nothing is asked for meanwhile"
    place.disk = None
    for _ in range(3):
        place.report(after=30)
    place.world.clock.advance(LOOK_S)
    assert len(place.asked()) == 1
    assert place.attachments.problem == ""
    again = Sender(place, request)
    again.announce(("a.jpg", len(PHOTO)))
    again.file("a.jpg", PHOTO)
    again.session.lost()
    assert (place.state(row), place.state(other)) == ("complete", "asked")


def test_too_little_room_is_seen_before_anything_is_asked_for(tmp_path: Path) -> None:
    place = Place(tmp_path, free_bytes=1 << 60)
    row = place.alarm()
    assert place.asked() == []
    assert place.state(row) == "queued"
    assert "MiB left (attachments.free_bytes)" in place.attachments.problem
    place.end()


def test_old_alarms_go_with_their_files(place: Place) -> None:
    place.alarm()
    (request,) = place.asked()
    sender = Sender(place, request)
    sender.announce(("a.jpg", len(PHOTO)))
    sender.file("a.jpg", PHOTO)
    sender.session.lost()
    gone: list[int] = []
    Deferred.fromCoroutine(place.attachments.delete_old(place.now + 1, 100)).addCallback(gone.append)
    assert gone == [1]
    assert (place.rows(), stored(place)) == ([], [])


def test_what_a_file_is_is_told_by_its_bytes(tmp_path: Path) -> None:
    for content, kind in (
        (PHOTO, "image/jpeg"), (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"), (b"\0\0\0\x18ftypisom", "video/mp4"), (b"\0\0\0\x01\x67", "video/h264"),
        (b"<html><script>", "application/octet-stream"), (b"", "application/octet-stream"),
    ):  # fmt: skip
        attachment_files.write(tmp_path, [("ab12", 0, content)])
        assert attachment_files.finish(tmp_path, "ab12", len(content)).content_type == kind
        assert attachment_files.read(tmp_path, "ab12") == content
        assert oct(attachment_files.place(tmp_path, "ab12").stat().st_mode)[-3:] == "600"
