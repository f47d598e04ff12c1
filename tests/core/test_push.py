"""Pushes as a machine: what is connected to when, what is tried again after what, and what is let go of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from relay.core.live_channel import State
from relay.core.push import CONNECT_S, IDLE_S, PUBLISH_S, SOUND_S, Pushes, PushFailed
from relay.rtmp.url import PushUrlError, Target
from relay.settings import Push
from tests.core.fakes import PHONE, SIM
from tests.core.test_live import Site, Source
from tests.hub.support import FakeSink

URL = "rtmp://media.example/live/secret?key=secret"


class FakeLink:
    """A connection to a server that does as it is told."""

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.sent_bytes = 10
        self.on_lost: Callable[[str], None] = lambda why: None
        self.published: tuple[Target, str, tuple[str, ...]] | None = None
        self.answer: Deferred[None] = Deferred()
        self.closed = False

    def publish(self, target: Target, query: str, fourccs: tuple[str, ...]) -> Deferred[None]:
        self.published = (target, query, fourccs)
        return self.answer

    def farewell(self, cause: str) -> bytes:
        return b"<bye>"

    def close(self) -> None:
        self.closed = True


class World:
    """Pushes of a site whose servers and jitter are in the test's hands."""

    def __init__(self, **media: Any) -> None:
        self.site = Site(**media)
        self.clock = self.site.clock
        self.dialled: list[tuple[Target, bool, str]] = []
        self.dials: list[Deferred[Any]] = []
        self.pushes = Pushes(
            self._dial, self.site.live, self.site.registry, self.site.terminals, self.site.resolver, self.clock, self.site.events, lambda: 1.0
        )

    def _dial(self, target: Target, trusted: bool, tls_ca: str) -> Deferred[Any]:
        self.dialled.append((target, trusted, tls_ca))
        self.dials.append(Deferred())
        return self.dials[-1]

    def add(self, origin: str = "config", **more: Any) -> Any:
        return self.pushes.add(Push(**{"name": "a", "url": URL, "terminal": PHONE, **more}), origin)

    def connect(self) -> FakeLink:
        link = FakeLink()
        self.dials[-1].callback(link)
        return link

    def running(self, **more: Any) -> tuple[Any, FakeLink, Source]:
        """A push that runs."""
        self.site.online()
        push = self.add(**more)
        link = self.connect()
        source = Source(self.site)
        source.send()
        link.answer.callback(None)
        assert push.state == "running"
        return push, link, source

    def events(self) -> list[str]:
        return [event["event"] for event in self.site.told if event["event"].startswith("push.")]


def test_the_server_is_connected_to_then_the_terminal_asked_then_published() -> None:
    world = World()
    device = world.site.online()
    push = world.add(query="app")
    ((target, trusted, _),) = world.dialled
    assert (target.host, target.port, trusted, push.state) == ("media.example", 1935, True, "connecting")
    assert device.commands() == [], "a server that is down costs no terminal its traffic"
    link = world.connect()
    assert push.state == "starting"
    assert [header.msg_id for header, _ in device.commands()] == [0x9101]
    assert link.published is None
    source = Source(world.site)
    source.send()
    assert push.state == "publishing"
    assert link.published == (target, "app", ())
    assert link.sink.got == b""
    link.answer.callback(None)
    assert (push.state, push.sim, push.connects, push.failures) == ("running", SIM, 1, 0)
    world.clock.advance(0.2)  # sound might come
    assert link.sink.got.startswith(b"FLV\x01")
    before = len(link.sink.got)
    source.send(key=False)
    assert len(link.sink.got) > before
    assert world.events() == ["push.running"]


def test_a_terminal_that_is_away_costs_no_connection_and_begins_it_when_it_comes() -> None:
    world = World()
    push = world.add()
    assert (push.state, world.dialled) == ("waiting", [])
    assert push.last_error == f"terminal {PHONE} is not online"
    for _ in range(20):
        world.clock.advance(30)
    assert world.dialled == []
    world.site.online()
    assert len(world.dialled) == 1


def test_a_name_that_nobody_has_is_told() -> None:
    world = World()
    assert world.add(terminal="nobody").last_error == "no terminal is called nobody"


def test_failures_are_retried_1_2_4_up_to_30_seconds_later() -> None:
    world = World()
    world.site.online()
    push = world.add()
    waits = []
    for _ in range(8):
        world.dials[-1].errback(PushFailed("media.example:1935: connection refused"))
        assert push.state == "waiting"
        waits.append(round(push.retry_at - world.clock.seconds(), 3))
        world.clock.advance(waits[-1] - 0.001)
        assert push.state == "waiting"
        world.clock.advance(0.002)
        assert push.state == "connecting"
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert (push.failures, push.last_error) == (8, "media.example:1935: connection refused")


