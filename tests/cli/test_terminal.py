"""``jt1078relay terminal``: add, list, remove, import, on the store of a configuration."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay.cli.main import main
from relay.store import terminals
from relay.store.database import connect


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text('[store]\nurl = "sqlite:///data/relay.db"\n')
    return path


def listed(config: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main(["terminal", "list", "--json", "--config", str(config)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_add_list_remove(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--phone", "013800138000", "--plate", "粤B12345", "--plate-color", "yellow", "--code", "preset-code", "--alias", "bus-7", "--edition", "2019"]
    assert main(["terminal", "add", "--config", str(config), *words]) == 0
    assert capsys.readouterr().out == "added 013800138000\n"
    (row,) = listed(config, capsys)
    assert (row["phone"], row["plate"], row["plate_color"], row["alias"], row["edition"], row["has_auth_code"]) == (
        "013800138000",
        "粤B12345",
        2,
        "bus-7",
        2019,
        True,
    )
    assert "preset-code" not in json.dumps(row)
    connection = connect(tmp_path / "data" / "relay.db")
    assert terminals.verify_auth_code(connection, "13800138000", "preset-code")
    connection.close()
    assert main(["terminal", "list", "--config", str(config)]) == 0
    assert capsys.readouterr().out == "013800138000\t粤B12345\t2\tbus-7\t2019\n"
    assert main(["terminal", "remove", "--config", str(config), "--phone", "13800138000"]) == 0
    assert listed(config, capsys) == []


def test_a_second_add_is_refused_unless_told_to_replace(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["terminal", "add", "--config", str(config), "--phone", "1", "--plate", "粤B1", "--alias", "a"]) == 0
    assert main(["terminal", "add", "--config", str(config), "--phone", "01"]) == 1
    assert capsys.readouterr().err == "jt1078relay terminal: terminal 1 is known already; --replace changes it\n"
    assert main(["terminal", "add", "--config", str(config), "--phone", "1", "--plate", "粤B2", "--replace"]) == 0
    (row,) = listed(config, capsys)
    assert (row["plate"], row["alias"]) == ("粤B2", "a")


def test_disabled_and_enabled_again(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["terminal", "add", "--config", str(config), "--phone", "1", "--disabled"]) == 0
    assert listed(config, capsys)[0]["enabled"] is False
    assert main(["terminal", "add", "--config", str(config), "--phone", "1", "--replace"]) == 0
    assert listed(config, capsys)[0]["enabled"] is True


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--phone", "abc-"],
        ["--phone", ""],
        ["--phone", "123456789012345678901"],
        ["--phone", "1", "--plate-color", "mauve"],
        ["--phone", "1", "--edition", "2020"],
        ["--phone", "1", "--alias", "a/b"],
        ["--phone", "1", "--alias", "a_1"],
        ["--phone", "1", "--plate", "x" * 22],
    ],
)
def test_wrong_usage_is_status_2(config: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["terminal", "add", "--config", str(config), *words])
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_remove_is_all_or_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["terminal", "add", "--config", str(config), "--phone", "1"])
    assert main(["terminal", "remove", "--config", str(config), "1", "2"]) == 1
    assert capsys.readouterr().err == "jt1078relay terminal: not known: 2; nothing was removed\n"
    assert len(listed(config, capsys)) == 1
    assert main(["terminal", "remove", "--config", str(config)]) == 2


def test_import_adds_and_changes(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["terminal", "add", "--config", str(config), "--phone", "13800138000", "--alias", "keep", "--plate", "粤B0"])
    table = tmp_path / "fleet.csv"
    table.write_text("phone,plate,plate_color,code,depot\n13800138000,粤B1,blue,,north\n\n13800138001,粤B2,2,code-2,south\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["terminal", "import", "--config", str(config), str(table)]) == 0
    assert capsys.readouterr().out == "1 added, 1 changed\n"
    assert [(r["phone"], r["plate"], r["plate_color"], r["alias"], r["has_auth_code"]) for r in listed(config, capsys)] == [
        ("13800138000", "粤B1", 1, "keep", False),
        ("13800138001", "粤B2", 2, "", True),
    ]
    assert main(["terminal", "import", "--config", str(config), str(table)]) == 0
    assert capsys.readouterr().out == "0 added, 2 changed\n"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
def test_import_reads_what_spreadsheets_write(config: Path, tmp_path: Path, encoding: str, separator: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "fleet.csv"
    rows = [("终端手机号", "车牌号", "车牌颜色"), ("013800138000", "粤B12345", "黄色")]
    table.write_bytes("\r\n".join(separator.join(row) for row in rows).encode(encoding))
    assert main(["terminal", "import", "--config", str(config), str(table)]) == 0
    (row,) = listed(config, capsys)
    assert (row["phone"], row["plate"], row["plate_color"]) == ("013800138000", "粤B12345", 2)


def test_group_channels_and_static_data(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--phone", "1", "--group", "north", "--aliases", "a;b", "--channels", "1=front; 2=driver", "--details", "vehicle_type=40;OWERS_NAME=顺达"]
    assert main(["terminal", "add", "--config", str(config), *words]) == 0
    capsys.readouterr()
    (row,) = listed(config, capsys)
    assert (row["group"], row["aliases"], row["channels"]) == ("north", ["a", "b"], {"1": "front", "2": "driver"})
    assert row["details"] == {"VEHICLE_TYPE": "40", "OWERS_NAME": "顺达"}
    for fault in (["--channels", "front"], ["--channels", "x=front"], ["--details", "a b=1"], ["--aliases", "a/b"]):
        with pytest.raises(SystemExit):
            main(["terminal", "add", "--config", str(config), "--phone", "2", *fault])


def test_import_tells_every_fault_by_line_and_changes_nothing(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["terminal", "add", "--config", str(config), "--phone", "7", "--alias", "taken"])
    table = tmp_path / "fleet.csv"
    table.write_text("phone,plate_color,alias\n1,blue,a\nxyz,blue,\n2,mauve,\n01,,\n3,1,b,extra\n,1,c\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["terminal", "import", "--config", str(config), str(table)]) == 1
    err = capsys.readouterr().err.splitlines()
    assert [line.removeprefix(f"{table}:").partition(":")[0] for line in err[:-1]] == ["3", "4", "5", "6", "7"]
    assert err[2] == f"{table}:5: terminal 01 stands in line 2 already"
    assert err[-1] == "jt1078relay terminal import: 5 faults; nothing was imported"
    table.write_text("phone,alias\n1,a\n2,taken\n3,a\n", encoding="utf-8")
    assert main(["terminal", "import", "--config", str(config), str(table)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{table}:3: alias taken belongs to terminal 7",
        f"{table}:4: alias a belongs to terminal 1",
        "jt1078relay terminal import: 2 faults; nothing was imported",
    ]
    assert [row["phone"] for row in listed(config, capsys)] == ["7"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "1: the header line must name a column phone"),
        (b"plate\nx\n", "1: the header line must name a column phone"),
        (b"\x80\xff\xff", "1: neither UTF-8 nor GBK"),
        (b'phone,plate\n1,"open\n', "not CSV"),
    ],
)
def test_import_of_something_else(
    config: Path, data: bytes, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert main(["terminal", "import", "--config", str(config), "-"]) == 1
    assert message in capsys.readouterr().err


def test_a_missing_csv_and_a_broken_configuration_are_one_line(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["terminal", "import", "--config", str(config), str(tmp_path / "none.csv")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    config.write_text("[http]\nprot = 1\n")
    assert main(["terminal", "list", "--config", str(config)]) == 1
    assert capsys.readouterr().err == f"jt1078relay terminal: {config}: http.prot: unknown key; did you mean port?\n"
