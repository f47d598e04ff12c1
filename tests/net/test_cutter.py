"""What people see who look at the links: only while they look, only what they want, no more than is good for the relay."""

from __future__ import annotations

from typing import Any

import pytest

from relay.core.inspector import MESSAGES_S, WATCHERS_MAX, Inspector, TooManyWatchersError, Wanted
from relay.jt808.header import Header
from relay.jt808.messages.general import Heartbeat, PlatformGeneralResponse
from relay.net.recorder import Recorder, Tap

PHONE = "13800138000"


class Scene:
    """An inspector behind a recorder that records nothing, as without ``log.record_dir``."""

    def __init__(self) -> None:
        self.now = 100.0
        self.explained: list[tuple[str, bytes]] = []
        self.inspector = Inspector(lambda: self.now, self.explain)
        self.recorder = Recorder(None, lambda: self.now, inspector=self.inspector)
        self.seen: list[dict[str, Any]] = []

    def explain(self, protocol: str, frame: bytes, subject: str) -> dict[str, Any]:
        self.explained.append((protocol, frame))
        return {"raw": frame.hex()}

    def tap(self, protocol: str = "jt808") -> Tap:
        return self.recorder.tap(protocol, "tcp", "10.0.0.7:1", "192.0.2.1:7808")


def heartbeat(serial: int, phone: str = PHONE) -> bytes:
    return Header(Heartbeat.KEY, phone.rjust(12, "0"), serial).encode(b"")


def test_nothing_is_cut_or_kept_while_nobody_looks() -> None:
    scene = Scene()
    tap = scene.tap()
    for serial in range(1000):
        tap.data_in(heartbeat(serial))
    assert scene.explained == []
    assert scene.recorder.running == {}
    stop = scene.inspector.watch(Wanted(), scene.seen.append)
    tap.data_in(heartbeat(7)[:9])
    tap.data_in(heartbeat(7)[9:])
    assert [(one["protocol"], one["direction"], one["subject"], one["peer"]) for one in scene.seen] == [("jt808", "in", PHONE, "10.0.0.7:1")]
    assert scene.seen[0]["raw"] == heartbeat(7).hex()
    stop()
    tap.data_in(heartbeat(8))
    assert len(scene.explained) == 1


def test_everybody_gets_what_they_want() -> None:
    scene = Scene()
    wishes: dict[str, Wanted] = {
        "other": Wanted(subject="13800138001"), "mine": Wanted(subject=PHONE), "answers": Wanted(message=0x8001), "out": Wanted(direction="out"),
        "media": Wanted(protocols=frozenset({"jt1078"})), "group": Wanted(sees=lambda sim: sim == PHONE), "others' group": Wanted(sees=lambda sim: False),
    }  # fmt: skip
    seen: dict[str, list[Any]] = {name: [] for name in wishes}
    for name, wish in wishes.items():
        scene.inspector.watch(wish, seen[name].append)
    tap = scene.tap()
    tap.data_in(heartbeat(1))
    tap.data_out(Header(PlatformGeneralResponse.KEY, PHONE.rjust(12, "0"), 1).encode(bytes(5)))
    assert {name: len(got) for name, got in seen.items()} == {"other": 0, "mine": 2, "answers": 1, "out": 1, "media": 0, "group": 2, "others' group": 0}
    assert len(scene.explained) == 2, "once for all who look"


def test_a_superiors_messages_are_found_by_family_and_kept_from_accounts_with_groups() -> None:
    scene = Scene()
    all_of, limited = [], []
    scene.inspector.watch(Wanted(subject="superior:province", message=0x1202), all_of.append)
    scene.inspector.watch(Wanted(sees=lambda sim: True), limited.append)
    tap = scene.recorder.tap("jt809", "tcp", "192.0.2.9:10709", "", kind="main", name="province", initiator="us")
    for kind in (0x1200, 0x1005):
        tap.data_out(b"\x5b" + bytes((0, 0, 0, 26, 0, 0, 0, 1)) + kind.to_bytes(2, "big") + bytes(14) + b"\x5d")
    assert (len(all_of), len(limited)) == (1, 0)


def test_what_is_too_much_is_counted_and_told_with_the_next() -> None:
    scene = Scene()
    scene.inspector.watch(Wanted(), scene.seen.append)
    tap = scene.tap()
    for serial in range(MESSAGES_S + 30):
        tap.data_in(heartbeat(serial))
    assert len(scene.seen) == len(scene.explained) == MESSAGES_S
    scene.now += 1
    tap.data_in(heartbeat(0))
    assert scene.seen[-1]["skipped"] == 30
    for _ in range(WATCHERS_MAX - 1):
        scene.inspector.watch(Wanted(), scene.seen.append)
    with pytest.raises(TooManyWatchersError):
        scene.inspector.watch(Wanted(), scene.seen.append)


def test_packets_are_found_in_the_middle_of_a_media_connection() -> None:
    scene = Scene()
    packet = bytes.fromhex("30316364 81 e2 0007 013800138000 01 00 0000018000000000 0000 0000 0004".replace(" ", "")) + b"\x00\x00\x01\x65"
    tap = scene.tap("jt1078")
    tap.data_in(packet)
    scene.inspector.watch(Wanted(), scene.seen.append)
    tap.data_in(b"the end of something" + packet + packet[:11])
    tap.data_in(packet[11:] + packet)
    assert [bytes.fromhex(one["raw"]) for one in scene.seen][:2] == [packet, packet]
