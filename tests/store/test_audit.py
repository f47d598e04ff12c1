"""The audit's table on both databases: filters, pages, retention."""

from __future__ import annotations

from relay.core.retention import by_time
from relay.store import audit
from relay.store.audit import AuditFilter, AuditRow
from relay.store.connection import Connection

ROWS = [
    AuditRow(10.0, "ann", "view", "13800138000_1", "flv", "10.0.0.5", 1000),
    AuditRow(20.0, "bob", "message", "13800138000", "0x8104", "10.0.0.6", 0),
    AuditRow(30.0, "ann", "view", "138001380001_1", "100 % of 'it'?", "", 2**40),
    AuditRow(40.0, "superior:省", "view", "13800138000_2", "", "", 5),
]


def texts(connection: Connection, wanted: AuditFilter, limit: int = 10, before: int | None = None) -> list[float]:
    return [row.time for _, row in audit.select(connection, wanted, limit, before)]


def test_rows_come_back_newest_first(connection: Connection) -> None:
    audit.insert(connection, ROWS)
    assert [row for _, row in audit.select(connection, AuditFilter(), 10)] == ROWS[::-1]
    assert audit.count(connection, AuditFilter()) == 4


def test_filters(connection: Connection) -> None:
    audit.insert(connection, ROWS)
    assert texts(connection, AuditFilter(who="ann")) == [30.0, 10.0]
    assert texts(connection, AuditFilter(action="message")) == [20.0]
    assert texts(connection, AuditFilter(subject="13800138000")) == [40.0, 20.0, 10.0], "its channels, not another's number that begins alike"
    assert texts(connection, AuditFilter(subject="13800138000_1")) == [10.0]
    assert texts(connection, AuditFilter(start=20.0, end=40.0)) == [30.0, 20.0]
    assert audit.count(connection, AuditFilter(who="ann", start=20.0)) == 1


def test_pages(connection: Connection) -> None:
    audit.insert(connection, ROWS)
    first = audit.select(connection, AuditFilter(), 3)
    assert [row.time for _, row in first] == [40.0, 30.0, 20.0]
    assert texts(connection, AuditFilter(), 3, first[-1][0]) == [10.0]


def test_old_rows_are_deleted_a_few_at_a_time(connection: Connection) -> None:
    audit.insert(connection, ROWS)
    delete = by_time("audit")
    assert delete(connection, 35.0, 2) == 2
    assert texts(connection, AuditFilter()) == [40.0, 30.0]
    assert delete(connection, 35.0, 2) == 1
    assert texts(connection, AuditFilter()) == [40.0]
