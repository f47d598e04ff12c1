"""A superior's video requests all the way: superior → relay → terminal → relay → the superior's player, each a real connection."""

from __future__ import annotations

import argparse
import ftplib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from relay.app.config import Loaded
from relay.app.service import Relay
from relay.cli.simulate_ask import Asking
from relay.core.events import BEIJING
from relay.jt809.messages.base import Gnss
from relay.jt809.messages.video import (
    CatalogueReportAnswer,
    CatalogueRequest,
    DownloadControl,
    DownloadReady,
    DownloadReadyAnswer,
    DownloadRequest,
    LiveRequest,
    LiveStopRequest,
    PlaybackControl,
    PlaybackRequest,
    TimePasswordAnswer,
)
from relay.jt1078.demux import PacketReader
from relay.jt1078.packet import DataType
from relay.settings import Superior
from relay.sim.superior import SimulatedSuperior, SuperiorOptions
from relay.sim.superior_asks import Asks
from relay.sim.superior_player import StreamPlayer, fetch, stream_path
from relay.sim.terminal import SimulatedTerminal, TerminalOptions
from relay.store.audit import AuditFilter
from relay.web.api_superiors import OpenedList, SuperiorApi
from relay.web.problem import Problem
from relay.web.router import Principal
from tests.app.test_service import settings_in, started, until
from tests.ports import free_port

PHONE, PLATE, COLOR = "013800138000", "粤B38000", 2
WRONG = "x" * 64


class World:
    """A relay with one superior and one terminal, all in this process."""

    def __init__(self, relay: Relay, superior: SimulatedSuperior, terminal: SimulatedTerminal) -> None:
        self.relay = relay
        self.superior = superior
        self.terminal = terminal
        self.players: list[StreamPlayer] = []

    @property
    def parts(self) -> Any:
        return self.relay.parts

    @property
    def bridge(self) -> Any:
        return self.parts.video_uplink.bridge

    @property
    def home(self) -> str:
        return self.superior.passwords[0]

    @property
    def cross(self) -> str:
        return self.superior.passwords[1]

    async def ask(self, message: Any, plate: str = PLATE) -> Any:
        return await self.superior.ask(message, plate, COLOR)

    async def live(self, channel: int = 1, avitem: int = 0, password: str | None = None, gnss: bytes | None = None) -> Any:
        password = self.home if password is None else password
        return await self.ask(LiveRequest(channel_id=channel, avitem_type=avitem, authorize_code=password, gnss_data=gnss))

    def play(self, channel: int = 1, avitem: int = 0, password: str | None = None, mark: str = "", path: str = "") -> StreamPlayer:
        port = self.relay.listeners.port("http.platform_port")
        player = fetch(reactor, "127.0.0.1", port, PLATE, COLOR, channel, avitem, password or self.home, mark, path)
        self.players.append(player)
        return player

    def stream(self, channel: int = 1) -> Any:
        return next((each for each in self.parts.registry.streams() if each.key.channel == channel), None)


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("relay.core.learning.QUESTIONS_AFTER_S", 0.1)
    monkeypatch.setattr("relay.core.learning.QUESTIONS_SPREAD_S", 0.1)
    superior = SimulatedSuperior(reactor, SuperiorOptions())
    port = superior.listen()
    settings = settings_in(tmp_path, media={"idle_stop_s": 0.5}, http={"platform_port": free_port()})
    one = Superior(
        name="province", host="127.0.0.1", port=port, access_code=44030001, user_id=10001, password="12345678", platform_id="44030012345",
        sublink_host="127.0.0.1", sublink_port=0, sublink_advertise="127.0.0.1", report_recordings_s=0.3,
    )  # fmt: skip
    settings = replace(settings, superior=(replace(one, sublink_port=free_port()),))
    relay = await started(Relay(lambda: Loaded(settings, None, "configuration: this test's"), reactor))
    terminal = SimulatedTerminal(PHONE, reactor, TerminalOptions(port=relay.listeners.port("terminals.tcp_port"), position_s=1.0))
    terminal.start()
    made = World(relay, superior, terminal)
    await until(lambda: terminal.online and superior.passwords[0] and made.parts.superiors.find(PLATE, COLOR), "all are there")
    await until(lambda: made.parts.terminals.get(PHONE).channels, "the terminal's channels")
    yield made
    for player in made.players:
        player.close()
    await terminal.stop()
    await relay.stopService()
    await superior.stop()


