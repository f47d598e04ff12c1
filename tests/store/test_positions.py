"""Positions on both databases: what is the same report, tracks in pages, last ones, retention."""

from __future__ import annotations

from relay.core.tracks import delete_old_positions
from relay.store import positions, terminals
from relay.store.connection import Connection
from relay.store.positions import PositionRow
from relay.store.terminals import KnownTerminal


def row(time: float, key: str = "1", alarm: int = 0, received: float | None = None) -> PositionRow:
    return PositionRow(key, time, time if received is None else received, 22.5, 114.0, 30, 45.5, 90, alarm, 3, 12.3)


def times(connection: Connection, key: str, start: float, end: float, limit: int = 100) -> list[float]:
    return [found.time for _, found in positions.track(connection, key, start, end, limit)]


def test_a_track_is_in_the_order_of_the_terminals_times(connection: Connection) -> None:
    late = row(15.0, received=99.0)
    positions.insert(connection, [row(10.0), row(20.0), late, row(30.0), row(12.0, "2")])
    assert [found for _, found in positions.track(connection, "1", 0.0, 30.0, 10)] == [row(10.0), late, row(20.0)]
    assert positions.count(connection, "1", 0.0, 31.0) == 4


def test_a_report_that_comes_again_is_one_row_and_an_alarm_in_the_same_second_is_another(connection: Connection) -> None:
    positions.insert(connection, [row(10.0), row(10.0, received=50.0), row(10.0, alarm=1)])
    positions.insert(connection, [row(10.0)])
    assert [found.alarm for _, found in positions.track(connection, "1", 0.0, 30.0, 10)] == [0, 1]


def test_pages_neither_repeat_nor_leave_out(connection: Connection) -> None:
    positions.insert(connection, [row(float(n // 2), alarm=n % 2) for n in range(20)])
    seen: list[tuple[float, int]] = []
    after = None
    while page := positions.track(connection, "1", 0.0, 99.0, 3, after):
        seen += [(found.time, found.alarm) for _, found in page]
        after = (page[-1][1].time, page[-1][0])
    assert seen == [(float(n // 2), n % 2) for n in range(20)]


def test_the_last_of_each_known_terminal_and_none_of_the_future(connection: Connection) -> None:
    for key in ("1", "2"):
        terminals.add(connection, KnownTerminal(key), 0.0)
    positions.insert(connection, [row(10.0), row(20.0), row(1e10), row(15.0, "2"), row(99.0, "3")])
    assert {found.key: found.time for found in positions.last(connection, 1000.0)} == {"1": 20.0, "2": 15.0}


def test_retention_goes_by_arrival(connection: Connection) -> None:
    positions.insert(connection, [row(1e10, received=10.0), row(2.0, received=20.0), row(3.0, received=30.0)])
    assert delete_old_positions(connection, 25.0, 1) == 1
    assert delete_old_positions(connection, 25.0, 5) == 1
    assert delete_old_positions(connection, 25.0, 5) == 0
    assert times(connection, "1", 0.0, 1e11) == [3.0]
