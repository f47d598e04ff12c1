"""Searching what a terminal has recorded: lists whole and in pieces, and answers that come late, twice, under another serial, or never."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, succeed

from relay.core.alias import Resolver
from relay.core.link import IncompleteReplyError, NoReplyError, RefusedError, RequestError, TerminalOfflineError
from relay.core.recordings import LATE_KEPT_S, Recordings
from relay.core.stored import Criteria, recording_of
from relay.jt808.messages.video import Resource, ResourceList, ResourceQuery
from relay.jt808.subpackages import split
from tests.core.fakes import SIM, Device, World

DAY = Criteria("261121000000", "261121235959")


class NoNames:
    def resolve(self, name: str) -> Any:
        return succeed(None)


class Site:
    """A terminal that is online, and searches of it."""

    def __init__(self) -> None:
        self.world = World(subpackage_timeout_s=20.0)
        self.device: Device = self.world.online()
        self.recordings = Recordings(self.world.terminals, Resolver(self.world.terminals, NoNames()), self.world.clock, self.world.events)
        self.found: list[Any] = []
        self.failed: list[Any] = []

    def search(self, channel: int = 1, criteria: Criteria = DAY, **more: Any) -> Any:
        waiting = self.recordings.search(SIM, channel, criteria, **more)
        waiting.addCallbacks(self.found.append, lambda failure: self.failed.append(failure.value))
        return waiting

    def asked(self) -> int:
        """The serial of the 0x9205 that the terminal reads."""
        [(header, message)] = [(h, m) for h, m in self.device.commands() if isinstance(m, ResourceQuery)]
        self.query = message
        return int(header.serial)

    def list(self, serial: int, items: int = 2, day: int = 21) -> None:
        self.device.say(ResourceList(reply_serial=serial, resources=resources(items, day)))

    def outcomes(self) -> list[str]:
        return [event["outcome"] for event in self.world.told if event["event"] == "recordings.answer"]


@pytest.fixture
def site() -> Any:
    made = Site()
    yield made
    made.recordings.close()
    made.world.terminals.close()


def resources(count: int, day: int = 21) -> list[Resource]:
    return [
        Resource(channel=1, start_time=f"2611{day}{n // 60 % 24:02}{n % 60:02}00", end_time=f"2611{day}{n // 60 % 24:02}{n % 60:02}59", media_type=0,
                 stream_type=1, storage_type=1, file_size=n)
        for n in range(count)
    ]  # fmt: skip


def test_a_list_is_found_as_the_terminal_gives_it(site: Site) -> None:
    site.search(criteria=Criteria("261121000000", "261121235959", 1 << 32, 2, 1, 2))
    serial = site.asked()
    assert (site.query.start_time, site.query.end_time, site.query.alarm_flags) == ("261121000000", "261121235959", 1 << 32)
    assert (site.query.media_type, site.query.stream_type, site.query.storage_type) == (2, 1, 2)
    site.list(serial)
    [found] = site.found
    assert [each.file_size for each in found.items] == [0, 1]
    assert recording_of(found.items[0])["start_time"] == "2026-11-21T00:00:00+08:00"


def test_five_thousand_in_pieces_arrive_complete_though_that_takes_longer_than_the_limit(site: Site) -> None:
    site.search(timeout_s=5.0)
    body = ResourceList(reply_serial=site.asked(), resources=resources(5000)).encode(2013)
    pieces = split(body)
    for index, piece in enumerate(pieces):
        site.world.clock.advance(1.0)
        site.device.send(0x1205, piece, package_total=len(pieces), package_index=index + 1)
    [found] = site.found
    assert [each.file_size for each in found.items] == list(range(5000))
    assert found.seconds == pytest.approx(1.0 * len(pieces))


def test_pieces_that_stop_have_a_name(site: Site) -> None:
    site.search(timeout_s=5.0)
    pieces = split(ResourceList(reply_serial=site.asked(), resources=resources(500)).encode(2013))
    site.device.send(0x1205, pieces[0], package_total=len(pieces), package_index=1)
    site.world.clock.advance(19.0)
    assert not site.failed
    site.world.clock.advance(2.0)
    [problem] = site.failed
    assert isinstance(problem, IncompleteReplyError)
    assert site.recordings.counts["failed: incomplete_reply"] == 1


def test_no_answer_a_refusal_and_a_terminal_that_is_away_have_names(site: Site) -> None:
    site.search(timeout_s=5.0)
    site.world.clock.advance(5.0)
    site.asked()
    site.search()
    [(header, _)] = site.device.commands()
    site.device.answer(header, 3)
    site.device.link.lost("gone")  # type: ignore[union-attr]
    site.search()
    assert [type(problem) for problem in site.failed] == [NoReplyError, RefusedError, TerminalOfflineError]
    assert all(isinstance(problem, RequestError) for problem in site.failed)


def test_a_list_that_comes_late_answers_the_next_search(site: Site) -> None:
    site.search(timeout_s=5.0)
    serial = site.asked()
    site.world.clock.advance(6.0)
    site.list(serial, items=3)
    assert site.outcomes() == ["late"]
    site.search()
    [found] = site.found
    assert (len(found.items), found.note) == (3, "late")
    assert not [m for _, m in site.device.commands() if isinstance(m, ResourceQuery)]  # it was not asked again
    site.search()
    assert site.asked()  # once


def test_a_late_list_is_not_kept_for_long(site: Site) -> None:
    site.search(timeout_s=5.0)
    serial = site.asked()
    site.world.clock.advance(6.0)
    site.list(serial)
    site.world.clock.advance(LATE_KEPT_S + 1)
    site.search()
    assert site.asked()


def test_a_second_list_is_told_as_such(site: Site) -> None:
    site.search()
    serial = site.asked()
    site.list(serial)
    site.list(serial)
    assert len(site.found) == 1
    assert site.outcomes() == ["twice"]


def test_a_list_under_a_foreign_serial_answers_the_only_search_it_fits(site: Site) -> None:
    site.search()
    serial = site.asked()
    site.list(serial + 7)
    [found] = site.found
    assert "foreign serial" in found.note
    assert len(found.items) == 2


def test_a_foreign_list_that_does_not_fit_is_dropped_and_told(site: Site) -> None:
    site.search(timeout_s=30.0)
    serial = site.asked()
    site.list(serial + 7, day=20)
    assert site.outcomes() == ["foreign"]
    assert not site.found
    site.list(serial)
    assert len(site.found) == 1


def test_which_of_two_searches_a_foreign_list_answers_cannot_be_told(site: Site) -> None:
    site.search()
    site.search(channel=2)
    site.list(4711)
    assert site.outcomes() == ["foreign"]
    assert not site.found


def test_a_cancelled_search_waits_for_nothing(site: Site) -> None:
    waiting = site.search()
    serial = site.asked()
    waiting.cancel()
    assert isinstance(site.failed[0], CancelledError)
    site.list(serial)
    assert site.outcomes() == ["late"]


def test_unexpected_lists_are_told_once_a_second_and_counted(site: Site) -> None:
    for number in range(5):
        site.list(4000 + number)
    assert site.outcomes() == ["foreign"]
    assert site.recordings.counts["answers: foreign"] == 5


