"""The API's recordings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay.net.recorder import RecordingNotPossible
from relay.web.api_recordings import RecordingApi, RecordingStart
from relay.web.problem import Problem
from relay.web.router import Permission
from tests.core.fakes import SIM
from tests.web.world import Relay


class Recorder:
    """What is asked of the real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, Path] = {}
        self.seconds = 0.0

    def start(self, subject: str, seconds: float = 0.0) -> Path:
        if subject == "full":
            raise RecordingNotPossible("no recording of full can be made")
        self.seconds = seconds
        path = self.running[subject] = self.folder / f"{subject}.jtrec"
        path.write_bytes(b"12345")
        return path

    def stop(self, subject: str) -> Path | None:
        return self.running.pop(subject, None)


class Names:
    async def sim(self, name: str) -> str | None:
        return {"bus-17": SIM, SIM: SIM, "full": "full"}.get(name)


def ask(api: RecordingApi, what: str, name: str = "", body: Any = None, kind: str = "sim") -> Any:
    handler = getattr(api, what)(SimpleNamespace(path={kind: name}, body=body))
    return asyncio.run(handler) if asyncio.iscoroutine(handler) else handler


def test_a_recording_by_any_name_of_the_terminal(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    api = RecordingApi(recorder, Names())  # type: ignore[arg-type]
    assert ask(api, "list") == {"items": [], "total": 0, "next": None}
    view = {"subject": SIM, "file": str(tmp_path / f"{SIM}.jtrec"), "bytes": 5}
    assert ask(api, "start", "bus-17", RecordingStart(60)) == view
    assert recorder.seconds == 60
    assert ask(api, "list") == {"items": [view], "total": 1, "next": None}
    Path(view["file"]).unlink()  # type: ignore[arg-type]
    assert ask(api, "list")["items"][0]["bytes"] == 0
    assert ask(api, "stop", "bus-17") is None
    assert recorder.running == {}
    ask(api, "start", SIM)
    assert recorder.seconds == 3600


def test_a_recording_of_a_superiors_links(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    api = RecordingApi(recorder, Names(), ["province"])  # type: ignore[arg-type]
    assert ask(api, "start", "province", kind="name")["subject"] == "superior:province"
    assert list(recorder.running) == ["superior:province"]
    assert ask(api, "stop", "province", kind="name") is None
    assert recorder.running == {}
    for what in ("start", "stop"):
        with pytest.raises(Problem) as raised:
            ask(api, what, "city", kind="name")
        assert (raised.value.status, raised.value.code) == (404, "unknown_superior")


@pytest.mark.parametrize(
    ("what", "name", "status", "code"),
    [("start", "nobody", 404, "unknown_terminal"), ("start", "full", 503, "recording_not_possible"), ("stop", SIM, 404, "unknown_recording")],
)
def test_what_cannot_be_done(tmp_path: Path, what: str, name: str, status: int, code: str) -> None:
    with pytest.raises(Problem) as raised:
        ask(RecordingApi(Recorder(tmp_path), Names()), what, name)  # type: ignore[arg-type]
    assert (raised.value.status, raised.value.code) == (status, code)


def test_without_a_place_nothing_is_recorded_and_that_is_said() -> None:
    relay = Relay()
    for method, path in (("GET", "/recordings"), ("POST", f"/terminals/{SIM}/recording"), ("DELETE", f"/terminals/{SIM}/recording")):
        answer = relay.call(method, path)
        assert (answer.status, answer.json["error"]) == (409, "recordings_off")
        assert relay.call(method, path, role="operator").status == 403
    assert {route.permission for route in RecordingApi(None, Names()).routes()} == {Permission.ADMIN}  # type: ignore[arg-type]
    relay.end()
