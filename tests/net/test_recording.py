"""Recordings: what connections said, when, and whose they were."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest

from relay.jt808.header import Header
from relay.jt1078.packet import packetize
from relay.net import recorder as module
from relay.net.recorder import DatagramTaps, Recorder, RecordingNotPossible, Tap, recorder_of
from relay.net.recording import MAGIC, Event, Kind, Recording, RecordingError, RecordingWriter
from relay.net.scrub import Scrubber
from relay.settings import Log

PHONE = "013800138000"
SIM = "13800138000"
HEARTBEAT = Header(0x0002, PHONE, 1).encode()
OTHER = Header(0x0002, "013800138001", 1).encode()
MEDIA = b"".join(packetize(bytes(1500), sim=PHONE, channel=3, pt=98, data_type=0))


class World:
    """A recorder in a directory, and a clock."""

    def __init__(self, directory: Path, *subjects: str, **options: Any) -> None:
        self.now = 1_795_000_000.0
        self.recorder = Recorder(directory / "recordings", lambda: self.now, subjects, **options)

    def link(self, protocol: str = "jt808", **more: str) -> Tap:
        return self.recorder.tap(protocol, "tcp", "10.0.0.7:40112", "192.0.2.1:7808", **more)

    def events(self) -> list[Event]:
        (path,) = (self.recorder.directory).glob("*.jtrec")
        return list(Recording(path))


def kinds(events: list[Event]) -> list[tuple[str, int, bytes]]:
    return [(event.kind.name, event.link, event.data) for event in events]


def test_a_link_from_its_first_byte_on(tmp_path: Path) -> None:
    world = World(tmp_path, PHONE)
    tap = world.link()
    for place in range(len(HEARTBEAT)):
        tap.data_in(HEARTBEAT[place : place + 1])
    world.now += 0.5
    tap.data_out(b"answer")
    world.now += 0.5
    tap.data_in(b"more")
    tap.close("gone")
    tap.close("twice")
    events = world.events()
    assert kinds(events[:2]) == [("OPEN", 1, b""), ("IN", 1, b"\x7e")]
    assert events[0].info == {"protocol": "jt808", "transport": "tcp", "peer": "10.0.0.7:40112", "local": "192.0.2.1:7808", "initiator": "peer"}
    assert b"".join(event.data for event in events if event.kind is Kind.IN) == HEARTBEAT + b"more"
    assert [(event.kind.name, event.time - 1_795_000_000_000_000) for event in events[-3:]] == [("OUT", 500_000), ("IN", 1_000_000), ("CLOSE", 1_000_000)]
    assert events[-1].info == {"reason": "gone"}


def test_one_file_for_a_terminal_with_its_media(tmp_path: Path) -> None:
    world = World(tmp_path, SIM)
    signalling, media = world.link(), world.link("jt1078", kind="live")
    signalling.data_in(HEARTBEAT)
    media.data_in(MEDIA[:40])
    media.data_in(MEDIA[40:])
    signalling.data_out(b"x")
    assert kinds(world.events()) == [
        ("OPEN", 1, b""), ("IN", 1, HEARTBEAT), ("OPEN", 2, b""), ("IN", 2, MEDIA[:40]), ("IN", 2, MEDIA[40:]), ("OUT", 1, b"x"),
    ]  # fmt: skip
    assert world.events()[2].info["kind"] == "live"
    assert world.recorder.running == {SIM: next(world.recorder.directory.iterdir())}


def test_others_are_not_recorded(tmp_path: Path) -> None:
    world = World(tmp_path, PHONE)
    for data in (OTHER, b"\x7e\x00\x02garbage\x7e" + OTHER, b"".join(packetize(b"x", sim="5", channel=1, pt=98, data_type=0))):
        tap = world.link("jt1078" if data[:1] == b"0" else "jt808")
        tap.data_in(data)
        tap.data_out(b"y")
        tap.close("end")
    assert not world.recorder.directory.exists()


def test_everybody_is_recorded_with_a_star_but_superiors_by_name(tmp_path: Path) -> None:
    world = World(tmp_path, "*")
    world.link().data_in(HEARTBEAT)
    world.link().data_in(OTHER)
    world.link("jt809", name="province", initiator="us").data_in(b"[")
    assert sorted(world.recorder.running) == ["13800138000", "13800138001"]
    world.recorder.start("superior:province")
    world.link("jt809", name="province").data_in(b"[...")
    assert sorted(world.recorder.running)[-1] == "superior:province"
    names = sorted(path.name for path in world.recorder.directory.iterdir())
    assert names[-1].startswith("superior-province-2026")


def test_a_recording_begun_while_the_link_is_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    tap, silent = world.link(), world.link()
    tap.data_in(HEARTBEAT)
    path = world.recorder.start(SIM)
    tap.data_in(b"one")
    silent.data_in(HEARTBEAT)  # of the same terminal, known only now
    assert world.recorder.stop(SIM) == path
    tap.data_in(b"two")
    events = list(Recording(path))
    assert kinds(events) == [
        ("OPEN", 1, b""), ("NOTE", 1, b""), ("IN", 1, b"one"), ("OPEN", 2, b""), ("IN", 2, HEARTBEAT), ("NOTE", 0, b""),
    ]  # fmt: skip
    assert (events[1].info, events[-1].info) == ({"begun": "in the middle of the connection"}, {"ended": "stopped"})
    assert world.recorder.stop(SIM) is None
    assert world.recorder.start(SIM) != path


def test_a_recording_begun_again_before_the_link_has_said_anything(tmp_path: Path) -> None:
    world = World(tmp_path)
    tap = world.link()
    tap.data_in(HEARTBEAT)
    world.recorder.start(SIM)
    world.recorder.stop(SIM)
    again = world.recorder.start(SIM)
    tap.data_in(b"one")
    assert kinds(list(Recording(again))) == [("OPEN", 1, b""), ("NOTE", 1, b""), ("IN", 1, b"one")]


def test_a_recording_for_some_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    tap = world.link()
    tap.data_in(HEARTBEAT)
    path = world.recorder.start(SIM, 60)
    world.now += 59
    tap.data_in(b"a")
    world.now += 1
    tap.data_in(b"b")
    tap.data_in(b"c")
    assert [event.data for event in Recording(path) if event.kind is Kind.IN] == [b"a", b"b"]
    assert world.recorder.running == {}


def test_a_recording_has_a_limit(tmp_path: Path) -> None:
    world = World(tmp_path, PHONE, max_bytes=2000)
    tap = world.link()
    tap.data_in(HEARTBEAT)
    for _ in range(100):
        tap.data_in(bytes(100))
    (path,) = world.recorder.directory.iterdir()
    assert path.stat().st_size < 2300
    assert list(Recording(path))[-1].info == {"ended": "the limit of 2000 bytes"}


def test_what_waits_for_a_name_is_bounded(tmp_path: Path) -> None:
    world = World(tmp_path, "*")
    tap = world.link()
    for _ in range(3000):
        tap.data_in(bytes(100))
        assert sum(len(event.data) for event in tap._kept) <= module.UNNAMED_BYTES
    tap.data_in(HEARTBEAT)
    assert not world.recorder.directory.exists()


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    world = World(tmp_path, PHONE)
    world.link().data_in(HEARTBEAT)
    (path,) = world.recorder.directory.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("a file")
    world = World(tmp_path, PHONE)
    tap = world.link()
    tap.data_in(HEARTBEAT)
    tap.data_in(b"goes on")
    with pytest.raises(RecordingNotPossible, match="no recording of 13800138000"):
        world.recorder.start(SIM)


def test_a_disk_that_fails_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path, PHONE)
    tap = world.link()
    tap.data_in(HEARTBEAT)
    (file,) = world.recorder._files.values()
    assert file._writer is not None
    file._writer._file.close()
    file._writer._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    tap.data_in(b"x")
    tap.data_in(b"y")
    tap.close("end")
    assert world.recorder.running == {}


def test_scrubbed_as_it_is_written(tmp_path: Path) -> None:
    world = World(tmp_path, PHONE, scrubber=Scrubber)
    tap = world.link()
    tap.data_in(HEARTBEAT[:8])
    tap.data_in(HEARTBEAT[8:] + HEARTBEAT[:4])
    tap.close("end")
    world.recorder.close()
    (path,) = world.recorder.directory.iterdir()
    assert path.name.startswith("10000000001-")
    content = path.read_bytes()
    assert bytes.fromhex(PHONE) not in content
    assert b"13800138000" not in content
    assert b"10.0.0.7" not in content
    assert [event.kind.name for event in Recording(path)] == ["NOTE", "OPEN", "IN", "IN", "IN", "CLOSE", "NOTE"]


# the file


def write(path: Path, events: list[Event]) -> Path:
    with path.open("wb") as file:
        writer = RecordingWriter(file)
        for event in events:
            writer.write(event)
        assert writer.size == file.tell()
    return path


def test_a_process_that_dies_leaves_a_recording(tmp_path: Path) -> None:
    events = [Event(Kind.OPEN, 1, 5, info={"protocol": "jt808"}), Event(Kind.IN, 1, 6, b"abc"), Event(Kind.CLOSE, 1, 2**60, info={"reason": "粤"})]
    path = write(tmp_path / "a.jtrec", events)
    recording = Recording(path)
    assert list(recording) == events == list(recording)
    assert not recording.cut
    data = path.read_bytes()
    ends = [len(MAGIC)]
    for event in events:
        ends.append(ends[-1] + len(event.to_bytes()))
    for size in range(len(MAGIC), len(data)):
        path.write_bytes(data[:size])
        recording = Recording(path)
        assert list(recording) == events[: sum(end <= size for end in ends[1:])]
        assert recording.cut == (size not in ends)


def test_a_large_portion_becomes_several_records(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jtrec", [Event(Kind.IN, 1, 5, bytes(2_500_000))])
    assert [len(event.data) for event in Recording(path)] == [1_048_576, 1_048_576, 402_848]


def test_files_that_are_no_recordings(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"hello")
    with pytest.raises(RecordingError, match="is no recording"):
        Recording(path)
    assert not Recording.is_one(path)
    chance = random.Random(3)
    good = write(path, [Event(Kind.OPEN, 1, 5, info={"protocol": "jt808"}), Event(Kind.IN, 1, 6, b"abc")]).read_bytes()
    for _ in range(500):
        data = bytearray(good)
        data[chance.randrange(len(MAGIC), len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            list(Recording(path))
        except RecordingError:
            continue
    assert os.path.getsize(path) == len(good)


# the configuration


def test_what_the_configuration_asks_for(tmp_path: Path) -> None:
    with pytest.raises(RecordingNotPossible, match="record_dir"):
        recorder_of(Log(), lambda: 0.0).start(PHONE)
    made = recorder_of(Log(record_dir=str(tmp_path / "r"), record=(PHONE,), record_scrub=True, record_max_bytes=5000), lambda: 1_795_000_000.0)
    assert made is not None
    tap = made.tap("jt808", "tcp", "10.0.0.7:1", "192.0.2.1:7808")
    for _ in range(1000):
        tap.data_in(HEARTBEAT)
    (path,) = (tmp_path / "r").iterdir()
    assert path.name.startswith("10000000001-")
    assert 5000 <= path.stat().st_size < 5300


def test_the_configuration_changes(tmp_path: Path) -> None:
    world = World(tmp_path)
    one, two = world.link(), world.link()
    one.data_in(HEARTBEAT)
    two.data_in(OTHER)
    world.recorder.want([PHONE])
    assert list(world.recorder.running) == ["13800138000"]
    world.recorder.want(["*"])
    assert sorted(world.recorder.running) == ["13800138000", "13800138001"]
    world.recorder.want(["13800138001"])
    assert list(world.recorder.running) == ["13800138001"]
    world.recorder.want([])
    assert world.recorder.running == {}
    one.data_in(b"unheard")
    assert all(b"unheard" not in path.read_bytes() for path in world.recorder.directory.iterdir())


def test_a_udp_port_has_a_link_for_each_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, PHONE)
    taps = DatagramTaps(world.recorder, "jt808", "192.0.2.1:7808")
    taps.data_in(HEARTBEAT, ("10.0.0.7", 5000))
    taps.data_out(b"a", ("10.0.0.7", 5000))
    taps.data_in(OTHER, ("10.0.0.7", 5001))
    taps.data_in(HEARTBEAT, ("2001:db8::7", 5000))
    taps.close("closed")
    events = world.events()
    assert [event.info.get("peer") for event in events if event.kind is Kind.OPEN] == ["10.0.0.7:5000", "[2001:db8::7]:5000"]
    assert [event.kind.name for event in events] == ["OPEN", "IN", "OUT", "OPEN", "IN", "CLOSE", "CLOSE"]
    monkeypatch.setattr(module, "_ADDRESSES_MAX", 5)
    for port in range(50):
        taps.data_in(OTHER, ("10.0.0.8", port))
    assert len(taps._taps) == 5
    assert sum(map(len, world.recorder._taps.values())) == 5
