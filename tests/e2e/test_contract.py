"""The API against its own OpenAPI document: thousands of requests made from the document, and no answer that it does not name.

A 500 stands nowhere in the document, so one is a finding; 502, 503 and 504 are true answers where a terminal does not do what it was asked.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import BIN, Product, run, wait_for
from tests.ports import free_port
from tests.shared import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

#: media, and the sound of calls: tests of their own
MEDIA = re.compile(r"/(live|playback|talk)/")


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A relay with a rule, so that alarms have files; one for the whole module, whose last test asks for everything and so deletes much."""
    tmp_path = tmp_path_factory.mktemp("contract")
    rule = {"name": "collisions", "alarms": ["adas.1"], "level": 2, "attachments": True}
    superior = {
        "name": "province", "host": "127.0.0.1", "port": free_port(), "access_code": 1, "user_id": 1, "password": "x", "platform_id": "44030012345",
        "sublink_host": "127.0.0.1", "sublink_port": free_port(),
    }  # fmt: skip
    with Product(tmp_path, rules=(rule,), superiors=(superior,), store={"directory": str(tmp_path)}, attachments={"delay_s": 0.0, "free_bytes": 0}) as product:
        yield product


@pytest.fixture(scope="module")
def places(relay: Product) -> dict[str, str]:
    """Something of each kind, so that requests reach more than "there is none"."""
    relay.terminal("013811138111", "--alarm-interval", "1", "--position-interval", "1", "--channels", "1")
    channel = "/terminals/13811138111/channels/1"
    relay.api("POST", f"{channel}/live", {})
    stored = relay.api("POST", f"{channel}/recordings/search", {})["items"][0]
    span = {name: stored[name] for name in ("start_time", "end_time")}
    upload = relay.api("POST", f"{channel}/uploads", span, expect=201)
    playback = relay.api("POST", f"{channel}/playback", span, expect=201)
    push = relay.api("POST", "/pushes", {"url": "rtmp://127.0.0.1:1/live/x", "sim": "13811138111"}, expect=201)
    streams = wait_for("a stream", lambda: relay.api("GET", "/streams")["items"])
    relay.api("POST", f"{channel}/record", {})
    alarms = wait_for("an alarm", lambda: relay.api("GET", "/alarms?kind=adas")["items"])
    videos = wait_for("a recorded file", lambda: relay.api("GET", "/videos")["items"])
    return {
        "uploads": upload["id"], "playbacks": playback["id"], "pushes": push["id"], "streams": streams[0]["id"], "alarms": alarms[0]["id"],
        "videos": videos[0]["id"],
    }  # fmt: skip


def configuration(places: dict[str, str]) -> str:
    """schemathesis' own file."""
    lines = ["[parameters]", '"path.sim" = "13811138111"', '"path.channel" = 1', '"path.name" = "province"']
    for kind, ident in places.items():
        lines += ["[[operations]]", f'include-path-regex = "^/api/v1/{kind}/[{{]id[}}]"', f'parameters = {{ "path.id" = {json.dumps(ident)} }}']
    return "\n".join(lines)


def endless(document: dict[str, Any]) -> set[str]:
    """Paths whose answers do not end: events, media, sound."""
    found = set()
    for path, operations in document["paths"].items():
        types = {kind for one in operations.values() for kind in one["responses"].get("200", {}).get("content", ())}
        if MEDIA.match(path) or "text/event-stream" in types:
            found.add(path)
    return found


