"""The store's thread: Deferreds, other processes, a locked file, a full queue, the end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from relay.store import database, terminals
from relay.store.connection import Connection, in_transaction
from relay.store.database import connect
from relay.store.errors import StoreConflictError, StoreError
from relay.store.schema import LATEST
from relay.store.store import Store
from relay.store.terminals import KnownTerminal

ONE = KnownTerminal("013800138000", plate="粤B12345")


@pytest_twisted.async_yield_fixture
async def file(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "data" / "relay.db")
    made.start(reactor.callFromThread)  # type: ignore[attr-defined]
    yield made
    await made.stop()


async def test_terminals_and_codes(store: Store) -> None:
    assert await store.terminals.get("13800138000") is None
    assert await store.terminals.issue_auth_code("13800138000", 1.0) == ""
    await store.terminals.add(ONE, 1.0)
    code = await store.terminals.issue_auth_code("13800138000", 2.0)
    assert len(code) == 22
    assert await store.terminals.verify_auth_code("013800138000", code)
    assert not await store.terminals.verify_auth_code("013800138000", code[:-1])
    assert await store.terminals.set_auth_code("13800138000", "preset", 3.0)
    assert await store.terminals.verify_auth_code("013800138000", "preset")
    assert await store.terminals.count() == 1
    found = await store.terminals.resolve("粤B12345")
    assert found is not None
    assert found.key == "13800138000"
    assert [t.phone for t in await store.terminals.list()] == ["013800138000"]
    assert await store.terminals.remove("13800138000")


async def test_a_list_is_kept_until_one_of_the_rows_changes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    true = terminals.list_all
    monkeypatch.setattr(terminals, "list_all", lambda *words: read.append(1) or true(*words))
    await store.terminals.add(ONE, 1.0)
    assert await store.terminals.list() == await store.terminals.list()
    assert len(read) == 1
    await store.positions.last(0.0)
    await store.terminals.upsert(replace(ONE, plate="粤B1"), 2.0)
    assert [row.plate for row in await store.terminals.list()] == ["粤B1"]
    command = connect(store.database.url)
    in_transaction(command, lambda c: terminals.upsert(c, replace(ONE, plate="粤B2"), 3.0))
    command.close()
    assert [row.plate for row in await store.terminals.list()] == ["粤B2"]
    await store.terminals.remove(ONE.phone)
    assert await store.terminals.list() == []
    assert len(read) == 4


async def test_a_conflict_reaches_the_caller(store: Store) -> None:
    await store.terminals.add(ONE, 1.0)
    with pytest.raises(StoreConflictError):
        await store.terminals.add(ONE, 1.0)
    assert await store.terminals.count() == 1


async def test_registration_fills_in_what_the_operator_left_out(store: Store) -> None:
    await store.terminals.add(ONE, 1.0, "preset")
    seen = KnownTerminal("13800138000", "粤B00000", 2, manufacturer="70111", model="X1", terminal_id="T1", edition=2019)
    row = await store.terminals.registered(seen, 9.0)
    assert (row.phone, row.plate, row.plate_color, row.manufacturer, row.edition) == ("013800138000", "粤B12345", 2, "70111", 2019)
    assert (row.registered_at, row.added_at, row.origin, row.has_auth_code) == (9.0, 1.0, "operator", True)
    fresh = await store.terminals.registered(KnownTerminal("2", origin="first-seen"), 10.0)
    assert (fresh.origin, fresh.added_at, fresh.registered_at) == ("first-seen", 10.0, 10.0)


async def test_the_store_says_whether_it_can_be_written(store: Store) -> None:
    await store.check()


async def test_users(store: Store) -> None:
    await store.users.add("ann", "admin", "correct horse", 1.0)
    assert await store.users.check_password("ann", "wrong horse") is None
    user = await store.users.check_password("ann", "correct horse")
    assert user is not None
    assert user.role == "admin"
    assert [u.name for u in await store.users.list()] == ["ann"]
    assert await store.users.get("ann") == user
    assert await store.users.set_password("ann", "another horse")
    assert await store.users.remove("ann")


async def test_what_a_command_adds_is_seen_without_a_restart(store: Store) -> None:
    assert await store.terminals.get("13800138000") is None
    before = await store.changes()
    command = connect(store.database.url)
    in_transaction(command, lambda c: terminals.add(c, ONE, 1.0, "code"))
    assert await store.terminals.verify_auth_code("13800138000", "code")
    assert await store.changes() != before
    in_transaction(command, lambda c: terminals.remove(c, "13800138000"))
    command.close()
    assert await store.terminals.get("13800138000") is None


async def test_another_process_lock_is_waited_for_without_stopping_the_reactor(file: Store) -> None:
    command = sqlite3.connect(file.path, isolation_level=None)
    command.execute("BEGIN IMMEDIATE")
    write = file.terminals.add(ONE, 1.0)
    assert await store_is_busy(file)
    assert not write.called
    command.execute("COMMIT")
    command.close()
    assert (await write).phone == ONE.phone


async def store_is_busy(store: Store) -> bool:
    """One turn of the reactor with the job under way."""
    turn = threading.Event()
    reactor.callFromThread(turn.set)  # type: ignore[attr-defined]
    from twisted.internet.task import deferLater

    await deferLater(reactor, 0.05, lambda: None)
    return turn.is_set() and store.database.waiting == 1


async def test_a_lock_that_stays_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    store = Store(tmp_path / "relay.db")
    store.start(reactor.callFromThread)  # type: ignore[attr-defined]
    command = sqlite3.connect(store.path, isolation_level=None)
    command.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        await store.terminals.add(ONE, 1.0)
    command.execute("ROLLBACK")
    command.close()
    assert (await store.terminals.add(ONE, 1.0)).phone == ONE.phone, "and afterwards it works again"
    await store.stop()


async def test_the_queue_is_bounded(file: Store) -> None:
    command = sqlite3.connect(file.path, isolation_level=None)
    command.execute("BEGIN IMMEDIATE")
    file.database.queue_max = 3
    accepted = [file.terminals.add(KnownTerminal(str(n)), 1.0) for n in range(1, 4)]
    with pytest.raises(StoreError, match="does not keep up: 3 operations wait"):
        await file.terminals.add(KnownTerminal("4"), 1.0)
    command.execute("COMMIT")
    command.close()
    for deferred in accepted:
        await deferred
    assert await file.terminals.count() == 3


async def test_stopping_finishes_what_was_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "relay.db")
    store.start(reactor.callFromThread)  # type: ignore[attr-defined]
    writes = [store.terminals.add(KnownTerminal(str(n)), 1.0) for n in range(1, 101)]
    await store.stop()
    assert all(write.called for write in writes)
    await store.stop()
    with pytest.raises(StoreError, match="closed"):
        await store.terminals.count()
    connection = connect(tmp_path / "relay.db")
    assert terminals.count(connection) == 100
    connection.close()
    assert not any(thread.name == "store" for thread in threading.enumerate() if thread is not threading.main_thread() and thread.is_alive())


async def test_a_bug_in_the_work_reaches_the_caller_and_the_thread_lives(store: Store) -> None:
    def wrong(connection: Connection) -> None:
        connection.execute("INSERT INTO terminals (key, phone, added_at) VALUES ('1', '1', 0)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.database.write(wrong)
    assert await store.terminals.count() == 0, "taken back"


async def test_a_newer_store_is_refused_at_start(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "relay.db")
    connection.execute(f"PRAGMA user_version = {LATEST + 1}")
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        Store(tmp_path / "relay.db").start(reactor.callFromThread)  # type: ignore[attr-defined]
