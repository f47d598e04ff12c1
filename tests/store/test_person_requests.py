"""The table of superiors' requests that a person answers, and the migration that made it."""

from __future__ import annotations

import pytest_twisted

from relay.store.connection import Connection
from relay.store.person_requests import PersonRequestRow, forget, put, select
from relay.store.schema import migrate, version
from relay.store.store import Store
from tests.store.test_schema import empty, tables

__all__ = ["empty"]

ONE = PersonRequestRow(1, "province", "post_query", 1.5, 61.5, "在岗？\n", {"info_id": 9}, {"msg_id": 0x9300, "body": "00ff"}, "waiting")


def test_requests_are_written_answered_and_read(connection: Connection) -> None:
    two = ONE._replace(id=2, kind="supervision", details={"plate": "粤B12345"})
    put(connection, two)
    put(connection, ONE)
    assert select(connection) == [ONE, two]
    answered = ONE._replace(state="answered", answer={"text": "在"}, answered_at=2.5, answered_by="ann")
    put(connection, answered)
    assert select(connection) == [answered, two]


def test_texts_that_no_database_takes_are_made_fit(connection: Connection) -> None:
    put(connection, ONE._replace(text="a\0b\ud800", answered_by="\0"))
    assert "\0" not in select(connection)[0].text


def test_old_ones_go_and_those_that_wait_stay(connection: Connection) -> None:
    for number in range(1, 11):
        put(connection, ONE._replace(id=number, state="waiting" if number in (2, 5) else "expired"))
    forget(connection, 3)
    assert [row.id for row in select(connection)] == [2, 5, 8, 9, 10]


def test_the_migration_from_12_keeps_what_was_there(empty: Connection) -> None:
    migrate(empty, 12)
    assert "person_requests" not in tables(empty)
    empty.execute("INSERT INTO terminals (key, phone, plate, added_at) VALUES (?, ?, ?, ?)", ("1", "01", "粤B1", 5.0))
    migrate(empty, 13)
    assert version(empty) == 13
    put(empty, ONE)
    assert select(empty) == [ONE]
    assert empty.execute("SELECT COUNT(*) FROM terminals").fetchone()[0] == 1


@pytest_twisted.ensureDeferred
async def test_through_the_thread(store: Store) -> None:
    await store.person_requests.put(ONE)
    assert await store.person_requests.load(10) == [ONE]
