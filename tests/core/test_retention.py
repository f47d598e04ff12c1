"""Old rows go, a few at a time, with pauses; what is to be kept for ever stays."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from relay.core.retention import DAY_S, EVERY_S, FIRST_S, PAUSE_S, ROWS, Kept, Retention, by_time
from relay.store import audit
from relay.store.audit import AuditRow
from tests.store.direct import DirectDatabase

NOW = 100 * DAY_S


def count(database: DirectDatabase) -> int:
    return int(database.connection.execute("SELECT COUNT(*) FROM audit").fetchone()[0])


def fill(database: DirectDatabase, rows: int, days: float) -> None:
    audit.insert(database.connection, [AuditRow(NOW - days * DAY_S, "ann", "view", "1", "", "", 0)] * rows)


def test_old_rows_go_in_small_transactions(tmp_path: Path) -> None:
    database, clock = DirectDatabase(tmp_path / "a.db"), Clock()
    fill(database, ROWS * 2 + 10, 31)
    fill(database, 7, 29)
    retention = Retention(database, clock, lambda: NOW, [Kept("audit rows", 30, by_time("audit"))])
    retention.start()
    clock.advance(FIRST_S)
    assert count(database) == ROWS + 17
    clock.advance(PAUSE_S)
    clock.advance(PAUSE_S)
    assert count(database) == 7
    assert retention.deleted == {"audit rows": ROWS * 2 + 10}
    fill(database, 1, 31)
    clock.advance(EVERY_S)
    assert count(database) == 7
    retention.stop()
    assert clock.getDelayedCalls() == []
    database.close()


def test_zero_days_are_for_ever_and_a_store_that_refuses_is_asked_again(tmp_path: Path) -> None:
    database, clock = DirectDatabase(tmp_path / "a.db"), Clock()
    fill(database, 1, 9999)
    Retention(database, clock, lambda: NOW, [Kept("audit rows", 0, by_time("audit"))])
    retention = Retention(database, clock, lambda: NOW, [Kept("audit rows", 1, by_time("audit"))])
    database.refusing = "disk full"
    ensureDeferred(retention.run())
    assert count(database) == 1
    database.refusing = ""
    ensureDeferred(retention.run())
    assert count(database) == 0
    database.close()
