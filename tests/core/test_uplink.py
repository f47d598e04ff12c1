"""What superiors ask and who answers: platforms' duties, vehicles' duties, people, passwords, alarms."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from relay.core.alarm_types import alarm_table
from relay.core.superior_requests import EXPIRED
from relay.core.time_passwords import Passwords
from relay.jt808.items import VideoAlarms
from relay.jt808.messages.data import DriverIdentity, RecorderData
from relay.jt808.messages.location import BaseLocation
from relay.jt808.messages.multimedia import MultimediaData, TakePhotoResponse
from relay.jt809.cipher import CipherKeys
from relay.jt809.header import Header, decode_frame, encode_frame
from relay.jt809.messages.alarms import SupervisionRequest
from relay.jt809.messages.exchange import DriverInfoRequest, ExchangeEnd, ExchangeStart, RouteRequest, VehicleRegistrationAnswer, WaybillRequest
from relay.jt809.messages.link import LinkReportRequest, SerialNotice, SerialNumbersDown
from relay.jt809.messages.platform import PlatformInfo, PostQuery, ResendRequestDown
from relay.jt809.messages.supervision import CarInfoRequest, EmergencyRequest, ListenRequest, PhotoRequest, RecorderRequest, TextRequest
from relay.jt809.messages.video import LiveRequest
from relay.store.alarms import AlarmRow
from relay.store.schema import migrate
from relay.store.superiors import PasswordRow
from relay.store.terminals import KnownTerminal
from tests.core.fakes import WALL, Device, Rows
from tests.core.superior_world import COLOR, NEW, PLATE, Peer, SuperiorWorld, SyncDatabase, location, report, superior_settings
from tests.shared import load_vectors


class Scene:
    """Two superiors, one terminal online, everything said so far read."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.world = SuperiorWorld(folder, superior_settings(**more), superior_settings("b", **NEW, **more))
        self.new, self.old = self.world.main("b"), self.world.main("a")
        self.device: Device = self.world.online()
        self.read()

    def read(self) -> None:
        self.new.read()
        self.old.read()

    def peers(self) -> list[Peer]:
        return [self.old, self.new]


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    made = Scene(tmp_path)
    yield made
    made.world.finish()


def commands(scene: Scene) -> list[Any]:
    return scene.device.commands()


# -- between platforms


def test_link_report(scene: Scene) -> None:
    sub = scene.world.sub("b")
    scene.new.lose()
    sub.lose()
    scene.world.advance(30.0, 0.5)
    peer = scene.world.main("b")
    scene.world.advance(1.0)
    peer.read()
    now = int(scene.world.wall())
    peer.send(LinkReportRequest(platform_id="44030012345", start_time=now - 600, end_time=now + 1))
    answer = peer.answer(0x1102)
    assert (answer.lose_dynamic_sum, answer.disconnect_num) == (0, 1)
    assert 28 <= answer.disconnect_time <= 33


def test_a_hole_in_the_superiors_numbers_is_asked_for_and_ours_are_sent_again(scene: Scene) -> None:
    peer = scene.new
    peer.send(VehicleRegistrationAnswer(source_data_type=0x1201, source_msg_sn=0, result=0), form="P")
    have = peer.sn - 1
    peer.send(SerialNumbersDown(items=[SerialNotice(sub_data_type=0x9201, msg_sn=have + 2, time=int(WALL))]))
    wanted = peer.answer(0x1303)
    assert (wanted.retran_data_type, wanted.begin_msg_sn, wanted.end_msg_sn, wanted.serial_count) == (0x9201, have + 1, have + 2, 2)
    peer.send(ResendRequestDown(retran_data_type=0x1201, serial_count=1, begin_msg_sn=0, end_msg_sn=0, time=int(WALL)))
    assert peer.kinds() == [0x1201]


def test_serial_numbers_are_told_once_both_links_are_up(scene: Scene) -> None:
    scene.world.sub("b")
    told = scene.new.answer(0x1103)
    assert {item.sub_data_type: item.msg_sn for item in told.items} == {0x1201: 0, 0x1701: 0}


