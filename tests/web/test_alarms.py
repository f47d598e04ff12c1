"""GET /api/v1/alarms, one of them, and its acknowledgement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.core.alarms import Alarms
from relay.core.audit import Audit
from relay.jt808.messages.location import LocationReport
from relay.store.alarms import AlarmStore
from relay.store.audit import AuditStore
from tests.core.test_alarms import T0, adas, digits, sign
from tests.store.direct import DirectDatabase
from tests.web.test_api import SIM
from tests.web.world import Relay

ITEMS = [adas(), adas(event_type=2, alarm_sign=sign(1))]


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    database = DirectDatabase(tmp_path / "a.db")

    def more(relay: Relay) -> dict[str, Any]:
        alarms = Alarms(AlarmStore(database), relay.clock, relay.core.events, relay.wall)
        relay.core.terminals.learning.watch_locations(alarms.came)
        alarms.start()
        return {"alarms": alarms, "audit": Audit(AuditStore(database), relay.clock, relay.wall)}

    made = Relay(more=more)
    device = made.online()
    device.say(LocationReport(alarm_flags=1, latitude=22_500_000, longitude=114_000_000, time=digits(T0), items=ITEMS))
    yield made
    made.web.audit.stop()
    for call in made.clock.getDelayedCalls():
        if "Batch" in str(call.func):
            call.cancel()
    made.end()
    database.close()


def test_a_page(relay: Relay) -> None:
    page = relay.api("GET", "/alarms?limit=2")
    assert (page["total"], [item["kind"] for item in page["items"]]) == (3, ["adas", "adas"])
    (last,) = relay.api("GET", f"/alarms?limit=2&after={page['next']}")["items"]
    assert (last["kind"], last["code"], last["ended"], last["name"]) == ("terminal", 0, None, "emergency button (紧急报警)")
    assert relay.api("GET", f"/alarms/{last['id']}") == last


def test_filters(relay: Relay) -> None:
    assert relay.api("GET", "/alarms?sim=bus-17&kind=adas&code=2&level=2&open=true&files=true&acknowledged=false")["total"] == 1
    assert relay.api("GET", "/alarms?from=2000-01-01&to=2001-01-01")["total"] == 0
    assert relay.api("GET", "/alarms?sim=nobody", expect=404)["error"] == "unknown_terminal"
    assert relay.api("GET", "/alarms?kind=weather", expect=400)["error"] == "bad_query"
    assert relay.api("GET", "/alarms/x", expect=404)["error"] == "unknown_alarm"


def test_acknowledged_once_and_written_down(relay: Relay) -> None:
    number = relay.api("GET", "/alarms?kind=terminal")["items"][0]["id"]
    assert relay.call("POST", f"/alarms/{number}/acknowledge", {}, role="viewer").status == 403
    seen = relay.api("POST", f"/alarms/{number}/acknowledge", {"note": "called the driver"}, role="operator")
    assert (seen["acknowledged_by"], seen["note"]) == ("the operator", "called the driver")
    assert relay.api("GET", "/alarms?acknowledged=true")["total"] == 1
    (entry,) = relay.api("GET", "/audit?action=alarm")["items"]
    assert (entry["who"], entry["subject"]) == ("the operator", SIM)
    assert relay.api("POST", "/alarms/x/acknowledge", expect=404)["error"] == "unknown_alarm"
    assert "alarm.acknowledged" in json.dumps(list(relay.core.events.recent))