async def test_live_from_the_request_to_the_picture_and_to_the_stop(world: World) -> None:
    answer = await world.live()
    assert (answer.result, answer.server_ip, answer.server_port) == (0, "127.0.0.1", world.relay.listeners.port("http.platform_port"))
    player = world.play()
    await player.frames_came(30)
    assert player.status == 200
    assert player.first is not None
    assert player.first.data_type == DataType.VIDEO_I, "a stream begins with a key frame"
    assert {frame.sim.lstrip("0") for frame in player.frames} == {PHONE.lstrip("0")}
    assert {frame.channel for frame in player.frames} == {1}
    await until(lambda: {int(frame.data_type) for frame in player.frames} >= {0, 1, 3}, "picture and sound")
    assert player.lost_packets == 0
    assert (await world.ask(LiveStopRequest(channel_id=1, avitem_type=0))).result == 0
    await player.over
    await until(lambda: world.stream() is None, "the terminal was told to stop")
    assert not world.bridge.permits()


async def test_a_request_that_is_refused_says_why(world: World) -> None:
    for channel, avitem, password, result in ((1, 0, WRONG, 4), (9, 0, None, 2), (1, 0, "", 4), (1, 7, None, 2)):
        answer = await world.live(channel, avitem, password)
        assert (answer.result, answer.server_ip, answer.server_port) == (result, "", 0)
    assert world.stream() is None
    assert not world.bridge.permits()
    request = LiveRequest(channel_id=1, avitem_type=0, authorize_code=world.home, gnss_data=None)
    assert (await world.ask(request, "粤B00000")).result == 1, "no such vehicle"
    await world.terminal.stop()
    await until(lambda: not world.parts.terminals.is_online(PHONE), "offline")
    assert (await world.ask(request)).result == 1


async def test_only_this_superiors_reference_goes_when_somebody_else_watches(world: World) -> None:
    await world.live()
    player = world.play()
    await player.frames_came(5)
    lease = await world.parts.live.acquire(PHONE, 1, "", "av", "viewer", "anna")
    await world.ask(LiveStopRequest(channel_id=1, avitem_type=0))
    await player.over
    before = world.stream().packets
    await until(lambda: world.stream().packets > before + 20, "it goes on for the local viewer")
    lease.release()


async def test_the_url_in_the_forms_that_players_write_and_in_none_that_nobody_allowed(world: World) -> None:
    early = world.play()
    await early.over
    assert early.status == 404
    assert b"0x9801" in early.body, "nothing is served that was not asked for"
    await world.live()
    tail = f".{COLOR}.1.0.{world.home}"
    for path in (
        stream_path(PLATE, COLOR, 1, 0, world.home),
        "/" + PLATE.encode().decode("latin-1") + tail,
        "/" + quote(PLATE.encode("gbk")) + tail,
        "/" + quote(PLATE).replace("B38", "+B38") + tail,
        stream_path(PLATE, COLOR, 1, 0, world.home) + "?player=7",
    ):
        await world.play(path=path).frames_came(3)
    for path, status in (
        (stream_path(PLATE, COLOR, 1, 0, WRONG), 403),
        (stream_path(PLATE, COLOR, 2, 0, world.home), 404),
        (stream_path("粤B00000", COLOR, 1, 0, world.home), 404),
        ("/", 404),
        ("/a.b.c.d.e", 404),
        ("/" + "x" * 600, 404),
        ("/live/13800138000_1.flv", 404),
    ):
        refused = world.play(path=path)
        await refused.over
        assert refused.status == status, path


async def test_all_channels_come_on_one_connection_and_packets_never_mix(world: World) -> None:
    assert (await world.live(channel=0)).result == 0
    player = world.play(channel=0)
    await until(lambda: all(player.counts[channel] > 20 for channel in (1, 2, 3, 4)), f"all four: {player.counts}")
    reader = PacketReader(sim_bytes=6)
    packets = reader.feed(player.raw)
    for channel in (1, 2, 3, 4):
        numbers = [packet.seq for packet in packets if packet.channel == channel]
        assert numbers == [(numbers[0] + at) % 65536 for at in range(len(numbers))]
    firsts: dict[int, int] = {}
    for frame in player.frames:
        if frame.data_type in (DataType.VIDEO_I, DataType.VIDEO_P):
            firsts.setdefault(frame.channel, frame.data_type)
    assert firsts == dict.fromkeys((1, 2, 3, 4), DataType.VIDEO_I)


