"""Rows gathered into few transactions: when they are written, what happens when they cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from relay.store.batch import DELAY_S, RETRY_S, ROWS, Batch
from relay.store.connection import Connection
from tests.conftest import LoggedErrors
from tests.store.direct import DirectDatabase


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DirectDatabase]:
    made = DirectDatabase(tmp_path / "a.db")
    made.connection.execute("CREATE TABLE numbers (number INTEGER)")
    yield made
    made.close()


def write(connection: Connection, rows: list[int]) -> None:
    connection.executemany("INSERT INTO numbers (number) VALUES (?)", [(row,) for row in rows])


def stored(database: DirectDatabase) -> list[int]:
    return [row[0] for row in database.connection.execute("SELECT number FROM numbers")]


def test_few_rows_wait_a_moment_for_others(database: DirectDatabase) -> None:
    clock = Clock()
    batch = Batch(database, clock, "numbers", write)
    for number in range(3):
        batch.add(number)
    assert database.jobs == 0
    clock.advance(DELAY_S)
    assert stored(database) == [0, 1, 2]
    assert database.jobs == 1
    assert (batch.stored, batch.pending, batch.lost) == (3, 0, 0)


def test_many_rows_go_at_once_and_in_order(database: DirectDatabase) -> None:
    clock = Clock()
    batch = Batch(database, clock, "numbers", write)
    for number in range(ROWS * 2 + 7):
        batch.add(number)
    assert (database.jobs, batch.pending) == (2, 7)
    clock.advance(DELAY_S)
    assert stored(database) == list(range(ROWS * 2 + 7))


def test_one_write_at_a_time(database: DirectDatabase) -> None:
    clock = Clock()
    batch = Batch(database, clock, "numbers", write)
    database.held = []
    for number in range(ROWS * 3):
        batch.add(number)
    assert len(database.held) == 1, "the others wait here, not in the database's queue"
    database.release()
    clock.advance(DELAY_S)
    assert stored(database) == list(range(ROWS * 3))


def test_a_store_that_refuses_loses_nothing_and_is_asked_ever_more_seldom(database: DirectDatabase) -> None:
    clock = Clock()
    batch = Batch(database, clock, "numbers", write)
    database.refusing = "disk full"
    batch.add(1)
    clock.advance(DELAY_S)
    batch.add(2)
    for number in range(ROWS):
        batch.add(number)
    assert database.jobs == 1, "it is not asked anew by every row"
    clock.advance(RETRY_S)
    clock.advance(RETRY_S)
    assert database.jobs == 2
    clock.advance(RETRY_S)
    assert database.jobs == 3
    database.refusing = ""
    clock.advance(RETRY_S * 4)
    clock.advance(DELAY_S)
    assert stored(database) == [1, 2, *range(ROWS)]
    assert batch.lost == 0


def test_what_waits_is_bounded_and_the_loss_is_counted(database: DirectDatabase) -> None:
    clock = Clock()
    batch = Batch(database, clock, "numbers", write, pending_max=5)
    database.refusing = "disk full"
    for number in range(12):
        batch.add(number)
    clock.advance(DELAY_S)
    assert (batch.pending, batch.lost) == (5, 7)
    for number in range(12, 14):
        batch.add(number)
    database.refusing = ""
    clock.advance(RETRY_S)
    assert stored(database) == [9, 10, 11, 12, 13], "the newest stay"
    assert batch.lost == 9


def test_flush_fires_when_all_is_stored(database: DirectDatabase) -> None:
    clock = Clock()
    batch = Batch(database, clock, "numbers", write)
    assert batch.flush().called, "nothing to write"
    batch.add(1)
    assert batch.flush().called
    assert stored(database) == [1]
    assert clock.getDelayedCalls() == []


def test_stop_writes_the_rest_and_tells_what_it_could_not(database: DirectDatabase) -> None:
    clock = Clock()
    batch = Batch(database, clock, "numbers", write)
    batch.add(1)
    assert batch.stop().called
    assert stored(database) == [1]
    database.refusing = "disk full"
    batch.add(2)
    assert batch.stop().called
    assert batch.lost == 1
    assert clock.getDelayedCalls() == []


def test_a_fault_of_ours_is_logged_and_nothing_is_lost(database: DirectDatabase, logged_errors: LoggedErrors) -> None:
    clock = Clock()
    faults = [ZeroDivisionError()]

    def wrong(connection: Connection, rows: list[int]) -> None:
        if faults:
            raise faults.pop()
        write(connection, rows)

    batch = Batch(database, clock, "numbers", wrong)
    database.held = []
    batch.add(1)
    clock.advance(DELAY_S)
    (job,) = database.held
    database.held = None
    with pytest.raises(ZeroDivisionError) as raised:
        job[0](database.connection, job[1])
    job[2].errback(raised.value)
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    clock.advance(RETRY_S)
    assert stored(database) == [1]


def test_what_waits_for_a_row_is_called_once_it_is_stored_and_not_before(database: DirectDatabase) -> None:
    clock = Clock()
    batch = Batch(database, clock, "numbers", write)
    called: list[int] = []
    batch.then(lambda: called.append(0))
    assert called == [0], "nothing waits"
    for number in range(1, ROWS + 3):
        batch.add(number)
        batch.then(lambda number=number: called.append(number))
    assert called == list(range(ROWS + 1))
    clock.advance(DELAY_S)
    assert called == list(range(ROWS + 3))


def test_what_waits_for_a_row_that_is_lost_is_never_called(database: DirectDatabase) -> None:
    clock = Clock()
    batch = Batch(database, clock, "numbers", write, pending_max=3)
    called: list[int] = []
    database.refusing = "disk full"
    for number in range(1, 6):
        batch.add(number)
        batch.then(lambda number=number: called.append(number))
        if number == 2:
            clock.advance(DELAY_S)
    assert (batch.lost, called) == (2, [])
    database.refusing = ""
    clock.advance(RETRY_S * 2)
    assert stored(database) == [3, 4, 5]
    assert called == [3, 4, 5]
    database.refusing = "disk full"
    batch.add(6)
    batch.then(lambda: called.append(6))
    batch.stop()
    assert (batch.lost, called) == (3, [3, 4, 5])
