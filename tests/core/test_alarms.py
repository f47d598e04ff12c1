"""Alarms from what terminals report: begin, end, the same again, late, too many; what the rules do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from relay.core.alarm_reading import KINDS, Source, has_alarms, name_of
from relay.core.alarm_rules import Rules, matches
from relay.core.alarms import FLOOD, FLOOD_S, Alarms
from relay.core.events import BEIJING
from relay.core.link import TerminalOfflineError
from relay.jt808.items import AbnormalDriving, OverspeedAlarm, StorageFault, VideoAlarms, VideoLoss
from relay.jt808.messages.location import BatchLocation, Location, LocationReport
from relay.jt808.safety import AdasAlarm, AlarmSign, BlindSpotAlarm, Tire, TireAlarm, WideAlarmSign
from relay.settings import Rule
from relay.store.alarms import AlarmFilter, AlarmRow, AlarmStore, select
from relay.wire import Entry
from tests.core.fakes import PHONE, WALL, World
from tests.store.direct import DirectDatabase

T0 = int(WALL)


def digits(unix: float) -> str:
    return f"{datetime.fromtimestamp(unix, UTC).astimezone(BEIJING):%y%m%d%H%M%S}"


def sign(serial: int = 0, files: int = 2, at: float = T0) -> AlarmSign:
    return AlarmSign(terminal_id="T000001", time=digits(at), serial=serial, attachment_count=files, reserved=b"\0")


def adas(state: int = 1, event_type: int = 1, level: int = 2, **more: Any) -> AdasAlarm:
    return AdasAlarm(
        alarm_id=7, state=state, event_type=event_type, level=level, front_speed=40, front_distance=9, departure_type=0, road_sign_type=0, road_sign_value=0,
        speed=60, altitude=5, latitude=22_000_000, longitude=114_000_000, time=more.pop("time", digits(T0)), vehicle_status=1,
        alarm_sign=more.pop("alarm_sign", sign()),
    )  # fmt: skip


class Site:
    """A terminal that is online, and what becomes of its reports."""

    def __init__(self, path: Path) -> None:
        self.database = DirectDatabase(path)
        self.world = World()
        self.events: list[dict[str, Any]] = []
        self.world.events.subscribe(self.events.append)
        self.begin()
        self.device = self.world.online()
        self.now = T0

    def begin(self) -> None:
        self.alarms = Alarms(AlarmStore(self.database), self.world.clock, self.world.events, lambda: self.now)
        self.unwatch = self.world.terminals.learning.watch_locations(self.alarms.came)
        self.alarms.start()

    now: float = T0

    def location(self, alarm: int = 0, *items: Entry, at: float | None = None) -> dict[str, Any]:
        return {
            "alarm_flags": alarm, "status_flags": 3, "latitude": 22_500_000, "longitude": 114_000_000, "speed": 455,
            "time": digits(self.now if at is None else at), "items": list(items),
        }  # fmt: skip

    def report(self, alarm: int = 0, *items: Entry, after: float = 10) -> None:
        self.now += after
        self.world.clock.advance(after)
        self.device.say(LocationReport(**self.location(alarm, *items)))

    def late(self, *reports: dict[str, Any]) -> None:
        self.device.say(BatchLocation(count=len(reports), data_type=1, locations=[Location(**report) for report in reports]))

    def rows(self, **wanted: Any) -> list[AlarmRow]:
        self.alarms.batch.flush()
        return select(self.database.connection, AlarmFilter(**wanted), 1000)[::-1]

    def told(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "a.db")
    yield made
    made.alarms.stop()
    made.world.terminals.close()
    made.database.close()


def spans(rows: list[AlarmRow]) -> list[tuple[str, int, int, float, float | None]]:
    return [(row.kind, row.code, row.channel, row.began - T0, None if row.ended is None else row.ended - T0) for row in rows]


def test_a_bit_of_the_alarm_word_begins_and_ends(site: Site) -> None:
    site.report(0)
    site.report(0b10, OverspeedAlarm(position_type=1, area_id=9))
    site.report(0b11)
    site.report(0b01)
    assert spans(site.rows()) == [("terminal", 1, 0, 20, 40), ("terminal", 0, 0, 30, None)]
    first = site.rows()[0]
    assert (first.name, first.latitude, first.speed, first.detail["area_id"]) == ("overspeed (超速报警)", 22.5, 45.5, 9)
    assert [event["code"] for event in site.told("alarm.begin")] == [1, 0]
    assert [(event["code"], event["alarm"]) for event in site.told("alarm.end")] == [(1, first.id)]
    assert site.alarms.lasting == 1
    site.report(0)
    assert site.alarms.lasting == 0


def test_video_items_say_which_channel_storage_and_behaviour(site: Site) -> None:
    site.report(0, VideoAlarms(video_alarm_flags=0b100101), VideoLoss(video_loss_channels=0b101), StorageFault(storage_fault_flags=1 << 12))
    site.report(0, VideoAlarms(video_alarm_flags=0b100001), VideoLoss(video_loss_channels=0b100), AbnormalDriving(behavior_flags=0b11, fatigue_level=70))
    site.report(0)
    assert spans(site.rows()) == [
        ("video", 0, 1, 10, 20), ("video", 0, 3, 10, 30), ("storage", 0, 13, 10, 20), ("video", 5, 0, 10, 20), ("behaviour", 0, 0, 20, 30),
        ("behaviour", 1, 0, 20, 30),
    ]  # fmt: skip
    assert site.rows()[4].detail == {"fatigue_level": 70}
    assert name_of(Source("storage", 0, 13)) == "backup storage 1 fault (存储器故障)"


def test_a_safety_alarm_is_one_however_often_it_is_reported(site: Site) -> None:
    site.report(0, adas())
    site.report(0, adas())
    site.late(site.location(0, adas()))
    site.report(0, adas(state=2, time=digits(T0 + 25)))
    (row,) = site.rows()
    assert (row.kind, row.code, row.level, row.began - T0, row.ended, row.files_told, row.late) == ("adas", 1, 2, 0, T0 + 25, 2, False)
    assert row.sign == sign().encode()
    assert (row.name, row.latitude, row.speed) == ("ADAS: forward collision (前向碰撞)", 22.0, 60.0)
    assert (row.detail["front_distance"], row.detail["alarm_id"]) == (9, 7)
    assert len(site.told("alarm.begin")) == 1
    site.unwatch()
    site.begin()  # the relay was started anew
    site.report(0, adas())
    assert len(site.rows()) == 1


def test_an_event_and_an_end_without_a_begin_are_over_at_once(site: Site) -> None:
    site.report(0, adas(state=0, event_type=0x10, level=0), adas(state=2, event_type=2, alarm_sign=sign(1)))
    assert [(row.code, row.ended) for row in site.rows()] == [(0x10, T0), (2, T0)]
    assert site.alarms.lasting == 0


def test_a_second_begin_ends_the_first_whose_end_was_not_told(site: Site) -> None:
    site.report(0, adas())
    site.report(0, adas(alarm_sign=sign(1), time=digits(T0 + 20)))
    assert spans(site.rows()) == [("adas", 1, 0, 0, 20), ("adas", 1, 0, 20, None)]


def test_alarms_of_a_device_that_fills_in_no_number_are_told_apart_by_time(site: Site) -> None:
    empty = AlarmSign(terminal_id="", time="000000000000", serial=0, attachment_count=0, reserved=b"\0")
    for seconds in (0, 0, 30):
        site.report(0, adas(state=0, alarm_sign=empty, time=digits(T0 + seconds)))
    assert len(site.rows()) == 2


def test_other_dialects_and_items(site: Site) -> None:
    wide = WideAlarmSign(terminal_id="T000001", time=digits(T0), serial=3, attachment_count=1, reserved=b"\0\0")
    place = {"speed": 1, "altitude": 1, "latitude": 1, "longitude": 1, "time": digits(T0), "vehicle_status": 0}
    site.report(0, BlindSpotAlarm(alarm_id=1, state=1, event_type=2, alarm_sign=wide, **place))
    tires = [
        Tire(position=0, alarm_flags=1, pressure=800, temperature=30, battery=90),
        Tire(position=3, alarm_flags=0b1100, pressure=1, temperature=2, battery=3),
    ]
    site.report(0, TireAlarm(alarm_id=2, state=0, alarm_sign=sign(9), tires=tires, **place))
    first, second = site.rows()
    assert (first.kind, first.code, len(first.sign or b"")) == ("bsd", 2, 40)
    assert (second.kind, second.code, len(second.detail["tires"])) == ("tpms", 2, 2)


def test_reports_from_a_blind_area_are_alarms_of_their_own(site: Site) -> None:
    site.report(0b1, after=150)
    batch = [site.location(flags, at=T0 + at) for flags, at in ((0b10, 100), (0b10, 110), (0, 120), (0b10, 130))]
    site.late(*batch)
    site.late(*batch)
    assert [(row.code, row.began - T0, row.ended and row.ended - T0, row.late) for row in site.rows()] == [
        (0, 150, None, False), (1, 100, 110, True), (1, 130, 130, True),
    ]  # fmt: skip
    assert site.alarms.lasting == 1, "what lasts now is not touched"
    assert [event["late"] for event in site.told("alarm.begin")] == [False, True, True]


def test_what_lasts_is_known_after_a_restart(site: Site) -> None:
    site.report(0b1)
    site.alarms.stop()
    site.unwatch()
    site.begin()
    assert site.alarms.lasting == 1
    site.report(0b1)
    site.report(0)
    assert spans(site.rows()) == [("terminal", 0, 0, 10, 30)]


def test_reports_wait_while_the_store_is_read(site: Site) -> None:
    site.report(0b1)
    site.alarms.stop()
    site.unwatch()
    site.database.held = []
    site.begin()
    site.report(0)
    assert site.told("alarm.end") == []
    site.database.release()
    assert len(site.told("alarm.end")) == 1


def test_a_flood_is_cut_off_and_counted(site: Site) -> None:
    for number in range(FLOOD + 30):
        site.report(0, adas(state=0, alarm_sign=sign(number % 200, at=T0 + number)), after=0.1)
    assert len(site.rows()) == FLOOD
    assert site.alarms.counts["suppressed"] == 30
    assert len(site.told("alarm.flood")) == 1
    site.report(0, adas(state=0, alarm_sign=sign(250)), after=FLOOD_S + 1)
    assert len(site.rows()) == FLOOD + 1


def test_a_report_without_alarms_is_told_quickly() -> None:
    assert not has_alarms(LocationReport(latitude=0, longitude=0, time=digits(T0), items=[VideoAlarms(video_alarm_flags=0)]))
    assert has_alarms(LocationReport(latitude=0, longitude=0, time=digits(T0), items=[VideoLoss(video_loss_channels=1)]))


# ---- rules --------------------------------------------------------------------------------------------------------------------


class Doers:
    """What rules act with."""

    def __init__(self, site: Site, *rules: Rule) -> None:
        self.rules = Rules(rules, site.world.terminals, site.world.events, site.world.clock.seconds)
        site.alarms.watch(self.rules.alarm)
        self.rules.recorder = self.rules.fetcher = self  # type: ignore[assignment]
        self.rules.snapshot = self.snapshot
        self.did: list[tuple[Any, ...]] = []
        self.answer: Deferred[object] | None = None

    def start(self, sim: str, channel: int, seconds: float, why: str) -> None:
        self.did.append(("record", sim, channel, seconds, why.partition(",")[0]))

    def snapshot(self, sim: str, channel: int, who: str) -> Deferred[object]:
        self.did.append(("snapshot", sim, channel, who))
        return fail(TerminalOfflineError(sim, "terminal is not online"))

    def request(self, row: AlarmRow, who: str) -> None:
        self.did.append(("fetch", row.code, who))


SIM = PHONE.lstrip("0")


def test_rules_choose_by_kind_level_and_terminal(site: Site) -> None:
    doers = Doers(
        site,
        Rule("all", attachments=True),
        Rule("grave", alarms=("adas", "terminal.0"), level=2, record_s=30, channels=("1", "2")),
        Rule("others", terminals=("13900139000",), attachments=True),
        Rule("mine", alarms=("terminal.0",), terminals=(PHONE,), snapshot=True),
        Rule("fleet", terminals=("group:north",), attachments=True),
    )
    site.report(0b1, adas(), adas(event_type=3, level=1, alarm_sign=sign(1)))
    assert doers.did == [
        ("snapshot", SIM, 1, "rule:mine"),
        ("fetch", 1, "rule:all"),
        ("record", SIM, 1, 30, "rule:grave"),
        ("record", SIM, 2, 30, "rule:grave"),
        ("fetch", 3, "rule:all"),
    ]
    assert [event["rule"] for event in site.told("rule.fired")] == ["all", "mine", "all", "grave", "all"]
    assert [(event["rule"], event["what"]) for event in site.told("rule.failed")] == [("mine", "snapshot")]


def test_rules_act_so_often_and_not_on_what_is_over(site: Site) -> None:
    doers = Doers(site, Rule("r", record_s=5, attachments=True, every_s=15))
    site.report(0b1)
    site.report(0b11)
    site.report(0b111)
    assert [did[0] for did in doers.did] == ["record", "record"]
    site.late(site.location(0b1000, adas(alarm_sign=sign(5)), at=T0 - 1000))
    assert [did[0] for did in doers.did] == ["record", "record", "fetch"]


def test_patterns() -> None:
    row = AlarmRow("", "", "dsm", 10, 0, "", 0, 0.0, None, 0.0, False, 0.0, 0.0, 0.0, "", None, 0, "", None, {}, None, "", "")
    assert [matches(pattern, row) for pattern in ("*", "dsm", "dsm.10", "dsm.0x0A", "dsm.1", "adas")] == [True, True, True, True, False, False]
    assert "dsm" in KINDS
