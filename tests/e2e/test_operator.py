"""What an operator does with a terminal, through the HTTP API as a user calls it, against the simulated terminal."""

from __future__ import annotations

import base64
import json
import math
import os
import socket
import struct
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import Product, need, run, wait_for
from tests.ports import free_port

pytestmark = pytest.mark.e2e

PHONE = "13800138000"
BASE = f"/terminals/{PHONE}"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Product]:
    talk = free_port()
    extra = free_port()
    with Product(tmp_path, media={"talk_tcp_port": talk, "talk_extra_ports": str(extra)}, terminals={"ptz_hold_s": 0.5}) as product:
        yield product


class Microphone:
    """A page's WebSocket, by hand: RFC 6455 with masked frames."""

    def __init__(self, url: str) -> None:
        place, _, path = url.removeprefix("ws://").partition("/")
        host, _, port = place.partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET /{path} HTTP/1.1", f"Host: {place}", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}"]
        self.socket.sendall("\r\n".join([*lines, "Sec-WebSocket-Version: 13", "", ""]).encode())
        self.data = b""
        while b"\r\n\r\n" not in self.data:
            self.data += self.socket.recv(4096)
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        assert b" 101 " in head, head
        self.socket.setblocking(False)
        self.sound: list[tuple[float, int]] = []  #: (when, loudest sample)
        self.texts: list[dict[str, Any]] = []
        self.closed = 0

    def speak(self, pcm: bytes) -> None:
        self.socket.sendall(bytes((0x82, 0xFE)) + struct.pack(">H", len(pcm)) + bytes(4) + pcm)

    def hear(self) -> None:
        """Everything that has come."""
        try:
            while data := self.socket.recv(65536):
                self.data += data
        except BlockingIOError:
            pass
        while len(self.data) >= 2:
            size, at = self.data[1], 2
            if size == 126:
                if len(self.data) < 4:
                    return
                size, at = int.from_bytes(self.data[2:4], "big"), 4
            if len(self.data) < at + size:
                return
            opcode, payload = self.data[0] & 15, self.data[at : at + size]
            self.data = self.data[at + size :]
            if opcode == 2:
                self.sound.append((time.monotonic(), max(map(abs, struct.unpack(f"<{size // 2}h", payload)))))
            elif opcode == 1:
                self.texts.append(json.loads(payload))
            elif opcode == 8:
                self.closed = int.from_bytes(payload[:2], "big")

    def talk(self, seconds: float, level: int = 12000) -> float:
        """A tone in real time; gives when it began."""
        began = time.monotonic()
        for place in range(round(seconds * 50)):
            numbers = [round(level * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(160 * place, 160 * (place + 1))]
            self.speak(struct.pack("<160h", *numbers))
            while time.monotonic() < began + 0.02 * (place + 1):
                self.hear()
                time.sleep(0.002)
        return began


def test_talk_listen_and_who_holds_the_microphone(relay: Product) -> None:
    relay.terminal(PHONE, "--fault", "talk-echo")
    call = relay.api("POST", f"{BASE}/channels/1/talk", {"mode": "broadcast"}, expect=201)  # by a port of its own, silent
    assert relay.api("DELETE", f"/talks/{call['id']}", expect=204) is None
    wait_for("the end of the broadcast", lambda: relay.api("GET", "/talks")["total"] == 0)

    relay.terminal("13800138001")
    call = relay.api("POST", "/terminals/13800138001/channels/1/talk", {}, expect=201)
    page = Microphone(call["ws"])
    page.talk(0.5)
    assert page.sound, "the terminal's tone is heard"
    assert relay.api("GET", "/talks")["items"][0]["terminals"][0]["codec"] == "g711a"
    assert relay.api("POST", "/terminals/13800138001/channels/1/talk", {}, expect=409)["error"] == "microphone_taken"
    ear = relay.api("POST", "/terminals/13800138001/channels/1/talk", {"mode": "listen"}, expect=201)
    assert relay.api("DELETE", f"/talks/{ear['id']}", expect=204) is None
    assert relay.api("DELETE", f"/talks/{call['id']}", expect=204) is None
    wait_for("the close frame", lambda: page.hear() or page.closed)
    assert page.texts[-1]["type"] == "end"
    wait_for("the end of the call", lambda: relay.api("GET", "/talks")["total"] == 0)
    who = [row for row in relay.api("GET", "/audit")["items"] if row["action"] == "talk"]
    assert {row["detail"].split()[1] for row in who} >= {"began", "ended"}


def test_page_to_terminal_and_back_within_the_delay(relay: Product) -> None:
    relay.terminal(PHONE, "--fault", "talk-echo", "--fault", "talk-silent")
    call = relay.api("POST", f"{BASE}/channels/1/talk", {}, expect=201)
    page = Microphone(call["ws"])
    time.sleep(0.2)
    page.hear()
    page.sound.clear()
    began = page.talk(1.0)
    heard = [at - began for at, peak in page.sound if peak > 500]
    print(f"page to terminal to page: {heard[0] * 1000:.0f} ms")
    assert heard[0] <= 0.6
    relay.api("DELETE", f"/talks/{call['id']}", expect=204)


def test_a_broadcast_with_a_result_for_each(relay: Product) -> None:
    relay.terminal(PHONE)
    answer = relay.api("POST", "/broadcasts", {"terminals": [PHONE, "13900000000"], "channel": 33}, expect=201)
    assert [(result["ok"], result["error"]) for result in answer["results"]] == [(True, ""), (False, "unknown_terminal")]
    page = Microphone(answer["ws"])
    page.talk(0.3)
    page.socket.close()
    wait_for("the end of the call", lambda: relay.api("GET", "/talks")["total"] == 0)


def test_cameras_parameters_texts_areas_and_doors(relay: Product) -> None:
    terminal = relay.terminal(PHONE, "--edition", "2019")
    assert relay.api("POST", f"{BASE}/channels/1/ptz", {"action": "rotate", "direction": "left", "speed": 100}) == {"stops_in_s": 0.5}
    wait_for("the stop of a hold that nobody renews", lambda: terminal.output.count("0x9301") >= 2)
    assert relay.api("POST", f"{BASE}/channels/1/ptz", {"action": "wiper", "on": True}) == {"stops_in_s": 0.0}

    assert relay.api("PUT", f"{BASE}/parameters", {"params": [{"name": "max_speed", "value": 88}, {"id": 1, "value": 45}]})["sent"] == "0x8103"
    items = relay.api("GET", f"{BASE}/parameters?ids=max_speed,1")["items"]
    assert [(item["name"], item["value"]) for item in items] == [("max_speed", 88), ("heartbeat_interval", 45)]
    assert relay.api("GET", f"{BASE}/parameters")["total"] > 15

    assert relay.api("POST", f"{BASE}/text", {"text": "请靠边停车", "speak": True})["sent"] == "0x8300"
    circle = {"id": 7, "latitude": 22.5, "longitude": 114.05, "radius_m": 300, "name": "学校"}
    assert relay.api("PUT", f"{BASE}/areas/circles", {"areas": [circle]})["sent"] == "0x8600"
    assert relay.api("GET", f"{BASE}/areas/circles")["areas"][0]["name"] == "学校"
    assert relay.api("POST", f"{BASE}/vehicle", {"doors": "lock"}, expect=409)["error"] == "confirmation_needed"
    assert relay.api("POST", f"{BASE}/vehicle", {"doors": "lock", "confirm": True})["doors_locked"] is True
    relay.api("PUT", f"{BASE}/quirks", {"override": {"vehicle.fuel_cut": {"controls": [[61441, 1]]}}})
    assert relay.api("POST", f"{BASE}/vehicle", {"fuel": "cut", "confirm": True})["fuel_cut"] is True
    assert relay.api("POST", f"{BASE}/position")["located"] is True
    assert relay.api("POST", f"{BASE}/driver")["reply"]["fields"]["driver_name"] == "张三"
    assert relay.api("POST", f"{BASE}/messages/0x9003", {})["reply"]["id"] == "0x1003"
    assert relay.api("POST", f"{BASE}/control", {"command": "reset", "confirm": True})["sent"] == "0x8105"


@pytest.mark.parametrize("faults", [(), ("--fault", "lose-piece")])
def test_a_photo_is_taken_sent_in_pieces_and_kept(relay: Product, tmp_path: Path, faults: tuple[str, ...]) -> None:
    relay.terminal(PHONE, *faults)
    taken = relay.api("POST", f"{BASE}/channels/2/photo", {"count": 1})
    [kept] = wait_for("the picture", lambda: relay.api("GET", f"/multimedia?sim={PHONE}")["items"])
    assert (kept["media_id"], kept["channel"], kept["format"], kept["position"]["located"]) == (taken["media_ids"][0], 2, "JPEG", True)
    request = urllib.request.Request(
        f"http://127.0.0.1:{relay.ports['http']}/api/v1/multimedia/{kept['id']}", headers={"Authorization": f"Bearer {relay.api_token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
        (tmp_path / "photo.jpg").write_bytes(answer.read())
    shown = run(need("ffprobe"), "-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", tmp_path / "photo.jpg").stdout
    assert shown.strip() == "mjpeg,640,480"
    found = relay.api("POST", f"{BASE}/multimedia/search", {})
    assert found["items"][0]["media_id"] == taken["media_ids"][0]
    assert relay.api("POST", f"{BASE}/multimedia/upload", {"media_id": taken["media_ids"][0]})["sent"] == "0x8805"
    relay.api("DELETE", f"/multimedia/{kept['id']}", expect=204)


def test_answers_late_twice_under_another_id_and_never(relay: Product) -> None:
    relay.terminal("13800138001", "--fault", "slow-answers=3")
    relay.terminal("13800138002", "--fault", "answers-twice")
    relay.terminal("13800138003", "--fault", "wrong-reply-id")
    relay.terminal("13800138004", "--fault", "no-answer=8300")
    words = {"text": "x", "timeout_s": 1.5}
    assert relay.api("POST", "/terminals/13800138001/text", words, expect=504)["error"] == "no_reply"
    assert relay.api("POST", "/terminals/13800138002/text", words)["sent"] == "0x8300"
    assert relay.api("POST", "/terminals/13800138003/text", words, expect=502)["error"] == "wrong_reply"
    assert relay.api("POST", "/terminals/13800138004/text", words, expect=504)["error"] == "no_reply"
    url = f"http://127.0.0.1:{relay.ports['http']}/api/v1/events?after=0"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {relay.api_token}"})
    with urllib.request.urlopen(request, timeout=10) as events:
        for line in events:
            if line.startswith(b"data: ") and json.loads(line[6:])["event"] == "terminal.late_answer":
                break
