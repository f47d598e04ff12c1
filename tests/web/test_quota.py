"""A user's limits as players and programs meet them: 429, what and why, and when to come again."""

from __future__ import annotations

from typing import Any

from relay.core.quota import Quota
from relay.settings import Limits
from tests.web.support import parse
from tests.web.test_accounts import Browser
from tests.web.world import Relay


def limited(**limits: Any) -> Relay:
    return Relay(
        media={"unrequested": "accept"},
        more=lambda relay: {"quota": Quota(Limits(**limits), relay.clock.seconds, relay.accounts.is_user)},
    )


def test_a_token_that_asks_too_often_is_told_when_to_come_again() -> None:
    relay = limited(requests_per_user_s=0.5, requests_burst=2)
    token = {"Authorization": f"Bearer {relay.api_token('viewer')}"}
    other = {"Authorization": f"Bearer {relay.api_token('viewer')}"}
    assert [relay.ask("GET", "/api/v1/streams", token).status for _ in range(2)] == [200, 200]
    answer = relay.ask("GET", "/api/v1/streams", token)
    assert answer.status == 429
    assert answer.headers["retry-after"] == "2"
    assert answer.json["error"] == "too_many_requests"
    assert answer.json["message"] == "the viewer asks the API more often than one may."
    assert "limits.requests_per_user_s" in answer.json["hint"]
    assert relay.ask("GET", "/api/v1/streams", other).status == 200, "another token is another program"
    assert relay.ask("GET", "/healthz").status == 200
    relay.clock.advance(2.0)
    assert relay.ask("GET", "/api/v1/streams", token).status == 200
    metrics = relay.ask("GET", "/metrics", token)
    assert b'jt1078relay_quota_refused_total{what="requests"} 1.0' in metrics.body
    relay.end()


def test_a_user_has_one_limit_over_sessions_and_tokens() -> None:
    relay = limited(requests_per_user_s=0.1, requests_burst=8)
    relay.api("POST", "/users", {"name": "ann", "role": "admin", "password": "password of ann"}, expect=201)
    first, second = Browser(relay), Browser(relay)
    assert first.login("ann", "password of ann").status == second.login("ann", "password of ann").status == 200
    made = first.ask("POST", "/tokens", {"name": "script", "role": "viewer", "expires_s": 3600})
    assert made.status == 201
    token = {"Authorization": f"Bearer {made.json['token']}"}
    statuses = [one for _ in range(5) for one in (first.ask("GET", "/streams").status, second.ask("GET", "/streams").status)]
    assert statuses[-1] == 429
    assert relay.ask("GET", "/api/v1/streams", token).status == 429
    assert relay.api("GET", "/streams")["items"] == [], "others go on"
    relay.end()


def test_what_is_refused_for_another_reason_costs_nothing() -> None:
    relay = limited(requests_per_user_s=0.1, requests_burst=1)
    viewer = {"Authorization": f"Bearer {relay.api_token('viewer')}"}
    assert [relay.ask("DELETE", "/api/v1/terminals/1", viewer).status for _ in range(3)] == [403] * 3
    assert relay.ask("GET", "/api/v1/streams", viewer).status == 200
    relay.end()


def test_one_player_too_many_is_refused_over_http_and_websocket_and_an_end_makes_room() -> None:
    relay = limited(viewers_per_token=2)
    relay.running()
    token = relay.media_token(viewer="anna")
    first, second = (relay.get("/live/13800138000_1.flv", token) for _ in range(2))
    assert parse(first.value())[0].status == 200
    refused = relay.get("/live/13800138000_1.flv", token)
    answer = parse(refused.value())[0]
    assert (answer.status, answer.json["error"]) == (429, "too_many_viewers")
    assert answer.json["message"] == "anna has 2 players running, as many as one may have."
    assert parse(relay.get("/live/13800138000_1.flv", relay.media_token()).value())[0].status == 200, "a token for nobody"
    second.lost()
    relay.clock.advance(1.0)
    assert parse(relay.get("/live/13800138000_1.flv", token).value())[0].status == 200
    relay.end()


def test_without_limits_in_the_configuration_nothing_is_refused() -> None:
    relay = limited(viewers_per_user=0, viewers_per_token=0, requests_per_user_s=0.0)
    token = {"Authorization": f"Bearer {relay.api_token('viewer')}"}
    assert {relay.ask("GET", "/api/v1/streams", token).status for _ in range(1000)} == {200}
    relay.end()
