"""Quality told from sizes, counts and times: what is found, when, and that nothing flutters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.codec.frame import VideoConfig
from relay.core.events import Events
from relay.core.quality import HEADER_BYTES, QualityWatch
from relay.hub.stream import Stream
from tests.hub.support import FakeSource, Hub

CAMERA = VideoConfig("h264", (), b"", 704, 576, "avc1.4D0014")
TONE = bytes(range(160))
SILENT = b"\xd5" * 160


class Watched:
    """A live channel of 25 pictures and 10 blocks of sound a second, with a key frame every two seconds."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.events = Events(lambda: self.hub.clock.seconds())
        self.told: list[dict[str, Any]] = []
        self.events.subscribe(lambda event: self.told.append(event) if event["event"] == "quality.changed" else None)
        self.players: list[tuple[int, dict[str, Any]]] = []
        self.watch = QualityWatch(self.hub.registry, self.hub.clock, self.events, lambda viewer, message: self.players.append((viewer.id, message)))
        self.watch.start()
        self.stream: Stream = self.hub.open()
        self.n = 0

    def run(
        self, seconds: int, key: int = 9000, picture: int = 1500, fps: int = 25, sound: Callable[[int], bytes] = lambda n: TONE[n % 16 :] + TONE[: n % 16],
        keys: bool = True,
    ) -> None:  # fmt: skip
        for second in range(seconds):
            for at in range(10):
                self.hub.clock.advance(0.1)
                self.n += 1
                self.hub.feed(self.stream, "A", sound(self.n))
                for n in range(fps * at // 10, fps * (at + 1) // 10):
                    first = keys and n == 0 and second % 2 == 0
                    data = bytes(key if first else picture)
                    raw: Any = Raw(self.hub.frame("K" if first else "P", data, CAMERA))
                    self.stream.feed([raw], self.hub.clock.seconds(), 1, len(data) + HEADER_BYTES)

    def silence(self, seconds: int) -> None:
        for _ in range(seconds * 10):
            self.hub.clock.advance(0.1)

    @property
    def causes(self) -> list[str]:
        quality = self.watch.of(self.stream)
        assert quality is not None
        return [cause.code for cause in quality.causes()]

    @property
    def score(self) -> int:
        quality = self.watch.of(self.stream)
        assert quality is not None
        return quality.score

    def end(self) -> None:
        self.watch.stop()
        self.hub.registry.close()


class Raw:
    """A raw frame that is a frame already."""

    body = b""
    packets = 1

    def __init__(self, frame: Any) -> None:
        self.frame = frame


def test_a_good_channel_is_a_hundred_and_nobody_is_told() -> None:
    watched = Watched()
    watched.run(60)
    assert (watched.score, watched.causes, watched.told) == (100, [], [])
    watched.end()


@pytest.mark.parametrize(
    ("cause", "how"),
    [
        ("frozen", {"picture": 43}),
        ("black", {"picture": 43, "key": 240}),
        ("slow", {"fps": 5}),
        ("no_picture", {"fps": 0}),
        ("no_key_frame", {"keys": False}),
        ("mute", {"sound": lambda n: SILENT}),
        ("mute", {"sound": lambda n: bytes((n % 2 * 0x80 ^ 0xD5,)) * 160}),
        ("mute", {"sound": lambda n: b"\x2a" * 160}),
    ],
)
def test_what_is_wrong_is_told_once_and_its_end_once(cause: str, how: dict[str, Any]) -> None:
    watched = Watched()
    watched.run(20)
    watched.run(2, **how)
    assert watched.told == []  # not at the first sign
    watched.run(20, **how)
    assert watched.causes == [cause]
    [told] = watched.told
    assert (told["sim"], told["channel"], told["before"], told["score"], told["causes"]) == (
        watched.stream.key.sim, watched.stream.key.channel, 100, watched.score, [cause],
    )  # fmt: skip
    assert 0 < watched.score < 100
    assert len(told["message"]) > 20
    watched.run(20)
    assert (watched.score, len(watched.told), watched.told[-1]["causes"]) == (100, 2, [])
    watched.end()


def test_silence_of_the_terminal_and_a_lost_connection_are_zero_until_it_comes_back() -> None:
    watched = Watched()
    watched.run(10)
    watched.silence(6)
    assert (watched.score, watched.causes) == (0, ["no_data"])
    watched.run(10)
    assert watched.score == 100
    watched.stream.source_lost(watched.hub.source, "connection lost")
    watched.silence(2)
    assert (watched.score, watched.causes) == (0, ["no_data"])
    watched.hub.open(source=FakeSource())
    watched.run(10)
    assert [event["score"] for event in watched.told] == [0, 100, 0, 100]
    watched.end()


def test_what_comes_and_goes_each_second_does_not_flutter() -> None:
    watched = Watched()
    watched.run(20)
    for _ in range(20):
        watched.run(1, picture=43)
        watched.run(1)
    assert watched.told == []
    watched.end()


def test_a_terminal_that_was_told_to_send_fewer_pictures_is_slow_for_some_minutes_only() -> None:
    watched = Watched()
    watched.run(20)
    watched.run(400, fps=10)
    assert watched.causes == []
    watched.end()


def test_players_are_told_once_also_those_who_come_later() -> None:
    watched = Watched()
    watched.run(20)
    _, first = watched.hub.view(watched.stream)
    watched.run(20, picture=43)
    _, second = watched.hub.view(watched.stream)
    watched.run(10, picture=43)
    assert [(viewer, message["type"], message["causes"]) for viewer, message in watched.players] == [
        (first.id, "quality", ["frozen"]), (second.id, "quality", ["frozen"]),
    ]  # fmt: skip
    watched.run(10)
    assert [(viewer, message["score"]) for viewer, message in watched.players[2:]] == [(first.id, 100), (second.id, 100)]
    watched.end()


def test_an_ended_stream_is_forgotten() -> None:
    watched = Watched()
    watched.run(3)
    watched.stream.end("over")
    watched.silence(2)
    assert watched.watch.of(watched.stream) is None
    assert watched.watch.scores(10) == {}
    watched.end()
