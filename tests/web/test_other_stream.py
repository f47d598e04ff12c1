"""Players that cannot show H.265, over HTTP, WebSocket, HLS and a shared connection: the terminal's other stream, or 415 with what was tried."""

from __future__ import annotations

from typing import Any

import pytest

from relay.core.live_channel import State
from relay.core.other_stream import OtherStreams
from tests.web import test_hls as hls
from tests.web.support import MemoryTransport, parse
from tests.web.test_many import show, told
from tests.web.world import H264, H265, PHONE, Relay, messages, picture

ONE = "/live/13800138000_1"


class Place(Relay):
    """A relay that asks terminals for their other streams."""

    def __init__(self, on: bool = True) -> None:
        super().__init__(more=lambda relay: {"others": OtherStreams(relay.live, relay.quirks, on)})
        self.online()

    def starts(self) -> Any:
        """The channel that was asked for begins with H.265."""
        self.asked()
        stream = self.media()
        picture(stream, 0, key=True, config=H265)
        return stream

    def switched(self) -> int:
        """The stream that a 0x9102 asks for; the terminal says yes."""
        assert self.device is not None
        [(header, message)] = self.device.commands()
        assert message.command == 1
        self.device.answer(header)
        return int(message.stream_type)

    def leases(self) -> int:
        machine = self.live.channel(PHONE, 1)
        assert machine is not None
        return len(machine.leases)


def test_over_http_it_is_waited_for() -> None:
    relay = Place()
    transport = relay.get(f"{ONE}.flv?video=h264")
    stream = relay.starts()
    assert relay.switched() == 0
    assert transport.value() == b""
    picture(stream, 40, key=True)
    relay.clock.advance(0.2)
    assert transport.value().endswith(b"<H h264><K40>")
    transport.lost()
    assert relay.leases() == 0
    relay.end()


@pytest.mark.parametrize(
    ("on", "words", "by_name"),
    [(False, "switched off (video.other_stream)", True), (True, "is not asked for while others have this one (1 superior)", False)],
)
def test_415_says_what_was_tried_and_names_the_other_stream_where_naming_it_helps(on: bool, words: str, by_name: bool) -> None:
    relay = Place(on)
    relay.live.acquire(PHONE, 1, purpose="superior")
    transport = relay.get(f"{ONE}.flv?video=h264")
    relay.starts()
    answer, _ = parse(transport.value())
    assert (answer.status, answer.json["error"]) == (415, "unsupported_video")
    assert "nothing makes h264 here; " in answer.json["message"]
    assert words in answer.json["message"]
    assert ("(stream=main)" in answer.json["hint"]) is by_name
    assert relay.leases() == 1
    relay.end()


def test_a_player_that_goes_while_it_is_asked_for() -> None:
    relay = Place()
    transport = relay.get(f"{ONE}.flv?video=h264")
    stream = relay.starts()
    relay.switched()
    transport.lost()
    picture(stream, 40, key=True)
    assert relay.leases() == 0
    relay.end()


def ended(transport: MemoryTransport) -> list[Any]:
    return [message for message in messages(transport) if isinstance(message, tuple | dict) and message != {"type": "state"}]


def test_the_page_is_told_when_a_superior_needs_the_stream_that_it_cannot_show() -> None:
    relay = Place()
    page = relay.socket(f"{ONE}.mp4?video=h264&stream=main")
    stream = relay.starts()
    assert relay.switched() == 1
    picture(stream, 40, key=True)
    relay.clock.advance(0.2)
    assert b"<H h264><K40>" in b"".join(message for message in messages(page) if isinstance(message, bytes))
    relay.live.acquire(PHONE, 1, "main", purpose="superior")
    assert relay.switched() == 0
    end, (code, _) = ended(page)
    assert end["message"] == "The stream has ended: the main stream is needed, and it is not H.264."
    assert code == 1000
    picture(stream, 80, key=True, config=H265)
    again = relay.socket(f"{ONE}.mp4?video=h264")
    error, (code, _) = ended(again)
    assert code == 4415
    assert "(1 superior)" in error["message"]
    relay.end()


def test_a_channel_of_many() -> None:
    relay = Place()
    page = relay.socket("/live/ws")
    page.feed(show(7, video="h264"))
    stream = relay.starts()
    relay.switched()
    picture(stream, 40, key=True)
    relay.clock.advance(0.2)
    assert told(page)[1] == {7: b"<H h264><K40>"}
    page.feed(show(8, video="h264"))
    relay.clock.advance(0.2)
    assert told(page)[1][8] == b"<H h264><K40>"
    page.lost()
    assert relay.leases() == 0
    relay.end()


def test_a_channel_of_many_whose_page_goes_while_it_is_asked_for() -> None:
    relay = Place()
    page = relay.socket("/live/ws")
    page.feed(show(7, video="h264"))
    stream = relay.starts()
    relay.switched()
    page.lost()
    picture(stream, 40, key=True)
    assert relay.leases() == 0
    relay.end()


def test_segments() -> None:
    relay = Place()
    player = hls.Player(relay, "?video=h264")
    relay.asked()
    stream = relay.media()
    hls.picture(stream, 0, key=True, config=H265)
    relay.switched()
    end = hls.run(relay, stream, 3.0, 40)
    assert player.master.status == 200
    assert "avc1" in player.master.body.decode()
    (session,) = relay.web.hls.sessions.values()
    relay.live.acquire(PHONE, 1, "sub", purpose="superior")
    assert relay.switched() == 1
    assert session.viewer.closed
    hls.run(relay, stream, 1.0, end)
    assert relay.live.channel(PHONE, 1).state is State.RUNNING  # type: ignore[union-attr]
    relay.end()


def test_a_terminal_of_h264_is_not_asked() -> None:
    relay = Place()
    transport = relay.get(f"{ONE}.flv?video=h264")
    relay.asked()
    picture(relay.media(), 0, key=True, config=H264)
    relay.clock.advance(0.2)
    assert transport.value().endswith(b"<H h264><K0>")
    assert relay.device is not None
    assert relay.device.commands() == []
    relay.end()
