"""The signing key: made once, kept beside the store, private, rotated."""

from __future__ import annotations

import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from relay.app.keys import signer, signing_keys
from relay.errors import RelayError
from relay.settings import Auth, Settings, Store


def settings(folder: Path) -> Settings:
    return Settings(store=Store(url=f"sqlite:///{folder}/data/relay.db"))


def test_the_first_start_makes_a_key_that_later_ones_use(tmp_path: Path) -> None:
    key, old = signing_keys(settings(tmp_path))
    assert len(key) == 64
    assert old == ""
    path = tmp_path / "data" / "signing.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing_keys(settings(tmp_path)) == (key, "")
    assert [p.name for p in path.parent.iterdir()] == ["signing.key"]


def test_the_configurations_key_comes_first_and_no_file_is_made(tmp_path: Path) -> None:
    given = replace(settings(tmp_path), auth=Auth(signing_key="a" * 32, signing_key_old="b" * 32))
    assert signing_keys(given) == ("a" * 32, "b" * 32)
    assert not (tmp_path / "data").exists()


def test_a_second_line_is_the_former_key(tmp_path: Path) -> None:
    before = signer(settings(tmp_path)).api("admin", 60, 0)
    path = tmp_path / "data" / "signing.key"
    path.write_text("n" * 64 + "\n" + path.read_text())
    rotated = signer(settings(tmp_path))
    assert rotated.check_api(before, 0)
    assert signing_keys(settings(tmp_path))[0] == "n" * 64


def test_several_at_once_agree(tmp_path: Path) -> None:
    found: list[tuple[str, str]] = []
    gate = threading.Barrier(4)

    def ask() -> None:
        gate.wait()
        found.append(signing_keys(settings(tmp_path)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the directory should be")
    with pytest.raises(RelayError, match=r"signing\.key cannot be used"):
        signing_keys(settings(tmp_path))
