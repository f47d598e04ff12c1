"""``jt1078relay user`` and ``jt1078relay token``."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

from relay.app.config import load
from relay.app.keys import signer
from relay.cli.main import main
from relay.core.tokens import Role, Signer, TokenError
from relay.store import users
from relay.store.database import connect


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text('[store]\nurl = "sqlite:///data/relay.db"\n')
    return path


def the_signer(config: Path) -> Signer:
    return signer(load(str(config)).settings)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    out = capsys.readouterr().out
    assert out.endswith("\n")
    return out.splitlines()[-1]


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_an_api_token_stands_alone_on_the_last_line(config: Path, role: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = time.time()
    assert main(["token", "--config", str(config), "--api", "--role", role, "--name", "ann"]) == 0
    grant = the_signer(config).check_api(last_line(capsys), time.time())
    assert (grant.role, grant.name) == (Role[role.upper()], "ann")
    assert before + 86399 <= grant.expires <= time.time() + 86400


def test_a_media_token_for_a_pattern_and_seconds(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--config", str(config), "--media", "013800138000_*", "--expires", "60", "--address", "10.0.0.7"]) == 0
    token = last_line(capsys)
    assert the_signer(config).check_media(token, "13800138000_5", time.time(), "10.0.0.7")
    with pytest.raises(TokenError):
        the_signer(config).check_media(token, "13800138001_5", time.time(), "10.0.0.7")
    with pytest.raises(TokenError):
        the_signer(config).check_media(token, "13800138000_5", time.time() + 120, "10.0.0.7")


def test_the_star_opens_every_channel(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--config", str(config), "--media", "*"]) == 0
    assert the_signer(config).check_media(last_line(capsys), "13800138000_5", time.time())


def test_the_configurations_key_signs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(f'[auth]\nsigning_key = "{"k" * 32}"\n')
    assert main(["token", "--config", str(config), "--api"]) == 0
    assert Signer("k" * 32).check_api(last_line(capsys), time.time()).role is Role.VIEWER
    assert not (tmp_path / "jt1078relay-data").exists()


@pytest.mark.parametrize(
    "words", [[], ["--api", "--media", "*"], ["--media", ""], ["--api", "--role", "root"], ["--api", "--expires", "0"], ["--api", "--expires", "x"]]
)
def test_wrong_usage_is_status_2(config: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["token", "--config", str(config), *words])
    assert caught.value.code == 2


def test_users_are_added_listed_changed_removed(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    assert main(["user", "add", "ann", "--role", "admin", "--config", str(config), "--password-file", str(secret)]) == 0
    assert capsys.readouterr().out == "added ann (admin)\n"
    connection = connect(tmp_path / "data" / "relay.db")
    assert users.check_password(connection, "ann", "correct horse")
    monkeypatch.setattr("sys.stdin", io.StringIO("another horse\n"))
    assert main(["user", "password", "ann", "--config", str(config)]) == 0
    assert users.check_password(connection, "ann", "another horse")
    connection.close()
    capsys.readouterr()
    assert main(["user", "list", "--json", "--config", str(config)]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "ann", "role": "admin", "enabled": True, "groups": []}
    assert main(["user", "remove", "ann", "bob", "--config", str(config)]) == 1
    assert capsys.readouterr().err == "jt1078relay user: there is no user bob; nobody was removed\n"
    assert main(["user", "remove", "ann", "--config", str(config)]) == 0
    capsys.readouterr()
    assert main(["user", "list", "--config", str(config)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "password", "message"),
    [
        (["add", "ann", "--role", "admin"], "short\n", "a password has at least 8 characters"),
        (["add", "", "--role", "admin"], "long enough\n", "a user's name has 1 to 64 printable characters"),
        (["password", "nobody"], "long enough\n", "there is no user nobody"),
    ],
)
def test_faults_of_users_are_one_line(
    config: Path, words: list[str], password: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(password))
    assert main(["user", *words, "--config", str(config)]) == 1
    assert capsys.readouterr().err == f"jt1078relay user: {message}\n"


def test_a_script_that_gives_no_password_gets_one(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["user", "add", "ann", "--role", "viewer", "--config", str(config)]) == 0
    added, password = capsys.readouterr().out.splitlines()
    assert added == "added ann (viewer)"
    connection = connect(tmp_path / "data" / "relay.db")
    assert users.check_password(connection, "ann", password.removeprefix("password: "))
    connection.close()


def test_a_user_needs_a_role_that_exists(config: Path) -> None:
    for words in (["add", "ann"], ["add", "ann", "--role", "root"]):
        with pytest.raises(SystemExit) as caught:
            main(["user", *words, "--config", str(config)])
        assert caught.value.code == 2


def test_a_name_is_not_taken_twice(config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for status in (0, 1):
        monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
        assert main(["user", "add", "ann", "--role", "viewer", "--config", str(config)]) == status
    assert capsys.readouterr().err == "jt1078relay user: user ann exists already\n"
