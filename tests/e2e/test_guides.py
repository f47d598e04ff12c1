"""Every page of the documentation: its commands, in order, against the product with simulated terminals and a simulated superior platform.

The pages say 7808, 8080 and so on; here these are the free ports of the test's relay. What a page's commands read (captures, recordings, films) is made first.
docs/api.md has a test of its own, which looks at the answers too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.jt809.framing import unescape
from tests.cli.captures import Talk, pcap, pcapng
from tests.e2e.support import BIN, Process, Product, command, need, record, run, wait_for
from tests.guides import PAGES, Block, blocks, runnable
from tests.ports import free_port
from tests.shared import ROOT

pytestmark = pytest.mark.e2e

PHONE, OTHER, PLATE = "13800138000", "13800138001", "粤B12345"
API = ROOT / "docs" / "api.md"
GUIDES = [page for page in PAGES if page != API and runnable(page)]
HEARTBEAT = "7e000200000138001380000007af7e"
KEEP_ALIVE = "5b0000001a0000000110050000276601000000000000007b845d"
ACCOUNT = {
    "name": "province", "host": "127.0.0.1", "access_code": 44030001, "user_id": 10001, "password": "12345678", "platform_id": "44030012345",
    "reconnect_s": 1.0, "sublink_host": "127.0.0.1", "sublink_advertise": "127.0.0.1",
}  # fmt: skip


SECOND = """until api "$RELAY/api/v1/superiors/province/requests" | grep -q '"id":2'; do sleep 0.1; done"""


class Desk:
    """A reader's machine: a relay that runs, a directory, a shell."""

    def __init__(self, folder: Path, relay: Product, superior_port: int, sublink_port: int) -> None:
        self.folder = folder
        self.relay = relay
        self.superior_port = superior_port
        ports = relay.ports
        self.ports = {
            7808: ports["terminals_tcp"], 1078: ports["live_tcp"], 8080: ports["http"], 10709: superior_port, 8809: sublink_port
        }  # fmt: skip
        self.environment = {
            **os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "RELAY": f"http://127.0.0.1:{ports['http']}", "TOKEN": relay.api_token,
            "JT1078RELAY_CONFIG": str(relay.config),
        }  # fmt: skip

    def typed(self, text: str) -> str:
        """A block's text with this machine's ports, and servers that are not there on it."""
        for known, here in self.ports.items():
            text = re.sub(rf"(?<=127\.0\.0\.1:){known}\b|(?<=0\.0\.0\.0:){known}\b|(?<=--listen ){known}\b", str(here), text)
        # the simulated superior asks the second thing after the first was answered
        text = text.replace("\napi -X POST -d '{\"result\"", f"\n{SECOND}\napi -X POST -d '{{\"result\"")
        return text.replace("0.0.0.0:", "127.0.0.1:").replace("srs.example", f"127.0.0.1:{free_port()}")

    def shell(self, script: str) -> subprocess.Popen[str]:
        return subprocess.Popen(["bash", "-c", script], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, block: Block) -> str:
        """What the block's commands print; a failure of one fails the test. Those that go on are begun at once, each with ports of its own to listen on."""
        begun = []
        if block.seconds_each:
            lines = [line for line in block.text.split("\n") if line.strip()]
            for line in lines:
                if len(lines) > 1:
                    self.ports[10709] = free_port()
                begun.append(self.shell(f"timeout -s TERM {block.seconds_each} {self.typed(line)}"))
            self.ports[10709] = self.superior_port
        else:
            begun.append(self.shell(f"set -euo pipefail\n{blocks(API)[0].text}\n{self.typed(block.text)}"))
        said = ""
        for process in begun:
            out, problems = process.communicate(timeout=60)
            fine = (0, 124) if block.seconds_each else (0,)
            assert process.returncode in fine, f"{process.returncode} of\n{process.args}\n{out[-3000:]}\n{problems[-2000:]}"
            assert "Traceback" not in problems, problems[-3000:]
            said += out
        return said


def desk(folder: Path) -> Iterator[Desk]:
    superior_port, sublink_port = free_port(), free_port()
    province = {**ACCOUNT, "port": superior_port, "sublink_port": sublink_port}
    log = {"record_dir": str(folder / "recordings"), "record": [OTHER, "superior:province"]}
    media = {"talk_tcp_port": free_port(), "idle_stop_s": 1}
    with Product(folder, superiors=(province,), log=log, media=media, rtmp={"push_allow": ["127.0.0.1"]}, http={"platform_port": free_port()}) as relay:
        yield Desk(folder, relay, superior_port, sublink_port)


