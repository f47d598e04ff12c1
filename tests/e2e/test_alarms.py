"""Alarms, their files, positions and the audit, by the API as a user calls it: a simulated terminal raises an alarm, a rule fetches its files, they are
downloaded; over SQLite and over PostgreSQL, whose own client reads the rows."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Product, wait_for

pytestmark = pytest.mark.e2e

RULE = {"name": "collisions", "alarms": ["adas.1"], "level": 2, "attachments": True}
PHONES = ("13800138000", "13800138001", "13800138002")


def download(relay: Product, url: str) -> tuple[bytes, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{relay.ports['http']}{url}", headers={"Authorization": f"Bearer {relay.api_token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read(), answer.headers


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_an_alarms_files_come_whatever_goes_wrong_on_the_way(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres") if database == "postgresql" else None
    url = server.fresh() if server is not None else f"sqlite:///{tmp_path / 'relay.db'}"
    sections = {"store": {"url": url, "directory": str(tmp_path)}, "attachments": {"delay_s": 0.0, "free_bytes": 0}}
    with Product(tmp_path, rules=(RULE,), **sections) as relay:
        common = ("--alarm-interval", "1", "--position-interval", "1", "--channels", "1")
        relay.terminal(PHONES[0], *common, "--fault", "attachment-gap", "--fault", "attachment-path")
        relay.terminal(PHONES[1], *common, "--fault", "attachment-half", "--edition", "2019")
        relay.terminal(PHONES[2], *common, "--fault", "attachment-size")
        for phone in PHONES:

            def complete(phone: str = phone) -> Any:
                items = relay.api("GET", f"/alarms?sim={phone}&kind=adas")["items"]
                return next((item for item in items if item["files_state"] == "complete"), None)

            alarm = wait_for(f"the files of {phone}", complete, 60)
            assert (alarm["code"], alarm["level"], alarm["files"], alarm["ended"]) == (1, 2, 3, alarm["began"])
            listed = relay.api("GET", f"/alarms/{alarm['id']}/files")["items"]
            assert [(one["kind"], one["channel"], one["state"], one["content_type"]) for one in listed] == [
                ("picture", 0x64, "complete", "image/jpeg"),
                ("audio", 0x64, "complete", "audio/wav"),
                ("text", 0x64, "complete", "application/octet-stream"),
            ]
            for one in listed:
                data, headers = download(relay, one["url"])
                assert (len(data), hashlib.sha256(data).hexdigest()) == (one["size"], one["sha256"])
                assert headers["Content-Disposition"].startswith("attachment; filename=")
                assert "/" not in headers["Content-Disposition"].split('"')[1]
            assert listed[0]["size"] == 200_000
            track = relay.api("GET", f"/terminals/{phone}/track")
            assert track["total"] >= 2
            assert 22 < track["items"][0]["latitude"] < 23
        assert {item["sim"] for item in relay.api("GET", "/positions?online=true")["items"]} == set(PHONES)
        seen = relay.api("POST", f"/alarms/{alarm['id']}/acknowledge", {"note": "seen"})
        assert seen["note"] == "seen"
        actions = {item["action"] for item in relay.api("GET", "/audit")["items"]}
        assert {"alarm", "download"} <= actions
        kept = {path.suffix for path in (tmp_path / "attachments").rglob("*") if path.is_file()}
        assert kept <= {"", ".part"}, "names of our own"
        assert not list(Path("/tmp").glob("00_64_6401_0_*"))
        if server is not None:
            assert int(server.psql("SELECT COUNT(*) FROM alarm_files WHERE state = 'complete'", url)) >= 9
            assert server.psql("SELECT note FROM alarms WHERE acknowledged_at IS NOT NULL", url) == "seen"
