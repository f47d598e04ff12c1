"""Data budgets and views by the API, over real live channels: counted by purpose, warned, stepped down, refused, renewed; asked "still watching?"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from relay.core.audit import Audit
from relay.core.budget import FLUSH_S, LOOK_S, Budget
from relay.core.views import OVER, Views
from relay.jt808.messages.video import RealtimeAvControl, RealtimeAvRequest
from relay.settings import Budget as BudgetSettings
from relay.store.audit import AuditStore
from relay.store.traffic import TrafficStore
from relay.web.media import tell_player
from tests.store.direct import DirectDatabase
from tests.web.test_api import SIM
from tests.web.world import Relay, messages, picture

DAY_S = 86400.0
STOPPED_S = 10.0  #: until a terminal that was told to stop is known to have done so


class Site:
    """A relay whose streams are counted."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.database = DirectDatabase(path)
        self.settings = BudgetSettings(**settings)
        self.shift = 0.0
        self.relay = Relay(more=self._more)
        self.events: list[dict[str, Any]] = []
        self.relay.core.events.subscribe(self.events.append)

    def _more(self, relay: Relay) -> dict[str, Any]:
        core = relay.core
        self.relay_wall = relay.wall
        self.audit = Audit(AuditStore(self.database), Clock(), relay.wall)
        self.budget = Budget(self.settings, TrafficStore(self.database), relay.live, relay.hub, core.terminals, relay.clock, core.events, self.wall)
        self.views = Views(self.settings, relay.hub, relay.clock, core.events, self.audit, tell_player)
        self.budget.start()
        self.views.start()
        return {"audit": self.audit, "budget": self.budget, "views": self.views}

    def again(self) -> None:
        """The relay is started anew on the same store."""
        self.budget.stop()
        relay = self.relay
        self.budget = Budget(
            self.settings, TrafficStore(self.database), relay.live, relay.hub, relay.core.terminals, relay.clock, relay.core.events, self.wall
        )
        self.budget.start()

    def wall(self) -> float:
        return self.relay_wall() + self.shift

    def told(self, prefix: str) -> list[str]:
        return [event["event"] for event in self.events if event["event"].startswith(prefix)]

    def pictures(self, stream: Any, size: int, count: int = 1) -> None:
        for _ in range(count):
            picture(stream, 0, size=size)
        self.relay.clock.advance(LOOK_S)

    def end(self) -> None:
        self.budget.stop()
        self.views.stop()
        self.relay.end()
        self.audit.stop()
        self.database.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Site] = []

    def build(**settings: Any) -> Site:
        made.append(Site(tmp_path / "a.db", **settings))
        return made[-1]

    yield build
    for site in made:
        site.end()


def by_purpose(site: Site) -> dict[tuple[int, str], int]:
    told = site.relay.api("GET", f"/terminals/{SIM}/traffic")
    return {(row["channel"], row["purpose"]): row["bytes"] for row in told["items"]}


def watch(site: Site, channel: int = 1) -> tuple[Any, Any]:
    """A viewer over a WebSocket of a channel that was idle: (its transport, the stream)."""
    viewer = site.relay.socket(f"/live/{SIM}_{channel}.mp4")
    site.relay.asked()
    stream = site.relay.media(channel)
    picture(stream, 0, key=True)
    return viewer, stream


def test_bytes_are_counted_by_channel_and_purpose(make: Any) -> None:
    site = make()
    site.relay.online()
    viewer, stream = watch(site)
    site.pictures(stream, 1000, 3)
    before = stream.received
    held = site.relay.live.acquire(SIM, 1, purpose="recorder", who="disk")
    site.pictures(stream, 500)
    viewer.lost()
    site.pictures(stream, 200)
    lease: list[Any] = []
    held.addCallback(lease.append)
    lease[0].release()
    site.pictures(stream, 70)
    counted = by_purpose(site)
    assert counted[1, "viewer"] == before + 500, "who wanted it first, while they do"
    assert (counted[1, "recorder"], counted[1, "idle"]) == (200, 70)
    terminal = site.relay.core.terminals.get(SIM)
    assert terminal is not None
    assert counted[0, "signalling"] == sum(terminal.traffic())
    assert sum(counted.values()) == stream.received + sum(terminal.traffic())
    assert site.relay.api("GET", f"/terminals/{SIM}/traffic")["bytes"] == sum(counted.values())
    assert site.relay.api("GET", "/traffic")["items"][0]["day_bytes"] == sum(counted.values())
    (view,) = site.relay.api("GET", "/audit?action=view")["items"]
    assert (view["subject"], view["bytes"] > 0, view["detail"].startswith("live, mp4/ws/av")) == (f"{SIM}_1", True, True)


def test_a_streams_last_bytes_count(make: Any) -> None:
    site = make()
    site.relay.online()
    _, stream = watch(site)
    picture(stream, 0, size=12345)
    total = stream.received
    stream.end("the terminal went away")
    assert by_purpose(site)[1, "viewer"] == total