async def test_the_catalogue_is_asked_of_the_terminal(world: World) -> None:
    now = int(time.time())
    request = CatalogueRequest(
        channel_id=1, start_time=now - 7200, end_time=now, alarm_type=0, avitem_type=3, stream_type=0, mem_type=0, authorize_code=world.home,
        gnss_data=None,
    )  # fmt: skip
    answer = await world.ask(request)
    assert answer.result == 0
    assert answer.item_num == len(answer.item_list) > 1
    for item in answer.item_list:
        assert item.channel_id == 1
        assert item.end_time >= now - 7200
        assert item.start_time <= now
        assert 0 < item.end_time - item.start_time <= 1800
    request.authorize_code = WRONG
    refused = await world.ask(request)
    assert (refused.result, refused.item_num) == (4, 0)


async def test_a_superior_is_told_what_was_recorded_of_an_alarm(world: World) -> None:
    world.parts.events.publish("alarm.begin", sim=PHONE.lstrip("0"), kind="terminal", code=0)
    report = await until(lambda: next((one.business.data for one in world.superior.heard if one.kind == 0x1901), None), "0x1901")
    assert report.item_num == len(report.item_list) == 4, "the recording that goes on, of each channel"
    assert {item.alarm_type for item in report.item_list} == {1}
    world.superior.send(CatalogueReportAnswer(result=0, item_number=4), PLATE, COLOR)
    await until(lambda: world.bridge.counts["0x9901 result 0"] == 1, "0x9901")
    world.parts.events.publish("alarm.begin", sim=PHONE.lstrip("0"), kind="terminal", code=7)
    await until(lambda: world.bridge.counts["0x1901 not sent: nothing recorded"] == 1, "of another alarm there is none")


async def test_playback_is_controlled_and_ends_by_the_superiors_word(world: World) -> None:
    end = int(time.time()) - 3600
    request = PlaybackRequest(
        channel_id=1, avitem_type=0, stream_type=0, mem_type=0, playback_start_time=end - 600, playback_end_time=end, authorize_code=world.home,
        gnss_data=None,
    )  # fmt: skip
    answer = await world.ask(request)
    assert (answer.result, answer.server_port) == (0, world.relay.listeners.port("http.platform_port"))
    player = world.play()
    await player.frames_came(10)
    assert player.first is not None
    assert player.first.data_type == DataType.VIDEO_I
    for control in (
        PlaybackControl(control_type=1), PlaybackControl(control_type=0), PlaybackControl(control_type=3, fast_time=2),
        PlaybackControl(control_type=5, date_time=end - 60), PlaybackControl(control_type=6),
    ):  # fmt: skip
        assert (await world.ask(control)).result == 0, control
    assert (await world.ask(PlaybackControl(control_type=9))).result == 2
    assert (await world.ask(PlaybackControl(control_type=2))).result == 0
    await player.over
    assert (await world.ask(PlaybackControl(control_type=1))).result == 3, "there is no session any more"


def download(now: int, password: str) -> DownloadRequest:
    """The last whole half hour of channel 1."""
    return DownloadRequest(
        channel_id=1, start_time=now - 5400, end_time=now - 3600, alarm_type=0, avitem_type=0, stream_type=1, mem_type=1, file_size=0,
        authorize_code=password, gnss_data=None,
    )  # fmt: skip


def fetch_file(ready: DownloadReady) -> tuple[bytes, list[str]]:
    """As a superior's FTP client does, in a thread; what it was not allowed is told too."""
    client = ftplib.FTP()
    client.connect(str(ready.server_ip), int(ready.tcp_port), timeout=20)
    client.login(str(ready.username), str(ready.password))
    refused = []
    for words in ("STOR evil", "DELE x", "RETR ../relay.db", "RETR other.mp4"):
        try:
            client.voidcmd("TYPE I")
            if words.startswith(("STOR", "RETR")):
                client.transfercmd(words).close()
            else:
                client.voidcmd(words)
        except ftplib.Error as problem:
            refused.append(str(problem)[:3])
    got = bytearray()
    client.retrbinary(f"RETR {ready.file_path}", got.extend)
    size = client.size(str(ready.file_path))
    assert size == len(got)
    assert client.nlst() == [str(ready.file_path).lstrip("/")]
    client.quit()
    return bytes(got), refused


