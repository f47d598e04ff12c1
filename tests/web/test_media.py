"""Playing over HTTP and WebSocket: what is answered when, what a page is told, who lets go of what."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from relay.core.live_channel import State
from relay.identity import StreamKey
from relay.web.connection import CLOSE_S, PING_S, UNASKED_BYTES
from relay.web.websocket import Opcode, frame
from tests.web.support import UPGRADE, parse
from tests.web.world import CLIENT_CLOSE, G711, H265, PHONE, Relay, body, masked, messages, picture, sound

ONE = "/live/13800138000_1"
KEY = StreamKey("13800138000", 1)


def leases(relay: Relay) -> int:
    """How many hold the channel."""
    machine = relay.live.channel(PHONE, 1)
    return len(machine.leases) if machine is not None else 0


# HTTP -------------------------------------------------------------------------------


def test_an_idle_channel_is_started_and_the_request_held_until_the_first_key_frame() -> None:
    relay = Relay()
    relay.online()
    transport = relay.get(f"{ONE}.flv")
    assert transport.value() == b""
    assert relay.asked().channel == 1
    stream = relay.media()
    assert transport.value() == b""
    picture(stream, 0, key=True)
    relay.clock.advance(0.2)
    head, _, data = transport.value().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["Content-Type"] == "video/x-flv"
    assert headers["Connection"] == "close"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cache-Control"] == "no-cache, no-store"
    assert "Transfer-Encoding" not in headers
    assert "Content-Length" not in headers
    assert data == b"<H h264><K0>"
    picture(stream, 40)
    assert body(transport) == b"<H h264><K0><p40>"
    assert leases(relay) == 1
    relay.end()


def test_a_late_viewer_has_the_cached_gop_at_once() -> None:
    relay = Relay()
    stream = relay.running()
    for dts in (40, 80):
        picture(stream, dts)
    first = relay.get(f"{ONE}.flv")
    relay.clock.advance(0.2)
    assert body(first) == b"<H h264><K0><p40><p80>"
    second = relay.get(f"{ONE}.flv")
    assert body(second) == b"<H h264><K0><p40><p80>"
    picture(stream, 120, key=True)
    assert body(first).endswith(b"<K120>")
    assert body(second).endswith(b"<K120>")
    relay.end()


def test_a_player_that_leaves_lets_go_once_and_the_channel_is_stopped() -> None:
    relay = Relay({"idle_stop_s": 15.0})
    stream = relay.running()
    transports = [relay.get(f"{ONE}.flv") for _ in range(2)]
    relay.clock.advance(0.2)
    assert leases(relay) == 2
    assert stream.viewer_count() == 2
    transports[0].lost()
    assert leases(relay) == 1
    assert stream.viewer_count() == 1
    transports[1].lost()
    assert leases(relay) == 0
    machine = relay.live.channel(PHONE, 1)
    assert machine is not None
    assert machine.state is State.LINGERING
    relay.end()


def test_a_player_that_leaves_while_it_waits_lets_go() -> None:
    relay = Relay()
    relay.online()
    transport = relay.get(f"{ONE}.flv")
    assert leases(relay) == 1
    transport.lost()
    assert leases(relay) == 0
    stream = relay.media()
    picture(stream, 0, key=True)
    assert stream.viewer_count() == 0
    relay.end()


def test_the_end_of_a_stream_ends_its_players_and_lets_go() -> None:
    relay = Relay()
    stream = relay.running()
    transport = relay.get(f"{ONE}.flv")
    relay.clock.advance(0.2)
    stream.end("stopped")
    assert relay.sinks[0].closed == b""
    assert transport.disconnecting
    assert leases(relay) == 0
    relay.clock.advance(CLOSE_S)  # a player that does not close its side
    assert transport.aborted
    relay.end()


def test_a_player_that_talks_on_is_cut_off() -> None:
    relay = Relay()
    relay.running()
    transport = relay.get(f"{ONE}.flv")
    relay.clock.advance(0.2)
    for _ in range(UNASKED_BYTES // 4096 + 1):
        transport.feed(b"x" * 4096)
    assert transport.aborted
    transport.lost()
    assert leases(relay) == 0
    relay.end()


@pytest.mark.parametrize(
    ("path", "channel", "stream"),
    [
        ("/live/013800138000_2.flv", 2, 1),
        ("/live/00000000013800138000_2.flv", 2, 1),
        ("/live/bus-17_2.flv", 2, 1),
        ("/live/%E7%B2%A4B12345_2.flv", 2, 1),
        ("/live/13800138000_2.live.flv", 2, 1),
        ("/live/13800138000_2.mp4", 2, 1),
        ("/live/13800138000_2.live.mp4", 2, 1),
        ("/13800138000/2.flv", 2, 1),
        ("/video/13800138000-2", 2, 1),
        ("/live/13800138000_2_main.flv", 2, 0),
        ("/live/13800138000_2_sub.flv", 2, 1),
        ("/live/13800138000_2_main.live.flv", 2, 0),
        ("/live/13800138000_2.flv?stream=main", 2, 0),
        ("/live/13800138000_2_sub.flv?stream=main", 2, 1),  # the name says it
        ("/live/13800138000_02.flv?cachebuster=1&autoplay", 2, 1),
    ],
)
def test_every_spelling_leads_to_the_channel(path: str, channel: int, stream: int) -> None:
    relay = Relay()
    relay.online()
    transport = relay.get(path)
    request = relay.asked()
    assert (request.channel, request.stream_type) == (channel, stream)
    picture(relay.media(channel), 0, key=True)
    relay.clock.advance(1.1)
    assert body(transport).startswith(b"<H h264>")
    assert (b"video/mp4" in transport.value()) == path.partition("?")[0].endswith("mp4")
    relay.end()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", b"<H h264 g711a><K0><a20>"),
        ("?media=v", b"<H h264><K0>"),
        ("?media=a", b"<H g711a>"),
        ("?audio=none", b"<H h264><K0>"),
        ("?audio=source&hevc=legacy", b"<H h264 g711a><K0><a20>"),
    ],
)
def test_media_and_audio_choose_the_tracks(query: str, expected: bytes) -> None:
    relay = Relay()
    stream = relay.running()
    sound(stream, 20)
    transport = relay.get(f"{ONE}.flv{query}")
    relay.clock.advance(0.2)
    assert body(transport) == expected
    relay.end()


@pytest.mark.parametrize("query", ["?media=x", "?audio=mp3", "?stream=third", "?hevc=1", "?ws=x"])
def test_options_that_do_not_exist_are_refused(query: str) -> None:
    relay = Relay()
    answer, _ = parse(relay.get(f"{ONE}.flv{query}").value())
    assert (answer.status, answer.json["error"]) == (400, "bad_query")
    relay.end()


def test_head_tells_the_headers_and_starts_nothing() -> None:
    relay = Relay()
    device = relay.online()
    answer = relay.ask("HEAD", f"{ONE}.mp4?token={relay.media_token()}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["cache-control"] == "no-cache, no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert device.commands() == []
    assert relay.ask("HEAD", f"{ONE}.mp4").status == 401
    relay.end()


def test_options_allow_every_origin() -> None:
    relay = Relay()
    answer = relay.ask("OPTIONS", f"{ONE}.flv", {"Origin": "https://else.example", "Access-Control-Request-Method": "GET"})
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert "GET" in answer.headers["access-control-allow-methods"]
    assert relay.ask("POST", f"{ONE}.flv").status == 405
    relay.end()


# tokens -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "status", "error"),
    [
        ("", 401, "token_missing"),
        ("nonsense", 403, "token_malformed"),
        ("expired", 403, "token_expired"),
        ("flipped", 403, "token_bad_signature"),
        ("other key", 403, "token_bad_signature"),
        ("other channel", 403, "token_wrong_path"),
        ("other terminal", 403, "token_wrong_path"),
        ("other address", 403, "token_wrong_address"),
        ("api", 403, "token_wrong_kind"),
    ],
)
@pytest.mark.parametrize("path", [f"{ONE}.flv", f"{ONE}.mp4", "/13800138000/1.flv", "/live/bus-17_1.flv"])
def test_a_token_that_does_not_open_it_is_refused_with_the_reason(token: str, status: int, error: str, path: str) -> None:
    from relay.core.tokens import Signer

    relay = Relay()
    device = relay.online()
    good = relay.media_token()
    tokens = {
        "": "",
        "nonsense": "nonsense",
        "expired": relay.media_token(seconds=-31),
        "flipped": good[:-2] + ("AA" if good[-2:] != "AA" else "BA"),
        "other key": Signer("another key, also long").media("*", 120, relay.wall()),
        "other channel": relay.media_token("13800138000_2"),
        "other terminal": relay.media_token("13900139000_*"),
        "other address": relay.media_token(address="10.9.9.9"),
        "api": relay.api_token(),
    }
    answer = relay.ask("GET", f"{path}?token={tokens[token]}" if token else path)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert device.commands() == []
    relay.end()


@pytest.mark.parametrize("pattern", ["*", "13800138000_1", "013800138000_*", "bus-17_1", "粤B12345_1"])
@pytest.mark.parametrize("name", ["13800138000", "bus-17", "%E7%B2%A4B12345", "013800138000"])
def test_a_token_for_any_name_of_the_terminal_opens_every_name(pattern: str, name: str) -> None:
    relay = Relay()
    relay.running()
    transport = relay.get(f"/live/{name}_1.flv", relay.media_token(pattern))
    relay.clock.advance(0.2)
    assert body(transport).startswith(b"<H")
    relay.end()


def test_a_terminal_that_claims_anothers_plate_does_not_borrow_its_token() -> None:
    relay = Relay()
    liar = relay.core.device("013900139000")
    liar.register(plate="粤B12345")
    liar.authenticate()
    # the token is for the liar's number; the plate in the URL is the honest one's by the store
    answer = relay.ask("GET", f"/live/%E7%B2%A4B12345_1.flv?token={relay.media_token('13900139000_*')}")
    assert answer.status == 403
    relay.end()


def test_a_token_may_come_in_the_header_and_so_may_an_api_token() -> None:
    relay = Relay()
    relay.running()
    for token in (relay.media_token("13800138000_1"), relay.api_token("viewer")):
        transport = relay.send("GET", f"{ONE}.flv", {"Authorization": f"Bearer {token}"})
        relay.clock.advance(0.2)
        assert body(transport).startswith(b"<H")
    relay.end()


# failures -----------------------------------------------------------------------------


def test_failures_have_true_statuses_and_words() -> None:
    relay = Relay({"start_timeout_s": 5.0})
    for path, status, error in (
        ("/live/13700137000_1.flv", 404, "unknown_terminal"),
        ("/live/nobody_1.flv", 404, "unknown_terminal"),
        (f"{ONE}.flv", 503, "terminal_offline"),
    ):
        answer, _ = parse(relay.get(path).value())
        assert (answer.status, answer.json["error"]) == (status, error)
        assert answer.json["message"]
        assert answer.json["hint"]
    relay.online()
    answer, _ = parse(relay.get("/live/13800138000_0.flv").value())
    assert (answer.status, answer.json["error"]) == (404, "unknown_channel")
    relay.end()


def test_no_media_in_time_is_504_with_the_hop_and_the_trace() -> None:
    relay = Relay({"start_timeout_s": 5.0})
    relay.online()
    transport = relay.get(f"{ONE}.flv")
    relay.asked()
    relay.clock.advance(5)
    answer, _ = parse(transport.value())
    assert (answer.status, answer.json["error"], answer.json["hop"]) == (504, "no_media_connection", "connected")
    assert list(answer.json["hops"]) == ["requested", "sent", "answered"]
    assert answer.json["trace"]["missing"] == "connected"
    assert answer.headers["access-control-allow-origin"] == "*"
    relay.end()


def test_a_refusal_of_the_terminal_is_409() -> None:
    relay = Relay()
    device = relay.online()
    transport = relay.get(f"{ONE}.flv")
    [(header, _)] = device.commands()
    device.answer(header, 1)
    answer, _ = parse(transport.value())
    assert (answer.status, answer.json["error"], answer.json["hop"]) == (409, "refused_by_terminal", "answered")
    relay.end()


def test_a_codec_that_the_container_cannot_carry_is_415() -> None:
    relay = Relay()
    relay.online()
    stream = relay.media()
    picture(stream, 0, key=True, config=H265)
    answer, _ = parse(relay.get(f"{ONE}.flv").value())
    assert (answer.status, answer.json["error"]) == (415, "unsupported_video")
    assert "h265" in answer.json["message"]
    assert leases(relay) == 0
    relay.end()


def test_a_stream_that_ends_between_look_and_attachment_closes_the_player() -> None:
    relay = Relay()
    stream = relay.running()
    make = relay.make_sink

    def slow(transport: Any) -> Any:
        sink = make(transport)
        sink.at_once = False
        return sink

    relay.web.media._sinks = slow
    transport = relay.get(f"{ONE}.flv")
    assert relay.sinks[0].held
    stream.end("stopped")
    relay.sinks[0].drain()
    assert transport.disconnecting
    assert leases(relay) == 0
    relay.end()


# WebSocket ------------------------------------------------------------------------------


def test_a_page_is_told_of_every_hop_then_of_the_tracks_then_gets_media() -> None:
    relay = Relay()
    relay.online()
    transport = relay.socket(f"{ONE}.mp4")
    assert transport.value().startswith(b"HTTP/1.1 101 ")
    assert [(m["type"], m["hop"]) for m in messages(transport)] == [("state", "requested"), ("state", "sent")]
    relay.clock.advance(0.05)
    relay.asked()
    assert messages(transport) == [{"type": "state", "hop": "answered", "ms": 50}]
    stream = relay.media()
    assert [m["hop"] for m in messages(transport)] == ["connected", "first_packet"]
    picture(stream, 0, key=True)
    relay.clock.advance(0.2)
    got = messages(transport)
    assert got[0]["hop"] == "first_key_frame"
    assert got[1]["type"] == "init"
    assert got[1]["mime"] == 'video/mp4; codecs="avc1.42001E"'
    assert got[2:4] == [b"<H h264>", b"<K0>"]
    assert got[4]["hop"] == "first_byte"
    picture(stream, 40)
    assert messages(transport) == [b"<p40>"]
    relay.end()


def test_ws_flv_carries_binary_messages_only() -> None:
    relay = Relay()
    relay.online()
    transport = relay.socket(f"{ONE}.flv")
    relay.asked()
    stream = relay.media()
    picture(stream, 0, key=True)
    relay.clock.advance(0.2)
    picture(stream, 40)
    got = messages(transport)
    assert all(isinstance(message, bytes) for message in got)
    assert b"".join(got) == b"<H h264><K0><p40>"
    relay.end()


@pytest.mark.parametrize("path", [f"{ONE}.mp4?ws=binary", f"{ONE}.live.mp4"])
def test_ws_fmp4_without_texts_for_players_that_want_none(path: str) -> None:
    relay = Relay()
    relay.running()
    transport = relay.socket(path)
    relay.clock.advance(0.2)
    got = messages(transport)
    assert all(isinstance(message, bytes) for message in got)
    assert b"".join(got) == b"<H h264><K0>"
    relay.end()


def test_a_new_configuration_is_announced_before_its_initialisation_segment() -> None:
    from dataclasses import replace

    from tests.web.world import H264

    relay = Relay()
    stream = relay.running()
    transport = relay.socket(f"{ONE}.mp4")
    relay.clock.advance(0.2)
    messages(transport)
    picture(stream, 40, key=True, config=replace(H264, width=1280, height=720, parameter_sets=(b"\x67other",)))
    got = messages(transport)
    assert got[0]["type"] == "init"
    assert (got[0]["width"], got[0]["height"]) == (1280, 720)
    assert b"".join(got[1:]) == b"<H h264><K40>"
    relay.end()


@pytest.mark.parametrize(
    ("token", "path", "status", "error"),
    [
        ("", f"{ONE}.mp4", 401, "token_missing"),
        ("bad", f"{ONE}.mp4", 403, "token_malformed"),
        (None, "/live/13700137000_1.mp4", 404, "unknown_terminal"),
        (None, f"{ONE}.mp4", 503, "terminal_offline"),
        (None, f"{ONE}.mp4?media=x", 400, "bad_query"),
    ],
)
def test_failures_of_ws_fmp4_are_told_inside(token: str | None, path: str, status: int, error: str) -> None:
    relay = Relay()
    transport = relay.socket(path, token)
    assert transport.value().startswith(b"HTTP/1.1 101 ")
    told, close = messages(transport)
    assert (told["type"], told["status"], told["error"]) == ("error", status, error)
    assert told["message"]
    assert close[0] == 4000 + status
    assert transport.disconnecting
    relay.end()


@pytest.mark.parametrize(("token", "path", "code"), [("", f"{ONE}.flv", 4401), ("bad", f"{ONE}.flv", 4403), (None, f"{ONE}.flv", 4503)])
def test_failures_of_ws_flv_close_with_code_and_reason(token: str | None, path: str, code: int) -> None:
    relay = Relay()
    [(got, reason)] = messages(relay.socket(path, token))
    assert got == code
    assert len(reason) > 10
    relay.end()


def test_a_failed_start_tells_the_page_its_hops() -> None:
    relay = Relay({"start_timeout_s": 5.0})
    relay.online()
    transport = relay.socket(f"{ONE}.mp4")
    relay.asked()
    relay.clock.advance(5)
    *states, told, close = messages(transport)
    assert [state["hop"] for state in states] == ["requested", "sent", "answered"]
    assert (told["status"], told["hop"], list(told["hops"])) == (504, "connected", ["requested", "sent", "answered"])
    assert told["hint"]
    assert close[0] == 4504
    assert leases(relay) == 0
    relay.end()


def test_a_codec_that_cannot_be_carried_is_told_inside() -> None:
    relay = Relay()
    relay.online()
    picture(relay.media(), 0, key=True, config=H265)
    told, close = messages(relay.socket(f"{ONE}.mp4"))
    assert (told["status"], told["error"], close[0]) == (415, "unsupported_video", 4415)
    relay.end()


def test_a_handshake_that_is_none_is_plain_400_before_anything_else() -> None:
    relay = Relay()
    answer = relay.ask("GET", f"{ONE}.mp4?token={relay.media_token()}", {**UPGRADE, "Sec-WebSocket-Version": "8"})
    assert (answer.status, answer.json["error"]) == (400, "bad_websocket")
    relay.end()


def test_a_page_that_closes_lets_go_and_gets_its_close_frame() -> None:
    relay = Relay()
    stream = relay.running()
    transport = relay.socket(f"{ONE}.mp4")
    relay.clock.advance(0.2)
    messages(transport)
    transport.feed(CLIENT_CLOSE)
    assert messages(transport) == [(1000, "")]
    assert transport.disconnecting
    assert leases(relay) == 0
    assert stream.viewer_count() == 0
    transport.lost()
    relay.end()


def test_a_page_that_closes_while_it_waits_lets_go() -> None:
    for close in (True, False):
        relay = Relay()
        relay.online()
        transport = relay.socket(f"{ONE}.mp4")
        assert leases(relay) == 1
        if close:
            transport.feed(CLIENT_CLOSE)
            assert messages(transport)[-1] == (1000, "")
        transport.lost()
        assert leases(relay) == 0
        relay.end()


@pytest.mark.parametrize(("cause", "code", "error"), [("connection lost", 1000, "connection_lost"), ("shutdown", 1001, "shutdown"), ("kicked", 1008, "kicked")])
def test_the_end_is_told_with_its_cause(cause: str, code: int, error: str) -> None:
    relay = Relay()
    stream = relay.running()
    page, player = relay.socket(f"{ONE}.mp4"), relay.socket(f"{ONE}.flv")
    relay.clock.advance(0.2)
    messages(page), messages(player)
    if cause == "kicked":
        for viewer in stream.viewers():
            assert stream.kick(viewer.id)
    else:
        stream.end(cause)
    told, closed = messages(page)
    assert (told["type"], told["error"], closed[0]) == ("end", error, code)
    assert told["message"]
    assert messages(player) == [(code, cause)]
    assert leases(relay) == 0
    relay.end()


def test_pings_go_between_messages_and_a_silent_page_is_dropped() -> None:
    relay = Relay()
    stream = relay.running()
    transport = relay.socket(f"{ONE}.mp4")
    relay.clock.advance(0.2)
    messages(transport)
    for second in range(int(PING_S)):
        relay.clock.advance(1)
        picture(stream, 40 + second)
    assert Opcode.PING in messages(transport)
    transport.feed(masked(frame(Opcode.PONG, b"")))
    for _ in range(3):
        assert not transport.aborted
        for _ in range(int(PING_S)):
            relay.clock.advance(1)
            picture(stream, 100)
    assert transport.aborted
    transport.lost()
    assert leases(relay) == 0
    relay.end()


def test_a_slow_page_is_not_dropped_for_pings_that_cannot_reach_it() -> None:
    relay = Relay()
    stream = relay.running()
    transport = relay.socket(f"{ONE}.mp4")
    relay.clock.advance(0.2)
    sink = relay.sinks[0]
    sink.at_once, sink.room = False, 0
    for second in range(int(PING_S) * 5):
        relay.clock.advance(1)
        picture(stream, 40 + second)
        if sink.held:
            sink.drain()  # it takes what is held, never the rest
    assert not transport.aborted
    relay.end()


def test_a_ping_never_lands_inside_a_message_that_is_half_sent() -> None:
    relay = Relay()
    stream = relay.running()
    transport = relay.socket(f"{ONE}.flv")
    relay.clock.advance(0.2)
    messages(transport)
    sink = relay.sinks[0]
    sink.at_once, sink.room = False, 3
    picture(stream, 40)  # three bytes of the message leave, the rest is held
    transport.feed(masked(frame(Opcode.PING, b"hello")))
    picture(stream, 80)
    sink.at_once, sink.room = True, 1 << 30
    sink.drain()
    got = messages(transport)
    assert [message for message in got if isinstance(message, bytes)] == [b"<p40>", b"<p80>"]
    assert Opcode.PONG in got
    relay.end()


def test_a_message_beyond_64_kib_closes_with_1009() -> None:
    relay = Relay()
    relay.running()
    transport = relay.socket(f"{ONE}.mp4")
    relay.clock.advance(0.2)
    messages(transport)
    transport.feed(b"\x82\xff" + (1 << 40).to_bytes(8, "big"))
    assert messages(transport)[-1][0] == 1009
    assert leases(relay) == 0
    relay.end()


def test_the_relays_end_ends_those_who_wait() -> None:
    relay = Relay()
    relay.online()
    page = relay.socket(f"{ONE}.mp4")
    player = relay.get(f"{ONE}.flv")
    relay.web.close()
    relay.live.close()
    assert messages(page)[-1][0] == 1001
    assert parse(player.value())[0].status == 503
    relay.hub.close()
    relay.core.terminals.close()


@pytest.mark.parametrize("upgrade", [False, True])
def test_a_viewer_keeps_nothing_of_request_and_channel(upgrade: bool) -> None:
    relay = Relay()
    relay.running()
    transport = relay.connect()
    channel = weakref.ref(transport.protocol)
    seen: list[Any] = []
    handle = relay.site.handle

    def watch(request: Any) -> None:
        seen.append(weakref.ref(request))
        handle(request)

    relay.site.handle = watch
    from tests.web.support import request

    transport.feed(request("GET", f"{ONE}.mp4?token={relay.media_token()}", UPGRADE if upgrade else {}))
    relay.clock.advance(0.2)
    gc.collect()
    assert seen[0]() is None
    assert channel() is None
    relay.end()


def test_reading_on_a_lost_connection_is_no_error() -> None:
    relay = Relay()
    stream = relay.running()
    transport = relay.get(f"{ONE}.flv")
    relay.clock.advance(0.2)
    protocol, transport.protocol = transport.protocol, None
    protocol.connectionLost(Failure(ConnectionLost()))
    picture(stream, 40)
    assert leases(relay) == 0
    assert relay.site.open == 0
    relay.end()


def test_sound_alone_where_no_picture_comes() -> None:
    relay = Relay()
    relay.online()
    transport = relay.get(f"{ONE}.flv?media=a")
    relay.asked()
    stream = relay.media()
    sound(stream, 0)
    relay.clock.advance(2)
    assert body(transport).startswith(b"<H g711a>")
    assert G711.codec == "g711a"
    relay.end()