def test_messages_between_platforms_are_told_and_acknowledged(scene: Scene) -> None:
    for peer, info_id in zip(scene.peers(), (77, None), strict=True):
        sn = peer.send(PlatformInfo(object_type=1, object_id="12345", info_id=77, info_content="今日检修"))
        answer = peer.answer(0x1302)
        assert (answer.info_id, answer.source_msg_sn) == (info_id, None if info_id else sn)
    texts = [event["fields"]["data"]["info_content"] for event in scene.world.told if event["event"] == "superior.message"]
    assert texts == ["今日检修"] * 2


def test_a_post_query_by_rule(tmp_path: Path) -> None:
    scene = Scene(tmp_path, post_query_rules=("*在岗* => 在岗", "1+1=* => 2"), responder="张三", responder_tel="0755")
    for peer in scene.peers():
        sn = peer.send(PostQuery(object_type=1, object_id="111", answer_time=5 if peer is scene.new else None, info_id=9, info_content="是否在岗？"))
        answer = peer.answer(0x1301)
        assert (answer.object_type, answer.object_id, answer.info_content) == (1, "111", "在岗")
        if peer is scene.old:
            assert answer.info_id == 9
        else:
            assert (answer.source_data_type, answer.source_msg_sn, answer.responder, answer.responder_tel) == (0x9301, sn, "张三", "0755")
    scene.world.finish()


def test_a_post_query_by_a_person_and_one_that_is_late(scene: Scene) -> None:
    peer, requests = scene.new, scene.world.superiors.requests
    peer.send(PostQuery(object_type=1, object_id="111", answer_time=2, info_id=9, info_content="1+1=?"))
    assert peer.read() == []
    (waiting,) = requests.of("b", waiting=True)
    assert waiting.deadline == scene.world.wall() + 120
    assert requests.answer(waiting, {"text": "2", "responder": "李四", "responder_tel": ""}, "operator")
    answer = peer.answer(0x1301)
    assert (answer.info_content, answer.responder) == ("2", "李四")
    peer.send(PostQuery(object_type=1, object_id="111", answer_time=1, info_id=10, info_content="在吗"))
    scene.world.advance(62.0, 1.0)
    late = requests.of("b")[0]
    assert late.state == EXPIRED and requests.open_count("b") == 0
    assert [event["state"] for event in scene.world.told if event["event"] == "superior.request"] == ["waiting", "answered", "waiting", "expired"]


def test_an_answer_while_no_link_is_up_goes_on_waiting(scene: Scene) -> None:
    scene.old.send(PostQuery(object_type=1, object_id="1", info_id=1, info_content="x"))
    (waiting,) = scene.world.superiors.requests.of("a")
    scene.old.lose()
    assert not scene.world.superiors.requests.answer(waiting, {"text": "y"}, "operator")
    assert waiting.state == "waiting"


def test_supervision_requests_are_answered_by_a_person(scene: Scene) -> None:
    now = int(scene.world.wall())
    common: dict[str, Any] = {"warn_time": now, "supervision_endtime": now + 60, "supervision_level": 0, "supervisor": "王五"}
    common |= {"supervisor_tel": "1", "supervisor_email": "a@b"}
    scene.old.send(SupervisionRequest(warn_src=1, warn_type=2, supervision_id=5, **common), PLATE, COLOR)
    sn = scene.new.send(SupervisionRequest(source_platform_id="44030012345", source_data_type=0x1402, source_msg_sn=3, **common))
    requests = scene.world.superiors.requests
    for name in "ab":
        (one,) = requests.of(name)
        assert one.deadline == now + 60
        assert requests.answer(one, {"result": "done"}, "x")
    assert (scene.old.answer(0x1401).fields()) == {"supervision_id": 5, "result": 1}
    answer = scene.new.answer(0x1401)
    assert (answer.source_data_type, answer.source_msg_sn, answer.result) == (0x9401, sn, 1)


