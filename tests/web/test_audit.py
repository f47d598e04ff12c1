"""GET /api/v1/audit and its export."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.core.audit import Audit
from relay.store.audit import AuditStore
from tests.store.direct import DirectDatabase
from tests.web.test_accounts import Browser
from tests.web.world import Relay


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DirectDatabase]:
    made = DirectDatabase(tmp_path / "a.db")
    yield made
    made.close()


@pytest.fixture
def relay(database: DirectDatabase) -> Iterator[Relay]:
    def more(relay: Relay) -> dict[str, Any]:
        return {"audit": Audit(AuditStore(database), relay.clock, relay.wall)}

    made = Relay(more=more)
    audit: Audit = made.web.audit
    audit.record("ann", "view", "13800138000_1", "flv", "10.0.0.5", bytes=1000)
    made.clock.advance(60)
    audit.record("bob", "message", "13800138000", "=1+1")
    audit.record("b\0ob\udc80", "message", "x" * 600)
    yield made
    audit.stop()
    made.end()


def test_a_page_newest_first_with_what_was_recorded_just_now(relay: Relay) -> None:
    page = relay.api("GET", "/audit?limit=2")
    assert page["total"] == 3
    assert [row["who"] for row in page["items"]] == ["b\ufffdob?", "bob"]
    assert len(page["items"][0]["subject"]) == 500
    (last,) = relay.api("GET", f"/audit?limit=2&after={page['next']}")["items"]
    assert last == {
        "id": last["id"], "time": last["time"], "who": "ann", "action": "view", "subject": "13800138000_1", "detail": "flv",
        "address": "10.0.0.5", "bytes": 1000,
    }  # fmt: skip
    assert last["time"].endswith("+08:00")


def test_filters(relay: Relay) -> None:
    assert relay.api("GET", "/audit?subject=013800138000")["total"] == 2
    first = relay.api("GET", "/audit?who=ann")["items"][0]["time"]
    assert relay.api("GET", f"/audit?to={first[:23]}")["total"] == 0, "no zone is GMT+8"
    assert relay.api("GET", f"/audit?from={first[:23]}&action=view")["total"] == 1
    assert relay.api("GET", f"/audit?from={first}")["total"] == 3, "a plus sign that was not escaped"
    assert relay.api("GET", "/audit?from=yesterday", expect=400)["error"] == "bad_query"
    assert relay.api("GET", "/audit?after=x", expect=400)["error"] == "bad_query"


def test_exports(relay: Relay) -> None:
    answer = relay.call("GET", "/audit/export")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "audit.csv" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert [row["detail"] for row in rows] == ["", "'=1+1", "flv"], "nothing that a spreadsheet would run"
    assert [row["bytes"] for row in json.loads(relay.call("GET", "/audit/export?format=json&who=ann").body)] == [1000]


def test_it_is_for_administrators(relay: Relay) -> None:
    assert relay.call("GET", "/audit", role="operator").status == 403
    assert relay.call("GET", "/audit/export", role="viewer").status == 403


def test_a_store_that_refuses_is_said_so(relay: Relay, database: DirectDatabase) -> None:
    database.refusing = "disk full"
    assert relay.api("GET", "/audit", expect=503)["error"] == "store"
    database.refusing = ""
    assert relay.api("GET", "/audit")["total"] == 3, "and what was recorded meanwhile is there"


def notes(relay: Relay, action: str) -> list[tuple[str, str, str]]:
    return [(row["who"], row["subject"], row["detail"]) for row in reversed(relay.api("GET", f"/audit?action={action}")["items"])]


def test_log_ins_users_and_tokens_are_noted_without_a_secret(relay: Relay) -> None:
    relay.api("POST", "/users", {"name": "cam", "role": "viewer", "password": "a good secret", "groups": ["north"]}, expect=201)
    relay.api("PUT", "/users/cam", {"role": "operator", "groups": [], "password": "another secret"})
    relay.api("PUT", "/users/cam", {"enabled": True})
    browser = Browser(relay)
    assert browser.login("cam", "a bad secret").status == 401
    assert browser.login("nobody", "a bad secret").status == 401
    browser.login("cam", "another secret")
    browser.ask("PUT", "/session/password", {"old": "another secret", "new": "the third secret"})
    browser.login("cam", "the third secret")
    assert browser.ask("DELETE", "/session").status == 204
    made = relay.api("POST", "/tokens", {"name": "wall", "role": "viewer", "groups": [], "expires_s": 3600}, expect=201)
    relay.api("DELETE", f"/tokens/{made['id']}", expect=204)
    relay.api("DELETE", "/users/cam", expect=204)
    assert notes(relay, "login") == [
        ("cam", "cam", "refused: wrong name or password"), ("nobody", "nobody", "refused: wrong name or password"), ("cam", "cam", "logged in"),
        ("cam", "cam", "logged in"), ("cam", "cam", "logged out"),
    ]  # fmt: skip
    assert [(subject, detail) for _, subject, detail in notes(relay, "user")] == [
        ("cam", "added: viewer of north"), ("cam", "changed: operator of all terminals, another password"), ("cam", "changed: may sign in"),
        ("cam", "changed the own password"), ("cam", "removed"),
    ]  # fmt: skip
    first, last = notes(relay, "token")
    assert first[1] == last[1] == made["id"]
    assert first[2].startswith("made: wall, viewer of all terminals, good until ")
    assert last[2] == "revoked"
    everything = relay.call("GET", "/audit/export?format=json").body.decode()
    assert "secret" not in everything
    assert made["token"] not in everything


def test_what_people_say_of_quirks_is_noted(relay: Relay) -> None:
    relay.api("PUT", "/quirks/models/JTSIM/SIM-1078", {"override": {"talk.keep_ms": 400}, "forget": True})
    assert [note[1:] for note in notes(relay, "quirk")] == [("JTSIM/SIM-1078", "talk.keep_ms 400; what was learnt is forgotten")]
