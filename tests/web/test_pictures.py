"""Single pictures and motion JPEG over HTTP: what is answered, who lets go."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from relay.errors import DecodeError
from relay.hub.derived import Derivations
from relay.settings import Video
from tests.web.support import parse
from tests.web.world import H265, PHONE, Relay, picture

ONE = "/live/13800138000_1"


class Studio(Relay):
    """A relay whose pictures are made by hand."""

    def __init__(self, av: bool = True, **settings: Any) -> None:
        super().__init__()
        self.jobs: list[Deferred[Any]] = []
        self.hub.derivations = Derivations(Video(**settings), self.work, av)

    def work(self, *_: Any) -> Deferred[Any]:
        self.jobs.append(Deferred())
        return self.jobs[-1]

    @property
    def leases(self) -> int:
        machine = self.live.channel(PHONE, 1)
        return len(machine.leases) if machine is not None else 0


def test_a_picture_of_an_idle_channel_starts_it_and_lets_go() -> None:
    relay = Studio()
    relay.online()
    transport = relay.get(f"{ONE}.jpg")
    assert relay.asked().channel == 1
    picture(relay.media(), 0, key=True)
    assert relay.leases == 1
    relay.jobs[0].callback(b"\xff\xd8picture")
    answer, _ = parse(transport.value())
    assert (answer.status, answer.body) == (200, b"\xff\xd8picture")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "max-age=1"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert relay.leases == 0
    relay.end()


def test_a_picture_that_cannot_be_made_is_told() -> None:
    relay = Studio()
    relay.running()
    transport = relay.get(f"{ONE}.jpg")
    relay.jobs[0].errback(DecodeError("picture", 0, "broken"))
    answer, _ = parse(transport.value())
    assert (answer.status, answer.json["error"]) == (503, "no_picture")
    assert relay.leases == 0
    gone = relay.get(f"{ONE}.jpg")
    gone.lost()
    assert relay.leases == 0
    relay.jobs[1].callback(b"late")
    relay.end()


def test_without_the_extra_there_are_no_pictures() -> None:
    relay = Studio(av=False)
    relay.running()
    for ending in (".jpg", ".mjpeg"):
        answer, _ = parse(relay.get(f"{ONE}{ending}").value())
        assert answer.status == 415
        assert "media" in answer.json["message"]
    assert relay.leases == 0
    relay.end()


def test_motion_jpeg_waits_for_its_first_picture() -> None:
    relay = Studio()
    stream = relay.running()
    transport = relay.get(f"{ONE}.mjpeg?motion=keys")
    assert b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n" in transport.value()
    (feeder,) = stream.outputs()
    assert feeder.format.container == "jpeg-keys"
    assert relay.leases == 1
    transport.lost()
    assert relay.leases == 0
    relay.end()


def test_h265_for_who_knows_only_h264_is_415_where_nothing_asks_for_the_other_stream() -> None:
    relay = Studio()
    relay.online()
    transport = relay.get(f"{ONE}.flv?video=h264")
    relay.asked()
    picture(relay.media(), 0, key=True, config=H265)
    answer, _ = parse(transport.value())
    assert (answer.status, answer.json["error"]) == (415, "unsupported_video")
    assert "switched off" in answer.json["message"]
    assert answer.json["hint"] == "Ask for H.265 (without video=h264), with a player that shows it."
    relay.end()


def test_what_is_h264_already_passes() -> None:
    relay = Studio()
    relay.running()
    transport = relay.get(f"{ONE}.flv?video=h264")
    relay.clock.advance(0.2)
    assert transport.value().endswith(b"<H h264><K0>")
    assert relay.jobs == []
    relay.end()