def test_static_data_of_vehicles_seen_known_and_unknown(tmp_path: Path) -> None:
    details = {"OWERS_NAME": "某;公司"}
    rows = Rows(KnownTerminal(phone="013800138000", plate=PLATE, plate_color=COLOR), KnownTerminal(phone="2", plate="粤B99999", plate_color=2, details=details))
    world = SuperiorWorld(tmp_path, superior_settings(), rows=rows)
    peer = world.main("a")
    world.online()
    peer.read()
    peer.send(CarInfoRequest(), PLATE, COLOR)
    assert peer.answer(0x1601).car_info.startswith(f"VIN:={PLATE};VEHICLE_COLOR:=1;VEHICLE_TYPE:=;")
    peer.send(CarInfoRequest(), "粤B99999", 2)
    assert peer.answer(0x1601).car_info.endswith(";OWERS_ID:=;OWERS_NAME:=某 公司;OWERS_TEL:=")
    peer.send(CarInfoRequest(), "粤B00000", 2)
    assert peer.read() == [] and world["a"].counts["static data of unknown vehicles asked for"] == 1
    world.finish()


def test_exchange_is_acknowledged_in_its_editions_envelope(scene: Scene) -> None:
    report(scene.device, 1)
    scene.read()
    for peer in scene.peers():
        sn = peer.send(ExchangeStart(reason_code=2), PLATE, COLOR)
        (_, first), (_, second) = peer.read()
        assert (first.data_type, second.data_type, first.vehicle_no) == (0x1205, 0x1202, PLATE), "an emergency brings the position at once"
        if peer is scene.new:
            assert (first.form, first.source_data_type, first.source_msg_sn) == ("A", 0x9205, sn)
        peer.send(ExchangeEnd(reason_code=0), PLATE, COLOR)
        assert peer.kinds() == [0x1206]


def test_what_nobody_handles_is_counted_and_the_link_lives(scene: Scene) -> None:
    scene.old.send(LiveRequest(channel_id=1, avitem_type=0, authorize_code="x" * 64), PLATE, COLOR)
    scene.old.raw(0x7777, b"?")
    assert scene.world.superiors.uplink.counts["not handled"] == 2
    scene.old.raw(0x9005)
    assert scene.old.kinds() == [0x9006]


def test_a_handler_may_be_added_and_its_fault_costs_only_its_answer(scene: Scene, logged_errors: Any) -> None:
    seen: list[Any] = []

    def handler(superior: Any, request: Any, reply: Any) -> None:
        seen.append((superior.name, request.plate, request.color, request.data.channel_id))
        raise ZeroDivisionError

    scene.world.superiors.uplink.on(0x9800, 0x9801, handler)
    scene.new.send(LiveRequest(channel_id=3, avitem_type=0, authorize_code="x" * 64), PLATE, COLOR)
    assert seen == [("b", PLATE, COLOR, 3)]
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    scene.new.raw(0x9005)
    assert scene.new.kinds() == [0x9006]


# -- vehicles


@pytest.mark.parametrize("result", [0, 1])
def test_texts_and_listen_in(scene: Scene, result: int) -> None:
    for peer in scene.peers():
        sn = peer.send(TextRequest(msg_sequence=7, msg_priority=0, msg_content="前方事故"), PLATE, COLOR)
        ((header, message),) = commands(scene)
        assert (message.text, message.flags & 1) == ("前方事故", 1)
        scene.device.answer(header, result)
        answer = peer.answer(0x1503)
        assert answer.result == result and (answer.msg_id == 7 if peer is scene.old else answer.source_msg_sn == sn)
        peer.send(ListenRequest(monitor_tel="075512345"), PLATE, COLOR)
        ((header, message),) = commands(scene)
        assert (message.KEY, message.flag, message.phone) == (0x8400, 1, "075512345")
        scene.device.answer(header, result)
        assert peer.answer(0x1501).result == result


def test_requests_for_vehicles_that_are_not_this_superiors_fail(tmp_path: Path) -> None:
    scene = Scene(tmp_path, vehicles=("京*",))
    scene.old.send(TextRequest(msg_sequence=7, msg_priority=0, msg_content="x"), PLATE, COLOR)
    scene.old.send(EmergencyRequest(**emergency(scene)), PLATE, COLOR)
    assert [business.data.result for _, business in scene.old.read()] == [1, 1]  # type: ignore[union-attr]
    assert commands(scene) == []
    scene.world.finish()