def test_the_jitter_takes_up_to_a_half() -> None:
    world = World()
    world.pushes.chance = lambda: 0.0
    push = world.add()
    assert push.retry_at - world.clock.seconds() == 0.5


def test_a_publication_that_ran_for_long_is_retried_soon() -> None:
    world = World()
    push, link, source = world.running()
    for _ in range(3):
        link.on_lost("the connection was lost")
        world.clock.advance(push.retry_at - world.clock.seconds())
        link = world.connect()
        source.send()
        link.answer.callback(None)
    link.on_lost("the connection was lost")
    assert push.retry_at - world.clock.seconds() == 8
    world.clock.advance(8)
    link = world.connect()
    source.send()
    link.answer.callback(None)
    for _ in range(int(SOUND_S)):
        world.clock.advance(1)
        source.send()
    link.on_lost("the connection was lost")
    assert push.retry_at - world.clock.seconds() == 1


def test_every_publication_begins_with_headers_and_a_key_frame() -> None:
    world = World()
    push, link, source = world.running()
    source.send(key=False)
    link.on_lost("the connection was lost")
    assert link.closed is False
    assert link.sink.closed is None, "a lost connection gets no last words"
    world.clock.advance(1)
    again = world.connect()
    source.send(key=False)
    again.answer.callback(None)
    assert again.sink.got.startswith(b"FLV\x01")
    assert b"\x17\x01" in again.sink.got
    assert push.sent_bytes == 20


@pytest.mark.parametrize("phase", ["connecting", "publishing"])
def test_a_server_that_says_nothing_is_given_up(phase: str) -> None:
    world = World(start_timeout_s=5)
    world.site.online()
    push = world.add()
    if phase == "connecting":
        world.clock.advance(CONNECT_S)
        assert push.last_error == "no connection to media.example:1935 within 15 s"
    else:
        link = world.connect()
        Source(world.site).send()
        world.clock.advance(PUBLISH_S)
        assert push.last_error == "media.example:1935 did not accept the stream within 15 s"
        assert link.closed
    assert push.state == "waiting"


def test_a_start_that_fails_lets_the_connection_go_and_names_the_hop() -> None:
    world = World(start_timeout_s=5)
    device = world.site.online()
    push = world.add()
    link = world.connect()
    ((header, _),) = device.commands()
    device.answer(header)
    world.clock.advance(5)
    assert "opened no media connection" in push.last_error
    assert "stopped at: connected" in push.last_error
    assert link.closed


def test_a_connection_that_is_lost_while_the_terminal_starts_ends_the_wait() -> None:
    world = World()
    world.site.online()
    push = world.add()
    world.connect().on_lost("TLS: certificate verify failed")
    assert (push.state, push.last_error) == ("waiting", "TLS: certificate verify failed")
    assert world.site.state() is not State.RUNNING


def test_a_refusal_is_told() -> None:
    world = World()
    world.site.online()
    push = world.add()
    link = world.connect()
    Source(world.site).send()
    link.answer.errback(PushFailed("the server refuses: NetStream.Publish.BadName"))
    assert push.last_error == "the server refuses: NetStream.Publish.BadName"
    assert link.closed
    assert world.events() == ["push.failed"]


def test_the_end_of_the_stream_is_said_to_the_server() -> None:
    world = World()
    push, link, source = world.running()
    source.stream.end("stopped by the operator")
    assert link.sink.closed == b"<bye>"
    assert (push.state, push.last_error) == ("waiting", "the stream has ended: stopped by the operator")


def test_a_server_that_takes_nothing_is_left_within_the_limit_and_tried_again() -> None:
    world = World()
    push, link, source = world.running()
    link.sink.room = 0
    held = 0
    for _ in range(40):
        source.send()
        world.clock.advance(1)
        held = max(held, push.viewer.queue_bytes if push.viewer is not None else 0)
        if push.state != "running":
            break
    assert push.last_error == "the server takes nothing"
    assert link.sink.aborted
    assert held < 524288


