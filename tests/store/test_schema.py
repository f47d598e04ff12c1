"""Migrations: each from the one before, with rows in it; downgrades refused; a crash between statements."""

from __future__ import annotations

import pkgutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.errors import ConfigError
from relay.store import migrations, schema, terminals
from relay.store.connection import Connection
from relay.store.database import connect
from relay.store.errors import StoreError
from relay.store.migrations import MIGRATIONS, Migration
from relay.store.postgres import PostgresConnection, is_postgres
from relay.store.schema import LATEST, migrate, version
from relay.store.sqlite import SqliteConnection, path_of, url_of
from tests.postgres import Server


def bare(path: Path) -> SqliteConnection:
    return sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)


def tables(connection: Connection) -> set[str]:
    if connection.dialect == "sqlite":
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")}
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_version'")
    return {row[0] for row in rows}


def columns(connection: Connection) -> set[tuple[str, str]]:
    """(table, column) of the whole schema."""
    if connection.dialect == "sqlite":
        return {(table, row[1]) for table in tables(connection) for row in connection.execute(f"PRAGMA table_info({table})")}
    rows = connection.execute("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'")
    return {(row[0], row[1]) for row in rows if row[0] != "schema_version"}


@pytest.fixture
def empty(url: str, tmp_path: Path) -> Iterator[Connection]:
    """A database without any table."""
    if is_postgres(url):
        psycopg = pytest.importorskip("psycopg")
        opened: Connection = PostgresConnection(psycopg.connect(url, autocommit=True), psycopg.Error, url)
    else:
        opened = bare(tmp_path / "empty.db")
    yield opened
    opened.close()


def test_an_empty_database_gets_every_table(empty: Connection) -> None:
    assert version(empty) == 0
    assert migrate(empty) == 0
    assert version(empty) == LATEST == len(MIGRATIONS)
    assert tables(empty) >= {"terminals", "users", "aliases", "audit"}
    assert migrate(empty) == LATEST, "a second time changes nothing"


def test_from_1_to_the_last_keeps_the_terminals(empty: Connection) -> None:
    migrate(empty, 1)
    assert tables(empty) == {"terminals"}
    empty.execute("INSERT INTO terminals (key, phone, plate, added_at) VALUES (?, ?, ?, ?)", ("13800138000", "013800138000", "粤B12345", 5.0))
    terminals.set_auth_code(empty, "13800138000", "code", 6.0)
    assert migrate(empty, 2) == 1
    assert version(empty) == 2
    assert tables(empty) == {"terminals", "users"}
    assert migrate(empty) == 2
    assert terminals.verify_auth_code(empty, "13800138000", "code")
    found = terminals.get(empty, "13800138000")
    assert found is not None
    assert (found.phone, found.plate, found.added_at) == ("013800138000", "粤B12345", 5.0)


def test_each_migration_runs_on_the_one_before(empty: Connection) -> None:
    before: set[tuple[str, str]] = set()
    for upto in range(1, LATEST + 1):
        assert migrate(empty, upto) == upto - 1
        assert version(empty) == upto
        after = columns(empty)
        assert after > before, f"migration {upto} adds something and takes nothing away"
        before = after
    if empty.dialect == "sqlite":
        assert empty.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_both_databases_have_the_same_columns(tmp_path: Path, postgres: Server) -> None:
    file, server = connect(tmp_path / "a.db"), connect(postgres.fresh())
    assert columns(file) == columns(server)
    file.close()
    server.close()


def test_the_numbers_of_migrations_follow_each_other() -> None:
    names = [entry.name for entry in pkgutil.iter_modules(migrations.__path__)]
    assert sorted(int(name[1:5]) for name in names) == list(range(1, len(names) + 1)), sorted(names)


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = bare(path)
    connection.execute(f"PRAGMA user_version = {LATEST + 1}")
    connection.close()
    with pytest.raises(StoreError, match=rf"newer version \(schema {LATEST + 1}, this one knows {LATEST}\)"):
        connect(path)
    assert version(bare(path)) == LATEST + 1


def test_a_migration_that_fails_leaves_the_schema_before(empty: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    half = Migration("half", ("CREATE TABLE half (a INTEGER)", "CREATE TABLE terminals (a INTEGER)"))
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, half))
    with pytest.raises((sqlite3.OperationalError, StoreError)):
        migrate(empty, LATEST + 1)
    assert version(empty) == LATEST
    assert "half" not in tables(empty)


def test_two_processes_may_open_a_new_store_at_once(url: str) -> None:
    faults: list[BaseException] = []
    gate = threading.Barrier(4)

    def open_it() -> None:
        gate.wait()
        try:
            connect(url).close()
        except BaseException as problem:
            faults.append(problem)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    opened = connect(url)
    assert version(opened) == LATEST
    opened.close()


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