def test_a_vehicle_that_is_known_and_not_there_is_offline(tmp_path: Path) -> None:
    world = SuperiorWorld(tmp_path, superior_settings())
    peer = world.main("a")
    peer.read()
    peer.send(PhotoRequest(lens_id=1, size=1), PLATE, COLOR)
    assert peer.answer(0x1502).photo_rsp_flag == 3
    peer.send(PhotoRequest(lens_id=1, size=1), PLATE, 9)
    assert peer.answer(0x1502).photo_rsp_flag == 9
    world.finish()


def emergency(scene: Scene) -> dict[str, Any]:
    return {
        "authentication_code": bytes(10), "access_point_name": "CMNET", "username": "u", "password": "p", "server_ip": "198.51.100.7", "tcp_port": 7000,
        "udp_port": 7001, "end_time": int(scene.world.wall()) + 7200,
    }  # fmt: skip


def test_emergency_access(scene: Scene) -> None:
    scene.new.send(EmergencyRequest(**emergency(scene)), PLATE, COLOR)
    ((header, message),) = commands(scene)
    assert (message.KEY, message.command) == (0x8105, 2)
    assert str(message.command_params).split(";") == ["0", "00" * 10, "CMNET", "u", "p", "198.51.100.7", "7000", "7001", "ABCDE", "120"]
    scene.device.answer(header)
    assert scene.new.answer(0x1505).result == 0
    assert [(who, action) for who, action, *_ in scene.world.audit] == [("superior:b", "message")]


def test_a_photo(scene: Scene) -> None:
    for peer in scene.peers():
        peer.send(PhotoRequest(lens_id=2, size=2), PLATE, COLOR)
        ((header, message),) = commands(scene)
        assert (message.channel_id, message.command, message.resolution) == (2, 1, 2)
        scene.device.say(TakePhotoResponse(reply_serial=header.serial, result=0, media_ids=[5]))
        where = BaseLocation(latitude=22577648, longitude=113937930, time="261129154000", status_flags=3)
        scene.device.say(MultimediaData(media_id=4, media_type=0, media_format=0, event_code=0, channel_id=1, location=where, data=b"other"))
        assert peer.read() == []
        scene.device.say(MultimediaData(media_id=5, media_type=0, media_format=0, event_code=0, channel_id=2, location=where, data=b"\xff\xd8jpeg"))
        answer = peer.answer(0x1502)
        assert (answer.photo_rsp_flag, answer.photo, answer.lens_id, answer.type) == (1, b"\xff\xd8jpeg", 2, 1)
        assert answer.gnss.lat == 22577648 if peer is scene.old else answer.gnss.data_length == 28


def test_a_photo_that_takes_long_is_announced_and_sent_later(scene: Scene) -> None:
    scene.old.send(PhotoRequest(lens_id=1, size=1), PLATE, COLOR)
    ((header, _),) = commands(scene)
    scene.device.answer(header)
    scene.world.advance(21.0, 1.0)
    assert scene.old.answer(0x1502).photo_rsp_flag == 2
    where = BaseLocation(latitude=1, longitude=2, time="261129154000")
    scene.device.say(MultimediaData(media_id=5, media_type=0, media_format=0, event_code=0, channel_id=1, location=where, data=b"late"))
    answer = scene.old.answer(0x1502)
    assert (answer.photo_rsp_flag, answer.photo) == (1, b"late")


def test_photos_that_cannot_be_taken(scene: Scene) -> None:
    scene.old.send(PhotoRequest(lens_id=9, size=1), PLATE, COLOR)
    ((header, _),) = commands(scene)
    scene.device.say(TakePhotoResponse(reply_serial=header.serial, result=2))
    assert scene.old.answer(0x1502).photo_rsp_flag == 4
    scene.old.send(PhotoRequest(lens_id=1, size=1), PLATE, COLOR)
    ((header, _),) = commands(scene)
    scene.device.answer(header, 3)
    assert scene.old.answer(0x1502).photo_rsp_flag == 0
    scene.old.send(PhotoRequest(lens_id=1, size=1), "粤B00000", COLOR)
    assert scene.old.answer(0x1502).photo_rsp_flag == 9
    assert scene.device.link is not None
    scene.device.link.lost("gone")
    scene.old.send(PhotoRequest(lens_id=1, size=1), PLATE, COLOR)
    assert scene.old.answer(0x1502).photo_rsp_flag == 3


