"""Migrations: each from the one before, with rows in it; downgrades refused; a crash between statements."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from relay.errors import ConfigError
from relay.store import schema, terminals
from relay.store.database import connect, path_of, url_of
from relay.store.errors import StoreError
from relay.store.schema import LATEST, MIGRATIONS, migrate, version


def bare(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_an_empty_file_gets_every_table(tmp_path: Path) -> None:
    connection = bare(tmp_path / "a.db")
    assert migrate(connection) == 0
    assert version(connection) == LATEST == len(MIGRATIONS)
    assert tables(connection) == {"terminals", "users"}
    assert migrate(connection) == LATEST, "a second time changes nothing"


def test_from_1_to_2_keeps_the_terminals(tmp_path: Path) -> None:
    connection = bare(tmp_path / "a.db")
    migrate(connection, 1)
    assert tables(connection) == {"terminals"}
    terminals.add(connection, terminals.KnownTerminal("013800138000", plate="粤B12345"), 5.0, "code")
    assert migrate(connection, 2) == 1
    assert version(connection) == 2
    assert tables(connection) == {"terminals", "users"}
    assert terminals.verify_auth_code(connection, "13800138000", "code")


@pytest.mark.parametrize("upto", range(1, LATEST + 1))
def test_each_migration_runs_on_the_one_before(tmp_path: Path, upto: int) -> None:
    connection = bare(tmp_path / "a.db")
    migrate(connection, upto - 1)
    migrate(connection, upto)
    assert version(connection) == upto
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = bare(path)
    connection.execute(f"PRAGMA user_version = {LATEST + 1}")
    connection.close()
    with pytest.raises(StoreError, match=rf"newer version \(schema {LATEST + 1}, this one knows {LATEST}\)"):
        connect(path)
    assert version(bare(path)) == LATEST + 1


def test_a_migration_that_fails_leaves_the_schema_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE half (a)", "CREATE TABLE terminals (a)")))
    connection = bare(tmp_path / "a.db")
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, LATEST + 1)
    assert version(connection) == LATEST
    assert "half" not in tables(connection)


def test_two_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    faults: list[BaseException] = []
    gate = threading.Barrier(4)

    def open_it() -> None:
        gate.wait()
        try:
            connect(tmp_path / "a.db").close()
        except BaseException as problem:
            faults.append(problem)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert version(bare(tmp_path / "a.db")) == LATEST


def test_file_and_directory_belong_to_their_owner_only(tmp_path: Path) -> None:
    connect(tmp_path / "data" / "a.db").close()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "a.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"this is no database, but it is long enough to look at" * 40])
def test_a_file_that_is_no_database_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.db cannot be used"):
        connect(path)


def test_a_place_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        connect(tmp_path / "file" / "a.db")


def test_urls_are_paths_and_back() -> None:
    assert path_of("sqlite:////var/lib/relay.db") == Path("/var/lib/relay.db")
    assert path_of("sqlite:///data/relay.db") == Path("data/relay.db")
    assert path_of(url_of(Path("/a/b c.db"))) == Path("/a/b c.db")
    for wrong in ("", "relay.db", "sqlite://", "sqlite:///", "sqlite:///a/", "mysql:///a"):
        with pytest.raises(ConfigError):
            path_of(wrong)