class Grouped:
    """Somebody with an account for the group "north"."""

    def __init__(self, relay: Product) -> None:
        self.base = f"http://127.0.0.1:{relay.ports['http']}"
        relay.api("POST", "/users", {"name": "guy", "role": "operator", "password": "password of guy", "groups": ["north"]}, expect=201)
        self.headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.base}/api/v1/session", b'{"name": "guy", "password": "password of guy"}', self.headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.headers["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]
            self.headers["X-CSRF-Token"] = json.loads(answer.read())["csrf"]

    def ask(self, method: str, path: str) -> tuple[int, str]:
        """Status and text."""
        body = None if method == "GET" else b"{}"
        request = urllib.request.Request(self.base + path, body, self.headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as problem:
            return problem.code, problem.read().decode("utf-8", "replace")


OWN, OTHER, PLATE = "13900139000", "13811138111", "粤C00001"

#: lists that an account with groups may see its part of
LISTS = ("terminals", "streams", "alarms", "positions", "traffic", "playbacks", "uploads", "videos", "records", "multimedia", "talks")


def test_an_account_with_groups_meets_no_other_groups_terminal_on_any_route(relay: Product, places: dict[str, str]) -> None:
    relay.terminal("0" + OWN, "--alarm-interval", "1", "--position-interval", "1", "--channels", "1")
    relay.api("PUT", f"/terminals/{OTHER}", {"group": "south", "plate": PLATE})
    relay.api("PUT", f"/terminals/{OWN}", {"group": "north"})
    relay.api("POST", f"/terminals/{OWN}/channels/1/live", {})
    wait_for("alarms of the own terminal", lambda: relay.api("GET", f"/alarms?sim={OWN}")["items"])
    guy = Grouped(relay)
    document = relay.api("GET", "/openapi.json")
    faults, asked = [], 0
    for template, operations in document["paths"].items():
        if template in endless(document) or not template.startswith("/api/"):
            continue
        path = template.replace("{sim}", OTHER).replace("{channel}", "1")
        kind = re.match(r"/api/v1/([a-z]+)/{id}", path)
        path = path.replace("{id}", places.get(kind[1], "1") if kind else "1")
        path = re.sub(r"{[a-z]+}", lambda hole: hole[0][1:-1], path)
        for method in (word.upper() for word in operations):
            if path.startswith("/api/v1/session") or operations[method.lower()]["security"] == []:
                continue
            asked += 1
            status, text = guy.ask(method, path)
            if ("{" in template and status not in (400, 403, 404)) or status >= 500:
                faults.append(f"{method} {path}: {status} {text[:200]}")
            names = [name for name in (OTHER, PLATE) if name in text and name not in path]
            if names:
                faults.append(f"{method} {path} told of {names}: {text[:300]}")
    assert not faults, "\n".join(faults)
    assert asked > 100
    for name in LISTS:
        status, text = guy.ask("GET", f"/api/v1/{name}")
        assert status == 200, (name, text)
        listed = json.loads(text)["items"]
        assert {one.get("sim", OWN) for one in listed} <= {OWN}, name
        if name in ("terminals", "streams", "alarms", "positions"):
            assert listed, name
    for path in (f"/live/{OTHER}_1.flv", f"/live/{OTHER}_1.jpg", f"/live/{OTHER}_1/index.m3u8", f"/playback/{places['playbacks']}.mp4"):
        assert guy.ask("GET", path)[0] in (401, 403, 404), path
    assert guy.ask("GET", f"/api/v1/alarms?sim={OTHER}")[0] == 404
    # Nothing of the other group's was ended or changed by all this.
    assert places["streams"] in {one["id"] for one in relay.api("GET", "/streams")["items"]}
    assert relay.api("GET", f"/terminals/{OTHER}")["group"] == "south"


def test_the_dashboard_asks_only_for_what_metrics_has(relay: Product, places: dict[str, str]) -> None:
    dashboard = json.loads((ROOT / "etc" / "grafana.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for expression in expressions for name in re.findall(r"jt1078relay_\w+", expression)}
    assert {"jt1078relay_start_seconds_bucket", "jt1078relay_viewer_queue_drops_total", "jt1078relay_budget_sims"} <= asked
    told = dict(re.findall(r"^# TYPE (jt1078relay_\w+) (\w+)$", metrics(relay), re.MULTILINE))  # also of families that nothing was counted in
    assert {name for name in asked if told.get(name.removesuffix("_bucket")) != "histogram"} - set(told) == set()
    assert figure(relay, 'jt1078relay_start_seconds_count{hop="first_key_frame"}') >= 1


def test_no_answer_is_outside_the_document(relay: Product, places: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(configuration(places), encoding="utf-8")
    document = f"http://127.0.0.1:{relay.ports['http']}/api/v1/openapi.json"
    skipped = "|".join(map(re.escape, endless(relay.api("GET", "/openapi.json"))))
    done = run(
        "env", "-C", tmp_path, BIN / "schemathesis", "--config-file", config, "run", document, "-H", f"Authorization: Bearer {relay.api_token}",
        "--checks", "status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance",
        "--exclude-path-regex", f"^({skipped})$", "--phases", "coverage,fuzzing", "--max-examples", "3", "--seed", "1078", "--generation-database", "none",
        "--request-timeout", "30", "--continue-on-failure", "--no-color", timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, re.sub(r"\S{300,}", lambda long: long[0][:300] + "…", done.stdout.partition("= FAILURES =")[2])[:6000]
    tried = re.search(r"Tested: (\d+)", done.stdout)
    assert tried and int(tried[1]) >= 100, done.stdout[-3000:]
    assert figure(relay, "jt1078relay_http_failures_total") == 0


def metrics(relay: Product) -> str:
    """/metrics."""
    request = urllib.request.Request(f"http://127.0.0.1:{relay.ports['http']}/metrics", headers={"Authorization": f"Bearer {relay.api_token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def figure(relay: Product, name: str) -> float:
    """One figure of /metrics."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", metrics(relay), re.MULTILINE)
    assert found, name
    return float(found[1])
