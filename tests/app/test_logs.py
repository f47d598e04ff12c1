"""The log: no secret gets through, in text or JSON, and lines stay lines."""

from __future__ import annotations

import io
import json

import pytest
from twisted.logger import Logger, LogPublisher

from relay.app.logs import LogWriter, redact
from relay.core.tokens import Signer

TOKEN = Signer("a key of these tests").api("admin", 60, 1_795_000_000)


def logged(form: str, level: str = "info") -> tuple[Logger, io.StringIO]:
    out = io.StringIO()
    return Logger(namespace="relay.test", observer=LogPublisher(LogWriter(out, form, level))), out


@pytest.mark.parametrize(
    "text",
    [
        f"GET /live/1_1.flv?token={TOKEN} 200",
        f"GET /live/1_1.flv?stream=main&token={TOKEN}&x=1",
        f"token%3D{TOKEN}",
        f"Authorization: Bearer {TOKEN}",
        f"{{'authorization': 'Bearer {TOKEN}'}}",
        f"bearer {TOKEN}",
        f"somebody pasted {TOKEN} here",
        f"/live/{TOKEN}/1.flv",
        "password=planted-secret&x=1",
        "PASSWORD=planted-secret",
        "auth_code=planted-secret",
        "signing_key=planted-secret",
        "access_token=planted-secret",
        "Cookie: session=planted-secret",
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_inside_texts_are_hidden(form: str, text: str) -> None:
    log, out = logged(form)
    log.info("{text}", text=text)
    assert out.getvalue()
    assert TOKEN not in out.getvalue()
    assert TOKEN.partition(".")[0] not in out.getvalue()
    assert "planted" not in out.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("field", ["token", "password", "auth_code", "signing_key", "authorization"])
def test_secret_fields_are_blanked(form: str, field: str) -> None:
    log, out = logged(form)
    log.info("got {" + field + "} of {sim}", **{field: "planted", "sim": "13800138000"})
    assert "planted" not in out.getvalue()
    assert "got [hidden] of 13800138000" in out.getvalue()


def test_what_is_no_secret_stays() -> None:
    for text in (
        "13800138000_1 refused (unknown: not in the store)",
        "GET /live/13800138000_1.flv?stream=sub 200 1024 bytes",
        "media tcp from 10.0.0.1:5000 on the live port 1078",
        "relay.hub.registry.Registry 2026-11-21T01:49:00+00:00",
        "the token has expired",
    ):
        assert redact(text) == text


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_one_line_that_must_show_a_token_does(form: str) -> None:
    log, out = logged(form)
    log.info("open {url}", url=f"http://127.0.0.1:8080/?token={TOKEN}", reveal=True)
    assert f"http://127.0.0.1:8080/?token={TOKEN}" in out.getvalue()


def test_json_lines_hold_the_fields_and_nothing_strange() -> None:
    log, out = logged("json")
    log.warn("{sim} is {state}", sim="13800138000", state="偷懒\nsecond line", count=3, thing=object())
    line = out.getvalue()
    assert line.count("\n") == 1
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "warn",
        "namespace": "relay.test",
        "message": "13800138000 is 偷懒\nsecond line",
        "sim": "13800138000",
        "state": "偷懒\nsecond line",
        "count": 3,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_peer_cannot_forge_a_line(form: str) -> None:
    log, out = logged(form)
    log.info("{what}", what="x\n2026-11-21T02:07:29+0000 [relay.app#info] ready")
    lines = out.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("2026-11-21T02:07:29")]) == 0


def test_failures_carry_their_traceback_without_secrets() -> None:
    for form in ("text", "json"):
        log, out = logged(form)
        try:
            raise ValueError(f"token={TOKEN}")
        except ValueError:
            log.failure("it broke")
        assert "it broke" in out.getvalue()
        assert "ValueError" in out.getvalue()
        assert TOKEN not in out.getvalue()


def test_level_and_form_change_while_it_runs() -> None:
    out = io.StringIO()
    writer = LogWriter(out, "text", "warn")
    log = Logger(namespace="relay.test", observer=LogPublisher(writer))
    log.info("one")
    log.warn("two")
    writer.set("json", "debug")
    log.debug("three")
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("[relay.test#warn] two")
    assert json.loads(lines[1])["message"] == "three"
