"""What the simulated terminal does for operators: cameras, doors, areas, photos."""

from __future__ import annotations

import pytest

from relay.jt808.messages import areas, data, multimedia, text, video
from relay.jt808.session_events import Failed, Replied
from relay.sim.jpeg import mosaic
from tests.sim.platform import Platform


def test_it_writes_down_how_its_cameras_are_turned() -> None:
    platform = Platform().online()
    assert platform.result(video.PtzRotate(channel=1, direction=3, speed=9)) == 0
    assert platform.result(video.PtzZoom(channel=2, zoom_direction=1)) == 0
    assert platform.terminal.operator is not None
    assert [type(message).__name__ for _, message in platform.terminal.operator.ptz] == ["PtzRotate", "PtzZoom"]
    platform.finish()


@pytest.mark.parametrize("edition", [2013, 2019])
def test_doors_and_fuel_show_in_its_status(edition: int) -> None:
    platform = Platform(edition=edition).online()
    message = areas.VehicleControl(control_flags=5, controls=[areas.Control(control_id=1, control_param=0), areas.Control(control_id=0xF001, control_param=1)])
    assert platform.ask(message) is None  # accepted; 0x0500 follows
    platform.advance(0.2)
    [done] = [event for event in platform.events if isinstance(event, Replied)]
    assert isinstance(done.message, areas.VehicleControlResponse)
    assert done.message.location.status_flags >> 10 & 7 == 0b101
    platform.finish()


@pytest.mark.parametrize("faults", [(), ("lose-piece",)])
def test_photos_come_in_pieces_and_lost_ones_again(faults: tuple[str, ...]) -> None:
    platform = Platform(faults, edition=2019).online()
    answer = platform.ask(multimedia.TakePhoto(channel_id=2, command=1))
    assert isinstance(answer.message, multimedia.TakePhotoResponse)
    platform.advance(8, 0.1)
    [came] = platform.received(0x0801)
    assert isinstance(came.message, multimedia.MultimediaData)
    assert (came.message.media_id, came.message.channel_id) == (answer.message.media_ids[0], 2)
    assert came.message.data[:2] == b"\xff\xd8"
    assert came.message.data[-2:] == b"\xff\xd9"
    assert len(came.message.data) > 4000
    assert len(platform.received(0x0800)) == 1
    stored = platform.ask(multimedia.MultimediaSearch(media_type=0, channel_id=0, event_code=0))
    assert [item.media_id for item in stored.message.items] == [1]
    assert platform.result(multimedia.SingleMultimediaUpload(media_id=1, delete_flag=1)) == 0
    platform.advance(8, 0.1)
    assert len(platform.received(0x0801)) == 2
    platform.finish()


def test_it_may_fail_to_take_pictures() -> None:
    platform = Platform(("no-photo",)).online()
    assert platform.ask(multimedia.TakePhoto(channel_id=1, command=1)).message.result == 1
    assert platform.ask(multimedia.TakePhoto(channel_id=9, command=1)).message.result == 2
    platform.finish()


def test_it_keeps_areas_and_routes() -> None:
    platform = Platform(edition=2019).online()
    circle = areas.CircularArea(area_id=1, attributes=0, center_latitude=2, center_longitude=3, radius=4, name="学校")
    assert platform.result(areas.SetCircularAreas(set_type=0, areas=[circle])) == 0
    asked = platform.ask(areas.AreaQuery(query_type=1, ids=[]))
    assert [(area.area_id, area.name) for area in asked.message.areas()] == [(1, "学校")]
    assert platform.result(areas.DeleteCircularAreas(area_ids=[])) == 0
    assert platform.ask(areas.AreaQuery(query_type=1, ids=[])).message.count == 0
    platform.finish()


def test_questions_passthrough_driver_recorder() -> None:
    platform = Platform().online()
    assert platform.result(text.Question(flags=0, question="?", answers=[text.Answer(answer_id=7, content="ja")])) == 0
    assert platform.result(data.PassthroughDown(type=0x41, data=b"\1\2")) == 0
    platform.advance(0.5)
    assert platform.received(0x0302)[0].message.answer_id == 7  # type: ignore[union-attr]
    assert platform.received(0x0900)[0].message.data == b"\1\2"  # type: ignore[union-attr]
    assert platform.ask(data.DriverIdentityQuery()).message.driver_name == "张三"
    assert platform.ask(data.RecorderQuery(command=2, data=b"")).message.data[:3] == b"\xaa\x75\x02"
    platform.finish()


def test_faults_of_answers() -> None:
    platform = Platform(("answers-twice",)).online()
    assert platform.result(video.PtzWiper(channel=1, switch=1)) == 0
    assert len([one for one in platform.general() if one == (0x9304, 0)]) == 2
    platform.finish()
    platform = Platform(("wrong-reply-id",)).online()
    assert platform.ask(video.PtzWiper(channel=1, switch=1)) is None
    platform.advance(12, 0.5)
    platform.settle()
    platform.events += platform.session.events() if platform.session is not None else []
    [failed] = [event for event in platform.events if isinstance(event, Failed)]
    assert (failed.reason, failed.request.misnamed) == ("no reply", 2)
    platform.finish()


def test_a_mosaic_is_a_jpeg_of_its_size() -> None:
    picture = mosaic(4, 3, lambda x, y: 60 * x + 20 * y)
    at = picture.index(b"\xff\xc0") + 5
    assert (int.from_bytes(picture[at : at + 2], "big"), int.from_bytes(picture[at + 2 : at + 4], "big")) == (24, 32)