def test_demand_waits_for_the_word_and_stopping_releases_the_channel() -> None:
    world = World(idle_stop_s=1)
    device = world.site.online()
    push = world.add(when="demand")
    assert (push.state, world.dialled) == ("stopped", [])
    push.start()
    link = world.connect()
    Source(world.site).send()
    link.answer.callback(None)
    push.start()
    assert len(world.dialled) == 1, "it runs already"
    device.commands()
    push.stop("stopped by ann")
    assert link.sink.closed == b"<bye>"
    world.clock.advance(2)
    assert 0x9102 in [header.msg_id for header, _ in device.commands()]
    assert world.events() == ["push.running", "push.stopped"]
    world.clock.advance(100)
    assert push.state == "stopped"


def test_demand_begins_with_the_first_viewer_there_and_ends_after_the_last() -> None:
    world = World()
    world.site.online()
    push = world.add(when="demand")
    push.viewer_came()
    push.viewer_came()
    assert (push.state, push.watching, len(world.dialled)) == ("connecting", 2, 1)
    push.viewer_went()
    world.clock.advance(IDLE_S - 1)
    assert push.state != "stopped"
    push.viewer_went()
    push.viewer_went()
    world.clock.advance(IDLE_S - 1)
    push.viewer_came()
    world.clock.advance(2)
    assert (push.state != "stopped", push.watching) == (True, 1), "another one came in time"
    push.viewer_went(all_of_them=True)
    world.clock.advance(IDLE_S)
    assert (push.state, push.watching) == ("stopped", 0)


def test_viewers_there_neither_begin_nor_end_what_is_for_always() -> None:
    world = World()
    world.site.online()
    push = world.add()
    push.stop("stopped by ann")
    push.viewer_came()
    assert push.state == "stopped"
    push.start()
    push.viewer_went(all_of_them=True)
    world.clock.advance(IDLE_S + 1)
    assert push.state != "stopped"


def test_a_start_by_hand_does_not_wait_for_the_next_try() -> None:
    world = World()
    push = world.add()
    assert push.state == "waiting"
    world.site.online()
    world.dials[-1].errback(PushFailed("no"))
    push.start()
    assert push.state == "connecting"
    world.dials[-1].errback(PushFailed("no"))
    assert push.retry_at - world.clock.seconds() == 1


@pytest.mark.parametrize("at", ["connecting", "starting", "publishing"])
def test_stopping_on_the_way_leaves_nothing_behind(at: str) -> None:
    world = World()
    world.site.online()
    push = world.add()
    link = None
    if at != "connecting":
        link = world.connect()
    if at == "publishing":
        Source(world.site).send()
    assert push.state == at
    push.stop("stopped by ann")
    assert push.state == "stopped"
    assert (push.failures, world.pushes.unhandled) == (0, 0)
    assert link is None or link.closed
    machine = world.site.live.channel(SIM, 1)
    assert machine is None or not machine.leases


def test_the_figures_of_a_push_that_is_deleted_stay_in_the_sums() -> None:
    world = World()
    push, link, _ = world.running()
    link.on_lost("the connection was lost")
    world.pushes.remove(push, "deleted")
    assert (len(world.pushes), world.pushes.get("a")) == (0, None)
    assert (world.pushes.sent_bytes(), world.pushes.failures(), world.pushes.connects()) == (10, 1, 1)


def test_names_and_addresses() -> None:
    world = World()
    world.add(name="push-1")
    assert world.pushes.free_name() == "push-2"
    with pytest.raises(PushUrlError):
        world.add(name="x", url="http://media.example/x/y")
    assert world.pushes.get("x") is None


def test_nothing_shows_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    push, link, _ = world.running()
    link.on_lost("the connection was lost")
    shown = repr(push.settings) + push.target.shown() + push.last_error + str(world.site.told) + capsys.readouterr().out
    assert "secret" not in shown


def test_at_the_end_all_stop_and_none_begins() -> None:
    world = World()
    push, link, _ = world.running()
    world.pushes.close()
    assert (push.state, link.sink.closed) == ("stopped", b"<bye>")
    assert world.add(name="b").state == "stopped"


def test_a_configuration_that_is_read_again_leaves_alone_what_has_not_changed() -> None:
    world = World()
    world.site.online()

    def settings(name: str, channel: int = 1) -> Push:
        return Push(name=name, url=URL, terminal=PHONE, channel=channel, when="demand")

    world.pushes.configure([settings("same"), settings("other"), settings("gone")])
    made = world.pushes.add(settings("made"), "api")
    same, other = world.pushes.get("same"), world.pushes.get("other")
    world.pushes.configure([settings("same"), settings("other", 2), settings("new"), settings("made", 3)])
    assert [push.id for push in world.pushes] == ["same", "made", "other", "new"]
    assert world.pushes.get("same") is same
    assert world.pushes.get("other") is not other
    assert world.pushes.get("made") is made
