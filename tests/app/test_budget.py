"""What a terminal says it sent is what its data budget counted, over TCP and UDP; a kill in the middle of writing loses nothing that was stored."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from twisted.internet import reactor

from relay.sim.terminal import SimulatedTerminal, TerminalOptions
from tests.app.test_service import PHONE, answer, ask, make, started, until


@pytest.mark.parametrize("media", ["tcp", "udp"])
async def test_bytes_counted_are_bytes_sent(tmp_path: Path, media: str) -> None:
    relay = await started(make(tmp_path, media={"idle_stop_s": 0.2, "prefer": media}))
    options = TerminalOptions(port=relay.listeners.port("terminals.tcp_port"), channels=(1,), media_udp=media == "udp")
    terminal = SimulatedTerminal(PHONE, reactor, options)
    terminal.start()
    assert relay.parts is not None
    assert relay.signer is not None
    await until(lambda: terminal.online, "online")
    http = relay.listeners.port("http.port")
    player = ask(http, f"/live/{PHONE}_1.flv?token={relay.signer.media(f'{PHONE}_*', 60, time.time())}")
    await until(lambda: terminal.media.bytes_sent > 500_000, "media")
    player.transport.abortConnection()
    await until(lambda: not terminal.media.sending and not len(relay.parts.registry), "the end")  # type: ignore[union-attr]
    sent = terminal.media.bytes_sent
    status, told = await answer(http, f"/api/v1/terminals/{PHONE}/traffic", relay.signer.api("admin", 60, time.time(), "a test"))
    assert status == 200
    counted = {row["purpose"]: row["bytes"] for row in told["items"] if row["channel"] == 1}
    assert abs(sum(counted.values()) - sent) <= sent * 0.01, (counted, sent)
    assert counted["viewer"] > sum(counted.values()) / 2
    await terminal.stop()
    await relay.stopService()


WRITER = """
import sys
from relay.core.tracks import PositionRow
from relay.store import positions
from relay.store.connection import in_transaction
from relay.store.database import connect
from pathlib import Path
connection = connect(Path(sys.argv[1]))
number = 0
while True:
    rows = [PositionRow("1", float(number * 100 + n), 0.0, 22.5, 114.0, 0, 0.0, 0, 0, 0, None) for n in range(100)]
    in_transaction(connection, lambda c: positions.insert(c, rows))
    number += 1
    print(number, flush=True)
"""


def test_a_kill_in_the_middle_of_writes_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    for turn in range(3):
        path = tmp_path / f"{turn}.db"
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        last = 0
        for line in process.stdout:
            last = int(line)
            if last >= 20 + turn * 7:
                break
        os.kill(process.pid, signal.SIGKILL)
        for line in process.stdout:  # what it still said before it was killed
            last = int(line) if line.endswith("\n") else last
        process.stdout.close()
        process.wait()
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT COUNT(*) FROM positions").fetchone()[0] >= last * 100
        connection.close()


async def test_talks_and_uploads_are_counted_too(tmp_path: Path) -> None:
    relay = await started(make(tmp_path))
    parts = relay.parts
    assert parts is not None
    parts.talks.took("13800138000", 36, 100)
    parts.uploads.took("13800138000", 2, "ann", 70)
    rows = await parts.records.budget.rows("13800138000", 0, 99999999)
    assert {(row.channel, row.purpose): row.bytes for row in rows} == {(36, "talk"): 100, (2, "upload"): 70}
    assert parts.uploads.refuses("13800138000") == ""
    await relay.stopService()
