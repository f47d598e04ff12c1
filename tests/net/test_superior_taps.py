"""What the links of JT/T 809 tell the recorder, so that a recording of them can be played again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from relay.net.recorder import Recorder
from relay.net.recording import Kind, Recording
from relay.net.superior809 import SuperiorProtocol

NAME = SimpleNamespace(name="province")


class Transport(StringTransport):
    """As far as the protocol uses a socket."""

    def setTcpKeepAlive(self, on: bool) -> None: ...

    def setTcpNoDelay(self, on: bool) -> None: ...

    def getHandle(self) -> None:
        return None


class Link:
    """The core's side: a subordinate link is known after its first portion."""

    def __init__(self, superior: Any) -> None:
        self.superior = superior

    def begin(self) -> None: ...

    def received(self, data: bytes) -> None:
        self.superior = NAME

    def lost(self, why: str) -> None: ...


class Connection(SuperiorProtocol):
    def __init__(self, recorder: Recorder, superior: Any) -> None:
        super().__init__(Clock(), recorder, False)
        self._superior = superior

    def open_link(self, local: str) -> Any:
        return Link(self._superior)


def test_both_links_of_a_superior_go_into_one_recording(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, lambda: 1_700_000_000.0, ["superior:province"])
    main, sub = Connection(recorder, NAME), Connection(recorder, None)
    main.makeConnection(Transport())
    sub.makeConnection(Transport())
    main.write(b"[login]")
    sub.dataReceived(b"[who]")
    sub.write(b"[ok]")
    recorder.close()
    (path,) = tmp_path.glob("*.jtrec")
    events = list(Recording(path))
    opened = {event.link: event.info for event in events if event.kind is Kind.OPEN}
    assert [(one["kind"], one["initiator"], one["protocol"]) for one in opened.values()] == [("main", "us", "jt809"), ("sub", "peer", "jt809")]
    assert [(event.link, event.kind, event.data) for event in events if event.data] == [
        (1, Kind.OUT, b"[login]"),
        (2, Kind.IN, b"[who]"),
        (2, Kind.OUT, b"[ok]"),
    ]
