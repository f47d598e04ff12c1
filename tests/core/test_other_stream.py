"""The terminal's other stream for players that cannot show H.265: who asks, who may, what is tried, what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from relay.codec.frame import VIDEO, Frame
from relay.core.live_channel import State
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.other_stream import SWITCH_S, OtherStreamError, OtherStreams
from relay.core.quirks import TERMINAL, Quirks
from tests.core.fakes import SIM, WALL, Device
from tests.core.test_live import H264, KEY, Site, Source, Wish, settled, switches

H265 = replace(H264, codec="h265", rfc6381="hvc1.1.6.L93.90")
OTHER_H265 = replace(H265, width=1280, height=720)


class Camera(Source):
    """A media connection whose pictures are what the test says."""

    config = H265

    def send(self, *_: Any, **__: Any) -> None:
        if not self.closed:
            self.dts += 40
            frame = Frame(VIDEO, self.dts, self.dts, True, b"\0\0\0\1x", self.config, 160, self.site.clock.seconds())
            self.stream.feed([type("Raw", (), {"frame": frame})], self.site.clock.seconds(), 1, 100)  # type: ignore[list-item]


class Player:
    """Somebody who shows H.264 only, and what became of him."""

    def __init__(self, place: Place, **more: Any) -> None:
        self.place = place
        self.result: Any = None
        self.wish: Wish = place.site.acquire(codec="h264", **more)
        self.waiting: Deferred[None] | None = None

    @property
    def lease(self) -> Lease:
        assert self.wish.lease is not None
        return self.wish.lease

    def ask(self) -> Player:
        try:
            self.waiting = self.place.others.ask(self.lease)
        except OtherStreamError as problem:
            self.result = str(problem)
        else:
            self.waiting.addCallbacks(lambda _: setattr(self, "result", "shown"), lambda failure: setattr(self, "result", failure.getErrorMessage()))
        return self


class Place:
    """A site with a terminal, and its other streams."""

    def __init__(self, on: bool = True) -> None:
        self.site = Site()
        self.device: Device = settled(self.site.online())
        self.quirks = Quirks(self.site.terminals, self.site.events, lambda: WALL)
        self.transcodes = False
        self.others = OtherStreams(self.site.live, self.quirks, on, lambda: self.transcodes)

    def runs(self, config: Any = H265, **more: Any) -> tuple[Player, Camera]:
        """A player whose channel has started."""
        player = Player(self, **more)
        [(header, _)] = self.device.commands()
        self.device.answer(header)
        camera = Camera(self.site)
        camera.config = config
        camera.send()
        return player, camera

    @property
    def machine(self) -> Any:
        return self.site.live.channel(SIM, 1)

    def known(self) -> Any:
        return self.quirks.profile(TERMINAL, SIM).learnt.get("video.streams")


@pytest.fixture
def place() -> Any:
    made = Place()
    yield made
    made.site.live.close()
    made.others.close()
    made.site.registry.close()
    made.site.terminals.close()
    assert [call for call in made.site.clock.getDelayedCalls() if call.active()] == []


def test_the_other_stream_is_switched_to_and_shown(place):
    player, camera = place.runs()
    player.ask()
    [(header, message)] = place.device.commands()
    assert (message.KEY, message.command, message.stream_type) == (0x9102, 1, 0)
    place.device.answer(header)
    assert player.result is None
    camera.send()  # the same picture still: the switch shows with the next key frame of the other stream
    assert player.result is None
    camera.config = H264
    camera.send()
    assert player.result == "shown"
    assert player.lease.needs == "main"
    assert place.known() == {"1.main": "h264", "1.sub": "h265"}
    assert place.site.live.counts["other stream: H.264"] == 1
    assert place.site.state() is State.RUNNING


def test_the_next_player_starts_the_right_one_at_once(place):
    place.quirks.learn(SIM, "video.streams", {"1.main": "h264", "1.sub": "h265"})
    player = Player(place)
    [(_, request)] = place.device.commands()
    assert (request.KEY, request.stream_type) == (0x9101, 0)
    camera = Camera(place.site)
    camera.config = H264
    camera.send()
    assert player.lease.stream.video == H264
    second = Player(place)
    assert second.lease.needs == "main"


def test_what_would_be_transcoded_is_asked_for_as_ever(place):
    place.quirks.learn(SIM, "video.streams", {"1.main": "h264", "1.sub": "h265"})
    place.transcodes = True
    Player(place)
    [(_, request)] = place.device.commands()
    assert request.stream_type == 1


def test_what_is_all_h264_is_not_worth_remembering(place):
    place.runs(H264)
    assert place.known() is None


def test_a_refused_switch_becomes_a_new_request(place):
    player, camera = place.runs()
    player.ask()
    [(header, _)] = place.device.commands()
    place.device.answer(header, 3)
    asked = place.device.commands()
    assert [(m.KEY, getattr(m, "command", None)) for _, m in asked] == [(0x9102, 0), (0x9101, None)]
    assert asked[1][1].stream_type == 0
    new = Camera(place.site, peer="10.0.0.7:50001")
    new.config = H264
    new.send()
    assert player.result == "shown"
    assert camera.closed == "replaced"


def test_a_switch_without_effect_becomes_a_new_request(place):
    player, camera = place.runs()
    player.ask()
    [(header, _)] = place.device.commands()
    place.device.answer(header)
    place.site.run(SWITCH_S + 0.5, camera)
    assert [m.KEY for _, m in place.device.commands()] == [0x9102, 0x9101]
    new = Camera(place.site, peer="10.0.0.7:50001")
    new.config = H264
    new.send()
    assert player.result == "shown"
    assert place.known() == {"1.main": "h264", "1.sub": "h265"}


def test_an_other_stream_of_h265_is_told_and_not_tried_again_for_a_while(place, monkeypatch):
    monkeypatch.setattr("relay.core.other_stream.RECHECK_S", 20.0)
    player, camera = place.runs()
    player.ask()
    [(header, _)] = place.device.commands()
    place.device.answer(header)
    camera.config = OTHER_H265
    camera.send()
    assert player.result == "its other stream (main) is H.265 too"
    assert place.known() == {"1.main": "h265", "1.sub": "h265"}
    assert player.lease.needs == ""
    player.wish.release()
    second = Player(place).ask()  # what runs is main now
    assert second.result == "its other stream (sub) is H.265 too"
    assert place.device.commands() == []
    place.site.run(21.0, camera)
    second.ask()
    assert switches(place.device) == [(1, 1)]


def test_an_other_stream_that_does_not_come(place):
    player, camera = place.runs()
    player.ask()
    place.device.commands()
    place.site.run(SWITCH_S + 16, camera)
    assert player.result == "its other stream (main) was asked for and did not come"
    assert place.site.live.counts["other stream: in vain"] == 1


@pytest.mark.parametrize("purpose", ["viewer", "superior", "recorder"])
def test_nothing_is_changed_under_those_who_watch(place, purpose):
    player, _ = place.runs()
    other = place.site.acquire(purpose=purpose)
    assert other.lease is not None
    assert player.ask().result == f"its other stream (main) is not asked for while others have this one (1 {purpose})"
    assert place.device.commands() == []


def test_several_players_share_one_search(place):
    first, camera = place.runs()
    first.ask()
    second = Player(place).ask()
    assert switches(place.device) == [(1, 0)]
    camera.config = H264
    camera.send()
    assert (first.result, second.result) == ("shown", "shown")
    third = Player(place)
    assert third.lease.needs == "main"


def test_a_viewers_wish_ranks_below_and_a_superiors_above(place):
    player, camera = place.runs(stream="main")
    player.ask()
    assert switches(place.device) == [(1, 1)]
    camera.config = H264
    camera.send()
    ended: list[str] = []
    player.lease.on_ended = ended.append
    place.site.acquire(stream="main")
    assert switches(place.device) == []
    place.site.acquire(stream="main", purpose="superior")
    assert switches(place.device) == [(1, 0)]
    assert ended == ["the main stream is needed, and it is not H.264"]


def test_a_superior_that_comes_while_it_is_searched(place):
    player, _ = place.runs(stream="main")
    player.ask()
    place.device.commands()
    place.site.acquire(stream="main", purpose="superior")
    assert player.result == "while its other stream (sub) was asked for it ended: the main stream is needed, and it is not H.264"
    assert switches(place.device) == [(1, 0)]


def test_a_player_that_goes_while_it_is_searched(place):
    player, camera = place.runs()
    player.ask()
    assert player.waiting is not None
    player.waiting.cancel()
    player.wish.release()
    camera.config = H264
    camera.send()
    place.site.run(60.0, camera)
    assert place.site.live.counts["other stream: H.264"] == 0


def test_the_terminals_end_while_it_is_searched(place):
    player, _ = place.runs()
    player.ask()
    place.machine.stop("stopped by the operator")
    assert player.result == "while its other stream (main) was asked for it ended: stopped by the operator"


def test_a_terminal_whose_signalling_is_lost_cannot_be_asked(place):
    player, _ = place.runs()
    place.device.link.lost("reset")
    assert player.ask().result == "its other stream cannot be asked for: its signalling link is down"


def test_the_data_budget_has_a_say(place):
    player, _ = place.runs()
    place.site.live.allowance = lambda key, stream, purpose: ("sub", None)
    assert player.ask().result == "its data budget does not allow the other stream (main)"
    place.site.live.allowance = lambda key, stream, purpose: (stream, StartFailed(409, "budget_spent", "spent"))
    assert player.ask().result == "its data budget does not allow the other stream (main)"


def test_it_can_be_switched_off():
    place = Place(on=False)
    player, _ = place.runs()
    assert player.ask().result == "asking for its other stream is switched off (video.other_stream)"
    place.site.live.close()


def test_a_lease_that_is_over_has_no_other_stream(place):
    player, _ = place.runs()
    player.wish.release()
    assert player.ask().result == "the stream is over"
    playback = Lease(type("Channel", (), {"key": KEY._replace(kind="playback")})(), "", "av", "viewer", "")
    with pytest.raises(OtherStreamError, match="recording"):
        place.others.ask(playback)


