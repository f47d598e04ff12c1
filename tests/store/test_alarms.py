"""Alarms on both databases: what is the same alarm, filters, pages, the end, the acknowledgement."""

from __future__ import annotations

from typing import Any

from relay.store import alarms, terminals
from relay.store.alarms import AlarmFilter, AlarmRow
from relay.store.connection import Connection
from relay.store.terminals import KnownTerminal


def row(number: int, **more: Any) -> AlarmRow:
    values: dict[str, Any] = {
        "id": f"{number:020x}", "key": "1", "kind": "adas", "code": 1, "channel": 0, "name": "前向碰撞", "level": 1, "began": float(number), "ended": None,
        "received": float(number), "late": False, "latitude": 22.5, "longitude": 114.0, "speed": 60.0, "identity": f"i{number}", "sign": b"\0\xff",
        "files_told": 0, "files_state": "", "alarm_number": None, "detail": {"a": [1, "二"]}, "acknowledged_at": None, "acknowledged_by": "", "note": "",
    }  # fmt: skip
    return AlarmRow(**{**values, **more})


def found(connection: Connection, **wanted: Any) -> list[float]:
    rows = alarms.select(connection, AlarmFilter(**wanted), 100)
    assert alarms.count(connection, AlarmFilter(**wanted)) == len(rows)
    return [each.began for each in rows]


def test_rows_come_back_and_an_alarm_told_twice_is_one(connection: Connection) -> None:
    alarms.write(connection, [row(1), row(2, identity="i1"), (row(1).id, 9.0), row(3, key="2", identity="i1", sign=None)])
    assert alarms.get(connection, row(1).id) == row(1, ended=9.0)
    assert alarms.get(connection, row(3).id) == row(3, key="2", identity="i1", sign=None)
    assert alarms.get(connection, "x") is None
    assert found(connection) == [3.0, 1.0]


def test_filters_and_pages(connection: Connection) -> None:
    rows = [row(1), row(2, key="2", kind="dsm", code=3), row(3, level=2, ended=5.0, files_told=2), row(4, acknowledged_at=7.0)]
    alarms.write(connection, rows)
    assert found(connection, key="1") == [4.0, 3.0, 1.0]
    assert found(connection, kind="dsm", code=3) == [2.0]
    assert found(connection, level=2) == [3.0]
    assert found(connection, open=True) == [4.0, 2.0, 1.0]
    assert found(connection, open=False, files=True) == [3.0]
    assert found(connection, acknowledged=True) == [4.0]
    assert found(connection, start=2.0, end=4.0) == [3.0, 2.0]
    terminals.upsert(connection, KnownTerminal(phone="2", group="north"), 0.0, "")
    assert found(connection, groups=("north", "south")) == [2.0]
    assert found(connection, groups=("south",)) == []
    first = alarms.select(connection, AlarmFilter(), 3)
    assert [each.began for each in alarms.select(connection, AlarmFilter(), 3, first[-1].id)] == [1.0]


def test_who_saw_it_first_stays_the_last_note_counts(connection: Connection) -> None:
    alarms.write(connection, [row(1)])
    alarms.acknowledge(connection, row(1).id, "ann", "called the driver", 10.0)
    seen = alarms.acknowledge(connection, row(1).id, "bob", "all is well", 20.0)
    assert seen is not None
    assert (seen.acknowledged_at, seen.acknowledged_by, seen.note) == (10.0, "ann", "all is well")
    assert alarms.acknowledge(connection, "x", "bob", "", 20.0) is None


def test_what_a_start_has_to_know(connection: Connection) -> None:
    alarms.write(connection, [row(1, ended=2.0), row(2), row(3, sign=None), row(4)])
    assert [each.began for each in alarms.unfinished(connection, 2)] == [4.0, 3.0]
    assert alarms.identities(connection, 2.0, 10) == [("1", "i4"), ("1", "i2")]


def test_the_state_of_its_files(connection: Connection) -> None:
    alarms.write(connection, [row(1, files_told=2)])
    alarms.set_files_state(connection, row(1).id, "asked", "number1")
    alarms.set_files_state(connection, row(1).id, "complete")
    seen = alarms.get(connection, row(1).id)
    assert seen is not None
    assert (seen.files_state, seen.alarm_number) == ("complete", "number1")