def test_recorder_data(scene: Scene) -> None:
    for peer, request in ((scene.old, RecorderRequest(command_type=8)), (scene.new, RecorderRequest(command_type=8, start_time=1, end_time=2))):
        peer.send(request, PLATE, COLOR)
        ((header, message),) = commands(scene)
        assert (message.command, len(message.data)) == (8, 0 if peer is scene.old else 14)
        scene.device.say(RecorderData(reply_serial=header.serial, command=8, data=b"\x55\x7a\x08"))
        answer = peer.answer(0x1504)
        assert (answer.command_type, answer.traveldata_info) == (8, b"\x55\x7a\x08")


def test_drivers_and_waybills(scene: Scene) -> None:
    scene.device.say(
        DriverIdentity(
            status=1, time="261129154000", read_result=0, driver_name="张三", license_no="4403", issuer="交通局", valid_until="20300101",
            edition=2013,
        )
    )  # fmt: skip
    scene.device.send(0x0701, (4).to_bytes(4, "big") + "运单".encode("gbk"))
    for peer in scene.peers():
        told = [business.data for _, business in peer.read()]
        assert [type(one).__name__ for one in told] == ["DriverInfoReport", "WaybillReport"]
        driver: Any = told[0]
        assert (driver.driver_name, driver.licence, driver.org_name) == ("张三", "4403", "交通局")
        peer.send(DriverInfoRequest(flag=0 if peer is scene.new else None), PLATE, COLOR)
        answer = peer.answer(0x120A)
        assert answer.driver_name == "张三"
        assert peer is scene.old or answer.valid_date == 1893427200
        peer.send(WaybillRequest(), PLATE, COLOR)
        assert peer.answer(0x120B).ewaybill_info == "运单"
    scene.new.send(RouteRequest(), PLATE, COLOR)
    assert scene.new.read() == []


# -- alarms


def test_alarms_are_told_when_they_begin(scene: Scene) -> None:
    scene.device.say(location(1, alarm=0b11, items=[VideoAlarms(video_alarm_flags=0b10)]))
    scene.device.say(location(2, alarm=0b11, items=[VideoAlarms(video_alarm_flags=0b10)]))
    scene.device.say(location(3, alarm=0))
    scene.device.say(location(4, alarm=0b01))
    for peer in scene.peers():
        alarms: list[Any] = [business for _, business in peer.read() if business.data_type == 0x1402]
        assert [business.data.warn_type for business in alarms] == [3, 1, 0x0102, 3]
        assert alarms[0].data.info_content == "紧急报警"
        plate = alarms[0].vehicle_no if peer is scene.old else alarms[0].data.vehicle_no
        assert plate == PLATE


def test_active_safety_alarms_are_told_when_they_begin(scene: Scene) -> None:
    row = AlarmRow(
        "1", scene.device.phone.lstrip("0"), "adas", 1, 0, "forward collision", 2, WALL, None, WALL, False, 22.5, 113.9, 50.0, "x", None, 0, "", None, {},
        None, "", "",
    )  # fmt: skip
    tell = scene.world.superiors.safety_alarm
    tell("begin", row)
    tell("end", row)
    for other in (row._replace(late=True), row._replace(kind="terminal"), row._replace(code=9)):
        tell("begin", other)
    tell("begin", row._replace(kind="tpms", code=3))
    for peer in scene.peers():
        alarms: list[Any] = [business.data for _, business in peer.read()]
        assert [(alarm.warn_type, alarm.warn_time) for alarm in alarms] == [(0x0011, WALL), (0x0013, WALL)]


def test_alarms_wait_too(scene: Scene) -> None:
    scene.old.lose()
    report(scene.device, 1, alarm=1)
    scene.world.advance(8.0)
    peer = scene.world.main("a")
    scene.world.advance(1.0)
    assert sorted(peer.kinds()) == [0x1201, 0x1203, 0x1402, 0x1701]


def test_the_table_of_alarms_can_be_changed() -> None:
    table = alarm_table(["1=0", "4=0x00FF", "0=14", "dsm.4=0x0010", "adas.1=0"])
    assert table["dsm.4"].warn_type == 0x10 and "adas.1" not in table
    assert 1 not in table and table[4].warn_type == 0xFF and table[0] == (14, "紧急报警")


