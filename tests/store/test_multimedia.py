"""Pictures of terminals: row and file, once each, deleted together."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest

from relay.store.connection import Connection
from relay.store.database import Database
from relay.store.errors import StoreError
from relay.store.multimedia import MediaFilter, MediaRow, MultimediaStore, count, get, name_of, save, select

NOON = 1_795_000_000.0


def row(number: int = 1, content: bytes = b"jpeg", sim: str = "13800138000", time: float = NOON, **more: int) -> MediaRow:
    made = MediaRow(sim, time, number, 0, more.get("media_format", 0), 0, 2, "", "", len(content), crc32(content))
    return made._replace(file=name_of(made))


def test_a_picture_is_kept_once(connection: Connection, tmp_path: Path) -> None:
    assert save(connection, tmp_path, row(), b"jpeg") == (1, True)
    assert save(connection, tmp_path, row(time=NOON + 60), b"jpeg") == (1, False)  # the terminal sent it again
    assert save(connection, tmp_path, row(content=b"other"), b"other") == (2, True)  # its numbers began anew
    kept = get(connection, 1)
    assert kept is not None
    assert (tmp_path / kept.file).read_bytes() == b"jpeg"
    assert [number for number, _ in select(connection, MediaFilter(), 10)] == [2, 1]
    assert count(connection, MediaFilter(sim="1")) == 0
    assert len(list(tmp_path.rglob("*.part"))) == 0


def test_names_are_ours_whatever_the_terminal_is_called() -> None:
    assert name_of(row(sim="../../etc")) .split("/")[0] == "etc"
    assert name_of(row(media_format=9)).endswith(".bin")


def test_a_disk_that_does_not_take_it(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        save(connection, tmp_path / "file", row(), b"jpeg")
    assert count(connection, MediaFilter()) == 0


def test_old_ones_and_too_many_go_with_their_files(connection: Connection, tmp_path: Path) -> None:
    store = MultimediaStore(Database(f"sqlite:///{tmp_path / 'relay.db'}"))
    store.directory = tmp_path
    for number in range(1, 6):
        content = bytes((number,)) * 100
        save(connection, tmp_path, row(number, content, time=NOON + number), content)
    assert store.delete_old(connection, NOON + 2.5, 100) == 2
    assert [number for number, _ in select(connection, MediaFilter(), 10)] == [5, 4, 3]
    assert len(list(tmp_path.rglob("*.jpg"))) == 3
