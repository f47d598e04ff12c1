"""Many channels on one WebSocket: what is told, who may see what, and that nobody's picture holds the others up."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, SSL4ServerEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.logger import capturedLogs

from relay.core.live_failure import StartFailed
from relay.net.sink import make_sink
from relay.web.many import CHANNELS_MAX, FIRST, LAST, MIDDLE, TURN_BYTES, WHOLE, Pieces
from relay.web.websocket import Opcode, frame, unmask
from tests.web.support import UPGRADE, MemoryTransport, Raw, dial, parse, request
from tests.web.test_accounts import OTHER, SIM, grouped
from tests.web.test_sockets import Trusting, certificate, eventually, serve
from tests.web.world import Relay, messages, picture, split

__all__ = ["certificate"]  # the fixture


def say(**message: Any) -> bytes:
    """A text message as a page sends it."""
    data = json.dumps(message).encode()
    size = bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + b"\1\2\3\4" + unmask(data, b"\1\2\3\4")


def show(slot: int, channel: int = 1, sim: str = SIM, **more: Any) -> bytes:
    return say(type="open", slot=slot, sim=sim, channel=channel, **more)


def told(transport: MemoryTransport) -> tuple[dict[int, list[dict[str, Any]]], dict[int, bytes]]:
    """What came since the last call: messages and media by slot."""
    texts: dict[int, list[dict[str, Any]]] = {}
    media: dict[int, bytes] = {}
    for message in messages(transport):
        if isinstance(message, dict):
            texts.setdefault(message.pop("slot", -1), []).append(message)
        elif isinstance(message, bytes):
            slot = int.from_bytes(message[:2], "big")
            media[slot] = media.get(slot, b"") + message[3:]
    return texts, media


def test_two_channels_come_over_one_connection_each_under_its_number() -> None:
    relay = Relay()
    streams = relay.running(1), relay.running(2)
    page = relay.socket("/live/ws")
    page.feed(show(7, 1) + show(300, 2))
    relay.clock.advance(1.1)
    texts, media = told(page)
    assert [message["type"] for message in texts[7] if message["type"] != "state"] == ["init"]
    assert [message["type"] for message in texts[300] if message["type"] != "state"] == ["init"]
    assert media == {7: b"<H h264><K0>", 300: b"<H h264><K0>"}
    picture(streams[0], 40)
    picture(streams[1], 40, size=70000)
    _, media = told(page)
    assert media[7] == b"<p40>"
    assert media[300] == b"<p40" + b"x" * (70000 - 5) + b">"
    page.feed(say(type="close", slot=7))
    assert told(page)[0][7] == [{"type": "end", "error": "closed", "message": "Closed."}]
    assert [stream.viewer_count() for stream in streams] == [0, 1]
    streams[1].end("over")
    assert told(page)[0][300][-1]["type"] == "end"
    page.feed(show(300, 1))  # the number is free again
    relay.clock.advance(0.2)
    assert told(page)[1][300] == b"<H h264><K0><p40>"
    page.lost()
    assert streams[0].viewer_count() == 0
    relay.end()


def test_an_idle_channel_is_started_with_its_hops_and_a_failure_costs_only_its_slot() -> None:
    relay = Relay()
    relay.online()
    page = relay.socket("/live/ws")
    page.feed(show(1, stream="sub", media="v") + show(2, sim="13900139000"))
    asked = relay.asked()
    assert (asked.channel, asked.stream_type) == (1, 1)
    picture(relay.media(), 0, key=True)
    relay.clock.advance(1.1)
    texts, media = told(page)
    hops = [message["hop"] for message in texts[1] if message["type"] == "state"]
    assert (hops[0], hops[-1]) == ("requested", "first_byte")
    assert media == {1: b"<H h264><K0>"}
    assert (texts[2][-1]["type"], texts[2][-1]["error"]) == ("error", "terminal_offline")
    page.lost()
    relay.end()


def test_messages_that_are_not_understood_are_answered_in_words() -> None:
    relay = Relay()
    relay.running()
    page = relay.socket("/live/ws")
    page.feed(say(type="dance") + say(type="open", slot=70000, sim=SIM, channel=1) + show(1) + show(1) + show(2, 300) + say(type="close", slot=99))
    texts, _ = told(page)
    assert [message["error"] for message in texts[-1]] == ["bad_message", "bad_message", "slot_in_use"]
    assert texts[2] == [{"type": "error", "status": 404, "error": "unknown_channel", "message": texts[2][0]["message"]}]
    page.feed(b"".join(show(slot, 2) for slot in range(10, 10 + CHANNELS_MAX)))
    assert told(page)[0][9 + CHANNELS_MAX][0]["error"] == "too_many_channels"
    page.lost()
    relay.end()


def test_a_page_that_is_left_does_not_stop_the_relay_in_the_log() -> None:
    relay = Relay()
    relay.running()
    page = relay.socket("/live/ws")
    page.feed(show(1))
    relay.clock.advance(0.2)
    with capturedLogs() as logged:
        page.feed(b"\x88\x82\0\0\0\0\x03\xe9")  # 1001, as browsers say when their page is left
    assert [event["cause"] for event in logged if "cause" in event] == ["closed by the client"]
    relay.end()


def test_who_may_see_what_is_asked_for_each_channel() -> None:
    relay, browser = grouped()
    relay.running()
    picture(relay.media(1, OTHER), 0, key=True)
    page = relay.send("GET", "/live/ws", {**UPGRADE, "Cookie": f"jt1078relay={browser.cookie}"})
    page.feed(show(1) + show(2, sim=OTHER))
    relay.clock.advance(0.2)
    texts, media = told(page)
    assert media == {1: b"<H h264><K0>"}
    assert texts[2][0]["error"] == "unknown_terminal"
    relay.api("DELETE", "/users/guy", expect=204)  # and whoever loses the account sees no more
    assert messages(page)[-1] == (1008, "taken back")
    relay.end()


def test_a_media_token_opens_its_channels_only_and_an_api_token_all() -> None:
    relay = Relay()
    relay.running(1), relay.running(2)
    page = relay.socket("/live/ws", relay.api_token("viewer"))
    page.feed(show(1, 1) + show(2, 2))
    relay.clock.advance(0.2)
    assert set(told(page)[1]) == {1, 2}
    page.lost()
    page = relay.socket("/live/ws", relay.media_token(f"{SIM}_1", 60))
    page.feed(show(1, 1) + show(2, 2))
    relay.clock.advance(0.2)
    texts, media = told(page)
    assert set(media) == {1}
    assert texts[2][0]["error"] == "token_wrong_path"
    relay.clock.advance(120)
    page.feed(show(3, 1))
    assert told(page)[0][3][0]["error"] == "token_expired"
    page.lost()
    assert messages(relay.socket("/live/ws", "nonsense"))[-1][0] == 4403
    assert parse(relay.get("/live/ws").value())[0].status == 426
    relay.end()


def test_the_program_that_decides_about_plays_is_asked_for_each_channel() -> None:
    decisions: list[Deferred[None]] = []

    def permit(*what: Any) -> Deferred[None]:
        decisions.append(Deferred())
        return decisions[-1]

    relay = Relay(more=lambda _: {"permit": permit})
    relay.running(1), relay.running(2)
    page = relay.socket("/live/ws")
    page.feed(show(1, 1) + show(2, 2))
    decisions[0].callback(None)
    decisions[1].errback(StartFailed(403, "refused_by_hook", "not paid."))
    relay.clock.advance(0.2)
    texts, media = told(page)
    assert set(media) == {1}
    assert texts[2][0]["error"] == "refused_by_hook"
    page.feed(show(3, 1))
    page.lost()  # while it is asked
    decisions[2].callback(None)
    assert all(stream.viewer_count() == 0 for stream in relay.hub.streams())
    relay.end()


def test_a_large_picture_goes_out_in_turns_with_the_others() -> None:
    relay = Relay()
    streams = [relay.running(channel) for channel in (1, 2, 3)]
    page = relay.socket("/live/ws")
    page.feed(show(1, 1) + show(2, 2) + show(3, 3))
    relay.clock.advance(1.1)
    told(page)
    sink = relay.sinks[-1]
    sink.room, sink.at_once = 0, False  # the client has stopped reading
    picture(streams[0], 40, size=400_000)
    picture(streams[1], 40, size=3000)
    picture(streams[2], 40, size=3000)
    sink.room = 100_000
    sink.drain()  # what was put before it was full; then turns begin
    order: list[int] = []
    for _ in range(200):
        if not sink.held:
            break
        sink.room = max(sink.room, 20_000)
        sink.drain()
    data = page.value()
    for opcode, payload in split(data):
        if opcode == Opcode.BINARY:
            order += [int.from_bytes(payload[:2], "big")] * len(payload)
    assert order.count(1) > 400_000
    assert max(order.index(2), order.index(3)) < 65536 + 2 * (TURN_BYTES + 16384)
    assert told(page)[1] == {1: b"<p40" + b"x" * (400_000 - 5) + b">", 2: b"<p40" + b"x" * 2995 + b">", 3: b"<p40" + b"x" * 2995 + b">"}
    assert not any(viewer.drops for stream in streams for viewer in stream.viewers())
    page.lost()
    relay.end()


def test_a_page_that_takes_nothing_at_all_is_cut_off_and_everything_of_it_goes() -> None:
    relay = Relay()
    streams = [relay.running(channel) for channel in (1, 2)]
    page = relay.socket("/live/ws")
    page.feed(show(1, 1) + show(2, 2))
    relay.clock.advance(1.1)
    sink = relay.sinks[-1]
    sink.room, sink.at_once = 0, False
    for second in range(40):
        for stream in streams:
            picture(stream, 1000 * second + 40, key=True)
        relay.clock.advance(1)
    assert sink.aborted
    page.lost()
    assert [stream.viewer_count() for stream in streams] == [0, 0]
    assert not relay.web.many.lines
    relay.end()


async def test_over_tls_pictures_larger_than_its_buffers_come_whole(certificate: tuple[str, str]) -> None:
    relay = Relay(sinks=make_sink)
    streams = [relay.running(channel) for channel in (1, 2)]
    port = await SSL4ServerEndpoint(reactor, 0, DefaultOpenSSLContextFactory(*certificate), interface="127.0.0.1").listen(relay.site)
    place = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
    page = await connectProtocol(wrapClientTLS(Trusting(), place), Raw())
    page.transport.write(request("GET", f"/live/ws?token={relay.media_token()}", UPGRADE))
    await page.until(lambda: b"\r\n\r\n" in page.data)
    page.transport.write(show(1, 1) + show(2, 2))
    await eventually(lambda: all(stream.viewer_count() == 1 for stream in streams))
    relay.clock.advance(1.1)
    await page.until(lambda: page.data.count(b"<K0>") == 2)
    for stream in streams:
        picture(stream, 40, size=400_000)
        picture(stream, 80)
    await page.until(lambda: page.data.count(b"<p80>") == 2)
    media = {1: b"", 2: b""}
    for opcode, payload in split(page.data.partition(b"\r\n\r\n")[2]):
        if opcode == Opcode.BINARY:
            media[payload[1]] += payload[3:]
    assert media[1] == media[2] == b"<H h264><K0><p40" + b"x" * (400_000 - 5) + b"><p80>"
    page.transport.abortConnection()
    await eventually(lambda: not any(stream.viewer_count() for stream in streams))
    await port.stopListening()
    relay.end()


async def test_a_page_that_stops_reading_loses_pictures_channel_by_channel_and_goes_on_at_key_frames() -> None:
    relay = Relay(sinks=make_sink)
    streams = [relay.running(channel) for channel in (1, 2)]
    port = await serve(relay)
    page = await dial(port, reactor)
    page.transport.write(request("GET", f"/live/ws?token={relay.media_token()}", UPGRADE))
    await page.until(lambda: b"\r\n\r\n" in page.data)
    page.transport.write(show(1, 1) + show(2, 2))
    await eventually(lambda: all(stream.viewer_count() == 1 for stream in streams))
    relay.clock.advance(1.1)
    await page.until(lambda: page.data.count(b"<K0>") == 2)
    page.transport.pauseProducing()
    for number in range(1, 400):
        picture(streams[0], number * 40, key=number % 10 == 0, size=20000)
        picture(streams[1], number * 40, key=number % 10 == 0, size=200)
    drops = [stream.viewers()[0].drops for stream in streams]
    assert drops[0] > 0
    assert drops[1] == 0  # its own queue is in bounds: 80 kB
    page.transport.resumeProducing()
    await eventually(lambda: all(viewer.queue_bytes == 0 for stream in streams for viewer in stream.viewers()))
    for stream in streams:
        picture(stream, 40000, key=True)
    await eventually(lambda: page.data.count(b"<K40000") == 2)
    media = {1: b"", 2: b""}
    for opcode, payload in split(page.data.partition(b"\r\n\r\n")[2]):
        if opcode == Opcode.BINARY:
            media[payload[1]] += payload[3:]
    for slot, data in media.items():
        names = [part.rstrip(b"x>") for part in data.split(b"<")[2:]]
        stamps = [int(name[1:]) for name in names]
        holes = [name for before, name, stamp in zip(stamps, names[1:], stamps[1:], strict=False) if stamp != before + 40]
        assert all(name.startswith(b"K") for name in holes), slot
    page.transport.abortConnection()
    await eventually(lambda: not any(stream.viewer_count() for stream in streams))
    await port.stopListening()
    relay.end()


def test_pieces_are_the_same_wherever_the_bytes_are_cut() -> None:
    sent = [(Opcode.TEXT, b'{"type":"init"}'), (Opcode.BINARY, b"a" * 200), (Opcode.BINARY, b"b" * 70000), (Opcode.BINARY, b"c")]
    data = b"".join(frame(opcode, payload) for opcode, payload in sent)
    for step in (1, 3, 999, len(data)):
        pieces = Pieces(258)
        out = b"".join(b"".join(pieces.cut(memoryview(data)[at : at + step])) for at in range(0, len(data), step))
        frames = split(out)
        assert frames[0] == (Opcode.TEXT, b'{"slot":258,"type":"init"}')
        whole: list[bytes] = []
        for _, payload in frames[1:]:
            assert payload[:2] == b"\1\2"
            mark = payload[2]
            if mark in (WHOLE, FIRST):
                whole.append(b"")
            whole[-1] += payload[3:]
            assert mark in (WHOLE, FIRST, LAST, MIDDLE)
        assert whole == [payload for _, payload in sent[1:]]
