"""Playback through the API: starts and their failures, one recording a channel, control, beside live, and every way in which it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from relay.core.playback_session import AT_ITS_END, END_SILENCE_S
from relay.hub.stream import Stream
from relay.jt808.messages.video import PlaybackControl, PlaybackRequest, RealtimeAvRequest, Resource, ResourceList
from relay.store.terminals import KnownTerminal
from tests.core.fakes import PHONE, SIM
from tests.web.test_accounts import Browser
from tests.web.world import Relay, Source, body, messages, picture

SPAN = {"start_time": "2026-11-21T09:00:00", "end_time": "2026-11-21T10:00:00+08:00"}
ONE = [Resource(channel=1, start_time="261121090000", end_time="261121093000", media_type=0, stream_type=1, storage_type=1, file_size=1)]


class Site(Relay):
    """With a terminal that has recordings."""

    def post(self, path: str = f"/terminals/{SIM}/channels/1/playback", **more: Any) -> Any:
        return self.begin("POST", path, {**SPAN, **more})

    def commands(self, kind: type) -> list[tuple[Any, Any]]:
        assert self.device is not None
        return [(header, message) for header, message in self.device.commands() if isinstance(message, kind)]

    def plays(self, channel: int = 1, resources: list[Resource] | None = ONE) -> Any:
        """The terminal reads a 0x9201 and answers it; gives its header."""
        assert self.device is not None
        [(header, self.request)] = self.commands(PlaybackRequest)
        if resources is not None:
            self.device.say(ResourceList(reply_serial=header.serial, resources=resources))
        else:
            self.device.answer(header)
        return header

    def comes(self, channel: int = 1) -> Stream:
        self.source = Source()
        stream = self.hub.connect("playback", PHONE, channel, self.source)
        assert isinstance(stream, Stream), stream
        return stream

    def running(self, channel: int = 1) -> tuple[dict[str, Any], Stream]:  # type: ignore[override]
        """A playback that runs: what the API answered, and its stream."""
        waiting = self.post(f"/terminals/{SIM}/channels/{channel}/playback")
        self.plays(channel)
        stream = self.comes(channel)
        picture(stream, 0, key=True)
        return answered(waiting, 201), stream

    def control(self, ident: str, expect: int = 200, result: int = 0, **words: Any) -> tuple[Any, Any]:
        """One control: what the terminal read, and what the API answered."""
        waiting = self.begin("POST", f"/playbacks/{ident}/control", words)
        [(header, message)] = self.commands(PlaybackControl)
        assert self.device is not None
        self.device.answer(header, result)
        return message, answered(waiting, expect)


def answered(transport: Any, status: int) -> Any:
    head, _, data = transport.value().partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, transport.value()
    return json.loads(data)


@pytest.fixture
def site() -> Any:
    made = Site()
    made.online()
    yield made
    made.end()


def test_a_playback_is_asked_for_and_waited_for(site: Site) -> None:
    waiting = site.post(media_type="video", stream_type=2, storage_type="backup", mode="fast", speed=4)
    site.plays()
    request = site.request
    assert (request.server_ip, request.tcp_port, request.udp_port) == ("192.0.2.1", 1178, 0)
    assert (request.start_time, request.end_time, request.channel) == ("261121090000", "261121100000", 1)
    assert (request.media_type, request.stream_type, request.storage_type, request.playback_mode, request.playback_speed) == (2, 2, 2, 1, 3)
    stream = site.comes()
    assert not waiting.value()
    picture(stream, 0, key=True)
    view = answered(waiting, 201)
    assert view["state"] == "playing"
    assert f"/playback/{view['id']}.flv?" in view["urls"]["flv"]
    assert site.api("GET", "/playbacks")["items"][0]["id"] == view["id"]
    assert site.api("GET", "/streams")["items"][0]["kind"] == "playback"


def test_0x0001_is_as_good_as_0x1205_and_both_are_too(site: Site) -> None:
    waiting = site.post()
    header = site.plays(resources=None)
    assert site.device is not None
    site.device.say(ResourceList(reply_serial=header.serial, resources=ONE))
    picture(site.comes(), 0, key=True)
    answered(waiting, 201)


@pytest.mark.parametrize("general_first", [False, True])
def test_nothing_recorded_is_404(site: Site, general_first: bool) -> None:
    waiting = site.post()
    header = site.plays(resources=None if general_first else [])
    if general_first:
        assert site.device is not None
        site.device.say(ResourceList(reply_serial=header.serial, resources=[]))
    assert answered(waiting, 404)["error"] == "nothing_recorded"
    assert site.api("GET", "/playbacks")["items"] == []


def test_a_refusal_an_offline_terminal_and_silence_have_their_names(site: Site) -> None:
    waiting = site.post()
    [(header, _)] = site.commands(PlaybackRequest)
    assert site.device is not None
    site.device.answer(header, 1)
    assert answered(waiting, 409)["error"] == "refused_by_terminal"
    waiting = site.post(timeout_s=5)
    site.clock.advance(5.0)
    assert answered(waiting, 504)["error"] == "no_answer"
    waiting = site.post(timeout_s=5)
    site.commands(PlaybackControl)
    site.clock.advance(5.0)
    answered(waiting, 504)
    site.device.link.lost("gone")  # type: ignore[union-attr]
    assert answered(site.post(), 503)["error"] == "terminal_offline"
    assert answered(site.begin("POST", "/terminals/13900000000/channels/1/playback", SPAN), 404)["error"] == "unknown_terminal"


def test_times_and_speeds_that_make_no_sense_are_400(site: Site) -> None:
    for words in ({"end_time": "2026-11-21T08:00:00"}, {"start_time": "1980-01-01T00:00:00"}, {"speed": 4}, {"speed": 3}, {"mode": "slow"}):
        answered(site.post(**words), 400)


def test_a_channel_plays_one_recording_at_a_time_and_others_beside_it(site: Site) -> None:
    view, stream = site.running()
    problem = answered(site.post(), 409)
    assert problem["error"] == "playback_running"
    assert view["id"] in problem["message"]
    other, _ = site.running(channel=2)
    assert [each["channel"] for each in site.api("GET", "/playbacks")["items"]] == [1, 2]
    waiting = site.post(replace=True)
    assert stream.cause == "another playback takes its place"
    assert site.api("GET", f"/playbacks/{view['id']}")["ended"] == "another playback takes its place"
    picture(site.comes(), 0, key=True)
    assert answered(waiting, 201)["id"] not in (view["id"], other["id"])


def test_controls_are_sent_and_change_what_is_shown(site: Site) -> None:
    view, stream = site.running()
    ident = view["id"]
    picture(stream, 40)
    site.clock.advance(0.5)
    message, view = site.control(ident, action="pause")
    assert (message.playback_control, message.playback_speed, message.seek_time) == (1, 0, "000000000000")
    assert view["state"] == "paused"
    assert stream.paused
    site.clock.pump([1.0] * 20)
    assert site.api("GET", f"/playbacks/{ident}")["state"] == "ended"  # nobody watched
    assert stream.cause == "nobody watches"


def test_a_paused_playback_with_a_viewer_waits_as_long_as_it_takes(site: Site) -> None:
    view, _ = site.running()
    viewer = site.get(f"/playback/{view['id']}.flv")
    site.clock.advance(3.0)
    assert b"<K0>" in body(viewer)
    site.control(view["id"], action="pause")
    site.clock.advance(100.0)
    assert site.api("GET", f"/playbacks/{view['id']}")["state"] == "paused"
    message, view = site.control(view["id"], action="resume")
    assert message.playback_control == 0
    assert (view["state"], view["position"]) == ("playing", "2026-11-21T09:00:03+08:00")
    for words, control, speed, seek in (
        ({"action": "speed", "speed": 8}, 3, 4, "000000000000"),
        ({"action": "speed", "speed": 1}, 0, 0, "000000000000"),
        ({"action": "keyframes"}, 6, 0, "000000000000"),
        ({"action": "rewind", "speed": 2}, 4, 2, "000000000000"),
        ({"action": "seek", "time": "2026-11-21T01:30:00Z"}, 5, 0, "261121093000"),
    ):
        message, view = site.control(view["id"], **words)
        assert (message.playback_control, message.playback_speed, message.seek_time) == (control, speed, seek)
    assert view["position"] == "2026-11-21T09:30:00+08:00"


def test_one_that_is_over_stays_where_it_was(site: Site) -> None:
    view, _ = site.running()
    site.clock.advance(3.0)
    site.api("DELETE", f"/playbacks/{view['id']}", expect=204)
    site.clock.pump([1.0] * 5)
    told = site.api("GET", f"/playbacks/{view['id']}")
    assert (told["state"], told["position"]) == ("ended", "2026-11-21T09:00:03+08:00")


def test_a_control_that_is_refused_changes_nothing(site: Site) -> None:
    view, _ = site.running()
    _, problem = site.control(view["id"], expect=409, result=3, action="rewind")
    assert problem["error"] == "refused"
    assert site.api("GET", f"/playbacks/{view['id']}")["mode"] == "normal"
    for words in ({"action": "speed"}, {"action": "seek"}, {"action": "pause", "speed": 2}, {"action": "keyframes", "time": "2026-11-21T09:30:00"}):
        site.api("POST", f"/playbacks/{view['id']}/control", words, expect=400)


def test_the_terminals_closing_is_the_end_of_the_recording(site: Site) -> None:
    view, stream = site.running()
    viewer = site.socket(f"/playback/{view['id']}.mp4")
    site.clock.advance(0.1)
    stream.source_lost(site.source, "connection closed by the terminal")
    site.clock.advance(0.1)
    *_, told, close = messages(viewer)
    assert told == {"type": "end", "error": "the_recording_is_at_its_end", "message": "The recording is at its end."}
    assert close == (1000, AT_ITS_END)
    assert site.api("GET", f"/playbacks/{view['id']}")["ended"] == AT_ITS_END
    assert answered(site.get(f"/playback/{view['id']}.flv"), 410)["error"] == "playback_ended"


def test_a_connection_that_is_reset_was_lost(site: Site) -> None:
    view, stream = site.running()
    stream.source_lost(site.source, "connection lost")
    assert site.api("GET", f"/playbacks/{view['id']}")["ended"] == "the media connection was lost: connection lost"


def test_silence_is_the_end_of_the_recording_too(site: Site) -> None:
    view, stream = site.running()
    site.get(f"/playback/{view['id']}.flv")
    site.clock.pump([1.0] * int(END_SILENCE_S + 2))
    assert stream.cause == AT_ITS_END
    assert [message.playback_control for _, message in site.commands(PlaybackControl)] == [2]  # it is told, too
    assert site.source.closed == AT_ITS_END


def test_nobody_watching_stops_it_and_the_stop_is_watched(site: Site) -> None:
    view, stream = site.running()
    viewer = site.get(f"/playback/{view['id']}.flv")
    site.clock.advance(0.1)
    viewer.lost()
    states = []
    for second in range(19):
        if second < 15:
            stream.last_packet = site.clock.seconds()
        site.clock.advance(1.0)
        states.append(site.api("GET", f"/playbacks/{view['id']}")["state"])
    assert list(dict.fromkeys(states)) == ["playing", "stopping", "ended"]
    assert [message.playback_control for _, message in site.commands(PlaybackControl)] == [2]
    assert stream.cause == "nobody watches"


def test_one_that_does_not_stop_is_told_again_and_cut_off_at_last(site: Site) -> None:
    view, stream = site.running()
    site.api("DELETE", f"/playbacks/{view['id']}", expect=204)
    assert site.api("GET", f"/playbacks/{view['id']}")["state"] == "stopping"
    told = 0
    for second in range(40):
        if not site.source.closed:
            picture(stream, 40 * (second + 1))
            stream.heard(1, 100, site.clock.seconds())
        site.clock.advance(1.0)
        told += len([m for _, m in site.commands(PlaybackControl) if m.playback_control == 2])
    assert told == 3
    assert site.source.closed == "it did not stop when told to"
    assert "stream.not_stopped" in site.core.names()


def test_a_kicked_stream_ends_the_playback_and_tells_the_terminal(site: Site) -> None:
    view, _ = site.running()
    site.api("DELETE", f"/streams/playback%2F{view['id']}", expect=404)  # streams are named in one segment
    site.playbacks.need(view["id"]).stream().end("kicked")  # type: ignore[union-attr]
    assert [message.playback_control for _, message in site.commands(PlaybackControl)] == [2]
    assert site.api("GET", f"/playbacks/{view['id']}")["ended"] == "kicked"


def test_a_terminal_whose_live_ends_when_playback_begins_does_not_do_both(site: Site) -> None:
    live = site.media()
    picture(live, 0, key=True)
    source = live.source
    watching = site.get(f"/live/{SIM}_1.flv")
    view, _ = site.running()
    live.source_lost(source, "connection closed by the terminal")
    watching.lost()
    terminal = site.core.terminals.get(SIM)
    assert terminal is not None
    assert terminal.playback_beside_live is False
    live.end("over")
    assert answered(site.begin("POST", f"/terminals/{SIM}/channels/1/live", {}), 409)["error"] == "playback_running"
    site.api("DELETE", f"/playbacks/{view['id']}", expect=204)
    site.clock.pump([1.0] * 5)
    waiting = site.begin("POST", f"/terminals/{SIM}/channels/1/live", {})
    assert site.commands(RealtimeAvRequest)
    picture(site.media(), 0, key=True)
    answered(waiting, 200)
    viewer = site.get(f"/live/{SIM}_1.flv")
    assert answered(site.post(), 409)["error"] == "live_running"
    viewer.lost()


def test_a_refusal_beside_live_that_nobody_watches_is_tried_without_it(site: Site) -> None:
    live = site.media()
    picture(live, 0, key=True)
    waiting = site.post(timeout_s=10)
    [(header, _)] = site.commands(PlaybackRequest)
    assert site.device is not None
    site.device.answer(header, 1)
    site.clock.pump([1.0, 1.5])
    site.plays()
    picture(site.comes(), 0, key=True)
    answered(waiting, 201)
    terminal = site.core.terminals.get(SIM)
    assert terminal is not None
    assert terminal.playback_beside_live is False


def test_a_refusal_beside_live_that_is_watched_teaches_nothing(site: Site) -> None:
    live = site.media()
    picture(live, 0, key=True)
    watching = site.get(f"/live/{SIM}_1.flv")
    waiting = site.post()
    [(header, _)] = site.commands(PlaybackRequest)
    assert site.device is not None
    site.device.answer(header, 1)
    assert "Live of the same channel runs" in answered(waiting, 409)["hint"]
    terminal = site.core.terminals.get(SIM)
    assert terminal is not None
    assert terminal.playback_beside_live is None
    watching.lost()


def test_both_side_by_side_for_a_while_is_learnt_too(site: Site) -> None:
    live = site.media()
    picture(live, 0, key=True)
    _, stream = site.running()
    site.get(f"/playback/{stream.key.id}.flv")
    for _ in range(7):
        live.last_packet = stream.last_packet = site.clock.seconds()
        site.clock.advance(1.0)
    terminal = site.core.terminals.get(SIM)
    assert terminal is not None
    assert terminal.playback_beside_live is True


def test_a_token_is_for_one_playback(site: Site) -> None:
    view, _ = site.running()
    assert site.get(f"/playback/{view['id']}.flv", token=view["token"]).value().startswith(b"HTTP/1.1 200")
    for token in (site.media_token(f"{SIM}_1"), site.media_token("playback/other")):
        assert answered(site.get(f"/playback/{view['id']}.flv", token=token), 403)["error"] == "token_wrong_path"
    assert answered(site.get("/playback/0000.flv"), 404)["error"] == "unknown_playback"


def test_playbacks_of_other_groups_are_not_there(site: Site) -> None:
    view, _ = site.running()
    site.api("POST", "/users", {"name": "guy", "role": "operator", "password": "password of guy", "groups": ["north"]}, expect=201)
    terminal = site.core.terminals.get(SIM)
    assert terminal is not None
    terminal.known = KnownTerminal(phone=PHONE, group="south")
    browser = Browser(site)
    browser.login("guy", "password of guy")
    assert browser.ask("GET", "/playbacks").json["items"] == []
    for method, path in (("GET", ""), ("GET", "/play"), ("POST", "/control"), ("DELETE", "")):
        answer = browser.ask(method, f"/playbacks/{view['id']}{path}", {"action": "pause"} if method == "POST" else None)
        assert (answer.status, answer.json["error"]) == (404, "unknown_playback"), path
    terminal.known = KnownTerminal(phone=PHONE, group="north")
    assert browser.ask("GET", f"/playbacks/{view['id']}").status == 200


def test_the_first_viewer_may_take_its_time(site: Site) -> None:
    site.playbacks.media = replace(site.playbacks.media, idle_stop_s=0.5)
    view, stream = site.running()
    states = []
    for _ in range(16):
        stream.last_packet = site.clock.seconds()
        site.clock.advance(1.0)
        states.append(site.api("GET", f"/playbacks/{view['id']}")["state"])
    assert states == ["playing"] * 14 + ["stopping"] * 2  # not after half a second, when the page has not yet been told where it is
