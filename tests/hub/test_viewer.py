"""The bounded queue in front of a player's socket: what is dropped, what never is, and what a stuck one costs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.hub.formats import OutputFormat
from tests.hub.support import KEY, LARGE, FakeSink, Hub

V = OutputFormat(media="v")


def test_what_the_socket_does_not_take_goes_out_before_what_comes_later() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream, room=30)
    hub.feed(stream, "PPP")
    assert viewer.state == "busy"
    sink.drain(3)
    assert viewer.state == "busy"
    sink.drain()
    assert viewer.state == "live"
    hub.feed(stream, "P")
    assert sink.pieces() == ["{head h264:352 -}", "[K 40 x]", "[P 80 x]", "[P 120 x]", "[P 160 x]", "[P 200 x]"]


def test_one_slow_viewer_does_not_slow_the_others() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    sinks = [hub.view(stream)[0] for _ in range(5)]
    sinks[1].room = 3
    sinks[3].room = 0
    hub.feed(stream, "PPKP")
    for sink in (sinks[0], sinks[2], sinks[4]):
        assert len(sink.pieces()) == 6
    for sink in (sinks[1], sinks[3]):
        sink.drain()
        assert sink.pieces() == sinks[0].pieces()


def test_a_full_queue_is_cut_to_the_latest_key_frame_never_to_a_single_picture() -> None:
    hub = Hub(queue_bytes=1000)
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream)
    sink.room = 0
    hub.feed(stream, "P" * 4, b"y" * 100)
    hub.feed(stream, "K", b"y" * 100)
    hub.feed(stream, "P" * 5, b"y" * 100)
    assert viewer.drops == 1
    assert viewer.queue_bytes <= 1000
    assert viewer.state == "busy"
    sink.drain()
    times = [int(piece.split()[1]) for piece in sink.pieces()[1:]]
    assert times == [40, 80, 240, 280, 320, 360, 400, 440], "the picture already on its way, then on from the key frame at 240"


def test_how_long_the_oldest_data_has_waited_is_told() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream)
    assert viewer.stats().queue_ms == 0
    sink.room = 0
    hub.feed(stream, "P")
    hub.clock.advance(0.5)
    hub.feed(stream, "P")
    hub.clock.advance(0.25)
    assert viewer.stats().queue_ms == 750
    sink.drain()
    assert viewer.stats().queue_ms == 0


def test_without_a_key_frame_that_fits_the_queue_is_emptied_and_the_next_one_resumes() -> None:
    hub = Hub(queue_bytes=600)
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream)
    sink.room = 0
    hub.feed(stream, "P" * 10, b"y" * 100)
    assert viewer.drops == 1
    assert viewer.state == "resync"
    sink.drain()
    assert viewer.state == "resync"
    hub.feed(stream, "PP")
    hub.feed(stream, "KP")
    assert viewer.state == "live"
    assert [piece[1] for piece in sink.pieces()] == ["h", "K", "P", "K", "P"]


def test_what_waits_too_long_is_dropped_like_what_is_too_much() -> None:
    hub = Hub(queue_s=3.0)
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream)
    sink.room = 0
    hub.feed(stream, "P")
    hub.clock.advance(2.9)
    hub.feed(stream, "P")
    assert viewer.drops == 0
    hub.clock.advance(0.2)
    hub.feed(stream, "P")
    assert viewer.drops == 1
    assert viewer.state == "resync"


def test_the_joining_burst_does_not_count_against_the_queue() -> None:
    hub = Hub(queue_bytes=1000)
    stream = hub.open()
    hub.feed(stream, "KPP", b"y" * 20000)
    sink, viewer = hub.view(stream, room=10)
    assert viewer.queue_bytes == 0
    hub.feed(stream, "PP", b"y" * 200)
    assert 400 < viewer.queue_bytes < 500
    assert viewer.drops == 0
    while viewer.state != "live":
        sink.drain(4000)
    assert [piece[1] for piece in sink.pieces()] == ["h", "K", "P", "P", "P", "P"]


def test_a_viewer_that_missed_a_change_gets_its_headers_with_the_key_frame() -> None:
    hub = Hub(queue_bytes=300)
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream)
    sink.room = 0
    hub.feed(stream, "P" * 5, b"y" * 100)
    assert viewer.state == "resync"
    hub.feed(stream, "KP", b"y" * 400, config=LARGE)  # the change passes by while nothing fits
    assert viewer.state == "resync"
    sink.drain()
    hub.feed(stream, "KP", config=LARGE)
    assert [piece.split()[0] for piece in sink.pieces()] == ["{head", "[K", "[P", "{conf", "[K", "[P"]
    hub.feed(stream, "K", config=LARGE)
    assert sink.pieces()[-1].startswith("[K"), "headers once"


def test_a_change_in_the_queue_is_not_repeated() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream)
    sink.room = 0
    hub.feed(stream, "P")
    hub.feed(stream, "KP", config=LARGE)
    sink.drain()
    assert viewer.state == "live"
    hub.feed(stream, "P", config=LARGE)
    assert [piece.split()[0] for piece in sink.pieces()] == ["{head", "[K", "[P", "{conf", "[K", "[P", "[P"]


def test_a_viewer_that_takes_nothing_is_closed() -> None:
    hub = Hub(stuck_s=30.0)
    stream = hub.open()
    hub.feed(stream, "K")
    causes: list[str] = []
    sink, _ = hub.view(stream, on_close=lambda viewer, cause: causes.append(cause))
    reading, _ = hub.view(stream)
    sink.room = 0
    for _ in range(32):
        hub.feed(stream, "KP")
        hub.clock.advance(1.0)
    assert causes == ["stuck"]
    assert sink.aborted
    assert len(reading.pieces()) == 66
    assert stream.viewer_count() == 1


def test_a_viewer_that_takes_a_little_now_and_then_is_not_stuck() -> None:
    hub = Hub(stuck_s=5.0, queue_bytes=2000)
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream)
    sink.room = 0
    for second in range(30):
        hub.feed(stream, "KP", b"y" * 300)
        hub.clock.advance(1.0)
        if second % 4 == 3:
            sink.drain(50)
    assert viewer.state != "closed"


def test_a_lost_connection_is_left_to_its_owner() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    causes: list[str] = []
    sink, viewer = hub.view(stream, on_close=lambda viewer, cause: causes.append(cause))
    sink.lost = True
    hub.feed(stream, "PPPK")
    assert not causes
    viewer.close()
    assert causes == ["gone"]
    assert sink.closed is None
    assert not sink.aborted
    viewer.close("kicked")
    assert causes == ["gone"]


def test_control_frames_go_between_messages() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream)
    viewer.insert(b"{ping}")
    hub.feed(stream, "P")
    sink.room = 4
    hub.feed(stream, "P")
    viewer.insert(b"{pong}")
    hub.feed(stream, "P")
    sink.drain()
    assert sink.pieces() == ["{head h264:352 -}", "[K 40 x]", "{ping}", "[P 80 x]", "[P 120 x]", "{pong}", "[P 160 x]"]
    sink.room = 3
    viewer.insert(b"{ping}")
    assert viewer.state == "busy"
    hub.feed(stream, "P")
    sink.drain()
    assert sink.pieces()[-2:] == ["{ping}", "[P 200 x]"]
    assert viewer.state == "live"


def test_a_control_frame_that_is_still_on_its_way_does_not_lose_the_beginning() -> None:
    hub = Hub()
    stream = hub.open()
    sink, viewer = hub.view(stream, room=3, preamble=b"{HTTP}")
    viewer.insert(b"{ping}")
    hub.feed(stream, "KP")
    assert viewer.state == "busy"
    sink.drain()
    hub.feed(stream, "P")
    assert sink.pieces() == ["{ping}", "{HTTP}", "{head h264:352 -}", "[K 40 x]", "[P 80 x]", "[P 120 x]"]
    assert viewer.state == "live"


def test_a_control_frame_alone_does_not_make_a_waiting_viewer_live() -> None:
    hub = Hub()
    stream = hub.open()
    sink, viewer = hub.view(stream, room=3)
    viewer.insert(b"{ping}")
    sink.drain()
    assert viewer.state == "waiting"
    hub.feed(stream, "PKP")
    assert sink.pieces() == ["{ping}", "{head h264:352 -}", "[K 80 x]", "[P 120 x]"]


def test_closing_between_pieces_says_farewell_and_in_the_middle_of_one_does_not() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    whole, first = hub.view(stream, farewell=lambda cause: f"{{{cause}}}".encode())
    cut, second = hub.view(stream, farewell=lambda cause: b"{bye}")
    cut.room = 2
    hub.feed(stream, "P")
    first.close("kicked")
    second.close("kicked")
    assert whole.pieces()[-1] == "{kicked}"
    assert cut.aborted
    assert b"bye" not in cut.got


def test_a_head_that_was_not_sent_leaves_room_for_an_error() -> None:
    hub = Hub()
    stream = hub.open()
    sink, viewer = hub.view(stream, preamble=b"{HTTP}", farewell=lambda cause: b"{bye}")
    viewer.close("no picture")
    assert sink.got == b""


def test_figures_of_a_viewer() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    sink, viewer = hub.view(stream)
    hub.feed(stream, "PPP")
    assert viewer.stats().bytes == len(sink.got)
    sink.room = 4
    hub.feed(stream, "PP")
    sink.drain()
    hub.feed(stream, "PP")
    stats = viewer.stats()
    assert stats.bytes == len(sink.got)
    assert stats.first_byte == hub.clock.seconds()
    assert stats.format == "flv/raw/v/auto/enhanced"
    viewer.close()
    assert viewer.stats().bytes == len(sink.got)


def test_stuck_viewers_share_their_burst() -> None:
    """200 stuck viewers of a stream with a large GOP: the bytes they wait for are one object."""
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K", b"y" * 1_000_000)
    viewers = [hub.view(stream, room=0)[1] for _ in range(200)]
    assert len({id(viewer._rest) for viewer in viewers}) == 1


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.sampled_from([200, 600, 3000]), framing=st.sampled_from(["raw", "ws"]))
def test_whatever_the_socket_takes_the_player_sees_whole_pieces_and_never_a_picture_without_its_key_frame(seed: int, limit: int, framing: str) -> None:
    """Bounded memory, order, whole pieces, and after each gap a key frame: for sockets that take anything at any time."""
    dice = random.Random(seed)
    hub = Hub(queue_bytes=limit)
    stream = hub.open()
    hub.feed(stream, "K")
    sink = FakeSink(dice.choice([None, 0, 10, 50]))
    viewer = stream.attach(OutputFormat("flv", framing, "v"), sink)
    for _ in range(60):
        action = dice.random()
        if action < 0.6:
            hub.feed(stream, dice.choice("PPPPPPK"), b"y" * dice.randrange(1, 120))
        elif action < 0.8:
            sink.drain(dice.choice([None, 0, 1, 30, 200]))
        else:
            sink.room = dice.choice([0, 5, 90])
        assert viewer.queue_bytes <= limit + 200
    while viewer.busy:
        sink.drain()
    data = sink.got
    if framing == "ws":
        payload = b""
        while data:
            assert data[0] == 0x82
            size, at = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
            payload += data[at : at + size]
            data = data[at + size :]
        sink.got = payload
    pieces = sink.pieces()
    assert pieces[0].startswith("{head")
    previous = 0
    for piece in pieces[1:]:
        kind, time = piece[1], int(piece.split()[1])
        assert time > previous
        if kind == "P":
            assert time == previous + 40, "a picture whose predecessor was dropped"
        previous = time


@pytest.mark.parametrize("key", [KEY])
def test_a_viewer_that_closes_itself_while_it_is_being_served(key: object) -> None:
    hub = Hub()
    stream = hub.open()
    hub.view(stream, on_first=lambda viewer: viewer.close("kicked"))
    other, _ = hub.view(stream)
    hub.feed(stream, "KP")
    assert len(other.pieces()) == 3
    assert stream.viewer_count() == 1
    assert stream.waiting == 0
