"""The JSON API over real terminals, streams and live channels."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from relay.codec.frame import VIDEO, Frame
from relay.core.live_channel import State
from relay.core.quality import QualityWatch
from relay.identity import StreamKey
from relay.jt808.messages.general import TerminalGeneralResponse
from relay.jt808.messages.location import LocationReport
from relay.jt808.messages.parameters import ParametersResponse, QueryParameters
from relay.settings import Auth, Http, Metrics
from relay.web.models import Play, StreamList, TerminalList, TerminalView, TraceList, ViewerList
from relay.web.router import ROLES, Permission, Route
from tests.web.support import parse
from tests.web.world import H264, PHONE, Relay, body, messages, picture, sound

SIM = "13800138000"
OFFLINE = "13900139000"
CHANNEL = f"/terminals/{SIM}/channels/1"


def example(route: Route) -> str:
    """An address of the route that leads to its handler."""
    path = re.sub(r"\{[a-z]+:([a-z-]+)\|[a-z|-]+\}", r"\1", route.path)  # one of a few words: the first
    return (
        path.replace("{sim}", "10000000000")
        .replace("{channel:int}", "1")
        .replace("{id}", "none")
        .replace("{viewer}", "1")
    )


# who may -------------------------------------------------------------------------------


def test_every_route_admits_exactly_the_roles_of_its_permission() -> None:
    relay = Relay()
    walked = 0
    for route in relay.web.router.routes:
        for role in ("", "bad", "expired", *ROLES):
            token = {"": "", "bad": "x.y", "expired": relay.api_token("admin", -100)}.get(role) if role not in ROLES else relay.api_token(role)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            transport = relay.send(route.method, example(route), headers)
            if not transport.value():
                transport.lost()
                continue  # a feed or a request that waits: it was let in
            status = parse(transport.value(), head=True)[0].status
            transport.lost()
            walked += 1
            where = f"{role or 'nobody'}: {route.method} {route.path}"
            if route.permission is Permission.PUBLIC:
                assert status == (200 if route.method == "GET" else 400), where  # those that take a body have got none
            elif not role:
                assert status == 401, where
            elif route.permission is Permission.KEY:
                assert status == 401, where  # no role opens it
            elif role in ("bad", "expired"):
                assert status == (403 if route.permission is Permission.MEDIA else 401), where
            elif route.permission in (Permission.MEDIA, Permission.METRICS) or ROLES.index(role) >= ROLES.index(route.permission.value):
                assert status not in (401, 403), where
            else:
                assert status == 403, where
    assert walked > 100
    relay.end()


def test_only_these_are_open_to_anybody() -> None:
    relay = Relay()
    assert {route.path for route in relay.web.router.routes if route.permission is Permission.PUBLIC} == {
        "/", "/static/index.html", "/healthz", "/readyz", "/api/v1/session", "/api/v1/session/first",
    }  # fmt: skip
    relay.end()


def test_a_token_in_the_address_is_for_get_only() -> None:
    relay = Relay()
    token = relay.api_token()
    assert relay.ask("GET", f"/api/v1/status?token={token}").status == 200
    assert relay.ask("HEAD", f"/api/v1/status?token={token}").status == 200
    assert relay.ask("DELETE", f"/api/v1/streams/x?token={token}").status == 401
    assert relay.ask("POST", f"/api/v1{CHANNEL}/live?token={token}").status == 401
    relay.end()


@pytest.mark.parametrize("reason", ["expired", "malformed", "bad_signature", "media"])
def test_a_refused_token_says_why(reason: str) -> None:
    relay = Relay()
    tokens = {
        "expired": relay.api_token("admin", -100),
        "malformed": "x",
        "bad_signature": relay.api_token()[:-3] + "AAA",
        "media": relay.media_token(),
    }
    answer = relay.ask("GET", "/api/v1/status", {"Authorization": f"Bearer {tokens[reason]}"})
    assert answer.status == 401
    assert answer.json["error"] == ("token_wrong_kind" if reason == "media" else f"token_{reason}")
    assert answer.json["hint"]
    assert "www-authenticate" in answer.headers
    relay.end()


def test_unknown_addresses_are_404_with_or_without_a_token() -> None:
    relay = Relay()
    for path in ("/api/v1/nothing", "/api/v2/status", "/static/../index.html", "/static/nothing.js", "/etc/passwd", "/live/", "/api/v1/user"):
        assert relay.ask("GET", path).status == 404
    relay.end()


# the page -----------------------------------------------------------------------------


def test_the_page_has_its_policy_and_is_revalidated() -> None:
    relay = Relay(http=replace(Http(), advertise="video.example"))
    answer = relay.ask("GET", f"/?token={relay.api_token()}")
    assert (answer.status, answer.body) == (200, b"<html>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self' ws://relay.example:8080 wss://relay.example:8080 ws://video.example wss://video.example",
        "media-src": "'self' blob:",
        "img-src": "'self' data: blob:",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
    }
    again = relay.ask("GET", "/", {"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert relay.ask("GET", "/", {"If-None-Match": '"other"'}).status == 200
    relay.end()


def test_the_files_of_the_package_are_served_by_name() -> None:
    from relay.web.pages import load

    pages = load()
    assert pages["index.html"].content_type == "text/html; charset=utf-8"
    assert pages["app.js"].content_type == "text/javascript; charset=utf-8"
    assert b"<script" in pages["index.html"].data


# terminals ------------------------------------------------------------------------------


def test_a_list_shows_at_once_what_has_changed_since_the_last_one() -> None:
    relay = Relay()
    device = relay.online()

    def here() -> dict[str, Any]:
        [item] = relay.api("GET", "/terminals?online=true")["items"]
        return dict(item)

    before = here()
    assert here() == before == {**relay.api("GET", f"/terminals/{SIM}")}
    relay.clock.advance(5)
    device.send(0x0002)
    beat = here()
    assert (beat["messages"], beat["last_seen"] > before["last_seen"]) == (before["messages"] + 1, True)
    location = LocationReport(status_flags=2, latitude=22_540_000, longitude=114_050_000, speed=455, direction=90, time="261121093000", alarm_flags=1, items=[])
    device.send(0x0200, location.encode(2013))
    moved = here()
    assert (moved["position"]["speed"], moved["position"]["time"], len(moved["alarms"])) == (45.5, "2026-11-21T09:30:00+08:00", 1)
    relay.api("PUT", f"/terminals/{SIM}", {"plate": "粤B99999", "alias": "bus-17", "group": "north"})
    assert (here()["plate"], here()["group"]) == ("粤B99999", "north")
    relay.running(7)
    assert [(one["channel"], one["streaming"]) for one in here()["channels"] if one["streaming"]] == [(7, True)]
    relay.hub.get(StreamKey(SIM, 7)).end("over")
    assert not any(one["streaming"] for one in here()["channels"])
    assert [one["sim"] for one in relay.api("GET", "/terminals?online=false")["items"]] == [OFFLINE]
    relay.end()


def test_terminals_that_are_known_or_online_are_listed_in_pages() -> None:
    relay = Relay()
    relay.online()
    answer = relay.api("GET", "/terminals", role="viewer")
    assert [item["sim"] for item in answer["items"]] == [SIM, OFFLINE]
    assert (answer["total"], answer["next"]) == (2, None)
    here, there = msgspec.convert(answer, TerminalList).items
    assert (here.online, here.plate, here.alias, here.edition, here.model, here.known) == (True, "粤B12345", "bus-17", 2013, "M1", True)
    assert (there.online, there.plate, there.known, there.channels[0].streaming) == (False, "粤C00001", True, False)
    assert here.online_since is not None
    assert datetime.fromisoformat(here.online_since).tzinfo is not None
    first = relay.api("GET", "/terminals?limit=1")
    assert (len(first["items"]), first["total"], first["next"]) == (1, 2, SIM)
    second = relay.api("GET", f"/terminals?limit=1&after={first['next']}")
    assert ([item["sim"] for item in second["items"]], second["next"]) == ([OFFLINE], None)
    relay.end()


@pytest.mark.parametrize(
    ("query", "sims"),
    [
        ("online=true", [SIM]),
        ("online=false", [OFFLINE]),
        ("q=C0000", [OFFLINE]),
        ("q=%E7%B2%A4", [SIM, OFFLINE]),
        ("q=BUS", [SIM]),
        ("q=0138", [SIM]),
        ("q=nothing", []),
        ("online=true&q=C0000", []),
    ],
)
def test_terminals_are_filtered(query: str, sims: list[str]) -> None:
    relay = Relay()
    relay.online()
    assert [item["sim"] for item in relay.api("GET", f"/terminals?{query}")["items"]] == sims
    relay.end()


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "online=perhaps", "what=1"])
def test_filters_that_do_not_fit_are_400(query: str) -> None:
    relay = Relay()
    assert relay.call("GET", f"/terminals?{query}").status == 400
    relay.end()


def test_one_terminal_by_any_of_its_names() -> None:
    relay = Relay()
    device = relay.online()
    device.say(
        LocationReport(
            alarm_flags=1, status_flags=3, latitude=22540000, longitude=114050000, altitude=10, speed=605, direction=90, time="261121103000", items=[]
        )
    )  # fmt: skip
    for name in (SIM, PHONE, "bus-17", "%E7%B2%A4B12345"):
        view = msgspec.convert(relay.api("GET", f"/terminals/{name}"), TerminalView)
        assert view.sim == SIM
        assert view.position is not None
        assert (view.position.latitude, view.position.longitude, view.position.speed) == (22.54, 114.05, 60.5)
        assert view.position.time == "2026-11-21T10:30:00+08:00"
        assert len(view.alarms) == 1
    assert relay.call("GET", "/terminals/nobody").json["error"] == "unknown_terminal"
    relay.end()


def test_a_terminal_is_added_changed_and_removed() -> None:
    relay = Relay()
    new = {"phone": "013700137000", "plate": "粤D00001", "plate_color": 2, "alias": "taxi-3", "edition": 2019, "code": "secret"}
    made = relay.api("POST", "/terminals", new, role="operator", expect=201)
    assert (made["sim"], made["phone"], made["plate"], made["alias"], made["edition"]) == ("13700137000", "013700137000", "粤D00001", "taxi-3", 2019)
    assert relay.rows.codes["13700137000"] == "secret"
    assert "secret" not in json.dumps(made)
    assert relay.call("POST", "/terminals", new).json["error"] == "taken"
    assert relay.call("POST", "/terminals", {"phone": "1", "alias": "taxi-3"}).status == 409
    assert [item["sim"] for item in relay.api("GET", "/terminals")["items"]] == ["13700137000", SIM, OFFLINE]
    changed = relay.api("PUT", "/terminals/taxi-3", {"plate": "粤D00002", "enabled": False})
    assert (changed["plate"], changed["alias"], changed["enabled"]) == ("粤D00002", "", False)
    more = {"group": "north", "aliases": ["taxi-4"], "channels": {"1": "front"}, "details": {"VEHICLE_TYPE": "40"}}
    told = relay.api("PUT", "/terminals/13700137000", more)
    assert (told["group"], told["aliases"], told["details"], told["channels"][0]["name"]) == ("north", ["taxi-4"], {"VEHICLE_TYPE": "40"}, "front")
    assert [item["sim"] for item in relay.api("GET", "/terminals?q=north")["items"]] == ["13700137000"]
    assert relay.call("PUT", "/terminals/13700137000", {"details": {"lower": ""}}).status == 400
    assert relay.api("PUT", "/terminals/13600136000", {"plate": "粤E1"})["sim"] == "13600136000"
    assert relay.call("PUT", "/terminals/%E7%B2%A4Z", {}).status == 404
    relay.api("DELETE", "/terminals/13700137000", expect=204)
    assert relay.call("DELETE", "/terminals/13700137000").status == 404
    relay.end()


def test_a_terminal_that_is_disabled_or_removed_loses_its_link() -> None:
    relay = Relay()
    device = relay.online()
    relay.api("PUT", f"/terminals/{SIM}", {"plate": "粤B12345", "enabled": False})
    assert device.wire.closed
    assert relay.api("GET", f"/terminals/{SIM}")["online"] is False
    relay.end()


@pytest.mark.parametrize(
    "change",
    [
        {"phone": ""}, {"phone": "x"}, {"phone": "1" * 21}, {}, {"phone": "1\n"}, {"phone": "1", "alias": "a/b"}, {"phone": "1", "alias": "a_1"},
        {"phone": "1", "alias": " a"}, {"phone": "1", "plate": "a\u0000"}, {"phone": "1", "edition": 2014}, {"phone": "1", "plate_color": 256},
        {"phone": "1", "unknown": 1}, {"phone": 1}, {"phone": "1", "plate": "x" * 22},
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_400(change: dict[str, Any]) -> None:
    relay = Relay()
    assert relay.call("POST", "/terminals", change).status == 400
    relay.end()


def test_a_broken_store_is_503_and_online_terminals_are_still_told() -> None:
    relay = Relay()
    relay.online()
    relay.rows.broken = True
    answer = relay.call("GET", "/terminals")
    assert (answer.status, answer.json["error"]) == (503, "store")
    assert relay.api("GET", "/terminals?online=true")["total"] == 1
    assert relay.api("GET", f"/terminals/{SIM}")["online"] is True
    relay.end()


# messages --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["0x8106", "8106", "0X8106", "QueryParameters"])
def test_any_message_goes_out_and_its_reply_comes_back_decoded(name: str) -> None:
    relay = Relay()
    device = relay.online()
    transport = relay.begin("POST", f"/terminals/{SIM}/messages/{name}", {"fields": {"param_ids": [1]}})
    [(header, message)] = device.commands()
    assert isinstance(message, QueryParameters)
    device.send(0x0104, ParametersResponse.from_fields({"reply_serial": header.serial, "params": [{"id": 1, "value": 45}]}).encode(2013))
    answer = parse(transport.value())[0]
    assert answer.status == 200
    assert answer.json["sent"] == "0x8106"
    reply = answer.json["reply"]
    assert (reply["id"], reply["name"]) == ("0x0104", "ParametersResponse")
    assert reply["fields"]["params"][0]["value"] == 45
    relay.end()


def test_a_message_that_is_only_acknowledged_answers_with_the_acknowledgement() -> None:
    relay = Relay()
    device = relay.online()
    transport = relay.begin("POST", f"/terminals/{SIM}/messages/0x8103", {"fields": {"params": [{"id": 1, "value": 45}]}})
    [(header, _)] = device.commands()
    device.answer(header)
    reply = parse(transport.value())[0].json["reply"]
    assert reply["id"] == f"0x{TerminalGeneralResponse.KEY:04X}"
    assert reply["fields"]["result"] == 0
    relay.end()


@pytest.mark.parametrize(
    ("path", "fields", "status", "error"),
    [
        (f"/terminals/{SIM}/messages/0x8FFF", {}, 404, "unknown_message"),
        (f"/terminals/{SIM}/messages/nonsense", {}, 404, "unknown_message"),
        (f"/terminals/{SIM}/messages/0x0200", {}, 400, "wrong_direction"),
        (f"/terminals/{SIM}/messages/0x8106", {}, 400, "bad_fields"),
        (f"/terminals/{SIM}/messages/0x8106", {"param_ids": "x"}, 400, "bad_fields"),
        (f"/terminals/{SIM}/messages/0x8106", {"param_ids": [1], "x": 1}, 400, "bad_fields"),
        (f"/terminals/{SIM}/messages/0x8106", {"param_ids": [1 << 40]}, 400, "bad_fields"),
        (f"/terminals/{OFFLINE}/messages/0x8106", {"param_ids": [1]}, 503, "terminal_offline"),
        ("/terminals/1234/messages/0x8106", {"param_ids": [1]}, 404, "unknown_terminal"),
    ],
)
def test_messages_that_cannot_be_sent(path: str, fields: Any, status: int, error: str) -> None:
    relay = Relay()
    relay.online()
    answer = relay.call("POST", path, {"fields": fields})
    assert (answer.status, answer.json["error"]) == (status, error)
    relay.end()


def test_a_terminal_that_refuses_or_is_silent_is_told_so() -> None:
    relay = Relay()
    device = relay.online()
    refused = relay.begin("POST", f"/terminals/{SIM}/messages/0x8106", {"fields": {"param_ids": [1]}})
    [(header, _)] = device.commands()
    device.answer(header, 3)
    answer = parse(refused.value())[0]
    assert (answer.status, answer.json["error"], answer.json["hop"]) == (409, "refused", "answered")
    silent = relay.begin("POST", f"/terminals/{SIM}/messages/0x8106", {"fields": {"param_ids": [1]}, "timeout_s": 2.5})
    for _ in range(5):
        relay.clock.advance(1)
    answer = parse(silent.value())[0]
    assert (answer.status, answer.json["error"], answer.json["hop"]) == (504, "no_reply", "answered")
    relay.end()


# live -------------------------------------------------------------------------------------


def test_a_channel_is_started_by_the_api_and_its_play_urls_work() -> None:
    relay = Relay()
    relay.online()
    transport = relay.begin("POST", f"{CHANNEL}/live", {"stream": "main", "media": "av"})
    assert transport.value() == b""
    assert relay.asked().stream_type == 0
    picture(relay.media(), 0, key=True)
    answer = parse(transport.value())[0].json
    play = msgspec.convert(answer, Play)
    assert (play.id, play.sim, play.channel) == (f"{SIM}_1", SIM, 1)
    assert [hop["hop"] for hop in answer["trace"]["hops"]][-1] == "first_key_frame"
    assert datetime.fromisoformat(play.expires).timestamp() == relay.wall() + 120
    assert play.urls.flv.startswith(f"http://relay.example:8080/live/{SIM}_1.flv?stream=main&token=")
    assert play.urls.ws_mp4.startswith("ws://relay.example:8080/live/")
    assert play.urls.rtmp == f"rtmp://relay.example/live/{SIM}_1?{play.urls.flv.partition('?')[2]}"
    player = relay.send("GET", play.urls.flv.partition("relay.example:8080")[2])
    relay.clock.advance(0.2)
    assert body(player).startswith(b"<H h264>")
    relay.end()


def test_a_channel_that_nobody_plays_is_stopped_unless_it_is_held() -> None:
    relay = Relay({"idle_stop_s": 15.0})
    relay.running()
    relay.api("POST", f"{CHANNEL}/live")
    machine = relay.live.channel(PHONE, 1)
    assert machine is not None
    assert machine.state is State.LINGERING
    assert relay.call("POST", f"{CHANNEL}/live", {"hold_s": 60}, role="viewer").status == 403
    relay.api("POST", f"{CHANNEL}/live", {"hold_s": 60}, role="operator")
    relay.api("POST", f"{CHANNEL}/live", {"hold_s": 90}, role="operator")  # anew, not twice
    assert len(machine.leases) == 1
    relay.clock.advance(89)
    assert machine.state is State.RUNNING
    relay.clock.advance(1)
    assert machine.state is State.LINGERING
    relay.end()


def test_play_urls_are_given_without_starting_anything() -> None:
    relay = Relay()
    device = relay.online()
    play = relay.api("GET", f"{CHANNEL}/play?stream=sub&media=v&audio=none", role="viewer")
    assert "stream=sub" in play["urls"]["mp4"]
    assert "media=v" in play["urls"]["mp4"]
    assert play["urls"]["mp4"].endswith(f"token={play['token']}")
    assert device.commands() == []
    assert relay.call("GET", "/terminals/nobody/channels/1/play").status == 404
    assert relay.call("GET", f"/terminals/{SIM}/channels/0/play").json["error"] == "unknown_channel"
    assert relay.call("GET", f"/terminals/{SIM}/channels/256/play").status == 404
    assert relay.call("GET", f"{CHANNEL}/play?stream=x").status == 400
    relay.end()


@pytest.mark.parametrize(
    ("http", "headers", "start"),
    [
        ({}, {"Host": "10.0.0.1"}, "http://10.0.0.1/live"),
        ({"advertise": "video.example:443"}, {}, "http://video.example:443/live"),
        ({"trusted_proxies": ("192.168.1.1",)}, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "v.example"}, "https://v.example/live"),
        ({}, {"X-Forwarded-Host": "evil.example"}, "http://relay.example:8080/live"),
        ({}, {"Host": "evil\" x"}, "http://10.0.0.1:12345/live"),
    ],
)
def test_play_urls_name_the_place_the_client_can_reach(http: dict[str, Any], headers: dict[str, str], start: str) -> None:
    relay = Relay(http=replace(Http(), **http))
    answer = relay.ask("GET", f"/api/v1{CHANNEL}/play", {"Authorization": f"Bearer {relay.api_token()}", **headers})
    assert answer.json["urls"]["flv"].startswith(start), answer.json["urls"]["flv"]
    relay.end()


def test_a_play_url_is_good_for_a_start_until_it_expires() -> None:
    relay = Relay(auth=replace(Auth(), media_token_s=120))
    relay.running()
    target = relay.api("GET", f"{CHANNEL}/play")["urls"]["flv"].partition("relay.example:8080")[2]
    player = relay.send("GET", target)
    relay.clock.advance(151)
    assert body(player).startswith(b"<H")
    assert not player.disconnecting  # it began in time
    assert relay.ask("GET", target).json["error"] == "token_expired"
    relay.end()


def test_a_failed_start_is_answered_with_its_hop() -> None:
    relay = Relay()
    relay.online()
    transport = relay.begin("POST", f"{CHANNEL}/live", {"timeout_s": 3})
    relay.asked()
    relay.clock.advance(3)
    answer = parse(transport.value())[0]
    assert (answer.status, answer.json["error"], answer.json["hop"]) == (504, "no_media_connection", "connected")
    traces = msgspec.convert(relay.api("GET", f"{CHANNEL}/traces"), TraceList)
    assert traces.total == 1
    assert traces.items[0]["missing"] == "connected"
    assert relay.api("GET", f"/terminals/{SIM}/channels/2/traces")["items"] == []
    relay.end()


def test_a_channel_is_stopped_whoever_watches() -> None:
    relay = Relay()
    relay.running()
    player = relay.get(f"/live/{SIM}_1.flv")
    relay.clock.advance(0.2)
    relay.api("DELETE", f"{CHANNEL}/live", role="operator", expect=204)
    assert relay.device is not None
    assert [message.command for _, message in relay.device.commands()] == [0]  # 0x9102
    for _ in range(10):
        relay.clock.advance(1)
    assert player.disconnecting
    answer = relay.call("DELETE", f"{CHANNEL}/live")
    assert (answer.status, answer.json["error"]) == (404, "not_running")
    relay.end()


def test_media_tokens_are_made() -> None:
    relay = Relay()
    made = relay.api("POST", "/media-tokens", {"pattern": f"{SIM}_*", "expires_s": 600, "viewer": "wall"}, role="operator", expect=201)
    relay.running()
    player = relay.get(f"/live/{SIM}_1.flv", made["token"])
    relay.clock.advance(0.2)
    assert body(player).startswith(b"<H")
    for wrong in ({"pattern": ""}, {"pattern": " "}, {"pattern": "a\nb"}, {"pattern": "粤" * 200}, {"pattern": "*", "expires_s": 0}):
        assert relay.call("POST", "/media-tokens", wrong).status == 400
    relay.end()


# streams ------------------------------------------------------------------------------------


def test_what_runs_is_listed_with_its_figures() -> None:
    relay = Relay()
    stream = relay.running()
    sound(stream, 20)
    player = relay.get(f"/live/{SIM}_1.flv")
    relay.clock.advance(0.2)
    answer = relay.api("GET", "/streams", role="viewer")
    [view] = msgspec.convert(answer, StreamList).items
    assert (view.id, view.sim, view.channel, view.kind, view.state, view.peer) == (f"{SIM}_1", SIM, 1, "live", "running", "10.0.0.7:50000")
    assert view.video is not None
    assert (view.video.codec, view.video.width, view.viewers) == ("h264", 352, 1)
    assert view.audio is not None
    assert view.audio.codec == "g711a"
    assert relay.api("GET", f"/streams/{SIM}_1")["id"] == f"{SIM}_1"
    viewers = msgspec.convert(relay.api("GET", f"/streams/{SIM}_1/viewers"), ViewerList)
    assert (viewers.total, viewers.items[0].state, viewers.items[0].peer) == (1, "live", "192.168.1.1:54321")
    assert viewers.items[0].bytes == len(body(player))
    listed = relay.api("GET", f"/terminals/{SIM}")["channels"][0]
    assert (listed["channel"], listed["streaming"], listed["viewers"]) == (1, True, 1)
    assert relay.call("GET", "/streams/nothing").json["error"] == "unknown_stream"
    relay.end()


def test_streams_are_listed_in_pages() -> None:
    relay = Relay()
    for channel in (1, 2, 3):
        relay.running(channel)
    first = relay.api("GET", "/streams?limit=2")
    assert ([item["channel"] for item in first["items"]], first["total"], first["next"]) == ([1, 2], 3, f"{SIM}_2")
    assert [item["channel"] for item in relay.api("GET", f"/streams?limit=2&after={first['next']}")["items"]] == [3]
    relay.end()


def test_a_viewer_is_kicked_and_a_stream_ended() -> None:
    relay = Relay()
    relay.running()
    page = relay.socket(f"/live/{SIM}_1.mp4")
    relay.clock.advance(0.2)
    messages(page)
    [viewer] = relay.api("GET", f"/streams/{SIM}_1/viewers")["items"]
    for wrong in ("999999", "x", "-1", "9" * 30):
        assert relay.call("DELETE", f"/streams/{SIM}_1/viewers/{wrong}").status == 404
    relay.api("DELETE", f"/streams/{SIM}_1/viewers/{viewer['id']}", role="operator", expect=204)
    assert messages(page)[-1][0] == 1008
    relay.api("DELETE", f"/streams/{SIM}_1", role="operator", expect=204)
    for _ in range(10):
        relay.clock.advance(1)
    assert relay.api("GET", "/streams")["total"] == 0
    relay.end()


# the relay itself ------------------------------------------------------------------------------


def test_the_status_tells_what_is_going_on() -> None:
    relay = Relay()
    relay.running()
    relay.clock.advance(60)
    status = relay.api("GET", "/status", role="viewer")
    assert (status["version"], status["demo"], status["role"], status["name"]) == ("1.2.3", False, "viewer", "the viewer")
    assert status["uptime_s"] >= 60
    assert status["terminals"] == {"online": 1, "seen": 1, "unregistered": 0}
    assert status["streams"]["running"] == 1
    assert status["http"]["connections"] >= 1
    assert status["ready"] is True
    relay.end()


def test_health_and_readiness() -> None:
    relay = Relay()
    assert relay.ask("GET", "/healthz").json == {"ok": True, "problems": []}
    assert relay.ask("GET", "/readyz").status == 200
    relay.problems.append("the store cannot be written")
    answer = relay.ask("GET", "/readyz")
    assert (answer.status, answer.json) == (503, {"ok": False, "problems": ["the store cannot be written"]})
    assert relay.ask("GET", "/healthz").status == 200
    relay.end()


def test_metrics_in_prometheus_form() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    watches: list[QualityWatch] = []

    def watch(relay: Relay) -> dict[str, Any]:
        watches.append(QualityWatch(relay.hub, relay.clock, relay.core.events))
        return {"quality": watches[0]}

    relay = Relay(metrics=Metrics(token="the scraper's own"), more=watch)
    stream = relay.running()
    watches[0].look(stream, relay.clock.seconds())
    player = relay.get(f"/live/{SIM}_1.flv")
    relay.clock.advance(0.2)
    late = Frame(VIDEO, 40, 40, False, bytes(5), H264, source_time=relay.clock.seconds() - 0.5)
    stream.push([late])
    assert relay.api("GET", f"/streams/{SIM}_1")["quality"] == {"score": 100, "causes": []}
    assert relay.api("GET", f"/streams/{SIM}_1")["delay_p99_ms"] == pytest.approx(500, rel=0.13)
    assert relay.ask("GET", "/metrics").status == 401
    assert relay.ask("GET", "/metrics", {"Authorization": "Bearer wrong"}).status == 401
    for token in ("the scraper's own", relay.api_token("viewer")):
        answer = relay.ask("GET", "/metrics", {"Authorization": f"Bearer {token}"})
        assert answer.status == 200
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    assert families["jt1078relay_terminals_online"].samples[0].value == 1
    assert {sample.labels["state"]: sample.value for sample in families["jt1078relay_streams"].samples}["running"] == 1
    assert families["jt1078relay_media_frames"].samples[0].value == 2
    assert families["jt1078relay_stream_viewers"].samples[0].labels == {"stream": f"{SIM}_1"}
    assert families["jt1078relay_stream_delay_p99_ms"].samples[0].value == pytest.approx(500, rel=0.13)
    assert families["jt1078relay_stream_quality"].samples[0].value == 100
    assert "process_resident_memory_bytes" in families
    player.lost()
    stream.end("over")
    answer = relay.ask("GET", "/metrics", {"Authorization": f"Bearer {relay.api_token('viewer')}"})
    assert "jt1078relay_media_frames_total 2.0" in answer.body.decode()  # sums do not fall
    relay.end()


def test_metrics_may_be_switched_off() -> None:
    relay = Relay(metrics=Metrics(enabled=False))
    assert relay.ask("GET", "/metrics", {"Authorization": f"Bearer {relay.api_token()}"}).status == 404
    relay.end()


def test_the_document_fits_what_is_answered() -> None:
    relay = Relay()
    relay.running()
    document = relay.api("GET", "/openapi.json", role="viewer")
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"
    paths = document["paths"]
    for path in (
        "/api/v1/terminals", "/api/v1/terminals/{sim}", "/api/v1/terminals/{sim}/channels/{channel}/live", "/api/v1/streams/{id}/viewers",
        "/api/v1/terminals/{sim}/messages/{id}", "/api/v1/events", "/live/{sim}_{channel}.flv", "/live/{sim}_{channel}.mp4", "/healthz",
    ):  # fmt: skip
        assert path in paths
    schemas = document["components"]["schemas"]

    def fits(value: Any, schema: dict[str, Any], where: str) -> None:
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        if "anyOf" in schema:
            schema = next(one for one in schema["anyOf"] if (one.get("type") == "null") == (value is None))
            fits(value, schema, where)
        elif schema.get("type") == "object" and "properties" in schema:
            assert set(schema.get("required", ())) <= set(value), where
            assert set(value) <= set(schema["properties"]), (where, set(value) - set(schema["properties"]))
            for name, inner in value.items():
                fits(inner, schema["properties"][name], f"{where}.{name}")
        elif schema.get("type") == "array":
            for item in value:
                fits(item, schema["items"], f"{where}[]")
        else:
            kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "object": dict}
            if "type" in schema:
                assert isinstance(value, kinds[schema["type"]]), (where, value)

    for path in ("/status", "/terminals", "/streams", f"/streams/{SIM}_1", f"/terminals/{SIM}", f"/streams/{SIM}_1/viewers", f"{CHANNEL}/play"):
        template = (
            path.replace(f"/streams/{SIM}_1", "/streams/{id}")
            .replace(f"/terminals/{SIM}", "/terminals/{sim}")
            .replace("/channels/1", "/channels/{channel}")
        )
        schema = paths[f"/api/v1{template}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        fits(relay.api("GET", path), schema, path)
    relay.end()


def test_no_answer_shows_a_secret() -> None:
    relay = Relay(metrics=Metrics(token="planted-scraper-token"), auth=replace(Auth(), signing_key="planted-signing-key"))
    relay.running()
    for path in ("/status", "/terminals", "/streams", "/openapi.json", f"{CHANNEL}/traces"):
        assert b"planted" not in relay.call("GET", path).body
    assert b"planted" not in relay.ask("GET", "/metrics", {"Authorization": f"Bearer {relay.api_token()}"}).body
    relay.end()
