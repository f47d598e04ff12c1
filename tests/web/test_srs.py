"""SRS's questions: off unless switched on, behind a token, in its shapes."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from relay.settings import Http
from tests.web.test_accounts import relay_with_users
from tests.web.world import Relay

BASE = "/srs/api/v1"


def compatible(**more: Any) -> Relay:
    return Relay(media={"unrequested": "accept"}, http=Http(compat="srs"), **more)


def bearer(relay: Relay, role: str = "admin") -> dict[str, str]:
    return {"Authorization": f"Bearer {relay.api_token(role)}"}


@pytest.mark.parametrize(("compat", "srs", "zlm"), [("none", 404, 404), ("srs", 200, 404), ("zlm", 404, 200), ("both", 200, 200)])
def test_each_form_is_there_only_when_switched_on(compat: str, srs: int, zlm: int) -> None:
    relay = Relay(http=Http(compat=compat))
    assert relay.ask("GET", f"{BASE}/streams/?token={relay.api_token()}").status == srs
    assert relay.ask("GET", f"/index/api/getMediaList?secret={relay.api_token()}").status == zlm
    relay.end()


def test_versions_and_summaries_have_what_programs_look_at() -> None:
    relay = compatible()
    told = relay.ask("GET", f"{BASE}/versions", bearer(relay)).json
    assert (told["code"], told["data"]["major"], told["data"]["version"], told["data"]["jt1078relay"]) == (0, 5, "5.0.0", "1.2.3")
    assert {"server", "service", "pid"} < told.keys()
    data = relay.ask("GET", f"{BASE}/summaries", bearer(relay)).json["data"]
    assert data["ok"] is True
    assert data["self"]["srs_uptime"] == 0
    assert data["system"]["conn_srs"] == 0
    relay.end()


def test_streams_and_their_clients() -> None:
    relay = compatible()
    relay.running()
    relay.get("/live/13800138000_1.flv", relay.media_token(viewer="anna"))
    relay.clock.advance(0.1)
    headers = bearer(relay)
    for path in ("/streams", "/streams/"):
        told = relay.ask("GET", BASE + path, headers).json
        (stream,) = told["streams"]
        assert told["code"] == 0
        assert {key: stream[key] for key in ("id", "name", "app", "url", "clients")} == {
            "id": "live-13800138000_1", "name": "13800138000_1", "app": "live", "url": "/live/13800138000_1", "clients": 2,
        }  # fmt: skip
        assert stream["video"]["codec"] == "H264"
        assert stream["publish"]["active"] is True
        assert {"vhost", "tcUrl", "live_ms", "frames", "send_bytes", "recv_bytes", "kbps", "audio"} < stream.keys()
    assert relay.ask("GET", f"{BASE}/streams/live-13800138000_1", headers).json["stream"] == stream
    clients = relay.ask("GET", f"{BASE}/clients/", headers).json["clients"]
    assert [(one["type"], one["publish"], one["who"], one["stream"]) for one in clients] == [
        ("fmle-publish", True, "", "live-13800138000_1"), ("flv-play", False, "anna", "live-13800138000_1"),
    ]  # fmt: skip
    assert clients[0]["id"] == stream["publish"]["cid"]
    assert clients[0]["ip"] == "10.0.0.7"
    assert clients[1]["alive"] == 0.1
    assert relay.ask("GET", f"{BASE}/clients/{clients[1]['id']}", headers).json["client"]["id"] == clients[1]["id"]
    assert [one["id"] for one in relay.ask("GET", f"{BASE}/clients/?start=1&count=5", headers).json["clients"]] == [clients[1]["id"]]
    (vhost,) = relay.ask("GET", f"{BASE}/vhosts/", headers).json["vhosts"]
    assert (vhost["name"], vhost["streams"], vhost["clients"]) == ("__defaultVhost__", 1, 2)
    assert relay.ask("GET", f"{BASE}/vhosts/{vhost['id']}", headers).json["vhost"]["id"] == stream["vhost"]
    relay.end()


def test_a_player_is_closed_and_a_publisher_ends_the_stream() -> None:
    relay = compatible()
    relay.running()
    player = relay.get("/live/13800138000_1.flv", relay.media_token(viewer="anna"))
    clients = relay.ask("GET", f"{BASE}/clients/", bearer(relay)).json["clients"]
    assert relay.ask("DELETE", f"{BASE}/clients/{clients[1]['id']}", bearer(relay, "viewer")).status == 403
    assert relay.ask("DELETE", f"{BASE}/clients/{clients[1]['id']}?token={relay.api_token()}").status == 401, "an address may be another site's"
    assert relay.ask("DELETE", f"{BASE}/clients/{clients[1]['id']}", bearer(relay)).json["code"] == 0
    relay.clock.advance(1.0)
    assert player.disconnecting or player.disconnected
    assert len(relay.ask("GET", f"{BASE}/clients/", bearer(relay)).json["clients"]) == 1
    assert relay.ask("DELETE", f"{BASE}/clients/{clients[0]['id']}", bearer(relay)).json["code"] == 0
    assert relay.device is not None
    assert [header.msg_id for header, _ in relay.device.commands()].count(0x9102) == 1
    relay.end()


@pytest.mark.parametrize("path", ["streams/x", "clients/1", "clients/pub-x", "vhosts/x"])
def test_what_there_is_not(path: str) -> None:
    relay = compatible()
    answer = relay.ask("GET", f"{BASE}/{path}", bearer(relay))
    assert answer.status == 404
    assert answer.json["hint"]
    relay.end()


@pytest.mark.parametrize("query", ["count=0", "count=x", "start=-1", "count=99999999999"])
def test_pages_that_mean_nothing(query: str) -> None:
    relay = compatible()
    assert relay.ask("GET", f"{BASE}/streams/?{query}", bearer(relay)).status == 400
    relay.end()


def test_tokens_as_srs_clients_send_them() -> None:
    relay = compatible()
    assert relay.ask("GET", f"{BASE}/streams/").status == 401
    token = relay.api_token("viewer")
    for word, status in ((f"any:{token}", 200), ("any:wrong", 401), ("any:", 401), (token, 401)):
        basic = {"Authorization": f"Basic {b64encode(word.encode()).decode()}"}
        assert relay.ask("GET", f"{BASE}/streams/", basic).status == status, word
        assert relay.ask("GET", "/api/v1/streams", basic).status == 401, "only there"
    for word in ("!!", "", "/w=="):
        assert relay.ask("GET", f"{BASE}/streams/", {"Authorization": f"Basic {word}"}).status == 401
    relay.end()


def test_accounts_with_groups_see_their_own() -> None:
    relay = relay_with_users(media={"unrequested": "accept"}, http=Http(compat="srs"))
    relay.running()
    from tests.web.test_accounts import Browser

    guy = Browser(relay)
    guy.login("guy", "password of guy")
    cookie = {"Cookie": f"jt1078relay={guy.cookie}"}
    assert relay.ask("GET", f"{BASE}/streams/", cookie).json["streams"] == []
    assert relay.ask("GET", f"{BASE}/clients/", cookie).json["clients"] == []
    assert relay.ask("GET", f"{BASE}/streams/live-13800138000_1", cookie).status == 404
    relay.end()
