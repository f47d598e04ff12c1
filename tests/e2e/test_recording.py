"""A field fault becomes a test: recorded on one relay, scrubbed, played against another, seen by a viewer there."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.e2e.support import BIN, Process, Product, command, decode_errors, probe_streams, record, wait_for

pytestmark = pytest.mark.e2e

PHONE = "13800138000"


def test_recorded_here_scrubbed_and_played_there(tmp_path: Path) -> None:
    field, home, recordings = tmp_path / "field", tmp_path / "home", tmp_path / "recordings"
    field.mkdir()
    home.mkdir()
    with Product(field, log={"record_dir": str(recordings), "record": [PHONE]}) as relay:
        relay.terminal(PHONE, "--plate", "粤B12345")
        relay.terminal("13800138001")
        seen = tmp_path / "field.flv"
        record(relay.url(f"/live/{PHONE}_1.flv", audio="source"), 4, seen)
        assert "recording 13800138000 to " in relay.process.output
    (path,) = recordings.iterdir()
    scrubbed = tmp_path / "scrubbed.jtrec"
    command("replay", path, "--scrub", scrubbed)
    listed = json.loads(command("replay", scrubbed, "--list", "--json").stdout)
    assert [(link["protocol"], link["bytes_in"] > 100) for link in listed["links"]] == [("jt808", True), ("jt1078", True)]
    assert listed["links"][1]["bytes_in"] > 20_000
    messages = [json.loads(line) for line in command("decode", "--pcap", scrubbed, "--json").stdout.splitlines()]
    assert {one["fields"]["header"]["phone"] for one in messages if "header" in one.get("fields", {})} == {"010000000001"}
    registration = next(one for one in messages if one.get("message", {}).get("id") == "0x0100")
    assert registration["fields"]["plate_no"].startswith("测A")
    with Product(home) as relay:
        player = Process(
            "replay", [BIN / "jt1078relay", "replay", scrubbed, "--server", f"127.0.0.1:{relay.ports['terminals_tcp']}", "--json"], home / "replay.log"
        )
        wait_for("the replayed terminal online", lambda: relay.is_online("10000000001"))
        again = tmp_path / "home.flv"
        record(relay.url("/live/10000000001_1.flv", audio="source"), 2, again)
        assert {stream["codec_name"] for stream in probe_streams(again)} == {stream["codec_name"] for stream in probe_streams(seen)}
        assert decode_errors(again) == ""
        assert player.process.wait(60) == 0, player.output
        summary = json.loads(player.output.splitlines()[-1])
        assert summary["links"] == 2
        assert [text for text in summary["trouble"] if "closed" not in text] == []
        assert relay.process.output.count("recording") == 0


def test_recordings_begin_and_end_with_the_configuration(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    with Product(tmp_path, log={"record_dir": str(recordings), "record": [], "record_scrub": True}) as relay:
        relay.terminal(PHONE)
        assert not recordings.exists()
        relay.config.write_text(relay.config.read_text(encoding="utf-8").replace("record = []", f'record = ["{PHONE}"]'), encoding="utf-8")
        relay.process.process.send_signal(signal.SIGHUP)
        relay.process.wait_for_output(r"recording 10000000001 to ")
        (path,) = recordings.iterdir()
        wait_for("a question to the terminal", lambda: relay.api("POST", f"/terminals/{PHONE}/messages/0x8104", {"fields": {}}))
        relay.config.write_text(relay.config.read_text(encoding="utf-8").replace(f'record = ["{PHONE}"]', "record = []"), encoding="utf-8")
        relay.process.process.send_signal(signal.SIGHUP)
        relay.process.wait_for_output(r"recording \S+ ended: stopped")
        out = command("decode", "--pcap", path, "--brief").stdout
        assert re.search(r"0x8104 ", out)
        assert re.search(r"0x0104 ", out)
        assert bytes.fromhex("0" + PHONE) not in path.read_bytes()


def test_a_recording_by_the_api(tmp_path: Path) -> None:
    with Product(tmp_path, log={"record_dir": "recordings"}) as relay:
        relay.terminal(PHONE)
        made = relay.api("POST", f"/terminals/{PHONE}/recording", {"seconds": 600}, expect=201)
        relay.api("POST", f"/terminals/{PHONE}/messages/0x8107", {"fields": {}})
        assert relay.api("GET", "/recordings")["items"][0]["subject"] == PHONE
        relay.api("DELETE", f"/terminals/{PHONE}/recording", expect=204)
        assert relay.api("GET", "/recordings")["total"] == 0
        assert Path(made["file"]).parent == tmp_path / "recordings"
        assert re.search("0x0107 ", command("decode", "--pcap", made["file"], "--brief").stdout)
