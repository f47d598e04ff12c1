"""Traffic and budgets on both databases."""

from __future__ import annotations

from relay.store import traffic
from relay.store.connection import Connection
from relay.store.traffic import BudgetRow, TrafficRow


def test_bytes_add_up(connection: Connection) -> None:
    traffic.add(connection, [TrafficRow("1", 20261129, 1, "viewer", 100), TrafficRow("1", 20261129, 0, "signalling", 7)])
    more = [TrafficRow("1", 20261129, 1, "viewer", 2**40), TrafficRow("1", 20261130, 1, "viewer", 5), TrafficRow("2", 20261129, 1, "viewer", 1)]
    traffic.add(connection, more)
    assert traffic.of_terminal(connection, "1", 20261129, 20261129) == [
        TrafficRow("1", 20261129, 0, "signalling", 7), TrafficRow("1", 20261129, 1, "viewer", 100 + 2**40),
    ]  # fmt: skip
    assert sorted(traffic.sums(connection, 20261100, 20261199)) == [("1", 20261129, 107 + 2**40), ("1", 20261130, 5), ("2", 20261129, 1)]


def test_budgets_are_set_and_taken_away(connection: Connection) -> None:
    traffic.set_budget(connection, BudgetRow("1", 5, None))
    traffic.set_budget(connection, BudgetRow("1", None, 0))
    assert traffic.budgets(connection) == [BudgetRow("1", None, 0)]
    traffic.set_budget(connection, BudgetRow("1", None, None))
    assert traffic.budgets(connection) == []


def test_old_days_go(connection: Connection) -> None:
    traffic.add(connection, [TrafficRow("1", day, channel, "viewer", 1) for day in (20261101, 20261102, 20261103) for channel in (1, 2)])
    assert traffic.delete_old(connection, 20261103, 1) == 2
    assert traffic.delete_old(connection, 20261103, 10) == 2
    assert [row.day for row in traffic.of_terminal(connection, "1", 0, 99999999)] == [20261103, 20261103]
