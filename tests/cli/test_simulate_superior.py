"""``jt1078relay simulate superior``: what people type."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relay.cli.simulate_superior import faults_of, message_of, vehicle_of
from relay.errors import RelayError
from relay.jt809.link import LinkOptions, LoggedIn, Received, Serials
from relay.jt809.mainlink import MainLink


def test_messages_are_typed_as_people_write_them() -> None:
    message, plate, color = message_of("0x9301", ["object_type=1", "object_id=1", "answer_time=5", "info_id=7", "info_content=在岗？"], 2019)
    assert (message.object_type, message.object_id, message.info_content, plate, color) == (1, "1", "在岗？", "", 0)
    message, plate, color = message_of("9502", ["粤B12345.2", "lens_id=1", "size=2"], 2011)
    assert (message.lens_id, message.size, plate, color) == (1, 2, "粤B12345", 2)
    assert message_of("0x9501", ["粤B12345.94", "monitor_tel=075512345"], 2011)[0].monitor_tel == "075512345"
    assert message_of("0x9005", [], 2011)[0].KEY == (0x9005, 0)
    assert faults_of(["refuse=2", "mute"]) == {"refuse": 2.0, "mute": 1.0}


@pytest.mark.parametrize(
    ("id", "words"),
    [("zz", []), ("0x7777", []), ("0x9502", ["粤B12345"]), ("0x9502", ["粤B12345.2", "lens_id=x", "size=1"]), ("0x9502", ["size"]), ("0x9502", ["size=1"])],
)
def test_what_cannot_be_sent_is_told(id: str, words: list[str]) -> None:
    with pytest.raises(RelayError):
        message_of(id, words, 2011)


def test_vehicles() -> None:
    assert vehicle_of("粤B12345.2") == ("粤B12345", 2)
    with pytest.raises(RelayError):
        vehicle_of("粤B12345.x")


def test_a_subordinate_platform_logs_in_and_is_asked(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "relay.cli.main", "simulate", "superior", "--listen", "0", "--no-connect-back", "--json"]
    words += ["--record", str(tmp_path / "heard.jsonl"), "--do", "send 0x9302 object_type=1 object_id=1 info_id=5 info_content=你好"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2])
    options = LinkOptions(access_code=44030001, user_id=10001, password="12345678")
    link = MainLink(options, Serials(2011), 0.0)
    link.login(0.0)
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.settimeout(20)
        events: list[Any] = []
        while not any(isinstance(event, Received) for event in events):
            connection.sendall(link.bytes_to_send())
            link.receive(connection.recv(4096), 0.0)
            events += link.events()
        assert isinstance(events[0], LoggedIn)
        assert events[-1].business.data.info_content == "你好"
        link.send_body(0x1300, 0x1302, bytes.fromhex("130200000004") + (5).to_bytes(4, "big"), 0.0)
        connection.sendall(link.bytes_to_send())
        said = ""
        while not said.startswith("= 0x1302"):
            said = process.stdout.readline()
        assert '"info_id": 5' in said
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    assert process.wait(10) == 0
    figures = json.loads(rest.splitlines()[-1])
    assert figures["messages"] == {"0x1001": 1, "0x1302": 1}
    heard = [json.loads(line) for line in (tmp_path / "heard.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [one["header"]["msg_id"] for one in heard] == [0x1001, 0x1300]
    assert "12345678" not in rest