# -- passwords


def test_passwords_are_kept_renewed_and_overlap() -> None:
    now = 1000.0
    kept: dict[str, PasswordRow] = {}
    passwords = Passwords(lambda: now, kept.__setitem__)
    passwords.renew("a")
    assert passwords.age_s("a") == 0.0, "before what is kept has been read"
    passwords.add("a", 86400, 600)
    passwords.add("b", 86400, 600)
    home, cross = passwords.pair("a")
    assert home != cross and len(home) == len(cross) == 64 and (home + cross).isalnum() and (home + cross).isascii()
    assert passwords.check("a", home) == ("a", "home") and passwords.check(None, cross) == ("a", "cross-domain")
    assert passwords.check("b", home) is None and passwords.check(None, "") is None and passwords.check(None, "字" * 64) is None
    now += 86399
    assert not passwords.renew_if_due("a")
    now += 1
    assert passwords.renew_if_due("a") and passwords.pair("a")[0] != home
    assert passwords.check("a", home) == ("a", "home"), "still valid for the overlap"
    now += 600
    assert passwords.check("a", home) is None
    again = Passwords(lambda: now, kept.__setitem__)
    again.add("a", 86400, 600, kept["a"])
    assert again.pair("a") == passwords.pair("a") and again.age_s("a") == 600
    now -= 10000  # the clock was set back: whether the pair has served its time cannot be told
    assert again.renew_if_due("a")


def test_passwords_are_reported_at_renewal_and_survive_a_restart(tmp_path: Path) -> None:
    world = SuperiorWorld(tmp_path, superior_settings(passwords_life_s=600))
    first = world.main("a").answer(0x1701)
    world.finish()
    world = SuperiorWorld(tmp_path, superior_settings(passwords_life_s=600))
    peer = world.main("a")
    again = peer.answer(0x1701)
    assert (first.platform_id, first.authorize_code_1) == ("44030012345", again.authorize_code_1)
    world.advance(610.0, 10.0)
    peer.raw(0x1006)
    renewed = [business.data for _, business in peer.read() if business.data_type == 0x1701]
    assert len(renewed) <= 1
    assert world.superiors.passwords.check("a", again.authorize_code_1) is not None
    assert again.authorize_code_1 not in repr(world.superiors.passwords.__dict__) and again.authorize_code_1 not in str(world["a"].as_dict())
    world.finish()


def test_the_dialect_of_0x1701_with_an_envelope(tmp_path: Path) -> None:
    world = SuperiorWorld(tmp_path, superior_settings(passwords_in_envelope=True))
    ((header, business),) = world.main("a").read()
    assert (header.msg_length, business.form) == (26 + 167, "V")
    world.finish()


# -- everything a superior may say


def spoken(edition: int) -> list[tuple[str, int, bytes]]:
    """Every body of the vectors of an edition that goes down and is no link message."""
    found = []
    for vector in load_vectors("jt809"):
        msg_id = int(vector["msg_id"], 16) if vector.get("msg_id") else 0
        if vector["kind"] not in ("body", "frame") or msg_id < 0x9100 or vector.get("expect") == "reject" or int(vector["version"]) != edition:
            continue
        raw = bytes.fromhex(vector["hex"])
        if vector["kind"] == "frame":
            keys = CipherKeys(**vector["crypto"]) if "crypto" in vector else None
            raw = decode_frame(raw, edition, keys)[1]
        found.append((vector["id"], msg_id, raw))
    return found


