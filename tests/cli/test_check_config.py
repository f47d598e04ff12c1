"""``jt1078relay check-config``."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.cli.main import main
from tests.shared import ROOT


def test_the_sample_has_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    sample = ROOT / "etc" / "jt1078relay.toml"
    assert main(["check-config", str(sample)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{sample}: no faults\n"
    assert err == ""


def test_every_fault_is_named_and_the_status_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "relay.toml"
    path.write_text('[http]\nport = -1\nhots = "::"\n[rtmp]\n')
    assert main(["check-config", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert sorted(err.splitlines()) == sorted(
        [
            f"{path}: http.hots: unknown key; did you mean host?",
            f"{path}: http.port: -1 is out of range: 0 to 65535",
            "2 faults",
        ]
    )


def test_warnings_are_no_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "relay.toml"
    path.write_text("[cluster]\nname = \"a\"\n")
    assert main(["check-config", str(path)]) == 0
    assert capsys.readouterr().err == "warning: [cluster] is not served by this version\n"


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", str(tmp_path / "nowhere.toml")]) == 1
    assert capsys.readouterr().err.splitlines()[0] == f"{tmp_path}/nowhere.toml: cannot be read: No such file or directory"
