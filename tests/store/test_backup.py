"""The copy of a store in use: whole, checked, readable by its owner only; a copy that fails leaves nothing behind."""

from __future__ import annotations

import sqlite3
import stat
import threading
from functools import partial
from pathlib import Path

import pytest

from relay.cli.main import main
from relay.store import terminals
from relay.store.connection import in_transaction
from relay.store.database import connect
from relay.store.errors import StoreError
from relay.store.sqlite import backup
from relay.store.terminals import KnownTerminal


def test_a_copy_while_others_write(tmp_path: Path) -> None:
    source = tmp_path / "relay.db"
    connection = connect(source)
    terminals.add(connection, KnownTerminal("1", plate="粤B12345"), 1.0)
    stop = threading.Event()
    written: list[int] = []

    def go_on() -> None:
        other = connect(source)
        number = 2
        while not stop.is_set():
            in_transaction(other, partial(terminals.add, terminal=KnownTerminal(str(number)), now=1.0))
            written.append(number)
            number += 1
        other.close()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        while len(written) < 20:
            pass
        size = backup(source, tmp_path / "copy.db", 5.0)
    finally:
        stop.set()
        thread.join()
    connection.close()
    assert size == (tmp_path / "copy.db").stat().st_size
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    copy = sqlite3.connect(tmp_path / "copy.db")
    numbers = [int(row[0]) for row in copy.execute("SELECT key FROM terminals ORDER BY CAST(key AS INTEGER)")]
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    assert len(numbers) >= 20
    assert numbers == list(range(1, len(numbers) + 1)), "one moment of it, without holes"
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == ["copy.db"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "jt1078relay.toml"
    config.write_text('[store]\nurl = "sqlite:///relay.db"\n')
    target = tmp_path / "copy.db"
    assert main(["backup", "--config", str(config), str(target)]) == 1
    assert "there is no store at" in capsys.readouterr().err
    connect(tmp_path / "relay.db").close()
    assert main(["backup", "--config", str(config), str(target)]) == 0
    assert f"{target}: " in capsys.readouterr().out
    assert main(["backup", "--config", str(config), str(target)]) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert main(["backup", "--force", "--config", str(config), str(target)]) == 0
    assert main(["backup", "--force", "--config", str(config), str(tmp_path / "relay.db")]) == 1
    assert "is the store itself" in capsys.readouterr().err


def test_postgresql_has_its_own_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "jt1078relay.toml"
    config.write_text('[store]\nurl = "postgresql://ann:secret@db.example/relay"\n')
    assert main(["backup", "--config", str(config), str(tmp_path / "copy")]) == 1
    said = capsys.readouterr().err
    assert "pg_dump --format=custom" in said
    assert "secret" not in said


def test_a_copy_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "relay.db").write_bytes(b"this is no database, but it is long enough to look at" * 40)
    (tmp_path / "out").mkdir()
    with pytest.raises(StoreError, match="cannot be copied"):
        backup(tmp_path / "relay.db", tmp_path / "out" / "copy.db", 0.1)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(StoreError, match="cannot be written"):
        backup(tmp_path / "relay.db", tmp_path / "nowhere" / "copy.db", 0.1)