@pytest.mark.parametrize("edition", [2011, 2019])
@pytest.mark.parametrize("by", ["main", "sub"])
def test_whatever_a_superior_says_on_either_link_neither_fails_nor_ends_it(scene: Scene, edition: int, by: str) -> None:
    name, peer = ("b", scene.new) if edition >= 2019 else ("a", scene.old)
    link = peer if by == "main" else scene.world.sub(name)
    said = spoken(edition)
    if not said:
        pytest.skip("shared/vectors/jt809.jsonl is not there")
    for id, msg_id, body in said:
        for cut in (body, body[: len(body) // 2], body + b"\0"):
            link.raw(msg_id, cut)
        link.raw(0x9005)
        assert 0x9006 in link.kinds(), id
        assert scene.world.superiors.uplink.counts["failed"] == 0, id
    scene.world.advance(40.0, 1.0)  # what was asked of the terminal is not answered
    assert scene.world[name].received and scene.world.superiors.uplink.counts["failed"] == 0


@pytest.mark.parametrize("seed", range(20))
def test_noise_and_spoilt_frames_cost_only_themselves(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    scene = Scene(tmp_path)
    sub = scene.world.sub("a")
    peers = [scene.old, scene.new, sub]
    for _ in range(60):
        peer = rng.choice(peers)
        options = peer.superior.options
        body = rng.randbytes(rng.randrange(80))
        msg_id = rng.choice([0x9200, 0x9300, 0x9400, 0x9500, 0x9800, 0x1002, 0x9001, rng.randrange(0x10000)])
        header = Header(msg_id, 0, rng.randrange(2**32), edition=options.edition)
        if header.msg_id in (0x9003, 0x9008):
            continue
        data = bytearray(encode_frame(header, body, options.keys))
        for _ in range(rng.randrange(3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        at = rng.randrange(len(data))
        peer.link.received(bytes(data[:at]))
        peer.link.received(bytes(data[at:]))
    for peer in peers:
        peer.link.received(b"\x5d")
        peer.raw(0x9005)
        assert 0x9006 in peer.kinds(), "the link lives"
    scene.world.finish()


# -- people's requests over a restart


class FullStore:
    """``person_requests`` in a file of its own, over several worlds; ``broken`` refuses everything."""

    def __init__(self, folder: Path) -> None:
        from relay.store.person_requests import PersonRequestStore

        self.database = SyncDatabase(folder / "relay.db", migrate)
        self.rows = PersonRequestStore(self.database)  # type: ignore[arg-type]


def restarted(folder: Path, store: FullStore, later_s: float = 0.0, names: str = "ab") -> tuple[SuperiorWorld, list[tuple[str, ...]]]:
    """A relay that starts over what another left, so much later."""
    settings = [superior_settings() if name == "a" else superior_settings("b", **NEW) for name in names]
    world = SuperiorWorld(folder, *settings, start=False)
    world.clock.advance(later_s)
    audit: list[tuple[str, ...]] = []
    world.superiors.requests.keep(store.rows, lambda *entry: audit.append(entry))
    world.superiors.start()
    return world, audit


def asked(folder: Path, store: FullStore) -> tuple[SuperiorWorld, list[tuple[str, ...]], dict[str, int]]:
    """Both superiors have asked a post query, and what is a supervision request; nobody has answered. The serial numbers of b's messages."""
    world, audit = restarted(folder, store)
    new, old = world.main("b"), world.main("a")
    now = int(world.wall())
    sent = {"post": new.send(PostQuery(object_type=1, object_id="111", answer_time=2, info_id=9, info_content="1+1=?"))}
    old.send(PostQuery(object_type=1, object_id="1", info_id=7, info_content="在岗？"))
    common: dict[str, Any] = {"warn_time": now, "supervision_endtime": now + 3600, "supervision_level": 0, "supervisor": "王五"}
    common |= {"supervisor_tel": "1", "supervisor_email": "a@b"}
    old.send(SupervisionRequest(warn_src=1, warn_type=2, supervision_id=5, **common), PLATE, COLOR)
    sent["supervision"] = new.send(SupervisionRequest(source_platform_id="44030012345", source_data_type=0x1402, source_msg_sn=3, **common))
    return world, audit, sent


def test_what_waits_for_a_person_can_be_answered_after_a_restart(tmp_path: Path) -> None:
    store = FullStore(tmp_path)
    former, _, sent = asked(tmp_path, store)
    before = {name: [one.as_dict() for one in former.superiors.requests.of(name)] for name in "ab"}
    former.finish()
    world, audit = restarted(tmp_path, store, 60.0)
    requests = world.superiors.requests
    assert {name: [one.as_dict() for one in requests.of(name)] for name in "ab"} == before
    assert requests.open_count("a") == requests.open_count("b") == 2
    (post,) = [one for one in requests.of("b") if one.kind == "post_query"]
    assert not requests.answer(post, {"text": "2"}, "ann"), "the superior is not linked yet"
    new, old = world.main("b"), world.main("a")
    for peer in (new, old):
        peer.read()
    assert requests.answer(post, {"text": "2", "responder": "李四"}, "ann")
    answer = new.answer(0x1301)
    assert (answer.info_content, answer.responder, answer.source_data_type, answer.source_msg_sn) == ("2", "李四", 0x9301, sent["post"])
    for name, peer in (("a", old), ("b", new)):
        (supervision,) = [one for one in requests.of(name) if one.kind == "supervision"]
        assert requests.answer(supervision, {"result": "done"}, "ann")
        told = peer.answer(0x1401)
        assert told.result == 1
        assert (told.supervision_id, told.source_msg_sn) == ((5, None) if name == "a" else (told.supervision_id, sent["supervision"]))
    (post,) = [one for one in requests.of("a") if one.kind == "post_query"]
    assert requests.answer(post, {"text": "在"}, "ann")
    assert (old.answer(0x1301).info_id, requests.open_count("a")) == (7, 0)
    assert [entry[0] for entry in audit] == ["ann"] * 4
    assert audit[0][1:] == ("superior request", "b post_query 1", "answered")
    new.send(PostQuery(object_type=1, object_id="111", answer_time=2, info_id=10, info_content="x"))
    assert requests.of("b")[0].id == 5, "numbers go on"
    world.finish()
    again, audit = restarted(tmp_path, store, 60.0)
    assert [one.state for one in again.superiors.requests.of("a")] == ["answered"] * 2
    assert audit == []
    again.finish()


def test_what_was_missed_while_the_relay_did_not_run_is_closed_and_in_the_audit(tmp_path: Path) -> None:
    store = FullStore(tmp_path)
    former, _, _ = asked(tmp_path, store)
    former.finish()
    world, audit = restarted(tmp_path, store, 1000.0)
    requests = world.superiors.requests
    assert [(one.kind, one.state) for one in requests.of("b")] == [("supervision", "waiting"), ("post_query", EXPIRED)]
    assert requests.counts["missed"] == 2
    assert ("superior b", "superior request", "b post_query 1", "missed: its time was over while the relay did not run") in audit
    assert any(event["event"] == "superior.request" and event["state"] == EXPIRED for event in world.told)
    world.finish()
    again, audit = restarted(tmp_path, store, 1000.0)
    assert audit == [], "told once"
    again.finish()


def test_requests_of_a_superior_that_is_gone_are_closed(tmp_path: Path) -> None:
    store = FullStore(tmp_path)
    asked(tmp_path, store)[0].finish()
    world, audit = restarted(tmp_path, store, 10.0, names="a")
    assert sorted(entry[0] for entry in audit) == ["superior b"] * 2
    assert world.superiors.requests.open_count("b") == 0
    world.finish()


CUT = {"msg_id": 0x9300, "data_type": 0x9301, "msg_sn": 1, "plate": "", "color": 0, "edition": 2011, "body": "00"}


@pytest.mark.parametrize("origin", [{}, {"msg_id": "x"}, CUT, CUT | {"msg_id": 1}, CUT | {"body": "z"}])
def test_a_kept_message_that_is_not_understood_is_closed(tmp_path: Path, origin: dict[str, Any]) -> None:
    from relay.store.person_requests import PersonRequestRow

    store = FullStore(tmp_path)
    store.rows.put(PersonRequestRow(3, "a", "post_query", WALL, WALL + 1e6, "x", {}, origin, "waiting"))
    world, audit = restarted(tmp_path, store)
    assert world.superiors.requests.of("a")[0].state == EXPIRED
    assert audit[0][3] == "missed: after the restart there is nobody to answer to"
    world.finish()


def test_a_store_that_fails_costs_the_keeping_and_nothing_else(tmp_path: Path) -> None:
    store = FullStore(tmp_path)
    store.database.broken = True
    world, _, _ = asked(tmp_path, store)
    requests = world.superiors.requests
    assert requests.open_count("b") == 2
    assert requests.counts["not kept"] == 4
    assert requests.of("b")[0].id > 1_000_000, "no number of a row that is there"
    world.finish()
