"""``[log] record*``: what may be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay.app.config import ConfigurationError, build


def read(tmp_path: Path, **log: Any) -> Any:
    return build({"log": log}, tmp_path, {}, "relay.toml")[0].log


def test_places_count_from_the_file(tmp_path: Path) -> None:
    log = read(tmp_path, record_dir="recordings", record=["13800138000", "superior:province", "*"], record_scrub=True)
    assert (log.record_dir, log.record, log.record_scrub) == (str(tmp_path / "recordings"), ("13800138000", "superior:province", "*"), True)
    assert read(tmp_path).record_dir == ""


@pytest.mark.parametrize(
    ("log", "fault"),
    [
        ({"record": ["13800138000"]}, "log.record_dir: says where recordings go; log.record needs it"),
        ({"record": ["terminal"], "record_dir": "x"}, "log.record: must be numbers of terminals"),
        ({"record": ["superior:"], "record_dir": "x"}, "log.record: must be numbers of terminals"),
        ({"record": "13800138000", "record_dir": "x"}, "log.record: must be a list of texts"),
        ({"record_dir": "file"}, "file is no directory"),
        ({"record_max_bytes": 5}, "log.record_max_bytes: 5 is out of range"),
    ],
)
def test_faults(tmp_path: Path, log: dict[str, Any], fault: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, **log)
    assert fault in str(raised.value)
    assert len(raised.value.faults) == 1
