"""The relay records channels into files that ffprobe judges: by hand, by configuration, for alarms; kills and full disks."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from relay.app.config import Loaded
from relay.app.service import Relay
from relay.core import video_files
from relay.settings import Record, Rule
from relay.sim.terminal import SimulatedTerminal, TerminalOptions
from relay.store import videos as rows
from relay.store.database import connect
from tests.app.test_service import answer, ask, settings_in, started, until
from tests.e2e.support import need

PHONE, SIM = "013800138000", "13800138000"


class World:
    def __init__(self, relay: Relay, terminal: SimulatedTerminal) -> None:
        self.relay = relay
        self.terminal = terminal

    @property
    def parts(self) -> Any:
        return self.relay.parts

    @property
    def videos(self) -> Any:
        return self.parts.videos

    @property
    def port(self) -> int:
        return self.relay.listeners.port("http.port")

    def token(self) -> str:
        assert self.relay.signer is not None
        return self.relay.signer.api("operator", 600, time.time())

    async def api(self, path: str) -> Any:
        status, body = await answer(self.port, f"/api/v1{path}", self.token())
        assert status == 200, body
        return body

    async def files(self, count: int) -> list[dict[str, Any]]:
        """So many files that are closed."""
        deadline = time.monotonic() + 20
        while True:
            items = (await self.api("/videos"))["items"]
            closed = [item for item in items if item["seconds"] and not item["growing"]]
            if len(closed) >= count:
                return closed
            assert time.monotonic() < deadline, items
            await deferLater(reactor, 0.1)


async def make(folder: Path, records: tuple[Record, ...] = (), rules: tuple[Rule, ...] = (), alarm_s: float = 0.0, **recording: Any) -> World:
    settings = settings_in(folder, media={"idle_stop_s": 0.5})
    settings = replace(settings, recording=replace(settings.recording, min_free_bytes=0, **recording), record=records, rule=rules)
    relay = await started(Relay(lambda: Loaded(settings, None, "configuration: this test's"), reactor))
    terminal = SimulatedTerminal(PHONE, reactor, TerminalOptions(port=relay.listeners.port("terminals.tcp_port"), channels=(1,), alarm_s=alarm_s))
    terminal.start()
    await until(lambda: terminal.online, "online")
    return World(relay, terminal)


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await make(tmp_path, file_s=10.0)
    yield made
    await made.terminal.stop()
    await made.relay.stopService()


def probe(path: Path) -> dict[str, Any]:
    """What ffprobe says of a file; any complaint of the decoder fails."""
    asked = "format=duration,start_time:stream=codec_name,nb_read_frames"
    words = [need("ffprobe"), "-v", "error", "-count_frames", "-show_entries", asked, "-of", "json"]
    done = subprocess.run([*words, str(path)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    frames = {stream["codec_name"]: int(stream["nb_read_frames"]) for stream in told["streams"]}
    return {"seconds": float(told["format"]["duration"]), "start": float(told["format"]["start_time"]), **frames}


async def recorded(world: World, seconds: float) -> None:
    """A channel is recorded until so much is in the file."""
    await until(lambda: (r := world.videos.get(SIM, 1)) is not None and r.file is not None and r.file.seconds >= seconds, f"{seconds} s recorded", 30)


async def test_a_channel_is_recorded_by_hand_and_the_file_plays(world: World) -> None:
    world.videos.start(PHONE, 1, 0, "anna")
    await recorded(world, 3)
    assert (await world.api("/records"))["items"][0]["state"] == "recording"
    growing = (await world.api("/videos"))["items"][0]
    assert growing["growing"]
    assert growing["why"] == "anna"
    assert world.videos.stop(PHONE, 1)
    [item] = await world.files(1)
    path = world.videos.directory / (await world.parts.store.videos.get(item["id"])).path
    told = probe(path)
    assert told["start"] == 0
    assert told["seconds"] == pytest.approx(item["seconds"], abs=0.7)
    assert told["h264"] > item["seconds"] * 20
    assert told.get("aac", 0) or told.get("flac", 0), "with sound"
    await until(lambda: not list(world.parts.registry.streams()), "the terminal was told to stop")
    client = ask(world.port, f"/api/v1/videos/{item['id']}/file", world.token())
    await until(lambda: client.over, "the file over HTTP")
    head, _, body = client.data.partition(b"\r\n\r\n")
    assert b"video/mp4" in head
    assert body == path.read_bytes()


async def test_files_follow_each_other_without_a_gap(world: World) -> None:
    world.videos.settings = replace(world.videos.settings, file_s=2.0)
    world.videos.start(PHONE, 1, 9, "anna")
    items = await world.files(2)
    first, second = items[:2]
    assert first["end_time"][:21] == second["start_time"][:21] or abs(_unix(first["end_time"]) - _unix(second["start_time"])) < 0.2
    for item in (first, second):
        told = probe(world.videos.directory / (await world.parts.store.videos.get(item["id"])).path)
        assert told["seconds"] == pytest.approx(item["seconds"], abs=0.7)
    await until(lambda: not len(world.videos), "its time is over", 30)


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_what_the_configuration_wants_is_recorded_when_the_terminal_comes(tmp_path: Path) -> None:
    world = await make(tmp_path, (Record(name="all"),))
    await recorded(world, 1)
    assert world.videos.get(SIM, 1).why == "record all"
    assert not world.videos.stop(PHONE, 1), "people cannot end what the configuration wants"
    await world.terminal.stop()
    await world.files(1)
    assert world.videos.get(SIM, 1) is not None
    port = world.relay.listeners.port("terminals.tcp_port")
    again = SimulatedTerminal(PHONE, reactor, TerminalOptions(port=port, channels=(1,), auth_code=world.terminal.auth_code))
    again.start()
    await recorded(world, 1)
    await again.stop()
    await world.relay.stopService()


async def test_an_alarm_is_recorded_for_as_long_as_its_rule_says(tmp_path: Path) -> None:
    world = await make(tmp_path, rules=(Rule(name="grave", record_s=3, every_s=60.0),), alarm_s=0.5)
    await until(lambda: len(world.videos), "an alarm, and its recording")
    await until(lambda: not len(world.videos), "its time is over", 30)
    [item] = await world.files(1)
    assert item["why"].startswith("rule:grave, alarm ")
    assert item["seconds"] >= 1.5
    await world.terminal.stop()
    await world.relay.stopService()


async def test_what_a_kill_leaves_is_mended_at_the_next_start(tmp_path: Path) -> None:
    world = await make(tmp_path)
    world.videos.start(PHONE, 1, 0, "anna")
    await recorded(world, 4)
    row = await world.parts.store.videos.get(world.videos.get(SIM, 1).file_id)
    path = world.videos.directory / row.path
    torn = path.read_bytes()  # as a killed process leaves it: whatever has been written
    await world.terminal.stop()
    await world.relay.stopService()
    path.write_bytes(torn[:-100])
    connection = connect(world.relay.settings.store.url)
    rows.put(connection, row)
    connection.close()
    second = await make(tmp_path)
    [item] = await second.files(1)
    told = probe(path)
    assert told["seconds"] == pytest.approx(item["seconds"], abs=0.7)
    assert item["seconds"] >= 3.4, "one fragment is lost at most"
    assert second.videos.counts["files repaired"] == 1
    await second.terminal.stop()
    await second.relay.stopService()


async def test_a_full_disk_stops_recording_and_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.videos.start(PHONE, 1, 0, "anna")
    await recorded(world, 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    told: list[Any] = []
    world.parts.events.subscribe(told.append)
    with monkeypatch.context() as patch:
        patch.setattr(video_files, "append", full)
        await until(lambda: world.videos.blocked, "blocked")
        assert "No space left" in world.videos.blocked
        assert world.videos.get(SIM, 1).state == "blocked"
        assert "record.stopped" in [event["event"] for event in told]
        lease = await world.parts.live.acquire(PHONE, 1, "", "av", "viewer", "bert")
        assert lease.stream is not None, "live viewing goes on"
        lease.release()
    await world.videos._unblock()
    await recorded(world, 1)
    assert not world.videos.blocked
    world.videos.stop(PHONE, 1)


async def test_the_oldest_files_make_room(world: World) -> None:
    world.videos.start(PHONE, 1, 0, "anna")
    await recorded(world, 1)
    world.videos.stop(PHONE, 1)
    [item] = await world.files(1)
    row = await world.parts.store.videos.get(item["id"])
    await world.videos._keep()
    assert (world.videos.directory / row.path).exists()
    world.videos.settings = replace(world.videos.settings, max_bytes=1)
    await world.videos._keep()
    assert not (world.videos.directory / row.path).exists()
    assert (await world.api("/videos"))["items"] == []
    assert world.videos.counts["files removed"] == 1
