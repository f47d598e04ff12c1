"""What a media connection leaves in the log: one line with SIM, channel, cause, bytes and seconds, as text and as JSON."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import LogEvent, globalLogPublisher

from relay.app.logs import as_json, as_text
from tests.web.world import Relay


def test_each_media_connection_leaves_one_line() -> None:
    events: list[LogEvent] = []
    relay = Relay(media={"unrequested": "accept"})
    stream = relay.running()
    source: Any = stream.source
    stream.feed([], relay.clock.seconds(), 7, 5000)
    relay.clock.advance(2.5)
    globalLogPublisher.addObserver(events.append)
    try:
        stream.source_lost(source, "connection lost")
        stream.source_lost(source, "again")
        stream.end("nobody watches")
    finally:
        globalLogPublisher.removeObserver(events.append)
    (event,) = [event for event in events if "media connection over" in str(event.get("log_format"))]
    assert "13800138000 channel 1: live media connection over after 2.5 s: connection lost (tcp from 10.0.0.7:50000, 5005 bytes, 7 packets)" in as_text(event)
    told = json.loads(as_json(event))
    assert {name: told[name] for name in ("sim", "channel", "cause", "bytes", "seconds")} == {
        "sim": "13800138000", "channel": 1, "cause": "connection lost", "bytes": 5005, "seconds": 2.5,
    }  # fmt: skip
    relay.end()