def test_warned_stepped_down_refused(make: Any) -> None:
    site = make(day_bytes=100_000, warn_percent=50, sub_percent=75)
    device = site.relay.online()
    viewer = site.relay.socket(f"/live/{SIM}_1.mp4?stream=main")
    assert site.relay.asked().stream_type == 0
    stream = site.relay.media()
    picture(stream, 0, key=True)
    site.pictures(stream, 50_000)
    assert site.told("budget") == ["budget.warn"]
    site.pictures(stream, 25_000)
    assert site.told("budget") == ["budget.warn", "budget.sub"]
    (switch,) = [message for _, message in device.commands() if isinstance(message, RealtimeAvControl)]
    assert (switch.command, switch.stream_type) == (1, 1)
    site.relay.socket(f"/live/{SIM}_2.mp4?stream=main")
    (other,) = [message for _, message in device.commands() if isinstance(message, RealtimeAvRequest)]
    assert other.stream_type == 1, "a new view gets the sub stream"
    site.pictures(stream, 25_000)
    assert site.told("budget")[-1] == "budget.spent"
    site.relay.clock.advance(STOPPED_S)
    told = messages(viewer)
    assert any(isinstance(message, dict) and message["type"] == "end" and "data budget" in message["message"] for message in told), told
    refused = site.relay.ask("GET", f"/live/{SIM}_1.flv?token={site.relay.media_token()}")
    assert (refused.status, refused.json["error"]) == (409, "budget_spent")
    assert "of 100000 bytes today" in refused.json["message"]
    assert site.budget.refuses(SIM)
    assert site.relay.api("GET", f"/terminals/{SIM}/traffic")["usage"]["level"] == "spent"
    raised = site.relay.api("PUT", f"/terminals/{SIM}/budget", {"day_bytes": 10_000_000})
    assert (raised["level"], raised["day_budget"]) == ("ok", 10_000_000)
    assert site.told("budget")[-1] == "budget.renewed"
    assert site.relay.live.allowance(stream.key, "main", "viewer") == ("main", None)


def test_a_restart_forgets_nothing_and_a_new_day_begins_at_nothing(make: Any) -> None:
    site = make(day_bytes=10_000, month_bytes=15_000)
    site.budget.count(SIM, 1, "viewer", 10_000)
    site.relay.clock.advance(FLUSH_S)
    site.again()
    assert site.budget.level(SIM) == "spent"
    site.shift = DAY_S
    assert site.budget.usage(SIM).day == 0
    assert site.budget.level(SIM) == "ok"
    site.budget.count(SIM, 1, "viewer", 4000)
    assert site.budget.level(SIM) == "sub", "of the month"
    assert len({row.day for row in _rows(site)}) == 2


def _rows(site: Site) -> list[Any]:
    found: list[Any] = []
    site.budget.flush()
    site.budget.batch.flush()
    site.budget._store.of_terminal(SIM, 0, 99999999).addCallback(found.extend)
    return found


def test_who_had_a_stream_that_ended_does_not_stand_for_the_next_one(make: Any) -> None:
    site = make()
    site.relay.online()
    site.relay.live.acquire(SIM, 1, purpose="recorder", who="disk")
    site.relay.asked()
    stream = site.relay.media()
    picture(stream, 0, key=True)
    stream.end("the terminal went away")
    recorded = by_purpose(site)[1, "recorder"]
    _, stream = watch(site)
    site.pictures(stream, 1000, 3)
    counted = by_purpose(site)
    assert (counted[1, "recorder"], counted[1, "viewer"]) == (recorded, stream.received)


def test_who_is_exempt_is_counted_and_never_cut(make: Any) -> None:
    site = make(day_bytes=1000, exempt=("superior",))
    site.relay.online()
    site.budget.count(SIM, 1, "viewer", 5000)
    waiting = site.relay.live.acquire(SIM, 1, stream="main", purpose="superior", who="province")
    assert site.relay.asked().stream_type == 0
    stream = site.relay.media()
    picture(stream, 0, key=True)
    assert waiting.called
    site.pictures(stream, 100)
    assert by_purpose(site)[1, "superior"] == stream.received


def test_a_view_is_asked_and_ends_or_goes_on(make: Any) -> None:
    site = make(view_s=100, view_ask_s=30)
    site.relay.online()
    viewer, stream = watch(site)
    site.relay.get(f"/live/{SIM}_1.flv")
    site.relay.clock.advance(1)
    messages(viewer)
    for _ in range(69):
        site.pictures(stream, 100)
    asked = [message for message in messages(viewer) if isinstance(message, dict) and message["type"] == "still_watching"]
    assert len(asked) == 1
    assert site.told("view.asked") == ["view.asked"] * 2
    assert site.relay.ask("POST", asked[0]["continue"]).status == 204
    assert site.relay.ask("POST", asked[0]["continue"]).status == 404, "once"
    for _ in range(40):
        site.pictures(stream, 100)
    assert [sink.closed is not None for sink in site.relay.sinks] == [False, True], "nobody said so for the second"
    for _ in range(70):
        site.pictures(stream, 100)
    assert any(isinstance(message, dict) and message.get("type") == "end" and OVER in message["message"] for message in messages(viewer))
    assert {row["detail"].rpartition(": ")[2] for row in site.relay.api("GET", "/audit?action=view")["items"]} == {OVER}


def test_days_and_terminals_are_looked_at(make: Any) -> None:
    site = make()
    relay = site.relay
    assert relay.api("GET", "/terminals/nobody/traffic", expect=404)["error"] == "unknown_terminal"
    assert relay.api("GET", f"/terminals/{SIM}/traffic?from=yesterday", expect=400)["error"] == "bad_query"
    assert relay.api("GET", f"/terminals/{SIM}/traffic?from=2020-01-01", expect=400)["error"] == "bad_query"
    assert relay.api("GET", f"/terminals/{SIM}/traffic?from=2020-01-01&to=2020-01-05")["items"] == []
    assert relay.call("PUT", f"/terminals/{SIM}/budget", {"day_bytes": 1}, role="viewer").status == 403
    assert relay.call("PUT", f"/terminals/{SIM}/budget", {"day_bytes": -1}).status == 400


def test_nothing_is_uploaded_once_the_budget_is_spent(make: Any) -> None:
    site = make(day_bytes=1000)
    site.budget.count(SIM, 1, "upload", 1000)
    assert site.budget.refuses(SIM) == "its data budget is spent"
    assert site.budget.refuses(f"0{SIM}") != "", "by any spelling of the number"
    assert site.budget.refuses("13900139000") == ""