async def test_a_recording_is_fetched_from_the_terminal_and_then_by_the_superior(world: World) -> None:
    answer = await world.ask(download(int(time.time()), world.home))
    assert answer.result == 0
    assert answer.session_id == 1
    ready = await until(lambda: next((one.business.data for one in world.superior.heard if one.kind == 0x1B02), None), "0x1B02", 40)
    assert (ready.result, ready.session_id, ready.tcp_port) == (0, 1, world.relay.listeners.port("ftp.port"))
    data, refused = await deferToThread(fetch_file, ready)
    assert refused == ["550"] * 4
    [task], _ = await world.parts.uploads.page()
    stored = task.facts.files[str(ready.file_path).lstrip("/")]
    told = [one.business.data for one in world.superior.heard if one.kind == 0x1B02]
    assert sorted(str(each.file_path) for each in told) == sorted(f"/{name}" for name in task.facts.files), "one 0x1B02 for each file"
    assert len({str(each.password) for each in told}) == len(told)
    assert data == (task.folder / stored.name).read_bytes()
    assert len(data) == stored.size > 10_000
    world.superior.send(DownloadReadyAnswer(result=0, session_id=1), PLATE, COLOR)
    await until(lambda: world.bridge.counts["0x9B02 result 0"] == 1, "0x9B02")


async def test_a_download_is_controlled_while_it_comes_and_refused_with_its_reason(world: World) -> None:
    assert (await world.ask(download(int(time.time()), WRONG))).result == 4
    assert (await world.ask(DownloadControl(session_id=9, type=0))).result == 3
    first = await world.ask(download(int(time.time()), world.home))
    assert (await world.ask(DownloadControl(session_id=first.session_id, type=0))).result in (0, 1)
    assert (await world.ask(DownloadControl(session_id=first.session_id, type=2))).result == 0
    assert (await world.ask(DownloadControl(session_id=first.session_id, type=2))).result == 3, "it is over"
    second = await world.ask(download(int(time.time()), world.home))
    assert second.session_id != first.session_id


def block(**change: Any) -> bytes:
    """A 2011 location block."""
    now = change.pop("time", datetime.now(BEIJING))
    values: dict[str, Any] = {name: getattr(now, name) for name in ("day", "month", "year", "hour", "minute", "second")}
    values.update(vec1=50, vec2=50, vec3=1, direction=0, altitude=0, state=3, alarm=0, **change)
    return Gnss(encrypt=0, **values).encode(2011)


async def test_a_cross_domain_request_must_show_where_the_vehicle_was(world: World) -> None:
    await until(lambda: world.superior.positions.get((PLATE, COLOR)), "a position went up")
    place = world.superior.positions[PLATE, COLOR][-1].gnss
    here = {"lat": place.lat, "lon": place.lon}

    async def stored() -> Any:
        return await world.parts.store.positions.track(PHONE.lstrip("0"), 0, time.time() + 60, 10, None)

    deadline = time.monotonic() + 10
    while not (await stored())[0]:
        assert time.monotonic() < deadline
        await deferLater(reactor, 0.1)
    assert (await world.live(password=world.cross)).result == 5, "no position"
    assert (await world.live(password=world.cross, gnss=block(lat=here["lat"] + 2_000_000, lon=here["lon"]))).result == 5, "far away"
    old = datetime.now(BEIJING) - timedelta(hours=1)
    assert (await world.live(password=world.cross, gnss=block(**here, time=old))).result == 5, "an hour ago"
    assert (await world.live(password=world.cross, gnss=block(**here))).result == 0
    home = world.play(password=world.home)
    await home.over
    assert home.status == 404, "the home password opens what was asked for with it"
    player = world.play(password=world.cross)
    await player.frames_came(3)
    now = datetime.now(BEIJING)
    mark = f"{now:%Y%m%d-%H%M%S}-N{here['lat'] / 1e6:09.6f}-E{here['lon'] / 1e6:010.6f}"
    await world.play(password=world.cross, mark=mark).frames_came(1)
    elsewhere = world.play(password=world.cross, mark=mark.replace("-E", "-W"))
    await elsewhere.over
    assert elsewhere.status == 403