@contextmanager
def superior(at: Desk, *words: str) -> Iterator[Process]:
    """A superior platform that the relay has logged in to."""
    process = Process(
        "the superior", [BIN / "jt1078relay", "simulate", "superior", "--listen", f"127.0.0.1:{at.superior_port}", *words], at.folder / "superior.log"
    )
    try:
        wait_for("both links", lambda: at.relay.api("GET", "/superiors")["items"][0]["state"] == "both_up")
        yield process
    finally:
        process.stop()


def prepare_captures(at: Desk) -> None:
    """What tcpdump and the relay would have written."""
    up, down = bytes.fromhex(HEARTBEAT), bytes.fromhex(KEEP_ALIVE)
    talks = [Talk(client=("10.0.0.7", 40000 + number)).open().up(up).close() for number in range(3)]
    packets = sorted(packet for talk in talks for packet in talk.packets)
    (at.folder / "field.pcap").write_bytes(pcap(packets))
    (at.folder / "field.pcapng").write_bytes(pcapng(packets))
    (at.folder / "dump.txt").write_text(f"0000  {down.hex(' ')}\n", encoding="utf-8")
    fields = json.loads(command("decode", "jt808", "--json", HEARTBEAT).stdout)
    assert fields and unescape(down[1:-1])
    vector = {"id": "heartbeat", "protocol": "jt808", "kind": "frame", "version": 2013, "hex": HEARTBEAT}
    (at.folder / "bare.jsonl").write_text(json.dumps(vector) + "\n", encoding="utf-8")
    answer = json.loads(command("decode", "--jsonl", at.folder / "bare.jsonl").stdout)
    (at.folder / "vectors.jsonl").write_text(json.dumps({**vector, "fields": answer["fields"]}) + "\n", encoding="utf-8")
    with superior(at):
        terminal = at.relay.terminal(OTHER, "--plate", PLATE, "--channels", "1")
        record(at.relay.url(f"/live/{OTHER}_1.flv", audio="none"), 1.5, at.folder / "seen.flv")
        terminal.stop()
    for begin, name in ((OTHER, "FILE.jtrec"), ("superior", "SUPERIOR.jtrec")):
        [recording] = [path for path in (at.folder / "recordings").iterdir() if path.name.startswith(begin)]
        shutil.copy(recording, at.folder / name)


def prepare_simulating(at: Desk) -> None:
    """Recorded streams, a film, and a vehicle for the superior platform."""
    at.relay.terminal(OTHER, "--plate", PLATE, "--channels", "1", "--position-interval", "1")
    record(at.relay.url(f"/live/{OTHER}_1.jt1078"), 1.5, at.folder / "bus.jt1078")
    shutil.copy(at.folder / "bus.jt1078", at.folder / "h265.jt1078")  # what is in it does not matter here
    need("ffmpeg")
    words = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=15", "-t", "2", "-c:v", "libx264", "-pix_fmt", "yuv420p", "street.mp4"]
    run("ffmpeg", "-v", "error", *words[:-1], at.folder / words[-1])


def vehicle(at: Desk) -> None:
    at.relay.terminal(PHONE, "--channels", "2")


PREPARE = {"captures": prepare_captures, "simulating": prepare_simulating, "playback": vehicle, "rtmp": vehicle, "talk": vehicle}


def check_rtmp(said: str) -> None:
    assert '"id":"bus17"' in said


def check_superiors(said: str) -> None:
    assert said.count("在岗") >= 1


CHECKS: dict[str, Any] = {"rtmp": check_rtmp, "superiors": check_superiors}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    need("curl")
    for at in desk(tmp_path):
        PREPARE.get(page.stem, lambda _: None)(at)
        if page.stem == "superiors":
            now = int(time.time())
            supervision = f"warn_src=1 warn_type=2 warn_time={now} supervision_id=5 supervision_endtime={now + 600} supervision_level=0"
            more = "supervisor=王五 supervisor_tel=1 supervisor_email=w@example"
            words = ["send 9301 object_type=1 object_id=1 info_id=7 info_content=在岗吗", f"send 9401 {PLATE}.2 {supervision} {more}"]
            at.relay.terminal(OTHER, "--plate", PLATE, "--channels", "1")
            with superior(at, *(part for word in words for part in ("--do", word))):
                wait_for("what the superior asks", lambda at=at: at.relay.api("GET", "/superiors/province/requests?waiting=true")["total"] == 1)
                said = "".join(at.run(block) for block in runnable(page))
        else:
            said = "".join(at.run(block) for block in runnable(page))
        CHECKS.get(page.stem, lambda _: None)(said)
