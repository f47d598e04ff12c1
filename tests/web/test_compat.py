"""ZLMediaKit's questions: off unless switched on, behind a token, filtered by groups as everything else."""

from __future__ import annotations

import pytest

from relay.settings import Http
from tests.web.world import Relay


def test_it_is_not_there_unless_switched_on() -> None:
    relay = Relay()
    assert relay.ask("GET", f"/index/api/getMediaList?secret={relay.api_token()}").status == 404
    relay.end()


def test_what_runs_is_told_and_one_stream_is_closed() -> None:
    relay = Relay(media={"unrequested": "accept"}, http=Http(compat="zlm"))
    relay.running()
    secret = relay.api_token()
    (told,) = relay.ask("GET", f"/index/api/getMediaList?secret={secret}&schema=rtmp&app=live").json["data"]
    assert (told["app"], told["stream"], told["readerCount"]) == ("live", "13800138000_1", 0)
    assert told["tracks"][0]["codec_id_name"] == "H264"
    asked = f"secret={secret}&app=live&stream=13800138000_1"
    assert relay.ask("GET", f"/index/api/isMediaOnline?{asked}").json == {"code": 0, "online": True}
    assert relay.ask("GET", f"/index/api/isMediaOnline?{asked}9").json == {"code": 0, "online": False}
    assert relay.ask("GET", f"/index/api/close_streams?secret={secret}").status == 400
    assert relay.ask("GET", f"/index/api/close_streams?{asked}").json == {"code": 0, "count_hit": 1, "count_closed": 1}
    relay.end()


@pytest.mark.parametrize("name", ["getMediaList", "isMediaOnline", "close_streams"])
def test_nothing_is_told_without_a_token_and_a_viewer_closes_nothing(name: str) -> None:
    relay = Relay(http=Http(compat="zlm"))
    assert relay.ask("GET", f"/index/api/{name}?stream=x").status == 401
    assert relay.ask("GET", f"/index/api/{name}?stream=x&secret=wrong").status == 401
    viewer = relay.ask("GET", f"/index/api/{name}?stream=x&secret={relay.api_token('viewer')}")
    assert viewer.status == (403 if name == "close_streams" else 200)
    relay.end()