async def test_what_a_superior_has_open_is_shown_and_an_operator_ends_it(world: World) -> None:
    api = SuperiorApi(world.parts.superiors, world.bridge, world.parts.audit)

    def call(name: str = "province", ident: str = "") -> Any:
        return SimpleNamespace(path={"name": name, "id": ident}, principal=Principal("eve", "operator"), request=SimpleNamespace(address="192.0.2.7"))

    await world.live()
    player = world.play()
    await player.frames_came(3)
    assert (await world.live(password=WRONG)).result == 4
    told = api.streams(call())
    view = msgspec.convert(told, OpenedList)
    (opened,) = view.items
    assert (opened.plate, opened.plate_color, opened.channel, opened.media, opened.kind, opened.domain) == (PLATE, COLOR, 1, "av", "live", "home")
    assert (opened.connections, opened.failure) == (1, "")
    assert [(one.request, one.result) for one in view.refused] == [("0x9801", 4)]
    assert "password" in view.refused[0].reason
    assert not any(secret in str(told) for secret in (world.home, world.cross, WRONG))
    for wrong in (call(ident="x"), call(ident="99999")):
        with pytest.raises(Problem) as raised:
            api.end_stream(wrong)
        assert raised.value.status == 404
    api.end_stream(call(ident=str(opened.id)))
    await player.over
    assert api.streams(call())["items"] == []
    rows, _ = await world.parts.audit.page(AuditFilter(action="superior"), 10)
    assert [(row.who, row.subject, row.address) for _, row in rows] == [("eve", "13800138000_1", "192.0.2.7")]
    await until(lambda: world.stream() is None, "nobody holds the stream any more")


def asking(world: World, what: str, said: list[str], **change: Any) -> Asking:
    """``--ask`` as it is typed, against this world."""
    values: dict[str, Any] = {"plate": PLATE, "color": COLOR, "channel": 1, "media": "av", "seconds": 2.0, "save": None, "begin": None, "end": None}
    values |= {"control": [], "cross_domain": False, "patience": 30.0, **change}
    return Asking(world.superior, argparse.Namespace(ask=what, **values), said.append)


async def test_what_people_ask_a_simulated_superior_for_comes_into_files(world: World, tmp_path: Path) -> None:
    said: list[str] = []
    saved = tmp_path / "out.jt1078"
    live = asking(world, "live", said, save=saved, seconds=1.0)
    assert await live.run() == 0, said
    figures = live.figures
    assert (figures["answer"], figures["result"], figures["lost_packets"]) == ("0x1801", 0, 0)
    assert set(figures["codecs"]) == {"h264", "g711a"}
    assert figures["first_frame_ms"] < 3000
    packets = PacketReader(sim_bytes=6).feed(saved.read_bytes())
    assert saved.stat().st_size == figures["bytes"]
    assert len(packets) >= figures["frames"] > 10
    found = asking(world, "search", said)
    assert await found.run() == 0
    assert len(found.figures["items"]) > 10
    played = asking(world, "playback", said, begin="5400", seconds=0.8, control=["pause@0.3", "resume@0.5"])
    assert await played.run() == 0
    assert [(each["control"], each["result"]) for each in played.figures["controls"]] == [("pause", 0), ("resume", 0)]
    assert not world.bridge.permits(), "what was opened was stopped"
    got = asking(world, "download", said, begin="1900", end="1890", save=tmp_path / "file.h264")
    assert await got.run() == 0, said
    [told] = got.figures["files"]
    assert (tmp_path / "file.h264").stat().st_size == told["bytes"] > 10_000
    assert await asking(world, "live", said, plate="粤B00000", patience=0.2).run() == 3
    assert await asking(world, "search", said, begin="9999999", end="9999000").run() == 4
    assert not any(world.home in line for line in said)


async def test_live_against_a_playback_on_a_terminal_that_cannot_do_both_is_refused_and_named(world: World) -> None:
    world.parts.terminals.get(PHONE).playback_beside_live = False
    end = int(time.time()) - 3600
    asks = Asks(world.superior, PLATE, COLOR)
    played = await asks.playback(1, end - 600, end)
    assert played.result == 0
    player = asks.player(played, 1)
    world.players.append(player)
    await player.frames_came(5)
    assert (await asks.live(1)).result == 1
    (refused,) = world.bridge.refused("province")
    assert (refused["request"], refused["result"]) == ("0x9801", 1)
    assert "play" in refused["reason"]
    assert [each["kind"] for each in world.bridge.as_list("province")] == ["playback"], "it goes on"
    assert (await asks.live(2)).result == 0, "other channels are free"


async def test_a_9702_that_nobody_asked_for_gets_the_passwords(world: World) -> None:
    world.superior.passwords = ("", "")
    world.superior.send(TimePasswordAnswer(authorize_code_1="a" * 64, authorize_code_2="b" * 64), PLATE, COLOR)
    await until(lambda: len(world.superior.passwords[0]) == 64, "0x1701")
