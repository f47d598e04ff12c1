"""Orders over the API: the words of the contract in, JT/T 808 out, and an answer for every way in which it can end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.jt808.messages import areas, data, general, location, multimedia, parameters, text, video
from relay.jt808.params import PARAMETERS
from tests.core.fakes import SIM, Device
from tests.web.support import MemoryTransport, parse
from tests.web.world import Relay

HERE = location.Location(latitude=22_500_000, longitude=114_000_000, status_flags=1 << 12 | 1 << 10, time="261120153045", items=[])
BASE = f"/terminals/{SIM}"


class Asked:
    """One call of the API while the terminal answers."""

    def __init__(self, relay: Relay, device: Device, transport: MemoryTransport) -> None:
        self.relay, self.device, self.transport = relay, device, transport
        [(self.header, self.message)] = device.commands()

    def general(self, result: int = 0) -> Asked:
        self.device.answer(self.header, result)
        return self

    def reply(self, message: Any) -> Asked:
        self.device.say(message)
        return self

    @property
    def answer(self) -> tuple[int, Any]:
        answer, _ = parse(self.transport.value())
        return answer.status, json.loads(answer.body)


@pytest.fixture
def relay() -> Any:
    made = Relay()
    made.online().read()
    yield made
    made.end()


def ask(relay: Relay, method: str, path: str, body: Any = None) -> Asked:
    assert relay.device is not None
    return Asked(relay, relay.device, relay.begin(method, path, body))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"action": "rotate", "direction": "left", "speed": 100}, video.PtzRotate(channel=2, direction=3, speed=100)),
        ({"action": "focus", "direction": "in"}, video.PtzFocus(channel=2, focus_direction=0)),
        ({"action": "zoom", "direction": "out"}, video.PtzZoom(channel=2, zoom_direction=1)),
        ({"action": "iris", "direction": "open"}, video.PtzIris(channel=2, iris_direction=0)),
        ({"action": "wiper", "on": True}, video.PtzWiper(channel=2, switch=1)),
        ({"action": "light", "on": True}, video.PtzLight(channel=2, switch=1)),
    ],
)
def test_ptz_with_the_words_of_the_contract(relay: Relay, body: dict[str, Any], message: Any) -> None:
    asked = ask(relay, "POST", f"{BASE}/channels/2/ptz", body)
    assert asked.message == message
    assert asked.general().answer == (200, {"stops_in_s": 2.0 if body["action"] == "rotate" else 0.0})


def test_ptz_refuses_what_is_no_movement(relay: Relay) -> None:
    assert relay.api("POST", f"{BASE}/channels/2/ptz", {"action": "rotate", "direction": "in"}, expect=400)["error"] == "bad_movement"
    assert relay.api("POST", f"{BASE}/channels/2/ptz", {"action": "dance"}, expect=400)["error"] == "bad_body"
    assert relay.api("POST", f"{BASE}/channels/2/ptz", {"action": "wiper", "on": True}, role="viewer", expect=403)["error"] == "role"


def test_parameters_are_read_by_name_and_set_with_validation(relay: Relay) -> None:
    asked = ask(relay, "GET", f"{BASE}/parameters?ids=heartbeat_interval,0x0055")
    assert asked.message == parameters.QueryParameters(param_ids=[1, 0x55])
    values = [PARAMETERS.from_fields({"id": number, "value": 60}, 2013) for number in (1, 0x55)]
    status, found = asked.reply(parameters.ParametersResponse(reply_serial=asked.header.serial, params=values)).answer
    assert (status, found["total"]) == (200, 2)
    assert found["items"][0] == {
        "id": 1, "value": 60, "hex": "0x0001", "name": "heartbeat_interval", "label": "终端心跳发送间隔", "english": "heartbeat interval", "unit": "s",
    }  # fmt: skip
    asked = ask(relay, "PUT", f"{BASE}/parameters", {"params": [{"id": 1, "value": 45}, {"name": "max_speed", "value": 80}]})
    assert [(entry.id, entry.value) for entry in asked.message.params] == [(1, 45), (0x55, 80)]
    assert asked.general().answer == (200, {"sent": "0x8103", "reply": None})
    wrong = relay.api("PUT", f"{BASE}/parameters", {"params": [{"id": 1, "value": 45}, {"id": 1, "value": -1}]}, expect=400)
    assert (wrong["error"], wrong["message"][:9]) == ("bad_parameter", "params[1]")
    assert relay.api("GET", f"{BASE}/parameters?ids=nonsense", expect=400)["error"] == "unknown_parameter"
    lost = {"params": [{"name": "main_address", "value": "10.0.0.1"}]}
    assert relay.api("PUT", f"{BASE}/parameters", lost, expect=409)["error"] == "confirmation_needed"
    assert ask(relay, "PUT", f"{BASE}/parameters", {**lost, "confirm": True}).general(1).answer[1]["error"] == "refused"


def test_control_and_vehicle_want_to_be_confirmed(relay: Relay) -> None:
    for path, body in ((f"{BASE}/control", {"command": "factory_reset"}), (f"{BASE}/vehicle", {"doors": "lock"}), (f"{BASE}/call", {"phone": "10086"})):
        assert relay.api("POST", path, body, expect=409)["error"] == "confirmation_needed"
        assert relay.api("POST", path, {**body, "confirm": True}, role="viewer", expect=403)["error"] == "role"
    assert relay.api("POST", f"{BASE}/messages/8500", {"fields": {"control_flags": 1}}, expect=409)["error"] == "confirmation_needed"
    asked = ask(relay, "POST", f"{BASE}/vehicle", {"doors": "lock", "confirm": True}).general()
    status, state = asked.reply(areas.VehicleControlResponse(reply_serial=asked.header.serial, location=HERE)).answer
    assert (status, state["doors_locked"], state["fuel_cut"], state["circuit_cut"]) == (200, True, True, False)
    assert relay.api("POST", f"{BASE}/vehicle", {"doors": "lock", "flags": 1, "confirm": True}, expect=400)["error"] == "not_possible"
    assert "vehicle.fuel_cut" in relay.api("POST", f"{BASE}/vehicle", {"fuel": "cut", "confirm": True}, expect=400)["message"]
    asked = ask(relay, "POST", f"{BASE}/messages/0x8500", {"fields": {"control_flags": 1}, "confirm": True}).general()
    relay.clock.advance(41)
    assert asked.answer[1]["error"] == "no_reply"  # it said yes and never did it


def test_texts_questions_and_lists(relay: Relay) -> None:
    asked = ask(relay, "POST", f"{BASE}/text", {"text": "请靠边停车", "speak": True})
    assert asked.message == text.TextMessage(flags=12, text="请靠边停车", text_type=None)
    assert asked.general().answer[0] == 200
    asked = ask(relay, "POST", f"{BASE}/question", {"question": "到了吗", "answers": ["到了", "没有"]})
    assert [(answer.answer_id, answer.content) for answer in asked.message.answers] == [(1, "到了"), (2, "没有")]
    asked.general()
    asked = ask(relay, "PUT", f"{BASE}/lists/events", {"set": "append", "items": [{"event_id": 1, "content": "加油"}]})
    assert asked.message.events[0].content == "加油"
    asked.general()
    asked = ask(relay, "PUT", f"{BASE}/lists/contacts", {"set": "clear"})
    assert asked.message.set_type == 0
    asked.general()


def test_photos_positions_tracking_alarms(relay: Relay) -> None:
    asked = ask(relay, "POST", f"{BASE}/channels/3/photo", {"count": 2})
    assert (asked.message.channel_id, asked.message.command) == (3, 2)
    answer = asked.reply(multimedia.TakePhotoResponse(reply_serial=asked.header.serial, result=0, media_ids=[7, 8])).answer
    assert answer == (200, {"sent": "0x8801", "result": "ok", "media_ids": [7, 8]})
    asked = ask(relay, "POST", f"{BASE}/channels/3/photo", {})
    status, problem = asked.reply(multimedia.TakePhotoResponse(reply_serial=asked.header.serial, result=2)).answer
    assert (status, problem["error"]) == (409, "refused")
    asked = ask(relay, "POST", f"{BASE}/position")
    status, where = asked.reply(location.LocationQueryResponse(reply_serial=asked.header.serial, location=HERE)).answer
    assert (status, where["latitude"]) == (200, 22.5)
    assert ask(relay, "POST", f"{BASE}/tracking", {"interval_s": 5, "duration_s": 60}).general().answer[0] == 200
    assert ask(relay, "POST", f"{BASE}/alarms/confirm", {"types": ["emergency"]}).general().answer[0] == 200


def test_areas_are_set_read_and_deleted(relay: Relay) -> None:
    circle = {"id": 1, "latitude": 22.5, "longitude": 114, "radius_m": 100}
    asked = ask(relay, "PUT", f"{BASE}/areas/circles", {"areas": [circle]})
    assert asked.message.areas[0].radius == 100
    assert asked.general().answer == (200, {"sent": "0x8600", "reply": asked.answer[1]["reply"]})
    assert ask(relay, "DELETE", f"{BASE}/areas/circles?ids=1,2").general().message == areas.DeleteCircularAreas(area_ids=[1, 2])
    terminal = relay.core.terminals.get(SIM)
    assert terminal is not None
    assert relay.device is not None
    assert "2013" in relay.api("GET", f"{BASE}/areas/circles", expect=400)["message"]
    made = areas.CircularArea(area_id=9, attributes=0, center_latitude=1, center_longitude=2, radius=3, name="x")
    made.edition = 2019
    out = bytearray()
    made.plan(2019).pack(made, out)
    assert areas.AreaQueryResponse(query_type=1, count=2, data=bytes(out) + b"\0\1").areas() == [made]


def test_recorder_driver_passthrough_attributes(relay: Relay) -> None:
    asked = ask(relay, "POST", f"{BASE}/recorder", {"command": 2})
    answer = asked.reply(data.RecorderData(reply_serial=asked.header.serial, command=2, data=b"\xaa\x75")).answer
    assert answer[1]["reply"]["fields"]["data"] == "aa75"
    asked = ask(relay, "POST", f"{BASE}/passthrough", {"type": 65, "data": "0102"})
    assert asked.message.data == b"\1\2"
    asked.general()
    asked = ask(relay, "GET", f"{BASE}/av-attributes")
    assert isinstance(asked.message, video.AvAttributesQuery)
    reply = video.AvAttributes(
        audio_encoding=6, audio_channels=1, audio_sample_rate=0, audio_sample_bits=1, audio_frame_length=320, audio_output_supported=1, video_encoding=98,
        max_audio_channels=1, max_video_channels=4,
    )  # fmt: skip
    assert asked.reply(reply).answer[1]["reply"]["fields"]["audio_frame_length"] == 320


def test_named_outcomes(relay: Relay) -> None:
    assert relay.api("POST", "/terminals/13900139000/text", {"text": "x"}, expect=503)["error"] == "terminal_offline"
    assert relay.api("POST", "/terminals/10000000001/text", {"text": "x"}, expect=404)["error"] == "unknown_terminal"
    asked = ask(relay, "POST", f"{BASE}/text", {"text": "x", "timeout_s": 2})
    asked.device.say(general.TerminalGeneralResponse(reply_serial=asked.header.serial, reply_msg_id=0x9999, result=0))
    relay.clock.advance(3)
    status, problem = asked.answer
    assert (status, problem["error"], problem["hop"]) == (502, "wrong_reply", "answered")
