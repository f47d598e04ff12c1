"""The terminals table: numbers, aliases, authentication codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relay.store import terminals
from relay.store.connection import Connection
from relay.store.database import connect
from relay.store.errors import StoreConflictError
from relay.store.terminals import KnownTerminal

FULL = KnownTerminal("013800138000", "粤B12345", 2, "bus-7", "70111", "X1-H", "T000001", 2019)


def test_what_is_added_comes_back(connection: Connection) -> None:
    stored = terminals.add(connection, FULL, 100.0)
    assert stored == replace(FULL, added_at=100.0)
    assert terminals.list_all(connection) == [stored]
    assert terminals.count(connection) == 1


@pytest.mark.parametrize("number", ["013800138000", "13800138000", "00000000013800138000", " 13800138000 "])
def test_zeros_in_front_do_not_matter(connection: Connection, number: str) -> None:
    terminals.add(connection, FULL, 0.0)
    found = terminals.get(connection, number)
    assert found is not None
    assert found.phone == "013800138000"
    with pytest.raises(StoreConflictError, match="known already"):
        terminals.add(connection, KnownTerminal(number.strip()), 0.0)


def test_a_name_is_a_number_an_alias_or_a_plate(connection: Connection) -> None:
    terminals.add(connection, FULL, 0.0)
    for name in ("13800138000", "bus-7", "粤B12345"):
        found = terminals.resolve(connection, name)
        assert found is not None, name
        assert found.phone == FULL.phone
    assert terminals.resolve(connection, "bus-8") is None
    assert terminals.resolve(connection, "") is None


def test_a_plate_of_two_terminals_names_none(connection: Connection) -> None:
    terminals.add(connection, FULL, 0.0)
    terminals.add(connection, KnownTerminal("13800138001", plate=FULL.plate), 0.0)
    assert terminals.resolve(connection, FULL.plate) is None


def test_an_alias_is_one_terminals(connection: Connection) -> None:
    terminals.add(connection, FULL, 0.0)
    with pytest.raises(StoreConflictError, match="alias bus-7 belongs to terminal 013800138000"):
        terminals.add(connection, KnownTerminal("13800138001", alias="bus-7"), 0.0)
    terminals.upsert(connection, replace(FULL, plate="粤B1"), 0.0)


def test_a_change_keeps_code_and_times(connection: Connection) -> None:
    terminals.add(connection, FULL, 100.0, "secret-1")
    terminals.upsert(connection, replace(FULL, plate="粤B99999", registered_at=150.0), 200.0)
    changed = terminals.upsert(connection, replace(FULL, plate="粤B99999"), 300.0)
    assert (changed.plate, changed.added_at, changed.registered_at, changed.has_auth_code) == ("粤B99999", 100.0, 150.0, True)
    assert terminals.verify_auth_code(connection, FULL.phone, "secret-1")


def test_removed_is_gone_with_its_code(connection: Connection) -> None:
    terminals.add(connection, FULL, 0.0, "secret-1")
    assert terminals.remove(connection, "13800138000")
    assert not terminals.remove(connection, "13800138000")
    assert terminals.get(connection, "13800138000") is None
    assert not terminals.verify_auth_code(connection, "13800138000", "secret-1")


def test_codes_are_told_right_from_wrong(connection: Connection) -> None:
    terminals.add(connection, FULL, 0.0)
    assert not terminals.verify_auth_code(connection, FULL.phone, ""), "no code is set: not even the empty one fits"
    assert terminals.set_auth_code(connection, "13800138000", "secret-1", 5.0)
    assert terminals.verify_auth_code(connection, FULL.phone, "secret-1")
    for wrong in ("", "secret-2", "secret-1 ", "SECRET-1"):
        assert not terminals.verify_auth_code(connection, FULL.phone, wrong)
    stored = terminals.get(connection, FULL.phone)
    assert stored is not None
    assert stored.has_auth_code
    assert stored.auth_at == 5.0
    assert terminals.set_auth_code(connection, FULL.phone, "", 6.0)
    assert not terminals.verify_auth_code(connection, FULL.phone, "secret-1")
    assert not terminals.set_auth_code(connection, "999", "x", 0.0)


def test_a_disabled_terminals_code_does_not_fit(connection: Connection) -> None:
    terminals.add(connection, replace(FULL, enabled=False), 0.0, "secret-1")
    assert not terminals.verify_auth_code(connection, FULL.phone, "secret-1")


def test_the_file_does_not_hold_the_code(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.db")
    terminals.add(connection, FULL, 0.0, "secret-code-planted")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"secret-code-planted" not in (tmp_path / "a.db").read_bytes()
    connection.close()


def test_two_terminals_with_one_code_have_different_hashes(connection: Connection) -> None:
    terminals.add(connection, FULL, 0.0, "same")
    terminals.add(connection, KnownTerminal("2"), 0.0, "same")
    hashes = [row[0] for row in connection.execute("SELECT auth_hash FROM terminals")]
    assert hashes[0] != hashes[1]


def test_codes_have_128_random_bits_in_few_characters() -> None:
    codes = {terminals.new_auth_code() for _ in range(100)}
    assert len(codes) == 100
    assert {len(code) for code in codes} == {22}
    assert all(code.isascii() for code in codes)


def test_paging(connection: Connection) -> None:
    for number in range(5):
        terminals.add(connection, KnownTerminal(f"1380013800{number}"), 0.0)
    assert [t.phone[-1] for t in terminals.list_all(connection, 2, 3)] == ["3", "4"]


def test_more_names_channels_and_static_data(connection: Connection) -> None:
    more = replace(FULL, group="north", channels={1: "front", 33: "麦克风"}, details={"VEHICLE_TYPE": "40"}, aliases=("b", "a", "bus-7"))
    terminals.add(connection, more, 100.0)
    stored = replace(more, added_at=100.0, aliases=("a", "b"))
    assert terminals.get(connection, FULL.phone) == stored
    assert terminals.list_all(connection) == [stored]
    found = terminals.resolve(connection, "b")
    assert found == stored
    for names in ({"alias": "a"}, {"aliases": ("bus-7",)}, {"aliases": ("b",)}):
        with pytest.raises(StoreConflictError, match="belongs to terminal 013800138000"):
            terminals.add(connection, KnownTerminal("13800138001", **names), 0.0)
    terminals.upsert(connection, replace(FULL, aliases=("c",)), 200.0)
    assert terminals.resolve(connection, "b") is None
    assert terminals.remove(connection, FULL.phone)
    terminals.add(connection, KnownTerminal("13800138001", aliases=("c",)), 0.0)
